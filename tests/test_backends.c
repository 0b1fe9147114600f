//  Tests of gpb_backends: what is missing or wrong is a notice, devices keep their numbers, and
//  instances share what is loaded.

#include "gpb_alloc.h"
#include "gpb_backends.h"
#include "gpb_test.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

//  An instance of which nothing but one notice is expected.
static void
s_expect_notice (const char *names, const char *part)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_backends_t *backends = gpb_backends_new (names, &error);
    ck_assert_msg (backends != NULL, "%s", error.text);
    ck_assert_uint_eq (gpb_backends_devices (backends), 0);
    const char *notice = gpb_backends_notice_peek (backends, 0);
    ck_assert_ptr_nonnull (notice);
    ck_assert_msg (strstr (notice, part) != NULL, "\"%s\" is not in: %s", part, notice);
    ck_assert_ptr_null (gpb_backends_notice_peek (backends, 1));
    gpb_backends_destroy (&backends);
    ck_assert_ptr_null (backends);
}

START_TEST (test_a_module_that_is_not_there_is_a_notice_that_says_where_it_was_looked_for)
{
    s_expect_notice ("nosuch", "backend \"nosuch\": there is no gpb_nosuch.so in ");
    s_expect_notice ("nosuch", getenv ("GPB_MODULE_DIR"));
    unsetenv ("GPB_MODULE_DIR");
    s_expect_notice ("nosuch", "/modules nor in ");
}
END_TEST

START_TEST (test_a_module_of_another_abi_is_refused_with_both_numbers)
{
    char part [64];
    snprintf (part, sizeof part, "abi %d, and this libgpb has abi %d", GPB_BACKEND_ABI + 1,
              GPB_BACKEND_ABI);
    s_expect_notice ("badabi", part);
}
END_TEST

START_TEST (test_a_module_without_the_symbol_or_with_an_operation_missing_is_refused)
{
    s_expect_notice ("nosymbol", "it has no symbol gpb_backend_module");
    s_expect_notice ("nullop", "lacks operation 2 of 21");
}
END_TEST

START_TEST (test_a_file_that_is_no_shared_object_is_a_notice)
{
    char directory [] = "/tmp/gpb_test_XXXXXX", path [64];
    ck_assert_ptr_nonnull (mkdtemp (directory));
    snprintf (path, sizeof path, "%s/gpb_text.so", directory);
    FILE *file = fopen (path, "w");
    ck_assert_ptr_nonnull (file);
    fputs ("no ELF\n", file);
    fclose (file);
    setenv ("GPB_MODULE_DIR", directory, 1);
    s_expect_notice ("text", "cannot be opened: ");
    remove (path);
    remove (directory);
}
END_TEST

START_TEST (test_a_name_that_is_no_name_is_an_error)
{
    static const char *const names [] = { "fake ../evil", "Fake", "fake,opencl", "f\xC3\xA9" };
    for (size_t index = 0; index < sizeof names / sizeof names [0]; index++) {
        gpb_error_t error = { GPB_OK, "" };
        ck_assert_ptr_null (gpb_backends_new (names [index], &error));
        ck_assert_refused (error.status, GPB_INVALID_ARGUMENT, "is no name of a backend");
    }
}
END_TEST

START_TEST (test_no_backend_at_all_is_well)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_backends_t *backends = gpb_backends_new ("", &error);
    ck_assert_ptr_nonnull (backends);
    ck_assert_uint_eq (gpb_backends_devices (backends), 0);
    ck_assert_ptr_null (gpb_backends_notice_peek (backends, 0));
    ck_assert_ptr_null (gpb_backends_info_peek (backends, 0, &error));
    ck_assert_refused (error.status, GPB_NOT_FOUND, "no device 0: there are 0");
    gpb_backends_destroy (&backends);
}
END_TEST

START_TEST (test_a_backend_without_devices_says_so)
{
    setenv ("GPB_FAKE_DEVICES", "0", 1);
    s_expect_notice ("fake", "backend \"fake\": no devices");
}
END_TEST

START_TEST (test_a_device_out_of_order_keeps_its_index)
{
    setenv ("GPB_FAKE_DEVICES", "3", 1);
    setenv ("GPB_FAKE_BAD", "1", 1);
    gpb_error_t error = { GPB_OK, "" };
    gpb_backends_t *backends = gpb_backends_new ("nosuch fake fake", &error);
    ck_assert_ptr_nonnull (backends);
    ck_assert_uint_eq (gpb_backends_devices (backends), 3);
    ck_assert_str_eq (gpb_backends_info_peek (backends, 0, &error)->name, "fake 0");
    ck_assert_str_eq (gpb_backends_info_peek (backends, 2, &error)->name, "fake 2");
    ck_assert_ptr_null (gpb_backends_info_peek (backends, 1, &error));
    ck_assert_refused (error.status, GPB_UNAVAILABLE, "device 1 is out of order: GPB_FAKE_BAD");
    ck_assert_ptr_null (gpb_backends_info_peek (backends, 3, &error));
    ck_assert_refused (error.status, GPB_NOT_FOUND, "no device 3: there are 3");
    ck_assert_str_eq (gpb_backends_name_peek (backends, 1), "fake");
    ck_assert_ptr_null (gpb_backends_name_peek (backends, 3));

    const gpb_open_t open = { 1, NULL, false };
    const gpb_backend_operations_t *operations;
    gpb_context_t *context;
    ck_assert_refused (gpb_backends_open (backends, 1, &open, &operations, &context, &error),
                       GPB_UNAVAILABLE, "out of order");
    ck_assert_refused (gpb_backends_open (backends, 7, &open, &operations, &context, &error),
                       GPB_NOT_FOUND, "no device 7");
    ck_assert_ok (gpb_backends_open (backends, 2, &open, &operations, &context, &error));
    operations->close (&context);
    gpb_backends_destroy (&backends);
}
END_TEST

START_TEST (test_a_card_that_two_backends_see_is_listed_once_by_the_first)
{
    setenv ("GPB_FAKE_BUS", "0000:65:00.#", 1);
    setenv ("GPB_TWIN_BUS", "0000:65:00.#", 1);
    setenv ("GPB_FAKE_DEVICES", "2", 1);
    setenv ("GPB_TWIN_DEVICES", "3", 1);
    gpb_error_t error = { GPB_OK, "" };
    gpb_backends_t *backends = gpb_backends_new ("twin fake", &error);
    ck_assert_uint_eq (gpb_backends_devices (backends), 3);
    ck_assert_str_eq (gpb_backends_name_peek (backends, 0), "twin");
    gpb_backends_destroy (&backends);
    backends = gpb_backends_new ("fake twin", &error);
    ck_assert_uint_eq (gpb_backends_devices (backends), 3);
    ck_assert_str_eq (gpb_backends_name_peek (backends, 1), "fake");
    ck_assert_str_eq (gpb_backends_name_peek (backends, 2), "twin");
    ck_assert_str_eq (gpb_backends_info_peek (backends, 2, &error)->bus_id, "0000:65:00.2");

    //  The third in the list is opened as what it is to its backend.
    const gpb_open_t open = { 1, NULL, false };
    const gpb_backend_operations_t *operations;
    gpb_context_t *context;
    gpb_memory_t *memory;
    ck_assert_ok (gpb_backends_open (backends, 2, &open, &operations, &context, &error));
    ck_assert_refused (operations->allocate (context, GPB_MEMORY_DEVICE, GPB_ACCESS_READ_WRITE,
                                             1ULL << 40, &memory, &error),
                       GPB_RESOURCE_EXHAUSTED, "fake 2");
    operations->close (&context);
    gpb_backends_destroy (&backends);
}
END_TEST

START_TEST (test_the_parts_of_one_card_are_all_listed)
{
    setenv ("GPB_FAKE_BUS", "0000:65:00.0", 1);
    gpb_error_t error = { GPB_OK, "" };
    gpb_backends_t *backends = gpb_backends_new ("fake", &error);
    ck_assert_uint_eq (gpb_backends_devices (backends), 2);
    gpb_backends_destroy (&backends);
}
END_TEST

START_TEST (test_instances_share_a_backend_and_the_last_one_stops_it)
{
    setenv ("GPB_FAKE_DEVICES", "1", 1);
    gpb_error_t error = { GPB_OK, "" };
    gpb_backends_t *first = gpb_backends_new ("fake", &error);
    //  A backend that were started again would see this.
    setenv ("GPB_FAKE_DEVICES", "5", 1);
    gpb_backends_t *second = gpb_backends_new ("fake", &error);
    ck_assert_uint_eq (gpb_backends_devices (first), 1);
    ck_assert_uint_eq (gpb_backends_devices (second), 1);
    gpb_backends_destroy (&first);

    const gpb_open_t open = { 1, NULL, false };
    const gpb_backend_operations_t *operations;
    gpb_context_t *context;
    ck_assert_ok (gpb_backends_open (second, 0, &open, &operations, &context, &error));
    operations->close (&context);
    gpb_backends_destroy (&second);
    gpb_backends_t *third = gpb_backends_new ("fake", &error);
    ck_assert_uint_eq (gpb_backends_devices (third), 5);
    gpb_backends_destroy (&third);
}
END_TEST

static void *
s_come_and_go (void *argument)
{
    gpb_error_t error = { GPB_OK, "" };
    for (int round = 0; round < 50; round++) {
        gpb_backends_t *backends = gpb_backends_new ("fake", &error);
        if (!backends || gpb_backends_devices (backends) != 2)
            return argument;
        gpb_backends_destroy (&backends);
    }
    return NULL;
}

START_TEST (test_threads_may_come_and_go)
{
    pthread_t threads [4];
    for (int index = 0; index < 4; index++)
        ck_assert_int_eq (pthread_create (&threads [index], NULL, s_come_and_go, threads), 0);
    for (int index = 0; index < 4; index++) {
        void *result;
        pthread_join (threads [index], &result);
        ck_assert_ptr_null (result);
    }
}
END_TEST

START_TEST (test_running_out_of_memory_anywhere_is_told_and_leaks_nothing)
{
    setenv ("GPB_FAKE_BAD", "0", 1);
    gpb_error_t error = { GPB_OK, "" };
    bool made = false;
    for (int64_t after = 0; !made; after++) {
        ck_assert_int_lt (after, 200);
        gpb_alloc_fail (after, 0);
        gpb_backends_t *backends = gpb_backends_new ("nosuch fake", &error);
        gpb_alloc_fail (-1, 0);
        //  The backend's own lack of memory at its start is a notice like any other of its
        //  troubles.
        made = backends && gpb_backends_devices (backends) == 2;
        if (!backends)
            ck_assert_int_eq (error.status, GPB_RESOURCE_EXHAUSTED);
        gpb_backends_destroy (&backends);
    }
}
END_TEST

START_TEST (test_the_environment_is_set_where_the_user_has_not)
{
    unsetenv ("POCL_MAX_PTHREAD_COUNT");
    unsetenv ("POCL_CPU_MAX_CU_COUNT");
    unsetenv ("CUDA_MODULE_LOADING");
    gpb_backends_environment ();
    ck_assert_str_eq (getenv ("CUDA_MODULE_LOADING"), "EAGER");
    cpu_set_t mask;
    ck_assert_int_eq (sched_getaffinity (0, sizeof mask, &mask), 0);
    int cores = CPU_COUNT (&mask);
    ck_assert_int_eq (atoi (getenv ("POCL_MAX_PTHREAD_COUNT")), cores > 2 ? cores : 2);
    ck_assert_str_eq (getenv ("POCL_CPU_MAX_CU_COUNT"), getenv ("POCL_MAX_PTHREAD_COUNT"));

    setenv ("CUDA_MODULE_LOADING", "LAZY", 1);
    setenv ("POCL_MAX_PTHREAD_COUNT", "3", 1);
    unsetenv ("POCL_CPU_MAX_CU_COUNT");
    gpb_backends_environment ();
    ck_assert_str_eq (getenv ("POCL_MAX_PTHREAD_COUNT"), "3");
    ck_assert_ptr_null (getenv ("POCL_CPU_MAX_CU_COUNT"));
    ck_assert_str_eq (getenv ("CUDA_MODULE_LOADING"), "LAZY");
}
END_TEST

START_TEST (test_a_machine_without_a_platform_gets_a_sentence_that_helps)
{
    //  The ICD loader looks for vendors' files here instead of /etc/OpenCL/vendors.
    setenv ("OCL_ICD_VENDORS", "/nonexistent/", 1);
    s_expect_notice ("opencl", "no OpenCL platform: install pocl-opencl-icd");
}
END_TEST

GPB_TEST_MAIN ("gpb_backends", 20,
               test_a_module_that_is_not_there_is_a_notice_that_says_where_it_was_looked_for,
               test_a_module_of_another_abi_is_refused_with_both_numbers,
               test_a_module_without_the_symbol_or_with_an_operation_missing_is_refused,
               test_a_file_that_is_no_shared_object_is_a_notice,
               test_a_name_that_is_no_name_is_an_error, test_no_backend_at_all_is_well,
               test_a_backend_without_devices_says_so, test_a_device_out_of_order_keeps_its_index,
               test_a_card_that_two_backends_see_is_listed_once_by_the_first,
               test_the_parts_of_one_card_are_all_listed,
               test_instances_share_a_backend_and_the_last_one_stops_it,
               test_threads_may_come_and_go,
               test_running_out_of_memory_anywhere_is_told_and_leaks_nothing,
               test_the_environment_is_set_where_the_user_has_not,
               test_a_machine_without_a_platform_gets_a_sentence_that_helps)
