//  reduce - the sum of a vector, added to what `sum` holds
//
//  A work-group has one contiguous piece of values. Its work-items go through it side by side, so
//  that neighbours read neighbours; then they add up in a tree in local memory, and one of them adds
//  the piece's sum to the result. Any local size is right: at most SLOTS work-items take part, and
//  the tree takes a number that is no power of two.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#define SLOTS 1024

KERNEL void
reduce (GLOBAL const float *RESTRICT values, GLOBAL float *RESTRICT sum, ulong n)
{
    LOCAL float partial [SLOTS];
    uint slots = (uint) min (local_size (0), (ulong) SLOTS);
    uint self = (uint) local_id (0);
    ulong piece = (n + num_groups (0) - 1) / num_groups (0);
    ulong start = min (group_id (0) * piece, n);
    ulong end = min (start + piece, n);
    if (self < slots) {
        float own = 0;
        for (ulong index = start + self; index < end; index += slots)
            own += values [index];
        partial [self] = own;
    }
    BARRIER ();
    while (slots > 1) {
        uint half_up = (slots + 1) / 2;
        if (self + half_up < slots)
            partial [self] += partial [self + half_up];
        slots = half_up;
        BARRIER ();
    }
    if (self == 0)
        ATOMIC_ADD_F32 (sum, partial [0]);
}
