//  gpb_losses - what clients had on a device whose process was lost
//
//  A hash table by handle, of things that stand in lists by owner (gpb_owners.h).
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_losses.h"

#include "gpb_alloc.h"
#include "gpb_owners.h"

typedef struct {
    uint64_t handle;
    gpb_owned_t owned;
    bool is_lost;
} s_thing_t;

struct _gpb_losses_t {
    zhashx_t *things;    //  by handle; keys are the things themselves
    gpb_owners_t *owners;
    size_t lost_count;
};

//  Handles are random already (gpb_handles.h).
static size_t
s_hash (const void *key)
{
    return (size_t) ((const s_thing_t *) key)->handle;
}

static int
s_compare (const void *left, const void *right)
{
    return ((const s_thing_t *) left)->handle != ((const s_thing_t *) right)->handle;
}

gpb_losses_t *
gpb_losses_new (gpb_error_t *error)
{
    gpb_losses_t *self = gpb_alloc (1, sizeof *self);
    if (!self) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a device's handles");
        return NULL;
    }
    self->things = zhashx_new ();
    zhashx_set_key_hasher (self->things, s_hash);
    zhashx_set_key_comparator (self->things, s_compare);
    zhashx_set_key_duplicator (self->things, NULL);
    zhashx_set_key_destructor (self->things, NULL);
    self->owners = gpb_owners_new (error);
    if (!self->owners)
        gpb_losses_destroy (&self);
    return self;
}

static s_thing_t *
s_lookup (gpb_losses_t *self, uint64_t handle)
{
    const s_thing_t key = { .handle = handle };
    return zhashx_lookup (self->things, &key);
}

static void
s_forget (gpb_losses_t *self, s_thing_t *thing)
{
    self->lost_count -= thing->is_lost ? 1 : 0;
    gpb_owners_remove (self->owners, &thing->owned);
    zhashx_delete (self->things, thing);
    gpb_free (thing);
}

void
gpb_losses_destroy (gpb_losses_t **self_p)
{
    gpb_losses_t *self = *self_p;
    if (!self)
        return;
    *self_p = NULL;
    s_thing_t *thing;
    while ((thing = zhashx_first (self->things)))
        s_forget (self, thing);
    zhashx_destroy (&self->things);
    gpb_owners_destroy (&self->owners);
    gpb_free (self);
}

void
gpb_losses_given (gpb_losses_t *self, const gpb_owner_t *owner, uint64_t handle)
{
    gpb_losses_returned (self,
                         handle);    //  a new process may give what an old one has, once in 2^56
    s_thing_t *thing = gpb_alloc (1, sizeof *thing);
    if (!thing)
        return;
    thing->handle = handle;
    thing->owned.item = thing;
    if (gpb_owners_add (self->owners, owner, &thing->owned, 0, NULL) == GPB_OK)
        zhashx_insert (self->things, thing, thing);
    else
        gpb_free (thing);
}

void
gpb_losses_returned (gpb_losses_t *self, uint64_t handle)
{
    s_thing_t *thing = s_lookup (self, handle);
    if (thing)
        s_forget (self, thing);
}

void
gpb_losses_left (gpb_losses_t *self, const gpb_owner_t *owner)
{
    gpb_owned_t *owned;
    while ((owned = gpb_owners_first (self->owners, owner)))
        s_forget (self, owned->item);
}

void
gpb_losses_lose (gpb_losses_t *self)
{
    zlistx_t *things = zhashx_values (self->things);    //  the table must not change under a walk
    for (s_thing_t *thing = zlistx_first (things); thing; thing = zlistx_next (things)) {
        if (thing->is_lost)
            continue;
        if (self->lost_count == GPB_LOSSES_MAX)
            s_forget (self, thing);
        else {
            thing->is_lost = true;
            self->lost_count++;
        }
    }
    zlistx_destroy (&things);
}

size_t
gpb_losses_count (const gpb_losses_t *self)
{
    return self->lost_count;
}

//  ---------------------------------------------------------------------------------------------------------
//  The handles that a request names

//  Keeps the first that is lost.
static void
s_look (gpb_losses_t *self, const gpb_owner_t *owner, uint64_t handle, uint64_t *found_p)
{
    const s_thing_t *thing = *found_p || !handle ? NULL : s_lookup (self, handle);
    if (thing && thing->is_lost && gpb_owner_same (&thing->owned.owner->owner, owner))
        *found_p = handle;
}

uint64_t
gpb_losses_find (gpb_losses_t *self, const gpb_owner_t *owner, const Gpb__V1__Request *request)
{
    uint64_t found = 0;
    switch (request->body_case) {
    case GPB__V1__REQUEST__BODY_EXECUTE:
        for (size_t index = 0; index < request->execute->n_arguments; index++) {
            const Gpb__V1__Argument *argument = request->execute->arguments [index];
            if (argument->value_case == GPB__V1__ARGUMENT__VALUE_BUFFER)
                s_look (self, owner, argument->buffer->handle, &found);
        }
        s_look (self, owner, request->execute->reservation, &found);
        break;
    case GPB__V1__REQUEST__BODY_RENT:
        s_look (self, owner, request->rent->reservation, &found);
        break;
    case GPB__V1__REQUEST__BODY_RELEASE:
        s_look (self, owner, request->release->handle, &found);
        break;
    case GPB__V1__REQUEST__BODY_WRITE: s_look (self, owner, request->write->handle, &found); break;
    case GPB__V1__REQUEST__BODY_READ: s_look (self, owner, request->read->handle, &found); break;
    case GPB__V1__REQUEST__BODY_COPY:
        s_look (self, owner, request->copy->source, &found);
        s_look (self, owner, request->copy->target, &found);
        break;
    case GPB__V1__REQUEST__BODY_MAP: s_look (self, owner, request->map->handle, &found); break;
    case GPB__V1__REQUEST__BODY_UNMAP: s_look (self, owner, request->unmap->handle, &found); break;
    case GPB__V1__REQUEST__BODY_RENEW: s_look (self, owner, request->renew->handle, &found); break;
    case GPB__V1__REQUEST__BODY_UNRESERVE:
        s_look (self, owner, request->unreserve->handle, &found);
        break;
    default: break;
    }
    return found;
}
