//  gpb_bench_verdict - what a soak counted, and whether each of it is as it should be
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_bench_verdict.h"

#include "gpb_alloc.h"

#define MEMORY_SHARE 0.05
#define MEMORY_SIZE ((double) (16 << 20))
#define TOLD_S 60    //  the samples so far are told every so many seconds

void
gpb_bench_verdict_begin (gpb_bench_verdict_t *self, size_t samples)
{
    *self = (gpb_bench_verdict_t){
        .table = gpb_table_new ("WHAT >FIGURE >BOUND WELL"),
        .rows = json_array (),
        .memory = gpb_alloc (samples, sizeof *self->memory),
        .descriptors = gpb_alloc (samples, sizeof *self->descriptors),
        .samples_max = samples,
    };
    if (!self->memory || !self->descriptors || !self->table || !self->rows)
        gpb_bench_fail ("no memory for the samples");
}

void
gpb_bench_verdict_add (gpb_bench_verdict_t *self, const char *what, double figure, double bound,
                       bool is_well)
{
    gpb_table_add (self->table, "%s", what);
    gpb_table_add (self->table, "%.0f", figure);
    if (bound >= 0)
        gpb_table_add (self->table, "%.0f", bound);
    else
        gpb_table_add (self->table, "-");
    gpb_table_add (self->table, "%s", is_well ? "yes" : "NO");
    json_t *row = json_pack ("{s:s, s:f, s:b}", "what", what, "figure", figure, "well", is_well);
    if (bound >= 0)
        json_object_set_new (row, "bound", json_real (bound));
    json_array_append_new (self->rows, row);
    self->is_off = self->is_off || !is_well;
}

void
gpb_bench_verdict_count (gpb_bench_verdict_t *self, const char *what, uint64_t figure)
{
    gpb_bench_verdict_add (self, what, (double) figure, -1, true);
}

void
gpb_bench_verdict_none (gpb_bench_verdict_t *self, const char *what, uint64_t figure)
{
    gpb_bench_verdict_add (self, what, (double) figure, 0, figure == 0);
}

void
gpb_bench_verdict_sample (gpb_bench_verdict_t *self, const gpb_bench_process_t *process)
{
    if (self->samples == self->samples_max)
        return;
    const double memory = (double) gpb_bench_process_memory (process);
    const double descriptors = (double) gpb_bench_process_descriptors (process);
    self->memory [self->samples] = memory;
    self->descriptors [self->samples++] = descriptors;
    if (self->samples % TOLD_S == 0)
        fprintf (stderr, "%zu s: %.1f MiB, %.0f descriptors\n", self->samples, memory / (1 << 20),
                 descriptors);
}

//  The least of the second quarter and of the last one.
static void
s_quarters (const double *samples, size_t count, double *second, double *last)
{
    const size_t quarter = count / 4;
    const double *parts [] = { samples + quarter, samples + count - quarter };
    double *least [] = { second, last };
    for (size_t part = 0; part < 2; part++) {
        *least [part] = quarter ? parts [part][0] : 0;
        for (size_t index = 1; index < quarter; index++)
            if (parts [part][index] < *least [part])
                *least [part] = parts [part][index];
    }
}

void
gpb_bench_verdict_flat (gpb_bench_verdict_t *self, double kept_size)
{
    double second, last;
    s_quarters (self->memory, self->samples, &second, &last);
    double room = second * MEMORY_SHARE > MEMORY_SIZE ? second * MEMORY_SHARE : MEMORY_SIZE;
    room += kept_size;
    const double kib = 1024;
    gpb_bench_verdict_add (self, "least memory, second quarter, KiB", second / kib, -1, true);
    gpb_bench_verdict_add (self, "least memory, last quarter, KiB", last / kib,
                           (second + room) / kib, last <= second + room);
    s_quarters (self->descriptors, self->samples, &second, &last);
    gpb_bench_verdict_count (self, "descriptors, second quarter", (uint64_t) second);
    gpb_bench_verdict_count (self, "descriptors, last quarter", (uint64_t) last);
}

int
gpb_bench_verdict_end (gpb_bench_verdict_t *self, const gpb_bench_t *bench, const char *name)
{
    gpb_bench_print (bench, name, &self->table, self->rows);
    self->rows = NULL;
    gpb_free (self->memory);
    gpb_free (self->descriptors);
    return self->is_off ? 1 : 0;
}
