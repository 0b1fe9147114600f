//  Tests of gpb_owners: what each owner has is counted, found, and nobody else's.

#include "gpb_test.h"

#include "gpb_alloc.h"
#include "gpb_owners.h"

static gpb_error_t error;

static const gpb_owner_t s_anna = { .connection = 1 }, s_behind = { .connection = 1, .behind = 5 },
                         s_bert = { .connection = 2 };

START_TEST (test_what_an_owner_has_is_counted)
{
    gpb_owners_t *self = gpb_owners_new (&error);
    gpb_owned_t things [3] = { { .item = NULL } };
    ck_assert_ok (gpb_owners_add (self, &s_anna, &things [0], 100, &error));
    ck_assert_ok (gpb_owners_add (self, &s_anna, &things [1], 20, &error));
    ck_assert_ok (gpb_owners_add (self, &s_bert, &things [2], 3, &error));
    gpb_owner_figures_t figures = gpb_owners_figures (self, &s_anna);
    ck_assert_uint_eq (figures.count, 2);
    ck_assert_uint_eq (figures.size, 120);
    ck_assert_uint_eq (things [0].owner->number, figures.number);
    ck_assert_uint_ne (things [2].owner->number, figures.number);
    ck_assert_uint_eq (gpb_owners_figures (self, &s_behind).count, 0);
    gpb_owners_remove (self, &things [0]);
    gpb_owners_remove (self, &things [0]);
    figures = gpb_owners_figures (self, &s_anna);
    ck_assert_uint_eq (figures.count, 1);
    ck_assert_uint_eq (figures.size, 20);
    gpb_owners_remove (self, &things [1]);
    ck_assert_uint_eq (gpb_owners_figures (self, &s_anna).count, 0);
    //  Who comes back is somebody new.
    ck_assert_ok (gpb_owners_add (self, &s_anna, &things [1], 1, &error));
    ck_assert_uint_ne (things [1].owner->number, figures.number);
    gpb_owners_destroy (&self);
    ck_assert_ptr_null (self);
}
END_TEST

START_TEST (test_an_owner_is_dropped_with_those_behind_it_and_nobody_else)
{
    enum { EACH = 50 };
    gpb_owners_t *self = gpb_owners_new (&error);
    const gpb_owner_t owners [] = { s_anna, s_behind, s_bert, { .connection = 2, .behind = 5 } };
    gpb_owned_t things [4][EACH];
    memset (things, 0, sizeof things);
    for (int index = 0; index < EACH; index++)
        for (int owner = 0; owner < 4; owner++)
            ck_assert_ok (
                gpb_owners_add (self, &owners [owner], &things [owner][index], 1, &error));
    gpb_owned_t *thing;
    int dropped = 0;
    //  One behind a broker goes alone.
    for (; (thing = gpb_owners_first (self, &s_behind)); dropped++) {
        ck_assert (thing >= things [1] && thing < things [2]);
        gpb_owners_remove (self, thing);
    }
    ck_assert_int_eq (dropped, EACH);
    ck_assert_ok (gpb_owners_add (self, &s_behind, &things [1][0], 1, &error));
    for (dropped = 0; (thing = gpb_owners_first (self, &s_anna)); dropped++)
        gpb_owners_remove (self, thing);
    ck_assert_int_eq (dropped, EACH + 1);
    ck_assert_uint_eq (gpb_owners_figures (self, &s_bert).count, EACH);
    for (dropped = 0; (thing = gpb_owners_first (self, &s_bert)); dropped++)
        gpb_owners_remove (self, thing);
    ck_assert_int_eq (dropped, 2 * EACH);
    gpb_owners_destroy (&self);
}
END_TEST

START_TEST (test_memory_that_runs_out_leaves_a_thing_nobodys)
{
    gpb_alloc_fail (0, 1);
    ck_assert_ptr_null (gpb_owners_new (&error));
    gpb_alloc_fail (-1, 0);
    gpb_owners_t *self = gpb_owners_new (&error);
    gpb_owned_t thing = { .item = NULL };
    gpb_alloc_fail (0, 1);
    ck_assert_int_eq (gpb_owners_add (self, &s_anna, &thing, 1, &error), GPB_RESOURCE_EXHAUSTED);
    gpb_alloc_fail (-1, 0);
    ck_assert_ptr_null (thing.owner);
    ck_assert_ptr_null (gpb_owners_first (self, &s_anna));
    gpb_owners_destroy (&self);
}
END_TEST

GPB_TEST_MAIN ("gpb_owners", 10, test_what_an_owner_has_is_counted,
               test_an_owner_is_dropped_with_those_behind_it_and_nobody_else,
               test_memory_that_runs_out_leaves_a_thing_nobodys)
