//  test_isolation - devices in processes of their own: what a crash costs, and whom
//
//  Whole nodes as programs, in their default isolation. A kernel that writes through a pointer to
//  nowhere and one that does not end crash and hang PoCL; processes that are killed or stopped from
//  outside stand for the rest, on the fake backend. Clients beside see right answers, each once.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_test.h"

#include "gpb_clock.h"
#include "gpb_test_node.h"

#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FAKE_MEMORY ((uint64_t) 64 << 20)
#define LONG_US 2000000

static gpb_test_node_t s_node;
static char s_folder [64];    //  where the node's endpoints are, and nothing else is

//  Every node's folders are in one of this test's own.
static void
s_use_folder (void)
{
    snprintf (s_folder, sizeof s_folder, "/tmp/gpb-isolation-XXXXXX");
    ck_assert_ptr_nonnull (mkdtemp (s_folder));
    setenv ("XDG_RUNTIME_DIR", s_folder, 1);
}

static void
s_start_fake (unsigned devices, const char *set)
{
    s_use_folder ();
    gpb_test_use_fake (devices, FAKE_MEMORY);
    gpb_test_node_start (&s_node, "--backends", "fake", "--set", set);
}

static void
s_start_pocl (const char *set)
{
    s_use_folder ();
    //  A sanitizer would make an exit status of the signal.
    gpb_test_sanitizer_option ("ASAN_OPTIONS", "handle_segv=0");
    gpb_test_sanitizer_option ("TSAN_OPTIONS", "handle_segv=0");
    gpb_test_use_packages ("tests/kernels_crash");
    gpb_test_node_start (&s_node, "--backends", "opencl", "--set", set);
}

//  Entries of a folder; those of folders in it count too.
static unsigned
s_count_files (const char *path)
{
    unsigned count = 0;
    DIR *folder = opendir (path);
    for (struct dirent *entry = folder ? readdir (folder) : NULL; entry; entry = readdir (folder)) {
        if (entry->d_name [0] == '.')
            continue;
        char below [512];
        snprintf (below, sizeof below, "%s/%s", path, entry->d_name);
        count += 1 + (entry->d_type == DT_DIR ? s_count_files (below) : 0);
    }
    if (folder)
        closedir (folder);
    return count;
}

static void
s_expect_no_files (void)
{
    uint64_t end_ns = gpb_clock_ns () + 10 * GPB_NS_PER_S;
    while (s_count_files (s_folder) > 0) {
        ck_assert_msg (gpb_clock_ns () < end_ns, "%u files are left in %s",
                       s_count_files (s_folder), s_folder);
        poll (NULL, 0, 2);
    }
    ck_assert_int_eq (rmdir (s_folder), 0);
}

static void
s_stop (void)
{
    gpb_test_node_stop (&s_node);
    s_expect_no_files ();
}

//  ---------------------------------------------------------------------------------------------------------
//  Processes

static pid_t
s_child (void)
{
    pid_t pids [2];
    ck_assert_uint_eq (gpb_test_node_children (&s_node, pids, 2), 1);
    return pids [0];
}

static void
s_expect_gone (pid_t pid)
{
    uint64_t end_ns = gpb_clock_ns () + 10 * GPB_NS_PER_S;
    char state;
    while (gpb_test_parent (pid, &state) && state != 'Z') {
        ck_assert_msg (gpb_clock_ns () < end_ns, "process %d is still there", (int) pid);
        poll (NULL, 0, 2);
    }
}

static unsigned
s_open_files (void)
{
    char path [64];
    snprintf (path, sizeof path, "/proc/%d/fd", (int) s_node.pid);
    return s_count_files (path);
}

//  ---------------------------------------------------------------------------------------------------------
//  Devices

//  Waits until a device is said to be lost, and why.
static void
s_await_restarting (gpb_client_t *client, const char *why)
{
    uint64_t end_ns = gpb_clock_ns () + 100 * GPB_NS_PER_S;
    bool is_restarting = false;
    while (!is_restarting) {
        const Gpb__V1__Device *device;
        gpb_reply_t *reply = gpb_test_describe (client, 0, &device);
        is_restarting = device->state == GPB__V1__DEVICE_STATE__RESTARTING;
        if (is_restarting) {
            ck_assert_msg (strstr (device->reason, why) != NULL, "%s", device->reason);
            ck_assert_uint_eq (device->available_memory, 0);
        }
        ck_assert_uint_lt (gpb_clock_ns (), end_ns);
        gpb_reply_destroy (&reply);
    }
}

static uint64_t
s_send (gpb_client_t *client, gpb_request_t *request)
{
    gpb_error_t error;
    uint64_t id = gpb_client_send (client, &request, &error);
    ck_assert_msg (id != 0, "%s", error.text);
    return id;
}

static gpb_reply_t *
s_recv (gpb_client_t *client)
{
    gpb_reply_t *reply = gpb_client_recv (client, 60000);
    ck_assert_ptr_nonnull (reply);
    return reply;
}

static void
s_expect (gpb_reply_t *reply, gpb_status_t status, const char *part)
{
    ck_assert_msg (gpb_reply_status (reply) == status && strstr (gpb_reply_message (reply), part),
                   "%s: %s", gpb_status_name (gpb_reply_status (reply)), gpb_reply_message (reply));
    gpb_reply_destroy (&reply);
}

static gpb_request_t *
s_segfault (void)
{
    gpb_request_t *request = gpb_request_execute ("segfault");
    gpb_request_u64 (request, 8);
    gpb_request_out (request, 0);
    return request;
}

//  A client of good manners, which asks for one sum after the other and looks at each.
typedef struct {
    gpb_client_t *client;
    float number;
    unsigned answers;
} s_good_t;

enum { SUMS = 40000 };    //  floats: 160,000 bytes, which cross in shared memory

static void
s_good_send (s_good_t *self)
{
    static float a [SUMS], b [SUMS];
    for (int index = 0; index < SUMS; index++) {
        a [index] = self->number;
        b [index] = (float) index;
    }
    gpb_request_t *request = gpb_request_execute ("vector_add");
    gpb_request_in (request, a, sizeof a);
    gpb_request_in (request, b, sizeof b);
    gpb_request_out (request, 0);
    gpb_request_i32 (request, SUMS);
    gpb_request_set_idempotent (request);
    s_send (self->client, request);
}

//  Takes the answer if it is there, and asks for the next sum.
static void
s_good_go_on (s_good_t *self)
{
    gpb_reply_t *reply = gpb_client_recv (self->client, 0);
    if (!reply)
        return;
    ck_assert_msg (gpb_reply_status (reply) == GPB_OK, "%s: %s",
                   gpb_status_name (gpb_reply_status (reply)), gpb_reply_message (reply));
    size_t size;
    const float *sum = gpb_reply_result (reply, 0, &size);
    ck_assert_uint_eq (size, SUMS * sizeof (float));
    for (int index = 0; index < SUMS; index++)
        ck_assert_msg (sum [index] == self->number + (float) index, "at %d: %g, not %g", index,
                       (double) sum [index], (double) (self->number + (float) index));
    gpb_reply_destroy (&reply);
    self->number += 1;
    self->answers++;
    s_good_send (self);
}

//  ---------------------------------------------------------------------------------------------------------
//  Crashes

START_TEST (test_a_kernel_that_crashes_costs_one_request_and_the_reason_is_said)
{
    s_start_pocl ("log_level=error");
    gpb_client_t *client = gpb_test_client (&s_node);
    s_expect (gpb_test_call (client, s_segfault ()), GPB_UNAVAILABLE, "signal 11");
    s_await_restarting (client, "killed by signal 11 (Segmentation fault)");
    gpb_test_await_ready (client, 0, 1);
    s_good_t good = { .client = client };
    s_good_send (&good);
    while (good.answers < 3)
        s_good_go_on (&good);
    gpb_client_destroy (&client);
    s_stop ();
}
END_TEST

//  Ten crashes, each asked for as soon as the one before is answered.
START_TEST (test_two_good_clients_beside_crashes_see_every_answer_right)
{
    enum { CRASHES = 10 };
    s_start_pocl ("log_level=error");
    gpb_client_t *bad = gpb_test_client (&s_node);
    s_good_t goods [2];
    for (unsigned index = 0; index < 2; index++) {
        goods [index] =
            (s_good_t){ .client = gpb_test_client (&s_node), .number = (float) index * 100000 };
        s_good_send (&goods [index]);
    }
    while (goods [0].answers < 2 || goods [1].answers < 2)
        for (unsigned index = 0; index < 2; index++)
            s_good_go_on (&goods [index]);
    for (unsigned crash = 0; crash < CRASHES; crash++) {
        s_send (bad, s_segfault ());
        gpb_reply_t *reply = NULL;
        while (!reply) {
            for (unsigned index = 0; index < 2; index++)
                s_good_go_on (&goods [index]);
            reply = gpb_client_recv (bad, 0);
        }
        s_expect (reply, GPB_UNAVAILABLE, "signal 11");
    }
    unsigned before [2] = { goods [0].answers, goods [1].answers };
    while (goods [0].answers < before [0] + 2 || goods [1].answers < before [1] + 2)
        for (unsigned index = 0; index < 2; index++)
            s_good_go_on (&goods [index]);
    gpb_test_await_ready (bad, 0, CRASHES);
    gpb_client_destroy (&bad);
    for (unsigned index = 0; index < 2; index++)
        gpb_client_destroy (&goods [index].client);
    s_stop ();
}
END_TEST

//  What may run twice is run again; what may not is answered, once; what comes meanwhile waits.
START_TEST (test_what_was_on_a_killed_device_runs_again_or_is_answered_once)
{
    s_start_fake (1, "log_level=error");
    gpb_client_t *client = gpb_test_client (&s_node), *watcher = gpb_test_client (&s_node);
    gpb_request_t *request = gpb_test_sleep (LONG_US);
    gpb_request_set_idempotent (request);
    uint64_t twice = s_send (client, request), once = s_send (client, gpb_test_sleep (LONG_US));
    gpb_test_wait_figure (watcher, gpb_test_in_flight, 2);
    ck_assert_int_eq (kill (s_child (), SIGKILL), 0);
    gpb_reply_t *reply = s_recv (client);
    ck_assert_uint_eq (gpb_reply_id (reply), once);
    s_expect (reply, GPB_UNAVAILABLE, "killed by signal 9");
    uint64_t waits = s_send (client, gpb_test_sleep (0));
    uint64_t ids [2];
    for (size_t index = 0; index < 2; index++) {
        reply = s_recv (client);
        ids [index] = gpb_reply_id (reply);
        s_expect (reply, GPB_OK, "");
    }
    ck_assert ((ids [0] == twice && ids [1] == waits) || (ids [0] == waits && ids [1] == twice));
    ck_assert_ptr_null (gpb_client_recv (client, 0));
    gpb_reply_t *stats = gpb_test_call_ok (client, gpb_request_stats ());
    ck_assert_uint_eq (gpb_reply_header_peek (stats)->stats->rerun, 1);
    ck_assert_uint_eq (gpb_reply_header_peek (stats)->stats->in_flight, 0);
    gpb_reply_destroy (&stats);
    gpb_client_destroy (&client);
    gpb_client_destroy (&watcher);
    s_stop ();
}
END_TEST

//  Device 1 goes on with what it has, and takes what may run twice.
START_TEST (test_a_lost_device_takes_nothing_from_another)
{
    s_start_fake (2, "log_level=error");
    gpb_client_t *client = gpb_test_client (&s_node), *watcher = gpb_test_client (&s_node);
    uint64_t handle = gpb_test_rent (client, 4096, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE, 1);
    uint64_t ids [2];
    for (unsigned device = 0; device < 2; device++) {
        gpb_request_t *request = gpb_test_sleep (LONG_US / 2);
        gpb_request_set_device (request, device);
        ids [device] = s_send (client, request);
    }
    gpb_test_wait_figure (watcher, gpb_test_in_flight, 2);
    pid_t pids [3];
    ck_assert_uint_eq (gpb_test_node_children (&s_node, pids, 3), 2);
    ck_assert_int_eq (kill (pids [0], SIGKILL), 0);
    gpb_reply_t *reply = s_recv (client);
    ck_assert (gpb_reply_id (reply) == ids [0] || gpb_reply_id (reply) == ids [1]);
    unsigned lost = gpb_reply_id (reply) == ids [1];    //  whose process was started first
    s_expect (reply, GPB_UNAVAILABLE, "signal 9");
    reply = s_recv (client);
    ck_assert_uint_eq (gpb_reply_id (reply), ids [1 - lost]);
    s_expect (reply, GPB_OK, "");
    gpb_test_await_ready (watcher, lost, 1);
    gpb_test_await_ready (watcher, 1 - lost, 0);
    reply = gpb_test_call (client, gpb_request_read (handle, 0, 0));
    s_expect (reply, lost == 1 ? GPB_DATA_LOSS : GPB_OK, "");
    gpb_client_destroy (&client);
    gpb_client_destroy (&watcher);
    s_stop ();
}
END_TEST

START_TEST (test_handles_of_a_lost_device_say_that_they_are_lost)
{
    s_start_fake (1, "log_level=error");
    gpb_client_t *client = gpb_test_client (&s_node), *other = gpb_test_client (&s_node);
    uint64_t handle = gpb_test_rent (client, 4096, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE, -1);
    gpb_reply_t *reply = gpb_test_call_ok (client, gpb_request_reserve (1 << 20, 0));
    uint64_t reservation = gpb_reply_handle (reply);
    gpb_reply_destroy (&reply);
    uint64_t released = gpb_test_rent (client, 4096, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE, -1);
    reply = gpb_test_call_ok (client, gpb_request_release (released));
    gpb_reply_destroy (&reply);
    gpb_test_wait_figure (client, gpb_test_rented, 4096);
    ck_assert_int_eq (kill (s_child (), SIGKILL), 0);
    gpb_test_await_ready (client, 0, 1);
    s_expect (gpb_test_call (client, gpb_request_read (handle, 0, 0)), GPB_DATA_LOSS,
              "device 0 was restarted, since its process was lost: killed by signal 9");
    s_expect (gpb_test_call (client, gpb_request_release (handle)), GPB_DATA_LOSS, "restarted");
    s_expect (gpb_test_call (client, gpb_request_renew (reservation, 0)), GPB_DATA_LOSS,
              "restarted");
    //  What was no more before, and what is another's.
    s_expect (gpb_test_call (client, gpb_request_release (released)), GPB_NOT_FOUND, "");
    s_expect (gpb_test_call (other, gpb_request_read (handle, 0, 0)), GPB_NOT_FOUND, "");

    //  Nothing is counted as rented or reserved any more, and all of the memory can be had.
    gpb_test_wait_figure (client, gpb_test_rented, 0);
    gpb_test_wait_figure (client, gpb_test_available, FAKE_MEMORY);
    gpb_test_rent (client, FAKE_MEMORY, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE, -1);
    gpb_client_destroy (&client);
    gpb_client_destroy (&other);
    s_stop ();
}
END_TEST

START_TEST (test_kernels_that_clients_have_added_are_there_after_a_loss)
{
    static const char definition [] =
        "id = \"nap\"; description = \"sleeps\"; source = \"nap.c\";\n"
        "parameters = ( { name = \"us\"; direction = \"scalar\"; "
        "type = \"i32\"; } ); global = [ \"1\" ];";
    s_start_fake (1, "allow_register=true");
    gpb_client_t *client = gpb_test_client (&s_node);
    gpb_reply_t *reply = gpb_test_call_ok (
        client, gpb_request_register (definition, "fake: sleep_us by the name of nap", false));
    gpb_reply_destroy (&reply);
    ck_assert_int_eq (kill (s_child (), SIGKILL), 0);
    gpb_test_await_ready (client, 0, 1);
    gpb_request_t *request = gpb_request_execute ("nap");
    gpb_request_i32 (request, 0);
    s_expect (gpb_test_call (client, request), GPB_OK, "");
    gpb_client_destroy (&client);
    s_stop ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Hangs

START_TEST (test_a_process_that_stands_still_is_ended_and_said_to_hang)
{
    s_start_fake (1, "kernel_timeout_ms=500");
    gpb_client_t *client = gpb_test_client (&s_node);
    pid_t child = s_child ();
    ck_assert_int_eq (kill (child, SIGSTOP), 0);
    s_expect (gpb_test_call (client, gpb_test_sleep (0)), GPB_UNAVAILABLE, "kernel_timeout_ms");
    s_expect_gone (child);
    gpb_test_await_ready (client, 0, 1);
    s_expect (gpb_test_call (client, gpb_test_sleep (0)), GPB_OK, "");
    gpb_client_destroy (&client);
    s_stop ();
}
END_TEST

//  Its client has given up long before, so that nothing waits for an answer.
START_TEST (test_an_endless_kernel_is_ended_though_nobody_waits_for_it)
{
    //  Longer than a kernel is compiled, which counts too.
    const bool is_slow = getenv ("GPB_TEST_SLOW") != NULL;
    s_start_pocl (is_slow ? "kernel_timeout_ms=40000" : "kernel_timeout_ms=8000");
    gpb_client_t *client = gpb_test_client (&s_node);
    s_good_t good = { .client = client };
    s_good_send (&good);
    while (good.answers < 1)    //  the platform is warm, and kernels come from the cache
        s_good_go_on (&good);
    s_expect (s_recv (client), GPB_OK, "");
    //  One whose time is up while its kernel is compiled does not begin, though the device runs
    //  something all that time: then there has to be another.
    for (bool is_lost = false; !is_lost;) {
        const Gpb__V1__Device *device;
        gpb_reply_t *reply = gpb_test_describe (client, 0, &device);
        is_lost = device->state != GPB__V1__DEVICE_STATE__READY;
        const bool is_idle = !is_lost && device->running_ns == 0;
        gpb_reply_destroy (&reply);
        if (is_idle) {
            gpb_request_t *request = gpb_request_execute ("spin");
            gpb_request_out (request, 0);
            gpb_request_set_timeout (request, 1500);
            s_expect (gpb_test_call (client, request), GPB_DEADLINE_EXCEEDED, "");
        }
        else
            zclock_sleep (1);
    }
    s_await_restarting (client,
                        is_slow ? "kernel_timeout_ms, 40000 ms" : "kernel_timeout_ms, 8000 ms");
    gpb_test_await_ready (client, 0, 1);
    good.answers = 0;
    good.number = 0;
    s_good_send (&good);
    while (good.answers < 1)
        s_good_go_on (&good);
    gpb_client_destroy (&client);
    s_stop ();
}
END_TEST

//  Six requests of 300 ms, two or three of them on the device at once, are late in all and hang
//  nothing.
START_TEST (test_a_long_queue_is_no_hang)
{
    enum { REQUESTS = 6 };
    s_start_fake (1, "kernel_timeout_ms=1000");
    gpb_client_t *client = gpb_test_client (&s_node);
    for (unsigned request = 0; request < REQUESTS; request++)
        s_send (client, gpb_test_sleep (300000));
    for (unsigned request = 0; request < REQUESTS; request++)
        s_expect (s_recv (client), GPB_OK, "");
    gpb_test_await_ready (client, 0, 0);
    gpb_client_destroy (&client);
    s_stop ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Payloads

static void
s_check_payload (gpb_client_t *client, uint64_t handle, size_t size)
{
    unsigned char *data = malloc (size + 1);
    ck_assert_ptr_nonnull (data);
    for (size_t index = 0; index < size; index++)
        data [index] = (unsigned char) (index * 7 + size);
    s_expect (gpb_test_call (client, gpb_request_write (handle, 0, data, size)), GPB_OK, "");
    if (size > 0) {
        gpb_reply_t *reply = gpb_test_call_ok (client, gpb_request_read (handle, 0, size));
        size_t got;
        const void *result = gpb_reply_result (reply, 0, &got);
        ck_assert_uint_eq (got, size);
        ck_assert_msg (memcmp (result, data, size) == 0, "%zu bytes come back changed", size);
        gpb_reply_destroy (&reply);
    }
    free (data);
}

static void
s_check_payloads (const char *isolation)
{
    static const size_t sizes [] = { 0, 1, 65535, 65536, 65537, 1 << 20, (1 << 20) + 3, 16 << 20 };
    s_start_fake (1, isolation);
    gpb_client_t *client = gpb_test_client (&s_node);
    uint64_t handle = gpb_test_rent (client, 16 << 20, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE, -1);
    for (unsigned round = 0; round < 3; round++)
        for (size_t index = 0; index < sizeof sizes / sizeof sizes [0]; index++)
            s_check_payload (client, handle, sizes [index]);
    gpb_client_destroy (&client);
    s_stop ();
}

START_TEST (test_payloads_of_all_sizes_cross_to_a_process)
{
    s_check_payloads ("isolation=process");
}
END_TEST

START_TEST (test_payloads_of_all_sizes_cross_to_a_thread)
{
    s_check_payloads ("isolation=thread");
}
END_TEST

//  The answer of a device that is lost meanwhile stays what it was.
START_TEST (test_an_answer_outlives_its_device)
{
    enum { SIZE = 4 << 20 };
    s_start_fake (1, "log_level=error");
    gpb_client_t *client = gpb_test_client (&s_node);
    uint64_t handle = gpb_test_rent (client, SIZE, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE, -1);
    unsigned char *data = malloc (SIZE);
    ck_assert_ptr_nonnull (data);
    memset (data, 0x5A, SIZE);
    s_expect (gpb_test_call (client, gpb_request_write (handle, 0, data, SIZE)), GPB_OK, "");
    gpb_reply_t *reply = gpb_test_call_ok (client, gpb_request_read (handle, 0, 0));
    ck_assert_int_eq (kill (s_child (), SIGKILL), 0);
    gpb_test_await_ready (client, 0, 1);
    ck_assert_mem_eq (gpb_reply_result (reply, 0, NULL), data, SIZE);
    gpb_reply_destroy (&reply);
    free (data);
    gpb_client_destroy (&client);
    s_stop ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  The end

START_TEST (test_a_node_that_is_killed_leaves_no_process_and_no_file)
{
    for (unsigned round = 0; round < 2; round++) {
        s_start_fake (2, "log_level=error");
        pid_t pids [3];
        ck_assert_uint_eq (gpb_test_node_children (&s_node, pids, 3), 2);
        if (round == 1)    //  also one that stands still
            ck_assert_int_eq (kill (pids [0], SIGSTOP), 0);
        gpb_test_node_kill (&s_node);
        for (unsigned index = 0; index < 2; index++)
            s_expect_gone (pids [index]);
        s_expect_no_files ();
    }
}
END_TEST

START_TEST (test_a_node_with_a_process_that_stands_still_stops_in_time)
{
    s_start_fake (1, "drain_ms=200");
    pid_t child = s_child ();
    ck_assert_int_eq (kill (child, SIGSTOP), 0);
    s_stop ();
    s_expect_gone (child);
}
END_TEST

START_TEST (test_many_losses_leave_nothing_behind)
{
    enum { LOSSES = 50 };
    s_start_fake (1, "log_level=error");
    gpb_client_t *client = gpb_test_client (&s_node);
    unsigned files_before = 0;
    for (unsigned loss = 0; loss < LOSSES; loss++) {
        s_check_payload (client,
                         gpb_test_rent (client, 1 << 20, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE, -1),
                         1 << 20);
        if (loss == 1)    //  sockets that libzmq closes later
            files_before = s_open_files ();
        ck_assert_int_eq (kill (s_child (), SIGKILL), 0);
        gpb_test_await_ready (client, 0, loss + 1);
    }
    s_expect (gpb_test_call (client, gpb_test_sleep (0)), GPB_OK, "");
    uint64_t end_ns = gpb_clock_ns () + 10 * GPB_NS_PER_S;
    while (s_open_files () > files_before) {
        ck_assert_msg (gpb_clock_ns () < end_ns, "%u descriptors became %u", files_before,
                       s_open_files ());
        poll (NULL, 0, 10);
    }
    ck_assert_uint_eq (s_count_files (s_folder), 3);    //  a folder, and two endpoints in it
    s_child ();
    gpb_client_destroy (&client);
    s_stop ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Persistent kernels

//  A message to a kernel that answers it as it is, after so many microseconds where it is
//  fake_stuck.
static gpb_request_t *
s_message (const char *kernel, const uint32_t *words, size_t count)
{
    gpb_request_t *request = gpb_request_execute (kernel);
    gpb_request_in (request, words, count * sizeof *words);
    gpb_request_out (request, 0);
    return request;
}

static void
s_expect_words (gpb_reply_t *reply, const uint32_t *words, size_t count)
{
    size_t size;
    ck_assert_msg (gpb_reply_status (reply) == GPB_OK, "%s", gpb_reply_message (reply));
    const void *answer = gpb_reply_result (reply, 0, &size);
    ck_assert_uint_eq (size, count * sizeof *words);
    ck_assert_mem_eq (answer, words, size);
    gpb_reply_destroy (&reply);
}

//  It stands still when this returns: a thread of it may run on for a while.
static void
s_stand_still (pid_t pid)
{
    uint64_t end_ns = gpb_clock_ns () + 10 * GPB_NS_PER_S;
    char state = 0;
    ck_assert_int_eq (kill (pid, SIGSTOP), 0);
    while (gpb_test_parent (pid, &state) && state != 'T') {
        ck_assert_uint_lt (gpb_clock_ns (), end_ns);
        poll (NULL, 0, 2);
    }
}

//  With what both need for a lane that stays, and by a launch for each message.
static void
s_start_persistent (bool has_lanes, const char *set)
{
    setenv ("GPB_FAKE_SVM", has_lanes ? "1" : "0", 1);
    s_start_fake (1, set);
}

static void
s_lose_messages (bool has_lanes)
{
    static const uint32_t words [] = { 1, 2, 3, 4, 5 };
    s_start_persistent (has_lanes, "log_level=error");
    gpb_client_t *client = gpb_test_client (&s_node), *other = gpb_test_client (&s_node);
    s_expect_words (gpb_test_call (client, s_message ("fake_echo", words, 5)), words, 5);
    s_stand_still (s_child ());
    gpb_request_t *request = s_message ("fake_echo", words, 5);
    gpb_request_set_idempotent (request);
    const uint64_t twice = s_send (client, request);
    s_send (client, s_message ("fake_echo", words, 4));
    gpb_test_wait_figure (other, gpb_test_in_flight, 2);
    ck_assert_int_eq (kill (s_child (), SIGKILL), 0);
    for (unsigned count = 0; count < 2; count++) {
        gpb_reply_t *reply = s_recv (client);
        if (gpb_reply_id (reply) == twice)
            s_expect_words (reply, words, 5);
        else if (gpb_reply_status (reply) == GPB_OK)    //  it was not begun
            s_expect_words (reply, words, 4);
        else
            s_expect (reply, GPB_UNAVAILABLE, "device 0 was lost under this request");
    }
    gpb_test_await_ready (other, 0, 1);
    s_expect_words (gpb_test_call (client, s_message ("fake_echo", words, 5)), words, 5);
    ck_assert_ptr_null (gpb_client_recv (client, 0));
    gpb_client_destroy (&client);
    gpb_client_destroy (&other);
    s_stop ();
}

START_TEST (test_a_message_that_is_lost_with_its_process_runs_in_the_next_one)
{
    s_lose_messages (true);
    s_lose_messages (false);
}
END_TEST

static void
s_hang (bool has_lanes, const char *reason)
{
    static const uint32_t words [] = { UINT32_MAX, 7 };
    s_start_persistent (has_lanes, "kernel_timeout_ms=500");
    gpb_client_t *client = gpb_test_client (&s_node);
    s_expect (gpb_test_call (client, s_message ("fake_stuck", words, 2)), GPB_UNAVAILABLE, reason);
    gpb_test_await_ready (client, 0, 1);
    s_expect_words (gpb_test_call (client, s_message ("fake_stuck", &words [1], 1)), &words [1], 1);
    gpb_client_destroy (&client);
    s_stop ();
}

START_TEST (test_a_handler_that_does_not_return_ends_its_process_and_the_reason_is_said)
{
    s_hang (true, "kernel fake_stuck did not");
    s_hang (false, "a launch of kernel fake_stuck on device 0 does not end");
}
END_TEST

START_TEST (test_a_pointer_does_not_cross_processes)
{
    gpb_test_use_fake (1, FAKE_MEMORY);
    gpb_test_node_compose (&s_node, "inproc://isolated", "backends", "fake", "isolation",
                           "process");
    gpb_client_t *client = gpb_test_client (&s_node);
    uint64_t handle = gpb_test_rent (client, 4096, GPB_RENT_MAPPED, GPB_RENT_READ_WRITE, -1);
    s_expect (gpb_test_call (client, gpb_request_map (handle)), GPB_FAILED_PRECONDITION,
              "isolation");
    gpb_client_destroy (&client);
    gpb_test_node_stop (&s_node);
}
END_TEST

GPB_TEST_MAIN ("isolation", 120,
               test_a_kernel_that_crashes_costs_one_request_and_the_reason_is_said,
               test_two_good_clients_beside_crashes_see_every_answer_right,
               test_what_was_on_a_killed_device_runs_again_or_is_answered_once,
               test_a_lost_device_takes_nothing_from_another,
               test_handles_of_a_lost_device_say_that_they_are_lost,
               test_kernels_that_clients_have_added_are_there_after_a_loss,
               test_a_process_that_stands_still_is_ended_and_said_to_hang,
               test_an_endless_kernel_is_ended_though_nobody_waits_for_it,
               test_a_long_queue_is_no_hang, test_payloads_of_all_sizes_cross_to_a_process,
               test_payloads_of_all_sizes_cross_to_a_thread, test_an_answer_outlives_its_device,
               test_a_node_that_is_killed_leaves_no_process_and_no_file,
               test_a_node_with_a_process_that_stands_still_stops_in_time,
               test_many_losses_leave_nothing_behind,
               test_a_message_that_is_lost_with_its_process_runs_in_the_next_one,
               test_a_handler_that_does_not_return_ends_its_process_and_the_reason_is_said,
               test_a_pointer_does_not_cross_processes)
