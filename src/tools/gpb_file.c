//  gpb_file - whole files in and out, for `gpb run`
//
//  Reads into one aligned block, doubling it for what has no size beforehand (a pipe). A signal
//  ends a read or a write: both say CANCELLED, and a temporary file that is not complete is
//  removed.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_file.h"

#include "gpb_alloc.h"
#include "gpb_backend.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct _gpb_file_t {
    atomic_size_t shares;
    void *data;
    size_t size, room;    //  bytes
};

gpb_status_t
gpb_file_fail (gpb_error_t *error, const char *path, const char *what)
{
    gpb_status_t status = errno == EINTR    ? GPB_CANCELLED
                          : errno == ENOENT ? GPB_NOT_FOUND
                                            : GPB_FAILED_PRECONDITION;
    return gpb_error_set (error, status, "%s: cannot be %s: %s", path, what, strerror (errno));
}

int
gpb_file_open (const char *path, gpb_error_t *error)
{
    if (strcmp (path, "-") == 0)
        return STDIN_FILENO;
    int file = open (path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        gpb_file_fail (error, path, "opened");
    return file;
}

static gpb_status_t
s_grow (gpb_file_t *self, size_t room, const char *path, gpb_error_t *error)
{
    void *data = gpb_alloc_aligned (GPB_MEMORY_ALIGNMENT, room);
    if (!data)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "%s: no memory for %zu bytes", path,
                              room);
    if (self->size)
        memcpy (data, self->data, self->size);
    gpb_free (self->data);
    self->data = data;
    self->room = room;
    return GPB_OK;
}

static gpb_status_t
s_read_all (gpb_file_t *self, int file, const char *path, gpb_error_t *error)
{
    struct stat is;
    bool regular = fstat (file, &is) == 0 && S_ISREG (is.st_mode);

    //  One byte more than the file has, so that its end shows without growing.
    gpb_status_t status = s_grow (self, regular ? (size_t) is.st_size + 1 : 65536, path, error);
    while (status == GPB_OK) {
        ssize_t size = read (file, (char *) self->data + self->size, self->room - self->size);
        if (size == 0)
            break;
        if (size < 0)
            return gpb_file_fail (error, path, "read");
        self->size += (size_t) size;
        if (self->size == self->room)
            status = s_grow (self, self->room * 2, path, error);
    }
    return status;
}

gpb_file_t *
gpb_file_read (const char *path, gpb_error_t *error)
{
    bool input = strcmp (path, "-") == 0;
    const char *name = input ? "standard input" : path;
    int file = gpb_file_open (path, error);
    if (file < 0)
        return NULL;
    gpb_file_t *self = gpb_alloc (1, sizeof *self);
    if (!self)
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "%s: no memory to read it", name);
    else {
        atomic_init (&self->shares, 1);
        if (s_read_all (self, file, name, error) != GPB_OK)
            gpb_file_destroy (&self);
    }
    if (!input)
        close (file);
    return self;
}

gpb_file_t *
gpb_file_zero (size_t size, gpb_error_t *error)
{
    gpb_file_t *self = gpb_alloc (1, sizeof *self);
    if (!self) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a payload");
        return NULL;
    }
    atomic_init (&self->shares, 1);
    if (s_grow (self, size ? size : 1, "the payload", error) != GPB_OK)
        gpb_file_destroy (&self);
    else {
        memset (self->data, 0, size);
        self->size = size;
    }
    return self;
}

void
gpb_file_destroy (gpb_file_t **self_p)
{
    if (*self_p)
        gpb_file_release (NULL, *self_p);
    *self_p = NULL;
}

void *
gpb_file_data (gpb_file_t *self)
{
    return self->data;
}

size_t
gpb_file_size (const gpb_file_t *self)
{
    return self->size;
}

void
gpb_file_share (gpb_file_t *self)
{
    atomic_fetch_add (&self->shares, 1);
}

void
gpb_file_release (void *data, void *file)
{
    (void) data;
    gpb_file_t *self = file;
    if (atomic_fetch_sub (&self->shares, 1) == 1) {
        gpb_free (self->data);
        gpb_free (self);
    }
}

//  ---------------------------------------------------------------------------------------------------------
//  Writing

static gpb_status_t
s_write_all (int file, const char *path, const void *data, size_t size, gpb_error_t *error)
{
    for (size_t done = 0; done < size;) {
        ssize_t step = write (file, (const char *) data + done, size - done);
        if (step < 0)
            return gpb_file_fail (error, path, "written");
        done += (size_t) step;
    }
    return GPB_OK;
}

//  A file that is new gets the mode that the umask leaves, one that is replaced keeps its own.
static gpb_status_t
s_replace (const char *path, const struct stat *old, const void *data, size_t size,
           gpb_error_t *error)
{
    char temporary [PATH_MAX];
    int length = snprintf (temporary, sizeof temporary, "%s.XXXXXX", path);
    if (length < 0 || (size_t) length >= sizeof temporary)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT, "%.200s...: the path is too long", path);
    int file = mkostemp (temporary, O_CLOEXEC);
    if (file < 0)
        return gpb_file_fail (error, path, "written");
    mode_t mask = umask (0);
    umask (mask);
    gpb_status_t status = s_write_all (file, path, data, size, error);
    if (status == GPB_OK && fchmod (file, old ? old->st_mode & 07777 : 0666 & ~mask) != 0)
        status = gpb_file_fail (error, path, "written");
    if (close (file) != 0 && status == GPB_OK)
        status = gpb_file_fail (error, path, "written");
    if (status == GPB_OK && rename (temporary, path) != 0)
        status = gpb_file_fail (error, path, "written");
    if (status != GPB_OK)
        unlink (temporary);
    return status;
}

gpb_status_t
gpb_file_write (const char *path, const void *data, size_t size, gpb_error_t *error)
{
    if (strcmp (path, "-") == 0)
        return s_write_all (STDOUT_FILENO, "standard output", data, size, error);
    struct stat is;
    bool there = stat (path, &is) == 0;
    if (there && !S_ISREG (is.st_mode)) {
        int file = open (path, O_WRONLY | O_CLOEXEC);
        if (file < 0)
            return gpb_file_fail (error, path, "opened");
        gpb_status_t status = s_write_all (file, path, data, size, error);
        if (close (file) != 0 && status == GPB_OK)
            status = gpb_file_fail (error, path, "written");
        return status;
    }

    //  A link stays one: what it points to is replaced.
    char *target = there ? realpath (path, NULL) : NULL;
    gpb_status_t status = s_replace (target ? target : path, there ? &is : NULL, data, size, error);
    free (target);
    return status;
}
