//  Tests of gpb_once: a persistent kernel's handler launched for each message, on the fake backend,
//  whose memory is not the host's, and on PoCL, where it is.

#include "gpb_test.h"

#include "gpb_clock.h"
#include "gpb_once.h"
#include "gpb_test_device.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FAKE "tests/kernels_fake"
#define FOR_EVER 4294967295u    //  to fake_stuck: until it is let go
#define PLENTY ((uint64_t) 16 << 20)

static gpb_error_t error;
static gpb_shared_context_t *s_shared;
static gpb_kernels_t *s_kernels;
static gpb_cache_t *s_cache;
static gpb_resident_t *s_resident;
static gpb_once_t *s_once;

static void
s_open_resident (const char *backend, const char *folder, const char *kernel)
{
    char path [4096];
    snprintf (path, sizeof path, "%s/%s", getenv ("GPB_SOURCE_DIR"), folder);
    s_shared = gpb_shared_context_open (backend, 0, 1, false, &error);
    ck_assert_msg (s_shared != NULL, "%s", error.text);
    s_kernels = gpb_kernels_new (path, &error);
    s_cache = gpb_cache_new ("", 0, &error);
    s_resident =
        gpb_resident_new (s_shared, gpb_kernels_lookup (s_kernels, kernel), s_cache, 0, &error);
    ck_assert_msg (s_resident != NULL, "%s", error.text);
}

static void
s_open (const char *backend, const char *folder, const char *kernel)
{
    s_open_resident (backend, folder, kernel);
    s_once = gpb_once_new (s_resident, PLENTY, &error);
    ck_assert_msg (s_once != NULL, "%s", error.text);
}

static void
s_close (void)
{
    gpb_once_destroy (&s_once);
    ck_assert_ptr_null (s_once);
    gpb_resident_destroy (&s_resident);
    gpb_cache_destroy (&s_cache);
    gpb_kernels_destroy (&s_kernels);
    gpb_shared_context_release (&s_shared);
}

//  Launches a message in the first place that is free, and returns that.
static int
s_launch (const void *data, uint32_t size, uint32_t capacity)
{
    const int place = gpb_once_place (s_once);
    ck_assert_int_ge (place, 0);
    memcpy (gpb_once_input (s_once, place), data, size);
    ck_assert_ok (gpb_once_launch (s_once, place, size, capacity, &error));
    return place;
}

//  Waits until the place's launch has ended, and returns its outcome. The device's eventfd tells
//  when there is something to look at.
static gpb_status_t
s_await (int place, gpb_ring_answer_t *answer)
{
    const uint64_t end_ns = gpb_clock_ns () + 30 * GPB_NS_PER_S;
    while (true) {
        bool done = false;
        gpb_status_t status = gpb_once_answer (s_once, place, &done, answer, &error);
        if (done)
            return status;
        ck_assert_int_eq (status, GPB_OK);
        ck_assert_msg (gpb_clock_ns () < end_ns, "no answer comes");
        struct pollfd item = { s_shared->host_fd, POLLIN, 0 };
        uint64_t count;
        if (poll (&item, 1, 1000) == 1)
            ck_assert_int_eq (read (item.fd, &count, sizeof count), (int) sizeof count);
    }
}

//  ---------------------------------------------------------------------------------------------------------
//  A launch and its answer

//  Waits for an answer that is OK, gives the place back, and returns a copy of the output's start.
static uint64_t
s_take (int place, uint32_t size)
{
    gpb_ring_answer_t answer;
    ck_assert_ok (s_await (place, &answer));
    ck_assert_int_eq (answer.outcome, GPB_RING_OK);
    ck_assert_uint_eq (answer.size, size);
    uint64_t word = 0;
    memcpy (&word, answer.output, size < sizeof word ? size : sizeof word);
    gpb_once_give (s_once, place);
    return word;
}

static void
s_check_double (void)
{
    const float values [] = { 1.5f, -2, 1e30f };
    gpb_ring_answer_t answer;
    const int place = s_launch (values, sizeof values, sizeof values);
    ck_assert_ok (s_await (place, &answer));
    ck_assert_int_eq (answer.outcome, GPB_RING_OK);
    ck_assert_uint_eq (answer.size, sizeof values);
    for (size_t index = 0; index < 3; index++)
        ck_assert (((const float *) answer.output) [index] == 2 * values [index]);
    gpb_once_give (s_once, place);
    ck_assert_int_eq (gpb_once_place (s_once), place);
}

START_TEST (test_a_message_is_answered_in_its_place)
{
    s_open ("fake", FAKE, "fake_double");
    for (unsigned round = 0; round < 3; round++)
        s_check_double ();
    s_close ();
}
END_TEST

//  What a device does that has no memory for both sides at once: it has no lanes.
START_TEST (test_a_device_without_lanes_answers_too)
{
    setenv ("GPB_FAKE_SVM", "0", 1);
    s_open ("fake", FAKE, "fake_double");
    ck_assert (!gpb_resident_has_lanes (s_resident));
    s_check_double ();
    s_close ();
}
END_TEST

//  It has no mirror: the handler reads what the host wrote.
START_TEST (test_a_device_that_shares_the_hosts_memory_answers_too)
{
    s_open ("opencl", "kernels", "running_stats");
    ck_assert (s_shared->info.shares_host_memory);
    for (unsigned count = 1; count <= 40; count++) {
        const float values [] = { 1, 2, (float) count };
        gpb_ring_answer_t answer;
        const int place = s_launch (values, sizeof values, 5 * sizeof (double));
        ck_assert_ok (s_await (place, &answer));
        const double *statistics = answer.output;
        ck_assert_uint_eq (answer.size, 5 * sizeof *statistics);
        ck_assert (statistics [0] == 3.0 * count);
        ck_assert (statistics [4] == (count < 2 ? 2 : count));
        gpb_once_give (s_once, place);
    }
    s_close ();
}
END_TEST

START_TEST (test_an_answer_says_when_its_handler_ran)
{
    s_open ("fake", FAKE, "fake_stuck");
    gpb_ring_answer_t answer;
    const uint64_t before_ns = gpb_clock_ns ();
    const int place = s_launch (&(uint32_t){ 3000 }, 4, 4);
    ck_assert_ok (s_await (place, &answer));
    ck_assert_uint_ge (answer.taken_ticks, before_ns);
    ck_assert_uint_ge (answer.done_ticks, answer.taken_ticks + 3000 * 1000);
    ck_assert_uint_le (answer.done_ticks, gpb_clock_ns ());
    gpb_once_give (s_once, place);
    s_close ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Places

//  The first does not return, so that all others stay behind it.
START_TEST (test_all_places_are_taken_and_each_has_its_own_answer)
{
    s_open ("fake", FAKE, "fake_stuck");
    uint32_t words [GPB_ONCE_PLACES_MAX];
    for (int place = 0; place < GPB_ONCE_PLACES_MAX; place++) {
        words [place] = place == 0 ? FOR_EVER : 100 + (uint32_t) place;
        ck_assert_int_eq (s_launch (&words [place], 4, 4), place);
    }
    ck_assert_int_eq (gpb_once_place (s_once), -1);
    for (int place = 0; place < GPB_ONCE_PLACES_MAX; place++) {
        bool done = true;
        gpb_ring_answer_t answer;
        ck_assert_ok (gpb_once_answer (s_once, place, &done, &answer, &error));
        ck_assert_msg (!done, "place %d is answered behind one that is not", place);
    }
    gpb_test_fake_let_go ();
    for (int place = GPB_ONCE_PLACES_MAX - 1; place >= 0; place--) {
        ck_assert_uint_eq (s_take (place, 4), words [place]);
        ck_assert_int_eq (gpb_once_place (s_once), place);    //  the first that is free
    }
    s_close ();
}
END_TEST

START_TEST (test_there_are_as_many_places_as_memory_allows_but_one_at_the_least)
{
    s_open ("fake", FAKE, "fake_echo");
    s_launch ("a", 1, 1);
    //  Both are inputs, so what lies between them is a place.
    const unsigned char *first = gpb_once_input (s_once, 0), *second = gpb_once_input (s_once, 1);
    const uint64_t size = (uint64_t) (second - first);
    ck_assert_uint_ge (size, 2 * 4096);    //  the largest input, and the output for it
    s_take (0, 1);
    const struct {
        uint64_t memory_size;
        int places;
    } cases [] = { { 0, 1 },
                   { size - 1, 1 },
                   { 2 * size - 1, 1 },
                   { 2 * size, 2 },
                   { 15 * size, 15 },
                   { 17 * size, GPB_ONCE_PLACES_MAX },
                   { UINT64_MAX, GPB_ONCE_PLACES_MAX } };
    for (size_t index = 0; index < sizeof cases / sizeof cases [0]; index++) {
        gpb_once_destroy (&s_once);
        s_once = gpb_once_new (s_resident, cases [index].memory_size, &error);
        ck_assert_msg (s_once != NULL, "%s", error.text);
        int places = 0;
        while (gpb_once_place (s_once) >= 0)
            ck_assert_int_eq (s_launch ("a", 1, 1), places++);
        ck_assert_int_eq (places, cases [index].places);
        for (int place = 0; place < places; place++)
            ck_assert_uint_eq (s_take (place, 1), 'a');
    }
    s_close ();
}
END_TEST

//  A slot of this kernel has 96 bytes, and its messages have up to 4096 and come back as they are.
START_TEST (test_input_and_output_may_be_larger_than_a_slot)
{
    static const uint32_t sizes [] = { 4096, 0, 97, 4095, 96, 1, 4096, 4096 };
    enum { COUNT = sizeof sizes / sizeof sizes [0] };
    unsigned char data [COUNT][4096];
    s_open ("fake", FAKE, "fake_echo");
    ck_assert_uint_lt (s_resident->settings->slot_size, 4096);
    for (unsigned count = 0; count < COUNT; count++) {
        for (unsigned index = 0; index < 4096; index++)
            data [count][index] = (unsigned char) (index * 7 + count);
        ck_assert_int_eq (s_launch (data [count], sizes [count], sizes [count]), (int) count);
    }
    //  All of them are there at once: none has written into what is another's.
    for (int place = 0; place < COUNT; place++) {
        gpb_ring_answer_t answer;
        ck_assert_ok (s_await (place, &answer));
        ck_assert_int_eq (answer.outcome, GPB_RING_OK);
        ck_assert_uint_eq (answer.size, sizes [place]);
    }
    for (int place = 0; place < COUNT; place++) {
        gpb_ring_answer_t answer;
        ck_assert_ok (s_await (place, &answer));
        ck_assert_mem_eq (answer.output, data [place], sizes [place]);
        gpb_once_give (s_once, place);
    }
    s_close ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  State

START_TEST (test_state_is_kept_between_launches_and_begins_at_zero)
{
    s_open ("fake", FAKE, "fake_count");
    //  Whichever places they have, in the order in which they were launched.
    for (uint64_t round = 0; round < 5; round++) {
        for (uint32_t count = 0; count < 10; count++)
            s_launch (&count, sizeof count, 16);
        for (int place = 0; place < 10; place++)
            ck_assert_uint_eq (s_take (place, 16), round * 10 + (uint64_t) place + 1);
    }
    gpb_once_destroy (&s_once);
    s_once = gpb_once_new (s_resident, PLENTY, &error);
    ck_assert_uint_eq (s_take (s_launch (&(uint32_t){ 1 }, 4, 16), 16), 1);
    s_close ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  What goes wrong

START_TEST (test_a_handler_that_says_it_wrote_too_much_costs_its_message)
{
    s_open ("fake", "tests/kernels_persistent", "overflow");
    for (uint32_t says = 6; says < 12; says++) {
        gpb_ring_answer_t answer;
        const int place = s_launch (&says, sizeof says, 8);
        ck_assert_ok (s_await (place, &answer));
        ck_assert_int_eq (answer.outcome, says <= 8 ? GPB_RING_OK : GPB_RING_OVERFLOW);
        ck_assert_uint_eq (answer.size, says <= 8 ? says : 8);
        gpb_once_give (s_once, place);
    }
    s_close ();
}
END_TEST

//  It is lost behind the first message, which is answered, and before the second one.
START_TEST (test_a_message_on_a_lost_device_has_that_for_its_outcome)
{
    s_open ("fake", FAKE, "fake_stuck");
    const gpb_backend_operations_t *operations = s_shared->operations;
    gpb_module_t *module = NULL;
    gpb_function_t *lose;
    gpb_function_info_t info;
    gpb_code_t code = gpb_test_code ("fake: lose");
    ck_assert_ok (operations->build (s_shared->context, &code, &module, &error));
    ck_assert_ok (operations->function (module, "lose", &lose, &info, &error));
    const gpb_launch_t launch = { .function = lose, .dimensions = 1, .global = { 1 } };
    s_launch (&(uint32_t){ FOR_EVER }, 4, 4);
    ck_assert_ok (operations->launch (s_shared->context, gpb_shared_context_host_stream (s_shared),
                                      &launch, GPB_NOTIFY_NOT, NULL, &error));
    s_launch (&(uint32_t){ 0 }, 4, 4);
    gpb_test_fake_let_go ();
    gpb_ring_answer_t answer;
    ck_assert_int_eq (s_await (1, &answer), GPB_UNAVAILABLE);
    gpb_once_give (s_once, 1);
    ck_assert_uint_eq (s_take (0, 4), FOR_EVER);
    operations->unload (&module);
    s_close ();
}
END_TEST

START_TEST (test_too_little_memory_is_said)
{
    setenv ("GPB_FAKE_MEMORY", "16384", 1);
    s_open_resident ("fake", FAKE, "fake_echo");
    ck_assert_ptr_null (gpb_once_new (s_resident, PLENTY, &error));
    ck_assert_int_eq (error.status, GPB_RESOURCE_EXHAUSTED);
    ck_assert_str_ne (error.text, "");
    s_once = gpb_once_new (s_resident, 0, &error);    //  one place fits
    ck_assert_msg (s_once != NULL, "%s", error.text);
    ck_assert_uint_eq (s_take (s_launch ("a", 1, 1), 1), 'a');
    s_close ();
}
END_TEST

static void
s_expect_no_faults (void)
{
    char faults [4096];
    ck_assert_msg (gpb_test_fake_faults (faults, sizeof faults) == 0, "%s", faults);
}

//  Any one of the calls that a message costs is refused, from the allocation on; then the place is
//  free, the next message, if there is one, is answered, and nothing is left. Whether one has.
static bool
s_check_call_that_fails (int64_t number, bool goes_on)
{
    gpb_faulty_held_t before, after;
    gpb_test_faulty_held (&before);
    gpb_test_faulty_fail (number);
    s_once = gpb_once_new (s_resident, PLENTY, &error);
    int place = -1;
    gpb_status_t status = s_once ? GPB_OK : error.status;
    if (s_once) {
        place = gpb_once_place (s_once);
        memcpy (gpb_once_input (s_once, place), &(float){ 1 }, 4);
        status = gpb_once_launch (s_once, place, 4, 4, &error);
    }
    if (s_once && status == GPB_OK) {
        gpb_ring_answer_t answer;
        status = s_await (place, &answer);
        gpb_once_give (s_once, place);
    }
    ck_assert (status == GPB_OK || error.text [0]);
    gpb_test_faulty_fail (-1);
    if (s_once) {
        ck_assert_int_eq (gpb_once_place (s_once), 0);
        if (goes_on)
            s_check_double ();
    }
    gpb_once_destroy (&s_once);
    gpb_test_faulty_held (&after);
    ck_assert_int_eq (after.memories, before.memories);
    ck_assert_int_eq (after.events, before.events);
    s_expect_no_faults ();
    return status != GPB_OK;
}

START_TEST (test_a_call_that_fails_costs_its_message_alone)
{
    s_open_resident ("faulty", FAKE, "fake_double");
    int64_t number = 0;
    while (s_check_call_that_fails (number, true) && s_check_call_that_fails (number, false))
        number++;
    //  Two allocations, an address, zero, a copy, the launch, a copy, and the outcome.
    ck_assert_int_ge (number, 8);
    s_close ();
    s_expect_no_faults ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  The end

//  Its state is zeroed by the device, which takes its time here.
START_TEST (test_places_that_nobody_has_used_are_not_given_back_too_early)
{
    setenv ("GPB_FAKE_COMPUTE_US", "50000", 1);
    s_open ("fake", FAKE, "fake_double");
    gpb_once_destroy (&s_once);
    s_expect_no_faults ();
    s_close ();
}
END_TEST

//  What still runs keeps its memory: the fake backend's books would tell.
START_TEST (test_what_does_not_end_is_left_what_it_uses)
{
    s_open ("fake", FAKE, "fake_stuck");
    s_launch (&(uint32_t){ FOR_EVER }, 4, 4);
    s_launch (&(uint32_t){ 0 }, 4, 4);
    gpb_once_abandon (&s_once);
    ck_assert_ptr_null (s_once);
    s_expect_no_faults ();
    gpb_test_fake_let_go ();
    //  The next one's stands behind it.
    s_once = gpb_once_new (s_resident, PLENTY, &error);
    ck_assert_uint_eq (s_take (s_launch (&(uint32_t){ 7 }, 4, 4), 4), 7);
    s_expect_no_faults ();
    gpb_once_destroy (&s_once);
    gpb_resident_destroy (&s_resident);
    gpb_cache_destroy (&s_cache);
    gpb_kernels_destroy (&s_kernels);
    gpb_shared_context_abandon (&s_shared);    //  as the host does
}
END_TEST

GPB_TEST_MAIN ("gpb_once", 20, test_a_message_is_answered_in_its_place,
               test_a_device_without_lanes_answers_too,
               test_a_device_that_shares_the_hosts_memory_answers_too,
               test_an_answer_says_when_its_handler_ran,
               test_all_places_are_taken_and_each_has_its_own_answer,
               test_there_are_as_many_places_as_memory_allows_but_one_at_the_least,
               test_input_and_output_may_be_larger_than_a_slot,
               test_state_is_kept_between_launches_and_begins_at_zero,
               test_a_handler_that_says_it_wrote_too_much_costs_its_message,
               test_a_message_on_a_lost_device_has_that_for_its_outcome,
               test_too_little_memory_is_said, test_a_call_that_fails_costs_its_message_alone,
               test_places_that_nobody_has_used_are_not_given_back_too_early,
               test_what_does_not_end_is_left_what_it_uses)
