//  gpb_heap - a binary heap, intrusive: of deadlines, of turns
//
//  Whoever waits for a time embeds a node; the heap holds pointers to nodes and keeps the earliest
//  on top: adding and removing cost O(log n) of n waiting, looking at the earliest O(1). One thread
//  at a time.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_HEAP_H_INCLUDED
#define GPB_HEAP_H_INCLUDED

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

//  A structure of zeros is a node that waits for nothing, and an empty heap.
typedef struct {
    uint64_t key;       //  what is ordered by: a time in ns
    uint64_t tie;       //  what those of one key are ordered by
    size_t position;    //  in the heap, from 1; 0: in none
} gpb_heap_node_t;

typedef struct {
    gpb_heap_node_t **nodes;    //  nodes [0] is the earliest
    size_t count;
    size_t capacity;
} gpb_heap_t;

//  Adds a node that is in no heap; key and tie are set by the caller. False when memory runs out.
bool gpb_heap_add (gpb_heap_t *self, gpb_heap_node_t *node);

//  Makes room for so many more nodes, so that adding them cannot fail. False when memory runs out.
bool gpb_heap_reserve (gpb_heap_t *self, size_t more);

//  Takes a node out, if it is in.
void gpb_heap_remove (gpb_heap_t *self, gpb_heap_node_t *node);

//  The node with the smallest key; NULL where there is none.
gpb_heap_node_t *gpb_heap_first (const gpb_heap_t *self);

//  Frees what the heap itself has. Nodes that are still in are the caller's.
void gpb_heap_clear (gpb_heap_t *self);

#endif
