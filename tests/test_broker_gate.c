//  Tests of gpb_broker_gate: what a broker lets a name do, from accepting a request to the device's
//  last word on it, with a device whose words the test chooses.

#include "gpb_test_broker.h"

#include <string.h>

static gpb_test_broker_t s_broker;
static gpb_test_executor_t *s_device;

static void
s_open (const char *limits)
{
    memset (&s_broker, 0, sizeof s_broker);
    gpb_test_broker_configure (&s_broker, "limits", limits);
    gpb_test_broker_configure (&s_broker, "allow_register", "true");
    gpb_test_broker_open (&s_broker, 1);
    s_device = &s_broker.devices [0];
}

static void
s_execute (uint64_t id, uint32_t timeout_ms)
{
    gpb_test_peer_execute (&s_broker.client, id, GPB_TEST_KERNEL, -1, timeout_ms);
}

static const Gpb__V1__Reply *
s_expect (uint64_t id, gpb_status_t status)
{
    return gpb_test_peer_expect (&s_broker.client, id, status);
}

static void
s_rent (uint64_t id, uint64_t size, uint32_t timeout_ms)
{
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Rent rent = GPB__V1__RENT__INIT;
    request.id = id;
    request.timeout_ms = timeout_ms;
    request.body_case = GPB__V1__REQUEST__BODY_RENT;
    request.rent = &rent;
    rent.size = size;
    gpb_test_peer_send (&s_broker.client, &request, NULL);
}

//  The device's answer to a rent: OK, with this handle.
static void
s_give (const gpb_test_work_t *work, uint64_t handle)
{
    Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
    Gpb__V1__RentReply rent = GPB__V1__RENT_REPLY__INIT;
    unsigned char bytes [128];
    reply.version = 1;
    reply.id = work->id;
    reply.body_case = GPB__V1__REPLY__BODY_RENT;
    reply.rent = &rent;
    rent.handle = handle;
    gpb_test_executor_answer_raw (s_device, &work->hop, bytes,
                                  gpb__v1__reply__pack (&reply, bytes));
}

START_TEST (test_a_request_counts_until_its_device_is_done_with_it)
{
    gpb_test_work_t work;
    s_open ("-:in_flight=1");
    s_execute (1, 20000);
    gpb_test_executor_take (s_device, &work);
    s_execute (2, 20000);
    const Gpb__V1__Reply *reply = s_expect (2, GPB_PERMISSION_DENIED);
    ck_assert_ptr_nonnull (strstr (reply->message, "may have 1 requests in flight"));

    //  Taken back, it is answered; the device is still at it.
    gpb_test_peer_cancel (&s_broker.client, 3, 1);
    s_expect (1, GPB_CANCELLED);
    s_expect (3, GPB_OK);
    s_execute (4, 20000);
    s_expect (4, GPB_PERMISSION_DENIED);
    gpb_test_executor_finish (s_device, &work);

    //  Refused until the broker has read that; then the device has it.
    bool is_free = false;
    for (uint64_t id = 5; !is_free; id++) {
        s_execute (id, 20000);
        bool is_refused = false;
        while (!is_free && !is_refused) {
            is_free = gpb_test_executor_poll (s_device, &work);
            is_refused = zsock_events (s_broker.client.dealer) & ZMQ_POLLIN;
        }
        if (is_refused)
            s_expect (id, GPB_PERMISSION_DENIED);
    }
    gpb_test_executor_finish (s_device, &work);
    gpb_test_broker_close (&s_broker);
}
END_TEST

START_TEST (test_a_request_that_never_reached_a_device_counts_no_more_when_it_is_answered)
{
    gpb_test_work_t works [2];
    s_open ("-:in_flight=3");
    gpb_test_broker_fill (&s_broker, works, 20000);
    s_execute (3, 50);    //  waits, and its time is up
    s_execute (4, 20000);
    const Gpb__V1__Reply *reply = s_expect (4, GPB_PERMISSION_DENIED);
    ck_assert_ptr_nonnull (strstr (reply->message, "and has 3"));
    s_expect (3, GPB_DEADLINE_EXCEEDED);
    s_execute (5, 50);
    s_expect (5, GPB_DEADLINE_EXCEEDED);
    for (unsigned number = 0; number < 2; number++)
        gpb_test_executor_finish (s_device, &works [number]);
    s_expect (1, GPB_OK);
    s_expect (2, GPB_OK);
    gpb_test_broker_close (&s_broker);
}
END_TEST

START_TEST (test_a_rent_that_is_given_too_late_counts_until_its_connection_ends)
{
    gpb_test_work_t work;
    s_open ("-:rent_size=1000");
    s_device->available_memory = 1000000;
    s_rent (1, 600, 50);
    gpb_test_executor_take (s_device, &work);
    s_expect (1, GPB_DEADLINE_EXCEEDED);
    s_rent (2, 600, 20000);
    s_expect (2, GPB_PERMISSION_DENIED);
    s_give (&work, 77);
    gpb_test_peer_settle (&s_broker.client);
    s_rent (3, 600, 20000);
    s_expect (3, GPB_PERMISSION_DENIED);

    //  One that the device refuses is not held against anybody.
    s_rent (4, 400, 20000);
    gpb_test_executor_take (s_device, &work);
    gpb_test_executor_answer (s_device, &work, GPB_RESOURCE_EXHAUSTED, "none left", NULL);
    s_expect (4, GPB_RESOURCE_EXHAUSTED);
    s_rent (5, 400, 20000);
    gpb_test_executor_take (s_device, &work);
    s_give (&work, 78);
    s_expect (5, GPB_OK);
    s_rent (6, 1, 20000);
    s_expect (6, GPB_PERMISSION_DENIED);
    gpb_test_broker_close (&s_broker);
}
END_TEST

START_TEST (test_what_a_name_may_not_do_reaches_no_device)
{
    s_open ("-:kernels=nothing,register=false");
    s_execute (1, 20000);
    s_expect (1, GPB_PERMISSION_DENIED);
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__RegisterKernel body = GPB__V1__REGISTER_KERNEL__INIT;
    char definition [] = "id = \"new\";\n", source [] = " ";
    request.id = 2;
    request.body_case = GPB__V1__REQUEST__BODY_REGISTER_KERNEL;
    request.register_kernel = &body;
    body.definition = definition;
    body.source = source;
    gpb_test_peer_send (&s_broker.client, &request, NULL);
    s_expect (2, GPB_PERMISSION_DENIED);
    gpb_test_broker_no_work (&s_broker, s_device);
    gpb_test_broker_close (&s_broker);
}
END_TEST

GPB_TEST_MAIN ("gpb_broker_gate", 20, test_a_request_counts_until_its_device_is_done_with_it,
               test_a_request_that_never_reached_a_device_counts_no_more_when_it_is_answered,
               test_a_rent_that_is_given_too_late_counts_until_its_connection_ends,
               test_what_a_name_may_not_do_reaches_no_device)
