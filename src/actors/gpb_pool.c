//  gpb_pool - a device's rented memory as an actor
//
//  Owns every rented buffer of one device, by a handle that cannot be guessed and is never given
//  twice (gpb_handles), and the memory that they are carved out of (gpb_pool_memory), on its own
//  thread and its own stream, so that a device's launches wait for neither. Answers rent, release,
//  map, unmap, cancel and stats. Its usual client is its device's actor, which asks in the name of
//  the device's clients and gets the memory itself along with the handle; started alone, any client
//  may rent, and an application in the same process maps what it has rented.
//
//  It never waits. A rent whose memory is still being zeroed, or that finds none while memory of
//  others is being zeroed, is kept and answered later; others are served meanwhile. What is kept
//  ends in exactly one answer: with its memory, with a refusal, when its time is up, when it is
//  taken back; with none where its owner has left.
//
//  A buffer belongs to who rented it: for everyone else its handle is NOT_FOUND. It comes back when
//  it is released, when its owner's connection ends, or with the actor. Free memory that nobody has
//  asked for in keep_ms goes back to the driver.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_pool_private.h"

#include "gpb_alloc.h"
#include "gpb_clock.h"
#include "gpb_hop.h"
#include "gpb_log.h"
#include "gpb_signals.h"

#include <poll.h>
#include <unistd.h>

#define BATCH 16               //  requests between two looks at the pipe
#define STOP_LINGER_MS 1000    //  for the last answers to leave over tcp

//  ---------------------------------------------------------------------------------------------------------
//  Requests

//  A reply's body for the figures as they are.
static void
s_reply_stats (gpb_pool_t *self, gpb_connection_t *connection, gpb_message_t *message, uint64_t id)
{
    Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
    Gpb__V1__StatsReply body = GPB__V1__STATS_REPLY__INIT;
    Gpb__V1__PoolStats *figures = &self->figures;
    gpb_pool_memory_figures (self->memory, figures);
    figures->internal_fragmentation =
        figures->in_use ? (double) (figures->in_use - figures->requested) / (double) figures->in_use
                        : 0.0;
    body.n_pools = 1;
    body.pools = &figures;
    reply.id = id;
    reply.body_case = GPB__V1__REPLY__BODY_STATS;
    reply.stats = &body;
    if (connection == self->device)
        gpb_pool_add_lease (self, message, NULL);
    gpb_service_reply (self->service, connection, message, &reply);
}

static bool
s_wants_trim (const gpb_call_t *call)
{
    gpb_hop_t hop;
    const gpb_message_t *message = call->message;
    return gpb_pool_is_devices (call)
           && gpb_hop_read (&message->envelope [message->envelope_count - 1], &hop)
           && (hop.flags & GPB_HOP_TRIM);
}

static void
s_handle_stats (void *actor, gpb_call_t *call)
{
    gpb_pool_t *self = actor;
    gpb_pool_trim_t *trim = s_wants_trim (call) ? gpb_alloc (1, sizeof *trim) : NULL;
    if (!trim) {
        s_reply_stats (self, call->connection, call->message, call->request->id);
        return;
    }
    gpb_pool_note (self, call);
    trim->id = call->request->id;
    trim->until = gpb_pool_memory_returned (self->memory);
    gpb_message_init (&trim->message);
    gpb_message_move (&trim->message, call->message);
    *(self->trim_last ? &self->trim_last->next : &self->trim_first) = trim;
    self->trim_last = trim;
}

//  Answers those for whom all that came back before they asked is zero by now, or the first one's
//  device is gone.
static void
s_check_trims (gpb_pool_t *self)
{
    gpb_pool_trim_t *trim;
    while ((trim = self->trim_first)
           && (!self->device || gpb_pool_memory_settled (self->memory) >= trim->until))
    {
        self->trim_first = trim->next;
        if (!self->trim_first)
            self->trim_last = NULL;
        gpb_pool_memory_trim (self->memory);
        if (self->device)
            s_reply_stats (self, self->device, &trim->message, trim->id);
        gpb_message_clear (&trim->message);
        gpb_free (trim);
    }
}

static void
s_drop_owner (gpb_pool_t *self, const gpb_owner_t *owner)
{
    gpb_owned_t *owned;
    while ((owned = gpb_owners_first (self->owners, owner)))
        gpb_pool_rent_end (self, owned->item);
}

static void
s_handle_goodbye (void *actor, gpb_call_t *call)
{
    gpb_pool_t *self = actor;
    gpb_connection_t *connection = call->connection;
    gpb_owner_t owner = call->owner;
    gpb_call_done (self->service, call);
    s_drop_owner (self, &owner);
    if (!owner.behind)
        gpb_router_end (gpb_service_router (self->service), connection);
}

static const gpb_handler_t s_handlers [] = {
    { GPB__V1__REQUEST__BODY_RENT, gpb_pool_handle_rent },
    { GPB__V1__REQUEST__BODY_RELEASE, gpb_pool_handle_release },
    { GPB__V1__REQUEST__BODY_MAP, gpb_pool_handle_map },
    { GPB__V1__REQUEST__BODY_UNMAP, gpb_pool_handle_unmap },
    { GPB__V1__REQUEST__BODY_CANCEL, gpb_pool_handle_cancel },
    { GPB__V1__REQUEST__BODY_STATS, s_handle_stats },
    { GPB__V1__REQUEST__BODY_GOODBYE, s_handle_goodbye },
};

//  ---------------------------------------------------------------------------------------------------------
//  What happens between requests

static void
s_drop_ended (gpb_pool_t *self)
{
    gpb_connection_t *ended;
    while ((ended = gpb_router_ended (gpb_service_router (self->service)))) {
        const gpb_owner_t owner = { .connection = ended->number };
        s_drop_owner (self, &owner);
        if (self->device == ended)
            self->device = NULL;
    }
}

//  Gives free memory back that nobody has asked for in a while. When to look again.
static uint64_t
s_check_kept (gpb_pool_t *self, uint64_t now_ns)
{
    if (self->is_trimmed || gpb_pool_memory_kept (self->memory) == 0)
        return UINT64_MAX;
    uint64_t until_ns = self->last_asked_ns + self->keep_ns;
    if (until_ns > now_ns)
        return until_ns;
    gpb_pool_memory_trim (self->memory);
    self->is_trimmed = true;
    return UINT64_MAX;
}

//  Tells the device what has changed since it was last told.
static void
s_notify_device (gpb_pool_t *self)
{
    gpb_holding_t holding;
    gpb_pool_memory_holding (self->memory, &holding);
    if (!self->device || (holding.held == self->told.held && holding.idle == self->told.idle))
        return;
    gpb_message_t notice;
    gpb_message_init (&notice);
    const gpb_hop_t hop = { .magic = GPB_HOP_MAGIC, .slot = GPB_TICKET_NOBODY };
    zmq_msg_init (&notice.envelope [0]);
    zmq_msg_copy (&notice.envelope [0], &self->identity);
    zmq_msg_init (&notice.envelope [1]);
    gpb_hop_write (&notice.envelope [1], &hop);
    notice.envelope_count = 2;
    gpb_pool_add_lease (self, &notice, NULL);
    gpb_router_send (gpb_service_router (self->service), self->device, &notice);
    gpb_message_clear (&notice);
}

//  ---------------------------------------------------------------------------------------------------------
//  The life of the actor

static void
s_start (gpb_pool_t *self, const gpb_pool_args_t *args)
{
    gpb__v1__pool_stats__init (&self->figures);
    self->figures.device = args->index;
    zmq_msg_init (&self->identity);
    self->config = args->config ? gpb_config_dup (args->config) : gpb_config_new ();
    if (args->shared)
        self->shared = gpb_shared_context_retain (args->shared);
}

static void
s_open (gpb_pool_t *self, unsigned index)
{
    gpb_error_t *error = &self->failure;
    if (!self->config) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a pool");
        return;
    }
    if (!self->shared)
        self->shared = gpb_shared_context_open (gpb_config_string (self->config, "backends"), index,
                                                1, false, error);
    if (!self->shared)
        return;
    self->client_max_size = gpb_config_number (self->config, "client_rent_max_size");
    self->keep_ns = gpb_config_number (self->config, "keep_ms") * GPB_NS_PER_MS;
    self->memory = gpb_pool_memory_new (self->config, self->shared, error);
    if (self->memory)
        self->handles = gpb_handles_new (index, GPB_HANDLES_GENERATIONS, error);
    if (self->handles)
        self->owners = gpb_owners_new (error);
    if (self->owners)
        self->service = gpb_service_new (self->config, s_handlers,
                                         sizeof s_handlers / sizeof s_handlers [0], self, error);
}

static gpb_status_t
s_command (void *actor, char **words, size_t count, gpb_error_t *error)
{
    gpb_pool_t *self = actor;
    if (count != 1 || !streq (words [0], "KEEP"))
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "%s: expected BIND ENDPOINT, KEEP or $TERM", words [0]);
    self->keeps = true;
    return GPB_OK;
}

//  Waits for what is on the stream, within the time that the configuration gives. False: it did not
//  end.
static bool
s_drain (gpb_pool_t *self)
{
    uint64_t end_ns =
        gpb_clock_ns () + gpb_config_number (self->config, "drain_ms") * GPB_NS_PER_MS;
    gpb_pool_memory_stop (self->memory);
    while (true) {
        while (gpb_pool_memory_done (self->memory))
            continue;
        if (gpb_pool_memory_is_idle (self->memory))
            return true;
        uint64_t now_ns = gpb_clock_ns ();
        if (now_ns >= end_ns)
            return false;
        struct pollfd wake = { .fd = self->shared->pool_fd, .events = POLLIN };
        poll (&wake, 1, gpb_wait_ms (now_ns, end_ns));
        uint64_t count;
        ssize_t size = read (self->shared->pool_fd, &count, sizeof count);
        (void) size;
    }
}

static void
s_stop (gpb_pool_t *self)
{
    if (self->service) {
        gpb_error_t error;
        gpb_error_set (&error, GPB_UNAVAILABLE, "the pool stopped before the request was done");
        gpb_heap_node_t *first;
        while ((first = gpb_heap_first (&self->asked)))
            gpb_pool_rent_refuse (self, ((gpb_pool_asked_t *) first)->rent, &error);
    }
    self->device = NULL;
    if (self->memory)
        s_check_trims (self);
    gpb_service_destroy (&self->service, STOP_LINGER_MS);
    zmq_msg_close (&self->identity);
    if (self->keeps || (self->memory && !s_drain (self))) {
        if (!self->keeps) {
            gpb_log (self->config, GPB_LOG_ERROR,
                     "device %u: memory could not be zeroed in time, and stays",
                     self->shared->index);
            gpb_shared_context_abandon (&self->shared);
        }
        gpb_config_destroy (&self->config);
        return;
    }
    gpb_owned_t *owned;
    while (self->owners && (owned = gpb_owners_any (self->owners)))
        gpb_pool_rent_end (self, owned->item);
    gpb_heap_clear (&self->asked);
    gpb_owners_destroy (&self->owners);
    gpb_handles_destroy (&self->handles);
    gpb_pool_memory_destroy (&self->memory);
    if (self->shared)
        gpb_shared_context_release (&self->shared);
    gpb_config_destroy (&self->config);
}

//  One round: waits for something to do, and does it. False: $TERM.
static bool
s_round (gpb_pool_t *self)
{
    gpb_router_t *router = gpb_service_router (self->service);
    zmq_pollitem_t items [] = {
        { NULL, self->shared->pool_fd, ZMQ_POLLIN, 0 },
        { zsock_resolve (self->pipe), 0, ZMQ_POLLIN, 0 },
        { gpb_router_socket (router), 0, ZMQ_POLLIN, 0 },
        { gpb_router_monitor (router), 0, ZMQ_POLLIN, 0 },
    };
    uint64_t now_ns = gpb_clock_ns (), until_ns = gpb_pool_check_deadlines (self, now_ns);
    uint64_t kept_ns = s_check_kept (self, now_ns);
    uint64_t retry_ns = gpb_pool_memory_retry (self->memory, now_ns);
    if (kept_ns < until_ns)
        until_ns = kept_ns;
    if (retry_ns < until_ns)
        until_ns = retry_ns;
    s_notify_device (self);
    int timeout_ms = until_ns < UINT64_MAX ? gpb_wait_ms (now_ns, until_ns) : -1;
    int router_ms = gpb_router_next_timeout (router);
    if (timeout_ms < 0 || (router_ms >= 0 && router_ms < timeout_ms))
        timeout_ms = router_ms;
    zmq_poll (items, sizeof items / sizeof items [0], timeout_ms);

    bool go_on = true;
    if (items [1].revents & ZMQ_POLLIN)
        go_on = gpb_service_command (self->service, self->pipe, s_command);
    gpb_pool_collect (self);
    gpb_service_receive (self->service, BATCH);
    s_drop_ended (self);
    s_check_trims (self);
    return go_on;
}

void
gpb_pool (zsock_t *pipe, void *args)
{
    gpb_signals_block ();
    gpb_pool_t self = { .pipe = pipe };
    unsigned index = ((const gpb_pool_args_t *) args)->index;
    s_start (&self, args);
    zsock_signal (pipe, 0);
    s_open (&self, index);

    bool go_on = true;
    while (go_on && !self.service)
        go_on = gpb_pipe_refuse (pipe, &self.failure);
    while (go_on)
        go_on = s_round (&self);
    s_stop (&self);
}
