//  gpb_log_resource - tells a function of every event of another resource
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_log_resource.h"

#include "gpb_alloc.h"

typedef struct {
    gpb_resource_t resource;    //  what others see; the first member
    gpb_resource_t *upstream;
    gpb_log_resource_fn *log;
    void *context;
} self_t;

const char *
gpb_resource_event_name (gpb_resource_event_kind_t kind)
{
    static const char *const names [] = { "allocate", "deallocate", "refused", "trim" };
    return names [kind];
}

static gpb_status_t
s_allocate (gpb_resource_t *resource, uint64_t size, gpb_allocation_t *allocation,
            gpb_error_t *error)
{
    const self_t *self = (const self_t *) resource;
    gpb_status_t status = self->upstream->allocate (self->upstream, size, allocation, error);
    gpb_resource_event_t event = {
        .kind = GPB_RESOURCE_ALLOCATE, .requested = size, .status = status, .text = ""
    };
    if (status == GPB_OK)
        event.size = allocation->size;
    else {
        event.kind = GPB_RESOURCE_REFUSED;
        event.text = error ? error->text : "";
    }
    self->log (self->context, &event);
    return status;
}

static void
s_deallocate (gpb_resource_t *resource, gpb_allocation_t *allocation)
{
    const self_t *self = (const self_t *) resource;
    gpb_resource_event_t event = { .kind = GPB_RESOURCE_DEALLOCATE,
                                   .requested = allocation->requested,
                                   .size = allocation->size,
                                   .text = "" };
    self->upstream->deallocate (self->upstream, allocation);
    self->log (self->context, &event);
}

static uint64_t
s_trim (gpb_resource_t *resource, uint64_t keep_size)
{
    const self_t *self = (const self_t *) resource;
    gpb_resource_event_t event = { .kind = GPB_RESOURCE_TRIM, .requested = keep_size, .text = "" };
    event.size = self->upstream->trim (self->upstream, keep_size);
    self->log (self->context, &event);
    return event.size;
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
gpb_log_resource_new (gpb_resource_t **upstream_p, gpb_log_resource_fn *log, void *context,
                      gpb_error_t *error)
{
    gpb_resource_t *upstream = *upstream_p;
    *upstream_p = NULL;
    self_t *self = gpb_alloc (1, sizeof *self);
    if (!self) {
        upstream->destroy (&upstream);
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a resource's log");
        return NULL;
    }
    *self = (self_t){ .resource = { .allocate = s_allocate,
                                    .deallocate = s_deallocate,
                                    .trim = s_trim,
                                    .destroy = s_destroy },
                      .upstream = upstream,
                      .log = log,
                      .context = context };
    return &self->resource;
}
