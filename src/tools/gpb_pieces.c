//  gpb_pieces - files in pieces, for what is larger than a node takes at once, or memory would like
//
//  The descriptors stay as they are (standard input's flags belong to the shell too): a source
//  looks with poll before it reads, and read then gives what there is. Its block holds as many
//  whole pieces as fit into 256 KiB, so that a stream of small ones is no system call for each.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_pieces.h"

#include "gpb_alloc.h"
#include "gpb_file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

//  Where larger blocks gain nothing any more over the system calls that they save.
#define BLOCK_SIZE (256 * 1024)

struct _gpb_source_t {
    int file;
    char *path;
    size_t piece_size, element_size;
    char *block;
    size_t room;          //  bytes of the block: whole pieces
    size_t begin, end;    //  what of it is there and not given yet
    bool at_end;          //  the file has no more
    bool ended;           //  and all of it is given
};

struct _gpb_sink_t {
    int file;
    char *path;
    char *block;      //  BLOCK_SIZE
    size_t used;      //  bytes of it
    uint64_t size;    //  bytes written
};

//  ---------------------------------------------------------------------------------------------------------
//  The source

gpb_source_t *
gpb_source_new (const char *path, size_t piece_size, size_t element_size, gpb_error_t *error)
{
    bool input = strcmp (path, "-") == 0;
    const char *name = input ? "standard input" : path;
    int file = gpb_file_open (path, error);
    if (file < 0)
        return NULL;
    gpb_source_t *self = gpb_alloc (1, sizeof *self);
    if (self) {
        self->file = file;
        self->piece_size = piece_size;
        self->element_size = element_size;
        self->room = piece_size < BLOCK_SIZE ? BLOCK_SIZE / piece_size * piece_size : piece_size;
        self->path = gpb_strdup (name);
        self->block = gpb_realloc (NULL, 1, self->room);
    }
    else if (!input)
        close (file);
    if (!self || !self->path || !self->block) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "%s: no memory to read it by %zu bytes", name,
                       piece_size);
        gpb_source_destroy (&self);
    }
    return self;
}

void
gpb_source_destroy (gpb_source_t **self_p)
{
    gpb_source_t *self = *self_p;
    if (!self)
        return;
    if (self->file != STDIN_FILENO)
        close (self->file);
    gpb_free (self->path);
    gpb_free (self->block);
    gpb_free (self);
    *self_p = NULL;
}

//  Whether read would not wait; what is no pipe, socket or terminal never does.
static bool
s_is_ready (const gpb_source_t *self)
{
    struct pollfd item = { self->file, POLLIN, 0 };
    return poll (&item, 1, 0) > 0;
}

//  Reads until a piece is whole or the file has no more.
static gpb_status_t
s_fill (gpb_source_t *self, gpb_error_t *error)
{
    if (self->begin > 0) {
        memmove (self->block, self->block + self->begin, self->end - self->begin);
        self->end -= self->begin;
        self->begin = 0;
    }
    while (!self->at_end && self->end < self->piece_size) {
        if (!s_is_ready (self))
            return gpb_error_set (error, GPB_UNAVAILABLE, "%s: nothing there yet", self->path);
        ssize_t size = read (self->file, self->block + self->end, self->room - self->end);
        if (size < 0)
            return gpb_file_fail (error, self->path, "read");
        self->end += (size_t) size;
        self->at_end = size == 0;
    }
    return GPB_OK;
}

gpb_status_t
gpb_source_next (gpb_source_t *self, const void **data_p, size_t *size_p, gpb_error_t *error)
{
    *data_p = NULL;
    *size_p = 0;
    if (self->end - self->begin < self->piece_size && !self->at_end) {
        gpb_status_t status = s_fill (self, error);
        if (status != GPB_OK)
            return status;
    }
    size_t size = self->end - self->begin;
    if (size > self->piece_size)
        size = self->piece_size;
    if (size % self->element_size != 0)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "%s: ends within an element: %zu bytes are left, and an element has "
                              "%zu",
                              self->path, size, self->element_size);
    *data_p = self->block + self->begin;
    *size_p = size;
    self->begin += size;
    self->ended = size == 0;
    return GPB_OK;
}

bool
gpb_source_ended (const gpb_source_t *self)
{
    return self->ended;
}

int
gpb_source_file (const gpb_source_t *self)
{
    return self->file;
}

//  ---------------------------------------------------------------------------------------------------------
//  The sink

//  Whether path is the very file that is read. Devices and pipes may be both.
static bool
s_is_source (const char *path, const gpb_source_t *source)
{
    struct stat one, other;
    return stat (path, &one) == 0 && fstat (source->file, &other) == 0 && S_ISREG (one.st_mode)
           && one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

gpb_sink_t *
gpb_sink_new (const char *path, const gpb_source_t *source, gpb_error_t *error)
{
    bool output = strcmp (path, "-") == 0;
    const char *name = output ? "standard output" : path;
    if (!output && s_is_source (path, source)) {
        gpb_error_set (error, GPB_INVALID_ARGUMENT,
                       "%s: is read while it would be written: a stream wants two files", path);
        return NULL;
    }
    int file = output ? STDOUT_FILENO : open (path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (file < 0) {
        gpb_file_fail (error, name, "opened");
        return NULL;
    }
    gpb_sink_t *self = gpb_alloc (1, sizeof *self);
    if (self) {
        self->file = file;
        self->path = gpb_strdup (name);
        self->block = gpb_realloc (NULL, 1, BLOCK_SIZE);
    }
    else if (!output)
        close (file);
    if (!self || !self->path || !self->block) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "%s: no memory to write it", name);
        gpb_sink_destroy (&self);
    }
    return self;
}

void
gpb_sink_destroy (gpb_sink_t **self_p)
{
    gpb_sink_t *self = *self_p;
    if (!self)
        return;
    if (self->file != STDOUT_FILENO)
        close (self->file);
    gpb_free (self->path);
    gpb_free (self->block);
    gpb_free (self);
    *self_p = NULL;
}

static gpb_status_t
s_write (gpb_sink_t *self, const void *data, size_t size, gpb_error_t *error)
{
    for (size_t done = 0; done < size;) {
        ssize_t step = write (self->file, (const char *) data + done, size - done);
        if (step < 0)
            return gpb_file_fail (error, self->path, "written");
        done += (size_t) step;
        self->size += (uint64_t) step;
    }
    return GPB_OK;
}

gpb_status_t
gpb_sink_flush (gpb_sink_t *self, gpb_error_t *error)
{
    size_t used = self->used;
    self->used = 0;
    return s_write (self, self->block, used, error);
}

gpb_status_t
gpb_sink_write (gpb_sink_t *self, const void *data, size_t size, gpb_error_t *error)
{
    if (self->used + size > BLOCK_SIZE) {
        gpb_status_t status = gpb_sink_flush (self, error);
        if (status != GPB_OK)
            return status;
    }
    if (size > BLOCK_SIZE)
        return s_write (self, data, size, error);
    if (size)
        memcpy (self->block + self->used, data, size);
    self->used += size;
    return GPB_OK;
}

uint64_t
gpb_sink_size (const gpb_sink_t *self)
{
    return self->size;
}
