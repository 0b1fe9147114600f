//  Tests of the OpenCL module on whatever device 0 is: PoCL on a machine without a GPU. Tests of
//  what only a device with the host's memory can do are about PoCL; the others hold with
//  GPB_OPENCL_SVM=0 too, which is how a card of its own memory looks.

#include "gpb_alloc.h"
#include "gpb_test.h"
#include "gpb_test_device.h"

#include <dirent.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define FLOATS 1000

static const char s_source [] =
    "__kernel void add (__global const float *a, __global const float *b, __global float *c,\n"
    "                   int n)\n"
    "{\n"
    "    int i = get_global_id (0);\n"
    "    if (i < n)\n"
    "        c [i] = a [i] + b [i];\n"
    "}\n"
    "__kernel void where (__global int *out)\n"
    "{\n"
    "    size_t at = (get_global_id (2) * get_global_size (1) + get_global_id (1))\n"
    "                * get_global_size (0) + get_global_id (0);\n"
    "    out [at] = (int)(at + 1000 * get_local_size (0));\n"
    "}\n"
    "__kernel void reverse (__global int *data, __local int *scratch)\n"
    "{\n"
    "    int i = get_local_id (0), n = get_local_size (0);\n"
    "    scratch [i] = data [get_global_id (0)];\n"
    "    barrier (CLK_LOCAL_MEM_FENCE);\n"
    "    data [get_global_id (0)] = scratch [n - 1 - i];\n"
    "}\n"
    "__kernel void scalars (__global double *out, uchar a, long b, double c, float d)\n"
    "{\n"
    "    out [0] = a + b + c + d;\n"
    "}\n";

static gpb_event_t *
s_launch (gpb_test_device_t *device, unsigned stream, const gpb_launch_t *launch)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_event_t *event = NULL;
    ck_assert_ok (
        device->operations->launch (device->context, stream, launch, GPB_NOTIFY, &event, &error));
    return event;
}

static void
s_run (gpb_test_device_t *device, const gpb_launch_t *launch)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_event_t *event = s_launch (device, 0, launch);
    ck_assert_ok (gpb_test_device_wait (device, 0, &event, NULL, &error));
}

//  ---------------------------------------------------------------------------------------------------------
//  Devices

static bool
s_has_capability (const gpb_device_info_t *info, const char *name)
{
    for (unsigned index = 0; index < info->capabilities_count; index++)
        if (strcmp (info->capabilities [index], name) == 0)
            return true;
    return false;
}

START_TEST (test_a_device_says_what_it_is)
{
    gpb_test_device_t device;
    gpb_test_device_open (&device, "opencl", 0, 1, false);
    const gpb_device_info_t *info = device.info;
    ck_assert_str_ne (info->name, "");
    ck_assert_str_ne (info->vendor, "");
    ck_assert_str_ne (info->driver, "");
    ck_assert_str_ne (info->architecture, "");
    ck_assert (s_has_capability (info, info->type));
    ck_assert_uint_ge (info->compute_units, 1);
    ck_assert_uint_ge (info->total_memory, 1 << 20);
    ck_assert_uint_ge (info->total_memory, info->max_allocation);
    ck_assert_uint_ge (info->local_memory, 1 << 14);
    ck_assert_uint_ge (info->max_work_group_size, info->max_work_item_sizes [2]);
    if (strncmp (info->name, "pthread", 7) == 0) {
        ck_assert_str_eq (info->type, "cpu");
        ck_assert (info->shares_host_memory);
        ck_assert (s_has_capability (info, "svm_fine"));
        ck_assert (s_has_capability (info, "svm_atomics"));
        ck_assert (s_has_capability (info, "fp64"));
        ck_assert (!s_has_capability (info, "svm_system"));
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

START_TEST (test_streams_are_bounded)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_backends_t *backends = gpb_backends_new ("opencl", &error);
    const gpb_backend_operations_t *operations;
    gpb_context_t *context;
    gpb_open_t open = { 65, NULL, false };
    ck_assert_refused (gpb_backends_open (backends, 0, &open, &operations, &context, &error),
                       GPB_INVALID_ARGUMENT, "1 to 64 streams, not 65");
    open.streams = 0;
    ck_assert_refused (gpb_backends_open (backends, 0, &open, &operations, &context, &error),
                       GPB_INVALID_ARGUMENT, "not 0");
    gpb_backends_destroy (&backends);
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Memory

//  Copies between memory of two kinds, at offsets that are aligned to nothing, and from and to the
//  host; what is around the target stays as it was.
static void
s_check_copies (gpb_test_device_t *device, gpb_memory_kind_t from, gpb_memory_kind_t to)
{
    gpb_error_t error = { GPB_OK, "" };
    unsigned char pattern [512], back [512], around [512];
    for (size_t index = 0; index < sizeof pattern; index++)
        pattern [index] = (unsigned char) (index * 7 + 1);
    memset (around, 0xEE, sizeof around);
    gpb_memory_t *source = gpb_test_device_memory (device, from, sizeof pattern);
    gpb_memory_t *target = gpb_test_device_memory (device, to, sizeof pattern);
    gpb_test_device_write (device, source, 0, pattern, sizeof pattern);
    gpb_test_device_write (device, target, 0, around, sizeof around);
    gpb_event_t *event = NULL;
    gpb_place_t source_place = { source, 3, NULL }, target_place = { target, 101, NULL };
    ck_assert_ok (device->operations->copy (device->context, 0, &target_place, &source_place, 205,
                                            GPB_NOTIFY, &event, &error));
    ck_assert_ok (gpb_test_device_wait (device, 0, &event, NULL, &error));
    gpb_test_device_read (device, target, 0, back, sizeof back);
    ck_assert_mem_eq (back, around, 101);
    ck_assert_mem_eq (back + 101, pattern + 3, 205);
    ck_assert_mem_eq (back + 306, around, sizeof back - 306);
    ck_assert_ok (device->operations->zero (device->context, 0, target, 110, 100, GPB_NOTIFY,
                                            &event, &error));
    ck_assert_ok (gpb_test_device_wait (device, 0, &event, NULL, &error));
    gpb_test_device_read (device, target, 100, back, 150);
    ck_assert_uint_eq (back [0], 0xEE);
    ck_assert_mem_eq (back + 1, pattern + 3, 9);
    for (int index = 10; index < 110; index++)
        ck_assert_uint_eq (back [index], 0);
    ck_assert_mem_eq (back + 110, pattern + 3 + 109, 40);
    device->operations->release (&source);
    device->operations->release (&target);
    ck_assert_ptr_null (source);
}

START_TEST (test_copies_reach_every_kind_at_any_offset)
{
    gpb_test_device_t device;
    gpb_test_device_open (&device, "opencl", 0, 1, false);
    static const gpb_memory_kind_t kinds [] = { GPB_MEMORY_DEVICE, GPB_MEMORY_HOST,
                                                GPB_MEMORY_MAPPED };
    for (int from = 0; from < 3; from++)
        for (int to = 0; to < 3; to++)
            s_check_copies (&device, kinds [from], kinds [to]);
    gpb_test_device_close (&device);
}
END_TEST

START_TEST (test_kernels_and_host_see_the_same_mapped_memory)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_test_device_t device;
    gpb_test_device_open (&device, "opencl", 0, 1, false);
    gpb_memory_t *memory = gpb_test_device_memory (&device, GPB_MEMORY_MAPPED, 3 * FLOATS * 4);
    void *address, *again;
    ck_assert_ok (device.operations->address (memory, &address, &error));
    ck_assert_uint_eq ((uintptr_t) address % GPB_MEMORY_ALIGNMENT, 0);
    float *floats = address;
    for (int index = 0; index < 2 * FLOATS; index++)
        floats [index] = (float) index;
    gpb_module_t *module;
    gpb_function_t *function = gpb_test_device_function (&device, s_source, "add", &module);
    //  An offset that no device's base address alignment would let pass for a sub-buffer.
    const gpb_argument_t arguments [] = { gpb_test_memory (memory, 0),
                                          gpb_test_memory (memory, 4 * FLOATS),
                                          gpb_test_memory (memory, 8 * FLOATS),
                                          gpb_test_i32 (FLOATS) };
    s_run (&device, &(gpb_launch_t){ function, 1, { FLOATS }, { 0 }, arguments, 4 });
    for (int index = 0; index < FLOATS; index++)
        ck_assert_float_eq (floats [2 * FLOATS + index], (float) (2 * index + FLOATS));
    ck_assert_ok (device.operations->address (memory, &again, &error));
    ck_assert_ptr_eq (address, again);
    device.operations->unload (&module);
    device.operations->release (&memory);
    gpb_test_device_close (&device);
}
END_TEST

//  Were the wrapped memory copied when it is wrapped, the kernel would see what was there before.
START_TEST (test_wrapped_memory_is_used_in_place)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_test_device_t device;
    gpb_test_device_open (&device, "opencl", 0, 1, false);
    float *input = aligned_alloc (64, 1 << 20);
    memset (input, 0, 1 << 20);
    gpb_memory_t *wrapped,
        *output = gpb_test_device_memory (&device, GPB_MEMORY_MAPPED, 4 * FLOATS);
    ck_assert_ok (device.operations->wrap (device.context, input, 1 << 20, GPB_ACCESS_READ_ONLY,
                                           &wrapped, &error));
    for (int index = 0; index < FLOATS; index++)
        input [index] = (float) index;
    gpb_module_t *module;
    gpb_function_t *function = gpb_test_device_function (&device, s_source, "add", &module);
    const gpb_argument_t arguments [] = { gpb_test_memory (wrapped, 0),
                                          gpb_test_memory (wrapped, 0), gpb_test_memory (output, 0),
                                          gpb_test_i32 (FLOATS) };
    s_run (&device, &(gpb_launch_t){ function, 1, { FLOATS }, { 0 }, arguments, 4 });
    void *address;
    ck_assert_ok (device.operations->address (output, &address, &error));
    for (int index = 0; index < FLOATS; index++)
        ck_assert_float_eq (((float *) address) [index], 2 * (float) index);

    //  A part of it that starts where the device lets a sub-buffer start, and one that does not.
    gpb_argument_t part [] = { gpb_test_memory (wrapped, 512), gpb_test_memory (wrapped, 0),
                               gpb_test_memory (output, 0), gpb_test_i32 (100) };
    s_run (&device, &(gpb_launch_t){ function, 1, { 100 }, { 0 }, part, 4 });
    for (int index = 0; index < 100; index++)
        ck_assert_float_eq (((float *) address) [index], (float) (2 * index + 128));
    part [0].offset = 12;
    const gpb_launch_t launch = { function, 1, { 100 }, { 0 }, part, 4 };
    ck_assert_refused (device.operations->launch (device.context, 0, &launch, GPB_NOTIFY_NOT, NULL,
                                                  &error),
                       GPB_INVALID_ARGUMENT, "starts at offset 12");
    device.operations->unload (&module);
    device.operations->release (&wrapped);
    device.operations->release (&output);
    ck_assert_refused (device.operations->wrap (device.context, input, 0, GPB_ACCESS_READ_ONLY,
                                                &wrapped, &error),
                       GPB_INVALID_ARGUMENT, "0 bytes");
    gpb_test_device_close (&device);
    free (input);
}
END_TEST

START_TEST (test_device_memory_has_no_address)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_test_device_t device;
    gpb_test_device_open (&device, "opencl", 0, 1, false);
    gpb_memory_t *memory = gpb_test_device_memory (&device, GPB_MEMORY_DEVICE, 1);
    void *address;
    ck_assert_refused (device.operations->address (memory, &address, &error),
                       GPB_FAILED_PRECONDITION, "reached by copies");
    device.operations->release (&memory);
    gpb_test_device_close (&device);
}
END_TEST

START_TEST (test_too_much_memory_is_refused_with_what_there_is)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_test_device_t device;
    gpb_test_device_open (&device, "opencl", 0, 1, false);
    gpb_memory_t *memory;
    for (int kind = GPB_MEMORY_DEVICE; kind <= GPB_MEMORY_MAPPED; kind++) {
        ck_assert_refused (device.operations->allocate (device.context, (gpb_memory_kind_t) kind,
                                                        GPB_ACCESS_READ_WRITE,
                                                        device.info->max_allocation + 1, &memory,
                                                        &error),
                           GPB_RESOURCE_EXHAUSTED, "more than");
        ck_assert_ptr_null (memory);
    }
    ck_assert_refused (device.operations->allocate (device.context, GPB_MEMORY_DEVICE,
                                                    GPB_ACCESS_READ_WRITE, 0, &memory, &error),
                       GPB_INVALID_ARGUMENT, "at least 1");
    gpb_test_device_close (&device);
}
END_TEST

//  With SVM left alone PoCL is what a card with its own memory is.
START_TEST (test_without_svm_memory_is_the_devices_own)
{
    setenv ("GPB_OPENCL_SVM", "0", 1);
    gpb_error_t error = { GPB_OK, "" };
    gpb_test_device_t device;
    gpb_test_device_open (&device, "opencl", 0, 1, false);
    ck_assert (!device.info->shares_host_memory);
    ck_assert (!s_has_capability (device.info, "svm_fine"));
    gpb_memory_t *memory;
    ck_assert_refused (device.operations->allocate (device.context, GPB_MEMORY_MAPPED,
                                                    GPB_ACCESS_READ_WRITE, 1, &memory, &error),
                       GPB_UNIMPLEMENTED, "no memory that host and kernels share");
    char byte = 0;
    ck_assert_refused (device.operations->wrap (device.context, &byte, 1, GPB_ACCESS_READ_ONLY,
                                                &memory, &error),
                       GPB_UNIMPLEMENTED, "does not share");
    s_check_copies (&device, GPB_MEMORY_DEVICE, GPB_MEMORY_DEVICE);

    //  Host memory keeps its address, and kernels do not reach it.
    gpb_memory_t *host = gpb_test_device_memory (&device, GPB_MEMORY_HOST, 4 * FLOATS);
    memory = gpb_test_device_memory (&device, GPB_MEMORY_DEVICE, 8 * FLOATS);
    void *address;
    ck_assert_ok (device.operations->address (host, &address, &error));
    ck_assert_uint_eq ((uintptr_t) address % GPB_MEMORY_ALIGNMENT, 0);
    memset (address, 0, 4 * FLOATS);
    for (int index = 0; index < FLOATS; index++)
        ((float *) address) [index] = (float) index;
    gpb_event_t *event = NULL;
    gpb_place_t host_place = { host, 0, NULL }, place = { memory, 0, NULL };
    ck_assert_ok (device.operations->copy (device.context, 0, &place, &host_place, 4 * FLOATS,
                                           GPB_NOTIFY, &event, &error));
    ck_assert_ok (gpb_test_device_wait (&device, 0, &event, NULL, &error));
    memset (address, 0, 4 * FLOATS);
    ck_assert_ok (device.operations->copy (device.context, 0, &host_place, &place, 4 * FLOATS,
                                           GPB_NOTIFY, &event, &error));
    ck_assert_ok (gpb_test_device_wait (&device, 0, &event, NULL, &error));
    for (int index = 0; index < FLOATS; index++)
        ck_assert_float_eq (((float *) address) [index], (float) index);
    gpb_place_t plain = { NULL, 0, &byte };
    ck_assert_refused (device.operations->copy (device.context, 0, &host_place, &plain, 1,
                                                GPB_NOTIFY, &event, &error),
                       GPB_UNIMPLEMENTED, "not within the host's");
    ck_assert_refused (device.operations->zero (device.context, 0, host, 0, 1, GPB_NOTIFY, &event,
                                                &error),
                       GPB_UNIMPLEMENTED, "write the zeroes");
    gpb_module_t *module;
    gpb_function_t *function = gpb_test_device_function (&device, s_source, "add", &module);
    gpb_argument_t arguments [] = { gpb_test_memory (memory, 0), gpb_test_memory (memory, 0),
                                    gpb_test_memory (memory, 4096), gpb_test_i32 (900) };
    s_run (&device, &(gpb_launch_t){ function, 1, { 900 }, { 0 }, arguments, 4 });
    float back [900];
    gpb_test_device_read (&device, memory, 4096, back, sizeof back);
    for (int index = 0; index < 900; index++)
        ck_assert_float_eq (back [index], 2 * (float) index);
    arguments [1].memory = host;
    gpb_launch_t launch = { function, 1, { 900 }, { 0 }, arguments, 4 };
    ck_assert_refused (device.operations->launch (device.context, 0, &launch, GPB_NOTIFY, &event,
                                                  &error),
                       GPB_FAILED_PRECONDITION, "argument 1 is host memory");
    arguments [1] = gpb_test_memory (memory, 100);
    ck_assert_refused (device.operations->launch (device.context, 0, &launch, GPB_NOTIFY, &event,
                                                  &error),
                       GPB_INVALID_ARGUMENT, "wants a multiple of");
    device.operations->unload (&module);
    device.operations->release (&memory);
    device.operations->release (&host);
    gpb_test_device_close (&device);
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Code

static gpb_code_t
s_code (const char *text)
{
    return (gpb_code_t){ .kind = GPB_CODE_PORTABLE,
                         .name = "test.c",
                         .data = text,
                         .size = strlen (text),
                         .optimize = 2,
                         .options = "",
                         .architecture = "" };
}

START_TEST (test_what_does_not_compile_comes_back_with_the_log_and_the_line)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_test_device_t device;
    gpb_test_device_open (&device, "opencl", 0, 1, false);
    gpb_module_t *module;
    gpb_code_t code = s_code ("__kernel void k (__global int *a)\n{\n    a [0] = nonsense;\n}\n");
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
    gpb_code_t code = s_code ("#if __OPENCL_C_VERSION__ != 120\n#error not CL1.2\n#endif\n"
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
    gpb_code_t code = s_code (s_source);
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
    gpb_test_device_function (&device, s_source, "add", &module);
    void *data;
    size_t size;
    ck_assert_ok (device.operations->binary (module, &data, &size, &error));
    ck_assert_uint_gt (size, 0);
    device.operations->unload (&module);

    gpb_code_t code = s_code ("");
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
    s_run (&device, &launch);
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
    gpb_test_device_function (&device, s_source, "add", &module);
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

//  ---------------------------------------------------------------------------------------------------------
//  Launches

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
    gpb_function_t *function = gpb_test_device_function (&device, s_source, "where", &module);
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
        s_run (&device, &launch);
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
            s_run (&device, &(gpb_launch_t){ function, 1, { sizes [index] }, { 0 }, &argument, 1 });
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
    gpb_function_t *function = gpb_test_device_function (&device, s_source, "reverse", &module);
    int numbers [64];
    for (int index = 0; index < 64; index++)
        numbers [index] = index;
    gpb_memory_t *memory = gpb_test_device_memory (&device, GPB_MEMORY_DEVICE, sizeof numbers);
    gpb_test_device_write (&device, memory, 0, numbers, sizeof numbers);
    const gpb_argument_t arguments [] = {
        gpb_test_memory (memory, 0), { .kind = GPB_ARGUMENT_LOCAL, .size = 16 * sizeof (int) }
    };
    s_run (&device, &(gpb_launch_t){ function, 1, { 64 }, { 16 }, arguments, 2 });
    gpb_test_device_read (&device, memory, 0, numbers, sizeof numbers);
    for (int index = 0; index < 64; index++)
        ck_assert_int_eq (numbers [index], index / 16 * 16 + 15 - index % 16);

    function = gpb_test_device_function (&device, s_source, "scalars", &other);
    const gpb_argument_t scalars [] = {
        gpb_test_memory (memory, 0),
        { .kind = GPB_ARGUMENT_SCALAR, .scalar = { .bytes = { 200 } }, .size = 1 },
        { .kind = GPB_ARGUMENT_SCALAR, .scalar = { .i64 = -1000000000000 }, .size = 8 },
        { .kind = GPB_ARGUMENT_SCALAR, .scalar = { .f64 = 0.25 }, .size = 8 },
        { .kind = GPB_ARGUMENT_SCALAR, .scalar = { .f32 = 0.5F }, .size = 4 }
    };
    s_run (&device, &(gpb_launch_t){ function, 1, { 1 }, { 0 }, scalars, 5 });
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
    gpb_function_t *function = gpb_test_device_function (&device, s_source, "add", &module);
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

START_TEST (test_each_command_that_asks_notifies_once_also_without_an_event)
{
    enum { COMMANDS = 500, STREAMS = 4 };
    gpb_error_t error = { GPB_OK, "" };
    gpb_test_device_t device;
    gpb_test_device_open (&device, "opencl", 0, STREAMS, false);
    gpb_memory_t *memory [STREAMS];
    gpb_module_t *module [STREAMS];
    gpb_function_t *function [STREAMS];
    for (unsigned stream = 0; stream < STREAMS; stream++) {
        memory [stream] = gpb_test_device_memory (&device, GPB_MEMORY_MAPPED, 4 * FLOATS);
        function [stream] =
            gpb_test_device_function (&device,
                                      "__kernel void count (__global int *a) { a [0]++; }\n",
                                      "count", &module [stream]);
        void *address;
        ck_assert_ok (device.operations->address (memory [stream], &address, &error));
        memset (address, 0, 4 * FLOATS);
    }
    //  Every third does not ask, every second has an event that is freed while it may still run.
    uint64_t expected [STREAMS] = { 0 }, found [STREAMS] = { 0 };
    for (int index = 0; index < COMMANDS; index++)
        for (unsigned stream = 0; stream < STREAMS; stream++) {
            const gpb_argument_t argument = gpb_test_memory (memory [stream], 0);
            const gpb_launch_t launch = { function [stream], 1, { 1 }, { 0 }, &argument, 1 };
            gpb_notify_t notify = index % 3 || index == COMMANDS - 1 ? GPB_NOTIFY : GPB_NOTIFY_NOT;
            gpb_event_t *event = NULL;
            ck_assert_ok (device.operations->launch (device.context, stream, &launch, notify,
                                                     index % 2 ? &event : NULL, &error));
            device.operations->event_free (&event);
            expected [stream] += notify == GPB_NOTIFY;
        }
    for (unsigned stream = 0; stream < STREAMS; stream++)
        while (found [stream] < expected [stream]) {
            struct pollfd item = { device.notify_fds [stream], POLLIN, 0 };
            ck_assert_int_eq (poll (&item, 1, 30000), 1);
            uint64_t count = 0;
            ck_assert_int_eq (read (item.fd, &count, sizeof count), (int) sizeof count);
            found [stream] += count;
        }
    for (unsigned stream = 0; stream < STREAMS; stream++) {
        void *address;
        ck_assert_uint_eq (found [stream], expected [stream]);
        ck_assert_ok (device.operations->address (memory [stream], &address, &error));
        ck_assert_int_eq (*(int *) address, COMMANDS);
        device.operations->unload (&module [stream]);
        device.operations->release (&memory [stream]);
    }
    gpb_test_device_close (&device);
}
END_TEST

//  The eventfd is the caller's: all notifications are in it when close returns.
START_TEST (test_close_waits_for_commands_and_their_notifications)
{
    gpb_error_t error = { GPB_OK, "" };
    for (int round = 0; round < 50; round++) {
        gpb_test_device_t device;
        gpb_test_device_open (&device, "opencl", 0, 2, false);
        static char block [1 << 19];
        gpb_memory_t *memory =
            gpb_test_device_memory (&device, GPB_MEMORY_DEVICE, 2 * sizeof block);
        gpb_place_t host = { NULL, 0, block };
        gpb_place_t places [2] = { { memory, 0, NULL }, { memory, sizeof block, NULL } };
        for (int index = 0; index < 20; index++)
            ck_assert_ok (device.operations->copy (device.context, index % 2, &places [index % 2],
                                                   &host, sizeof block, GPB_NOTIFY, NULL, &error));
        gpb_event_t *event = NULL;
        for (unsigned stream = 0; stream < 2; stream++) {
            ck_assert_ok (device.operations->zero (device.context, stream, memory,
                                                   places [stream].offset, 1, GPB_NOTIFY_NOT,
                                                   &event, &error));
            bool done = false;
            while (!done)
                ck_assert_ok (device.operations->query (event, &done, NULL, &error));
            device.operations->event_free (&event);
        }
        device.operations->release (&memory);
        device.operations->close (&device.context);
        for (int stream = 0; stream < 2; stream++) {
            uint64_t count = 0;
            ck_assert_int_eq (read (device.notify_fds [stream], &count, sizeof count), 8);
            ck_assert_uint_eq (count, 10);
            close (device.notify_fds [stream]);
        }
        gpb_backends_destroy (&device.backends);
    }
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Lives

static unsigned
s_count_entries (const char *directory)
{
    unsigned count = 0;
    DIR *folder = opendir (directory);
    ck_assert_ptr_nonnull (folder);
    while (readdir (folder))
        count++;
    closedir (folder);
    return count;
}

START_TEST (test_a_thousand_contexts_leave_no_descriptor_and_no_thread)
{
    unsigned descriptors = 0, threads = 0;
    for (int round = 0; round < 1000; round++) {
        gpb_test_device_t device;
        gpb_test_device_open (&device, "opencl", 0, 2, false);
        gpb_memory_t *memory = gpb_test_device_memory (&device, GPB_MEMORY_DEVICE, 4096);
        device.operations->release (&memory);
        gpb_test_device_close (&device);
        if (round == 10) {
            descriptors = s_count_entries ("/proc/self/fd");
            threads = s_count_entries ("/proc/self/task");
        }
    }
    ck_assert_uint_eq (s_count_entries ("/proc/self/fd"), descriptors);
    ck_assert_uint_eq (s_count_entries ("/proc/self/task"), threads);
}
END_TEST

START_TEST (test_running_out_of_memory_anywhere_is_told_and_leaks_nothing)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_backends_t *backends = gpb_backends_new ("opencl", &error);
    ck_assert_ptr_nonnull (backends);
    const gpb_code_t code = s_code ("__kernel void k (__global int *a) { a [0] = 1; }\n");
    bool made = false;
    for (int64_t after = 0; !made; after++) {
        ck_assert_int_lt (after, 100);
        const gpb_open_t open = { 1, NULL, false };
        const gpb_backend_operations_t *operations;
        gpb_context_t *context;
        gpb_memory_t *memory = NULL;
        gpb_module_t *module = NULL;
        gpb_function_t *function;
        gpb_event_t *event = NULL;
        void *data = NULL;
        size_t size;
        gpb_alloc_fail (after, 0);
        gpb_status_t status = gpb_backends_open (backends, 0, &open, &operations, &context, &error);
        if (status == GPB_OK) {
            status = operations->allocate (context, GPB_MEMORY_DEVICE, GPB_ACCESS_READ_WRITE, 4,
                                           &memory, &error);
            if (status == GPB_OK)
                status = operations->build (context, &code, &module, &error);
            if (status == GPB_OK)
                status = operations->function (module, "k", &function, NULL, &error);
            if (status == GPB_OK)
                status = operations->binary (module, &data, &size, &error);
            if (status == GPB_OK)
                status =
                    operations->zero (context, 0, memory, 0, 4, GPB_NOTIFY_NOT, &event, &error);
            gpb_alloc_fail (-1, 0);
            operations->event_free (&event);
            gpb_free (data);
            operations->unload (&module);
            bool done = false;
            if (memory
                && operations->zero (context, 0, memory, 0, 4, GPB_NOTIFY_NOT, &event, &error)
                       == GPB_OK) {
                while (!done)
                    ck_assert_ok (operations->query (event, &done, NULL, &error));
                operations->event_free (&event);
            }
            operations->release (&memory);
            operations->close (&context);
        }
        gpb_alloc_fail (-1, 0);
        made = status == GPB_OK;
        if (!made)
            ck_assert_refused (status, GPB_RESOURCE_EXHAUSTED, "out of memory");
    }
    gpb_backends_destroy (&backends);
}
END_TEST

//  What a program does from its start to its end; main runs it alone in a process of its own.
START_TEST (test_a_program_works_once)
{
    gpb_test_device_t device;
    gpb_test_device_open (&device, "opencl", 0, 1, false);
    gpb_module_t *module;
    gpb_function_t *function = gpb_test_device_function (&device, s_source, "add", &module);
    gpb_memory_t *memory = gpb_test_device_memory (&device, GPB_MEMORY_DEVICE, 4 * FLOATS);
    const gpb_argument_t arguments [] = { gpb_test_memory (memory, 0), gpb_test_memory (memory, 0),
                                          gpb_test_memory (memory, 0), gpb_test_i32 (FLOATS) };
    s_run (&device, &(gpb_launch_t){ function, 1, { FLOATS }, { 0 }, arguments, 4 });
    device.operations->unload (&module);
    device.operations->release (&memory);
    gpb_test_device_close (&device);
}
END_TEST

START_TEST (test_a_hundred_programs_start_work_and_exit)
{
    for (int round = 0; round < 100; round++) {
        pid_t child = fork ();
        ck_assert_int_ge (child, 0);
        if (child == 0) {
            execl ("/proc/self/exe", "test_opencl", "work", (char *) NULL);
            _exit (127);
        }
        int status;
        ck_assert_int_eq (waitpid (child, &status, 0), child);
        ck_assert_msg (WIFEXITED (status) && WEXITSTATUS (status) == 0,
                       "round %d ended with status %#x", round, status);
    }
}
END_TEST

int
main (int argc, char *argv [])
{
    if (argc > 1 && strcmp (argv [1], "work") == 0) {
        const TTest *const once [] = { test_a_program_works_once };
        setenv ("CK_FORK", "no", 1);
        setenv ("CK_VERBOSITY", "silent", 1);
        return gpb_test_run ("gpb_opencl", once, 1, 60);
    }
    const TTest *const tests [] = {
        test_a_device_says_what_it_is,
        test_streams_are_bounded,
        test_copies_reach_every_kind_at_any_offset,
        test_kernels_and_host_see_the_same_mapped_memory,
        test_wrapped_memory_is_used_in_place,
        test_device_memory_has_no_address,
        test_too_much_memory_is_refused_with_what_there_is,
        test_without_svm_memory_is_the_devices_own,
        test_what_does_not_compile_comes_back_with_the_log_and_the_line,
        test_options_reach_the_compiler,
        test_another_architecture_and_ptx_are_refused,
        test_a_binary_is_built_again_and_checks_arguments_as_its_source_did,
        test_a_missing_entry_is_not_found_and_the_others_are_named,
        test_work_items_of_one_two_and_three_dimensions_are_where_they_should_be,
        test_a_local_size_of_the_backends_choice_wastes_neither_lanes_nor_cores,
        test_local_memory_and_scalars_of_every_size_arrive,
        test_a_launch_that_does_not_fit_is_refused_before_the_driver_sees_it,
        test_times_are_measured_only_with_profiling,
        test_each_command_that_asks_notifies_once_also_without_an_event,
        test_close_waits_for_commands_and_their_notifications,
        test_a_thousand_contexts_leave_no_descriptor_and_no_thread,
        test_running_out_of_memory_anywhere_is_told_and_leaks_nothing,
        test_a_hundred_programs_start_work_and_exit,
    };
    return gpb_test_run ("gpb_opencl", tests, sizeof tests / sizeof tests [0], 60);
}
