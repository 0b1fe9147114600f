//  A fuzz target: frames of any number and size from two peers, as a ROUTER reads them, sorts them
//  into envelope, header and payloads, and answers them.
//
//  Input: messages, one behind the other. A byte of flags (1: from the second peer; 2: it is
//  answered by its envelope and a payload; 4: then the connection ends) and a byte for the number
//  of frames; each frame is a byte of its size and its content. Sizes from 253 on mean 256, 65,537
//  and a hop frame.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_fuzz.h"
#include "gpb_hop.h"
#include "gpb_router.h"

#include <czmq.h>

#define ENDPOINT "inproc://fuzz"
#define FRAMES_MAX 48

static gpb_router_t *s_router;
static zsock_t *s_dealers [2];

static void
s_stop (void)
{
    zsock_destroy (&s_dealers [0]);
    zsock_destroy (&s_dealers [1]);
    gpb_router_destroy (&s_router, 0);
}

static void
s_start (void)
{
    static const gpb_router_options_t options = { .max_frame_size = 1 << 20,
                                                  .reply_high_water = 64,
                                                  .reply_max_size = 1 << 20,
                                                  .lease_ms = 60000 };
    gpb_error_t error = { GPB_OK, "" };
    char bound [64];
    zsys_init ();
    atexit (s_stop);
    s_router = gpb_router_new (&options, &error);
    gpb_fuzz_check (s_router
                        && gpb_router_bind (s_router, ENDPOINT, bound, sizeof bound, &error)
                               == GPB_OK,
                    "%s", error.text);
    for (unsigned index = 0; index < 2; index++) {
        s_dealers [index] = zsock_new (ZMQ_DEALER);
        zsock_set_linger (s_dealers [index], 0);
        gpb_fuzz_check (zsock_connect (s_dealers [index], ENDPOINT) == 0, "no connection");
    }
}

static void
s_frame (gpb_fuzz_input_t *input, zmq_msg_t *frame)
{
    static const size_t large [] = { 256, 65537 };
    uint8_t size = gpb_fuzz_byte (input);
    if (size == 255) {
        gpb_hop_t hop = { .magic = GPB_HOP_MAGIC, .attempt = gpb_fuzz_byte (input) };
        zmq_msg_init (frame);
        gpb_hop_write (frame, &hop);
        return;
    }
    zmq_msg_init_size (frame, size < 253 ? size : large [size - 253]);
    memset (zmq_msg_data (frame), 0, zmq_msg_size (frame));
    gpb_fuzz_take (input, zmq_msg_data (frame), size);
}

//  How many frames it has sent.
static unsigned
s_send (gpb_fuzz_input_t *input, void *dealer)
{
    unsigned count = gpb_fuzz_byte (input) % FRAMES_MAX + 1;
    for (unsigned index = 0; index < count; index++) {
        zmq_msg_t frame;
        s_frame (input, &frame);
        gpb_fuzz_check (zmq_msg_send (&frame, dealer, index + 1 < count ? ZMQ_SNDMORE : 0) >= 0,
                        "a frame is not sent");
    }
    return count;
}

//  An envelope goes back as it came, behind the delimiter a header and what else there is.
static void
s_answer (gpb_connection_t *connection, gpb_message_t *message, void *dealer)
{
    gpb_hop_t hop, again;
    zmq_msg_t *last = &message->envelope [message->envelope_count - 1];
    if (gpb_hop_read (last, &hop)) {
        gpb_hop_write (last, &hop);
        gpb_fuzz_check (gpb_hop_read (last, &again) && memcmp (&hop, &again, sizeof hop) == 0,
                        "another hop");
    }
    const size_t envelope_count = message->envelope_count, count = message->payloads_count;
    const uint64_t size = gpb_message_payload_size (message);
    gpb_fuzz_check (gpb_router_send (s_router, connection, message), "an answer is not sent");
    gpb_fuzz_check (message->envelope_count == 0 && message->payloads_count == 0, "frames stay");
    gpb_message_t answer;
    gpb_message_init (&answer);
    gpb_error_t error;
    gpb_status_t status = gpb_message_recv (&answer, dealer, &error);
    gpb_fuzz_check (status == GPB_OK && answer.envelope_count == envelope_count - 1
                        && answer.payloads_count == count
                        && gpb_message_payload_size (&answer) == size,
                    "the answer is %s", error.text);
    gpb_message_clear (&answer);
}

//  What one message comes to: itself within the bounds, a refusal, or nothing where it has no
//  envelope.
static void
s_receive (uint8_t flags, unsigned frames, void *dealer)
{
    gpb_message_t message;
    gpb_message_init (&message);
    gpb_connection_t *connection;
    gpb_error_t error = { GPB_OK, "" };
    gpb_status_t status = gpb_router_recv (s_router, &message, &connection, &error);
    if (status != GPB_UNAVAILABLE) {
        gpb_fuzz_check (connection->number && connection->is_inproc, "a connection");
        gpb_fuzz_check (message.envelope_count >= 1 && message.envelope_count <= GPB_ENVELOPE_MAX,
                        "%zu frames of envelope", message.envelope_count);
        if (status == GPB_OK) {
            gpb_fuzz_check (message.envelope_count + 1 + message.payloads_count == frames,
                            "%zu + %zu of %u frames", message.envelope_count,
                            message.payloads_count, frames);
            gpb_fuzz_check (message.payloads_count <= GPB_PAYLOADS_MAX
                                && zmq_msg_size (&message.header) <= GPB_HEADER_MAX_SIZE,
                            "bounds");
        }
        else
            gpb_fuzz_check (status == GPB_INVALID_ARGUMENT && error.text [0]
                                && message.payloads_count == 0,
                            "%s", gpb_status_name (status));
        if (flags & 2)
            s_answer (connection, &message, dealer);
        if (flags & 4)
            gpb_router_end (s_router, connection);
    }
    gpb_fuzz_check (gpb_router_recv (s_router, &message, &connection, &error) == GPB_UNAVAILABLE,
                    "a message too many");
    gpb_message_clear (&message);
    for (unsigned ended = 0; gpb_router_ended (s_router); ended++)
        gpb_fuzz_check (ended == 0 && (flags & 4), "an end too many");
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
    if (!s_router)
        s_start ();
    gpb_fuzz_input_t input = { data, size };
    while (input.size) {
        uint8_t flags = gpb_fuzz_byte (&input);
        void *dealer = zsock_resolve (s_dealers [flags & 1]);
        //  A ROUTER's own frame, the identity, is in front, and the delimiter is taken out.
        unsigned frames = s_send (&input, dealer);
        s_receive (flags, frames, dealer);
    }
    return 0;
}
