//  gpb_test_loop - the loop around the handler GPB_TEST_HANDLER, under names of its own
//
//  Included once for each handler, by gpb_test_dispatch.c alone, behind the handler's source.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#define GPB_TEST_PASTE(a, b) a##b
#define GPB_TEST_NAME(a, b) GPB_TEST_PASTE (a, b)

#define GPB_HANDLER GPB_TEST_NAME (gpb_handler_, GPB_TEST_HANDLER)
#define gpb_outcome_t GPB_TEST_NAME (GPB_TEST_HANDLER, _outcome_t)
#define gpb_handle GPB_TEST_NAME (GPB_TEST_HANDLER, _handle)
#define gpb_answer GPB_TEST_NAME (GPB_TEST_HANDLER, _answer)
#define gpb_wait GPB_TEST_NAME (GPB_TEST_HANDLER, _wait)
#define gpb_dispatch GPB_TEST_NAME (GPB_TEST_HANDLER, _dispatch)
#define gpb_once GPB_TEST_NAME (GPB_TEST_HANDLER, _once)

#include "../../kernels/gpb_dispatch.h"

#undef GPB_LANE_BARRIER
#undef GPB_LANE_FIRST
#undef GPB_HANDLER
#undef gpb_outcome_t
#undef gpb_handle
#undef gpb_answer
#undef gpb_wait
#undef gpb_dispatch
#undef gpb_once
#undef GPB_TEST_PASTE
#undef GPB_TEST_NAME
#undef GPB_TEST_HANDLER
