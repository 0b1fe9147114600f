//  gpb_report - what a node says of itself: devices, stats, health
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_REPORT_H_INCLUDED
#define GPB_REPORT_H_INCLUDED

#include "gpb_placement.h"
#include "gpb_residencies.h"

//  What a device has said of its memory and its kernels last.
typedef struct {
    bool has_pool, has_compile;
    Gpb__V1__PoolStats pool;
    Gpb__V1__CompileStats compile;
    uint64_t kept_by_class [64];    //  pool points here
} gpb_told_t;

//  Copies it from a device's stats.
void gpb_told_copy (gpb_told_t *self, const Gpb__V1__StatsReply *stats);

//  What the broker has counted since it started.
typedef struct {
    uint64_t exhausted;    //  refused for want of room in a queue
    uint64_t expired;      //  answered DEADLINE_EXCEEDED
    uint64_t cancelled;
    uint64_t rerun;    //  idempotent requests that ran again after their device was lost
} gpb_report_counts_t;

//  What a report is made of; all borrowed.
typedef struct {
    const char *node;
    gpb_placement_t *placement;
    const gpb_router_figures_t *router;
    gpb_gate_figures_t gate;
    gpb_told_t *told;    //  one for each device
    const gpb_residencies_t *residencies;
    gpb_report_counts_t counts;
    char **notices;
    size_t notices_count;
    uint64_t started_ns;
} gpb_report_t;

//  Each answers a request of its kind.
void gpb_report_devices (const gpb_report_t *self, gpb_service_t *service, gpb_call_t *call);
void gpb_report_stats (const gpb_report_t *self, gpb_service_t *service, gpb_call_t *call);
void gpb_report_health (const gpb_report_t *self, gpb_service_t *service, gpb_call_t *call);

#endif
