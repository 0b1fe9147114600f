//  gpb_carriage - how messages cross between a node and the process of one of its devices
//
//  A message crosses over a socket, but for its payloads of more than 64 KiB: those stand in shared
//  memory (gpb_region.h), one copy each, and a few bytes of the message say where. Smaller ones
//  cost less in the socket's buffer than the turn-around of a block. Where shared memory has no
//  room, a payload goes through the socket as well: slower, and never lost.
//
//  Toward the other side a message has one frame more in its envelope: which of its payloads are
//  elsewhere, and which blocks of the other direction are free again. That news waits for the next
//  message, which comes within a second, since a broker asks each device for its figures.
//
//  Plain structure; one thread.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_CARRIAGE_H_INCLUDED
#define GPB_CARRIAGE_H_INCLUDED

#include "gpb_message.h"
#include "gpb_region.h"

#define GPB_CARRIAGE_SIZE 65536    //  bytes: a payload of more is not in the socket

typedef struct {
    gpb_region_t *give;    //  for what leaves
    gpb_region_t *take;    //  for what comes
    size_t at;             //  where its frame stands in an envelope: 1 behind a ROUTER's identity
} gpb_carriage_t;

//  Before a message is sent. It has room for one frame in its envelope.
void gpb_carriage_pack (gpb_carriage_t *self, gpb_message_t *message);

//  After a message was received. INVALID_ARGUMENT, OUT_OF_RANGE: the other side is out of its mind;
//  RESOURCE_EXHAUSTED when memory runs out. What is left of the message is then of no use.
gpb_status_t gpb_carriage_unpack (gpb_carriage_t *self, gpb_message_t *message, gpb_error_t *error);

//  Both regions.
void gpb_carriage_clear (gpb_carriage_t *self);

#endif
