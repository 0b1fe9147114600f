//  gpb_residencies - what kernel hosts have said last of their persistent kernels
//
//  A copy of each host's residencies, until it says others, or is lost: at most
//  GPB_RESIDENCIES_MAX of a host, and those are what one header of 64 KiB held. Plain structure;
//  one thread: the broker's.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_RESIDENCIES_H_INCLUDED
#define GPB_RESIDENCIES_H_INCLUDED

#include "gpb.pb-c.h"

#include <stdbool.h>
#include <stddef.h>

#define GPB_RESIDENCIES_HOSTS_MAX 64
#define GPB_RESIDENCIES_MAX 256    //  of one host

//  A structure of zeros has none.
typedef struct {
    Gpb__V1__StatsReply *told [GPB_RESIDENCIES_HOSTS_MAX];    //  by device; NULL: nothing
} gpb_residencies_t;

//  Copies them from a host's stats. True where a kernel's state is another one now, or was not
//  known before. Where memory runs out nothing is known of the host.
bool gpb_residencies_copy (gpb_residencies_t *self, unsigned device,
                           const Gpb__V1__StatsReply *stats);

//  The host is lost.
void gpb_residencies_forget (gpb_residencies_t *self, unsigned device);

void gpb_residencies_clear (gpb_residencies_t *self);

//  Whether one of a host's kernels takes messages without being started first.
bool gpb_residencies_is_awake (const gpb_residencies_t *self, unsigned device);

//  How many there are of all hosts.
size_t gpb_residencies_count (const gpb_residencies_t *self);

//  Those of one kernel (NULL: of all), device by device, into a list that has room for
//  gpb_residencies_count. Borrowed. Returns how many.
size_t gpb_residencies_list (const gpb_residencies_t *self, const char *kernel,
                             Gpb__V1__Residency **list);

#endif
