//  Tests of the fake backend: that commands overlap where they should, and that its books catch
//  what they promise to catch. Whoever tests with it relies on both.

#include "gpb_test.h"
#include "gpb_test_device.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define FLOATS 1000

static gpb_event_t *
s_launch (gpb_test_device_t *device, unsigned stream, gpb_function_t *function,
          const gpb_argument_t *arguments, size_t count)
{
    gpb_error_t error = { GPB_OK, "" };
    const gpb_launch_t launch = { function, 1, { FLOATS }, { 0 }, arguments, count };
    gpb_event_t *event = NULL;
    ck_assert_ok (
        device->operations->launch (device->context, stream, &launch, GPB_NOTIFY, &event, &error));
    return event;
}

static void
s_expect_fault (const char *part)
{
    char text [4096];
    unsigned faults = gpb_test_fake_faults (text, sizeof text);
    ck_assert_msg (faults == 1 && strstr (text, part), "%u faults, one with \"%s\" expected:\n%s",
                   faults, part, text);
}

START_TEST (test_a_kernel_adds_what_was_copied_in)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_test_device_t device;
    gpb_test_device_open (&device, "fake", 0, 1, true);
    float a [FLOATS], b [FLOATS], c [FLOATS];
    for (int index = 0; index < FLOATS; index++) {
        a [index] = (float) index;
        b [index] = 2 * (float) index;
    }
    gpb_memory_t *memory = gpb_test_device_memory (&device, GPB_MEMORY_DEVICE, 3 * sizeof a);
    gpb_test_device_write (&device, memory, 0, a, sizeof a);
    gpb_test_device_write (&device, memory, sizeof a, b, sizeof b);
    gpb_module_t *module;
    gpb_function_t *function =
        gpb_test_device_function (&device, "// fake: add_f32\nadd", "add", &module);
    const gpb_argument_t arguments [] = { gpb_test_memory (memory, 0),
                                          gpb_test_memory (memory, sizeof a),
                                          gpb_test_memory (memory, 2 * sizeof a),
                                          gpb_test_i32 (FLOATS) };
    gpb_event_t *event = s_launch (&device, 0, function, arguments, 4);
    gpb_event_times_t times;
    ck_assert_ok (gpb_test_device_wait (&device, 0, &event, &times, &error));
    ck_assert (times.measured);
    ck_assert_uint_ge (times.end_ns, times.start_ns);
    gpb_test_device_read (&device, memory, 2 * sizeof a, c, sizeof c);
    for (int index = 0; index < FLOATS; index++)
        ck_assert_float_eq (c [index], 3 * (float) index);
    device.operations->unload (&module);
    device.operations->release (&memory);
    gpb_test_device_close (&device);
}
END_TEST

START_TEST (test_copies_and_kernels_of_different_streams_overlap)
{
    setenv ("GPB_FAKE_COPY_US", "30000", 1);
    setenv ("GPB_FAKE_COMPUTE_US", "30000", 1);
    gpb_error_t error = { GPB_OK, "" };
    gpb_test_device_t device;
    gpb_test_device_open (&device, "fake", 0, 3, true);
    gpb_memory_t *memory = gpb_test_device_memory (&device, GPB_MEMORY_DEVICE, 2 * FLOATS);
    gpb_module_t *module;
    gpb_function_t *function = gpb_test_device_function (&device, "fake: noop", "noop", &module);
    char in [FLOATS] = { 0 }, out [FLOATS];
    gpb_place_t host_in = { NULL, 0, in }, host_out = { NULL, 0, out }, place = { memory, 0, NULL };
    gpb_place_t other = { memory, FLOATS, NULL };
    gpb_event_t *events [3] = { NULL };
    ck_assert_ok (device.operations->copy (device.context, 0, &place, &host_in, FLOATS, GPB_NOTIFY,
                                           &events [0], &error));
    events [1] = s_launch (&device, 1, function, NULL, 0);
    ck_assert_ok (device.operations->copy (device.context, 2, &host_out, &other, FLOATS, GPB_NOTIFY,
                                           &events [2], &error));
    gpb_event_times_t times [3];
    uint64_t latest_start = 0, earliest_end = UINT64_MAX;
    for (unsigned stream = 0; stream < 3; stream++) {
        ck_assert_ok (
            gpb_test_device_wait (&device, stream, &events [stream], &times [stream], &error));
        latest_start =
            latest_start > times [stream].start_ns ? latest_start : times [stream].start_ns;
        earliest_end = earliest_end < times [stream].end_ns ? earliest_end : times [stream].end_ns;
    }
    ck_assert_uint_lt (latest_start, earliest_end);
    device.operations->unload (&module);
    device.operations->release (&memory);
    gpb_test_device_close (&device);
}
END_TEST

START_TEST (test_commands_of_one_stream_and_of_one_engine_do_not_overlap)
{
    setenv ("GPB_FAKE_COPY_US", "3000", 1);
    setenv ("GPB_FAKE_COMPUTE_US", "3000", 1);
    gpb_error_t error = { GPB_OK, "" };
    gpb_test_device_t device;
    gpb_test_device_open (&device, "fake", 0, 2, true);
    gpb_memory_t *memory = gpb_test_device_memory (&device, GPB_MEMORY_DEVICE, 2 * FLOATS);
    gpb_event_t *first = NULL, *second = NULL, *third = NULL;
    char in [FLOATS] = { 0 };
    gpb_place_t host = { NULL, 0, in }, place = { memory, 0, NULL };
    ck_assert_ok (device.operations->copy (device.context, 0, &place, &host, FLOATS, GPB_NOTIFY,
                                           &first, &error));
    ck_assert_ok (device.operations->zero (device.context, 0, memory, 0, FLOATS, GPB_NOTIFY,
                                           &second, &error));
    ck_assert_ok (device.operations->zero (device.context, 1, memory, FLOATS, FLOATS, GPB_NOTIFY,
                                           &third, &error));
    gpb_event_times_t copied, zeroed, other;
    ck_assert_ok (gpb_test_device_wait (&device, 0, &first, &copied, &error));
    ck_assert_ok (gpb_test_device_wait (&device, 0, &second, &zeroed, &error));
    ck_assert_ok (gpb_test_device_wait (&device, 1, &third, &other, &error));
    ck_assert_uint_ge (zeroed.start_ns, copied.end_ns);
    ck_assert (zeroed.start_ns >= other.end_ns || other.start_ns >= zeroed.end_ns);
    device.operations->release (&memory);
    gpb_test_device_close (&device);
}
END_TEST

START_TEST (test_memory_is_bounded_and_comes_back)
{
    setenv ("GPB_FAKE_MEMORY", "1000", 1);
    gpb_error_t error = { GPB_OK, "" };
    gpb_test_device_t device;
    gpb_test_device_open (&device, "fake", 1, 1, false);
    gpb_memory_t *memory = gpb_test_device_memory (&device, GPB_MEMORY_DEVICE, 600), *more;
    uint64_t free_size;
    ck_assert_ok (device.operations->memory_free (device.context, &free_size, &error));
    ck_assert_uint_eq (free_size, 400);
    ck_assert_refused (device.operations->allocate (device.context, GPB_MEMORY_DEVICE,
                                                    GPB_ACCESS_READ_WRITE, 401, &more, &error),
                       GPB_RESOURCE_EXHAUSTED, "401 bytes");
    ck_assert_ptr_null (more);
    device.operations->release (&memory);
    ck_assert_ok (device.operations->memory_free (device.context, &free_size, &error));
    ck_assert_uint_eq (free_size, 1000);
    gpb_test_device_close (&device);
}
END_TEST

START_TEST (test_outcomes_are_told_and_a_lost_device_stays_lost)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_test_device_t device;
    gpb_test_device_open (&device, "fake", 0, 1, false);
    gpb_module_t *fail, *lose;
    gpb_function_t *failing = gpb_test_device_function (&device, "fake: fail", "fail", &fail);
    gpb_function_t *losing = gpb_test_device_function (&device, "fake: lose", "lose", &lose);
    gpb_event_t *event = s_launch (&device, 0, failing, NULL, 0);
    ck_assert_refused (gpb_test_device_wait (&device, 0, &event, NULL, &error), GPB_INTERNAL,
                       "did not run");
    event = s_launch (&device, 0, losing, NULL, 0);
    ck_assert_refused (gpb_test_device_wait (&device, 0, &event, NULL, &error), GPB_UNAVAILABLE,
                       "lost");
    const gpb_launch_t launch = { failing, 1, { 1 }, { 0 }, NULL, 0 };
    ck_assert_refused (device.operations->launch (device.context, 0, &launch, GPB_NOTIFY, &event,
                                                  &error),
                       GPB_UNAVAILABLE, "lost");
    device.operations->unload (&fail);
    device.operations->unload (&lose);
    gpb_test_device_close (&device);
}
END_TEST

START_TEST (test_what_does_not_compile_says_where)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_test_device_t device;
    gpb_test_device_open (&device, "fake", 0, 1, false);
    gpb_module_t *module;
    const char *text = "fake: syntax error";
    const gpb_code_t code = {
        .kind = GPB_CODE_PORTABLE, .name = "bad.c", .data = text, .size = strlen (text)
    };
    ck_assert_refused (device.operations->build (device.context, &code, &module, &error),
                       GPB_INVALID_ARGUMENT, "bad.c:1: error");
    gpb_test_device_close (&device);
}
END_TEST

START_TEST (test_the_books_catch_releasing_twice_and_too_early)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_test_device_t device;
    gpb_test_device_open (&device, "fake", 0, 1, false);
    gpb_memory_t *memory = gpb_test_device_memory (&device, GPB_MEMORY_DEVICE, 100);
    gpb_memory_t *again = memory;
    gpb_module_t *module;
    gpb_function_t *function =
        gpb_test_device_function (&device, "fake: never_done", "never_done", &module);
    const gpb_argument_t argument = gpb_test_memory (memory, 0);
    gpb_event_t *event = s_launch (&device, 0, function, &argument, 1);
    bool done;
    ck_assert_ok (device.operations->query (event, &done, NULL, &error));
    ck_assert (!done);
    device.operations->release (&memory);
    s_expect_fault ("released while 1 commands use it");
    device.operations->release (&again);
    s_expect_fault ("released twice");
    gpb_module_t *module_again = module;
    device.operations->unload (&module);
    s_expect_fault ("unloaded while 1 commands run it");
    gpb_test_fake_let_go ();
    ck_assert_ok (gpb_test_device_wait (&device, 0, &event, NULL, &error));
    device.operations->unload (&module_again);
    s_expect_fault ("unloaded twice");
    gpb_test_device_close (&device);
}
END_TEST

START_TEST (test_the_books_catch_use_of_what_is_gone_or_out_of_bounds)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_test_device_t device;
    gpb_test_device_open (&device, "fake", 0, 1, false);
    gpb_memory_t *memory = gpb_test_device_memory (&device, GPB_MEMORY_DEVICE, 100), *gone = memory;
    char data [100] = { 0 };
    gpb_place_t host = { NULL, 0, data }, beyond = { memory, 90, NULL },
                place = { memory, 0, NULL };
    ck_assert_refused (device.operations->copy (device.context, 0, &beyond, &host, 11,
                                                GPB_NOTIFY_NOT, NULL, &error),
                       GPB_INTERNAL, "11 bytes at 90 of memory of 100");
    s_expect_fault ("11 bytes at 90");
    device.operations->release (&memory);
    ck_assert_refused (device.operations->copy (device.context, 0, &place, &host, 100,
                                                GPB_NOTIFY_NOT, NULL, &error),
                       GPB_INTERNAL, "released");
    s_expect_fault ("uses memory that is released");
    void *address;
    ck_assert_refused (device.operations->address (gone, &address, &error), GPB_INTERNAL,
                       "released");
    s_expect_fault ("address of released memory");

    gpb_memory_t *constant, *source = gpb_test_device_memory (&device, GPB_MEMORY_DEVICE, FLOATS);
    ck_assert_ok (device.operations->allocate (device.context, GPB_MEMORY_DEVICE,
                                               GPB_ACCESS_READ_ONLY, FLOATS, &constant, &error));
    gpb_module_t *module;
    gpb_function_t *function = gpb_test_device_function (&device, "fake: copy", "copy", &module);
    const gpb_argument_t arguments [] = { gpb_test_memory (source, 0),
                                          gpb_test_memory (constant, 0) };
    const gpb_launch_t launch = { function, 1, { FLOATS }, { 0 }, arguments, 2 };
    ck_assert_refused (device.operations->launch (device.context, 0, &launch, GPB_NOTIFY_NOT, NULL,
                                                  &error),
                       GPB_INTERNAL, "read-only");
    s_expect_fault ("copy writes read-only memory");

    gpb_event_t *event = NULL;
    ck_assert_ok (
        device.operations->zero (device.context, 0, source, 0, 1, GPB_NOTIFY, &event, &error));
    gpb_event_t *freed = event;
    ck_assert_ok (gpb_test_device_wait (&device, 0, &event, NULL, &error));
    bool done;
    ck_assert_refused (device.operations->query (freed, &done, NULL, &error), GPB_INTERNAL,
                       "after it was freed");
    s_expect_fault ("after it was freed");
    device.operations->unload (&module);
    device.operations->release (&source);
    device.operations->release (&constant);
    gpb_test_device_close (&device);
}
END_TEST

START_TEST (test_the_books_catch_what_is_left_at_the_close)
{
    gpb_test_device_t device;
    gpb_test_device_open (&device, "fake", 0, 1, false);
    gpb_test_device_memory (&device, GPB_MEMORY_DEVICE, 100);
    device.operations->close (&device.context);
    s_expect_fault ("closed with 1 blocks of memory, 0 modules and 0 events left");
    gpb_backends_destroy (&device.backends);
}
END_TEST

START_TEST (test_a_fault_that_nobody_asked_for_ends_the_process)
{
    pid_t child = fork ();
    ck_assert_int_ge (child, 0);
    if (child == 0) {
        if (!freopen ("/dev/null", "w", stderr))
            _exit (1);
        gpb_test_device_t device;
        gpb_test_device_open (&device, "fake", 0, 1, false);
        gpb_test_device_memory (&device, GPB_MEMORY_DEVICE, 100);
        gpb_test_device_close (&device);
        _exit (0);
    }
    int status;
    ck_assert_int_eq (waitpid (child, &status, 0), child);
    ck_assert (WIFSIGNALED (status) && WTERMSIG (status) == SIGABRT);
}
END_TEST

START_TEST (test_close_ends_what_would_never_end_and_its_notification_still_comes)
{
    gpb_test_device_t device;
    gpb_test_device_open (&device, "fake", 0, 1, false);
    gpb_module_t *module;
    gpb_function_t *function =
        gpb_test_device_function (&device, "fake: never_done", "never_done", &module);
    gpb_event_t *event = s_launch (&device, 0, function, NULL, 0);
    device.operations->event_free (&event);
    device.operations->close (&device.context);
    s_expect_fault ("1 modules");
    uint64_t count = 0;
    ck_assert_int_eq (read (device.notify_fds [0], &count, sizeof count), (int) sizeof count);
    ck_assert_uint_eq (count, 1);
    gpb_backends_destroy (&device.backends);
}
END_TEST

GPB_TEST_MAIN ("gpb_fake_backend", 20, test_a_kernel_adds_what_was_copied_in,
               test_copies_and_kernels_of_different_streams_overlap,
               test_commands_of_one_stream_and_of_one_engine_do_not_overlap,
               test_memory_is_bounded_and_comes_back,
               test_outcomes_are_told_and_a_lost_device_stays_lost,
               test_what_does_not_compile_says_where,
               test_the_books_catch_releasing_twice_and_too_early,
               test_the_books_catch_use_of_what_is_gone_or_out_of_bounds,
               test_the_books_catch_what_is_left_at_the_close,
               test_a_fault_that_nobody_asked_for_ends_the_process,
               test_close_ends_what_would_never_end_and_its_notification_still_comes)
