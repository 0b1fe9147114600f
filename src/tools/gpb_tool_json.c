//  gpb_tool_json - what --json prints
//
//  Each object's keys are a contract (gpb(1), "JSON"): a key may be added, none is renamed. jansson
//  builds and escapes; strings that came from a node are UTF-8, or the client would have refused
//  the reply; those of this machine (paths, compilers' words) go through gpb_json_text.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_tool.h"

#include "gpb_alloc.h"

#include <math.h>
#include <stdio.h>

//  json_int_t has 63 bits: a count above that is cut to its largest.
static json_t *
s_number (uint64_t number)
{
    return json_integer (number <= INT64_MAX ? (json_int_t) number : INT64_MAX);
}

//  Adds a member, whose value it takes; false where either could not be made. The chain of these in
//  one expression ends at the first failure.
static bool
s_put (json_t *object, const char *key, json_t *value)
{
    return json_object_set_new (object, key, value) == 0;
}

static bool
s_put_number (json_t *object, const char *key, uint64_t number)
{
    return s_put (object, key, s_number (number));
}

//  JSON has no NaN: what is none is 0.
static json_t *
s_share (double share)
{
    return json_real (isfinite (share) ? share : 0);
}

static bool
s_put_text (json_t *object, const char *key, const char *text)
{
    return s_put (object, key, json_string (text));
}

static bool
s_put_bool (json_t *object, const char *key, bool value)
{
    return s_put (object, key, json_boolean (value));
}

//  object where good, else NULL and it is freed.
static json_t *
s_if (json_t *object, bool good)
{
    if (object && good)
        return object;
    json_decref (object);
    return NULL;
}

json_t *
gpb_json_text (const char *text)
{
    json_t *value = json_string (text);
    char *plain = value ? NULL : gpb_strdup (text);
    for (char *at = plain; at && *at; at++)
        if ((unsigned char) *at >= 0x80)
            *at = '?';
    if (plain)
        value = json_string (plain);
    gpb_free (plain);
    return value;
}

static json_t *
s_texts (char **texts, size_t count)
{
    json_t *array = json_array ();
    bool good = true;
    for (size_t index = 0; index < count && good; index++)
        good = json_array_append_new (array, json_string (texts [index])) == 0;
    return s_if (array, good);
}

static json_t *
s_numbers (const uint64_t *numbers, size_t count)
{
    json_t *array = json_array ();
    bool good = true;
    for (size_t index = 0; index < count && good; index++)
        good = json_array_append_new (array, s_number (numbers [index])) == 0;
    return s_if (array, good);
}

json_t *
gpb_json_latency (const Gpb__V1__Latency *latency)
{
    static const Gpb__V1__Latency nothing = GPB__V1__LATENCY__INIT;
    const Gpb__V1__Latency *is = latency ? latency : &nothing;
    json_t *object = json_object ();
    return s_if (object, s_put_number (object, "count", is->count)
                             && s_put_number (object, "mean", is->mean_ns)
                             && s_put_number (object, "min", is->min_ns)
                             && s_put_number (object, "p50", is->p50_ns)
                             && s_put_number (object, "p95", is->p95_ns)
                             && s_put_number (object, "p99", is->p99_ns)
                             && s_put_number (object, "max", is->max_ns));
}

json_t *
gpb_json_histogram (const gpb_histogram_t *histogram)
{
    Gpb__V1__Latency latency = GPB__V1__LATENCY__INIT;
    latency.count = histogram->count;
    latency.mean_ns = gpb_histogram_mean (histogram);
    latency.min_ns = histogram->min_ns;
    latency.p50_ns = gpb_histogram_percentile (histogram, 50);
    latency.p95_ns = gpb_histogram_percentile (histogram, 95);
    latency.p99_ns = gpb_histogram_percentile (histogram, 99);
    latency.max_ns = histogram->max_ns;
    return gpb_json_latency (&latency);
}

//  What the device is.
static bool
s_put_facts (json_t *object, const Gpb__V1__Device *device)
{
    return s_put_number (object, "index", device->index)
           && s_put_text (object, "name", device->name)
           && s_put_text (object, "vendor", device->vendor)
           && s_put_text (object, "type", device->type)
           && s_put_text (object, "backend", device->backend)
           && s_put_text (object, "driver", device->driver)
           && s_put_text (object, "architecture", device->architecture)
           && s_put_text (object, "state", gpb_tool_state_name (device->state))
           && s_put_text (object, "reason", device->reason)
           && s_put_number (object, "restarts", device->restarts)
           && s_put_number (object, "running_ns", device->running_ns)
           && s_put_number (object, "compute_units", device->compute_units)
           && s_put_number (object, "clock_mhz", device->clock_mhz)
           && s_put_number (object, "total_memory", device->total_memory)
           && s_put_number (object, "available_memory", device->available_memory)
           && s_put_number (object, "local_memory", device->local_memory)
           && s_put_number (object, "max_allocation", device->max_allocation)
           && s_put_number (object, "max_work_group_size", device->max_work_group_size)
           && s_put_bool (object, "shares_host_memory", device->shares_host_memory)
           && s_put (object, "capabilities",
                     s_texts (device->capabilities, device->n_capabilities));
}

json_t *
gpb_json_device (const Gpb__V1__Device *device)
{
    static const Gpb__V1__Load nothing = GPB__V1__LOAD__INIT;
    const Gpb__V1__Load *load = device->load ? device->load : &nothing;
    json_t *object = json_object ();
    return s_if (object, s_put_facts (object, device)
                             && s_put_number (object, "queue_depth", load->queue_depth)
                             && s_put_number (object, "in_flight", load->in_flight)
                             && s_put_number (object, "processed", load->processed)
                             && s_put_number (object, "failed", load->failed)
                             && s_put_number (object, "queue_size", load->queue_size)
                             && s_put_number (object, "bound_depth", load->bound_depth)
                             && s_put (object, "queued_latency_ns", gpb_json_latency (load->queued))
                             && s_put (object, "latency_ns", gpb_json_latency (load->latency))
                             && s_put (object, "latency_minute_ns",
                                       gpb_json_latency (load->latency_minute)));
}

static json_t *
s_devices (Gpb__V1__Device **devices, size_t count)
{
    json_t *array = json_array ();
    bool good = true;
    for (size_t index = 0; index < count && good; index++)
        good = json_array_append_new (array, gpb_json_device (devices [index])) == 0;
    return s_if (array, good);
}

json_t *
gpb_json_devices (const Gpb__V1__DeviceList *list)
{
    json_t *object = json_object ();
    return s_if (object,
                 s_put_text (object, "node", list->node)
                     && s_put (object, "devices", s_devices (list->devices, list->n_devices))
                     && s_put (object, "notices", s_texts (list->notices, list->n_notices)));
}

static json_t *
s_parameters (const Gpb__V1__Kernel *kernel)
{
    json_t *array = json_array ();
    bool good = true;
    for (size_t index = 0; index < kernel->n_parameters && good; index++) {
        const Gpb__V1__Parameter *parameter = kernel->parameters [index];
        json_t *object = json_object ();
        object = s_if (object, s_put_text (object, "name", parameter->name)
                                   && s_put_text (object, "direction", parameter->direction)
                                   && s_put_text (object, "type", parameter->type)
                                   && s_put_text (object, "count", parameter->count)
                                   && s_put_number (object, "alignment", parameter->alignment)
                                   && s_put_bool (object, "zero", parameter->zero));
        good = json_array_append_new (array, object) == 0;
    }
    return s_if (array, good);
}

static json_t *
s_lanes (const Gpb__V1__Residency *residency)
{
    json_t *array = json_array ();
    bool good = true;
    for (size_t index = 0; index < residency->n_lanes && good; index++) {
        const Gpb__V1__Lane *lane = residency->lanes [index];
        json_t *object = json_object ();
        object = s_if (object, s_put_text (object, "state", gpb_tool_residency_name (lane->state))
                                   && s_put_number (object, "answered", lane->answered)
                                   && s_put_number (object, "waiting", lane->waiting));
        good = json_array_append_new (array, object) == 0;
    }
    return s_if (array, good);
}

static json_t *
s_residencies (Gpb__V1__Residency **residencies, size_t count)
{
    json_t *array = json_array ();
    bool good = true;
    for (size_t index = 0; index < count && good; index++) {
        const Gpb__V1__Residency *is = residencies [index];
        json_t *object = json_object ();
        object =
            s_if (object, s_put_text (object, "kernel", is->kernel)
                              && s_put_number (object, "device", is->device)
                              && s_put_text (object, "state", gpb_tool_residency_name (is->state))
                              && s_put_text (object, "reason", is->reason)
                              && s_put (object, "lanes", s_lanes (is))
                              && s_put_number (object, "waiting", is->waiting)
                              && s_put_number (object, "answered", is->answered)
                              && s_put_number (object, "failed", is->failed)
                              && s_put_number (object, "on_demand", is->on_demand)
                              && s_put_number (object, "launches", is->launches)
                              && s_put_number (object, "version", is->version)
                              && s_put (object, "latency_ns", gpb_json_latency (is->latency)));
        good = json_array_append_new (array, object) == 0;
    }
    return s_if (array, good);
}

//  null for a kernel that is launched for every request.
static json_t *
s_persistent (const Gpb__V1__Persistent *persistent)
{
    if (!persistent)
        return json_null ();
    json_t *object = json_object ();
    return s_if (object,
                 s_put_number (object, "lanes", persistent->lanes)
                     && s_put_number (object, "slots", persistent->slots)
                     && s_put_number (object, "slot_size", persistent->slot_size)
                     && s_put_number (object, "state_size", persistent->state_size)
                     && s_put (object, "devices",
                               s_texts (persistent->devices, persistent->n_devices))
                     && s_put (object, "residencies",
                               s_residencies (persistent->residencies, persistent->n_residencies)));
}

static json_t *
s_kernel (const Gpb__V1__Kernel *kernel)
{
    json_t *object = json_object ();
    return s_if (object,
                 s_put_text (object, "id", kernel->id)
                     && s_put_text (object, "description", kernel->description)
                     && s_put (object, "parameters", s_parameters (kernel))
                     && s_put (object, "global", s_texts (kernel->global, kernel->n_global))
                     && s_put_bool (object, "global_free", kernel->global_free)
                     && s_put (object, "local", s_numbers (kernel->local, kernel->n_local))
                     && s_put_text (object, "shared", kernel->shared)
                     && s_put (object, "require", s_texts (kernel->require, kernel->n_require))
                     && s_put (object, "sources", s_texts (kernel->sources, kernel->n_sources))
                     && s_put (object, "persistent", s_persistent (kernel->persistent)));
}

json_t *
gpb_json_kernels (const Gpb__V1__KernelList *list)
{
    json_t *array = json_array ();
    bool good = true;
    for (size_t index = 0; index < list->n_kernels && good; index++)
        good = json_array_append_new (array, s_kernel (list->kernels [index])) == 0;
    json_t *object = json_object ();
    return s_if (object, s_put (object, "kernels", s_if (array, good)));
}

static json_t *
s_pool (const Gpb__V1__PoolStats *pool)
{
    json_t *object = json_object ();
    return s_if (object, s_put_number (object, "device", pool->device)
                             && s_put_number (object, "rents", pool->rents)
                             && s_put_number (object, "releases", pool->releases)
                             && s_put_number (object, "live", pool->live)
                             && s_put_number (object, "in_use", pool->in_use)
                             && s_put_number (object, "high_water", pool->high_water)
                             && s_put_number (object, "hits", pool->hits)
                             && s_put_number (object, "misses", pool->misses)
                             && s_put_number (object, "requested", pool->requested)
                             && s_put_number (object, "kept", pool->kept)
                             && s_put_number (object, "held", pool->held)
                             && s_put_number (object, "limit", pool->limit)
                             && s_put_number (object, "trims", pool->trims)
                             && s_put_number (object, "blocks_kept", pool->blocks_kept)
                             && s_put (object, "kept_by_class",
                                       s_numbers (pool->kept_by_class, pool->n_kept_by_class))
                             && s_put_number (object, "largest_free", pool->largest_free)
                             && s_put (object, "internal_fragmentation",
                                       s_share (pool->internal_fragmentation))
                             && s_put (object, "external_fragmentation",
                                       s_share (pool->external_fragmentation))
                             && s_put_number (object, "launch_in_use", pool->launch_in_use)
                             && s_put_number (object, "launch_kept", pool->launch_kept)
                             && s_put_number (object, "launch_held", pool->launch_held)
                             && s_put_number (object, "launch_hits", pool->launch_hits)
                             && s_put_number (object, "launch_misses", pool->launch_misses)
                             && s_put_number (object, "reservations", pool->reservations)
                             && s_put_number (object, "reserved", pool->reserved));
}

static json_t *
s_pools (const Gpb__V1__StatsReply *stats)
{
    json_t *array = json_array ();
    bool good = true;
    for (size_t index = 0; index < stats->n_pools && good; index++)
        good = json_array_append_new (array, s_pool (stats->pools [index])) == 0;
    return s_if (array, good);
}

static json_t *
s_compiles (const Gpb__V1__StatsReply *stats)
{
    json_t *array = json_array ();
    bool good = true;
    for (size_t index = 0; index < stats->n_compiles && good; index++) {
        const Gpb__V1__CompileStats *compile = stats->compiles [index];
        json_t *object = json_object ();
        object = s_if (object, s_put_number (object, "device", compile->device)
                                   && s_put_number (object, "compiled", compile->compiled)
                                   && s_put_number (object, "from_disk", compile->from_disk)
                                   && s_put_number (object, "shared", compile->shared)
                                   && s_put_number (object, "failed", compile->failed));
        good = json_array_append_new (array, object) == 0;
    }
    return s_if (array, good);
}

static bool
s_put_queue (json_t *object, const Gpb__V1__StatsReply *stats)
{
    return s_put_number (object, "queue_depth", stats->queue_depth)
           && s_put_number (object, "max_queue_depth", stats->max_queue_depth)
           && s_put_number (object, "queue_size", stats->queue_size)
           && s_put_number (object, "max_queue_size", stats->max_queue_size)
           && s_put (object, "waiting", s_numbers (stats->waiting, stats->n_waiting))
           && s_put_number (object, "in_flight", stats->in_flight)
           && s_put_number (object, "exhausted", stats->exhausted)
           && s_put_number (object, "expired", stats->expired)
           && s_put_number (object, "cancelled", stats->cancelled)
           && s_put_number (object, "aged", stats->aged)
           && s_put_number (object, "rerun", stats->rerun);
}

static bool
s_put_gate (json_t *object, const Gpb__V1__StatsReply *stats)
{
    return s_put (object, "insecure", json_boolean (stats->insecure))
           && s_put_number (object, "open_connections", stats->open_connections)
           && s_put_number (object, "max_connections", stats->max_connections)
           && s_put_number (object, "refused_connections", stats->refused_connections)
           && s_put_number (object, "refused_keys", stats->refused_keys);
}

json_t *
gpb_json_stats (const Gpb__V1__StatsReply *stats)
{
    json_t *object = json_object ();
    return s_if (object,
                 s_put_text (object, "node", stats->node)
                     && s_put_number (object, "uptime_ns", stats->uptime_ns)
                     && s_put_number (object, "connections", stats->connections)
                     && s_put_number (object, "requests", stats->requests)
                     && s_put_number (object, "replies", stats->replies)
                     && s_put_number (object, "refused", stats->refused)
                     && s_put_number (object, "dropped_replies", stats->dropped_replies)
                     && s_put_number (object, "dropped_clients", stats->dropped_clients)
                     && s_put_gate (object, stats) && s_put_queue (object, stats)
                     && s_put (object, "devices", s_devices (stats->devices, stats->n_devices))
                     && s_put (object, "pools", s_pools (stats))
                     && s_put (object, "compiles", s_compiles (stats))
                     && s_put (object, "residencies",
                               s_residencies (stats->residencies, stats->n_residencies)));
}

static int
s_print (json_t *object, size_t flags)
{
    gpb_error_t error;
    if (!object) {
        gpb_error_set (&error, GPB_RESOURCE_EXHAUSTED, "no memory for the JSON text");
        return gpb_tool_fail (&error);
    }
    json_dumpf (object, stdout, flags | JSON_PRESERVE_ORDER);
    json_decref (object);
    putchar ('\n');
    return gpb_tool_flush ();
}

int
gpb_json_print (json_t *object)
{
    return s_print (object, JSON_INDENT (2));
}

int
gpb_json_print_line (json_t *object)
{
    return s_print (object, JSON_COMPACT);
}
