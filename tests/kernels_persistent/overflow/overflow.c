//  overflow - says that it wrote as many bytes as the message's first value
//
//  It writes no more than there is room for: what it says is what is at fault.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

HANDLER (overflow) (GLOBAL const void *in, uint in_size, GLOBAL void *out, uint *out_size,
                    GLOBAL void *state)
{
    GLOBAL const uint *values = (GLOBAL const uint *) in;
    const uint size = in_size > 0 ? values [0] : 0;
    for (uint index = 0; index < size && index < *out_size; index++)
        ((GLOBAL uchar *) out) [index] = (uchar) index;
    *out_size = size;
    (void) state;
}
