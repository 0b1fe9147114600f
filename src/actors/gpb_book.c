//  gpb_book - the requests that a broker has accepted and not yet answered
//
//  Entries are large (they hold the frames of a message), so they are allocated in chunks that are
//  kept, and used again last in, first out: what was touched last is what the cache has. A
//  connection's entries hang in a list whose head is its data.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_book.h"

#include "gpb_alloc.h"
#include "gpb_registration.h"

#include <inttypes.h>

#define CHUNK_ENTRIES 64
#define CHUNKS_MAX 65536

struct _gpb_book_t {
    gpb_entry_t **chunks;    //  of CHUNK_ENTRIES entries each
    size_t chunks_count;
    gpb_entry_t *free;       //  linked by queue_next
    zhashx_t *by_key;        //  those not answered, by client and id
    gpb_heap_t deadlines;    //  likewise
};

static size_t
s_key_hash (const void *key)
{
    uint64_t words [2];
    memcpy (words, key, sizeof words);
    uint64_t hash = (words [0] ^ words [1] * 0x9E3779B97F4A7C15ULL) * 0xD6E8FEB86659FD93ULL;
    return (size_t) (hash ^ hash >> 32);
}

static int
s_key_compare (const void *left, const void *right)
{
    return memcmp (left, right, 2 * sizeof (uint64_t));
}

gpb_book_t *
gpb_book_new (gpb_error_t *error)
{
    gpb_book_t *self = gpb_alloc (1, sizeof *self);
    if (!self) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a broker's book");
        return NULL;
    }
    self->by_key = zhashx_new ();
    zhashx_set_key_hasher (self->by_key, s_key_hash);
    zhashx_set_key_comparator (self->by_key, s_key_compare);
    zhashx_set_key_duplicator (self->by_key, NULL);
    zhashx_set_key_destructor (self->by_key, NULL);
    return self;
}

void
gpb_book_destroy (gpb_book_t **self_p)
{
    gpb_book_t *self = *self_p;
    if (!self)
        return;
    *self_p = NULL;
    for (size_t chunk = 0; chunk < self->chunks_count; chunk++) {
        for (size_t index = 0; index < CHUNK_ENTRIES; index++) {
            gpb_message_clear (&self->chunks [chunk][index].message);
            gpb_registration_destroy (&self->chunks [chunk][index].registration);
        }
        gpb_free (self->chunks [chunk]);
    }
    gpb_free (self->chunks);
    gpb_heap_clear (&self->deadlines);
    zhashx_destroy (&self->by_key);
    gpb_free (self);
}

static bool
s_grow (gpb_book_t *self)
{
    if (self->chunks_count == CHUNKS_MAX)
        return false;
    void *chunks = gpb_realloc (self->chunks, self->chunks_count + 1, sizeof *self->chunks);
    if (!chunks)
        return false;
    self->chunks = chunks;
    gpb_entry_t *chunk = gpb_alloc (CHUNK_ENTRIES, sizeof *chunk);
    if (!chunk)
        return false;
    for (size_t index = 0; index < CHUNK_ENTRIES; index++) {
        chunk [index].slot = (uint32_t) (self->chunks_count * CHUNK_ENTRIES + index);
        gpb_message_init (&chunk [index].message);
        chunk [index].queue_next = self->free;
        self->free = &chunk [index];
    }
    self->chunks [self->chunks_count++] = chunk;
    return true;
}

gpb_entry_t *
gpb_book_enter (gpb_book_t *self, gpb_call_t *call, gpb_error_t *error)
{
    gpb_connection_t *connection = call->connection;
    if (gpb_book_find (self, connection->number, call->request->id)) {
        gpb_error_set (error, GPB_ALREADY_EXISTS,
                       "request %" PRIu64 " of this connection is in flight: ids are free again "
                       "when they are answered",
                       call->request->id);
        return NULL;
    }
    gpb_entry_t *entry = self->free || s_grow (self) ? self->free : NULL;
    if (entry)
        entry->deadline.key = call->deadline_ns;
    if (!entry || !gpb_heap_add (&self->deadlines, &entry->deadline)) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for one more request");
        return NULL;
    }
    self->free = entry->queue_next;
    entry->queue_next = NULL;
    entry->connection = connection;
    entry->key.client = connection->number;
    entry->key.id = call->request->id;
    entry->kind = call->request->body_case;
    entry->received_ns = call->received_ns;
    entry->sent_ns = 0;
    entry->size = zmq_msg_size (&call->message->header) + gpb_message_payload_size (call->message);
    entry->answered = false;
    zhashx_insert (self->by_key, &entry->key, entry);
    entry->client_previous = NULL;
    entry->client_next = connection->data;
    if (entry->client_next)
        entry->client_next->client_previous = entry;
    connection->data = entry;
    gpb_message_move (&entry->message, call->message);
    return entry;
}

void
gpb_book_answered (gpb_book_t *self, gpb_entry_t *entry)
{
    if (entry->answered)
        return;
    entry->answered = true;
    zhashx_delete (self->by_key, &entry->key);
    gpb_heap_remove (&self->deadlines, &entry->deadline);
}

void
gpb_book_orphan (gpb_entry_t *entry)
{
    if (!entry->connection)
        return;
    if (entry->client_previous)
        entry->client_previous->client_next = entry->client_next;
    else
        entry->connection->data = entry->client_next;
    if (entry->client_next)
        entry->client_next->client_previous = entry->client_previous;
    entry->client_previous = entry->client_next = NULL;
    entry->connection = NULL;
}

void
gpb_book_close (gpb_book_t *self, gpb_entry_t *entry)
{
    gpb_book_answered (self, entry);
    gpb_book_orphan (entry);
    gpb_message_clear (&entry->message);
    entry->generation++;
    entry->sent_ns = 0;    //  whatever is said of this slot now is said of nobody's request
    entry->queue_previous = NULL;
    entry->queue_next = self->free;
    self->free = entry;
}

gpb_entry_t *
gpb_book_at (gpb_book_t *self, uint32_t slot, uint32_t generation)
{
    if (slot / CHUNK_ENTRIES >= self->chunks_count)
        return NULL;
    gpb_entry_t *entry = &self->chunks [slot / CHUNK_ENTRIES][slot % CHUNK_ENTRIES];
    return entry->generation == generation ? entry : NULL;
}

gpb_entry_t *
gpb_book_find (gpb_book_t *self, uint64_t client, uint64_t id)
{
    uint64_t key [2] = { client, id };
    return zhashx_lookup (self->by_key, key);
}

gpb_entry_t *
gpb_book_of_client (const gpb_connection_t *connection)
{
    return connection->data;
}

gpb_entry_t *
gpb_book_earliest (gpb_book_t *self)
{
    gpb_heap_node_t *node = gpb_heap_first (&self->deadlines);
    return node ? (gpb_entry_t *) ((char *) node - offsetof (gpb_entry_t, deadline)) : NULL;
}

size_t
gpb_book_unanswered (const gpb_book_t *self)
{
    return self->deadlines.count;
}
