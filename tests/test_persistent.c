//  Tests of gpb_persistent: the configuration's word on persistent kernels.

#include "gpb_test.h"

#include "gpb_persistent.h"

#include <stdio.h>
#include <stdlib.h>

static gpb_error_t error;

START_TEST (test_what_the_key_takes)
{
    static const char *const well [] = { "",
                                         " ",
                                         "double:lanes=2",
                                         "double:lanes=2,slots=64 echo:devices=0|gpu",
                                         "  a.b-c:slot_size=224  ",
                                         "x:devices=all" };
    static const char *const wrong [] = { "double",
                                          "double:",
                                          "double:lanes",
                                          "double:lanes=",
                                          ":lanes=1",
                                          "double:rings=2",
                                          "double:lanes=2,",
                                          "double:lanes=2:slots=4",
                                          "double:lanes=2 echo" };
    for (size_t index = 0; index < sizeof well / sizeof well [0]; index++)
        ck_assert_msg (gpb_persistent_check (well [index]) == NULL, "%s", well [index]);
    for (size_t index = 0; index < sizeof wrong / sizeof wrong [0]; index++)
        ck_assert_msg (gpb_persistent_check (wrong [index]) != NULL, "%s", wrong [index]);
}
END_TEST

static gpb_kernels_t *
s_kernels (void)
{
    char path [4096];
    snprintf (path, sizeof path, "%s/kernels", getenv ("GPB_SOURCE_DIR"));
    gpb_kernels_t *kernels = gpb_kernels_new (path, &error);
    ck_assert_ptr_nonnull (kernels);
    return kernels;
}

static gpb_status_t
s_configure (gpb_kernels_t *kernels, const char *text)
{
    gpb_config_t *config = gpb_config_new ();
    ck_assert_ok (gpb_config_set (config, "persistent", text, &error));
    gpb_status_t status = gpb_persistent_configure_all (kernels, config, &error);
    gpb_config_destroy (&config);
    return status;
}

START_TEST (test_it_goes_before_what_the_package_says)
{
    gpb_kernels_t *kernels = s_kernels ();
    ck_assert_ok (s_configure (kernels, "double:lanes=3,slots=8 echo:slot_size=100,devices=1"));
    const gpb_persistent_t *settings =
        gpb_kernel_persistent (gpb_kernels_lookup (kernels, "double"));
    ck_assert_uint_eq (settings->lanes, 3);
    ck_assert_uint_eq (settings->slots, 8);
    settings = gpb_kernel_persistent (gpb_kernels_lookup (kernels, "echo"));
    ck_assert_uint_eq (settings->slot_size, 224);    //  rounded up to two units less a head
    gpb_device_info_t info = { .compute_units = 1 };
    ck_assert (gpb_kernel_persistent_on (gpb_kernels_lookup (kernels, "echo"), 1, &info));
    ck_assert (!gpb_kernel_persistent_on (gpb_kernels_lookup (kernels, "echo"), 0, &info));
    gpb_kernels_destroy (&kernels);
}
END_TEST

START_TEST (test_what_is_out_of_bounds_or_nobodys_is_refused_by_name)
{
    gpb_kernels_t *kernels = s_kernels ();
    ck_assert_int_eq (s_configure (kernels, "double:lanes=33"), GPB_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull (strstr (error.text, "32"));
    ck_assert_int_eq (s_configure (kernels, "double:slots=3"), GPB_INVALID_ARGUMENT);
    ck_assert_int_eq (s_configure (kernels, "vector_add:lanes=2"), GPB_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull (strstr (error.text, "vector_add"));
    ck_assert_int_eq (s_configure (kernels, "nobody:lanes=2"), GPB_INVALID_ARGUMENT);
    gpb_kernels_destroy (&kernels);
}
END_TEST

GPB_TEST_MAIN ("gpb_persistent", 10, test_what_the_key_takes,
               test_it_goes_before_what_the_package_says,
               test_what_is_out_of_bounds_or_nobodys_is_refused_by_name)
