//  broken - does not compile: there is no `nothing`
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

HANDLER (broken) (GLOBAL const void *in, uint in_size, GLOBAL void *out, uint *out_size,
                  GLOBAL void *state)
{
    *out_size = nothing (in, in_size, out, state);
}
