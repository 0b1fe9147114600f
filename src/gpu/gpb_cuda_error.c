//  gpb_cuda_error - a CUresult as a status and a sentence
//
//  The name and the description are the driver's own, so that they are as new as it is. What a
//  result means for us is here.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_cuda.h"

//  cuda.h says of each of the sticky ones that the process is left in an inconsistent state, and
//  that any further work returns the same error. An uncorrectable error of the memory is one, too:
//  what stood there is gone.
gpb_status_t
gpb_cuda_status (CUresult result)
{
    switch (result) {
    case CUDA_SUCCESS: return GPB_OK;
    case CUDA_ERROR_INVALID_VALUE:
    case CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES:
    case CUDA_ERROR_INVALID_IMAGE:
    case CUDA_ERROR_INVALID_PTX:
    case CUDA_ERROR_INVALID_SOURCE: return GPB_INVALID_ARGUMENT;
    case CUDA_ERROR_OUT_OF_MEMORY: return GPB_RESOURCE_EXHAUSTED;
    case CUDA_ERROR_NOT_FOUND: return GPB_NOT_FOUND;
    case CUDA_ERROR_NOT_SUPPORTED:
    case CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER: return GPB_UNIMPLEMENTED;
    case CUDA_ERROR_STUB_LIBRARY:
    case CUDA_ERROR_NO_DEVICE:
    case CUDA_ERROR_NO_BINARY_FOR_GPU:
    case CUDA_ERROR_JIT_COMPILER_NOT_FOUND:
    case CUDA_ERROR_UNSUPPORTED_PTX_VERSION:
    case CUDA_ERROR_JIT_COMPILATION_DISABLED:
    case CUDA_ERROR_NOT_PERMITTED:
    case CUDA_ERROR_SYSTEM_NOT_READY:
    case CUDA_ERROR_SYSTEM_DRIVER_MISMATCH:
    case CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE: return GPB_FAILED_PRECONDITION;
    case CUDA_ERROR_ECC_UNCORRECTABLE:
    case CUDA_ERROR_NVLINK_UNCORRECTABLE: return GPB_DATA_LOSS;
    case CUDA_ERROR_DEVICE_UNAVAILABLE:
    case CUDA_ERROR_CONTAINED:
    case CUDA_ERROR_ILLEGAL_ADDRESS:
    case CUDA_ERROR_LAUNCH_TIMEOUT:
    case CUDA_ERROR_CONTEXT_IS_DESTROYED:
    case CUDA_ERROR_ASSERT:
    case CUDA_ERROR_HARDWARE_STACK_ERROR:
    case CUDA_ERROR_ILLEGAL_INSTRUCTION:
    case CUDA_ERROR_MISALIGNED_ADDRESS:
    case CUDA_ERROR_INVALID_ADDRESS_SPACE:
    case CUDA_ERROR_INVALID_PC:
    case CUDA_ERROR_LAUNCH_FAILED:
    case CUDA_ERROR_TENSOR_MEMORY_LEAK:
    case CUDA_ERROR_MPS_CLIENT_TERMINATED:
    case CUDA_ERROR_EXTERNAL_DEVICE: return GPB_UNAVAILABLE;
    default: return GPB_INTERNAL;
    }
}

//  DEVICE_UNAVAILABLE is "busy", which passes.
bool
gpb_cuda_is_sticky (CUresult result)
{
    const gpb_status_t status = gpb_cuda_status (result);
    return (status == GPB_UNAVAILABLE && result != CUDA_ERROR_DEVICE_UNAVAILABLE)
           || status == GPB_DATA_LOSS;
}

gpb_status_t
gpb_cuda_refuse (const gpb_backend_t *backend, gpb_error_t *error, CUresult result,
                 const char *call)
{
    const char *name = NULL, *text = NULL;
    if (backend->cuda.cuGetErrorName (result, &name) != CUDA_SUCCESS || !name)
        name = "a result that the driver has no name for";
    if (backend->cuda.cuGetErrorString (result, &text) != CUDA_SUCCESS || !text)
        text = "nothing more is known";
    return backend->services->error_set (error, gpb_cuda_status (result), "%s: %s (%d): %s", call,
                                         name, (int) result, text);
}
