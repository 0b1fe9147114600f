//  gpb_tool_bench - `gpb bench`: how many calls of a kernel a node answers, and how fast
//
//  One call comes first and is not counted: it connects, and where it is the kernel's first one the
//  node compiles. Then gpb_load sends the same call again and again, on schedule or with so many in
//  flight, and what comes of it is printed as percentiles. Nothing is sent twice: a refusal is a
//  failure, counted by its status. A signal ends it early, with the figures so far.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_clock.h"
#include "gpb_invocation.h"
#include "gpb_load.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TURN_MS 50      //  as late as a signal may be noticed
#define LEAVE_MS 500    //  how long answers are waited for after a signal

typedef struct {
    gpb_invocation_t call;
    gpb_client_t *client;
    gpb_load_t *load;
} s_bench_t;

static const double s_percents [] = { 50, 95, 99, 99.9 };
enum { PERCENTS = sizeof s_percents / sizeof s_percents [0] };

//  ---------------------------------------------------------------------------------------------------------
//  The load

static gpb_request_t *
s_request (const void *context)
{
    return gpb_invocation_request (context);
}

//  What the call sends, and the call that is not counted. False: the reason is printed.
static bool
s_prepare (s_bench_t *self)
{
    gpb_error_t error;
    const gpb_arguments_t *arguments = self->call.arguments;
    if (!gpb_invocation_ask (&self->call, self->client))
        return false;
    gpb_status_t status = GPB_OK;
    if (arguments->has_payload)
        status = gpb_invocation_make_up (&self->call, arguments->payload, &error);
    else {
        status = gpb_invocation_check (&self->call, &error);
        if (status == GPB_OK)
            status = gpb_invocation_read (&self->call, &error);
    }
    if (status != GPB_OK) {
        gpb_tool_fail (&error);
        return false;
    }
    gpb_reply_t *first = gpb_tool_call (self->client, gpb_invocation_request (&self->call));
    bool is_answered = first != NULL;
    gpb_reply_destroy (&first);
    return is_answered;
}

static gpb_status_t
s_pump (s_bench_t *self, gpb_error_t *error)
{
    uint64_t leave_ns = UINT64_MAX;
    while (!gpb_load_done (self->load) && gpb_clock_ns () < leave_ns) {
        gpb_status_t status = gpb_load_work (self->load, error);
        if (status != GPB_OK)
            return status;
        if (gpb_tool_interrupted () && leave_ns == UINT64_MAX) {
            gpb_load_stop (self->load);
            leave_ns = gpb_clock_ns () + LEAVE_MS * GPB_NS_PER_MS;
        }
        gpb_load_wait (self->load, TURN_MS);
    }
    return GPB_OK;
}

//  ---------------------------------------------------------------------------------------------------------
//  The figures

static double
s_rate (const gpb_load_figures_t *figures)
{
    return figures->elapsed_ns ? (double) figures->answered * 1e9 / (double) figures->elapsed_ns
                               : 0;
}

static json_t *
s_json_failures (const gpb_load_figures_t *figures)
{
    json_t *array = json_array ();
    for (unsigned status = 0; status <= GPB_UNAUTHENTICATED; status++)
        if (figures->failures [status])
            json_array_append_new (array,
                                   json_pack ("{s:s, s:I}", "status",
                                              gpb_status_name ((gpb_status_t) status), "count",
                                              (json_int_t) figures->failures [status]));
    return array;
}

static json_t *
s_json_latency (const gpb_histogram_t *histogram)
{
    json_t *object = gpb_json_histogram (histogram);
    json_object_set_new (object, "p999",
                         json_integer ((json_int_t) gpb_histogram_percentile (histogram, 99.9)));
    return object;
}

static int
s_print_json (const s_bench_t *self)
{
    const gpb_load_figures_t *figures = gpb_load_figures (self->load);
    const gpb_arguments_t *arguments = self->call.arguments;
    json_t *rate = arguments->rate ? json_integer ((json_int_t) arguments->rate) : json_null ();
    return gpb_json_print (json_pack (
        "{s:s, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:o, s:o, s:o, s:o, s:o}",
        "kernel", self->call.kernel->id, "rate", rate, "in_flight",
        (json_int_t) arguments->in_flight, "scheduled", (json_int_t) figures->scheduled, "sent",
        (json_int_t) figures->sent, "answered", (json_int_t) figures->answered, "failed",
        (json_int_t) figures->failed, "unanswered",
        (json_int_t) (figures->sent - figures->answered - figures->failed), "late",
        (json_int_t) figures->late, "elapsed_ns", (json_int_t) figures->elapsed_ns,
        "answered_per_second", s_rate (figures), "failures", s_json_failures (figures),
        "latency_ns", s_json_latency (&figures->latency), "round_trip_ns",
        s_json_latency (&figures->round_trip), "lateness_ns", s_json_latency (&figures->lateness),
        "message", gpb_spans_json (&figures->spans)));
}

//  What was sent and what became of it, in sentences.
static void
s_print_counts (const s_bench_t *self)
{
    const gpb_load_figures_t *figures = gpb_load_figures (self->load);
    const gpb_arguments_t *arguments = self->call.arguments;
    char figure [GPB_FIGURE_SIZE];
    printf ("%s: ", self->call.kernel->id);
    if (arguments->rate)
        printf ("%" PRIu64 " a second on schedule, at most ", arguments->rate);
    printf ("%" PRIu64 " in flight: %" PRIu64 " answered OK in %s, %.0f a second\n",
            arguments->in_flight, figures->answered, gpb_table_time (figures->elapsed_ns, figure),
            s_rate (figures));
    if (figures->late)
        printf ("late: %" PRIu64 " of %" PRIu64 " were sent more than %s after their time\n",
                figures->late, figures->sent, gpb_table_time (GPB_LOAD_LATE_NS, figure));
    if (figures->sent < figures->scheduled)
        printf ("not sent: %" PRIu64 " of %" PRIu64 " that were due\n",
                figures->scheduled - figures->sent, figures->scheduled);
    for (unsigned status = 0; status <= GPB_UNAUTHENTICATED; status++)
        if (figures->failures [status])
            printf ("failed: %" PRIu64 " %s\n", figures->failures [status],
                    gpb_status_name ((gpb_status_t) status));
    if (figures->sent > figures->answered + figures->failed)
        printf ("unanswered: %" PRIu64 "\n", figures->sent - figures->answered - figures->failed);
    if (figures->spans.count)
        printf ("%" PRIu64 " on demand; the device's clock: %s\n", figures->spans.on_demand,
                figures->spans.clock);
}

static int
s_print_table (const s_bench_t *self)
{
    const gpb_load_figures_t *figures = gpb_load_figures (self->load);
    s_print_counts (self);
    gpb_table_t *table = gpb_table_new ("TIME >COUNT >P50 >P95 >P99 >P99.9 >MAX");
    if (self->call.arguments->rate) {
        gpb_tool_add_percentiles (table, "from its time", &figures->latency, s_percents, PERCENTS);
        gpb_tool_add_percentiles (table, "sent late by", &figures->lateness, s_percents, PERCENTS);
    }
    gpb_tool_add_percentiles (table, "round trip", &figures->round_trip, s_percents, PERCENTS);
    gpb_spans_add (&figures->spans, table, s_percents, PERCENTS);
    return gpb_tool_print_table (table);
}

//  ---------------------------------------------------------------------------------------------------------
//  The command

static int
s_work (s_bench_t *self)
{
    gpb_error_t error;
    const gpb_arguments_t *arguments = self->call.arguments;
    if (!s_prepare (self))
        return GPB_EXIT_FAILED;
    const gpb_load_args_t args = { .client = self->client,
                                   .request = s_request,
                                   .context = &self->call,
                                   .rate = arguments->rate,
                                   .duration_ns = arguments->seconds * GPB_NS_PER_S,
                                   .in_flight = arguments->in_flight };
    self->load = gpb_load_new (&args, &error);
    if (!self->load || s_pump (self, &error) != GPB_OK)
        return gpb_tool_fail (&error);
    int result = arguments->json ? s_print_json (self) : s_print_table (self);
    bool is_whole = gpb_load_figures (self->load)->answered > 0 && !gpb_tool_interrupted ();
    return is_whole ? result : GPB_EXIT_FAILED;
}

int
gpb_tool_bench (const gpb_arguments_t *arguments)
{
    static s_bench_t bench;
    s_bench_t *self = &bench;
    memset (self, 0, sizeof *self);
    int result = gpb_invocation_begin (&self->call, arguments, &self->client);
    if (result != GPB_EXIT_OK)
        return result;
    result = s_work (self);
    gpb_load_destroy (&self->load);
    gpb_invocation_close (&self->call);
    gpb_client_destroy (&self->client);
    return result;
}
