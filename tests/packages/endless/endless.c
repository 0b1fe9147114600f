//  fake: never_done
KERNEL void
endless (int n)
{
}
