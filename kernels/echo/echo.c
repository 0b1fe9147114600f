//  echo - gives back what came
//
//  Copies eight bytes at a time, which the alignment of every message allows, and the rest one by
//  one.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

HANDLER (echo) (GLOBAL const void *in, uint in_size, GLOBAL void *out, uint *out_size,
                GLOBAL void *state)
{
    const uint self = (uint) local_id (0), items = (uint) local_size (0);
    const uint words = in_size / (uint) sizeof (ulong);
    for (uint index = self; index < words; index += items)
        ((GLOBAL ulong *) out) [index] = ((GLOBAL const ulong *) in) [index];
    for (uint index = words * (uint) sizeof (ulong) + self; index < in_size; index += items)
        ((GLOBAL uchar *) out) [index] = ((GLOBAL const uchar *) in) [index];
    *out_size = in_size;
    (void) state;
}
