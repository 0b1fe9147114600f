//  gpb_book - the requests that a broker has accepted and not yet answered
//
//  Entries are large (they hold the frames of a message), so they are allocated in chunks that are
//  kept, and used again last in, first out: what was touched last is what the cache has. Those that
//  are not answered are found by client and id in a table of chains through the entries themselves,
//  which doubles when there are as many entries as chains. A connection's data is its tenant, at
//  which its entries hang in a list.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_book.h"

#include "gpb_alloc.h"
#include "gpb_principal.h"
#include "gpb_queue.h"
#include "gpb_registration.h"

#include <inttypes.h>

#define CHUNK_ENTRIES 64
#define CHUNKS_MAX 65536
#define FIRST_CHAINS 1024    //  a power of two

//  A connection's tenant is in a list, for the end of the book.
typedef struct _s_tenant_t {
    gpb_tenant_t tenant;    //  what others see; the first member
    struct _s_tenant_t *previous, *next;
} s_tenant_t;

struct _gpb_book_t {
    gpb_entry_t **chunks;    //  of CHUNK_ENTRIES entries each
    size_t chunks_count;
    gpb_entry_t *free;       //  linked by free_next
    gpb_entry_t **chains;    //  those not answered, by client and id, linked by key_next
    size_t chains_count;
    gpb_heap_t deadlines;    //  likewise
    s_tenant_t *tenants;
};

gpb_book_t *
gpb_book_new (gpb_error_t *error)
{
    gpb_book_t *self = gpb_alloc (1, sizeof *self);
    if (self) {
        self->chains_count = FIRST_CHAINS;
        self->chains = gpb_alloc (self->chains_count, sizeof (gpb_entry_t *));
    }
    if (!self || !self->chains) {
        gpb_free (self);
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a broker's book");
        return NULL;
    }
    return self;
}

static void
s_tenant_free (gpb_book_t *self, s_tenant_t *tenant)
{
    if (tenant->previous)
        tenant->previous->next = tenant->next;
    else
        self->tenants = tenant->next;
    if (tenant->next)
        tenant->next->previous = tenant->previous;
    gpb_tenant_clear (&tenant->tenant);
    gpb_free (tenant);
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
            gpb_principal_settle (&self->chunks [chunk][index], NULL, 0);
        }
        gpb_free (self->chunks [chunk]);
    }
    while (self->tenants)
        s_tenant_free (self, self->tenants);
    gpb_free (self->chunks);
    gpb_free (self->chains);
    gpb_heap_clear (&self->deadlines);
    gpb_free (self);
}

//  ---------------------------------------------------------------------------------------------------------
//  By client and id

static gpb_entry_t **
s_chain (const gpb_book_t *self, uint64_t client, uint64_t id)
{
    //  Clients and ids count up: an odd factor each, and the high bits, which both have reached.
    uint64_t hash = (client * 0x9E3779B97F4A7C15ULL) ^ (id * 0xD6E8FEB86659FD93ULL);
    return &self->chains [(hash >> 32) & (self->chains_count - 1)];
}

//  Twice as many chains; where memory runs out, the old ones do.
static void
s_lengthen (gpb_book_t *self)
{
    gpb_entry_t **old = self->chains;
    size_t count = self->chains_count;
    gpb_entry_t **chains = gpb_alloc (2 * count, sizeof (gpb_entry_t *));
    if (!chains)
        return;
    self->chains = chains;
    self->chains_count = 2 * count;
    for (size_t index = 0; index < count; index++)
        while (old [index]) {
            gpb_entry_t *entry = old [index], **chain;
            old [index] = entry->key_next;
            chain = s_chain (self, entry->key.client, entry->key.id);
            entry->key_next = *chain;
            *chain = entry;
        }
    gpb_free (old);
}

static void
s_unlink_key (gpb_book_t *self, gpb_entry_t *entry)
{
    gpb_entry_t **link = s_chain (self, entry->key.client, entry->key.id);
    while (*link != entry)
        link = &(*link)->key_next;
    *link = entry->key_next;
}

gpb_entry_t *
gpb_book_find (gpb_book_t *self, uint64_t client, uint64_t id)
{
    gpb_entry_t *entry = *s_chain (self, client, id);
    while (entry && (entry->key.client != client || entry->key.id != id))
        entry = entry->key_next;
    return entry;
}

//  ---------------------------------------------------------------------------------------------------------
//  Entries

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
        chunk [index].free_next = self->free;
        self->free = &chunk [index];
    }
    self->chunks [self->chunks_count++] = chunk;
    return true;
}

//  The connection's tenant, made where it has none; NULL when memory runs out.
static gpb_tenant_t *
s_tenant_for (gpb_book_t *self, gpb_connection_t *connection)
{
    if (connection->data)
        return connection->data;
    s_tenant_t *tenant = gpb_alloc (1, sizeof *tenant);
    if (!tenant)
        return NULL;
    tenant->next = self->tenants;
    if (tenant->next)
        tenant->next->previous = tenant;
    self->tenants = tenant;
    connection->data = tenant;
    return &tenant->tenant;
}

gpb_entry_t *
gpb_book_enter (gpb_book_t *self, gpb_call_t *call, gpb_error_t *error)
{
    gpb_connection_t *connection = call->connection;
    const Gpb__V1__Request *request = call->request;
    if (gpb_book_find (self, connection->number, request->id)) {
        gpb_error_set (error, GPB_ALREADY_EXISTS,
                       "request %" PRIu64 " of this connection is in flight: ids are free again "
                       "when they are answered",
                       request->id);
        return NULL;
    }
    gpb_tenant_t *tenant = s_tenant_for (self, connection);
    gpb_entry_t *entry = tenant && (self->free || s_grow (self)) ? self->free : NULL;
    if (entry) {
        entry->deadline.key = call->deadline_ns;
        entry->deadline.tie = 0;
    }
    if (!entry || !gpb_heap_add (&self->deadlines, &entry->deadline)) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for one more request");
        return NULL;
    }
    self->free = entry->free_next;
    entry->connection = connection;
    entry->tenant = tenant;
    entry->key.client = connection->number;
    entry->key.id = request->id;
    entry->kind = request->body_case;
    entry->priority = request->priority;
    entry->is_idempotent = request->idempotent;
    entry->received_ns = call->received_ns;
    entry->size = zmq_msg_size (&call->message->header) + gpb_message_payload_size (call->message);
    entry->answered = false;
    entry->is_bound = entry->is_hosted = false;
    entry->memory = 0;
    entry->sent_ns = 0;
    entry->attempts = 0;
    if (self->deadlines.count > self->chains_count)
        s_lengthen (self);
    gpb_entry_t **chain = s_chain (self, entry->key.client, entry->key.id);
    entry->key_next = *chain;
    *chain = entry;
    entry->client_previous = NULL;
    entry->client_next = tenant->entries;
    if (entry->client_next)
        entry->client_next->client_previous = entry;
    tenant->entries = entry;
    gpb_message_move (&entry->message, call->message);
    return entry;
}

void
gpb_book_answered (gpb_book_t *self, gpb_entry_t *entry)
{
    if (entry->answered)
        return;
    entry->answered = true;
    s_unlink_key (self, entry);
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
        entry->tenant->entries = entry->client_next;
    if (entry->client_next)
        entry->client_next->client_previous = entry->client_previous;
    entry->client_previous = entry->client_next = NULL;
    entry->connection = NULL;
    entry->tenant = NULL;
}

void
gpb_book_close (gpb_book_t *self, gpb_entry_t *entry)
{
    gpb_book_answered (self, entry);
    gpb_principal_settle (entry, NULL, 0);
    gpb_book_orphan (entry);
    gpb_message_clear (&entry->message);
    entry->generation++;
    entry->sent_ns = 0;    //  whatever is said of this slot now is said of nobody's request
    entry->free_next = self->free;
    self->free = entry;
}

void
gpb_book_end (gpb_book_t *self, gpb_connection_t *connection)
{
    if (connection->data)
        s_tenant_free (self, connection->data);
    connection->data = NULL;
}

gpb_entry_t *
gpb_book_at (gpb_book_t *self, uint32_t slot, uint32_t generation)
{
    if (slot / CHUNK_ENTRIES >= self->chunks_count)
        return NULL;
    gpb_entry_t *entry = &self->chunks [slot / CHUNK_ENTRIES][slot % CHUNK_ENTRIES];
    return entry->generation == generation ? entry : NULL;
}

gpb_tenant_t *
gpb_book_tenant (const gpb_connection_t *connection)
{
    return connection->data;
}

gpb_entry_t *
gpb_book_of_client (const gpb_connection_t *connection)
{
    const gpb_tenant_t *tenant = connection->data;
    return tenant ? tenant->entries : NULL;
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
