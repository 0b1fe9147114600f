//  gpb_host_report - what a kernel host says about itself
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_host_private.h"

#include "gpb_alloc.h"

//  One kernel's residency, and what it points to.
typedef struct {
    Gpb__V1__Residency message;
    Gpb__V1__Latency latency;
    Gpb__V1__Lane lanes [GPB_PERSISTENT_LANES_MAX];
    Gpb__V1__Lane *lanes_p [GPB_PERSISTENT_LANES_MAX];
} s_described_t;

static Gpb__V1__ResidencyState
s_lane_state (const gpb_lane_t *lane)
{
    switch (lane->state) {
    case GPB_LANE_RESIDENT:
    case GPB_LANE_PARKING: return GPB__V1__RESIDENCY_STATE__RESIDENT;
    case GPB_LANE_QUARANTINED: return GPB__V1__RESIDENCY_STATE__QUARANTINED;
    case GPB_LANE_FAILED: return GPB__V1__RESIDENCY_STATE__FAILED;
    case GPB_LANE_PARKED: break;
    }
    return GPB__V1__RESIDENCY_STATE__PARKED;
}

//  One lane on the device makes it resident; quarantined or failed it is where no lane is well.
static Gpb__V1__ResidencyState
s_state (const gpb_host_t *self, const gpb_hosted_t *hosted)
{
    if (hosted->is_replaced)
        return GPB__V1__RESIDENCY_STATE__STOPPED;
    const gpb_resident_t *resident = hosted->resident;
    if (!resident || hosted->failure.status != GPB_OK)
        return GPB__V1__RESIDENCY_STATE__FAILED;
    if (!gpb_resident_has_lanes (resident) || self->seats_count == 0)
        return GPB__V1__RESIDENCY_STATE__ON_DEMAND_ONLY;
    unsigned on_device = 0, stuck = 0;
    for (unsigned lane = 0; lane < resident->lanes_count; lane++) {
        Gpb__V1__ResidencyState state = s_lane_state (&resident->lanes [lane]);
        on_device += state == GPB__V1__RESIDENCY_STATE__RESIDENT;
        stuck += state == GPB__V1__RESIDENCY_STATE__QUARANTINED;
    }
    if (on_device > 0)
        return GPB__V1__RESIDENCY_STATE__RESIDENT;
    return stuck == resident->lanes_count ? GPB__V1__RESIDENCY_STATE__QUARANTINED
                                          : GPB__V1__RESIDENCY_STATE__PARKED;
}

static const char *
s_reason (const gpb_host_t *self, const gpb_hosted_t *hosted, Gpb__V1__ResidencyState state)
{
    switch (state) {
    case GPB__V1__RESIDENCY_STATE__FAILED: return hosted->failure.text;
    case GPB__V1__RESIDENCY_STATE__QUARANTINED:
        return "a handler on each of its lanes did not return in time";
    case GPB__V1__RESIDENCY_STATE__ON_DEMAND_ONLY:
        return self->shared->lanes > 0 || self->seats_count > 0
                   ? "the device has no compute unit to spare for what stays"
                   : "the device has no memory that host and kernels use at the same time, or no "
                     "compute unit to spare";
    case GPB__V1__RESIDENCY_STATE__STOPPED: return "it was replaced, and finishes what it had";
    default: return "";
    }
}

static void
s_describe (const gpb_host_t *self, const gpb_hosted_t *hosted, s_described_t *described)
{
    Gpb__V1__Residency *message = &described->message;
    gpb__v1__residency__init (message);
    message->device = self->shared->index;
    message->kernel = (char *) gpb_kernel_id (hosted->kernel);
    message->state = s_state (self, hosted);
    message->reason = (char *) s_reason (self, hosted, message->state);
    message->waiting = hosted->waiting_count;
    message->answered = hosted->answered;
    message->failed = hosted->failed;
    message->on_demand = hosted->on_demand;
    message->launches = hosted->launches;
    message->version = hosted->version;
    gpb__v1__latency__init (&described->latency);
    gpb_describe_latency (&described->latency, &hosted->latency);
    message->latency = &described->latency;
    const unsigned count = hosted->resident ? hosted->resident->lanes_count : 0;
    for (unsigned lane = 0; lane < count; lane++) {
        const gpb_lane_t *from = &hosted->resident->lanes [lane];
        Gpb__V1__Lane *to = &described->lanes [lane];
        gpb__v1__lane__init (to);
        to->state = s_lane_state (from);
        to->answered = hosted->lanes [lane].answered;
        to->waiting = gpb_ring_waiting (&from->ring);
        described->lanes_p [lane] = to;
    }
    message->n_lanes = count;
    message->lanes = described->lanes_p;
}

void
gpb_host_handle_stats (void *actor, gpb_call_t *call)
{
    gpb_host_t *self = actor;
    size_t count = 0;
    for (const gpb_hosted_t *hosted = self->hosted; hosted; hosted = hosted->next)
        count++;
    s_described_t *described = gpb_alloc (count + 1, sizeof *described);
    Gpb__V1__Residency **messages = gpb_alloc (count + 1, sizeof *messages);
    if (described && messages) {
        Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
        Gpb__V1__StatsReply stats = GPB__V1__STATS_REPLY__INIT;
        stats.node = self->node;
        for (const gpb_hosted_t *hosted = self->hosted; hosted; hosted = hosted->next) {
            s_describe (self, hosted, &described [stats.n_residencies]);
            messages [stats.n_residencies] = &described [stats.n_residencies].message;
            stats.n_residencies++;
            stats.queue_depth += hosted->waiting_count;
            stats.queue_size += hosted->waiting_size;
        }
        stats.residencies = messages;
        stats.in_flight = self->unanswered - stats.queue_depth;
        reply.body_case = GPB__V1__REPLY__BODY_STATS;
        reply.stats = &stats;
        gpb_call_reply (self->service, call, &reply);
    }
    else {
        gpb_error_t error;
        gpb_error_set (&error, GPB_RESOURCE_EXHAUSTED, "no memory for a kernel host's figures");
        gpb_call_refuse (self->service, call, &error);
    }
    gpb_free (described);
    gpb_free (messages);
}

void
gpb_host_handle_kernels (void *actor, gpb_call_t *call)
{
    gpb_host_t *self = actor;
    gpb_answer_kernels (self->service, call, self->kernels);
}

void
gpb_host_handle_hello (void *actor, gpb_call_t *call)
{
    gpb_host_t *self = actor;
    gpb_answer_hello (&self->hello, self->service, call, self->node, self->config);
}
