//  gpb_test_dispatch - the loop of a persistent kernel as a thread of the host's
//
//  What a device runs for a persistent package is one text: the prelude, gpb_lane.h, the package's
//  handler, and the loop around it (gpb_dispatch.h). Here the same text is C11, with one work-item
//  a lane, for each handler in a list. So a sanitizer sees every access that the loop makes, and
//  the fake backend has persistent kernels.
//
//  A lane waits by spinning, and offers its processor to others after some polls. Its clock is
//  gpb_clock_ns. The thread that runs it has no other way out than the loop's own, but for two:
//  a handler that is stuck is let go, and a lane is killed as a device's lanes are that is lost.
//
//  Different lanes may run in different threads at once.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_TEST_DISPATCH_H_INCLUDED
#define GPB_TEST_DISPATCH_H_INCLUDED

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

//  What other threads tell a lane, and ask of it; all zeros at first. It outlives the run.
typedef struct {
    atomic_bool let_go;    //  its handler is not stuck any more, nor will be
    atomic_bool killed;    //  it ends where it waits or looks at its clock, and answers no more
    atomic_bool stuck;     //  the lane says: its handler has begun with a message for ever
} gpb_test_lane_t;

//  A handler's two entries, in C11.
typedef struct {
    const char *name;    //  the package's id
    void (*dispatch) (unsigned char *memory, unsigned long control_offset);
    void (*once) (unsigned char *memory, unsigned long request_offset, unsigned long answer_offset,
                  unsigned long heap, unsigned long state);
} gpb_test_handler_t;

//  By the first length characters of name: the shipped packages, fake_count, fake_double, fake_echo
//  and fake_stuck of tests/kernels_fake, and double_i32 and overflow of tests/kernels_persistent.
//  NULL where there is none.
const gpb_test_handler_t *gpb_test_handler_find (const char *name, size_t length);

//  Run gpb_dispatch, or gpb_once, in the calling thread until it returns. False: it was killed.
bool gpb_test_dispatch (const gpb_test_handler_t *handler, gpb_test_lane_t *lane, void *memory,
                        uint64_t control_offset);
bool gpb_test_once (const gpb_test_handler_t *handler, gpb_test_lane_t *lane, void *memory,
                    uint64_t request_offset, uint64_t answer_offset, uint64_t heap, uint64_t state);

#endif
