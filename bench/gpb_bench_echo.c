//  gpb_bench_echo - plain libzmq that moves the same bytes as a node does
//
//  Each actor polls its pipe and its sockets, and takes up to BATCH messages from a socket before
//  it polls again. High-water marks are off, since a ROUTER drops what is above.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_bench_echo.h"

#include "gpb_bench_load.h"

#define BATCH 64

void
gpb_bench_echo_send (void *socket, zmsg_t *frames)
{
    for (zframe_t *frame = zmsg_first (frames), *next; frame; frame = next) {
        next = zmsg_next (frames);
        zmq_msg_t message;
        bool in_place = zframe_size (frame) >= GPB_BENCH_IN_PLACE;
        if (in_place)
            zmq_msg_init_data (&message, zframe_data (frame), zframe_size (frame), NULL, NULL);
        else if (zmq_msg_init_size (&message, zframe_size (frame)) != 0)
            gpb_bench_fail ("no memory for a frame");
        else
            memcpy (zmq_msg_data (&message), zframe_data (frame), zframe_size (frame));
        if (zmq_msg_send (&message, socket, next ? ZMQ_SNDMORE : 0) == -1)
            gpb_bench_fail ("a plain message is not sent: %s", zmq_strerror (zmq_errno ()));
    }
}

bool
gpb_bench_echo_drop (void *socket, int flags)
{
    zmq_msg_t message;
    zmq_msg_init (&message);
    bool more = true, any = false;
    while (more && zmq_msg_recv (&message, socket, any ? 0 : flags) != -1) {
        any = true;
        more = zmq_msg_more (&message);
    }
    zmq_msg_close (&message);
    return any;
}

//  One message from `from` to `to`.
static bool
s_forward (void *from, void *to)
{
    for (int flags = ZMQ_DONTWAIT, more = 1; more; flags = 0) {
        zmq_msg_t message;
        zmq_msg_init (&message);
        if (zmq_msg_recv (&message, from, flags) == -1) {
            zmq_msg_close (&message);
            return false;
        }
        more = zmq_msg_more (&message);
        if (zmq_msg_send (&message, to, more ? ZMQ_SNDMORE : 0) == -1)
            zmq_msg_close (&message);
    }
    return true;
}

//  Sends the envelope of a request back as it comes, then the recorded reply.
static bool
s_answer (void *socket, zmsg_t *reply)
{
    for (int flags = ZMQ_DONTWAIT;; flags = 0) {
        zmq_msg_t message;
        zmq_msg_init (&message);
        if (zmq_msg_recv (&message, socket, flags) == -1) {
            zmq_msg_close (&message);
            return false;
        }
        bool last = zmq_msg_size (&message) == 0;
        if (zmq_msg_send (&message, socket, ZMQ_SNDMORE) == -1)
            zmq_msg_close (&message);
        if (last)
            break;
    }
    gpb_bench_echo_drop (socket, 0);
    gpb_bench_echo_send (socket, reply);
    return true;
}

//  Until $TERM. back is NULL where front answers itself.
static void
s_serve (zsock_t *pipe, void *front, void *back, zmsg_t *reply)
{
    zmq_pollitem_t items [3] = { { zsock_resolve (pipe), 0, ZMQ_POLLIN, 0 },
                                 { front, 0, ZMQ_POLLIN, 0 },
                                 { back, 0, ZMQ_POLLIN, 0 } };
    while (zmq_poll (items, back ? 3 : 2, -1) != -1 && !(items [0].revents & ZMQ_POLLIN)) {
        for (int count = 0; count < BATCH; count++)
            if (!(back ? s_forward (front, back) : s_answer (front, reply)))
                break;
        for (int count = 0; back && count < BATCH; count++)
            if (!s_forward (back, front))
                break;
    }
}

static zsock_t *
s_socket (int type)
{
    zsock_t *socket = zsock_new (type);
    if (!socket)
        gpb_bench_fail ("no socket");
    zsock_set_unbounded (socket);
    zsock_set_linger (socket, 0);
    return socket;
}

zsock_t *
gpb_bench_dealer (const char *endpoint)
{
    zsock_t *dealer = s_socket (ZMQ_DEALER);
    if (zsock_connect (dealer, "%s", endpoint) == -1)
        gpb_bench_fail ("%s cannot be connected to", endpoint);
    return dealer;
}

//  The worker's actor, behind two hops; it starts first and ends last.
static void
s_worker (zsock_t *pipe, void *self)
{
    gpb_bench_echo_t *echo = self;
    zsock_t *router = s_socket (ZMQ_ROUTER);
    if (zsock_bind (router, "%s", echo->inner) == -1)
        gpb_bench_fail ("%s cannot be bound", echo->inner);
    zsock_signal (pipe, 0);
    s_serve (pipe, zsock_resolve (router), NULL, echo->reply);
    zsock_destroy (&router);
}

//  The broker's actor, or the only one.
static void
s_broker (zsock_t *pipe, void *self)
{
    gpb_bench_echo_t *echo = self;
    zsock_t *router = s_socket (ZMQ_ROUTER);
    for (size_t index = 0; index < GPB_BENCH_ENDPOINTS; index++) {
        if (zsock_bind (router, "%s", echo->binds [index]) == -1)
            gpb_bench_fail ("%s cannot be bound", echo->binds [index]);
        snprintf (echo->bound [index], sizeof echo->bound [index], "%s", zsock_endpoint (router));
    }
    zsock_t *dealer = NULL;
    if (echo->hops == 2)
        dealer = gpb_bench_dealer (echo->inner);
    zsock_signal (pipe, 0);
    s_serve (pipe, zsock_resolve (router), dealer ? zsock_resolve (dealer) : NULL, echo->reply);
    zsock_destroy (&dealer);
    zsock_destroy (&router);
}

//  ---------------------------------------------------------------------------------------------------------
//  An echo and its clients

void
gpb_bench_echo_start (gpb_bench_echo_t *self, unsigned hops, zmsg_t *reply, const char *folder)
{
    memset (self, 0, sizeof *self);
    self->hops = hops;
    self->reply = reply;
    snprintf (self->inproc, sizeof self->inproc, "inproc://bench-plain-%u", hops);
    snprintf (self->ipc, sizeof self->ipc, "ipc://%.64s/plain-%u", folder, hops);
    snprintf (self->inner, sizeof self->inner, "inproc://bench-inner-%u", hops);
    self->binds [0] = self->inproc;
    self->binds [1] = self->ipc;
    self->binds [2] = "tcp://127.0.0.1:*";
    if (hops == 2)
        self->worker = zactor_new (s_worker, self);
    self->broker = zactor_new (s_broker, self);
    for (size_t via = 0; via < GPB_BENCH_ENDPOINTS; via++)
        self->clients [via] = gpb_bench_dealer (self->bound [via]);
}

void
gpb_bench_echo_stop (gpb_bench_echo_t *self)
{
    for (size_t via = 0; via < GPB_BENCH_ENDPOINTS; via++)
        zsock_destroy (&self->clients [via]);
    zactor_destroy (&self->broker);
    zactor_destroy (&self->worker);
}
