//  gpb_keyring - a folder of public keys that may come in
//
//  A look at the folder costs a stat for each file and no read, as long as its fingerprint (names,
//  inodes, sizes and times of all files) is the same. A file that was changed within the last
//  second may change once more without a trace, where the clock of the file system is coarse: then
//  the next look reads it all again.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_keyring.h"

#include "gpb_alloc.h"
#include "gpb_certificate.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define NOTICES_MAX 16
#define SETTLED_S 2    //  seconds after which a change shows in a file's times for certain

struct _gpb_keyring_t {
    char *folder;
    gpb_key_t **keys;
    unsigned keys_count;
    bool *seen;    //  of keys, in the reading under way
    uint64_t fingerprint;
    bool is_settled;
    unsigned notices_count;
    char notices [NOTICES_MAX][512];
};

//  ---------------------------------------------------------------------------------------------------------
//  The folder

static void s_note (gpb_keyring_t *self, const char *format, ...) GPB_PRINTF (2, 3);

static void
s_note (gpb_keyring_t *self, const char *format, ...)
{
    if (self->notices_count == NOTICES_MAX)
        return;
    va_list arguments;
    va_start (arguments, format);
    vsnprintf (self->notices [self->notices_count++], sizeof self->notices [0], format, arguments);
    va_end (arguments);
}

//  Hidden files and editors' copies are none, and a folder of certificates may hold whole pairs.
static bool
s_is_candidate (const char *name)
{
    size_t size = strlen (name);
    bool is_secret = size > 7 && strcmp (name + size - 7, "_secret") == 0;
    return name [0] != '.' && name [size - 1] != '~' && !is_secret;
}

static uint64_t
s_mix (uint64_t hash, uint64_t value)
{
    return (hash ^ value) * 0x100000001b3ULL;    //  FNV-1a, a word at a time
}

//  One number for the state of the folder; 0: it cannot be read.
static uint64_t
s_fingerprint (gpb_keyring_t *self, DIR *folder)
{
    uint64_t sum = 1;
    struct timespec now;
    clock_gettime (CLOCK_REALTIME, &now);
    self->is_settled = true;
    struct dirent *entry;
    while ((entry = readdir (folder))) {
        struct stat about;
        if (!s_is_candidate (entry->d_name)
            || fstatat (dirfd (folder), entry->d_name, &about, 0) != 0)
            continue;
        uint64_t hash = 0xcbf29ce484222325ULL;
        for (const char *at = entry->d_name; *at; at++)
            hash = s_mix (hash, (uint8_t) *at);
        hash = s_mix (hash, about.st_ino);
        hash = s_mix (hash, (uint64_t) about.st_size);
        hash = s_mix (hash, about.st_mode);
        hash = s_mix (hash, (uint64_t) about.st_mtim.tv_sec);
        hash = s_mix (hash, (uint64_t) about.st_mtim.tv_nsec);
        hash = s_mix (hash, (uint64_t) about.st_ctim.tv_sec);
        hash = s_mix (hash, (uint64_t) about.st_ctim.tv_nsec);
        sum += hash;    //  in no order
        if (about.st_ctim.tv_sec + SETTLED_S > now.tv_sec)
            self->is_settled = false;
    }
    return sum ? sum : 1;
}

//  Takes down that this key was seen. NULL: there is no room for one more.
static gpb_key_t *
s_enter (gpb_keyring_t *self, const char *name, const char *public_key)
{
    unsigned mine = self->keys_count;
    for (unsigned index = 0; index < self->keys_count; index++) {
        gpb_key_t *key = self->keys [index];
        if (strcmp (key->public_key, public_key) != 0)
            continue;
        //  One key under two names: the first of them in the alphabet, whatever the order of files.
        int order = strcmp (key->name, name);
        if (order < 0 && self->seen [index])
            return key;
        if (order == 0)
            mine = index;
        self->seen [index] = false;
    }
    if (mine < self->keys_count) {
        self->seen [mine] = true;
        return self->keys [mine];
    }
    if (self->keys_count == GPB_KEYRING_MAX)
        return NULL;
    gpb_key_t **keys = gpb_realloc (self->keys, self->keys_count + 1, sizeof (gpb_key_t *));
    self->keys = keys ? keys : self->keys;
    bool *seen = keys ? gpb_realloc (self->seen, self->keys_count + 1, sizeof *self->seen) : NULL;
    self->seen = seen ? seen : self->seen;
    gpb_key_t *key = seen ? gpb_alloc (1, sizeof *key) : NULL;
    if (!key)
        return NULL;
    snprintf (key->name, sizeof key->name, "%s", name);
    snprintf (key->public_key, sizeof key->public_key, "%s", public_key);
    self->seen [self->keys_count] = true;
    self->keys [self->keys_count++] = key;
    return key;
}

static void
s_read (gpb_keyring_t *self, DIR *folder)
{
    struct dirent *entry;
    while ((entry = readdir (folder))) {
        char path [PATH_MAX];
        struct stat about;
        if (!s_is_candidate (entry->d_name)
            || fstatat (dirfd (folder), entry->d_name, &about, 0) != 0 || S_ISDIR (about.st_mode)
            || snprintf (path, sizeof path, "%s/%s", self->folder, entry->d_name)
                   >= (int) sizeof path)
            continue;
        gpb_error_t error;
        gpb_certificate_t *certificate = gpb_certificate_load_public (path, &error);
        if (!certificate) {
            s_note (self, "%s", error.text);
            continue;
        }
        if (!s_enter (self, gpb_certificate_name (certificate),
                      gpb_certificate_public_key (certificate)))
            s_note (self, "%s: no room for it: %u keys have been allowed", path, self->keys_count);
        gpb_certificate_destroy (&certificate);
    }
}

bool
gpb_keyring_refresh (gpb_keyring_t *self)
{
    DIR *folder = opendir (self->folder);
    int reason = errno;
    bool was_settled = self->is_settled;
    uint64_t fingerprint = folder ? s_fingerprint (self, folder) : 0;
    if (fingerprint == self->fingerprint && (was_settled || !folder)) {
        if (folder)
            closedir (folder);
        return false;
    }
    bool is_new = fingerprint != self->fingerprint;
    unsigned count = gpb_keyring_count (self);
    self->fingerprint = fingerprint;
    self->notices_count = 0;
    if (self->keys_count)
        memset (self->seen, 0, self->keys_count * sizeof *self->seen);
    if (folder) {
        rewinddir (folder);
        s_read (self, folder);
        closedir (folder);
    }
    else
        s_note (self, "%s: cannot be read, so that no key is allowed: %s", self->folder,
                strerror (reason));
    for (unsigned index = 0; index < self->keys_count; index++) {
        is_new = is_new || self->keys [index]->is_allowed != self->seen [index];
        self->keys [index]->is_allowed = self->seen [index];
    }
    return is_new || count != gpb_keyring_count (self);
}

//  ---------------------------------------------------------------------------------------------------------
//  Life, and what it is asked

gpb_keyring_t *
gpb_keyring_new (const char *folder, gpb_error_t *error)
{
    DIR *there = opendir (folder);
    if (!there) {
        gpb_error_set (error, errno == ENOENT ? GPB_NOT_FOUND : GPB_INVALID_ARGUMENT,
                       "%s, the folder of allowed keys, cannot be read: %s", folder,
                       strerror (errno));
        return NULL;
    }
    closedir (there);
    gpb_keyring_t *self = gpb_alloc (1, sizeof *self);
    if (self)
        self->folder = gpb_strdup (folder);
    if (!self || !self->folder) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a folder of keys");
        gpb_keyring_destroy (&self);
        return NULL;
    }
    gpb_keyring_refresh (self);
    return self;
}

void
gpb_keyring_destroy (gpb_keyring_t **self_p)
{
    gpb_keyring_t *self = *self_p;
    if (!self)
        return;
    *self_p = NULL;
    for (unsigned index = 0; index < self->keys_count; index++)
        gpb_free (self->keys [index]);
    gpb_free (self->keys);
    gpb_free (self->seen);
    gpb_free (self->folder);
    gpb_free (self);
}

const gpb_key_t *
gpb_keyring_find (const gpb_keyring_t *self, const char *public_key)
{
    const gpb_key_t *former = NULL;
    for (unsigned index = 0; index < self->keys_count; index++)
        if (strcmp (self->keys [index]->public_key, public_key) == 0) {
            if (self->keys [index]->is_allowed)
                return self->keys [index];
            former = self->keys [index];
        }
    return former;
}

unsigned
gpb_keyring_count (const gpb_keyring_t *self)
{
    unsigned count = 0;
    for (unsigned index = 0; index < self->keys_count; index++)
        count += self->keys [index]->is_allowed;
    return count;
}

const char *
gpb_keyring_notice (const gpb_keyring_t *self, unsigned index)
{
    return index < self->notices_count ? self->notices [index] : NULL;
}
