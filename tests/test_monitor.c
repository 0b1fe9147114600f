//  Tests of gpb_monitor: an event comes out as it was, and what is none hurts nobody.

#include "gpb_monitor.h"

#include "gpb_test.h"

#include <czmq.h>

START_TEST (test_a_connection_is_told_with_its_descriptor)
{
    zsock_t *server = zsock_new (ZMQ_ROUTER);
    zsock_t *monitor = zsock_new (ZMQ_PAIR);
    ck_assert_int_eq (zmq_socket_monitor (zsock_resolve (server), "inproc://monitor",
                                          ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_DISCONNECTED),
                      0);
    ck_assert_int_eq (zsock_connect (monitor, "inproc://monitor"), 0);
    uint16_t event;
    int32_t value, fd;
    ck_assert (!gpb_monitor_next (zsock_resolve (monitor), &event, &value));
    ck_assert_uint_eq (event, 0);
    int port = zsock_bind (server, "tcp://127.0.0.1:*");
    zsock_t *client = zsock_new (ZMQ_DEALER);
    zsock_connect (client, "tcp://127.0.0.1:%d", port);
    zmq_pollitem_t item = { zsock_resolve (monitor), 0, ZMQ_POLLIN, 0 };
    ck_assert_int_eq (zmq_poll (&item, 1, 10000), 1);
    ck_assert (gpb_monitor_next (zsock_resolve (monitor), &event, &fd));
    ck_assert_uint_eq (event, ZMQ_EVENT_ACCEPTED);
    ck_assert_int_gt (fd, 2);
    zsock_destroy (&client);
    ck_assert_int_eq (zmq_poll (&item, 1, 10000), 1);
    ck_assert (gpb_monitor_next (zsock_resolve (monitor), &event, &value));
    ck_assert_uint_eq (event, ZMQ_EVENT_DISCONNECTED);
    ck_assert_int_eq (value, fd);
    zmq_socket_monitor (zsock_resolve (server), NULL, 0);
    zsock_destroy (&monitor);
    zsock_destroy (&server);
}
END_TEST

START_TEST (test_what_is_no_event_is_read_to_its_end)
{
    zsock_t *one = zsock_new_pair ("@inproc://pair"), *other = zsock_new_pair (">inproc://pair");
    zsock_send (one, "sss", "abc", "endpoint", "more");
    zsock_send (one, "z");
    uint16_t event = 7;
    int32_t value = 7;
    for (int count = 0; count < 2; count++) {
        ck_assert (gpb_monitor_next (zsock_resolve (other), &event, &value));
        ck_assert_uint_eq (event, 0);
        ck_assert_int_eq (value, -1);
    }
    ck_assert (!gpb_monitor_next (zsock_resolve (other), &event, &value));
    zsock_destroy (&other);
    zsock_destroy (&one);
}
END_TEST

GPB_TEST_MAIN ("gpb_monitor", 20, test_a_connection_is_told_with_its_descriptor,
               test_what_is_no_event_is_read_to_its_end)
