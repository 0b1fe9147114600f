//  gpb_bench_hostile_client - clients that do a node harm
//
//    stops reading    sends a vector_add every 0.5 ms and reads no reply, in small socket buffers
//    floods execute   sends vector_adds as fast as libzmq takes them, and reads what comes
//    floods pings     the same with hello, which the broker answers itself
//    a byte a second  a plain TCP connection that sends half a ZMTP greeting, a byte each second
//    garbage          plain TCP connections that send random bytes, again and again
//    garbage frames   a DEALER that sends random frames where headers are expected
//    (only computes)  does the node no harm but for the processor that it takes: for comparison
//
//  Each is a process's only work, and is ended by a signal, or when its time is up.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_BENCH_HOSTILE_CLIENT_H_INCLUDED
#define GPB_BENCH_HOSTILE_CLIENT_H_INCLUDED

#include "gpb_bench.h"

#define GPB_BENCH_HOSTILE_CLIENTS 6    //  of the names below that do harm: the first ones

//  Their names, with a NULL at the end.
extern const char *const gpb_bench_hostile_clients [];

//  Is such a client for so long. Prints "begun" on a line of its own when it has begun.
void gpb_bench_hostile_client (const char *name, const char *endpoint, uint64_t duration_ns);

#endif
