//  gpb_test_lanes - a stand-in for a node with one persistent kernel, to try the tools on
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_test_lanes.h"

#include "gpb_clock.h"

#include <stdlib.h>
#include <string.h>

#define PATIENCE_MS 20000
#define BATCH 5    //  messages that the actor answers together

void
gpb_test_lanes_open (gpb_test_lanes_t *self)
{
    gpb_test_router_open (&self->node);
    zmq_msg_init (&self->identity);
}

void
gpb_test_lanes_close (gpb_test_lanes_t *self)
{
    for (size_t index = 0; index < self->count; index++)
        free (self->messages [index].values);
    zmq_msg_close (&self->identity);
    gpb_test_router_close (&self->node);
}

//  ---------------------------------------------------------------------------------------------------------
//  Answers

static void
s_reply (gpb_test_lanes_t *self, Gpb__V1__Reply *reply)
{
    gpb_message_t *message = &self->node.message;
    gpb_message_clear (message);
    message->envelope_count = 1;
    zmq_msg_init (&message->envelope [0]);
    zmq_msg_copy (&message->envelope [0], &self->identity);
    gpb_test_router_reply (&self->node, reply);
}

static void
s_answer_kernels (gpb_test_lanes_t *self, uint64_t id)
{
    Gpb__V1__Parameter in = GPB__V1__PARAMETER__INIT, out = GPB__V1__PARAMETER__INIT;
    in.name = "in";
    in.direction = "in";
    out.name = "out";
    out.direction = "out";
    in.type = out.type = "f32";
    in.count = out.count = "count";
    Gpb__V1__Parameter *parameters [] = { &in, &out };
    Gpb__V1__Lane lanes [2] = { GPB__V1__LANE__INIT, GPB__V1__LANE__INIT };
    lanes [0].state = GPB__V1__RESIDENCY_STATE__RESIDENT;
    lanes [0].answered = 70;
    lanes [0].waiting = 3;
    lanes [1].state = GPB__V1__RESIDENCY_STATE__QUARANTINED;
    lanes [1].answered = 7;
    Gpb__V1__Lane *list [] = { &lanes [0], &lanes [1] };
    Gpb__V1__Latency latency = GPB__V1__LATENCY__INIT;
    latency.count = 77;
    latency.p50_ns = 254000;
    latency.max_ns = 7770000;
    Gpb__V1__Residency one = GPB__V1__RESIDENCY__INIT, other = GPB__V1__RESIDENCY__INIT;
    one.kernel = other.kernel = "double";
    one.state = GPB__V1__RESIDENCY_STATE__RESIDENT;
    one.n_lanes = 2;
    one.lanes = list;
    one.waiting = 11;
    one.answered = 77;
    one.latency = &latency;
    other.device = 1;
    other.state = GPB__V1__RESIDENCY_STATE__FAILED;
    other.reason = "it does not compile";
    Gpb__V1__Residency *residencies [] = { &one, &other };
    char *devices [] = { "all" };
    Gpb__V1__Persistent persistent = GPB__V1__PERSISTENT__INIT;
    persistent.lanes = 2;
    persistent.slots = 256;
    persistent.slot_size = 96;
    persistent.n_devices = 1;
    persistent.devices = devices;
    persistent.n_residencies = 2;
    persistent.residencies = residencies;
    Gpb__V1__Kernel kernel = GPB__V1__KERNEL__INIT;
    kernel.id = "double";
    kernel.description = "twice every value";
    kernel.n_parameters = 2;
    kernel.parameters = parameters;
    kernel.persistent = &persistent;
    Gpb__V1__Kernel *kernels [] = { &kernel };
    Gpb__V1__KernelList answer = GPB__V1__KERNEL_LIST__INIT;
    answer.n_kernels = 1;
    answer.kernels = kernels;
    Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
    reply.id = id;
    reply.body_case = GPB__V1__REPLY__BODY_KERNELS;
    reply.kernels = &answer;
    s_reply (self, &reply);
}

static void
s_answer_hello (gpb_test_lanes_t *self, uint64_t id)
{
    Gpb__V1__HelloReply hello = GPB__V1__HELLO_REPLY__INIT;
    Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
    reply.id = id;
    reply.body_case = GPB__V1__REPLY__BODY_HELLO;
    reply.hello = &hello;
    s_reply (self, &reply);
}

void
gpb_test_lanes_answer (gpb_test_lanes_t *self, size_t index)
{
    gpb_test_message_t *message = &self->messages [index];
    ck_assert_msg (message->values != NULL, "message %zu was answered before", index);
    for (size_t at = 0; at < message->size / sizeof (float); at++)
        message->values [at] *= 2;
    Gpb__V1__Result result = GPB__V1__RESULT__INIT;
    result.argument = 1;
    result.value_case = GPB__V1__RESULT__VALUE_INLINE;
    result.inline_.data = (uint8_t *) message->values;
    result.inline_.len = message->size;
    result.size = message->size;
    Gpb__V1__Result *results [] = { &result };
    Gpb__V1__MessageTiming timing = GPB__V1__MESSAGE_TIMING__INIT;
    timing.clock = self->has_clock ? "tsc" : "none";
    timing.measured = self->has_clock;
    timing.queued_ns = 1000;
    timing.taken_ns = 2000;
    timing.handler_ns = 3000;
    timing.back_ns = 4000;
    timing.ring_ns = 9000;
    timing.on_demand = message->is_on_demand;
    Gpb__V1__ExecuteReply execute = GPB__V1__EXECUTE_REPLY__INIT;
    execute.n_results = 1;
    execute.results = results;
    execute.node = "lanes";
    execute.message = &timing;
    Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
    reply.id = message->id;
    reply.body_case = GPB__V1__REPLY__BODY_EXECUTE;
    reply.execute = &execute;
    s_reply (self, &reply);
    free (message->values);
    message->values = NULL;
}

void
gpb_test_lanes_refuse (gpb_test_lanes_t *self, size_t index, gpb_status_t status,
                       uint32_t retry_after_ms)
{
    Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
    reply.id = self->messages [index].id;
    reply.status = (Gpb__V1__Status) status;
    reply.message = "refused by the test";
    reply.retry_after_ms = retry_after_ms;
    s_reply (self, &reply);
    free (self->messages [index].values);
    self->messages [index].values = NULL;
}

//  ---------------------------------------------------------------------------------------------------------
//  Requests

static void
s_keep (gpb_test_lanes_t *self)
{
    ck_assert_uint_lt (self->count, GPB_TEST_MESSAGES_MAX);
    const Gpb__V1__Execute *execute = self->node.request->execute;
    gpb_test_message_t *message = &self->messages [self->count++];
    ck_assert_str_eq (execute->kernel, "double");
    ck_assert_uint_eq (execute->n_arguments, 2);
    ck_assert_uint_eq (self->node.message.payloads_count, 1);
    message->id = self->node.request->id;
    message->size = zmq_msg_size (&self->node.message.payloads [0]);
    message->values = malloc (message->size ? message->size : 1);
    memcpy (message->values, zmq_msg_data (&self->node.message.payloads [0]), message->size);
    message->is_on_demand = execute->on_demand;
    message->has_lane = execute->lane_case == GPB__V1__EXECUTE__LANE_LANE_KEY;
    message->lane_key = execute->lane_key;
}

//  Takes one request, of whatever kind; false where there is none.
static bool
s_take (gpb_test_lanes_t *self)
{
    if (!gpb_test_router_recv (&self->node))
        return false;
    zmq_msg_copy (&self->identity, &self->node.message.envelope [0]);
    uint64_t id = self->node.request->id;
    switch (self->node.request->body_case) {
    case GPB__V1__REQUEST__BODY_EXECUTE: s_keep (self); break;
    case GPB__V1__REQUEST__BODY_KERNELS: s_answer_kernels (self, id); break;
    case GPB__V1__REQUEST__BODY_HELLO: s_answer_hello (self, id); break;
    default: break;    //  goodbye, cancel: nobody waits for an answer
    }
    return true;
}

size_t
gpb_test_lanes_taken (gpb_test_lanes_t *self)
{
    while (s_take (self))
        ;
    return self->count;
}

static void
s_wait (gpb_test_lanes_t *self, uint64_t end_ns)
{
    ck_assert_uint_lt (gpb_clock_ns (), end_ns);
    zmq_pollitem_t item = { self->node.router, 0, ZMQ_POLLIN, 0 };
    zmq_poll (&item, 1, 5);
}

void
gpb_test_lanes_take (gpb_test_lanes_t *self, size_t count)
{
    uint64_t end_ns = gpb_clock_ns () + PATIENCE_MS * GPB_NS_PER_MS;
    while (self->count < count)
        if (!s_take (self))
            s_wait (self, end_ns);
}

gpb_client_t *
gpb_test_lanes_client (gpb_test_lanes_t *self)
{
    gpb_client_t *client = gpb_test_router_client (self->node.endpoint);
    uint64_t id = gpb_test_send_request (client, gpb_request_hello ());
    uint64_t end_ns = gpb_clock_ns () + PATIENCE_MS * GPB_NS_PER_MS;
    gpb_reply_t *reply;
    while (!(reply = gpb_client_recv (client, 0)))
        if (!s_take (self))
            s_wait (self, end_ns);
    ck_assert_uint_eq (gpb_reply_id (reply), id);
    gpb_reply_destroy (&reply);
    return client;
}

void
gpb_test_lanes_serve (zsock_t *pipe, void *args)
{
    gpb_test_lanes_t *self = args;
    size_t answered = 0;
    zsock_signal (pipe, 0);
    for (;;) {
        //  No more for a moment: what there is will be all.
        zmq_pollitem_t items [] = { { zsock_resolve (pipe), 0, ZMQ_POLLIN, 0 },
                                    { self->node.router, 0, ZMQ_POLLIN, 0 } };
        int ready = zmq_poll (items, 2, 10);
        if (items [0].revents)
            return;
        gpb_test_lanes_taken (self);
        if (ready > 0 && self->count - answered < BATCH)
            continue;
        for (size_t index = self->count; index > answered; index--)
            if (index == self->fails_at)
                gpb_test_lanes_refuse (self, index - 1, GPB_DATA_LOSS, 0);
            else
                gpb_test_lanes_answer (self, index - 1);
        answered = self->count;
    }
}
