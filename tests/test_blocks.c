//  Tests of gpb_blocks: blocks are parts of chunks, what comes back from any thread is used again,
//  and blocks that are out outlive their device.

#include "gpb_alloc.h"
#include "gpb_blocks.h"
#include "gpb_test.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_SIZE (2ULL << 20)    //  an arena's smallest

static gpb_error_t error;
static gpb_shared_context_t *s_shared;
static gpb_blocks_t *s_blocks;

static void
s_open (uint64_t keep_size)
{
    s_shared = gpb_shared_context_open ("fake", 0, 2, true, &error);
    ck_assert_msg (s_shared != NULL, "%s", error.text);
    s_blocks = gpb_blocks_new (s_shared, keep_size, &error);
    ck_assert_ptr_nonnull (s_blocks);
}

static void
s_close (void)
{
    gpb_blocks_destroy (&s_blocks);
    gpb_shared_context_release (&s_shared);
}

static gpb_block_t *
s_take (gpb_memory_kind_t kind, uint64_t size)
{
    gpb_block_t *block = gpb_blocks_take (s_blocks, kind, size, &error);
    ck_assert_msg (block != NULL, "%s", error.text);
    return block;
}

static gpb_blocks_figures_t
s_figures (void)
{
    gpb_blocks_figures_t figures;
    gpb_blocks_figures (s_blocks, &figures);
    return figures;
}

START_TEST (test_a_block_has_hardly_more_than_was_asked)
{
    s_open (1 << 20);
    static const uint64_t sizes [] = { 1, 128, 129, 4095, 4096, 9999, 65537, 1000000, 5000000 };
    for (size_t index = 0; index < sizeof sizes / sizeof sizes [0]; index++) {
        gpb_block_t *block = s_take (GPB_MEMORY_MAPPED, sizes [index]);
        ck_assert_uint_ge (block->size, sizes [index]);
        ck_assert_uint_lt (block->size, sizes [index] + GPB_MEMORY_ALIGNMENT);
        ck_assert_uint_eq (block->offset % s_shared->info.memory_alignment, 0);
        //  All of it is there.
        memset (block->address, 1, block->size);
        gpb_blocks_give (&block);
        ck_assert_ptr_null (block);
    }
    gpb_block_t *nothing = NULL;
    gpb_blocks_give (&nothing);
    ck_assert_ptr_null (gpb_blocks_take (s_blocks, GPB_MEMORY_DEVICE, UINT64_MAX, &error));
    ck_assert_int_eq (error.status, GPB_RESOURCE_EXHAUSTED);
    s_close ();
}
END_TEST

START_TEST (test_the_same_requests_get_the_same_memory_again)
{
    s_open (UINT64_MAX);
    void *addresses [3];
    for (int round = 0; round < 4; round++) {
        gpb_block_t *blocks [3];
        for (int index = 0; index < 3; index++) {
            blocks [index] = s_take (GPB_MEMORY_MAPPED, 4000000);
            if (round == 0)
                addresses [index] = blocks [index]->address;
            bool known = false;
            for (int other = 0; other < 3; other++)
                known = known || addresses [other] == blocks [index]->address;
            ck_assert (known);
        }
        for (int index = 0; index < 3; index++)
            gpb_blocks_give (&blocks [index]);
    }
    ck_assert_uint_eq (s_figures ().misses, 3);
    ck_assert_uint_eq (s_figures ().hits, 9);
    s_close ();
}
END_TEST

START_TEST (test_blocks_of_one_kind_share_a_chunk_and_another_kind_has_its_own)
{
    s_open (UINT64_MAX);
    gpb_block_t *one = s_take (GPB_MEMORY_MAPPED, 8000), *other = s_take (GPB_MEMORY_MAPPED, 8000);
    gpb_block_t *host = s_take (GPB_MEMORY_HOST, 8000);
    ck_assert_ptr_eq (one->memory, other->memory);
    ck_assert_ptr_ne (one->memory, host->memory);
    ck_assert_uint_eq (other->offset, 8064);
    ck_assert_ptr_eq (other->address, (char *) one->address + 8064);
    ck_assert_uint_eq (s_figures ().in_use, 3 * 8064);
    ck_assert_uint_eq (s_figures ().hits, 1);
    ck_assert_uint_eq (s_figures ().misses, 2);
    gpb_blocks_give (&one);
    gpb_blocks_give (&other);
    gpb_blocks_give (&host);
    ck_assert_uint_eq (s_figures ().in_use, 0);
    s_close ();
}
END_TEST

START_TEST (test_only_the_devices_own_memory_counts_as_its)
{
    s_open (UINT64_MAX);
    gpb_block_t *device = s_take (GPB_MEMORY_DEVICE, 4096), *host = s_take (GPB_MEMORY_HOST, 8192);
    ck_assert_ptr_null (device->address);
    ck_assert_uint_eq (s_figures ().in_use, 12288);
    ck_assert_uint_eq (s_figures ().device_in_use, 4096);
    gpb_blocks_give (&device);
    gpb_blocks_give (&host);
    ck_assert_uint_eq (s_figures ().kept, 2 * CHUNK_SIZE);
    ck_assert_uint_eq (s_figures ().device_kept, CHUNK_SIZE);
    ck_assert_uint_eq (s_figures ().device_in_use, 0);
    gpb_blocks_trim (s_blocks);
    ck_assert_uint_eq (s_figures ().kept, 0);
    ck_assert_uint_eq (s_figures ().device_kept, 0);
    s_close ();
}
END_TEST

static uint64_t
s_free_size (void)
{
    uint64_t size = 0;
    ck_assert_ok (s_shared->operations->memory_free (s_shared->context, &size, &error));
    return size;
}

START_TEST (test_no_more_is_kept_than_may_be)
{
    s_open (5 * CHUNK_SIZE);
    const uint64_t baseline = s_free_size ();
    gpb_block_t *blocks [4], *host = s_take (GPB_MEMORY_HOST, 2 * CHUNK_SIZE);
    for (int index = 0; index < 4; index++)
        blocks [index] = s_take (GPB_MEMORY_DEVICE, CHUNK_SIZE);
    for (int index = 0; index < 4; index++)
        gpb_blocks_give (&blocks [index]);
    ck_assert_uint_eq (s_figures ().kept, 4 * CHUNK_SIZE);
    ck_assert_uint_eq (s_free_size (), baseline - 4 * CHUNK_SIZE);
    //  All kinds together.
    gpb_blocks_give (&host);
    ck_assert_uint_eq (s_figures ().kept, 5 * CHUNK_SIZE);
    gpb_blocks_trim (s_blocks);
    ck_assert_uint_eq (s_figures ().kept, 0);
    ck_assert_uint_eq (s_free_size (), baseline);
    s_close ();
}
END_TEST

START_TEST (test_what_is_kept_goes_back_before_memory_is_said_to_be_out)
{
    setenv ("GPB_FAKE_MEMORY", "1048576", 1);
    s_open (1 << 20);
    gpb_block_t *blocks [4];
    for (int index = 0; index < 4; index++)
        blocks [index] = s_take (GPB_MEMORY_DEVICE, 200000);
    ck_assert_ptr_null (gpb_blocks_take (s_blocks, GPB_MEMORY_DEVICE, 500000, &error));
    ck_assert_int_eq (error.status, GPB_RESOURCE_EXHAUSTED);
    ck_assert_ptr_nonnull (strstr (error.text, "are free"));
    for (int index = 0; index < 4; index++)
        gpb_blocks_give (&blocks [index]);
    gpb_block_t *large = s_take (GPB_MEMORY_DEVICE, 1000000);
    gpb_blocks_give (&large);
    s_close ();
}
END_TEST

START_TEST (test_a_block_outlives_its_owner_and_its_device)
{
    s_open (1 << 20);
    gpb_block_t *one = s_take (GPB_MEMORY_MAPPED, 5000), *other = s_take (GPB_MEMORY_HOST, 100000);
    gpb_block_t *third = s_take (GPB_MEMORY_MAPPED, 5000);
    gpb_blocks_give (&third);
    s_close ();
    memset (one->address, 1, one->size);
    gpb_blocks_give (&one);
    memset (other->address, 1, other->size);
    //  This one closes the device, whose books would tell of anything left.
    gpb_blocks_give (&other);
}
END_TEST

#define THREADS 4
#define EACH 2000

typedef struct {
    pthread_mutex_t lock;
    gpb_block_t *waiting [64];
    size_t count;
    bool closed;
} s_hand_over_t;

static s_hand_over_t s_hand_over = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void *
s_give_back (void *unused)
{
    (void) unused;
    for (bool closed = false; !closed;) {
        gpb_block_t *block = NULL;
        pthread_mutex_lock (&s_hand_over.lock);
        if (s_hand_over.count)
            block = s_hand_over.waiting [--s_hand_over.count];
        else
            closed = s_hand_over.closed;
        pthread_mutex_unlock (&s_hand_over.lock);
        if (block) {
            ck_assert_uint_eq (*(unsigned char *) block->address, 0xAB);
            *(unsigned char *) block->address = 0;
            gpb_blocks_give (&block);
        }
        else
            sched_yield ();
    }
    return NULL;
}

START_TEST (test_any_thread_gives_blocks_back)
{
    s_open (1 << 20);
    pthread_t threads [THREADS];
    for (int index = 0; index < THREADS; index++)
        ck_assert_int_eq (pthread_create (&threads [index], NULL, s_give_back, NULL), 0);
    for (int index = 0; index < THREADS * EACH;) {
        gpb_block_t *block = s_take (GPB_MEMORY_MAPPED, 4096u << index % 3);
        //  What is out is nobody else's: the mark of one that is would still be there.
        ck_assert_uint_ne (*(unsigned char *) block->address, 0xAB);
        *(unsigned char *) block->address = 0xAB;
        while (block) {
            pthread_mutex_lock (&s_hand_over.lock);
            if (s_hand_over.count < 64) {
                s_hand_over.waiting [s_hand_over.count++] = block;
                block = NULL;
                index++;
            }
            pthread_mutex_unlock (&s_hand_over.lock);
            if (block)
                sched_yield ();
        }
    }
    pthread_mutex_lock (&s_hand_over.lock);
    s_hand_over.closed = true;
    pthread_mutex_unlock (&s_hand_over.lock);
    //  The last ones may come back after the owner has let go.
    s_close ();
    for (int index = 0; index < THREADS; index++)
        pthread_join (threads [index], NULL);
}
END_TEST

START_TEST (test_memory_that_runs_out_is_said_and_nothing_leaks)
{
    s_open (1 << 20);
    int64_t after = 0;
    gpb_block_t *block = NULL;
    for (; !block && after < 20; after++) {
        gpb_alloc_fail (after, 0);
        block = gpb_blocks_take (s_blocks, GPB_MEMORY_HOST, 5000, &error);
        gpb_alloc_fail (-1, 0);
        if (!block) {
            ck_assert_int_eq (error.status, GPB_RESOURCE_EXHAUSTED);
            ck_assert_uint_eq (s_figures ().in_use, 0);
        }
    }
    ck_assert_int_gt (after, 1);
    ck_assert_ptr_nonnull (block);
    gpb_blocks_give (&block);
    s_close ();
}
END_TEST

GPB_TEST_MAIN ("gpb_blocks", 20, test_a_block_has_hardly_more_than_was_asked,
               test_the_same_requests_get_the_same_memory_again,
               test_blocks_of_one_kind_share_a_chunk_and_another_kind_has_its_own,
               test_only_the_devices_own_memory_counts_as_its, test_no_more_is_kept_than_may_be,
               test_what_is_kept_goes_back_before_memory_is_said_to_be_out,
               test_a_block_outlives_its_owner_and_its_device, test_any_thread_gives_blocks_back,
               test_memory_that_runs_out_is_said_and_nothing_leaks)
