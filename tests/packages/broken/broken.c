KERNEL void
broken (int n)
{
    this is no C;
}
