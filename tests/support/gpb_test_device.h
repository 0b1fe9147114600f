//  gpb_test_device - a device for a test: found, opened, its streams' eventfds, and waiting
//
//  Every function ends the test where something fails that the test is not about. One thread.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_TEST_DEVICE_H_INCLUDED
#define GPB_TEST_DEVICE_H_INCLUDED

#include "gpb_backends.h"
#include "gpb_faulty_backend.h"

#define GPB_TEST_STREAMS_MAX 8

typedef struct {
    gpb_backends_t *backends;
    const gpb_backend_operations_t *operations;
    const gpb_device_info_t *info;
    gpb_context_t *context;
    unsigned streams;
    int notify_fds [GPB_TEST_STREAMS_MAX];
} gpb_test_device_t;

//  Opens the device with this index among those of backend.
void gpb_test_device_open (gpb_test_device_t *self, const char *backend, unsigned index,
                           unsigned streams, bool profiling);

void gpb_test_device_close (gpb_test_device_t *self);

//  Waits, on the stream's eventfd, until the event of a command that was to notify is done; frees
//  it and returns its outcome. Fails the test after 30 seconds. times may be NULL.
gpb_status_t gpb_test_device_wait (gpb_test_device_t *self, unsigned stream, gpb_event_t **event_p,
                                   gpb_event_times_t *times, gpb_error_t *error);

//  Memory of a kind, read-write.
gpb_memory_t *gpb_test_device_memory (gpb_test_device_t *self, gpb_memory_kind_t kind,
                                      uint64_t size);

//  Copies and waits, on stream 0.
void gpb_test_device_write (gpb_test_device_t *self, gpb_memory_t *memory, uint64_t offset,
                            const void *data, uint64_t size);
void gpb_test_device_read (gpb_test_device_t *self, gpb_memory_t *memory, uint64_t offset,
                           void *data, uint64_t size);

//  Launches on stream 0 and waits.
void gpb_test_device_run (gpb_test_device_t *self, const gpb_launch_t *launch);

bool gpb_test_has_capability (const gpb_device_info_t *info, const char *name);

//  Four kernels in OpenCL C: add (a, b, c, n), where (out), reverse (data, scratch) and
//  scalars (out, a, b, c, d).
extern const char gpb_test_source [];

//  A portable source, named test.c, as a backend compiles it.
gpb_code_t gpb_test_code (const char *source);

//  Compiles a portable source of a test and looks entry up.
gpb_function_t *gpb_test_device_function (gpb_test_device_t *self, const char *source,
                                          const char *entry, gpb_module_t **module_p);

gpb_argument_t gpb_test_memory (gpb_memory_t *memory, uint64_t offset);
gpb_argument_t gpb_test_i32 (int32_t value);
gpb_argument_t gpb_test_u64 (uint64_t value);

//  gpb_fake_faults and gpb_fake_let_go of the fake backend that this process has open
//  (gpb_fake_backend.h).
unsigned gpb_test_fake_faults (char *text, size_t size);
void gpb_test_fake_let_go (void);

//  gpb_faulty_fail and gpb_faulty_held of the backend `faulty`, likewise (gpb_faulty_backend.h).
uint64_t gpb_test_faulty_fail (int64_t after);
void gpb_test_faulty_held (gpb_faulty_held_t *held);

#endif
