//  How many messages there were so far, this one with them, and a digest of their elements in the
//  order in which they came, which no other order has.
typedef struct {
    ulong messages;
    ulong digest;
} fake_count_t;

HANDLER (fake_count)
(GLOBAL const void *in, uint in_size, GLOBAL void *out, uint *out_size, GLOBAL void *state)
{
    GLOBAL const uint *from = (GLOBAL const uint *) in;
    GLOBAL fake_count_t *sum = (GLOBAL fake_count_t *) state;
    sum->messages++;
    for (uint index = 0; index < in_size / (uint) sizeof (uint); index++)
        sum->digest = (sum->digest ^ from [index]) * 1099511628211ul;    //  FNV-1a's prime
    if (*out_size >= (uint) sizeof (fake_count_t))
        *(GLOBAL fake_count_t *) out = *sum;
    *out_size = (uint) sizeof (fake_count_t);
}
