//  gpb_fake_cuda - driver, devices and contexts of the fake CUDA driver
//
//  What it is good for, and how it is set up, is said in gpb_fake_cuda.h. A device's attributes are
//  an H100's where nobody says otherwise. Its primary context is there while somebody has it
//  retained; the last release ends its streams, and waits for their threads.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_fake_cuda_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STACK_MAX 64

pthread_cond_t gpb_fake_cuda_changed = PTHREAD_COND_INITIALIZER;
driver_t gpb_fake_cuda_driver;

//  A thread's contexts, the current one last.
static _Thread_local CUcontext s_stack [STACK_MAX];
static _Thread_local unsigned s_stack_count;

static uint64_t
s_number (const char *name, uint64_t otherwise)
{
    const char *text = getenv (name);
    return text && *text ? strtoull (text, NULL, 10) : otherwise;
}

//  ---------------------------------------------------------------------------------------------------------
//  The driver

static void
s_read_environment (driver_t *self)
{
    uint64_t devices = s_number ("GPB_FAKE_CUDA_DEVICES", 1);
    const char *loading = getenv ("GPB_FAKE_CUDA_LOADING");
    self->devices_count =
        (int) (devices < GPB_FAKE_CUDA_DEVICES_MAX ? devices : GPB_FAKE_CUDA_DEVICES_MAX);
    self->bad = (int) s_number ("GPB_FAKE_CUDA_BAD", GPB_FAKE_CUDA_DEVICES_MAX);
    self->memory = s_number ("GPB_FAKE_CUDA_MEMORY", 64 << 20);
    self->capability = (unsigned) s_number ("GPB_FAKE_CUDA_CAPABILITY", 90);
    self->units = (unsigned) s_number ("GPB_FAKE_CUDA_UNITS", 16);
    self->compute_mode = (int) s_number ("GPB_FAKE_CUDA_COMPUTE_MODE", 0);
    self->has_pools = s_number ("GPB_FAKE_CUDA_POOLS", 1) != 0;
    self->is_old = s_number ("GPB_FAKE_CUDA_OLD", 0) != 0;
    self->is_lazy = loading && strcmp (loading, "lazy") == 0;
    self->copy_us = s_number ("GPB_FAKE_CUDA_COPY_US", 0);
    self->compute_us = s_number ("GPB_FAKE_CUDA_COMPUTE_US", 0);
}

CUresult
cuInit (unsigned int flags)
{
    driver_t *self = &gpb_fake_cuda_driver;
    CUresult result = gpb_fake_cuda_begin (CALL_cuInit);
    if (result == CUDA_SUCCESS && flags)
        result = CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS && !self->is_initialised) {
        s_read_environment (self);
        self->is_initialised = self->devices_count > 0;
        self->process = getpid ();
    }
    if (result == CUDA_SUCCESS && !self->is_initialised)
        result = CUDA_ERROR_NO_DEVICE;
    return gpb_fake_cuda_end (result);
}

CUresult
cuDriverGetVersion (int *version)
{
    CUresult result = gpb_fake_cuda_begin (CALL_cuDriverGetVersion);
    if (result == CUDA_SUCCESS)
        *version = (int) s_number ("GPB_FAKE_CUDA_VERSION", 13000);
    return gpb_fake_cuda_end (result);
}

//  NVRTC asks the driver that it finds by its soname for tables of functions that no header says
//  anything of, and does not look whether there is this one.
GPB_EXPORT CUresult cuGetExportTable (const void **table, const void *id);

CUresult
cuGetExportTable (const void **table, const void *id)
{
    (void) id;
    *table = NULL;
    return CUDA_ERROR_NOT_SUPPORTED;
}

static const char *
s_name (CUresult result)
{
    switch (result) {
#define S_RESULT(name, value)                                                                      \
    case name: return #name;
        GPB_CUDA_RESULTS (S_RESULT)
    default: return NULL;
    }
}

CUresult
cuGetErrorName (CUresult error, const char **text)
{
    CUresult result = gpb_fake_cuda_begin (CALL_cuGetErrorName);
    if (result == CUDA_SUCCESS) {
        *text = s_name (error);
        result = *text ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
    }
    return gpb_fake_cuda_end (result);
}

CUresult
cuGetErrorString (CUresult error, const char **text)
{
    CUresult result = gpb_fake_cuda_begin (CALL_cuGetErrorString);
    if (result == CUDA_SUCCESS) {
        *text = s_name (error) ? "the fake driver's words for it" : NULL;
        result = *text ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
    }
    return gpb_fake_cuda_end (result);
}

//  As when the library was opened, but for what a test's own threads have pushed.
void
gpb_fake_cuda_reset (void)
{
    driver_t *self = &gpb_fake_cuda_driver;
    pthread_mutex_lock (&gpb_fake_cuda_lock);
    for (int device = 0; device < self->devices_count; device++) {
        CUcontext context = self->devices [device].context;
        if (context) {
            gpb_fake_cuda_end_context (context, CUDA_ERROR_CONTEXT_IS_DESTROYED);
            gpb_fake_cuda_join (context);
            gpb_fake_cuda_free_all (context);
        }
    }
    gpb_fake_cuda_forget_addresses ();
    for (object_t *object = self->objects, *next; object; object = next) {
        next = object->next;
        gpb_fake_cuda_forget (object);
        free (object);
    }
    memset (self, 0, sizeof *self);
    gpb_fake_cuda_forget_registered ();
    gpb_fake_cuda_forget_books ();
    s_stack_count = 0;
    pthread_mutex_unlock (&gpb_fake_cuda_lock);
}

//  ---------------------------------------------------------------------------------------------------------
//  Devices

//  Takes the lock, as every begin does.
static CUresult
s_begin_device (call_t call, CUdevice device)
{
    CUresult result = gpb_fake_cuda_begin_driver (call);
    return result == CUDA_SUCCESS && (device < 0 || device >= gpb_fake_cuda_driver.devices_count)
               ? CUDA_ERROR_INVALID_DEVICE
               : result;
}

CUresult
cuDeviceGetCount (int *count)
{
    CUresult result = gpb_fake_cuda_begin_driver (CALL_cuDeviceGetCount);
    if (result == CUDA_SUCCESS)
        *count = gpb_fake_cuda_driver.devices_count;
    return gpb_fake_cuda_end (result);
}

CUresult
cuDeviceGet (CUdevice *device, int ordinal)
{
    CUresult result = s_begin_device (CALL_cuDeviceGet, ordinal);
    if (result == CUDA_SUCCESS)
        *device = ordinal;
    return gpb_fake_cuda_end (result);
}

CUresult
cuDeviceGetName (char *name, int size, CUdevice device)
{
    CUresult result = s_begin_device (CALL_cuDeviceGetName, device);
    if (result == CUDA_SUCCESS && size < 1)
        result = CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        snprintf (name, (size_t) size, "fake CUDA %d", device);
    return gpb_fake_cuda_end (result);
}

CUresult
cuDeviceTotalMem_v2 (size_t *size, CUdevice device)
{
    CUresult result = s_begin_device (CALL_cuDeviceTotalMem, device);
    if (result == CUDA_SUCCESS)
        *size = gpb_fake_cuda_driver.memory;
    return gpb_fake_cuda_end (result);
}

CUresult
cuDeviceGetPCIBusId (char *text, int size, CUdevice device)
{
    char bus_id [32];
    int length = snprintf (bus_id, sizeof bus_id, "0000:%02x:00.0", 0x65 + (unsigned) device);
    CUresult result = s_begin_device (CALL_cuDeviceGetPCIBusId, device);
    if (result == CUDA_SUCCESS && size <= length)
        result = CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        memcpy (text, bus_id, (size_t) length + 1);
    return gpb_fake_cuda_end (result);
}

CUresult
cuDeviceCanAccessPeer (int *can, CUdevice device, CUdevice peer)
{
    CUresult result = s_begin_device (CALL_cuDeviceCanAccessPeer, device);
    if (result == CUDA_SUCCESS
        && (peer == device || peer < 0 || peer >= gpb_fake_cuda_driver.devices_count))
        result = CUDA_ERROR_INVALID_DEVICE;
    if (result == CUDA_SUCCESS)
        *can = 0;
    return gpb_fake_cuda_end (result);
}

//  -1: no attribute that is known here.
static int
s_attribute (const driver_t *self, CUdevice_attribute attribute)
{
    switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X:
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y: return 1024;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z: return 64;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X: return INT32_MAX;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y:
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z: return 65535;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK: return GPB_FAKE_CUDA_SHARED_SIZE;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: return GPB_FAKE_CUDA_SHARED_MAX;
    case CU_DEVICE_ATTRIBUTE_WARP_SIZE: return 32;
    case CU_DEVICE_ATTRIBUTE_CLOCK_RATE: return 1980000;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: return (int) self->units;
    case CU_DEVICE_ATTRIBUTE_KERNEL_EXEC_TIMEOUT:
    case CU_DEVICE_ATTRIBUTE_INTEGRATED: return 0;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_MODE: return self->compute_mode;
    case CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT: return 3;
    case CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY:
    case CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS:
    case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING:
    case CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH: return 1;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: return (int) self->capability / 10;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: return (int) self->capability % 10;
    case CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED: return self->has_pools;
    case CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_SUPPORTED: return 0;
    default: return -1;
    }
}

CUresult
cuDeviceGetAttribute (int *value, CUdevice_attribute attribute, CUdevice device)
{
    CUresult result = s_begin_device (CALL_cuDeviceGetAttribute, device);
    if (result == CUDA_SUCCESS) {
        int found = s_attribute (&gpb_fake_cuda_driver, attribute);
        if (found < 0)
            result = CUDA_ERROR_INVALID_VALUE;
        else
            *value = found;
    }
    return gpb_fake_cuda_end (result);
}

//  ---------------------------------------------------------------------------------------------------------
//  Contexts

void
gpb_fake_cuda_end_context (CUcontext context, CUresult error)
{
    if (context->error != CUDA_SUCCESS)
        return;
    context->error = error;
    if (error != CUDA_ERROR_CONTEXT_IS_DESTROYED)
        gpb_fake_cuda_driver.devices [context->device].lost = error;
    atomic_store (&context->is_over, true);
    pthread_cond_broadcast (&gpb_fake_cuda_changed);
}

CUcontext
gpb_fake_cuda_current (void)
{
    return s_stack_count ? s_stack [s_stack_count - 1] : NULL;
}

bool
gpb_fake_cuda_killed (void)
{
    return gpb_fake_cuda_at.inside && atomic_load (&gpb_fake_cuda_at.inside->is_over);
}

CUresult
cuDevicePrimaryCtxRetain (CUcontext *context_p, CUdevice number)
{
    const driver_t *self = &gpb_fake_cuda_driver;
    CUresult result = s_begin_device (CALL_cuDevicePrimaryCtxRetain, number);
    if (result == CUDA_SUCCESS && number == self->bad)
        result = CUDA_ERROR_DEVICE_UNAVAILABLE;
    if (result == CUDA_SUCCESS && self->compute_mode == CU_COMPUTEMODE_PROHIBITED)
        result = CUDA_ERROR_UNKNOWN;    //  as the manual of cuCtxCreate has it
    if (result == CUDA_SUCCESS)
        result = gpb_fake_cuda_driver.devices [number].lost;
    if (result == CUDA_SUCCESS) {
        device_t *device = &gpb_fake_cuda_driver.devices [number];
        if (!device->context)
            device->context = gpb_fake_cuda_object (NULL, OBJECT_CONTEXT, sizeof *device->context);
        if (device->context) {
            device->context->device = number;
            device->context->retained++;
            *context_p = device->context;
        }
        else
            result = CUDA_ERROR_OUT_OF_MEMORY;
    }
    return gpb_fake_cuda_end (result);
}

static void
s_check_left (const struct CUctx_st *context)
{
    unsigned left [OBJECTS] = { 0 };
    for (const object_t *object = gpb_fake_cuda_driver.objects; object; object = object->next)
        left [object->kind] += object->context == context && !object->is_gone;
    unsigned blocks = gpb_fake_cuda_count_blocks (context);
    if (blocks || left [OBJECT_STREAM] || left [OBJECT_EVENT] || left [OBJECT_MODULE]
        || left [OBJECT_POOL])
        gpb_fake_cuda_fault ("is the last, with %u blocks of memory, %u streams, %u events, %u "
                             "modules and %u pools left",
                             blocks, left [OBJECT_STREAM], left [OBJECT_EVENT],
                             left [OBJECT_MODULE], left [OBJECT_POOL]);
    if (context->pushed)
        gpb_fake_cuda_fault ("is the last, with the context on %u stacks of threads",
                             context->pushed);
}

CUresult
cuDevicePrimaryCtxRelease_v2 (CUdevice number)
{
    CUresult result = s_begin_device (CALL_cuDevicePrimaryCtxRelease, number);
    if (result != CUDA_SUCCESS)
        return gpb_fake_cuda_end (result);
    device_t *device = &gpb_fake_cuda_driver.devices [number];
    CUcontext context = device->context;
    if (!context) {
        gpb_fake_cuda_fault ("releases device %d too often", number);
        return gpb_fake_cuda_end (CUDA_ERROR_INVALID_CONTEXT);
    }
    if (--context->retained)
        return gpb_fake_cuda_end (CUDA_SUCCESS);
    if (context->error == CUDA_SUCCESS && !gpb_fake_cuda_driver.is_excused)
        s_check_left (context);
    device->context = NULL;
    gpb_fake_cuda_end_context (context, CUDA_ERROR_CONTEXT_IS_DESTROYED);
    gpb_fake_cuda_join (context);
    gpb_fake_cuda_free_all (context);
    context->object.is_gone = true;
    for (object_t *object = gpb_fake_cuda_driver.objects; object; object = object->next)
        if (object->context == context)
            object->is_gone = true;
    return gpb_fake_cuda_end (CUDA_SUCCESS);
}

//  A context that has failed can be made current all the same.
CUresult
cuCtxPushCurrent_v2 (CUcontext context)
{
    CUresult result = gpb_fake_cuda_begin_driver (CALL_cuCtxPushCurrent);
    if (result == CUDA_SUCCESS
        && gpb_fake_cuda_check (NULL, context, OBJECT_CONTEXT) != CUDA_SUCCESS)
        result = CUDA_ERROR_INVALID_CONTEXT;
    if (result == CUDA_SUCCESS && s_stack_count == STACK_MAX) {
        gpb_fake_cuda_fault ("has been called %d times more than cuCtxPopCurrent", STACK_MAX);
        result = CUDA_ERROR_INVALID_VALUE;
    }
    if (result == CUDA_SUCCESS) {
        s_stack [s_stack_count++] = context;
        context->pushed++;
    }
    return gpb_fake_cuda_end (result);
}

CUresult
cuCtxPopCurrent_v2 (CUcontext *context_p)
{
    CUresult result = gpb_fake_cuda_begin_driver (CALL_cuCtxPopCurrent);
    CUcontext context = gpb_fake_cuda_current ();
    if (result == CUDA_SUCCESS && !context) {
        gpb_fake_cuda_fault ("pops a context that this thread has not pushed");
        result = CUDA_ERROR_INVALID_CONTEXT;
    }
    if (result == CUDA_SUCCESS) {
        s_stack_count--;
        context->pushed--;
        if (context_p)
            *context_p = context;
    }
    return gpb_fake_cuda_end (result);
}
