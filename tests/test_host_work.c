//  Tests of gpb_host_work: messages to persistent kernels, each from its request to its one answer,
//  on lanes of the fake backend and of PoCL, and launched on demand.

#include "gpb_test.h"

#include "gpb_clock.h"
#include "gpb_test_host.h"

static gpb_test_host_t s_host;

START_TEST (test_a_message_comes_back_with_its_times)
{
    gpb_test_host_fake (&s_host, NULL);
    gpb_test_host_check_double (&s_host, "fake_double", 3);
    gpb_reply_t *reply = gpb_test_actor_ok (s_host.client, gpb_test_host_word ("fake_stuck", 2000));
    const Gpb__V1__MessageTiming *timing = gpb_test_host_timing (reply);
    ck_assert_str_eq (timing->clock, "monotonic");
    ck_assert (timing->measured);
    ck_assert_uint_gt (timing->queued_ns, 0);
    ck_assert_uint_gt (timing->taken_ns, 0);
    ck_assert_uint_ge (timing->handler_ns, 2000000);
    ck_assert_uint_gt (timing->back_ns, 0);
    ck_assert_uint_ge (timing->ring_ns, timing->handler_ns);
    ck_assert (!timing->on_demand);
    gpb_reply_destroy (&reply);
    gpb_test_host_stop (&s_host);
}
END_TEST

//  Many in flight, of two kernels, each answer by its id.
static void
s_check_many (const char *kernel, uint32_t count, uint32_t in_flight)
{
    uint32_t sent = 0;
    uint64_t *seen = calloc (count, sizeof *seen);
    for (uint32_t received = 0; received < count; received++) {
        while (sent < count && sent - received < in_flight) {
            const float value = (float) sent;
            uint64_t id = gpb_test_actor_send (s_host.client, gpb_test_host_message (kernel, &value,
                                                                                     sizeof value));
            ck_assert_uint_eq (id, ++sent);
        }
        gpb_reply_t *reply = gpb_test_actor_recv (s_host.client);
        ck_assert_msg (gpb_reply_status (reply) == GPB_OK, "%s", gpb_reply_message (reply));
        const uint64_t id = gpb_reply_id (reply);
        ck_assert_uint_eq (seen [id - 1]++, 0);
        ck_assert (*(const float *) gpb_reply_result (reply, 0, NULL) == 2 * (float) (id - 1));
        gpb_reply_destroy (&reply);
    }
    free (seen);
}

START_TEST (test_many_messages_are_answered_once_each_and_right)
{
    gpb_test_host_fake (&s_host, NULL);
    s_check_many ("fake_double", 20000, 512);
    gpb_test_host_stop (&s_host);
}
END_TEST

START_TEST (test_a_kernel_on_pocl_answers_too)
{
    gpb_test_host_start_pocl (&s_host, NULL);
    gpb_test_host_check_double (&s_host, "double", 24);
    gpb_test_host_check_double (&s_host, "double", 1024);    //  by the heap
    gpb_reply_t *reply = gpb_test_actor_ok (s_host.client, gpb_test_host_word ("double_i32", 21));
    ck_assert_int_eq (*(const int32_t *) gpb_reply_result (reply, 0, NULL), 42);
    gpb_reply_destroy (&reply);
    gpb_test_host_stop (&s_host);
}
END_TEST

START_TEST (test_state_stays_with_its_lane_and_a_key_keeps_its_order)
{
    enum { KEYS = 8, EACH = 200 };
    gpb_test_host_fake (&s_host, NULL);
    uint64_t digests [KEYS] = { 0 }, counts [KEYS] = { 0 };
    uint32_t lanes [KEYS];
    uint64_t lane_counts [4] = { 0 }, last [KEYS] = { 0 };
    //  What a lane has seen is all of its keys' messages, in the order in which they were sent.
    for (uint32_t round = 0; round < EACH; round++)
        for (uint32_t key = 0; key < KEYS; key++) {
            gpb_request_t *request = gpb_test_host_word ("fake_count", round * KEYS + key);
            gpb_request_lane (request, key);
            gpb_test_actor_send (s_host.client, request);
        }
    for (uint32_t received = 0; received < KEYS * EACH; received++) {
        gpb_reply_t *reply = gpb_test_actor_recv (s_host.client);
        ck_assert_msg (gpb_reply_status (reply) == GPB_OK, "%s", gpb_reply_message (reply));
        uint32_t key = (uint32_t) ((gpb_reply_id (reply) - 1) % KEYS);
        const uint32_t lane = gpb_test_host_timing (reply)->lane;
        const uint64_t *result = gpb_reply_result (reply, 0, NULL);
        ck_assert_uint_gt (gpb_reply_id (reply), last [key]);    //  in the order of sending
        last [key] = gpb_reply_id (reply);
        if (counts [key]++ == 0)
            lanes [key] = lane;
        ck_assert_uint_eq (lanes [key], lane);
        ck_assert_uint_eq (result [0], ++lane_counts [lane]);
        digests [key] = result [1];
        gpb_reply_destroy (&reply);
    }
    for (uint32_t key = 0; key < KEYS; key++) {
        ck_assert_uint_eq (counts [key], EACH);
        ck_assert_uint_ne (digests [key], 0);
    }
    gpb_test_host_stop (&s_host);
}
END_TEST

START_TEST (test_a_message_too_large_for_a_slot_goes_by_the_heap)
{
    gpb_test_host_fake (&s_host, "persistent_memory", "0");    //  two blocks: one message at a time
    unsigned char data [4096];
    for (size_t index = 0; index < sizeof data; index++)
        data [index] = (unsigned char) (index * 7);
    for (int count = 0; count < 40; count++)
        gpb_test_actor_send (s_host.client, gpb_test_host_message ("fake_echo", data,
                                                                   sizeof data - (size_t) count));
    for (int count = 0; count < 40; count++) {
        gpb_reply_t *reply = gpb_test_actor_recv (s_host.client);
        size_t size;
        const void *result = gpb_reply_result (reply, 0, &size);
        ck_assert_uint_eq (size, sizeof data - (gpb_reply_id (reply) - 1));
        ck_assert_int_eq (memcmp (result, data, size), 0);
        gpb_reply_destroy (&reply);
    }
    gpb_reply_t *empty =
        gpb_test_actor_ok (s_host.client, gpb_test_host_message ("fake_echo", data, 0));
    ck_assert_uint_eq (gpb_reply_header_peek (empty)->execute->results [0]->size, 0);
    gpb_reply_destroy (&empty);
    unsigned char *more = calloc (1, 4097);
    gpb_test_actor_refused (s_host.client, gpb_test_host_message ("fake_echo", more, 4097),
                            GPB_INVALID_ARGUMENT, "4096");
    free (more);
    gpb_test_host_stop (&s_host);
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  What is not answered OK

START_TEST (test_what_is_no_message_is_refused)
{
    gpb_test_host_fake (&s_host, NULL);
    const uint32_t word = 1;
    gpb_test_actor_refused (s_host.client, gpb_test_host_word ("nobody", 1), GPB_NOT_FOUND,
                            "nobody");
    gpb_test_actor_refused (s_host.client, gpb_test_actor_scalar ("add", 1),
                            GPB_FAILED_PRECONDITION, "not persistent");
    gpb_test_actor_refused (s_host.client, gpb_request_execute ("fake_count"), GPB_INVALID_ARGUMENT,
                            "2");
    gpb_request_t *request = gpb_test_host_message ("fake_count", &word, 3);
    gpb_test_actor_refused (s_host.client, request, GPB_INVALID_ARGUMENT, "4");
    request = gpb_test_host_word ("fake_count", 1);
    gpb_request_set_global (request, 1, (const uint64_t []){ 64 });
    gpb_test_actor_refused (s_host.client, request, GPB_INVALID_ARGUMENT, "work size");
    request = gpb_test_host_word ("fake_count", 1);
    gpb_request_set_device (request, 1);
    gpb_test_actor_refused (s_host.client, request, GPB_NOT_FOUND, "device 1");
    request = gpb_request_execute ("fake_count");
    gpb_request_i32 (request, 1);
    gpb_request_out (request, 0);
    gpb_test_actor_refused (s_host.client, request, GPB_INVALID_ARGUMENT, "frame");
    gpb_test_host_stop (&s_host);
}
END_TEST

START_TEST (test_a_handler_that_says_it_wrote_too_much_costs_its_message)
{
    gpb_test_host_start_pocl (&s_host, NULL);
    const float values [] = { 1, 2 };
    gpb_test_actor_refused (s_host.client,
                            gpb_test_host_message ("overflow", values, sizeof values), GPB_INTERNAL,
                            "overflow");
    gpb_test_host_check_double (&s_host, "double", 3);
    gpb_test_host_stop (&s_host);
}
END_TEST

START_TEST (test_a_full_kernel_says_its_bound_and_when_to_come_back)
{
    gpb_test_host_fake (&s_host, "persistent_queue_requests", "10");
    //  Its lane has 4 slots: 14 are taken.
    for (int count = 0; count < 14; count++)
        gpb_test_actor_send (s_host.client, gpb_test_host_word ("fake_stuck", 20000));
    uint64_t id = gpb_test_actor_send (s_host.client, gpb_test_host_word ("fake_stuck", 0));
    gpb_test_actor_expect (s_host.client, id, GPB_RESOURCE_EXHAUSTED,
                           "10 messages wait for kernel fake_stuck");
    gpb_test_host_check_double (&s_host, "fake_double", 1);    //  another kernel's queue is its own
    for (int count = 0; count < 14; count++) {
        gpb_reply_t *reply = gpb_test_actor_recv (s_host.client);
        ck_assert_int_eq (gpb_reply_status (reply), GPB_OK);
        gpb_reply_destroy (&reply);
    }
    gpb_test_host_stop (&s_host);
}
END_TEST

START_TEST (test_a_message_taken_back_leaves_its_queue_or_its_lane)
{
    gpb_test_host_fake (&s_host, NULL);
    gpb_error_t error;
    uint64_t first = gpb_test_actor_send (s_host.client, gpb_test_host_word ("fake_stuck", 100000));
    uint64_t in_lane =
        gpb_test_actor_send (s_host.client, gpb_test_host_word ("fake_stuck", 1000000));
    uint64_t ids [4];
    for (int count = 0; count < 4; count++)
        ids [count] =
            gpb_test_actor_send (s_host.client, gpb_test_host_word ("fake_stuck", 1000000));
    uint64_t began_ns = gpb_clock_ns ();
    ck_assert_ok (gpb_client_cancel (s_host.client, in_lane, &error));
    gpb_test_actor_expect (s_host.client, in_lane, GPB_CANCELLED, "");
    for (int count = 3; count >= 0; count--) {
        ck_assert_ok (gpb_client_cancel (s_host.client, ids [count], &error));
        gpb_test_actor_expect (s_host.client, ids [count], GPB_CANCELLED, "");
    }
    gpb_test_actor_expect (s_host.client, first, GPB_OK, "");
    uint64_t last = gpb_test_actor_send (s_host.client, gpb_test_host_word ("fake_stuck", 0));
    gpb_test_actor_expect (s_host.client, last, GPB_OK, "");
    //  None of the five seconds that were taken back was spent.
    ck_assert_uint_lt (gpb_clock_ns () - began_ns, 5 * (uint64_t) GPB_NS_PER_S);
    gpb_test_host_stop (&s_host);
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  On demand

START_TEST (test_on_demand_a_message_is_a_launch_and_state_is_kept)
{
    gpb_test_host_fake (&s_host, NULL);
    for (uint64_t count = 1; count <= 40; count++) {
        gpb_request_t *request = gpb_test_host_word ("fake_count", (uint32_t) count);
        gpb_request_on_demand (request);
        gpb_reply_t *reply = gpb_test_actor_ok (s_host.client, request);
        ck_assert (gpb_test_host_timing (reply)->on_demand);
        ck_assert_uint_gt (gpb_test_host_timing (reply)->ring_ns, 0);
        ck_assert_uint_eq (*(const uint64_t *) gpb_reply_result (reply, 0, NULL), count);
        gpb_reply_destroy (&reply);
    }
    gpb_reply_t *reply;
    const Gpb__V1__Residency *residency = gpb_test_host_residency (&s_host, "fake_count", &reply);
    ck_assert_uint_eq (residency->launches, 0);
    ck_assert_uint_eq (residency->on_demand, 40);
    gpb_reply_destroy (&reply);
    gpb_test_host_stop (&s_host);
}
END_TEST

START_TEST (test_a_device_without_shared_memory_runs_on_demand_and_says_so)
{
    setenv ("GPB_FAKE_SVM", "0", 1);
    gpb_test_host_fake (&s_host, NULL);
    s_check_many ("fake_double", 200, 64);
    gpb_reply_t *reply;
    const Gpb__V1__Residency *residency = gpb_test_host_residency (&s_host, "fake_double", &reply);
    ck_assert_int_eq (residency->state, GPB__V1__RESIDENCY_STATE__ON_DEMAND_ONLY);
    ck_assert_uint_eq (residency->on_demand, 200);
    ck_assert_ptr_nonnull (strstr (residency->reason, "memory"));
    gpb_reply_destroy (&reply);
    gpb_test_host_stop (&s_host);
}
END_TEST

START_TEST (test_on_demand_works_on_pocl_too)
{
    gpb_test_host_start_pocl (&s_host, NULL);
    for (int count = 0; count < 20; count++) {
        const float value = (float) count;
        gpb_request_t *request = gpb_test_host_message ("double", &value, sizeof value);
        gpb_request_on_demand (request);
        gpb_reply_t *reply = gpb_test_actor_ok (s_host.client, request);
        ck_assert (*(const float *) gpb_reply_result (reply, 0, NULL) == 2 * value);
        ck_assert (gpb_test_host_timing (reply)->on_demand);
        gpb_reply_destroy (&reply);
    }
    gpb_test_host_stop (&s_host);
}
END_TEST

GPB_TEST_MAIN ("gpb_host_work", 60, test_a_message_comes_back_with_its_times,
               test_many_messages_are_answered_once_each_and_right,
               test_a_kernel_on_pocl_answers_too,
               test_state_stays_with_its_lane_and_a_key_keeps_its_order,
               test_a_message_too_large_for_a_slot_goes_by_the_heap,
               test_what_is_no_message_is_refused,
               test_a_handler_that_says_it_wrote_too_much_costs_its_message,
               test_a_full_kernel_says_its_bound_and_when_to_come_back,
               test_a_message_taken_back_leaves_its_queue_or_its_lane,
               test_on_demand_a_message_is_a_launch_and_state_is_kept,
               test_a_device_without_shared_memory_runs_on_demand_and_says_so,
               test_on_demand_works_on_pocl_too)
