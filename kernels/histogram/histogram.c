//  histogram - how often each byte stands in a vector
//
//  A work-group counts one contiguous piece of values in bins of its own, in local memory, where
//  atomics are cheap; then it adds those that are not zero to `bins`, which starts at zero. A
//  count wraps at 2^32.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#define BINS 256

KERNEL void
histogram (GLOBAL const uchar *RESTRICT values, GLOBAL uint *RESTRICT bins, ulong n)
{
    LOCAL uint counts [BINS];
    uint stride = (uint) local_size (0);
    uint self = (uint) local_id (0);
    for (uint bin = self; bin < BINS; bin += stride)
        counts [bin] = 0;
    BARRIER ();
    ulong piece = (n + num_groups (0) - 1) / num_groups (0);
    ulong start = min (group_id (0) * piece, n);
    ulong end = min (start + piece, n);
    for (ulong index = start + self; index < end; index += stride)
        ATOMIC_ADD_U32 (&counts [values [index]], 1);
    BARRIER ();
    for (uint bin = self; bin < BINS; bin += stride)
        if (counts [bin] > 0)
            ATOMIC_ADD_U32 (&bins [bin], counts [bin]);
}
