//  gpb_stream - a file cut into messages, many of which are in flight, and the answers in order
//
//  Every piece of the source is one request. Answers come in any order and go to the sink in that
//  of the pieces, so that what the sink has is always the answers of the first so many. A refusal
//  stops the sending, and so does a source that cannot be read; what was sent before is still
//  written. Memory is bounded by what
//  is in flight or waits for an earlier answer: four times in_flight messages, and 128 MiB of
//  inputs where one message is not more than that alone.
//
//  It borrows a client that nobody else uses meanwhile. One thread; gpb_stream_work never waits for
//  the node or the source, gpb_stream_wait does.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_STREAM_H_INCLUDED
#define GPB_STREAM_H_INCLUDED

#include "gpb_client.h"
#include "gpb_histogram.h"
#include "gpb_pieces.h"
#include "gpb_spans.h"

typedef struct _gpb_stream_t gpb_stream_t;

//  The request for one message; NULL when memory runs out. data is borrowed for the call.
typedef gpb_request_t *(gpb_stream_request_fn) (void *context, const void *data, size_t size);

//  All borrowed until gpb_stream_destroy.
typedef struct {
    gpb_client_t *client;
    gpb_source_t *source;
    gpb_sink_t *sink;
    size_t piece_size;    //  the source's
    size_t in_flight;     //  messages, at the most; at least 1
    gpb_stream_request_fn *request;
    void *context;    //  request's
} gpb_stream_args_t;

typedef enum {
    GPB_STREAM_GOES_ON,
    GPB_STREAM_DONE,     //  all is answered and flushed
    GPB_STREAM_FAILED    //  *error says why; figures say how far it came
} gpb_stream_state_t;

typedef struct {
    uint64_t sent;                  //  messages
    uint64_t answered;              //  of these, whatever the answer
    uint64_t written;               //  of these, whose results the sink was given
    uint64_t input_size;            //  bytes of what was sent
    gpb_histogram_t round_trips;    //  of those answered OK
    gpb_spans_t spans;
    char node [64];    //  of the last answer
} gpb_stream_figures_t;

//  NULL when memory runs out.
gpb_stream_t *gpb_stream_new (const gpb_stream_args_t *args, gpb_error_t *error);

//  What is in flight stays so: the client's goodbye takes it back.
void gpb_stream_destroy (gpb_stream_t **self_p);

//  Takes what has come, writes what is next, and sends as much as may be in flight.
gpb_stream_state_t gpb_stream_work (gpb_stream_t *self, gpb_error_t *error);

//  Waits until there may be more to do, a signal comes, or timeout_ms are over.
void gpb_stream_wait (gpb_stream_t *self, int timeout_ms);

//  So far. Borrowed.
const gpb_stream_figures_t *gpb_stream_figures (const gpb_stream_t *self);

#endif
