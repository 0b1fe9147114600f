//  A fuzz target: entries of the compile cache's folder, which another process may have written, or
//  a disk spoiled. What comes out of one is what somebody put in, or nothing.
//
//  Input: a byte; where it is even, the rest is the file. Where it is odd it says how many bytes of
//  a good entry are changed, which three bytes each name (place, and what is flipped); the rest is
//  the binary in it.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_cache.h"

#include "gpb_alloc.h"
#include "gpb_fuzz.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static char s_folder [64];
static char s_path [256];
static unsigned char s_key [GPB_CACHE_KEY_SIZE];

static void
s_clean (void)
{
    unlink (s_path);
    rmdir (s_folder);
}

static gpb_cache_t *
s_open (void)
{
    if (!s_folder [0]) {
        snprintf (s_folder, sizeof s_folder, "%s/gpb-fuzz-XXXXXX",
                  access ("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        gpb_fuzz_check (mkdtemp (s_folder) != NULL, "a folder");
        int length = snprintf (s_path, sizeof s_path, "%s/", s_folder);
        memset (s_path + length, '0', (size_t) 2 * GPB_CACHE_KEY_SIZE);
        atexit (s_clean);
    }
    gpb_error_t error = { GPB_OK, "" };
    gpb_cache_t *cache = gpb_cache_new (s_folder, 1 << 20, &error);
    gpb_fuzz_check (cache && gpb_cache_usable (cache), "%s", error.text);
    return cache;
}

static void
s_write (const void *data, size_t size)
{
    int file = open (s_path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    gpb_fuzz_check (file >= 0 && write (file, data, size) == (ssize_t) size, "a file");
    close (file);
}

//  A good entry, some bytes of which are changed; whether any is.
static bool
s_spoil (gpb_cache_t *cache, gpb_fuzz_input_t *input, unsigned changes)
{
    uint8_t flips [3 * 8], entry [8192];
    gpb_fuzz_take (input, flips, sizeof flips);
    //  An empty binary is not kept.
    if (!input->size)
        *input = (gpb_fuzz_input_t){ (const uint8_t *) "x", 1 };
    if (input->size > 4096)
        input->size = 4096;
    unlink (s_path);
    gpb_cache_put (cache, s_key, input->data, input->size);
    int file = open (s_path, O_RDONLY);
    gpb_fuzz_check (file >= 0, "an entry");
    size_t size = (size_t) read (file, entry, sizeof entry);
    close (file);
    bool is_spoiled = false;
    uint8_t good [sizeof entry];
    memcpy (good, entry, size);
    for (unsigned index = 0; index < changes; index++)
        entry [(flips [3 * index] | (size_t) flips [3 * index + 1] << 8) % size] ^=
            flips [3 * index + 2];
    is_spoiled = memcmp (good, entry, size) != 0;
    s_write (entry, size);
    return is_spoiled;
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
    gpb_fuzz_input_t input = { data, size };
    gpb_cache_t *cache = s_open ();
    uint8_t way = gpb_fuzz_byte (&input);
    bool is_spoiled = true;
    if (way % 2)
        is_spoiled = s_spoil (cache, &input, way / 2 % 8);
    else
        s_write (input.data, input.size);
    void *binary = NULL;
    size_t binary_size = 0;
    bool is_there = gpb_cache_get (cache, s_key, &binary, &binary_size);
    if (way % 2) {
        gpb_fuzz_check (is_there == !is_spoiled, "an entry that is %s",
                        is_spoiled ? "spoiled" : "good");
        gpb_fuzz_check (!is_there
                            || (binary_size == input.size
                                && memcmp (binary, input.data, binary_size) == 0),
                        "another binary");
    }
    else
        gpb_fuzz_check (!is_there || binary_size + 80 == input.size, "a binary from nowhere");
    gpb_free (binary);
    gpb_cache_destroy (&cache);
    return 0;
}
