//  double - twice each value
//
//  Twice a number is exact, so the result is the same on every device.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

HANDLER (double) (GLOBAL const void *in, uint in_size, GLOBAL void *out, uint *out_size,
                  GLOBAL void *state)
{
    GLOBAL const float *values = (GLOBAL const float *) in;
    GLOBAL float *doubled = (GLOBAL float *) out;
    const uint count = in_size / (uint) sizeof (float);
    for (uint index = (uint) local_id (0); index < count; index += (uint) local_size (0))
        doubled [index] = 2 * values [index];
    *out_size = in_size;
    (void) state;
}
