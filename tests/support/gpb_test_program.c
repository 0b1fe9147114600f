//  gpb_test_program - a script in the place of gpb_device_host, for a test
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_test_program.h"

#include "gpb_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char s_folder [64], s_before [4096];

void
gpb_test_program_set (const char *lines)
{
    const char *before = getenv ("GPB_LIBEXEC_DIR");
    ck_assert_msg (before != NULL, "GPB_LIBEXEC_DIR is not set: run the tests with make check");
    if (!s_folder [0]) {
        snprintf (s_before, sizeof s_before, "%s", before);
        snprintf (s_folder, sizeof s_folder, "/tmp/gpb-program-XXXXXX");
        ck_assert_ptr_nonnull (mkdtemp (s_folder));
        setenv ("GPB_LIBEXEC_DIR", s_folder, 1);
    }
    char path [128];
    snprintf (path, sizeof path, "%s/gpb_device_host", s_folder);
    FILE *file = fopen (path, "w");
    ck_assert_ptr_nonnull (file);
    fprintf (file, "#!/bin/sh\nfolder=%s\n%s\n", s_folder, lines);
    fclose (file);
    ck_assert_int_eq (chmod (path, 0700), 0);
}

void
gpb_test_program_clear (void)
{
    char command [128];
    snprintf (command, sizeof command, "rm -rf %s", s_folder);
    ck_assert_int_eq (system (command), 0);
    s_folder [0] = 0;
    setenv ("GPB_LIBEXEC_DIR", s_before, 1);
}
