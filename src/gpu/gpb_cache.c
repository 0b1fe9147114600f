//  gpb_cache - the folder of compiled binaries under gpb_compile
//
//  Holds the folder open, so that renaming it under our feet redirects nothing. No operation waits
//  for another process.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_cache.h"

#include "gpb_alloc.h"
#include "gpb_clock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEY_AT 8
#define SIZE_AT 40
#define CHECKSUM_AT 48
#define HEADER_SIZE 80
#define NAME_SIZE ((size_t) 2 * GPB_CACHE_KEY_SIZE)    //  characters of an entry's name

//  Bytes of one binary: cubins of real kernels are far below, and a file that claims more is not
//  read.
#define ENTRY_MAX ((size_t) 256 * 1024 * 1024)

//  What a writer that died has left is removed when it is this old; nobody takes as long to write.
#define LEFTOVER_S 3600

static const unsigned char s_magic [8] = { 'G', 'P', 'B', 'C', 'A', 'C', 'H', '1' };

struct _gpb_cache_t {
    int directory;    //  -1: nothing is kept
    uint64_t max_size;
    uint64_t hits;
    uint64_t misses;
    uint64_t written;    //  makes temporary names differ
    gpb_binaries_t *binaries;
    bool forbids;    //  compiling what is not here
};

typedef struct {
    char name [NAME_SIZE + 1];
    uint64_t size;
    struct timespec used;
} entry_t;

//  ---------------------------------------------------------------------------------------------------------
//  The folder

//  Makes the folder and those above it that are missing.
static int
s_make_folder (const char *directory)
{
    char path [PATH_MAX];
    size_t size = strlen (directory);
    if (size >= sizeof path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy (path, directory, size + 1);
    for (char *at = path + 1; *at; at++)
        if (*at == '/') {
            *at = 0;
            if (mkdir (path, 0700) != 0 && errno != EEXIST)
                return -1;
            *at = '/';
        }
    return mkdir (path, 0700) != 0 && errno != EEXIST ? -1 : 0;
}

//  Ours or root's, and writable by nobody else.
static bool
s_trusted (const struct stat *about)
{
    return (about->st_uid == geteuid () || about->st_uid == 0)
           && !(about->st_mode & (S_IWGRP | S_IWOTH));
}

static void
s_open_folder (gpb_cache_t *self, const char *directory, gpb_error_t *error)
{
    struct stat about;
    if (s_make_folder (directory) != 0
        || (self->directory = open (directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        gpb_error_set (error, GPB_FAILED_PRECONDITION, "no compile cache in %s: %s", directory,
                       strerror (errno));
    else if (fstat (self->directory, &about) != 0 || !s_trusted (&about)) {
        gpb_error_set (error, GPB_FAILED_PRECONDITION,
                       "no compile cache in %s: others can write there; it belongs to this user, "
                       "and its mode is 0700",
                       directory);
        close (self->directory);
        self->directory = -1;
    }
}

gpb_cache_t *
gpb_cache_new (const char *directory, uint64_t max_size, gpb_error_t *error)
{
    gpb_cache_t *self = gpb_alloc (1, sizeof *self);
    if (self)
        self->binaries = gpb_binaries_of_process ();
    if (!self || !self->binaries) {
        gpb_free (self);
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "out of memory");
        return NULL;
    }
    gpb_error_set (error, GPB_OK, "%s", "");
    self->directory = -1;
    self->max_size = max_size;
    if (directory && *directory)
        s_open_folder (self, directory, error);
    return self;
}

gpb_cache_t *
gpb_cache_open (const char *directory, uint64_t max_size, gpb_error_t *error)
{
    if (directory [0])
        return gpb_cache_new (strcmp (directory, "none") == 0 ? "" : directory, max_size, error);
    char *usual = gpb_cache_default_directory ();
    gpb_cache_t *self = gpb_cache_new (usual, max_size, error);
    gpb_free (usual);
    return self;
}

void
gpb_cache_destroy (gpb_cache_t **self_p)
{
    gpb_cache_t *self = *self_p;
    if (!self)
        return;
    if (self->directory >= 0)
        close (self->directory);
    gpb_binaries_release (&self->binaries);
    gpb_free (self);
    *self_p = NULL;
}

void
gpb_cache_forbid_compiling (gpb_cache_t *self)
{
    self->forbids = true;
}

bool
gpb_cache_forbids (const gpb_cache_t *self)
{
    return self->forbids;
}

gpb_binaries_t *
gpb_cache_binaries_peek (const gpb_cache_t *self)
{
    return self->binaries;
}

void
gpb_cache_figures (const gpb_cache_t *self, uint64_t *hits_p, uint64_t *misses_p)
{
    *hits_p = self->hits;
    *misses_p = self->misses;
}

bool
gpb_cache_usable (const gpb_cache_t *self)
{
    return self->directory >= 0;
}

char *
gpb_cache_default_directory (void)
{
    //  The XDG base directory specification: a relative path is to be ignored.
    const char *base = getenv ("XDG_CACHE_HOME"), *below = "/gpb";
    if (!base || *base != '/') {
        base = getenv ("HOME");
        below = "/.cache/gpb";
    }
    if (!base || *base != '/')
        return NULL;
    size_t size = strlen (base) + strlen (below) + 1;
    char *directory = gpb_alloc (size, 1);
    if (directory)
        snprintf (directory, size, "%s%s", base, below);
    return directory;
}

//  ---------------------------------------------------------------------------------------------------------
//  Entries

static void
s_name (const unsigned char *key, char *name)
{
    sodium_bin2hex (name, NAME_SIZE + 1, key, GPB_CACHE_KEY_SIZE);
}

static void
s_put_u64 (unsigned char *bytes, uint64_t value)
{
    for (int index = 0; index < 8; index++)
        bytes [index] = (unsigned char) (value >> (8 * index));
}

static bool
s_read (int fd, void *target, size_t size)
{
    for (char *at = target; size > 0;) {
        ssize_t got = read (fd, at, size);
        if (got > 0) {
            at += got;
            size -= (size_t) got;
        }
        else if (got == 0 || errno != EINTR)
            return false;
    }
    return true;
}

static bool
s_write (int fd, const void *source, size_t size)
{
    for (const char *at = source; size > 0;) {
        ssize_t put = write (fd, at, size);
        if (put > 0) {
            at += put;
            size -= (size_t) put;
        }
        else if (put == 0 || errno != EINTR)
            return false;
    }
    return true;
}

static void
s_make_header (unsigned char *header, const unsigned char *key, const void *data, size_t size)
{
    memcpy (header, s_magic, sizeof s_magic);
    memcpy (header + KEY_AT, key, GPB_CACHE_KEY_SIZE);
    s_put_u64 (header + SIZE_AT, size);
    crypto_hash_sha256 (header + CHECKSUM_AT, data, size);
}

typedef enum { ENTRY_WHOLE, ENTRY_BROKEN, ENTRY_UNREAD } entry_state_t;

//  ENTRY_UNREAD: it may be well, but memory ran out.
static entry_state_t
s_read_entry (int fd, const unsigned char *key, void **data_p, size_t *size_p)
{
    struct stat about;
    if (fstat (fd, &about) != 0 || !S_ISREG (about.st_mode) || !s_trusted (&about)
        || about.st_size <= HEADER_SIZE || about.st_size > (off_t) ENTRY_MAX + HEADER_SIZE)
        return ENTRY_BROKEN;
    size_t size = (size_t) about.st_size - HEADER_SIZE;
    void *data = gpb_alloc (size, 1);
    if (!data)
        return ENTRY_UNREAD;
    unsigned char header [HEADER_SIZE], expected [HEADER_SIZE];
    bool whole = s_read (fd, header, sizeof header) && s_read (fd, data, size);
    if (whole) {
        s_make_header (expected, key, data, size);
        whole = memcmp (header, expected, sizeof header) == 0;
    }
    if (!whole) {
        gpb_free (data);
        return ENTRY_BROKEN;
    }
    *data_p = data;
    *size_p = size;
    return ENTRY_WHOLE;
}

bool
gpb_cache_get (gpb_cache_t *self, const unsigned char *key, void **data_p, size_t *size_p)
{
    char name [NAME_SIZE + 1];
    s_name (key, name);
    entry_state_t state = ENTRY_UNREAD;
    //  A link or a FIFO in an entry's place is not followed, and not waited for.
    int fd = openat (self->directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd >= 0) {
        state = s_read_entry (fd, key, data_p, size_p);
        if (state == ENTRY_WHOLE)
            futimens (fd, NULL);
        close (fd);
    }
    if (state == ENTRY_BROKEN)
        unlinkat (self->directory, name, 0);
    if (state == ENTRY_WHOLE)
        self->hits++;
    else
        self->misses++;
    return state == ENTRY_WHOLE;
}

void
gpb_cache_drop (gpb_cache_t *self, const unsigned char *key)
{
    char name [NAME_SIZE + 1];
    s_name (key, name);
    unlinkat (self->directory, name, 0);
    self->hits--;
    self->misses++;
}

//  ---------------------------------------------------------------------------------------------------------
//  The bound

static int
s_used_longest_ago_first (const void *left, const void *right)
{
    const struct timespec *a = &((const entry_t *) left)->used,
                          *b = &((const entry_t *) right)->used;
    if (a->tv_sec != b->tv_sec)
        return a->tv_sec < b->tv_sec ? -1 : 1;
    return (a->tv_nsec > b->tv_nsec) - (a->tv_nsec < b->tv_nsec);
}

static bool
s_is_entry (const char *name)
{
    return strlen (name) == NAME_SIZE && strspn (name, "0123456789abcdef") == NAME_SIZE;
}

//  A temporary name is an entry's, a dot, and what its writer put behind it. What is not removed
//  takes its place in the folder: gives the bytes of that.
static uint64_t
s_remove_leftover (const gpb_cache_t *self, const char *name, const struct stat *about)
{
    if (strspn (name, "0123456789abcdef") != NAME_SIZE || name [NAME_SIZE] != '.')
        return 0;
    struct timespec now;
    clock_gettime (CLOCK_REALTIME, &now);
    if (about->st_mtim.tv_sec + LEFTOVER_S < now.tv_sec && unlinkat (self->directory, name, 0) == 0)
        return 0;
    return (uint64_t) about->st_size;
}

//  All entries, and the bytes that they and what is being written take. NULL where there are none,
//  or memory runs out: then the next one that is kept tries again.
static entry_t *
s_list (const gpb_cache_t *self, size_t *count_p, uint64_t *total_p)
{
    int fd = openat (self->directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = fd >= 0 ? fdopendir (fd) : NULL;
    if (!directory) {
        if (fd >= 0)
            close (fd);
        return NULL;
    }
    entry_t *entries = NULL;
    size_t capacity = 0;
    const struct dirent *found;
    while ((found = readdir (directory))) {
        struct stat about;
        if (fstatat (self->directory, found->d_name, &about, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        if (!s_is_entry (found->d_name)) {
            *total_p += s_remove_leftover (self, found->d_name, &about);
            continue;
        }
        if (*count_p == capacity) {
            capacity = capacity ? 2 * capacity : 64;
            entry_t *more = gpb_realloc (entries, capacity, sizeof *entries);
            if (!more) {
                gpb_free (entries);
                closedir (directory);
                return NULL;
            }
            entries = more;
        }
        entry_t *entry = &entries [(*count_p)++];
        memcpy (entry->name, found->d_name, NAME_SIZE + 1);
        entry->size = (uint64_t) about.st_size;
        entry->used = about.st_mtim;
        *total_p += entry->size;
    }
    closedir (directory);
    return entries;
}

static void
s_shrink (const gpb_cache_t *self)
{
    size_t count = 0;
    uint64_t total = 0;
    entry_t *entries = s_list (self, &count, &total);
    if (!entries)
        return;
    if (total > self->max_size)
        qsort (entries, count, sizeof *entries, s_used_longest_ago_first);
    for (size_t index = 0; index < count && total > self->max_size; index++) {
        unlinkat (self->directory, entries [index].name, 0);
        total -= entries [index].size;
    }
    gpb_free (entries);
}

void
gpb_cache_put (gpb_cache_t *self, const unsigned char *key, const void *data, size_t size)
{
    if (size == 0 || size > ENTRY_MAX || size + HEADER_SIZE > self->max_size)
        return;
    char name [NAME_SIZE + 1], temporary [NAME_SIZE + 64];
    s_name (key, name);
    //  The clock tells apart processes of one number on two machines that share the folder; O_EXCL
    //  does where that is not enough.
    snprintf (temporary, sizeof temporary, "%s.%ld-%llu-%llu", name, (long) getpid (),
              (unsigned long long) gpb_clock_ns (), (unsigned long long) self->written++);
    int fd = openat (self->directory, temporary,
                     O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return;
    unsigned char header [HEADER_SIZE];
    s_make_header (header, key, data, size);
    //  Not synced to the disk: after a crash of the machine an entry may be cut, which its checksum
    //  tells.
    bool done = s_write (fd, header, sizeof header) && s_write (fd, data, size);
    done = close (fd) == 0 && done;
    if (done && renameat (self->directory, temporary, self->directory, name) == 0)
        s_shrink (self);
    else
        unlinkat (self->directory, temporary, 0);
}

void
gpb_cache_keep (gpb_cache_t *self, const unsigned char *key, const void *data, size_t size)
{
    char name [NAME_SIZE + 1];
    struct stat about;
    s_name (key, name);
    if (fstatat (self->directory, name, &about, AT_SYMLINK_NOFOLLOW) != 0 && errno == ENOENT)
        gpb_cache_put (self, key, data, size);
}
