//  gpb_test_router - a stand-in for a node, to try a client on
//
//  A ROUTER that reads requests with gpb_message and answers them as the test likes, one call at a
//  time, so that a test says when a node is there, what it answers and when it is lost. Nothing
//  waits longer than 20 s: then the test fails. One thread.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_TEST_ROUTER_H_INCLUDED
#define GPB_TEST_ROUTER_H_INCLUDED

#include "gpb_client.h"
#include "gpb_codec.h"
#include "gpb_test.h"

typedef struct {
    void *context;
    void *router;
    gpb_codec_t *codec;
    gpb_message_t message;              //  the one taken last
    const Gpb__V1__Request *request;    //  its header
    char endpoint [128];
} gpb_test_router_t;

//  On a free port of the loopback, in a context of its own.
void gpb_test_router_open (gpb_test_router_t *self);
void gpb_test_router_close (gpb_test_router_t *self);

//  Binds a new socket (the context and the codec are there), after the old one was closed.
void gpb_test_router_bind (gpb_test_router_t *self, const char *endpoint);

//  Whether a request came. Sets self->request.
bool gpb_test_router_recv (gpb_test_router_t *self);

//  The next request, while the client (may be NULL) is looked after; no reply may come meanwhile.
void gpb_test_router_take (gpb_test_router_t *self, gpb_client_t *client);

//  Answers the request in self->message with this id and status, and its own payloads.
void gpb_test_router_answer (gpb_test_router_t *self, uint64_t id, gpb_status_t status);

//  Answers with any header; its version is filled in.
void gpb_test_router_reply (gpb_test_router_t *self, Gpb__V1__Reply *reply);

//  Refuses, RESOURCE_EXHAUSTED: "no room", and when it is worth asking again.
void gpb_test_router_refuse (gpb_test_router_t *self, uint64_t id, uint32_t retry_after_ms);

//  A message of raw frames to whoever sent the last request.
void gpb_test_router_send_raw (gpb_test_router_t *self, const char *const *frames,
                               const size_t *sizes, size_t count);

//  ---------------------------------------------------------------------------------------------------------
//  The client

gpb_client_t *gpb_test_router_client (const char *endpoint);

//  Sends; the id.
uint64_t gpb_test_send_request (gpb_client_t *client, gpb_request_t *request);

//  The next reply must be this one.
void gpb_test_expect_reply (gpb_client_t *client, uint64_t id, gpb_status_t status);

#endif
