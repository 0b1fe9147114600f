//  gpb_test_resident - a persistent kernel on a device for a test, without an actor around it
//
//  One lane of it, on a stream of its own. Every function ends the test where something fails that
//  the test is not about. One thread.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_TEST_RESIDENT_H_INCLUDED
#define GPB_TEST_RESIDENT_H_INCLUDED

#include "gpb_resident.h"

typedef struct {
    gpb_shared_context_t *shared;
    gpb_kernels_t *kernels;
    gpb_cache_t *cache;
    gpb_resident_t *resident;
    gpb_ticks_t clock;
} gpb_test_resident_t;

//  Opens the backend's first device, and compiles a kernel of a folder of the source tree; nothing
//  is launched.
void gpb_test_resident_open (gpb_test_resident_t *self, const char *backend, const char *folder,
                             const char *kernel, uint64_t heap_size);
void gpb_test_resident_close (gpb_test_resident_t *self);

//  Launches the lane, and waits until it has returned.
void gpb_test_resident_wake (gpb_test_resident_t *self);
void gpb_test_resident_settle (gpb_test_resident_t *self);

//  Opens, sends so many messages to a kernel that ships, with as many in the ring as there are
//  slots, holds every answer against the kernel's reference, and closes.
void gpb_test_resident_stream (const char *backend, const char *kernel, uint64_t messages);

#endif
