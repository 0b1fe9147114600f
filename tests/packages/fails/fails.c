//  fake: fail
KERNEL void
fails (int n)
{
}
