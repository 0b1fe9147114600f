//  gpb_opencl - the OpenCL backend: platforms, contexts, streams and events
//
//  OpenCL 1.2, and fine-grain SVM where the device has it (PoCL does). A context is one cl_context
//  with an in-order command queue for each stream; nothing is shared between streams, so that the
//  threads which use them need no lock. It starts no thread; the driver has its own, and one of
//  them runs the callback that adds 1 to a stream's eventfd. A context counts the callbacks that
//  are still to come, and its end waits for them, since they use its memory.
//
//  A command is flushed to the device when somebody can learn of its end (an event or a
//  notification was asked for); one that nobody waits for goes with the next, or with close.
//
//  GPB_OPENCL_SVM=0 in the environment leaves SVM alone, for a driver that has it wrong.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_opencl.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PLATFORMS_MAX 32
#define DEVICES_MAX 256
#define STREAMS_MAX 64

static void s_stop (gpb_backend_t **backend_p);
static void s_close (gpb_context_t **context_p);

//  ---------------------------------------------------------------------------------------------------------
//  The backend

//  Custom devices run no OpenCL C and are left out. One that answers wrongly keeps a place.
static void
s_list_devices (gpb_backend_t *self, cl_platform_id platform)
{
    cl_device_id devices [DEVICES_MAX];
    cl_uint count = 0;
    cl_int code = clGetDeviceIDs (platform, CL_DEVICE_TYPE_ALL, DEVICES_MAX, devices, &count);
    if (code == CL_DEVICE_NOT_FOUND)
        return;
    if (code != CL_SUCCESS) {
        if (self->devices_count < DEVICES_MAX)
            self->devices [self->devices_count++] = (gpb_opencl_device_t){ platform, NULL, code };
        return;
    }
    for (cl_uint index = 0; index < count && index < DEVICES_MAX; index++) {
        cl_device_type type = 0;
        code = clGetDeviceInfo (devices [index], CL_DEVICE_TYPE, sizeof type, &type, NULL);
        if (code == CL_SUCCESS && (type & CL_DEVICE_TYPE_CUSTOM))
            continue;
        if (self->devices_count < DEVICES_MAX)
            self->devices [self->devices_count++] =
                (gpb_opencl_device_t){ platform, devices [index], CL_SUCCESS };
    }
}

static gpb_status_t
s_start (const gpb_backend_services_t *services, gpb_backend_t **backend_p, gpb_error_t *error)
{
    *backend_p = NULL;
    cl_platform_id platforms [PLATFORMS_MAX];
    cl_uint count = 0;
    cl_int code = clGetPlatformIDs (PLATFORMS_MAX, platforms, &count);
    if (code == -1001 || (code == CL_SUCCESS && count == 0))
        return services->error_set (
            error, GPB_FAILED_PRECONDITION,
            "no OpenCL platform: install pocl-opencl-icd or a vendor's driver");
    if (code != CL_SUCCESS)
        return gpb_opencl_refuse (services, error, code, "clGetPlatformIDs");

    gpb_backend_t *self = services->alloc (1, sizeof *self);
    gpb_opencl_device_t *devices = services->alloc (DEVICES_MAX, sizeof *devices);
    if (!self || !devices) {
        services->free (self);
        services->free (devices);
        return services->error_set (error, GPB_RESOURCE_EXHAUSTED,
                                    "out of memory for the list of OpenCL devices");
    }
    self->services = services;
    self->devices = devices;
    const char *svm = getenv ("GPB_OPENCL_SVM");
    self->svm_wanted = !svm || strcmp (svm, "0") != 0;
    for (cl_uint index = 0; index < count && index < PLATFORMS_MAX; index++)
        s_list_devices (self, platforms [index]);
    *backend_p = self;
    return GPB_OK;
}

static void
s_stop (gpb_backend_t **backend_p)
{
    gpb_backend_t *self = *backend_p;
    if (!self)
        return;
    *backend_p = NULL;
    self->services->free (self->devices);
    self->services->free (self);
}

static gpb_status_t
s_describe (gpb_backend_t *self, unsigned number, gpb_device_info_t *info, gpb_error_t *error)
{
    return gpb_opencl_describe_device (self, number, info, NULL, error);
}

//  ---------------------------------------------------------------------------------------------------------
//  A context

static gpb_status_t
s_open_streams (gpb_context_t *self, const gpb_open_t *open, gpb_error_t *error)
{
    const cl_command_queue_properties properties = open->profiling ? CL_QUEUE_PROFILING_ENABLE : 0;
    for (unsigned stream = 0; stream < open->streams; stream++) {
        cl_int code;
        cl_command_queue queue =
            clCreateCommandQueue (self->context, self->device, properties, &code);
        if (!queue)
            return gpb_opencl_refuse (self->services, error, code, "clCreateCommandQueue");
        self->streams [stream].queue = queue;
        self->streams [stream].notify_fd = open->notify_fds ? open->notify_fds [stream] : -1;
        atomic_init (&self->streams [stream].outstanding, 0);
        self->streams_count++;
    }
    return GPB_OK;
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
    gpb_opencl_stream_t *streams = services->alloc (open->streams, sizeof *streams);
    if (!self || !streams) {
        services->free (self);
        services->free (streams);
        return services->error_set (error, GPB_RESOURCE_EXHAUSTED,
                                    "out of memory for a context with %u streams", open->streams);
    }
    self->services = services;
    self->streams = streams;
    pthread_mutex_init (&self->spare_lock, NULL);
    self->profiling = open->profiling;

    cl_device_svm_capabilities svm = 0;
    gpb_status_t status = gpb_opencl_describe_device (backend, number, &self->info, &svm, error);
    if (status == GPB_OK) {
        self->platform = backend->devices [number].platform;
        self->device = backend->devices [number].device;
        self->svm = (svm & CL_DEVICE_SVM_FINE_GRAIN_BUFFER) != 0;
        self->svm_atomics = self->svm && (svm & CL_DEVICE_SVM_ATOMICS);
        const cl_context_properties properties [] = { CL_CONTEXT_PLATFORM,
                                                      (cl_context_properties) self->platform, 0 };
        cl_int code;
        self->context = clCreateContext (properties, 1, &self->device, NULL, NULL, &code);
        if (!self->context)
            status = gpb_opencl_refuse (services, error, code, "clCreateContext");
    }
    if (status == GPB_OK)
        status = s_open_streams (self, open, error);
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
    for (unsigned stream = 0; stream < self->streams_count; stream++)
        clFinish (self->streams [stream].queue);
    for (unsigned stream = 0; stream < self->streams_count; stream++) {
        //  A driver may run a callback a little after clFinish returns, on a thread of its own.
        //  What is left of it is one write, so that yielding is all the waiting there is to do.
        while (atomic_load_explicit (&self->streams [stream].outstanding, memory_order_acquire))
            sched_yield ();
        clReleaseCommandQueue (self->streams [stream].queue);
    }
    if (self->context)
        clReleaseContext (self->context);
    for (unsigned stream = 0; stream < self->streams_count; stream++)
        while (self->streams [stream].spare) {
            gpb_event_t *event = self->streams [stream].spare;
            self->streams [stream].spare = event->next;
            self->services->free (event);
        }
    gpb_opencl_memory_clear (self);
    pthread_mutex_destroy (&self->spare_lock);
    self->services->free (self->streams);
    self->services->free (self);
}

static gpb_status_t
s_memory_free (gpb_context_t *self, uint64_t *free_size, gpb_error_t *error)
{
    *free_size = 0;
    return self->services->error_set (error, GPB_UNIMPLEMENTED,
                                      "OpenCL does not say how much memory of %s is free",
                                      self->info.name);
}

//  ---------------------------------------------------------------------------------------------------------
//  Commands and events

static void
s_notify (gpb_opencl_stream_t *stream)
{
    const uint64_t one = 1;
    while (write (stream->notify_fd, &one, sizeof one) < 0 && errno == EINTR)
        continue;
}

//  Runs on a thread of the driver's, whatever the command's outcome. The count goes down last:
//  after that the stream may be gone.
static void CL_CALLBACK
s_done (cl_event event, cl_int outcome, void *argument)
{
    (void) event;
    (void) outcome;
    gpb_opencl_stream_t *stream = argument;
    s_notify (stream);
    atomic_fetch_sub_explicit (&stream->outstanding, 1, memory_order_release);
}

gpb_status_t
gpb_opencl_command (gpb_context_t *self, unsigned stream, gpb_event_t **event_p,
                    gpb_event_t **made_p, gpb_error_t *error)
{
    *made_p = NULL;
    if (event_p)
        *event_p = NULL;
    if (stream >= self->streams_count)
        return self->services->error_set (error, GPB_INVALID_ARGUMENT,
                                          "no stream %u: the context has %u", stream,
                                          self->streams_count);
    if (!event_p)
        return GPB_OK;
    gpb_event_t *made = self->streams [stream].spare;
    if (made)
        self->streams [stream].spare = made->next;
    else
        made = self->services->alloc (1, sizeof *made);
    if (!made)
        return self->services->error_set (error, GPB_RESOURCE_EXHAUSTED,
                                          "out of memory for an event");
    made->services = self->services;
    made->stream = &self->streams [stream];
    made->profiling = self->profiling;
    *made_p = made;
    return GPB_OK;
}

void
gpb_opencl_event_spare (gpb_event_t *event)
{
    if (!event)
        return;
    event->next = event->stream->spare;
    event->stream->spare = event;
}

gpb_status_t
gpb_opencl_enqueued (gpb_context_t *self, unsigned stream, cl_int code, const char *call,
                     cl_event event, gpb_notify_t notify, gpb_event_t *made, gpb_event_t **event_p,
                     gpb_error_t *error)
{
    gpb_opencl_stream_t *queue = &self->streams [stream];
    if (code != CL_SUCCESS) {
        gpb_opencl_event_spare (made);
        return gpb_opencl_refuse (self->services, error, code, call);
    }
    if (notify == GPB_NOTIFY) {
        atomic_fetch_add_explicit (&queue->outstanding, 1, memory_order_relaxed);
        if (clSetEventCallback (event, CL_COMPLETE, s_done, queue) != CL_SUCCESS) {
            //  The command runs and its end must be told. That a driver has no memory for a
            //  callback is rare enough to wait here.
            clWaitForEvents (1, &event);
            s_notify (queue);
            atomic_fetch_sub_explicit (&queue->outstanding, 1, memory_order_release);
        }
    }
    if (notify == GPB_NOTIFY || made)
        clFlush (queue->queue);
    if (made) {
        made->event = event;
        *event_p = made;
    }
    else
        clReleaseEvent (event);
    return GPB_OK;
}

static gpb_status_t
s_query (gpb_event_t *event, bool *done, gpb_event_times_t *times, gpb_error_t *error)
{
    const gpb_backend_services_t *services = event->services;
    cl_int outcome = CL_QUEUED;
    *done = false;
    if (times)
        *times = (gpb_event_times_t){ 0 };
    cl_int code = clGetEventInfo (event->event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof outcome,
                                  &outcome, NULL);
    if (code != CL_SUCCESS) {
        //  Nothing more is to be learnt of it: to say "not yet" for ever would hang the caller.
        *done = true;
        return gpb_opencl_refuse (services, error, code, "clGetEventInfo");
    }
    if (outcome > CL_COMPLETE)
        return GPB_OK;
    *done = true;
    if (outcome < 0) {
        //  A command that was accepted and then failed has taken its queue along on every driver
        //  that reports such a thing (a bad address on a GPU); only a lack of memory leaves it
        //  well.
        gpb_status_t status = gpb_opencl_status (outcome);
        return services->error_set (error,
                                    status == GPB_RESOURCE_EXHAUSTED ? status : GPB_UNAVAILABLE,
                                    "the command ended with %s (%d)",
                                    gpb_opencl_code_name (outcome), (int) outcome);
    }
    if (times && event->profiling) {
        cl_ulong start = 0, end = 0;
        if (clGetEventProfilingInfo (event->event, CL_PROFILING_COMMAND_START, sizeof start, &start,
                                     NULL)
                == CL_SUCCESS
            && clGetEventProfilingInfo (event->event, CL_PROFILING_COMMAND_END, sizeof end, &end,
                                        NULL)
                   == CL_SUCCESS)
            *times = (gpb_event_times_t){ true, start, end };
    }
    return GPB_OK;
}

static void
s_event_free (gpb_event_t **event_p)
{
    gpb_event_t *event = *event_p;
    if (!event)
        return;
    *event_p = NULL;
    clReleaseEvent (event->event);
    gpb_opencl_event_spare (event);
}

//  ---------------------------------------------------------------------------------------------------------
//  The module

static const gpb_backend_operations_t s_operations = {
    .start = s_start,
    .stop = s_stop,
    .describe = s_describe,
    .open = s_open,
    .close = s_close,
    .memory_free = s_memory_free,
    .allocate = gpb_opencl_allocate,
    .wrap = gpb_opencl_wrap,
    .release = gpb_opencl_release,
    .address = gpb_opencl_address,
    .copy = gpb_opencl_copy,
    .zero = gpb_opencl_zero,
    .build = gpb_opencl_build,
    .binary = gpb_opencl_binary,
    .compile = gpb_opencl_compile,
    .compiler = gpb_opencl_compiler,
    .unload = gpb_opencl_unload,
    .function = gpb_opencl_function,
    .launch = gpb_opencl_launch,
    .query = s_query,
    .event_free = s_event_free,
};

extern GPB_EXPORT const gpb_backend_module_t gpb_backend_module;
const gpb_backend_module_t gpb_backend_module = {
    .abi = GPB_BACKEND_ABI,
    .size = sizeof (gpb_backend_operations_t),
    .name = "opencl",
    .operations = &s_operations,
};
