//  gpb_hosting - messages of persistent kernels that are with kernel hosts, as the broker sees them
//
//  A message waits in its host and not in the broker: it is handed over as soon as it is accepted,
//  to the host with the fewest, or, where it has a key, always to that of the same device as long
//  as that serves: by rendezvous hashing, so that a device which is lost moves only its own keys,
//  and they are back when it is. A device that is restarting gets messages only where none that is
//  ready fits; they are with its supervisor until its process is up.
//
//  Credits and pace (gpb_placement.h) are the device's own, and know nothing of this. What is with
//  the hosts has the bounds of what waits for devices, counted for itself: of the node, of each
//  client, of each host. (A host has its own, of each kernel.) What hosts have answered counts in
//  the figures of their devices.
//
//  Functions over a gpb_placement_t, whose devices hold the counters. One thread: the broker's.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_HOSTING_H_INCLUDED
#define GPB_HOSTING_H_INCLUDED

#include "gpb_placement.h"

//  A key of a kernel's messages as a number, never 0.
uint64_t gpb_hosting_lane (const char *kernel, uint64_t lane_key);

//  A device's host takes messages; or there is none, and why.
void gpb_hosting_open (gpb_placement_t *self, unsigned device);
void gpb_hosting_refuse (gpb_placement_t *self, unsigned device, const char *reason);

//  The device whose host gets a message of this lane (gpb_entry_t), of a set of devices that fit
//  and is not empty.
unsigned gpb_hosting_choose (gpb_placement_t *self, uint64_t devices, uint64_t lane);

//  Whether there is room for one more message of a client (NULL: it has none) with so many bytes.
//  RESOURCE_EXHAUSTED says the bound, and *retry_after_ms when a sixteenth of what the host has
//  should be done, by its own pace; 0 where it would never fit.
gpb_status_t gpb_hosting_admit (gpb_placement_t *self, const gpb_tenant_t *tenant, unsigned device,
                                uint64_t size, uint32_t *retry_after_ms, gpb_error_t *error);

//  A message is handed over to a device's host.
void gpb_hosting_took (gpb_placement_t *self, gpb_entry_t *entry, unsigned device, uint64_t now_ns);

//  Its host has answered it, or will not.
void gpb_hosting_answered (gpb_placement_t *self, const gpb_entry_t *entry, bool is_ok,
                           uint64_t now_ns);

#endif
