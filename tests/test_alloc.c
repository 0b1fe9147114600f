//  Tests of gpb_alloc: memory that is asked for wrongly is refused, and the one that a test wants
//  to fail fails.

#include "gpb_test.h"

#include "gpb_alloc.h"
#include "gpb_clock.h"

#include <stdbool.h>
#include <string.h>

START_TEST (test_memory_is_zeroed_aligned_and_copied)
{
    unsigned char *zeros = gpb_alloc (100, 7);
    for (int index = 0; index < 700; index++)
        ck_assert_uint_eq (zeros [index], 0);
    zeros = gpb_realloc (zeros, 200, 7);
    ck_assert_uint_eq (zeros [699], 0);
    gpb_free (zeros);
    for (size_t alignment = sizeof (void *); alignment <= 4096; alignment *= 2) {
        void *memory = gpb_alloc_aligned (alignment, 10);
        ck_assert_uint_eq ((uintptr_t) memory % alignment, 0);
        gpb_free (memory);
    }
    char *text = gpb_strdup ("text"), *part = gpb_strndup ("text", 2);
    ck_assert_str_eq (text, "text");
    ck_assert_str_eq (part, "te");
    gpb_free (text);
    gpb_free (part);
    ck_assert_ptr_null (gpb_strdup (NULL));
    gpb_free (NULL);
}
END_TEST

START_TEST (test_a_size_that_overflows_is_refused)
{
    ck_assert_ptr_null (gpb_alloc (SIZE_MAX / 2, 3));
    void *memory = gpb_alloc (1, 10);
    ck_assert_ptr_null (gpb_realloc (memory, SIZE_MAX / 2, 3));
    gpb_free (memory);
    ck_assert_ptr_null (gpb_strndup ("", SIZE_MAX));
}
END_TEST

START_TEST (test_nothing_at_all_is_a_pointer_that_may_be_freed)
{
    void *memory = gpb_alloc (0, 8);
    ck_assert_ptr_nonnull (memory);
    memory = gpb_realloc (memory, 0, 8);
    ck_assert_ptr_nonnull (memory);
    gpb_free (memory);
    memory = gpb_alloc_aligned (16, 0);
    ck_assert_ptr_nonnull (memory);
    gpb_free (memory);
}
END_TEST

START_TEST (test_what_is_kept_is_no_leak)
{
    //  Leak detectors look for it when this process ends.
    for (int count = 0; count < 3; count++) {
        void **kept = gpb_alloc (1, sizeof *kept);
        *kept = gpb_alloc (100, 1);    //  and so is what it points to
        gpb_alloc_keep (kept);
    }
    gpb_alloc_keep (NULL);
}
END_TEST

//  Each of the five ways to memory.
static void *
s_one_of (int way)
{
    switch (way) {
    case 0: return gpb_alloc (1, 8);
    case 1: return gpb_alloc_aligned (16, 8);
    case 2: return gpb_realloc (NULL, 1, 8);
    case 3: return gpb_strdup ("x");
    default: return gpb_strndup ("x", 1);
    }
}

START_TEST (test_the_one_that_is_to_fail_fails)
{
    for (int64_t after = 0; after < 10; after++)
        for (int ever = 0; ever < 2; ever++) {
            gpb_alloc_fail (after, ever);
            for (int count = 0; count < 12; count++) {
                void *memory = s_one_of (count % 5);
                bool is_to_fail = ever ? count >= after : count == after;
                ck_assert_int_eq (memory == NULL, is_to_fail);
                gpb_free (memory);
            }
            ck_assert_uint_eq (gpb_alloc_fail (-1, 0), 12);
            void *memory = gpb_alloc (1, 1);
            ck_assert_ptr_nonnull (memory);
            gpb_free (memory);
        }
}
END_TEST

START_TEST (test_what_could_not_grow_stays)
{
    char *memory = gpb_strdup ("stays");
    gpb_alloc_fail (0, 0);
    ck_assert_ptr_null (gpb_realloc (memory, 1000, 1));
    gpb_alloc_fail (-1, 0);
    ck_assert_str_eq (memory, "stays");
    gpb_free (memory);
}
END_TEST

START_TEST (test_the_clock_never_goes_back)
{
    struct timespec before, after;
    clock_gettime (CLOCK_MONOTONIC, &before);
    uint64_t last_ns = gpb_clock_ns ();
    for (int count = 0; count < 100000; count++) {
        uint64_t now_ns = gpb_clock_ns ();
        ck_assert_uint_ge (now_ns, last_ns);
        last_ns = now_ns;
    }
    clock_gettime (CLOCK_MONOTONIC, &after);
    ck_assert_uint_le (last_ns, (uint64_t) after.tv_sec * GPB_NS_PER_S + (uint64_t) after.tv_nsec);
    ck_assert_uint_ge (last_ns, (uint64_t) before.tv_sec * GPB_NS_PER_S);
}
END_TEST

GPB_TEST_MAIN ("gpb_alloc", 20, test_memory_is_zeroed_aligned_and_copied,
               test_a_size_that_overflows_is_refused,
               test_nothing_at_all_is_a_pointer_that_may_be_freed,
               test_the_one_that_is_to_fail_fails, test_what_could_not_grow_stays,
               test_what_is_kept_is_no_leak, test_the_clock_never_goes_back)
