//  gpb_driver_resource - memory of one kind, straight from a device's driver
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_driver_resource.h"

#include "gpb_alloc.h"

#include <string.h>

typedef struct {
    gpb_resource_t resource;    //  what others see; the first member
    const gpb_backend_operations_t *operations;
    gpb_context_t *context;
    gpb_memory_kind_t kind;
} self_t;

static gpb_status_t
s_allocate (gpb_resource_t *resource, uint64_t size, gpb_allocation_t *allocation,
            gpb_error_t *error)
{
    const self_t *self = (const self_t *) resource;
    memset (allocation, 0, sizeof *allocation);
    gpb_memory_t *memory = NULL;
    void *address = NULL;
    gpb_status_t status = self->operations->allocate (self->context, self->kind,
                                                      GPB_ACCESS_READ_WRITE, size, &memory, error);
    if (status == GPB_OK && self->kind != GPB_MEMORY_DEVICE)
        status = self->operations->address (memory, &address, error);
    if (status != GPB_OK) {
        if (memory)
            self->operations->release (&memory);
        return status;
    }
    *allocation = (gpb_allocation_t){
        .memory = memory, .address = address, .size = size, .requested = size, .fresh = true
    };
    return GPB_OK;
}

static void
s_deallocate (gpb_resource_t *resource, gpb_allocation_t *allocation)
{
    const self_t *self = (const self_t *) resource;
    self->operations->release (&allocation->memory);
    memset (allocation, 0, sizeof *allocation);
}

static uint64_t
s_trim (gpb_resource_t *resource, uint64_t keep_size)
{
    (void) resource;
    (void) keep_size;
    return 0;
}

static void
s_destroy (gpb_resource_t **resource_p)
{
    gpb_free (*resource_p);
    *resource_p = NULL;
}

gpb_resource_t *
gpb_driver_resource_new (const gpb_backend_operations_t *operations, gpb_context_t *context,
                         gpb_memory_kind_t kind, gpb_error_t *error)
{
    self_t *self = gpb_alloc (1, sizeof *self);
    if (!self) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a driver's resource");
        return NULL;
    }
    *self = (self_t){ .resource = { .allocate = s_allocate,
                                    .deallocate = s_deallocate,
                                    .trim = s_trim,
                                    .destroy = s_destroy },
                      .operations = operations,
                      .context = context,
                      .kind = kind };
    return &self->resource;
}
