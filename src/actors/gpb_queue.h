//  gpb_queue - the requests that wait for one set of devices, and which of them is next
//
//  The higher priority is first. What has waited aging_ns goes up one priority, so that none waits
//  for ever behind those that matter more: not where its client got something of that priority
//  meanwhile, since then it waits behind its own, and a flood would age past everybody. Within a
//  priority, clients take turns: a turn is GPB_QUEUE_TURN_NS of device time, whoever has had the
//  fewest is first, and one that comes back after it had nothing waiting starts where the others
//  are (start-time fair queueing; Goyal, Vin, Cheng 1996). So a client that floods the node waits
//  for itself. Within a turn the earliest deadline is first, then the one that came first.
//  Deadlines come after turns since a deadline is its client's own word: between strangers, whoever
//  said the shortest would always win.
//
//  Requests of one client that name memory (handles) leave in the order in which they came,
//  whatever their priorities and deadlines: write, execute and read may be sent one behind the
//  other.
//
//  Adding, removing and looking cost O(log n) of n waiting; no allocation, once a client has waited
//  in a queue before and its heap has grown. Pure logic, no sockets; one thread: the broker's.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_QUEUE_H_INCLUDED
#define GPB_QUEUE_H_INCLUDED

#include "gpb_entry.h"

#define GPB_QUEUE_LEVELS (GPB_PRIORITY_MAX - GPB_PRIORITY_MIN + 1)

//  A quarter of what a device holds at once (gpb_placement.h): long enough for deadlines to decide
//  between short requests, short enough that who comes back is not kept waiting by it.
#define GPB_QUEUE_TURN_NS 250000

typedef struct _gpb_queue_t gpb_queue_t;

//  What all queues of a node share.
typedef struct {
    uint64_t aging_ns;
    uint64_t served_ns;    //  of the client that was served last, before it was: where one that
                           //  comes back starts
    uint64_t sequence;     //  counts what is added
    uint64_t aged;         //  counts the steps up
} gpb_queue_clock_t;

//  clock is borrowed for the life of self. NULL only when memory runs out.
gpb_queue_t *gpb_queue_new (uint64_t devices, gpb_queue_clock_t *clock);

//  Nothing may wait in it, and gpb_tenant_clear must have been called for all that ever did.
void gpb_queue_destroy (gpb_queue_t **self_p);

//  The set of devices; an empty queue may serve for another set.
uint64_t gpb_queue_devices (const gpb_queue_t *self);
void gpb_queue_set_devices (gpb_queue_t *self, uint64_t devices);

//  Adds an entry, whose client is set. RESOURCE_EXHAUSTED when memory runs out; then nothing has
//  changed.
gpb_status_t gpb_queue_add (gpb_queue_t *self, gpb_entry_t *entry, uint64_t now_ns,
                            gpb_error_t *error);

//  Takes out an entry that waits, from whichever queue it is in: take starts it, remove gives it
//  up.
void gpb_queue_take (gpb_entry_t *entry, uint64_t now_ns);
void gpb_queue_remove (gpb_entry_t *entry);

//  The next one, which stays; NULL where nothing waits.
gpb_entry_t *gpb_queue_first (gpb_queue_t *self);

//  Whether one entry that waits goes before another; of the firsts of two queues.
bool gpb_queue_before (const gpb_entry_t *one, const gpb_entry_t *other);

//  Moves up what has waited long enough.
void gpb_queue_age (gpb_queue_t *self, uint64_t now_ns);

//  How many wait at a level (0 is the lowest priority), and in all.
uint64_t gpb_queue_depth_at (const gpb_queue_t *self, unsigned level);
uint64_t gpb_queue_depth (const gpb_queue_t *self);

//  Counts device time that a client gets.
void gpb_tenant_charge (gpb_tenant_t *tenant, gpb_queue_clock_t *clock, uint64_t cost_ns);

//  Frees what the queues keep of a client that has nothing waiting.
void gpb_tenant_clear (gpb_tenant_t *tenant);

#endif
