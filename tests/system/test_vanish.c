//  Tests of clients that are gone without a word: whatever they had comes back.
//
//  The client is a process of its own that is killed: it rents, reserves, fills a queue, and says
//  when it has done so.

#include "gpb_test.h"

#include "gpb_clock.h"
#include "gpb_test_node.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define RENT_SIZE ((uint64_t) 4 << 20)
#define RENTS 3
#define RESERVED ((uint64_t) 8 << 20)
#define SLEEPS 200    //  more than there is time for
#define SLEEP_US 50000

//  The killed one's life, from its fork on; never returns. Its own ZeroMQ context is made here.
static void
s_live (int in, int out)
{
    gpb_error_t error;
    char endpoint [256] = "";
    ssize_t size = read (in, endpoint, sizeof endpoint - 1);
    gpb_client_t *client = size > 0 ? gpb_client_new (endpoint, &error) : NULL;
    bool is_well = client != NULL;
    for (unsigned number = 0; is_well && number < RENTS + 1; number++) {
        gpb_request_t *request =
            number < RENTS ? gpb_request_rent (RENT_SIZE, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE)
                           : gpb_request_reserve (RESERVED, 0);
        gpb_reply_t *reply = gpb_client_call (client, &request, &error);
        is_well = reply && gpb_reply_status (reply) == GPB_OK;
        gpb_reply_destroy (&reply);
    }
    for (unsigned number = 0; is_well && number < SLEEPS; number++) {
        gpb_request_t *request = gpb_test_sleep (SLEEP_US);
        is_well = gpb_client_send (client, &request, &error) != 0;
    }
    //  Whatever is sent before this is read by the node before it is answered.
    gpb_request_t *hello = gpb_request_hello ();
    gpb_reply_t *reply = is_well ? gpb_client_call (client, &hello, &error) : NULL;
    if (write (out, reply ? "y" : "n", 1) == 1)
        pause ();
    _exit (1);
}

//  Waits for a figure, but not for ever, and says how long it took.
static uint64_t
s_wait (gpb_client_t *client, gpb_test_figure_t *figure, uint64_t expected, uint64_t since_ns)
{
    gpb_test_wait_figure (client, figure, expected);
    return gpb_clock_ns () - since_ns;
}

static uint64_t
s_reservations (const Gpb__V1__StatsReply *stats)
{
    return stats->n_pools ? stats->pools [0]->reservations : UINT64_MAX;
}

START_TEST (test_what_a_killed_client_had_is_back_within_a_second)
{
    int to_child [2], from_child [2];
    ck_assert_int_eq (pipe (to_child), 0);
    ck_assert_int_eq (pipe (from_child), 0);
    pid_t pid = fork ();    //  before this process has a ZeroMQ context
    if (pid == 0)
        s_live (to_child [0], from_child [1]);

    gpb_test_use_fake (1, (uint64_t) 64 << 20);
    gpb_test_node_t node;
    gpb_test_node_start (&node, "--backends", "fake");
    gpb_client_t *watcher = gpb_test_client (&node);
    uint64_t baseline = gpb_test_figure (watcher, gpb_test_available);
    ck_assert_uint_gt (baseline, RENTS * RENT_SIZE + RESERVED);

    const char *endpoint = node.endpoints [0];
    ck_assert_int_eq (write (to_child [1], endpoint, strlen (endpoint)),
                      (ssize_t) strlen (endpoint));
    char well = 0;
    ck_assert_int_eq (read (from_child [0], &well, 1), 1);
    ck_assert_int_eq (well, 'y');
    gpb_test_wait_figure (watcher, gpb_test_rented, RENTS * RENT_SIZE);
    gpb_test_wait_figure (watcher, s_reservations, 1);
    ck_assert_uint_gt (gpb_test_figure (watcher, gpb_test_queue_depth), 0);
    ck_assert_uint_le (gpb_test_figure (watcher, gpb_test_available),
                       baseline - RENTS * RENT_SIZE - RESERVED);

    uint64_t killed_ns = gpb_clock_ns ();
    ck_assert_int_eq (kill (pid, SIGKILL), 0);
    uint64_t queue_ns = s_wait (watcher, gpb_test_queue_depth, 0, killed_ns);
    s_wait (watcher, gpb_test_rented, 0, killed_ns);
    s_wait (watcher, s_reservations, 0, killed_ns);
    uint64_t back_ns = s_wait (watcher, gpb_test_available, baseline, killed_ns);
    //  What is on the device runs to its end, and no more of it.
    uint64_t patience = getenv ("GPB_TEST_SLOW") ? 20 : 1;
    ck_assert_uint_lt (queue_ns, patience * GPB_NS_PER_S);
    ck_assert_uint_lt (back_ns, patience * GPB_NS_PER_S);
    ck_assert_int_eq (waitpid (pid, NULL, 0), pid);
    ck_assert_uint_eq (gpb_test_figure (watcher, gpb_test_connections), 1);
    gpb_client_destroy (&watcher);
    gpb_test_node_stop (&node);
}
END_TEST

GPB_TEST_MAIN ("gpb_vanish", 60, test_what_a_killed_client_had_is_back_within_a_second)
