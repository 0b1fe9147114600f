//  test_many - a client with thousands of requests in flight gets every answer
//
//  A node is composed, and a client sends all its requests before it reads one answer.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb.h"
#include "gpb_test.h"

#include <stdlib.h>
#include <string.h>

#define REQUESTS 5000
#define TIMEOUT_MS 20000

static void
s_check_many (const char *bind)
{
    gpb_error_t error = { 0 };
    zactor_t *node = zactor_new (gpb_actor, NULL);
    ck_assert_ptr_nonnull (node);
    ck_assert_int_eq (zstr_sendx (node, "BIND", bind, NULL), 0);
    char *status = zstr_recv (node);
    char *endpoint = zstr_recv (node);
    ck_assert_msg (streq (status, "OK"), "%s: %s", status, endpoint);
    gpb_client_t *client = gpb_client_new (endpoint, &error);
    ck_assert_msg (client != NULL, "%s", error.text);
    ck_assert_ok (gpb_client_set_timeout (client, TIMEOUT_MS, &error));
    gpb_request_t *request = gpb_request_hello ();
    gpb_reply_t *reply = gpb_client_call (client, &request, &error);
    ck_assert_msg (reply && gpb_reply_status (reply) == GPB_OK, "%s", error.text);
    gpb_reply_destroy (&reply);

    uint64_t deadline_ms = (uint64_t) zclock_mono () + TIMEOUT_MS;
    for (int sent = 0; sent < REQUESTS;) {
        request = gpb_request_hello ();
        if (gpb_client_send (client, &request, &error))
            sent++;
        else {
            //  The node has not taken yet what is on its way to it.
            ck_assert_msg (error.status == GPB_RESOURCE_EXHAUSTED, "%s", error.text);
            ck_assert_uint_lt ((uint64_t) zclock_mono (), deadline_ms);
            zmq_pollitem_t item = { zsock_resolve (gpb_client_socket (client)), 0, ZMQ_POLLOUT, 0 };
            zmq_poll (&item, 1, TIMEOUT_MS);
        }
    }
    for (int received = 0; received < REQUESTS; received++) {
        reply = gpb_client_recv (client, TIMEOUT_MS);
        ck_assert_msg (reply != NULL, "%d of %d answers", received, REQUESTS);
        ck_assert_msg (gpb_reply_status (reply) == GPB_OK, "%d of %d: %s", received, REQUESTS,
                       gpb_reply_message (reply));
        gpb_reply_destroy (&reply);
    }
    ck_assert_uint_eq (gpb_client_in_flight (client), 0);
    gpb_client_destroy (&client);
    zstr_free (&status);
    zstr_free (&endpoint);
    zactor_destroy (&node);
}

START_TEST (test_thousands_in_flight_are_answered_over_inproc)
{
    s_check_many ("inproc://many");
}
END_TEST

START_TEST (test_thousands_in_flight_are_answered_over_tcp)
{
    s_check_many ("tcp://127.0.0.1:*");
}
END_TEST

GPB_TEST_MAIN ("many in flight", 60, test_thousands_in_flight_are_answered_over_inproc,
               test_thousands_in_flight_are_answered_over_tcp)
