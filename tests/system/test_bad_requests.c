//  test_bad_requests - what a node makes of requests that are well formed and ask for what is wrong
//
//  Sizes, counts, types, numbers that are none, kernels that are not there or do not compile, ids
//  that are in flight, and clients that leave while they are served. The kernels are the shipped
//  ones on an OpenCL device where it is about them, and the fake backend's where it is about memory
//  or time. After every case another client is served.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_test_node.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define GIB (UINT64_C (1) << 30)

static gpb_test_node_t s_node;
static gpb_client_t *s_client;    //  that asks for what is wrong
static gpb_client_t *s_good;

static void
s_connect (void)
{
    s_client = gpb_test_client (&s_node);
    s_good = gpb_test_client (&s_node);
}

static void
s_start_opencl (void)
{
    gpb_test_use_packages ("tests/kernels_fake");
    gpb_test_node_start (&s_node, "--backends", "opencl", "--set", "allow_register=true");
    s_connect ();
}

static void
s_start_fake (unsigned devices)
{
    gpb_test_use_fake (devices, 64 << 20);
    gpb_test_node_start (&s_node, "--backends", "fake");
    s_connect ();
}

static void
s_check_serves (void)
{
    gpb_reply_t *reply = gpb_test_call_ok (s_good, gpb_request_health ());
    ck_assert_int_eq (gpb_reply_header_peek (reply)->health->ready, 1);
    gpb_reply_destroy (&reply);
}

static void
s_stop (void)
{
    gpb_client_destroy (&s_client);
    s_check_serves ();
    gpb_test_wait_figure (s_good, gpb_test_in_flight, 0);
    gpb_test_wait_figure (s_good, gpb_test_queue_depth, 0);
    gpb_test_wait_figure (s_good, gpb_test_rented, 0);
    gpb_test_wait_figure (s_good, gpb_test_connections, 1);
    gpb_client_destroy (&s_good);
    gpb_test_node_stop (&s_node);
}

typedef struct {
    const char *what;
    gpb_request_t *(*make) (void);
    gpb_status_t status;
    const char *part;
} s_case_t;

static void
s_check_cases (const s_case_t *cases, size_t count)
{
    size_t failures = 0;
    for (size_t index = 0; index < count; index++) {
        gpb_reply_t *reply = gpb_test_call (s_client, cases [index].make ());
        if (gpb_reply_status (reply) != cases [index].status
            || !strstr (gpb_reply_message (reply), cases [index].part))
        {
            failures++;
            fprintf (stderr, "%s: %s, expected %s with \"%s\": %s\n", cases [index].what,
                     gpb_status_name (gpb_reply_status (reply)),
                     gpb_status_name (cases [index].status), cases [index].part,
                     gpb_reply_message (reply));
        }
        gpb_reply_destroy (&reply);
        s_check_serves ();
    }
    ck_assert_uint_eq (failures, 0);
}

//  ---------------------------------------------------------------------------------------------------------
//  Arguments of shipped kernels

static float s_data [16] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 };

//  vector_add with payloads of these sizes, and n.
static gpb_request_t *
s_add (size_t a_size, size_t b_size, size_t c_size, int32_t n)
{
    gpb_request_t *request = gpb_request_execute ("vector_add");
    gpb_request_in (request, s_data, a_size);
    gpb_request_in (request, s_data, b_size);
    gpb_request_out (request, c_size);
    gpb_request_i32 (request, n);
    return request;
}

static gpb_request_t *
s_no_arguments (void)
{
    return gpb_request_execute ("vector_add");
}

static gpb_request_t *
s_too_many_arguments (void)
{
    gpb_request_t *request = s_add (16, 16, 0, 4);
    gpb_request_i32 (request, 4);
    gpb_request_i32 (request, 4);
    return request;
}

static gpb_request_t *
s_negative_count (void)
{
    return s_add (16, 16, 0, -4);
}

static gpb_request_t *
s_smallest_count (void)
{
    return s_add (16, 16, 0, INT32_MIN);
}

static gpb_request_t *
s_count_beyond_payload (void)
{
    return s_add (16, 16, 0, 5);
}

static gpb_request_t *
s_count_below_payload (void)
{
    return s_add (16, 16, 0, 3);
}

static gpb_request_t *
s_claim_of_inputs (void)
{
    return s_add (16, 16, 0, 1 << 28);
}

static gpb_request_t *
s_claim_of_output (void)
{
    return s_add (16, 16, GIB, 4);
}

static gpb_request_t *
s_claim_of_largest_output (void)
{
    return s_add (16, 16, SIZE_MAX, 4);
}

static gpb_request_t *
s_odd_payload (void)
{
    return s_add (15, 16, 0, 4);
}

static gpb_request_t *
s_no_payload (void)
{
    return s_add (0, 16, 0, 4);
}

static gpb_request_t *
s_memory_claim (void)
{
    gpb_request_t *request = s_add (16, 16, 0, 4);
    gpb_request_set_memory (request, UINT64_MAX);
    return request;
}

static gpb_request_t *
s_scalar_of_type (void (*add) (gpb_request_t *request))
{
    gpb_request_t *request = gpb_request_execute ("vector_add");
    gpb_request_in (request, s_data, 16);
    gpb_request_in (request, s_data, 16);
    gpb_request_out (request, 0);
    add (request);
    return request;
}

static void
s_put_u32 (gpb_request_t *request)
{
    gpb_request_u32 (request, 4);
}

static void
s_put_i64 (gpb_request_t *request)
{
    gpb_request_i64 (request, 4);
}

static void
s_put_f64 (gpb_request_t *request)
{
    gpb_request_f64 (request, NAN);
}

static void
s_put_payload (gpb_request_t *request)
{
    gpb_request_in (request, s_data, 4);
}

static gpb_request_t *
s_scalar_u32 (void)
{
    return s_scalar_of_type (s_put_u32);
}

static gpb_request_t *
s_scalar_i64 (void)
{
    return s_scalar_of_type (s_put_i64);
}

static gpb_request_t *
s_scalar_f64 (void)
{
    return s_scalar_of_type (s_put_f64);
}

static gpb_request_t *
s_scalar_as_payload (void)
{
    return s_scalar_of_type (s_put_payload);
}

static gpb_request_t *
s_input_as_output (void)
{
    gpb_request_t *request = gpb_request_execute ("vector_add");
    gpb_request_out (request, 16);
    gpb_request_in (request, s_data, 16);
    gpb_request_out (request, 0);
    gpb_request_i32 (request, 4);
    return request;
}

static gpb_request_t *
s_local_size (uint64_t x)
{
    gpb_request_t *request = s_add (16, 16, 0, 4);
    gpb_request_set_local (request, 1, &x);
    return request;
}

static gpb_request_t *
s_local_size_zero (void)
{
    return s_local_size (0);
}

static gpb_request_t *
s_local_size_largest (void)
{
    return s_local_size (UINT64_MAX);
}

static gpb_request_t *
s_local_dimensions (void)
{
    gpb_request_t *request = s_add (16, 16, 0, 4);
    gpb_request_set_local (request, 3, (uint64_t []){ 1, 1, 1 });
    return request;
}

static gpb_request_t *
s_mandelbrot (uint32_t width, uint32_t height, float left, uint32_t limit)
{
    gpb_request_t *request = gpb_request_execute ("mandelbrot");
    gpb_request_out (request, 0);
    gpb_request_u32 (request, width);
    gpb_request_u32 (request, height);
    gpb_request_f32 (request, left);
    gpb_request_f32 (request, left);
    gpb_request_f32 (request, left);
    gpb_request_u32 (request, limit);
    return request;
}

//  2^32 - 1 squared, times 4: just below 2^66.
static gpb_request_t *
s_overflowing_picture (void)
{
    return s_mandelbrot (UINT32_MAX, UINT32_MAX, 0, 1);
}

static gpb_request_t *
s_endless_kernel (void)
{
    return s_mandelbrot (1, 1, 0, 1000001);
}

//  2^62 + 4 elements of 4 bytes are 16 bytes in 64 bits.
static gpb_request_t *
s_overflowing_count (void)
{
    gpb_request_t *request = gpb_request_execute ("saxpy");
    gpb_request_in (request, s_data, 16);
    gpb_request_in (request, s_data, 16);
    gpb_request_f32 (request, 1);
    gpb_request_u64 (request, (UINT64_C (1) << 62) + 4);
    return request;
}

static gpb_request_t *
s_unknown_kernel (void)
{
    return gpb_request_execute ("vector_add2");
}

static gpb_request_t *
s_empty_kernel_id (void)
{
    return gpb_request_execute ("");
}

static gpb_request_t *
s_path_as_kernel_id (void)
{
    return gpb_request_execute ("../../etc/passwd");
}

static gpb_request_t *
s_format_as_kernel_id (void)
{
    return gpb_request_execute ("%s%n%s%n");
}

static gpb_request_t *
s_kernels_of_path (void)
{
    return gpb_request_kernels ("..");
}

static const s_case_t s_argument_cases [] = {
    { "no arguments", s_no_arguments, GPB_INVALID_ARGUMENT, "4" },
    { "too many arguments", s_too_many_arguments, GPB_INVALID_ARGUMENT, "6" },
    { "a negative count", s_negative_count, GPB_INVALID_ARGUMENT, "-4" },
    { "the smallest count", s_smallest_count, GPB_INVALID_ARGUMENT, "-2147483648" },
    { "a count beyond the payload", s_count_beyond_payload, GPB_INVALID_ARGUMENT, "20" },
    { "a count below the payload", s_count_below_payload, GPB_INVALID_ARGUMENT, "12" },
    { "a claim of 1 GiB for 16 bytes", s_claim_of_inputs, GPB_INVALID_ARGUMENT, "1073741824" },
    { "a claim of 1 GiB of output", s_claim_of_output, GPB_INVALID_ARGUMENT, "1073741824" },
    { "a claim of all output there is", s_claim_of_largest_output, GPB_RESOURCE_EXHAUSTED, "" },
    { "a payload of no whole element", s_odd_payload, GPB_INVALID_ARGUMENT, "15" },
    { "an empty payload", s_no_payload, GPB_INVALID_ARGUMENT, "0" },
    { "a claim of all memory there is", s_memory_claim, GPB_RESOURCE_EXHAUSTED, "available" },
    { "u32 for i32", s_scalar_u32, GPB_INVALID_ARGUMENT, "u32" },
    { "i64 for i32", s_scalar_i64, GPB_INVALID_ARGUMENT, "i64" },
    { "f64 for i32", s_scalar_f64, GPB_INVALID_ARGUMENT, "f64" },
    { "a payload for a scalar", s_scalar_as_payload, GPB_INVALID_ARGUMENT, "payload" },
    { "an output for an input", s_input_as_output, GPB_INVALID_ARGUMENT, "output" },
    { "a local size of 0", s_local_size_zero, GPB_INVALID_ARGUMENT, "at least 1" },
    { "a local size of 2^64 - 1", s_local_size_largest, GPB_INVALID_ARGUMENT, "at most" },
    { "a local size of three dimensions", s_local_dimensions, GPB_INVALID_ARGUMENT, "dimension" },
    { "width * height * 4 past 64 bits", s_overflowing_picture, GPB_INVALID_ARGUMENT, "64 bits" },
    { "a limit over its maximum", s_endless_kernel, GPB_INVALID_ARGUMENT, "1000000" },
    { "n * 4 past 64 bits", s_overflowing_count, GPB_INVALID_ARGUMENT, "64 bits" },
    { "an unknown kernel", s_unknown_kernel, GPB_NOT_FOUND, "vector_add2" },
    { "an empty kernel id", s_empty_kernel_id, GPB_INVALID_ARGUMENT, "[a-z0-9_.-]" },
    { "a path for a kernel id", s_path_as_kernel_id, GPB_INVALID_ARGUMENT, "[a-z0-9_.-]" },
    { "a format for a kernel id", s_format_as_kernel_id, GPB_INVALID_ARGUMENT, "[a-z0-9_.-]" },
    { "kernels of a path", s_kernels_of_path, GPB_INVALID_ARGUMENT, "[a-z0-9_.-]" },
};

START_TEST (test_arguments_that_are_wrong_never_reach_a_device)
{
    s_start_opencl ();
    s_check_cases (s_argument_cases, sizeof s_argument_cases / sizeof s_argument_cases [0]);
    s_stop ();
}
END_TEST

START_TEST (test_no_work_is_no_error)
{
    s_start_opencl ();
    size_t size = 1;
    gpb_reply_t *reply = gpb_test_call_ok (s_client, s_add (0, 0, 0, 0));
    ck_assert_uint_eq (gpb_reply_results (reply), 1);
    gpb_reply_result (reply, 0, &size);
    ck_assert_uint_eq (size, 0);
    gpb_reply_destroy (&reply);
    reply = gpb_test_call_ok (s_client, s_mandelbrot (0, 1U << 31, 0, 10));
    gpb_reply_destroy (&reply);

    uint64_t handle = gpb_test_rent (s_client, 64, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE, -1);
    reply = gpb_test_call_ok (s_client, gpb_request_write (handle, 64, "", 0));
    gpb_reply_destroy (&reply);
    reply = gpb_test_call_ok (s_client, gpb_request_copy (handle, 0, handle, 0, 0));
    gpb_reply_destroy (&reply);
    reply = gpb_test_call_ok (s_client, gpb_request_read (handle, 64, 0));
    gpb_reply_result (reply, 0, &size);
    ck_assert_uint_eq (size, 0);
    gpb_reply_destroy (&reply);
    s_stop ();
}
END_TEST

//  They are values as others are: the kernel computes with them, and comes to an end.
START_TEST (test_scalars_that_are_no_numbers_are_computed_with)
{
    s_start_opencl ();
    const float values [] = { NAN, INFINITY, -INFINITY };
    for (size_t index = 0; index < 3; index++) {
        gpb_request_t *request = gpb_request_execute ("saxpy");
        gpb_request_in (request, s_data, 16);
        gpb_request_in (request, s_data, 16);
        gpb_request_f32 (request, values [index]);
        gpb_request_u64 (request, 4);
        gpb_reply_t *reply = gpb_test_call_ok (s_client, request);
        const float *y = gpb_reply_result (reply, 0, NULL);
        for (size_t at = 0; at < 4; at++)
            ck_assert (isnan (values [index]) ? isnan (y [at]) : isinf (y [at]));
        gpb_reply_destroy (&reply);
        reply = gpb_test_call_ok (s_client, s_mandelbrot (8, 8, values [index], 1000));
        gpb_reply_destroy (&reply);
    }
    s_stop ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Memory

static gpb_request_t *
s_rent_gib (void)
{
    return gpb_request_rent (GIB, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE);
}

static gpb_request_t *
s_rent_all (void)
{
    return gpb_request_rent (UINT64_MAX, GPB_RENT_MAPPED, GPB_RENT_READ_WRITE);
}

static gpb_request_t *
s_rent_nothing (void)
{
    return gpb_request_rent (0, GPB_RENT_MAPPED, GPB_RENT_READ_ONLY);
}

static gpb_request_t *
s_output_gib (void)
{
    gpb_request_t *request = gpb_request_execute ("measure");
    gpb_request_out (request, 0);
    gpb_request_u64 (request, GIB / 4);
    gpb_request_u64 (request, 1);
    return request;
}

static gpb_request_t *
s_write_nowhere (void)
{
    return gpb_request_write (0, UINT64_MAX, s_data, 16);
}

static gpb_request_t *
s_release_nothing (void)
{
    return gpb_request_release (UINT64_MAX);
}

static const s_case_t s_memory_cases [] = {
    { "a rent of 1 GiB", s_rent_gib, GPB_RESOURCE_EXHAUSTED, "1073741824" },
    { "a rent of all there is", s_rent_all, GPB_RESOURCE_EXHAUSTED, "18446744073709551615" },
    { "a rent of nothing", s_rent_nothing, GPB_INVALID_ARGUMENT, "0" },
    { "an output of 1 GiB", s_output_gib, GPB_INVALID_ARGUMENT, "1073741824" },
    { "a write to no buffer", s_write_nowhere, GPB_NOT_FOUND, "0000000000000000" },
    { "a release of no buffer", s_release_nothing, GPB_NOT_FOUND, "ffffffffffffffff" },
};

START_TEST (test_claims_take_no_memory)
{
    s_start_fake (2);
    uint64_t available = gpb_test_figure (s_good, gpb_test_available);
    s_check_cases (s_memory_cases, sizeof s_memory_cases / sizeof s_memory_cases [0]);
    gpb_test_wait_figure (s_good, gpb_test_available, available);
    s_stop ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Kernels that do not compile

START_TEST (test_a_compilers_words_come_back_with_the_files_own_line)
{
    s_start_opencl ();
    gpb_request_t *request = gpb_request_execute ("broken");
    gpb_request_i32 (request, 1);
    gpb_reply_t *reply = gpb_test_call (s_client, request);
    ck_assert_int_eq (gpb_reply_status (reply), GPB_FAILED_PRECONDITION);
    ck_assert_msg (strstr (gpb_reply_message (reply), "broken.c:4:")
                       && strstr (gpb_reply_message (reply), "undeclared_name"),
                   "%s", gpb_reply_message (reply));
    gpb_reply_destroy (&reply);
    s_check_serves ();

    static const char definition [] = "id = \"sent\";\nsource = \"sent.c\";\n"
                                      "parameters = ( { name = \"n\"; direction = \"scalar\"; "
                                      "type = \"i32\"; } );\nglobal = [ \"1\" ];\n";
    reply =
        gpb_test_call (s_client,
                       gpb_request_register (definition,
                                             "KERNEL void\nsent (int n)\n{\n    n +;\n}\n", false));
    ck_assert_int_eq (gpb_reply_status (reply), GPB_INVALID_ARGUMENT);
    ck_assert_msg (strstr (gpb_reply_message (reply), "sent.c:4:") != NULL, "%s",
                   gpb_reply_message (reply));
    gpb_reply_destroy (&reply);

    //  What was refused is not there; what is right then is.
    reply = gpb_test_call (s_client, gpb_request_kernels ("sent"));
    ck_assert_int_eq (gpb_reply_status (reply), GPB_NOT_FOUND);
    gpb_reply_destroy (&reply);
    reply =
        gpb_test_call_ok (s_client,
                          gpb_request_register (definition,
                                                "KERNEL void\nsent (int n)\n{\n    (void) n;\n}\n",
                                                false));
    gpb_reply_destroy (&reply);
    request = gpb_request_execute ("sent");
    gpb_request_i32 (request, 1);
    reply = gpb_test_call_ok (s_client, request);
    gpb_reply_destroy (&reply);
    s_stop ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Requests in flight

static void
s_send_sleep (gpb_test_raw_t *raw, uint64_t id, int32_t us)
{
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Execute execute = GPB__V1__EXECUTE__INIT;
    Gpb__V1__Argument argument = GPB__V1__ARGUMENT__INIT, *arguments [] = { &argument };
    char kernel [] = "sleep";
    request.id = id;
    request.body_case = GPB__V1__REQUEST__BODY_EXECUTE;
    request.execute = &execute;
    execute.kernel = kernel;
    execute.n_arguments = 1;
    execute.arguments = arguments;
    argument.value_case = GPB__V1__ARGUMENT__VALUE_I32;
    argument.i32 = us;
    gpb_test_raw_request (raw, &request, NULL);
}

//  Of ten with one id, nine are refused and one is done; then the id is free. Another connection's
//  same id is nobody's business.
START_TEST (test_an_id_is_in_flight_once_on_a_connection)
{
    s_start_fake (1);
    gpb_test_raw_t raw, other;
    gpb_test_raw_open (&raw, ZMQ_DEALER, NULL, s_node.endpoints [0]);
    gpb_test_raw_open (&other, ZMQ_DEALER, NULL, s_node.endpoints [0]);
    for (size_t round = 0; round < 3; round++) {
        s_send_sleep (&raw, 5, 100000);
        for (size_t index = 0; index < 9; index++)
            s_send_sleep (&raw, 5, 0);
        s_send_sleep (&other, 5, 0);
        for (size_t index = 0; index < 9; index++)
            gpb_test_raw_expect (&raw, 5, GPB_ALREADY_EXISTS, "request 5");
        gpb_test_raw_expect (&raw, 5, GPB_OK, "");
        gpb_test_raw_expect (&other, 5, GPB_OK, "");
    }
    gpb_test_raw_close (&raw);
    gpb_test_raw_close (&other);
    s_stop ();
}
END_TEST

//  A process that is killed with requests on the device, in the queue, and memory rented: all is
//  given back, and what its kernels come to is dropped.
START_TEST (test_replies_to_a_client_that_is_gone_are_dropped)
{
    enum { REQUESTS = 100 };
    gpb_test_use_fake (1, 64 << 20);
    gpb_test_node_start (&s_node, "--backends", "fake");
    int ready [2];
    ck_assert_int_eq (pipe (ready), 0);
    pid_t child = fork ();    //  before this process has a ZeroMQ context
    if (child == 0) {
        gpb_client_t *client = gpb_test_client (&s_node);
        gpb_test_rent (client, 1 << 20, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE, -1);
        for (size_t index = 0; index < REQUESTS; index++) {
            gpb_request_t *request = gpb_test_sleep (20000);
            gpb_client_send (client, &request, NULL);
        }
        gpb_client_t *other = gpb_test_client (&s_node);
        gpb_test_wait_figure (other, gpb_test_rented, 1 << 20);
        while (gpb_test_figure (other, gpb_test_queue_depth) == 0)
            ;
        _exit (write (ready [1], "1", 1) == 1 && pause () == 0);
    }
    char byte;
    close (ready [1]);
    ck_assert_int_eq (read (ready [0], &byte, 1), 1);
    ck_assert_int_eq (kill (child, SIGKILL), 0);
    ck_assert_int_eq (waitpid (child, NULL, 0), child);
    close (ready [0]);
    s_connect ();
    gpb_test_wait_figure (s_good, gpb_test_rented, 0);
    gpb_test_wait_figure (s_good, gpb_test_queue_depth, 0);
    gpb_test_wait_figure (s_good, gpb_test_in_flight, 0);
    gpb_test_wait_figure (s_good, gpb_test_available, 64 << 20);
    s_stop ();
}
END_TEST

GPB_TEST_MAIN ("bad_requests", 60, test_arguments_that_are_wrong_never_reach_a_device,
               test_no_work_is_no_error, test_scalars_that_are_no_numbers_are_computed_with,
               test_claims_take_no_memory, test_a_compilers_words_come_back_with_the_files_own_line,
               test_an_id_is_in_flight_once_on_a_connection,
               test_replies_to_a_client_that_is_gone_are_dropped)
