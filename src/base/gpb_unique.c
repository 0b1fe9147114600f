//  gpb_unique - numbers that are used once, for the names of inproc endpoints
//
//  One atomic counter of the process; at a number a nanosecond it lasts for 580 years.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_unique.h"

#include <stdatomic.h>

static atomic_uint_fast64_t s_last;

uint64_t
gpb_unique (void)
{
    return atomic_fetch_add_explicit (&s_last, 1, memory_order_relaxed) + 1;
}
