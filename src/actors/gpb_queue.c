//  gpb_queue - the requests that wait for one set of devices, and which of them is next
//
//      queue
//        level 6 (priority 3)   heap of flows, by their client's turn
//        ...                      flow: one client's entries, a heap by deadline
//        level 0 (priority -3)  and all entries of the level in the order of entering it, for aging
//
//  A client's turn counts up while its flows wait in other heaps than the one that it is served
//  from: a flow's key is put right when it comes to the top, which is soon enough, since turns only
//  grow. A flow stays with its client when it is empty, since what a client waited in once it will
//  wait in again.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_queue.h"

#include "gpb_alloc.h"

typedef struct gpb_flow {
    gpb_heap_node_t turn;    //  key: the client's turn when it was set; tie: the earliest deadline
    gpb_heap_t entries;
    gpb_tenant_t *tenant;
    gpb_queue_t *queue;
    unsigned level;
    uint64_t taken_ns;        //  when one of its entries was started last
    struct gpb_flow *next;    //  of the client
} s_flow_t;

typedef struct {
    gpb_heap_t flows;             //  those that have entries
    gpb_entry_t *first, *last;    //  in the order of entering
    uint64_t depth;
} s_level_t;

struct _gpb_queue_t {
    uint64_t devices;
    gpb_queue_clock_t *clock;
    s_level_t levels [GPB_QUEUE_LEVELS];
    uint64_t depth;
};

static gpb_entry_t *
s_entry_of (gpb_heap_node_t *rank)
{
    return rank ? (gpb_entry_t *) ((char *) rank - offsetof (gpb_entry_t, rank)) : NULL;
}

//  turn is a flow's first member.
static s_flow_t *
s_flow_of (gpb_heap_node_t *turn)
{
    return (s_flow_t *) turn;
}

gpb_queue_t *
gpb_queue_new (uint64_t devices, gpb_queue_clock_t *clock)
{
    gpb_queue_t *self = gpb_alloc (1, sizeof *self);
    if (self) {
        self->devices = devices;
        self->clock = clock;
    }
    return self;
}

void
gpb_queue_destroy (gpb_queue_t **self_p)
{
    gpb_queue_t *self = *self_p;
    if (!self)
        return;
    *self_p = NULL;
    for (unsigned level = 0; level < GPB_QUEUE_LEVELS; level++)
        gpb_heap_clear (&self->levels [level].flows);
    gpb_free (self);
}

uint64_t
gpb_queue_devices (const gpb_queue_t *self)
{
    return self->devices;
}

void
gpb_queue_set_devices (gpb_queue_t *self, uint64_t devices)
{
    self->devices = devices;
}

//  ---------------------------------------------------------------------------------------------------------
//  Flows

//  The client's flow for a level of this queue, the one it used last being found first. NULL when
//  memory runs out.
static s_flow_t *
s_flow_for (gpb_queue_t *self, gpb_tenant_t *tenant, unsigned level)
{
    s_flow_t **link = &tenant->flows;
    while (*link && ((*link)->queue != self || (*link)->level != level))
        link = &(*link)->next;
    s_flow_t *flow = *link;
    if (flow)
        *link = flow->next;
    else {
        flow = gpb_alloc (1, sizeof *flow);
        if (!flow)
            return NULL;
        flow->queue = self;
        flow->level = level;
        flow->tenant = tenant;
    }
    flow->next = tenant->flows;
    tenant->flows = flow;
    return flow;
}

//  The same, with room for one more entry. NULL when memory runs out.
static s_flow_t *
s_room (gpb_queue_t *self, gpb_tenant_t *tenant, unsigned level)
{
    s_flow_t *flow = s_flow_for (self, tenant, level);
    return flow && gpb_heap_reserve (&flow->entries, 1)
                   && gpb_heap_reserve (&self->levels [level].flows, 1)
               ? flow
               : NULL;
}

//  Puts a flow where its client's turn and its earliest deadline belong. There is room.
static void
s_flow_place (s_flow_t *flow)
{
    gpb_heap_t *heap = &flow->queue->levels [flow->level].flows;
    const gpb_heap_node_t *first = gpb_heap_first (&flow->entries);
    gpb_heap_remove (heap, &flow->turn);
    if (!first)
        return;
    flow->turn.key = flow->tenant->served_ns / GPB_QUEUE_TURN_NS;
    flow->turn.tie = first->key;
    gpb_heap_add (heap, &flow->turn);
}

//  Puts an entry at the end of its level's list.
static void
s_link (gpb_entry_t *entry, uint64_t now_ns)
{
    s_level_t *level = &entry->flow->queue->levels [entry->level];
    entry->entered_ns = now_ns;
    entry->queue_previous = level->last;
    entry->queue_next = NULL;
    if (level->last)
        level->last->queue_next = entry;
    else
        level->first = entry;
    level->last = entry;
    level->depth++;
}

static void
s_unlink (gpb_entry_t *entry)
{
    s_level_t *level = &entry->flow->queue->levels [entry->level];
    if (entry->queue_previous)
        entry->queue_previous->queue_next = entry->queue_next;
    else
        level->first = entry->queue_next;
    if (entry->queue_next)
        entry->queue_next->queue_previous = entry->queue_previous;
    else
        level->last = entry->queue_previous;
    entry->queue_previous = entry->queue_next = NULL;
    level->depth--;
}

//  Puts an entry into a flow that has room.
static void
s_enter (s_flow_t *flow, gpb_entry_t *entry, uint64_t now_ns)
{
    gpb_heap_add (&flow->entries, &entry->rank);
    if (gpb_heap_first (&flow->entries) == &entry->rank)
        s_flow_place (flow);
    entry->flow = flow;
    entry->level = flow->level;
    s_link (entry, now_ns);
}

static void
s_leave (gpb_entry_t *entry)
{
    s_flow_t *flow = entry->flow;
    bool was_first = gpb_heap_first (&flow->entries) == &entry->rank;
    gpb_heap_remove (&flow->entries, &entry->rank);
    if (was_first)
        s_flow_place (flow);
    s_unlink (entry);
    entry->flow = NULL;
}

//  ---------------------------------------------------------------------------------------------------------
//  Entries

//  One that names memory goes behind those of its client that do.
static void
s_keep_order (gpb_entry_t *entry)
{
    const gpb_entry_t *before = entry->tenant->bound_last;
    if (!entry->is_bound || !before)
        return;
    if (entry->level > before->level)
        entry->level = before->level;
    if (entry->rank.key < before->rank.key)
        entry->rank.key = before->rank.key;
}

static void
s_link_bound (gpb_entry_t *entry)
{
    gpb_tenant_t *tenant = entry->tenant;
    if (!entry->is_bound)
        return;
    entry->bound_previous = tenant->bound_last;
    entry->bound_next = NULL;
    if (tenant->bound_last)
        tenant->bound_last->bound_next = entry;
    tenant->bound_last = entry;
}

static void
s_unlink_bound (gpb_entry_t *entry)
{
    if (!entry->is_bound)
        return;
    if (entry->bound_previous)
        entry->bound_previous->bound_next = entry->bound_next;
    if (entry->bound_next)
        entry->bound_next->bound_previous = entry->bound_previous;
    else
        entry->tenant->bound_last = entry->bound_previous;
    entry->bound_previous = entry->bound_next = NULL;
}

gpb_status_t
gpb_queue_add (gpb_queue_t *self, gpb_entry_t *entry, uint64_t now_ns, gpb_error_t *error)
{
    gpb_tenant_t *tenant = entry->tenant;
    if (tenant->depth == 0 && tenant->served_ns < self->clock->served_ns)
        tenant->served_ns = self->clock->served_ns;
    entry->level = (unsigned) (entry->priority - GPB_PRIORITY_MIN);
    entry->rank.key = entry->deadline.key;
    entry->rank.tie = self->clock->sequence++;
    s_keep_order (entry);
    s_flow_t *flow = s_room (self, tenant, entry->level);
    if (!flow)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a queue");
    s_enter (flow, entry, now_ns);
    s_link_bound (entry);
    tenant->depth++;
    self->depth++;
    return GPB_OK;
}

void
gpb_queue_take (gpb_entry_t *entry, uint64_t now_ns)
{
    entry->flow->taken_ns = now_ns;
    gpb_queue_remove (entry);
}

void
gpb_queue_remove (gpb_entry_t *entry)
{
    entry->flow->queue->depth--;
    s_leave (entry);
    s_unlink_bound (entry);
    entry->tenant->depth--;
}

gpb_entry_t *
gpb_queue_first (gpb_queue_t *self)
{
    for (unsigned level = GPB_QUEUE_LEVELS; self->depth && level-- > 0;) {
        gpb_heap_node_t *turn;
        while ((turn = gpb_heap_first (&self->levels [level].flows))) {
            s_flow_t *flow = s_flow_of (turn);
            if (turn->key == flow->tenant->served_ns / GPB_QUEUE_TURN_NS)
                return s_entry_of (gpb_heap_first (&flow->entries));
            s_flow_place (flow);
        }
    }
    return NULL;
}

bool
gpb_queue_before (const gpb_entry_t *one, const gpb_entry_t *other)
{
    if (one->level != other->level)
        return one->level > other->level;
    if (one->flow->turn.key != other->flow->turn.key)
        return one->flow->turn.key < other->flow->turn.key;
    if (one->rank.key != other->rank.key)
        return one->rank.key < other->rank.key;
    return one->rank.tie < other->rank.tie;
}

void
gpb_queue_age (gpb_queue_t *self, uint64_t now_ns)
{
    for (unsigned level = 0; level + 1 < GPB_QUEUE_LEVELS; level++) {
        gpb_entry_t *entry;
        while ((entry = self->levels [level].first)
               && now_ns - entry->entered_ns >= self->clock->aging_ns) {
            if (now_ns - entry->flow->taken_ns < self->clock->aging_ns) {
                s_unlink (entry);
                s_link (entry, now_ns);
                continue;
            }
            //  Without the memory for it, it stays where it is until the next look.
            s_flow_t *flow = s_room (self, entry->tenant, level + 1);
            if (!flow)
                break;
            s_leave (entry);
            s_enter (flow, entry, now_ns);
            self->clock->aged++;
        }
    }
}

uint64_t
gpb_queue_depth_at (const gpb_queue_t *self, unsigned level)
{
    return self->levels [level].depth;
}

uint64_t
gpb_queue_depth (const gpb_queue_t *self)
{
    return self->depth;
}

//  ---------------------------------------------------------------------------------------------------------
//  Clients

void
gpb_tenant_charge (gpb_tenant_t *tenant, gpb_queue_clock_t *clock, uint64_t cost_ns)
{
    if (clock->served_ns < tenant->served_ns)
        clock->served_ns = tenant->served_ns;
    tenant->served_ns += cost_ns;
}

void
gpb_tenant_clear (gpb_tenant_t *tenant)
{
    while (tenant->flows) {
        s_flow_t *flow = tenant->flows;
        tenant->flows = flow->next;
        gpb_heap_clear (&flow->entries);
        gpb_free (flow);
    }
}
