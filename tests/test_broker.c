//  Tests of gpb_broker with stand-ins for its devices: every request is answered once, whatever
//  devices and clients do. What a broker does beside that is in test_broker_node.c.

#include "gpb_clock.h"
#include "gpb_test.h"
#include "gpb_test_broker.h"

#include <string.h>

#define LARGE (256 * 1024)

static gpb_error_t error;
static gpb_test_broker_t s_node;

//  ---------------------------------------------------------------------------------------------------------
//  Once

START_TEST (test_a_request_is_answered_once_whatever_its_device_says)
{
    gpb_test_broker_open (&s_node, 1);
    gpb_test_work_t works [2];
    gpb_test_broker_fill (&s_node, works, 0);
    gpb_test_executor_finish (&s_node.devices [0], &works [0]);
    gpb_test_executor_finish (&s_node.devices [0], &works [0]);
    gpb_test_peer_expect (&s_node.client, 1, GPB_OK);
    gpb_hop_t stale = works [0].hop;
    for (unsigned step = 0; step < 200; step++) {    //  slots that are free, or were never used
        stale.slot = step % 100;
        stale.generation = works [0].hop.generation + step / 100;
        if (stale.slot != works [1].hop.slot)
            gpb_test_executor_answer_raw (&s_node.devices [0], &stale, "\x08\x01", 2);
    }
    gpb_hop_t none = works [1].hop;
    none.magic++;
    gpb_test_executor_answer_raw (&s_node.devices [0], &none, "\x08\x01", 2);
    gpb_test_peer_settle (&s_node.client);
    gpb_test_executor_finish (&s_node.devices [0], &works [1]);
    gpb_test_peer_expect (&s_node.client, 2, GPB_OK);
    gpb_test_broker_fill (&s_node, works, 0);    //  the book is as it was
    for (unsigned number = 0; number < 2; number++) {
        gpb_test_executor_finish (&s_node.devices [0], &works [number]);
        gpb_test_peer_expect (&s_node.client, number + 1, GPB_OK);
    }
    gpb_test_peer_settle (&s_node.client);
    gpb_test_broker_close (&s_node);
}
END_TEST

START_TEST (test_an_answer_to_what_has_not_been_asked_is_dropped)
{
    gpb_test_broker_open (&s_node, 1);
    gpb_test_work_t works [2], third;
    gpb_test_broker_fill (&s_node, works, 0);
    gpb_test_peer_execute (&s_node.client, 3, GPB_TEST_KERNEL, 0, 0);    //  waits
    gpb_test_peer_settle (&s_node.client);
    for (uint32_t slot = 0; slot < 64; slot++) {
        gpb_hop_t hop = works [0].hop;
        hop.slot = slot;
        if (slot != works [0].hop.slot && slot != works [1].hop.slot)
            gpb_test_executor_answer_raw (&s_node.devices [0], &hop, "\x08\x01\x10\x03", 4);
    }
    gpb_test_peer_settle (&s_node.client);
    gpb_test_executor_finish (&s_node.devices [0], &works [0]);
    gpb_test_peer_expect (&s_node.client, 1, GPB_OK);
    gpb_test_executor_take (&s_node.devices [0], &third);
    ck_assert_uint_eq (third.id, 3);
    gpb_test_executor_finish (&s_node.devices [0], &third);
    gpb_test_peer_expect (&s_node.client, 3, GPB_OK);
    gpb_test_executor_finish (&s_node.devices [0], &works [1]);
    gpb_test_peer_expect (&s_node.client, 2, GPB_OK);
    gpb_test_broker_close (&s_node);
}
END_TEST

START_TEST (test_an_answer_that_cannot_be_read_is_INTERNAL)
{
    gpb_test_broker_open (&s_node, 1);
    gpb_test_work_t works [2];
    gpb_test_broker_fill (&s_node, works, 0);
    gpb_test_executor_answer_raw (&s_node.devices [0], &works [0].hop, "\xFF\xFF", 2);
    gpb_test_peer_expect (&s_node.client, 1, GPB_INTERNAL);
    gpb_test_executor_finish (&s_node.devices [0], &works [1]);
    gpb_test_peer_expect (&s_node.client, 2, GPB_OK);
    gpb_test_broker_close (&s_node);
}
END_TEST

START_TEST (test_an_id_is_free_again_when_it_is_answered)
{
    gpb_test_broker_open (&s_node, 1);
    gpb_test_work_t works [2];
    gpb_test_broker_fill (&s_node, works, 0);
    gpb_test_peer_execute (&s_node.client, 1, GPB_TEST_KERNEL, 0, 0);
    gpb_test_peer_expect (&s_node.client, 1, GPB_ALREADY_EXISTS);
    gpb_test_peer_t other;
    gpb_test_peer_open (&other, "inproc://broker");
    gpb_test_peer_execute (&other, 1, GPB_TEST_KERNEL, 0,
                           0);    //  another connection's ids are its own
    gpb_test_peer_settle (&other);
    gpb_test_executor_finish (&s_node.devices [0], &works [0]);
    gpb_test_peer_expect (&s_node.client, 1, GPB_OK);
    gpb_test_work_t work;
    gpb_test_executor_take (&s_node.devices [0], &work);
    ck_assert_uint_ne (work.hop.owner, works [0].hop.owner);
    gpb_test_executor_finish (&s_node.devices [0], &work);
    gpb_test_peer_expect (&other, 1, GPB_OK);
    gpb_test_peer_execute (&s_node.client, 1, GPB_TEST_KERNEL, 0, 0);
    gpb_test_executor_take (&s_node.devices [0], &work);
    ck_assert_uint_eq (work.hop.owner, works [0].hop.owner);
    gpb_test_executor_finish (&s_node.devices [0], &work);
    gpb_test_peer_expect (&s_node.client, 1, GPB_OK);
    gpb_test_executor_finish (&s_node.devices [0], &works [1]);
    gpb_test_peer_expect (&s_node.client, 2, GPB_OK);
    gpb_test_peer_close (&other);
    gpb_test_broker_close (&s_node);
}
END_TEST

START_TEST (test_payloads_go_through_without_being_copied)
{
    gpb_test_broker_open (&s_node, 1);
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Execute execute = GPB__V1__EXECUTE__INIT;
    request.id = 1;
    request.body_case = GPB__V1__REQUEST__BODY_EXECUTE;
    request.execute = &execute;
    execute.kernel = (char *) GPB_TEST_KERNEL;
    zmq_msg_t payload;
    const void *sent = gpb_test_payload (&payload, LARGE);
    gpb_test_peer_send (&s_node.client, &request, &payload);
    gpb_test_work_t work;
    gpb_test_executor_take (&s_node.devices [0], &work);
    ck_assert_uint_eq (work.payloads_count, 1);
    ck_assert_uint_eq (work.size, LARGE);
    ck_assert_ptr_eq (work.data, sent);
    ck_assert (work.hop.flags & GPB_HOP_INPROC);

    const void *result = gpb_test_payload (&payload, LARGE);
    gpb_test_executor_answer (&s_node.devices [0], &work, GPB_OK, "", &payload);
    gpb_test_peer_expect (&s_node.client, 1, GPB_OK);
    ck_assert_uint_eq (s_node.client.message.payloads_count, 1);
    ck_assert_ptr_eq (zmq_msg_data (&s_node.client.message.payloads [0]), result);
    ck_assert_uint_eq (s_node.client.reply->available_memory, s_node.devices [0].available_memory);
    gpb_test_broker_close (&s_node);
}
END_TEST

START_TEST (test_a_reply_says_how_long_its_request_waited)
{
    gpb_test_broker_open (&s_node, 1);
    gpb_test_work_t works [2], third;
    gpb_test_broker_fill (&s_node, works, 0);
    gpb_test_peer_execute (&s_node.client, 3, GPB_TEST_KERNEL, -1, 0);
    gpb_test_peer_settle (&s_node.client);
    uint64_t start_ns = gpb_clock_ns ();
    zmq_poll (NULL, 0, 20);
    gpb_test_executor_finish (&s_node.devices [0], &works [0]);
    uint64_t waited_ns = gpb_clock_ns () - start_ns;
    gpb_test_peer_expect (&s_node.client, 1, GPB_OK);
    gpb_test_executor_take (&s_node.devices [0], &third);
    ck_assert_uint_le (third.hop.remaining_ns, 30 * GPB_NS_PER_S - waited_ns);
    gpb_test_executor_finish (&s_node.devices [0], &third);
    ck_assert_uint_ge (gpb_test_peer_expect (&s_node.client, 3, GPB_OK)->queued_ns, waited_ns);
    gpb_test_executor_finish (&s_node.devices [0], &works [1]);
    gpb_test_peer_expect (&s_node.client, 2, GPB_OK);
    gpb_test_broker_close (&s_node);
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Queues

START_TEST (test_what_waits_is_bounded_in_requests)
{
    gpb_test_broker_configure (&s_node, "max_queued_requests", "6");
    gpb_test_broker_open (&s_node, 1);
    gpb_test_work_t works [2], work;
    gpb_test_broker_fill (&s_node, works, 0);
    for (uint64_t id = 3; id <= 5; id++)
        gpb_test_peer_execute (&s_node.client, id, GPB_TEST_KERNEL, -1, 0);
    gpb_test_peer_execute (&s_node.client, 6, GPB_TEST_KERNEL, -1, 0);
    gpb_test_peer_expect (&s_node.client, 6, GPB_RESOURCE_EXHAUSTED);
    gpb_test_peer_execute (&s_node.client, 6, GPB_TEST_KERNEL, 0, 0);
    gpb_test_peer_expect (&s_node.client, 6, GPB_RESOURCE_EXHAUSTED);
    for (unsigned number = 0; number < 2; number++) {
        gpb_test_executor_finish (&s_node.devices [0], &works [number]);
        gpb_test_peer_expect (&s_node.client, number + 1, GPB_OK);
    }
    for (uint64_t id = 3; id <= 5; id++) {    //  first come, first served
        gpb_test_executor_take (&s_node.devices [0], &work);
        ck_assert_uint_eq (work.id, id);
        gpb_test_executor_finish (&s_node.devices [0], &work);
        gpb_test_peer_expect (&s_node.client, id, GPB_OK);
    }
    gpb_test_broker_close (&s_node);
}
END_TEST

START_TEST (test_what_waits_is_bounded_in_bytes)
{
    gpb_test_broker_configure (&s_node, "max_queued_size", "131072");
    gpb_test_broker_open (&s_node, 1);
    gpb_test_work_t works [2];
    gpb_test_broker_fill (&s_node, works, 0);
    for (uint64_t id = 3; id <= 4; id++) {
        Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
        Gpb__V1__Execute execute = GPB__V1__EXECUTE__INIT;
        request.id = id;
        request.body_case = GPB__V1__REQUEST__BODY_EXECUTE;
        request.execute = &execute;
        execute.kernel = (char *) GPB_TEST_KERNEL;
        zmq_msg_t payload;
        gpb_test_payload (&payload, 40000);
        gpb_test_peer_send (&s_node.client, &request, &payload);
    }
    ck_assert_ptr_nonnull (
        strstr (gpb_test_peer_expect (&s_node.client, 4, GPB_RESOURCE_EXHAUSTED)->message,
                "131072"));
    gpb_test_peer_cancel (&s_node.client, 10, 3);
    gpb_test_peer_expect (&s_node.client, 3, GPB_CANCELLED);
    gpb_test_peer_expect (&s_node.client, 10, GPB_OK);
    for (unsigned number = 0; number < 2; number++) {
        gpb_test_executor_finish (&s_node.devices [0], &works [number]);
        gpb_test_peer_expect (&s_node.client, number + 1, GPB_OK);
    }
    gpb_test_broker_close (&s_node);
}
END_TEST

START_TEST (test_the_device_that_is_free_first_takes_what_waits)
{
    gpb_test_broker_open (&s_node, 2);
    gpb_test_work_t works [GPB_TEST_DEVICES_MAX][2], work;
    for (unsigned index = 0; index < 4; index++)
        gpb_test_peer_execute (&s_node.client, index + 1, GPB_TEST_KERNEL, -1, 0);
    for (unsigned device = 0; device < 2; device++)
        for (unsigned number = 0; number < 2; number++)
            gpb_test_executor_take (&s_node.devices [device], &works [device][number]);
    gpb_test_peer_execute (&s_node.client, 5, GPB_TEST_KERNEL, -1, 0);
    gpb_test_peer_execute (&s_node.client, 6, GPB_TEST_KERNEL, 0,
                           0);    //  bound, and blocks nobody
    gpb_test_peer_execute (&s_node.client, 7, GPB_TEST_KERNEL, -1, 0);
    gpb_test_broker_no_work (&s_node, &s_node.devices [0]);
    gpb_test_broker_no_work (&s_node, &s_node.devices [1]);
    const uint64_t expected [] = { 5, 7 };
    for (unsigned number = 0; number < 2; number++) {
        gpb_test_executor_finish (&s_node.devices [1], &works [1][number]);
        gpb_test_peer_expect (&s_node.client, works [1][number].id, GPB_OK);
        gpb_test_executor_take (&s_node.devices [1], &work);
        ck_assert_uint_eq (work.id, expected [number]);
        works [1][number] = work;
    }
    gpb_test_broker_no_work (&s_node, &s_node.devices [0]);
    gpb_test_executor_finish (&s_node.devices [0], &works [0][0]);
    gpb_test_peer_expect (&s_node.client, works [0][0].id, GPB_OK);
    gpb_test_executor_take (&s_node.devices [0], &work);
    ck_assert_uint_eq (work.id, 6);
    gpb_test_executor_finish (&s_node.devices [0], &work);
    gpb_test_peer_expect (&s_node.client, 6, GPB_OK);
    gpb_test_executor_finish (&s_node.devices [0], &works [0][1]);
    gpb_test_peer_expect (&s_node.client, works [0][1].id, GPB_OK);
    for (unsigned number = 0; number < 2; number++) {
        gpb_test_executor_finish (&s_node.devices [1], &works [1][number]);
        gpb_test_peer_expect (&s_node.client, works [1][number].id, GPB_OK);
    }
    gpb_test_broker_close (&s_node);
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Time, cancel, clients that leave

START_TEST (test_a_request_is_answered_when_its_time_is_up_wherever_it_is)
{
    gpb_test_broker_open (&s_node, 1);
    gpb_test_work_t works [2], work;
    gpb_test_broker_fill (&s_node, works, 50);
    ck_assert_uint_le (works [0].hop.remaining_ns, 50 * GPB_NS_PER_MS);
    gpb_test_peer_execute (&s_node.client, 3, GPB_TEST_KERNEL, -1, 50);
    for (uint64_t id = 1; id <= 3; id++) {
        const Gpb__V1__Reply *reply =
            gpb_test_peer_expect (&s_node.client, id, GPB_DEADLINE_EXCEEDED);
        ck_assert_ptr_nonnull (strstr (reply->message, id == 3 ? "waited" : "worked"));
    }
    //  Its credit is still taken; what the device says at last gives it back, and is dropped.
    gpb_test_peer_execute (&s_node.client, 4, GPB_TEST_KERNEL, -1, 0);
    gpb_test_broker_no_work (&s_node, &s_node.devices [0]);
    gpb_test_executor_finish (&s_node.devices [0], &works [0]);
    gpb_test_executor_take (&s_node.devices [0], &work);
    ck_assert_uint_eq (work.id, 4);
    gpb_test_executor_finish (&s_node.devices [0], &work);
    gpb_test_peer_expect (&s_node.client, 4, GPB_OK);
    gpb_test_executor_finish (&s_node.devices [0], &works [1]);
    gpb_test_peer_settle (&s_node.client);
    gpb_test_broker_close (&s_node);
}
END_TEST

START_TEST (test_a_request_is_taken_back_wherever_it_is)
{
    gpb_test_broker_open (&s_node, 1);
    gpb_test_work_t works [2], work;
    gpb_test_broker_fill (&s_node, works, 0);
    gpb_test_peer_execute (&s_node.client, 3, GPB_TEST_KERNEL, -1, 0);
    gpb_test_peer_cancel (&s_node.client, 10, 3);    //  waits
    gpb_test_peer_expect (&s_node.client, 3, GPB_CANCELLED);
    gpb_test_peer_expect (&s_node.client, 10, GPB_OK);
    ck_assert_uint_eq (s_node.devices [0].cancels, 0);
    gpb_test_peer_cancel (&s_node.client, 11, 1);    //  is on the device, which is told
    gpb_test_peer_expect (&s_node.client, 1, GPB_CANCELLED);
    gpb_test_peer_expect (&s_node.client, 11, GPB_OK);
    gpb_test_broker_no_work (&s_node, &s_node.devices [0]);
    ck_assert_uint_eq (s_node.devices [0].cancels, 1);
    ck_assert_uint_eq (s_node.devices [0].cancelled_id, 1);
    ck_assert_uint_eq (s_node.devices [0].cancelled_owner, works [0].hop.owner);
    gpb_test_executor_answer (&s_node.devices [0], &works [0], GPB_CANCELLED, "taken back", NULL);
    gpb_test_broker_no_work (&s_node, &s_node.devices [0]);
    gpb_test_peer_cancel (&s_node.client, 12, 1);    //  twice
    gpb_test_peer_expect (&s_node.client, 12, GPB_NOT_FOUND);
    gpb_test_peer_t other;
    gpb_test_peer_open (&other, "inproc://broker");
    gpb_test_peer_cancel (&other, 13, 2);    //  another's
    gpb_test_peer_expect (&other, 13, GPB_NOT_FOUND);
    gpb_test_peer_close (&other);
    gpb_test_peer_execute (&s_node.client, 4, GPB_TEST_KERNEL, -1, 0);    //  the credit is back
    gpb_test_executor_take (&s_node.devices [0], &work);
    ck_assert_uint_eq (work.id, 4);
    gpb_test_executor_finish (&s_node.devices [0], &work);
    gpb_test_peer_expect (&s_node.client, 4, GPB_OK);
    gpb_test_executor_finish (&s_node.devices [0], &works [1]);
    gpb_test_peer_expect (&s_node.client, 2, GPB_OK);
    gpb_test_broker_close (&s_node);
}
END_TEST

//  Waits until the device has been told that somebody left.
static void
s_wait_goodbye (gpb_test_executor_t *device, unsigned goodbyes)
{
    gpb_test_work_t work;
    uint64_t end_ns = gpb_clock_ns () + GPB_TEST_PATIENCE_MS * GPB_NS_PER_MS;
    while (device->goodbyes < goodbyes) {
        ck_assert_uint_lt (gpb_clock_ns (), end_ns);
        ck_assert (!gpb_test_executor_poll (device, &work));
        zmq_poll (NULL, 0, 1);
    }
}

START_TEST (test_a_client_that_leaves_takes_along_what_waits)
{
    gpb_test_broker_open (&s_node, 1);
    ck_assert_ok (
        gpb_pipe_ask (s_node.actor, (const char *[]){ "BIND", "tcp://127.0.0.1:*", NULL }, &error));
    gpb_test_peer_t leaver;
    gpb_test_peer_open (&leaver, error.text);
    gpb_test_work_t works [2], work;
    for (uint64_t id = 1; id <= 3; id++)
        gpb_test_peer_execute (&leaver, id, GPB_TEST_KERNEL, -1, 0);
    for (unsigned number = 0; number < 2; number++)
        gpb_test_executor_take (&s_node.devices [0], &works [number]);
    ck_assert_uint_eq (works [0].hop.flags & GPB_HOP_INPROC, 0);
    gpb_test_peer_settle (&leaver);
    gpb_test_peer_execute (&s_node.client, 4, GPB_TEST_KERNEL, -1, 0);
    gpb_test_peer_close (&leaver);
    s_wait_goodbye (&s_node.devices [0], 1);
    ck_assert_uint_eq (s_node.devices [0].goodbye_owner, works [0].hop.owner);
    gpb_test_executor_finish (&s_node.devices [0], &works [0]);    //  to nobody
    gpb_test_executor_take (&s_node.devices [0], &work);
    ck_assert_uint_eq (work.id, 4);    //  not 3
    gpb_test_executor_finish (&s_node.devices [0], &work);
    gpb_test_peer_expect (&s_node.client, 4, GPB_OK);
    gpb_test_executor_finish (&s_node.devices [0], &works [1]);
    gpb_test_broker_no_work (&s_node, &s_node.devices [0]);
    gpb_test_broker_close (&s_node);
}
END_TEST

START_TEST (test_a_client_that_says_goodbye_is_answered_and_owns_nothing_then)
{
    gpb_test_broker_open (&s_node, 1);
    gpb_test_work_t works [2], work;
    gpb_test_broker_fill (&s_node, works, 0);
    gpb_test_peer_execute (&s_node.client, 3, GPB_TEST_KERNEL, -1, 0);
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Goodbye goodbye = GPB__V1__GOODBYE__INIT;
    request.id = 4;
    request.body_case = GPB__V1__REQUEST__BODY_GOODBYE;
    request.goodbye = &goodbye;
    gpb_test_peer_send (&s_node.client, &request, NULL);
    gpb_test_peer_expect (&s_node.client, 4, GPB_OK);
    s_wait_goodbye (&s_node.devices [0], 1);
    for (unsigned number = 0; number < 2; number++)
        gpb_test_executor_finish (&s_node.devices [0], &works [number]);
    gpb_test_peer_execute (&s_node.client, 1, GPB_TEST_KERNEL, -1, 0);    //  and may go on
    gpb_test_executor_take (&s_node.devices [0], &work);
    ck_assert_uint_eq (work.id, 1);
    ck_assert_uint_ne (work.hop.owner, works [0].hop.owner);
    gpb_test_executor_finish (&s_node.devices [0], &work);
    gpb_test_peer_expect (&s_node.client, 1, GPB_OK);
    gpb_test_broker_close (&s_node);
}
END_TEST

GPB_TEST_MAIN ("gpb_broker", 60, test_a_request_is_answered_once_whatever_its_device_says,
               test_an_answer_to_what_has_not_been_asked_is_dropped,
               test_an_answer_that_cannot_be_read_is_INTERNAL,
               test_an_id_is_free_again_when_it_is_answered,
               test_payloads_go_through_without_being_copied,
               test_a_reply_says_how_long_its_request_waited,
               test_what_waits_is_bounded_in_requests, test_what_waits_is_bounded_in_bytes,
               test_the_device_that_is_free_first_takes_what_waits,
               test_a_request_is_answered_when_its_time_is_up_wherever_it_is,
               test_a_request_is_taken_back_wherever_it_is,
               test_a_client_that_leaves_takes_along_what_waits,
               test_a_client_that_says_goodbye_is_answered_and_owns_nothing_then)
