//  gpb_tool_run - `gpb run`: one kernel on files
//
//  Asks the node what the kernel's parameters are, holds the command line against them, reads the
//  files, and only then sends the request; so that a wrong argument costs no transfer. Results are
//  written once all of them are there. A signal takes the request back on the node.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_invocation.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

//  A queue that is full says when it is worth asking again; after so many times it is too busy.
#define RUN_RETRIES 5

typedef struct {
    const gpb_arguments_t *arguments;
    gpb_client_t *client;
    gpb_invocation_t call;
    gpb_histogram_t round_trips;
    gpb_reply_t *reply;    //  of the last run
} s_run_t;

//  ---------------------------------------------------------------------------------------------------------
//  The results

//  The number of results that the command line wants.
static size_t
s_wanted (const s_run_t *self)
{
    size_t wanted = 0;
    for (size_t index = 0; index < self->call.count; index++)
        wanted += self->call.operands [index].target != NULL;
    return wanted;
}

static int
s_write_results (const s_run_t *self)
{
    gpb_error_t error;
    if (gpb_reply_results (self->reply) != s_wanted (self)) {
        gpb_error_set (&error, GPB_INTERNAL, "the node sent %zu results, not %zu",
                       gpb_reply_results (self->reply), s_wanted (self));
        return gpb_tool_fail (&error);
    }
    size_t result = 0;
    for (size_t index = 0; index < self->call.count; index++) {
        if (!self->call.operands [index].target)
            continue;
        size_t size = 0;
        const void *data = gpb_reply_result (self->reply, result++, &size);
        if (gpb_file_write (self->call.operands [index].target, data, size, &error) != GPB_OK)
            return gpb_tool_fail (&error);
    }
    return GPB_EXIT_OK;
}

static const Gpb__V1__ExecuteReply *
s_execute_peek (const s_run_t *self)
{
    static const Gpb__V1__ExecuteReply nothing = GPB__V1__EXECUTE_REPLY__INIT;
    const Gpb__V1__Reply *header = gpb_reply_header_peek (self->reply);
    return header->body_case == GPB__V1__REPLY__BODY_EXECUTE ? header->execute : &nothing;
}

static json_t *
s_json_span (const Gpb__V1__Span *span)
{
    return span ? json_integer ((json_int_t) span->ns) : json_null ();
}

//  Where the time of a persistent kernel's message went.
static json_t *
s_json_message (const gpb_message_timing_t *timing)
{
    if (!timing)
        return json_null ();
    json_t *object =
        json_pack ("{s:o, s:b, s:b, s:I, s:I, s:I}", "clock", gpb_json_text (timing->clock),
                   "measured", timing->is_measured, "on_demand", timing->is_on_demand, "lane",
                   (json_int_t) timing->lane, "queued_ns", (json_int_t) timing->queued_ns,
                   "ring_ns", (json_int_t) timing->ring_ns);
    const struct {
        const char *key;
        uint64_t time_ns;
    } measured [] = { { "taken_ns", timing->taken_ns },
                      { "handler_ns", timing->handler_ns },
                      { "back_ns", timing->back_ns } };
    for (size_t index = 0; object && index < 3; index++)
        json_object_set_new (object, measured [index].key,
                             timing->is_measured
                                 ? json_integer ((json_int_t) measured [index].time_ns)
                                 : json_null ());
    return object;
}

static int
s_print_json (const s_run_t *self)
{
    static const Gpb__V1__Timing nothing = GPB__V1__TIMING__INIT;
    const Gpb__V1__ExecuteReply *execute = s_execute_peek (self);
    const Gpb__V1__Timing *timing = execute->timing ? execute->timing : &nothing;
    json_t *results = json_array ();
    size_t result = 0;
    for (size_t index = 0; index < self->call.count; index++) {
        size_t size = 0;
        if (!self->call.operands [index].target)
            continue;
        gpb_reply_result (self->reply, result++, &size);
        json_array_append_new (results,
                               json_pack ("{s:i, s:o, s:I}", "argument", (int) index, "file",
                                          gpb_json_text (self->call.operands [index].target),
                                          "size", (json_int_t) size));
    }
    return gpb_json_print (json_pack (
        "{s:s, s:s, s:I, s:I, s:b, s:I, s:o, s:o, s:o, s:I, s:I, s:o, s:o, s:o}", "kernel",
        self->arguments->subject, "node", execute->node, "device", (json_int_t) execute->device,
        "count", (json_int_t) self->round_trips.count, "measured", (int) timing->measured,
        "queued_ns", (json_int_t) gpb_reply_header_peek (self->reply)->queued_ns, "copy_in_ns",
        s_json_span (timing->copy_in), "compute_ns", s_json_span (timing->compute), "copy_out_ns",
        s_json_span (timing->copy_out), "device_ns", (json_int_t) timing->device_ns, "host_copied",
        (json_int_t) timing->host_copied, "round_trip_ns", gpb_json_histogram (&self->round_trips),
        "message", s_json_message (gpb_reply_message_timing (self->reply)), "results", results));
}

static void
s_add_span (gpb_table_t *table, const Gpb__V1__Timing *timing, const Gpb__V1__Span *span)
{
    char figure [GPB_FIGURE_SIZE];
    bool measured = timing && timing->measured && span;
    gpb_table_add (table, "%s", measured ? gpb_table_time (span->ns, figure) : "-");
}

//  One time, or "-" where no clock has measured it.
static void
s_add_time (gpb_table_t *table, bool is_measured, uint64_t time_ns)
{
    char figure [GPB_FIGURE_SIZE];
    gpb_table_add (table, "%s", is_measured ? gpb_table_time (time_ns, figure) : "-");
}

//  Where the time of a persistent kernel's message went, in a second table.
static gpb_status_t
s_print_message (const gpb_message_timing_t *timing, FILE *out, gpb_error_t *error)
{
    gpb_table_t *table =
        gpb_table_new (">LANE >HOST-QUEUED >TAKEN >HANDLER >BACK >RING CLOCK LAUNCH");
    if (!table)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a table");
    gpb_table_add (table, "%" PRIu32, timing->lane);
    s_add_time (table, true, timing->queued_ns);
    s_add_time (table, timing->is_measured, timing->taken_ns);
    s_add_time (table, timing->is_measured, timing->handler_ns);
    s_add_time (table, timing->is_measured, timing->back_ns);
    s_add_time (table, true, timing->ring_ns);
    gpb_table_add (table, "%s", timing->clock);
    gpb_table_add (table, "%s", timing->is_on_demand ? "on demand" : "persistent");
    gpb_status_t status = gpb_table_print (table, out, error);
    gpb_table_destroy (&table);
    return status;
}

//  For people, and on standard error where a result goes to standard output.
static int
s_print_table (const s_run_t *self)
{
    FILE *out = gpb_invocation_report (&self->call);
    gpb_error_t error;
    char figure [GPB_FIGURE_SIZE];
    const Gpb__V1__ExecuteReply *execute = s_execute_peek (self);
    const Gpb__V1__Timing *timing = execute->timing;
    gpb_table_t *table =
        gpb_table_new ("NODE >DEVICE >QUEUED >COPY-IN >COMPUTE >COPY-OUT >ROUND-TRIP >HOST-COPIED");
    if (!table) {
        gpb_error_set (&error, GPB_RESOURCE_EXHAUSTED, "no memory for a table");
        return gpb_tool_fail (&error);
    }
    gpb_table_add (table, "%s", execute->node);
    gpb_table_add (table, "%" PRIu32, execute->device);
    gpb_table_add (table, "%s",
                   gpb_table_time (gpb_reply_header_peek (self->reply)->queued_ns, figure));
    s_add_span (table, timing, timing ? timing->copy_in : NULL);
    s_add_span (table, timing, timing ? timing->compute : NULL);
    s_add_span (table, timing, timing ? timing->copy_out : NULL);
    gpb_table_add (table, "%s", gpb_table_time (gpb_reply_round_trip_ns (self->reply), figure));
    gpb_table_add (table, "%s", gpb_table_size (timing ? timing->host_copied : 0, figure));
    gpb_status_t status = gpb_table_print (table, out, &error);
    gpb_table_destroy (&table);
    const gpb_message_timing_t *message = gpb_reply_message_timing (self->reply);
    if (status == GPB_OK && message)
        status = s_print_message (message, out, &error);
    if (status != GPB_OK)
        return gpb_tool_fail (&error);
    if (self->arguments->repeat > 1 && gpb_tool_print_histogram (&self->round_trips, out))
        return GPB_EXIT_FAILED;
    return gpb_tool_flush ();
}

//  ---------------------------------------------------------------------------------------------------------
//  The command

static int
s_work (s_run_t *self)
{
    gpb_error_t error;
    if (!gpb_invocation_ask (&self->call, self->client))
        return GPB_EXIT_FAILED;
    if (gpb_invocation_check (&self->call, &error) != GPB_OK
        || gpb_invocation_read (&self->call, &error) != GPB_OK)
        return gpb_tool_fail (&error);
    for (uint64_t done = 0; done < self->arguments->repeat; done++) {
        gpb_reply_destroy (&self->reply);
        self->reply = gpb_tool_call (self->client, gpb_invocation_request (&self->call));
        if (!self->reply)
            return GPB_EXIT_FAILED;
        gpb_histogram_record (&self->round_trips, gpb_reply_round_trip_ns (self->reply));
    }
    int result = s_write_results (self);
    if (result != GPB_EXIT_OK)
        return result;
    return self->arguments->json ? s_print_json (self) : s_print_table (self);
}

int
gpb_tool_run (const gpb_arguments_t *arguments)
{
    static s_run_t run;
    s_run_t *self = &run;
    memset (self, 0, sizeof *self);
    self->arguments = arguments;
    int result = gpb_invocation_begin (&self->call, arguments, &self->client);
    if (result != GPB_EXIT_OK)
        return result;
    gpb_client_set_retries (self->client, RUN_RETRIES);
    result = s_work (self);
    gpb_reply_destroy (&self->reply);
    gpb_invocation_close (&self->call);
    gpb_client_destroy (&self->client);
    return result;
}
