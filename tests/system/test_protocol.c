//  test_protocol - doc/protocol.md's table of causes, held against a live node
//
//  Reads the table, provokes every cause in it on a node over tcp, and looks at the status that
//  comes back and at a part of the sentence that would help whoever reads it. The expected status
//  stands in the document alone. A cause without a provocation fails the test, and so does a
//  provocation whose cause is not in the document.
//
//  Most causes are provoked on two devices of the tests' fake backend with a mebibyte of memory
//  each; those that end a node, or want another configuration, start one of their own.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_test_node.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMORY_SIZE (1 << 20)
#define CAUSES_MAX 128

//  What a provocation works with, and what came of it.
typedef struct {
    gpb_test_node_t *node;
    gpb_client_t *client;
    gpb_test_raw_t raw;
    gpb_status_t status;
    char text [GPB_ERROR_TEXT_SIZE];
} s_stage_t;

static void
s_note (s_stage_t *self, gpb_reply_t *reply)
{
    self->status = gpb_reply_status (reply);
    snprintf (self->text, sizeof self->text, "%s", gpb_reply_message (reply));
    gpb_reply_destroy (&reply);
}

static void
s_call (s_stage_t *self, gpb_request_t *request)
{
    s_note (self, gpb_test_call (self->client, request));
}

static void
s_recv_raw (s_stage_t *self)
{
    ck_assert (gpb_test_raw_recv (&self->raw, GPB_TEST_PATIENCE_MS));
    self->status = (gpb_status_t) self->raw.reply->status;
    snprintf (self->text, sizeof self->text, "%s", self->raw.reply->message);
}

//  A DEALER's message with this header.
static void
s_send_header (s_stage_t *self, const void *header, size_t size)
{
    zmsg_t *message = zmsg_new ();
    zmsg_addmem (message, "", 0);
    zmsg_addmem (message, header, size);
    gpb_test_raw_send (&self->raw, &message);
    s_recv_raw (self);
}

//  ---------------------------------------------------------------------------------------------------------
//  Headers

static void
s_message_bounds (s_stage_t *self)
{
    static const char header [65537];
    s_send_header (self, header, sizeof header);
}

static void
s_header_garbage (s_stage_t *self)
{
    s_send_header (self, "\x08\x01\x10\x05\x00\x00\x00", 7);
}

static void
s_header_text (s_stage_t *self)
{
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__ListKernels kernels = GPB__V1__LIST_KERNELS__INIT;
    char text [] = "caf\xe9";
    request.id = 1;
    request.body_case = GPB__V1__REQUEST__BODY_KERNELS;
    request.kernels = &kernels;
    kernels.kernel = text;
    gpb_test_raw_request (&self->raw, &request, NULL);
    s_recv_raw (self);
    ck_assert_msg (strstr (self->text, "caf") == NULL, "the refusal quotes the text");
}

static void
s_header_lists (s_stage_t *self)
{
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Rent rent = GPB__V1__RENT__INIT;
    char *names [65], name [] = "gpu";
    for (size_t index = 0; index < 65; index++)
        names [index] = name;
    request.id = 1;
    request.body_case = GPB__V1__REQUEST__BODY_RENT;
    request.rent = &rent;
    rent.size = 1;
    rent.n_require = 65;
    rent.require = names;
    gpb_test_raw_request (&self->raw, &request, NULL);
    s_recv_raw (self);
}

//  Thirty thousand empty arguments: two bytes each, and a structure each once unpacked.
static void
s_header_expands (s_stage_t *self)
{
    enum { ARGUMENTS = 30000, SIZE = 2 * ARGUMENTS };
    unsigned char header [SIZE + 16] = { 0x08, 1, 0x10, 1, 0xa2, 0x01 };
    size_t at = 6;
    header [at++] = (SIZE & 0x7f) | 0x80;
    header [at++] = (SIZE >> 7 & 0x7f) | 0x80;
    header [at++] = SIZE >> 14;
    for (size_t argument = 0; argument < ARGUMENTS; argument++) {
        header [at++] = 0x12;
        header [at++] = 0;
    }
    s_send_header (self, header, at);
}

static void
s_version_unknown (s_stage_t *self)
{
    s_send_header (self, "\x08\x02\x10\x07\xe2\x01\x00", 7);
    ck_assert_uint_eq (self->raw.reply->id, 7);
}

static void
s_body_unknown (s_stage_t *self)
{
    s_send_header (self, "\x08\x01\x10\x07\x9a\x06\x00", 7);
    ck_assert_uint_eq (self->raw.reply->id, 7);
}

//  ---------------------------------------------------------------------------------------------------------
//  Requests in flight

//  An execute of sleep, as a header.
static void
s_send_sleep (s_stage_t *self, uint64_t id, int32_t us)
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
    gpb_test_raw_request (&self->raw, &request, NULL);
}

//  The second answer comes first, and is the refusal.
static void
s_id_in_flight (s_stage_t *self)
{
    s_send_sleep (self, 9, 100000);
    s_send_sleep (self, 9, 0);
    s_recv_raw (self);
    gpb_test_raw_expect (&self->raw, 9, GPB_OK, "");
}

static void
s_time_up (s_stage_t *self)
{
    gpb_request_t *request = gpb_test_sleep (200000);
    gpb_request_set_timeout (request, 20);
    s_call (self, request);
}

static void
s_cancelled (s_stage_t *self)
{
    gpb_error_t error;
    gpb_request_t *request = gpb_test_sleep (200000);
    uint64_t id = gpb_client_send (self->client, &request, &error);
    ck_assert_uint_ne (id, 0);
    ck_assert_ok (gpb_client_cancel (self->client, id, &error));
    gpb_reply_t *reply = gpb_client_recv (self->client, GPB_TEST_PATIENCE_MS);
    ck_assert_ptr_nonnull (reply);
    ck_assert_uint_eq (gpb_reply_id (reply), id);
    s_note (self, reply);
}

static void
s_cancel_nothing (s_stage_t *self)
{
    s_call (self, gpb_request_cancel (123456789));
}

//  Far more than the device takes at once and one waits: the refusal names the bound, and every
//  request is answered.
static void
s_queue_full (s_stage_t *self)
{
    enum { REQUESTS = 200 };
    gpb_test_node_t node;
    gpb_test_node_start (&node, "--backends", "fake", "--set", "max_queued_requests=1");
    gpb_client_t *client = gpb_test_client (&node);
    for (size_t index = 0; index < REQUESTS; index++) {
        gpb_error_t error;
        gpb_request_t *request = gpb_test_sleep (5000);
        ck_assert_msg (gpb_client_send (client, &request, &error) != 0, "%s", error.text);
    }
    size_t refused = 0;
    for (size_t index = 0; index < REQUESTS; index++) {
        gpb_reply_t *reply = gpb_client_recv (client, GPB_TEST_PATIENCE_MS);
        ck_assert_ptr_nonnull (reply);
        if (gpb_reply_status (reply) == GPB_OK)
            gpb_reply_destroy (&reply);
        else {
            refused++;
            s_note (self, reply);
        }
    }
    ck_assert_uint_gt (refused, 0);
    ck_assert_uint_lt (refused, REQUESTS);
    gpb_client_destroy (&client);
    gpb_test_node_stop (&node);
}

static void
s_draining (s_stage_t *self)
{
    gpb_test_node_t node;
    gpb_test_node_start (&node, "--backends", "fake");
    gpb_client_t *client = gpb_test_client (&node);
    gpb_error_t error;
    gpb_request_t *request = gpb_test_sleep (500000);
    ck_assert_uint_ne (gpb_client_send (client, &request, &error), 0);
    gpb_client_t *other = gpb_test_client (&node);
    gpb_test_wait_figure (other, gpb_test_in_flight, 1);
    ck_assert_int_eq (kill (node.pid, SIGTERM), 0);

    //  Served until the signal has come through; refused from then on.
    gpb_reply_t *reply = gpb_test_call (other, gpb_request_health ());
    while (gpb_reply_status (reply) == GPB_OK) {
        gpb_reply_destroy (&reply);
        reply = gpb_test_call (other, gpb_request_health ());
    }
    s_note (self, reply);

    //  What was accepted is finished all the same.
    reply = gpb_client_recv (client, GPB_TEST_PATIENCE_MS);
    ck_assert_ptr_nonnull (reply);
    ck_assert_int_eq (gpb_reply_status (reply), GPB_OK);
    gpb_reply_destroy (&reply);
    gpb_client_destroy (&client);
    gpb_client_destroy (&other);
    ck_assert_int_eq (gpb_test_node_wait (&node, NULL, 0), 0);
}

static void
s_connection_lost (s_stage_t *self)
{
    gpb_test_node_t node;
    gpb_test_node_start (&node, "--backends", "fake");
    gpb_client_t *client = gpb_test_client (&node), *other = gpb_test_client (&node);
    gpb_error_t error;
    gpb_request_t *request = gpb_test_sleep (10000000);
    ck_assert_uint_ne (gpb_client_send (client, &request, &error), 0);
    gpb_test_wait_figure (other, gpb_test_in_flight, 1);
    gpb_test_node_kill (&node);
    gpb_reply_t *reply = gpb_client_recv (client, GPB_TEST_PATIENCE_MS);
    ck_assert_ptr_nonnull (reply);
    s_note (self, reply);
    gpb_client_destroy (&client);
    gpb_client_destroy (&other);
}

//  ---------------------------------------------------------------------------------------------------------
//  Devices

static void
s_no_device (s_stage_t *self)
{
    setenv ("GPB_FAKE_DEVICES", "0", 1);
    gpb_test_node_t node;
    gpb_test_node_start (&node, "--backends", "fake");
    setenv ("GPB_FAKE_DEVICES", "2", 1);
    gpb_client_t *client = gpb_test_client (&node);
    s_note (self, gpb_test_call (client, gpb_test_sleep (0)));
    gpb_client_destroy (&client);
    gpb_test_node_stop (&node);
}

//  The one that was on the device, and the next that names it.
static void
s_device_lost (s_stage_t *self)
{
    gpb_test_node_t node;
    gpb_test_node_start (&node, "--backends", "fake");
    gpb_client_t *client = gpb_test_client (&node);
    gpb_request_t *request = gpb_request_execute ("lose");
    gpb_request_i32 (request, 0);
    gpb_request_set_device (request, 1);
    gpb_reply_t *reply = gpb_test_call (client, request);
    ck_assert_int_eq (gpb_reply_status (reply), GPB_UNAVAILABLE);
    gpb_reply_destroy (&reply);
    request = gpb_test_sleep (0);
    gpb_request_set_device (request, 1);
    s_note (self, gpb_test_call (client, request));

    //  The other one serves on.
    request = gpb_test_sleep (0);
    gpb_request_set_device (request, 0);
    reply = gpb_test_call_ok (client, request);
    gpb_reply_destroy (&reply);
    gpb_client_destroy (&client);
    gpb_test_node_stop (&node);
}

static void
s_driver_failed (s_stage_t *self)
{
    gpb_request_t *request = gpb_request_execute ("fail");
    gpb_request_i32 (request, 0);
    s_call (self, request);
}

static void
s_device_unknown (s_stage_t *self)
{
    gpb_request_t *request = gpb_test_sleep (0);
    gpb_request_set_device (request, 17);
    s_call (self, request);
}

static void
s_capability_missing (s_stage_t *self)
{
    gpb_request_t *request = gpb_test_sleep (0);
    gpb_request_require (request, "fake_0");
    gpb_request_require (request, "fake_1");
    s_call (self, request);
}

static void
s_memory_short (s_stage_t *self)
{
    s_call (self, gpb_request_rent (MEMORY_SIZE + 1, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE));
}

//  ---------------------------------------------------------------------------------------------------------
//  Kernels and their arguments

static void
s_kernel_unknown (s_stage_t *self)
{
    s_call (self, gpb_request_execute ("no_such_kernel"));
}

static void
s_kernel_id_wrong (s_stage_t *self)
{
    s_call (self, gpb_request_execute ("Add/1"));
}

//  c = a + b of four floats, with room to go wrong.
static gpb_request_t *
s_add (size_t a_size, bool counts)
{
    static const float a [4] = { 1, 2, 3, 4 };
    gpb_request_t *request = gpb_request_execute ("add");
    gpb_request_in (request, a, a_size);
    gpb_request_in (request, a, sizeof a);
    gpb_request_out (request, 0);
    if (counts)
        gpb_request_i32 (request, 4);
    return request;
}

static void
s_argument_count (s_stage_t *self)
{
    s_call (self, s_add (16, false));
}

static void
s_argument_type (s_stage_t *self)
{
    gpb_request_t *request = s_add (16, false);
    gpb_request_f32 (request, 4);
    s_call (self, request);
}

static void
s_argument_size (s_stage_t *self)
{
    s_call (self, s_add (12, true));
}

static gpb_request_t *
s_measure (uint64_t n, uint64_t part)
{
    gpb_request_t *request = gpb_request_execute ("measure");
    gpb_request_out (request, 0);
    gpb_request_u64 (request, n);
    gpb_request_u64 (request, part);
    return request;
}

//  4 * 2^62 is 0 in 64 bits; so is 4 * (2^62 / 1).
static void
s_size_overflow (s_stage_t *self)
{
    s_call (self, s_measure (UINT64_C (1) << 62, 0));
    ck_assert_int_eq (self->status, GPB_INVALID_ARGUMENT);
    ck_assert_msg (strstr (self->text, "division by zero") != NULL, "%s", self->text);
    s_call (self, s_measure (UINT64_C (1) << 62, 1));
}

static void
s_frame_missing (s_stage_t *self)
{
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Execute execute = GPB__V1__EXECUTE__INIT;
    Gpb__V1__Argument arguments [4], *arguments_p [4];
    char kernel [] = "add";
    for (size_t index = 0; index < 4; index++) {
        gpb__v1__argument__init (&arguments [index]);
        arguments_p [index] = &arguments [index];
    }
    arguments [0].value_case = arguments [1].value_case = GPB__V1__ARGUMENT__VALUE_FRAME;
    arguments [1].frame = 3;
    Gpb__V1__Output output = GPB__V1__OUTPUT__INIT;
    arguments [2].value_case = GPB__V1__ARGUMENT__VALUE_OUTPUT;
    arguments [2].output = &output;
    arguments [3].value_case = GPB__V1__ARGUMENT__VALUE_I32;
    arguments [3].i32 = 4;
    request.id = 11;
    request.body_case = GPB__V1__REQUEST__BODY_EXECUTE;
    request.execute = &execute;
    execute.kernel = kernel;
    execute.n_arguments = 4;
    execute.arguments = arguments_p;
    gpb_test_raw_request (&self->raw, &request, zframe_new ("0123456789abcdef", 16));
    s_recv_raw (self);
}

static void
s_global_size (s_stage_t *self)
{
    gpb_request_t *request = s_add (16, true);
    gpb_request_set_global (request, 1, (uint64_t []){ 1 << 20 });
    s_call (self, request);
}

static void
s_local_size (s_stage_t *self)
{
    gpb_request_t *request = s_add (16, true);
    gpb_request_set_local (request, 1, (uint64_t []){ 2048 });
    s_call (self, request);
}

static void
s_local_memory (s_stage_t *self)
{
    gpb_request_t *request = s_measure (4, 1);
    gpb_request_set_shared (request, 1 << 20);
    s_call (self, request);
}

static void
s_kernel_no_code (s_stage_t *self)
{
    gpb_request_t *request = gpb_request_execute ("cuda_only");
    gpb_request_i32 (request, 0);
    s_call (self, request);
}

static void
s_kernel_compile (s_stage_t *self)
{
    gpb_request_t *request = gpb_request_execute ("broken");
    gpb_request_i32 (request, 0);
    s_call (self, request);
}

//  ---------------------------------------------------------------------------------------------------------
//  Registration: the stage's node allows it

static const char s_definition [] = "id = \"nothing\";\n"
                                    "source = \"nothing.c\";\n"
                                    "parameters = ( { name = \"n\"; direction = \"scalar\"; "
                                    "type = \"i32\"; } );\n"
                                    "global = [ \"1\" ];\n";

static void
s_register_denied (s_stage_t *self)
{
    gpb_test_node_t node;
    gpb_test_node_start (&node, "--backends", "fake");
    gpb_client_t *client = gpb_test_client (&node);
    s_note (self, gpb_test_call (client,
                                 gpb_request_register (s_definition, "fake: noop nothing", false)));
    gpb_client_destroy (&client);
    gpb_test_node_stop (&node);
}

static void
s_register_exists (s_stage_t *self)
{
    gpb_reply_t *reply =
        gpb_test_call_ok (self->client,
                          gpb_request_register (s_definition, "fake: noop nothing", false));
    gpb_reply_destroy (&reply);
    s_call (self, gpb_request_register (s_definition, "fake: noop nothing", false));
}

static void
s_register_definition (s_stage_t *self)
{
    s_call (self, gpb_request_register ("id = \"nothing\";\nparameters = 3;\n", " ", false));
}

static void
s_register_compile (s_stage_t *self)
{
    s_call (self, gpb_request_register (s_definition, "nothing that the backend knows", true));
}

//  ---------------------------------------------------------------------------------------------------------
//  Rented memory

static void
s_release (s_stage_t *self, uint64_t handle)
{
    gpb_reply_t *reply = gpb_test_call_ok (self->client, gpb_request_release (handle));
    gpb_reply_destroy (&reply);
}

//  Another connection's handle, as good as one that never was.
static void
s_handle_unknown (s_stage_t *self)
{
    gpb_client_t *other = gpb_test_client (self->node);
    uint64_t handle = gpb_test_rent (other, 64, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE, -1);
    s_call (self, gpb_request_read (handle, 0, 0));
    gpb_client_destroy (&other);
}

static void
s_buffer_access (s_stage_t *self)
{
    static const float a [4] = { 0 };
    uint64_t handle = gpb_test_rent (self->client, 64, GPB_RENT_DEVICE, GPB_RENT_READ_ONLY, -1);
    gpb_request_t *request = gpb_request_execute ("add");
    gpb_request_in (request, a, sizeof a);
    gpb_request_in (request, a, sizeof a);
    gpb_request_buffer (request, handle, 0, 0);
    gpb_request_i32 (request, 4);
    s_call (self, request);
    s_release (self, handle);
}

//  offset + size is 0 in 64 bits.
static void
s_buffer_range (s_stage_t *self)
{
    uint64_t handle = gpb_test_rent (self->client, 64, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE, -1);
    s_call (self, gpb_request_read (handle, 8, UINT64_MAX - 7));
    s_release (self, handle);
}

static void
s_buffer_overlap (s_stage_t *self)
{
    uint64_t handle = gpb_test_rent (self->client, 64, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE, -1);
    s_call (self, gpb_request_copy (handle, 0, handle, 16, 32));
    s_release (self, handle);
}

static void
s_buffer_devices (s_stage_t *self)
{
    uint64_t one = gpb_test_rent (self->client, 64, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE, 0);
    uint64_t other = gpb_test_rent (self->client, 64, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE, 1);
    s_call (self, gpb_request_copy (one, 0, other, 0, 32));
    s_release (self, one);
    s_release (self, other);
}

static void
s_rent_size (s_stage_t *self)
{
    s_call (self, gpb_request_rent (0, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE));
}

static void
s_map_process (s_stage_t *self)
{
    uint64_t handle = gpb_test_rent (self->client, 64, GPB_RENT_MAPPED, GPB_RENT_READ_WRITE, -1);
    s_call (self, gpb_request_map (handle));
    s_release (self, handle);
}

static void
s_map_kind (s_stage_t *self)
{
    uint64_t handle = gpb_test_rent (self->client, 64, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE, -1);
    s_call (self, gpb_request_map (handle));
    s_release (self, handle);
}

static void
s_unmap_nothing (s_stage_t *self)
{
    uint64_t handle = gpb_test_rent (self->client, 64, GPB_RENT_MAPPED, GPB_RENT_READ_WRITE, -1);
    s_call (self, gpb_request_unmap (handle));
    s_release (self, handle);
}

static void
s_mapped_in_use (s_stage_t *self)
{
    static const float a [4] = { 0 };
    gpb_test_node_t node;
    gpb_test_node_compose (&node, "inproc://mapped", "backends", "fake");
    gpb_client_t *client = gpb_test_client (&node);
    uint64_t handle = gpb_test_rent (client, 64, GPB_RENT_MAPPED, GPB_RENT_READ_WRITE, 0);
    gpb_reply_t *reply = gpb_test_call_ok (client, gpb_request_map (handle));
    ck_assert_ptr_nonnull (gpb_reply_address (reply));
    gpb_reply_destroy (&reply);
    gpb_request_t *request = gpb_request_execute ("add");
    gpb_request_in (request, a, sizeof a);
    gpb_request_in (request, a, sizeof a);
    gpb_request_buffer (request, handle, 0, 0);
    gpb_request_i32 (request, 4);
    s_note (self, gpb_test_call (client, request));
    gpb_client_destroy (&client);
    gpb_test_node_stop (&node);
}

//  ---------------------------------------------------------------------------------------------------------
//  The table

static const struct {
    const char *cause;
    void (*provoke) (s_stage_t *self);
    const char *part;    //  of the sentence
} s_provocations [] = {
    { "message_bounds", s_message_bounds, "at most 65536" },
    { "header_garbage", s_header_garbage, "no protobuf message from byte" },
    { "header_text", s_header_text, "kernel: the text is not UTF-8" },
    { "header_lists", s_header_lists, "at most 64" },
    { "header_expands", s_header_expands, "more than 1048576 bytes" },
    { "version_unknown", s_version_unknown, "speaks 1" },
    { "body_unknown", s_body_unknown, "kind 99" },
    { "id_in_flight", s_id_in_flight, "request 9" },
    { "time_up", s_time_up, "time was up" },
    { "cancelled", s_cancelled, "took the request back" },
    { "cancel_nothing", s_cancel_nothing, "request 123456789" },
    { "queue_full", s_queue_full, "its bound" },
    { "draining", s_draining, "stopping" },
    { "no_device", s_no_device, "no device" },
    { "device_lost", s_device_lost, "lost" },
    { "connection_lost", s_connection_lost, "connection" },
    { "driver_failed", s_driver_failed, "did not run to its end" },
    { "kernel_unknown", s_kernel_unknown, "no_such_kernel" },
    { "kernel_id_wrong", s_kernel_id_wrong, "[a-z0-9_.-]" },
    { "device_unknown", s_device_unknown, "17" },
    { "capability_missing", s_capability_missing, "has no fake_1" },
    { "memory_short", s_memory_short, "1048577" },
    { "argument_count", s_argument_count, "4" },
    { "argument_type", s_argument_type, "i32" },
    { "argument_size", s_argument_size, "16" },
    { "size_overflow", s_size_overflow, "beyond 64 bits" },
    { "frame_missing", s_frame_missing, "frame 3" },
    { "global_size", s_global_size, "global size" },
    { "local_size", s_local_size, "1024" },
    { "local_memory", s_local_memory, "32768" },
    { "kernel_no_code", s_kernel_no_code, "fake" },
    { "kernel_compile", s_kernel_compile, "broken.c:1: error" },
    { "register_denied", s_register_denied, "allow_register" },
    { "register_exists", s_register_exists, "replace" },
    { "register_definition", s_register_definition, ":2" },
    { "register_compile", s_register_compile, "nothing.c:1: error" },
    { "handle_unknown", s_handle_unknown, "this connection" },
    { "buffer_access", s_buffer_access, "READ_ONLY" },
    { "buffer_range", s_buffer_range, "64 bytes" },
    { "buffer_overlap", s_buffer_overlap, "overlap" },
    { "buffer_devices", s_buffer_devices, "device 1" },
    { "rent_size", s_rent_size, "0" },
    { "map_process", s_map_process, "process" },
    { "map_kind", s_map_kind, "MAPPED" },
    { "unmap_nothing", s_unmap_nothing, "not mapped" },
    { "mapped_in_use", s_mapped_in_use, "mapped" },
};

enum { PROVOCATIONS = sizeof s_provocations / sizeof s_provocations [0] };

typedef struct {
    char cause [64];
    char status [64];
} s_row_t;

//  Rows of the table: | `cause` | STATUS | when |
static size_t
s_read_rows (s_row_t *rows)
{
    char path [4096], line [1024];
    const char *source = getenv ("GPB_SOURCE_DIR");
    ck_assert_ptr_nonnull (source);
    snprintf (path, sizeof path, "%s/doc/protocol.md", source);
    FILE *file = fopen (path, "r");
    ck_assert_msg (file != NULL, "%s", path);
    size_t count = 0;
    bool is_table = false;
    while (fgets (line, sizeof line, file)) {
        is_table = is_table || strncmp (line, "| cause | status |", 18) == 0;
        if (!is_table || strncmp (line, "| `", 3) != 0)
            continue;
        ck_assert_uint_lt (count, CAUSES_MAX);
        ck_assert_msg (sscanf (line, "| `%63[a-z_0-9]` | %63[A-Z_] |", rows [count].cause,
                               rows [count].status)
                           == 2,
                       "a row that is none: %s", line);
        count++;
    }
    fclose (file);
    return count;
}

START_TEST (test_every_cause_has_a_provocation_and_every_provocation_a_cause)
{
    s_row_t rows [CAUSES_MAX];
    size_t count = s_read_rows (rows);
    ck_assert_uint_gt (count, 0);
    for (size_t row = 0; row < count; row++) {
        size_t found = 0;
        for (size_t index = 0; index < PROVOCATIONS; index++)
            found += strcmp (s_provocations [index].cause, rows [row].cause) == 0;
        ck_assert_msg (found == 1, "%s is provoked %zu times", rows [row].cause, found);
        for (size_t other = 0; other < row; other++)
            ck_assert_msg (strcmp (rows [other].cause, rows [row].cause) != 0,
                           "%s is in the table twice", rows [row].cause);
    }
    ck_assert_uint_eq (count, PROVOCATIONS);
}
END_TEST

START_TEST (test_every_cause_gives_its_status_and_a_sentence_that_helps)
{
    gpb_test_use_fake (2, MEMORY_SIZE);
    s_row_t rows [CAUSES_MAX];
    size_t count = s_read_rows (rows), failures = 0;
    gpb_test_node_t node;
    gpb_test_node_start (&node, "--backends", "fake", "--set", "allow_register=true");
    s_stage_t stage = { .node = &node, .client = gpb_test_client (&node) };
    gpb_test_raw_open (&stage.raw, ZMQ_DEALER, NULL, node.endpoints [0]);
    for (size_t index = 0; index < PROVOCATIONS; index++) {
        const char *expected = "in no row of doc/protocol.md";
        for (size_t row = 0; row < count; row++)
            if (strcmp (rows [row].cause, s_provocations [index].cause) == 0)
                expected = rows [row].status;
        stage.status = GPB_OK;
        stage.text [0] = 0;
        s_provocations [index].provoke (&stage);
        if (strcmp (gpb_status_name (stage.status), expected) != 0
            || strstr (stage.text, s_provocations [index].part) == NULL)
        {
            failures++;
            fprintf (stderr, "%s: %s, expected %s with \"%s\": %s\n", s_provocations [index].cause,
                     gpb_status_name (stage.status), expected, s_provocations [index].part,
                     stage.text);
        }
    }
    ck_assert_msg (failures == 0, "%zu of %d causes are not as the document says", failures,
                   PROVOCATIONS);

    //  None of it has left anything behind.
    gpb_test_raw_close (&stage.raw);
    gpb_test_wait_figure (stage.client, gpb_test_in_flight, 0);
    gpb_test_wait_figure (stage.client, gpb_test_connections, 1);
    gpb_test_wait_figure (stage.client, gpb_test_rented, 0);
    gpb_client_destroy (&stage.client);
    gpb_test_node_stop (&node);
}
END_TEST

GPB_TEST_MAIN ("protocol", 60, test_every_cause_has_a_provocation_and_every_provocation_a_cause,
               test_every_cause_gives_its_status_and_a_sentence_that_helps)
