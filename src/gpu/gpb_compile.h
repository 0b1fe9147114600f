//  gpb_compile - from a kernel's definition to a function that can be launched, compiled once
//
//  What was compiled once is not compiled again, by this process or the next: the binary is kept in
//  memory for all devices of the process (gpb_binaries.h), and in a folder, under the SHA-256 of
//  everything that it depends on (code with its prelude, optimize, debug, options, architecture,
//  and the backend's own words about driver and compiler). Entries are written to a temporary name
//  and renamed, and carry a checksum, so that nodes may share the folder; an entry that does not
//  fit, or that the driver refuses, is dropped and compiled anew. A folder that cannot be written
//  (read-only, full disk) costs the next process the compile, never the request.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_COMPILE_H_INCLUDED
#define GPB_COMPILE_H_INCLUDED

#include "gpb_kernel.h"

typedef struct _gpb_cache_t gpb_cache_t;

//  Where a function came from.
typedef enum {
    GPB_ORIGIN_COMPILED,    //  by the backend's compiler
    GPB_ORIGIN_DISK,        //  the cache's folder
    GPB_ORIGIN_SHARED,      //  the process's memory: compiled or read for another one
    GPB_ORIGIN_SHIPPED      //  a binary of the package's own
} gpb_origin_t;

//  directory: created with mode 0700 where it is missing; NULL or "": no cache on disk. max_size:
//  bytes that all entries may take; the ones used longest ago go first. NULL only when memory runs
//  out. A folder that cannot be made or that others can write to is not used: then *error says why
//  (FAILED_PRECONDITION), and it is GPB_OK otherwise. Any thread; one instance is for one thread.
gpb_cache_t *gpb_cache_new (const char *directory, uint64_t max_size, gpb_error_t *error);

//  The same for a configuration's folder, where "" means the default one, and "none" none.
gpb_cache_t *gpb_cache_open (const char *directory, uint64_t max_size, gpb_error_t *error);

//  From now on gpb_compile with this cache takes what is compiled already, and compiles nothing.
void gpb_cache_forbid_compiling (gpb_cache_t *self);

void gpb_cache_destroy (gpb_cache_t **self_p);

//  Entries found and not found since it was made.
void gpb_cache_figures (const gpb_cache_t *self, uint64_t *hits_p, uint64_t *misses_p);

//  $XDG_CACHE_HOME/gpb or ~/.cache/gpb; the caller's, for gpb_free; NULL where neither is known.
char *gpb_cache_default_directory (void);

//  Builds kernel for a context and looks its entry up. The module is the caller's, to be unloaded
//  through operations; the function lives as long. Of a persistent kernel it is
//  GPB_PERSISTENT_ONCE, which every device can run; GPB_PERSISTENT_DISPATCH is in the same module,
//  to be looked up there with the operation `function`. *origin_p may be NULL. cache: NULL compiles
//  whatever there is. Waits where another thread compiles the same, no longer than compiling takes.
//  INVALID_ARGUMENT with the compiler's log, prefixed by the kernel's id, where it does not
//  compile; FAILED_PRECONDITION where it would have to be compiled and may not be.
gpb_status_t gpb_compile (const gpb_kernel_t *kernel, const char *backend,
                          const gpb_backend_operations_t *operations, gpb_context_t *context,
                          gpb_cache_t *cache, gpb_module_t **module_p, gpb_function_t **function_p,
                          gpb_function_info_t *info, gpb_origin_t *origin_p, gpb_error_t *error);

#endif
