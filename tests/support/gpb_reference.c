//  gpb_reference - what each shipped kernel computes, in plain C
//
//  fmaf rounds once wherever it runs, in hardware or not, so a kernel whose every sum of products
//  is an fma can be compared bit for bit.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_reference.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

void
gpb_reference_vector_add (float *c, const float *a, const float *b, size_t n)
{
    for (size_t index = 0; index < n; index++)
        c [index] = a [index] + b [index];
}

void
gpb_reference_saxpy (float *y, const float *x, float a, size_t n)
{
    for (size_t index = 0; index < n; index++)
        y [index] = fmaf (a, x [index], y [index]);
}

void
gpb_reference_histogram (uint32_t *bins, const uint8_t *values, size_t n)
{
    memset (bins, 0, 256 * sizeof *bins);
    for (size_t index = 0; index < n; index++)
        bins [values [index]]++;
}

void
gpb_reference_mandelbrot (uint32_t *iterations, size_t width, size_t height, float left, float top,
                          float step, uint32_t limit)
{
    for (size_t at = 0; at < width * height; at++) {
        float c_re = fmaf ((float) (at % width), step, left);
        float c_im = fmaf (-(float) (at / width), step, top);
        float re = 0, im = 0;
        uint32_t count = 0;
        for (; count < limit; count++) {
            float minus_im_squared = fmaf (-im, im, c_re);
            im = fmaf (2 * re, im, c_im);
            re = fmaf (re, re, minus_im_squared);
            float im_squared = im * im;
            bool stays = fmaf (re, re, im_squared) <= 4.0F;
            if (!stays)
                break;
        }
        iterations [at] = count;
    }
}

void
gpb_reference_sobel (uint8_t *edges, const uint8_t *pixels, size_t width, size_t height)
{
    static const int weights [3] = { 1, 2, 1 };
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width; x++) {
            int gx = 0, gy = 0;
            for (size_t index = 0; index < 3; index++) {
                gx += weights [index]
                      * (pixels [(y + index) * (width + 2) + x + 2]
                         - pixels [(y + index) * (width + 2) + x]);
                gy += weights [index]
                      * (pixels [(y + 2) * (width + 2) + x + index]
                         - pixels [y * (width + 2) + x + index]);
            }
            //  A correctly rounded square root of an exact whole number below 2^53 has the right
            //  whole part.
            double root = floor (sqrt ((double) (gx * gx + gy * gy)));
            edges [y * width + x] = (uint8_t) (root > 255 ? 255 : root);
        }
}

void
gpb_reference_gaussian_blur (gpb_reference_t *blurred, const uint8_t *pixels, size_t width,
                             size_t height, uint32_t radius, float sigma)
{
    long reach = (long) radius;
    //  A weight: ratio is off by u (2.5 ulp = 5 u for a division as OpenCL allows it), its square
    //  by 11 u, times -0.5 exactly: the argument t by 11 u t, so exp by 11 u t, and t exp (-t) is
    //  below 0.37: 4.1 u of the largest weight, which is 1. exp itself: 3 ulp, 6 u. A weight that
    //  is small has a small error too; of all weights together, this is 11 u each at the most.
    double weight_error = 11;
    //  Rows and columns each: a product, and 2 radius + 1 sums.
    double sum_errors = 2.0 * (2 * radius + 2);
    for (long y = 0; y < (long) height; y++)
        for (long x = 0; x < (long) width; x++) {
            double sum = 0, total = 0;
            for (long dy = -reach; dy <= reach; dy++)
                for (long dx = -reach; dx <= reach; dx++) {
                    double weight = exp (-0.5 * (double) (dx * dx + dy * dy)
                                         / ((double) sigma * (double) sigma));
                    long row = y + dy < 0                ? 0
                               : y + dy >= (long) height ? (long) height - 1
                                                         : y + dy;
                    long column = x + dx < 0               ? 0
                                  : x + dx >= (long) width ? (long) width - 1
                                                           : x + dx;
                    sum += weight * pixels [row * (long) width + column];
                    total += weight;
                }
            //  Above: two weights and the sums. Below: the square of a sum of weights. Then a
            //  division (5 u) and the 0.5 that is added (1 u of at most 255.5). Each relative to
            //  what is at most 255. Weights' errors are absolute and there are (2 radius + 1) of
            //  them to a side, of which the sum is at least 1.
            double side = sqrt (total);
            double weights = weight_error * (2 * radius + 1) / side;
            gpb_reference_t *at = &blurred [y * (long) width + x];
            at->value = sum / total;
            at->bound = 256 * GPB_REFERENCE_U * (4 * weights + 2 * sum_errors + 6);
        }
}

gpb_reference_t
gpb_reference_reduce (const float *values, size_t n)
{
    gpb_reference_t result = { .value = 0 };
    double magnitude = 0;
    for (size_t index = 0; index < n; index++) {
        result.value += (double) values [index];
        magnitude += fabs ((double) values [index]);
    }
    //  The longest way of a value to the sum: through one work-item, which has 64 values or more;
    //  through its group, 64 sums and then 16 for a local size of 1,024; and the sums of the other
    //  groups.
    double items = ceil ((double) n / 64);
    if (items > 262144)
        items = 262144;
    double groups = ceil (items / 64);
    double own = items > 0 ? ceil ((double) n / items) + 1 : 0;
    result.bound = GPB_REFERENCE_U * (own + 80 + groups) * magnitude;
    return result;
}

void
gpb_reference_matmul (gpb_reference_t *c, const float *a, const float *b, size_t m, size_t n,
                      size_t k)
{
    for (size_t row = 0; row < m; row++)
        for (size_t column = 0; column < n; column++) {
            double sum = 0, magnitude = 0;
            for (size_t index = 0; index < k; index++) {
                double product = (double) a [row * k + index] * (double) b [index * n + column];
                sum += product;
                magnitude += fabs (product);
            }
            //  At most k roundings on the way of a product: k fused sums, or fewer and two more.
            c [row * n + column].value = sum;
            c [row * n + column].bound = GPB_REFERENCE_U * (double) k * magnitude;
        }
}

void
gpb_reference_nbody (gpb_reference_t *next_bodies, gpb_reference_t *next_velocities,
                     const float *bodies, const float *velocities, size_t n, float time_step,
                     float softening)
{
    for (size_t self = 0; self < n; self++) {
        const float *body = bodies + 4 * self;
        double force [3] = { 0 }, magnitude [3] = { 0 };
        for (size_t other = 0; other < n; other++) {
            double distance [3], square = (double) softening * (double) softening;
            for (size_t axis = 0; axis < 3; axis++) {
                distance [axis] = (double) bodies [4 * other + axis] - (double) body [axis];
                square += distance [axis] * distance [axis];
            }
            double pull = (double) bodies [4 * other + 3] / (square * sqrt (square));
            for (size_t axis = 0; axis < 3; axis++) {
                force [axis] += pull * distance [axis];
                magnitude [axis] += fabs (pull * distance [axis]);
            }
        }
        for (size_t axis = 0; axis < 3; axis++) {
            //  One pull: a difference is off by u, the sum of squares (all positive) by 2 u and 4
            //  roundings, so 6 u, its reciprocal root by half of that and 2 ulp (4 u): 7 u; the
            //  cube and the mass: 3 * 7 u and 3 roundings, 24 u; times the difference: 25 u. Then n
            //  fused sums.
            double force_bound = GPB_REFERENCE_U * (double) (n + 25) * magnitude [axis];
            double step = fabs ((double) time_step);
            gpb_reference_t *velocity = &next_velocities [4 * self + axis];
            velocity->value =
                (double) velocities [4 * self + axis] + (double) time_step * force [axis];
            velocity->bound = step * force_bound + GPB_REFERENCE_U * fabs (velocity->value);
            gpb_reference_t *position = &next_bodies [4 * self + axis];
            position->value = (double) body [axis] + (double) time_step * velocity->value;
            position->bound = step * velocity->bound + GPB_REFERENCE_U * fabs (position->value);
        }
        next_velocities [4 * self + 3] = (gpb_reference_t){ .value = velocities [4 * self + 3] };
        next_bodies [4 * self + 3] = (gpb_reference_t){ .value = body [3] };
    }
}

//  ---------------------------------------------------------------------------------------------------------
//  Kernels that stay on their devices

void
gpb_reference_double (float *doubled, const float *values, size_t n)
{
    for (size_t index = 0; index < n; index++)
        doubled [index] = values [index] + values [index];
}

void
gpb_reference_double_i32 (int32_t *doubled, const int32_t *values, size_t n)
{
    for (size_t index = 0; index < n; index++)
        doubled [index] = (int32_t) ((uint32_t) values [index] << 1);
}

uint64_t
gpb_reference_sum_64 (const uint32_t *values, size_t n)
{
    uint64_t sum = 0;
    for (size_t index = 0; index < n; index++)
        sum += values [index];
    return sum;
}

//  Whether the value at index a comes before the one at index b.
static bool
s_before (const float *values, size_t a, size_t b)
{
    const float left = values [a], right = values [b];
    if (isnan (left) != isnan (right))
        return isnan (right);
    if (isnan (left) || left == right)
        return a < b;
    return left > right;
}

//  Each round looks for the first of those that come after the one before.
size_t
gpb_reference_top_k (float largest [GPB_REFERENCE_TOP_K], const float *values, size_t n)
{
    size_t found = 0, last = n;
    for (; found < GPB_REFERENCE_TOP_K && found < n; found++) {
        size_t best = n;
        for (size_t index = 0; index < n; index++)
            if ((last == n || s_before (values, last, index))
                && (best == n || s_before (values, index, best)))
                best = index;
        largest [found] = values [best];
        last = best;
    }
    return found;
}

void
gpb_reference_moving_average (gpb_reference_t *averages, const float *stream, size_t n)
{
    for (size_t index = 0; index < n; index++) {
        const size_t window = index + 1 < GPB_REFERENCE_WINDOW ? index + 1 : GPB_REFERENCE_WINDOW;
        double sum = 0, magnitude = 0;
        for (size_t at = index + 1 - window; at <= index; at++) {
            sum += (double) stream [at];
            magnitude += fabs ((double) stream [at]);
        }
        //  One rounding a sum, and a division that OpenCL lets be off by 2.5 ulp (5 u).
        averages [index].value = sum / (double) window;
        averages [index].bound =
            GPB_REFERENCE_U * (double) (window + 5) * magnitude / (double) window;
    }
}

void
gpb_reference_running_stats (gpb_reference_t statistics [5], const float *stream, size_t n)
{
    long double sum = 0, magnitude = 0, squares = 0;
    float smallest = n > 0 ? stream [0] : 0, largest = smallest;
    for (size_t index = 0; index < n; index++) {
        sum += (long double) stream [index];
        magnitude += fabsl ((long double) stream [index]);
        smallest = stream [index] < smallest ? stream [index] : smallest;
        largest = stream [index] > largest ? stream [index] : largest;
    }
    const long double count = (long double) n, mean = n > 0 ? sum / count : 0;
    for (size_t index = 0; index < n; index++)
        squares += ((long double) stream [index] - mean) * ((long double) stream [index] - mean);
    //  The mean: a rounding for each value, and four for each message, of which there are n at the
    //  most; relative to the mean magnitude.
    const double u = GPB_REFERENCE_U64 * (double) (5 * n + 8);
    const double mean_bound = n > 0 ? u * (double) (magnitude / count) : 0;
    //  Joining two parts of a and b values adds step^2 a b / (a + b), where step is the difference
    //  of two means that are off by mean_bound each. The sum of |step| a b / (a + b) over all joins
    //  is at most sqrt (squares * n), by Cauchy and Schwarz.
    const double squares_bound =
        u * (double) squares + 4 * mean_bound * (double) sqrtl (squares * count);
    statistics [0] = (gpb_reference_t){ .value = (double) n };
    statistics [1] = (gpb_reference_t){ (double) mean, mean_bound };
    statistics [2] = (gpb_reference_t){ 0 };
    if (n > 1)
        statistics [2] =
            (gpb_reference_t){ (double) (squares / (count - 1)), squares_bound / (double) (n - 1) };
    statistics [3] = (gpb_reference_t){ .value = (double) smallest };
    statistics [4] = (gpb_reference_t){ .value = (double) largest };
}
