//  fake: noop
KERNEL void
still (GLOBAL uchar *out, GLOBAL uchar *both, uint size, uint n)
{
    if (global_id (0) < n && global_id (0) < size)
        out [global_id (0)] = both [global_id (0)];
}
