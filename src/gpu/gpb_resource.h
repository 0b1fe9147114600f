//  gpb_resource - the one small interface behind which memory of a device is had
//
//  Whatever gives memory is a resource: the driver (gpb_driver_resource), an arena that carves
//  blocks out of larger ones (gpb_arena), and a limit, a count or a log line wrapped around another
//  one (gpb_limit_resource, gpb_statistics_resource, gpb_log_resource). A resource that wraps
//  another owns it. One thread at a time.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_RESOURCE_H_INCLUDED
#define GPB_RESOURCE_H_INCLUDED

#include "gpb_backend.h"

//  A block of memory, by value.
typedef struct {
    gpb_memory_t *memory;    //  what it is a part of
    uint64_t offset;         //  of its first byte in there; a multiple of GPB_MEMORY_ALIGNMENT
    void *address;           //  of that byte, where the host reaches it; else NULL
    uint64_t size;           //  bytes that it has: at least what was asked
    uint64_t requested;      //  bytes that were asked for
    bool fresh;              //  some of it has come from the driver and was given to nobody before
    void *record;            //  of the resource that gave it
} gpb_allocation_t;

typedef struct gpb_resource gpb_resource_t;

struct gpb_resource {
    //  size is at least 1. RESOURCE_EXHAUSTED where there is not enough.
    gpb_status_t (*allocate) (gpb_resource_t *self, uint64_t size, gpb_allocation_t *allocation,
                              gpb_error_t *error);

    //  Takes back what allocate gave; *allocation is zeros afterwards. No command uses it any more.
    void (*deallocate) (gpb_resource_t *self, gpb_allocation_t *allocation);

    //  Gives back what it holds and nobody has, down to keep_size bytes. Returns the bytes given
    //  back.
    uint64_t (*trim) (gpb_resource_t *self, uint64_t keep_size);

    //  With what it wraps; *self_p becomes NULL. Everything must have come back.
    void (*destroy) (gpb_resource_t **self_p);
};

#endif
