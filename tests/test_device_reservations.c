//  Tests of reserved memory through a device's actor, on the fake backend: that it is nobody
//  else's, that who names it draws on it and gives back, and how it ends.

#include "gpb_test.h"

#include "gpb_clock.h"
#include "gpb_test_actor.h"
#include "gpb_test_peer.h"

#include <inttypes.h>

#define MB (UINT64_C (1) << 20)
#define TOTAL (64 * MB)    //  of the fake device
#define LONGEST_MS 3600000
#define PATIENCE_NS (20 * GPB_NS_PER_S)

static gpb_test_actor_t s_device;
static gpb_client_t *s_client;

static void
s_start (const char *const *settings)
{
    gpb_test_actor_device (&s_device, "fake", settings);
    s_client = gpb_test_actor_client (GPB_TEST_ACTOR_INPROC);
    ck_assert_uint_eq (gpb_test_actor_available (s_client), TOTAL);
}

static void
s_stop (void)
{
    gpb_client_destroy (&s_client);
    gpb_test_actor_stop (&s_device);
}

static uint64_t
s_reserve (gpb_client_t *client, uint64_t memory, uint32_t for_ms)
{
    gpb_reply_t *reply = gpb_test_actor_ok (client, gpb_request_reserve (memory, for_ms));
    uint64_t handle = gpb_reply_handle (reply);
    ck_assert_uint_ne (handle, 0);
    gpb_reply_destroy (&reply);
    return handle;
}

//  A rent, and an execute of the kernel duplicate, which needs twice its payload; reservation 0:
//  none.
static gpb_request_t *
s_rent_request (uint64_t size, uint64_t reservation)
{
    gpb_request_t *request = gpb_request_rent (size, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE);
    if (reservation)
        gpb_request_set_reservation (request, reservation);
    return request;
}

static gpb_request_t *
s_execute_request (size_t size, uint64_t reservation)
{
    static unsigned char data [TOTAL];
    gpb_request_t *request = gpb_test_actor_duplicate (data, size);
    if (reservation)
        gpb_request_set_reservation (request, reservation);
    return request;
}

//  An execute of one buffer in and out, which lasts until it is let go.
static gpb_request_t *
s_endless_request (size_t size, uint64_t reservation)
{
    static unsigned char data [TOTAL];
    gpb_request_t *request = gpb_request_execute ("endless_use");
    gpb_request_in (request, data, size);
    gpb_request_u32 (request, (uint32_t) size);
    gpb_request_set_reservation (request, reservation);
    return request;
}

static uint64_t
s_rent (gpb_client_t *client, uint64_t size, uint64_t reservation)
{
    gpb_reply_t *reply = gpb_test_actor_ok (client, s_rent_request (size, reservation));
    uint64_t handle = gpb_reply_handle (reply);
    gpb_reply_destroy (&reply);
    return handle;
}

static void
s_refused (gpb_request_t *request, gpb_status_t status, const char *part)
{
    gpb_test_actor_refused (s_client, request, status, part);
}

static void
s_figures (uint64_t *count_p, uint64_t *reserved_p)
{
    gpb_reply_t *reply = gpb_test_actor_ok (s_client, gpb_request_stats ());
    const Gpb__V1__PoolStats *pool = gpb_reply_header_peek (reply)->stats->pools [0];
    *count_p = pool->reservations;
    *reserved_p = pool->reserved;
    gpb_reply_destroy (&reply);
}

static void
s_expect_figures (uint64_t count, uint64_t reserved)
{
    uint64_t counted, undrawn;
    s_figures (&counted, &undrawn);
    ck_assert_uint_eq (counted, count);
    ck_assert_uint_eq (undrawn, reserved);
}

static void
s_await_count (uint64_t count)
{
    uint64_t end_ns = gpb_clock_ns () + PATIENCE_NS, counted, undrawn;
    for (s_figures (&counted, &undrawn); counted != count; s_figures (&counted, &undrawn)) {
        ck_assert_msg (gpb_clock_ns () < end_ns,
                       "there are %" PRIu64 " reservations instead of %" PRIu64, counted, count);
        zmq_poll (NULL, 0, 2);
    }
}

//  What was rented is still its renter's to use.
static void
s_use (gpb_client_t *client, uint64_t handle)
{
    char data [8];
    gpb_test_actor_done (client, gpb_request_write (handle, 3, "is mine", 8));
    gpb_test_actor_read (client, handle, 3, data, sizeof data);
    ck_assert_str_eq (data, "is mine");
}

START_TEST (test_a_reservation_is_answered_with_what_it_got)
{
    s_start (NULL);
    gpb_reply_t *reply = gpb_test_actor_ok (s_client, gpb_request_reserve (10 * MB, 0));
    const Gpb__V1__Reply *header = gpb_reply_header_peek (reply);
    const uint64_t handle = header->reserve->handle;
    ck_assert_uint_ne (handle, 0);
    ck_assert_uint_eq (header->reserve->memory, 10 * MB);
    ck_assert_uint_eq (header->reserve->device, 0);
    ck_assert_uint_eq (header->reserve->for_ms, LONGEST_MS);
    ck_assert_uint_eq (header->available_memory, TOTAL - 10 * MB);
    gpb_reply_destroy (&reply);
    reply = gpb_test_actor_ok (s_client, gpb_request_renew (handle, 70000));
    ck_assert_uint_eq (gpb_reply_header_peek (reply)->renew->for_ms, 70000);
    gpb_reply_destroy (&reply);
    reply = gpb_test_actor_ok (s_client, gpb_request_renew (handle, LONGEST_MS + 1));
    ck_assert_uint_eq (gpb_reply_header_peek (reply)->renew->for_ms, LONGEST_MS);
    gpb_reply_destroy (&reply);
    s_expect_figures (1, 10 * MB);
    reply = gpb_test_actor_ok (s_client, gpb_request_unreserve (handle));
    ck_assert_uint_eq (gpb_reply_header_peek (reply)->available_memory, TOTAL);
    gpb_reply_destroy (&reply);
    s_expect_figures (0, 0);
    s_refused (gpb_request_unreserve (handle), GPB_NOT_FOUND, "has ended");
    s_refused (gpb_request_renew (handle, 0), GPB_NOT_FOUND, "has ended");
    s_refused (gpb_request_unreserve (0), GPB_NOT_FOUND, "never was");
    s_stop ();
}
END_TEST

START_TEST (test_what_is_reserved_is_nobody_elses)
{
    s_start (NULL);
    uint64_t reservation = s_reserve (s_client, 48 * MB, 0);
    ck_assert_uint_eq (gpb_test_actor_available (s_client), 16 * MB);
    s_refused (s_rent_request (16 * MB + 1, 0), GPB_RESOURCE_EXHAUSTED,
               "16777217 bytes of memory were asked for: device 0 has 16777216 available beside "
               "50331648 that are reserved");
    s_refused (s_execute_request (8 * MB + 1, 0), GPB_RESOURCE_EXHAUSTED,
               "16777218 bytes of memory were asked for: device 0 has 16777216 available beside "
               "50331648 that are reserved");
    s_refused (gpb_request_reserve (16 * MB + 1, 0), GPB_RESOURCE_EXHAUSTED,
               "16777217 bytes were to be reserved: device 0 has 16777216 available");
    //  What is beside it can be had as ever.
    gpb_test_actor_done (s_client, s_execute_request (8 * MB, 0));
    uint64_t handle = s_rent (s_client, 16 * MB, 0);
    ck_assert_uint_eq (gpb_test_actor_available (s_client), 0);
    s_refused (s_rent_request (1, 0), GPB_RESOURCE_EXHAUSTED, "has 0 available");
    s_refused (s_execute_request (1, 0), GPB_RESOURCE_EXHAUSTED, "has 0 available");
    //  All of it is there for who names it.
    gpb_test_actor_done (s_client, s_execute_request (24 * MB, reservation));
    gpb_test_actor_done (s_client, gpb_request_release (s_rent (s_client, 48 * MB, reservation)));
    gpb_test_actor_done (s_client, gpb_request_unreserve (reservation));
    gpb_test_actor_done (s_client, gpb_request_release (handle));
    gpb_test_actor_done (s_client, gpb_request_release (s_rent (s_client, TOTAL, 0)));
    s_stop ();
}
END_TEST

START_TEST (test_a_rent_draws_until_it_is_released)
{
    s_start (NULL);
    uint64_t reservation = s_reserve (s_client, TOTAL, 0);
    uint64_t handle = s_rent (s_client, 40 * MB, reservation);
    s_expect_figures (1, 24 * MB);
    ck_assert_uint_eq (gpb_test_actor_available (s_client), 0);
    s_refused (s_rent_request (24 * MB + 1, reservation), GPB_RESOURCE_EXHAUSTED,
               "25165825 bytes are needed: of the 67108864 bytes that reservation");
    s_refused (s_rent_request (24 * MB + 1, reservation), GPB_RESOURCE_EXHAUSTED,
               "41943040 are drawn already");
    s_use (s_client, handle);
    gpb_test_actor_done (s_client, gpb_request_release (handle));
    s_expect_figures (1, TOTAL);
    handle = s_rent (s_client, TOTAL, reservation);
    s_expect_figures (1, 0);
    //  What is reserved stays so where its owner releases what it has drawn.
    gpb_test_actor_done (s_client, gpb_request_release (handle));
    ck_assert_uint_eq (gpb_test_actor_available (s_client), 0);
    s_stop ();
}
END_TEST

START_TEST (test_a_rent_that_the_pool_refuses_draws_nothing)
{
    s_start ((const char *const []){ "client_rent_max_size", "1048576", NULL });
    uint64_t reservation = s_reserve (s_client, 8 * MB, 0);
    s_refused (s_rent_request (2 * MB, reservation), GPB_RESOURCE_EXHAUSTED,
               "0 of the 1048576 bytes that one may rent");
    s_expect_figures (1, 8 * MB);
    s_refused (s_rent_request (0, reservation), GPB_INVALID_ARGUMENT, "0 bytes");
    s_rent (s_client, MB, reservation);
    s_expect_figures (1, 7 * MB);
    s_stop ();
}
END_TEST

START_TEST (test_an_execute_draws_until_it_is_done)
{
    s_start (NULL);
    uint64_t reservation = s_reserve (s_client, TOTAL, 0);
    s_refused (s_execute_request (32 * MB + 1, reservation), GPB_RESOURCE_EXHAUSTED,
               "67108866 bytes are needed: of the 67108864 bytes that reservation");
    s_expect_figures (1, TOTAL);
    uint64_t id = gpb_test_actor_send (s_client, s_endless_request (4 * MB, reservation));
    gpb_test_actor_await_in_flight (s_client, 1);
    s_expect_figures (1, 60 * MB);
    s_refused (s_rent_request (60 * MB + 1, reservation), GPB_RESOURCE_EXHAUSTED,
               "4194304 are drawn already");
    //  Taken back, it still has its memory.
    gpb_error_t error;
    ck_assert_ok (gpb_client_cancel (s_client, id, &error));
    gpb_reply_t *reply = gpb_test_actor_recv (s_client);
    ck_assert_int_eq (gpb_reply_status (reply), GPB_CANCELLED);
    gpb_reply_destroy (&reply);
    s_expect_figures (1, 60 * MB);
    gpb_test_actor_let_go (s_client);
    s_expect_figures (1, TOTAL);
    //  One that fails, and one that cannot begin, give back too.
    gpb_request_t *request = gpb_test_actor_scalar ("fails", 1);
    gpb_request_set_reservation (request, reservation);
    s_refused (request, GPB_INTERNAL, "did not run to its end");
    request = gpb_request_execute ("refused");
    static unsigned char data [MB];
    gpb_request_in (request, data, sizeof data);
    gpb_request_u32 (request, sizeof data);
    gpb_request_set_reservation (request, reservation);
    s_refused (request, GPB_INVALID_ARGUMENT, "add_f32 takes");
    s_expect_figures (1, TOTAL);
    s_stop ();
}
END_TEST

START_TEST (test_a_reservation_that_is_not_there_is_not_drawn_on)
{
    s_start (NULL);
    const uint64_t ended = s_reserve (s_client, MB, 0);
    gpb_test_actor_done (s_client, gpb_request_unreserve (ended));
    uint64_t handle = s_rent (s_client, 64, 0);
    const uint64_t handles [] = { ended, ended ^ 1, handle };
    for (int index = 0; index < 3; index++) {
        s_refused (s_rent_request (64, handles [index]), GPB_NOT_FOUND, "no reservation");
        s_refused (s_execute_request (64, handles [index]), GPB_NOT_FOUND, "no reservation");
        //  Also where nothing would be drawn.
        gpb_request_t *request = gpb_test_actor_scalar ("sleeps", 1);
        gpb_request_set_reservation (request, handles [index]);
        s_refused (request, GPB_NOT_FOUND, "no reservation");
    }
    s_stop ();
}
END_TEST

START_TEST (test_memory_of_the_host_is_not_drawn)
{
    s_start (NULL);
    uint64_t reservation = s_reserve (s_client, TOTAL, 0);
    //  The fake devices have memory of their own: what is MAPPED is not of it.
    uint64_t beside = gpb_test_actor_rent (s_client, MB, GPB_RENT_MAPPED, GPB_RENT_READ_WRITE);
    gpb_request_t *request = gpb_request_rent (MB, GPB_RENT_MAPPED, GPB_RENT_READ_WRITE);
    gpb_request_set_reservation (request, reservation);
    gpb_reply_t *reply = gpb_test_actor_ok (s_client, request);
    uint64_t named = gpb_reply_handle (reply);
    gpb_reply_destroy (&reply);
    s_expect_figures (1, TOTAL);
    ck_assert_uint_eq (gpb_test_actor_available (s_client), 0);
    request = gpb_request_rent (MB, GPB_RENT_MAPPED, GPB_RENT_READ_WRITE);
    gpb_request_set_reservation (request, reservation ^ 1);
    s_refused (request, GPB_NOT_FOUND, "no reservation");
    gpb_test_actor_done (s_client, gpb_request_release (beside));
    gpb_test_actor_done (s_client, gpb_request_release (named));
    s_expect_figures (1, TOTAL);
    s_stop ();
}
END_TEST

START_TEST (test_a_reservation_ends_when_its_time_is_up)
{
    s_start ((const char *const []){ "reserve_max_ms", "60000", NULL });
    const uint64_t start_ns = gpb_clock_ns ();
    uint64_t brief = s_reserve (s_client, 8 * MB, 100);
    uint64_t longer = s_reserve (s_client, 4 * MB, 0);
    uint64_t handle = s_rent (s_client, MB, brief);
    s_await_count (1);
    ck_assert_uint_ge (gpb_clock_ns () - start_ns, 100 * GPB_NS_PER_MS);
    s_refused (gpb_request_renew (brief, 1000), GPB_NOT_FOUND, "has ended");
    s_refused (gpb_request_unreserve (brief), GPB_NOT_FOUND, "has ended");
    s_refused (s_rent_request (1, brief), GPB_NOT_FOUND, "has ended");
    //  What was drawn from it stays, and is no longer its.
    ck_assert_uint_eq (gpb_test_actor_available (s_client), TOTAL - 4 * MB - MB);
    s_use (s_client, handle);
    gpb_test_actor_done (s_client, gpb_request_release (handle));
    ck_assert_uint_eq (gpb_test_actor_available (s_client), TOTAL - 4 * MB);
    //  Renewed, it lasts as long as that says, though it had more.
    gpb_test_actor_done (s_client, gpb_request_renew (longer, 50));
    s_await_count (0);
    ck_assert_uint_eq (gpb_test_actor_available (s_client), TOTAL);
    s_stop ();
}
END_TEST

START_TEST (test_a_renewed_reservation_outlasts_its_first_time)
{
    s_start (NULL);
    uint64_t renewed = s_reserve (s_client, MB, 1500);
    gpb_test_actor_done (s_client, gpb_request_renew (renewed, 60000));
    //  This one ends later than the other would have.
    s_reserve (s_client, MB, 1500);
    s_expect_figures (2, 2 * MB);
    s_await_count (1);
    gpb_test_actor_done (s_client, gpb_request_unreserve (renewed));
    s_stop ();
}
END_TEST

START_TEST (test_whoever_names_a_reservation_draws_on_it)
{
    s_start (NULL);
    gpb_client_t *other = gpb_test_actor_client (GPB_TEST_ACTOR_INPROC);
    uint64_t reservation = s_reserve (s_client, TOTAL, 0);
    uint64_t handle = s_rent (other, 10 * MB, reservation);
    gpb_test_actor_done (other, s_execute_request (MB, reservation));
    s_expect_figures (1, 54 * MB);
    //  But only its owner has a say in how long it lasts.
    gpb_test_actor_refused (other, gpb_request_renew (reservation, 1), GPB_NOT_FOUND, "another's");
    gpb_test_actor_refused (other, gpb_request_unreserve (reservation), GPB_NOT_FOUND, "another's");
    s_expect_figures (1, 54 * MB);
    //  The drawn one is its renter's, not the reservation's owner's.
    s_refused (gpb_request_release (handle), GPB_NOT_FOUND, "");
    s_use (other, handle);
    //  It comes back to the reservation when its renter leaves.
    gpb_client_destroy (&other);
    gpb_test_actor_in_flight (s_client);
    s_expect_figures (1, TOTAL);
    s_stop ();
}
END_TEST

//  A client of its own connection that reserves, and does not say goodbye.
static uint64_t
s_raw_reserve (gpb_test_peer_t *peer, uint64_t memory)
{
    Gpb__V1__Reserve reserve = GPB__V1__RESERVE__INIT;
    reserve.memory = memory;
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    request.id = 1;
    request.body_case = GPB__V1__REQUEST__BODY_RESERVE;
    request.reserve = &reserve;
    gpb_test_peer_send (peer, &request, NULL);
    return gpb_test_peer_expect (peer, 1, GPB_OK)->reserve->handle;
}

START_TEST (test_reservations_end_with_their_owner_and_rents_on_them_stay)
{
    s_start (NULL);
    gpb_test_actor_bind (&s_device, "tcp://127.0.0.1:*");
    uint64_t own = s_reserve (s_client, MB, 0);
    for (int is_broken_off = 0; is_broken_off < 2; is_broken_off++) {
        gpb_client_t *guest = NULL;
        gpb_test_peer_t peer;
        uint64_t reservation;
        if (is_broken_off) {
            gpb_test_peer_open (&peer, s_device.endpoint);
            reservation = s_raw_reserve (&peer, 32 * MB);
        }
        else {
            guest = gpb_test_actor_client (s_device.endpoint);
            reservation = s_reserve (guest, 32 * MB, 0);
        }
        uint64_t handle = s_rent (s_client, 8 * MB, reservation);
        s_expect_figures (2, 25 * MB);
        if (is_broken_off)
            gpb_test_peer_close (&peer);
        else
            gpb_client_destroy (&guest);
        s_await_count (1);
        ck_assert_uint_eq (gpb_test_actor_available (s_client), TOTAL - 9 * MB);
        s_use (s_client, handle);
        s_refused (s_rent_request (1, reservation), GPB_NOT_FOUND, "has ended");
        gpb_test_actor_done (s_client, gpb_request_release (handle));
        s_expect_figures (1, MB);
    }
    gpb_test_actor_done (s_client, gpb_request_unreserve (own));
    ck_assert_uint_eq (gpb_test_actor_available (s_client), TOTAL);
    s_stop ();
}
END_TEST

START_TEST (test_a_client_has_no_more_reservations_than_it_may)
{
    s_start ((const char *const []){ "max_client_reservations", "2", NULL });
    gpb_client_t *other = gpb_test_actor_client (GPB_TEST_ACTOR_INPROC);
    uint64_t first = s_reserve (s_client, 1, 0);
    s_reserve (s_client, 1, 0);
    s_refused (gpb_request_reserve (1, 0), GPB_RESOURCE_EXHAUSTED, "2 reservations");
    s_reserve (other, 1, 0);
    s_expect_figures (3, 3);
    gpb_test_actor_done (s_client, gpb_request_unreserve (first));
    s_reserve (s_client, 1, 0);
    gpb_client_destroy (&other);
    s_stop ();
}
END_TEST

START_TEST (test_what_cannot_be_reserved_here_is_refused)
{
    s_start (NULL);
    s_refused (gpb_request_reserve (0, 0), GPB_INVALID_ARGUMENT, "expected at least 1");
    s_refused (gpb_request_reserve (UINT64_MAX, 0), GPB_RESOURCE_EXHAUSTED,
               "18446744073709551615 bytes were to be reserved: device 0 has 67108864 available");
    gpb_request_t *request = gpb_request_reserve (MB, 0);
    gpb_request_set_device (request, 3);
    s_refused (request, GPB_NOT_FOUND, "device 3: this is device 0");
    request = gpb_request_reserve (MB, 0);
    gpb_request_require (request, "fake_1");
    s_refused (request, GPB_FAILED_PRECONDITION, "device 0 has no fake_1");
    s_expect_figures (0, 0);
    request = gpb_request_reserve (TOTAL, 0);
    gpb_request_set_device (request, 0);
    gpb_request_require (request, "fake_0");
    gpb_test_actor_done (s_client, request);
    s_expect_figures (1, TOTAL);
    s_stop ();
}
END_TEST

GPB_TEST_MAIN ("reserved memory", 30, test_a_reservation_is_answered_with_what_it_got,
               test_what_is_reserved_is_nobody_elses, test_a_rent_draws_until_it_is_released,
               test_a_rent_that_the_pool_refuses_draws_nothing,
               test_an_execute_draws_until_it_is_done,
               test_a_reservation_that_is_not_there_is_not_drawn_on,
               test_memory_of_the_host_is_not_drawn, test_a_reservation_ends_when_its_time_is_up,
               test_a_renewed_reservation_outlasts_its_first_time,
               test_whoever_names_a_reservation_draws_on_it,
               test_reservations_end_with_their_owner_and_rents_on_them_stay,
               test_a_client_has_no_more_reservations_than_it_may,
               test_what_cannot_be_reserved_here_is_refused)
