//  gaussian_blur - a grayscale picture under a Gaussian
//
//  The Gaussian is symmetric and separable: w (dx, dy) = w (|dx|) * w (|dy|). So a work-group
//  computes radius + 1 weights once, in dynamic local memory, and a work-item sums rows, then the
//  rows' sums. Weights are normalised at the end, by their own sum: a flat picture stays as it is.
//  All work-items of a group come to the barrier, also those outside the picture.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

KERNEL void
gaussian_blur (GLOBAL const uchar *RESTRICT pixels, GLOBAL uchar *RESTRICT blurred, uint width,
               uint height, uint radius, float sigma LOCAL_PARAMETER (float, weights))
{
    LOCAL_ARRAY (float, weights);
    int reach = (int) radius;
    int stride = (int) (local_size (0) * local_size (1));
    int self = (int) (local_id (1) * local_size (0) + local_id (0));
    for (int distance = self; distance <= reach; distance += stride) {
        float ratio = (float) distance / sigma;
        weights [distance] = exp (-0.5f * ratio * ratio);
    }
    BARRIER ();

    long x = (long) global_id (0);
    long y = (long) global_id (1);
    if (x >= width || y >= height)
        return;
    float sum = 0;
    float total = 0;
    for (int dy = -reach; dy <= reach; dy++) {
        long row = min (max (y + dy, 0L), (long) height - 1) * width;
        float row_sum = 0;
        for (int dx = -reach; dx <= reach; dx++) {
            long column = min (max (x + dx, 0L), (long) width - 1);
            row_sum += weights [dx < 0 ? -dx : dx] * pixels [row + column];
        }
        float weight = weights [dy < 0 ? -dy : dy];
        sum += weight * row_sum;
        total += weight;
    }
    //  The mean of bytes, rounded to the nearest; never outside 0 to 255 but for the last bit.
    blurred [y * width + x] = (uchar) min (sum / (total * total) + 0.5f, 255.0f);
}
