//  Tests of gpb_executors: what a device gets from its broker, and what comes back.

#include "gpb_test.h"

#include "gpb_clock.h"
#include "gpb_executors.h"
#include "gpb_test_peer.h"

static gpb_error_t error;
static gpb_executors_t s_executors;
static gpb_test_executor_t s_device;

static void
s_open (void)
{
    gpb_test_executor_open (&s_device, "device");
    ck_assert_ok (gpb_executors_connect (&s_executors, 3, s_device.endpoint, &error));
    ck_assert (gpb_executors_has (&s_executors, 3));
    ck_assert (!gpb_executors_has (&s_executors, 2));
}

static void
s_close (void)
{
    gpb_executors_clear (&s_executors);
    ck_assert (!gpb_executors_has (&s_executors, 3));
    gpb_test_executor_close (&s_device);
}

//  Waits for the device's next answer.
static void
s_recv (gpb_hop_t *hop, gpb_message_t *message)
{
    zmq_pollitem_t item = { gpb_executors_socket (&s_executors, 3), 0, ZMQ_POLLIN, 0 };
    ck_assert_int_eq (zmq_poll (&item, 1, GPB_TEST_PATIENCE_MS), 1);
    ck_assert (gpb_executors_recv (&s_executors, 3, hop, message));
}

//  An entry whose message has one payload; its header is returned packed.
static zmq_msg_t
s_entry (gpb_entry_t *entry, uint64_t id)
{
    *entry = (gpb_entry_t){ .slot = 17,
                            .generation = 4,
                            .key = { .client = 9, .id = id },
                            .attempts = 2,
                            .deadline = { .key = 5000 } };
    gpb_message_init (&entry->message);
    zmq_msg_t payload, header;
    gpb_test_payload (&payload, 100000);
    ck_assert_ok (gpb_message_add (&entry->message, &payload, &error));
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Execute execute = GPB__V1__EXECUTE__INIT;
    request.version = GPB_PROTOCOL_VERSION;
    request.id = id;
    request.body_case = GPB__V1__REQUEST__BODY_EXECUTE;
    request.execute = &execute;
    zmq_msg_init (&header);
    ck_assert_ok (gpb_codec_pack (&request.base, &header, &error));
    return header;
}

START_TEST (test_a_request_goes_out_with_its_hop_and_comes_back_with_it)
{
    s_open ();
    gpb_connection_t connection = { .is_inproc = true };
    for (int keeps = 0; keeps < 2; keeps++) {
        gpb_entry_t entry;
        zmq_msg_t header = s_entry (&entry, 5);
        entry.connection = keeps ? &connection : NULL;
        const void *data = zmq_msg_data (&entry.message.payloads [0]);
        gpb_executors_forward (&s_executors, 3, &entry, &header, keeps, 2000);
        zmq_msg_close (&header);
        ck_assert_uint_eq (entry.message.payloads_count, keeps ? 1 : 0);

        gpb_test_work_t work;
        gpb_test_executor_take (&s_device, &work);
        ck_assert_uint_eq (work.id, 5);
        ck_assert_ptr_eq (work.data, data);    //  shared or moved, never copied
        ck_assert_uint_eq (work.hop.slot, 17);
        ck_assert_uint_eq (work.hop.generation, 4);
        ck_assert_uint_eq (work.hop.owner, 9);
        ck_assert_uint_eq (work.hop.attempt, 2);
        ck_assert_uint_eq (work.hop.flags, keeps ? GPB_HOP_INPROC : 0);
        ck_assert_uint_eq (work.hop.remaining_ns, 3000);
        gpb_test_executor_finish (&s_device, &work);
        gpb_hop_t hop;
        gpb_message_t message;
        gpb_message_init (&message);
        s_recv (&hop, &message);
        ck_assert_uint_eq (hop.slot, 17);
        ck_assert (!gpb_executors_is_own (&hop));
        ck_assert (s_executors.touched [3]);
        ck_assert (!gpb_executors_recv (&s_executors, 3, &hop, &message));
        ck_assert (!s_executors.touched [3]);
        gpb_message_clear (&message);
        gpb_message_clear (&entry.message);
    }
    s_close ();
}
END_TEST

START_TEST (test_what_is_late_has_no_time_left)
{
    s_open ();
    gpb_entry_t entry;
    zmq_msg_t header = s_entry (&entry, 5);
    gpb_executors_forward (&s_executors, 3, &entry, &header, false, 5001);
    zmq_msg_close (&header);
    gpb_test_work_t work;
    gpb_test_executor_take (&s_device, &work);
    ck_assert_uint_eq (work.hop.remaining_ns, 0);
    gpb_message_clear (&entry.message);
    s_close ();
}
END_TEST

START_TEST (test_requests_of_the_brokers_own_are_known_by_their_answers)
{
    s_open ();
    gpb_executors_ask_figures (&s_executors, 3);
    gpb_executors_cancel (&s_executors, 3, 21, 6);
    gpb_executors_goodbye (&s_executors, 3, 22);
    gpb_test_work_t work;
    uint64_t end_ns = gpb_clock_ns () + GPB_TEST_PATIENCE_MS * GPB_NS_PER_MS;
    while (!s_device.goodbyes && gpb_clock_ns () < end_ns)
        ck_assert (!gpb_test_executor_poll (&s_device, &work));
    ck_assert_uint_eq (s_device.stats_asked, 1);
    ck_assert_uint_eq (s_device.cancelled_owner, 21);
    ck_assert_uint_eq (s_device.cancelled_id, 6);
    ck_assert_uint_eq (s_device.goodbye_owner, 22);
    gpb_hop_t hop;
    gpb_message_t message;
    gpb_message_init (&message);
    for (unsigned count = 0; count < 3; count++) {
        s_recv (&hop, &message);
        ck_assert (gpb_executors_is_own (&hop));
    }
    gpb_message_clear (&message);
    s_close ();
}
END_TEST

START_TEST (test_what_is_no_endpoint_is_refused)
{
    ck_assert_refused (gpb_executors_connect (&s_executors, 0, "nonsense", &error),
                       GPB_INVALID_ARGUMENT, "cannot connect to nonsense");
    ck_assert (!gpb_executors_has (&s_executors, 0));
    ck_assert (!gpb_executors_has (&s_executors, GPB_EXECUTORS_MAX));
    ck_assert_ptr_null (gpb_executors_socket (&s_executors, 0));
}
END_TEST

START_TEST (test_a_packed_request_is_told_to_a_device_as_the_brokers_own)
{
    s_open ();
    gpb_entry_t entry;
    zmq_msg_t header = s_entry (&entry, 5);
    gpb_executors_tell (&s_executors, 3, &header);
    gpb_test_work_t work;
    gpb_test_executor_take (&s_device, &work);
    ck_assert_int_eq (work.kind, GPB__V1__REQUEST__BODY_EXECUTE);
    ck_assert (gpb_executors_is_own (&work.hop));
    ck_assert_uint_eq (work.hop.owner, 0);
    ck_assert_uint_gt (zmq_msg_size (&header), 0);    //  it stays the caller's
    zmq_msg_close (&header);
    gpb_message_clear (&entry.message);
    s_close ();
}
END_TEST

START_TEST (test_a_host_is_an_executor_of_its_own)
{
    const unsigned host = gpb_executors_host (3);
    ck_assert_uint_eq (gpb_executors_device (host), 3);
    s_open ();
    gpb_test_executor_t other;
    gpb_test_executor_open_host (&other, "host", "echo");
    ck_assert (!gpb_executors_has (&s_executors, host));
    ck_assert_ok (gpb_executors_connect (&s_executors, host, other.endpoint, &error));
    ck_assert (gpb_executors_has (&s_executors, host));
    ck_assert_uint_eq (s_executors.count, 2);
    ck_assert_ptr_ne (gpb_executors_socket (&s_executors, host),
                      gpb_executors_socket (&s_executors, 3));
    gpb_entry_t entry;
    zmq_msg_t header = s_entry (&entry, 5);
    gpb_executors_forward (&s_executors, host, &entry, &header, false, 2000);
    zmq_msg_close (&header);
    ck_assert (s_executors.touched [host] && !s_executors.touched [3]);
    gpb_test_work_t work;
    gpb_test_executor_take (&other, &work);
    ck_assert_uint_eq (work.hop.flags, GPB_HOP_HOST);
    ck_assert_uint_eq (work.hop.slot, 17);
    ck_assert (!gpb_test_executor_poll (&s_device, &work));
    gpb_executors_disconnect (&s_executors, 3);
    ck_assert (gpb_executors_has (&s_executors, host));
    ck_assert_uint_eq (s_executors.numbers [0], host);
    gpb_executors_clear (&s_executors);
    ck_assert (!gpb_executors_has (&s_executors, host));
    ck_assert_uint_eq (s_executors.count, 0);
    gpb_message_clear (&entry.message);
    gpb_test_executor_close (&other);
    s_close ();
}
END_TEST

START_TEST (test_a_host_at_its_devices_endpoint_shares_its_socket)
{
    const unsigned host = gpb_executors_host (3);
    s_open ();
    ck_assert_ok (gpb_executors_connect (&s_executors, host, s_device.endpoint, &error));
    ck_assert_uint_eq (s_executors.count, 1);
    ck_assert_ptr_eq (gpb_executors_socket (&s_executors, host),
                      gpb_executors_socket (&s_executors, 3));
    gpb_executors_cancel (&s_executors, 3, 21, 6);
    gpb_executors_cancel (&s_executors, host, 22, 7);
    ck_assert (s_executors.touched [3] && !s_executors.touched [host]);
    gpb_test_work_t work;
    uint64_t end_ns = gpb_clock_ns () + GPB_TEST_PATIENCE_MS * GPB_NS_PER_MS;
    while (s_device.cancels < 2 && gpb_clock_ns () < end_ns)
        ck_assert (!gpb_test_executor_poll (&s_device, &work));
    gpb_hop_t hop;
    gpb_message_t message;
    gpb_message_init (&message);
    for (unsigned count = 0; count < 2; count++) {
        s_recv (&hop, &message);
        ck_assert (gpb_executors_is_own (&hop));
        ck_assert_uint_eq (hop.owner, 21 + count);
        ck_assert_uint_eq (hop.flags, count ? GPB_HOP_HOST : 0);
    }
    gpb_message_clear (&message);
    gpb_executors_disconnect (&s_executors, 3);    //  both are gone
    ck_assert (!gpb_executors_has (&s_executors, host));
    ck_assert_uint_eq (s_executors.count, 0);
    s_close ();
}
END_TEST

GPB_TEST_MAIN ("gpb_executors", 20, test_a_request_goes_out_with_its_hop_and_comes_back_with_it,
               test_what_is_late_has_no_time_left,
               test_requests_of_the_brokers_own_are_known_by_their_answers,
               test_what_is_no_endpoint_is_refused,
               test_a_packed_request_is_told_to_a_device_as_the_brokers_own,
               test_a_host_is_an_executor_of_its_own,
               test_a_host_at_its_devices_endpoint_shares_its_socket)
