//  gpb_bench_opencl - the raw OpenCL calls for what a node is asked to do
//
//  The same kernel source on the same device, in a context of its own. Where host and device share
//  memory (PoCL), buffers are made with CL_MEM_USE_HOST_PTR and nothing is copied, as the backend
//  does it; elsewhere each launch is between a write of its inputs and a read of its result.
//  Buffers and kernel objects are made once, which a node cannot do for requests that come from
//  outside: this is the least that OpenCL takes.
//
//  One at a time: the end of a launch is told by a callback that writes an eventfd, which this
//  thread sleeps on, as any program that also has sockets to serve must. With many in flight: one
//  in-order queue that never holds less than half of them; only the last of each half is waited
//  for. One thread.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_BENCH_OPENCL_H_INCLUDED
#define GPB_BENCH_OPENCL_H_INCLUDED

#include "gpb_bench_load.h"

typedef struct gpb_bench_opencl gpb_bench_opencl_t;

//  The device of this name; NULL where OpenCL has none (a node's device may be CUDA's).
gpb_bench_opencl_t *gpb_bench_opencl_new (const char *device_name);
void gpb_bench_opencl_destroy (gpb_bench_opencl_t **self_p);

//  One kernel of one work-size, ready to be launched.
typedef struct {
    const char *kernel;    //  id of a package, which is found in the folders of GPB_KERNEL_PATH
    size_t inputs;         //  buffers, each of input_size bytes of gpb_bench_input ()
    size_t input_size;
    size_t output_size;      //  bytes of the one output
    uint64_t scalar;         //  the one scalar, behind the buffers, little-endian
    size_t scalar_size;      //  bytes of it
    size_t global, local;    //  work-items
} gpb_bench_launch_t;

//  Compiles, and makes the buffers; what was prepared before is gone. It launches once, and fails
//  where the first of the output's elements is not `expected`'s bytes.
void gpb_bench_opencl_prepare (gpb_bench_opencl_t *self, const gpb_bench_launch_t *launch,
                               const void *expected, size_t expected_size);

//  For so long. With more than one in flight only the rate is measured, and p50 and p99 are 0.
void gpb_bench_opencl_run (gpb_bench_opencl_t *self, size_t depth, uint64_t duration_ns,
                           gpb_bench_figure_t *figure);

//  The median of so many, until the zeroes are there: a buffer of size bytes is made (SVM where
//  host and device share memory, as the backend does it) and zeroed, by clWaitForEvents; what a
//  pool spares its clients.
double gpb_bench_opencl_allocate_ns (gpb_bench_opencl_t *self, size_t size, size_t count,
                                     double *p99_ns);

#endif
