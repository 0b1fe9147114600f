//  gpb_bench_targets - every target that libgpb was given: asked, how measured, the figure, and
//  whether it is met
//
//  What the other benchmarks have measured is read from what they saved (--save) in the folder
//  $GPB_BENCH_RESULTS (bench-results here): node.json, local.json, components.json, hostile.json,
//  persistent.json.
//  What they do not measure is measured here, on a node that is composed in this process. A target
//  without a figure is "not measured", and says why: none is ever taken from another device, or
//  from a guess. `make bench` runs this last.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_alloc.h"
#include "gpb_bench_load.h"
#include "gpb_clock.h"
#include "gpb_histogram.h"

#include <stdarg.h>
#include <stdlib.h>

#define LAUNCHES 2000
#define TRANSFER_SIZE ((size_t) 64 << 20)
#define TRANSFERS 15
#define LOAD_NS (2 * GPB_NS_PER_S)
#define LOAD_DEPTH 8    //  requests in flight, to keep a device busy
#define BODIES 2048
#define RENT_BUFFERS 64    //  live at once
#define RENT_TURNS 1500    //  of a release and a rent, to warm the pool, and as many to measure
#define RENT_SIZE_MIN ((uint64_t) 4096)
#define RENT_SIZE_BITS 10    //  to 4 MiB
#define FIGURES_MS 1500      //  a node asks its pools for figures once a second

typedef struct {
    gpb_bench_t bench;
    const char *folder;
    char *endpoints [2];    //  inproc, tcp
    gpb_client_t *clients [2];
    json_t *node, *local, *components, *hostile,
        *persistent;    //  what was saved; NULL: it was not
    gpb_table_t *table;
    json_t *rows;
} self_t;

static const char *const s_vias [2] = { "inproc", "tcp" };

//  One target. value is what the figure is about; format and what follows put it into words.
static void s_add (self_t *self, const char *target, const char *asked, const char *method,
                   bool is_met, double value, const char *format, ...) GPB_PRINTF (7, 8);

static void
s_add_row (self_t *self, const char *target, const char *asked, const char *method,
           const char *figure, const char *outcome)
{
    const char *const cells [] = {
        target, asked, figure, outcome, self->bench.device_name, method
    };
    for (size_t cell = 0; cell < sizeof cells / sizeof cells [0]; cell++)
        gpb_table_add (self->table, "%s", cells [cell]);
}

static void
s_add (self_t *self, const char *target, const char *asked, const char *method, bool is_met,
       double value, const char *format, ...)
{
    char figure [128];
    va_list arguments;
    va_start (arguments, format);
    vsnprintf (figure, sizeof figure, format, arguments);
    va_end (arguments);
    const char *outcome = is_met ? "met" : "missed";
    s_add_row (self, target, asked, method, figure, outcome);
    json_array_append_new (self->rows, json_pack ("{s:s, s:s, s:s, s:s, s:f, s:s, s:s}", "target",
                                                  target, "asked", asked, "method", method,
                                                  "figure", figure, "value", value, "outcome",
                                                  outcome, "hardware", self->bench.device_name));
}

static void
s_add_unmeasured (self_t *self, const char *target, const char *asked, const char *reason)
{
    s_add_row (self, target, asked, reason, "-", "not measured");
    json_array_append_new (self->rows,
                           json_pack ("{s:s, s:s, s:s, s:s}", "target", target, "asked", asked,
                                      "outcome", "not measured", "reason", reason));
}

//  ---------------------------------------------------------------------------------------------------------
//  What others have saved

//  NULL where it is not there, or is of another device.
static json_t *
s_load (const self_t *self, const char *name)
{
    char path [4096];
    snprintf (path, sizeof path, "%s/%s.json", self->folder, name);
    json_t *object = json_load_file (path, 0, NULL);
    const char *device = json_string_value (json_object_get (object, "device"));
    if (object && (!device || !streq (device, self->bench.device))) {
        json_decref (object);
        object = NULL;
    }
    return object;
}

//  A figure of the row of node.json that is this one; 0 where there is none.
static double
s_node_figure (const self_t *self, const char *request, size_t size, const char *transport,
               size_t depth, const char *system, const char *key)
{
    size_t index;
    json_t *row;
    json_array_foreach (json_object_get (self->node, "rows"), index, row)
    {
        const char *name = json_string_value (json_object_get (row, "request"));
        const char *via = json_string_value (json_object_get (row, "transport"));
        if (name && via && streq (name, request) && streq (via, transport)
            && json_integer_value (json_object_get (row, "size")) == (json_int_t) size
            && json_integer_value (json_object_get (row, "in_flight")) == (json_int_t) depth)
            return json_number_value (
                json_object_get (system ? json_object_get (row, system) : row, key));
    }
    return 0;
}

static void
s_add_from_node (self_t *self)
{
    const char *missing = "node.json is not there: bench/gpb_bench_node --save";
    double ratio =
        s_node_figure (self, "noop", 64, "tcp", 1, NULL, "p50_ratio_two_hops_and_launch");
    if (ratio > 0)
        s_add (self, "P50 of a 64 B request over tcp", "<= 1.3 of echo + launch",
               "noop by two-hop DEALER-ROUTER echo of its bytes plus the raw OpenCL launch",
               ratio <= 1.3, ratio, "%.2f", ratio);
    else
        s_add_unmeasured (self, "P50 of a 64 B request over tcp", "<= 1.3 of echo + launch",
                          missing);
    ratio = s_node_figure (self, "vector_add", 8192, "tcp", 1024, "opencl", "per_second_ratio");
    if (ratio > 0)
        s_add (self, "vector_add of 1,024 floats, 1,024 in flight, tcp", ">= 0.5 of raw OpenCL",
               "answers a second by launches a second of OpenCL with its queue kept full",
               ratio >= 0.5, ratio, "%.2f", ratio);
    else
        s_add_unmeasured (self, "vector_add of 1,024 floats, 1,024 in flight, tcp",
                          ">= 0.5 of raw OpenCL", missing);
    ratio = s_node_figure (self, "hello", 0, "tcp", 1024, "one_hop", "per_second_ratio");
    if (ratio > 0)
        s_add (self, "ping, 1,024 in flight, tcp", ">= 0.3 of the raw echo",
               "hello answers a second by those of a one-hop echo of its bytes", ratio >= 0.3,
               ratio, "%.2f", ratio);
    else
        s_add_unmeasured (self, "ping, 1,024 in flight, tcp", ">= 0.3 of the raw echo", missing);
    const size_t large = (size_t) 16 << 20;
    double one = s_node_figure (self, "noop", large, "tcp", 1, "one_hop", "per_second_ratio");
    double many = s_node_figure (self, "noop", large, "tcp", 16, "one_hop", "per_second_ratio");
    double one_behind =
        s_node_figure (self, "noop", large, "tcp", 1, "two_hops", "per_second_ratio");
    double many_behind =
        s_node_figure (self, "noop", large, "tcp", 16, "two_hops", "per_second_ratio");
    if (one > 0 && many > 0)
        s_add (
            self, "16 MiB requests over tcp", ">= 0.9 of the raw echo",
            "noop's bandwidth by that of a one-hop echo (which decides, being the faster one) and "
            "of a two-hop one: one at a time, and 16 in flight",
            one >= 0.9 && many >= 0.9, one < many ? one : many,
            "%.2f and %.2f (2 hops: %.2f, %.2f)", one, many, one_behind, many_behind);
    else
        s_add_unmeasured (self, "16 MiB requests over tcp", ">= 0.9 of the raw echo", missing);
}

//  The largest number under a key among the rows of a file, but for those of which `but` is what
//  stands first in the row; 0 where there is none.
static double
s_largest (json_t *file, const char *key, const char *but)
{
    double largest = 0;
    size_t index;
    json_t *row;
    json_array_foreach (json_object_get (file, "rows"), index, row)
    {
        const char *name = json_string_value (json_object_get (row, "hostile"));
        if (but && name && streq (name, but))
            continue;
        double value = json_number_value (json_object_get (row, key));
        largest = value > largest ? value : largest;
    }
    return largest;
}

static void
s_add_from_others (self_t *self)
{
    double ratio = s_largest (self->hostile, "p99_ratio", "(only computes)");
    if (ratio > 0)
        s_add (self, "good clients' P99 beside a hostile one", "< 2 of their P99 alone",
               "the worst of all hostile clients, tcp, by quiet rounds in between", ratio < 2,
               ratio, "%.2f", ratio);
    else
        s_add_unmeasured (self, "good clients' P99 beside a hostile one", "< 2 of their P99 alone",
                          "hostile.json is not there: bench/gpb_bench_hostile --save");
    ratio = s_largest (self->local, "ratio", NULL);
    if (ratio > 0)
        s_add (self, "shipped kernels' default local sizes", "<= 1.2 of the best",
               "the worst kernel's time with its default, by the best of a sweep", ratio <= 1.2,
               ratio, "%.2f", ratio);
    else
        s_add_unmeasured (self, "shipped kernels' default local sizes", "<= 1.2 of the best",
                          "local.json is not there: bench/gpb_bench_local --save");
}

//  ---------------------------------------------------------------------------------------------------------
//  Kernels

static void
s_add_launch (self_t *self)
{
    static gpb_histogram_t overheads;
    size_t measured = 0;
    for (size_t count = 0; count < LAUNCHES; count++) {
        gpb_reply_t *reply = gpb_bench_call (self->clients [0], gpb_bench_noop (64));
        const Gpb__V1__Timing *timing = gpb_reply_header_peek (reply)->execute->timing;
        if (timing && timing->measured && timing->compute) {
            gpb_histogram_record (&overheads, timing->device_ns - timing->compute->ns);
            measured++;
        }
        gpb_reply_destroy (&reply);
    }
    char p50 [GPB_FIGURE_SIZE], p99 [GPB_FIGURE_SIZE];
    double value = (double) gpb_histogram_percentile (&overheads, 50);
    gpb_table_time ((uint64_t) value, p50);
    gpb_table_time (gpb_histogram_percentile (&overheads, 99), p99);
    if (measured)
        s_add (self, "kernel launch overhead", "< 100 us",
               "P50 of device time less kernel time of a noop of 64 B, one at a time",
               value < 100000, value, "%s (P99 %s)", p50, p99);
    else
        s_add_unmeasured (self, "kernel launch overhead", "< 100 us",
                          "the device's events have no times");
}

static int
s_earlier (const void *one, const void *other)
{
    const uint64_t *left = one, *right = other;
    return (left [0] > right [0]) - (left [0] < right [0]);
}

//  How long at least one of the spans was, in ns; spans are pairs of start and end.
static uint64_t
s_union_ns (uint64_t (*spans) [2], size_t count)
{
    qsort (spans, count, sizeof *spans, s_earlier);
    uint64_t busy_ns = 0, until_ns = 0;
    for (size_t index = 0; index < count; index++) {
        uint64_t start_ns = spans [index][0] > until_ns ? spans [index][0] : until_ns;
        if (spans [index][1] > start_ns) {
            busy_ns += spans [index][1] - start_ns;
            until_ns = spans [index][1];
        }
    }
    return busy_ns;
}

static gpb_request_t *
s_nbody (void)
{
    gpb_request_t *request = gpb_request_execute ("nbody");
    for (int input = 0; input < 2; input++)
        gpb_request_in_take (request, gpb_bench_input (), BODIES * 4 * sizeof (float), NULL, NULL);
    gpb_request_out (request, 0);
    gpb_request_out (request, 0);
    gpb_request_u32 (request, BODIES);
    gpb_request_f32 (request, 0.01F);
    gpb_request_f32 (request, 0.05F);
    return request;
}

static void
s_send_nbody (gpb_client_t *client)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_request_t *request = s_nbody ();
    if (!gpb_client_send (client, &request, &error))
        gpb_bench_fail ("nbody: %s", error.text);
}

#define SPANS_MAX 65536

static void
s_add_utilisation (self_t *self)
{
    static uint64_t spans [SPANS_MAX][2];
    gpb_client_t *client = self->clients [1];
    gpb_bench_do (client, s_nbody ());
    size_t count = 0, in_flight = 0;
    uint64_t start_ns = gpb_clock_ns (), end_ns = start_ns;
    for (; in_flight < LOAD_DEPTH; in_flight++)
        s_send_nbody (client);
    while (in_flight) {
        gpb_reply_t *reply = gpb_client_recv (client, -1);
        if (!reply || gpb_reply_status (reply) != GPB_OK)
            gpb_bench_fail ("nbody: %s", reply ? gpb_reply_message (reply) : "interrupted");
        const Gpb__V1__Timing *timing = gpb_reply_header_peek (reply)->execute->timing;
        if (timing && timing->measured && timing->compute && count < SPANS_MAX) {
            spans [count][0] = timing->compute->start_ns;
            spans [count++][1] = timing->compute->end_ns;
        }
        gpb_reply_destroy (&reply);
        in_flight--;
        end_ns = gpb_clock_ns ();
        if (end_ns - start_ns < LOAD_NS) {
            s_send_nbody (client);
            in_flight++;
        }
    }
    if (count == 0) {
        s_add_unmeasured (self, "GPU utilisation under load", "> 80 %",
                          "the device's events have no times");
        return;
    }
    double share = 100.0 * (double) s_union_ns (spans, count) / (double) (end_ns - start_ns);
    s_add (self, "GPU utilisation under load", "> 80 %",
           "time with a kernel running, by its events, of wall time: nbody of 2,048, 8 in flight, "
           "tcp",
           share > 80, share, "%.1f %%", share);
}

//  ---------------------------------------------------------------------------------------------------------
//  Memory

//  GB/s of one direction, by the device's own events; 0 where they say nothing.
static double
s_transfers (gpb_client_t *client, uint64_t handle, bool is_write)
{
    double rates [TRANSFERS];
    size_t count = 0;
    for (size_t turn = 0; turn < TRANSFERS; turn++) {
        gpb_reply_t *reply =
            gpb_bench_call (client, is_write ? gpb_request_write (handle, 0, gpb_bench_input (),
                                                                  TRANSFER_SIZE)
                                             : gpb_request_read (handle, 0, TRANSFER_SIZE));
        const Gpb__V1__Reply *header = gpb_reply_header_peek (reply);
        const Gpb__V1__Timing *timing = is_write ? header->write->timing : header->read->timing;
        const Gpb__V1__Span *span = NULL;
        if (timing && timing->measured)
            span = is_write ? timing->copy_in : timing->copy_out;
        if (span && span->ns)
            rates [count++] = (double) TRANSFER_SIZE / (double) span->ns;
        gpb_reply_destroy (&reply);
    }
    return gpb_bench_median (rates, count);
}

//  What the host's memory gives at all: one thread, the same size.
static double
s_memcpy_rate (void)
{
    double rates [TRANSFERS];
    unsigned char *target = gpb_alloc (1, TRANSFER_SIZE);
    if (!target)
        gpb_bench_fail ("no memory for a copy");
    for (size_t turn = 0; turn < TRANSFERS; turn++) {
        uint64_t start_ns = gpb_clock_ns ();
        memcpy (target, gpb_bench_input (), TRANSFER_SIZE);
        rates [turn] = (double) TRANSFER_SIZE / (double) (gpb_clock_ns () - start_ns);
        //  The copy is looked at, so that it is made.
        if (memcmp (target, gpb_bench_input (), 64) != 0)
            gpb_bench_fail ("a copy is none");
    }
    gpb_free (target);
    return gpb_bench_median (rates, TRANSFERS);
}

static void
s_add_bandwidth (self_t *self)
{
    gpb_client_t *client = self->clients [0];
    gpb_reply_t *reply = gpb_bench_call (client, gpb_request_rent (TRANSFER_SIZE, GPB_RENT_DEVICE,
                                                                   GPB_RENT_READ_WRITE));
    uint64_t handle = gpb_reply_handle (reply);
    gpb_reply_destroy (&reply);
    double written = s_transfers (client, handle, true), read = s_transfers (client, handle, false);
    gpb_bench_do (client, gpb_request_release (handle));
    double slower = written < read ? written : read;
    if (slower > 0)
        s_add (self, "memory transfer bandwidth", "> 10 GB/s",
               "64 MiB written to and read from a rented buffer, inproc, by the copies' events",
               slower > 10, slower, "%.1f and %.1f GB/s (memcpy: %.1f)", written, read,
               s_memcpy_rate ());
    else
        s_add_unmeasured (self, "memory transfer bandwidth", "> 10 GB/s",
                          "the device's events have no times");
}

static void
s_add_zero_copy (self_t *self)
{
    const size_t sizes [] = { 128 << 10, 1 << 20, 16 << 20 };
    uint64_t copied [2] = { 0 };
    for (size_t via = 0; via < 2; via++)
        for (size_t index = 0; index < sizeof sizes / sizeof sizes [0]; index++) {
            //  Two inputs of this size, and a result.
            gpb_reply_t *reply =
                gpb_bench_call (self->clients [via], gpb_bench_vector_add (2 * sizes [index]));
            copied [via] += gpb_reply_header_peek (reply)->execute->timing->host_copied;
            gpb_reply_destroy (&reply);
        }
    char texts [2][GPB_FIGURE_SIZE];
    for (size_t via = 0; via < 2; via++)
        gpb_table_size (copied [via], texts [via]);
    s_add (self, "zero-copy for buffers over 64 KiB", "0 B copied",
           "bytes that the node's host copied for vector_add of 128 KiB, 1 MiB, 16 MiB",
           copied [0] + copied [1] == 0, (double) (copied [0] + copied [1]), "%s %s, %s %s",
           s_vias [0], texts [0], s_vias [1], texts [1]);
}

//  Sizes of all magnitudes alike, from a fixed sequence.
static uint64_t
s_rent_size (uint64_t *random)
{
    *random = *random * 6364136223846793005ULL + 1442695040888963407ULL;
    uint64_t size = RENT_SIZE_MIN << (*random >> 33) % RENT_SIZE_BITS;
    *random = *random * 6364136223846793005ULL + 1442695040888963407ULL;
    return size + (*random >> 33) % size;
}

//  The first pool's figures, as the node knows them.
static Gpb__V1__PoolStats
s_pool (self_t *self)
{
    zclock_sleep (FIGURES_MS);
    gpb_reply_t *reply = gpb_bench_call (self->clients [0], gpb_request_stats ());
    const Gpb__V1__StatsReply *stats = gpb_reply_header_peek (reply)->stats;
    Gpb__V1__PoolStats pool = GPB__V1__POOL_STATS__INIT;
    if (stats->n_pools)
        pool = *stats->pools [0];
    pool.kept_by_class = NULL;    //  the reply's
    pool.n_kept_by_class = 0;
    gpb_reply_destroy (&reply);
    return pool;
}

static void
s_turn_rents (self_t *self, uint64_t handles [RENT_BUFFERS], uint64_t *random, size_t turns)
{
    for (size_t turn = 0; turn < turns; turn++) {
        uint64_t *handle = &handles [(*random >> 40) % RENT_BUFFERS];
        if (*handle)
            gpb_bench_do (self->clients [0], gpb_request_release (*handle));
        gpb_reply_t *reply =
            gpb_bench_call (self->clients [0],
                            gpb_request_rent (s_rent_size (random), GPB_RENT_DEVICE,
                                              GPB_RENT_READ_WRITE));
        *handle = gpb_reply_handle (reply);
        gpb_reply_destroy (&reply);
    }
}

static void
s_add_pool (self_t *self)
{
    static const char *const method =
        "64 live buffers of 4 KiB to 4 MiB, replaced at random: the pool's own figures";
    uint64_t handles [RENT_BUFFERS] = { 0 }, random = 1;
    s_turn_rents (self, handles, &random, RENT_TURNS);
    Gpb__V1__PoolStats before = s_pool (self);
    s_turn_rents (self, handles, &random, RENT_TURNS);
    Gpb__V1__PoolStats after = s_pool (self);
    for (size_t index = 0; index < RENT_BUFFERS; index++)
        if (handles [index])
            gpb_bench_do (self->clients [0], gpb_request_release (handles [index]));

    double hits = (double) (after.hits - before.hits);
    double misses = (double) (after.misses - before.misses);
    if (hits + misses > 0) {
        double share = 100 * hits / (hits + misses);
        s_add (self, "pool hit ratio", "> 90 %", method, share > 90, share, "%.1f %%", share);
    }
    else
        s_add_unmeasured (self, "pool hit ratio", "> 90 %", "this node's pool counts no hits");
    if (after.held == 0 || after.requested == 0) {
        static const char *const reason = "this node's pool does not say what it holds";
        s_add_unmeasured (self, "memory fragmentation", "< 10 %", reason);
        s_add_unmeasured (self, "memory efficiency", "> 85 %", reason);
        return;
    }
    double inside = 100 * after.internal_fragmentation,
           outside = 100 * after.external_fragmentation;
    s_add (self, "memory fragmentation", "< 10 %", method,
           inside < 10 && outside<10, inside> outside ? inside : outside,
           "%.1f %% in blocks, %.1f %% between", inside, outside);
    double share = 100 * (double) after.requested / (double) after.held;
    s_add (self, "memory efficiency", "> 85 %",
           "the same load: bytes asked for of those held from the driver", share > 85, share,
           "%.1f %%", share);
}

//  The worst of all sizes, from memory that the pool has kept.
static void
s_add_allocation (self_t *self)
{
    double worst_ns = 0, median_ns = 0;
    size_t index;
    json_t *row;
    json_array_foreach (json_object_get (self->components, "rows"), index, row)
    {
        if (!json_is_true (json_object_get (row, "kept")))
            continue;
        double p99_ns = json_number_value (json_object_get (row, "p99_ns"));
        if (p99_ns > worst_ns) {
            worst_ns = p99_ns;
            median_ns = json_number_value (json_object_get (row, "p50_ns"));
        }
    }
    if (worst_ns == 0) {
        s_add_unmeasured (self, "buffer allocation", "< 1 ms",
                          "components.json is not there: bench/gpb_bench_components --save");
        return;
    }
    char p50 [GPB_FIGURE_SIZE], p99 [GPB_FIGURE_SIZE];
    s_add (self, "buffer allocation", "< 1 ms",
           "P99 of a rent's round trip, inproc, the worst of 4 KiB, 1 MiB and 16 MiB",
           worst_ns < 1e6, worst_ns, "%s (P50 %s)", gpb_table_time ((uint64_t) worst_ns, p99),
           gpb_table_time ((uint64_t) median_ns, p50));
}

//  ---------------------------------------------------------------------------------------------------------
//  Persistent kernels

//  Targets whose figure is one number of persistent.json.
typedef struct {
    const char *target, *asked;
    const char *what;    //  its row
    size_t in_flight;    //  0: the row has none
    const char *key;
    double bound;
    bool is_most;    //  the bound is the most; else the least
    int decimals;
    const char *unit;
    const char *method;
} persistent_target_t;

static const persistent_target_t s_persistent_targets [] = {
    { "ring, P50", "<= 2 of a bare mailbox", "ring", 1, "p50_ratio", 2, true, 2, "",
      "64 B from the host's thread through the handler and back, by two words of shared memory" },
    { "ring, P99", "<= 3 of a bare mailbox", "ring", 1, "p99_ratio", 3, true, 2, "", "the same" },
    { "ring, one lane", ">= 5,000,000 a second", "ring", 8, "per_second", 5e6, false, 0, "",
      "64 B, 8 in flight" },
    { "kernel host over inproc, P50", "<= 1.3 of the raw echo", "host, inproc", 1, "p50_ratio", 1.3,
      true, 2, "", "echo of 64 B by a DEALER-ROUTER echo of its bytes" },
    { "persistent kernel over tcp, P50", "<= 1.1 of the raw echoes", "node, tcp", 1, "p50_ratio",
      1.1, true, 2, "", "echo of 64 B by a tcp echo of its bytes plus an inproc one" },
    { "persistent kernel, 1,024 in flight, tcp", ">= 200,000 a second", "node, tcp", 1024,
      "per_second", 200000, false, 0, "", "echo of 64 B, the client in the node's process" },
    { "three parked kernels", "< 1 % of a core", "three parked kernels", 0, "core_percent", 1, true,
      2, " %", "processor time of the node over 5 s" },
    { "ordinary requests beside a parked kernel", ">= 0.5 of their rate alone",
      "noop, kernel parked", 32, "per_second_ratio", 0.5, false, 2, "",
      "noop of 64 B, 32 in flight, tcp" },
    { "ordinary requests beside a busy kernel", "they go on", "noop, kernel busy", 32,
      "per_second_ratio", 0.01, false, 2, " of their rate alone",
      "the same while another client keeps 32 messages in flight" },
};

//  A figure of persistent.json; -1 where it is not there.
static double
s_persistent_figure (const self_t *self, const char *what, size_t in_flight, const char *key)
{
    size_t index;
    json_t *row;
    json_array_foreach (json_object_get (self->persistent, "rows"), index, row)
    {
        const char *name = json_string_value (json_object_get (row, "what"));
        if (name && streq (name, what)
            && json_integer_value (json_object_get (row, "in_flight")) == (json_int_t) in_flight)
            return json_number_value (json_object_get (row, key));
    }
    return -1;
}

static void
s_add_persistent (self_t *self)
{
    static const char missing [] = "persistent.json is not there: bench/gpb_bench_persistent "
                                   "--save; or the device cannot hold a kernel";
    const double p50_ns = s_persistent_figure (self, "node, tcp", 1, "p50_ns");
    char text [GPB_FIGURE_SIZE];
    if (p50_ns > 0)
        s_add (self, "persistent kernel latency", "< 1 ms (P50)",
               "echo of 64 B through client, broker, host and lane, one at a time, tcp",
               p50_ns < 1e6, p50_ns, "%s", gpb_table_time ((uint64_t) p50_ns, text));
    else
        s_add_unmeasured (self, "persistent kernel latency", "< 1 ms (P50)", missing);
    const size_t count = sizeof s_persistent_targets / sizeof s_persistent_targets [0];
    for (size_t index = 0; index < count; index++) {
        const persistent_target_t *target = &s_persistent_targets [index];
        const double value =
            s_persistent_figure (self, target->what, target->in_flight, target->key);
        char figure [64];
        snprintf (figure, sizeof figure, "%.*f%s", target->decimals, value, target->unit);
        if (value >= 0)
            s_add (self, target->target, target->asked, target->method,
                   target->is_most ? value <= target->bound : value >= target->bound, value, "%s",
                   figure);
        else
            s_add_unmeasured (self, target->target, target->asked, missing);
    }
}

//  ---------------------------------------------------------------------------------------------------------
//  All of them

static void
s_add_all (self_t *self)
{
    s_add_from_node (self);
    s_add_from_others (self);
    s_add_launch (self);
    s_add_persistent (self);
    s_add_bandwidth (self);
    double rate = s_node_figure (self, "noop", 64, "tcp", 1024, "client", "per_second");
    if (rate > 0)
        s_add (self, "queue processing", "> 10,000 ops/s",
               "noop of 64 B through client, broker, device and kernel, 1,024 in flight, tcp",
               rate > 10000, rate, "%.0f ops/s", rate);
    else
        s_add_unmeasured (self, "queue processing", "> 10,000 ops/s",
                          "node.json is not there: bench/gpb_bench_node --save");
    s_add_allocation (self);
    s_add_zero_copy (self);
    s_add_pool (self);
    s_add_utilisation (self);
    s_add_unmeasured (self, "power efficiency", "within thermal limits",
                      "OpenCL tells neither power nor temperature, and no limit was given");
}

int
main (int argc, char **argv)
{
    static self_t self;
    gpb_bench_begin (&self.bench, argc, argv);
    self.folder = getenv ("GPB_BENCH_RESULTS");
    if (!self.folder)
        self.folder = "bench-results";
    const char *const binds [2] = { "inproc://bench", "tcp://127.0.0.1:*" };
    zactor_t *node = gpb_bench_node ();
    for (size_t via = 0; via < 2; via++) {
        self.endpoints [via] = gpb_bench_bind (node, binds [via]);
        self.clients [via] = gpb_bench_client (self.endpoints [via]);
    }
    gpb_bench_device (&self.bench, self.clients [0]);
    json_t **const files [] = { &self.node, &self.local, &self.components, &self.hostile,
                                &self.persistent };
    static const char *const names [] = { "node", "local", "components", "hostile", "persistent" };
    for (size_t index = 0; index < sizeof files / sizeof files [0]; index++)
        *files [index] = s_load (&self, names [index]);
    self.table = gpb_table_new ("TARGET ASKED FIGURE OUTCOME HARDWARE METHOD");
    self.rows = json_array ();
    if (!self.table || !self.rows)
        gpb_bench_fail ("no memory for the table");
    s_add_all (&self);
    for (size_t index = 0; index < sizeof files / sizeof files [0]; index++)
        json_decref (*files [index]);
    for (size_t via = 0; via < 2; via++) {
        gpb_client_destroy (&self.clients [via]);
        zstr_free (&self.endpoints [via]);
    }
    zactor_destroy (&node);
    gpb_bench_print (&self.bench, "targets", &self.table, self.rows);
    return 0;
}
