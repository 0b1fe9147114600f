//  gpb_describe - devices, kernels and latencies as the wire's messages
//
//  The messages point into what they describe and into the arrays here: nothing is allocated, and
//  they are good for as long as both. One thread.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_DESCRIBE_H_INCLUDED
#define GPB_DESCRIBE_H_INCLUDED

#include "gpb_backend.h"
#include "gpb_histogram.h"
#include "gpb_kernel.h"
#include "gpb_message.h"

#include "gpb.pb-c.h"

typedef struct {
    Gpb__V1__Device message;
    char *capabilities [GPB_CAPABILITIES_MAX];
} gpb_described_device_t;

//  index, load, state, reason and available_memory are the caller's to set.
void gpb_describe_device (gpb_described_device_t *self, const gpb_device_info_t *info,
                          const char *backend);

typedef struct {
    Gpb__V1__Kernel message;
    Gpb__V1__Parameter parameters [GPB_KERNEL_PARAMETERS_MAX];
    Gpb__V1__Parameter *parameters_p [GPB_KERNEL_PARAMETERS_MAX];
    char *global [GPB_DIMENSIONS];
    uint64_t local [GPB_DIMENSIONS];
    char *require [GPB_CAPABILITIES_MAX];
    char *sources [8];
} gpb_described_kernel_t;

void gpb_describe_kernel (gpb_described_kernel_t *self, const gpb_kernel_t *kernel);

//  Fills a kernel list's reply from a set of packages and hands it to `send`; the kernel named, or
//  all where it is empty. NOT_FOUND where there is none of that name.
gpb_status_t gpb_describe_kernels (gpb_kernels_t *kernels, const char *id,
                                   void (*send) (void *self, Gpb__V1__KernelList *list), void *self,
                                   gpb_error_t *error);

void gpb_describe_latency (Gpb__V1__Latency *message, const gpb_histogram_t *histogram);

//  What a hello is answered with; UNIMPLEMENTED where no version is common.
gpb_status_t gpb_describe_hello (Gpb__V1__HelloReply *message, const Gpb__V1__Hello *hello,
                                 const char *node, uint64_t max_frame_size, gpb_error_t *error);

#endif
