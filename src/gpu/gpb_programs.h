//  gpb_programs - the kernels of a node, compiled for one device
//
//  A kernel is compiled when it is first asked for, once in this process (gpb_compile.h). One
//  thread: the device's.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_PROGRAMS_H_INCLUDED
#define GPB_PROGRAMS_H_INCLUDED

#include "gpb_compile.h"
#include "gpb_kernel.h"
#include "gpb_shared_context.h"

typedef struct _gpb_programs_t gpb_programs_t;

//  A kernel, compiled for this device.
typedef struct {
    const gpb_kernel_t *kernel;
    gpb_module_t *module;
    gpb_function_t *function;
    gpb_function_info_t info;
} gpb_program_t;

//  Whoever has launched it uses it until the launch is done: one that is replaced stays loaded for
//  so long.
void gpb_program_use (const gpb_program_t *program);
void gpb_program_drop (const gpb_program_t *program);

//  How often a kernel was made ready to launch, and from what; a binary of a package's own is in
//  none of them.
typedef struct {
    uint64_t compiled;     //  by the backend's compiler
    uint64_t from_disk;    //  from the cache's folder
    uint64_t shared;       //  from the process's memory: compiled or read for another one
    uint64_t failed;
} gpb_programs_figures_t;

//  kernel_path: folders of packages, separated by ':'; "": the default ones. cache_directory: "":
//  the default one, "none": no cache on disk. shared is borrowed for the life of self. Where the
//  cache's folder is of no use, *error says why, though self works without it; it is GPB_OK
//  otherwise.
gpb_programs_t *gpb_programs_new (const gpb_shared_context_t *shared, const char *kernel_path,
                                  const char *cache_directory, uint64_t cache_size,
                                  gpb_error_t *error);

//  From now on it compiles nothing: a kernel of which there is no binary is refused.
void gpb_programs_forbid_compiling (gpb_programs_t *self);

//  Nothing on the device may run any of them any more.
void gpb_programs_destroy (gpb_programs_t **self_p);

//  Has what stays on the device leave it (begins), or lets it come back. Where it cannot leave, the
//  kernel is not compiled, and the next call tries again.
typedef gpb_status_t (gpb_programs_alone_fn) (void *context, bool begins, gpb_error_t *error);

//  For a device that loads code only while nothing stays on it (loads_alone of its info): called
//  around each compiling and loading there.
void gpb_programs_set_alone (gpb_programs_t *self, gpb_programs_alone_fn *alone, void *context);

//  Borrowed until its kernel is replaced, or for as long as it is used. NOT_FOUND for an unknown
//  id; FAILED_PRECONDITION, with the compiler's words, for a package that does not compile for this
//  device, and for a persistent kernel, which the device's kernel host runs.
const gpb_program_t *gpb_programs_lookup (gpb_programs_t *self, const char *id, gpb_error_t *error);

//  A definition and a source that came over the wire: checked, compiled (on a device that has what
//  it requires), and, unless check_only, taken in. ALREADY_EXISTS unless replace; INVALID_ARGUMENT
//  for what is no definition or does not compile; FAILED_PRECONDITION for a persistent kernel,
//  which the kernel host takes.
gpb_status_t gpb_programs_register (gpb_programs_t *self, const char *definition,
                                    const char *source, bool replace, bool check_only,
                                    gpb_error_t *error);

//  Since self was made; borrowed.
const gpb_programs_figures_t *gpb_programs_figures (const gpb_programs_t *self);

//  All definitions; borrowed.
gpb_kernels_t *gpb_programs_kernels (gpb_programs_t *self);

//  Whether a device has a capability.
bool gpb_device_has (const gpb_device_info_t *info, const char *capability);

//  The first capability that a kernel requires and a device has not, or NULL.
const char *gpb_kernel_lacks (const gpb_kernel_t *kernel, const gpb_device_info_t *info);

#endif
