//  gpb_cuda_driver - libcuda.so.1 and libnvrtc, opened at run time
//
//  Both stay open for the life of the process: a driver starts threads that outlive every context.
//  The driver is asked for by its soname, which the dynamic linker finds where the installation has
//  it. The compiler comes with the toolkit, whose folder the linker mostly does not know: it is
//  looked for there too, and $GPB_NVRTC names another file.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_cuda.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DRIVER "libcuda.so.1"
#define DRIVER_NEEDED "CUDA 11.2 (driver 460) or newer is needed"

typedef struct {
    const char *symbol;
    size_t place;    //  of its pointer in the table
} symbol_t;

#define S_DRIVER_SYMBOL(name, symbol, parameters) { #symbol, offsetof (gpb_cuda_driver_t, name) },
static const symbol_t s_driver [] = { GPB_CUDA_FUNCTIONS (S_DRIVER_SYMBOL) };
static const symbol_t s_newer [] = { GPB_CUDA_NEWER_FUNCTIONS (S_DRIVER_SYMBOL) };

#define S_NVRTC_SYMBOL(name, symbol, parameters) { #symbol, offsetof (gpb_nvrtc_t, name) },
static const symbol_t s_nvrtc [] = {
    GPB_NVRTC_FUNCTIONS (S_NVRTC_SYMBOL){ "nvrtcGetErrorString",
                                          offsetof (gpb_nvrtc_t, nvrtcGetErrorString) },
};

#define COUNT(symbols) (sizeof (symbols) / sizeof (symbols) [0])

//  Fills a table; the first symbol that is missing, or NULL.
static const char *
s_fill (void *table, void *library, const symbol_t *symbols, size_t count)
{
    const char *missing = NULL;
    for (size_t index = 0; index < count; index++) {
        void *found = dlsym (library, symbols [index].symbol);
        memcpy ((char *) table + symbols [index].place, &found, sizeof found);
        if (!found && !missing)
            missing = symbols [index].symbol;
    }
    return missing;
}

//  The newest first; the toolkit's own folder behind the linker's.
static void *
s_open_nvrtc (char *trouble, size_t size)
{
    static const char *const names [] = {
        "libnvrtc.so.13",
        "libnvrtc.so.12",
        "libnvrtc.so.11.2",
        "/usr/local/cuda/lib64/libnvrtc.so",
    };
    const char *named = getenv ("GPB_NVRTC");
    if (named && *named) {
        void *library = dlopen (named, RTLD_NOW | RTLD_LOCAL);
        if (!library)
            snprintf (trouble, size, "%s", dlerror ());
        return library;
    }
    for (size_t index = 0; index < COUNT (names); index++) {
        void *library = dlopen (names [index], RTLD_NOW | RTLD_LOCAL);
        if (library)
            return library;
    }
    snprintf (trouble, size,
              "no libnvrtc.so.13, .12 or .11.2 is found: install the CUDA toolkit's "
              "NVRTC, or name the file in GPB_NVRTC");
    return NULL;
}

void
gpb_cuda_load_compiler (gpb_backend_t *self)
{
    void *library = s_open_nvrtc (self->nvrtc_trouble, sizeof self->nvrtc_trouble);
    if (!library)
        return;
    const char *missing = s_fill (&self->nvrtc, library, s_nvrtc, COUNT (s_nvrtc));
    if (missing)
        snprintf (self->nvrtc_trouble, sizeof self->nvrtc_trouble,
                  "libnvrtc is too old: it has no %s", missing);
    else if (self->nvrtc.nvrtcVersion (&self->nvrtc_major, &self->nvrtc_minor) != NVRTC_SUCCESS)
        snprintf (self->nvrtc_trouble, sizeof self->nvrtc_trouble,
                  "libnvrtc does not say which one it is");
    else
        return;
    self->nvrtc_major = self->nvrtc_minor = 0;
    dlclose (library);
}

gpb_status_t
gpb_cuda_load (gpb_backend_t *self, gpb_error_t *error)
{
    const gpb_backend_services_t *services = self->services;
    void *library = dlopen (DRIVER, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return services->error_set (error, GPB_FAILED_PRECONDITION,
                                    "no CUDA driver: %s; NVIDIA's driver brings it", dlerror ());
    const char *missing = s_fill (&self->cuda, library, s_driver, COUNT (s_driver));
    if (missing) {
        dlclose (library);
        return services->error_set (error, GPB_FAILED_PRECONDITION,
                                    "the CUDA driver is too old: " DRIVER
                                    " has no %s; " DRIVER_NEEDED,
                                    missing);
    }
    s_fill (&self->cuda, library, s_newer, COUNT (s_newer));
    gpb_cuda_load_compiler (self);
    return GPB_OK;
}
