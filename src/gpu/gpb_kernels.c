//  gpb_kernels - all kernel packages of a node
//
//  A sorted array of definitions; looking one up is a binary search. What was replaced is gone,
//  unless somebody still holds it. One thread at a time.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_alloc.h"
#include "gpb_kernel_private.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
    void **items;    //  NULL behind the last, once there is one
    size_t count;
    size_t capacity;
} list_t;

struct _gpb_kernels_t {
    list_t kernels;    //  gpb_kernel_t, by id
    list_t notices;    //  char
};

//  Makes room for one more, and the NULL behind it.
static bool
s_list_reserve (list_t *self)
{
    if (self->count + 1 < self->capacity)
        return true;
    size_t capacity = self->capacity ? self->capacity * 2 : 16;
    void **items = gpb_realloc (self->items, capacity, sizeof *items);
    if (!items)
        return false;
    self->items = items;
    self->capacity = capacity;
    return true;
}

//  There is room.
static void
s_list_insert (list_t *self, size_t at, void *item)
{
    memmove (self->items + at + 1, self->items + at, (self->count - at) * sizeof *self->items);
    self->items [at] = item;
    self->items [++self->count] = NULL;
}

static void
s_list_free_texts (list_t *self)
{
    for (size_t index = 0; index < self->count; index++)
        gpb_free (self->items [index]);
    gpb_free (self->items);
}

static void
s_list_free_kernels (list_t *self)
{
    for (size_t index = 0; index < self->count; index++) {
        gpb_kernel_t *kernel = self->items [index];
        gpb_kernel_destroy (&kernel);
    }
    gpb_free (self->items);
}

static gpb_status_t
s_out_of_memory (gpb_error_t *error)
{
    return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "out of memory");
}

//  Where the id is, or belongs.
static bool
s_find (const gpb_kernels_t *self, const char *id, size_t *at_p)
{
    size_t low = 0, high = self->kernels.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const gpb_kernel_t *kernel = self->kernels.items [middle];
        int order = strcmp (kernel->id, id);
        if (order == 0) {
            *at_p = middle;
            return true;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *at_p = low;
    return false;
}

//  ---------------------------------------------------------------------------------------------------------
//  Folders

static gpb_status_t
s_notice (gpb_kernels_t *self, const char *text, gpb_error_t *error)
{
    char *copy = gpb_strdup (text);
    if (!copy || !s_list_reserve (&self->notices)) {
        gpb_free (copy);
        return s_out_of_memory (error);
    }
    s_list_insert (&self->notices, self->notices.count, copy);
    return GPB_OK;
}

static gpb_status_t
s_notice_errno (gpb_kernels_t *self, const char *folder, gpb_error_t *error)
{
    gpb_error_t notice;
    gpb_error_set (&notice, GPB_NOT_FOUND, "%s: %s", folder, strerror (errno));
    return s_notice (self, notice.text, error);
}

static gpb_status_t
s_load_package (gpb_kernels_t *self, const char *folder, const char *name, gpb_error_t *error)
{
    char path [PATH_MAX], definition [PATH_MAX + 16];
    if (snprintf (path, sizeof path, "%s/%s", folder, name) >= (int) sizeof path)
        return GPB_OK;    //  nobody can open it
    snprintf (definition, sizeof definition, "%s/kernel.conf", path);
    if (access (definition, F_OK) != 0)
        return GPB_OK;
    gpb_error_t reason;
    gpb_kernel_t *kernel = gpb_kernel_load (path, &reason);
    if (!kernel)
        return reason.status == GPB_RESOURCE_EXHAUSTED ? s_out_of_memory (error)
                                                       : s_notice (self, reason.text, error);
    size_t at;
    if (s_find (self, kernel->id, &at)) {
        gpb_kernel_destroy (&kernel);    //  a folder named earlier wins
        return GPB_OK;
    }
    return gpb_kernels_insert (self, &kernel, false, error);
}

static int
s_compare_names (const void *left, const void *right)
{
    return strcmp (*(char *const *) left, *(char *const *) right);
}

//  Names come in the order of the disk; sorted, the notices are the same everywhere.
static gpb_status_t
s_load_folder (gpb_kernels_t *self, const char *folder, gpb_error_t *error)
{
    DIR *directory = opendir (folder);
    if (!directory)
        return s_notice_errno (self, folder, error);
    gpb_status_t status = GPB_OK;
    list_t names = { NULL, 0, 0 };
    const struct dirent *entry;
    while (status == GPB_OK && (entry = readdir (directory))) {
        if (entry->d_name [0] == '.')
            continue;
        char *name = gpb_strdup (entry->d_name);
        if (name && s_list_reserve (&names))
            s_list_insert (&names, names.count, name);
        else {
            gpb_free (name);
            status = s_out_of_memory (error);
        }
    }
    closedir (directory);
    if (names.count > 0)
        qsort (names.items, names.count, sizeof *names.items, s_compare_names);
    for (size_t index = 0; index < names.count && status == GPB_OK; index++)
        status = s_load_package (self, folder, names.items [index], error);
    s_list_free_texts (&names);
    return status;
}

gpb_kernels_t *
gpb_kernels_new (const char *path, gpb_error_t *error)
{
    gpb_kernels_t *self = gpb_alloc (1, sizeof *self);
    gpb_status_t status = self ? GPB_OK : s_out_of_memory (error);
    while (status == GPB_OK && path && *path) {
        size_t size = strcspn (path, ":");
        char folder [PATH_MAX];
        if (size >= sizeof folder) {
            errno = ENAMETOOLONG;
            status = s_notice_errno (self, "a folder of the kernels' path", error);
        }
        else if (size > 0) {
            memcpy (folder, path, size);
            folder [size] = 0;
            status = s_load_folder (self, folder, error);
        }
        path += size + (path [size] == ':');
    }
    if (status != GPB_OK)
        gpb_kernels_destroy (&self);
    return self;
}

gpb_kernels_t *
gpb_kernels_open (const char *path, gpb_error_t *error)
{
    if (path [0])
        return gpb_kernels_new (path, error);
    char *usual = gpb_kernels_default_path ();
    gpb_kernels_t *self = NULL;
    if (usual)
        self = gpb_kernels_new (usual, error);
    else
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for the path of kernels");
    gpb_free (usual);
    return self;
}

void
gpb_kernels_destroy (gpb_kernels_t **self_p)
{
    gpb_kernels_t *self = *self_p;
    if (!self)
        return;
    s_list_free_kernels (&self->kernels);
    s_list_free_texts (&self->notices);
    gpb_free (self);
    *self_p = NULL;
}

const gpb_kernel_t *
gpb_kernels_lookup (gpb_kernels_t *self, const char *id)
{
    size_t at;
    return s_find (self, id, &at) ? self->kernels.items [at] : NULL;
}

gpb_status_t
gpb_kernels_refuse (const char *id, gpb_error_t *error)
{
    if (!gpb_kernel_id_valid (id))
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "a kernel's id is [a-z0-9_.-]{1,%d}, and \"%.80s\" was given",
                              GPB_KERNEL_ID_MAX, id);
    return gpb_error_set (error, GPB_NOT_FOUND, "there is no kernel %s", id);
}

gpb_status_t
gpb_kernels_insert (gpb_kernels_t *self, gpb_kernel_t **kernel_p, bool replace, gpb_error_t *error)
{
    gpb_kernel_t *kernel = *kernel_p;
    *kernel_p = NULL;
    gpb_status_t status = GPB_OK;
    size_t at;
    bool found = s_find (self, kernel->id, &at);
    if (found && !replace)
        status = gpb_error_set (error, GPB_ALREADY_EXISTS, "there is a kernel \"%s\" already",
                                kernel->id);
    else if (!found && !s_list_reserve (&self->kernels))
        status = s_out_of_memory (error);
    if (status != GPB_OK)
        gpb_kernel_destroy (&kernel);
    else if (found) {
        gpb_kernel_t *old = self->kernels.items [at];
        gpb_kernel_destroy (&old);
        self->kernels.items [at] = kernel;
    }
    else
        s_list_insert (&self->kernels, at, kernel);
    return status;
}

const gpb_kernel_t *
gpb_kernels_at (gpb_kernels_t *self, size_t index)
{
    return index < self->kernels.count ? self->kernels.items [index] : NULL;
}

const char *
gpb_kernels_notice (gpb_kernels_t *self, size_t index)
{
    return index < self->notices.count ? self->notices.items [index] : NULL;
}

//  ---------------------------------------------------------------------------------------------------------
//  Where they are looked for

//  Appends the folder, where it is one, with a ':' before it.
static void
s_append (char *path, const char *folder, size_t size)
{
    char name [PATH_MAX];
    struct stat about;
    if (size == 0 || size >= sizeof name)
        return;
    memcpy (name, folder, size);
    name [size] = 0;
    if (stat (name, &about) == 0 && S_ISDIR (about.st_mode)) {
        if (*path)
            strcat (path, ":");
        strcat (path, name);
    }
}

char *
gpb_kernels_default_path (void)
{
    const char *named = getenv ("GPB_KERNEL_PATH");
    named = named ? named : "";
    char *path = gpb_alloc (1, strlen (named) + PATH_MAX + sizeof GPB_KERNEL_DIR + 4);
    if (!path)
        return NULL;
    while (*named) {
        size_t size = strcspn (named, ":");
        s_append (path, named, size);
        named += size + (named [size] == ':');
    }
    char program [PATH_MAX];
    ssize_t size = readlink ("/proc/self/exe", program, sizeof program - sizeof "kernels");
    program [size > 0 ? size : 0] = 0;
    char *name = strrchr (program, '/');
    if (name) {
        memcpy (name + 1, "kernels", sizeof "kernels");
        s_append (path, program, strlen (program));
    }
    s_append (path, GPB_KERNEL_DIR, strlen (GPB_KERNEL_DIR));
    return path;
}
