//  Tests of the fake CUDA driver's books: that calls fail when they are told to, and that what a
//  caller must not do is a fault.

#include "gpb_test_cuda.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const gpb_test_cuda_t *s_fake;
static const gpb_cuda_driver_t *s_cuda;

static CUcontext
s_open (void)
{
    s_fake = gpb_test_cuda ();
    s_cuda = &s_fake->cuda;
    return gpb_test_cuda_open ();
}

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
    address = gpb_test_cuda_allocate (100);
    ck_assert_cuda (s_cuda->cuMemFree (address), CUDA_ERROR_NOT_READY);
    ck_assert_cuda (s_cuda->cuMemFree (address), CUDA_ERROR_NOT_READY);
    ck_assert_uint_eq (gpb_test_cuda_free_size (), 0);
    s_fake->refuse ("cuMemFree", 0, CUDA_SUCCESS, false);
    ck_assert_cuda_ok (s_cuda->cuMemFree (address));
    ck_assert_uint_eq (s_fake->calls ("cuMemAlloc"), 4);
    ck_assert_uint_eq (s_fake->calls ("cuMemFree"), 5);
    gpb_test_cuda_close ();
}
END_TEST

START_TEST (test_an_answer_that_no_context_survives_fails_the_context)
{
    s_open ();
    CUstream stream = gpb_test_cuda_stream ();
    CUdeviceptr memory = gpb_test_cuda_allocate (1);
    s_fake->refuse ("cuMemsetD8Async", 1, CUDA_ERROR_ECC_UNCORRECTABLE, false);
    ck_assert_cuda (s_cuda->cuMemsetD8Async (memory, 0, 1, stream), CUDA_ERROR_ECC_UNCORRECTABLE);
    ck_assert_cuda (s_cuda->cuStreamSynchronize (stream), CUDA_ERROR_ECC_UNCORRECTABLE);
    gpb_test_cuda_close ();
}
END_TEST

START_TEST (test_what_is_left_when_giving_back_was_told_to_fail_is_no_fault)
{
    s_open ();
    CUdeviceptr memory = gpb_test_cuda_allocate (1);
    s_fake->refuse ("cuMemFree", 1, CUDA_ERROR_UNKNOWN, false);
    ck_assert_cuda (s_cuda->cuMemFree (memory), CUDA_ERROR_UNKNOWN);
    gpb_test_cuda_close ();
}
END_TEST

START_TEST (test_reset_makes_it_new)
{
    s_open ();
    CUstream stream = gpb_test_cuda_stream ();
    ck_assert_cuda_ok (gpb_test_cuda_launch (
        gpb_test_cuda_function (gpb_test_cuda_module (GPB_TEST_CUBIN), "stay"), stream, NULL));
    gpb_test_cuda_allocate (100);
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
    CUstream lane = gpb_test_cuda_stream (), stream = gpb_test_cuda_stream ();
    CUmodule module = gpb_test_cuda_module (GPB_TEST_CUBIN),
             other = gpb_test_cuda_module (GPB_TEST_CUBIN), third;
    CUdeviceptr memory = gpb_test_cuda_allocate (1), more;
    CUmemoryPool pool = gpb_test_cuda_pool (0);
    void *pinned, *pinned_more;
    ck_assert_cuda_ok (s_cuda->cuMemHostAlloc (&pinned, 1, 0));
    ck_assert_cuda_ok (gpb_test_cuda_launch (gpb_test_cuda_function (module, "stay"), lane, NULL));
    gpb_test_cuda_expect_fault (NULL);

    ck_assert_cuda_ok (s_cuda->cuMemAlloc (&more, 1));
    gpb_test_cuda_expect_fault ("cuMemAlloc would wait for a kernel that does not end");
    ck_assert_cuda_ok (s_cuda->cuMemFree (more));
    gpb_test_cuda_expect_fault ("cuMemFree would wait");
    ck_assert_cuda_ok (s_cuda->cuMemHostAlloc (&pinned_more, 1, 0));
    gpb_test_cuda_expect_fault ("cuMemHostAlloc would wait");
    ck_assert_cuda_ok (s_cuda->cuMemFreeHost (pinned_more));
    gpb_test_cuda_expect_fault ("cuMemFreeHost would wait");
    third = gpb_test_cuda_module (GPB_TEST_CUBIN);
    gpb_test_cuda_expect_fault ("cuModuleLoadDataEx would wait");
    ck_assert_cuda_ok (s_cuda->cuModuleUnload (third));
    gpb_test_cuda_expect_fault ("cuModuleUnload would wait");

    //  What does not: a pool, copies, launches of what is loaded, streams and events.
    ck_assert_cuda_ok (gpb_test_cuda_allocate_from (pool, 1, stream, &more));
    ck_assert_cuda_ok (s_cuda->cuMemFreeAsync (more, stream));
    ck_assert_cuda_ok (s_cuda->cuMemsetD8Async (memory, 0, 1, stream));
    ck_assert_cuda_ok (
        gpb_test_cuda_launch (gpb_test_cuda_function (other, "write"), stream, NULL));
    gpb_test_cuda_end_stream (stream);
    gpb_test_cuda_expect_fault (NULL);

    atomic_store (&gpb_test_cuda_let_go, 1);
    gpb_test_cuda_end_stream (lane);
    ck_assert_cuda_ok (s_cuda->cuMemFree (memory));
    ck_assert_cuda_ok (s_cuda->cuMemFreeHost (pinned));
    ck_assert_cuda_ok (s_cuda->cuMemPoolDestroy (pool));
    ck_assert_cuda_ok (s_cuda->cuModuleUnload (module));
    ck_assert_cuda_ok (s_cuda->cuModuleUnload (other));
    gpb_test_cuda_close ();
}
END_TEST

START_TEST (test_a_function_that_is_loaded_late_would_wait_for_a_persistent_kernel)
{
    setenv ("GPB_FAKE_CUDA_LOADING", "lazy", 1);
    s_open ();
    CUmoduleLoadingMode mode;
    ck_assert_cuda_ok (s_cuda->cuModuleGetLoadingMode (&mode));
    ck_assert_int_eq (mode, CU_MODULE_LAZY_LOADING);
    CUstream lane = gpb_test_cuda_stream (), stream = gpb_test_cuda_stream ();
    CUmodule module = gpb_test_cuda_module (GPB_TEST_CUBIN);
    CUfunction early = gpb_test_cuda_function (module, "nothing"),
               late = gpb_test_cuda_function (module, "write");
    CUfunction later = gpb_test_cuda_function (module, "halt");
    ck_assert_cuda_ok (s_cuda->cuFuncLoad (early));
    ck_assert_cuda_ok (gpb_test_cuda_launch (gpb_test_cuda_function (module, "stay"), lane, NULL));
    ck_assert_cuda_ok (gpb_test_cuda_launch (early, stream, NULL));
    gpb_test_cuda_expect_fault (NULL);
    ck_assert_cuda_ok (gpb_test_cuda_launch (late, stream, NULL));
    gpb_test_cuda_expect_fault ("cuLaunchKernel would wait");
    ck_assert_cuda_ok (gpb_test_cuda_launch (late, stream, NULL));
    gpb_test_cuda_expect_fault (NULL);
    ck_assert_cuda_ok (s_cuda->cuFuncLoad (later));
    gpb_test_cuda_expect_fault ("cuFuncLoad would wait");
    atomic_store (&gpb_test_cuda_let_go, 1);
    gpb_test_cuda_end_stream (lane);
    gpb_test_cuda_end_stream (stream);
    ck_assert_cuda_ok (s_cuda->cuModuleUnload (module));
    gpb_test_cuda_close ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Faults

START_TEST (test_the_books_catch_what_is_gone)
{
    s_open ();
    CUstream stream = gpb_test_cuda_stream (), gone_stream = gpb_test_cuda_stream ();
    CUevent gone_event = gpb_test_cuda_event (0);
    CUmodule gone_module = gpb_test_cuda_module (GPB_TEST_CUBIN);
    CUfunction gone_function = gpb_test_cuda_function (gone_module, "nothing");
    CUmemoryPool gone_pool = gpb_test_cuda_pool (0);
    CUdeviceptr address;
    gpb_test_cuda_end_stream (gone_stream);
    ck_assert_cuda_ok (s_cuda->cuEventDestroy (gone_event));
    ck_assert_cuda_ok (s_cuda->cuModuleUnload (gone_module));
    ck_assert_cuda_ok (s_cuda->cuMemPoolDestroy (gone_pool));
    gpb_test_cuda_expect_fault (NULL);

    ck_assert_cuda (s_cuda->cuStreamDestroy (gone_stream), CUDA_ERROR_INVALID_HANDLE);
    gpb_test_cuda_expect_fault ("cuStreamDestroy is given a stream that is gone");
    ck_assert_cuda (s_cuda->cuStreamSynchronize (gone_stream), CUDA_ERROR_INVALID_HANDLE);
    gpb_test_cuda_expect_fault ("cuStreamSynchronize is given a stream that is gone");
    ck_assert_cuda (s_cuda->cuEventDestroy (gone_event), CUDA_ERROR_INVALID_HANDLE);
    gpb_test_cuda_expect_fault ("cuEventDestroy is given an event that is gone");
    ck_assert_cuda (s_cuda->cuEventRecord (gone_event, stream), CUDA_ERROR_INVALID_HANDLE);
    gpb_test_cuda_expect_fault ("cuEventRecord is given");
    ck_assert_cuda (s_cuda->cuModuleUnload (gone_module), CUDA_ERROR_INVALID_HANDLE);
    gpb_test_cuda_expect_fault ("cuModuleUnload is given a module that is gone");
    ck_assert_cuda (gpb_test_cuda_launch (gone_function, stream, NULL), CUDA_ERROR_INVALID_HANDLE);
    gpb_test_cuda_expect_fault ("cuLaunchKernel is given a function that is gone");
    ck_assert_cuda (s_cuda->cuMemAllocFromPoolAsync (&address, 1, gone_pool, stream),
                    CUDA_ERROR_INVALID_HANDLE);
    gpb_test_cuda_expect_fault ("is given a pool that is gone");
    ck_assert_cuda (s_cuda->cuEventQuery ((CUevent) stream), CUDA_ERROR_INVALID_HANDLE);
    gpb_test_cuda_expect_fault ("is given an event that is a stream");
    ck_assert_cuda (s_cuda->cuStreamSynchronize (NULL), CUDA_ERROR_INVALID_HANDLE);
    gpb_test_cuda_expect_fault ("is given NULL for a stream");
    gpb_test_cuda_end_stream (stream);
    gpb_test_cuda_close ();
}
END_TEST

START_TEST (test_the_books_catch_memory_that_is_freed_twice_or_used_after)
{
    s_open ();
    CUstream stream = gpb_test_cuda_stream ();
    CUdeviceptr memory = gpb_test_cuda_allocate (100), pooled;
    CUmemoryPool pool = gpb_test_cuda_pool (0);
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

    ck_assert_cuda_ok (gpb_test_cuda_allocate_from (pool, 100, stream, &pooled));
    CUmodule module = gpb_test_cuda_module (GPB_TEST_CUBIN);
    ck_assert_cuda_ok (
        gpb_test_cuda_launch (gpb_test_cuda_function (module, "halt"), stream, NULL));
    ck_assert_cuda_ok (s_cuda->cuMemFreeAsync (pooled, stream));
    ck_assert_cuda (s_cuda->cuMemFreeAsync (pooled, stream), CUDA_ERROR_INVALID_VALUE);
    gpb_test_cuda_expect_fault ("cuMemFreeAsync frees memory twice");
    ck_assert_cuda (s_cuda->cuMemsetD8Async (pooled, 0, 1, stream), CUDA_ERROR_INVALID_VALUE);
    gpb_test_cuda_expect_fault ("cuMemsetD8Async uses memory that is freed");
    atomic_store (&gpb_test_cuda_let_go, 1);
    gpb_test_cuda_end_stream (stream);
    ck_assert_cuda_ok (s_cuda->cuMemPoolDestroy (pool));
    ck_assert_cuda_ok (s_cuda->cuModuleUnload (module));
    gpb_test_cuda_close ();
}
END_TEST

START_TEST (test_the_books_catch_what_goes_beyond_memory_or_takes_the_wrong_one)
{
    setenv ("GPB_FAKE_CUDA_DEVICES", "2", 1);
    CUcontext context = s_open (), other;
    CUstream stream = gpb_test_cuda_stream ();
    CUdeviceptr memory = gpb_test_cuda_allocate (100), local;
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
    CUstream foreign = gpb_test_cuda_stream ();
    ck_assert_cuda (s_cuda->cuMemsetD8Async (memory, 0, 1, stream), CUDA_ERROR_INVALID_HANDLE);
    gpb_test_cuda_expect_fault ("is given a stream of another context");
    ck_assert_cuda (s_cuda->cuMemsetD8Async (memory, 0, 1, foreign), CUDA_ERROR_INVALID_VALUE);
    gpb_test_cuda_expect_fault ("uses memory of another context");
    gpb_test_cuda_end_stream (foreign);
    ck_assert_cuda_ok (s_cuda->cuCtxPopCurrent (NULL));
    ck_assert_cuda_ok (s_cuda->cuDevicePrimaryCtxRelease (1));

    CUmodule module = gpb_test_cuda_module (GPB_TEST_CUBIN);
    int count = 26;
    void *parameters [] = { &memory, &memory, &memory, &count };
    ck_assert_cuda_ok (
        gpb_test_cuda_launch (gpb_test_cuda_function (module, "add"), stream, parameters));
    ck_assert_cuda (s_cuda->cuStreamSynchronize (stream), CUDA_ERROR_ILLEGAL_ADDRESS);
    char text [1024];
    ck_assert_uint_eq (s_fake->faults (text, sizeof text), 3);
    ck_assert_ptr_nonnull (strstr (text, "cuLaunchKernel uses 104 bytes at 0 of memory of 100"));
    ck_assert_ptr_nonnull (context);
    gpb_test_cuda_close ();
}
END_TEST

START_TEST (test_the_books_catch_what_is_freed_or_unloaded_while_it_is_used)
{
    s_open ();
    CUstream stream = gpb_test_cuda_stream (), other = gpb_test_cuda_stream ();
    CUmodule module = gpb_test_cuda_module (GPB_TEST_CUBIN);
    CUmemoryPool pool = gpb_test_cuda_pool (0);
    CUdeviceptr memory = gpb_test_cuda_allocate (100), pooled;
    ck_assert_cuda_ok (gpb_test_cuda_allocate_from (pool, 100, other, &pooled));
    ck_assert_cuda_ok (
        gpb_test_cuda_launch (gpb_test_cuda_function (module, "halt"), stream, NULL));
    ck_assert_cuda_ok (s_cuda->cuMemsetD8Async (memory, 0, 100, stream));
    ck_assert_cuda_ok (s_cuda->cuMemsetD8Async (pooled, 0, 100, stream));
    ck_assert_cuda_ok (s_cuda->cuMemFree (memory));
    gpb_test_cuda_expect_fault ("cuMemFree frees memory of 100 bytes while 1 commands use it");
    ck_assert_cuda_ok (s_cuda->cuMemFreeAsync (pooled, other));
    ck_assert_cuda_ok (s_cuda->cuStreamSynchronize (other));
    gpb_test_cuda_expect_fault ("cuMemFreeAsync frees memory of 100 bytes while 1 commands use it");
    ck_assert_cuda_ok (s_cuda->cuModuleUnload (module));
    gpb_test_cuda_expect_fault ("unloads a module while 1 commands run it");
    atomic_store (&gpb_test_cuda_let_go, 1);
    gpb_test_cuda_end_stream (stream);
    gpb_test_cuda_end_stream (other);
    ck_assert_cuda_ok (s_cuda->cuMemPoolDestroy (pool));
    gpb_test_cuda_close ();
}
END_TEST

START_TEST (test_a_kernels_memory_is_used_until_the_kernel_ends)
{
    s_open ();
    CUstream stream = gpb_test_cuda_stream ();
    CUmodule module = gpb_test_cuda_module (GPB_TEST_CUBIN);
    CUdeviceptr memory = gpb_test_cuda_allocate (100), inside = memory + 50;
    void *parameters [] = { &inside };
    ck_assert_cuda_ok (
        gpb_test_cuda_launch (gpb_test_cuda_function (module, "hold"), stream, parameters));
    ck_assert_cuda_ok (s_cuda->cuMemFree (memory));
    gpb_test_cuda_expect_fault ("while 1 commands use it");
    atomic_store (&gpb_test_cuda_let_go, 1);
    gpb_test_cuda_end_stream (stream);
    ck_assert_cuda_ok (s_cuda->cuModuleUnload (module));
    gpb_test_cuda_close ();
}
END_TEST

START_TEST (test_the_books_catch_use_before_a_stream_has_come_to_the_allocation)
{
    s_open ();
    CUstream stream = gpb_test_cuda_stream (), other = gpb_test_cuda_stream ();
    CUmodule module = gpb_test_cuda_module (GPB_TEST_CUBIN);
    CUmemoryPool pool = gpb_test_cuda_pool (0);
    CUdeviceptr memory;
    ck_assert_cuda_ok (
        gpb_test_cuda_launch (gpb_test_cuda_function (module, "halt"), stream, NULL));
    ck_assert_cuda_ok (s_cuda->cuMemAllocFromPoolAsync (&memory, 1, pool, stream));
    ck_assert_cuda_ok (s_cuda->cuMemsetD8Async (memory, 0, 1, stream));    //  behind it: well
    ck_assert_cuda_ok (s_cuda->cuMemsetD8Async (memory, 0, 1, other));
    ck_assert_cuda_ok (s_cuda->cuStreamSynchronize (other));
    gpb_test_cuda_expect_fault ("uses memory whose stream has not come to its allocation");
    atomic_store (&gpb_test_cuda_let_go, 1);
    ck_assert_cuda_ok (s_cuda->cuMemFreeAsync (memory, stream));
    gpb_test_cuda_end_stream (stream);
    gpb_test_cuda_end_stream (other);
    ck_assert_cuda_ok (s_cuda->cuMemPoolDestroy (pool));
    ck_assert_cuda_ok (s_cuda->cuModuleUnload (module));
    gpb_test_cuda_close ();
}
END_TEST

START_TEST (test_the_books_catch_what_is_left_at_the_last_release)
{
    s_open ();
    CUmodule module = gpb_test_cuda_module (GPB_TEST_CUBIN);
    gpb_test_cuda_event (0);
    gpb_test_cuda_allocate (1);
    gpb_test_cuda_pool (0);
    ck_assert_cuda_ok (gpb_test_cuda_launch (gpb_test_cuda_function (module, "stay"),
                                             gpb_test_cuda_stream (), NULL));
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
    gpb_test_cuda_close ();
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
    CUstream stream = gpb_test_cuda_stream ();
    CUresult answer = CUDA_SUCCESS;
    ck_assert_cuda_ok (s_cuda->cuStreamAddCallback (stream, s_call_cuda_back, &answer, 0));
    ck_assert_cuda_ok (s_cuda->cuStreamSynchronize (stream));
    ck_assert_int_eq (answer, CUDA_ERROR_NOT_PERMITTED);
    gpb_test_cuda_expect_fault ("cuEventDestroy is called from a callback or a kernel");
    gpb_test_cuda_end_stream (stream);
    gpb_test_cuda_close ();
}
END_TEST

static void
s_leave_a_fault (void)
{
    s_open ();
    gpb_test_cuda_allocate (1);
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

GPB_TEST_MAIN ("fake_cuda_books", 20, test_the_nth_call_fails_once_or_for_ever,
               test_an_answer_that_no_context_survives_fails_the_context,
               test_what_is_left_when_giving_back_was_told_to_fail_is_no_fault,
               test_reset_makes_it_new, test_what_would_wait_for_a_persistent_kernel_is_a_fault,
               test_a_function_that_is_loaded_late_would_wait_for_a_persistent_kernel,
               test_the_books_catch_what_is_gone,
               test_the_books_catch_memory_that_is_freed_twice_or_used_after,
               test_the_books_catch_what_goes_beyond_memory_or_takes_the_wrong_one,
               test_the_books_catch_what_is_freed_or_unloaded_while_it_is_used,
               test_a_kernels_memory_is_used_until_the_kernel_ends,
               test_the_books_catch_use_before_a_stream_has_come_to_the_allocation,
               test_the_books_catch_what_is_left_at_the_last_release,
               test_the_books_catch_a_context_that_stays_current,
               test_the_books_catch_the_wrong_threads_pop,
               test_the_books_catch_a_callback_that_calls_cuda,
               test_a_fault_that_nobody_asked_for_ends_the_process)
