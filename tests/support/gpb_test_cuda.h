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

#endif
