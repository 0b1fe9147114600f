//  gpb_supervisor - a device whose actors run in a process of their own
//
//      broker <--inproc--> supervisor <--ipc, shared memory--> gpb_device_host: device, pool
//                               |     <--ipc, shared memory-->                  kernel host
//                               `---- socket pair: is it there? ----'
//
//  A process hangs when the oldest thing that its device was given has been the oldest for
//  `kernel_timeout_ms`: all that was given before has been answered, so that nothing stands in its
//  way. (A persistent kernel's message waits for its turn in the host, which watches its handlers
//  itself; but a host that answers nothing for so long, not even the broker's questions, hangs
//  too.) What a client has given up, or whose time is up, is answered before it is done; so the
//  process also says, with its figures, how long the first job of a stream has been the first.
//  Either way it is killed, and told from a crash by the reason.
//
//  What it says is not trusted: a kernel may have written anywhere before it crashed. An answer
//  finds its request by slot and generation or is dropped; places in shared memory are checked.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_supervisor_private.h"

#include "gpb_alloc.h"
#include "gpb_clock.h"
#include "gpb_executors.h"
#include "gpb_isolated.h"
#include "gpb_kernel.h"
#include "gpb_service.h"

#include <inttypes.h>
#include <string.h>

#define BATCH 64     //  messages of one socket between two looks at the others
#define REAP_MS 1    //  between two looks whether a killed process is gone

//  ---------------------------------------------------------------------------------------------------------
//  To the broker

//  message has no more than its header and payloads; it is empty afterwards.
static void
s_send_to_broker (gpb_supervisor_t *self, const gpb_hop_t *hop, gpb_message_t *message)
{
    zmq_msg_init (&message->envelope [0]);
    gpb_hop_write (&message->envelope [0], hop);
    message->envelope_count = 1;
    gpb_message_send (message, zsock_resolve (self->broker), NULL);
    gpb_message_clear (message);    //  where the broker has stopped
    gpb_poller_touch (&self->poller, GPB_SUPERVISOR_BROKER);
}

static void
s_reply (gpb_supervisor_t *self, const gpb_hop_t *hop, Gpb__V1__Reply *reply)
{
    gpb_message_t message;
    gpb_message_init (&message);
    reply->version = GPB_PROTOCOL_VERSION;
    if (gpb_codec_pack (&reply->base, &message.header, NULL) == GPB_OK)
        s_send_to_broker (self, hop, &message);
    gpb_message_clear (&message);
}

//  Refuses a request in the place of the device. The broker waits for no answer to its own words.
static void
s_refuse (gpb_supervisor_t *self, const gpb_hop_t *hop, const zmq_msg_t *header,
          const gpb_error_t *error)
{
    if (gpb_executors_is_own (hop))
        return;
    Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
    gpb_codec_request (self->codec, header, &reply.id, NULL);
    reply.status = (Gpb__V1__Status) error->status;
    reply.message = (char *) error->text;    //  packing reads it
    s_reply (self, hop, &reply);
}

static void
s_fail (gpb_supervisor_t *self, gpb_flights_t *flights, const gpb_error_t *error)
{
    const gpb_flight_t *flight;
    while ((flight = gpb_flights_oldest (flights))) {
        s_refuse (self, &flight->hop, &flight->header, error);
        gpb_flights_close (flights, flight, gpb_clock_ns ());
    }
}

void
gpb_supervisor_fail_all (gpb_supervisor_t *self, const gpb_error_t *error)
{
    s_fail (self, self->device.flights, error);
    s_fail (self, self->host.flights, error);
}

//  As figures of a device that has none.
void
gpb_supervisor_tell_lost (gpb_supervisor_t *self, bool is_lasting)
{
    Gpb__V1__Device device = GPB__V1__DEVICE__INIT;
    device.index = self->index;
    device.state = is_lasting ? GPB__V1__DEVICE_STATE__LOST : GPB__V1__DEVICE_STATE__RESTARTING;
    device.reason = self->reason;
    device.restarts = self->restarts;
    Gpb__V1__Device *devices [] = { &device };
    Gpb__V1__StatsReply stats = GPB__V1__STATS_REPLY__INIT;
    stats.n_devices = 1;
    stats.devices = devices;
    Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
    reply.body_case = GPB__V1__REPLY__BODY_STATS;
    reply.stats = &stats;
    const gpb_hop_t hop = gpb_executors_own_hop (0);
    s_reply (self, &hop, &reply);
}

//  ---------------------------------------------------------------------------------------------------------
//  To the process

//  The hop stands last in the message's envelope; in its place goes one with a slot of ours.
static void
s_hand_over (gpb_supervisor_t *self, const gpb_hop_t *hop, gpb_message_t *message)
{
    gpb_error_t error;
    const bool is_hosted = hop->flags & GPB_HOP_HOST;
    gpb_supervised_t *actor = is_hosted ? &self->host : &self->device;
    const uint64_t now_ns = gpb_clock_ns ();
    const gpb_flight_t *flight = NULL;
    if (actor->dealer)
        flight = gpb_flights_add (actor->flights, hop, &message->header, now_ns, &error);
    else
        gpb_error_set (&error, GPB_FAILED_PRECONDITION, "device %u has no kernel host: %s",
                       self->index, self->no_host);
    if (!flight) {
        s_refuse (self, hop, &message->header, &error);
        gpb_message_clear (message);
        return;
    }
    gpb_hop_t ours = *hop;
    ours.slot = flight->slot;
    ours.generation = flight->generation;
    gpb_hop_write (&message->envelope [message->envelope_count - 1], &ours);
    gpb_carriage_pack (&actor->carriage, message);
    gpb_message_send (message, zsock_resolve (actor->dealer), NULL);
    gpb_message_clear (message);
    gpb_poller_touch (&self->poller, actor->item);
    if (is_hosted && gpb_executors_is_own (hop) && !self->host_asked_ns)
        self->host_asked_ns = now_ns;
}

void
gpb_supervisor_ask_figures (gpb_supervisor_t *self)
{
    gpb_message_t message;
    gpb_message_init (&message);
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Stats stats = GPB__V1__STATS__INIT;
    request.version = GPB_PROTOCOL_VERSION;
    request.body_case = GPB__V1__REQUEST__BODY_STATS;
    request.stats = &stats;
    const gpb_hop_t hop = gpb_executors_own_hop (0);
    zmq_msg_init (&message.envelope [message.envelope_count++]);
    if (gpb_codec_pack (&request.base, &message.header, NULL) == GPB_OK)
        s_hand_over (self, &hop, &message);
    gpb_message_clear (&message);
}

//  A client has left, and what it has lost with it. (A goodbye and a cancel are all that the broker
//  says in a client's name.)
static void
s_check_own (gpb_supervisor_t *self, const gpb_hop_t *hop, const zmq_msg_t *header)
{
    if (!hop->owner)
        return;
    const gpb_owner_t owner = { .connection = hop->owner };
    const Gpb__V1__Request *request = gpb_codec_request (self->codec, header, NULL, NULL);
    if (request && request->body_case == GPB__V1__REQUEST__BODY_GOODBYE)
        gpb_losses_left (self->losses, &owner);
}

static void
s_recv_from_broker (gpb_supervisor_t *self)
{
    gpb_message_t message;
    gpb_message_init (&message);
    void *socket = zsock_resolve (self->broker);
    gpb_status_t status = GPB_OK;
    size_t count = 0;
    for (; count < BATCH && status != GPB_UNAVAILABLE && self->state == GPB_PROCESS_UP; count++) {
        gpb_hop_t hop;
        status = gpb_message_recv (&message, socket, NULL);
        if (status != GPB_OK || message.envelope_count == 0
            || !gpb_hop_read (&message.envelope [message.envelope_count - 1], &hop))
            continue;
        if (gpb_executors_is_own (&hop))
            s_check_own (self, &hop, &message.header);
        s_hand_over (self, &hop, &message);
    }
    gpb_message_clear (&message);
    if (status != GPB_UNAVAILABLE)
        gpb_poller_touch (&self->poller, GPB_SUPERVISOR_BROKER);
}

//  ---------------------------------------------------------------------------------------------------------
//  From the process

//  How long it has worked on one thing, by its own word.
static void
s_check_figures (gpb_supervisor_t *self, const zmq_msg_t *header)
{
    const Gpb__V1__Reply *reply = gpb_codec_reply (self->codec, header, NULL);
    if (!self->kernel_timeout_ns || !reply || reply->body_case != GPB__V1__REPLY__BODY_STATS
        || reply->stats->n_devices != 1)
        return;
    if (reply->stats->devices [0]->running_ns >= self->kernel_timeout_ns)
        gpb_supervisor_end (self, "a kernel ran for longer than kernel_timeout_ms, %" PRIu64 " ms",
                            self->kernel_timeout_ns / (uint64_t) GPB_NS_PER_MS);
}

//  What a client has of the device from now on, and has no more.
static void
s_note_handle (gpb_supervisor_t *self, const gpb_owner_t *owner, unsigned body,
               const gpb_flight_t *flight, const zmq_msg_t *header)
{
    const bool is_given = body == GPB__V1__REPLY__BODY_RENT || body == GPB__V1__REPLY__BODY_RESERVE;
    const Gpb__V1__Reply *reply = is_given ? gpb_codec_reply (self->codec, header, NULL) : NULL;
    if (reply)
        gpb_losses_given (self->losses, owner,
                          body == GPB__V1__REPLY__BODY_RENT ? reply->rent->handle
                                                            : reply->reserve->handle);
    const Gpb__V1__Request *request =
        is_given ? NULL : gpb_codec_request (self->codec, &flight->header, NULL, NULL);
    if (request)
        gpb_losses_returned (self->losses, body == GPB__V1__REPLY__BODY_RELEASE
                                               ? request->release->handle
                                               : request->unreserve->handle);
}

//  Whether a request that the device knows nothing of names what was lost: then it is answered.
static bool
s_refuse_lost (gpb_supervisor_t *self, const gpb_owner_t *owner, const gpb_flight_t *flight)
{
    const Gpb__V1__Request *request = gpb_codec_request (self->codec, &flight->header, NULL, NULL);
    const uint64_t handle = request ? gpb_losses_find (self->losses, owner, request) : 0;
    if (!handle)
        return false;
    gpb_error_t error;
    gpb_error_set (&error, GPB_DATA_LOSS,
                   "what handle %016" PRIx64
                   " stood for is gone: device %u was restarted, since %s",
                   handle, self->index, self->reason);
    s_refuse (self, &flight->hop, &flight->header, &error);
    return true;
}

//  Looks at an answer to a client's request. True where it goes no further: the client is answered
//  already, or will be with all others.
static bool
s_check_answer (gpb_supervisor_t *self, gpb_supervised_t *actor, const gpb_flight_t *flight,
                const zmq_msg_t *header)
{
    const gpb_owner_t owner = { .connection = flight->hop.owner };
    const unsigned body = gpb_codec_peek_body (header);
    if (body == GPB__V1__REPLY__BODY_RENT || body == GPB__V1__REPLY__BODY_RESERVE
        || body == GPB__V1__REPLY__BODY_RELEASE || body == GPB__V1__REPLY__BODY_UNRESERVE)
        s_note_handle (self, &owner, body, flight, header);
    if (body)
        return false;
    gpb_status_t status = GPB_OK;
    bool has_memory;
    uint64_t memory;
    gpb_codec_peek_reply (header, &status, &has_memory, &memory);
    if (status == GPB_NOT_FOUND && gpb_losses_count (self->losses)
        && s_refuse_lost (self, &owner, flight))
    {
        gpb_flights_close (actor->flights, flight, gpb_clock_ns ());
        return true;
    }
    if (status != GPB_UNAVAILABLE && status != GPB_DATA_LOSS)
        return false;
    //  The backend has lost the device, and its context is of no use any more: what a kernel's
    //  fault comes to on a GPU. A new process has a new one.
    const Gpb__V1__Reply *reply = gpb_codec_reply (self->codec, header, NULL);
    gpb_supervisor_end (self, "%s", reply ? reply->message : "its device is lost");
    return true;
}

static void
s_pass_on (gpb_supervisor_t *self, gpb_supervised_t *actor, gpb_message_t *message)
{
    gpb_error_t error;
    gpb_hop_t ours;
    if (gpb_carriage_unpack (&actor->carriage, message, &error) != GPB_OK) {
        gpb_supervisor_end (self, "what it says cannot be read: %s", error.text);
        return;
    }
    const gpb_flight_t *flight = NULL;
    if (message->envelope_count == 1 && gpb_hop_read (&message->envelope [0], &ours))
        flight = gpb_flights_at (actor->flights, ours.slot, ours.generation);
    if (!flight)
        return;
    gpb_hop_t hop = flight->hop;
    if (ours.flags & GPB_HOP_SERVED) {
        hop.flags |= GPB_HOP_SERVED;
        hop.served_ns = ours.served_ns;
    }
    const bool is_own = gpb_executors_is_own (&hop);
    if (!is_own && s_check_answer (self, actor, flight, &message->header))
        return;
    gpb_flights_close (actor->flights, flight, gpb_clock_ns ());
    if (is_own)
        s_check_figures (self, &message->header);
    zmq_msg_close (&message->envelope [0]);
    message->envelope_count = 0;
    s_send_to_broker (self, &hop, message);
}

//  False where there is no more.
static bool
s_recv_from (gpb_supervisor_t *self, gpb_supervised_t *actor)
{
    gpb_message_t message;
    gpb_message_init (&message);
    gpb_status_t status = GPB_OK;
    for (size_t count = 0; count < BATCH && status != GPB_UNAVAILABLE && actor->dealer; count++) {
        status = gpb_message_recv (&message, zsock_resolve (actor->dealer), NULL);
        if (status != GPB_OK)
            continue;
        if (actor == &self->host)
            self->host_asked_ns = 0;
        s_pass_on (self, actor, &message);
    }
    gpb_message_clear (&message);
    const bool has_more = status != GPB_UNAVAILABLE && actor->dealer;
    if (has_more)
        gpb_poller_touch (&self->poller, actor->item);
    return has_more;
}

//  READY, or a reason not to be, or to be no more, or the end.
static void
s_recv_control (gpb_supervisor_t *self)
{
    char text [GPB_CHILD_MESSAGE_MAX];
    int got = gpb_child_recv (&self->child, text, sizeof text);
    if (got > 0 && self->state == GPB_PROCESS_STARTING) {
        const size_t ready = strlen (GPB_ISOLATED_READY);
        if (strncmp (text, GPB_ISOLATED_READY, ready) == 0
            && (!text [ready] || text [ready] == ' '))
            gpb_supervisor_up (self, text [ready] ? text + ready + 1 : "");
        else {
            const char *blank = strchr (text, ' ');    //  behind the status
            snprintf (self->why, sizeof self->why, "%.500s", blank ? blank + 1 : text);
            self->has_said = true;
        }
    }
    else if (got != 0) {
        if (got > 0)    //  its own reason to end
            snprintf (self->why, sizeof self->why, "%.500s", text);
        while (s_recv_from (self, &self->device))    //  what it has answered counts
            continue;
        while (s_recv_from (self, &self->host))
            continue;
        gpb_supervisor_end (self, "%s", "");
    }
}

//  ---------------------------------------------------------------------------------------------------------
//  Rounds

//  When the oldest thing that the device has is taken for one that never ends, or the host for one
//  that never answers; 0: never.
static uint64_t
s_hang_ns (const gpb_supervisor_t *self)
{
    if (!self->kernel_timeout_ns || self->state != GPB_PROCESS_UP)
        return 0;
    uint64_t since_ns = self->host_asked_ns;
    if (gpb_flights_oldest (self->device.flights)
        && (!since_ns || gpb_flights_oldest_since_ns (self->device.flights) < since_ns))
        since_ns = gpb_flights_oldest_since_ns (self->device.flights);
    return since_ns ? since_ns + self->kernel_timeout_ns : 0;
}

static int
s_timeout_ms (const gpb_supervisor_t *self)
{
    const uint64_t now_ns = gpb_clock_ns (), hang_ns = s_hang_ns (self);
    switch (self->state) {
    case GPB_PROCESS_DOWN: return self->is_wanted ? gpb_wait_ms (now_ns, self->until_ns) : -1;
    case GPB_PROCESS_STARTING: return gpb_wait_ms (now_ns, self->until_ns);
    case GPB_PROCESS_ENDING: return REAP_MS;
    case GPB_PROCESS_UP: break;
    }
    return hang_ns ? gpb_wait_ms (now_ns, hang_ns) : -1;
}

//  What is due by the time.
static void
s_check_time (gpb_supervisor_t *self)
{
    const uint64_t now_ns = gpb_clock_ns (), hang_ns = s_hang_ns (self);
    if (self->state == GPB_PROCESS_ENDING)
        gpb_supervisor_reap (self);
    if (self->state == GPB_PROCESS_DOWN && self->is_wanted && now_ns >= self->until_ns)
        gpb_supervisor_start (self);
    else if (self->state == GPB_PROCESS_STARTING && now_ns >= self->until_ns)
        gpb_supervisor_end (self, "it did not open its device in time");
    else if (hang_ns && now_ns >= hang_ns)
        gpb_supervisor_end (self, "it did not answer for kernel_timeout_ms, %" PRIu64 " ms",
                            self->kernel_timeout_ns / (uint64_t) GPB_NS_PER_MS);
}

//  One round, without the pipe: waits for something to do, and does it.
static void
s_round (gpb_supervisor_t *self)
{
    gpb_poller_t *poller = &self->poller;
    gpb_poller_wait (poller, s_timeout_ms (self));
    if (gpb_poller_take (poller, GPB_SUPERVISOR_CONTROL))
        s_recv_control (self);
    if (gpb_poller_take (poller, GPB_SUPERVISOR_DEVICE))
        s_recv_from (self, &self->device);
    if (gpb_poller_take (poller, GPB_SUPERVISOR_HOST))
        s_recv_from (self, &self->host);
    if (gpb_poller_take (poller, GPB_SUPERVISOR_BROKER))
        s_recv_from_broker (self);
    s_check_time (self);
}

//  ---------------------------------------------------------------------------------------------------------
//  The life of the actor

static gpb_status_t
s_command_host (gpb_supervisor_t *self, gpb_error_t *error)
{
    if (!self->broker)
        return gpb_error_set (error, GPB_FAILED_PRECONDITION, "HOST comes after BIND");
    if (!self->is_wanted)
        return gpb_error_set (error, GPB_UNAVAILABLE, "%s", self->reason);
    if (self->no_host [0])
        return gpb_error_set (error, GPB_FAILED_PRECONDITION, "%s", self->no_host);
    return gpb_error_set (error, GPB_OK, "%s", self->endpoint);
}

//  Comes back when the device is open, as a device's own actor does, or with the reason why not.
static gpb_status_t
s_command (void *actor, char **words, size_t count, gpb_error_t *error)
{
    gpb_supervisor_t *self = actor;
    if (count == 2 && streq (words [0], "HOST"))
        return s_command_host (self, error);
    if (count != 2 || !streq (words [0], "BIND"))
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "%s: expected BIND ENDPOINT, HOST ENDPOINT or $TERM", words [0]);
    if (self->broker)
        return gpb_error_set (error, GPB_FAILED_PRECONDITION,
                              "a device's process has one broker, and it is bound already");
    zsock_t *broker = zsock_new (ZMQ_DEALER);
    if (!broker)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no socket for a device: %s",
                              zmq_strerror (zmq_errno ()));
    zsock_set_linger (broker, 0);
    zsock_set_sndhwm (broker, 0);
    zsock_set_rcvhwm (broker, 0);
    if (zsock_bind (broker, "%s", words [1]) < 0) {
        zsock_destroy (&broker);
        return gpb_error_set (error, GPB_UNAVAILABLE, "cannot bind %s: %s", words [1],
                              zmq_strerror (zmq_errno ()));
    }
    self->broker = broker;
    snprintf (self->endpoint, sizeof self->endpoint, "%s", words [1]);
    gpb_poller_set_socket (&self->poller, GPB_SUPERVISOR_BROKER, zsock_resolve (broker));
    gpb_poller_pause (&self->poller, GPB_SUPERVISOR_PIPE, true);
    gpb_supervisor_start (self);
    while (self->state != GPB_PROCESS_UP && !self->restarts)
        s_round (self);
    gpb_poller_pause (&self->poller, GPB_SUPERVISOR_PIPE, false);
    self->is_wanted = self->state == GPB_PROCESS_UP;
    if (self->is_wanted)
        return gpb_error_set (error, GPB_OK, "%s", words [1]);
    return gpb_error_set (error, GPB_UNAVAILABLE, "%s", self->reason);
}

static void
s_open (gpb_supervisor_t *self)
{
    gpb_error_t *error = &self->failure;
    gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a device");
    if (!self->config)
        return;
    self->kernel_timeout_ns = gpb_config_number (self->config, "kernel_timeout_ms") * GPB_NS_PER_MS;
    //  As the node finds them: the process's program stands elsewhere.
    if (!gpb_config_string (self->config, "kernel_path") [0]) {
        char *path = gpb_kernels_default_path ();
        gpb_status_t status =
            path ? gpb_config_set (self->config, "kernel_path", path, error) : error->status;
        gpb_free (path);
        if (status != GPB_OK)
            return;
    }
    gpb_poller_add_socket (&self->poller, zsock_resolve (self->pipe));
    for (unsigned item = GPB_SUPERVISOR_CONTROL; item <= GPB_SUPERVISOR_HOST; item++)
        gpb_poller_add_fd (&self->poller, -1);
    self->device.item = GPB_SUPERVISOR_DEVICE;
    self->host.item = GPB_SUPERVISOR_HOST;
    self->codec = gpb_codec_new (error);
    if (self->codec)
        self->losses = gpb_losses_new (error);
    if (self->losses)
        self->device.flights = gpb_flights_new (error);
    if (self->device.flights)
        self->host.flights = gpb_flights_new (error);
}

void
gpb_supervisor (zsock_t *pipe, void *args_p)
{
    const gpb_device_args_t *args = args_p;
    gpb_supervisor_t self = { .pipe = pipe, .index = args->index, .child = GPB_CHILD_NONE };
    self.config = args->config ? gpb_config_dup (args->config) : gpb_config_new ();
    zsock_signal (pipe, 0);
    s_open (&self);

    bool go_on = true;
    while (go_on && !self.host.flights)
        go_on = gpb_pipe_refuse (pipe, &self.failure);
    while (go_on) {
        s_round (&self);
        if (gpb_poller_take (&self.poller, GPB_SUPERVISOR_PIPE) && zsock_events (pipe) & ZMQ_POLLIN)
        {
            go_on = gpb_pipe_serve (pipe, s_command, &self);
            gpb_poller_touch (&self.poller, GPB_SUPERVISOR_PIPE);
        }
    }
    if (self.host.flights)
        gpb_supervisor_stop (&self);
    zsock_destroy (&self.broker);
    gpb_flights_destroy (&self.device.flights);
    gpb_flights_destroy (&self.host.flights);
    gpb_losses_destroy (&self.losses);
    gpb_codec_destroy (&self.codec);
    gpb_config_destroy (&self.config);
}
