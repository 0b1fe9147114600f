//  Tests of the CUDA backend on the fake driver: what it says of devices, memory, streams and
//  events, code and launches, and a device that is lost. The driver keeps books, so that each test
//  also ends with "nothing was used after it was gone, and nothing is left".
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_test.h"

#include "gpb_test_cuda.h"
#include "gpb_test_device.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define KIB 1024
#define MIB ((uint64_t) 1024 * 1024)

static const gpb_test_cuda_t *s_fake;
static gpb_test_device_t s_device;
static gpb_error_t error;

//  ---------------------------------------------------------------------------------------------------------
//  Kernels

static atomic_uint s_entered, s_allowed;

static CUresult
s_add (const gpb_fake_cuda_launch_t *launch)
{
    CUdeviceptr addresses [3];
    int32_t count;
    for (size_t index = 0; index < 3; index++)
        memcpy (&addresses [index], launch->parameters [index], sizeof addresses [index]);
    memcpy (&count, launch->parameters [3], sizeof count);
    const size_t size = (size_t) count * sizeof (float);
    const float *a = s_fake->range (addresses [0], size), *b = s_fake->range (addresses [1], size);
    float *c = s_fake->range (addresses [2], size);
    for (int32_t index = 0; a && b && c && index < count; index++)
        c [index] = a [index] + b [index];
    return CUDA_SUCCESS;
}

static unsigned s_seen_grid [3], s_seen_block [3], s_seen_shared;

static CUresult
s_see (const gpb_fake_cuda_launch_t *launch)
{
    memcpy (s_seen_grid, launch->grid, sizeof s_seen_grid);
    memcpy (s_seen_block, launch->block, sizeof s_seen_block);
    s_seen_shared = launch->shared_size;
    return CUDA_SUCCESS;
}

//  Runs until as many may end as have begun.
static CUresult
s_hold (const gpb_fake_cuda_launch_t *launch)
{
    (void) launch;
    const unsigned turn = atomic_fetch_add (&s_entered, 1);
    while (atomic_load (&s_allowed) <= turn && !s_fake->killed ())
        sched_yield ();
    return CUDA_SUCCESS;
}

static CUresult s_outcome;

static CUresult
s_fail (const gpb_fake_cuda_launch_t *launch)
{
    (void) launch;
    return s_outcome;
}

//  ---------------------------------------------------------------------------------------------------------
//  What the tests begin and end with

static void
s_define (void)
{
    const gpb_fake_cuda_function_t functions [] = {
        { .name = "add", .run = s_add, .parameters_count = 4, .parameters = { 8, 8, 8, 4 } },
        { .name = "see", .run = s_see, .parameters_count = 1, .parameters = { 4 } },
        { .name = "few", .run = s_see, .threads_max = 64 },
        { .name = "hold", .run = s_hold },
        { .name = "stay", .run = s_hold, .is_persistent = true },
        { .name = "fail", .run = s_fail },
    };
    for (size_t index = 0; index < sizeof functions / sizeof functions [0]; index++)
        s_fake->define (&functions [index]);
    atomic_store (&s_entered, 0);
    atomic_store (&s_allowed, 0);
}

static void
s_open (unsigned streams)
{
    s_fake = gpb_test_cuda ();
    s_define ();
    gpb_test_device_open (&s_device, "cuda", 0, streams, true);
}

static void
s_close (void)
{
    gpb_test_device_close (&s_device);
    gpb_test_cuda_expect_fault (NULL);
}

static const char s_ptx [] = "//  fake: .version 8.0 .target sm_80\n add see few hold stay fail\n";

static gpb_status_t
s_try_build (gpb_code_kind_t kind, const char *text, gpb_module_t **module_p)
{
    const gpb_code_t code = { .kind = kind,
                              .name = "k",
                              .data = text,
                              .size = strlen (text),
                              .optimize = 2,
                              .options = "",
                              .architecture = "" };
    return s_device.operations->build (s_device.context, &code, module_p, &error);
}

static gpb_module_t *
s_build (void)
{
    gpb_module_t *module;
    ck_assert_ok (s_try_build (GPB_CODE_INTERMEDIATE, s_ptx, &module));
    return module;
}

static gpb_function_t *
s_function (gpb_module_t *module, const char *name)
{
    gpb_function_t *function;
    gpb_function_info_t info;
    ck_assert_ok (s_device.operations->function (module, name, &function, &info, &error));
    return function;
}

static gpb_status_t
s_launch (gpb_function_t *function, unsigned stream, gpb_event_t **event_p)
{
    const gpb_launch_t launch = {
        .function = function, .dimensions = 1, .global = { 1 }, .local = { 1 }
    };
    return s_device.operations->launch (s_device.context, stream, &launch, GPB_NOTIFY, event_p,
                                        &error);
}

static void
s_wait_entered (unsigned count)
{
    while (atomic_load (&s_entered) < count)
        sched_yield ();
}

//  ---------------------------------------------------------------------------------------------------------
//  Devices

static void
s_expect_notice (const char *part)
{
    s_fake = gpb_test_cuda ();
    gpb_backends_t *backends = gpb_backends_new ("cuda", &error);
    ck_assert_ptr_nonnull (backends);
    const char *notice = gpb_backends_notice_peek (backends, 0);
    ck_assert_ptr_nonnull (notice);
    ck_assert_msg (strstr (notice, part) != NULL, "\"%s\" is not in: %s", part, notice);
    ck_assert_uint_eq (gpb_backends_devices (backends), 0);
    gpb_backends_destroy (&backends);
}

START_TEST (test_a_device_says_what_it_is)
{
    s_open (1);
    const gpb_device_info_t *info = s_device.info;
    ck_assert_str_eq (info->type, "gpu");
    ck_assert_str_eq (info->architecture, "sm_90");
    ck_assert_str_eq (info->bus_id, "0000:65:00.0");
    ck_assert_uint_eq (info->total_memory, 64 * MIB);
    ck_assert_uint_eq (info->compute_units, 16);
    ck_assert_uint_eq (info->max_work_group_size, 1024);
    ck_assert (info->loads_alone && !info->shares_host_memory);
    ck_assert_ptr_nonnull (strstr (info->driver, "CUDA 13.0"));
    static const char *const there [] = { "gpu",         "cuda",         "sm_90",
                                          "compute_80",  "compute_90",   "fp64",
                                          "host_mapped", "memory_pools", "tensor_cores" };
    for (size_t index = 0; index < sizeof there / sizeof there [0]; index++)
        ck_assert_msg (gpb_test_has_capability (info, there [index]), "no %s", there [index]);
    ck_assert (!gpb_test_has_capability (info, "compute_100"));
    ck_assert (!gpb_test_has_capability (info, "p2p"));
    s_close ();
}
END_TEST

START_TEST (test_a_machine_without_a_device_says_so)
{
    setenv ("GPB_FAKE_CUDA_DEVICES", "0", 1);
    setenv ("CUDA_VISIBLE_DEVICES", "7", 1);
    s_expect_notice ("backend \"cuda\": the CUDA driver sees no device: CUDA_VISIBLE_DEVICES is "
                     "\"7\"");
    gpb_test_cuda_expect_fault (NULL);
}
END_TEST

START_TEST (test_a_driver_that_does_not_start_says_why)
{
    s_fake = gpb_test_cuda ();
    s_fake->refuse ("cuInit", 1, CUDA_ERROR_SYSTEM_DRIVER_MISMATCH, true);
    s_expect_notice ("the CUDA driver does not start");
    gpb_test_cuda_expect_fault (NULL);
}
END_TEST

START_TEST (test_a_device_that_is_forbidden_says_so)
{
    setenv ("GPB_FAKE_CUDA_COMPUTE_MODE", "2", 1);
    s_fake = gpb_test_cuda ();
    gpb_backends_t *backends = gpb_backends_new ("cuda", &error);
    ck_assert_uint_eq (gpb_backends_devices (backends), 1);
    ck_assert_ptr_null (gpb_backends_info_peek (backends, 0, &error));
    ck_assert_int_eq (error.status, GPB_FAILED_PRECONDITION);
    ck_assert_ptr_nonnull (strstr (error.text, "compute mode \"prohibited\""));
    gpb_backends_destroy (&backends);
    gpb_test_cuda_expect_fault (NULL);
}
END_TEST

START_TEST (test_a_device_that_is_busy_says_so_and_stops_no_other)
{
    setenv ("GPB_FAKE_CUDA_DEVICES", "2", 1);
    setenv ("GPB_FAKE_CUDA_COMPUTE_MODE", "3", 1);
    s_fake = gpb_test_cuda ();
    s_fake->refuse ("cuDevicePrimaryCtxRetain", 1, CUDA_ERROR_DEVICE_UNAVAILABLE, false);
    gpb_backends_t *backends = gpb_backends_new ("cuda", &error);
    const gpb_backend_operations_t *operations;
    gpb_context_t *context;
    const gpb_open_t open = { .streams = 1 };
    ck_assert_refused (gpb_backends_open (backends, 0, &open, &operations, &context, &error),
                       GPB_UNAVAILABLE, "is busy: another process has it for itself");
    ck_assert_ok (gpb_backends_open (backends, 1, &open, &operations, &context, &error));
    operations->close (&context);
    gpb_backends_destroy (&backends);
    gpb_test_cuda_expect_fault (NULL);
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Memory

START_TEST (test_what_is_written_is_read_again_by_every_way)
{
    s_open (1);
    const gpb_backend_operations_t *operations = s_device.operations;
    static const gpb_memory_kind_t kinds [] = { GPB_MEMORY_DEVICE, GPB_MEMORY_HOST,
                                                GPB_MEMORY_MAPPED };
    char sent [1000], seen [1000];
    for (size_t index = 0; index < sizeof sent; index++)
        sent [index] = (char) (index * 7);
    for (size_t from = 0; from < 3; from++)
        for (size_t to = 0; to < 3; to++) {
            gpb_memory_t *source = gpb_test_device_memory (&s_device, kinds [from], 2000);
            gpb_memory_t *target = gpb_test_device_memory (&s_device, kinds [to], 2000);
            const gpb_place_t places [] = { { .memory = target, .offset = 64 },
                                            { .memory = source, .offset = 128 } };
            gpb_test_device_write (&s_device, source, 128, sent, sizeof sent);
            gpb_event_t *event;
            ck_assert_ok (operations->zero (s_device.context, 0, target, 0, 2000, GPB_NOTIFY_NOT,
                                            NULL, &error));
            ck_assert_ok (operations->copy (s_device.context, 0, &places [0], &places [1], 900,
                                            GPB_NOTIFY, &event, &error));
            ck_assert_ok (gpb_test_device_wait (&s_device, 0, &event, NULL, &error));
            gpb_test_device_read (&s_device, target, 64, seen, sizeof seen);
            ck_assert_int_eq (memcmp (seen, sent, 900), 0);
            ck_assert_int_eq (seen [900], 0);
            void *address;
            gpb_status_t status = operations->address (target, &address, &error);
            ck_assert_int_eq (status,
                              kinds [to] == GPB_MEMORY_DEVICE ? GPB_FAILED_PRECONDITION : GPB_OK);
            operations->release (&source);
            operations->release (&target);
            ck_assert_ptr_null (target);
        }
    s_close ();
}
END_TEST

START_TEST (test_what_the_pool_keeps_counts_as_free)
{
    s_open (1);
    uint64_t before, during, after;
    ck_assert_ok (s_device.operations->memory_free (s_device.context, &before, &error));
    gpb_memory_t *memory = gpb_test_device_memory (&s_device, GPB_MEMORY_DEVICE, 8 * MIB);
    ck_assert_ok (s_device.operations->memory_free (s_device.context, &during, &error));
    ck_assert_uint_eq (before - during, 8 * MIB);
    s_device.operations->release (&memory);
    memory = gpb_test_device_memory (&s_device, GPB_MEMORY_DEVICE, 4 * KIB);
    s_device.operations->release (&memory);
    ck_assert_ok (s_device.operations->memory_free (s_device.context, &after, &error));
    ck_assert_uint_eq (after, before);
    s_close ();
}
END_TEST

START_TEST (test_a_device_that_is_full_is_trimmed_once_and_then_says_so)
{
    s_open (1);
    const gpb_backend_operations_t *operations = s_device.operations;
    //  What is given back stays with the pool in pieces of 8 MiB: 40 MiB find none of them.
    gpb_memory_t *pieces [7];
    for (size_t index = 0; index < 7; index++)
        pieces [index] = gpb_test_device_memory (&s_device, GPB_MEMORY_DEVICE, 8 * MIB);
    for (size_t index = 0; index < 7; index++)
        operations->release (&pieces [index]);
    const unsigned trims = s_fake->calls ("cuMemPoolTrimTo");
    gpb_memory_t *memory = gpb_test_device_memory (&s_device, GPB_MEMORY_DEVICE, 40 * MIB);
    ck_assert_uint_eq (s_fake->calls ("cuMemPoolTrimTo"), trims + 1);
    gpb_memory_t *more = NULL;
    ck_assert_refused (operations->allocate (s_device.context, GPB_MEMORY_DEVICE,
                                             GPB_ACCESS_READ_WRITE, 40 * MIB, &more, &error),
                       GPB_RESOURCE_EXHAUSTED, "CUDA_ERROR_OUT_OF_MEMORY");
    ck_assert_ptr_null (more);
    ck_assert_uint_eq (s_fake->calls ("cuMemPoolTrimTo"), trims + 2);
    operations->release (&memory);
    s_close ();
}
END_TEST

START_TEST (test_a_device_without_pools_has_memory_and_no_persistent_kernels)
{
    setenv ("GPB_FAKE_CUDA_POOLS", "0", 1);
    s_open (1);
    ck_assert (!gpb_test_has_capability (s_device.info, "host_mapped"));
    gpb_memory_t *memory = gpb_test_device_memory (&s_device, GPB_MEMORY_DEVICE, MIB);
    ck_assert_uint_eq (s_fake->calls ("cuMemAlloc"), 1);
    s_device.operations->release (&memory);
    ck_assert_uint_eq (s_fake->calls ("cuMemFree"), 1);
    s_close ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Streams and events

START_TEST (test_streams_go_side_by_side_and_each_in_order)
{
    s_open (2);
    gpb_module_t *module = s_build ();
    gpb_function_t *hold = s_function (module, "hold");
    gpb_event_t *events [3];
    ck_assert_ok (s_launch (hold, 0, &events [0]));
    ck_assert_ok (s_launch (hold, 0, &events [1]));
    s_wait_entered (1);
    ck_assert_ok (s_launch (hold, 1, &events [2]));
    s_wait_entered (2);    //  the other stream's, while the first one's first still runs
    bool done;
    ck_assert_ok (s_device.operations->query (events [0], &done, NULL, &error));
    ck_assert (!done);
    atomic_store (&s_allowed, 3);
    gpb_event_times_t times [3];
    ck_assert_ok (gpb_test_device_wait (&s_device, 1, &events [2], &times [2], &error));
    ck_assert_ok (gpb_test_device_wait (&s_device, 0, &events [0], &times [0], &error));
    ck_assert_ok (gpb_test_device_wait (&s_device, 0, &events [1], &times [1], &error));
    for (size_t index = 0; index < 3; index++)
        ck_assert (times [index].measured && times [index].end_ns >= times [index].start_ns);
    //  A float of milliseconds, told from an anchor: some microseconds at the most.
    ck_assert_uint_ge (times [1].start_ns + 20000, times [0].end_ns);
    ck_assert_uint_gt (times [0].end_ns, times [2].start_ns);
    s_device.operations->unload (&module);
    s_close ();
}
END_TEST

START_TEST (test_a_command_waits_for_no_callback)
{
    s_open (1);
    gpb_module_t *module = s_build ();
    gpb_function_t *hold = s_function (module, "hold");
    gpb_event_t *events [64];
    atomic_store (&s_allowed, 64);
    for (size_t index = 0; index < 64; index++)
        ck_assert_ok (s_launch (hold, 0, &events [index]));
    for (size_t index = 0; index < 64; index++)
        ck_assert_ok (gpb_test_device_wait (&s_device, 0, &events [index], NULL, &error));
    ck_assert_uint_eq (s_fake->calls ("cuStreamAddCallback"), 64);
    //  Events are used again: as many as were in flight, and the anchor.
    const unsigned made = s_fake->calls ("cuEventCreate");
    ck_assert_ok (s_launch (hold, 0, &events [0]));
    atomic_store (&s_allowed, 65);
    ck_assert_ok (gpb_test_device_wait (&s_device, 0, &events [0], NULL, &error));
    ck_assert_uint_eq (s_fake->calls ("cuEventCreate"), made);
    s_device.operations->unload (&module);
    s_close ();
}
END_TEST

START_TEST (test_an_event_may_go_before_it_is_done)
{
    s_open (1);
    gpb_module_t *module = s_build ();
    gpb_function_t *hold = s_function (module, "hold");
    gpb_event_t *event, *next;
    ck_assert_ok (s_launch (hold, 0, &event));
    s_device.operations->event_free (&event);
    ck_assert_ptr_null (event);
    ck_assert_ok (s_launch (hold, 0, &next));
    atomic_store (&s_allowed, 2);
    ck_assert_ok (gpb_test_device_wait (&s_device, 0, &next, NULL, &error));
    s_device.operations->unload (&module);
    s_close ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Code and launches

START_TEST (test_code_that_is_none_is_refused_with_the_drivers_words)
{
    s_open (1);
    gpb_module_t *module;
    ck_assert_refused (s_try_build (GPB_CODE_INTERMEDIATE, ".version 8.0 syntax error", &module),
                       GPB_INVALID_ARGUMENT, "CUDA_ERROR_INVALID_PTX");
    ck_assert_ptr_null (module);
    ck_assert_ptr_nonnull (strchr (error.text, '\n'));    //  and behind it the log
    ck_assert_refused (s_try_build (GPB_CODE_BINARY, "nothing that it knows", &module),
                       GPB_INVALID_ARGUMENT, "CUDA_ERROR_INVALID_IMAGE");
    ck_assert_refused (s_try_build (GPB_CODE_BINARY, "fake cubin sm_80 add", &module),
                       GPB_FAILED_PRECONDITION, "CUDA_ERROR_NO_BINARY_FOR_GPU");
    module = s_build ();
    gpb_function_t *function;
    ck_assert_refused (s_device.operations->function (module, "missing", &function, NULL, &error),
                       GPB_NOT_FOUND, "no kernel \"missing\"");
    ck_assert_ptr_null (function);
    void *data;
    size_t size;
    ck_assert_refused (s_device.operations->binary (module, &data, &size, &error),
                       GPB_UNIMPLEMENTED, "PTX");
    s_device.operations->unload (&module);
    ck_assert_ok (s_try_build (GPB_CODE_BINARY, "fake cubin sm_90 add", &module));
    s_device.operations->unload (&module);
    s_close ();
}
END_TEST

START_TEST (test_where_nothing_may_be_compiled_only_a_cubin_is_taken)
{
    s_open (1);
    gpb_code_t code = { .kind = GPB_CODE_INTERMEDIATE,
                        .name = "k",
                        .data = s_ptx,
                        .size = strlen (s_ptx),
                        .options = "",
                        .architecture = "",
                        .never_compile = true };
    gpb_module_t *module;
    ck_assert_refused (s_device.operations->build (s_device.context, &code, &module, &error),
                       GPB_FAILED_PRECONDITION, "the driver would have to compile");
    code.kind = GPB_CODE_SOURCE;
    ck_assert_refused (s_device.operations->build (s_device.context, &code, &module, &error),
                       GPB_FAILED_PRECONDITION, "no binary of it for sm_90");
    code.kind = GPB_CODE_BINARY;
    code.data = "fake cubin add";
    code.size = strlen (code.data);
    ck_assert_ok (s_device.operations->build (s_device.context, &code, &module, &error));
    s_device.operations->unload (&module);
    s_close ();
}
END_TEST

START_TEST (test_a_launch_computes_with_its_arguments)
{
    s_open (1);
    enum { COUNT = 1000 };
    gpb_module_t *module = s_build ();
    float values [COUNT], sums [COUNT];
    gpb_memory_t *memory [3];
    for (size_t index = 0; index < COUNT; index++)
        values [index] = (float) index;
    for (size_t index = 0; index < 3; index++)
        memory [index] = gpb_test_device_memory (&s_device, GPB_MEMORY_DEVICE, 2 * sizeof values);
    gpb_test_device_write (&s_device, memory [0], 256, values, sizeof values);
    gpb_test_device_write (&s_device, memory [1], 0, values, sizeof values);
    const gpb_argument_t arguments [] = {
        { .kind = GPB_ARGUMENT_MEMORY, .memory = memory [0], .offset = 256 },
        { .kind = GPB_ARGUMENT_MEMORY, .memory = memory [1] },
        { .kind = GPB_ARGUMENT_MEMORY, .memory = memory [2], .offset = 512 },
        { .kind = GPB_ARGUMENT_SCALAR, .size = 4, .scalar = { .i32 = COUNT } },
    };
    const gpb_launch_t launch = { .function = s_function (module, "add"),
                                  .dimensions = 1,
                                  .global = { COUNT },
                                  .arguments = arguments,
                                  .arguments_count = 4 };
    gpb_test_device_run (&s_device, &launch);
    gpb_test_device_read (&s_device, memory [2], 512, sums, sizeof sums);
    for (size_t index = 0; index < COUNT; index++)
        ck_assert_float_eq (sums [index], 2 * values [index]);
    for (size_t index = 0; index < 3; index++)
        s_device.operations->release (&memory [index]);
    s_device.operations->unload (&module);
    s_close ();
}
END_TEST

//  What is wrong with a launch is found before the driver reads it.
START_TEST (test_arguments_are_held_against_the_kernels_parameters)
{
    s_open (1);
    gpb_module_t *module = s_build ();
    gpb_memory_t *memory = gpb_test_device_memory (&s_device, GPB_MEMORY_DEVICE, 100);
    const gpb_argument_t whole = { .kind = GPB_ARGUMENT_MEMORY, .memory = memory };
    const gpb_argument_t beyond = { .kind = GPB_ARGUMENT_MEMORY, .memory = memory, .offset = 100 };
    const gpb_argument_t i32 = { .kind = GPB_ARGUMENT_SCALAR, .size = 4 };
    const gpb_argument_t i64 = { .kind = GPB_ARGUMENT_SCALAR, .size = 8 };
    const struct {
        size_t count;
        gpb_argument_t arguments [5];
        const char *part;
    } cases [] = {
        { 3, { whole, whole, whole }, "the kernel takes 4 arguments, not 3" },
        { 5, { whole, whole, whole, i32, i32 }, "argument 4 is one too many" },
        { 4, { whole, whole, whole, i64 }, "argument 3 has 8 bytes, and the kernel takes 4" },
        { 4, { whole, whole, i32, i32 }, "argument 2 has 4 bytes, and the kernel takes 8" },
        { 4, { whole, whole, beyond, i32 }, "argument 2 starts 100 bytes into memory of 100" },
    };
    for (size_t index = 0; index < sizeof cases / sizeof cases [0]; index++) {
        const gpb_launch_t launch = { .function = s_function (module, "add"),
                                      .dimensions = 1,
                                      .global = { 1 },
                                      .arguments = cases [index].arguments,
                                      .arguments_count = cases [index].count };
        ck_assert_refused (s_device.operations->launch (s_device.context, 0, &launch, GPB_NOTIFY,
                                                        NULL, &error),
                           GPB_INVALID_ARGUMENT, cases [index].part);
    }
    ck_assert_uint_eq (s_fake->calls ("cuLaunchKernel"), 0);
    s_device.operations->release (&memory);
    s_device.operations->unload (&module);
    s_close ();
}
END_TEST

static void
s_expect_blocks (gpb_function_t *function, unsigned dimensions, const uint64_t *global,
                 const uint64_t *local, const unsigned *grid, const unsigned *block)
{
    const gpb_argument_t argument = { .kind = GPB_ARGUMENT_SCALAR, .size = 4 };
    gpb_launch_t launch = {
        .function = function, .dimensions = dimensions, .arguments = &argument, .arguments_count = 1
    };
    memcpy (launch.global, global, dimensions * sizeof *global);
    memcpy (launch.local, local, dimensions * sizeof *local);
    gpb_test_device_run (&s_device, &launch);
    for (unsigned dimension = 0; dimension < 3; dimension++) {
        ck_assert_uint_eq (s_seen_grid [dimension], grid [dimension]);
        ck_assert_uint_eq (s_seen_block [dimension], block [dimension]);
    }
}

START_TEST (test_a_grid_has_as_many_work_items_as_were_asked_for)
{
    s_open (1);
    gpb_module_t *module = s_build ();
    gpb_function_t *see = s_function (module, "see");
    const uint64_t sizes [] = { 96, 10, 6 }, groups [] = { 32, 5, 2 };
    s_expect_blocks (see, 3, sizes, groups, (unsigned []){ 3, 2, 3 }, (unsigned []){ 32, 5, 2 });
    //  Where it is left to us: as many as fill the device, that divide the size.
    const uint64_t none [] = { 0, 0, 0 }, large [] = { 1 << 20 }, odd [] = { 1999 };
    s_expect_blocks (see, 1, large, none, (unsigned []){ 1024, 1, 1 }, (unsigned []){ 1024, 1, 1 });
    s_expect_blocks (see, 1, odd, none, (unsigned []){ 1999, 1, 1 }, (unsigned []){ 1, 1, 1 });
    const uint64_t flat [] = { 48, 100 };
    s_expect_blocks (see, 2, flat, none, (unsigned []){ 1, 5, 1 }, (unsigned []){ 48, 20, 1 });
    s_device.operations->unload (&module);
    s_close ();
}
END_TEST

START_TEST (test_much_local_memory_is_opted_into_when_it_is_asked_for)
{
    s_open (1);
    gpb_module_t *module = s_build ();
    gpb_function_t *few = s_function (module, "few");
    gpb_argument_t local = { .kind = GPB_ARGUMENT_LOCAL, .size = 16 * KIB };
    const gpb_launch_t launch = { .function = few,
                                  .dimensions = 1,
                                  .global = { 64 },
                                  .local = { 64 },
                                  .arguments = &local,
                                  .arguments_count = 1 };
    gpb_test_device_run (&s_device, &launch);
    ck_assert_uint_eq (s_seen_shared, 16 * KIB);
    ck_assert_uint_eq (s_fake->calls ("cuFuncSetAttribute"), 0);
    local.size = 128 * KIB;
    for (int round = 0; round < 2; round++) {
        gpb_test_device_run (&s_device, &launch);
        ck_assert_uint_eq (s_seen_shared, 128 * KIB);
        ck_assert_uint_eq (s_fake->calls ("cuFuncSetAttribute"), 1);
    }
    local.size = s_device.info->local_memory + 1;
    ck_assert_refused (s_device.operations->launch (s_device.context, 0, &launch, GPB_NOTIFY, NULL,
                                                    &error),
                       GPB_INVALID_ARGUMENT, "of a work-group on");
    s_device.operations->unload (&module);
    s_close ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  A kernel that stays

//  The driver's books would name whatever waits for it.
START_TEST (test_beside_a_kernel_that_stays_everything_else_goes_on)
{
    setenv ("GPB_FAKE_CUDA_LOADING", "lazy", 1);
    s_open (2);
    const gpb_backend_operations_t *operations = s_device.operations;
    gpb_module_t *module = s_build ();
    gpb_function_t *stay = s_function (module, "stay"), *see = s_function (module, "see");
    gpb_event_t *event;
    ck_assert_ok (s_launch (stay, 1, &event));
    s_wait_entered (1);
    char data [4 * KIB];
    for (int round = 0; round < 20; round++) {
        gpb_memory_t *memory = gpb_test_device_memory (&s_device, GPB_MEMORY_DEVICE, sizeof data);
        gpb_test_device_write (&s_device, memory, 0, data, sizeof data);
        const uint64_t size [] = { 64 }, none [] = { 0 };
        s_expect_blocks (see, 1, size, none, (unsigned []){ 1, 1, 1 }, (unsigned []){ 64, 1, 1 });
        gpb_test_device_read (&s_device, memory, 0, data, sizeof data);
        uint64_t free_size;
        ck_assert_ok (operations->memory_free (s_device.context, &free_size, &error));
        operations->release (&memory);
    }
    bool done;
    ck_assert_ok (operations->query (event, &done, NULL, &error));
    ck_assert (!done);
    gpb_test_cuda_expect_fault (NULL);
    atomic_store (&s_allowed, 1);
    ck_assert_ok (gpb_test_device_wait (&s_device, 1, &event, NULL, &error));
    operations->unload (&module);
    s_close ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  A device that is lost

static void
s_expect_lost (CUresult outcome, gpb_status_t status, const char *name)
{
    s_open (2);
    s_outcome = outcome;
    const gpb_backend_operations_t *operations = s_device.operations;
    gpb_module_t *module = s_build ();
    gpb_function_t *fail = s_function (module, "fail"), *hold = s_function (module, "hold");
    gpb_memory_t *memory = gpb_test_device_memory (&s_device, GPB_MEMORY_DEVICE, 64);
    gpb_event_t *held, *failed, *behind;
    ck_assert_ok (s_launch (hold, 1, &held));
    s_wait_entered (1);
    //  It may be lost before the launch, or the next one, has returned.
    if (s_launch (fail, 0, &failed) == GPB_OK)
        gpb_test_device_wait (&s_device, 0, &failed, NULL, &error);
    ck_assert_refused (error.status, status, name);
    if (s_launch (hold, 0, &behind) == GPB_OK)
        gpb_test_device_wait (&s_device, 0, &behind, NULL, &error);
    ck_assert_refused (error.status, status, name);
    ck_assert_refused (gpb_test_device_wait (&s_device, 1, &held, NULL, &error), status, name);
    //  From now on everything says so, and nothing hangs.
    uint64_t free_size;
    gpb_memory_t *more;
    ck_assert_refused (operations->memory_free (s_device.context, &free_size, &error), status,
                       name);
    ck_assert_refused (operations->allocate (s_device.context, GPB_MEMORY_DEVICE,
                                             GPB_ACCESS_READ_WRITE, 64, &more, &error),
                       status, name);
    ck_assert_refused (operations->zero (s_device.context, 0, memory, 0, 64, GPB_NOTIFY, NULL,
                                         &error),
                       status, name);
    ck_assert_int_eq (s_launch (hold, 1, &held), status);
    ck_assert_int_eq (s_try_build (GPB_CODE_INTERMEDIATE, s_ptx, &(gpb_module_t *){ NULL }),
                      status);
    operations->release (&memory);
    operations->unload (&module);
    s_close ();
}

START_TEST (test_a_device_that_is_lost_wakes_everyone_and_says_why)
{
    static const struct {
        CUresult outcome;
        gpb_status_t status;
        const char *name;
    } cases [] = {
        { CUDA_ERROR_ILLEGAL_ADDRESS, GPB_UNAVAILABLE, "CUDA_ERROR_ILLEGAL_ADDRESS" },
        { CUDA_ERROR_ASSERT, GPB_UNAVAILABLE, "CUDA_ERROR_ASSERT" },
        { CUDA_ERROR_LAUNCH_TIMEOUT, GPB_UNAVAILABLE, "CUDA_ERROR_LAUNCH_TIMEOUT" },
        { CUDA_ERROR_LAUNCH_FAILED, GPB_UNAVAILABLE, "CUDA_ERROR_LAUNCH_FAILED" },
        { CUDA_ERROR_ECC_UNCORRECTABLE, GPB_DATA_LOSS, "CUDA_ERROR_ECC_UNCORRECTABLE" },
    };
    for (size_t index = 0; index < sizeof cases / sizeof cases [0]; index++) {
        s_expect_lost (cases [index].outcome, cases [index].status, cases [index].name);
        s_fake->reset ();
    }
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Every call of the driver's fails, once and for ever

//  A whole life. Whatever fails: what follows is refused or well, and all of it is given back.
static void
s_live (void)
{
    gpb_backends_t *backends = gpb_backends_new ("cuda", &error);
    ck_assert_ptr_nonnull (backends);
    const gpb_backend_operations_t *operations;
    gpb_context_t *context = NULL;
    int fds [2] = { -1, -1 };
    const gpb_open_t open = { .streams = 2, .notify_fds = fds, .profiling = true };
    if (gpb_backends_devices (backends) > 0
        && gpb_backends_open (backends, 0, &open, &operations, &context, &error) == GPB_OK)
    {
        gpb_memory_t *memory [3] = { NULL, NULL, NULL };
        for (gpb_memory_kind_t kind = GPB_MEMORY_DEVICE; kind <= GPB_MEMORY_MAPPED; kind++)
            operations->allocate (context, kind, GPB_ACCESS_READ_WRITE, 4 * KIB, &memory [kind],
                                  &error);
        gpb_module_t *module = NULL;
        gpb_function_t *function = NULL;
        const gpb_code_t code = { .kind = GPB_CODE_BINARY,
                                  .name = "k",
                                  .data = "fake cubin see",
                                  .size = 14,
                                  .options = "",
                                  .architecture = "" };
        if (operations->build (context, &code, &module, &error) == GPB_OK)
            operations->function (module, "see", &function, NULL, &error);
        uint64_t free_size;
        operations->memory_free (context, &free_size, &error);
        gpb_event_t *events [4] = { NULL, NULL, NULL, NULL };
        if (memory [0] && memory [1] && memory [2]) {
            const gpb_place_t places [] = { { .memory = memory [0] },
                                            { .memory = memory [1] },
                                            { .memory = memory [2] } };
            operations->copy (context, 0, &places [0], &places [1], KIB, GPB_NOTIFY, &events [0],
                              &error);
            operations->zero (context, 0, memory [0], 0, KIB, GPB_NOTIFY, &events [3], &error);
            operations->copy (context, 1, &places [2], &places [1], KIB, GPB_NOTIFY, &events [1],
                              &error);
        }
        const gpb_argument_t argument = { .kind = GPB_ARGUMENT_SCALAR, .size = 4 };
        const gpb_argument_t local = { .kind = GPB_ARGUMENT_LOCAL, .size = 100 * KIB };
        const gpb_argument_t arguments [] = { argument, local };
        const gpb_launch_t launch = { .function = function,
                                      .dimensions = 1,
                                      .global = { 64 },
                                      .arguments = arguments,
                                      .arguments_count = 2 };
        if (function)
            operations->launch (context, 0, &launch, GPB_NOTIFY, &events [2], &error);
        //  Every command that was enqueued comes to an end.
        for (size_t index = 0; index < 4; index++)
            for (bool done = !events [index]; !done; sched_yield ())
                operations->query (events [index], &done, NULL, &error);
        for (size_t index = 0; index < 4; index++)
            operations->event_free (&events [index]);
        for (size_t index = 0; index < 3; index++)
            operations->release (&memory [index]);
        operations->unload (&module);
        operations->close (&context);
    }
    gpb_backends_destroy (&backends);
}

//  Errors that pass, and one that does not.
START_TEST (test_each_call_of_the_driver_may_fail_once_or_for_ever)
{
    static const CUresult results [] = { CUDA_ERROR_OUT_OF_MEMORY, CUDA_ERROR_ILLEGAL_ADDRESS };
    setenv ("GPB_FAKE_CUDA_LOADING", "lazy", 1);
    s_fake = gpb_test_cuda ();
    const char *call;
    unsigned refused = 0;
    for (unsigned number = 0; (call = s_fake->call (number)); number++)
        for (int way = 0; way < 4; way++) {
            char faults [4096];
            s_fake->reset ();
            s_define ();
            s_live ();
            const unsigned calls = s_fake->calls (call);
            for (unsigned nth = 1; nth <= calls && nth <= 12; nth++) {
                s_fake->reset ();
                s_define ();
                s_fake->refuse (call, nth, results [way % 2], way >= 2);
                s_live ();
                refused++;
                unsigned count = s_fake->faults (faults, sizeof faults);
                //  Who cannot be current, or cannot stop being, cannot give back either; nor is it
                //  known of a stream that cannot be waited for whether it has.
                ck_assert_msg (count == 0 || strncmp (call, "cuCtx", 5) == 0
                                   || strcmp (call, "cuStreamSynchronize") == 0,
                               "%s, call %u, way %d: %s", call, nth, way, faults);
            }
        }
    s_fake->reset ();
    ck_assert_uint_gt (refused, 300);
}
END_TEST

GPB_TEST_MAIN ("gpb_cuda", 120, test_a_device_says_what_it_is,
               test_a_machine_without_a_device_says_so, test_a_driver_that_does_not_start_says_why,
               test_a_device_that_is_forbidden_says_so,
               test_a_device_that_is_busy_says_so_and_stops_no_other,
               test_what_is_written_is_read_again_by_every_way,
               test_what_the_pool_keeps_counts_as_free,
               test_a_device_that_is_full_is_trimmed_once_and_then_says_so,
               test_a_device_without_pools_has_memory_and_no_persistent_kernels,
               test_streams_go_side_by_side_and_each_in_order, test_a_command_waits_for_no_callback,
               test_an_event_may_go_before_it_is_done,
               test_code_that_is_none_is_refused_with_the_drivers_words,
               test_where_nothing_may_be_compiled_only_a_cubin_is_taken,
               test_a_launch_computes_with_its_arguments,
               test_arguments_are_held_against_the_kernels_parameters,
               test_a_grid_has_as_many_work_items_as_were_asked_for,
               test_much_local_memory_is_opted_into_when_it_is_asked_for,
               test_beside_a_kernel_that_stays_everything_else_goes_on,
               test_a_device_that_is_lost_wakes_everyone_and_says_why,
               test_each_call_of_the_driver_may_fail_once_or_for_ever)
