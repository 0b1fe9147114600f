//  Tests of gpb_host_kernels: how a kernel is loaded, replaced and, where its handler does not
//  return, quarantined.

#include "gpb_test.h"

#include "gpb_clock.h"
#include "gpb_test_device.h"
#include "gpb_test_host.h"

static gpb_test_host_t s_host;

START_TEST (test_a_kernel_that_does_not_compile_says_so_to_every_message)
{
    gpb_test_host_start_pocl (&s_host, NULL);
    for (int count = 0; count < 2; count++)
        gpb_test_actor_refused (s_host.client, gpb_test_host_word ("broken", 1),
                                GPB_FAILED_PRECONDITION, "does not compile");
    gpb_reply_t *reply;
    const Gpb__V1__Residency *residency = gpb_test_host_residency (&s_host, "broken", &reply);
    ck_assert_int_eq (residency->state, GPB__V1__RESIDENCY_STATE__FAILED);
    ck_assert_ptr_nonnull (strstr (residency->reason, "does not compile"));
    gpb_reply_destroy (&reply);
    gpb_test_host_check_double (&s_host, "double", 3);
    gpb_test_host_stop (&s_host);
}
END_TEST

START_TEST (test_a_handler_past_its_deadline_is_answered_and_its_lane_quarantined)
{
    gpb_test_host_fake (&s_host, "kernel_timeout_ms", "300");
    gpb_request_t *request = gpb_test_host_word ("fake_stuck", GPB_TEST_FOR_EVER);
    gpb_request_set_timeout (request, 100);
    uint64_t first = gpb_test_actor_send (s_host.client, request);
    uint64_t second = gpb_test_actor_send (s_host.client, gpb_test_host_word ("fake_stuck", 0));
    gpb_test_actor_expect (s_host.client, first, GPB_DEADLINE_EXCEEDED, "with its kernel");
    gpb_test_actor_expect (s_host.client, second, GPB_UNAVAILABLE, "did not return within");
    gpb_test_actor_refused (s_host.client, gpb_test_host_word ("fake_stuck", 0),
                            GPB_FAILED_PRECONDITION, "quarantined");
    gpb_reply_t *reply;
    const Gpb__V1__Residency *residency = gpb_test_host_residency (&s_host, "fake_stuck", &reply);
    ck_assert_int_eq (residency->state, GPB__V1__RESIDENCY_STATE__QUARANTINED);
    gpb_reply_destroy (&reply);
    gpb_test_host_check_double (&s_host, "fake_double", 2);    //  the others go on

    //  It returns after all: it was slow.
    gpb_test_fake_let_go ();
    gpb_test_host_await (&s_host, "fake_stuck", GPB__V1__RESIDENCY_STATE__PARKED);
    gpb_test_actor_done (s_host.client, gpb_test_host_word ("fake_stuck", 0));
    gpb_test_host_stop (&s_host);
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Replacement

START_TEST (test_a_kernel_replaced_at_run_time_finishes_what_it_has)
{
    gpb_test_host_fake (&s_host, "allow_register", "true");
    gpb_test_actor_done (s_host.client,
                         gpb_request_register (GPB_TEST_HOST_DEFINITION ("fake_stuck"), "1",
                                               false));
    uint64_t ids [8];
    for (int count = 0; count < 8; count++)
        ids [count] = gpb_test_actor_send (s_host.client, gpb_test_host_word ("mine", 20000));
    gpb_test_actor_done (s_host.client,
                         gpb_request_register (GPB_TEST_HOST_DEFINITION ("fake_count"), "2", true));
    gpb_reply_t *reply = NULL;
    uint64_t new_one = gpb_test_actor_send (s_host.client, gpb_test_host_word ("mine", 5));
    //  The new version answers beside the old one, which still has its own.
    unsigned answered = 0;
    for (int count = 0; count < 9; count++) {
        reply = gpb_test_actor_recv (s_host.client);
        ck_assert_msg (gpb_reply_status (reply) == GPB_OK, "%s", gpb_reply_message (reply));
        size_t size;
        const uint64_t *result = gpb_reply_result (reply, 0, &size);
        if (gpb_reply_id (reply) == new_one) {
            ck_assert_uint_eq (size, 16);
            ck_assert_uint_eq (result [0], 1);
        }
        else
            answered +=
                size == 4 && gpb_reply_id (reply) >= ids [0] && gpb_reply_id (reply) <= ids [7];
        gpb_reply_destroy (&reply);
    }
    ck_assert_uint_eq (answered, 8);
    ck_assert_uint_eq (gpb_test_host_residency (&s_host, "mine", &reply)->version, 2);
    gpb_reply_destroy (&reply);
    gpb_test_host_stop (&s_host);
}
END_TEST

START_TEST (test_a_replacement_may_take_over_the_state)
{
    gpb_test_host_fake (&s_host, "allow_register", "true");
    gpb_reply_t *reply;
    gpb_test_actor_done (s_host.client,
                         gpb_request_register (GPB_TEST_HOST_DEFINITION ("fake_count"), "1",
                                               false));
    for (uint64_t count = 1; count <= 5; count++)
        gpb_test_actor_send (s_host.client, gpb_test_host_word ("mine", 1));
    gpb_request_t *request =
        gpb_request_register (GPB_TEST_HOST_DEFINITION ("fake_count"), "2", true);
    gpb_request_keep_state (request);
    gpb_test_actor_send (s_host.client, request);
    gpb_test_actor_send (s_host.client, gpb_test_host_word ("mine", 1));
    uint64_t last = 0;
    for (uint64_t count = 1; count <= 7; count++) {
        reply = gpb_test_actor_recv (s_host.client);
        ck_assert_msg (gpb_reply_status (reply) == GPB_OK, "%s", gpb_reply_message (reply));
        if (gpb_reply_results (reply) == 1)
            last = *(const uint64_t *) gpb_reply_result (reply, 0, NULL);
        gpb_reply_destroy (&reply);
    }
    ck_assert_uint_eq (last, 6);
    gpb_test_actor_done (s_host.client,
                         gpb_request_register (GPB_TEST_HOST_DEFINITION ("fake_count"), "3", true));
    reply = gpb_test_actor_ok (s_host.client, gpb_test_host_word ("mine", 1));
    ck_assert_uint_eq (*(const uint64_t *) gpb_reply_result (reply, 0, NULL), 1);    //  from zeros
    gpb_reply_destroy (&reply);
    gpb_test_host_stop (&s_host);
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Where code is loaded alone

//  The fake backend's books know of what is loaded or unloaded beside a lane.
START_TEST (test_where_code_is_loaded_alone_lanes_leave_for_it_and_come_back)
{
    setenv ("GPB_FAKE_LOADS_ALONE", "1", 1);
    gpb_test_host_fake (&s_host, "persistent_idle_ms", "10000", "allow_register", "true");
    for (int round = 0; round < 3; round++) {
        gpb_test_host_check_double (&s_host, "fake_double", 2);
        gpb_test_host_await (&s_host, "fake_double", GPB__V1__RESIDENCY_STATE__RESIDENT);
        gpb_test_actor_done (s_host.client,
                             gpb_request_register (GPB_TEST_HOST_DEFINITION ("fake_count"), "1",
                                                   true));
        gpb_test_host_check_double (&s_host, "fake_double", 2);
        gpb_request_t *request = gpb_test_host_word ("mine", 1);
        gpb_request_on_demand (request);
        gpb_test_actor_done (s_host.client, request);
    }
    gpb_reply_t *reply;
    ck_assert_uint_ge (gpb_test_host_residency (&s_host, "fake_double", &reply)->launches, 4);
    gpb_reply_destroy (&reply);
    gpb_test_host_stop (&s_host);
}
END_TEST

START_TEST (test_where_code_is_loaded_alone_nothing_is_while_a_handler_is_stuck)
{
    setenv ("GPB_FAKE_LOADS_ALONE", "1", 1);
    gpb_test_host_fake (&s_host, "kernel_timeout_ms", "200", "drain_ms", "300");
    uint64_t id =
        gpb_test_actor_send (s_host.client, gpb_test_host_word ("fake_stuck", GPB_TEST_FOR_EVER));
    gpb_test_actor_expect (s_host.client, id, GPB_DEADLINE_EXCEEDED, "quarantined");
    id = gpb_test_actor_send (s_host.client, gpb_test_host_word ("fake_count", 1));
    gpb_test_actor_expect (s_host.client, id, GPB_RESOURCE_EXHAUSTED, "nothing can be loaded");
    gpb_test_fake_let_go ();
    gpb_test_host_await (&s_host, "fake_stuck", GPB__V1__RESIDENCY_STATE__PARKED);
    //  It is tried once a second.
    const uint64_t end_ns = gpb_clock_ns () + 30 * GPB_NS_PER_S;
    gpb_status_t status;
    do {
        ck_assert_msg (gpb_clock_ns () < end_ns, "nothing is loaded again");
        zclock_sleep (20);
        gpb_reply_t *reply =
            gpb_test_actor_call (s_host.client, gpb_test_host_word ("fake_count", 1));
        status = gpb_reply_status (reply);
        gpb_reply_destroy (&reply);
    } while (status == GPB_RESOURCE_EXHAUSTED);
    ck_assert_int_eq (status, GPB_OK);
    gpb_test_host_stop (&s_host);
}
END_TEST

GPB_TEST_MAIN ("gpb_host_kernels", 60, test_a_kernel_that_does_not_compile_says_so_to_every_message,
               test_a_handler_past_its_deadline_is_answered_and_its_lane_quarantined,
               test_a_kernel_replaced_at_run_time_finishes_what_it_has,
               test_a_replacement_may_take_over_the_state,
               test_where_code_is_loaded_alone_lanes_leave_for_it_and_come_back,
               test_where_code_is_loaded_alone_nothing_is_while_a_handler_is_stuck)
