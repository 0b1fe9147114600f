//  gpb_ring - the host's side of one lane
//
//  The stores before a publication are plain: the release store of the sequence orders them, and
//  the device's acquire load sees them. The fields of a request stand in the line that the device
//  polls, so they are written last, in one go, for that line to change hands once; the input behind
//  it is written before.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_ring.h"

#include "gpb_lane_layout.h"

#include <assert.h>
#include <string.h>

static uint64_t
s_round_up (uint64_t size)
{
    return (size + GPB_LANE_UNIT - 1) / GPB_LANE_UNIT * GPB_LANE_UNIT;
}

static gpb_lane_control_t *
s_control (const gpb_ring_t *self)
{
    return self->control;
}

static gpb_lane_request_t *
s_request (const gpb_ring_t *self, uint64_t index)
{
    return (gpb_lane_request_t *) (self->requests
                                   + (index & (self->slots - 1)) * self->request_size);
}

static gpb_lane_answer_t *
s_answer (const gpb_ring_t *self, uint64_t index)
{
    return (gpb_lane_answer_t *) (self->answers + (index & (self->slots - 1)) * self->answer_size);
}

size_t
gpb_ring_size (uint32_t slots, uint32_t slot_size)
{
    if (slots == 0 || (slots & (slots - 1)) != 0 || slot_size == 0)
        return 0;
    return sizeof (gpb_lane_control_t)
           + (size_t) slots
                 * (s_round_up (sizeof (gpb_lane_request_t) + slot_size)
                    + s_round_up (sizeof (gpb_lane_answer_t) + slot_size));
}

void
gpb_ring_init (gpb_ring_t *self, void *memory, uint64_t offset, const gpb_ring_options_t *options,
               uint64_t first)
{
    _Static_assert(sizeof (gpb_lane_control_t) == 2 * GPB_LANE_UNIT, "two units");
    _Static_assert(sizeof (gpb_lane_request_t) == 32, "the input is aligned to 32 bytes");
    _Static_assert(sizeof (gpb_lane_answer_t) == 32, "the output is aligned to 32 bytes");
    assert (offset % GPB_LANE_UNIT == 0 && gpb_ring_size (options->slots, options->slot_size));
    unsigned char *base = (unsigned char *) memory + offset;
    memset (base, 0, gpb_ring_size (options->slots, options->slot_size));
    *self = (gpb_ring_t){
        .control = base,
        .requests = base + sizeof (gpb_lane_control_t),
        .slots = options->slots,
        .request_size = (uint32_t) s_round_up (sizeof (gpb_lane_request_t) + options->slot_size),
        .answer_size = (uint32_t) s_round_up (sizeof (gpb_lane_answer_t) + options->slot_size),
        .published = first,
        .answered = first
    };
    self->answers = self->requests + (size_t) self->slots * self->request_size;
    gpb_lane_control_t *control = s_control (self);
    control->command = GPB_LANE_RUN;
    control->slots = self->slots;
    control->request_size = self->request_size;
    control->answer_size = self->answer_size;
    control->requests = offset + sizeof (gpb_lane_control_t);
    control->answers = control->requests + (uint64_t) self->slots * self->request_size;
    control->heap = options->heap;
    control->state = options->state;
    control->head = first;
    //  As the lap before has left it, so that the first number is no other's.
    for (uint64_t index = first; index != first + self->slots; index++) {
        s_request (self, index)->sequence = index + 1 - self->slots;
        s_answer (self, index)->sequence = index + 1 - self->slots;
    }
}

void *
gpb_ring_input (gpb_ring_t *self)
{
    assert (gpb_ring_room (self) > 0);
    return s_request (self, self->published) + 1;
}

uint64_t
gpb_ring_publish (gpb_ring_t *self, const gpb_ring_message_t *message)
{
    assert (gpb_ring_room (self) > 0);
    const uint64_t index = self->published++;
    gpb_lane_request_t *request = s_request (self, index);
    request->size = message->size;
    request->capacity = message->capacity;
    request->input = (uint32_t) (message->input / GPB_LANE_UNIT);
    request->output = (uint32_t) (message->output / GPB_LANE_UNIT);
    GPB_STORE (&request->flags, 0);
    GPB_STORE_RELEASE (&request->sequence, index + 1);
    return index;
}

void
gpb_ring_cancel (gpb_ring_t *self, uint64_t index)
{
    if (index - self->answered < gpb_ring_waiting (self))
        GPB_STORE (&s_request (self, index)->flags, GPB_LANE_CANCELLED);
}

bool
gpb_ring_answer (const gpb_ring_t *self, gpb_ring_answer_t *answer)
{
    if (self->answered == self->published)
        return false;
    const uint64_t index = self->answered;
    const gpb_lane_answer_t *found = s_answer (self, index);
    if (GPB_LOAD_ACQUIRE (&found->sequence) != index + 1)
        return false;
    const gpb_lane_request_t *request = s_request (self, index);
    answer->index = index;
    answer->outcome = found->status == GPB_LANE_OK        ? GPB_RING_OK
                      : found->status == GPB_LANE_SKIPPED ? GPB_RING_SKIPPED
                                                          : GPB_RING_OVERFLOW;
    answer->size = found->size;
    answer->output = request->output ? NULL : (const void *) (found + 1);
    answer->taken_ticks = found->taken_ticks;
    answer->done_ticks = found->done_ticks;
    return true;
}

void
gpb_ring_pop (gpb_ring_t *self)
{
    assert (self->answered != self->published);
    self->answered++;
}

void
gpb_ring_run (gpb_ring_t *self, uint64_t idle_ticks, uint32_t idle_polls)
{
    gpb_lane_control_t *control = s_control (self);
    control->idle_ticks = idle_ticks;
    control->idle_polls = idle_polls;
    GPB_STORE_RELEASE (&control->command, GPB_LANE_RUN);
}

void
gpb_ring_park (gpb_ring_t *self)
{
    GPB_STORE_RELEASE (&s_control (self)->command, GPB_LANE_PARK);
}

uint64_t
gpb_ring_heartbeat (const gpb_ring_t *self)
{
    return GPB_LOAD (&s_control (self)->heartbeat);
}
