//  Tests of what a pool keeps, refuses and says about it: its bounds, its figures, each against
//  what was done, and its sentences.

#include "gpb_test.h"

#include "gpb_backend.h"
#include "gpb_clock.h"
#include "gpb_pool.h"
#include "gpb_test_actor.h"

#include <inttypes.h>

#define SIZE 4096
#define MB (UINT64_C (1) << 20)
#define CHUNK (2 * MB)    //  the least that an arena asks its driver for
#define CLASSES 64
#define NEAR 1e-12    //  of two quotients of the same numbers

static gpb_test_actor_t s_pool;
static gpb_client_t *s_client;

static void
s_start (const char *const *settings)
{
    gpb_test_actor_pool (&s_pool, "fake", settings);
    s_client = gpb_test_actor_client (GPB_TEST_ACTOR_INPROC);
}

static void
s_start_device (const char *const *settings)
{
    gpb_test_actor_device (&s_pool, "fake", settings);
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

static void
s_release (uint64_t handle)
{
    gpb_test_actor_done (s_client, gpb_request_release (handle));
}

static void
s_refused (gpb_client_t *client, uint64_t size, const char *part)
{
    gpb_test_actor_refused (client, gpb_request_rent (size, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE),
                            GPB_RESOURCE_EXHAUSTED, part);
}

typedef struct {
    Gpb__V1__PoolStats stats;
    uint64_t kept_by_class [CLASSES];    //  its array
} s_figures_t;

static s_figures_t
s_figures (void)
{
    s_figures_t figures = { .kept_by_class = { 0 } };
    gpb_reply_t *reply = gpb_test_actor_ok (s_client, gpb_request_stats ());
    figures.stats = *gpb_reply_header_peek (reply)->stats->pools [0];
    ck_assert_uint_le (figures.stats.n_kept_by_class, CLASSES);
    for (size_t index = 0; index < figures.stats.n_kept_by_class; index++)
        figures.kept_by_class [index] = figures.stats.kept_by_class [index];
    gpb_reply_destroy (&reply);
    return figures;
}

//  Waits until all that came back is zero.
static s_figures_t
s_await_zeroed (void)
{
    uint64_t end_ns = gpb_clock_ns () + 20 * GPB_NS_PER_S;
    s_figures_t figures = s_figures ();
    while (figures.stats.held != figures.stats.in_use + figures.stats.kept) {
        ck_assert_uint_gt (figures.stats.held, figures.stats.in_use + figures.stats.kept);
        ck_assert_uint_lt (gpb_clock_ns (), end_ns);
        zmq_poll (NULL, 0, 2);
        figures = s_figures ();
    }
    return figures;
}

static uint64_t
s_rounded (uint64_t size)
{
    return (size + GPB_MEMORY_ALIGNMENT - 1) / GPB_MEMORY_ALIGNMENT * GPB_MEMORY_ALIGNMENT;
}

static unsigned
s_class (uint64_t size)
{
    unsigned class_index = 0;
    while (size >> (class_index + 1))
        class_index++;
    return class_index;
}

static void
s_expect_classes (const s_figures_t *figures, const uint64_t *sizes, size_t count)
{
    uint64_t expected [CLASSES] = { 0 };
    for (size_t index = 0; index < count; index++)
        expected [s_class (sizes [index])]++;
    for (size_t index = 0; index < CLASSES; index++)
        ck_assert_uint_eq (figures->kept_by_class [index], expected [index]);
    ck_assert_uint_eq (figures->stats.blocks_kept, count);
}

START_TEST (test_a_pool_that_did_nothing_says_so)
{
    setenv ("GPB_FAKE_MEMORY", "3000064", 1);
    s_start (NULL);
    const s_figures_t figures = s_figures ();
    const Gpb__V1__PoolStats *stats = &figures.stats;
    ck_assert_uint_eq (stats->device, 0);
    ck_assert_uint_eq (stats->limit, 3000064);
    const uint64_t sum = stats->rents + stats->releases + stats->live + stats->in_use
                         + stats->high_water + stats->hits + stats->misses + stats->requested
                         + stats->kept + stats->held + stats->blocks_kept + stats->largest_free
                         + stats->trims + stats->n_kept_by_class;
    ck_assert_uint_eq (sum, 0);
    ck_assert (stats->internal_fragmentation == 0.0 && stats->external_fragmentation == 0.0);
    s_stop ();
}
END_TEST

START_TEST (test_every_figure_says_what_there_is)
{
    enum { A = 1000, B = 5000 };
    s_start ((const char *const []){ "rent_max_size", "33554432", NULL });
    const uint64_t in_use = s_rounded (A) + s_rounded (B);
    uint64_t a = s_rent (s_client, A), b = s_rent (s_client, B);
    s_figures_t figures = s_figures ();
    const Gpb__V1__PoolStats *stats = &figures.stats;
    ck_assert_uint_eq (stats->limit, 33554432);
    ck_assert_uint_eq (stats->rents, 2);
    ck_assert_uint_eq (stats->releases, 0);
    ck_assert_uint_eq (stats->live, 2);
    ck_assert_uint_eq (stats->requested, A + B);
    ck_assert_uint_eq (stats->in_use, in_use);
    ck_assert_uint_eq (stats->high_water, in_use);
    ck_assert_uint_eq (stats->misses, 1);
    ck_assert_uint_eq (stats->hits, 1);
    ck_assert_uint_eq (stats->held, CHUNK);
    ck_assert_uint_eq (stats->kept, CHUNK - in_use);
    ck_assert_uint_eq (stats->largest_free, CHUNK - in_use);
    ck_assert_double_eq_tol (stats->internal_fragmentation,
                             (double) (in_use - A - B) / (double) in_use, NEAR);
    ck_assert_double_eq_tol (stats->external_fragmentation, 0.0, NEAR);
    s_expect_classes (&figures, (const uint64_t []){ CHUNK - in_use }, 1);

    //  A hole before the one that stays.
    s_release (a);
    figures = s_await_zeroed ();
    ck_assert_uint_eq (stats->releases, 1);
    ck_assert_uint_eq (stats->live, 1);
    ck_assert_uint_eq (stats->requested, B);
    ck_assert_uint_eq (stats->in_use, s_rounded (B));
    ck_assert_uint_eq (stats->high_water, in_use);
    ck_assert_uint_eq (stats->held, CHUNK);
    ck_assert_uint_eq (stats->kept, CHUNK - s_rounded (B));
    ck_assert_uint_eq (stats->largest_free, CHUNK - in_use);
    ck_assert_double_eq_tol (stats->internal_fragmentation,
                             (double) (s_rounded (B) - B) / (double) s_rounded (B), NEAR);
    ck_assert_double_eq_tol (stats->external_fragmentation,
                             (double) s_rounded (A) / (double) (CHUNK - s_rounded (B)), NEAR);
    s_expect_classes (&figures, (const uint64_t []){ s_rounded (A), CHUNK - in_use }, 2);

    //  All of it is one block again; more than it has comes from the driver.
    s_release (b);
    figures = s_await_zeroed ();
    ck_assert_uint_eq (stats->releases, 2);
    ck_assert_uint_eq (stats->live + stats->requested + stats->in_use, 0);
    ck_assert_uint_eq (stats->kept, CHUNK);
    ck_assert_uint_eq (stats->largest_free, CHUNK);
    ck_assert (stats->internal_fragmentation == 0.0 && stats->external_fragmentation == 0.0);
    s_expect_classes (&figures, (const uint64_t []){ CHUNK }, 1);
    s_rent (s_client, CHUNK + 1);
    figures = s_figures ();
    ck_assert_uint_eq (stats->misses, 2);
    ck_assert_uint_eq (stats->hits, 1);
    ck_assert_uint_eq (stats->high_water, s_rounded (CHUNK + 1));
    ck_assert_uint_eq (stats->trims, 0);
    s_stop ();
}
END_TEST

START_TEST (test_memory_that_is_being_zeroed_is_held_and_not_kept)
{
    setenv ("GPB_FAKE_COMPUTE_US", "100000", 1);
    s_start (NULL);
    uint64_t handle = s_rent (s_client, CHUNK);
    s_release (handle);
    s_figures_t figures = s_figures ();
    ck_assert_uint_eq (figures.stats.in_use, 0);
    ck_assert_uint_eq (figures.stats.kept, 0);
    ck_assert_uint_eq (figures.stats.held, CHUNK);
    figures = s_await_zeroed ();
    ck_assert_uint_eq (figures.stats.kept, CHUNK);
    s_stop ();
}
END_TEST

//  Rents and releases a chunk three times, one of them MAPPED.
static Gpb__V1__PoolStats
s_release_three_chunks (void)
{
    uint64_t one = s_rent (s_client, CHUNK), other = s_rent (s_client, CHUNK);
    uint64_t mapped = gpb_test_actor_rent (s_client, CHUNK, GPB_RENT_MAPPED, GPB_RENT_READ_WRITE);
    s_release (one);
    s_release (other);
    s_release (mapped);
    return s_await_zeroed ().stats;
}

START_TEST (test_no_more_is_kept_than_the_configuration_says)
{
    s_start ((const char *const []){ "keep_max_size", "3145728", NULL });
    //  One chunk fits, of both kinds together.
    const Gpb__V1__PoolStats stats = s_release_three_chunks ();
    ck_assert_uint_eq (stats.held, CHUNK);
    ck_assert_uint_eq (stats.trims, 2);
    s_stop ();
}
END_TEST

START_TEST (test_a_quarter_is_kept_where_the_configuration_says_nothing)
{
    s_start (NULL);
    const Gpb__V1__PoolStats stats = s_release_three_chunks ();
    ck_assert_uint_eq (stats.held, 3 * CHUNK);
    ck_assert_uint_eq (stats.trims, 0);
    //  Of 64 MB: what is beyond it goes back.
    s_release (s_rent (s_client, 17 * MB));
    ck_assert_uint_le (s_await_zeroed ().stats.held, 16 * MB);
    s_stop ();
}
END_TEST

static uint64_t
s_launch_kept (void)
{
    static unsigned char data [4 << 20];
    gpb_test_actor_done (s_client, gpb_test_actor_duplicate (data, sizeof data));
    return s_figures ().stats.launch_kept;
}

START_TEST (test_launches_keep_no_more_than_the_configuration_says)
{
    s_start_device ((const char *const []){ "keep_max_size", "1048576", NULL });
    ck_assert_uint_le (s_launch_kept (), MB);
    s_stop ();
}
END_TEST

START_TEST (test_launches_keep_a_quarter_where_the_configuration_says_nothing)
{
    s_start_device (NULL);
    const uint64_t kept = s_launch_kept ();
    ck_assert_uint_ge (kept, 8 * MB);
    ck_assert_uint_le (kept, 16 * MB);
    s_stop ();
}
END_TEST

START_TEST (test_what_nobody_asks_for_goes_back_to_the_driver)
{
    s_start ((const char *const []){ "keep_ms", "50", NULL });
    uint64_t kept = s_rent (s_client, SIZE);
    s_release (s_rent (s_client, 3 * CHUNK));
    s_release (gpb_test_actor_rent (s_client, SIZE, GPB_RENT_MAPPED, GPB_RENT_READ_WRITE));
    const uint64_t start_ns = gpb_clock_ns (), end_ns = start_ns + 20 * GPB_NS_PER_S;
    //  A chunk that is in use stays whole; asking for figures is not asking for memory.
    s_figures_t figures = s_await_zeroed ();
    while (figures.stats.held != CHUNK) {
        ck_assert_uint_lt (gpb_clock_ns (), end_ns);
        zmq_poll (NULL, 0, 2);
        figures = s_figures ();
    }
    ck_assert_uint_eq (figures.stats.trims, 2);
    ck_assert_uint_eq (figures.stats.live, 1);
    s_release (kept);
    while (figures.stats.held != 0) {
        ck_assert_uint_lt (gpb_clock_ns (), end_ns);
        zmq_poll (NULL, 0, 2);
        figures = s_figures ();
    }
    ck_assert_uint_eq (figures.stats.trims, 3);
    ck_assert_uint_eq (figures.stats.kept, 0);
    ck_assert_uint_eq (figures.stats.n_kept_by_class, 0);
    //  And is had again.
    s_rent (s_client, SIZE);
    ck_assert_uint_eq (s_figures ().stats.held, CHUNK);
    s_stop ();
}
END_TEST

static void
s_check_client_bound (void)
{
    gpb_client_t *other = gpb_test_actor_client (GPB_TEST_ACTOR_INPROC);
    uint64_t handle = s_rent (s_client, 6144);
    s_refused (s_client, 4097,
               "a buffer of 4097 bytes was asked for: this client has 6144 of the 10240 bytes that "
               "one may rent on device 0");
    s_refused (s_client, UINT64_C (1) << 25, "6144 of the 10240");
    s_rent (s_client, 4096);
    s_refused (s_client, 1, "this client has 10240 of the 10240");
    //  One's bound is not another's.
    s_rent (other, 10240);
    s_refused (other, 1, "this client has 10240 of the 10240");
    s_release (handle);
    s_rent (s_client, 6144);
    gpb_client_destroy (&other);
}

START_TEST (test_one_client_rents_no_more_than_it_may)
{
    s_start ((const char *const []){ "client_rent_max_size", "10240", NULL });
    s_check_client_bound ();
    s_stop ();
}
END_TEST

START_TEST (test_one_client_of_a_device_rents_no_more_than_it_may)
{
    //  The pool's only client is the device: the bound is of those that it asks for.
    s_start_device ((const char *const []){ "client_rent_max_size", "10240", NULL });
    s_check_client_bound ();
    s_stop ();
}
END_TEST

START_TEST (test_a_rent_that_waits_counts_for_its_client)
{
    setenv ("GPB_FAKE_COMPUTE_US", "100000", 1);
    s_start ((const char *const []){ "client_rent_max_size", "10240", NULL });
    uint64_t waits = gpb_test_actor_send (s_client, gpb_request_rent (10240, GPB_RENT_DEVICE,
                                                                      GPB_RENT_READ_WRITE));
    uint64_t refused =
        gpb_test_actor_send (s_client, gpb_request_rent (1, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE));
    gpb_reply_t *reply = gpb_test_actor_recv (s_client);
    ck_assert_uint_eq (gpb_reply_id (reply), refused);
    ck_assert_int_eq (gpb_reply_status (reply), GPB_RESOURCE_EXHAUSTED);
    gpb_reply_destroy (&reply);
    reply = gpb_test_actor_recv (s_client);
    ck_assert_uint_eq (gpb_reply_id (reply), waits);
    ck_assert_int_eq (gpb_reply_status (reply), GPB_OK);
    gpb_reply_destroy (&reply);
    s_stop ();
}
END_TEST

START_TEST (test_a_refusal_says_what_holds_the_memory)
{
    setenv ("GPB_FAKE_MEMORY", "4194304", 1);
    s_start_device (NULL);
    gpb_client_t *other = gpb_test_actor_client (GPB_TEST_ACTOR_INPROC);
    uint64_t first = s_rent (s_client, 10000);
    s_rent (other, 1000000);
    s_release (first);
    s_rent (s_client, 300);
    //  A launch has 1 MB.
    static unsigned char data [1 << 20];
    gpb_request_t *request = gpb_request_execute ("endless_use");
    gpb_request_in (request, data, sizeof data);
    gpb_request_u32 (request, sizeof data);
    gpb_test_actor_send (s_client, request);
    gpb_test_actor_await_in_flight (s_client, 1);
    gpb_test_actor_refused (s_client,
                            gpb_request_rent (3000000, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE),
                            GPB_RESOURCE_EXHAUSTED, "a buffer of 3000000 bytes was asked for: ");
    s_refused (s_client, 3000000,
               "1000448 of 4194304 bytes are rented out on device 0, 300 of "
               "them to this client; ");
    char part [200];
    const s_figures_t figures = s_figures ();
    snprintf (part, sizeof part,
              "%" PRIu64 " are kept free, the largest block of them has %" PRIu64 "; ",
              figures.stats.kept, figures.stats.largest_free);
    ck_assert_uint_gt (figures.stats.kept, figures.stats.largest_free);
    s_refused (s_client, 3000000, part);
    //  Nothing is left: launches and the pool have a chunk each.
    ck_assert_uint_eq (figures.stats.held, CHUNK);
    s_refused (s_client, 3000000, "the driver has 0 more, launches and others have 2097152");
    gpb_test_actor_let_go (s_client);
    gpb_client_destroy (&other);
    s_stop ();
}
END_TEST

START_TEST (test_a_driver_without_memory_is_asked_again_by_the_next_one)
{
    //  Every other allocation fails: once what is free was given back, the second attempt succeeds.
    setenv ("GPB_FAKE_FAIL_EVERY", "2", 1);
    s_start (NULL);
    s_rent (s_client, CHUNK);
    s_refused (s_client, CHUNK, "a buffer of 2097152 bytes was asked for");
    const s_figures_t figures = s_figures ();
    ck_assert_uint_eq (figures.stats.live, 1);
    ck_assert_uint_eq (figures.stats.rents, 1);
    ck_assert_uint_eq (figures.stats.in_use, CHUNK);
    ck_assert_uint_eq (figures.stats.held, CHUNK);
    s_rent (s_client, CHUNK);
    s_stop ();
}
END_TEST

GPB_TEST_MAIN ("a pool's figures", 30, test_a_pool_that_did_nothing_says_so,
               test_every_figure_says_what_there_is,
               test_memory_that_is_being_zeroed_is_held_and_not_kept,
               test_no_more_is_kept_than_the_configuration_says,
               test_a_quarter_is_kept_where_the_configuration_says_nothing,
               test_launches_keep_no_more_than_the_configuration_says,
               test_launches_keep_a_quarter_where_the_configuration_says_nothing,
               test_what_nobody_asks_for_goes_back_to_the_driver,
               test_one_client_rents_no_more_than_it_may,
               test_one_client_of_a_device_rents_no_more_than_it_may,
               test_a_rent_that_waits_counts_for_its_client,
               test_a_refusal_says_what_holds_the_memory,
               test_a_driver_without_memory_is_asked_again_by_the_next_one)
