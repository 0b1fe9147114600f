//  gpb_opencl_device - what an OpenCL device is
//
//  Reads everything that gpb_device_info_t holds from the driver, one thread at a time. A device
//  that answers one of the questions wrongly, is not available, has no compiler, or is older than
//  OpenCL 1.2 is out of order, with the reason.
//
//  Capabilities that it may list: the type (cpu, gpu or accelerator), fp64, fp16, images,
//  int64_atomics, subgroups, il (takes SPIR-V), svm_coarse, svm_fine (buffers), svm_system,
//  svm_atomics. The svm_ ones are left out where GPB_OPENCL_SVM=0.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_opencl.h"

#include <stdio.h>
#include <string.h>

//  NVIDIA's driver knew the place on the bus before Khronos did (cl_nv_device_attribute_query).
#ifndef CL_DEVICE_PCI_BUS_ID_NV
#define CL_DEVICE_PCI_BUS_ID_NV 0x4008
#endif
#ifndef CL_DEVICE_PCI_SLOT_ID_NV
#define CL_DEVICE_PCI_SLOT_ID_NV 0x4009
#endif
#ifndef CL_DEVICE_PCI_DOMAIN_ID_NV
#define CL_DEVICE_PCI_DOMAIN_ID_NV 0x400A
#endif

//  Reads values one after the other and remembers the first refusal, so that a description is a
//  list of reads.
typedef struct {
    cl_device_id device;
    cl_int code;
    const char *question;
} reader_t;

static void
s_read (reader_t *reader, cl_device_info parameter, const char *question, void *value, size_t size)
{
    cl_int code = clGetDeviceInfo (reader->device, parameter, size, value, NULL);
    if (code != CL_SUCCESS && reader->code == CL_SUCCESS) {
        reader->code = code;
        reader->question = question;
    }
}

#define READ(parameter, variable)                                                                  \
    s_read (&reader, parameter, "clGetDeviceInfo (" #parameter ")", &(variable), sizeof (variable))

//  A string of any length; what is longer than target is cut, at a byte that starts no character in
//  the middle. Leading and trailing blanks go: drivers pad.
static void
s_read_text (reader_t *reader, cl_device_info parameter, const char *question, char *target,
             size_t target_size)
{
    char text [2048] = "";
    size_t size = 0;
    cl_int code = clGetDeviceInfo (reader->device, parameter, 0, NULL, &size);
    if (code == CL_SUCCESS && size <= sizeof text)
        code = clGetDeviceInfo (reader->device, parameter, sizeof text, text, NULL);
    if (code != CL_SUCCESS && reader->code == CL_SUCCESS) {
        reader->code = code;
        reader->question = question;
    }
    text [sizeof text - 1] = 0;
    const char *start = text + strspn (text, " \t\n");
    size_t length = strlen (start);
    while (length > 0 && strchr (" \t\n", start [length - 1]))
        length--;
    if (length > target_size - 1) {
        length = target_size - 1;
        while (length > 0 && ((unsigned char) start [length] & 0xC0) == 0x80)
            length--;
    }
    memcpy (target, start, length);
    target [length] = 0;
}

#define READ_TEXT(parameter, target)                                                               \
    s_read_text (&reader, parameter, "clGetDeviceInfo (" #parameter ")", target, sizeof (target))

static void
s_add_capability (gpb_device_info_t *info, const char *name)
{
    if (info->capabilities_count < GPB_CAPABILITIES_MAX)
        snprintf (info->capabilities [info->capabilities_count++], GPB_CAPABILITY_SIZE, "%s", name);
}

//  Extensions are words separated by blanks; one's name may begin another's.
static bool
s_has_extension (cl_device_id device, const char *name)
{
    char extensions [16384] = "";
    if (clGetDeviceInfo (device, CL_DEVICE_EXTENSIONS, sizeof extensions, extensions, NULL)
        != CL_SUCCESS)
        return false;
    size_t length = strlen (name);
    for (const char *at = extensions; (at = strstr (at, name)); at += length)
        if ((at == extensions || at [-1] == ' ') && (at [length] == ' ' || at [length] == 0))
            return true;
    return false;
}

static void
s_describe_bus (cl_device_id device, char *bus_id, size_t size)
{
    bus_id [0] = 0;
    cl_device_pci_bus_info_khr bus;
    cl_uint bus_number, slot, domain;
    if (s_has_extension (device, "cl_khr_pci_bus_info")
        && clGetDeviceInfo (device, CL_DEVICE_PCI_BUS_INFO_KHR, sizeof bus, &bus, NULL)
               == CL_SUCCESS)
        snprintf (bus_id, size, "%04x:%02x:%02x.%x", (unsigned) bus.pci_domain,
                  (unsigned) bus.pci_bus, (unsigned) bus.pci_device, (unsigned) bus.pci_function);
    else if (s_has_extension (device, "cl_nv_device_attribute_query")
             && clGetDeviceInfo (device, CL_DEVICE_PCI_BUS_ID_NV, sizeof bus_number, &bus_number,
                                 NULL)
                    == CL_SUCCESS
             && clGetDeviceInfo (device, CL_DEVICE_PCI_SLOT_ID_NV, sizeof slot, &slot, NULL)
                    == CL_SUCCESS)
    {
        if (clGetDeviceInfo (device, CL_DEVICE_PCI_DOMAIN_ID_NV, sizeof domain, &domain, NULL)
            != CL_SUCCESS)
            domain = 0;
        snprintf (bus_id, size, "%04x:%02x:%02x.%x", (unsigned) domain, (unsigned) bus_number,
                  (unsigned) slot >> 3, (unsigned) slot & 7);
    }
}

//  OpenCL has no question for the instruction set. PoCL says in its version what it compiles for
//  ("OpenCL 3.0 PoCL HSTR: pthread-x86_64-pc-linux-gnu-haswell"); elsewhere the device's name is
//  what a binary fits.
static void
s_describe_architecture (const char *version, gpb_device_info_t *info)
{
    const char *mark = "HSTR: ";
    const char *found = strstr (version, mark);
    if (found) {
        found += strlen (mark);
        const char *dash = strchr (found, '-');
        found = dash ? dash + 1 : found;
    }
    else
        found = info->name;
    snprintf (info->architecture, sizeof info->architecture, "%.*s", GPB_NAME_SIZE - 1, found);
}

static void
s_describe_capabilities (reader_t *caller, unsigned version, cl_device_svm_capabilities svm,
                         gpb_device_info_t *info)
{
    reader_t reader = *caller;
    info->capabilities_count = 0;
    s_add_capability (info, info->type);
    cl_device_fp_config fp64 = 0;
    if (clGetDeviceInfo (reader.device, CL_DEVICE_DOUBLE_FP_CONFIG, sizeof fp64, &fp64, NULL)
            == CL_SUCCESS
        && fp64)
        s_add_capability (info, "fp64");
    if (s_has_extension (reader.device, "cl_khr_fp16"))
        s_add_capability (info, "fp16");
    cl_bool images = CL_FALSE;
    READ (CL_DEVICE_IMAGE_SUPPORT, images);
    if (images)
        s_add_capability (info, "images");
    if (s_has_extension (reader.device, "cl_khr_int64_base_atomics")
        && s_has_extension (reader.device, "cl_khr_int64_extended_atomics"))
        s_add_capability (info, "int64_atomics");
    if (s_has_extension (reader.device, "cl_khr_subgroups"))
        s_add_capability (info, "subgroups");
    char il [256] = "";
    if ((version >= 201 || s_has_extension (reader.device, "cl_khr_il_program"))
        && clGetDeviceInfo (reader.device, 0x105B /* CL_DEVICE_IL_VERSION */, sizeof il, il, NULL)
               == CL_SUCCESS
        && strstr (il, "SPIR-V"))
        s_add_capability (info, "il");
    if (svm & CL_DEVICE_SVM_COARSE_GRAIN_BUFFER)
        s_add_capability (info, "svm_coarse");
    if (svm & CL_DEVICE_SVM_FINE_GRAIN_BUFFER)
        s_add_capability (info, "svm_fine");
    if (svm & CL_DEVICE_SVM_FINE_GRAIN_SYSTEM)
        s_add_capability (info, "svm_system");
    if (svm & CL_DEVICE_SVM_ATOMICS)
        s_add_capability (info, "svm_atomics");
    *caller = reader;
}

gpb_status_t
gpb_opencl_describe_device (const gpb_backend_t *self, unsigned number, gpb_device_info_t *info,
                            cl_device_svm_capabilities *svm_p, gpb_error_t *error)
{
    if (number >= self->devices_count)
        return self->services->error_set (error, GPB_OUT_OF_RANGE,
                                          "no OpenCL device %u: there are %u", number,
                                          self->devices_count);
    const gpb_opencl_device_t *entry = &self->devices [number];
    if (entry->trouble != CL_SUCCESS)
        return gpb_opencl_refuse (self->services, error, entry->trouble, "clGetDeviceIDs");

    reader_t reader = { entry->device, CL_SUCCESS, NULL };
    memset (info, 0, sizeof *info);
    char version [256];
    READ_TEXT (CL_DEVICE_NAME, info->name);
    READ_TEXT (CL_DEVICE_VENDOR, info->vendor);
    READ_TEXT (CL_DRIVER_VERSION, info->driver);
    READ_TEXT (CL_DEVICE_VERSION, version);
    cl_device_type type = 0;
    cl_uint compute_units = 0, clock_mhz = 0, base_bits = 0;
    cl_ulong total = 0, max_allocation = 0, local = 0;
    size_t group = 0, items [GPB_DIMENSIONS + 13] = { 0 };
    cl_bool unified = CL_FALSE, available = CL_FALSE, compiler = CL_FALSE, little = CL_FALSE;
    READ (CL_DEVICE_TYPE, type);
    READ (CL_DEVICE_MAX_COMPUTE_UNITS, compute_units);
    READ (CL_DEVICE_MAX_CLOCK_FREQUENCY, clock_mhz);
    READ (CL_DEVICE_GLOBAL_MEM_SIZE, total);
    READ (CL_DEVICE_MAX_MEM_ALLOC_SIZE, max_allocation);
    READ (CL_DEVICE_MEM_BASE_ADDR_ALIGN, base_bits);
    READ (CL_DEVICE_LOCAL_MEM_SIZE, local);
    READ (CL_DEVICE_MAX_WORK_GROUP_SIZE, group);
    READ (CL_DEVICE_MAX_WORK_ITEM_SIZES, items);    //  at least three; room for more
    READ (CL_DEVICE_HOST_UNIFIED_MEMORY, unified);
    READ (CL_DEVICE_AVAILABLE, available);
    READ (CL_DEVICE_COMPILER_AVAILABLE, compiler);
    READ (CL_DEVICE_ENDIAN_LITTLE, little);
    unsigned major = 0, minor = 0;
    if (sscanf (version, "OpenCL %u.%u", &major, &minor) != 2)
        return self->services->error_set (error, GPB_FAILED_PRECONDITION,
                                          "%s: its version \"%s\" is not \"OpenCL N.N ...\"",
                                          info->name, version);
    cl_device_svm_capabilities svm = 0;
    if (major >= 2 && self->svm_wanted)
        READ (CL_DEVICE_SVM_CAPABILITIES, svm);
    snprintf (info->type, sizeof info->type, "%s",
              type & CL_DEVICE_TYPE_CPU   ? "cpu"
              : type & CL_DEVICE_TYPE_GPU ? "gpu"
                                          : "accelerator");
    s_describe_capabilities (&reader, major * 100 + minor, svm, info);
    if (reader.code != CL_SUCCESS)
        return gpb_opencl_refuse (self->services, error, reader.code, reader.question);
    if (!available)
        return self->services->error_set (error, GPB_UNAVAILABLE,
                                          "%s: its driver says that it is not available",
                                          info->name);
    if (!compiler)
        return self->services->error_set (error, GPB_FAILED_PRECONDITION,
                                          "%s: its driver has no compiler", info->name);
    if (!little)
        return self->services->error_set (error, GPB_FAILED_PRECONDITION,
                                          "%s: it is big-endian, and payloads are little-endian",
                                          info->name);
    if (major * 100 + minor < 102)
        return self->services->error_set (error, GPB_FAILED_PRECONDITION,
                                          "%s: it has OpenCL %u.%u; 1.2 is needed", info->name,
                                          major, minor);

    info->compute_units = compute_units;
    info->clock_mhz = clock_mhz;
    info->total_memory = total;
    info->max_allocation = max_allocation;
    info->memory_alignment = GPB_MEMORY_ALIGNMENT;
    while (info->memory_alignment < base_bits / 8)
        info->memory_alignment *= 2;
    info->local_memory = local;
    info->max_work_group_size = group;
    for (unsigned dimension = 0; dimension < GPB_DIMENSIONS; dimension++)
        info->max_work_item_sizes [dimension] = items [dimension];
    //  Unified memory alone is not enough: without fine-grain SVM the host has to map before it may
    //  look, and an integrated GPU copies what is wrapped unless its own rules on alignment are
    //  met.
    info->shares_host_memory = unified && (svm & CL_DEVICE_SVM_FINE_GRAIN_BUFFER);
    s_describe_bus (entry->device, info->bus_id, sizeof info->bus_id);
    s_describe_architecture (version, info);
    if (svm_p)
        *svm_p = svm;
    return GPB_OK;
}
