//  gpb_precompile - compiles kernel packages for CUDA while libgpb is built
//
//      gpb_precompile FOLDER PACKAGE...
//
//  Writes into the folder what gpb_cuda_prebuilt.c looks for: of each package a cubin for the cards
//  of today, and PTX for all newer ones. A package that brings no source for CUDA, or that does not
//  compile, fails the build. Not installed.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_alloc.h"
#include "gpb_backends.h"
#include "gpb_cuda.h"
#include "gpb_kernel.h"

#include <stdio.h>
#include <string.h>

static const char *const s_architectures [] = { "sm_80", "sm_90", "sm_100", GPB_CUDA_PREBUILT_ANY };

static gpb_status_t
s_write (const char *folder, const char *name, const char *data, size_t size, gpb_error_t *error)
{
    char path [4096];
    snprintf (path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen (path, "wb");
    bool is_written = file && fwrite (data, 1, size, file) == size;
    if (file && fclose (file) != 0)
        is_written = false;
    return is_written ? GPB_OK : gpb_error_set (error, GPB_INTERNAL, "%s cannot be written", path);
}

static gpb_status_t
s_compile (const gpb_backend_t *backend, const char *folder, const gpb_code_t *code,
           const char *architecture, gpb_error_t *error)
{
    char *data, name [GPB_CUDA_PREBUILT_NAME_SIZE];
    size_t size;
    gpb_status_t status = gpb_cuda_compile (backend, code, architecture, &data, &size, error);
    if (status != GPB_OK)
        return status;
    gpb_cuda_prebuilt_name (code, architecture, name);
    status = s_write (folder, name, data, size, error);
    gpb_free (data);
    return status;
}

static gpb_status_t
s_compile_package (const gpb_backend_t *backend, const char *folder, const char *path,
                   gpb_error_t *error)
{
    gpb_code_t code;
    gpb_kernel_t *kernel = gpb_kernel_load (path, error);
    gpb_status_t status = kernel ? gpb_kernel_code (kernel, "cuda", &code, error) : error->status;
    const size_t count = sizeof s_architectures / sizeof s_architectures [0];
    for (size_t index = 0; status == GPB_OK && index < count; index++)
        status = s_compile (backend, folder, &code, s_architectures [index], error);
    gpb_kernel_destroy (&kernel);
    return status;
}

int
main (int argc, char **argv)
{
    static gpb_backend_t backend;
    gpb_error_t error;
    backend.services = &gpb_backends_services;
    if (argc < 3) {
        fputs ("Usage: gpb_precompile FOLDER PACKAGE...\n", stderr);
        return 2;
    }
    gpb_cuda_load_compiler (&backend);
    for (int index = 2; index < argc; index++)
        if (s_compile_package (&backend, argv [1], argv [index], &error) != GPB_OK) {
            fprintf (stderr, "gpb_precompile: %s: %s\n", argv [index], error.text);
            return 1;
        }
    return 0;
}
