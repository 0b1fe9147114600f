//  gpb_region - memory that two processes share, and the blocks of payloads in it
//
//  A region goes one way: its giver puts payloads into it, one copy each, and its taker makes
//  frames of them where they lie. When libzmq has let go of such a frame, on whatever thread, the
//  block's number waits in the taker until it is sent back; then the giver uses the block again.
//
//  Both sides map one memfd, which the other process has inherited. It is 16 GiB of addresses and
//  as much memory as is in use: chunks are asked of the system when they are needed, and go back
//  when more than 256 MiB are free. It is sealed against being cut short, so that no access by
//  either side can fail for what the other one does. Nothing of the bookkeeping stands in it, and
//  the places that the other side names are checked: a process that writes at random changes
//  payloads, and nothing else.
//
//  One thread, but for the end of a frame.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_REGION_H_INCLUDED
#define GPB_REGION_H_INCLUDED

#include "gpb_error.h"

#include <stddef.h>
#include <stdint.h>
#include <zmq.h>

typedef struct _gpb_region_t gpb_region_t;

//  Where a payload stands: what the giver tells the taker, in a frame of its own.
typedef struct {
    uint64_t offset, size;    //  bytes
    uint32_t block;           //  number, to be sent back
    uint32_t reserved;        //  0
} gpb_region_place_t;

//  A new memfd for a region; the caller's, to be closed once both sides have mapped it. -1: the
//  reason is in *error.
int gpb_region_create (gpb_error_t *error);

//  Maps it as its giver or as its taker. The descriptor stays the caller's. NULL: the reason is in
//  *error.
gpb_region_t *gpb_region_giver (int fd, gpb_error_t *error);
gpb_region_t *gpb_region_taker (int fd, gpb_error_t *error);

//  Frames that libzmq still holds stay valid: the last of them takes the mapping down.
void gpb_region_destroy (gpb_region_t **self_p);

//  The giver: copies a payload (of at least 1 byte) into a block. RESOURCE_EXHAUSTED where there is
//  no room.
gpb_status_t gpb_region_put (gpb_region_t *self, const void *data, uint64_t size,
                             gpb_region_place_t *place, gpb_error_t *error);

//  The giver: a block is free again. A number that no block in use has is ignored.
void gpb_region_take_back (gpb_region_t *self, uint32_t block);

//  The giver: blocks in use.
size_t gpb_region_in_use (const gpb_region_t *self);

//  The taker: makes frame, which is not initialised, of what stands there. OUT_OF_RANGE where that
//  is not in the region, RESOURCE_EXHAUSTED when memory runs out; then frame is empty.
gpb_status_t gpb_region_frame (gpb_region_t *self, const gpb_region_place_t *place,
                               zmq_msg_t *frame, gpb_error_t *error);

//  The taker: blocks that libzmq has let go of, `most` at most, which stay on the list; and takes
//  as many off it.
size_t gpb_region_returned (gpb_region_t *self, uint32_t *blocks, size_t most);
void gpb_region_sent_back (gpb_region_t *self, size_t count);

#endif
