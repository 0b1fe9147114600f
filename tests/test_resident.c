//  Tests of gpb_resident, without an actor around it: every persistent package that ships, a
//  million messages each through a lane on PoCL; and a lane's life on the fake backend.

#include "gpb_test.h"

#include "gpb_clock.h"
#include "gpb_test_device.h"
#include "gpb_test_resident.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

//  Sanitizers see nothing of the kernel, and make the rest slow.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define MESSAGES 100000
#else
#define MESSAGES 1000000
#endif

static gpb_error_t error;
static gpb_test_resident_t s_lane;

START_TEST (test_a_million_messages_are_doubled)
{
    gpb_test_resident_stream ("opencl", "double", MESSAGES);
}
END_TEST

START_TEST (test_a_million_messages_come_back)
{
    gpb_test_resident_stream ("opencl", "echo", MESSAGES);
}
END_TEST

START_TEST (test_a_million_messages_give_their_largest)
{
    gpb_test_resident_stream ("opencl", "top_k", MESSAGES);
}
END_TEST

START_TEST (test_a_moving_average_goes_on_through_a_million_messages)
{
    gpb_test_resident_stream ("opencl", "moving_average", MESSAGES);
}
END_TEST

START_TEST (test_statistics_are_those_of_a_million_messages)
{
    gpb_test_resident_stream ("opencl", "running_stats", MESSAGES);
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  The life of a lane

static void
s_publish_word (uint32_t word)
{
    gpb_ring_t *ring = &s_lane.resident->lanes [0].ring;
    memcpy (gpb_ring_input (ring), &word, sizeof word);
    gpb_ring_publish (ring, &(gpb_ring_message_t){ .size = sizeof word, .capacity = 64 });
}

static void
s_await_answer (gpb_ring_answer_t *answer)
{
    uint64_t end_ns = gpb_clock_ns () + 30 * GPB_NS_PER_S;
    while (!gpb_ring_answer (&s_lane.resident->lanes [0].ring, answer))
        ck_assert_msg (gpb_clock_ns () < end_ns, "no answer comes");
}

START_TEST (test_what_was_published_while_it_was_parked_is_answered_when_it_wakes)
{
    gpb_test_resident_open (&s_lane, "fake", "tests/kernels_fake", "fake_count", 0);
    for (uint64_t round = 1; round <= 20; round++) {
        gpb_ring_answer_t answer;
        s_publish_word ((uint32_t) round);
        ck_assert (!gpb_ring_answer (&s_lane.resident->lanes [0].ring, &answer));
        gpb_test_resident_wake (&s_lane);
        s_await_answer (&answer);
        ck_assert_uint_eq (*(const uint64_t *) answer.output, round);    //  its state is kept
        gpb_ring_pop (&s_lane.resident->lanes [0].ring);
        gpb_resident_park (s_lane.resident, 0);
        gpb_test_resident_settle (&s_lane);
        ck_assert_int_eq (s_lane.resident->lanes [0].state, GPB_LANE_PARKED);
        ck_assert_uint_eq (s_lane.resident->lanes [0].launches, round);
        ck_assert_uint_eq (*(const uint64_t *) gpb_resident_state (s_lane.resident, 0), round);
    }
    gpb_test_resident_close (&s_lane);
}
END_TEST

START_TEST (test_a_lane_that_nobody_parks_returns_by_itself)
{
    gpb_test_resident_open (&s_lane, "fake", "tests/kernels_fake", "fake_count", 0);
    gpb_test_resident_wake (&s_lane);
    gpb_test_resident_settle (&s_lane);
    ck_assert_int_eq (s_lane.resident->lanes [0].state, GPB_LANE_PARKED);
    gpb_test_resident_close (&s_lane);
}
END_TEST

START_TEST (test_the_heap_has_its_blocks_and_no_more)
{
    gpb_test_resident_open (&s_lane, "fake", "tests/kernels_fake", "fake_echo", 0);
    gpb_ring_message_t one = { .size = 4096, .capacity = 4096 }, other = one,
                       small = { .size = 96, .capacity = 96 };
    ck_assert (gpb_resident_take (s_lane.resident, &one));
    ck_assert_uint_ne (one.input, one.output);
    ck_assert (!gpb_resident_take (s_lane.resident, &other));    //  two blocks for its one lane
    ck_assert (gpb_resident_take (s_lane.resident, &small));
    ck_assert_uint_eq (small.input, 0);
    ck_assert_uint_eq (small.output, 0);
    gpb_resident_give (s_lane.resident, &one);
    other = (gpb_ring_message_t){ .size = 4096, .capacity = 8 };
    ck_assert (gpb_resident_take (s_lane.resident, &other));
    ck_assert_uint_eq (other.output, 0);
    gpb_resident_give (s_lane.resident, &other);
    gpb_test_resident_close (&s_lane);
}
END_TEST

START_TEST (test_a_quarantined_lane_that_returns_is_well_again)
{
    gpb_test_resident_open (&s_lane, "fake", "tests/kernels_fake", "fake_stuck", 0);
    s_publish_word (4294967295u);
    gpb_test_resident_wake (&s_lane);
    gpb_resident_quarantine (s_lane.resident, 0);
    ck_assert (gpb_resident_is_stuck (s_lane.resident));
    ck_assert (!gpb_resident_settle (s_lane.resident, 0));
    gpb_test_fake_let_go ();
    gpb_test_resident_settle (&s_lane);
    ck_assert (!gpb_resident_is_stuck (s_lane.resident));
    gpb_ring_answer_t answer;
    ck_assert (gpb_ring_answer (&s_lane.resident->lanes [0].ring, &answer));
    gpb_ring_pop (&s_lane.resident->lanes [0].ring);
    gpb_test_resident_close (&s_lane);
}
END_TEST

START_TEST (test_a_lane_of_a_lost_device_has_failed_with_its_reason)
{
    gpb_test_resident_open (&s_lane, "fake", "tests/kernels_fake", "fake_stuck", 0);
    s_publish_word (4294967295u);
    gpb_test_resident_wake (&s_lane);
    gpb_module_t *module = NULL;
    gpb_code_t code = gpb_test_code ("fake: lose");
    gpb_function_t *lose;
    gpb_function_info_t info;
    const gpb_backend_operations_t *operations = s_lane.shared->operations;
    ck_assert_ok (operations->build (s_lane.shared->context, &code, &module, &error));
    ck_assert_ok (operations->function (module, "lose", &lose, &info, &error));
    const gpb_launch_t launch = { .function = lose, .dimensions = 1, .global = { 1 } };
    ck_assert_ok (
        operations->launch (s_lane.shared->context, 0, &launch, GPB_NOTIFY_NOT, NULL, &error));
    gpb_test_resident_settle (&s_lane);
    ck_assert_int_eq (s_lane.resident->lanes [0].state, GPB_LANE_FAILED);
    ck_assert_int_eq (s_lane.resident->lanes [0].failure.status, GPB_UNAVAILABLE);
    operations->unload (&module);
    gpb_test_resident_close (&s_lane);
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
