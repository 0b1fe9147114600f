//  Tests of gpb_reservations: whose they are, how much of them is left, and when they end.

#include "gpb_test.h"

#include "gpb_alloc.h"
#include "gpb_clock.h"
#include "gpb_reservations.h"

static gpb_error_t error;

static const gpb_owner_t s_anna = { .connection = 1 }, s_behind = { .connection = 1, .behind = 5 },
                         s_bert = { .connection = 2 };

static gpb_reservations_t *
s_new (size_t most, uint64_t longest_ms)
{
    gpb_reservations_t *self = gpb_reservations_new (4, most, longest_ms, &error);
    ck_assert_msg (self != NULL, "%s", error.text);
    return self;
}

static uint64_t
s_add (gpb_reservations_t *self, const gpb_owner_t *owner, uint64_t size, uint64_t now_ns,
       uint32_t for_ms)
{
    const gpb_reservation_t *reservation =
        gpb_reservations_add (self, owner, size, now_ns, &for_ms, &error);
    ck_assert_msg (reservation != NULL, "%s", error.text);
    ck_assert_uint_eq (reservation->size, size);
    ck_assert_uint_eq (reservation->drawn, 0);
    ck_assert_uint_eq (reservation->handle >> 56, 4);
    return reservation->handle;
}

static bool
s_is_there (gpb_reservations_t *self, uint64_t handle)
{
    bool is_there = gpb_reservations_draw (self, handle, 0, &error) == GPB_OK;
    ck_assert (is_there || error.status == GPB_NOT_FOUND);
    return is_there;
}

START_TEST (test_only_its_owner_renews_and_ends_a_reservation)
{
    gpb_reservations_t *self = s_new (8, 1000);
    uint64_t handle = s_add (self, &s_anna, 100, 0, 0);
    const gpb_owner_t *others [] = { &s_behind, &s_bert };
    for (int index = 0; index < 2; index++) {
        uint32_t for_ms = 0;
        ck_assert_refused (gpb_reservations_renew (self, others [index], handle, 0, &for_ms,
                                                   &error),
                           GPB_NOT_FOUND, "is another's");
        ck_assert_refused (gpb_reservations_end (self, others [index], handle, &error),
                           GPB_NOT_FOUND, "no reservation");
    }
    ck_assert (s_is_there (self, handle));
    ck_assert_ok (gpb_reservations_end (self, &s_anna, handle, &error));
    //  Nobody ends it twice.
    ck_assert_refused (gpb_reservations_end (self, &s_anna, handle, &error), GPB_NOT_FOUND,
                       "has ended");
    ck_assert_uint_eq (gpb_reservations_undrawn (self), 0);
    ck_assert_uint_eq (gpb_reservations_count (self), 0);
    gpb_reservations_destroy (&self);
}
END_TEST

START_TEST (test_what_is_drawn_is_no_longer_set_aside)
{
    gpb_reservations_t *self = s_new (8, 1000);
    uint64_t one = s_add (self, &s_anna, 100, 0, 0), other = s_add (self, &s_bert, 50, 0, 0);
    ck_assert_uint_eq (gpb_reservations_undrawn (self), 150);
    ck_assert_ok (gpb_reservations_draw (self, one, 60, &error));
    ck_assert_uint_eq (gpb_reservations_undrawn (self), 90);
    ck_assert_refused (gpb_reservations_draw (self, one, 41, &error), GPB_RESOURCE_EXHAUSTED,
                       "41 bytes are needed: of the 100 bytes");
    ck_assert_ptr_nonnull (strstr (error.text, "60 are drawn"));
    ck_assert_ok (gpb_reservations_draw (self, one, 40, &error));
    ck_assert_ok (gpb_reservations_draw (self, one, 0, &error));
    ck_assert_uint_eq (gpb_reservations_undrawn (self), 50);
    gpb_reservations_return (self, one, 60);
    ck_assert_uint_eq (gpb_reservations_undrawn (self), 110);
    //  What was drawn from one that has ended comes back to nothing.
    ck_assert_ok (gpb_reservations_end (self, &s_anna, one, &error));
    ck_assert_uint_eq (gpb_reservations_undrawn (self), 50);
    gpb_reservations_return (self, one, 40);
    ck_assert_uint_eq (gpb_reservations_undrawn (self), 50);
    ck_assert_refused (gpb_reservations_draw (self, one, 0, &error), GPB_NOT_FOUND, "has ended");
    //  Whose it is does not matter, only what it has.
    ck_assert_ok (gpb_reservations_draw (self, other, 50, &error));
    ck_assert_uint_eq (gpb_reservations_undrawn (self), 0);
    gpb_reservations_destroy (&self);
}
END_TEST

START_TEST (test_a_reservation_lasts_as_long_as_it_was_told)
{
    gpb_reservations_t *self = s_new (8, 1000);
    const uint64_t now_ns = 77 * GPB_NS_PER_S, ms = GPB_NS_PER_MS;
    ck_assert_uint_eq (gpb_reservations_expire (self, UINT64_MAX), UINT64_MAX);
    uint64_t brief = s_add (self, &s_anna, 1, now_ns, 10),
             longer = s_add (self, &s_anna, 10, now_ns, 500),
             renewed = s_add (self, &s_bert, 100, now_ns, 20);
    //  None, and too long, is the longest there is.
    uint32_t for_ms = 0;
    ck_assert_ok (gpb_reservations_renew (self, &s_anna, longer, now_ns, &for_ms, &error));
    ck_assert_uint_eq (for_ms, 1000);
    for_ms = 1001;
    ck_assert_ok (gpb_reservations_renew (self, &s_anna, longer, now_ns, &for_ms, &error));
    ck_assert_uint_eq (for_ms, 1000);
    for_ms = 30;
    ck_assert_ok (gpb_reservations_renew (self, &s_bert, renewed, now_ns, &for_ms, &error));
    ck_assert_uint_eq (for_ms, 30);

    ck_assert_uint_eq (gpb_reservations_expire (self, now_ns + 10 * ms - 1), now_ns + 10 * ms);
    ck_assert_uint_eq (gpb_reservations_count (self), 3);
    ck_assert_uint_eq (gpb_reservations_expire (self, now_ns + 10 * ms), now_ns + 30 * ms);
    ck_assert (!s_is_there (self, brief));
    ck_assert_uint_eq (gpb_reservations_undrawn (self), 110);
    ck_assert_refused (gpb_reservations_renew (self, &s_anna, brief, now_ns, &for_ms, &error),
                       GPB_NOT_FOUND, "has ended");
    for_ms = 40;
    ck_assert_ok (
        gpb_reservations_renew (self, &s_bert, renewed, now_ns + 29 * ms, &for_ms, &error));
    ck_assert_uint_eq (gpb_reservations_expire (self, now_ns + 68 * ms), now_ns + 69 * ms);
    ck_assert (s_is_there (self, renewed));
    ck_assert_uint_eq (gpb_reservations_expire (self, now_ns + 1000 * ms), UINT64_MAX);
    ck_assert_uint_eq (gpb_reservations_count (self), 0);
    ck_assert_uint_eq (gpb_reservations_undrawn (self), 0);
    gpb_reservations_destroy (&self);
}
END_TEST

START_TEST (test_an_owner_has_no_more_than_it_may)
{
    gpb_reservations_t *self = s_new (2, 1000);
    uint32_t for_ms = 0;
    ck_assert_ptr_null (gpb_reservations_add (self, &s_anna, 0, 0, &for_ms, &error));
    ck_assert_int_eq (error.status, GPB_INVALID_ARGUMENT);
    uint64_t first = s_add (self, &s_anna, 1, 0, 0);
    s_add (self, &s_anna, 1, 0, 0);
    ck_assert_ptr_null (gpb_reservations_add (self, &s_anna, 1, 0, &for_ms, &error));
    ck_assert_int_eq (error.status, GPB_RESOURCE_EXHAUSTED);
    ck_assert_ptr_nonnull (strstr (error.text, "2 reservations"));
    ck_assert_uint_eq (gpb_reservations_undrawn (self), 2);
    s_add (self, &s_behind, 1, 0, 0);
    s_add (self, &s_bert, 1, 0, 0);
    ck_assert_ok (gpb_reservations_end (self, &s_anna, first, &error));
    s_add (self, &s_anna, 1, 0, 0);
    gpb_reservations_destroy (&self);
}
END_TEST

START_TEST (test_who_leaves_has_no_reservations)
{
    gpb_reservations_t *self = s_new (100, 1000);
    for (uint64_t index = 0; index < 50; index++) {
        s_add (self, &s_anna, 1, index, 0);
        s_add (self, &s_behind, 100, index, 0);
        s_add (self, &s_bert, 10000, index, 0);
    }
    gpb_reservations_drop (self, &s_behind);
    ck_assert_uint_eq (gpb_reservations_undrawn (self), 500050);
    uint64_t behind = s_add (self, &s_behind, 100, 0, 0);
    gpb_reservations_drop (self, &s_anna);
    ck_assert_uint_eq (gpb_reservations_undrawn (self), 500000);
    ck_assert (!s_is_there (self, behind));
    ck_assert_uint_eq (gpb_reservations_count (self), 50);
    gpb_reservations_destroy (&self);
}
END_TEST

START_TEST (test_memory_that_runs_out_sets_nothing_aside)
{
    for (int64_t after = 0; after < 3; after++) {
        gpb_alloc_fail (after, 1);
        ck_assert_ptr_null (gpb_reservations_new (0, 1, 1, &error));
        gpb_alloc_fail (-1, 0);
    }
    gpb_reservations_t *self = s_new (8, 1000);
    int refusals = 0;
    const gpb_reservation_t *reservation = NULL;
    for (int64_t after = 0; !reservation; after++) {
        uint32_t for_ms = 0;
        gpb_alloc_fail (after, 1);
        reservation = gpb_reservations_add (self, &s_anna, 7, 0, &for_ms, &error);
        gpb_alloc_fail (-1, 0);
        if (!reservation) {
            refusals++;
            ck_assert_int_eq (error.status, GPB_RESOURCE_EXHAUSTED);
            ck_assert_uint_eq (gpb_reservations_undrawn (self), 0);
            ck_assert_uint_eq (gpb_reservations_expire (self, 0), UINT64_MAX);
        }
    }
    ck_assert_int_ge (refusals, 4);
    ck_assert_uint_eq (gpb_reservations_undrawn (self), 7);
    gpb_reservations_destroy (&self);
}
END_TEST

GPB_TEST_MAIN ("gpb_reservations", 10, test_only_its_owner_renews_and_ends_a_reservation,
               test_what_is_drawn_is_no_longer_set_aside,
               test_a_reservation_lasts_as_long_as_it_was_told,
               test_an_owner_has_no_more_than_it_may, test_who_leaves_has_no_reservations,
               test_memory_that_runs_out_sets_nothing_aside)
