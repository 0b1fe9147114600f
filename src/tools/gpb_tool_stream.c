//  gpb_tool_stream - `gpb run --stream`: a file through a persistent kernel, message by message
//
//  Asks the node about the kernel, cuts the file (gpb_stream), says on a terminal how far it is,
//  and at the end where the time went, as percentiles. The output file is written as answers come:
//  where the stream fails, it has the answers of the first so many messages, and how many is said.
//
//  With --lane messages have an order on the device too, which a message that is refused and sent
//  again would lose: then a refusal is the end of the stream.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_clock.h"
#include "gpb_invocation.h"
#include "gpb_kernel.h"
#include "gpb_stream.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

//  A queue that is full says when it is worth asking again; each further wait is twice as long, so
//  that what bounds them is the message's time-out.
#define STREAM_RETRIES 16

#define PROGRESS_NS (250 * GPB_NS_PER_MS)    //  as often as eyes follow
#define TURN_MS 50                           //  as late as a signal may be noticed

typedef struct {
    gpb_invocation_t call;
    gpb_client_t *client;
    gpb_source_t *source;
    gpb_sink_t *sink;
    gpb_stream_t *stream;
    uint64_t start_ns, end_ns;
    uint64_t shown_ns;    //  when the progress was shown last; 0: never
} s_run_t;

static const double s_percents [] = { 50, 95, 99 };
enum { PERCENTS = sizeof s_percents / sizeof s_percents [0] };

static const gpb_operand_t *
s_input (const s_run_t *self)
{
    return &self->call.operands [0];
}

static const gpb_operand_t *
s_output (const s_run_t *self)
{
    return &self->call.operands [1];
}

//  ---------------------------------------------------------------------------------------------------------
//  Before the first message

//  Bytes of a message, into *size_p, and of an element.
static gpb_status_t
s_sizes (const s_run_t *self, size_t *size_p, size_t *element_p, gpb_error_t *error)
{
    const Gpb__V1__Kernel *kernel = self->call.kernel;
    gpb_status_t status = gpb_invocation_check (&self->call, error);
    if (status != GPB_OK)
        return status;
    if (self->call.count != 2 || s_input (self)->kind != GPB_OPERAND_IN
        || s_output (self)->kind != GPB_OPERAND_OUT)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "a stream is of in:FILE and out:FILE, and %s takes others",
                              kernel->id);
    const char *type = kernel->parameters [0]->type;
    uint64_t elements = self->call.arguments->stream;
    *element_p = gpb_operand_type_size (type);
    if (*element_p == 0)
        return gpb_error_set (error, GPB_INTERNAL, "the node's %s has elements of type \"%s\"",
                              kernel->id, type);
    if (elements > GPB_PERSISTENT_MESSAGE_MAX / *element_p)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "--stream %" PRIu64 ": a message has at most %d bytes, which are "
                              "%zu elements of %s",
                              elements, GPB_PERSISTENT_MESSAGE_MAX,
                              GPB_PERSISTENT_MESSAGE_MAX / *element_p, type);
    *size_p = (size_t) elements * *element_p;
    return GPB_OK;
}

static gpb_request_t *
s_request (void *context, const void *data, size_t size)
{
    const s_run_t *self = context;
    gpb_request_t *request = gpb_request_execute (self->call.arguments->subject);
    gpb_request_in (request, data, size);
    gpb_request_out (request, s_output (self)->size);
    if (request)
        gpb_invocation_set_options (self->call.arguments, request);
    return request;
}

static gpb_status_t
s_open (s_run_t *self, gpb_error_t *error)
{
    size_t size = 0, element_size = 0;
    gpb_status_t status = s_sizes (self, &size, &element_size, error);
    if (status != GPB_OK)
        return status;
    self->source = gpb_source_new (s_input (self)->source, size, element_size, error);
    self->sink = self->source ? gpb_sink_new (s_output (self)->target, self->source, error) : NULL;
    if (!self->sink)
        return error->status;
    const gpb_stream_args_t args = { .client = self->client,
                                     .source = self->source,
                                     .sink = self->sink,
                                     .piece_size = size,
                                     .in_flight = self->call.arguments->in_flight,
                                     .request = s_request,
                                     .context = self };
    self->stream = gpb_stream_new (&args, error);
    return self->stream ? GPB_OK : error->status;
}

//  ---------------------------------------------------------------------------------------------------------
//  The stream

static double
s_rate (const s_run_t *self, uint64_t end_ns)
{
    uint64_t elapsed_ns = end_ns - self->start_ns;
    double count = (double) gpb_stream_figures (self->stream)->written;
    return elapsed_ns ? count * 1e9 / (double) elapsed_ns : 0;
}

//  How far it is, in one line that is written over again.
static void
s_show_progress (s_run_t *self, uint64_t now_ns)
{
    if (now_ns - (self->shown_ns ? self->shown_ns : self->start_ns) < PROGRESS_NS)
        return;
    self->shown_ns = now_ns;
    fprintf (stderr, "\r%" PRIu64 " messages, %.0f a second  ",
             gpb_stream_figures (self->stream)->written, s_rate (self, now_ns));
    fflush (stderr);
}

//  Takes the line of the progress away.
static void
s_hide_progress (const s_run_t *self)
{
    if (self->shown_ns)
        fprintf (stderr, "\r%60s\r", "");
}

static gpb_stream_state_t
s_pump (s_run_t *self, gpb_error_t *error)
{
    bool shows = isatty (STDERR_FILENO);
    self->start_ns = gpb_clock_ns ();
    gpb_stream_state_t state;
    while ((state = gpb_stream_work (self->stream, error)) == GPB_STREAM_GOES_ON) {
        if (gpb_tool_interrupted ()) {
            gpb_error_set (error, GPB_CANCELLED, "interrupted by a signal");
            state = GPB_STREAM_FAILED;
            break;
        }
        if (shows)
            s_show_progress (self, gpb_clock_ns ());
        gpb_stream_wait (self->stream, TURN_MS);
    }
    self->end_ns = gpb_clock_ns ();
    s_hide_progress (self);
    return state;
}

//  ---------------------------------------------------------------------------------------------------------
//  The report

static int
s_print_json (const s_run_t *self)
{
    const gpb_stream_figures_t *figures = gpb_stream_figures (self->stream);
    return gpb_json_print (json_pack (
        "{s:s, s:o, s:I, s:I, s:I, s:I, s:I, s:f, s:o, s:o, s:o, s:I}", "kernel",
        self->call.kernel->id, "node", gpb_json_text (figures->node), "count",
        (json_int_t) figures->written, "elements", (json_int_t) self->call.arguments->stream,
        "in_flight", (json_int_t) self->call.arguments->in_flight, "input_size",
        (json_int_t) figures->input_size, "elapsed_ns",
        (json_int_t) (self->end_ns - self->start_ns), "messages_per_second",
        s_rate (self, self->end_ns), "round_trip_ns", gpb_json_histogram (&figures->round_trips),
        "message", gpb_spans_json (&figures->spans), "file",
        gpb_json_text (s_output (self)->target), "size", (json_int_t) gpb_sink_size (self->sink)));
}

static int
s_print_table (const s_run_t *self)
{
    const gpb_stream_figures_t *figures = gpb_stream_figures (self->stream);
    FILE *out = gpb_invocation_report (&self->call);
    char figure [GPB_FIGURE_SIZE];
    gpb_error_t error;
    fprintf (out, "%" PRIu64 " messages in %s: %.0f a second", figures->written,
             gpb_table_time (self->end_ns - self->start_ns, figure), s_rate (self, self->end_ns));
    if (figures->spans.count)
        fprintf (out, "; %" PRIu64 " on demand; the device's clock: %s", figures->spans.on_demand,
                 figures->spans.clock);
    fputs ("\n", out);
    gpb_table_t *table = gpb_table_new ("TIME >COUNT >P50 >P95 >P99 >MAX");
    gpb_tool_add_percentiles (table, "round trip", &figures->round_trips, s_percents, PERCENTS);
    gpb_spans_add (&figures->spans, table, s_percents, PERCENTS);
    gpb_status_t status = GPB_RESOURCE_EXHAUSTED;
    if (table)
        status = gpb_table_print (table, out, &error);
    else
        gpb_error_set (&error, status, "no memory for a table");
    gpb_table_destroy (&table);
    return status == GPB_OK ? gpb_tool_flush () : gpb_tool_fail (&error);
}

//  Why the stream has failed, and how far it came.
static int
s_fail (const s_run_t *self, const gpb_error_t *error)
{
    gpb_tool_fail (error);
    fprintf (stderr,
             "gpb: the answers of %" PRIu64 " messages, %" PRIu64 " bytes, are in %s; %" PRIu64
             " messages were sent\n",
             gpb_stream_figures (self->stream)->written, gpb_sink_size (self->sink),
             strcmp (s_output (self)->target, "-") == 0 ? "standard output"
                                                        : s_output (self)->target,
             gpb_stream_figures (self->stream)->sent);
    return GPB_EXIT_FAILED;
}

static int
s_work (s_run_t *self)
{
    gpb_error_t error;
    if (!gpb_invocation_ask (&self->call, self->client))
        return GPB_EXIT_FAILED;
    if (s_open (self, &error) != GPB_OK)
        return gpb_tool_fail (&error);
    if (s_pump (self, &error) != GPB_STREAM_DONE)
        return s_fail (self, &error);
    return self->call.arguments->json ? s_print_json (self) : s_print_table (self);
}

int
gpb_tool_stream (const gpb_arguments_t *arguments)
{
    static s_run_t run;
    s_run_t *self = &run;
    memset (self, 0, sizeof *self);
    int result = gpb_invocation_begin (&self->call, arguments, &self->client);
    if (result != GPB_EXIT_OK)
        return result;
    gpb_client_set_retries (self->client, arguments->has_lane ? 0 : STREAM_RETRIES);
    result = s_work (self);
    gpb_stream_destroy (&self->stream);
    gpb_invocation_close (&self->call);
    gpb_client_destroy (&self->client);
    gpb_sink_destroy (&self->sink);
    gpb_source_destroy (&self->source);
    return result;
}
