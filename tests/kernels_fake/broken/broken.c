KERNEL void
broken (int n)
{
    undeclared_name = n;
}
