//  Tests that a kernel compiled once is compiled never again: by another device, by a
//  registration's second round, by a node that is started again, by a thread that comes at the same
//  time, by the next process. The backend is a table of this file's, which counts what it is asked
//  to compile; the last test has PoCL do the same.

#include "gpb_alloc.h"
#include "gpb_binaries.h"
#include "gpb_programs.h"
#include "gpb_test.h"
#include "gpb_test_actor.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

//  ---------------------------------------------------------------------------------------------------------
//  The backend

struct gpb_function {
    int unused;
};

struct gpb_module {
    gpb_function_t function;
};

static atomic_uint s_builds, s_loads, s_modules;
//  A text is compiled when so many threads wait for it.
static atomic_uint s_awaited;

static gpb_status_t
s_build (gpb_context_t *context, const gpb_code_t *code, gpb_module_t **module_p,
         gpb_error_t *build_error)
{
    (void) context;
    if (code->kind == GPB_CODE_BINARY)
        atomic_fetch_add (&s_loads, 1);
    else {
        atomic_fetch_add (&s_builds, 1);
        gpb_binaries_t *binaries = gpb_binaries_of_process ();
        while (gpb_binaries_waiting (binaries) < atomic_load (&s_awaited))
            sched_yield ();
        gpb_binaries_release (&binaries);
        if (strstr (code->data, "this is no C"))
            return gpb_error_set (build_error, GPB_INVALID_ARGUMENT, "line 1: that is wrong");
    }
    *module_p = gpb_alloc (1, sizeof **module_p);
    atomic_fetch_add (&s_modules, 1);
    return GPB_OK;
}

static gpb_status_t
s_binary (gpb_module_t *module, void **data_p, size_t *size_p, gpb_error_t *binary_error)
{
    (void) module;
    (void) binary_error;
    *data_p = gpb_strdup ("binary");
    *size_p = 6;
    return GPB_OK;
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
    atomic_fetch_sub (&s_modules, 1);
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

#define DEVICES 3

static const gpb_shared_context_t s_shared [DEVICES] = {
    { .operations = &s_operations, .backend = "table", .index = 0 },
    { .operations = &s_operations, .backend = "table", .index = 1 },
    { .operations = &s_operations, .backend = "table", .index = 2 },
};

//  ---------------------------------------------------------------------------------------------------------
//  Devices

static gpb_programs_t *s_devices [DEVICES];

static gpb_programs_t *
s_device (unsigned index, const char *cache_directory)
{
    gpb_error_t error;
    char path [4096];
    snprintf (path, sizeof path, "%s/tests/packages", getenv ("GPB_SOURCE_DIR"));
    gpb_programs_t *device =
        gpb_programs_new (&s_shared [index], path, cache_directory, 1 << 20, &error);
    ck_assert_msg (device != NULL, "%s", error.text);
    return device;
}

static void
s_start (const char *cache_directory)
{
    for (unsigned index = 0; index < DEVICES; index++)
        s_devices [index] = s_device (index, cache_directory);
}

static void
s_stop (void)
{
    for (unsigned index = 0; index < DEVICES; index++)
        gpb_programs_destroy (&s_devices [index]);
    ck_assert_uint_eq (s_modules, 0);
}

static void
s_assert_figures (const gpb_programs_t *device, unsigned compiled, unsigned from_disk,
                  unsigned shared, unsigned failed)
{
    const gpb_programs_figures_t *figures = gpb_programs_figures (device);
    ck_assert_uint_eq (figures->compiled, compiled);
    ck_assert_uint_eq (figures->from_disk, from_disk);
    ck_assert_uint_eq (figures->shared, shared);
    ck_assert_uint_eq (figures->failed, failed);
}

static void
s_lookup (gpb_programs_t *device, const char *id)
{
    gpb_error_t error;
    ck_assert_msg (gpb_programs_lookup (device, id, &error) != NULL, "%s", error.text);
}

static void
s_register (gpb_programs_t *device, const char *source, bool check_only)
{
    gpb_error_t error = { GPB_OK, "" };
    ck_assert_ok (gpb_programs_register (
        device,
        "id = \"mine\"; source = \"mine.c\"; global = [ \"1\" ]; parameters = ( { name = "
        "\"n\"; direction = \"scalar\"; type = \"i32\"; } );",
        source, true, check_only, &error));
}

//  ---------------------------------------------------------------------------------------------------------

START_TEST (test_a_second_device_loads_what_the_first_has_compiled)
{
    s_start ("none");
    for (unsigned index = 0; index < DEVICES; index++)
        s_lookup (s_devices [index], "add");
    ck_assert_uint_eq (s_builds, 1);
    ck_assert_uint_eq (s_loads, DEVICES - 1);
    s_assert_figures (s_devices [0], 1, 0, 0, 0);
    s_assert_figures (s_devices [1], 0, 0, 1, 0);
    s_lookup (s_devices [1], "add");    //  its own by now
    s_assert_figures (s_devices [1], 0, 0, 1, 0);
    s_lookup (s_devices [1], "negate");
    ck_assert_uint_eq (s_builds, 2);
    s_assert_figures (s_devices [1], 1, 0, 1, 0);
    s_stop ();
}
END_TEST

START_TEST (test_a_node_that_is_started_again_finds_what_it_had)
{
    for (int round = 0; round < 3; round++) {
        s_start ("none");
        s_lookup (s_devices [0], "add");
        s_assert_figures (s_devices [0], round == 0, 0, round != 0, 0);
        s_stop ();
    }
    ck_assert_uint_eq (s_builds, 1);
}
END_TEST

START_TEST (test_a_registration_compiles_in_its_first_round_only)
{
    s_start ("none");
    for (int check = 1; check >= 0; check--)
        for (unsigned index = 0; index < DEVICES; index++)
            s_register (s_devices [index], "one", check);
    ck_assert_uint_eq (s_builds, 1);
    s_assert_figures (s_devices [0], 1, 0, 1, 0);
    s_assert_figures (s_devices [1], 0, 0, 2, 0);
    //  Replaced by the same source, by another one, and by the first again.
    s_register (s_devices [0], "one", false);
    ck_assert_uint_eq (s_builds, 1);
    s_register (s_devices [0], "two", false);
    ck_assert_uint_eq (s_builds, 2);
    s_register (s_devices [0], "one", false);
    ck_assert_uint_eq (s_builds, 2);
    s_stop ();
}
END_TEST

START_TEST (test_a_device_remembers_what_does_not_compile)
{
    s_start ("none");
    gpb_error_t error;
    for (int round = 0; round < 3; round++) {
        ck_assert_ptr_null (gpb_programs_lookup (s_devices [0], "broken", &error));
        ck_assert_refused (error.status, GPB_FAILED_PRECONDITION, "line 1: that is wrong");
    }
    ck_assert_uint_eq (s_builds, 1);
    s_assert_figures (s_devices [0], 0, 0, 0, 1);
    s_stop ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  All devices at once

static gpb_error_t s_errors [DEVICES];

static void *
s_lookup_on_a_thread (void *argument)
{
    const char *id = argument;
    static atomic_uint taken;
    unsigned index = atomic_fetch_add (&taken, 1);
    gpb_error_set (&s_errors [index], GPB_OK, "%s", "");
    gpb_programs_lookup (s_devices [index], id, &s_errors [index]);
    return NULL;
}

static void
s_lookup_at_once (char *id)
{
    pthread_t threads [DEVICES];
    atomic_store (&s_awaited, DEVICES - 1);
    for (unsigned index = 0; index < DEVICES; index++)
        ck_assert_int_eq (pthread_create (&threads [index], NULL, s_lookup_on_a_thread, id), 0);
    for (unsigned index = 0; index < DEVICES; index++)
        pthread_join (threads [index], NULL);
    atomic_store (&s_awaited, 0);
}

START_TEST (test_devices_that_ask_at_once_wait_for_the_first)
{
    s_start ("none");
    char id [] = "add";
    s_lookup_at_once (id);
    ck_assert_uint_eq (s_builds, 1);
    ck_assert_uint_eq (s_loads, DEVICES - 1);
    uint64_t compiled = 0, shared = 0;
    for (unsigned index = 0; index < DEVICES; index++) {
        ck_assert_int_eq (s_errors [index].status, GPB_OK);
        compiled += gpb_programs_figures (s_devices [index])->compiled;
        shared += gpb_programs_figures (s_devices [index])->shared;
    }
    ck_assert_uint_eq (compiled, 1);
    ck_assert_uint_eq (shared, DEVICES - 1);
    s_stop ();
}
END_TEST

START_TEST (test_devices_that_ask_at_once_are_refused_in_the_same_words)
{
    s_start ("none");
    char id [] = "broken";
    s_lookup_at_once (id);
    ck_assert_uint_eq (s_builds, 1);
    for (unsigned index = 0; index < DEVICES; index++) {
        gpb_error_t error = s_errors [index];
        ck_assert_refused (error.status, GPB_FAILED_PRECONDITION,
                           "kernel \"broken\": line 1: that is wrong");
        s_assert_figures (s_devices [index], 0, 0, 0, 1);
    }
    s_stop ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  What a device's actor says of it

START_TEST (test_a_device_says_how_its_kernels_came)
{
    for (int round = 0; round < 2; round++) {
        gpb_test_actor_t device;
        gpb_test_actor_device (&device, "fake", NULL);
        gpb_client_t *client = gpb_test_actor_client (GPB_TEST_ACTOR_INPROC);
        const char data [4] = "abc";
        gpb_test_actor_done (client, gpb_test_actor_duplicate (data, sizeof data));
        gpb_test_actor_refused (client, gpb_test_actor_scalar ("broken", 1),
                                GPB_FAILED_PRECONDITION, "broken");
        gpb_reply_t *reply = gpb_test_actor_ok (client, gpb_request_stats ());
        const Gpb__V1__StatsReply *stats = gpb_reply_header_peek (reply)->stats;
        ck_assert_uint_eq (stats->n_compiles, 1);
        ck_assert_uint_eq (stats->compiles [0]->device, 0);
        ck_assert_uint_eq (stats->compiles [0]->compiled, round == 0);
        ck_assert_uint_eq (stats->compiles [0]->from_disk, 0);
        ck_assert_uint_eq (stats->compiles [0]->shared, round == 1);
        ck_assert_uint_eq (stats->compiles [0]->failed, 1);
        gpb_reply_destroy (&reply);
        gpb_client_destroy (&client);
        gpb_test_actor_stop (&device);
    }
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  The next process

static char s_folder [] = "/tmp/gpb_test_compile_once.XXXXXX";

static void
s_remove_folder (void)
{
    char command [200];
    snprintf (command, sizeof command, "rm -rf '%s'", s_folder);
    ck_assert_int_eq (system (command), 0);
}

typedef gpb_programs_figures_t s_process_t (const char *folder);

//  What a process of its own says of itself. This one has done nothing that a child could inherit:
//  it has compiled nothing, and loaded no driver.
static gpb_programs_figures_t
s_run_process (s_process_t *process)
{
    int ends [2];
    gpb_programs_figures_t figures;
    ck_assert_int_eq (pipe (ends), 0);
    pid_t child = fork ();
    ck_assert_int_ge (child, 0);
    if (child == 0) {
        figures = process (s_folder);
        bool written = write (ends [1], &figures, sizeof figures) == sizeof figures;
        _exit (written ? 0 : 1);
    }
    close (ends [1]);
    ck_assert_int_eq (read (ends [0], &figures, sizeof figures), sizeof figures);
    close (ends [0]);
    int status;
    ck_assert_int_eq (waitpid (child, &status, 0), child);
    ck_assert_msg (WIFEXITED (status) && WEXITSTATUS (status) == 0, "the process: %d", status);
    return figures;
}

//  Says what the backend was asked, in the place of what the figures say, which it looks at itself.
static gpb_programs_figures_t
s_use_the_table (const char *folder)
{
    s_start (folder);
    s_lookup (s_devices [0], "add");
    s_lookup (s_devices [1], "add");
    gpb_programs_figures_t figures = *gpb_programs_figures (s_devices [0]);
    ck_assert_uint_eq (figures.compiled, s_builds);
    ck_assert_uint_eq (figures.compiled + figures.from_disk, 1);
    s_assert_figures (s_devices [1], 0, 0, 1, 0);
    ck_assert_uint_eq (s_loads, figures.compiled ? 1 : 2);
    s_stop ();
    return figures;
}

START_TEST (test_the_next_process_compiles_nothing)
{
    ck_assert_ptr_nonnull (mkdtemp (s_folder));
    for (int round = 0; round < 3; round++) {
        gpb_programs_figures_t figures = s_run_process (s_use_the_table);
        ck_assert_uint_eq (figures.compiled, round == 0);
        ck_assert_uint_eq (figures.from_disk, round != 0);
    }
    s_remove_folder ();
}
END_TEST

//  Nothing can be written to /proc/self, whoever asks. Within the process it is compiled once.
START_TEST (test_a_folder_that_takes_nothing_costs_the_next_process_the_compile)
{
    for (int round = 0; round < 2; round++) {
        strcpy (s_folder, "/proc/self");
        gpb_programs_figures_t figures = s_run_process (s_use_the_table);
        ck_assert_uint_eq (figures.compiled, 1);
        ck_assert_uint_eq (figures.from_disk, 0);
    }
}
END_TEST

static gpb_programs_figures_t
s_use_pocl (const char *folder)
{
    //  PoCL has a cache of its own, which is not to help: it is new for each process.
    char path [300], cache [300];
    snprintf (path, sizeof path, "%s/pocl-%ld", folder, (long) getpid ());
    snprintf (cache, sizeof cache, "%s/cache", folder);
    setenv ("POCL_CACHE_DIR", path, 1);
    gpb_error_t error = { GPB_OK, "" };
    gpb_shared_context_t *shared = gpb_shared_context_open ("opencl", 0, 2, false, &error);
    ck_assert_msg (shared != NULL, "%s", error.text);
    gpb_programs_t *programs =
        gpb_programs_new (shared, getenv ("GPB_KERNEL_PATH"), cache, 1 << 24, &error);
    ck_assert_msg (programs != NULL, "%s", error.text);
    s_lookup (programs, "vector_add");
    gpb_programs_figures_t figures = *gpb_programs_figures (programs);
    gpb_programs_destroy (&programs);
    gpb_shared_context_release (&shared);
    return figures;
}

START_TEST (test_the_next_process_compiles_nothing_with_pocl)
{
    ck_assert_ptr_nonnull (mkdtemp (s_folder));
    for (int round = 0; round < 2; round++) {
        gpb_programs_figures_t figures = s_run_process (s_use_pocl);
        ck_assert_uint_eq (figures.compiled, round == 0);
        ck_assert_uint_eq (figures.from_disk, round == 1);
        ck_assert_uint_eq (figures.failed, 0);
    }
    s_remove_folder ();
}
END_TEST

GPB_TEST_MAIN ("compiled once", 60, test_a_second_device_loads_what_the_first_has_compiled,
               test_a_node_that_is_started_again_finds_what_it_had,
               test_a_registration_compiles_in_its_first_round_only,
               test_a_device_remembers_what_does_not_compile,
               test_devices_that_ask_at_once_wait_for_the_first,
               test_devices_that_ask_at_once_are_refused_in_the_same_words,
               test_a_device_says_how_its_kernels_came, test_the_next_process_compiles_nothing,
               test_a_folder_that_takes_nothing_costs_the_next_process_the_compile,
               test_the_next_process_compiles_nothing_with_pocl)
