//  gpb_prelude - what makes one source valid OpenCL C and valid CUDA C
//
//  It stands before every portable source. The compiler's own macros tell which language it is.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#if defined(__OPENCL_VERSION__)
#define KERNEL __kernel
#define GLOBAL __global
#define LOCAL __local
#define BARRIER barrier (CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE)
#define global_id(dimension) ((uint)get_global_id (dimension))
#else
typedef unsigned int uint;
#define KERNEL extern "C" __global__
#define GLOBAL
#define LOCAL __shared__
#define BARRIER __syncthreads ()
#define GPB_AXIS(vector, dimension)                                                                \
    ((dimension) == 0 ? vector.x : (dimension) == 1 ? vector.y : vector.z)
#define global_id(dimension)                                                                       \
    (GPB_AXIS (blockIdx, dimension) * GPB_AXIS (blockDim, dimension)                               \
     + GPB_AXIS (threadIdx, dimension))
#endif
