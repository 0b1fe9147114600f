//  A test of a node whose clients spoil their words: whole conversations that were valid, with
//  frames flipped, cut, left out, said twice, moved and mixed up, over tcp, while two good clients
//  beside them check each of their answers.
//
//  A hostile client comes, rents and reserves as anyone may, says its conversation (every kind of
//  request, with its own handles) in a spoiled form, and leaves: by its goodbye, or by hanging up,
//  with its answers read or not. In the end the node has what it had before. By a seed,
//  GPB_TEST_SEED or else 1; GPB_FUZZ_SECONDS says how long, or else 10 s.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_test.h"

#include "gpb_clock.h"
#include "gpb_hop.h"
#include "gpb_test_node.h"

#include <stdlib.h>
#include <string.h>

#define FLOATS 100
#define SECONDS 10
#define GOOD_CLIENTS 2
#define IN_FLIGHT 4           //  of a good client
#define RESERVED (1 << 20)    //  bytes, of a good client: nobody can take its room
#define MESSAGES_MAX 64
#define FRAMES_MAX 12

static uint64_t s_state;

static size_t
s_random (size_t below)
{
    s_state = s_state * 6364136223846793005u + 1442695040888963407u;
    return below ? (size_t) (s_state >> 33) % below : 0;
}

//  ---------------------------------------------------------------------------------------------------------
//  A good client

typedef struct {
    uint64_t id;    //  0: none in flight
    float a [FLOATS], b [FLOATS];
} question_t;

typedef struct {
    gpb_client_t *client;
    uint64_t reservation, buffer;
    question_t questions [IN_FLIGHT];
    uint64_t answers;
} good_t;

static void
s_good_open (good_t *self, const gpb_test_node_t *node)
{
    memset (self, 0, sizeof *self);
    self->client = gpb_test_client (node);
    gpb_reply_t *reply = gpb_test_call_ok (self->client, gpb_request_reserve (RESERVED, 0));
    self->reservation = gpb_reply_handle (reply);
    gpb_reply_destroy (&reply);
    gpb_request_t *request =
        gpb_request_rent (sizeof self->questions [0].a, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE);
    gpb_request_set_reservation (request, self->reservation);
    reply = gpb_test_call_ok (self->client, request);
    self->buffer = gpb_reply_handle (reply);
    gpb_reply_destroy (&reply);
}

static void
s_good_ask (good_t *self, question_t *question)
{
    gpb_error_t error = { GPB_OK, "" };
    for (size_t index = 0; index < FLOATS; index++) {
        question->a [index] = (float) s_random (1000);
        question->b [index] = (float) s_random (1000);
    }
    gpb_request_t *request = gpb_request_execute ("add");
    gpb_request_in (request, question->a, sizeof question->a);
    gpb_request_in (request, question->b, sizeof question->b);
    gpb_request_out (request, 0);
    gpb_request_i32 (request, FLOATS);
    gpb_request_set_reservation (request, self->reservation);
    question->id = gpb_client_send (self->client, &request, &error);
    ck_assert_msg (question->id != 0, "%s", error.text);
}

//  Its reply is the sum of what was asked, and the only one.
static void
s_good_check (good_t *self, const gpb_reply_t *reply)
{
    question_t *question = self->questions;
    while (question < self->questions + IN_FLIGHT && question->id != gpb_reply_id (reply))
        question++;
    ck_assert_msg (question < self->questions + IN_FLIGHT, "a good client gets an answer twice");
    ck_assert_msg (gpb_reply_status (reply) == GPB_OK, "a good client is refused: %s: %s",
                   gpb_status_name (gpb_reply_status (reply)), gpb_reply_message (reply));
    size_t size;
    const float *sum = gpb_reply_result (reply, 0, &size);
    ck_assert_uint_eq (size, sizeof question->a);
    for (size_t index = 0; index < FLOATS; index++)
        ck_assert_float_eq (sum [index], question->a [index] + question->b [index]);
    question->id = 0;
    self->answers++;
}

//  Checks the answers that are there, asks as much again, and now and then looks whether its buffer
//  is still its own.
static void
s_good_work (good_t *self)
{
    gpb_reply_t *reply;
    while ((reply = gpb_client_recv (self->client, 0))) {
        s_good_check (self, reply);
        gpb_reply_destroy (&reply);
    }
    for (size_t index = 0; index < IN_FLIGHT; index++)
        if (!self->questions [index].id)
            s_good_ask (self, &self->questions [index]);
}

static void
s_good_finish (good_t *self)
{
    while (gpb_client_in_flight (self->client) > 0) {
        gpb_reply_t *reply = gpb_client_recv (self->client, GPB_TEST_PATIENCE_MS);
        ck_assert_msg (reply != NULL, "a good client gets no answer");
        s_good_check (self, reply);
        gpb_reply_destroy (&reply);
    }
}

//  What it wrote is there, whoever else has written meanwhile.
static void
s_good_remember (good_t *self)
{
    s_good_finish (self);
    const question_t *last = &self->questions [0];
    gpb_reply_t *reply =
        gpb_test_call_ok (self->client,
                          gpb_request_write (self->buffer, 0, last->a, sizeof last->a));
    gpb_reply_destroy (&reply);
    reply = gpb_test_call_ok (self->client, gpb_request_read (self->buffer, 0, sizeof last->a));
    size_t size;
    const void *data = gpb_reply_result (reply, 0, &size);
    ck_assert_uint_eq (size, sizeof last->a);
    ck_assert_int_eq (memcmp (data, last->a, size), 0);
    gpb_reply_destroy (&reply);
}

//  ---------------------------------------------------------------------------------------------------------
//  A valid conversation

typedef struct {
    zmsg_t *messages [MESSAGES_MAX];
    size_t count;
    uint64_t last_id;
} talk_t;

//  Adds a request with a payload frame where size is not 0.
static void
s_say (talk_t *talk, Gpb__V1__Request *request, size_t payloads, size_t size)
{
    request->version = 1;
    request->id = ++talk->last_id;
    request->timeout_ms = 5000;
    zmsg_t *message = gpb_test_raw_message (request);
    zmsg_pushmem (message, "", 0);
    for (size_t index = 0; index < payloads; index++) {
        zframe_t *payload = zframe_new (NULL, size);
        memset (zframe_data (payload), 1, size);
        zmsg_append (message, &payload);
    }
    talk->messages [talk->count++] = message;
    ck_assert_uint_lt (talk->count, MESSAGES_MAX);
}

#define SAY(talk, KIND, member, Type, TYPE, ...)                                                   \
    do {                                                                                           \
        Gpb__V1__Request said = GPB__V1__REQUEST__INIT;                                            \
        Gpb__V1__##Type body = GPB__V1__##TYPE##__INIT;                                            \
        said.body_case = GPB__V1__REQUEST__BODY_##KIND;                                            \
        said.member = &body;                                                                       \
        __VA_ARGS__;                                                                               \
        s_say (talk, &said, 0, 0);                                                                 \
    } while (0)

static void
s_say_execute (talk_t *talk, const uint64_t *handles, bool by_buffer)
{
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Execute execute = GPB__V1__EXECUTE__INIT;
    Gpb__V1__Argument arguments [4], *list [4];
    Gpb__V1__BufferRange ranges [3];
    Gpb__V1__Output output = GPB__V1__OUTPUT__INIT;
    for (unsigned index = 0; index < 4; index++) {
        gpb__v1__argument__init (&arguments [index]);
        list [index] = &arguments [index];
        if (index == 3) {
            arguments [index].value_case = GPB__V1__ARGUMENT__VALUE_I32;
            arguments [index].i32 = 16;
        }
        else if (by_buffer) {
            gpb__v1__buffer_range__init (&ranges [index]);
            ranges [index].handle = handles [index % 2];
            ranges [index].offset = index == 2 ? 128 : 0;
            arguments [index].value_case = GPB__V1__ARGUMENT__VALUE_BUFFER;
            arguments [index].buffer = &ranges [index];
        }
        else if (index == 2) {
            arguments [index].value_case = GPB__V1__ARGUMENT__VALUE_OUTPUT;
            arguments [index].output = &output;
        }
        else {
            arguments [index].value_case = GPB__V1__ARGUMENT__VALUE_FRAME;
            arguments [index].frame = index;
        }
    }
    request.body_case = GPB__V1__REQUEST__BODY_EXECUTE;
    request.execute = &execute;
    execute.kernel = (char *) "add";
    execute.arguments = list;
    execute.n_arguments = 4;
    execute.reservation = by_buffer ? 0 : handles [2];
    s_say (talk, &request, by_buffer ? 0 : 2, 64);
}

//  handles: two buffers of 1,024 bytes and a reservation.
static void
s_make_talk (talk_t *talk, const uint64_t *handles)
{
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Write write = GPB__V1__WRITE__INIT;
    SAY (talk, HELLO, hello, Hello, HELLO, body.newest_version = 1);
    SAY (talk, DEVICES, devices, ListDevices, LIST_DEVICES, (void) body);
    SAY (talk, KERNELS, kernels, ListKernels, LIST_KERNELS, (void) body);
    SAY (talk, STATS, stats, Stats, STATS, (void) body);
    SAY (talk, HEALTH, health, Health, HEALTH, (void) body);
    SAY (talk, RENT, rent, Rent, RENT, body.size = 512);
    SAY (talk, RENT, rent, Rent, RENT, body.size = 512; body.kind = GPB__V1__MEMORY_KIND__MAPPED);
    s_say_execute (talk, handles, false);
    s_say_execute (talk, handles, true);
    request.body_case = GPB__V1__REQUEST__BODY_WRITE;
    request.write = &write;
    write.handle = handles [0];
    write.value_case = GPB__V1__WRITE__VALUE_FRAME;
    s_say (talk, &request, 1, 256);
    SAY (talk, READ, read, Read, READ, body.handle = handles [0]; body.size = 128);
    SAY (talk, COPY, copy, Copy, COPY, body.source = handles [0]; body.target = handles [1];
         body.size = 64);
    SAY (talk, MAP, map, Map, MAP, body.handle = handles [1]);
    SAY (talk, UNMAP, unmap, Unmap, UNMAP, body.handle = handles [1]);
    SAY (talk, REGISTER_KERNEL, register_kernel, RegisterKernel, REGISTER_KERNEL,
         body.definition = (char *) "id = \"mine\"; source = \"mine.c\"; global = [ \"n\" ]; "
                                    "parameters = ( { name = \"n\"; direction = \"scalar\"; "
                                    "type = \"i32\"; } );";
         body.source = (char *) "fake: noop by the name of mine"; body.replace = true);
    SAY (talk, RESERVE, reserve, Reserve, RESERVE, body.memory = 4096; body.for_ms = 1000);
    SAY (talk, RENEW, renew, Renew, RENEW, body.handle = handles [2]; body.for_ms = 1000);
    SAY (talk, CANCEL, cancel, Cancel, CANCEL, body.id = talk->last_id);
    s_say_execute (talk, handles, false);
    //  What another node would put in front, as nobody over tcp has a right to.
    gpb_hop_t hop = { .magic = GPB_HOP_MAGIC, .flags = GPB_HOP_INPROC, .owner = 1 };
    zmsg_pushmem (talk->messages [talk->count - 1], &hop, sizeof hop);
    SAY (talk, UNRESERVE, unreserve, Unreserve, UNRESERVE, body.handle = handles [2]);
    SAY (talk, RELEASE, release, Release, RELEASE, body.handle = handles [1]);
    SAY (talk, GOODBYE, goodbye, Goodbye, GOODBYE, (void) body);
}

//  ---------------------------------------------------------------------------------------------------------
//  Spoiling it

static zframe_t *
s_frame (zmsg_t *message, size_t index)
{
    zframe_t *frame = zmsg_first (message);
    while (frame && index-- > 0)
        frame = zmsg_next (message);
    return frame;
}

//  Replaces a frame by one of other content; a NULL one leaves it out.
static void
s_replace (zmsg_t *message, size_t index, zframe_t *other)
{
    size_t count = zmsg_size (message);
    for (size_t at = 0; at < count; at++) {
        zframe_t *frame = zmsg_pop (message);
        if (at == index) {
            zframe_destroy (&frame);
            frame = other;
        }
        if (frame)
            zmsg_append (message, &frame);
    }
}

static void
s_spoil_frame (const talk_t *talk, zmsg_t *message)
{
    static const uint8_t edges [] = { 0, 1, 0x7F, 0x80, 0xFF };
    size_t index = s_random (zmsg_size (message));
    zframe_t *frame = s_frame (message, index);
    if (!frame)
        return;
    size_t size = zframe_size (frame), at = s_random (size);
    zmsg_t *donor = talk->messages [s_random (talk->count)];
    zframe_t *piece = s_frame (donor, s_random (zmsg_size (donor))), *other = NULL;
    switch (s_random (8)) {
    case 0:
    case 1:
        if (size)
            zframe_data (frame) [at] ^= (uint8_t) (1 << s_random (8));
        return;
    case 2:
        if (size)
            zframe_data (frame) [at] = edges [s_random (sizeof edges)];
        return;
    case 3: other = zframe_new (zframe_data (frame), at); break;    //  cut
    case 4: break;                                                  //  left out
    case 5:                                                         //  twice
        other = zframe_dup (frame);
        if (zmsg_size (message) < FRAMES_MAX)
            zmsg_append (message, &other);
        zframe_destroy (&other);
        return;
    case 6:    //  another message's in its place
        other = piece ? zframe_dup (piece) : NULL;
        break;
    default:    //  the front of this and the end of that
        if (!piece)
            return;
        size_t from = s_random (zframe_size (piece));
        other = zframe_new (NULL, at + zframe_size (piece) - from);
        memcpy (zframe_data (other), zframe_data (frame), at);
        memcpy (zframe_data (other) + at, zframe_data (piece) + from, zframe_size (piece) - from);
        break;
    }
    s_replace (message, index, other);
}

//  Messages change places, are left out, or said twice.
static void
s_spoil_order (talk_t *talk)
{
    size_t one = s_random (talk->count), other = s_random (talk->count);
    zmsg_t *message = talk->messages [one];
    switch (s_random (3)) {
    case 0:
        talk->messages [one] = talk->messages [other];
        talk->messages [other] = message;
        break;
    case 1:
        if (talk->count < 2)
            break;
        zmsg_destroy (&message);
        talk->messages [one] = talk->messages [--talk->count];
        break;
    default:
        if (talk->count < MESSAGES_MAX)
            talk->messages [talk->count++] = zmsg_dup (message);
        break;
    }
}

static void
s_spoil (talk_t *talk)
{
    for (size_t count = 1 + s_random (12); count > 0; count--)
        if (s_random (4))
            s_spoil_frame (talk, talk->messages [s_random (talk->count)]);
        else
            s_spoil_order (talk);
}

//  ---------------------------------------------------------------------------------------------------------
//  A hostile client

//  What it rents or reserves before it turns hostile.
static uint64_t
s_own (gpb_test_raw_t *raw, uint64_t id, bool is_rent)
{
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Rent rent = GPB__V1__RENT__INIT;
    Gpb__V1__Reserve reserve = GPB__V1__RESERVE__INIT;
    request.id = id;
    rent.size = 1024;
    reserve.memory = 65536;
    request.body_case = is_rent ? GPB__V1__REQUEST__BODY_RENT : GPB__V1__REQUEST__BODY_RESERVE;
    if (is_rent)
        request.rent = &rent;
    else
        request.reserve = &reserve;
    gpb_test_raw_request (raw, &request, NULL);
    ck_assert_msg (gpb_test_raw_recv (raw, GPB_TEST_PATIENCE_MS), "no answer");
    //  Others may have reserved all there is, by a spoiled figure.
    if (raw->reply->status != GPB__V1__STATUS__OK)
        return 1 + s_random (1000);
    return is_rent ? raw->reply->rent->handle : raw->reply->reserve->handle;
}

//  Reads what answers come while the good clients work. Those to a spoiled envelope come back to
//  it, and those to a spoiled id may never be told from others.
static void
s_hostile_read (gpb_test_raw_t *raw, good_t *good, size_t most)
{
    zmq_pollitem_t item = { zsock_resolve (raw->socket), 0, ZMQ_POLLIN, 0 };
    while (most-- > 0 && zmq_poll (&item, 1, 2) == 1) {
        zmsg_t *answer = zmsg_recv (raw->socket);
        zmsg_destroy (&answer);
        for (size_t index = 0; index < GOOD_CLIENTS; index++)
            s_good_work (&good [index]);
    }
}

static void
s_hostile (const gpb_test_node_t *node, good_t *good)
{
    gpb_test_raw_t raw;
    talk_t talk = { .last_id = 3 };
    uint64_t handles [3];
    gpb_test_raw_open (&raw, ZMQ_DEALER, NULL, node->endpoints [0]);
    for (uint64_t index = 0; index < 3; index++)
        handles [index] = s_own (&raw, index + 1, index < 2);
    s_make_talk (&talk, handles);
    s_spoil (&talk);
    for (size_t index = 0; index < talk.count; index++)
        //  A message without any frame is nothing that libzmq would send.
        if (zmsg_size (talk.messages [index]) > 0)
            gpb_test_raw_send (&raw, &talk.messages [index]);
        else
            zmsg_destroy (&talk.messages [index]);
    for (size_t index = 0; index < GOOD_CLIENTS; index++)
        s_good_work (&good [index]);
    if (s_random (4))
        s_hostile_read (&raw, good, 1 + s_random (talk.count));
    gpb_test_raw_close (&raw);
}

static uint64_t
s_reservations (const Gpb__V1__StatsReply *stats)
{
    return stats->n_pools ? stats->pools [0]->reservations : UINT64_MAX;
}

static uint64_t
s_live (const Gpb__V1__StatsReply *stats)
{
    return stats->n_pools ? stats->pools [0]->live : UINT64_MAX;
}

START_TEST (test_good_clients_notice_nothing_of_spoiled_conversations)
{
    const char *seed = getenv ("GPB_TEST_SEED"), *seconds = getenv ("GPB_FUZZ_SECONDS");
    s_state = seed ? strtoull (seed, NULL, 10) : 1;
    fprintf (stderr, "seed %llu\n", (unsigned long long) s_state);
    gpb_test_use_fake (1, (uint64_t) 64 << 20);
    gpb_test_node_t node;
    gpb_test_node_start (&node, "--backends", "fake", "--set", "allow_register=true", "--set",
                         "reserve_max_ms=120000");
    good_t good [GOOD_CLIENTS];
    for (size_t index = 0; index < GOOD_CLIENTS; index++)
        s_good_open (&good [index], &node);
    gpb_client_t *watcher = gpb_test_client (&node);
    //  The node asks its devices for theirs now and then.
    gpb_test_wait_figure (watcher, s_live, GOOD_CLIENTS);
    gpb_test_wait_figure (watcher, s_reservations, GOOD_CLIENTS);
    gpb_test_figure_t *const figures [] = { gpb_test_connections, gpb_test_rented, s_reservations,
                                            gpb_test_queue_depth, gpb_test_in_flight };
    uint64_t baseline [sizeof figures / sizeof figures [0]];
    for (size_t index = 0; index < sizeof figures / sizeof figures [0]; index++)
        baseline [index] = gpb_test_figure (watcher, figures [index]);

    uint64_t end_ns =
        gpb_clock_ns () + (seconds ? strtoull (seconds, NULL, 10) : SECONDS) * GPB_NS_PER_S;
    unsigned conversations = 0;
    for (; gpb_clock_ns () < end_ns; conversations++) {
        s_hostile (&node, good);
        if (conversations % 16 == 0)
            for (size_t index = 0; index < GOOD_CLIENTS; index++)
                s_good_remember (&good [index]);
    }
    for (size_t index = 0; index < GOOD_CLIENTS; index++) {
        s_good_remember (&good [index]);
        ck_assert_uint_gt (good [index].answers, conversations);
    }
    fprintf (stderr, "%u conversations, %llu answers to good clients\n", conversations,
             (unsigned long long) good [0].answers + good [1].answers);
    ck_assert_uint_gt (conversations, 10);
    for (size_t index = 0; index < sizeof figures / sizeof figures [0]; index++)
        gpb_test_wait_figure (watcher, figures [index], baseline [index]);
    for (size_t index = 0; index < GOOD_CLIENTS; index++)
        gpb_client_destroy (&good [index].client);
    gpb_client_destroy (&watcher);
    gpb_test_node_stop (&node);
}
END_TEST

GPB_TEST_MAIN ("fuzz conversation", getenv ("GPB_FUZZ_SECONDS") ? 3600 : 60,
               test_good_clients_notice_nothing_of_spoiled_conversations)
