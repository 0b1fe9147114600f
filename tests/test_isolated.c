//  Tests of gpb_isolated: a device's process opens its device, says so, stops when it is told, and
//  ends by itself when nobody is there to tell it.

#include "gpb_child.h"
#include "gpb_clock.h"
#include "gpb_config_private.h"
#include "gpb_isolated.h"
#include "gpb_region.h"
#include "gpb_test.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATIENCE_MS 30000

static gpb_error_t error;
static gpb_child_t s_child;
static char s_folder [64], s_path [96];

//  Starts the process of a fake device, with its configuration.
static void
s_start (const char *index)
{
    char endpoint [128], text [GPB_CHILD_MESSAGE_MAX];
    setenv ("GPB_FAKE_DEVICES", "2", 1);
    setenv ("GPB_FAKE_BAD", "1", 1);
    snprintf (s_folder, sizeof s_folder, "/tmp/gpb-isolated-XXXXXX");
    ck_assert_ptr_nonnull (mkdtemp (s_folder));
    snprintf (s_path, sizeof s_path, "%s/1", s_folder);
    snprintf (endpoint, sizeof endpoint, "ipc://%s", s_path);
    const char *const arguments [] = { "device", index, endpoint, NULL };
    int shared [GPB_ISOLATED_REGIONS];
    for (unsigned region = 0; region < GPB_ISOLATED_REGIONS; region++)
        shared [region] = gpb_region_create (&error);
    ck_assert_ok (gpb_child_start (&s_child, arguments, shared, GPB_ISOLATED_REGIONS, &error));
    for (unsigned region = 0; region < GPB_ISOLATED_REGIONS; region++)
        close (shared [region]);
    gpb_config_t *config = gpb_config_new ();
    ck_assert_ok (gpb_config_set (config, "backends", "fake", &error));
    ck_assert_ok (gpb_config_set (config, "kernel_path", "/nowhere", &error));
    ck_assert_ok (gpb_config_set (config, "log_level", "error", &error));
    ck_assert_ok (gpb_config_write (config, text, sizeof text, &error));
    ck_assert_ok (gpb_child_send (&s_child, text, &error));
    gpb_config_destroy (&config);
}

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

//  It serves, and says whether the device's kernel host does too, or why not.
static bool
s_expect_ready (void)
{
    const char *said = s_recv ();
    const size_t length = strlen (GPB_ISOLATED_READY);
    ck_assert_msg (strncmp (said, GPB_ISOLATED_READY, length) == 0, "%s", said);
    ck_assert_msg (!said [length] || (said [length] == ' ' && said [length + 1]), "%s", said);
    return !said [length];
}

static bool
s_is_socket (const char *path)
{
    struct stat entry;
    return stat (path, &entry) == 0 && S_ISSOCK (entry.st_mode);
}

static void
s_expect_end (const char *expected)
{
    char reason [GPB_CHILD_REASON_SIZE];
    bool is_well;
    uint64_t end_ns = gpb_clock_ns () + PATIENCE_MS * GPB_NS_PER_MS;
    while (!gpb_child_reap (&s_child, reason, &is_well)) {
        ck_assert_uint_lt (gpb_clock_ns (), end_ns);
        poll (NULL, 0, 1);
    }
    ck_assert_str_eq (reason, expected);
}

START_TEST (test_it_serves_until_it_is_told_to_stop)
{
    s_start ("0");
    char host_path [sizeof s_path + sizeof GPB_ISOLATED_HOST];
    snprintf (host_path, sizeof host_path, "%s" GPB_ISOLATED_HOST, s_path);
    const bool has_host = s_expect_ready ();
    ck_assert (s_is_socket (s_path));
    ck_assert (s_is_socket (host_path) == has_host);
    ck_assert_int_eq (kill (s_child.pid, SIGTERM), 0);    //  is the node's to handle
    ck_assert_int_eq (kill (s_child.pid, SIGINT), 0);
    ck_assert_ok (gpb_child_send (&s_child, GPB_ISOLATED_STOP, &error));
    ck_assert_str_eq (s_recv (), "");
    s_expect_end ("exit status 0");
    unlink (s_path);
    unlink (host_path);
    ck_assert_int_eq (rmdir (s_folder), 0);
}
END_TEST

START_TEST (test_it_ends_with_its_node_and_takes_its_files_along)
{
    s_start ("0");
    s_expect_ready ();
    close (s_child.control);
    s_child.control = -1;
    s_expect_end ("exit status 0");
    ck_assert_int_ne (access (s_folder, F_OK), 0);
}
END_TEST

START_TEST (test_a_device_that_does_not_open_is_said_to_be_out_of_order)
{
    s_start ("1");
    const char *said = s_recv ();
    ck_assert_msg (strstr (said, "UNAVAILABLE ") == said && strstr (said, "GPB_FAKE_BAD"), "%s",
                   said);
    s_expect_end ("exit status 1");
    rmdir (s_folder);
    s_start ("7");
    said = s_recv ();
    ck_assert_msg (strstr (said, "NOT_FOUND ") == said, "%s", said);
    s_expect_end ("exit status 1");
    rmdir (s_folder);
}
END_TEST

//  Whoever starts the program by hand is told that it is not for hands.
START_TEST (test_without_a_node_it_says_so)
{
    const char *const arguments [] = { "device", NULL };
    ck_assert_ok (gpb_child_start (&s_child, arguments, NULL, 0, &error));
    s_expect_end ("exit status 2");
    const char *const wrong [] = { "device", "0", "tcp://127.0.0.1:1", NULL };
    ck_assert_ok (gpb_child_start (&s_child, wrong, NULL, 0, &error));
    close (s_child.control);
    s_child.control = -1;
    s_expect_end ("exit status 1");
}
END_TEST

GPB_TEST_MAIN ("gpb_isolated", 60, test_it_serves_until_it_is_told_to_stop,
               test_it_ends_with_its_node_and_takes_its_files_along,
               test_a_device_that_does_not_open_is_said_to_be_out_of_order,
               test_without_a_node_it_says_so)
