//  A test of gpb_unique: no number comes twice, whichever threads ask.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_test.h"

#include "gpb_unique.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#define THREADS 4
#define NUMBERS 20000

static uint64_t s_numbers [THREADS][NUMBERS];

static void *
s_ask (void *numbers_p)
{
    uint64_t *numbers = numbers_p;
    for (size_t index = 0; index < NUMBERS; index++)
        numbers [index] = gpb_unique ();
    return NULL;
}

START_TEST (test_no_two_threads_get_the_same_number)
{
    pthread_t threads [THREADS];
    for (size_t index = 0; index < THREADS; index++)
        ck_assert_int_eq (pthread_create (&threads [index], NULL, s_ask, s_numbers [index]), 0);
    for (size_t index = 0; index < THREADS; index++)
        pthread_join (threads [index], NULL);
    static bool seen [THREADS * NUMBERS + 1];
    for (size_t index = 0; index < (size_t) THREADS * NUMBERS; index++) {
        uint64_t number = s_numbers [index / NUMBERS][index % NUMBERS];
        ck_assert_uint_ge (number, 1);
        ck_assert_uint_le (number, (uint64_t) THREADS * NUMBERS);
        ck_assert (!seen [number]);
        seen [number] = true;
    }
}
END_TEST

GPB_TEST_MAIN ("gpb_unique", 20, test_no_two_threads_get_the_same_number)
