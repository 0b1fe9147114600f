//  gpb_message - the frames of one message: envelope, header, payloads
//
//  Owns nothing but the frames in the caller's structure; runs on whatever thread owns the socket,
//  and never waits. A message that is out of bounds is read to its last frame before it is refused,
//  since libzmq delivers a message whole and the next read must start at the next message. When the
//  other side dies, a send says so where libzmq does (ROUTER_MANDATORY), and the message stays
//  whole for another try.
//
//      identity, ...  (ROUTER's and relays' frames: the envelope)   at most GPB_ENVELOPE_MAX
//      ""             (the delimiter)
//      header         (one protobuf message)                        at most GPB_HEADER_MAX_SIZE
//      payload, ...                                                 at most GPB_PAYLOADS_MAX
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_message.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define FD_UNKNOWN (-2)    //  nobody has asked yet: libzmq makes a text of it, and we a number

void
gpb_message_init (gpb_message_t *self)
{
    self->envelope_count = 0;
    self->payloads_count = 0;
    self->fd = -1;
    self->is_refused = false;
    zmq_msg_init (&self->header);
}

static void
s_clear_envelope (gpb_message_t *self)
{
    while (self->envelope_count > 0)
        zmq_msg_close (&self->envelope [--self->envelope_count]);
}

//  Header and payloads; the envelope stays.
static void
s_clear_content (gpb_message_t *self)
{
    while (self->payloads_count > 0)
        zmq_msg_close (&self->payloads [--self->payloads_count]);
    zmq_msg_close (&self->header);
    zmq_msg_init (&self->header);
}

void
gpb_message_clear (gpb_message_t *self)
{
    s_clear_envelope (self);
    s_clear_content (self);
}

static int
s_recv_frame (zmq_msg_t *frame, void *socket)
{
    int rc;
    do
        rc = zmq_msg_recv (frame, socket, ZMQ_DONTWAIT);
    while (rc < 0 && errno == EINTR);
    return rc;
}

//  Where the next frame of the message belongs.
typedef enum { S_ENVELOPE, S_HEADER, S_PAYLOADS, S_REFUSED } s_place_t;

static s_place_t
s_take_envelope (gpb_message_t *self, zmq_msg_t *frame, gpb_error_t *error)
{
    size_t size = zmq_msg_size (frame);
    if (size == 0)
        return S_HEADER;
    if (self->envelope_count == GPB_ENVELOPE_MAX || size > GPB_ENVELOPE_FRAME_MAX_SIZE) {
        if (size > GPB_ENVELOPE_FRAME_MAX_SIZE)
            gpb_error_set (error, GPB_INVALID_ARGUMENT,
                           "an envelope frame of %zu bytes: at most %d are allowed, and an empty "
                           "frame stands before the header",
                           size, GPB_ENVELOPE_FRAME_MAX_SIZE);
        else
            gpb_error_set (error, GPB_INVALID_ARGUMENT,
                           "more than %d frames before the first empty one", GPB_ENVELOPE_MAX);
        s_clear_envelope (self);
        return S_REFUSED;
    }
    zmq_msg_t *target = &self->envelope [self->envelope_count++];
    zmq_msg_init (target);
    zmq_msg_move (target, frame);
    return S_ENVELOPE;
}

static s_place_t
s_take_header (gpb_message_t *self, zmq_msg_t *frame, gpb_error_t *error)
{
    if (zmq_msg_size (frame) > GPB_HEADER_MAX_SIZE) {
        gpb_error_set (error, GPB_INVALID_ARGUMENT,
                       "a header of %zu bytes: at most %d are allowed; bulk data goes into payload "
                       "frames",
                       zmq_msg_size (frame), GPB_HEADER_MAX_SIZE);
        return S_REFUSED;
    }
    zmq_msg_move (&self->header, frame);
    return S_PAYLOADS;
}

static s_place_t
s_take_payload (gpb_message_t *self, zmq_msg_t *frame, gpb_error_t *error)
{
    if (gpb_message_add (self, frame, NULL) == GPB_OK)
        return S_PAYLOADS;
    gpb_error_set (error, GPB_INVALID_ARGUMENT, "more than %d payload frames", GPB_PAYLOADS_MAX);
    s_clear_content (self);
    return S_REFUSED;
}

//  What every round of every actor ends with: nothing is formatted for it.
static gpb_status_t
s_nothing (gpb_error_t *error)
{
    static const char text [] = "no message";
    if (error) {
        error->status = GPB_UNAVAILABLE;
        memcpy (error->text, text, sizeof text);
    }
    return GPB_UNAVAILABLE;
}

gpb_status_t
gpb_message_recv (gpb_message_t *self, void *socket, gpb_error_t *error)
{
    gpb_message_clear (self);
    zmq_msg_t frame;
    zmq_msg_init (&frame);
    s_place_t place = S_ENVELOPE;
    int more = 1;
    for (int first = 1; more; first = 0) {
        if (s_recv_frame (&frame, socket) < 0) {
            int reason = errno;
            zmq_msg_close (&frame);
            gpb_message_clear (self);
            if (first && reason == EAGAIN)
                return s_nothing (error);
            return gpb_error_set (error, GPB_UNAVAILABLE, "%s: %s",
                                  first ? "no message" : "a message broke off",
                                  zmq_strerror (reason));
        }
        more = zmq_msg_more (&frame);
        if (place == S_ENVELOPE)
            place = s_take_envelope (self, &frame, error);
        else if (place == S_HEADER)
            place = s_take_header (self, &frame, error);
        else if (place == S_PAYLOADS)
            place = s_take_payload (self, &frame, error);
        //  What is refused keeps no frame that could be asked later.
        if (!more)
            self->fd = place == S_PAYLOADS ? FD_UNKNOWN : zmq_msg_get (&frame, ZMQ_SRCFD);
    }
    self->is_refused = place != S_PAYLOADS;
    zmq_msg_close (&frame);
    switch (place) {
    case S_PAYLOADS: return GPB_OK;
    case S_REFUSED: return GPB_INVALID_ARGUMENT;
    case S_HEADER:
        return gpb_error_set (error, GPB_INVALID_ARGUMENT, "no header frame behind the empty one");
    default:
        s_clear_envelope (self);
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "no empty frame: one stands between envelope and header");
    }
}

//  ROUTER's own first frame has lost its properties where the socket was polled before (libzmq
//  4.3.4, router_t::xhas_in).
static const zmq_msg_t *
s_last_frame (const gpb_message_t *self)
{
    return self->payloads_count ? &self->payloads [self->payloads_count - 1] : &self->header;
}

int
gpb_message_fd (gpb_message_t *self)
{
    if (self->fd == FD_UNKNOWN)
        self->fd = zmq_msg_get (s_last_frame (self), ZMQ_SRCFD);
    return self->fd;
}

bool
gpb_message_user (const gpb_message_t *self, const char **user_p)
{
    *user_p = self->is_refused ? NULL : zmq_msg_gets (s_last_frame (self), "User-Id");
    return !self->is_refused;
}

static int
s_send_frame (zmq_msg_t *frame, void *socket, int more)
{
    int rc;
    do
        rc = zmq_msg_send (frame, socket, ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0));
    while (rc < 0 && errno == EINTR);
    return rc;
}

gpb_status_t
gpb_message_send (gpb_message_t *self, void *socket, gpb_error_t *error)
{
    //  Once libzmq has taken the first frame, all others follow, whatever became of the peer: a
    //  socket that was left in the middle of a message would swallow the start of the next one.
    size_t count = self->envelope_count + 2 + self->payloads_count;
    int failed = 0;
    bool was_begun = false;
    zmq_msg_t delimiter;
    zmq_msg_init (&delimiter);
    for (size_t index = 0; index < count; index++) {
        zmq_msg_t *frame;
        if (index < self->envelope_count)
            frame = &self->envelope [index];
        else if (index == self->envelope_count)
            frame = &delimiter;
        else if (index == self->envelope_count + 1)
            frame = &self->header;
        else
            frame = &self->payloads [index - self->envelope_count - 2];
        //  A later frame fails only where the peer's pipe went away under the message.
        if (s_send_frame (frame, socket, index + 1 < count) < 0 && !failed)
            failed = index == 0 ? errno : EHOSTUNREACH;
        if (failed && index == 0)
            break;
        was_begun = true;
    }
    if (was_begun)
        gpb_message_clear (self);
    switch (failed) {
    case 0: return GPB_OK;
    case EAGAIN:
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "too many messages wait to be sent");
    case EHOSTUNREACH:
        return gpb_error_set (error, GPB_UNAVAILABLE, "the other side is not connected");
    default:
        return gpb_error_set (error, GPB_INTERNAL, "the message cannot be sent: %s",
                              zmq_strerror (failed));
    }
}

void
gpb_message_move (gpb_message_t *self, gpb_message_t *source)
{
    gpb_message_clear (self);
    self->fd = source->fd;
    self->is_refused = source->is_refused;
    zmq_msg_move (&self->header, &source->header);
    for (; self->envelope_count < source->envelope_count; self->envelope_count++) {
        zmq_msg_init (&self->envelope [self->envelope_count]);
        zmq_msg_move (&self->envelope [self->envelope_count],
                      &source->envelope [self->envelope_count]);
    }
    for (; self->payloads_count < source->payloads_count; self->payloads_count++) {
        zmq_msg_init (&self->payloads [self->payloads_count]);
        zmq_msg_move (&self->payloads [self->payloads_count],
                      &source->payloads [self->payloads_count]);
    }
    gpb_message_clear (source);
}

uint64_t
gpb_message_payload_size (const gpb_message_t *self)
{
    uint64_t size = 0;
    for (size_t index = 0; index < self->payloads_count; index++)
        size += zmq_msg_size (&self->payloads [index]);
    return size;
}

gpb_status_t
gpb_message_add (gpb_message_t *self, zmq_msg_t *frame, gpb_error_t *error)
{
    if (self->payloads_count == GPB_PAYLOADS_MAX)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "more than %d payload frames",
                              GPB_PAYLOADS_MAX);
    zmq_msg_t *target = &self->payloads [self->payloads_count++];
    zmq_msg_init (target);
    zmq_msg_move (target, frame);
    return GPB_OK;
}
