//  Tests of gpb_limit_resource: one account for several resources, and what a refusal says.

#include "gpb_alloc.h"
#include "gpb_arena.h"
#include "gpb_limit_resource.h"
#include "gpb_test.h"
#include "gpb_test_resource.h"

#include <string.h>

static gpb_error_t error;
static gpb_test_book_t s_books [2];

static gpb_resource_t *
s_new (unsigned book, gpb_limit_t *account)
{
    s_books [book] = (gpb_test_book_t){ .limit = UINT64_MAX, .refuse_after = -1 };
    gpb_resource_t *upstream = gpb_test_resource_new (&s_books [book]);
    gpb_resource_t *limit = gpb_limit_resource_new (&upstream, account, &error);
    ck_assert_ptr_nonnull (limit);
    ck_assert_ptr_null (upstream);
    return limit;
}

START_TEST (test_two_resources_draw_on_one_account)
{
    gpb_limit_t account = { .limit = 1000 };
    gpb_resource_t *one = s_new (0, &account), *other = s_new (1, &account);
    gpb_allocation_t first, second, none;
    ck_assert_ok (one->allocate (one, 600, &first, &error));
    ck_assert_ok (other->allocate (other, 400, &second, &error));
    ck_assert_uint_eq (account.used, 1000);
    ck_assert_refused (one->allocate (one, 1, &none, &error), GPB_RESOURCE_EXHAUSTED,
                       "1 bytes were asked for: 1000 are in use, and the limit is 1000");
    ck_assert_ptr_null (none.memory);
    other->deallocate (other, &second);
    ck_assert_ptr_null (second.memory);
    ck_assert_uint_eq (account.used, 600);
    ck_assert_ok (one->allocate (one, 400, &second, &error));
    one->deallocate (one, &first);
    one->deallocate (one, &second);
    ck_assert_uint_eq (account.used, 0);
    one->destroy (&one);
    other->destroy (&other);
    ck_assert (s_books [0].destroyed && s_books [1].destroyed);
}
END_TEST

START_TEST (test_what_is_below_refuses_and_nothing_is_counted)
{
    gpb_limit_t account = { .limit = 1000 };
    gpb_resource_t *limit = s_new (0, &account);
    s_books [0].limit = 100;
    gpb_allocation_t none;
    ck_assert_refused (limit->allocate (limit, 200, &none, &error), GPB_RESOURCE_EXHAUSTED,
                       "the test gives no more");
    ck_assert_uint_eq (account.used, 0);
    limit->destroy (&limit);
}
END_TEST

START_TEST (test_a_limit_may_fall_below_what_is_used)
{
    gpb_limit_t account = { .limit = 1000 };
    gpb_resource_t *limit = s_new (0, &account);
    gpb_allocation_t first, none;
    ck_assert_ok (limit->allocate (limit, 600, &first, &error));
    account.limit = 500;
    ck_assert_refused (limit->allocate (limit, 1, &none, &error), GPB_RESOURCE_EXHAUSTED,
                       "600 are in use, and the limit is 500");
    limit->deallocate (limit, &first);
    ck_assert_ok (limit->allocate (limit, 500, &first, &error));
    limit->deallocate (limit, &first);
    limit->destroy (&limit);
}
END_TEST

START_TEST (test_what_blocks_have_is_counted_and_never_more_than_the_limit)
{
    //  Around an arena, whose blocks are multiples of 128 bytes.
    gpb_limit_t account = { .limit = 1000 };
    s_books [0] = (gpb_test_book_t){ .limit = UINT64_MAX, .refuse_after = -1 };
    gpb_resource_t *resource = gpb_test_resource_new (&s_books [0]);
    gpb_arena_options_t options = { .keep_size = UINT64_MAX };
    resource = gpb_arena_new (&resource, &options, &error);
    resource = gpb_limit_resource_new (&resource, &account, &error);
    gpb_allocation_t first, none;
    ck_assert_ok (resource->allocate (resource, 1, &first, &error));
    ck_assert_uint_eq (account.used, 128);
    ck_assert_refused (resource->allocate (resource, 800, &none, &error), GPB_RESOURCE_EXHAUSTED,
                       "896 bytes were asked for: 128 are in use");
    ck_assert_uint_eq (account.used, 128);
    ck_assert_ptr_null (none.memory);
    resource->deallocate (resource, &first);
    ck_assert_uint_eq (resource->trim (resource, 0), 2 << 20);
    resource->destroy (&resource);
    ck_assert (s_books [0].destroyed);
}
END_TEST

START_TEST (test_heap_memory_that_runs_out_is_said_and_nothing_leaks)
{
    gpb_limit_t account = { .limit = 1000 };
    s_books [0] = (gpb_test_book_t){ .limit = UINT64_MAX, .refuse_after = -1 };
    gpb_resource_t *upstream = gpb_test_resource_new (&s_books [0]);
    gpb_alloc_fail (0, 0);
    ck_assert_ptr_null (gpb_limit_resource_new (&upstream, &account, &error));
    gpb_alloc_fail (-1, 0);
    ck_assert_int_eq (error.status, GPB_RESOURCE_EXHAUSTED);
    ck_assert (s_books [0].destroyed);
}
END_TEST

GPB_TEST_MAIN ("gpb_limit_resource", 10, test_two_resources_draw_on_one_account,
               test_what_is_below_refuses_and_nothing_is_counted,
               test_a_limit_may_fall_below_what_is_used,
               test_what_blocks_have_is_counted_and_never_more_than_the_limit,
               test_heap_memory_that_runs_out_is_said_and_nothing_leaks)
