//  gpb_statistics_resource - counts what goes through to another resource
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_statistics_resource.h"

#include "gpb_alloc.h"

typedef struct {
    gpb_resource_t resource;    //  what others see; the first member
    gpb_resource_t *upstream;
    gpb_statistics_t *statistics;
} self_t;

static void
s_mark (uint64_t *high_water, uint64_t value)
{
    if (value > *high_water)
        *high_water = value;
}

static gpb_status_t
s_allocate (gpb_resource_t *resource, uint64_t size, gpb_allocation_t *allocation,
            gpb_error_t *error)
{
    const self_t *self = (const self_t *) resource;
    gpb_statistics_t *statistics = self->statistics;
    gpb_status_t status = self->upstream->allocate (self->upstream, size, allocation, error);
    if (status != GPB_OK) {
        statistics->failures++;
        return status;
    }
    statistics->allocations++;
    statistics->blocks++;
    statistics->requested += allocation->requested;
    statistics->in_use += allocation->size;
    s_mark (&statistics->blocks_high_water, statistics->blocks);
    s_mark (&statistics->requested_high_water, statistics->requested);
    s_mark (&statistics->in_use_high_water, statistics->in_use);
    return GPB_OK;
}

static void
s_deallocate (gpb_resource_t *resource, gpb_allocation_t *allocation)
{
    const self_t *self = (const self_t *) resource;
    gpb_statistics_t *statistics = self->statistics;
    statistics->deallocations++;
    statistics->blocks--;
    statistics->requested -= allocation->requested;
    statistics->in_use -= allocation->size;
    self->upstream->deallocate (self->upstream, allocation);
}

static uint64_t
s_trim (gpb_resource_t *resource, uint64_t keep_size)
{
    const self_t *self = (const self_t *) resource;
    uint64_t trimmed = self->upstream->trim (self->upstream, keep_size);
    self->statistics->trims++;
    self->statistics->trimmed += trimmed;
    return trimmed;
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
gpb_statistics_resource_new (gpb_resource_t **upstream_p, gpb_statistics_t *statistics,
                             gpb_error_t *error)
{
    gpb_resource_t *upstream = *upstream_p;
    *upstream_p = NULL;
    self_t *self = gpb_alloc (1, sizeof *self);
    if (!self) {
        upstream->destroy (&upstream);
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a resource's statistics");
        return NULL;
    }
    *self = (self_t){ .resource = { .allocate = s_allocate,
                                    .deallocate = s_deallocate,
                                    .trim = s_trim,
                                    .destroy = s_destroy },
                      .upstream = upstream,
                      .statistics = statistics };
    return &self->resource;
}
