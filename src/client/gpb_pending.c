//  gpb_pending - what is in flight, found by id, and by the nearest deadline
//
//  Finding is one multiplication and a short walk; inserting and removing are O(log n) for the
//  heap. Removing shifts the entries behind the gap back (Knuth, TAOCP 3, 6.4, algorithm R), so
//  that the table holds no tombstones and never needs to be rebuilt while it does not grow.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_pending.h"

#include "gpb_alloc.h"

#include <assert.h>

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

static void
s_put (gpb_pending_t *self, size_t index, gpb_reply_t *reply)
{
    self->heap [index] = reply;
    reply->heap_index = index;
}

//  Puts reply where it belongs, starting from a free place of the heap.
static void
s_sift (gpb_pending_t *self, size_t index, gpb_reply_t *reply)
{
    while (index > 0 && reply->deadline_ns < self->heap [(index - 1) / 2]->deadline_ns) {
        s_put (self, index, self->heap [(index - 1) / 2]);
        index = (index - 1) / 2;
    }
    for (size_t child; (child = 2 * index + 1) < self->count; index = child) {
        if (child + 1 < self->count
            && self->heap [child + 1]->deadline_ns < self->heap [child]->deadline_ns)
            child++;
        if (reply->deadline_ns <= self->heap [child]->deadline_ns)
            break;
        s_put (self, index, self->heap [child]);
    }
    s_put (self, index, reply);
}

void
gpb_pending_clear (gpb_pending_t *self)
{
    gpb_free (self->slots);
    gpb_free (self->heap);
    *self = (gpb_pending_t){ 0 };
}

static gpb_status_t
s_grow (gpb_pending_t *self, gpb_error_t *error)
{
    size_t capacity = self->capacity ? self->capacity * 2 : S_CAPACITY_FIRST;
    gpb_reply_t **heap = gpb_realloc (self->heap, capacity / 2, sizeof *heap);
    if (heap)
        self->heap = heap;
    gpb_reply_t **slots = heap ? gpb_alloc (capacity, sizeof *slots) : NULL;
    if (!slots)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED,
                              "no memory for more than %zu requests in flight", self->count);
    gpb_free (self->slots);
    self->slots = slots;
    self->capacity = capacity;
    for (size_t index = 0; index < self->count; index++)
        s_place (self, self->heap [index]);
    return GPB_OK;
}

gpb_status_t
gpb_pending_insert (gpb_pending_t *self, gpb_reply_t *reply, gpb_error_t *error)
{
    if (self->count * 2 >= self->capacity) {
        gpb_status_t status = s_grow (self, error);
        if (status != GPB_OK)
            return status;
    }
    s_place (self, reply);
    self->count++;
    s_sift (self, self->count - 1, reply);
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
    return self->count ? self->slots [s_find (self, id)] : NULL;
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

    size_t index = reply->heap_index;
    gpb_reply_t *last = self->heap [--self->count];
    if (last != reply)
        s_sift (self, index, last);
}

gpb_reply_t *
gpb_pending_next (const gpb_pending_t *self)
{
    return self->count ? self->heap [0] : NULL;
}
