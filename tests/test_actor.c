//  Tests of gpb_actor, a node without devices: its commands, in any order.

#include "gpb_test.h"

#include "gpb_actor.h"
#include "gpb_alloc.h"
#include "gpb_service.h"
#include "gpb_test_node.h"
#include "gpb_test_peer.h"

#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static gpb_error_t error;
static gpb_config_t *s_config;
static zactor_t *s_node;

static void
s_open (void)
{
    s_config = gpb_config_new ();
    ck_assert_ok (gpb_config_set (s_config, "backends", "none_such", &error));
    ck_assert_ok (gpb_config_set (s_config, "name", "alone", &error));
    s_node = zactor_new (gpb_actor, s_config);
    gpb_config_destroy (&s_config);    //  it has its own
}

START_TEST (test_a_node_without_devices_serves_and_says_why)
{
    s_open ();
    ck_assert_ok (gpb_pipe_ask (s_node, (const char *[]){ "START", NULL }, &error));
    ck_assert_ok (
        gpb_pipe_ask (s_node, (const char *[]){ "START", NULL }, &error));    //  twice is once
    ck_assert_ok (
        gpb_pipe_ask (s_node, (const char *[]){ "BIND", "tcp://127.0.0.1:*", NULL }, &error));
    ck_assert_ptr_null (strchr (error.text, '*'));
    gpb_test_peer_t client;
    gpb_test_peer_open (&client, error.text);
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__ListDevices devices = GPB__V1__LIST_DEVICES__INIT;
    request.id = 1;
    request.body_case = GPB__V1__REQUEST__BODY_DEVICES;
    request.devices = &devices;
    gpb_test_peer_send (&client, &request, NULL);
    const Gpb__V1__DeviceList *list = gpb_test_peer_expect (&client, 1, GPB_OK)->devices;
    ck_assert_str_eq (list->node, "alone");
    ck_assert_uint_eq (list->n_devices, 0);
    ck_assert_uint_ge (list->n_notices, 1);
    ck_assert_ptr_nonnull (strstr (list->notices [0], "none_such"));
    gpb_test_peer_execute (&client, 2, "vector_add", -1, 0);
    gpb_test_peer_expect (&client, 2, GPB_UNAVAILABLE);
    gpb_test_peer_close (&client);
    zactor_destroy (&s_node);
}
END_TEST

START_TEST (test_a_node_binds_where_it_can_and_says_where_it_cannot)
{
    s_open ();
    ck_assert_ok (gpb_pipe_ask (s_node, (const char *[]){ "BIND", "tcp://127.0.0.1:*", NULL },
                                &error));    //  starts it
    char endpoint [GPB_ERROR_TEXT_SIZE];
    snprintf (endpoint, sizeof endpoint, "%s", error.text);
    ck_assert_refused (gpb_pipe_ask (s_node, (const char *[]){ "BIND", endpoint, NULL }, &error),
                       GPB_UNAVAILABLE, endpoint);
    ck_assert_refused (gpb_pipe_ask (s_node, (const char *[]){ "BIND", "nonsense", NULL }, &error),
                       GPB_INVALID_ARGUMENT, "nonsense");
    ck_assert_ok (gpb_pipe_ask (s_node, (const char *[]){ "BIND", "inproc://node", NULL }, &error));
    ck_assert_str_eq (error.text, "inproc://node");
    zactor_destroy (&s_node);
}
END_TEST

START_TEST (test_configuration_comes_before_the_start)
{
    s_open ();
    ck_assert_ok (
        gpb_pipe_ask (s_node, (const char *[]){ "CONFIGURE", "name", "renamed", NULL }, &error));
    ck_assert_int_eq (gpb_pipe_ask (s_node,
                                    (const char *[]){ "CONFIGURE", "nome", "renamed", NULL },
                                    &error),
                      GPB_INVALID_ARGUMENT);
    ck_assert_ok (gpb_pipe_ask (s_node, (const char *[]){ "BIND", "inproc://node", NULL }, &error));
    ck_assert_refused (gpb_pipe_ask (s_node, (const char *[]){ "CONFIGURE", "name", "late", NULL },
                                     &error),
                       GPB_FAILED_PRECONDITION, "before START");
    gpb_test_peer_t client;
    gpb_test_peer_open (&client, "inproc://node");
    gpb_test_peer_settle (&client);
    ck_assert_str_eq (client.reply->hello->node, "renamed");
    gpb_test_peer_close (&client);
    zactor_destroy (&s_node);
}
END_TEST

START_TEST (test_a_command_that_is_none_is_answered)
{
    s_open ();
    const char *const wrong [] = { "FLY", "", "START ", "$TERMS", "CONFIGURE" };
    for (size_t index = 0; index < sizeof wrong / sizeof wrong [0]; index++)
        ck_assert_refused (gpb_pipe_ask (s_node, (const char *[]){ wrong [index], NULL }, &error),
                           GPB_INVALID_ARGUMENT, "expected START, BIND ENDPOINT");
    ck_assert_refused (gpb_pipe_ask (s_node, (const char *[]){ "START", "now", NULL }, &error),
                       GPB_INVALID_ARGUMENT, "expected START");
    zactor_destroy (&s_node);    //  never started
}
END_TEST

START_TEST (test_a_node_that_gets_no_memory_says_so)
{
    bool done = false;
    s_config = gpb_config_new ();
    ck_assert_ok (gpb_config_set (s_config, "backends", "none_such", &error));
    ck_assert_ok (gpb_config_set (s_config, "kernel_path", "/nowhere", &error));
    for (int64_t after = 0; !done; after++) {
        gpb_alloc_fail (after, 0);
        s_node = zactor_new (gpb_actor, s_config);
        gpb_status_t status =
            gpb_pipe_ask (s_node, (const char *[]){ "BIND", "inproc://node", NULL }, &error);
        done = gpb_alloc_fail (-1, 0) <= (uint64_t) after;
        if (status != GPB_OK)
            ck_assert_refused (status, GPB_RESOURCE_EXHAUSTED, "memory");
        zactor_destroy (&s_node);
    }
    gpb_config_destroy (&s_config);
}
END_TEST

static void
s_ignore (int number)
{
    (void) number;
}

//  A signal of a process may be handled on any thread that takes it: here on each one but ours.
static void
s_signal_all (int number)
{
    DIR *tasks = opendir ("/proc/self/task");
    ck_assert_ptr_nonnull (tasks);
    const struct dirent *entry;
    while ((entry = readdir (tasks))) {
        pid_t thread = (pid_t) strtol (entry->d_name, NULL, 10);
        if (thread && thread != (pid_t) syscall (SYS_gettid))
            syscall (SYS_tgkill, getpid (), thread, number);
    }
    closedir (tasks);
}

START_TEST (test_an_applications_signals_stop_no_node)
{
    struct sigaction action = { .sa_handler = s_ignore };    //  without SA_RESTART
    sigaction (SIGALRM, &action, NULL);
    gpb_test_use_fake (1, (uint64_t) 64 << 20);
    gpb_test_node_t node;
    gpb_test_node_compose (&node, "inproc://signals", "backends", "fake");
    gpb_client_t *client = gpb_test_client (&node);
    for (unsigned round = 0; round < 20; round++) {
        s_signal_all (SIGALRM);
        uint64_t handle = gpb_test_rent (client, 1000, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE, -1);
        gpb_reply_t *reply = gpb_test_call_ok (client, gpb_request_release (handle));
        gpb_reply_destroy (&reply);
        ck_assert_ok (gpb_pipe_ask (node.actor, (const char *[]){ "START", NULL }, &error));
    }
    gpb_client_destroy (&client);
    gpb_test_node_stop (&node);
}
END_TEST

GPB_TEST_MAIN ("gpb_actor", 60, test_a_node_without_devices_serves_and_says_why,
               test_a_node_binds_where_it_can_and_says_where_it_cannot,
               test_configuration_comes_before_the_start, test_a_command_that_is_none_is_answered,
               test_a_node_that_gets_no_memory_says_so, test_an_applications_signals_stop_no_node)
