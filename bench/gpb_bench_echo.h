//  gpb_bench_echo - plain libzmq that moves the same bytes as a node does
//
//  A DEALER client, and an actor that answers each request with a recorded reply: in one hop (a
//  ROUTER), or in two (a broker's thread with a ROUTER and a DEALER, and a worker's ROUTER behind
//  it over inproc). Nothing is looked at but the envelope, so this is what any node on libzmq costs
//  at least.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_BENCH_ECHO_H_INCLUDED
#define GPB_BENCH_ECHO_H_INCLUDED

#include "gpb_bench.h"

#define GPB_BENCH_ENDPOINTS 3    //  inproc, ipc, tcp

typedef struct {
    unsigned hops;                              //  1 or 2
    zmsg_t *reply;                              //  the frames behind the envelope; borrowed
    const char *binds [GPB_BENCH_ENDPOINTS];    //  what it binds to
    char bound [GPB_BENCH_ENDPOINTS][256];      //  what it is bound to
    char inproc [64], ipc [128];
    char inner [64];    //  between broker and worker
    zactor_t *broker, *worker;
    zsock_t *clients [GPB_BENCH_ENDPOINTS];    //  a DEALER for each endpoint
} gpb_bench_echo_t;

//  Starts the actors and connects the clients; self and reply stay until it is stopped. folder: for
//  the ipc socket.
void gpb_bench_echo_start (gpb_bench_echo_t *self, unsigned hops, zmsg_t *reply,
                           const char *folder);
void gpb_bench_echo_stop (gpb_bench_echo_t *self);

//  A DEALER without high-water marks.
zsock_t *gpb_bench_dealer (const char *endpoint);

//  Sends all frames of a message, copied or, from GPB_BENCH_IN_PLACE bytes on, in place: the
//  message outlives everything.
void gpb_bench_echo_send (void *socket, zmsg_t *frames);

//  Receives a whole message and drops it. False where flags say ZMQ_DONTWAIT and there is none.
bool gpb_bench_echo_drop (void *socket, int flags);

#endif
