//  gpb_service - what every actor that speaks the public protocol does alike
//
//  A request's way through it: frames within bounds (gpb_router), header unpacked and checked
//  (gpb_codec), time-out turned into a deadline, handler. Whatever stops it on that way is answered
//  with a status and a sentence, to the envelope that it came with; only a message without any
//  envelope to answer to is dropped, and counted by the router.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_service.h"

#include "gpb_alloc.h"
#include "gpb_clock.h"

#include <unistd.h>

#define HANDLERS_MAX 64    //  above the largest number of a request's body

struct _gpb_service_t {
    gpb_router_t *router;
    gpb_codec_t *codec;
    gpb_handler_fn *handlers [HANDLERS_MAX];    //  by kind
    void *actor;
    gpb_command_fn *command;    //  of the actor, beside BIND and $TERM
    uint64_t default_timeout_ns, max_timeout_ns;
    gpb_error_t refusal;    //  GPB_OK: requests are served
};

static gpb_service_t *
s_new (const gpb_config_t *config, bool is_public, const gpb_handler_t *handlers,
       size_t handlers_count, void *actor, gpb_error_t *error)
{
    gpb_service_t *self = gpb_alloc (1, sizeof *self);
    if (!self) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a service");
        return NULL;
    }
    gpb_router_options_t options = {
        .max_frame_size = gpb_config_number (config, "max_frame_size"),
        .reply_high_water = (uint32_t) gpb_config_number (config, "reply_high_water"),
        .reply_max_size = gpb_config_number (config, "reply_max_size"),
        .heartbeat_ms = (uint32_t) gpb_config_number (config, "heartbeat_ms"),
        .lease_ms = (uint32_t) gpb_config_number (config, "lease_ms"),
        .gate = { .is_public = is_public,
                  .insecure = gpb_config_bool (config, "insecure"),
                  .curve = gpb_config_string (config, "curve"),
                  .allowed_keys = gpb_config_string (config, "allowed_keys"),
                  .handshake_ms = (uint32_t) gpb_config_number (config, "handshake_ms"),
                  .max_connections =
                      is_public ? (uint32_t) gpb_config_number (config, "max_connections") : 0 },
    };
    self->actor = actor;
    self->default_timeout_ns = gpb_config_number (config, "default_timeout_ms") * GPB_NS_PER_MS;
    self->max_timeout_ns = gpb_config_number (config, "max_timeout_ms") * GPB_NS_PER_MS;
    for (size_t index = 0; index < handlers_count; index++) {
        assert ((size_t) handlers [index].kind < HANDLERS_MAX);
        self->handlers [handlers [index].kind] = handlers [index].handler;
    }
    self->router = gpb_router_new (&options, error);
    self->codec = self->router ? gpb_codec_new (error) : NULL;
    if (!self->codec)
        gpb_service_destroy (&self, 0);
    return self;
}

gpb_service_t *
gpb_service_new (const gpb_config_t *config, const gpb_handler_t *handlers, size_t handlers_count,
                 void *actor, gpb_error_t *error)
{
    return s_new (config, false, handlers, handlers_count, actor, error);
}

gpb_service_t *
gpb_service_new_public (const gpb_config_t *config, const gpb_handler_t *handlers,
                        size_t handlers_count, void *actor, gpb_error_t *error)
{
    return s_new (config, true, handlers, handlers_count, actor, error);
}

void
gpb_service_destroy (gpb_service_t **self_p, int linger_ms)
{
    gpb_service_t *self = *self_p;
    if (!self)
        return;
    *self_p = NULL;
    gpb_router_destroy (&self->router, linger_ms);
    gpb_codec_destroy (&self->codec);
    gpb_free (self);
}

gpb_router_t *
gpb_service_router (gpb_service_t *self)
{
    return self->router;
}

void
gpb_service_refuse_all (gpb_service_t *self, gpb_status_t status, const char *text)
{
    gpb_error_set (&self->refusal, status, "%s", text);
}

//  ---------------------------------------------------------------------------------------------------------
//  Requests

static uint64_t
s_deadline (gpb_service_t *self, const Gpb__V1__Request *request, const gpb_hop_t *hop,
            uint64_t now_ns)
{
    uint64_t timeout_ns =
        request->timeout_ms ? request->timeout_ms * GPB_NS_PER_MS : self->default_timeout_ns;
    if (timeout_ns > self->max_timeout_ns)
        timeout_ns = self->max_timeout_ns;
    if (hop && hop->remaining_ns < timeout_ns)
        timeout_ns = hop->remaining_ns;
    return now_ns + timeout_ns;
}

static bool
s_is_served_always (Gpb__V1__Request__BodyCase kind)
{
    return kind == GPB__V1__REQUEST__BODY_GOODBYE || kind == GPB__V1__REQUEST__BODY_CANCEL;
}

static bool
s_takes_payloads (Gpb__V1__Request__BodyCase kind)
{
    return kind == GPB__V1__REQUEST__BODY_EXECUTE || kind == GPB__V1__REQUEST__BODY_WRITE;
}

static void
s_handle (gpb_service_t *self, gpb_message_t *message, gpb_connection_t *connection)
{
    gpb_error_t error;
    uint64_t id = 0;
    const Gpb__V1__Request *request =
        gpb_codec_request (self->codec, &message->header, &id, &error);
    if (!request) {
        gpb_service_refuse (self, connection, message, id, &error);
        return;
    }
    if (self->refusal.status != GPB_OK && !s_is_served_always (request->body_case)) {
        gpb_service_refuse (self, connection, message, id, &self->refusal);
        return;
    }
    gpb_handler_fn *handler =
        (size_t) request->body_case < HANDLERS_MAX ? self->handlers [request->body_case] : NULL;
    if (!handler) {
        gpb_error_set (&error, GPB_UNIMPLEMENTED,
                       "requests with body %d are not served at this endpoint",
                       (int) request->body_case);
        gpb_service_refuse (self, connection, message, id, &error);
        return;
    }
    if (message->payloads_count && !s_takes_payloads (request->body_case)) {
        gpb_error_set (&error, GPB_INVALID_ARGUMENT,
                       "%zu payload frames came with a request that takes none",
                       message->payloads_count);
        gpb_service_refuse (self, connection, message, id, &error);
        return;
    }
    gpb_hop_t hop;
    bool has_hop = message->envelope_count > 1
                   && gpb_hop_read (&message->envelope [message->envelope_count - 1], &hop);
    uint64_t now_ns = gpb_clock_ns ();
    gpb_call_t call = {
        .request = request,
        .message = message,
        .connection = connection,
        .owner = { .connection = connection->number, .behind = has_hop ? hop.owner : 0 },
        .is_inproc = connection->is_inproc && (!has_hop || (hop.flags & GPB_HOP_INPROC)),
        .received_ns = now_ns,
        .deadline_ns = s_deadline (self, request, has_hop ? &hop : NULL, now_ns),
    };
    handler (self->actor, &call);
}

size_t
gpb_service_receive (gpb_service_t *self, size_t most)
{
    gpb_message_t message;
    gpb_message_init (&message);
    size_t handled = 0;
    while (handled < most) {
        gpb_connection_t *connection;
        gpb_error_t error;
        gpb_status_t status = gpb_router_recv (self->router, &message, &connection, &error);
        if (status == GPB_UNAVAILABLE)
            break;
        handled++;
        if (status == GPB_OK) {
            s_handle (self, &message, connection);
            continue;
        }
        uint64_t id = 0;
        if (status == GPB_RESOURCE_EXHAUSTED)
            gpb_codec_request (self->codec, &message.header, &id, NULL);
        gpb_service_refuse (self, connection, &message, id, &error);
    }
    gpb_message_clear (&message);
    return handled;
}

//  ---------------------------------------------------------------------------------------------------------
//  Replies

void
gpb_service_reply (gpb_service_t *self, gpb_connection_t *connection, gpb_message_t *message,
                   Gpb__V1__Reply *reply)
{
    gpb_error_t error;
    reply->version = GPB_PROTOCOL_VERSION;
    gpb_status_t status = gpb_codec_pack (&reply->base, &message->header, &error);
    if (status != GPB_OK && reply->status == GPB__V1__STATUS__OK) {
        //  Too large for a header (a list of very many kernels): what was asked cannot be said, but
        //  that can.
        gpb_service_refuse (self, connection, message, reply->id, &error);
        return;
    }
    if (status == GPB_OK)
        gpb_router_send (self->router, connection, message);
    gpb_message_clear (message);
}

static void
s_refuse (gpb_service_t *self, gpb_connection_t *connection, gpb_message_t *message, uint64_t id,
          uint32_t retry_after_ms, const gpb_error_t *error)
{
    for (size_t index = 0; index < message->payloads_count; index++)
        zmq_msg_close (&message->payloads [index]);
    message->payloads_count = 0;

    Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
    reply.id = id;
    reply.status = (Gpb__V1__Status) error->status;
    reply.message = (char *) error->text;    //  packing reads it, and mends what is no UTF-8
    reply.retry_after_ms = retry_after_ms;
    gpb_service_reply (self, connection, message, &reply);
}

void
gpb_service_refuse (gpb_service_t *self, gpb_connection_t *connection, gpb_message_t *message,
                    uint64_t id, const gpb_error_t *error)
{
    s_refuse (self, connection, message, id, 0, error);
}

void
gpb_call_refuse (gpb_service_t *self, gpb_call_t *call, const gpb_error_t *error)
{
    gpb_call_refuse_until (self, call, 0, error);
}

void
gpb_call_refuse_until (gpb_service_t *self, gpb_call_t *call, uint32_t retry_after_ms,
                       const gpb_error_t *error)
{
    s_refuse (self, call->connection, call->message, call->request->id, retry_after_ms, error);
}

void
gpb_call_reply (gpb_service_t *self, gpb_call_t *call, Gpb__V1__Reply *reply)
{
    for (size_t index = 0; index < call->message->payloads_count; index++)
        zmq_msg_close (&call->message->payloads [index]);
    call->message->payloads_count = 0;
    reply->id = call->request->id;
    gpb_service_reply (self, call->connection, call->message, reply);
}

void
gpb_call_reply_packed (gpb_service_t *self, gpb_call_t *call, const zmq_msg_t *header)
{
    zmq_msg_t *reply = &call->message->header;
    gpb_error_t error;
    zmq_msg_copy (reply, (zmq_msg_t *) header);
    if (gpb_codec_append (reply, GPB_REPLY_ID, call->request->id, &error) != GPB_OK)
        gpb_call_refuse (self, call, &error);
    else
        gpb_router_send (self->router, call->connection, call->message);
}

void
gpb_call_done (gpb_service_t *self, gpb_call_t *call)
{
    //  A reply's body has its request's number, and all bodies that say nothing are of one type.
    Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
    Gpb__V1__Done done = GPB__V1__DONE__INIT;
    reply.body_case = (Gpb__V1__Reply__BodyCase) call->request->body_case;
    reply.goodbye = &done;
    gpb_call_reply (self, call, &reply);
}

//  ---------------------------------------------------------------------------------------------------------
//  The pipe

#define WORDS_MAX 8

void
gpb_pipe_answer (zsock_t *pipe, gpb_status_t status, const char *text)
{
    zstr_sendx (pipe, gpb_status_name (status), text, NULL);
}

char *
gpb_node_name (const gpb_config_t *config)
{
    const char *name = gpb_config_string (config, "name");
    char host [256] = "";
    if (!name [0] && gethostname (host, sizeof host - 1) == 0
        && gpb_codec_text_ok (host, strlen (host)))
        name = host;
    return gpb_strdup (name);
}

gpb_status_t
gpb_pipe_ask (zactor_t *actor, const char *const *words, gpb_error_t *error)
{
    zmsg_t *command = zmsg_new ();
    for (; *words; words++)
        zmsg_addstr (command, *words);
    zmsg_send (&command, actor);

    char *status_name = NULL, *text = NULL;
    gpb_status_t status = GPB_INTERNAL;
    if (zstr_recvx (actor, &status_name, &text, NULL) == 2)
        for (int number = 0; number <= GPB_UNAUTHENTICATED; number++)
            if (streq (gpb_status_name ((gpb_status_t) number), status_name))
                status = (gpb_status_t) number;
    gpb_error_set (error, status, "%s", text ? text : "an actor did not answer");
    zstr_free (&status_name);
    zstr_free (&text);
    return status;
}

static gpb_status_t
s_bind (gpb_service_t *self, const char *endpoint, gpb_error_t *error)
{
    char bound [512];
    gpb_status_t status = gpb_router_bind (self->router, endpoint, bound, sizeof bound, error);
    return status == GPB_OK ? gpb_error_set (error, GPB_OK, "%s", bound) : status;
}

bool
gpb_pipe_serve (zsock_t *pipe, gpb_command_fn *command, void *self)
{
    char *words [WORDS_MAX + 1] = { NULL };
    size_t count = 0;
    zmsg_t *message = zmsg_recv (pipe);
    while (message && count < WORDS_MAX && zmsg_size (message) > 0)
        words [count++] = zmsg_popstr (message);
    zmsg_destroy (&message);

    bool go_on = count > 0 && !streq (words [0], "$TERM");
    if (go_on) {
        gpb_error_t error = { GPB_OK, "" };
        gpb_status_t status = command (self, words, count, &error);
        gpb_pipe_answer (pipe, status, error.text);
    }
    for (size_t index = 0; index < count; index++)
        zstr_free (&words [index]);
    return go_on;
}

static gpb_status_t
s_command_refuse (void *reason_p, char **words, size_t count, gpb_error_t *error)
{
    (void) words;
    (void) count;
    const gpb_error_t *reason = reason_p;
    return gpb_error_set (error, reason->status, "%s", reason->text);
}

bool
gpb_pipe_refuse (zsock_t *pipe, const gpb_error_t *reason)
{
    return gpb_pipe_serve (pipe, s_command_refuse, (void *) reason);
}

static gpb_status_t
s_command (void *service, char **words, size_t count, gpb_error_t *error)
{
    gpb_service_t *self = service;
    if (count == 2 && streq (words [0], "BIND"))
        return s_bind (self, words [1], error);
    if (self->command)
        return self->command (self->actor, words, count, error);
    return gpb_error_set (error, GPB_INVALID_ARGUMENT, "%s: expected BIND ENDPOINT or $TERM",
                          words [0]);
}

bool
gpb_service_command (gpb_service_t *self, zsock_t *pipe, gpb_command_fn *command)
{
    self->command = command;
    return gpb_pipe_serve (pipe, s_command, self);
}
