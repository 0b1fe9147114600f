//  Tests of gpb_load: what is due is sent in time, what could not be sent in time is charged with
//  that, and every answer counts where it belongs.

#include "gpb_load.h"

#include "gpb_clock.h"
#include "gpb_test_lanes.h"

#include <signal.h>
#include <string.h>

static gpb_error_t error;
static gpb_test_lanes_t s_node;

static gpb_request_t *
s_request (const void *context)
{
    static const float value = 1;
    (void) context;
    gpb_request_t *request = gpb_request_execute ("double");
    gpb_request_in (request, &value, sizeof value);
    gpb_request_out (request, 0);
    return request;
}

static gpb_request_t *
s_no_request (const void *context)
{
    (void) context;
    return NULL;
}

static gpb_load_t *
s_new (gpb_client_t *client, uint64_t rate, uint64_t duration_ms, size_t in_flight)
{
    const gpb_load_args_t args = { .client = client,
                                   .request = s_request,
                                   .rate = rate,
                                   .duration_ns = duration_ms * GPB_NS_PER_MS,
                                   .in_flight = in_flight };
    gpb_load_t *load = gpb_load_new (&args, &error);
    ck_assert_msg (load != NULL, "%s", error.text);
    return load;
}

//  Works until it is done, with every message answered at once.
static void
s_finish (gpb_load_t *load, size_t answered)
{
    uint64_t end_ns = gpb_clock_ns () + 20 * GPB_NS_PER_S;
    while (!gpb_load_done (load)) {
        ck_assert_uint_lt (gpb_clock_ns (), end_ns);
        ck_assert_ok (gpb_load_work (load, &error));
        for (size_t count = gpb_test_lanes_taken (&s_node); answered < count; answered++)
            gpb_test_lanes_answer (&s_node, answered);
        gpb_load_wait (load, 1);
    }
}

START_TEST (test_a_request_is_due_by_its_number)
{
    ck_assert_uint_eq (gpb_load_due_ns (5, 1000, 0), 5);
    ck_assert_uint_eq (gpb_load_due_ns (5, 1000, 1), 1000005);
    ck_assert_uint_eq (gpb_load_due_ns (0, 3, 1), 333333333);
    ck_assert_uint_eq (gpb_load_due_ns (0, 3, 2), 666666666);
    ck_assert_uint_eq (gpb_load_due_ns (0, 3, 3), 1000000000);
    //  A day at ten million a second.
    ck_assert_uint_eq (gpb_load_due_ns (0, 10000000, 864000000001), 86400 * GPB_NS_PER_S + 100);
}
END_TEST

START_TEST (test_a_schedule_is_kept_whatever_the_answers)
{
    gpb_test_lanes_open (&s_node);
    gpb_client_t *client = gpb_test_lanes_client (&s_node);
    uint64_t start_ns = gpb_clock_ns ();
    gpb_load_t *load = s_new (client, 200, 250, 1000);
    ck_assert_uint_eq (gpb_load_figures (load)->scheduled, 50);
    //  Nobody answers, and all of them are sent, none before its time.
    while (gpb_load_figures (load)->sent < 50) {
        ck_assert_ok (gpb_load_work (load, &error));
        uint64_t passed_ns = gpb_clock_ns () - start_ns;
        ck_assert_uint_lt (passed_ns, 20 * GPB_NS_PER_S);
        ck_assert_uint_le (gpb_load_figures (load)->sent, passed_ns / (5 * GPB_NS_PER_MS) + 1);
        gpb_load_wait (load, 50);
    }
    ck_assert_uint_ge (gpb_clock_ns () - start_ns, 245 * GPB_NS_PER_MS);
    ck_assert (!gpb_load_done (load));
    s_finish (load, 0);
    const gpb_load_figures_t *figures = gpb_load_figures (load);
    ck_assert_uint_eq (figures->sent, 50);
    ck_assert_uint_eq (figures->answered, 50);
    ck_assert_uint_eq (figures->latency.count, 50);
    ck_assert_uint_eq (figures->lateness.count, 50);
    ck_assert_uint_eq (figures->spans.count, 50);
    //  The first waited for all the others.
    ck_assert_uint_ge (figures->latency.max_ns, 240 * GPB_NS_PER_MS);
    gpb_load_destroy (&load);
    ck_assert_ptr_null (load);
    gpb_client_destroy (&client);
    gpb_test_lanes_close (&s_node);
}
END_TEST

//  What coordinated omission would hide: the node stands still for 200 ms, and with one request in
//  flight only that one's round trip is long.
START_TEST (test_a_node_that_stands_still_is_charged_with_all_that_was_due)
{
    gpb_test_lanes_open (&s_node);
    gpb_client_t *client = gpb_test_lanes_client (&s_node);
    uint64_t start_ns = gpb_clock_ns ();
    gpb_load_t *load = s_new (client, 100, 250, 1);
    ck_assert_ok (gpb_load_work (load, &error));
    while (gpb_clock_ns () - start_ns < 200 * GPB_NS_PER_MS) {
        ck_assert_ok (gpb_load_work (load, &error));
        gpb_load_wait (load, 5);
    }
    ck_assert_uint_eq (gpb_load_figures (load)->sent, 1);
    s_finish (load, 0);
    const gpb_load_figures_t *figures = gpb_load_figures (load);
    ck_assert_uint_eq (figures->answered, 25);
    ck_assert_uint_ge (figures->late, 15);
    //  Ten of 25 were due more than 100 ms before they could be sent.
    ck_assert_uint_ge (gpb_histogram_percentile (&figures->latency, 70), 95 * GPB_NS_PER_MS);
    ck_assert_uint_ge (gpb_histogram_percentile (&figures->lateness, 70), 95 * GPB_NS_PER_MS);
    ck_assert_uint_lt (gpb_histogram_percentile (&figures->round_trip, 70), 95 * GPB_NS_PER_MS);
    gpb_load_destroy (&load);
    gpb_client_destroy (&client);
    gpb_test_lanes_close (&s_node);
}
END_TEST

START_TEST (test_what_cannot_be_sent_in_the_time_never_is)
{
    gpb_test_lanes_open (&s_node);
    gpb_client_t *client = gpb_test_lanes_client (&s_node);
    gpb_load_t *load = s_new (client, 1000, 50, 2);
    uint64_t start_ns = gpb_clock_ns ();
    while (gpb_clock_ns () - start_ns < 200 * GPB_NS_PER_MS) {
        ck_assert_ok (gpb_load_work (load, &error));
        gpb_load_wait (load, 5);
    }
    ck_assert (!gpb_load_done (load));
    s_finish (load, 0);
    ck_assert_uint_eq (gpb_load_figures (load)->scheduled, 50);
    ck_assert_uint_eq (gpb_load_figures (load)->sent, 2);
    gpb_load_destroy (&load);
    gpb_client_destroy (&client);
    gpb_test_lanes_close (&s_node);
}
END_TEST

START_TEST (test_a_closed_loop_keeps_as_many_in_flight)
{
    enum { IN_FLIGHT = 7 };
    gpb_test_lanes_open (&s_node);
    gpb_client_t *client = gpb_test_lanes_client (&s_node);
    gpb_load_t *load = s_new (client, 0, 60000, IN_FLIGHT);
    ck_assert_ok (gpb_load_work (load, &error));
    ck_assert_uint_eq (gpb_load_figures (load)->sent, IN_FLIGHT);
    gpb_test_lanes_take (&s_node, IN_FLIGHT);
    gpb_test_lanes_answer (&s_node, 3);
    gpb_test_lanes_refuse (&s_node, 5, GPB_RESOURCE_EXHAUSTED, 1);
    gpb_test_lanes_refuse (&s_node, 0, GPB_DEADLINE_EXCEEDED, 0);
    uint64_t end_ns = gpb_clock_ns () + 20 * GPB_NS_PER_S;
    while (gpb_load_figures (load)->sent < IN_FLIGHT + 3) {
        ck_assert_uint_lt (gpb_clock_ns (), end_ns);
        gpb_load_wait (load, 5);
        ck_assert_ok (gpb_load_work (load, &error));
    }
    const gpb_load_figures_t *figures = gpb_load_figures (load);
    ck_assert_uint_eq (figures->answered, 1);
    ck_assert_uint_eq (figures->failed, 2);
    ck_assert_uint_eq (figures->failures [GPB_RESOURCE_EXHAUSTED], 1);
    ck_assert_uint_eq (figures->failures [GPB_DEADLINE_EXCEEDED], 1);
    ck_assert_uint_eq (figures->latency.count, 1);
    ck_assert_uint_eq (figures->lateness.count, 0);
    ck_assert_uint_eq (figures->latency.max_ns, figures->round_trip.max_ns);
    ck_assert_uint_gt (figures->elapsed_ns, 0);
    //  Stopped, it is done with what is in flight.
    gpb_load_stop (load);
    ck_assert (!gpb_load_done (load));
    gpb_test_lanes_take (&s_node, IN_FLIGHT + 3);
    for (size_t index = 0; index < IN_FLIGHT + 3; index++)
        if (s_node.messages [index].values)
            gpb_test_lanes_answer (&s_node, index);
    s_finish (load, IN_FLIGHT + 3);
    ck_assert_uint_eq (figures->answered, IN_FLIGHT + 1);
    ck_assert_uint_eq (figures->sent, IN_FLIGHT + 3);
    gpb_load_destroy (&load);
    gpb_client_destroy (&client);
    gpb_test_lanes_close (&s_node);
}
END_TEST

START_TEST (test_the_end_of_memory_is_said)
{
    gpb_test_lanes_open (&s_node);
    gpb_client_t *client = gpb_test_lanes_client (&s_node);
    const gpb_load_args_t args = { client, s_no_request, NULL, 0, GPB_NS_PER_S, 1 };
    gpb_load_t *load = gpb_load_new (&args, &error);
    ck_assert_refused (gpb_load_work (load, &error), GPB_RESOURCE_EXHAUSTED, "no memory");
    gpb_load_destroy (&load);
    gpb_client_destroy (&client);
    gpb_test_lanes_close (&s_node);
}
END_TEST

GPB_TEST_MAIN ("gpb_load", 30, test_a_request_is_due_by_its_number,
               test_a_schedule_is_kept_whatever_the_answers,
               test_a_node_that_stands_still_is_charged_with_all_that_was_due,
               test_what_cannot_be_sent_in_the_time_never_is,
               test_a_closed_loop_keeps_as_many_in_flight, test_the_end_of_memory_is_said)
