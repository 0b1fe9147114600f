//  gpb_load - sends one request again and again, and measures what comes of it
//
//  A client counts its ids up, so that an answer's id says which request of the schedule it is, and
//  with that when it was due: nothing is kept for what is in flight.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_load.h"

#include "gpb_alloc.h"
#include "gpb_clock.h"

#include <poll.h>
#include <sys/prctl.h>

//  The kernel lets a wait end so much later, to wake for several things at once; 50 µs by default,
//  which is more than a round trip.
#define TIMER_SLACK_NS 1

//  What is due before the end and could not be sent in time may still leave so long after it: what
//  a busy machine needs, and not what a node needs that cannot keep up.
#define GRACE_NS (100 * GPB_NS_PER_MS)

struct _gpb_load_t {
    gpb_load_args_t args;
    uint64_t start_ns;
    uint64_t first_id;    //  of request 0
    bool stopped;         //  nothing more is sent
    gpb_load_figures_t figures;
};

uint64_t
gpb_load_due_ns (uint64_t start_ns, uint64_t rate, uint64_t number)
{
    //  In two parts: number * GPB_NS_PER_S would not fit after half a minute of a full schedule.
    return start_ns + number / rate * GPB_NS_PER_S + number % rate * GPB_NS_PER_S / rate;
}

gpb_load_t *
gpb_load_new (const gpb_load_args_t *args, gpb_error_t *error)
{
    gpb_load_t *self = gpb_alloc (1, sizeof *self);
    if (!self) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for the figures");
        return NULL;
    }
    prctl (PR_SET_TIMERSLACK, TIMER_SLACK_NS, 0, 0, 0);
    self->args = *args;
    self->start_ns = gpb_clock_ns ();
    if (args->rate) {
        //  All whose time is before the end; at least the first.
        uint64_t whole = args->duration_ns / GPB_NS_PER_S * args->rate;
        uint64_t part = args->duration_ns % GPB_NS_PER_S * args->rate / GPB_NS_PER_S;
        self->figures.scheduled = whole + part ? whole + part : 1;
    }
    return self;
}

void
gpb_load_destroy (gpb_load_t **self_p)
{
    gpb_free (*self_p);
    *self_p = NULL;
}

static size_t
s_in_flight (const gpb_load_t *self)
{
    const gpb_load_figures_t *figures = &self->figures;
    return (size_t) (figures->sent - figures->answered - figures->failed);
}

static void
s_take (gpb_load_t *self, const gpb_reply_t *reply)
{
    gpb_load_figures_t *figures = &self->figures;
    uint64_t number = gpb_reply_id (reply) - self->first_id;
    if (number >= figures->sent)
        return;
    uint64_t now_ns = gpb_clock_ns ();
    gpb_status_t status = gpb_reply_status (reply);
    figures->elapsed_ns = now_ns - self->start_ns;
    if (status != GPB_OK) {
        figures->failed++;
        figures->failures [status]++;
        return;
    }
    uint64_t round_trip_ns = gpb_reply_round_trip_ns (reply);
    uint64_t latency_ns = round_trip_ns;
    if (self->args.rate)
        latency_ns = now_ns - gpb_load_due_ns (self->start_ns, self->args.rate, number);
    figures->answered++;
    gpb_histogram_record (&figures->round_trip, round_trip_ns);
    gpb_histogram_record (&figures->latency, latency_ns);
    gpb_spans_record (&figures->spans, reply);
}

//  When the next request is due; UINT64_MAX: none is.
static uint64_t
s_next_ns (const gpb_load_t *self, uint64_t now_ns)
{
    const gpb_load_figures_t *figures = &self->figures;
    uint64_t passed_ns = now_ns - self->start_ns;
    if (self->stopped || passed_ns >= self->args.duration_ns + (self->args.rate ? GRACE_NS : 0))
        return UINT64_MAX;
    if (self->args.rate == 0)
        return now_ns;
    return figures->sent < figures->scheduled
               ? gpb_load_due_ns (self->start_ns, self->args.rate, figures->sent)
               : UINT64_MAX;
}

static gpb_status_t
s_send (gpb_load_t *self, uint64_t due_ns, gpb_error_t *error)
{
    gpb_load_figures_t *figures = &self->figures;
    gpb_request_t *request = self->args.request (self->args.context);
    if (!request)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a request");
    uint64_t id = gpb_client_send (self->args.client, &request, error);
    if (!id)
        return error->status;
    if (figures->sent == 0)
        self->first_id = id;
    figures->sent++;
    if (self->args.rate) {
        uint64_t lateness_ns = gpb_clock_ns () - due_ns;
        gpb_histogram_record (&figures->lateness, lateness_ns);
        figures->late += lateness_ns > GPB_LOAD_LATE_NS;
    }
    return GPB_OK;
}

gpb_status_t
gpb_load_work (gpb_load_t *self, gpb_error_t *error)
{
    gpb_reply_t *reply;
    while ((reply = gpb_client_recv (self->args.client, 0))) {
        s_take (self, reply);
        gpb_reply_destroy (&reply);
    }
    //  What came due while others were sent waits for the next call: answers are looked for
    //  between.
    uint64_t now_ns = gpb_clock_ns ();
    uint64_t due_ns;
    gpb_status_t status = GPB_OK;
    while (status == GPB_OK && s_in_flight (self) < self->args.in_flight
           && (due_ns = s_next_ns (self, now_ns)) <= now_ns)
        status = s_send (self, due_ns, error);
    return status;
}

void
gpb_load_wait (gpb_load_t *self, int timeout_ms)
{
    int client_ms = gpb_client_next_timeout (self->args.client);
    if (client_ms >= 0 && client_ms < timeout_ms)
        timeout_ms = client_ms;
    uint64_t wait_ns = (uint64_t) timeout_ms * GPB_NS_PER_MS;
    uint64_t now_ns = gpb_clock_ns ();
    if (s_in_flight (self) < self->args.in_flight) {
        uint64_t next_ns = s_next_ns (self, now_ns);
        if (next_ns <= now_ns)
            return;
        if (next_ns - now_ns < wait_ns)
            wait_ns = next_ns - now_ns;
    }
    if (wait_ns == 0)
        return;
    //  The descriptor tells only of what comes after the socket was read to its end, which it was,
    //  or gpb_client_next_timeout would have been 0.
    struct pollfd item = { (int) zsock_fd (gpb_client_socket (self->args.client)), POLLIN, 0 };
    struct timespec time = { (time_t) (wait_ns / GPB_NS_PER_S), (long) (wait_ns % GPB_NS_PER_S) };
    ppoll (&item, 1, &time, NULL);
}

void
gpb_load_stop (gpb_load_t *self)
{
    self->stopped = true;
}

bool
gpb_load_done (const gpb_load_t *self)
{
    return s_in_flight (self) == 0 && s_next_ns (self, gpb_clock_ns ()) == UINT64_MAX;
}

const gpb_load_figures_t *
gpb_load_figures (const gpb_load_t *self)
{
    return &self->figures;
}
