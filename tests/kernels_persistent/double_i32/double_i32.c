//  double_i32 - twice each value, modulo 2^32
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

HANDLER (double_i32) (GLOBAL const void *in, uint in_size, GLOBAL void *out, uint *out_size,
                      GLOBAL void *state)
{
    GLOBAL const uint *values = (GLOBAL const uint *) in;
    GLOBAL uint *doubled = (GLOBAL uint *) out;
    const uint count = in_size / (uint) sizeof (uint);
    for (uint index = (uint) local_id (0); index < count; index += (uint) local_size (0))
        doubled [index] = 2 * values [index];
    *out_size = in_size;
    (void) state;
}
