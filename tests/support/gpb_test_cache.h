//  gpb_test_cache - a cache in a folder of the test's own, and what can happen to that folder
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_TEST_CACHE_H_INCLUDED
#define GPB_TEST_CACHE_H_INCLUDED

#include "gpb_cache.h"

#define MEGABYTE (UINT64_C (1) << 20)

extern char gpb_test_cache_root [256];         //  the test's folder
extern char gpb_test_cache_directory [300];    //  the cache's, in there; not there at first

void gpb_test_cache_setup (void);
void gpb_test_cache_teardown (void);

//  One in that folder; must work.
gpb_cache_t *gpb_test_cache_new (uint64_t max_size);

//  Gets what is kept under the source's hash, or puts it there, as compiling it does. Says whether
//  it was there; what comes back is what was put.
bool gpb_test_cache_use (gpb_cache_t *cache, const char *source);

//  Calls visit (may be NULL) for every file of the cache's folder; returns how many there are.
int gpb_test_cache_each (void (*visit) (const char *path));

//  Bytes that the folder's files take.
uint64_t gpb_test_cache_size (void);

#endif
