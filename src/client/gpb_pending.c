//  gpb_pending - what is in flight, found by id, and by the nearest deadline
//
//  Finding is one multiplication and a short walk; inserting and removing are O(log n) for
//  gpb_heap. Removing shifts the entries behind the gap back (Knuth, TAOCP 3, 6.4, algorithm R), so
//  that the table holds no tombstones and never needs to be rebuilt while it does not grow.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_pending.h"

#include "gpb_alloc.h"

#include <assert.h>
#include <stddef.h>

#define S_CAPACITY_FIRST 64

static size_t
s_home (const gpb_pending_t *self, uint64_t id)
{
    //  Fibonacci hashing: its high bits are the good ones.
    return (size_t) ((id * 0x9E3779B97F4A7C15ULL) >> 32) & (self->capacity - 1);
}

static void
s_place (gpb_pending_t *self, gpb_reply_t *reply)
{
    size_t at = s_home (self, reply->id);
    while (self->slots [at])
        at = (at + 1) & (self->capacity - 1);
    self->slots [at] = reply;
}

static gpb_reply_t *
s_reply_of (gpb_heap_node_t *node)
{
    return node ? (gpb_reply_t *) ((char *) node - offsetof (gpb_reply_t, deadline)) : NULL;
}

void
gpb_pending_clear (gpb_pending_t *self)
{
    gpb_free (self->slots);
    gpb_heap_clear (&self->deadlines);
    *self = (gpb_pending_t){ .slots = NULL };
}

static bool
s_grow (gpb_pending_t *self)
{
    size_t capacity = self->capacity ? self->capacity * 2 : S_CAPACITY_FIRST;
    gpb_reply_t **slots = gpb_alloc (capacity, sizeof *slots);
    if (!slots)
        return false;
    gpb_free (self->slots);
    self->slots = slots;
    self->capacity = capacity;
    for (size_t index = 0; index < self->deadlines.count; index++)
        s_place (self, s_reply_of (self->deadlines.nodes [index]));
    return true;
}

gpb_status_t
gpb_pending_insert (gpb_pending_t *self, gpb_reply_t *reply, gpb_error_t *error)
{
    size_t count = gpb_pending_count (self);
    bool has_room = count * 2 < self->capacity || s_grow (self);
    if (!has_room || !gpb_heap_add (&self->deadlines, &reply->deadline))
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED,
                              "no memory for more than %zu requests in flight", count);
    s_place (self, reply);
    return GPB_OK;
}

static size_t
s_find (const gpb_pending_t *self, uint64_t id)
{
    size_t at = s_home (self, id);
    while (self->slots [at] && self->slots [at]->id != id)
        at = (at + 1) & (self->capacity - 1);
    return at;
}

gpb_reply_t *
gpb_pending_find (const gpb_pending_t *self, uint64_t id)
{
    return self->capacity ? self->slots [s_find (self, id)] : NULL;
}

void
gpb_pending_remove (gpb_pending_t *self, gpb_reply_t *reply)
{
    size_t mask = self->capacity - 1;
    size_t gap = s_find (self, reply->id);
    assert (self->slots [gap] == reply);
    for (size_t at = (gap + 1) & mask; self->slots [at]; at = (at + 1) & mask)
        //  An entry may fill the gap where its home is not between the gap and itself.
        if (((at - s_home (self, self->slots [at]->id)) & mask) >= ((at - gap) & mask)) {
            self->slots [gap] = self->slots [at];
            gap = at;
        }
    self->slots [gap] = NULL;
    gpb_heap_remove (&self->deadlines, &reply->deadline);
}

void
gpb_pending_reschedule (gpb_pending_t *self, gpb_reply_t *reply, uint64_t key)
{
    gpb_heap_remove (&self->deadlines, &reply->deadline);
    reply->deadline.key = key;
    //  It had room a moment ago.
    bool added = gpb_heap_add (&self->deadlines, &reply->deadline);
    assert (added);
    (void) added;
}

gpb_reply_t *
gpb_pending_next (const gpb_pending_t *self)
{
    return s_reply_of (gpb_heap_first (&self->deadlines));
}

size_t
gpb_pending_count (const gpb_pending_t *self)
{
    return self->deadlines.count;
}
