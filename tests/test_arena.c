//  Tests of gpb_arena: what it takes from what it wraps, what it keeps and gives back, and what it
//  says when there is no more. test_arena_model.c holds it against a list.

#include "gpb_alloc.h"
#include "gpb_arena.h"
#include "gpb_test.h"
#include "gpb_test_resource.h"

#include <string.h>

#define MEBI (1ULL << 20)

static gpb_error_t error;
static gpb_test_book_t s_book;
static gpb_resource_t *s_arena;

static void
s_open (gpb_arena_options_t options, uint64_t limit)
{
    s_book = (gpb_test_book_t){ .limit = limit, .refuse_after = -1 };
    gpb_resource_t *upstream = gpb_test_resource_new (&s_book);
    s_arena = gpb_arena_new (&upstream, &options, &error);
    ck_assert_ptr_nonnull (s_arena);
    ck_assert_ptr_null (upstream);
}

static void
s_close (void)
{
    s_arena->destroy (&s_arena);
    ck_assert_ptr_null (s_arena);
    ck_assert (s_book.destroyed);
    s_arena = NULL;
}

static gpb_allocation_t
s_allocate (uint64_t size)
{
    gpb_allocation_t allocation;
    ck_assert_ok (s_arena->allocate (s_arena, size, &allocation, &error));
    return allocation;
}

static void
s_deallocate (gpb_allocation_t *allocation)
{
    s_arena->deallocate (s_arena, allocation);
}

static gpb_arena_figures_t
s_figures (void)
{
    gpb_arena_figures_t figures;
    gpb_arena_figures (s_arena, &figures);
    return figures;
}

START_TEST (test_blocks_are_parts_of_one_chunk)
{
    s_open ((gpb_arena_options_t){ .keep_size = UINT64_MAX }, UINT64_MAX);
    gpb_allocation_t one = s_allocate (1), other = s_allocate (1000), third = s_allocate (128);
    ck_assert_uint_eq (s_book.count, 1);
    ck_assert_uint_eq (s_book.used, 2 * MEBI);
    ck_assert_ptr_eq (one.memory, other.memory);
    ck_assert_uint_eq (one.size, 128);
    ck_assert_uint_eq (one.requested, 1);
    ck_assert_uint_eq (other.offset, 128);
    ck_assert_uint_eq (other.size, 1024);
    ck_assert_uint_eq (third.offset, 1152);
    ck_assert_uint_eq (third.size, 128);
    ck_assert_ptr_eq (third.address, one.memory->data + 1152);
    gpb_arena_figures_t figures = s_figures ();
    ck_assert_uint_eq (figures.in_use, 1280);
    ck_assert_uint_eq (figures.requested, 1129);
    ck_assert_uint_eq (figures.hits, 2);
    ck_assert_uint_eq (figures.misses, 1);
    ck_assert_double_eq_tol (figures.internal_fragmentation, 151.0 / 1280, 1e-9);
    ck_assert_uint_eq (gpb_arena_in_use (s_arena), 1280);
    ck_assert_uint_eq (gpb_arena_kept (s_arena), 2 * MEBI - 1280);
    s_deallocate (&one);
    s_deallocate (&other);
    s_deallocate (&third);
    ck_assert_ptr_null (third.memory);
    s_close ();
}
END_TEST

START_TEST (test_an_alignment_wider_than_usual_is_kept)
{
    s_open ((gpb_arena_options_t){ .alignment = 4096, .keep_size = UINT64_MAX }, UINT64_MAX);
    gpb_allocation_t one = s_allocate (1), other = s_allocate (4097);
    ck_assert_uint_eq (one.size, 4096);
    ck_assert_uint_eq (other.offset, 4096);
    ck_assert_uint_eq (other.size, 8192);
    s_deallocate (&one);
    s_deallocate (&other);
    s_close ();
    s_open ((gpb_arena_options_t){ .alignment = 1, .keep_size = UINT64_MAX }, UINT64_MAX);
    one = s_allocate (1);
    ck_assert_uint_eq (one.size, GPB_MEMORY_ALIGNMENT);
    s_deallocate (&one);
    s_close ();
}
END_TEST

START_TEST (test_a_returned_block_is_joined_with_free_neighbours)
{
    s_open ((gpb_arena_options_t){ .keep_size = UINT64_MAX }, UINT64_MAX);
    gpb_allocation_t blocks [4];
    for (int index = 0; index < 4; index++)
        blocks [index] = s_allocate (MEBI / 2);
    ck_assert_uint_eq (s_figures ().blocks_kept, 0);
    ck_assert_uint_eq (s_figures ().largest_free, 0);
    s_deallocate (&blocks [0]);
    s_deallocate (&blocks [2]);
    ck_assert_uint_eq (s_figures ().blocks_kept, 2);
    ck_assert_uint_eq (s_figures ().kept_by_class [19], 2);
    ck_assert_uint_eq (s_figures ().largest_free, MEBI / 2);
    ck_assert_double_eq_tol (s_figures ().external_fragmentation, 0.5, 1e-9);
    s_deallocate (&blocks [1]);
    ck_assert_uint_eq (s_figures ().blocks_kept, 1);
    ck_assert_uint_eq (s_figures ().largest_free, MEBI * 3 / 2);
    ck_assert_uint_eq (s_figures ().kept_by_class [19], 0);
    ck_assert_uint_eq (s_figures ().kept_by_class [20], 1);
    s_deallocate (&blocks [3]);
    ck_assert_uint_eq (s_figures ().largest_free, 2 * MEBI);
    ck_assert_double_eq (s_figures ().external_fragmentation, 0);
    s_close ();
}
END_TEST

START_TEST (test_the_same_request_gets_the_same_memory_again)
{
    s_open ((gpb_arena_options_t){ .keep_size = UINT64_MAX }, UINT64_MAX);
    void *addresses [3] = { NULL };
    for (int round = 0; round < 3; round++) {
        gpb_allocation_t blocks [3];
        for (int index = 0; index < 3; index++) {
            blocks [index] = s_allocate (4000000);
            ck_assert_int_eq (blocks [index].fresh, round == 0);
            if (round == 0)
                addresses [index] = blocks [index].address;
            bool found = false;
            for (int other = 0; other < 3; other++)
                found = found || blocks [index].address == addresses [other];
            ck_assert (found);
        }
        for (int index = 0; index < 3; index++)
            s_deallocate (&blocks [index]);
    }
    ck_assert_uint_eq (s_figures ().misses, 3);
    s_close ();
}
END_TEST

START_TEST (test_a_block_is_fresh_until_all_of_it_was_given_once)
{
    s_open ((gpb_arena_options_t){ .keep_size = UINT64_MAX }, UINT64_MAX);
    gpb_allocation_t one = s_allocate (MEBI);
    ck_assert (one.fresh);
    s_deallocate (&one);
    one = s_allocate (MEBI);
    ck_assert (!one.fresh);
    s_deallocate (&one);
    //  Half of this one was never given.
    one = s_allocate (2 * MEBI);
    ck_assert (one.fresh);
    s_deallocate (&one);
    one = s_allocate (2 * MEBI);
    ck_assert (!one.fresh);
    s_deallocate (&one);
    //  A new chunk may be the old memory: nobody knows.
    s_arena->trim (s_arena, 0);
    one = s_allocate (2 * MEBI);
    ck_assert (one.fresh);
    s_deallocate (&one);
    s_close ();
}
END_TEST

START_TEST (test_what_an_arena_gives_from_another_is_fresh_where_that_says_so)
{
    s_open ((gpb_arena_options_t){ .keep_size = UINT64_MAX }, UINT64_MAX);
    gpb_allocation_t one = s_allocate (2 * MEBI);
    s_deallocate (&one);
    gpb_resource_t *inner = s_arena;
    gpb_arena_options_t options = { .keep_size = 0 };
    gpb_resource_t *outer = gpb_arena_new (&inner, &options, &error);
    ck_assert_ok (outer->allocate (outer, MEBI, &one, &error));
    ck_assert (!one.fresh);
    outer->deallocate (outer, &one);
    outer->destroy (&outer);
    ck_assert (s_book.destroyed);
}
END_TEST

START_TEST (test_wholly_free_chunks_beyond_what_may_be_kept_go_back)
{
    s_open ((gpb_arena_options_t){ .keep_size = 5 * MEBI }, UINT64_MAX);
    gpb_allocation_t blocks [4];
    for (int index = 0; index < 4; index++)
        blocks [index] = s_allocate (2 * MEBI);
    ck_assert_uint_eq (s_book.count, 4);
    for (int index = 0; index < 4; index++)
        s_deallocate (&blocks [index]);
    ck_assert_uint_eq (s_figures ().kept, 4 * MEBI);
    ck_assert_uint_eq (s_book.used, 4 * MEBI);
    ck_assert_uint_eq (s_figures ().trims, 2);
    ck_assert_uint_eq (s_figures ().held_high_water, 8 * MEBI);
    //  One that is in use in part stays.
    blocks [0] = s_allocate (MEBI * 3 / 2);
    ck_assert_uint_eq (s_arena->trim (s_arena, 0), 2 * MEBI);
    ck_assert_uint_eq (s_book.used, 2 * MEBI);
    ck_assert_uint_eq (s_arena->trim (s_arena, 0), 0);
    s_deallocate (&blocks [0]);
    ck_assert_uint_eq (s_arena->trim (s_arena, 2 * MEBI), 0);
    ck_assert_uint_eq (s_arena->trim (s_arena, 2 * MEBI - 1), 2 * MEBI);
    ck_assert_uint_eq (s_book.used, 0);
    s_close ();
}
END_TEST

START_TEST (test_chunks_of_lower_numbers_are_used_first_and_the_others_drain)
{
    s_open ((gpb_arena_options_t){ .keep_size = UINT64_MAX }, UINT64_MAX);
    gpb_allocation_t one = s_allocate (2 * MEBI), other = s_allocate (2 * MEBI);
    const gpb_memory_t *first = one.memory;
    //  Whichever came back last.
    for (int round = 0; round < 2; round++) {
        s_deallocate (round ? &one : &other);
        s_deallocate (round ? &other : &one);
        s_figures ();    //  nothing is parked any more
        one = s_allocate (2 * MEBI);
        ck_assert_ptr_eq (one.memory, first);
        other = s_allocate (2 * MEBI);
    }
    s_deallocate (&one);
    s_deallocate (&other);
    s_close ();
}
END_TEST

START_TEST (test_small_blocks_have_chunks_of_their_own)
{
    s_open ((gpb_arena_options_t){ .keep_size = UINT64_MAX }, UINT64_MAX);
    gpb_allocation_t large = s_allocate (MEBI + 1), small = s_allocate (MEBI / 2);
    gpb_allocation_t other = s_allocate (MEBI / 2);
    ck_assert_ptr_ne (large.memory, small.memory);
    ck_assert_ptr_eq (other.memory, small.memory);
    ck_assert_uint_eq (s_figures ().trimmable, 0);
    s_deallocate (&large);
    ck_assert_uint_eq (s_figures ().trimmable, 2 * MEBI);
    s_deallocate (&small);
    s_deallocate (&other);
    ck_assert_uint_eq (s_figures ().trimmable, 4 * MEBI);
    s_close ();
}
END_TEST

START_TEST (test_where_there_is_no_more_small_blocks_and_large_ones_share)
{
    s_open ((gpb_arena_options_t){ .keep_size = UINT64_MAX }, 4 * MEBI);
    gpb_allocation_t large = s_allocate (MEBI + 128), small = s_allocate (MEBI / 2), blocks [4];
    //  Of the chunk of 2 MiB that large blocks have, nearly a MiB is left.
    for (int index = 0; index < 4; index++)
        blocks [index] = s_allocate (MEBI / 2);
    ck_assert_ptr_eq (blocks [2].memory, small.memory);
    ck_assert_ptr_eq (blocks [3].memory, large.memory);
    ck_assert_uint_eq (s_figures ().misses, 2);
    s_deallocate (&small);
    for (int index = 0; index < 2; index++)
        s_deallocate (&blocks [index]);
    s_deallocate (&large);
    //  And the other way: the small ones' chunk has 1.5 MiB in one piece.
    large = s_allocate (MEBI * 3 / 2);
    small = s_allocate (MEBI + 128);
    ck_assert_ptr_ne (large.memory, small.memory);
    ck_assert_uint_eq (s_figures ().misses, 2);
    s_deallocate (&large);
    s_deallocate (&small);
    s_deallocate (&blocks [2]);
    s_deallocate (&blocks [3]);
    s_close ();
}
END_TEST

START_TEST (test_a_chunk_is_bounded_but_for_one_block)
{
    s_open ((gpb_arena_options_t){ .keep_size = UINT64_MAX, .chunk_max_size = MEBI }, UINT64_MAX);
    gpb_allocation_t one = s_allocate (1000), other = s_allocate (3 * MEBI + 1);
    ck_assert_uint_eq (s_book.used, 4 * MEBI + 128);
    s_deallocate (&one);
    s_deallocate (&other);
    s_close ();
}
END_TEST

START_TEST (test_where_a_chunk_is_refused_the_block_alone_is_asked_for)
{
    s_open ((gpb_arena_options_t){ .keep_size = UINT64_MAX }, MEBI);
    gpb_allocation_t one = s_allocate (1000);
    ck_assert_uint_eq (s_book.refusals, 1);
    ck_assert_uint_eq (s_book.used, 1024);
    s_deallocate (&one);
    s_close ();
}
END_TEST

START_TEST (test_what_is_kept_goes_back_before_memory_is_said_to_be_out)
{
    s_open ((gpb_arena_options_t){ .keep_size = UINT64_MAX }, 8 * MEBI);
    gpb_allocation_t blocks [4], large;
    for (int index = 0; index < 4; index++)
        blocks [index] = s_allocate (2 * MEBI);
    for (int index = 0; index < 3; index++)
        s_deallocate (&blocks [index]);
    //  Free are 6 MiB, in three pieces.
    large = s_allocate (5 * MEBI);
    ck_assert_uint_eq (s_book.used, 7 * MEBI);
    gpb_allocation_t none;
    ck_assert_refused (s_arena->allocate (s_arena, 3 * MEBI, &none, &error), GPB_RESOURCE_EXHAUSTED,
                       "3145728 bytes were asked for: 0 are kept free");
    ck_assert_ptr_nonnull (strstr (error.text, "7340032 are in use"));
    ck_assert_ptr_nonnull (strstr (error.text, "the test gives no more"));
    ck_assert_ptr_null (none.memory);
    s_deallocate (&blocks [3]);
    s_deallocate (&large);
    s_close ();
}
END_TEST

START_TEST (test_the_refusal_says_what_is_free_and_in_how_large_a_piece)
{
    s_open ((gpb_arena_options_t){ .keep_size = UINT64_MAX }, 2 * MEBI);
    gpb_allocation_t blocks [4], none;
    for (int index = 0; index < 4; index++)
        blocks [index] = s_allocate (MEBI / 2);
    s_deallocate (&blocks [0]);
    s_deallocate (&blocks [2]);
    ck_assert_refused (s_arena->allocate (s_arena, MEBI, &none, &error), GPB_RESOURCE_EXHAUSTED,
                       "1048576 are kept free, the largest block of these has 524288, 1048576 are "
                       "in use");
    //  A piece that fits serves, whatever was refused before.
    blocks [0] = s_allocate (MEBI / 2);
    s_deallocate (&blocks [0]);
    s_deallocate (&blocks [1]);
    s_deallocate (&blocks [3]);
    ck_assert_refused (s_arena->allocate (s_arena, UINT64_MAX, &none, &error),
                       GPB_RESOURCE_EXHAUSTED, "no chunk has so many");
    s_close ();
}
END_TEST

START_TEST (test_a_block_in_the_class_of_the_request_serves_where_no_larger_one_is_free)
{
    s_open ((gpb_arena_options_t){ .keep_size = UINT64_MAX }, 2 * MEBI);
    //  1000 and 999 granules are of one class.
    gpb_allocation_t one = s_allocate (1000 * 128), rest = s_allocate (2 * MEBI - 1000 * 128);
    s_deallocate (&one);
    one = s_allocate (999 * 128);
    ck_assert_uint_eq (s_figures ().misses, 1);
    s_deallocate (&one);
    s_deallocate (&rest);
    s_close ();
}
END_TEST

START_TEST (test_another_status_than_exhausted_comes_through)
{
    s_open ((gpb_arena_options_t){ .keep_size = UINT64_MAX }, UINT64_MAX);
    s_book.refuse_after = 0;
    s_book.refusal = GPB_UNAVAILABLE;
    gpb_allocation_t none;
    ck_assert_refused (s_arena->allocate (s_arena, 1, &none, &error), GPB_UNAVAILABLE,
                       "the test gives no more");
    ck_assert_uint_eq (s_book.refusals, 1);
    s_close ();
}
END_TEST

START_TEST (test_heap_memory_that_runs_out_is_said_and_nothing_leaks)
{
    s_book = (gpb_test_book_t){ .limit = UINT64_MAX, .refuse_after = -1 };
    gpb_resource_t *upstream = gpb_test_resource_new (&s_book);
    gpb_arena_options_t options = { .keep_size = UINT64_MAX };
    gpb_alloc_fail (0, 0);
    ck_assert_ptr_null (gpb_arena_new (&upstream, &options, &error));
    gpb_alloc_fail (-1, 0);
    ck_assert_ptr_null (upstream);
    ck_assert (s_book.destroyed);

    s_open (options, UINT64_MAX);
    gpb_allocation_t block;
    for (int after = 0; after < 2; after++) {
        gpb_alloc_fail (after, 0);
        ck_assert_refused (s_arena->allocate (s_arena, 1, &block, &error), GPB_RESOURCE_EXHAUSTED,
                           "no memory for");
        gpb_alloc_fail (-1, 0);
        ck_assert_ptr_null (block.memory);
    }
    //  The first descriptors do for some blocks; those behind need more of the heap.
    gpb_allocation_t blocks [1000];
    size_t count = 0;
    blocks [count++] = s_allocate (1);
    gpb_alloc_fail (0, 1);
    while (count < 1000 && s_arena->allocate (s_arena, 1, &blocks [count], &error) == GPB_OK)
        count++;
    ck_assert_uint_lt (count, 1000);
    ck_assert_int_eq (error.status, GPB_RESOURCE_EXHAUSTED);
    ck_assert_uint_eq (s_figures ().blocks_in_use, count);
    gpb_alloc_fail (-1, 0);
    while (count > 0)
        s_deallocate (&blocks [--count]);
    s_close ();
}
END_TEST

GPB_TEST_MAIN ("gpb_arena", 10, test_blocks_are_parts_of_one_chunk,
               test_an_alignment_wider_than_usual_is_kept,
               test_a_returned_block_is_joined_with_free_neighbours,
               test_the_same_request_gets_the_same_memory_again,
               test_a_block_is_fresh_until_all_of_it_was_given_once,
               test_what_an_arena_gives_from_another_is_fresh_where_that_says_so,
               test_wholly_free_chunks_beyond_what_may_be_kept_go_back,
               test_chunks_of_lower_numbers_are_used_first_and_the_others_drain,
               test_small_blocks_have_chunks_of_their_own,
               test_where_there_is_no_more_small_blocks_and_large_ones_share,
               test_a_chunk_is_bounded_but_for_one_block,
               test_where_a_chunk_is_refused_the_block_alone_is_asked_for,
               test_what_is_kept_goes_back_before_memory_is_said_to_be_out,
               test_the_refusal_says_what_is_free_and_in_how_large_a_piece,
               test_a_block_in_the_class_of_the_request_serves_where_no_larger_one_is_free,
               test_another_status_than_exhausted_comes_through,
               test_heap_memory_that_runs_out_is_said_and_nothing_leaks)
