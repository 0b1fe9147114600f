//  Tests of gpb_opencl_launch on whatever device 0 is: work items, arguments, and the times of
//  events.

#include "gpb_test.h"
#include "gpb_test_device.h"

#include <string.h>

#define FLOATS 1000

START_TEST (test_work_items_of_one_two_and_three_dimensions_are_where_they_should_be)
{
    static const uint64_t sizes [][3] = {
        { 60, 1, 1 }, { 12, 10, 1 }, { 4, 6, 5 }, { 1, 1, 1 }, { 97, 3, 1 }
    };
    static const uint64_t locals [][3] = {
        { 0, 0, 0 }, { 4, 2, 1 }, { 2, 3, 5 }, { 1, 1, 1 }, { 0, 0, 0 }
    };
    static const unsigned dimensions [] = { 1, 2, 3, 3, 2 };
    gpb_error_t error = { GPB_OK, "" };
    gpb_test_device_t device;
    gpb_test_device_open (&device, "opencl", 0, 1, false);
    gpb_module_t *module;
    gpb_function_t *function =
        gpb_test_device_function (&device, gpb_test_source, "where", &module);
    gpb_memory_t *memory = gpb_test_device_memory (&device, GPB_MEMORY_HOST, 4 * 1000);
    void *address;
    ck_assert_ok (device.operations->address (memory, &address, &error));
    const int *found = address;
    for (size_t index = 0; index < sizeof sizes / sizeof sizes [0]; index++) {
        const gpb_argument_t argument = gpb_test_memory (memory, 0);
        gpb_launch_t launch = { function, dimensions [index], { 0 }, { 0 }, &argument, 1 };
        memcpy (launch.global, sizes [index], sizeof launch.global);
        memcpy (launch.local, locals [index], sizeof launch.local);
        memset (address, 0xFF, 4000);
        gpb_test_device_run (&device, &launch);
        int total = (int) (sizes [index][0] * sizes [index][1] * sizes [index][2]);
        for (int at = 0; at < total; at++)
            ck_assert_int_eq (found [at] % 1000, at);
        ck_assert_int_eq (found [total], -1);
        if (locals [index][0])
            ck_assert_int_eq (found [0] / 1000, (int) locals [index][0]);
    }
    device.operations->unload (&module);
    device.operations->release (&memory);
    gpb_test_device_close (&device);
}
END_TEST

START_TEST (test_a_local_size_of_the_backends_choice_wastes_neither_lanes_nor_cores)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_test_device_t device;
    gpb_test_device_open (&device, "opencl", 0, 1, false);
    if (strcmp (device.info->type, "cpu") == 0) {
        static const uint64_t sizes [] = { 1 << 20, 1000001, 2048, 1999, 31 };
        gpb_module_t *module;
        gpb_function_t *function = gpb_test_device_function (
            &device,
            "__kernel void groups (__global int *out) { out [0] = (int)get_local_size (0); }",
            "groups", &module);
        gpb_memory_t *memory = gpb_test_device_memory (&device, GPB_MEMORY_HOST, 4);
        void *address;
        ck_assert_ok (device.operations->address (memory, &address, &error));
        for (size_t index = 0; index < sizeof sizes / sizeof sizes [0]; index++) {
            const gpb_argument_t argument = gpb_test_memory (memory, 0);
            gpb_test_device_run (&device,
                                 &(gpb_launch_t){
                                     function, 1, { sizes [index] }, { 0 }, &argument, 1 });
            uint64_t local = (uint64_t) * (int *) address;
            ck_assert_uint_eq (sizes [index] % local, 0);
            if (sizes [index] >= 1000000)
                ck_assert_uint_ge (local, 101);
            else
                ck_assert_uint_ge (sizes [index] / local,
                                   2 * (uint64_t) device.info->compute_units);
        }
        device.operations->unload (&module);
        device.operations->release (&memory);
    }
    gpb_test_device_close (&device);
}
END_TEST

START_TEST (test_local_memory_and_scalars_of_every_size_arrive)
{
    gpb_test_device_t device;
    gpb_test_device_open (&device, "opencl", 0, 1, false);
    gpb_module_t *module, *other;
    gpb_function_t *function =
        gpb_test_device_function (&device, gpb_test_source, "reverse", &module);
    int numbers [64];
    for (int index = 0; index < 64; index++)
        numbers [index] = index;
    gpb_memory_t *memory = gpb_test_device_memory (&device, GPB_MEMORY_DEVICE, sizeof numbers);
    gpb_test_device_write (&device, memory, 0, numbers, sizeof numbers);
    const gpb_argument_t arguments [] = {
        gpb_test_memory (memory, 0), { .kind = GPB_ARGUMENT_LOCAL, .size = 16 * sizeof (int) }
    };
    gpb_test_device_run (&device, &(gpb_launch_t){ function, 1, { 64 }, { 16 }, arguments, 2 });
    gpb_test_device_read (&device, memory, 0, numbers, sizeof numbers);
    for (int index = 0; index < 64; index++)
        ck_assert_int_eq (numbers [index], index / 16 * 16 + 15 - index % 16);

    function = gpb_test_device_function (&device, gpb_test_source, "scalars", &other);
    const gpb_argument_t scalars [] = {
        gpb_test_memory (memory, 0),
        { .kind = GPB_ARGUMENT_SCALAR, .scalar = { .bytes = { 200 } }, .size = 1 },
        { .kind = GPB_ARGUMENT_SCALAR, .scalar = { .i64 = -1000000000000 }, .size = 8 },
        { .kind = GPB_ARGUMENT_SCALAR, .scalar = { .f64 = 0.25 }, .size = 8 },
        { .kind = GPB_ARGUMENT_SCALAR, .scalar = { .f32 = 0.5F }, .size = 4 }
    };
    gpb_test_device_run (&device, &(gpb_launch_t){ function, 1, { 1 }, { 0 }, scalars, 5 });
    double sum;
    gpb_test_device_read (&device, memory, 0, &sum, sizeof sum);
    ck_assert_double_eq (sum, -999999999799.25);
    device.operations->unload (&module);
    device.operations->unload (&other);
    device.operations->release (&memory);
    gpb_test_device_close (&device);
}
END_TEST

START_TEST (test_a_launch_that_does_not_fit_is_refused_before_the_driver_sees_it)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_test_device_t device;
    gpb_test_device_open (&device, "opencl", 0, 1, false);
    gpb_module_t *module;
    gpb_function_t *function = gpb_test_device_function (&device, gpb_test_source, "add", &module);
    gpb_memory_t *memory = gpb_test_device_memory (&device, GPB_MEMORY_DEVICE, 4 * FLOATS);
    const gpb_argument_t m = gpb_test_memory (memory, 0), n = gpb_test_i32 (1);
    const gpb_argument_t long_n = { .kind = GPB_ARGUMENT_SCALAR,
                                    .scalar = { .i64 = 1 },
                                    .size = 8 };
    const gpb_argument_t local = { .kind = GPB_ARGUMENT_LOCAL, .size = 4 };
    const uint64_t too_large = device.info->max_work_group_size * 2;
    const struct {
        unsigned dimensions;
        uint64_t global, local;
        gpb_argument_t arguments [5];
        size_t count;
        const char *part;
    } cases [] = {
        { 1, 1, 0, { m, m, m }, 3, "takes 4 arguments" },
        { 1, 1, 0, { m, m, m, n, n }, 5, "not 5" },
        { 1, 1, 0, { m, m, m, m }, 4, "argument 3 is memory, and the kernel takes a scalar" },
        { 1, 1, 0, { m, m, m, long_n }, 4, "a scalar of 8 bytes, and the kernel takes one of 4" },
        { 1, 1, 0, { m, n, m, n }, 4, "argument 1 is a scalar, and the kernel takes memory" },
        { 1, 1, 0, { m, local, m, n }, 4, "argument 1 is local memory" },
        { 1, 1, 0, { m, m, gpb_test_memory (memory, 4 * FLOATS), n }, 4, "starts 4000 bytes into" },
        { 0, 1, 0, { m, m, m, n }, 4, "1 to 3 dimensions, not 0" },
        { 4, 1, 0, { m, m, m, n }, 4, "not 4" },
        { 1, 0, 0, { m, m, m, n }, 4, "global size 0" },
        { 1, 10, 3, { m, m, m, n }, 4, "no multiple of the local size 3" },
        { 1, too_large, too_large, { m, m, m, n }, 4, "over the limit" },
    };
    for (size_t index = 0; index < sizeof cases / sizeof cases [0]; index++) {
        const gpb_launch_t launch = { function,
                                      cases [index].dimensions,
                                      { cases [index].global },
                                      { cases [index].local },
                                      cases [index].arguments,
                                      cases [index].count };
        gpb_event_t *event = (gpb_event_t *) &error;
        ck_assert_refused (device.operations->launch (device.context, 0, &launch, GPB_NOTIFY,
                                                      &event, &error),
                           GPB_INVALID_ARGUMENT, cases [index].part);
        ck_assert_ptr_null (event);
    }
    gpb_event_t *event;
    ck_assert_refused (device.operations->zero (device.context, 1, memory, 0, 1, GPB_NOTIFY, &event,
                                                &error),
                       GPB_INVALID_ARGUMENT, "no stream 1");
    device.operations->unload (&module);
    device.operations->release (&memory);
    gpb_test_device_close (&device);
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Events

START_TEST (test_times_are_measured_only_with_profiling)
{
    gpb_error_t error = { GPB_OK, "" };
    for (int profiling = 0; profiling < 2; profiling++) {
        gpb_test_device_t device;
        gpb_test_device_open (&device, "opencl", 0, 1, profiling);
        gpb_memory_t *memory = gpb_test_device_memory (&device, GPB_MEMORY_DEVICE, 1 << 20);
        gpb_event_t *first = NULL, *second = NULL;
        gpb_event_times_t earlier, later;
        ck_assert_ok (device.operations->zero (device.context, 0, memory, 0, 1 << 20, GPB_NOTIFY,
                                               &first, &error));
        ck_assert_ok (device.operations->zero (device.context, 0, memory, 0, 1 << 20, GPB_NOTIFY,
                                               &second, &error));
        ck_assert_ok (gpb_test_device_wait (&device, 0, &first, &earlier, &error));
        ck_assert_ok (gpb_test_device_wait (&device, 0, &second, &later, &error));
        ck_assert_int_eq (earlier.measured, profiling);
        if (profiling) {
            ck_assert_uint_gt (earlier.end_ns, earlier.start_ns);
            ck_assert_uint_ge (later.start_ns, earlier.end_ns);
        }
        device.operations->release (&memory);
        gpb_test_device_close (&device);
    }
}
END_TEST

GPB_TEST_MAIN ("gpb_opencl_launch", 60,
               test_work_items_of_one_two_and_three_dimensions_are_where_they_should_be,
               test_a_local_size_of_the_backends_choice_wastes_neither_lanes_nor_cores,
               test_local_memory_and_scalars_of_every_size_arrive,
               test_a_launch_that_does_not_fit_is_refused_before_the_driver_sees_it,
               test_times_are_measured_only_with_profiling)
