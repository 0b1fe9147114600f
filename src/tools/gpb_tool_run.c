//  gpb_tool_run - `gpb run`: one kernel on files
//
//  Asks the node what the kernel's parameters are, holds the command line against them, reads the
//  files, and only then sends the request; so that a wrong argument costs no transfer. Results are
//  written once all of them are there. A signal takes the request back on the node.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_file.h"
#include "gpb_operands.h"
#include "gpb_tool.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

//  The protocol's bound on arguments that have a payload, and more parameters than a kernel has.
#define OPERANDS_MAX 64

//  As long as a node gives a request that says nothing, unless it is configured otherwise.
#define RUN_TIMEOUT_MS 30000

//  A queue that is full says when it is worth asking again; after so many times it is too busy.
#define RUN_RETRIES 5

typedef struct {
    const gpb_arguments_t *arguments;
    gpb_client_t *client;
    size_t count;    //  of operands
    gpb_operand_t operands [OPERANDS_MAX];
    gpb_file_t *files [OPERANDS_MAX];    //  what in and inout operands read; NULL else
    gpb_histogram_t round_trips;
    gpb_reply_t *reply;    //  of the last run
} s_run_t;

//  ---------------------------------------------------------------------------------------------------------
//  The command line

//  A file that is read or written twice is a mistake where it is a stream.
static gpb_status_t
s_check_streams (const s_run_t *self, gpb_error_t *error)
{
    size_t inputs = 0, outputs = self->arguments->json;
    for (size_t index = 0; index < self->count; index++) {
        const gpb_operand_t *operand = &self->operands [index];
        inputs += operand->source && strcmp (operand->source, "-") == 0;
        outputs += operand->target && strcmp (operand->target, "-") == 0;
    }
    if (inputs > 1)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "only one argument can be read from standard input");
    if (outputs > 1)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "only one of --json and one result can go to standard output");
    return GPB_OK;
}

static gpb_status_t
s_parse (s_run_t *self, gpb_error_t *error)
{
    if (self->arguments->operands_count > OPERANDS_MAX)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "at most %d arguments, as no kernel takes more", OPERANDS_MAX);
    self->count = self->arguments->operands_count;
    for (size_t index = 0; index < self->count; index++) {
        char *text = self->arguments->operands [index];
        gpb_status_t status = gpb_operand_parse (&self->operands [index], text, error);
        if (status != GPB_OK)
            return status;
    }
    return s_check_streams (self, error);
}

//  Whether the arguments are what the node's kernel takes; else the reason is printed.
static bool
s_check (s_run_t *self)
{
    gpb_reply_t *reply =
        gpb_tool_call (self->client, gpb_request_kernels (self->arguments->subject));
    if (!reply)
        return false;
    gpb_error_t error;
    const Gpb__V1__Reply *header = gpb_reply_header_peek (reply);
    gpb_status_t status;
    if (header->body_case != GPB__V1__REPLY__BODY_KERNELS || header->kernels->n_kernels != 1)
        status = gpb_error_set (&error, GPB_NOT_FOUND, "the node has no kernel \"%.100s\"",
                                self->arguments->subject);
    else
        status =
            gpb_operands_check (self->operands, self->count, header->kernels->kernels [0], &error);
    gpb_reply_destroy (&reply);
    if (status != GPB_OK)
        gpb_tool_fail (&error);
    return status == GPB_OK;
}

static bool
s_read_files (s_run_t *self)
{
    gpb_error_t error;
    for (size_t index = 0; index < self->count; index++) {
        if (!self->operands [index].source)
            continue;
        self->files [index] = gpb_file_read (self->operands [index].source, &error);
        if (!self->files [index]) {
            gpb_tool_fail (&error);
            return false;
        }
    }
    return true;
}

//  ---------------------------------------------------------------------------------------------------------
//  The request

static void
s_add_scalar (const gpb_operand_t *self, gpb_request_t *request)
{
    if (strcmp (self->type, "i32") == 0)
        gpb_request_i32 (request, self->value.i32);
    else if (strcmp (self->type, "u32") == 0)
        gpb_request_u32 (request, self->value.u32);
    else if (strcmp (self->type, "i64") == 0)
        gpb_request_i64 (request, self->value.i64);
    else if (strcmp (self->type, "u64") == 0)
        gpb_request_u64 (request, self->value.u64);
    else if (strcmp (self->type, "f32") == 0)
        gpb_request_f32 (request, self->value.f32);
    else
        gpb_request_f64 (request, self->value.f64);
}

static gpb_request_t *
s_request (s_run_t *self)
{
    const gpb_arguments_t *arguments = self->arguments;
    gpb_request_t *request = gpb_request_execute (arguments->subject);
    if (!request)
        return NULL;
    for (size_t index = 0; index < self->count; index++) {
        const gpb_operand_t *operand = &self->operands [index];
        gpb_file_t *file = self->files [index];
        if (file) {
            gpb_file_share (file);
            gpb_request_in_take (request, gpb_file_data (file), gpb_file_size (file),
                                 gpb_file_release, file);
        }
        else if (operand->kind == GPB_OPERAND_OUT)
            gpb_request_out (request, operand->size);
        else
            s_add_scalar (operand, request);
    }
    if (arguments->global_dimensions)
        gpb_request_set_global (request, arguments->global_dimensions, arguments->global);
    if (arguments->local_dimensions)
        gpb_request_set_local (request, arguments->local_dimensions, arguments->local);
    if (arguments->has_shared)
        gpb_request_set_shared (request, arguments->shared);
    if (arguments->has_device)
        gpb_request_set_device (request, arguments->device);
    for (size_t index = 0; index < arguments->require_count; index++)
        gpb_request_require (request, arguments->require [index]);
    if (arguments->memory)
        gpb_request_set_memory (request, arguments->memory);
    if (arguments->idempotent)
        gpb_request_set_idempotent (request);
    if (arguments->reservation)
        gpb_request_set_reservation (request, arguments->reservation);
    gpb_request_set_priority (request, arguments->priority);
    gpb_request_set_timeout (request,
                             arguments->timeout_ms ? arguments->timeout_ms : RUN_TIMEOUT_MS);
    return request;
}

//  ---------------------------------------------------------------------------------------------------------
//  The results

//  The number of results that the command line wants.
static size_t
s_wanted (const s_run_t *self)
{
    size_t wanted = 0;
    for (size_t index = 0; index < self->count; index++)
        wanted += self->operands [index].target != NULL;
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
    for (size_t index = 0; index < self->count; index++) {
        if (!self->operands [index].target)
            continue;
        size_t size = 0;
        const void *data = gpb_reply_result (self->reply, result++, &size);
        if (gpb_file_write (self->operands [index].target, data, size, &error) != GPB_OK)
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

static int
s_print_json (const s_run_t *self)
{
    static const Gpb__V1__Timing nothing = GPB__V1__TIMING__INIT;
    const Gpb__V1__ExecuteReply *execute = s_execute_peek (self);
    const Gpb__V1__Timing *timing = execute->timing ? execute->timing : &nothing;
    json_t *results = json_array ();
    size_t result = 0;
    for (size_t index = 0; index < self->count; index++) {
        size_t size = 0;
        if (!self->operands [index].target)
            continue;
        gpb_reply_result (self->reply, result++, &size);
        json_array_append_new (results,
                               json_pack ("{s:i, s:o, s:I}", "argument", (int) index, "file",
                                          gpb_json_text (self->operands [index].target), "size",
                                          (json_int_t) size));
    }
    return gpb_json_print (
        json_pack ("{s:s, s:s, s:I, s:I, s:b, s:I, s:o, s:o, s:o, s:I, s:I, s:o, s:o}", "kernel",
                   self->arguments->subject, "node", execute->node, "device",
                   (json_int_t) execute->device, "count", (json_int_t) self->round_trips.count,
                   "measured", (int) timing->measured, "queued_ns",
                   (json_int_t) gpb_reply_header_peek (self->reply)->queued_ns, "copy_in_ns",
                   s_json_span (timing->copy_in), "compute_ns", s_json_span (timing->compute),
                   "copy_out_ns", s_json_span (timing->copy_out), "device_ns",
                   (json_int_t) timing->device_ns, "host_copied", (json_int_t) timing->host_copied,
                   "round_trip_ns", gpb_json_histogram (&self->round_trips), "results", results));
}

static void
s_add_span (gpb_table_t *table, const Gpb__V1__Timing *timing, const Gpb__V1__Span *span)
{
    char figure [GPB_FIGURE_SIZE];
    bool measured = timing && timing->measured && span;
    gpb_table_add (table, "%s", measured ? gpb_table_time (span->ns, figure) : "-");
}

//  For people, and on standard error where a result goes to standard output.
static int
s_print_table (const s_run_t *self)
{
    FILE *out = stdout;
    for (size_t index = 0; index < self->count; index++)
        if (self->operands [index].target && strcmp (self->operands [index].target, "-") == 0)
            out = stderr;
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
    if (!s_check (self) || !s_read_files (self))
        return GPB_EXIT_FAILED;
    for (uint64_t done = 0; done < self->arguments->repeat; done++) {
        gpb_reply_destroy (&self->reply);
        self->reply = gpb_tool_call (self->client, s_request (self));
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
    gpb_error_t error;
    if (s_parse (self, &error) != GPB_OK) {
        fprintf (stderr, "gpb: %s\n`gpb --help` shows the usage.\n", error.text);
        return GPB_EXIT_USAGE;
    }
    self->client = gpb_tool_connect (arguments);
    if (!self->client)
        return GPB_EXIT_FAILED;
    gpb_client_set_retries (self->client, RUN_RETRIES);
    int result = s_work (self);
    gpb_reply_destroy (&self->reply);
    gpb_client_destroy (&self->client);
    for (size_t index = 0; index < self->count; index++)
        gpb_file_destroy (&self->files [index]);
    return result;
}
