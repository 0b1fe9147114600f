//  gpb_opencl - what the files of the OpenCL module share
//
//  The module is its own shared object and links to OpenCL alone: memory and errors come through
//  the services that `start` is given. gpb_opencl.c holds backend, context, streams and events;
//  gpb_opencl_device.c describes devices; gpb_opencl_memory.c allocates and copies;
//  gpb_opencl_program.c compiles; gpb_opencl_binary.c
//  keeps what was compiled; gpb_opencl_launch.c launches; gpb_opencl_error.c puts a cl_int in
//  words.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_OPENCL_H_INCLUDED
#define GPB_OPENCL_H_INCLUDED

#define CL_TARGET_OPENCL_VERSION 200
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS

#include "gpb_backend.h"

#include <CL/cl.h>
#include <CL/cl_ext.h>
#include <pthread.h>
#include <stdatomic.h>

//  One entry of the backend's list. A platform that cannot list its devices takes one entry, so
//  that its trouble is seen.
typedef struct {
    cl_platform_id platform;
    cl_device_id device;
    cl_int trouble;    //  what clGetDeviceIDs answered
} gpb_opencl_device_t;

struct gpb_backend {
    const gpb_backend_services_t *services;
    gpb_opencl_device_t *devices;
    unsigned devices_count;
    bool svm_wanted;    //  false where the environment says GPB_OPENCL_SVM=0
};

//  One in-order command queue.
typedef struct {
    cl_command_queue queue;
    int notify_fd;              //  the caller's eventfd
    atomic_uint outstanding;    //  callbacks that are still to come
    gpb_event_t *spare;         //  events that are free again, for the thread that uses the stream
} gpb_opencl_stream_t;

struct gpb_context {
    const gpb_backend_services_t *services;
    cl_platform_id platform;
    cl_device_id device;
    cl_context context;
    gpb_device_info_t info;
    bool svm;            //  HOST and MAPPED memory is fine-grain SVM
    bool svm_atomics;    //  and host and kernels may use atomics on it at the same time
    bool profiling;      //  events have times
    unsigned streams_count;
    gpb_opencl_stream_t *streams;
    pthread_mutex_t spare_lock;
    gpb_memory_t *spare;    //  records of memory that are free again; under spare_lock
};

//  Memory is one of:
//    SVM:      svm is its address, buffer NULL
//    wrapped:  buffer made with USE_HOST_PTR, host the caller's address
//    device:   buffer, host NULL
//    staging:  HOST memory of a device without SVM: buffer made with ALLOC_HOST_PTR and kept mapped
//              at host for its life; commands only ever see the address, since OpenCL forbids them
//              a buffer that is mapped
struct gpb_memory {
    gpb_context_t *context;
    gpb_memory_kind_t kind;
    uint64_t size;    //  bytes
    cl_mem buffer;
    void *svm;
    void *host;
    bool staging;
    gpb_memory_t *next;    //  of the spare ones
};

//  What a kernel declares in one place, as far as the compiler kept it.
typedef enum {
    GPB_OPENCL_UNKNOWN,
    GPB_OPENCL_POINTER,    //  global or constant
    GPB_OPENCL_LOCAL,
    GPB_OPENCL_SCALAR
} gpb_opencl_parameter_kind_t;

typedef struct {
    gpb_opencl_parameter_kind_t kind;
    uint8_t size;    //  of a scalar, in bytes; 0 for a type that is not one of OpenCL C's own
} gpb_opencl_parameter_t;

struct gpb_function {
    gpb_module_t *module;
    gpb_function_t *next;
    cl_kernel kernel;
    gpb_function_info_t info;
    cl_uint parameters_count;
    gpb_opencl_parameter_t *parameters;
};

struct gpb_module {
    gpb_context_t *context;
    cl_program program;
    _Atomic (gpb_function_t *) functions;
    unsigned char *table;    //  its kernels' parameters, where it came from a binary; else NULL
    uint32_t table_size;     //  bytes
};

struct gpb_event {
    const gpb_backend_services_t *services;
    gpb_opencl_stream_t *stream;
    cl_event event;
    bool profiling;
    gpb_event_t *next;    //  of the spare ones
};

//  ---------------------------------------------------------------------------------------------------------
//  gpb_opencl_error.c

//  "CL_OUT_OF_RESOURCES"; "an unknown code" for one that is not in the standard.
const char *gpb_opencl_code_name (cl_int code);

//  The status that a code of an API call comes to.
gpb_status_t gpb_opencl_status (cl_int code);

//  Fills error with "CALL: CL_NAME (number)" and the status of the code.
gpb_status_t gpb_opencl_refuse (const gpb_backend_services_t *services, gpb_error_t *error,
                                cl_int code, const char *call);

//  ---------------------------------------------------------------------------------------------------------
//  gpb_opencl_device.c

//  Fills info, and what a context keeps beside it.
gpb_status_t gpb_opencl_describe_device (const gpb_backend_t *self, unsigned number,
                                         gpb_device_info_t *info, cl_device_svm_capabilities *svm,
                                         gpb_error_t *error);

//  ---------------------------------------------------------------------------------------------------------
//  gpb_opencl.c: the frame around every command

//  Checks the stream and makes the event's structure, before anything is enqueued, so that running
//  out of memory leaves no command behind that nobody knows of.
gpb_status_t gpb_opencl_command (gpb_context_t *self, unsigned stream, gpb_event_t **event_p,
                                 gpb_event_t **made_p, gpb_error_t *error);

//  The event's structure is free again, on the thread that uses its stream. NULL is accepted.
void gpb_opencl_event_spare (gpb_event_t *event);

//  Ends a command: code is what the enqueueing call answered, and event what it gave where code is
//  CL_SUCCESS (it is taken). Hands the event out, asks for the notification, flushes.
gpb_status_t gpb_opencl_enqueued (gpb_context_t *self, unsigned stream, cl_int code,
                                  const char *call, cl_event event, gpb_notify_t notify,
                                  gpb_event_t *made, gpb_event_t **event_p, gpb_error_t *error);

//  ---------------------------------------------------------------------------------------------------------
//  gpb_opencl_memory.c

gpb_status_t gpb_opencl_allocate (gpb_context_t *self, gpb_memory_kind_t kind, gpb_access_t access,
                                  uint64_t size, gpb_memory_t **memory_p, gpb_error_t *error);
gpb_status_t gpb_opencl_wrap (gpb_context_t *self, void *address, uint64_t size,
                              gpb_access_t access, gpb_memory_t **memory_p, gpb_error_t *error);
void gpb_opencl_release (gpb_memory_t **memory_p);

//  Frees the spare records, at the end of a context.
void gpb_opencl_memory_clear (gpb_context_t *self);
gpb_status_t gpb_opencl_address (gpb_memory_t *memory, void **address_p, gpb_error_t *error);
gpb_status_t gpb_opencl_copy (gpb_context_t *self, unsigned stream, const gpb_place_t *target,
                              const gpb_place_t *source, uint64_t size, gpb_notify_t notify,
                              gpb_event_t **event_p, gpb_error_t *error);
gpb_status_t gpb_opencl_zero (gpb_context_t *self, unsigned stream, gpb_memory_t *memory,
                              uint64_t offset, uint64_t size, gpb_notify_t notify,
                              gpb_event_t **event_p, gpb_error_t *error);

//  The smallest part of a buffer that the device allows as one of its own and that has the size
//  bytes from offset on: *part_p is a reference to be released, and *start_p where they begin in
//  it. Where that is the whole buffer, it is that.
gpb_status_t gpb_opencl_part (const gpb_memory_t *memory, uint64_t offset, uint64_t size,
                              cl_mem *part_p, uint64_t *start_p, gpb_error_t *error);

//  ---------------------------------------------------------------------------------------------------------
//  gpb_opencl_program.c

gpb_status_t gpb_opencl_build (gpb_context_t *self, const gpb_code_t *code, gpb_module_t **module_p,
                               gpb_error_t *error);
gpb_status_t gpb_opencl_compile (const gpb_backend_services_t *services, const gpb_code_t *code,
                                 const char *architecture, void **data_p, size_t *size_p,
                                 gpb_error_t *error);
void gpb_opencl_compiler (gpb_context_t *self, char *text, size_t size);
void gpb_opencl_unload (gpb_module_t **module_p);
gpb_status_t gpb_opencl_function (gpb_module_t *module, const char *entry,
                                  gpb_function_t **function_p, gpb_function_info_t *info,
                                  gpb_error_t *error);

//  ---------------------------------------------------------------------------------------------------------
//  gpb_opencl_binary.c

gpb_status_t gpb_opencl_binary (gpb_module_t *module, void **data_p, size_t *size_p,
                                gpb_error_t *error);

//  The driver's part of a binary; the module keeps the other one.
gpb_status_t gpb_opencl_read_binary (gpb_module_t *module, const gpb_code_t *code,
                                     const unsigned char **binary_p, size_t *size_p,
                                     gpb_error_t *error);

//  What the binary says about a kernel's parameters; those that it does not tell are left alone.
void gpb_opencl_table_lookup (const gpb_module_t *module, const char *entry,
                              gpb_opencl_parameter_t *parameters, cl_uint count);

//  What a kernel declares in one place. Binaries of some drivers do not know: GPB_OPENCL_UNKNOWN.
gpb_opencl_parameter_t gpb_opencl_parameter (cl_kernel kernel, cl_uint index);

//  ---------------------------------------------------------------------------------------------------------
//  gpb_opencl_launch.c

gpb_status_t gpb_opencl_launch (gpb_context_t *self, unsigned stream, const gpb_launch_t *launch,
                                gpb_notify_t notify, gpb_event_t **event_p, gpb_error_t *error);

#endif
