//  Tests of gpb_pool alone, without a device in front: handles, bounds, and that all comes back.

#include "gpb_test.h"

#include "gpb_clock.h"
#include "gpb_lease.h"
#include "gpb_pool.h"
#include "gpb_test_actor.h"

#define SIZE 4096

static gpb_error_t error;
static gpb_test_actor_t s_pool;
static gpb_client_t *s_client;

static void
s_start (const char *backend, const char *const *settings)
{
    gpb_test_actor_pool (&s_pool, backend, settings);
    s_client = gpb_test_actor_client (GPB_TEST_ACTOR_INPROC);
}

static void
s_stop (void)
{
    gpb_client_destroy (&s_client);
    gpb_test_actor_stop (&s_pool);
}

static uint64_t
s_rent (gpb_client_t *client, uint64_t size)
{
    return gpb_test_actor_rent (client, size, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE);
}

static Gpb__V1__PoolStats
s_stats (void)
{
    gpb_reply_t *reply = gpb_test_actor_ok (s_client, gpb_request_stats ());
    const Gpb__V1__Reply *header = gpb_reply_header_peek (reply);
    ck_assert_uint_eq (header->stats->n_pools, 1);
    Gpb__V1__PoolStats stats = *header->stats->pools [0];
    gpb_reply_destroy (&reply);
    return stats;
}

START_TEST (test_handles_cannot_be_guessed)
{
    enum { COUNT = 64 };
    s_start ("fake", NULL);
    uint64_t handles [COUNT], seen_set = 0, seen_clear = 0;
    for (int index = 0; index < COUNT; index++) {
        handles [index] = s_rent (s_client, 64);
        ck_assert_uint_eq (gpb_handle_device (handles [index]), 0);
        seen_set |= handles [index];
        seen_clear |= ~handles [index];
        for (int other = 0; other < index; other++) {
            uint64_t distance = handles [index] > handles [other]
                                    ? handles [index] - handles [other]
                                    : handles [other] - handles [index];
            //  64 numbers of 56 random bits: two that are so near come once in 10^7 runs.
            ck_assert_uint_gt (distance, 1 << 20);
        }
    }
    //  Each of the 56 bits was 0 and was 1 (never so: once in 10^17 runs).
    ck_assert_uint_eq (seen_set, 0x00FFFFFFFFFFFFFFULL);
    ck_assert_uint_eq (seen_clear, UINT64_MAX);
    s_stop ();
}
END_TEST

START_TEST (test_a_released_handle_is_nobodys)
{
    s_start ("fake", NULL);
    gpb_client_t *other = gpb_test_actor_client (GPB_TEST_ACTOR_INPROC);
    uint64_t handle = s_rent (s_client, SIZE);
    gpb_test_actor_refused (other, gpb_request_release (handle), GPB_NOT_FOUND, "no buffer");
    gpb_test_actor_refused (other, gpb_request_map (handle), GPB_NOT_FOUND, "no buffer");
    ck_assert_uint_eq (s_stats ().live, 1);
    gpb_test_actor_done (s_client, gpb_request_release (handle));
    gpb_test_actor_refused (s_client, gpb_request_release (handle), GPB_NOT_FOUND, "no buffer");
    const Gpb__V1__PoolStats stats = s_stats ();
    ck_assert_uint_eq (stats.rents, 1);
    ck_assert_uint_eq (stats.releases, 1);
    ck_assert_uint_eq (stats.live, 0);
    ck_assert_uint_eq (stats.in_use, 0);
    ck_assert_uint_eq (stats.high_water, SIZE);
    gpb_client_destroy (&other);
    s_stop ();
}
END_TEST

START_TEST (test_a_mapped_rent_is_zeroed_and_the_renters_to_use)
{
    s_start ("fake", NULL);
    for (int round = 0; round < 2; round++) {
        uint64_t handle =
            gpb_test_actor_rent (s_client, SIZE, GPB_RENT_MAPPED, GPB_RENT_READ_WRITE);
        gpb_reply_t *reply = gpb_test_actor_ok (s_client, gpb_request_map (handle));
        unsigned char *memory = gpb_reply_address (reply);
        for (size_t index = 0; index < SIZE; index++)
            ck_assert_uint_eq (memory [index], 0);
        memset (memory, 0xFF, SIZE);
        gpb_reply_destroy (&reply);
        gpb_test_actor_done (s_client, gpb_request_release (handle));
    }
    s_stop ();
}
END_TEST

START_TEST (test_what_is_no_rent_is_refused)
{
    s_start ("fake", NULL);
    gpb_test_actor_refused (s_client, gpb_request_rent (0, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE),
                            GPB_INVALID_ARGUMENT, "expected at least 1");
    gpb_test_actor_refused (s_client, gpb_request_execute ("add"), GPB_UNIMPLEMENTED, "not served");
    ck_assert_uint_eq (s_stats ().rents, 0);
    s_stop ();
}
END_TEST

START_TEST (test_out_of_memory_is_said_with_figures_and_passes)
{
    setenv ("GPB_FAKE_MEMORY", "1048576", 1);
    s_start ("fake", NULL);
    gpb_test_actor_refused (s_client,
                            gpb_request_rent (1048577, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE),
                            GPB_RESOURCE_EXHAUSTED, "1048576 bytes in one");
    gpb_test_actor_refused (s_client,
                            gpb_request_rent (UINT64_MAX, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE),
                            GPB_RESOURCE_EXHAUSTED, "18446744073709551615 bytes");
    uint64_t handle = s_rent (s_client, 700000);
    for (int round = 0; round < 3; round++)
        gpb_test_actor_refused (
            s_client, gpb_request_rent (400000, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE),
            GPB_RESOURCE_EXHAUSTED,
            "700032 of 1048576 bytes are rented out on device 0, 700000 of them to this client");
    gpb_test_actor_done (s_client, gpb_request_release (handle));
    s_rent (s_client, 1048576);
    s_stop ();
}
END_TEST

START_TEST (test_the_configured_bound_holds)
{
    s_start ("fake", (const char *const []){ "rent_max_size", "10240", NULL });
    uint64_t handle = s_rent (s_client, 6144);
    gpb_test_actor_refused (s_client, gpb_request_rent (4097, GPB_RENT_MAPPED, GPB_RENT_READ_WRITE),
                            GPB_RESOURCE_EXHAUSTED, "6144 of 10240 bytes are rented out");
    s_rent (s_client, 4096);
    gpb_test_actor_done (s_client, gpb_request_release (handle));
    s_rent (s_client, 6144);
    s_stop ();
}
END_TEST

static void
s_await_live (uint64_t live)
{
    uint64_t end_ns = gpb_clock_ns () + 20 * GPB_NS_PER_S;
    while (s_stats ().live != live) {
        ck_assert_uint_lt (gpb_clock_ns (), end_ns);
        zmq_poll (NULL, 0, 2);
    }
}

START_TEST (test_owners_that_end_give_everything_back)
{
    s_start ("fake", NULL);
    gpb_test_actor_bind (&s_pool, "tcp://127.0.0.1:*");
    uint64_t kept = s_rent (s_client, SIZE);
    for (int over_tcp = 0; over_tcp < 2; over_tcp++) {
        gpb_client_t *guest =
            gpb_test_actor_client (over_tcp ? s_pool.endpoint : GPB_TEST_ACTOR_INPROC);
        for (int index = 0; index < 30; index++)
            s_rent (guest, SIZE);
        ck_assert_uint_eq (s_stats ().live, 31);
        gpb_client_destroy (&guest);
        s_await_live (1);
    }
    //  Broken off, without a goodbye.
    zsock_t *dealer = zsock_new_dealer (s_pool.endpoint);
    Gpb__V1__Rent rent = GPB__V1__RENT__INIT;
    rent.size = SIZE;
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    request.version = 1;
    request.body_case = GPB__V1__REQUEST__BODY_RENT;
    request.rent = &rent;
    gpb_message_t message;
    gpb_message_init (&message);
    ck_assert_ok (gpb_codec_pack (&request.base, &message.header, &error));
    ck_assert_ok (gpb_message_send (&message, zsock_resolve (dealer), &error));
    s_await_live (2);
    zsock_destroy (&dealer);
    s_await_live (1);
    gpb_test_actor_done (s_client, gpb_request_release (kept));
    s_stop ();
}
END_TEST

START_TEST (test_a_pool_that_stops_gives_all_memory_back)
{
    s_start ("fake", NULL);
    for (int index = 0; index < 10; index++)
        s_rent (s_client, SIZE);
    //  The fake backend's books abort where a context is closed with memory left.
    gpb_test_actor_stop (&s_pool);
    gpb_client_destroy (&s_client);
}
END_TEST

START_TEST (test_a_pool_without_its_device_says_why_to_every_command)
{
    setenv ("GPB_FAKE_BAD", "0", 1);
    setenv ("GPB_FAKE_DEVICES", "1", 1);
    gpb_config_t *config = gpb_test_actor_config ("fake", NULL);
    gpb_pool_args_t args = { .config = config, .index = 0 };
    zactor_t *actor = zactor_new (gpb_pool, &args);
    gpb_config_destroy (&config);
    gpb_status_t status =
        gpb_pipe_ask (actor, (const char *[]){ "BIND", GPB_TEST_ACTOR_INPROC, NULL }, &error);
    ck_assert_int_ne (status, GPB_OK);
    ck_assert_str_ne (error.text, "");
    ck_assert_int_eq (gpb_pipe_ask (actor, (const char *[]){ "DANCE", NULL }, &error), status);
    zactor_destroy (&actor);
}
END_TEST

START_TEST (test_memory_of_a_device_that_shares_the_hosts_is_zeroed_too)
{
    s_start ("opencl", NULL);
    uint64_t handle = gpb_test_actor_rent (s_client, SIZE, GPB_RENT_MAPPED, GPB_RENT_READ_WRITE);
    gpb_reply_t *reply = gpb_test_actor_ok (s_client, gpb_request_map (handle));
    const unsigned char *memory = gpb_reply_address (reply);
    for (size_t index = 0; index < SIZE; index++)
        ck_assert_uint_eq (memory [index], 0);
    gpb_reply_destroy (&reply);
    s_stop ();
}
END_TEST

GPB_TEST_MAIN ("gpb_pool", 30, test_handles_cannot_be_guessed, test_a_released_handle_is_nobodys,
               test_a_mapped_rent_is_zeroed_and_the_renters_to_use, test_what_is_no_rent_is_refused,
               test_out_of_memory_is_said_with_figures_and_passes, test_the_configured_bound_holds,
               test_owners_that_end_give_everything_back,
               test_a_pool_that_stops_gives_all_memory_back,
               test_a_pool_without_its_device_says_why_to_every_command,
               test_memory_of_a_device_that_shares_the_hosts_is_zeroed_too)
