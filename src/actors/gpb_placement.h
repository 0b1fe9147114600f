//  gpb_placement - a node's devices as its broker sees them, the queues before them, and who gets
//  what
//
//  Requests wait here, not in the devices: one is handed over only when a device that may have it
//  has a credit, so that the first device to be free takes the next request. A credit covers what
//  is worth having on the device: at least 2 requests (one computes while the next is handed over),
//  at most 64, and between them as many as 1 ms holds, by the device's own pace. Where several
//  devices have a credit, the least expected wait wins, then the most available memory.
//
//  A queue (gpb_queue.h) holds the requests that the same set of devices may have; a device takes
//  the one that goes before all others at the heads of its queues. So what is bound to one device
//  blocks nobody who is not. What waits is bounded in requests and in bytes, for the node, for each
//  device (of what it alone may have) and for each client.
//
//  Of the node's bound and of the device's, a client may have as much waiting as is still free then
//  (dynamic thresholds, with alpha = 1; Choudhury, Hahne 1998). One that floods the node gets half,
//  and whoever comes finds the other half; once what waits has moved on a while, N such clients
//  have 1 / (N + 1) each and leave as much. Until then, since what is accepted stays, the room that
//  is left may halve with each of them.
//
//  A client here is a connection, and all connections of one key together are one more: who opens
//  many with one key has no more than with one. Of those without a key nobody knows which belong
//  together, so that whoever opens N of them is N clients, up to max_connections: what is left to
//  the others is small then, and only keys help.
//
//  Pure logic, no sockets; one thread: the broker's.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_PLACEMENT_H_INCLUDED
#define GPB_PLACEMENT_H_INCLUDED

#include "gpb_histogram.h"
#include "gpb_kernel.h"
#include "gpb_queue.h"

typedef enum {
    GPB_DEVICE_STARTING,
    GPB_DEVICE_READY,
    GPB_DEVICE_LOST,
    GPB_DEVICE_STOPPING,
    GPB_DEVICE_RESTARTING    //  it comes back, with all its memory: requests wait for it
} gpb_device_state_t;

typedef struct {
    gpb_device_info_t info;    //  zeros until it is READY
    char backend [32];
    gpb_device_state_t state;
    char reason [512];            //  why, where it is not READY
    uint64_t restarts;            //  times that it was lost, as it said last
    uint64_t running_ns;          //  Gpb__V1__Device.running_ns, as it said last
    uint64_t careful_until_ns;    //  gpb_clock_ns (): it gets one request at a time
    uint64_t available_memory;    //  bytes, as it said last
    uint64_t promised_memory;     //  bytes that rents on their way to it will take
    uint32_t in_flight;           //  requests that it has
    gpb_amount_t queue;           //  what waits and may become its
    uint64_t service_ns;    //  smoothed time that it is busy with one request, by its own word or
                            //  else from answer to answer; 0: not known yet
    uint64_t last_answer_ns;
    uint64_t processed, failed;
    gpb_histogram_t latency;    //  from receiving a request to its answer
    gpb_histogram_minute_t latency_minute;
    gpb_histogram_t queued;    //  from receiving a request to handing it over

    //  The hosting's (gpb_hosting.h)
    bool has_host;                   //  it takes messages of persistent kernels
    char host_reason [512];          //  why it has none
    uint64_t hosted, hosted_size;    //  messages that its host has, and their bytes
    uint64_t host_pace_ns;           //  smoothed time from one of the host's answers to the next,
                                     //  while it has messages; 0: not known yet
    uint64_t last_host_answer_ns;
} gpb_placed_device_t;

typedef struct _gpb_placement_t gpb_placement_t;

//  Bounds of what waits.
typedef struct {
    gpb_amount_t node, device, client;
    uint64_t aging_ns;    //  gpb_queue.h
} gpb_placement_options_t;

gpb_placement_t *gpb_placement_new (unsigned devices, const gpb_placement_options_t *options,
                                    gpb_error_t *error);

//  Nothing may wait any more, but where the clients of what waits are gone as well.
void gpb_placement_destroy (gpb_placement_t **self_p);

unsigned gpb_placement_devices (const gpb_placement_t *self);
gpb_placed_device_t *gpb_placement_device (gpb_placement_t *self, unsigned index);

//  What a request asks of its device.
typedef struct {
    bool has_device;
    uint64_t device;               //  this one and no other
    const gpb_kernel_t *kernel;    //  its capabilities; NULL: none
    char *const *require;          //  more capabilities
    size_t require_count;
    uint64_t memory;    //  bytes that must be available
    uint64_t takes;     //  bytes that it will take of them for good: a rent, a reservation
    bool is_bound;      //  it names memory, and keeps its place among its client's that do
    bool is_hosted;     //  its kernel stays on its devices: it goes to a kernel host
    uint64_t lane;      //  of such a one: its key and its kernel, hashed; 0: it has no key
} gpb_constraints_t;

//  The set of devices that fit, bit by bit. NOT_FOUND: no such device; UNAVAILABLE: it is lost, or
//  the node has none (notice says why); FAILED_PRECONDITION: none has the capabilities, or the
//  kernel host where one is needed, or may have the kernel stay there; RESOURCE_EXHAUSTED: none has
//  the memory; each device and its reason is named.
gpb_status_t gpb_placement_fit (gpb_placement_t *self, const gpb_constraints_t *constraints,
                                const char *notice, uint64_t *devices_p, gpb_error_t *error);

//  A request that is not accepted yet.
typedef struct {
    const gpb_waiting_t *client;    //  what waits of its connection; NULL: nothing
    const gpb_waiting_t *key;       //  of all of its key; NULL: it came in without one
    uint64_t devices;
    uint64_t size;    //  bytes
} gpb_arrival_t;

//  Whether there is room for one more request. RESOURCE_EXHAUSTED says the bound, what waits under
//  it, and whose, and *retry_after_ms when a sixteenth of that should be done, by the devices' own
//  pace; 0: it is too large for any time.
gpb_status_t gpb_placement_admit (gpb_placement_t *self, const gpb_arrival_t *arrival,
                                  uint32_t *retry_after_ms, gpb_error_t *error);

//  Puts an entry, whose devices are set, into its queue, and counts it as its client's and its
//  key's until it leaves it. RESOURCE_EXHAUSTED when memory runs out.
gpb_status_t gpb_placement_queue (gpb_placement_t *self, gpb_entry_t *entry, uint64_t now_ns,
                                  gpb_error_t *error);

//  Takes an entry that waits out of its queue.
void gpb_placement_unqueue (gpb_placement_t *self, gpb_entry_t *entry);

//  The next entry to hand over, out of its queue now, and counted as in flight on its device
//  (entry->device). NULL: nothing that waits has a device with a credit.
gpb_entry_t *gpb_placement_next (gpb_placement_t *self, uint64_t now_ns);

//  Moves up what has waited long enough. To be called now and then while anything waits.
void gpb_placement_age (gpb_placement_t *self, uint64_t now_ns);

//  The device has lost all that it had, and comes back or, is_lasting, is not to be waited for.
void gpb_placement_lost (gpb_placement_t *self, unsigned device, const char *reason,
                         bool is_lasting);

//  A device serves; again: after a loss. Then it gets one request at a time for a second: what has
//  made it crash comes first where it is idempotent, or is asked for again at once, and takes
//  nothing else along.
void gpb_placement_ready (gpb_placement_t *self, unsigned device, uint64_t now_ns);

//  What the device at hand has answered: its credit is back, and its pace is measured. For a
//  request that did not pass through gpb_placement_next, count it in with gpb_placement_took first.
//  (Messages of persistent kernels pass through neither: gpb_hosting.h.)
void gpb_placement_took (gpb_placement_t *self, gpb_entry_t *entry, unsigned device,
                         uint64_t now_ns);
void gpb_placement_answered (gpb_placement_t *self, const gpb_entry_t *entry, bool is_ok,
                             uint64_t now_ns);

//  Counts an answered request into its device's figures, and nothing else.
void gpb_placement_record (gpb_placement_t *self, const gpb_entry_t *entry, bool is_ok,
                           uint64_t now_ns);

//  Exponential smoothing of a time, as the paces are smoothed; 0 stands for no sample yet.
uint64_t gpb_placement_smooth (uint64_t old_ns, uint64_t sample_ns);

//  What waits, and how many requests of it stand at a level (gpb_queue.h).
const gpb_waiting_t *gpb_placement_waiting (const gpb_placement_t *self);
uint64_t gpb_placement_depth_at (const gpb_placement_t *self, unsigned level);

//  Times that a request has gone up a level.
uint64_t gpb_placement_aged (const gpb_placement_t *self);

const gpb_placement_options_t *gpb_placement_options (const gpb_placement_t *self);

#endif
