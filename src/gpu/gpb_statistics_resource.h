//  gpb_statistics_resource - counts what goes through to another resource
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_STATISTICS_RESOURCE_H_INCLUDED
#define GPB_STATISTICS_RESOURCE_H_INCLUDED

#include "gpb_resource.h"

typedef struct {
    uint64_t allocations, deallocations;    //  that were made
    uint64_t failures;                      //  allocations that were refused, with any status
    uint64_t trims;                         //  calls of trim
    uint64_t trimmed;                       //  bytes that these gave back
    uint64_t blocks;                        //  that are out
    uint64_t requested, in_use;             //  bytes that these were asked to have; that they have
    uint64_t blocks_high_water, requested_high_water, in_use_high_water;
} gpb_statistics_t;

//  Counts into the caller's statistics, which outlive it; several may count into the same ones on
//  one thread. Takes what it wraps in any case: *upstream_p becomes NULL. NULL only when memory
//  runs out.
gpb_resource_t *gpb_statistics_resource_new (gpb_resource_t **upstream_p,
                                             gpb_statistics_t *statistics, gpb_error_t *error);

#endif
