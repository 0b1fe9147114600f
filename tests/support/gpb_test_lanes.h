//  gpb_test_lanes - a stand-in for a node with one persistent kernel, to try the tools on
//
//  Serves `double` (f32, one in, one out) on a gpb_test_router: messages are taken, kept, and
//  answered in whatever order the test likes; or an actor serves them by itself, a few at a time
//  and the last one first, so that answers are never in order. One thread at a time.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_TEST_LANES_H_INCLUDED
#define GPB_TEST_LANES_H_INCLUDED

#include "gpb_test_router.h"

#define GPB_TEST_MESSAGES_MAX 4096

//  A message that was taken.
typedef struct {
    uint64_t id;
    size_t size;      //  bytes
    float *values;    //  NULL once it is answered
    bool is_on_demand, has_lane;
    uint64_t lane_key;
} gpb_test_message_t;

typedef struct {
    gpb_test_router_t node;
    zmq_msg_t identity;    //  of the client
    size_t count;          //  messages taken
    gpb_test_message_t messages [GPB_TEST_MESSAGES_MAX];

    //  For the actor:
    size_t fails_at;    //  refuses this message, counted from 1, DATA_LOSS; 0: none
    bool has_clock;     //  its devices have one
} gpb_test_lanes_t;

//  The structure is zeros, but for what the actor is told.
void gpb_test_lanes_open (gpb_test_lanes_t *self);
void gpb_test_lanes_close (gpb_test_lanes_t *self);

//  A client that has said hello, so that what it sends next leaves at once.
gpb_client_t *gpb_test_lanes_client (gpb_test_lanes_t *self);

//  Takes messages until there are so many in all, answering everything else.
void gpb_test_lanes_take (gpb_test_lanes_t *self, size_t count);

//  How many there are, once what has come by now is taken.
size_t gpb_test_lanes_taken (gpb_test_lanes_t *self);

//  Answers a message, counted from 0: OK, every value doubled; or refuses it.
void gpb_test_lanes_answer (gpb_test_lanes_t *self, size_t index);
void gpb_test_lanes_refuse (gpb_test_lanes_t *self, size_t index, gpb_status_t status,
                            uint32_t retry_after_ms);

//  An actor that does both until it is destroyed. args: a gpb_test_lanes_t that is open, and the
//  actor's until then.
void gpb_test_lanes_serve (zsock_t *pipe, void *args);

#endif
