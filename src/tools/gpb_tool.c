//  gpb_tool - what the commands of `gpb` share
//
//  A request is sent and then waited for in short turns, with a look at the signal flag in each:
//  a signal that arrives just before the wait begins is seen a turn later instead of never.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_tool.h"

#include "gpb_clock.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

//  A node that is there answers a question about itself in far less; one that is not, or is
//  stopped, shows within this time.
#define ANSWER_TIMEOUT_MS 5000

//  One turn of waiting: as late as a signal may be noticed.
#define TURN_MS 50

//  How long a cancelled request is waited for, so that the node knows before the program ends.
#define CANCEL_MS 2000

static volatile sig_atomic_t s_interrupted;

static void
s_on_signal (int number)
{
    (void) number;
    s_interrupted = 1;
}

void
gpb_tool_catch_signal (int number)
{
    struct sigaction action;
    memset (&action, 0, sizeof action);
    action.sa_handler = s_on_signal;    //  no SA_RESTART: reads and writes end too
    sigemptyset (&action.sa_mask);
    sigaction (number, &action, NULL);
}

void
gpb_tool_catch_signals (void)
{
    //  CZMQ would install its own handlers with the first socket.
    zsys_handler_set (NULL);
    gpb_tool_catch_signal (SIGINT);
    gpb_tool_catch_signal (SIGTERM);
}

bool
gpb_tool_interrupted (void)
{
    return s_interrupted != 0;
}

void
gpb_tool_wait_until (uint64_t end_ns)
{
    for (uint64_t now_ns = gpb_clock_ns (); now_ns < end_ns && !s_interrupted;
         now_ns = gpb_clock_ns ()) {
        uint64_t left_ms = (end_ns - now_ns + GPB_NS_PER_MS - 1) / GPB_NS_PER_MS;
        zmq_poll (NULL, 0, left_ms < TURN_MS ? (long) left_ms : TURN_MS);
    }
}

int
gpb_tool_fail (const gpb_error_t *error)
{
    fprintf (stderr, "gpb: %s: %s\n", gpb_status_name (error->status), error->text);
    return GPB_EXIT_FAILED;
}

//  What the command line says, or else the environment; NULL: neither.
static const char *
s_setting (const char *said, const char *variable)
{
    const char *value = said ? said : getenv (variable);
    return value && *value ? value : NULL;
}

static gpb_client_t *
s_connect (const gpb_arguments_t *arguments, gpb_error_t *error)
{
    const char *curve = s_setting (arguments->curve, "GPB_CURVE");
    const char *node_key = s_setting (arguments->node_key, "GPB_NODE_KEY");
    if (!curve && !node_key)
        return gpb_client_new (arguments->node, error);
    if (!curve || !node_key) {
        gpb_error_set (error, GPB_INVALID_ARGUMENT,
                       "--curve (your key pair) and --node-key (the node's public key) are wanted "
                       "both");
        return NULL;
    }
    gpb_certificate_t *own = gpb_certificate_load (curve, error);
    gpb_certificate_t *node = own ? gpb_certificate_load_public (node_key, error) : NULL;
    gpb_client_t *client = node ? gpb_client_new_curve (arguments->node, own, node, error) : NULL;
    gpb_certificate_destroy (&own);
    gpb_certificate_destroy (&node);
    return client;
}

gpb_client_t *
gpb_tool_connect (const gpb_arguments_t *arguments)
{
    gpb_error_t error;
    gpb_client_t *client = s_connect (arguments, &error);
    uint32_t timeout_ms = arguments->timeout_ms ? arguments->timeout_ms : ANSWER_TIMEOUT_MS;
    if (client && gpb_client_set_timeout (client, timeout_ms, &error) != GPB_OK)
        gpb_client_destroy (&client);
    if (!client)
        gpb_tool_fail (&error);
    return client;
}

const char *
gpb_tool_endpoint (const gpb_arguments_t *arguments)
{
    const char *named = arguments->node ? arguments->node : getenv ("GPB_NODE");
    return named && *named ? named : "tcp://127.0.0.1:5670";
}

//  The reply with this id, or NULL once a signal came and the request is taken back.
static gpb_reply_t *
s_wait (gpb_client_t *client, uint64_t id)
{
    uint64_t give_up_ns = 0;
    while (gpb_client_in_flight (client) > 0) {
        if (s_interrupted && !give_up_ns) {
            gpb_client_cancel (client, id, NULL);
            give_up_ns = gpb_clock_ns () + CANCEL_MS * GPB_NS_PER_MS;
        }
        if (give_up_ns && gpb_clock_ns () >= give_up_ns)
            return NULL;
        gpb_reply_t *reply = gpb_client_recv (client, TURN_MS);
        if (reply && gpb_reply_id (reply) == id)
            return reply;
        gpb_reply_destroy (&reply);
    }
    return NULL;
}

gpb_reply_t *
gpb_tool_call (gpb_client_t *client, gpb_request_t *request)
{
    gpb_error_t error;
    if (!request) {
        gpb_error_set (&error, GPB_RESOURCE_EXHAUSTED, "no memory for a request");
        gpb_tool_fail (&error);
        return NULL;
    }
    uint64_t id = gpb_client_send (client, &request, &error);
    if (!id) {
        gpb_tool_fail (&error);
        return NULL;
    }
    gpb_reply_t *reply = s_wait (client, id);
    if (!reply)
        gpb_error_set (&error, GPB_CANCELLED, "interrupted by a signal");
    else if (gpb_reply_status (reply) != GPB_OK)
        gpb_error_set (&error, gpb_reply_status (reply), "%s", gpb_reply_message (reply));
    else
        return reply;
    gpb_tool_fail (&error);
    gpb_reply_destroy (&reply);
    return NULL;
}

int
gpb_tool_ask (const gpb_arguments_t *arguments, gpb_request_t *request,
              Gpb__V1__Reply__BodyCase expected, gpb_tool_print_fn *print)
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

int
gpb_tool_flush (void)
{
    if (fflush (stdout) == 0 && !ferror (stdout))
        return GPB_EXIT_OK;
    fprintf (stderr, "gpb: standard output cannot be written\n");
    return GPB_EXIT_FAILED;
}

int
gpb_tool_print_table (gpb_table_t *table)
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

int
gpb_tool_print_histogram (const gpb_histogram_t *histogram, FILE *out)
{
    static const double percents [] = { 50, 95, 99 };
    char figure [GPB_FIGURE_SIZE];
    gpb_error_t error;
    gpb_table_t *table = gpb_table_new (">COUNT >MEAN >MIN >P50 >P95 >P99 >MAX");
    if (!table) {
        gpb_error_set (&error, GPB_RESOURCE_EXHAUSTED, "no memory for a table");
        return gpb_tool_fail (&error);
    }
    gpb_table_add (table, "%" PRIu64, histogram->count);
    gpb_table_add (table, "%s", gpb_table_time (gpb_histogram_mean (histogram), figure));
    gpb_table_add (table, "%s", gpb_table_time (histogram->min_ns, figure));
    for (size_t index = 0; index < sizeof percents / sizeof percents [0]; index++) {
        uint64_t time_ns = gpb_histogram_percentile (histogram, percents [index]);
        gpb_table_add (table, "%s", gpb_table_time (time_ns, figure));
    }
    gpb_table_add (table, "%s", gpb_table_time (histogram->max_ns, figure));
    gpb_status_t status = gpb_table_print (table, out, &error);
    gpb_table_destroy (&table);
    return status == GPB_OK ? GPB_EXIT_OK : gpb_tool_fail (&error);
}

void
gpb_tool_add_percentiles (gpb_table_t *table, const char *name, const gpb_histogram_t *histogram,
                          const double *percents, size_t percents_count)
{
    char figure [GPB_FIGURE_SIZE];
    if (!table)
        return;
    gpb_table_add (table, "%s", name);
    gpb_table_add (table, "%" PRIu64, histogram->count);
    for (size_t index = 0; index <= percents_count; index++) {
        uint64_t time_ns = index == percents_count
                               ? histogram->max_ns
                               : gpb_histogram_percentile (histogram, percents [index]);
        gpb_table_add (table, "%s", histogram->count ? gpb_table_time (time_ns, figure) : "-");
    }
}

const char *
gpb_tool_state_name (Gpb__V1__DeviceState state)
{
    switch (state) {
    case GPB__V1__DEVICE_STATE__STARTING: return "starting";
    case GPB__V1__DEVICE_STATE__READY: return "ready";
    case GPB__V1__DEVICE_STATE__LOST: return "lost";
    case GPB__V1__DEVICE_STATE__STOPPING: return "stopping";
    case GPB__V1__DEVICE_STATE__RESTARTING: return "restarting";
    default: return "unknown";
    }
}

const char *
gpb_tool_residency_name (Gpb__V1__ResidencyState state)
{
    switch (state) {
    case GPB__V1__RESIDENCY_STATE__UNLOADED: return "unloaded";
    case GPB__V1__RESIDENCY_STATE__RESIDENT: return "resident";
    case GPB__V1__RESIDENCY_STATE__PARKED: return "parked";
    case GPB__V1__RESIDENCY_STATE__QUARANTINED: return "quarantined";
    case GPB__V1__RESIDENCY_STATE__ON_DEMAND_ONLY: return "on demand";
    case GPB__V1__RESIDENCY_STATE__FAILED: return "failed";
    case GPB__V1__RESIDENCY_STATE__STOPPED: return "stopped";
    default: return "unknown";
    }
}
