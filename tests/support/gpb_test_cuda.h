//  gpb_test_cuda - the fake CUDA driver, opened for a test
//
//  Opened by its path in the build folder; from then on the process has it as libcuda.so.1, and a
//  backend that looks for a driver finds this one.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_TEST_CUDA_H_INCLUDED
#define GPB_TEST_CUDA_H_INCLUDED

#include "gpb_fake_cuda.h"
#include "gpb_test.h"

#include <stdatomic.h>

//  Its functions, which gpb_fake_cuda.h says of: _ (member, name behind gpb_fake_cuda_).
#define GPB_TEST_CUDA_FUNCTIONS(_)                                                                 \
    _ (define, register)                                                                           \
    _ (range, range)                                                                               \
    _ (killed, killed)                                                                             \
    _ (refuse, fail)                                                                               \
    _ (calls, calls)                                                                               \
    _ (call, call)                                                                                 \
    _ (faults, faults)                                                                             \
    _ (reset, reset)

typedef struct {
    gpb_cuda_driver_t cuda;
#define GPB_TEST_CUDA_MEMBER(member, name) __typeof__ (gpb_fake_cuda_##name) *member;
    GPB_TEST_CUDA_FUNCTIONS (GPB_TEST_CUDA_MEMBER)
#undef GPB_TEST_CUDA_MEMBER
} gpb_test_cuda_t;

//  The folder in which it is: for the LD_LIBRARY_PATH of a program that a test starts.
const char *gpb_test_cuda_folder (void);

//  Opens it, once for the process. Nothing of CUDA's is called yet.
const gpb_test_cuda_t *gpb_test_cuda (void);

//  Asserts that a call of the driver's answers this.
#define ck_assert_cuda(expression, expected)                                                       \
    do {                                                                                           \
        CUresult ck_result = (expression);                                                         \
        ck_assert_msg (ck_result == (expected), "%s answers %d instead of %s", #expression,        \
                       (int) ck_result, #expected);                                                \
    } while (0)

#define ck_assert_cuda_ok(expression) ck_assert_cuda (expression, CUDA_SUCCESS)

//  Asserts that there was one fault since faults were asked for last, with this part of a sentence,
//  or none where part is NULL.
void gpb_test_cuda_expect_fault (const char *part);

//  ---------------------------------------------------------------------------------------------------------
//  What tests of the driver itself begin and end with. Each asserts that it goes well.

//  An image with kernels, which gpb_test_cuda_open registers. add (a, b, c, i32 n) adds floats;
//  fail fails its context; halt ends when it is let go, and so does hold (memory); stay is
//  persistent, and ends then too, or when it is killed; write counts; nothing does nothing.
#define GPB_TEST_CUBIN "fake cubin sm_90: add fail halt hold nothing stay write"

extern atomic_uint gpb_test_cuda_started;    //  halt, hold and stay
extern atomic_uint gpb_test_cuda_let_go;     //  1: lets them go
extern atomic_uint gpb_test_cuda_written;

void gpb_test_cuda_wait_for (const atomic_uint *number, unsigned least);

//  The first device's context, retained, and current on this thread.
CUcontext gpb_test_cuda_open (void);

//  Gives that back, and asserts that there were no faults.
void gpb_test_cuda_close (void);

CUstream gpb_test_cuda_stream (void);

//  Synchronises and destroys it.
void gpb_test_cuda_end_stream (CUstream stream);

CUevent gpb_test_cuda_event (unsigned flags);
CUmodule gpb_test_cuda_module (const char *image);
CUfunction gpb_test_cuda_function (CUmodule module, const char *name);

//  One block of 32 threads.
CUresult gpb_test_cuda_launch (CUfunction function, CUstream stream, void **parameters);

CUdeviceptr gpb_test_cuda_allocate (size_t size);
CUmemoryPool gpb_test_cuda_pool (uint64_t threshold);

//  From a pool, and waits for the stream to come to it, where there is memory.
CUresult gpb_test_cuda_allocate_from (CUmemoryPool pool, size_t size, CUstream stream,
                                      CUdeviceptr *address);

//  What the driver says is free.
size_t gpb_test_cuda_free_size (void);

#endif
