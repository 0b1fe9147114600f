//  gpb_cache - the folder of compiled binaries under gpb_compile
//
//  An entry is a file named by its key in hexadecimal:
//
//      bytes 0..7     "GPBCACH1"
//      bytes 8..39    the key
//      bytes 40..47   size of the binary, little-endian
//      bytes 48..79   SHA-256 of the binary
//      bytes 80..     the binary
//
//  Any number of processes may share the folder without a lock: an entry is written under a name of
//  its writer's and renamed when it is whole, a reader checks all of the above, and whoever finds
//  an entry gone has missed. An entry's modification time is when it was used last.
//
//  What is loaded from the folder runs on the device, and with PoCL in this process. So a folder or
//  an entry that another user can write to is not used at all.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_CACHE_H_INCLUDED
#define GPB_CACHE_H_INCLUDED

#include "gpb_binaries.h"
#include "gpb_compile.h"

#define GPB_CACHE_KEY_SIZE GPB_BINARIES_KEY_SIZE

//  The process's binaries, which the cache holds a reference of; borrowed.
gpb_binaries_t *gpb_cache_binaries_peek (const gpb_cache_t *self);

//  Whether nothing is to be compiled.
bool gpb_cache_forbids (const gpb_cache_t *self);

//  Whether there is a folder at all.
bool gpb_cache_usable (const gpb_cache_t *self);

//  The binary under this key, the caller's, for gpb_free; false where there is none that is whole.
//  Counts a hit or a miss.
bool gpb_cache_get (gpb_cache_t *self, const unsigned char *key, void **data_p, size_t *size_p);

//  Keeps a binary, and lets go of those used longest ago until all fit. What fails, fails silently:
//  it costs the next compile.
void gpb_cache_put (gpb_cache_t *self, const unsigned char *key, const void *data, size_t size);

//  Puts it where there is nothing under the key: what the process has, the folder may not (it was
//  full, or it is another node's).
void gpb_cache_keep (gpb_cache_t *self, const unsigned char *key, const void *data, size_t size);

//  Lets go of an entry that turned out to be of no use, and counts the hit as a miss.
void gpb_cache_drop (gpb_cache_t *self, const unsigned char *key);

#endif
