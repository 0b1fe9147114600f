//  A message comes back as it is.
HANDLER (fake_echo)
(GLOBAL const void *in, uint in_size, GLOBAL void *out, uint *out_size, GLOBAL void *state)
{
    GLOBAL const uchar *from = (GLOBAL const uchar *) in;
    GLOBAL uchar *to = (GLOBAL uchar *) out;
    const uint room = *out_size;
    (void) state;
    for (uint index = 0; index < in_size && index < room; index++)
        to [index] = from [index];
    *out_size = in_size;
}
