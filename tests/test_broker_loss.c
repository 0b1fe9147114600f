//  Tests of gpb_broker with stand-ins for its devices, which are lost and come back.

#include "gpb_executors.h"
#include "gpb_test.h"
#include "gpb_test_broker.h"

#include <string.h>

static gpb_test_broker_t s_node;

static void
s_send (uint64_t id, int device, bool is_idempotent)
{
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Execute execute = GPB__V1__EXECUTE__INIT;
    request.id = id;
    request.idempotent = is_idempotent;
    request.body_case = GPB__V1__REQUEST__BODY_EXECUTE;
    request.execute = &execute;
    execute.kernel = (char *) GPB_TEST_KERNEL;
    if (device >= 0) {
        execute.placement_case = GPB__V1__EXECUTE__PLACEMENT_DEVICE;
        execute.device = (uint32_t) device;
    }
    gpb_test_peer_send (&s_node.client, &request, NULL);
}

//  What the node says of its first device; borrowed until the next question.
static const Gpb__V1__Device *
s_ask_device (void)
{
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__ListDevices body = GPB__V1__LIST_DEVICES__INIT;
    request.id = 500;
    request.body_case = GPB__V1__REQUEST__BODY_DEVICES;
    request.devices = &body;
    gpb_test_peer_send (&s_node.client, &request, NULL);
    return gpb_test_peer_expect (&s_node.client, 500, GPB_OK)->devices->devices [0];
}

//  What the device has said is known once it is said of it.
static void
s_await_state (Gpb__V1__DeviceState state)
{
    while (s_ask_device ()->state != state)
        continue;
}

static void
s_answer_lost (const gpb_test_work_t *work)
{
    gpb_test_executor_answer (&s_node.devices [0], work, GPB_UNAVAILABLE, "it crashed", NULL);
}

START_TEST (test_what_may_run_twice_waits_for_the_same_device)
{
    gpb_test_broker_open (&s_node, 1);
    gpb_test_executor_t *device = &s_node.devices [0];
    gpb_test_work_t twice, once, work;
    s_send (1, 0, true);
    gpb_test_executor_take (device, &twice);
    s_send (2, 0, false);
    gpb_test_executor_take (device, &once);
    gpb_test_executor_lose (device, false, "it crashed");
    s_answer_lost (&twice);
    s_answer_lost (&once);
    const Gpb__V1__Reply *reply = gpb_test_peer_expect (&s_node.client, 2, GPB_UNAVAILABLE);
    ck_assert_str_eq (reply->message, "it crashed");

    //  It is not handed over before the device is back, and neither is what comes meanwhile.
    s_send (3, -1, false);
    gpb_test_broker_no_work (&s_node, device);
    gpb_test_executor_return (device);
    for (uint64_t id = 1; id <= 3; id += 2) {
        gpb_test_executor_take (device, &work);
        ck_assert_uint_eq (work.id, id);
        gpb_test_executor_finish (device, &work);
        gpb_test_peer_expect (&s_node.client, id, GPB_OK);
    }
    gpb_test_broker_close (&s_node);
}
END_TEST

START_TEST (test_a_device_is_said_to_be_restarting_and_why)
{
    gpb_test_broker_open (&s_node, 1);
    gpb_test_executor_lose (&s_node.devices [0], false, "killed by signal 11");
    s_await_state (GPB__V1__DEVICE_STATE__RESTARTING);
    const Gpb__V1__Device *device = s_ask_device ();
    ck_assert_str_eq (device->reason, "killed by signal 11");
    ck_assert_uint_eq (device->restarts, 3);
    ck_assert_uint_eq (device->available_memory, 0);
    ck_assert_str_eq (device->name, "first");    //  what it is does not change
    gpb_test_executor_return (&s_node.devices [0]);
    s_await_state (GPB__V1__DEVICE_STATE__READY);
    device = s_ask_device ();
    ck_assert_str_eq (device->reason, "");
    ck_assert_uint_eq (device->restarts, 3);
    gpb_test_broker_close (&s_node);
}
END_TEST

//  It may come back all the same, and then serves.
START_TEST (test_nobody_waits_for_a_device_that_is_lost_for_longer)
{
    gpb_test_broker_open (&s_node, 1);
    gpb_test_executor_t *device = &s_node.devices [0];
    gpb_test_executor_lose (device, true, "no such card");
    s_await_state (GPB__V1__DEVICE_STATE__LOST);
    s_send (1, 0, true);
    ck_assert_ptr_nonnull (
        strstr (gpb_test_peer_expect (&s_node.client, 1, GPB_UNAVAILABLE)->message,
                "no such card"));
    gpb_test_executor_return (device);
    s_await_state (GPB__V1__DEVICE_STATE__READY);
    s_send (2, 0, true);
    gpb_test_work_t work;
    gpb_test_executor_take (device, &work);
    gpb_test_executor_finish (device, &work);
    gpb_test_peer_expect (&s_node.client, 2, GPB_OK);
    gpb_test_broker_close (&s_node);
}
END_TEST

//  A request that crashes every device that it gets is answered at some time.
START_TEST (test_what_is_lost_again_and_again_is_answered)
{
    gpb_test_broker_open (&s_node, 1);
    gpb_test_executor_t *device = &s_node.devices [0];
    s_send (1, 0, true);
    for (unsigned attempt = 0; attempt < 4; attempt++) {
        gpb_test_work_t work;
        gpb_test_executor_take (device, &work);
        ck_assert_uint_eq (work.hop.attempt, attempt);
        gpb_test_executor_lose (device, false, "it crashed");
        s_answer_lost (&work);
        gpb_test_executor_return (device);
    }
    gpb_test_peer_expect (&s_node.client, 1, GPB_UNAVAILABLE);
    gpb_test_broker_no_work (&s_node, device);
    gpb_test_broker_close (&s_node);
}
END_TEST

START_TEST (test_a_request_whose_time_is_up_waits_for_no_device)
{
    gpb_test_broker_open (&s_node, 1);
    gpb_test_executor_lose (&s_node.devices [0], false, "it crashed");
    s_await_state (GPB__V1__DEVICE_STATE__RESTARTING);
    gpb_test_peer_execute (&s_node.client, 1, GPB_TEST_KERNEL, 0, 50);
    gpb_test_peer_expect (&s_node.client, 1, GPB_DEADLINE_EXCEEDED);
    gpb_test_executor_return (&s_node.devices [0]);
    gpb_test_broker_no_work (&s_node, &s_node.devices [0]);
    gpb_test_broker_close (&s_node);
}
END_TEST

static void
s_register (uint64_t id)
{
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__RegisterKernel body = GPB__V1__REGISTER_KERNEL__INIT;
    request.id = id;
    request.body_case = GPB__V1__REQUEST__BODY_REGISTER_KERNEL;
    request.register_kernel = &body;
    body.definition = (char *) "id = \"fresh\"; source = \"fresh.c\"; global = [ \"n\" ];\n"
                               "parameters = ( { name = \"n\"; direction = \"scalar\"; type = "
                               "\"u32\"; } );";
    body.source = (char *) "KERNEL void fresh (uint n) { (void) n; }";
    body.replace = true;
    gpb_test_peer_send (&s_node.client, &request, NULL);
}

//  The next that a device gets is the kernel, from the broker itself, and for good.
static void
s_expect_kernel (gpb_test_executor_t *device)
{
    gpb_test_work_t work;
    gpb_test_executor_take (device, &work);
    ck_assert_int_eq (work.kind, GPB__V1__REQUEST__BODY_REGISTER_KERNEL);
    ck_assert (gpb_executors_is_own (&work.hop));
    ck_assert (!work.is_check);
    gpb_test_executor_finish (device, &work);
}

//  Before any work; one that was replaced is told once.
START_TEST (test_a_device_that_is_back_gets_the_kernels_of_clients)
{
    gpb_test_broker_configure (&s_node, "allow_register", "true");
    gpb_test_broker_open (&s_node, 1);
    gpb_test_executor_t *device = &s_node.devices [0];
    gpb_test_work_t work;
    for (uint64_t id = 1; id <= 2; id++) {
        s_register (id);
        for (unsigned round = 0; round < 2; round++) {
            gpb_test_executor_take (device, &work);
            gpb_test_executor_finish (device, &work);
        }
        gpb_test_peer_expect (&s_node.client, id, GPB_OK);
    }
    gpb_test_executor_lose (device, false, "it crashed");
    s_await_state (GPB__V1__DEVICE_STATE__RESTARTING);
    s_send (3, 0, false);
    gpb_test_executor_return (device);
    s_expect_kernel (device);
    gpb_test_executor_take (device, &work);
    ck_assert_uint_eq (work.id, 3);
    gpb_test_executor_finish (device, &work);
    gpb_test_peer_expect (&s_node.client, 3, GPB_OK);
    gpb_test_broker_close (&s_node);
}
END_TEST

START_TEST (test_a_kernel_that_comes_while_a_device_is_away_is_there_when_it_is_back)
{
    gpb_test_broker_configure (&s_node, "allow_register", "true");
    gpb_test_broker_open (&s_node, 2);
    gpb_test_executor_t *lost = &s_node.devices [0], *other = &s_node.devices [1];
    gpb_test_work_t work;
    gpb_test_executor_lose (lost, false, "it crashed");
    s_await_state (GPB__V1__DEVICE_STATE__RESTARTING);
    s_register (1);
    gpb_test_executor_take (other, &work);
    gpb_test_executor_finish (other, &work);
    gpb_test_executor_take (other, &work);    //  the second round has begun without the lost one
    gpb_test_executor_return (lost);
    s_await_state (GPB__V1__DEVICE_STATE__READY);
    gpb_test_executor_finish (other, &work);
    gpb_test_peer_expect (&s_node.client, 1, GPB_OK);
    s_expect_kernel (lost);
    gpb_test_broker_close (&s_node);
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Kernel hosts

static void
s_send_message (uint64_t id, bool is_idempotent)
{
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Execute execute = GPB__V1__EXECUTE__INIT;
    request.id = id;
    request.idempotent = is_idempotent;
    request.body_case = GPB__V1__REQUEST__BODY_EXECUTE;
    request.execute = &execute;
    execute.kernel = (char *) GPB_TEST_PERSISTENT;
    zmq_msg_t payload;
    gpb_test_payload (&payload, 5000);
    gpb_test_peer_send (&s_node.client, &request, &payload);
}

//  The host is at the device's endpoint, as a supervisor's is.
START_TEST (test_messages_of_a_lost_process_are_answered_and_what_may_run_twice_runs_again)
{
    gpb_test_broker_open_isolated (&s_node);
    gpb_test_executor_t *device = &s_node.devices [0];
    gpb_test_work_t twice, once, work;
    s_send_message (1, true);
    gpb_test_executor_take (device, &twice);
    ck_assert (twice.hop.flags & GPB_HOP_HOST);
    s_send_message (2, false);
    gpb_test_executor_take (device, &once);
    s_send (3, 0, false);
    gpb_test_executor_take (device, &work);
    ck_assert (!(work.hop.flags & GPB_HOP_HOST));
    gpb_test_executor_lose (device, false, "it crashed");
    s_answer_lost (&twice);
    s_answer_lost (&once);
    s_answer_lost (&work);
    gpb_test_peer_expect (&s_node.client, 2, GPB_UNAVAILABLE);
    gpb_test_peer_expect (&s_node.client, 3, GPB_UNAVAILABLE);
    //  It is with the supervisor already, which keeps it for the next process.
    gpb_test_executor_take (device, &work);
    ck_assert_uint_eq (work.id, 1);
    ck_assert_uint_eq (work.hop.attempt, 1);
    ck_assert (work.hop.flags & GPB_HOP_HOST);
    ck_assert_uint_eq (work.size, 5000);
    gpb_test_executor_return (device);
    s_await_state (GPB__V1__DEVICE_STATE__READY);
    gpb_test_executor_finish (device, &work);
    gpb_test_peer_expect (&s_node.client, 1, GPB_OK);
    gpb_test_peer_settle (&s_node.client);
    gpb_test_broker_close (&s_node);
}
END_TEST

START_TEST (test_a_message_that_is_lost_with_one_host_runs_on_another)
{
    gpb_test_broker_open_hosts (&s_node, 2);
    gpb_test_work_t work;
    s_send_message (1, true);
    gpb_test_executor_take (&s_node.hosts [0], &work);
    gpb_test_executor_answer (&s_node.hosts [0], &work, GPB_UNAVAILABLE, "its lane failed", NULL);
    gpb_test_executor_take (&s_node.hosts [1], &work);
    ck_assert_uint_eq (work.id, 1);
    ck_assert_uint_eq (work.hop.attempt, 1);
    gpb_test_executor_finish (&s_node.hosts [1], &work);
    gpb_test_peer_expect (&s_node.client, 1, GPB_OK);
    s_send_message (2, false);
    gpb_test_executor_take (&s_node.hosts [0], &work);
    gpb_test_executor_answer (&s_node.hosts [0], &work, GPB_UNAVAILABLE, "its lane failed", NULL);
    gpb_test_peer_expect (&s_node.client, 2, GPB_UNAVAILABLE);
    gpb_test_broker_no_work (&s_node, &s_node.hosts [1]);
    gpb_test_broker_close (&s_node);
}
END_TEST

START_TEST (test_a_message_that_is_lost_everywhere_is_answered)
{
    gpb_test_broker_open_isolated (&s_node);
    gpb_test_executor_t *device = &s_node.devices [0];
    s_send_message (1, true);
    for (unsigned attempt = 0; attempt < 4; attempt++) {
        gpb_test_work_t work;
        gpb_test_executor_take (device, &work);
        ck_assert_uint_eq (work.hop.attempt, attempt);
        gpb_test_executor_lose (device, false, "it crashed");
        s_answer_lost (&work);
    }
    gpb_test_peer_expect (&s_node.client, 1, GPB_UNAVAILABLE);
    gpb_test_broker_no_work (&s_node, device);
    gpb_test_broker_close (&s_node);
}
END_TEST

//  A registration of a kernel that stays, or not, under a name.
static void
s_register_as (uint64_t id, const char *name, bool is_persistent, bool is_check)
{
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__RegisterKernel body = GPB__V1__REGISTER_KERNEL__INIT;
    char definition [512];
    snprintf (definition, sizeof definition,
              is_persistent
                  ? "id = \"%s\"; source = \"x.c\"; persistent = true; parameters = (\n"
                    "{ name = \"in\"; direction = \"in\"; type = \"u8\"; },\n"
                    "{ name = \"out\"; direction = \"out\"; type = \"u8\"; count = \"count\"; } );"
                  : "id = \"%s\"; entry = \"x\"; source = \"x.c\"; global = [ \"n\" ];\n"
                    "parameters = ( { name = \"n\"; direction = \"scalar\"; type = \"u32\"; } );",
              name);
    request.id = id;
    request.body_case = GPB__V1__REQUEST__BODY_REGISTER_KERNEL;
    request.register_kernel = &body;
    body.definition = definition;
    body.source = (char *) "code";
    body.replace = true;
    body.check = is_check;
    gpb_test_peer_send (&s_node.client, &request, NULL);
}

//  A round of a registration: both executors are asked, and answer.
static void
s_serve_round (gpb_test_executor_t *executors, bool is_check, gpb_status_t second)
{
    for (unsigned index = 0; index < 2; index++) {
        gpb_test_work_t work;
        gpb_test_executor_take (&executors [index], &work);
        ck_assert_int_eq (work.kind, GPB__V1__REQUEST__BODY_REGISTER_KERNEL);
        ck_assert (work.is_check == is_check);
        gpb_test_executor_answer (&executors [index], &work, index ? second : GPB_OK, "line 1: no",
                                  NULL);
    }
}

START_TEST (test_a_persistent_kernel_is_for_hosts_and_all_must_agree)
{
    gpb_test_broker_configure (&s_node, "allow_register", "true");
    gpb_test_broker_open_hosts (&s_node, 2);
    s_register_as (1, "stays", true, false);
    s_serve_round (s_node.hosts, true, GPB_INVALID_ARGUMENT);
    gpb_test_peer_expect (&s_node.client, 1, GPB_INVALID_ARGUMENT);
    gpb_test_peer_message (&s_node.client, 2, "stays", NULL, -1, 10);
    gpb_test_peer_expect (&s_node.client, 2, GPB_NOT_FOUND);
    s_register_as (3, "stays", true, true);
    s_serve_round (s_node.hosts, true, GPB_OK);
    gpb_test_peer_expect (&s_node.client, 3, GPB_OK);
    s_register_as (4, "stays", true, false);
    s_serve_round (s_node.hosts, true, GPB_OK);
    s_serve_round (s_node.hosts, false, GPB_OK);
    gpb_test_peer_expect (&s_node.client, 4, GPB_OK);
    for (unsigned index = 0; index < 2; index++)
        gpb_test_broker_no_work (&s_node, &s_node.devices [index]);
    gpb_test_work_t work;
    gpb_test_peer_message (&s_node.client, 5, "stays", NULL, 1, 10);
    gpb_test_executor_take (&s_node.hosts [1], &work);
    gpb_test_executor_finish (&s_node.hosts [1], &work);
    gpb_test_peer_expect (&s_node.client, 5, GPB_OK);
    gpb_test_broker_close (&s_node);
}
END_TEST

START_TEST (test_a_kernel_does_not_become_persistent_nor_cease_to_be)
{
    gpb_test_broker_configure (&s_node, "allow_register", "true");
    gpb_test_broker_open_hosts (&s_node, 2);
    s_register_as (1, GPB_TEST_KERNEL, true, false);
    const Gpb__V1__Reply *reply = gpb_test_peer_expect (&s_node.client, 1, GPB_FAILED_PRECONDITION);
    ck_assert_ptr_nonnull (strstr (reply->message, "is not persistent"));
    s_register_as (2, GPB_TEST_PERSISTENT, false, true);    //  a check says the same
    gpb_test_peer_expect (&s_node.client, 2, GPB_FAILED_PRECONDITION);
    //  Nor do two that are under way at once leave one of either kind.
    s_register_as (3, "fresh", true, false);
    s_register_as (4, "fresh", false, false);
    gpb_test_peer_expect (&s_node.client, 4, GPB_FAILED_PRECONDITION);
    s_serve_round (s_node.hosts, true, GPB_OK);
    s_serve_round (s_node.hosts, false, GPB_OK);
    gpb_test_peer_expect (&s_node.client, 3, GPB_OK);
    gpb_test_broker_close (&s_node);
}
END_TEST

START_TEST (test_a_device_that_is_back_gets_each_kernel_where_it_belongs)
{
    gpb_test_broker_configure (&s_node, "allow_register", "true");
    gpb_test_broker_open_isolated (&s_node);
    gpb_test_executor_t *device = &s_node.devices [0];
    gpb_test_work_t work;
    for (uint64_t id = 1; id <= 2; id++) {
        s_register_as (id, id == 1 ? "stays" : "runs", id == 1, false);
        for (unsigned round = 0; round < 2; round++) {
            gpb_test_executor_take (device, &work);
            ck_assert (!(work.hop.flags & GPB_HOP_HOST) == (id == 2));
            gpb_test_executor_finish (device, &work);
        }
        gpb_test_peer_expect (&s_node.client, id, GPB_OK);
    }
    gpb_test_executor_lose (device, false, "it crashed");
    s_await_state (GPB__V1__DEVICE_STATE__RESTARTING);
    gpb_test_executor_return (device);
    unsigned hosted = 0;
    for (unsigned count = 0; count < 2; count++) {
        gpb_test_executor_take (device, &work);
        ck_assert_int_eq (work.kind, GPB__V1__REQUEST__BODY_REGISTER_KERNEL);
        ck_assert (gpb_executors_is_own (&work.hop) && !work.is_check);
        hosted += work.hop.flags & GPB_HOP_HOST ? 1 : 0;
        gpb_test_executor_finish (device, &work);
    }
    ck_assert_uint_eq (hosted, 1);
    gpb_test_broker_close (&s_node);
}
END_TEST

GPB_TEST_MAIN ("gpb_broker_loss", 60, test_what_may_run_twice_waits_for_the_same_device,
               test_a_device_is_said_to_be_restarting_and_why,
               test_nobody_waits_for_a_device_that_is_lost_for_longer,
               test_what_is_lost_again_and_again_is_answered,
               test_a_request_whose_time_is_up_waits_for_no_device,
               test_a_device_that_is_back_gets_the_kernels_of_clients,
               test_a_kernel_that_comes_while_a_device_is_away_is_there_when_it_is_back,
               test_messages_of_a_lost_process_are_answered_and_what_may_run_twice_runs_again,
               test_a_message_that_is_lost_with_one_host_runs_on_another,
               test_a_message_that_is_lost_everywhere_is_answered,
               test_a_persistent_kernel_is_for_hosts_and_all_must_agree,
               test_a_kernel_does_not_become_persistent_nor_cease_to_be,
               test_a_device_that_is_back_gets_each_kernel_where_it_belongs)
