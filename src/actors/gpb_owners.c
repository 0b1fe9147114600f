//  gpb_owners - who owns what: the things of each client, and how many bytes they are
//
//  An entry for each owner that has something, in a table by owner and in a list of all, with a
//  list of its things.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_owners.h"

#include "gpb_alloc.h"

typedef struct _s_entry_t {
    gpb_owner_figures_t figures;    //  what others see; the first member
    gpb_owned_t *first;
    struct _s_entry_t *previous, *next;    //  of all
} s_entry_t;

struct _gpb_owners_t {
    zhashx_t *table;     //  s_entry_t by gpb_owner_t
    s_entry_t *first;    //  of all
    uint64_t last_number;
};

static size_t
s_owner_hash (const void *key)
{
    const gpb_owner_t *owner = key;
    return (size_t) ((owner->connection * 0x9E3779B97F4A7C15ULL ^ owner->behind)
                         * 0x9E3779B97F4A7C15ULL
                     >> 32);
}

static int
s_owner_compare (const void *left, const void *right)
{
    return gpb_owner_same (left, right) ? 0 : 1;
}

gpb_owners_t *
gpb_owners_new (gpb_error_t *error)
{
    gpb_owners_t *self = gpb_alloc (1, sizeof *self);
    if (!self) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a table of owners");
        return NULL;
    }
    self->table = zhashx_new ();
    zhashx_set_key_hasher (self->table, s_owner_hash);
    zhashx_set_key_comparator (self->table, s_owner_compare);
    zhashx_set_key_duplicator (self->table, NULL);
    zhashx_set_key_destructor (self->table, NULL);
    return self;
}

void
gpb_owners_destroy (gpb_owners_t **self_p)
{
    gpb_owners_t *self = *self_p;
    if (!self)
        return;
    *self_p = NULL;
    zhashx_destroy (&self->table);
    while (self->first) {
        s_entry_t *entry = self->first;
        self->first = entry->next;
        gpb_free (entry);
    }
    gpb_free (self);
}

static s_entry_t *
s_entry_new (gpb_owners_t *self, const gpb_owner_t *owner)
{
    s_entry_t *entry = gpb_alloc (1, sizeof *entry);
    if (!entry)
        return NULL;
    entry->figures.owner = *owner;
    entry->figures.number = ++self->last_number;
    entry->next = self->first;
    if (self->first)
        self->first->previous = entry;
    self->first = entry;
    zhashx_insert (self->table, &entry->figures.owner, entry);
    return entry;
}

static void
s_entry_free (gpb_owners_t *self, s_entry_t *entry)
{
    zhashx_delete (self->table, &entry->figures.owner);
    *(entry->previous ? &entry->previous->next : &self->first) = entry->next;
    if (entry->next)
        entry->next->previous = entry->previous;
    gpb_free (entry);
}

gpb_status_t
gpb_owners_add (gpb_owners_t *self, const gpb_owner_t *owner, gpb_owned_t *thing, uint64_t size,
                gpb_error_t *error)
{
    s_entry_t *entry = zhashx_lookup (self->table, owner);
    if (!entry)
        entry = s_entry_new (self, owner);
    if (!entry)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for an owner's entry");
    entry->figures.count++;
    entry->figures.size += size;
    thing->owner = &entry->figures;
    thing->size = size;
    thing->previous = NULL;
    thing->next = entry->first;
    if (entry->first)
        entry->first->previous = thing;
    entry->first = thing;
    return GPB_OK;
}

void
gpb_owners_remove (gpb_owners_t *self, gpb_owned_t *thing)
{
    s_entry_t *entry = (s_entry_t *) thing->owner;
    if (!entry)
        return;
    *(thing->previous ? &thing->previous->next : &entry->first) = thing->next;
    if (thing->next)
        thing->next->previous = thing->previous;
    entry->figures.count--;
    entry->figures.size -= thing->size;
    thing->owner = NULL;
    thing->previous = thing->next = NULL;
    if (entry->figures.count == 0)
        s_entry_free (self, entry);
}

gpb_owner_figures_t
gpb_owners_figures (const gpb_owners_t *self, const gpb_owner_t *owner)
{
    const s_entry_t *entry = zhashx_lookup (self->table, owner);
    return entry ? entry->figures : (gpb_owner_figures_t){ .owner = *owner };
}

gpb_owned_t *
gpb_owners_first (gpb_owners_t *self, const gpb_owner_t *owner)
{
    const s_entry_t *entry = zhashx_lookup (self->table, owner);
    if (!entry && !owner->behind) {
        entry = self->first;
        while (entry && entry->figures.owner.connection != owner->connection)
            entry = entry->next;
    }
    return entry ? entry->first : NULL;
}

gpb_owned_t *
gpb_owners_any (gpb_owners_t *self)
{
    return self->first ? self->first->first : NULL;
}
