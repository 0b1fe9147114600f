//  A message comes back as it is, after as many microseconds as its first element says; after
//  4294967295 only when it is let go. Without the fake backend's word for that, at once.
#ifndef GPB_TEST_LAST_US
#define GPB_TEST_LAST_US(us)
#endif

HANDLER (fake_stuck)
(GLOBAL const void *in, uint in_size, GLOBAL void *out, uint *out_size, GLOBAL void *state)
{
    GLOBAL const uint *from = (GLOBAL const uint *) in;
    GLOBAL uint *to = (GLOBAL uint *) out;
    const uint count = in_size / (uint) sizeof (uint), room = *out_size / (uint) sizeof (uint);
    (void) state;
    if (count > 0)
        GPB_TEST_LAST_US (from [0]);
    for (uint index = 0; index < count && index < room; index++)
        to [index] = from [index];
    *out_size = count * (uint) sizeof (uint);
}
