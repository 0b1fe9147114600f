//  Tests of rented memory through a device's actor, on the fake backend: whose it is, what may be
//  done with it and in which order, and that all of it comes back.

#include "gpb_test.h"

#include "gpb_test_actor.h"

#define SIZE 4096

static gpb_error_t error;
static gpb_test_actor_t s_device;
static gpb_client_t *s_client;
static uint64_t s_baseline;    //  bytes available before anything was done

static void
s_start (const char *const *settings)
{
    gpb_test_actor_device (&s_device, "fake", settings);
    s_client = gpb_test_actor_client (GPB_TEST_ACTOR_INPROC);
    s_baseline = gpb_test_actor_available (s_client);
}

static void
s_stop (void)
{
    gpb_client_destroy (&s_client);
    gpb_test_actor_stop (&s_device);
}

static uint64_t
s_rent (uint64_t size)
{
    return gpb_test_actor_rent (s_client, size, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE);
}

static gpb_request_t *
s_duplicate (uint64_t from, uint64_t from_offset, uint64_t to, uint64_t to_offset, uint64_t size)
{
    gpb_request_t *request = gpb_request_execute ("duplicate");
    gpb_request_buffer (request, from, from_offset, 0);
    gpb_request_buffer (request, to, to_offset, 0);
    gpb_request_set_global (request, 1, &size);
    return request;
}

//  An execute that uses a buffer until it is let go.
static gpb_request_t *
s_endless_use (uint64_t handle)
{
    gpb_request_t *request = gpb_request_execute ("endless_use");
    gpb_request_buffer (request, handle, 0, 0);
    gpb_request_u32 (request, 16);
    return request;
}

static gpb_status_t
s_recv_status (uint64_t id)
{
    gpb_reply_t *reply = gpb_test_actor_recv (s_client);
    ck_assert_uint_eq (gpb_reply_id (reply), id);
    gpb_status_t status = gpb_reply_status (reply);
    gpb_reply_destroy (&reply);
    return status;
}

START_TEST (test_requests_on_one_buffer_keep_their_order)
{
    enum { ROUNDS = 20 };
    setenv ("GPB_FAKE_COPY_US", "1000", 1);
    setenv ("GPB_FAKE_COMPUTE_US", "2000", 1);
    s_start (NULL);
    uint64_t from = s_rent (SIZE), to = s_rent (SIZE);
    //  Nothing is waited for: each read must see the write before it, through the kernel, and not
    //  the one behind it.
    unsigned char data [SIZE];
    uint64_t reads [ROUNDS];
    for (int round = 0; round < ROUNDS; round++) {
        memset (data, round + 1, sizeof data);
        gpb_test_actor_send (s_client, gpb_request_write (from, 0, data, sizeof data));
        gpb_test_actor_send (s_client, s_duplicate (from, 0, to, 0, SIZE));
        reads [round] = gpb_test_actor_send (s_client, gpb_request_read (to, 0, 0));
    }
    int seen = 0;
    for (int index = 0; index < 3 * ROUNDS; index++) {
        gpb_reply_t *reply = gpb_test_actor_recv (s_client);
        ck_assert_msg (gpb_reply_status (reply) == GPB_OK, "%s", gpb_reply_message (reply));
        for (int round = 0; round < ROUNDS; round++)
            if (gpb_reply_id (reply) == reads [round]) {
                size_t size;
                const void *bytes = gpb_reply_result (reply, 0, &size);
                memset (data, round + 1, sizeof data);
                ck_assert_uint_eq (size, sizeof data);
                ck_assert_mem_eq (bytes, data, size);
                seen++;
            }
        gpb_reply_destroy (&reply);
    }
    ck_assert_int_eq (seen, ROUNDS);
    s_stop ();
}
END_TEST

START_TEST (test_a_buffer_is_its_owners_alone)
{
    s_start (NULL);
    gpb_client_t *other = gpb_test_actor_client (GPB_TEST_ACTOR_INPROC);
    uint64_t handle = s_rent (SIZE),
             mapped = gpb_test_actor_rent (s_client, SIZE, GPB_RENT_MAPPED, GPB_RENT_READ_WRITE);
    const char *part = "is rented by this connection";
    gpb_test_actor_refused (other, gpb_request_read (handle, 0, 0), GPB_NOT_FOUND, part);
    gpb_test_actor_refused (other, gpb_request_write (handle, 0, "x", 1), GPB_NOT_FOUND, part);
    gpb_test_actor_refused (other, gpb_request_copy (handle, 0, handle, 8, 4), GPB_NOT_FOUND, part);
    gpb_test_actor_refused (other, gpb_request_map (mapped), GPB_NOT_FOUND, part);
    gpb_test_actor_refused (other, gpb_request_unmap (mapped), GPB_NOT_FOUND, part);
    gpb_test_actor_refused (other, gpb_request_release (handle), GPB_NOT_FOUND, part);
    gpb_test_actor_refused (other, s_duplicate (handle, 0, handle, 64, 8), GPB_NOT_FOUND, part);
    //  Nothing of that has harmed it.
    gpb_test_actor_done (s_client, gpb_request_write (handle, 0, "x", 1));
    gpb_test_actor_done (s_client, gpb_request_release (handle));
    gpb_test_actor_refused (s_client, gpb_request_release (handle), GPB_NOT_FOUND, part);
    gpb_test_actor_refused (s_client, gpb_request_read (handle, 0, 0), GPB_NOT_FOUND, part);
    gpb_test_actor_refused (s_client, gpb_request_read (0, 0, 0), GPB_NOT_FOUND, part);
    //  A new rent in the same memory is not found by the old handle.
    uint64_t again = s_rent (SIZE);
    ck_assert_uint_ne (again, handle);
    gpb_test_actor_refused (s_client, gpb_request_read (handle, 0, 0), GPB_NOT_FOUND, part);
    gpb_client_destroy (&other);
    s_stop ();
}
END_TEST

START_TEST (test_what_is_rented_is_zeroed)
{
    s_start (NULL);
    unsigned char data [SIZE];
    for (int round = 0; round < 2; round++) {
        uint64_t handle = s_rent (SIZE);
        gpb_test_actor_read (s_client, handle, 0, data, sizeof data);
        for (size_t index = 0; index < sizeof data; index++)
            ck_assert_uint_eq (data [index], 0);
        memset (data, 0xEE, sizeof data);
        gpb_test_actor_done (s_client, gpb_request_write (handle, 0, data, sizeof data));
        gpb_test_actor_done (s_client, gpb_request_release (handle));
    }
    s_stop ();
}
END_TEST

START_TEST (test_parts_of_a_buffer_are_written_copied_and_read)
{
    s_start (NULL);
    uint64_t one = s_rent (64), other = s_rent (64);
    gpb_test_actor_done (s_client, gpb_request_write (one, 8, "abcdefgh", 8));
    gpb_test_actor_done (s_client, gpb_request_copy (one, 10, other, 60, 4));
    gpb_test_actor_done (s_client, gpb_request_copy (one, 8, one, 16, 8));
    gpb_test_actor_done (s_client, s_duplicate (one, 17, other, 0, 3));
    char data [64];
    gpb_test_actor_read (s_client, other, 60, data, 4);
    ck_assert_mem_eq (data, "cdef", 4);
    gpb_test_actor_read (s_client, other, 0, data, 4);
    ck_assert_mem_eq (data, "bcd\0", 4);
    //  No size: to the end.
    gpb_reply_t *reply = gpb_test_actor_ok (s_client, gpb_request_read (one, 20, 0));
    size_t size;
    const void *bytes = gpb_reply_result (reply, 0, &size);
    ck_assert_uint_eq (size, 44);
    ck_assert_mem_eq (bytes, "efgh", 5);
    const Gpb__V1__ReadReply *read = gpb_reply_header_peek (reply)->read;
    ck_assert_uint_eq (read->result->argument, 0);
    ck_assert_ptr_nonnull (read->timing->copy_out);
    ck_assert_uint_eq (read->timing->host_copied, 0);
    gpb_reply_destroy (&reply);
    s_stop ();
}
END_TEST

START_TEST (test_nothing_reaches_outside_a_buffer)
{
    s_start (NULL);
    uint64_t one = s_rent (64), other = s_rent (64);
    const char *beyond = "reach beyond the buffer's 64 bytes";
    const gpb_status_t wrong = GPB_INVALID_ARGUMENT;
    gpb_test_actor_refused (s_client, gpb_request_read (one, 65, 0), wrong, beyond);
    gpb_test_actor_refused (s_client, gpb_request_read (one, 60, 5), wrong, beyond);
    gpb_test_actor_refused (s_client, gpb_request_read (one, 1, UINT64_MAX), wrong, beyond);
    gpb_test_actor_refused (s_client, gpb_request_read (one, UINT64_MAX, 2), wrong, beyond);
    gpb_test_actor_refused (s_client, gpb_request_write (one, 61, "abcd", 4), wrong, beyond);
    gpb_test_actor_refused (s_client, gpb_request_copy (one, 1, other, 0, 64), wrong, beyond);
    gpb_test_actor_refused (s_client, gpb_request_copy (one, 0, other, 1, 64), wrong, beyond);
    gpb_test_actor_refused (s_client, gpb_request_copy (one, 0, one, 31, 32), wrong, "overlap");
    gpb_test_actor_refused (s_client, s_duplicate (one, 0, other, 0, 65), wrong, "from");
    gpb_test_actor_refused (s_client, s_duplicate (one, 0, other, 1, 64), wrong, "to");
    gpb_request_t *request = gpb_request_execute ("duplicate");
    const uint64_t global = 8;
    gpb_request_buffer (request, one, 60, 8);
    gpb_request_buffer (request, other, 0, 0);
    gpb_request_set_global (request, 1, &global);
    gpb_test_actor_refused (s_client, request, wrong, beyond);
    //  Nothing at the very end is not outside.
    gpb_test_actor_done (s_client, gpb_request_read (one, 64, 0));
    gpb_test_actor_done (s_client, gpb_request_write (one, 64, NULL, 0));
    gpb_test_actor_done (s_client, gpb_request_copy (one, 64, one, 64, 0));
    gpb_test_actor_done (s_client, gpb_request_copy (one, 0, one, 32, 32));
    s_stop ();
}
END_TEST

START_TEST (test_a_buffer_begins_where_its_parameter_may)
{
    s_start (NULL);
    uint64_t handle = s_rent (64);
    gpb_request_t *request = gpb_request_execute ("add");
    gpb_request_buffer (request, handle, 0, 0);
    gpb_request_buffer (request, handle, 6, 0);
    gpb_request_buffer (request, handle, 32, 0);
    gpb_request_i32 (request, 2);
    gpb_test_actor_refused (s_client, request, GPB_INVALID_ARGUMENT, "multiple of its alignment");
    s_stop ();
}
END_TEST

START_TEST (test_kernels_keep_to_a_buffers_access)
{
    s_start (NULL);
    uint64_t any = s_rent (64);
    uint64_t reads = gpb_test_actor_rent (s_client, 64, GPB_RENT_DEVICE, GPB_RENT_READ_ONLY);
    uint64_t writes = gpb_test_actor_rent (s_client, 64, GPB_RENT_DEVICE, GPB_RENT_WRITE_ONLY);
    gpb_test_actor_refused (s_client, s_duplicate (writes, 0, any, 0, 64), GPB_INVALID_ARGUMENT,
                            "from is read, but its buffer was rented WRITE_ONLY");
    gpb_test_actor_refused (s_client, s_duplicate (any, 0, reads, 0, 64), GPB_INVALID_ARGUMENT,
                            "to is written, but its buffer was rented READ_ONLY");
    gpb_test_actor_refused (s_client, s_endless_use (reads), GPB_INVALID_ARGUMENT, "READ_ONLY");
    gpb_test_actor_refused (s_client, s_endless_use (writes), GPB_INVALID_ARGUMENT, "WRITE_ONLY");
    //  The client may always do both.
    gpb_test_actor_done (s_client, gpb_request_write (reads, 0, "read", 4));
    gpb_test_actor_done (s_client, s_duplicate (reads, 0, writes, 0, 64));
    char data [4];
    gpb_test_actor_read (s_client, writes, 0, data, 4);
    ck_assert_mem_eq (data, "read", 4);
    s_stop ();
}
END_TEST

START_TEST (test_a_release_waits_for_work_in_flight)
{
    s_start (NULL);
    uint64_t handle = s_rent (SIZE);
    uint64_t use = gpb_test_actor_send (s_client, s_endless_use (handle));
    uint64_t release = gpb_test_actor_send (s_client, gpb_request_release (handle));
    //  From now on nobody finds it, though it is still used.
    gpb_test_actor_refused (s_client, gpb_request_read (handle, 0, 0), GPB_NOT_FOUND, "");
    ck_assert_uint_eq (gpb_test_actor_available (s_client), s_baseline - SIZE);
    ck_assert_uint_eq (gpb_test_actor_in_flight (s_client), 2);
    gpb_test_actor_let_go (s_client);
    ck_assert_int_eq (s_recv_status (use), GPB_OK);
    ck_assert_int_eq (s_recv_status (release), GPB_OK);
    ck_assert_uint_eq (gpb_test_actor_available (s_client), s_baseline);
    s_stop ();
}
END_TEST

START_TEST (test_a_release_that_comes_too_late_releases_all_the_same)
{
    s_start (NULL);
    uint64_t handle = s_rent (SIZE);
    uint64_t use = gpb_test_actor_send (s_client, s_endless_use (handle));
    uint64_t release = gpb_test_actor_send (s_client, gpb_request_release (handle));
    gpb_test_actor_await_in_flight (s_client, 2);
    ck_assert_ok (gpb_client_cancel (s_client, release, &error));
    ck_assert_int_eq (s_recv_status (release), GPB_CANCELLED);
    gpb_test_actor_let_go (s_client);
    ck_assert_int_eq (s_recv_status (use), GPB_OK);
    gpb_test_actor_await_in_flight (s_client, 0);
    ck_assert_uint_eq (gpb_test_actor_available (s_client), s_baseline);
    s_stop ();
}
END_TEST

START_TEST (test_clients_that_leave_give_everything_back)
{
    s_start (NULL);
    gpb_test_actor_bind (&s_device, "tcp://127.0.0.1:*");
    for (int over_tcp = 0; over_tcp < 2; over_tcp++) {
        gpb_client_t *guest =
            gpb_test_actor_client (over_tcp ? s_device.endpoint : GPB_TEST_ACTOR_INPROC);
        uint64_t used = gpb_test_actor_rent (guest, SIZE, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE);
        for (int index = 0; index < 20; index++)
            gpb_test_actor_rent (guest, SIZE, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE);
        //  One is used while its owner leaves, and one is asked for.
        gpb_test_actor_send (guest, s_endless_use (used));
        gpb_test_actor_await_in_flight (s_client, 1);
        //  That one is more than the pool has kept, so that it is to be zeroed first, behind the
        //  kernel.
        gpb_test_actor_send (guest, gpb_request_rent (UINT64_C (8) << (20 + over_tcp),
                                                      GPB_RENT_DEVICE, GPB_RENT_READ_WRITE));
        gpb_test_actor_await_in_flight (s_client, 2);
        gpb_client_destroy (&guest);
        //  The goodbye is read by the time that what was sent behind it is answered twice (over
        //  inproc), and the kernel goes on.
        gpb_test_actor_in_flight (s_client);
        ck_assert_uint_eq (gpb_test_actor_in_flight (s_client), 2);
        gpb_test_actor_let_go (s_client);
        gpb_test_actor_await_available (s_client, s_baseline);
    }
    gpb_reply_t *reply = gpb_test_actor_ok (s_client, gpb_request_stats ());
    const Gpb__V1__PoolStats *pool = gpb_reply_header_peek (reply)->stats->pools [0];
    ck_assert_uint_eq (pool->rents, 2 * 22);
    ck_assert_uint_eq (pool->releases, 2 * 22);
    ck_assert_uint_eq (pool->live, 0);
    ck_assert_uint_eq (pool->in_use, 0);
    ck_assert_uint_ge (pool->high_water, 21 * SIZE);
    gpb_reply_destroy (&reply);
    s_stop ();
}
END_TEST

START_TEST (test_a_rent_that_is_taken_back_keeps_nothing)
{
    s_start (NULL);
    uint64_t endless = gpb_test_actor_send (s_client, gpb_test_actor_scalar ("endless", 1));
    gpb_test_actor_await_in_flight (s_client, 1);
    //  The pool's zeroing waits behind the kernel.
    uint64_t rent = gpb_test_actor_send (s_client, gpb_request_rent (SIZE, GPB_RENT_DEVICE,
                                                                     GPB_RENT_READ_WRITE));
    gpb_test_actor_await_in_flight (s_client, 2);
    ck_assert_ok (gpb_client_cancel (s_client, rent, &error));
    ck_assert_int_eq (s_recv_status (rent), GPB_CANCELLED);
    gpb_test_actor_let_go (s_client);
    ck_assert_int_eq (s_recv_status (endless), GPB_OK);
    gpb_test_actor_await_in_flight (s_client, 0);
    gpb_test_actor_await_available (s_client, s_baseline);
    ck_assert_ptr_null (gpb_client_recv (s_client, 0));
    s_stop ();
}
END_TEST

START_TEST (test_a_rent_gets_what_launches_keep)
{
    s_start (NULL);
    //  A quarter of the device may be kept for launches; it is available for rents.
    static unsigned char data [4 << 20];
    gpb_test_actor_done (s_client, gpb_test_actor_duplicate (data, sizeof data));
    ck_assert_uint_eq (gpb_test_actor_available (s_client), s_baseline);
    uint64_t handle = s_rent (s_baseline);
    ck_assert_uint_eq (gpb_test_actor_available (s_client), 0);
    gpb_test_actor_refused (s_client, gpb_request_rent (1, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE),
                            GPB_RESOURCE_EXHAUSTED, "67108864 of 67108864 bytes are rented out");
    gpb_test_actor_refused (s_client, gpb_test_actor_duplicate (data, 64), GPB_RESOURCE_EXHAUSTED,
                            "out of memory");
    gpb_test_actor_done (s_client, gpb_request_release (handle));
    ck_assert_uint_eq (gpb_test_actor_available (s_client), s_baseline);
    gpb_test_actor_done (s_client, gpb_test_actor_duplicate (data, 64));
    s_stop ();
}
END_TEST

START_TEST (test_a_device_that_rents_nothing_for_a_while_keeps_what_it_has)
{
    s_start ((const char *const []){ "lease_ms", "100", NULL });
    gpb_test_actor_bind (&s_device, "tcp://127.0.0.1:*");
    gpb_client_t *guest = gpb_test_actor_client (s_device.endpoint);
    uint64_t handle = gpb_test_actor_rent (guest, SIZE, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE);
    //  Its pool is a peer over inproc, and hears nothing for several leases.
    for (int index = 0; index < 10; index++) {
        zmq_poll (NULL, 0, 50);
        gpb_test_actor_done (guest, gpb_request_write (handle, 0, "still", 5));
    }
    char data [5];
    gpb_test_actor_read (guest, handle, 0, data, 5);
    ck_assert_mem_eq (data, "still", 5);
    //  A client over inproc that is silent is gone with what it had; this one speaks again, as
    //  another.
    uint64_t lost = s_rent (SIZE);
    gpb_test_actor_await_available (guest, s_baseline - SIZE);
    gpb_test_actor_refused (s_client, gpb_request_read (lost, 0, 0), GPB_NOT_FOUND, "");
    gpb_client_destroy (&guest);
    s_stop ();
}
END_TEST

START_TEST (test_a_mapped_buffer_is_not_for_kernels)
{
    s_start (NULL);
    uint64_t handle = gpb_test_actor_rent (s_client, SIZE, GPB_RENT_MAPPED, GPB_RENT_READ_WRITE);
    gpb_reply_t *reply = gpb_test_actor_ok (s_client, gpb_request_map (handle));
    unsigned char *memory = gpb_reply_address (reply);
    ck_assert_ptr_nonnull (memory);
    ck_assert_uint_eq (gpb_reply_header_peek (reply)->map->size, SIZE);
    gpb_reply_destroy (&reply);
    for (size_t index = 0; index < SIZE; index++)
        ck_assert_uint_eq (memory [index], 0);
    memcpy (memory, "by hand", 8);
    const char *part = "is mapped";
    const gpb_status_t refused = GPB_FAILED_PRECONDITION;
    gpb_test_actor_refused (s_client, s_endless_use (handle), refused, part);
    gpb_test_actor_refused (s_client, gpb_request_read (handle, 0, 8), refused, part);
    gpb_test_actor_refused (s_client, gpb_request_write (handle, 0, "x", 1), refused, part);
    gpb_test_actor_refused (s_client, gpb_request_copy (handle, 0, handle, 8, 4), refused, part);
    gpb_test_actor_refused (s_client, gpb_request_map (handle), refused, "mapped already");
    gpb_test_actor_done (s_client, gpb_request_unmap (handle));
    gpb_test_actor_refused (s_client, gpb_request_unmap (handle), refused, "not mapped");
    char data [8];
    gpb_test_actor_read (s_client, handle, 0, data, 8);
    ck_assert_str_eq (data, "by hand");

    //  Nor may it be mapped while a kernel uses it.
    uint64_t use = gpb_test_actor_send (s_client, s_endless_use (handle));
    gpb_test_actor_refused (s_client, gpb_request_map (handle), refused, "1 requests in flight");
    gpb_test_actor_let_go (s_client);
    ck_assert_int_eq (s_recv_status (use), GPB_OK);
    gpb_test_actor_done (s_client, gpb_request_map (handle));
    //  What is mapped can be released, by its owner's word or its leaving.
    gpb_test_actor_done (s_client, gpb_request_release (handle));
    s_stop ();
}
END_TEST

GPB_TEST_MAIN ("rented memory", 30, test_requests_on_one_buffer_keep_their_order,
               test_a_buffer_is_its_owners_alone, test_what_is_rented_is_zeroed,
               test_parts_of_a_buffer_are_written_copied_and_read,
               test_nothing_reaches_outside_a_buffer, test_a_buffer_begins_where_its_parameter_may,
               test_kernels_keep_to_a_buffers_access, test_a_release_waits_for_work_in_flight,
               test_a_release_that_comes_too_late_releases_all_the_same,
               test_clients_that_leave_give_everything_back,
               test_a_rent_that_is_taken_back_keeps_nothing, test_a_rent_gets_what_launches_keep,
               test_a_device_that_rents_nothing_for_a_while_keeps_what_it_has,
               test_a_mapped_buffer_is_not_for_kernels)
