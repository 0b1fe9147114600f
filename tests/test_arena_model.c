//  The arena against a plain list: a million seeded allocations, returns, trims and refusals of
//  what it wraps. After each, the block's place is held against a map of its chunk; every so often,
//  the figures against what the maps say.

#include "gpb_arena.h"
#include "gpb_test.h"
#include "gpb_test_resource.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LIVE_MAX 3000
#define LOOK_EVERY 500    //  operations between two looks at all maps

//  Check writes a line to its parent for every assertion of its own: millions of them are for this
//  one, which writes only where it does not hold.
#define HOLDS(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            ck_abort_msg ("does not hold: %s", #condition);                                        \
    } while (0)

typedef struct {
    gpb_allocation_t allocation;
    uint64_t stamp;
} s_live_t;

typedef struct {
    gpb_resource_t *arena;
    gpb_test_book_t book;
    uint64_t random;
    s_live_t live [LIVE_MAX];
    size_t live_count;
    uint64_t in_use, requested;    //  bytes
    uint64_t allocations, stamps;
} s_model_t;

static gpb_error_t error;

//  Xorshift: the same on every machine.
static uint64_t
s_random (s_model_t *model, uint64_t bound)
{
    model->random ^= model->random << 13;
    model->random ^= model->random >> 7;
    model->random ^= model->random << 17;
    return model->random % bound;
}

//  Small ones are frequent, and now and then one is larger than a chunk.
static uint64_t
s_random_size (s_model_t *model)
{
    uint64_t bits = s_random (model, 1000) == 0 ? 22 : 1 + s_random (model, 17);
    return 1 + s_random (model, 1ULL << bits);
}

static void
s_stamp (const s_live_t *live, bool write)
{
    char *ends [] = { live->allocation.address, (char *) live->allocation.address
                                                    + live->allocation.size - sizeof live->stamp };
    for (int end = 0; end < 2; end++)
        if (write)
            memcpy (ends [end], &live->stamp, sizeof live->stamp);
        else
            HOLDS (memcmp (ends [end], &live->stamp, sizeof live->stamp) == 0);
}

static void
s_check_place (const gpb_allocation_t *allocation, uint64_t size)
{
    gpb_memory_t *memory = allocation->memory;
    HOLDS (allocation->requested == size);
    HOLDS (allocation->size >= size);
    HOLDS (allocation->offset % GPB_MEMORY_ALIGNMENT == 0);
    HOLDS (allocation->size % GPB_MEMORY_ALIGNMENT == 0);
    HOLDS (allocation->offset + allocation->size <= memory->size);
    HOLDS (allocation->address == memory->data + allocation->offset);
    size_t first = allocation->offset / GPB_MEMORY_ALIGNMENT;
    size_t count = allocation->size / GPB_MEMORY_ALIGNMENT;
    //  Nobody else has any of it, and it is fresh where some of it was given to nobody before.
    HOLDS (!memchr (memory->used + first, 1, count));
    HOLDS (allocation->fresh == (memchr (memory->touched + first, 0, count) != NULL));
    memset (memory->used + first, 1, count);
    memset (memory->touched + first, 1, count);
}

static void
s_allocate (s_model_t *model)
{
    uint64_t size = s_random_size (model), refusals = model->book.refusals;
    s_live_t *live = &model->live [model->live_count];
    gpb_status_t status = model->arena->allocate (model->arena, size, &live->allocation, &error);
    if (status != GPB_OK) {
        //  It has asked for more, and asked again where it could.
        HOLDS (status == GPB_RESOURCE_EXHAUSTED);
        HOLDS (model->book.refusals > refusals);
        HOLDS (!live->allocation.memory);
        return;
    }
    s_check_place (&live->allocation, size);
    live->stamp = ++model->stamps;
    s_stamp (live, true);
    model->in_use += live->allocation.size;
    model->requested += size;
    model->allocations++;
    model->live_count++;
}

static void
s_deallocate (s_model_t *model)
{
    size_t index = s_random (model, model->live_count);
    s_live_t live = model->live [index];
    s_stamp (&live, false);
    size_t first = live.allocation.offset / GPB_MEMORY_ALIGNMENT;
    size_t count = live.allocation.size / GPB_MEMORY_ALIGNMENT;
    HOLDS (!memchr (live.allocation.memory->used + first, 0, count));
    memset (live.allocation.memory->used + first, 0, count);
    model->in_use -= live.allocation.size;
    model->requested -= live.allocation.requested;
    model->arena->deallocate (model->arena, &live.allocation);
    HOLDS (!live.allocation.memory);
    model->live [index] = model->live [--model->live_count];
}

//  Free blocks are what lies free between two used ones: neighbours are always joined.
static void
s_look_at_maps (const s_model_t *model, gpb_arena_figures_t *expected)
{
    for (const gpb_memory_t *memory = model->book.memories; memory; memory = memory->next) {
        size_t granules = memory->size / GPB_MEMORY_ALIGNMENT;
        const unsigned char *end = memory->used + granules;
        for (const unsigned char *at = memory->used; at < end;) {
            const unsigned char *stop = memchr (at, *at ? 0 : 1, (size_t) (end - at));
            stop = stop ? stop : end;
            uint64_t size = (uint64_t) (stop - at) * GPB_MEMORY_ALIGNMENT;
            if (!*at) {
                expected->blocks_kept++;
                expected->kept += size;
                expected->trimmable += size == memory->size ? size : 0;
                expected->kept_by_class [63 - __builtin_clzll (size)]++;
                if (size > expected->largest_free)
                    expected->largest_free = size;
            }
            at = stop;
        }
    }
}

static void
s_look (s_model_t *model)
{
    gpb_arena_figures_t figures, expected = { .in_use = model->in_use };
    gpb_arena_figures (model->arena, &figures);
    s_look_at_maps (model, &expected);
    ck_assert_uint_eq (figures.in_use, model->in_use);
    ck_assert_uint_eq (figures.requested, model->requested);
    ck_assert_uint_eq (figures.held, model->book.used);
    ck_assert_uint_eq (figures.kept, expected.kept);
    ck_assert_uint_eq (figures.kept, figures.held - figures.in_use);
    ck_assert_uint_eq (figures.trimmable, expected.trimmable);
    ck_assert_uint_eq (figures.chunks, model->book.count);
    ck_assert_uint_eq (figures.blocks_in_use, model->live_count);
    ck_assert_uint_eq (figures.blocks_kept, expected.blocks_kept);
    ck_assert_uint_eq (figures.largest_free, expected.largest_free);
    ck_assert_mem_eq (figures.kept_by_class, expected.kept_by_class, sizeof expected.kept_by_class);
    ck_assert_uint_eq (figures.hits + figures.misses, model->allocations);
    ck_assert_uint_eq (figures.misses, model->book.allocations);
    ck_assert_uint_eq (figures.trims, model->book.allocations - model->book.count);
    ck_assert_uint_ge (figures.in_use_high_water, figures.in_use);
    ck_assert_uint_ge (figures.held_high_water, figures.held);
    ck_assert_double_eq_tol (figures.external_fragmentation,
                             expected.kept
                                 ? 1 - (double) expected.largest_free / (double) expected.kept
                                 : 0,
                             1e-9);
}

static void
s_run (uint64_t seed, uint64_t operations, uint64_t limit, uint64_t keep_size)
{
    s_model_t *model = calloc (1, sizeof *model);
    ck_assert_ptr_nonnull (model);
    model->random = seed;
    model->book = (gpb_test_book_t){ .limit = limit, .refuse_after = -1 };
    gpb_resource_t *upstream = gpb_test_resource_new (&model->book);
    gpb_arena_options_t options = { .keep_size = keep_size, .chunk_max_size = 3 << 20 };
    model->arena = gpb_arena_new (&upstream, &options, &error);
    ck_assert_ptr_nonnull (model->arena);
    //  It grows, and shrinks, and grows.
    bool grows = true;
    for (uint64_t operation = 0; operation < operations; operation++) {
        if (model->live_count == 0 || model->live_count == LIVE_MAX)
            grows = model->live_count == 0;
        else if (s_random (model, 5000) == 0)
            grows = !grows;
        uint64_t dice = s_random (model, 10000);
        if (dice < 3)
            model->book.refuse_after = (int64_t) s_random (model, 3);
        else if (dice < 6) {
            uint64_t keep = s_random (model, 2) * s_random (model, limit), used = model->book.used;
            uint64_t given = model->arena->trim (model->arena, keep);
            ck_assert_uint_eq (given, used - model->book.used);
        }
        else if (model->live_count < LIVE_MAX
                 && (model->live_count == 0 || s_random (model, 100) < (grows ? 60 : 40)))
            s_allocate (model);
        else
            s_deallocate (model);
        if (operation % LOOK_EVERY == 0)
            s_look (model);
    }
    while (model->live_count > 0)
        s_deallocate (model);
    s_look (model);
    ck_assert_uint_le (model->book.used, keep_size);
    model->arena->trim (model->arena, 0);
    ck_assert_uint_eq (model->book.used, 0);
    s_look (model);
    model->arena->destroy (&model->arena);
    ck_assert (model->book.destroyed);
    free (model);
}

static uint64_t
s_operations (void)
{
    return getenv ("GPB_TEST_SLOW") ? 20000 : 333334;
}

START_TEST (test_with_room_and_much_kept_it_agrees_with_the_list)
{
    s_run (0x9E3779B97F4A7C15, s_operations (), UINT64_MAX / 2, UINT64_MAX);
}
END_TEST

START_TEST (test_where_nothing_is_kept_it_agrees_with_the_list)
{
    s_run (0xD1B54A32D192ED03, s_operations (), UINT64_MAX / 2, 0);
}
END_TEST

START_TEST (test_at_its_limit_it_agrees_with_the_list)
{
    s_run (0x8CB92BA72F3D8DD7, s_operations (), 12 << 20, 4 << 20);
}
END_TEST

GPB_TEST_MAIN ("gpb_arena_model", 30, test_with_room_and_much_kept_it_agrees_with_the_list,
               test_where_nothing_is_kept_it_agrees_with_the_list,
               test_at_its_limit_it_agrees_with_the_list)
