//  mandelbrot - for each pixel, the iterations of z = z^2 + c, from z = 0, that stay within |z| <= 2
//
//  A pixel that never leaves has `limit`. Near the border of the set one bit in z decides the count,
//  so every product that is added to something is an fma, written out: then no compiler has a choice
//  of rounding, and every device gives the same picture.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

KERNEL void
mandelbrot (GLOBAL uint *RESTRICT iterations, uint width, uint height, float left, float top,
            float step, uint limit)
{
    ulong column = global_id (0);
    ulong row = global_id (1);
    if (column >= width || row >= height)
        return;
    float c_re = fma ((float) column, step, left);
    float c_im = fma (-(float) row, step, top);
    float re = 0;
    float im = 0;
    uint count = 0;
    while (count < limit) {
        float next_re = fma (re, re, fma (-im, im, c_re));
        im = fma (2 * re, im, c_im);
        re = next_re;
        if (!(fma (re, re, im * im) <= 4.0f))
            break;
        count++;
    }
    iterations [row * width + column] = count;
}
