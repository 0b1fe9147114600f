//  vector_add - c = a + b
//
//  A work-item adds one pair. Those beyond n, there because the global size is a multiple of the
//  local size, do nothing.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

KERNEL void
vector_add (GLOBAL const float *RESTRICT a, GLOBAL const float *RESTRICT b,
            GLOBAL float *RESTRICT c, int n)
{
    ulong index = global_id (0);
    if (index < (ulong) n)
        c [index] = a [index] + b [index];
}
