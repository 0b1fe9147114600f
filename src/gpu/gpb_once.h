//  gpb_once - a persistent kernel on demand: its handler, launched once for each message
//
//  What a device does that has no memory for both sides at once, and what a request may ask for.
//  Messages have places, each with room for the largest one; all are launched on one stream, so
//  that they share one state, in the order in which they were launched. Where the device does not
//  share the host's memory, a place has a mirror there, and copies go between.
//
//  One thread: the kernel host's. Nothing here waits but gpb_once_destroy, and that only where a
//  command was enqueued that no launch tells the end of.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_ONCE_H_INCLUDED
#define GPB_ONCE_H_INCLUDED

#include "gpb_resident.h"

#define GPB_ONCE_PLACES_MAX                                                                        \
    16    //  launches one behind the other: enough that the device never waits

typedef struct gpb_once gpb_once_t;

//  Takes the code of a resident kernel, which is borrowed for its life, and allocates its places:
//  as many as memory_size bytes allow, but one at the least. RESOURCE_EXHAUSTED where there is too
//  little memory.
gpb_once_t *gpb_once_new (const gpb_resident_t *resident, uint64_t memory_size, gpb_error_t *error);

//  Nothing that was launched runs any more. What a launch that failed, or the first zeros, left
//  under way is waited for, a second at most: then it keeps its memory.
void gpb_once_destroy (gpb_once_t **self_p);

//  Something that was launched does not end: all that it may use is left to it.
void gpb_once_abandon (gpb_once_t **self_p);

//  A free place, or -1; it is taken by gpb_once_launch.
int gpb_once_place (const gpb_once_t *self);

//  Where the place's input goes.
void *gpb_once_input (gpb_once_t *self, int place);

//  Launches the handler for the input of size bytes that stands in the place; its output may have
//  capacity bytes. Else the place is free.
gpb_status_t gpb_once_launch (gpb_once_t *self, int place, uint32_t size, uint32_t capacity,
                              gpb_error_t *error);

//  Whether the place's launch has ended; then the status is its outcome, and *answer is filled for
//  GPB_OK (without an index); its output stays until gpb_once_give frees the place.
gpb_status_t gpb_once_answer (gpb_once_t *self, int place, bool *done_p, gpb_ring_answer_t *answer,
                              gpb_error_t *error);
void gpb_once_give (gpb_once_t *self, int place);

#endif
