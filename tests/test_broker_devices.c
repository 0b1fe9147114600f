//  Tests of gpb_broker_devices, with stand-ins: how a broker comes to its devices and their kernel
//  hosts, whatever these say first.

#include "gpb_test.h"

#include "gpb_clock.h"
#include "gpb_executors.h"
#include "gpb_test_broker.h"

#include <string.h>

static gpb_test_broker_t s_node;
static gpb_error_t error;

static gpb_status_t
s_command (const char *command, const char *number, const char *text)
{
    return gpb_pipe_ask (s_node.actor, (const char *[]){ command, number, text, NULL }, &error);
}

//  Tells the broker of the first device, which the test has opened, and takes its first question,
//  without an answer.
static void
s_begin (void)
{
    gpb_test_executor_t *device = &s_node.devices [0];
    zstr_sendx (s_node.actor, "DEVICE", "0", device->endpoint, NULL);
    zmq_pollitem_t item = { zsock_resolve (device->router), 0, ZMQ_POLLIN, 0 };
    ck_assert_int_eq (zmq_poll (&item, 1, GPB_TEST_PATIENCE_MS), 1);
    ck_assert_ok (gpb_message_recv (&device->message, item.socket, &error));
    const Gpb__V1__Request *request =
        gpb_codec_request (device->codec, &device->message.header, NULL, &error);
    ck_assert_ptr_nonnull (request);
    ck_assert_int_eq (request->body_case, GPB__V1__REQUEST__BODY_STATS);
    zmq_msg_copy (&device->identity, &device->message.envelope [0]);
    s_node.devices_count = 1;
}

//  Waits until the broker has answered the command.
static void
s_end (void)
{
    char *status = NULL, *text = NULL;
    zmq_pollitem_t item = { zsock_resolve (s_node.actor), 0, ZMQ_POLLIN, 0 };
    ck_assert_int_eq (zmq_poll (&item, 1, GPB_TEST_PATIENCE_MS), 1);
    ck_assert_int_eq (zstr_recvx (s_node.actor, &status, &text, NULL), 2);
    ck_assert_msg (streq (status, "OK"), "%s: %s", status, text);
    zstr_free (&status);
    zstr_free (&text);
}

//  Starts a broker of so many devices, the first of which has been asked what it is.
static void
s_open (unsigned devices)
{
    gpb_test_broker_start (&s_node, devices);
    gpb_test_executor_open (&s_node.devices [0], "first");
    s_begin ();
}

//  The broker has read nothing of it yet.
static void
s_expect_waiting (void)
{
    zmq_pollitem_t item = { zsock_resolve (s_node.actor), 0, ZMQ_POLLIN, 0 };
    ck_assert_int_eq (zmq_poll (&item, 1, 50), 0);
}

//  What the node says of its devices; borrowed until the next question.
static const Gpb__V1__DeviceList *
s_ask_devices (void)
{
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__ListDevices body = GPB__V1__LIST_DEVICES__INIT;
    request.id = 500;
    request.body_case = GPB__V1__REQUEST__BODY_DEVICES;
    request.devices = &body;
    gpb_test_peer_send (&s_node.client, &request, NULL);
    return gpb_test_peer_expect (&s_node.client, 500, GPB_OK)->devices;
}

static void
s_await_state (Gpb__V1__DeviceState state)
{
    const uint64_t end_ns = gpb_clock_ns () + GPB_TEST_PATIENCE_MS * GPB_NS_PER_MS;
    while (s_ask_devices ()->devices [0]->state != state)
        ck_assert_msg (gpb_clock_ns () < end_ns, "the device does not come to state %d", state);
}

//  A request for the first device is answered by it.
static void
s_expect_service (uint64_t id)
{
    gpb_test_work_t work;
    gpb_test_peer_execute (&s_node.client, id, GPB_TEST_KERNEL, 0, 0);
    gpb_test_executor_take (&s_node.devices [0], &work);
    ck_assert_uint_eq (work.id, id);
    gpb_test_executor_finish (&s_node.devices [0], &work);
    gpb_test_peer_expect (&s_node.client, id, GPB_OK);
}

//  Has the first device say something by itself, as it does with its figures.
static void
s_say (const void *header, size_t size)
{
    const gpb_hop_t hop = gpb_executors_own_hop (0);
    gpb_test_executor_answer_raw (&s_node.devices [0], &hop, header, size);
}

//  The figures of so many devices, which are ready.
static void
s_say_devices (size_t count)
{
    Gpb__V1__Device device = GPB__V1__DEVICE__INIT;
    device.name = (char *) "another";
    device.state = GPB__V1__DEVICE_STATE__READY;
    Gpb__V1__Device *devices [] = { &device, &device };
    Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
    Gpb__V1__StatsReply stats = GPB__V1__STATS_REPLY__INIT;
    zmq_msg_t header;
    zmq_msg_init (&header);
    stats.n_devices = count;
    stats.devices = devices;
    reply.version = GPB_PROTOCOL_VERSION;
    reply.body_case = GPB__V1__REPLY__BODY_STATS;
    reply.stats = &stats;
    ck_assert_ok (gpb_codec_pack (&reply.base, &header, &error));
    s_say (zmq_msg_data (&header), zmq_msg_size (&header));
    zmq_msg_close (&header);
}

//  Everything that says nothing of what a device is.
static void
s_say_what_is_wrong (void)
{
    s_say ("\xFF\xFF", 2);
    s_say ("", 0);
    s_say ("\x08\x01", 2);            //  a reply that says nothing
    s_say ("\x08\x01\x10\x0D", 4);    //  a refusal
    s_say_devices (0);
    s_say_devices (2);
    //  An answer to what nobody has asked, and one of nobody.
    gpb_hop_t hop = { .magic = gpb_executors_own_hop (0).magic, .slot = 7, .generation = 3 };
    gpb_test_executor_answer_raw (&s_node.devices [0], &hop, "\x08\x01", 2);
    hop.magic++;
    gpb_test_executor_answer_raw (&s_node.devices [0], &hop, "\x08\x01", 2);
}

//  ---------------------------------------------------------------------------------------------------------
//  What a device says first

START_TEST (test_a_device_serves_once_it_has_said_what_it_is)
{
    s_open (1);
    s_expect_waiting ();
    s_node.devices [0].capability = "fp64";
    gpb_test_executor_return (&s_node.devices [0]);
    s_end ();
    const Gpb__V1__DeviceList *list = s_ask_devices ();
    ck_assert_uint_eq (list->n_devices, 1);
    const Gpb__V1__Device *device = list->devices [0];
    ck_assert_int_eq (device->state, GPB__V1__DEVICE_STATE__READY);
    ck_assert_str_eq (device->name, "first");
    ck_assert_str_eq (device->backend, "stand-in");
    ck_assert_str_eq (device->reason, "");
    ck_assert_uint_eq (device->n_capabilities, 2);
    ck_assert_str_eq (device->capabilities [1], "fp64");
    ck_assert_uint_eq (device->available_memory, s_node.devices [0].available_memory);
    s_expect_service (1);
    gpb_test_broker_close (&s_node);
}
END_TEST

START_TEST (test_wrong_answers_are_passed_over_until_the_right_one_comes)
{
    s_open (1);
    s_say_what_is_wrong ();
    s_expect_waiting ();
    s_say_what_is_wrong ();
    gpb_test_executor_return (&s_node.devices [0]);
    s_end ();
    ck_assert_str_eq (s_ask_devices ()->devices [0]->name, "first");
    s_expect_service (1);
    gpb_test_broker_close (&s_node);
}
END_TEST

//  It has 10 seconds, however late it says something else.
START_TEST (test_a_device_that_never_says_what_it_is_is_lost_and_others_serve)
{
    const uint64_t began_ns = gpb_clock_ns ();
    s_open (2);
    zmq_poll (NULL, 0, 9000);
    s_say_what_is_wrong ();
    s_end ();
    ck_assert_uint_lt (gpb_clock_ns () - began_ns, 15 * GPB_NS_PER_S);
    const Gpb__V1__Device *device = s_ask_devices ()->devices [0];
    ck_assert_int_eq (device->state, GPB__V1__DEVICE_STATE__LOST);
    ck_assert_str_eq (device->reason, "it did not say what it is");
    gpb_test_peer_execute (&s_node.client, 1, GPB_TEST_KERNEL, 0, 0);
    ck_assert_ptr_nonnull (
        strstr (gpb_test_peer_expect (&s_node.client, 1, GPB_UNAVAILABLE)->message,
                "it did not say what it is"));
    //  Its host went with it, and it is not to be told of again.
    ck_assert_ok (s_command ("HOST", "0", "inproc://nowhere"));
    ck_assert_refused (s_command ("DEVICE", "0", s_node.devices [0].endpoint), GPB_INVALID_ARGUMENT,
                       "device 0: expected a new one below 2");
    gpb_test_executor_open (&s_node.devices [1], "second");
    gpb_test_broker_introduce (&s_node, 1);
    gpb_test_work_t work;
    gpb_test_peer_execute (&s_node.client, 2, GPB_TEST_KERNEL, -1, 0);
    gpb_test_executor_take (&s_node.devices [1], &work);
    gpb_test_executor_finish (&s_node.devices [1], &work);
    gpb_test_peer_expect (&s_node.client, 2, GPB_OK);
    gpb_test_broker_close (&s_node);
}
END_TEST

//  A process that is started again says what it is when it is back.
START_TEST (test_a_device_that_restarts_at_the_start_is_waited_for)
{
    s_open (1);
    gpb_test_executor_lose (&s_node.devices [0], false, "killed by signal 11");
    s_expect_waiting ();
    gpb_test_executor_return (&s_node.devices [0]);
    s_end ();
    const Gpb__V1__Device *device = s_ask_devices ()->devices [0];
    ck_assert_int_eq (device->state, GPB__V1__DEVICE_STATE__READY);
    ck_assert_str_eq (device->name, "first");
    ck_assert_uint_eq (device->restarts, 3);
    s_expect_service (1);
    gpb_test_broker_close (&s_node);
}
END_TEST

//  It says why, and may come back all the same.
START_TEST (test_a_device_that_is_lost_at_the_start_is_not_waited_for)
{
    s_open (1);
    const uint64_t began_ns = gpb_clock_ns ();
    gpb_test_executor_lose (&s_node.devices [0], true, "no such card");
    s_end ();
    ck_assert_uint_lt (gpb_clock_ns () - began_ns, 8 * GPB_NS_PER_S);
    const Gpb__V1__Device *device = s_ask_devices ()->devices [0];
    ck_assert_int_eq (device->state, GPB__V1__DEVICE_STATE__LOST);
    ck_assert_str_eq (device->reason, "no such card");
    gpb_test_peer_execute (&s_node.client, 1, GPB_TEST_KERNEL, 0, 0);
    gpb_test_peer_expect (&s_node.client, 1, GPB_UNAVAILABLE);
    gpb_test_executor_return (&s_node.devices [0]);
    s_await_state (GPB__V1__DEVICE_STATE__READY);
    ck_assert_str_eq (s_ask_devices ()->devices [0]->name, "first");
    s_expect_service (2);
    gpb_test_broker_close (&s_node);
}
END_TEST

START_TEST (test_an_endpoint_that_is_none_leaves_its_device_to_be_told_of)
{
    gpb_test_broker_start (&s_node, 1);
    ck_assert_refused (s_command ("DEVICE", "0", "nonsense"), GPB_INVALID_ARGUMENT,
                       "cannot connect to nonsense");
    gpb_test_executor_open (&s_node.devices [0], "first");
    gpb_test_broker_introduce (&s_node, 0);
    s_expect_service (1);
    gpb_test_broker_close (&s_node);
}
END_TEST

START_TEST (test_commands_with_words_that_are_missing_are_refused)
{
    static const char *const commands [] = { "DEVICE", "LOST", "HOST", "NO_HOST" };
    gpb_test_broker_open (&s_node, 1);
    for (size_t index = 0; index < sizeof commands / sizeof commands [0]; index++)
        ck_assert_refused (s_command (commands [index], "0", NULL), GPB_INVALID_ARGUMENT,
                           "expected BIND ENDPOINT, DEVICE INDEX ENDPOINT, LOST INDEX REASON, HOST "
                           "INDEX ENDPOINT or NO_HOST INDEX REASON");
    s_expect_service (1);
    gpb_test_broker_close (&s_node);
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  What it says later

START_TEST (test_figures_that_say_nothing_of_a_device_change_nothing)
{
    gpb_test_broker_open (&s_node, 1);
    s_say_what_is_wrong ();
    s_node.devices [0].available_memory = 12345;
    gpb_test_executor_return (&s_node.devices [0]);
    const uint64_t end_ns = gpb_clock_ns () + GPB_TEST_PATIENCE_MS * GPB_NS_PER_MS;
    while (s_ask_devices ()->devices [0]->available_memory != 12345)
        ck_assert_msg (gpb_clock_ns () < end_ns, "its figures are not those that it said");
    const Gpb__V1__Device *device = s_ask_devices ()->devices [0];
    ck_assert_int_eq (device->state, GPB__V1__DEVICE_STATE__READY);
    ck_assert_str_eq (device->name, "first");
    s_expect_service (1);
    gpb_test_broker_close (&s_node);
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Kernel hosts

START_TEST (test_a_host_that_says_nothing_takes_messages_all_the_same)
{
    gpb_test_broker_open (&s_node, 1);
    gpb_test_executor_open_host (&s_node.hosts [0], "host", GPB_TEST_PERSISTENT);
    s_node.hosts_count = 1;
    ck_assert_ok (s_command ("HOST", "0", s_node.hosts [0].endpoint));
    gpb_test_peer_message (&s_node.client, 1, GPB_TEST_PERSISTENT, NULL, -1, 100);
    gpb_test_work_t work;
    gpb_test_executor_take (&s_node.hosts [0], &work);
    ck_assert_uint_eq (work.id, 1);
    ck_assert (work.hop.flags & GPB_HOP_HOST);
    ck_assert_uint_ge (s_node.hosts [0].stats_asked, 1);
    gpb_test_executor_finish (&s_node.hosts [0], &work);
    gpb_test_peer_expect (&s_node.client, 1, GPB_OK);
    gpb_test_broker_no_work (&s_node, &s_node.devices [0]);
    gpb_test_broker_close (&s_node);
}
END_TEST

//  A supervisor's: what is for either comes by one socket, in its order, and says for which it is.
START_TEST (test_a_host_at_its_devices_own_endpoint_shares_its_socket)
{
    gpb_test_broker_open_isolated (&s_node);
    gpb_test_work_t work;
    for (uint64_t id = 1; id <= 6; id++) {
        const bool is_message = id % 2;
        if (is_message)
            gpb_test_peer_message (&s_node.client, id, GPB_TEST_PERSISTENT, NULL, -1, 100);
        else
            gpb_test_peer_execute (&s_node.client, id, GPB_TEST_KERNEL, -1, 0);
        gpb_test_executor_take (&s_node.devices [0], &work);
        ck_assert_uint_eq (work.id, id);
        ck_assert_int_eq (!!(work.hop.flags & GPB_HOP_HOST), is_message);
        gpb_test_executor_finish (&s_node.devices [0], &work);
        gpb_test_peer_expect (&s_node.client, id, GPB_OK);
    }
    gpb_test_broker_close (&s_node);
}
END_TEST

GPB_TEST_MAIN ("gpb_broker_devices", 60, test_a_device_serves_once_it_has_said_what_it_is,
               test_wrong_answers_are_passed_over_until_the_right_one_comes,
               test_a_device_that_never_says_what_it_is_is_lost_and_others_serve,
               test_a_device_that_restarts_at_the_start_is_waited_for,
               test_a_device_that_is_lost_at_the_start_is_not_waited_for,
               test_an_endpoint_that_is_none_leaves_its_device_to_be_told_of,
               test_commands_with_words_that_are_missing_are_refused,
               test_figures_that_say_nothing_of_a_device_change_nothing,
               test_a_host_that_says_nothing_takes_messages_all_the_same,
               test_a_host_at_its_devices_own_endpoint_shares_its_socket)
