//  gpb_test_cuda - the fake CUDA driver, opened for a test
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_test_cuda.h"

#include <dlfcn.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *
gpb_test_cuda_folder (void)
{
    static char folder [1024];
    const char *build = getenv ("GPB_BUILD_DIR");
    snprintf (folder, sizeof folder, "%s/tests/support/.libs", build ? build : ".");
    return folder;
}

static void
s_find (void *library, const char *symbol, void *place)
{
    void *found = dlsym (library, symbol);
    ck_assert_msg (found != NULL, "the fake CUDA driver has no %s", symbol);
    memcpy (place, &found, sizeof found);
}

const gpb_test_cuda_t *
gpb_test_cuda (void)
{
    static gpb_test_cuda_t self;
    if (self.reset)
        return &self;
    char path [1100];
    snprintf (path, sizeof path, "%s/libcuda.so.1", gpb_test_cuda_folder ());
    void *library = dlopen (path, RTLD_NOW | RTLD_LOCAL);
    ck_assert_msg (library != NULL, "%s", dlerror ());
#define S_DRIVER(name, symbol, parameters) s_find (library, #symbol, &self.cuda.name);
    GPB_CUDA_FUNCTIONS (S_DRIVER)
    GPB_CUDA_NEWER_FUNCTIONS (S_DRIVER)
#define S_FAKE(member, name) s_find (library, "gpb_fake_cuda_" #name, &self.member);
    GPB_TEST_CUDA_FUNCTIONS (S_FAKE)
    return &self;
}

void
gpb_test_cuda_expect_fault (const char *part)
{
    char text [4096];
    const unsigned faults = gpb_test_cuda ()->faults (text, sizeof text);
    ck_assert_msg (faults == (part != NULL) && (!part || strstr (text, part)),
                   "%u faults, and \"%s\" is what was expected:\n%s", faults, part ? part : "none",
                   text);
}

//  ---------------------------------------------------------------------------------------------------------
//  Kernels

atomic_uint gpb_test_cuda_started, gpb_test_cuda_let_go, gpb_test_cuda_written;

static const gpb_test_cuda_t *s_fake;
static const gpb_cuda_driver_t *s_cuda;

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

static CUresult
s_halt (const gpb_fake_cuda_launch_t *launch)
{
    (void) launch;
    atomic_fetch_add (&gpb_test_cuda_started, 1);
    while (!atomic_load (&gpb_test_cuda_let_go))
        sched_yield ();
    return CUDA_SUCCESS;
}

static CUresult
s_stay (const gpb_fake_cuda_launch_t *launch)
{
    (void) launch;
    atomic_fetch_add (&gpb_test_cuda_started, 1);
    while (!atomic_load (&gpb_test_cuda_let_go) && !s_fake->killed ())
        sched_yield ();
    return CUDA_SUCCESS;
}

static CUresult
s_write (const gpb_fake_cuda_launch_t *launch)
{
    (void) launch;
    atomic_fetch_add (&gpb_test_cuda_written, 1);
    return CUDA_SUCCESS;
}

void
gpb_test_cuda_wait_for (const atomic_uint *number, unsigned least)
{
    while (atomic_load (number) < least)
        sched_yield ();
}

//  ---------------------------------------------------------------------------------------------------------
//  What a test begins and ends with

static void
s_define (const char *name, gpb_fake_cuda_kernel_t *run, bool is_persistent)
{
    const gpb_fake_cuda_function_t function = { .name = name,
                                                .run = run,
                                                .is_persistent = is_persistent };
    s_fake->define (&function);
}

CUcontext
gpb_test_cuda_open (void)
{
    CUcontext context = NULL;
    s_fake = gpb_test_cuda ();
    s_cuda = &s_fake->cuda;
    const gpb_fake_cuda_function_t add = {
        .name = "add", .run = s_add, .parameters_count = 4, .parameters = { 8, 8, 8, 4 }
    };
    const gpb_fake_cuda_function_t hold = {
        .name = "hold", .run = s_halt, .parameters_count = 1, .parameters = { 8 }
    };
    s_fake->define (&add);
    s_fake->define (&hold);
    s_define ("fail", s_fail, false);
    s_define ("halt", s_halt, false);
    s_define ("stay", s_stay, true);
    s_define ("write", s_write, false);
    ck_assert_cuda_ok (s_cuda->cuInit (0));
    ck_assert_cuda_ok (s_cuda->cuDevicePrimaryCtxRetain (&context, 0));
    ck_assert_cuda_ok (s_cuda->cuCtxPushCurrent (context));
    return context;
}

void
gpb_test_cuda_close (void)
{
    ck_assert_cuda_ok (s_cuda->cuCtxPopCurrent (NULL));
    ck_assert_cuda_ok (s_cuda->cuDevicePrimaryCtxRelease (0));
    gpb_test_cuda_expect_fault (NULL);
}

CUstream
gpb_test_cuda_stream (void)
{
    CUstream stream = NULL;
    ck_assert_cuda_ok (s_cuda->cuStreamCreate (&stream, CU_STREAM_NON_BLOCKING));
    return stream;
}

void
gpb_test_cuda_end_stream (CUstream stream)
{
    ck_assert_cuda_ok (s_cuda->cuStreamSynchronize (stream));
    ck_assert_cuda_ok (s_cuda->cuStreamDestroy (stream));
}

CUevent
gpb_test_cuda_event (unsigned flags)
{
    CUevent event = NULL;
    ck_assert_cuda_ok (s_cuda->cuEventCreate (&event, flags));
    return event;
}

CUmodule
gpb_test_cuda_module (const char *image)
{
    CUmodule module = NULL;
    ck_assert_cuda_ok (s_cuda->cuModuleLoadDataEx (&module, image, 0, NULL, NULL));
    return module;
}

CUfunction
gpb_test_cuda_function (CUmodule module, const char *name)
{
    CUfunction function = NULL;
    ck_assert_cuda_ok (s_cuda->cuModuleGetFunction (&function, module, name));
    return function;
}

CUresult
gpb_test_cuda_launch (CUfunction function, CUstream stream, void **parameters)
{
    return s_cuda->cuLaunchKernel (function, 1, 1, 1, 32, 1, 1, 0, stream, parameters, NULL);
}

CUdeviceptr
gpb_test_cuda_allocate (size_t size)
{
    CUdeviceptr address = 0;
    ck_assert_cuda_ok (s_cuda->cuMemAlloc (&address, size));
    return address;
}

CUmemoryPool
gpb_test_cuda_pool (uint64_t threshold)
{
    const CUmemPoolProps properties = { .allocType = CU_MEM_ALLOCATION_TYPE_PINNED,
                                        .location = { CU_MEM_LOCATION_TYPE_DEVICE, 0 } };
    CUmemoryPool pool = NULL;
    ck_assert_cuda_ok (s_cuda->cuMemPoolCreate (&pool, &properties));
    ck_assert_cuda_ok (
        s_cuda->cuMemPoolSetAttribute (pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &threshold));
    return pool;
}

size_t
gpb_test_cuda_free_size (void)
{
    size_t free_size = 0, total_size = 0;
    ck_assert_cuda_ok (s_cuda->cuMemGetInfo (&free_size, &total_size));
    return free_size;
}

CUresult
gpb_test_cuda_allocate_from (CUmemoryPool pool, size_t size, CUstream stream, CUdeviceptr *address)
{
    CUresult result = s_cuda->cuMemAllocFromPoolAsync (address, size, pool, stream);
    if (result == CUDA_SUCCESS)
        ck_assert_cuda_ok (s_cuda->cuStreamSynchronize (stream));
    return result;
}
