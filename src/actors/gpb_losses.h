//  gpb_losses - what clients had on a device whose process was lost
//
//  Notes the buffers and reservations that a device gives, by their handles and whose they are,
//  until they come back or their owner leaves. When the process is lost they are gone, and who then
//  uses one is told that, and not that there never was such a handle. A client's other handles, and
//  other clients', stay what they are. One thread.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_LOSSES_H_INCLUDED
#define GPB_LOSSES_H_INCLUDED

#include "gpb_service.h"

typedef struct _gpb_losses_t gpb_losses_t;

//  Handles that are remembered as lost, of all clients together: some MiB. Those of later losses
//  are not found beyond that.
#define GPB_LOSSES_MAX 65536

//  NULL only when memory runs out.
gpb_losses_t *gpb_losses_new (gpb_error_t *error);

void gpb_losses_destroy (gpb_losses_t **self_p);

//  An owner has got a buffer or a reservation, or has given it back. Where memory runs out it is
//  not noted, and later not found.
void gpb_losses_given (gpb_losses_t *self, const gpb_owner_t *owner, uint64_t handle);
void gpb_losses_returned (gpb_losses_t *self, uint64_t handle);

//  Its owner has left, and everything of it is forgotten.
void gpb_losses_left (gpb_losses_t *self, const gpb_owner_t *owner);

//  Everything that is out is lost.
void gpb_losses_lose (gpb_losses_t *self);

//  How many handles are lost.
size_t gpb_losses_count (const gpb_losses_t *self);

//  The first handle that a request names and its owner has lost; 0: none.
uint64_t gpb_losses_find (gpb_losses_t *self, const gpb_owner_t *owner,
                          const Gpb__V1__Request *request);

#endif
