//  Tests of a client that sends again, against real nodes: one whose queue is full, and one that is
//  killed and started again. (tests/test_client_retries.c has every step of it, against a
//  stand-in.)

#include "gpb_test.h"

#include "gpb_test_node.h"

#include <stdlib.h>
#include <string.h>

#define REQUESTS 120
#define SLEEP_US 2000
#define LONG_SLEEP_US 1000000

static gpb_test_node_t s_node;

static uint64_t
s_exhausted (const Gpb__V1__StatsReply *stats)
{
    return stats->exhausted;
}

//  One device, and a queue that a few requests fill.
static void
s_start (void)
{
    gpb_test_use_fake (1, (uint64_t) 64 << 20);
    gpb_test_node_start (&s_node, "--backends", "fake", "--set", "max_queued_requests=8");
}

static uint64_t
s_send (gpb_client_t *client, gpb_request_t *request)
{
    gpb_error_t error;
    uint64_t id = gpb_client_send (client, &request, &error);
    ck_assert_msg (id != 0, "%s", error.text);
    return id;
}

//  Many requests at once. How many were refused; each of them with a hint.
static unsigned
s_flood (gpb_client_t *client)
{
    unsigned refused = 0;
    for (unsigned number = 0; number < REQUESTS; number++)
        s_send (client, gpb_test_sleep (SLEEP_US));
    for (unsigned number = 0; number < REQUESTS; number++) {
        gpb_reply_t *reply = gpb_client_recv (client, GPB_TEST_PATIENCE_MS);
        ck_assert_ptr_nonnull (reply);
        gpb_status_t status = gpb_reply_status (reply);
        if (status != GPB_OK) {
            refused++;
            ck_assert_msg (status == GPB_RESOURCE_EXHAUSTED, "%s: %s", gpb_status_name (status),
                           gpb_reply_message (reply));
            ck_assert_uint_gt (gpb_reply_retry_after_ms (reply), 0);
        }
        gpb_reply_destroy (&reply);
    }
    ck_assert_ptr_null (gpb_client_recv (client, 0));
    return refused;
}

START_TEST (test_who_does_not_come_back_is_refused_by_a_full_queue_with_a_hint)
{
    s_start ();
    gpb_client_t *client = gpb_test_client (&s_node);
    unsigned refused = s_flood (client);
    ck_assert_uint_gt (refused, 0);
    ck_assert_uint_lt (refused, REQUESTS);
    ck_assert_uint_eq (gpb_test_figure (client, s_exhausted), refused);
    gpb_client_destroy (&client);
    gpb_test_node_stop (&s_node);
}
END_TEST

START_TEST (test_who_comes_back_gets_everything_done_in_spite_of_a_full_queue)
{
    s_start ();
    gpb_client_t *client = gpb_test_client (&s_node);
    gpb_client_set_retries (client, 1000);
    ck_assert_uint_eq (s_flood (client), 0);
    //  It was full, and nothing ran twice.
    ck_assert_uint_gt (gpb_test_figure (client, s_exhausted), 0);
    gpb_reply_t *reply = gpb_test_call_ok (client, gpb_request_stats ());
    const Gpb__V1__StatsReply *stats = gpb_reply_header_peek (reply)->stats;
    ck_assert_uint_eq (stats->devices [0]->load->processed, REQUESTS);
    ck_assert_uint_eq (stats->devices [0]->load->failed, 0);
    gpb_reply_destroy (&reply);
    gpb_client_destroy (&client);
    gpb_test_node_stop (&s_node);
}
END_TEST

//  Both are on the device when the node is killed. What may run twice is done by the next node on
//  that port; what may not is answered at once.
START_TEST (test_what_may_run_twice_outlives_its_node)
{
    s_start ();
    gpb_client_t *client = gpb_test_client (&s_node), *watcher = gpb_test_client (&s_node);
    gpb_client_set_retries (client, 5);
    gpb_request_t *request = gpb_test_sleep (LONG_SLEEP_US);
    gpb_request_set_idempotent (request);
    uint64_t twice = s_send (client, request);
    uint64_t once = s_send (client, gpb_test_sleep (LONG_SLEEP_US));
    gpb_test_wait_figure (watcher, gpb_test_in_flight, 2);
    gpb_client_destroy (&watcher);
    char endpoint [256];
    snprintf (endpoint, sizeof endpoint, "%s", s_node.endpoints [0]);
    gpb_test_node_kill (&s_node);

    gpb_reply_t *reply = gpb_client_recv (client, GPB_TEST_PATIENCE_MS);
    ck_assert_ptr_nonnull (reply);
    ck_assert_uint_eq (gpb_reply_id (reply), once);
    ck_assert_int_eq (gpb_reply_status (reply), GPB_UNAVAILABLE);
    gpb_reply_destroy (&reply);

    gpb_test_node_start (&s_node, "--backends", "fake", "--bind", endpoint);
    reply = gpb_client_recv (client, GPB_TEST_PATIENCE_MS);
    ck_assert_ptr_nonnull (reply);
    ck_assert_uint_eq (gpb_reply_id (reply), twice);
    ck_assert_msg (gpb_reply_status (reply) == GPB_OK, "%s", gpb_reply_message (reply));
    gpb_reply_destroy (&reply);
    ck_assert_ptr_null (gpb_client_recv (client, 0));
    gpb_client_destroy (&client);
    gpb_test_node_stop (&s_node);
}
END_TEST

GPB_TEST_MAIN ("gpb_retries", 60,
               test_who_does_not_come_back_is_refused_by_a_full_queue_with_a_hint,
               test_who_comes_back_gets_everything_done_in_spite_of_a_full_queue,
               test_what_may_run_twice_outlives_its_node)
