//  Tests of gpb_opencl_device on whatever device 0 is: what it says of itself.

#include "gpb_test.h"
#include "gpb_test_device.h"

#include <string.h>

START_TEST (test_a_device_says_what_it_is)
{
    gpb_test_device_t device;
    gpb_test_device_open (&device, "opencl", 0, 1, false);
    const gpb_device_info_t *info = device.info;
    ck_assert_str_ne (info->name, "");
    ck_assert_str_ne (info->vendor, "");
    ck_assert_str_ne (info->driver, "");
    ck_assert_str_ne (info->architecture, "");
    ck_assert (gpb_test_has_capability (info, info->type));
    ck_assert_uint_ge (info->compute_units, 1);
    ck_assert_uint_ge (info->total_memory, 1 << 20);
    ck_assert_uint_ge (info->total_memory, info->max_allocation);
    ck_assert_uint_ge (info->memory_alignment, GPB_MEMORY_ALIGNMENT);
    ck_assert_uint_eq (info->memory_alignment & (info->memory_alignment - 1), 0);
    ck_assert_uint_ge (info->local_memory, 1 << 14);
    ck_assert_uint_ge (info->max_work_group_size, info->max_work_item_sizes [2]);
    if (strncmp (info->name, "pthread", 7) == 0) {
        ck_assert_str_eq (info->type, "cpu");
        ck_assert (info->shares_host_memory);
        ck_assert (gpb_test_has_capability (info, "svm_fine"));
        ck_assert (gpb_test_has_capability (info, "svm_atomics"));
        ck_assert (gpb_test_has_capability (info, "fp64"));
        ck_assert (!gpb_test_has_capability (info, "svm_system"));
        ck_assert_ptr_null (strstr (info->architecture, "pthread"));
    }
    char text [1024], small [8];
    gpb_error_t error = { GPB_OK, "" };
    uint64_t free_size;
    device.operations->compiler (device.context, text, sizeof text);
    ck_assert_ptr_nonnull (strstr (text, info->driver));
    ck_assert_ptr_nonnull (strstr (text, info->architecture));
    ck_assert_ptr_null (strchr (text, '\n'));
    device.operations->compiler (device.context, small, sizeof small);
    ck_assert_str_eq (small, "opencl;");
    ck_assert_refused (device.operations->memory_free (device.context, &free_size, &error),
                       GPB_UNIMPLEMENTED, "does not say");
    gpb_test_device_close (&device);
}
END_TEST

GPB_TEST_MAIN ("gpb_opencl_device", 60, test_a_device_says_what_it_is)
