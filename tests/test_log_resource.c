//  Tests of gpb_log_resource: one call for every event, with its sizes, after it.

#include "gpb_alloc.h"
#include "gpb_arena.h"
#include "gpb_log_resource.h"
#include "gpb_test.h"
#include "gpb_test_resource.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static gpb_error_t error;
static gpb_test_book_t s_book;

static void
s_write (void *context, const gpb_resource_event_t *event)
{
    char *text = context;
    size_t length = strlen (text);
    snprintf (text + length, 1000 - length, "%s %" PRIu64 " %" PRIu64 " %s%s\n",
              gpb_resource_event_name (event->kind), event->requested, event->size,
              gpb_status_name (event->status), *event->text ? " with a reason" : "");
}

START_TEST (test_every_event_is_one_call)
{
    char text [1000] = "";
    s_book = (gpb_test_book_t){ .limit = 4 << 20, .refuse_after = -1 };
    gpb_resource_t *resource = gpb_test_resource_new (&s_book);
    gpb_arena_options_t options = { .keep_size = UINT64_MAX };
    resource = gpb_arena_new (&resource, &options, &error);
    resource = gpb_log_resource_new (&resource, s_write, text, &error);
    ck_assert_ptr_nonnull (resource);
    gpb_allocation_t block, none;
    ck_assert_ok (resource->allocate (resource, 100, &block, &error));
    ck_assert_int_eq (resource->allocate (resource, 8 << 20, &none, &error),
                      GPB_RESOURCE_EXHAUSTED);
    ck_assert_int_eq (resource->allocate (resource, 8 << 20, &none, NULL), GPB_RESOURCE_EXHAUSTED);
    resource->deallocate (resource, &block);
    ck_assert_uint_eq (resource->trim (resource, 5), 2 << 20);
    ck_assert_str_eq (text, "allocate 100 128 OK\n"
                            "refused 8388608 0 RESOURCE_EXHAUSTED with a reason\n"
                            "refused 8388608 0 RESOURCE_EXHAUSTED\n"
                            "deallocate 100 128 OK\n"
                            "trim 5 2097152 OK\n");
    resource->destroy (&resource);
    ck_assert (s_book.destroyed);
}
END_TEST

START_TEST (test_heap_memory_that_runs_out_is_said_and_nothing_leaks)
{
    s_book = (gpb_test_book_t){ .limit = UINT64_MAX, .refuse_after = -1 };
    gpb_resource_t *upstream = gpb_test_resource_new (&s_book);
    gpb_alloc_fail (0, 0);
    ck_assert_ptr_null (gpb_log_resource_new (&upstream, s_write, NULL, &error));
    gpb_alloc_fail (-1, 0);
    ck_assert_int_eq (error.status, GPB_RESOURCE_EXHAUSTED);
    ck_assert (s_book.destroyed);
}
END_TEST

GPB_TEST_MAIN ("gpb_log_resource", 10, test_every_event_is_one_call,
               test_heap_memory_that_runs_out_is_said_and_nothing_leaks)
