//  gpb_residencies - what kernel hosts have said last of their persistent kernels
//
//  protobuf-c has no function that copies a message: it is packed and unpacked again, once a
//  second.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_residencies.h"

#include "gpb_alloc.h"

#include <string.h>

static void *
s_alloc (void *data, size_t size)
{
    (void) data;
    return gpb_alloc (1, size);
}

static void
s_free (void *data, void *memory)
{
    (void) data;
    gpb_free (memory);
}

static ProtobufCAllocator s_allocator = { .alloc = s_alloc, .free = s_free };

//  A copy of the first of its residencies, and of nothing else. NULL when memory runs out.
static Gpb__V1__StatsReply *
s_copy (const Gpb__V1__StatsReply *stats)
{
    Gpb__V1__StatsReply part = GPB__V1__STATS_REPLY__INIT;
    part.n_residencies =
        stats->n_residencies < GPB_RESIDENCIES_MAX ? stats->n_residencies : GPB_RESIDENCIES_MAX;
    part.residencies = stats->residencies;
    const size_t size = gpb__v1__stats_reply__get_packed_size (&part);
    uint8_t *packed = gpb_alloc (1, size);
    if (!packed)
        return NULL;
    gpb__v1__stats_reply__pack (&part, packed);
    Gpb__V1__StatsReply *copy = gpb__v1__stats_reply__unpack (&s_allocator, size, packed);
    gpb_free (packed);
    return copy;
}

static bool
s_differ (const Gpb__V1__StatsReply *one, const Gpb__V1__StatsReply *other)
{
    if (!one || !other || one->n_residencies != other->n_residencies)
        return true;
    for (size_t index = 0; index < one->n_residencies; index++)
        if (one->residencies [index]->state != other->residencies [index]->state
            || strcmp (one->residencies [index]->kernel, other->residencies [index]->kernel) != 0)
            return true;
    return false;
}

bool
gpb_residencies_copy (gpb_residencies_t *self, unsigned device, const Gpb__V1__StatsReply *stats)
{
    Gpb__V1__StatsReply *copy = s_copy (stats);
    for (size_t index = 0; copy && index < copy->n_residencies; index++)
        copy->residencies [index]->device = device;
    const bool is_new = copy && s_differ (copy, self->told [device]);
    gpb_residencies_forget (self, device);
    self->told [device] = copy;
    return is_new;
}

void
gpb_residencies_forget (gpb_residencies_t *self, unsigned device)
{
    if (self->told [device])
        gpb__v1__stats_reply__free_unpacked (self->told [device], &s_allocator);
    self->told [device] = NULL;
}

void
gpb_residencies_clear (gpb_residencies_t *self)
{
    for (unsigned device = 0; device < GPB_RESIDENCIES_HOSTS_MAX; device++)
        gpb_residencies_forget (self, device);
}

bool
gpb_residencies_is_awake (const gpb_residencies_t *self, unsigned device)
{
    const Gpb__V1__StatsReply *told = self->told [device];
    for (size_t index = 0; told && index < told->n_residencies; index++)
        if (told->residencies [index]->state == GPB__V1__RESIDENCY_STATE__RESIDENT
            || told->residencies [index]->state == GPB__V1__RESIDENCY_STATE__ON_DEMAND_ONLY)
            return true;
    return false;
}

size_t
gpb_residencies_count (const gpb_residencies_t *self)
{
    size_t count = 0;
    for (unsigned device = 0; device < GPB_RESIDENCIES_HOSTS_MAX; device++)
        count += self->told [device] ? self->told [device]->n_residencies : 0;
    return count;
}

size_t
gpb_residencies_list (const gpb_residencies_t *self, const char *kernel, Gpb__V1__Residency **list)
{
    size_t count = 0;
    for (unsigned device = 0; device < GPB_RESIDENCIES_HOSTS_MAX; device++) {
        const Gpb__V1__StatsReply *told = self->told [device];
        for (size_t index = 0; told && index < told->n_residencies; index++)
            if (!kernel || strcmp (told->residencies [index]->kernel, kernel) == 0)
                list [count++] = told->residencies [index];
    }
    return count;
}
