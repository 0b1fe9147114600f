//  gpb_blocks - the transient launch buffers of one device
//
//  The returned blocks stand in a stack that any thread pushes to with a compare-and-swap, and that
//  the device's thread empties whole with an exchange: nothing is ever popped singly, so the ABA
//  problem cannot arise. That thread alone gives them back to the arenas.
//
//  When the owner lets go, that stack ends in a mark, and from then on blocks go to a second one:
//  the last of those that were out, whichever thread gives it, takes everything down. So a block
//  costs one atomic operation on its way back while the owner is there, and two after.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_blocks.h"

#include "gpb_alloc.h"
#include "gpb_arena.h"
#include "gpb_driver_resource.h"
#include "gpb_statistics_resource.h"

#include <stdatomic.h>

#define KINDS 3

typedef struct _s_block_t {
    gpb_block_t block;    //  what others see; the first member
    gpb_blocks_t *owner;
    gpb_allocation_t allocation;
    struct _s_block_t *next;    //  among the spare ones, or in a stack of returned ones
} s_block_t;

struct _gpb_blocks_t {
    gpb_shared_context_t *shared;
    uint64_t keep_size;    //  bytes
    gpb_resource_t *arenas [KINDS];
    s_block_t *spare;           //  structures for the next blocks
    uint64_t taken;             //  blocks so far
    uint64_t out;               //  of these, not collected
    gpb_statistics_t driver;    //  what the arenas have asked it for

    _Atomic (s_block_t *) returned;    //  &s_closed: the owner has let go
    _Atomic (s_block_t *) late;        //  returned after that
    atomic_uint_fast64_t expected;     //  then: blocks that are still out, and 1 for the owner
};

static s_block_t s_closed;

static void
s_free (gpb_blocks_t *self)
{
    for (int kind = 0; kind < KINDS; kind++)
        if (self->arenas [kind])
            self->arenas [kind]->destroy (&self->arenas [kind]);
    while (self->spare) {
        s_block_t *next = self->spare->next;
        gpb_free (self->spare);
        self->spare = next;
    }
    gpb_shared_context_release (&self->shared);
    gpb_free (self);
}

//  Copies go by address where memory is HOST, so that its blocks need no more than the usual
//  alignment.
static gpb_resource_t *
s_arena_new (gpb_blocks_t *self, gpb_memory_kind_t kind, gpb_error_t *error)
{
    const gpb_shared_context_t *shared = self->shared;
    gpb_resource_t *driver =
        gpb_driver_resource_new (shared->operations, shared->context, kind, error);
    if (driver)
        driver = gpb_statistics_resource_new (&driver, &self->driver, error);
    gpb_arena_options_t options = { .alignment =
                                        kind == GPB_MEMORY_HOST ? 0 : shared->info.memory_alignment,
                                    .keep_size =
                                        UINT64_MAX,    //  s_collect looks at all kinds together
                                    .chunk_max_size = shared->info.max_allocation };
    return driver ? gpb_arena_new (&driver, &options, error) : NULL;
}

gpb_blocks_t *
gpb_blocks_new (const gpb_shared_context_t *shared, uint64_t keep_size, gpb_error_t *error)
{
    gpb_blocks_t *self = gpb_alloc (1, sizeof *self);
    if (!self) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for the launch buffers' book");
        return NULL;
    }
    self->shared = gpb_shared_context_retain (shared);
    self->keep_size = keep_size;
    for (int kind = 0; kind < KINDS; kind++) {
        self->arenas [kind] = s_arena_new (self, (gpb_memory_kind_t) kind, error);
        if (!self->arenas [kind]) {
            s_free (self);
            return NULL;
        }
    }
    return self;
}

//  Gives a list of blocks back to their arenas, and returns how many they were.
static uint64_t
s_deallocate (gpb_blocks_t *self, s_block_t *block)
{
    uint64_t count = 0;
    while (block) {
        s_block_t *next = block->next;
        gpb_resource_t *arena = self->arenas [block->block.kind];
        arena->deallocate (arena, &block->allocation);
        block->next = self->spare;
        self->spare = block;
        block = next;
        count++;
    }
    return count;
}

static uint64_t
s_kept (const gpb_blocks_t *self)
{
    uint64_t kept = 0;
    for (int kind = 0; kind < KINDS; kind++)
        kept += gpb_arena_kept (self->arenas [kind]);
    return kept;
}

//  Wholly free chunks go to the driver as long as more than keep_size bytes are free.
static void
s_keep (gpb_blocks_t *self, uint64_t keep_size)
{
    uint64_t kept = s_kept (self);
    for (int kind = 0; kind < KINDS && kept > keep_size; kind++) {
        uint64_t own = gpb_arena_kept (self->arenas [kind]), excess = kept - keep_size;
        kept -= self->arenas [kind]->trim (self->arenas [kind], own > excess ? own - excess : 0);
    }
}

static void
s_collect (gpb_blocks_t *self)
{
    if (!atomic_load_explicit (&self->returned, memory_order_relaxed))
        return;
    self->out -=
        s_deallocate (self, atomic_exchange_explicit (&self->returned, NULL, memory_order_acquire));
    s_keep (self, self->keep_size);
}

//  Blocks that were expected have come back. The last one takes all down.
static void
s_expect_less (gpb_blocks_t *self, uint64_t count)
{
    if (atomic_fetch_sub_explicit (&self->expected, count, memory_order_acq_rel) != count)
        return;
    s_deallocate (self, atomic_exchange_explicit (&self->late, NULL, memory_order_acquire));
    s_free (self);
}

void
gpb_blocks_destroy (gpb_blocks_t **self_p)
{
    gpb_blocks_t *self = *self_p;
    if (!self)
        return;
    *self_p = NULL;
    s_collect (self);
    s_keep (self, 0);
    //  Before the mark is seen by those who count it down.
    atomic_store_explicit (&self->expected, self->out + 1, memory_order_relaxed);
    s_block_t *last = atomic_exchange_explicit (&self->returned, &s_closed, memory_order_acq_rel);
    s_expect_less (self, s_deallocate (self, last) + 1);
}

static s_block_t *
s_block_new (gpb_blocks_t *self)
{
    s_block_t *block = self->spare;
    if (block)
        self->spare = block->next;
    else
        block = gpb_alloc (1, sizeof *block);
    return block;
}

gpb_block_t *
gpb_blocks_take (gpb_blocks_t *self, gpb_memory_kind_t kind, uint64_t size, gpb_error_t *error)
{
    s_collect (self);
    s_block_t *block = s_block_new (self);
    if (!block) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a launch buffer's entry");
        return NULL;
    }
    gpb_resource_t *arena = self->arenas [kind];
    gpb_status_t status = arena->allocate (arena, size, &block->allocation, error);
    //  The arena has given back what it could; those of the other kinds may have the memory.
    if (status == GPB_RESOURCE_EXHAUSTED && s_kept (self) > 0) {
        s_keep (self, 0);
        status = arena->allocate (arena, size, &block->allocation, error);
    }
    if (status != GPB_OK) {
        block->next = self->spare;
        self->spare = block;
        return NULL;
    }
    block->owner = self;
    block->block = (gpb_block_t){ .memory = block->allocation.memory,
                                  .offset = block->allocation.offset,
                                  .address = block->allocation.address,
                                  .size = block->allocation.size,
                                  .kind = kind };
    self->taken++;
    self->out++;
    return &block->block;
}

void
gpb_blocks_give (gpb_block_t **block_p)
{
    s_block_t *block = (s_block_t *) *block_p;
    *block_p = NULL;
    if (!block)
        return;
    gpb_blocks_t *self = block->owner;
    s_block_t *head = atomic_load_explicit (&self->returned, memory_order_acquire);
    while (head != &s_closed) {
        block->next = head;
        if (atomic_compare_exchange_weak_explicit (&self->returned, &head, block,
                                                   memory_order_release, memory_order_acquire))
            return;
    }
    block->next = atomic_load_explicit (&self->late, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit (&self->late, &block->next, block,
                                                   memory_order_release, memory_order_relaxed))
        ;
    s_expect_less (self, 1);
}

void
gpb_blocks_trim (gpb_blocks_t *self)
{
    s_collect (self);
    s_keep (self, 0);
}

void
gpb_blocks_figures (gpb_blocks_t *self, gpb_blocks_figures_t *figures)
{
    s_collect (self);
    *figures = (gpb_blocks_figures_t){ .hits = self->taken - self->driver.allocations,
                                       .misses = self->driver.allocations };
    for (int kind = 0; kind < KINDS; kind++) {
        uint64_t in_use = gpb_arena_in_use (self->arenas [kind]);
        uint64_t kept = gpb_arena_kept (self->arenas [kind]);
        figures->in_use += in_use;
        figures->kept += kept;
        if (self->shared->info.shares_host_memory || kind == GPB_MEMORY_DEVICE) {
            figures->device_in_use += in_use;
            figures->device_kept += kept;
        }
    }
}
