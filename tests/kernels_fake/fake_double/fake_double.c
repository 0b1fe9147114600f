//  Twice each element.
HANDLER (fake_double)
(GLOBAL const void *in, uint in_size, GLOBAL void *out, uint *out_size, GLOBAL void *state)
{
    GLOBAL const float *from = (GLOBAL const float *) in;
    GLOBAL float *to = (GLOBAL float *) out;
    const uint count = in_size / (uint) sizeof (float), room = *out_size / (uint) sizeof (float);
    (void) state;
    for (uint index = 0; index < count && index < room; index++)
        to [index] = 2 * from [index];
    *out_size = count * (uint) sizeof (float);
}
