//  gpb_test_cuda - the fake CUDA driver, opened for a test
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_test_cuda.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *
gpb_test_cuda_folder (void)
{
    static char folder [1024];
    const char *build = getenv ("GPB_BUILD_DIR");
    snprintf (folder, sizeof folder, "%s/tests/support/.libs", build ? build : ".");
    return folder;
}

static void
s_find (void *library, const char *symbol, void *place)
{
    void *found = dlsym (library, symbol);
    ck_assert_msg (found != NULL, "the fake CUDA driver has no %s", symbol);
    memcpy (place, &found, sizeof found);
}

const gpb_test_cuda_t *
gpb_test_cuda (void)
{
    static gpb_test_cuda_t self;
    if (self.reset)
        return &self;
    char path [1100];
    snprintf (path, sizeof path, "%s/libcuda.so.1", gpb_test_cuda_folder ());
    void *library = dlopen (path, RTLD_NOW | RTLD_LOCAL);
    ck_assert_msg (library != NULL, "%s", dlerror ());
#define S_DRIVER(name, symbol, parameters) s_find (library, #symbol, &self.cuda.name);
    GPB_CUDA_FUNCTIONS (S_DRIVER)
    GPB_CUDA_NEWER_FUNCTIONS (S_DRIVER)
#define S_FAKE(member, name) s_find (library, "gpb_fake_cuda_" #name, &self.member);
    GPB_TEST_CUDA_FUNCTIONS (S_FAKE)
    return &self;
}

void
gpb_test_cuda_expect_fault (const char *part)
{
    char text [4096];
    const unsigned faults = gpb_test_cuda ()->faults (text, sizeof text);
    ck_assert_msg (faults == (part != NULL) && (!part || strstr (text, part)),
                   "%u faults, and \"%s\" is what was expected:\n%s", faults, part ? part : "none",
                   text);
}
