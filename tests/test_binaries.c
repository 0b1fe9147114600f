//  Tests of gpb_binaries: what one thread has built the others load, a key is built by one thread
//  at a time, whatever comes of it reaches those who wait, and what is kept stays within its bound.

#include "gpb_alloc.h"
#include "gpb_binaries.h"
#include "gpb_test.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#define WAITERS 4

static void
s_key (unsigned char *key, unsigned number)
{
    memset (key, 0, GPB_BINARIES_KEY_SIZE);
    memcpy (key, &number, sizeof number);
}

//  Bytes that are all the number's.
static gpb_binary_t *
s_binary (unsigned number, size_t size)
{
    void *data = gpb_alloc (size, 1);
    ck_assert_ptr_nonnull (data);
    memset (data, (int) number, size);
    gpb_binary_t *binary = gpb_binary_new (&data, size);
    ck_assert_ptr_nonnull (binary);
    ck_assert_ptr_null (data);
    return binary;
}

static void
s_publish (gpb_binaries_t *binaries, unsigned number, size_t size)
{
    unsigned char key [GPB_BINARIES_KEY_SIZE];
    s_key (key, number);
    gpb_binary_t *binary = s_binary (number, size);
    gpb_binaries_publish (binaries, key, binary);
    gpb_binary_release (&binary);
    ck_assert_ptr_null (binary);
}

//  Asks for a number; what is found is right. With BUILD, the caller settles.
static gpb_binaries_outcome_t
s_acquire (gpb_binaries_t *binaries, unsigned number)
{
    unsigned char key [GPB_BINARIES_KEY_SIZE];
    s_key (key, number);
    gpb_binary_t *binary;
    gpb_error_t error;
    gpb_binaries_outcome_t outcome = gpb_binaries_acquire (binaries, key, &binary, &error);
    ck_assert_int_eq (binary != NULL, outcome == GPB_BINARIES_FOUND);
    if (binary) {
        const unsigned char *data = binary->data;
        ck_assert_uint_eq (data [0], number & 255);
        ck_assert_uint_eq (data [binary->size - 1], number & 255);
        gpb_binary_release (&binary);
    }
    return outcome;
}

//  Whether it is there; leaves no flight behind.
static bool
s_has (gpb_binaries_t *binaries, unsigned number)
{
    unsigned char key [GPB_BINARIES_KEY_SIZE];
    s_key (key, number);
    if (s_acquire (binaries, number) == GPB_BINARIES_FOUND)
        return true;
    gpb_binaries_give_up (binaries, key);
    return false;
}

//  ---------------------------------------------------------------------------------------------------------
//  What is kept

START_TEST (test_what_was_published_is_found_and_what_was_used_longest_ago_goes_first)
{
    gpb_binaries_t *binaries = gpb_binaries_new (300);
    ck_assert (!s_has (binaries, 1));
    for (unsigned number = 1; number <= 3; number++)
        s_publish (binaries, number, 100);
    ck_assert (s_has (binaries, 1));    //  now 2 is the one used longest ago
    s_publish (binaries, 4, 100);
    ck_assert (!s_has (binaries, 2));
    ck_assert (s_has (binaries, 3));
    ck_assert (s_has (binaries, 1));
    ck_assert (s_has (binaries, 4));
    //  One that is larger pushes out as many as it needs.
    s_publish (binaries, 5, 150);
    ck_assert (!s_has (binaries, 3));
    ck_assert (!s_has (binaries, 1));
    ck_assert (s_has (binaries, 4));
    ck_assert (s_has (binaries, 5));
    //  One that would not fit alone is not kept, and pushes nothing out.
    s_publish (binaries, 6, 301);
    ck_assert (!s_has (binaries, 6));
    ck_assert (s_has (binaries, 4));
    ck_assert (s_has (binaries, 5));
    gpb_binaries_release (&binaries);
    ck_assert_ptr_null (binaries);
    gpb_binaries_release (&binaries);
}
END_TEST

START_TEST (test_one_in_the_place_of_another_takes_its_bytes)
{
    gpb_binaries_t *binaries = gpb_binaries_new (300);
    s_publish (binaries, 1, 100);
    for (int round = 0; round < 10; round++)
        s_publish (binaries, 2, 200);
    ck_assert (s_has (binaries, 1));
    ck_assert (s_has (binaries, 2));
    //  One that is too large replaces all the same: the old one is not what was published.
    s_publish (binaries, 2, 301);
    ck_assert (!s_has (binaries, 2));
    s_publish (binaries, 3, 200);
    ck_assert (s_has (binaries, 1));
    gpb_binaries_release (&binaries);
}
END_TEST

START_TEST (test_a_binary_outlives_its_eviction_and_its_owner)
{
    gpb_binaries_t *binaries = gpb_binaries_new (100);
    s_publish (binaries, 1, 100);
    unsigned char key [GPB_BINARIES_KEY_SIZE];
    s_key (key, 1);
    gpb_binary_t *binary;
    gpb_error_t error;
    ck_assert_int_eq (gpb_binaries_acquire (binaries, key, &binary, &error), GPB_BINARIES_FOUND);
    s_publish (binaries, 2, 100);
    ck_assert (!s_has (binaries, 1));
    gpb_binaries_release (&binaries);
    ck_assert_uint_eq (((const unsigned char *) binary->data) [99], 1);
    gpb_binary_release (&binary);
    gpb_binary_release (&binary);
}
END_TEST

START_TEST (test_the_process_keeps_its_own_until_it_forgets)
{
    gpb_binaries_t *first = gpb_binaries_of_process (), *second = gpb_binaries_of_process ();
    ck_assert_ptr_eq (first, second);
    s_publish (first, 1, 10);
    gpb_binaries_release (&first);
    gpb_binaries_release (&second);
    //  As a node that is stopped and started again.
    first = gpb_binaries_of_process ();
    ck_assert (s_has (first, 1));
    //  Who has it keeps it; who comes next starts anew.
    gpb_binaries_forget ();
    second = gpb_binaries_of_process ();
    ck_assert_ptr_ne (first, second);
    ck_assert (s_has (first, 1));
    ck_assert (!s_has (second, 1));
    gpb_binaries_release (&first);
    gpb_binaries_release (&second);
    gpb_binaries_forget ();
    gpb_binaries_forget ();
    //  Its bound holds three of 20 MiB, and no fourth.
    first = gpb_binaries_of_process ();
    for (unsigned number = 1; number <= 4; number++)
        s_publish (first, number, GPB_BINARIES_MAX_SIZE * 20 / 64);
    ck_assert (!s_has (first, 1));
    ck_assert (s_has (first, 2));
    gpb_binaries_release (&first);
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Flights

typedef struct {
    gpb_binaries_t *binaries;
    atomic_uint outcomes [GPB_BINARIES_REFUSED + 1];
    atomic_uint builders_at_once;
} s_flight_test_t;

//  Waits for key 7, and settles it where it becomes its turn.
static void *
s_wait (void *argument)
{
    s_flight_test_t *test = argument;
    unsigned char key [GPB_BINARIES_KEY_SIZE];
    s_key (key, 7);
    gpb_binary_t *binary;
    gpb_error_t error = { GPB_OK, "" };
    gpb_binaries_outcome_t outcome = gpb_binaries_acquire (test->binaries, key, &binary, &error);
    atomic_fetch_add (&test->outcomes [outcome], 1);
    if (outcome == GPB_BINARIES_REFUSED)
        ck_assert_refused (error.status, GPB_INVALID_ARGUMENT, "line 1");
    if (outcome == GPB_BINARIES_BUILD) {
        ck_assert_uint_eq (atomic_fetch_add (&test->builders_at_once, 1), 0);
        sched_yield ();
        //  The first one gives up too.
        bool gives_up = atomic_load (&test->outcomes [GPB_BINARIES_BUILD]) == 1;
        atomic_fetch_sub (&test->builders_at_once, 1);
        if (gives_up)
            gpb_binaries_give_up (test->binaries, key);
        else
            s_publish (test->binaries, 7, 50);
    }
    gpb_binary_release (&binary);
    return NULL;
}

typedef enum { PUBLISHES, WITHHOLDS, REFUSES, GIVES_UP } s_settling_t;

//  Key 7 is being built while others come and wait; then it is settled.
static void
s_fly (s_flight_test_t *test, s_settling_t settling, uint64_t max_size)
{
    *test = (s_flight_test_t){ .binaries = gpb_binaries_new (max_size) };
    unsigned char key [GPB_BINARIES_KEY_SIZE];
    s_key (key, 7);
    ck_assert_int_eq (s_acquire (test->binaries, 7), GPB_BINARIES_BUILD);
    ck_assert (!s_has (test->binaries, 8));    //  another key waits for nobody
    pthread_t threads [WAITERS];
    for (int index = 0; index < WAITERS; index++)
        ck_assert_int_eq (pthread_create (&threads [index], NULL, s_wait, test), 0);
    while (gpb_binaries_waiting (test->binaries) < WAITERS)
        sched_yield ();
    gpb_error_t error;
    gpb_error_set (&error, GPB_INVALID_ARGUMENT, "line 1: that is wrong");
    if (settling == PUBLISHES)
        s_publish (test->binaries, 7, 50);
    else if (settling == WITHHOLDS)
        gpb_binaries_publish (test->binaries, key, NULL);
    else if (settling == REFUSES)
        gpb_binaries_refuse (test->binaries, key, &error);
    else
        gpb_binaries_give_up (test->binaries, key);
    for (int index = 0; index < WAITERS; index++)
        pthread_join (threads [index], NULL);
}

START_TEST (test_those_who_wait_get_what_was_built_even_where_it_is_not_kept)
{
    s_flight_test_t test;
    for (uint64_t max_size = 1; max_size <= 100; max_size += 99) {
        s_fly (&test, PUBLISHES, max_size);
        ck_assert_uint_eq (test.outcomes [GPB_BINARIES_FOUND], WAITERS);
        ck_assert_int_eq (s_has (test.binaries, 7), max_size == 100);
        gpb_binaries_release (&test.binaries);
    }
}
END_TEST

START_TEST (test_a_backend_without_binaries_has_all_build_for_themselves)
{
    s_flight_test_t test;
    s_fly (&test, WITHHOLDS, 100);
    ck_assert_uint_eq (test.outcomes [GPB_BINARIES_ALONE], WAITERS);
    ck_assert (!s_has (test.binaries, 7));
    gpb_binaries_release (&test.binaries);
}
END_TEST

START_TEST (test_what_the_compiler_refuses_is_refused_to_all_who_wait_and_not_kept)
{
    s_flight_test_t test;
    s_fly (&test, REFUSES, 100);
    ck_assert_uint_eq (test.outcomes [GPB_BINARIES_REFUSED], WAITERS);
    ck_assert_int_eq (s_acquire (test.binaries, 7), GPB_BINARIES_BUILD);
    s_publish (test.binaries, 7, 10);
    ck_assert (s_has (test.binaries, 7));
    gpb_binaries_release (&test.binaries);
}
END_TEST

START_TEST (test_where_one_gives_up_one_of_those_who_wait_builds_in_its_place)
{
    s_flight_test_t test;
    s_fly (&test, GIVES_UP, 100);
    //  The first of them gave up as well.
    ck_assert_uint_eq (test.outcomes [GPB_BINARIES_BUILD], 2);
    ck_assert_uint_eq (test.outcomes [GPB_BINARIES_FOUND], WAITERS - 2);
    gpb_binaries_release (&test.binaries);
}
END_TEST

START_TEST (test_the_last_of_those_who_give_up_leaves_nothing)
{
    gpb_binaries_t *binaries = gpb_binaries_new (100);
    unsigned char key [GPB_BINARIES_KEY_SIZE];
    s_key (key, 7);
    for (int round = 0; round < 3; round++) {
        ck_assert_int_eq (s_acquire (binaries, 7), GPB_BINARIES_BUILD);
        gpb_binaries_give_up (binaries, key);
    }
    gpb_binaries_give_up (binaries, key);    //  nobody builds it: nothing happens
    gpb_binaries_release (&binaries);
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------

#define NUMBERS 8

typedef struct {
    gpb_binaries_t *binaries;
    atomic_int building [NUMBERS];
    atomic_uint built [NUMBERS];
} s_crowd_t;

static void *
s_be_one_of_many (void *argument)
{
    s_crowd_t *crowd = argument;
    unsigned state = (unsigned) (uintptr_t) &state;
    for (int round = 0; round < 2000; round++) {
        state = state * 1103515245u + 12345u;
        unsigned number = (state >> 16) % NUMBERS;
        unsigned char key [GPB_BINARIES_KEY_SIZE];
        s_key (key, number);
        if (s_acquire (crowd->binaries, number) != GPB_BINARIES_BUILD)
            continue;
        ck_assert_int_eq (atomic_exchange (&crowd->building [number], 1), 0);
        sched_yield ();
        bool gives_up = round % 7 == 0;
        atomic_fetch_add (&crowd->built [number], !gives_up);
        atomic_store (&crowd->building [number], 0);
        if (gives_up)
            gpb_binaries_give_up (crowd->binaries, key);
        else
            s_publish (crowd->binaries, number, 50);
    }
    return NULL;
}

static void
s_run_crowd (s_crowd_t *crowd, uint64_t max_size)
{
    *crowd = (s_crowd_t){ .binaries = gpb_binaries_new (max_size) };
    pthread_t threads [WAITERS];
    for (int index = 0; index < WAITERS; index++)
        ck_assert_int_eq (pthread_create (&threads [index], NULL, s_be_one_of_many, crowd), 0);
    for (int index = 0; index < WAITERS; index++)
        pthread_join (threads [index], NULL);
    gpb_binaries_release (&crowd->binaries);
}

START_TEST (test_of_many_threads_one_builds_a_key)
{
    s_crowd_t crowd;
    s_run_crowd (&crowd, NUMBERS * 50);
    for (int number = 0; number < NUMBERS; number++)
        ck_assert_uint_eq (crowd.built [number], 1);
    //  In too little room they are built again and again, never by two at once.
    s_run_crowd (&crowd, 2 * 50);
    for (int number = 0; number < NUMBERS; number++)
        ck_assert_uint_gt (crowd.built [number], 1);
}
END_TEST

START_TEST (test_where_memory_runs_out_all_is_built_and_nothing_leaks)
{
    gpb_alloc_fail (0, 0);
    ck_assert_ptr_null (gpb_binaries_new (100));
    gpb_alloc_fail (0, 0);
    ck_assert_ptr_null (gpb_binaries_of_process ());
    gpb_alloc_fail (-1, 0);
    gpb_binaries_t *binaries = gpb_binaries_new (100);
    gpb_alloc_fail (0, 0);
    ck_assert_int_eq (s_acquire (binaries, 7), GPB_BINARIES_ALONE);
    gpb_alloc_fail (-1, 0);
    ck_assert_int_eq (s_acquire (binaries, 7), GPB_BINARIES_BUILD);
    unsigned char key [GPB_BINARIES_KEY_SIZE];
    s_key (key, 7);
    void *data = gpb_alloc (10, 1);
    gpb_alloc_fail (0, 0);
    ck_assert_ptr_null (gpb_binary_new (&data, 10));
    gpb_alloc_fail (-1, 0);
    ck_assert_ptr_nonnull (data);
    gpb_binary_t *binary = gpb_binary_new (&data, 10);
    gpb_alloc_fail (0, 0);
    gpb_binaries_publish (binaries, key, binary);
    gpb_alloc_fail (-1, 0);
    gpb_binary_release (&binary);
    ck_assert (!s_has (binaries, 7));
    gpb_binaries_release (&binaries);
}
END_TEST

GPB_TEST_MAIN ("gpb_binaries", 30,
               test_what_was_published_is_found_and_what_was_used_longest_ago_goes_first,
               test_one_in_the_place_of_another_takes_its_bytes,
               test_a_binary_outlives_its_eviction_and_its_owner,
               test_the_process_keeps_its_own_until_it_forgets,
               test_those_who_wait_get_what_was_built_even_where_it_is_not_kept,
               test_a_backend_without_binaries_has_all_build_for_themselves,
               test_what_the_compiler_refuses_is_refused_to_all_who_wait_and_not_kept,
               test_where_one_gives_up_one_of_those_who_wait_builds_in_its_place,
               test_the_last_of_those_who_give_up_leaves_nothing,
               test_of_many_threads_one_builds_a_key,
               test_where_memory_runs_out_all_is_built_and_nothing_leaks)
