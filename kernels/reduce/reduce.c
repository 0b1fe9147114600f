//  reduce - the sum of a vector
//
//  A work-item has a contiguous run of lines: a line is four times four floats, 64 bytes, a cache
//  line of a CPU's and two sectors of a GPU's, read at once in four loads. Then FAN work-items of a
//  group add up what all of it have, one of them adds up theirs, and adds that to `sum`, which
//  starts at zero: two barriers, where a tree takes one a level. Any local size is right: one over SLOTS takes more than
//  one round to bring its sums to local memory. kernel.conf declares the alignment that a load of
//  four floats at once relies on.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#define SLOTS 1024
#define FAN 16

typedef struct ALIGNED (16) {
    float x, y, z, w;
} four_t;

KERNEL void
reduce (GLOBAL const float *RESTRICT values, GLOBAL float *RESTRICT sum, ulong n)
{
    LOCAL float partial [SLOTS];
    ulong lines = n / 16;
    ulong run = (lines + global_size (0) - 1) / global_size (0);
    ulong start = min (global_id (0) * run, lines);
    ulong end = min (start + run, lines);
    float x = 0, y = 0, z = 0, w = 0;
    for (ulong index = start; index < end; index++) {
        GLOBAL const four_t *line = (GLOBAL const four_t *) values + index * 4;
        four_t first = line [0];
        four_t second = line [1];
        four_t third = line [2];
        four_t fourth = line [3];
        x += (first.x + second.x) + (third.x + fourth.x);
        y += (first.y + second.y) + (third.y + fourth.y);
        z += (first.z + second.z) + (third.z + fourth.z);
        w += (first.w + second.w) + (third.w + fourth.w);
    }
    float own = (x + y) + (z + w);
    //  What is behind the last whole line, 15 values at most.
    for (ulong index = lines * 16 + global_id (0); index < n; index += global_size (0))
        own += values [index];

    ulong size = local_size (0);
    ulong self = local_id (0);
    for (ulong first = 0; first < size; first += SLOTS) {
        if (self >= first && self - first < SLOTS)
            partial [self - first] = first > 0 ? partial [self - first] + own : own;
        BARRIER ();
    }
    ulong slots = min (size, (ulong) SLOTS);
    if (self < FAN)
        for (ulong index = self + FAN; index < slots; index += FAN)
            partial [self] += partial [index];
    BARRIER ();
    if (self == 0) {
        float total = partial [0];
        for (ulong index = 1; index < min (slots, (ulong) FAN); index++)
            total += partial [index];
        ATOMIC_ADD_F32 (sum, total);
    }
}
