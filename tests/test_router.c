//  Tests of gpb_router over tcp, ipc and inproc: who came, who left, who did not read, and what of
//  the one is never taken for another's.

#include "gpb_test.h"

#include "gpb_alloc.h"
#include "gpb_clock.h"
#include "gpb_hop.h"
#include "gpb_router.h"

#include <czmq.h>
#include <dirent.h>

#define PATIENCE_MS 20000
#define LARGE (256 * 1024)

static gpb_error_t error;
static gpb_router_t *s_router;
static gpb_message_t s_message;    //  the one received last
static char s_endpoint [256];
static const gpb_router_options_t s_defaults = { .max_frame_size = 1 << 20,
                                                 .reply_high_water = 1000,
                                                 .reply_max_size = 1 << 20,
                                                 .heartbeat_ms = 0,
                                                 .lease_ms = 60000 };

static void
s_open_with (const gpb_router_options_t *options, const char *endpoint)
{
    gpb_message_init (&s_message);
    s_router = gpb_router_new (options, &error);
    ck_assert_ptr_nonnull (s_router);
    ck_assert_ok (gpb_router_bind (s_router, endpoint, s_endpoint, sizeof s_endpoint, &error));
}

static void
s_open (const char *endpoint)
{
    s_open_with (&s_defaults, endpoint);
}

static void
s_close (void)
{
    gpb_message_clear (&s_message);
    gpb_router_destroy (&s_router, 0);
    ck_assert_ptr_null (s_router);
}

static zsock_t *
s_connect (const char *identity)
{
    zsock_t *dealer = zsock_new (ZMQ_DEALER);
    zsock_set_linger (dealer, 1000);
    if (identity)
        zsock_set_identity (dealer, identity);
    ck_assert_int_eq (zsock_connect (dealer, "%s", s_endpoint), 0);
    return dealer;
}

//  A message with this header, and with a hop frame before it where owner is not 0.
static void
s_say (zsock_t *dealer, const char *header, uint64_t owner)
{
    gpb_message_t message;
    gpb_message_init (&message);
    if (owner) {
        gpb_hop_t hop = { .magic = GPB_HOP_MAGIC, .owner = owner };
        message.envelope_count = 1;
        zmq_msg_init (&message.envelope [0]);
        gpb_hop_write (&message.envelope [0], &hop);
    }
    zmq_msg_close (&message.header);
    zmq_msg_init_size (&message.header, strlen (header));
    memcpy (zmq_msg_data (&message.header), header, strlen (header));
    ck_assert_ok (gpb_message_send (&message, zsock_resolve (dealer), &error));
}

static void
s_wait (void)
{
    zmq_pollitem_t items [] = { { gpb_router_socket (s_router), 0, ZMQ_POLLIN, 0 },
                                { gpb_router_monitor (s_router), 0, ZMQ_POLLIN, 0 } };
    int timeout_ms = gpb_router_next_timeout (s_router);
    zmq_poll (items, 2, timeout_ms >= 0 && timeout_ms < 100 ? timeout_ms : 100);
}

//  The next message within the test's patience, and where it came from.
static gpb_connection_t *
s_hear (void)
{
    uint64_t end_ns = gpb_clock_ns () + PATIENCE_MS * GPB_NS_PER_MS;
    gpb_connection_t *connection = NULL;
    while (gpb_router_recv (s_router, &s_message, &connection, &error) == GPB_UNAVAILABLE) {
        ck_assert_msg (gpb_clock_ns () < end_ns, "no message came");
        zmq_pollitem_t item = { gpb_router_socket (s_router), 0, ZMQ_POLLIN, 0 };
        zmq_poll (&item, 1, 100);
    }
    return connection;
}

//  The number of the next connection that ends within the test's patience.
static uint64_t
s_hear_end (void)
{
    uint64_t end_ns = gpb_clock_ns () + PATIENCE_MS * GPB_NS_PER_MS;
    gpb_connection_t *ended, *connection;
    while (!(ended = gpb_router_ended (s_router))) {
        ck_assert_msg (gpb_clock_ns () < end_ns, "no connection ended");
        s_wait ();
        ck_assert_int_eq (gpb_router_recv (s_router, &s_message, &connection, &error),
                          GPB_UNAVAILABLE);
    }
    return ended->number;
}

//  Answers the message received last, with a payload of this size, where that is not 0.
static bool
s_answer_to (gpb_connection_t *connection, const zmq_msg_t *identity, size_t size)
{
    gpb_message_t reply;
    gpb_message_init (&reply);
    reply.envelope_count = 1;
    zmq_msg_init (&reply.envelope [0]);
    zmq_msg_copy (&reply.envelope [0], (zmq_msg_t *) identity);
    zmq_msg_close (&reply.header);
    zmq_msg_init_size (&reply.header, 2);
    memcpy (zmq_msg_data (&reply.header), "ok", 2);
    if (size) {
        zmq_msg_t payload;
        zmq_msg_init_size (&payload, size);
        memset (zmq_msg_data (&payload), 'p', size);
        ck_assert_ok (gpb_message_add (&reply, &payload, &error));
        zmq_msg_close (&payload);
    }
    bool sent = gpb_router_send (s_router, connection, &reply);
    ck_assert_uint_eq (reply.envelope_count, 0);
    return sent;
}

static bool
s_answer (gpb_connection_t *connection, size_t size)
{
    return s_answer_to (connection, &s_message.envelope [0], size);
}

static void
s_expect_answer (zsock_t *dealer)
{
    zsock_set_rcvtimeo (dealer, PATIENCE_MS);
    zmsg_t *reply = zmsg_recv (dealer);
    ck_assert_ptr_nonnull (reply);
    zmsg_first (reply);
    ck_assert (zframe_streq (zmsg_next (reply), "ok"));
    zmsg_destroy (&reply);
}

static int
s_fd_of_message (void)
{
    return gpb_message_fd (&s_message);
}

static unsigned
s_open_files (void)
{
    unsigned count = 0;
    DIR *folder = opendir ("/proc/self/fd");
    while (readdir (folder))
        count++;
    closedir (folder);
    return count;
}

//  ---------------------------------------------------------------------------------------------------------
//  Coming and going

static void
s_check_coming_and_going (const char *endpoint)
{
    s_open (endpoint);
    zsock_t *first = s_connect (NULL), *second = s_connect (NULL);
    s_say (first, "hello", 0);
    gpb_connection_t *connection = s_hear ();
    uint64_t number = connection->number;
    ck_assert (!connection->is_inproc);
    ck_assert (s_answer (connection, 0));
    s_expect_answer (first);
    s_say (second, "hello", 0);
    gpb_connection_t *other = s_hear ();
    ck_assert_uint_ne (other->number, number);
    ck_assert_uint_eq (gpb_router_figures (s_router)->connections, 2);
    s_say (first, "again", 0);
    ck_assert_ptr_eq (s_hear (), connection);

    zsock_destroy (&first);
    ck_assert_uint_eq (s_hear_end (), number);
    ck_assert_ptr_null (gpb_router_ended (s_router));
    s_say (second, "still here", 0);
    ck_assert_ptr_eq (s_hear (), other);
    ck_assert (s_answer (other, 0));
    s_expect_answer (second);
    const gpb_router_figures_t *figures = gpb_router_figures (s_router);
    ck_assert_uint_eq (figures->connections, 1);
    ck_assert_uint_eq (figures->received, 4);
    ck_assert_uint_eq (figures->sent, 2);
    ck_assert_uint_eq (figures->dropped_peers, 0);
    zsock_destroy (&second);
    s_close ();
}

START_TEST (test_a_connection_over_tcp_comes_speaks_and_goes)
{
    s_check_coming_and_going ("tcp://127.0.0.1:*");
}
END_TEST

START_TEST (test_a_connection_over_ipc_comes_speaks_and_goes)
{
    char endpoint [64];
    snprintf (endpoint, sizeof endpoint, "ipc:///tmp/gpb-test-router-%d", (int) getpid ());
    s_check_coming_and_going (endpoint);
}
END_TEST

START_TEST (test_a_peer_that_says_goodbye_ends_and_may_begin_anew)
{
    s_open ("inproc://router");
    zsock_t *dealer = s_connect (NULL);
    s_say (dealer, "goodbye", 0);
    gpb_connection_t *connection = s_hear ();
    ck_assert (connection->is_inproc);
    uint64_t number = connection->number;
    ck_assert (s_answer (connection, 0));
    gpb_router_end (s_router, connection);
    ck_assert_int_eq (gpb_router_next_timeout (s_router), 0);
    ck_assert_uint_eq (s_hear_end (), number);
    s_say (dealer, "back", 0);
    ck_assert_uint_ne (s_hear ()->number, number);
    ck_assert_uint_eq (gpb_router_figures (s_router)->connections, 1);
    zsock_destroy (&dealer);
    s_close ();
}
END_TEST

START_TEST (test_a_message_read_after_its_sender_left_starts_nothing)
{
    s_open ("tcp://127.0.0.1:*");
    zsock_t *warm = s_connect (NULL);
    s_say (warm, "hello", 0);
    uint64_t number = s_hear ()->number;
    zsock_destroy (&warm);
    ck_assert_uint_eq (s_hear_end (), number);
    unsigned files = s_open_files ();

    zsock_t *dealer = s_connect (NULL);
    s_say (dealer, "too late", 0);
    zmq_pollitem_t item = { gpb_router_socket (s_router), 0, ZMQ_POLLIN, 0 };
    ck_assert_int_eq (zmq_poll (&item, 1, PATIENCE_MS), 1);
    zsock_destroy (&dealer);
    //  Both ends have closed: its DISCONNECTED is there.
    uint64_t end_ns = gpb_clock_ns () + PATIENCE_MS * GPB_NS_PER_MS;
    while (s_open_files () > files) {
        ck_assert_uint_lt (gpb_clock_ns (), end_ns);
        zmq_poll (NULL, 0, 1);
    }
    gpb_connection_t *connection;
    ck_assert_int_eq (gpb_router_recv (s_router, &s_message, &connection, &error), GPB_UNAVAILABLE);
    ck_assert_uint_eq (gpb_router_figures (s_router)->received, 2);
    ck_assert_uint_eq (gpb_router_figures (s_router)->connections, 0);
    ck_assert_ptr_null (gpb_router_ended (s_router));
    s_close ();
}
END_TEST

START_TEST (test_a_descriptor_used_again_does_not_end_the_new_peer)
{
    s_open ("tcp://127.0.0.1:*");
    bool reused = false;
    for (int round = 0; round < 50 && !reused; round++) {
        zsock_t *old = s_connect (NULL);
        s_say (old, "old", 0);
        uint64_t old_number = s_hear ()->number;
        int old_fd = s_fd_of_message ();
        unsigned files = s_open_files ();
        zsock_destroy (&old);
        uint64_t end_ns = gpb_clock_ns () + PATIENCE_MS * GPB_NS_PER_MS;
        while (s_open_files () + 2 > files && gpb_clock_ns () < end_ns)
            zmq_poll (NULL, 0, 1);
        //  Its end is not read before the next peer speaks.
        zsock_t *new = s_connect (NULL);
        s_say (new, "new", 0);
        gpb_connection_t *connection = s_hear ();
        uint64_t number = connection->number;
        ck_assert_uint_ne (number, old_number);
        reused = s_fd_of_message () == old_fd;
        ck_assert_uint_eq (s_hear_end (), old_number);
        ck_assert_ptr_null (gpb_router_ended (s_router));
        ck_assert (s_answer (connection, 0));
        s_expect_answer (new);
        zsock_destroy (&new);
        ck_assert_uint_eq (s_hear_end (), number);
    }
    ck_assert_msg (reused, "no descriptor was used twice");
    s_close ();
}
END_TEST

//  Connects under a name that another peer has had, and says "second", while messages of a busy
//  peer keep coming. libzmq ignores who takes the name of a peer that it knows, and knows one for a
//  moment longer than it finds it: who is ignored tries again.
static gpb_connection_t *
s_come_back (const char *name, zsock_t **peer_p, zsock_t *busy)
{
    while (true) {
        *peer_p = s_connect (name);
        s_say (*peer_p, "second", 0);
        uint64_t end_ns = gpb_clock_ns () + 500 * GPB_NS_PER_MS;
        while (gpb_clock_ns () < end_ns) {
            s_say (busy, "busy", 0);
            gpb_connection_t *connection = s_hear ();
            if (zmq_msg_size (&s_message.header) == strlen ("second"))
                return connection;
        }
        zsock_destroy (peer_p);
    }
}

//  With other messages always there, nothing but the peer's own next one makes the router look.
START_TEST (test_a_peer_with_a_chosen_identity_that_comes_back_is_a_new_one)
{
    s_open ("tcp://127.0.0.1:*");
    zsock_t *busy = s_connect (NULL);
    bool reused = false;
    for (int round = 0; round < 50 && !reused; round++) {
        char name [32];
        snprintf (name, sizeof name, "worker %d", round);
        zsock_t *peer = s_connect (name);
        s_say (peer, "first", 0);
        gpb_connection_t *connection = s_hear ();
        uint64_t number = connection->number;
        int fd = s_fd_of_message ();
        zmq_msg_t identity;
        zmq_msg_init (&identity);
        zmq_msg_copy (&identity, &s_message.envelope [0]);
        zsock_destroy (&peer);
        //  Answers that find nobody say that libzmq has forgotten the old one.
        do {
            s_say (busy, "busy", 0);
            s_hear ();
        } while (s_answer_to (connection, &identity, 0));
        connection = s_come_back (name, &peer, busy);
        ck_assert_uint_ne (connection->number, number);
        reused = s_fd_of_message () == fd;
        ck_assert_uint_eq (gpb_router_ended (s_router)->number, number);
        ck_assert_ptr_null (gpb_router_ended (s_router));
        ck_assert (s_answer (connection, 0));
        s_expect_answer (peer);
        number = connection->number;
        zsock_destroy (&peer);
        gpb_connection_t *ended = NULL;
        while (!ended) {
            while (gpb_router_recv (s_router, &s_message, &connection, &error) == GPB_OK)
                ;
            s_wait ();
            ended = gpb_router_ended (s_router);
        }
        ck_assert_uint_eq (ended->number, number);
        zmq_msg_close (&identity);
    }
    ck_assert_msg (reused, "no descriptor was used twice");
    zsock_destroy (&busy);
    s_close ();
}
END_TEST

START_TEST (test_an_end_is_told_while_messages_keep_coming)
{
    s_open ("tcp://127.0.0.1:*");
    zsock_t *flood = s_connect (NULL), *leaver = s_connect (NULL);
    s_say (leaver, "hello", 0);
    uint64_t number = s_hear ()->number;
    zsock_destroy (&leaver);
    for (int count = 0; count < 100; count++)    //  there is always one more
        s_say (flood, "more", 0);
    gpb_connection_t *ended = NULL;
    uint64_t end_ns = gpb_clock_ns () + PATIENCE_MS * GPB_NS_PER_MS;
    while (!ended) {
        ck_assert_uint_lt (gpb_clock_ns (), end_ns);
        s_hear ();
        s_say (flood, "and another", 0);
        ended = gpb_router_ended (s_router);
    }
    ck_assert_uint_eq (ended->number, number);
    zsock_destroy (&flood);
    s_close ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Leases

START_TEST (test_an_inproc_lease_runs_out_unless_it_is_renewed)
{
    gpb_router_options_t options = s_defaults;
    options.lease_ms = 100;
    s_open_with (&options, "inproc://router");
    zsock_t *silent = s_connect (NULL), *alive = s_connect (NULL), *broker = s_connect (NULL);
    s_say (silent, "hello", 0);
    uint64_t silent_number = s_hear ()->number;
    s_say (broker, "for another", 7);
    gpb_connection_t *for_others = s_hear ();
    uint64_t start_ns = gpb_clock_ns ();
    s_say (alive, "hello", 0);
    gpb_connection_t *renewed = s_hear (), *ended = NULL;
    while (!ended) {
        ck_assert_int_ge (gpb_router_next_timeout (s_router), 0);
        s_wait ();
        s_say (alive, "renewed", 0);
        ck_assert_ptr_eq (s_hear (), renewed);
        ended = gpb_router_ended (s_router);
    }
    ck_assert_uint_eq (ended->number, silent_number);
    ck_assert_ptr_null (gpb_router_ended (s_router));
    ck_assert_uint_ge (gpb_clock_ns () - start_ns, 90 * GPB_NS_PER_MS);
    //  An actor of this process that speaks for others has no lease.
    s_say (broker, "for another", 7);
    ck_assert_ptr_eq (s_hear (), for_others);
    ck_assert_uint_eq (gpb_router_figures (s_router)->connections, 2);
    zsock_destroy (&silent);
    zsock_destroy (&alive);
    zsock_destroy (&broker);
    s_close ();
}
END_TEST

START_TEST (test_connections_of_other_processes_have_no_lease)
{
    gpb_router_options_t options = s_defaults;
    options.lease_ms = 100;
    s_open_with (&options, "tcp://127.0.0.1:*");
    zsock_t *dealer = s_connect (NULL);
    s_say (dealer, "hello", 0);
    s_hear ();
    ck_assert_int_eq (gpb_router_next_timeout (s_router), -1);
    zsock_destroy (&dealer);
    s_close ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Peers that do not read

START_TEST (test_a_peer_that_does_not_read_is_dropped_at_the_high_water_mark)
{
    gpb_router_options_t options = s_defaults;
    options.reply_high_water = 10;
    s_open_with (&options, "inproc://router");
    zsock_t *dealer = zsock_new (ZMQ_DEALER);
    zsock_set_rcvhwm (dealer, 5);
    ck_assert_int_eq (zsock_connect (dealer, "%s", s_endpoint), 0);
    s_say (dealer, "hello", 0);
    gpb_connection_t *connection = s_hear ();
    unsigned sent = 0;
    while (sent < 100 && s_answer (connection, 0))
        sent++;
    ck_assert_uint_eq (sent, 15);    //  of both ends together, over inproc
    const gpb_router_figures_t *figures = gpb_router_figures (s_router);
    ck_assert_uint_eq (figures->dropped_peers, 1);
    ck_assert_uint_eq (figures->dropped_replies, 1);
    ck_assert_uint_eq (figures->connections, 0);
    ck_assert_uint_eq (s_hear_end (), 1);
    //  What it says now is not read.
    s_say (dealer, "more", 0);
    ck_assert_int_eq (gpb_router_recv (s_router, &s_message, &connection, &error), GPB_UNAVAILABLE);
    ck_assert_uint_eq (figures->received, 2);
    zsock_destroy (&dealer);
    s_close ();
}
END_TEST

START_TEST (test_a_peer_over_tcp_that_does_not_read_never_blocks)
{
    gpb_router_options_t options = s_defaults;
    options.reply_high_water = 8;
    options.reply_max_size = 1 << 30;
    s_open_with (&options, "tcp://127.0.0.1:*");
    zsock_t *dealer = zsock_new (ZMQ_DEALER), *other = s_connect (NULL);
    zsock_set_rcvhwm (dealer, 1);
    zsock_set_rcvbuf (dealer, 4096);
    zsock_set_linger (dealer, 0);
    ck_assert_int_eq (zsock_connect (dealer, "%s", s_endpoint), 0);
    s_say (dealer, "hello", 0);
    gpb_connection_t *connection = s_hear ();
    uint64_t number = connection->number;
    unsigned sent = 0;
    while (sent < 1000 && s_answer (connection, LARGE))
        sent++;
    ck_assert_uint_lt (sent, 1000);
    ck_assert_uint_eq (s_hear_end (), number);
    s_say (other, "hello", 0);
    connection = s_hear ();
    ck_assert (s_answer (connection, LARGE));
    s_expect_answer (other);
    zsock_destroy (&dealer);
    zsock_destroy (&other);
    s_close ();
}
END_TEST

START_TEST (test_a_peer_that_owes_too_many_bytes_is_dropped)
{
    s_open ("inproc://router");    //  1 MiB
    zsock_t *dealer = s_connect (NULL);
    s_say (dealer, "hello", 0);
    gpb_connection_t *connection = s_hear ();
    for (int count = 0; count < 5; count++)    //  the fifth goes beyond
        ck_assert (s_answer (connection, LARGE));
    ck_assert (!s_answer (connection, 0));
    ck_assert_uint_eq (gpb_router_figures (s_router)->dropped_peers, 1);
    ck_assert_uint_eq (s_hear_end (), 1);
    zsock_destroy (&dealer);
    s_close ();
}
END_TEST

START_TEST (test_a_debt_falls_as_the_peer_reads)
{
    s_open ("inproc://router");
    zsock_t *dealer = s_connect (NULL);
    s_say (dealer, "hello", 0);
    gpb_connection_t *connection = s_hear ();
    for (int count = 0; count < 50; count++) {
        ck_assert (s_answer (connection, LARGE));
        s_expect_answer (dealer);
    }
    ck_assert_uint_eq (gpb_router_figures (s_router)->dropped_peers, 0);
    zsock_destroy (&dealer);
    s_close ();
}
END_TEST

//  A broker holds the answers of all its clients, and counts for each of them.
START_TEST (test_an_actor_that_speaks_for_others_owes_nothing)
{
    s_open ("inproc://router");
    zsock_t *broker = s_connect (NULL);
    s_say (broker, "for another", 7);
    gpb_connection_t *connection = s_hear ();
    for (int count = 0; count < 20; count++)
        ck_assert (s_answer (connection, LARGE));
    ck_assert_uint_eq (gpb_router_figures (s_router)->dropped_peers, 0);
    zsock_destroy (&broker);
    s_close ();
}
END_TEST

//  Over tcp a hop frame is nothing but an envelope.
START_TEST (test_a_peer_of_another_process_owes_whatever_it_claims_to_be)
{
    gpb_router_options_t options = s_defaults;
    options.reply_high_water = 1000000;
    s_open_with (&options, "tcp://127.0.0.1:*");
    zsock_t *dealer = zsock_new (ZMQ_DEALER);
    zsock_set_rcvhwm (dealer, 1);
    zsock_set_rcvbuf (dealer, 4096);
    zsock_set_linger (dealer, 0);
    ck_assert_int_eq (zsock_connect (dealer, "%s", s_endpoint), 0);
    s_say (dealer, "for another", 7);
    gpb_connection_t *connection = s_hear ();
    unsigned sent = 0;
    while (sent < 1000 && s_answer (connection, LARGE))
        sent++;
    ck_assert_uint_lt (sent, 1000);
    ck_assert_uint_eq (gpb_router_figures (s_router)->dropped_peers, 1);
    zsock_destroy (&dealer);
    s_close ();
}
END_TEST

START_TEST (test_a_counted_frame_outlives_its_router)
{
    s_open ("inproc://router");
    zsock_t *dealer = s_connect (NULL);
    s_say (dealer, "hello", 0);
    ck_assert (s_answer (s_hear (), LARGE));
    zmsg_t *reply = zmsg_recv (dealer);
    s_close ();
    zframe_t *payload = zmsg_last (reply);
    ck_assert_uint_eq (zframe_size (payload), LARGE);
    ck_assert_int_eq (zframe_data (payload) [LARGE - 1], 'p');
    zmsg_destroy (&reply);
    zsock_destroy (&dealer);
}
END_TEST

START_TEST (test_what_is_sent_to_a_peer_that_ended_harms_no_other)
{
    gpb_router_options_t options = s_defaults;
    options.reply_high_water = 10;
    s_open_with (&options, "inproc://router");
    zsock_t *dealer = s_connect (NULL);
    zsock_set_rcvtimeo (dealer, 0);
    s_say (dealer, "goodbye", 0);
    gpb_connection_t *old = s_hear ();
    gpb_router_end (s_router, old);
    s_say (dealer, "back", 0);
    gpb_connection_t *new = s_hear ();
    ck_assert_ptr_ne (old, new);
    uint64_t number = new->number;
    for (int count = 0; count < 2000 && s_answer (old, 0); count++)
        ;
    ck_assert_uint_eq (gpb_router_figures (s_router)->dropped_peers, 0);
    ck_assert_uint_eq (s_hear_end (), 1);
    ck_assert_ptr_null (gpb_router_ended (s_router));
    s_say (dealer, "still the same", 0);
    ck_assert_uint_eq (s_hear ()->number, number);
    zsock_destroy (&dealer);
    s_close ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Bounds, endpoints, memory

START_TEST (test_a_frame_over_the_limit_closes_the_connection)
{
    s_open ("tcp://127.0.0.1:*");
    zsock_t *dealer = s_connect (NULL);
    zsock_set_linger (dealer, 0);
    s_say (dealer, "hello", 0);
    uint64_t number = s_hear ()->number;
    zframe_t *frame = zframe_new (NULL, (1 << 20) + 1);
    zframe_send (&frame, dealer, 0);
    ck_assert_uint_eq (s_hear_end (), number);
    zsock_destroy (&dealer);
    s_close ();
}
END_TEST

START_TEST (test_a_message_out_of_bounds_comes_with_its_envelope)
{
    s_open ("inproc://router");
    zsock_t *dealer = s_connect (NULL);
    zsock_send (dealer, "z");    //  the empty frame alone
    gpb_connection_t *connection = NULL;
    ck_assert_refused (gpb_router_recv (s_router, &s_message, &connection, &error),
                       GPB_INVALID_ARGUMENT, "no header frame");
    ck_assert_uint_eq (s_message.envelope_count, 1);
    ck_assert_uint_eq (gpb_router_figures (s_router)->refused, 1);
    ck_assert (s_answer (connection, 0));
    s_expect_answer (dealer);
    zstr_send (dealer, "no empty frame: nobody to answer to");
    ck_assert_int_eq (gpb_router_recv (s_router, &s_message, &connection, &error), GPB_UNAVAILABLE);
    ck_assert_uint_eq (gpb_router_figures (s_router)->refused, 2);
    zsock_destroy (&dealer);
    s_close ();
}
END_TEST

START_TEST (test_an_endpoint_that_cannot_be_bound_says_why)
{
    s_open ("tcp://127.0.0.1:*");
    ck_assert_ptr_null (strchr (s_endpoint, '*'));
    char bound [256];
    ck_assert_refused (gpb_router_bind (s_router, "nonsense", bound, sizeof bound, &error),
                       GPB_INVALID_ARGUMENT, "nonsense");
    ck_assert_refused (gpb_router_bind (s_router, "foo://bar", bound, sizeof bound, &error),
                       GPB_INVALID_ARGUMENT, "expected tcp://ADDRESS:PORT");
    ck_assert_refused (gpb_router_bind (s_router, "tcp://127.0.0.1:70000", bound, sizeof bound,
                                        &error),
                       GPB_INVALID_ARGUMENT, "70000");
    gpb_router_t *second = gpb_router_new (&s_defaults, &error);
    ck_assert_refused (gpb_router_bind (second, s_endpoint, bound, sizeof bound, &error),
                       GPB_UNAVAILABLE, s_endpoint);
    ck_assert_ok (gpb_router_bind (second, "inproc://twice", bound, sizeof bound, &error));
    ck_assert_refused (gpb_router_bind (s_router, "inproc://twice", bound, sizeof bound, &error),
                       GPB_UNAVAILABLE, "inproc://twice");
    gpb_router_destroy (&second, 0);
    s_close ();
}
END_TEST

START_TEST (test_a_router_that_gets_no_memory_says_so)
{
    for (int64_t after = 0;; after++) {
        gpb_alloc_fail (after, 0);
        gpb_router_t *router = gpb_router_new (&s_defaults, &error);
        bool failed = gpb_alloc_fail (-1, 0) > (uint64_t) after;
        ck_assert_int_eq (failed, !router);
        if (router) {
            gpb_router_destroy (&router, 0);
            break;
        }
        ck_assert_refused (error.status, GPB_RESOURCE_EXHAUSTED, "memory");
    }
}
END_TEST

//  The heap gives the new one the old one's address, and libzmq lets go of names some time later.
START_TEST (test_a_router_starts_where_another_has_just_ended)
{
    for (unsigned round = 0; round < 200; round++) {
        gpb_router_t *router = gpb_router_new (&s_defaults, &error);
        ck_assert_msg (router != NULL, "%s", error.text);
        gpb_router_destroy (&router, 0);
    }
}
END_TEST

START_TEST (test_a_peer_for_which_there_is_no_memory_is_told_so_and_may_speak_again)
{
    s_open ("tcp://127.0.0.1:*");
    //  The table of descriptors; the peer; its debt; what an answer needs.
    static const int64_t failing [] = { 0, 0, 1, 2 };
    unsigned refused = 0;
    for (unsigned round = 0; round < sizeof failing / sizeof failing [0]; round++) {
        zsock_t *dealer = s_connect (NULL);
        s_say (dealer, "hello", 0);
        zmq_pollitem_t item = { gpb_router_socket (s_router), 0, ZMQ_POLLIN, 0 };
        ck_assert_int_eq (zmq_poll (&item, 1, PATIENCE_MS), 1);
        gpb_connection_t *connection;
        gpb_alloc_fail (failing [round], 0);
        gpb_status_t status = gpb_router_recv (s_router, &s_message, &connection, &error);
        if (status != GPB_OK) {
            ck_assert_refused (status, GPB_RESOURCE_EXHAUSTED, "memory");
            ck_assert_uint_eq (zmq_msg_size (&s_message.header), strlen ("hello"));
            ck_assert_uint_eq (connection->number, 0);
            refused++;
        }
        ck_assert (s_answer (connection, status == GPB_OK ? LARGE : 0));
        gpb_alloc_fail (-1, 0);
        s_expect_answer (dealer);
        s_say (dealer, "again", 0);
        connection = s_hear ();
        ck_assert_uint_ne (connection->number, 0);
        ck_assert (s_answer (connection, LARGE));
        s_expect_answer (dealer);
        uint64_t number = connection->number;
        zsock_destroy (&dealer);
        ck_assert_uint_eq (s_hear_end (), number);
    }
    ck_assert_uint_eq (refused, 3);
    s_close ();
}
END_TEST

GPB_TEST_MAIN ("gpb_router", 120, test_a_router_starts_where_another_has_just_ended,
               test_a_connection_over_tcp_comes_speaks_and_goes,
               test_a_connection_over_ipc_comes_speaks_and_goes,
               test_a_peer_that_says_goodbye_ends_and_may_begin_anew,
               test_a_message_read_after_its_sender_left_starts_nothing,
               test_a_descriptor_used_again_does_not_end_the_new_peer,
               test_a_peer_with_a_chosen_identity_that_comes_back_is_a_new_one,
               test_an_end_is_told_while_messages_keep_coming,
               test_an_inproc_lease_runs_out_unless_it_is_renewed,
               test_connections_of_other_processes_have_no_lease,
               test_a_peer_that_does_not_read_is_dropped_at_the_high_water_mark,
               test_a_peer_over_tcp_that_does_not_read_never_blocks,
               test_a_peer_that_owes_too_many_bytes_is_dropped, test_a_debt_falls_as_the_peer_reads,
               test_an_actor_that_speaks_for_others_owes_nothing,
               test_a_peer_of_another_process_owes_whatever_it_claims_to_be,
               test_a_counted_frame_outlives_its_router,
               test_what_is_sent_to_a_peer_that_ended_harms_no_other,
               test_a_frame_over_the_limit_closes_the_connection,
               test_a_message_out_of_bounds_comes_with_its_envelope,
               test_an_endpoint_that_cannot_be_bound_says_why,
               test_a_router_that_gets_no_memory_says_so,
               test_a_peer_for_which_there_is_no_memory_is_told_so_and_may_speak_again)
