//  gpb_test_router - a stand-in for a node, to try a client on
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_test_router.h"

#include "gpb_clock.h"

static _Thread_local gpb_error_t error;    //  stand-ins of one test may have threads of their own

void
gpb_test_router_bind (gpb_test_router_t *self, const char *endpoint)
{
    int linger = 0;
    self->router = zmq_socket (self->context, ZMQ_ROUTER);
    zmq_setsockopt (self->router, ZMQ_LINGER, &linger, sizeof linger);
    int unlimited = 0;
    zmq_setsockopt (self->router, ZMQ_SNDHWM, &unlimited, sizeof unlimited);
    uint64_t end_ns = gpb_clock_ns () + 5 * GPB_NS_PER_S;
    while (zmq_bind (self->router, endpoint) < 0) {
        //  The port of a socket just closed is free a moment later.
        ck_assert_uint_lt (gpb_clock_ns (), end_ns);
        zmq_poll (NULL, 0, 1);
    }
    size_t size = sizeof self->endpoint;
    zmq_getsockopt (self->router, ZMQ_LAST_ENDPOINT, self->endpoint, &size);
}

void
gpb_test_router_open (gpb_test_router_t *self)
{
    self->context = zmq_ctx_new ();
    self->codec = gpb_codec_new (&error);
    gpb_message_init (&self->message);
    gpb_test_router_bind (self, "tcp://127.0.0.1:*");
}

void
gpb_test_router_close (gpb_test_router_t *self)
{
    gpb_message_clear (&self->message);
    gpb_codec_destroy (&self->codec);
    zmq_close (self->router);
    zmq_ctx_term (self->context);
}

bool
gpb_test_router_recv (gpb_test_router_t *self)
{
    if (gpb_message_recv (&self->message, self->router, &error) != GPB_OK)
        return false;
    self->request = gpb_codec_request (self->codec, &self->message.header, NULL, &error);
    ck_assert_msg (self->request != NULL, "%s", error.text);
    return true;
}

void
gpb_test_router_take (gpb_test_router_t *self, gpb_client_t *client)
{
    uint64_t end_ns = gpb_clock_ns () + 20 * GPB_NS_PER_S;
    while (!gpb_test_router_recv (self)) {
        ck_assert_uint_lt (gpb_clock_ns (), end_ns);
        if (client)
            ck_assert_ptr_null (gpb_client_recv (client, 0));
        zmq_pollitem_t item = { self->router, 0, ZMQ_POLLIN, 0 };
        zmq_poll (&item, 1, 5);
    }
}

void
gpb_test_router_reply (gpb_test_router_t *self, Gpb__V1__Reply *reply)
{
    reply->version = GPB_PROTOCOL_VERSION;
    ck_assert_ok (gpb_codec_pack (&reply->base, &self->message.header, &error));
    ck_assert_ok (gpb_message_send (&self->message, self->router, &error));
}

void
gpb_test_router_answer (gpb_test_router_t *self, uint64_t id, gpb_status_t status)
{
    Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
    reply.id = id;
    reply.status = (Gpb__V1__Status) status;
    gpb_test_router_reply (self, &reply);
}

void
gpb_test_router_refuse (gpb_test_router_t *self, uint64_t id, uint32_t retry_after_ms)
{
    Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
    reply.id = id;
    reply.status = GPB__V1__STATUS__RESOURCE_EXHAUSTED;
    reply.message = "no room";
    reply.retry_after_ms = retry_after_ms;
    gpb_test_router_reply (self, &reply);
}

void
gpb_test_router_send_raw (gpb_test_router_t *self, const char *const *frames, const size_t *sizes,
                          size_t count)
{
    zmq_msg_t identity;
    zmq_msg_init (&identity);
    zmq_msg_copy (&identity, &self->message.envelope [0]);
    zmq_msg_send (&identity, self->router, ZMQ_SNDMORE);
    for (size_t index = 0; index < count; index++)
        zmq_send (self->router, frames [index], sizes [index], index + 1 < count ? ZMQ_SNDMORE : 0);
}

gpb_client_t *
gpb_test_router_client (const char *endpoint)
{
    gpb_client_t *client = gpb_client_new (endpoint, &error);
    ck_assert_msg (client != NULL, "%s", error.text);
    return client;
}

uint64_t
gpb_test_send_request (gpb_client_t *client, gpb_request_t *request)
{
    uint64_t id = gpb_client_send (client, &request, &error);
    ck_assert_msg (id != 0, "%s", error.text);
    ck_assert_ptr_null (request);
    return id;
}

void
gpb_test_expect_reply (gpb_client_t *client, uint64_t id, gpb_status_t status)
{
    gpb_reply_t *reply = gpb_client_recv (client, 20000);
    ck_assert_ptr_nonnull (reply);
    ck_assert_msg (gpb_reply_status (reply) == status, "%s: %s",
                   gpb_status_name (gpb_reply_status (reply)), gpb_reply_message (reply));
    ck_assert_uint_eq (gpb_reply_id (reply), id);
    gpb_reply_destroy (&reply);
}
