//  gpb_owners - who owns what: the things of each client, and how many bytes they are
//
//  Whatever is owned embeds a gpb_owned_t. So what one client has is bounded, and dropped when it
//  leaves, without looking at what others have: both cost the same with ten rents and with a
//  million. One thread at a time.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_OWNERS_H_INCLUDED
#define GPB_OWNERS_H_INCLUDED

#include "gpb_service.h"

typedef struct _gpb_owners_t gpb_owners_t;

//  What one owner has; it is there while that is anything at all.
typedef struct {
    gpb_owner_t owner;
    uint64_t number;    //  from 1, never used twice
    size_t count;       //  things
    uint64_t size;      //  bytes of all of them
} gpb_owner_figures_t;

//  One thing that has an owner. A structure of zeros has none.
typedef struct gpb_owned {
    struct gpb_owned *previous, *next;    //  of the same owner's
    const gpb_owner_figures_t *owner;     //  NULL: nobody's
    uint64_t size;                        //  bytes
    void *item;                           //  what it is a part of
} gpb_owned_t;

//  NULL only when memory runs out.
gpb_owners_t *gpb_owners_new (gpb_error_t *error);

//  Things are the caller's, and nobody's afterwards as far as they are not looked at again.
void gpb_owners_destroy (gpb_owners_t **self_p);

//  From now on owner has this thing of so many bytes; thing->item is the caller's to set.
//  RESOURCE_EXHAUSTED when memory runs out.
gpb_status_t gpb_owners_add (gpb_owners_t *self, const gpb_owner_t *owner, gpb_owned_t *thing,
                             uint64_t size, gpb_error_t *error);

//  It is nobody's; where it was so already nothing happens.
void gpb_owners_remove (gpb_owners_t *self, gpb_owned_t *thing);

//  What an owner has; zeros where that is nothing.
gpb_owner_figures_t gpb_owners_figures (const gpb_owners_t *self, const gpb_owner_t *owner);

//  Something that an owner has or, where its connection has ended (behind is 0), that anyone behind
//  that connection has; NULL: nothing. To drop an owner, remove what this gives until it gives
//  NULL.
gpb_owned_t *gpb_owners_first (gpb_owners_t *self, const gpb_owner_t *owner);

//  Something that anyone has; NULL: nothing.
gpb_owned_t *gpb_owners_any (gpb_owners_t *self);

#endif
