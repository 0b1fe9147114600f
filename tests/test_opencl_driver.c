//  Tests of the OpenCL backend on drivers that this machine does not have: one that says what an
//  NVIDIA card or an old or odd one would, and one that refuses.
//
//  The program is linked with the backend's own files, and answers in the place of libOpenCL what
//  is asked about platforms and devices.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_test.h"

#include "gpb_alloc.h"
#include "gpb_backends.h"
#include "gpb_opencl.h"

//  cl_nv_device_attribute_query; the headers of Debian 12 lack it.
#ifndef CL_DEVICE_PCI_BUS_ID_NV
#define CL_DEVICE_PCI_BUS_ID_NV 0x4008
#define CL_DEVICE_PCI_SLOT_ID_NV 0x4009
#endif
#ifndef CL_DEVICE_PCI_DOMAIN_ID_NV
#define CL_DEVICE_PCI_DOMAIN_ID_NV 0x400A
#endif

#include <string.h>

//  What the driver says.
typedef struct {
    cl_int platforms_code;
    cl_uint platforms;
    cl_int devices_code;
    cl_device_info refused;    //  the one question about a device that it refuses; 0: none
    cl_device_type type;
    const char *name, *version, *extensions;
    bool available, compiler, little, fp64;
    cl_device_svm_capabilities svm;
    cl_bool unified;
    cl_uint base_bits;
    cl_device_pci_bus_info_khr bus;
    cl_uint nv_bus, nv_slot, nv_domain;
} driver_t;

static driver_t s_driver;
static gpb_error_t error;
static gpb_backend_t *s_backend;
static const gpb_backend_operations_t *s_operations;

extern const gpb_backend_module_t gpb_backend_module;

//  ---------------------------------------------------------------------------------------------------------
//  In the place of libOpenCL

cl_int
clGetPlatformIDs (cl_uint room, cl_platform_id *platforms, cl_uint *count)
{
    for (cl_uint index = 0; platforms && index < room && index < s_driver.platforms; index++)
        platforms [index] = (cl_platform_id) &s_driver;
    *count = s_driver.platforms;
    return s_driver.platforms_code;
}

cl_int
clGetDeviceIDs (cl_platform_id platform, cl_device_type type, cl_uint room, cl_device_id *devices,
                cl_uint *count)
{
    (void) platform;
    (void) type;
    ck_assert_uint_ge (room, 1);
    devices [0] = (cl_device_id) &s_driver;
    *count = 1;
    return s_driver.devices_code;
}

static cl_int
s_say (const void *value, size_t size, size_t room, void *target, size_t *size_p)
{
    if (size_p)
        *size_p = size;
    if (target && room < size)
        return CL_INVALID_VALUE;
    if (target)
        memcpy (target, value, size);
    return CL_SUCCESS;
}

#define SAY(value) s_say (&(value), sizeof (value), room, target, size_p)
#define SAY_TEXT(text) s_say (text, strlen (text) + 1, room, target, size_p)

cl_int
clGetDeviceInfo (cl_device_id device, cl_device_info question, size_t room, void *target,
                 size_t *size_p)
{
    static const cl_ulong total = 1 << 30, half = 1 << 29, local = 49152;
    static const cl_uint units = 4, mhz = 1500;
    static const size_t group = 1024, items [3] = { 1024, 512, 64 };
    const cl_bool available = s_driver.available, compiler = s_driver.compiler,
                  little = s_driver.little, images = CL_TRUE;
    const cl_device_fp_config fp64 = s_driver.fp64 ? CL_FP_FMA : 0;
    (void) device;
    if (question == s_driver.refused)
        return CL_OUT_OF_HOST_MEMORY;
    switch (question) {
    case CL_DEVICE_NAME: return SAY_TEXT (s_driver.name);
    case CL_DEVICE_VENDOR: return SAY_TEXT ("a vendor");
    case CL_DRIVER_VERSION: return SAY_TEXT ("7");
    case CL_DEVICE_VERSION: return SAY_TEXT (s_driver.version);
    case CL_DEVICE_EXTENSIONS: return SAY_TEXT (s_driver.extensions);
    case 0x105B /* CL_DEVICE_IL_VERSION */: return SAY_TEXT ("SPIR-V_1.2");
    case CL_DEVICE_TYPE: return SAY (s_driver.type);
    case CL_DEVICE_MAX_COMPUTE_UNITS: return SAY (units);
    case CL_DEVICE_MAX_CLOCK_FREQUENCY: return SAY (mhz);
    case CL_DEVICE_GLOBAL_MEM_SIZE: return SAY (total);
    case CL_DEVICE_MAX_MEM_ALLOC_SIZE: return SAY (half);
    case CL_DEVICE_MEM_BASE_ADDR_ALIGN: return SAY (s_driver.base_bits);
    case CL_DEVICE_LOCAL_MEM_SIZE: return SAY (local);
    case CL_DEVICE_MAX_WORK_GROUP_SIZE: return SAY (group);
    case CL_DEVICE_MAX_WORK_ITEM_SIZES: return SAY (items);
    case CL_DEVICE_HOST_UNIFIED_MEMORY: return SAY (s_driver.unified);
    case CL_DEVICE_AVAILABLE: return SAY (available);
    case CL_DEVICE_COMPILER_AVAILABLE: return SAY (compiler);
    case CL_DEVICE_ENDIAN_LITTLE: return SAY (little);
    case CL_DEVICE_IMAGE_SUPPORT: return SAY (images);
    case CL_DEVICE_DOUBLE_FP_CONFIG: return SAY (fp64);
    case CL_DEVICE_SVM_CAPABILITIES: return SAY (s_driver.svm);
    case CL_DEVICE_PCI_BUS_INFO_KHR: return SAY (s_driver.bus);
    case CL_DEVICE_PCI_BUS_ID_NV: return SAY (s_driver.nv_bus);
    case CL_DEVICE_PCI_SLOT_ID_NV: return SAY (s_driver.nv_slot);
    case CL_DEVICE_PCI_DOMAIN_ID_NV: return SAY (s_driver.nv_domain);
    default: return CL_INVALID_VALUE;
    }
}

//  ---------------------------------------------------------------------------------------------------------
//  Helpers

//  A card that is in order.
static void
s_setup (void)
{
    s_operations = gpb_backend_module.operations;
    s_driver = (driver_t){ .platforms = 1,
                           .type = CL_DEVICE_TYPE_GPU,
                           .name = "  a card \t",
                           .version = "OpenCL 3.0 CUDA",
                           .extensions = "",
                           .available = true,
                           .compiler = true,
                           .little = true,
                           .base_bits = 4096 };
}

static gpb_status_t
s_describe (gpb_device_info_t *info)
{
    ck_assert_ok (s_operations->start (&gpb_backends_services, &s_backend, &error));
    gpb_status_t status = s_operations->describe (s_backend, 0, info, &error);
    s_operations->stop (&s_backend);
    ck_assert_ptr_null (s_backend);
    return status;
}

static bool
s_has (const gpb_device_info_t *info, const char *capability)
{
    for (uint32_t index = 0; index < info->capabilities_count; index++)
        if (strcmp (info->capabilities [index], capability) == 0)
            return true;
    return false;
}

//  ---------------------------------------------------------------------------------------------------------
//  Tests

START_TEST (test_a_driver_without_a_platform_says_what_to_install)
{
    s_setup ();
    s_driver.platforms_code = -1001;    //  what the ICD loader says
    s_driver.platforms = 0;
    ck_assert_refused (s_operations->start (&gpb_backends_services, &s_backend, &error),
                       GPB_FAILED_PRECONDITION, "install pocl-opencl-icd");
    ck_assert_ptr_null (s_backend);
    s_driver.platforms_code = CL_SUCCESS;
    ck_assert_refused (s_operations->start (&gpb_backends_services, &s_backend, &error),
                       GPB_FAILED_PRECONDITION, "install pocl-opencl-icd");
    s_driver.platforms_code = CL_OUT_OF_HOST_MEMORY;
    ck_assert_refused (s_operations->start (&gpb_backends_services, &s_backend, &error),
                       GPB_RESOURCE_EXHAUSTED, "clGetPlatformIDs");
    s_operations->stop (&s_backend);    //  nothing is there, and nothing happens
}
END_TEST

START_TEST (test_a_platform_that_refuses_its_devices_is_one_that_is_out_of_order)
{
    gpb_device_info_t info;
    s_setup ();
    s_driver.devices_code = CL_OUT_OF_HOST_MEMORY;
    ck_assert_refused (s_describe (&info), GPB_RESOURCE_EXHAUSTED, "clGetDeviceIDs");
    s_driver.devices_code = CL_DEVICE_NOT_FOUND;
    ck_assert_refused (s_describe (&info), GPB_OUT_OF_RANGE, "there are 0");
    s_driver.devices_code = CL_SUCCESS;
    s_driver.type = CL_DEVICE_TYPE_CUSTOM;    //  a video decoder, say
    ck_assert_refused (s_describe (&info), GPB_OUT_OF_RANGE, "there are 0");
}
END_TEST

START_TEST (test_a_card_is_described_in_the_librarys_words)
{
    gpb_device_info_t info;
    s_setup ();
    ck_assert_ok (s_describe (&info));
    ck_assert_str_eq (info.name, "a card");
    ck_assert_str_eq (info.type, "gpu");
    ck_assert_str_eq (info.architecture, "a card");
    ck_assert_str_eq (info.bus_id, "");
    ck_assert_uint_eq (info.memory_alignment, 512);
    ck_assert (!info.shares_host_memory);
    ck_assert (s_has (&info, "gpu") && s_has (&info, "images") && s_has (&info, "il"));
    ck_assert (!s_has (&info, "fp64") && !s_has (&info, "fp16") && !s_has (&info, "subgroups"));

    s_driver.type = CL_DEVICE_TYPE_ACCELERATOR;
    s_driver.fp64 = true;
    s_driver.unified = CL_TRUE;
    s_driver.svm = CL_DEVICE_SVM_COARSE_GRAIN_BUFFER | CL_DEVICE_SVM_FINE_GRAIN_BUFFER
                   | CL_DEVICE_SVM_FINE_GRAIN_SYSTEM | CL_DEVICE_SVM_ATOMICS;
    s_driver.extensions = "cl_khr_fp16_more cl_khr_fp16 cl_khr_subgroups "
                          "cl_khr_int64_base_atomics cl_khr_int64_extended_atomics";
    s_driver.version = "OpenCL 2.0 PoCL HSTR: pthread-x86_64-haswell";
    ck_assert_ok (s_describe (&info));
    ck_assert_str_eq (info.type, "accelerator");
    ck_assert_str_eq (info.architecture, "x86_64-haswell");
    ck_assert (info.shares_host_memory);
    static const char *const expected [] = { "fp64",          "fp16",       "subgroups",
                                             "int64_atomics", "svm_coarse", "svm_fine",
                                             "svm_system",    "svm_atomics" };
    for (size_t index = 0; index < sizeof expected / sizeof expected [0]; index++)
        ck_assert_msg (s_has (&info, expected [index]), "no %s", expected [index]);
    ck_assert (!s_has (&info, "il"));    //  2.0 has none without an extension
    s_driver.extensions = "cl_khr_fp16_more";
    ck_assert_ok (s_describe (&info));
    ck_assert (!s_has (&info, "fp16"));
}
END_TEST

START_TEST (test_a_name_that_is_too_long_is_cut_between_characters)
{
    gpb_device_info_t info;
    s_setup ();
    char name [2 * GPB_NAME_SIZE + 2] = "x";
    for (size_t at = 1; at + 2 < sizeof name; at += 2)
        memcpy (name + at, "\xC3\xA9", 2);
    s_driver.name = name;
    ck_assert_ok (s_describe (&info));
    size_t length = strlen (info.name);
    ck_assert_uint_ge (length, GPB_NAME_SIZE - 2);
    ck_assert_uint_lt (length, GPB_NAME_SIZE);
    ck_assert_uint_eq (length % 2, 1);
}
END_TEST

START_TEST (test_a_place_on_the_bus_is_read_as_each_vendor_says_it)
{
    gpb_device_info_t info;
    s_setup ();
    s_driver.extensions = "cl_khr_pci_bus_info";
    s_driver.bus = (cl_device_pci_bus_info_khr){ 1, 0x65, 0x1F, 7 };
    ck_assert_ok (s_describe (&info));
    ck_assert_str_eq (info.bus_id, "0001:65:1f.7");
    s_driver.extensions = "cl_nv_device_attribute_query";
    s_driver.nv_bus = 0x0A;
    s_driver.nv_slot = 3 << 3 | 1;
    s_driver.nv_domain = 2;
    ck_assert_ok (s_describe (&info));
    ck_assert_str_eq (info.bus_id, "0002:0a:03.1");
    s_driver.refused = CL_DEVICE_PCI_DOMAIN_ID_NV;    //  drivers before 2019
    ck_assert_ok (s_describe (&info));
    ck_assert_str_eq (info.bus_id, "0000:0a:03.1");
    s_driver.refused = CL_DEVICE_PCI_SLOT_ID_NV;
    ck_assert_ok (s_describe (&info));
    ck_assert_str_eq (info.bus_id, "");
}
END_TEST

START_TEST (test_a_card_that_cannot_serve_says_why)
{
    gpb_device_info_t info;
    s_setup ();
    s_driver.available = false;
    ck_assert_refused (s_describe (&info), GPB_UNAVAILABLE, "is not available");
    s_setup ();
    s_driver.compiler = false;
    ck_assert_refused (s_describe (&info), GPB_FAILED_PRECONDITION, "has no compiler");
    s_setup ();
    s_driver.little = false;
    ck_assert_refused (s_describe (&info), GPB_FAILED_PRECONDITION, "big-endian");
    s_setup ();
    s_driver.version = "OpenCL 1.1 old";
    ck_assert_refused (s_describe (&info), GPB_FAILED_PRECONDITION, "1.2 is needed");
    s_driver.version = "something else";
    ck_assert_refused (s_describe (&info), GPB_FAILED_PRECONDITION, "is not \"OpenCL N.N");
}
END_TEST

START_TEST (test_a_question_that_the_driver_refuses_is_named)
{
    static const struct {
        cl_device_info question;
        const char *name;
    } table [] = { { CL_DEVICE_NAME, "CL_DEVICE_NAME" },
                   { CL_DEVICE_MAX_COMPUTE_UNITS, "CL_DEVICE_MAX_COMPUTE_UNITS" },
                   { CL_DEVICE_IMAGE_SUPPORT, "CL_DEVICE_IMAGE_SUPPORT" },
                   { CL_DEVICE_SVM_CAPABILITIES, "CL_DEVICE_SVM_CAPABILITIES" } };
    gpb_device_info_t info;
    s_setup ();
    for (size_t index = 0; index < sizeof table / sizeof table [0]; index++) {
        s_driver.refused = table [index].question;
        ck_assert_refused (s_describe (&info), GPB_RESOURCE_EXHAUSTED, table [index].name);
    }
    //  What is not a matter of order is asked all the same.
    s_driver.refused = CL_DEVICE_EXTENSIONS;
    ck_assert_ok (s_describe (&info));
}
END_TEST

START_TEST (test_a_context_on_a_card_that_is_out_of_order_is_refused)
{
    gpb_context_t *context;
    gpb_open_t open = { .streams = 1 };
    s_setup ();
    ck_assert_ok (s_operations->start (&gpb_backends_services, &s_backend, &error));
    s_driver.available = false;
    ck_assert_refused (s_operations->open (s_backend, 0, &open, &context, &error), GPB_UNAVAILABLE,
                       "is not available");
    ck_assert_ptr_null (context);
    open.streams = 0;
    ck_assert_refused (s_operations->open (s_backend, 0, &open, &context, &error),
                       GPB_INVALID_ARGUMENT, "1 to 64 streams");
    for (int64_t after = 0; after < 2; after++) {
        open.streams = 1;
        gpb_alloc_fail (after, 0);
        ck_assert_refused (s_operations->open (s_backend, 0, &open, &context, &error),
                           GPB_RESOURCE_EXHAUSTED, "context");
        gpb_alloc_fail (-1, 0);
    }
    s_operations->stop (&s_backend);
    for (int64_t after = 0; after < 2; after++) {
        gpb_alloc_fail (after, 0);
        ck_assert_refused (s_operations->start (&gpb_backends_services, &s_backend, &error),
                           GPB_RESOURCE_EXHAUSTED, "list of OpenCL devices");
        gpb_alloc_fail (-1, 0);
    }
}
END_TEST

GPB_TEST_MAIN ("gpb_opencl on other drivers", 20,
               test_a_driver_without_a_platform_says_what_to_install,
               test_a_platform_that_refuses_its_devices_is_one_that_is_out_of_order,
               test_a_card_is_described_in_the_librarys_words,
               test_a_name_that_is_too_long_is_cut_between_characters,
               test_a_place_on_the_bus_is_read_as_each_vendor_says_it,
               test_a_card_that_cannot_serve_says_why,
               test_a_question_that_the_driver_refuses_is_named,
               test_a_context_on_a_card_that_is_out_of_order_is_refused)
