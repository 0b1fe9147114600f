//  gpb_book - the requests that a broker has accepted and not yet answered
//
//  The book is what makes "exactly one answer" true: a request is entered when it is accepted,
//  found again by slot and generation when its executor answers, by connection and id when its
//  client cancels it, and by its deadline when its time is up; an answer that finds no entry, or
//  one that is answered, is dropped. One thread: the broker's.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_BOOK_H_INCLUDED
#define GPB_BOOK_H_INCLUDED

#include "gpb_entry.h"

typedef struct _gpb_book_t gpb_book_t;

//  NULL only when memory runs out.
gpb_book_t *gpb_book_new (gpb_error_t *error);

//  Entries that are still open are freed unanswered, and their registrations with them.
void gpb_book_destroy (gpb_book_t **self_p);

//  Enters the request of a call, taking its frames; its connection gets a tenant with the first
//  one. NULL: ALREADY_EXISTS where this connection has one with this id in flight, or
//  RESOURCE_EXHAUSTED when memory runs out; the frames are still the call's.
gpb_entry_t *gpb_book_enter (gpb_book_t *self, gpb_call_t *call, gpb_error_t *error);

//  Frees an entry, which must be in no queue, and have no registration any more.
void gpb_book_close (gpb_book_t *self, gpb_entry_t *entry);

//  From now on it counts as answered: it has no deadline any more, and its id is free.
void gpb_book_answered (gpb_book_t *self, gpb_entry_t *entry);

//  NULL where the slot has been used for another since.
gpb_entry_t *gpb_book_at (gpb_book_t *self, uint32_t slot, uint32_t generation);

//  The unanswered request of a connection with this id, or NULL.
gpb_entry_t *gpb_book_find (gpb_book_t *self, uint64_t client, uint64_t id);

//  An entry of a connection, any; NULL where it has none.
gpb_entry_t *gpb_book_of_client (const gpb_connection_t *connection);

//  What the broker knows of a connection; NULL where it has not asked for work.
gpb_tenant_t *gpb_book_tenant (const gpb_connection_t *connection);

//  The connection has ended: its entry no longer points to it, and is none of its any more.
void gpb_book_orphan (gpb_entry_t *entry);

//  Forgets a connection that has ended and has no entry any more.
void gpb_book_end (gpb_book_t *self, gpb_connection_t *connection);

//  The unanswered entry whose deadline is the earliest, or NULL.
gpb_entry_t *gpb_book_earliest (gpb_book_t *self);

//  How many are not answered.
size_t gpb_book_unanswered (const gpb_book_t *self);

#endif
