//  gpb_heap - a binary heap, intrusive: of deadlines, of turns
//
//  The array's element i has its children at 2i + 1 and 2i + 2, and no child is smaller than its
//  parent. It doubles when it is full and never shrinks: it is as large as the most that ever
//  waited at once.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_heap.h"

#include "gpb_alloc.h"

#define FIRST_CAPACITY 16

static void
s_place (gpb_heap_t *self, size_t index, gpb_heap_node_t *node)
{
    self->nodes [index] = node;
    node->position = index + 1;
}

static bool
s_is_smaller (const gpb_heap_node_t *one, const gpb_heap_node_t *other)
{
    return one->key < other->key || (one->key == other->key && one->tie < other->tie);
}

//  Moves what stands at index toward the root while its parent is larger.
static void
s_rise (gpb_heap_t *self, size_t index)
{
    gpb_heap_node_t *node = self->nodes [index];
    while (index > 0 && s_is_smaller (node, self->nodes [(index - 1) / 2])) {
        s_place (self, index, self->nodes [(index - 1) / 2]);
        index = (index - 1) / 2;
    }
    s_place (self, index, node);
}

//  Moves what stands at index away from the root while a child is smaller.
static void
s_sink (gpb_heap_t *self, size_t index)
{
    gpb_heap_node_t *node = self->nodes [index];
    while (2 * index + 1 < self->count) {
        size_t child = 2 * index + 1;
        if (child + 1 < self->count && s_is_smaller (self->nodes [child + 1], self->nodes [child]))
            child++;
        if (!s_is_smaller (self->nodes [child], node))
            break;
        s_place (self, index, self->nodes [child]);
        index = child;
    }
    s_place (self, index, node);
}

bool
gpb_heap_reserve (gpb_heap_t *self, size_t more)
{
    size_t capacity = self->capacity ? self->capacity : FIRST_CAPACITY;
    while (capacity < self->count + more)
        capacity *= 2;
    if (capacity == self->capacity)
        return true;
    void *nodes = gpb_realloc (self->nodes, capacity, sizeof (gpb_heap_node_t *));
    if (!nodes)
        return false;
    self->nodes = nodes;
    self->capacity = capacity;
    return true;
}

bool
gpb_heap_add (gpb_heap_t *self, gpb_heap_node_t *node)
{
    if (!gpb_heap_reserve (self, 1))
        return false;
    s_place (self, self->count++, node);
    s_rise (self, self->count - 1);
    return true;
}

void
gpb_heap_remove (gpb_heap_t *self, gpb_heap_node_t *node)
{
    if (!node->position)
        return;
    size_t index = node->position - 1;
    node->position = 0;
    gpb_heap_node_t *last = self->nodes [--self->count];
    if (last == node)
        return;
    s_place (self, index, last);
    s_rise (self, index);
    s_sink (self, last->position - 1);
}

gpb_heap_node_t *
gpb_heap_first (const gpb_heap_t *self)
{
    return self->count ? self->nodes [0] : NULL;
}

void
gpb_heap_clear (gpb_heap_t *self)
{
    gpb_free (self->nodes);
    *self = (gpb_heap_t){ .nodes = NULL };
}
