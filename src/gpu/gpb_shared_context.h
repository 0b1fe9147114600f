//  gpb_shared_context - one open device, shared by the actors that work on it
//
//  A device's actor, its pool, its kernel host, and the payload frames that libzmq still holds when
//  these have stopped all use one backend context. It is counted by references, and closed by
//  whoever lets go last, on that thread.
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
    unsigned streams;     //  0 to streams - 1 are the device's, the one behind them the pool's,
    unsigned lanes;       //  the next the kernel host's for launches, and these behind it for what
                          //  stays on the device: as many lanes as that can have at once; 0: none
    int device_fd, pool_fd,
        host_fd;    //  eventfds that the backend adds to when a command of theirs is done
} gpb_shared_context_t;

#define GPB_SHARED_LANES_MAX 32

//  The kernel host's stream for launches; those of lanes follow it.
static inline unsigned
gpb_shared_context_host_stream (const gpb_shared_context_t *self)
{
    return self->streams + 1;
}

//  Opens a device with `streams` streams for the device's actor, one for the pool, and those of the
//  kernel host. A work-group that stays takes what it runs on for itself, so that a device has
//  fewer lanes than it could run: a CPU's driver has a thread for each compute unit, and keeps one
//  for launches; of another device they get a quarter. Without the capability svm_atomics or
//  host_mapped it has none. NULL: the
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
