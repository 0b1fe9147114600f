//  Tests of gpb_handles: no handle twice, none to guess, none that outlives what it stands for.

#include "gpb_test.h"

#include "gpb_alloc.h"
#include "gpb_handles.h"
#include "gpb_lease.h"

#include <stdlib.h>

static gpb_error_t error;
static int s_items [4096];

static gpb_handles_t *
s_new (unsigned device, uint32_t generations)
{
    gpb_handles_t *handles = gpb_handles_new (device, generations, &error);
    ck_assert_msg (handles != NULL, "%s", error.text);
    return handles;
}

static uint64_t
s_add (gpb_handles_t *handles, void *item)
{
    uint64_t handle = gpb_handles_add (handles, item, &error);
    ck_assert_msg (handle != 0, "%s", error.text);
    ck_assert_ptr_eq (gpb_handles_lookup (handles, handle), item);
    return handle;
}

static int
s_compare (const void *left, const void *right)
{
    uint64_t one = *(const uint64_t *) left, other = *(const uint64_t *) right;
    return one < other ? -1 : one > other;
}

START_TEST (test_every_handle_finds_its_own)
{
    enum { COUNT = 4096 };
    static uint64_t handles [COUNT];
    gpb_handles_t *self = s_new (0x12, GPB_HANDLES_GENERATIONS);
    for (int index = 0; index < COUNT; index++) {
        handles [index] = s_add (self, &s_items [index]);
        ck_assert_uint_eq (gpb_handle_device (handles [index]), 0x12);
    }
    for (int index = 0; index < COUNT; index += 2)
        gpb_handles_remove (self, handles [index]);
    ck_assert_uint_eq (gpb_handles_count (self), COUNT / 2);
    for (int index = 0; index < COUNT; index++)
        ck_assert_ptr_eq (gpb_handles_lookup (self, handles [index]),
                          index % 2 ? &s_items [index] : NULL);
    gpb_handles_destroy (&self);
    ck_assert_ptr_null (self);
    gpb_handles_destroy (&self);
}
END_TEST

START_TEST (test_no_handle_is_given_twice)
{
    enum { COUNT = 300000 };
    uint64_t *seen = calloc (COUNT, sizeof *seen);
    ck_assert_ptr_nonnull (seen);
    gpb_handles_t *self = s_new (0, GPB_HANDLES_GENERATIONS);
    //  Slots are used again at once, by ones and by many.
    uint64_t live [64] = { 0 };
    for (int index = 0; index < COUNT; index++) {
        uint64_t *place = &live [(index * 7) % (1 + index % 64)];
        gpb_handles_remove (self, *place);
        *place = seen [index] = s_add (self, &s_items [0]);
    }
    ck_assert_uint_le (gpb_handles_count (self), 64);
    qsort (seen, COUNT, sizeof *seen, s_compare);
    for (int index = 1; index < COUNT; index++)
        ck_assert_uint_ne (seen [index - 1], seen [index]);
    gpb_handles_destroy (&self);
    free (seen);
}
END_TEST

START_TEST (test_a_stale_handle_is_nobodys)
{
    gpb_handles_t *self = s_new (3, GPB_HANDLES_GENERATIONS);
    uint64_t stale [1000];
    for (int round = 0; round < 1000; round++) {
        stale [round] = s_add (self, &s_items [round]);
        for (int other = 0; other < round; other++)
            ck_assert_ptr_null (gpb_handles_lookup (self, stale [other]));
        gpb_handles_remove (self, stale [round]);
        gpb_handles_remove (self, stale [round]);
        ck_assert_uint_eq (gpb_handles_count (self), 0);
    }
    //  Removing it once more does not free what the slot stands for now.
    uint64_t live = s_add (self, &s_items [7]);
    for (int round = 0; round < 1000; round++)
        gpb_handles_remove (self, stale [round]);
    ck_assert_ptr_eq (gpb_handles_lookup (self, live), &s_items [7]);
    gpb_handles_destroy (&self);
}
END_TEST

START_TEST (test_a_slot_whose_generations_are_used_up_retires)
{
    enum { GENERATIONS = 5, COUNT = 1000 };
    static uint64_t seen [COUNT];
    gpb_handles_t *self = s_new (1, GENERATIONS);
    for (int index = 0; index < COUNT; index++) {
        seen [index] = s_add (self, &s_items [0]);
        gpb_handles_remove (self, seen [index]);
    }
    for (int index = 0; index < COUNT; index++)
        ck_assert_ptr_null (gpb_handles_lookup (self, seen [index]));
    qsort (seen, COUNT, sizeof *seen, s_compare);
    for (int index = 1; index < COUNT; index++)
        ck_assert_uint_ne (seen [index - 1], seen [index]);
    gpb_handles_destroy (&self);
}
END_TEST

START_TEST (test_what_was_never_given_is_nobodys)
{
    enum { LIVE = 4096, GUESSES = 1000000 };
    gpb_handles_t *self = s_new (9, GPB_HANDLES_GENERATIONS);
    gpb_handles_t *other = s_new (9, GPB_HANDLES_GENERATIONS);
    static uint64_t handles [LIVE];
    for (int index = 0; index < LIVE; index++)
        handles [index] = s_add (self, &s_items [index]);
    //  A million guesses at 2^12 of 2^56: one hit in 10^7 runs.
    uint64_t state = 0x9E3779B97F4A7C15ULL;
    for (int guess = 0; guess < GUESSES; guess++) {
        state = state * 6364136223846793005ULL + 1442695040888963407ULL;
        ck_assert_ptr_null (gpb_handles_lookup (self, gpb_handle_make (9, state >> 8)));
    }
    for (int index = 0; index < LIVE; index++) {
        for (int bit = 0; bit < 64; bit++)
            ck_assert_ptr_null (gpb_handles_lookup (self, handles [index] ^ UINT64_C (1) << bit));
        //  Another table has another key.
        s_add (other, &s_items [index]);
        ck_assert_ptr_null (gpb_handles_lookup (other, handles [index]));
    }
    ck_assert_ptr_null (gpb_handles_lookup (self, 0));
    ck_assert_ptr_null (gpb_handles_lookup (self, UINT64_MAX));
    gpb_handles_destroy (&self);
    gpb_handles_destroy (&other);
}
END_TEST

START_TEST (test_handles_look_like_chance)
{
    //  Successive slots and successive generations: each of the 56 bits is set in half of the
    //  handles (4096 throws: outside 1748 to 2348 once in 10^20 runs), and neighbours differ in 28
    //  bits on average.
    enum { COUNT = 4096 };
    for (int by_generation = 0; by_generation < 2; by_generation++) {
        gpb_handles_t *self = s_new (0, GPB_HANDLES_GENERATIONS);
        int set [56] = { 0 };
        uint64_t before = 0, differing = 0;
        for (int index = 0; index < COUNT; index++) {
            uint64_t handle = s_add (self, &s_items [index]);
            if (by_generation)
                gpb_handles_remove (self, handle);
            for (int bit = 0; bit < 56; bit++)
                set [bit] += (int) (handle >> bit & 1);
            if (index)
                differing += (uint64_t) __builtin_popcountll (handle ^ before);
            before = handle;
        }
        for (int bit = 0; bit < 56; bit++)
            ck_assert (set [bit] > 1748 && set [bit] < 2348);
        ck_assert_uint_gt (differing, UINT64_C (27) * COUNT);
        ck_assert_uint_lt (differing, UINT64_C (29) * COUNT);
        gpb_handles_destroy (&self);
    }
}
END_TEST

START_TEST (test_memory_that_runs_out_is_said_and_changes_nothing)
{
    gpb_alloc_fail (0, 1);
    ck_assert_ptr_null (gpb_handles_new (0, GPB_HANDLES_GENERATIONS, &error));
    gpb_alloc_fail (-1, 0);
    ck_assert_int_eq (error.status, GPB_RESOURCE_EXHAUSTED);
    gpb_handles_t *self = s_new (0, GPB_HANDLES_GENERATIONS);
    static uint64_t handles [64];
    for (int index = 0; index < 64; index++)
        handles [index] = s_add (self, &s_items [index]);
    gpb_alloc_fail (0, 1);
    ck_assert_uint_eq (gpb_handles_add (self, &s_items [64], &error), 0);
    gpb_alloc_fail (-1, 0);
    ck_assert_int_eq (error.status, GPB_RESOURCE_EXHAUSTED);
    for (int index = 0; index < 64; index++)
        ck_assert_ptr_eq (gpb_handles_lookup (self, handles [index]), &s_items [index]);
    s_add (self, &s_items [64]);
    gpb_handles_destroy (&self);
}
END_TEST

GPB_TEST_MAIN ("gpb_handles", 20, test_every_handle_finds_its_own, test_no_handle_is_given_twice,
               test_a_stale_handle_is_nobodys, test_a_slot_whose_generations_are_used_up_retires,
               test_what_was_never_given_is_nobodys, test_handles_look_like_chance,
               test_memory_that_runs_out_is_said_and_changes_nothing)
