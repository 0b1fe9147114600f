//  test_zero - outputs that are zero bytes when the kernel starts, on a device with memory of its
//  own and on one that shares the host's
//
//  Each test composes a node that allows registering, and registers a kernel that leaves its output
//  as it finds it, or adds to it; what comes back is then what the runtime put there. The fake
//  backend's memory starts as 0xA5; on OpenCL a launch buffer is made dirty first, and used again.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb.h"
#include "gpb.pb-c.h"
#include "gpb_test.h"

#include <stdlib.h>
#include <string.h>

#define N 1000
#define SIZE (N * sizeof (uint32_t))

//  ---------------------------------------------------------------------------------------------------------
//  A node and a client of it

static zactor_t *s_node;
static gpb_client_t *s_client;

static void
s_command (const char *command, const char *argument)
{
    ck_assert_int_eq (zstr_sendx (s_node, command, argument, NULL), 0);
    char *status = zstr_recv (s_node);
    char *text = zstr_recv (s_node);
    ck_assert_msg (status && streq (status, "OK"), "%s: %s: %s", command, status, text);
    zstr_free (&status);
    zstr_free (&text);
}

static void
s_start (const char *backend)
{
    gpb_error_t error = { 0 };
    gpb_config_t *config = gpb_config_new ();
    ck_assert_ptr_nonnull (config);
    ck_assert_ok (gpb_config_set (config, "backends", backend, &error));
    ck_assert_ok (gpb_config_set (config, "allow_register", "true", &error));
    s_node = zactor_new (gpb_actor, config);
    ck_assert_ptr_nonnull (s_node);
    gpb_config_destroy (&config);
    s_command ("BIND", "inproc://zero");
    s_command ("START", NULL);
    s_client = gpb_client_new ("inproc://zero", &error);
    ck_assert_msg (s_client != NULL, "%s", error.text);
}

static void
s_stop (void)
{
    gpb_client_destroy (&s_client);
    zactor_destroy (&s_node);
}

static gpb_reply_t *
s_call (gpb_request_t *request)
{
    gpb_error_t error = { 0 };
    gpb_reply_t *reply = gpb_client_call (s_client, &request, &error);
    ck_assert_msg (reply != NULL, "%s", error.text);
    ck_assert_msg (gpb_reply_status (reply) == GPB_OK, "%s: %s",
                   gpb_status_name (gpb_reply_status (reply)), gpb_reply_message (reply));
    return reply;
}

static void
s_do (gpb_request_t *request)
{
    gpb_reply_t *reply = s_call (request);
    gpb_reply_destroy (&reply);
}

//  ---------------------------------------------------------------------------------------------------------
//  Kernels of one output of n elements

static void
s_register (const char *id, const char *zero, const char *source)
{
    char definition [1024];
    snprintf (definition, sizeof definition,
              "id = \"%s\"; source = \"%s.c\";\n"
              "parameters = (\n"
              "    { name = \"out\"; direction = \"out\"; type = \"u32\"; count = \"n\"; %s },\n"
              "    { name = \"n\"; direction = \"scalar\"; type = \"u32\"; } );\n"
              "global = [ \"n\" ];",
              id, id, zero);
    s_do (gpb_request_register (definition, source, false));
}

//  Fills what it is given with ones, and adds one to what is there.
static const char s_dirty [] = "KERNEL void dirty (GLOBAL uint *out, uint n)\n"
                               "{ if (global_id (0) < n) out [global_id (0)] = 0xffffffff; }\n";
static const char s_count [] = "KERNEL void count (GLOBAL uint *out, uint n)\n"
                               "{ if (global_id (0) < n) out [global_id (0)] += 1; }\n";

static gpb_reply_t *
s_run (const char *id)
{
    gpb_request_t *request = gpb_request_execute (id);
    gpb_request_out (request, 0);
    gpb_request_u32 (request, N);
    return s_call (request);
}

static void
s_run_on (const char *id, uint64_t handle, uint64_t offset)
{
    gpb_request_t *request = gpb_request_execute (id);
    gpb_request_buffer (request, handle, offset, 0);
    gpb_request_u32 (request, N);
    s_do (request);
}

static void
s_check_all (const void *data, size_t size, uint32_t expected)
{
    ck_assert_uint_eq (size, SIZE);
    for (size_t at = 0; at < N; at++) {
        uint32_t value;
        memcpy (&value, (const char *) data + at * sizeof value, sizeof value);
        ck_assert_msg (value == expected, "element %zu is %08x instead of %08x", at, value,
                       expected);
    }
}

static void
s_check_result (gpb_reply_t **reply_p, uint32_t expected)
{
    size_t size = 0;
    const void *data = gpb_reply_result (*reply_p, 0, &size);
    s_check_all (data, size, expected);
    ck_assert_uint_eq (gpb_reply_header_peek (*reply_p)->execute->timing->host_copied, 0);
    gpb_reply_destroy (reply_p);
}

//  Of three times SIZE bytes, all 0x5A.
static uint64_t
s_rent_dirty (void)
{
    gpb_reply_t *reply = s_call (gpb_request_rent (3 * SIZE, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE));
    uint64_t handle = gpb_reply_handle (reply);
    gpb_reply_destroy (&reply);
    unsigned char data [3 * SIZE];
    memset (data, 0x5A, sizeof data);
    s_do (gpb_request_write (handle, 0, data, sizeof data));
    return handle;
}

//  The middle third is all `expected`, and what is before and behind it as it was.
static void
s_check_middle (uint64_t handle, uint32_t expected)
{
    gpb_reply_t *reply = s_call (gpb_request_read (handle, 0, 0));
    size_t size = 0;
    const char *data = gpb_reply_result (reply, 0, &size);
    ck_assert_uint_eq (size, 3 * SIZE);
    s_check_all (data, SIZE, 0x5A5A5A5A);
    s_check_all (data + SIZE, SIZE, expected);
    s_check_all (data + 2 * SIZE, SIZE, 0x5A5A5A5A);
    gpb_reply_destroy (&reply);
}

//  ---------------------------------------------------------------------------------------------------------

START_TEST (test_device_memory_is_zeroed_where_the_package_says_so)
{
    s_start ("fake");
    s_register ("plain", "", "fake: noop plain");
    s_register ("zeroed", "zero = true;", "fake: noop zeroed");
    gpb_reply_t *reply = s_run ("plain");
    //  What the kernel did not write is what the memory held: else the next line shows nothing.
    s_check_result (&reply, 0xA5A5A5A5);
    reply = s_run ("zeroed");
    s_check_result (&reply, 0);
    s_stop ();
}
END_TEST

START_TEST (test_of_a_rented_buffer_only_its_range_is_zeroed)
{
    s_start ("fake");
    s_register ("plain", "", "fake: noop plain");
    s_register ("zeroed", "zero = true;", "fake: noop zeroed");
    uint64_t handle = s_rent_dirty ();
    s_run_on ("plain", handle, SIZE);
    s_check_middle (handle, 0x5A5A5A5A);
    s_run_on ("zeroed", handle, SIZE);
    s_check_middle (handle, 0);
    s_stop ();
}
END_TEST

START_TEST (test_a_launch_buffer_that_is_used_again_is_zeroed_again)
{
    s_start ("opencl");
    s_register ("dirty", "", s_dirty);
    s_register ("count", "zero = true;", s_count);
    for (int repeat = 0; repeat < 5; repeat++) {
        gpb_reply_t *reply = s_run ("dirty");
        s_check_result (&reply, 0xffffffff);
        reply = s_run ("count");
        s_check_result (&reply, 1);
    }
    s_stop ();
}
END_TEST

//  Requests to one rented buffer run in order, and each finds zeroes, however many are on their
//  way.
START_TEST (test_zeroing_waits_for_what_runs_on_the_buffer_before)
{
    s_start ("opencl");
    s_register ("dirty", "", s_dirty);
    s_register ("count", "zero = true;", s_count);
    uint64_t handle = s_rent_dirty ();
    gpb_error_t error = { 0 };
    for (int repeat = 0; repeat < 32; repeat++) {
        gpb_request_t *request = gpb_request_execute (repeat % 2 ? "count" : "dirty");
        gpb_request_buffer (request, handle, SIZE, 0);
        gpb_request_u32 (request, N);
        ck_assert_msg (gpb_client_send (s_client, &request, &error) != 0, "%s", error.text);
    }
    for (int repeat = 0; repeat < 32; repeat++) {
        gpb_reply_t *reply = gpb_client_recv (s_client, 10000);
        ck_assert_ptr_nonnull (reply);
        ck_assert_int_eq (gpb_reply_status (reply), GPB_OK);
        gpb_reply_destroy (&reply);
    }
    s_check_middle (handle, 1);
    s_stop ();
}
END_TEST

START_TEST (test_an_output_of_no_elements_is_no_zeroing)
{
    s_start ("fake");
    s_do (gpb_request_register (
        "id = \"few\"; source = \"few.c\"; global = [ 1 ];\n"
        "parameters = ( { name = \"out\"; direction = \"out\"; type = \"u32\"; count = \"n\";\n"
        "                 zero = true; },\n"
        "               { name = \"n\"; direction = \"scalar\"; type = \"u32\"; } );",
        "fake: noop few", false));
    gpb_request_t *request = gpb_request_execute ("few");
    gpb_request_out (request, 0);
    gpb_request_u32 (request, 0);
    gpb_reply_t *reply = s_call (request);
    size_t size = SIZE_MAX;
    gpb_reply_result (reply, 0, &size);
    ck_assert_uint_eq (size, 0);
    gpb_reply_destroy (&reply);
    s_stop ();
}
END_TEST

GPB_TEST_MAIN ("zeroed outputs", 30, test_device_memory_is_zeroed_where_the_package_says_so,
               test_of_a_rented_buffer_only_its_range_is_zeroed,
               test_a_launch_buffer_that_is_used_again_is_zeroed_again,
               test_zeroing_waits_for_what_runs_on_the_buffer_before,
               test_an_output_of_no_elements_is_no_zeroing)
