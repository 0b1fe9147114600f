//  gpb_bench_verdict - what a soak counted, and whether each of it is as it should be
//
//  A table of figures with their bounds, and samples of a process's memory and descriptors, a
//  second apart. Memory is flat where the least of the last quarter is over that of the second one
//  by no more than 5 % or 16 MiB, whichever is more: malloc's arenas fill for a while, and a leak
//  of 30 KiB a second shows in ten minutes. The least and not the median, since a client that
//  floods has the node hold hundreds of MiB for it while it is there, and a leak stays. One thread.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_BENCH_VERDICT_H_INCLUDED
#define GPB_BENCH_VERDICT_H_INCLUDED

#include "gpb_bench.h"
#include "gpb_bench_process.h"

typedef struct {
    gpb_table_t *table;
    json_t *rows;
    double *memory, *descriptors;    //  a sample each second
    size_t samples, samples_max;
    bool is_off;    //  a figure is not as it should be
} gpb_bench_verdict_t;

//  With room for so many samples.
void gpb_bench_verdict_begin (gpb_bench_verdict_t *self, size_t samples);

//  A figure; a negative bound: none.
void gpb_bench_verdict_add (gpb_bench_verdict_t *self, const char *what, double figure,
                            double bound, bool is_well);

//  A figure that may be anything.
void gpb_bench_verdict_count (gpb_bench_verdict_t *self, const char *what, uint64_t figure);

//  A figure that must be 0.
void gpb_bench_verdict_none (gpb_bench_verdict_t *self, const char *what, uint64_t figure);

void gpb_bench_verdict_sample (gpb_bench_verdict_t *self, const gpb_bench_process_t *process);

//  The rows of what was sampled. kept_size: bytes more that the process may keep, which are no
//  leak.
void gpb_bench_verdict_flat (gpb_bench_verdict_t *self, double kept_size);

//  Prints it all. Returns the exit status: 1 where anything is off.
int gpb_bench_verdict_end (gpb_bench_verdict_t *self, const gpb_bench_t *bench, const char *name);

#endif
