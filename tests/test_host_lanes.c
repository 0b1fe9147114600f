//  Tests of gpb_host_lanes: which lanes are on the device, and when they leave it for others.

#include "gpb_test.h"

#include "gpb_service.h"
#include "gpb_test_host.h"

static gpb_test_host_t s_host;

START_TEST (test_an_idle_lane_leaves_the_device_and_comes_back_with_its_state)
{
    gpb_test_host_fake (&s_host, "persistent_idle_ms", "5");
    for (uint64_t count = 1; count <= 3; count++) {
        gpb_request_t *request = gpb_test_host_word ("fake_count", 1);
        gpb_request_lane (request, 7);
        gpb_reply_t *reply = gpb_test_actor_ok (s_host.client, request);
        ck_assert_uint_eq (*(const uint64_t *) gpb_reply_result (reply, 0, NULL), count);
        gpb_reply_destroy (&reply);
        gpb_test_host_await (&s_host, "fake_count", GPB__V1__RESIDENCY_STATE__PARKED);
        ck_assert_uint_eq (gpb_test_host_residency (&s_host, "fake_count", &reply)->launches,
                           count);
        gpb_reply_destroy (&reply);
    }
    gpb_test_host_stop (&s_host);
}
END_TEST

START_TEST (test_parked_for_a_compile_nothing_is_on_the_device_until_it_may_resume)
{
    gpb_test_host_fake (&s_host, NULL);
    gpb_error_t error;
    gpb_test_host_check_double (&s_host, "fake_double", 2);
    ck_assert_ok (gpb_pipe_ask (s_host.actor.actor, (const char *[]){ "PARK", NULL }, &error));
    gpb_test_host_await (&s_host, "fake_double", GPB__V1__RESIDENCY_STATE__PARKED);
    uint64_t id = gpb_test_actor_send (s_host.client, gpb_test_host_word ("fake_double", 0));
    gpb_test_host_await (&s_host, "fake_double", GPB__V1__RESIDENCY_STATE__PARKED);
    ck_assert_ok (gpb_pipe_ask (s_host.actor.actor, (const char *[]){ "RESUME", NULL }, &error));
    gpb_test_actor_expect (s_host.client, id, GPB_OK, "");
    gpb_test_host_stop (&s_host);
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Turns

START_TEST (test_kernels_that_all_want_the_one_lane_of_the_device_take_turns)
{
    enum { EACH = 300 };
    static const char *const kernels [] = { "fake_double", "fake_echo", "fake_stuck" };
    gpb_test_host_fake (&s_host, "resident_lanes", "1");
    //  All at once, so that none of them ever idles before it has had its turn.
    for (int count = 0; count < EACH; count++)
        for (int kernel = 0; kernel < 3; kernel++)
            gpb_test_actor_send (s_host.client,
                                 gpb_test_host_word (kernels [kernel], kernel == 2 ? 200 : 0));
    for (int count = 0; count < 3 * EACH; count++) {
        gpb_reply_t *reply = gpb_test_actor_recv (s_host.client);
        ck_assert_msg (gpb_reply_status (reply) == GPB_OK, "%s", gpb_reply_message (reply));
        gpb_reply_destroy (&reply);
    }
    for (int kernel = 0; kernel < 3; kernel++) {
        gpb_reply_t *reply;
        ck_assert_uint_eq (gpb_test_host_residency (&s_host, kernels [kernel], &reply)->answered,
                           EACH);
        gpb_reply_destroy (&reply);
    }
    gpb_test_host_stop (&s_host);
}
END_TEST

START_TEST (test_a_kernel_that_always_works_does_not_keep_another_from_the_device)
{
    enum { BUSY = 32 };
    gpb_test_host_fake (&s_host, "resident_lanes", "1");
    uint64_t other = 0;
    //  The busy one has a message waiting at any time; its lane never idles.
    for (int count = 0; count < BUSY; count++)
        gpb_test_actor_send (s_host.client, gpb_test_host_word ("fake_stuck", 1000));
    other = gpb_test_actor_send (s_host.client, gpb_test_host_word ("fake_echo", 0));
    bool is_answered = false;
    for (int count = 0; !is_answered && count < 1000; count++) {
        gpb_reply_t *reply = gpb_test_actor_recv (s_host.client);
        is_answered = gpb_reply_id (reply) == other;
        gpb_reply_destroy (&reply);
        if (!is_answered)
            gpb_test_actor_send (s_host.client, gpb_test_host_word ("fake_stuck", 1000));
    }
    ck_assert (is_answered);
    gpb_test_host_stop (&s_host);
}
END_TEST

//  Two of three with a key.
static gpb_request_t *
s_keyed (uint32_t count)
{
    gpb_request_t *request = gpb_test_host_word ("fake_count", count);
    if (count % 3)
        gpb_request_lane (request, count);
    gpb_request_set_timeout (request, 20000);
    return request;
}

START_TEST (test_lanes_of_one_kernel_take_turns_too)
{
    enum { MESSAGES = 400 };
    gpb_test_host_fake (&s_host, "resident_lanes", "1");
    //  Four lanes by their keys, one seat: each has messages before it at any time, and so have
    //  those that are bound to none.
    for (uint32_t count = 0; count < MESSAGES; count++)
        gpb_test_actor_send (s_host.client, s_keyed (count));
    uint64_t lanes [4] = { 0 };
    for (uint32_t count = 0; count < 4 * MESSAGES; count++) {
        gpb_reply_t *reply = gpb_test_actor_recv (s_host.client);
        ck_assert_msg (gpb_reply_status (reply) == GPB_OK, "%s", gpb_reply_message (reply));
        lanes [gpb_test_host_timing (reply)->lane]++;
        gpb_reply_destroy (&reply);
        if (count < 3 * MESSAGES)
            gpb_test_actor_send (s_host.client, s_keyed (count));
    }
    for (int lane = 0; lane < 4; lane++)
        ck_assert_uint_gt (lanes [lane], MESSAGES / 4);
    gpb_test_host_stop (&s_host);
}
END_TEST

GPB_TEST_MAIN ("gpb_host_lanes", 60,
               test_an_idle_lane_leaves_the_device_and_comes_back_with_its_state,
               test_parked_for_a_compile_nothing_is_on_the_device_until_it_may_resume,
               test_kernels_that_all_want_the_one_lane_of_the_device_take_turns,
               test_a_kernel_that_always_works_does_not_keep_another_from_the_device,
               test_lanes_of_one_kernel_take_turns_too)
