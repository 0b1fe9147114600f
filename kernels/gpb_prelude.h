//  gpb_prelude - the words in which a portable kernel is written
//
//  libgpb puts this text in front of the one source file of a kernel package, so a package includes
//  nothing. The same source is then OpenCL C 1.2 on one device and CUDA C++ on another, compiled
//  for the device alone, without any header of either. doc/kernels.md lists the words. It is C11
//  too, which is how the tests run a kernel's code where a sanitizer and a debugger see it.
//
//  Where the languages agree there is no word: if, for, float, sizeof, sqrt, exp, fma, fabs,
//  min and max stand for themselves.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_PRELUDE_H_INCLUDED
#define GPB_PRELUDE_H_INCLUDED

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)

//  ---------------------------------------------------------------------------------------------------------
//  CUDA C++

//  C linkage, so that the entry is found under the name that kernel.conf says.
#define KERNEL extern "C" __global__
#define FUNCTION __device__ __forceinline__
#define CONSTANT static __device__ __constant__
#define GLOBAL
#define LOCAL __shared__
#define LOCAL_POINTER
#define RESTRICT __restrict__
#define ALIGNED(bytes) __align__ (bytes)

//  OpenCL C's names for types, with its sizes (NVRTC has LP64 on Linux).
typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;

#define INFINITY __int_as_float (0x7f800000)
#define NAN __int_as_float (0x7fffffff)
#define FLT_MAX 3.402823466e+38f
#define M_PI_F 3.14159265f

//  The launch's dynamic shared memory: one block, whatever an entry calls it. 16 is the widest that
//  a load takes.
extern __shared__ __align__ (16) unsigned char gpb_dynamic_local_memory [];
#define LOCAL_PARAMETER(type, name)
#define LOCAL_ARRAY(type, name) type *const name = (type *) gpb_dynamic_local_memory

#define BARRIER() __syncthreads ()

//  Dimension 0 is the one whose neighbours run side by side, in both languages. The products are
//  taken in 64 bits: a grid has more than 2^32 threads before a count of 64 bits is full.
FUNCTION ulong
local_id (uint dimension)
{
    return dimension == 0 ? threadIdx.x : dimension == 1 ? threadIdx.y : threadIdx.z;
}

FUNCTION ulong
local_size (uint dimension)
{
    return dimension == 0 ? blockDim.x : dimension == 1 ? blockDim.y : blockDim.z;
}

FUNCTION ulong
group_id (uint dimension)
{
    return dimension == 0 ? blockIdx.x : dimension == 1 ? blockIdx.y : blockIdx.z;
}

FUNCTION ulong
num_groups (uint dimension)
{
    return dimension == 0 ? gridDim.x : dimension == 1 ? gridDim.y : gridDim.z;
}

FUNCTION ulong
global_id (uint dimension)
{
    return group_id (dimension) * local_size (dimension) + local_id (dimension);
}

FUNCTION ulong
global_size (uint dimension)
{
    return num_groups (dimension) * local_size (dimension);
}

#define ATOMIC_ADD_U32(address, value) atomicAdd ((address), (uint) (value))
#define ATOMIC_ADD_F32(address, value) atomicAdd ((address), (float) (value))

#elif defined(__OPENCL_C_VERSION__) || defined(__OPENCL_VERSION__)

//  ---------------------------------------------------------------------------------------------------------
//  OpenCL C 1.2

#define KERNEL __kernel
#define FUNCTION static inline __attribute__ ((unused))
#define CONSTANT __constant
#define GLOBAL __global
#define LOCAL __local
#define LOCAL_POINTER __local
#define RESTRICT restrict
#define ALIGNED(bytes) __attribute__ ((aligned (bytes)))

//  The argument goes last; CUDA has none, so the comma is part of the word.
#define LOCAL_PARAMETER(type, name) , __local type *name
#define LOCAL_ARRAY(type, name)

//  Both fences, since __syncthreads orders both memories.
#define BARRIER() barrier (CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE)

#define local_id(dimension) get_local_id (dimension)
#define local_size(dimension) get_local_size (dimension)
#define group_id(dimension) get_group_id (dimension)
#define num_groups(dimension) get_num_groups (dimension)
#define global_id(dimension) get_global_id (dimension)
#define global_size(dimension) get_global_size (dimension)

#define ATOMIC_ADD_U32(address, value) atomic_add ((address), (uint) (value))
#define ATOMIC_ADD_F32(address, value) gpb_atomic_add_f32 ((address), (float) (value))

//  OpenCL C 1.2 adds no float atomically: compare and exchange until nobody was in between.
FUNCTION float
gpb_atomic_add_f32 (volatile __global float *address, float value)
{
    volatile __global uint *bits = (volatile __global uint *) address;
    uint seen = *bits;
    for (;;) {
        uint found = atomic_cmpxchg (bits, seen, as_uint (as_float (seen) + value));
        if (found == seen)
            return as_float (found);
        seen = found;
    }
}

#else

//  ---------------------------------------------------------------------------------------------------------
//  C11, for the tests: a kernel as a function of the host's, one work-item a group

#include <float.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <tgmath.h>    //  sqrt, exp, fma and so on of the type that they are given

//  Who compiles a kernel to be found by its name from another file says so before.
#ifndef KERNEL
#define KERNEL static __attribute__ ((unused))
#endif
#define FUNCTION static inline __attribute__ ((unused))
#define CONSTANT static const
#define GLOBAL
#define LOCAL
#define LOCAL_POINTER
#define RESTRICT restrict
#define ALIGNED(bytes) __attribute__ ((aligned (bytes)))

//  The C library may have given some of these names already, to the same types.
typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;

#define M_PI_F 3.14159265f

#define LOCAL_PARAMETER(type, name) , type *name
#define LOCAL_ARRAY(type, name)

#define BARRIER() ((void) 0)

#define local_id(dimension) gpb_first (dimension)
#define local_size(dimension) gpb_alone (dimension)
#define group_id(dimension) gpb_first (dimension)
#define num_groups(dimension) gpb_alone (dimension)
#define global_id(dimension) gpb_first (dimension)
#define global_size(dimension) gpb_alone (dimension)

FUNCTION ulong
gpb_first (uint dimension)
{
    return dimension * 0ul;
}

FUNCTION ulong
gpb_alone (uint dimension)
{
    return dimension * 0ul + 1;
}

//  Of any type, each argument evaluated once.
#define min(a, b)                                                                                  \
    __extension__ ({                                                                               \
        const __typeof__ (a) gpb_min_a = (a);                                                      \
        const __typeof__ (b) gpb_min_b = (b);                                                      \
        gpb_min_b < gpb_min_a ? gpb_min_b : gpb_min_a;                                             \
    })
#define max(a, b)                                                                                  \
    __extension__ ({                                                                               \
        const __typeof__ (a) gpb_max_a = (a);                                                      \
        const __typeof__ (b) gpb_max_b = (b);                                                      \
        gpb_max_a < gpb_max_b ? gpb_max_b : gpb_max_a;                                             \
    })

#define rsqrt(value) (1 / sqrt (value))

#define ATOMIC_ADD_U32(address, value)                                                             \
    __atomic_fetch_add ((address), (uint) (value), __ATOMIC_RELAXED)
#define ATOMIC_ADD_F32(address, value) gpb_atomic_add_f32 ((address), (float) (value))

FUNCTION float
gpb_atomic_add_f32 (volatile float *address, float value)
{
    volatile uint *bits = (volatile uint *) address;
    uint seen = __atomic_load_n (bits, __ATOMIC_RELAXED);
    for (;;) {
        float before, after;
        uint changed;
        memcpy (&before, &seen, sizeof before);
        after = before + value;
        memcpy (&changed, &after, sizeof changed);
        if (__atomic_compare_exchange_n (bits, &seen, changed, false, __ATOMIC_RELAXED,
                                         __ATOMIC_RELAXED))
            return before;
    }
}

#endif

#endif
