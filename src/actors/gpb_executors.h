//  gpb_executors - a broker's connections to its devices and their kernel hosts
//
//  A DEALER for each, over inproc or ipc. Requests go out with a hop frame (gpb_hop.h) in the place
//  of their client's envelope; answers come back with it. A send never waits: credits, and the
//  bounds of gpb_hosting.h, limit what is under way, so the sockets have no high-water mark. One
//  thread: the broker's.
//
//  A device's kernel host is an executor of its own, and what goes to it says so in its hop. Where
//  it is reached at the device's own endpoint (a supervisor's), both share a DEALER, so that what
//  is said of the device and what either answers come in the order in which they were said.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_EXECUTORS_H_INCLUDED
#define GPB_EXECUTORS_H_INCLUDED

#include "gpb_entry.h"

#define GPB_EXECUTORS_DEVICES_MAX 64
#define GPB_EXECUTORS_MAX                                                                          \
    (2 * GPB_EXECUTORS_DEVICES_MAX)    //  a device's own number, or its host's

//  A structure of zeros has none.
typedef struct {
    zsock_t *dealers [GPB_EXECUTORS_MAX];    //  NULL: there is none, or it is lost; a host's may be
                                             //  its device's
    bool touched [GPB_EXECUTORS_MAX];        //  something was done with it since it was read until
                                             //  there was no more (gpb_poller.h)
    unsigned numbers [GPB_EXECUTORS_MAX];    //  of those with a DEALER of their own, in the order
                                             //  of connecting: they are to be read
    unsigned count;
} gpb_executors_t;

//  The number of a device's kernel host, and the device of either.
static inline unsigned
gpb_executors_host (unsigned device)
{
    return GPB_EXECUTORS_DEVICES_MAX + device;
}

static inline unsigned
gpb_executors_device (unsigned index)
{
    return index % GPB_EXECUTORS_DEVICES_MAX;
}

//  RESOURCE_EXHAUSTED, or INVALID_ARGUMENT for what is no endpoint.
gpb_status_t gpb_executors_connect (gpb_executors_t *self, unsigned index, const char *endpoint,
                                    gpb_error_t *error);

//  What is under way to it, and its answers, are dropped. A device's takes along a host that shares
//  its DEALER.
void gpb_executors_disconnect (gpb_executors_t *self, unsigned index);

void gpb_executors_clear (gpb_executors_t *self);

static inline bool
gpb_executors_has (const gpb_executors_t *self, unsigned index)
{
    return index < GPB_EXECUTORS_MAX && self->dealers [index];
}

//  Hands an entry's request over, under this header, which is taken. Its payloads are taken too,
//  or, where it keeps them, shared.
void gpb_executors_forward (gpb_executors_t *self, unsigned index, gpb_entry_t *entry,
                            zmq_msg_t *header, bool keeps, uint64_t now_ns);

//  Requests of the broker's own: for a device's figures, and in the name of a client (its
//  connection's number).
void gpb_executors_ask_figures (gpb_executors_t *self, unsigned index);
void gpb_executors_cancel (gpb_executors_t *self, unsigned index, uint64_t client, uint64_t id);
void gpb_executors_goodbye (gpb_executors_t *self, unsigned index, uint64_t client);

//  The next answer and the hop that it goes with; false where there is none. Where a host shares
//  its device's DEALER, the device's has the answers of both, and the hop says whose each is.
bool gpb_executors_recv (gpb_executors_t *self, unsigned index, gpb_hop_t *hop,
                         gpb_message_t *message);

//  The hop of a request of the broker's own to a device, in the name of a client or, by 0, of
//  nobody; and whether this is one, to either.
gpb_hop_t gpb_executors_own_hop (uint64_t client);
bool gpb_executors_is_own (const gpb_hop_t *hop);

//  Hands over a request of the broker's own that is packed already; header is shared.
void gpb_executors_tell (gpb_executors_t *self, unsigned index, const zmq_msg_t *header);

//  The raw socket to poll for its answers; NULL where there is none.
void *gpb_executors_socket (const gpb_executors_t *self, unsigned index);

#endif
