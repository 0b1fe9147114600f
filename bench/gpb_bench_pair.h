//  gpb_bench_pair - one thing, done by the library and by what is under it, in turns
//
//  Rounds of both, of which the first warms up; who is first changes from round to round. A row has
//  the medians of both sides and the median of the rounds' ratios. One thread.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_BENCH_PAIR_H_INCLUDED
#define GPB_BENCH_PAIR_H_INCLUDED

#include "gpb_bench.h"
#include "gpb_histogram.h"

#define GPB_BENCH_PAIR_ROUNDS 7

//  What one side came to in a round. 0: there is no such figure.
typedef struct {
    double value, p99, p999;
} gpb_bench_cell_t;

typedef enum {
    GPB_BENCH_TIME,         //  nanoseconds; the value is the P50
    GPB_BENCH_RATE,         //  a second
    GPB_BENCH_BANDWIDTH,    //  10^9 bytes a second
    GPB_BENCH_PERCENT
} gpb_bench_unit_t;

typedef void (gpb_bench_run_fn) (void *self, uint64_t number, gpb_bench_cell_t *cell);

typedef struct {
    const char *what;
    gpb_bench_unit_t unit;
    gpb_bench_run_fn *ours;
    const char *by;
    gpb_bench_run_fn *raw;
    uint64_t number;    //  for both
} gpb_bench_pair_t;

//  The table that pairs are added to.
gpb_table_t *gpb_bench_pair_table (void);

//  Measures, and adds a row to both; self is for both sides.
void gpb_bench_pair_measure (const gpb_bench_pair_t *pair, void *self, size_t rounds,
                             gpb_table_t *table, json_t *rows);

//  Fills a cell from what was counted.
void gpb_bench_cell_of (gpb_bench_cell_t *cell, const gpb_histogram_t *histogram);

#endif
