//  gpb_host_lanes - which lanes are on the device
//
//  A device has so many seats, which are lanes that may be there at the same time; launches always
//  find what is left. A lane gets a free one, else that of the lane that has idled longest. Where
//  all of them work, the one that has had its seat longest goes, after 10 ms at the least: it
//  finishes what is in its ring and returns, and gets a seat again in its turn. So no set of
//  kernels starves another, nor what is launched.
//
//  A lane that has answered nothing for `kernel_timeout_ms`, though messages stand in its ring, has
//  a handler that does not return. Its heartbeat, which the device writes, tells that from a launch
//  that has not begun. It keeps its seat: the device still runs it.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_host_private.h"

#include "gpb_clock.h"
#include "gpb_log.h"

#include <inttypes.h>
#include <poll.h>
#include <unistd.h>

#define QUANTUM_NS (10 * GPB_NS_PER_MS)    //  that a lane has its seat while others want one
#define LOOK_NS (100 * GPB_NS_PER_MS)      //  between two looks for what does not return
#define RETRY_NS GPB_NS_PER_S              //  after a launch that has failed

static gpb_lane_t *
s_lane (const gpb_seat_t *seat)
{
    return &seat->hosted->resident->lanes [seat->lane];
}

//  A seat that can be had by parking its lane: of those that idle, the one that has for longest;
//  else of those that had it for long enough, the one that has had it longest. -1: none.
static int
s_victim (const gpb_host_t *self, uint64_t now_ns)
{
    int idle = -1, oldest = -1;
    uint64_t idle_since_ns = UINT64_MAX, seated_ns = now_ns - QUANTUM_NS;
    for (unsigned number = 0; number < self->seats_count; number++) {
        const gpb_seat_t *seat = &self->seats [number];
        if (s_lane (seat)->state != GPB_LANE_RESIDENT)
            continue;
        const gpb_hosted_lane_t *lane = &seat->hosted->lanes [seat->lane];
        if (gpb_ring_waiting (&s_lane (seat)->ring) == 0 && lane->progress_ns < idle_since_ns) {
            idle = (int) number;
            idle_since_ns = lane->progress_ns;
        }
        if (lane->seated_ns <= seated_ns) {
            oldest = (int) number;
            seated_ns = lane->seated_ns;
        }
    }
    return idle >= 0 ? idle : oldest;
}

static gpb_status_t
s_refuse_seats (const gpb_host_t *self, gpb_error_t *error)
{
    return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED,
                          "all %u lanes that may stay on device %u at the same time are taken by "
                          "handlers that do not return",
                          self->seats_count, self->shared->index);
}

//  A lane could not be launched, or the device could not run it. For a moment the kernel is refused
//  with that reason.
static void
s_fail (gpb_host_t *self, gpb_hosted_t *hosted, unsigned lane, const gpb_error_t *failure)
{
    gpb_error_set (&hosted->failure, GPB_FAILED_PRECONDITION,
                   "kernel %s could not run on device %u: %s", gpb_kernel_id (hosted->kernel),
                   self->shared->index, failure->text);
    hosted->retry_ns = gpb_clock_ns () + RETRY_NS;
    gpb_log (self->config, GPB_LOG_ERROR, "%s", hosted->failure.text);
    const gpb_error_t error = hosted->failure;
    gpb_host_fail_lane (self, hosted, lane, &error);
    gpb_host_fail_waiting (self, hosted, &error);
}

//  Launches a lane on a free seat.
static bool
s_wake (gpb_host_t *self, gpb_hosted_t *hosted, unsigned number, unsigned seat, uint64_t now_ns)
{
    gpb_hosted_lane_t *lane = &hosted->lanes [number];
    gpb_error_t error;
    const unsigned stream = gpb_shared_context_host_stream (self->shared) + 1 + seat;
    lane->heartbeat = gpb_ring_heartbeat (&hosted->resident->lanes [number].ring);
    if (gpb_resident_wake (hosted->resident, number, stream, 2 * self->idle_ns, &hosted->clock,
                           &error)
        != GPB_OK)
    {
        s_fail (self, hosted, number, &error);
        return false;
    }
    hosted->failure.status = GPB_OK;
    self->seats [seat] = (gpb_seat_t){ hosted, number };
    lane->seat = (int) seat;
    lane->seated_ns = lane->progress_ns = now_ns;
    hosted->launches++;
    self->progress_ns = now_ns;
    self->turn = hosted->next;
    hosted->turn = (number + 1) % hosted->resident->lanes_count;
    return true;
}

bool
gpb_host_seat (gpb_host_t *self, gpb_hosted_t *hosted, unsigned number)
{
    const gpb_lane_t *lane = &hosted->resident->lanes [number];
    if (lane->state == GPB_LANE_RESIDENT)
        return true;
    if (self->is_held || hosted->lanes [number].seat >= 0)
        return false;    //  it comes back when it has returned
    const uint64_t now_ns = gpb_clock_ns ();
    if (hosted->failure.status != GPB_OK && now_ns < hosted->retry_ns)
        return false;
    unsigned leaving = 0, stuck = 0;
    for (unsigned seat = 0; seat < self->seats_count; seat++) {
        if (!self->seats [seat].hosted)
            return s_wake (self, hosted, number, seat, now_ns);
        leaving += s_lane (&self->seats [seat])->state == GPB_LANE_PARKING;
        stuck += s_lane (&self->seats [seat])->state == GPB_LANE_QUARANTINED;
    }
    if (stuck == self->seats_count) {
        gpb_error_t error;
        s_refuse_seats (self, &error);
        gpb_host_fail_waiting (self, hosted, &error);
        return false;
    }
    int victim = leaving > 0 ? -1 : s_victim (self, now_ns);
    if (victim >= 0)
        gpb_resident_park (self->seats [victim].hosted->resident, self->seats [victim].lane);
    return false;
}

//  ---------------------------------------------------------------------------------------------------------
//  What returns

bool
gpb_host_settle (gpb_host_t *self)
{
    bool has_returned = false;
    for (unsigned number = 0; number < self->seats_count; number++) {
        gpb_seat_t *seat = &self->seats [number];
        if (!seat->hosted || !gpb_resident_settle (seat->hosted->resident, seat->lane))
            continue;
        gpb_hosted_t *hosted = seat->hosted;
        const unsigned lane = seat->lane;
        has_returned = true;
        gpb_host_collect_lane (self, hosted, lane);    //  what it has answered before
        *seat = (gpb_seat_t){ NULL, 0 };
        hosted->lanes [lane].seat = -1;
        if (hosted->resident->lanes [lane].state == GPB_LANE_FAILED)
            s_fail (self, hosted, lane, &hosted->resident->lanes [lane].failure);
    }
    return has_returned;
}

//  ---------------------------------------------------------------------------------------------------------
//  What idles, and what does not return

static void
s_quarantine (gpb_host_t *self, const gpb_seat_t *seat, uint64_t stood_ns)
{
    gpb_hosted_t *hosted = seat->hosted;
    const bool has_begun =
        gpb_ring_heartbeat (&s_lane (seat)->ring) != hosted->lanes [seat->lane].heartbeat;
    gpb_error_t error;
    gpb_error_set (&error, GPB_DEADLINE_EXCEEDED,
                   has_begun ? "the handler of kernel %s did not return within %" PRIu64
                               " ms: lane %u of device %u is quarantined"
                             : "the launch of kernel %s did not begin within %" PRIu64
                               " ms: lane %u of device %u is quarantined",
                   gpb_kernel_id (hosted->kernel), stood_ns / (uint64_t) GPB_NS_PER_MS, seat->lane,
                   self->shared->index);
    gpb_log (self->config, GPB_LOG_ERROR, "%s", error.text);
    if (self->stuck)
        self->stuck (self->stuck_context, error.text);
    gpb_resident_quarantine (hosted->resident, seat->lane);
    gpb_host_fail_lane (self, hosted, seat->lane, &error);
}

//  A launch for one message does not end, and all behind it wait.
static void
s_give_up_launches (gpb_host_t *self, gpb_hosted_t *hosted)
{
    gpb_error_set (&hosted->failure, GPB_FAILED_PRECONDITION,
                   "a launch of kernel %s on device %u does not end",
                   gpb_kernel_id (hosted->kernel), self->shared->index);
    gpb_log (self->config, GPB_LOG_ERROR, "%s", hosted->failure.text);
    if (self->stuck)
        self->stuck (self->stuck_context, hosted->failure.text);
    hosted->retry_ns = UINT64_MAX;
    const gpb_error_t error = hosted->failure;
    gpb_host_fail_waiting (self, hosted, &error);
}

int
gpb_host_check_lanes (gpb_host_t *self)
{
    const uint64_t now_ns = gpb_clock_ns ();
    uint64_t next_ns = UINT64_MAX;
    for (unsigned number = 0; number < self->seats_count; number++) {
        gpb_seat_t *seat = &self->seats [number];
        if (!seat->hosted || s_lane (seat)->state == GPB_LANE_QUARANTINED)
            continue;
        gpb_hosted_lane_t *lane = &seat->hosted->lanes [seat->lane];
        uint64_t stood_ns = now_ns - lane->progress_ns, at_ns;
        if (gpb_ring_waiting (&s_lane (seat)->ring) == 0) {
            at_ns = lane->progress_ns + self->idle_ns;
            if (stood_ns >= self->idle_ns) {
                gpb_resident_park (seat->hosted->resident, seat->lane);
                continue;    //  its launch tells when it has ended
            }
        }
        else {
            if (self->timeout_ns && stood_ns >= self->timeout_ns) {
                s_quarantine (self, seat, stood_ns);
                continue;
            }
            at_ns = now_ns + LOOK_NS;
        }
        next_ns = at_ns < next_ns ? at_ns : next_ns;
    }
    for (gpb_hosted_t *hosted = self->hosted; hosted; hosted = hosted->next)
        if (hosted->launched_count > 0 && hosted->retry_ns != UINT64_MAX && self->timeout_ns) {
            if (now_ns - hosted->once_progress_ns >= self->timeout_ns)
                s_give_up_launches (self, hosted);
            next_ns = now_ns + LOOK_NS < next_ns ? now_ns + LOOK_NS : next_ns;
        }
    return next_ns < UINT64_MAX ? gpb_wait_ms (now_ns, next_ns) : -1;
}

//  Nothing else is done meanwhile, but that answers which are there leave: whoever asks waits too.
bool
gpb_host_park_all (gpb_host_t *self, uint64_t timeout_ms)
{
    const uint64_t end_ns = gpb_clock_ns () + timeout_ms * GPB_NS_PER_MS;
    while (true) {
        unsigned seated = 0;
        gpb_host_settle (self);
        for (unsigned number = 0; number < self->seats_count; number++)
            if (self->seats [number].hosted) {
                gpb_resident_park (self->seats [number].hosted->resident,
                                   self->seats [number].lane);
                seated++;
            }
        if (seated == 0)
            return true;
        if (gpb_clock_ns () >= end_ns)
            return false;
        struct pollfd item = { self->shared->host_fd, POLLIN, 0 };
        poll (&item, 1, 1);
    }
}

gpb_status_t
gpb_host_hold (gpb_host_t *self, gpb_error_t *error)
{
    for (unsigned seat = 0; seat < self->seats_count; seat++)
        if (self->seats [seat].hosted
            && s_lane (&self->seats [seat])->state == GPB_LANE_QUARANTINED)
            return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED,
                                  "nothing can be loaded on device %u, since a handler of kernel "
                                  "%s does not return",
                                  self->shared->index,
                                  gpb_kernel_id (self->seats [seat].hosted->kernel));
    const uint64_t timeout_ms = gpb_config_number (self->config, "drain_ms");
    if (!gpb_host_park_all (self, timeout_ms))
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED,
                              "nothing can be loaded on device %u, since a persistent kernel did "
                              "not return within %" PRIu64 " ms",
                              self->shared->index, timeout_ms);
    self->is_held = true;
    return GPB_OK;
}
