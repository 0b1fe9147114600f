//  gpb_region - memory that two processes share, and the blocks of payloads in it
//
//      memfd   [ chunk: [block][block][ free ] ][ no memory ][ chunk: ... ][ no memory ......... ]
//
//  The giver carves blocks out of chunks (gpb_arena.h) and chunks out of the region's addresses: a
//  sorted list of what is free, first fit, since there are few of them. A chunk's memory is
//  allocated when the chunk is made, so that running out is a status here and not a signal later;
//  it goes back to the system with the chunk.
//
//  What frames return stands in a stack that any thread pushes to, and that the taker's thread
//  empties whole (as gpb_blocks.c does it). A taker that is destroyed lives on, by a count of
//  references, until the last frame is gone; what is returned then waits for nobody.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_region.h"

#include "gpb_alloc.h"
#include "gpb_arena.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define REGION_SIZE (UINT64_C (16) << 30)    //  more than a broker hands to one device at once
#define KEEP_SIZE (UINT64_C (256) << 20)     //  of free memory: some requests of many megabytes
#define RANGES_MAX 1024                      //  free ranges between chunks
#define NO_BLOCK UINT32_MAX

typedef struct {
    uint64_t offset, size;
} s_range_t;

//  The region's addresses, as a resource for chunks.
typedef struct {
    gpb_resource_t resource;    //  the first member
    unsigned char *base;
    int fd;
    s_range_t ranges [RANGES_MAX];    //  that no chunk has, by offset
    size_t ranges_count;
} s_chunks_t;

//  A block that was given.
typedef struct {
    gpb_allocation_t allocation;    //  size 0: it is not in use
    uint32_t next;                  //  that is not in use
} s_block_t;

//  A frame, until its block is sent back.
typedef struct _s_node_t {
    gpb_region_t *region;
    struct _s_node_t *next;
    uint32_t block;
} s_node_t;

struct _gpb_region_t {
    atomic_uint_fast64_t references;    //  the owner's, and one for each frame
    unsigned char *base;

    //  The giver's
    gpb_resource_t *arena;    //  NULL: this is a taker
    s_block_t *blocks;
    uint32_t blocks_count;
    uint32_t spare;    //  the first that is not in use; NO_BLOCK: none
    size_t in_use;

    //  The taker's
    _Atomic (s_node_t *) returned;    //  any thread's
    s_node_t *collected;              //  off that stack, to be sent back
};

//  ---------------------------------------------------------------------------------------------------------
//  Chunks

static gpb_status_t
s_chunk_allocate (gpb_resource_t *resource, uint64_t size, gpb_allocation_t *allocation,
                  gpb_error_t *error)
{
    s_chunks_t *self = (s_chunks_t *) resource;
    const uint64_t page = (uint64_t) sysconf (_SC_PAGESIZE);
    size = (size + page - 1) / page * page;
    size_t index = 0;
    while (index < self->ranges_count && self->ranges [index].size < size)
        index++;
    if (size == 0 || index == self->ranges_count)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "the shared memory is full");
    s_range_t *range = &self->ranges [index];
    const uint64_t offset = range->offset;
    if (fallocate (self->fd, 0, (off_t) offset, (off_t) size) != 0)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory to share: %s",
                              strerror (errno));
    range->offset += size;
    range->size -= size;
    if (range->size == 0) {
        self->ranges_count--;
        memmove (range, range + 1, (self->ranges_count - index) * sizeof *range);
    }
    *allocation = (gpb_allocation_t){ .offset = offset,
                                      .address = self->base + offset,
                                      .size = size,
                                      .requested = size,
                                      .fresh = true };
    return GPB_OK;
}

//  Joins the range with its free neighbours. With more ranges than the list holds its addresses are
//  not used again, which 16 GiB can bear.
static void
s_chunk_deallocate (gpb_resource_t *resource, gpb_allocation_t *allocation)
{
    s_chunks_t *self = (s_chunks_t *) resource;
    s_range_t freed = { allocation->offset, allocation->size };
    memset (allocation, 0, sizeof *allocation);
    fallocate (self->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t) freed.offset,
               (off_t) freed.size);
    size_t index = 0;
    while (index < self->ranges_count && self->ranges [index].offset < freed.offset)
        index++;
    s_range_t *after = index < self->ranges_count ? &self->ranges [index] : NULL;
    s_range_t *before = index ? &self->ranges [index - 1] : NULL;
    const bool joins_after = after && freed.offset + freed.size == after->offset;
    const bool joins_before = before && before->offset + before->size == freed.offset;
    if (joins_before) {
        before->size += freed.size;
        if (joins_after) {
            before->size += after->size;
            self->ranges_count--;
            memmove (after, after + 1, (self->ranges_count - index) * sizeof *after);
        }
    }
    else if (joins_after) {
        after->offset = freed.offset;
        after->size += freed.size;
    }
    else if (self->ranges_count < RANGES_MAX) {
        memmove (&self->ranges [index + 1], &self->ranges [index],
                 (self->ranges_count - index) * sizeof *after);
        self->ranges [index] = freed;
        self->ranges_count++;
    }
}

static uint64_t
s_chunk_trim (gpb_resource_t *resource, uint64_t keep_size)
{
    (void) resource;
    (void) keep_size;
    return 0;
}

static void
s_chunks_destroy (gpb_resource_t **resource_p)
{
    s_chunks_t *self = (s_chunks_t *) *resource_p;
    *resource_p = NULL;
    if (self->fd >= 0)
        close (self->fd);
    gpb_free (self);
}

static gpb_resource_t *
s_chunks_new (unsigned char *base, int fd, gpb_error_t *error)
{
    s_chunks_t *self = gpb_alloc (1, sizeof *self);
    if (!self) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for the book of shared memory");
        return NULL;
    }
    self->resource = (gpb_resource_t){ .allocate = s_chunk_allocate,
                                       .deallocate = s_chunk_deallocate,
                                       .trim = s_chunk_trim,
                                       .destroy = s_chunks_destroy };
    self->base = base;
    self->fd = fcntl (fd, F_DUPFD_CLOEXEC, 0);
    self->ranges [0] = (s_range_t){ 0, REGION_SIZE };
    self->ranges_count = 1;
    if (self->fd < 0) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no descriptor for shared memory: %s",
                       strerror (errno));
        gpb_free (self);
        return NULL;
    }
    return &self->resource;
}

//  ---------------------------------------------------------------------------------------------------------
//  Life

int
gpb_region_create (gpb_error_t *error)
{
    int fd = memfd_create ("gpb-payloads", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd >= 0 && ftruncate (fd, (off_t) REGION_SIZE) == 0
        && fcntl (fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
        return fd;
    gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory to share with a device's process: %s",
                   strerror (errno));
    if (fd >= 0)
        close (fd);
    return -1;
}

//  The taker's side is only ever read, but for a client in this process, which may think that a
//  frame's bytes are its own.
static gpb_region_t *
s_map (int fd, gpb_error_t *error)
{
    gpb_region_t *self = gpb_alloc (1, sizeof *self);
    void *base =
        self ? mmap (NULL, REGION_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0)
             : MAP_FAILED;
    if (base == MAP_FAILED) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "shared memory cannot be mapped: %s",
                       strerror (self ? errno : ENOMEM));
        gpb_free (self);
        return NULL;
    }
    //  Clients' data is nothing for a core dump, and 16 GiB would make one last.
    madvise (base, REGION_SIZE, MADV_DONTDUMP);
    self->base = base;
    self->spare = NO_BLOCK;
    atomic_init (&self->references, 1);
    return self;
}

gpb_region_t *
gpb_region_giver (int fd, gpb_error_t *error)
{
    gpb_region_t *self = s_map (fd, error);
    gpb_resource_t *chunks = self ? s_chunks_new (self->base, fd, error) : NULL;
    gpb_arena_options_t options = { .keep_size = KEEP_SIZE };
    if (chunks)
        self->arena = gpb_arena_new (&chunks, &options, error);
    if (self && !self->arena)
        gpb_region_destroy (&self);
    return self;
}

gpb_region_t *
gpb_region_taker (int fd, gpb_error_t *error)
{
    return s_map (fd, error);
}

static void
s_free_nodes (s_node_t *node)
{
    while (node) {
        s_node_t *next = node->next;
        gpb_free (node);
        node = next;
    }
}

static void
s_release (gpb_region_t *self)
{
    if (atomic_fetch_sub_explicit (&self->references, 1, memory_order_acq_rel) != 1)
        return;
    s_free_nodes (atomic_load_explicit (&self->returned, memory_order_acquire));
    munmap (self->base, REGION_SIZE);
    gpb_free (self);
}

void
gpb_region_destroy (gpb_region_t **self_p)
{
    gpb_region_t *self = *self_p;
    if (!self)
        return;
    *self_p = NULL;
    for (uint32_t block = 0; block < self->blocks_count; block++)
        gpb_region_take_back (self, block);
    if (self->arena)
        self->arena->destroy (&self->arena);
    gpb_free (self->blocks);
    s_free_nodes (self->collected);
    self->collected = NULL;
    s_release (self);
}

//  ---------------------------------------------------------------------------------------------------------
//  The giver

static uint32_t
s_spare_block (gpb_region_t *self)
{
    if (self->spare != NO_BLOCK)
        return self->spare;
    uint32_t count = self->blocks_count ? 2 * self->blocks_count : 64;
    s_block_t *blocks = gpb_realloc (self->blocks, count, sizeof *blocks);
    if (!blocks)
        return NO_BLOCK;
    self->blocks = blocks;
    for (uint32_t block = count; block-- > self->blocks_count;) {
        blocks [block] = (s_block_t){ .next = self->spare };
        self->spare = block;
    }
    self->blocks_count = count;
    return self->spare;
}

gpb_status_t
gpb_region_put (gpb_region_t *self, const void *data, uint64_t size, gpb_region_place_t *place,
                gpb_error_t *error)
{
    uint32_t number = s_spare_block (self);
    if (number == NO_BLOCK)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a block's entry");
    s_block_t *block = &self->blocks [number];
    gpb_status_t status = self->arena->allocate (self->arena, size, &block->allocation, error);
    if (status != GPB_OK) {
        memset (&block->allocation, 0, sizeof block->allocation);
        return status;
    }
    self->spare = block->next;
    self->in_use++;
    memcpy (block->allocation.address, data, size);
    *place =
        (gpb_region_place_t){ .offset = block->allocation.offset, .size = size, .block = number };
    return GPB_OK;
}

void
gpb_region_take_back (gpb_region_t *self, uint32_t number)
{
    if (number >= self->blocks_count || self->blocks [number].allocation.size == 0)
        return;
    s_block_t *block = &self->blocks [number];
    self->arena->deallocate (self->arena, &block->allocation);
    block->next = self->spare;
    self->spare = number;
    self->in_use--;
}

size_t
gpb_region_in_use (const gpb_region_t *self)
{
    return self->in_use;
}

//  ---------------------------------------------------------------------------------------------------------
//  The taker

//  A zmq_free_fn: any thread.
static void
s_frame_free (void *data, void *hint)
{
    (void) data;
    s_node_t *node = hint;
    gpb_region_t *self = node->region;
    node->next = atomic_load_explicit (&self->returned, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit (&self->returned, &node->next, node,
                                                   memory_order_release, memory_order_relaxed))
        ;
    s_release (self);
}

gpb_status_t
gpb_region_frame (gpb_region_t *self, const gpb_region_place_t *place, zmq_msg_t *frame,
                  gpb_error_t *error)
{
    zmq_msg_init (frame);
    if (place->size == 0 || place->size > REGION_SIZE || place->offset > REGION_SIZE - place->size)
        return gpb_error_set (error, GPB_OUT_OF_RANGE,
                              "a payload of %llu bytes at offset %llu is not in the shared memory",
                              (unsigned long long) place->size, (unsigned long long) place->offset);
    s_node_t *node = gpb_alloc (1, sizeof *node);
    if (!node)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a payload's entry");
    *node = (s_node_t){ .region = self, .block = place->block };
    if (zmq_msg_init_data (frame, self->base + place->offset, place->size, s_frame_free, node) != 0)
    {
        zmq_msg_init (frame);
        gpb_free (node);
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a payload's frame");
    }
    atomic_fetch_add_explicit (&self->references, 1, memory_order_relaxed);
    return GPB_OK;
}

size_t
gpb_region_returned (gpb_region_t *self, uint32_t *blocks, size_t most)
{
    s_node_t *node = atomic_exchange_explicit (&self->returned, NULL, memory_order_acquire);
    while (node) {
        s_node_t *next = node->next;
        node->next = self->collected;
        self->collected = node;
        node = next;
    }
    size_t count = 0;
    for (node = self->collected; node && count < most; node = node->next)
        blocks [count++] = node->block;
    return count;
}

void
gpb_region_sent_back (gpb_region_t *self, size_t count)
{
    for (; count > 0; count--) {
        s_node_t *node = self->collected;
        self->collected = node->next;
        gpb_free (node);
    }
}
