//  Tests of gpb_request: what is written is what is packed, errors wait for the sending, and what
//  was taken is freed exactly once.

#include "gpb_test.h"

#include "gpb_alloc.h"
#include "gpb_client_internal.h"

#include <stdlib.h>
#include <string.h>

static gpb_error_t error;

static void
s_count_free (void *data, void *hint)
{
    (void) data;
    ++*(int *) hint;
}

START_TEST (test_an_execute_request_is_packed_as_it_was_written)
{
    static char taken [40000];
    int frees = 0;
    gpb_request_t *request = gpb_request_execute ("vector_add");
    gpb_request_in (request, "abcd", 4);
    gpb_request_in_take (request, taken, sizeof taken, s_count_free, &frees);
    gpb_request_out (request, 12);
    gpb_request_i32 (request, -5);
    gpb_request_u64 (request, UINT64_MAX);
    gpb_request_f64 (request, 0.25);
    gpb_request_buffer (request, 99, 4, 8);
    gpb_request_set_global (request, 2, (const uint64_t []){ 3, 4 });
    gpb_request_set_local (request, 1, (const uint64_t []){ 64 });
    gpb_request_set_shared (request, 0);
    gpb_request_set_device (request, 0);
    gpb_request_require (request, "fp64");
    gpb_request_set_memory (request, 4096);
    gpb_request_set_priority (request, -3);
    gpb_request_set_idempotent (request);
    gpb_request_set_reservation (request, UINT64_MAX - 1);
    gpb_request_on_demand (request);
    gpb_request_lane (request, 0);

    gpb_message_t message;
    gpb_message_init (&message);
    ck_assert_ok (gpb_request_pack (request, 7, 500, &message, &error));
    gpb_codec_t *codec = gpb_codec_new (&error);
    uint64_t id;
    const Gpb__V1__Request *header = gpb_codec_request (codec, &message.header, &id, &error);
    ck_assert_ptr_nonnull (header);
    ck_assert_uint_eq (id, 7);
    ck_assert_uint_eq (header->timeout_ms, 500);
    const Gpb__V1__Execute *execute = header->execute;
    ck_assert_str_eq (execute->kernel, "vector_add");
    ck_assert_uint_eq (execute->n_arguments, 7);
    ck_assert_uint_eq (execute->arguments [0]->frame, 0);
    ck_assert_uint_eq (execute->arguments [1]->frame, 1);
    ck_assert_uint_eq (execute->arguments [2]->output->size, 12);
    ck_assert_int_eq (execute->arguments [3]->i32, -5);
    ck_assert_uint_eq (execute->arguments [4]->u64, UINT64_MAX);
    ck_assert (execute->arguments [5]->f64 == 0.25);
    ck_assert_uint_eq (execute->arguments [6]->buffer->handle, 99);
    ck_assert_uint_eq (execute->n_global, 2);
    ck_assert_uint_eq (execute->global [1], 4);
    ck_assert_uint_eq (execute->local [0], 64);
    ck_assert_int_eq (execute->dynamic_local_memory_case,
                      GPB__V1__EXECUTE__DYNAMIC_LOCAL_MEMORY_SHARED);
    ck_assert_int_eq (execute->placement_case, GPB__V1__EXECUTE__PLACEMENT_DEVICE);
    ck_assert_str_eq (execute->require [0], "fp64");
    ck_assert_uint_eq (execute->memory, 4096);
    ck_assert_int_eq (header->priority, -3);
    ck_assert (header->idempotent);
    ck_assert_uint_eq (execute->reservation, UINT64_MAX - 1);
    ck_assert (execute->on_demand);
    //  Key 0 is a key.
    ck_assert_int_eq (execute->lane_case, GPB__V1__EXECUTE__LANE_LANE_KEY);
    ck_assert_uint_eq (execute->lane_key, 0);
    ck_assert_uint_eq (message.payloads_count, 2);
    ck_assert_mem_eq (zmq_msg_data (&message.payloads [0]), "abcd", 4);
    ck_assert_ptr_eq (zmq_msg_data (&message.payloads [1]), taken);

    gpb_request_destroy (&request);
    ck_assert_int_eq (frees, 0);
    gpb_message_clear (&message);
    ck_assert_int_eq (frees, 1);
    gpb_codec_destroy (&codec);
}
END_TEST

START_TEST (test_every_kind_of_request_has_its_body)
{
    gpb_request_t *requests [] = {
        gpb_request_hello (),
        gpb_request_goodbye (),
        gpb_request_devices (),
        gpb_request_kernels ("sobel"),
        gpb_request_stats (),
        gpb_request_health (),
        gpb_request_execute ("sobel"),
        gpb_request_rent (4096, GPB_RENT_MAPPED, GPB_RENT_READ_ONLY),
        gpb_request_release (5),
        gpb_request_read (5, 1, 2),
        gpb_request_copy (5, 1, 6, 2, 3),
        gpb_request_map (5),
        gpb_request_unmap (5),
        gpb_request_write (5, 3, "xyz", 3),
        gpb_request_register ("id = \"a\";", "source", true),
        gpb_request_cancel (8),
        gpb_request_reserve (1 << 20, 5000),
        gpb_request_renew (7, 6000),
        gpb_request_unreserve (9),
    };
    static const Gpb__V1__Request__BodyCase bodies [] = {
        GPB__V1__REQUEST__BODY_HELLO,
        GPB__V1__REQUEST__BODY_GOODBYE,
        GPB__V1__REQUEST__BODY_DEVICES,
        GPB__V1__REQUEST__BODY_KERNELS,
        GPB__V1__REQUEST__BODY_STATS,
        GPB__V1__REQUEST__BODY_HEALTH,
        GPB__V1__REQUEST__BODY_EXECUTE,
        GPB__V1__REQUEST__BODY_RENT,
        GPB__V1__REQUEST__BODY_RELEASE,
        GPB__V1__REQUEST__BODY_READ,
        GPB__V1__REQUEST__BODY_COPY,
        GPB__V1__REQUEST__BODY_MAP,
        GPB__V1__REQUEST__BODY_UNMAP,
        GPB__V1__REQUEST__BODY_WRITE,
        GPB__V1__REQUEST__BODY_REGISTER_KERNEL,
        GPB__V1__REQUEST__BODY_CANCEL,
        GPB__V1__REQUEST__BODY_RESERVE,
        GPB__V1__REQUEST__BODY_RENEW,
        GPB__V1__REQUEST__BODY_UNRESERVE,
    };
    gpb_codec_t *codec = gpb_codec_new (&error);
    gpb_message_t message;
    gpb_message_init (&message);
    for (size_t index = 0; index < sizeof requests / sizeof requests [0]; index++) {
        ck_assert_ok (gpb_request_pack (requests [index], 1, 1, &message, &error));
        const Gpb__V1__Request *header = gpb_codec_request (codec, &message.header, NULL, &error);
        ck_assert_msg (header != NULL, "%zu: %s", index, error.text);
        ck_assert_int_eq (header->body_case, bodies [index]);
        ck_assert_int_eq (header->priority, 0);
        ck_assert (!header->idempotent);
        switch (header->body_case) {
        case GPB__V1__REQUEST__BODY_KERNELS:
            ck_assert_str_eq (header->kernels->kernel, "sobel");
            break;
        case GPB__V1__REQUEST__BODY_RENT:
            ck_assert_uint_eq (header->rent->size, 4096);
            ck_assert_int_eq (header->rent->kind, GPB__V1__MEMORY_KIND__MAPPED);
            ck_assert_int_eq (header->rent->access, GPB__V1__ACCESS__READ_ONLY);
            break;
        case GPB__V1__REQUEST__BODY_READ:
            ck_assert_uint_eq (header->read->handle, 5);
            ck_assert_uint_eq (header->read->offset, 1);
            ck_assert_uint_eq (header->read->size, 2);
            break;
        case GPB__V1__REQUEST__BODY_COPY:
            ck_assert_uint_eq (header->copy->source_offset, 1);
            ck_assert_uint_eq (header->copy->target, 6);
            ck_assert_uint_eq (header->copy->target_offset, 2);
            break;
        case GPB__V1__REQUEST__BODY_WRITE:
            ck_assert_uint_eq (header->write->offset, 3);
            ck_assert_mem_eq (zmq_msg_data (&message.payloads [0]), "xyz", 3);
            break;
        case GPB__V1__REQUEST__BODY_REGISTER_KERNEL:
            ck_assert_str_eq (header->register_kernel->source, "source");
            ck_assert (header->register_kernel->replace);
            break;
        case GPB__V1__REQUEST__BODY_RESERVE:
            ck_assert_uint_eq (header->reserve->memory, 1 << 20);
            ck_assert_uint_eq (header->reserve->for_ms, 5000);
            break;
        case GPB__V1__REQUEST__BODY_RENEW:
            ck_assert_uint_eq (header->renew->handle, 7);
            ck_assert_uint_eq (header->renew->for_ms, 6000);
            break;
        case GPB__V1__REQUEST__BODY_UNRESERVE:
            ck_assert_uint_eq (header->unreserve->handle, 9);
            break;
        case GPB__V1__REQUEST__BODY_CANCEL: ck_assert_uint_eq (header->cancel->id, 8); break;
        default: break;
        }
        gpb_request_destroy (&requests [index]);
    }
    gpb_message_clear (&message);
    gpb_codec_destroy (&codec);
}
END_TEST

START_TEST (test_a_rent_and_a_reserve_say_where)
{
    gpb_request_t *requests [] = { gpb_request_rent (1, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE),
                                   gpb_request_reserve (1, 0) };
    gpb_request_set_reservation (requests [0], 77);
    gpb_codec_t *codec = gpb_codec_new (&error);
    gpb_message_t message;
    gpb_message_init (&message);
    for (size_t index = 0; index < 2; index++) {
        gpb_request_set_device (requests [index], 3);
        for (int count = 0; count < GPB_REQUIRE_MAX; count++)
            gpb_request_require (requests [index], count % 2 ? "gpu" : "fp64");
        ck_assert_ok (gpb_request_pack (requests [index], 1, 1, &message, &error));
        const Gpb__V1__Request *header = gpb_codec_request (codec, &message.header, NULL, &error);
        ck_assert_msg (header != NULL, "%s", error.text);
        const Gpb__V1__Rent *rent = header->rent;
        const Gpb__V1__Reserve *reserve = header->reserve;
        bool rents = header->body_case == GPB__V1__REQUEST__BODY_RENT;
        ck_assert_uint_eq (rents ? rent->device : reserve->device, 3);
        ck_assert_uint_eq (rents ? rent->n_require : reserve->n_require, GPB_REQUIRE_MAX);
        ck_assert_str_eq (rents ? rent->require [0] : reserve->require [0], "fp64");
        ck_assert_str_eq (rents ? rent->require [63] : reserve->require [63], "gpu");
        if (rents)
            ck_assert_uint_eq (rent->reservation, 77);
        gpb_request_require (requests [index], "one more");
        ck_assert_refused (gpb_request_error (requests [index], &error), GPB_INVALID_ARGUMENT,
                           "more than 64 capabilities");
        gpb_request_destroy (&requests [index]);
    }
    gpb_message_clear (&message);
    gpb_codec_destroy (&codec);
}
END_TEST

//  What it holds moves while it grows, and is sent again as it was.
START_TEST (test_a_large_request_is_packed_the_same_twice)
{
    gpb_request_t *request = gpb_request_execute ("a");
    gpb_codec_t *codec = gpb_codec_new (&error);
    gpb_message_t message;
    gpb_message_init (&message);
    for (uint32_t count = 0; count < GPB_ARGUMENTS_MAX; count += 2) {
        gpb_request_in (request, &count, sizeof count);
        if (count % 4)
            gpb_request_out (request, count);
        else
            gpb_request_buffer (request, count, 1, 2);
    }
    for (int round = 0; round < 2; round++) {
        ck_assert_ok (gpb_request_pack (request, 5, 1, &message, &error));
        const Gpb__V1__Request *header = gpb_codec_request (codec, &message.header, NULL, &error);
        ck_assert_msg (header != NULL, "%s", error.text);
        ck_assert_uint_eq (header->execute->n_arguments, GPB_ARGUMENTS_MAX);
        ck_assert_uint_eq (message.payloads_count, GPB_PAYLOADS_MAX);
        for (uint32_t count = 0; count < GPB_ARGUMENTS_MAX; count += 2) {
            const Gpb__V1__Argument *in = header->execute->arguments [count];
            ck_assert_uint_eq (in->frame, count / 2);
            ck_assert_mem_eq (zmq_msg_data (&message.payloads [in->frame]), &count, sizeof count);
            const Gpb__V1__Argument *other = header->execute->arguments [count + 1];
            if (count % 4)
                ck_assert_uint_eq (other->output->size, count);
            else
                ck_assert_uint_eq (other->buffer->handle, count);
        }
    }
    gpb_request_destroy (&request);
    gpb_message_clear (&message);
    gpb_codec_destroy (&codec);
}
END_TEST

START_TEST (test_the_first_error_is_kept_and_what_is_taken_is_freed)
{
    int frees = 0;
    char data [8] = { 0 };
    gpb_request_t *request = gpb_request_execute ("a");
    gpb_request_in (request, NULL, 4);
    gpb_request_set_global (request, 9, NULL);
    gpb_request_in_take (request, data, sizeof data, s_count_free, &frees);
    ck_assert_int_eq (frees, 1);
    ck_assert_refused (gpb_request_error (request, &error), GPB_INVALID_ARGUMENT,
                       "payload is NULL");
    gpb_request_destroy (&request);

    request = gpb_request_execute (NULL);
    ck_assert_refused (gpb_request_error (request, &error), GPB_INVALID_ARGUMENT, "NULL");
    gpb_request_destroy (&request);
    request = gpb_request_execute ("caf\xE9");
    ck_assert_refused (gpb_request_error (request, &error), GPB_INVALID_ARGUMENT, "UTF-8");
    gpb_request_destroy (&request);
    request = gpb_request_stats ();
    gpb_request_i32 (request, 1);
    ck_assert_refused (gpb_request_error (request, &error), GPB_INVALID_ARGUMENT, "execute");
    gpb_request_destroy (&request);
    for (int priority = -4; priority <= 4; priority += 8) {
        request = gpb_request_stats ();
        gpb_request_set_priority (request, 3);
        gpb_request_set_priority (request, priority);
        gpb_request_set_priority (request, 0);
        ck_assert_refused (gpb_request_error (request, &error), GPB_INVALID_ARGUMENT,
                           "from -3 to 3");
        gpb_request_destroy (&request);
    }
    request = gpb_request_reserve (1, 1);
    gpb_request_set_reservation (request, 5);
    ck_assert_refused (gpb_request_error (request, &error), GPB_INVALID_ARGUMENT,
                       "only execute and rent");
    gpb_request_destroy (&request);
    request = gpb_request_stats ();
    gpb_request_set_device (request, 0);
    ck_assert_refused (gpb_request_error (request, &error), GPB_INVALID_ARGUMENT, "are placed");
    gpb_request_destroy (&request);
    request = gpb_request_execute ("a");
    gpb_request_set_local (request, 4, (const uint64_t [4]){ 0 });
    ck_assert_refused (gpb_request_error (request, &error), GPB_INVALID_ARGUMENT, "dimensions");
    gpb_request_destroy (&request);
    request = gpb_request_execute ("a");
    for (int count = 0; count < 33; count++)
        gpb_request_in_take (request, data, sizeof data, s_count_free, &frees);
    ck_assert_int_eq (frees, 2);
    ck_assert_refused (gpb_request_error (request, &error), GPB_INVALID_ARGUMENT, "32 payloads");
    gpb_request_destroy (&request);
    ck_assert_int_eq (frees, 34);
    request = gpb_request_execute ("a");
    for (int count = 0; count < 65; count++)
        gpb_request_i32 (request, count);
    ck_assert_refused (gpb_request_error (request, &error), GPB_INVALID_ARGUMENT, "64 arguments");
    gpb_request_destroy (&request);
}
END_TEST

START_TEST (test_the_end_of_memory_is_an_error_like_any_other)
{
    int frees = 0;
    char data [8] = { 0 };
    gpb_status_t status = GPB_UNKNOWN;
    for (int after = 0; status != GPB_OK; after++) {
        ck_assert_int_lt (after, 20);
        frees = 0;
        gpb_alloc_fail (after, 0);
        gpb_request_t *request = gpb_request_execute ("vector_add");
        gpb_request_in_take (request, data, sizeof data, s_count_free, &frees);
        gpb_request_require (request, "gpu");
        gpb_request_out (request, 0);
        gpb_alloc_fail (-1, 0);
        status = gpb_request_error (request, &error);
        if (status != GPB_OK)
            ck_assert_int_eq (status, GPB_RESOURCE_EXHAUSTED);
        gpb_request_destroy (&request);
        ck_assert_int_eq (frees, 1);
    }
}
END_TEST

GPB_TEST_MAIN ("gpb_request", 10, test_an_execute_request_is_packed_as_it_was_written,
               test_every_kind_of_request_has_its_body, test_a_rent_and_a_reserve_say_where,
               test_a_large_request_is_packed_the_same_twice,
               test_the_first_error_is_kept_and_what_is_taken_is_freed,
               test_the_end_of_memory_is_an_error_like_any_other)
