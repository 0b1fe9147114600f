//  gpb_pool_memory - a pool's memory: blocks of two kinds, zero when somebody gets them
//
//      gpb_log -> statistics -> limit -> arena -> driver      for DEVICE, and once more for MAPPED
//
//  Both count into one limit and one set of statistics. The log stands there only where its lines
//  would be written.
//
//  A block that could not be zeroed is nobody's until it could be: it stays held, and is tried
//  again after a pause. Where the device is lost that will never be, and nobody rents there any
//  more.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_pool_memory.h"

#include "gpb_alloc.h"
#include "gpb_clock.h"
#include "gpb_driver_resource.h"
#include "gpb_limit_resource.h"
#include "gpb_log.h"
#include "gpb_log_resource.h"
#include "gpb_statistics_resource.h"

#include <inttypes.h>

#define KEEP_SHARE 4    //  of the device, where the configuration says nothing
#define RETRY_MS 100    //  between two attempts at a block that could not be zeroed

typedef struct {
    gpb_memory_kind_t kind;
    gpb_resource_t *resource;    //  the outermost one
    gpb_resource_t *arena;       //  inside it
    uint64_t taken;              //  bytes of blocks that are somebody's
    bool is_devices;             //  it is the device's own memory
} s_store_t;

enum { STORES = 2, CLASSES = 64 };

struct _gpb_pool_memory_t {
    const gpb_config_t *config;
    const gpb_shared_context_t *shared;
    s_store_t stores [STORES];
    gpb_limit_t limit;
    gpb_statistics_t statistics;    //  of both
    uint64_t keep_size;
    gpb_scrubber_t *scrubber;
    gpb_pool_block_t *first;     //  of all
    gpb_pool_block_t *failed;    //  that could not be zeroed
    uint64_t retry_ns;           //  gpb_clock_ns (): when these are tried again; UINT64_MAX: never
    uint64_t returned, settled;
    uint64_t kept_by_class [CLASSES];
};

static s_store_t *
s_store (gpb_pool_memory_t *self, gpb_memory_kind_t kind)
{
    return &self->stores [kind == GPB_MEMORY_MAPPED];
}

//  ---------------------------------------------------------------------------------------------------------
//  Setting it up

static void
s_log (void *context, const gpb_resource_event_t *event)
{
    const gpb_pool_memory_t *self = context;
    gpb_log (self->config, GPB_LOG_DEBUG, "device %u: pool: %s, %" PRIu64 " bytes (%" PRIu64 ") %s",
             self->shared->index, gpb_resource_event_name (event->kind), event->requested,
             event->size, event->text);
}

static gpb_status_t
s_store_open (gpb_pool_memory_t *self, s_store_t *store, gpb_memory_kind_t kind, gpb_error_t *error)
{
    const gpb_shared_context_t *shared = self->shared;
    const gpb_arena_options_t options = { .alignment = shared->info.memory_alignment,
                                          .keep_size = self->keep_size,
                                          .chunk_max_size = shared->info.max_allocation };
    store->kind = kind;
    store->is_devices = kind == GPB_MEMORY_DEVICE || shared->info.shares_host_memory;
    gpb_resource_t *resource =
        gpb_driver_resource_new (shared->operations, shared->context, kind, error);
    if (resource)
        resource = store->arena = gpb_arena_new (&resource, &options, error);
    if (resource)
        resource = gpb_limit_resource_new (&resource, &self->limit, error);
    if (resource)
        resource = gpb_statistics_resource_new (&resource, &self->statistics, error);
    if (resource && streq (gpb_config_string (self->config, "log_level"), "debug"))
        resource = gpb_log_resource_new (&resource, s_log, self, error);
    store->resource = resource;
    return resource ? GPB_OK : error->status;
}

gpb_pool_memory_t *
gpb_pool_memory_new (const gpb_config_t *config, const gpb_shared_context_t *shared,
                     gpb_error_t *error)
{
    gpb_pool_memory_t *self = gpb_alloc (1, sizeof *self);
    if (!self) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a pool");
        return NULL;
    }
    self->config = config;
    self->shared = shared;
    self->retry_ns = UINT64_MAX;
    uint64_t limit = gpb_config_number (config, "rent_max_size");
    self->limit.limit = limit ? limit : shared->info.total_memory;
    uint64_t keep = gpb_config_number (config, "keep_max_size");
    self->keep_size = keep ? keep : shared->info.total_memory / KEEP_SHARE;
    gpb_status_t status = s_store_open (self, &self->stores [0], GPB_MEMORY_DEVICE, error);
    if (status == GPB_OK)
        status = s_store_open (self, &self->stores [1], GPB_MEMORY_MAPPED, error);
    if (status == GPB_OK)
        self->scrubber = gpb_scrubber_new (shared, error);
    if (!self->scrubber)
        gpb_pool_memory_destroy (&self);
    return self;
}

//  ---------------------------------------------------------------------------------------------------------
//  Blocks

static void
s_block_free (gpb_pool_memory_t *self, gpb_pool_block_t *block)
{
    *(block->previous ? &block->previous->next : &self->first) = block->next;
    if (block->next)
        block->next->previous = block->previous;
    gpb_resource_t *resource = s_store (self, block->kind)->resource;
    if (block->allocation.size)
        resource->deallocate (resource, &block->allocation);
    gpb_free (block);
}

void
gpb_pool_memory_destroy (gpb_pool_memory_t **self_p)
{
    gpb_pool_memory_t *self = *self_p;
    if (!self)
        return;
    *self_p = NULL;
    while (self->first)
        s_block_free (self, self->first);
    gpb_scrubber_destroy (&self->scrubber);
    for (int store = 0; store < STORES; store++)
        if (self->stores [store].resource)
            self->stores [store].resource->destroy (&self->stores [store].resource);
    gpb_free (self);
}

static gpb_status_t
s_allocate (gpb_pool_memory_t *self, s_store_t *store, uint64_t size, gpb_allocation_t *allocation,
            gpb_error_t *error)
{
    gpb_resource_t *resource = store->resource;
    gpb_status_t status = resource->allocate (resource, size, allocation, error);
    if (status != GPB_RESOURCE_EXHAUSTED || self->limit.used >= self->limit.limit
        || size > self->limit.limit - self->limit.used)
        return status;
    //  The arena has trimmed itself, but not the other one.
    s_store_t *other = &self->stores [store == self->stores];
    if (other->resource->trim (other->resource, 0) > 0)
        status = resource->allocate (resource, size, allocation, error);
    return status;
}

gpb_pool_block_t *
gpb_pool_memory_take (gpb_pool_memory_t *self, gpb_memory_kind_t kind, uint64_t size,
                      gpb_error_t *error)
{
    gpb_pool_block_t *block = gpb_alloc (1, sizeof *block);
    if (!block) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a block's entry");
        return NULL;
    }
    s_store_t *store = s_store (self, kind);
    if (s_allocate (self, store, size, &block->allocation, error) != GPB_OK) {
        gpb_free (block);
        return NULL;
    }
    block->kind = kind;
    block->scrub.item = block;
    block->next = self->first;
    if (self->first)
        self->first->previous = block;
    self->first = block;
    store->taken += block->allocation.size;
    block->is_ready = !block->allocation.fresh;
    if (!block->is_ready)
        gpb_scrubber_add (self->scrubber, &block->scrub, block->allocation.memory,
                          block->allocation.offset, block->allocation.size, true);
    return block;
}

//  A block that is nobody's and could not be made zero. On a lost device that is for ever.
static void
s_fail (gpb_pool_memory_t *self, gpb_pool_block_t *block)
{
    self->settled++;
    if (block->scrub.status == GPB_UNAVAILABLE)
        return;
    block->failed = self->failed;
    self->failed = block;
    self->retry_ns = gpb_clock_ns () + RETRY_MS * GPB_NS_PER_MS;
}

void
gpb_pool_memory_give (gpb_pool_memory_t *self, gpb_pool_block_t **block_p)
{
    gpb_pool_block_t *block = *block_p;
    *block_p = NULL;
    s_store (self, block->kind)->taken -= block->allocation.size;
    block->is_returned = true;
    block->item = NULL;
    self->returned++;
    if (block->is_ready)
        gpb_scrubber_add (self->scrubber, &block->scrub, block->allocation.memory,
                          block->allocation.offset, block->allocation.size, false);
    else if (block->status != GPB_OK)
        s_fail (self, block);
    //  Else it is being zeroed, and nobody has written to it.
}

//  A block that was given back is zero, or could not be made so.
static void
s_settle (gpb_pool_memory_t *self, gpb_pool_block_t *block)
{
    if (block->scrub.status != GPB_OK) {
        s_fail (self, block);
        return;
    }
    self->settled++;
    s_store_t *store = s_store (self, block->kind), *other = &self->stores [store == self->stores];
    s_block_free (self, block);
    uint64_t others = gpb_arena_kept (other->arena);
    uint64_t keep_size = self->keep_size > others ? self->keep_size - others : 0;
    if (gpb_arena_kept (store->arena) > keep_size)
        store->resource->trim (store->resource, keep_size);
}

gpb_pool_block_t *
gpb_pool_memory_done (gpb_pool_memory_t *self)
{
    gpb_scrub_t *scrub;
    while ((scrub = gpb_scrubber_done (self->scrubber))) {
        gpb_pool_block_t *block = scrub->item;
        if (block->is_returned) {
            s_settle (self, block);
            continue;
        }
        block->status = scrub->status;
        block->is_ready = scrub->status == GPB_OK;
        return block;
    }
    return NULL;
}

uint64_t
gpb_pool_memory_retry (gpb_pool_memory_t *self, uint64_t now_ns)
{
    if (self->retry_ns > now_ns)
        return self->retry_ns;
    self->retry_ns = UINT64_MAX;
    gpb_pool_block_t *block = self->failed;
    self->failed = NULL;
    while (block) {
        gpb_pool_block_t *next = block->failed;
        self->settled--;
        gpb_scrubber_add (self->scrubber, &block->scrub, block->allocation.memory,
                          block->allocation.offset, block->allocation.size, false);
        block = next;
    }
    return self->retry_ns;
}

uint64_t
gpb_pool_memory_returned (const gpb_pool_memory_t *self)
{
    return self->returned;
}

uint64_t
gpb_pool_memory_settled (const gpb_pool_memory_t *self)
{
    return self->settled;
}

uint64_t
gpb_pool_memory_trim (gpb_pool_memory_t *self)
{
    uint64_t size = 0;
    for (int store = 0; store < STORES; store++) {
        gpb_resource_t *resource = self->stores [store].resource;
        if (gpb_arena_kept (self->stores [store].arena))
            size += resource->trim (resource, 0);
    }
    return size;
}

void
gpb_pool_memory_stop (gpb_pool_memory_t *self)
{
    gpb_scrubber_stop (self->scrubber);
}

bool
gpb_pool_memory_is_idle (const gpb_pool_memory_t *self)
{
    return gpb_scrubber_is_idle (self->scrubber);
}

//  ---------------------------------------------------------------------------------------------------------
//  Figures

uint64_t
gpb_pool_memory_kept (const gpb_pool_memory_t *self)
{
    return gpb_arena_kept (self->stores [0].arena) + gpb_arena_kept (self->stores [1].arena);
}

uint64_t
gpb_pool_memory_largest (const gpb_pool_memory_t *self)
{
    uint64_t largest = 0;
    for (int store = 0; store < STORES; store++) {
        gpb_arena_figures_t figures;
        gpb_arena_figures (self->stores [store].arena, &figures);
        if (figures.largest_free > largest)
            largest = figures.largest_free;
    }
    return largest;
}

bool
gpb_pool_memory_of_driver (const gpb_pool_memory_t *self, uint64_t *size_p)
{
    const gpb_shared_context_t *shared = self->shared;
    return shared->operations->memory_free (shared->context, size_p, NULL) == GPB_OK;
}

uint64_t
gpb_pool_memory_limit (const gpb_pool_memory_t *self)
{
    return self->limit.limit;
}

void
gpb_pool_memory_holding (const gpb_pool_memory_t *self, gpb_holding_t *holding)
{
    *holding = (gpb_holding_t){ 0, 0 };
    for (int index = 0; index < STORES; index++) {
        const s_store_t *store = &self->stores [index];
        if (!store->is_devices)
            continue;
        uint64_t held = gpb_arena_in_use (store->arena) + gpb_arena_kept (store->arena);
        holding->held += held;
        holding->idle += held - store->taken;
    }
}

void
gpb_pool_memory_figures (gpb_pool_memory_t *self, Gpb__V1__PoolStats *figures)
{
    memset (self->kept_by_class, 0, sizeof self->kept_by_class);
    figures->kept = figures->held = figures->blocks_kept = figures->largest_free = 0;
    figures->hits = figures->misses = figures->trims = 0;
    figures->n_kept_by_class = 0;
    for (int store = 0; store < STORES; store++) {
        gpb_arena_figures_t arena;
        gpb_arena_figures (self->stores [store].arena, &arena);
        figures->kept += arena.kept;
        figures->held += arena.held;
        figures->blocks_kept += arena.blocks_kept;
        figures->hits += arena.hits;
        figures->misses += arena.misses;
        figures->trims += arena.trims;
        if (arena.largest_free > figures->largest_free)
            figures->largest_free = arena.largest_free;
        for (size_t class_index = 0; class_index < CLASSES; class_index++) {
            self->kept_by_class [class_index] += arena.kept_by_class [class_index];
            if (self->kept_by_class [class_index] && class_index >= figures->n_kept_by_class)
                figures->n_kept_by_class = class_index + 1;
        }
    }
    figures->kept_by_class = self->kept_by_class;
    figures->limit = self->limit.limit;
    figures->external_fragmentation =
        figures->kept ? 1.0 - (double) figures->largest_free / (double) figures->kept : 0.0;
}
