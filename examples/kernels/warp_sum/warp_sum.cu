//  warp_sum - adds up within warps by shuffles, and one thread of each adds to the sum
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

extern "C" __global__ void
warp_sum (const float *values, float *sum, unsigned n)
{
    //  Threads past the global size stand in the last block, and have nothing to add.
    const unsigned stride = gridDim.x * blockDim.x;
    float mine = 0;
    for (size_t at = blockIdx.x * blockDim.x + threadIdx.x; at < n; at += stride)
        mine += values [at];
    const unsigned lane = threadIdx.x % warpSize, all = __activemask ();
    for (unsigned distance = warpSize / 2; distance > 0; distance /= 2) {
        const float other = __shfl_down_sync (all, mine, distance);
        //  A block of another size may end in a warp that is not whole.
        if (lane + distance < warpSize && (all >> (lane + distance) & 1))
            mine += other;
    }
    if (lane == 0)
        atomicAdd (sum, mine);
}
