//  gpb_placement - a node's devices as its broker sees them, the queues before them, and who gets
//  what
//
//  There are few different sets of devices that requests may have (all, one each, those with
//  fp64...), so the queues stand in an array that is searched through; an empty one is used again
//  for the next new set. received_ns says which of two requests came first, since the broker
//  receives one after the other.
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

typedef struct {
    uint64_t devices;    //  bit i: device i may have what waits here
    gpb_entry_t *first, *last;
} s_queue_t;

struct _gpb_placement_t {
    unsigned devices_count;
    gpb_placed_device_t *devices;
    s_queue_t *queues;
    size_t queues_count;
    uint64_t depth, size;    //  of all queues
};

gpb_placement_t *
gpb_placement_new (unsigned devices, gpb_error_t *error)
{
    gpb_placement_t *self = gpb_alloc (1, sizeof *self);
    if (self) {
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
        if (device->state != GPB_DEVICE_READY)
            s_add_reason (reasons, sizeof reasons, index, device, "is not ready: %s",
                          device->reason [0] ? device->reason : "it is starting");
        else if (lacks) {
            s_add_reason (reasons, sizeof reasons, index, device, "has no %s", lacks);
            if (worst == GPB_UNAVAILABLE)
                worst = GPB_FAILED_PRECONDITION;
        }
        else if (constraints->memory > device->available_memory) {
            s_add_reason (reasons, sizeof reasons, index, device,
                          "has %" PRIu64 " bytes available of the %" PRIu64 " that are needed",
                          device->available_memory, constraints->memory);
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
s_count_depth (gpb_placement_t *self, const gpb_entry_t *entry, int step)
{
    self->depth += (uint64_t) (int64_t) step;
    self->size += (uint64_t) (int64_t) step * entry->size;
    for (uint64_t left = entry->devices; left; left &= left - 1)
        self->devices [__builtin_ctzll (left)].queue_depth += (uint64_t) (int64_t) step;
}

static s_queue_t *
s_queue_for (gpb_placement_t *self, uint64_t devices)
{
    s_queue_t *empty = NULL;
    for (size_t index = 0; index < self->queues_count; index++) {
        if (self->queues [index].devices == devices)
            return &self->queues [index];
        if (!self->queues [index].first)
            empty = &self->queues [index];
    }
    if (!empty) {
        void *queues = gpb_realloc (self->queues, self->queues_count + 1, sizeof *self->queues);
        if (!queues)
            return NULL;
        self->queues = queues;
        empty = &self->queues [self->queues_count++];
        empty->first = empty->last = NULL;
    }
    empty->devices = devices;
    return empty;
}

gpb_status_t
gpb_placement_queue (gpb_placement_t *self, gpb_entry_t *entry, gpb_error_t *error)
{
    s_queue_t *queue = s_queue_for (self, entry->devices);
    if (!queue)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a queue");
    entry->queue_previous = queue->last;
    entry->queue_next = NULL;
    if (queue->last)
        queue->last->queue_next = entry;
    else
        queue->first = entry;
    queue->last = entry;
    s_count_depth (self, entry, 1);
    return GPB_OK;
}

void
gpb_placement_unqueue (gpb_placement_t *self, gpb_entry_t *entry)
{
    s_queue_t *queue = s_queue_for (self, entry->devices);
    if (entry->queue_previous)
        entry->queue_previous->queue_next = entry->queue_next;
    else
        queue->first = entry->queue_next;
    if (entry->queue_next)
        entry->queue_next->queue_previous = entry->queue_previous;
    else
        queue->last = entry->queue_previous;
    entry->queue_previous = entry->queue_next = NULL;
    s_count_depth (self, entry, -1);
}

//  ---------------------------------------------------------------------------------------------------------
//  Who gets what

//  Without a guess at the first, a busy device whose pace nobody knows would look like an idle one.
static uint64_t
s_pace (const gpb_placed_device_t *device)
{
    return device->service_ns ? device->service_ns : PACE_UNKNOWN;
}

static bool
s_has_credit (const gpb_placed_device_t *device)
{
    uint64_t credit = CREDIT_NS / s_pace (device);
    if (credit < CREDIT_MIN)
        credit = CREDIT_MIN;
    if (credit > CREDIT_MAX)
        credit = CREDIT_MAX;
    return device->state == GPB_DEVICE_READY && device->in_flight < credit;
}

//  The best of the devices with a credit; none: devices_count.
static unsigned
s_best (const gpb_placement_t *self, uint64_t devices)
{
    unsigned best = self->devices_count;
    uint64_t best_wait_ns = 0;
    for (uint64_t left = devices; left; left &= left - 1) {
        unsigned index = (unsigned) __builtin_ctzll (left);
        const gpb_placed_device_t *device = &self->devices [index];
        if (!s_has_credit (device))
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
    for (size_t index = 0; index < self->queues_count; index++) {
        gpb_entry_t *first = self->queues [index].first;
        if (!first || (next && next->received_ns <= first->received_ns))
            continue;
        unsigned best = s_best (self, first->devices);
        if (best < self->devices_count) {
            next = first;
            device = best;
        }
    }
    if (next) {
        gpb_placement_unqueue (self, next);
        gpb_placement_took (self, next, device, now_ns);
    }
    return next;
}

void
gpb_placement_took (gpb_placement_t *self, gpb_entry_t *entry, unsigned device, uint64_t now_ns)
{
    entry->device = device;
    entry->sent_ns = now_ns;
    self->devices [device].in_flight++;
}

void
gpb_placement_answered (gpb_placement_t *self, const gpb_entry_t *entry, bool is_ok,
                        uint64_t now_ns)
{
    gpb_placed_device_t *device = &self->devices [entry->device];
    uint64_t began_ns =
        entry->sent_ns > device->last_answer_ns ? entry->sent_ns : device->last_answer_ns;
    uint64_t sample_ns = now_ns > began_ns ? now_ns - began_ns : 1;
    if (device->service_ns)
        sample_ns =
            device->service_ns - (device->service_ns >> PACE_SHIFT) + (sample_ns >> PACE_SHIFT);
    device->service_ns = sample_ns ? sample_ns : 1;
    device->last_answer_ns = now_ns;
    device->in_flight--;
    if (is_ok)
        device->processed++;
    else
        device->failed++;
    uint64_t latency_ns = now_ns - entry->received_ns;
    gpb_histogram_record (&device->latency, latency_ns);
    gpb_histogram_minute_record (&device->latency_minute, latency_ns, now_ns);
}

uint64_t
gpb_placement_depth (const gpb_placement_t *self)
{
    return self->depth;
}

uint64_t
gpb_placement_size (const gpb_placement_t *self)
{
    return self->size;
}
