//  gpb_alloc - the one way to the heap, so that tests can make it fail
//
//  Everything of ours that allocates does it here. Any thread. (libzmq and CZMQ allocate on their
//  own, and abort the process when memory runs out; that is theirs to mend.)
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_ALLOC_H_INCLUDED
#define GPB_ALLOC_H_INCLUDED

#include <stddef.h>
#include <stdint.h>

//  Zeroed memory for count elements of size bytes, or NULL (also where count * size overflows). A
//  size of 0 gives a pointer that may be freed.
void *gpb_alloc (size_t count, size_t size);

//  Memory that is not zeroed, aligned to alignment (a power of two, at least sizeof (void *)), or
//  NULL.
void *gpb_alloc_aligned (size_t alignment, size_t size);

//  As realloc over count elements of size bytes; what is new is not zeroed. On failure NULL, and
//  the old stays.
void *gpb_realloc (void *memory, size_t count, size_t size);

//  A copy of a string, or NULL (also for NULL).
char *gpb_strdup (const char *text);

//  The first size bytes of text as a string.
char *gpb_strndup (const char *text, size_t size);

//  For all of the above. NULL is accepted.
void gpb_free (void *memory);

//  Memory that is left to the end of the process on purpose, since a device may still use it, and
//  what it points to: leak detectors find it here. NULL is accepted.
void gpb_alloc_keep (void *memory);

//  For tests: the next `after` allocations of the process succeed, the one behind them fails, and
//  where `ever` is set all later ones fail too. A negative `after` ends it. Returns how many
//  allocations were made since the last call, so that a test can let each of them fail in turn.
uint64_t gpb_alloc_fail (int64_t after, int ever);

#endif
