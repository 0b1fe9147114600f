//  gpb_tool_residency - persistent kernels on their devices, as tables for people
//
//  For `gpb kernels` and `gpb stats`. What waits is said for the kernel host and for the lanes
//  apart: the first is backpressure, the second is work on the device.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_tool.h"

#include <inttypes.h>
#include <stdio.h>

static void
s_add_number (gpb_table_t *table, uint64_t number)
{
    gpb_table_add (table, "%" PRIu64, number);
}

static void
s_add_latency (gpb_table_t *table, const Gpb__V1__Latency *latency)
{
    char figure [GPB_FIGURE_SIZE];
    bool any = latency && latency->count > 0;
    const uint64_t times_ns [] = { any ? latency->p50_ns : 0, any ? latency->p95_ns : 0,
                                   any ? latency->p99_ns : 0, any ? latency->max_ns : 0 };
    for (size_t index = 0; index < sizeof times_ns / sizeof times_ns [0]; index++)
        gpb_table_add (table, "%s", any ? gpb_table_time (times_ns [index], figure) : "-");
}

int
gpb_tool_print_residencies (Gpb__V1__Residency *const *residencies, size_t count)
{
    gpb_table_t *table =
        gpb_table_new ("PERSISTENT >DEVICE STATE >LANES >WAITING >IN-LANES >ANSWERED >FAILED "
                       ">ON-DEMAND >LAUNCHES >VERSION >P50 >P95 >P99 >MAX");
    for (size_t index = 0; table && index < count; index++) {
        const Gpb__V1__Residency *is = residencies [index];
        uint64_t in_lanes = 0;
        for (size_t lane = 0; lane < is->n_lanes; lane++)
            in_lanes += is->lanes [lane]->waiting;
        gpb_table_add (table, "%s", is->kernel);
        s_add_number (table, is->device);
        gpb_table_add (table, "%s", gpb_tool_residency_name (is->state));
        s_add_number (table, is->n_lanes);
        s_add_number (table, is->waiting);
        s_add_number (table, in_lanes);
        s_add_number (table, is->answered);
        s_add_number (table, is->failed);
        s_add_number (table, is->on_demand);
        s_add_number (table, is->launches);
        s_add_number (table, is->version);
        s_add_latency (table, is->latency);
    }
    int result = gpb_tool_print_table (table);

    //  Where scripts that cut columns do not see them, as with devices.
    for (size_t index = 0; index < count; index++)
        if (residencies [index]->reason [0])
            fprintf (stderr, "gpb: %s on device %" PRIu32 " is %s: %s\n",
                     residencies [index]->kernel, residencies [index]->device,
                     gpb_tool_residency_name (residencies [index]->state),
                     residencies [index]->reason);
    return result;
}

int
gpb_tool_print_lanes (Gpb__V1__Residency *const *residencies, size_t count)
{
    gpb_table_t *table = gpb_table_new (">DEVICE >LANE STATE >ANSWERED >WAITING");
    for (size_t index = 0; table && index < count; index++)
        for (size_t lane = 0; lane < residencies [index]->n_lanes; lane++) {
            const Gpb__V1__Lane *is = residencies [index]->lanes [lane];
            s_add_number (table, residencies [index]->device);
            s_add_number (table, lane);
            gpb_table_add (table, "%s", gpb_tool_residency_name (is->state));
            s_add_number (table, is->answered);
            s_add_number (table, is->waiting);
        }
    return gpb_tool_print_table (table);
}
