//  fake: noop
KERNEL void
negate (GLOBAL uchar *bytes, uint n)
{
    uint index = (uint) global_id (0);
    if (index < n)
        bytes [index] = (uchar) ~bytes [index];
}
