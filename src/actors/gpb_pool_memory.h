//  gpb_pool_memory - a pool's memory: blocks of two kinds, zero when somebody gets them
//
//  An arena for DEVICE and one for MAPPED memory stand over the driver, under one limit. Nobody
//  ever waits in here: memory that comes back is zeroed then, by commands on the pool's stream, and
//  is free when they are done; what is fresh from the driver is zeroed when it is taken, and
//  gpb_pool_memory_done says when it is ready. So what has been somebody's is zero before it is
//  somebody else's, and most blocks are ready at once.
//
//  One thread: the pool's.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_POOL_MEMORY_H_INCLUDED
#define GPB_POOL_MEMORY_H_INCLUDED

#include "gpb_arena.h"
#include "gpb_lease.h"
#include "gpb_scrubber.h"

#include "gpb.pb-c.h"

typedef struct _gpb_pool_memory_t gpb_pool_memory_t;

typedef struct gpb_pool_block {
    gpb_allocation_t allocation;
    gpb_memory_kind_t kind;
    bool is_ready;          //  it is zero, and its taker's
    gpb_status_t status;    //  why it will never be ready; GPB_OK while nothing is wrong
    void *item;             //  the taker's

    //  gpb_pool_memory's own
    gpb_scrub_t scrub;
    bool is_returned;
    struct gpb_pool_block *previous, *next;    //  of all
    struct gpb_pool_block *failed;             //  the next one that could not be zeroed
} gpb_pool_block_t;

//  config is borrowed for the call, but for debug lines, which need it for life. NULL: the reason
//  is in *error. shared is borrowed for its life.
gpb_pool_memory_t *gpb_pool_memory_new (const gpb_config_t *config,
                                        const gpb_shared_context_t *shared, gpb_error_t *error);

//  With every block that there is. Nothing may be on the pool's stream (gpb_pool_memory_is_idle).
void gpb_pool_memory_destroy (gpb_pool_memory_t **self_p);

//  A block of at least size bytes; ready, or being zeroed. Before it gives up, everything that is
//  free goes back to the driver, which is asked once more. NULL, RESOURCE_EXHAUSTED: that was not
//  enough (what is being zeroed may be, see gpb_pool_memory_returned); or the driver's status.
gpb_pool_block_t *gpb_pool_memory_take (gpb_pool_memory_t *self, gpb_memory_kind_t kind,
                                        uint64_t size, gpb_error_t *error);

//  Gives a block back, ready or not; nothing on the device uses it any more. *block_p becomes NULL.
void gpb_pool_memory_give (gpb_pool_memory_t *self, gpb_pool_block_t **block_p);

//  The next block that has become ready since it was taken, or has failed to (status); NULL: none.
//  To be called when the pool's eventfd says something, until it gives NULL.
gpb_pool_block_t *gpb_pool_memory_done (gpb_pool_memory_t *self);

//  What could not be zeroed is tried once more, where its pause is over at now_ns (gpb_clock_ns).
//  When to call this next; UINT64_MAX: there is nothing to try.
uint64_t gpb_pool_memory_retry (gpb_pool_memory_t *self, uint64_t now_ns);

//  How many blocks were ever given back, and how many of these are no longer being zeroed: who
//  finds no memory waits until the second figure has reached what the first one was.
uint64_t gpb_pool_memory_returned (const gpb_pool_memory_t *self);
uint64_t gpb_pool_memory_settled (const gpb_pool_memory_t *self);

//  Gives what is free back to the driver. Returns the bytes.
uint64_t gpb_pool_memory_trim (gpb_pool_memory_t *self);

//  Begins no more zeroing: for who is about to destroy it.
void gpb_pool_memory_stop (gpb_pool_memory_t *self);
bool gpb_pool_memory_is_idle (const gpb_pool_memory_t *self);

//  Bytes that are free, and those of the largest free block; what the driver has beside, false
//  where it does not say.
uint64_t gpb_pool_memory_kept (const gpb_pool_memory_t *self);
uint64_t gpb_pool_memory_largest (const gpb_pool_memory_t *self);
bool gpb_pool_memory_of_driver (const gpb_pool_memory_t *self, uint64_t *size_p);

uint64_t gpb_pool_memory_limit (const gpb_pool_memory_t *self);

//  What it has of the device's own memory.
void gpb_pool_memory_holding (const gpb_pool_memory_t *self, gpb_holding_t *holding);

//  Fills the fields of figures that say what is held, kept, hit and missed. kept_by_class points
//  into self afterwards, valid until the next call.
void gpb_pool_memory_figures (gpb_pool_memory_t *self, Gpb__V1__PoolStats *figures);

#endif
