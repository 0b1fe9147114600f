//  gpb_hosting - messages of persistent kernels that are with kernel hosts, as the broker sees them
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_hosting.h"

#include "gpb_clock.h"

#include <inttypes.h>

#define PACE_UNKNOWN 10000    //  ns, of a host that has answered nothing yet
#define RETRY_SHARE                                                                                \
    16    //  of what a host has is to be done before it is worth
          //  asking again
#define RETRY_MAX_MS 60000

//  Every bit of the outcome hangs on every bit of the number (the finalizer of SplitMix64, Steele
//  et al. 2014): the devices' ranks for neighbouring keys have nothing to do with one another.
static uint64_t
s_mix (uint64_t number)
{
    number = (number ^ (number >> 30)) * 0xBF58476D1CE4E5B9ULL;
    number = (number ^ (number >> 27)) * 0x94D049BB133111EBULL;
    return number ^ (number >> 31);
}

uint64_t
gpb_hosting_lane (const char *kernel, uint64_t lane_key)
{
    uint64_t hash = 0xCBF29CE484222325ULL;    //  FNV-1a
    for (; *kernel; kernel++)
        hash = (hash ^ (unsigned char) *kernel) * 0x100000001B3ULL;
    hash = s_mix (hash ^ s_mix (lane_key));
    return hash ? hash : 1;
}

void
gpb_hosting_open (gpb_placement_t *self, unsigned index)
{
    gpb_placed_device_t *device = gpb_placement_device (self, index);
    device->has_host = true;
    device->host_reason [0] = 0;
}

void
gpb_hosting_refuse (gpb_placement_t *self, unsigned index, const char *reason)
{
    gpb_placed_device_t *device = gpb_placement_device (self, index);
    device->has_host = false;
    snprintf (device->host_reason, sizeof device->host_reason, "%s", reason);
}

unsigned
gpb_hosting_choose (gpb_placement_t *self, uint64_t devices, uint64_t lane)
{
    uint64_t ready = 0;
    for (uint64_t left = devices; left; left &= left - 1)
        if (gpb_placement_device (self, (unsigned) __builtin_ctzll (left))->state
            == GPB_DEVICE_READY)
            ready |= left & -left;
    unsigned best = 0;
    uint64_t best_rank = 0;
    bool is_first = true;
    for (uint64_t left = ready ? ready : devices; left; left &= left - 1) {
        const unsigned index = (unsigned) __builtin_ctzll (left);
        //  The lowest rank wins, and of equal ones the first device.
        const uint64_t rank = lane ? s_mix (lane + index * 0x9E3779B97F4A7C15ULL)
                                   : gpb_placement_device (self, index)->hosted;
        if (is_first || rank < best_rank) {
            best = index;
            best_rank = rank;
        }
        is_first = false;
    }
    return best;
}

//  ---------------------------------------------------------------------------------------------------------
//  Bounds

static uint32_t
s_retry_after_ms (const gpb_placed_device_t *device)
{
    const uint64_t pace_ns = device->host_pace_ns ? device->host_pace_ns : PACE_UNKNOWN;
    const double wait_ms =
        (double) (device->hosted / RETRY_SHARE) * (double) pace_ns / GPB_NS_PER_MS;
    if (wait_ms < 1)
        return 1;
    return wait_ms < RETRY_MAX_MS ? (uint32_t) wait_ms : RETRY_MAX_MS;
}

gpb_status_t
gpb_hosting_admit (gpb_placement_t *self, const gpb_tenant_t *tenant, unsigned index, uint64_t size,
                   uint32_t *retry_after_ms, gpb_error_t *error)
{
    const gpb_placement_options_t *options = gpb_placement_options (self);
    const gpb_placed_device_t *device = gpb_placement_device (self, index);
    uint64_t hosted = 0, hosted_size = 0;
    for (unsigned other = 0; other < gpb_placement_devices (self); other++) {
        hosted += gpb_placement_device (self, other)->hosted;
        hosted_size += gpb_placement_device (self, other)->hosted_size;
    }
    const struct {
        const gpb_amount_t *bound;
        uint64_t hosted, hosted_size;
        const char *whose;
    } loads [] = { { &options->client, tenant ? tenant->hosted : 0,
                     tenant ? tenant->hosted_size : 0, "of this client are with kernel hosts" },
                   { &options->device, device->hosted, device->hosted_size,
                     "are with the device's kernel host" },
                   { &options->node, hosted, hosted_size, "are with this node's kernel hosts" } };
    *retry_after_ms = 0;
    for (size_t load = 0; load < sizeof loads / sizeof loads [0]; load++) {
        const gpb_amount_t *bound = loads [load].bound;
        if (size > bound->size)
            return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED,
                                  "a message of %" PRIu64 " bytes: at most %" PRIu64
                                  " may be with a kernel host at once",
                                  size, bound->size);
        if (loads [load].hosted < bound->requests && loads [load].hosted_size <= bound->size - size)
            continue;
        *retry_after_ms = s_retry_after_ms (device);
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED,
                              "%" PRIu64 " messages of %" PRIu64
                              " bytes %s, and the bound is %" PRIu64 " messages of %" PRIu64
                              " bytes: try again in %" PRIu32 " ms",
                              loads [load].hosted, loads [load].hosted_size, loads [load].whose,
                              bound->requests, bound->size, *retry_after_ms);
    }
    return GPB_OK;
}

//  ---------------------------------------------------------------------------------------------------------
//  What is with a host

void
gpb_hosting_took (gpb_placement_t *self, gpb_entry_t *entry, unsigned index, uint64_t now_ns)
{
    gpb_placed_device_t *device = gpb_placement_device (self, index);
    entry->device = index;
    entry->sent_ns = now_ns;
    device->hosted++;
    device->hosted_size += entry->size;
    if (entry->tenant) {
        entry->tenant->hosted++;
        entry->tenant->hosted_size += entry->size;
    }
}

void
gpb_hosting_answered (gpb_placement_t *self, const gpb_entry_t *entry, bool is_ok, uint64_t now_ns)
{
    gpb_placed_device_t *device = gpb_placement_device (self, entry->device);
    const uint64_t began_ns =
        entry->sent_ns > device->last_host_answer_ns ? entry->sent_ns : device->last_host_answer_ns;
    device->host_pace_ns =
        gpb_placement_smooth (device->host_pace_ns, now_ns > began_ns ? now_ns - began_ns : 1);
    device->last_host_answer_ns = now_ns;
    device->hosted--;
    device->hosted_size -= entry->size;
    if (entry->tenant) {
        entry->tenant->hosted--;
        entry->tenant->hosted_size -= entry->size;
    }
    gpb_placement_record (self, entry, is_ok, now_ns);
}
