//  gpb_rentals - what a device's clients have rented
//
//  A device's side of its pool: starts the pool's actor, passes rents on to it in the name of their
//  owners, notes the leases that come back, and sends a release when nothing on the device uses the
//  buffer any more. One thread: the device's.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_RENTALS_H_INCLUDED
#define GPB_RENTALS_H_INCLUDED

#include "gpb_lease.h"
#include "gpb_owners.h"
#include "gpb_reservations.h"
#include "gpb_service.h"
#include "gpb_shared_context.h"

typedef struct _gpb_rentals_t gpb_rentals_t;

//  A job that waits for the pool, by its number and generation in the device's table. A number of
//  GPB_TICKET_NOBODY: nobody waits.
typedef struct {
    uint32_t number;
    uint32_t generation;
} gpb_ticket_t;

//  A rented buffer as its device knows it.
typedef struct {
    gpb_ticket_t ticket;    //  of the rent or, once it is ending, of the release; the first member
    gpb_lease_t lease;      //  its handle is 0 until the pool has answered
    gpb_owner_t owner;
    gpb_owned_t owned;
    uint64_t client;         //  the owner's number toward the pool
    uint64_t reservation;    //  that it is drawn from; 0: none
    uint64_t drawn;          //  bytes; none of memory that is not the device's own
    size_t users;            //  jobs on the device that use it
    bool mapped;             //  by its owner, in this process: no job may use it
    bool ending;             //  to be released when users is 0: no new job may use it
} gpb_rental_t;

//  Starts the pool. reservations is borrowed for its life; it may be NULL, and then nothing is
//  drawn from any. NULL: the reason is in *error.
gpb_rentals_t *gpb_rentals_new (const gpb_config_t *config, const gpb_shared_context_t *shared,
                                gpb_reservations_t *reservations, gpb_error_t *error);

//  Stops the pool, which gives all memory back: nothing on the device may use it any more.
void gpb_rentals_destroy (gpb_rentals_t **self_p);

//  Stops the pool without giving any memory back, since a kernel that does not end may use it.
void gpb_rentals_abandon (gpb_rentals_t **self_p);

//  The buffer with this handle, if it is this owner's and not about to end; else NULL, NOT_FOUND.
//  Borrowed.
gpb_rental_t *gpb_rentals_lookup (gpb_rentals_t *self, const gpb_owner_t *owner, uint64_t handle,
                                  gpb_error_t *error);

//  Passes a rent on to the pool; header is the request's, and is taken. Where it names a
//  reservation, its bytes, if they are of the device's own memory, are drawn from that until the
//  pool has refused it or the buffer is released. gpb_rentals_recv has the answer, later.
//  RESOURCE_EXHAUSTED when memory runs out; what gpb_reservations_draw refuses.
gpb_status_t gpb_rentals_rent (gpb_rentals_t *self, const gpb_owner_t *owner, gpb_ticket_t ticket,
                               const Gpb__V1__Rent *rent, zmq_msg_t *header, gpb_error_t *error);

//  Nobody waits for this ticket's rent any more: what comes of it goes straight back.
void gpb_rentals_forget (gpb_rentals_t *self, gpb_ticket_t ticket);

//  From now on nobody finds it; it goes back to the pool as soon as nothing uses it, and then
//  gpb_rentals_recv says so.
void gpb_rentals_release (gpb_rentals_t *self, gpb_rental_t *rental, gpb_ticket_t ticket);

//  Releases all that an owner has; where its connection has ended (behind is 0), also what those
//  behind it have.
void gpb_rentals_drop (gpb_rentals_t *self, const gpb_owner_t *owner);

//  Sends the releases whose buffers have no users any more. To be called when jobs are done.
void gpb_rentals_settle (gpb_rentals_t *self);

//  The socket to poll for what the pool answers, and whether something has been done with it since
//  it was read until there was no more (gpb_poller.h).
void *gpb_rentals_socket (gpb_rentals_t *self);
bool gpb_rentals_is_touched (const gpb_rentals_t *self);

//  The next answer of the pool for somebody that waits: whose, and its header, which the caller has
//  initialised and gets. What was rented for an owner that is gone meanwhile is on its way back
//  already. False: there is none.
bool gpb_rentals_recv (gpb_rentals_t *self, gpb_ticket_t *ticket_p, zmq_msg_t *header);

//  Asks the pool for its figures: gpb_rentals_recv has a StatsReply for this ticket, later.
void gpb_rentals_ask_stats (gpb_rentals_t *self, gpb_ticket_t ticket);

//  Has the pool zero what came back and give all that is free to the driver: gpb_rentals_recv has a
//  StatsReply for this ticket when that is done.
void gpb_rentals_ask_trim (gpb_rentals_t *self, gpb_ticket_t ticket);

//  What the pool has of the device's own memory, as it said last; borrowed.
const gpb_holding_t *gpb_rentals_holding (const gpb_rentals_t *self);

//  Bytes of the device's own memory that clients have rented or asked for.
uint64_t gpb_rentals_used (const gpb_rentals_t *self);

//  The same of all memory, which is what the rent limit counts.
uint64_t gpb_rentals_rented (const gpb_rentals_t *self);

#endif
