//  Tests of gpb_opencl_memory on whatever device 0 is: PoCL on a machine without a GPU. Tests of
//  what only a device with the host's memory can do are about PoCL; the others hold with
//  GPB_OPENCL_SVM=0 too, which is how a card of its own memory looks.

#include "gpb_test.h"
#include "gpb_test_device.h"

#include <stdlib.h>
#include <string.h>

#define FLOATS 1000

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
    gpb_function_t *function = gpb_test_device_function (&device, gpb_test_source, "add", &module);
    //  An offset that no device's base address alignment would let pass for a sub-buffer.
    const gpb_argument_t arguments [] = { gpb_test_memory (memory, 0),
                                          gpb_test_memory (memory, 4 * FLOATS),
                                          gpb_test_memory (memory, 8 * FLOATS),
                                          gpb_test_i32 (FLOATS) };
    gpb_test_device_run (&device, &(gpb_launch_t){ function, 1, { FLOATS }, { 0 }, arguments, 4 });
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
    gpb_function_t *function = gpb_test_device_function (&device, gpb_test_source, "add", &module);
    const gpb_argument_t arguments [] = { gpb_test_memory (wrapped, 0),
                                          gpb_test_memory (wrapped, 0), gpb_test_memory (output, 0),
                                          gpb_test_i32 (FLOATS) };
    gpb_test_device_run (&device, &(gpb_launch_t){ function, 1, { FLOATS }, { 0 }, arguments, 4 });
    void *address;
    ck_assert_ok (device.operations->address (output, &address, &error));
    for (int index = 0; index < FLOATS; index++)
        ck_assert_float_eq (((float *) address) [index], 2 * (float) index);

    //  A part of it that starts where the device lets a sub-buffer start, and one that does not.
    gpb_argument_t part [] = { gpb_test_memory (wrapped, 512), gpb_test_memory (wrapped, 0),
                               gpb_test_memory (output, 0), gpb_test_i32 (100) };
    gpb_test_device_run (&device, &(gpb_launch_t){ function, 1, { 100 }, { 0 }, part, 4 });
    for (int index = 0; index < 100; index++)
        ck_assert_float_eq (((float *) address) [index], (float) (2 * index + 128));
    //  It may say where it ends, too.
    part [0].size = 400;
    gpb_test_device_run (&device, &(gpb_launch_t){ function, 1, { 100 }, { 0 }, part, 4 });
    part [0].size = (1 << 20) - 511;
    const gpb_launch_t launch = { function, 1, { 100 }, { 0 }, part, 4 };
    ck_assert_refused (device.operations->launch (device.context, 0, &launch, GPB_NOTIFY_NOT, NULL,
                                                  &error),
                       GPB_INVALID_ARGUMENT, "starts 512 bytes into memory of 1048576, and has");
    part [0].size = 400;
    part [0].offset = 12;
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

//  Source and target lie in one memory, so near to one another that the parts of a buffer which an
//  OpenCL device allows would overlap.
static void
s_check_copy_within (gpb_test_device_t *device, uint64_t from, uint64_t to, uint64_t size)
{
    gpb_error_t error = { GPB_OK, "" };
    unsigned char expected [2048], back [2048];
    for (size_t index = 0; index < sizeof expected; index++)
        expected [index] = (unsigned char) (index * 11 + 5);
    gpb_memory_t *memory = gpb_test_device_memory (device, GPB_MEMORY_DEVICE, sizeof expected);
    gpb_test_device_write (device, memory, 0, expected, sizeof expected);
    gpb_place_t source = { memory, from, NULL }, target = { memory, to, NULL };
    gpb_event_t *event = NULL;
    ck_assert_ok (device->operations->copy (device->context, 0, &target, &source, size, GPB_NOTIFY,
                                            &event, &error));
    ck_assert_ok (gpb_test_device_wait (device, 0, &event, NULL, &error));
    gpb_test_device_read (device, memory, 0, back, sizeof back);
    memcpy (expected + to, expected + from, size);
    ck_assert_mem_eq (back, expected, sizeof back);
    device->operations->release (&memory);
}

static void
s_check_copies_within (gpb_test_device_t *device)
{
    s_check_copy_within (device, 3, 103, 100);
    s_check_copy_within (device, 900, 800, 100);
    s_check_copy_within (device, 0, 1024, 1024);
    s_check_copy_within (device, 1, 2000, 48);
}

START_TEST (test_copies_within_one_memory_may_be_as_near_as_they_like)
{
    gpb_test_device_t device;
    gpb_test_device_open (&device, "opencl", 0, 1, false);
    s_check_copies_within (&device);
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
    ck_assert (!gpb_test_has_capability (device.info, "svm_fine"));
    gpb_memory_t *memory;
    ck_assert_refused (device.operations->allocate (device.context, GPB_MEMORY_MAPPED,
                                                    GPB_ACCESS_READ_WRITE, 1, &memory, &error),
                       GPB_UNIMPLEMENTED, "no memory that host and kernels share");
    char byte = 0;
    ck_assert_refused (device.operations->wrap (device.context, &byte, 1, GPB_ACCESS_READ_ONLY,
                                                &memory, &error),
                       GPB_UNIMPLEMENTED, "does not share");
    s_check_copies (&device, GPB_MEMORY_DEVICE, GPB_MEMORY_DEVICE);
    s_check_copies_within (&device);

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
    gpb_function_t *function = gpb_test_device_function (&device, gpb_test_source, "add", &module);
    gpb_argument_t arguments [] = { gpb_test_memory (memory, 0), gpb_test_memory (memory, 0),
                                    gpb_test_memory (memory, 4096), gpb_test_i32 (900) };
    gpb_test_device_run (&device, &(gpb_launch_t){ function, 1, { 900 }, { 0 }, arguments, 4 });
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

GPB_TEST_MAIN ("gpb_opencl_memory", 60, test_copies_reach_every_kind_at_any_offset,
               test_kernels_and_host_see_the_same_mapped_memory,
               test_wrapped_memory_is_used_in_place,
               test_copies_within_one_memory_may_be_as_near_as_they_like,
               test_device_memory_has_no_address,
               test_too_much_memory_is_refused_with_what_there_is,
               test_without_svm_memory_is_the_devices_own)
