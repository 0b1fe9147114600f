//  fake: add_f32
KERNEL void
add (GLOBAL const float *a, GLOBAL const float *b, GLOBAL float *c, int n)
{
    int index = (int) global_id (0);
    if (index < n)
        c [index] = a [index] + b [index];
}
