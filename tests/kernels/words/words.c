//  words - uses every word of the prelude once
//
//  Each group of eight turns its values around through dynamic local memory and adds a constant to
//  each, counts the odd ones, and adds all of them up.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

CONSTANT uint offsets [2] = { 10, 20 };

typedef struct ALIGNED (8) {
    uint left, right;
} pair_t;

FUNCTION uint
pick (LOCAL_POINTER const uint *tile, uint index)
{
    return tile [index] + offsets [index % 2];
}

KERNEL void
words (GLOBAL const pair_t *RESTRICT values, GLOBAL uint *RESTRICT turned, GLOBAL uint *odd,
       GLOBAL float *total, GLOBAL ulong *shape, GLOBAL float *limits,
       uint n LOCAL_PARAMETER (uint, tile))
{
    LOCAL_ARRAY (uint, tile);
    LOCAL uint votes;
    uint index = (uint) global_id (0);
    uint self = (uint) local_id (0);
    uint last = (uint) local_size (0) - 1;
    if (self == 0)
        votes = 0;
    BARRIER ();
    uint value = 0;
    if (index < n)
        value = index % 2 ? values [index / 2].right : values [index / 2].left;
    tile [self] = value;
    if (value % 2)
        ATOMIC_ADD_U32 (&votes, 1);
    BARRIER ();
    uint place = (uint) (group_id (0) * local_size (0)) + last - self;
    if (place < n)
        turned [place] = pick (tile, self);
    ATOMIC_ADD_F32 (total, value);
    if (self == 0)
        ATOMIC_ADD_U32 (odd, votes);
    if (index == 0) {
        shape [0] = global_size (0);
        shape [1] = local_size (0);
        shape [2] = num_groups (0);
        shape [3] = sizeof (uchar) + sizeof (ushort) + sizeof (uint) + sizeof (ulong);
        shape [4] = sizeof (pair_t);
        shape [5] = global_id (2) + local_size (1) + group_id (1) + num_groups (2);
        limits [0] = INFINITY;
        limits [1] = NAN;
        limits [2] = FLT_MAX;
        limits [3] = M_PI_F;
    }
}
