//  gpb_cuda_nvrtc - CUDA C++ to a cubin, by NVRTC
//
//  For the device's own architecture where the compiler knows it: then the driver only loads. A
//  card that is newer than the compiler gets PTX of the newest architecture that both know, which
//  the driver compiles on.
//
//  NVRTC is safe to use from several threads at a time, each with its program.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_cuda.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPTIONS_MAX 64
#define ARCHITECTURES_MAX 64
#define ARCHITECTURE_SIZE 48

//  ---------------------------------------------------------------------------------------------------------
//  What it is compiled for

//  "sm_90", or "sm_90a": 90; 0 for anything else.
static int
s_number (const char *architecture)
{
    return strncmp (architecture, "sm_", 3) == 0 ? atoi (architecture + 3) : 0;
}

//  The option. FAILED_PRECONDITION where whatever the compiler knows is newer.
static gpb_status_t
s_choose (const gpb_backend_t *self, const gpb_code_t *code, const char *architecture, char *option,
          size_t size, gpb_error_t *error)
{
    int known [ARCHITECTURES_MAX], count = 0, newest = 0, oldest = INT_MAX;
    const int wanted = s_number (architecture);
    bool is_known = wanted == 0;    //  one that we cannot read is the compiler's to refuse
    if (self->nvrtc.nvrtcGetNumSupportedArchs (&count) != NVRTC_SUCCESS || count < 1
        || count > ARCHITECTURES_MAX || self->nvrtc.nvrtcGetSupportedArchs (known) != NVRTC_SUCCESS)
        count = 0;
    for (int index = 0; index < count; index++) {
        is_known = is_known || known [index] == wanted;
        if (known [index] <= wanted && known [index] > newest)
            newest = known [index];
        oldest = known [index] < oldest ? known [index] : oldest;
    }
    if (!is_known && count > 0 && newest == 0)
        return self->services->error_set (
            error, GPB_FAILED_PRECONDITION,
            "%s cannot be compiled for %s: NVRTC %d.%d compiles for sm_%d and newer", code->name,
            architecture, self->nvrtc_major, self->nvrtc_minor, oldest);
    if (is_known || newest == 0)
        snprintf (option, size, "--gpu-architecture=%s", architecture);
    else
        snprintf (option, size, "--gpu-architecture=compute_%d", newest);
    return GPB_OK;
}

//  ---------------------------------------------------------------------------------------------------------
//  Compiling

//  Splits the package's options at blanks, in place, behind ours. 0: there are too many.
static int
s_list_options (const gpb_code_t *code, char *architecture, char *optimize, char *more,
                const char **options)
{
    int count = 0;
    options [count++] = architecture;
    options [count++] = "--std=c++17";
    options [count++] = optimize;
    if (code->debug)
        options [count++] = "--generate-line-info";
    char *rest = NULL;
    for (char *option = strtok_r (more, " \t\n", &rest); option;
         option = strtok_r (NULL, " \t\n", &rest))
    {
        if (count == OPTIONS_MAX)
            return 0;
        options [count++] = option;
    }
    return count;
}

static gpb_status_t
s_refuse (const gpb_backend_t *self, nvrtcProgram program, nvrtcResult result, const char *name,
          gpb_error_t *error)
{
    const gpb_backend_services_t *services = self->services;
    size_t size = 0;
    char *log = NULL;
    if (program && self->nvrtc.nvrtcGetProgramLogSize (program, &size) == NVRTC_SUCCESS && size > 1)
        log = services->alloc (size + 1, 1);
    if (log && self->nvrtc.nvrtcGetProgramLog (program, log) != NVRTC_SUCCESS)
        log [0] = 0;
    gpb_status_t status =
        services->error_set (error,
                             result == NVRTC_ERROR_COMPILATION
                                     || result == NVRTC_ERROR_INVALID_OPTION
                                 ? GPB_INVALID_ARGUMENT
                             : result == NVRTC_ERROR_OUT_OF_MEMORY ? GPB_RESOURCE_EXHAUSTED
                                                                   : GPB_FAILED_PRECONDITION,
                             "%s does not compile: %s%s%s", name,
                             self->nvrtc.nvrtcGetErrorString (result), log && log [0] ? ": " : "",
                             log ? log : "");
    services->free (log);
    return status;
}

//  The cubin, or the PTX where there is none, which is so for a virtual architecture.
static nvrtcResult
s_take (const gpb_backend_t *self, nvrtcProgram program, char **data_p, size_t *size_p)
{
    const gpb_nvrtc_t *nvrtc = &self->nvrtc;
    nvrtcResult result = nvrtc->nvrtcGetCUBINSize (program, size_p);
    const bool is_cubin = *size_p > 0;
    if (result == NVRTC_SUCCESS && !is_cubin)
        result = nvrtc->nvrtcGetPTXSize (program, size_p);
    if (result != NVRTC_SUCCESS)
        return result;
    *data_p = self->services->alloc (*size_p ? *size_p : 1, 1);
    if (!*data_p)
        return NVRTC_ERROR_OUT_OF_MEMORY;
    result =
        is_cubin ? nvrtc->nvrtcGetCUBIN (program, *data_p) : nvrtc->nvrtcGetPTX (program, *data_p);
    if (result != NVRTC_SUCCESS) {
        self->services->free (*data_p);
        *data_p = NULL;
    }
    return result;
}

gpb_status_t
gpb_cuda_compile (const gpb_backend_t *self, const gpb_code_t *code, const char *architecture,
                  char **data_p, size_t *size_p, gpb_error_t *error)
{
    *data_p = NULL;
    *size_p = 0;
    if (!self->nvrtc_major)
        return self->services->error_set (error, GPB_FAILED_PRECONDITION,
                                          "%s is a source, and there is no compiler: %s",
                                          code->name, self->nvrtc_trouble);
    char target [ARCHITECTURE_SIZE + 32], optimize [32];
    gpb_status_t status = s_choose (self, code, architecture, target, sizeof target, error);
    if (status != GPB_OK)
        return status;
    snprintf (optimize, sizeof optimize, "--ptxas-options=-O%d", code->optimize);
    const size_t length = strlen (code->options);
    char *more = self->services->alloc (length + 1, 1);
    if (!more)
        return self->services->error_set (error, GPB_RESOURCE_EXHAUSTED,
                                          "out of memory for the compiler's options");
    memcpy (more, code->options, length);
    const char *options [OPTIONS_MAX];
    const int count = s_list_options (code, target, optimize, more, options);
    if (count == 0) {
        self->services->free (more);
        return self->services->error_set (error, GPB_INVALID_ARGUMENT,
                                          "%s has more options than the %d that there may be",
                                          code->name, OPTIONS_MAX);
    }
    nvrtcProgram program = NULL;
    nvrtcResult result =
        self->nvrtc.nvrtcCreateProgram (&program, code->data, code->name, 0, NULL, NULL);
    if (result == NVRTC_SUCCESS)
        result = self->nvrtc.nvrtcCompileProgram (program, count, options);
    if (result == NVRTC_SUCCESS)
        result = s_take (self, program, data_p, size_p);
    status = result == NVRTC_SUCCESS ? GPB_OK : s_refuse (self, program, result, code->name, error);
    if (program)
        self->nvrtc.nvrtcDestroyProgram (&program);
    self->services->free (more);
    return status;
}
