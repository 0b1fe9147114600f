//  gpb_test_resource - a resource for tests: host memory, a book of it, and refusals on demand
//
//  One thread.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_TEST_RESOURCE_H_INCLUDED
#define GPB_TEST_RESOURCE_H_INCLUDED

#include "gpb_resource.h"

//  What an allocation's memory is here: one list, newest first. The two maps have a byte for each
//  GPB_MEMORY_ALIGNMENT bytes, for the test to write into; they start as zeroes.
struct gpb_memory {
    gpb_memory_t *next;
    unsigned char *data;
    uint64_t size;
    unsigned char *used, *touched;
};

//  Of zeros, but for the limit and what is to fail.
typedef struct {
    uint64_t limit;          //  bytes
    int64_t refuse_after;    //  so many succeed, and the one behind them is refused; -1: none
    gpb_status_t refusal;    //  its status; GPB_OK stands for RESOURCE_EXHAUSTED
    uint64_t used;           //  bytes
    unsigned count;          //  that are out
    uint64_t allocations, refusals;    //  so far
    uint64_t asked;                    //  bytes that the last allocation asked for
    bool destroyed;
    gpb_memory_t *memories;
} gpb_test_book_t;

//  The book is the caller's, and outlives it.
gpb_resource_t *gpb_test_resource_new (gpb_test_book_t *book);

#endif
