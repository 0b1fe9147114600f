//  stuck - does not return as long as the message's first byte is 1
//
//  It looks again and again, so who has the memory can let it go.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

HANDLER (stuck) (GLOBAL const void *in, uint in_size, GLOBAL void *out, uint *out_size,
                 GLOBAL void *state)
{
    GLOBAL const uchar *bytes = (GLOBAL const uchar *) in;
    while (in_size > 0 && *(volatile GLOBAL const uchar *) bytes == 1)
        continue;
    for (uint index = (uint) local_id (0); index < in_size; index += (uint) local_size (0))
        ((GLOBAL uchar *) out) [index] = bytes [index];
    *out_size = in_size;
    (void) state;
}
