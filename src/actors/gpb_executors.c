//  gpb_executors - a broker's connections to its devices and their kernel hosts
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_executors.h"

#define NO_SLOT UINT32_MAX    //  in a hop: the broker's own request

//  Whether this is a host at its device's own endpoint.
static bool
s_is_shared (const gpb_executors_t *self, unsigned index, const char *endpoint)
{
    zsock_t *dealer = self->dealers [gpb_executors_device (index)];
    char *shared = dealer ? zsock_last_endpoint (dealer) : NULL;
    bool is_shared = shared && streq (shared, endpoint);
    zstr_free (&shared);
    return is_shared && index >= GPB_EXECUTORS_DEVICES_MAX;
}

gpb_status_t
gpb_executors_connect (gpb_executors_t *self, unsigned index, const char *endpoint,
                       gpb_error_t *error)
{
    if (s_is_shared (self, index, endpoint)) {
        self->dealers [index] = self->dealers [gpb_executors_device (index)];
        return GPB_OK;
    }
    zsock_t *dealer = zsock_new (ZMQ_DEALER);
    if (!dealer)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no socket for device %u: %s",
                              gpb_executors_device (index), zmq_strerror (zmq_errno ()));
    zsock_set_linger (dealer, 0);
    zsock_set_sndhwm (dealer, 0);
    zsock_set_rcvhwm (dealer, 0);
    if (zsock_connect (dealer, "%s", endpoint) != 0) {
        zsock_destroy (&dealer);
        return gpb_error_set (error, GPB_INVALID_ARGUMENT, "cannot connect to %s", endpoint);
    }
    self->dealers [index] = dealer;
    self->numbers [self->count++] = index;
    return GPB_OK;
}

void
gpb_executors_disconnect (gpb_executors_t *self, unsigned index)
{
    unsigned at = 0, host = gpb_executors_host (gpb_executors_device (index));
    while (at < self->count && self->numbers [at] != index)
        at++;
    if (at == self->count) {    //  none, or one that shares its device's
        self->dealers [index] = NULL;
        return;
    }
    self->count--;
    for (; at < self->count; at++)
        self->numbers [at] = self->numbers [at + 1];
    if (index != host && self->dealers [host] == self->dealers [index])
        self->dealers [host] = NULL;
    zsock_destroy (&self->dealers [index]);
    self->touched [index] = false;
}

void
gpb_executors_clear (gpb_executors_t *self)
{
    while (self->count)
        gpb_executors_disconnect (self, self->numbers [self->count - 1]);
}

//  Sends and empties a message.
static void
s_send (gpb_executors_t *self, unsigned index, const gpb_hop_t *hop, zmq_msg_t *header,
        gpb_message_t *message)
{
    const unsigned device = gpb_executors_device (index);
    gpb_hop_t whose = *hop;
    whose.flags |= index != device ? GPB_HOP_HOST : 0;
    zmq_msg_init (&message->envelope [0]);
    gpb_hop_write (&message->envelope [0], &whose);
    message->envelope_count = 1;
    zmq_msg_move (&message->header, header);
    gpb_message_send (message, zsock_resolve (self->dealers [index]), NULL);
    self->touched [self->dealers [index] == self->dealers [device] ? device : index] = true;
    gpb_message_clear (message);
}

void
gpb_executors_forward (gpb_executors_t *self, unsigned index, gpb_entry_t *entry, zmq_msg_t *header,
                       bool keeps, uint64_t now_ns)
{
    uint64_t deadline_ns = entry->deadline.key;
    gpb_hop_t hop = { .magic = GPB_HOP_MAGIC,
                      .attempt = (uint16_t) entry->attempts,
                      .slot = entry->slot,
                      .generation = entry->generation,
                      .owner = entry->key.client,
                      .flags =
                          entry->connection && entry->connection->is_inproc ? GPB_HOP_INPROC : 0,
                      .remaining_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0 };
    gpb_message_t message;
    gpb_message_init (&message);
    gpb_message_t *source = &entry->message;
    for (size_t payload = 0; payload < source->payloads_count; payload++) {
        zmq_msg_init (&message.payloads [payload]);
        if (keeps)
            zmq_msg_copy (&message.payloads [payload], &source->payloads [payload]);
        else {
            zmq_msg_move (&message.payloads [payload], &source->payloads [payload]);
            zmq_msg_close (&source->payloads [payload]);
        }
    }
    message.payloads_count = source->payloads_count;
    if (!keeps)
        source->payloads_count = 0;
    s_send (self, index, &hop, header, &message);
}

static void
s_send_own (gpb_executors_t *self, unsigned index, uint64_t client, Gpb__V1__Request *request)
{
    const gpb_hop_t hop = gpb_executors_own_hop (client);
    zmq_msg_t header;
    zmq_msg_init (&header);
    request->version = GPB_PROTOCOL_VERSION;
    gpb_message_t message;
    gpb_message_init (&message);
    if (gpb_codec_pack (&request->base, &header, NULL) == GPB_OK)
        s_send (self, index, &hop, &header, &message);
    zmq_msg_close (&header);
}

void
gpb_executors_ask_figures (gpb_executors_t *self, unsigned index)
{
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Stats stats = GPB__V1__STATS__INIT;
    request.body_case = GPB__V1__REQUEST__BODY_STATS;
    request.stats = &stats;
    s_send_own (self, index, 0, &request);
}

void
gpb_executors_cancel (gpb_executors_t *self, unsigned index, uint64_t client, uint64_t id)
{
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Cancel cancel = GPB__V1__CANCEL__INIT;
    cancel.id = id;
    request.body_case = GPB__V1__REQUEST__BODY_CANCEL;
    request.cancel = &cancel;
    s_send_own (self, index, client, &request);
}

void
gpb_executors_goodbye (gpb_executors_t *self, unsigned index, uint64_t client)
{
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Goodbye goodbye = GPB__V1__GOODBYE__INIT;
    request.body_case = GPB__V1__REQUEST__BODY_GOODBYE;
    request.goodbye = &goodbye;
    s_send_own (self, index, client, &request);
}

bool
gpb_executors_recv (gpb_executors_t *self, unsigned index, gpb_hop_t *hop, gpb_message_t *message)
{
    void *socket = zsock_resolve (self->dealers [index]);
    self->touched [index] = true;
    while (gpb_message_recv (message, socket, NULL) == GPB_OK)
        if (message->envelope_count == 1 && gpb_hop_read (&message->envelope [0], hop))
            return true;
    self->touched [index] = false;
    return false;
}

gpb_hop_t
gpb_executors_own_hop (uint64_t client)
{
    return (gpb_hop_t){
        .magic = GPB_HOP_MAGIC, .slot = NO_SLOT, .owner = client, .remaining_ns = UINT64_MAX
    };
}

void
gpb_executors_tell (gpb_executors_t *self, unsigned index, const zmq_msg_t *header)
{
    const gpb_hop_t hop = gpb_executors_own_hop (0);
    gpb_message_t message;
    gpb_message_init (&message);
    zmq_msg_t copy;
    zmq_msg_init (&copy);
    zmq_msg_copy (&copy, (zmq_msg_t *) header);
    s_send (self, index, &hop, &copy, &message);
    zmq_msg_close (&copy);
}

bool
gpb_executors_is_own (const gpb_hop_t *hop)
{
    return hop->slot == NO_SLOT;
}

void *
gpb_executors_socket (const gpb_executors_t *self, unsigned index)
{
    return gpb_executors_has (self, index) ? zsock_resolve (self->dealers [index]) : NULL;
}
