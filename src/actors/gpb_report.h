//  gpb_report - what a node says of itself: devices, stats, health
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_REPORT_H_INCLUDED
#define GPB_REPORT_H_INCLUDED

#include "gpb_placement.h"

//  What a report is made of; all borrowed.
typedef struct {
    const char *node;
    gpb_placement_t *placement;
    const gpb_router_figures_t *router;
    Gpb__V1__PoolStats *pools;    //  one for each device, as it said last
    char **notices;
    size_t notices_count;
    uint64_t started_ns;
} gpb_report_t;

//  Each answers a request of its kind.
void gpb_report_devices (const gpb_report_t *self, gpb_service_t *service, gpb_call_t *call);
void gpb_report_stats (const gpb_report_t *self, gpb_service_t *service, gpb_call_t *call);
void gpb_report_health (const gpb_report_t *self, gpb_service_t *service, gpb_call_t *call);

#endif
