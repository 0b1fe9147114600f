//  Tests of the fake CUDA driver: that it answers as a driver does. Whoever tests the CUDA backend
//  with it relies on that, and on what test_fake_cuda_books has.

#include "gpb_test_cuda.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define FLOATS 1000

static const gpb_test_cuda_t *s_fake;
static const gpb_cuda_driver_t *s_cuda;

static void
s_load_driver (void)
{
    s_fake = gpb_test_cuda ();
    s_cuda = &s_fake->cuda;
}

static CUcontext
s_open (void)
{
    s_load_driver ();
    return gpb_test_cuda_open ();
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
    CUmodule module = gpb_test_cuda_module (GPB_TEST_CUBIN);
    CUfunction function = gpb_test_cuda_function (module, "add");
    CUmoduleLoadingMode mode;
    size_t offset, size;
    ck_assert_cuda (s_cuda->cuModuleGetLoadingMode (&mode), CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER);
    ck_assert_cuda (s_cuda->cuFuncLoad (function), CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER);
    ck_assert_cuda (s_cuda->cuFuncGetParamInfo (function, 0, &offset, &size),
                    CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER);
    ck_assert_cuda_ok (s_cuda->cuModuleUnload (module));
    gpb_test_cuda_close ();
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
    CUdeviceptr address = gpb_test_cuda_allocate (400);
    ck_assert_cuda_ok (s_cuda->cuDevicePrimaryCtxRetain (&second, 1));
    ck_assert_cuda_ok (s_cuda->cuCtxPushCurrent (second));
    ck_assert_uint_eq (gpb_test_cuda_free_size (), 1000);
    ck_assert_cuda_ok (s_cuda->cuCtxPopCurrent (&popped));
    ck_assert_ptr_eq (popped, second);
    ck_assert_uint_eq (gpb_test_cuda_free_size (), 600);
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
    CUdeviceptr address = gpb_test_cuda_allocate (1);
    ck_assert_cuda_ok (s_cuda->cuMemFree (address));
    gpb_test_cuda_close ();
    ck_assert_cuda_ok (s_cuda->cuDevicePrimaryCtxRetain (&again, 0));
    ck_assert_cuda_ok (s_cuda->cuDevicePrimaryCtxRelease (0));
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Streams, events and callbacks

START_TEST (test_a_kernel_adds_what_was_copied_in)
{
    s_open ();
    CUstream stream = gpb_test_cuda_stream ();
    CUmodule module = gpb_test_cuda_module (GPB_TEST_CUBIN);
    CUfunction function = gpb_test_cuda_function (module, "add");
    float a [FLOATS], b [FLOATS], c [FLOATS];
    for (int index = 0; index < FLOATS; index++) {
        a [index] = (float) index;
        b [index] = 2 * (float) index;
    }
    CUdeviceptr memory = gpb_test_cuda_allocate (3 * sizeof a);
    CUdeviceptr places [] = { memory, memory + sizeof a, memory + 2 * sizeof a };
    int count = FLOATS;
    void *parameters [] = { &places [0], &places [1], &places [2], &count };
    ck_assert_cuda_ok (s_cuda->cuMemcpyHtoDAsync (places [0], a, sizeof a, stream));
    ck_assert_cuda_ok (s_cuda->cuMemcpyHtoDAsync (places [1], b, sizeof b, stream));
    ck_assert_cuda_ok (gpb_test_cuda_launch (function, stream, parameters));
    memset (places, 0, sizeof places);    //  the values are the launch's own
    count = -1;
    ck_assert_cuda_ok (s_cuda->cuMemcpyDtoHAsync (c, memory + 2 * sizeof a, sizeof c, stream));
    ck_assert_cuda_ok (s_cuda->cuStreamSynchronize (stream));
    for (int index = 0; index < FLOATS; index++)
        ck_assert_float_eq (c [index], 3 * (float) index);
    ck_assert_cuda_ok (s_cuda->cuMemFree (memory));
    ck_assert_cuda_ok (s_cuda->cuModuleUnload (module));
    gpb_test_cuda_end_stream (stream);
    gpb_test_cuda_close ();
}
END_TEST

START_TEST (test_copies_go_all_ways_and_memsets_are_bytes)
{
    s_open ();
    CUstream stream = gpb_test_cuda_stream ();
    char in [] = "what goes in", out [sizeof in] = "", set [4];
    void *pinned;
    CUdeviceptr mapped;
    CUdeviceptr one = gpb_test_cuda_allocate (sizeof in), two = gpb_test_cuda_allocate (sizeof in);
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
    gpb_test_cuda_end_stream (stream);
    gpb_test_cuda_close ();
}
END_TEST

START_TEST (test_streams_run_side_by_side_and_each_in_order)
{
    s_open ();
    CUstream one = gpb_test_cuda_stream (), two = gpb_test_cuda_stream ();
    CUmodule module = gpb_test_cuda_module (GPB_TEST_CUBIN);
    CUfunction halt = gpb_test_cuda_function (module, "halt"),
               write = gpb_test_cuda_function (module, "write");
    CUevent behind = gpb_test_cuda_event (CU_EVENT_DISABLE_TIMING);
    ck_assert_cuda_ok (s_cuda->cuEventQuery (behind));    //  never recorded
    ck_assert_cuda_ok (gpb_test_cuda_launch (halt, one, NULL));
    ck_assert_cuda_ok (gpb_test_cuda_launch (write, one, NULL));
    ck_assert_cuda_ok (s_cuda->cuEventRecord (behind, one));
    ck_assert_cuda_ok (gpb_test_cuda_launch (halt, two, NULL));
    gpb_test_cuda_wait_for (&gpb_test_cuda_started, 2);
    ck_assert_uint_eq (atomic_load (&gpb_test_cuda_written), 0);
    ck_assert_cuda (s_cuda->cuEventQuery (behind), CUDA_ERROR_NOT_READY);
    atomic_store (&gpb_test_cuda_let_go, 1);
    ck_assert_cuda_ok (s_cuda->cuStreamSynchronize (one));
    ck_assert_uint_eq (atomic_load (&gpb_test_cuda_written), 1);
    ck_assert_cuda_ok (s_cuda->cuEventQuery (behind));
    gpb_test_cuda_end_stream (one);
    gpb_test_cuda_end_stream (two);
    ck_assert_cuda_ok (s_cuda->cuEventDestroy (behind));
    ck_assert_cuda_ok (s_cuda->cuModuleUnload (module));
    gpb_test_cuda_close ();
}
END_TEST

START_TEST (test_a_stream_waits_for_what_an_event_was_when_it_was_told_to)
{
    s_open ();
    CUstream one = gpb_test_cuda_stream (), two = gpb_test_cuda_stream ();
    CUmodule module = gpb_test_cuda_module (GPB_TEST_CUBIN);
    CUevent event = gpb_test_cuda_event (CU_EVENT_DISABLE_TIMING),
            reached = gpb_test_cuda_event (CU_EVENT_DISABLE_TIMING);
    ck_assert_cuda_ok (gpb_test_cuda_launch (gpb_test_cuda_function (module, "halt"), one, NULL));
    ck_assert_cuda_ok (s_cuda->cuEventRecord (event, one));
    ck_assert_cuda_ok (s_cuda->cuStreamWaitEvent (two, event, 0));
    ck_assert_cuda_ok (gpb_test_cuda_launch (gpb_test_cuda_function (module, "write"), two, NULL));
    ck_assert_cuda_ok (s_cuda->cuEventRecord (reached, two));
    gpb_test_cuda_wait_for (&gpb_test_cuda_started, 1);
    CUstream three = gpb_test_cuda_stream ();
    ck_assert_cuda_ok (s_cuda->cuEventRecord (event, three));
    ck_assert_cuda_ok (s_cuda->cuStreamSynchronize (three));
    ck_assert_cuda_ok (s_cuda->cuEventQuery (event));
    ck_assert_cuda (s_cuda->cuEventQuery (reached), CUDA_ERROR_NOT_READY);
    ck_assert_uint_eq (atomic_load (&gpb_test_cuda_written), 0);
    atomic_store (&gpb_test_cuda_let_go, 1);
    gpb_test_cuda_end_stream (two);
    ck_assert_uint_eq (atomic_load (&gpb_test_cuda_written), 1);
    gpb_test_cuda_end_stream (one);
    gpb_test_cuda_end_stream (three);
    ck_assert_cuda_ok (s_cuda->cuEventDestroy (event));
    ck_assert_cuda_ok (s_cuda->cuEventDestroy (reached));
    ck_assert_cuda_ok (s_cuda->cuModuleUnload (module));
    gpb_test_cuda_close ();
}
END_TEST

START_TEST (test_events_tell_how_long_a_command_took_if_they_are_to)
{
    setenv ("GPB_FAKE_CUDA_COMPUTE_US", "3000", 1);
    setenv ("GPB_FAKE_CUDA_COPY_US", "2000", 1);
    s_open ();
    CUstream stream = gpb_test_cuda_stream ();
    CUmodule module = gpb_test_cuda_module (GPB_TEST_CUBIN);
    CUevent start = gpb_test_cuda_event (CU_EVENT_DEFAULT),
            middle = gpb_test_cuda_event (CU_EVENT_DEFAULT);
    CUevent end = gpb_test_cuda_event (CU_EVENT_DEFAULT),
            plain = gpb_test_cuda_event (CU_EVENT_DISABLE_TIMING);
    CUdeviceptr memory = gpb_test_cuda_allocate (1);
    float ms = 0;
    ck_assert_cuda (s_cuda->cuEventElapsedTime (&ms, start, end), CUDA_ERROR_INVALID_HANDLE);
    ck_assert_cuda_ok (s_cuda->cuEventRecord (start, stream));
    ck_assert_cuda_ok (
        gpb_test_cuda_launch (gpb_test_cuda_function (module, "nothing"), stream, NULL));
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
    gpb_test_cuda_end_stream (stream);
    gpb_test_cuda_close ();
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
    CUstream stream = gpb_test_cuda_stream ();
    CUmodule module = gpb_test_cuda_module (GPB_TEST_CUBIN);
    called_t called = { .result = CUDA_ERROR_UNKNOWN };
    ck_assert_cuda_ok (
        gpb_test_cuda_launch (gpb_test_cuda_function (module, "halt"), stream, NULL));
    ck_assert_cuda_ok (s_cuda->cuStreamAddCallback (stream, s_call_back, &called, 0));
    gpb_test_cuda_wait_for (&gpb_test_cuda_started, 1);
    ck_assert_uint_eq (atomic_load (&called.count), 0);
    atomic_store (&gpb_test_cuda_let_go, 1);
    ck_assert_cuda_ok (s_cuda->cuStreamSynchronize (stream));
    ck_assert_uint_eq (atomic_load (&called.count), 1);
    ck_assert_ptr_eq (called.stream, stream);
    ck_assert_int_eq (called.result, CUDA_SUCCESS);
    ck_assert (!pthread_equal (called.thread, pthread_self ()));
    ck_assert_cuda_ok (s_cuda->cuModuleUnload (module));
    gpb_test_cuda_end_stream (stream);
    gpb_test_cuda_close ();
}
END_TEST

START_TEST (test_a_stream_that_is_destroyed_still_does_its_work)
{
    s_open ();
    CUstream stream = gpb_test_cuda_stream ();
    CUmodule module = gpb_test_cuda_module (GPB_TEST_CUBIN);
    called_t called = { .result = CUDA_ERROR_UNKNOWN };
    ck_assert_cuda_ok (
        gpb_test_cuda_launch (gpb_test_cuda_function (module, "halt"), stream, NULL));
    ck_assert_cuda_ok (s_cuda->cuStreamAddCallback (stream, s_call_back, &called, 0));
    ck_assert_cuda_ok (s_cuda->cuStreamDestroy (stream));
    ck_assert_uint_eq (atomic_load (&called.count), 0);
    atomic_store (&gpb_test_cuda_let_go, 1);
    gpb_test_cuda_wait_for (&called.count, 1);
    ck_assert_cuda_ok (s_cuda->cuModuleUnload (module));
    gpb_test_cuda_close ();
}
END_TEST

START_TEST (test_no_more_kernels_run_at_once_than_there_are_units)
{
    setenv ("GPB_FAKE_CUDA_UNITS", "2", 1);
    s_open ();
    CUstream streams [3] = { gpb_test_cuda_stream (), gpb_test_cuda_stream (),
                             gpb_test_cuda_stream () };
    CUmodule module = gpb_test_cuda_module (GPB_TEST_CUBIN);
    CUfunction halt = gpb_test_cuda_function (module, "halt");
    CUdeviceptr memory = gpb_test_cuda_allocate (1);
    CUevent event = gpb_test_cuda_event (CU_EVENT_DISABLE_TIMING);
    ck_assert_cuda_ok (gpb_test_cuda_launch (halt, streams [0], NULL));
    ck_assert_cuda_ok (gpb_test_cuda_launch (halt, streams [1], NULL));
    gpb_test_cuda_wait_for (&gpb_test_cuda_started, 2);
    ck_assert_cuda_ok (s_cuda->cuMemsetD8Async (memory, 0, 1, streams [2]));
    ck_assert_cuda_ok (s_cuda->cuStreamSynchronize (streams [2]));    //  copies need none
    ck_assert_cuda_ok (
        gpb_test_cuda_launch (gpb_test_cuda_function (module, "write"), streams [2], NULL));
    ck_assert_cuda_ok (s_cuda->cuEventRecord (event, streams [2]));
    ck_assert_cuda (s_cuda->cuEventQuery (event), CUDA_ERROR_NOT_READY);
    ck_assert_uint_eq (atomic_load (&gpb_test_cuda_written), 0);
    atomic_store (&gpb_test_cuda_let_go, 1);
    for (unsigned index = 0; index < 3; index++)
        gpb_test_cuda_end_stream (streams [index]);
    ck_assert_uint_eq (atomic_load (&gpb_test_cuda_written), 1);
    ck_assert_cuda_ok (s_cuda->cuMemFree (memory));
    ck_assert_cuda_ok (s_cuda->cuEventDestroy (event));
    ck_assert_cuda_ok (s_cuda->cuModuleUnload (module));
    gpb_test_cuda_close ();
}
END_TEST

START_TEST (test_a_kernel_that_fails_takes_its_context_with_it)
{
    s_open ();
    CUstream one = gpb_test_cuda_stream (), two = gpb_test_cuda_stream ();
    CUmodule module = gpb_test_cuda_module (GPB_TEST_CUBIN);
    CUfunction write = gpb_test_cuda_function (module, "write");
    CUevent event = gpb_test_cuda_event (CU_EVENT_DISABLE_TIMING);
    called_t called = { .result = CUDA_SUCCESS };
    CUdeviceptr memory = gpb_test_cuda_allocate (1);
    ck_assert_cuda_ok (gpb_test_cuda_launch (gpb_test_cuda_function (module, "halt"), one, NULL));
    ck_assert_cuda_ok (gpb_test_cuda_launch (gpb_test_cuda_function (module, "fail"), one, NULL));
    ck_assert_cuda_ok (gpb_test_cuda_launch (write, one, NULL));
    ck_assert_cuda_ok (s_cuda->cuEventRecord (event, one));
    ck_assert_cuda_ok (s_cuda->cuStreamAddCallback (one, s_call_back, &called, 0));
    gpb_test_cuda_wait_for (&gpb_test_cuda_started, 1);
    atomic_store (&gpb_test_cuda_let_go, 1);
    gpb_test_cuda_wait_for (&called.count, 1);
    const CUresult sticky = CUDA_ERROR_ILLEGAL_ADDRESS;
    ck_assert_int_eq (called.result, sticky);
    ck_assert_uint_eq (atomic_load (&gpb_test_cuda_written), 0);
    CUstream stream;
    CUcontext context;
    size_t size;
    ck_assert_cuda (s_cuda->cuEventQuery (event), sticky);
    ck_assert_cuda (s_cuda->cuStreamSynchronize (two), sticky);
    ck_assert_cuda (s_cuda->cuMemGetInfo (&size, &size), sticky);
    ck_assert_cuda (s_cuda->cuStreamCreate (&stream, 0), sticky);
    ck_assert_cuda (gpb_test_cuda_launch (write, two, NULL), sticky);
    ck_assert_cuda (s_cuda->cuMemFree (memory), sticky);
    ck_assert_cuda (s_cuda->cuEventDestroy (event), sticky);
    ck_assert_cuda (s_cuda->cuModuleUnload (module), sticky);
    ck_assert_cuda (s_cuda->cuDevicePrimaryCtxRetain (&context, 0), sticky);
    gpb_test_cuda_close ();    //  with all of it left, which is no fault now
    ck_assert_cuda (s_cuda->cuDevicePrimaryCtxRetain (&context, 0), sticky);
}
END_TEST

START_TEST (test_a_failed_context_kills_what_stays_and_runs_nothing_behind_it)
{
    s_open ();
    CUstream one = gpb_test_cuda_stream (), two = gpb_test_cuda_stream ();
    CUmodule module = gpb_test_cuda_module (GPB_TEST_CUBIN);
    called_t there = { .result = CUDA_SUCCESS };
    ck_assert_cuda_ok (gpb_test_cuda_launch (gpb_test_cuda_function (module, "stay"), two, NULL));
    ck_assert_cuda_ok (gpb_test_cuda_launch (gpb_test_cuda_function (module, "write"), two, NULL));
    ck_assert_cuda_ok (s_cuda->cuStreamAddCallback (two, s_call_back, &there, 0));
    gpb_test_cuda_wait_for (&gpb_test_cuda_started, 1);
    ck_assert_cuda_ok (gpb_test_cuda_launch (gpb_test_cuda_function (module, "fail"), one, NULL));
    gpb_test_cuda_wait_for (&there.count, 1);
    ck_assert_int_eq (there.result, CUDA_ERROR_ILLEGAL_ADDRESS);
    ck_assert_uint_eq (atomic_load (&gpb_test_cuda_written), 0);
    gpb_test_cuda_close ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Memory

START_TEST (test_memory_is_bounded_and_comes_back)
{
    setenv ("GPB_FAKE_CUDA_MEMORY", "1000", 1);
    s_open ();
    CUdeviceptr more = 0, memory = gpb_test_cuda_allocate (600);
    ck_assert_uint_eq (gpb_test_cuda_free_size (), 400);
    ck_assert_cuda (s_cuda->cuMemAlloc (&more, 401), CUDA_ERROR_OUT_OF_MEMORY);
    ck_assert_cuda (s_cuda->cuMemAlloc (&more, 0), CUDA_ERROR_INVALID_VALUE);
    void *pinned;
    ck_assert_cuda_ok (s_cuda->cuMemHostAlloc (&pinned, 5000, 0));
    ck_assert_uint_eq (gpb_test_cuda_free_size (), 400);
    ck_assert_cuda_ok (s_cuda->cuMemFreeHost (pinned));
    ck_assert_cuda_ok (s_cuda->cuMemFree (memory));
    ck_assert_cuda_ok (s_cuda->cuMemFree (0));
    ck_assert_uint_eq (gpb_test_cuda_free_size (), 1000);
    gpb_test_cuda_close ();
}
END_TEST

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
    CUstream stream = gpb_test_cuda_stream ();
    CUmemoryPool pool = gpb_test_cuda_pool (UINT64_MAX);
    CUdeviceptr one, two, large;
    ck_assert_cuda_ok (gpb_test_cuda_allocate_from (pool, 300, stream, &one));
    ck_assert_cuda_ok (gpb_test_cuda_allocate_from (pool, 300, stream, &two));
    ck_assert_cuda_ok (s_cuda->cuMemFreeAsync (one, stream));
    ck_assert_cuda_ok (s_cuda->cuMemFreeAsync (two, stream));
    ck_assert_uint_eq (gpb_test_cuda_free_size (), 400);
    ck_assert_uint_eq (s_pool_attribute (pool, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT), 600);
    ck_assert_uint_eq (s_pool_attribute (pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT), 0);
    //  It lies in pieces of 300; one of them serves what fits.
    ck_assert_cuda (gpb_test_cuda_allocate_from (pool, 500, stream, &large),
                    CUDA_ERROR_OUT_OF_MEMORY);
    ck_assert_cuda_ok (gpb_test_cuda_allocate_from (pool, 200, stream, &one));
    ck_assert_uint_eq (s_pool_attribute (pool, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT), 600);
    ck_assert_uint_eq (s_pool_attribute (pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT), 200);
    ck_assert_cuda_ok (s_cuda->cuStreamSynchronize (stream));
    ck_assert_cuda_ok (s_cuda->cuMemPoolTrimTo (pool, 0));
    ck_assert_uint_eq (gpb_test_cuda_free_size (), 800);
    ck_assert_cuda_ok (gpb_test_cuda_allocate_from (pool, 500, stream, &large));
    ck_assert_cuda_ok (s_cuda->cuMemFreeAsync (large, stream));
    ck_assert_cuda_ok (s_cuda->cuMemFree (one));    //  either way frees a pool's
    ck_assert_cuda_ok (s_cuda->cuStreamSynchronize (stream));
    ck_assert_cuda_ok (s_cuda->cuMemPoolDestroy (pool));
    ck_assert_uint_eq (gpb_test_cuda_free_size (), 1000);
    gpb_test_cuda_end_stream (stream);
    gpb_test_cuda_close ();
}
END_TEST

START_TEST (test_a_pool_keeps_no_more_than_its_threshold_and_takes_no_more_than_its_bound)
{
    setenv ("GPB_FAKE_CUDA_MEMORY", "1000", 1);
    s_open ();
    CUstream stream = gpb_test_cuda_stream ();
    CUmemoryPool pool = gpb_test_cuda_pool (100), small;
    CUdeviceptr one, two;
    ck_assert_cuda_ok (gpb_test_cuda_allocate_from (pool, 100, stream, &one));
    ck_assert_cuda_ok (gpb_test_cuda_allocate_from (pool, 300, stream, &two));
    ck_assert_cuda_ok (s_cuda->cuMemFreeAsync (two, stream));
    ck_assert_cuda_ok (s_cuda->cuStreamSynchronize (stream));
    ck_assert_uint_eq (gpb_test_cuda_free_size (), 900);
    ck_assert_cuda_ok (s_cuda->cuMemFreeAsync (one, stream));
    ck_assert_cuda_ok (s_cuda->cuStreamSynchronize (stream));
    ck_assert_uint_eq (gpb_test_cuda_free_size (), 900);
    ck_assert_cuda_ok (s_cuda->cuMemPoolDestroy (pool));
    const CUmemPoolProps properties = { .allocType = CU_MEM_ALLOCATION_TYPE_PINNED,
                                        .location = { CU_MEM_LOCATION_TYPE_DEVICE, 0 },
                                        .maxSize = 50 };
    ck_assert_cuda_ok (s_cuda->cuMemPoolCreate (&small, &properties));
    ck_assert_cuda (gpb_test_cuda_allocate_from (small, 51, stream, &one),
                    CUDA_ERROR_OUT_OF_MEMORY);
    ck_assert_cuda_ok (s_cuda->cuMemPoolDestroy (small));
    gpb_test_cuda_end_stream (stream);
    gpb_test_cuda_close ();
}
END_TEST

START_TEST (test_what_a_stream_has_not_freed_yet_is_reused_but_not_trimmed)
{
    setenv ("GPB_FAKE_CUDA_MEMORY", "1000", 1);
    s_open ();
    CUstream stream = gpb_test_cuda_stream ();
    CUmodule module = gpb_test_cuda_module (GPB_TEST_CUBIN);
    CUmemoryPool pool = gpb_test_cuda_pool (UINT64_MAX);
    CUdeviceptr memory, again;
    ck_assert_cuda_ok (gpb_test_cuda_allocate_from (pool, 600, stream, &memory));
    ck_assert_cuda_ok (
        gpb_test_cuda_launch (gpb_test_cuda_function (module, "halt"), stream, NULL));
    ck_assert_cuda_ok (s_cuda->cuMemFreeAsync (memory, stream));
    ck_assert_cuda_ok (s_cuda->cuMemPoolTrimTo (pool, 0));
    ck_assert_uint_eq (gpb_test_cuda_free_size (), 400);
    ck_assert_cuda_ok (s_cuda->cuMemAllocFromPoolAsync (&again, 600, pool, stream));
    atomic_store (&gpb_test_cuda_let_go, 1);
    ck_assert_cuda_ok (s_cuda->cuMemFreeAsync (again, stream));
    ck_assert_cuda_ok (s_cuda->cuStreamSynchronize (stream));
    ck_assert_cuda_ok (s_cuda->cuMemPoolTrimTo (pool, 0));
    ck_assert_uint_eq (gpb_test_cuda_free_size (), 1000);
    ck_assert_cuda_ok (s_cuda->cuMemPoolDestroy (pool));
    ck_assert_cuda_ok (s_cuda->cuModuleUnload (module));
    gpb_test_cuda_end_stream (stream);
    gpb_test_cuda_close ();
}
END_TEST

GPB_TEST_MAIN ("fake_cuda", 20, test_the_driver_is_found_by_its_soname_and_exports_what_it_must,
               test_nothing_works_before_it_is_initialised,
               test_a_driver_without_devices_does_not_start,
               test_devices_are_as_the_environment_says,
               test_a_device_in_prohibited_mode_says_so_and_gives_no_context,
               test_an_old_driver_lacks_what_is_newer, test_errors_have_names,
               test_a_context_is_current_on_the_thread_that_has_pushed_it,
               test_a_primary_context_is_there_until_its_last_release,
               test_a_kernel_adds_what_was_copied_in, test_copies_go_all_ways_and_memsets_are_bytes,
               test_streams_run_side_by_side_and_each_in_order,
               test_a_stream_waits_for_what_an_event_was_when_it_was_told_to,
               test_events_tell_how_long_a_command_took_if_they_are_to,
               test_callbacks_come_in_order_from_a_thread_of_the_drivers,
               test_a_stream_that_is_destroyed_still_does_its_work,
               test_no_more_kernels_run_at_once_than_there_are_units,
               test_a_kernel_that_fails_takes_its_context_with_it,
               test_a_failed_context_kills_what_stays_and_runs_nothing_behind_it,
               test_memory_is_bounded_and_comes_back,
               test_a_pool_keeps_what_is_freed_until_it_is_trimmed,
               test_a_pool_keeps_no_more_than_its_threshold_and_takes_no_more_than_its_bound,
               test_what_a_stream_has_not_freed_yet_is_reused_but_not_trimmed)
