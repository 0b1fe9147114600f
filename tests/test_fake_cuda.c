//  Tests of the fake CUDA driver: that it answers as a driver does, and that its books catch what
//  they promise to catch. Whoever tests the CUDA backend with it relies on both.

#include "gpb_clock.h"
#include "gpb_test_cuda.h"

#include <dlfcn.h>
#include <elf.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define FLOATS 1000
#define CUBIN "fake cubin sm_90: add fail halt never nothing stay write"

static const gpb_test_cuda_t *s_fake;
static const gpb_cuda_driver_t *s_cuda;

//  ---------------------------------------------------------------------------------------------------------
//  Kernels

static atomic_uint s_started, s_let_go, s_written;

static CUresult
s_add (const gpb_fake_cuda_launch_t *launch)
{
    CUdeviceptr addresses [3];
    int count;
    for (unsigned index = 0; index < 3; index++)
        memcpy (&addresses [index], launch->parameters [index], sizeof addresses [index]);
    memcpy (&count, launch->parameters [3], sizeof count);
    const float *a = s_fake->range (addresses [0], (size_t) count * sizeof *a);
    const float *b = s_fake->range (addresses [1], (size_t) count * sizeof *b);
    float *c = s_fake->range (addresses [2], (size_t) count * sizeof *c);
    if (!a || !b || !c)
        return CUDA_ERROR_ILLEGAL_ADDRESS;
    for (int index = 0; index < count; index++)
        c [index] = a [index] + b [index];
    return CUDA_SUCCESS;
}

static CUresult
s_fail (const gpb_fake_cuda_launch_t *launch)
{
    (void) launch;
    return CUDA_ERROR_ILLEGAL_ADDRESS;
}

//  Ends when it is let go.
static CUresult
s_halt (const gpb_fake_cuda_launch_t *launch)
{
    (void) launch;
    atomic_fetch_add (&s_started, 1);
    while (!atomic_load (&s_let_go))
        sched_yield ();
    return CUDA_SUCCESS;
}

//  As a persistent kernel of ours: until it is stopped, or killed.
static CUresult
s_stay (const gpb_fake_cuda_launch_t *launch)
{
    (void) launch;
    atomic_fetch_add (&s_started, 1);
    while (!atomic_load (&s_let_go) && !s_fake->killed ())
        sched_yield ();
    return CUDA_SUCCESS;
}

static CUresult
s_write (const gpb_fake_cuda_launch_t *launch)
{
    (void) launch;
    atomic_fetch_add (&s_written, 1);
    return CUDA_SUCCESS;
}

static void
s_wait_for (const atomic_uint *number, unsigned least)
{
    while (atomic_load (number) < least)
        sched_yield ();
}

//  ---------------------------------------------------------------------------------------------------------
//  What most tests begin and end with

static void
s_load_driver (void)
{
    s_fake = gpb_test_cuda ();
    s_cuda = &s_fake->cuda;
}

static void
s_define (const char *name, gpb_fake_cuda_kernel_t *run, bool is_persistent)
{
    const gpb_fake_cuda_function_t function = { .name = name,
                                                .run = run,
                                                .is_persistent = is_persistent };
    s_fake->define (&function);
}

//  The first device's context, current on this thread.
static CUcontext
s_open (void)
{
    CUcontext context = NULL;
    s_load_driver ();
    const gpb_fake_cuda_function_t add = {
        .name = "add", .run = s_add, .parameters_count = 4, .parameters = { 8, 8, 8, 4 }
    };
    s_fake->define (&add);
    s_define ("fail", s_fail, false);
    s_define ("halt", s_halt, false);
    s_define ("stay", s_stay, true);
    s_define ("write", s_write, false);
    ck_assert_cuda_ok (s_cuda->cuInit (0));
    ck_assert_cuda_ok (s_cuda->cuDevicePrimaryCtxRetain (&context, 0));
    ck_assert_cuda_ok (s_cuda->cuCtxPushCurrent (context));
    return context;
}

static void
s_close (void)
{
    ck_assert_cuda_ok (s_cuda->cuCtxPopCurrent (NULL));
    ck_assert_cuda_ok (s_cuda->cuDevicePrimaryCtxRelease (0));
    gpb_test_cuda_expect_fault (NULL);
}

static CUstream
s_stream (void)
{
    CUstream stream = NULL;
    ck_assert_cuda_ok (s_cuda->cuStreamCreate (&stream, CU_STREAM_NON_BLOCKING));
    return stream;
}

static void
s_end_stream (CUstream stream)
{
    ck_assert_cuda_ok (s_cuda->cuStreamSynchronize (stream));
    ck_assert_cuda_ok (s_cuda->cuStreamDestroy (stream));
}

static CUevent
s_event (unsigned flags)
{
    CUevent event = NULL;
    ck_assert_cuda_ok (s_cuda->cuEventCreate (&event, flags));
    return event;
}

static CUmodule
s_module (const char *image)
{
    CUmodule module = NULL;
    ck_assert_cuda_ok (s_cuda->cuModuleLoadDataEx (&module, image, 0, NULL, NULL));
    return module;
}

static CUfunction
s_function (CUmodule module, const char *name)
{
    CUfunction function = NULL;
    ck_assert_cuda_ok (s_cuda->cuModuleGetFunction (&function, module, name));
    return function;
}

static CUresult
s_launch (CUfunction function, CUstream stream, void **parameters)
{
    return s_cuda->cuLaunchKernel (function, 1, 1, 1, 32, 1, 1, 0, stream, parameters, NULL);
}

static CUdeviceptr
s_allocate (size_t size)
{
    CUdeviceptr address = 0;
    ck_assert_cuda_ok (s_cuda->cuMemAlloc (&address, size));
    return address;
}

static CUmemoryPool
s_pool (uint64_t threshold)
{
    const CUmemPoolProps properties = { .allocType = CU_MEM_ALLOCATION_TYPE_PINNED,
                                        .location = { CU_MEM_LOCATION_TYPE_DEVICE, 0 } };
    CUmemoryPool pool = NULL;
    ck_assert_cuda_ok (s_cuda->cuMemPoolCreate (&pool, &properties));
    ck_assert_cuda_ok (
        s_cuda->cuMemPoolSetAttribute (pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &threshold));
    return pool;
}

static size_t
s_free_size (void)
{
    size_t free_size = 0, total_size = 0;
    ck_assert_cuda_ok (s_cuda->cuMemGetInfo (&free_size, &total_size));
    return free_size;
}

//  ---------------------------------------------------------------------------------------------------------
//  Driver, devices and contexts

START_TEST (test_the_driver_is_found_by_its_soname_and_exports_what_it_must)
{
    s_load_driver ();
    void *library = dlopen ("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    ck_assert_ptr_nonnull (library);
    void *function = dlsym (library, "cuMemFree_v2"), *known;
    memcpy (&known, &s_cuda->cuMemFree, sizeof known);
    ck_assert_ptr_eq (function, known);
    ck_assert_ptr_null (dlsym (library, "gpb_fake_cuda_begin"));
    ck_assert_ptr_null (dlsym (library, "gpb_fake_cuda_lock"));
    unsigned count = 0;
    while (s_fake->call (count))
        ck_assert_uint_eq (s_fake->calls (s_fake->call (count++)), 0);
    ck_assert_uint_eq (count, sizeof *s_cuda / sizeof function);
}
END_TEST

START_TEST (test_nothing_works_before_it_is_initialised)
{
    s_load_driver ();
    int number;
    CUdevice device;
    CUcontext context;
    CUstream stream;
    ck_assert_cuda (s_cuda->cuDeviceGetCount (&number), CUDA_ERROR_NOT_INITIALIZED);
    ck_assert_cuda (s_cuda->cuDeviceGet (&device, 0), CUDA_ERROR_NOT_INITIALIZED);
    ck_assert_cuda (s_cuda->cuDevicePrimaryCtxRetain (&context, 0), CUDA_ERROR_NOT_INITIALIZED);
    ck_assert_cuda (s_cuda->cuCtxPopCurrent (&context), CUDA_ERROR_NOT_INITIALIZED);
    ck_assert_cuda (s_cuda->cuStreamCreate (&stream, 0), CUDA_ERROR_NOT_INITIALIZED);
    ck_assert_cuda_ok (s_cuda->cuDriverGetVersion (&number));
    ck_assert_int_eq (number, 13000);
}
END_TEST

START_TEST (test_a_driver_without_devices_does_not_start)
{
    setenv ("GPB_FAKE_CUDA_DEVICES", "0", 1);
    s_load_driver ();
    ck_assert_cuda (s_cuda->cuInit (0), CUDA_ERROR_NO_DEVICE);
    int count;
    ck_assert_cuda (s_cuda->cuDeviceGetCount (&count), CUDA_ERROR_NOT_INITIALIZED);
}
END_TEST

static int
s_attribute (CUdevice device, CUdevice_attribute attribute)
{
    int value = -1;
    ck_assert_cuda_ok (s_cuda->cuDeviceGetAttribute (&value, attribute, device));
    return value;
}

START_TEST (test_devices_are_as_the_environment_says)
{
    setenv ("GPB_FAKE_CUDA_DEVICES", "3", 1);
    setenv ("GPB_FAKE_CUDA_BAD", "1", 1);
    setenv ("GPB_FAKE_CUDA_MEMORY", "12345", 1);
    setenv ("GPB_FAKE_CUDA_CAPABILITY", "86", 1);
    setenv ("GPB_FAKE_CUDA_UNITS", "7", 1);
    setenv ("GPB_FAKE_CUDA_VERSION", "12040", 1);
    setenv ("GPB_FAKE_CUDA_POOLS", "0", 1);
    s_load_driver ();
    ck_assert_cuda_ok (s_cuda->cuInit (0));
    int number, can;
    size_t size;
    char text [32];
    CUdevice device;
    CUcontext context;
    ck_assert_cuda_ok (s_cuda->cuDriverGetVersion (&number));
    ck_assert_int_eq (number, 12040);
    ck_assert_cuda_ok (s_cuda->cuDeviceGetCount (&number));
    ck_assert_int_eq (number, 3);
    ck_assert_cuda (s_cuda->cuDeviceGet (&device, 3), CUDA_ERROR_INVALID_DEVICE);
    ck_assert_cuda_ok (s_cuda->cuDeviceGet (&device, 2));
    ck_assert_cuda_ok (s_cuda->cuDeviceTotalMem (&size, device));
    ck_assert_uint_eq (size, 12345);
    ck_assert_cuda_ok (s_cuda->cuDeviceGetName (text, sizeof text, device));
    ck_assert_str_eq (text, "fake CUDA 2");
    ck_assert_cuda_ok (s_cuda->cuDeviceGetPCIBusId (text, sizeof text, device));
    ck_assert_str_eq (text, "0000:67:00.0");
    ck_assert_cuda (s_cuda->cuDeviceGetPCIBusId (text, 12, device), CUDA_ERROR_INVALID_VALUE);
    ck_assert_cuda_ok (s_cuda->cuDeviceCanAccessPeer (&can, device, 0));
    ck_assert_int_eq (can, 0);
    ck_assert_int_eq (s_attribute (device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR), 8);
    ck_assert_int_eq (s_attribute (device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR), 6);
    ck_assert_int_eq (s_attribute (device, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT), 7);
    ck_assert_int_eq (s_attribute (device, CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED), 0);
    ck_assert_int_eq (s_attribute (device, CU_DEVICE_ATTRIBUTE_WARP_SIZE), 32);
    ck_assert_cuda (s_cuda->cuDevicePrimaryCtxRetain (&context, 1), CUDA_ERROR_DEVICE_UNAVAILABLE);
    ck_assert_cuda_ok (s_cuda->cuDevicePrimaryCtxRetain (&context, 2));
    ck_assert_cuda_ok (s_cuda->cuCtxPushCurrent (context));
    CUmemoryPool pool;
    const CUmemPoolProps properties = { .allocType = CU_MEM_ALLOCATION_TYPE_PINNED,
                                        .location = { CU_MEM_LOCATION_TYPE_DEVICE, 2 } };
    ck_assert_cuda (s_cuda->cuMemPoolCreate (&pool, &properties), CUDA_ERROR_NOT_SUPPORTED);
    ck_assert_cuda_ok (s_cuda->cuCtxPopCurrent (NULL));
    ck_assert_cuda_ok (s_cuda->cuDevicePrimaryCtxRelease (2));
}
END_TEST

START_TEST (test_a_device_in_prohibited_mode_says_so_and_gives_no_context)
{
    setenv ("GPB_FAKE_CUDA_COMPUTE_MODE", "2", 1);
    s_load_driver ();
    ck_assert_cuda_ok (s_cuda->cuInit (0));
    CUcontext context;
    ck_assert_int_eq (s_attribute (0, CU_DEVICE_ATTRIBUTE_COMPUTE_MODE), CU_COMPUTEMODE_PROHIBITED);
    ck_assert_cuda (s_cuda->cuDevicePrimaryCtxRetain (&context, 0), CUDA_ERROR_UNKNOWN);
}
END_TEST

START_TEST (test_an_old_driver_lacks_what_is_newer)
{
    setenv ("GPB_FAKE_CUDA_OLD", "1", 1);
    s_open ();
    CUmodule module = s_module (CUBIN);
    CUfunction function = s_function (module, "add");
    CUmoduleLoadingMode mode;
    size_t offset, size;
    ck_assert_cuda (s_cuda->cuModuleGetLoadingMode (&mode), CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER);
    ck_assert_cuda (s_cuda->cuFuncLoad (function), CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER);
    ck_assert_cuda (s_cuda->cuFuncGetParamInfo (function, 0, &offset, &size),
                    CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER);
    ck_assert_cuda_ok (s_cuda->cuModuleUnload (module));
    s_close ();
}
END_TEST

START_TEST (test_errors_have_names)
{
    s_load_driver ();
    const char *text = NULL;
    ck_assert_cuda_ok (s_cuda->cuGetErrorName (CUDA_ERROR_ILLEGAL_ADDRESS, &text));
    ck_assert_str_eq (text, "CUDA_ERROR_ILLEGAL_ADDRESS");
    ck_assert_cuda_ok (s_cuda->cuGetErrorString (CUDA_ERROR_ILLEGAL_ADDRESS, &text));
    ck_assert_ptr_nonnull (text);
    ck_assert_cuda (s_cuda->cuGetErrorName ((CUresult) 12345, &text), CUDA_ERROR_INVALID_VALUE);
    ck_assert_ptr_null (text);
}
END_TEST

static void *
s_try_without_context (void *argument)
{
    (void) argument;
    CUdeviceptr address;
    CUevent event;
    size_t size;
    ck_assert_cuda (s_cuda->cuMemAlloc (&address, 1), CUDA_ERROR_INVALID_CONTEXT);
    ck_assert_cuda (s_cuda->cuEventCreate (&event, 0), CUDA_ERROR_INVALID_CONTEXT);
    ck_assert_cuda (s_cuda->cuMemGetInfo (&size, &size), CUDA_ERROR_INVALID_CONTEXT);
    return NULL;
}

START_TEST (test_a_context_is_current_on_the_thread_that_has_pushed_it)
{
    setenv ("GPB_FAKE_CUDA_DEVICES", "2", 1);
    setenv ("GPB_FAKE_CUDA_MEMORY", "1000", 1);
    CUcontext first = s_open (), second, popped;
    pthread_t thread;
    ck_assert_int_eq (pthread_create (&thread, NULL, s_try_without_context, NULL), 0);
    ck_assert_int_eq (pthread_join (thread, NULL), 0);
    CUdeviceptr address = s_allocate (400);
    ck_assert_cuda_ok (s_cuda->cuDevicePrimaryCtxRetain (&second, 1));
    ck_assert_cuda_ok (s_cuda->cuCtxPushCurrent (second));
    ck_assert_uint_eq (s_free_size (), 1000);
    ck_assert_cuda_ok (s_cuda->cuCtxPopCurrent (&popped));
    ck_assert_ptr_eq (popped, second);
    ck_assert_uint_eq (s_free_size (), 600);
    ck_assert_cuda_ok (s_cuda->cuMemFree (address));
    ck_assert_cuda_ok (s_cuda->cuDevicePrimaryCtxRelease (1));
    ck_assert_cuda_ok (s_cuda->cuCtxPopCurrent (&popped));
    ck_assert_ptr_eq (popped, first);
    ck_assert_cuda_ok (s_cuda->cuDevicePrimaryCtxRelease (0));
}
END_TEST

START_TEST (test_a_primary_context_is_there_until_its_last_release)
{
    CUcontext context = s_open (), again = NULL;
    ck_assert_cuda_ok (s_cuda->cuDevicePrimaryCtxRetain (&again, 0));
    ck_assert_ptr_eq (again, context);
    ck_assert_cuda_ok (s_cuda->cuDevicePrimaryCtxRelease (0));
    CUdeviceptr address = s_allocate (1);
    ck_assert_cuda_ok (s_cuda->cuMemFree (address));
    s_close ();
    ck_assert_cuda_ok (s_cuda->cuDevicePrimaryCtxRetain (&again, 0));
    ck_assert_cuda_ok (s_cuda->cuDevicePrimaryCtxRelease (0));
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Streams, events and callbacks

START_TEST (test_a_kernel_adds_what_was_copied_in)
{
    s_open ();
    CUstream stream = s_stream ();
    CUmodule module = s_module (CUBIN);
    CUfunction function = s_function (module, "add");
    float a [FLOATS], b [FLOATS], c [FLOATS];
    for (int index = 0; index < FLOATS; index++) {
        a [index] = (float) index;
        b [index] = 2 * (float) index;
    }
    CUdeviceptr memory = s_allocate (3 * sizeof a);
    CUdeviceptr places [] = { memory, memory + sizeof a, memory + 2 * sizeof a };
    int count = FLOATS;
    void *parameters [] = { &places [0], &places [1], &places [2], &count };
    ck_assert_cuda_ok (s_cuda->cuMemcpyHtoDAsync (places [0], a, sizeof a, stream));
    ck_assert_cuda_ok (s_cuda->cuMemcpyHtoDAsync (places [1], b, sizeof b, stream));
    ck_assert_cuda_ok (s_launch (function, stream, parameters));
    memset (places, 0, sizeof places);    //  the values are the launch's own
    count = -1;
    ck_assert_cuda_ok (s_cuda->cuMemcpyDtoHAsync (c, memory + 2 * sizeof a, sizeof c, stream));
    ck_assert_cuda_ok (s_cuda->cuStreamSynchronize (stream));
    for (int index = 0; index < FLOATS; index++)
        ck_assert_float_eq (c [index], 3 * (float) index);
    ck_assert_cuda_ok (s_cuda->cuMemFree (memory));
    ck_assert_cuda_ok (s_cuda->cuModuleUnload (module));
    s_end_stream (stream);
    s_close ();
}
END_TEST

START_TEST (test_copies_go_all_ways_and_memsets_are_bytes)
{
    s_open ();
    CUstream stream = s_stream ();
    char in [] = "what goes in", out [sizeof in] = "", set [4];
    void *pinned;
    CUdeviceptr mapped;
    CUdeviceptr one = s_allocate (sizeof in), two = s_allocate (sizeof in);
    ck_assert_cuda_ok (s_cuda->cuMemHostAlloc (&pinned, sizeof in, 3));
    ck_assert_cuda_ok (s_cuda->cuMemHostGetDevicePointer (&mapped, pinned, 0));
    ck_assert_uint_eq (mapped, (CUdeviceptr) (uintptr_t) pinned);
    ck_assert_cuda_ok (
        s_cuda->cuMemcpyAsync (mapped, (CUdeviceptr) (uintptr_t) in, sizeof in, stream));
    ck_assert_cuda_ok (s_cuda->cuMemcpyHtoDAsync (one, pinned, sizeof in, stream));
    ck_assert_cuda_ok (s_cuda->cuMemcpyDtoDAsync (two, one, sizeof in, stream));
    ck_assert_cuda_ok (s_cuda->cuMemcpyDtoHAsync (out, two, sizeof in, stream));
    ck_assert_cuda_ok (s_cuda->cuMemsetD8Async (one, 7, sizeof set, stream));
    ck_assert_cuda_ok (s_cuda->cuMemcpyDtoHAsync (set, one, sizeof set, stream));
    ck_assert_cuda_ok (s_cuda->cuStreamSynchronize (stream));
    ck_assert_str_eq (out, in);
    ck_assert_mem_eq (set, "\7\7\7\7", sizeof set);
    ck_assert_cuda_ok (s_cuda->cuMemFreeHost (pinned));
    ck_assert_cuda_ok (s_cuda->cuMemFree (one));
    ck_assert_cuda_ok (s_cuda->cuMemFree (two));
    s_end_stream (stream);
    s_close ();
}
END_TEST

START_TEST (test_streams_run_side_by_side_and_each_in_order)
{
    s_open ();
    CUstream one = s_stream (), two = s_stream ();
    CUmodule module = s_module (CUBIN);
    CUfunction halt = s_function (module, "halt"), write = s_function (module, "write");
    CUevent behind = s_event (CU_EVENT_DISABLE_TIMING);
    ck_assert_cuda_ok (s_cuda->cuEventQuery (behind));    //  never recorded
    ck_assert_cuda_ok (s_launch (halt, one, NULL));
    ck_assert_cuda_ok (s_launch (write, one, NULL));
    ck_assert_cuda_ok (s_cuda->cuEventRecord (behind, one));
    ck_assert_cuda_ok (s_launch (halt, two, NULL));
    s_wait_for (&s_started, 2);
    ck_assert_uint_eq (atomic_load (&s_written), 0);
    ck_assert_cuda (s_cuda->cuEventQuery (behind), CUDA_ERROR_NOT_READY);
    atomic_store (&s_let_go, 1);
    ck_assert_cuda_ok (s_cuda->cuStreamSynchronize (one));
    ck_assert_uint_eq (atomic_load (&s_written), 1);
    ck_assert_cuda_ok (s_cuda->cuEventQuery (behind));
    s_end_stream (one);
    s_end_stream (two);
    ck_assert_cuda_ok (s_cuda->cuEventDestroy (behind));
    ck_assert_cuda_ok (s_cuda->cuModuleUnload (module));
    s_close ();
}
END_TEST

START_TEST (test_a_stream_waits_for_what_an_event_was_when_it_was_told_to)
{
    s_open ();
    CUstream one = s_stream (), two = s_stream ();
    CUmodule module = s_module (CUBIN);
    CUevent event = s_event (CU_EVENT_DISABLE_TIMING), reached = s_event (CU_EVENT_DISABLE_TIMING);
    ck_assert_cuda_ok (s_launch (s_function (module, "halt"), one, NULL));
    ck_assert_cuda_ok (s_cuda->cuEventRecord (event, one));
    ck_assert_cuda_ok (s_cuda->cuStreamWaitEvent (two, event, 0));
    ck_assert_cuda_ok (s_launch (s_function (module, "write"), two, NULL));
    ck_assert_cuda_ok (s_cuda->cuEventRecord (reached, two));
    s_wait_for (&s_started, 1);
    CUstream three = s_stream ();
    ck_assert_cuda_ok (s_cuda->cuEventRecord (event, three));
    ck_assert_cuda_ok (s_cuda->cuStreamSynchronize (three));
    ck_assert_cuda_ok (s_cuda->cuEventQuery (event));
    ck_assert_cuda (s_cuda->cuEventQuery (reached), CUDA_ERROR_NOT_READY);
    ck_assert_uint_eq (atomic_load (&s_written), 0);
    atomic_store (&s_let_go, 1);
    s_end_stream (two);
    ck_assert_uint_eq (atomic_load (&s_written), 1);
    s_end_stream (one);
    s_end_stream (three);
    ck_assert_cuda_ok (s_cuda->cuEventDestroy (event));
    ck_assert_cuda_ok (s_cuda->cuEventDestroy (reached));
    ck_assert_cuda_ok (s_cuda->cuModuleUnload (module));
    s_close ();
}
END_TEST

START_TEST (test_events_tell_how_long_a_command_took_if_they_are_to)
{
    setenv ("GPB_FAKE_CUDA_COMPUTE_US", "3000", 1);
    setenv ("GPB_FAKE_CUDA_COPY_US", "2000", 1);
    s_open ();
    CUstream stream = s_stream ();
    CUmodule module = s_module (CUBIN);
    CUevent start = s_event (CU_EVENT_DEFAULT), middle = s_event (CU_EVENT_DEFAULT);
    CUevent end = s_event (CU_EVENT_DEFAULT), plain = s_event (CU_EVENT_DISABLE_TIMING);
    CUdeviceptr memory = s_allocate (1);
    float ms = 0;
    ck_assert_cuda (s_cuda->cuEventElapsedTime (&ms, start, end), CUDA_ERROR_INVALID_HANDLE);
    ck_assert_cuda_ok (s_cuda->cuEventRecord (start, stream));
    ck_assert_cuda_ok (s_launch (s_function (module, "nothing"), stream, NULL));
    ck_assert_cuda_ok (s_cuda->cuEventRecord (middle, stream));
    ck_assert_cuda_ok (s_cuda->cuMemsetD8Async (memory, 0, 1, stream));
    ck_assert_cuda_ok (s_cuda->cuEventRecord (end, stream));
    ck_assert_cuda_ok (s_cuda->cuEventRecord (plain, stream));
    ck_assert_cuda (s_cuda->cuEventElapsedTime (&ms, start, end), CUDA_ERROR_NOT_READY);
    ck_assert_cuda_ok (s_cuda->cuStreamSynchronize (stream));
    ck_assert_cuda_ok (s_cuda->cuEventElapsedTime (&ms, start, middle));
    ck_assert_float_ge (ms, 3);
    ck_assert_cuda_ok (s_cuda->cuEventElapsedTime (&ms, middle, end));
    ck_assert_float_ge (ms, 2);
    ck_assert_cuda_ok (s_cuda->cuEventElapsedTime (&ms, end, start));
    ck_assert_float_le (ms, -5);
    ck_assert_cuda (s_cuda->cuEventElapsedTime (&ms, start, plain), CUDA_ERROR_INVALID_HANDLE);
    CUevent events [] = { start, middle, end, plain };
    for (unsigned index = 0; index < 4; index++)
        ck_assert_cuda_ok (s_cuda->cuEventDestroy (events [index]));
    ck_assert_cuda_ok (s_cuda->cuMemFree (memory));
    ck_assert_cuda_ok (s_cuda->cuModuleUnload (module));
    s_end_stream (stream);
    s_close ();
}
END_TEST

typedef struct {
    CUstream stream;
    pthread_t thread;
    CUresult result;
    atomic_uint count;
} called_t;

static void
s_call_back (CUstream stream, CUresult result, void *argument)
{
    called_t *called = argument;
    called->stream = stream;
    called->thread = pthread_self ();
    called->result = result;
    atomic_fetch_add (&called->count, 1);
}

START_TEST (test_callbacks_come_in_order_from_a_thread_of_the_drivers)
{
    s_open ();
    CUstream stream = s_stream ();
    CUmodule module = s_module (CUBIN);
    called_t called = { .result = CUDA_ERROR_UNKNOWN };
    ck_assert_cuda_ok (s_launch (s_function (module, "halt"), stream, NULL));
    ck_assert_cuda_ok (s_cuda->cuStreamAddCallback (stream, s_call_back, &called, 0));
    s_wait_for (&s_started, 1);
    ck_assert_uint_eq (atomic_load (&called.count), 0);
    atomic_store (&s_let_go, 1);
    ck_assert_cuda_ok (s_cuda->cuStreamSynchronize (stream));
    ck_assert_uint_eq (atomic_load (&called.count), 1);
    ck_assert_ptr_eq (called.stream, stream);
    ck_assert_int_eq (called.result, CUDA_SUCCESS);
    ck_assert (!pthread_equal (called.thread, pthread_self ()));
    ck_assert_cuda_ok (s_cuda->cuModuleUnload (module));
    s_end_stream (stream);
    s_close ();
}
END_TEST

START_TEST (test_a_stream_that_is_destroyed_still_does_its_work)
{
    s_open ();
    CUstream stream = s_stream ();
    CUmodule module = s_module (CUBIN);
    called_t called = { .result = CUDA_ERROR_UNKNOWN };
    ck_assert_cuda_ok (s_launch (s_function (module, "halt"), stream, NULL));
    ck_assert_cuda_ok (s_cuda->cuStreamAddCallback (stream, s_call_back, &called, 0));
    ck_assert_cuda_ok (s_cuda->cuStreamDestroy (stream));
    ck_assert_uint_eq (atomic_load (&called.count), 0);
    atomic_store (&s_let_go, 1);
    s_wait_for (&called.count, 1);
    ck_assert_cuda_ok (s_cuda->cuModuleUnload (module));
    s_close ();
}
END_TEST

START_TEST (test_no_more_kernels_run_at_once_than_there_are_units)
{
    setenv ("GPB_FAKE_CUDA_UNITS", "2", 1);
    s_open ();
    CUstream streams [3] = { s_stream (), s_stream (), s_stream () };
    CUmodule module = s_module (CUBIN);
    CUfunction halt = s_function (module, "halt");
    CUdeviceptr memory = s_allocate (1);
    CUevent event = s_event (CU_EVENT_DISABLE_TIMING);
    ck_assert_cuda_ok (s_launch (halt, streams [0], NULL));
    ck_assert_cuda_ok (s_launch (halt, streams [1], NULL));
    s_wait_for (&s_started, 2);
    ck_assert_cuda_ok (s_cuda->cuMemsetD8Async (memory, 0, 1, streams [2]));
    ck_assert_cuda_ok (s_cuda->cuStreamSynchronize (streams [2]));    //  copies need none
    ck_assert_cuda_ok (s_launch (s_function (module, "write"), streams [2], NULL));
    ck_assert_cuda_ok (s_cuda->cuEventRecord (event, streams [2]));
    ck_assert_cuda (s_cuda->cuEventQuery (event), CUDA_ERROR_NOT_READY);
    ck_assert_uint_eq (atomic_load (&s_written), 0);
    atomic_store (&s_let_go, 1);
    for (unsigned index = 0; index < 3; index++)
        s_end_stream (streams [index]);
    ck_assert_uint_eq (atomic_load (&s_written), 1);
    ck_assert_cuda_ok (s_cuda->cuMemFree (memory));
    ck_assert_cuda_ok (s_cuda->cuEventDestroy (event));
    ck_assert_cuda_ok (s_cuda->cuModuleUnload (module));
    s_close ();
}
END_TEST

START_TEST (test_a_kernel_that_fails_takes_its_context_with_it)
{
    s_open ();
    CUstream one = s_stream (), two = s_stream ();
    CUmodule module = s_module (CUBIN);
    CUfunction write = s_function (module, "write"), stay = s_function (module, "stay");
    CUevent event = s_event (CU_EVENT_DISABLE_TIMING);
    called_t here = { .result = CUDA_SUCCESS }, there = { .result = CUDA_SUCCESS };
    CUdeviceptr memory = s_allocate (1);
    ck_assert_cuda_ok (s_launch (stay, two, NULL));
    ck_assert_cuda_ok (s_launch (write, two, NULL));
    ck_assert_cuda_ok (s_cuda->cuStreamAddCallback (two, s_call_back, &there, 0));
    ck_assert_cuda_ok (s_launch (s_function (module, "halt"), one, NULL));
    ck_assert_cuda_ok (s_launch (s_function (module, "fail"), one, NULL));
    ck_assert_cuda_ok (s_launch (write, one, NULL));
    ck_assert_cuda_ok (s_cuda->cuEventRecord (event, one));
    ck_assert_cuda_ok (s_cuda->cuStreamAddCallback (one, s_call_back, &here, 0));
    s_wait_for (&s_started, 2);
    s_define ("halt", NULL, false);
    atomic_store (&s_let_go, 1);
    s_wait_for (&here.count, 1);
    s_wait_for (&there.count, 1);
    ck_assert_int_eq (here.result, CUDA_ERROR_ILLEGAL_ADDRESS);
    const CUresult sticky = CUDA_ERROR_ILLEGAL_ADDRESS;
    CUstream stream;
    CUcontext context;
    size_t size;
    ck_assert_cuda (s_cuda->cuEventQuery (event), sticky);
    ck_assert_cuda (s_cuda->cuStreamSynchronize (two), sticky);
    ck_assert_cuda (s_cuda->cuMemGetInfo (&size, &size), sticky);
    ck_assert_cuda (s_cuda->cuStreamCreate (&stream, 0), sticky);
    ck_assert_cuda (s_launch (write, two, NULL), sticky);
    ck_assert_cuda (s_cuda->cuMemFree (memory), sticky);
    ck_assert_cuda (s_cuda->cuEventDestroy (event), sticky);
    ck_assert_cuda (s_cuda->cuModuleUnload (module), sticky);
    ck_assert_cuda (s_cuda->cuDevicePrimaryCtxRetain (&context, 0), sticky);
    s_close ();    //  with all of it left, which is no fault now
    ck_assert_cuda (s_cuda->cuDevicePrimaryCtxRetain (&context, 0), sticky);
}
END_TEST

START_TEST (test_a_failed_context_kills_what_stays_and_runs_nothing_behind_it)
{
    s_open ();
    CUstream one = s_stream (), two = s_stream ();
    CUmodule module = s_module (CUBIN);
    called_t there = { .result = CUDA_SUCCESS };
    ck_assert_cuda_ok (s_launch (s_function (module, "stay"), two, NULL));
    ck_assert_cuda_ok (s_launch (s_function (module, "write"), two, NULL));
    ck_assert_cuda_ok (s_cuda->cuStreamAddCallback (two, s_call_back, &there, 0));
    s_wait_for (&s_started, 1);
    ck_assert_cuda_ok (s_launch (s_function (module, "fail"), one, NULL));
    s_wait_for (&there.count, 1);
    ck_assert_int_eq (there.result, CUDA_ERROR_ILLEGAL_ADDRESS);
    ck_assert_uint_eq (atomic_load (&s_written), 0);
    s_close ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Memory

START_TEST (test_memory_is_bounded_and_comes_back)
{
    setenv ("GPB_FAKE_CUDA_MEMORY", "1000", 1);
    s_open ();
    CUdeviceptr more = 0, memory = s_allocate (600);
    ck_assert_uint_eq (s_free_size (), 400);
    ck_assert_cuda (s_cuda->cuMemAlloc (&more, 401), CUDA_ERROR_OUT_OF_MEMORY);
    ck_assert_cuda (s_cuda->cuMemAlloc (&more, 0), CUDA_ERROR_INVALID_VALUE);
    void *pinned;
    ck_assert_cuda_ok (s_cuda->cuMemHostAlloc (&pinned, 5000, 0));
    ck_assert_uint_eq (s_free_size (), 400);
    ck_assert_cuda_ok (s_cuda->cuMemFreeHost (pinned));
    ck_assert_cuda_ok (s_cuda->cuMemFree (memory));
    ck_assert_cuda_ok (s_cuda->cuMemFree (0));
    ck_assert_uint_eq (s_free_size (), 1000);
    s_close ();
}
END_TEST

static CUresult
s_allocate_from (CUmemoryPool pool, size_t size, CUstream stream, CUdeviceptr *address)
{
    CUresult result = s_cuda->cuMemAllocFromPoolAsync (address, size, pool, stream);
    if (result == CUDA_SUCCESS)
        ck_assert_cuda_ok (s_cuda->cuStreamSynchronize (stream));
    return result;
}

static uint64_t
s_pool_attribute (CUmemoryPool pool, CUmemPool_attribute attribute)
{
    uint64_t value = 0;
    ck_assert_cuda_ok (s_cuda->cuMemPoolGetAttribute (pool, attribute, &value));
    return value;
}

START_TEST (test_a_pool_keeps_what_is_freed_until_it_is_trimmed)
{
    setenv ("GPB_FAKE_CUDA_MEMORY", "1000", 1);
    s_open ();
    CUstream stream = s_stream ();
    CUmemoryPool pool = s_pool (UINT64_MAX);
    CUdeviceptr one, two, large;
    ck_assert_cuda_ok (s_allocate_from (pool, 300, stream, &one));
    ck_assert_cuda_ok (s_allocate_from (pool, 300, stream, &two));
    ck_assert_cuda_ok (s_cuda->cuMemFreeAsync (one, stream));
    ck_assert_cuda_ok (s_cuda->cuMemFreeAsync (two, stream));
    ck_assert_uint_eq (s_free_size (), 400);
    ck_assert_uint_eq (s_pool_attribute (pool, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT), 600);
    ck_assert_uint_eq (s_pool_attribute (pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT), 0);
    //  It lies in pieces of 300; one of them serves what fits.
    ck_assert_cuda (s_allocate_from (pool, 500, stream, &large), CUDA_ERROR_OUT_OF_MEMORY);
    ck_assert_cuda_ok (s_allocate_from (pool, 200, stream, &one));
    ck_assert_uint_eq (s_pool_attribute (pool, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT), 600);
    ck_assert_uint_eq (s_pool_attribute (pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT), 200);
    ck_assert_cuda_ok (s_cuda->cuStreamSynchronize (stream));
    ck_assert_cuda_ok (s_cuda->cuMemPoolTrimTo (pool, 0));
    ck_assert_uint_eq (s_free_size (), 800);
    ck_assert_cuda_ok (s_allocate_from (pool, 500, stream, &large));
    ck_assert_cuda_ok (s_cuda->cuMemFreeAsync (large, stream));
    ck_assert_cuda_ok (s_cuda->cuMemFree (one));    //  either way frees a pool's
    ck_assert_cuda_ok (s_cuda->cuStreamSynchronize (stream));
    ck_assert_cuda_ok (s_cuda->cuMemPoolDestroy (pool));
    ck_assert_uint_eq (s_free_size (), 1000);
    s_end_stream (stream);
    s_close ();
}
END_TEST

START_TEST (test_a_pool_keeps_no_more_than_its_threshold_and_takes_no_more_than_its_bound)
{
    setenv ("GPB_FAKE_CUDA_MEMORY", "1000", 1);
    s_open ();
    CUstream stream = s_stream ();
    CUmemoryPool pool = s_pool (100), small;
    CUdeviceptr one, two;
    ck_assert_cuda_ok (s_allocate_from (pool, 100, stream, &one));
    ck_assert_cuda_ok (s_allocate_from (pool, 300, stream, &two));
    ck_assert_cuda_ok (s_cuda->cuMemFreeAsync (two, stream));
    ck_assert_cuda_ok (s_cuda->cuStreamSynchronize (stream));
    ck_assert_uint_eq (s_free_size (), 900);
    ck_assert_cuda_ok (s_cuda->cuMemFreeAsync (one, stream));
    ck_assert_cuda_ok (s_cuda->cuStreamSynchronize (stream));
    ck_assert_uint_eq (s_free_size (), 900);
    ck_assert_cuda_ok (s_cuda->cuMemPoolDestroy (pool));
    const CUmemPoolProps properties = { .allocType = CU_MEM_ALLOCATION_TYPE_PINNED,
                                        .location = { CU_MEM_LOCATION_TYPE_DEVICE, 0 },
                                        .maxSize = 50 };
    ck_assert_cuda_ok (s_cuda->cuMemPoolCreate (&small, &properties));
    ck_assert_cuda (s_allocate_from (small, 51, stream, &one), CUDA_ERROR_OUT_OF_MEMORY);
    ck_assert_cuda_ok (s_cuda->cuMemPoolDestroy (small));
    s_end_stream (stream);
    s_close ();
}
END_TEST

START_TEST (test_what_a_stream_has_not_freed_yet_is_reused_but_not_trimmed)
{
    setenv ("GPB_FAKE_CUDA_MEMORY", "1000", 1);
    s_open ();
    CUstream stream = s_stream ();
    CUmodule module = s_module (CUBIN);
    CUmemoryPool pool = s_pool (UINT64_MAX);
    CUdeviceptr memory, again;
    ck_assert_cuda_ok (s_allocate_from (pool, 600, stream, &memory));
    ck_assert_cuda_ok (s_launch (s_function (module, "halt"), stream, NULL));
    ck_assert_cuda_ok (s_cuda->cuMemFreeAsync (memory, stream));
    ck_assert_cuda_ok (s_cuda->cuMemPoolTrimTo (pool, 0));
    ck_assert_uint_eq (s_free_size (), 400);
    ck_assert_cuda_ok (s_cuda->cuMemAllocFromPoolAsync (&again, 600, pool, stream));
    atomic_store (&s_let_go, 1);
    ck_assert_cuda_ok (s_cuda->cuMemFreeAsync (again, stream));
    ck_assert_cuda_ok (s_cuda->cuStreamSynchronize (stream));
    ck_assert_cuda_ok (s_cuda->cuMemPoolTrimTo (pool, 0));
    ck_assert_uint_eq (s_free_size (), 1000);
    ck_assert_cuda_ok (s_cuda->cuMemPoolDestroy (pool));
    ck_assert_cuda_ok (s_cuda->cuModuleUnload (module));
    s_end_stream (stream);
    s_close ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Modules and launches

static CUresult
s_try_to_load (const void *image)
{
    CUmodule module;
    CUresult result = s_cuda->cuModuleLoadDataEx (&module, image, 0, NULL, NULL);
    if (result == CUDA_SUCCESS)
        ck_assert_cuda_ok (s_cuda->cuModuleUnload (module));
    return result;
}

START_TEST (test_an_image_must_be_one_and_for_this_device)
{
    s_open ();
    ck_assert_cuda_ok (s_try_to_load ("fake cubin"));
    ck_assert_cuda_ok (s_try_to_load ("fake cubin sm_90"));
    ck_assert_cuda (s_try_to_load ("fake cubin sm_80"), CUDA_ERROR_NO_BINARY_FOR_GPU);
    ck_assert_cuda_ok (s_try_to_load (".version 8.0 .target sm_80"));
    ck_assert_cuda (s_try_to_load (".version 8.0 .target sm_100"), CUDA_ERROR_NO_BINARY_FOR_GPU);
    ck_assert_cuda (s_try_to_load ("int main ()"), CUDA_ERROR_INVALID_IMAGE);
    ck_assert_cuda (s_try_to_load (NULL), CUDA_ERROR_INVALID_VALUE);
    s_close ();
}
END_TEST

START_TEST (test_what_does_not_compile_says_where_as_far_as_there_is_room)
{
    s_open ();
    char log [64] = "";
    CUjit_option options [] = { CU_JIT_OPTIMIZATION_LEVEL, CU_JIT_ERROR_LOG_BUFFER,
                                CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES };
    void *values [] = { NULL, log, (void *) sizeof log };
    CUmodule module;
    ck_assert_cuda (s_cuda->cuModuleLoadDataEx (&module, ".version 8.0 syntax error", 3, options,
                                                values),
                    CUDA_ERROR_INVALID_PTX);
    ck_assert_ptr_nonnull (strstr (log, "line 1; fatal   : syntax error"));
    ck_assert_uint_eq ((uintptr_t) values [2], strlen (log));
    values [2] = (void *) 6;
    ck_assert_cuda (s_cuda->cuModuleLoadDataEx (&module, ".version 8.0 syntax error", 3, options,
                                                values),
                    CUDA_ERROR_INVALID_PTX);
    ck_assert_str_eq (log, "ptxas");
    s_close ();
}
END_TEST

START_TEST (test_a_function_is_a_word_of_the_image_and_the_same_each_time)
{
    s_open ();
    CUmodule module = s_module ("fake cubin add_more add");
    CUfunction function = s_function (module, "add"), other;
    ck_assert_ptr_eq (s_function (module, "add"), function);
    ck_assert_ptr_ne (s_function (module, "add_more"), function);
    ck_assert_cuda (s_cuda->cuModuleGetFunction (&other, module, "more"), CUDA_ERROR_NOT_FOUND);
    ck_assert_cuda_ok (s_cuda->cuModuleUnload (module));
    s_close ();
}
END_TEST

//  As much of a cubin as says what is in it.
typedef struct {
    Elf64_Ehdr header;
    Elf64_Shdr sections [3];
    char names [64];
} cubin_t;

static cubin_t
s_cubin (unsigned char abi, unsigned flags)
{
    static const char names [] = "\0.shstrtab\0.text.add_one";
    cubin_t cubin = { .header = { .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64,
                                               ELFDATA2LSB, EV_CURRENT, 0x41, abi },
                                  .e_machine = 190,
                                  .e_flags = flags,
                                  .e_shoff = offsetof (cubin_t, sections),
                                  .e_shentsize = sizeof (Elf64_Shdr),
                                  .e_shnum = 3,
                                  .e_shstrndx = 1 },
                      .sections = { { .sh_type = SHT_NULL },
                                    { .sh_type = SHT_STRTAB,
                                      .sh_name = 1,
                                      .sh_offset = offsetof (cubin_t, names),
                                      .sh_size = sizeof names },
                                    { .sh_type = SHT_PROGBITS, .sh_name = 11 } } };
    memcpy (cubin.names, names, sizeof names);
    return cubin;
}

START_TEST (test_a_cubin_is_read_as_the_compiler_writes_it)
{
    s_open ();
    cubin_t *cubin = malloc (sizeof *cubin);
    ck_assert_ptr_nonnull (cubin);
    *cubin = s_cubin (8, 0x6005a04);    //  as NVRTC 13.0 has it for sm_90
    CUmodule module;
    ck_assert_cuda_ok (s_cuda->cuModuleLoadDataEx (&module, cubin, 0, NULL, NULL));
    *cubin = s_cubin (8, 0x6005004);
    ck_assert_cuda (s_try_to_load (cubin), CUDA_ERROR_NO_BINARY_FOR_GPU);
    *cubin = s_cubin (7, 0x5a055a);
    ck_assert_cuda_ok (s_try_to_load (cubin));
    cubin->header.e_machine = EM_X86_64;
    ck_assert_cuda (s_try_to_load (cubin), CUDA_ERROR_INVALID_IMAGE);
    free (cubin);
    CUfunction other;
    s_function (module, "add_one");
    ck_assert_cuda (s_cuda->cuModuleGetFunction (&other, module, "add"), CUDA_ERROR_NOT_FOUND);
    ck_assert_cuda_ok (s_cuda->cuModuleUnload (module));
    s_close ();
}
END_TEST

START_TEST (test_a_function_tells_its_parameters_and_limits)
{
    s_open ();
    const gpb_fake_cuda_function_t mixed = { .name = "mixed",
                                             .threads_max = 256,
                                             .shared_size = 1024,
                                             .parameters_count = 4,
                                             .parameters = { 4, 8, 1, 2 } };
    s_fake->define (&mixed);
    CUmodule module = s_module ("fake cubin mixed unknown");
    CUfunction function = s_function (module, "mixed");
    const size_t offsets [] = { 0, 8, 16, 18 };
    size_t offset, size;
    for (size_t index = 0; index < 4; index++) {
        ck_assert_cuda_ok (s_cuda->cuFuncGetParamInfo (function, index, &offset, &size));
        ck_assert_uint_eq (offset, offsets [index]);
        ck_assert_uint_eq (size, mixed.parameters [index]);
    }
    ck_assert_cuda (s_cuda->cuFuncGetParamInfo (function, 4, &offset, &size),
                    CUDA_ERROR_INVALID_VALUE);
    ck_assert_cuda (s_cuda->cuFuncGetParamInfo (s_function (module, "unknown"), 0, &offset, &size),
                    CUDA_ERROR_NOT_SUPPORTED);
    int value, grid;
    ck_assert_cuda_ok (
        s_cuda->cuFuncGetAttribute (&value, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, function));
    ck_assert_int_eq (value, 256);
    ck_assert_cuda_ok (
        s_cuda->cuFuncGetAttribute (&value, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, function));
    ck_assert_int_eq (value, 1024);
    ck_assert_cuda_ok (
        s_cuda->cuOccupancyMaxPotentialBlockSize (&grid, &value, function, NULL, 0, 0));
    ck_assert_int_eq (value, 256);
    ck_assert_int_eq (grid, 32);
    ck_assert_cuda_ok (s_cuda->cuModuleUnload (module));
    s_close ();
}
END_TEST

static CUresult
s_launch_shape (CUfunction function, CUstream stream, unsigned grid, unsigned block,
                unsigned shared_size)
{
    return s_cuda->cuLaunchKernel (function, grid, 1, 1, block, 1, 1, shared_size, stream, NULL,
                                   NULL);
}

START_TEST (test_a_launch_is_refused_beyond_the_limits)
{
    s_open ();
    CUstream stream = s_stream ();
    const gpb_fake_cuda_function_t small = { .name = "small", .threads_max = 64 };
    s_fake->define (&small);
    CUmodule module = s_module ("fake cubin nothing small add");
    CUfunction nothing = s_function (module, "nothing");
    ck_assert_cuda (s_launch_shape (nothing, stream, 0, 1, 0), CUDA_ERROR_INVALID_VALUE);
    ck_assert_cuda (s_launch_shape (nothing, stream, 1, 0, 0), CUDA_ERROR_INVALID_VALUE);
    ck_assert_cuda (s_launch_shape (nothing, stream, 1, 1025, 0), CUDA_ERROR_INVALID_VALUE);
    ck_assert_cuda (s_launch_shape (nothing, stream, 1u << 31, 1, 0), CUDA_ERROR_INVALID_VALUE);
    ck_assert_cuda (s_launch_shape (s_function (module, "small"), stream, 1, 65, 0),
                    CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);
    ck_assert_cuda (s_launch (s_function (module, "add"), stream, NULL), CUDA_ERROR_INVALID_VALUE);
    ck_assert_cuda (s_launch_shape (nothing, stream, 1, 1, (48 << 10) + 1),
                    CUDA_ERROR_INVALID_VALUE);
    const CUfunction_attribute dynamic = CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
    ck_assert_cuda (s_cuda->cuFuncSetAttribute (nothing, dynamic, (227 << 10) + 1),
                    CUDA_ERROR_INVALID_VALUE);
    ck_assert_cuda_ok (s_cuda->cuFuncSetAttribute (nothing, dynamic, 100 << 10));
    ck_assert_cuda_ok (s_launch_shape (nothing, stream, 1, 1, 100 << 10));
    s_end_stream (stream);
    ck_assert_cuda_ok (s_cuda->cuModuleUnload (module));
    s_close ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Failures on demand

START_TEST (test_the_nth_call_fails_once_or_for_ever)
{
    setenv ("GPB_FAKE_CUDA_MEMORY", "100", 1);
    s_open ();
    CUdeviceptr address;
    s_fake->refuse ("cuMemAlloc", 2, CUDA_ERROR_UNKNOWN, false);
    const CUresult once [] = { CUDA_SUCCESS, CUDA_ERROR_UNKNOWN, CUDA_SUCCESS };
    for (unsigned index = 0; index < 3; index++) {
        ck_assert_cuda (s_cuda->cuMemAlloc (&address, 100), once [index]);
        if (once [index] == CUDA_SUCCESS)
            ck_assert_cuda_ok (s_cuda->cuMemFree (address));
    }
    s_fake->refuse ("cuMemFree", 1, CUDA_ERROR_NOT_READY, true);
    address = s_allocate (100);
    ck_assert_cuda (s_cuda->cuMemFree (address), CUDA_ERROR_NOT_READY);
    ck_assert_cuda (s_cuda->cuMemFree (address), CUDA_ERROR_NOT_READY);
    ck_assert_uint_eq (s_free_size (), 0);
    s_fake->refuse ("cuMemFree", 0, CUDA_SUCCESS, false);
    ck_assert_cuda_ok (s_cuda->cuMemFree (address));
    ck_assert_uint_eq (s_fake->calls ("cuMemAlloc"), 4);
    ck_assert_uint_eq (s_fake->calls ("cuMemFree"), 5);
    s_close ();
}
END_TEST

START_TEST (test_reset_makes_it_new)
{
    s_open ();
    CUstream stream = s_stream ();
    ck_assert_cuda_ok (s_launch (s_function (s_module (CUBIN), "stay"), stream, NULL));
    s_allocate (100);
    s_fake->refuse ("cuInit", 1, CUDA_ERROR_UNKNOWN, true);
    ck_assert_cuda (s_cuda->cuEventQuery (NULL), CUDA_ERROR_INVALID_HANDLE);
    s_fake->reset ();
    gpb_test_cuda_expect_fault (NULL);
    ck_assert_uint_eq (s_fake->calls ("cuStreamCreate"), 0);
    int count;
    ck_assert_cuda (s_cuda->cuDeviceGetCount (&count), CUDA_ERROR_NOT_INITIALIZED);
    setenv ("GPB_FAKE_CUDA_DEVICES", "4", 1);
    ck_assert_cuda_ok (s_cuda->cuInit (0));
    ck_assert_cuda_ok (s_cuda->cuDeviceGetCount (&count));
    ck_assert_int_eq (count, 4);
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Persistent kernels

START_TEST (test_what_would_wait_for_a_persistent_kernel_is_a_fault)
{
    s_open ();
    CUstream lane = s_stream (), stream = s_stream ();
    CUmodule module = s_module (CUBIN), other = s_module (CUBIN), third;
    CUdeviceptr memory = s_allocate (1), more;
    CUmemoryPool pool = s_pool (0);
    void *pinned, *pinned_more;
    ck_assert_cuda_ok (s_cuda->cuMemHostAlloc (&pinned, 1, 0));
    ck_assert_cuda_ok (s_launch (s_function (module, "stay"), lane, NULL));
    gpb_test_cuda_expect_fault (NULL);

    ck_assert_cuda_ok (s_cuda->cuMemAlloc (&more, 1));
    gpb_test_cuda_expect_fault ("cuMemAlloc would wait for a kernel that does not end");
    ck_assert_cuda_ok (s_cuda->cuMemFree (more));
    gpb_test_cuda_expect_fault ("cuMemFree would wait");
    ck_assert_cuda_ok (s_cuda->cuMemHostAlloc (&pinned_more, 1, 0));
    gpb_test_cuda_expect_fault ("cuMemHostAlloc would wait");
    ck_assert_cuda_ok (s_cuda->cuMemFreeHost (pinned_more));
    gpb_test_cuda_expect_fault ("cuMemFreeHost would wait");
    third = s_module (CUBIN);
    gpb_test_cuda_expect_fault ("cuModuleLoadDataEx would wait");
    ck_assert_cuda_ok (s_cuda->cuModuleUnload (third));
    gpb_test_cuda_expect_fault ("cuModuleUnload would wait");

    //  What does not: a pool, copies, launches of what is loaded, streams and events.
    ck_assert_cuda_ok (s_allocate_from (pool, 1, stream, &more));
    ck_assert_cuda_ok (s_cuda->cuMemFreeAsync (more, stream));
    ck_assert_cuda_ok (s_cuda->cuMemsetD8Async (memory, 0, 1, stream));
    ck_assert_cuda_ok (s_launch (s_function (other, "write"), stream, NULL));
    s_end_stream (stream);
    gpb_test_cuda_expect_fault (NULL);

    atomic_store (&s_let_go, 1);
    s_end_stream (lane);
    ck_assert_cuda_ok (s_cuda->cuMemFree (memory));
    ck_assert_cuda_ok (s_cuda->cuMemFreeHost (pinned));
    ck_assert_cuda_ok (s_cuda->cuMemPoolDestroy (pool));
    ck_assert_cuda_ok (s_cuda->cuModuleUnload (module));
    ck_assert_cuda_ok (s_cuda->cuModuleUnload (other));
    s_close ();
}
END_TEST

START_TEST (test_a_function_that_is_loaded_late_would_wait_for_a_persistent_kernel)
{
    setenv ("GPB_FAKE_CUDA_LOADING", "lazy", 1);
    s_open ();
    CUmoduleLoadingMode mode;
    ck_assert_cuda_ok (s_cuda->cuModuleGetLoadingMode (&mode));
    ck_assert_int_eq (mode, CU_MODULE_LAZY_LOADING);
    CUstream lane = s_stream (), stream = s_stream ();
    CUmodule module = s_module (CUBIN);
    CUfunction early = s_function (module, "nothing"), late = s_function (module, "write");
    CUfunction later = s_function (module, "halt");
    ck_assert_cuda_ok (s_cuda->cuFuncLoad (early));
    ck_assert_cuda_ok (s_launch (s_function (module, "stay"), lane, NULL));
    ck_assert_cuda_ok (s_launch (early, stream, NULL));
    gpb_test_cuda_expect_fault (NULL);
    ck_assert_cuda_ok (s_launch (late, stream, NULL));
    gpb_test_cuda_expect_fault ("cuLaunchKernel would wait");
    ck_assert_cuda_ok (s_launch (late, stream, NULL));
    gpb_test_cuda_expect_fault (NULL);
    ck_assert_cuda_ok (s_cuda->cuFuncLoad (later));
    gpb_test_cuda_expect_fault ("cuFuncLoad would wait");
    atomic_store (&s_let_go, 1);
    s_end_stream (lane);
    s_end_stream (stream);
    ck_assert_cuda_ok (s_cuda->cuModuleUnload (module));
    s_close ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Faults

START_TEST (test_the_books_catch_what_is_gone)
{
    s_open ();
    CUstream stream = s_stream (), gone_stream = s_stream ();
    CUevent gone_event = s_event (0);
    CUmodule gone_module = s_module (CUBIN);
    CUfunction gone_function = s_function (gone_module, "nothing");
    CUmemoryPool gone_pool = s_pool (0);
    CUdeviceptr address;
    s_end_stream (gone_stream);
    ck_assert_cuda_ok (s_cuda->cuEventDestroy (gone_event));
    ck_assert_cuda_ok (s_cuda->cuModuleUnload (gone_module));
    ck_assert_cuda_ok (s_cuda->cuMemPoolDestroy (gone_pool));
    gpb_test_cuda_expect_fault (NULL);

    ck_assert_cuda (s_cuda->cuStreamDestroy (gone_stream), CUDA_ERROR_INVALID_HANDLE);
    gpb_test_cuda_expect_fault ("cuStreamDestroy is given a stream that is gone");
    ck_assert_cuda (s_cuda->cuStreamSynchronize (gone_stream), CUDA_ERROR_INVALID_HANDLE);
    gpb_test_cuda_expect_fault ("cuStreamSynchronize is given a stream that is gone");
    ck_assert_cuda (s_cuda->cuEventDestroy (gone_event), CUDA_ERROR_INVALID_HANDLE);
    gpb_test_cuda_expect_fault ("cuEventDestroy is given a event that is gone");
    ck_assert_cuda (s_cuda->cuEventRecord (gone_event, stream), CUDA_ERROR_INVALID_HANDLE);
    gpb_test_cuda_expect_fault ("cuEventRecord is given");
    ck_assert_cuda (s_cuda->cuModuleUnload (gone_module), CUDA_ERROR_INVALID_HANDLE);
    gpb_test_cuda_expect_fault ("cuModuleUnload is given a module that is gone");
    ck_assert_cuda (s_launch (gone_function, stream, NULL), CUDA_ERROR_INVALID_HANDLE);
    gpb_test_cuda_expect_fault ("cuLaunchKernel is given a function that is gone");
    ck_assert_cuda (s_cuda->cuMemAllocFromPoolAsync (&address, 1, gone_pool, stream),
                    CUDA_ERROR_INVALID_HANDLE);
    gpb_test_cuda_expect_fault ("is given a pool that is gone");
    ck_assert_cuda (s_cuda->cuEventQuery ((CUevent) stream), CUDA_ERROR_INVALID_HANDLE);
    gpb_test_cuda_expect_fault ("is given a event that is a stream");
    ck_assert_cuda (s_cuda->cuStreamSynchronize (NULL), CUDA_ERROR_INVALID_HANDLE);
    gpb_test_cuda_expect_fault ("is given no stream");
    s_end_stream (stream);
    s_close ();
}
END_TEST

START_TEST (test_the_books_catch_memory_that_is_freed_twice_or_used_after)
{
    s_open ();
    CUstream stream = s_stream ();
    CUdeviceptr memory = s_allocate (100), pooled;
    CUmemoryPool pool = s_pool (0);
    void *pinned;
    char data [4] = "";
    ck_assert_cuda_ok (s_cuda->cuMemHostAlloc (&pinned, 100, 0));
    ck_assert_cuda (s_cuda->cuMemFreeHost ((void *) (uintptr_t) memory), CUDA_ERROR_INVALID_VALUE);
    gpb_test_cuda_expect_fault ("cuMemFreeHost frees memory of the other kind");
    ck_assert_cuda (s_cuda->cuMemFreeAsync (memory, stream), CUDA_ERROR_INVALID_VALUE);
    gpb_test_cuda_expect_fault ("frees memory that is no pool's");
    ck_assert_cuda (s_cuda->cuMemFree (memory + 1), CUDA_ERROR_INVALID_VALUE);
    gpb_test_cuda_expect_fault ("frees what was never allocated");
    ck_assert_cuda_ok (s_cuda->cuMemFree (memory));
    ck_assert_cuda (s_cuda->cuMemFree (memory), CUDA_ERROR_INVALID_VALUE);
    gpb_test_cuda_expect_fault ("cuMemFree frees memory twice");
    ck_assert_cuda (s_cuda->cuMemcpyHtoDAsync (memory, data, 4, stream), CUDA_ERROR_INVALID_VALUE);
    gpb_test_cuda_expect_fault ("cuMemcpyHtoDAsync uses memory that is freed");
    ck_assert_cuda_ok (s_cuda->cuMemFreeHost (pinned));
    ck_assert_cuda (s_cuda->cuMemFreeHost (pinned), CUDA_ERROR_INVALID_VALUE);
    gpb_test_cuda_expect_fault ("cuMemFreeHost frees memory twice");

    ck_assert_cuda_ok (s_allocate_from (pool, 100, stream, &pooled));
    CUmodule module = s_module (CUBIN);
    ck_assert_cuda_ok (s_launch (s_function (module, "halt"), stream, NULL));
    ck_assert_cuda_ok (s_cuda->cuMemFreeAsync (pooled, stream));
    ck_assert_cuda (s_cuda->cuMemFreeAsync (pooled, stream), CUDA_ERROR_INVALID_VALUE);
    gpb_test_cuda_expect_fault ("cuMemFreeAsync frees memory twice");
    ck_assert_cuda (s_cuda->cuMemsetD8Async (pooled, 0, 1, stream), CUDA_ERROR_INVALID_VALUE);
    gpb_test_cuda_expect_fault ("cuMemsetD8Async uses memory that is freed");
    atomic_store (&s_let_go, 1);
    s_end_stream (stream);
    ck_assert_cuda_ok (s_cuda->cuMemPoolDestroy (pool));
    ck_assert_cuda_ok (s_cuda->cuModuleUnload (module));
    s_close ();
}
END_TEST

START_TEST (test_the_books_catch_what_goes_beyond_memory_or_takes_the_wrong_one)
{
    setenv ("GPB_FAKE_CUDA_DEVICES", "2", 1);
    CUcontext context = s_open (), other;
    CUstream stream = s_stream ();
    CUdeviceptr memory = s_allocate (100), local;
    char data [200] = "";
    void *pinned;
    ck_assert_cuda_ok (s_cuda->cuMemHostAlloc (&pinned, 100, 3));
    ck_assert_cuda (s_cuda->cuMemcpyHtoDAsync (memory + 90, data, 11, stream),
                    CUDA_ERROR_INVALID_VALUE);
    gpb_test_cuda_expect_fault ("uses 11 bytes at 90 of memory of 100");
    ck_assert_cuda (s_cuda->cuMemcpyHtoDAsync (memory, pinned, 101, stream),
                    CUDA_ERROR_INVALID_VALUE);
    gpb_test_cuda_expect_fault ("uses 101 bytes at 0 of memory of 100");
    local = (CUdeviceptr) (uintptr_t) data;
    ck_assert_cuda (s_cuda->cuMemsetD8Async (local, 0, 1, stream), CUDA_ERROR_INVALID_VALUE);
    gpb_test_cuda_expect_fault ("uses an address that was never allocated");
    ck_assert_cuda (s_cuda->cuMemcpyHtoDAsync (memory, (void *) (uintptr_t) memory, 1, stream),
                    CUDA_ERROR_INVALID_VALUE);
    gpb_test_cuda_expect_fault ("takes memory of the device's for the host's");

    ck_assert_cuda_ok (s_cuda->cuDevicePrimaryCtxRetain (&other, 1));
    ck_assert_cuda_ok (s_cuda->cuCtxPushCurrent (other));
    CUstream foreign = s_stream ();
    ck_assert_cuda (s_cuda->cuMemsetD8Async (memory, 0, 1, stream), CUDA_ERROR_INVALID_HANDLE);
    gpb_test_cuda_expect_fault ("is given a stream of another context");
    ck_assert_cuda (s_cuda->cuMemsetD8Async (memory, 0, 1, foreign), CUDA_ERROR_INVALID_VALUE);
    gpb_test_cuda_expect_fault ("uses memory of another context");
    s_end_stream (foreign);
    ck_assert_cuda_ok (s_cuda->cuCtxPopCurrent (NULL));
    ck_assert_cuda_ok (s_cuda->cuDevicePrimaryCtxRelease (1));

    CUmodule module = s_module (CUBIN);
    int count = 26;
    void *parameters [] = { &memory, &memory, &memory, &count };
    ck_assert_cuda_ok (s_launch (s_function (module, "add"), stream, parameters));
    ck_assert_cuda (s_cuda->cuStreamSynchronize (stream), CUDA_ERROR_ILLEGAL_ADDRESS);
    char text [1024];
    ck_assert_uint_eq (s_fake->faults (text, sizeof text), 3);
    ck_assert_ptr_nonnull (strstr (text, "cuLaunchKernel uses 104 bytes at 0 of memory of 100"));
    ck_assert_ptr_nonnull (context);
    s_close ();
}
END_TEST

START_TEST (test_the_books_catch_what_is_freed_or_unloaded_while_it_is_used)
{
    s_open ();
    CUstream stream = s_stream (), other = s_stream ();
    CUmodule module = s_module (CUBIN);
    CUmemoryPool pool = s_pool (0);
    CUdeviceptr memory = s_allocate (100), pooled;
    ck_assert_cuda_ok (s_allocate_from (pool, 100, other, &pooled));
    ck_assert_cuda_ok (s_launch (s_function (module, "halt"), stream, NULL));
    ck_assert_cuda_ok (s_cuda->cuMemsetD8Async (memory, 0, 100, stream));
    ck_assert_cuda_ok (s_cuda->cuMemsetD8Async (pooled, 0, 100, stream));
    ck_assert_cuda_ok (s_cuda->cuMemFree (memory));
    gpb_test_cuda_expect_fault ("cuMemFree frees memory of 100 bytes while 1 commands use it");
    ck_assert_cuda_ok (s_cuda->cuMemFreeAsync (pooled, other));
    ck_assert_cuda_ok (s_cuda->cuStreamSynchronize (other));
    gpb_test_cuda_expect_fault ("cuMemFreeAsync frees memory of 100 bytes while 1 commands use it");
    ck_assert_cuda_ok (s_cuda->cuModuleUnload (module));
    gpb_test_cuda_expect_fault ("unloads a module while 1 commands run it");
    atomic_store (&s_let_go, 1);
    s_end_stream (stream);
    s_end_stream (other);
    ck_assert_cuda_ok (s_cuda->cuMemPoolDestroy (pool));
    s_close ();
}
END_TEST

START_TEST (test_a_kernels_memory_is_used_until_the_kernel_ends)
{
    s_open ();
    CUstream stream = s_stream ();
    const gpb_fake_cuda_function_t hold = {
        .name = "hold", .run = s_halt, .parameters_count = 1, .parameters = { 8 }
    };
    s_fake->define (&hold);
    CUmodule module = s_module ("fake cubin hold");
    CUdeviceptr memory = s_allocate (100), inside = memory + 50;
    void *parameters [] = { &inside };
    ck_assert_cuda_ok (s_launch (s_function (module, "hold"), stream, parameters));
    ck_assert_cuda_ok (s_cuda->cuMemFree (memory));
    gpb_test_cuda_expect_fault ("while 1 commands use it");
    atomic_store (&s_let_go, 1);
    s_end_stream (stream);
    ck_assert_cuda_ok (s_cuda->cuModuleUnload (module));
    s_close ();
}
END_TEST

START_TEST (test_the_books_catch_use_before_a_stream_has_come_to_the_allocation)
{
    s_open ();
    CUstream stream = s_stream (), other = s_stream ();
    CUmodule module = s_module (CUBIN);
    CUmemoryPool pool = s_pool (0);
    CUdeviceptr memory;
    ck_assert_cuda_ok (s_launch (s_function (module, "halt"), stream, NULL));
    ck_assert_cuda_ok (s_cuda->cuMemAllocFromPoolAsync (&memory, 1, pool, stream));
    ck_assert_cuda_ok (s_cuda->cuMemsetD8Async (memory, 0, 1, stream));    //  behind it: well
    ck_assert_cuda_ok (s_cuda->cuMemsetD8Async (memory, 0, 1, other));
    ck_assert_cuda_ok (s_cuda->cuStreamSynchronize (other));
    gpb_test_cuda_expect_fault ("uses memory whose stream has not come to its allocation");
    atomic_store (&s_let_go, 1);
    ck_assert_cuda_ok (s_cuda->cuMemFreeAsync (memory, stream));
    s_end_stream (stream);
    s_end_stream (other);
    ck_assert_cuda_ok (s_cuda->cuMemPoolDestroy (pool));
    ck_assert_cuda_ok (s_cuda->cuModuleUnload (module));
    s_close ();
}
END_TEST

START_TEST (test_the_books_catch_what_is_left_at_the_last_release)
{
    s_open ();
    CUmodule module = s_module (CUBIN);
    s_event (0);
    s_allocate (1);
    s_pool (0);
    ck_assert_cuda_ok (s_launch (s_function (module, "stay"), s_stream (), NULL));
    ck_assert_cuda_ok (s_cuda->cuCtxPopCurrent (NULL));
    ck_assert_cuda_ok (s_cuda->cuDevicePrimaryCtxRelease (0));
    gpb_test_cuda_expect_fault (
        "with 1 blocks of memory, 1 streams, 1 events, 1 modules and 1 pools left");
    ck_assert_cuda (s_cuda->cuDevicePrimaryCtxRelease (0), CUDA_ERROR_INVALID_CONTEXT);
    gpb_test_cuda_expect_fault ("releases device 0 too often");
}
END_TEST

START_TEST (test_the_books_catch_a_context_that_stays_current)
{
    s_open ();
    ck_assert_cuda_ok (s_cuda->cuDevicePrimaryCtxRelease (0));
    gpb_test_cuda_expect_fault ("with the context on 1 stacks of threads");
    size_t size;
    ck_assert_cuda (s_cuda->cuMemGetInfo (&size, &size), CUDA_ERROR_CONTEXT_IS_DESTROYED);
    gpb_test_cuda_expect_fault ("is called on a context after its last release");
}
END_TEST

static void *
s_pop (void *argument)
{
    (void) argument;
    ck_assert_cuda (s_cuda->cuCtxPopCurrent (NULL), CUDA_ERROR_INVALID_CONTEXT);
    return NULL;
}

START_TEST (test_the_books_catch_the_wrong_threads_pop)
{
    s_open ();
    pthread_t thread;
    ck_assert_int_eq (pthread_create (&thread, NULL, s_pop, NULL), 0);
    ck_assert_int_eq (pthread_join (thread, NULL), 0);
    gpb_test_cuda_expect_fault ("pops a context that this thread has not pushed");
    s_close ();
}
END_TEST

static void
s_call_cuda_back (CUstream stream, CUresult result, void *argument)
{
    (void) stream;
    (void) result;
    *(CUresult *) argument = s_cuda->cuEventDestroy (NULL);
}

START_TEST (test_the_books_catch_a_callback_that_calls_cuda)
{
    s_open ();
    CUstream stream = s_stream ();
    CUresult answer = CUDA_SUCCESS;
    ck_assert_cuda_ok (s_cuda->cuStreamAddCallback (stream, s_call_cuda_back, &answer, 0));
    ck_assert_cuda_ok (s_cuda->cuStreamSynchronize (stream));
    ck_assert_int_eq (answer, CUDA_ERROR_NOT_PERMITTED);
    gpb_test_cuda_expect_fault ("cuEventDestroy is called from a callback or a kernel");
    s_end_stream (stream);
    s_close ();
}
END_TEST

static void
s_leave_a_fault (void)
{
    s_open ();
    s_allocate (1);
    ck_assert_cuda_ok (s_cuda->cuCtxPopCurrent (NULL));
    ck_assert_cuda_ok (s_cuda->cuDevicePrimaryCtxRelease (0));
}

static void
s_leave_a_context (void)
{
    s_open ();
}

static void
s_leave_nothing (void)
{
    s_leave_a_fault ();
    s_fake->faults (NULL, 0);
}

//  The status with which a process ends after that.
static int
s_exit_after (void (*leave) (void))
{
    pid_t child = fork ();
    ck_assert_int_ge (child, 0);
    if (child == 0) {
        if (!freopen ("/dev/null", "w", stderr))
            _exit (1);
        leave ();
        exit (0);
    }
    int status;
    ck_assert_int_eq (waitpid (child, &status, 0), child);
    return status;
}

START_TEST (test_a_fault_that_nobody_asked_for_ends_the_process)
{
    int status = s_exit_after (s_leave_a_fault);
    ck_assert (WIFSIGNALED (status) && WTERMSIG (status) == SIGABRT);
    status = s_exit_after (s_leave_a_context);
    ck_assert (WIFSIGNALED (status) && WTERMSIG (status) == SIGABRT);
    status = s_exit_after (s_leave_nothing);
    ck_assert (WIFEXITED (status) && WEXITSTATUS (status) == 0);
}
END_TEST

GPB_TEST_MAIN (
    "fake_cuda", 20, test_the_driver_is_found_by_its_soname_and_exports_what_it_must,
    test_nothing_works_before_it_is_initialised, test_a_driver_without_devices_does_not_start,
    test_devices_are_as_the_environment_says,
    test_a_device_in_prohibited_mode_says_so_and_gives_no_context,
    test_an_old_driver_lacks_what_is_newer, test_errors_have_names,
    test_a_context_is_current_on_the_thread_that_has_pushed_it,
    test_a_primary_context_is_there_until_its_last_release, test_a_kernel_adds_what_was_copied_in,
    test_copies_go_all_ways_and_memsets_are_bytes, test_streams_run_side_by_side_and_each_in_order,
    test_a_stream_waits_for_what_an_event_was_when_it_was_told_to,
    test_events_tell_how_long_a_command_took_if_they_are_to,
    test_callbacks_come_in_order_from_a_thread_of_the_drivers,
    test_a_stream_that_is_destroyed_still_does_its_work,
    test_no_more_kernels_run_at_once_than_there_are_units,
    test_a_kernel_that_fails_takes_its_context_with_it,
    test_a_failed_context_kills_what_stays_and_runs_nothing_behind_it,
    test_memory_is_bounded_and_comes_back, test_a_pool_keeps_what_is_freed_until_it_is_trimmed,
    test_a_pool_keeps_no_more_than_its_threshold_and_takes_no_more_than_its_bound,
    test_what_a_stream_has_not_freed_yet_is_reused_but_not_trimmed,
    test_an_image_must_be_one_and_for_this_device,
    test_what_does_not_compile_says_where_as_far_as_there_is_room,
    test_a_function_is_a_word_of_the_image_and_the_same_each_time,
    test_a_cubin_is_read_as_the_compiler_writes_it, test_a_function_tells_its_parameters_and_limits,
    test_a_launch_is_refused_beyond_the_limits, test_the_nth_call_fails_once_or_for_ever,
    test_reset_makes_it_new, test_what_would_wait_for_a_persistent_kernel_is_a_fault,
    test_a_function_that_is_loaded_late_would_wait_for_a_persistent_kernel,
    test_the_books_catch_what_is_gone,
    test_the_books_catch_memory_that_is_freed_twice_or_used_after,
    test_the_books_catch_what_goes_beyond_memory_or_takes_the_wrong_one,
    test_the_books_catch_what_is_freed_or_unloaded_while_it_is_used,
    test_a_kernels_memory_is_used_until_the_kernel_ends,
    test_the_books_catch_use_before_a_stream_has_come_to_the_allocation,
    test_the_books_catch_what_is_left_at_the_last_release,
    test_the_books_catch_a_context_that_stays_current, test_the_books_catch_the_wrong_threads_pop,
    test_the_books_catch_a_callback_that_calls_cuda,
    test_a_fault_that_nobody_asked_for_ends_the_process)
