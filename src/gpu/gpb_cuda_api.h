//  gpb_cuda_api - what libgpb uses of the CUDA driver API and of NVRTC, declared by ourselves
//
//  The module is built without the toolkit and installed without a driver: libcuda.so.1 and
//  libnvrtc are opened at run time (gpb_cuda_driver.h, gpb_cuda_nvrtc.h). Types, constants and
//  functions have CUDA's own names and values. tests/test_cuda_api.c includes the toolkit's headers
//  first, where configure finds them: types are theirs then, and every prototype, constant and size
//  here is held against them by the compiler.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_CUDA_API_H_INCLUDED
#define GPB_CUDA_API_H_INCLUDED

#include <stddef.h>
#include <stdint.h>

//  ---------------------------------------------------------------------------------------------------------
//  Constants of cuda.h

#define GPB_CUDA_CONSTANTS(_)                                                                      \
    _ (CU_STREAM_NON_BLOCKING, 1)                                                                  \
    _ (CU_EVENT_DEFAULT, 0)                                                                        \
    _ (CU_EVENT_DISABLE_TIMING, 2)                                                                 \
    _ (CU_MEM_ALLOCATION_TYPE_PINNED, 1)                                                           \
    _ (CU_MEM_HANDLE_TYPE_NONE, 0)                                                                 \
    _ (CU_MEM_LOCATION_TYPE_DEVICE, 1)                                                             \
    _ (CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, 4)                                                       \
    _ (CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT, 5)                                                    \
    _ (CU_MEMPOOL_ATTR_USED_MEM_CURRENT, 7)                                                        \
    _ (CU_COMPUTEMODE_PROHIBITED, 2)                                                               \
    _ (CU_COMPUTEMODE_EXCLUSIVE_PROCESS, 3)                                                        \
    _ (CU_MODULE_EAGER_LOADING, 1)                                                                 \
    _ (CU_MODULE_LAZY_LOADING, 2)                                                                  \
    _ (CU_JIT_INFO_LOG_BUFFER, 3)                                                                  \
    _ (CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES, 4)                                                       \
    _ (CU_JIT_ERROR_LOG_BUFFER, 5)                                                                 \
    _ (CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES, 6)                                                      \
    _ (CU_JIT_OPTIMIZATION_LEVEL, 7)                                                               \
    _ (CU_JIT_GENERATE_LINE_INFO, 13)                                                              \
    _ (CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, 0)                                                 \
    _ (CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, 1)                                                     \
    _ (CU_FUNC_ATTRIBUTE_NUM_REGS, 4)                                                              \
    _ (CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 8)                                         \
    _ (CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK, 1)                                               \
    _ (CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X, 2)                                                     \
    _ (CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y, 3)                                                     \
    _ (CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z, 4)                                                     \
    _ (CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X, 5)                                                      \
    _ (CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y, 6)                                                      \
    _ (CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z, 7)                                                      \
    _ (CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK, 8)                                         \
    _ (CU_DEVICE_ATTRIBUTE_WARP_SIZE, 10)                                                          \
    _ (CU_DEVICE_ATTRIBUTE_CLOCK_RATE, 13)                                                         \
    _ (CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, 16)                                               \
    _ (CU_DEVICE_ATTRIBUTE_KERNEL_EXEC_TIMEOUT, 17)                                                \
    _ (CU_DEVICE_ATTRIBUTE_INTEGRATED, 18)                                                         \
    _ (CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY, 19)                                                \
    _ (CU_DEVICE_ATTRIBUTE_COMPUTE_MODE, 20)                                                       \
    _ (CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS, 31)                                                 \
    _ (CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT, 40)                                                 \
    _ (CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING, 41)                                                 \
    _ (CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 75)                                           \
    _ (CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, 76)                                           \
    _ (CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH, 95)                                                 \
    _ (CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, 97)                                  \
    _ (CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED, 115)                                            \
    _ (CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_SUPPORTED, 116)                                         \
    GPB_CUDA_RESULTS (_)

//  What a call answers. Those that mean more than "that call was wrong" to us, and those that a
//  test provokes; the driver has words for all of them (cuGetErrorName).
#define GPB_CUDA_RESULTS(_)                                                                        \
    _ (CUDA_SUCCESS, 0)                                                                            \
    _ (CUDA_ERROR_INVALID_VALUE, 1)                                                                \
    _ (CUDA_ERROR_OUT_OF_MEMORY, 2)                                                                \
    _ (CUDA_ERROR_NOT_INITIALIZED, 3)                                                              \
    _ (CUDA_ERROR_DEINITIALIZED, 4)                                                                \
    _ (CUDA_ERROR_STUB_LIBRARY, 34)                                                                \
    _ (CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER, 36)                                                  \
    _ (CUDA_ERROR_DEVICE_UNAVAILABLE, 46)                                                          \
    _ (CUDA_ERROR_NO_DEVICE, 100)                                                                  \
    _ (CUDA_ERROR_INVALID_DEVICE, 101)                                                             \
    _ (CUDA_ERROR_INVALID_IMAGE, 200)                                                              \
    _ (CUDA_ERROR_INVALID_CONTEXT, 201)                                                            \
    _ (CUDA_ERROR_NO_BINARY_FOR_GPU, 209)                                                          \
    _ (CUDA_ERROR_ECC_UNCORRECTABLE, 214)                                                          \
    _ (CUDA_ERROR_INVALID_PTX, 218)                                                                \
    _ (CUDA_ERROR_NVLINK_UNCORRECTABLE, 220)                                                       \
    _ (CUDA_ERROR_JIT_COMPILER_NOT_FOUND, 221)                                                     \
    _ (CUDA_ERROR_UNSUPPORTED_PTX_VERSION, 222)                                                    \
    _ (CUDA_ERROR_JIT_COMPILATION_DISABLED, 223)                                                   \
    _ (CUDA_ERROR_CONTAINED, 226)                                                                  \
    _ (CUDA_ERROR_INVALID_SOURCE, 300)                                                             \
    _ (CUDA_ERROR_OPERATING_SYSTEM, 304)                                                           \
    _ (CUDA_ERROR_INVALID_HANDLE, 400)                                                             \
    _ (CUDA_ERROR_NOT_FOUND, 500)                                                                  \
    _ (CUDA_ERROR_NOT_READY, 600)                                                                  \
    _ (CUDA_ERROR_ILLEGAL_ADDRESS, 700)                                                            \
    _ (CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, 701)                                                    \
    _ (CUDA_ERROR_LAUNCH_TIMEOUT, 702)                                                             \
    _ (CUDA_ERROR_CONTEXT_IS_DESTROYED, 709)                                                       \
    _ (CUDA_ERROR_ASSERT, 710)                                                                     \
    _ (CUDA_ERROR_HARDWARE_STACK_ERROR, 714)                                                       \
    _ (CUDA_ERROR_ILLEGAL_INSTRUCTION, 715)                                                        \
    _ (CUDA_ERROR_MISALIGNED_ADDRESS, 716)                                                         \
    _ (CUDA_ERROR_INVALID_ADDRESS_SPACE, 717)                                                      \
    _ (CUDA_ERROR_INVALID_PC, 718)                                                                 \
    _ (CUDA_ERROR_LAUNCH_FAILED, 719)                                                              \
    _ (CUDA_ERROR_TENSOR_MEMORY_LEAK, 721)                                                         \
    _ (CUDA_ERROR_NOT_PERMITTED, 800)                                                              \
    _ (CUDA_ERROR_NOT_SUPPORTED, 801)                                                              \
    _ (CUDA_ERROR_SYSTEM_NOT_READY, 802)                                                           \
    _ (CUDA_ERROR_SYSTEM_DRIVER_MISMATCH, 803)                                                     \
    _ (CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE, 804)                                             \
    _ (CUDA_ERROR_MPS_CLIENT_TERMINATED, 810)                                                      \
    _ (CUDA_ERROR_EXTERNAL_DEVICE, 911)                                                            \
    _ (CUDA_ERROR_UNKNOWN, 999)

//  ---------------------------------------------------------------------------------------------------------
//  Types of cuda.h

#ifndef CUDA_VERSION    //  the toolkit's own are here otherwise

#define GPB_CUDA_CONSTANT(name, value) name = (value),
enum { GPB_CUDA_CONSTANTS (GPB_CUDA_CONSTANT) };
#undef GPB_CUDA_CONSTANT

//  Every enumeration is passed as an int.
typedef int CUresult;
typedef int CUdevice_attribute;
typedef int CUfunction_attribute;
typedef int CUjit_option;
typedef int CUmemPool_attribute;
typedef int CUmoduleLoadingMode;
typedef int CUmemAllocationType;
typedef int CUmemAllocationHandleType;
typedef int CUmemLocationType;

typedef int CUdevice;
typedef unsigned long long CUdeviceptr;
typedef struct CUctx_st *CUcontext;
typedef struct CUmod_st *CUmodule;
typedef struct CUfunc_st *CUfunction;
typedef struct CUstream_st *CUstream;
typedef struct CUevent_st *CUevent;
typedef struct CUmemPoolHandle_st *CUmemoryPool;

typedef void (*CUstreamCallback) (CUstream stream, CUresult result, void *argument);
typedef size_t (*CUoccupancyB2DSize) (int block_size);

typedef struct {
    CUmemLocationType type;
    int id;
} CUmemLocation;

typedef struct {
    CUmemAllocationType allocType;
    CUmemAllocationHandleType handleTypes;
    CUmemLocation location;
    void *win32SecurityAttributes;
    size_t maxSize;    //  0: the driver's own bound
    unsigned short usage;
    unsigned char reserved [54];
} CUmemPoolProps;

#endif

//  What is passed by pointer: _ (type, bytes), and _ (type, member, offset).
#define GPB_CUDA_SIZES(_)                                                                          \
    _ (CUmemLocation, 8)                                                                           \
    _ (CUmemPoolProps, 88)                                                                         \
    _ (CUresult, 4)                                                                                \
    _ (CUdevice_attribute, 4)                                                                      \
    _ (CUfunction_attribute, 4)                                                                    \
    _ (CUjit_option, 4)                                                                            \
    _ (CUmemPool_attribute, 4)                                                                     \
    _ (CUmoduleLoadingMode, 4)
#define GPB_CUDA_OFFSETS(_)                                                                        \
    _ (CUmemPoolProps, handleTypes, 4)                                                             \
    _ (CUmemPoolProps, location, 8)                                                                \
    _ (CUmemPoolProps, win32SecurityAttributes, 16)                                                \
    _ (CUmemPoolProps, maxSize, 24)                                                                \
    _ (CUmemPoolProps, usage, 32)

//  ---------------------------------------------------------------------------------------------------------
//  Functions of cuda.h: _ (name, symbol in libcuda.so.1, parameters)

//  All of these are there since CUDA 11.2, when memory pools came.
#define GPB_CUDA_FUNCTIONS(_)                                                                      \
    _ (cuInit, cuInit, (unsigned int flags))                                                       \
    _ (cuDriverGetVersion, cuDriverGetVersion, (int *version))                                     \
    _ (cuGetErrorName, cuGetErrorName, (CUresult result, const char **text))                       \
    _ (cuGetErrorString, cuGetErrorString, (CUresult result, const char **text))                   \
    _ (cuDeviceGetCount, cuDeviceGetCount, (int *count))                                           \
    _ (cuDeviceGet, cuDeviceGet, (CUdevice * device, int ordinal))                                 \
    _ (cuDeviceGetName, cuDeviceGetName, (char *name, int size, CUdevice device))                  \
    _ (cuDeviceTotalMem, cuDeviceTotalMem_v2, (size_t * size, CUdevice device))                    \
    _ (cuDeviceGetAttribute, cuDeviceGetAttribute,                                                 \
       (int *value, CUdevice_attribute attribute, CUdevice device))                                \
    _ (cuDeviceGetPCIBusId, cuDeviceGetPCIBusId, (char *text, int size, CUdevice device))          \
    _ (cuDeviceCanAccessPeer, cuDeviceCanAccessPeer, (int *can, CUdevice device, CUdevice peer))   \
    _ (cuDevicePrimaryCtxRetain, cuDevicePrimaryCtxRetain, (CUcontext * context, CUdevice device)) \
    _ (cuDevicePrimaryCtxRelease, cuDevicePrimaryCtxRelease_v2, (CUdevice device))                 \
    _ (cuCtxPushCurrent, cuCtxPushCurrent_v2, (CUcontext context))                                 \
    _ (cuCtxPopCurrent, cuCtxPopCurrent_v2, (CUcontext * context))                                 \
    _ (cuMemGetInfo, cuMemGetInfo_v2, (size_t * free_size, size_t * total_size))                   \
    _ (cuMemAlloc, cuMemAlloc_v2, (CUdeviceptr * address, size_t size))                            \
    _ (cuMemFree, cuMemFree_v2, (CUdeviceptr address))                                             \
    _ (cuMemHostAlloc, cuMemHostAlloc, (void **address, size_t size, unsigned int flags))          \
    _ (cuMemFreeHost, cuMemFreeHost, (void *address))                                              \
    _ (cuMemHostGetDevicePointer, cuMemHostGetDevicePointer_v2,                                    \
       (CUdeviceptr * address, void *host, unsigned int flags))                                    \
    _ (cuMemPoolCreate, cuMemPoolCreate, (CUmemoryPool * pool, const CUmemPoolProps *properties))  \
    _ (cuMemPoolDestroy, cuMemPoolDestroy, (CUmemoryPool pool))                                    \
    _ (cuMemPoolSetAttribute, cuMemPoolSetAttribute,                                               \
       (CUmemoryPool pool, CUmemPool_attribute attribute, void *value))                            \
    _ (cuMemPoolGetAttribute, cuMemPoolGetAttribute,                                               \
       (CUmemoryPool pool, CUmemPool_attribute attribute, void *value))                            \
    _ (cuMemPoolTrimTo, cuMemPoolTrimTo, (CUmemoryPool pool, size_t keep_size))                    \
    _ (cuMemAllocFromPoolAsync, cuMemAllocFromPoolAsync,                                           \
       (CUdeviceptr * address, size_t size, CUmemoryPool pool, CUstream stream))                   \
    _ (cuMemFreeAsync, cuMemFreeAsync, (CUdeviceptr address, CUstream stream))                     \
    _ (cuMemcpyAsync, cuMemcpyAsync,                                                               \
       (CUdeviceptr target, CUdeviceptr source, size_t size, CUstream stream))                     \
    _ (cuMemcpyHtoDAsync, cuMemcpyHtoDAsync_v2,                                                    \
       (CUdeviceptr target, const void *source, size_t size, CUstream stream))                     \
    _ (cuMemcpyDtoHAsync, cuMemcpyDtoHAsync_v2,                                                    \
       (void *target, CUdeviceptr source, size_t size, CUstream stream))                           \
    _ (cuMemcpyDtoDAsync, cuMemcpyDtoDAsync_v2,                                                    \
       (CUdeviceptr target, CUdeviceptr source, size_t size, CUstream stream))                     \
    _ (cuMemsetD8Async, cuMemsetD8Async,                                                           \
       (CUdeviceptr target, unsigned char byte, size_t size, CUstream stream))                     \
    _ (cuStreamCreate, cuStreamCreate, (CUstream * stream, unsigned int flags))                    \
    _ (cuStreamDestroy, cuStreamDestroy_v2, (CUstream stream))                                     \
    _ (cuStreamSynchronize, cuStreamSynchronize, (CUstream stream))                                \
    _ (cuStreamWaitEvent, cuStreamWaitEvent, (CUstream stream, CUevent event, unsigned int flags)) \
    _ (cuStreamAddCallback, cuStreamAddCallback,                                                   \
       (CUstream stream, CUstreamCallback callback, void *argument, unsigned int flags))           \
    _ (cuEventCreate, cuEventCreate, (CUevent * event, unsigned int flags))                        \
    _ (cuEventDestroy, cuEventDestroy_v2, (CUevent event))                                         \
    _ (cuEventRecord, cuEventRecord, (CUevent event, CUstream stream))                             \
    _ (cuEventQuery, cuEventQuery, (CUevent event))                                                \
    _ (cuEventElapsedTime, cuEventElapsedTime, (float *ms, CUevent start, CUevent end))            \
    _ (cuModuleLoadDataEx, cuModuleLoadDataEx,                                                     \
       (CUmodule * module, const void *image, unsigned int options_count, CUjit_option *options,   \
        void **values))                                                                            \
    _ (cuModuleUnload, cuModuleUnload, (CUmodule module))                                          \
    _ (cuModuleGetFunction, cuModuleGetFunction,                                                   \
       (CUfunction * function, CUmodule module, const char *name))                                 \
    _ (cuFuncGetAttribute, cuFuncGetAttribute,                                                     \
       (int *value, CUfunction_attribute attribute, CUfunction function))                          \
    _ (cuFuncSetAttribute, cuFuncSetAttribute,                                                     \
       (CUfunction function, CUfunction_attribute attribute, int value))                           \
    _ (cuOccupancyMaxPotentialBlockSize, cuOccupancyMaxPotentialBlockSize,                         \
       (int *grid_size, int *block_size, CUfunction function, CUoccupancyB2DSize shared_of_block,  \
        size_t shared_size, int limit))                                                            \
    _ (cuLaunchKernel, cuLaunchKernel,                                                             \
       (CUfunction function, unsigned int grid_x, unsigned int grid_y, unsigned int grid_z,        \
        unsigned int block_x, unsigned int block_y, unsigned int block_z,                          \
        unsigned int shared_size, CUstream stream, void **parameters, void **more))

//  These came later; where the driver is older they are NULL.
#define GPB_CUDA_NEWER_FUNCTIONS(_)                                                                \
    _ (cuModuleGetLoadingMode, cuModuleGetLoadingMode, (CUmoduleLoadingMode * mode))               \
    _ (cuFuncLoad, cuFuncLoad, (CUfunction function))                                              \
    _ (cuFuncGetParamInfo, cuFuncGetParamInfo,                                                     \
       (CUfunction function, size_t index, size_t * offset, size_t * size))

typedef struct {
#define GPB_CUDA_MEMBER(name, symbol, parameters) CUresult (*name) parameters;
    GPB_CUDA_FUNCTIONS (GPB_CUDA_MEMBER)
    GPB_CUDA_NEWER_FUNCTIONS (GPB_CUDA_MEMBER)
#undef GPB_CUDA_MEMBER
} gpb_cuda_driver_t;

//  ---------------------------------------------------------------------------------------------------------
//  NVRTC

#ifndef __NVRTC_H__
typedef int nvrtcResult;
typedef struct _nvrtcProgram *nvrtcProgram;
enum {
    NVRTC_SUCCESS = 0,
    NVRTC_ERROR_OUT_OF_MEMORY = 1,
    NVRTC_ERROR_INVALID_OPTION = 5,
    NVRTC_ERROR_COMPILATION = 6
};
#endif

#define GPB_NVRTC_FUNCTIONS(_)                                                                     \
    _ (nvrtcVersion, nvrtcVersion, (int *major, int *minor))                                       \
    _ (nvrtcGetNumSupportedArchs, nvrtcGetNumSupportedArchs, (int *count))                         \
    _ (nvrtcGetSupportedArchs, nvrtcGetSupportedArchs, (int *architectures))                       \
    _ (nvrtcCreateProgram, nvrtcCreateProgram,                                                     \
       (nvrtcProgram * program, const char *source, const char *name, int headers_count,           \
        const char *const *headers, const char *const *include_names))                             \
    _ (nvrtcDestroyProgram, nvrtcDestroyProgram, (nvrtcProgram * program))                         \
    _ (nvrtcCompileProgram, nvrtcCompileProgram,                                                   \
       (nvrtcProgram program, int options_count, const char *const *options))                      \
    _ (nvrtcGetPTXSize, nvrtcGetPTXSize, (nvrtcProgram program, size_t * size))                    \
    _ (nvrtcGetPTX, nvrtcGetPTX, (nvrtcProgram program, char *data))                               \
    _ (nvrtcGetCUBINSize, nvrtcGetCUBINSize, (nvrtcProgram program, size_t * size))                \
    _ (nvrtcGetCUBIN, nvrtcGetCUBIN, (nvrtcProgram program, char *data))                           \
    _ (nvrtcGetProgramLogSize, nvrtcGetProgramLogSize, (nvrtcProgram program, size_t * size))      \
    _ (nvrtcGetProgramLog, nvrtcGetProgramLog, (nvrtcProgram program, char *text))

typedef struct {
#define GPB_NVRTC_MEMBER(name, symbol, parameters) nvrtcResult (*name) parameters;
    GPB_NVRTC_FUNCTIONS (GPB_NVRTC_MEMBER)
#undef GPB_NVRTC_MEMBER
    const char *(*nvrtcGetErrorString) (nvrtcResult result);
} gpb_nvrtc_t;

#endif
