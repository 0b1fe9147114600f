//  The pool against a plain list: seeded bursts of rents, releases, owners that vanish, pauses in
//  which free memory goes back, and a driver that fails. What is refused is known from the limit,
//  where the driver has enough; MAPPED memory is looked at when it is rented and when it is
//  released; every so often, the figures are held against the list.

#include "gpb_test.h"

#include "gpb_backend.h"
#include "gpb_clock.h"
#include "gpb_test_actor.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define CLIENTS 4
#define LIVE_MAX 400
#define BURST_MAX 8
#define LIMIT (UINT64_C (2) << 20)
#define LIMIT_TEXT "2097152"
#define LOOK_EVERY 20    //  operations between two looks at all figures

//  Check writes a line to its parent for every assertion of its own: millions of them are for this
//  one, which writes only where it does not hold.
#define HOLDS(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            ck_abort_msg ("does not hold: %s", #condition);                                        \
    } while (0)

typedef struct {
    uint64_t handle, size;
    size_t client;
    unsigned char *memory;    //  NULL: not MAPPED
    unsigned char stamp;      //  that all of it has
} s_live_t;

typedef struct {
    gpb_test_actor_t pool;
    gpb_client_t *clients [CLIENTS];
    bool fails;    //  the driver does, now and then
    uint64_t random;
    s_live_t live [LIVE_MAX];
    size_t live_count;
    uint64_t least, most, requested;    //  bytes: of blocks, at least and at most; as asked
    uint64_t least_high_water, high_water;
    uint64_t rents, releases, refusals;
    uint64_t *handles;    //  all that were ever given
} s_model_t;

//  Xorshift: the same on every machine.
static uint64_t
s_random (s_model_t *model, uint64_t bound)
{
    model->random ^= model->random << 13;
    model->random ^= model->random >> 7;
    model->random ^= model->random << 17;
    return model->random % bound;
}

static uint64_t
s_rounded (uint64_t size)
{
    return (size + GPB_MEMORY_ALIGNMENT - 1) / GPB_MEMORY_ALIGNMENT * GPB_MEMORY_ALIGNMENT;
}

//  The most that its block has: one that came back is used again by who wants next to all of it, a
//  32nd less at most.
static uint64_t
s_most (uint64_t size)
{
    return s_rounded (size) + s_rounded (size) / 16;
}

//  Small ones are frequent; now and then one alone is more than may be rented.
static uint64_t
s_random_size (s_model_t *model)
{
    uint64_t bits = s_random (model, 100) == 0 ? 22 : 1 + s_random (model, 17);
    return 1 + s_random (model, UINT64_C (1) << bits);
}

static void
s_check_stamp (const s_live_t *live, unsigned char stamp)
{
    for (uint64_t index = 0; live->memory && index < live->size; index++)
        HOLDS (live->memory [index] == stamp);
}

//  It is nobody's any more, as far as the list goes.
static void
s_forget (s_model_t *model, size_t index)
{
    s_live_t *live = &model->live [index];
    model->least -= s_rounded (live->size);
    model->most -= s_most (live->size);
    model->requested -= live->size;
    model->releases++;
    *live = model->live [--model->live_count];
}

static void
s_note (s_model_t *model, uint64_t handle, uint64_t size, size_t client, bool is_mapped)
{
    s_live_t *live = &model->live [model->live_count++];
    *live = (s_live_t){ .handle = handle, .size = size, .client = client };
    model->handles [model->rents++] = handle;
    model->least += s_rounded (size);
    model->most += s_most (size);
    model->requested += size;
    if (model->least > model->least_high_water)
        model->least_high_water = model->least;
    if (!is_mapped)
        return;
    gpb_reply_t *reply =
        gpb_test_actor_ok (model->clients [client], gpb_request_map (live->handle));
    live->memory = gpb_reply_address (reply);
    gpb_reply_destroy (&reply);
    s_check_stamp (live, 0);
    live->stamp = (unsigned char) (1 + s_random (model, 255));
    memset (live->memory, live->stamp, live->size);
}

//  Some rents of one client at once.
static void
s_rent (s_model_t *model)
{
    const size_t client = s_random (model, CLIENTS), count = 1 + s_random (model, BURST_MAX);
    uint64_t ids [BURST_MAX], sizes [BURST_MAX], most = model->most;
    const uint64_t least = model->least;
    bool is_mapped [BURST_MAX];
    for (size_t index = 0; index < count; index++) {
        sizes [index] = s_random_size (model);
        is_mapped [index] = s_random (model, 2) == 0;
        most += s_most (sizes [index]);
        ids [index] = gpb_test_actor_send (model->clients [client],
                                           gpb_request_rent (sizes [index],
                                                             is_mapped [index] ? GPB_RENT_MAPPED
                                                                               : GPB_RENT_DEVICE,
                                                             GPB_RENT_READ_WRITE));
    }
    //  Noted when all answers are there, since a call would take the next of them.
    uint64_t handles [BURST_MAX] = { 0 };
    for (size_t count_left = count; count_left > 0; count_left--) {
        gpb_reply_t *reply = gpb_test_actor_recv (model->clients [client]);
        size_t index = 0;
        while (index < count && ids [index] != gpb_reply_id (reply))
            index++;
        HOLDS (index < count && handles [index] == 0);
        gpb_status_t status = gpb_reply_status (reply);
        HOLDS (status == GPB_OK || status == GPB_RESOURCE_EXHAUSTED);
        if (status == GPB_OK) {
            handles [index] = gpb_reply_handle (reply);
            HOLDS (handles [index] != 0);
            HOLDS (least + sizes [index] <= LIMIT);
        }
        else {
            model->refusals++;
            HOLDS (model->fails || most > LIMIT);
            ids [index] = 0;    //  an answer comes once
        }
        gpb_reply_destroy (&reply);
    }
    for (size_t index = 0; index < count; index++)
        if (handles [index])
            s_note (model, handles [index], sizes [index], client, is_mapped [index]);
    HOLDS (model->least <= LIMIT);
}

static void
s_release (s_model_t *model)
{
    size_t index = s_random (model, model->live_count);
    s_live_t live = model->live [index];
    //  Not another's to release.
    if (s_random (model, 20) == 0)
        gpb_test_actor_refused (model->clients [(live.client + 1) % CLIENTS],
                                gpb_request_release (live.handle), GPB_NOT_FOUND, "no buffer");
    s_check_stamp (&live, live.stamp);
    gpb_test_actor_done (model->clients [live.client], gpb_request_release (live.handle));
    s_forget (model, index);
    if (s_random (model, 20) == 0)
        gpb_test_actor_refused (model->clients [live.client], gpb_request_release (live.handle),
                                GPB_NOT_FOUND, "no buffer");
}

static Gpb__V1__PoolStats
s_stats (s_model_t *model, size_t client)
{
    gpb_reply_t *reply = gpb_test_actor_ok (model->clients [client], gpb_request_stats ());
    Gpb__V1__PoolStats stats = *gpb_reply_header_peek (reply)->stats->pools [0];
    gpb_reply_destroy (&reply);
    return stats;
}

static void
s_look (s_model_t *model)
{
    const Gpb__V1__PoolStats stats = s_stats (model, s_random (model, CLIENTS));
    HOLDS (stats.live == model->live_count);
    HOLDS (stats.in_use >= model->least && stats.in_use <= model->most);
    HOLDS (stats.in_use <= LIMIT);
    HOLDS (stats.requested == model->requested);
    HOLDS (stats.rents == model->rents);
    HOLDS (stats.releases == model->releases);
    HOLDS (stats.high_water >= model->least_high_water && stats.high_water <= LIMIT);
    HOLDS (stats.high_water >= model->high_water);
    model->high_water = stats.high_water;
    HOLDS (stats.held >= stats.in_use + stats.kept);
    HOLDS (stats.largest_free <= stats.kept);
    HOLDS (stats.limit == LIMIT);
}

//  One client goes, with or without having looked at what it has, and another comes.
static void
s_vanish (s_model_t *model)
{
    const size_t client = s_random (model, CLIENTS);
    for (size_t index = model->live_count; index-- > 0;)
        if (model->live [index].client == client) {
            s_check_stamp (&model->live [index], model->live [index].stamp);
            s_forget (model, index);
        }
    gpb_client_destroy (&model->clients [client]);
    model->clients [client] = gpb_test_actor_client (GPB_TEST_ACTOR_INPROC);
    //  Its goodbye is read when what was sent behind it is answered twice.
    s_stats (model, client);
    s_stats (model, client);
}

static int
s_compare (const void *left, const void *right)
{
    const uint64_t *one = left, *other = right;
    return *one < *other ? -1 : *one > *other;
}

//  Everyone leaves: everything is back, and after a while with the driver.
static void
s_finish (s_model_t *model)
{
    for (size_t index = 0; index < model->live_count; index++)
        s_check_stamp (&model->live [index], model->live [index].stamp);
    for (size_t client = 1; client < CLIENTS; client++)
        gpb_client_destroy (&model->clients [client]);
    for (size_t index = model->live_count; index-- > 0;) {
        s_live_t live = model->live [index];
        if (live.client == 0)
            gpb_test_actor_done (model->clients [0], gpb_request_release (live.handle));
        s_forget (model, index);
    }
    const uint64_t end_ns = gpb_clock_ns () + 20 * GPB_NS_PER_S;
    Gpb__V1__PoolStats stats = s_stats (model, 0);
    while (stats.held != 0) {
        ck_assert_uint_lt (gpb_clock_ns (), end_ns);
        zmq_poll (NULL, 0, 2);
        stats = s_stats (model, 0);
    }
    ck_assert_uint_eq (stats.live + stats.in_use + stats.requested + stats.kept, 0);
    ck_assert_uint_eq (stats.rents, model->rents);
    ck_assert_uint_eq (stats.releases, model->rents);
    gpb_client_destroy (&model->clients [0]);
    //  The fake backend's books abort where memory is left.
    gpb_test_actor_stop (&model->pool);
    qsort (model->handles, model->rents, sizeof model->handles [0], s_compare);
    for (uint64_t index = 1; index < model->rents; index++)
        HOLDS (model->handles [index] != model->handles [index - 1]);
}

static void
s_run (uint64_t seed, uint64_t operations, bool fails)
{
    s_model_t *model = calloc (1, sizeof *model);
    ck_assert_ptr_nonnull (model);
    model->handles = calloc (operations * BURST_MAX, sizeof model->handles [0]);
    ck_assert_ptr_nonnull (model->handles);
    model->random = seed;
    model->fails = fails;
    if (fails)
        setenv ("GPB_FAKE_FAIL_EVERY", "3", 1);
    gpb_test_actor_pool (&model->pool, "fake",
                         (const char *const []){ "rent_max_size", LIMIT_TEXT, "keep_max_size",
                                                 "1572864", "keep_ms", "10", NULL });
    for (size_t client = 0; client < CLIENTS; client++)
        model->clients [client] = gpb_test_actor_client (GPB_TEST_ACTOR_INPROC);
    //  It grows, and shrinks, and grows.
    bool grows = true;
    for (uint64_t operation = 0; operation < operations; operation++) {
        const bool is_full = model->live_count + BURST_MAX > LIVE_MAX;
        if (model->live_count == 0 || is_full)
            grows = !is_full;
        else if (s_random (model, 100) == 0)
            grows = !grows;
        uint64_t dice = s_random (model, 1000);
        if (dice < 2)
            s_vanish (model);
        else if (dice < 4)
            zmq_poll (NULL, 0, 12);    //  longer than keep_ms: what is free goes back
        else if (!is_full && (model->live_count == 0 || s_random (model, 100) < (grows ? 40 : 5)))
            s_rent (model);
        else
            s_release (model);
        if (operation % LOOK_EVERY == 0)
            s_look (model);
    }
    s_look (model);
    ck_assert_uint_gt (model->rents, operations / 4);
    ck_assert_uint_gt (model->refusals, operations / 100);
    s_finish (model);
    free (model->handles);
    free (model);
}

//  As many as take some 5 s where the machine does nothing else.
static uint64_t
s_operations (void)
{
    return getenv ("GPB_TEST_SLOW") ? 1200 : 12000;
}

START_TEST (test_with_a_driver_that_has_enough_it_agrees_with_the_list)
{
    s_run (0x9E3779B97F4A7C15, s_operations (), false);
}
END_TEST

START_TEST (test_with_a_driver_that_fails_it_agrees_with_the_list)
{
    s_run (0xD1B54A32D192ED03, s_operations (), true);
}
END_TEST

GPB_TEST_MAIN ("gpb_pool_model", 60, test_with_a_driver_that_has_enough_it_agrees_with_the_list,
               test_with_a_driver_that_fails_it_agrees_with_the_list)
