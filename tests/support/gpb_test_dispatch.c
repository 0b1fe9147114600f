//  gpb_test_dispatch - the loop of a persistent kernel as a thread of the host's
//
//  A package's text is put together as gpb_kernel_code does it, but for the prelude and gpb_lane.h,
//  which stand here once for all of them, and the loop's own names (gpb_test_loop.h).
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
    if (us == NEVER_US)
        s_thread.lane->stuck = true;
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

#include "../../kernels/gpb_prelude.h"

#include "../../kernels/gpb_lane.h"

//  NOLINTBEGIN(bugprone-suspicious-include): a package's source is a text
#define GPB_TEST_HANDLER fake_count
#include "../kernels_fake/fake_count/fake_count.c"

#include "gpb_test_loop.h"

#define GPB_TEST_HANDLER fake_double
#include "../kernels_fake/fake_double/fake_double.c"

#include "gpb_test_loop.h"

#define GPB_TEST_HANDLER fake_echo
#include "../kernels_fake/fake_echo/fake_echo.c"

#include "gpb_test_loop.h"

#define GPB_TEST_HANDLER fake_stuck
#include "../kernels_fake/fake_stuck/fake_stuck.c"

#include "gpb_test_loop.h"

#define GPB_TEST_HANDLER double_i32
#include "../kernels_persistent/double_i32/double_i32.c"

#include "gpb_test_loop.h"

#define GPB_TEST_HANDLER overflow
#include "../kernels_persistent/overflow/overflow.c"

#include "gpb_test_loop.h"

#define GPB_TEST_HANDLER double
#include "../../kernels/double/double.c"

#include "gpb_test_loop.h"

#define GPB_TEST_HANDLER echo
#include "../../kernels/echo/echo.c"

#include "gpb_test_loop.h"

#define GPB_TEST_HANDLER moving_average
#include "../../kernels/moving_average/moving_average.c"

#include "gpb_test_loop.h"

#define GPB_TEST_HANDLER running_stats
#include "../../kernels/running_stats/running_stats.c"

#include "gpb_test_loop.h"

#define GPB_TEST_HANDLER top_k
#include "../../kernels/top_k/top_k.c"

#include "gpb_test_loop.h"

//  NOLINTEND(bugprone-suspicious-include)

#define HANDLER_OF(name)                                                                           \
    {                                                                                              \
#name, name##_dispatch, name##_once                                                        \
    }

static const gpb_test_handler_t s_handlers [] = {
    HANDLER_OF (fake_count),    HANDLER_OF (fake_double), HANDLER_OF (fake_echo),
    HANDLER_OF (fake_stuck),    HANDLER_OF (double_i32),  HANDLER_OF (overflow),
    HANDLER_OF (double),        HANDLER_OF (echo),        HANDLER_OF (moving_average),
    HANDLER_OF (running_stats), HANDLER_OF (top_k),
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
