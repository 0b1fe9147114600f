//  Tests of gpb_message: every message is read to its end, and what is out of bounds is refused.

#include "gpb_test.h"

#include "gpb_message.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static void *s_context;
static void *s_router;
static void *s_dealer;
static gpb_error_t error;

static void
s_open (int hwm)
{
    int on = 1;
    s_context = zmq_ctx_new ();
    s_router = zmq_socket (s_context, ZMQ_ROUTER);
    s_dealer = zmq_socket (s_context, ZMQ_DEALER);
    zmq_setsockopt (s_router, ZMQ_ROUTER_MANDATORY, &on, sizeof on);
    zmq_setsockopt (s_router, ZMQ_SNDHWM, &hwm, sizeof hwm);
    zmq_setsockopt (s_dealer, ZMQ_RCVHWM, &hwm, sizeof hwm);
    zmq_setsockopt (s_dealer, ZMQ_ROUTING_ID, "me", 2);
    ck_assert_int_eq (zmq_bind (s_router, "inproc://message"), 0);
    ck_assert_int_eq (zmq_connect (s_dealer, "inproc://message"), 0);
}

static void
s_close (void)
{
    int linger = 0;
    zmq_setsockopt (s_dealer, ZMQ_LINGER, &linger, sizeof linger);
    zmq_close (s_dealer);
    zmq_close (s_router);
    zmq_ctx_term (s_context);
}

//  Sends count frames of these sizes from the dealer.
static void
s_send_frames (const size_t *sizes, size_t count)
{
    for (size_t index = 0; index < count; index++) {
        void *data = calloc (1, sizes [index] + 1);
        ck_assert_int_ge (zmq_send (s_dealer, data, sizes [index],
                                    index + 1 < count ? ZMQ_SNDMORE : 0),
                          0);
        free (data);
    }
}

static void
s_frame (zmq_msg_t *frame, const char *text)
{
    zmq_msg_init_size (frame, strlen (text));
    memcpy (zmq_msg_data (frame), text, strlen (text));
}

static void
s_set_header (gpb_message_t *message, const char *text)
{
    zmq_msg_t frame;
    s_frame (&frame, text);
    zmq_msg_move (&message->header, &frame);
    zmq_msg_close (&frame);
}

START_TEST (test_what_is_sent_comes_back_the_way_it_came)
{
    s_open (10);
    gpb_message_t message;
    gpb_message_init (&message);
    s_set_header (&message, "header");
    zmq_msg_t payload;
    s_frame (&payload, "payload");
    ck_assert_ok (gpb_message_add (&message, &payload, &error));
    zmq_msg_close (&payload);
    ck_assert_ok (gpb_message_send (&message, s_dealer, &error));
    ck_assert_uint_eq (message.payloads_count, 0);

    ck_assert_ok (gpb_message_recv (&message, s_router, &error));
    ck_assert_uint_eq (message.envelope_count, 1);
    ck_assert_mem_eq (zmq_msg_data (&message.envelope [0]), "me", 2);
    ck_assert_mem_eq (zmq_msg_data (&message.header), "header", 6);
    ck_assert_uint_eq (message.payloads_count, 1);
    ck_assert_uint_eq (gpb_message_payload_size (&message), 7);
    ck_assert_ok (gpb_message_send (&message, s_router, &error));

    ck_assert_ok (gpb_message_recv (&message, s_dealer, &error));
    ck_assert_uint_eq (message.envelope_count, 0);
    ck_assert_mem_eq (zmq_msg_data (&message.header), "header", 6);
    ck_assert_mem_eq (zmq_msg_data (&message.payloads [0]), "payload", 7);
    ck_assert_refused (gpb_message_recv (&message, s_dealer, &error), GPB_UNAVAILABLE,
                       "no message");
    ck_assert_uint_eq (message.payloads_count, 0);
    gpb_message_clear (&message);
    s_close ();
}
END_TEST

START_TEST (test_a_plain_req_socket_is_a_valid_client)
{
    s_open (10);
    int on = 1;
    void *req = zmq_socket (s_context, ZMQ_REQ);
    zmq_setsockopt (req, ZMQ_REQ_CORRELATE, &on, sizeof on);
    ck_assert_int_eq (zmq_connect (req, "inproc://message"), 0);
    ck_assert_int_eq (zmq_send (req, "hi", 2, 0), 2);
    gpb_message_t message;
    gpb_message_init (&message);
    ck_assert_ok (gpb_message_recv (&message, s_router, &error));
    ck_assert_uint_eq (message.envelope_count, 2);
    ck_assert_ok (gpb_message_send (&message, s_router, &error));
    char answer [2];
    ck_assert_int_eq (zmq_recv (req, answer, 2, 0), 2);
    ck_assert_mem_eq (answer, "hi", 2);
    gpb_message_clear (&message);
    zmq_close (req);
    s_close ();
}
END_TEST

//  What a DEALER sends (the ROUTER puts its identity in front), and what becomes of it.
typedef struct {
    size_t sizes [48];
    size_t count;
    size_t repeat;          //  the last size again, this many times
    const char *refusal;    //  part of the sentence; NULL: it is good
    size_t envelope_count;
    size_t payloads_count;
} s_case_t;

static const s_case_t s_cases [] = {
    { { 0, 5 }, 2, 0, NULL, 1, 0 },
    { { 0, 0 }, 2, 0, NULL, 1, 0 },
    { { 0, 5, 0, 7 }, 4, 0, NULL, 1, 2 },
    { { 255, 0, 5 }, 3, 0, NULL, 2, 0 },
    { { 1, 1, 1, 1, 1, 1, 1, 0, 5 }, 9, 0, NULL, 8, 0 },
    { { 0, GPB_HEADER_MAX_SIZE }, 2, 0, NULL, 1, 0 },
    { { 0, 5, 1 }, 3, 31, NULL, 1, 32 },
    { { 0, 5, 1 }, 3, 32, "more than 32 payload frames", 1, 0 },
    { { 0, 5, 1 }, 3, 5000, "more than 32 payload frames", 1, 0 },
    { { 1, 1, 1, 1, 1, 1, 1, 1, 0, 5 }, 10, 0, "more than 8 frames", 0, 0 },
    { { 1 }, 1, 5000, "more than 8 frames", 0, 0 },
    { { 256, 0, 5 }, 3, 0, "envelope frame of 256 bytes", 0, 0 },
    { { 20000000, 0, 5 }, 3, 0, "envelope frame of 20000000 bytes", 0, 0 },
    { { 5 }, 1, 0, "no empty frame", 0, 0 },
    { { 0 }, 1, 0, "no header frame", 1, 0 },
    { { 1, 0 }, 2, 0, "no header frame", 2, 0 },
    { { 0, GPB_HEADER_MAX_SIZE + 1 }, 2, 0, "header of 65537 bytes", 1, 0 },
    { { 0, 1048576, 3, 3, 3 }, 5, 0, "header of 1048576 bytes", 1, 0 },
};

START_TEST (test_a_message_out_of_bounds_is_read_to_its_end_and_refused)
{
    s_open (0);
    gpb_message_t message;
    gpb_message_init (&message);
    for (size_t index = 0; index < sizeof s_cases / sizeof s_cases [0]; index++) {
        const s_case_t *item = &s_cases [index];
        size_t count = item->count + item->repeat;
        size_t *sizes = calloc (count, sizeof *sizes);
        for (size_t at = 0; at < count; at++)
            sizes [at] = item->sizes [at < item->count ? at : item->count - 1];
        s_send_frames (sizes, count);
        s_send_frames ((const size_t []){ 0, 3 }, 2);
        free (sizes);
        gpb_status_t status = gpb_message_recv (&message, s_router, &error);
        if (item->refusal) {
            ck_assert_int_eq (status, GPB_INVALID_ARGUMENT);
            ck_assert_msg (strstr (error.text, item->refusal) != NULL, "case %zu: %s", index,
                           error.text);
            ck_assert_uint_eq (zmq_msg_size (&message.header), 0);
        }
        else
            ck_assert_msg (status == GPB_OK, "case %zu: %s", index, error.text);
        ck_assert_uint_eq (message.envelope_count, item->envelope_count);
        ck_assert_uint_eq (message.payloads_count, item->payloads_count);
        ck_assert_ok (gpb_message_recv (&message, s_router, &error));
        ck_assert_uint_eq (zmq_msg_size (&message.header), 3);
        ck_assert_refused (gpb_message_recv (&message, s_router, &error), GPB_UNAVAILABLE, "");
    }
    gpb_message_clear (&message);
    s_close ();
}
END_TEST

START_TEST (test_a_message_that_cannot_be_sent_stays_whole)
{
    s_open (1);
    gpb_message_t message, next;
    gpb_message_init (&message);
    gpb_message_init (&next);
    s_send_frames ((const size_t []){ 0, 3 }, 2);
    ck_assert_ok (gpb_message_recv (&message, s_router, &error));
    zmq_msg_t payload;
    s_frame (&payload, "kept");
    ck_assert_ok (gpb_message_add (&message, &payload, &error));
    zmq_msg_close (&payload);

    //  Until the pipe to the dealer is full.
    gpb_status_t status = GPB_OK;
    for (int count = 0; status == GPB_OK && count < 1000; count++) {
        zmq_msg_init (&next.envelope [0]);
        zmq_msg_copy (&next.envelope [0], &message.envelope [0]);
        next.envelope_count = 1;
        status = gpb_message_send (&next, s_router, &error);
    }
    ck_assert_int_eq (status, GPB_RESOURCE_EXHAUSTED);
    ck_assert_uint_eq (next.envelope_count, 1);
    ck_assert_refused (gpb_message_send (&message, s_router, &error), GPB_RESOURCE_EXHAUSTED,
                       "wait to be sent");
    ck_assert_uint_eq (message.envelope_count, 1);
    ck_assert_uint_eq (message.payloads_count, 1);
    ck_assert_mem_eq (zmq_msg_data (&message.payloads [0]), "kept", 4);

    zmq_msg_close (&message.envelope [0]);
    s_frame (&message.envelope [0], "nobody");
    ck_assert_refused (gpb_message_send (&message, s_router, &error), GPB_UNAVAILABLE,
                       "not connected");
    ck_assert_uint_eq (message.payloads_count, 1);
    gpb_message_clear (&message);
    gpb_message_clear (&next);
    s_close ();
}
END_TEST

START_TEST (test_moving_takes_everything_and_leaves_nothing)
{
    gpb_message_t source, target;
    gpb_message_init (&source);
    gpb_message_init (&target);
    s_set_header (&source, "new");
    s_set_header (&target, "old");
    zmq_msg_t payload;
    s_frame (&payload, "a payload longer than a small message is, so that it has a heap block");
    ck_assert_ok (gpb_message_add (&source, &payload, &error));
    ck_assert_uint_eq (zmq_msg_size (&payload), 0);
    ck_assert_ok (gpb_message_add (&target, &payload, &error));
    const void *data = zmq_msg_data (&source.payloads [0]);
    gpb_message_move (&target, &source);
    ck_assert_ptr_eq (zmq_msg_data (&target.payloads [0]), data);
    ck_assert_uint_eq (target.payloads_count, 1);
    ck_assert_mem_eq (zmq_msg_data (&target.header), "new", 3);
    ck_assert_uint_eq (source.payloads_count, 0);
    ck_assert_uint_eq (zmq_msg_size (&source.header), 0);
    gpb_message_clear (&source);
    gpb_message_clear (&target);
}
END_TEST

static void
s_count_free (void *data, void *hint)
{
    (void) data;
    atomic_fetch_add ((atomic_int *) hint, 1);
}

START_TEST (test_a_payload_is_freed_once_and_never_copied)
{
    static char block [100000];
    static atomic_int frees;
    s_open (10);
    gpb_message_t message;
    gpb_message_init (&message);
    zmq_msg_t payload;
    zmq_msg_init_data (&payload, block, sizeof block, s_count_free, &frees);
    ck_assert_ok (gpb_message_add (&message, &payload, &error));
    zmq_msg_close (&payload);
    ck_assert_ok (gpb_message_send (&message, s_dealer, &error));
    ck_assert_int_eq (frees, 0);
    ck_assert_ok (gpb_message_recv (&message, s_router, &error));
    ck_assert_ptr_eq (zmq_msg_data (&message.payloads [0]), block);
    gpb_message_clear (&message);
    ck_assert_int_eq (frees, 1);
    s_close ();
}
END_TEST

START_TEST (test_there_is_room_for_32_payloads_and_no_more)
{
    gpb_message_t message;
    gpb_message_init (&message);
    zmq_msg_t payload;
    for (int count = 0; count < GPB_PAYLOADS_MAX; count++) {
        s_frame (&payload, "x");
        ck_assert_ok (gpb_message_add (&message, &payload, &error));
        zmq_msg_close (&payload);
    }
    s_frame (&payload, "x");
    ck_assert_refused (gpb_message_add (&message, &payload, &error), GPB_RESOURCE_EXHAUSTED, "32");
    ck_assert_uint_eq (zmq_msg_size (&payload), 1);
    zmq_msg_close (&payload);
    gpb_message_clear (&message);
}
END_TEST

GPB_TEST_MAIN ("gpb_message", 20, test_what_is_sent_comes_back_the_way_it_came,
               test_a_plain_req_socket_is_a_valid_client,
               test_a_message_out_of_bounds_is_read_to_its_end_and_refused,
               test_a_message_that_cannot_be_sent_stays_whole,
               test_moving_takes_everything_and_leaves_nothing,
               test_a_payload_is_freed_once_and_never_copied,
               test_there_is_room_for_32_payloads_and_no_more)
