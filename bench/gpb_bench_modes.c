//  gpb_bench_modes - what a device's own process costs, and what CURVE costs
//
//  Four nodes in this process, over tcp on the loopback interface: isolation = thread or process,
//  each without keys and with CURVE. The same requests go to all four in turns, round by round, by
//  gpb_client: hello is answered by the broker, noop (bench/kernels/noop) of N bytes goes through
//  the device to a kernel of one work-item, vector_add adds 1,024 floats. Printed are the figures
//  of thread without keys, and those of the others by them: of P50 less is better, of PER-S more.
//  Ratios are medians of the rounds'. Bytes in flight are bounded as gpb_bench_node bounds them.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_bench_keys.h"
#include "gpb_bench_load.h"
#include "gpb_clock.h"

#include <inttypes.h>

#define ROUNDS 5
#define CELL_NS (50 * GPB_NS_PER_MS)    //  of one mode in one round, at least
#define IN_FLIGHT_SIZE ((size_t) 256 << 20)
#define KIB ((size_t) 1024)
#define COUNT 1024    //  floats

//  Bits of a mode.
#define PROCESS 1
#define CURVE 2
#define MODES 4

static const char *const s_modes [MODES] = { "thread", "process", "thread, CURVE",
                                             "process, CURVE" };
static const size_t s_depths [] = { 1, 64, 1024 };

typedef struct {
    double p50_ns [ROUNDS], p99_ns [ROUNDS], rate [ROUNDS];
} figures_t;

typedef struct {
    gpb_bench_t bench;
    size_t rounds;
    gpb_bench_keys_t keys, none;
    zactor_t *nodes [MODES];
    gpb_client_t *clients [MODES];
    char *endpoints [MODES];
    gpb_table_t *table;
    json_t *rows;
} self_t;

static void
s_start (self_t *self, unsigned mode)
{
    const gpb_bench_keys_t *keys = mode & CURVE ? &self->keys : &self->none;
    gpb_error_t error = { GPB_OK, "" };
    gpb_config_t *config = gpb_config_new ();
    if (!config
        || gpb_config_set (config, "isolation", mode & PROCESS ? "process" : "thread", &error)
               != GPB_OK)
        gpb_bench_fail ("a node cannot be configured: %s", error.text);
    self->nodes [mode] = gpb_bench_keys_node (keys, config);
    gpb_config_destroy (&config);
    self->endpoints [mode] = gpb_bench_bind (self->nodes [mode], "tcp://127.0.0.1:*");
    self->clients [mode] = gpb_bench_keys_client (keys, self->endpoints [mode]);
}

static void
s_add_row (self_t *self, const gpb_bench_work_t *work, size_t depth, figures_t figures [MODES])
{
    const size_t rounds = self->rounds;
    double p50_ratios [MODES], rate_ratios [MODES];
    for (unsigned mode = PROCESS; mode < MODES; mode++) {
        p50_ratios [mode] = gpb_bench_ratio (figures [mode].p50_ns, figures [0].p50_ns, rounds);
        rate_ratios [mode] = gpb_bench_ratio (figures [mode].rate, figures [0].rate, rounds);
    }
    json_t *row = json_pack ("{s:s, s:I, s:I}", "request", work->name, "size",
                             (json_int_t) work->size, "in_flight", (json_int_t) depth);
    double p50_ns [MODES], p99_ns [MODES], rates [MODES];
    for (unsigned mode = 0; mode < MODES; mode++) {
        p50_ns [mode] = gpb_bench_median (figures [mode].p50_ns, rounds);
        p99_ns [mode] = gpb_bench_median (figures [mode].p99_ns, rounds);
        rates [mode] = gpb_bench_median (figures [mode].rate, rounds);
        json_object_set_new (row, s_modes [mode],
                             json_pack ("{s:f, s:f, s:f}", "p50_ns", p50_ns [mode], "p99_ns",
                                        p99_ns [mode], "per_second", rates [mode]));
    }
    json_array_append_new (self->rows, row);

    char text [GPB_FIGURE_SIZE];
    gpb_table_add (self->table, "%s", work->name);
    gpb_table_add (self->table, "%s", gpb_table_size (work->size, text));
    gpb_table_add (self->table, "%zu", depth);
    gpb_table_add (self->table, "%s", gpb_table_time ((uint64_t) p50_ns [0], text));
    gpb_table_add (self->table, "%s", gpb_table_time ((uint64_t) p99_ns [0], text));
    gpb_table_add (self->table, "%.0f", rates [0]);
    for (unsigned mode = PROCESS; mode < MODES; mode++) {
        gpb_table_add (self->table, "%.2f", p50_ratios [mode]);
        gpb_table_add (self->table, "%.2f", rate_ratios [mode]);
    }
}

static void
s_measure_row (self_t *self, const gpb_bench_work_t *work, size_t depth)
{
    static figures_t figures [MODES];
    for (size_t round = 0; round < self->rounds; round++)
        for (size_t turn = 0; turn < MODES; turn++) {
            figures_t *mode = &figures [(turn + round) % MODES];
            gpb_bench_figure_t figure;
            gpb_bench_run_client (self->clients [(turn + round) % MODES], work, depth, CELL_NS,
                                  &figure);
            mode->p50_ns [round] = figure.p50_ns;
            mode->p99_ns [round] = figure.p99_ns;
            mode->rate [round] = figure.rate;
        }
    s_add_row (self, work, depth, figures);
}

static void
s_measure (self_t *self, const gpb_bench_work_t *work)
{
    for (unsigned mode = 0; mode < MODES; mode++)
        gpb_bench_do (self->clients [mode], work->request (work->size));    //  compiles, connects
    size_t done = 0;
    for (size_t at = 0; at < sizeof s_depths / sizeof s_depths [0]; at++) {
        size_t depth = s_depths [at];
        if (work->size && depth > IN_FLIGHT_SIZE / work->size)
            depth = IN_FLIGHT_SIZE / work->size;
        if (depth > done)
            s_measure_row (self, work, depth);
        done = depth;
    }
    fprintf (stderr, "%s of %zu bytes: done\n", work->name, work->size);
}

int
main (int argc, char **argv)
{
    static self_t self;
    gpb_bench_begin (&self.bench, argc, argv);
    self.rounds = gpb_bench_rounds (&self.bench, ROUNDS);
    gpb_bench_keys_make (&self.keys);
    for (unsigned mode = 0; mode < MODES; mode++)
        s_start (&self, mode);
    gpb_bench_device (&self.bench, self.clients [0]);
    self.table = gpb_table_new ("REQUEST >SIZE >IN-FLIGHT >P50 >P99 >PER-S "
                                ">PROCESS/P50 >PER-S >CURVE/P50 >PER-S >BOTH/P50 >PER-S");
    self.rows = json_array ();
    if (!self.table || !self.rows)
        gpb_bench_fail ("no memory for the table");
    const gpb_bench_work_t works [] = {
        { "hello", 0, gpb_bench_hello, NULL, NULL },
        { "noop", 64, gpb_bench_noop, NULL, NULL },
        { "noop", 4 * KIB, gpb_bench_noop, NULL, NULL },
        { "noop", KIB * KIB, gpb_bench_noop, NULL, NULL },
        { "noop", 16 * KIB * KIB, gpb_bench_noop, NULL, NULL },
        { "vector_add", 2 * COUNT * sizeof (float), gpb_bench_vector_add, NULL, NULL },
    };
    for (size_t index = 0; index < sizeof works / sizeof works [0]; index++)
        s_measure (&self, &works [index]);
    for (unsigned mode = 0; mode < MODES; mode++) {
        gpb_client_destroy (&self.clients [mode]);
        zstr_free (&self.endpoints [mode]);
        zactor_destroy (&self.nodes [mode]);
    }
    gpb_bench_keys_remove (&self.keys);
    gpb_bench_print (&self.bench, "modes", &self.table, self.rows);
    return 0;
}
