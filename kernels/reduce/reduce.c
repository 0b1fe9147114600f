//  reduce - the sum of a vector, added to what `sum` holds
//
//  A work-group has one contiguous piece of values; a work-item reads a line of it at a time: four
//  times four floats, 64 bytes, a cache line of a CPU's and two sectors of a GPU's. Then the
//  work-items add up in a tree in local memory, and one of them adds the piece's sum to the result.
//  Any local size is right: one over SLOTS takes more than one round to fill the tree, and the tree
//  takes a number that is no power of two. kernel.conf declares the alignment that a load of four
//  floats at once relies on.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#define SLOTS 1024
#define LINE 4      //  fours

typedef struct ALIGNED (16) {
    float x, y, z, w;
} four_t;

KERNEL void
reduce (GLOBAL const float *RESTRICT values, GLOBAL float *RESTRICT sum, ulong n)
{
    LOCAL float partial [SLOTS];
    GLOBAL const four_t *fours = (GLOBAL const four_t *) values;
    ulong size = local_size (0);
    ulong self = local_id (0);

    //  Pieces are whole fours; what lies behind the last, three values at most, is the last
    //  group's.
    ulong fours_count = n / 4;
    ulong piece = (fours_count + num_groups (0) - 1) / num_groups (0);
    ulong start = min (group_id (0) * piece, fours_count);
    ulong end = min (start + piece, fours_count);
    ulong blocks = (end - start) / (size * LINE);
    float x = 0, y = 0, z = 0, w = 0;
    for (ulong block = 0; block < blocks; block++) {
        GLOBAL const four_t *line = fours + start + (block * size + self) * LINE;
        four_t first = line [0];
        four_t second = line [1];
        four_t third = line [2];
        four_t fourth = line [3];
        x += (first.x + second.x) + (third.x + fourth.x);
        y += (first.y + second.y) + (third.y + fourth.y);
        z += (first.z + second.z) + (third.z + fourth.z);
        w += (first.w + second.w) + (third.w + fourth.w);
    }
    for (ulong index = start + blocks * size * LINE + self; index < end; index += size) {
        x += fours [index].x;
        y += fours [index].y;
        z += fours [index].z;
        w += fours [index].w;
    }
    float own = (x + y) + (z + w);
    if (group_id (0) == num_groups (0) - 1)
        for (ulong index = fours_count * 4 + self; index < n; index += size)
            own += values [index];

    for (ulong first = 0; first < size; first += SLOTS) {
        if (self >= first && self - first < SLOTS)
            partial [self - first] = first > 0 ? partial [self - first] + own : own;
        BARRIER ();
    }
    ulong slots = min (size, (ulong) SLOTS);
    while (slots > 1) {
        ulong half_up = (slots + 1) / 2;
        if (self + half_up < slots)
            partial [self] += partial [self + half_up];
        slots = half_up;
        BARRIER ();
    }
    if (self == 0)
        ATOMIC_ADD_F32 (sum, partial [0]);
}
