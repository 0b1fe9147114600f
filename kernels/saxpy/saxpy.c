//  saxpy - y = a * x + y
//
//  fma, written out, rounds once on every device; a * x + y may be rounded once or twice, as the
//  compiler likes, and results would differ from device to device.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

KERNEL void
saxpy (GLOBAL const float *RESTRICT x, GLOBAL float *RESTRICT y, float a, ulong n)
{
    ulong index = global_id (0);
    if (index < n)
        y [index] = fma (a, x [index], y [index]);
}
