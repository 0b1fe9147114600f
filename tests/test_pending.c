//  Tests of gpb_pending against a plain array: found by id, and the nearest deadline first,
//  whatever was inserted, rescheduled and removed.

#include "gpb_test.h"

#include "gpb_alloc.h"
#include "gpb_pending.h"

#include <stdlib.h>

#define S_RECORDS 600

static gpb_error_t error;

START_TEST (test_what_is_pending_is_found_and_leaves_in_the_order_of_deadlines)
{
    static gpb_reply_t records [S_RECORDS];
    bool inside [S_RECORDS] = { false };
    gpb_pending_t pending = { 0 };
    srand (5);
    for (int round = 0; round < 20000; round++) {
        size_t index = (size_t) rand () % S_RECORDS;
        gpb_reply_t *record = &records [index];
        if (inside [index] && rand () % 2) {
            gpb_pending_reschedule (&pending, record, (uint64_t) rand () % 100);
            continue;
        }
        if (inside [index])
            gpb_pending_remove (&pending, record);
        else {
            record->id = 1 + index;
            record->deadline.key = (uint64_t) rand () % 100;
            ck_assert_ok (gpb_pending_insert (&pending, record, &error));
        }
        inside [index] = !inside [index];
        if (rand () % 50)
            continue;
        uint64_t nearest = UINT64_MAX;
        size_t count = 0;
        for (size_t at = 0; at < S_RECORDS; at++) {
            ck_assert_ptr_eq (gpb_pending_find (&pending, 1 + at),
                              inside [at] ? &records [at] : NULL);
            count += inside [at];
            if (inside [at] && records [at].deadline.key < nearest)
                nearest = records [at].deadline.key;
        }
        ck_assert_uint_eq (gpb_pending_count (&pending), count);
        ck_assert_uint_eq (gpb_pending_next (&pending)->deadline.key, nearest);
    }
    uint64_t last = 0;
    for (gpb_reply_t *record; (record = gpb_pending_next (&pending));) {
        ck_assert_uint_ge (record->deadline.key, last);
        last = record->deadline.key;
        gpb_pending_remove (&pending, record);
    }
    ck_assert_uint_eq (gpb_pending_count (&pending), 0);
    gpb_pending_clear (&pending);
}
END_TEST

START_TEST (test_nothing_is_lost_when_memory_runs_out)
{
    static gpb_reply_t records [65];
    gpb_pending_t pending = { 0 };
    for (size_t index = 0; index < 64; index++) {
        records [index].id = index + 1;
        ck_assert_ok (gpb_pending_insert (&pending, &records [index], &error));
    }
    records [64].id = 65;
    for (int after = 0; after < 2; after++) {
        gpb_alloc_fail (after, 0);
        ck_assert_refused (gpb_pending_insert (&pending, &records [64], &error),
                           GPB_RESOURCE_EXHAUSTED, "64 requests");
        gpb_alloc_fail (-1, 0);
        ck_assert_ptr_null (gpb_pending_find (&pending, 65));
        ck_assert_ptr_eq (gpb_pending_find (&pending, 1), &records [0]);
    }
    ck_assert_ok (gpb_pending_insert (&pending, &records [64], &error));
    //  Another deadline needs none.
    gpb_alloc_fail (0, 1);
    gpb_pending_reschedule (&pending, &records [64], 7);
    gpb_alloc_fail (-1, 0);
    ck_assert_uint_eq (records [64].deadline.key, 7);
    gpb_pending_clear (&pending);
}
END_TEST

GPB_TEST_MAIN ("gpb_pending", 20,
               test_what_is_pending_is_found_and_leaves_in_the_order_of_deadlines,
               test_nothing_is_lost_when_memory_runs_out)
