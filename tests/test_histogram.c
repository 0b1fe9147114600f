//  Tests of gpb_histogram against a sorted array.

#include "gpb_test.h"

#include "gpb_histogram.h"

#include <stdlib.h>
#include <string.h>

static gpb_histogram_t s_histogram, s_other;

static int
s_compare (const void *left, const void *right)
{
    const uint64_t *one = left, *other = right;
    return *one < *other ? -1 : *one > *other;
}

static uint64_t
s_random (unsigned bits)
{
    uint64_t word = 0;
    for (int part = 0; part < 5; part++)
        word = word << 15 ^ (uint64_t) rand ();
    return word >> (64 - bits);
}

//  The nearest rank, in whole numbers: the smallest rank with rank * 1000 >= permille * count.
static uint64_t
s_exact (const uint64_t *sorted, uint64_t count, unsigned permille)
{
    uint64_t rank = (permille * count + 999) / 1000;
    return sorted [rank ? rank - 1 : 0];
}

static void
s_check_percentiles (const uint64_t *sorted, uint64_t count)
{
    for (unsigned permille = 0; permille <= 1000; permille++) {
        uint64_t exact = s_exact (sorted, count, permille);
        uint64_t got = gpb_histogram_percentile (&s_histogram, permille / 10.0);
        ck_assert_msg (got >= exact && got <= exact + exact / 32,
                       "P%.1f of %d values is %llu instead of %llu", permille / 10.0, (int) count,
                       (unsigned long long) got, (unsigned long long) exact);
    }
}

START_TEST (test_percentiles_are_those_of_the_sorted_values)
{
    static uint64_t values [3000];
    srand (3);
    const unsigned counts [] = { 1, 2, 3, 19, 20, 21, 99, 100, 101, 1000, 3000 };
    for (size_t round = 0; round < sizeof counts / sizeof counts [0]; round++)
        for (unsigned bits = 1; bits <= 39; bits += 6) {
            gpb_histogram_reset (&s_histogram);
            for (unsigned index = 0; index < counts [round]; index++) {
                values [index] = s_random (1 + (unsigned) rand () % bits);
                gpb_histogram_record (&s_histogram, values [index]);
            }
            qsort (values, counts [round], sizeof values [0], s_compare);
            s_check_percentiles (values, counts [round]);
            ck_assert_uint_eq (s_histogram.min_ns, values [0]);
            ck_assert_uint_eq (s_histogram.max_ns, values [counts [round] - 1]);
        }
}
END_TEST

//  Values below 64 have buckets of their own: the rank must be right to the last one.
START_TEST (test_a_percentile_is_the_right_element)
{
    for (uint64_t count = 1; count <= 60; count++) {
        gpb_histogram_reset (&s_histogram);
        uint64_t sorted [60];
        for (uint64_t value = 0; value < count; value++) {
            gpb_histogram_record (&s_histogram, value);
            sorted [value] = value;
        }
        for (unsigned percent = 0; percent <= 100; percent++)
            ck_assert_uint_eq (gpb_histogram_percentile (&s_histogram, percent),
                               s_exact (sorted, count, percent * 10));
    }
    gpb_histogram_reset (&s_histogram);
    for (uint64_t value = 1; value <= 20; value++)
        gpb_histogram_record (&s_histogram, value);
    ck_assert_uint_eq (gpb_histogram_percentile (&s_histogram, 95), 19);
}
END_TEST

START_TEST (test_an_empty_histogram_has_only_zeros)
{
    gpb_histogram_reset (&s_histogram);
    ck_assert_uint_eq (gpb_histogram_percentile (&s_histogram, 50), 0);
    ck_assert_uint_eq (gpb_histogram_mean (&s_histogram), 0);
    gpb_histogram_merge (&s_other, &s_histogram);
    ck_assert_uint_eq (s_other.count, 0);
}
END_TEST

START_TEST (test_what_is_too_long_counts_as_the_longest)
{
    gpb_histogram_reset (&s_histogram);
    gpb_histogram_record (&s_histogram, 10);
    gpb_histogram_record (&s_histogram, UINT64_MAX - 5);
    gpb_histogram_record (&s_histogram, UINT64_MAX);
    ck_assert_uint_eq (gpb_histogram_percentile (&s_histogram, 50), UINT64_MAX);
    ck_assert_uint_eq (gpb_histogram_percentile (&s_histogram, 100), UINT64_MAX);
    ck_assert_uint_eq (s_histogram.sum_ns, UINT64_MAX);    //  and does not wrap
    ck_assert_uint_eq (s_histogram.min_ns, 10);
}
END_TEST

START_TEST (test_a_merged_histogram_is_that_of_all_values)
{
    static gpb_histogram_t all;
    srand (4);
    gpb_histogram_reset (&s_histogram);
    gpb_histogram_reset (&s_other);
    for (int count = 0; count < 5000; count++) {
        uint64_t value = s_random (1 + (unsigned) rand () % 45);
        gpb_histogram_record (&all, value);
        gpb_histogram_record (rand () % 3 ? &s_histogram : &s_other, value);
    }
    gpb_histogram_merge (&s_histogram, &s_other);
    ck_assert_mem_eq (&s_histogram, &all, sizeof all);
    ck_assert_uint_eq (gpb_histogram_mean (&all), all.sum_ns / 5000);
}
END_TEST

START_TEST (test_a_minute_forgets_what_is_older)
{
    static gpb_histogram_minute_t minute;
    const uint64_t second = 1000000000ULL, start = 12345 * second;
    for (uint64_t at = 0; at < 300; at++) {
        gpb_histogram_minute_record (&minute, 1 + at, start + at * second);
        gpb_histogram_minute_sum (&minute, &s_histogram, start + at * second);
        ck_assert_uint_eq (s_histogram.max_ns, 1 + at);
        ck_assert_uint_le (s_histogram.count, 60);
        ck_assert_uint_ge (s_histogram.count, at < 50 ? at + 1 : 51);
        ck_assert_uint_eq (s_histogram.min_ns, 1 + at + 1 - s_histogram.count);
    }
    //  After a pause of a day nothing is left.
    gpb_histogram_minute_sum (&minute, &s_histogram, start + 86400 * second);
    ck_assert_uint_eq (s_histogram.count, 0);
    gpb_histogram_minute_record (&minute, 7, start + 86400 * second);
    gpb_histogram_minute_sum (&minute, &s_histogram, start + 86459 * second);
    ck_assert_uint_le (s_histogram.count, 1);
    gpb_histogram_minute_sum (&minute, &s_histogram, start + 86470 * second);
    ck_assert_uint_eq (s_histogram.count, 0);
}
END_TEST

GPB_TEST_MAIN ("gpb_histogram", 20, test_percentiles_are_those_of_the_sorted_values,
               test_a_percentile_is_the_right_element, test_an_empty_histogram_has_only_zeros,
               test_what_is_too_long_counts_as_the_longest,
               test_a_merged_histogram_is_that_of_all_values, test_a_minute_forgets_what_is_older)
