//  gpb_reservations - memory of a device that is set aside for a client
//
//  What is reserved is bytes, not a place: it is kept free by refusing others, and drawn by rents
//  and launches that name the reservation, whoever's they are: the handle cannot be guessed, so who
//  has it was given it. Only its owner renews and ends it: for everyone else its handle is
//  NOT_FOUND there. It ends by its owner's word or leaving, or when its time is up; what was drawn
//  from it then stays with whoever has it, and is drawn from nothing. One thread: the device's.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_RESERVATIONS_H_INCLUDED
#define GPB_RESERVATIONS_H_INCLUDED

#include "gpb_service.h"

typedef struct _gpb_reservations_t gpb_reservations_t;

typedef struct {
    uint64_t handle;
    uint64_t size;     //  bytes, as asked
    uint64_t drawn;    //  bytes of these that rents and launches have
} gpb_reservation_t;

//  most: how many one owner may have; longest_ms: what one lasts without being renewed. NULL: the
//  reason is in *error.
gpb_reservations_t *gpb_reservations_new (unsigned device, size_t most, uint64_t longest_ms,
                                          gpb_error_t *error);

void gpb_reservations_destroy (gpb_reservations_t **self_p);

//  Sets size bytes aside, which the caller has found to be free, from now_ns (gpb_clock_ns) on;
//  *for_ms_p is how long, 0 or more than the longest becomes the longest. Borrowed, until it ends.
//  NULL: INVALID_ARGUMENT for 0 bytes; RESOURCE_EXHAUSTED where the owner has `most` already, or
//  memory runs out.
const gpb_reservation_t *gpb_reservations_add (gpb_reservations_t *self, const gpb_owner_t *owner,
                                               uint64_t size, uint64_t now_ns, uint32_t *for_ms_p,
                                               gpb_error_t *error);

//  It lasts until so long after now_ns; *for_ms_p as above. NOT_FOUND: it never was, has ended, or
//  is another owner's.
gpb_status_t gpb_reservations_renew (gpb_reservations_t *self, const gpb_owner_t *owner,
                                     uint64_t handle, uint64_t now_ns, uint32_t *for_ms_p,
                                     gpb_error_t *error);

//  It ends. NOT_FOUND as above.
gpb_status_t gpb_reservations_end (gpb_reservations_t *self, const gpb_owner_t *owner,
                                   uint64_t handle, gpb_error_t *error);

//  All of an owner's end; where its connection has ended (behind is 0), also those of the ones
//  behind it.
void gpb_reservations_drop (gpb_reservations_t *self, const gpb_owner_t *owner);

//  Those whose time is up at now_ns end. When the next one's is; UINT64_MAX: there is none.
uint64_t gpb_reservations_expire (gpb_reservations_t *self, uint64_t now_ns);

//  Takes size bytes of it, for anybody. NOT_FOUND: it never was, or has ended; RESOURCE_EXHAUSTED
//  where it has less left, with its size and what is drawn.
gpb_status_t gpb_reservations_draw (gpb_reservations_t *self, uint64_t handle, uint64_t size,
                                    gpb_error_t *error);

//  Gives size bytes back that were drawn from it; one that has ended meanwhile needs none.
void gpb_reservations_return (gpb_reservations_t *self, uint64_t handle, uint64_t size);

//  How many there are, and the bytes of all of them that are not drawn.
size_t gpb_reservations_count (const gpb_reservations_t *self);
uint64_t gpb_reservations_undrawn (const gpb_reservations_t *self);

#endif
