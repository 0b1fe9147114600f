//  gpb_carriage - how messages cross between a node and the process of one of its devices
//
//  The frame in the envelope, in the machine's own byte order, since it never leaves it:
//
//      magic   32 bits
//      mask    32 bits: bit i: payload i is a gpb_region_place_t
//      count   32 bits
//      block   32 bits each: of the other direction, free again
//
//  An envelope's frames are at most 255 bytes, which 60 blocks fill; more go with the next message.
//  A payload cannot pass for a place: only the mask says what is one, and clients do not write it.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_carriage.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#define MAGIC 0x31726143u    //  "Car1"
#define BLOCKS_MAX 60
#define HEAD_SIZE (3 * sizeof (uint32_t))

typedef struct {
    uint32_t magic, mask, count;
    uint32_t blocks [BLOCKS_MAX];
} s_bill_t;

_Static_assert(sizeof (s_bill_t) <= GPB_ENVELOPE_FRAME_MAX_SIZE, "a frame of an envelope");

static uint32_t
s_pack_payloads (gpb_carriage_t *self, gpb_message_t *message)
{
    uint32_t mask = 0;
    for (size_t index = 0; index < message->payloads_count; index++) {
        zmq_msg_t *payload = &message->payloads [index];
        gpb_region_place_t place;
        if (zmq_msg_size (payload) <= GPB_CARRIAGE_SIZE
            || gpb_region_put (self->give, zmq_msg_data (payload), zmq_msg_size (payload), &place,
                               NULL)
                   != GPB_OK)
            continue;
        zmq_msg_close (payload);
        zmq_msg_init_size (payload, sizeof place);    //  up to 33 bytes need no allocation
        memcpy (zmq_msg_data (payload), &place, sizeof place);
        mask |= 1u << index;
    }
    return mask;
}

void
gpb_carriage_pack (gpb_carriage_t *self, gpb_message_t *message)
{
    assert (message->envelope_count >= self->at && message->envelope_count < GPB_ENVELOPE_MAX);
    s_bill_t bill = { .magic = MAGIC, .mask = s_pack_payloads (self, message) };
    bill.count = (uint32_t) gpb_region_returned (self->take, bill.blocks, BLOCKS_MAX);
    zmq_msg_t frame;
    if (zmq_msg_init_size (&frame, HEAD_SIZE + bill.count * sizeof bill.blocks [0]) != 0) {
        bill.count = 0;
        zmq_msg_init_size (&frame, HEAD_SIZE);
    }
    memcpy (zmq_msg_data (&frame), &bill, zmq_msg_size (&frame));
    gpb_region_sent_back (self->take, bill.count);

    size_t index = message->envelope_count++;
    zmq_msg_init (&message->envelope [index]);
    for (; index > self->at; index--)
        zmq_msg_move (&message->envelope [index], &message->envelope [index - 1]);
    zmq_msg_move (&message->envelope [self->at], &frame);
    zmq_msg_close (&frame);
}

//  Takes its frame out of the envelope.
static bool
s_read_bill (gpb_carriage_t *self, gpb_message_t *message, s_bill_t *bill)
{
    if (message->envelope_count <= self->at)
        return false;
    zmq_msg_t *frame = &message->envelope [self->at];
    const size_t size = zmq_msg_size (frame);
    bool is_bill = size >= HEAD_SIZE && size <= sizeof *bill;
    if (is_bill) {
        memcpy (bill, zmq_msg_data (frame), size);
        is_bill = bill->magic == MAGIC && bill->count <= BLOCKS_MAX
                  && size == HEAD_SIZE + bill->count * sizeof bill->blocks [0];
    }
    if (!is_bill)
        return false;
    for (size_t index = self->at; index + 1 < message->envelope_count; index++)
        zmq_msg_move (&message->envelope [index], &message->envelope [index + 1]);
    zmq_msg_close (&message->envelope [--message->envelope_count]);
    return true;
}

gpb_status_t
gpb_carriage_unpack (gpb_carriage_t *self, gpb_message_t *message, gpb_error_t *error)
{
    s_bill_t bill;
    if (!s_read_bill (self, message, &bill))
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "a message between processes says nothing of its payloads");
    for (uint32_t index = 0; index < bill.count; index++)
        gpb_region_take_back (self->give, bill.blocks [index]);
    for (size_t index = 0; bill.mask; index++, bill.mask >>= 1) {
        if (!(bill.mask & 1))
            continue;
        zmq_msg_t *payload = index < message->payloads_count ? &message->payloads [index] : NULL;
        gpb_region_place_t place;
        if (!payload || zmq_msg_size (payload) != sizeof place)
            return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                                  "payload %zu of a message between processes is no place", index);
        memcpy (&place, zmq_msg_data (payload), sizeof place);
        zmq_msg_t frame;
        if (gpb_region_frame (self->take, &place, &frame, error) != GPB_OK)
            return error->status;
        zmq_msg_move (payload, &frame);
        zmq_msg_close (&frame);
    }
    return GPB_OK;
}

void
gpb_carriage_clear (gpb_carriage_t *self)
{
    gpb_region_destroy (&self->give);
    gpb_region_destroy (&self->take);
}
