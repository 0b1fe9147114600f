//  gpb_test - what every test program needs: a main that runs a list of tests
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_TEST_H_INCLUDED
#define GPB_TEST_H_INCLUDED

#include "gpb_error.h"

#include <check.h>
#include <stddef.h>

//  Asserts that an expression is GPB_OK; the error's text is shown where it is not. Expects a
//  gpb_error_t called error.
#define ck_assert_ok(expression)                                                                   \
    do {                                                                                           \
        gpb_status_t ck_status = (expression);                                                     \
        ck_assert_msg (ck_status == GPB_OK, "%s: %s", gpb_status_name (ck_status), error.text);    \
    } while (0)

//  Asserts that an expression has this status, and that the error's text holds this part of a
//  sentence.
#define ck_assert_refused(expression, expected, part)                                              \
    do {                                                                                           \
        gpb_status_t ck_status = (expression);                                                     \
        ck_assert_msg (ck_status == (expected), "%s instead of %s: %s",                            \
                       gpb_status_name (ck_status), gpb_status_name (expected), error.text);       \
        ck_assert_msg (strstr (error.text, (part)) != NULL, "\"%s\" is not in: %s", (part),        \
                       error.text);                                                                \
    } while (0)

//  A test program ends in
//      GPB_TEST_MAIN ("gpb_thing", 10, test_this, test_that)
//  with the time that each test may take in seconds (five times as long under a sanitizer or
//  valgrind, where the environment's GPB_TEST_SLOW is set).
#define GPB_TEST_MAIN(suite, timeout_s, ...)                                                       \
    int main (void)                                                                                \
    {                                                                                              \
        const TTest *const tests [] = { __VA_ARGS__ };                                             \
        return gpb_test_run (suite, tests, sizeof tests / sizeof tests [0], timeout_s);            \
    }

int gpb_test_run (const char *suite, const TTest *const *tests, size_t count, double timeout_s);

#endif
