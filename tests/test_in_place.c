//  Tests of gpb_device and gpb_job on a device that shares the host's memory (PoCL): payloads are
//  used where they lie, where that is right, and results are the memory that the kernel wrote.

#include "gpb_test.h"

#include "gpb_test_actor.h"

#include <unistd.h>

#define COUNT 262144    //  floats: 1 MiB a payload, far over 64 KiB

static gpb_test_actor_t s_device;
static gpb_client_t *s_client;

static void
s_start (void)
{
    gpb_test_actor_device (&s_device, "opencl", NULL);
    s_client = gpb_test_actor_client (GPB_TEST_ACTOR_INPROC);
    //  What these tests are about.
    gpb_reply_t *reply = gpb_test_actor_ok (s_client, gpb_request_devices ());
    ck_assert (gpb_reply_header_peek (reply)->devices->devices [0]->shares_host_memory);
    gpb_reply_destroy (&reply);
}

static void
s_stop (void)
{
    gpb_client_destroy (&s_client);
    gpb_test_actor_stop (&s_device);
}

static const Gpb__V1__Timing *
s_timing (const gpb_reply_t *reply)
{
    return gpb_reply_header_peek (reply)->execute->timing;
}

static float s_a [COUNT + 4] __attribute__ ((aligned (128)));
static float s_b [COUNT + 4] __attribute__ ((aligned (128)));

static gpb_reply_t *
s_add (gpb_client_t *client, bool taken)
{
    for (int index = 0; index < COUNT; index++) {
        s_a [index] = (float) index;
        s_b [index] = (float) (2 * index);
    }
    gpb_request_t *request = gpb_request_execute ("add");
    if (taken) {
        gpb_request_in_take (request, s_a, COUNT * sizeof *s_a, NULL, NULL);
        gpb_request_in_take (request, s_b, COUNT * sizeof *s_b, NULL, NULL);
    }
    else {
        gpb_request_in (request, s_a, COUNT * sizeof *s_a);
        gpb_request_in (request, s_b, COUNT * sizeof *s_b);
    }
    gpb_request_out (request, 0);
    gpb_request_i32 (request, COUNT);
    gpb_reply_t *reply = gpb_test_actor_ok (client, request);
    size_t size;
    const float *c = gpb_reply_result (reply, 0, &size);
    ck_assert_uint_eq (size, COUNT * sizeof *c);
    for (int index = 0; index < COUNT; index++)
        ck_assert (c [index] == (float) (3 * index));
    return reply;
}

START_TEST (test_a_large_payload_is_not_copied)
{
    s_start ();
    gpb_test_actor_bind (&s_device, "tcp://127.0.0.1:*");
    gpb_client_t *far = gpb_test_actor_client (s_device.endpoint);
    gpb_reply_t *replies [] = { s_add (s_client, true), s_add (s_client, false), s_add (far, true),
                                s_add (far, false) };
    for (int index = 0; index < 4; index++) {
        ck_assert_uint_eq (s_timing (replies [index])->host_copied, 0);
        ck_assert_ptr_null (s_timing (replies [index])->copy_in);
        ck_assert_ptr_null (s_timing (replies [index])->copy_out);
        ck_assert_ptr_nonnull (s_timing (replies [index])->compute);
        gpb_reply_destroy (&replies [index]);
    }
    gpb_client_destroy (&far);
    s_stop ();
}
END_TEST

START_TEST (test_a_payload_that_is_not_aligned_is_copied_once)
{
    s_start ();
    //  Kernel four loads vectors of 16 bytes: in place at 1, 4 or 8 bytes off, it would crash.
    static unsigned char room [COUNT * 4 + 16] __attribute__ ((aligned (128)));
    static float values [COUNT];
    for (int index = 0; index < COUNT; index++)
        values [index] = (float) (index % 1000);
    static const size_t offsets [] = { 0, 1, 4, 8, 16 };
    for (int which = 0; which < 5; which++) {
        memcpy (room + offsets [which], values, sizeof values);
        gpb_request_t *request = gpb_request_execute ("four");
        gpb_request_in_take (request, room + offsets [which], sizeof values, NULL, NULL);
        gpb_request_out (request, 0);
        gpb_request_u32 (request, COUNT / 4);
        gpb_reply_t *reply = gpb_test_actor_ok (s_client, request);
        size_t size;
        const float *sums = gpb_reply_result (reply, 0, &size);
        ck_assert_uint_eq (size, COUNT);
        for (int index = 0; index < COUNT / 4; index++) {
            const float *four = values + 4 * (ptrdiff_t) index;
            ck_assert (sums [index] == four [0] + four [1] + four [2] + four [3]);
        }
        ck_assert_uint_eq (s_timing (reply)->host_copied, offsets [which] % 16 ? sizeof values : 0);
        gpb_reply_destroy (&reply);
    }
    s_stop ();
}
END_TEST

START_TEST (test_what_goes_in_and_out_leaves_the_clients_memory_alone)
{
    s_start ();
    static unsigned char bytes [100000] __attribute__ ((aligned (128))), before [100000];
    for (size_t index = 0; index < sizeof bytes; index++)
        bytes [index] = before [index] = (unsigned char) index;
    gpb_request_t *request = gpb_request_execute ("negate");
    gpb_request_in_take (request, bytes, sizeof bytes, NULL, NULL);
    gpb_request_u32 (request, sizeof bytes);
    gpb_reply_t *reply = gpb_test_actor_ok (s_client, request);
    size_t size;
    const unsigned char *result = gpb_reply_result (reply, 0, &size);
    ck_assert_uint_eq (size, sizeof bytes);
    for (size_t index = 0; index < size; index++)
        ck_assert_uint_eq (result [index], (unsigned char) ~before [index]);
    ck_assert_mem_eq (bytes, before, sizeof bytes);
    ck_assert_uint_eq (s_timing (reply)->host_copied, sizeof bytes);
    gpb_reply_destroy (&reply);
    s_stop ();
}
END_TEST

START_TEST (test_rented_memory_is_zeroed_written_computed_on_and_read)
{
    s_start ();
    const uint64_t baseline = gpb_test_actor_available (s_client), size = COUNT;
    uint64_t handles [3];
    for (int index = 0; index < 3; index++)
        handles [index] =
            gpb_test_actor_rent (s_client, size, index == 1 ? GPB_RENT_MAPPED : GPB_RENT_DEVICE,
                                 GPB_RENT_READ_WRITE);
    ck_assert_uint_eq (gpb_test_actor_available (s_client), baseline - 3 * size);
    static float data [COUNT / 4];
    for (int index = 0; index < 3; index++) {
        gpb_test_actor_read (s_client, handles [index], 0, data, sizeof data);
        for (int at = 0; at < COUNT / 4; at++)
            ck_assert (data [at] == 0);
    }
    for (int at = 0; at < COUNT / 4; at++)
        data [at] = (float) at;
    //  A frame is written from where it lies.
    gpb_reply_t *reply =
        gpb_test_actor_ok (s_client, gpb_request_write (handles [0], 0, data, sizeof data));
    ck_assert_uint_eq (gpb_reply_header_peek (reply)->write->timing->host_copied, 0);
    gpb_reply_destroy (&reply);
    reply = gpb_test_actor_ok (s_client, gpb_request_map (handles [1]));
    float *mapped = gpb_reply_address (reply);
    ck_assert_uint_eq (gpb_reply_header_peek (reply)->map->process, (uint64_t) getpid ());
    gpb_reply_destroy (&reply);
    for (int at = 0; at < COUNT / 4; at++)
        mapped [at] = (float) (at / 2);
    gpb_test_actor_done (s_client, gpb_request_unmap (handles [1]));
    for (int round = 0; round < 3; round++) {
        gpb_request_t *request = gpb_request_execute ("add");
        gpb_request_buffer (request, handles [0], 0, 0);
        gpb_request_buffer (request, handles [1], 0, 0);
        gpb_request_buffer (request, handles [2], 0, 0);
        gpb_request_i32 (request, COUNT / 4);
        reply = gpb_test_actor_ok (s_client, request);
        ck_assert_uint_eq (gpb_reply_results (reply), 0);
        gpb_reply_destroy (&reply);
    }
    gpb_test_actor_read (s_client, handles [2], 0, data, sizeof data);
    for (int at = 0; at < COUNT / 4; at++)
        ck_assert (data [at] == (float) (at + at / 2));
    for (int index = 0; index < 3; index++)
        gpb_test_actor_done (s_client, gpb_request_release (handles [index]));
    gpb_test_actor_await_available (s_client, baseline);
    s_stop ();
}
END_TEST

START_TEST (test_a_result_outlives_its_device)
{
    s_start ();
    gpb_reply_t *reply = s_add (s_client, true), *second = s_add (s_client, true);
    s_stop ();
    size_t size;
    const float *c = gpb_reply_result (reply, 0, &size);
    for (int index = 0; index < COUNT; index++)
        ck_assert (c [index] == (float) (3 * index));
    gpb_reply_destroy (&second);
    gpb_reply_destroy (&reply);
}
END_TEST

START_TEST (test_results_in_a_clients_hand_are_never_written_again)
{
    enum { REPLIES = 12 };
    s_start ();
    gpb_reply_t *replies [REPLIES];
    static unsigned char bytes [50000];
    for (int index = 0; index < REPLIES; index++) {
        memset (bytes, index, sizeof bytes);
        gpb_request_t *request = gpb_request_execute ("negate");
        gpb_request_in (request, bytes, sizeof bytes);
        gpb_request_u32 (request, sizeof bytes);
        replies [index] = gpb_test_actor_ok (s_client, request);
    }
    for (int index = 0; index < REPLIES; index++) {
        size_t size;
        const unsigned char *result = gpb_reply_result (replies [index], 0, &size);
        for (size_t at = 0; at < size; at++)
            ck_assert_uint_eq (result [at], (unsigned char) ~index);
        gpb_reply_destroy (&replies [index]);
    }
    s_stop ();
}
END_TEST

GPB_TEST_MAIN ("payloads in place", 60, test_a_large_payload_is_not_copied,
               test_a_payload_that_is_not_aligned_is_copied_once,
               test_what_goes_in_and_out_leaves_the_clients_memory_alone,
               test_rented_memory_is_zeroed_written_computed_on_and_read,
               test_a_result_outlives_its_device,
               test_results_in_a_clients_hand_are_never_written_again)
