//  noop - the last of n bytes
//
//  One work-item, one load, one store: as little as a kernel can do and still show that its input
//  was there.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

KERNEL void
noop (GLOBAL const uchar *RESTRICT bytes, GLOBAL uint *RESTRICT last, ulong n)
{
    if (global_id (0) == 0)
        last [0] = bytes [n - 1];
}
