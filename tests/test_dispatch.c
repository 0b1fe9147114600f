//  Tests of the loop around a persistent kernel's handler, as C11 in a thread: what it answers,
//  when it returns, and what it says of itself meanwhile.

#include "gpb_clock.h"
#include "gpb_lane_layout.h"
#include "gpb_ring.h"
#include "gpb_test.h"
#include "gpb_test_dispatch.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS 8
#define SLOT_SIZE 96
#define STATE_SIZE 128
#define BLOCK_SIZE 4096
#define BLOCKS 3
#define PATIENCE_NS (60 * GPB_NS_PER_S)
#define NEVER 4294967295u    //  fake_stuck's word for a message that it does not return from

//  A lane in memory of its own: its state, its ring, its heap.
typedef struct {
    const gpb_test_handler_t *handler;
    gpb_test_lane_t lane;
    unsigned char *memory, *heap;
    gpb_ring_t ring;
    pthread_t thread;
    uint64_t returned_ns;
    bool has_returned;
} s_lane_t;

static void
s_start (s_lane_t *self, const char *handler)
{
    memset (self, 0, sizeof *self);
    self->handler = gpb_test_handler_find (handler, strlen (handler));
    ck_assert_ptr_nonnull (self->handler);
    const size_t heap = STATE_SIZE + gpb_ring_size (SLOTS, SLOT_SIZE);
    const size_t size = heap + (size_t) BLOCKS * BLOCK_SIZE;
    self->memory = aligned_alloc (GPB_LANE_UNIT, size);
    ck_assert_ptr_nonnull (self->memory);
    memset (self->memory, 0, size);
    self->heap = self->memory + heap;
    const gpb_ring_options_t options = { .slots = SLOTS, .slot_size = SLOT_SIZE, .heap = heap };
    gpb_ring_init (&self->ring, self->memory, STATE_SIZE, &options, 0);
}

static void
s_stop (s_lane_t *self)
{
    free (self->memory);
}

static void *
s_loop (void *argument)
{
    s_lane_t *self = argument;
    self->has_returned = gpb_test_dispatch (self->handler, &self->lane, self->memory, STATE_SIZE);
    self->returned_ns = gpb_clock_ns ();
    return NULL;
}

static void
s_launch (s_lane_t *self, uint64_t idle_ticks, uint32_t idle_polls)
{
    gpb_ring_run (&self->ring, idle_ticks, idle_polls);
    ck_assert_int_eq (pthread_create (&self->thread, NULL, s_loop, self), 0);
}

//  Waits until the loop has returned; true where it did so by itself.
static bool
s_join (s_lane_t *self)
{
    struct timespec until;
    clock_gettime (CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_NS / GPB_NS_PER_S;
    ck_assert_int_eq (pthread_timedjoin_np (self->thread, NULL, &until), 0);
    return self->has_returned;
}

static uint64_t
s_send (s_lane_t *self, const void *data, uint32_t size, uint32_t capacity)
{
    ck_assert_uint_gt (gpb_ring_room (&self->ring), 0);
    memcpy (gpb_ring_input (&self->ring), data, size);
    const gpb_ring_message_t message = { .size = size, .capacity = capacity };
    return gpb_ring_publish (&self->ring, &message);
}

static uint64_t
s_send_value (s_lane_t *self, uint32_t value)
{
    return s_send (self, &value, sizeof value, SLOT_SIZE);
}

//  The next answer, which stays until it is popped.
static gpb_ring_answer_t
s_wait (s_lane_t *self)
{
    gpb_ring_answer_t answer;
    const uint64_t until_ns = gpb_clock_ns () + PATIENCE_NS;
    while (!gpb_ring_answer (&self->ring, &answer)) {
        if (gpb_clock_ns () > until_ns)
            ck_abort_msg ("message %lu is not answered", (unsigned long) self->ring.answered);
        sched_yield ();
    }
    return answer;
}

static uint32_t
s_receive_value (s_lane_t *self)
{
    const gpb_ring_answer_t answer = s_wait (self);
    uint32_t value;
    ck_assert_int_eq (answer.outcome, GPB_RING_OK);
    ck_assert_uint_eq (answer.size, sizeof value);
    memcpy (&value, answer.output, sizeof value);
    gpb_ring_pop (&self->ring);
    return value;
}

//  Until the heartbeat is another one than it was.
static uint64_t
s_wait_heartbeat (s_lane_t *self, uint64_t from)
{
    const uint64_t until_ns = gpb_clock_ns () + PATIENCE_NS;
    uint64_t heartbeat;
    while ((heartbeat = gpb_ring_heartbeat (&self->ring)) == from) {
        ck_assert_uint_lt (gpb_clock_ns (), until_ns);
        sched_yield ();
    }
    return heartbeat;
}

static void
s_wait_stuck (s_lane_t *self)
{
    const uint64_t until_ns = gpb_clock_ns () + PATIENCE_NS;
    while (!self->lane.stuck) {
        ck_assert_uint_lt (gpb_clock_ns (), until_ns);
        sched_yield ();
    }
}

//  ---------------------------------------------------------------------------------------------------------
//  Messages

START_TEST (test_messages_are_answered_in_their_order)
{
    s_lane_t lane;
    s_start (&lane, "fake_echo");
    s_launch (&lane, 0, 0);
    uint32_t sent = 0;
    for (uint32_t received = 0; received < 10000; received++) {
        while (gpb_ring_room (&lane.ring) > 0)
            s_send_value (&lane, sent++);
        ck_assert_msg (s_receive_value (&lane) == received, "message %u is another one", received);
    }
    gpb_ring_park (&lane.ring);
    ck_assert (s_join (&lane));
    s_stop (&lane);
}
END_TEST

START_TEST (test_messages_of_every_size_come_whole)
{
    s_lane_t lane;
    s_start (&lane, "fake_echo");
    s_launch (&lane, 0, 0);
    unsigned char data [SLOT_SIZE];
    for (uint32_t at = 0; at < SLOT_SIZE; at++)
        data [at] = (unsigned char) (at + 1);
    for (uint32_t size = 0; size <= SLOT_SIZE; size++) {
        s_send (&lane, data, size, SLOT_SIZE);
        const gpb_ring_answer_t answer = s_wait (&lane);
        ck_assert_int_eq (answer.outcome, GPB_RING_OK);
        ck_assert_uint_eq (answer.size, size);
        ck_assert_mem_eq (answer.output, data, size);
        gpb_ring_pop (&lane.ring);
    }
    gpb_ring_park (&lane.ring);
    ck_assert (s_join (&lane));
    s_stop (&lane);
}
END_TEST

START_TEST (test_large_messages_go_from_block_to_block)
{
    s_lane_t lane;
    s_start (&lane, "fake_double");
    s_launch (&lane, 0, 0);
    float *in = (float *) (lane.heap + BLOCK_SIZE), *out = (float *) (lane.heap + 2 * BLOCK_SIZE);
    const uint32_t count = BLOCK_SIZE / sizeof (float);
    for (uint32_t round = 1; round <= 100; round++) {
        for (uint32_t at = 0; at < count; at++)
            in [at] = (float) (round * at);
        const gpb_ring_message_t message = { .size = BLOCK_SIZE,
                                             .capacity = BLOCK_SIZE,
                                             .input = BLOCK_SIZE,
                                             .output = 2 * BLOCK_SIZE };
        gpb_ring_publish (&lane.ring, &message);
        const gpb_ring_answer_t answer = s_wait (&lane);
        ck_assert_int_eq (answer.outcome, GPB_RING_OK);
        ck_assert_uint_eq (answer.size, BLOCK_SIZE);
        ck_assert_ptr_null (answer.output);
        for (uint32_t at = 0; at < count; at++)
            if (out [at] != (float) (2 * round * at))
                ck_abort_msg ("element %u of message %u is %f", at, round, (double) out [at]);
        gpb_ring_pop (&lane.ring);
    }
    gpb_ring_park (&lane.ring);
    ck_assert (s_join (&lane));
    s_stop (&lane);
}
END_TEST

START_TEST (test_what_has_no_room_is_an_overflow_and_goes_no_further)
{
    s_lane_t lane;
    s_start (&lane, "fake_echo");
    char data [SLOT_SIZE];
    memset (data, 'x', sizeof data);
    s_send (&lane, data, 50, 20);
    s_send (&lane, data, 50, 0);
    s_send (&lane, data, 50, 50);
    gpb_ring_park (&lane.ring);
    lane.has_returned = gpb_test_dispatch (lane.handler, &lane.lane, lane.memory, STATE_SIZE);
    ck_assert (lane.has_returned);
    gpb_ring_answer_t answer = s_wait (&lane);
    ck_assert_int_eq (answer.outcome, GPB_RING_OVERFLOW);
    ck_assert_uint_eq (answer.size, 20);
    ck_assert_mem_eq (answer.output, data, 20);
    for (int at = 20; at < SLOT_SIZE; at++)
        ck_assert_int_eq (((const char *) answer.output) [at], 0);
    gpb_ring_pop (&lane.ring);
    answer = s_wait (&lane);
    ck_assert_int_eq (answer.outcome, GPB_RING_OVERFLOW);
    ck_assert_uint_eq (answer.size, 0);
    gpb_ring_pop (&lane.ring);
    answer = s_wait (&lane);
    ck_assert_int_eq (answer.outcome, GPB_RING_OK);
    ck_assert_uint_eq (answer.size, 50);
    s_stop (&lane);
}
END_TEST

START_TEST (test_a_message_that_is_cancelled_before_it_is_taken_is_skipped)
{
    s_lane_t lane;
    s_start (&lane, "fake_count");
    for (uint32_t message = 0; message < 5; message++)
        s_send_value (&lane, message);
    gpb_ring_cancel (&lane.ring, 1);
    gpb_ring_cancel (&lane.ring, 3);
    s_launch (&lane, 0, 0);
    static const uint64_t counts [5] = { 1, 0, 2, 0, 3 };
    for (uint64_t message = 0; message < 5; message++) {
        const gpb_ring_answer_t answer = s_wait (&lane);
        ck_assert_uint_eq (answer.index, message);
        if (counts [message]) {
            uint64_t so_far;
            ck_assert_int_eq (answer.outcome, GPB_RING_OK);
            memcpy (&so_far, answer.output, sizeof so_far);
            ck_assert_uint_eq (so_far, counts [message]);
        }
        else {
            ck_assert_int_eq (answer.outcome, GPB_RING_SKIPPED);
            ck_assert_uint_eq (answer.size, 0);
            ck_assert_uint_eq (answer.taken_ticks, 0);
            ck_assert_uint_eq (answer.done_ticks, 0);
        }
        gpb_ring_pop (&lane.ring);
    }
    //  The slot that was skipped serves its next message.
    s_send_value (&lane, 5);
    ck_assert_int_eq (s_wait (&lane).outcome, GPB_RING_OK);
    gpb_ring_park (&lane.ring);
    ck_assert (s_join (&lane));
    s_stop (&lane);
}
END_TEST

START_TEST (test_a_message_that_is_cancelled_in_its_handler_is_answered)
{
    s_lane_t lane;
    s_start (&lane, "fake_stuck");
    s_launch (&lane, 0, 0);
    const uint64_t index = s_send_value (&lane, NEVER);
    s_send_value (&lane, 0);
    s_wait_stuck (&lane);
    gpb_ring_cancel (&lane.ring, index);
    gpb_ring_cancel (&lane.ring, index + 1);
    lane.lane.let_go = true;
    ck_assert_uint_eq (s_receive_value (&lane), NEVER);
    ck_assert_int_eq (s_wait (&lane).outcome, GPB_RING_SKIPPED);
    gpb_ring_park (&lane.ring);
    ck_assert (s_join (&lane));
    s_stop (&lane);
}
END_TEST

START_TEST (test_times_of_a_message_stand_between_its_publication_and_its_answer)
{
    s_lane_t lane;
    s_start (&lane, "fake_stuck");
    s_launch (&lane, 0, 0);
    for (uint32_t round = 0; round < 20; round++) {
        const uint64_t published_ns = gpb_clock_ns ();
        s_send_value (&lane, 1000);
        const gpb_ring_answer_t answer = s_wait (&lane);
        const uint64_t seen_ns = gpb_clock_ns ();
        ck_assert_uint_ge (answer.taken_ticks, published_ns);
        ck_assert_uint_ge (answer.done_ticks, answer.taken_ticks + 1000 * 1000);
        ck_assert_uint_ge (seen_ns, answer.done_ticks);
        gpb_ring_pop (&lane.ring);
    }
    gpb_ring_park (&lane.ring);
    ck_assert (s_join (&lane));
    s_stop (&lane);
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Park, and idle

START_TEST (test_park_with_messages_waiting_loses_none)
{
    s_lane_t lane;
    s_start (&lane, "fake_echo");
    uint32_t sent = 0, received = 0;
    for (uint32_t round = 0; round < 2000; round++) {
        //  Some find the loop running, some are there before it.
        const uint32_t before = round % 3, after = round % (SLOTS - 2);
        for (uint32_t message = 0; message < before; message++)
            s_send_value (&lane, sent++);
        s_launch (&lane, 0, 0);
        for (uint32_t message = 0; message < after && gpb_ring_room (&lane.ring) > 0; message++)
            s_send_value (&lane, sent++);
        gpb_ring_park (&lane.ring);
        ck_assert (s_join (&lane));
        //  What was published before it was told to park is answered when it has returned.
        gpb_ring_answer_t answer;
        while (gpb_ring_waiting (&lane.ring) > 0) {
            ck_assert_msg (gpb_ring_answer (&lane.ring, &answer), "message %u was lost", received);
            ck_assert_uint_eq (s_receive_value (&lane), received);
            received++;
        }
        ck_assert_uint_eq (received, sent);
    }
    s_stop (&lane);
}
END_TEST

START_TEST (test_messages_that_come_while_it_parks_are_there_for_the_next_launch)
{
    s_lane_t lane;
    s_start (&lane, "fake_echo");
    uint32_t sent = 0, received = 0;
    for (uint32_t round = 0; round < 1000; round++) {
        s_launch (&lane, 0, 0);
        s_send_value (&lane, sent++);
        gpb_ring_park (&lane.ring);
        while (gpb_ring_room (&lane.ring) > SLOTS / 2)
            s_send_value (&lane, sent++);
        ck_assert (s_join (&lane));
        gpb_ring_answer_t answer;
        while (gpb_ring_answer (&lane.ring, &answer))
            ck_assert_uint_eq (s_receive_value (&lane), received++);
    }
    s_launch (&lane, 0, 0);
    while (received != sent)
        ck_assert_uint_eq (s_receive_value (&lane), received++);
    gpb_ring_park (&lane.ring);
    ck_assert (s_join (&lane));
    s_stop (&lane);
}
END_TEST

START_TEST (test_state_is_kept_from_launch_to_launch)
{
    s_lane_t lane;
    s_start (&lane, "fake_count");
    for (uint64_t messages = 1; messages <= 3 * SLOTS; messages++) {
        s_send_value (&lane, 1);
        s_launch (&lane, 0, 0);
        const gpb_ring_answer_t answer = s_wait (&lane);
        uint64_t so_far;
        memcpy (&so_far, answer.output, sizeof so_far);
        ck_assert_uint_eq (so_far, messages);
        gpb_ring_pop (&lane.ring);
        gpb_ring_park (&lane.ring);
        ck_assert (s_join (&lane));
    }
    s_stop (&lane);
}
END_TEST

START_TEST (test_it_returns_after_so_many_polls_without_a_message)
{
    s_lane_t lane;
    s_start (&lane, "fake_echo");
    s_launch (&lane, 0, 1000);
    ck_assert (s_join (&lane));
    //  It says that it has begun, and with every 64th poll, when it looks, that it is there.
    ck_assert_uint_eq (gpb_ring_heartbeat (&lane.ring), 1 + 1024 / 64);
    //  A message begins the count anew.
    s_send_value (&lane, 7);
    s_launch (&lane, 0, 1000);
    ck_assert (s_join (&lane));
    ck_assert_uint_eq (s_receive_value (&lane), 7);
    ck_assert_uint_eq (gpb_ring_heartbeat (&lane.ring), 2 * (1 + 1024 / 64) + 1);
    s_stop (&lane);
}
END_TEST

START_TEST (test_it_returns_after_so_many_ticks_without_a_message)
{
    s_lane_t lane;
    s_start (&lane, "fake_echo");
    const uint64_t idle_ns = 20 * GPB_NS_PER_MS, launched_ns = gpb_clock_ns ();
    //  Polls do not count where there are ticks.
    s_launch (&lane, idle_ns, 1);
    ck_assert (s_join (&lane));
    ck_assert_uint_ge (lane.returned_ns, launched_ns + idle_ns);

    s_send_value (&lane, 7);
    s_launch (&lane, idle_ns, 1);
    ck_assert (s_join (&lane));
    const gpb_ring_answer_t answer = s_wait (&lane);
    ck_assert_int_eq (answer.outcome, GPB_RING_OK);
    ck_assert_uint_ge (lane.returned_ns, answer.done_ticks + idle_ns);
    s_stop (&lane);
}
END_TEST

START_TEST (test_without_a_limit_it_stays)
{
    s_lane_t lane;
    s_start (&lane, "fake_echo");
    s_launch (&lane, 0, 0);
    for (uint64_t heartbeat = 0; heartbeat < 2000;)
        heartbeat = s_wait_heartbeat (&lane, heartbeat);
    s_send_value (&lane, 7);
    ck_assert_uint_eq (s_receive_value (&lane), 7);
    gpb_ring_park (&lane.ring);
    ck_assert (s_join (&lane));
    s_stop (&lane);
}
END_TEST

START_TEST (test_nobody_loses_a_message_to_a_lane_that_goes_idle)
{
    s_lane_t lane;
    s_start (&lane, "fake_echo");
    const gpb_lane_control_t *control = lane.ring.control;
    for (uint32_t round = 0; round < 1000; round++) {
        s_launch (&lane, 0, 1 + round % 500);
        s_send_value (&lane, round);
        ck_assert (s_join (&lane));
        //  It was answered, or it waits and the loop says so.
        gpb_ring_answer_t answer;
        if (!gpb_ring_answer (&lane.ring, &answer)) {
            ck_assert_uint_eq (control->head, lane.ring.answered);
            gpb_ring_run (&lane.ring, 0, 1);
            gpb_ring_park (&lane.ring);
            ck_assert (gpb_test_dispatch (lane.handler, &lane.lane, lane.memory, STATE_SIZE));
        }
        ck_assert_uint_eq (s_receive_value (&lane), round);
        ck_assert_uint_eq (control->head, round + 1);
    }
    s_stop (&lane);
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  The heartbeat, and handlers that do not return

START_TEST (test_the_heartbeat_goes_on_while_it_waits_and_stands_while_its_handler_runs)
{
    s_lane_t lane;
    s_start (&lane, "fake_stuck");
    s_launch (&lane, 0, 0);
    uint64_t heartbeat = 0;
    for (int beats = 0; beats < 10; beats++)
        heartbeat = s_wait_heartbeat (&lane, heartbeat);
    s_send_value (&lane, NEVER);
    s_wait_stuck (&lane);
    heartbeat = gpb_ring_heartbeat (&lane.ring);
    const uint64_t until_ns = gpb_clock_ns () + 50 * GPB_NS_PER_MS;
    while (gpb_clock_ns () < until_ns) {
        if (gpb_ring_heartbeat (&lane.ring) != heartbeat)
            ck_abort_msg ("the heartbeat goes on while the handler runs");
        sched_yield ();
    }
    lane.lane.let_go = true;
    ck_assert_uint_eq (s_receive_value (&lane), NEVER);
    heartbeat = s_wait_heartbeat (&lane, heartbeat);
    s_wait_heartbeat (&lane, heartbeat);
    gpb_ring_park (&lane.ring);
    ck_assert (s_join (&lane));
    s_stop (&lane);
}
END_TEST

START_TEST (test_the_heartbeat_is_another_one_with_every_launch_and_every_answer)
{
    s_lane_t lane;
    s_start (&lane, "fake_echo");
    for (uint32_t message = 0; message < SLOTS; message++)
        s_send_value (&lane, message);
    gpb_ring_park (&lane.ring);
    ck_assert (gpb_test_dispatch (lane.handler, &lane.lane, lane.memory, STATE_SIZE));
    ck_assert_uint_eq (gpb_ring_heartbeat (&lane.ring), 1 + SLOTS);
    s_stop (&lane);
}
END_TEST

START_TEST (test_a_lane_that_is_told_to_park_does_so_when_its_handler_returns)
{
    s_lane_t lane;
    s_start (&lane, "fake_stuck");
    s_launch (&lane, 0, 0);
    s_send_value (&lane, NEVER);
    s_send_value (&lane, 0);
    s_wait_stuck (&lane);
    gpb_ring_park (&lane.ring);
    gpb_ring_answer_t answer;
    ck_assert (!gpb_ring_answer (&lane.ring, &answer));
    lane.lane.let_go = true;
    ck_assert (s_join (&lane));
    ck_assert_uint_eq (s_receive_value (&lane), NEVER);
    ck_assert_uint_eq (s_receive_value (&lane), 0);
    s_stop (&lane);
}
END_TEST

START_TEST (test_a_lane_that_is_killed_ends_where_it_is)
{
    s_lane_t waits, stuck;
    s_start (&waits, "fake_echo");
    s_start (&stuck, "fake_stuck");
    s_launch (&waits, 0, 0);
    s_launch (&stuck, 0, 0);
    s_send_value (&waits, 1);
    ck_assert_uint_eq (s_receive_value (&waits), 1);
    s_send_value (&stuck, NEVER);
    s_wait_stuck (&stuck);
    waits.lane.killed = stuck.lane.killed = true;
    ck_assert (!s_join (&waits));
    ck_assert (!s_join (&stuck));
    gpb_ring_answer_t answer;
    ck_assert (!gpb_ring_answer (&stuck.ring, &answer));
    s_stop (&waits);
    s_stop (&stuck);
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Several lanes, and one message alone

START_TEST (test_lanes_of_one_kernel_have_their_own_messages_and_state)
{
    s_lane_t lanes [3];
    for (int lane = 0; lane < 3; lane++) {
        s_start (&lanes [lane], "fake_count");
        s_launch (&lanes [lane], 0, 0);
    }
    uint64_t sums [3][2];
    for (uint32_t round = 1; round <= 300; round++)
        for (int lane = 0; lane < 3; lane++) {
            s_send_value (&lanes [lane], round * (uint32_t) (lane + 1));
            const gpb_ring_answer_t answer = s_wait (&lanes [lane]);
            ck_assert_uint_eq (answer.size, sizeof sums [lane]);
            memcpy (sums [lane], answer.output, sizeof sums [lane]);
            if (sums [lane][0] != round)
                ck_abort_msg ("lane %d counts %lu at message %u", lane,
                              (unsigned long) sums [lane][0], round);
            gpb_ring_pop (&lanes [lane].ring);
        }
    for (int lane = 0; lane < 3; lane++) {
        uint64_t digest = 0;
        for (uint32_t round = 1; round <= 300; round++)
            digest = (digest ^ (round * (uint32_t) (lane + 1))) * 1099511628211ul;
        ck_assert_uint_eq (sums [lane][1], digest);
        gpb_ring_park (&lanes [lane].ring);
        ck_assert (s_join (&lanes [lane]));
        s_stop (&lanes [lane]);
    }
}
END_TEST

START_TEST (test_once_handles_one_message_and_the_state_goes_with_it)
{
    unsigned char *memory = aligned_alloc (GPB_LANE_UNIT, 3 * GPB_LANE_UNIT);
    ck_assert_ptr_nonnull (memory);
    memset (memory, 0, 3 * GPB_LANE_UNIT);
    gpb_lane_request_t *request = (gpb_lane_request_t *) memory;
    const gpb_lane_answer_t *answer = (const gpb_lane_answer_t *) (memory + GPB_LANE_UNIT);
    const gpb_test_handler_t *handler = gpb_test_handler_find ("fake_count", 10);
    gpb_test_lane_t lane = { 0 };
    *request = (gpb_lane_request_t){ .size = 4, .capacity = 16 };
    for (uint64_t messages = 1; messages <= 3; messages++) {
        const uint64_t before_ns = gpb_clock_ns ();
        ck_assert (gpb_test_once (handler, &lane, memory, 0, GPB_LANE_UNIT, 0, 2 * GPB_LANE_UNIT));
        uint64_t so_far;
        memcpy (&so_far, answer + 1, sizeof so_far);
        ck_assert_uint_eq (so_far, messages);
        ck_assert_uint_eq (answer->sequence, 1);
        ck_assert_uint_eq (answer->size, 16);
        ck_assert_uint_eq (answer->status, GPB_LANE_OK);
        ck_assert_uint_ge (answer->taken_ticks, before_ns);
        ck_assert_uint_ge (answer->done_ticks, answer->taken_ticks);
    }
    request->capacity = 8;
    ck_assert (gpb_test_once (handler, &lane, memory, 0, GPB_LANE_UNIT, 0, 2 * GPB_LANE_UNIT));
    ck_assert_uint_eq (answer->status, GPB_LANE_OVERFLOW);
    ck_assert_uint_eq (answer->size, 8);
    free (memory);
}
END_TEST

GPB_TEST_MAIN ("gpb_dispatch", 60, test_messages_are_answered_in_their_order,
               test_messages_of_every_size_come_whole, test_large_messages_go_from_block_to_block,
               test_what_has_no_room_is_an_overflow_and_goes_no_further,
               test_a_message_that_is_cancelled_before_it_is_taken_is_skipped,
               test_a_message_that_is_cancelled_in_its_handler_is_answered,
               test_times_of_a_message_stand_between_its_publication_and_its_answer,
               test_park_with_messages_waiting_loses_none,
               test_messages_that_come_while_it_parks_are_there_for_the_next_launch,
               test_state_is_kept_from_launch_to_launch,
               test_it_returns_after_so_many_polls_without_a_message,
               test_it_returns_after_so_many_ticks_without_a_message, test_without_a_limit_it_stays,
               test_nobody_loses_a_message_to_a_lane_that_goes_idle,
               test_the_heartbeat_goes_on_while_it_waits_and_stands_while_its_handler_runs,
               test_the_heartbeat_is_another_one_with_every_launch_and_every_answer,
               test_a_lane_that_is_told_to_park_does_so_when_its_handler_returns,
               test_a_lane_that_is_killed_ends_where_it_is,
               test_lanes_of_one_kernel_have_their_own_messages_and_state,
               test_once_handles_one_message_and_the_state_goes_with_it)
