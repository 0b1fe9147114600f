//  gpb_backends - finds the backend modules, starts them, and lists their devices
//
//  Modules are looked for in GPB_MODULE_DIR; else in `modules/` beside the program's own file (so
//  that a build tree works without installing); else where libgpb is installed. A module that is
//  not there, has another abi, or finds no driver is a notice, never an error: a node without any
//  device starts, and says why it has none.
//
//  A device is numbered from 0 in the order of the backends asked for, then in the backend's own
//  order; a device that could not be described keeps its number, so that an index is stable. A card
//  that two backends see (same bus id) is listed once, by the first.
//
//  Modules, once opened, are never closed, and a backend is started once a process: instances share
//  them (reference counted under a lock). Any thread; one instance is for one thread at a time.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_BACKENDS_H_INCLUDED
#define GPB_BACKENDS_H_INCLUDED

#include "gpb_backend.h"

typedef struct _gpb_backends_t gpb_backends_t;

//  names: backends in the order of preference, separated by blanks ("cuda opencl"). NULL only when
//  memory runs out, or for a name that is no name ([a-z0-9_]+).
gpb_backends_t *gpb_backends_new (const char *names, gpb_error_t *error);

//  Contexts opened through it are closed first.
void gpb_backends_destroy (gpb_backends_t **self_p);

//  Devices, those out of order among them.
unsigned gpb_backends_devices (gpb_backends_t *self);

//  What the device is; NULL, with the reason in *error, for one that is out of order (the backend's
//  status) or whose index is too large (NOT_FOUND, with how many there are). Borrowed, for the life
//  of self.
const gpb_device_info_t *gpb_backends_info_peek (gpb_backends_t *self, unsigned index,
                                                 gpb_error_t *error);

//  "opencl"...; NULL for an index that is too large. Borrowed.
const char *gpb_backends_name_peek (gpb_backends_t *self, unsigned index);

//  Sentences about backends that found nothing, one by one; NULL behind the last. Borrowed.
const char *gpb_backends_notice_peek (gpb_backends_t *self, unsigned number);

//  Opens a device. *operations_p is what the context is used with.
gpb_status_t gpb_backends_open (gpb_backends_t *self, unsigned index, const gpb_open_t *open,
                                const gpb_backend_operations_t **operations_p,
                                gpb_context_t **context_p, gpb_error_t *error);

//  Compiles a source for an architecture with the backend of this name, whether or not it finds a
//  driver or a device here: the operation `compile`. *data_p is the caller's, for gpb_free.
//  UNIMPLEMENTED where that backend compiles for devices that are here alone; NOT_FOUND or
//  FAILED_PRECONDITION where there is no such module, or no compiler.
gpb_status_t gpb_backends_compile (const char *backend, const gpb_code_t *code,
                                   const char *architecture, void **data_p, size_t *size_p,
                                   gpb_error_t *error);

//  What every module gets of the library; also for who uses a part of a module by itself.
extern const gpb_backend_services_t gpb_backends_services;

//  For a program's main, before it starts any thread: sets in the environment what the platforms
//  below read when they load (POCL_MAX_PTHREAD_COUNT and the like) where the user has not set it. A
//  library that is composed into an application never calls this.
void gpb_backends_environment (void);

#endif
