//  gpb_blocks - the transient launch buffers of one device
//
//  The returned blocks stand in a stack that any thread pushes to with a compare-and-swap, and that
//  the device's thread empties whole with an exchange: nothing is ever popped singly, so the ABA
//  problem cannot arise. Every block that is out, and the owner, hold a reference to the whole; the
//  last one frees it.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_blocks.h"

#include "gpb_alloc.h"

#include <stdatomic.h>

#define CLASS_SMALLEST_BITS 12    //  4 KiB: a page, below which the driver rounds up anyway
#define CLASS_STEPS 4             //  a power of two is cut into so many
#define CLASSES ((64 - CLASS_SMALLEST_BITS) * CLASS_STEPS)
#define KINDS 3

typedef struct _s_block_t {
    gpb_block_t block;    //  what others see; the first member
    gpb_blocks_t *owner;
    unsigned class_index;
    struct _s_block_t *next;    //  in its class, or in the returned stack
} s_block_t;

struct _gpb_blocks_t {
    gpb_shared_context_t *shared;
    uint64_t keep_size;    //  bytes
    gpb_blocks_figures_t figures;
    s_block_t *free [KINDS][CLASSES];
    _Atomic (s_block_t *) returned;
    atomic_size_t references;
};

static unsigned
s_class (uint64_t size, uint64_t *class_size_p)
{
    if (size <= 1ULL << CLASS_SMALLEST_BITS) {
        *class_size_p = 1ULL << CLASS_SMALLEST_BITS;
        return 0;
    }
    //  2^bits < size <= 2^(bits + 1)
    unsigned bits = 63u - (unsigned) __builtin_clzll (size - 1);
    uint64_t step_size = (1ULL << bits) / CLASS_STEPS;
    uint64_t steps = (size - (1ULL << bits) + step_size - 1) / step_size;
    *class_size_p = (1ULL << bits) + steps * step_size;
    return (bits - CLASS_SMALLEST_BITS) * CLASS_STEPS + (unsigned) steps;
}

//  Bytes of the device's own memory that a block takes.
static uint64_t
s_device_size (const gpb_blocks_t *self, const gpb_block_t *block)
{
    return self->shared->info.shares_host_memory || block->kind == GPB_MEMORY_DEVICE ? block->size
                                                                                     : 0;
}

static void
s_block_free (s_block_t *block)
{
    block->owner->shared->operations->release (&block->block.memory);
    gpb_free (block);
}

static void
s_release (gpb_blocks_t *self)
{
    if (atomic_fetch_sub (&self->references, 1) != 1)
        return;
    s_block_t *block = atomic_exchange (&self->returned, NULL);
    while (block) {
        s_block_t *next = block->next;
        s_block_free (block);
        block = next;
    }
    gpb_shared_context_release (&self->shared);
    gpb_free (self);
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
    atomic_init (&self->references, 1);
    return self;
}

//  Sorts what came back into its classes; what is over keep_size goes to the driver.
static void
s_collect (gpb_blocks_t *self)
{
    if (!atomic_load_explicit (&self->returned, memory_order_relaxed))
        return;
    s_block_t *block = atomic_exchange (&self->returned, NULL);
    while (block) {
        s_block_t *next = block->next;
        self->figures.in_use -= block->block.size;
        self->figures.device_in_use -= s_device_size (self, &block->block);
        if (self->figures.kept + block->block.size <= self->keep_size) {
            s_block_t **head = &self->free [block->block.kind][block->class_index];
            block->next = *head;
            *head = block;
            self->figures.kept += block->block.size;
            self->figures.device_kept += s_device_size (self, &block->block);
        }
        else
            s_block_free (block);
        block = next;
    }
}

void
gpb_blocks_destroy (gpb_blocks_t **self_p)
{
    gpb_blocks_t *self = *self_p;
    if (!self)
        return;
    *self_p = NULL;
    s_collect (self);
    gpb_blocks_trim (self);
    s_release (self);
}

gpb_block_t *
gpb_blocks_take (gpb_blocks_t *self, gpb_memory_kind_t kind, uint64_t size, gpb_error_t *error)
{
    s_collect (self);
    if (size > 1ULL << 62) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no device has %llu bytes",
                       (unsigned long long) size);
        return NULL;
    }
    uint64_t class_size;
    unsigned class_index = s_class (size, &class_size);
    s_block_t *block = self->free [kind][class_index];
    if (block) {
        self->free [kind][class_index] = block->next;
        self->figures.kept -= class_size;
        self->figures.device_kept -= s_device_size (self, &block->block);
        self->figures.hits++;
    }
    else {
        block = gpb_alloc (1, sizeof *block);
        if (!block) {
            gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a launch buffer's entry");
            return NULL;
        }
        const gpb_backend_operations_t *operations = self->shared->operations;
        gpb_context_t *context = self->shared->context;
        gpb_memory_t *memory = NULL;
        gpb_status_t status =
            operations->allocate (context, kind, GPB_ACCESS_READ_WRITE, class_size, &memory, error);
        if (status == GPB_RESOURCE_EXHAUSTED && self->figures.kept) {
            gpb_blocks_trim (self);
            status = operations->allocate (context, kind, GPB_ACCESS_READ_WRITE, class_size,
                                           &memory, error);
        }
        void *address = NULL;
        if (status == GPB_OK && kind != GPB_MEMORY_DEVICE)
            status = operations->address (memory, &address, error);
        if (status != GPB_OK) {
            if (memory)
                operations->release (&memory);
            gpb_free (block);
            return NULL;
        }
        *block = (s_block_t){
            .block = { .memory = memory, .address = address, .size = class_size, .kind = kind },
            .owner = self,
            .class_index = class_index
        };
        self->figures.misses++;
    }
    self->figures.in_use += class_size;
    self->figures.device_in_use += s_device_size (self, &block->block);
    atomic_fetch_add (&self->references, 1);
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
    block->next = atomic_load_explicit (&self->returned, memory_order_relaxed);
    while (!atomic_compare_exchange_weak (&self->returned, &block->next, block))
        ;
    s_release (self);
}

void
gpb_blocks_trim (gpb_blocks_t *self)
{
    s_collect (self);
    for (unsigned kind = 0; kind < KINDS; kind++)
        for (unsigned class_index = 0; class_index < CLASSES; class_index++)
            while (self->free [kind][class_index]) {
                s_block_t *block = self->free [kind][class_index];
                self->free [kind][class_index] = block->next;
                self->figures.kept -= block->block.size;
                self->figures.device_kept -= s_device_size (self, &block->block);
                s_block_free (block);
            }
}

void
gpb_blocks_figures (gpb_blocks_t *self, gpb_blocks_figures_t *figures)
{
    s_collect (self);
    *figures = self->figures;
}
