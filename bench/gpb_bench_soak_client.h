//  gpb_bench_soak_client - one client of the soak, which keeps its own books
//
//  It speaks the protocol by a plain DEALER, so that what it counts is what the node said and not
//  what gpb_client made of it. Up to WINDOW requests are in flight: kernels of all kinds and sizes,
//  priorities, short and long time-outs, cancels, rented buffers written, used and read one behind
//  the other, reservations. Every result is computed here too, and compared. Every request must be
//  answered once, by its id, with a status that its history allows.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_BENCH_SOAK_CLIENT_H_INCLUDED
#define GPB_BENCH_SOAK_CLIENT_H_INCLUDED

#include "gpb_bench.h"

//  What it has found.
typedef struct {
    uint64_t sent, answered;
    uint64_t ok, cancelled, late;    //  of the answered; late: DEADLINE_EXCEEDED, where it may be
    uint64_t unavailable, gone;      //  where devices are lost; gone: DATA_LOSS
    uint64_t refused;                //  of the answered: statuses that its history does not allow
    uint64_t wrong;                  //  of the OK: results that are not so
    uint64_t twice;                  //  answers to what was answered, or was never asked
    uint64_t lost;                   //  never answered
} gpb_bench_soak_report_t;

//  For so long; then it waits for what is in flight, and leaves, with or without a goodbye.
//  loses_devices: whether the node's devices are lost at times.
void gpb_bench_soak_client (const char *endpoint, uint64_t seed, uint64_t duration_ns,
                            bool loses_devices, gpb_bench_soak_report_t *report);

#endif
