//  Tests of the persistent packages, those that ship and those of the tests: every one against its
//  reference, as OpenCL through the entry that handles one message, and as C11 in this process,
//  where a sanitizer sees what the handler reads and writes.
//
//  A message stands in memory as gpb_lane.h lays it out: in its slot where it fits, else in the
//  heap. Around an output are bytes that nobody may touch.

//  What every package is written in; here it is C11.
#include "../kernels/gpb_prelude.h"
#define GPB_LANE_LOCAL 1
#include "../kernels/gpb_lane.h"

//  NOLINTBEGIN(bugprone-suspicious-include): a package's source is what is tested.
#include "../kernels/double/double.c"
#include "../kernels/echo/echo.c"
#include "../kernels/moving_average/moving_average.c"
#include "../kernels/running_stats/running_stats.c"
#include "../kernels/top_k/top_k.c"

#include "kernels_persistent/double_i32/double_i32.c"
#include "kernels_persistent/overflow/overflow.c"
#include "kernels_persistent/stuck/stuck.c"
#include "kernels_persistent/sum_64/sum_64.c"
//  NOLINTEND(bugprone-suspicious-include)

#include "gpb_compile.h"
#include "gpb_reference.h"
#include "gpb_test.h"
#include "gpb_test_device.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

//  The compiler that the build says it has.
#ifndef GPB_CC
#define GPB_CC "cc"
#endif

typedef void (s_handler_fn) (const void *in, uint in_size, void *out, uint *out_size, void *state);

typedef struct {
    const char *folder, *name;
    s_handler_fn *handler;
} s_package_t;

static const s_package_t s_packages [] = {
    { "kernels", "double", gpb_handler_double },
    { "kernels", "echo", gpb_handler_echo },
    { "kernels", "moving_average", gpb_handler_moving_average },
    { "kernels", "running_stats", gpb_handler_running_stats },
    { "kernels", "top_k", gpb_handler_top_k },
    { "tests/kernels_persistent", "double_i32", gpb_handler_double_i32 },
    { "tests/kernels_persistent", "overflow", gpb_handler_overflow },
    { "tests/kernels_persistent", "stuck", gpb_handler_stuck },
    { "tests/kernels_persistent", "sum_64", gpb_handler_sum_64 },
};

#define PACKAGES (sizeof s_packages / sizeof s_packages [0])

//  ---------------------------------------------------------------------------------------------------------
//  A package, and something that runs it

//  Bytes of the memory of a lane, and where its parts start.
#define MEMORY_SIZE (16 * 1024 * 1024)
#define REQUEST 0
#define ANSWER (128 * 1024)
#define STATE (256 * 1024)
#define HEAP (1024 * 1024)
#define HEAP_OUTPUT (HEAP + 6 * 1024 * 1024)
#define CANARY 0xA5

typedef struct {
    gpb_kernel_t *kernel;
    const gpb_persistent_t *persistent;
    s_handler_fn *handler;    //  as C11, in this process; NULL: on the device
    void *state;              //  of the handler
    gpb_test_device_t device;
    gpb_module_t *module;
    gpb_function_t *function;
    gpb_memory_t *memory;
    uchar *bytes;
    //  What the last message came to.
    uchar *output;
    uint output_size;
    uint status;
} s_lane_t;

static gpb_kernel_t *
s_load (const char *folder, const char *name)
{
    gpb_error_t error = { GPB_OK, "" };
    const char *root = getenv ("GPB_SOURCE_DIR");
    ck_assert_msg (root != NULL, "GPB_SOURCE_DIR is not set: run the tests through make check");
    char path [4096];
    snprintf (path, sizeof path, "%s/%s/%s", root, folder, name);
    gpb_kernel_t *kernel = gpb_kernel_load (path, &error);
    ck_assert_msg (kernel != NULL, "%s", error.text);
    ck_assert_ptr_nonnull (gpb_kernel_persistent (kernel));
    return kernel;
}

static void
s_open (s_lane_t *self, const char *name, bool on_device)
{
    gpb_error_t error = { GPB_OK, "" };
    *self = (s_lane_t){ 0 };
    const s_package_t *package = NULL;
    for (size_t index = 0; index < PACKAGES; index++)
        if (strcmp (s_packages [index].name, name) == 0)
            package = &s_packages [index];
    ck_assert_ptr_nonnull (package);
    self->kernel = s_load (package->folder, name);
    self->persistent = gpb_kernel_persistent (self->kernel);
    if (!on_device) {
        self->handler = package->handler;
        self->state = calloc (1, self->persistent->state_size + 1);
        ck_assert_ptr_nonnull (self->state);
        return;
    }
    gpb_function_info_t info;
    gpb_test_device_open (&self->device, "opencl", 0, 1, false);
    ck_assert_ok (gpb_compile (self->kernel, "opencl", self->device.operations,
                               self->device.context, NULL, &self->module, &self->function, &info,
                               NULL, &error));
    ck_assert_uint_ge (info.max_work_group_size, self->persistent->local);
    self->memory = gpb_test_device_memory (&self->device, GPB_MEMORY_MAPPED, MEMORY_SIZE);
    void *address;
    ck_assert_ok (self->device.operations->address (self->memory, &address, &error));
    self->bytes = address;
    memset (self->bytes + STATE, 0, self->persistent->state_size);
}

static void
s_close (s_lane_t *self)
{
    free (self->output);
    free (self->state);
    if (!self->handler) {
        self->device.operations->release (&self->memory);
        self->device.operations->unload (&self->module);
        gpb_test_device_close (&self->device);
    }
    gpb_kernel_destroy (&self->kernel);
}

static uint
s_capacity (const s_lane_t *self, size_t size)
{
    gpb_error_t error = { GPB_OK, "" };
    const gpb_value_t values [2] = { { .kind = GPB_VALUE_PAYLOAD, .size = size },
                                     { .kind = GPB_VALUE_OUTPUT } };
    const gpb_kernel_call_t call = { .values = values, .values_count = 2 };
    uint64_t capacity;
    ck_assert_ok (gpb_kernel_plan_message (self->kernel, &call, &capacity, &error));
    return (uint) capacity;
}

//  aligned_alloc wants sizes that are multiples of the alignment.
static void *
s_aligned (size_t size)
{
    void *memory = NULL;
    ck_assert_int_eq (posix_memalign (&memory, 32, size ? size : 1), 0);
    return memory;
}

//  In memory of exactly the sizes that the handler may use.
static void
s_run_here (s_lane_t *self, const void *input, size_t size, uint capacity)
{
    void *in = s_aligned (size), *out = s_aligned (capacity);
    memcpy (in, input, size);
    self->output = out;
    self->output_size = capacity;
    self->handler (in, (uint) size, out, &self->output_size, self->state);
    self->status = self->output_size > capacity ? GPB_LANE_OVERFLOW : GPB_LANE_OK;
    free (in);
}

static void
s_write_request (const s_lane_t *self, const void *input, size_t size, uint capacity)
{
    gpb_lane_request_t *request = (gpb_lane_request_t *) (self->bytes + REQUEST);
    gpb_lane_answer_t *answer = (gpb_lane_answer_t *) (self->bytes + ANSWER);
    *request = (gpb_lane_request_t){ .sequence = 1, .size = (uint) size, .capacity = capacity };
    *answer = (gpb_lane_answer_t){ .status = 77 };
    if (size > self->persistent->slot_size)
        request->input = 1;
    if (capacity > self->persistent->slot_size)
        request->output = (HEAP_OUTPUT - HEAP) / GPB_LANE_UNIT;
    memcpy (request->input ? self->bytes + HEAP + GPB_LANE_UNIT : (uchar *) (request + 1), input,
            size);
}

static void
s_launch (s_lane_t *self, gpb_event_t **event_p)
{
    gpb_error_t error = { GPB_OK, "" };
    const uint64_t places [] = { REQUEST, ANSWER, HEAP, STATE };
    gpb_argument_t arguments [5] = { gpb_test_memory (self->memory, 0) };
    for (size_t index = 0; index < 4; index++)
        arguments [index + 1] = (gpb_argument_t){ .kind = GPB_ARGUMENT_SCALAR,
                                                  .scalar.u64 = places [index],
                                                  .size = 8 };
    const gpb_launch_t launch = {
        self->function, 1, { self->persistent->local }, { self->persistent->local }, arguments, 5
    };
    ck_assert_ok (self->device.operations->launch (self->device.context, 0, &launch, GPB_NOTIFY,
                                                   event_p, &error));
}

static void
s_run_on_device (s_lane_t *self, const void *input, size_t size, uint capacity)
{
    gpb_error_t error = { GPB_OK, "" };
    const gpb_lane_answer_t *answer = (const gpb_lane_answer_t *) (self->bytes + ANSWER);
    s_write_request (self, input, size, capacity);
    uchar *output =
        capacity > self->persistent->slot_size ? self->bytes + HEAP_OUTPUT : (uchar *) (answer + 1);
    memset (output, CANARY, capacity + 256);
    gpb_event_t *event = NULL;
    s_launch (self, &event);
    ck_assert_ok (gpb_test_device_wait (&self->device, 0, &event, NULL, &error));
    ck_assert_uint_eq (answer->sequence, 1);
    ck_assert_uint_le (answer->size, capacity);
    ck_assert_uint_le (answer->taken_ticks, answer->done_ticks);
    for (uint index = answer->size; index < capacity + 256; index++)
        ck_assert_msg (output [index] == CANARY, "byte %u behind %u was written", index,
                       answer->size);
    self->status = answer->status;
    self->output_size = answer->size;
    self->output = malloc (answer->size + 1);
    ck_assert_ptr_nonnull (self->output);
    memcpy (self->output, output, answer->size);
}

//  Has one message handled; its answer is in self.
static void
s_send (s_lane_t *self, const void *input, size_t size)
{
    const uint capacity = s_capacity (self, size);
    free (self->output);
    if (self->handler)
        s_run_here (self, input, size, capacity);
    else
        s_run_on_device (self, input, size, capacity);
}

//  Expects these bytes, and that all was well.
static void
s_expect (const s_lane_t *self, const void *expected, size_t size)
{
    ck_assert_uint_eq (self->status, GPB_LANE_OK);
    ck_assert_uint_eq (self->output_size, size);
    if (size > 0)
        ck_assert_mem_eq (self->output, expected, size);
}

//  ---------------------------------------------------------------------------------------------------------
//  Messages

//  Elements: none, one, around a window of 16, what a slot of 96 bytes has room for and one more,
//  and sizes that divide nothing.
static const size_t s_counts [] = { 1, 0, 2, 13, 16, 17, 1, 24, 25, 100, 15, 1000, 1021, 5000 };

#define COUNTS (sizeof s_counts / sizeof s_counts [0])
#define STREAM_MAX 8192

//  splitmix64
static uint64_t
s_random (uint64_t *seed)
{
    uint64_t mixed = *seed += 0x9e3779b97f4a7c15ULL;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9ULL;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebULL;
    return mixed ^ (mixed >> 31);
}

static void
s_fill (void *memory, size_t size)
{
    uint64_t seed = 1;
    for (size_t index = 0; index < size; index++)
        ((uchar *) memory) [index] = (uchar) s_random (&seed);
}

//  From middle - 1 to middle + 1.
static void
s_floats (float *values, size_t count, float middle)
{
    uint64_t seed = 2;
    for (size_t index = 0; index < count; index++)
        values [index] = middle + (float) (s_random (&seed) >> 40) / 8388608.0F - 1.0F;
}

static void
s_check_double (s_lane_t *lane)
{
    static float values [STREAM_MAX], doubled [STREAM_MAX];
    s_floats (values, STREAM_MAX, 0);
    values [0] = INFINITY;
    values [1] = 2e38F;
    gpb_reference_double (doubled, values, STREAM_MAX);
    for (size_t index = 0; index < COUNTS; index++) {
        s_send (lane, values, s_counts [index] * sizeof (float));
        s_expect (lane, doubled, s_counts [index] * sizeof (float));
    }
}

static void
s_check_double_i32 (s_lane_t *lane)
{
    int32_t values [24], doubled [24];
    s_fill (values, sizeof values);
    gpb_reference_double_i32 (doubled, values, 24);
    for (size_t count = 0; count <= 24; count++) {
        s_send (lane, values, count * 4);
        s_expect (lane, doubled, count * 4);
    }
}

static void
s_check_echo (s_lane_t *lane)
{
    static uchar bytes [4194304];
    s_fill (bytes, sizeof bytes);
    for (size_t index = 0; index < COUNTS; index++) {
        s_send (lane, bytes + index, s_counts [index]);
        s_expect (lane, bytes + index, s_counts [index]);
    }
    s_send (lane, bytes, sizeof bytes);
    s_expect (lane, bytes, sizeof bytes);
}

static void
s_expect_close (const s_lane_t *lane, size_t index, double found, const gpb_reference_t *expected)
{
    ck_assert_uint_eq (lane->status, GPB_LANE_OK);
    ck_assert_msg (fabs (found - expected->value) <= expected->bound,
                   "element %zu is %.17g instead of %.17g, and may be off by %.3g", index, found,
                   expected->value, expected->bound);
}

//  Far from 0, where a sum of squares would have no digits left.
static void
s_check_running_stats (s_lane_t *lane)
{
    static float stream [STREAM_MAX];
    s_floats (stream, STREAM_MAX, 100000);
    gpb_reference_t expected [5];
    const double zeros [5] = { 0 };
    s_send (lane, stream, 0);
    s_expect (lane, zeros, sizeof zeros);
    for (size_t index = 0, seen = 0; index < COUNTS; index++) {
        s_send (lane, stream + seen, s_counts [index] * sizeof (float));
        seen += s_counts [index];
        gpb_reference_running_stats (expected, stream, seen);
        ck_assert_uint_eq (lane->output_size, 5 * sizeof (double));
        for (size_t at = 0; at < 5; at++)
            s_expect_close (lane, at, ((const double *) lane->output) [at], &expected [at]);
    }
}

static void
s_check_moving_average (s_lane_t *lane)
{
    static float stream [STREAM_MAX];
    static gpb_reference_t expected [STREAM_MAX];
    s_floats (stream, STREAM_MAX, 3);
    gpb_reference_moving_average (expected, stream, STREAM_MAX);
    for (size_t index = 0, seen = 0; index < COUNTS; index++) {
        s_send (lane, stream + seen, s_counts [index] * sizeof (float));
        ck_assert_uint_eq (lane->output_size, s_counts [index] * sizeof (float));
        for (size_t at = 0; at < s_counts [index]; at++)
            s_expect_close (lane, at, (double) ((const float *) lane->output) [at],
                            &expected [seen + at]);
        seen += s_counts [index];
    }
}

static void
s_check_top_k (s_lane_t *lane)
{
    static float values [STREAM_MAX];
    float largest [GPB_REFERENCE_TOP_K];
    s_floats (values, STREAM_MAX, 0);
    for (size_t index = 0; index < COUNTS; index++) {
        const size_t found = gpb_reference_top_k (largest, values, s_counts [index]);
        s_send (lane, values, s_counts [index] * sizeof (float));
        s_expect (lane, largest, found * sizeof (float));
    }
    //  Equal ones, zeros of both signs, infinities, and NaNs, of which more than 16 come first.
    for (size_t index = 0; index < 40; index++)
        values [index] = index < 20 ? NAN : (float) (index % 4);
    values [25] = -0.0F;
    values [30] = INFINITY;
    values [31] = -INFINITY;
    for (size_t count = 0; count <= 40; count++) {
        const size_t found = gpb_reference_top_k (largest, values, count);
        s_send (lane, values, count * sizeof (float));
        s_expect (lane, largest, found * sizeof (float));
    }
}

//  Fewer values than work-items, as many, and more.
static void
s_check_sum_64 (s_lane_t *lane)
{
    static uint32_t values [STREAM_MAX];
    s_fill (values, sizeof values);
    uint64_t expected [2] = { 0, 0 };
    for (size_t index = 0; index < COUNTS; index++) {
        expected [0] = gpb_reference_sum_64 (values, s_counts [index]);
        expected [1] += expected [0];
        s_send (lane, values, s_counts [index] * 4);
        s_expect (lane, expected, sizeof expected);
    }
}

static void
s_check_overflow (s_lane_t *lane)
{
    static const uchar written [8] = { 0, 1, 2, 3, 4, 5, 6, 7 };
    for (uint32_t size = 0; size < 12; size++) {
        s_send (lane, &size, sizeof size);
        if (size <= 8)
            s_expect (lane, written, size);
        else
            ck_assert_uint_eq (lane->status, GPB_LANE_OVERFLOW);
    }
}

static void
s_check_stuck (s_lane_t *lane)
{
    static const uchar bytes [5] = { 0, 1, 2, 3, 1 };
    s_send (lane, bytes, sizeof bytes);
    s_expect (lane, bytes, sizeof bytes);
    s_send (lane, bytes, 0);
    s_expect (lane, bytes, 0);
}

static void
s_check_both (const char *name, void (*check) (s_lane_t *))
{
    for (int on_device = 0; on_device < 2; on_device++) {
        s_lane_t lane;
        s_open (&lane, name, on_device);
        check (&lane);
        s_close (&lane);
    }
}

START_TEST (test_double_is_its_reference)
{
    s_check_both ("double", s_check_double);
}
END_TEST

START_TEST (test_double_i32_is_its_reference)
{
    s_check_both ("double_i32", s_check_double_i32);
}
END_TEST

START_TEST (test_echo_gives_back_what_came)
{
    s_check_both ("echo", s_check_echo);
}
END_TEST

START_TEST (test_running_stats_are_those_of_the_whole_stream)
{
    s_check_both ("running_stats", s_check_running_stats);
}
END_TEST

START_TEST (test_a_moving_average_goes_on_from_message_to_message)
{
    s_check_both ("moving_average", s_check_moving_average);
}
END_TEST

START_TEST (test_top_k_is_of_one_message_alone)
{
    s_check_both ("top_k", s_check_top_k);
}
END_TEST

START_TEST (test_a_work_group_of_64_adds_up_messages_of_any_length)
{
    s_check_both ("sum_64", s_check_sum_64);
}
END_TEST

START_TEST (test_an_output_that_is_said_to_be_larger_than_its_room_is_an_overflow)
{
    s_check_both ("overflow", s_check_overflow);
}
END_TEST

START_TEST (test_stuck_gives_back_what_does_not_say_otherwise)
{
    s_check_both ("stuck", s_check_stuck);
}
END_TEST

//  It looks at the message again and again, which ends this test.
START_TEST (test_stuck_does_not_return_while_the_message_says_so)
{
    gpb_error_t error = { GPB_OK, "" };
    s_lane_t lane;
    s_open (&lane, "stuck", true);
    if (gpb_test_has_capability (lane.device.info, "svm_fine")) {
        static const uchar bytes [3] = { 1, 2, 3 };
        s_write_request (&lane, bytes, sizeof bytes, sizeof bytes);
        gpb_event_t *event = NULL;
        s_launch (&lane, &event);
        struct pollfd item = { lane.device.notify_fds [0], POLLIN, 0 };
        ck_assert_int_eq (poll (&item, 1, 200), 0);
        __atomic_store_n (lane.bytes + REQUEST + sizeof (gpb_lane_request_t), 0, __ATOMIC_RELEASE);
        ck_assert_ok (gpb_test_device_wait (&lane.device, 0, &event, NULL, &error));
        const gpb_lane_answer_t *answer = (const gpb_lane_answer_t *) (lane.bytes + ANSWER);
        ck_assert_uint_eq (answer->status, GPB_LANE_OK);
        ck_assert_uint_eq (answer->size, 3);
    }
    s_close (&lane);
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Their text

START_TEST (test_one_module_has_both_entries)
{
    for (size_t index = 0; index < PACKAGES; index++) {
        gpb_error_t error = { GPB_OK, "" };
        s_lane_t lane;
        s_open (&lane, s_packages [index].name, true);
        gpb_function_t *dispatch = NULL;
        gpb_function_info_t info;
        ck_assert_ok (lane.device.operations->function (lane.module, GPB_PERSISTENT_DISPATCH,
                                                        &dispatch, &info, &error));
        ck_assert_ptr_ne (dispatch, lane.function);
        s_close (&lane);
    }
}
END_TEST

START_TEST (test_what_does_not_compile_is_refused_with_the_packages_own_line)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_test_device_t device;
    gpb_kernel_t *kernel = s_load ("tests/kernels_persistent", "broken");
    gpb_module_t *module = NULL;
    gpb_function_t *function = NULL;
    gpb_function_info_t info;
    gpb_test_device_open (&device, "opencl", 0, 1, false);
    ck_assert_refused (gpb_compile (kernel, "opencl", device.operations, device.context, NULL,
                                    &module, &function, &info, NULL, &error),
                       GPB_INVALID_ARGUMENT, "broken.c:8:");
    ck_assert_ptr_nonnull (strstr (error.text, "nothing"));
    ck_assert_ptr_null (module);
    gpb_test_device_close (&device);
    gpb_kernel_destroy (&kernel);
}
END_TEST

//  The whole text, the loop too, without a warning.
START_TEST (test_every_package_is_c11)
{
    for (size_t index = 0; index < PACKAGES; index++) {
        gpb_error_t error = { GPB_OK, "" };
        gpb_kernel_t *kernel = s_load (s_packages [index].folder, s_packages [index].name);
        gpb_code_t code;
        ck_assert_ok (gpb_kernel_code (kernel, "cuda", &code, &error));
        FILE *compiler =
            popen (GPB_CC " -x c -std=c11 -Wall -Wextra -Werror -fsyntax-only - >&2", "w");
        ck_assert_ptr_nonnull (compiler);
        ck_assert_uint_eq (fwrite (code.data, 1, code.size, compiler), code.size);
        ck_assert_msg (pclose (compiler) == 0, "%s is not C11", s_packages [index].name);
        gpb_kernel_destroy (&kernel);
    }
}
END_TEST

GPB_TEST_MAIN (
    "persistent packages", 60, test_double_is_its_reference, test_double_i32_is_its_reference,
    test_echo_gives_back_what_came, test_running_stats_are_those_of_the_whole_stream,
    test_a_moving_average_goes_on_from_message_to_message, test_top_k_is_of_one_message_alone,
    test_a_work_group_of_64_adds_up_messages_of_any_length,
    test_an_output_that_is_said_to_be_larger_than_its_room_is_an_overflow,
    test_stuck_gives_back_what_does_not_say_otherwise,
    test_stuck_does_not_return_while_the_message_says_so, test_one_module_has_both_entries,
    test_what_does_not_compile_is_refused_with_the_packages_own_line, test_every_package_is_c11)
