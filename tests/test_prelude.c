//  test_prelude - every shipped kernel, behind the prelude, is CUDA C++ without a single warning
//
//  NVRTC compiles without a GPU and without the toolkit's headers, as the CUDA backend will have
//  it. It is opened at run time, so that neither the build nor the test program needs it: from
//  where configure found it, else from where the loader looks. Where there is none the program
//  exits with 77 and says so, which `make check` counts as skipped. (That the same sources are
//  OpenCL C is test_packages' part.)
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_test.h"

#include <dirent.h>
#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

//  What is used of nvrtc.h, whose interface has been the same since CUDA 7.
typedef struct _nvrtcProgram *nvrtcProgram;

typedef struct {
    void *library;
    int (*create) (nvrtcProgram *program, const char *source, const char *name, int headers_count,
                   const char *const *headers, const char *const *header_names);
    int (*compile) (nvrtcProgram program, int options_count, const char *const *options);
    int (*log_size) (nvrtcProgram program, size_t *size);
    int (*log) (nvrtcProgram program, char *text);
    int (*destroy) (nvrtcProgram *program);
    const char *(*error_string) (int result);
} s_nvrtc_t;

static s_nvrtc_t s_nvrtc;

//  A function pointer out of dlsym's void pointer, as POSIX has it.
#define s_symbol(member, name) *(void **) &s_nvrtc.member = dlsym (s_nvrtc.library, name)

static bool
s_nvrtc_open (void)
{
    static const char *const names [] = {
#ifdef GPB_CUDA_LIBRARY_DIR
        GPB_CUDA_LIBRARY_DIR "/libnvrtc.so.13",
        GPB_CUDA_LIBRARY_DIR "/libnvrtc.so",
#endif
        "libnvrtc.so.13",
        "libnvrtc.so",
    };
    for (size_t index = 0; index < sizeof names / sizeof names [0] && !s_nvrtc.library; index++)
        s_nvrtc.library = dlopen (names [index], RTLD_NOW | RTLD_LOCAL);
    if (!s_nvrtc.library)
        return false;
    s_symbol (create, "nvrtcCreateProgram");
    s_symbol (compile, "nvrtcCompileProgram");
    s_symbol (log_size, "nvrtcGetProgramLogSize");
    s_symbol (log, "nvrtcGetProgramLog");
    s_symbol (destroy, "nvrtcDestroyProgram");
    s_symbol (error_string, "nvrtcGetErrorString");
    return s_nvrtc.create && s_nvrtc.compile && s_nvrtc.log_size && s_nvrtc.log && s_nvrtc.destroy
           && s_nvrtc.error_string;
}

//  Compiles source for an architecture. NULL where all is well; else what the compiler said, for
//  free.
static char *
s_compile (const char *name, const char *source, const char *architecture)
{
    char option [64];
    snprintf (option, sizeof option, "--gpu-architecture=%s", architecture);
    const char *options [] = { option };
    nvrtcProgram program = NULL;
    int result = s_nvrtc.create (&program, source, name, 0, NULL, NULL);
    ck_assert_msg (result == 0, "nvrtcCreateProgram: %s", s_nvrtc.error_string (result));
    result = s_nvrtc.compile (program, 1, options);
    size_t size = 0;
    ck_assert_int_eq (s_nvrtc.log_size (program, &size), 0);
    char *log = calloc (size + 1, 1);
    ck_assert_ptr_nonnull (log);
    ck_assert_int_eq (s_nvrtc.log (program, log), 0);
    s_nvrtc.destroy (&program);
    if (result == 0 && log [0] == 0) {
        free (log);
        return NULL;
    }
    if (log [0])
        return log;
    free (log);
    return strdup (s_nvrtc.error_string (result));
}

static char *
s_path (const char *folder, const char *name)
{
    const char *root = getenv ("GPB_SOURCE_DIR");
    ck_assert_msg (root != NULL, "GPB_SOURCE_DIR is not set: run the tests through make check");
    char *path = NULL;
    ck_assert_int_ge (asprintf (&path, "%s/%s/%s", root, folder, name), 0);
    return path;
}

//  Appends a file to *text_p.
static void
s_append (char **text_p, size_t *size_p, char *path)
{
    FILE *file = fopen (path, "r");
    ck_assert_msg (file != NULL, "%s cannot be opened", path);
    for (;;) {
        *text_p = realloc (*text_p, *size_p + 4097);
        ck_assert_ptr_nonnull (*text_p);
        size_t got = fread (*text_p + *size_p, 1, 4096, file);
        *size_p += got;
        (*text_p) [*size_p] = 0;
        if (got == 0)
            break;
    }
    fclose (file);
    free (path);
}

//  Every package below a folder, for an architecture. Returns how many there were.
static size_t
s_compile_all (const char *folder, const char *architecture)
{
    char *path = s_path (folder, "");
    DIR *directory = opendir (path);
    ck_assert_msg (directory != NULL, "%s cannot be opened", path);
    free (path);
    size_t count = 0;
    const struct dirent *entry;
    while ((entry = readdir (directory))) {
        if (entry->d_name [0] == '.' || strchr (entry->d_name, '.'))
            continue;
        char name [2 * sizeof entry->d_name + 4];
        snprintf (name, sizeof name, "%s/%s.c", entry->d_name, entry->d_name);
        char *source = NULL;
        size_t size = 0;
        s_append (&source, &size, s_path ("kernels", "gpb_prelude.h"));
        s_append (&source, &size, s_path (folder, name));
        char *log = s_compile (name, source, architecture);
        ck_assert_msg (log == NULL, "%s for %s: %s", name, architecture, log);
        free (source);
        count++;
    }
    closedir (directory);
    return count;
}

static const char *const s_architectures [] = { "sm_80", "sm_90", "sm_100" };

//  The number is written down so that a package cannot be left out by a wrong path.
START_TEST (test_every_shipped_kernel_is_cuda_without_a_warning)
{
    for (size_t index = 0; index < 3; index++)
        ck_assert_uint_ge (s_compile_all ("kernels", s_architectures [index]), 9);
}
END_TEST

START_TEST (test_every_word_of_the_prelude_is_cuda_without_a_warning)
{
    for (size_t index = 0; index < 3; index++)
        ck_assert_uint_ge (s_compile_all ("tests/kernels", s_architectures [index]), 1);
}
END_TEST

//  That what is compiled is looked at at all: a warning alone is a fault, and so is an error.
START_TEST (test_a_warning_and_an_error_are_seen)
{
    char *log =
        s_compile ("warning.c", "extern \"C\" __global__ void f () { int unused; }", "sm_80");
    ck_assert_ptr_nonnull (log);
    ck_assert_ptr_nonnull (strstr (log, "unused"));
    free (log);
    log = s_compile ("error.c", "extern \"C\" __global__ void f () { nothing (); }", "sm_80");
    ck_assert_ptr_nonnull (log);
    ck_assert_ptr_nonnull (strstr (log, "nothing"));
    free (log);
}
END_TEST

int
main (void)
{
    if (!s_nvrtc_open ()) {
        printf ("SKIP: no libnvrtc.so.13 here (configure --with-cuda=DIR says where): kernels are "
                "not compiled as CUDA\n");
        return 77;
    }
    const TTest *const tests [] = { test_every_shipped_kernel_is_cuda_without_a_warning,
                                    test_every_word_of_the_prelude_is_cuda_without_a_warning,
                                    test_a_warning_and_an_error_are_seen };
    return gpb_test_run ("prelude", tests, sizeof tests / sizeof tests [0], 120);
}
