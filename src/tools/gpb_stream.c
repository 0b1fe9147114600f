//  gpb_stream - a file cut into messages, many of which are in flight, and the answers in order
//
//  Message n, counted from 0, has the id first_id + n, since a client counts its ids up. Answers
//  wait in a ring until all before them are written:
//
//        written                     sent
//           |  answered? each of them  |
//      -----+--------------------------+------->  messages
//           |<------ at most room ---->|
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_stream.h"

#include "gpb_alloc.h"

#include <stdio.h>
#include <string.h>

//  Answers that wait for an earlier one, and what is in flight, in units of in_flight: so many that
//  one slow message of a lane seldom keeps the others from being sent.
#define ROOM_FACTOR 4

//  Bytes of their inputs together; their outputs are mostly about the same again.
#define ROOM_SIZE ((size_t) 128 * 1024 * 1024)

struct _gpb_stream_t {
    gpb_stream_args_t args;
    gpb_reply_t **ring;    //  room of them; message n's answer at n % room, NULL until it is there
    size_t room;
    uint64_t first_id;    //  of message 0
    bool stopped;         //  nothing more is sent
    bool failed;          //  for a reason of our own, which is:
    gpb_error_t failure;
    gpb_stream_figures_t figures;
};

gpb_stream_t *
gpb_stream_new (const gpb_stream_args_t *args, gpb_error_t *error)
{
    gpb_stream_t *self = gpb_alloc (1, sizeof *self);
    if (self) {
        self->args = *args;
        self->room = args->in_flight * ROOM_FACTOR;
        if (self->room > ROOM_SIZE / args->piece_size)
            self->room = ROOM_SIZE / args->piece_size;
        if (self->room == 0)
            self->room = 1;
        self->ring = gpb_alloc (self->room, sizeof (gpb_reply_t *));
    }
    if (!self || !self->ring) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for %zu messages in flight",
                       args->in_flight);
        gpb_stream_destroy (&self);
    }
    return self;
}

void
gpb_stream_destroy (gpb_stream_t **self_p)
{
    gpb_stream_t *self = *self_p;
    if (!self)
        return;
    for (size_t index = 0; self->ring && index < self->room; index++)
        gpb_reply_destroy (&self->ring [index]);
    gpb_free (self->ring);
    gpb_free (self);
    *self_p = NULL;
}

//  ---------------------------------------------------------------------------------------------------------
//  Answers

static void
s_record (gpb_stream_t *self, const gpb_reply_t *reply)
{
    const Gpb__V1__Reply *header = gpb_reply_header_peek (reply);
    gpb_histogram_record (&self->figures.round_trips, gpb_reply_round_trip_ns (reply));
    gpb_spans_record (&self->figures.spans, reply);
    if (header->body_case == GPB__V1__REPLY__BODY_EXECUTE)
        snprintf (self->figures.node, sizeof self->figures.node, "%s", header->execute->node);
}

//  Takes all that has come into the ring.
static void
s_take (gpb_stream_t *self)
{
    gpb_stream_figures_t *figures = &self->figures;
    gpb_reply_t *reply;
    while ((reply = gpb_client_recv (self->args.client, 0))) {
        //  What the client was asked before has an id below, which wraps to a number above.
        uint64_t number = gpb_reply_id (reply) - self->first_id;
        if (number < figures->written || number >= figures->sent) {
            gpb_reply_destroy (&reply);
            continue;
        }
        figures->answered++;
        if (gpb_reply_status (reply) == GPB_OK)
            s_record (self, reply);
        else
            self->stopped = true;
        self->ring [number % self->room] = reply;
    }
}

//  Writes the answer that is next, and destroys it.
static gpb_status_t
s_write (gpb_stream_t *self, gpb_reply_t **reply_p, gpb_error_t *error)
{
    gpb_reply_t *reply = *reply_p;
    size_t size = 0;
    gpb_status_t status = gpb_reply_status (reply);
    if (status != GPB_OK)
        gpb_error_set (error, status, "%s", gpb_reply_message (reply));
    else if (gpb_reply_results (reply) != 1)
        status = gpb_error_set (error, GPB_INTERNAL, "the node sent %zu results, not 1",
                                gpb_reply_results (reply));
    if (status != GPB_OK)
        gpb_error_prefix (error, "message %llu: ", (unsigned long long) self->figures.written + 1);
    else {
        const void *data = gpb_reply_result (reply, 0, &size);
        status = gpb_sink_write (self->args.sink, data, size, error);
    }
    gpb_reply_destroy (reply_p);
    if (status == GPB_OK)
        self->figures.written++;
    return status;
}

static gpb_status_t
s_write_all (gpb_stream_t *self, gpb_error_t *error)
{
    while (self->figures.written < self->figures.sent) {
        gpb_reply_t **next_p = &self->ring [self->figures.written % self->room];
        if (!*next_p)
            return GPB_OK;
        gpb_status_t status = s_write (self, next_p, error);
        if (status != GPB_OK)
            return status;
    }
    return GPB_OK;
}

//  ---------------------------------------------------------------------------------------------------------
//  Messages

static bool
s_may_send (const gpb_stream_t *self)
{
    const gpb_stream_figures_t *figures = &self->figures;
    return !self->stopped && !gpb_source_ended (self->args.source)
           && figures->sent - figures->answered < self->args.in_flight
           && figures->sent - figures->written < self->room;
}

static gpb_status_t
s_send (gpb_stream_t *self, const void *data, size_t size, gpb_error_t *error)
{
    gpb_request_t *request = self->args.request (self->args.context, data, size);
    if (!request)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a request");
    uint64_t id = gpb_client_send (self->args.client, &request, error);
    if (!id)
        return error->status;
    if (self->figures.sent == 0)
        self->first_id = id;
    self->figures.sent++;
    self->figures.input_size += size;
    return GPB_OK;
}

//  Sends as much as may be in flight, and is there.
static void
s_send_all (gpb_stream_t *self)
{
    while (s_may_send (self)) {
        const void *data;
        size_t size;
        gpb_status_t status = gpb_source_next (self->args.source, &data, &size, &self->failure);
        if (status == GPB_UNAVAILABLE)
            return;
        if (status == GPB_OK && size)
            status = s_send (self, data, size, &self->failure);
        if (status != GPB_OK)
            self->stopped = self->failed = true;
    }
}

gpb_stream_state_t
gpb_stream_work (gpb_stream_t *self, gpb_error_t *error)
{
    s_take (self);
    gpb_status_t status = s_write_all (self, error);
    //  Also of what is written in vain: it is the answers of the first so many.
    gpb_status_t flushed = gpb_sink_flush (self->args.sink, status == GPB_OK ? error : NULL);
    if (status != GPB_OK || flushed != GPB_OK)
        return GPB_STREAM_FAILED;
    s_send_all (self);
    if (self->figures.written < self->figures.sent)
        return GPB_STREAM_GOES_ON;
    if (self->failed) {
        gpb_error_set (error, self->failure.status, "%s", self->failure.text);
        return GPB_STREAM_FAILED;
    }
    return gpb_source_ended (self->args.source) ? GPB_STREAM_DONE : GPB_STREAM_GOES_ON;
}

void
gpb_stream_wait (gpb_stream_t *self, int timeout_ms)
{
    int client_ms = gpb_client_next_timeout (self->args.client);
    if (client_ms >= 0 && client_ms < timeout_ms)
        timeout_ms = client_ms;
    zmq_pollitem_t items [2] = { { zsock_resolve (gpb_client_socket (self->args.client)), 0,
                                   ZMQ_POLLIN, 0 },
                                 { NULL, gpb_source_file (self->args.source), ZMQ_POLLIN, 0 } };
    zmq_poll (items, s_may_send (self) ? 2 : 1, timeout_ms);
}

const gpb_stream_figures_t *
gpb_stream_figures (const gpb_stream_t *self)
{
    return &self->figures;
}
