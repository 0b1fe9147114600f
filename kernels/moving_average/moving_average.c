//  moving_average - the mean of each value and the up to 15 before it in the lane's stream
//
//  Each window is added up anew, oldest value first. A running sum would be fewer additions, and
//  would carry the rounding of each of them to the end of the stream; a single infinity would stay
//  in it as a NaN. The state holds the last 16 values of the messages before, oldest first.
//
//  One work-item: the state is read and written by it alone.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#define WINDOW 16

typedef struct {
    float last [WINDOW];
    uint count;
} history_t;

HANDLER (moving_average) (GLOBAL const void *in, uint in_size, GLOBAL void *out, uint *out_size,
                          GLOBAL void *state)
{
    GLOBAL const float *values = (GLOBAL const float *) in;
    GLOBAL float *averages = (GLOBAL float *) out;
    GLOBAL history_t *history = (GLOBAL history_t *) state;
    const uint count = in_size / (uint) sizeof (float), before = history->count;
    for (uint index = 0; index < count; index++) {
        const uint seen = before + index + 1, window = seen < WINDOW ? seen : WINDOW;
        const uint here = index + 1 < window ? index + 1 : window, older = window - here;
        float sum = 0;
        for (uint at = before - older; at < before; at++)
            sum += history->last [at];
        for (uint at = index + 1 - here; at <= index; at++)
            sum += values [at];
        averages [index] = sum / (float) window;
    }
    //  What is kept of both, the older ones moved down first.
    const uint added = count < WINDOW ? count : WINDOW;
    const uint kept = before + added < WINDOW ? before : WINDOW - added;
    for (uint at = 0; at < kept; at++)
        history->last [at] = history->last [before - kept + at];
    for (uint at = 0; at < added; at++)
        history->last [kept + at] = values [count - added + at];
    history->count = kept + added;
    *out_size = in_size;
}
