//  segfault - writes to an address that the caller names
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

KERNEL void
segfault (ulong address, GLOBAL int *out)
{
    *(GLOBAL volatile int *) address = 1;
    out [0] = 1;
}
