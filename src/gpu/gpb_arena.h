//  gpb_arena - the allocator: blocks carved out of large chunks of another resource
//
//  A two-level segregated fit (Masmano, Ripoll, Crespo and Real, "TLSF: a new dynamic memory
//  allocator for real-time systems", 2004). Allocating and deallocating cost the same few dozen
//  nanoseconds whether a thousand blocks are out or a hundred thousand, and nothing is asked of the
//  heap meanwhile, but that the table of descriptors doubles when it is full. Descriptors stand in
//  host memory, since the host cannot read a device's; blocks that come back are joined with their
//  free neighbours at once.
//
//  What is free is bounded in bytes (keep_size), never by a count: beyond it, chunks that are
//  wholly free go back to where they came from. Where that has no more, all of them do, and it is
//  asked once more.
//
//  One thread at a time.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_ARENA_H_INCLUDED
#define GPB_ARENA_H_INCLUDED

#include "gpb_resource.h"

typedef struct {
    //  Of every block's offset and size, in bytes; a power of two. 0, and whatever is below it, is
    //  GPB_MEMORY_ALIGNMENT. What the arena wraps gives offsets that are multiples of it.
    uint64_t alignment;

    //  Free bytes beyond this go back, as far as they make wholly free chunks.
    uint64_t keep_size;

    //  No chunk is larger than this, but for one block that is (gpb_device_info_t's
    //  max_allocation); 0: no bound.
    uint64_t chunk_max_size;
} gpb_arena_options_t;

//  Sizes are bytes; those of blocks, but for requested.
typedef struct {
    uint64_t in_use;       //  of blocks that are out
    uint64_t requested;    //  that these were asked to have
    uint64_t kept;         //  free
    uint64_t held;         //  in_use and kept: what the chunks have
    uint64_t in_use_high_water, held_high_water;
    uint64_t largest_free;    //  of the largest free block
    uint64_t trimmable;       //  of kept, in chunks that are wholly free
    uint64_t blocks_in_use, blocks_kept, chunks;
    uint64_t kept_by_class [64];    //  entry i: free blocks of 2^i bytes and more, below 2^(i+1)
    uint64_t hits, misses;          //  allocations served from chunks that were held; by a new one
    uint64_t trims;                 //  chunks that went back
    double internal_fragmentation;    //  (in_use - requested) / in_use; 0 where nothing is in use
    double external_fragmentation;    //  1 - largest_free / kept; 0 where nothing is kept
} gpb_arena_figures_t;

//  Takes what it wraps in any case: *upstream_p becomes NULL. NULL only when memory runs out.
gpb_resource_t *gpb_arena_new (gpb_resource_t **upstream_p, const gpb_arena_options_t *options,
                               gpb_error_t *error);

//  The arena's figures; self is one that gpb_arena_new made. Costs the copy of the structure, and
//  now and then a walk through the free blocks that are within 3 % of the largest.
void gpb_arena_figures (gpb_resource_t *self, gpb_arena_figures_t *figures);

//  in_use and kept of the figures, for who asks for every launch.
uint64_t gpb_arena_in_use (const gpb_resource_t *self);
uint64_t gpb_arena_kept (const gpb_resource_t *self);

#endif
