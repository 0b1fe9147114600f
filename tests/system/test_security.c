//  test_security - a node that is closed by default, as a program and composed
//
//  Who comes in, whose key a connection has, what becomes of a key that is taken out of its folder,
//  what a name may do, and that no key is ever printed. Devices are the tests' fake backend.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_clock.h"
#include "gpb_test_keys.h"
#include "gpb_test_node.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static gpb_error_t error;
static gpb_test_node_t s_node;
static const char *const s_names [] = { "node", "alice", "bob", "eve" };    //  eve is not allowed

static void
s_make_keys (void)
{
    gpb_test_use_fake (1, 16 << 20);
    for (size_t index = 0; index < 4; index++)
        gpb_test_key (s_names [index]);
    gpb_test_allow ("alice");
    gpb_test_allow ("bob");
}

//  A node with keys, with these limits and one more setting, on tcp and, as its second endpoint,
//  ipc.
static void
s_start_with (const char *limits, const char *setting)
{
    char set [1024], ipc [256];
    s_make_keys ();
    snprintf (set, sizeof set, "limits=%s", limits);
    snprintf (ipc, sizeof ipc, "ipc://%s", gpb_test_path ("socket"));
    gpb_test_node_start (&s_node, "--backends", "fake", "--curve", gpb_test_path ("node"),
                         "--allowed-keys", gpb_test_allowed (), "--set", set, "--set",
                         "allow_register=true", "--set", setting, "--bind", GPB_TEST_ANY_PORT,
                         "--bind", ipc);
}

static void
s_start (const char *limits)
{
    s_start_with (limits, "drain_ms=10000");    //  the default
}

static void
s_stop (void)
{
    gpb_test_node_stop (&s_node);
    gpb_test_keys_clear ();
}

//  NULL: without keys.
static gpb_client_t *
s_client_at (const char *endpoint, const char *name)
{
    gpb_client_t *client = NULL;
    if (name) {
        gpb_certificate_t *own = gpb_certificate_load (gpb_test_path (name), &error);
        gpb_certificate_t *node = gpb_certificate_load_public (gpb_test_path ("node"), &error);
        client = gpb_client_new_curve (endpoint, own, node, &error);
        gpb_certificate_destroy (&own);
        gpb_certificate_destroy (&node);
    }
    else
        client = gpb_client_new (endpoint, &error);
    ck_assert_msg (client != NULL, "%s", error.text);
    return client;
}

static gpb_client_t *
s_client (const char *name)
{
    return s_client_at (s_node.endpoints [0], name);
}

//  Calls, and expects this status and a sentence with this part.
static void
s_expect (gpb_client_t *client, gpb_request_t *request, gpb_status_t status, const char *part)
{
    gpb_reply_t *reply = gpb_test_call (client, request);
    ck_assert_msg (gpb_reply_status (reply) == status, "%s: %s",
                   gpb_status_name (gpb_reply_status (reply)), gpb_reply_message (reply));
    ck_assert_msg (strstr (gpb_reply_message (reply), part) != NULL, "\"%s\" is not in: %s", part,
                   gpb_reply_message (reply));
    gpb_reply_destroy (&reply);
}

//  ---------------------------------------------------------------------------------------------------------
//  Who comes in

START_TEST (test_a_node_does_not_start_open_to_other_machines)
{
    gpb_test_use_fake (1, 16 << 20);
    char errors [4096];
    gpb_test_node_spawn (&s_node, "--backends", "fake", "--bind", "tcp://0.0.0.0:*");
    ck_assert_int_eq (gpb_test_node_wait (&s_node, errors, sizeof errors), 1);
    ck_assert_ptr_nonnull (strstr (errors, "can be reached from other machines"));
    gpb_test_node_spawn (&s_node, "--backends", "fake", "--curve", gpb_test_path ("none"),
                         "--allowed-keys", gpb_test_allowed ());
    ck_assert_int_eq (gpb_test_node_wait (&s_node, errors, sizeof errors), 1);
    ck_assert_ptr_nonnull (strstr (errors, "curve: "));
    gpb_test_keys_clear ();
}
END_TEST

START_TEST (test_an_insecure_node_says_so)
{
    gpb_test_use_fake (1, 16 << 20);
    char log [256], text [4096] = "", endpoint [64];
    snprintf (log, sizeof log, "log_target=%s", gpb_test_path ("log"));
    gpb_test_node_start (&s_node, "--backends", "fake", "--bind", "tcp://0.0.0.0:*", "--insecure",
                         "--set", log);
    snprintf (endpoint, sizeof endpoint, "tcp://127.0.0.1:%s",
              strrchr (s_node.endpoints [0], ':') + 1);
    gpb_client_t *client = s_client_at (endpoint, NULL);
    gpb_reply_t *reply = gpb_test_call_ok (client, gpb_request_stats ());
    ck_assert (gpb_reply_header_peek (reply)->stats->insecure);
    gpb_reply_destroy (&reply);
    gpb_client_destroy (&client);
    gpb_test_node_stop (&s_node);
    FILE *file = fopen (gpb_test_path ("log"), "r");
    ck_assert_uint_gt (fread (text, 1, sizeof text - 1, file), 0);
    fclose (file);
    ck_assert_ptr_nonnull (strstr (text, "W: (gpb_actor)"));
    ck_assert_ptr_nonnull (strstr (text, "beyond the loopback asks for no key"));

    gpb_test_node_start (&s_node, "--backends", "fake", "--insecure");    //  loopback is not
    client = s_client (NULL);
    reply = gpb_test_call_ok (client, gpb_request_stats ());
    ck_assert (!gpb_reply_header_peek (reply)->stats->insecure);
    gpb_reply_destroy (&reply);
    gpb_client_destroy (&client);
    s_stop ();
}
END_TEST

START_TEST (test_only_allowed_keys_come_in_over_tcp)
{
    s_start ("");
    gpb_client_t *alice = s_client ("alice"), *eve = s_client ("eve"), *nobody = s_client (NULL);
    s_expect (alice, gpb_test_sleep (0), GPB_OK, "");
    s_expect (eve, gpb_test_sleep (0), GPB_UNAUTHENTICATED, "does not know this client's key");
    s_expect (nobody, gpb_test_sleep (0), GPB_UNAUTHENTICATED, "with keys (CURVE)");
    gpb_client_destroy (&eve);
    gpb_client_destroy (&nobody);

    //  One who takes another for the node is not answered, and tells nobody anything.
    gpb_certificate_t *own = gpb_certificate_load (gpb_test_path ("alice"), &error);
    gpb_certificate_t *wrong = gpb_certificate_load_public (gpb_test_path ("eve"), &error);
    gpb_client_t *misled = gpb_client_new_curve (s_node.endpoints [0], own, wrong, &error);
    gpb_request_t *request = gpb_test_sleep (0);
    gpb_request_set_timeout (request, 300);
    s_expect (misled, request, GPB_DEADLINE_EXCEEDED, "no connection to the node");
    gpb_client_destroy (&misled);
    ck_assert_ptr_null (gpb_client_new_curve ("ipc:///tmp/x", own, wrong, &error));
    ck_assert_refused (error.status, GPB_INVALID_ARGUMENT, "keys are for tcp");
    ck_assert_ptr_null (gpb_client_new_curve (s_node.endpoints [0], wrong, own, &error));
    ck_assert_refused (error.status, GPB_FAILED_PRECONDITION, "no secret key");
    gpb_certificate_destroy (&own);
    gpb_certificate_destroy (&wrong);
    gpb_client_destroy (&alice);
    s_stop ();
}
END_TEST

START_TEST (test_ipc_is_for_its_owner_without_keys)
{
    umask (0);
    s_start ("");
    struct stat about;
    ck_assert_int_eq (stat (gpb_test_path ("socket"), &about), 0);
    ck_assert_uint_eq (about.st_mode & 07777, 0600);
    gpb_client_t *client = s_client_at (s_node.endpoints [1], NULL);
    s_expect (client, gpb_test_sleep (0), GPB_OK, "");
    gpb_client_destroy (&client);
    gpb_test_node_stop (&s_node);
    ck_assert_int_ne (stat (gpb_test_path ("socket"), &about), 0);
    gpb_test_keys_clear ();
}
END_TEST

START_TEST (test_keys_are_taken_in_and_out_without_a_restart)
{
    s_start ("");
    gpb_client_t *alice = s_client ("alice"), *bob = s_client ("bob");
    s_expect (alice, gpb_test_sleep (0), GPB_OK, "");
    s_expect (bob, gpb_test_sleep (0), GPB_OK, "");
    gpb_request_t *request = gpb_test_sleep (20000000);
    ck_assert_uint_ne (gpb_client_send (alice, &request, &error), 0);
    uint64_t start_ns = gpb_clock_ns ();
    gpb_test_disallow ("alice");

    //  Its connection is closed, and no new one comes about.
    gpb_reply_t *reply = gpb_client_recv (alice, GPB_TEST_PATIENCE_MS);
    ck_assert_ptr_nonnull (reply);
    ck_assert_int_eq (gpb_reply_status (reply), GPB_UNAVAILABLE);
    gpb_reply_destroy (&reply);
    ck_assert_uint_lt (gpb_clock_ns () - start_ns, 10 * GPB_NS_PER_S);
    s_expect (alice, gpb_request_health (), GPB_UNAUTHENTICATED, "does not know");
    s_expect (bob, gpb_request_health (), GPB_OK, "");

    gpb_client_t *eve = s_client ("eve");
    s_expect (eve, gpb_request_health (), GPB_UNAUTHENTICATED, "does not know");
    gpb_test_allow ("eve");
    uint64_t end_ns = gpb_clock_ns () + GPB_TEST_PATIENCE_MS * GPB_NS_PER_MS;
    gpb_status_t status = GPB_UNAUTHENTICATED;
    while (status != GPB_OK && gpb_clock_ns () < end_ns) {
        reply = gpb_test_call (eve, gpb_request_health ());
        status = gpb_reply_status (reply);
        gpb_reply_destroy (&reply);
    }
    ck_assert_int_eq (status, GPB_OK);
    gpb_client_destroy (&alice);
    gpb_client_destroy (&bob);
    gpb_client_destroy (&eve);
    s_stop ();
}
END_TEST

START_TEST (test_a_composed_node_holds_the_same_rules)
{
    s_make_keys ();
    zactor_t *auth = zactor_new (zauth, NULL);    //  an application's own
    gpb_test_node_compose (&s_node, "inproc://composed", "backends", "fake", "curve",
                           gpb_test_path ("node"), "allowed_keys", gpb_test_allowed (), "limits",
                           "-:kernels=none alice:kernels=sleep");
    char *status = NULL, *text = NULL;
    zstr_sendx (s_node.actor, "BIND", "tcp://127.0.0.1:*", NULL);
    ck_assert_int_eq (zstr_recvx (s_node.actor, &status, &text, NULL), 2);
    ck_assert_str_eq (status, "OK");
    gpb_client_t *alice = s_client_at (text, "alice"), *eve = s_client_at (text, "eve");
    gpb_client_t *inner = s_client (NULL);
    s_expect (alice, gpb_test_sleep (0), GPB_OK, "");
    s_expect (eve, gpb_test_sleep (0), GPB_UNAUTHENTICATED, "does not know");
    s_expect (inner, gpb_test_sleep (0), GPB_PERMISSION_DENIED, "a connection without a key");
    s_expect (inner, gpb_request_health (), GPB_OK, "");
    gpb_client_destroy (&alice);
    gpb_client_destroy (&eve);
    gpb_client_destroy (&inner);
    zstr_free (&status);
    zstr_free (&text);
    gpb_test_node_stop (&s_node);
    zactor_destroy (&auth);

    gpb_test_node_compose (&s_node, "inproc://plain", "backends", "fake");
    zstr_sendx (s_node.actor, "BIND", "tcp://0.0.0.0:*", NULL);
    ck_assert_int_eq (zstr_recvx (s_node.actor, &status, &text, NULL), 2);
    ck_assert_str_eq (status, "FAILED_PRECONDITION");
    zstr_free (&status);
    zstr_free (&text);
    s_stop ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Whose key

//  Reads from a peer until this is there.
static void
s_read_until (int peer, const char *wanted)
{
    char answer [4096];
    size_t used = 0;
    uint64_t end_ns = gpb_clock_ns () + GPB_TEST_PATIENCE_MS * GPB_NS_PER_MS;
    while (!memmem (answer, used, wanted, strlen (wanted))) {
        ck_assert_msg (gpb_clock_ns () < end_ns, "\"%s\" does not come", wanted);
        struct pollfd item = { peer, POLLIN, 0 };
        if (poll (&item, 1, 100) < 1)
            continue;
        ssize_t count = recv (peer, answer + used, sizeof answer - used, 0);
        ck_assert_msg (count > 0, "closed before \"%s\"", wanted);
        used += (size_t) count;
    }
}

//  A ZMTP 3.0 greeting without security, and a READY of a DEALER that has this User-Id. Its size.
static size_t
s_greet (char *bytes, const char *user)
{
    static const char socket_type [] = "\x0bSocket-Type\x00\x00\x00\x06"
                                       "DEALER";
    static const char user_id [] = "\x07User-Id\x00\x00\x00\x28";
    memset (bytes, 0, 64);
    bytes [0] = (char) 0xff;
    bytes [9] = 0x7f;
    bytes [10] = 3;
    memcpy (bytes + 12, "NULL", 4);
    char *at = bytes + 64;
    *at++ = 4;
    *at++ = (char) (6 + sizeof socket_type - 1 + sizeof user_id - 1 + 40);
    memcpy (at, "\x05READY", 6);
    at += 6;
    memcpy (at, socket_type, sizeof socket_type - 1);
    at += sizeof socket_type - 1;
    memcpy (at, user_id, sizeof user_id - 1);
    at += sizeof user_id - 1;
    memcpy (at, user, 40);
    return (size_t) (at + 40 - bytes);
}

//  One that came in without a key says in its ZMTP metadata that it has alice's.
START_TEST (test_nobody_can_claim_a_key_in_its_metadata)
{
    s_start ("-:kernels=none alice:kernels=sleep");
    gpb_certificate_t *alice = gpb_certificate_load_public (gpb_test_path ("alice"), &error);
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    snprintf (address.sun_path, sizeof address.sun_path, "%s", gpb_test_path ("socket"));
    int peer = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq (connect (peer, (struct sockaddr *) &address, sizeof address), 0);
    char bytes [256];
    size_t size = s_greet (bytes, gpb_certificate_public_key (alice));
    ck_assert_int_eq (send (peer, bytes, size, 0), (ssize_t) size);
    s_read_until (peer, "READY");

    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Execute execute = GPB__V1__EXECUTE__INIT;
    char kernel [] = "sleep";
    request.version = 1;
    request.id = 77;
    request.body_case = GPB__V1__REQUEST__BODY_EXECUTE;
    request.execute = &execute;
    execute.kernel = kernel;
    memcpy (bytes, "\x01\x00\x00", 3);    //  the empty frame, and the header's flags
    bytes [3] = (char) gpb__v1__request__pack (&request, (uint8_t *) bytes + 4);
    size = 4 + (size_t) bytes [3];
    ck_assert_int_eq (send (peer, bytes, size, 0), (ssize_t) size);
    s_read_until (peer, "a connection without a key may not call");
    close (peer);
    gpb_certificate_destroy (&alice);
    s_stop ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  What a name may do

START_TEST (test_kernels_and_registering_are_as_the_name_may)
{
    s_start ("alice:kernels=slee?,register=false *:kernels=add");
    gpb_client_t *alice = s_client ("alice"), *bob = s_client ("bob");
    gpb_client_t *nobody = s_client_at (s_node.endpoints [1], NULL);
    static const char definition [] = "id = \"nothing\";\n";
    s_expect (alice, gpb_test_sleep (0), GPB_OK, "");
    s_expect (alice, gpb_request_execute ("add"), GPB_PERMISSION_DENIED, "the key alice");
    s_expect (alice, gpb_request_register (definition, " ", false), GPB_PERMISSION_DENIED,
              "register=false");
    s_expect (bob, gpb_test_sleep (0), GPB_PERMISSION_DENIED, "the key bob");
    s_expect (bob, gpb_request_execute ("add"), GPB_INVALID_ARGUMENT, "");
    s_expect (bob, gpb_request_register (definition, " ", false), GPB_INVALID_ARGUMENT, "");
    s_expect (nobody, gpb_test_sleep (0), GPB_OK, "");
    gpb_client_destroy (&alice);
    gpb_client_destroy (&bob);
    gpb_client_destroy (&nobody);
    s_stop ();
}
END_TEST

START_TEST (test_requests_in_flight_are_those_of_all_connections_of_a_name)
{
    s_start ("alice:in_flight=2");
    gpb_client_t *first = s_client ("alice"), *second = s_client ("alice"), *bob = s_client ("bob");
    s_expect (first, gpb_request_health (), GPB_OK, "");
    s_expect (second, gpb_request_health (), GPB_OK, "");
    gpb_request_t *request = gpb_test_sleep (300000);
    ck_assert_uint_ne (gpb_client_send (first, &request, &error), 0);
    request = gpb_test_sleep (300000);
    ck_assert_uint_ne (gpb_client_send (second, &request, &error), 0);
    gpb_test_wait_figure (bob, gpb_test_in_flight, 2);
    s_expect (first, gpb_test_sleep (0), GPB_PERMISSION_DENIED, "may have 2 requests in flight");
    s_expect (second, gpb_test_sleep (0), GPB_PERMISSION_DENIED, "and has 2");
    s_expect (bob, gpb_test_sleep (0), GPB_OK, "");

    //  One that leaves takes its connection along, and not what a device still does for it.
    gpb_client_destroy (&second);
    gpb_reply_t *reply = gpb_client_recv (first, GPB_TEST_PATIENCE_MS);
    ck_assert_int_eq (gpb_reply_status (reply), GPB_OK);
    gpb_reply_destroy (&reply);
    gpb_test_wait_figure (bob, gpb_test_in_flight, 0);
    for (int count = 0; count < 5; count++)
        s_expect (first, gpb_test_sleep (0), GPB_OK, "");
    gpb_client_destroy (&first);
    gpb_client_destroy (&bob);
    s_stop ();
}
END_TEST

START_TEST (test_a_flood_over_many_connections_of_a_key_leaves_room_to_others)
{
    enum { SLEEP_US = 2000000 };
    s_start_with ("", "max_queued_requests=16");
    gpb_client_t *first = s_client ("alice"), *second = s_client ("alice"), *bob = s_client ("bob");
    s_expect (second, gpb_request_health (), GPB_OK, "");
    s_expect (bob, gpb_request_health (), GPB_OK, "");
    for (int count = 0; count < 15; count++) {
        gpb_request_t *request = gpb_test_sleep (SLEEP_US);
        ck_assert_uint_ne (gpb_client_send (first, &request, &error), 0);
    }
    gpb_test_wait_figure (bob, gpb_test_queue_depth, 8);
    s_expect (second, gpb_test_sleep (0), GPB_RESOURCE_EXHAUSTED,
              "8 requests wait on this node, 8 of them of this key");
    gpb_request_t *request = gpb_test_sleep (0);
    ck_assert_uint_ne (gpb_client_send (bob, &request, &error), 0);
    gpb_test_wait_figure (bob, gpb_test_queue_depth, 9);
    gpb_client_destroy (&first);
    gpb_client_destroy (&second);
    gpb_client_destroy (&bob);
    s_stop ();
}
END_TEST

static gpb_request_t *
s_rent (uint64_t size)
{
    return gpb_request_rent (size, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE);
}

START_TEST (test_rented_bytes_are_those_of_all_connections_of_a_name)
{
    s_start ("alice:rent_size=1000000");
    gpb_client_t *first = s_client ("alice"), *second = s_client ("alice"), *bob = s_client ("bob");
    uint64_t handle = gpb_test_rent (first, 600000, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE, -1);
    gpb_test_rent (second, 400000, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE, -1);
    s_expect (second, s_rent (1), GPB_PERMISSION_DENIED, "and holds 1000000: 1 more");
    s_expect (first, gpb_request_reserve (1, 0), GPB_PERMISSION_DENIED, "holds 1000000");
    s_expect (bob, s_rent (1000001), GPB_OK, "");
    s_expect (first, gpb_request_release (handle), GPB_OK, "");
    s_expect (second, s_rent (600001), GPB_PERMISSION_DENIED, "holds 400000");
    s_expect (second, s_rent (600000), GPB_OK, "");

    //  What a connection has had is free again when it has ended.
    gpb_client_destroy (&second);
    uint64_t end_ns = gpb_clock_ns () + GPB_TEST_PATIENCE_MS * GPB_NS_PER_MS;
    gpb_status_t status = GPB_PERMISSION_DENIED;
    while (status == GPB_PERMISSION_DENIED && gpb_clock_ns () < end_ns) {
        gpb_reply_t *reply = gpb_test_call (first, s_rent (1000000));
        status = gpb_reply_status (reply);
        gpb_reply_destroy (&reply);
    }
    ck_assert_int_eq (status, GPB_OK);

    //  A rent that fails is not held against anybody.
    s_expect (first, s_rent (1), GPB_PERMISSION_DENIED, "1 more");
    gpb_client_destroy (&first);
    gpb_client_destroy (&bob);
    s_stop ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  What is printed

//  Runs `gpb` with these arguments; its output is added to the file.
static void
s_gpb (const char *arguments)
{
    char line [4096];
    snprintf (line, sizeof line, "GPB_NODE=%s '%s/gpb' %s >>'%s' 2>&1", s_node.endpoints [0],
              getenv ("GPB_BUILD_DIR"), arguments, gpb_test_path ("output"));
    ck_assert_int_ne (system (line), -1);
}

static void
s_add_command_line (int pid)
{
    char path [64], text [4096], *output = strdup (gpb_test_path ("output"));
    snprintf (path, sizeof path, "/proc/%d/cmdline", pid);
    FILE *from = fopen (path, "r"), *to = fopen (output, "a");
    ck_assert (from && to);
    size_t size = fread (text, 1, sizeof text, from);
    ck_assert_uint_gt (size, 0);
    ck_assert_uint_eq (fwrite (text, 1, size, to), size);
    fclose (from);
    fclose (to);
    free (output);
}

//  The two keys of a certificate's file.
static void
s_read_keys (const char *name, char keys [2][41])
{
    char line [256], secret [64];
    size_t count = 0;
    snprintf (secret, sizeof secret, "%s_secret", name);
    FILE *file = fopen (gpb_test_path (secret), "r");
    ck_assert_ptr_nonnull (file);
    while (fgets (line, sizeof line, file)) {
        const char *quote = strstr (line, "-key = \"");
        if (quote)
            ck_assert_int_eq (sscanf (quote + 8, "%40s", keys [count++]), 1);
    }
    fclose (file);
    ck_assert_uint_eq (count, 2);
}

START_TEST (test_no_key_is_ever_printed)
{
    char log [256], tool [1024];
    s_make_keys ();
    snprintf (log, sizeof log, "log_target=%s", gpb_test_path ("output"));
    gpb_test_node_start (&s_node, "--backends", "fake", "--curve", gpb_test_path ("node"),
                         "--allowed-keys", gpb_test_allowed (), "--set", log, "--verbose", "--set",
                         "limits=alice:in_flight=0");
    s_add_command_line (s_node.pid);
    for (size_t index = 1; index < 4; index++) {
        static const char *const commands [] = { "stats", "stats --json", "ping", "kernels",
                                                 "--verbose" };
        for (size_t command = 0; command < 5; command++) {
            snprintf (tool, sizeof tool, "--curve '%s' --node-key '%s' --timeout 300 %s",
                      gpb_test_path (s_names [index]), gpb_test_path ("node"), commands [command]);
            s_gpb (tool);
        }
        //  The wrong file in the wrong place, and a key where a file is wanted.
        snprintf (tool, sizeof tool, "--curve '%s' --node-key '%s_secret' --timeout 300 ping",
                  gpb_test_path ("node"), gpb_test_path (s_names [index]));
        s_gpb (tool);
        snprintf (tool, sizeof tool, "keygen '%s'", gpb_test_path (s_names [index]));
        s_gpb (tool);
    }
    snprintf (tool, sizeof tool, "keygen '%s'", gpb_test_path ("fresh"));
    s_gpb (tool);
    gpb_test_file (gpb_test_path ("allowed/bad"), "public-key = \"no\"\n");
    gpb_test_disallow ("bob");
    gpb_client_t *alice = s_client ("alice");
    s_expect (alice, gpb_test_sleep (0), GPB_PERMISSION_DENIED, "the key alice");
    uint64_t end_ns = gpb_clock_ns () + GPB_TEST_PATIENCE_MS * GPB_NS_PER_MS;
    gpb_client_t *bob = s_client ("bob");
    gpb_status_t status = GPB_OK;
    while (status != GPB_UNAUTHENTICATED && gpb_clock_ns () < end_ns) {
        gpb_reply_t *reply = gpb_test_call (bob, gpb_request_health ());
        status = gpb_reply_status (reply);
        gpb_reply_destroy (&reply);
    }
    ck_assert_int_eq (status, GPB_UNAUTHENTICATED);
    gpb_client_destroy (&bob);
    gpb_client_destroy (&alice);
    gpb_test_node_stop (&s_node);

    char *output = calloc (1, 1 << 20);
    FILE *file = fopen (gpb_test_path ("output"), "r");
    size_t size = fread (output, 1, (1 << 20) - 1, file);
    fclose (file);
    ck_assert_uint_gt (size, 2000);
    ck_assert_ptr_nonnull (memmem (output, size, "bad:1: a CURVE key", 18));    //  it was all there
    ck_assert_ptr_nonnull (memmem (output, size, "connections were refused", 24));
    ck_assert_ptr_nonnull (memmem (output, size, "is there already", 16));
    static const char *const names [] = { "node", "alice", "bob", "eve", "fresh" };
    for (size_t index = 0; index < 5; index++) {
        char keys [2][41];
        s_read_keys (names [index], keys);
        for (size_t key = 0; key < 2; key++)
            ck_assert_msg (!memmem (output, size, keys [key], 40), "a key of %s was printed",
                           names [index]);
    }
    free (output);
    gpb_test_keys_clear ();
}
END_TEST

GPB_TEST_MAIN ("security", 60, test_a_node_does_not_start_open_to_other_machines,
               test_an_insecure_node_says_so, test_only_allowed_keys_come_in_over_tcp,
               test_ipc_is_for_its_owner_without_keys,
               test_keys_are_taken_in_and_out_without_a_restart,
               test_a_composed_node_holds_the_same_rules,
               test_nobody_can_claim_a_key_in_its_metadata,
               test_kernels_and_registering_are_as_the_name_may,
               test_requests_in_flight_are_those_of_all_connections_of_a_name,
               test_a_flood_over_many_connections_of_a_key_leaves_room_to_others,
               test_rented_bytes_are_those_of_all_connections_of_a_name,
               test_no_key_is_ever_printed)
