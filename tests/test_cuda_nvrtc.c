//  Tests of gpb_cuda_nvrtc, and of how gpb_cuda_driver finds the compiler: what comes of a source,
//  of the package's options and of an architecture, and what is said where nothing does. NVRTC
//  needs no GPU; where there is none the program exits with 77, which `make check` counts as
//  skipped.

#include "gpb_alloc.h"
#include "gpb_test.h"
#include "gpb_test_cubin.h"
#include "gpb_test_nvrtc.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static gpb_backend_t s_backend;

static const char s_source [] = "extern \"C\" __global__ void k (int *a)\n"
                                "{\n"
                                "#ifdef VALUE\n"
                                "    a [0] = VALUE;\n"
                                "#endif\n"
                                "}\n";

static gpb_code_t
s_code (const char *source)
{
    return (gpb_code_t){ .kind = GPB_CODE_SOURCE,
                         .name = "named.cu",
                         .data = source,
                         .size = strlen (source),
                         .optimize = 3,
                         .options = "",
                         .architecture = "" };
}

//  What was made of a code, until the next time.
static char *s_data;
static size_t s_size;

static gpb_status_t
s_compile (const gpb_code_t *code, const char *architecture, gpb_error_t *error)
{
    gpb_free (s_data);
    gpb_status_t status =
        gpb_cuda_compile (&s_backend, code, architecture, &s_data, &s_size, error);
    ck_assert_int_eq (status == GPB_OK, s_data != NULL);
    return status;
}

static bool
s_holds (const char *text)
{
    return memmem (s_data, s_size, text, strlen (text)) != NULL;
}

//  ---------------------------------------------------------------------------------------------------------
//  Sources

START_TEST (test_what_does_not_compile_comes_back_with_the_log_and_the_packages_own_line)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_kernel_t *kernel = gpb_test_nvrtc_package ("tests/kernels_persistent/broken");
    gpb_code_t code;
    ck_assert_ok (gpb_kernel_code (kernel, "cuda", &code, &error));
    ck_assert_refused (s_compile (&code, "sm_80", &error), GPB_INVALID_ARGUMENT, "broken.c(8)");
    ck_assert_msg (strstr (error.text, "\"nothing\" is undefined") != NULL, "%s", error.text);
    gpb_kernel_destroy (&kernel);

    code = s_code ("extern \"C\" __global__ void k (int *a)\n{\n    a [0] = nonsense;\n}\n");
    ck_assert_refused (s_compile (&code, "sm_80", &error), GPB_INVALID_ARGUMENT, "named.cu(3)");
}
END_TEST

START_TEST (test_a_packages_own_cuda_source_is_compiled_as_it_stands)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_kernel_t *kernel = gpb_test_nvrtc_package ("tests/kernels_fake/cuda_only");
    gpb_code_t code;
    ck_assert_ok (gpb_kernel_code (kernel, "cuda", &code, &error));
    ck_assert_ok (s_compile (&code, "sm_80", &error));
    ck_assert_uint_gt (gpb_test_cubin_usage (s_data, s_size, "cuda_only").registers, 0);
    gpb_kernel_destroy (&kernel);
}
END_TEST

//  What is thrown away where it compiles, and test_cuda_kernels looks at.
START_TEST (test_a_warning_is_seen)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_code_t code = s_code ("extern \"C\" __global__ void k () { int unused; }");
    ck_assert_ok (s_compile (&code, "sm_80", &error));
    ck_assert_ptr_nonnull (strstr (gpb_test_nvrtc_log (), "unused"));
    code = s_code (s_source);
    ck_assert_ok (s_compile (&code, "sm_80", &error));
    ck_assert_str_eq (gpb_test_nvrtc_log (), "");
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Options

START_TEST (test_a_packages_options_reach_the_compiler)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_kernel_t *kernel = gpb_kernel_parse (
        "id = \"k\"; description = \"\"; source = \"k.c\"; options = \" -DVALUE=3  -D LEVEL=1 "
        "\";\n"
        "parameters = ( { name = \"a\"; direction = \"out\"; type = \"i32\"; count = \"1\"; } );\n"
        "global = [ \"1\" ];\n",
        "#if VALUE != 3 || LEVEL != 1\n#error no VALUE\n#endif\n"
        "KERNEL void k (GLOBAL int *a) { a [0] = VALUE; }\n",
        &error);
    ck_assert_msg (kernel != NULL, "%s", error.text);
    gpb_code_t code;
    ck_assert_ok (gpb_kernel_code (kernel, "cuda", &code, &error));
    ck_assert_ok (s_compile (&code, "sm_80", &error));
    code.options = "-DVALUE=4";
    ck_assert_refused (s_compile (&code, "sm_80", &error), GPB_INVALID_ARGUMENT, "no VALUE");
    gpb_kernel_destroy (&kernel);
}
END_TEST

START_TEST (test_an_option_that_nvrtc_does_not_know_is_refused_by_its_name)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_code_t code = s_code (s_source);
    code.options = "-DVALUE=1 --no-such-option";
    ck_assert_refused (s_compile (&code, "sm_80", &error), GPB_INVALID_ARGUMENT,
                       "--no-such-option");
}
END_TEST

//  None of them is left out without a word.
START_TEST (test_more_options_than_there_is_room_for_are_refused)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_code_t code = s_code ("#ifndef LAST\n#error no LAST\n#endif\n");
    char options [4096] = "";
    size_t length = 0;
    for (int index = 0; index < 60; index++)
        length += (size_t) snprintf (options + length, sizeof options - length, "-DV%d ", index);
    snprintf (options + length, sizeof options - length, "-DLAST");
    code.options = options;
    ck_assert_ok (s_compile (&code, "sm_80", &error));
    code.debug = true;
    ck_assert_refused (s_compile (&code, "sm_80", &error), GPB_INVALID_ARGUMENT, "more options");
}
END_TEST

START_TEST (test_the_level_of_optimization_reaches_the_compiler)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_code_t code = s_code ("extern \"C\" __global__ void k (float *a, int n)\n"
                              "{ for (int i = 0; i < n; i++) a [i] = a [i] * a [i] + a [n]; }\n");
    ck_assert_ok (s_compile (&code, "sm_80", &error));
    const size_t best = s_size;
    for (code.optimize = 0; code.optimize <= 3; code.optimize++) {
        ck_assert_ok (s_compile (&code, "sm_80", &error));
        if (code.optimize == 0)
            ck_assert_uint_ne (s_size, best);
    }
    ck_assert_uint_eq (s_size, best);
}
END_TEST

START_TEST (test_lines_are_in_the_cubin_where_a_package_asks_for_them)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_kernel_t *kernel = gpb_test_nvrtc_package ("kernels/saxpy");
    gpb_code_t code;
    ck_assert_ok (gpb_kernel_code (kernel, "cuda", &code, &error));
    ck_assert_ok (s_compile (&code, "sm_80", &error));
    ck_assert (!gpb_test_cubin_has (s_data, s_size, ".debug_line") && !s_holds ("saxpy.c"));
    code.debug = true;
    ck_assert_ok (s_compile (&code, "sm_80", &error));
    ck_assert (gpb_test_cubin_has (s_data, s_size, ".debug_line") && s_holds ("saxpy.c"));
    gpb_kernel_destroy (&kernel);
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Architectures

static void
s_check_ptx (const char *wanted, int expected)
{
    gpb_error_t error = { GPB_OK, "" };
    const gpb_code_t code = s_code (s_source);
    char target [32];
    snprintf (target, sizeof target, ".target sm_%d\n", expected);
    ck_assert_ok (s_compile (&code, wanted, &error));
    ck_assert_uint_gt (s_size, 0);
    ck_assert_msg (s_data [s_size - 1] == 0 && strlen (s_data) == s_size - 1,
                   "%s: %zu bytes are no text that ends in a NUL", wanted, s_size);
    ck_assert_msg (strstr (s_data, target) != NULL, "%s gives %s", wanted, s_data);
}

START_TEST (test_an_architecture_that_is_newer_than_nvrtc_gets_ptx_of_the_newest_older_one)
{
    int known [64], count = 0;
    char name [32];
    ck_assert_int_eq (s_backend.nvrtc.nvrtcGetNumSupportedArchs (&count), NVRTC_SUCCESS);
    ck_assert_int_eq (s_backend.nvrtc.nvrtcGetSupportedArchs (known), NVRTC_SUCCESS);
    ck_assert_int_gt (count, 1);
    s_check_ptx ("sm_999", known [count - 1]);
    //  Between two that it knows is a card that came out after it.
    for (int index = 0; index + 1 < count; index++)
        if (known [index] + 1 < known [index + 1]) {
            snprintf (name, sizeof name, "sm_%d", known [index] + 1);
            s_check_ptx (name, known [index]);
        }
}
END_TEST

START_TEST (test_an_architecture_that_is_older_than_all_that_nvrtc_knows_is_refused_with_the_oldest)
{
    int known [64];
    char oldest [32];
    gpb_error_t error = { GPB_OK, "" };
    ck_assert_int_eq (s_backend.nvrtc.nvrtcGetSupportedArchs (known), NVRTC_SUCCESS);
    snprintf (oldest, sizeof oldest, "sm_%d and newer", known [0]);
    const gpb_code_t code = s_code (s_source);
    ck_assert_refused (s_compile (&code, "sm_20", &error), GPB_FAILED_PRECONDITION, oldest);
    ck_assert_ptr_nonnull (strstr (error.text, "named.cu cannot be compiled for sm_20"));
}
END_TEST

START_TEST (test_a_virtual_architecture_gives_ptx_and_a_special_one_a_cubin)
{
    gpb_error_t error = { GPB_OK, "" };
    const gpb_code_t code = s_code (s_source);
    s_check_ptx ("compute_80", 80);
    if (gpb_test_nvrtc_knows (&s_backend, "sm_90")) {
        ck_assert_ok (s_compile (&code, "sm_90a", &error));
        ck_assert_uint_gt (gpb_test_cubin_usage (s_data, s_size, "k").registers, 0);
    }
    ck_assert_refused (s_compile (&code, "banana", &error), GPB_INVALID_ARGUMENT, "architecture");
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  The cubin

//  The number before a word of what `ptxas -v` says of an entry; 0 where it does not say.
static unsigned
s_said (const char *log, const char *entry, const char *word)
{
    char head [64];
    snprintf (head, sizeof head, "Compiling entry function '%s'", entry);
    const char *part = strstr (log, head);
    ck_assert_msg (part != NULL, "nothing is said of %s: %s", entry, log);
    const char *next = strstr (part + 1, "Compiling entry function");
    const char *found = strstr (part, word);
    if (!found || (next && found > next))
        return 0;
    while (found > part && found [-1] == ' ')
        found--;
    while (found > part && found [-1] >= '0' && found [-1] <= '9')
        found--;
    return (unsigned) strtoul (found, NULL, 10);
}

//  Registers that do not suffice, an array that is indexed, and shared memory of both kinds.
static const char s_greedy [] =
    "extern \"C\" __global__ void __launch_bounds__ (1024) spills (float *a, int n)\n"
    "{\n"
    "    float live [96];\n"
    "    #pragma unroll\n"
    "    for (int i = 0; i < 96; i++) live [i] = a [i * n];\n"
    "    for (int k = 0; k < n; k++)\n"
    "        #pragma unroll\n"
    "        for (int i = 0; i < 96; i++) live [i] = live [i] * live [(i + 1) % 96] + a [k];\n"
    "    #pragma unroll\n"
    "    for (int i = 0; i < 96; i++) a [i * n] = live [i];\n"
    "}\n"
    "extern \"C\" __global__ void indexes (int *a, int n)\n"
    "{\n"
    "    int list [50];\n"
    "    for (int i = 0; i < n; i++) list [a [i]] = a [i + 1];\n"
    "    for (int i = 0; i < n; i++) a [i] = list [a [i + n]];\n"
    "}\n"
    "extern \"C\" __global__ void shares (int *a, int n)\n"
    "{\n"
    "    __shared__ int values [333];\n"
    "    values [threadIdx.x] = a [threadIdx.x];\n"
    "    __syncthreads ();\n"
    "    a [threadIdx.x] = values [n - threadIdx.x];\n"
    "}\n"
    "extern __shared__ int dynamic [];\n"
    "extern \"C\" __global__ void borrows (int *a, int n)\n"
    "{\n"
    "    dynamic [threadIdx.x] = a [threadIdx.x];\n"
    "    __syncthreads ();\n"
    "    a [threadIdx.x] = dynamic [n - threadIdx.x];\n"
    "}\n";

//  That the tests read a cubin as it is meant.
START_TEST (test_what_a_cubin_says_of_registers_stack_and_shared_memory_is_what_ptxas_says)
{
    static const char *const entries [] = { "spills", "indexes", "shares", "borrows" };
    gpb_error_t error = { GPB_OK, "" };
    gpb_code_t code = s_code (s_greedy);
    code.options = "--ptxas-options=-v";
    for (unsigned index = 0; gpb_test_architectures [index]; index++) {
        const char *architecture = gpb_test_architectures [index];
        if (!gpb_test_nvrtc_knows (&s_backend, architecture))
            continue;
        ck_assert_ok (s_compile (&code, architecture, &error));
        const char *log = gpb_test_nvrtc_log ();
        for (unsigned entry = 0; entry < 4; entry++) {
            const char *name = entries [entry];
            const gpb_test_usage_t usage = gpb_test_cubin_usage (s_data, s_size, name);
            ck_assert_uint_eq (usage.registers, s_said (log, name, "registers"));
            ck_assert_uint_eq (usage.stack_size, s_said (log, name, "bytes stack frame"));
            ck_assert_uint_eq (usage.shared_size, s_said (log, name, "bytes smem"));
        }
        ck_assert_uint_gt (s_said (log, "spills", "bytes spill stores"), 0);
        ck_assert_uint_gt (s_said (log, "spills", "bytes stack frame"), 0);
        ck_assert_uint_eq (s_said (log, "indexes", "bytes stack frame"), 200);
        ck_assert_uint_ge (s_said (log, "shares", "bytes smem"), 1332);
    }
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  No compiler, no memory, several threads

static void
s_check_no_compiler (const char *file, const char *reason)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_backend_t backend = { .services = s_backend.services };
    setenv ("GPB_NVRTC", file, 1);
    gpb_cuda_load_compiler (&backend);
    ck_assert_int_eq (backend.nvrtc_major, 0);
    const gpb_code_t code = s_code (s_source);
    char *data;
    size_t size;
    ck_assert_refused (gpb_cuda_compile (&backend, &code, "sm_80", &data, &size, &error),
                       GPB_FAILED_PRECONDITION, reason);
    ck_assert_ptr_nonnull (strstr (error.text, "named.cu is a source, and there is no compiler"));
    ck_assert_ptr_null (data);
}

START_TEST (test_without_a_compiler_a_source_is_refused_with_the_reason)
{
    s_check_no_compiler ("/nowhere/libnvrtc.so", "/nowhere/libnvrtc.so: cannot open");
    s_check_no_compiler ("/etc/passwd", "/etc/passwd: ");
    s_check_no_compiler ("libm.so.6", "it has no nvrtcVersion");
}
END_TEST

static unsigned s_allocations_left;

static void *
s_alloc (size_t count, size_t size)
{
    return s_allocations_left-- > 0 ? gpb_alloc (count, size) : NULL;
}

START_TEST (test_where_memory_runs_out_nothing_is_made_and_that_is_said)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_backend_services_t services = *s_backend.services;
    services.alloc = s_alloc;
    gpb_backend_t backend = s_backend;
    backend.services = &services;
    gpb_code_t code = s_code (s_source);
    char *data;
    size_t size;
    for (unsigned count = 0; count < 2; count++) {
        s_allocations_left = count;
        ck_assert_int_eq (gpb_cuda_compile (&backend, &code, "sm_80", &data, &size, &error),
                          GPB_RESOURCE_EXHAUSTED);
        ck_assert_ptr_null (data);
    }
    //  Without its log a source that does not compile is still one that does not.
    s_allocations_left = 1;
    code = s_code ("nonsense");
    ck_assert_refused (gpb_cuda_compile (&backend, &code, "sm_80", &data, &size, &error),
                       GPB_INVALID_ARGUMENT, "named.cu does not compile");
}
END_TEST

static void *
s_thread (void *argument)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_code_t code = s_code (s_source);
    code.options = "-DVALUE=5";
    for (int index = 0; index < 4; index++) {
        char *data;
        size_t size;
        if (gpb_cuda_compile (argument, &code, "sm_80", &data, &size, &error) != GPB_OK)
            return NULL;
        gpb_free (data);
    }
    return argument;
}

START_TEST (test_threads_compile_beside_one_another)
{
    gpb_backend_t backend = { .services = s_backend.services };    //  and no log that they share
    gpb_cuda_load_compiler (&backend);
    pthread_t threads [4];
    for (int index = 0; index < 4; index++)
        ck_assert_int_eq (pthread_create (&threads [index], NULL, s_thread, &backend), 0);
    for (int index = 0; index < 4; index++) {
        void *result = NULL;
        ck_assert_int_eq (pthread_join (threads [index], &result), 0);
        ck_assert_ptr_nonnull (result);
    }
}
END_TEST

int
main (void)
{
    if (!gpb_test_nvrtc_open (&s_backend))
        return 77;
    const TTest *const tests [] = {
        test_what_does_not_compile_comes_back_with_the_log_and_the_packages_own_line,
        test_a_packages_own_cuda_source_is_compiled_as_it_stands,
        test_a_warning_is_seen,
        test_a_packages_options_reach_the_compiler,
        test_an_option_that_nvrtc_does_not_know_is_refused_by_its_name,
        test_more_options_than_there_is_room_for_are_refused,
        test_the_level_of_optimization_reaches_the_compiler,
        test_lines_are_in_the_cubin_where_a_package_asks_for_them,
        test_an_architecture_that_is_newer_than_nvrtc_gets_ptx_of_the_newest_older_one,
        test_an_architecture_that_is_older_than_all_that_nvrtc_knows_is_refused_with_the_oldest,
        test_a_virtual_architecture_gives_ptx_and_a_special_one_a_cubin,
        test_what_a_cubin_says_of_registers_stack_and_shared_memory_is_what_ptxas_says,
        test_without_a_compiler_a_source_is_refused_with_the_reason,
        test_where_memory_runs_out_nothing_is_made_and_that_is_said,
        test_threads_compile_beside_one_another
    };
    return gpb_test_run ("cuda_nvrtc", tests, sizeof tests / sizeof tests [0], 120);
}
