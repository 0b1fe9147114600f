//  Tests of gpb_discovery: a process of its own finds the same devices, and costs nothing else when
//  it crashes, hangs, or is not there.

#include "gpb_alloc.h"
#include "gpb_discovery.h"
#include "gpb_test.h"
#include "gpb_test_program.h"

#include <stdlib.h>
#include <string.h>

static gpb_error_t error;
static gpb_discovery_t s_found;

static void
s_expect_notice (size_t number, const char *part)
{
    ck_assert_uint_lt (number, s_found.notices_count);
    ck_assert_msg (strstr (s_found.notices [number], part) != NULL, "%s", s_found.notices [number]);
}

static void
s_clear (void)
{
    gpb_discovery_clear (&s_found);
    ck_assert_uint_eq (s_found.notices_count, 0);
    ck_assert_ptr_null (s_found.notices [0]);
}

START_TEST (test_the_same_is_found_here_and_apart)
{
    setenv ("GPB_FAKE_DEVICES", "3", 1);
    setenv ("GPB_FAKE_BAD", "1", 1);
    for (unsigned apart = 0; apart < 2; apart++) {
        if (apart)
            ck_assert_ok (gpb_discovery_apart (&s_found, "none_such fake", 60000, &error));
        else
            ck_assert_ok (gpb_discovery_here (&s_found, "none_such fake", &error));
        ck_assert_uint_eq (s_found.devices, 3);
        ck_assert_uint_eq (s_found.notices_count, 1);
        s_expect_notice (0, "backend \"none_such\": there is no gpb_none_such.so");
        ck_assert_int_eq (s_found.backends == NULL, apart);
        s_clear ();
    }
}
END_TEST

START_TEST (test_a_process_that_fails_is_a_notice)
{
    gpb_test_program_set ("printf 'notice one' >&3; kill -SEGV $$");
    ck_assert_ok (gpb_discovery_apart (&s_found, "cuda", 60000, &error));
    ck_assert_uint_eq (s_found.devices, 0);
    ck_assert_uint_eq (s_found.notices_count, 1);    //  what it has said is worth nothing
    s_expect_notice (0, "\"cuda\": looking for devices failed: killed by signal 11");
    s_clear ();
    gpb_test_program_set ("exit 1");
    ck_assert_ok (gpb_discovery_apart (&s_found, "cuda", 60000, &error));
    s_expect_notice (0, "exit status 1");
    s_clear ();
    gpb_test_program_set ("exec sleep 1000");
    ck_assert_ok (gpb_discovery_apart (&s_found, "cuda", 50, &error));
    s_expect_notice (0, "none has said in 50 ms");
    s_clear ();
    gpb_test_program_clear ();
}
END_TEST

//  What it has found counts, also where it crashes or hangs when it is done.
START_TEST (test_a_process_that_has_said_all_may_end_as_it_likes)
{
    gpb_test_program_set ("printf 'notice no driver' >&3; printf 'devices 2' >&3; exec sleep 1000");
    ck_assert_ok (gpb_discovery_apart (&s_found, "cuda", 60000, &error));
    ck_assert_uint_eq (s_found.devices, 2);
    s_expect_notice (0, "no driver");
    s_clear ();
    gpb_test_program_clear ();
}
END_TEST

START_TEST (test_more_notices_than_are_kept_are_dropped)
{
    gpb_test_program_set ("i=0; while [ $i -lt 100 ]; do printf 'notice %s' $i >&3; i=$((i + 1)); "
                          "done; printf 'devices 1' >&3");
    ck_assert_ok (gpb_discovery_apart (&s_found, "cuda", 60000, &error));
    ck_assert_uint_eq (s_found.devices, 1);
    ck_assert_uint_eq (s_found.notices_count, GPB_DISCOVERY_NOTICES_MAX);
    s_expect_notice (63, "63");
    s_clear ();
    gpb_test_program_clear ();
}
END_TEST

START_TEST (test_without_the_program_or_memory_it_is_refused)
{
    gpb_test_program_set ("printf 'notice one' >&3; printf 'devices 1' >&3");
    gpb_alloc_fail (0, 0);
    ck_assert_int_eq (gpb_discovery_apart (&s_found, "cuda", 60000, &error),
                      GPB_RESOURCE_EXHAUSTED);
    gpb_alloc_fail (-1, 0);
    s_clear ();
    gpb_test_program_clear ();
    setenv ("GPB_LIBEXEC_DIR", "/nowhere", 1);
    ck_assert_refused (gpb_discovery_apart (&s_found, "cuda", 60000, &error), GPB_NOT_FOUND,
                       "gpb_device_host");
    s_clear ();
}
END_TEST

GPB_TEST_MAIN ("gpb_discovery", 60, test_the_same_is_found_here_and_apart,
               test_a_process_that_fails_is_a_notice,
               test_a_process_that_has_said_all_may_end_as_it_likes,
               test_more_notices_than_are_kept_are_dropped,
               test_without_the_program_or_memory_it_is_refused)
