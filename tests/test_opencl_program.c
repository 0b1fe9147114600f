//  Tests of gpb_opencl_program and gpb_opencl_binary on whatever device 0 is: what compiles and
//  what does not, and that a binary is as good as its source.

#include "gpb_alloc.h"
#include "gpb_test.h"
#include "gpb_test_device.h"

#include <stdlib.h>
#include <string.h>

#define FLOATS 1000

START_TEST (test_what_does_not_compile_comes_back_with_the_log_and_the_line)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_test_device_t device;
    gpb_test_device_open (&device, "opencl", 0, 1, false);
    gpb_module_t *module;
    gpb_code_t code =
        gpb_test_code ("__kernel void k (__global int *a)\n{\n    a [0] = nonsense;\n}\n");
    code.name = "odd \"name\".c";
    ck_assert_refused (device.operations->build (device.context, &code, &module, &error),
                       GPB_INVALID_ARGUMENT, "nonsense");
    ck_assert_ptr_null (module);
    ck_assert_msg (strstr (error.text, "odd \"name\".c:3:") != NULL, "%s", error.text);
    gpb_test_device_close (&device);
}
END_TEST

START_TEST (test_options_reach_the_compiler)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_test_device_t device;
    gpb_test_device_open (&device, "opencl", 0, 1, false);
    gpb_module_t *module;
    gpb_code_t code = gpb_test_code ("#if __OPENCL_C_VERSION__ != 120\n#error not CL1.2\n#endif\n"
                                     "#ifndef VALUE\n#error no VALUE\n#endif\n"
                                     "#if !LEVEL == defined (__OPTIMIZE__)\n#error LEVEL\n#endif\n"
                                     "__kernel void k (__global int *a) { a [0] = VALUE; }\n");
    ck_assert_refused (device.operations->build (device.context, &code, &module, &error),
                       GPB_INVALID_ARGUMENT, "no VALUE");
    code.options = "-DVALUE=3 -DLEVEL=1";
    code.debug = true;
    ck_assert_ok (device.operations->build (device.context, &code, &module, &error));
    device.operations->unload (&module);
    code.options = "-DVALUE=3 -DLEVEL=0";
    code.optimize = 0;
    ck_assert_ok (device.operations->build (device.context, &code, &module, &error));
    device.operations->unload (&module);
    code.options = "-DVALUE=3 -DLEVEL=0 -cl-std=CL2.0";
    ck_assert_refused (device.operations->build (device.context, &code, &module, &error),
                       GPB_INVALID_ARGUMENT, "not CL1.2");
    code.optimize = 4;
    ck_assert_refused (device.operations->build (device.context, &code, &module, &error),
                       GPB_INVALID_ARGUMENT, "0, 1, 2 or 3, not 4");
    code.optimize = 2;
    char *long_options = malloc (10000);
    memset (long_options, ' ', 9999);
    long_options [9999] = 0;
    code.options = long_options;
    ck_assert_refused (device.operations->build (device.context, &code, &module, &error),
                       GPB_INVALID_ARGUMENT, "longer");
    free (long_options);
    gpb_test_device_close (&device);
}
END_TEST

START_TEST (test_another_architecture_and_ptx_are_refused)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_test_device_t device;
    gpb_test_device_open (&device, "opencl", 0, 1, false);
    gpb_module_t *module;
    gpb_code_t code = gpb_test_code (gpb_test_source);
    code.architecture = "sm_90";
    ck_assert_refused (device.operations->build (device.context, &code, &module, &error),
                       GPB_UNIMPLEMENTED, device.info->architecture);
    code.architecture = device.info->architecture;
    ck_assert_ok (device.operations->build (device.context, &code, &module, &error));
    device.operations->unload (&module);
    code.kind = GPB_CODE_INTERMEDIATE;
    ck_assert_refused (device.operations->build (device.context, &code, &module, &error),
                       GPB_UNIMPLEMENTED, "PTX");
    gpb_test_device_close (&device);
}
END_TEST

START_TEST (test_a_binary_is_built_again_and_checks_arguments_as_its_source_did)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_test_device_t device;
    gpb_test_device_open (&device, "opencl", 0, 1, false);
    gpb_module_t *module;
    gpb_test_device_function (&device, gpb_test_source, "add", &module);
    void *data;
    size_t size;
    ck_assert_ok (device.operations->binary (module, &data, &size, &error));
    ck_assert_uint_gt (size, 0);
    device.operations->unload (&module);

    gpb_code_t code = gpb_test_code ("");
    code.kind = GPB_CODE_BINARY;
    code.data = data;
    code.size = size;
    ck_assert_ok (device.operations->build (device.context, &code, &module, &error));
    gpb_function_t *function;
    gpb_function_info_t info;
    ck_assert_ok (device.operations->function (module, "add", &function, &info, &error));
    gpb_memory_t *memory = gpb_test_device_memory (&device, GPB_MEMORY_DEVICE, 4 * FLOATS);
    float floats [FLOATS];
    for (int index = 0; index < FLOATS; index++)
        floats [index] = (float) index;
    gpb_test_device_write (&device, memory, 0, floats, sizeof floats);
    gpb_argument_t arguments [] = { gpb_test_memory (memory, 0), gpb_test_memory (memory, 0),
                                    gpb_test_memory (memory, 0), gpb_test_i32 (FLOATS) };
    gpb_launch_t launch = { function, 1, { FLOATS }, { 0 }, arguments, 4 };
    gpb_test_device_run (&device, &launch);
    gpb_test_device_read (&device, memory, 0, floats, sizeof floats);
    for (int index = 0; index < FLOATS; index++)
        ck_assert_float_eq (floats [index], 2 * (float) index);

    //  Eight bytes that are no handle: a driver that saw them would read there.
    arguments [1] =
        (gpb_argument_t){ .kind = GPB_ARGUMENT_SCALAR, .scalar = { .u64 = 1 }, .size = 8 };
    ck_assert_refused (device.operations->launch (device.context, 0, &launch, GPB_NOTIFY_NOT, NULL,
                                                  &error),
                       GPB_INVALID_ARGUMENT, "argument 1 is a scalar, and the kernel takes memory");
    device.operations->unload (&module);
    device.operations->release (&memory);

    //  What is cut, changed, or nothing of the kind is refused and does not crash.
    for (size_t cut = 0; cut < 64 && cut < size; cut += 3) {
        code.size = cut + 1;
        ck_assert_refused (device.operations->build (device.context, &code, &module, &error),
                           GPB_INVALID_ARGUMENT, "no binary that libgpb");
        ck_assert_ptr_null (module);
    }
    code.size = size;
    ((unsigned char *) data) [size / 2] ^= 1;
    ck_assert_refused (device.operations->build (device.context, &code, &module, &error),
                       GPB_INVALID_ARGUMENT, "it was changed");
    gpb_free (data);
    gpb_test_device_close (&device);
}
END_TEST

START_TEST (test_a_missing_entry_is_not_found_and_the_others_are_named)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_test_device_t device;
    gpb_test_device_open (&device, "opencl", 0, 1, false);
    gpb_module_t *module;
    gpb_test_device_function (&device, gpb_test_source, "add", &module);
    gpb_function_t *function;
    gpb_function_info_t info;
    ck_assert_refused (device.operations->function (module, "sub", &function, &info, &error),
                       GPB_NOT_FOUND, "no kernel \"sub\"; it has: add");
    ck_assert_ptr_null (function);
    ck_assert_ok (device.operations->function (module, "reverse", &function, &info, &error));
    ck_assert_uint_ge (info.max_work_group_size, 1);
    ck_assert_uint_le (info.max_work_group_size, device.info->max_work_group_size);
    ck_assert_uint_ge (info.preferred_multiple, 1);
    device.operations->unload (&module);
    gpb_test_device_close (&device);
}
END_TEST

GPB_TEST_MAIN ("gpb_opencl_program", 60,
               test_what_does_not_compile_comes_back_with_the_log_and_the_line,
               test_options_reach_the_compiler, test_another_architecture_and_ptx_are_refused,
               test_a_binary_is_built_again_and_checks_arguments_as_its_source_did,
               test_a_missing_entry_is_not_found_and_the_others_are_named)
