//  spin - waits for a number that nobody writes
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

KERNEL void
spin (GLOBAL volatile int *out)
{
    while (out [0] == 0)
        continue;
}
