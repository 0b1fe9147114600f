//  gpb_pending - what is in flight, found by id, and by the nearest deadline
//
//  An open-addressing table by id and a gpb_heap by deadline over the same records; both grow in
//  gpb_pending_insert, which alone can fail. It owns its two arrays, never the records.
//  One thread at a time.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_PENDING_H_INCLUDED
#define GPB_PENDING_H_INCLUDED

#include "gpb_client_internal.h"

//  A structure of zeros is empty.
typedef struct {
    gpb_reply_t **slots;    //  capacity of them, a power of two; at most half are taken
    size_t capacity;
    gpb_heap_t deadlines;    //  of the same records
} gpb_pending_t;

//  Frees the arrays; the records are the caller's.
void gpb_pending_clear (gpb_pending_t *self);

//  RESOURCE_EXHAUSTED when memory runs out. The id must not be there.
gpb_status_t gpb_pending_insert (gpb_pending_t *self, gpb_reply_t *reply, gpb_error_t *error);

//  NULL where there is none.
gpb_reply_t *gpb_pending_find (const gpb_pending_t *self, uint64_t id);

//  reply must be there.
void gpb_pending_remove (gpb_pending_t *self, gpb_reply_t *reply);

//  reply must be there: its deadline is now key.
void gpb_pending_reschedule (gpb_pending_t *self, gpb_reply_t *reply, uint64_t key);

//  The one whose deadline is next; NULL where there is none.
gpb_reply_t *gpb_pending_next (const gpb_pending_t *self);

size_t gpb_pending_count (const gpb_pending_t *self);

#endif
