//  gpb_ticks - a device's clock, told in the host's time
//
//  A persistent kernel notes when it took a message and when it was done with it, by whatever clock
//  it can read: a CPU's time stamp counter, a GPU's global timer, or none. Which one it is shows in
//  the numbers: the host reads its own candidates before it publishes a message and after it has
//  seen the answer, and the clock whose readings enclose the device's is the device's. A clock that
//  is none of these is taken for one in nanoseconds with an unknown start, whose offset is the
//  midpoint of the quickest exchange so far (as NTP does; Mills, RFC 5905).
//
//  A time stamp counter is put in nanoseconds by the rate since the structure was made, from the
//  nearest pair of readings of both clocks: one is taken whenever the last is older than 10 ms. It
//  is a candidate only where the processor says that it never stops nor changes its rate.
//
//  Plain structure, one thread, no allocation.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_TICKS_H_INCLUDED
#define GPB_TICKS_H_INCLUDED

#include <stdbool.h>
#include <stdint.h>

typedef enum {
    GPB_TICKS_UNKNOWN,      //  no answer has been looked at yet
    GPB_TICKS_NONE,         //  the device says no times
    GPB_TICKS_TSC,          //  "tsc": the processor's time stamp counter
    GPB_TICKS_MONOTONIC,    //  "monotonic": CLOCK_MONOTONIC, as the host's
    GPB_TICKS_DEVICE        //  "device": nanoseconds of a clock of its own
} gpb_ticks_kind_t;

typedef struct {
    gpb_ticks_kind_t kind;
    bool has_tsc;
    uint64_t first_tsc, first_ns;    //  when it was made
    uint64_t near_tsc, near_ns;      //  the nearest pair
    double ns_per_tick;
    int64_t offset_ns;       //  of a device's own clock: the host's time less its
    uint64_t quickest_ns;    //  the exchange that it comes from
} gpb_ticks_t;

//  When a message was published or its answer seen, on the host.
typedef struct {
    uint64_t ns;     //  gpb_clock_ns ()
    uint64_t tsc;    //  0 where it is no candidate
} gpb_ticks_instant_t;

//  Spends a millisecond on the counter's rate.
void gpb_ticks_init (gpb_ticks_t *self);

//  Now, and the pair renewed where it is due.
gpb_ticks_instant_t gpb_ticks_now (gpb_ticks_t *self);

//  Where a message's time went, in ns; at least 1 each.
typedef struct {
    uint64_t taken_ns;      //  from its publication to the handler's call
    uint64_t handler_ns;    //  to the handler's return
    uint64_t back_ns;       //  to the host's seeing the answer
} gpb_ticks_spans_t;

//  False where the device has said no times.
bool gpb_ticks_spans (gpb_ticks_t *self, const gpb_ticks_instant_t *published,
                      const gpb_ticks_instant_t *seen, uint64_t taken_ticks, uint64_t done_ticks,
                      gpb_ticks_spans_t *spans);

//  "tsc", "monotonic", "device"; "none" also as long as it is unknown.
const char *gpb_ticks_name (const gpb_ticks_t *self);

//  How many ticks the device counts in so many ns; 0: unknown yet, or it has no clock.
uint64_t gpb_ticks_of (const gpb_ticks_t *self, uint64_t ns);

#endif
