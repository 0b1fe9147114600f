//  Tests of gpb_residencies: what a host has said is there until it says something else.

#include "gpb_test.h"

#include "gpb_alloc.h"
#include "gpb_residencies.h"

#include <stdio.h>
#include <string.h>

#define MANY (GPB_RESIDENCIES_MAX + 10)

static gpb_residencies_t s_residencies;
static Gpb__V1__Residency s_said [MANY];
static Gpb__V1__Residency *s_said_p [MANY];
static Gpb__V1__StatsReply s_stats;
static char s_names [MANY][16];

//  What a host will say: kernels k0, k1...
static void
s_say (size_t count, Gpb__V1__ResidencyState state)
{
    gpb__v1__stats_reply__init (&s_stats);
    for (size_t index = 0; index < count; index++) {
        gpb__v1__residency__init (&s_said [index]);
        snprintf (s_names [index], sizeof s_names [index], "k%zu", index);
        s_said [index].kernel = s_names [index];
        s_said [index].state = state;
        s_said [index].answered = index;
        s_said [index].device = 77;    //  a host may call its device as it likes
        s_said_p [index] = &s_said [index];
    }
    s_stats.node = (char *) "node";
    s_stats.n_residencies = count;
    s_stats.residencies = s_said_p;
}

START_TEST (test_what_hosts_have_said_is_found_by_kernel)
{
    Gpb__V1__Residency *list [8];
    s_say (2, GPB__V1__RESIDENCY_STATE__RESIDENT);
    ck_assert (gpb_residencies_copy (&s_residencies, 5, &s_stats));
    s_say (3, GPB__V1__RESIDENCY_STATE__PARKED);
    ck_assert (gpb_residencies_copy (&s_residencies, 1, &s_stats));
    memset (s_names, 0, sizeof s_names);    //  it has a copy
    ck_assert_uint_eq (gpb_residencies_count (&s_residencies), 5);
    ck_assert_uint_eq (gpb_residencies_list (&s_residencies, NULL, list), 5);
    ck_assert_uint_eq (gpb_residencies_list (&s_residencies, "k1", list), 2);
    ck_assert_uint_eq (list [0]->device, 1);
    ck_assert_int_eq (list [0]->state, GPB__V1__RESIDENCY_STATE__PARKED);
    ck_assert_uint_eq (list [1]->device, 5);
    ck_assert_uint_eq (list [1]->answered, 1);
    ck_assert_str_eq (list [1]->kernel, "k1");
    ck_assert_uint_eq (gpb_residencies_list (&s_residencies, "k2", list), 1);
    ck_assert_uint_eq (gpb_residencies_list (&s_residencies, "none", list), 0);
    gpb_residencies_forget (&s_residencies, 1);
    ck_assert_uint_eq (gpb_residencies_list (&s_residencies, NULL, list), 2);
    gpb_residencies_clear (&s_residencies);
    ck_assert_uint_eq (gpb_residencies_count (&s_residencies), 0);
}
END_TEST

START_TEST (test_another_state_is_told_from_other_figures)
{
    s_say (2, GPB__V1__RESIDENCY_STATE__UNLOADED);
    ck_assert (gpb_residencies_copy (&s_residencies, 0, &s_stats));
    ck_assert (!gpb_residencies_is_awake (&s_residencies, 0));
    s_said [1].answered = 5000;
    ck_assert (!gpb_residencies_copy (&s_residencies, 0, &s_stats));
    s_said [1].state = GPB__V1__RESIDENCY_STATE__RESIDENT;
    ck_assert (gpb_residencies_copy (&s_residencies, 0, &s_stats));
    ck_assert (gpb_residencies_is_awake (&s_residencies, 0));
    ck_assert (!gpb_residencies_is_awake (&s_residencies, 1));
    s_said [0].kernel = (char *) "another";
    ck_assert (gpb_residencies_copy (&s_residencies, 0, &s_stats));
    s_say (1, GPB__V1__RESIDENCY_STATE__ON_DEMAND_ONLY);
    ck_assert (gpb_residencies_copy (&s_residencies, 0, &s_stats));
    ck_assert (gpb_residencies_is_awake (&s_residencies, 0));
    gpb_residencies_clear (&s_residencies);
}
END_TEST

START_TEST (test_a_host_that_says_very_much_is_not_kept_whole)
{
    s_say (MANY, GPB__V1__RESIDENCY_STATE__PARKED);
    gpb_residencies_copy (&s_residencies, 63, &s_stats);
    ck_assert_uint_eq (gpb_residencies_count (&s_residencies), GPB_RESIDENCIES_MAX);
    gpb_residencies_clear (&s_residencies);
}
END_TEST

START_TEST (test_without_memory_nothing_is_known)
{
    s_say (3, GPB__V1__RESIDENCY_STATE__PARKED);
    bool has_failed = true;
    for (int64_t after = 0; has_failed; after++) {
        gpb_alloc_fail (after, 0);
        gpb_residencies_copy (&s_residencies, 0, &s_stats);
        has_failed = gpb_alloc_fail (-1, 0) > (uint64_t) after;
        ck_assert_uint_eq (gpb_residencies_count (&s_residencies), has_failed ? 0 : 3);
        ck_assert_int_lt (after, 100);
    }
    gpb_residencies_clear (&s_residencies);
}
END_TEST

GPB_TEST_MAIN ("gpb_residencies", 20, test_what_hosts_have_said_is_found_by_kernel,
               test_another_state_is_told_from_other_figures,
               test_a_host_that_says_very_much_is_not_kept_whole,
               test_without_memory_nothing_is_known)
