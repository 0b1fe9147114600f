//  gpb_tool - what the commands of `gpb` share, and the commands
//
//  A command gets the parsed command line, and returns the exit status: 0 done, 1 refused or
//  failed, with the reason on standard error, 2 wrong usage. One thread.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_TOOL_H_INCLUDED
#define GPB_TOOL_H_INCLUDED

#include "gpb_arguments.h"
#include "gpb_client.h"
#include "gpb_histogram.h"
#include "gpb_table.h"

#include "gpb.pb-c.h"

#include <jansson.h>

#define GPB_EXIT_OK 0
#define GPB_EXIT_FAILED 1
#define GPB_EXIT_USAGE 2

int gpb_tool_devices (const gpb_arguments_t *arguments);
int gpb_tool_kernels (const gpb_arguments_t *arguments);
int gpb_tool_stats (const gpb_arguments_t *arguments);
int gpb_tool_top (const gpb_arguments_t *arguments);
int gpb_tool_ping (const gpb_arguments_t *arguments);
int gpb_tool_run (const gpb_arguments_t *arguments);
int gpb_tool_stream (const gpb_arguments_t *arguments);    //  `gpb run --stream`
int gpb_tool_bench (const gpb_arguments_t *arguments);
int gpb_tool_reserve (const gpb_arguments_t *arguments);
int gpb_tool_compile (const gpb_arguments_t *arguments);
int gpb_tool_keygen (const gpb_arguments_t *arguments);

//  ---------------------------------------------------------------------------------------------------------
//  Talking to the node

//  From here on SIGINT and SIGTERM interrupt a wait instead of ending the program, and
//  gpb_tool_interrupted says that one came.
void gpb_tool_catch_signals (void);
void gpb_tool_catch_signal (int number);    //  one more
bool gpb_tool_interrupted (void);

//  Waits until end_ns (gpb_clock_ns), or until a signal comes.
void gpb_tool_wait_until (uint64_t end_ns);

//  A client for the node that the command line names; NULL: the reason is printed.
gpb_client_t *gpb_tool_connect (const gpb_arguments_t *arguments);

//  What gpb_tool_connect connects to, for people. Borrowed.
const char *gpb_tool_endpoint (const gpb_arguments_t *arguments);

//  Sends a request, takes it, and waits for its answer; a signal cancels it on the node. NULL where
//  it is answered with anything but OK: the reason is printed. request may be NULL (no memory).
gpb_reply_t *gpb_tool_call (gpb_client_t *client, gpb_request_t *request);

//  Prints what an answer says, and returns the exit status.
typedef int (gpb_tool_print_fn) (const Gpb__V1__Reply *header, const gpb_arguments_t *arguments);

//  Asks, and hands the answer's header on. expected: the body that such an answer has. Returns the
//  exit status.
int gpb_tool_ask (const gpb_arguments_t *arguments, gpb_request_t *request,
                  Gpb__V1__Reply__BodyCase expected, gpb_tool_print_fn *print);

//  Prints "gpb: STATUS: text", and returns GPB_EXIT_FAILED.
int gpb_tool_fail (const gpb_error_t *error);

//  ---------------------------------------------------------------------------------------------------------
//  Output. The keys of these objects are a contract: gpb(1).

//  All return a new object; NULL when memory runs out.
json_t *gpb_json_device (const Gpb__V1__Device *device);
json_t *gpb_json_devices (const Gpb__V1__DeviceList *list);
json_t *gpb_json_kernels (const Gpb__V1__KernelList *list);
json_t *gpb_json_stats (const Gpb__V1__StatsReply *stats);
json_t *gpb_json_latency (const Gpb__V1__Latency *latency);    //  NULL: nothing was measured
json_t *gpb_json_histogram (const gpb_histogram_t *histogram);

//  A string; what is no UTF-8 has '?' for every byte that is not ASCII.
json_t *gpb_json_text (const char *text);

//  Prints an object, which it takes and which may be NULL, on standard output: over several lines,
//  or in one. Returns the exit status.
int gpb_json_print (json_t *object);
int gpb_json_print_line (json_t *object);

//  Prints and frees a table, which may be NULL, on standard output. Returns the exit status.
int gpb_tool_print_table (gpb_table_t *table);

//  Persistent kernels on their devices, a row each, and behind the table why one is not what it
//  should be; and their lanes, a row each. Return the exit status.
int gpb_tool_print_residencies (Gpb__V1__Residency *const *residencies, size_t count);
int gpb_tool_print_lanes (Gpb__V1__Residency *const *residencies, size_t count);

//  Prints "count, min, p50, p95, p99, max" of a histogram as a table.
int gpb_tool_print_histogram (const gpb_histogram_t *histogram, FILE *out);

//  The row of a table whose columns are a name, COUNT, a column for each of the percents (50 is the
//  median), and MAX; "-" for the times of an empty histogram. table may be NULL.
void gpb_tool_add_percentiles (gpb_table_t *table, const char *name,
                               const gpb_histogram_t *histogram, const double *percents,
                               size_t percents_count);

//  Whether standard output took everything; else the reason is printed. Returns the exit status.
int gpb_tool_flush (void);

//  "ready", "starting", "lost", "stopping", "restarting".
const char *gpb_tool_state_name (Gpb__V1__DeviceState state);

//  "unloaded", "resident", "parked", "quarantined", "on demand", "failed", "stopped": a persistent
//  kernel on a device, or a lane of it.
const char *gpb_tool_residency_name (Gpb__V1__ResidencyState state);

#endif
