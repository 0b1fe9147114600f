//  test_strangers - connections of those who are not clients, and what other servers die of
//
//  Thousands of connections that say nothing, half a greeting, or garbage; lengths that are lies;
//  a node that freezes, or is another when it comes back; where it listens, and how. A good client
//  works on beside all of it. What is random has a seed.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_clock.h"
#include "gpb_test_keys.h"
#include "gpb_test_node.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define SEED 20261124
#define CONNECTIONS 10000
#define BATCH 1000    //  fewer where there are not so many descriptors
#define HANDSHAKE "handshake_ms=400"
#define GROWTH_MAX_KIB (32 * 1024)    //  of the node, from the first batch to the last

static gpb_error_t error;
static gpb_test_node_t s_node;

//  With keys, or NULL: without.
static gpb_client_t *
s_client (const char *name)
{
    gpb_client_t *client = NULL;
    if (name) {
        gpb_certificate_t *own = gpb_certificate_load (gpb_test_path (name), &error);
        gpb_certificate_t *node = gpb_certificate_load_public (gpb_test_path ("node"), &error);
        client = gpb_client_new_curve (s_node.endpoints [0], own, node, &error);
        gpb_certificate_destroy (&own);
        gpb_certificate_destroy (&node);
    }
    else
        client = gpb_client_new (s_node.endpoints [0], &error);
    ck_assert_msg (client != NULL, "%s", error.text);
    return client;
}

//  A node with keys at this endpoint, and this key of its configuration set.
static void
s_start (const char *endpoint, const char *set)
{
    gpb_test_use_fake (1, 16 << 20);
    if (access (gpb_test_path ("node"), F_OK) != 0) {
        gpb_test_key ("node");
        gpb_test_key ("alice");
        gpb_test_allow ("alice");
    }
    char log [256];
    snprintf (log, sizeof log, "log_target=%s", gpb_test_path ("log"));
    gpb_test_node_start (&s_node, "--backends", "fake", "--curve", gpb_test_path ("node"),
                         "--allowed-keys", gpb_test_allowed (), "--set", set, "--set", log,
                         "--bind", endpoint);
}

static void
s_check_serves (gpb_client_t *client)
{
    gpb_reply_t *reply = gpb_test_call_ok (client, gpb_test_sleep (0));
    gpb_reply_destroy (&reply);
}

static uint64_t
s_open_connections (const Gpb__V1__StatsReply *stats)
{
    return stats->open_connections;
}

static uint64_t
s_refused_connections (const Gpb__V1__StatsReply *stats)
{
    return stats->refused_connections;
}

//  A TCP connection to the node.
static int
s_connect (void)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    address.sin_addr.s_addr = htonl (INADDR_LOOPBACK);
    address.sin_port = htons ((uint16_t) atoi (strrchr (s_node.endpoints [0], ':') + 1));
    int peer = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge (peer, 0);
    ck_assert_int_eq (connect (peer, (struct sockaddr *) &address, sizeof address), 0);
    return peer;
}

//  Reads until the node closes the connection.
static void
s_expect_closed (int peer)
{
    uint64_t end_ns = gpb_clock_ns () + GPB_TEST_PATIENCE_MS * GPB_NS_PER_MS;
    while (true) {
        char bytes [4096];
        struct pollfd item = { peer, POLLIN, 0 };
        ck_assert_msg (gpb_clock_ns () < end_ns, "the node keeps the connection");
        if (poll (&item, 1, 100) == 1 && recv (peer, bytes, sizeof bytes, 0) <= 0)
            break;
    }
    close (peer);
}

//  Bytes of a greeting that is right: of one who has no key, or says that it has one.
static void
s_greeting (char greeting [64], const char *mechanism)
{
    memset (greeting, 0, 64);
    greeting [0] = (char) 0xff;
    greeting [9] = 0x7f;
    greeting [10] = 3;
    memcpy (greeting + 12, mechanism, strlen (mechanism));
}

//  Says nothing, half a greeting, or garbage.
static void
s_say_nonsense (int peer, int kind)
{
    char bytes [400];
    size_t size = 0;
    if (kind == 1) {
        s_greeting (bytes, rand () % 2 ? "CURVE" : "NULL");
        size = 1 + (size_t) rand () % 64;
    }
    else if (kind == 2)
        for (size_t wanted = 1 + (size_t) rand () % sizeof bytes; size < wanted; size++)
            bytes [size] = (char) rand ();
    if (size)
        send (peer, bytes, size, MSG_NOSIGNAL);    //  it may be closed already
}

//  A number of /proc/PID/status.
static long
s_status (pid_t pid, const char *name)
{
    char path [64], line [256];
    long value = -1;
    snprintf (path, sizeof path, "/proc/%d/status", (int) pid);
    FILE *file = fopen (path, "r");
    ck_assert_ptr_nonnull (file);
    while (fgets (line, sizeof line, file))
        if (strncmp (line, name, strlen (name)) == 0)
            value = atol (line + strlen (name) + 1);
    fclose (file);
    ck_assert_int_ge (value, 0);
    return value;
}

static size_t
s_batch_size (void)
{
    struct rlimit limit;
    ck_assert_int_eq (getrlimit (RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    setrlimit (RLIMIT_NOFILE, &limit);
    return limit.rlim_cur > 2 * BATCH ? BATCH : limit.rlim_cur / 2 - 100;
}

START_TEST (test_ten_thousand_strangers_cost_no_memory_and_close)
{
    //  ASan keeps what was freed from being used again: 256 MiB of it where nobody says less.
    gpb_test_sanitizer_option ("ASAN_OPTIONS", "quarantine_size_mb=4");
    s_start (GPB_TEST_ANY_PORT, HANDSHAKE);
    gpb_client_t *good = s_client ("alice");
    s_check_serves (good);
    srand (SEED);
    int *peers = calloc (BATCH, sizeof *peers);
    size_t batch = s_batch_size ();
    long first_kib = 0, last_kib = 0;
    for (size_t done = 0; done < CONNECTIONS; done += batch) {
        for (size_t index = 0; index < batch; index++) {
            peers [index] = s_connect ();
            s_say_nonsense (peers [index], rand () % 3);
            if (index % 100 == 0)
                s_check_serves (good);
        }
        for (size_t index = 0; index < batch; index++)
            s_expect_closed (peers [index]);
        s_check_serves (good);
        last_kib = s_status (s_node.pid, "VmRSS:");
        first_kib = first_kib ? first_kib : last_kib;
    }
    ck_assert_msg (last_kib - first_kib < GROWTH_MAX_KIB, "the node grew from %ld to %ld KiB",
                   first_kib, last_kib);
    gpb_test_wait_figure (good, s_open_connections, 1);
    ck_assert_uint_eq (gpb_test_figure (good, gpb_test_connections), 1);
    free (peers);
    gpb_client_destroy (&good);
    gpb_test_node_stop (&s_node);
    gpb_test_keys_clear ();
}
END_TEST

START_TEST (test_more_connections_than_there_may_be_are_closed_and_said_so)
{
    enum { BOUND = 50, PEERS = 200 };
    s_start (GPB_TEST_ANY_PORT, "max_connections=50");
    gpb_client_t *good = s_client ("alice");
    s_check_serves (good);
    int peers [PEERS];
    for (size_t index = 0; index < PEERS; index++)
        peers [index] = s_connect ();
    gpb_test_wait_figure (good, s_refused_connections, PEERS - BOUND + 1);
    s_check_serves (good);
    gpb_test_wait_figure (good, s_open_connections, BOUND);
    size_t closed = 0;
    for (size_t index = 0; index < PEERS; index++) {
        char bytes [64];    //  libzmq greets at once
        ssize_t size = 1;
        while (size > 0)
            size = recv (peers [index], bytes, sizeof bytes, MSG_DONTWAIT);
        closed += size == 0;
        close (peers [index]);
    }
    ck_assert_uint_eq (closed, PEERS - BOUND + 1);

    //  There is room again.
    gpb_test_wait_figure (good, s_open_connections, 1);
    gpb_client_t *next = s_client ("alice");
    s_check_serves (next);
    gpb_client_destroy (&next);
    gpb_client_destroy (&good);
    gpb_test_node_stop (&s_node);
    char text [8192] = "";
    FILE *file = fopen (gpb_test_path ("log"), "r");
    ck_assert_uint_gt (fread (text, 1, sizeof text - 1, file), 0);
    fclose (file);
    ck_assert_ptr_nonnull (strstr (text, "max_connections: 50 are open, which is the bound"));
    gpb_test_keys_clear ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  What other servers die of

//  What follows a greeting: a frame's flags and length, and less than that behind it.
static const struct {
    size_t size;
    char bytes [64];
} s_lies [] = {
    { 9, "\x02\xff\xff\xff\xff\xff\xff\xff\xff" },      //  2^64 - 1 bytes
    { 9, "\x02\x7f\xff\xff\xff\xff\xff\xff\xff" },      //  2^63 - 1
    { 9, "\x06\x7f\xff\xff\xff\xff\xff\xff\xff" },      //  of a command
    { 9, "\x02\x00\x00\x00\x00\x80\x00\x00\x00" },      //  2 GiB, of the 1 that are allowed
    { 9, "\x02\x00\x00\x00\x00\x00\x00\x00\x00" },      //  none
    { 2, "\x04\x00" },                                  //  a command without a name
    { 3, "\x04\x01\xff" },                              //  whose name is longer than it is
    { 8, "\x04\x06\x05READY" },                         //  without what must be in it
    { 12, "\x04\x0a\x05READY\xff\xff\xff\xff\xff" },    //  with a property longer than it is
    { 10, "\x04\x08\x05HELLO\x01\x00" },                //  CURVE's first, cut short
    { 64, "\x04\xc8\x05HELLO" },    //  as long as it should be, and nothing right
    { 1, "\xff" },
};

START_TEST (test_lengths_that_are_lies_close_their_connection_alone)
{
    s_start (GPB_TEST_ANY_PORT, HANDSHAKE);
    gpb_client_t *good = s_client ("alice");
    static const char *const mechanisms [] = { "CURVE", "NULL", "PLAIN", "GSSAPI", "" };
    for (size_t mechanism = 0; mechanism < 5; mechanism++)
        for (size_t index = 0; index < sizeof s_lies / sizeof s_lies [0]; index++) {
            char bytes [64 + 256] = "";
            s_greeting (bytes, mechanisms [mechanism]);
            memcpy (bytes + 64, s_lies [index].bytes, s_lies [index].size);
            int peer = s_connect ();
            send (peer, bytes, 64 + s_lies [index].size, MSG_NOSIGNAL);
            s_expect_closed (peer);
        }
    s_check_serves (good);
    gpb_test_wait_figure (good, s_open_connections, 1);
    gpb_client_destroy (&good);
    gpb_test_node_stop (&s_node);

    //  The same at a node that asks for no keys, where they are as near as can be.
    gpb_test_node_start (&s_node, "--backends", "fake", "--set", HANDSHAKE);
    good = s_client (NULL);
    for (size_t index = 0; index < 4; index++) {
        char bytes [256] = "";
        s_greeting (bytes, "NULL");
        memcpy (bytes + 64,
                "\x04\x1c\x05READY\x0bSocket-Type\x00\x00\x00\x06"
                "DEALER",
                30);
        int peer = s_connect ();
        ck_assert_int_eq (send (peer, bytes, 64 + 30, MSG_NOSIGNAL), 94);
        uint64_t end_ns = gpb_clock_ns () + GPB_TEST_PATIENCE_MS * GPB_NS_PER_MS;
        size_t used = 0;
        while (!memmem (bytes, used, "READY", 5)) {
            ck_assert (gpb_clock_ns () < end_ns);
            ssize_t count = recv (peer, bytes + used, sizeof bytes - used, 0);
            ck_assert_int_gt (count, 0);
            used += (size_t) count;
        }
        send (peer, s_lies [index].bytes, s_lies [index].size, MSG_NOSIGNAL);
        s_expect_closed (peer);
    }
    s_check_serves (good);
    gpb_client_destroy (&good);
    gpb_test_node_stop (&s_node);
    gpb_test_keys_clear ();
}
END_TEST

START_TEST (test_a_frozen_node_keeps_nobody_waiting_for_ever)
{
    s_start (GPB_TEST_ANY_PORT, HANDSHAKE);
    gpb_client_t *client = s_client ("alice");
    s_check_serves (client);
    ck_assert_int_eq (kill (s_node.pid, SIGSTOP), 0);
    gpb_client_t *late = s_client ("alice");    //  whose handshake nobody answers
    gpb_client_t *const clients [] = { client, late };
    for (size_t index = 0; index < 2; index++) {
        gpb_request_t *request = gpb_test_sleep (0);
        gpb_request_set_timeout (request, 300);
        gpb_reply_t *reply = gpb_test_call (clients [index], request);
        ck_assert_int_eq (gpb_reply_status (reply), GPB_DEADLINE_EXCEEDED);
        gpb_reply_destroy (&reply);
    }
    ck_assert_int_eq (kill (s_node.pid, SIGCONT), 0);
    s_check_serves (client);
    s_check_serves (late);
    gpb_client_destroy (&client);
    gpb_client_destroy (&late);
    gpb_test_node_stop (&s_node);
    gpb_test_keys_clear ();
}
END_TEST

START_TEST (test_a_node_that_was_killed_is_found_again_by_its_key)
{
    s_start (GPB_TEST_ANY_PORT, HANDSHAKE);
    char endpoint [256];
    snprintf (endpoint, sizeof endpoint, "%s", s_node.endpoints [0]);
    gpb_client_t *client = s_client ("alice");
    s_check_serves (client);
    gpb_test_node_kill (&s_node);
    s_start (endpoint, HANDSHAKE);
    gpb_client_set_retries (client, 5);
    gpb_request_t *request = gpb_test_sleep (0);
    gpb_request_set_idempotent (request);
    gpb_reply_t *reply = gpb_test_call_ok (client, request);
    gpb_reply_destroy (&reply);
    gpb_test_node_kill (&s_node);

    //  Another one at its place is not taken for it.
    gpb_test_node_start (&s_node, "--backends", "fake", "--bind", endpoint);
    request = gpb_test_sleep (0);
    gpb_request_set_timeout (request, 2000);
    reply = gpb_test_call (client, request);
    ck_assert_msg (gpb_reply_status (reply) == GPB_UNAUTHENTICATED
                       || gpb_reply_status (reply) == GPB_UNAVAILABLE,
                   "%s", gpb_status_name (gpb_reply_status (reply)));
    gpb_reply_destroy (&reply);
    gpb_client_destroy (&client);
    gpb_test_node_stop (&s_node);
    gpb_test_keys_clear ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Where it listens, and how

//  Whether a process has this socket open.
static bool
s_has_socket (pid_t pid, unsigned long inode)
{
    char path [64], link [64], wanted [64];
    bool found = false;
    snprintf (path, sizeof path, "/proc/%d/fd", (int) pid);
    snprintf (wanted, sizeof wanted, "socket:[%lu]", inode);
    DIR *folder = opendir (path);
    ck_assert_ptr_nonnull (folder);
    struct dirent *entry;
    while ((entry = readdir (folder))) {
        ssize_t size = readlinkat (dirfd (folder), entry->d_name, link, sizeof link - 1);
        link [size > 0 ? size : 0] = 0;
        found = found || strcmp (link, wanted) == 0;
    }
    closedir (folder);
    return found;
}

//  The listening TCP sockets of a process; those that are not at 127.0.0.1 are counted in
//  *others_p.
static size_t
s_listening (pid_t pid, size_t *others_p)
{
    static const char *const tables [] = { "/proc/net/tcp", "/proc/net/tcp6" };
    size_t count = 0;
    *others_p = 0;
    for (size_t table = 0; table < 2; table++) {
        char line [512], address [64];
        unsigned state = 0;
        unsigned long inode = 0;
        FILE *file = fopen (tables [table], "r");
        while (file && fgets (line, sizeof line, file))
            if (sscanf (line, " %*d: %63[0-9A-F]:%*x %*[0-9A-F]:%*x %x %*s %*s %*s %*s %*s %lu",
                        address, &state, &inode)
                    == 3
                && state == 10 && s_has_socket (pid, inode))
            {
                count++;
                *others_p += strcmp (address, "0100007F") != 0;
            }
        if (file)
            fclose (file);
    }
    return count;
}

START_TEST (test_a_node_listens_where_it_is_told_and_nowhere_else)
{
    gpb_test_use_fake (2, 16 << 20);
    gpb_test_node_start (&s_node, "--backends", "fake", "--bind", GPB_TEST_ANY_PORT, "--bind",
                         GPB_TEST_ANY_PORT);
    gpb_client_t *client = s_client (NULL);
    s_check_serves (client);
    size_t others = 0;
    ck_assert_uint_eq (s_listening (s_node.pid, &others), 2);
    ck_assert_uint_eq (others, 0);
    gpb_client_destroy (&client);
    gpb_test_node_stop (&s_node);
}
END_TEST

//  Both ends of a connection send small frames at once: Nagle's algorithm would make each wait for
//  the other's delayed acknowledgement, 40 ms a request.
START_TEST (test_small_frames_are_sent_at_once_by_both_ends)
{
    gpb_test_use_fake (1, 16 << 20);
    gpb_test_node_compose (&s_node, GPB_TEST_ANY_PORT, "backends", "fake");
    gpb_client_t *client = s_client (NULL);
    s_check_serves (client);
    in_port_t port = htons ((uint16_t) atoi (strrchr (s_node.endpoints [0], ':') + 1));
    size_t ends = 0;
    for (int fd = 3; fd < 200; fd++) {
        struct sockaddr_in own = { .sin_family = AF_UNSPEC }, peer = { .sin_family = AF_UNSPEC };
        socklen_t size = sizeof own, peer_size = sizeof peer;
        if (getsockname (fd, (struct sockaddr *) &own, &size) != 0 || own.sin_family != AF_INET
            || getpeername (fd, (struct sockaddr *) &peer, &peer_size) != 0
            || (own.sin_port != port && peer.sin_port != port))
            continue;
        int is_set = 0;
        size = sizeof is_set;
        ck_assert_int_eq (getsockopt (fd, IPPROTO_TCP, TCP_NODELAY, &is_set, &size), 0);
        ck_assert_int_ne (is_set, 0);
        ends++;
    }
    ck_assert_uint_eq (ends, 2);
    gpb_client_destroy (&client);
    gpb_test_node_stop (&s_node);
}
END_TEST

GPB_TEST_MAIN ("strangers", 60, test_ten_thousand_strangers_cost_no_memory_and_close,
               test_more_connections_than_there_may_be_are_closed_and_said_so,
               test_lengths_that_are_lies_close_their_connection_alone,
               test_a_frozen_node_keeps_nobody_waiting_for_ever,
               test_a_node_that_was_killed_is_found_again_by_its_key,
               test_a_node_listens_where_it_is_told_and_nowhere_else,
               test_small_frames_are_sent_at_once_by_both_ends)
