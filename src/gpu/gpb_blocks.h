//  gpb_blocks - the transient launch buffers of one device
//
//  What a launch needs beside its payloads (outputs, copies, staging) is taken from here and comes
//  back when the launch is done or, where a payload frame carries it to a client, when libzmq has
//  let go of that frame: any thread may give a block back, through one list without a lock. All
//  else is for the device's thread alone.
//
//  Each kind of memory has an arena (gpb_arena.h) over the driver, so that the memory of the last
//  request serves the next one: fresh memory costs page faults (measured on PoCL: 5.7 ms
//  against 2.1 for three blocks of 4 MB). Together they keep keep_size bytes free, as far as what
//  is beyond makes wholly free chunks. A block is a part of its memory: whoever names the memory
//  names the offset.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_BLOCKS_H_INCLUDED
#define GPB_BLOCKS_H_INCLUDED

#include "gpb_shared_context.h"

typedef struct _gpb_blocks_t gpb_blocks_t;

typedef struct {
    gpb_memory_t *memory;
    uint64_t offset;    //  of its first byte in memory; a multiple of the device's memory_alignment
    void *address;      //  of that byte; NULL for DEVICE memory
    uint64_t size;      //  bytes that it has, at least what was asked
    gpb_memory_kind_t kind;
} gpb_block_t;

typedef struct {
    uint64_t in_use;           //  bytes taken and not yet back
    uint64_t kept;             //  bytes free in the arenas
    uint64_t device_in_use;    //  of these, bytes that are the device's own memory: all kinds where
    uint64_t device_kept;      //  it shares the host's, else DEVICE alone
    uint64_t hits, misses;     //  blocks taken from what was held; that went to the driver
} gpb_blocks_figures_t;

//  Holds a reference to shared. NULL only when memory runs out.
gpb_blocks_t *gpb_blocks_new (const gpb_shared_context_t *shared, uint64_t keep_size,
                              gpb_error_t *error);

//  Blocks that are still out stay valid; the last of them to come back takes the rest with it.
void gpb_blocks_destroy (gpb_blocks_t **self_p);

//  A block of at least size bytes (at least 1), not zeroed. RESOURCE_EXHAUSTED where the driver has
//  no more, also after what is kept was given back to it.
gpb_block_t *gpb_blocks_take (gpb_blocks_t *self, gpb_memory_kind_t kind, uint64_t size,
                              gpb_error_t *error);

//  Gives a block back; *block_p becomes NULL. Any thread.
void gpb_blocks_give (gpb_block_t **block_p);

//  Gives all chunks of which nothing is in use back to the driver.
void gpb_blocks_trim (gpb_blocks_t *self);

void gpb_blocks_figures (gpb_blocks_t *self, gpb_blocks_figures_t *figures);

#endif
