//  gpb_cuda - the CUDA backend: driver and contexts
//
//  A context retains its device's primary CUDA context, which it shares with whoever else uses CUDA
//  in this process, has a memory pool of its own, and as many streams as it is opened with
//  (gpb_cuda_stream.c). It starts no thread. Its end waits for what runs, and for the callbacks
//  that are still to come; what a lost context never calls back is left to the end of the process.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_cuda.h"

#include <stdlib.h>

#define STREAMS_MAX 64

static void s_stop (gpb_backend_t **backend_p);
static void s_close (gpb_context_t **context_p);

//  ---------------------------------------------------------------------------------------------------------
//  The backend

static gpb_status_t
s_find_devices (gpb_backend_t *self, gpb_error_t *error)
{
    const gpb_cuda_driver_t *cuda = &self->cuda;
    CUresult result = cuda->cuInit (0);
    if (result == CUDA_SUCCESS)
        result = cuda->cuDriverGetVersion (&self->driver_version);
    if (result == CUDA_SUCCESS)
        result = cuda->cuDeviceGetCount (&self->devices_count);
    if (result == CUDA_ERROR_NO_DEVICE || (result == CUDA_SUCCESS && self->devices_count == 0)) {
        const char *visible = getenv ("CUDA_VISIBLE_DEVICES");
        return self->services->error_set (error, GPB_FAILED_PRECONDITION,
                                          "the CUDA driver sees no device%s%.100s%s",
                                          visible ? ": CUDA_VISIBLE_DEVICES is \"" : "",
                                          visible ? visible : "", visible ? "\"" : "");
    }
    if (result != CUDA_SUCCESS) {
        gpb_cuda_refuse (self, error, result, "the CUDA driver does not start: cuInit");
        error->status = GPB_FAILED_PRECONDITION;
        return error->status;
    }
    return GPB_OK;
}

static gpb_status_t
s_start (const gpb_backend_services_t *services, gpb_backend_t **backend_p, gpb_error_t *error)
{
    *backend_p = NULL;
    gpb_backend_t *self = services->alloc (1, sizeof *self);
    if (!self)
        return services->error_set (error, GPB_RESOURCE_EXHAUSTED,
                                    "out of memory for the CUDA backend");
    self->services = services;
    gpb_status_t status = gpb_cuda_load (self, error);
    if (status == GPB_OK)
        status = s_find_devices (self, error);
    if (status != GPB_OK) {
        s_stop (&self);
        return status;
    }
    *backend_p = self;
    return GPB_OK;
}

static void
s_stop (gpb_backend_t **backend_p)
{
    gpb_backend_t *self = *backend_p;
    *backend_p = NULL;
    if (self)
        self->services->free (self);
}

static gpb_status_t
s_describe (gpb_backend_t *self, unsigned number, gpb_device_info_t *info, gpb_error_t *error)
{
    CUdevice device;
    return gpb_cuda_describe_device (self, number, info, &device, error);
}

//  ---------------------------------------------------------------------------------------------------------
//  A context

static gpb_status_t
s_open_streams (gpb_context_t *self, const gpb_open_t *open, gpb_error_t *error)
{
    gpb_status_t status = GPB_OK;
    for (unsigned number = 0; status == GPB_OK && number < open->streams; number++) {
        gpb_cuda_stream_t *stream = &self->streams [number];
        stream->context = self;
        stream->notify_fd = open->notify_fds ? open->notify_fds [number] : -1;
        atomic_init (&stream->outstanding, 0);
        self->streams_count++;
        status = gpb_cuda_stream_open (self, stream, error);
    }
    return status;
}

//  An older driver has no such question, and no lazy loading either.
static bool
s_is_lazy (const gpb_cuda_driver_t *cuda)
{
    CUmoduleLoadingMode mode = CU_MODULE_EAGER_LOADING;
    return cuda->cuModuleGetLoadingMode && cuda->cuModuleGetLoadingMode (&mode) == CUDA_SUCCESS
           && mode == CU_MODULE_LAZY_LOADING;
}

static gpb_status_t
s_retain (gpb_context_t *self, gpb_error_t *error)
{
    CUresult result = self->cuda->cuDevicePrimaryCtxRetain (&self->primary, self->device);
    if (result == CUDA_SUCCESS)
        return GPB_OK;
    self->primary = NULL;
    if (result != CUDA_ERROR_DEVICE_UNAVAILABLE)
        return gpb_cuda_refuse (self->backend, error, result, "cuDevicePrimaryCtxRetain");
    return self->services->error_set (error, GPB_UNAVAILABLE,
                                      "%s (%s) is busy: another process has it for itself "
                                      "(compute mode \"exclusive process\")",
                                      self->info.name, self->info.bus_id);
}

static gpb_status_t
s_open (gpb_backend_t *backend, unsigned number, const gpb_open_t *open, gpb_context_t **context_p,
        gpb_error_t *error)
{
    const gpb_backend_services_t *services = backend->services;
    *context_p = NULL;
    if (open->streams < 1 || open->streams > STREAMS_MAX)
        return services->error_set (error, GPB_INVALID_ARGUMENT,
                                    "a context has 1 to %d streams, not %u", STREAMS_MAX,
                                    open->streams);
    gpb_context_t *self = services->alloc (1, sizeof *self);
    gpb_cuda_stream_t *streams = services->alloc (open->streams, sizeof *streams);
    if (!self || !streams) {
        services->free (self);
        services->free (streams);
        return services->error_set (error, GPB_RESOURCE_EXHAUSTED,
                                    "out of memory for a context with %u streams", open->streams);
    }
    self->backend = backend;
    self->services = services;
    self->cuda = &backend->cuda;
    self->streams = streams;
    self->profiling = open->profiling;
    atomic_init (&self->lost, CUDA_SUCCESS);
    gpb_status_t status =
        gpb_cuda_describe_device (backend, number, &self->info, &self->device, error);
    if (status == GPB_OK)
        status = s_retain (self, error);
    if (status == GPB_OK)
        status = gpb_cuda_enter (self, error);
    if (status == GPB_OK) {
        self->is_lazy = s_is_lazy (self->cuda);
        status = gpb_cuda_memory_open (self, error);
        if (status == GPB_OK)
            status = s_open_streams (self, open, error);
        gpb_cuda_leave (self);
    }
    if (status != GPB_OK) {
        s_close (&self);
        return status;
    }
    *context_p = self;
    return GPB_OK;
}

static void
s_close (gpb_context_t **context_p)
{
    gpb_context_t *self = *context_p;
    if (!self)
        return;
    *context_p = NULL;
    const gpb_cuda_driver_t *cuda = self->cuda;
    bool is_quiet = true;
    //  Where it cannot be current, the driver refuses what follows, and our memory is freed.
    const bool is_current = self->primary && cuda->cuCtxPushCurrent (self->primary) == CUDA_SUCCESS;
    if (self->primary) {
        for (unsigned stream = 0; stream < self->streams_count; stream++) {
            if (self->streams [stream].commands)
                cuda->cuStreamSynchronize (self->streams [stream].commands);
            if (self->streams [stream].notices)
                cuda->cuStreamSynchronize (self->streams [stream].notices);
        }
        for (unsigned stream = 0; stream < self->streams_count; stream++)
            is_quiet = gpb_cuda_stream_close (self, &self->streams [stream]) && is_quiet;
        gpb_cuda_memory_close (self);
        if (is_current)
            gpb_cuda_leave (self);
        cuda->cuDevicePrimaryCtxRelease (self->device);
    }
    //  What a callback may still write to is left to the end of the process.
    if (!is_quiet)
        return;
    self->services->free (self->streams);
    self->services->free (self);
}

//  ---------------------------------------------------------------------------------------------------------
//  The module

static const gpb_backend_operations_t s_operations = {
    .start = s_start,
    .stop = s_stop,
    .describe = s_describe,
    .open = s_open,
    .close = s_close,
    .memory_free = gpb_cuda_memory_free,
    .allocate = gpb_cuda_allocate,
    .wrap = gpb_cuda_wrap,
    .release = gpb_cuda_release,
    .address = gpb_cuda_address,
    .copy = gpb_cuda_copy,
    .zero = gpb_cuda_zero,
    .build = gpb_cuda_build,
    .binary = gpb_cuda_binary,
    .compile = gpb_cuda_compile_apart,
    .compiler = gpb_cuda_compiler,
    .unload = gpb_cuda_unload,
    .function = gpb_cuda_function,
    .launch = gpb_cuda_launch,
    .query = gpb_cuda_query,
    .event_free = gpb_cuda_event_free,
};

extern GPB_EXPORT const gpb_backend_module_t gpb_backend_module;
const gpb_backend_module_t gpb_backend_module = {
    .abi = GPB_BACKEND_ABI,
    .size = sizeof (gpb_backend_operations_t),
    .name = "cuda",
    .operations = &s_operations,
};
