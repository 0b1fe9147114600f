//  gpb_flights - the messages that an actor of a device's process has and has not answered
//
//  Each has a slot, which goes to the process in the place of the broker's own (gpb_hop.h), and the
//  order in which they were handed over: the oldest has nothing before it, so that how long it has
//  been the oldest is how long the process has worked on it, at least. One thread.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_FLIGHTS_H_INCLUDED
#define GPB_FLIGHTS_H_INCLUDED

#include "gpb_error.h"
#include "gpb_hop.h"

#include <stddef.h>

typedef struct _gpb_flights_t gpb_flights_t;

typedef struct {
    gpb_hop_t hop;       //  as the broker sent it
    zmq_msg_t header;    //  likewise, and shared with what was sent on
    uint32_t slot, generation;
    uint32_t previous, next;    //  slots in the order of handing over; of those free: next
    bool is_open;
} gpb_flight_t;

//  NULL only when memory runs out.
gpb_flights_t *gpb_flights_new (gpb_error_t *error);

void gpb_flights_destroy (gpb_flights_t **self_p);

//  Notes a message that is handed over now; its header is shared. Borrowed until the next is added.
//  NULL only when memory runs out.
const gpb_flight_t *gpb_flights_add (gpb_flights_t *self, const gpb_hop_t *hop, zmq_msg_t *header,
                                     uint64_t now_ns, gpb_error_t *error);

//  NULL where the slot has been used for another since, or never.
const gpb_flight_t *gpb_flights_at (const gpb_flights_t *self, uint32_t slot, uint32_t generation);

//  The process has answered it, or never will.
void gpb_flights_close (gpb_flights_t *self, const gpb_flight_t *flight, uint64_t now_ns);

//  NULL: there is none. And gpb_clock_ns () from when it is the oldest.
const gpb_flight_t *gpb_flights_oldest (const gpb_flights_t *self);
uint64_t gpb_flights_oldest_since_ns (const gpb_flights_t *self);

#endif
