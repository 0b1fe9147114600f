//  matmul - c = a b
//
//  A work-item computes one element of c. In a work-group of TILE x TILE, tiles of a and b are read
//  once into local memory and used TILE times; what lies outside the matrices is read as zero, so
//  that every work-item comes to every barrier. Four sums side by side do not wait for one another's
//  result. A work-group of another shape reads a and b
//  directly: right, and slower. The shape is the same for a whole launch, so all work-items of a
//  group go the same way.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#define TILE 16

KERNEL void
matmul (GLOBAL const float *RESTRICT a, GLOBAL const float *RESTRICT b, GLOBAL float *RESTRICT c,
        uint m, uint n, uint k)
{
    LOCAL float a_tile [TILE][TILE];
    LOCAL float b_tile [TILE][TILE];
    ulong column = global_id (0);
    ulong row = global_id (1);
    bool inside = column < n && row < m;
    float sum = 0, sum_1 = 0, sum_2 = 0, sum_3 = 0;
    if (local_size (0) == TILE && local_size (1) == TILE) {
        uint x = (uint) local_id (0);
        uint y = (uint) local_id (1);
        for (ulong start = 0; start < k; start += TILE) {
            a_tile [y][x] = row < m && start + x < k ? a [row * k + start + x] : 0.0f;
            b_tile [y][x] = column < n && start + y < k ? b [(start + y) * n + column] : 0.0f;
            BARRIER ();
#pragma unroll
            for (uint index = 0; index < TILE; index += 4) {
                sum = fma (a_tile [y][index], b_tile [index][x], sum);
                sum_1 = fma (a_tile [y][index + 1], b_tile [index + 1][x], sum_1);
                sum_2 = fma (a_tile [y][index + 2], b_tile [index + 2][x], sum_2);
                sum_3 = fma (a_tile [y][index + 3], b_tile [index + 3][x], sum_3);
            }
            BARRIER ();
        }
        sum = (sum + sum_1) + (sum_2 + sum_3);
    } else if (inside) {
        for (ulong index = 0; index < k; index++)
            sum = fma (a [row * k + index], b [index * n + column], sum);
    }
    if (inside)
        c [row * n + column] = sum;
}
