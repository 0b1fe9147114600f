//  gpb_cuda_prebuilt - sources that were compiled when libgpb was built
//
//  A file for each source and architecture, in the folder `cuda` beside this module. Its name is a
//  hash of all that the compiler would be given, so a package that somebody has changed does not
//  find what it was before. The folder is the installation's own, as the module is.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_cuda.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define FILE_MAX_SIZE (64L << 20)

static const char s_here [] = "";    //  an address in this module

//  FNV-1a of 64 bits, twice with different starts: names among some dozens of files, not a seal.
typedef struct {
    uint64_t first, second;
} hash_t;

static void
s_hash (hash_t *hash, const void *data, size_t size)
{
    const unsigned char *bytes = data;
    for (size_t index = 0; index < size; index++) {
        hash->first = (hash->first ^ bytes [index]) * UINT64_C (0x100000001b3);
        hash->second = (hash->second ^ bytes [index]) * UINT64_C (0x100000001b3);
        hash->second ^= hash->second >> 29;
    }
}

void
gpb_cuda_prebuilt_name (const gpb_code_t *code, const char *architecture,
                        char name [GPB_CUDA_PREBUILT_NAME_SIZE])
{
    hash_t hash = { UINT64_C (0xcbf29ce484222325), UINT64_C (0x9e3779b97f4a7c15) };
    const unsigned char choices [] = { (unsigned char) code->kind, (unsigned char) code->optimize,
                                       code->debug };
    s_hash (&hash, choices, sizeof choices);
    s_hash (&hash, code->options, strlen (code->options) + 1);
    s_hash (&hash, code->data, code->size);
    snprintf (name, GPB_CUDA_PREBUILT_NAME_SIZE, "%016" PRIx64 "%016" PRIx64 ".%.24s", hash.first,
              hash.second, architecture);
}

static bool
s_read (const gpb_backend_services_t *services, const char *path, char **data_p, size_t *size_p)
{
    FILE *file = fopen (path, "rb");
    if (!file)
        return false;
    long size = fseek (file, 0, SEEK_END) == 0 ? ftell (file) : -1;
    char *data = NULL;
    if (size > 0 && size <= FILE_MAX_SIZE && fseek (file, 0, SEEK_SET) == 0)
        data = services->alloc ((size_t) size + 1, 1);
    if (data && fread (data, 1, (size_t) size, file) != (size_t) size) {
        services->free (data);
        data = NULL;
    }
    fclose (file);
    *data_p = data;
    *size_p = data ? (size_t) size : 0;
    return data != NULL;
}

bool
gpb_cuda_prebuilt_read (const gpb_backend_services_t *services, const gpb_code_t *code,
                        const char *architecture, bool is_any, char **data_p, size_t *size_p)
{
    *data_p = NULL;
    *size_p = 0;
    Dl_info self;
    if (!dladdr (s_here, &self) || !self.dli_fname)
        return false;
    const char *name = strrchr (self.dli_fname, '/');
    char file [GPB_CUDA_PREBUILT_NAME_SIZE], path [PATH_MAX];
    gpb_cuda_prebuilt_name (code, is_any ? GPB_CUDA_PREBUILT_ANY : architecture, file);
    int length =
        snprintf (path, sizeof path, "%.*s/cuda/%s", name ? (int) (name - self.dli_fname) : 1,
                  name ? self.dli_fname : ".", file);
    return length > 0 && (size_t) length < sizeof path && s_read (services, path, data_p, size_p);
}
