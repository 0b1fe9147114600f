//  gpb_alloc - the one way to the heap, so that tests can make it fail
//
//  Two atomic words count what is allocated and what is still allowed; outside a test the second
//  one is negative, so that an allocation costs one relaxed load and one relaxed add beyond the
//  heap's own work.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_alloc.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static atomic_uint_fast64_t s_allocations;
static atomic_int_fast64_t s_allowed =
    -1;                      //  allocations left before one fails; negative: no limit
static atomic_int s_ever;    //  all fail once one has failed

//  What is kept, the latest first.
typedef struct s_kept {
    struct s_kept *next;
    void *memory;
} s_kept_t;

static _Atomic (s_kept_t *) s_kept;

static int
s_must_fail (void)
{
    atomic_fetch_add_explicit (&s_allocations, 1, memory_order_relaxed);
    if (atomic_load_explicit (&s_allowed, memory_order_relaxed) < 0)
        return 0;
    int_fast64_t left = atomic_fetch_sub (&s_allowed, 1);
    if (left > 0)
        return 0;
    if (left == 0 && atomic_load (&s_ever))
        atomic_store (&s_allowed, 0);
    return left == 0;
}

static int
s_overflows (size_t count, size_t size)
{
    return size && count > SIZE_MAX / size;
}

void *
gpb_alloc (size_t count, size_t size)
{
    if (s_must_fail () || s_overflows (count, size))
        return NULL;
    return count && size ? calloc (count, size) : calloc (1, 1);
}

void *
gpb_alloc_aligned (size_t alignment, size_t size)
{
    void *memory = NULL;
    if (s_must_fail () || posix_memalign (&memory, alignment, size ? size : 1) != 0)
        return NULL;
    return memory;
}

void *
gpb_realloc (void *memory, size_t count, size_t size)
{
    if (s_must_fail () || s_overflows (count, size))
        return NULL;
    return realloc (memory, count && size ? count * size : 1);
}

char *
gpb_strdup (const char *text)
{
    return text ? gpb_strndup (text, strlen (text)) : NULL;
}

char *
gpb_strndup (const char *text, size_t size)
{
    char *copy = size < SIZE_MAX ? gpb_alloc (size + 1, 1) : NULL;
    if (copy)
        memcpy (copy, text, size);
    return copy;
}

void
gpb_free (void *memory)
{
    free (memory);
}

void
gpb_alloc_keep (void *memory)
{
    s_kept_t *kept = memory ? gpb_alloc (1, sizeof *kept) : NULL;
    if (!kept)
        return;
    kept->memory = memory;
    kept->next = atomic_load (&s_kept);
    while (!atomic_compare_exchange_weak (&s_kept, &kept->next, kept))
        continue;
}

uint64_t
gpb_alloc_fail (int64_t after, int ever)
{
    atomic_store (&s_ever, ever);
    atomic_store (&s_allowed, after < 0 ? -1 : after);
    return atomic_exchange (&s_allocations, 0);
}
