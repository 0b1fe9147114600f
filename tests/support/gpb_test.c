//  gpb_test - what every test program needs: a main that runs a list of tests
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_test.h"

#include <stdlib.h>

int
gpb_test_run (const char *suite_name, const TTest *const *tests, size_t count, double timeout_s)
{
    Suite *suite = suite_create (suite_name);
    TCase *tcase = tcase_create (suite_name);
    tcase_set_timeout (tcase, getenv ("GPB_TEST_SLOW") ? timeout_s * 5 : timeout_s);
    for (size_t index = 0; index < count; index++)
        tcase_add_test (tcase, tests [index]);
    suite_add_tcase (suite, tcase);
    SRunner *runner = srunner_create (suite);
    srunner_run_all (runner, CK_ENV);
    int failed = srunner_ntests_failed (runner);
    srunner_free (runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
