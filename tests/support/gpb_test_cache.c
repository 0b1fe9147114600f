//  gpb_test_cache - a cache in a folder of the test's own, and what can happen to that folder
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_test_cache.h"

#include "gpb_alloc.h"
#include "gpb_test.h"

#include <dirent.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

char gpb_test_cache_root [256];
char gpb_test_cache_directory [300];

void
gpb_test_cache_setup (void)
{
    const char *base = getenv ("TMPDIR");
    snprintf (gpb_test_cache_root, sizeof gpb_test_cache_root, "%s/gpb-cache-XXXXXX",
              base ? base : "/tmp");
    ck_assert_ptr_nonnull (mkdtemp (gpb_test_cache_root));
    snprintf (gpb_test_cache_directory, sizeof gpb_test_cache_directory, "%s/a/cache",
              gpb_test_cache_root);
}

void
gpb_test_cache_teardown (void)
{
    char command [300];
    snprintf (command, sizeof command, "rm -rf '%s'", gpb_test_cache_root);
    ck_assert_int_eq (system (command), 0);
}

gpb_cache_t *
gpb_test_cache_new (uint64_t max_size)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_cache_t *cache = gpb_cache_new (gpb_test_cache_directory, max_size, &error);
    ck_assert_ptr_nonnull (cache);
    ck_assert_ok (error.status);
    return cache;
}

bool
gpb_test_cache_use (gpb_cache_t *cache, const char *source)
{
    unsigned char key [GPB_CACHE_KEY_SIZE];
    crypto_hash_sha256 (key, (const unsigned char *) source, strlen (source));
    void *data = NULL;
    size_t size = 0;
    bool found = gpb_cache_get (cache, key, &data, &size);
    if (found) {
        ck_assert_uint_eq (size, strlen (source));
        ck_assert_mem_eq (data, source, size);
        gpb_free (data);
    }
    else
        gpb_cache_put (cache, key, source, strlen (source));
    return found;
}

int
gpb_test_cache_each (void (*visit) (const char *path))
{
    DIR *directory = opendir (gpb_test_cache_directory);
    ck_assert_ptr_nonnull (directory);
    int count = 0;
    const struct dirent *entry;
    while ((entry = readdir (directory))) {
        if (entry->d_name [0] == '.')
            continue;
        char path [600];
        snprintf (path, sizeof path, "%s/%s", gpb_test_cache_directory, entry->d_name);
        if (visit)
            visit (path);
        count++;
    }
    closedir (directory);
    return count;
}

static uint64_t s_total;

static void
s_add_size (const char *path)
{
    struct stat about;
    if (stat (path, &about) == 0)
        s_total += (uint64_t) about.st_size;
}

uint64_t
gpb_test_cache_size (void)
{
    s_total = 0;
    gpb_test_cache_each (s_add_size);
    return s_total;
}
