//  Tests of the fake backend's persistent kernels: that they run beside everything else, hold what
//  a device's would hold, and that the books catch what must not be done to a lane that runs.

#include "gpb_clock.h"
#include "gpb_kernel.h"
#include "gpb_lane_layout.h"
#include "gpb_ring.h"
#include "gpb_test.h"
#include "gpb_test_device.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS 8
#define SLOT_SIZE 96
#define STATE_SIZE 128
#define PATIENCE_NS (30 * GPB_NS_PER_S)
#define NEVER 4294967295u    //  fake_stuck's word for a message that it does not return from

static gpb_error_t error;

//  A package's text, as far as the fake backend looks at it.
static const char s_text [] = "#define GPB_LANE_LOCAL 1\n#define GPB_HANDLER gpb_handler_%s\n"
                              "gpb_dispatch gpb_once\n";

//  One persistent kernel with lanes in one block of memory, each on the stream of its number.
typedef struct {
    gpb_test_device_t device;
    gpb_module_t *module;
    gpb_function_t *dispatch, *once;
    gpb_memory_t *memory;
    unsigned char *address;
    size_t lane_size;
    gpb_ring_t rings [GPB_TEST_STREAMS_MAX];
    gpb_event_t *events [GPB_TEST_STREAMS_MAX];
} s_kernel_t;

static void
s_start (s_kernel_t *self, const char *handler, unsigned lanes, unsigned streams)
{
    memset (self, 0, sizeof *self);
    gpb_test_device_open (&self->device, "fake", 0, streams, true);
    char text [256];
    snprintf (text, sizeof text, s_text, handler);
    self->dispatch = gpb_test_device_function (&self->device, text, "gpb_dispatch", &self->module);
    ck_assert_ok (
        self->device.operations->function (self->module, "gpb_once", &self->once, NULL, &error));
    self->lane_size = gpb_ring_size (SLOTS, SLOT_SIZE) + STATE_SIZE;
    self->memory =
        gpb_test_device_memory (&self->device, GPB_MEMORY_MAPPED, lanes * self->lane_size);
    void *address;
    ck_assert_ok (self->device.operations->address (self->memory, &address, &error));
    self->address = address;
    memset (address, 0, lanes * self->lane_size);
    for (unsigned lane = 0; lane < lanes; lane++) {
        const uint64_t offset = lane * self->lane_size;
        const gpb_ring_options_t options = { .slots = SLOTS,
                                             .slot_size = SLOT_SIZE,
                                             .state = offset + self->lane_size - STATE_SIZE };
        gpb_ring_init (&self->rings [lane], address, offset, &options, 0);
    }
}

static gpb_status_t
s_try_launch (s_kernel_t *self, unsigned stream, uint64_t control_offset)
{
    const gpb_argument_t arguments [] = { gpb_test_memory (self->memory, 0),
                                          gpb_test_u64 (control_offset) };
    const gpb_launch_t launch = { self->dispatch, 1, { 1 }, { 1 }, arguments, 2 };
    return self->device.operations->launch (self->device.context, stream, &launch, GPB_NOTIFY,
                                            &self->events [stream], &error);
}

static void
s_launch (s_kernel_t *self, unsigned lane)
{
    gpb_ring_run (&self->rings [lane], 0, 0);
    ck_assert_ok (s_try_launch (self, lane, lane * self->lane_size));
}

static void
s_send (s_kernel_t *self, unsigned lane, const void *data, uint32_t size)
{
    ck_assert_uint_gt (gpb_ring_room (&self->rings [lane]), 0);
    memcpy (gpb_ring_input (&self->rings [lane]), data, size);
    const gpb_ring_message_t message = { .size = size, .capacity = SLOT_SIZE };
    gpb_ring_publish (&self->rings [lane], &message);
}

static void
s_receive (s_kernel_t *self, unsigned lane, void *data, uint32_t size)
{
    gpb_ring_answer_t answer;
    const uint64_t until_ns = gpb_clock_ns () + PATIENCE_NS;
    while (!gpb_ring_answer (&self->rings [lane], &answer)) {
        ck_assert_uint_lt (gpb_clock_ns (), until_ns);
        sched_yield ();
    }
    ck_assert_int_eq (answer.outcome, GPB_RING_OK);
    ck_assert_uint_eq (answer.size, size);
    memcpy (data, answer.output, size);
    gpb_ring_pop (&self->rings [lane]);
}

static void
s_ask (s_kernel_t *self, unsigned lane, uint32_t value)
{
    uint32_t back = ~value;
    s_send (self, lane, &value, sizeof value);
    s_receive (self, lane, &back, sizeof back);
    ck_assert_uint_eq (back, value);
}

static gpb_status_t
s_wait (s_kernel_t *self, unsigned lane)
{
    return gpb_test_device_wait (&self->device, lane, &self->events [lane], NULL, &error);
}

static void
s_park (s_kernel_t *self, unsigned lane)
{
    gpb_ring_park (&self->rings [lane]);
    ck_assert_ok (s_wait (self, lane));
}

static void
s_stop (s_kernel_t *self)
{
    self->device.operations->release (&self->memory);
    self->device.operations->unload (&self->module);
    gpb_test_device_close (&self->device);
}

static void
s_expect_fault (const char *part)
{
    char text [4096];
    unsigned faults = gpb_test_fake_faults (text, sizeof text);
    ck_assert_msg (faults == 1 && strstr (text, part), "%u faults, one with \"%s\" expected:\n%s",
                   faults, part, text);
}

START_TEST (test_lanes_run_at_once_and_beside_copies_and_launches)
{
    s_kernel_t kernel;
    s_start (&kernel, "fake_echo", 3, 4);
    for (unsigned lane = 0; lane < 3; lane++)
        s_launch (&kernel, lane);
    gpb_module_t *module;
    gpb_function_t *noop = gpb_test_device_function (&kernel.device, "fake: noop", "noop", &module);
    gpb_memory_t *memory = gpb_test_device_memory (&kernel.device, GPB_MEMORY_DEVICE, 100);
    gpb_place_t place = { memory, 0, NULL };
    char data [100] = { 1 };
    gpb_place_t host = { NULL, 0, data };
    for (uint32_t round = 0; round < 100; round++) {
        for (unsigned lane = 0; lane < 3; lane++)
            s_ask (&kernel, lane, 3 * round + lane);
        const gpb_launch_t launch = { noop, 1, { 1 }, { 0 }, NULL, 0 };
        gpb_event_t *events [2];
        ck_assert_ok (kernel.device.operations->copy (kernel.device.context, 3, &place, &host, 100,
                                                      GPB_NOTIFY, &events [0], &error));
        ck_assert_ok (kernel.device.operations->launch (kernel.device.context, 3, &launch,
                                                        GPB_NOTIFY, &events [1], &error));
        for (unsigned index = 0; index < 2; index++)
            ck_assert_ok (gpb_test_device_wait (&kernel.device, 3, &events [index], NULL, &error));
        bool done;
        ck_assert_ok (
            kernel.device.operations->query (kernel.events [round % 3], &done, NULL, &error));
        ck_assert (!done);
    }
    for (unsigned lane = 0; lane < 3; lane++)
        s_park (&kernel, lane);
    kernel.device.operations->release (&memory);
    kernel.device.operations->unload (&module);
    s_stop (&kernel);
}
END_TEST

START_TEST (test_a_lane_that_was_parked_goes_on_where_it_was)
{
    s_kernel_t kernel;
    s_start (&kernel, "fake_count", 1, 1);
    uint32_t value = 7;
    for (uint64_t messages = 1; messages <= 3 * SLOTS; messages++) {
        uint64_t sum [2];
        s_send (&kernel, 0, &value, sizeof value);
        s_launch (&kernel, 0);
        s_receive (&kernel, 0, sum, sizeof sum);
        ck_assert_uint_eq (sum [0], messages);
        s_park (&kernel, 0);
    }
    s_stop (&kernel);
}
END_TEST

START_TEST (test_gpb_once_handles_one_message)
{
    s_kernel_t kernel;
    s_start (&kernel, "fake_double", 1, 1);
    gpb_lane_request_t *request = (gpb_lane_request_t *) kernel.address;
    *request = (gpb_lane_request_t){ .size = 8, .capacity = 96 };
    const float in [2] = { 1.5f, -3 };
    memcpy (request + 1, in, sizeof in);
    const gpb_argument_t arguments [] = { gpb_test_memory (kernel.memory, 0), gpb_test_u64 (0),
                                          gpb_test_u64 (128), gpb_test_u64 (256),
                                          gpb_test_u64 (384) };
    const gpb_launch_t launch = { kernel.once, 1, { 1 }, { 1 }, arguments, 5 };
    gpb_test_device_run (&kernel.device, &launch);
    const gpb_lane_answer_t *answer = (const gpb_lane_answer_t *) (kernel.address + 128);
    float out [2];
    memcpy (out, answer + 1, sizeof out);
    ck_assert_uint_eq (answer->sequence, 1);
    ck_assert_uint_eq (answer->status, GPB_LANE_OK);
    ck_assert_uint_eq (answer->size, sizeof out);
    ck_assert_uint_ge (answer->done_ticks, answer->taken_ticks);
    ck_assert_uint_gt (answer->taken_ticks, 0);
    ck_assert_float_eq (out [0], 3);
    ck_assert_float_eq (out [1], -6);
    s_stop (&kernel);
}
END_TEST

START_TEST (test_a_handler_that_does_not_return_does_when_it_is_let_go)
{
    s_kernel_t kernel;
    s_start (&kernel, "fake_stuck", 2, 2);
    s_launch (&kernel, 0);
    s_launch (&kernel, 1);
    s_ask (&kernel, 0, 0);
    const uint32_t never = NEVER;
    s_send (&kernel, 0, &never, sizeof never);
    gpb_ring_park (&kernel.rings [0]);
    //  The other lane goes on meanwhile.
    for (uint32_t round = 0; round < 1000; round++)
        s_ask (&kernel, 1, 0);
    gpb_ring_answer_t answer;
    ck_assert (!gpb_ring_answer (&kernel.rings [0], &answer));
    bool done;
    ck_assert_ok (kernel.device.operations->query (kernel.events [0], &done, NULL, &error));
    ck_assert (!done);
    gpb_test_fake_let_go ();
    uint32_t back;
    s_receive (&kernel, 0, &back, sizeof back);
    ck_assert_uint_eq (back, NEVER);
    ck_assert_ok (s_wait (&kernel, 0));
    s_park (&kernel, 1);
    s_stop (&kernel);
}
END_TEST

START_TEST (test_lanes_on_all_compute_units_leave_none_for_anything_else)
{
    setenv ("GPB_FAKE_UNITS", "2", 1);
    s_kernel_t kernel;
    s_start (&kernel, "fake_echo", 3, 4);
    ck_assert_uint_eq (kernel.device.info->compute_units, 2);
    s_launch (&kernel, 0);
    s_launch (&kernel, 1);
    s_ask (&kernel, 0, 1);
    s_ask (&kernel, 1, 1);
    gpb_memory_t *memory = gpb_test_device_memory (&kernel.device, GPB_MEMORY_DEVICE, 100);
    gpb_event_t *zeroed = NULL;
    ck_assert_ok (kernel.device.operations->zero (kernel.device.context, 3, memory, 0, 100,
                                                  GPB_NOTIFY, &zeroed, &error));
    for (uint32_t round = 0; round < 1000; round++)
        s_ask (&kernel, round % 2, round);
    bool done;
    ck_assert_ok (kernel.device.operations->query (zeroed, &done, NULL, &error));
    ck_assert (!done);
    s_park (&kernel, 0);
    ck_assert_ok (gpb_test_device_wait (&kernel.device, 3, &zeroed, NULL, &error));

    //  A third one waits until there is a unit for it.
    s_launch (&kernel, 0);
    s_ask (&kernel, 0, 2);
    const uint32_t value = 3;
    s_send (&kernel, 2, &value, sizeof value);
    s_launch (&kernel, 2);
    for (uint32_t round = 0; round < 1000; round++)
        s_ask (&kernel, round % 2, round);
    gpb_ring_answer_t answer;
    ck_assert (!gpb_ring_answer (&kernel.rings [2], &answer));
    s_park (&kernel, 1);
    uint32_t back;
    s_receive (&kernel, 2, &back, sizeof back);
    ck_assert_uint_eq (back, value);
    s_park (&kernel, 0);
    s_park (&kernel, 2);
    kernel.device.operations->release (&memory);
    s_stop (&kernel);
}
END_TEST

START_TEST (test_a_lane_ends_with_its_device)
{
    s_kernel_t kernel;
    s_start (&kernel, "fake_echo", 1, 2);
    s_launch (&kernel, 0);
    s_ask (&kernel, 0, 1);
    gpb_module_t *module;
    gpb_function_t *lose = gpb_test_device_function (&kernel.device, "fake: lose", "lose", &module);
    const gpb_launch_t launch = { lose, 1, { 1 }, { 0 }, NULL, 0 };
    gpb_event_t *event = NULL;
    ck_assert_ok (kernel.device.operations->launch (kernel.device.context, 1, &launch, GPB_NOTIFY,
                                                    &event, &error));
    ck_assert_refused (gpb_test_device_wait (&kernel.device, 1, &event, NULL, &error),
                       GPB_UNAVAILABLE, "lost");
    ck_assert_refused (s_wait (&kernel, 0), GPB_UNAVAILABLE, "lost");
    kernel.device.operations->unload (&module);
    s_stop (&kernel);
}
END_TEST

START_TEST (test_the_books_catch_what_is_taken_from_a_lane_that_runs)
{
    s_kernel_t kernel;
    s_start (&kernel, "fake_echo", 1, 1);
    s_launch (&kernel, 0);
    s_ask (&kernel, 0, 1);
    kernel.device.operations->release (&kernel.memory);
    s_expect_fault ("released while 1 commands use it");
    gpb_module_t *module = kernel.module;
    kernel.device.operations->unload (&module);
    s_expect_fault ("unloaded while 1 commands run it");
    s_ask (&kernel, 0, 2);
    kernel.device.operations->event_free (&kernel.events [0]);
    kernel.device.operations->close (&kernel.device.context);
    s_expect_fault ("closed while 1 lanes run");
    gpb_backends_destroy (&kernel.device.backends);
}
END_TEST

START_TEST (test_the_books_catch_a_handler_that_never_returns_at_the_close)
{
    s_kernel_t kernel;
    s_start (&kernel, "fake_stuck", 1, 1);
    s_launch (&kernel, 0);
    const uint32_t never = NEVER;
    s_send (&kernel, 0, &never, sizeof never);
    kernel.device.operations->event_free (&kernel.events [0]);
    kernel.device.operations->close (&kernel.device.context);
    char text [4096];
    ck_assert_uint_eq (gpb_test_fake_faults (text, sizeof text), 2);
    ck_assert_ptr_nonnull (strstr (text, "closed while 1 lanes run"));
    ck_assert_ptr_nonnull (strstr (text, "closed with 1 blocks of memory, 1 modules"));
    gpb_backends_destroy (&kernel.device.backends);
}
END_TEST

START_TEST (test_the_books_catch_a_lane_that_runs_twice)
{
    s_kernel_t kernel;
    s_start (&kernel, "fake_echo", 1, 2);
    s_launch (&kernel, 0);
    ck_assert_refused (s_try_launch (&kernel, 1, 0), GPB_INTERNAL, "while it runs on stream 0");
    s_expect_fault ("a lane is launched while it runs on stream 0");
    s_park (&kernel, 0);
    s_stop (&kernel);
}
END_TEST

START_TEST (test_the_books_catch_a_lane_that_is_not_all_in_its_memory)
{
    s_kernel_t kernel;
    s_start (&kernel, "fake_echo", 1, 1);
    ck_assert_refused (s_try_launch (&kernel, 0, 1), GPB_INTERNAL, "control is at 1");
    s_expect_fault ("a lane's control is at 1 of");
    ck_assert_refused (s_try_launch (&kernel, 0, kernel.lane_size - 128), GPB_INTERNAL, "control");
    s_expect_fault ("a lane's control is at");
    gpb_lane_control_t *control = (gpb_lane_control_t *) kernel.address, well = *control;
    control->slots = 2 * SLOTS;
    ck_assert_refused (s_try_launch (&kernel, 0, 0), GPB_INTERNAL, "a lane of 16 slots");
    s_expect_fault ("a lane of 16 slots");
    *control = well;
    control->state = kernel.lane_size + 128;
    ck_assert_refused (s_try_launch (&kernel, 0, 0), GPB_INTERNAL, "its state at");
    s_expect_fault ("its state at");
    *control = well;
    s_launch (&kernel, 0);
    s_park (&kernel, 0);
    s_stop (&kernel);
}
END_TEST

START_TEST (test_the_books_catch_a_lane_in_memory_that_the_host_does_not_reach)
{
    s_kernel_t kernel;
    s_start (&kernel, "fake_echo", 1, 1);
    gpb_memory_t *mapped = kernel.memory;
    kernel.memory = gpb_test_device_memory (&kernel.device, GPB_MEMORY_DEVICE, kernel.lane_size);
    ck_assert_refused (s_try_launch (&kernel, 0, 0), GPB_INTERNAL, "does not reach");
    s_expect_fault ("does not reach");
    kernel.device.operations->release (&mapped);
    s_stop (&kernel);
}
END_TEST

START_TEST (test_without_svm_there_is_no_memory_for_a_lane)
{
    setenv ("GPB_FAKE_SVM", "0", 1);
    gpb_test_device_t device;
    gpb_test_device_open (&device, "fake", 0, 1, false);
    ck_assert (!gpb_test_has_capability (device.info, "svm_atomics"));
    gpb_memory_t *memory;
    ck_assert_refused (device.operations->allocate (device.context, GPB_MEMORY_MAPPED,
                                                    GPB_ACCESS_READ_WRITE, 128, &memory, &error),
                       GPB_UNIMPLEMENTED, "no memory that host and kernels share");
    gpb_test_device_close (&device);
    setenv ("GPB_FAKE_SVM", "1", 1);
    gpb_test_device_open (&device, "fake", 0, 1, false);
    ck_assert (gpb_test_has_capability (device.info, "svm_atomics"));
    gpb_test_device_close (&device);
}
END_TEST

START_TEST (test_handlers_that_are_not_there_do_not_compile)
{
    gpb_test_device_t device;
    gpb_test_device_open (&device, "fake", 0, 1, false);
    gpb_module_t *module;
    gpb_code_t code = gpb_test_code ("#define GPB_HANDLER gpb_handler_other\n");
    ck_assert_refused (device.operations->build (device.context, &code, &module, &error),
                       GPB_INVALID_ARGUMENT, "test.c:1: error: no handler \"other\"");
    ck_assert_ptr_null (module);
    code = gpb_test_code ("#define GPB_LANE_LOCAL 64\n#define GPB_HANDLER gpb_handler_fake_echo\n");
    ck_assert_refused (device.operations->build (device.context, &code, &module, &error),
                       GPB_INVALID_ARGUMENT, "one work-item here, not 64");
    gpb_test_device_close (&device);
}
END_TEST

//  The text as gpb_kernel_code puts it together, of every package that the fake backend runs.
START_TEST (test_persistent_packages_compile)
{
    static const char *const packages [] = {
        "kernels/double",
        "kernels/echo",
        "kernels/moving_average",
        "kernels/running_stats",
        "kernels/top_k",
        "tests/kernels_fake/fake_count",
        "tests/kernels_fake/fake_double",
        "tests/kernels_fake/fake_echo",
        "tests/kernels_fake/fake_stuck",
        "tests/kernels_persistent/double_i32",
        "tests/kernels_persistent/overflow",
    };
    gpb_test_device_t device;
    gpb_test_device_open (&device, "fake", 0, 1, false);
    for (size_t index = 0; index < sizeof packages / sizeof packages [0]; index++) {
        char path [4096];
        snprintf (path, sizeof path, "%s/%s", getenv ("GPB_SOURCE_DIR"), packages [index]);
        gpb_kernel_t *kernel = gpb_kernel_load (path, &error);
        ck_assert_msg (kernel != NULL, "%s", error.text);
        ck_assert_ptr_nonnull (gpb_kernel_persistent (kernel));
        gpb_code_t code;
        ck_assert_ok (gpb_kernel_code (kernel, "fake", &code, &error));
        gpb_module_t *module;
        gpb_function_t *function;
        ck_assert_ok (device.operations->build (device.context, &code, &module, &error));
        ck_assert_ok (
            device.operations->function (module, "gpb_dispatch", &function, NULL, &error));
        ck_assert_ok (device.operations->function (module, "gpb_once", &function, NULL, &error));
        ck_assert_refused (device.operations->function (module, "gpb_handler", &function, NULL,
                                                        &error),
                           GPB_NOT_FOUND, "gpb_handler");
        device.operations->unload (&module);
        gpb_kernel_destroy (&kernel);
    }
    gpb_test_device_close (&device);
}
END_TEST

GPB_TEST_MAIN ("gpb_fake_lanes", 30, test_lanes_run_at_once_and_beside_copies_and_launches,
               test_a_lane_that_was_parked_goes_on_where_it_was, test_gpb_once_handles_one_message,
               test_a_handler_that_does_not_return_does_when_it_is_let_go,
               test_lanes_on_all_compute_units_leave_none_for_anything_else,
               test_a_lane_ends_with_its_device,
               test_the_books_catch_what_is_taken_from_a_lane_that_runs,
               test_the_books_catch_a_handler_that_never_returns_at_the_close,
               test_the_books_catch_a_lane_that_runs_twice,
               test_the_books_catch_a_lane_that_is_not_all_in_its_memory,
               test_the_books_catch_a_lane_in_memory_that_the_host_does_not_reach,
               test_without_svm_there_is_no_memory_for_a_lane,
               test_handlers_that_are_not_there_do_not_compile, test_persistent_packages_compile)
