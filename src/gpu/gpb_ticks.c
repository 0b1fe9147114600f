//  gpb_ticks - a device's clock, told in the host's time
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_ticks.h"

#include "gpb_clock.h"

#include <stdio.h>
#include <string.h>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

#define NEAR_NS (10 * GPB_NS_PER_MS)    //  a pair as old as that is renewed

static uint64_t
s_tsc (void)
{
#if defined(__x86_64__)
    return __rdtsc ();
#else
    return 0;
#endif
}

//  constant_tsc: one rate, whatever the processor's; nonstop_tsc: it counts in every idle state.
static bool
s_has_tsc (void)
{
    bool is_steady = false;
#if defined(__x86_64__)
    FILE *file = fopen ("/proc/cpuinfo", "r");
    char line [8192];
    while (file && !is_steady && fgets (line, sizeof line, file))
        is_steady = strncmp (line, "flags", 5) == 0 && strstr (line, " constant_tsc")
                    && strstr (line, " nonstop_tsc");
    if (file)
        fclose (file);
#endif
    return is_steady;
}

//  Both clocks at one instant: the counter is read on both sides of the clock.
static void
s_pair (uint64_t *tsc_p, uint64_t *ns_p)
{
    uint64_t before = s_tsc ();
    *ns_p = gpb_clock_ns ();
    *tsc_p = before + (s_tsc () - before) / 2;
}

static void
s_renew (gpb_ticks_t *self)
{
    s_pair (&self->near_tsc, &self->near_ns);
    if (self->near_tsc > self->first_tsc)
        self->ns_per_tick =
            (double) (self->near_ns - self->first_ns) / (double) (self->near_tsc - self->first_tsc);
}

void
gpb_ticks_init (gpb_ticks_t *self)
{
    memset (self, 0, sizeof *self);
    self->has_tsc = s_has_tsc ();
    if (!self->has_tsc)
        return;
    s_pair (&self->first_tsc, &self->first_ns);
    while (gpb_clock_ns () - self->first_ns < (uint64_t) GPB_NS_PER_MS)
        continue;
    s_renew (self);
}

gpb_ticks_instant_t
gpb_ticks_now (gpb_ticks_t *self)
{
    gpb_ticks_instant_t now = { gpb_clock_ns (), 0 };
    if (self->has_tsc && self->kind <= GPB_TICKS_TSC) {
        if (now.ns - self->near_ns > (uint64_t) NEAR_NS)
            s_renew (self);
        now.tsc = s_tsc ();
    }
    return now;
}

static gpb_ticks_kind_t
s_recognize (const gpb_ticks_t *self, const gpb_ticks_instant_t *published,
             const gpb_ticks_instant_t *seen, uint64_t taken, uint64_t done)
{
    if (!taken || !done)
        return GPB_TICKS_NONE;
    if (self->has_tsc && published->tsc <= taken && done <= seen->tsc)
        return GPB_TICKS_TSC;
    if (published->ns <= taken && done <= seen->ns)
        return GPB_TICKS_MONOTONIC;
    return GPB_TICKS_DEVICE;
}

//  The counter's reading in the host's ns.
static int64_t
s_tsc_ns (const gpb_ticks_t *self, uint64_t tsc)
{
    return (int64_t) self->near_ns
           + (int64_t) ((double) (int64_t) (tsc - self->near_tsc) * self->ns_per_tick);
}

static uint64_t
s_span (int64_t from_ns, int64_t to_ns)
{
    return to_ns > from_ns ? (uint64_t) (to_ns - from_ns) : 1;
}

bool
gpb_ticks_spans (gpb_ticks_t *self, const gpb_ticks_instant_t *published,
                 const gpb_ticks_instant_t *seen, uint64_t taken_ticks, uint64_t done_ticks,
                 gpb_ticks_spans_t *spans)
{
    if (self->kind == GPB_TICKS_UNKNOWN)
        self->kind = s_recognize (self, published, seen, taken_ticks, done_ticks);
    if (self->kind == GPB_TICKS_NONE || !taken_ticks || !done_ticks)
        return false;
    int64_t taken_ns = (int64_t) taken_ticks, done_ns = (int64_t) done_ticks;
    if (self->kind == GPB_TICKS_TSC) {
        //  Differences of one clock, so that its place in the other does not matter.
        spans->taken_ns = s_span (s_tsc_ns (self, published->tsc), s_tsc_ns (self, taken_ticks));
        spans->handler_ns = s_span (s_tsc_ns (self, taken_ticks), s_tsc_ns (self, done_ticks));
        spans->back_ns = s_span (s_tsc_ns (self, done_ticks), s_tsc_ns (self, seen->tsc));
        return true;
    }
    if (self->kind == GPB_TICKS_DEVICE) {
        uint64_t took_ns = seen->ns - published->ns;
        if (!self->quickest_ns || took_ns < self->quickest_ns) {
            self->quickest_ns = took_ns ? took_ns : 1;
            self->offset_ns = (int64_t) (published->ns + took_ns / 2)
                              - (int64_t) (taken_ticks + (done_ticks - taken_ticks) / 2);
        }
        taken_ns += self->offset_ns;
        done_ns += self->offset_ns;
    }
    spans->taken_ns = s_span ((int64_t) published->ns, taken_ns);
    spans->handler_ns = s_span (taken_ns, done_ns);
    spans->back_ns = s_span (done_ns, (int64_t) seen->ns);
    return true;
}

const char *
gpb_ticks_name (const gpb_ticks_t *self)
{
    switch (self->kind) {
    case GPB_TICKS_TSC: return "tsc";
    case GPB_TICKS_MONOTONIC: return "monotonic";
    case GPB_TICKS_DEVICE: return "device";
    case GPB_TICKS_UNKNOWN:
    case GPB_TICKS_NONE: break;
    }
    return "none";
}

uint64_t
gpb_ticks_of (const gpb_ticks_t *self, uint64_t ns)
{
    if (self->kind == GPB_TICKS_TSC && self->ns_per_tick > 0)
        return (uint64_t) ((double) ns / self->ns_per_tick);
    return self->kind == GPB_TICKS_MONOTONIC || self->kind == GPB_TICKS_DEVICE ? ns : 0;
}
