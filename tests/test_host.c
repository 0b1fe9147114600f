//  Tests of gpb_host: messages, lanes and the budget of those, on the fake backend, whose lanes are
//  threads that run the same loop as C11; and on PoCL, where they are kernels.

#include "gpb_test.h"

#include "gpb_clock.h"
#include "gpb_host.h"
#include "gpb_service.h"
#include "gpb_test_actor.h"
#include "gpb_test_device.h"

#include <inttypes.h>

#define FAKE "tests/kernels_fake"
#define POCL "tests/kernels_persistent"
#define FOR_EVER 4294967295u    //  to fake_stuck: until it is let go

static gpb_error_t error;
static gpb_test_actor_t s_host;
static gpb_client_t *s_client;

#define s_start(...) s_start_on ("fake", FAKE, (const char *const []){ __VA_ARGS__ NULL })

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

static void
s_expect (uint64_t id, gpb_status_t status, const char *part)
{
    gpb_reply_t *reply = gpb_test_actor_recv (s_client);
    ck_assert_uint_eq (gpb_reply_id (reply), id);
    ck_assert_msg (gpb_reply_status (reply) == status, "%s: %s",
                   gpb_status_name (gpb_reply_status (reply)), gpb_reply_message (reply));
    ck_assert_msg (strstr (gpb_reply_message (reply), part) != NULL, "%s",
                   gpb_reply_message (reply));
    gpb_reply_destroy (&reply);
}

//  What the host says of a kernel now; the reply is the caller's.
static const Gpb__V1__Residency *
s_residency (const char *kernel, gpb_reply_t **reply_p)
{
    *reply_p = gpb_test_actor_ok (s_client, gpb_request_stats ());
    const Gpb__V1__StatsReply *stats = gpb_reply_header_peek (*reply_p)->stats;
    for (size_t index = 0; index < stats->n_residencies; index++)
        if (streq (stats->residencies [index]->kernel, kernel)
            && stats->residencies [index]->state != GPB__V1__RESIDENCY_STATE__STOPPED)
            return stats->residencies [index];
    ck_abort_msg ("the host says nothing of %s", kernel);
}

static void
s_await_state (const char *kernel, Gpb__V1__ResidencyState state)
{
    uint64_t end_ns = gpb_clock_ns () + 30 * GPB_NS_PER_S;
    while (true) {
        gpb_reply_t *reply;
        Gpb__V1__ResidencyState now = s_residency (kernel, &reply)->state;
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
    gpb_reply_t *reply =
        gpb_test_actor_ok (s_client, s_message (kernel, values, sizeof values));
    size_t size;
    doubled = (float *) gpb_reply_result (reply, 0, &size);
    ck_assert_uint_eq (size, sizeof values);
    for (uint32_t index = 0; index < count; index++)
        ck_assert (doubled [index] == 2 * values [index]);
    gpb_reply_destroy (&reply);
}

START_TEST (test_a_message_comes_back_with_its_times)
{
    s_start ();
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
    s_start ();
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

GPB_TEST_MAIN ("gpb_host", 60, test_a_message_comes_back_with_its_times,
               test_many_messages_are_answered_once_each_and_right,
               test_a_kernel_on_pocl_answers_too)
