//  Tests of gpb_poller: what has come is never slept over, whatever was done with a socket before.

#include "gpb_test.h"

#include "gpb_clock.h"
#include "gpb_poller.h"

#include <czmq.h>
#include <pthread.h>
#include <sys/eventfd.h>

#define PATIENCE_MS 20000

static gpb_poller_t s_poller;

//  One frame that is there; false where there is none.
static bool
s_read (zsock_t *socket)
{
    char byte;
    return zmq_recv (zsock_resolve (socket), &byte, 1, ZMQ_DONTWAIT) == 1;
}

static void
s_send (zsock_t *socket)
{
    ck_assert_int_eq (zmq_send (zsock_resolve (socket), "x", 1, 0), 1);
}

//  Waits without a limit of its own: a wake-up that is missed fails the test.
static void
s_wait (unsigned item)
{
    uint64_t end_ns = gpb_clock_ns () + PATIENCE_MS * GPB_NS_PER_MS;
    while (!gpb_poller_is_ready (&s_poller, item)) {
        gpb_poller_wait (&s_poller, PATIENCE_MS);
        ck_assert_uint_lt (gpb_clock_ns (), end_ns);
    }
}

START_TEST (test_a_socket_is_ready_when_something_comes_and_until_it_is_emptied)
{
    zsock_t *one = zsock_new_pair ("@inproc://poller");
    zsock_t *other = zsock_new_pair (">inproc://poller");
    unsigned item = gpb_poller_add_socket (&s_poller, zsock_resolve (one));
    ck_assert (gpb_poller_take (&s_poller, item));    //  it may have something already
    ck_assert (!s_read (one));
    gpb_poller_wait (&s_poller, 0);
    ck_assert (!gpb_poller_take (&s_poller, item));
    s_send (other);
    s_send (other);
    s_wait (item);
    ck_assert (gpb_poller_take (&s_poller, item));
    ck_assert (s_read (one));
    //  It was left before it was empty: its descriptor says nothing any more, but the owner knows.
    gpb_poller_touch (&s_poller, item);
    gpb_poller_wait (&s_poller, -1);
    ck_assert (gpb_poller_take (&s_poller, item));
    ck_assert (s_read (one));
    ck_assert (!s_read (one));
    zsock_destroy (&other);
    zsock_destroy (&one);
}
END_TEST

START_TEST (test_a_descriptor_is_ready_as_long_as_it_is_readable)
{
    int fd = eventfd (0, EFD_NONBLOCK);
    unsigned item = gpb_poller_add_fd (&s_poller, fd);
    ck_assert (!gpb_poller_is_ready (&s_poller, item));
    uint64_t count = 1;
    ck_assert_int_eq (write (fd, &count, sizeof count), sizeof count);
    for (int round = 0; round < 2; round++) {
        s_wait (item);
        ck_assert (gpb_poller_take (&s_poller, item));
    }
    ck_assert_int_eq (read (fd, &count, sizeof count), sizeof count);
    gpb_poller_wait (&s_poller, 0);
    ck_assert (!gpb_poller_is_ready (&s_poller, item));
    close (fd);
}
END_TEST

START_TEST (test_a_paused_item_wakes_nobody_and_loses_nothing)
{
    zsock_t *one = zsock_new_pair ("@inproc://paused");
    zsock_t *other = zsock_new_pair (">inproc://paused");
    unsigned item = gpb_poller_add_socket (&s_poller, zsock_resolve (one));
    ck_assert (gpb_poller_take (&s_poller, item));
    ck_assert (!s_read (one));
    gpb_poller_pause (&s_poller, item, true);
    s_send (other);
    uint64_t start_ns = gpb_clock_ns ();
    gpb_poller_wait (&s_poller, 30);
    ck_assert_uint_ge (gpb_clock_ns () - start_ns, 25 * GPB_NS_PER_MS);
    ck_assert (!gpb_poller_take (&s_poller, item));
    gpb_poller_pause (&s_poller, item, false);
    s_wait (item);
    ck_assert (s_read (one));
    //  What was ready before the pause is so after it.
    gpb_poller_touch (&s_poller, item);
    gpb_poller_pause (&s_poller, item, true);
    ck_assert (!gpb_poller_take (&s_poller, item));
    gpb_poller_pause (&s_poller, item, false);
    ck_assert (gpb_poller_take (&s_poller, item));
    zsock_destroy (&other);
    zsock_destroy (&one);
}
END_TEST

#define ROUNDS 20000

//  Echoes what comes until it has done so ROUNDS times.
static void *
s_echo (void *socket)
{
    for (int round = 0; round < ROUNDS; round++) {
        char byte;
        ck_assert_int_eq (zmq_recv (zsock_resolve (socket), &byte, 1, 0), 1);
        s_send (socket);
    }
    return NULL;
}

//  Sending takes the mailbox's commands, and with them the edge that tells of an answer: without
//  the touch this stops within some hundred rounds.
START_TEST (test_an_answer_that_comes_while_one_sends_is_not_slept_over)
{
    zsock_t *one = zsock_new_pair ("@inproc://echo");
    zsock_t *other = zsock_new_pair (">inproc://echo");
    unsigned item = gpb_poller_add_socket (&s_poller, zsock_resolve (one));
    pthread_t thread;
    ck_assert_int_eq (pthread_create (&thread, NULL, s_echo, other), 0);
    int sent = 0, received = 0;
    while (received < ROUNDS) {
        for (; sent < ROUNDS && sent - received < 3; sent++) {
            s_send (one);
            gpb_poller_touch (&s_poller, item);
        }
        s_wait (item);
        if (gpb_poller_take (&s_poller, item))
            while (s_read (one))
                received++;
    }
    ck_assert_int_eq (pthread_join (thread, NULL), 0);
    zsock_destroy (&other);
    zsock_destroy (&one);
}
END_TEST

START_TEST (test_an_item_may_become_another_socket_and_none)
{
    zsock_t *ones [2], *others [2];
    unsigned item = gpb_poller_add_fd (&s_poller, -1);
    gpb_poller_wait (&s_poller, 0);
    ck_assert (!gpb_poller_take (&s_poller, item));
    for (unsigned round = 0; round < 2; round++) {
        ones [round] = zsock_new (ZMQ_PAIR);
        others [round] = zsock_new (ZMQ_PAIR);
        zsock_bind (ones [round], "inproc://set-%u", round);
        zsock_connect (others [round], "inproc://set-%u", round);
        gpb_poller_set_socket (&s_poller, item, zsock_resolve (ones [round]));
        ck_assert (gpb_poller_take (&s_poller, item));    //  it may have something already
        ck_assert (!s_read (ones [round]));
        s_send (others [round]);
        s_wait (item);
        ck_assert (gpb_poller_take (&s_poller, item));
        ck_assert (s_read (ones [round]));
    }
    gpb_poller_touch (&s_poller, item);
    gpb_poller_set_socket (&s_poller, item, NULL);
    ck_assert (!gpb_poller_take (&s_poller, item));
    int fd = eventfd (1, EFD_CLOEXEC);
    gpb_poller_set_fd (&s_poller, item, fd);
    s_wait (item);
    ck_assert (gpb_poller_take (&s_poller, item));
    close (fd);
    for (unsigned round = 0; round < 2; round++) {
        zsock_destroy (&ones [round]);
        zsock_destroy (&others [round]);
    }
}
END_TEST

GPB_TEST_MAIN ("gpb_poller", 60,
               test_a_socket_is_ready_when_something_comes_and_until_it_is_emptied,
               test_a_descriptor_is_ready_as_long_as_it_is_readable,
               test_a_paused_item_wakes_nobody_and_loses_nothing,
               test_an_answer_that_comes_while_one_sends_is_not_slept_over,
               test_an_item_may_become_another_socket_and_none)
