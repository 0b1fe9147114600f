//  fake: sleep_us
KERNEL void
sleeps (int us)
{
}
