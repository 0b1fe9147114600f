//  Tests of gpb_resident, without an actor around it: every persistent package that ships, a
//  million messages each through a lane on PoCL; and a lane's life on the fake backend.

#include "gpb_test.h"

#include "gpb_clock.h"
#include "gpb_reference.h"
#include "gpb_resident.h"
#include "gpb_test_device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

//  Sanitizers see nothing of the kernel, and make the rest slow.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define MESSAGES 100000
#else
#define MESSAGES 1000000
#endif
#define IDLE_NS (20 * GPB_NS_PER_MS)

static gpb_error_t error;
static gpb_shared_context_t *s_shared;
static gpb_kernels_t *s_kernels;
static gpb_cache_t *s_cache;
static gpb_resident_t *s_resident;
static gpb_ticks_t s_clock;

static void
s_open (const char *backend, const char *folder, const char *kernel, uint64_t heap_size)
{
    char path [4096];
    snprintf (path, sizeof path, "%s/%s", getenv ("GPB_SOURCE_DIR"), folder);
    s_shared = gpb_shared_context_open (backend, 0, 1, false, &error);
    ck_assert_msg (s_shared != NULL, "%s", error.text);
    s_kernels = gpb_kernels_new (path, &error);
    s_cache = gpb_cache_new ("", 0, &error);
    ck_assert_uint_gt (s_shared->lanes, 0);
    s_resident = gpb_resident_new (s_shared, gpb_kernels_lookup (s_kernels, kernel), s_cache,
                                   heap_size, &error);
    ck_assert_msg (s_resident != NULL, "%s", error.text);
    gpb_ticks_init (&s_clock);
}

static void
s_close (void)
{
    gpb_resident_destroy (&s_resident);
    gpb_cache_destroy (&s_cache);
    gpb_kernels_destroy (&s_kernels);
    gpb_shared_context_release (&s_shared);
}

static void
s_wake (void)
{
    ck_assert_ok (gpb_resident_wake (s_resident, 0, gpb_shared_context_host_stream (s_shared) + 1,
                                     IDLE_NS, &s_clock, &error));
}

//  Until the lane has returned.
static void
s_settle (void)
{
    uint64_t end_ns = gpb_clock_ns () + 30 * GPB_NS_PER_S;
    while (!gpb_resident_settle (s_resident, 0))
        ck_assert_msg (gpb_clock_ns () < end_ns, "the lane does not return");
}

//  ---------------------------------------------------------------------------------------------------------
//  A million messages

typedef void (s_fill_fn) (uint64_t message, void *input);
typedef void (s_expect_fn) (uint64_t message, const void *output, uint32_t size);

//  As many in the ring as there are slots; where the lane has gone, being idle, it is woken.
static void
s_run (uint32_t size, uint32_t capacity, s_fill_fn *fill, s_expect_fn *expect)
{
    gpb_ring_t *ring = &s_resident->lanes [0].ring;
    const gpb_ring_message_t message = { .size = size, .capacity = capacity };
    uint64_t sent = 0;
    s_wake ();
    for (uint64_t received = 0; received < MESSAGES; received++) {
        gpb_ring_answer_t answer;
        while (!gpb_ring_answer (ring, &answer)) {
            if (sent < MESSAGES && gpb_ring_room (ring) > 0) {
                fill (sent++, gpb_ring_input (ring));
                gpb_ring_publish (ring, &message);
            }
            else if (gpb_resident_settle (s_resident, 0))
                s_wake ();
        }
        ck_assert_uint_eq (answer.index, received);
        ck_assert_int_eq (answer.outcome, GPB_RING_OK);
        expect (received, answer.output, answer.size);
        gpb_ring_pop (ring);
    }
    gpb_resident_park (s_resident, 0);
    s_settle ();
    s_close ();
}

//  A value of a stream: whole numbers, negative ones too, that repeat after a prime.
static float
s_value (uint64_t index)
{
    return (float) ((int64_t) (index * 7919 % 10007) - 5003) / 8;
}

#define FLOATS 3    //  of a message, where nothing else is said

static void
s_fill_floats (uint64_t message, void *input)
{
    float *values = input;
    for (uint64_t index = 0; index < FLOATS; index++)
        values [index] = s_value (message * FLOATS + index);
}

//  To the bit, whatever they hold.
static void
s_expect_same (uint64_t message, const void *output, const void *expected, size_t size)
{
    if (memcmp (output, expected, size) != 0)
        ck_abort_msg ("message %llu is wrong", (unsigned long long) message);
}

static void
s_expect_double (uint64_t message, const void *output, uint32_t size)
{
    float values [FLOATS], expected [FLOATS];
    s_fill_floats (message, values);
    gpb_reference_double (expected, values, FLOATS);
    ck_assert_uint_eq (size, sizeof expected);
    s_expect_same (message, output, expected, size);
}

START_TEST (test_a_million_messages_are_doubled)
{
    s_open ("opencl", "kernels", "double", 0);
    s_run (FLOATS * sizeof (float), FLOATS * sizeof (float), s_fill_floats, s_expect_double);
}
END_TEST

static void
s_expect_echo (uint64_t message, const void *output, uint32_t size)
{
    float values [FLOATS];
    s_fill_floats (message, values);
    ck_assert_uint_eq (size, sizeof values);
    s_expect_same (message, output, values, size);
}

START_TEST (test_a_million_messages_come_back)
{
    s_open ("opencl", "kernels", "echo", 0);
    s_run (FLOATS * sizeof (float), FLOATS * sizeof (float), s_fill_floats, s_expect_echo);
}
END_TEST

#define TOP_FLOATS 20

static void
s_fill_top (uint64_t message, void *input)
{
    float *values = input;
    for (uint64_t index = 0; index < TOP_FLOATS; index++)
        values [index] = s_value (message * TOP_FLOATS + index);
}

static void
s_expect_top (uint64_t message, const void *output, uint32_t size)
{
    float values [TOP_FLOATS], expected [GPB_REFERENCE_TOP_K];
    s_fill_top (message, values);
    size_t count = gpb_reference_top_k (expected, values, TOP_FLOATS);
    if (size != count * sizeof *expected || memcmp (output, expected, size) != 0)
        ck_abort_msg ("message %llu is wrong", (unsigned long long) message);
}

START_TEST (test_a_million_messages_give_their_largest)
{
    s_open ("opencl", "kernels", "top_k", 0);
    s_run (TOP_FLOATS * sizeof (float), GPB_REFERENCE_TOP_K * sizeof (float), s_fill_top,
           s_expect_top);
}
END_TEST

static float *s_stream;
static gpb_reference_t *s_expected;

static void
s_expect_average (uint64_t message, const void *output, uint32_t size)
{
    const float *averages = output;
    ck_assert_uint_eq (size, FLOATS * sizeof *averages);
    for (uint64_t index = 0; index < FLOATS; index++) {
        const gpb_reference_t *expected = &s_expected [message * FLOATS + index];
        double difference = averages [index] - expected->value;
        if (difference > expected->bound || -difference > expected->bound)
            ck_abort_msg ("message %llu: %g, not %g", (unsigned long long) message,
                          (double) averages [index], expected->value);
    }
}

static void
s_make_stream (void)
{
    s_stream = malloc (FLOATS * MESSAGES * sizeof *s_stream);
    ck_assert_ptr_nonnull (s_stream);
    for (uint64_t message = 0; message < MESSAGES; message++)
        s_fill_floats (message, &s_stream [message * FLOATS]);
}

START_TEST (test_a_moving_average_goes_on_through_a_million_messages)
{
    s_make_stream ();
    s_expected = malloc (FLOATS * MESSAGES * sizeof *s_expected);
    ck_assert_ptr_nonnull (s_expected);
    gpb_reference_moving_average (s_expected, s_stream, FLOATS * MESSAGES);
    s_open ("opencl", "kernels", "moving_average", 0);
    s_run (FLOATS * sizeof (float), FLOATS * sizeof (float), s_fill_floats, s_expect_average);
    free (s_stream);
    free (s_expected);
}
END_TEST

//  The count of every message; all five where the number of messages is a power of two, or the
//  last.
static void
s_expect_stats (uint64_t message, const void *output, uint32_t size)
{
    const double *statistics = output;
    const uint64_t messages = message + 1, values = messages * FLOATS;
    ck_assert_uint_eq (size, 5 * sizeof *statistics);
    if (statistics [0] != (double) values)
        ck_abort_msg ("message %llu: a count of %g", (unsigned long long) message, statistics [0]);
    if ((messages & (messages - 1)) != 0 && messages != MESSAGES)
        return;
    gpb_reference_t expected [5];
    gpb_reference_running_stats (expected, s_stream, values);
    for (size_t index = 0; index < 5; index++) {
        double difference = statistics [index] - expected [index].value;
        ck_assert_msg (difference <= expected [index].bound
                           && -difference <= expected [index].bound,
                       "statistic %zu after %llu messages: %g, not %g", index,
                       (unsigned long long) messages, statistics [index], expected [index].value);
    }
}

START_TEST (test_statistics_are_those_of_a_million_messages)
{
    s_make_stream ();
    s_open ("opencl", "kernels", "running_stats", 0);
    s_run (FLOATS * sizeof (float), 5 * sizeof (double), s_fill_floats, s_expect_stats);
    free (s_stream);
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  The life of a lane

static void
s_publish_word (uint32_t word)
{
    gpb_ring_t *ring = &s_resident->lanes [0].ring;
    memcpy (gpb_ring_input (ring), &word, sizeof word);
    gpb_ring_publish (ring, &(gpb_ring_message_t){ .size = sizeof word, .capacity = 64 });
}

static void
s_await_answer (gpb_ring_answer_t *answer)
{
    uint64_t end_ns = gpb_clock_ns () + 30 * GPB_NS_PER_S;
    while (!gpb_ring_answer (&s_resident->lanes [0].ring, answer))
        ck_assert_msg (gpb_clock_ns () < end_ns, "no answer comes");
}

START_TEST (test_what_was_published_while_it_was_parked_is_answered_when_it_wakes)
{
    s_open ("fake", "tests/kernels_fake", "fake_count", 0);
    for (uint64_t round = 1; round <= 20; round++) {
        gpb_ring_answer_t answer;
        s_publish_word ((uint32_t) round);
        ck_assert (!gpb_ring_answer (&s_resident->lanes [0].ring, &answer));
        s_wake ();
        s_await_answer (&answer);
        ck_assert_uint_eq (*(const uint64_t *) answer.output, round);    //  its state is kept
        gpb_ring_pop (&s_resident->lanes [0].ring);
        gpb_resident_park (s_resident, 0);
        s_settle ();
        ck_assert_int_eq (s_resident->lanes [0].state, GPB_LANE_PARKED);
        ck_assert_uint_eq (s_resident->lanes [0].launches, round);
        ck_assert_uint_eq (*(const uint64_t *) gpb_resident_state (s_resident, 0), round);
    }
    s_close ();
}
END_TEST

START_TEST (test_a_lane_that_nobody_parks_returns_by_itself)
{
    s_open ("fake", "tests/kernels_fake", "fake_count", 0);
    s_wake ();
    s_settle ();
    ck_assert_int_eq (s_resident->lanes [0].state, GPB_LANE_PARKED);
    s_close ();
}
END_TEST

START_TEST (test_the_heap_has_its_blocks_and_no_more)
{
    s_open ("fake", "tests/kernels_fake", "fake_echo", 0);
    gpb_ring_message_t one = { .size = 4096, .capacity = 4096 }, other = one,
                       small = { .size = 96, .capacity = 96 };
    ck_assert (gpb_resident_take (s_resident, &one));
    ck_assert_uint_ne (one.input, one.output);
    ck_assert (!gpb_resident_take (s_resident, &other));    //  two blocks for its one lane
    ck_assert (gpb_resident_take (s_resident, &small));
    ck_assert_uint_eq (small.input, 0);
    ck_assert_uint_eq (small.output, 0);
    gpb_resident_give (s_resident, &one);
    other = (gpb_ring_message_t){ .size = 4096, .capacity = 8 };
    ck_assert (gpb_resident_take (s_resident, &other));
    ck_assert_uint_eq (other.output, 0);
    gpb_resident_give (s_resident, &other);
    s_close ();
}
END_TEST

START_TEST (test_a_quarantined_lane_that_returns_is_well_again)
{
    s_open ("fake", "tests/kernels_fake", "fake_stuck", 0);
    s_publish_word (4294967295u);
    s_wake ();
    gpb_resident_quarantine (s_resident, 0);
    ck_assert (gpb_resident_is_stuck (s_resident));
    ck_assert (!gpb_resident_settle (s_resident, 0));
    gpb_test_fake_let_go ();
    s_settle ();
    ck_assert (!gpb_resident_is_stuck (s_resident));
    gpb_ring_answer_t answer;
    ck_assert (gpb_ring_answer (&s_resident->lanes [0].ring, &answer));
    gpb_ring_pop (&s_resident->lanes [0].ring);
    s_close ();
}
END_TEST

START_TEST (test_a_lane_of_a_lost_device_has_failed_with_its_reason)
{
    s_open ("fake", "tests/kernels_fake", "fake_stuck", 0);
    s_publish_word (4294967295u);
    s_wake ();
    gpb_module_t *module = NULL;
    gpb_code_t code = gpb_test_code ("fake: lose");
    gpb_function_t *lose;
    gpb_function_info_t info;
    const gpb_backend_operations_t *operations = s_shared->operations;
    ck_assert_ok (operations->build (s_shared->context, &code, &module, &error));
    ck_assert_ok (operations->function (module, "lose", &lose, &info, &error));
    const gpb_launch_t launch = { .function = lose, .dimensions = 1, .global = { 1 } };
    ck_assert_ok (operations->launch (s_shared->context, 0, &launch, GPB_NOTIFY_NOT, NULL, &error));
    s_settle ();
    ck_assert_int_eq (s_resident->lanes [0].state, GPB_LANE_FAILED);
    ck_assert_int_eq (s_resident->lanes [0].failure.status, GPB_UNAVAILABLE);
    operations->unload (&module);
    s_close ();
}
END_TEST

GPB_TEST_MAIN ("gpb_resident", 120, test_a_million_messages_are_doubled,
               test_a_million_messages_come_back, test_a_million_messages_give_their_largest,
               test_a_moving_average_goes_on_through_a_million_messages,
               test_statistics_are_those_of_a_million_messages,
               test_what_was_published_while_it_was_parked_is_answered_when_it_wakes,
               test_a_lane_that_nobody_parks_returns_by_itself,
               test_the_heap_has_its_blocks_and_no_more,
               test_a_quarantined_lane_that_returns_is_well_again,
               test_a_lane_of_a_lost_device_has_failed_with_its_reason)
