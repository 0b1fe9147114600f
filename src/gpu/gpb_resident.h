//  gpb_resident - a persistent kernel on one device: its code, its memory, its lanes
//
//  Everything is compiled and allocated when it is made, so that nothing on the way of a message
//  allocates or loads. One block of memory, which host and device use at the same time, holds all
//  of it:
//
//      [ ring of lane 0 ][ ring of lane 1 ] ... [ state 0 ][ state 1 ] ... [ heap ]
//
//  The heap is cut into blocks of one size, for messages that a slot has no room for; with n slots
//  in a lane, none of them waits for more than the heap's bound. A lane is one work-group, launched
//  on a stream of its own: it runs until it is told to park, or has had nothing to do for too long,
//  and holds no processor while it is parked. Ring and state stay what they are, so that what was
//  published is found by the next launch. Which lanes may run when is the caller's business
//  (gpb_shared_context_t.lanes).
//
//  A lane whose handler does not return is quarantined: its memory is the device's until the
//  process ends.
//
//  One thread: the kernel host's. Nothing here waits, but for the compiler.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_RESIDENT_H_INCLUDED
#define GPB_RESIDENT_H_INCLUDED

#include "gpb_compile.h"
#include "gpb_ring.h"
#include "gpb_shared_context.h"
#include "gpb_ticks.h"

typedef enum {
    GPB_LANE_PARKED,         //  it takes nothing of the device's
    GPB_LANE_RESIDENT,       //  it was launched, and stays
    GPB_LANE_PARKING,        //  it was told to return, and has not yet
    GPB_LANE_QUARANTINED,    //  its handler does not return
    GPB_LANE_FAILED          //  the device could not run it: gpb_lane_t.failure
} gpb_lane_state_t;

typedef struct {
    gpb_ring_t ring;
    gpb_lane_state_t state;
    unsigned stream;       //  that it was launched on last
    gpb_event_t *event;    //  of that launch; NULL: it has returned
    uint64_t launches;
    gpb_error_t failure;
} gpb_lane_t;

typedef struct {
    const gpb_shared_context_t *shared;
    const gpb_kernel_t *kernel;
    const gpb_persistent_t *settings;
    gpb_module_t *module;
    gpb_function_t *dispatch, *once;
    gpb_memory_t *memory;      //  NULL: the device runs it on demand alone
    unsigned char *address;    //  of memory, on the host
    uint64_t heap, states;     //  where they start in memory, in bytes
    uint64_t block_size;       //  bytes of one block of the heap; 0: no message needs one
    uint32_t *free_blocks;     //  a stack of their numbers, from 1: place 0 means the slot
    uint32_t free_count;
    unsigned lanes_count;
    gpb_lane_t lanes [GPB_PERSISTENT_LANES_MAX];
} gpb_resident_t;

//  Compiles kernel, which is borrowed for its life and is persistent, and allocates all that it
//  needs: heap_size bytes at most for large messages, but two blocks for each lane at the least.
//  Where the device has no lanes (gpb_shared_context_t), only its code is made. NULL: the reason is
//  in *error; FAILED_PRECONDITION with the compiler's words where it does not compile,
//  RESOURCE_EXHAUSTED with the figures where there is too little memory.
gpb_resident_t *gpb_resident_new (const gpb_shared_context_t *shared, const gpb_kernel_t *kernel,
                                  gpb_cache_t *cache, uint64_t heap_size, gpb_error_t *error);

//  Every lane has returned, or is quarantined: then what it may use is left to it.
void gpb_resident_destroy (gpb_resident_t **self_p);

//  Whether messages can go to it, or each has to be launched.
static inline bool
gpb_resident_has_lanes (const gpb_resident_t *self)
{
    return self->memory != NULL;
}

//  Puts a block of the heap into message where its input or output does not fit the slot. False:
//  none is free, and nothing was taken. gpb_resident_give takes both back.
bool gpb_resident_take (gpb_resident_t *self, gpb_ring_message_t *message);
void gpb_resident_give (gpb_resident_t *self, const gpb_ring_message_t *message);

//  Where a message's input goes, before it is published to a lane; and where its output stands when
//  it is answered.
void *gpb_resident_input (gpb_resident_t *self, unsigned lane, const gpb_ring_message_t *message);
const void *gpb_resident_output (const gpb_resident_t *self, const gpb_ring_message_t *message,
                                 const gpb_ring_answer_t *answer);

//  Launches a lane that is parked, or has failed, on a stream that nothing else uses meanwhile: it
//  returns by itself after idle_ns without a message. clock tells how the device counts time.
gpb_status_t gpb_resident_wake (gpb_resident_t *self, unsigned lane, unsigned stream,
                                uint64_t idle_ns, const gpb_ticks_t *clock, gpb_error_t *error);

//  Tells a resident lane to return as soon as no message waits in its ring.
void gpb_resident_park (gpb_resident_t *self, unsigned lane);

//  Looks whether a lane that was launched has returned; true: it has, now, and is parked, or has
//  failed. Its stream is free.
bool gpb_resident_settle (gpb_resident_t *self, unsigned lane);

//  A lane whose handler does not return is not to be waited for any more. Where it returns after
//  all, the lane does too, with all that was published to it answered: gpb_resident_settle says so.
void gpb_resident_quarantine (gpb_resident_t *self, unsigned lane);

//  Whether any lane was quarantined.
bool gpb_resident_is_stuck (const gpb_resident_t *self);

//  The state of a lane that does not run: settings->state_size bytes.
void *gpb_resident_state (gpb_resident_t *self, unsigned lane);

#endif
