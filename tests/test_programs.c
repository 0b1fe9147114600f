//  Tests of gpb_programs: what a kernel's package says reaches the compiler, what is compiled once
//  is kept, and what is replaced stays as long as it may still run. The backend is a table of this
//  file's, which notes what it is asked to compile.

#include "gpb_alloc.h"
#include "gpb_programs.h"
#include "gpb_test.h"

#include <czmq.h>
#include <stdlib.h>

struct gpb_function {
    int unused;
};

struct gpb_module {
    gpb_function_t function;
    int number;
};

static struct {
    int compiled, loaded, unloaded;    //  from source, from a binary, and unloaded again
    int refused;                       //  sources that did not compile
    int optimize;
    bool debug;
    char options [128], architecture [128];
} s_seen;

static gpb_error_t error;

static gpb_status_t
s_build (gpb_context_t *context, const gpb_code_t *code, gpb_module_t **module_p,
         gpb_error_t *build_error)
{
    (void) context;
    bool binary = code->kind == GPB_CODE_BINARY;
    //  A source ends in a NUL; a binary does not.
    bool is_wrong =
        !binary && (strstr (code->data, "syntax error") || strstr (code->data, "this is no C"));
    if (is_wrong && ++s_seen.refused)
        return gpb_error_set (build_error, GPB_INVALID_ARGUMENT, "%s:1: that is wrong", code->name);
    s_seen.compiled += !binary;
    s_seen.loaded += binary;
    s_seen.optimize = code->optimize;
    s_seen.debug = code->debug;
    snprintf (s_seen.options, sizeof s_seen.options, "%s", code->options);
    snprintf (s_seen.architecture, sizeof s_seen.architecture, "%s", code->architecture);
    *module_p = gpb_alloc (1, sizeof **module_p);
    if (!*module_p)
        return gpb_error_set (build_error, GPB_RESOURCE_EXHAUSTED, "out of memory");
    (*module_p)->number = s_seen.compiled;
    return GPB_OK;
}

static gpb_status_t
s_binary (gpb_module_t *module, void **data_p, size_t *size_p, gpb_error_t *binary_error)
{
    (void) module;
    *size_p = 6;
    *data_p = gpb_strdup ("binary");
    return *data_p ? GPB_OK : gpb_error_set (binary_error, GPB_RESOURCE_EXHAUSTED, "out of memory");
}

static void
s_compiler (gpb_context_t *context, char *text, size_t size)
{
    (void) context;
    snprintf (text, size, "compiler 1");
}

static void
s_unload (gpb_module_t **module_p)
{
    gpb_free (*module_p);
    *module_p = NULL;
    s_seen.unloaded++;
}

static gpb_status_t
s_function (gpb_module_t *module, const char *entry, gpb_function_t **function_p,
            gpb_function_info_t *info, gpb_error_t *function_error)
{
    (void) entry;
    (void) function_error;
    *function_p = &module->function;
    memset (info, 0, sizeof *info);
    return GPB_OK;
}

static const gpb_backend_operations_t s_operations = { .build = s_build,
                                                       .binary = s_binary,
                                                       .compiler = s_compiler,
                                                       .unload = s_unload,
                                                       .function = s_function };

static gpb_shared_context_t s_shared = { .operations = &s_operations,
                                         .backend = "table",
                                         .index = 3,
                                         .info = { .capabilities_count = 1,
                                                   .capabilities = { "gpu" } } };

static char s_folder [] = "/tmp/gpb_test_programs.XXXXXX";

static void
s_make_folder (void)
{
    ck_assert_ptr_nonnull (mkdtemp (s_folder));
    memset (&s_seen, 0, sizeof s_seen);
}

static void
s_remove_folder (void)
{
    zdir_t *folder = zdir_new (s_folder, NULL);
    zdir_remove (folder, true);
    zdir_destroy (&folder);
}

static gpb_programs_t *
s_new (const char *cache_directory)
{
    char path [4096];
    snprintf (path, sizeof path, "%s/tests/packages", getenv ("GPB_SOURCE_DIR"));
    gpb_programs_t *programs = gpb_programs_new (&s_shared, path, cache_directory, 1 << 20, &error);
    ck_assert_msg (programs != NULL, "%s", error.text);
    return programs;
}

static const char *
s_definition (const char *more)
{
    static char text [1024];
    snprintf (text, sizeof text,
              "id = \"mine\"; source = \"mine.c\"; global = [ \"1\" ]; parameters = ( { name = "
              "\"n\"; direction = \"scalar\"; type = \"i32\"; } ); %s",
              more);
    return text;
}

START_TEST (test_a_kernel_is_compiled_once)
{
    memset (&s_seen, 0, sizeof s_seen);
    gpb_programs_t *programs = s_new ("none");
    const gpb_program_t *add = gpb_programs_lookup (programs, "add", &error);
    ck_assert_ptr_nonnull (add);
    ck_assert_str_eq (gpb_kernel_id (add->kernel), "add");
    ck_assert_int_eq (s_seen.compiled, 1);
    ck_assert_ptr_eq (gpb_programs_lookup (programs, "add", &error), add);
    ck_assert_int_eq (s_seen.compiled, 1);
    ck_assert_ptr_ne (gpb_programs_lookup (programs, "negate", &error), add);
    ck_assert_int_eq (s_seen.compiled, 2);
    gpb_programs_destroy (&programs);
    ck_assert_ptr_null (programs);
    ck_assert_int_eq (s_seen.unloaded, 2);
    gpb_programs_destroy (&programs);
}
END_TEST

START_TEST (test_what_the_package_says_reaches_the_compiler_and_the_caches_key)
{
    static const struct {
        const char *more, *options, *architecture;
        int optimize;
        bool debug;
    } cases [] = {
        { "", "", "", 2, false },
        { "optimize = 0;", "", "", 0, false },
        { "optimize = 3;", "", "", 3, false },
        { "debug = true;", "", "", 2, true },
        { "options = \"-DWIDTH=4\";", "-DWIDTH=4", "", 2, false },
        { "arch = \"sm_90\";", "", "sm_90", 2, false },
    };
    enum { CASES = sizeof cases / sizeof cases [0] };
    s_make_folder ();
    for (int round = 0; round < 2; round++) {
        gpb_programs_t *programs = s_new (s_folder);
        for (int index = 0; index < CASES; index++) {
            ck_assert_ok (gpb_programs_register (programs, s_definition (cases [index].more), "x",
                                                 true, false, &error));
            ck_assert_int_eq (s_seen.optimize, cases [index].optimize);
            ck_assert_int_eq (s_seen.debug, cases [index].debug);
            ck_assert_str_eq (s_seen.options, cases [index].options);
            ck_assert_str_eq (s_seen.architecture, cases [index].architecture);
            //  None is taken for another; the second time, each is found.
            ck_assert_int_eq (s_seen.compiled, round ? CASES : index + 1);
            ck_assert_int_eq (s_seen.loaded, round ? index + 1 : 0);
        }
        gpb_programs_destroy (&programs);
    }
    ck_assert_int_eq (s_seen.unloaded, 2 * CASES);
    s_remove_folder ();
}
END_TEST

START_TEST (test_what_cannot_run_says_why)
{
    gpb_programs_t *programs = s_new ("none");
    ck_assert_ptr_null (gpb_programs_lookup (programs, "nothing", &error));
    ck_assert_refused (error.status, GPB_NOT_FOUND, "there is no kernel nothing");
    ck_assert_ptr_null (gpb_programs_lookup (programs, "picky", &error));
    ck_assert_refused (error.status, GPB_FAILED_PRECONDITION, "moon, which device 3 has not");
    ck_assert_ptr_null (gpb_programs_lookup (programs, "four", &error));
    ck_assert_int_eq (error.status, GPB_FAILED_PRECONDITION);
    //  A package that does not compile is not its caller's fault; a source that was sent is.
    ck_assert_refused (gpb_programs_register (programs, s_definition (""), "a syntax error", false,
                                              false, &error),
                       GPB_INVALID_ARGUMENT, "mine.c:1: that is wrong");
    ck_assert_refused (gpb_programs_register (programs, "id = 7;", "x", false, false, &error),
                       GPB_INVALID_ARGUMENT, "1");
    ck_assert_ptr_null (gpb_programs_lookup (programs, "mine", &error));
    ck_assert (gpb_device_has (&s_shared.info, "gpu"));
    ck_assert (!gpb_device_has (&s_shared.info, "gp"));
    gpb_programs_destroy (&programs);
}
END_TEST

START_TEST (test_what_does_not_compile_is_not_tried_again)
{
    memset (&s_seen, 0, sizeof s_seen);
    gpb_programs_t *programs = s_new ("none");
    for (int round = 0; round < 3; round++) {
        ck_assert_ptr_null (gpb_programs_lookup (programs, "broken", &error));
        ck_assert_refused (error.status, GPB_FAILED_PRECONDITION, "that is wrong");
        ck_assert_int_eq (s_seen.refused, 1);
    }
    gpb_programs_destroy (&programs);
}
END_TEST

START_TEST (test_a_replaced_kernel_stays_as_long_as_it_may_run)
{
    memset (&s_seen, 0, sizeof s_seen);
    gpb_programs_t *programs = s_new ("none");
    ck_assert_ok (gpb_programs_register (programs, s_definition (""), "one", false, false, &error));
    const gpb_program_t *one = gpb_programs_lookup (programs, "mine", &error);
    gpb_program_use (one);
    ck_assert_refused (gpb_programs_register (programs, s_definition (""), "two", false, false,
                                              &error),
                       GPB_ALREADY_EXISTS, "say replace");
    //  A check alone changes nothing, and leaves nothing loaded.
    ck_assert_ok (gpb_programs_register (programs, s_definition (""), "two", true, true, &error));
    ck_assert_int_eq (s_seen.unloaded, 1);
    ck_assert_ptr_eq (gpb_programs_lookup (programs, "mine", &error), one);
    ck_assert_ok (gpb_programs_register (programs, s_definition (""), "two", true, false, &error));
    const gpb_program_t *two = gpb_programs_lookup (programs, "mine", &error);
    ck_assert_ptr_ne (two, one);
    ck_assert_int_eq (s_seen.unloaded, 1);
    ck_assert_str_eq (gpb_kernel_id (one->kernel), "mine");
    ck_assert_int_eq (one->module->number, 1);
    gpb_program_drop (one);
    //  One that no longer fits this device is no longer run here.
    ck_assert_ok (gpb_programs_register (programs, s_definition ("require = [ \"moon\" ];"), "x",
                                         true, false, &error));
    ck_assert_ptr_null (gpb_programs_lookup (programs, "mine", &error));
    ck_assert_int_eq (error.status, GPB_FAILED_PRECONDITION);
    ck_assert_int_eq (s_seen.unloaded, 3);    //  the first one as well, now that nobody runs it
    gpb_programs_destroy (&programs);
    ck_assert_int_eq (s_seen.unloaded, 3);
}
END_TEST

//  Neither compiled nor taken in, and nothing of it is remembered.
START_TEST (test_a_persistent_kernel_is_left_to_the_kernel_host)
{
    static const char definition [] =
        "id = \"mine\"; source = \"mine.c\"; persistent = true; parameters = (\n"
        "{ name = \"a\"; direction = \"in\"; type = \"f32\"; },\n"
        "{ name = \"b\"; direction = \"out\"; type = \"f32\"; count = \"count\"; } );";
    memset (&s_seen, 0, sizeof s_seen);
    gpb_programs_t *programs = s_new ("none");
    ck_assert_refused (gpb_programs_register (programs, definition, "x", false, false, &error),
                       GPB_FAILED_PRECONDITION,
                       "mine is persistent: its device's kernel host takes it");
    ck_assert_ptr_null (gpb_programs_lookup (programs, "mine", &error));
    ck_assert_int_eq (error.status, GPB_NOT_FOUND);
    gpb_kernel_t *kernel = gpb_kernel_parse (definition, "x", &error);
    ck_assert_ok (gpb_kernels_insert (gpb_programs_kernels (programs), &kernel, false, &error));
    for (int round = 0; round < 2; round++) {
        ck_assert_ptr_null (gpb_programs_lookup (programs, "mine", &error));
        ck_assert_refused (error.status, GPB_FAILED_PRECONDITION,
                           "mine is persistent: its device's kernel host runs it");
    }
    ck_assert_int_eq (s_seen.compiled, 0);
    ck_assert_uint_eq (gpb_programs_figures (programs)->failed, 0);
    gpb_programs_destroy (&programs);
}
END_TEST

START_TEST (test_memory_that_runs_out_is_said_and_nothing_leaks)
{
    gpb_programs_t *programs = s_new ("none");
    const gpb_program_t *add = NULL;
    int64_t after = 0;
    for (; !add && after < 100; after++) {
        gpb_alloc_fail (after, 0);
        add = gpb_programs_lookup (programs, "add", &error);
        gpb_alloc_fail (-1, 0);
        if (!add)
            ck_assert_int_eq (error.status, GPB_RESOURCE_EXHAUSTED);
    }
    ck_assert_int_gt (after, 1);
    ck_assert_ptr_nonnull (add);
    gpb_programs_destroy (&programs);
}
END_TEST

START_TEST (test_a_device_that_gets_memory_has_all_its_kernels)
{
    char path [4096];
    snprintf (path, sizeof path, "%s/tests/packages", getenv ("GPB_SOURCE_DIR"));
    setenv ("GPB_KERNEL_PATH", path, 1);
    bool done = false;
    for (int64_t after = 0; !done; after++) {
        gpb_alloc_fail (after, 0);
        gpb_programs_t *programs = gpb_programs_new (&s_shared, "", "none", 0, &error);
        done = gpb_alloc_fail (-1, 0) <= (uint64_t) after;
        if (programs)
            ck_assert_msg (gpb_programs_lookup (programs, "add", &error) != NULL, "%s", error.text);
        else
            ck_assert_int_eq (error.status, GPB_RESOURCE_EXHAUSTED);
        gpb_programs_destroy (&programs);
    }
}
END_TEST

GPB_TEST_MAIN ("gpb_programs", 20, test_a_kernel_is_compiled_once,
               test_what_the_package_says_reaches_the_compiler_and_the_caches_key,
               test_what_cannot_run_says_why, test_what_does_not_compile_is_not_tried_again,
               test_a_replaced_kernel_stays_as_long_as_it_may_run,
               test_a_persistent_kernel_is_left_to_the_kernel_host,
               test_memory_that_runs_out_is_said_and_nothing_leaks,
               test_a_device_that_gets_memory_has_all_its_kernels)
