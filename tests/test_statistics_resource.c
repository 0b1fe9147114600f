//  Tests of gpb_statistics_resource: every event is counted, and the most at once remembered.

#include "gpb_alloc.h"
#include "gpb_arena.h"
#include "gpb_statistics_resource.h"
#include "gpb_test.h"
#include "gpb_test_resource.h"

#include <string.h>

static gpb_error_t error;
static gpb_test_book_t s_book;
static gpb_statistics_t s_statistics;

//  Around an arena, so that blocks have more than was asked.
static gpb_resource_t *
s_new (void)
{
    s_book = (gpb_test_book_t){ .limit = 4 << 20, .refuse_after = -1 };
    memset (&s_statistics, 0, sizeof s_statistics);
    gpb_resource_t *resource = gpb_test_resource_new (&s_book);
    gpb_arena_options_t options = { .keep_size = UINT64_MAX };
    resource = gpb_arena_new (&resource, &options, &error);
    resource = gpb_statistics_resource_new (&resource, &s_statistics, &error);
    ck_assert_ptr_nonnull (resource);
    return resource;
}

START_TEST (test_what_goes_through_is_counted)
{
    gpb_resource_t *resource = s_new ();
    gpb_allocation_t one, other, none;
    ck_assert_ok (resource->allocate (resource, 100, &one, &error));
    ck_assert_ok (resource->allocate (resource, 200, &other, &error));
    ck_assert_refused (resource->allocate (resource, 8 << 20, &none, &error),
                       GPB_RESOURCE_EXHAUSTED, "8388608 bytes were asked for");
    ck_assert_uint_eq (s_statistics.allocations, 2);
    ck_assert_uint_eq (s_statistics.failures, 1);
    ck_assert_uint_eq (s_statistics.blocks, 2);
    ck_assert_uint_eq (s_statistics.requested, 300);
    ck_assert_uint_eq (s_statistics.in_use, 384);
    resource->deallocate (resource, &one);
    ck_assert_uint_eq (s_statistics.deallocations, 1);
    ck_assert_uint_eq (s_statistics.blocks, 1);
    ck_assert_uint_eq (s_statistics.requested, 200);
    ck_assert_uint_eq (s_statistics.in_use, 256);
    resource->deallocate (resource, &other);
    ck_assert_uint_eq (s_statistics.in_use, 0);
    ck_assert_uint_eq (s_statistics.blocks_high_water, 2);
    ck_assert_uint_eq (s_statistics.requested_high_water, 300);
    ck_assert_uint_eq (s_statistics.in_use_high_water, 384);
    ck_assert_uint_eq (resource->trim (resource, 0), 2 << 20);
    ck_assert_uint_eq (resource->trim (resource, 0), 0);
    ck_assert_uint_eq (s_statistics.trims, 2);
    ck_assert_uint_eq (s_statistics.trimmed, 2 << 20);
    resource->destroy (&resource);
    ck_assert (s_book.destroyed);
}
END_TEST

START_TEST (test_heap_memory_that_runs_out_is_said_and_nothing_leaks)
{
    s_book = (gpb_test_book_t){ .limit = UINT64_MAX, .refuse_after = -1 };
    gpb_resource_t *upstream = gpb_test_resource_new (&s_book);
    gpb_alloc_fail (0, 0);
    ck_assert_ptr_null (gpb_statistics_resource_new (&upstream, &s_statistics, &error));
    gpb_alloc_fail (-1, 0);
    ck_assert_int_eq (error.status, GPB_RESOURCE_EXHAUSTED);
    ck_assert (s_book.destroyed);
}
END_TEST

GPB_TEST_MAIN ("gpb_statistics_resource", 10, test_what_goes_through_is_counted,
               test_heap_memory_that_runs_out_is_said_and_nothing_leaks)
