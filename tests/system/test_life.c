//  test_life - how a node begins, ends, and outlives its clients
//
//  The program: signals with work in flight, ports that are taken, endpoints of every kind, clients
//  that do not read or vanish. The composed node: what it must leave alone in the process that it
//  is a guest of.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_test_node.h"

#include "gpb_clock.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void
s_check_serves (gpb_client_t *client)
{
    gpb_reply_t *reply = gpb_test_call_ok (client, gpb_test_sleep (0));
    gpb_reply_destroy (&reply);
}

//  ---------------------------------------------------------------------------------------------------------
//  The end

//  With hundreds of requests on the device, in the queue and on their way, all of them are
//  answered: those that were accepted OK where the time to drain is enough, the rest UNAVAILABLE.
static void
s_check_drain (int signal_number, const char *drain_ms, bool expects_all)
{
    enum { REQUESTS = 400 };
    gpb_test_use_fake (1, 64 << 20);
    gpb_test_node_t node;
    gpb_test_node_start (&node, "--backends", "fake", "--set", drain_ms);
    gpb_client_t *client = gpb_test_client (&node), *other = gpb_test_client (&node);
    for (size_t index = 0; index < REQUESTS; index++) {
        gpb_error_t error;
        gpb_request_t *request = gpb_test_sleep (2000);
        ck_assert_msg (gpb_client_send (client, &request, &error) != 0, "%s", error.text);
    }
    while (gpb_test_figure (other, gpb_test_queue_depth) == 0)
        continue;
    ck_assert_int_eq (kill (node.pid, signal_number), 0);
    size_t done = 0, unavailable = 0;
    for (size_t index = 0; index < REQUESTS; index++) {
        gpb_reply_t *reply = gpb_client_recv (client, GPB_TEST_PATIENCE_MS);
        ck_assert_msg (reply != NULL, "%zu are not answered", REQUESTS - index);
        gpb_status_t status = gpb_reply_status (reply);
        ck_assert_msg (status == GPB_OK || status == GPB_UNAVAILABLE, "%s: %s",
                       gpb_status_name (status), gpb_reply_message (reply));
        if (status == GPB_OK)
            done++;
        else {
            //  By the node, not by the client that finds it gone.
            ck_assert_msg (strstr (gpb_reply_message (reply), "the node") != NULL
                               && strstr (gpb_reply_message (reply), "stop") != NULL,
                           "%s", gpb_reply_message (reply));
            unavailable++;
        }
        gpb_reply_destroy (&reply);
    }
    ck_assert_uint_eq (done + unavailable, REQUESTS);
    ck_assert_uint_gt (done, 0);
    if (!expects_all)
        ck_assert_uint_gt (unavailable, 0);
    ck_assert_int_eq (gpb_test_node_wait (&node, NULL, 0), 0);
    gpb_client_destroy (&client);
    gpb_client_destroy (&other);
}

START_TEST (test_sigterm_leaves_nothing_unanswered)
{
    s_check_drain (SIGTERM, "drain_ms=20000", true);
}
END_TEST

START_TEST (test_sigint_leaves_nothing_unanswered)
{
    s_check_drain (SIGINT, "drain_ms=20000", true);
}
END_TEST

//  800 ms of work, 100 ms of time.
START_TEST (test_what_is_not_done_in_the_time_to_drain_is_unavailable)
{
    s_check_drain (SIGTERM, "drain_ms=100", false);
}
END_TEST

START_TEST (test_a_signal_while_the_node_starts_ends_it_well)
{
    gpb_test_use_fake (2, 64 << 20);
    for (size_t index = 0; index < 5; index++) {
        gpb_test_node_t node;
        gpb_test_node_spawn (&node, "--backends", "fake", "--bind", GPB_TEST_ANY_PORT);

        //  The signal is blocked from the program's first lines on; before those it is the
        //  process's end.
        poll (NULL, 0, (int) index * 10);
        ck_assert_int_eq (kill (node.pid, SIGTERM), 0);
        int status = gpb_test_node_wait (&node, NULL, 0);
        ck_assert_msg (status == 0 || status == 256 + SIGTERM, "exit status %d", status);
    }
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  The beginning

START_TEST (test_a_port_that_is_taken_is_an_error_that_says_so)
{
    gpb_test_use_fake (1, 64 << 20);
    gpb_test_node_t node, second;
    gpb_test_node_start (&node, "--backends", "fake");
    gpb_test_node_spawn (&second, "--backends", "fake", "--bind", node.endpoints [0]);
    char errors [4096];
    ck_assert_int_eq (gpb_test_node_wait (&second, errors, sizeof errors), 1);
    ck_assert_msg (strstr (errors, node.endpoints [0]) && strstr (errors, "in use"), "%s", errors);
    gpb_client_t *client = gpb_test_client (&node);
    s_check_serves (client);
    gpb_client_destroy (&client);
    gpb_test_node_stop (&node);
}
END_TEST

START_TEST (test_every_endpoint_is_printed_as_it_is_and_serves)
{
    gpb_test_use_fake (1, 64 << 20);
    char ipc [128];
    snprintf (ipc, sizeof ipc, "ipc:///tmp/gpb-test-life-%d", (int) getpid ());
    gpb_test_node_t node;
    gpb_test_node_start (&node, "--backends", "fake", "--bind", GPB_TEST_ANY_PORT, "--bind",
                         GPB_TEST_ANY_PORT, "--bind", ipc);
    ck_assert_uint_eq (node.endpoints_count, 3);
    unsigned ports [2];
    for (size_t index = 0; index < 2; index++)
        ck_assert_msg (sscanf (node.endpoints [index], "tcp://127.0.0.1:%u", &ports [index]) == 1,
                       "%s", node.endpoints [index]);
    ck_assert (ports [0] > 0 && ports [1] > 0 && ports [0] != ports [1]);
    ck_assert_str_eq (node.endpoints [2], ipc);
    for (size_t index = 0; index < 3; index++) {
        gpb_error_t error;
        gpb_client_t *client = gpb_client_new (node.endpoints [index], &error);
        ck_assert_msg (client != NULL, "%s", error.text);
        uint64_t handle = gpb_test_rent (client, 64, GPB_RENT_MAPPED, GPB_RENT_READ_WRITE, -1);

        //  No pointer for another process, however it is connected.
        gpb_reply_t *reply = gpb_test_call (client, gpb_request_map (handle));
        ck_assert_int_eq (gpb_reply_status (reply), GPB_FAILED_PRECONDITION);
        gpb_reply_destroy (&reply);
        gpb_client_destroy (&client);
    }
    gpb_client_t *client = gpb_test_client (&node);
    gpb_test_wait_figure (client, gpb_test_rented, 0);
    gpb_client_destroy (&client);
    gpb_test_node_stop (&node);
    //  It has taken its socket's file along.
    ck_assert_int_eq (access (ipc + strlen ("ipc://"), F_OK), -1);
}
END_TEST

START_TEST (test_an_endpoint_that_is_none_is_refused)
{
    gpb_test_use_fake (1, 64 << 20);
    static const char *const endpoints [] = { "nonsense", "tcp://127.0.0.1:99999",
                                              "udp://127.0.0.1:5670", "ipc:///no/such/folder/x" };
    for (size_t index = 0; index < sizeof endpoints / sizeof endpoints [0]; index++) {
        gpb_test_node_t node;
        char errors [4096];
        gpb_test_node_spawn (&node, "--backends", "fake", "--bind", endpoints [index]);
        int status = gpb_test_node_wait (&node, errors, sizeof errors);
        ck_assert_msg (status == 1 && strstr (errors, endpoints [index]), "%s: exit %d: %s",
                       endpoints [index], status, errors);
    }
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Clients that do not read, or vanish

//  It asks for the same megabyte again and again and takes no answer: beyond the bound it is
//  dropped, counted, and what it rented is back; another client is served all the while.
START_TEST (test_a_client_that_does_not_read_is_dropped_and_others_are_served)
{
    enum { SIZE = 1 << 20, READS = 200 };
    gpb_test_use_fake (1, 64 << 20);
    gpb_test_node_t node;
    gpb_test_node_start (&node, "--backends", "fake", "--set", "reply_max_size=4194304", "--set",
                         "reply_high_water=20");
    gpb_client_t *good = gpb_test_client (&node);
    gpb_test_raw_t deaf;
    memset (&deaf, 0, sizeof deaf);
    deaf.type = ZMQ_DEALER;
    deaf.socket = zsock_new (ZMQ_DEALER);
    zsock_set_linger (deaf.socket, 0);
    zsock_set_sndhwm (deaf.socket, 0);
    zsock_set_rcvhwm (deaf.socket, 1);
    zsock_set_rcvbuf (deaf.socket, 4096);
    ck_assert_int_eq (zsock_connect (deaf.socket, "%s", node.endpoints [0]), 0);

    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Rent rent = GPB__V1__RENT__INIT;
    request.id = 1;
    rent.size = SIZE;
    request.body_case = GPB__V1__REQUEST__BODY_RENT;
    request.rent = &rent;
    gpb_test_raw_request (&deaf, &request, NULL);
    gpb_test_raw_expect (&deaf, 1, GPB_OK, "");
    Gpb__V1__Read read = GPB__V1__READ__INIT;
    read.handle = deaf.reply->rent->handle;
    for (uint64_t id = 2; id < 2 + READS; id++) {
        gpb__v1__request__init (&request);
        request.id = id;
        request.body_case = GPB__V1__REQUEST__BODY_READ;
        request.read = &read;
        gpb_test_raw_request (&deaf, &request, NULL);
    }
    while (gpb_test_figure (good, gpb_test_dropped_clients) == 0)
        s_check_serves (good);
    ck_assert_uint_eq (gpb_test_figure (good, gpb_test_dropped_clients), 1);
    gpb_test_wait_figure (good, gpb_test_rented, 0);
    gpb_test_wait_figure (good, gpb_test_in_flight, 0);
    s_check_serves (good);
    gpb_test_raw_close (&deaf);
    gpb_test_wait_figure (good, gpb_test_connections, 1);
    gpb_client_destroy (&good);
    gpb_test_node_stop (&node);
}
END_TEST

//  A process that holds rents is killed: they are back within a second.
START_TEST (test_a_client_that_vanishes_gives_its_memory_back_within_a_second)
{
    enum { RENTS = 10, SIZE = 1 << 20 };
    gpb_test_use_fake (2, 64 << 20);
    gpb_test_node_t node;
    gpb_test_node_start (&node, "--backends", "fake");
    int ready [2];
    ck_assert_int_eq (pipe (ready), 0);
    pid_t child = fork ();    //  before this process has a ZeroMQ context
    if (child == 0) {
        gpb_client_t *client = gpb_test_client (&node);
        for (size_t index = 0; index < RENTS; index++)
            gpb_test_rent (client, SIZE, index % 2 ? GPB_RENT_MAPPED : GPB_RENT_DEVICE,
                           GPB_RENT_READ_WRITE, (int) (index % 2));
        _exit (write (ready [1], "1", 1) == 1 && pause () == 0);
    }
    char byte;
    close (ready [1]);
    ck_assert_int_eq (read (ready [0], &byte, 1), 1);
    close (ready [0]);
    gpb_client_t *client = gpb_test_client (&node);
    gpb_test_wait_figure (client, gpb_test_rented, RENTS * SIZE);
    ck_assert_int_eq (kill (child, SIGKILL), 0);
    ck_assert_int_eq (waitpid (child, NULL, 0), child);
    uint64_t began_ns = gpb_clock_ns ();

    //  By the pool's own word, not by a figure that is asked for once a second: the whole of a
    //  device can be rented.
    bool is_back = false;
    while (!is_back) {
        gpb_request_t *request = gpb_request_rent (64 << 20, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE);
        gpb_request_set_device (request, 0);
        gpb_reply_t *reply = gpb_test_call (client, request);
        is_back = gpb_reply_status (reply) == GPB_OK;
        if (!is_back)
            ck_assert_int_eq (gpb_reply_status (reply), GPB_RESOURCE_EXHAUSTED);
        gpb_reply_destroy (&reply);
        ck_assert_msg (gpb_clock_ns () - began_ns
                           < (getenv ("GPB_TEST_SLOW") ? 10 : 1) * GPB_NS_PER_S + GPB_NS_PER_S,
                       "the memory is not back");
    }
    gpb_test_wait_figure (client, gpb_test_connections, 1);
    gpb_client_destroy (&client);
    gpb_test_node_stop (&node);
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  A guest in another's process

static char *
s_environment (void)
{
    size_t size = 1;
    for (char **entry = environ; *entry; entry++)
        size += strlen (*entry) + 1;
    char *text = calloc (size, 1);
    ck_assert_ptr_nonnull (text);
    for (char **entry = environ; *entry; entry++) {
        strcat (text, *entry);
        strcat (text, "\n");
    }
    return text;
}

//  A whole environment is too long for a message of Check's: only what follows the first
//  difference.
static void
s_check_environment (const char *before)
{
    char *now = s_environment ();
    size_t at = 0;
    while (now [at] && now [at] == before [at])
        at++;
    ck_assert_msg (!now [at] && !before [at], "the environment has \"%.60s\" in place of \"%.60s\"",
                   now + at, before + at);
    free (now);
}

static void
s_no_handler (int signal_number)
{
    (void) signal_number;
}

//  What zsys has set for every socket that is made.
typedef struct {
    int linger, sndhwm, rcvhwm, ipv6;
    size_t pipe_hwm, sockets;
    bool auto_use_fd;
    char interface [64];
} s_zsys_t;

static s_zsys_t
s_zsys (void)
{
    s_zsys_t self;
    memset (&self, 0, sizeof self);
    zsock_t *socket = zsock_new (ZMQ_DEALER);
    ck_assert_ptr_nonnull (socket);
    self.linger = zsock_linger (socket);
    self.sndhwm = zsock_sndhwm (socket);
    self.rcvhwm = zsock_rcvhwm (socket);
    zsock_destroy (&socket);
    self.ipv6 = zsys_ipv6 ();
    self.pipe_hwm = zsys_pipehwm ();
    self.sockets = zsys_socket_limit ();
    self.auto_use_fd = zsys_auto_use_fd () != 0;
    snprintf (self.interface, sizeof self.interface, "%s", zsys_interface ());
    return self;
}

//  All that a guest could change.
typedef struct {
    struct sigaction actions [NSIG];
    sigset_t mask;
    s_zsys_t zsys;
    char *environment;
} s_process_t;

static void
s_process (s_process_t *self)
{
    memset (self, 0, sizeof *self);
    for (int number = 1; number < NSIG; number++)
        sigaction (number, NULL, &self->actions [number]);
    pthread_sigmask (SIG_SETMASK, NULL, &self->mask);
    self->zsys = s_zsys ();
    self->environment = s_environment ();
}

static void
s_check_process (const s_process_t *before)
{
    s_process_t now;
    s_process (&now);
    for (int number = 1; number < NSIG; number++) {
        ck_assert_msg (now.actions [number].sa_handler == before->actions [number].sa_handler
                           && now.actions [number].sa_flags == before->actions [number].sa_flags,
                       "signal %d has another handler", number);
        ck_assert_int_eq (sigismember (&now.mask, number), sigismember (&before->mask, number));
    }
    ck_assert_mem_eq (&now.zsys, &before->zsys, sizeof now.zsys);
    free (now.environment);
    s_check_environment (before->environment);
}

static volatile sig_atomic_t s_signals;

static void
s_count_signal (int signal_number)
{
    (void) signal_number;
    s_signals++;
}

//  An OpenCL driver is a guest too: PoCL's compiler puts handlers of its own around the
//  application's, which are still called, and PoCL sets one variable, which is set here already.
//  Everything else is as it was.
START_TEST (test_a_composed_opencl_node_leaves_the_application_its_signals)
{
    setenv ("HWLOC_PLUGINS_PATH", "/dev/null", 1);
    zsys_init ();
    const struct sigaction own = { .sa_handler = s_count_signal };
    ck_assert_int_eq (sigaction (SIGTERM, &own, NULL), 0);
    ck_assert_int_eq (sigaction (SIGINT, &own, NULL), 0);
    char *before = s_environment ();
    s_zsys_t zsys = s_zsys ();
    gpb_test_node_t node;
    gpb_test_node_compose (&node, "inproc://guest", "backends", "opencl");
    gpb_client_t *client = gpb_test_client (&node);
    float a [4] = { 1, 2, 3, 4 };
    gpb_request_t *request = gpb_request_execute ("vector_add");
    gpb_request_in (request, a, sizeof a);
    gpb_request_in (request, a, sizeof a);
    gpb_request_out (request, 0);
    gpb_request_i32 (request, 4);
    gpb_reply_t *reply = gpb_test_call_ok (client, request);
    gpb_reply_destroy (&reply);
    raise (SIGTERM);
    raise (SIGINT);
    ck_assert_int_eq (s_signals, 2);
    gpb_client_destroy (&client);
    gpb_test_node_stop (&node);
    raise (SIGTERM);
    ck_assert_int_eq (s_signals, 3);
    s_zsys_t zsys_after = s_zsys ();
    s_check_environment (before);
    ck_assert_mem_eq (&zsys_after, &zsys, sizeof zsys);
    free (before);
}
END_TEST

//  Signals, environment and zsys are as the application has left them, while a node works in its
//  process and after it.
START_TEST (test_a_composed_node_leaves_the_process_alone)
{
    gpb_test_use_fake (1, 64 << 20);
    zsys_init ();
    zsys_set_linger (77);
    zsys_set_sndhwm (777);
    zsys_set_rcvhwm (778);
    zsys_set_pipehwm (779);
    const struct sigaction own = { .sa_handler = s_no_handler };
    ck_assert_int_eq (sigaction (SIGTERM, &own, NULL), 0);
    ck_assert_int_eq (sigaction (SIGINT, &own, NULL), 0);
    ck_assert_int_eq (sigaction (SIGPIPE, &own, NULL), 0);
    s_process_t before;
    s_process (&before);
    ck_assert_int_eq (before.zsys.sndhwm, 777);
    for (size_t round = 0; round < 2; round++) {
        gpb_test_node_t node;
        gpb_test_node_compose (&node, "inproc://guest", "backends", "fake");
        gpb_client_t *client = gpb_test_client (&node);
        s_check_serves (client);
        s_check_process (&before);
        gpb_client_destroy (&client);
        gpb_test_node_stop (&node);
        s_check_process (&before);
    }
    free (before.environment);
}
END_TEST

//  A log line goes where the application has said.
START_TEST (test_a_composed_node_logs_where_the_application_does)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream (&text, &size);
    ck_assert_ptr_nonnull (stream);
    zsys_init ();
    zsys_set_logstream (stream);
    zsys_set_logident ("guest");
    gpb_test_use_fake (2, 64 << 20);
    gpb_test_node_t node;
    gpb_test_node_compose (&node, "inproc://logs", "backends", "fake");
    gpb_test_node_stop (&node);
    zsys_info ("the application's own");
    zsys_set_logstream (stderr);
    fclose (stream);
    ck_assert_msg (strstr (text, "(guest)") && strstr (text, "the application's own"), "%s", text);
    free (text);
}
END_TEST

START_TEST (test_a_port_that_is_taken_ends_no_process)
{
    gpb_test_use_fake (1, 64 << 20);
    gpb_test_node_t node;
    gpb_test_node_compose (&node, GPB_TEST_ANY_PORT, "backends", "fake");
    zactor_t *second = zactor_new (gpb_actor, NULL);
    char *status = NULL, *text = NULL;
    zstr_sendx (second, "CONFIGURE", "backends", "fake", NULL);
    ck_assert_int_eq (zstr_recvx (second, &status, &text, NULL), 2);
    ck_assert_str_eq (status, "OK");
    zstr_free (&status);
    zstr_free (&text);
    zstr_sendx (second, "BIND", node.endpoints [0], NULL);
    ck_assert_int_eq (zstr_recvx (second, &status, &text, NULL), 2);
    ck_assert_str_eq (status, "UNAVAILABLE");
    ck_assert_msg (strstr (text, node.endpoints [0]) && strstr (text, "in use"), "%s", text);
    zstr_free (&status);
    zstr_free (&text);

    //  It may be bound elsewhere, and serves.
    zstr_sendx (second, "BIND", "inproc://elsewhere", NULL);
    ck_assert_int_eq (zstr_recvx (second, &status, &text, NULL), 2);
    ck_assert_str_eq (status, "OK");
    zstr_free (&status);
    zstr_free (&text);
    gpb_error_t error;
    gpb_client_t *client = gpb_client_new ("inproc://elsewhere", &error);
    ck_assert_ptr_nonnull (client);
    s_check_serves (client);
    gpb_client_destroy (&client);
    zactor_destroy (&second);
    gpb_test_node_stop (&node);
}
END_TEST

START_TEST (test_two_nodes_in_one_process_do_not_know_each_other)
{
    gpb_test_use_fake (1, 64 << 20);
    gpb_test_node_t nodes [2];
    gpb_client_t *clients [2];
    gpb_test_node_compose (&nodes [0], "inproc://one", "backends", "fake", "name", "one");
    gpb_test_node_compose (&nodes [1], "inproc://other", "backends", "fake", "name", "other");
    for (size_t index = 0; index < 2; index++)
        clients [index] = gpb_test_client (&nodes [index]);
    uint64_t handle = gpb_test_rent (clients [0], 4096, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE, -1);
    gpb_reply_t *reply = gpb_test_call (clients [1], gpb_request_read (handle, 0, 0));
    ck_assert_int_eq (gpb_reply_status (reply), GPB_NOT_FOUND);
    gpb_reply_destroy (&reply);
    s_check_serves (clients [1]);

    //  One ends; the other serves on.
    gpb_client_destroy (&clients [0]);
    gpb_test_node_stop (&nodes [0]);
    reply = gpb_test_call_ok (clients [1], gpb_request_hello ());
    ck_assert_str_eq (gpb_reply_header_peek (reply)->hello->node, "other");
    gpb_reply_destroy (&reply);
    s_check_serves (clients [1]);
    gpb_client_destroy (&clients [1]);
    gpb_test_node_stop (&nodes [1]);
}
END_TEST

GPB_TEST_MAIN ("life", 60, test_sigterm_leaves_nothing_unanswered,
               test_sigint_leaves_nothing_unanswered,
               test_what_is_not_done_in_the_time_to_drain_is_unavailable,
               test_a_signal_while_the_node_starts_ends_it_well,
               test_a_port_that_is_taken_is_an_error_that_says_so,
               test_every_endpoint_is_printed_as_it_is_and_serves,
               test_an_endpoint_that_is_none_is_refused,
               test_a_client_that_does_not_read_is_dropped_and_others_are_served,
               test_a_client_that_vanishes_gives_its_memory_back_within_a_second,
               test_a_composed_opencl_node_leaves_the_application_its_signals,
               test_a_composed_node_leaves_the_process_alone,
               test_a_composed_node_logs_where_the_application_does,
               test_a_port_that_is_taken_ends_no_process,
               test_two_nodes_in_one_process_do_not_know_each_other)
