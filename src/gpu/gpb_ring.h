//  gpb_ring - the host's side of one lane: messages to a persistent kernel, and its answers
//
//  A single-producer, single-consumer ring in memory that host and device use at the same time
//  (kernels/gpb_lane.h has its layout, and why each barrier stands where it does). The host
//  publishes messages into slots in order, and reads their answers in the same order; neither side
//  looks at a counter of the other's. Nothing here waits, allocates or knows of a device: the loop
//  that serves the ring may be a kernel, or a thread that runs the same text as C11.
//
//      void *input = gpb_ring_input (ring);              // room: gpb_ring_room (ring) > 0
//      ... write at most slot_size bytes there
//      gpb_ring_publish (ring, &message);
//      ...
//      if (gpb_ring_answer (ring, &answer)) {            // the oldest one, if it is there
//          ... read answer.output
//          gpb_ring_pop (ring);                          // its slot is free
//      }
//
//  One thread: the host's.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_RING_H_INCLUDED
#define GPB_RING_H_INCLUDED

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint32_t slots;        //  a power of two
    uint32_t slot_size;    //  bytes of an input, or an output: a multiple of 128 less 32
    uint64_t heap;     //  where large messages' blocks, and the lane's state, stand: bytes from the
    uint64_t state;    //  memory's start, multiples of 128
} gpb_ring_options_t;

//  A message on its way to the device. Its input stands in the slot (gpb_ring_input), or in a block
//  of the heap; so does the room for its output.
typedef struct {
    uint32_t size;        //  bytes of the input
    uint32_t capacity;    //  bytes that the output may have
    uint64_t input;       //  the block's place, in bytes from the heap's start, a multiple of 128;
    uint64_t output;      //  0: in the slot
} gpb_ring_message_t;

typedef enum {
    GPB_RING_OK,
    GPB_RING_SKIPPED,    //  it was cancelled before its handler began
    GPB_RING_OVERFLOW    //  the handler says that it wrote more than there was room for
} gpb_ring_outcome_t;

typedef struct {
    uint64_t index;    //  of its message
    gpb_ring_outcome_t outcome;
    uint32_t size;           //  bytes of the output
    const void *output;      //  where it stands in its slot; NULL: in its block
    uint64_t taken_ticks;    //  the device's clock, when the handler was called and when it had
    uint64_t done_ticks;     //  returned; 0: it has none
} gpb_ring_answer_t;

typedef struct {
    unsigned char *requests, *answers;    //  the slots' two halves
    void *control;
    uint32_t slots, request_size, answer_size;
    uint64_t published;    //  index of the next message: counts up for ever, and over
    uint64_t answered;     //  index of the next answer
} gpb_ring_t;

//  Bytes of a ring in memory, a multiple of 128; 0 where slots or slot_size are none.
size_t gpb_ring_size (uint32_t slots, uint32_t slot_size);

//  Lays a ring out at offset, a multiple of 128, of memory that both sides reach, whose address the
//  host has; the device's side is not running. first is the index of the first message: 0 but for
//  who tests the end of numbers.
void gpb_ring_init (gpb_ring_t *self, void *memory, uint64_t offset,
                    const gpb_ring_options_t *options, uint64_t first);

//  Messages that can be published before another answer is taken.
static inline uint32_t
gpb_ring_room (const gpb_ring_t *self)
{
    return self->slots - (uint32_t) (self->published - self->answered);
}

//  Messages that are published and whose answers were not taken.
static inline uint32_t
gpb_ring_waiting (const gpb_ring_t *self)
{
    return (uint32_t) (self->published - self->answered);
}

//  Where the next message's input goes: slot_size bytes. There must be room.
void *gpb_ring_input (gpb_ring_t *self);

//  Publishes the next message, whose input is written. There must be room. Returns its index.
uint64_t gpb_ring_publish (gpb_ring_t *self, const gpb_ring_message_t *message);

//  Where a message that is published has not been taken, its handler will not be called: it is
//  answered SKIPPED. Where it has, nothing changes. Its answer comes in its turn in any case.
void gpb_ring_cancel (gpb_ring_t *self, uint64_t index);

//  The next answer, where it is there: its output has been seen by then. It stays until
//  gpb_ring_pop.
bool gpb_ring_answer (const gpb_ring_t *self, gpb_ring_answer_t *answer);
void gpb_ring_pop (gpb_ring_t *self);

//  Before the device's side is launched: it stays, until it is told to park, or has had no message
//  for so many ticks of its clock or, where ticks is 0, polls; 0: for ever.
void gpb_ring_run (gpb_ring_t *self, uint64_t idle_ticks, uint32_t idle_polls);

//  Tells the device's side to return as soon as no message waits.
void gpb_ring_park (gpb_ring_t *self);

//  What the device's side says of itself: a number that changes while it waits and with every
//  message, and stands still while a handler runs.
uint64_t gpb_ring_heartbeat (const gpb_ring_t *self);

#endif
