//  running_stats - count, mean, sample variance, smallest and largest of a lane's whole stream
//
//  A message's own mean and sum of squared differences are taken in two passes, and joined to those
//  of all messages before it as T. F. Chan, G. H. Golub and R. J. LeVeque have it (Algorithms for
//  Computing the Sample Variance, The American Statistician 37 (3), 1983, equations 2.1): no large
//  sum of squares that cancels later, however long the stream and wherever its mean. The second
//  pass subtracts what rounding left in its sum of differences, which is their equation 1.7.
//
//  Before the first value all five are 0; the variance is 0 below two. One work-item: the state is
//  read and written by it alone.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

typedef struct {
    double count, mean, squares, smallest, largest;
} stats_t;

FUNCTION stats_t
stats_of (GLOBAL const float *values, uint count)
{
    stats_t stats = { (double) count, 0, 0, INFINITY, -INFINITY };
    double sum = 0, rest = 0;
    for (uint index = 0; index < count; index++) {
        const double value = values [index];
        sum += value;
        stats.smallest = value < stats.smallest ? value : stats.smallest;
        stats.largest = value > stats.largest ? value : stats.largest;
    }
    stats.mean = sum / count;
    for (uint index = 0; index < count; index++) {
        const double difference = values [index] - stats.mean;
        stats.squares += difference * difference;
        rest += difference;
    }
    stats.squares -= rest * rest / count;
    return stats;
}

HANDLER (running_stats) (GLOBAL const void *in, uint in_size, GLOBAL void *out, uint *out_size,
                         GLOBAL void *state)
{
    const uint count = in_size / (uint) sizeof (float);
    GLOBAL double *result = (GLOBAL double *) out;
    GLOBAL stats_t *kept = (GLOBAL stats_t *) state;
    stats_t all = *kept;
    if (count > 0) {
        const stats_t more = stats_of ((GLOBAL const float *) in, count);
        const bool first = all.count == 0;
        const double total = all.count + more.count, step = more.mean - all.mean;
        all.mean += step * (more.count / total);
        all.squares += more.squares + step * step * (all.count * more.count / total);
        all.smallest = first || more.smallest < all.smallest ? more.smallest : all.smallest;
        all.largest = first || more.largest > all.largest ? more.largest : all.largest;
        all.count = total;
        *kept = all;
    }
    result [0] = all.count;
    result [1] = all.mean;
    result [2] = all.count > 1 ? all.squares / (all.count - 1) : 0;
    result [3] = all.smallest;
    result [4] = all.largest;
    *out_size = 5 * (uint) sizeof (double);
}
