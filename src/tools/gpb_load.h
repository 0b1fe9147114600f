//  gpb_load - sends one request again and again, and measures what comes of it
//
//  On schedule (an open loop), where a rate is given: request n is due n / rate after the start,
//  whatever became of those before, and its latency counts from then, also where it could only be
//  sent later. So a node that stands still for a second is charged with all that would have been
//  asked in that second, and not with one slow answer alone (coordinated omission, as Tene calls
//  it). Where in_flight of them are under way, what is due waits, and its latency counts; what has
//  not been sent when the time is over never is: scheduled less sent. Without a rate as many as
//  in_flight allows are under way at any time (a closed loop), and latency is the round trip.
//
//  It borrows a client that nobody else uses meanwhile. One thread; gpb_load_work never waits,
//  gpb_load_wait does, to the microsecond: a schedule of more than a thousand a second is finer
//  than poll's milliseconds.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_LOAD_H_INCLUDED
#define GPB_LOAD_H_INCLUDED

#include "gpb_client.h"
#include "gpb_histogram.h"
#include "gpb_spans.h"

//  A request that leaves later than this after its time was late: more than a busy machine's
//  scheduler needs to wake us.
#define GPB_LOAD_LATE_NS 1000000

typedef struct _gpb_load_t gpb_load_t;

//  The request; NULL when memory runs out.
typedef gpb_request_t *(gpb_load_request_fn) (const void *context);

//  All borrowed until gpb_load_destroy.
typedef struct {
    gpb_client_t *client;
    gpb_load_request_fn *request;
    const void *context;     //  request's
    uint64_t rate;           //  requests a second; 0: a closed loop
    uint64_t duration_ns;    //  for so long new ones are sent, or are due
    size_t in_flight;        //  at the most; at least 1
} gpb_load_args_t;

typedef struct {
    uint64_t scheduled;    //  requests that the whole schedule has; 0 in a closed loop
    uint64_t sent;
    uint64_t answered;                              //  OK
    uint64_t failed;                                //  answered otherwise
    uint64_t failures [GPB_UNAUTHENTICATED + 1];    //  of these, by status
    uint64_t late;                                  //  sent later than GPB_LOAD_LATE_NS
    uint64_t elapsed_ns;                            //  from the start to the last answer
    gpb_histogram_t latency;                        //  of those answered OK
    gpb_histogram_t round_trip;                     //  of the same, from when they were sent
    gpb_histogram_t lateness;    //  from being due to being sent; empty in a closed loop
    gpb_spans_t spans;
} gpb_load_figures_t;

//  When request n, counted from 0, is due, by the start and the rate (a second, not 0).
uint64_t gpb_load_due_ns (uint64_t start_ns, uint64_t rate, uint64_t number);

//  The time begins. NULL when memory runs out.
gpb_load_t *gpb_load_new (const gpb_load_args_t *args, gpb_error_t *error);
void gpb_load_destroy (gpb_load_t **self_p);

//  Takes what has come and sends what is due. What cannot be sent ends it: *error says why.
gpb_status_t gpb_load_work (gpb_load_t *self, gpb_error_t *error);

//  Waits until there may be more to do, a signal comes, or timeout_ms are over.
void gpb_load_wait (gpb_load_t *self, int timeout_ms);

//  Nothing more is sent.
void gpb_load_stop (gpb_load_t *self);

//  Whether all is sent and answered.
bool gpb_load_done (const gpb_load_t *self);

//  So far. Borrowed.
const gpb_load_figures_t *gpb_load_figures (const gpb_load_t *self);

#endif
