//  gpb_limit_resource - a bound in bytes around another resource
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_limit_resource.h"

#include "gpb_alloc.h"

#include <inttypes.h>

typedef struct {
    gpb_resource_t resource;    //  what others see; the first member
    gpb_resource_t *upstream;
    gpb_limit_t *account;
} self_t;

static gpb_status_t
s_refuse (const gpb_limit_t *account, uint64_t size, gpb_error_t *error)
{
    return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED,
                          "%" PRIu64 " bytes were asked for: %" PRIu64 " are in use, and the limit "
                          "is %" PRIu64,
                          size, account->used, account->limit);
}

static gpb_status_t
s_allocate (gpb_resource_t *resource, uint64_t size, gpb_allocation_t *allocation,
            gpb_error_t *error)
{
    const self_t *self = (const self_t *) resource;
    gpb_limit_t *account = self->account;
    *allocation = (gpb_allocation_t){ .size = 0 };
    uint64_t left = account->used < account->limit ? account->limit - account->used : 0;
    if (size > left)
        return s_refuse (account, size, error);
    gpb_status_t status = self->upstream->allocate (self->upstream, size, allocation, error);
    if (status != GPB_OK)
        return status;
    if (allocation->size > left) {
        uint64_t block_size = allocation->size;
        self->upstream->deallocate (self->upstream, allocation);
        return s_refuse (account, block_size, error);
    }
    account->used += allocation->size;
    return GPB_OK;
}

static void
s_deallocate (gpb_resource_t *resource, gpb_allocation_t *allocation)
{
    const self_t *self = (const self_t *) resource;
    self->account->used -= allocation->size;
    self->upstream->deallocate (self->upstream, allocation);
}

static uint64_t
s_trim (gpb_resource_t *resource, uint64_t keep_size)
{
    const self_t *self = (const self_t *) resource;
    return self->upstream->trim (self->upstream, keep_size);
}

static void
s_destroy (gpb_resource_t **resource_p)
{
    self_t *self = (self_t *) *resource_p;
    if (!self)
        return;
    *resource_p = NULL;
    self->upstream->destroy (&self->upstream);
    gpb_free (self);
}

gpb_resource_t *
gpb_limit_resource_new (gpb_resource_t **upstream_p, gpb_limit_t *account, gpb_error_t *error)
{
    gpb_resource_t *upstream = *upstream_p;
    *upstream_p = NULL;
    self_t *self = gpb_alloc (1, sizeof *self);
    if (!self) {
        upstream->destroy (&upstream);
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a limit's resource");
        return NULL;
    }
    *self = (self_t){ .resource = { .allocate = s_allocate,
                                    .deallocate = s_deallocate,
                                    .trim = s_trim,
                                    .destroy = s_destroy },
                      .upstream = upstream,
                      .account = account };
    return &self->resource;
}
