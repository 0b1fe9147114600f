//  gpb_test_nvrtc - the CUDA module's compiler without a driver, and what it says
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_test_nvrtc.h"
#include "gpb_backends.h"

#include "gpb_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *const gpb_test_architectures [] = { "sm_80", "sm_90", "sm_100", NULL };

static gpb_nvrtc_t s_nvrtc;    //  the compiler's own functions
static char *s_log;

//  Stands in the module's table before the compiler's own: a log goes with its program.
static nvrtcResult
s_destroy_program (nvrtcProgram *program)
{
    size_t size = 0;
    free (s_log);
    s_log = NULL;
    if (s_nvrtc.nvrtcGetProgramLogSize (*program, &size) == NVRTC_SUCCESS)
        s_log = calloc (size + 1, 1);
    if (s_log && s_nvrtc.nvrtcGetProgramLog (*program, s_log) != NVRTC_SUCCESS)
        s_log [0] = 0;
    return s_nvrtc.nvrtcDestroyProgram (program);
}

bool
gpb_test_nvrtc_open (gpb_backend_t *self)
{
    *self = (gpb_backend_t){ .services = &gpb_backends_services };
#ifdef GPB_CUDA_LIBRARY_DIR
    if (access (GPB_CUDA_LIBRARY_DIR "/libnvrtc.so", R_OK) == 0)
        setenv ("GPB_NVRTC", GPB_CUDA_LIBRARY_DIR "/libnvrtc.so", 0);
#endif
    gpb_cuda_load_compiler (self);
    if (!self->nvrtc_major) {
        printf ("SKIP: nothing is compiled as CUDA: %s\n", self->nvrtc_trouble);
        return false;
    }
    s_nvrtc = self->nvrtc;
    self->nvrtc.nvrtcDestroyProgram = s_destroy_program;
    return true;
}

bool
gpb_test_nvrtc_knows (const gpb_backend_t *self, const char *architecture)
{
    int known [64], count = 0;
    ck_assert_int_eq (self->nvrtc.nvrtcGetNumSupportedArchs (&count), NVRTC_SUCCESS);
    ck_assert_int_le (count, 64);
    ck_assert_int_eq (self->nvrtc.nvrtcGetSupportedArchs (known), NVRTC_SUCCESS);
    for (int index = 0; index < count; index++) {
        char name [32];
        snprintf (name, sizeof name, "sm_%d", known [index]);
        if (strcmp (name, architecture) == 0)
            return true;
    }
    return false;
}

const char *
gpb_test_nvrtc_log (void)
{
    return s_log ? s_log : "";
}

gpb_kernel_t *
gpb_test_nvrtc_package (const char *path)
{
    gpb_error_t error = { GPB_OK, "" };
    const char *root = getenv ("GPB_SOURCE_DIR");
    ck_assert_msg (root != NULL, "GPB_SOURCE_DIR is not set: run the tests through make check");
    char *whole = NULL;
    ck_assert_int_ge (asprintf (&whole, "%s/%s", root, path), 0);
    gpb_kernel_t *kernel = gpb_kernel_load (whole, &error);
    ck_assert_msg (kernel != NULL, "%s", error.text);
    free (whole);
    return kernel;
}
