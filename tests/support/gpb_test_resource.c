//  gpb_test_resource - a resource for tests: host memory, a book of it, and refusals on demand
//
//  Plain calloc, since gpb_alloc is what tests make fail.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_test_resource.h"

#include "gpb_test.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    gpb_resource_t resource;
    gpb_test_book_t *book;
} s_resource_t;

static gpb_status_t
s_allocate (gpb_resource_t *resource, uint64_t size, gpb_allocation_t *allocation,
            gpb_error_t *error)
{
    gpb_test_book_t *book = ((s_resource_t *) resource)->book;
    memset (allocation, 0, sizeof *allocation);
    ck_assert_uint_gt (size, 0);
    book->asked = size;
    if (book->refuse_after == 0 || size > book->limit - book->used) {
        gpb_status_t refusal = book->refuse_after == 0 ? book->refusal : GPB_OK;
        book->refuse_after -= book->refuse_after >= 0;
        book->refusals++;
        return gpb_error_set (error, refusal ? refusal : GPB_RESOURCE_EXHAUSTED,
                              "the test gives no more");
    }
    book->refuse_after -= book->refuse_after > 0;
    gpb_memory_t *memory = calloc (1, sizeof *memory);
    ck_assert_ptr_nonnull (memory);
    size_t granules = size / GPB_MEMORY_ALIGNMENT + 1;
    memory->size = size;
    memory->data = aligned_alloc (GPB_MEMORY_ALIGNMENT, granules * GPB_MEMORY_ALIGNMENT);
    memory->used = calloc (granules, 1);
    memory->touched = calloc (granules, 1);
    ck_assert (memory->data && memory->used && memory->touched);
    memory->next = book->memories;
    book->memories = memory;
    book->used += size;
    book->count++;
    book->allocations++;
    *allocation = (gpb_allocation_t){ .memory = memory,
                                      .address = memory->data,
                                      .size = size,
                                      .requested = size,
                                      .fresh = true,
                                      .record = book };
    return GPB_OK;
}

static void
s_deallocate (gpb_resource_t *resource, gpb_allocation_t *allocation)
{
    gpb_test_book_t *book = ((s_resource_t *) resource)->book;
    ck_assert_ptr_eq (allocation->record, book);
    gpb_memory_t **link = &book->memories;
    while (*link && *link != allocation->memory)
        link = &(*link)->next;
    gpb_memory_t *memory = *link;
    ck_assert_ptr_nonnull (memory);
    ck_assert_uint_eq (allocation->size, memory->size);
    *link = memory->next;
    book->used -= memory->size;
    book->count--;
    free (memory->data);
    free (memory->used);
    free (memory->touched);
    free (memory);
    memset (allocation, 0, sizeof *allocation);
}

static uint64_t
s_trim (gpb_resource_t *resource, uint64_t keep_size)
{
    (void) resource;
    (void) keep_size;
    return 0;
}

static void
s_destroy (gpb_resource_t **resource_p)
{
    gpb_test_book_t *book = ((s_resource_t *) *resource_p)->book;
    ck_assert_uint_eq (book->count, 0);
    book->destroyed = true;
    free (*resource_p);
    *resource_p = NULL;
}

gpb_resource_t *
gpb_test_resource_new (gpb_test_book_t *book)
{
    s_resource_t *self = calloc (1, sizeof *self);
    ck_assert_ptr_nonnull (self);
    self->resource = (gpb_resource_t){
        .allocate = s_allocate, .deallocate = s_deallocate, .trim = s_trim, .destroy = s_destroy
    };
    self->book = book;
    return &self->resource;
}
