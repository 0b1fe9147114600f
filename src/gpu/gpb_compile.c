//  gpb_compile - from a kernel's definition to a function that can be launched, through a cache on
//  disk
//
//  Text is worth keeping compiled; PTX and cubins are loaded as they are. The cache never decides
//  the outcome: where a binary from it does not load, or lacks the entry, it is dropped, and the
//  package's code is built as if there were no cache.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_compile.h"

#include "gpb_alloc.h"
#include "gpb_cache.h"

#include <sodium.h>
#include <string.h>

//  Counts up when the key's or the entries' layout changes.
#define KEY_VERSION "gpb compile cache 1"

typedef struct {
    const gpb_kernel_t *kernel;
    const gpb_backend_operations_t *operations;
    gpb_context_t *context;
    gpb_module_t *module;
    gpb_function_t *function;
    gpb_function_info_t *info;
} compile_t;

//  Each part behind its length, so that no two lists of parts give the same bytes.
static void
s_hash_part (crypto_hash_sha256_state *hash, const void *data, size_t size)
{
    unsigned char length [8];
    for (int index = 0; index < 8; index++)
        length [index] = (unsigned char) ((uint64_t) size >> (8 * index));
    crypto_hash_sha256_update (hash, length, sizeof length);
    crypto_hash_sha256_update (hash, data, size);
}

static void
s_make_key (const compile_t *self, const char *backend, const gpb_code_t *code, unsigned char *key)
{
    char compiler [1024] = "";
    self->operations->compiler (self->context, compiler, sizeof compiler);
    const unsigned char choices [3] = { (unsigned char) code->kind, (unsigned char) code->optimize,
                                        code->debug };
    crypto_hash_sha256_state hash;
    crypto_hash_sha256_init (&hash);
    s_hash_part (&hash, KEY_VERSION, strlen (KEY_VERSION));
    s_hash_part (&hash, backend, strlen (backend));
    s_hash_part (&hash, compiler, strlen (compiler));
    s_hash_part (&hash, choices, sizeof choices);
    s_hash_part (&hash, code->options, strlen (code->options));
    s_hash_part (&hash, code->architecture, strlen (code->architecture));
    s_hash_part (&hash, code->data, code->size);
    crypto_hash_sha256_final (&hash, key);
}

static gpb_status_t
s_build (compile_t *self, const gpb_code_t *code, gpb_error_t *error)
{
    gpb_status_t status = self->operations->build (self->context, code, &self->module, error);
    if (status != GPB_OK)
        return status;
    status = self->operations->function (self->module, gpb_kernel_entry (self->kernel),
                                         &self->function, self->info, error);
    if (status != GPB_OK)
        self->operations->unload (&self->module);
    return status;
}

static bool
s_from_cache (compile_t *self, const gpb_code_t *code, gpb_cache_t *cache, const unsigned char *key)
{
    void *data;
    size_t size;
    if (!gpb_cache_get (cache, key, &data, &size))
        return false;
    gpb_code_t binary = *code;
    binary.kind = GPB_CODE_BINARY;
    binary.data = data;
    binary.size = size;
    gpb_error_t unseen;
    bool loaded = s_build (self, &binary, &unseen) == GPB_OK;
    gpb_free (data);
    if (!loaded)
        gpb_cache_drop (cache, key);
    return loaded;
}

static void
s_to_cache (compile_t *self, gpb_cache_t *cache, const unsigned char *key)
{
    void *data = NULL;
    size_t size = 0;
    gpb_error_t unseen;
    if (self->operations->binary (self->module, &data, &size, &unseen) != GPB_OK)
        return;
    gpb_cache_put (cache, key, data, size);
    gpb_free (data);
}

gpb_status_t
gpb_compile (const gpb_kernel_t *kernel, const char *backend,
             const gpb_backend_operations_t *operations, gpb_context_t *context, gpb_cache_t *cache,
             gpb_module_t **module_p, gpb_function_t **function_p, gpb_function_info_t *info,
             bool *cached_p, gpb_error_t *error)
{
    compile_t self = { kernel, operations, context, NULL, NULL, info };
    gpb_code_t code;
    gpb_status_t status = gpb_kernel_code (kernel, backend, &code, error);
    if (status != GPB_OK)
        return status;
    bool text = code.kind == GPB_CODE_PORTABLE || code.kind == GPB_CODE_SOURCE;
    bool keep = text && cache && gpb_cache_usable (cache);
    unsigned char key [GPB_CACHE_KEY_SIZE];
    if (keep)
        s_make_key (&self, backend, &code, key);
    bool cached = keep && s_from_cache (&self, &code, cache, key);
    if (!cached) {
        status = s_build (&self, &code, error);
        if (status != GPB_OK) {
            gpb_error_prefix (error, "kernel \"%s\": ", gpb_kernel_id (kernel));
            return status;
        }
        if (keep)
            s_to_cache (&self, cache, key);
    }
    *module_p = self.module;
    *function_p = self.function;
    if (cached_p)
        *cached_p = cached;
    return GPB_OK;
}
