//  sobel - the edges of a grayscale tile
//
//  pixels has a halo of one pixel all around, so that no work-item asks where the border is. The
//  result is the whole part of sqrt (gx^2 + gy^2), or 255 where that is larger, and the same on every
//  device: what a device's square root is off by is put right with integers.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

KERNEL void
sobel (GLOBAL const uchar *RESTRICT pixels, GLOBAL uchar *RESTRICT edges, uint width, uint height)
{
    ulong x = global_id (0);
    ulong y = global_id (1);
    if (x >= width || y >= height)
        return;

    //  The upper left of the nine pixels, since the halo shifts both coordinates by one.
    ulong pitch = (ulong) width + 2;
    GLOBAL const uchar *above = pixels + y * pitch + x;
    GLOBAL const uchar *beside = above + pitch;
    GLOBAL const uchar *below = beside + pitch;
    int gx = above [2] + 2 * beside [2] + below [2] - above [0] - 2 * beside [0] - below [0];
    int gy = below [0] + 2 * below [1] + below [2] - above [0] - 2 * above [1] - above [2];

    //  At most 2 * 1020^2 < 2^24: a float holds it exactly.
    uint square = (uint) (gx * gx) + (uint) (gy * gy);
    uint root = (uint) sqrt ((float) square);
    root -= root * root > square;
    root += (root + 1) * (root + 1) <= square;
    edges [y * width + x] = (uchar) min (root, 255u);
}
