//  gpb_reference - what each shipped kernel computes, in plain C
//
//  One function a kernel, serial, in memory of the caller's. Where a kernel's result is the same on
//  every device (integers, or each operation rounded once), so is the reference's, bit for bit.
//  Elsewhere the reference computes in double and also gives a bound, in absolute terms, of what a
//  device may be off by: u is half a unit in the last place of 1.0f (2^-24), each operation in
//  float is off by u of its result at the most, and the bounds count operations (Higham, Accuracy
//  and Stability of Numerical Algorithms, 3.1) to first order with the reference's own error
//  (2^-53) left out. Of a persistent kernel that keeps something between messages the reference
//  takes the lane's whole stream. Any thread.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_REFERENCE_H_INCLUDED
#define GPB_REFERENCE_H_INCLUDED

#include <stddef.h>
#include <stdint.h>

#define GPB_REFERENCE_U (1.0 / 16777216.0)

//  A value, and by how much a device's may differ from it.
typedef struct {
    double value;
    double bound;
} gpb_reference_t;

//  Bit for bit.
void gpb_reference_vector_add (float *c, const float *a, const float *b, size_t n);
void gpb_reference_saxpy (float *y, const float *x, float a, size_t n);
void gpb_reference_histogram (uint32_t *bins, const uint8_t *values, size_t n);
void gpb_reference_mandelbrot (uint32_t *iterations, size_t width, size_t height, float left,
                               float top, float step, uint32_t limit);

//  Bit for bit. pixels is (width + 2) x (height + 2).
void gpb_reference_sobel (uint8_t *edges, const uint8_t *pixels, size_t width, size_t height);

//  Before rounding to a byte, which adds 0.5 to what a device may be off by.
void gpb_reference_gaussian_blur (gpb_reference_t *blurred, const uint8_t *pixels, size_t width,
                                  size_t height, uint32_t radius, float sigma);

//  The sum of all values. Holds for a local size of at least 64 and at most 1024.
gpb_reference_t gpb_reference_reduce (const float *values, size_t n);

void gpb_reference_matmul (gpb_reference_t *c, const float *a, const float *b, size_t m, size_t n,
                           size_t k);

//  bodies, velocities and the results are n times four; only the first three of each have a bound.
void gpb_reference_nbody (gpb_reference_t *next_bodies, gpb_reference_t *next_velocities,
                          const float *bodies, const float *velocities, size_t n, float time_step,
                          float softening);

//  ---------------------------------------------------------------------------------------------------------
//  Kernels that stay on their devices; echo's reference is what it was given

//  Half a unit in the last place of 1.0: what running_stats computes in.
#define GPB_REFERENCE_U64 (GPB_REFERENCE_U / 536870912.0)

#define GPB_REFERENCE_TOP_K 16
#define GPB_REFERENCE_WINDOW 16

//  Bit for bit.
void gpb_reference_double (float *doubled, const float *values, size_t n);
void gpb_reference_double_i32 (int32_t *doubled, const int32_t *values, size_t n);
uint64_t gpb_reference_sum_64 (const uint32_t *values, size_t n);

//  Bit for bit; equal values in the order in which they came, a NaN below every number. Returns how
//  many there are.
size_t gpb_reference_top_k (float largest [GPB_REFERENCE_TOP_K], const float *values, size_t n);

//  Each value's average, of the stream's n values so far.
void gpb_reference_moving_average (gpb_reference_t *averages, const float *stream, size_t n);

//  Count, mean, sample variance, smallest and largest of the stream's n values, however they were
//  cut into messages.
void gpb_reference_running_stats (gpb_reference_t statistics [5], const float *stream, size_t n);

#endif
