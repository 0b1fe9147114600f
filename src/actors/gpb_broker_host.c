//  gpb_broker_host - a broker's part in messages of persistent kernels
//
//  One that is accepted goes to a kernel host at once, which has the queue (gpb_hosting.h); the
//  book, the client's principal, its deadline and its cancelling know no difference from a request
//  that a device has. What a host says of its kernels is kept for those who ask. Runs on the
//  broker's thread.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_broker_private.h"

#include "gpb_hosting.h"

void
gpb_broker_host_send (self_t *self, gpb_entry_t *entry, uint64_t now_ns)
{
    const unsigned device = gpb_hosting_choose (self->placement, entry->devices, entry->lane);
    gpb_hosting_took (self->placement, entry, device, now_ns);
    gpb_broker_hand_over (self, entry, now_ns);
}

void
gpb_broker_host_accept (self_t *self, gpb_call_t *call, const gpb_constraints_t *constraints,
                        uint64_t devices)
{
    gpb_error_t error;
    uint32_t retry_after_ms;
    const uint64_t size =
        zmq_msg_size (&call->message->header) + gpb_message_payload_size (call->message);
    gpb_status_t status =
        gpb_hosting_admit (self->placement, gpb_book_tenant (call->connection),
                           gpb_hosting_choose (self->placement, devices, constraints->lane), size,
                           &retry_after_ms, &error);
    gpb_entry_t *entry = gpb_broker_enter (self, call, status, retry_after_ms, &error);
    if (!entry)
        return;
    entry->is_hosted = true;
    entry->devices = devices;
    entry->lane = constraints->lane;
    gpb_broker_host_send (self, entry, call->received_ns);
}

//  A kernel that is being started, or woken, is soon another one than its host has said.
void
gpb_broker_host_answered (self_t *self, const gpb_entry_t *entry, bool is_ok, uint64_t now_ns)
{
    gpb_hosting_answered (self->placement, entry, is_ok, now_ns);
    if (!gpb_residencies_is_awake (&self->residencies, entry->device))
        gpb_broker_ask_soon (self);
}

void
gpb_broker_host_figures (self_t *self, unsigned device, const zmq_msg_t *header)
{
    const Gpb__V1__Reply *reply = gpb_codec_reply (self->codec, header, NULL);
    if (reply && reply->body_case == GPB__V1__REPLY__BODY_STATS
        && gpb_residencies_copy (&self->residencies, device, reply->stats))
        gpb_broker_ask_soon (self);
}
