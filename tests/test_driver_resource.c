//  Tests of gpb_driver_resource on the fake backend: each kind of memory, its address, and what the
//  driver refuses.

#include "gpb_alloc.h"
#include "gpb_driver_resource.h"
#include "gpb_test.h"
#include "gpb_test_device.h"

#include <stdlib.h>
#include <string.h>

static gpb_error_t error;

START_TEST (test_every_kind_comes_from_the_driver_and_goes_back)
{
    gpb_test_device_t device;
    gpb_test_device_open (&device, "fake", 0, 1, false);
    static const gpb_memory_kind_t kinds [] = { GPB_MEMORY_DEVICE, GPB_MEMORY_HOST,
                                                GPB_MEMORY_MAPPED };
    uint64_t before = 0, during = 0, after = 0;
    for (int kind = 0; kind < 3; kind++) {
        gpb_resource_t *driver =
            gpb_driver_resource_new (device.operations, device.context, kinds [kind], &error);
        ck_assert_ptr_nonnull (driver);
        ck_assert_ok (device.operations->memory_free (device.context, &before, &error));
        gpb_allocation_t block;
        ck_assert_ok (driver->allocate (driver, 1000, &block, &error));
        ck_assert_ok (device.operations->memory_free (device.context, &during, &error));
        ck_assert_uint_eq (before - during, kinds [kind] == GPB_MEMORY_DEVICE ? 1000 : 0);
        ck_assert_ptr_nonnull (block.memory);
        ck_assert_uint_eq (block.offset, 0);
        ck_assert_uint_eq (block.size, 1000);
        ck_assert_uint_eq (block.requested, 1000);
        ck_assert (block.fresh);
        ck_assert_int_eq (block.address != NULL, kinds [kind] != GPB_MEMORY_DEVICE);
        if (block.address)
            memset (block.address, 1, block.size);
        ck_assert_uint_eq (driver->trim (driver, 0), 0);
        driver->deallocate (driver, &block);
        ck_assert_ptr_null (block.memory);
        ck_assert_ok (device.operations->memory_free (device.context, &after, &error));
        ck_assert_uint_eq (before, after);
        driver->destroy (&driver);
        ck_assert_ptr_null (driver);
    }
    gpb_test_device_close (&device);
}
END_TEST

START_TEST (test_what_the_driver_refuses_is_refused)
{
    setenv ("GPB_FAKE_MEMORY", "1048576", 1);
    gpb_test_device_t device;
    gpb_test_device_open (&device, "fake", 0, 1, false);
    gpb_resource_t *driver =
        gpb_driver_resource_new (device.operations, device.context, GPB_MEMORY_DEVICE, &error);
    gpb_allocation_t block;
    ck_assert_refused (driver->allocate (driver, 1048577, &block, &error), GPB_RESOURCE_EXHAUSTED,
                       "out of memory on fake 0");
    ck_assert_ptr_null (block.memory);
    driver->destroy (&driver);
    gpb_test_device_close (&device);
}
END_TEST

START_TEST (test_heap_memory_that_runs_out_is_said)
{
    gpb_alloc_fail (0, 0);
    ck_assert_ptr_null (gpb_driver_resource_new (NULL, NULL, GPB_MEMORY_DEVICE, &error));
    gpb_alloc_fail (-1, 0);
    ck_assert_int_eq (error.status, GPB_RESOURCE_EXHAUSTED);
}
END_TEST

GPB_TEST_MAIN ("gpb_driver_resource", 10, test_every_kind_comes_from_the_driver_and_goes_back,
               test_what_the_driver_refuses_is_refused, test_heap_memory_that_runs_out_is_said)
