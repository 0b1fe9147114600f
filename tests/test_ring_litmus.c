//  The litmus of the ring: a message's payload is there when its sequence is, and so is an
//  answer's.
//
//  Host and loop are threads here, and millions of messages pass between them, whose every word
//  follows from their number. The handler looks at every word before it writes its answer, whose
//  words follow from the number too, and the host looks at those. A word of the lap before, or of
//  the message before in the same block, is another one. What is a race by the language's rules and
//  no fault on this processor is for ThreadSanitizer, which sees all of it: the loop is C11 here.

#include "gpb_clock.h"
#include "gpb_ring.h"
#include "gpb_test.h"

#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#define SPIN_POLLS 64    //  before a thread offers its processor to the other

static void
s_relax (unsigned polls)
{
    if (polls >= SPIN_POLLS)
        sched_yield ();
}

#define GPB_RELAX(polls) s_relax (polls)
#define GPB_TICKS() gpb_clock_ns ()
#define GPB_LANE_LOCAL 1

#include "../kernels/gpb_prelude.h"

#include "../kernels/gpb_lane.h"

//  What word `at` of message `index` is, and of its answer.
static ulong
s_word (ulong index, uint at, bool is_answer)
{
    return (index + 1) * 0x9E3779B97F4A7C15ul + at + (is_answer ? 1ul << 40 : 0);
}

typedef struct {
    ulong index;     //  of the next message
    ulong faults;    //  words that were not what they should be
} s_state_t;

HANDLER (litmus)
(GLOBAL const void *in, uint in_size, GLOBAL void *out, uint *out_size, GLOBAL void *state)
{
    s_state_t *seen = state;
    const ulong *from = in;
    ulong *to = out;
    const uint words = in_size / (uint) sizeof (ulong);
    for (uint at = 0; at < words; at++)
        seen->faults += from [at] != s_word (seen->index, at, false);
    for (uint at = 0; at < words; at++)
        to [at] = s_word (seen->index, at, true);
    *out_size = in_size;
    seen->index++;
}

#define GPB_HANDLER gpb_handler_litmus

#include "../kernels/gpb_dispatch.h"

typedef struct {
    gpb_ring_t ring;
    unsigned char *memory, *heap;
    uint64_t first, faults;
} s_lane_t;

static void *
s_loop (void *argument)
{
    s_lane_t *lane = argument;
    gpb_dispatch (lane->memory, GPB_LANE_UNIT);
    return NULL;
}

//  Answers of the host's are looked at as they come. size is of a message; those of more than
//  slot_size travel in blocks of the heap, two for each slot.
static void
s_take (s_lane_t *lane, const gpb_ring_answer_t *answer, uint32_t size, uint64_t output)
{
    const ulong *from = answer->output ? answer->output : (const void *) (lane->heap + output);
    for (uint32_t at = 0; at < size / sizeof (ulong); at++)
        lane->faults += from [at] != s_word (answer->index, at, true);
    lane->faults += answer->outcome != GPB_RING_OK || answer->size != size;
    gpb_ring_pop (&lane->ring);
}

static void
s_run (uint64_t messages, uint32_t slots, uint32_t slot_size, uint32_t size, uint64_t first)
{
    if (getenv ("GPB_TEST_SLOW"))
        messages /= 4;
    const uint64_t ring_size = gpb_ring_size (slots, slot_size);
    const uint64_t block_size = (size + GPB_LANE_UNIT - 1) / GPB_LANE_UNIT * GPB_LANE_UNIT;
    const bool is_large = size > slot_size;
    s_lane_t lane = { .first = first };
    const size_t memory_size = GPB_LANE_UNIT + ring_size + (2 * slots + 1) * block_size;
    lane.memory = aligned_alloc (GPB_LANE_UNIT, memory_size);
    ck_assert_ptr_nonnull (lane.memory);
    memset (lane.memory, 0, memory_size);
    lane.heap = lane.memory + GPB_LANE_UNIT + ring_size;
    s_state_t *state = (s_state_t *) lane.memory;
    state->index = first;
    const gpb_ring_options_t options = {
        .slots = slots, .slot_size = slot_size, .heap = GPB_LANE_UNIT + ring_size, .state = 0
    };
    gpb_ring_init (&lane.ring, lane.memory, GPB_LANE_UNIT, &options, first);
    gpb_ring_run (&lane.ring, 0, 0);
    pthread_t thread;
    ck_assert_int_eq (pthread_create (&thread, NULL, s_loop, &lane), 0);
    uint64_t published = 0, answered = 0;
    for (unsigned polls = 0; answered < messages; polls++) {
        while (published < messages && gpb_ring_room (&lane.ring) > 0) {
            const uint64_t slot = (first + published) % slots;
            const gpb_ring_message_t message = { .size = size,
                                                 .capacity = size,
                                                 .input = is_large * (2 * slot + 1) * block_size,
                                                 .output = is_large * (2 * slot + 2) * block_size };
            ulong *to = is_large ? (ulong *) (lane.heap + message.input)
                                 : (ulong *) gpb_ring_input (&lane.ring);
            for (uint32_t at = 0; at < size / sizeof (ulong); at++)
                to [at] = s_word (first + published, at, false);
            gpb_ring_publish (&lane.ring, &message);
            published++;
        }
        gpb_ring_answer_t answer;
        if (gpb_ring_answer (&lane.ring, &answer)) {
            lane.faults += answer.index != first + answered;
            s_take (&lane, &answer, size,
                    is_large * (2 * ((first + answered) % slots) + 2) * block_size);
            answered++;
            polls = 0;
        }
        s_relax (polls);
    }
    gpb_ring_park (&lane.ring);
    ck_assert_int_eq (pthread_join (thread, NULL), 0);
    ck_assert_msg (state->faults == 0, "the loop saw %lu words of other messages", state->faults);
    ck_assert_msg (lane.faults == 0, "the host saw %" PRIu64 " words of other answers",
                   lane.faults);
    ck_assert_uint_eq (state->index, first + messages);
    free (lane.memory);
}

START_TEST (test_messages_and_answers_in_their_slots_are_whole_when_they_are_seen)
{
    s_run (3000000, 64, 96, 96, 0);
}
END_TEST

START_TEST (test_the_few_words_in_the_line_of_a_sequence_are_seen_with_it)
{
    s_run (3000000, 64, 96, 8, 0);
}
END_TEST

START_TEST (test_two_slots_that_are_used_again_at_once_are_no_less_whole)
{
    s_run (1000000, 2, 224, 224, UINT64_MAX - 500000);
}
END_TEST

START_TEST (test_messages_and_answers_in_the_heap_are_whole_when_they_are_seen)
{
    s_run (500000, 16, 96, 1000, 7);
}
END_TEST

GPB_TEST_MAIN ("gpb_ring_litmus", 120,
               test_messages_and_answers_in_their_slots_are_whole_when_they_are_seen,
               test_the_few_words_in_the_line_of_a_sequence_are_seen_with_it,
               test_two_slots_that_are_used_again_at_once_are_no_less_whole,
               test_messages_and_answers_in_the_heap_are_whole_when_they_are_seen)
