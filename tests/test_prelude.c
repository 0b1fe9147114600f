//  test_prelude - every shipped kernel, behind the prelude, is CUDA C++ without a single warning
//
//  NVRTC compiles without a GPU and without the toolkit's headers, as the CUDA backend will have
//  it. It is opened at run time, so that neither the build nor the test program needs it: from
//  where configure found it, else from where the loader looks. Where there is none the program
//  exits with 77 and says so, which `make check` counts as skipped. (That the same sources are
//  OpenCL C is test_packages' part.)
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_kernel.h"
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

//  A persistent package's text with another number of work-items a lane. For free.
static char *
s_with_local (const gpb_code_t *code, unsigned local)
{
    static const char word [] = "#define GPB_LANE_LOCAL ";
    const char *text = code->data, *found = strstr (text, word);
    ck_assert_ptr_nonnull (found);
    const char *rest = strchr (found, '\n');
    ck_assert_ptr_nonnull (rest);
    char *changed = NULL;
    ck_assert_int_ge (asprintf (&changed, "%.*s%s%u%s", (int) (found - text), text, word, local,
                                rest),
                      0);
    return changed;
}

//  What the CUDA backend would compile of a package; NULL where all is well, as above. A persistent
//  one is compiled with one work-item a lane and with 64, whichever it asks for: the loop has
//  barriers with the second alone.
static char *
s_compile_package (const char *folder, const char *id, const char *architecture)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_code_t code;
    char *name = NULL;
    ck_assert_int_ge (asprintf (&name, "%s/%s", folder, id), 0);
    char *path = s_path (name, "");
    gpb_kernel_t *kernel = gpb_kernel_load (path, &error);
    ck_assert_msg (kernel != NULL, "%s", error.text);
    ck_assert_ok (gpb_kernel_code (kernel, "cuda", &code, &error));
    char *log = s_compile (code.name, code.data, architecture);
    for (unsigned local = 1; gpb_kernel_persistent (kernel) && local <= 64 && !log; local += 63) {
        char *text = s_with_local (&code, local);
        log = s_compile (code.name, text, architecture);
        free (text);
    }
    gpb_kernel_destroy (&kernel);
    free (path);
    free (name);
    return log;
}

//  Every package below a folder, for an architecture, but one that is meant to be at fault. Returns
//  how many there were.
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
        if (strchr (entry->d_name, '.') || strcmp (entry->d_name, "broken") == 0)
            continue;
        char *log = s_compile_package (folder, entry->d_name, architecture);
        ck_assert_msg (log == NULL, "%s for %s: %s", entry->d_name, architecture, log);
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
        ck_assert_uint_ge (s_compile_all ("kernels", s_architectures [index]), 14);
}
END_TEST

START_TEST (test_every_word_of_the_prelude_is_cuda_without_a_warning)
{
    for (size_t index = 0; index < 3; index++)
        ck_assert_uint_ge (s_compile_all ("tests/kernels", s_architectures [index]), 1);
}
END_TEST

//  With the lane before it and the loop behind it.
START_TEST (test_every_persistent_kernel_of_the_tests_is_cuda_without_a_warning)
{
    for (size_t index = 0; index < 3; index++)
        ck_assert_uint_ge (s_compile_all ("tests/kernels_persistent", s_architectures [index]), 4);
    char *log = s_compile_package ("tests/kernels_persistent", "broken", "sm_80");
    ck_assert_ptr_nonnull (log);
    ck_assert_msg (strstr (log, "broken.c(8)") != NULL && strstr (log, "nothing") != NULL, "%s",
                   log);
    free (log);
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
    const TTest *const tests [] = {
        test_every_shipped_kernel_is_cuda_without_a_warning,
        test_every_word_of_the_prelude_is_cuda_without_a_warning,
        test_every_persistent_kernel_of_the_tests_is_cuda_without_a_warning,
        test_a_warning_and_an_error_are_seen
    };
    return gpb_test_run ("prelude", tests, sizeof tests / sizeof tests [0], 120);
}
