//  gpb_arena - the allocator: blocks carved out of large chunks of another resource
//
//      chunk     [ used ][ free      ][ used ][ used ][ free ............ ]
//      first -> descriptor <-> descriptor <-> ...  in the order of addresses (before, after)
//      zone: heads [class] -> free descriptor <-> free descriptor ...  (previous, next)
//
//  Sizes are counted in granules (the alignment). A class holds sizes that differ by less than a
//  32nd; below 32 granules it holds one size. Two levels of bitmaps say which classes have blocks,
//  so that finding one is two bit scans. A request takes the first block of the first class that
//  has none too small, and gives the rest back: a good fit, within 3 % of the best.
//
//  Blocks are carved from the front of free ones, so that what a chunk has given to nobody yet is
//  always its end: one mark a chunk says exactly which blocks are fresh, and memory that is warm
//  goes out before memory that was never touched.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_arena.h"

#include "gpb_alloc.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#define STEP_BITS 5    //  32 classes to a power of two: what is asked for is found within 3 %
#define STEPS (1u << STEP_BITS)
#define LEVELS (32 - STEP_BITS + 1)    //  sizes are 32 bits of granules; level 0 is below STEPS
#define CLASSES (LEVELS * STEPS)

//  Small blocks have chunks of their own (as PyTorch's and others' allocators have them): many,
//  they are a few percent of the bytes, and spread over all chunks they would let none of them
//  drain.
#define SMALL_MAX_SIZE (1ULL << 20)

//  A chunk is such a share of what its zone holds already, so that their number grows with the
//  logarithm of the memory: for large blocks a small one, since whatever drains can go back. At
//  least 2 MiB, the size of a large page of CUDA's and the hosts' alike; at most 1 GiB. Found on
//  the trace of bench/gpb_bench_memory.c: with larger shares more of what is held lies idle, with
//  smaller ones the driver is asked more often than once in a hundred.
#define SMALL_CHUNK_SHARE 16
#define LARGE_CHUNK_SHARE 128
#define CHUNK_MIN_SIZE (2ULL << 20)
#define CHUNK_MAX_SIZE (1ULL << 30)

#define BLOCKS_AT_FIRST 256
#define CHUNKS_AT_FIRST 8

//  Blocks that came back last are parked by class, not joined with their neighbours yet: who asks
//  for the same size at once gets the same memory, at a third of the cost, and joining many at a
//  time hides the misses of the cache that it is made of. What is free beyond keep_size waits for
//  no more than this share of what is held.
#define PARKED_MAX 64
#define PARKED_SHARE 64

typedef enum {
    STATE_SPARE,     //  describes nothing; in the list of spare descriptors by `next`
    STATE_FREE,      //  in the list of its class
    STATE_PARKED,    //  in the list of parked ones of its class
    STATE_USED
} s_state_t;

enum { ZONE_SMALL, ZONE_LARGE, ZONES };

//  Two fill a cache line. Others are named by their index in the table, which may move; 0 is none.
typedef struct {
    uint32_t offset, size;      //  granules
    uint32_t before, after;     //  its neighbours in the chunk
    uint32_t previous, next;    //  in its class, where it is free; where it is parked, previous is
                                //  its place in `parked`
    uint32_t chunk;             //  index
    uint16_t state;
    uint16_t zone;
} s_block_t;

typedef struct {
    gpb_allocation_t memory;    //  as upstream gave it; size 0: this entry is free
    uint32_t first;             //  its block of offset 0
    uint32_t touched;           //  granules from its start of which each was given to somebody
} s_chunk_t;

//  The free blocks of the chunks that hold small blocks, or large ones.
typedef struct {
    uint64_t held;              //  bytes of its chunks
    uint32_t largest;           //  granules; no free block has more, and one has had as many
    uint32_t levels;            //  bit i: steps [i] is not 0
    uint32_t steps [LEVELS];    //  bit j: heads [i * STEPS + j] is not 0
    uint32_t heads [CLASSES];
} s_zone_t;

typedef struct {
    gpb_resource_t resource;    //  what others see; the first member
    gpb_resource_t *upstream;
    unsigned granule_bits;
    uint64_t keep_size, chunk_max_size;    //  bytes

    s_block_t *blocks;
    uint32_t blocks_size;    //  entries
    uint32_t spare;          //  first spare descriptor
    s_chunk_t *chunks;
    uint32_t chunks_size;    //  entries
    uint32_t free_chunks;    //  that are one free block

    s_zone_t zones [ZONES];
    bool refused;    //  upstream has given nothing since it refused
    uint32_t parked_heads [CLASSES];
    uint32_t parked [PARKED_MAX];
    uint32_t parked_count;
    uint64_t parked_size;    //  granules
    gpb_arena_figures_t figures;
} self_t;

//  ---------------------------------------------------------------------------------------------------------
//  Classes

static inline unsigned
s_log2 (uint32_t value)
{
    return 31u - (unsigned) __builtin_clz (value);
}

//  The class that a free block of this size is in.
static inline unsigned
s_class (uint32_t size)
{
    if (size < STEPS)
        return size;
    unsigned bits = s_log2 (size);
    return (bits - STEP_BITS + 1) * STEPS + (size >> (bits - STEP_BITS)) - STEPS;
}

//  The first class whose blocks all have at least this size.
static inline unsigned
s_class_of_request (uint32_t size)
{
    if (size < STEPS)
        return size;
    unsigned shift = s_log2 (size) - STEP_BITS;
    uint64_t rounded = (uint64_t) size + (1ULL << shift) - 1;
    return rounded > UINT32_MAX ? CLASSES : s_class ((uint32_t) rounded);
}

static inline void
s_insert (self_t *self, uint32_t index)
{
    s_block_t *block = &self->blocks [index];
    unsigned class_index = s_class (block->size);
    s_zone_t *zone = &self->zones [block->zone];
    uint32_t head = zone->heads [class_index];
    block->state = STATE_FREE;
    //  Chunks of lower numbers are used first, so that those of higher ones drain: whoever is from
    //  a higher one stands behind the head, which is at hand anyway.
    if (head && self->blocks [head].chunk < block->chunk) {
        block->previous = head;
        block->next = self->blocks [head].next;
        self->blocks [head].next = index;
    }
    else {
        block->previous = 0;
        block->next = head;
        zone->heads [class_index] = index;
    }
    if (block->next)
        self->blocks [block->next].previous = index;
    zone->steps [class_index / STEPS] |= 1u << class_index % STEPS;
    zone->levels |= 1u << class_index / STEPS;
    if (block->size > zone->largest)
        zone->largest = block->size;
    self->figures.kept_by_class [s_log2 (block->size) + self->granule_bits]++;
    self->figures.blocks_kept++;
}

static inline void
s_remove (self_t *self, uint32_t index)
{
    const s_block_t *block = &self->blocks [index];
    if (block->next)
        self->blocks [block->next].previous = block->previous;
    if (block->previous)
        self->blocks [block->previous].next = block->next;
    else {
        unsigned class_index = s_class (block->size), level = class_index / STEPS;
        s_zone_t *zone = &self->zones [block->zone];
        zone->heads [class_index] = block->next;
        if (!block->next) {
            zone->steps [level] &= ~(1u << class_index % STEPS);
            if (!zone->steps [level])
                zone->levels &= ~(1u << level);
        }
    }
    self->figures.kept_by_class [s_log2 (block->size) + self->granule_bits]--;
    self->figures.blocks_kept--;
}

//  A free block gets another place and size; where its class is still the same, so is its place in
//  the list.
static inline void
s_resize (self_t *self, uint32_t index, uint32_t offset, uint32_t size)
{
    s_block_t *block = &self->blocks [index];
    block->offset = offset;
    if (s_class (block->size) == s_class (size)) {
        block->size = size;
        if (size > self->zones [block->zone].largest)
            self->zones [block->zone].largest = size;
        return;
    }
    s_remove (self, index);
    block->size = size;
    s_insert (self, index);
}

//  A free block of a zone that has at least size granules; 0 where there is none.
static uint32_t
s_find (const self_t *self, const s_zone_t *zone, uint32_t size)
{
    unsigned class_index = s_class_of_request (size);
    if (class_index < CLASSES) {
        unsigned level = class_index / STEPS;
        uint32_t steps = zone->steps [level] & ~0u << class_index % STEPS;
        if (!steps) {
            uint32_t levels = level + 1 < LEVELS ? zone->levels & ~0u << (level + 1) : 0;
            if (levels) {
                level = (unsigned) __builtin_ctz (levels);
                steps = zone->steps [level];
            }
        }
        if (steps)
            return zone->heads [level * STEPS + (unsigned) __builtin_ctz (steps)];
    }
    //  Before anybody is asked for more: its own class has blocks that are a little smaller, and
    //  others.
    uint32_t index = zone->heads [s_class (size)];
    while (index && self->blocks [index].size < size)
        index = self->blocks [index].next;
    return index;
}

//  ---------------------------------------------------------------------------------------------------------
//  Tables

//  At least two spare descriptors: a new chunk takes one, and splitting a block another.
static bool
s_reserve_blocks (self_t *self)
{
    if (self->spare && self->blocks [self->spare].next)
        return true;
    uint32_t size = self->blocks_size ? 2 * self->blocks_size : BLOCKS_AT_FIRST;
    s_block_t *blocks =
        size > self->blocks_size ? gpb_realloc (self->blocks, size, sizeof *blocks) : NULL;
    if (!blocks)
        return false;
    memset (blocks + self->blocks_size, 0, (size - self->blocks_size) * sizeof *blocks);
    //  The lowest first; 0 stands for none.
    for (uint32_t index = size - 1; index >= self->blocks_size && index > 0; index--) {
        blocks [index].next = self->spare;
        self->spare = index;
    }
    self->blocks = blocks;
    self->blocks_size = size;
    return true;
}

static inline uint32_t
s_block_new (self_t *self)
{
    uint32_t index = self->spare;
    self->spare = self->blocks [index].next;
    return index;
}

static inline void
s_block_spare (self_t *self, uint32_t index)
{
    self->blocks [index].state = STATE_SPARE;
    self->blocks [index].next = self->spare;
    self->spare = index;
}

//  The free entry with the lowest number.
static s_chunk_t *
s_reserve_chunk (self_t *self)
{
    for (uint32_t index = 0; index < self->chunks_size; index++)
        if (self->chunks [index].memory.size == 0)
            return &self->chunks [index];
    uint32_t size = self->chunks_size ? 2 * self->chunks_size : CHUNKS_AT_FIRST;
    s_chunk_t *chunks =
        size > self->chunks_size ? gpb_realloc (self->chunks, size, sizeof *chunks) : NULL;
    if (!chunks)
        return NULL;
    memset (chunks + self->chunks_size, 0, (size - self->chunks_size) * sizeof *chunks);
    s_chunk_t *chunk = &chunks [self->chunks_size];
    self->chunks = chunks;
    self->chunks_size = size;
    return chunk;
}

//  ---------------------------------------------------------------------------------------------------------
//  Joining

static inline bool
s_is_whole (const s_block_t *block)
{
    return !block->before && !block->after;
}

//  A block that nobody has becomes free, together with its free neighbours.
static inline void
s_join (self_t *self, uint32_t index)
{
    s_block_t *block = &self->blocks [index];
    uint32_t before = block->before, after = block->after;
    if (after && self->blocks [after].state == STATE_FREE) {
        //  The free one stays where it is in its list, and grows to the front.
        s_block_t *joined = &self->blocks [after];
        joined->before = before;
        if (before)
            self->blocks [before].after = after;
        else
            self->chunks [block->chunk].first = after;
        uint32_t size = block->size, offset = block->offset;
        s_block_spare (self, index);
        index = after;
        block = joined;
        if (before && self->blocks [before].state == STATE_FREE) {
            s_remove (self, index);
            block->size += size;
        }
        else
            s_resize (self, index, offset, block->size + size);
    }
    else if (!before || self->blocks [before].state != STATE_FREE)
        s_insert (self, index);
    after = block->after;
    if (before && self->blocks [before].state == STATE_FREE) {
        s_block_t *joined = &self->blocks [before];
        joined->after = after;
        if (after)
            self->blocks [after].before = before;
        s_resize (self, before, joined->offset, joined->size + block->size);
        s_block_spare (self, index);
        block = joined;
    }
    if (s_is_whole (block)) {
        self->free_chunks++;
        self->figures.trimmable += (uint64_t) block->size << self->granule_bits;
    }
}

//  Joins all that are parked. Each waits for its neighbours' descriptors, so those of all are
//  fetched at once.
static void
s_join_parked (self_t *self)
{
    for (uint32_t place = 0; place < self->parked_count; place++) {
        const s_block_t *block = &self->blocks [self->parked [place]];
        __builtin_prefetch (&self->blocks [block->before]);
        __builtin_prefetch (&self->blocks [block->after]);
        self->parked_heads [s_class (block->size)] = 0;
    }
    for (uint32_t place = 0; place < self->parked_count; place++)
        s_join (self, self->parked [place]);
    self->parked_count = 0;
    self->parked_size = 0;
}

//  ---------------------------------------------------------------------------------------------------------
//  Chunks

//  Gives chunks back that are one free block, those of the highest numbers first, until no more
//  than keep_size bytes are free.
static uint64_t
s_trim (gpb_resource_t *resource, uint64_t keep_size)
{
    self_t *self = (self_t *) resource;
    uint64_t given = 0;
    if (self->figures.kept > keep_size)
        s_join_parked (self);
    for (uint32_t number = self->chunks_size;
         number > 0 && self->free_chunks > 0 && self->figures.kept > keep_size; number--)
    {
        s_chunk_t *chunk = &self->chunks [number - 1];
        if (chunk->memory.size == 0)
            continue;
        const s_block_t *block = &self->blocks [chunk->first];
        if (block->state != STATE_FREE || !s_is_whole (block))
            continue;
        uint64_t size = (uint64_t) block->size << self->granule_bits;
        uint16_t zone = block->zone;
        s_remove (self, chunk->first);
        s_block_spare (self, chunk->first);
        self->upstream->deallocate (self->upstream, &chunk->memory);
        memset (chunk, 0, sizeof *chunk);
        self->free_chunks--;
        self->zones [zone].held -= size;
        self->figures.trimmable -= size;
        self->figures.kept -= size;
        self->figures.held -= size;
        self->figures.chunks--;
        self->figures.trims++;
        given += size;
    }
    return given;
}

static void
s_settle (self_t *self)
{
    s_join_parked (self);
    if (self->figures.kept > self->keep_size && self->free_chunks > 0)
        s_trim (&self->resource, self->keep_size);
}

static uint64_t
s_chunk_size (const self_t *self, unsigned zone, uint64_t size)
{
    uint64_t wanted =
        self->zones [zone].held / (zone == ZONE_SMALL ? SMALL_CHUNK_SHARE : LARGE_CHUNK_SHARE);
    wanted = wanted < CHUNK_MIN_SIZE ? CHUNK_MIN_SIZE : wanted;
    wanted = wanted > CHUNK_MAX_SIZE ? CHUNK_MAX_SIZE : wanted;
    wanted = wanted > self->chunk_max_size ? self->chunk_max_size : wanted;
    wanted &= ~0ULL << self->granule_bits;
    return wanted > size ? wanted : size;
}

static gpb_status_t
s_exhausted (self_t *self, uint64_t size, const char *reason, gpb_error_t *error)
{
    gpb_arena_figures_t figures;
    gpb_arena_figures (&self->resource, &figures);
    return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED,
                          "%" PRIu64 " bytes were asked for: %" PRIu64
                          " are kept free, the largest block of these has %" PRIu64 ", %" PRIu64
                          " are in use, and there are no more: %s",
                          size, figures.kept, figures.largest_free, figures.in_use, reason);
}

//  A chunk with room for size bytes, which is a multiple of the granule. Its one free block goes
//  into the lists.
static gpb_status_t
s_grow (self_t *self, unsigned zone, uint64_t size, uint32_t *index_p, gpb_error_t *error)
{
    s_chunk_t *chunk = s_reserve_chunk (self);
    if (!chunk)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a chunk's entry");
    uint64_t wanted = s_chunk_size (self, zone, size);
    gpb_resource_t *upstream = self->upstream;
    gpb_allocation_t memory = { .size = 0 };
    gpb_error_t reason = { GPB_OK, "" };
    gpb_status_t status = upstream->allocate (upstream, wanted, &memory, &reason);
    if (status == GPB_RESOURCE_EXHAUSTED && wanted > size)
        status = upstream->allocate (upstream, size, &memory, &reason);
    if (status == GPB_RESOURCE_EXHAUSTED && s_trim (&self->resource, 0) > 0)
        status = upstream->allocate (upstream, size, &memory, &reason);
    self->refused = status == GPB_RESOURCE_EXHAUSTED;
    if (status == GPB_RESOURCE_EXHAUSTED)
        return s_exhausted (self, size, reason.text, error);
    if (status != GPB_OK)
        return gpb_error_set (error, status, "%s", reason.text);
    assert (memory.offset % (1ULL << self->granule_bits) == 0);
    uint64_t whole = memory.size >> self->granule_bits;
    uint32_t granules = whole < UINT32_MAX ? (uint32_t) whole : UINT32_MAX;
    uint32_t index = *index_p = s_block_new (self);
    //  The same entry, or one of a lower number that the trim has emptied.
    chunk = s_reserve_chunk (self);
    *chunk =
        (s_chunk_t){ .memory = memory, .first = index, .touched = memory.fresh ? 0 : granules };
    self->blocks [index] = (s_block_t){ .size = granules,
                                        .chunk = (uint32_t) (chunk - self->chunks),
                                        .zone = (uint16_t) zone };
    s_insert (self, index);
    self->free_chunks++;
    uint64_t held = (uint64_t) granules << self->granule_bits;
    self->zones [zone].held += held;
    self->figures.trimmable += held;
    self->figures.kept += held;
    self->figures.held += held;
    self->figures.chunks++;
    if (self->figures.held > self->figures.held_high_water)
        self->figures.held_high_water = self->figures.held;
    return GPB_OK;
}

//  ---------------------------------------------------------------------------------------------------------
//  Blocks

//  The first size granules of a free block become a block in use; the rest stays free.
static inline uint32_t
s_carve (self_t *self, uint32_t index, uint32_t size)
{
    s_block_t *block = &self->blocks [index];
    s_chunk_t *chunk = &self->chunks [block->chunk];
    if (s_is_whole (block)) {
        self->free_chunks--;
        self->figures.trimmable -= (uint64_t) block->size << self->granule_bits;
    }
    if (block->size == size) {
        s_remove (self, index);
        block->state = STATE_USED;
        return index;
    }
    uint32_t front = s_block_new (self);
    self->blocks [front] = (s_block_t){ .offset = block->offset,
                                        .size = size,
                                        .before = block->before,
                                        .after = index,
                                        .chunk = block->chunk,
                                        .state = STATE_USED,
                                        .zone = block->zone };
    if (block->before)
        self->blocks [block->before].after = front;
    else
        chunk->first = front;
    block->before = front;
    s_resize (self, index, block->offset + size, block->size - size);
    return front;
}

//  A parked block that has what is asked for and next to nothing more; 0 where there is none.
static inline uint32_t
s_unpark (self_t *self, uint32_t size)
{
    unsigned class_index = s_class (size);
    uint32_t index = self->parked_heads [class_index];
    if (!index || self->blocks [index].size < size)
        return 0;
    s_block_t *block = &self->blocks [index];
    self->parked_heads [class_index] = block->next;
    self->parked_size -= block->size;
    uint32_t last = self->parked [--self->parked_count];
    self->parked [block->previous] = last;
    self->blocks [last].previous = block->previous;
    block->state = STATE_USED;
    return index;
}

//  A block of size granules out of a free one, or a new chunk where none is large enough. Where
//  there are no new chunks, blocks of the other zone serve too.
static gpb_status_t
s_find_or_grow (self_t *self, uint32_t size, uint32_t *index_p, gpb_error_t *error)
{
    unsigned zone = size > SMALL_MAX_SIZE >> self->granule_bits ? ZONE_LARGE : ZONE_SMALL;
    const s_zone_t *own = &self->zones [zone], *other = &self->zones [ZONE_LARGE - zone];
    uint32_t found = s_find (self, own, size);
    if (!found && self->parked_count) {
        s_join_parked (self);
        found = s_find (self, own, size);
    }
    if (!found && self->refused)
        found = s_find (self, other, size);
    if (found)
        self->figures.hits++;
    else {
        gpb_status_t status =
            s_grow (self, zone, (uint64_t) size << self->granule_bits, &found, error);
        if (status == GPB_OK)
            self->figures.misses++;
        else {
            found = s_find (self, other, size);
            if (!found)
                return status;
            self->figures.hits++;
        }
    }
    *index_p = s_carve (self, found, size);
    return GPB_OK;
}

static gpb_status_t
s_allocate (gpb_resource_t *resource, uint64_t size, gpb_allocation_t *allocation,
            gpb_error_t *error)
{
    self_t *self = (self_t *) resource;
    assert (size > 0);
    memset (allocation, 0, sizeof *allocation);
    if (size > (uint64_t) UINT32_MAX << self->granule_bits)
        return s_exhausted (self, size, "no chunk has so many", error);
    if (!s_reserve_blocks (self))
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED,
                              "no memory for the descriptors of blocks");
    uint32_t granules =
        (uint32_t) ((size + (1ULL << self->granule_bits) - 1) >> self->granule_bits);
    uint32_t index = s_unpark (self, granules);
    if (index)
        self->figures.hits++;
    else {
        gpb_status_t status = s_find_or_grow (self, granules, &index, error);
        if (status != GPB_OK)
            return status;
    }
    const s_block_t *block = &self->blocks [index];
    s_chunk_t *chunk = &self->chunks [block->chunk];
    uint64_t offset = (uint64_t) block->offset << self->granule_bits;
    uint64_t block_size = (uint64_t) block->size << self->granule_bits;
    uint32_t end = block->offset + block->size;
    *allocation = (gpb_allocation_t){ .memory = chunk->memory.memory,
                                      .offset = chunk->memory.offset + offset,
                                      .address = chunk->memory.address
                                                     ? (char *) chunk->memory.address + offset
                                                     : NULL,
                                      .size = block_size,
                                      .requested = size,
                                      .fresh = end > chunk->touched,
                                      //  An index, not an address: the table moves as it grows.
                                      .record = (void *) (uintptr_t) index };
    if (allocation->fresh)
        chunk->touched = end;
    gpb_arena_figures_t *figures = &self->figures;
    figures->kept -= block_size;
    figures->in_use += block_size;
    figures->requested += size;
    figures->blocks_in_use++;
    if (figures->in_use > figures->in_use_high_water)
        figures->in_use_high_water = figures->in_use;
    return GPB_OK;
}

static void
s_deallocate (gpb_resource_t *resource, gpb_allocation_t *allocation)
{
    self_t *self = (self_t *) resource;
    uint32_t index = (uint32_t) (uintptr_t) allocation->record;
    assert (index > 0 && index < self->blocks_size);
    s_block_t *block = &self->blocks [index];
    assert (block->state == STATE_USED
            && (uint64_t) block->size << self->granule_bits == allocation->size);
    gpb_arena_figures_t *figures = &self->figures;
    figures->kept += allocation->size;
    figures->in_use -= allocation->size;
    figures->requested -= allocation->requested;
    figures->blocks_in_use--;
    memset (allocation, 0, sizeof *allocation);

    uint32_t *head = &self->parked_heads [s_class (block->size)];
    block->state = STATE_PARKED;
    block->next = *head;
    *head = index;
    block->previous = self->parked_count;
    self->parked [self->parked_count++] = index;
    self->parked_size += block->size;
    if (self->parked_count == PARKED_MAX
        || (figures->kept > self->keep_size
            && self->parked_size << self->granule_bits > figures->held / PARKED_SHARE))
        s_settle (self);
}

//  ---------------------------------------------------------------------------------------------------------
//  Figures

//  A zone's `largest` is too large only by what was taken out since: so the search ends at the
//  first block that has as much, and is over the top class at the most.
static uint32_t
s_largest_free (self_t *self, s_zone_t *zone)
{
    uint32_t largest = 0;
    if (zone->levels) {
        unsigned level = s_log2 (zone->levels);
        uint32_t index = zone->heads [level * STEPS + s_log2 (zone->steps [level])];
        while (index && largest < zone->largest) {
            if (self->blocks [index].size > largest)
                largest = self->blocks [index].size;
            index = self->blocks [index].next;
        }
    }
    zone->largest = largest;
    return largest;
}

void
gpb_arena_figures (gpb_resource_t *resource, gpb_arena_figures_t *figures)
{
    self_t *self = (self_t *) resource;
    s_settle (self);
    *figures = self->figures;
    for (int zone = 0; zone < ZONES; zone++) {
        uint64_t largest = (uint64_t) s_largest_free (self, &self->zones [zone])
                           << self->granule_bits;
        if (largest > figures->largest_free)
            figures->largest_free = largest;
    }
    if (figures->in_use)
        figures->internal_fragmentation =
            (double) (figures->in_use - figures->requested) / (double) figures->in_use;
    if (figures->kept)
        figures->external_fragmentation =
            1 - (double) figures->largest_free / (double) figures->kept;
}

uint64_t
gpb_arena_in_use (const gpb_resource_t *resource)
{
    return ((const self_t *) resource)->figures.in_use;
}

uint64_t
gpb_arena_kept (const gpb_resource_t *resource)
{
    return ((const self_t *) resource)->figures.kept;
}

//  ---------------------------------------------------------------------------------------------------------
//  Its life

static void
s_destroy (gpb_resource_t **resource_p)
{
    self_t *self = (self_t *) *resource_p;
    if (!self)
        return;
    *resource_p = NULL;
    assert (self->figures.blocks_in_use == 0);
    s_trim (&self->resource, 0);
    self->upstream->destroy (&self->upstream);
    gpb_free (self->blocks);
    gpb_free (self->chunks);
    gpb_free (self);
}

gpb_resource_t *
gpb_arena_new (gpb_resource_t **upstream_p, const gpb_arena_options_t *options, gpb_error_t *error)
{
    assert ((options->alignment & (options->alignment - 1)) == 0);
    gpb_resource_t *upstream = *upstream_p;
    *upstream_p = NULL;
    self_t *self = gpb_alloc (1, sizeof *self);
    if (!self) {
        upstream->destroy (&upstream);
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for an arena");
        return NULL;
    }
    uint64_t granule =
        options->alignment > GPB_MEMORY_ALIGNMENT ? options->alignment : GPB_MEMORY_ALIGNMENT;
    self->resource = (gpb_resource_t){
        .allocate = s_allocate, .deallocate = s_deallocate, .trim = s_trim, .destroy = s_destroy
    };
    self->upstream = upstream;
    self->granule_bits = (unsigned) __builtin_ctzll (granule);
    self->keep_size = options->keep_size;
    self->chunk_max_size = options->chunk_max_size ? options->chunk_max_size : UINT64_MAX;
    return &self->resource;
}
