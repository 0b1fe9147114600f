//  Tests of gpb_host_report: what a kernel host says about itself, of which a node makes what `gpb
//  kernels` and `gpb stats` show.

#include "gpb_test.h"

#include "gpb_test_device.h"
#include "gpb_test_host.h"

#include <string.h>

static gpb_test_host_t s_host;

//  Takes so many answers, which are OK.
static void
s_recv_ok (unsigned count)
{
    while (count-- > 0) {
        gpb_reply_t *reply = gpb_test_actor_recv (s_host.client);
        ck_assert_msg (gpb_reply_status (reply) == GPB_OK, "%s", gpb_reply_message (reply));
        gpb_reply_destroy (&reply);
    }
}

//  Has a handler run that does not return before it is let go.
static uint64_t
s_send_stuck (void)
{
    uint64_t id =
        gpb_test_actor_send (s_host.client, gpb_test_host_word ("fake_stuck", GPB_TEST_FOR_EVER));
    gpb_test_host_await (&s_host, "fake_stuck", GPB__V1__RESIDENCY_STATE__RESIDENT);
    return id;
}

//  ---------------------------------------------------------------------------------------------------------
//  Figures

START_TEST (test_a_kernel_is_said_nothing_of_before_its_first_message)
{
    gpb_test_host_fake (&s_host, "name", "left");
    gpb_reply_t *reply = gpb_test_actor_ok (s_host.client, gpb_request_stats ());
    const Gpb__V1__StatsReply *stats = gpb_reply_header_peek (reply)->stats;
    ck_assert_str_eq (stats->node, "left");
    ck_assert_uint_eq (stats->n_residencies, 0);
    ck_assert_uint_eq (stats->in_flight, 0);
    gpb_reply_destroy (&reply);
    gpb_test_host_check_double (&s_host, "fake_double", 2);
    reply = gpb_test_actor_ok (s_host.client, gpb_request_stats ());
    stats = gpb_reply_header_peek (reply)->stats;
    ck_assert_uint_eq (stats->n_residencies, 1);
    ck_assert_str_eq (stats->residencies [0]->kernel, "fake_double");
    gpb_reply_destroy (&reply);
    gpb_test_host_stop (&s_host);
}
END_TEST

START_TEST (test_what_was_answered_and_what_was_not_is_counted_apart)
{
    gpb_test_host_fake (&s_host, NULL);
    for (unsigned count = 0; count < 7; count++) {
        gpb_request_t *request = gpb_test_host_word ("fake_stuck", 0);
        if (count >= 5)
            gpb_request_on_demand (request);
        gpb_test_actor_done (s_host.client, request);
    }
    gpb_request_t *request = gpb_test_host_word ("fake_stuck", GPB_TEST_FOR_EVER);
    gpb_request_set_timeout (request, 50);
    gpb_test_actor_refused (s_host.client, request, GPB_DEADLINE_EXCEEDED, "");
    gpb_test_fake_let_go ();
    gpb_reply_t *reply;
    const Gpb__V1__Residency *residency = gpb_test_host_residency (&s_host, "fake_stuck", &reply);
    ck_assert_uint_eq (residency->answered, 7);
    ck_assert_uint_eq (residency->failed, 1);
    ck_assert_uint_eq (residency->on_demand, 2);
    ck_assert_uint_ge (residency->launches, 1);
    ck_assert_uint_eq (residency->version, 1);
    ck_assert_uint_eq (residency->device, 0);
    ck_assert_str_eq (residency->reason, "");
    //  Only what was answered OK has a time, and those of lanes are a lane's alone.
    ck_assert_uint_eq (residency->latency->count, 7);
    ck_assert_uint_gt (residency->latency->p50_ns, 0);
    ck_assert_uint_ge (residency->latency->max_ns, residency->latency->p99_ns);
    ck_assert_uint_eq (residency->n_lanes, 1);
    ck_assert_uint_eq (residency->lanes [0]->answered, 5);
    gpb_reply_destroy (&reply);
    gpb_test_host_stop (&s_host);
}
END_TEST

//  Its lane has 4 slots: so many are on the device, and the rest are in the host.
START_TEST (test_what_waits_and_what_is_on_a_lane_are_told_apart)
{
    gpb_test_host_fake (&s_host, NULL);
    s_send_stuck ();
    for (unsigned count = 0; count < 9; count++)
        gpb_test_actor_send (s_host.client, gpb_test_host_word ("fake_stuck", 0));
    gpb_reply_t *reply;
    const Gpb__V1__Residency *residency = gpb_test_host_residency (&s_host, "fake_stuck", &reply);
    const Gpb__V1__StatsReply *stats = gpb_reply_header_peek (reply)->stats;
    ck_assert_uint_eq (residency->waiting, 6);
    ck_assert_uint_eq (residency->lanes [0]->waiting, 4);
    ck_assert_uint_eq (stats->queue_depth, 6);
    ck_assert_uint_eq (stats->queue_size, 6 * sizeof (uint32_t));
    ck_assert_uint_eq (stats->in_flight, 4);
    gpb_reply_destroy (&reply);
    gpb_test_fake_let_go ();
    s_recv_ok (10);
    residency = gpb_test_host_residency (&s_host, "fake_stuck", &reply);
    stats = gpb_reply_header_peek (reply)->stats;
    ck_assert_uint_eq (residency->waiting, 0);
    ck_assert_uint_eq (residency->lanes [0]->waiting, 0);
    ck_assert_uint_eq (stats->queue_depth, 0);
    ck_assert_uint_eq (stats->queue_size, 0);
    ck_assert_uint_eq (stats->in_flight, 0);
    gpb_reply_destroy (&reply);
    gpb_test_host_stop (&s_host);
}
END_TEST

START_TEST (test_each_lane_says_what_it_has_answered)
{
    enum { EACH = 5 };
    gpb_test_host_fake (&s_host, NULL);
    uint64_t lanes [4] = { 0 };
    for (uint64_t key = 0; key < 8; key++)
        for (unsigned count = 0; count < EACH; count++) {
            gpb_request_t *request = gpb_test_host_word ("fake_count", count);
            gpb_request_lane (request, key);
            gpb_reply_t *reply = gpb_test_actor_ok (s_host.client, request);
            lanes [gpb_test_host_timing (reply)->lane]++;
            gpb_reply_destroy (&reply);
        }
    gpb_reply_t *reply;
    const Gpb__V1__Residency *residency = gpb_test_host_residency (&s_host, "fake_count", &reply);
    ck_assert_uint_eq (residency->n_lanes, 4);
    for (unsigned lane = 0; lane < 4; lane++)
        ck_assert_uint_eq (residency->lanes [lane]->answered, lanes [lane]);
    gpb_reply_destroy (&reply);
    gpb_test_host_stop (&s_host);
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  States

//  A lane that nobody has used yet is ready, and takes nothing of the device's.
START_TEST (test_one_lane_on_the_device_makes_a_kernel_resident)
{
    gpb_test_host_fake (&s_host, "persistent_idle_ms", "10000");
    gpb_request_t *request = gpb_test_host_word ("fake_count", 1);
    gpb_request_lane (request, 0);
    gpb_reply_t *reply = gpb_test_actor_ok (s_host.client, request);
    const uint32_t used = gpb_test_host_timing (reply)->lane;
    gpb_reply_destroy (&reply);
    const Gpb__V1__Residency *residency = gpb_test_host_residency (&s_host, "fake_count", &reply);
    ck_assert_int_eq (residency->state, GPB__V1__RESIDENCY_STATE__RESIDENT);
    for (uint32_t lane = 0; lane < residency->n_lanes; lane++)
        ck_assert_int_eq (residency->lanes [lane]->state, lane == used
                                                              ? GPB__V1__RESIDENCY_STATE__RESIDENT
                                                              : GPB__V1__RESIDENCY_STATE__PARKED);
    gpb_reply_destroy (&reply);
    gpb_test_host_stop (&s_host);
}
END_TEST

START_TEST (test_a_quarantined_kernel_says_why)
{
    gpb_test_host_fake (&s_host, "kernel_timeout_ms", "200");
    const uint64_t id = s_send_stuck ();
    gpb_test_actor_expect (s_host.client, id, GPB_DEADLINE_EXCEEDED, "did not return within");
    gpb_reply_t *reply;
    const Gpb__V1__Residency *residency = gpb_test_host_residency (&s_host, "fake_stuck", &reply);
    ck_assert_int_eq (residency->state, GPB__V1__RESIDENCY_STATE__QUARANTINED);
    ck_assert_ptr_nonnull (strstr (residency->reason, "did not return in time"));
    ck_assert_int_eq (residency->lanes [0]->state, GPB__V1__RESIDENCY_STATE__QUARANTINED);
    gpb_reply_destroy (&reply);
    gpb_test_fake_let_go ();
    gpb_test_host_await (&s_host, "fake_stuck", GPB__V1__RESIDENCY_STATE__PARKED);
    residency = gpb_test_host_residency (&s_host, "fake_stuck", &reply);
    ck_assert_str_eq (residency->reason, "");    //  it was slow
    gpb_reply_destroy (&reply);
    gpb_test_host_stop (&s_host);
}
END_TEST

//  How many versions of "mine" the host speaks of; *stopped is whether it says so of the first one.
static size_t
s_versions (bool *stopped)
{
    gpb_reply_t *reply = gpb_test_actor_ok (s_host.client, gpb_request_stats ());
    const Gpb__V1__StatsReply *stats = gpb_reply_header_peek (reply)->stats;
    *stopped = false;
    for (size_t index = 0; index < stats->n_residencies; index++) {
        const Gpb__V1__Residency *residency = stats->residencies [index];
        ck_assert_str_eq (residency->kernel, "mine");
        if (residency->version == 1 && residency->state == GPB__V1__RESIDENCY_STATE__STOPPED) {
            ck_assert_ptr_nonnull (strstr (residency->reason, "it was replaced"));
            *stopped = true;
        }
    }
    const size_t count = stats->n_residencies;
    gpb_reply_destroy (&reply);
    return count;
}

START_TEST (test_a_replaced_kernel_is_stopped_until_it_has_finished_what_it_had)
{
    gpb_test_host_fake (&s_host, "allow_register", "true");
    gpb_test_actor_done (s_host.client,
                         gpb_request_register (GPB_TEST_HOST_DEFINITION ("fake_stuck"), "1",
                                               false));
    gpb_test_actor_send (s_host.client, gpb_test_host_word ("mine", GPB_TEST_FOR_EVER));
    gpb_test_host_await (&s_host, "mine", GPB__V1__RESIDENCY_STATE__RESIDENT);
    gpb_test_actor_done (s_host.client,
                         gpb_request_register (GPB_TEST_HOST_DEFINITION ("fake_count"), "2", true));
    bool stopped;
    ck_assert_uint_eq (s_versions (&stopped), 2);
    ck_assert (stopped);
    gpb_test_fake_let_go ();
    s_recv_ok (1);
    const uint64_t end_ms = (uint64_t) zclock_mono () + 30000;
    while (s_versions (&stopped) > 1)
        ck_assert_msg ((uint64_t) zclock_mono () < end_ms, "the old version is there for ever");
    ck_assert (!stopped);
    gpb_test_host_stop (&s_host);
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  What is no figure

START_TEST (test_the_kernels_of_a_host_are_listed_with_what_their_packages_say)
{
    gpb_test_host_fake (&s_host, NULL);
    gpb_reply_t *reply = gpb_test_actor_ok (s_host.client, gpb_request_kernels ("fake_count"));
    const Gpb__V1__KernelList *list = gpb_reply_header_peek (reply)->kernels;
    ck_assert_uint_eq (list->n_kernels, 1);
    ck_assert_str_eq (list->kernels [0]->id, "fake_count");
    ck_assert_uint_eq (list->kernels [0]->persistent->lanes, 4);
    ck_assert_uint_eq (list->kernels [0]->persistent->slots, 16);
    ck_assert_uint_eq (list->kernels [0]->persistent->state_size, 16);
    gpb_reply_destroy (&reply);
    gpb_test_actor_refused (s_host.client, gpb_request_kernels ("nobody"), GPB_NOT_FOUND, "nobody");
    gpb_test_host_stop (&s_host);
}
END_TEST

START_TEST (test_a_host_says_hello_as_its_node)
{
    gpb_test_host_fake (&s_host, "name", "left");
    for (unsigned count = 0; count < 2; count++) {
        gpb_reply_t *reply = gpb_test_actor_ok (s_host.client, gpb_request_hello ());
        const Gpb__V1__HelloReply *hello = gpb_reply_header_peek (reply)->hello;
        ck_assert_str_eq (hello->node, "left");
        ck_assert_uint_ge (hello->version, 1);
        ck_assert_uint_gt (hello->max_frame_size, 0);
        gpb_reply_destroy (&reply);
    }
    gpb_test_host_stop (&s_host);
}
END_TEST

GPB_TEST_MAIN ("gpb_host_report", 60, test_a_kernel_is_said_nothing_of_before_its_first_message,
               test_what_was_answered_and_what_was_not_is_counted_apart,
               test_what_waits_and_what_is_on_a_lane_are_told_apart,
               test_each_lane_says_what_it_has_answered,
               test_one_lane_on_the_device_makes_a_kernel_resident,
               test_a_quarantined_kernel_says_why,
               test_a_replaced_kernel_is_stopped_until_it_has_finished_what_it_had,
               test_the_kernels_of_a_host_are_listed_with_what_their_packages_say,
               test_a_host_says_hello_as_its_node)
