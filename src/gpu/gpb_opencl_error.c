//  gpb_opencl_error - a cl_int in words, and as a status
//
//  Pure functions, any thread. A code that an API call answers tells whose fault it is; what the
//  caller could have known is INVALID_ARGUMENT, what would work at another time is
//  RESOURCE_EXHAUSTED, and a queue or context of ours that the driver no longer knows is a device
//  that is lost: UNAVAILABLE.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_opencl.h"

typedef struct {
    cl_int code;
    gpb_status_t status;
    const char *name;
} code_t;

#define CODE(name, status)                                                                         \
    {                                                                                              \
        name, status, #name                                                                        \
    }

static const code_t s_codes [] = {
    CODE (CL_SUCCESS, GPB_OK),
    CODE (CL_DEVICE_NOT_FOUND, GPB_NOT_FOUND),
    CODE (CL_DEVICE_NOT_AVAILABLE, GPB_UNAVAILABLE),
    CODE (CL_COMPILER_NOT_AVAILABLE, GPB_FAILED_PRECONDITION),
    CODE (CL_MEM_OBJECT_ALLOCATION_FAILURE, GPB_RESOURCE_EXHAUSTED),
    CODE (CL_OUT_OF_RESOURCES, GPB_RESOURCE_EXHAUSTED),
    CODE (CL_OUT_OF_HOST_MEMORY, GPB_RESOURCE_EXHAUSTED),
    CODE (CL_PROFILING_INFO_NOT_AVAILABLE, GPB_FAILED_PRECONDITION),
    CODE (CL_MEM_COPY_OVERLAP, GPB_INVALID_ARGUMENT),
    CODE (CL_IMAGE_FORMAT_MISMATCH, GPB_INVALID_ARGUMENT),
    CODE (CL_IMAGE_FORMAT_NOT_SUPPORTED, GPB_INVALID_ARGUMENT),
    CODE (CL_BUILD_PROGRAM_FAILURE, GPB_INVALID_ARGUMENT),
    CODE (CL_MAP_FAILURE, GPB_RESOURCE_EXHAUSTED),
    CODE (CL_MISALIGNED_SUB_BUFFER_OFFSET, GPB_INVALID_ARGUMENT),
    CODE (CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST, GPB_UNAVAILABLE),
    CODE (CL_COMPILE_PROGRAM_FAILURE, GPB_INVALID_ARGUMENT),
    CODE (CL_LINKER_NOT_AVAILABLE, GPB_FAILED_PRECONDITION),
    CODE (CL_LINK_PROGRAM_FAILURE, GPB_INVALID_ARGUMENT),
    CODE (CL_DEVICE_PARTITION_FAILED, GPB_INTERNAL),
    CODE (CL_KERNEL_ARG_INFO_NOT_AVAILABLE, GPB_FAILED_PRECONDITION),
    CODE (CL_INVALID_VALUE, GPB_INTERNAL),
    CODE (CL_INVALID_DEVICE_TYPE, GPB_INTERNAL),
    CODE (CL_INVALID_PLATFORM, GPB_UNAVAILABLE),
    CODE (CL_INVALID_DEVICE, GPB_UNAVAILABLE),
    CODE (CL_INVALID_CONTEXT, GPB_UNAVAILABLE),
    CODE (CL_INVALID_QUEUE_PROPERTIES, GPB_INTERNAL),
    CODE (CL_INVALID_COMMAND_QUEUE, GPB_UNAVAILABLE),
    CODE (CL_INVALID_HOST_PTR, GPB_INTERNAL),
    CODE (CL_INVALID_MEM_OBJECT, GPB_INTERNAL),
    CODE (CL_INVALID_IMAGE_FORMAT_DESCRIPTOR, GPB_INTERNAL),
    CODE (CL_INVALID_IMAGE_SIZE, GPB_INVALID_ARGUMENT),
    CODE (CL_INVALID_SAMPLER, GPB_INTERNAL),
    CODE (CL_INVALID_BINARY, GPB_INVALID_ARGUMENT),
    CODE (CL_INVALID_BUILD_OPTIONS, GPB_INVALID_ARGUMENT),
    CODE (CL_INVALID_PROGRAM, GPB_INTERNAL),
    CODE (CL_INVALID_PROGRAM_EXECUTABLE, GPB_FAILED_PRECONDITION),
    CODE (CL_INVALID_KERNEL_NAME, GPB_NOT_FOUND),
    CODE (CL_INVALID_KERNEL_DEFINITION, GPB_INVALID_ARGUMENT),
    CODE (CL_INVALID_KERNEL, GPB_INTERNAL),
    CODE (CL_INVALID_ARG_INDEX, GPB_INVALID_ARGUMENT),
    CODE (CL_INVALID_ARG_VALUE, GPB_INVALID_ARGUMENT),
    CODE (CL_INVALID_ARG_SIZE, GPB_INVALID_ARGUMENT),
    CODE (CL_INVALID_KERNEL_ARGS, GPB_INVALID_ARGUMENT),
    CODE (CL_INVALID_WORK_DIMENSION, GPB_INVALID_ARGUMENT),
    CODE (CL_INVALID_WORK_GROUP_SIZE, GPB_INVALID_ARGUMENT),
    CODE (CL_INVALID_WORK_ITEM_SIZE, GPB_INVALID_ARGUMENT),
    CODE (CL_INVALID_GLOBAL_OFFSET, GPB_INVALID_ARGUMENT),
    CODE (CL_INVALID_EVENT_WAIT_LIST, GPB_INTERNAL),
    CODE (CL_INVALID_EVENT, GPB_INTERNAL),
    CODE (CL_INVALID_OPERATION, GPB_INTERNAL),
    CODE (CL_INVALID_GL_OBJECT, GPB_INTERNAL),
    CODE (CL_INVALID_BUFFER_SIZE, GPB_RESOURCE_EXHAUSTED),
    CODE (CL_INVALID_MIP_LEVEL, GPB_INTERNAL),
    CODE (CL_INVALID_GLOBAL_WORK_SIZE, GPB_INVALID_ARGUMENT),
    CODE (CL_INVALID_PROPERTY, GPB_INTERNAL),
    CODE (CL_INVALID_IMAGE_DESCRIPTOR, GPB_INVALID_ARGUMENT),
    CODE (CL_INVALID_COMPILER_OPTIONS, GPB_INVALID_ARGUMENT),
    CODE (CL_INVALID_LINKER_OPTIONS, GPB_INVALID_ARGUMENT),
    CODE (CL_INVALID_DEVICE_PARTITION_COUNT, GPB_INTERNAL),
    CODE (CL_INVALID_PIPE_SIZE, GPB_INVALID_ARGUMENT),
    CODE (CL_INVALID_DEVICE_QUEUE, GPB_INTERNAL),
    { -1001, GPB_FAILED_PRECONDITION, "CL_PLATFORM_NOT_FOUND_KHR" },
};

static const code_t *
s_lookup (cl_int code)
{
    for (size_t index = 0; index < sizeof s_codes / sizeof s_codes [0]; index++)
        if (s_codes [index].code == code)
            return &s_codes [index];
    return NULL;
}

const char *
gpb_opencl_code_name (cl_int code)
{
    const code_t *found = s_lookup (code);
    return found ? found->name : "a code of the driver's own";
}

gpb_status_t
gpb_opencl_status (cl_int code)
{
    const code_t *found = s_lookup (code);
    return found ? found->status : GPB_INTERNAL;
}

gpb_status_t
gpb_opencl_refuse (const gpb_backend_services_t *services, gpb_error_t *error, cl_int code,
                   const char *call)
{
    return services->error_set (error, gpb_opencl_status (code), "%s: %s (%d)", call,
                                gpb_opencl_code_name (code), (int) code);
}
