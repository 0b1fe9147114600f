//  gpb_tool_list - `gpb devices`, `gpb kernels` and `gpb stats`: one question, one table or object
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_table.h"
#include "gpb_tool.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

//  Prints what an answer says, and returns the exit status.
typedef int (s_print_fn) (const Gpb__V1__Reply *header, const gpb_arguments_t *arguments);

//  Asks, and hands the answer's header on. expected: the body that such an answer has.
static int
s_ask (const gpb_arguments_t *arguments, gpb_request_t *request, Gpb__V1__Reply__BodyCase expected,
       s_print_fn *print)
{
    gpb_client_t *client = gpb_tool_connect (arguments);
    if (!client) {
        gpb_request_destroy (&request);
        return GPB_EXIT_FAILED;
    }
    int result = GPB_EXIT_FAILED;
    gpb_reply_t *reply = gpb_tool_call (client, request);
    if (reply) {
        const Gpb__V1__Reply *header = gpb_reply_header_peek (reply);
        if (header->body_case == expected)
            result = print (header, arguments);
        else
            fprintf (stderr, "gpb: the node's answer is to another question\n");
    }
    gpb_reply_destroy (&reply);
    gpb_client_destroy (&client);
    return result;
}

//  Prints and frees a table, which may be NULL.
static int
s_print_table (gpb_table_t *table)
{
    gpb_error_t error;
    gpb_status_t status = GPB_RESOURCE_EXHAUSTED;
    if (table)
        status = gpb_table_print (table, stdout, &error);
    else
        gpb_error_set (&error, status, "no memory for a table");
    gpb_table_destroy (&table);
    return status == GPB_OK ? gpb_tool_flush () : gpb_tool_fail (&error);
}

//  "a, b" of a list, cut where it is longer than text.
static const char *
s_join (char **words, size_t count, const char *separator, char *text, size_t size)
{
    size_t used = 0;
    text [0] = 0;
    for (size_t index = 0; index < count && used + 1 < size; index++) {
        int step =
            snprintf (text + used, size - used, "%s%s", index ? separator : "", words [index]);
        used += step > 0 ? (size_t) step : 0;
    }
    return text;
}

//  ---------------------------------------------------------------------------------------------------------
//  Devices

static int
s_print_devices (const Gpb__V1__Reply *header, const gpb_arguments_t *arguments)
{
    const Gpb__V1__DeviceList *list = header->devices;
    if (arguments->json)
        return gpb_json_print (gpb_json_devices (list));
    int result = GPB_EXIT_OK;
    gpb_table_t *table = gpb_table_new (
        ">INDEX NAME TYPE BACKEND STATE >UNITS >MHZ >MEMORY >AVAILABLE >QUEUED >IN-FLIGHT "
        "CAPABILITIES");
    for (size_t index = 0; table && index < list->n_devices; index++) {
        const Gpb__V1__Device *device = list->devices [index];
        char text [512];
        gpb_table_add (table, "%" PRIu32, device->index);
        gpb_table_add (table, "%s", device->name);
        gpb_table_add (table, "%s", device->type);
        gpb_table_add (table, "%s", device->backend);
        gpb_table_add (table, "%s", gpb_tool_state_name (device->state));
        gpb_table_add (table, "%" PRIu32, device->compute_units);
        gpb_table_add (table, "%" PRIu32, device->clock_mhz);
        gpb_table_add (table, "%s", gpb_table_size (device->total_memory, text));
        gpb_table_add (table, "%s", gpb_table_size (device->available_memory, text));
        gpb_table_add (table, "%" PRIu64, device->load ? device->load->queue_depth : 0);
        gpb_table_add (table, "%" PRIu64, device->load ? device->load->in_flight : 0);
        gpb_table_add (table, "%s",
                       s_join (device->capabilities, device->n_capabilities, ",", text,
                               sizeof text));
    }
    result = s_print_table (table);

    //  Why there are no more: one line each, where scripts that cut columns do not see them.
    for (size_t index = 0; index < list->n_devices; index++)
        if (list->devices [index]->reason [0])
            fprintf (stderr, "gpb: device %" PRIu32 ": %s\n", list->devices [index]->index,
                     list->devices [index]->reason);
    for (size_t index = 0; index < list->n_notices; index++)
        fprintf (stderr, "gpb: %s\n", list->notices [index]);
    return result;
}

int
gpb_tool_devices (const gpb_arguments_t *arguments)
{
    return s_ask (arguments, gpb_request_devices (), GPB__V1__REPLY__BODY_DEVICES, s_print_devices);
}

//  ---------------------------------------------------------------------------------------------------------
//  Kernels

//  What the kernel finds in a parameter's memory.
static const char *
s_start (const Gpb__V1__Parameter *parameter)
{
    if (strcmp (parameter->direction, "scalar") == 0)
        return "-";
    if (strcmp (parameter->direction, "out") != 0)
        return "as-sent";
    return parameter->zero ? "zero" : "undefined";
}

//  One kernel: its parameters, in the order of `gpb run`.
static int
s_print_parameters (const Gpb__V1__Kernel *kernel)
{
    char text [512];
    printf ("%s: %s\n", kernel->id, kernel->description);
    printf ("global: %s%s\n", s_join (kernel->global, kernel->n_global, ", ", text, sizeof text),
            kernel->global_free ? " (or as the caller says)" : "");
    if (kernel->n_local) {
        printf ("local: ");
        for (size_t index = 0; index < kernel->n_local; index++)
            printf ("%s%" PRIu64, index ? ", " : "", kernel->local [index]);
        printf ("\n");
    }
    if (kernel->shared [0])
        printf ("shared: %s bytes\n", kernel->shared);
    if (kernel->n_require)
        printf ("requires: %s\n",
                s_join (kernel->require, kernel->n_require, ", ", text, sizeof text));
    gpb_table_t *table = gpb_table_new ("PARAMETER DIRECTION TYPE >ALIGNMENT STARTS COUNT");
    for (size_t index = 0; table && index < kernel->n_parameters; index++) {
        const Gpb__V1__Parameter *parameter = kernel->parameters [index];
        bool scalar = strcmp (parameter->direction, "scalar") == 0;
        gpb_table_add (table, "%s", parameter->name);
        gpb_table_add (table, "%s", parameter->direction);
        gpb_table_add (table, "%s", parameter->type);
        gpb_table_add (table, scalar ? "-" : "%" PRIu32, parameter->alignment);
        gpb_table_add (table, "%s", s_start (parameter));
        gpb_table_add (table, "%s", scalar ? "-" : parameter->count);
    }
    return s_print_table (table);
}

static int
s_print_kernels (const Gpb__V1__Reply *header, const gpb_arguments_t *arguments)
{
    const Gpb__V1__KernelList *list = header->kernels;
    if (arguments->json)
        return gpb_json_print (gpb_json_kernels (list));
    if (arguments->subject && list->n_kernels == 1)
        return s_print_parameters (list->kernels [0]);
    gpb_table_t *table = gpb_table_new ("KERNEL ARGUMENTS DESCRIPTION");
    for (size_t index = 0; table && index < list->n_kernels; index++) {
        const Gpb__V1__Kernel *kernel = list->kernels [index];
        char text [512] = "";
        size_t used = 0;
        for (size_t at = 0; at < kernel->n_parameters && used + 1 < sizeof text; at++) {
            const Gpb__V1__Parameter *parameter = kernel->parameters [at];
            bool scalar = strcmp (parameter->direction, "scalar") == 0;
            int step = snprintf (text + used, sizeof text - used, "%s%s:%s", at ? " " : "",
                                 scalar ? parameter->type : parameter->direction, parameter->name);
            used += step > 0 ? (size_t) step : 0;
        }
        gpb_table_add (table, "%s", kernel->id);
        gpb_table_add (table, "%s", text);
        gpb_table_add (table, "%s", kernel->description);
    }
    return s_print_table (table);
}

int
gpb_tool_kernels (const gpb_arguments_t *arguments)
{
    return s_ask (arguments, gpb_request_kernels (arguments->subject), GPB__V1__REPLY__BODY_KERNELS,
                  s_print_kernels);
}

//  ---------------------------------------------------------------------------------------------------------
//  Stats

static void
s_add_latency (gpb_table_t *table, const Gpb__V1__Latency *latency)
{
    char figure [GPB_FIGURE_SIZE];
    uint64_t figures [4] = { 0 };
    if (latency) {
        figures [0] = latency->mean_ns;
        figures [1] = latency->p50_ns;
        figures [2] = latency->p95_ns;
        figures [3] = latency->p99_ns;
    }
    bool any = latency && latency->count > 0;
    gpb_table_add (table, "%" PRIu64, latency ? latency->count : 0);
    for (size_t index = 0; index < 4; index++)
        gpb_table_add (table, "%s", any ? gpb_table_time (figures [index], figure) : "-");
}

static int
s_print_stats (const Gpb__V1__Reply *header, const gpb_arguments_t *arguments)
{
    const Gpb__V1__StatsReply *stats = header->stats;
    if (arguments->json)
        return gpb_json_print (gpb_json_stats (stats));
    char figure [GPB_FIGURE_SIZE], other [GPB_FIGURE_SIZE];
    printf ("node %s, up %s: %" PRIu64 " connections, %" PRIu64 " requests, %" PRIu64
            " replies, %" PRIu64 " refused; %" PRIu64 " queued, %" PRIu64 " in flight; %" PRIu64
            " replies and %" PRIu64 " clients dropped\n",
            stats->node, gpb_table_time (stats->uptime_ns, figure), stats->connections,
            stats->requests, stats->replies, stats->refused, stats->queue_depth, stats->in_flight,
            stats->dropped_replies, stats->dropped_clients);
    gpb_table_t *table = gpb_table_new (">INDEX NAME TYPE BACKEND >MEMORY >AVAILABLE >QUEUED "
                                        ">IN-FLIGHT >PROCESSED >FAILED LATENCY >COUNT >MEAN >P50 "
                                        ">P95 >P99");
    for (size_t index = 0; table && index < stats->n_devices; index++) {
        static const Gpb__V1__Load nothing = GPB__V1__LOAD__INIT;
        const Gpb__V1__Device *device = stats->devices [index];
        const Gpb__V1__Load *load = device->load ? device->load : &nothing;
        gpb_table_add (table, "%" PRIu32, device->index);
        gpb_table_add (table, "%s", device->name);
        gpb_table_add (table, "%s", device->type);
        gpb_table_add (table, "%s", device->backend);
        gpb_table_add (table, "%s", gpb_table_size (device->total_memory, figure));
        gpb_table_add (table, "%s", gpb_table_size (device->available_memory, other));
        gpb_table_add (table, "%" PRIu64, load->queue_depth);
        gpb_table_add (table, "%" PRIu64, load->in_flight);
        gpb_table_add (table, "%" PRIu64, load->processed);
        gpb_table_add (table, "%" PRIu64, load->failed);
        gpb_table_add (table, "since start");
        s_add_latency (table, load->latency);
        for (size_t column = 0; column < 10; column++)
            gpb_table_add (table, "%s", "");
        gpb_table_add (table, "last minute");
        s_add_latency (table, load->latency_minute);
    }
    int result = s_print_table (table);
    if (stats->n_pools == 0 || result != GPB_EXIT_OK)
        return result;
    table = gpb_table_new (">POOL >RENTED-BUFFERS >RENTED >MOST >RENTS >RELEASES");
    for (size_t index = 0; table && index < stats->n_pools; index++) {
        const Gpb__V1__PoolStats *pool = stats->pools [index];
        gpb_table_add (table, "%" PRIu32, pool->device);
        gpb_table_add (table, "%" PRIu64, pool->live);
        gpb_table_add (table, "%s", gpb_table_size (pool->in_use, figure));
        gpb_table_add (table, "%s", gpb_table_size (pool->high_water, other));
        gpb_table_add (table, "%" PRIu64, pool->rents);
        gpb_table_add (table, "%" PRIu64, pool->releases);
    }
    return s_print_table (table);
}

int
gpb_tool_stats (const gpb_arguments_t *arguments)
{
    return s_ask (arguments, gpb_request_stats (), GPB__V1__REPLY__BODY_STATS, s_print_stats);
}
