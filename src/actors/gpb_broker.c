//  gpb_broker - the public end of a node, as an actor
//
//  Owns the public ROUTER, the book of what is in flight, and the queues before the devices. It
//  looks at a request's header, queues it within bounds, picks a device that fits when that has a
//  credit, and forwards the frames as they came; a reply goes back the way its request came, with
//  the time that it queued put behind its header. Payloads are never copied, and nothing here
//  waits: sends that would are given up.
//
//  Every accepted request is answered once: by its device, or by the broker when its time is up,
//  when its client takes it back, or when the node stops. One whose time is up is never handed
//  over. A client that leaves takes its waiting requests along, and its devices are told, so that
//  what it rented returns. A device's answer to a request that is answered already is dropped.
//
//  Messages of persistent kernels do not wait here: they go to a kernel host at once
//  (gpb_hosting.h), and are otherwise requests as all others.
//
//  What may run twice is tried again: an idempotent request whose device was lost, on another one
//  or on that one when it is back; and a rent or a reservation that its device had too little
//  memory for when it came, on another one.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_broker.h"

#include "gpb_alloc.h"
#include "gpb_broker_private.h"
#include "gpb_clock.h"
#include "gpb_constraints.h"
#include "gpb_log.h"
#include "gpb_persistent.h"

#include <inttypes.h>

#define BATCH 128                  //  messages of one socket between two looks at all others
#define SLICE 16                   //  requests between two looks at the devices' answers
#define FIGURES_NS GPB_NS_PER_S    //  between two questions to a device about its figures
#define FIGURES_SOON_NS                                                                            \
    (100 * GPB_NS_PER_MS)      //  where they change without an answer that says so
#define STOP_LINGER_MS 1000    //  for the last answers to leave over tcp
#define PIPE_ITEM 0            //  of the poller
#define ROUTER_ITEM 1
#define REMOTE_ITEM 2
#define MONITOR_ITEM 3
#define GATE_ITEM 4
#define AGING_LOOKS 16    //  at what has waited long, in the time that is long
#define ATTEMPTS_MAX 4    //  of one request: what fails on four devices is at fault itself

//  ---------------------------------------------------------------------------------------------------------
//  To and from devices

//  Whether a request's frames are kept for another try.
static bool
s_is_kept (const gpb_entry_t *entry)
{
    return entry->is_idempotent || entry->memory;
}

static unsigned
s_executor (const gpb_entry_t *entry)
{
    return entry->is_hosted ? gpb_executors_host (entry->device) : entry->device;
}

void
gpb_broker_hand_over (self_t *self, gpb_entry_t *entry, uint64_t now_ns)
{
    const bool keeps = s_is_kept (entry);
    zmq_msg_t header;
    zmq_msg_init (&header);
    if (keeps)
        zmq_msg_copy (&header, &entry->message.header);
    else
        zmq_msg_move (&header, &entry->message.header);
    gpb_executors_forward (&self->executors, s_executor (entry), entry, &header, keeps, now_ns);
    entry->attempts++;
    zmq_msg_close (&header);
}

static void s_expire (self_t *self, uint64_t now_ns);

static void
s_dispatch (self_t *self)
{
    if (gpb_placement_waiting (self->placement)->all.requests == 0)
        return;
    uint64_t now_ns = gpb_clock_ns ();
    s_expire (self, now_ns);
    gpb_entry_t *entry;
    while ((entry = gpb_placement_next (self->placement, now_ns)))
        gpb_broker_hand_over (self, entry, now_ns);
}

//  Answers a request before its device does, or in its place. One that waited is closed; one that
//  is on a device stays in the book until the device is done with it.
static void
s_answer_early (self_t *self, gpb_entry_t *entry, const gpb_error_t *error)
{
    bool is_waiting = !entry->sent_ns;
    if (is_waiting)
        gpb_placement_unqueue (self->placement, entry);
    gpb_service_refuse (self->service, entry->connection, &entry->message, entry->key.id, error);
    if (is_waiting)
        gpb_book_close (self->book, entry);
    else
        gpb_book_answered (self->book, entry);
}

//  Where a request that was lost with its device, or that this had no memory for, may be tried
//  again: on the others that it may have, or on the same where it was lost and comes back, since it
//  is another one then.
static uint64_t
s_others (self_t *self, const gpb_entry_t *entry, bool is_lost)
{
    uint64_t devices = 0;
    for (uint64_t left = entry->devices; left; left &= left - 1) {
        unsigned index = (unsigned) __builtin_ctzll (left);
        gpb_device_state_t state = gpb_placement_device (self->placement, index)->state;
        bool comes_back = is_lost && state == GPB_DEVICE_RESTARTING;
        if (comes_back || (state == GPB_DEVICE_READY && index != entry->device))
            devices |= 1ULL << index;
    }
    return devices;
}

//  What the device at hand has refused may do well elsewhere: it waits again, for those that may
//  have it. False where it is to be answered.
static bool
s_try_elsewhere (self_t *self, gpb_entry_t *entry, gpb_status_t status, uint64_t now_ns)
{
    bool is_lost = status == GPB_UNAVAILABLE || status == GPB_DATA_LOSS;
    bool may =
        (is_lost && entry->is_idempotent) || (status == GPB_RESOURCE_EXHAUSTED && entry->memory);
    uint64_t devices = s_others (self, entry, is_lost);
    if (!may || entry->answered || !entry->tenant || !devices || entry->attempts >= ATTEMPTS_MAX)
        return false;
    entry->devices = devices;
    if (entry->is_hosted) {
        gpb_broker_host_send (self, entry, now_ns);
        self->counts.rerun++;
        return true;
    }
    entry->sent_ns = 0;
    gpb_error_t error;
    if (gpb_placement_queue (self->placement, entry, now_ns, &error) != GPB_OK) {
        gpb_service_refuse (self->service, entry->connection, &entry->message, entry->key.id,
                            &error);
        gpb_book_close (self->book, entry);
        return true;
    }
    self->counts.rerun += is_lost ? 1 : 0;
    return true;
}

static const char *
s_first_notice (self_t *self)
{
    return self->notices_count ? self->notices [0] : "no backend found one";
}

//  Which devices a request may have.
static gpb_status_t
s_place (self_t *self, const gpb_call_t *call, gpb_constraints_t *constraints, uint64_t *devices,
         gpb_error_t *error)
{
    gpb_status_t status = gpb_constraints_read (constraints, call, self->kernels,
                                                gpb_placement_devices (self->placement), error);
    return status == GPB_OK ? gpb_placement_fit (self->placement, constraints,
                                                 s_first_notice (self), devices, error)
                            : status;
}

//  Memory that several devices have refused in turn: the answer names each of them and why, as it
//  would have from the start. False where it would fit by now, and the last one's word stands.
static bool
s_refuse_memory (self_t *self, gpb_entry_t *entry)
{
    gpb_error_t error;
    gpb_constraints_t constraints;
    uint64_t devices;
    gpb_call_t call = { .message = &entry->message, .connection = entry->connection };
    call.request = gpb_codec_request (self->codec, &entry->message.header, NULL, NULL);
    if (!call.request || s_place (self, &call, &constraints, &devices, &error) == GPB_OK)
        return false;
    gpb_service_refuse (self->service, entry->connection, &entry->message, entry->key.id, &error);
    return true;
}

//  The device's answer becomes the request's.
static void
s_answer (self_t *self, gpb_entry_t *entry, gpb_message_t *message)
{
    gpb_message_t *reply = &entry->message;
    while (reply->payloads_count > 0)    //  of a request that was kept
        zmq_msg_close (&reply->payloads [--reply->payloads_count]);
    gpb_codec_append (&message->header, GPB_REPLY_QUEUED_NS, entry->sent_ns - entry->received_ns,
                      NULL);
    zmq_msg_move (&reply->header, &message->header);
    for (size_t payload = 0; payload < message->payloads_count; payload++)
        gpb_message_add (reply, &message->payloads [payload], NULL);
    message->payloads_count = 0;
    gpb_router_send (self->router, entry->connection, reply);
}

static void
s_handle_answer (self_t *self, unsigned index, const gpb_hop_t *hop, gpb_message_t *message)
{
    gpb_status_t status = GPB_INTERNAL;
    bool has_memory = false;
    uint64_t available_memory = 0;
    bool is_reply =
        gpb_codec_peek_reply (&message->header, &status, &has_memory, &available_memory);
    if (is_reply && has_memory)
        gpb_placement_device (self->placement, index)->available_memory = available_memory;
    gpb_entry_t *entry = gpb_book_at (self->book, hop->slot, hop->generation);
    if (!entry)
        return;
    if (entry->registration) {
        gpb_broker_registration_answer (self, entry, &message->header);
        return;
    }
    const bool is_hosted = hop->flags & GPB_HOP_HOST;
    if (!entry->sent_ns || entry->device != index || entry->is_hosted != is_hosted)
        return;    //  it has not been asked
    //  What was answered early was not answered OK, whatever its kernel has come to.
    bool is_ok = is_reply && status == GPB_OK && !entry->answered;
    uint64_t now_ns = gpb_clock_ns ();
    entry->served_ns = hop->flags & GPB_HOP_SERVED ? hop->served_ns : 0;
    if (is_hosted)
        gpb_broker_host_answered (self, entry, is_ok, now_ns);
    else
        gpb_placement_answered (self->placement, entry, is_ok, now_ns);
    if (is_reply && status != GPB_OK && s_try_elsewhere (self, entry, status, now_ns))
        return;
    if (entry->holding || entry->named_handle)
        gpb_principal_settle (entry, gpb_codec_reply (self->codec, &message->header, NULL), now_ns);
    if (!entry->answered && !is_reply) {
        gpb_error_t error;
        gpb_error_set (&error, GPB_INTERNAL, "device %u answered what cannot be read", index);
        gpb_service_refuse (self->service, entry->connection, &entry->message, entry->key.id,
                            &error);
    }
    else if (!entry->connection)
        gpb_broker_ask_soon (self);
    else if (!entry->answered
             && !(status == GPB_RESOURCE_EXHAUSTED && entry->memory && entry->attempts > 1
                  && s_refuse_memory (self, entry)))
        s_answer (self, entry, message);
    gpb_book_close (self->book, entry);
}

void
gpb_broker_recv (self_t *self, unsigned executor)
{
    const unsigned device = gpb_executors_device (executor);
    gpb_message_t message;
    gpb_message_init (&message);
    gpb_hop_t hop;
    for (size_t count = 0;
         count < BATCH && gpb_executors_recv (&self->executors, executor, &hop, &message); count++)
        if (!gpb_executors_is_own (&hop))
            s_handle_answer (self, device, &hop, &message);
        else if (hop.flags & GPB_HOP_HOST)
            gpb_broker_host_figures (self, device, &message.header);
        else
            gpb_broker_device_figures (self, device, &message.header);
    gpb_message_clear (&message);
}

//  The executors' answers, of those that may have some.
static void
s_recv_answers (self_t *self)
{
    for (unsigned at = 0; at < self->executors.count; at++) {
        const unsigned executor = self->executors.numbers [at];
        if (gpb_poller_take (&self->poller, self->items [executor]))
            gpb_broker_recv (self, executor);
    }
}

//  ---------------------------------------------------------------------------------------------------------
//  Work

//  Enters a request in the book and queues it for the devices that fit.
gpb_entry_t *
gpb_broker_enter (self_t *self, gpb_call_t *call, gpb_status_t admitted, uint32_t retry_after_ms,
                  gpb_error_t *error)
{
    gpb_entry_t *entry = NULL;
    if (admitted == GPB_OK)
        entry = gpb_book_enter (self->book, call, error);
    else
        self->counts.exhausted++;
    if (!entry) {
        gpb_call_refuse_until (self->service, call, retry_after_ms, error);
        return NULL;
    }
    if (gpb_principal_charge (call->connection->account, entry, call->request, error) == GPB_OK)
        return entry;
    gpb_service_refuse (self->service, entry->connection, &entry->message, entry->key.id, error);
    gpb_book_close (self->book, entry);
    return NULL;
}

static void
s_accept (self_t *self, gpb_call_t *call, const gpb_constraints_t *constraints, uint64_t devices)
{
    gpb_error_t error;
    uint32_t retry_after_ms;
    const gpb_tenant_t *tenant = gpb_book_tenant (call->connection);
    gpb_waiting_t *key = gpb_principal_waiting (call->connection->account);
    gpb_arrival_t arrival = { .client = tenant ? &tenant->waiting : NULL,
                              .key = key,
                              .devices = devices,
                              .size = zmq_msg_size (&call->message->header)
                                      + gpb_message_payload_size (call->message) };
    gpb_status_t status = gpb_placement_admit (self->placement, &arrival, &retry_after_ms, &error);
    gpb_entry_t *entry = gpb_broker_enter (self, call, status, retry_after_ms, &error);
    if (!entry)
        return;
    entry->tenant->key = key;
    entry->devices = devices;
    entry->is_bound = constraints->is_bound;
    entry->memory = constraints->takes;
    if (gpb_placement_queue (self->placement, entry, call->received_ns, &error) != GPB_OK) {
        gpb_service_refuse (self->service, entry->connection, &entry->message, entry->key.id,
                            &error);
        gpb_book_close (self->book, entry);
        return;
    }
    s_dispatch (self);
}

//  Execute and rent go where they fit, what names a handle goes to its device.
static void
s_handle_work (void *actor, gpb_call_t *call)
{
    self_t *self = actor;
    gpb_error_t error;
    gpb_constraints_t constraints;
    uint64_t devices;
    if (gpb_broker_allows (self, call, &error) != GPB_OK
        || s_place (self, call, &constraints, &devices, &error) != GPB_OK)
        gpb_call_refuse (self->service, call, &error);
    else if (constraints.is_hosted)
        gpb_broker_host_accept (self, call, &constraints, devices);
    else
        s_accept (self, call, &constraints, devices);
}

static void
s_handle_cancel (void *actor, gpb_call_t *call)
{
    self_t *self = actor;
    uint64_t id = call->request->cancel->id;
    gpb_error_t error;
    gpb_entry_t *entry = gpb_book_find (self->book, call->connection->number, id);
    if (!entry) {
        gpb_error_set (&error, GPB_NOT_FOUND,
                       "request %" PRIu64 " of this connection is not in flight", id);
        gpb_call_refuse (self->service, call, &error);
        return;
    }
    //  Its executor drops it unless it has begun, and answers it either way, so that its credit
    //  comes back.
    if (entry->sent_ns && !entry->registration)
        gpb_executors_cancel (&self->executors, s_executor (entry), entry->key.client, id);
    self->counts.cancelled++;
    gpb_error_set (&error, GPB_CANCELLED, "the client took the request back");
    s_answer_early (self, entry, &error);
    gpb_call_done (self->service, call);
}

static void
s_handle_goodbye (void *actor, gpb_call_t *call)
{
    self_t *self = actor;
    gpb_connection_t *connection = call->connection;
    gpb_call_done (self->service, call);
    gpb_router_end (self->router, connection);
}

//  ---------------------------------------------------------------------------------------------------------
//  What the node is and has

//  What the reports are made of.
static gpb_report_t
s_report (self_t *self)
{
    return (gpb_report_t){ .node = self->node,
                           .placement = self->placement,
                           .router = gpb_router_figures (self->router),
                           .gate = gpb_gate_figures (gpb_router_gate (self->router)),
                           .told = self->told,
                           .residencies = &self->residencies,
                           .counts = self->counts,
                           .notices = self->notices,
                           .notices_count = self->notices_count,
                           .started_ns = self->started_ns };
}

static void
s_handle_devices (void *actor, gpb_call_t *call)
{
    self_t *self = actor;
    gpb_report_t report = s_report (self);
    gpb_report_devices (&report, self->service, call);
}

static void
s_handle_stats (void *actor, gpb_call_t *call)
{
    self_t *self = actor;
    gpb_report_t report = s_report (self);
    gpb_report_stats (&report, self->service, call);
}

static void
s_handle_health (void *actor, gpb_call_t *call)
{
    self_t *self = actor;
    gpb_report_t report = s_report (self);
    gpb_report_health (&report, self->service, call);
}

static void
s_handle_hello (void *actor, gpb_call_t *call)
{
    self_t *self = actor;
    gpb_answer_hello (&self->hello, self->service, call, self->node, self->config);
}

static void
s_handle_kernels (void *actor, gpb_call_t *call)
{
    self_t *self = actor;
    gpb_answer_kernels_resident (self->service, call, self->kernels, &self->residencies);
}

static const gpb_handler_t s_handlers [] = {
    { GPB__V1__REQUEST__BODY_EXECUTE, s_handle_work },
    { GPB__V1__REQUEST__BODY_RENT, s_handle_work },
    { GPB__V1__REQUEST__BODY_RELEASE, s_handle_work },
    { GPB__V1__REQUEST__BODY_READ, s_handle_work },
    { GPB__V1__REQUEST__BODY_WRITE, s_handle_work },
    { GPB__V1__REQUEST__BODY_COPY, s_handle_work },
    { GPB__V1__REQUEST__BODY_MAP, s_handle_work },
    { GPB__V1__REQUEST__BODY_UNMAP, s_handle_work },
    { GPB__V1__REQUEST__BODY_RESERVE, s_handle_work },
    { GPB__V1__REQUEST__BODY_RENEW, s_handle_work },
    { GPB__V1__REQUEST__BODY_UNRESERVE, s_handle_work },
    { GPB__V1__REQUEST__BODY_CANCEL, s_handle_cancel },
    { GPB__V1__REQUEST__BODY_GOODBYE, s_handle_goodbye },
    { GPB__V1__REQUEST__BODY_HELLO, s_handle_hello },
    { GPB__V1__REQUEST__BODY_HEALTH, s_handle_health },
    { GPB__V1__REQUEST__BODY_DEVICES, s_handle_devices },
    { GPB__V1__REQUEST__BODY_KERNELS, s_handle_kernels },
    { GPB__V1__REQUEST__BODY_STATS, s_handle_stats },
    { GPB__V1__REQUEST__BODY_REGISTER_KERNEL, gpb_broker_handle_register },
};

//  ---------------------------------------------------------------------------------------------------------
//  The life of the actor

static void
s_copy_args (self_t *self, const gpb_broker_args_t *args)
{
    self->config = gpb_config_dup (args->config);
    size_t count = 0;
    while (args->notices && args->notices [count])
        count++;
    self->notices = gpb_alloc (count + 1, sizeof *self->notices);
    for (size_t index = 0; self->notices && index < count; index++) {
        char *notice = gpb_strdup (args->notices [index]);
        if (notice)
            self->notices [self->notices_count++] = notice;
    }
    if (!self->config)
        return;
    const gpb_config_t *config = self->config;
    gpb_placement_options_t options = {
        .node = { gpb_config_number (config, "max_queued_requests"),
                  gpb_config_number (config, "max_queued_size") },
        .device = { gpb_config_number (config, "max_device_queued_requests"),
                    gpb_config_number (config, "max_device_queued_size") },
        .client = { gpb_config_number (config, "max_client_queued_requests"),
                    gpb_config_number (config, "max_client_queued_size") },
        .aging_ns = gpb_config_number (config, "aging_ms") * GPB_NS_PER_MS,
    };
    self->placement = gpb_placement_new (args->devices, &options, &self->failure);
}

static void
s_start (self_t *self)
{
    gpb_error_t *error = &self->failure;
    gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a broker");
    if (!self->config || !self->placement)
        return;
    self->node = gpb_node_name (self->config);
    self->started_ns = gpb_clock_ns ();
    const char *path = gpb_config_string (self->config, "kernel_path");
    char *default_path = path [0] ? NULL : gpb_kernels_default_path ();
    if (path [0] || default_path)
        self->kernels = gpb_kernels_new (default_path ? default_path : path, error);
    gpb_free (default_path);
    const char *notice;
    for (size_t index = 0; self->kernels && (notice = gpb_kernels_notice (self->kernels, index));
         index++)
        gpb_log (self->config, GPB_LOG_WARNING, "%s", notice);
    if (self->kernels
        && gpb_persistent_configure_all (self->kernels, self->config, error) == GPB_OK)
        self->book = gpb_book_new (error);
    if (self->book)
        self->codec = gpb_codec_new (error);
    if (self->codec)
        self->principals = gpb_principals_new (gpb_config_string (self->config, "limits"), error);
    if (self->principals && self->node)
        self->service =
            gpb_service_new_public (self->config, s_handlers,
                                    sizeof s_handlers / sizeof s_handlers [0], self, error);
    if (!self->service)
        return;
    self->router = gpb_service_router (self->service);
    gpb_gate_t *gate = gpb_router_gate (self->router);
    gpb_poller_add_socket (&self->poller, zsock_resolve (self->pipe));
    gpb_poller_add_socket (&self->poller, gpb_router_socket (self->router));
    gpb_poller_add_socket (&self->poller, gpb_router_remote (self->router));
    gpb_poller_add_socket (&self->poller, gpb_router_monitor (self->router));
    gpb_poller_add_socket (&self->poller, gpb_gate_socket (gate));
    gpb_broker_watch_gate (self);
}

void
gpb_broker_ask_soon (self_t *self)
{
    uint64_t soon_ns = gpb_clock_ns () + FIGURES_SOON_NS;
    if (self->next_figures_ns > soon_ns)
        self->next_figures_ns = soon_ns;
}

//  What a client that has left waited for is dropped, and its devices give back what it rented.
static void
s_drop_ended (self_t *self)
{
    gpb_connection_t *ended;
    while ((ended = gpb_router_ended (self->router))) {
        gpb_log (self->config, GPB_LOG_DEBUG, "connection %" PRIu64 " has ended", ended->number);
        gpb_entry_t *entry;
        while ((entry = gpb_book_of_client (ended))) {
            if (entry->sent_ns) {
                gpb_book_orphan (entry);
                gpb_book_answered (self->book, entry);
            }
            else {
                gpb_placement_unqueue (self->placement, entry);
                gpb_book_close (self->book, entry);
            }
        }
        for (unsigned executor = 0; executor < GPB_EXECUTORS_MAX; executor++)
            if (gpb_executors_has (&self->executors, executor))
                gpb_executors_goodbye (&self->executors, executor, ended->number);
        gpb_book_end (self->book, ended);
        if (ended->account)
            gpb_principal_forget (ended->account, ended->number);
        gpb_broker_ask_soon (self);
    }
}

//  Answers what is out of time.
static void
s_expire (self_t *self, uint64_t now_ns)
{
    gpb_entry_t *entry;
    while ((entry = gpb_book_earliest (self->book)) && entry->deadline.key <= now_ns) {
        gpb_error_t error;
        gpb_error_set (&error, GPB_DEADLINE_EXCEEDED, "the request's time was up %s",
                       entry->is_hosted ? "while a kernel host had it"
                       : entry->sent_ns ? "while a device worked on it"
                                        : "while it waited for a device");
        self->counts.expired++;
        s_answer_early (self, entry, &error);
    }
}

//  Answers what is out of time, asks devices for their figures when that is due, and gives the time
//  in ms until either is due again.
static int
s_check_time (self_t *self)
{
    uint64_t now_ns = gpb_clock_ns ();
    s_expire (self, now_ns);
    if (now_ns >= self->next_aging_ns) {
        const gpb_placement_options_t *options = gpb_placement_options (self->placement);
        gpb_placement_age (self->placement, now_ns);
        self->next_aging_ns = now_ns + options->aging_ns / AGING_LOOKS;
    }
    if (now_ns >= self->next_figures_ns) {
        for (unsigned executor = 0; executor < GPB_EXECUTORS_MAX; executor++)
            if (gpb_executors_has (&self->executors, executor))
                gpb_executors_ask_figures (&self->executors, executor);
        self->next_figures_ns = now_ns + FIGURES_NS;
        gpb_broker_watch_gate (self);
    }
    uint64_t next_ns = self->next_figures_ns;
    const gpb_entry_t *entry = gpb_book_earliest (self->book);
    if (entry && entry->deadline.key < next_ns)
        next_ns = entry->deadline.key;
    return (int) ((next_ns - now_ns) / GPB_NS_PER_MS) + 1;
}

//  Waits for something to do. What was sent on has to be read again before its descriptor tells
//  anything.
static void
s_wait (self_t *self)
{
    if (gpb_router_is_touched (self->router)) {
        gpb_poller_touch (&self->poller, ROUTER_ITEM);
        gpb_poller_touch (&self->poller, REMOTE_ITEM);
    }
    for (unsigned at = 0; at < self->executors.count; at++) {
        const unsigned executor = self->executors.numbers [at];
        if (self->executors.touched [executor])
            gpb_poller_touch (&self->poller, self->items [executor]);
    }
    int timeout_ms = s_check_time (self), lease_ms = gpb_router_next_timeout (self->router);
    gpb_poller_wait (&self->poller, lease_ms >= 0 && lease_ms < timeout_ms ? lease_ms : timeout_ms);
}

//  Requests, with looks at the devices in between: an answer does not wait for whoever floods the
//  node, and the credit that it brings goes to the next request.
static void
s_recv_requests (self_t *self)
{
    size_t handled = 0;
    while (handled < BATCH && gpb_service_receive (self->service, SLICE) == SLICE) {
        handled += SLICE;
        for (unsigned at = 0; at < self->executors.count; at++) {
            const unsigned executor = self->executors.numbers [at];
            const gpb_placed_device_t *device =
                gpb_placement_device (self->placement, gpb_executors_device (executor));
            if (device->in_flight + device->hosted > 0)
                gpb_broker_recv (self, executor);
        }
        s_dispatch (self);
    }
}

//  One round: waits for something to do, and does it. False: $TERM.
static bool
s_round (self_t *self, bool reads_pipe)
{
    s_wait (self);
    bool go_on = true;
    if (reads_pipe && gpb_poller_take (&self->poller, PIPE_ITEM)
        && zsock_events (self->pipe) & ZMQ_POLLIN)
    {
        go_on = gpb_service_command (self->service, self->pipe, gpb_broker_command);
        gpb_poller_touch (&self->poller, PIPE_ITEM);
        gpb_broker_watch_gate (self);
    }
    s_recv_answers (self);
    s_dispatch (self);
    if (gpb_poller_take (&self->poller, GATE_ITEM))
        gpb_gate_serve (gpb_router_gate (self->router));
    bool is_local = go_on && gpb_poller_take (&self->poller, ROUTER_ITEM);
    bool is_remote = go_on && gpb_poller_take (&self->poller, REMOTE_ITEM);
    if (is_local || is_remote)
        s_recv_requests (self);
    if (gpb_poller_take (&self->poller, MONITOR_ITEM)
        || gpb_router_next_timeout (self->router) == 0)
        s_drop_ended (self);
    return go_on;
}

//  Nothing new is taken; what is accepted is finished, within the time that the configuration
//  gives, or else answered.
static void
s_drain (self_t *self)
{
    gpb_service_refuse_all (self->service, GPB_UNAVAILABLE, "the node is stopping");
    uint64_t end_ns =
        gpb_clock_ns () + gpb_config_number (self->config, "drain_ms") * GPB_NS_PER_MS;
    while (gpb_book_unanswered (self->book) && gpb_clock_ns () < end_ns)
        s_round (self, false);
    gpb_entry_t *entry;
    gpb_error_t error;
    gpb_error_set (&error, GPB_UNAVAILABLE, "the node stopped before the request was done");
    while ((entry = gpb_book_earliest (self->book)))
        s_answer_early (self, entry, &error);
    //  What nobody has read yet is refused, but a client that never stops asking stops nobody.
    gpb_service_receive (self->service, gpb_placement_options (self->placement)->node.requests);
}

static void
s_stop (self_t *self)
{
    gpb_service_destroy (&self->service, STOP_LINGER_MS);
    gpb_book_destroy (&self->book);
    gpb_broker_registration_clear (self);
    gpb_principals_destroy (&self->principals);
    gpb_codec_destroy (&self->codec);
    gpb_kernels_destroy (&self->kernels);
    gpb_executors_clear (&self->executors);
    gpb_residencies_clear (&self->residencies);
    gpb_placement_destroy (&self->placement);
    for (size_t index = 0; index < self->notices_count; index++)
        gpb_free (self->notices [index]);
    gpb_free (self->notices);
    gpb_hello_clear (&self->hello);
    gpb_free (self->node);
    gpb_config_destroy (&self->config);
}

void
gpb_broker (zsock_t *pipe, void *args)
{
    //  Too large for a thread's stack of any size.
    self_t *self = gpb_alloc (1, sizeof *self);
    if (self) {
        self->pipe = pipe;
        s_copy_args (self, args);
    }
    zsock_signal (pipe, 0);
    gpb_error_t no_memory = { GPB_RESOURCE_EXHAUSTED, "no memory for a broker" };
    if (self)
        s_start (self);

    bool go_on = true;
    while (go_on && (!self || !self->service))
        go_on = gpb_pipe_refuse (pipe, self ? &self->failure : &no_memory);
    while (go_on)
        go_on = s_round (self, true);
    if (self && self->service)
        s_drain (self);
    if (self)
        s_stop (self);
    gpb_free (self);
}
