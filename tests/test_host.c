//  Tests of gpb_host: a kernel host's life. What it does with messages, lanes, kernels and its own
//  figures stands in test_host_work, test_host_lanes, test_host_kernels and test_host_report.

#include "gpb_test.h"

#include "gpb_histogram.h"
#include "gpb_test_device.h"
#include "gpb_test_host.h"

static gpb_test_host_t s_host;

START_TEST (test_a_host_that_stops_answers_what_it_has)
{
    gpb_test_host_fake (&s_host, NULL);
    uint64_t ids [8];
    for (int count = 0; count < 8; count++)
        ids [count] = gpb_test_actor_send (s_host.client, gpb_test_host_word ("fake_stuck", 10000));
    gpb_test_host_await (&s_host, "fake_stuck", GPB__V1__RESIDENCY_STATE__RESIDENT);
    gpb_test_actor_stop (&s_host.actor);
    for (int count = 0; count < 8; count++)
        gpb_test_actor_expect (s_host.client, ids [count], GPB_OK, "");
    gpb_client_destroy (&s_host.client);
}
END_TEST

START_TEST (test_a_handler_that_never_returns_does_not_keep_a_host_from_stopping)
{
    gpb_test_host_fake (&s_host, "drain_ms", "200");
    uint64_t id =
        gpb_test_actor_send (s_host.client, gpb_test_host_word ("fake_stuck", GPB_TEST_FOR_EVER));
    gpb_test_host_await (&s_host, "fake_stuck", GPB__V1__RESIDENCY_STATE__RESIDENT);
    gpb_test_actor_stop (&s_host.actor);
    gpb_test_actor_expect (s_host.client, id, GPB_UNAVAILABLE, "stopped");
    gpb_client_destroy (&s_host.client);
    gpb_test_fake_let_go ();
}
END_TEST

START_TEST (test_what_a_client_that_leaves_had_waiting_is_not_begun)
{
    gpb_test_host_fake (&s_host, NULL);
    gpb_client_t *leaver = gpb_test_actor_client (GPB_TEST_ACTOR_INPROC);
    for (int count = 0; count < 20; count++)
        gpb_test_actor_send (leaver,
                             gpb_test_host_word ("fake_stuck", count == 0 ? 100000 : 10000000));
    gpb_test_host_await (&s_host, "fake_stuck", GPB__V1__RESIDENCY_STATE__RESIDENT);
    gpb_client_destroy (&leaver);
    gpb_test_actor_done (s_host.client,
                         gpb_test_host_word ("fake_stuck", 0));    //  behind at most one of them
    gpb_test_host_stop (&s_host);
}
END_TEST

//  The specification's: a stream of 100 messages of whole numbers after a warm-up, each answer
//  found by its id, and percentiles in ns of what each message took.
START_TEST (test_the_stream_of_the_specification_is_doubled)
{
    enum { WARM = 20, MESSAGES = 100 };
    static gpb_histogram_t histogram;
    gpb_test_host_start_pocl (&s_host, NULL);
    for (int32_t value = 0; value < WARM; value++) {
        gpb_reply_t *reply =
            gpb_test_actor_ok (s_host.client,
                               gpb_test_host_message ("double_i32", &value, sizeof value));
        gpb_reply_destroy (&reply);
    }
    int32_t values [MESSAGES];
    uint64_t first = 0;
    for (int32_t index = 0; index < MESSAGES; index++) {
        values [index] = 1000 - 37 * index;
        uint64_t id = gpb_test_actor_send (s_host.client,
                                           gpb_test_host_message ("double_i32", &values [index],
                                                                  sizeof values [index]));
        first = first ? first : id;
    }
    for (int32_t count = 0; count < MESSAGES; count++) {
        gpb_reply_t *reply = gpb_test_actor_recv (s_host.client);
        ck_assert_int_eq (gpb_reply_status (reply), GPB_OK);
        ck_assert_int_eq (*(const int32_t *) gpb_reply_result (reply, 0, NULL),
                          2 * values [gpb_reply_id (reply) - first]);
        gpb_histogram_record (&histogram, gpb_test_host_timing (reply)->ring_ns);
        gpb_reply_destroy (&reply);
    }
    ck_assert_uint_eq (histogram.count, MESSAGES);
    ck_assert_uint_gt (gpb_histogram_percentile (&histogram, 50), 0);
    ck_assert_uint_ge (gpb_histogram_percentile (&histogram, 95),
                       gpb_histogram_percentile (&histogram, 50));
    gpb_test_host_stop (&s_host);
}
END_TEST

GPB_TEST_MAIN ("gpb_host", 60, test_a_host_that_stops_answers_what_it_has,
               test_a_handler_that_never_returns_does_not_keep_a_host_from_stopping,
               test_what_a_client_that_leaves_had_waiting_is_not_begun,
               test_the_stream_of_the_specification_is_doubled)
