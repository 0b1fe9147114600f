//  gpb_clock - the monotonic clock that every duration and deadline is counted by
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_CLOCK_H_INCLUDED
#define GPB_CLOCK_H_INCLUDED

#include <limits.h>
#include <stdint.h>
#include <time.h>

#define GPB_NS_PER_MS 1000000ULL
#define GPB_NS_PER_S 1000000000ULL

//  Nanoseconds since an arbitrary start, never going back, the same for all processes of the
//  machine. Any thread.
static inline uint64_t
gpb_clock_ns (void)
{
    struct timespec now;
    clock_gettime (CLOCK_MONOTONIC, &now);
    return (uint64_t) now.tv_sec * GPB_NS_PER_S + (uint64_t) now.tv_nsec;
}

//  From now until then in ms, as zmq_poll takes it: never short of it, and 0 where it has passed.
static inline int
gpb_wait_ms (uint64_t now_ns, uint64_t until_ns)
{
    uint64_t wait_ms = until_ns > now_ns ? (until_ns - now_ns) / GPB_NS_PER_MS + 1 : 0;
    return wait_ms < INT_MAX ? (int) wait_ms : INT_MAX;
}

#endif
