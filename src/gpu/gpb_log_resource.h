//  gpb_log_resource - tells a function of every event of another resource
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_LOG_RESOURCE_H_INCLUDED
#define GPB_LOG_RESOURCE_H_INCLUDED

#include "gpb_resource.h"

typedef enum {
    GPB_RESOURCE_ALLOCATE,
    GPB_RESOURCE_DEALLOCATE,
    GPB_RESOURCE_REFUSED,    //  an allocation that failed
    GPB_RESOURCE_TRIM
} gpb_resource_event_kind_t;

typedef struct {
    gpb_resource_event_kind_t kind;
    uint64_t requested;     //  bytes that the block was asked to have; those that trim was to keep
    uint64_t size;          //  bytes that it has; those that trim gave back; 0 where it was refused
    gpb_status_t status;    //  GPB_OK, but for one that was refused
    const char *text;       //  why it was refused, where whoever asked left room for that; else ""
} gpb_resource_event_t;

//  "allocate", "deallocate", "refused", "trim".
const char *gpb_resource_event_name (gpb_resource_event_kind_t kind);

//  The event is valid for the call. Called on the resource's thread, after the event, and must not
//  use the resource.
typedef void (gpb_log_resource_fn) (void *context, const gpb_resource_event_t *event);

//  The function's context outlives it. Takes what it wraps in any case: *upstream_p becomes NULL.
//  NULL only when memory runs out.
gpb_resource_t *gpb_log_resource_new (gpb_resource_t **upstream_p, gpb_log_resource_fn *log,
                                      void *context, gpb_error_t *error);

#endif
