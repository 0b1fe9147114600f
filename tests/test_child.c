//  Tests of gpb_child: a process is started with what it is to have and no more, both sides see the
//  other's end, and how it ended is said.

#include "gpb_child.h"
#include "gpb_clock.h"
#include "gpb_test.h"
#include "gpb_test_program.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATIENCE_MS 20000

static gpb_error_t error;
static gpb_child_t s_child;

static void
s_start (const char *lines)
{
    gpb_test_program_set (lines);
    const char *const arguments [] = { "one", "two words", NULL };
    ck_assert_ok (gpb_child_start (&s_child, arguments, NULL, 0, &error));
    ck_assert_int_gt (s_child.pid, 0);
}

//  The next packet; "" where it has ended instead.
static const char *
s_recv (void)
{
    static char text [GPB_CHILD_MESSAGE_MAX];
    int got;
    while ((got = gpb_child_recv (&s_child, text, sizeof text)) == 0) {
        struct pollfd item = { .fd = s_child.control, .events = POLLIN };
        ck_assert_int_eq (poll (&item, 1, PATIENCE_MS), 1);
    }
    return got > 0 ? text : "";
}

static void
s_expect_end (const char *expected, bool expected_well)
{
    char reason [GPB_CHILD_REASON_SIZE];
    bool is_well;
    uint64_t end_ns = gpb_clock_ns () + PATIENCE_MS * GPB_NS_PER_MS;
    while (!gpb_child_reap (&s_child, reason, &is_well)) {
        ck_assert_uint_lt (gpb_clock_ns (), end_ns);
        poll (NULL, 0, 1);
    }
    ck_assert_str_eq (reason, expected);
    ck_assert_int_eq (is_well, expected_well);
    ck_assert_int_eq (s_child.pid, 0);
    ck_assert_int_eq (s_child.control, -1);
}

START_TEST (test_how_it_ended_is_said)
{
    s_start ("exit 0");
    ck_assert_str_eq (s_recv (), "");
    s_expect_end ("exit status 0", true);
    s_start ("exit 7");
    s_expect_end ("exit status 7", false);
    s_start ("kill -SEGV $$");
    s_expect_end ("killed by signal 11 (Segmentation fault)", false);
    s_start ("sleep 1000 3>&-");
    gpb_child_kill (&s_child);
    s_expect_end ("killed by signal 9 (Killed)", false);
    gpb_test_program_clear ();
}
END_TEST

START_TEST (test_packets_go_both_ways_and_end_with_it)
{
    s_start ("printf 'args %s|%s' \"$1\" \"$2\" >&3; printf \"got $(dd bs=100 count=1 <&3 "
             "2>/dev/null)\" >&3");
    ck_assert_str_eq (s_recv (), "args one|two words");
    char text [16];
    ck_assert_int_eq (gpb_child_recv (&s_child, text, sizeof text), 0);
    ck_assert_ok (gpb_child_send (&s_child, "this", &error));
    ck_assert_str_eq (s_recv (), "got this");
    ck_assert_str_eq (s_recv (), "");
    ck_assert_refused (gpb_child_send (&s_child, "more", &error), GPB_UNAVAILABLE, "no message");
    s_expect_end ("exit status 0", true);
    gpb_test_program_clear ();
}
END_TEST

//  Our end closes, whatever the reason: its read gives nothing.
START_TEST (test_it_sees_our_end)
{
    s_start ("dd bs=100 count=1 <&3 2>/dev/null; exit 5");
    close (s_child.control);
    s_child.control = -1;
    s_expect_end ("exit status 5", false);
    gpb_test_program_clear ();
}
END_TEST

//  Though it has not read what it was told.
START_TEST (test_what_it_has_said_is_there_after_its_end)
{
    s_start ("sleep 0.2; printf said >&3; exit 1");
    ck_assert_ok (gpb_child_send (&s_child, "unread", &error));
    char reason [GPB_CHILD_REASON_SIZE], text [16];
    int control = dup (s_child.control);
    bool is_well;
    uint64_t end_ns = gpb_clock_ns () + PATIENCE_MS * GPB_NS_PER_MS;
    while (!gpb_child_reap (&s_child, reason, &is_well)) {
        ck_assert_uint_lt (gpb_clock_ns (), end_ns);
        poll (NULL, 0, 1);
    }
    s_child.control = control;
    ck_assert_int_eq (gpb_child_recv (&s_child, text, sizeof text), 1);
    ck_assert_str_eq (text, "said");
    ck_assert_int_eq (gpb_child_recv (&s_child, text, sizeof text), -1);
    close (control);
    gpb_test_program_clear ();
}
END_TEST

START_TEST (test_it_has_what_it_is_given_to_share)
{
    int pair [2];
    ck_assert_int_eq (pipe2 (pair, O_CLOEXEC), 0);
    gpb_test_program_set ("printf four >&4; printf ' five' >&5; cat; printf done >&3");
    const char *const arguments [] = { NULL };
    const int shared [] = { pair [1], pair [1] };
    ck_assert_ok (gpb_child_start (&s_child, arguments, shared, 2, &error));
    close (pair [1]);
    ck_assert_str_eq (s_recv (), "done");    //  its standard input is empty
    s_expect_end ("exit status 0", true);
    char text [32] = "";
    ck_assert_int_eq (read (pair [0], text, sizeof text - 1), 9);
    ck_assert_str_eq (text, "four five");
    ck_assert_int_eq (read (pair [0], text, sizeof text - 1), 0);    //  nobody else holds the pipe
    close (pair [0]);
    gpb_test_program_clear ();
}
END_TEST

START_TEST (test_a_program_that_is_not_there_is_named)
{
    setenv ("GPB_LIBEXEC_DIR", "/nowhere", 1);
    const char *const arguments [] = { NULL };
    ck_assert_refused (gpb_child_start (&s_child, arguments, NULL, 0, &error), GPB_NOT_FOUND,
                       "no program gpb_device_host in /nowhere");
    ck_assert_int_eq (s_child.pid, 0);
    unsetenv (
        "GPB_LIBEXEC_DIR");    //  beside this program there is none, nor need one be installed
    if (gpb_child_start (&s_child, arguments, NULL, 0, &error) == GPB_OK)
        s_expect_end ("exit status 2", false);
    else
        ck_assert_msg (strstr (error.text, "/tests nor in ") != NULL, "%s", error.text);
}
END_TEST

START_TEST (test_a_program_that_cannot_run_is_said)
{
    gpb_test_program_set ("exit 0");
    char path [4096];
    snprintf (path, sizeof path, "%s/gpb_device_host", getenv ("GPB_LIBEXEC_DIR"));
    FILE *file = fopen (path, "w");
    fputs ("#!/nowhere/sh\n", file);
    fclose (file);
    const char *const arguments [] = { NULL };
    ck_assert_refused (gpb_child_start (&s_child, arguments, NULL, 0, &error),
                       GPB_RESOURCE_EXHAUSTED, "cannot be started");
    gpb_test_program_clear ();
}
END_TEST

GPB_TEST_MAIN ("gpb_child", 60, test_how_it_ended_is_said,
               test_packets_go_both_ways_and_end_with_it, test_it_sees_our_end,
               test_what_it_has_said_is_there_after_its_end, test_it_has_what_it_is_given_to_share,
               test_a_program_that_is_not_there_is_named, test_a_program_that_cannot_run_is_said)
