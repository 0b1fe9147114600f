//  gpb_bench_pair - one thing, done by the library and by what is under it, in turns
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_bench_pair.h"

#include <math.h>

typedef struct {
    double value [GPB_BENCH_PAIR_ROUNDS], p99 [GPB_BENCH_PAIR_ROUNDS], p999 [GPB_BENCH_PAIR_ROUNDS];
} figures_t;

void
gpb_bench_cell_of (gpb_bench_cell_t *cell, const gpb_histogram_t *histogram)
{
    cell->value = (double) gpb_histogram_percentile (histogram, 50);
    cell->p99 = (double) gpb_histogram_percentile (histogram, 99);
    cell->p999 = (double) gpb_histogram_percentile (histogram, 99.9);
}

gpb_table_t *
gpb_bench_pair_table (void)
{
    return gpb_table_new ("WHAT >GPB >P99 >P99.9 BY >RAW >P99 >P99.9 >RATIO");
}

static void
s_keep (figures_t *figures, size_t round, const gpb_bench_cell_t *cell)
{
    figures->value [round] = cell->value;
    figures->p99 [round] = cell->p99;
    figures->p999 [round] = cell->p999;
}

//  A median, as a cell of the table and a number of the row.
static void
s_add_cell (gpb_table_t *table, json_t *row, const char *name, gpb_bench_unit_t unit,
            double *values, size_t rounds)
{
    const double median = gpb_bench_median (values, rounds);
    char text [GPB_FIGURE_SIZE];
    json_object_set_new (row, name, json_real (median));
    if (median == 0)
        gpb_table_add (table, "-");
    else if (unit == GPB_BENCH_TIME)
        gpb_table_add (table, "%s", gpb_table_time ((uint64_t) median, text));
    else if (unit == GPB_BENCH_RATE)
        gpb_table_add (table, "%.0f/s", median);
    else if (unit == GPB_BENCH_BANDWIDTH)
        gpb_table_add (table, "%.2f GB/s", median);
    else
        gpb_table_add (table, "%.0f %%", median);
}

void
gpb_bench_pair_measure (const gpb_bench_pair_t *pair, void *self, size_t rounds, gpb_table_t *table,
                        json_t *rows)
{
    static const char *const units [] = { "ns", "a second", "GB/s", "percent" };
    figures_t ours = { .value = { 0 } }, raw = { .value = { 0 } };
    for (size_t turn = 0; turn <= rounds; turn++) {
        gpb_bench_cell_t one = { 0, 0, 0 }, other = { 0, 0, 0 };
        if (turn % 2)
            pair->raw (self, pair->number, &other);
        pair->ours (self, pair->number, &one);
        if (turn % 2 == 0)
            pair->raw (self, pair->number, &other);
        if (turn > 0) {
            s_keep (&ours, turn - 1, &one);
            s_keep (&raw, turn - 1, &other);
        }
    }
    //  Before the medians, which sort. Of nothing there is no ratio.
    const double quotient = gpb_bench_ratio (ours.value, raw.value, rounds),
                 ratio = isfinite (quotient) ? quotient : 0;
    json_t *row = json_pack ("{s:s, s:s, s:s, s:f}", "what", pair->what, "unit", units [pair->unit],
                             "by", pair->by, "ratio", ratio);
    if (!row)
        gpb_bench_fail ("no memory for a row");
    gpb_table_add (table, "%s", pair->what);
    s_add_cell (table, row, "value", pair->unit, ours.value, rounds);
    s_add_cell (table, row, "p99", pair->unit, ours.p99, rounds);
    s_add_cell (table, row, "p999", pair->unit, ours.p999, rounds);
    gpb_table_add (table, "%s", pair->by);
    s_add_cell (table, row, "raw", pair->unit, raw.value, rounds);
    s_add_cell (table, row, "raw_p99", pair->unit, raw.p99, rounds);
    s_add_cell (table, row, "raw_p999", pair->unit, raw.p999, rounds);
    if (ratio > 0)
        gpb_table_add (table, "%.2f", ratio);
    else
        gpb_table_add (table, "-");
    json_array_append_new (rows, row);
}
