//  gpb_kernel - a kernel's definition: its life, its files, and what it says
//
//  Loading reads kernel.conf, then each file that it names, by name within the opened folder: a
//  name holds no '/', so nothing outside the folder is named. What a compiler gets of a file is
//  gpb_kernel_code.c's matter.
//
//  A definition that came over the wire opens no file at all. Its source is code of its sender's
//  all the same: who may register a kernel may run code on the devices, and with PoCL in the node.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_alloc.h"
#include "gpb_kernel_private.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const s_directions [] = { "in", "out", "inout", "scalar" };

static const struct {
    const char *name;
    size_t size;
} s_types [] = {
    { "i8", 1 },  { "u8", 1 },  { "i16", 2 }, { "u16", 2 }, { "i32", 4 }, { "u32", 4 },
    { "i64", 8 }, { "u64", 8 }, { "f16", 2 }, { "f32", 4 }, { "f64", 8 },
};

const char *
gpb_direction_name (gpb_direction_t direction)
{
    return (size_t) direction < sizeof s_directions / sizeof s_directions [0]
               ? s_directions [direction]
               : "unknown";
}

const char *
gpb_type_name (gpb_type_t type)
{
    return (size_t) type < sizeof s_types / sizeof s_types [0] ? s_types [type].name : "unknown";
}

size_t
gpb_type_size (gpb_type_t type)
{
    return (size_t) type < sizeof s_types / sizeof s_types [0] ? s_types [type].size : 0;
}

static gpb_status_t
s_out_of_memory (gpb_error_t *error)
{
    return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "out of memory");
}

//  ---------------------------------------------------------------------------------------------------------
//  Files

//  Reads a regular file of at most max bytes whole, with a NUL behind it. O_NONBLOCK keeps the open
//  of a FIFO from waiting for a writer.
static gpb_status_t
s_read_file (int directory, const char *name, size_t max, char **data_p, size_t *size_p,
             gpb_error_t *error)
{
    int fd = openat (directory, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return gpb_error_set (error, errno == ENOENT ? GPB_NOT_FOUND : GPB_INVALID_ARGUMENT,
                              "\"%s\": %s", name, strerror (errno));
    gpb_status_t status = GPB_OK;
    struct stat about;
    char *data = NULL;
    size_t size = 0;
    if (fstat (fd, &about) != 0 || !S_ISREG (about.st_mode))
        status = gpb_error_set (error, GPB_INVALID_ARGUMENT, "\"%s\" is no regular file", name);
    else if (about.st_size > (off_t) max)
        status = gpb_error_set (error, GPB_INVALID_ARGUMENT,
                                "\"%s\" has %lld bytes, and at most %zu are read", name,
                                (long long) about.st_size, max);
    else if (!(data = gpb_alloc ((size_t) about.st_size + 1, 1)))
        status = s_out_of_memory (error);
    while (data && status == GPB_OK && size < (size_t) about.st_size) {
        ssize_t got = read (fd, data + size, (size_t) about.st_size - size);
        if (got == 0)
            break;    //  it has shrunk meanwhile
        if (got > 0)
            size += (size_t) got;
        else if (errno != EINTR)
            status =
                gpb_error_set (error, GPB_INVALID_ARGUMENT, "\"%s\": %s", name, strerror (errno));
    }
    close (fd);
    if (!data || status != GPB_OK) {
        gpb_free (data);
        return status;
    }
    data [size] = 0;
    *data_p = data;
    *size_p = size;
    return GPB_OK;
}

//  The line and, counted in bytes, the place of the first NUL; compilers would take what is before
//  it for the whole.
static gpb_status_t
s_refuse_nul (const char *name, const char *data, size_t size, gpb_error_t *error)
{
    const char *nul = memchr (data, 0, size);
    if (!nul)
        return GPB_OK;
    unsigned line = 1;
    for (const char *at = data; at < nul; at++)
        line += *at == '\n';
    return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                          "%s:%u: there is a NUL byte, and text has none", name, line);
}

//  Reads what the definition names. Refusals name the definition's line.
static gpb_status_t
s_load_files (gpb_kernel_t *self, int directory, const char *path, gpb_error_t *error)
{
    gpb_status_t status = GPB_OK;
    for (gpb_file_t kind = 0; kind < GPB_FILES && status == GPB_OK; kind++) {
        const gpb_kernel_file_t *file = &self->files [kind];
        if (!file->name)
            continue;
        char *data = NULL;
        size_t size = 0;
        status = s_read_file (directory, file->name, GPB_KERNEL_SOURCE_MAX, &data, &size, error);
        if (status == GPB_OK && size == 0)
            status = gpb_error_set (error, GPB_INVALID_ARGUMENT, "\"%s\" is empty", file->name);
        if (status == GPB_OK && kind != GPB_FILE_CUBIN && kind != GPB_FILE_FATBIN)
            status = s_refuse_nul (file->name, data, size, error);
        if (status == GPB_OK)
            status = gpb_kernel_set_file (self, kind, data, size, error);
        gpb_free (data);
        //  A definition that names a file that is not there is itself at fault.
        if (status == GPB_NOT_FOUND)
            status = gpb_error_set (error, GPB_INVALID_ARGUMENT,
                                    "there is no file \"%s\" beside kernel.conf", file->name);
        if (status == GPB_INVALID_ARGUMENT)
            gpb_error_prefix (error, "%s:%u: ", path, file->line);
    }
    return status;
}

//  ---------------------------------------------------------------------------------------------------------
//  Life

//  The folder's own name: of "kernels/x/" it is "x", of "." what the folder is called.
static gpb_status_t
s_folder_name (const char *directory, char *name, size_t size, gpb_error_t *error)
{
    char resolved [PATH_MAX];
    size_t end = strlen (directory);
    while (end > 0 && directory [end - 1] == '/')
        end--;
    size_t start = end;
    while (start > 0 && directory [start - 1] != '/')
        start--;
    const char *last = directory + start;
    size_t length = end - start;
    if (length == 0 || (length == 1 && last [0] == '.')
        || (length == 2 && last [0] == '.' && last [1] == '.'))
    {
        if (!realpath (directory, resolved))
            return gpb_error_set (error, GPB_NOT_FOUND, "%s: %s", directory, strerror (errno));
        last = strrchr (resolved, '/') + 1;
        length = strlen (last);
    }
    snprintf (name, size, "%.*s", (int) length, last);
    return GPB_OK;
}

static gpb_status_t
s_load (gpb_kernel_t *self, int directory, const char *folder, const char *path, gpb_error_t *error)
{
    char *text = NULL;
    size_t size = 0;
    gpb_status_t status =
        s_read_file (directory, "kernel.conf", GPB_KERNEL_DEFINITION_MAX, &text, &size, error);
    if (status != GPB_OK) {
        gpb_error_prefix (error, "%.*s", (int) (strlen (path) - strlen ("kernel.conf")), path);
        return status;
    }
    status = s_refuse_nul (path, text, size, error);
    if (status == GPB_OK)
        status = gpb_kernel_read_definition (self, text, path, error);
    gpb_free (text);
    if (status == GPB_OK && strcmp (self->id, folder) != 0)
        status = gpb_error_set (error, GPB_INVALID_ARGUMENT,
                                "%s:1: the id \"%s\" and the folder's name \"%s\" differ, and they "
                                "are the same",
                                path, self->id, folder);
    return status == GPB_OK ? s_load_files (self, directory, path, error) : status;
}

gpb_kernel_t *
gpb_kernel_load (const char *directory, gpb_error_t *error)
{
    gpb_error_t unseen = { GPB_OK, "" };
    error = error ? error : &unseen;
    char folder [NAME_MAX + 1], path [PATH_MAX];
    if (s_folder_name (directory, folder, sizeof folder, error) != GPB_OK)
        return NULL;
    size_t end = strlen (directory);
    bool slash = end > 0 && directory [end - 1] == '/';
    if (snprintf (path, sizeof path, "%s%skernel.conf", directory, slash ? "" : "/")
        >= (int) sizeof path)
    {
        gpb_error_set (error, GPB_INVALID_ARGUMENT, "a path has at most %d bytes, and %s is longer",
                       PATH_MAX - 1, directory);
        return NULL;
    }
    int fd = open (directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        gpb_error_set (error,
                       errno == ENOENT || errno == ENOTDIR ? GPB_NOT_FOUND : GPB_INVALID_ARGUMENT,
                       "%s: %s", directory, strerror (errno));
        return NULL;
    }
    gpb_kernel_t *self = gpb_alloc (1, sizeof *self);
    if (!self)
        s_out_of_memory (error);
    else if (s_load (self, fd, folder, path, error) != GPB_OK)
        gpb_kernel_destroy (&self);
    close (fd);
    return self;
}

static gpb_status_t
s_parse (gpb_kernel_t *self, const char *definition, const char *source, gpb_error_t *error)
{
    if (strlen (definition) > GPB_KERNEL_DEFINITION_MAX)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "the definition has %zu bytes, and at most %zu are read",
                              strlen (definition), GPB_KERNEL_DEFINITION_MAX);
    size_t size = strlen (source);
    if (size == 0 || size > GPB_KERNEL_SOURCE_MAX)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "the source has %zu bytes, and it has 1 to %d", size,
                              GPB_KERNEL_SOURCE_MAX);
    gpb_status_t status = gpb_kernel_read_definition (self, definition, "kernel.conf", error);
    if (status != GPB_OK)
        return status;
    gpb_file_t found = GPB_FILES;
    for (gpb_file_t kind = 0; kind < GPB_FILES; kind++) {
        if (!self->files [kind].name)
            continue;
        if (found != GPB_FILES)
            return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                                  "kernel.conf:%u: \"%s\" is a second file, and one comes along",
                                  self->files [kind].line, self->files [kind].name);
        found = kind;
    }
    if (found == GPB_FILE_CUBIN || found == GPB_FILE_FATBIN)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "kernel.conf:%u: a %s is no text, and only text can be registered",
                              self->files [found].line, gpb_kernel_file_kind (found));
    return gpb_kernel_set_file (self, found, source, size, error);
}

gpb_kernel_t *
gpb_kernel_parse (const char *definition, const char *source, gpb_error_t *error)
{
    gpb_kernel_t *self = gpb_alloc (1, sizeof *self);
    if (!self)
        s_out_of_memory (error);
    else if (s_parse (self, definition, source, error) != GPB_OK)
        gpb_kernel_destroy (&self);
    return self;
}

gpb_kernel_t *
gpb_kernel_retain (const gpb_kernel_t *self)
{
    gpb_kernel_t *kernel = (gpb_kernel_t *) self;
    kernel->more_holders++;
    return kernel;
}

void
gpb_kernel_destroy (gpb_kernel_t **self_p)
{
    gpb_kernel_t *self = *self_p;
    *self_p = NULL;
    if (!self || self->more_holders-- > 0)
        return;
    for (size_t index = 0; index < GPB_KERNEL_PARAMETERS_MAX; index++) {
        gpb_free (self->names [index]);
        gpb_expression_destroy (&self->counts [index]);
    }
    for (unsigned dimension = 0; dimension < GPB_DIMENSIONS; dimension++)
        gpb_expression_destroy (&self->global [dimension]);
    gpb_expression_destroy (&self->shared);
    for (size_t index = 0; self->require [index]; index++)
        gpb_free (self->require [index]);
    for (size_t index = 0; self->stays [index]; index++)
        gpb_free (self->stays [index]);
    for (gpb_file_t kind = 0; kind < GPB_FILES; kind++) {
        gpb_free (self->files [kind].name);
        gpb_free (self->files [kind].data);
    }
    gpb_free (self->opencl_options);
    gpb_free (self->id);
    gpb_free (self->description);
    gpb_free (self->entry);
    gpb_free (self->options);
    gpb_free (self->arch);
    gpb_free (self);
    *self_p = NULL;
}

//  ---------------------------------------------------------------------------------------------------------
//  What it says

const char *
gpb_kernel_id (const gpb_kernel_t *self)
{
    return self->id;
}

const char *
gpb_kernel_description (const gpb_kernel_t *self)
{
    return self->description;
}

const char *
gpb_kernel_entry (const gpb_kernel_t *self)
{
    return self->entry;
}

size_t
gpb_kernel_parameters (const gpb_kernel_t *self)
{
    return self->parameters_count;
}

const gpb_parameter_t *
gpb_kernel_parameter (const gpb_kernel_t *self, size_t index)
{
    return index < self->parameters_count ? &self->parameters [index] : NULL;
}

unsigned
gpb_kernel_dimensions (const gpb_kernel_t *self)
{
    return self->dimensions;
}

const char *
gpb_kernel_global (const gpb_kernel_t *self, unsigned dimension)
{
    return dimension < self->dimensions ? gpb_expression_text (self->global [dimension]) : NULL;
}

bool
gpb_kernel_global_free (const gpb_kernel_t *self)
{
    return self->global_free;
}

const uint64_t *
gpb_kernel_local (const gpb_kernel_t *self)
{
    return self->has_local ? self->local : NULL;
}

const char *
gpb_kernel_shared (const gpb_kernel_t *self)
{
    return self->shared ? gpb_expression_text (self->shared) : "";
}

const char *
gpb_kernel_require (const gpb_kernel_t *self, size_t index)
{
    return index < GPB_CAPABILITIES_MAX ? self->require [index] : NULL;
}
