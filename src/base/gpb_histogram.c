//  gpb_histogram - a log-linear histogram of latencies in nanoseconds
//
//  Bucket i holds, for i below 32, the value i itself; above, with e = i / 32 - 1 and m = i % 32,
//  the values from (32 + m) << e up to the next bucket's start. So the width of a bucket is 2^e
//  where its values are at least 32 * 2^e. The layout is HdrHistogram's (http://hdrhistogram.org),
//  with 32 sub-buckets.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_histogram.h"

#include <math.h>
#include <string.h>

#define SUB_BUCKETS (1u << GPB_HISTOGRAM_BITS)

static unsigned
s_bucket (uint64_t value)
{
    if (value < SUB_BUCKETS)
        return (unsigned) value;
    unsigned exponent = 63u - (unsigned) __builtin_clzll (value) - GPB_HISTOGRAM_BITS;
    unsigned bucket = (exponent << GPB_HISTOGRAM_BITS) + (unsigned) (value >> exponent);
    return bucket < GPB_HISTOGRAM_BUCKETS ? bucket : GPB_HISTOGRAM_BUCKETS - 1;
}

//  The largest value that falls into a bucket.
static uint64_t
s_bucket_end (unsigned bucket)
{
    if (bucket < 2 * SUB_BUCKETS)
        return bucket;
    unsigned exponent = (bucket >> GPB_HISTOGRAM_BITS) - 1;
    uint64_t mantissa = SUB_BUCKETS + (bucket & (SUB_BUCKETS - 1));
    return ((mantissa + 1) << exponent) - 1;
}

static uint64_t
s_add (uint64_t left, uint64_t right)
{
    return left + right >= left ? left + right : UINT64_MAX;
}

void
gpb_histogram_reset (gpb_histogram_t *self)
{
    memset (self, 0, sizeof *self);
}

void
gpb_histogram_record (gpb_histogram_t *self, uint64_t value_ns)
{
    if (self->count == 0 || value_ns < self->min_ns)
        self->min_ns = value_ns;
    if (value_ns > self->max_ns)
        self->max_ns = value_ns;
    self->count++;
    self->sum_ns = s_add (self->sum_ns, value_ns);
    self->buckets [s_bucket (value_ns)]++;
}

void
gpb_histogram_merge (gpb_histogram_t *self, const gpb_histogram_t *other)
{
    if (other->count == 0)
        return;
    if (self->count == 0 || other->min_ns < self->min_ns)
        self->min_ns = other->min_ns;
    if (other->max_ns > self->max_ns)
        self->max_ns = other->max_ns;
    self->count += other->count;
    self->sum_ns = s_add (self->sum_ns, other->sum_ns);
    for (unsigned bucket = 0; bucket < GPB_HISTOGRAM_BUCKETS; bucket++)
        self->buckets [bucket] += other->buckets [bucket];
}

uint64_t
gpb_histogram_percentile (const gpb_histogram_t *self, double percent)
{
    if (self->count == 0)
        return 0;
    //  99.9 is no double, and 0.07 * 100 more than 7: a rank is not the next one for a rounding
    //  error.
    double wanted = ceil (percent * (double) self->count / 100.0 * (1 - 1e-12));
    uint64_t rank = wanted < 1 ? 1 : (uint64_t) wanted;
    if (rank == 1)
        return self->min_ns;
    if (rank >= self->count)
        return self->max_ns;
    uint64_t seen = 0;
    for (unsigned bucket = 0; bucket < GPB_HISTOGRAM_BUCKETS - 1; bucket++) {
        seen += self->buckets [bucket];
        if (seen >= rank) {
            uint64_t value = s_bucket_end (bucket);
            return value < self->max_ns ? value : self->max_ns;
        }
    }
    return self->max_ns;
}

uint64_t
gpb_histogram_mean (const gpb_histogram_t *self)
{
    return self->count ? self->sum_ns / self->count : 0;
}

//  Empties the slices that have fallen out of the minute since the last call.
static void
s_minute_advance (gpb_histogram_minute_t *self, uint64_t now_ns)
{
    uint64_t slice = now_ns / GPB_HISTOGRAM_SLICE_NS;
    uint64_t behind = slice - self->slice;
    for (uint64_t step = 1; step <= behind && step <= GPB_HISTOGRAM_SLICES; step++)
        gpb_histogram_reset (&self->slices [(self->slice + step) % GPB_HISTOGRAM_SLICES]);
    self->slice = slice;
}

void
gpb_histogram_minute_record (gpb_histogram_minute_t *self, uint64_t value_ns, uint64_t now_ns)
{
    s_minute_advance (self, now_ns);
    gpb_histogram_record (&self->slices [self->slice % GPB_HISTOGRAM_SLICES], value_ns);
}

void
gpb_histogram_minute_sum (gpb_histogram_minute_t *self, gpb_histogram_t *sum, uint64_t now_ns)
{
    s_minute_advance (self, now_ns);
    gpb_histogram_reset (sum);
    for (unsigned slice = 0; slice < GPB_HISTOGRAM_SLICES; slice++)
        gpb_histogram_merge (sum, &self->slices [slice]);
}
