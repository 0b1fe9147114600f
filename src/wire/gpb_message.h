//  gpb_message - the frames of one message: envelope, header, payloads
//
//  Reads one message from a socket within the protocol's bounds, and sends one without copying.
//  What is out of bounds is read to its end and refused, so that the socket is always at the start
//  of a message. A message owns its frames; sending or moving takes them. Plain structure, one
//  thread at a time, no allocation of its own.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_MESSAGE_H_INCLUDED
#define GPB_MESSAGE_H_INCLUDED

#include "gpb_error.h"

#include <stdbool.h>
#include <stdint.h>
#include <zmq.h>

//  The protocol's bounds (doc/protocol.md).
#define GPB_PROTOCOL_VERSION 1
#define GPB_ENVELOPE_MAX 8    //  frames before the empty one, a ROUTER's identity included
#define GPB_ENVELOPE_FRAME_MAX_SIZE 255    //  bytes of one of them, as of ZeroMQ's identities
#define GPB_PAYLOADS_MAX 32                //  frames behind the header
#define GPB_HEADER_MAX_SIZE 65536          //  bytes
#define GPB_INLINE_MAX_SIZE 32768          //  bytes of all inline payloads of one message
#define GPB_ARGUMENTS_MAX 64               //  of one execute request
#define GPB_REQUIRE_MAX 64                 //  capabilities that one request asks for
#define GPB_PRIORITY_MIN (-3)
#define GPB_PRIORITY_MAX 3

typedef struct {
    size_t envelope_count;
    size_t payloads_count;
    int fd;             //  gpb_message_fd's
    bool is_refused;    //  nothing of it is left but its envelope
    zmq_msg_t header;
    zmq_msg_t envelope [GPB_ENVELOPE_MAX];
    zmq_msg_t payloads [GPB_PAYLOADS_MAX];
} gpb_message_t;

//  An empty message. Every message is initialised once, and cleared at its end.
void gpb_message_init (gpb_message_t *self);

//  Closes all frames; it is empty again.
void gpb_message_clear (gpb_message_t *self);

//  Reads one message, replacing what self had. GPB_UNAVAILABLE when there is none (socket: a ZeroMQ
//  socket, never waited for), INVALID_ARGUMENT when it is out of bounds: then self has its envelope
//  where that much is well (envelope_count > 0 or a leading empty frame was there), so that the
//  sender can be told, and nothing else.
gpb_status_t gpb_message_recv (gpb_message_t *self, void *socket, gpb_error_t *error);

//  The descriptor of the connection that it was received from; -1: a peer in this process. To be
//  asked before anything is moved out of it.
int gpb_message_fd (gpb_message_t *self);

//  The "User-Id" of the connection that it was received from, as its ZAP handler gave it (NULL: it
//  gave none); borrowed from its last frame. False for a message that was refused: it has kept no
//  frame.
bool gpb_message_user (const gpb_message_t *self, const char **user_p);

//  Sends all frames, with the empty one behind the envelope; never waits, copies nothing. OK: self
//  is empty. RESOURCE_EXHAUSTED (the high-water mark), UNAVAILABLE (nobody there) or INTERNAL: self
//  is whole; or it is empty, where the peer went in the middle of the message (UNAVAILABLE).
gpb_status_t gpb_message_send (gpb_message_t *self, void *socket, gpb_error_t *error);

//  Takes over all frames of source.
void gpb_message_move (gpb_message_t *self, gpb_message_t *source);

//  Bytes of all payload frames.
uint64_t gpb_message_payload_size (const gpb_message_t *self);

//  Adds a payload frame, taking its content; RESOURCE_EXHAUSTED when there are GPB_PAYLOADS_MAX.
gpb_status_t gpb_message_add (gpb_message_t *self, zmq_msg_t *frame, gpb_error_t *error);

#endif
