//  test_cuda_kernels - every kernel package as the CUDA module compiles it, and what it takes
//
//  NVRTC compiles without a GPU. Where there is none the program exits with 77 and says so, which
//  `make check` counts as skipped. What a kernel takes of a multiprocessor is read from the cubin
//  and held against tests/cuda_resources.conf, whose head says how it is written again.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_test.h"
#include "gpb_test_cubin.h"
#include "gpb_test_nvrtc.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TABLE "tests/cuda_resources.conf"
#define ARCHITECTURES 3
#define ROWS_MAX 256

//  What another compiler may take more; registers of a thread are handed out by 8.
#define REGISTERS_ALLOWED 8

//  Of every multiprocessor from sm_80 to sm_100.
#define REGISTERS_OF_MULTIPROCESSOR 65536
#define SHARED_OF_BLOCK (48 * 1024)    //  bytes, without asking for more
#define WARP 32
#define BLOCK_MAX 1024    //  threads

static gpb_backend_t s_backend;

//  ---------------------------------------------------------------------------------------------------------
//  Packages of a folder

static int
s_is_package (const struct dirent *entry)
{
    return !strchr (entry->d_name, '.') && strcmp (entry->d_name, "broken") != 0;
}

//  Calls a function with every package below a folder, but one that is meant to be at fault, in the
//  order of their names. Returns how many there were.
static unsigned
s_for_each (const char *folder, void (*function) (const gpb_kernel_t *kernel, void *argument),
            void *argument)
{
    char path [4096];
    snprintf (path, sizeof path, "%s/%s", getenv ("GPB_SOURCE_DIR"), folder);
    struct dirent **entries = NULL;
    const int count = scandir (path, &entries, s_is_package, alphasort);
    ck_assert_msg (count >= 0, "%s cannot be read", path);
    for (int index = 0; index < count; index++) {
        snprintf (path, sizeof path, "%s/%s", folder, entries [index]->d_name);
        gpb_kernel_t *kernel = gpb_test_nvrtc_package (path);
        function (kernel, argument);
        gpb_kernel_destroy (&kernel);
        free (entries [index]);
    }
    free (entries);
    return (unsigned) count;
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

//  Compiles what the module would compile of a package, for work-groups of this size where it is
//  persistent. A word of the compiler's is a failure. *data_p is for the services' free.
static void
s_compile (const gpb_kernel_t *kernel, unsigned local, const char *architecture, char **data_p,
           size_t *size_p)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_code_t code;
    char *text = NULL;
    ck_assert_ok (gpb_kernel_code (kernel, "cuda", &code, &error));
    if (gpb_kernel_persistent (kernel)) {
        text = s_with_local (&code, local);
        code.data = text;
        code.size = strlen (text);
    }
    ck_assert_ok (gpb_cuda_compile (&s_backend, &code, architecture, data_p, size_p, &error));
    ck_assert_msg (gpb_test_nvrtc_log () [0] == 0, "%s for %s: %s", gpb_kernel_id (kernel),
                   architecture, gpb_test_nvrtc_log ());
    free (text);
}

//  The sizes of work-groups that a package is looked at with, 0 behind the last: that of its
//  definition, and for a persistent one, whose loop has barriers with more than one work-item
//  alone, both kinds.
static void
s_locals (const gpb_kernel_t *kernel, unsigned locals [3])
{
    const uint64_t *local = gpb_kernel_local (kernel);
    locals [0] = local ? (unsigned) (local [0] * local [1] * local [2]) : 1;
    locals [1] = locals [2] = 0;
    if (gpb_kernel_persistent (kernel)) {
        locals [0] = 1;
        locals [1] = 64;
    }
}

//  ---------------------------------------------------------------------------------------------------------
//  What it takes

typedef struct {
    char package [64];
    char entry [64];
    unsigned local;    //  work-items of a work-group
    gpb_test_usage_t usage [ARCHITECTURES];
} s_row_t;

typedef struct {
    s_row_t rows [ROWS_MAX];
    unsigned count;
} s_table_t;

static void
s_measure_row (s_table_t *table, const gpb_kernel_t *kernel, const char *entry, unsigned local,
               unsigned architecture, const char *data, size_t size)
{
    s_row_t *row = NULL;
    for (unsigned index = 0; index < table->count && !row; index++) {
        s_row_t *seen = &table->rows [index];
        if (seen->local == local && strcmp (seen->package, gpb_kernel_id (kernel)) == 0
            && strcmp (seen->entry, entry) == 0)
            row = seen;
    }
    if (!row) {
        ck_assert_uint_lt (table->count, ROWS_MAX);
        row = &table->rows [table->count++];
        snprintf (row->package, sizeof row->package, "%s", gpb_kernel_id (kernel));
        snprintf (row->entry, sizeof row->entry, "%s", entry);
        row->local = local;
    }
    row->usage [architecture] = gpb_test_cubin_usage (data, size, entry);
}

static void
s_measure (const gpb_kernel_t *kernel, void *argument)
{
    unsigned locals [3];
    s_locals (kernel, locals);
    for (unsigned index = 0; locals [index]; index++)
        for (unsigned architecture = 0; architecture < ARCHITECTURES; architecture++) {
            const char *name = gpb_test_architectures [architecture];
            char *data;
            size_t size;
            s_compile (kernel, locals [index], name, &data, &size);
            if (!gpb_test_nvrtc_knows (&s_backend, name))
                ck_assert_int_eq (data [size - 1], 0);
            else if (gpb_kernel_persistent (kernel)) {
                s_measure_row (argument, kernel, GPB_PERSISTENT_DISPATCH, locals [index],
                               architecture, data, size);
                s_measure_row (argument, kernel, GPB_PERSISTENT_ONCE, locals [index], architecture,
                               data, size);
            }
            else
                s_measure_row (argument, kernel, gpb_kernel_entry (kernel), locals [index],
                               architecture, data, size);
            s_backend.services->free (data);
        }
}

//  ---------------------------------------------------------------------------------------------------------
//  The table in its file

static const char s_head [] =
    "# What every shipped kernel takes of a multiprocessor, for each architecture: registers of a\n"
    "# thread, bytes of stack of a thread (spilled registers, and arrays whose index varies), "
    "bytes\n"
    "# of static shared memory of a block. Registers may be a few more with another compiler; the\n"
    "# rest may not. No register is spilled: what stands under stack is top_k's list. After a\n"
    "# change to a kernel this is written again, and looked through, with\n"
    "#     GPB_CUDA_RESOURCES=$PWD/" TABLE " \\\n"
    "#         make -C build check TESTS=tests/test_cuda_kernels\n";

static void
s_write (const s_table_t *table, const char *path)
{
    FILE *file = fopen (path, "w");
    ck_assert_msg (file != NULL, "%s cannot be written", path);
    fprintf (file, "%s# NVRTC %d.%d\n#\n# %-14s %-14s %5s", s_head, s_backend.nvrtc_major,
             s_backend.nvrtc_minor, "package", "entry", "local");
    for (unsigned architecture = 0; architecture < ARCHITECTURES; architecture++) {
        const char *name = gpb_test_architectures [architecture];
        ck_assert_msg (gpb_test_nvrtc_knows (&s_backend, name), "this NVRTC has no %s", name);
        fprintf (file, "   %14s", name);
    }
    fprintf (file, "\n");
    for (unsigned index = 0; index < table->count; index++) {
        const s_row_t *row = &table->rows [index];
        fprintf (file, "%-16s %-14s %5u", row->package, row->entry, row->local);
        for (unsigned architecture = 0; architecture < ARCHITECTURES; architecture++)
            fprintf (file, "   %3u %4u %5u", row->usage [architecture].registers,
                     row->usage [architecture].stack_size, row->usage [architecture].shared_size);
        fprintf (file, "\n");
    }
    ck_assert_int_eq (fclose (file), 0);
}

static bool
s_scan (char *line, s_row_t *row)
{
    int at = 0;
    if (sscanf (line, "%63s %63s %u%n", row->package, row->entry, &row->local, &at) != 3)
        return false;
    for (unsigned architecture = 0; architecture < ARCHITECTURES; architecture++) {
        gpb_test_usage_t *usage = &row->usage [architecture];
        int length = 0;
        if (sscanf (line + at, "%u %u %u%n", &usage->registers, &usage->stack_size,
                    &usage->shared_size, &length)
            != 3)
            return false;
        at += length;
    }
    return true;
}

static void
s_load (s_table_t *table)
{
    char path [4096], line [512];
    snprintf (path, sizeof path, "%s/" TABLE, getenv ("GPB_SOURCE_DIR"));
    FILE *file = fopen (path, "r");
    ck_assert_msg (file != NULL, "%s cannot be read", path);
    while (fgets (line, sizeof line, file))
        if (line [0] != '#') {
            ck_assert_uint_lt (table->count, ROWS_MAX);
            ck_assert_msg (s_scan (line, &table->rows [table->count++]), "%s has a line %s", path,
                           line);
        }
    fclose (file);
}

static void
s_compare (const s_row_t *now, const s_row_t *recorded)
{
    for (unsigned architecture = 0; architecture < ARCHITECTURES; architecture++) {
        const char *name = gpb_test_architectures [architecture];
        const gpb_test_usage_t *is = &now->usage [architecture];
        const gpb_test_usage_t *was = &recorded->usage [architecture];
        if (!gpb_test_nvrtc_knows (&s_backend, name))
            continue;
        ck_assert_msg (
            is->registers <= was->registers + REGISTERS_ALLOWED && is->stack_size <= was->stack_size
                && is->shared_size == was->shared_size,
            "%s of %s with %u work-items for %s takes %u registers, %u bytes of stack and "
            "%u of shared memory; recorded are %u, %u and %u",
            now->entry, now->package, now->local, name, is->registers, is->stack_size,
            is->shared_size, was->registers, was->stack_size, was->shared_size);
    }
}

//  A block of the largest size that it may be launched with has a multiprocessor that is otherwise
//  empty to itself: the size in its definition, and 1024 threads for a lane's.
static void
s_fit (const s_row_t *row)
{
    const bool is_lane = strcmp (row->entry, GPB_PERSISTENT_DISPATCH) == 0
                         || strcmp (row->entry, GPB_PERSISTENT_ONCE) == 0;
    const unsigned warps = ((is_lane ? BLOCK_MAX : row->local) + WARP - 1) / WARP;
    for (unsigned architecture = 0; architecture < ARCHITECTURES; architecture++) {
        const gpb_test_usage_t *usage = &row->usage [architecture];
        const unsigned registers = (usage->registers + 7) / 8 * 8;
        ck_assert_msg (registers * WARP * warps <= REGISTERS_OF_MULTIPROCESSOR
                           && usage->shared_size <= SHARED_OF_BLOCK,
                       "%u warps of %s of %s for %s do not fit: %u registers a thread, %u bytes",
                       warps, row->entry, row->package, gpb_test_architectures [architecture],
                       registers, usage->shared_size);
    }
}

//  ---------------------------------------------------------------------------------------------------------
//  The tests

//  The numbers of packages are written down so that none can be left out by a wrong path.
START_TEST (test_every_shipped_kernel_has_no_warning_takes_what_is_recorded_and_fits)
{
    static s_table_t now, recorded;
    ck_assert_uint_ge (s_for_each ("kernels", s_measure, &now), 14);
    const char *path = getenv ("GPB_CUDA_RESOURCES");
    if (path)
        s_write (&now, path);
    s_load (&recorded);
    for (unsigned index = 0; index < now.count && index < recorded.count; index++) {
        const s_row_t *is = &now.rows [index], *was = &recorded.rows [index];
        ck_assert_msg (strcmp (is->package, was->package) == 0
                           && strcmp (is->entry, was->entry) == 0 && is->local == was->local,
                       "%s of %s with %u work-items is not recorded in " TABLE ": there stands %s "
                       "of %s with %u",
                       is->entry, is->package, is->local, was->entry, was->package, was->local);
        s_compare (is, was);
        s_fit (is);
    }
    ck_assert_uint_eq (now.count, recorded.count);
}
END_TEST

START_TEST (test_every_kernel_of_the_tests_and_of_the_benchmarks_has_no_warning)
{
    static s_table_t table;
    ck_assert_uint_ge (s_for_each ("bench/kernels", s_measure, &table), 1);
    ck_assert_uint_ge (s_for_each ("tests/kernels", s_measure, &table), 1);
    ck_assert_uint_ge (s_for_each ("tests/kernels_crash", s_measure, &table), 2);
    ck_assert_uint_ge (s_for_each ("tests/kernels_persistent", s_measure, &table), 4);
}
END_TEST

int
main (void)
{
    if (!gpb_test_nvrtc_open (&s_backend))
        return 77;
    const TTest *const tests [] = {
        test_every_shipped_kernel_has_no_warning_takes_what_is_recorded_and_fits,
        test_every_kernel_of_the_tests_and_of_the_benchmarks_has_no_warning
    };
    return gpb_test_run ("cuda_kernels", tests, sizeof tests / sizeof tests [0], 300);
}
