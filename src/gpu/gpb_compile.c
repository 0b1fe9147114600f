//  gpb_compile - from a kernel's definition to a function that can be launched, compiled once
//
//  Text is worth keeping compiled; PTX and cubins are loaded as they are. A text is looked for in
//  the process's memory (gpb_binaries), then in the folder (gpb_cache), and only then compiled;
//  what is compiled or read goes into both. Neither decides the outcome: where a binary from there
//  does not load, or lacks the entry, it is replaced, and the package's code is built as if there
//  were no cache.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_compile.h"

#include "gpb_alloc.h"
#include "gpb_binaries.h"
#include "gpb_cache.h"

#include <sodium.h>
#include <string.h>

//  Counts up when the key's or the entries' layout changes.
#define KEY_VERSION "gpb compile cache 1"

typedef struct {
    const gpb_kernel_t *kernel;
    const gpb_backend_operations_t *operations;
    gpb_context_t *context;
    gpb_cache_t *cache;
    const gpb_code_t *code;
    unsigned char key [GPB_CACHE_KEY_SIZE];
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
s_make_key (compile_t *self, const char *backend)
{
    const gpb_code_t *code = self->code;
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
    crypto_hash_sha256_final (&hash, self->key);
}

static gpb_status_t
s_find_function (compile_t *self, gpb_error_t *error)
{
    const char *entry = gpb_kernel_persistent (self->kernel) ? GPB_PERSISTENT_ONCE
                                                             : gpb_kernel_entry (self->kernel);
    gpb_status_t status =
        self->operations->function (self->module, entry, &self->function, self->info, error);
    if (status != GPB_OK)
        self->operations->unload (&self->module);
    return status;
}

static gpb_status_t
s_build (compile_t *self, const gpb_code_t *code, gpb_error_t *error)
{
    gpb_status_t status = self->operations->build (self->context, code, &self->module, error);
    return status == GPB_OK ? s_find_function (self, error) : status;
}

static bool
s_load (compile_t *self, const void *data, size_t size)
{
    gpb_code_t code = *self->code;
    code.kind = GPB_CODE_BINARY;
    code.data = data;
    code.size = size;
    gpb_error_t unseen;
    return s_build (self, &code, &unseen) == GPB_OK;
}

//  Takes data over. Others wait for it, so it goes to them before it goes to the disk.
static void
s_share (compile_t *self, void *data, size_t size, bool from_disk)
{
    gpb_binaries_t *binaries = gpb_cache_binaries_peek (self->cache);
    gpb_binary_t *binary = gpb_binary_new (&data, size);
    if (!binary) {
        gpb_binaries_give_up (binaries, self->key);
        gpb_free (data);
        return;
    }
    gpb_binaries_publish (binaries, self->key, binary);
    if (!from_disk)
        gpb_cache_put (self->cache, self->key, binary->data, binary->size);
    gpb_binary_release (&binary);
}

static bool
s_from_disk (compile_t *self)
{
    void *data;
    size_t size;
    if (!gpb_cache_usable (self->cache) || !gpb_cache_get (self->cache, self->key, &data, &size))
        return false;
    if (s_load (self, data, size)) {
        s_share (self, data, size, true);
        return true;
    }
    gpb_free (data);
    gpb_cache_drop (self->cache, self->key);
    return false;
}

static gpb_status_t
s_compile (compile_t *self, gpb_error_t *error)
{
    gpb_binaries_t *binaries = gpb_cache_binaries_peek (self->cache);
    gpb_status_t status = self->operations->build (self->context, self->code, &self->module, error);
    //  What the compiler says of a text it says to everyone; a missing entry is this kernel's own,
    //  since the key leaves entries out.
    if (status == GPB_INVALID_ARGUMENT)
        gpb_binaries_refuse (binaries, self->key, error);
    else if (status != GPB_OK || (status = s_find_function (self, error)) != GPB_OK)
        gpb_binaries_give_up (binaries, self->key);
    if (status != GPB_OK)
        return status;
    void *data = NULL;
    size_t size = 0;
    gpb_error_t unseen;
    gpb_status_t given = self->operations->binary (self->module, &data, &size, &unseen);
    if (given == GPB_OK)
        s_share (self, data, size, false);
    else if (given == GPB_UNIMPLEMENTED)
        gpb_binaries_publish (binaries, self->key, NULL);
    else
        gpb_binaries_give_up (binaries, self->key);
    return GPB_OK;
}

static gpb_status_t
s_obtain (compile_t *self, gpb_origin_t *origin_p, gpb_error_t *error)
{
    gpb_binary_t *binary;
    gpb_binaries_outcome_t outcome =
        gpb_binaries_acquire (gpb_cache_binaries_peek (self->cache), self->key, &binary, error);
    if (outcome == GPB_BINARIES_REFUSED)
        return error->status;
    if (outcome == GPB_BINARIES_FOUND) {
        bool loaded = s_load (self, binary->data, binary->size);
        if (loaded)
            gpb_cache_keep (self->cache, self->key, binary->data, binary->size);
        gpb_binary_release (&binary);
        *origin_p = GPB_ORIGIN_SHARED;
        if (loaded)
            return GPB_OK;
        //  What the folder has under this key is no better: both are replaced.
    }
    else if (s_from_disk (self)) {
        *origin_p = GPB_ORIGIN_DISK;
        return GPB_OK;
    }
    *origin_p = GPB_ORIGIN_COMPILED;
    return s_compile (self, error);
}

gpb_status_t
gpb_compile (const gpb_kernel_t *kernel, const char *backend,
             const gpb_backend_operations_t *operations, gpb_context_t *context, gpb_cache_t *cache,
             gpb_module_t **module_p, gpb_function_t **function_p, gpb_function_info_t *info,
             gpb_origin_t *origin_p, gpb_error_t *error)
{
    gpb_code_t code;
    gpb_status_t status = gpb_kernel_code (kernel, backend, &code, error);
    if (status != GPB_OK)
        return status;
    code.never_compile = cache && gpb_cache_forbids (cache);
    compile_t self = { .kernel = kernel,
                       .operations = operations,
                       .context = context,
                       .cache = cache,
                       .code = &code,
                       .info = info };
    gpb_origin_t origin = code.kind == GPB_CODE_BINARY ? GPB_ORIGIN_SHIPPED : GPB_ORIGIN_COMPILED;
    gpb_error_t failure;
    if (cache && (code.kind == GPB_CODE_PORTABLE || code.kind == GPB_CODE_SOURCE)) {
        s_make_key (&self, backend);
        status = s_obtain (&self, &origin, &failure);
    }
    else
        status = s_build (&self, &code, &failure);
    if (status != GPB_OK)
        return gpb_error_set (error, status, "kernel \"%s\": %s", gpb_kernel_id (kernel),
                              failure.text);
    *module_p = self.module;
    *function_p = self.function;
    if (origin_p)
        *origin_p = origin;
    return GPB_OK;
}
