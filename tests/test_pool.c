//  Tests of gpb_pool alone, without a device in front: handles, bounds, and that all comes back.

#include "gpb_test.h"

#include "gpb_clock.h"
#include "gpb_lease.h"
#include "gpb_pool.h"
#include "gpb_test_actor.h"
#include "gpb_test_peer.h"

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

//  A rent by hand: a client adds its own deadline to the node's.
static void
s_raw_rent (gpb_test_peer_t *peer, uint64_t id, uint32_t timeout_ms)
{
    Gpb__V1__Rent rent = GPB__V1__RENT__INIT;
    rent.size = SIZE;
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    request.id = id;
    request.timeout_ms = timeout_ms;
    request.body_case = GPB__V1__REQUEST__BODY_RENT;
    request.rent = &rent;
    gpb_test_peer_send (peer, &request, NULL);
}

//  A socket over inproc is not seen to close.
static void
s_raw_leave (gpb_test_peer_t *peer)
{
    Gpb__V1__Goodbye goodbye = GPB__V1__GOODBYE__INIT;
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    request.id = UINT64_MAX;
    request.body_case = GPB__V1__REQUEST__BODY_GOODBYE;
    request.goodbye = &goodbye;
    gpb_test_peer_send (peer, &request, NULL);
    gpb_test_peer_expect (peer, UINT64_MAX, GPB_OK);
    gpb_test_peer_close (peer);
}

//  Whether an answer is there within so long.
static bool
s_hears (gpb_test_peer_t *peer, int wait_ms)
{
    zmq_pollitem_t item = { zsock_resolve (peer->dealer), 0, ZMQ_POLLIN, 0 };
    return zmq_poll (&item, 1, wait_ms) == 1;
}

//  Waits until nothing is rented, and what was is zero and kept.
static void
s_await_rest (void)
{
    uint64_t end_ns = gpb_clock_ns () + 20 * GPB_NS_PER_S;
    for (Gpb__V1__PoolStats stats = s_stats (); stats.live || stats.kept != stats.held;
         stats = s_stats ())
    {
        ck_assert_uint_lt (gpb_clock_ns (), end_ns);
        zmq_poll (NULL, 0, 2);
    }
}

START_TEST (test_a_rent_waits_for_its_memory_no_longer_than_its_time)
{
    setenv ("GPB_FAKE_COMPUTE_US", "300000", 1);
    s_start ("fake", NULL);
    gpb_test_peer_t peer;
    gpb_test_peer_open (&peer, GPB_TEST_ACTOR_INPROC);
    //  What is fresh from the driver is zeroed first, which lasts longer than the first one has.
    const uint64_t start_ns = gpb_clock_ns ();
    s_raw_rent (&peer, 1, 50);
    s_raw_rent (&peer, 2, 0);
    const Gpb__V1__Reply *reply = gpb_test_peer_expect (&peer, 1, GPB_DEADLINE_EXCEEDED);
    ck_assert_ptr_nonnull (strstr (reply->message, "before memory was there"));
    ck_assert_uint_ge (gpb_clock_ns () - start_ns, 50 * GPB_NS_PER_MS);
    ck_assert_uint_eq (s_stats ().live, 0);
    gpb_test_peer_expect (&peer, 2, GPB_OK);
    ck_assert_uint_eq (s_stats ().rents, 1);
    s_raw_leave (&peer);
    s_await_rest ();
    ck_assert_uint_eq (s_stats ().releases, 1);
    s_stop ();
}
END_TEST

START_TEST (test_a_rent_that_waits_can_be_taken_back)
{
    setenv ("GPB_FAKE_COMPUTE_US", "300000", 1);
    s_start ("fake", NULL);
    gpb_test_peer_t peer, other;
    gpb_test_peer_open (&peer, GPB_TEST_ACTOR_INPROC);
    gpb_test_peer_open (&other, GPB_TEST_ACTOR_INPROC);
    s_raw_rent (&peer, 1, 0);
    s_raw_rent (&peer, 2, 0);
    //  Others' requests of the same id are none of its business, and its own id is taken.
    gpb_test_peer_cancel (&other, 3, 1);
    gpb_test_peer_expect (&other, 3, GPB_NOT_FOUND);
    s_raw_rent (&peer, 1, 0);
    gpb_test_peer_expect (&peer, 1, GPB_ALREADY_EXISTS);
    gpb_test_peer_cancel (&peer, 3, 1);
    gpb_test_peer_expect (&peer, 1, GPB_CANCELLED);
    gpb_test_peer_expect (&peer, 3, GPB_OK);
    gpb_test_peer_cancel (&peer, 4, 1);
    gpb_test_peer_expect (&peer, 4, GPB_NOT_FOUND);
    uint64_t handle = gpb_test_peer_expect (&peer, 2, GPB_OK)->rent->handle;
    ck_assert_uint_ne (handle, 0);
    ck_assert_uint_eq (s_stats ().rents, 1);
    ck_assert_uint_eq (s_stats ().requested, SIZE);
    //  It is answered: too late.
    gpb_test_peer_cancel (&peer, 5, 2);
    gpb_test_peer_expect (&peer, 5, GPB_NOT_FOUND);
    gpb_test_actor_refused (s_client, gpb_request_release (handle), GPB_NOT_FOUND, "no buffer");
    s_raw_leave (&peer);
    gpb_test_peer_close (&other);
    s_stop ();
}
END_TEST

START_TEST (test_a_pool_that_stops_answers_each_rent_that_waits_once)
{
    enum { PEERS = 3, RENTS = 4 };
    setenv ("GPB_FAKE_COMPUTE_US", "100000", 1);
    //  Half of them wait for zeroes, half for memory that is being zeroed.
    s_start ("fake", (const char *const []){ "rent_max_size", "24576", NULL });
    uint64_t handle = s_rent (s_client, 6 * SIZE);
    gpb_test_actor_done (s_client, gpb_request_release (handle));
    gpb_test_peer_t peers [PEERS];
    for (int index = 0; index < PEERS; index++) {
        gpb_test_peer_open (&peers [index], GPB_TEST_ACTOR_INPROC);
        for (uint64_t id = 1; id <= RENTS; id++)
            s_raw_rent (&peers [index], id, 0);
    }
    //  All of them are read by now.
    ck_assert_uint_eq (s_stats ().live, 0);
    s_stats ();
    gpb_test_actor_stop (&s_pool);
    for (int index = 0; index < PEERS; index++) {
        bool answered [RENTS + 1] = { false };
        for (int count = 0; count < RENTS; count++) {
            const Gpb__V1__Reply *reply = gpb_test_peer_recv (&peers [index]);
            ck_assert_uint_ge (reply->id, 1);
            ck_assert_uint_le (reply->id, RENTS);
            ck_assert (!answered [reply->id]);
            answered [reply->id] = true;
            ck_assert_int_eq (reply->status, GPB__V1__STATUS__UNAVAILABLE);
            ck_assert_ptr_nonnull (strstr (reply->message, "the pool stopped"));
        }
        ck_assert (!s_hears (&peers [index], 0));
        gpb_test_peer_close (&peers [index]);
    }
    gpb_client_destroy (&s_client);
}
END_TEST

static unsigned char *
s_map (gpb_client_t *client, uint64_t handle)
{
    gpb_reply_t *reply = gpb_test_actor_ok (client, gpb_request_map (handle));
    unsigned char *memory = gpb_reply_address (reply);
    gpb_reply_destroy (&reply);
    return memory;
}

START_TEST (test_what_another_client_gets_is_zero)
{
    //  No room for a second one beside the first, so that the memory is the same.
    s_start ("fake", (const char *const []){ "rent_max_size", "4096", NULL });
    gpb_client_t *other = gpb_test_actor_client (GPB_TEST_ACTOR_INPROC);
    gpb_client_t *clients [] = { s_client, other };
    unsigned char *before = NULL;
    for (int round = 0; round < 20; round++) {
        gpb_client_t *client = clients [round % 2];
        //  As many bytes as it likes: those behind them are zeroed too.
        uint64_t size = round % 3 == 0 ? SIZE : SIZE - 100;
        uint64_t handle = gpb_test_actor_rent (client, size, GPB_RENT_MAPPED, GPB_RENT_READ_WRITE);
        unsigned char *memory = s_map (client, handle);
        for (size_t index = 0; index < SIZE; index++)
            if (memory [index] != 0)
                ck_abort_msg ("byte %zu of round %d is %d", index, round, memory [index]);
        ck_assert (before == NULL || memory == before);
        before = memory;
        memset (memory, 0xFF, SIZE);
        gpb_test_actor_done (client, gpb_request_release (handle));
    }
    gpb_client_destroy (&other);
    s_stop ();
}
END_TEST

START_TEST (test_the_handle_before_is_not_found_though_the_block_is_the_same)
{
    s_start ("fake", (const char *const []){ "rent_max_size", "4096", NULL });
    uint64_t stale = 0;
    unsigned char *before = NULL;
    for (int round = 0; round < 5; round++) {
        uint64_t handle =
            gpb_test_actor_rent (s_client, SIZE, GPB_RENT_MAPPED, GPB_RENT_READ_WRITE);
        ck_assert_uint_ne (handle, stale);
        unsigned char *memory = s_map (s_client, handle);
        ck_assert (before == NULL || memory == before);
        before = memory;
        gpb_test_actor_refused (s_client, gpb_request_map (stale), GPB_NOT_FOUND, "no buffer");
        gpb_test_actor_refused (s_client, gpb_request_unmap (stale), GPB_NOT_FOUND, "no buffer");
        gpb_test_actor_refused (s_client, gpb_request_release (stale), GPB_NOT_FOUND, "no buffer");
        ck_assert_uint_eq (s_stats ().live, 1);
        gpb_test_actor_done (s_client, gpb_request_release (handle));
        stale = handle;
    }
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
               test_a_rent_waits_for_its_memory_no_longer_than_its_time,
               test_a_rent_that_waits_can_be_taken_back,
               test_a_pool_that_stops_answers_each_rent_that_waits_once,
               test_what_another_client_gets_is_zero,
               test_the_handle_before_is_not_found_though_the_block_is_the_same,
               test_a_pool_that_stops_gives_all_memory_back,
               test_a_pool_without_its_device_says_why_to_every_command,
               test_memory_of_a_device_that_shares_the_hosts_is_zeroed_too)
