//  gpb_tool_stats - `gpb stats`: all that a node counts, as tables, or as one object
//
//  One table for each matter, since a reader looks for one: the queue, the devices, their
//  latencies, rented memory, how it was served, launch buffers, compiled kernels, persistent ones.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_tool.h"

#include <inttypes.h>
#include <stdio.h>

static const Gpb__V1__Load s_no_load = GPB__V1__LOAD__INIT;

static void
s_add_number (gpb_table_t *table, uint64_t number)
{
    gpb_table_add (table, "%" PRIu64, number);
}

static void
s_add_size (gpb_table_t *table, uint64_t size)
{
    char figure [GPB_FIGURE_SIZE];
    gpb_table_add (table, "%s", gpb_table_size (size, figure));
}

//  ---------------------------------------------------------------------------------------------------------
//  Queues and devices

static int
s_print_queue (const Gpb__V1__StatsReply *stats)
{
    gpb_table_t *table = gpb_table_new (
        ">QUEUED >AT-MOST >BYTES >AT-MOST >IN-FLIGHT >EXHAUSTED >EXPIRED >CANCELLED >AGED >RERUN");
    if (table) {
        s_add_number (table, stats->queue_depth);
        s_add_number (table, stats->max_queue_depth);
        s_add_size (table, stats->queue_size);
        s_add_size (table, stats->max_queue_size);
        s_add_number (table, stats->in_flight);
        s_add_number (table, stats->exhausted);
        s_add_number (table, stats->expired);
        s_add_number (table, stats->cancelled);
        s_add_number (table, stats->aged);
        s_add_number (table, stats->rerun);
    }
    int result = gpb_tool_print_table (table);
    if (result != GPB_EXIT_OK || stats->n_waiting == 0)
        return result;
    table = gpb_table_new ("PRIORITY >-3 >-2 >-1 >0 >1 >2 >3");
    if (table) {
        gpb_table_add (table, "queued");
        for (size_t index = 0; index < 7; index++)
            s_add_number (table, index < stats->n_waiting ? stats->waiting [index] : 0);
    }
    return gpb_tool_print_table (table);
}

static int
s_print_devices (const Gpb__V1__StatsReply *stats)
{
    gpb_table_t *table =
        gpb_table_new (">INDEX NAME TYPE BACKEND STATE >MEMORY >AVAILABLE >QUEUED >BOUND >BYTES "
                       ">IN-FLIGHT >PROCESSED >FAILED");
    for (size_t index = 0; table && index < stats->n_devices; index++) {
        const Gpb__V1__Device *device = stats->devices [index];
        const Gpb__V1__Load *load = device->load ? device->load : &s_no_load;
        gpb_table_add (table, "%" PRIu32, device->index);
        gpb_table_add (table, "%s", device->name);
        gpb_table_add (table, "%s", device->type);
        gpb_table_add (table, "%s", device->backend);
        gpb_table_add (table, "%s", gpb_tool_state_name (device->state));
        s_add_size (table, device->total_memory);
        s_add_size (table, device->available_memory);
        s_add_number (table, load->queue_depth);
        s_add_number (table, load->bound_depth);
        s_add_size (table, load->queue_size);
        s_add_number (table, load->in_flight);
        s_add_number (table, load->processed);
        s_add_number (table, load->failed);
    }
    return gpb_tool_print_table (table);
}

static void
s_add_latency (gpb_table_t *table, uint32_t device, const char *what,
               const Gpb__V1__Latency *latency)
{
    char figure [GPB_FIGURE_SIZE];
    uint64_t figures [6] = { 0 };
    if (latency) {
        figures [0] = latency->mean_ns;
        figures [1] = latency->min_ns;
        figures [2] = latency->p50_ns;
        figures [3] = latency->p95_ns;
        figures [4] = latency->p99_ns;
        figures [5] = latency->max_ns;
    }
    bool any = latency && latency->count > 0;
    gpb_table_add (table, "%" PRIu32, device);
    gpb_table_add (table, "%s", what);
    s_add_number (table, latency ? latency->count : 0);
    for (size_t index = 0; index < 6; index++)
        gpb_table_add (table, "%s", any ? gpb_table_time (figures [index], figure) : "-");
}

static int
s_print_latencies (const Gpb__V1__StatsReply *stats)
{
    gpb_table_t *table = gpb_table_new (">DEVICE LATENCY >COUNT >MEAN >MIN >P50 >P95 >P99 >MAX");
    for (size_t index = 0; table && index < stats->n_devices; index++) {
        const Gpb__V1__Device *device = stats->devices [index];
        const Gpb__V1__Load *load = device->load ? device->load : &s_no_load;
        s_add_latency (table, device->index, "whole, since start", load->latency);
        s_add_latency (table, device->index, "whole, last minute", load->latency_minute);
        s_add_latency (table, device->index, "queued, since start", load->queued);
    }
    return gpb_tool_print_table (table);
}

//  ---------------------------------------------------------------------------------------------------------
//  Memory

static int
s_print_memory (const Gpb__V1__StatsReply *stats)
{
    gpb_table_t *table =
        gpb_table_new (">POOL >BUFFERS >IN-USE >REQUESTED >MOST >KEPT >HELD >LIMIT >INTERNAL "
                       ">EXTERNAL >RESERVATIONS >RESERVED");
    for (size_t index = 0; table && index < stats->n_pools; index++) {
        const Gpb__V1__PoolStats *pool = stats->pools [index];
        gpb_table_add (table, "%" PRIu32, pool->device);
        s_add_number (table, pool->live);
        s_add_size (table, pool->in_use);
        s_add_size (table, pool->requested);
        s_add_size (table, pool->high_water);
        s_add_size (table, pool->kept);
        s_add_size (table, pool->held);
        s_add_size (table, pool->limit);
        gpb_table_add (table, "%.1f %%", 100 * pool->internal_fragmentation);
        gpb_table_add (table, "%.1f %%", 100 * pool->external_fragmentation);
        s_add_number (table, pool->reservations);
        s_add_size (table, pool->reserved);
    }
    return gpb_tool_print_table (table);
}

//  "3 of 4.0 KiB, 1 of 1.0 MiB": free blocks by the least size of their class.
static const char *
s_classes (const Gpb__V1__PoolStats *pool, char *text, size_t size)
{
    size_t used = 0;
    text [0] = '-';
    text [1] = 0;
    for (size_t class = 0; class < pool->n_kept_by_class && class < 64 && used + 1 < size; class ++)
    {
        char figure [GPB_FIGURE_SIZE];
        if (!pool->kept_by_class [class])
            continue;
        int step =
            snprintf (text + used, size - used, "%s%" PRIu64 " of %s", used ? ", " : "",
                      pool->kept_by_class [class], gpb_table_size ((uint64_t) 1 << class, figure));
        used += step > 0 ? (size_t) step : 0;
    }
    return text;
}

static int
s_print_rents (const Gpb__V1__StatsReply *stats)
{
    gpb_table_t *table = gpb_table_new (
        ">POOL >RENTS >RELEASES >HITS >MISSES >TRIMS >BLOCKS-KEPT >LARGEST KEPT-BLOCKS");
    for (size_t index = 0; table && index < stats->n_pools; index++) {
        const Gpb__V1__PoolStats *pool = stats->pools [index];
        char text [512];
        gpb_table_add (table, "%" PRIu32, pool->device);
        s_add_number (table, pool->rents);
        s_add_number (table, pool->releases);
        s_add_number (table, pool->hits);
        s_add_number (table, pool->misses);
        s_add_number (table, pool->trims);
        s_add_number (table, pool->blocks_kept);
        s_add_size (table, pool->largest_free);
        gpb_table_add (table, "%s", s_classes (pool, text, sizeof text));
    }
    return gpb_tool_print_table (table);
}

static int
s_print_launches (const Gpb__V1__StatsReply *stats)
{
    gpb_table_t *table =
        gpb_table_new (">DEVICE >LAUNCH-BUFFERS >KEPT >HELD >LAUNCH-HITS >LAUNCH-MISSES");
    for (size_t index = 0; table && index < stats->n_pools; index++) {
        const Gpb__V1__PoolStats *pool = stats->pools [index];
        gpb_table_add (table, "%" PRIu32, pool->device);
        s_add_size (table, pool->launch_in_use);
        s_add_size (table, pool->launch_kept);
        s_add_size (table, pool->launch_held);
        s_add_number (table, pool->launch_hits);
        s_add_number (table, pool->launch_misses);
    }
    return gpb_tool_print_table (table);
}

static int
s_print_compiles (const Gpb__V1__StatsReply *stats)
{
    gpb_table_t *table =
        gpb_table_new (">DEVICE >KERNELS-COMPILED >FROM-DISK >SHARED >COMPILE-FAILED");
    for (size_t index = 0; table && index < stats->n_compiles; index++) {
        const Gpb__V1__CompileStats *compile = stats->compiles [index];
        gpb_table_add (table, "%" PRIu32, compile->device);
        s_add_number (table, compile->compiled);
        s_add_number (table, compile->from_disk);
        s_add_number (table, compile->shared);
        s_add_number (table, compile->failed);
    }
    return gpb_tool_print_table (table);
}

static int
s_print_residencies (const Gpb__V1__StatsReply *stats)
{
    return gpb_tool_print_residencies (stats->residencies, stats->n_residencies);
}

//  ---------------------------------------------------------------------------------------------------------
//  The command

static int
s_print_stats (const Gpb__V1__Reply *header, const gpb_arguments_t *arguments)
{
    const Gpb__V1__StatsReply *stats = header->stats;
    if (arguments->json)
        return gpb_json_print (gpb_json_stats (stats));
    char figure [GPB_FIGURE_SIZE];
    printf ("node %s, up %s: %" PRIu64 " connections, %" PRIu64 " requests, %" PRIu64
            " replies, %" PRIu64 " refused; %" PRIu64 " replies and %" PRIu64 " clients dropped\n",
            stats->node, gpb_table_time (stats->uptime_ns, figure), stats->connections,
            stats->requests, stats->replies, stats->refused, stats->dropped_replies,
            stats->dropped_clients);
    printf ("%" PRIu64 " of %" PRIu64 " connections open, %" PRIu64 " over that and %" PRIu64
            " without an allowed key were closed%s\n\n",
            stats->open_connections, stats->max_connections, stats->refused_connections,
            stats->refused_keys,
            stats->insecure ? "; INSECURE: other machines are served without keys" : "");
    static const struct {
        int (*print) (const Gpb__V1__StatsReply *stats);
        size_t offset;    //  of the count without which there is nothing to print
    } tables [] = {
        { s_print_devices, offsetof (Gpb__V1__StatsReply, n_devices) },
        { s_print_latencies, offsetof (Gpb__V1__StatsReply, n_devices) },
        { s_print_memory, offsetof (Gpb__V1__StatsReply, n_pools) },
        { s_print_rents, offsetof (Gpb__V1__StatsReply, n_pools) },
        { s_print_launches, offsetof (Gpb__V1__StatsReply, n_pools) },
        { s_print_compiles, offsetof (Gpb__V1__StatsReply, n_compiles) },
        { s_print_residencies, offsetof (Gpb__V1__StatsReply, n_residencies) },
    };
    int result = s_print_queue (stats);
    for (size_t index = 0; index < sizeof tables / sizeof tables [0]; index++) {
        size_t count = *(const size_t *) ((const char *) stats + tables [index].offset);
        if (result != GPB_EXIT_OK || count == 0)
            continue;
        putchar ('\n');
        result = tables [index].print (stats);
    }
    return result;
}

int
gpb_tool_stats (const gpb_arguments_t *arguments)
{
    return gpb_tool_ask (arguments, gpb_request_stats (), GPB__V1__REPLY__BODY_STATS,
                         s_print_stats);
}
