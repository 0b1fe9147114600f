//  sum_64 - a message's sum, modulo 2^64, and the sum of the lane's stream
//
//  Each work-item adds up its share, and the work-group joins the shares in the state, half of them
//  at a time. Every work-item passes every barrier, however short the message.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#define ITEMS 64

HANDLER (sum_64) (GLOBAL const void *in, uint in_size, GLOBAL void *out, uint *out_size,
                  GLOBAL void *state)
{
    GLOBAL const uint *values = (GLOBAL const uint *) in;
    GLOBAL ulong *sums = (GLOBAL ulong *) out;
    GLOBAL ulong *parts = (GLOBAL ulong *) state;
    const uint count = in_size / (uint) sizeof (uint);
    const uint self = (uint) local_id (0), items = (uint) local_size (0);
    ulong sum = 0;
    for (uint index = self; index < count; index += items)
        sum += values [index];
    parts [self] = sum;
    for (uint width = items / 2; width > 0; width /= 2) {
        BARRIER ();
        if (self < width)
            parts [self] += parts [self + width];
    }
    if (self == 0) {
        parts [ITEMS] += parts [0];
        sums [0] = parts [0];
        sums [1] = parts [ITEMS];
    }
    *out_size = 2 * (uint) sizeof (ulong);
}
