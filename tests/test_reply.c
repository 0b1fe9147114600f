//  Tests of gpb_reply: results are aligned whatever frame they came in, and what points nowhere is
//  refused.

#include "gpb_test.h"

#include "gpb_alloc.h"
#include "gpb_client_internal.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static gpb_error_t error;

//  A reply to an execute request: results in frames 0 to count - 1, then one inline.
static void
s_message (gpb_message_t *message, const size_t *sizes, size_t count, uint32_t first_frame)
{
    Gpb__V1__Result results [8], *list [8];
    for (size_t index = 0; index <= count; index++) {
        gpb__v1__result__init (&results [index]);
        results [index].value_case = GPB__V1__RESULT__VALUE_FRAME;
        results [index].frame = first_frame + (uint32_t) index;
        list [index] = &results [index];
    }
    results [count].value_case = GPB__V1__RESULT__VALUE_INLINE;
    results [count].inline_.data = (uint8_t *) "inline";
    results [count].inline_.len = 6;
    Gpb__V1__ExecuteReply execute = GPB__V1__EXECUTE_REPLY__INIT;
    execute.n_results = count + 1;
    execute.results = list;
    execute.device = 2;
    Gpb__V1__MessageTiming timing = GPB__V1__MESSAGE_TIMING__INIT;
    execute.message = &timing;
    Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
    reply.version = 1;
    reply.id = 5;
    reply.body_case = GPB__V1__REPLY__BODY_EXECUTE;
    reply.execute = &execute;
    gpb_message_init (message);
    ck_assert_ok (gpb_codec_pack (&reply.base, &message->header, &error));
    for (size_t index = 0; index < count; index++) {
        zmq_msg_t frame;
        zmq_msg_init_size (&frame, sizes [index]);
        memset (zmq_msg_data (&frame), 'a' + (int) index, sizes [index]);
        ck_assert_ok (gpb_message_add (message, &frame, &error));
        zmq_msg_close (&frame);
    }
}

START_TEST (test_results_are_aligned_whatever_frame_they_came_in)
{
    static const size_t sizes [] = { 1, 33, 34, 0, 100000 };
    gpb_message_t message;
    s_message (&message, sizes, 5, 0);
    gpb_reply_t *reply = gpb_reply_new (5);
    ck_assert_ok (gpb_reply_accept (reply, &message, &error));
    ck_assert_uint_eq (gpb_reply_results (reply), 6);
    ck_assert_int_eq (gpb_reply_device (reply), 2);
    for (size_t index = 0; index < 5; index++) {
        size_t size;
        const char *data = gpb_reply_result (reply, index, &size);
        ck_assert_uint_eq (size, sizes [index]);
        ck_assert_ptr_nonnull (data);
        ck_assert_uint_eq ((uintptr_t) data % _Alignof(max_align_t), 0);
        for (size_t at = 0; at < size; at++)
            ck_assert_int_eq (data [at], 'a' + (int) index);
    }
    size_t size;
    ck_assert_mem_eq (gpb_reply_result (reply, 5, &size), "inline", 6);
    ck_assert_uint_eq (size, 6);
    ck_assert_ptr_null (gpb_reply_result (reply, 6, &size));
    ck_assert_uint_eq (size, 0);
    gpb_reply_destroy (&reply);
    ck_assert_ptr_null (reply);
    gpb_message_clear (&message);
}
END_TEST

START_TEST (test_a_result_that_points_at_no_frame_is_refused)
{
    static const size_t sizes [] = { 8, 8 };
    gpb_message_t message;
    s_message (&message, sizes, 2, 1);
    gpb_reply_t *reply = gpb_reply_new (5);
    ck_assert_refused (gpb_reply_accept (reply, &message, &error), GPB_INVALID_ARGUMENT,
                       "without a payload");
    ck_assert_uint_eq (gpb_reply_results (reply), 0);
    gpb_reply_destroy (&reply);
    gpb_message_clear (&message);
}
END_TEST

START_TEST (test_an_answer_of_the_clients_own_has_a_header_too)
{
    gpb_reply_t *reply = gpb_reply_new (77);
    gpb_reply_answer (reply, GPB_UNAVAILABLE, "lost %d", 5);
    ck_assert_uint_eq (gpb_reply_id (reply), 77);
    ck_assert_int_eq (gpb_reply_status (reply), GPB_UNAVAILABLE);
    ck_assert_str_eq (gpb_reply_message (reply), "lost 5");
    ck_assert_uint_eq (gpb_reply_header_peek (reply)->id, 77);
    ck_assert_uint_eq (gpb_reply_results (reply), 0);
    ck_assert_uint_eq (gpb_reply_handle (reply), 0);
    ck_assert_ptr_null (gpb_reply_address (reply));
    ck_assert_int_eq (gpb_reply_device (reply), -1);
    gpb_reply_destroy (&reply);
}
END_TEST

START_TEST (test_an_address_of_another_process_is_none)
{
    static int here;
    Gpb__V1__MapReply map = GPB__V1__MAP_REPLY__INIT;
    map.address = (uint64_t) (uintptr_t) &here;
    Gpb__V1__Reply header = GPB__V1__REPLY__INIT;
    header.version = 1;
    header.body_case = GPB__V1__REPLY__BODY_MAP;
    header.map = &map;
    for (int other = 0; other < 2; other++) {
        map.process = (uint64_t) getpid () + (uint64_t) other;
        gpb_message_t message;
        gpb_message_init (&message);
        ck_assert_ok (gpb_codec_pack (&header.base, &message.header, &error));
        gpb_reply_t *reply = gpb_reply_new (1);
        ck_assert_ok (gpb_reply_accept (reply, &message, &error));
        ck_assert_ptr_eq (gpb_reply_address (reply), other ? NULL : &here);
        gpb_reply_destroy (&reply);
        gpb_message_clear (&message);
    }
}
END_TEST

static gpb_reply_t *
s_accept (const Gpb__V1__Reply *header)
{
    gpb_message_t message;
    gpb_message_init (&message);
    ck_assert_ok (gpb_codec_pack (&header->base, &message.header, &error));
    gpb_reply_t *reply = gpb_reply_new (1);
    ck_assert_ok (gpb_reply_accept (reply, &message, &error));
    gpb_message_clear (&message);
    return reply;
}

START_TEST (test_a_reserve_has_a_handle_and_a_device)
{
    Gpb__V1__ReserveReply reserve = GPB__V1__RESERVE_REPLY__INIT;
    reserve.handle = UINT64_MAX;
    reserve.device = 4;
    Gpb__V1__Reply header = GPB__V1__REPLY__INIT;
    header.version = 1;
    header.body_case = GPB__V1__REPLY__BODY_RESERVE;
    header.reserve = &reserve;
    gpb_reply_t *reply = s_accept (&header);
    ck_assert_uint_eq (gpb_reply_handle (reply), UINT64_MAX);
    ck_assert_int_eq (gpb_reply_device (reply), 4);
    gpb_reply_destroy (&reply);
}
END_TEST

START_TEST (test_only_a_refusal_for_want_of_room_says_when_to_ask_again)
{
    Gpb__V1__Reply header = GPB__V1__REPLY__INIT;
    header.version = 1;
    header.retry_after_ms = 40;
    header.status = GPB__V1__STATUS__RESOURCE_EXHAUSTED;
    gpb_reply_t *reply = s_accept (&header);
    ck_assert_uint_eq (gpb_reply_retry_after_ms (reply), 40);
    //  An answer of the client's own takes the place of all that came.
    gpb_reply_answer (reply, GPB_CANCELLED, "taken back");
    ck_assert_uint_eq (gpb_reply_retry_after_ms (reply), 0);
    ck_assert_int_eq (gpb_reply_status (reply), GPB_CANCELLED);
    gpb_reply_destroy (&reply);
    header.status = GPB__V1__STATUS__UNAVAILABLE;
    reply = s_accept (&header);
    ck_assert_uint_eq (gpb_reply_retry_after_ms (reply), 0);
    gpb_reply_destroy (&reply);
}
END_TEST

START_TEST (test_a_message_says_where_its_time_went)
{
    Gpb__V1__MessageTiming message = GPB__V1__MESSAGE_TIMING__INIT;
    message.clock = (char *) "tsc";
    message.measured = true;
    message.queued_ns = 1;
    message.taken_ns = 2;
    message.handler_ns = 3;
    message.back_ns = 4;
    message.ring_ns = 10;
    message.lane = 31;
    message.on_demand = true;
    Gpb__V1__ExecuteReply execute = GPB__V1__EXECUTE_REPLY__INIT;
    execute.message = &message;
    Gpb__V1__Reply header = GPB__V1__REPLY__INIT;
    header.version = 1;
    header.body_case = GPB__V1__REPLY__BODY_EXECUTE;
    header.execute = &execute;
    gpb_reply_t *reply = s_accept (&header);
    const gpb_message_timing_t *timing = gpb_reply_message_timing (reply);
    ck_assert_ptr_nonnull (timing);
    ck_assert_str_eq (timing->clock, "tsc");
    ck_assert (timing->is_measured && timing->is_on_demand);
    ck_assert_uint_eq (timing->lane, 31);
    ck_assert_uint_eq (timing->queued_ns, 1);
    ck_assert_uint_eq (timing->taken_ns, 2);
    ck_assert_uint_eq (timing->handler_ns, 3);
    ck_assert_uint_eq (timing->back_ns, 4);
    ck_assert_uint_eq (timing->ring_ns, 10);
    //  An answer of the client's own takes the place of all that came.
    gpb_reply_answer (reply, GPB_CANCELLED, "taken back");
    ck_assert_ptr_null (gpb_reply_message_timing (reply));
    gpb_reply_destroy (&reply);

    //  Without a clock there is no time, whatever came.
    message.clock = (char *) "none";
    message.measured = message.on_demand = false;
    reply = s_accept (&header);
    timing = gpb_reply_message_timing (reply);
    ck_assert (!timing->is_measured && !timing->is_on_demand);
    ck_assert_uint_eq (timing->taken_ns + timing->handler_ns + timing->back_ns, 0);
    ck_assert_uint_eq (timing->queued_ns, 1);
    ck_assert_uint_eq (timing->ring_ns, 10);
    gpb_reply_destroy (&reply);

    execute.message = NULL;
    reply = s_accept (&header);
    ck_assert_ptr_null (gpb_reply_message_timing (reply));
    gpb_reply_destroy (&reply);
}
END_TEST

//  A device is 2 bytes of a header where it is empty, and some hundred unpacked.
START_TEST (test_a_header_that_would_unpack_to_megabytes_is_refused)
{
    enum { COUNT = 30000 };
    static Gpb__V1__Device *devices [COUNT];
    Gpb__V1__Device device = GPB__V1__DEVICE__INIT;
    for (size_t index = 0; index < COUNT; index++)
        devices [index] = &device;
    Gpb__V1__DeviceList list = GPB__V1__DEVICE_LIST__INIT;
    list.devices = devices;
    list.n_devices = COUNT;
    Gpb__V1__Reply header = GPB__V1__REPLY__INIT;
    header.version = 1;
    header.body_case = GPB__V1__REPLY__BODY_DEVICES;
    header.devices = &list;
    gpb_message_t message;
    gpb_message_init (&message);
    ck_assert_ok (gpb_codec_pack (&header.base, &message.header, &error));
    gpb_reply_t *reply = gpb_reply_new (5);
    ck_assert_refused (gpb_reply_accept (reply, &message, &error), GPB_RESOURCE_EXHAUSTED,
                       "no memory");
    ck_assert_int_eq (gpb_reply_status (reply), GPB_OK);
    gpb_reply_destroy (&reply);
    gpb_message_clear (&message);
}
END_TEST

START_TEST (test_a_header_that_is_no_reply_is_refused)
{
    //  Version 1, id 1, and a status of eight bytes.
    static const char bytes [] = "\x08\x01\x10\x01\x19\0\0\0\0\0\0\0";
    gpb_message_t message;
    gpb_message_init (&message);
    zmq_msg_init_size (&message.header, sizeof bytes);
    memcpy (zmq_msg_data (&message.header), bytes, sizeof bytes);
    gpb_reply_t *reply = gpb_reply_new (1);
    ck_assert_refused (gpb_reply_accept (reply, &message, &error), GPB_INVALID_ARGUMENT,
                       "the wrong type");
    gpb_reply_destroy (&reply);
    gpb_message_clear (&message);
}
END_TEST

START_TEST (test_the_end_of_memory_refuses_a_reply_whole)
{
    static const size_t sizes [] = { 1, 50 };
    gpb_status_t status = GPB_UNKNOWN;
    for (int after = 0; status != GPB_OK; after++) {
        ck_assert_int_lt (after, 50);
        gpb_message_t message;
        s_message (&message, sizes, 2, 0);
        gpb_reply_t *reply = gpb_reply_new (5);
        gpb_alloc_fail (after, 0);
        status = gpb_reply_accept (reply, &message, &error);
        gpb_alloc_fail (-1, 0);
        if (status != GPB_OK) {
            ck_assert_int_eq (status, GPB_RESOURCE_EXHAUSTED);
            ck_assert_uint_eq (gpb_reply_results (reply), 0);
            gpb_reply_answer (reply, status, "%s", error.text);
            ck_assert_int_eq (gpb_reply_status (reply), GPB_RESOURCE_EXHAUSTED);
        }
        gpb_reply_destroy (&reply);
        gpb_message_clear (&message);
    }
}
END_TEST

GPB_TEST_MAIN ("gpb_reply", 10, test_results_are_aligned_whatever_frame_they_came_in,
               test_a_result_that_points_at_no_frame_is_refused,
               test_an_answer_of_the_clients_own_has_a_header_too,
               test_an_address_of_another_process_is_none, test_a_reserve_has_a_handle_and_a_device,
               test_only_a_refusal_for_want_of_room_says_when_to_ask_again,
               test_a_message_says_where_its_time_went,
               test_a_header_that_would_unpack_to_megabytes_is_refused,
               test_a_header_that_is_no_reply_is_refused,
               test_the_end_of_memory_refuses_a_reply_whole)
