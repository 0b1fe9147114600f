//  Tests of gpb_client against a node of the test's own, on this thread (or, where a call blocks,
//  in an actor).

#include "gpb_test_router.h"

#include "gpb_alloc.h"
#include "gpb_client_internal.h"
#include "gpb_clock.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>

static _Thread_local gpb_error_t error;    //  the stand-in nodes have threads of their own

START_TEST (test_only_an_endpoint_is_an_endpoint)
{
    static const char *const refused [] = { "localhost:5670", "udp://a:1",      "tcp://",
                                            "inproc://",      "tcp://nonsense", "http://a" };
    for (size_t index = 0; index < sizeof refused / sizeof refused [0]; index++) {
        ck_assert_msg (gpb_client_new (refused [index], &error) == NULL, "%s", refused [index]);
        ck_assert_int_eq (error.status, GPB_INVALID_ARGUMENT);
    }
    gpb_client_t *client = gpb_test_router_client ("tcp://127.0.0.1:1");
    ck_assert_refused (gpb_client_set_timeout (client, 0, &error), GPB_INVALID_ARGUMENT, "0 ms");
    ck_assert_int_eq (gpb_client_next_timeout (client), -1);
    ck_assert_ptr_null (gpb_client_recv (client, -1));
    gpb_client_destroy (&client);
    gpb_client_destroy (&client);
}
END_TEST

START_TEST (test_thousands_in_flight_are_answered_in_any_order)
{
    enum { COUNT = 5000 };
    gpb_test_router_t node;
    gpb_test_router_open (&node);
    gpb_client_t *client = gpb_test_router_client (node.endpoint);
    static bool answered [COUNT + 1];
    for (int count = 1; count <= COUNT; count++)
        ck_assert_uint_eq (gpb_test_send_request (client, gpb_request_stats ()), (uint64_t) count);
    ck_assert_uint_eq (gpb_client_in_flight (client), COUNT);
    for (int count = 1; count <= COUNT; count++) {
        gpb_test_router_take (&node, client);
        ck_assert_uint_eq (node.request->id, (uint64_t) count);
    }
    zmq_msg_t identity;
    zmq_msg_init (&identity);
    zmq_msg_copy (&identity, &node.message.envelope [0]);
    for (int count = 1; count <= COUNT; count++) {
        //  1499 has no factor in common with 5000: every id once, none in order.
        if (node.message.envelope_count == 0) {
            zmq_msg_init (&node.message.envelope [0]);
            zmq_msg_copy (&node.message.envelope [0], &identity);
            node.message.envelope_count = 1;
        }
        gpb_test_router_answer (&node, (uint64_t) (count * 1499 % COUNT) + 1, GPB_OK);
    }
    zmq_msg_close (&identity);
    for (int count = 0; count < COUNT; count++) {
        gpb_reply_t *reply = gpb_client_recv (client, 20000);
        ck_assert_ptr_nonnull (reply);
        ck_assert_uint_le (gpb_reply_id (reply), COUNT);
        ck_assert (!answered [gpb_reply_id (reply)]);
        answered [gpb_reply_id (reply)] = true;
        ck_assert_uint_gt (gpb_reply_round_trip_ns (reply), 0);
        gpb_reply_destroy (&reply);
    }
    ck_assert_ptr_null (gpb_client_recv (client, -1));
    ck_assert_uint_eq (gpb_client_ignored (client), 0);
    gpb_client_destroy (&client);
    gpb_test_router_close (&node);
}
END_TEST

START_TEST (test_a_request_waits_for_a_node_that_comes_late)
{
    gpb_test_router_t node;
    gpb_test_router_open (&node);
    zmq_close (node.router);
    gpb_client_t *client = gpb_test_router_client (node.endpoint);
    gpb_request_t *request = gpb_request_execute ("a");
    gpb_request_in (request, "payload", 7);
    gpb_request_set_timeout (request, 15000);
    uint64_t id = gpb_test_send_request (client, request);
    ck_assert_ptr_null (gpb_client_recv (client, 250));
    gpb_test_router_bind (&node, node.endpoint);
    gpb_test_router_take (&node, client);
    ck_assert_uint_eq (node.request->id, id);
    //  What it has waited already is not the node's to give.
    ck_assert_uint_le (node.request->timeout_ms, 14800);
    ck_assert_uint_eq (node.message.payloads_count, 1);
    gpb_test_router_answer (&node, id, GPB_OK);
    gpb_test_expect_reply (client, id, GPB_OK);
    gpb_client_destroy (&client);
    gpb_test_router_close (&node);
}
END_TEST

START_TEST (test_a_lost_connection_answers_everything_in_flight_and_nothing_stale_is_sent)
{
    enum { COUNT = 300, SIZE = 65536 };
    gpb_test_router_t node;
    gpb_test_router_open (&node);
    char endpoint [128];
    memcpy (endpoint, node.endpoint, sizeof endpoint);
    gpb_client_t *client = gpb_test_router_client (endpoint);
    uint64_t first = gpb_test_send_request (client, gpb_request_hello ());
    gpb_test_router_take (&node, client);
    gpb_test_router_answer (&node, first, GPB_OK);
    gpb_test_expect_reply (client, first, GPB_OK);

    //  20 MB that the node does not read: most of it is still in the client's queue at the end.
    char *data = calloc (1, SIZE);
    for (int count = 0; count < COUNT; count++) {
        gpb_request_t *request = gpb_request_execute ("a");
        gpb_request_in (request, data, SIZE);
        gpb_test_send_request (client, request);
    }
    free (data);
    zmq_close (node.router);
    gpb_test_router_bind (&node, endpoint);
    for (uint64_t id = first + 1; id <= first + COUNT; id++)
        gpb_test_expect_reply (client, id, GPB_UNAVAILABLE);
    ck_assert_uint_eq (gpb_client_in_flight (client), 0);
    ck_assert_ptr_null (gpb_client_recv (client, 0));

    uint64_t id = gpb_test_send_request (client, gpb_request_hello ());
    gpb_test_router_take (&node, client);
    ck_assert_int_eq (node.request->body_case, GPB__V1__REQUEST__BODY_HELLO);
    ck_assert_uint_eq (node.request->id, id);
    gpb_test_router_answer (&node, id, GPB_OK);
    gpb_test_expect_reply (client, id, GPB_OK);
    gpb_client_destroy (&client);
    gpb_test_router_close (&node);
}
END_TEST

START_TEST (test_a_connection_lost_again_and_again_recovers)
{
    gpb_test_router_t node;
    gpb_test_router_open (&node);
    char endpoint [128];
    memcpy (endpoint, node.endpoint, sizeof endpoint);
    gpb_client_t *client = gpb_test_router_client (endpoint);
    for (int round = 0; round < 5; round++) {
        uint64_t id = gpb_test_send_request (client, gpb_request_stats ());
        gpb_test_router_take (&node, client);
        ck_assert_uint_eq (node.request->id, id);
        zmq_close (node.router);
        gpb_test_expect_reply (client, id, GPB_UNAVAILABLE);
        gpb_test_router_bind (&node, endpoint);
    }
    gpb_client_destroy (&client);
    gpb_test_router_close (&node);
}
END_TEST

START_TEST (test_a_node_that_is_never_there_is_a_deadline)
{
    gpb_client_t *client = gpb_test_router_client ("tcp://127.0.0.1:1");
    gpb_request_t *request = gpb_request_stats ();
    gpb_request_set_timeout (request, 50);
    uint64_t start_ns = gpb_clock_ns ();
    uint64_t id = gpb_test_send_request (client, request);
    ck_assert_int_le (gpb_client_next_timeout (client), 100);
    gpb_test_expect_reply (client, id, GPB_DEADLINE_EXCEEDED);
    ck_assert_uint_ge (gpb_clock_ns () - start_ns, 1050 * GPB_NS_PER_MS);
    gpb_client_destroy (&client);
}
END_TEST

START_TEST (test_a_server_that_says_nothing_hangs_nobody)
{
    int listener = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl (INADDR_LOOPBACK) };
    socklen_t size = sizeof address;
    ck_assert_int_eq (bind (listener, (struct sockaddr *) &address, size), 0);
    ck_assert_int_eq (listen (listener, 4), 0);
    getsockname (listener, (struct sockaddr *) &address, &size);
    char endpoint [64];
    snprintf (endpoint, sizeof endpoint, "tcp://127.0.0.1:%d", ntohs (address.sin_port));
    gpb_client_t *client = gpb_test_router_client (endpoint);
    ck_assert_ok (gpb_client_set_timeout (client, 50, &error));
    gpb_request_t *request = gpb_request_stats ();
    gpb_reply_t *reply = gpb_client_call (client, &request, &error);
    ck_assert_ptr_nonnull (reply);
    ck_assert_int_eq (gpb_reply_status (reply), GPB_DEADLINE_EXCEEDED);
    gpb_reply_destroy (&reply);
    gpb_client_destroy (&client);
    close (listener);
}
END_TEST

//  Runs in a process of its own: a node that reads and never answers.
static void
s_serve_silently (int endpoint_fd)
{
    gpb_test_router_t node;
    gpb_test_router_open (&node);
    ck_assert_int_eq (write (endpoint_fd, node.endpoint, sizeof node.endpoint),
                      sizeof node.endpoint);
    for (;;) {
        zmq_pollitem_t item = { node.router, 0, ZMQ_POLLIN, 0 };
        zmq_poll (&item, 1, -1);
        if (gpb_test_router_recv (&node))
            ck_assert_int_eq (write (endpoint_fd, "!", 1), 1);
    }
}

//  Takes the 15 to 20 s in which heartbeats are missed.
START_TEST (test_a_node_that_freezes_is_a_lost_connection)
{
    int pipe_fds [2];
    ck_assert_int_eq (pipe (pipe_fds), 0);
    pid_t child = fork ();
    if (child == 0)
        s_serve_silently (pipe_fds [1]);
    char endpoint [128], mark;
    ck_assert_int_eq (read (pipe_fds [0], endpoint, sizeof endpoint), sizeof endpoint);
    gpb_client_t *client = gpb_test_router_client (endpoint);
    gpb_request_t *request = gpb_request_stats ();
    gpb_request_set_timeout (request, 600000);
    uint64_t id = gpb_test_send_request (client, request);
    fcntl (pipe_fds [0], F_SETFL, O_NONBLOCK);
    uint64_t end_ns = gpb_clock_ns () + 20 * GPB_NS_PER_S;
    while (read (pipe_fds [0], &mark, 1) != 1) {
        ck_assert_uint_lt (gpb_clock_ns (), end_ns);
        ck_assert_ptr_null (gpb_client_recv (client, 5));
    }
    kill (child, SIGSTOP);
    gpb_reply_t *reply = gpb_client_recv (client, 25000);
    kill (child, SIGKILL);
    waitpid (child, NULL, 0);
    ck_assert_ptr_nonnull (reply);
    ck_assert_uint_eq (gpb_reply_id (reply), id);
    ck_assert_int_eq (gpb_reply_status (reply), GPB_UNAVAILABLE);
    gpb_reply_destroy (&reply);
    gpb_client_destroy (&client);
    close (pipe_fds [0]);
    close (pipe_fds [1]);
}
END_TEST

START_TEST (test_a_late_reply_is_dropped_and_counted)
{
    gpb_test_router_t node;
    gpb_test_router_open (&node);
    gpb_client_t *client = gpb_test_router_client (node.endpoint);
    //  Connected before the clock runs, however slow the machine is.
    uint64_t id = gpb_test_send_request (client, gpb_request_stats ());
    gpb_test_router_take (&node, client);
    gpb_test_router_answer (&node, id, GPB_OK);
    gpb_test_expect_reply (client, id, GPB_OK);
    gpb_request_t *request = gpb_request_stats ();
    gpb_request_set_timeout (request, 50);
    id = gpb_test_send_request (client, request);
    gpb_test_router_take (&node, client);
    gpb_test_expect_reply (client, id, GPB_DEADLINE_EXCEEDED);
    gpb_test_router_answer (&node, id, GPB_OK);
    //  The node was told that nobody waits any more.
    gpb_test_router_take (&node, client);
    ck_assert_int_eq (node.request->body_case, GPB__V1__REQUEST__BODY_CANCEL);
    ck_assert_uint_eq (node.request->cancel->id, id);
    uint64_t next = gpb_test_send_request (client, gpb_request_stats ());
    gpb_test_router_take (&node, client);
    gpb_test_router_answer (&node, next, GPB_OK);
    gpb_test_expect_reply (client, next, GPB_OK);
    ck_assert_uint_eq (gpb_client_ignored (client), 1);
    gpb_client_destroy (&client);
    gpb_test_router_close (&node);
}
END_TEST

START_TEST (test_garbage_is_ignored_and_counted)
{
    static const char result [] = "\x08\x01\x10\x01\xa2\x01\x04\x0a\x02\x10\x07";
    static const char *const frames [] = { "",
                                           "\xFF\xFF",
                                           "",
                                           "\x08\x07\x10\x01",
                                           "x",
                                           "",
                                           "\x08\x01\x10\x63",
                                           "",
                                           "\x08\x01\x10\x01\x22\x01\xFF",
                                           "",
                                           result };
    static const size_t sizes [] = { 0, 2, 0, 4, 1, 0, 4, 0, 7, 0, sizeof result - 1 };
    static const size_t counts [] = { 2, 2, 1, 2, 2, 2 };
    gpb_test_router_t node;
    gpb_test_router_open (&node);
    gpb_client_t *client = gpb_test_router_client (node.endpoint);
    uint64_t id = gpb_test_send_request (client, gpb_request_stats ());
    ck_assert_uint_eq (id, 1);
    gpb_test_router_take (&node, client);
    size_t at = 0;
    for (size_t index = 0; index < sizeof counts / sizeof counts [0]; at += counts [index++])
        gpb_test_router_send_raw (&node, frames + at, sizes + at, counts [index]);
    gpb_test_router_answer (&node, id, GPB_NOT_FOUND);
    gpb_test_expect_reply (client, id, GPB_NOT_FOUND);
    ck_assert_uint_eq (gpb_client_ignored (client), 6);
    gpb_client_destroy (&client);
    gpb_test_router_close (&node);
}
END_TEST

START_TEST (test_cancelling_takes_back_what_is_held_and_asks_for_what_is_sent)
{
    gpb_test_router_t node;
    gpb_test_router_open (&node);
    char endpoint [128];
    memcpy (endpoint, node.endpoint, sizeof endpoint);
    zmq_close (node.router);
    gpb_client_t *client = gpb_test_router_client (endpoint);
    uint64_t id = gpb_test_send_request (client, gpb_request_stats ());
    ck_assert_ok (gpb_client_cancel (client, id, &error));
    gpb_test_expect_reply (client, id, GPB_CANCELLED);
    ck_assert_refused (gpb_client_cancel (client, id, &error), GPB_NOT_FOUND, "no request 1");
    ck_assert_refused (gpb_client_cancel (client, 99, &error), GPB_NOT_FOUND, "no request 99");

    gpb_test_router_bind (&node, endpoint);
    id = gpb_test_send_request (client, gpb_request_stats ());
    gpb_test_router_take (&node, client);
    ck_assert_uint_eq (node.request->id, id);
    ck_assert_ok (gpb_client_cancel (client, id, &error));
    gpb_test_router_take (&node, client);
    ck_assert_int_eq (node.request->body_case, GPB__V1__REQUEST__BODY_CANCEL);
    ck_assert_uint_eq (node.request->cancel->id, id);
    //  The answer to the cancel is swallowed, the one of the request is not.
    uint64_t own = node.request->id;
    gpb_test_router_answer (&node, own, GPB_OK);
    id = gpb_test_send_request (client, gpb_request_stats ());
    gpb_test_router_take (&node, client);
    gpb_test_router_answer (&node, id, GPB_OK);
    gpb_test_expect_reply (client, id, GPB_OK);
    ck_assert_uint_eq (gpb_client_in_flight (client), 1);
    ck_assert_uint_eq (gpb_client_ignored (client), 0);
    gpb_client_destroy (&client);
    gpb_test_router_close (&node);
}
END_TEST

static atomic_int s_frees;

static void
s_count_free (void *data, void *hint)
{
    (void) hint;
    free (data);
    atomic_fetch_add (&s_frees, 1);
}

static gpb_request_t *
s_taking_request (void)
{
    gpb_request_t *request = gpb_request_execute ("a");
    gpb_request_in_take (request, calloc (1, 100000), 100000, s_count_free, NULL);
    return request;
}

//  libzmq lets go of what a lost connection held while its socket is used: a client does that
//  whenever it is called.
static void
s_wait_for_frees (gpb_client_t *client, int count)
{
    uint64_t end_ns = gpb_clock_ns () + 20 * GPB_NS_PER_S;
    while (atomic_load (&s_frees) < count) {
        ck_assert_uint_lt (gpb_clock_ns (), end_ns);
        if (client)
            ck_assert_ptr_null (gpb_client_recv (client, 0));
        zmq_poll (NULL, 0, 1);
    }
    ck_assert_int_eq (atomic_load (&s_frees), count);
}

START_TEST (test_a_taken_payload_is_freed_exactly_once_in_every_way)
{
    atomic_store (&s_frees, 0);
    gpb_test_router_t node;
    gpb_test_router_open (&node);
    char endpoint [128];
    memcpy (endpoint, node.endpoint, sizeof endpoint);
    //  Sent and answered.
    gpb_client_t *client = gpb_test_router_client (endpoint);
    uint64_t id = gpb_test_send_request (client, s_taking_request ());
    gpb_test_router_take (&node, client);
    gpb_test_router_answer (&node, id, GPB_OK);
    gpb_test_expect_reply (client, id, GPB_OK);
    s_wait_for_frees (client, 1);
    //  Lost with the connection.
    id = gpb_test_send_request (client, s_taking_request ());
    zmq_close (node.router);
    gpb_test_expect_reply (client, id, GPB_UNAVAILABLE);
    s_wait_for_frees (client, 2);
    //  Held back, and dropped with the client.
    gpb_test_send_request (client, s_taking_request ());
    ck_assert_int_eq (atomic_load (&s_frees), 2);
    gpb_client_destroy (&client);
    s_wait_for_frees (NULL, 3);
    //  Never sent.
    gpb_request_t *request = s_taking_request ();
    gpb_request_destroy (&request);
    s_wait_for_frees (NULL, 4);
    //  Refused when it is sent.
    client = gpb_test_router_client (endpoint);
    request = s_taking_request ();
    gpb_request_in (request, NULL, 5);
    ck_assert_uint_eq (gpb_client_send (client, &request, &error), 0);
    ck_assert_int_eq (error.status, GPB_INVALID_ARGUMENT);
    ck_assert_ptr_null (request);
    s_wait_for_frees (client, 5);
    gpb_client_destroy (&client);
    gpb_test_router_bind (&node, endpoint);
    gpb_test_router_close (&node);
}
END_TEST

START_TEST (test_a_client_that_is_destroyed_says_goodbye)
{
    gpb_test_router_t node;
    gpb_test_router_open (&node);
    gpb_client_t *client = gpb_test_router_client (node.endpoint);
    gpb_test_send_request (client, gpb_request_stats ());
    gpb_test_router_take (&node, client);
    gpb_test_send_request (client, gpb_request_stats ());
    gpb_client_destroy (&client);
    ck_assert_ptr_null (client);
    gpb_test_router_take (&node, NULL);
    ck_assert_int_eq (node.request->body_case, GPB__V1__REQUEST__BODY_STATS);
    gpb_test_router_take (&node, NULL);
    ck_assert_int_eq (node.request->body_case, GPB__V1__REQUEST__BODY_GOODBYE);
    gpb_test_router_close (&node);
}
END_TEST

START_TEST (test_a_poller_sees_the_replies)
{
    gpb_test_router_t node;
    gpb_test_router_open (&node);
    gpb_client_t *client = gpb_test_router_client (node.endpoint);
    zpoller_t *poller = zpoller_new (gpb_client_socket (client), NULL);
    for (int count = 0; count < 100; count++)
        gpb_test_send_request (client, gpb_request_stats ());
    int answered = 0;
    uint64_t end_ns = gpb_clock_ns () + 20 * GPB_NS_PER_S;
    while (gpb_client_in_flight (client) > 0) {
        ck_assert_uint_lt (gpb_clock_ns (), end_ns);
        while (gpb_test_router_recv (&node))
            gpb_test_router_answer (&node, node.request->id, GPB_OK);
        int timeout_ms = gpb_client_next_timeout (client);
        ck_assert_int_ge (timeout_ms, 0);
        ck_assert_int_le (timeout_ms, 100);
        zpoller_wait (poller, timeout_ms < 5 ? timeout_ms : 5);
        for (gpb_reply_t *reply; (reply = gpb_client_recv (client, 0)); answered++)
            gpb_reply_destroy (&reply);
    }
    ck_assert_int_eq (answered, 100);
    zpoller_destroy (&poller);
    gpb_client_destroy (&client);
    gpb_test_router_close (&node);
}
END_TEST

//  inproc is within one context: CZMQ's.
static void
s_inproc_init (gpb_test_router_t *node, const char *endpoint)
{
    node->context = zsys_init ();
    node->codec = gpb_codec_new (&error);
    gpb_message_init (&node->message);
    gpb_test_router_bind (node, endpoint);
}

START_TEST (test_inproc_comes_late_goes_and_comes_again)
{
    gpb_test_router_t node;
    gpb_client_t *client = gpb_test_router_client ("inproc://node");
    uint64_t id = gpb_test_send_request (client, gpb_request_stats ());
    s_inproc_init (&node, "inproc://node");
    gpb_test_router_take (&node, client);
    gpb_test_router_answer (&node, id, GPB_OK);
    gpb_test_expect_reply (client, id, GPB_OK);
    for (int round = 0; round < 3; round++) {
        id = gpb_test_send_request (client, gpb_request_stats ());
        gpb_test_router_take (&node, client);
        ck_assert_uint_eq (node.request->id, id);
        zmq_close (node.router);
        gpb_test_expect_reply (client, id, GPB_UNAVAILABLE);
        gpb_test_router_bind (&node, "inproc://node");
    }
    id = gpb_test_send_request (client, gpb_request_stats ());
    gpb_test_router_take (&node, client);
    ck_assert_uint_eq (node.request->id, id);
    gpb_client_destroy (&client);
    gpb_message_clear (&node.message);
    gpb_codec_destroy (&node.codec);
    zmq_close (node.router);
}
END_TEST

START_TEST (test_an_inproc_lease_is_renewed_while_nothing_else_is_sent)
{
    gpb_test_router_t node;
    s_inproc_init (&node, "inproc://lease");
    gpb_client_t *client = gpb_test_router_client ("inproc://lease");
    ck_assert_int_gt (gpb_client_next_timeout (client), 10000);
    ck_assert_int_le (gpb_client_next_timeout (client), 20000);
    gpb_client_set_renewal (client, 20 * GPB_NS_PER_MS);
    ck_assert_int_le (gpb_client_next_timeout (client), 20);
    for (int round = 0; round < 3; round++) {
        gpb_test_router_take (&node, client);
        ck_assert_int_eq (node.request->body_case, GPB__V1__REQUEST__BODY_HELLO);
        gpb_test_router_answer (&node, node.request->id, GPB_OK);
    }
    ck_assert_ptr_null (gpb_client_recv (client, 0));
    ck_assert_uint_eq (gpb_client_ignored (client), 0);
    gpb_client_destroy (&client);
    gpb_message_clear (&node.message);
    gpb_codec_destroy (&node.codec);
    zmq_close (node.router);
}
END_TEST

//  A node that answers whatever comes, but a cancel, after the one asked for last: in an actor of
//  its own.
static void
s_echo (zsock_t *pipe, void *endpoint)
{
    gpb_test_router_t node;
    s_inproc_init (&node, endpoint);
    zsock_signal (pipe, 0);
    for (;;) {
        zmq_pollitem_t items [2] = { { zsock_resolve (pipe), 0, ZMQ_POLLIN, 0 },
                                     { node.router, 0, ZMQ_POLLIN, 0 } };
        zmq_poll (items, 2, -1);
        if (items [0].revents)
            break;
        while (gpb_test_router_recv (&node))
            if (node.request->body_case == GPB__V1__REQUEST__BODY_CANCEL)
                zstr_sendf (pipe, "%d", (int) node.request->cancel->id);
            else if (node.request->body_case != GPB__V1__REQUEST__BODY_HEALTH)
                gpb_test_router_answer (&node, node.request->id, GPB_OK);
    }
    gpb_message_clear (&node.message);
    gpb_codec_destroy (&node.codec);
    zmq_close (node.router);
}

START_TEST (test_a_call_waits_for_its_own_reply_and_keeps_the_others)
{
    zactor_t *node = zactor_new (s_echo, "inproc://echo");
    gpb_client_t *client = gpb_test_router_client ("inproc://echo");
    uint64_t before = gpb_test_send_request (client, gpb_request_stats ());
    gpb_request_t *request = gpb_request_hello ();
    gpb_reply_t *reply = gpb_client_call (client, &request, &error);
    ck_assert_ptr_nonnull (reply);
    ck_assert_int_eq (gpb_reply_status (reply), GPB_OK);
    ck_assert_uint_eq (gpb_reply_id (reply), before + 1);
    gpb_reply_destroy (&reply);
    gpb_test_expect_reply (client, before, GPB_OK);
    gpb_client_destroy (&client);
    zactor_destroy (&node);
}
END_TEST

static void
s_on_alarm (int number)
{
    (void) number;
}

START_TEST (test_a_signal_ends_a_call_and_cancels_it)
{
    zactor_t *node = zactor_new (s_echo, "inproc://signal");
    gpb_client_t *client = gpb_test_router_client ("inproc://signal");
    struct sigaction action = { .sa_handler = s_on_alarm };
    sigaction (SIGALRM, &action, NULL);
    //  Again and again, since one may find the client where it does not wait.
    struct itimerval timer = { { 0, 20000 }, { 0, 20000 } };
    setitimer (ITIMER_REAL, &timer, NULL);
    gpb_request_t *request = gpb_request_health ();
    gpb_reply_t *reply = gpb_client_call (client, &request, &error);
    setitimer (ITIMER_REAL, &(struct itimerval){ { 0, 0 }, { 0, 0 } }, NULL);
    ck_assert_ptr_null (reply);
    ck_assert_int_eq (error.status, GPB_CANCELLED);
    ck_assert_uint_eq (gpb_client_in_flight (client), 0);
    char *cancelled = zstr_recv (node);
    ck_assert_str_eq (cancelled, "1");
    zstr_free (&cancelled);
    gpb_client_destroy (&client);
    zactor_destroy (&node);
}
END_TEST

START_TEST (test_the_end_of_memory_loses_nothing)
{
    gpb_test_router_t node;
    gpb_test_router_open (&node);
    gpb_client_t *client = NULL;
    for (int after = 0; !client; after++) {
        ck_assert_int_lt (after, 20);
        gpb_alloc_fail (after, 0);
        client = gpb_client_new (node.endpoint, &error);
        gpb_alloc_fail (-1, 0);
        if (!client)
            ck_assert_int_eq (error.status, GPB_RESOURCE_EXHAUSTED);
    }
    uint64_t id = 0;
    for (int after = 0; !id; after++) {
        ck_assert_int_lt (after, 20);
        gpb_request_t *request = gpb_request_stats ();
        gpb_alloc_fail (after, 0);
        id = gpb_client_send (client, &request, &error);
        gpb_alloc_fail (-1, 0);
        if (!id)
            ck_assert_int_eq (error.status, GPB_RESOURCE_EXHAUSTED);
        ck_assert_ptr_null (request);
        ck_assert_uint_eq (gpb_client_in_flight (client), id ? 1 : 0);
    }
    gpb_test_router_take (&node, client);
    ck_assert_uint_eq (node.request->id, id);
    gpb_test_router_answer (&node, id, GPB_OK);
    //  No memory for the answer: it is an answer all the same.
    zmq_pollitem_t item = { zsock_resolve (gpb_client_socket (client)), 0, ZMQ_POLLIN, 0 };
    ck_assert_int_eq (zmq_poll (&item, 1, 20000), 1);
    gpb_alloc_fail (0, 1);
    gpb_reply_t *reply = gpb_client_recv (client, 0);
    gpb_alloc_fail (-1, 0);
    ck_assert_ptr_nonnull (reply);
    ck_assert_int_eq (gpb_reply_status (reply), GPB_RESOURCE_EXHAUSTED);
    gpb_reply_destroy (&reply);
    gpb_client_destroy (&client);
    gpb_test_router_close (&node);
}
END_TEST

GPB_TEST_MAIN ("gpb_client", 60, test_only_an_endpoint_is_an_endpoint,
               test_thousands_in_flight_are_answered_in_any_order,
               test_a_request_waits_for_a_node_that_comes_late,
               test_a_lost_connection_answers_everything_in_flight_and_nothing_stale_is_sent,
               test_a_connection_lost_again_and_again_recovers,
               test_a_node_that_is_never_there_is_a_deadline,
               test_a_server_that_says_nothing_hangs_nobody,
               test_a_node_that_freezes_is_a_lost_connection,
               test_a_late_reply_is_dropped_and_counted, test_garbage_is_ignored_and_counted,
               test_cancelling_takes_back_what_is_held_and_asks_for_what_is_sent,
               test_a_taken_payload_is_freed_exactly_once_in_every_way,
               test_a_client_that_is_destroyed_says_goodbye, test_a_poller_sees_the_replies,
               test_inproc_comes_late_goes_and_comes_again,
               test_an_inproc_lease_is_renewed_while_nothing_else_is_sent,
               test_a_call_waits_for_its_own_reply_and_keeps_the_others,
               test_a_signal_ends_a_call_and_cancels_it, test_the_end_of_memory_loses_nothing)
