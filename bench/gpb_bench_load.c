//  gpb_bench_load - one kind of request, so many of it in flight for so long, through one system
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_bench_load.h"

#include "gpb_alloc.h"
#include "gpb_bench_echo.h"
#include "gpb_client_internal.h"
#include "gpb_clock.h"
#include "gpb_histogram.h"

#include <inttypes.h>
#include <pthread.h>

//  When a request was sent, by its id; ids count up, so that as many as are in flight, and all that
//  overtake them, are far apart.
#define IDS 65536

static _Thread_local gpb_histogram_t s_histogram;
static _Thread_local uint64_t s_sent_ns [IDS];

//  ---------------------------------------------------------------------------------------------------------
//  Requests

static unsigned char *s_input;
static pthread_once_t s_input_once = PTHREAD_ONCE_INIT;

//  Floats of small whole numbers, so that every sum is exact.
static void
s_make_input (void)
{
    s_input = gpb_alloc_aligned (128, GPB_BENCH_SIZE_MAX);
    if (!s_input)
        gpb_bench_fail ("no memory for %zu bytes of input", GPB_BENCH_SIZE_MAX);
    for (size_t index = 0; index < GPB_BENCH_SIZE_MAX / sizeof (float); index++) {
        float value = (float) (index % 1000);
        memcpy (s_input + index * sizeof value, &value, sizeof value);
    }
}

unsigned char *
gpb_bench_input (void)
{
    pthread_once (&s_input_once, s_make_input);
    return s_input;
}

static void
s_in (gpb_request_t *request, size_t size)
{
    if (size < GPB_BENCH_IN_PLACE)
        gpb_request_in (request, gpb_bench_input (), size);
    else
        gpb_request_in_take (request, gpb_bench_input (), size, NULL, NULL);
}

gpb_request_t *
gpb_bench_hello (size_t size)
{
    (void) size;
    return gpb_request_hello ();
}

gpb_request_t *
gpb_bench_noop (size_t size)
{
    gpb_request_t *request = gpb_request_execute ("noop");
    s_in (request, size);
    gpb_request_out (request, 0);
    gpb_request_u64 (request, size);
    return request;
}

gpb_request_t *
gpb_bench_vector_add (size_t size)
{
    gpb_request_t *request = gpb_request_execute ("vector_add");
    s_in (request, size / 2);
    s_in (request, size / 2);
    gpb_request_out (request, 0);
    gpb_request_i32 (request, (int32_t) (size / 2 / sizeof (float)));
    return request;
}

//  ---------------------------------------------------------------------------------------------------------
//  What goes over the wire

//  Every header begins with version and id: 08 01, then 10 and the id as a varint, of which a
//  recorded one has five bytes.
#define ID_OFFSET 3
#define ID_SIZE 5

static zmsg_t *
s_frames (gpb_message_t *message)
{
    zmsg_t *frames = zmsg_new ();
    zmsg_addmem (frames, NULL, 0);
    zmsg_addmem (frames, zmq_msg_data (&message->header), zmq_msg_size (&message->header));
    for (size_t index = 0; index < message->payloads_count; index++) {
        zmq_msg_t *payload = &message->payloads [index];
        zmsg_addmem (frames, zmq_msg_data (payload), zmq_msg_size (payload));
    }
    return frames;
}

void
gpb_bench_record (gpb_bench_work_t *work, const char *endpoint)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_message_t message;
    gpb_message_init (&message);
    gpb_request_t *request = work->request (work->size);
    if (gpb_request_pack (request, GPB_BENCH_FIRST_ID, 30000, &message, &error) != GPB_OK)
        gpb_bench_fail ("%s: %s", work->name, error.text);
    work->sent = s_frames (&message);
    gpb_message_clear (&message);
    gpb_request_destroy (&request);

    zsock_t *dealer = zsock_new (ZMQ_DEALER);
    zmsg_t *copy = zmsg_dup (work->sent);
    if (!dealer || !copy || zsock_connect (dealer, "%s", endpoint) == -1
        || zmsg_send (&copy, dealer) == -1)
        gpb_bench_fail ("%s cannot be recorded", work->name);
    work->answered = zmsg_recv (dealer);
    if (!work->answered)
        gpb_bench_fail ("no answer to %s", work->name);
    zsock_destroy (&dealer);
}

void
gpb_bench_forget (gpb_bench_work_t *work)
{
    zmsg_destroy (&work->sent);
    zmsg_destroy (&work->answered);
}

void
gpb_bench_send_packed (void *socket, const gpb_bench_work_t *work, uint64_t id)
{
    zmsg_first (work->sent);
    unsigned char *bytes = zframe_data (zmsg_next (work->sent)) + ID_OFFSET;
    for (unsigned index = 0; index < ID_SIZE; index++) {
        bytes [index] = (unsigned char) ((id & 0x7F) | (index + 1 < ID_SIZE ? 0x80 : 0));
        id >>= 7;
    }
    gpb_bench_echo_send (socket, work->sent);
}

static uint64_t
s_varint (const unsigned char *bytes, size_t size, size_t *at)
{
    uint64_t value = 0;
    for (unsigned shift = 0; *at < size && shift < 64; shift += 7) {
        unsigned char byte = bytes [(*at)++];
        value |= (uint64_t) (byte & 0x7F) << shift;
        if (!(byte & 0x80))
            break;
    }
    return value;
}

//  The id of a reply's header, wherever it stands: the last one counts.
static uint64_t
s_read_id (const unsigned char *bytes, size_t size)
{
    uint64_t id = 0;
    for (size_t at = 0; at < size;) {
        uint64_t tag = s_varint (bytes, size, &at);
        if ((tag & 7) == 0) {
            uint64_t value = s_varint (bytes, size, &at);
            id = tag >> 3 == 2 ? value : id;
        }
        else if ((tag & 7) == 2)
            at += s_varint (bytes, size, &at);
        else
            at += (tag & 7) == 1 ? 8 : 4;
    }
    return id;
}

//  The id of the next reply, which must be OK.
static uint64_t
s_recv_packed (void *socket, const gpb_bench_work_t *work)
{
    zmq_msg_t message;
    zmq_msg_init (&message);
    uint64_t id = 0;
    gpb_status_t status = GPB_INTERNAL, read = GPB_INTERNAL;
    for (unsigned frame = 0, more = 1; more; frame++) {
        if (zmq_msg_recv (&message, socket, 0) == -1)
            gpb_bench_fail ("%s, packed: interrupted", work->name);
        more = zmq_msg_more (&message) ? 1 : 0;
        if (frame != 1)
            continue;
        bool has_memory;
        uint64_t memory;
        id = s_read_id (zmq_msg_data (&message), zmq_msg_size (&message));
        if (gpb_codec_peek_reply (&message, &read, &has_memory, &memory))
            status = read;
    }
    zmq_msg_close (&message);
    if (status != GPB_OK)
        gpb_bench_fail ("%s, packed: %s", work->name, gpb_status_name (status));
    return id;
}

//  ---------------------------------------------------------------------------------------------------------
//  So many in flight for so long

static void
s_store (gpb_bench_figure_t *figure, uint64_t start_ns)
{
    double seconds = (double) (gpb_clock_ns () - start_ns) / 1e9;
    figure->p50_ns = (double) gpb_histogram_percentile (&s_histogram, 50);
    figure->p99_ns = (double) gpb_histogram_percentile (&s_histogram, 99);
    figure->rate = (double) s_histogram.count / seconds;
}

static void
s_send (gpb_client_t *client, const gpb_bench_work_t *work)
{
    gpb_error_t error = { GPB_OK, "" };
    uint64_t now_ns = gpb_clock_ns ();
    gpb_request_t *request = work->request (work->size);
    uint64_t id = gpb_client_send (client, &request, &error);
    if (!id)
        gpb_bench_fail ("%s: %s", work->name, error.text);
    s_sent_ns [id % IDS] = now_ns;
}

void
gpb_bench_run_client (gpb_client_t *client, const gpb_bench_work_t *work, size_t depth,
                      uint64_t duration_ns, gpb_bench_figure_t *figure)
{
    gpb_histogram_reset (&s_histogram);
    uint64_t start_ns = gpb_clock_ns (), sent = 0, received = 0;
    for (; sent < depth; sent++)
        s_send (client, work);
    while (received < sent) {
        gpb_reply_t *reply = gpb_client_recv (client, -1);
        if (!reply)
            gpb_bench_fail ("%s: interrupted", work->name);
        if (gpb_reply_status (reply) != GPB_OK)
            gpb_bench_fail ("%s: %s", work->name, gpb_reply_message (reply));
        uint64_t now_ns = gpb_clock_ns ();
        gpb_histogram_record (&s_histogram, now_ns - s_sent_ns [gpb_reply_id (reply) % IDS]);
        gpb_reply_destroy (&reply);
        received++;
        if (now_ns - start_ns < duration_ns) {
            s_send (client, work);
            sent++;
        }
    }
    s_store (figure, start_ns);
}

void
gpb_bench_run_packed (void *socket, const gpb_bench_work_t *work, size_t depth,
                      uint64_t duration_ns, gpb_bench_figure_t *figure)
{
    gpb_histogram_reset (&s_histogram);
    uint64_t start_ns = gpb_clock_ns (), sent = 0, received = 0;
    for (; sent < depth; sent++) {
        s_sent_ns [sent % IDS] = gpb_clock_ns ();
        gpb_bench_send_packed (socket, work, GPB_BENCH_FIRST_ID + sent);
    }
    while (received < sent) {
        uint64_t id = s_recv_packed (socket, work);
        uint64_t now_ns = gpb_clock_ns ();
        gpb_histogram_record (&s_histogram, now_ns - s_sent_ns [(id - GPB_BENCH_FIRST_ID) % IDS]);
        received++;
        if (now_ns - start_ns < duration_ns) {
            s_sent_ns [sent % IDS] = now_ns;
            gpb_bench_send_packed (socket, work, GPB_BENCH_FIRST_ID + sent++);
        }
    }
    s_store (figure, start_ns);
}

//  Answers come in the order of the requests, so that the oldest time is the next answer's.
void
gpb_bench_run_echo (void *socket, const gpb_bench_work_t *work, size_t depth, uint64_t duration_ns,
                    gpb_bench_figure_t *figure)
{
    gpb_histogram_reset (&s_histogram);
    uint64_t start_ns = gpb_clock_ns (), sent = 0, received = 0;
    for (; sent < depth; sent++) {
        s_sent_ns [sent % IDS] = gpb_clock_ns ();
        gpb_bench_echo_send (socket, work->sent);
    }
    while (received < sent) {
        if (!gpb_bench_echo_drop (socket, 0))
            gpb_bench_fail ("plain %s: interrupted", work->name);
        uint64_t now_ns = gpb_clock_ns ();
        gpb_histogram_record (&s_histogram, now_ns - s_sent_ns [received++ % IDS]);
        if (now_ns - start_ns < duration_ns) {
            s_sent_ns [sent++ % IDS] = now_ns;
            gpb_bench_echo_send (socket, work->sent);
        }
    }
    s_store (figure, start_ns);
}
