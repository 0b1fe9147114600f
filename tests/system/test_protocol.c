//  test_protocol - doc/protocol.md's table of causes, held against a live node
//
//  Reads the table, provokes every cause in it on a node over tcp, and looks at the status that
//  comes back and at a part of the sentence that would help whoever reads it. The expected status
//  stands in the document alone. A cause without a provocation fails the test, and so does a
//  provocation whose cause is not in the document.
//
//  Most causes are provoked on two devices of the tests' fake backend with 16 MiB of memory
//  each; those that end a node, or want another configuration, start one of their own.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_provoke.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CAUSES_MAX 128

void
gpb_stage_note (gpb_stage_t *self, gpb_reply_t *reply)
{
    self->status = gpb_reply_status (reply);
    self->retry_after_ms = gpb_reply_retry_after_ms (reply);
    snprintf (self->text, sizeof self->text, "%s", gpb_reply_message (reply));
    gpb_reply_destroy (&reply);
}

void
gpb_stage_call (gpb_stage_t *self, gpb_request_t *request)
{
    gpb_stage_note (self, gpb_test_call (self->client, request));
}

void
gpb_stage_recv_raw (gpb_stage_t *self)
{
    ck_assert (gpb_test_raw_recv (&self->raw, GPB_TEST_PATIENCE_MS));
    self->status = (gpb_status_t) self->raw.reply->status;
    snprintf (self->text, sizeof self->text, "%s", self->raw.reply->message);
}

//  A DEALER's message with this header.
static void
s_send_header (gpb_stage_t *self, const void *header, size_t size)
{
    zmsg_t *message = zmsg_new ();
    zmsg_addmem (message, "", 0);
    zmsg_addmem (message, header, size);
    gpb_test_raw_send (&self->raw, &message);
    gpb_stage_recv_raw (self);
}

//  ---------------------------------------------------------------------------------------------------------
//  Headers

static void
s_message_bounds (gpb_stage_t *self)
{
    static const char header [65537];
    s_send_header (self, header, sizeof header);
}

static void
s_header_garbage (gpb_stage_t *self)
{
    s_send_header (self, "\x08\x01\x10\x05\x00\x00\x00", 7);
}

static void
s_header_text (gpb_stage_t *self)
{
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__ListKernels kernels = GPB__V1__LIST_KERNELS__INIT;
    char text [] = "caf\xe9";
    request.id = 1;
    request.body_case = GPB__V1__REQUEST__BODY_KERNELS;
    request.kernels = &kernels;
    kernels.kernel = text;
    gpb_test_raw_request (&self->raw, &request, NULL);
    gpb_stage_recv_raw (self);
    ck_assert_msg (strstr (self->text, "caf") == NULL, "the refusal quotes the text");
}

static void
s_header_lists (gpb_stage_t *self)
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
    gpb_stage_recv_raw (self);
}

//  Thirty thousand empty arguments: two bytes each, and a structure each once unpacked.
static void
s_header_expands (gpb_stage_t *self)
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
s_version_unknown (gpb_stage_t *self)
{
    s_send_header (self, "\x08\x02\x10\x07\xe2\x01\x00", 7);
    ck_assert_uint_eq (self->raw.reply->id, 7);
}

static void
s_body_unknown (gpb_stage_t *self)
{
    s_send_header (self, "\x08\x01\x10\x07\x9a\x06\x00", 7);
    ck_assert_uint_eq (self->raw.reply->id, 7);
}

static void
s_priority_range (gpb_stage_t *self)
{
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Stats stats = GPB__V1__STATS__INIT;
    request.id = 1;
    request.priority = -4;
    request.body_case = GPB__V1__REQUEST__BODY_STATS;
    request.stats = &stats;
    gpb_test_raw_request (&self->raw, &request, NULL);
    gpb_stage_recv_raw (self);
    ck_assert_uint_eq (self->raw.reply->id, 1);
    ck_assert_int_eq (self->status, GPB_INVALID_ARGUMENT);
    request.priority = 4;
    gpb_test_raw_request (&self->raw, &request, NULL);
    gpb_stage_recv_raw (self);
}

//  ---------------------------------------------------------------------------------------------------------
//  Requests in flight

//  An execute of sleep, as a header.
static void
s_send_sleep (gpb_stage_t *self, uint64_t id, int32_t us)
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
s_id_in_flight (gpb_stage_t *self)
{
    s_send_sleep (self, 9, 100000);
    s_send_sleep (self, 9, 0);
    gpb_stage_recv_raw (self);
    gpb_test_raw_expect (&self->raw, 9, GPB_OK, "");
}

static void
s_time_up (gpb_stage_t *self)
{
    gpb_request_t *request = gpb_test_sleep (200000);
    gpb_request_set_timeout (request, 20);
    gpb_stage_call (self, request);
}

static void
s_cancelled (gpb_stage_t *self)
{
    gpb_error_t error;
    gpb_request_t *request = gpb_test_sleep (200000);
    uint64_t id = gpb_client_send (self->client, &request, &error);
    ck_assert_uint_ne (id, 0);
    ck_assert_ok (gpb_client_cancel (self->client, id, &error));
    gpb_reply_t *reply = gpb_client_recv (self->client, GPB_TEST_PATIENCE_MS);
    ck_assert_ptr_nonnull (reply);
    ck_assert_uint_eq (gpb_reply_id (reply), id);
    gpb_stage_note (self, reply);
}

static void
s_cancel_nothing (gpb_stage_t *self)
{
    gpb_stage_call (self, gpb_request_cancel (123456789));
}

//  Far more than the devices take at once, where this bound lets one wait: the refusal says so and
//  when to come back, and every request is answered. device: -1 for any.
static void
s_fill (gpb_stage_t *self, const char *bound, int device)
{
    enum { REQUESTS = 200 };
    gpb_test_node_t node;
    gpb_test_node_start (&node, "--backends", "fake", "--set", bound);
    gpb_client_t *client = gpb_test_client (&node);
    for (size_t index = 0; index < REQUESTS; index++) {
        gpb_error_t error;
        gpb_request_t *request = gpb_test_sleep (5000);
        if (device >= 0)
            gpb_request_set_device (request, (uint32_t) device);
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
            gpb_stage_note (self, reply);
            ck_assert_uint_gt (self->retry_after_ms, 0);
        }
    }
    ck_assert_uint_gt (refused, 0);
    ck_assert_uint_lt (refused, REQUESTS);
    gpb_client_destroy (&client);
    gpb_test_node_stop (&node);
}

static void
s_queue_full (gpb_stage_t *self)
{
    s_fill (self, "max_queued_requests=2", -1);
}

static void
s_queue_full_device (gpb_stage_t *self)
{
    s_fill (self, "max_device_queued_requests=2", 0);
}

static void
s_queue_full_client (gpb_stage_t *self)
{
    s_fill (self, "max_client_queued_requests=1", -1);
}

//  No waiting will help it.
static void
s_queue_too_small (gpb_stage_t *self)
{
    static const float a [16384];
    gpb_test_node_t node;
    gpb_test_node_start (&node, "--backends", "fake", "--set", "max_queued_size=65536");
    gpb_client_t *client = gpb_test_client (&node);
    gpb_request_t *request = gpb_request_execute ("add");
    gpb_request_in (request, a, sizeof a);
    gpb_request_in (request, a, sizeof a);
    gpb_request_out (request, 0);
    gpb_request_i32 (request, 16384);
    gpb_stage_note (self, gpb_test_call (client, request));
    ck_assert_uint_eq (self->retry_after_ms, 0);
    gpb_client_destroy (&client);
    gpb_test_node_stop (&node);
}

static void
s_draining (gpb_stage_t *self)
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
    gpb_stage_note (self, reply);

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
s_connection_lost (gpb_stage_t *self)
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
    gpb_stage_note (self, reply);
    gpb_client_destroy (&client);
    gpb_client_destroy (&other);
}

//  ---------------------------------------------------------------------------------------------------------
//  Devices

static void
s_no_device (gpb_stage_t *self)
{
    setenv ("GPB_FAKE_DEVICES", "0", 1);
    gpb_test_node_t node;
    gpb_test_node_start (&node, "--backends", "fake");
    setenv ("GPB_FAKE_DEVICES", "2", 1);
    gpb_client_t *client = gpb_test_client (&node);
    gpb_stage_note (self, gpb_test_call (client, gpb_test_sleep (0)));
    gpb_client_destroy (&client);
    gpb_test_node_stop (&node);
}

//  The one that was on the device, and the next that names it.
static void
s_device_lost (gpb_stage_t *self)
{
    gpb_test_node_t node;
    gpb_test_node_start (&node, "--backends", "fake");
    gpb_client_t *client = gpb_test_client (&node);
    gpb_request_t *request = gpb_request_execute ("lose");
    gpb_request_i32 (request, 0);
    gpb_request_set_device (request, 1);
    gpb_stage_note (self, gpb_test_call (client, request));

    //  The other one serves on, and this one when its process has been started again.
    for (unsigned device = 0; device < 2; device++) {
        request = gpb_test_sleep (0);
        gpb_request_set_device (request, device);
        gpb_reply_t *reply = gpb_test_call_ok (client, request);
        gpb_reply_destroy (&reply);
    }
    gpb_client_destroy (&client);
    gpb_test_node_stop (&node);
}

static void
s_driver_failed (gpb_stage_t *self)
{
    gpb_request_t *request = gpb_request_execute ("fail");
    gpb_request_i32 (request, 0);
    gpb_stage_call (self, request);
}

static void
s_device_unknown (gpb_stage_t *self)
{
    gpb_request_t *request = gpb_test_sleep (0);
    gpb_request_set_device (request, 17);
    gpb_stage_call (self, request);
}

static void
s_capability_missing (gpb_stage_t *self)
{
    gpb_request_t *request = gpb_test_sleep (0);
    gpb_request_require (request, "fake_0");
    gpb_request_require (request, "fake_1");
    gpb_stage_call (self, request);
}

static void
s_memory_short (gpb_stage_t *self)
{
    gpb_stage_call (self, gpb_request_rent (GPB_STAGE_MEMORY_SIZE + 1, GPB_RENT_DEVICE,
                                            GPB_RENT_READ_WRITE));
}

//  ---------------------------------------------------------------------------------------------------------
//  The table

static const gpb_provocation_t s_provocations [] = {
    { "message_bounds", s_message_bounds, "at most 65536" },
    { "header_garbage", s_header_garbage, "no protobuf message from byte" },
    { "header_text", s_header_text, "kernel: the text is not UTF-8" },
    { "header_lists", s_header_lists, "at most 64" },
    { "header_expands", s_header_expands, "more than 1048576 bytes" },
    { "version_unknown", s_version_unknown, "speaks 1" },
    { "body_unknown", s_body_unknown, "kind 99" },
    { "priority_range", s_priority_range, "priority 4: expected -3 to 3" },
    { "id_in_flight", s_id_in_flight, "request 9" },
    { "time_up", s_time_up, "time was up" },
    { "cancelled", s_cancelled, "took the request back" },
    { "cancel_nothing", s_cancel_nothing, "request 123456789" },
    { "queue_full", s_queue_full, "wait on this node" },
    { "queue_full_device", s_queue_full_device, "wait for its device alone" },
    { "queue_full_client", s_queue_full_client, "for this client, which is the bound" },
    { "queue_too_small", s_queue_too_small, "of the 65536 that may wait on this node" },
    { "draining", s_draining, "stopping" },
    { "no_device", s_no_device, "no device" },
    { "device_lost", s_device_lost, "lost" },
    { "connection_lost", s_connection_lost, "connection" },
    { "driver_failed", s_driver_failed, "did not run to its end" },
    { "device_unknown", s_device_unknown, "17" },
    { "capability_missing", s_capability_missing, "has no fake_1" },
    { "memory_short", s_memory_short, "16777217" },
    { NULL, NULL, NULL },
};

//  All of them, in the order of the files. How many there are.
static size_t
s_collect (const gpb_provocation_t **all)
{
    static const gpb_provocation_t *const tables [] = { s_provocations, gpb_provocations_keys,
                                                        gpb_provocations_kernels,
                                                        gpb_provocations_memory };
    size_t count = 0;
    for (size_t table = 0; table < sizeof tables / sizeof tables [0]; table++)
        for (const gpb_provocation_t *one = tables [table]; one->cause; one++) {
            ck_assert_uint_lt (count, CAUSES_MAX);
            all [count++] = one;
        }
    return count;
}

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
    const gpb_provocation_t *all [CAUSES_MAX];
    size_t provocations = s_collect (all);
    size_t count = s_read_rows (rows);
    ck_assert_uint_gt (count, 0);
    for (size_t row = 0; row < count; row++) {
        size_t found = 0;
        for (size_t index = 0; index < provocations; index++)
            found += strcmp (all [index]->cause, rows [row].cause) == 0;
        ck_assert_msg (found == 1, "%s is provoked %zu times", rows [row].cause, found);
        for (size_t other = 0; other < row; other++)
            ck_assert_msg (strcmp (rows [other].cause, rows [row].cause) != 0,
                           "%s is in the table twice", rows [row].cause);
    }
    ck_assert_uint_eq (count, provocations);
}
END_TEST

START_TEST (test_every_cause_gives_its_status_and_a_sentence_that_helps)
{
    gpb_test_use_fake (2, GPB_STAGE_MEMORY_SIZE);
    s_row_t rows [CAUSES_MAX];
    const gpb_provocation_t *all [CAUSES_MAX];
    size_t provocations = s_collect (all);
    size_t count = s_read_rows (rows), failures = 0;
    gpb_test_node_t node;
    gpb_test_node_start (&node, "--backends", "fake", "--set", "allow_register=true");
    gpb_stage_t stage = { .node = &node, .client = gpb_test_client (&node) };
    gpb_test_raw_open (&stage.raw, ZMQ_DEALER, NULL, node.endpoints [0]);
    for (size_t index = 0; index < provocations; index++) {
        const char *expected = "in no row of doc/protocol.md";
        for (size_t row = 0; row < count; row++)
            if (strcmp (rows [row].cause, all [index]->cause) == 0)
                expected = rows [row].status;
        stage.status = GPB_OK;
        stage.text [0] = 0;
        all [index]->provoke (&stage);
        if (strcmp (gpb_status_name (stage.status), expected) != 0
            || strstr (stage.text, all [index]->part) == NULL)
        {
            failures++;
            fprintf (stderr, "%s: %s, expected %s with \"%s\": %s\n", all [index]->cause,
                     gpb_status_name (stage.status), expected, all [index]->part, stage.text);
        }
    }
    ck_assert_msg (failures == 0, "%zu of %zu causes are not as the document says", failures,
                   provocations);

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
