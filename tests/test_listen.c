//  Tests of gpb_listen: what can be reached from elsewhere is known as such, a socket's file is its
//  owner's alone whatever the umask says, and no descriptor but ours is ever shut down.

#include "gpb_listen.h"

#include "gpb_test_keys.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static gpb_error_t error;

START_TEST (test_only_what_stays_on_this_machine_is_local)
{
    static const char *const local [] = { "tcp://127.0.0.1:5670", "tcp://127.1.2.3:*",
                                          "tcp://[::1]:5670",     "tcp://lo:5670",
                                          "ipc:///tmp/x",         "inproc://x" };
    static const char *const others [] = { "tcp://*:5670",
                                           "tcp://0.0.0.0:5670",
                                           "tcp://[::]:5670",
                                           "tcp://128.0.0.1:5670",
                                           "tcp://10.0.0.1:5670",
                                           "tcp://localhost.example:5670",
                                           "tcp://:5670",
                                           "tcp://127.0.0.1.example:5670",
                                           "tcp://eth9:5670",
                                           "tcp://127.0.0.1",
                                           "tcp://",
                                           "[::ffff:10.0.0.1]:1" };
    for (size_t index = 0; index < sizeof local / sizeof local [0]; index++)
        ck_assert_msg (gpb_listen_is_local (local [index]), "%s", local [index]);
    for (size_t index = 0; index < sizeof others / sizeof others [0]; index++)
        ck_assert_msg (!gpb_listen_is_local (others [index]), "%s", others [index]);
}
END_TEST

static const char *
s_endpoint (const char *name)
{
    static char endpoint [256];
    snprintf (endpoint, sizeof endpoint, "ipc://%s", gpb_test_path (name));
    return endpoint;
}

static atomic_bool s_ends;
static atomic_uint s_wide;    //  times that the file was seen with more than its owner's rights

static void *
s_watch (void *path)
{
    struct stat about;
    while (!atomic_load (&s_ends))
        if (lstat (path, &about) == 0 && (about.st_mode & 077) != 0)
            atomic_fetch_add (&s_wide, 1);
    return NULL;
}

START_TEST (test_a_file_is_its_owners_from_the_moment_it_is_there)
{
    umask (0);
    char path [256];
    snprintf (path, sizeof path, "%s", gpb_test_path ("socket"));
    pthread_t watcher;
    ck_assert_int_eq (pthread_create (&watcher, NULL, s_watch, path), 0);
    for (int round = 0; round < 2000; round++) {
        gpb_listen_file_t file = { .path = "" };
        int fd = -1;
        ck_assert_ok (gpb_listen_ipc (s_endpoint ("socket"), &file, &fd, &error));
        struct stat about;
        ck_assert_int_eq (lstat (path, &about), 0);
        ck_assert_uint_eq (about.st_mode & 07777, 0600);
        close (fd);
        gpb_listen_remove (&file);
        ck_assert_int_ne (lstat (path, &about), 0);
    }
    atomic_store (&s_ends, true);
    pthread_join (watcher, NULL);
    ck_assert_uint_eq (atomic_load (&s_wide), 0);
    gpb_test_keys_clear ();
}
END_TEST

START_TEST (test_a_socket_in_use_stays_and_one_left_behind_goes)
{
    gpb_listen_file_t first = { .path = "" }, second = { .path = "" };
    int fd = -1, other = -1;
    ck_assert_ok (gpb_listen_ipc (s_endpoint ("socket"), &first, &fd, &error));
    ck_assert_refused (gpb_listen_ipc (s_endpoint ("socket"), &second, &other, &error),
                       GPB_UNAVAILABLE, "in use");
    close (fd);
    ck_assert_ok (gpb_listen_ipc (s_endpoint ("socket"), &second, &other, &error));

    //  The first one's file is another's by now.
    gpb_listen_remove (&first);
    ck_assert_int_eq (access (gpb_test_path ("socket"), F_OK), 0);
    gpb_listen_remove (&second);
    ck_assert_int_ne (access (gpb_test_path ("socket"), F_OK), 0);
    close (other);
    gpb_test_keys_clear ();
}
END_TEST

START_TEST (test_no_other_file_is_replaced)
{
    gpb_listen_file_t file = { .path = "" };
    int fd = -1;
    gpb_test_file (gpb_test_path ("letter"), "dear reader\n");
    ck_assert_refused (gpb_listen_ipc (s_endpoint ("letter"), &file, &fd, &error), GPB_UNAVAILABLE,
                       "in use");
    ck_assert_int_eq (access (gpb_test_path ("letter"), F_OK), 0);
    ck_assert_refused (gpb_listen_ipc (s_endpoint ("no/folder"), &file, &fd, &error),
                       GPB_INVALID_ARGUMENT, "No such file");
    ck_assert_refused (gpb_listen_ipc ("ipc://@abstract", &file, &fd, &error), GPB_INVALID_ARGUMENT,
                       "anybody on this machine");
    ck_assert_refused (gpb_listen_ipc ("ipc://", &file, &fd, &error), GPB_INVALID_ARGUMENT,
                       "a path of 1 to 107 bytes");
    gpb_test_keys_clear ();
}
END_TEST

//  A connection over tcp; its port.
static uint16_t
s_connect (int *listener, int *client, int *accepted)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    socklen_t size = sizeof address;
    address.sin_addr.s_addr = htonl (INADDR_LOOPBACK);
    *listener = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *client = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq (bind (*listener, (struct sockaddr *) &address, sizeof address), 0);
    ck_assert_int_eq (listen (*listener, 1), 0);
    ck_assert_int_eq (getsockname (*listener, (struct sockaddr *) &address, &size), 0);
    ck_assert_int_eq (connect (*client, (struct sockaddr *) &address, sizeof address), 0);
    *accepted = accept (*listener, NULL, NULL);
    ck_assert_int_ge (*accepted, 0);
    return ntohs (address.sin_port);
}

START_TEST (test_only_a_connection_of_ours_is_shut_down)
{
    int listener, client, accepted, pipes [2];
    uint16_t ports [2] = { 1 };
    ports [1] = s_connect (&listener, &client, &accepted);
    ck_assert_int_eq (pipe (pipes), 0);
    ck_assert (!gpb_listen_shutdown (listener, ports, 2, NULL, 0));
    ck_assert (!gpb_listen_shutdown (pipes [0], ports, 2, NULL, 0));
    ck_assert (!gpb_listen_shutdown (client, ports, 2, NULL, 0));
    ck_assert (!gpb_listen_shutdown (accepted, ports, 1, NULL, 0));
    ck_assert (!gpb_listen_shutdown (9999, ports, 2, NULL, 0));
    char byte = 'x';
    ck_assert_int_eq (send (client, &byte, 1, 0), 1);
    ck_assert_int_eq (recv (accepted, &byte, 1, 0), 1);
    ck_assert (gpb_listen_shutdown (accepted, ports, 2, NULL, 0));
    ck_assert_int_eq (recv (client, &byte, 1, 0), 0);
    ck_assert_int_ne (fcntl (accepted, F_GETFD), -1);    //  its owner closes it
    close (accepted);
    close (client);
    close (listener);

    gpb_listen_file_t file = { .path = "" };
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    ck_assert_ok (gpb_listen_ipc (s_endpoint ("socket"), &file, &listener, &error));
    snprintf (address.sun_path, sizeof address.sun_path, "%s", gpb_test_path ("socket"));
    client = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq (connect (client, (struct sockaddr *) &address, sizeof address), 0);
    accepted = accept (listener, NULL, NULL);
    ck_assert (!gpb_listen_shutdown (accepted, ports, 2, NULL, 0));
    ck_assert (gpb_listen_shutdown (accepted, ports, 2, &file, 1));
    ck_assert_int_eq (recv (client, &byte, 1, 0), 0);
    gpb_test_keys_clear ();
}
END_TEST

GPB_TEST_MAIN ("gpb_listen", 10, test_only_what_stays_on_this_machine_is_local,
               test_a_file_is_its_owners_from_the_moment_it_is_there,
               test_a_socket_in_use_stays_and_one_left_behind_goes, test_no_other_file_is_replaced,
               test_only_a_connection_of_ours_is_shut_down)
