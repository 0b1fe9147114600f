//  gpb_report - what a node says of itself: devices, stats, health
//
//  Pure functions over the broker's figures: each builds one reply and sends it.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_report.h"

#include "gpb_alloc.h"
#include "gpb_clock.h"
#include "gpb_describe.h"

static Gpb__V1__DeviceState
s_wire_state (gpb_device_state_t state)
{
    static const Gpb__V1__DeviceState states [] = {
        [GPB_DEVICE_STARTING] = GPB__V1__DEVICE_STATE__STARTING,
        [GPB_DEVICE_READY] = GPB__V1__DEVICE_STATE__READY,
        [GPB_DEVICE_LOST] = GPB__V1__DEVICE_STATE__LOST,
        [GPB_DEVICE_STOPPING] = GPB__V1__DEVICE_STATE__STOPPING,
        [GPB_DEVICE_RESTARTING] = GPB__V1__DEVICE_STATE__RESTARTING,
    };
    return states [state];
}

//  Everything that is said of one device, in one place for the pointers of the message to point to.
typedef struct {
    gpb_described_device_t device;
    Gpb__V1__Load load;
    Gpb__V1__Latency latency, latency_minute, queued;
} s_description_t;

void
gpb_told_copy (gpb_told_t *self, const Gpb__V1__StatsReply *stats)
{
    self->has_pool = stats->n_pools == 1;
    self->has_compile = stats->n_compiles == 1;
    if (self->has_pool) {
        const Gpb__V1__PoolStats *pool = stats->pools [0];
        size_t most = sizeof self->kept_by_class / sizeof self->kept_by_class [0];
        self->pool = *pool;
        self->pool.base.n_unknown_fields = 0;
        self->pool.base.unknown_fields = NULL;
        self->pool.kept_by_class = self->kept_by_class;
        self->pool.n_kept_by_class = pool->n_kept_by_class < most ? pool->n_kept_by_class : most;
        if (self->pool.n_kept_by_class)
            memcpy (self->kept_by_class, pool->kept_by_class,
                    self->pool.n_kept_by_class * sizeof self->kept_by_class [0]);
    }
    if (self->has_compile) {
        self->compile = *stats->compiles [0];
        self->compile.base.n_unknown_fields = 0;
        self->compile.base.unknown_fields = NULL;
    }
}

static void
s_describe (const gpb_report_t *self, unsigned index, s_description_t *description)
{
    gpb_placed_device_t *device = gpb_placement_device (self->placement, index);
    Gpb__V1__Device *message = &description->device.message;
    gpb_describe_device (&description->device, &device->info, device->backend);
    message->index = index;
    message->available_memory = device->available_memory;
    message->state = s_wire_state (device->state);
    message->reason = device->reason;
    message->restarts = device->restarts;
    message->running_ns = device->running_ns;
    message->load = &description->load;
    Gpb__V1__Load *load = &description->load;
    gpb__v1__load__init (load);
    load->queue_depth = device->queue.requests;
    load->queue_size = device->queue.size;
    load->bound_depth = gpb_placement_waiting (self->placement)->alone [index].requests;
    load->in_flight = device->in_flight + device->hosted;
    load->processed = device->processed;
    load->failed = device->failed;
    load->latency = &description->latency;
    load->latency_minute = &description->latency_minute;
    load->queued = &description->queued;
    gpb_describe_latency (load->latency, &device->latency);
    gpb_describe_latency (load->queued, &device->queued);
    gpb_histogram_t minute;
    gpb_histogram_minute_sum (&device->latency_minute, &minute, gpb_clock_ns ());
    gpb_describe_latency (load->latency_minute, &minute);
}

//  Descriptions of all devices; *messages_p points to each. NULL when memory runs out.
static s_description_t *
s_describe_all (const gpb_report_t *self, Gpb__V1__Device ***messages_p)
{
    unsigned count = gpb_placement_devices (self->placement);
    s_description_t *descriptions = gpb_alloc (count, sizeof *descriptions);
    *messages_p = gpb_alloc (count, sizeof (Gpb__V1__Device *));
    if (!descriptions || !*messages_p) {
        gpb_free (descriptions);
        gpb_free (*messages_p);
        return NULL;
    }
    for (unsigned index = 0; index < count; index++) {
        s_describe (self, index, &descriptions [index]);
        (*messages_p) [index] = &descriptions [index].device.message;
    }
    return descriptions;
}

static void
s_refuse_memory (gpb_service_t *service, gpb_call_t *call)
{
    gpb_error_t error;
    gpb_error_set (&error, GPB_RESOURCE_EXHAUSTED, "no memory for this answer");
    gpb_call_refuse (service, call, &error);
}

void
gpb_report_devices (const gpb_report_t *self, gpb_service_t *service, gpb_call_t *call)
{
    Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
    Gpb__V1__DeviceList list = GPB__V1__DEVICE_LIST__INIT;
    s_description_t *descriptions = s_describe_all (self, &list.devices);
    if (!descriptions) {
        s_refuse_memory (service, call);
        return;
    }
    list.node = (char *) self->node;
    list.n_devices = gpb_placement_devices (self->placement);
    list.n_notices = self->notices_count;
    list.notices = self->notices;
    reply.body_case = GPB__V1__REPLY__BODY_DEVICES;
    reply.devices = &list;
    gpb_call_reply (service, call, &reply);
    gpb_free (list.devices);
    gpb_free (descriptions);
}

void
gpb_report_stats (const gpb_report_t *self, gpb_service_t *service, gpb_call_t *call)
{
    Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
    Gpb__V1__StatsReply stats = GPB__V1__STATS_REPLY__INIT;
    s_description_t *descriptions = s_describe_all (self, &stats.devices);
    stats.residencies =
        gpb_alloc (gpb_residencies_count (self->residencies), sizeof *stats.residencies);
    if (!descriptions || !stats.residencies) {
        s_refuse_memory (service, call);
        if (descriptions)
            gpb_free (stats.devices);
        gpb_free (descriptions);
        gpb_free (stats.residencies);
        return;
    }
    stats.n_residencies = gpb_residencies_list (self->residencies, NULL, stats.residencies);
    Gpb__V1__PoolStats *pools [GPB_PLACEMENT_DEVICES_MAX];
    Gpb__V1__CompileStats *compiles [GPB_PLACEMENT_DEVICES_MAX];
    uint64_t waiting [GPB_QUEUE_LEVELS];
    stats.n_devices = gpb_placement_devices (self->placement);
    for (unsigned index = 0; index < stats.n_devices; index++) {
        const gpb_placed_device_t *device = gpb_placement_device (self->placement, index);
        stats.in_flight += device->in_flight + device->hosted;
        if (device->state == GPB_DEVICE_READY && self->told [index].has_pool)
            pools [stats.n_pools++] = &self->told [index].pool;
        if (device->state == GPB_DEVICE_READY && self->told [index].has_compile)
            compiles [stats.n_compiles++] = &self->told [index].compile;
    }
    for (unsigned level = 0; level < GPB_QUEUE_LEVELS; level++)
        waiting [level] = gpb_placement_depth_at (self->placement, level);
    const gpb_placement_options_t *options = gpb_placement_options (self->placement);
    stats.node = (char *) self->node;
    stats.uptime_ns = gpb_clock_ns () - self->started_ns;
    stats.pools = pools;
    stats.compiles = compiles;
    stats.n_waiting = GPB_QUEUE_LEVELS;
    stats.waiting = waiting;
    stats.max_queue_depth = options->node.requests;
    stats.max_queue_size = options->node.size;
    stats.exhausted = self->counts.exhausted;
    stats.expired = self->counts.expired;
    stats.cancelled = self->counts.cancelled;
    stats.rerun = self->counts.rerun;
    stats.aged = gpb_placement_aged (self->placement);
    stats.connections = self->router->connections;
    stats.requests = self->router->received;
    stats.replies = self->router->sent;
    stats.refused = self->router->refused;
    stats.dropped_replies = self->router->dropped_replies;
    stats.dropped_clients = self->router->dropped_peers;
    stats.insecure = self->gate.is_insecure;
    stats.open_connections = self->gate.open;
    stats.max_connections = self->gate.max_connections;
    stats.refused_connections = self->gate.refused_connections;
    stats.refused_keys = self->gate.refused_keys;
    stats.queue_depth = gpb_placement_waiting (self->placement)->all.requests;
    stats.queue_size = gpb_placement_waiting (self->placement)->all.size;
    reply.body_case = GPB__V1__REPLY__BODY_STATS;
    reply.stats = &stats;
    //  What a header has no room for is left out; beside each residency stand its field and length.
    size_t size = gpb__v1__reply__get_packed_size (&reply);
    while (stats.n_residencies && size > GPB_DESCRIBED_MAX_SIZE)
        size -= 3 + gpb__v1__residency__get_packed_size (stats.residencies [--stats.n_residencies]);
    gpb_call_reply (service, call, &reply);
    gpb_free (stats.devices);
    gpb_free (stats.residencies);
    gpb_free (descriptions);
}

void
gpb_report_health (const gpb_report_t *self, gpb_service_t *service, gpb_call_t *call)
{
    Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
    Gpb__V1__HealthReply health = GPB__V1__HEALTH_REPLY__INIT;
    Gpb__V1__DeviceHealth devices [GPB_PLACEMENT_DEVICES_MAX];
    Gpb__V1__DeviceHealth *devices_p [GPB_PLACEMENT_DEVICES_MAX];
    health.live = true;
    health.node = (char *) self->node;
    health.n_devices = gpb_placement_devices (self->placement);
    health.devices = devices_p;
    for (unsigned index = 0; index < health.n_devices; index++) {
        gpb_placed_device_t *device = gpb_placement_device (self->placement, index);
        gpb__v1__device_health__init (&devices [index]);
        devices [index].index = index;
        devices [index].state = s_wire_state (device->state);
        devices [index].reason = device->reason;
        devices_p [index] = &devices [index];
        health.ready = health.ready || device->state == GPB_DEVICE_READY;
    }
    reply.body_case = GPB__V1__REPLY__BODY_HEALTH;
    reply.health = &health;
    gpb_call_reply (service, call, &reply);
}
