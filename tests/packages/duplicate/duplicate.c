//  fake: copy
KERNEL void
duplicate (GLOBAL const uchar *from, GLOBAL uchar *to)
{
    ulong index = global_id (0);
    to [index] = from [index];
}
