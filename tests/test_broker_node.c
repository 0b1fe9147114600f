//  Tests of gpb_broker with stand-ins for its devices: kernels that come over the wire, stopping,
//  devices that are lost, commands, and memory that runs out.

#include "gpb_alloc.h"
#include "gpb_test.h"
#include "gpb_test_broker.h"

#include <string.h>

static gpb_error_t error;
static gpb_test_broker_t s_node;

//  ---------------------------------------------------------------------------------------------------------
//  Kernels over the wire

static const char s_definition [] =
    "id = \"fresh\"; source = \"fresh.c\";\n"
    "parameters = ( { name = \"n\"; direction = \"scalar\"; type = \"u32\"; } );\n"
    "global = [ \"n\" ];\n";

static void
s_register (uint64_t id, bool replace)
{
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__RegisterKernel body = GPB__V1__REGISTER_KERNEL__INIT;
    request.id = id;
    request.body_case = GPB__V1__REQUEST__BODY_REGISTER_KERNEL;
    request.register_kernel = &body;
    body.definition = (char *) s_definition;
    body.source = (char *) "KERNEL (fresh) (uint n) { (void) n; }";
    body.replace = replace;
    gpb_test_peer_send (&s_node.client, &request, NULL);
}

static void
s_expect_kernel (bool is_there)
{
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__ListKernels list = GPB__V1__LIST_KERNELS__INIT;
    request.id = 999;
    request.body_case = GPB__V1__REQUEST__BODY_KERNELS;
    request.kernels = &list;
    list.kernel = (char *) "fresh";
    gpb_test_peer_send (&s_node.client, &request, NULL);
    gpb_test_peer_expect (&s_node.client, 999, is_there ? GPB_OK : GPB_NOT_FOUND);
}

START_TEST (test_a_kernel_is_checked_by_all_devices_before_any_takes_it)
{
    gpb_test_broker_configure (&s_node, "allow_register", "true");
    gpb_test_broker_open (&s_node, 2);
    gpb_test_work_t works [GPB_TEST_DEVICES_MAX];
    s_register (1, false);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned device = 0; device < 2; device++) {
            gpb_test_executor_take (&s_node.devices [device], &works [device]);
            ck_assert_int_eq (works [device].is_check, round == 0);
        }
        gpb_test_executor_finish (&s_node.devices [0], &works [0]);
        gpb_test_broker_no_work (&s_node, &s_node.devices [0]);
        s_expect_kernel (false);
        gpb_test_executor_finish (&s_node.devices [1], &works [1]);
    }
    gpb_test_peer_expect (&s_node.client, 1, GPB_OK);
    s_expect_kernel (true);
    s_register (2, false);
    gpb_test_peer_expect (&s_node.client, 2, GPB_ALREADY_EXISTS);
    gpb_test_broker_close (&s_node);
}
END_TEST

START_TEST (test_a_kernel_that_one_device_refuses_is_on_none)
{
    gpb_test_broker_configure (&s_node, "allow_register", "true");
    gpb_test_broker_open (&s_node, 2);
    gpb_test_work_t works [GPB_TEST_DEVICES_MAX];
    s_register (1, false);
    for (unsigned device = 0; device < 2; device++)
        gpb_test_executor_take (&s_node.devices [device], &works [device]);
    gpb_test_executor_answer (&s_node.devices [1], &works [1], GPB_INVALID_ARGUMENT,
                              "fresh.c:1: no", NULL);
    gpb_test_executor_finish (&s_node.devices [0], &works [0]);
    ck_assert_str_eq (gpb_test_peer_expect (&s_node.client, 1, GPB_INVALID_ARGUMENT)->message,
                      "fresh.c:1: no");
    s_expect_kernel (false);
    gpb_test_broker_no_work (&s_node, &s_node.devices [0]);
    gpb_test_broker_no_work (&s_node, &s_node.devices [1]);
    gpb_test_broker_close (&s_node);
}
END_TEST

START_TEST (test_a_kernel_that_is_taken_back_while_it_is_checked_is_on_none)
{
    gpb_test_broker_configure (&s_node, "allow_register", "true");
    gpb_test_broker_open (&s_node, 1);
    gpb_test_work_t work;
    s_register (1, false);
    gpb_test_executor_take (&s_node.devices [0], &work);
    gpb_test_peer_cancel (&s_node.client, 2, 1);
    gpb_test_peer_expect (&s_node.client, 1, GPB_CANCELLED);
    gpb_test_peer_expect (&s_node.client, 2, GPB_OK);
    gpb_test_executor_finish (&s_node.devices [0], &work);
    gpb_test_broker_no_work (&s_node, &s_node.devices [0]);
    s_expect_kernel (false);
    gpb_test_broker_close (&s_node);
}
END_TEST

START_TEST (test_one_of_two_that_register_the_same_kernel_at_once_is_refused)
{
    gpb_test_broker_configure (&s_node, "allow_register", "true");
    gpb_test_broker_open (&s_node, 1);
    gpb_test_work_t work;
    s_register (1, false);
    s_register (2, false);
    gpb_test_peer_expect (&s_node.client, 2, GPB_ALREADY_EXISTS);
    for (unsigned round = 0; round < 2; round++) {
        gpb_test_executor_take (&s_node.devices [0], &work);
        gpb_test_executor_finish (&s_node.devices [0], &work);
    }
    gpb_test_peer_expect (&s_node.client, 1, GPB_OK);
    gpb_test_broker_close (&s_node);
}
END_TEST

START_TEST (test_a_node_without_devices_takes_a_kernel_as_it_is)
{
    gpb_test_broker_configure (&s_node, "allow_register", "true");
    gpb_test_broker_start (&s_node, 0);
    s_register (1, false);
    gpb_test_peer_expect (&s_node.client, 1, GPB_OK);
    s_expect_kernel (true);
    gpb_test_broker_close (&s_node);
}
END_TEST

START_TEST (test_kernels_are_taken_only_where_the_configuration_says_so)
{
    gpb_test_broker_start (&s_node, 0);
    s_register (1, false);
    gpb_test_peer_expect (&s_node.client, 1, GPB_PERMISSION_DENIED);
    gpb_test_broker_close (&s_node);
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Stopping

START_TEST (test_a_broker_that_stops_finishes_what_it_has_accepted)
{
    gpb_test_broker_open (&s_node, 1);
    gpb_test_work_t works [2], work;
    gpb_test_broker_fill (&s_node, works, 0);
    gpb_test_peer_execute (&s_node.client, 3, GPB_TEST_KERNEL, -1, 0);
    gpb_test_peer_settle (&s_node.client);
    zstr_send (s_node.actor, "$TERM");
    do {    //  until it has read that
        gpb_test_peer_execute (&s_node.client, 4, "none", -1, 0);
        gpb_test_peer_recv (&s_node.client);
        ck_assert_uint_eq (s_node.client.reply->id, 4);
    } while (s_node.client.reply->status == GPB__V1__STATUS__NOT_FOUND);
    ck_assert_int_eq (s_node.client.reply->status, GPB__V1__STATUS__UNAVAILABLE);
    for (unsigned number = 0; number < 2; number++) {
        gpb_test_executor_finish (&s_node.devices [0], &works [number]);
        gpb_test_peer_expect (&s_node.client, number + 1, GPB_OK);
    }
    gpb_test_executor_take (&s_node.devices [0], &work);
    ck_assert_uint_eq (work.id, 3);
    gpb_test_executor_finish (&s_node.devices [0], &work);
    gpb_test_peer_expect (&s_node.client, 3, GPB_OK);
    gpb_test_broker_close (&s_node);
}
END_TEST

START_TEST (test_a_broker_that_stops_answers_what_no_device_answers)
{
    gpb_test_broker_configure (&s_node, "drain_ms", "50");
    gpb_test_broker_configure (&s_node, "allow_register", "true");
    gpb_test_broker_open (&s_node, 1);
    gpb_test_work_t works [2];
    gpb_test_broker_fill (&s_node, works, 0);
    gpb_test_peer_execute (&s_node.client, 3, GPB_TEST_KERNEL, -1, 0);
    s_register (4, false);
    gpb_test_peer_settle (&s_node.client);
    zactor_destroy (&s_node.actor);
    for (unsigned count = 0; count < 4; count++) {
        const Gpb__V1__Reply *reply = gpb_test_peer_recv (&s_node.client);
        ck_assert_int_eq (reply->status, GPB__V1__STATUS__UNAVAILABLE);
        ck_assert_ptr_nonnull (strstr (reply->message, "stopped"));
    }
    gpb_test_broker_close (&s_node);
}
END_TEST

//  A client that asks for what is not there, as fast as it can, until it is destroyed, and reads
//  what it is told so that it is not dropped.
static void
s_never_stop (zsock_t *pipe, void *args)
{
    (void) args;
    gpb_test_peer_t client;
    gpb_test_peer_open (&client, "inproc://broker");
    uint64_t id = 0;
    zpoller_t *poller = zpoller_new (pipe, NULL);
    gpb_test_peer_execute (&client, ++id, "none", -1, 0);
    gpb_test_peer_recv (&client);
    zsock_signal (pipe, 0);
    //  A broker that is gone takes no more, which is no fault.
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Health health = GPB__V1__HEALTH__INIT;
    request.version = GPB_PROTOCOL_VERSION;
    request.body_case = GPB__V1__REQUEST__BODY_HEALTH;
    request.health = &health;
    gpb_message_t message;
    gpb_message_init (&message);
    while (zpoller_wait (poller, 0) != pipe) {
        request.id = ++id;
        gpb_codec_pack (&request.base, &message.header, NULL);
        gpb_message_send (&message, zsock_resolve (client.dealer), NULL);
    }
    gpb_message_clear (&message);
    zpoller_destroy (&poller);
    gpb_test_peer_close (&client);
}

START_TEST (test_a_client_that_never_stops_asking_stops_no_broker)
{
    gpb_test_broker_configure (&s_node, "drain_ms", "50");
    gpb_test_broker_open (&s_node, 1);
    zactor_t *client = zactor_new (s_never_stop, NULL);
    zactor_destroy (&s_node.actor);
    zactor_destroy (&client);
    gpb_test_broker_close (&s_node);
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Devices

START_TEST (test_a_lost_device_says_why)
{
    gpb_test_broker_start (&s_node, 2);
    gpb_test_executor_open (&s_node.devices [0], "first");
    gpb_test_broker_introduce (&s_node, 0);
    ck_assert_ok (gpb_pipe_ask (s_node.actor,
                                (const char *[]){ "LOST", "1", "the driver is too old", NULL },
                                &error));
    gpb_test_peer_execute (&s_node.client, 1, GPB_TEST_KERNEL, 1, 0);
    ck_assert_ptr_nonnull (
        strstr (gpb_test_peer_expect (&s_node.client, 1, GPB_UNAVAILABLE)->message,
                "the driver is too old"));
    gpb_test_peer_execute (&s_node.client, 2, GPB_TEST_KERNEL, -1, 0);
    gpb_test_work_t work;
    gpb_test_executor_take (&s_node.devices [0], &work);
    gpb_test_executor_finish (&s_node.devices [0], &work);
    gpb_test_peer_expect (&s_node.client, 2, GPB_OK);
    gpb_test_peer_execute (&s_node.client, 3, GPB_TEST_KERNEL, 2, 0);
    gpb_test_peer_expect (&s_node.client, 3, GPB_NOT_FOUND);
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Health health = GPB__V1__HEALTH__INIT;
    request.id = 4;
    request.body_case = GPB__V1__REQUEST__BODY_HEALTH;
    request.health = &health;
    gpb_test_peer_send (&s_node.client, &request, NULL);
    const Gpb__V1__HealthReply *reply = gpb_test_peer_expect (&s_node.client, 4, GPB_OK)->health;
    ck_assert (reply->live && reply->ready);
    ck_assert_uint_eq (reply->n_devices, 2);
    ck_assert_int_eq (reply->devices [0]->state, GPB__V1__DEVICE_STATE__READY);
    ck_assert_int_eq (reply->devices [1]->state, GPB__V1__DEVICE_STATE__LOST);
    ck_assert_str_eq (reply->devices [1]->reason, "the driver is too old");
    gpb_test_broker_close (&s_node);
}
END_TEST

START_TEST (test_a_node_without_devices_says_why)
{
    gpb_test_broker_start (&s_node, 0);
    gpb_test_peer_execute (&s_node.client, 1, GPB_TEST_KERNEL, -1, 0);
    ck_assert_ptr_nonnull (
        strstr (gpb_test_peer_expect (&s_node.client, 1, GPB_UNAVAILABLE)->message,
                "cuda: no driver"));
    gpb_test_broker_close (&s_node);
}
END_TEST

START_TEST (test_a_handle_leads_to_its_device)
{
    gpb_test_broker_open (&s_node, 2);
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Release release = GPB__V1__RELEASE__INIT;
    request.body_case = GPB__V1__REQUEST__BODY_RELEASE;
    request.release = &release;
    for (uint64_t device = 0; device < 3; device++) {
        request.id = device + 1;
        release.handle = device << 56 | 12345;
        gpb_test_peer_send (&s_node.client, &request, NULL);
        if (device == 2)
            break;
        gpb_test_work_t work;
        gpb_test_executor_take (&s_node.devices [device], &work);
        ck_assert_uint_eq (work.handle, release.handle);
        gpb_test_executor_finish (&s_node.devices [device], &work);
        gpb_test_peer_expect (&s_node.client, request.id, GPB_OK);
    }
    gpb_test_peer_expect (&s_node.client, 3, GPB_NOT_FOUND);
    gpb_test_broker_close (&s_node);
}
END_TEST

START_TEST (test_a_device_that_says_nothing_of_a_pool_is_reported_without)
{
    gpb_test_broker_start (&s_node, 1);
    gpb_test_executor_open (&s_node.devices [0], "first");
    s_node.devices [0].has_pool = false;
    gpb_test_broker_introduce (&s_node, 0);
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Stats stats = GPB__V1__STATS__INIT;
    request.id = 1;
    request.body_case = GPB__V1__REQUEST__BODY_STATS;
    request.stats = &stats;
    gpb_test_peer_send (&s_node.client, &request, NULL);
    const Gpb__V1__StatsReply *reply = gpb_test_peer_expect (&s_node.client, 1, GPB_OK)->stats;
    ck_assert_uint_eq (reply->n_pools, 0);
    ck_assert_uint_eq (reply->n_devices, 1);
    ck_assert_str_eq (reply->devices [0]->name, "first");
    gpb_test_broker_close (&s_node);
}
END_TEST

START_TEST (test_commands_that_are_wrong_are_answered)
{
    gpb_test_broker_open (&s_node, 1);
    static const char *const wrong [][3] = {
        { "FLY", NULL, NULL },
        { "BIND", NULL, NULL },
        { "BIND", "nonsense", NULL },
        { "DEVICE", "0", NULL },
        { "DEVICE", "x", "inproc://a" },
        { "DEVICE", "", "inproc://a" },
        { "DEVICE", "0", "inproc://a" },
        { "DEVICE", "9", "inproc://a" },
        { "DEVICE", "-1", "inproc://a" },
        { "LOST", "0", "it serves" },
    };
    for (size_t index = 0; index < sizeof wrong / sizeof wrong [0]; index++) {
        ck_assert_int_eq (gpb_pipe_ask (s_node.actor,
                                        (const char *[]){ wrong [index][0], wrong [index][1],
                                                          wrong [index][2], NULL },
                                        &error),
                          GPB_INVALID_ARGUMENT);
        ck_assert_uint_gt (strlen (error.text), 10);
    }
    gpb_test_peer_settle (&s_node.client);
    gpb_test_broker_close (&s_node);
}
END_TEST

START_TEST (test_a_broker_that_gets_no_memory_says_so)
{
    gpb_test_broker_configure (&s_node, "kernel_path", "/nowhere");
    bool done = false;
    for (int64_t after = 0; !done; after++) {
        gpb_broker_args_t args = { .config = s_node.config, .devices = 2 };
        gpb_alloc_fail (after, 0);
        s_node.actor = zactor_new (gpb_broker, &args);
        gpb_status_t status =
            gpb_pipe_ask (s_node.actor, (const char *[]){ "BIND", "inproc://broker", NULL },
                          &error);
        done = gpb_alloc_fail (-1, 0) <= (uint64_t) after;
        if (status != GPB_OK)
            ck_assert_refused (status, GPB_RESOURCE_EXHAUSTED, "memory");
        zactor_destroy (&s_node.actor);
    }
    gpb_config_destroy (&s_node.config);
}
END_TEST

START_TEST (test_a_broker_that_gets_memory_has_all_its_kernels)
{
    bool done = false;
    for (int64_t after = 0; !done; after++) {
        gpb_test_broker_configure (&s_node, "kernel_path", "");
        gpb_broker_args_t args = { .config = s_node.config, .devices = 2 };
        gpb_alloc_fail (after, 0);
        s_node.actor = zactor_new (gpb_broker, &args);
        gpb_status_t status =
            gpb_pipe_ask (s_node.actor, (const char *[]){ "BIND", "inproc://broker", NULL },
                          &error);
        done = gpb_alloc_fail (-1, 0) <= (uint64_t) after;
        if (status == GPB_OK) {
            gpb_test_peer_open (&s_node.client, "inproc://broker");
            Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
            Gpb__V1__ListKernels kernels = GPB__V1__LIST_KERNELS__INIT;
            request.id = 1;
            request.body_case = GPB__V1__REQUEST__BODY_KERNELS;
            request.kernels = &kernels;
            kernels.kernel = (char *) GPB_TEST_KERNEL;
            gpb_test_peer_send (&s_node.client, &request, NULL);
            gpb_test_peer_expect (&s_node.client, 1, GPB_OK);
        }
        gpb_test_broker_close (&s_node);
    }
}
END_TEST

START_TEST (test_a_request_for_which_there_is_no_memory_is_answered)
{
    gpb_test_broker_open (&s_node, 1);
    gpb_test_peer_settle (&s_node.client);
    for (int64_t after = 0; after < 6; after++) {
        gpb_alloc_fail (after, 0);
        gpb_test_peer_execute (&s_node.client, 1, GPB_TEST_KERNEL, -1, 0);
        gpb_test_work_t work;
        zmq_pollitem_t items [] = {
            { zsock_resolve (s_node.client.dealer), 0, ZMQ_POLLIN, 0 },
            { zsock_resolve (s_node.devices [0].router), 0, ZMQ_POLLIN, 0 },
        };
        bool is_work = false;
        do {
            ck_assert_int_gt (zmq_poll (items, 2, GPB_TEST_PATIENCE_MS), 0);
            is_work = gpb_test_executor_poll (&s_node.devices [0], &work);
        } while (!is_work && !(items [0].revents & ZMQ_POLLIN));
        if (is_work)
            gpb_test_executor_finish (&s_node.devices [0], &work);
        gpb_test_peer_expect (&s_node.client, 1, is_work ? GPB_OK : GPB_RESOURCE_EXHAUSTED);
        gpb_alloc_fail (-1, 0);
    }
    gpb_test_broker_close (&s_node);
}
END_TEST

GPB_TEST_MAIN ("gpb_broker", 60, test_a_kernel_is_checked_by_all_devices_before_any_takes_it,
               test_a_kernel_that_one_device_refuses_is_on_none,
               test_a_kernel_that_is_taken_back_while_it_is_checked_is_on_none,
               test_one_of_two_that_register_the_same_kernel_at_once_is_refused,
               test_a_node_without_devices_takes_a_kernel_as_it_is,
               test_kernels_are_taken_only_where_the_configuration_says_so,
               test_a_broker_that_stops_finishes_what_it_has_accepted,
               test_a_broker_that_stops_answers_what_no_device_answers,
               test_a_client_that_never_stops_asking_stops_no_broker, test_a_lost_device_says_why,
               test_a_node_without_devices_says_why, test_a_handle_leads_to_its_device,
               test_a_device_that_says_nothing_of_a_pool_is_reported_without,
               test_commands_that_are_wrong_are_answered, test_a_broker_that_gets_no_memory_says_so,
               test_a_broker_that_gets_memory_has_all_its_kernels,
               test_a_request_for_which_there_is_no_memory_is_answered)
