//  Tests of a device's actor and a kernel host's on the CUDA backend and the fake driver: what
//  ships is compiled by NVRTC, loaded as a cubin, and computed by C functions in its place. The
//  loop of a persistent kernel is the same text as C11, in memory that the backend has mapped.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_test.h"

#include "gpb_alloc.h"
#include "gpb_backends.h"
#include "gpb_test_actor.h"
#include "gpb_test_cuda.h"
#include "gpb_test_dispatch.h"
#include "gpb_test_host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const gpb_test_cuda_t *s_fake;
static gpb_test_actor_t s_actor;
static gpb_client_t *s_client;
static gpb_test_lane_t s_lanes [16];
static const gpb_test_handler_t *s_handler;

//  ---------------------------------------------------------------------------------------------------------
//  Kernels

static uint64_t
s_word (const gpb_fake_cuda_launch_t *launch, size_t index)
{
    uint64_t word;
    memcpy (&word, launch->parameters [index], sizeof word);
    return word;
}

static CUresult
s_vector_add (const gpb_fake_cuda_launch_t *launch)
{
    int32_t count;
    memcpy (&count, launch->parameters [3], sizeof count);
    const size_t size = (size_t) count * sizeof (float);
    const float *a = s_fake->range (s_word (launch, 0), size);
    const float *b = s_fake->range (s_word (launch, 1), size);
    float *sum = s_fake->range (s_word (launch, 2), size);
    for (int32_t index = 0; a && b && sum && index < count; index++)
        sum [index] = a [index] + b [index];
    return CUDA_SUCCESS;
}

static CUresult
s_lose (const gpb_fake_cuda_launch_t *launch)
{
    (void) launch;
    return CUDA_ERROR_ILLEGAL_ADDRESS;
}

static CUresult
s_dispatch (const gpb_fake_cuda_launch_t *launch)
{
    static atomic_uint lanes;
    gpb_test_lane_t *lane = &s_lanes [atomic_fetch_add (&lanes, 1) % 16];
    void *memory = s_fake->range (s_word (launch, 0), 1);
    if (memory)
        gpb_test_dispatch (s_handler, lane, memory, s_word (launch, 1));
    return CUDA_SUCCESS;
}

static CUresult
s_once (const gpb_fake_cuda_launch_t *launch)
{
    static gpb_test_lane_t lane;
    void *memory = s_fake->range (s_word (launch, 0), 1);
    if (memory)
        gpb_test_once (s_handler, &lane, memory, s_word (launch, 1), s_word (launch, 2),
                       s_word (launch, 3), s_word (launch, 4));
    return CUDA_SUCCESS;
}

static void
s_define (void)
{
    s_fake = gpb_test_cuda ();
    const gpb_fake_cuda_function_t functions [] = {
        { .name = "vector_add",
          .run = s_vector_add,
          .parameters_count = 4,
          .parameters = { 8, 8, 8, 4 } },
        { .name = "saxpy", .run = s_lose, .parameters_count = 4, .parameters = { 8, 8, 4, 8 } },
        { .name = "gpb_dispatch",
          .run = s_dispatch,
          .is_persistent = true,
          .parameters_count = 2,
          .parameters = { 8, 8 } },
        { .name = "gpb_once",
          .run = s_once,
          .parameters_count = 5,
          .parameters = { 8, 8, 8, 8, 8 } },
    };
    for (size_t index = 0; index < sizeof functions / sizeof functions [0]; index++)
        s_fake->define (&functions [index]);
}

//  ---------------------------------------------------------------------------------------------------------
//  What the tests begin and end with

static void
s_open_device (void)
{
    s_define ();
    gpb_test_actor_device (&s_actor, "cuda", (const char *const []){ "kernel_path", "", NULL });
    s_client = gpb_test_actor_client (GPB_TEST_ACTOR_INPROC);
}

static void
s_open_host (const char *kernel)
{
    s_define ();
    s_handler = gpb_test_handler_find (kernel, strlen (kernel));
    ck_assert_ptr_nonnull (s_handler);
    gpb_test_actor_host (&s_actor, "cuda", "tests/kernels_persistent", NULL);
    s_client = gpb_test_actor_client (GPB_TEST_ACTOR_INPROC);
}

static void
s_close (void)
{
    gpb_client_destroy (&s_client);
    gpb_test_actor_stop (&s_actor);
    gpb_test_cuda_expect_fault (NULL);
}

static gpb_request_t *
s_add_request (const float *a, const float *b, int32_t count)
{
    gpb_request_t *request = gpb_request_execute ("vector_add");
    gpb_request_in (request, a, (size_t) count * sizeof *a);
    gpb_request_in (request, b, (size_t) count * sizeof *b);
    gpb_request_out (request, 0);
    gpb_request_i32 (request, count);
    return request;
}

//  ---------------------------------------------------------------------------------------------------------
//  A device

//  The specification's 1,048,576 floats, and smaller ones beside them.
START_TEST (test_a_request_is_computed_with_one_copy_each_way)
{
    static const int32_t counts [] = { 1, 1000, 1 << 20 };
    s_open_device ();
    for (size_t round = 0; round < sizeof counts / sizeof counts [0]; round++) {
        const int32_t count = counts [round];
        float *values = calloc ((size_t) count, sizeof *values);
        ck_assert_ptr_nonnull (values);
        for (int32_t index = 0; index < count; index++)
            values [index] = (float) (index % 1000);
        gpb_reply_t *reply = gpb_test_actor_ok (s_client, s_add_request (values, values, count));
        size_t size;
        const float *sums = gpb_reply_result (reply, 0, &size);
        ck_assert_uint_eq (size, (size_t) count * sizeof *sums);
        for (int32_t index = 0; index < count; index++)
            ck_assert_float_eq (sums [index], 2 * values [index]);
        const Gpb__V1__Timing *timing = gpb_reply_header_peek (reply)->execute->timing;
        ck_assert (timing->measured);
        //  In: into pinned memory; out: the reply's frames are that memory.
        ck_assert_uint_le (timing->host_copied, 3 * (uint64_t) count * sizeof *sums);
        gpb_reply_destroy (&reply);
        free (values);
    }
    s_close ();
}
END_TEST

START_TEST (test_a_device_that_is_lost_answers_everyone)
{
    s_open_device ();
    const float value = 1;
    gpb_request_t *request = gpb_request_execute ("saxpy");
    gpb_request_in (request, &value, sizeof value);
    gpb_request_in (request, &value, sizeof value);
    gpb_request_f32 (request, 2);
    gpb_request_u64 (request, 1);
    gpb_reply_t *reply = gpb_test_actor_call (s_client, request);
    ck_assert_msg (gpb_reply_status (reply) == GPB_UNAVAILABLE, "%s: %s",
                   gpb_status_name (gpb_reply_status (reply)), gpb_reply_message (reply));
    ck_assert_ptr_nonnull (strstr (gpb_reply_message (reply), "CUDA_ERROR_ILLEGAL_ADDRESS"));
    gpb_reply_destroy (&reply);
    gpb_test_actor_refused (s_client, s_add_request (&value, &value, 1), GPB_UNAVAILABLE,
                            "the device was lost");
    s_close ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Persistent kernels

START_TEST (test_a_persistent_kernel_answers_in_memory_that_is_mapped)
{
    enum { MESSAGES = 5000, IN_FLIGHT = 50 };
    s_open_host ("echo");
    uint64_t sent = 0, received = 0;
    while (received < MESSAGES) {
        for (; sent < MESSAGES && sent < received + IN_FLIGHT; sent++)
            gpb_test_actor_send (s_client, gpb_test_host_message ("echo", &sent, sizeof sent));
        gpb_reply_t *reply = gpb_test_actor_recv (s_client);
        ck_assert_msg (gpb_reply_status (reply) == GPB_OK, "%s", gpb_reply_message (reply));
        const Gpb__V1__MessageTiming *timing = gpb_reply_header_peek (reply)->execute->message;
        ck_assert (!timing->on_demand && timing->ring_ns > 0);
        gpb_reply_destroy (&reply);
        received++;
    }
    s_close ();
}
END_TEST

//  It leaves the device for that, and nothing has waited for it: the books say so.
START_TEST (test_code_is_loaded_while_no_kernel_stays)
{
    s_open_host ("double_i32");
    for (int32_t round = 0; round < 20; round++) {
        const char *kernel = round % 2 ? "double_i32" : "overflow";
        gpb_reply_t *reply =
            gpb_test_actor_call (s_client, gpb_test_host_message (kernel, &round, sizeof round));
        ck_assert_msg (gpb_reply_status (reply) == GPB_OK, "%s", gpb_reply_message (reply));
        gpb_reply_destroy (&reply);
    }
    gpb_request_t *request = gpb_test_host_message ("double_i32", &(int32_t){ 7 }, 4);
    gpb_request_on_demand (request);
    gpb_reply_t *reply = gpb_test_actor_ok (s_client, request);
    ck_assert_int_eq (*(const int32_t *) gpb_reply_result (reply, 0, NULL), 14);
    ck_assert (gpb_reply_header_peek (reply)->execute->message->on_demand);
    gpb_reply_destroy (&reply);
    s_close ();
}
END_TEST

static bool
s_has_compiler (void)
{
    static const char source [] = "extern \"C\" __global__ void nothing () {}";
    const gpb_code_t code = { .kind = GPB_CODE_SOURCE,
                              .name = "nothing.cu",
                              .data = source,
                              .size = sizeof source - 1,
                              .options = "",
                              .architecture = "" };
    gpb_error_t error;
    void *data;
    size_t size;
    bool is_there = gpb_backends_compile ("cuda", &code, "sm_90", &data, &size, &error) == GPB_OK;
    if (is_there)
        gpb_free (data);
    else
        printf ("SKIP: %s\n", error.text);
    return is_there;
}

int
main (void)
{
    if (!s_has_compiler ())
        return 77;
    const TTest *const tests [] = {
        test_a_request_is_computed_with_one_copy_each_way,
        test_a_device_that_is_lost_answers_everyone,
        test_a_persistent_kernel_answers_in_memory_that_is_mapped,
        test_code_is_loaded_while_no_kernel_stays,
    };
    return gpb_test_run ("gpb_cuda_actors", tests, sizeof tests / sizeof tests [0], 60);
}
