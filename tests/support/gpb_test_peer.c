//  gpb_test_peer - the two ends that a broker speaks with: a client, and an executor
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_test_peer.h"

#include "gpb_clock.h"
#include "gpb_executors.h"

#include <stdlib.h>
#include <string.h>

static gpb_error_t error;

//  ---------------------------------------------------------------------------------------------------------
//  The client

void
gpb_test_peer_open (gpb_test_peer_t *self, const char *endpoint)
{
    self->dealer = zsock_new (ZMQ_DEALER);
    zsock_set_linger (self->dealer, 0);
    zsock_set_sndhwm (self->dealer, 0);
    zsock_set_rcvhwm (self->dealer, 0);
    ck_assert_int_eq (zsock_connect (self->dealer, "%s", endpoint), 0);
    self->codec = gpb_codec_new (&error);
    ck_assert_ptr_nonnull (self->codec);
    gpb_message_init (&self->message);
    self->reply = NULL;
}

void
gpb_test_peer_close (gpb_test_peer_t *self)
{
    zsock_destroy (&self->dealer);
    gpb_codec_destroy (&self->codec);
    gpb_message_clear (&self->message);
}

void
gpb_test_peer_send (gpb_test_peer_t *self, Gpb__V1__Request *request, zmq_msg_t *payload)
{
    gpb_message_t message;
    gpb_message_init (&message);
    request->version = GPB_PROTOCOL_VERSION;
    ck_assert_ok (gpb_codec_pack (&request->base, &message.header, &error));
    if (payload)
        ck_assert_ok (gpb_message_add (&message, payload, &error));
    ck_assert_ok (gpb_message_send (&message, zsock_resolve (self->dealer), &error));
}

const Gpb__V1__Reply *
gpb_test_peer_recv (gpb_test_peer_t *self)
{
    zmq_pollitem_t item = { zsock_resolve (self->dealer), 0, ZMQ_POLLIN, 0 };
    ck_assert_msg (zmq_poll (&item, 1, GPB_TEST_PATIENCE_MS) == 1, "no reply came");
    ck_assert_ok (gpb_message_recv (&self->message, item.socket, &error));
    self->reply = gpb_codec_reply (self->codec, &self->message.header, &error);
    ck_assert_msg (self->reply != NULL, "%s", error.text);
    return self->reply;
}

const Gpb__V1__Reply *
gpb_test_peer_expect (gpb_test_peer_t *self, uint64_t id, gpb_status_t status)
{
    const Gpb__V1__Reply *reply = gpb_test_peer_recv (self);
    ck_assert_msg (reply->id == id && (gpb_status_t) reply->status == status,
                   "request %d is answered %s instead of request %d %s: %s", (int) reply->id,
                   gpb_status_name ((gpb_status_t) reply->status), (int) id,
                   gpb_status_name (status), reply->message);
    if (status != GPB_OK)
        ck_assert_uint_gt (strlen (reply->message), 0);
    return reply;
}

void
gpb_test_peer_settle (gpb_test_peer_t *self)
{
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Hello hello = GPB__V1__HELLO__INIT;
    request.id = UINT64_MAX;
    request.body_case = GPB__V1__REQUEST__BODY_HELLO;
    request.hello = &hello;
    gpb_test_peer_send (self, &request, NULL);
    gpb_test_peer_expect (self, UINT64_MAX, GPB_OK);
}

void
gpb_test_peer_message (gpb_test_peer_t *self, uint64_t id, const char *kernel,
                       const uint64_t *lane_key, int device, size_t size)
{
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Execute execute = GPB__V1__EXECUTE__INIT;
    Gpb__V1__Argument in = GPB__V1__ARGUMENT__INIT, out = GPB__V1__ARGUMENT__INIT;
    Gpb__V1__Output output = GPB__V1__OUTPUT__INIT;
    Gpb__V1__Argument *arguments [] = { &in, &out };
    request.id = id;
    request.body_case = GPB__V1__REQUEST__BODY_EXECUTE;
    request.execute = &execute;
    execute.kernel = (char *) kernel;
    execute.arguments = arguments;
    execute.n_arguments = 2;
    in.value_case = GPB__V1__ARGUMENT__VALUE_FRAME;
    out.value_case = GPB__V1__ARGUMENT__VALUE_OUTPUT;
    out.output = &output;
    if (lane_key) {
        execute.lane_case = GPB__V1__EXECUTE__LANE_LANE_KEY;
        execute.lane_key = *lane_key;
    }
    if (device >= 0) {
        execute.placement_case = GPB__V1__EXECUTE__PLACEMENT_DEVICE;
        execute.device = (uint32_t) device;
    }
    zmq_msg_t payload;
    const void *data = gpb_test_payload (&payload, size);
    ck_assert_ptr_nonnull (data);
    gpb_test_peer_send (self, &request, &payload);
}

void
gpb_test_peer_execute (gpb_test_peer_t *self, uint64_t id, const char *kernel, int device,
                       uint32_t timeout_ms)
{
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Execute execute = GPB__V1__EXECUTE__INIT;
    request.id = id;
    request.timeout_ms = timeout_ms;
    request.body_case = GPB__V1__REQUEST__BODY_EXECUTE;
    request.execute = &execute;
    execute.kernel = (char *) kernel;
    if (device >= 0) {
        execute.placement_case = GPB__V1__EXECUTE__PLACEMENT_DEVICE;
        execute.device = (uint32_t) device;
    }
    gpb_test_peer_send (self, &request, NULL);
}

void
gpb_test_peer_cancel (gpb_test_peer_t *self, uint64_t id, uint64_t cancelled_id)
{
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Cancel cancel = GPB__V1__CANCEL__INIT;
    request.id = id;
    request.body_case = GPB__V1__REQUEST__BODY_CANCEL;
    request.cancel = &cancel;
    cancel.id = cancelled_id;
    gpb_test_peer_send (self, &request, NULL);
}

static void
s_free (void *data, void *hint)
{
    (void) hint;
    free (data);
}

const void *
gpb_test_payload (zmq_msg_t *frame, size_t size)
{
    char *data = malloc (size);
    for (size_t index = 0; index < size; index++)
        data [index] = (char) (index * 7);
    ck_assert_int_eq (zmq_msg_init_data (frame, data, size, s_free, NULL), 0);
    return data;
}

//  ---------------------------------------------------------------------------------------------------------
//  The executor

void
gpb_test_executor_open (gpb_test_executor_t *self, const char *name)
{
    *self = (gpb_test_executor_t){ .available_memory = 1 << 30, .has_pool = true };
    snprintf (self->name, sizeof self->name, "%s", name);
    snprintf (self->endpoint, sizeof self->endpoint, "inproc://test-%s", name);
    self->router = zsock_new (ZMQ_ROUTER);
    zsock_set_linger (self->router, 0);
    zsock_set_sndhwm (self->router, 0);
    zsock_set_rcvhwm (self->router, 0);
    ck_assert_int_eq (zmq_bind (zsock_resolve (self->router), self->endpoint), 0);
    self->codec = gpb_codec_new (&error);
    gpb_message_init (&self->message);
    zmq_msg_init (&self->identity);
}

void
gpb_test_executor_open_host (gpb_test_executor_t *self, const char *name, const char *kernel)
{
    gpb_test_executor_open (self, name);
    self->resident = kernel;
}

void
gpb_test_executor_close (gpb_test_executor_t *self)
{
    zsock_destroy (&self->router);
    gpb_codec_destroy (&self->codec);
    gpb_message_clear (&self->message);
    zmq_msg_close (&self->identity);
}

static void
s_answer (gpb_test_executor_t *self, const gpb_hop_t *hop, gpb_message_t *message)
{
    message->envelope_count = 2;
    zmq_msg_init (&message->envelope [0]);
    zmq_msg_copy (&message->envelope [0], &self->identity);
    zmq_msg_init (&message->envelope [1]);
    gpb_hop_write (&message->envelope [1], hop);
    ck_assert_ok (gpb_message_send (message, zsock_resolve (self->router), &error));
}

static void
s_answer_reply (gpb_test_executor_t *self, const gpb_hop_t *hop, Gpb__V1__Reply *reply,
                zmq_msg_t *payload)
{
    gpb_message_t message;
    gpb_message_init (&message);
    reply->version = GPB_PROTOCOL_VERSION;
    ck_assert_ok (gpb_codec_pack (&reply->base, &message.header, &error));
    if (payload)
        ck_assert_ok (gpb_message_add (&message, payload, &error));
    s_answer (self, hop, &message);
}

static void
s_answer_stats (gpb_test_executor_t *self, const gpb_hop_t *hop)
{
    Gpb__V1__Device device = GPB__V1__DEVICE__INIT;
    char *capabilities [] = { (char *) "gpu", (char *) self->capability };
    device.name = self->name;
    device.type = (char *) "gpu";
    device.backend = (char *) "stand-in";
    device.available_memory = self->available_memory;
    device.total_memory = 1 << 30;
    device.state = GPB__V1__DEVICE_STATE__READY;
    device.n_capabilities = self->capability ? 2 : 1;
    device.capabilities = capabilities;
    Gpb__V1__Device *devices [] = { &device };
    Gpb__V1__PoolStats pool = GPB__V1__POOL_STATS__INIT;
    pool.rents = 3;
    Gpb__V1__PoolStats *pools [] = { &pool };
    Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
    Gpb__V1__StatsReply stats = GPB__V1__STATS_REPLY__INIT;
    stats.n_devices = 1;
    stats.devices = devices;
    stats.n_pools = self->has_pool;
    stats.pools = pools;
    reply.body_case = GPB__V1__REPLY__BODY_STATS;
    reply.stats = &stats;
    s_answer_reply (self, hop, &reply, NULL);
    self->stats_asked++;
}

static void
s_answer_residency (gpb_test_executor_t *self, const gpb_hop_t *hop)
{
    Gpb__V1__Residency residency = GPB__V1__RESIDENCY__INIT, *residencies [] = { &residency };
    residency.kernel = (char *) self->resident;
    residency.state = self->residency;
    Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
    Gpb__V1__StatsReply stats = GPB__V1__STATS_REPLY__INIT;
    stats.n_residencies = 1;
    stats.residencies = residencies;
    reply.body_case = GPB__V1__REPLY__BODY_STATS;
    reply.stats = &stats;
    s_answer_reply (self, hop, &reply, NULL);
    self->stats_asked++;
}

void
gpb_test_executor_lose (gpb_test_executor_t *self, bool is_lasting, const char *reason)
{
    Gpb__V1__Device device = GPB__V1__DEVICE__INIT;
    device.state = is_lasting ? GPB__V1__DEVICE_STATE__LOST : GPB__V1__DEVICE_STATE__RESTARTING;
    device.reason = (char *) reason;
    device.restarts = 3;
    Gpb__V1__Device *devices [] = { &device };
    Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
    Gpb__V1__StatsReply stats = GPB__V1__STATS_REPLY__INIT;
    stats.n_devices = 1;
    stats.devices = devices;
    reply.body_case = GPB__V1__REPLY__BODY_STATS;
    reply.stats = &stats;
    const gpb_hop_t hop = gpb_executors_own_hop (0);
    s_answer_reply (self, &hop, &reply, NULL);
}

void
gpb_test_executor_return (gpb_test_executor_t *self)
{
    const gpb_hop_t hop = gpb_executors_own_hop (0);
    s_answer_stats (self, &hop);
}

bool
gpb_test_executor_poll (gpb_test_executor_t *self, gpb_test_work_t *work)
{
    while (gpb_message_recv (&self->message, zsock_resolve (self->router), &error) == GPB_OK) {
        ck_assert_uint_eq (self->message.envelope_count, 2);
        zmq_msg_copy (&self->identity, &self->message.envelope [0]);
        *work = (gpb_test_work_t){ .payloads_count = self->message.payloads_count };
        ck_assert (gpb_hop_read (&self->message.envelope [1], &work->hop));
        const Gpb__V1__Request *request =
            gpb_codec_request (self->codec, &self->message.header, NULL, &error);
        ck_assert_msg (request != NULL, "%s", error.text);
        work->id = request->id;
        work->kind = request->body_case;
        if (self->message.payloads_count) {
            work->data = zmq_msg_data (&self->message.payloads [0]);
            work->size = zmq_msg_size (&self->message.payloads [0]);
        }
        switch (request->body_case) {
        case GPB__V1__REQUEST__BODY_STATS:
            if (work->hop.flags & GPB_HOP_HOST)
                s_answer_residency (self, &work->hop);
            else
                s_answer_stats (self, &work->hop);
            break;
        case GPB__V1__REQUEST__BODY_GOODBYE:
            self->goodbyes++;
            self->goodbye_owner = work->hop.owner;
            gpb_test_executor_answer (self, work, GPB_OK, "", NULL);
            break;
        case GPB__V1__REQUEST__BODY_CANCEL:
            self->cancels++;
            self->cancelled_owner = work->hop.owner;
            self->cancelled_id = request->cancel->id;
            gpb_test_executor_answer (self, work, GPB_OK, "", NULL);
            break;
        case GPB__V1__REQUEST__BODY_REGISTER_KERNEL:
            work->is_check = request->register_kernel->check;
            return true;
        case GPB__V1__REQUEST__BODY_RELEASE: work->handle = request->release->handle; return true;
        default: return true;
        }
    }
    return false;
}

void
gpb_test_executor_take (gpb_test_executor_t *self, gpb_test_work_t *work)
{
    uint64_t end_ns = gpb_clock_ns () + GPB_TEST_PATIENCE_MS * GPB_NS_PER_MS;
    while (!gpb_test_executor_poll (self, work)) {
        ck_assert_msg (gpb_clock_ns () < end_ns, "no work came to %s", self->name);
        zmq_pollitem_t item = { zsock_resolve (self->router), 0, ZMQ_POLLIN, 0 };
        zmq_poll (&item, 1, 100);
    }
}

void
gpb_test_executor_serve (gpb_test_executor_t *self, void *pipe)
{
    gpb_test_work_t work;
    zmq_pollitem_t items [] = { { zsock_resolve (pipe), 0, ZMQ_POLLIN, 0 },
                                { zsock_resolve (self->router), 0, ZMQ_POLLIN, 0 } };
    uint64_t end_ns = gpb_clock_ns () + GPB_TEST_PATIENCE_MS * GPB_NS_PER_MS;
    do {
        ck_assert_msg (gpb_clock_ns () < end_ns, "nothing came from the pipe");
        zmq_poll (items, 2, 100);
        ck_assert (!gpb_test_executor_poll (self, &work));
    } while (!(items [0].revents & ZMQ_POLLIN));
}

void
gpb_test_executor_answer (gpb_test_executor_t *self, const gpb_test_work_t *work,
                          gpb_status_t status, const char *text, zmq_msg_t *payload)
{
    Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
    reply.id = work->id;
    reply.status = (Gpb__V1__Status) status;
    reply.message = (char *) text;
    if (!(work->hop.flags & GPB_HOP_HOST)) {
        reply.memory_case = GPB__V1__REPLY__MEMORY_AVAILABLE_MEMORY;
        reply.available_memory = self->available_memory;
    }
    s_answer_reply (self, &work->hop, &reply, payload);
}

void
gpb_test_executor_finish (gpb_test_executor_t *self, const gpb_test_work_t *work)
{
    gpb_test_executor_answer (self, work, GPB_OK, "", NULL);
}

void
gpb_test_executor_answer_raw (gpb_test_executor_t *self, const gpb_hop_t *hop, const void *header,
                              size_t size)
{
    gpb_message_t message;
    gpb_message_init (&message);
    zmq_msg_close (&message.header);
    zmq_msg_init_size (&message.header, size);
    if (size)
        memcpy (zmq_msg_data (&message.header), header, size);
    s_answer (self, hop, &message);
}
