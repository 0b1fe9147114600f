//  gpb_flights - the messages that an actor of a device's process has and has not answered
//
//  A table that grows and never shrinks: a broker has 64 requests on a device at most, some
//  thousands with a kernel host, and as many words of its own as connections end at once. Slots are
//  linked by number, since the table moves.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_flights.h"

#include "gpb_alloc.h"

#define NONE UINT32_MAX
#define SLOTS_FIRST 128

struct _gpb_flights_t {
    gpb_flight_t *flights;
    uint32_t count;    //  slots
    uint32_t free, first, last;
    uint64_t first_since_ns;
};

gpb_flights_t *
gpb_flights_new (gpb_error_t *error)
{
    gpb_flights_t *self = gpb_alloc (1, sizeof *self);
    if (self)
        self->free = self->first = self->last = NONE;
    else
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for what is with a device");
    return self;
}

void
gpb_flights_destroy (gpb_flights_t **self_p)
{
    gpb_flights_t *self = *self_p;
    if (!self)
        return;
    *self_p = NULL;
    while (self->first != NONE)
        gpb_flights_close (self, &self->flights [self->first], 0);
    gpb_free (self->flights);
    gpb_free (self);
}

//  Makes free slots. False when memory runs out.
static bool
s_grow (gpb_flights_t *self)
{
    uint32_t count = self->count ? 2 * self->count : SLOTS_FIRST;
    gpb_flight_t *flights = gpb_realloc (self->flights, count, sizeof *flights);
    if (!flights)
        return false;
    self->flights = flights;
    for (uint32_t slot = count; slot-- > self->count;) {
        flights [slot] = (gpb_flight_t){ .slot = slot, .next = self->free };
        self->free = slot;
    }
    self->count = count;
    return true;
}

const gpb_flight_t *
gpb_flights_add (gpb_flights_t *self, const gpb_hop_t *hop, zmq_msg_t *header, uint64_t now_ns,
                 gpb_error_t *error)
{
    if (self->free == NONE && !s_grow (self)) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for one more request of a device");
        return NULL;
    }
    gpb_flight_t *flight = &self->flights [self->free];
    self->free = flight->next;
    flight->hop = *hop;
    flight->is_open = true;
    zmq_msg_init (&flight->header);
    zmq_msg_copy (&flight->header, header);
    flight->next = NONE;
    flight->previous = self->last;
    if (self->last != NONE)
        self->flights [self->last].next = flight->slot;
    else {
        self->first = flight->slot;
        self->first_since_ns = now_ns;
    }
    self->last = flight->slot;
    return flight;
}

const gpb_flight_t *
gpb_flights_at (const gpb_flights_t *self, uint32_t slot, uint32_t generation)
{
    if (slot >= self->count)
        return NULL;
    const gpb_flight_t *flight = &self->flights [slot];
    return flight->is_open && flight->generation == generation ? flight : NULL;
}

void
gpb_flights_close (gpb_flights_t *self, const gpb_flight_t *closed, uint64_t now_ns)
{
    gpb_flight_t *flight = &self->flights [closed->slot];
    zmq_msg_close (&flight->header);
    flight->is_open = false;
    flight->generation++;
    if (flight->next != NONE)
        self->flights [flight->next].previous = flight->previous;
    else
        self->last = flight->previous;
    if (flight->previous != NONE)
        self->flights [flight->previous].next = flight->next;
    else {
        self->first = flight->next;
        self->first_since_ns = now_ns;
    }
    flight->next = self->free;
    self->free = flight->slot;
}

const gpb_flight_t *
gpb_flights_oldest (const gpb_flights_t *self)
{
    return self->first == NONE ? NULL : &self->flights [self->first];
}

uint64_t
gpb_flights_oldest_since_ns (const gpb_flights_t *self)
{
    return self->first_since_ns;
}
