//  gpb_placement - a node's devices as its broker sees them, the queues before them, and who gets
//  what
//
//  There are few different sets of devices that requests may have (all, one each, those with
//  fp64...), so the queues stand in an array that is searched through; an empty one is used again
//  for the next new set.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_placement.h"

#include "gpb_alloc.h"
#include "gpb_clock.h"
#include "gpb_programs.h"

#include <inttypes.h>

#define CREDIT_MIN 2
#define CREDIT_MAX 64
#define CREDIT_NS GPB_NS_PER_MS    //  work that may be on a device at once
#define PACE_SHIFT 3               //  a new sample weighs 1/8
#define PACE_UNKNOWN CREDIT_NS     //  of a device that has answered nothing yet, as a guess in ns

#define CAREFUL_NS GPB_NS_PER_S    //  after a loss

#define RETRY_SHARE 16    //  of what waits is to be done before it is worth asking again
#define RETRY_MAX_MS 60000

struct _gpb_placement_t {
    gpb_placement_options_t options;
    unsigned devices_count;
    gpb_placed_device_t *devices;
    gpb_queue_clock_t clock;
    gpb_queue_t **queues;
    size_t queues_count;
    gpb_waiting_t waiting;    //  in all queues
};

gpb_placement_t *
gpb_placement_new (unsigned devices, const gpb_placement_options_t *options, gpb_error_t *error)
{
    gpb_placement_t *self = gpb_alloc (1, sizeof *self);
    if (self) {
        self->options = *options;
        self->clock.aging_ns = options->aging_ns;
        self->devices_count =
            devices < GPB_PLACEMENT_DEVICES_MAX ? devices : GPB_PLACEMENT_DEVICES_MAX;
        self->devices = gpb_alloc (self->devices_count, sizeof *self->devices);
    }
    if (!self || !self->devices) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for %u devices' figures", devices);
        gpb_placement_destroy (&self);
    }
    return self;
}

void
gpb_placement_destroy (gpb_placement_t **self_p)
{
    gpb_placement_t *self = *self_p;
    if (!self)
        return;
    *self_p = NULL;
    gpb_free (self->devices);
    for (size_t index = 0; index < self->queues_count; index++)
        gpb_queue_destroy (&self->queues [index]);
    gpb_free (self->queues);
    gpb_free (self);
}

unsigned
gpb_placement_devices (const gpb_placement_t *self)
{
    return self->devices_count;
}

gpb_placed_device_t *
gpb_placement_device (gpb_placement_t *self, unsigned index)
{
    return index < self->devices_count ? &self->devices [index] : NULL;
}

//  ---------------------------------------------------------------------------------------------------------
//  Which devices fit

//  Adds "; device 1 (Tesla) has no fp64" to a text.
static void s_add_reason (char *text, size_t size, unsigned index,
                          const gpb_placed_device_t *device, const char *format, ...)
    GPB_PRINTF (5, 6);

static void
s_add_reason (char *text, size_t size, unsigned index, const gpb_placed_device_t *device,
              const char *format, ...)
{
    size_t used = strlen (text);
    bool is_known = device->info.name [0] != 0;
    int length = snprintf (text + used, size - used, "%sdevice %u%s%s%s ", used ? "; " : "", index,
                           is_known ? " (" : "", device->info.name, is_known ? ")" : "");
    used = length > 0 && (size_t) length < size - used ? used + (size_t) length : size - 1;
    va_list arguments;
    va_start (arguments, format);
    vsnprintf (text + used, size - used, format, arguments);
    va_end (arguments);
}

static const char *
s_lacks (const gpb_placed_device_t *device, const gpb_constraints_t *constraints)
{
    const char *lacks =
        constraints->kernel ? gpb_kernel_lacks (constraints->kernel, &device->info) : NULL;
    for (size_t index = 0; !lacks && index < constraints->require_count; index++)
        if (!gpb_device_has (&device->info, constraints->require [index]))
            lacks = constraints->require [index];
    return lacks;
}

//  What is on its way to it is as good as taken.
static uint64_t
s_available (const gpb_placed_device_t *device)
{
    if (device->state == GPB_DEVICE_RESTARTING)
        return device->info.total_memory;
    return device->available_memory > device->promised_memory
               ? device->available_memory - device->promised_memory
               : 0;
}

//  Whether a kernel that stays on its devices may stay on this one, and a host is there for it.
static bool
s_hosts (const gpb_kernel_t *kernel, unsigned index, const gpb_placed_device_t *device, char *text,
         size_t size)
{
    if (!gpb_kernel_persistent_on (kernel, index, &device->info))
        s_add_reason (text, size, index, device, "is not one that %s may stay on",
                      gpb_kernel_id (kernel));
    else if (!device->has_host)
        s_add_reason (text, size, index, device, "has no kernel host: %s",
                      device->host_reason [0] ? device->host_reason : "none has been started");
    else
        return true;
    return false;
}

gpb_status_t
gpb_placement_fit (gpb_placement_t *self, const gpb_constraints_t *constraints, const char *notice,
                   uint64_t *devices_p, gpb_error_t *error)
{
    *devices_p = 0;
    if (constraints->has_device && constraints->device >= self->devices_count)
        return gpb_error_set (error, GPB_NOT_FOUND,
                              "there is no device %" PRIu64 ": this node has %u",
                              constraints->device, self->devices_count);
    if (self->devices_count == 0)
        return gpb_error_set (error, GPB_UNAVAILABLE, "this node has no device: %s", notice);

    char reasons [2048] = "";
    gpb_status_t worst = GPB_UNAVAILABLE;
    for (unsigned index = 0; index < self->devices_count; index++) {
        const gpb_placed_device_t *device = &self->devices [index];
        if (constraints->has_device && constraints->device != index)
            continue;
        const char *lacks = s_lacks (device, constraints);
        uint64_t available = s_available (device);
        if (device->state != GPB_DEVICE_READY && device->state != GPB_DEVICE_RESTARTING)
            s_add_reason (reasons, sizeof reasons, index, device, "is not ready: %s",
                          device->reason [0] ? device->reason : "it is starting");
        else if (lacks) {
            s_add_reason (reasons, sizeof reasons, index, device, "has no %s", lacks);
            if (worst == GPB_UNAVAILABLE)
                worst = GPB_FAILED_PRECONDITION;
        }
        else if (constraints->is_hosted
                 && !s_hosts (constraints->kernel, index, device, reasons, sizeof reasons))
        {
            if (worst == GPB_UNAVAILABLE)
                worst = GPB_FAILED_PRECONDITION;
        }
        else if (constraints->memory > available) {
            s_add_reason (reasons, sizeof reasons, index, device,
                          "has %" PRIu64 " bytes available of the %" PRIu64 " that are needed",
                          available, constraints->memory);
            worst = GPB_RESOURCE_EXHAUSTED;
        }
        else
            *devices_p |= 1ULL << index;
    }
    return *devices_p ? GPB_OK : gpb_error_set (error, worst, "no device fits: %s", reasons);
}

//  ---------------------------------------------------------------------------------------------------------
//  Queues

static void
s_count (gpb_amount_t *amount, uint64_t size, int step)
{
    uint64_t requests = (uint64_t) (int64_t) step;
    amount->requests += requests;
    amount->size += requests * size;
}

//  Whether a set of devices is one device.
static bool
s_is_one (uint64_t devices)
{
    return (devices & (devices - 1)) == 0;
}

static void
s_count_entry (gpb_placement_t *self, const gpb_entry_t *entry, int step)
{
    gpb_waiting_t *all [] = { &self->waiting, &entry->tenant->waiting, entry->tenant->key };
    for (size_t index = 0; index < sizeof all / sizeof all [0] && all [index]; index++) {
        s_count (&all [index]->all, entry->size, step);
        if (s_is_one (entry->devices))
            s_count (&all [index]->alone [__builtin_ctzll (entry->devices)], entry->size, step);
    }
    for (uint64_t left = entry->devices; left; left &= left - 1)
        s_count (&self->devices [__builtin_ctzll (left)].queue, entry->size, step);
}

static gpb_queue_t *
s_queue_for (gpb_placement_t *self, uint64_t devices)
{
    gpb_queue_t *empty = NULL;
    for (size_t index = 0; index < self->queues_count; index++) {
        gpb_queue_t *queue = self->queues [index];
        if (gpb_queue_devices (queue) == devices)
            return queue;
        if (gpb_queue_depth (queue) == 0)
            empty = queue;
    }
    if (empty) {
        gpb_queue_set_devices (empty, devices);
        return empty;
    }
    void *queues = gpb_realloc (self->queues, self->queues_count + 1, sizeof *self->queues);
    if (!queues)
        return NULL;
    self->queues = queues;
    gpb_queue_t *queue = gpb_queue_new (devices, &self->clock);
    if (queue)
        self->queues [self->queues_count++] = queue;
    return queue;
}

gpb_status_t
gpb_placement_queue (gpb_placement_t *self, gpb_entry_t *entry, uint64_t now_ns, gpb_error_t *error)
{
    gpb_queue_t *queue = s_queue_for (self, entry->devices);
    if (!queue)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a queue");
    gpb_status_t status = gpb_queue_add (queue, entry, now_ns, error);
    if (status == GPB_OK)
        s_count_entry (self, entry, 1);
    return status;
}

void
gpb_placement_unqueue (gpb_placement_t *self, gpb_entry_t *entry)
{
    gpb_queue_remove (entry);
    s_count_entry (self, entry, -1);
}

void
gpb_placement_age (gpb_placement_t *self, uint64_t now_ns)
{
    for (size_t index = 0; self->waiting.all.requests && index < self->queues_count; index++)
        gpb_queue_age (self->queues [index], now_ns);
}

//  ---------------------------------------------------------------------------------------------------------
//  Who gets what

//  Without a guess at the first, a busy device whose pace nobody knows would look like an idle one.
static uint64_t
s_pace (const gpb_placed_device_t *device)
{
    return device->service_ns ? device->service_ns : PACE_UNKNOWN;
}

//  Until these devices together should have done a share of so many requests.
static uint32_t
s_retry_after_ms (const gpb_placement_t *self, uint64_t devices, uint64_t depth)
{
    double per_ns = 0;
    for (uint64_t left = devices; left; left &= left - 1)
        per_ns += 1.0 / (double) s_pace (&self->devices [__builtin_ctzll (left)]);
    double wait_ms = per_ns > 0 ? (double) (depth / RETRY_SHARE) / per_ns / GPB_NS_PER_MS : 0;
    if (wait_ms < 1)
        return 1;
    return wait_ms < RETRY_MAX_MS ? (uint32_t) wait_ms : RETRY_MAX_MS;
}

//  One bound, what waits under it, and how much of that is whose.
typedef struct {
    gpb_amount_t bound, all, own;
    const char *owner, *place;    //  for people: "this client", "on this node"
} s_claim_t;

static bool
s_is_within (const s_claim_t *claim, uint64_t size)
{
    return claim->own.requests + 1 <= claim->bound.requests
           && claim->own.size + size <= claim->bound.size;
}

//  Whether its owner then has no more than what is left free.
static bool
s_has_room (const s_claim_t *claim, uint64_t size)
{
    return claim->own.requests + 1 + claim->all.requests + 1 <= claim->bound.requests
           && claim->own.size + size + claim->all.size + size <= claim->bound.size;
}

//  A client is over its own bound.
static gpb_status_t
s_refuse_client (const gpb_placement_t *self, const s_claim_t *claim, const gpb_arrival_t *arrival,
                 uint32_t *retry_after_ms, gpb_error_t *error)
{
    const gpb_amount_t *bound = &claim->bound, *own = &claim->own;
    if (arrival->size > bound->size)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED,
                              "a request of %" PRIu64 " bytes: at most %" PRIu64 " may wait for %s",
                              arrival->size, bound->size, claim->owner);
    *retry_after_ms = s_retry_after_ms (self, arrival->devices, own->requests);
    if (own->requests >= bound->requests)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED,
                              "%" PRIu64 " requests wait for %s, which is the bound: try again in "
                              "%" PRIu32 " ms",
                              own->requests, claim->owner, *retry_after_ms);
    return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED,
                          "%" PRIu64 " requests of %" PRIu64 " bytes wait for %s, and %" PRIu64
                          " bytes more are over the bound of %" PRIu64 ": try again in %" PRIu32
                          " ms",
                          own->requests, own->size, claim->owner, arrival->size, bound->size,
                          *retry_after_ms);
}

//  A client would have more of a bound than what is left.
static gpb_status_t
s_refuse_share (const gpb_placement_t *self, const s_claim_t *claim, const gpb_arrival_t *arrival,
                uint32_t *retry_after_ms, gpb_error_t *error)
{
    const gpb_amount_t *bound = &claim->bound, *all = &claim->all, *own = &claim->own;
    if (arrival->size > bound->size / 2)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED,
                              "a request of %" PRIu64 " bytes: of the %" PRIu64
                              " that may wait %s, %s may have half",
                              arrival->size, bound->size, claim->place, claim->owner);
    *retry_after_ms = s_retry_after_ms (self, arrival->devices, all->requests);
    if (own->requests + 1 + all->requests + 1 > bound->requests)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED,
                              "%" PRIu64 " requests wait %s, %" PRIu64 " of them of %s, which may "
                              "have as many as are left of %" PRIu64 ": try again in %" PRIu32
                              " ms",
                              all->requests, claim->place, own->requests, claim->owner,
                              bound->requests, *retry_after_ms);
    return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED,
                          "%" PRIu64 " bytes wait %s, %" PRIu64 " of them of %s, and with %" PRIu64
                          " more it would have more than is left of %" PRIu64
                          ": try again in %" PRIu32 " ms",
                          all->size, claim->place, own->size, claim->owner, arrival->size,
                          bound->size, *retry_after_ms);
}

//  Whether a client, or a key, has room under the node's bound, and under the device's where only
//  one device may have the request.
static gpb_status_t
s_admit (gpb_placement_t *self, const gpb_arrival_t *arrival, const gpb_waiting_t *own,
         const char *owner, uint32_t *retry_after_ms, gpb_error_t *error)
{
    const gpb_placement_options_t *options = &self->options;
    if (s_is_one (arrival->devices)) {
        int device = __builtin_ctzll (arrival->devices);
        s_claim_t alone = { options->device, self->waiting.alone [device], own->alone [device],
                            owner, "for its device alone" };
        if (!s_has_room (&alone, arrival->size))
            return s_refuse_share (self, &alone, arrival, retry_after_ms, error);
    }
    s_claim_t node = { options->node, self->waiting.all, own->all, owner, "on this node" };
    return s_has_room (&node, arrival->size)
               ? GPB_OK
               : s_refuse_share (self, &node, arrival, retry_after_ms, error);
}

gpb_status_t
gpb_placement_admit (gpb_placement_t *self, const gpb_arrival_t *arrival, uint32_t *retry_after_ms,
                     gpb_error_t *error)
{
    static const gpb_waiting_t nothing;
    const gpb_waiting_t *client = arrival->client ? arrival->client : &nothing;
    s_claim_t claim = { .bound = self->options.client, .own = client->all, .owner = "this client" };
    *retry_after_ms = 0;
    if (!s_is_within (&claim, arrival->size))
        return s_refuse_client (self, &claim, arrival, retry_after_ms, error);
    gpb_status_t status = s_admit (self, arrival, client, "this client", retry_after_ms, error);
    return status == GPB_OK && arrival->key
               ? s_admit (self, arrival, arrival->key, "this key", retry_after_ms, error)
               : status;
}

static bool
s_has_credit (const gpb_placed_device_t *device, uint64_t now_ns)
{
    uint64_t credit = CREDIT_NS / s_pace (device);
    if (credit < CREDIT_MIN)
        credit = CREDIT_MIN;
    if (credit > CREDIT_MAX)
        credit = CREDIT_MAX;
    if (now_ns < device->careful_until_ns)
        credit = 1;
    return device->state == GPB_DEVICE_READY && device->in_flight < credit;
}

//  The best of the devices with a credit; none: devices_count.
static unsigned
s_best (const gpb_placement_t *self, uint64_t devices, uint64_t now_ns)
{
    unsigned best = self->devices_count;
    uint64_t best_wait_ns = 0;
    for (uint64_t left = devices; left; left &= left - 1) {
        unsigned index = (unsigned) __builtin_ctzll (left);
        const gpb_placed_device_t *device = &self->devices [index];
        if (!s_has_credit (device, now_ns))
            continue;
        uint64_t wait_ns = device->in_flight * s_pace (device);
        if (best == self->devices_count || wait_ns < best_wait_ns
            || (wait_ns == best_wait_ns
                && device->available_memory > self->devices [best].available_memory))
        {
            best = index;
            best_wait_ns = wait_ns;
        }
    }
    return best;
}

gpb_entry_t *
gpb_placement_next (gpb_placement_t *self, uint64_t now_ns)
{
    gpb_entry_t *next = NULL;
    unsigned device = 0;
    for (size_t index = 0; self->waiting.all.requests && index < self->queues_count; index++) {
        if (gpb_queue_depth (self->queues [index]) == 0)
            continue;
        unsigned best = s_best (self, gpb_queue_devices (self->queues [index]), now_ns);
        gpb_entry_t *first =
            best < self->devices_count ? gpb_queue_first (self->queues [index]) : NULL;
        if (first && (!next || gpb_queue_before (first, next))) {
            next = first;
            device = best;
        }
    }
    if (!next)
        return NULL;
    gpb_queue_take (next, now_ns);
    s_count_entry (self, next, -1);
    //  Its own requests tell best what the next one costs; before the first answer, the device's.
    gpb_tenant_t *tenant = next->tenant;
    gpb_tenant_charge (tenant, &self->clock,
                       tenant->cost_ns ? tenant->cost_ns : self->devices [device].service_ns);
    gpb_placement_took (self, next, device, now_ns);
    gpb_histogram_record (&self->devices [device].queued, now_ns - next->received_ns);
    return next;
}

void
gpb_placement_took (gpb_placement_t *self, gpb_entry_t *entry, unsigned device, uint64_t now_ns)
{
    entry->device = device;
    entry->sent_ns = now_ns;
    self->devices [device].in_flight++;
    self->devices [device].promised_memory += entry->memory;
}

uint64_t
gpb_placement_smooth (uint64_t old_ns, uint64_t sample_ns)
{
    if (old_ns)
        sample_ns = old_ns - (old_ns >> PACE_SHIFT) + (sample_ns >> PACE_SHIFT);
    return sample_ns ? sample_ns : 1;
}

void
gpb_placement_answered (gpb_placement_t *self, const gpb_entry_t *entry, bool is_ok,
                        uint64_t now_ns)
{
    gpb_placed_device_t *device = &self->devices [entry->device];
    uint64_t began_ns =
        entry->sent_ns > device->last_answer_ns ? entry->sent_ns : device->last_answer_ns;
    uint64_t sample_ns = now_ns > began_ns ? now_ns - began_ns : 1;
    if (entry->served_ns && entry->served_ns < now_ns - entry->sent_ns)
        sample_ns = entry->served_ns;
    device->service_ns = gpb_placement_smooth (device->service_ns, sample_ns);
    if (entry->tenant)
        entry->tenant->cost_ns = gpb_placement_smooth (entry->tenant->cost_ns, sample_ns);
    device->last_answer_ns = now_ns;
    device->in_flight--;
    device->promised_memory -= entry->memory;
    gpb_placement_record (self, entry, is_ok, now_ns);
}

void
gpb_placement_record (gpb_placement_t *self, const gpb_entry_t *entry, bool is_ok, uint64_t now_ns)
{
    gpb_placed_device_t *device = &self->devices [entry->device];
    if (is_ok)
        device->processed++;
    else
        device->failed++;
    uint64_t latency_ns = now_ns - entry->received_ns;
    gpb_histogram_record (&device->latency, latency_ns);
    gpb_histogram_minute_record (&device->latency_minute, latency_ns, now_ns);
}

void
gpb_placement_lost (gpb_placement_t *self, unsigned index, const char *reason, bool is_lasting)
{
    gpb_placed_device_t *device = &self->devices [index];
    device->state = is_lasting ? GPB_DEVICE_LOST : GPB_DEVICE_RESTARTING;
    snprintf (device->reason, sizeof device->reason, "%s", reason);
    device->available_memory = 0;
    device->running_ns = 0;
}

void
gpb_placement_ready (gpb_placement_t *self, unsigned index, uint64_t now_ns)
{
    gpb_placed_device_t *device = &self->devices [index];
    const bool was_lost = device->state != GPB_DEVICE_STARTING;
    device->state = GPB_DEVICE_READY;
    device->reason [0] = 0;
    if (was_lost)
        device->careful_until_ns = now_ns + CAREFUL_NS;
}

const gpb_waiting_t *
gpb_placement_waiting (const gpb_placement_t *self)
{
    return &self->waiting;
}

uint64_t
gpb_placement_depth_at (const gpb_placement_t *self, unsigned level)
{
    uint64_t depth = 0;
    for (size_t index = 0; index < self->queues_count; index++)
        depth += gpb_queue_depth_at (self->queues [index], level);
    return depth;
}

uint64_t
gpb_placement_aged (const gpb_placement_t *self)
{
    return self->clock.aged;
}

const gpb_placement_options_t *
gpb_placement_options (const gpb_placement_t *self)
{
    return &self->options;
}
