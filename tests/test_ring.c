//  Tests of the host's side of a lane: what it writes where, and what it makes of what stands
//  there. The device's side is done by hand.

#include "gpb_lane_layout.h"
#include "gpb_ring.h"
#include "gpb_test.h"

#include <stdlib.h>
#include <string.h>

#define SLOTS 4
#define SLOT_SIZE 96
#define OFFSET (2 * GPB_LANE_UNIT)    //  of the ring in its memory
#define HEAP 65536

typedef struct {
    unsigned char *memory;
    size_t size;    //  of the ring
    gpb_ring_t ring;
} s_lane_t;

static void
s_start (s_lane_t *self, uint64_t first)
{
    self->size = gpb_ring_size (SLOTS, SLOT_SIZE);
    self->memory = aligned_alloc (GPB_LANE_UNIT, OFFSET + self->size + GPB_LANE_UNIT);
    ck_assert_ptr_nonnull (self->memory);
    memset (self->memory, 0xA5, OFFSET + self->size + GPB_LANE_UNIT);
    const gpb_ring_options_t options = {
        .slots = SLOTS, .slot_size = SLOT_SIZE, .heap = HEAP, .state = GPB_LANE_UNIT
    };
    gpb_ring_init (&self->ring, self->memory, OFFSET, &options, first);
}

static void
s_stop (s_lane_t *self)
{
    free (self->memory);
}

static gpb_lane_control_t *
s_control (s_lane_t *self)
{
    return (gpb_lane_control_t *) (self->memory + OFFSET);
}

//  As the loop finds them.
static gpb_lane_request_t *
s_request (s_lane_t *self, uint64_t index)
{
    const gpb_lane_control_t *control = s_control (self);
    return (gpb_lane_request_t *) (self->memory + control->requests
                                   + (index & (control->slots - 1)) * control->request_size);
}

static gpb_lane_answer_t *
s_answer (s_lane_t *self, uint64_t index)
{
    const gpb_lane_control_t *control = s_control (self);
    return (gpb_lane_answer_t *) (self->memory + control->answers
                                  + (index & (control->slots - 1)) * control->answer_size);
}

static uint64_t
s_publish (s_lane_t *self, const char *text)
{
    const gpb_ring_message_t message = { .size = (uint32_t) strlen (text), .capacity = SLOT_SIZE };
    memcpy (gpb_ring_input (&self->ring), text, message.size);
    return gpb_ring_publish (&self->ring, &message);
}

static void
s_serve (s_lane_t *self, uint64_t index, uint32_t status, const char *text)
{
    gpb_lane_answer_t *answer = s_answer (self, index);
    memcpy (answer + 1, text, strlen (text));
    answer->size = (uint32_t) strlen (text);
    answer->status = status;
    answer->taken_ticks = 100 + index;
    answer->done_ticks = 200 + index;
    GPB_STORE_RELEASE (&answer->sequence, index + 1);
}

static void
s_expect (s_lane_t *self, uint64_t index, gpb_ring_outcome_t outcome, const char *text)
{
    gpb_ring_answer_t answer;
    ck_assert (gpb_ring_answer (&self->ring, &answer));
    ck_assert_uint_eq (answer.index, index);
    ck_assert_int_eq (answer.outcome, outcome);
    ck_assert_uint_eq (answer.size, strlen (text));
    ck_assert_mem_eq (answer.output, text, strlen (text));
    ck_assert_uint_eq (answer.taken_ticks, 100 + index);
    ck_assert_uint_eq (answer.done_ticks, 200 + index);
    gpb_ring_pop (&self->ring);
}

static void
s_expect_none (s_lane_t *self)
{
    gpb_ring_answer_t answer;
    ck_assert (!gpb_ring_answer (&self->ring, &answer));
}

START_TEST (test_a_ring_takes_whole_units_and_refuses_odd_geometries)
{
    ck_assert_uint_eq (gpb_ring_size (1, 96), 2 * 128 + 128 + 128);
    ck_assert_uint_eq (gpb_ring_size (4, 96), 2 * 128 + 4 * (128 + 128));
    ck_assert_uint_eq (gpb_ring_size (4, 97), 2 * 128 + 4 * (256 + 256));
    ck_assert_uint_eq (gpb_ring_size (4, 224), 2 * 128 + 4 * (256 + 256));
    ck_assert_uint_eq (gpb_ring_size (65536, 65504), 2 * 128 + 65536ul * 2 * 65536);
    ck_assert_uint_eq (gpb_ring_size (0, 96), 0);
    ck_assert_uint_eq (gpb_ring_size (3, 96), 0);
    ck_assert_uint_eq (gpb_ring_size (4, 0), 0);
}
END_TEST

START_TEST (test_both_sides_write_lines_of_their_own)
{
    ck_assert_uint_eq (sizeof (gpb_lane_control_t), 2 * GPB_LANE_UNIT);
    ck_assert_uint_eq (offsetof (gpb_lane_control_t, heartbeat), GPB_LANE_UNIT);
    ck_assert_uint_lt (offsetof (gpb_lane_control_t, padding), GPB_LANE_UNIT);
    s_lane_t lane;
    s_start (&lane, 0);
    const gpb_lane_control_t *control = s_control (&lane);
    ck_assert_uint_eq (control->requests, OFFSET + 2 * GPB_LANE_UNIT);
    ck_assert_uint_eq (control->answers, control->requests + (uint64_t) SLOTS * GPB_LANE_UNIT);
    ck_assert_uint_eq (control->request_size, GPB_LANE_UNIT);
    ck_assert_uint_eq (control->answer_size, GPB_LANE_UNIT);
    ck_assert_uint_eq (control->slots, SLOTS);
    ck_assert_uint_eq (control->heap, HEAP);
    ck_assert_uint_eq (control->state, GPB_LANE_UNIT);
    ck_assert_uint_eq (control->head, 0);
    ck_assert_uint_eq (control->heartbeat, 0);
    s_stop (&lane);
}
END_TEST

START_TEST (test_nothing_is_written_beside_a_ring)
{
    s_lane_t lane;
    s_start (&lane, 0);
    char text [SLOT_SIZE + 1] = { 0 };
    memset (text, 'x', SLOT_SIZE);
    for (uint64_t index = 0; index < SLOTS; index++)
        s_publish (&lane, text);
    for (size_t at = 0; at < OFFSET; at++)
        ck_assert_int_eq (lane.memory [at], 0xA5);
    for (size_t at = 0; at < GPB_LANE_UNIT; at++)
        ck_assert_int_eq (lane.memory [OFFSET + lane.size + at], 0xA5);
    s_stop (&lane);
}
END_TEST

START_TEST (test_a_message_stands_in_its_slot_before_its_sequence)
{
    s_lane_t lane;
    s_start (&lane, 0);
    gpb_lane_request_t *request = s_request (&lane, 0);
    void *input = gpb_ring_input (&lane.ring);
    ck_assert_ptr_eq (input, request + 1);
    ck_assert_uint_eq ((uintptr_t) input % 32, 0);
    memcpy (input, "one", 3);
    ck_assert_uint_ne (request->sequence, 1);
    const gpb_ring_message_t message = { .size = 3, .capacity = 50 };
    ck_assert_uint_eq (gpb_ring_publish (&lane.ring, &message), 0);
    ck_assert_uint_eq (request->sequence, 1);
    ck_assert_uint_eq (request->size, 3);
    ck_assert_uint_eq (request->capacity, 50);
    ck_assert_uint_eq (request->input, 0);
    ck_assert_uint_eq (request->output, 0);
    ck_assert_uint_eq (request->flags, 0);
    ck_assert_uint_ne (s_request (&lane, 1)->sequence, 2);
    s_stop (&lane);
}
END_TEST

START_TEST (test_a_large_message_says_where_its_blocks_are_in_units)
{
    s_lane_t lane;
    s_start (&lane, 0);
    const gpb_ring_message_t message = {
        .size = 5000, .capacity = 6000, .input = 128, .output = 1ull << 38
    };
    gpb_ring_publish (&lane.ring, &message);
    const gpb_lane_request_t *request = s_request (&lane, 0);
    ck_assert_uint_eq (request->size, 5000);
    ck_assert_uint_eq (request->capacity, 6000);
    ck_assert_uint_eq (request->input, 1);
    ck_assert_uint_eq (request->output, (1ull << 38) / 128);
    s_serve (&lane, 0, GPB_LANE_OK, "");
    gpb_ring_answer_t answer;
    ck_assert (gpb_ring_answer (&lane.ring, &answer));
    ck_assert_ptr_null (answer.output);
    s_stop (&lane);
}
END_TEST

START_TEST (test_a_full_ring_has_room_again_when_the_oldest_answer_is_taken)
{
    s_lane_t lane;
    s_start (&lane, 0);
    for (uint64_t index = 0; index < SLOTS; index++) {
        ck_assert_uint_eq (gpb_ring_room (&lane.ring), SLOTS - index);
        ck_assert_uint_eq (gpb_ring_waiting (&lane.ring), index);
        ck_assert_uint_eq (s_publish (&lane, "message"), index);
    }
    ck_assert_uint_eq (gpb_ring_room (&lane.ring), 0);
    s_serve (&lane, 0, GPB_LANE_OK, "answer");
    ck_assert_uint_eq (gpb_ring_room (&lane.ring), 0);
    s_expect (&lane, 0, GPB_RING_OK, "answer");
    ck_assert_uint_eq (gpb_ring_room (&lane.ring), 1);
    ck_assert_uint_eq (gpb_ring_waiting (&lane.ring), SLOTS - 1);
    ck_assert_ptr_eq (gpb_ring_input (&lane.ring), s_request (&lane, SLOTS) + 1);
    ck_assert_ptr_eq (s_request (&lane, SLOTS), s_request (&lane, 0));
    s_stop (&lane);
}
END_TEST

START_TEST (test_answers_come_in_order_and_stay_until_they_are_popped)
{
    s_lane_t lane;
    s_start (&lane, 0);
    s_publish (&lane, "a");
    s_publish (&lane, "b");
    s_expect_none (&lane);
    //  The second one's is of no use before the first one's.
    s_serve (&lane, 1, GPB_LANE_OK, "B");
    s_expect_none (&lane);
    s_serve (&lane, 0, GPB_LANE_OK, "A");
    gpb_ring_answer_t answer;
    ck_assert (gpb_ring_answer (&lane.ring, &answer));
    s_expect (&lane, 0, GPB_RING_OK, "A");
    s_expect (&lane, 1, GPB_RING_OK, "B");
    s_expect_none (&lane);
    s_stop (&lane);
}
END_TEST

START_TEST (test_an_answer_of_the_lap_before_is_none_of_this_lap)
{
    s_lane_t lane;
    s_start (&lane, 0);
    for (uint64_t index = 0; index < 3 * SLOTS; index++) {
        ck_assert_uint_eq (s_publish (&lane, "message"), index);
        s_expect_none (&lane);
        s_serve (&lane, index, GPB_LANE_OK, "answer");
        s_expect (&lane, index, GPB_RING_OK, "answer");
        s_expect_none (&lane);
    }
    s_stop (&lane);
}
END_TEST

START_TEST (test_outcomes_are_told_apart)
{
    s_lane_t lane;
    s_start (&lane, 0);
    for (int count = 0; count < 3; count++)
        s_publish (&lane, "message");
    s_serve (&lane, 0, GPB_LANE_OVERFLOW, "part");
    s_serve (&lane, 1, GPB_LANE_SKIPPED, "");
    s_serve (&lane, 2, GPB_LANE_OK, "whole");
    s_expect (&lane, 0, GPB_RING_OVERFLOW, "part");
    s_expect (&lane, 1, GPB_RING_SKIPPED, "");
    s_expect (&lane, 2, GPB_RING_OK, "whole");
    s_stop (&lane);
}
END_TEST

START_TEST (test_cancel_marks_a_message_that_waits_and_no_other)
{
    s_lane_t lane;
    s_start (&lane, 0);
    for (uint64_t index = 0; index < 3; index++)
        s_publish (&lane, "message");
    s_serve (&lane, 0, GPB_LANE_OK, "");
    s_expect (&lane, 0, GPB_RING_OK, "");
    gpb_ring_cancel (&lane.ring, 0);    //  answered
    gpb_ring_cancel (&lane.ring, 3);    //  not there yet
    gpb_ring_cancel (&lane.ring, UINT64_MAX);
    for (uint64_t index = 0; index < SLOTS; index++)
        ck_assert_uint_eq (s_request (&lane, index)->flags, 0);
    gpb_ring_cancel (&lane.ring, 2);
    ck_assert_uint_eq (s_request (&lane, 1)->flags, 0);
    ck_assert_uint_eq (s_request (&lane, 2)->flags, GPB_LANE_CANCELLED);
    //  Who has the slot after it is not cancelled.
    for (uint64_t index = 1; index < 3; index++) {
        s_serve (&lane, index, GPB_LANE_SKIPPED, "");
        s_expect (&lane, index, GPB_RING_SKIPPED, "");
    }
    for (uint64_t index = 3; index < 7; index++)
        s_publish (&lane, "message");
    ck_assert_uint_eq (s_request (&lane, 6)->sequence, 7);
    ck_assert_uint_eq (s_request (&lane, 6)->flags, 0);
    s_stop (&lane);
}
END_TEST

START_TEST (test_numbers_go_on_past_the_largest_one)
{
    s_lane_t lane;
    const uint64_t first = UINT64_MAX - 5;
    s_start (&lane, first);
    s_expect_none (&lane);
    ck_assert_uint_eq (s_control (&lane)->head, first);
    for (uint64_t count = 0; count < SLOTS; count++) {
        //  What the loop would take for a message is not there yet.
        ck_assert_uint_ne (s_request (&lane, first + count)->sequence, first + count + 1);
        s_publish (&lane, "message");
    }
    for (uint64_t index = first; index != first + 20; index++) {
        ck_assert_uint_eq (s_request (&lane, index)->sequence, index + 1);
        ck_assert_uint_eq (gpb_ring_waiting (&lane.ring), SLOTS);
        s_expect_none (&lane);
        gpb_ring_cancel (&lane.ring, index - 1);
        gpb_ring_cancel (&lane.ring, index + SLOTS);
        ck_assert_uint_eq (s_request (&lane, index)->flags, 0);
        gpb_ring_cancel (&lane.ring, index);
        ck_assert_uint_eq (s_request (&lane, index)->flags, GPB_LANE_CANCELLED);
        s_serve (&lane, index, GPB_LANE_OK, "answer");
        s_expect (&lane, index, GPB_RING_OK, "answer");
        s_publish (&lane, "message");
    }
    ck_assert_uint_lt (lane.ring.published, first);
    s_stop (&lane);
}
END_TEST

START_TEST (test_the_loop_is_told_how_long_to_stay_and_when_to_park)
{
    s_lane_t lane;
    s_start (&lane, 0);
    gpb_ring_run (&lane.ring, 12345, 678);
    ck_assert_uint_eq (s_control (&lane)->command, GPB_LANE_RUN);
    ck_assert_uint_eq (s_control (&lane)->idle_ticks, 12345);
    ck_assert_uint_eq (s_control (&lane)->idle_polls, 678);
    gpb_ring_park (&lane.ring);
    ck_assert_uint_eq (s_control (&lane)->command, GPB_LANE_PARK);
    gpb_ring_run (&lane.ring, 0, 0);
    ck_assert_uint_eq (s_control (&lane)->command, GPB_LANE_RUN);
    ck_assert_uint_eq (s_control (&lane)->idle_ticks, 0);
    s_control (&lane)->heartbeat = 99;
    ck_assert_uint_eq (gpb_ring_heartbeat (&lane.ring), 99);
    s_stop (&lane);
}
END_TEST

GPB_TEST_MAIN ("gpb_ring", 10, test_a_ring_takes_whole_units_and_refuses_odd_geometries,
               test_both_sides_write_lines_of_their_own, test_nothing_is_written_beside_a_ring,
               test_a_message_stands_in_its_slot_before_its_sequence,
               test_a_large_message_says_where_its_blocks_are_in_units,
               test_a_full_ring_has_room_again_when_the_oldest_answer_is_taken,
               test_answers_come_in_order_and_stay_until_they_are_popped,
               test_an_answer_of_the_lap_before_is_none_of_this_lap, test_outcomes_are_told_apart,
               test_cancel_marks_a_message_that_waits_and_no_other,
               test_numbers_go_on_past_the_largest_one,
               test_the_loop_is_told_how_long_to_stay_and_when_to_park)
