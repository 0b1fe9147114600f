//  Tests of the build with ThreadSanitizer: a race is reported, and an echo between two threads
//  through CZMQ is not one. The second fails where libzmq or CZMQ were built without TSan, since
//  then it cannot see what their queues order (tests/sanitize/build-zmq builds them with it).
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_test.h"

#include <czmq.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

//  TSan's own exit status for a process in which it has reported something.
#define TSAN_EXIT_STATUS 66

#define ECHO_ROUNDS 500

static int s_unguarded;

static void *
s_counts_unguarded (void *unused)
{
    (void) unused;
    for (int round = 0; round < 1000; round++)
        s_unguarded++;
    return NULL;
}

START_TEST (test_a_race_is_reported)
{
    pid_t child = fork ();
    ck_assert_int_ge (child, 0);
    if (child == 0) {
        int nowhere = open ("/dev/null", O_WRONLY | O_CLOEXEC);
        dup2 (nowhere, STDERR_FILENO);
        pthread_t threads [2];
        for (int index = 0; index < 2; index++)
            if (pthread_create (&threads [index], NULL, s_counts_unguarded, NULL))
                abort ();
        for (int index = 0; index < 2; index++)
            pthread_join (threads [index], NULL);
        exit (0);
    }
    int status;
    ck_assert_int_eq (waitpid (child, &status, 0), child);
    ck_assert (WIFEXITED (status));
    ck_assert_int_eq (WEXITSTATUS (status), TSAN_EXIT_STATUS);
}
END_TEST

//  The echoing side: a thread that counts the bytes it has seen in memory that the other side
//  fills, and answers on a ROUTER.
static void
s_echo (zsock_t *pipe, void *args)
{
    zsock_t *router = zsock_new (ZMQ_ROUTER);
    char *endpoint = args;
    int port = zsock_bind (router, "%s", endpoint);
    zsock_signal (pipe, 0);
    zsock_send (pipe, "i", port);
    zpoller_t *poller = zpoller_new (pipe, router, NULL);
    while (zpoller_wait (poller, -1) == router) {
        zmsg_t *message = zmsg_recv (router);
        zmsg_send (&message, router);
    }
    zpoller_destroy (&poller);
    zsock_destroy (&router);
}

//  In a child, whose exit status is TSan's verdict on the whole of it.
static void
s_echo_is_no_race (const char *bound, const char *connected)
{
    pid_t child = fork ();
    ck_assert_int_ge (child, 0);
    if (child == 0) {
        zactor_t *echo = zactor_new (s_echo, (void *) bound);
        int port = 0;
        zsock_recv (echo, "i", &port);
        zsock_t *dealer = zsock_new (ZMQ_DEALER);
        if (port < 0 || zsock_connect (dealer, connected, port))
            abort ();
        for (int round = 0; round < ECHO_ROUNDS; round++) {
            //  Large enough that libzmq shares the block between the threads rather than copies it.
            zframe_t *frame = zframe_new (NULL, 4096);
            memset (zframe_data (frame), round & 0xff, 4096);
            zframe_send (&frame, dealer, 0);
            frame = zframe_recv (dealer);
            if (!frame || zframe_size (frame) != 4096
                || zframe_data (frame) [4095] != (round & 0xff))
                abort ();
            zframe_destroy (&frame);
        }
        zsock_destroy (&dealer);
        zactor_destroy (&echo);
        zsys_shutdown ();
        exit (0);
    }
    int status;
    ck_assert_int_eq (waitpid (child, &status, 0), child);
    ck_assert (WIFEXITED (status));
    ck_assert_int_eq (WEXITSTATUS (status), 0);
}

START_TEST (test_an_echo_over_tcp_is_no_race)
{
    s_echo_is_no_race ("tcp://127.0.0.1:*", "tcp://127.0.0.1:%d");
}
END_TEST

START_TEST (test_an_echo_over_inproc_is_no_race)
{
    s_echo_is_no_race ("inproc://echo", "inproc://echo");
}
END_TEST

GPB_TEST_MAIN ("ThreadSanitizer", 20, test_a_race_is_reported, test_an_echo_over_tcp_is_no_race,
               test_an_echo_over_inproc_is_no_race)
