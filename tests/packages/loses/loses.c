//  fake: lose
KERNEL void
loses (int n)
{
}
