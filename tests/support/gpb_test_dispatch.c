//  gpb_test_dispatch - the loop of a persistent kernel as a thread of the host's
//
//  A package's text is put together as gpb_kernel_code does it, once for each handler. The loop's
//  own names would then be there several times: LOOP gives each handler its own.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_test_dispatch.h"

#include "gpb_clock.h"

#include <sched.h>
#include <setjmp.h>
#include <string.h>

//  ---------------------------------------------------------------------------------------------------------
//  What the loop finds in a thread

#define SPIN_POLLS 64    //  without a message, before a lane offers its processor to others
#define NEVER_US 4294967295u

static _Thread_local struct {
    gpb_test_lane_t *lane;
    jmp_buf end;
} s_thread;

static void
s_look (void)
{
    if (atomic_load_explicit (&s_thread.lane->killed, memory_order_relaxed))
        longjmp (s_thread.end, 1);
}

static void
s_relax (unsigned polls)
{
    s_look ();
    if (polls >= SPIN_POLLS)
        sched_yield ();
#if defined(__x86_64__)
    else
        __builtin_ia32_pause ();
#endif
}

static uint64_t
s_ticks (void)
{
    s_look ();
    return gpb_clock_ns ();
}

static void
s_last_us (unsigned us)
{
    const uint64_t until_ns = gpb_clock_ns () + (uint64_t) us * 1000;
    while (us == NEVER_US ? !atomic_load_explicit (&s_thread.lane->let_go, memory_order_relaxed)
                          : gpb_clock_ns () < until_ns)
        s_relax (SPIN_POLLS);
}

//  ---------------------------------------------------------------------------------------------------------
//  The texts

#define GPB_RELAX(polls) s_relax (polls)
#define GPB_TICKS() s_ticks ()
#define GPB_TEST_LAST_US(us) s_last_us (us)
#define GPB_LANE_LOCAL 1

#define gpb_outcome_t LOOP (outcome_t)
#define gpb_handle LOOP (handle)
#define gpb_answer LOOP (answer)
#define gpb_wait LOOP (wait)
#define gpb_dispatch LOOP (dispatch)
#define gpb_once LOOP (once)

#include "../../kernels/gpb_prelude.h"

#include "../../kernels/gpb_lane.h"

#define LOOP(word) fake_echo_##word
#define GPB_HANDLER gpb_handler_fake_echo
#include "../kernels_fake/fake_echo/fake_echo.c"

#include "../../kernels/gpb_dispatch.h"
#undef LOOP
#undef GPB_HANDLER

#define LOOP(word) fake_double_##word
#define GPB_HANDLER gpb_handler_fake_double
#include "../kernels_fake/fake_double/fake_double.c"

#include "../../kernels/gpb_dispatch.h"
#undef LOOP
#undef GPB_HANDLER

#define LOOP(word) fake_count_##word
#define GPB_HANDLER gpb_handler_fake_count
#include "../kernels_fake/fake_count/fake_count.c"

#include "../../kernels/gpb_dispatch.h"
#undef LOOP
#undef GPB_HANDLER

#define LOOP(word) fake_stuck_##word
#define GPB_HANDLER gpb_handler_fake_stuck
#include "../kernels_fake/fake_stuck/fake_stuck.c"

#include "../../kernels/gpb_dispatch.h"
#undef LOOP
#undef GPB_HANDLER

#undef gpb_dispatch
#undef gpb_once

static const gpb_test_handler_t s_handlers [] = {
    { "fake_echo", fake_echo_dispatch, fake_echo_once },
    { "fake_double", fake_double_dispatch, fake_double_once },
    { "fake_count", fake_count_dispatch, fake_count_once },
    { "fake_stuck", fake_stuck_dispatch, fake_stuck_once },
};

//  ---------------------------------------------------------------------------------------------------------
//  To find and to run them

const gpb_test_handler_t *
gpb_test_handler_find (const char *name, size_t length)
{
    for (size_t index = 0; index < sizeof s_handlers / sizeof s_handlers [0]; index++)
        if (strlen (s_handlers [index].name) == length
            && memcmp (s_handlers [index].name, name, length) == 0)
            return &s_handlers [index];
    return NULL;
}

bool
gpb_test_dispatch (const gpb_test_handler_t *handler, gpb_test_lane_t *lane, void *memory,
                   uint64_t control_offset)
{
    s_thread.lane = lane;
    if (setjmp (s_thread.end) != 0)
        return false;
    handler->dispatch (memory, control_offset);
    return true;
}

bool
gpb_test_once (const gpb_test_handler_t *handler, gpb_test_lane_t *lane, void *memory,
               uint64_t request_offset, uint64_t answer_offset, uint64_t heap, uint64_t state)
{
    s_thread.lane = lane;
    if (setjmp (s_thread.end) != 0)
        return false;
    handler->once (memory, request_offset, answer_offset, heap, state);
    return true;
}
