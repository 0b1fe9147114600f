//  Tests of gpb_host: messages, lanes and the budget of those, on the fake backend, whose lanes are
//  threads that run the same loop as C11; and on PoCL, where they are kernels.

#include "gpb_test.h"

#include "gpb_clock.h"
#include "gpb_histogram.h"
#include "gpb_host.h"
#include "gpb_service.h"
#include "gpb_test_actor.h"
#include "gpb_test_device.h"

#include <inttypes.h>

#define FAKE "tests/kernels_fake"
#define POCL "tests/kernels_persistent"
#define FOR_EVER 4294967295u    //  to fake_stuck: until it is let go

static gpb_test_actor_t s_host;
static gpb_client_t *s_client;

#define s_start_with(...) s_start_on ("fake", FAKE, (const char *const []){ __VA_ARGS__, NULL })

static void
s_start_on (const char *backend, const char *folder, const char *const *settings)
{
    gpb_test_actor_host (&s_host, backend, folder, settings);
    s_client = gpb_test_actor_client (GPB_TEST_ACTOR_INPROC);
}

static void
s_stop (void)
{
    gpb_client_destroy (&s_client);
    gpb_test_actor_stop (&s_host);
}

static gpb_request_t *
s_message (const char *kernel, const void *data, size_t size)
{
    gpb_request_t *request = gpb_request_execute (kernel);
    gpb_request_in (request, data, size);
    gpb_request_out (request, 0);
    return request;
}

static gpb_request_t *
s_word (const char *kernel, uint32_t word)
{
    return s_message (kernel, &word, sizeof word);
}

static const Gpb__V1__MessageTiming *
s_timing (const gpb_reply_t *reply)
{
    return gpb_reply_header_peek (reply)->execute->message;
}

//  What the host says of a kernel now, NULL: nothing yet; the reply is the caller's.
static const Gpb__V1__Residency *
s_find (const char *kernel, gpb_reply_t **reply_p)
{
    *reply_p = gpb_test_actor_ok (s_client, gpb_request_stats ());
    const Gpb__V1__StatsReply *stats = gpb_reply_header_peek (*reply_p)->stats;
    for (size_t index = 0; index < stats->n_residencies; index++)
        if (streq (stats->residencies [index]->kernel, kernel)
            && stats->residencies [index]->state != GPB__V1__RESIDENCY_STATE__STOPPED)
            return stats->residencies [index];
    return NULL;
}

static const Gpb__V1__Residency *
s_residency (const char *kernel, gpb_reply_t **reply_p)
{
    const Gpb__V1__Residency *found = s_find (kernel, reply_p);
    ck_assert_msg (found != NULL, "the host says nothing of %s", kernel);
    return found;
}

static void
s_await_state (const char *kernel, Gpb__V1__ResidencyState state)
{
    uint64_t end_ns = gpb_clock_ns () + 30 * GPB_NS_PER_S;
    while (true) {
        gpb_reply_t *reply;
        const Gpb__V1__Residency *found = s_find (kernel, &reply);
        Gpb__V1__ResidencyState now = found ? found->state : GPB__V1__RESIDENCY_STATE__UNLOADED;
        gpb_reply_destroy (&reply);
        if (now == state)
            return;
        ck_assert_msg (gpb_clock_ns () < end_ns, "%s is %d, not %d", kernel, now, state);
        zclock_sleep (2);
    }
}

//  ---------------------------------------------------------------------------------------------------------
//  Messages

static void
s_check_double (const char *kernel, uint32_t count)
{
    float values [count], *doubled;
    for (uint32_t index = 0; index < count; index++)
        values [index] = (float) index + 0.5f;
    gpb_reply_t *reply = gpb_test_actor_ok (s_client, s_message (kernel, values, sizeof values));
    size_t size;
    doubled = (float *) gpb_reply_result (reply, 0, &size);
    ck_assert_uint_eq (size, sizeof values);
    for (uint32_t index = 0; index < count; index++)
        ck_assert (doubled [index] == 2 * values [index]);
    gpb_reply_destroy (&reply);
}

START_TEST (test_a_message_comes_back_with_its_times)
{
    s_start_on ("fake", FAKE, NULL);
    s_check_double ("fake_double", 3);
    gpb_reply_t *reply = gpb_test_actor_ok (s_client, s_word ("fake_stuck", 2000));
    const Gpb__V1__MessageTiming *timing = s_timing (reply);
    ck_assert_str_eq (timing->clock, "monotonic");
    ck_assert (timing->measured);
    ck_assert_uint_gt (timing->queued_ns, 0);
    ck_assert_uint_gt (timing->taken_ns, 0);
    ck_assert_uint_ge (timing->handler_ns, 2000000);
    ck_assert_uint_gt (timing->back_ns, 0);
    ck_assert_uint_ge (timing->ring_ns, timing->handler_ns);
    ck_assert (!timing->on_demand);
    gpb_reply_destroy (&reply);
    s_stop ();
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
            uint64_t id = gpb_test_actor_send (s_client, s_message (kernel, &value, sizeof value));
            ck_assert_uint_eq (id, ++sent);
        }
        gpb_reply_t *reply = gpb_test_actor_recv (s_client);
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
    s_start_on ("fake", FAKE, NULL);
    s_check_many ("fake_double", 20000, 512);
    s_stop ();
}
END_TEST

START_TEST (test_a_kernel_on_pocl_answers_too)
{
    s_start_on ("opencl", POCL, NULL);
    s_check_double ("double", 24);
    s_check_double ("double", 1024);    //  by the heap
    gpb_reply_t *reply = gpb_test_actor_ok (s_client, s_word ("double_i32", 21));
    ck_assert_int_eq (*(const int32_t *) gpb_reply_result (reply, 0, NULL), 42);
    gpb_reply_destroy (&reply);
    s_stop ();
}
END_TEST

START_TEST (test_state_stays_with_its_lane_and_a_key_keeps_its_order)
{
    enum { KEYS = 8, EACH = 200 };
    s_start_on ("fake", FAKE, NULL);
    uint64_t digests [KEYS] = { 0 }, counts [KEYS] = { 0 };
    uint32_t lanes [KEYS];
    uint64_t lane_counts [4] = { 0 }, last [KEYS] = { 0 };
    //  What a lane has seen is all of its keys' messages, in the order in which they were sent.
    for (uint32_t round = 0; round < EACH; round++)
        for (uint32_t key = 0; key < KEYS; key++) {
            gpb_request_t *request = s_word ("fake_count", round * KEYS + key);
            gpb_request_lane (request, key);
            gpb_test_actor_send (s_client, request);
        }
    for (uint32_t received = 0; received < KEYS * EACH; received++) {
        gpb_reply_t *reply = gpb_test_actor_recv (s_client);
        ck_assert_msg (gpb_reply_status (reply) == GPB_OK, "%s", gpb_reply_message (reply));
        uint32_t key = (uint32_t) ((gpb_reply_id (reply) - 1) % KEYS);
        const uint32_t lane = s_timing (reply)->lane;
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
    s_stop ();
}
END_TEST

START_TEST (test_a_message_too_large_for_a_slot_goes_by_the_heap)
{
    s_start_with ("persistent_memory", "0");    //  two blocks: one message at a time
    unsigned char data [4096];
    for (size_t index = 0; index < sizeof data; index++)
        data [index] = (unsigned char) (index * 7);
    for (int count = 0; count < 40; count++)
        gpb_test_actor_send (s_client, s_message ("fake_echo", data, sizeof data - (size_t) count));
    for (int count = 0; count < 40; count++) {
        gpb_reply_t *reply = gpb_test_actor_recv (s_client);
        size_t size;
        const void *result = gpb_reply_result (reply, 0, &size);
        ck_assert_uint_eq (size, sizeof data - (gpb_reply_id (reply) - 1));
        ck_assert_int_eq (memcmp (result, data, size), 0);
        gpb_reply_destroy (&reply);
    }
    gpb_reply_t *empty = gpb_test_actor_ok (s_client, s_message ("fake_echo", data, 0));
    ck_assert_uint_eq (gpb_reply_header_peek (empty)->execute->results [0]->size, 0);
    gpb_reply_destroy (&empty);
    unsigned char *more = calloc (1, 4097);
    gpb_test_actor_refused (s_client, s_message ("fake_echo", more, 4097), GPB_INVALID_ARGUMENT,
                            "4096");
    free (more);
    s_stop ();
}
END_TEST

START_TEST (test_what_is_no_message_is_refused)
{
    s_start_on ("fake", FAKE, NULL);
    const uint32_t word = 1;
    gpb_test_actor_refused (s_client, s_word ("nobody", 1), GPB_NOT_FOUND, "nobody");
    gpb_test_actor_refused (s_client, gpb_test_actor_scalar ("add", 1), GPB_FAILED_PRECONDITION,
                            "not persistent");
    gpb_test_actor_refused (s_client, gpb_request_execute ("fake_count"), GPB_INVALID_ARGUMENT,
                            "2");
    gpb_request_t *request = s_message ("fake_count", &word, 3);
    gpb_test_actor_refused (s_client, request, GPB_INVALID_ARGUMENT, "4");
    request = s_word ("fake_count", 1);
    gpb_request_set_global (request, 1, (const uint64_t []){ 64 });
    gpb_test_actor_refused (s_client, request, GPB_INVALID_ARGUMENT, "work size");
    request = s_word ("fake_count", 1);
    gpb_request_set_device (request, 1);
    gpb_test_actor_refused (s_client, request, GPB_NOT_FOUND, "device 1");
    request = gpb_request_execute ("fake_count");
    gpb_request_i32 (request, 1);
    gpb_request_out (request, 0);
    gpb_test_actor_refused (s_client, request, GPB_INVALID_ARGUMENT, "frame");
    s_stop ();
}
END_TEST

START_TEST (test_a_handler_that_says_it_wrote_too_much_costs_its_message)
{
    s_start_on ("opencl", POCL, NULL);
    const float values [] = { 1, 2 };
    gpb_test_actor_refused (s_client, s_message ("overflow", values, sizeof values), GPB_INTERNAL,
                            "overflow");
    s_check_double ("double", 3);
    s_stop ();
}
END_TEST

START_TEST (test_a_kernel_that_does_not_compile_says_so_to_every_message)
{
    s_start_on ("opencl", POCL, NULL);
    for (int count = 0; count < 2; count++)
        gpb_test_actor_refused (s_client, s_word ("broken", 1), GPB_FAILED_PRECONDITION,
                                "does not compile");
    gpb_reply_t *reply;
    const Gpb__V1__Residency *residency = s_residency ("broken", &reply);
    ck_assert_int_eq (residency->state, GPB__V1__RESIDENCY_STATE__FAILED);
    ck_assert_ptr_nonnull (strstr (residency->reason, "does not compile"));
    gpb_reply_destroy (&reply);
    s_check_double ("double", 3);
    s_stop ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Lanes

START_TEST (test_an_idle_lane_leaves_the_device_and_comes_back_with_its_state)
{
    s_start_with ("persistent_idle_ms", "5");
    for (uint64_t count = 1; count <= 3; count++) {
        gpb_request_t *request = s_word ("fake_count", 1);
        gpb_request_lane (request, 7);
        gpb_reply_t *reply = gpb_test_actor_ok (s_client, request);
        ck_assert_uint_eq (*(const uint64_t *) gpb_reply_result (reply, 0, NULL), count);
        gpb_reply_destroy (&reply);
        s_await_state ("fake_count", GPB__V1__RESIDENCY_STATE__PARKED);
        ck_assert_uint_eq (s_residency ("fake_count", &reply)->launches, count);
        gpb_reply_destroy (&reply);
    }
    s_stop ();
}
END_TEST

START_TEST (test_kernels_that_all_want_the_one_lane_of_the_device_take_turns)
{
    enum { EACH = 300 };
    static const char *const kernels [] = { "fake_double", "fake_echo", "fake_stuck" };
    s_start_with ("resident_lanes", "1");
    //  All at once, so that none of them ever idles before it has had its turn.
    for (int count = 0; count < EACH; count++)
        for (int kernel = 0; kernel < 3; kernel++)
            gpb_test_actor_send (s_client, s_word (kernels [kernel], kernel == 2 ? 200 : 0));
    for (int count = 0; count < 3 * EACH; count++) {
        gpb_reply_t *reply = gpb_test_actor_recv (s_client);
        ck_assert_msg (gpb_reply_status (reply) == GPB_OK, "%s", gpb_reply_message (reply));
        gpb_reply_destroy (&reply);
    }
    for (int kernel = 0; kernel < 3; kernel++) {
        gpb_reply_t *reply;
        ck_assert_uint_eq (s_residency (kernels [kernel], &reply)->answered, EACH);
        gpb_reply_destroy (&reply);
    }
    s_stop ();
}
END_TEST

START_TEST (test_a_kernel_that_always_works_does_not_keep_another_from_the_device)
{
    enum { BUSY = 32 };
    s_start_with ("resident_lanes", "1");
    uint64_t other = 0;
    //  The busy one has a message waiting at any time; its lane never idles.
    for (int count = 0; count < BUSY; count++)
        gpb_test_actor_send (s_client, s_word ("fake_stuck", 1000));
    other = gpb_test_actor_send (s_client, s_word ("fake_echo", 0));
    bool is_answered = false;
    for (int count = 0; !is_answered && count < 1000; count++) {
        gpb_reply_t *reply = gpb_test_actor_recv (s_client);
        is_answered = gpb_reply_id (reply) == other;
        gpb_reply_destroy (&reply);
        if (!is_answered)
            gpb_test_actor_send (s_client, s_word ("fake_stuck", 1000));
    }
    ck_assert (is_answered);
    s_stop ();
}
END_TEST

//  Two of three with a key.
static gpb_request_t *
s_keyed (uint32_t count)
{
    gpb_request_t *request = s_word ("fake_count", count);
    if (count % 3)
        gpb_request_lane (request, count);
    gpb_request_set_timeout (request, 20000);
    return request;
}

START_TEST (test_lanes_of_one_kernel_take_turns_too)
{
    enum { MESSAGES = 400 };
    s_start_with ("resident_lanes", "1");
    //  Four lanes by their keys, one seat: each has messages before it at any time, and so have
    //  those that are bound to none.
    for (uint32_t count = 0; count < MESSAGES; count++)
        gpb_test_actor_send (s_client, s_keyed (count));
    uint64_t lanes [4] = { 0 };
    for (uint32_t count = 0; count < 4 * MESSAGES; count++) {
        gpb_reply_t *reply = gpb_test_actor_recv (s_client);
        ck_assert_msg (gpb_reply_status (reply) == GPB_OK, "%s", gpb_reply_message (reply));
        lanes [s_timing (reply)->lane]++;
        gpb_reply_destroy (&reply);
        if (count < 3 * MESSAGES)
            gpb_test_actor_send (s_client, s_keyed (count));
    }
    for (int lane = 0; lane < 4; lane++)
        ck_assert_uint_gt (lanes [lane], MESSAGES / 4);
    s_stop ();
}
END_TEST

START_TEST (test_a_full_kernel_says_its_bound_and_when_to_come_back)
{
    s_start_with ("persistent_queue_requests", "10");
    //  Its lane has 4 slots: 14 are taken.
    for (int count = 0; count < 14; count++)
        gpb_test_actor_send (s_client, s_word ("fake_stuck", 20000));
    uint64_t id = gpb_test_actor_send (s_client, s_word ("fake_stuck", 0));
    gpb_test_actor_expect (s_client, id, GPB_RESOURCE_EXHAUSTED,
                           "10 messages wait for kernel fake_stuck");
    s_check_double ("fake_double", 1);    //  another kernel's queue is its own
    for (int count = 0; count < 14; count++) {
        gpb_reply_t *reply = gpb_test_actor_recv (s_client);
        ck_assert_int_eq (gpb_reply_status (reply), GPB_OK);
        gpb_reply_destroy (&reply);
    }
    s_stop ();
}
END_TEST

START_TEST (test_a_message_taken_back_leaves_its_queue_or_its_lane)
{
    s_start_on ("fake", FAKE, NULL);
    gpb_error_t error;
    uint64_t first = gpb_test_actor_send (s_client, s_word ("fake_stuck", 100000));
    uint64_t in_lane = gpb_test_actor_send (s_client, s_word ("fake_stuck", 1000000));
    uint64_t ids [4];
    for (int count = 0; count < 4; count++)
        ids [count] = gpb_test_actor_send (s_client, s_word ("fake_stuck", 1000000));
    uint64_t began_ns = gpb_clock_ns ();
    ck_assert_ok (gpb_client_cancel (s_client, in_lane, &error));
    gpb_test_actor_expect (s_client, in_lane, GPB_CANCELLED, "");
    for (int count = 3; count >= 0; count--) {
        ck_assert_ok (gpb_client_cancel (s_client, ids [count], &error));
        gpb_test_actor_expect (s_client, ids [count], GPB_CANCELLED, "");
    }
    gpb_test_actor_expect (s_client, first, GPB_OK, "");
    uint64_t last = gpb_test_actor_send (s_client, s_word ("fake_stuck", 0));
    gpb_test_actor_expect (s_client, last, GPB_OK, "");
    //  None of the five seconds that were taken back was spent.
    ck_assert_uint_lt (gpb_clock_ns () - began_ns, 5 * (uint64_t) GPB_NS_PER_S);
    s_stop ();
}
END_TEST

START_TEST (test_a_handler_past_its_deadline_is_answered_and_its_lane_quarantined)
{
    s_start_with ("kernel_timeout_ms", "300");
    gpb_request_t *request = s_word ("fake_stuck", FOR_EVER);
    gpb_request_set_timeout (request, 100);
    uint64_t first = gpb_test_actor_send (s_client, request);
    uint64_t second = gpb_test_actor_send (s_client, s_word ("fake_stuck", 0));
    gpb_test_actor_expect (s_client, first, GPB_DEADLINE_EXCEEDED, "with its kernel");
    gpb_test_actor_expect (s_client, second, GPB_UNAVAILABLE, "did not return within");
    gpb_test_actor_refused (s_client, s_word ("fake_stuck", 0), GPB_FAILED_PRECONDITION,
                            "quarantined");
    gpb_reply_t *reply;
    const Gpb__V1__Residency *residency = s_residency ("fake_stuck", &reply);
    ck_assert_int_eq (residency->state, GPB__V1__RESIDENCY_STATE__QUARANTINED);
    gpb_reply_destroy (&reply);
    s_check_double ("fake_double", 2);    //  the others go on

    //  It returns after all: it was slow.
    gpb_test_fake_let_go ();
    s_await_state ("fake_stuck", GPB__V1__RESIDENCY_STATE__PARKED);
    gpb_test_actor_done (s_client, s_word ("fake_stuck", 0));
    s_stop ();
}
END_TEST

START_TEST (test_a_handler_that_never_returns_does_not_keep_a_host_from_stopping)
{
    s_start_with ("drain_ms", "200");
    uint64_t id = gpb_test_actor_send (s_client, s_word ("fake_stuck", FOR_EVER));
    s_await_state ("fake_stuck", GPB__V1__RESIDENCY_STATE__RESIDENT);
    gpb_test_actor_stop (&s_host);
    gpb_test_actor_expect (s_client, id, GPB_UNAVAILABLE, "stopped");
    gpb_client_destroy (&s_client);
    gpb_test_fake_let_go ();
}
END_TEST

START_TEST (test_a_host_that_stops_answers_what_it_has)
{
    s_start_on ("fake", FAKE, NULL);
    uint64_t ids [8];
    for (int count = 0; count < 8; count++)
        ids [count] = gpb_test_actor_send (s_client, s_word ("fake_stuck", 10000));
    s_await_state ("fake_stuck", GPB__V1__RESIDENCY_STATE__RESIDENT);
    gpb_test_actor_stop (&s_host);
    for (int count = 0; count < 8; count++)
        gpb_test_actor_expect (s_client, ids [count], GPB_OK, "");
    gpb_client_destroy (&s_client);
}
END_TEST

START_TEST (test_what_a_client_that_leaves_had_waiting_is_not_begun)
{
    s_start_on ("fake", FAKE, NULL);
    gpb_client_t *leaver = gpb_test_actor_client (GPB_TEST_ACTOR_INPROC);
    for (int count = 0; count < 20; count++)
        gpb_test_actor_send (leaver, s_word ("fake_stuck", count == 0 ? 100000 : 10000000));
    s_await_state ("fake_stuck", GPB__V1__RESIDENCY_STATE__RESIDENT);
    gpb_client_destroy (&leaver);
    gpb_test_actor_done (s_client, s_word ("fake_stuck", 0));    //  behind at most one of them
    s_stop ();
}
END_TEST

START_TEST (test_parked_for_a_compile_nothing_is_on_the_device_until_it_may_resume)
{
    s_start_on ("fake", FAKE, NULL);
    gpb_error_t error;
    s_check_double ("fake_double", 2);
    ck_assert_ok (gpb_pipe_ask (s_host.actor, (const char *[]){ "PARK", NULL }, &error));
    s_await_state ("fake_double", GPB__V1__RESIDENCY_STATE__PARKED);
    uint64_t id = gpb_test_actor_send (s_client, s_word ("fake_double", 0));
    s_await_state ("fake_double", GPB__V1__RESIDENCY_STATE__PARKED);
    ck_assert_ok (gpb_pipe_ask (s_host.actor, (const char *[]){ "RESUME", NULL }, &error));
    gpb_test_actor_expect (s_client, id, GPB_OK, "");
    s_stop ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  On demand

START_TEST (test_on_demand_a_message_is_a_launch_and_state_is_kept)
{
    s_start_on ("fake", FAKE, NULL);
    for (uint64_t count = 1; count <= 40; count++) {
        gpb_request_t *request = s_word ("fake_count", (uint32_t) count);
        gpb_request_on_demand (request);
        gpb_reply_t *reply = gpb_test_actor_ok (s_client, request);
        ck_assert (s_timing (reply)->on_demand);
        ck_assert_uint_gt (s_timing (reply)->ring_ns, 0);
        ck_assert_uint_eq (*(const uint64_t *) gpb_reply_result (reply, 0, NULL), count);
        gpb_reply_destroy (&reply);
    }
    gpb_reply_t *reply;
    const Gpb__V1__Residency *residency = s_residency ("fake_count", &reply);
    ck_assert_uint_eq (residency->launches, 0);
    ck_assert_uint_eq (residency->on_demand, 40);
    gpb_reply_destroy (&reply);
    s_stop ();
}
END_TEST

START_TEST (test_a_device_without_shared_memory_runs_on_demand_and_says_so)
{
    setenv ("GPB_FAKE_SVM", "0", 1);
    s_start_on ("fake", FAKE, NULL);
    s_check_many ("fake_double", 200, 64);
    gpb_reply_t *reply;
    const Gpb__V1__Residency *residency = s_residency ("fake_double", &reply);
    ck_assert_int_eq (residency->state, GPB__V1__RESIDENCY_STATE__ON_DEMAND_ONLY);
    ck_assert_uint_eq (residency->on_demand, 200);
    ck_assert_ptr_nonnull (strstr (residency->reason, "memory"));
    gpb_reply_destroy (&reply);
    s_stop ();
}
END_TEST

START_TEST (test_on_demand_works_on_pocl_too)
{
    s_start_on ("opencl", POCL, NULL);
    for (int count = 0; count < 20; count++) {
        const float value = (float) count;
        gpb_request_t *request = s_message ("double", &value, sizeof value);
        gpb_request_on_demand (request);
        gpb_reply_t *reply = gpb_test_actor_ok (s_client, request);
        ck_assert (*(const float *) gpb_reply_result (reply, 0, NULL) == 2 * value);
        ck_assert (s_timing (reply)->on_demand);
        gpb_reply_destroy (&reply);
    }
    s_stop ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Replacement

#define DEFINITION(entry)                                                                          \
    "id = \"mine\"; description = \"\"; source = \"mine.c\"; persistent = true; entry = \"" entry  \
    "\"; slots = 4; state = 16;"                                                                   \
    "parameters = ({ name = \"in\"; direction = \"in\"; type = \"u32\"; },"                        \
    "{ name = \"out\"; direction = \"out\"; type = \"u64\"; count = \"count + 2\"; });"

START_TEST (test_a_kernel_replaced_at_run_time_finishes_what_it_has)
{
    s_start_with ("allow_register", "true");
    gpb_test_actor_done (s_client, gpb_request_register (DEFINITION ("fake_stuck"), "1", false));
    uint64_t ids [8];
    for (int count = 0; count < 8; count++)
        ids [count] = gpb_test_actor_send (s_client, s_word ("mine", 20000));
    gpb_test_actor_done (s_client, gpb_request_register (DEFINITION ("fake_count"), "2", true));
    gpb_reply_t *reply = NULL;
    uint64_t new_one = gpb_test_actor_send (s_client, s_word ("mine", 5));
    //  The new version answers beside the old one, which still has its own.
    unsigned answered = 0;
    for (int count = 0; count < 9; count++) {
        reply = gpb_test_actor_recv (s_client);
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
    ck_assert_uint_eq (s_residency ("mine", &reply)->version, 2);
    gpb_reply_destroy (&reply);
    s_stop ();
}
END_TEST

START_TEST (test_a_replacement_may_take_over_the_state)
{
    s_start_with ("allow_register", "true");
    gpb_reply_t *reply;
    gpb_test_actor_done (s_client, gpb_request_register (DEFINITION ("fake_count"), "1", false));
    for (uint64_t count = 1; count <= 5; count++)
        gpb_test_actor_send (s_client, s_word ("mine", 1));
    gpb_request_t *request = gpb_request_register (DEFINITION ("fake_count"), "2", true);
    gpb_request_keep_state (request);
    gpb_test_actor_send (s_client, request);
    gpb_test_actor_send (s_client, s_word ("mine", 1));
    uint64_t last = 0;
    for (uint64_t count = 1; count <= 7; count++) {
        reply = gpb_test_actor_recv (s_client);
        ck_assert_msg (gpb_reply_status (reply) == GPB_OK, "%s", gpb_reply_message (reply));
        if (gpb_reply_results (reply) == 1)
            last = *(const uint64_t *) gpb_reply_result (reply, 0, NULL);
        gpb_reply_destroy (&reply);
    }
    ck_assert_uint_eq (last, 6);
    gpb_test_actor_done (s_client, gpb_request_register (DEFINITION ("fake_count"), "3", true));
    reply = gpb_test_actor_ok (s_client, s_word ("mine", 1));
    ck_assert_uint_eq (*(const uint64_t *) gpb_reply_result (reply, 0, NULL), 1);    //  from zeros
    gpb_reply_destroy (&reply);
    s_stop ();
}
END_TEST

//  The fake backend's books know of what is loaded or unloaded beside a lane.
START_TEST (test_where_code_is_loaded_alone_lanes_leave_for_it_and_come_back)
{
    setenv ("GPB_FAKE_LOADS_ALONE", "1", 1);
    s_start_with ("persistent_idle_ms", "10000", "allow_register", "true");
    for (int round = 0; round < 3; round++) {
        s_check_double ("fake_double", 2);
        s_await_state ("fake_double", GPB__V1__RESIDENCY_STATE__RESIDENT);
        gpb_test_actor_done (s_client, gpb_request_register (DEFINITION ("fake_count"), "1", true));
        s_check_double ("fake_double", 2);
        gpb_request_t *request = s_word ("mine", 1);
        gpb_request_on_demand (request);
        gpb_test_actor_done (s_client, request);
    }
    gpb_reply_t *reply;
    ck_assert_uint_ge (s_residency ("fake_double", &reply)->launches, 4);
    gpb_reply_destroy (&reply);
    s_stop ();
}
END_TEST

START_TEST (test_where_code_is_loaded_alone_nothing_is_while_a_handler_is_stuck)
{
    setenv ("GPB_FAKE_LOADS_ALONE", "1", 1);
    s_start_with ("kernel_timeout_ms", "200", "drain_ms", "300");
    uint64_t id = gpb_test_actor_send (s_client, s_word ("fake_stuck", FOR_EVER));
    gpb_test_actor_expect (s_client, id, GPB_DEADLINE_EXCEEDED, "quarantined");
    id = gpb_test_actor_send (s_client, s_word ("fake_count", 1));
    gpb_test_actor_expect (s_client, id, GPB_RESOURCE_EXHAUSTED, "nothing can be loaded");
    gpb_test_fake_let_go ();
    s_await_state ("fake_stuck", GPB__V1__RESIDENCY_STATE__PARKED);
    zclock_sleep (1100);    //  it is tried once a second
    gpb_test_actor_done (s_client, s_word ("fake_count", 1));
    s_stop ();
}
END_TEST

//  The specification's: a stream of 100 messages of whole numbers after a warm-up, each answer
//  found by its id, and percentiles in ns of what each message took.
START_TEST (test_the_stream_of_the_specification_is_doubled)
{
    enum { WARM = 20, MESSAGES = 100 };
    static gpb_histogram_t histogram;
    s_start_on ("opencl", POCL, NULL);
    for (int32_t value = 0; value < WARM; value++) {
        gpb_reply_t *reply =
            gpb_test_actor_ok (s_client, s_message ("double_i32", &value, sizeof value));
        gpb_reply_destroy (&reply);
    }
    int32_t values [MESSAGES];
    uint64_t first = 0;
    for (int32_t index = 0; index < MESSAGES; index++) {
        values [index] = 1000 - 37 * index;
        uint64_t id = gpb_test_actor_send (s_client, s_message ("double_i32", &values [index],
                                                                sizeof values [index]));
        first = first ? first : id;
    }
    for (int32_t count = 0; count < MESSAGES; count++) {
        gpb_reply_t *reply = gpb_test_actor_recv (s_client);
        ck_assert_int_eq (gpb_reply_status (reply), GPB_OK);
        ck_assert_int_eq (*(const int32_t *) gpb_reply_result (reply, 0, NULL),
                          2 * values [gpb_reply_id (reply) - first]);
        gpb_histogram_record (&histogram, s_timing (reply)->ring_ns);
        gpb_reply_destroy (&reply);
    }
    ck_assert_uint_eq (histogram.count, MESSAGES);
    ck_assert_uint_gt (gpb_histogram_percentile (&histogram, 50), 0);
    ck_assert_uint_ge (gpb_histogram_percentile (&histogram, 95),
                       gpb_histogram_percentile (&histogram, 50));
    s_stop ();
}
END_TEST

GPB_TEST_MAIN (
    "gpb_host", 60, test_a_message_comes_back_with_its_times,
    test_many_messages_are_answered_once_each_and_right, test_a_kernel_on_pocl_answers_too,
    test_state_stays_with_its_lane_and_a_key_keeps_its_order,
    test_a_message_too_large_for_a_slot_goes_by_the_heap, test_what_is_no_message_is_refused,
    test_a_handler_that_says_it_wrote_too_much_costs_its_message,
    test_a_kernel_that_does_not_compile_says_so_to_every_message,
    test_an_idle_lane_leaves_the_device_and_comes_back_with_its_state,
    test_kernels_that_all_want_the_one_lane_of_the_device_take_turns,
    test_a_kernel_that_always_works_does_not_keep_another_from_the_device,
    test_lanes_of_one_kernel_take_turns_too,
    test_a_full_kernel_says_its_bound_and_when_to_come_back,
    test_a_message_taken_back_leaves_its_queue_or_its_lane,
    test_a_handler_past_its_deadline_is_answered_and_its_lane_quarantined,
    test_a_handler_that_never_returns_does_not_keep_a_host_from_stopping,
    test_a_host_that_stops_answers_what_it_has,
    test_what_a_client_that_leaves_had_waiting_is_not_begun,
    test_parked_for_a_compile_nothing_is_on_the_device_until_it_may_resume,
    test_where_code_is_loaded_alone_lanes_leave_for_it_and_come_back,
    test_where_code_is_loaded_alone_nothing_is_while_a_handler_is_stuck,
    test_on_demand_a_message_is_a_launch_and_state_is_kept,
    test_a_device_without_shared_memory_runs_on_demand_and_says_so,
    test_on_demand_works_on_pocl_too, test_a_kernel_replaced_at_run_time_finishes_what_it_has,
    test_a_replacement_may_take_over_the_state, test_the_stream_of_the_specification_is_doubled)
