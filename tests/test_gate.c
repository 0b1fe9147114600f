//  Tests of gpb_gate behind a gpb_router: where it may listen, who comes in, whose key a connection
//  has, and that neither an application's ZAP handler nor ours is in the other's way.

#include "gpb_clock.h"
#include "gpb_router.h"
#include "gpb_test_keys.h"

#include <czmq.h>
#include <sys/stat.h>

#define PATIENCE_MS 20000

static gpb_error_t error;
static gpb_router_t *s_router;
static char s_endpoint [256];

static gpb_router_options_t
s_options (bool with_keys)
{
    gpb_router_options_t options = { .max_frame_size = 1 << 20,
                                     .reply_high_water = 1000,
                                     .reply_max_size = 1 << 20,
                                     .lease_ms = 60000,
                                     .gate = { .is_public = true, .handshake_ms = 500 } };
    if (with_keys) {
        options.gate.curve = gpb_test_key ("node");
        options.gate.allowed_keys = gpb_test_allowed ();
    }
    return options;
}

static void
s_open_with (const gpb_router_options_t *options, const char *endpoint)
{
    s_router = gpb_router_new (options, &error);
    ck_assert_msg (s_router != NULL, "%s", error.text);
    ck_assert_ok (gpb_router_bind (s_router, endpoint, s_endpoint, sizeof s_endpoint, &error));
}

static void
s_close (void)
{
    gpb_router_destroy (&s_router, 0);
    gpb_test_keys_clear ();
}

//  A DEALER with the key pair of this name, or without one, that says hello.
static zsock_t *
s_connect (const char *name)
{
    zsock_t *dealer = zsock_new (ZMQ_DEALER);
    zsock_set_linger (dealer, 0);
    zsock_set_reconnect_ivl (dealer, 10);
    if (name) {
        gpb_certificate_t *own = gpb_certificate_load (gpb_test_path (name), &error);
        gpb_certificate_t *node = gpb_certificate_load (gpb_test_path ("node"), &error);
        ck_assert_ok (gpb_certificate_connect (own, node, zsock_resolve (dealer), &error));
        gpb_certificate_destroy (&own);
        gpb_certificate_destroy (&node);
    }
    ck_assert_int_eq (zsock_connect (dealer, "%s", s_endpoint), 0);
    zsock_send (dealer, "zs", "hello");
    return dealer;
}

//  One turn of the router's owner; the connection that something came from, or NULL.
static gpb_connection_t *
s_turn (void)
{
    gpb_message_t message;
    gpb_connection_t *connection = NULL;
    gpb_message_init (&message);
    zmq_pollitem_t items [] = {
        { gpb_router_socket (s_router), 0, ZMQ_POLLIN, 0 },
        { gpb_router_remote (s_router), 0, ZMQ_POLLIN, 0 },
        { gpb_router_monitor (s_router), 0, ZMQ_POLLIN, 0 },
        { gpb_gate_socket (gpb_router_gate (s_router)), 0, ZMQ_POLLIN, 0 },
    };
    zmq_poll (items, 4, 10);
    gpb_router_recv (s_router, &message, &connection, &error);
    while (gpb_router_ended (s_router))
        ;
    gpb_message_clear (&message);
    return connection;
}

static gpb_connection_t *
s_hear (void)
{
    uint64_t end_ns = gpb_clock_ns () + PATIENCE_MS * GPB_NS_PER_MS;
    gpb_connection_t *connection = NULL;
    while (!connection) {
        ck_assert_msg (gpb_clock_ns () < end_ns, "nobody says anything");
        connection = s_turn ();
    }
    return connection;
}

static gpb_gate_figures_t
s_figures (void)
{
    return gpb_gate_figures (gpb_router_gate (s_router));
}

START_TEST (test_an_address_beyond_the_loopback_wants_keys_or_a_word)
{
    gpb_router_options_t options = s_options (false);
    s_open_with (&options, "tcp://127.0.0.1:*");
    char bound [256];
    ck_assert_refused (gpb_router_bind (s_router, "tcp://0.0.0.0:*", bound, sizeof bound, &error),
                       GPB_FAILED_PRECONDITION, "`insecure`");
    ck_assert (!s_figures ().is_insecure);
    gpb_router_destroy (&s_router, 0);
    options.gate.insecure = true;
    s_open_with (&options, "tcp://127.0.0.1:*");
    ck_assert (!s_figures ().is_insecure);    //  nobody else can reach it yet
    ck_assert_ok (gpb_router_bind (s_router, "tcp://0.0.0.0:*", bound, sizeof bound, &error));
    ck_assert (s_figures ().is_insecure);
    gpb_router_destroy (&s_router, 0);
    options = s_options (true);
    s_open_with (&options, "tcp://0.0.0.0:*");
    ck_assert (!s_figures ().is_insecure);
    s_close ();
}
END_TEST

START_TEST (test_an_inner_endpoint_cannot_ask_for_keys_and_so_is_not_bound)
{
    gpb_router_options_t options = s_options (true);
    options.gate.is_public = false;
    s_open_with (&options, "inproc://inner");
    char bound [256];
    ck_assert_refused (gpb_router_bind (s_router, "tcp://127.0.0.1:*", bound, sizeof bound, &error),
                       GPB_FAILED_PRECONDITION, "only a node's own endpoint");
    gpb_router_destroy (&s_router, 0);
    options = s_options (false);
    options.gate.is_public = false;
    s_open_with (&options, "inproc://other");
    ck_assert_refused (gpb_router_bind (s_router, "tcp://0.0.0.0:*", bound, sizeof bound, &error),
                       GPB_FAILED_PRECONDITION, "other machines");
    s_close ();
}
END_TEST

START_TEST (test_keys_that_cannot_be_read_open_nothing)
{
    gpb_router_options_t options = s_options (true);
    options.gate.allowed_keys = "";
    ck_assert_ptr_null (gpb_router_new (&options, &error));
    ck_assert_refused (error.status, GPB_FAILED_PRECONDITION, "`allowed_keys` is not");
    options.gate.allowed_keys = gpb_test_path ("none");
    ck_assert_ptr_null (gpb_router_new (&options, &error));
    ck_assert_refused (error.status, GPB_NOT_FOUND, "allowed_keys: ");
    options.gate.allowed_keys = gpb_test_allowed ();
    options.gate.curve = gpb_test_path ("none");
    ck_assert_ptr_null (gpb_router_new (&options, &error));
    ck_assert_refused (error.status, GPB_NOT_FOUND, "curve: ");
    unlink (gpb_test_path ("node_secret"));
    options.gate.curve = gpb_test_path ("node");
    ck_assert_ptr_null (gpb_router_new (&options, &error));
    ck_assert_refused (error.status, GPB_FAILED_PRECONDITION, "has no secret key");
    gpb_test_keys_clear ();
}
END_TEST

START_TEST (test_a_connection_has_the_key_that_it_came_in_with)
{
    gpb_router_options_t options = s_options (true);
    gpb_test_key ("alice");
    gpb_test_key ("bob");
    gpb_test_allow ("alice");
    gpb_test_allow ("bob");
    s_open_with (&options, "tcp://127.0.0.1:*");
    zsock_t *alice = s_connect ("alice");
    gpb_connection_t *first = s_hear ();
    ck_assert_str_eq (first->key->name, "alice");
    zsock_t *bob = s_connect ("bob");
    ck_assert_str_eq (s_hear ()->key->name, "bob");
    zsock_send (alice, "zs", "again");
    ck_assert_ptr_eq (s_hear (), first);
    ck_assert (!first->is_inproc);
    zsock_destroy (&alice);
    zsock_destroy (&bob);
    s_close ();
}
END_TEST

START_TEST (test_who_is_not_allowed_is_never_heard)
{
    gpb_router_options_t options = s_options (true);
    gpb_test_key ("alice");
    gpb_test_key ("eve");
    gpb_test_allow ("alice");
    s_open_with (&options, "tcp://127.0.0.1:*");
    zsock_t *eve = s_connect ("eve"), *nobody = s_connect (NULL), *alice = s_connect ("alice");
    ck_assert_str_eq (s_hear ()->key->name, "alice");
    uint64_t end_ns = gpb_clock_ns () + PATIENCE_MS * GPB_NS_PER_MS;
    while (s_figures ().refused_keys == 0 && gpb_clock_ns () < end_ns)
        ck_assert_ptr_null (s_turn ());
    ck_assert_uint_eq (s_figures ().refused_keys, 1);
    ck_assert_str_eq (s_figures ().refused_address, "127.0.0.1");
    ck_assert_uint_eq (gpb_router_figures (s_router)->connections, 1);
    zsock_destroy (&eve);
    zsock_destroy (&nobody);
    zsock_destroy (&alice);
    s_close ();
}
END_TEST

START_TEST (test_a_key_that_goes_closes_its_connections_and_no_others)
{
    gpb_router_options_t options = s_options (true);
    gpb_test_key ("alice");
    gpb_test_key ("bob");
    gpb_test_allow ("alice");
    gpb_test_allow ("bob");
    s_open_with (&options, "tcp://127.0.0.1:*");
    zsock_t *alice = s_connect ("alice");
    uint64_t number = s_hear ()->number;
    zsock_t *bob = s_connect ("bob");
    gpb_connection_t *kept = s_hear ();
    ck_assert_uint_eq (gpb_router_check_keys (s_router), 0);
    gpb_test_disallow ("alice");
    ck_assert (gpb_gate_refresh (gpb_router_gate (s_router)));
    ck_assert_uint_eq (gpb_router_check_keys (s_router), 1);
    gpb_connection_t *ended = gpb_router_ended (s_router);
    ck_assert_ptr_nonnull (ended);
    ck_assert_uint_eq (ended->number, number);
    ck_assert_ptr_null (gpb_router_ended (s_router));

    //  Its connection is gone, and the next ones are refused; what is sent meanwhile is not heard.
    for (int count = 0; count < 20; count++)
        zsock_send (alice, "zs", "more");
    uint64_t end_ns = gpb_clock_ns () + PATIENCE_MS * GPB_NS_PER_MS;
    while (s_figures ().refused_keys == 0 && gpb_clock_ns () < end_ns)
        ck_assert_ptr_null (s_turn ());
    ck_assert_uint_ge (s_figures ().refused_keys, 1);
    zsock_send (bob, "zs", "still here");
    ck_assert_ptr_eq (s_hear (), kept);
    zsock_destroy (&alice);
    zsock_destroy (&bob);
    s_close ();
}
END_TEST

START_TEST (test_what_a_key_says_after_it_went_is_not_heard)
{
    gpb_router_options_t options = s_options (true);
    gpb_test_key ("alice");
    gpb_test_allow ("alice");
    s_open_with (&options, "tcp://127.0.0.1:*");
    zsock_t *alice = s_connect ("alice");
    //  In, with its hello unread.
    uint64_t end_ns = gpb_clock_ns () + PATIENCE_MS * GPB_NS_PER_MS;
    zmq_pollitem_t item = { gpb_router_remote (s_router), 0, ZMQ_POLLIN, 0 };
    while (zmq_poll (&item, 1, 10) == 0 && gpb_clock_ns () < end_ns)
        gpb_gate_serve (gpb_router_gate (s_router));
    gpb_test_disallow ("alice");
    ck_assert (gpb_gate_refresh (gpb_router_gate (s_router)));
    ck_assert_uint_eq (gpb_router_check_keys (s_router), 0);
    while (s_figures ().refused_keys == 0 && gpb_clock_ns () < end_ns)
        ck_assert_ptr_null (s_turn ());
    ck_assert_uint_ge (s_figures ().refused_keys, 1);    //  closed, and come back
    zsock_destroy (&alice);
    s_close ();
}
END_TEST

//  A ZAP handler of the application's: everybody is refused, and a CURVE endpoint of its own.
START_TEST (test_an_applications_handler_and_ours_decide_each_for_their_own)
{
    zactor_t *auth = zactor_new (zauth, NULL);
    zstr_sendx (auth, "CURVE", gpb_test_scratch (), NULL);
    zsock_wait (auth);
    gpb_router_options_t options = s_options (true);
    gpb_test_key ("alice");
    gpb_test_allow ("alice");
    s_open_with (&options, "tcp://127.0.0.1:*");
    zsock_t *alice = s_connect ("alice");
    ck_assert_str_eq (s_hear ()->key->name, "alice");
    zsock_destroy (&alice);
    zactor_destroy (&auth);

    //  One that starts later finds its place free.
    auth = zactor_new (zauth, NULL);
    zstr_sendx (auth, "CURVE", CURVE_ALLOW_ANY, NULL);
    zsock_wait (auth);
    zcert_t *theirs = zcert_new ();
    zsock_t *server = zsock_new (ZMQ_PULL);
    zsock_set_zap_domain (server, "gpb");
    zcert_apply (theirs, server);
    zsock_set_curve_server (server, 1);
    int port = zsock_bind (server, "tcp://127.0.0.1:*");
    zsock_t *client = zsock_new (ZMQ_PUSH);
    zsock_set_curve_serverkey (client, zcert_public_txt (theirs));
    zcert_apply (theirs, client);
    zsock_connect (client, "tcp://127.0.0.1:%d", port);
    zsock_set_rcvtimeo (server, PATIENCE_MS);
    zstr_send (client, "to them");
    char *text = zstr_recv (server);
    ck_assert_str_eq (text, "to them");
    zstr_free (&text);
    zsock_destroy (&client);
    zsock_destroy (&server);
    zcert_destroy (&theirs);
    zactor_destroy (&auth);
    s_close ();
}
END_TEST

START_TEST (test_ipc_and_inproc_come_in_without_a_key)
{
    gpb_router_options_t options = s_options (true);
    char endpoint [256], tcp [256];
    snprintf (endpoint, sizeof endpoint, "ipc://%s", gpb_test_path ("socket"));
    s_open_with (&options, "tcp://127.0.0.1:*");
    strcpy (tcp, s_endpoint);
    ck_assert_ok (gpb_router_bind (s_router, endpoint, s_endpoint, sizeof s_endpoint, &error));
    zsock_t *dealer = s_connect (NULL);
    gpb_connection_t *by_ipc = s_hear ();
    ck_assert_ptr_null (by_ipc->key);
    ck_assert (!by_ipc->is_inproc);
    ck_assert_ok (
        gpb_router_bind (s_router, "inproc://gate", s_endpoint, sizeof s_endpoint, &error));
    zsock_t *inner = s_connect (NULL);
    gpb_connection_t *by_inproc = s_hear ();
    ck_assert_ptr_null (by_inproc->key);
    ck_assert (by_inproc->is_inproc);
    ck_assert_ptr_ne (by_inproc, by_ipc);

    //  Where both have something to say, both are heard.
    for (int count = 0; count < 100; count++) {
        zsock_send (dealer, "zs", "a");
        zsock_send (inner, "zs", "b");
    }
    int heard [2] = { 0 };
    for (int count = 0; count < 200; count++)
        heard [s_hear ()->is_inproc]++;
    ck_assert_int_eq (heard [0], 100);
    ck_assert_int_eq (heard [1], 100);
    //  One that was silent for long is heard soon, though the other goes on.
    for (int count = 0; count < 200; count++)
        zsock_send (dealer, "zs", "a");
    for (int count = 0; count < 50; count++)
        ck_assert (!s_hear ()->is_inproc);
    zsock_send (inner, "zs", "b");
    int others = 0;
    while (!s_hear ()->is_inproc)
        others++;
    ck_assert_int_le (others, 32);
    for (; others < 150; others++)
        ck_assert (!s_hear ()->is_inproc);
    zsock_destroy (&inner);
    zsock_destroy (&dealer);

    //  An ipc endpoint that comes after a tcp one with keys asks for none, and one after it does.
    ck_assert_ok (
        gpb_router_bind (s_router, "tcp://127.0.0.1:*", s_endpoint, sizeof s_endpoint, &error));
    zsock_t *stranger = s_connect (NULL);
    uint64_t end_ns = gpb_clock_ns () + 300 * GPB_NS_PER_MS;
    while (gpb_clock_ns () < end_ns)
        ck_assert_ptr_null (s_turn ());
    zsock_destroy (&stranger);
    s_close ();
}
END_TEST

START_TEST (test_an_ipc_file_is_its_owners_and_goes_with_its_router)
{
    gpb_router_options_t options = s_options (false);
    char endpoint [256];
    struct stat about;
    umask (0);
    snprintf (endpoint, sizeof endpoint, "ipc://%s", gpb_test_path ("socket"));
    s_open_with (&options, endpoint);
    ck_assert_str_eq (s_endpoint, endpoint);
    ck_assert_int_eq (stat (endpoint + 6, &about), 0);
    ck_assert_uint_eq (about.st_mode & 07777, 0600);
    gpb_router_t *second = gpb_router_new (&options, &error);
    char bound [256];
    ck_assert_refused (gpb_router_bind (second, endpoint, bound, sizeof bound, &error),
                       GPB_UNAVAILABLE, "in use");
    ck_assert_ok (gpb_router_bind (second, "ipc://*", bound, sizeof bound, &error));
    gpb_router_destroy (&second, 0);
    gpb_router_destroy (&s_router, 0);
    ck_assert_int_ne (stat (endpoint + 6, &about), 0);
    gpb_test_keys_clear ();
}
END_TEST

START_TEST (test_connections_over_the_bound_are_closed_and_the_others_work_on)
{
    gpb_router_options_t options = s_options (false);
    options.gate.max_connections = 3;
    s_open_with (&options, "tcp://127.0.0.1:*");
    zsock_t *dealers [3];
    for (size_t index = 0; index < 3; index++) {
        dealers [index] = s_connect (NULL);
        s_hear ();
    }
    zsock_t *fourth = s_connect (NULL);
    uint64_t end_ns = gpb_clock_ns () + PATIENCE_MS * GPB_NS_PER_MS;
    while (s_figures ().refused_connections == 0 && gpb_clock_ns () < end_ns)
        s_turn ();
    ck_assert_uint_ge (s_figures ().refused_connections, 1);
    zsock_destroy (&fourth);
    while (s_figures ().open > 3 && gpb_clock_ns () < end_ns)
        s_turn ();
    ck_assert_uint_eq (s_figures ().open, 3);
    zsock_send (dealers [2], "zs", "still here");
    s_hear ();
    zsock_destroy (&dealers [0]);
    while (s_figures ().open > 2 && gpb_clock_ns () < end_ns)
        s_turn ();
    fourth = s_connect (NULL);    //  now there is room
    s_hear ();
    ck_assert_uint_eq (s_figures ().open, 3);
    zsock_destroy (&fourth);
    zsock_destroy (&dealers [1]);
    zsock_destroy (&dealers [2]);
    s_close ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  The end

enum { LEAVING = 12 };

//  Half of them leave.
static void *
s_leave (void *peers)
{
    zsock_t **dealers = peers;
    for (size_t index = 0; index < LEAVING; index += 2)
        zsock_destroy (&dealers [index]);
    return NULL;
}

//  What a peer says comes back to it, for as long as the router's owner has patience.
static void
s_echo (uint64_t end_ns)
{
    gpb_message_t message;
    gpb_message_init (&message);
    while (gpb_clock_ns () < end_ns) {
        gpb_connection_t *connection = NULL;
        zmq_pollitem_t items [] = {
            { gpb_router_remote (s_router), 0, ZMQ_POLLIN, 0 },
            { gpb_router_monitor (s_router), 0, ZMQ_POLLIN, 0 },
            { gpb_gate_socket (gpb_router_gate (s_router)), 0, ZMQ_POLLIN, 0 },
        };
        zmq_poll (items, 3, 1);
        gpb_gate_serve (gpb_router_gate (s_router));
        if (gpb_router_recv (s_router, &message, &connection, &error) == GPB_OK && connection)
            gpb_router_send (s_router, connection, &message);
        while (gpb_router_ended (s_router))
            ;
    }
    gpb_message_clear (&message);
}

//  Some are in the middle of their handshakes, some are gone with answers on their way to them.
START_TEST (test_a_router_ends_soon_whatever_its_peers_are_about)
{
    const int rounds = getenv ("GPB_TEST_SLOW") ? 4 : 24;
    srand (5);
    for (int round = 0; round < rounds; round++) {
        gpb_router_options_t options = s_options (round % 2);
        s_open_with (&options, "tcp://127.0.0.1:*");
        if (round % 2) {
            gpb_test_key ("alice");
            gpb_test_allow ("alice");
            gpb_gate_refresh (gpb_router_gate (s_router));
        }
        //  A connection takes this from its socket as it is when that is bound, and where it has
        //  left by itself keeps what it has not sent for so long.
        int linger_ms = -2;
        size_t size = sizeof linger_ms;
        zmq_getsockopt (gpb_router_remote (s_router), ZMQ_LINGER, &linger_ms, &size);
        ck_assert_int_eq (linger_ms, 0);
        zsock_t *dealers [LEAVING];
        for (size_t index = 0; index < LEAVING; index++)
            dealers [index] = s_connect (round % 2 ? "alice" : NULL);
        s_echo (gpb_clock_ns () + (uint64_t) (rand () % 20) * GPB_NS_PER_MS);
        pthread_t thread;
        ck_assert_int_eq (pthread_create (&thread, NULL, s_leave, dealers), 0);
        uint64_t start_ns = gpb_clock_ns ();
        gpb_router_destroy (&s_router, 1000);
        ck_assert_uint_lt (gpb_clock_ns () - start_ns, 4 * GPB_NS_PER_S);
        pthread_join (thread, NULL);
        for (size_t index = 0; index < LEAVING; index++)
            zsock_destroy (&dealers [index]);
        gpb_test_keys_clear ();
    }
}
END_TEST

GPB_TEST_MAIN ("gpb_gate", 30, test_an_address_beyond_the_loopback_wants_keys_or_a_word,
               test_an_inner_endpoint_cannot_ask_for_keys_and_so_is_not_bound,
               test_keys_that_cannot_be_read_open_nothing,
               test_a_connection_has_the_key_that_it_came_in_with,
               test_who_is_not_allowed_is_never_heard,
               test_a_key_that_goes_closes_its_connections_and_no_others,
               test_what_a_key_says_after_it_went_is_not_heard,
               test_an_applications_handler_and_ours_decide_each_for_their_own,
               test_ipc_and_inproc_come_in_without_a_key,
               test_an_ipc_file_is_its_owners_and_goes_with_its_router,
               test_connections_over_the_bound_are_closed_and_the_others_work_on,
               test_a_router_ends_soon_whatever_its_peers_are_about)
