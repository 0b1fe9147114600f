//  A test of what a request allocates on its way: once a node is warm, nothing of ours beyond the
//  frames themselves.

#include "gpb_test.h"

#include "gpb_alloc.h"
#include "gpb_codec.h"
#include "gpb_test_node.h"

#include <string.h>

#define ENDPOINT "inproc://allocations"
#define WINDOW 16
#define COUNTED_FRAME_SIZE 4096    //  from this size on a reply's frame is counted (gpb_router.c)

static gpb_error_t error;
static zsock_t *s_dealer;

static void
s_send (uint64_t id, const void *header, size_t header_size, size_t floats)
{
    gpb_message_t message;
    gpb_message_init (&message);
    zmq_msg_close (&message.header);
    zmq_msg_init_size (&message.header, header_size);
    memcpy (zmq_msg_data (&message.header), header, header_size);
    ck_assert_ok (gpb_codec_append (&message.header, 2, id, &error));
    for (int payload = 0; payload < 2; payload++) {
        zmq_msg_t frame;
        zmq_msg_init_size (&frame, floats * sizeof (float));
        memset (zmq_msg_data (&frame), 0, floats * sizeof (float));
        ck_assert_ok (gpb_message_add (&message, &frame, &error));
        zmq_msg_close (&frame);
    }
    ck_assert_ok (gpb_message_send (&message, zsock_resolve (s_dealer), &error));
}

//  So many requests, WINDOW of them in flight.
static void
s_run (size_t count, const void *header, size_t header_size, size_t floats)
{
    gpb_message_t message;
    gpb_message_init (&message);
    size_t sent = 0, received = 0;
    while (received < count) {
        for (; sent < count && sent - received < WINDOW; sent++)
            s_send (sent + 1, header, header_size, floats);
        zmq_pollitem_t item = { zsock_resolve (s_dealer), 0, ZMQ_POLLIN, 0 };
        ck_assert_int_eq (zmq_poll (&item, 1, GPB_TEST_PATIENCE_MS), 1);
        ck_assert_ok (gpb_message_recv (&message, item.socket, &error));
        gpb_status_t status;
        bool has_memory;
        uint64_t memory;
        ck_assert (gpb_codec_peek_reply (&message.header, &status, &has_memory, &memory));
        ck_assert_int_eq (status, GPB_OK);
        ck_assert_uint_eq (message.payloads_count, 1);
        received++;
    }
    gpb_message_clear (&message);
}

//  Allocations of ours in this process while `count` requests of so many floats are served.
static uint64_t
s_allocations (size_t count, size_t floats)
{
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Execute execute = GPB__V1__EXECUTE__INIT;
    Gpb__V1__Argument arguments [4], *list [4];
    Gpb__V1__Output output = GPB__V1__OUTPUT__INIT;
    for (int index = 0; index < 4; index++) {
        gpb__v1__argument__init (&arguments [index]);
        list [index] = &arguments [index];
    }
    for (uint32_t index = 0; index < 2; index++) {
        arguments [index].value_case = GPB__V1__ARGUMENT__VALUE_FRAME;
        arguments [index].frame = index;
    }
    arguments [2].value_case = GPB__V1__ARGUMENT__VALUE_OUTPUT;
    arguments [2].output = &output;
    arguments [3].value_case = GPB__V1__ARGUMENT__VALUE_I32;
    arguments [3].i32 = (int32_t) floats;
    request.version = GPB_PROTOCOL_VERSION;
    request.body_case = GPB__V1__REQUEST__BODY_EXECUTE;
    request.execute = &execute;
    execute.kernel = (char *) "vector_add";
    execute.arguments = list;
    execute.n_arguments = 4;
    unsigned char header [256];
    size_t size = gpb__v1__request__get_packed_size (&request);
    ck_assert_uint_le (size, sizeof header);
    gpb__v1__request__pack (&request, header);

    s_run (4 * count, header, size, floats);    //  tables grow, lists of spare records fill
    gpb_alloc_fail (-1, 0);
    s_run (count, header, size, floats);
    return gpb_alloc_fail (-1, 0);
}

START_TEST (test_a_warm_node_allocates_nothing_for_a_request)
{
    enum { COUNT = 400 };
    gpb_test_node_t node;
    gpb_test_node_compose (&node, ENDPOINT, "backends", "opencl");
    s_dealer = zsock_new (ZMQ_DEALER);
    zsock_set_unbounded (s_dealer);
    ck_assert_int_eq (zsock_connect (s_dealer, ENDPOINT), 0);

    //  A device is asked for its figures once a second, for which a table is allocated.
    const uint64_t figures = COUNT / 20;
    ck_assert_uint_le (s_allocations (COUNT, 256), figures);
    //  A larger result is in a frame that is counted off when its client has taken it.
    size_t floats = COUNTED_FRAME_SIZE / sizeof (float);
    uint64_t allocations = s_allocations (COUNT, floats);
    ck_assert_uint_ge (allocations, COUNT);
    ck_assert_uint_le (allocations, COUNT + figures);
    zsock_destroy (&s_dealer);
    gpb_test_node_stop (&node);
}
END_TEST

GPB_TEST_MAIN ("allocations", 60, test_a_warm_node_allocates_nothing_for_a_request)
