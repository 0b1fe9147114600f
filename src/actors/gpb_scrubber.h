//  gpb_scrubber - zeroes memory on a pool's stream, a piece at a time
//
//  Memory is zeroed before another client gets it, and nobody waits for it: a scrub is added, the
//  pool polls its eventfd, and gpb_scrubber_done gives the scrubs that have ended. Only a few
//  pieces are on the stream at once, and between them whoever a client waits for goes first and
//  takes turns: so a rent never waits behind the gigabytes of another one. One thread: the pool's.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_SCRUBBER_H_INCLUDED
#define GPB_SCRUBBER_H_INCLUDED

#include "gpb_shared_context.h"

//  Bytes of one command. A card does as many in 20 microseconds, a processor in 10 ms: long beside
//  what a command costs, short for somebody who waits behind one.
#define GPB_SCRUB_PIECE_SIZE (UINT64_C (32) << 20)

typedef struct _gpb_scrubber_t gpb_scrubber_t;

//  One stretch of memory to be zeroed; embedded in what it is for. Between gpb_scrubber_add and the
//  gpb_scrubber_done that gives it back, it and the memory stay as they are.
typedef struct gpb_scrub {
    struct gpb_scrub *next;    //  in its queue
    gpb_memory_t *memory;
    uint64_t offset, size;    //  bytes
    uint64_t begun;           //  bytes that commands were enqueued for
    size_t commands;          //  that are on the stream
    gpb_status_t status;      //  its outcome
    void *item;               //  what it is a part of
} gpb_scrub_t;

//  NULL only when memory runs out. shared is borrowed for its life.
gpb_scrubber_t *gpb_scrubber_new (const gpb_shared_context_t *shared, gpb_error_t *error);

//  Nothing may be on the stream.
void gpb_scrubber_destroy (gpb_scrubber_t **self_p);

//  Zeroes size bytes of memory from offset on. is_awaited: somebody waits for it.
void gpb_scrubber_add (gpb_scrubber_t *self, gpb_scrub_t *scrub, gpb_memory_t *memory,
                       uint64_t offset, uint64_t size, bool is_awaited);

//  A scrub that has ended, for better or worse, in the order of their ends; NULL: none. To be
//  called whenever the pool's eventfd says something.
gpb_scrub_t *gpb_scrubber_done (gpb_scrubber_t *self);

//  Nothing more begins. What is on the stream still ends.
void gpb_scrubber_stop (gpb_scrubber_t *self);

//  Whether nothing is on the stream.
bool gpb_scrubber_is_idle (const gpb_scrubber_t *self);

#endif
