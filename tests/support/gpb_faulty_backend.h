//  gpb_faulty_backend - the fake backend, one of whose calls fails when a test says so
//
//  The module "faulty" (gpb_faulty.so, found through GPB_MODULE_DIR) is the module "fake" of the
//  same folder with a turnstile in front of each operation that returns a status: it counts the
//  calls, and lets one of them fail with the status that a driver would give there (no memory for
//  an allocation or a build, a device that is gone for an open, INTERNAL for the rest). A call that
//  fails so does not reach the fake backend. A query counts only where it finds its command done,
//  since its status is that command's outcome; no command is said to have ended that has not.
//
//  It counts what the caller holds, too: contexts, memory, modules and events. All of what
//  gpb_fake_backend.h says holds for it as well, faults of the caller and GPB_FAKE_... among it.
//
//  Any thread. A program reaches the functions by dlsym, as gpb_test_device does.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_FAULTY_BACKEND_H_INCLUDED
#define GPB_FAULTY_BACKEND_H_INCLUDED

#include "gpb_error.h"

#include <stddef.h>
#include <stdint.h>

//  What callers have of the backend and have not given back.
typedef struct {
    int64_t contexts;
    int64_t memories;
    int64_t modules;
    int64_t events;
} gpb_faulty_held_t;

//  The next `after` calls go through, the one behind them fails; a negative `after` ends it.
//  Returns how many calls there were since the last time, so that a test can let each of them fail
//  in turn.
GPB_EXPORT uint64_t gpb_faulty_fail (int64_t after);

//  The operation that failed last ("copy"...); "" where none has since gpb_faulty_fail.
GPB_EXPORT const char *gpb_faulty_failed (void);

GPB_EXPORT void gpb_faulty_held (gpb_faulty_held_t *held);

#endif
