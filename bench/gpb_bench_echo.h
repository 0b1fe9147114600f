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
    const char *binds [GPB_BENCH_ENDPOINTS];    //  what to bind to
    char bound [GPB_BENCH_ENDPOINTS][256];      //  filled in: what it is bound to
    char inner [64];                            //  between broker and worker
} gpb_bench_echo_t;

//  The broker's actor, or the only one; self outlives it. It answers $TERM alone.
void gpb_bench_echo_actor (zsock_t *pipe, void *self);

//  The worker's, behind two hops; to be started first and ended last.
void gpb_bench_echo_worker (zsock_t *pipe, void *self);

//  Sends all frames of a message, copied.
void gpb_bench_echo_send (void *socket, zmsg_t *frames);

//  Receives a whole message and drops it. False where flags say ZMQ_DONTWAIT and there is none.
bool gpb_bench_echo_drop (void *socket, int flags);

#endif
