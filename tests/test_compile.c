//  Tests of gpb_compile: what is compiled once is not compiled again, and nothing that happens to
//  the cache's folder reaches a request. The backend is a table of this file's: its "compiler"
//  turns source into "compiled: SOURCE", and knows what it was asked for.

#include "gpb_alloc.h"
#include "gpb_compile.h"
#include "gpb_test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

//  ---------------------------------------------------------------------------------------------------------
//  The backend

struct gpb_function {
    int unused;
};

struct gpb_module {
    gpb_function_t function;
    char *text;    //  "compiled: SOURCE"
};

struct gpb_context {
    const char *compiler;     //  what `compiler` says
    bool refuses_binaries;    //  as a driver that was replaced does
    bool has_no_binary;
    bool binaries_lack_entry;
    int compiled, loaded, unloaded;
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
    snprintf (copy, size, "%s%.*s", binary ? "" : s_mark, (int)code->size, text);
    module->text = copy;
    module->function.unused = binary;
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
    (void)module, (void)data_p, (void)size_p;
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
        || (s_context->binaries_lack_entry && module->function.unused))
        return gpb_error_set (error, GPB_NOT_FOUND, "there is no entry \"%s\"", entry);
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

#define MEGABYTE (UINT64_C (1) << 20)

static char s_root [256];
static char s_directory [300];    //  the cache's, in s_root; not there at first

static void
s_setup (gpb_context_t *context)
{
    *context = (gpb_context_t){ .compiler = "cc 1" };
    s_context = context;
    const char *base = getenv ("TMPDIR");
    snprintf (s_root, sizeof s_root, "%s/gpb-compile-XXXXXX", base ? base : "/tmp");
    ck_assert_ptr_nonnull (mkdtemp (s_root));
    snprintf (s_directory, sizeof s_directory, "%s/a/cache", s_root);
}

static void
s_teardown (void)
{
    char command [300];
    snprintf (command, sizeof command, "rm -rf '%s'", s_root);
    ck_assert_int_eq (system (command), 0);
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

static gpb_cache_t *
s_cache (uint64_t max_size)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_cache_t *cache = gpb_cache_new (s_directory, max_size, &error);
    ck_assert_ptr_nonnull (cache);
    ck_assert_ok (error.status);
    return cache;
}

//  Compiles, expects that it works, and that the module is of this source. Says whether it came
//  from the cache.
static bool
s_compile_with (const gpb_backend_operations_t *operations, gpb_cache_t *cache, const char *source,
                const char *more)
{
    gpb_kernel_t *kernel = s_kernel (source, more);
    gpb_error_t error = { GPB_OK, "" };
    gpb_module_t *module = NULL;
    gpb_function_t *function = NULL;
    gpb_function_info_t info = { 0 };
    bool cached = false;
    ck_assert_ok (gpb_compile (kernel, "opencl", operations, s_context, cache, &module, &function,
                               &info, &cached, &error));
    ck_assert_ptr_eq (function, &module->function);
    ck_assert_uint_eq (info.max_work_group_size, 256);
    size_t length = strlen (module->text), source_length = strlen (source);
    ck_assert_int_eq (strncmp (module->text, s_mark, strlen (s_mark)), 0);
    ck_assert_str_eq (module->text + length - source_length, source);
    s_unload (&module);
    gpb_kernel_destroy (&kernel);
    return cached;
}

static bool
s_compile (gpb_cache_t *cache, const char *source)
{
    return s_compile_with (&s_operations, cache, source, "");
}

//  Calls visit for every file of the cache's folder; returns how many there are.
static int
s_each_entry (void (*visit) (const char *path))
{
    DIR *directory = opendir (s_directory);
    ck_assert_ptr_nonnull (directory);
    int count = 0;
    const struct dirent *entry;
    while ((entry = readdir (directory))) {
        if (entry->d_name [0] == '.')
            continue;
        char path [600];
        snprintf (path, sizeof path, "%s/%s", s_directory, entry->d_name);
        if (visit)
            visit (path);
        count++;
    }
    closedir (directory);
    return count;
}

//  ---------------------------------------------------------------------------------------------------------

START_TEST (test_what_was_compiled_once_is_not_compiled_again)
{
    gpb_context_t context;
    s_setup (&context);
    gpb_cache_t *cache = s_cache (MEGABYTE);
    struct stat about;
    ck_assert_int_eq (stat (s_directory, &about), 0);
    ck_assert_uint_eq (about.st_mode & 0777, 0700);
    ck_assert (!s_compile (cache, "one"));
    ck_assert (s_compile (cache, "one"));
    gpb_cache_destroy (&cache);
    ck_assert_ptr_null (cache);
    cache = s_cache (MEGABYTE);    //  as the next process does
    ck_assert (s_compile (cache, "one"));
    ck_assert (!s_compile (cache, "two"));
    ck_assert_int_eq (context.compiled, 2);
    ck_assert_int_eq (context.loaded, 2);
    uint64_t hits, misses;
    gpb_cache_figures (cache, &hits, &misses);
    ck_assert_uint_eq (hits, 1);
    ck_assert_uint_eq (misses, 1);
    ck_assert_int_eq (s_each_entry (NULL), 2);
    gpb_cache_destroy (&cache);
    s_teardown ();
}
END_TEST

START_TEST (test_the_key_holds_all_that_the_binary_depends_on)
{
    gpb_context_t context;
    s_setup (&context);
    gpb_cache_t *cache = s_cache (MEGABYTE);
    const char *const choices [] = { "",
                                     "optimize = 0;",
                                     "optimize = 3;",
                                     "debug = true;",
                                     "options = \"-DX\";",
                                     "options = \"-DY\";",
                                     "arch = \"-DX\";",
                                     "arch = \"sm_90\";" };
    const size_t count = sizeof choices / sizeof choices [0];
    for (int round = 0; round < 2; round++)
        for (size_t index = 0; index < count; index++)
            ck_assert_msg (s_compile_with (&s_operations, cache, "x", choices [index])
                               == (round == 1),
                           "%s", choices [index]);
    context.compiler = "cc 2";
    ck_assert (!s_compile (cache, "x"));
    ck_assert (s_compile (cache, "x"));
    context.compiler = "cc 1";
    ck_assert (s_compile (cache, "x"));

    gpb_kernel_t *kernel = s_kernel ("x", "");
    gpb_error_t error;
    gpb_module_t *module;
    gpb_function_t *function;
    gpb_function_info_t info;
    bool cached = true;
    ck_assert_ok (gpb_compile (kernel, "cuda", &s_operations, &context, cache, &module, &function,
                               &info, &cached, &error));
    ck_assert (!cached);
    s_unload (&module);
    gpb_kernel_destroy (&kernel);
    gpb_cache_destroy (&cache);
    s_teardown ();
}
END_TEST

START_TEST (test_what_does_not_compile_is_said_in_the_compilers_words)
{
    gpb_context_t context;
    s_setup (&context);
    gpb_cache_t *cache = s_cache (MEGABYTE);
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
    ck_assert_int_eq (s_each_entry (NULL), 0);
    gpb_kernel_destroy (&kernel);
    gpb_cache_destroy (&cache);
    s_teardown ();
}
END_TEST

START_TEST (test_only_text_is_kept)
{
    gpb_context_t context;
    s_setup (&context);
    gpb_cache_t *cache = s_cache (MEGABYTE);
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
        bool cached = true;
        ck_assert_ok (gpb_compile (kernel, "cuda", &s_operations, &context, cache, &module,
                                   &function, &info, &cached, &error));
        ck_assert (!cached);
        s_unload (&module);
    }
    ck_assert_int_eq (s_each_entry (NULL), 0);
    gpb_kernel_destroy (&kernel);
    gpb_cache_destroy (&cache);
    s_teardown ();
}
END_TEST

START_TEST (test_without_a_folder_all_compiles)
{
    gpb_context_t context;
    s_setup (&context);
    gpb_error_t error;
    const char *const directories [] = { NULL, "" };
    for (size_t index = 0; index < 2; index++) {
        gpb_cache_t *cache = gpb_cache_new (directories [index], MEGABYTE, &error);
        ck_assert_ptr_nonnull (cache);
        ck_assert_ok (error.status);
        ck_assert (!s_compile (cache, "x"));
        ck_assert (!s_compile (cache, "x"));
        gpb_cache_destroy (&cache);
    }
    ck_assert (!s_compile (NULL, "x"));
    gpb_cache_t *cache = s_cache (MEGABYTE);
    ck_assert (!s_compile_with (&s_operations_without_binary, cache, "x", ""));
    ck_assert (!s_compile_with (&s_operations_without_binary, cache, "x", ""));
    ck_assert_int_eq (s_each_entry (NULL), 0);
    gpb_cache_destroy (&cache);
    s_teardown ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Entries that do not fit

static void
s_flip_a_byte_of_the_binary (const char *path)
{
    int fd = open (path, O_RDWR);
    char byte;
    ck_assert_int_eq (pread (fd, &byte, 1, 90), 1);
    byte ^= 1;
    ck_assert_int_eq (pwrite (fd, &byte, 1, 90), 1);
    close (fd);
}

static void
s_flip_a_byte_of_the_key (const char *path)
{
    int fd = open (path, O_RDWR);
    char byte;
    ck_assert_int_eq (pread (fd, &byte, 1, 10), 1);
    byte ^= 1;
    ck_assert_int_eq (pwrite (fd, &byte, 1, 10), 1);
    close (fd);
}

static void
s_remove (const char *path)
{
    unlink (path);
}

static void
s_cut (const char *path)
{
    struct stat about;
    ck_assert_int_eq (stat (path, &about), 0);
    ck_assert_int_eq (truncate (path, about.st_size - 1), 0);
}

static void
s_cut_the_header (const char *path)
{
    ck_assert_int_eq (truncate (path, 40), 0);
}

static void
s_empty (const char *path)
{
    ck_assert_int_eq (truncate (path, 0), 0);
}

static void
s_lengthen (const char *path)
{
    int fd = open (path, O_WRONLY | O_APPEND);
    ck_assert_int_eq (write (fd, "x", 1), 1);
    close (fd);
}

static void
s_let_others_write (const char *path)
{
    ck_assert_int_eq (chmod (path, 0666), 0);
}

static void
s_make_fifo (const char *path)
{
    unlink (path);
    ck_assert_int_eq (mkfifo (path, 0600), 0);
}

static void
s_make_link (const char *path)
{
    char target [800];
    snprintf (target, sizeof target, "%s/elsewhere", s_root);
    rename (path, target);
    ck_assert_int_eq (symlink (target, path), 0);
}

START_TEST (test_an_entry_that_is_not_whole_is_compiled_anew)
{
    gpb_context_t context;
    s_setup (&context);
    static void (*const damages []) (const char *path) = {
        s_flip_a_byte_of_the_binary,
        s_flip_a_byte_of_the_key,
        s_cut,
        s_cut_the_header,
        s_empty,
        s_lengthen,
        s_let_others_write,
        s_make_fifo,
        s_make_link,
    };
    gpb_cache_t *cache = s_cache (MEGABYTE);
    ck_assert (!s_compile (cache, "a source that is long enough"));
    for (size_t index = 0; index < sizeof damages / sizeof damages [0]; index++) {
        ck_assert_int_eq (s_each_entry (damages [index]), 1);
        ck_assert_msg (!s_compile (cache, "a source that is long enough"), "damage %zu", index);
        ck_assert_msg (s_compile (cache, "a source that is long enough"), "damage %zu", index);
        ck_assert_int_eq (s_each_entry (NULL), 1);
    }
    gpb_cache_destroy (&cache);
    s_teardown ();
}
END_TEST

START_TEST (test_an_entry_that_the_driver_refuses_is_compiled_anew)
{
    gpb_context_t context;
    s_setup (&context);
    gpb_cache_t *cache = s_cache (MEGABYTE);
    ck_assert (!s_compile (cache, "x"));
    ck_assert (s_compile (cache, "x"));
    context.refuses_binaries = true;
    ck_assert (!s_compile (cache, "x"));
    context.refuses_binaries = false;
    ck_assert (s_compile (cache, "x"));
    context.binaries_lack_entry = true;
    ck_assert (!s_compile (cache, "x"));
    uint64_t hits, misses;
    gpb_cache_figures (cache, &hits, &misses);
    ck_assert_uint_eq (hits, 2);
    ck_assert_uint_eq (misses, 3);
    gpb_cache_destroy (&cache);
    s_teardown ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Folders that do not work

START_TEST (test_a_folder_that_cannot_be_used_costs_the_compile_only)
{
    gpb_context_t context;
    s_setup (&context);
    char file [400], endless [5000];
    snprintf (file, sizeof file, "%s/file", s_root);
    fclose (fopen (file, "w"));
    char below [500];
    snprintf (below, sizeof below, "%s/cache", file);
    memset (endless, 'x', sizeof endless);
    endless [0] = '/';
    endless [sizeof endless - 1] = 0;
    const char *const directories [] = { file, below, endless, "/proc/no/such" };
    for (size_t index = 0; index < 4; index++) {
        gpb_error_t error;
        gpb_cache_t *cache = gpb_cache_new (directories [index], MEGABYTE, &error);
        ck_assert_ptr_nonnull (cache);
        ck_assert_refused (error.status, GPB_FAILED_PRECONDITION, "no compile cache in /");
        ck_assert (!s_compile (cache, "x"));
        gpb_cache_destroy (&cache);
    }
    //  One that is there and takes no file, whoever asks.
    gpb_error_t error;
    gpb_cache_t *cache = gpb_cache_new ("/proc/self", MEGABYTE, &error);
    ck_assert_ok (error.status);
    ck_assert (!s_compile (cache, "x"));
    ck_assert (!s_compile (cache, "x"));
    gpb_cache_destroy (&cache);
    s_teardown ();
}
END_TEST

START_TEST (test_a_folder_that_others_can_write_to_is_not_trusted)
{
    gpb_context_t context;
    s_setup (&context);
    gpb_cache_t *cache = s_cache (MEGABYTE);
    ck_assert (!s_compile (cache, "x"));
    gpb_cache_destroy (&cache);
    const mode_t modes [] = { 0777, 0770, 0702 };
    for (size_t index = 0; index < 3; index++) {
        gpb_error_t error;
        ck_assert_int_eq (chmod (s_directory, modes [index]), 0);
        cache = gpb_cache_new (s_directory, MEGABYTE, &error);
        ck_assert_refused (error.status, GPB_FAILED_PRECONDITION, "others can write there");
        ck_assert (!s_compile (cache, "x"));
        gpb_cache_destroy (&cache);
    }
    ck_assert_int_eq (chmod (s_directory, 0755), 0);
    cache = s_cache (MEGABYTE);
    ck_assert (s_compile (cache, "x"));
    gpb_cache_destroy (&cache);
    s_teardown ();
}
END_TEST

START_TEST (test_a_full_disk_leaves_nothing_behind)
{
    gpb_context_t context;
    s_setup (&context);
    gpb_cache_t *cache = s_cache (MEGABYTE);
    //  A write beyond this limit fails as it does on a full disk.
    signal (SIGXFSZ, SIG_IGN);
    struct rlimit before, limit;
    getrlimit (RLIMIT_FSIZE, &before);
    limit = before;
    for (rlim_t room = 0; room < 120; room += 20) {
        limit.rlim_cur = room;
        ck_assert_int_eq (setrlimit (RLIMIT_FSIZE, &limit), 0);
        bool cached = s_compile (cache, "a source that is long enough for all of these limits");
        ck_assert_int_eq (setrlimit (RLIMIT_FSIZE, &before), 0);
        ck_assert (!cached);
        ck_assert_int_eq (s_each_entry (NULL), 0);
    }
    ck_assert (!s_compile (cache, "a source that is long enough for all of these limits"));
    ck_assert (s_compile (cache, "a source that is long enough for all of these limits"));
    gpb_cache_destroy (&cache);
    s_teardown ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  The bound

static uint64_t s_total;

static void
s_add_size (const char *path)
{
    struct stat about;
    if (stat (path, &about) == 0)
        s_total += (uint64_t)about.st_size;
}

static void
s_age (const char *path)
{
    struct stat about;
    ck_assert_int_eq (stat (path, &about), 0);
    about.st_mtim.tv_sec -= 100;
    const struct timespec times [2] = { about.st_mtim, about.st_mtim };
    ck_assert_int_eq (utimensat (AT_FDCWD, path, times, 0), 0);
}

START_TEST (test_entries_used_longest_ago_go_first)
{
    gpb_context_t context;
    s_setup (&context);
    gpb_cache_t *cache = s_cache (MEGABYTE);
    ck_assert (!s_compile (cache, "1"));
    s_total = 0;
    ck_assert_int_eq (s_each_entry (s_add_size), 1);
    uint64_t entry_size = s_total;
    gpb_cache_destroy (&cache);

    cache = s_cache (3 * entry_size);
    ck_assert_int_eq (s_each_entry (s_age), 1);
    ck_assert (!s_compile (cache, "2"));
    ck_assert_int_eq (s_each_entry (s_age), 2);
    ck_assert (!s_compile (cache, "3"));
    ck_assert_int_eq (s_each_entry (s_age), 3);
    ck_assert (s_compile (cache, "1"));    //  now 2 is the one used longest ago
    ck_assert (!s_compile (cache, "4"));
    ck_assert_int_eq (s_each_entry (NULL), 3);
    ck_assert (s_compile (cache, "1"));
    ck_assert (s_compile (cache, "3"));
    ck_assert (s_compile (cache, "4"));
    ck_assert (!s_compile (cache, "2"));
    gpb_cache_destroy (&cache);

    //  One that would not fit alone is not kept, and pushes nothing out.
    cache = s_cache (entry_size - 1);
    ck_assert (!s_compile (cache, "5"));
    ck_assert_int_eq (s_each_entry (NULL), 3);
    gpb_cache_destroy (&cache);
    s_teardown ();
}
END_TEST

START_TEST (test_what_a_dead_writer_left_is_removed_and_what_is_not_ours_stays)
{
    gpb_context_t context;
    s_setup (&context);
    gpb_cache_t *cache = s_cache (MEGABYTE);
    static const char key [] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const char *const endings [] = { ".1-2-3", ".4-5-6", "-notes" };
    char path [3][500];
    for (size_t index = 0; index < 3; index++) {
        snprintf (path [index], sizeof path [index], "%s/%s%s", s_directory, key, endings [index]);
        fclose (fopen (path [index], "w"));
        //  The second one is being written right now.
        const struct timespec old [2] = { { 1000, 0 }, { 1000, 0 } };
        if (index != 1)
            ck_assert_int_eq (utimensat (AT_FDCWD, path [index], old, 0), 0);
    }
    ck_assert (!s_compile (cache, "x"));
    ck_assert_int_ne (access (path [0], F_OK), 0);
    ck_assert_int_eq (access (path [1], F_OK), 0);
    ck_assert_int_eq (access (path [2], F_OK), 0);
    gpb_cache_destroy (&cache);
    s_teardown ();
}
END_TEST

//  A process that compiles a few sources again and again, in a folder too small for all of them.
static int
s_be_one_of_many (unsigned seed, uint64_t max_size)
{
    srand (seed);
    gpb_cache_t *cache = s_cache (max_size);
    for (int round = 0; round < 200; round++) {
        char source [600];
        int number = rand () % 6;
        memset (source, 'a' + number, sizeof source);
        source [400 + number * 30] = 0;
        s_compile (cache, source);    //  expects that the module is of this source
    }
    uint64_t hits, misses;
    gpb_cache_figures (cache, &hits, &misses);
    gpb_cache_destroy (&cache);
    return hits > 0 && hits + misses == 200 ? 0 : 1;
}

START_TEST (test_processes_share_a_folder)
{
    gpb_context_t context;
    s_setup (&context);
    enum { PROCESSES = 6 };
    gpb_cache_t *cache = s_cache (MEGABYTE);
    ck_assert (!s_compile (cache, "x"));
    gpb_cache_destroy (&cache);
    s_total = 0;
    s_each_entry (s_add_size);
    const uint64_t max_size = 5 * (s_total + 500);
    pid_t children [PROCESSES];
    for (unsigned index = 0; index < PROCESSES; index++) {
        children [index] = fork ();
        ck_assert_int_ge (children [index], 0);
        if (children [index] == 0)
            _exit (s_be_one_of_many (index, max_size));
    }
    for (unsigned index = 0; index < PROCESSES; index++) {
        int status;
        ck_assert_int_eq (waitpid (children [index], &status, 0), children [index]);
        ck_assert_msg (WIFEXITED (status) && WEXITSTATUS (status) == 0, "process %u: %d", index,
                       status);
    }
    //  Whoever keeps something next brings the folder down to its size.
    cache = s_cache (max_size);
    s_compile (cache, "the last one");
    s_total = 0;
    ck_assert_int_gt (s_each_entry (s_add_size), 0);
    ck_assert_uint_le (s_total, max_size);
    gpb_cache_destroy (&cache);
    s_teardown ();
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
    ck_assert_ptr_null (gpb_cache_new (s_directory, MEGABYTE, &error));
    gpb_alloc_fail (-1, 0);
    ck_assert_refused (error.status, GPB_RESOURCE_EXHAUSTED, "out of memory");
    gpb_cache_t *cache = s_cache (MEGABYTE);
    //  First with an empty folder, then with the entry in it.
    for (int round = 0; round < 2; round++) {
        int64_t failing = 0;
        int failed = 0;
        uint64_t made;
        do {
            gpb_module_t *module = NULL;
            gpb_function_t *function;
            gpb_function_info_t info;
            bool cached;
            gpb_alloc_fail (failing++, 0);
            gpb_status_t status = gpb_compile (kernel, "opencl", &s_operations, &context, cache,
                                               &module, &function, &info, &cached, &error);
            made = gpb_alloc_fail (-1, 0);
            if (status == GPB_OK)
                s_unload (&module);
            else {
                ck_assert_refused (status, GPB_RESOURCE_EXHAUSTED, "kernel \"k\": out of memory");
                failed++;
            }
            if (round == 0)
                s_each_entry (s_remove);
        } while (failing <= (int64_t)made);
        //  Building without the cache needs memory; with it, the code is built where it fails.
        ck_assert_int_eq (failed, round == 0 ? 2 : 0);
        ck_assert (!s_compile (cache, "x") || round == 1);
    }
    gpb_cache_destroy (&cache);
    gpb_kernel_destroy (&kernel);
    s_teardown ();
}
END_TEST

START_TEST (test_the_default_folder_is_where_xdg_says)
{
    setenv ("XDG_CACHE_HOME", "/x/cache", 1);
    setenv ("HOME", "/home/someone", 1);
    char *directory = gpb_cache_default_directory ();
    ck_assert_str_eq (directory, "/x/cache/gpb");
    gpb_free (directory);
    const char *const ignored [] = { "", "relative" };
    for (size_t index = 0; index < 2; index++) {
        setenv ("XDG_CACHE_HOME", ignored [index], 1);
        directory = gpb_cache_default_directory ();
        ck_assert_str_eq (directory, "/home/someone/.cache/gpb");
        gpb_free (directory);
    }
    unsetenv ("XDG_CACHE_HOME");
    unsetenv ("HOME");
    ck_assert_ptr_null (gpb_cache_default_directory ());
}
END_TEST

GPB_TEST_MAIN ("gpb_compile", 60, test_what_was_compiled_once_is_not_compiled_again,
               test_the_key_holds_all_that_the_binary_depends_on,
               test_what_does_not_compile_is_said_in_the_compilers_words, test_only_text_is_kept,
               test_without_a_folder_all_compiles, test_an_entry_that_is_not_whole_is_compiled_anew,
               test_an_entry_that_the_driver_refuses_is_compiled_anew,
               test_a_folder_that_cannot_be_used_costs_the_compile_only,
               test_a_folder_that_others_can_write_to_is_not_trusted,
               test_a_full_disk_leaves_nothing_behind, test_entries_used_longest_ago_go_first,
               test_what_a_dead_writer_left_is_removed_and_what_is_not_ours_stays,
               test_processes_share_a_folder,
               test_each_allocation_that_fails_is_said_and_nothing_leaks,
               test_the_default_folder_is_where_xdg_says)
