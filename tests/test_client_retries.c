//  Tests of gpb_client_set_retries: what a node had no room for is sent again in time, what is
//  idempotent outlives its connection, and every request is answered exactly once all the same.

#include "gpb_test_router.h"

#include "gpb_client_internal.h"
#include "gpb_clock.h"

#include <stdatomic.h>

static gpb_error_t error;

//  Connected, so that no time goes by before the first request leaves.
static gpb_client_t *
s_connected (gpb_test_router_t *node, uint32_t retries)
{
    gpb_client_t *client = gpb_test_router_client (node->endpoint);
    uint64_t id = gpb_test_send_request (client, gpb_request_hello ());
    gpb_test_router_take (node, client);
    gpb_test_router_answer (node, id, GPB_OK);
    gpb_test_expect_reply (client, id, GPB_OK);
    gpb_client_set_retries (client, retries);
    return client;
}

//  Takes the request of this id once more. When that was, in ns.
static uint64_t
s_take_again (gpb_test_router_t *node, gpb_client_t *client, uint64_t id)
{
    gpb_test_router_take (node, client);
    ck_assert_int_eq (node->request->body_case, GPB__V1__REQUEST__BODY_EXECUTE);
    ck_assert_uint_eq (node->request->id, id);
    ck_assert_uint_eq (gpb_client_in_flight (client), 1);
    return gpb_clock_ns ();
}

static gpb_request_t *
s_request (uint32_t timeout_ms)
{
    gpb_request_t *request = gpb_request_execute ("a");
    gpb_request_in (request, "payload", 7);
    gpb_request_set_timeout (request, timeout_ms);
    return request;
}

START_TEST (test_without_retries_a_refusal_is_the_answer)
{
    gpb_test_router_t node;
    gpb_test_router_open (&node);
    gpb_client_t *client = s_connected (&node, 0);
    uint64_t id = gpb_test_send_request (client, s_request (15000));
    gpb_test_router_take (&node, client);
    gpb_test_router_refuse (&node, id, 7);
    gpb_reply_t *reply = gpb_client_recv (client, 20000);
    ck_assert_ptr_nonnull (reply);
    ck_assert_int_eq (gpb_reply_status (reply), GPB_RESOURCE_EXHAUSTED);
    ck_assert_uint_eq (gpb_reply_retry_after_ms (reply), 7);
    ck_assert_str_eq (gpb_reply_message (reply), "no room");
    gpb_reply_destroy (&reply);
    gpb_client_destroy (&client);
    gpb_test_router_close (&node);
}
END_TEST

START_TEST (test_a_refused_request_is_sent_again_after_the_time_that_the_node_says)
{
    gpb_test_router_t node;
    gpb_test_router_open (&node);
    gpb_client_t *client = s_connected (&node, 5);
    uint64_t id = gpb_test_send_request (client, s_request (15000));
    s_take_again (&node, client, id);
    gpb_test_router_refuse (&node, id, 60);
    uint64_t refused_ns = gpb_clock_ns ();
    uint64_t again_ns = s_take_again (&node, client, id);
    ck_assert_uint_ge (again_ns - refused_ns, 60 * GPB_NS_PER_MS);
    //  What it has waited already is not the node's to give; its payload came along.
    ck_assert_uint_le (node.request->timeout_ms, 14940);
    ck_assert_uint_eq (node.message.payloads_count, 1);
    ck_assert_mem_eq (zmq_msg_data (&node.message.payloads [0]), "payload", 7);
    //  Refused again: twice as long.
    gpb_test_router_refuse (&node, id, 60);
    refused_ns = gpb_clock_ns ();
    again_ns = s_take_again (&node, client, id);
    ck_assert_uint_ge (again_ns - refused_ns, 120 * GPB_NS_PER_MS);
    gpb_test_router_answer (&node, id, GPB_OK);
    gpb_reply_t *reply = gpb_client_recv (client, 20000);
    ck_assert_ptr_nonnull (reply);
    ck_assert_uint_eq (gpb_reply_id (reply), id);
    ck_assert_int_eq (gpb_reply_status (reply), GPB_OK);
    ck_assert_uint_ge (gpb_reply_round_trip_ns (reply), 180 * GPB_NS_PER_MS);
    gpb_reply_destroy (&reply);
    ck_assert_ptr_null (gpb_client_recv (client, 0));
    gpb_client_destroy (&client);
    gpb_test_router_close (&node);
}
END_TEST

START_TEST (test_the_wait_is_known_to_the_poller)
{
    gpb_test_router_t node;
    gpb_test_router_open (&node);
    gpb_client_t *client = s_connected (&node, 1);
    uint64_t id = gpb_test_send_request (client, s_request (15000));
    gpb_test_router_take (&node, client);
    gpb_test_router_refuse (&node, id, 1);
    uint64_t end_ns = gpb_clock_ns () + 20 * GPB_NS_PER_S;
    do {
        ck_assert_uint_lt (gpb_clock_ns (), end_ns);
        zmq_pollitem_t item = { zsock_resolve (gpb_client_socket (client)), 0, ZMQ_POLLIN, 0 };
        zmq_poll (&item, 1, gpb_client_next_timeout (client));
        ck_assert_ptr_null (gpb_client_recv (client, 0));
        //  The wait is 1.25 ms at the most, where an idle client would be looked at after 100.
    } while (gpb_client_next_timeout (client) > 2);
    gpb_test_router_take (&node, client);
    ck_assert_uint_eq (node.request->id, id);
    gpb_test_router_answer (&node, id, GPB_OK);
    gpb_test_expect_reply (client, id, GPB_OK);
    gpb_client_destroy (&client);
    gpb_test_router_close (&node);
}
END_TEST

START_TEST (test_as_many_times_as_was_said_and_no_more)
{
    gpb_test_router_t node;
    gpb_test_router_open (&node);
    gpb_client_t *client = s_connected (&node, 3);
    uint64_t id = gpb_test_send_request (client, s_request (15000));
    for (int count = 0; count <= 3; count++) {
        s_take_again (&node, client, id);
        gpb_test_router_refuse (&node, id, 1);
    }
    gpb_test_expect_reply (client, id, GPB_RESOURCE_EXHAUSTED);
    ck_assert_ptr_null (gpb_client_recv (client, 20));
    ck_assert (!gpb_test_router_recv (&node));
    gpb_client_destroy (&client);
    gpb_test_router_close (&node);
}
END_TEST

START_TEST (test_only_a_refusal_that_says_when_is_waited_out)
{
    gpb_test_router_t node;
    gpb_test_router_open (&node);
    gpb_client_t *client = s_connected (&node, 5);
    uint64_t id = gpb_test_send_request (client, s_request (15000));
    gpb_test_router_take (&node, client);
    gpb_test_router_refuse (&node, id, 0);
    gpb_test_expect_reply (client, id, GPB_RESOURCE_EXHAUSTED);
    //  Not before its time is over: the refusal is the better answer.
    id = gpb_test_send_request (client, s_request (2000));
    gpb_test_router_take (&node, client);
    gpb_test_router_refuse (&node, id, 2000);
    uint64_t refused_ns = gpb_clock_ns ();
    gpb_test_expect_reply (client, id, GPB_RESOURCE_EXHAUSTED);
    ck_assert_uint_lt (gpb_clock_ns () - refused_ns, 1900 * GPB_NS_PER_MS);
    gpb_client_destroy (&client);
    gpb_test_router_close (&node);
}
END_TEST

START_TEST (test_who_calls_too_late_gets_the_refusal)
{
    gpb_test_router_t node;
    gpb_test_router_open (&node);
    gpb_client_t *client = s_connected (&node, 5);
    uint64_t id = gpb_test_send_request (client, s_request (400));
    gpb_test_router_take (&node, client);
    gpb_test_router_refuse (&node, id, 50);
    uint64_t end_ns = gpb_clock_ns () + 400 * GPB_NS_PER_MS;
    //  Until the refusal is read: from then on the next thing to do is to send it again.
    do {
        ck_assert_uint_lt (gpb_clock_ns (), end_ns);
        ck_assert_ptr_null (gpb_client_recv (client, 0));
    } while (gpb_client_next_timeout (client) > 63);
    while (gpb_clock_ns () < end_ns)
        zmq_poll (NULL, 0, 1);
    gpb_test_expect_reply (client, id, GPB_RESOURCE_EXHAUSTED);
    ck_assert (!gpb_test_router_recv (&node));
    gpb_client_destroy (&client);
    gpb_test_router_close (&node);
}
END_TEST

START_TEST (test_a_request_that_waits_can_be_cancelled)
{
    gpb_test_router_t node;
    gpb_test_router_open (&node);
    gpb_client_t *client = s_connected (&node, 5);
    uint64_t id = gpb_test_send_request (client, s_request (20000));
    gpb_test_router_take (&node, client);
    gpb_test_router_refuse (&node, id, 10000);
    //  The refusal comes before the answer to this, so it has been read when that is.
    uint64_t other = gpb_test_send_request (client, gpb_request_stats ());
    gpb_test_router_take (&node, client);
    gpb_test_router_answer (&node, other, GPB_OK);
    gpb_test_expect_reply (client, other, GPB_OK);
    ck_assert_uint_eq (gpb_client_in_flight (client), 1);
    ck_assert_ok (gpb_client_cancel (client, id, &error));
    gpb_reply_t *reply = gpb_client_recv (client, 0);
    ck_assert_ptr_nonnull (reply);
    ck_assert_uint_eq (gpb_reply_id (reply), id);
    ck_assert_int_eq (gpb_reply_status (reply), GPB_CANCELLED);
    ck_assert_str_eq (gpb_reply_message (reply),
                      "the request was cancelled before it was sent again");
    ck_assert_uint_eq (gpb_reply_retry_after_ms (reply), 0);
    gpb_reply_destroy (&reply);
    ck_assert_uint_eq (gpb_client_in_flight (client), 0);
    gpb_client_destroy (&client);
    gpb_test_router_close (&node);
}
END_TEST

START_TEST (test_a_refusal_that_crosses_a_cancel_is_the_answer)
{
    gpb_test_router_t node;
    gpb_test_router_open (&node);
    gpb_client_t *client = s_connected (&node, 5);
    uint64_t id = gpb_test_send_request (client, s_request (15000));
    gpb_test_router_take (&node, client);
    gpb_message_t taken;
    gpb_message_init (&taken);
    gpb_message_move (&taken, &node.message);
    ck_assert_ok (gpb_client_cancel (client, id, &error));
    gpb_test_router_take (&node, client);
    ck_assert_int_eq (node.request->body_case, GPB__V1__REQUEST__BODY_CANCEL);
    gpb_message_move (&node.message, &taken);
    gpb_test_router_refuse (&node, id, 1);
    gpb_test_expect_reply (client, id, GPB_RESOURCE_EXHAUSTED);
    ck_assert (!gpb_test_router_recv (&node));
    gpb_client_destroy (&client);
    gpb_test_router_close (&node);
}
END_TEST

START_TEST (test_what_is_idempotent_outlives_its_connection)
{
    gpb_test_router_t node;
    gpb_test_router_open (&node);
    char endpoint [128];
    memcpy (endpoint, node.endpoint, sizeof endpoint);
    gpb_client_t *client = s_connected (&node, 2);
    gpb_request_t *request = s_request (15000);
    gpb_request_set_idempotent (request);
    uint64_t kept = gpb_test_send_request (client, request);
    uint64_t lost = gpb_test_send_request (client, gpb_request_stats ());
    gpb_test_router_take (&node, client);
    ck_assert (node.request->idempotent);
    gpb_test_router_take (&node, client);
    ck_assert (!node.request->idempotent);
    zmq_close (node.router);
    gpb_test_expect_reply (client, lost, GPB_UNAVAILABLE);
    ck_assert_uint_eq (gpb_client_in_flight (client), 1);
    for (int count = 0; count < 2; count++) {
        gpb_test_router_bind (&node, endpoint);
        s_take_again (&node, client, kept);
        ck_assert (node.request->idempotent);
        ck_assert_uint_eq (node.message.payloads_count, 1);
        if (count == 0)
            zmq_close (node.router);
    }
    gpb_test_router_answer (&node, kept, GPB_OK);
    gpb_test_expect_reply (client, kept, GPB_OK);
    ck_assert_ptr_null (gpb_client_recv (client, 0));
    gpb_client_destroy (&client);
    gpb_test_router_close (&node);
}
END_TEST

START_TEST (test_a_connection_lost_too_often_is_unavailable)
{
    gpb_test_router_t node;
    gpb_test_router_open (&node);
    char endpoint [128];
    memcpy (endpoint, node.endpoint, sizeof endpoint);
    gpb_client_t *client = s_connected (&node, 1);
    gpb_request_t *request = s_request (15000);
    gpb_request_set_idempotent (request);
    uint64_t id = gpb_test_send_request (client, request);
    s_take_again (&node, client, id);
    zmq_close (node.router);
    gpb_test_router_bind (&node, endpoint);
    s_take_again (&node, client, id);
    zmq_close (node.router);
    gpb_test_expect_reply (client, id, GPB_UNAVAILABLE);
    gpb_test_router_bind (&node, endpoint);
    gpb_client_destroy (&client);
    gpb_test_router_close (&node);
}
END_TEST

static atomic_int s_frees;

static void
s_count_free (void *data, void *hint)
{
    (void) hint;
    free (data);
    atomic_fetch_add (&s_frees, 1);
}

START_TEST (test_a_kept_payload_is_shared_and_let_go_of_with_the_answer)
{
    enum { SIZE = 100000 };
    atomic_store (&s_frees, 0);
    gpb_test_router_t node;
    gpb_test_router_open (&node);
    gpb_client_t *client = s_connected (&node, 2);
    gpb_request_t *request = gpb_request_execute ("a");
    char *data = calloc (1, SIZE);
    data [SIZE - 1] = 'x';
    gpb_request_in_take (request, data, SIZE, s_count_free, NULL);
    uint64_t id = gpb_test_send_request (client, request);
    for (int count = 0; count < 2; count++) {
        s_take_again (&node, client, id);
        ck_assert_int_eq (((char *) zmq_msg_data (&node.message.payloads [0])) [SIZE - 1], 'x');
        ck_assert_int_eq (atomic_load (&s_frees), 0);
        if (count == 0)
            gpb_test_router_refuse (&node, id, 1);
    }
    gpb_test_router_answer (&node, id, GPB_OK);
    gpb_test_expect_reply (client, id, GPB_OK);
    uint64_t end_ns = gpb_clock_ns () + 20 * GPB_NS_PER_S;
    while (atomic_load (&s_frees) < 1) {
        ck_assert_uint_lt (gpb_clock_ns (), end_ns);
        ck_assert_ptr_null (gpb_client_recv (client, 0));
    }
    //  One that waits, or is with the node, when its client goes, goes with it.
    for (int count = 0; count < 2; count++) {
        request = gpb_request_execute ("a");
        gpb_request_in_take (request, calloc (1, SIZE), SIZE, s_count_free, NULL);
        id = gpb_test_send_request (client, request);
        gpb_test_router_take (&node, client);
        if (count == 0)
            gpb_test_router_refuse (&node, id, 5000);
    }
    gpb_client_destroy (&client);
    gpb_test_router_close (&node);
    while (atomic_load (&s_frees) < 3) {
        ck_assert_uint_lt (gpb_clock_ns (), end_ns);
        zmq_poll (NULL, 0, 1);
    }
    ck_assert_int_eq (atomic_load (&s_frees), 3);
}
END_TEST

//  A node that refuses every other one, for ever: every request is answered once, in the end.
START_TEST (test_hundreds_refused_again_and_again_are_answered_once_each)
{
    enum { COUNT = 300 };
    gpb_test_router_t node;
    gpb_test_router_open (&node);
    gpb_client_t *client = s_connected (&node, 100);
    static bool answered [COUNT + 2];
    for (uint64_t count = 0; count < COUNT; count++)
        gpb_test_send_request (client, s_request (30000));
    uint64_t end_ns = gpb_clock_ns () + 30 * GPB_NS_PER_S;
    int refused = 0;
    for (int done = 0, turn = 0; done < COUNT;) {
        ck_assert_uint_lt (gpb_clock_ns (), end_ns);
        while (gpb_test_router_recv (&node))
            if (turn++ % 2 == 0)
                gpb_test_router_answer (&node, node.request->id, GPB_OK);
            else {
                gpb_test_router_refuse (&node, node.request->id, 1);
                refused++;
            }
        for (gpb_reply_t *reply; (reply = gpb_client_recv (client, 1)); done++) {
            ck_assert_int_eq (gpb_reply_status (reply), GPB_OK);
            ck_assert_uint_le (gpb_reply_id (reply), COUNT + 1);
            ck_assert (!answered [gpb_reply_id (reply)]);
            answered [gpb_reply_id (reply)] = true;
            gpb_reply_destroy (&reply);
        }
    }
    ck_assert_int_gt (refused, COUNT / 2);
    ck_assert_uint_eq (gpb_client_in_flight (client), 0);
    ck_assert_uint_eq (gpb_client_ignored (client), 0);
    gpb_client_destroy (&client);
    gpb_test_router_close (&node);
}
END_TEST

GPB_TEST_MAIN ("gpb_client_retries", 40, test_without_retries_a_refusal_is_the_answer,
               test_a_refused_request_is_sent_again_after_the_time_that_the_node_says,
               test_the_wait_is_known_to_the_poller, test_as_many_times_as_was_said_and_no_more,
               test_only_a_refusal_that_says_when_is_waited_out,
               test_who_calls_too_late_gets_the_refusal, test_a_request_that_waits_can_be_cancelled,
               test_a_refusal_that_crosses_a_cancel_is_the_answer,
               test_what_is_idempotent_outlives_its_connection,
               test_a_connection_lost_too_often_is_unavailable,
               test_a_kept_payload_is_shared_and_let_go_of_with_the_answer,
               test_hundreds_refused_again_and_again_are_answered_once_each)
