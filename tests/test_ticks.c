//  Tests of gpb_ticks: which clock a device reads shows in its numbers, and times are never
//  nothing.

#include "gpb_test.h"

#include "gpb_clock.h"
#include "gpb_ticks.h"

static gpb_ticks_t s_ticks;
static gpb_ticks_spans_t s_spans;

static const gpb_ticks_instant_t s_published = { .ns = 1000000, .tsc = 5000 },
                                 s_seen = { .ns = 1004000, .tsc = 17000 };

//  As gpb_ticks_init leaves it, on a processor whose counter has three ticks a nanosecond.
static void
s_init (void)
{
    s_ticks = (gpb_ticks_t){ .has_tsc = true,
                             .first_tsc = 2000,
                             .first_ns = 999000,
                             .near_tsc = 5000,
                             .near_ns = 1000000,
                             .ns_per_tick = 1.0 / 3 };
}

START_TEST (test_a_device_that_says_no_times_has_no_clock)
{
    s_init ();
    ck_assert_str_eq (gpb_ticks_name (&s_ticks), "none");
    ck_assert (!gpb_ticks_spans (&s_ticks, &s_published, &s_seen, 0, 0, &s_spans));
    ck_assert_str_eq (gpb_ticks_name (&s_ticks), "none");
    ck_assert_uint_eq (gpb_ticks_of (&s_ticks, 1000), 0);
}
END_TEST

START_TEST (test_the_processors_counter_is_known_by_lying_between)
{
    s_init ();
    ck_assert (gpb_ticks_spans (&s_ticks, &s_published, &s_seen, 8000, 14000, &s_spans));
    ck_assert_str_eq (gpb_ticks_name (&s_ticks), "tsc");
    ck_assert_uint_eq (s_spans.taken_ns, 1000);
    ck_assert_uint_eq (s_spans.handler_ns, 2000);
    ck_assert_uint_eq (s_spans.back_ns, 1000);
    ck_assert_uint_eq (gpb_ticks_of (&s_ticks, 1000), 3000);
}
END_TEST

START_TEST (test_the_hosts_own_clock_is_known_too)
{
    s_init ();
    ck_assert (gpb_ticks_spans (&s_ticks, &s_published, &s_seen, 1001000, 1001500, &s_spans));
    ck_assert_str_eq (gpb_ticks_name (&s_ticks), "monotonic");
    ck_assert_uint_eq (s_spans.taken_ns, 1000);
    ck_assert_uint_eq (s_spans.handler_ns, 500);
    ck_assert_uint_eq (s_spans.back_ns, 2500);
}
END_TEST

START_TEST (test_any_other_clock_is_placed_by_the_quickest_exchange)
{
    s_init ();
    const uint64_t start_ns = 77000000000;    //  of a clock that nobody knows
    ck_assert (
        gpb_ticks_spans (&s_ticks, &s_published, &s_seen, start_ns, start_ns + 2000, &s_spans));
    ck_assert_str_eq (gpb_ticks_name (&s_ticks), "device");
    ck_assert_uint_eq (s_spans.taken_ns, 1000);    //  in the middle
    ck_assert_uint_eq (s_spans.handler_ns, 2000);
    ck_assert_uint_eq (s_spans.back_ns, 1000);
    //  A slow one changes nothing: this was taken late.
    const gpb_ticks_instant_t published = { .ns = 2000000 }, seen = { .ns = 2100000 };
    ck_assert (gpb_ticks_spans (&s_ticks, &published, &seen, start_ns + 1099000 - 2000,
                                start_ns + 1099000, &s_spans));
    ck_assert_uint_eq (s_spans.taken_ns, 98000);
    ck_assert_uint_eq (s_spans.handler_ns, 2000);
}
END_TEST

START_TEST (test_no_span_is_ever_nothing)
{
    s_init ();
    const gpb_ticks_instant_t at = { .ns = 1000000, .tsc = 5000 };
    ck_assert (gpb_ticks_spans (&s_ticks, &at, &at, 5000, 5000, &s_spans));
    ck_assert_uint_eq (s_spans.taken_ns, 1);
    ck_assert_uint_eq (s_spans.handler_ns, 1);
    ck_assert_uint_eq (s_spans.back_ns, 1);
}
END_TEST

START_TEST (test_now_is_the_hosts_clock)
{
    gpb_ticks_init (&s_ticks);
    uint64_t before_ns = gpb_clock_ns ();
    gpb_ticks_instant_t now = gpb_ticks_now (&s_ticks);
    ck_assert_uint_ge (now.ns, before_ns);
    ck_assert_uint_le (now.ns, gpb_clock_ns ());
    ck_assert_int_eq (now.tsc != 0, s_ticks.has_tsc);
}
END_TEST

GPB_TEST_MAIN ("gpb_ticks", 10, test_a_device_that_says_no_times_has_no_clock,
               test_the_processors_counter_is_known_by_lying_between,
               test_the_hosts_own_clock_is_known_too,
               test_any_other_clock_is_placed_by_the_quickest_exchange,
               test_no_span_is_ever_nothing, test_now_is_the_hosts_clock)
