//  fake: noop
KERNEL void
picky (int n)
{
}
