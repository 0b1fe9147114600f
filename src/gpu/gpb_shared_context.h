//  gpb_shared_context - one open device, shared by the actors that work on it
//
//  A device's actor, its pool, and the payload frames that libzmq still holds when both have
//  stopped all use one backend context. It is counted by references, and closed by whoever lets go
//  last, on that thread.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_SHARED_CONTEXT_H_INCLUDED
#define GPB_SHARED_CONTEXT_H_INCLUDED

#include "gpb_backends.h"

//  Fields are set when it is opened and never change: any thread may read them while it holds a
//  reference.
typedef struct gpb_shared_context {
    const gpb_backend_operations_t *operations;
    gpb_context_t *context;
    gpb_device_info_t info;
    char backend [32];    //  "opencl", "cuda"
    unsigned index;       //  the device's, on its node
    unsigned streams;     //  0 to streams - 1 are the device's, the one behind them the pool's
    int device_fd,
        pool_fd;    //  eventfds that the backend adds to when a command of theirs is done
} gpb_shared_context_t;

//  Opens a device with `streams` streams for the device's actor and one for the pool. NULL: the
//  reason is in *error. The caller holds the first reference.
gpb_shared_context_t *gpb_shared_context_open (const char *backends, unsigned index,
                                               unsigned streams, bool profiling,
                                               gpb_error_t *error);

gpb_shared_context_t *gpb_shared_context_retain (const gpb_shared_context_t *self);

void gpb_shared_context_release (gpb_shared_context_t **self_p);

//  A kernel on it does not end: it is never closed, nor is anything that the kernel may use given
//  back. *self_p becomes NULL.
void gpb_shared_context_abandon (gpb_shared_context_t **self_p);

//  How many contexts of this process were abandoned. A program with one ends by _exit: what a
//  driver does at exit is no match for a kernel that still runs. Any thread.
unsigned gpb_shared_context_abandoned (void);

#endif
