//  The ring against a plain list: a million seeded steps of a host that publishes, cancels, takes
//  answers and parks, and of the loop that serves it. Both are the real ones, in one thread: the
//  loop is compiled here with words that let the host do something before each access that both
//  sides see, and in the middle of each handler. So whatever order of accesses two threads could
//  come to, but for what a processor reorders, is one that the dice can come to, and the same seed
//  comes to the same.

#include "gpb_ring.h"
#include "gpb_test.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

//  Check writes a line to its parent for every assertion of its own: millions of them are for this
//  one, which writes only where it does not hold.
#define HOLDS(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            ck_abort_msg ("does not hold: %s", #condition);                                        \
    } while (0)

static void s_step (void);
static unsigned long s_load_acquire (const volatile unsigned long *address);
static void s_passes_the_answer (void);
static unsigned long s_ticks (void);

#define GPB_LANE_LOCAL 1
#define GPB_RELAX(polls) s_step ()
#define GPB_TICKS() s_ticks ()

#include "../kernels/gpb_prelude.h"

#include "../kernels/gpb_lane.h"

#undef GPB_LOAD_ACQUIRE
#undef GPB_STORE_RELEASE
#undef GPB_LOAD
#undef GPB_STORE
#define GPB_LOAD_ACQUIRE(address) s_load_acquire (address)
#define GPB_LOAD(address) (s_step (), __atomic_load_n ((address), __ATOMIC_RELAXED))
#define GPB_STORE(address, value)                                                                  \
    (s_step (), __atomic_store_n ((address), (value), __ATOMIC_RELAXED))
//  There is but one: what makes an answer visible.
#define GPB_STORE_RELEASE(address, value)                                                          \
    (s_step (), __atomic_store_n ((address), (value), __ATOMIC_RELEASE), s_passes_the_answer ())

#define STEPS 1000000
#define SLOTS_MAX 64
#define SLOT_SIZE 96
#define BLOCK_SIZE 256    //  of the heap: a slot has two, for its input and its output
#define IDLE_POLLS 100

//  What the list holds of a message whose answer was not taken.
typedef struct {
    uint64_t stamp;
    gpb_ring_message_t message;
    uint32_t says;     //  what the handler says it has written
    bool cancelled;    //  before its handler began
} s_message_t;

typedef struct {
    uint64_t random, steps, steps_max;
    gpb_ring_t ring;
    unsigned char *memory, *heap;
    s_message_t list [SLOTS_MAX];    //  by index modulo the slots
    uint64_t published, answered;
    uint64_t head;      //  of the loop: what stands before it was answered
    bool has_begun;     //  head's handler was called
    bool is_parking;    //  the loop was told to, since it was started
    bool sees_parking;
    uint64_t published_before;    //  it was told to park
    uint64_t ticks, stamps;
    unsigned eagerness;    //  of 100: how often the host publishes rather than takes
    //  What has happened, so that a run that never came to it is seen.
    uint64_t full, empty, cancels, late_cancels, overflows, parks, idles, in_blocks;
} s_model_t;

static s_model_t *s_model;

//  Xorshift: the same on every machine.
static uint64_t
s_random (uint64_t bound)
{
    s_model->random ^= s_model->random << 13;
    s_model->random ^= s_model->random >> 7;
    s_model->random ^= s_model->random << 17;
    return s_model->random % bound;
}

static s_message_t *
s_at (uint64_t index)
{
    return &s_model->list [index % s_model->ring.slots];
}

static unsigned char
s_byte (uint64_t stamp, uint32_t at, bool is_output)
{
    return (unsigned char) (stamp * 151 + at * 7 + (is_output ? 101 : 0));
}

static void
s_fill (unsigned char *to, uint32_t size, uint64_t stamp, bool is_output)
{
    for (uint32_t at = 0; at < size; at++)
        to [at] = s_byte (stamp, at, is_output);
}

static void
s_compare (const unsigned char *with, uint32_t size, uint64_t stamp, bool is_output)
{
    for (uint32_t at = 0; at < size; at++)
        HOLDS (with [at] == s_byte (stamp, at, is_output));
}

//  ---------------------------------------------------------------------------------------------------------
//  The device's side

HANDLER (model)
(GLOBAL const void *in, uint in_size, GLOBAL void *out, uint *out_size, GLOBAL void *state)
{
    const s_message_t *expected = s_at (s_model->head);
    HOLDS (s_model->head != s_model->published);
    HOLDS (!expected->cancelled);
    HOLDS (in_size == expected->message.size);
    HOLDS (*out_size == expected->message.capacity);
    HOLDS ((uintptr_t) in % 32 == 0 && (uintptr_t) out % 32 == 0);
    HOLDS (state == s_model->memory);
    s_compare (in, in_size, expected->stamp, false);
    s_step ();
    s_fill (out, expected->says < *out_size ? expected->says : *out_size, expected->stamp, true);
    s_step ();
    s_compare (in, in_size, expected->stamp, false);
    *out_size = expected->says;
}

#define GPB_HANDLER gpb_handler_model

#include "../kernels/gpb_dispatch.h"

static void
s_passes_the_answer (void)
{
    s_model->head++;
    s_model->has_begun = false;
}

//  The loop looks at the command in this order only when it is about to return because of it.
static unsigned long
s_load_acquire (const volatile unsigned long *address)
{
    const gpb_lane_control_t *control = s_model->ring.control;
    s_step ();
    s_model->sees_parking |= address == &control->command;
    return __atomic_load_n (address, __ATOMIC_ACQUIRE);
}

//  The loop asks for the time when it has made up its mind to call the handler, and when that has
//  returned.
static unsigned long
s_ticks (void)
{
    s_model->has_begun = true;
    s_step ();
    return ++s_model->ticks;
}

//  ---------------------------------------------------------------------------------------------------------
//  The host's side

static void
s_publish (void)
{
    gpb_ring_t *ring = &s_model->ring;
    s_message_t *message = s_at (s_model->published);
    const uint64_t slot = s_model->published % ring->slots;
    *message = (s_message_t){ .stamp = ++s_model->stamps };
    gpb_ring_message_t *fields = &message->message;
    if (s_random (4) == 0) {
        fields->input = BLOCK_SIZE * (2 * slot + 1);
        s_model->in_blocks++;
    }
    if (s_random (4) == 0)
        fields->output = BLOCK_SIZE * (2 * slot + 2);
    fields->size = (uint32_t) s_random ((fields->input ? BLOCK_SIZE : SLOT_SIZE) + 1);
    fields->capacity = (uint32_t) s_random ((fields->output ? BLOCK_SIZE : SLOT_SIZE) + 1);
    message->says = s_random (8) == 0 ? fields->capacity + 1 + (uint32_t) s_random (1000)
                                      : (uint32_t) s_random (fields->capacity + 1);
    unsigned char *input = fields->input ? s_model->heap + fields->input : gpb_ring_input (ring);
    s_fill (input, fields->size, message->stamp, false);
    HOLDS (gpb_ring_publish (ring, fields) == s_model->published);
    s_model->published++;
}

static void
s_cancel (void)
{
    //  Also one that was answered, and one that is not there yet.
    const uint64_t index =
        s_model->answered - 1 + s_random (s_model->published - s_model->answered + 2);
    const bool waits = index - s_model->answered < s_model->published - s_model->answered;
    gpb_ring_cancel (&s_model->ring, index);
    if (!waits)
        return;
    const bool is_late = index - s_model->answered < s_model->head - s_model->answered
                         || (index == s_model->head && s_model->has_begun);
    if (is_late)
        s_model->late_cancels++;
    else if (!s_at (index)->cancelled) {
        s_at (index)->cancelled = true;
        s_model->cancels++;
    }
}

static void
s_take (void)
{
    gpb_ring_answer_t answer;
    const bool is_there = gpb_ring_answer (&s_model->ring, &answer);
    HOLDS (is_there == (s_model->head != s_model->answered));
    if (!is_there)
        return;
    const s_message_t *expected = s_at (s_model->answered);
    HOLDS (answer.index == s_model->answered);
    if (expected->cancelled) {
        HOLDS (answer.outcome == GPB_RING_SKIPPED);
        HOLDS (answer.size == 0 && answer.taken_ticks == 0 && answer.done_ticks == 0);
    }
    else {
        const uint32_t capacity = expected->message.capacity;
        const bool is_over = expected->says > capacity;
        HOLDS (answer.outcome == (is_over ? GPB_RING_OVERFLOW : GPB_RING_OK));
        HOLDS (answer.size == (is_over ? capacity : expected->says));
        HOLDS (0 < answer.taken_ticks && answer.taken_ticks < answer.done_ticks);
        HOLDS ((answer.output == NULL) == (expected->message.output != 0));
        s_compare (answer.output ? answer.output : s_model->heap + expected->message.output,
                   answer.size, expected->stamp, true);
        s_model->overflows += is_over;
    }
    gpb_ring_pop (&s_model->ring);
    s_model->answered++;
}

static void
s_act (void)
{
    s_model_t *model = s_model;
    const uint64_t waiting = model->published - model->answered;
    HOLDS (gpb_ring_waiting (&model->ring) == waiting);
    HOLDS (gpb_ring_room (&model->ring) == model->ring.slots - waiting);
    model->full += waiting == model->ring.slots;
    model->empty += waiting == 0;
    if (s_random (2000) == 0)
        model->eagerness =
            s_random (4) == 0 ? 100 * (unsigned) s_random (2) : (unsigned) s_random (101);
    const uint64_t dice = s_random (1000);
    if (dice < 1 || model->steps > model->steps_max) {
        gpb_ring_park (&model->ring);
        if (!model->is_parking)
            model->published_before = model->published;
        model->is_parking = true;
    }
    else if (dice < 40)
        s_cancel ();
    else if (dice < 400) {
        if (s_random (100) >= model->eagerness)
            s_take ();
        else if (waiting < model->ring.slots)
            s_publish ();
    }
}

//  One access of the loop's is about to happen: the host may do something before it, or more.
static void
s_step (void)
{
    s_model->steps++;
    do
        s_act ();
    while (s_random (4) == 0);
}

static void
s_start (uint64_t seed, uint32_t slots, uint64_t first)
{
    const size_t ring_size = gpb_ring_size (slots, SLOT_SIZE);
    const size_t heap_size = BLOCK_SIZE * (2 * (size_t) slots + 1);
    s_model = calloc (1, sizeof *s_model);
    ck_assert_ptr_nonnull (s_model);
    s_model->random = seed;
    s_model->memory = aligned_alloc (GPB_LANE_UNIT, GPB_LANE_UNIT + ring_size + heap_size);
    ck_assert_ptr_nonnull (s_model->memory);
    s_model->heap = s_model->memory + GPB_LANE_UNIT + ring_size;
    s_model->published = s_model->answered = s_model->head = first;
    s_model->eagerness = 50;
    const gpb_ring_options_t options = {
        .slots = slots, .slot_size = SLOT_SIZE, .heap = GPB_LANE_UNIT + ring_size, .state = 0
    };
    memset (s_model->memory, 0xA5, GPB_LANE_UNIT + ring_size + heap_size);
    gpb_ring_init (&s_model->ring, s_model->memory, GPB_LANE_UNIT, &options, first);
}

//  Runs the loop until it returns, and holds what it has left against the list.
static void
s_launch (void)
{
    const gpb_lane_control_t *control = s_model->ring.control;
    s_model->is_parking = s_model->sees_parking = false;
    gpb_ring_run (&s_model->ring, 0, IDLE_POLLS);
    gpb_dispatch (s_model->memory, GPB_LANE_UNIT);
    HOLDS (control->head == s_model->head);
    HOLDS (!s_model->has_begun);
    if (s_model->sees_parking)
        HOLDS ((int64_t) (s_model->head - s_model->published_before) >= 0);
    if (s_model->sees_parking)
        s_model->parks++;
    else
        s_model->idles++;
}

static void
s_run (uint64_t seed, uint64_t steps, uint32_t slots, uint64_t first)
{
    s_start (seed, slots, first);
    s_model->steps_max = steps;
    while (s_model->steps < steps) {
        s_launch ();
        //  While it is parked, as while it runs.
        for (uint64_t times = s_random (4); times > 0; times--)
            s_step ();
    }
    while (s_model->answered != s_model->published) {
        s_launch ();
        while (s_model->answered != s_model->head)
            s_take ();
    }
    //  Nothing was lost, and there was some of everything.
    ck_assert_uint_eq (s_model->answered - first, s_model->stamps);
    ck_assert_uint_gt (s_model->stamps, steps / 100);
    ck_assert_uint_gt (s_model->full, 0);
    ck_assert_uint_gt (s_model->empty, 0);
    ck_assert_uint_gt (s_model->cancels, 0);
    ck_assert_uint_gt (s_model->late_cancels, 0);
    ck_assert_uint_gt (s_model->overflows, 0);
    ck_assert_uint_gt (s_model->parks, 0);
    ck_assert_uint_gt (s_model->idles, 0);
    ck_assert_uint_gt (s_model->in_blocks, 0);
    if (first > UINT64_MAX / 2)
        ck_assert_uint_lt (s_model->published, first);
    free (s_model->memory);
    free (s_model);
}

START_TEST (test_eight_slots_agree_with_the_list)
{
    s_run (0x9E3779B97F4A7C15, STEPS, 8, 0);
}
END_TEST

START_TEST (test_two_slots_agree_with_the_list)
{
    s_run (0xD1B54A32D192ED03, STEPS, 2, 12345);
}
END_TEST

START_TEST (test_sixty_four_slots_agree_with_the_list)
{
    s_run (0x8CB92BA72F3D8DD7, STEPS, 64, 1ULL << 32);
}
END_TEST

START_TEST (test_numbers_that_come_to_their_end_agree_with_the_list)
{
    for (uint64_t before = 1; before <= 16; before++)
        s_run (0xA0761D6478BD642F + before, STEPS / 16, 8, UINT64_MAX - 64 + 4 * before);
}
END_TEST

GPB_TEST_MAIN ("gpb_ring_model", 60, test_eight_slots_agree_with_the_list,
               test_two_slots_agree_with_the_list, test_sixty_four_slots_agree_with_the_list,
               test_numbers_that_come_to_their_end_agree_with_the_list)
