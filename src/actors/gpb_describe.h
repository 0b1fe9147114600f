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
#include "gpb_residencies.h"
#include "gpb_service.h"

typedef struct {
    Gpb__V1__Device message;
    char *capabilities [GPB_CAPABILITIES_MAX];
} gpb_described_device_t;

//  index, load, state, reason and available_memory are the caller's to set.
void gpb_describe_device (gpb_described_device_t *self, const gpb_device_info_t *info,
                          const char *backend);

//  Bytes of a reply that certainly fits a header, with the version and the id that it has not yet.
#define GPB_DESCRIBED_MAX_SIZE (GPB_HEADER_MAX_SIZE - 2 * GPB_HEADER_SPARE)

#define GPB_DESCRIBED_DEVICES_MAX 128    //  words of a persistent kernel's devices

typedef struct {
    Gpb__V1__Kernel message;
    Gpb__V1__Parameter parameters [GPB_KERNEL_PARAMETERS_MAX];
    Gpb__V1__Parameter *parameters_p [GPB_KERNEL_PARAMETERS_MAX];
    char *global [GPB_DIMENSIONS];
    uint64_t local [GPB_DIMENSIONS];
    char *require [GPB_CAPABILITIES_MAX];
    char *sources [8];
    Gpb__V1__Persistent persistent;
    char *devices [GPB_DESCRIBED_DEVICES_MAX];
} gpb_described_kernel_t;

void gpb_describe_kernel (gpb_described_kernel_t *self, const gpb_kernel_t *kernel);

//  Answers a request for kernels from a set of packages; the second one with where those that are
//  persistent stay. Residencies that the answer has no room for are left out.
void gpb_answer_kernels (gpb_service_t *service, gpb_call_t *call, gpb_kernels_t *kernels);
void gpb_answer_kernels_resident (gpb_service_t *service, gpb_call_t *call, gpb_kernels_t *kernels,
                                  const gpb_residencies_t *residencies);

//  What this end says to a hello: always the same but for the id, so it is packed once. Zeros are
//  none yet.
typedef struct {
    zmq_msg_t header;
    bool is_packed;
} gpb_hello_t;

void gpb_hello_clear (gpb_hello_t *self);

//  Answers a hello: what this end speaks, in the range that the client speaks. node and config are
//  the same for all calls with one self.
void gpb_answer_hello (gpb_hello_t *self, gpb_service_t *service, gpb_call_t *call,
                       const char *node, const gpb_config_t *config);

//  The other way round: what a device's own message says it is.
void gpb_describe_read (gpb_device_info_t *info, char *backend, size_t backend_size,
                        const Gpb__V1__Device *message);

void gpb_describe_latency (Gpb__V1__Latency *message, const gpb_histogram_t *histogram);

#endif
