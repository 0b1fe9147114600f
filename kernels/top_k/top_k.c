//  top_k - the 16 largest values of a message, the largest first
//
//  Insertion into a short sorted list: past the first few values almost every one ends at a single
//  comparison, with the smallest of the list. A NaN is below every number, so that one NaN in a
//  message neither hides a value nor depends on where it stands.
//
//  One work-item: the list is its own.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#define K 16

FUNCTION bool
above (float a, float b)
{
    return a > b || (a == a && b != b);
}

HANDLER (top_k) (GLOBAL const void *in, uint in_size, GLOBAL void *out, uint *out_size,
                 GLOBAL void *state)
{
    GLOBAL const float *values = (GLOBAL const float *) in;
    GLOBAL float *largest = (GLOBAL float *) out;
    const uint count = in_size / (uint) sizeof (float);
    float list [K];
    uint found = 0;
    for (uint index = 0; index < count; index++) {
        const float value = values [index];
        if (found == K && !above (value, list [K - 1]))
            continue;
        uint place = found < K ? found++ : K - 1;
        for (; place > 0 && above (value, list [place - 1]); place--)
            list [place] = list [place - 1];
        list [place] = value;
    }
    for (uint index = 0; index < found; index++)
        largest [index] = list [index];
    *out_size = found * (uint) sizeof (float);
    (void) state;
}
