//  gpb_cuda_device - what a CUDA device is
//
//  Asks the driver without making a context, so that describing a card costs none of its memory,
//  and one that is busy or forbidden is still listed with its reason.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_cuda.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

//  Reads attributes one after the other; the first trouble stays.
typedef struct {
    const gpb_cuda_driver_t *cuda;
    CUdevice device;
    CUresult result;
    const char *call;
} reader_t;

static void
s_keep (reader_t *reader, CUresult result, const char *call)
{
    if (result != CUDA_SUCCESS && reader->result == CUDA_SUCCESS) {
        reader->result = result;
        reader->call = call;
    }
}

static uint64_t
s_read (reader_t *reader, CUdevice_attribute attribute, const char *call)
{
    int value = 0;
    s_keep (reader, reader->cuda->cuDeviceGetAttribute (&value, attribute, reader->device), call);
    return value > 0 ? (uint64_t) value : 0;
}

#define READ(reader, attribute)                                                                    \
    s_read (reader, CU_DEVICE_ATTRIBUTE_##attribute, "cuDeviceGetAttribute (" #attribute ")")

static void
s_add_capability (gpb_device_info_t *info, const char *name)
{
    if (info->capabilities_count < GPB_CAPABILITIES_MAX)
        snprintf (info->capabilities [info->capabilities_count++], GPB_CAPABILITY_SIZE, "%.31s",
                  name);
}

static void
s_add_if (gpb_device_info_t *info, bool is_there, const char *name)
{
    if (is_there)
        s_add_capability (info, name);
}

//  "compute_80" on everything that is at least that: what a package requires is a least capability.
static void
s_add_architectures (gpb_device_info_t *info, uint64_t capability)
{
    static const unsigned known [] = { 50, 60, 61, 70, 75, 80, 86, 89, 90, 100, 103, 110, 120 };
    char name [GPB_CAPABILITY_SIZE];
    s_add_capability (info, info->architecture);
    for (size_t index = 0; index < sizeof known / sizeof known [0]; index++)
        if (known [index] <= capability) {
            snprintf (name, sizeof name, "compute_%u", known [index]);
            s_add_capability (info, name);
        }
}

static bool
s_has_peer (const gpb_backend_t *self, CUdevice device)
{
    for (int number = 0; number < self->devices_count; number++) {
        CUdevice peer;
        int can = 0;
        if (self->cuda.cuDeviceGet (&peer, number) == CUDA_SUCCESS && peer != device
            && self->cuda.cuDeviceCanAccessPeer (&can, device, peer) == CUDA_SUCCESS && can)
            return true;
    }
    return false;
}

static void
s_fill_capabilities (const gpb_backend_t *self, reader_t *reader, gpb_device_info_t *info,
                     uint64_t capability)
{
    s_add_capability (info, info->type);
    s_add_capability (info, "cuda");
    s_add_architectures (info, capability);
    s_add_capability (info, "fp64");
    s_add_if (info, capability >= 53, "fp16");
    s_add_capability (info, "int64_atomics");
    s_add_capability (info, "subgroups");
    s_add_if (info, capability >= 70, "tensor_cores");
    s_add_if (info, READ (reader, COOPERATIVE_LAUNCH), "cooperative_launch");
    s_add_if (info, READ (reader, MEMORY_POOLS_SUPPORTED), "memory_pools");
    s_add_if (info, READ (reader, GPU_DIRECT_RDMA_SUPPORTED), "gpudirect");
    s_add_if (info, s_has_peer (self, reader->device), "p2p");
    //  Persistent kernels need more than memory that both sides reach: other kernels must run
    //  beside one that stays, and memory must come and go without waiting for it.
    s_add_if (info,
              READ (reader, CAN_MAP_HOST_MEMORY) && READ (reader, UNIFIED_ADDRESSING)
                  && READ (reader, CONCURRENT_KERNELS) && READ (reader, MEMORY_POOLS_SUPPORTED)
                  && capability >= 70,
              "host_mapped");
}

static void
s_fill_limits (reader_t *reader, gpb_device_info_t *info)
{
    size_t memory = 0;
    s_keep (reader, reader->cuda->cuDeviceTotalMem (&memory, reader->device), "cuDeviceTotalMem");
    info->total_memory = info->max_allocation = memory;
    info->memory_alignment = 256;    //  what every allocation of the driver's has
    info->compute_units = (uint32_t) READ (reader, MULTIPROCESSOR_COUNT);
    info->clock_mhz = (uint32_t) (READ (reader, CLOCK_RATE) / 1000);
    info->local_memory = READ (reader, MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
    if (info->local_memory == 0)
        info->local_memory = READ (reader, MAX_SHARED_MEMORY_PER_BLOCK);
    info->max_work_group_size = READ (reader, MAX_THREADS_PER_BLOCK);
    info->max_work_item_sizes [0] = READ (reader, MAX_BLOCK_DIM_X);
    info->max_work_item_sizes [1] = READ (reader, MAX_BLOCK_DIM_Y);
    info->max_work_item_sizes [2] = READ (reader, MAX_BLOCK_DIM_Z);
    info->shares_host_memory = false;
    info->loads_alone = true;
}

gpb_status_t
gpb_cuda_describe_device (const gpb_backend_t *self, unsigned number, gpb_device_info_t *info,
                          CUdevice *device_p, gpb_error_t *error)
{
    memset (info, 0, sizeof *info);
    if (number >= (unsigned) self->devices_count)
        return self->services->error_set (error, GPB_OUT_OF_RANGE,
                                          "no CUDA device %u: there are %d", number,
                                          self->devices_count);
    reader_t reader = { .cuda = &self->cuda, .result = CUDA_SUCCESS };
    s_keep (&reader, self->cuda.cuDeviceGet (&reader.device, (int) number), "cuDeviceGet");
    if (reader.result != CUDA_SUCCESS)
        return gpb_cuda_refuse (self, error, reader.result, reader.call);
    s_keep (&reader,
            self->cuda.cuDeviceGetName (info->name, (int) sizeof info->name, reader.device),
            "cuDeviceGetName");
    s_keep (&reader,
            self->cuda.cuDeviceGetPCIBusId (info->bus_id, (int) sizeof info->bus_id, reader.device),
            "cuDeviceGetPCIBusId");
    for (char *at = info->bus_id; *at; at++)
        *at = (char) tolower ((unsigned char) *at);    //  as the kernel, and OpenCL, write it
    const uint64_t major = READ (&reader, COMPUTE_CAPABILITY_MAJOR);
    const uint64_t minor = READ (&reader, COMPUTE_CAPABILITY_MINOR);
    snprintf (info->vendor, sizeof info->vendor, "NVIDIA");
    snprintf (info->type, sizeof info->type, "gpu");
    snprintf (info->architecture, sizeof info->architecture, "sm_%u",
              (unsigned) (10 * major + minor));
    int length = snprintf (info->driver, sizeof info->driver, "CUDA %d.%d",
                           self->driver_version / 1000, self->driver_version % 1000 / 10);
    if (self->nvrtc_major)
        snprintf (info->driver + length, sizeof info->driver - (size_t) length, ", NVRTC %d.%d",
                  self->nvrtc_major, self->nvrtc_minor);
    else
        snprintf (info->driver + length, sizeof info->driver - (size_t) length, ", no NVRTC");
    s_fill_limits (&reader, info);
    s_fill_capabilities (self, &reader, info, 10 * major + minor);
    const bool is_forbidden = READ (&reader, COMPUTE_MODE) == CU_COMPUTEMODE_PROHIBITED;
    if (reader.result != CUDA_SUCCESS)
        return gpb_cuda_refuse (self, error, reader.result, reader.call);
    if (is_forbidden)
        return self->services->error_set (error, GPB_FAILED_PRECONDITION,
                                          "%s (%s) is in compute mode \"prohibited\": nobody may "
                                          "use it",
                                          info->name, info->bus_id);
    *device_p = reader.device;
    return GPB_OK;
}
