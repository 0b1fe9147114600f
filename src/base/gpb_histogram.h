//  gpb_histogram - a log-linear histogram of latencies in nanoseconds
//
//  Every power of two is cut into 32 buckets of one width, as HdrHistogram does it, so that a
//  percentile is within 1/32 (3.2 %) of the true value from 1 ns to about 18 minutes (2^40 ns);
//  what is longer counts in the last bucket, and minimum and maximum are exact. Recording is a
//  count of leading zeros, a shift and an increment. A histogram is a plain structure of 9 KiB: no
//  allocation, one thread at a time.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_HISTOGRAM_H_INCLUDED
#define GPB_HISTOGRAM_H_INCLUDED

#include <stdint.h>

#define GPB_HISTOGRAM_BITS 5    //  32 buckets a power of two
#define GPB_HISTOGRAM_BUCKETS ((41 - GPB_HISTOGRAM_BITS) << GPB_HISTOGRAM_BITS)

typedef struct {
    uint64_t count;             //  values recorded
    uint64_t sum_ns;            //  of all of them, for the mean; saturates
    uint64_t min_ns, max_ns;    //  exact; 0 while nothing is recorded
    uint64_t buckets [GPB_HISTOGRAM_BUCKETS];
} gpb_histogram_t;

//  Empties it. A structure of zeros is an empty histogram too.
void gpb_histogram_reset (gpb_histogram_t *self);

void gpb_histogram_record (gpb_histogram_t *self, uint64_t value_ns);

//  Adds what other has recorded.
void gpb_histogram_merge (gpb_histogram_t *self, const gpb_histogram_t *other);

//  The smallest recorded value (to the histogram's precision) such that at least `percent` of all
//  values are not above it: nearest rank, so that 100 gives the maximum and 0 the minimum. 0 while
//  nothing is recorded.
uint64_t gpb_histogram_percentile (const gpb_histogram_t *self, double percent);

//  0 while nothing is recorded.
uint64_t gpb_histogram_mean (const gpb_histogram_t *self);

//  A histogram of the last minute: a ring of six histograms of ten seconds each. What it gives
//  covers the last 50 to 60 seconds.
#define GPB_HISTOGRAM_SLICES 6
#define GPB_HISTOGRAM_SLICE_NS 10000000000ULL

typedef struct {
    uint64_t slice;    //  the number of the ten seconds that are being recorded
    gpb_histogram_t slices [GPB_HISTOGRAM_SLICES];
} gpb_histogram_minute_t;

//  now_ns is gpb_clock_ns ().
void gpb_histogram_minute_record (gpb_histogram_minute_t *self, uint64_t value_ns, uint64_t now_ns);

//  Writes the sum of the slices that are not too old to *sum.
void gpb_histogram_minute_sum (gpb_histogram_minute_t *self, gpb_histogram_t *sum, uint64_t now_ns);

#endif
