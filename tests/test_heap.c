//  Tests of gpb_heap against an array that is searched through.

#include "gpb_test.h"

#include "gpb_alloc.h"
#include "gpb_heap.h"

#include <stdlib.h>

#define NODES 300

static uint64_t
s_smallest (const gpb_heap_node_t *nodes, size_t *count_p)
{
    uint64_t smallest = UINT64_MAX;
    *count_p = 0;
    for (size_t index = 0; index < NODES; index++)
        if (nodes [index].position) {
            ++*count_p;
            if (nodes [index].key < smallest)
                smallest = nodes [index].key;
        }
    return smallest;
}

START_TEST (test_the_earliest_is_always_first)
{
    static gpb_heap_node_t nodes [NODES];
    gpb_heap_t heap = { .nodes = NULL };
    ck_assert_ptr_null (gpb_heap_first (&heap));
    srand (11);
    for (int step = 0; step < 40000; step++) {
        gpb_heap_node_t *node = &nodes [rand () % NODES];
        if (node->position)
            gpb_heap_remove (&heap, node);
        else {
            node->key = (uint64_t) rand () % 64;    //  many of the same
            ck_assert (gpb_heap_add (&heap, node));
        }
        if (step % 16)
            continue;
        size_t count;
        uint64_t smallest = s_smallest (nodes, &count);
        ck_assert_uint_eq (heap.count, count);
        gpb_heap_node_t *first = gpb_heap_first (&heap);
        ck_assert_uint_eq (first ? first->key : UINT64_MAX, smallest);
        for (size_t index = 0; index < heap.count; index++)
            ck_assert_uint_eq (heap.nodes [index]->position, index + 1);
    }
    uint64_t last = 0;
    for (gpb_heap_node_t *first; (first = gpb_heap_first (&heap));) {
        ck_assert_uint_ge (first->key, last);
        last = first->key;
        gpb_heap_remove (&heap, first);
        ck_assert_uint_eq (first->position, 0);
    }
    gpb_heap_clear (&heap);
}
END_TEST

START_TEST (test_a_node_that_is_in_no_heap_may_be_removed)
{
    gpb_heap_t heap = { .nodes = NULL };
    gpb_heap_node_t node = { .key = 1 };
    gpb_heap_remove (&heap, &node);
    ck_assert (gpb_heap_add (&heap, &node));
    gpb_heap_remove (&heap, &node);
    gpb_heap_remove (&heap, &node);
    ck_assert_uint_eq (heap.count, 0);
    gpb_heap_clear (&heap);
}
END_TEST

START_TEST (test_nothing_is_lost_when_memory_runs_out)
{
    static gpb_heap_node_t nodes [200];
    gpb_heap_t heap = { .nodes = NULL };
    size_t refused = 0;
    for (size_t index = 0; index < 200; index++) {
        nodes [index].key = 200 - index;
        gpb_alloc_fail (0, 0);
        bool added = gpb_heap_add (&heap, &nodes [index]);
        gpb_alloc_fail (-1, 0);
        if (!added) {
            refused++;
            ck_assert_uint_eq (heap.count, index);
            ck_assert_uint_eq (nodes [index].position, 0);
            ck_assert (gpb_heap_add (&heap, &nodes [index]));
        }
        ck_assert_ptr_eq (gpb_heap_first (&heap), &nodes [index]);
    }
    ck_assert_uint_gt (refused, 1);
    gpb_heap_clear (&heap);
    ck_assert_uint_eq (heap.count, 0);
}
END_TEST

GPB_TEST_MAIN ("gpb_heap", 20, test_the_earliest_is_always_first,
               test_a_node_that_is_in_no_heap_may_be_removed,
               test_nothing_is_lost_when_memory_runs_out)
