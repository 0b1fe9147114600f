//  gpb_reservations - memory of a device that is set aside for a client
//
//  Found by handle (gpb_handles), by owner (gpb_owners), and by the time at which they end
//  (gpb_heap), so that each request costs the same however many there are.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_reservations.h"

#include "gpb_alloc.h"
#include "gpb_clock.h"
#include "gpb_handles.h"
#include "gpb_heap.h"
#include "gpb_owners.h"

#include <assert.h>
#include <inttypes.h>

typedef struct {
    gpb_reservation_t reservation;    //  what others see; the first member
    gpb_heap_node_t end;              //  key: gpb_clock_ns (); the second member
    gpb_owned_t owned;
} s_entry_t;

struct _gpb_reservations_t {
    size_t most;            //  of one owner
    uint64_t longest_ms;    //  until it is renewed
    gpb_handles_t *handles;
    gpb_owners_t *owners;
    gpb_heap_t ends;
    uint64_t undrawn;    //  bytes of all
};

gpb_reservations_t *
gpb_reservations_new (unsigned device, size_t most, uint64_t longest_ms, gpb_error_t *error)
{
    gpb_reservations_t *self = gpb_alloc (1, sizeof *self);
    if (!self) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a table of reservations");
        return NULL;
    }
    self->most = most;
    self->longest_ms = longest_ms;
    self->handles = gpb_handles_new (device, GPB_HANDLES_GENERATIONS, error);
    if (self->handles)
        self->owners = gpb_owners_new (error);
    if (!self->owners)
        gpb_reservations_destroy (&self);
    return self;
}

static s_entry_t *
s_entry_of (const gpb_heap_node_t *end)
{
    return (s_entry_t *) ((char *) end - offsetof (s_entry_t, end));
}

static void
s_entry_end (gpb_reservations_t *self, s_entry_t *entry)
{
    gpb_handles_remove (self->handles, entry->reservation.handle);
    gpb_owners_remove (self->owners, &entry->owned);
    gpb_heap_remove (&self->ends, &entry->end);
    self->undrawn -= entry->reservation.size - entry->reservation.drawn;
    gpb_free (entry);
}

void
gpb_reservations_destroy (gpb_reservations_t **self_p)
{
    gpb_reservations_t *self = *self_p;
    if (!self)
        return;
    *self_p = NULL;
    gpb_heap_node_t *end;
    while ((end = gpb_heap_first (&self->ends)))
        s_entry_end (self, s_entry_of (end));
    gpb_heap_clear (&self->ends);
    gpb_owners_destroy (&self->owners);
    gpb_handles_destroy (&self->handles);
    gpb_free (self);
}

static uint64_t
s_end_ns (const gpb_reservations_t *self, uint64_t now_ns, uint32_t *for_ms_p)
{
    if (*for_ms_p == 0 || *for_ms_p > self->longest_ms)
        *for_ms_p = (uint32_t) (self->longest_ms < UINT32_MAX ? self->longest_ms : UINT32_MAX);
    return now_ns + *for_ms_p * GPB_NS_PER_MS;
}

const gpb_reservation_t *
gpb_reservations_add (gpb_reservations_t *self, const gpb_owner_t *owner, uint64_t size,
                      uint64_t now_ns, uint32_t *for_ms_p, gpb_error_t *error)
{
    if (size == 0) {
        gpb_error_set (error, GPB_INVALID_ARGUMENT,
                       "a reservation of 0 bytes was asked for: expected at least 1");
        return NULL;
    }
    if (gpb_owners_figures (self->owners, owner).count >= self->most) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED,
                       "this client has %zu reservations on this device, as many as one may have",
                       self->most);
        return NULL;
    }
    s_entry_t *entry = gpb_alloc (1, sizeof *entry);
    if (!entry) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a reservation");
        return NULL;
    }
    entry->reservation.size = size;
    entry->owned.item = entry;
    entry->end.key = s_end_ns (self, now_ns, for_ms_p);
    self->undrawn += size;
    gpb_status_t status = gpb_owners_add (self->owners, owner, &entry->owned, size, error);
    if (status == GPB_OK && !gpb_heap_add (&self->ends, &entry->end))
        status = gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a reservation");
    if (status == GPB_OK)
        entry->reservation.handle = gpb_handles_add (self->handles, entry, error);
    if (entry->reservation.handle)
        return &entry->reservation;
    s_entry_end (self, entry);
    return NULL;
}

static s_entry_t *
s_lookup (gpb_reservations_t *self, const gpb_owner_t *owner, uint64_t handle, gpb_error_t *error)
{
    s_entry_t *entry = gpb_handles_lookup (self->handles, handle);
    if (entry && gpb_owner_same (&entry->owned.owner->owner, owner))
        return entry;
    gpb_error_set (error, GPB_NOT_FOUND,
                   "this connection has no reservation with handle %016" PRIx64
                   ": it never was, has ended, or is another's",
                   handle);
    return NULL;
}

gpb_status_t
gpb_reservations_renew (gpb_reservations_t *self, const gpb_owner_t *owner, uint64_t handle,
                        uint64_t now_ns, uint32_t *for_ms_p, gpb_error_t *error)
{
    s_entry_t *entry = s_lookup (self, owner, handle, error);
    if (!entry)
        return GPB_NOT_FOUND;
    gpb_heap_remove (&self->ends, &entry->end);
    entry->end.key = s_end_ns (self, now_ns, for_ms_p);
    bool added = gpb_heap_add (&self->ends, &entry->end);
    assert (added);    //  the heap has had room for it
    (void) added;
    return GPB_OK;
}

gpb_status_t
gpb_reservations_end (gpb_reservations_t *self, const gpb_owner_t *owner, uint64_t handle,
                      gpb_error_t *error)
{
    s_entry_t *entry = s_lookup (self, owner, handle, error);
    if (!entry)
        return GPB_NOT_FOUND;
    s_entry_end (self, entry);
    return GPB_OK;
}

void
gpb_reservations_drop (gpb_reservations_t *self, const gpb_owner_t *owner)
{
    gpb_owned_t *owned;
    while ((owned = gpb_owners_first (self->owners, owner)))
        s_entry_end (self, owned->item);
}

uint64_t
gpb_reservations_expire (gpb_reservations_t *self, uint64_t now_ns)
{
    gpb_heap_node_t *end;
    while ((end = gpb_heap_first (&self->ends)) && end->key <= now_ns)
        s_entry_end (self, s_entry_of (end));
    return end ? end->key : UINT64_MAX;
}

gpb_status_t
gpb_reservations_draw (gpb_reservations_t *self, uint64_t handle, uint64_t size, gpb_error_t *error)
{
    s_entry_t *entry = gpb_handles_lookup (self->handles, handle);
    if (!entry)
        return gpb_error_set (error, GPB_NOT_FOUND,
                              "there is no reservation with handle %016" PRIx64
                              ": it never was, or has ended",
                              handle);
    gpb_reservation_t *reservation = &entry->reservation;
    if (size > reservation->size - reservation->drawn)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED,
                              "%" PRIu64 " bytes are needed: of the %" PRIu64
                              " bytes that reservation %016" PRIx64 " has, %" PRIu64
                              " are drawn already",
                              size, reservation->size, handle, reservation->drawn);
    reservation->drawn += size;
    self->undrawn -= size;
    return GPB_OK;
}

void
gpb_reservations_return (gpb_reservations_t *self, uint64_t handle, uint64_t size)
{
    s_entry_t *entry = gpb_handles_lookup (self->handles, handle);
    if (!entry)
        return;
    assert (size <= entry->reservation.drawn);
    entry->reservation.drawn -= size;
    self->undrawn += size;
}

size_t
gpb_reservations_count (const gpb_reservations_t *self)
{
    return gpb_handles_count (self->handles);
}

uint64_t
gpb_reservations_undrawn (const gpb_reservations_t *self)
{
    return self->undrawn;
}
