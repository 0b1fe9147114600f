//  Tests of what a carrier does to a router's messages on their way in and out.

#include "gpb_clock.h"
#include "gpb_router.h"
#include "gpb_test.h"

#include <czmq.h>

#define PATIENCE_MS 20000

static gpb_error_t error;

//  Drops what says "drop", and puts a payload behind what is sent.
static bool
s_unpack (void *context, gpb_message_t *message)
{
    ++*(unsigned *) context;
    return zmq_msg_size (&message->header) != 4;
}

static void
s_pack (void *context, gpb_message_t *message)
{
    *(unsigned *) context += 100;
    zmq_msg_t payload;
    zmq_msg_init_size (&payload, 7);
    ck_assert_ok (gpb_message_add (message, &payload, &error));
}

//  The next message within the test's patience, and where it came from.
static gpb_connection_t *
s_hear (gpb_router_t *router, gpb_message_t *message)
{
    uint64_t end_ns = gpb_clock_ns () + PATIENCE_MS * GPB_NS_PER_MS;
    gpb_connection_t *connection = NULL;
    while (gpb_router_recv (router, message, &connection, &error) == GPB_UNAVAILABLE) {
        ck_assert_msg (gpb_clock_ns () < end_ns, "no message came");
        zmq_pollitem_t item = { gpb_router_socket (router), 0, ZMQ_POLLIN, 0 };
        zmq_poll (&item, 1, 100);
    }
    return connection;
}

START_TEST (test_messages_go_through_a_carrier)
{
    unsigned calls = 0;
    const gpb_carrier_t carrier = { &calls, s_unpack, s_pack };
    const gpb_router_options_t options = { .max_frame_size = 1 << 20,
                                           .reply_high_water = 1000,
                                           .reply_max_size = 1 << 20,
                                           .lease_ms = 60000 };
    char endpoint [64];
    gpb_router_t *router = gpb_router_new (&options, &error);
    ck_assert_msg (router != NULL, "%s", error.text);
    ck_assert_ok (gpb_router_bind (router, "inproc://carried", endpoint, sizeof endpoint, &error));
    gpb_router_set_carrier (router, &carrier);
    zsock_t *dealer = zsock_new (ZMQ_DEALER);
    ck_assert_int_eq (zsock_connect (dealer, "inproc://carried"), 0);
    zsock_send (dealer, "zs", "drop");
    zsock_send (dealer, "zs", "keep it");
    gpb_message_t message;
    gpb_message_init (&message);
    gpb_connection_t *connection = s_hear (router, &message);
    ck_assert_uint_eq (zmq_msg_size (&message.header), 7);
    ck_assert_uint_eq (calls, 2);
    ck_assert (gpb_router_send (router, connection, &message));
    ck_assert_uint_eq (calls, 102);
    gpb_message_t reply;
    gpb_message_init (&reply);
    zmq_pollitem_t item = { zsock_resolve (dealer), 0, ZMQ_POLLIN, 0 };
    ck_assert_int_eq (zmq_poll (&item, 1, PATIENCE_MS), 1);
    ck_assert_ok (gpb_message_recv (&reply, zsock_resolve (dealer), &error));
    ck_assert_uint_eq (reply.payloads_count, 1);
    gpb_message_clear (&reply);
    gpb_message_clear (&message);
    zsock_destroy (&dealer);
    gpb_router_destroy (&router, 0);
}
END_TEST

GPB_TEST_MAIN ("gpb_router_carrier", 30, test_messages_go_through_a_carrier)
