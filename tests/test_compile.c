//  Tests of gpb_compile: what is compiled once is not compiled again, and nothing that happens to
//  the cache's folder reaches a request. The backend is a table of this file's: its "compiler"
//  turns source into "compiled: SOURCE", and counts what it did.

#include "gpb_alloc.h"
#include "gpb_binaries.h"
#include "gpb_compile.h"
#include "gpb_test.h"
#include "gpb_test_cache.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

//  ---------------------------------------------------------------------------------------------------------
//  The backend

struct gpb_function {
    bool binary;
};

struct gpb_module {
    gpb_function_t function;
    char *text;    //  "compiled: SOURCE"
};

struct gpb_context {
    const char *compiler;     //  what `compiler` says
    bool refuses_binaries;    //  as a driver that was replaced does
    bool binaries_lack_entry;
    int compiled, loaded, unloaded;
    char entry [64];    //  that was looked up last
};

static const char s_mark [] = "compiled: ";

static gpb_status_t
s_build (gpb_context_t *context, const gpb_code_t *code, gpb_module_t **module_p,
         gpb_error_t *error)
{
    const char *text = code->data;
    bool binary = code->kind == GPB_CODE_BINARY;
    if (binary && (context->refuses_binaries || strncmp (text, s_mark, strlen (s_mark)) != 0))
        return gpb_error_set (error, GPB_INVALID_ARGUMENT, "this binary is not mine");
    if (!binary && code->never_compile)
        return gpb_error_set (error, GPB_FAILED_PRECONDITION, "%s is a source", code->name);
    if (!binary && strstr (text, "syntax error"))
        return gpb_error_set (error, GPB_INVALID_ARGUMENT, "%s:1: that is wrong", code->name);
    gpb_module_t *module = gpb_alloc (1, sizeof *module);
    size_t size = code->size + strlen (s_mark) + 2;
    char *copy = gpb_alloc (size, 1);
    if (!module || !copy) {
        gpb_free (module);
        gpb_free (copy);
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "out of memory");
    }
    snprintf (copy, size, "%s%.*s", binary ? "" : s_mark, (int) code->size, text);
    module->text = copy;
    module->function.binary = binary;
    *module_p = module;
    if (binary)
        context->loaded++;
    else
        context->compiled++;
    return GPB_OK;
}

static gpb_status_t
s_binary (gpb_module_t *module, void **data_p, size_t *size_p, gpb_error_t *error)
{
    *data_p = gpb_strdup (module->text);
    *size_p = strlen (module->text);
    return *data_p ? GPB_OK : gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "out of memory");
}

static gpb_status_t
s_no_binary (gpb_module_t *module, void **data_p, size_t *size_p, gpb_error_t *error)
{
    (void) module, (void) data_p, (void) size_p;
    return gpb_error_set (error, GPB_UNIMPLEMENTED, "no binaries here");
}

static void
s_compiler (gpb_context_t *context, char *text, size_t size)
{
    snprintf (text, size, "%s", context->compiler);
}

static gpb_context_t *s_context;    //  of the test that runs

static void
s_unload (gpb_module_t **module_p)
{
    s_context->unloaded++;
    gpb_free ((*module_p)->text);
    gpb_free (*module_p);
    *module_p = NULL;
}

static gpb_status_t
s_function (gpb_module_t *module, const char *entry, gpb_function_t **function_p,
            gpb_function_info_t *info, gpb_error_t *error)
{
    if (strcmp (entry, "missing") == 0
        || (s_context->binaries_lack_entry && module->function.binary))
        return gpb_error_set (error, GPB_NOT_FOUND, "there is no entry \"%s\"", entry);
    snprintf (s_context->entry, sizeof s_context->entry, "%s", entry);
    *function_p = &module->function;
    *info = (gpb_function_info_t){ .max_work_group_size = 256 };
    return GPB_OK;
}

static const gpb_backend_operations_t s_operations = {
    .build = s_build,
    .binary = s_binary,
    .compiler = s_compiler,
    .unload = s_unload,
    .function = s_function,
};

static const gpb_backend_operations_t s_operations_without_binary = {
    .build = s_build,
    .binary = s_no_binary,
    .compiler = s_compiler,
    .unload = s_unload,
    .function = s_function,
};

//  ---------------------------------------------------------------------------------------------------------
//  Helpers

static void
s_setup (gpb_context_t *context)
{
    *context = (gpb_context_t){ .compiler = "cc 1" };
    s_context = context;
    gpb_test_cache_setup ();
}

static gpb_kernel_t *
s_kernel (const char *source, const char *more)
{
    char definition [1024];
    snprintf (definition, sizeof definition,
              "id = \"k\"; source = \"k.c\"; global = [ 1 ]; %s\n"
              "parameters = ( { name = \"x\"; direction = \"out\"; type = \"u8\"; count = 1; } );",
              more);
    gpb_error_t error = { GPB_OK, "" };
    gpb_kernel_t *kernel = gpb_kernel_parse (definition, source, &error);
    ck_assert_msg (kernel != NULL, "%s", error.text);
    return kernel;
}

//  As the next process does: what this one has in memory is gone.
static gpb_cache_t *
s_next_process (gpb_cache_t *cache)
{
    gpb_cache_destroy (&cache);
    ck_assert_ptr_null (cache);
    gpb_binaries_forget ();
    return gpb_test_cache_new (MEGABYTE);
}

//  Compiles, expects that it works, and that the module is of this source. Says where it came from.
static gpb_origin_t
s_compile_with (const gpb_backend_operations_t *operations, gpb_cache_t *cache, const char *source,
                const char *more)
{
    gpb_kernel_t *kernel = s_kernel (source, more);
    gpb_error_t error = { GPB_OK, "" };
    gpb_module_t *module = NULL;
    gpb_function_t *function = NULL;
    gpb_function_info_t info = { 0 };
    gpb_origin_t origin = GPB_ORIGIN_SHIPPED;
    ck_assert_ok (gpb_compile (kernel, "opencl", operations, s_context, cache, &module, &function,
                               &info, &origin, &error));
    ck_assert_ptr_eq (function, &module->function);
    ck_assert_uint_eq (info.max_work_group_size, 256);
    size_t length = strlen (module->text), source_length = strlen (source);
    ck_assert_int_eq (strncmp (module->text, s_mark, strlen (s_mark)), 0);
    ck_assert_str_eq (module->text + length - source_length, source);
    s_unload (&module);
    gpb_kernel_destroy (&kernel);
    return origin;
}

static gpb_origin_t
s_compile (gpb_cache_t *cache, const char *source)
{
    return s_compile_with (&s_operations, cache, source, "");
}

//  ---------------------------------------------------------------------------------------------------------

START_TEST (test_what_was_compiled_once_is_not_compiled_again)
{
    gpb_context_t context;
    s_setup (&context);
    gpb_cache_t *cache = gpb_test_cache_new (MEGABYTE);
    struct stat about;
    ck_assert_int_eq (stat (gpb_test_cache_directory, &about), 0);
    ck_assert_uint_eq (about.st_mode & 0777, 0700);
    ck_assert_int_eq (s_compile (cache, "one"), GPB_ORIGIN_COMPILED);
    ck_assert_int_eq (s_compile (cache, "one"), GPB_ORIGIN_SHARED);
    cache = s_next_process (cache);
    ck_assert_int_eq (s_compile (cache, "one"), GPB_ORIGIN_DISK);
    ck_assert_int_eq (s_compile (cache, "one"), GPB_ORIGIN_SHARED);
    ck_assert_int_eq (s_compile (cache, "two"), GPB_ORIGIN_COMPILED);
    ck_assert_int_eq (context.compiled, 2);
    ck_assert_int_eq (context.loaded, 3);
    uint64_t hits, misses;
    gpb_cache_figures (cache, &hits, &misses);
    ck_assert_uint_eq (hits, 1);
    ck_assert_uint_eq (misses, 1);
    ck_assert_int_eq (gpb_test_cache_each (NULL), 2);
    gpb_cache_destroy (&cache);
    gpb_test_cache_teardown ();
}
END_TEST

//  Its entries are libgpb's own; whoever keeps it running looks the second one up in the module.
START_TEST (test_a_persistent_kernel_is_kept_too_and_gives_what_handles_one_message)
{
    gpb_context_t context;
    gpb_error_t error = { GPB_OK, "" };
    s_setup (&context);
    gpb_kernel_t *kernel = gpb_kernel_parse (
        "id = \"k\"; source = \"k.c\"; persistent = true; parameters = (\n"
        "{ name = \"a\"; direction = \"in\"; type = \"f32\"; },\n"
        "{ name = \"b\"; direction = \"out\"; type = \"f32\"; count = \"count\"; } );",
        "the source", &error);
    ck_assert_msg (kernel != NULL, "%s", error.text);
    gpb_cache_t *cache = gpb_test_cache_new (MEGABYTE);
    static const gpb_origin_t origins [] = { GPB_ORIGIN_COMPILED, GPB_ORIGIN_SHARED,
                                             GPB_ORIGIN_DISK };
    for (size_t index = 0; index < 3; index++) {
        gpb_module_t *module = NULL;
        gpb_function_t *function = NULL;
        gpb_function_info_t info;
        gpb_origin_t origin;
        if (origins [index] == GPB_ORIGIN_DISK)
            cache = s_next_process (cache);
        ck_assert_ok (gpb_compile (kernel, "opencl", &s_operations, &context, cache, &module,
                                   &function, &info, &origin, &error));
        ck_assert_int_eq (origin, origins [index]);
        ck_assert_str_eq (context.entry, GPB_PERSISTENT_ONCE);
        ck_assert_ptr_nonnull (strstr (module->text, "\nthe source\n"));
        s_unload (&module);
    }
    gpb_cache_destroy (&cache);
    gpb_kernel_destroy (&kernel);
    gpb_test_cache_teardown ();
}
END_TEST

START_TEST (test_the_key_holds_all_that_the_binary_depends_on)
{
    gpb_context_t context;
    s_setup (&context);
    gpb_cache_t *cache = gpb_test_cache_new (MEGABYTE);
    const char *const choices [] = { "",
                                     "optimize = 0;",
                                     "optimize = 3;",
                                     "debug = true;",
                                     "options = \"-DX\";",
                                     "options = \"-DY\";",
                                     "arch = \"-DX\";",
                                     "arch = \"sm_90\";" };
    const size_t count = sizeof choices / sizeof choices [0];
    const gpb_origin_t origins [] = { GPB_ORIGIN_COMPILED, GPB_ORIGIN_SHARED, GPB_ORIGIN_DISK };
    for (int round = 0; round < 3; round++) {
        if (round == 2)
            cache = s_next_process (cache);
        for (size_t index = 0; index < count; index++)
            ck_assert_msg (s_compile_with (&s_operations, cache, "x", choices [index])
                               == origins [round],
                           "%s", choices [index]);
    }
    context.compiler = "cc 2";
    ck_assert_int_eq (s_compile (cache, "x"), GPB_ORIGIN_COMPILED);
    ck_assert_int_eq (s_compile (cache, "x"), GPB_ORIGIN_SHARED);
    context.compiler = "cc 1";
    ck_assert_int_eq (s_compile (cache, "x"), GPB_ORIGIN_SHARED);

    gpb_kernel_t *kernel = s_kernel ("x", "");
    gpb_error_t error;
    gpb_module_t *module;
    gpb_function_t *function;
    gpb_function_info_t info;
    gpb_origin_t origin = GPB_ORIGIN_SHARED;
    ck_assert_ok (gpb_compile (kernel, "cuda", &s_operations, &context, cache, &module, &function,
                               &info, &origin, &error));
    ck_assert_int_eq (origin, GPB_ORIGIN_COMPILED);
    s_unload (&module);
    gpb_kernel_destroy (&kernel);
    gpb_cache_destroy (&cache);
    gpb_test_cache_teardown ();
}
END_TEST

START_TEST (test_what_does_not_compile_is_said_in_the_compilers_words)
{
    gpb_context_t context;
    s_setup (&context);
    gpb_cache_t *cache = gpb_test_cache_new (MEGABYTE);
    gpb_error_t error;
    gpb_module_t *module = NULL;
    gpb_function_t *function;
    gpb_function_info_t info;
    gpb_kernel_t *kernel = s_kernel ("syntax error", "");
    ck_assert_refused (gpb_compile (kernel, "opencl", &s_operations, &context, cache, &module,
                                    &function, &info, NULL, &error),
                       GPB_INVALID_ARGUMENT, "kernel \"k\": k.c:1: that is wrong");
    gpb_kernel_destroy (&kernel);
    kernel = s_kernel ("x", "entry = \"missing\";");
    ck_assert_refused (gpb_compile (kernel, "opencl", &s_operations, &context, cache, &module,
                                    &function, &info, NULL, &error),
                       GPB_NOT_FOUND, "kernel \"k\": there is no entry \"missing\"");
    ck_assert_int_eq (context.unloaded, 1);
    ck_assert_int_eq (gpb_test_cache_each (NULL), 0);
    gpb_kernel_destroy (&kernel);
    gpb_cache_destroy (&cache);
    gpb_test_cache_teardown ();
}
END_TEST

START_TEST (test_where_nothing_may_be_compiled_what_is_compiled_is_found)
{
    gpb_context_t context;
    s_setup (&context);
    gpb_cache_t *cache = gpb_test_cache_new (MEGABYTE);
    ck_assert_int_eq (s_compile (cache, "x"), GPB_ORIGIN_COMPILED);
    cache = s_next_process (cache);
    gpb_cache_forbid_compiling (cache);
    ck_assert_int_eq (s_compile (cache, "x"), GPB_ORIGIN_DISK);
    ck_assert_int_eq (s_compile (cache, "x"), GPB_ORIGIN_SHARED);
    gpb_error_t error;
    gpb_module_t *module = NULL;
    gpb_function_t *function;
    gpb_function_info_t info;
    gpb_kernel_t *kernel = s_kernel ("y", "");
    for (int round = 0; round < 2; round++)
        ck_assert_refused (gpb_compile (kernel, "opencl", &s_operations, &context, cache, &module,
                                        &function, &info, NULL, &error),
                           GPB_FAILED_PRECONDITION, "kernel \"k\": k.c is a source");
    ck_assert_int_eq (context.compiled, 1);
    gpb_kernel_destroy (&kernel);
    gpb_cache_destroy (&cache);
    gpb_test_cache_teardown ();
}
END_TEST

START_TEST (test_only_text_is_kept)
{
    gpb_context_t context;
    s_setup (&context);
    gpb_cache_t *cache = gpb_test_cache_new (MEGABYTE);
    gpb_error_t error = { GPB_OK, "" };
    gpb_kernel_t *kernel = gpb_kernel_parse (
        "id = \"k\"; sources = { ptx = \"k.ptx\"; }; global = [ 1 ]; parameters = ("
        "{ name = \"x\"; direction = \"out\"; type = \"u8\"; count = 1; } );",
        "ptx", &error);
    ck_assert_msg (kernel != NULL, "%s", error.text);
    for (int round = 0; round < 2; round++) {
        gpb_module_t *module;
        gpb_function_t *function;
        gpb_function_info_t info;
        gpb_origin_t origin = GPB_ORIGIN_SHARED;
        ck_assert_ok (gpb_compile (kernel, "cuda", &s_operations, &context, cache, &module,
                                   &function, &info, &origin, &error));
        ck_assert_int_eq (origin, GPB_ORIGIN_COMPILED);
        s_unload (&module);
    }
    ck_assert_int_eq (gpb_test_cache_each (NULL), 0);
    gpb_kernel_destroy (&kernel);
    gpb_cache_destroy (&cache);
    gpb_test_cache_teardown ();
}
END_TEST

START_TEST (test_without_a_folder_the_process_remembers)
{
    gpb_context_t context;
    s_setup (&context);
    gpb_error_t error;
    const char *const directories [] = { NULL, "" };
    for (size_t index = 0; index < 2; index++) {
        gpb_cache_t *cache = gpb_cache_new (directories [index], MEGABYTE, &error);
        ck_assert_ptr_nonnull (cache);
        ck_assert_ok (error.status);
        ck_assert_int_eq (s_compile (cache, "x"), index ? GPB_ORIGIN_SHARED : GPB_ORIGIN_COMPILED);
        ck_assert_int_eq (s_compile (cache, "x"), GPB_ORIGIN_SHARED);
        gpb_cache_destroy (&cache);
    }
    ck_assert_int_eq (context.compiled, 1);
    ck_assert_int_eq (s_compile (NULL, "x"), GPB_ORIGIN_COMPILED);
    //  A folder that works now gets what the process has, for the next one.
    gpb_cache_t *cache = gpb_test_cache_new (MEGABYTE);
    ck_assert_int_eq (s_compile (cache, "x"), GPB_ORIGIN_SHARED);
    cache = s_next_process (cache);
    ck_assert_int_eq (s_compile (cache, "x"), GPB_ORIGIN_DISK);
    ck_assert_int_eq (gpb_test_cache_each (NULL), 1);
    gpb_cache_destroy (&cache);
    gpb_test_cache_teardown ();
}
END_TEST

START_TEST (test_a_backend_without_binaries_compiles_each_time)
{
    gpb_context_t context;
    s_setup (&context);
    gpb_cache_t *cache = gpb_test_cache_new (MEGABYTE);
    for (int round = 0; round < 2; round++)
        ck_assert_int_eq (s_compile_with (&s_operations_without_binary, cache, "x", ""),
                          GPB_ORIGIN_COMPILED);
    ck_assert_int_eq (gpb_test_cache_each (NULL), 0);
    gpb_cache_destroy (&cache);
    gpb_test_cache_teardown ();
}
END_TEST

static void
s_remove (const char *path)
{
    unlink (path);
}

START_TEST (test_an_entry_that_the_driver_refuses_is_compiled_anew)
{
    gpb_context_t context;
    s_setup (&context);
    gpb_cache_t *cache = gpb_test_cache_new (MEGABYTE);
    ck_assert_int_eq (s_compile (cache, "x"), GPB_ORIGIN_COMPILED);
    //  Of memory, and of the folder.
    for (int round = 0; round < 2; round++) {
        if (round)
            cache = s_next_process (cache);
        context.refuses_binaries = true;
        ck_assert_int_eq (s_compile (cache, "x"), GPB_ORIGIN_COMPILED);
        context.refuses_binaries = false;
        ck_assert_int_eq (s_compile (cache, "x"), GPB_ORIGIN_SHARED);
        if (round)
            cache = s_next_process (cache);
        context.binaries_lack_entry = true;
        ck_assert_int_eq (s_compile (cache, "x"), GPB_ORIGIN_COMPILED);
        context.binaries_lack_entry = false;
        ck_assert_int_eq (s_compile (cache, "x"), GPB_ORIGIN_SHARED);
    }
    uint64_t hits, misses;
    gpb_cache_figures (cache, &hits, &misses);
    ck_assert_uint_eq (hits, 0);
    ck_assert_uint_eq (misses, 1);
    ck_assert_int_eq (gpb_test_cache_each (NULL), 1);
    gpb_cache_destroy (&cache);
    gpb_test_cache_teardown ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------

START_TEST (test_each_allocation_that_fails_is_said_and_nothing_leaks)
{
    gpb_context_t context;
    s_setup (&context);
    gpb_kernel_t *kernel = s_kernel ("x", "");
    gpb_error_t error;
    gpb_alloc_fail (0, 0);
    ck_assert_ptr_null (gpb_cache_new (gpb_test_cache_directory, MEGABYTE, &error));
    gpb_alloc_fail (-1, 0);
    ck_assert_refused (error.status, GPB_RESOURCE_EXHAUSTED, "out of memory");
    gpb_alloc_fail (1, 0);
    ck_assert_ptr_null (gpb_cache_new (gpb_test_cache_directory, MEGABYTE, &error));
    gpb_alloc_fail (-1, 0);
    ck_assert_refused (error.status, GPB_RESOURCE_EXHAUSTED, "out of memory");
    //  First with nothing kept, then with the entry in the folder, then in memory.
    for (int round = 0; round < 3; round++) {
        gpb_cache_t *first = gpb_test_cache_new (MEGABYTE);
        s_compile (first, "x");
        gpb_cache_destroy (&first);
        if (round == 0)
            gpb_test_cache_each (s_remove);
        int64_t failing = 0;
        int failed = 0;
        uint64_t made;
        do {
            gpb_cache_t *cache = gpb_test_cache_new (MEGABYTE);
            if (round < 2)
                cache = s_next_process (cache);
            gpb_module_t *module = NULL;
            gpb_function_t *function;
            gpb_function_info_t info;
            gpb_alloc_fail (failing++, 0);
            gpb_status_t status = gpb_compile (kernel, "opencl", &s_operations, &context, cache,
                                               &module, &function, &info, NULL, &error);
            made = gpb_alloc_fail (-1, 0);
            if (status == GPB_OK)
                s_unload (&module);
            else {
                ck_assert_refused (status, GPB_RESOURCE_EXHAUSTED, "kernel \"k\": out of memory");
                failed++;
            }
            if (round == 0)
                gpb_test_cache_each (s_remove);
            else
                ck_assert_int_ne (s_compile (cache, "x"), GPB_ORIGIN_COMPILED);
            gpb_cache_destroy (&cache);
        } while (failing <= (int64_t) made);
        //  Building without what is kept needs memory; with it, the code is built where it fails.
        ck_assert_int_eq (failed, round == 0 ? 2 : 0);
    }
    ck_assert_int_eq (gpb_test_cache_each (NULL), 1);
    gpb_kernel_destroy (&kernel);
    gpb_test_cache_teardown ();
}
END_TEST

GPB_TEST_MAIN ("gpb_compile", 60, test_what_was_compiled_once_is_not_compiled_again,
               test_a_persistent_kernel_is_kept_too_and_gives_what_handles_one_message,
               test_the_key_holds_all_that_the_binary_depends_on,
               test_what_does_not_compile_is_said_in_the_compilers_words,
               test_where_nothing_may_be_compiled_what_is_compiled_is_found, test_only_text_is_kept,
               test_without_a_folder_the_process_remembers,
               test_a_backend_without_binaries_compiles_each_time,
               test_an_entry_that_the_driver_refuses_is_compiled_anew,
               test_each_allocation_that_fails_is_said_and_nothing_leaks)
