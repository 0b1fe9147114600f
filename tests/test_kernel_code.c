//  Tests of gpb_kernel_code: which of a package's files a backend's compiler gets, and what stands
//  around it there.

#include "gpb_test.h"

#include "gpb_alloc.h"
#include "gpb_kernel_private.h"
#include "gpb_test_device.h"

#include <stdio.h>
#include <string.h>

#define LAUNCHED "id = \"k\"; source = \"k.c\"; global = [ 1 ];\n"
#define PARAMETERS                                                                                 \
    "parameters = ( { name = \"a\"; direction = \"in\"; type = \"f32\"; count = 1; } );\n"
#define PERSISTENT                                                                                 \
    "id = \"k\"; source = \"k.c\"; persistent = true;\n"                                           \
    "parameters = ( { name = \"a\"; direction = \"in\"; type = \"f32\"; },\n"                      \
    "               { name = \"b\"; direction = \"out\"; type = \"f64\"; count = \"count\"; } "    \
    ");\n"

static gpb_error_t error;

static gpb_kernel_t *
s_parse (const char *definition, const char *source)
{
    gpb_kernel_t *kernel = gpb_kernel_parse (definition, source, &error);
    ck_assert_msg (kernel != NULL, "%s", error.text);
    return kernel;
}

//  ---------------------------------------------------------------------------------------------------------
//  Which file

//  A package as far as it matters here, with the files of a set: bit by bit, in their order. Each
//  holds its own name.
static void
s_make (gpb_kernel_t *self, unsigned files)
{
    static const char *const names [GPB_FILES] = { "k.c",   "k.cl",     "k.cu",
                                                   "k.ptx", "k.fatbin", "k.cubin" };
    *self = (gpb_kernel_t){ .id = (char *) "k", .options = (char *) "", .arch = (char *) "" };
    for (gpb_file_t kind = 0; kind < GPB_FILES; kind++) {
        if (!(files & 1u << kind))
            continue;
        self->files [kind].name = (char *) names [kind];
        ck_assert_ok (
            gpb_kernel_set_file (self, kind, names [kind], strlen (names [kind]), &error));
    }
}

static void
s_clear (gpb_kernel_t *self)
{
    for (gpb_file_t kind = 0; kind < GPB_FILES; kind++)
        gpb_free (self->files [kind].data);
}

static bool
s_ends_with (const char *text, const char *ending)
{
    const size_t size = strlen (text), end = strlen (ending);
    return size >= end && strcmp (text + size - end, ending) == 0;
}

//  The first of a backend's own files that the package carries, of those the one that most devices
//  can use; else the portable one; else none.
START_TEST (test_each_backend_gets_the_file_that_is_best_for_it)
{
    static const struct {
        const char *backend;
        gpb_file_t order [5];    //  GPB_FILES: no more
    } backends [] = {
        { "opencl", { GPB_FILE_CL, GPB_FILE_PORTABLE, GPB_FILES } },
        { "cuda",
          { GPB_FILE_CU, GPB_FILE_PTX, GPB_FILE_FATBIN, GPB_FILE_CUBIN, GPB_FILE_PORTABLE } },
        { "another", { GPB_FILE_PORTABLE, GPB_FILES } },
        { "", { GPB_FILE_PORTABLE, GPB_FILES } },
    };
    static const gpb_code_kind_t kinds [GPB_FILES] = { GPB_CODE_PORTABLE, GPB_CODE_SOURCE,
                                                       GPB_CODE_SOURCE,   GPB_CODE_INTERMEDIATE,
                                                       GPB_CODE_BINARY,   GPB_CODE_BINARY };
    for (unsigned files = 0; files < 1u << GPB_FILES; files++)
        for (size_t index = 0; index < sizeof backends / sizeof backends [0]; index++) {
            const char *backend = backends [index].backend;
            gpb_kernel_t kernel;
            gpb_code_t code;
            gpb_file_t expected = GPB_FILES;
            for (size_t at = 5; at-- > 0;)
                if (files & 1u << backends [index].order [at])
                    expected = backends [index].order [at];
            s_make (&kernel, files);
            const gpb_status_t status = gpb_kernel_code (&kernel, backend, &code, &error);
            ck_assert_msg ((status == GPB_OK) == (expected != GPB_FILES), "files %x, \"%s\": %s",
                           files, backend, gpb_status_name (status));
            if (status == GPB_OK) {
                ck_assert_str_eq (code.name, kernel.files [expected].name);
                ck_assert_int_eq (code.kind, kinds [expected]);
                ck_assert (s_ends_with (code.data, kernel.files [expected].name));
                ck_assert_uint_eq (code.size, strlen (code.data));
            }
            s_clear (&kernel);
        }
}
END_TEST

START_TEST (test_where_there_is_no_code_for_a_backend_the_sentence_says_so)
{
    gpb_kernel_t kernel;
    gpb_code_t code;
    s_make (&kernel, 1u << GPB_FILE_CL);
    ck_assert_refused (gpb_kernel_code (&kernel, "cuda", &code, &error), GPB_FAILED_PRECONDITION,
                       "kernel \"k\" carries no code for cuda, and no portable source");
    s_clear (&kernel);
    s_make (&kernel, 1u << GPB_FILE_CU | 1u << GPB_FILE_PTX | 1u << GPB_FILE_CUBIN);
    ck_assert_refused (gpb_kernel_code (&kernel, "opencl", &code, &error), GPB_FAILED_PRECONDITION,
                       "kernel \"k\" carries no code for opencl, and no portable source");
    s_clear (&kernel);
}
END_TEST

START_TEST (test_the_kinds_of_what_a_package_carries_come_in_their_order)
{
    static const char *const words [GPB_FILES] = {
        "portable", "cl", "cu", "ptx", "fatbin", "cubin"
    };
    for (unsigned files = 0; files < 1u << GPB_FILES; files++) {
        gpb_kernel_t kernel;
        size_t count = 0;
        s_make (&kernel, files);
        for (gpb_file_t kind = 0; kind < GPB_FILES; kind++)
            if (files & 1u << kind)
                ck_assert_str_eq (gpb_kernel_source_kind (&kernel, count++), words [kind]);
        ck_assert_ptr_null (gpb_kernel_source_kind (&kernel, count));
        ck_assert_ptr_null (gpb_kernel_source_kind (&kernel, SIZE_MAX));
        s_clear (&kernel);
    }
}
END_TEST

START_TEST (test_what_a_compiler_is_told_is_what_the_package_says)
{
    gpb_code_t code;
    gpb_kernel_t *kernel =
        s_parse (LAUNCHED PARAMETERS
                 "optimize = 3; debug = true; options = \"-DX\"; arch = \"sm_90\";",
                 "x");
    static const char *const backends [] = { "opencl", "cuda" };
    for (size_t index = 0; index < 2; index++) {
        ck_assert_ok (gpb_kernel_code (kernel, backends [index], &code, &error));
        ck_assert_int_eq (code.optimize, 3);
        ck_assert (code.debug);
        ck_assert_str_eq (code.options, "-DX");
        ck_assert_str_eq (code.architecture, "sm_90");
    }
    gpb_kernel_destroy (&kernel);
}
END_TEST

//  The lanes' atomics are OpenCL 2.0's, and no other backend's compiler knows the word.
START_TEST (test_a_persistent_kernel_is_compiled_by_the_standard_that_its_lanes_need)
{
    static const struct {
        const char *options, *backend, *expected;
    } cases [] = {
        { "", "opencl", "-cl-std=CL2.0 " },
        { "options = \"-DX\";", "opencl", "-cl-std=CL2.0 -DX" },
        { "options = \"-DX\";", "cuda", "-DX" },
        { "options = \"-DX\";", "another", "-DX" },
        { "options = \"-cl-std=CL3.0\";", "opencl", "-cl-std=CL3.0" },
    };
    for (size_t index = 0; index < sizeof cases / sizeof cases [0]; index++) {
        char text [1024];
        snprintf (text, sizeof text, PERSISTENT "%s", cases [index].options);
        gpb_kernel_t *kernel = s_parse (text, "x");
        gpb_code_t code;
        ck_assert_ok (gpb_kernel_code (kernel, cases [index].backend, &code, &error));
        ck_assert_str_eq (code.options, cases [index].expected);
        gpb_kernel_destroy (&kernel);
    }
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  What stands around it

static void
s_expect_text (const gpb_kernel_file_t *file, const char *const *parts)
{
    const char *at = file->data;
    for (size_t index = 0; parts [index]; index++) {
        const size_t size = strlen (parts [index]);
        ck_assert_msg (strncmp (at, parts [index], size) == 0,
                       "behind part %zu stands \"%.80s\", not \"%.80s\"", index, at, parts [index]);
        at += size;
    }
    ck_assert_str_eq (at, "");
    ck_assert_uint_eq ((size_t) (at - file->data), file->size);
}

#define s_expect(file, ...) s_expect_text (file, (const char *const []){ __VA_ARGS__, NULL })

START_TEST (test_the_prelude_is_for_portable_code_and_a_line_for_every_source)
{
    gpb_kernel_t kernel;
    s_make (&kernel, (1u << GPB_FILES) - 1);
    s_expect (&kernel.files [GPB_FILE_PORTABLE], gpb_prelude_text, "\n#line 1 \"k.c\"\n", "k.c");
    s_expect (&kernel.files [GPB_FILE_CL], "\n#line 1 \"k.cl\"\n", "k.cl");
    s_expect (&kernel.files [GPB_FILE_CU], "\n#line 1 \"k.cu\"\n", "k.cu");
    s_expect (&kernel.files [GPB_FILE_PTX], "k.ptx");
    s_expect (&kernel.files [GPB_FILE_CUBIN], "k.cubin");
    s_clear (&kernel);
}
END_TEST

START_TEST (test_a_binary_is_as_it_was_whatever_is_in_it)
{
    gpb_kernel_t kernel;
    s_make (&kernel, 0);
    kernel.files [GPB_FILE_CUBIN].name = (char *) "k.cubin";
    ck_assert_ok (gpb_kernel_set_file (&kernel, GPB_FILE_CUBIN, "\0\n#\0", 4, &error));
    ck_assert_uint_eq (kernel.files [GPB_FILE_CUBIN].size, 4);
    ck_assert_mem_eq (kernel.files [GPB_FILE_CUBIN].data, "\0\n#\0", 5);    //  and a NUL behind it
    s_clear (&kernel);
}
END_TEST

START_TEST (test_a_handler_stands_between_the_lane_and_the_loop)
{
    gpb_kernel_t *kernel = s_parse (PERSISTENT "entry = \"f_1\"; local = [ 32 ];", "the source");
    gpb_code_t code;
    ck_assert_ok (gpb_kernel_code (kernel, "cuda", &code, &error));
    ck_assert_int_eq (code.kind, GPB_CODE_PORTABLE);
    ck_assert_str_eq (code.name, "k.c");
    s_expect (&kernel->files [GPB_FILE_PORTABLE], gpb_prelude_text,
              "\n#define GPB_LANE_LOCAL 32\n#line 1 \"gpb_lane.h\"\n", gpb_lane_text,
              "\n#line 1 \"k.c\"\n", "the source",
              "\n#define GPB_HANDLER gpb_handler_f_1\n#line 1 \"gpb_dispatch.h\"\n",
              gpb_dispatch_text);
    ck_assert_ptr_nonnull (strstr (gpb_dispatch_text, "gpb_dispatch (GLOBAL uchar *memory"));
    ck_assert_ptr_nonnull (strstr (gpb_dispatch_text, "gpb_once (GLOBAL uchar *memory"));
    gpb_kernel_destroy (&kernel);
}
END_TEST

//  Nothing is cut short: a name of a file has up to 128 characters, one of a function 63, and the
//  local size five digits.
START_TEST (test_the_longest_names_are_whole)
{
    enum { FILE_SIZE = 128, ENTRY_SIZE = 63 };
    char file [FILE_SIZE + 1], entry [ENTRY_SIZE + 1], definition [2048], line [256], handler [256];
    memset (file, 'x', FILE_SIZE);
    strcpy (file + FILE_SIZE - 2, ".c");
    memset (entry, 'f', ENTRY_SIZE);
    entry [ENTRY_SIZE] = 0;
    snprintf (definition, sizeof definition,
              "id = \"k\"; source = \"%s\"; entry = \"%s\"; persistent = true;\n"
              "local = [ 65536 ];\n"
              "parameters = ( { name = \"a\"; direction = \"in\"; type = \"f32\"; },\n"
              "  { name = \"b\"; direction = \"out\"; type = \"f64\"; count = \"count\"; } );\n",
              file, entry);
    snprintf (line, sizeof line, "\n#line 1 \"%s\"\n", file);
    snprintf (handler, sizeof handler,
              "\n#define GPB_HANDLER gpb_handler_%s\n#line 1 \"gpb_dispatch.h\"\n", entry);
    gpb_kernel_t *kernel = s_parse (definition, "x");
    s_expect (&kernel->files [GPB_FILE_PORTABLE], gpb_prelude_text,
              "\n#define GPB_LANE_LOCAL 65536\n#line 1 \"gpb_lane.h\"\n", gpb_lane_text, line, "x",
              handler, gpb_dispatch_text);
    gpb_kernel_destroy (&kernel);
}
END_TEST

START_TEST (test_memory_that_runs_out_is_said)
{
    gpb_kernel_t kernel;
    s_make (&kernel, 0);
    kernel.files [GPB_FILE_CL].name = (char *) "k.cl";
    gpb_alloc_fail (0, 0);
    gpb_status_t status = gpb_kernel_set_file (&kernel, GPB_FILE_CL, "x", 1, &error);
    gpb_alloc_fail (-1, 0);
    ck_assert_refused (status, GPB_RESOURCE_EXHAUSTED, "out of memory");
    ck_assert_ptr_null (kernel.files [GPB_FILE_CL].data);
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  What a compiler makes of it

//  Whatever stands before it, a fault is in the package's own line.
START_TEST (test_a_compilers_words_name_the_packages_own_file_and_line)
{
    static const struct {
        const char *definition, *source, *where;
    } cases [] = {
        { LAUNCHED PARAMETERS, "KERNEL void\nk (GLOBAL const float *a)\n{\n    nothing;\n}\n",
          "k.c:4:" },
        { "id = \"k\"; sources = { cl = \"k.cl\"; }; global = [ 1 ];\n" PARAMETERS,
          "kernel void k (global const float *a)\n{\n    nothing;\n}\n", "k.cl:3:" },
        { PERSISTENT,
          "\nHANDLER (k) (GLOBAL const void *in, uint in_size, GLOBAL void *out, uint *out_size,\n"
          "GLOBAL void *state)\n{\n\n    nothing;\n}\n",
          "k.c:6:" },
    };
    gpb_test_device_t device;
    gpb_test_device_open (&device, "opencl", 0, 1, false);
    for (size_t index = 0; index < sizeof cases / sizeof cases [0]; index++) {
        gpb_kernel_t *kernel = s_parse (cases [index].definition, cases [index].source);
        gpb_code_t code;
        gpb_module_t *module = NULL;
        ck_assert_ok (gpb_kernel_code (kernel, "opencl", &code, &error));
        ck_assert_refused (device.operations->build (device.context, &code, &module, &error),
                           GPB_INVALID_ARGUMENT, cases [index].where);
        ck_assert_ptr_nonnull (strstr (error.text, "nothing"));
        gpb_kernel_destroy (&kernel);
    }
    gpb_test_device_close (&device);
}
END_TEST

GPB_TEST_MAIN ("gpb_kernel_code", 20, test_each_backend_gets_the_file_that_is_best_for_it,
               test_where_there_is_no_code_for_a_backend_the_sentence_says_so,
               test_the_kinds_of_what_a_package_carries_come_in_their_order,
               test_what_a_compiler_is_told_is_what_the_package_says,
               test_a_persistent_kernel_is_compiled_by_the_standard_that_its_lanes_need,
               test_the_prelude_is_for_portable_code_and_a_line_for_every_source,
               test_a_binary_is_as_it_was_whatever_is_in_it,
               test_a_handler_stands_between_the_lane_and_the_loop,
               test_the_longest_names_are_whole, test_memory_that_runs_out_is_said,
               test_a_compilers_words_name_the_packages_own_file_and_line)
