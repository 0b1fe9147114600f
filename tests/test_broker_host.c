//  Tests of gpb_broker_host, with stand-ins for devices and kernel hosts: a persistent kernel's
//  messages go to a host at once, and are answered once, whatever hosts and clients do.

#include "gpb_clock.h"
#include "gpb_executors.h"
#include "gpb_test.h"
#include "gpb_test_broker.h"

#include <string.h>

#define SIZE 1000
#define LARGE (256 * 1024)

static gpb_test_broker_t s_node;

static void
s_send (uint64_t id, int device)
{
    gpb_test_peer_message (&s_node.client, id, GPB_TEST_PERSISTENT, NULL, device, SIZE);
}

static void
s_take (unsigned host, gpb_test_work_t *work, uint64_t id)
{
    gpb_test_executor_take (&s_node.hosts [host], work);
    ck_assert_uint_eq (work->id, id);
    ck_assert (work->hop.flags & GPB_HOP_HOST);
}

static void
s_finish (unsigned host, const gpb_test_work_t *work)
{
    gpb_test_executor_finish (&s_node.hosts [host], work);
    gpb_test_peer_expect (&s_node.client, work->id, GPB_OK);
}

static gpb_status_t
s_command (const char *command, const char *number, const char *text, gpb_error_t *error)
{
    return gpb_pipe_ask (s_node.actor, (const char *[]){ command, number, text, NULL }, error);
}

static const Gpb__V1__Reply *
s_ask (Gpb__V1__Request__BodyCase kind)
{
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Stats stats = GPB__V1__STATS__INIT;
    Gpb__V1__ListKernels kernels = GPB__V1__LIST_KERNELS__INIT;
    request.id = 500;
    request.body_case = kind;
    kernels.kernel = (char *) GPB_TEST_PERSISTENT;
    if (kind == GPB__V1__REQUEST__BODY_STATS)
        request.stats = &stats;
    else
        request.kernels = &kernels;
    gpb_test_peer_send (&s_node.client, &request, NULL);
    return gpb_test_peer_expect (&s_node.client, 500, GPB_OK);
}

static const Gpb__V1__StatsReply *
s_ask_stats (void)
{
    return s_ask (GPB__V1__REQUEST__BODY_STATS)->stats;
}

//  ---------------------------------------------------------------------------------------------------------
//  To a host and back

//  As many as a client sends: no credit holds them up, and no device sees them.
START_TEST (test_messages_go_to_the_host_at_once)
{
    gpb_test_broker_open_hosts (&s_node, 1);
    gpb_test_work_t works [200];
    for (uint64_t id = 1; id <= 200; id++)
        s_send (id, -1);
    for (uint64_t id = 1; id <= 200; id++) {
        s_take (0, &works [id - 1], id);
        ck_assert_uint_eq (works [id - 1].size, SIZE);
        ck_assert_uint_gt (works [id - 1].hop.remaining_ns, GPB_NS_PER_S);
    }
    gpb_test_broker_no_work (&s_node, &s_node.devices [0]);
    //  Requests for the device itself have its whole credit meanwhile.
    gpb_test_work_t works_of_device [2];
    gpb_test_peer_execute (&s_node.client, 1001, GPB_TEST_KERNEL, 0, 0);
    gpb_test_executor_take (&s_node.devices [0], &works_of_device [0]);
    gpb_test_peer_execute (&s_node.client, 1002, GPB_TEST_KERNEL, 0, 0);
    gpb_test_executor_take (&s_node.devices [0], &works_of_device [1]);
    ck_assert (!(works_of_device [1].hop.flags & GPB_HOP_HOST));
    for (unsigned number = 0; number < 2; number++) {
        gpb_test_executor_finish (&s_node.devices [0], &works_of_device [number]);
        gpb_test_peer_expect (&s_node.client, 1001 + number, GPB_OK);
    }
    for (unsigned number = 0; number < 200; number++)
        s_finish (0, &works [199 - number]);
    const Gpb__V1__Load *load = s_ask_stats ()->devices [0]->load;
    ck_assert_uint_eq (load->processed, 202);
    ck_assert_uint_eq (load->in_flight, 0);
    ck_assert_uint_eq (load->latency->count, 202);
    ck_assert_uint_eq (load->queued->count, 2);
    gpb_test_broker_close (&s_node);
}
END_TEST

START_TEST (test_payloads_are_not_copied_either_way)
{
    gpb_test_broker_open_hosts (&s_node, 1);
    gpb_test_peer_message (&s_node.client, 1, GPB_TEST_PERSISTENT, NULL, -1, LARGE);
    gpb_test_work_t work;
    s_take (0, &work, 1);
    ck_assert_uint_eq (work.size, LARGE);
    zmq_msg_t payload;
    const void *sent = gpb_test_payload (&payload, LARGE);
    gpb_test_executor_answer (&s_node.hosts [0], &work, GPB_OK, "", &payload);
    gpb_test_peer_expect (&s_node.client, 1, GPB_OK);
    ck_assert_uint_eq (s_node.client.message.payloads_count, 1);
    ck_assert_ptr_eq (zmq_msg_data (&s_node.client.message.payloads [0]), sent);
    gpb_test_broker_close (&s_node);
}
END_TEST

START_TEST (test_a_message_is_answered_once_whatever_its_host_says)
{
    gpb_test_broker_open_hosts (&s_node, 1);
    gpb_test_work_t work, other;
    s_send (1, -1);
    s_take (0, &work, 1);
    s_send (1, -1);
    gpb_test_peer_expect (&s_node.client, 1, GPB_ALREADY_EXISTS);
    //  The device says that it is its answer: it was not asked.
    gpb_hop_t forged = work.hop;
    forged.flags = 0;
    gpb_test_executor_answer_raw (&s_node.devices [0], &forged, "\x08\x01\x10\x01", 4);
    gpb_test_peer_settle (&s_node.client);
    s_finish (0, &work);
    gpb_test_executor_finish (&s_node.hosts [0], &work);
    gpb_test_peer_settle (&s_node.client);
    s_send (1, -1);
    s_take (0, &other, 1);
    gpb_test_executor_finish (&s_node.hosts [0], &work);    //  late, of the slot's earlier use
    gpb_test_peer_settle (&s_node.client);
    gpb_test_executor_answer_raw (&s_node.hosts [0], &other.hop, "\xFF\xFF", 2);
    gpb_test_peer_expect (&s_node.client, 1, GPB_INTERNAL);
    gpb_test_peer_settle (&s_node.client);
    gpb_test_broker_close (&s_node);
}
END_TEST

START_TEST (test_a_message_whose_time_is_up_is_answered_and_its_late_answer_dropped)
{
    gpb_test_broker_open_hosts (&s_node, 1);
    gpb_test_work_t work;
    gpb_test_peer_execute (&s_node.client, 1, GPB_TEST_PERSISTENT, -1, 50);
    s_take (0, &work, 1);
    ck_assert_uint_le (work.hop.remaining_ns, 50 * GPB_NS_PER_MS);
    const Gpb__V1__Reply *reply = gpb_test_peer_expect (&s_node.client, 1, GPB_DEADLINE_EXCEEDED);
    ck_assert_ptr_nonnull (strstr (reply->message, "while a kernel host had it"));
    ck_assert_uint_eq (s_ask_stats ()->in_flight, 1);    //  the host has it still
    gpb_test_executor_finish (&s_node.hosts [0], &work);
    gpb_test_peer_settle (&s_node.client);
    while (s_ask_stats ()->in_flight)
        continue;
    gpb_test_broker_close (&s_node);
}
END_TEST

START_TEST (test_a_message_that_is_taken_back_leaves_its_hosts_queue)
{
    gpb_test_broker_open_hosts (&s_node, 1);
    gpb_test_work_t work, other;
    s_send (1, -1);
    s_take (0, &work, 1);
    gpb_test_peer_cancel (&s_node.client, 2, 1);
    gpb_test_peer_expect (&s_node.client, 1, GPB_CANCELLED);
    gpb_test_peer_expect (&s_node.client, 2, GPB_OK);
    s_send (3, -1);
    s_take (0, &other, 3);
    ck_assert_uint_eq (s_node.hosts [0].cancels, 1);
    ck_assert_uint_eq (s_node.hosts [0].cancelled_id, 1);
    ck_assert_uint_eq (s_node.hosts [0].cancelled_owner, work.hop.owner);
    ck_assert_uint_eq (s_node.devices [0].cancels, 0);
    gpb_test_executor_answer (&s_node.hosts [0], &work, GPB_CANCELLED, "it left", NULL);
    s_finish (0, &other);
    gpb_test_peer_settle (&s_node.client);
    gpb_test_broker_close (&s_node);
}
END_TEST

START_TEST (test_hosts_are_told_of_clients_that_leave)
{
    gpb_test_broker_open_hosts (&s_node, 1);
    gpb_test_peer_t other;
    gpb_test_peer_open (&other, "inproc://broker");
    gpb_test_work_t work, next;
    gpb_test_peer_message (&other, 1, GPB_TEST_PERSISTENT, NULL, -1, SIZE);
    s_take (0, &work, 1);
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Goodbye goodbye = GPB__V1__GOODBYE__INIT;
    request.id = 2;
    request.body_case = GPB__V1__REQUEST__BODY_GOODBYE;
    request.goodbye = &goodbye;
    gpb_test_peer_send (&other, &request, NULL);
    gpb_test_peer_expect (&other, 2, GPB_OK);
    s_send (1, -1);
    s_take (0, &next, 1);
    //  It comes before the message or behind it.
    const uint64_t end_ns = gpb_clock_ns () + GPB_TEST_PATIENCE_MS * GPB_NS_PER_MS;
    gpb_test_work_t none;
    while (!s_node.hosts [0].goodbyes && gpb_clock_ns () < end_ns)
        ck_assert (!gpb_test_executor_poll (&s_node.hosts [0], &none));
    ck_assert_uint_eq (s_node.hosts [0].goodbyes, 1);
    ck_assert_uint_eq (s_node.hosts [0].goodbye_owner, work.hop.owner);
    gpb_test_executor_finish (&s_node.hosts [0], &work);    //  for nobody
    s_finish (0, &next);
    gpb_test_peer_settle (&other);
    gpb_test_peer_close (&other);
    gpb_test_broker_close (&s_node);
}
END_TEST

START_TEST (test_a_node_that_stops_waits_for_its_hosts_and_answers_the_rest)
{
    gpb_test_broker_configure (&s_node, "drain_ms", "300");
    gpb_test_broker_open_hosts (&s_node, 1);
    gpb_test_work_t works [2];
    for (uint64_t id = 1; id <= 2; id++) {
        s_send (id, -1);
        s_take (0, &works [id - 1], id);
    }
    zstr_send (s_node.actor, "$TERM");
    gpb_test_executor_finish (&s_node.hosts [0], &works [0]);
    gpb_test_peer_expect (&s_node.client, 1, GPB_OK);
    gpb_test_peer_expect (&s_node.client, 2, GPB_UNAVAILABLE);
    gpb_test_broker_close (&s_node);
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Which host

START_TEST (test_messages_go_to_the_host_with_the_fewest_and_keys_to_their_own)
{
    gpb_test_broker_open_hosts (&s_node, 2);
    gpb_test_work_t works [4], work;
    s_send (1, 0);
    s_take (0, &works [0], 1);
    s_send (2, -1);
    s_take (1, &works [1], 2);
    s_send (3, 1);
    s_take (1, &works [2], 3);
    s_send (4, -1);
    s_take (0, &works [3], 4);
    for (unsigned number = 0; number < 4; number++)
        s_finish (number == 0 || number == 3 ? 0 : 1, &works [number]);
    //  Whatever either has meanwhile.
    unsigned counts [2] = { 0, 0 };
    for (uint64_t key = 1; key <= 20; key++) {
        bool is_first = false;
        for (unsigned round = 0; round < 3; round++) {
            gpb_test_peer_message (&s_node.client, key, GPB_TEST_PERSISTENT, &key, -1, SIZE);
            gpb_test_peer_settle (&s_node.client);
            const bool has_it = gpb_test_executor_poll (&s_node.hosts [0], &work);
            if (!has_it)
                s_take (1, &work, key);
            ck_assert (round == 0 || has_it == is_first);
            is_first = has_it;
            s_finish (has_it ? 0 : 1, &work);
        }
        counts [is_first ? 0 : 1]++;
    }
    ck_assert_uint_gt (counts [0], 0);
    ck_assert_uint_gt (counts [1], 0);
    gpb_test_broker_close (&s_node);
}
END_TEST

START_TEST (test_where_no_host_is_the_answer_says_why)
{
    gpb_error_t error;
    gpb_test_broker_open (&s_node, 2);
    s_send (1, -1);
    const Gpb__V1__Reply *reply = gpb_test_peer_expect (&s_node.client, 1, GPB_FAILED_PRECONDITION);
    ck_assert_ptr_nonnull (strstr (reply->message, "none has been started"));
    ck_assert_ok (s_command ("NO_HOST", "0", "it has one compute unit", &error));
    gpb_test_executor_open_host (&s_node.hosts [0], "host", GPB_TEST_PERSISTENT);
    s_node.hosts_count = 1;
    ck_assert_ok (s_command ("HOST", "1", s_node.hosts [0].endpoint, &error));
    s_send (2, 0);
    reply = gpb_test_peer_expect (&s_node.client, 2, GPB_FAILED_PRECONDITION);
    ck_assert_ptr_nonnull (
        strstr (reply->message, "(first) has no kernel host: it has one compute unit"));
    s_send (3, 5);
    gpb_test_peer_expect (&s_node.client, 3, GPB_NOT_FOUND);
    gpb_test_work_t work;
    s_send (4, -1);
    s_take (0, &work, 4);    //  of the second device
    s_finish (0, &work);
    gpb_test_executor_lose (&s_node.devices [1], true, "it burns");
    while (s_ask_stats ()->devices [1]->state != GPB__V1__DEVICE_STATE__LOST)
        continue;
    s_send (5, -1);
    reply = gpb_test_peer_expect (&s_node.client, 5, GPB_FAILED_PRECONDITION);
    ck_assert_ptr_nonnull (strstr (reply->message, "is not ready: it burns"));
    gpb_test_broker_close (&s_node);
}
END_TEST

START_TEST (test_commands_come_in_their_order)
{
    gpb_error_t error;
    gpb_test_broker_start (&s_node, 2);
    ck_assert_refused (s_command ("HOST", "0", "inproc://nowhere", &error), GPB_INVALID_ARGUMENT,
                       "expected one that is there");
    ck_assert_refused (s_command ("NO_HOST", "2", "why", &error), GPB_INVALID_ARGUMENT,
                       "device 2: expected one that is there");
    ck_assert_refused (s_command ("HOST", "x", "why", &error), GPB_INVALID_ARGUMENT, "device x");
    gpb_test_executor_open (&s_node.devices [0], "first");
    gpb_test_broker_introduce (&s_node, 0);
    ck_assert_refused (s_command ("HOST", "0", "nonsense", &error), GPB_INVALID_ARGUMENT,
                       "cannot connect to nonsense");
    ck_assert_ok (s_command ("NO_HOST", "0", "why", &error));
    ck_assert_refused (s_command ("NO_HOST", "0", "why", &error), GPB_INVALID_ARGUMENT, "is new");
    ck_assert_ok (s_command ("LOST", "1", "it burns", &error));
    ck_assert_ok (s_command ("HOST", "1", "inproc://nowhere", &error));    //  lost with its device
    gpb_test_broker_close (&s_node);
}
END_TEST

START_TEST (test_what_only_persistent_kernels_know_is_refused_for_others)
{
    gpb_test_broker_open_hosts (&s_node, 1);
    const uint64_t key = 0;
    gpb_test_peer_message (&s_node.client, 1, GPB_TEST_KERNEL, &key, -1, SIZE);
    const Gpb__V1__Reply *reply = gpb_test_peer_expect (&s_node.client, 1, GPB_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull (strstr (reply->message, "lane_key is for persistent kernels"));
    gpb_test_broker_no_work (&s_node, &s_node.devices [0]);
    gpb_test_broker_close (&s_node);
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Bounds

START_TEST (test_a_clients_messages_are_bounded)
{
    gpb_test_broker_configure (&s_node, "max_client_queued_requests", "3");
    gpb_test_broker_open_hosts (&s_node, 1);
    gpb_test_work_t works [3];
    for (uint64_t id = 1; id <= 3; id++) {
        s_send (id, -1);
        s_take (0, &works [id - 1], id);
    }
    s_send (4, -1);
    const Gpb__V1__Reply *reply = gpb_test_peer_expect (&s_node.client, 4, GPB_RESOURCE_EXHAUSTED);
    ck_assert_uint_ge (reply->retry_after_ms, 1);
    s_finish (0, &works [0]);
    s_send (5, -1);
    s_take (0, &works [0], 5);
    for (unsigned number = 0; number < 3; number++)
        s_finish (0, &works [number]);
    ck_assert_uint_eq (s_ask_stats ()->exhausted, 1);
    gpb_test_broker_close (&s_node);
}
END_TEST

START_TEST (test_the_limits_of_a_key_hold_for_messages_too)
{
    gpb_test_broker_configure (&s_node, "limits", "-:in_flight=1,kernels=" GPB_TEST_PERSISTENT);
    gpb_test_broker_open_hosts (&s_node, 1);
    gpb_test_work_t work;
    s_send (1, -1);
    s_take (0, &work, 1);
    s_send (2, -1);
    gpb_test_peer_expect (&s_node.client, 2, GPB_PERMISSION_DENIED);
    gpb_test_peer_cancel (&s_node.client, 3, 1);
    gpb_test_peer_expect (&s_node.client, 1, GPB_CANCELLED);
    gpb_test_peer_expect (&s_node.client, 3, GPB_OK);
    s_send (4, -1);    //  the host has the first one still
    gpb_test_peer_expect (&s_node.client, 4, GPB_PERMISSION_DENIED);
    gpb_test_executor_answer (&s_node.hosts [0], &work, GPB_CANCELLED, "it left", NULL);
    while (s_ask_stats ()->in_flight)
        continue;
    s_send (5, -1);
    s_take (0, &work, 5);
    s_finish (0, &work);
    gpb_test_peer_execute (&s_node.client, 6, GPB_TEST_KERNEL, -1, 0);
    gpb_test_peer_expect (&s_node.client, 6, GPB_PERMISSION_DENIED);
    gpb_test_broker_close (&s_node);
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  What hosts say

static Gpb__V1__ResidencyState
s_ask_state (size_t *count_p)
{
    const Gpb__V1__KernelList *list = s_ask (GPB__V1__REQUEST__BODY_KERNELS)->kernels;
    ck_assert_uint_eq (list->n_kernels, 1);
    const Gpb__V1__Persistent *persistent = list->kernels [0]->persistent;
    ck_assert_ptr_nonnull (persistent);
    ck_assert_uint_ge (persistent->lanes, 1);
    ck_assert_uint_ge (persistent->slots, 2);
    ck_assert_uint_eq (persistent->n_devices, 1);
    ck_assert_str_eq (persistent->devices [0], "all");
    *count_p = persistent->n_residencies;
    return *count_p ? persistent->residencies [0]->state : GPB__V1__RESIDENCY_STATE__UNLOADED;
}

//  Serves the hosts and devices until the kernel is said to be in this state on the first one.
static void
s_await_state (Gpb__V1__ResidencyState state, size_t count)
{
    const uint64_t end_ns = gpb_clock_ns () + GPB_TEST_PATIENCE_MS * GPB_NS_PER_MS;
    gpb_test_work_t work;
    size_t said;
    while (s_ask_state (&said) != state || said != count) {
        ck_assert_msg (gpb_clock_ns () < end_ns, "the kernel is not said to be in state %d", state);
        for (unsigned index = 0; index < s_node.hosts_count; index++)
            ck_assert (!gpb_test_executor_poll (&s_node.hosts [index], &work));
        zmq_poll (NULL, 0, 1);
    }
}

START_TEST (test_a_kernel_is_said_to_be_where_its_hosts_say)
{
    gpb_test_broker_open_hosts (&s_node, 2);
    for (unsigned index = 0; index < 2; index++)
        s_node.hosts [index].residency = GPB__V1__RESIDENCY_STATE__PARKED;
    s_await_state (GPB__V1__RESIDENCY_STATE__PARKED, 2);
    const Gpb__V1__StatsReply *stats = s_ask_stats ();
    ck_assert_uint_eq (stats->n_residencies, 2);
    ck_assert_uint_eq (stats->residencies [0]->device, 0);
    ck_assert_uint_eq (stats->residencies [1]->device, 1);
    ck_assert_str_eq (stats->residencies [1]->kernel, GPB_TEST_PERSISTENT);
    //  It wakes for a message, and the broker asks for that soon.
    gpb_test_work_t work;
    s_send (1, 0);
    s_take (0, &work, 1);
    s_node.hosts [0].residency = GPB__V1__RESIDENCY_STATE__RESIDENT;
    s_finish (0, &work);
    s_await_state (GPB__V1__RESIDENCY_STATE__RESIDENT, 2);
    gpb_test_executor_lose (&s_node.devices [0], false, "it crashed");
    s_await_state (GPB__V1__RESIDENCY_STATE__PARKED, 1);    //  of the second one
    gpb_test_broker_close (&s_node);
}
END_TEST

//  What the configuration says of a kernel is what the node says of it; a name that is nobody's is
//  refused when the node starts.
START_TEST (test_the_configurations_settings_are_the_kernels)
{
    gpb_error_t error;
    gpb_test_broker_configure (&s_node, "persistent", GPB_TEST_PERSISTENT ":lanes=3,slots=32");
    gpb_test_broker_open_hosts (&s_node, 1);
    const Gpb__V1__Persistent *persistent =
        s_ask (GPB__V1__REQUEST__BODY_KERNELS)->kernels->kernels [0]->persistent;
    ck_assert_uint_eq (persistent->lanes, 3);
    ck_assert_uint_eq (persistent->slots, 32);
    gpb_test_broker_close (&s_node);
    gpb_test_broker_configure (&s_node, "persistent", GPB_TEST_KERNEL ":lanes=3");
    gpb_broker_args_t args = { .config = s_node.config, .devices = 0 };
    s_node.actor = zactor_new (gpb_broker, &args);
    ck_assert_refused (gpb_pipe_ask (s_node.actor,
                                     (const char *[]){ "BIND", "inproc://broker", NULL }, &error),
                       GPB_INVALID_ARGUMENT, "no persistent kernel " GPB_TEST_KERNEL);
    zactor_destroy (&s_node.actor);
    gpb_config_destroy (&s_node.config);
}
END_TEST

GPB_TEST_MAIN ("gpb_broker_host", 60, test_messages_go_to_the_host_at_once,
               test_payloads_are_not_copied_either_way,
               test_a_message_is_answered_once_whatever_its_host_says,
               test_a_message_whose_time_is_up_is_answered_and_its_late_answer_dropped,
               test_a_message_that_is_taken_back_leaves_its_hosts_queue,
               test_hosts_are_told_of_clients_that_leave,
               test_a_node_that_stops_waits_for_its_hosts_and_answers_the_rest,
               test_messages_go_to_the_host_with_the_fewest_and_keys_to_their_own,
               test_where_no_host_is_the_answer_says_why, test_commands_come_in_their_order,
               test_what_only_persistent_kernels_know_is_refused_for_others,
               test_a_clients_messages_are_bounded, test_the_limits_of_a_key_hold_for_messages_too,
               test_a_kernel_is_said_to_be_where_its_hosts_say,
               test_the_configurations_settings_are_the_kernels)
