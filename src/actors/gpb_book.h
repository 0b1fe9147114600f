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

#include "gpb_heap.h"
#include "gpb_service.h"

typedef struct _gpb_book_t gpb_book_t;

//  One request.
typedef struct gpb_entry {
    uint32_t slot;                   //  in the book
    uint32_t generation;             //  of the slot: counts up with every use
    gpb_heap_node_t deadline;        //  key: gpb_clock_ns () by which it is answered
    gpb_message_t message;           //  its frames; once it is sent, the envelope alone
    gpb_connection_t *connection;    //  NULL: the client is gone, and nobody waits for the answer
    struct {
        uint64_t client;    //  gpb_connection_t.number
        uint64_t id;        //  the client's
    } key;
    Gpb__V1__Request__BodyCase kind;
    uint64_t received_ns;
    uint64_t sent_ns;    //  to its executor; 0: it waits in a queue
    uint64_t size;       //  bytes of its header and payloads
    uint64_t devices;    //  bit i: device i may have it
    unsigned device;     //  the one that has it
    bool answered;       //  the client has its answer: what the executor says is dropped
    struct gpb_registration *registration;    //  of a kernel, that goes to all devices; else NULL
    struct gpb_entry *queue_previous, *queue_next;      //  in its queue
    struct gpb_entry *client_previous, *client_next;    //  of its connection
} gpb_entry_t;

//  NULL only when memory runs out.
gpb_book_t *gpb_book_new (gpb_error_t *error);

//  Entries that are still open are freed unanswered, and their registrations with them.
void gpb_book_destroy (gpb_book_t **self_p);

//  Enters the request of a call, taking its frames. NULL: ALREADY_EXISTS where this connection has
//  one with this id in flight, or RESOURCE_EXHAUSTED when memory runs out; the frames are still the
//  call's.
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

//  The connection has ended: its entry no longer points to it, and is none of its any more.
void gpb_book_orphan (gpb_entry_t *entry);

//  The unanswered entry whose deadline is the earliest, or NULL.
gpb_entry_t *gpb_book_earliest (gpb_book_t *self);

//  How many are not answered.
size_t gpb_book_unanswered (const gpb_book_t *self);

#endif
