//  gpb_bench_node - what a node costs beside plain libzmq, and beside OpenCL alone
//
//  Requests: hello, which the broker answers itself; noop with 64 B, 4 KiB, 1 MiB and 16 MiB of
//  input, which goes through client, broker and device to a kernel that does nothing (a request of
//  N bytes is N bytes there, and 4 back, by every system); vector_add of 1,024 floats. Each with 1,
//  64 and 1,024 in flight over inproc, ipc and tcp, on a node that is composed in this process. Of
//  large requests only as many are in flight as IN_FLIGHT_SIZE allows: a row says how many.
//
//  Beside it, all by one thread of the same process, with the library's defaults but for high-water
//  marks:
//    packed    the same node, and a plain DEALER that sends what was packed before
//    one hop, two hops    the echo of gpb_bench_echo.h: the same bytes, and nothing is looked at
//    OpenCL    the launches alone (gpb_bench_opencl.h), without a socket
//
//  With --curve the node asks for keys over tcp, so that the client's and the packed rows of tcp
//  are encrypted; the echoes are plain all the same: what CURVE costs is the difference to a run
//  without.
//
//  All of one row runs in turn, in several rounds, so that what disturbs the machine disturbs all.
//  Figures are medians of the rounds' figures, and a ratio is the median of the rounds' ratios. The
//  table has the others as ratios (the node's figure by theirs), --json their figures too.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_bench_echo.h"
#include "gpb_bench_keys.h"
#include "gpb_bench_opencl.h"
#include "gpb_clock.h"

#include <stdlib.h>
#include <unistd.h>

#define ROUNDS 5
#define CELL_NS (50 * GPB_NS_PER_MS)           //  of one system in one round, at least
#define IN_FLIGHT_SIZE ((size_t) 256 << 20)    //  bytes: a sixteenth of a small machine's memory
#define COUNT 1024                             //  floats of vector_add
#define KIB ((size_t) 1024)

typedef enum { CLIENT, PACKED, ONE_HOP, TWO_HOPS, OPENCL, SYSTEMS } system_t;

static const char *const s_systems [SYSTEMS] = { "client", "packed", "one_hop", "two_hops",
                                                 "opencl" };
static const char *const s_transports [GPB_BENCH_ENDPOINTS] = { "inproc", "ipc", "tcp" };
static const size_t s_depths [] = { 1, 64, GPB_BENCH_DEPTH_MAX };

//  Of one system in all rounds.
typedef struct {
    double p50_ns [ROUNDS], p99_ns [ROUNDS], rate [ROUNDS];    //  rate: answers a second
} figures_t;

typedef struct {
    gpb_bench_t bench;
    size_t rounds;
    char *endpoints [GPB_BENCH_ENDPOINTS];
    gpb_client_t *clients [GPB_BENCH_ENDPOINTS];
    zsock_t *packed [GPB_BENCH_ENDPOINTS];
    gpb_bench_echo_t echoes [2];    //  of one hop, and of two
    gpb_bench_opencl_t *opencl;     //  NULL: the device is none of OpenCL's
    gpb_table_t *table;
    json_t *rows;
} self_t;

static bool
s_runs (const self_t *self, const gpb_bench_work_t *work, system_t system)
{
    return system != OPENCL || (self->opencl && work->request != gpb_bench_hello);
}

static void
s_run (self_t *self, const gpb_bench_work_t *work, system_t system, size_t via, size_t depth,
       gpb_bench_figure_t *figure)
{
    switch (system) {
    case CLIENT: gpb_bench_run_client (self->clients [via], work, depth, CELL_NS, figure); break;
    case PACKED:
        gpb_bench_run_packed (zsock_resolve (self->packed [via]), work, depth, CELL_NS, figure);
        break;
    case ONE_HOP:
    case TWO_HOPS:
        gpb_bench_run_echo (zsock_resolve (self->echoes [system - ONE_HOP].clients [via]), work,
                            depth, CELL_NS, figure);
        break;
    case OPENCL: gpb_bench_opencl_run (self->opencl, depth, CELL_NS, figure); break;
    case SYSTEMS: break;
    }
}

//  ---------------------------------------------------------------------------------------------------------
//  Rows

static json_t *
s_json (figures_t *figures, size_t rounds, const double ratios [3])
{
    double p50_ns = gpb_bench_median (figures->p50_ns, rounds);
    double p99_ns = gpb_bench_median (figures->p99_ns, rounds);
    json_t *object = json_pack ("{s:f}", "per_second", gpb_bench_median (figures->rate, rounds));
    if (p50_ns > 0) {
        json_object_set_new (object, "p50_ns", json_real (p50_ns));
        json_object_set_new (object, "p99_ns", json_real (p99_ns));
    }
    static const char *const keys [] = { "p50_ratio", "p99_ratio", "per_second_ratio" };
    for (size_t figure = 0; figure < 3; figure++)
        if (ratios [figure] > 0)
            json_object_set_new (object, keys [figure], json_real (ratios [figure]));
    return object;
}

static void
s_add_ratio (self_t *self, double ratio)
{
    if (ratio > 0)
        gpb_table_add (self->table, "%.2f", ratio);
    else
        gpb_table_add (self->table, "-");
}

static void
s_add_row (self_t *self, const gpb_bench_work_t *work, const char *transport, size_t depth,
           figures_t figures [SYSTEMS])
{
    const size_t rounds = self->rounds;
    char text [GPB_FIGURE_SIZE];
    double ratios [SYSTEMS][3] = { { 0 } }, beyond [ROUNDS];
    for (system_t system = PACKED; system < SYSTEMS; system++) {
        if (!s_runs (self, work, system))
            continue;
        ratios [system][2] = gpb_bench_ratio (figures [CLIENT].rate, figures [system].rate, rounds);
        if (system == OPENCL && depth > 1)
            continue;
        ratios [system][0] =
            gpb_bench_ratio (figures [CLIENT].p50_ns, figures [system].p50_ns, rounds);
        ratios [system][1] =
            gpb_bench_ratio (figures [CLIENT].p99_ns, figures [system].p99_ns, rounds);
    }
    //  One at a time, a request costs a way there and back with two hops, and a launch.
    for (size_t round = 0; round < rounds; round++)
        beyond [round] = figures [TWO_HOPS].p50_ns [round] + figures [OPENCL].p50_ns [round];
    double whole =
        ratios [OPENCL][0] > 0 ? gpb_bench_ratio (figures [CLIENT].p50_ns, beyond, rounds) : 0;

    json_t *row =
        json_pack ("{s:s, s:I, s:s, s:I}", "request", work->name, "size", (json_int_t) work->size,
                   "transport", transport, "in_flight", (json_int_t) depth);
    if (whole > 0)
        json_object_set_new (row, "p50_ratio_two_hops_and_launch", json_real (whole));
    for (system_t system = CLIENT; system < SYSTEMS; system++)
        if (s_runs (self, work, system))
            json_object_set_new (row, s_systems [system],
                                 s_json (&figures [system], rounds, ratios [system]));
    json_array_append_new (self->rows, row);

    double rate = gpb_bench_median (figures [CLIENT].rate, rounds);
    gpb_table_add (self->table, "%s", work->name);
    gpb_table_add (self->table, "%s", gpb_table_size (work->size, text));
    gpb_table_add (self->table, "%s", transport);
    gpb_table_add (self->table, "%zu", depth);
    double p50_ns = gpb_bench_median (figures [CLIENT].p50_ns, rounds);
    gpb_table_add (self->table, "%s", gpb_table_time ((uint64_t) p50_ns, text));
    double p99_ns = gpb_bench_median (figures [CLIENT].p99_ns, rounds);
    gpb_table_add (self->table, "%s", gpb_table_time ((uint64_t) p99_ns, text));
    gpb_table_add (self->table, "%.0f", rate);
    gpb_table_add (self->table, "%.3f", rate * (double) work->size / 1e9);
    for (system_t system = PACKED; system < OPENCL; system++)
        for (size_t figure = 0; figure < 3; figure++)
            s_add_ratio (self, ratios [system][figure]);
    s_add_ratio (self, ratios [OPENCL][2]);
    s_add_ratio (self, whole);
}

static void
s_measure_row (self_t *self, const gpb_bench_work_t *work, size_t via, size_t depth)
{
    static figures_t figures [SYSTEMS];
    memset (figures, 0, sizeof figures);
    for (size_t round = 0; round < self->rounds; round++)
        for (system_t turn = 0; turn < SYSTEMS; turn++) {
            system_t system = (turn + round) % SYSTEMS;
            if (!s_runs (self, work, system))
                continue;
            gpb_bench_figure_t figure;
            s_run (self, work, system, via, depth, &figure);
            figures [system].p50_ns [round] = figure.p50_ns;
            figures [system].p99_ns [round] = figure.p99_ns;
            figures [system].rate [round] = figure.rate;
        }
    s_add_row (self, work, s_transports [via], depth, figures);
}

//  ---------------------------------------------------------------------------------------------------------
//  A kind of request

static void
s_prepare_opencl (self_t *self, const gpb_bench_work_t *work)
{
    if (work->request == gpb_bench_noop) {
        const uint32_t last = gpb_bench_input () [work->size - 1];
        const gpb_bench_launch_t launch = { .kernel = "noop",
                                            .inputs = 1,
                                            .input_size = work->size,
                                            .output_size = sizeof last,
                                            .scalar = work->size,
                                            .scalar_size = sizeof (uint64_t),
                                            .global = 1,
                                            .local = 1 };
        gpb_bench_opencl_prepare (self->opencl, &launch, &last, sizeof last);
        return;
    }
    const float sums [3] = { 0, 2, 4 };
    const gpb_bench_launch_t launch = { .kernel = "vector_add",
                                        .inputs = 2,
                                        .input_size = COUNT * sizeof (float),
                                        .output_size = COUNT * sizeof (float),
                                        .scalar = COUNT,
                                        .scalar_size = sizeof (int32_t),
                                        .global = COUNT,
                                        .local = 256 };
    gpb_bench_opencl_prepare (self->opencl, &launch, sums, sizeof sums);
}

static void
s_measure (self_t *self, gpb_bench_work_t *work, const char *folder)
{
    for (size_t via = 0; via < GPB_BENCH_ENDPOINTS; via++)
        gpb_bench_do (self->clients [via], work->request (work->size));    //  compiles, connects
    gpb_bench_record (work, self->endpoints [0]);
    for (unsigned hops = 1; hops <= 2; hops++)
        gpb_bench_echo_start (&self->echoes [hops - 1], hops, work->answered, folder);
    if (s_runs (self, work, OPENCL))
        s_prepare_opencl (self, work);
    for (size_t via = 0; via < GPB_BENCH_ENDPOINTS; via++) {
        size_t done = 0;
        for (size_t at = 0; at < sizeof s_depths / sizeof s_depths [0]; at++) {
            size_t depth = s_depths [at];
            if (work->size && depth > IN_FLIGHT_SIZE / work->size)
                depth = IN_FLIGHT_SIZE / work->size;
            if (depth > done)
                s_measure_row (self, work, via, depth);
            done = depth;
        }
    }
    for (unsigned hops = 1; hops <= 2; hops++)
        gpb_bench_echo_stop (&self->echoes [hops - 1]);
    gpb_bench_forget (work);
    fprintf (stderr, "%s of %zu bytes: done\n", work->name, work->size);
}

int
main (int argc, char **argv)
{
    static self_t self;
    uint64_t with_curve = 0;
    const gpb_bench_number_t options [] = { { "curve", &with_curve, true }, { .name = NULL } };
    gpb_bench_begin_with (&self.bench, argc, argv, options);
    self.rounds = gpb_bench_rounds (&self.bench, ROUNDS);
    char folder [] = "/tmp/gpb_bench_XXXXXX";
    if (!mkdtemp (folder))
        gpb_bench_fail ("no folder in /tmp");
    char ipc [128];
    snprintf (ipc, sizeof ipc, "ipc://%s/node", folder);
    const char *const binds [GPB_BENCH_ENDPOINTS] = { "inproc://bench", ipc, "tcp://127.0.0.1:*" };
    gpb_bench_keys_t keys = { .node = NULL };
    if (with_curve)
        gpb_bench_keys_make (&keys);
    zactor_t *node = gpb_bench_keys_node (&keys, NULL);
    for (size_t via = 0; via < GPB_BENCH_ENDPOINTS; via++) {
        self.endpoints [via] = gpb_bench_bind (node, binds [via]);
        self.clients [via] = gpb_bench_keys_client (&keys, self.endpoints [via]);
        self.packed [via] = gpb_bench_keys_dealer (&keys, self.endpoints [via]);
    }
    gpb_bench_device (&self.bench, self.clients [0]);
    self.opencl = gpb_bench_opencl_new (self.bench.device_name);
    self.table = gpb_table_new ("REQUEST >SIZE VIA >IN-FLIGHT >P50 >P99 >PER-S >GB/S "
                                ">P50/PACKED >P99 >PER-S >P50/1-HOP >P99 >PER-S "
                                ">P50/2-HOPS >P99 >PER-S >PER-S/OPENCL >P50/2-HOPS+LAUNCH");
    self.rows = json_array ();
    if (!self.table || !self.rows)
        gpb_bench_fail ("no memory for the table");

    gpb_bench_work_t works [] = {
        { "hello", 0, gpb_bench_hello, NULL, NULL },
        { "noop", 64, gpb_bench_noop, NULL, NULL },
        { "noop", 4 * KIB, gpb_bench_noop, NULL, NULL },
        { "noop", KIB * KIB, gpb_bench_noop, NULL, NULL },
        { "noop", 16 * KIB * KIB, gpb_bench_noop, NULL, NULL },
        { "vector_add", 2 * COUNT * sizeof (float), gpb_bench_vector_add, NULL, NULL },
    };
    for (size_t index = 0; index < sizeof works / sizeof works [0]; index++)
        s_measure (&self, &works [index], folder);

    gpb_bench_opencl_destroy (&self.opencl);
    for (size_t via = 0; via < GPB_BENCH_ENDPOINTS; via++) {
        zsock_destroy (&self.packed [via]);
        gpb_client_destroy (&self.clients [via]);
        zstr_free (&self.endpoints [via]);
    }
    zactor_destroy (&node);
    zdir_t *left = zdir_new (folder, NULL);
    if (left)
        zdir_remove (left, true);
    zdir_destroy (&left);
    gpb_bench_keys_remove (&keys);
    gpb_bench_print (&self.bench, with_curve ? "node, CURVE over tcp" : "node", &self.table,
                     self.rows);
    return 0;
}
