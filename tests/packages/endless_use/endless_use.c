//  fake: never_done
KERNEL void
endless_use (GLOBAL uchar *bytes, uint n)
{
}
