//  gpb_describe - devices, kernels and latencies as the wire's messages
//
//  protobuf-c's generated structures hold char * where they mean const char *: packing only reads.
//  The casts here are for that alone.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "gpb_describe.h"

#include "gpb_alloc.h"

#include <stdio.h>
#include <string.h>

void
gpb_describe_device (gpb_described_device_t *self, const gpb_device_info_t *info,
                     const char *backend)
{
    Gpb__V1__Device *message = &self->message;
    gpb__v1__device__init (message);
    message->name = (char *) info->name;
    message->vendor = (char *) info->vendor;
    message->type = (char *) info->type;
    message->backend = (char *) backend;
    message->driver = (char *) info->driver;
    message->architecture = (char *) info->architecture;
    message->compute_units = info->compute_units;
    message->clock_mhz = info->clock_mhz;
    message->total_memory = info->total_memory;
    message->max_work_group_size = info->max_work_group_size;
    message->local_memory = info->local_memory;
    message->max_allocation = info->max_allocation;
    message->shares_host_memory = info->shares_host_memory;
    message->n_capabilities = info->capabilities_count;
    message->capabilities = self->capabilities;
    for (uint32_t index = 0; index < info->capabilities_count; index++)
        self->capabilities [index] = (char *) info->capabilities [index];
}

static void
s_describe_persistent (gpb_described_kernel_t *self, const gpb_kernel_t *kernel)
{
    const gpb_persistent_t *persistent = gpb_kernel_persistent (kernel);
    if (!persistent)
        return;
    Gpb__V1__Persistent *message = &self->persistent;
    gpb__v1__persistent__init (message);
    message->lanes = persistent->lanes;
    message->slots = persistent->slots;
    message->slot_size = persistent->slot_size;
    message->state_size = persistent->state_size;
    message->devices = self->devices;
    const char *name;
    while (message->n_devices < GPB_DESCRIBED_DEVICES_MAX
           && (name = gpb_kernel_persistent_device (kernel, message->n_devices)))
        self->devices [message->n_devices++] = (char *) name;
    self->message.persistent = message;
}

void
gpb_describe_kernel (gpb_described_kernel_t *self, const gpb_kernel_t *kernel)
{
    Gpb__V1__Kernel *message = &self->message;
    gpb__v1__kernel__init (message);
    message->id = (char *) gpb_kernel_id (kernel);
    message->description = (char *) gpb_kernel_description (kernel);
    message->n_parameters = gpb_kernel_parameters (kernel);
    message->parameters = self->parameters_p;
    for (size_t index = 0; index < message->n_parameters; index++) {
        const gpb_parameter_t *parameter = gpb_kernel_parameter (kernel, index);
        Gpb__V1__Parameter *described = &self->parameters [index];
        gpb__v1__parameter__init (described);
        described->name = (char *) parameter->name;
        described->direction = (char *) gpb_direction_name (parameter->direction);
        described->type = (char *) gpb_type_name (parameter->type);
        described->count = (char *) parameter->count;
        described->alignment = parameter->alignment;
        described->zero = parameter->zero;
        self->parameters_p [index] = described;
    }
    unsigned dimensions = gpb_kernel_dimensions (kernel);
    message->n_global = dimensions;
    message->global = self->global;
    for (unsigned dimension = 0; dimension < dimensions; dimension++)
        self->global [dimension] = (char *) gpb_kernel_global (kernel, dimension);
    message->global_free = gpb_kernel_global_free (kernel);
    if (gpb_kernel_local (kernel)) {
        memcpy (self->local, gpb_kernel_local (kernel), sizeof self->local);
        message->n_local = dimensions;
        message->local = self->local;
    }
    message->shared = (char *) gpb_kernel_shared (kernel);
    message->require = self->require;
    const char *name;
    while (message->n_require < GPB_CAPABILITIES_MAX
           && (name = gpb_kernel_require (kernel, message->n_require)))
        self->require [message->n_require++] = (char *) name;
    message->sources = self->sources;
    while (message->n_sources < sizeof self->sources / sizeof self->sources [0]
           && (name = gpb_kernel_source_kind (kernel, message->n_sources)))
        self->sources [message->n_sources++] = (char *) name;
    s_describe_persistent (self, kernel);
}

//  Leaves out the residencies of the last kernels, until the rest has room in a header.
static void
s_make_room (Gpb__V1__Reply *reply)
{
    const Gpb__V1__KernelList *list = reply->kernels;
    size_t size = gpb__v1__reply__get_packed_size (reply);
    for (size_t index = list->n_kernels; index-- > 0 && size > GPB_DESCRIBED_MAX_SIZE;) {
        Gpb__V1__Persistent *persistent = list->kernels [index]->persistent;
        if (!persistent)
            continue;
        size -= gpb__v1__persistent__get_packed_size (persistent);
        persistent->n_residencies = 0;
        size += gpb__v1__persistent__get_packed_size (persistent);
    }
}

//  The messages of a list; each entry of messages points to one of described.
static void
s_answer_list (gpb_service_t *service, gpb_call_t *call, Gpb__V1__Kernel **messages, size_t count)
{
    Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
    Gpb__V1__KernelList list = GPB__V1__KERNEL_LIST__INIT;
    list.n_kernels = count;
    list.kernels = messages;
    reply.body_case = GPB__V1__REPLY__BODY_KERNELS;
    reply.kernels = &list;
    s_make_room (&reply);
    gpb_call_reply (service, call, &reply);
}

void
gpb_answer_kernels (gpb_service_t *service, gpb_call_t *call, gpb_kernels_t *kernels)
{
    const gpb_residencies_t none = { .told = { NULL } };
    gpb_answer_kernels_resident (service, call, kernels, &none);
}

void
gpb_answer_kernels_resident (gpb_service_t *service, gpb_call_t *call, gpb_kernels_t *kernels,
                             const gpb_residencies_t *residencies)
{
    const char *id = call->request->kernels->kernel;
    gpb_error_t error = { GPB_OK, "" };
    size_t count = 0;
    if (id [0] == 0)
        while (gpb_kernels_at (kernels, count))
            count++;
    else if (gpb_kernels_lookup (kernels, id))
        count = 1;
    else
        gpb_kernels_refuse (id, &error);

    gpb_described_kernel_t *described = gpb_alloc (count, sizeof *described);
    Gpb__V1__Kernel **messages = gpb_alloc (count, sizeof *messages);
    Gpb__V1__Residency **stays = gpb_alloc (gpb_residencies_count (residencies), sizeof *stays);
    size_t stays_count = 0;    //  each is of one kernel
    if (error.status == GPB_OK && (!described || !messages || !stays))
        gpb_error_set (&error, GPB_RESOURCE_EXHAUSTED, "no memory to list %zu kernels", count);
    for (size_t index = 0; error.status == GPB_OK && index < count; index++) {
        gpb_describe_kernel (&described [index], id [0] ? gpb_kernels_lookup (kernels, id)
                                                        : gpb_kernels_at (kernels, index));
        messages [index] = &described [index].message;
        Gpb__V1__Persistent *persistent = messages [index]->persistent;
        if (!persistent)
            continue;
        persistent->residencies = &stays [stays_count];
        persistent->n_residencies =
            gpb_residencies_list (residencies, messages [index]->id, &stays [stays_count]);
        stays_count += persistent->n_residencies;
    }
    if (error.status == GPB_OK)
        s_answer_list (service, call, messages, count);
    else
        gpb_call_refuse (service, call, &error);
    gpb_free (described);
    gpb_free (messages);
    gpb_free (stays);
}

static void
s_copy (char *target, size_t size, const char *text)
{
    snprintf (target, size, "%s", text);
}

void
gpb_describe_read (gpb_device_info_t *info, char *backend, size_t backend_size,
                   const Gpb__V1__Device *message)
{
    memset (info, 0, sizeof *info);
    s_copy (info->name, sizeof info->name, message->name);
    s_copy (info->vendor, sizeof info->vendor, message->vendor);
    s_copy (info->driver, sizeof info->driver, message->driver);
    s_copy (info->architecture, sizeof info->architecture, message->architecture);
    s_copy (info->type, sizeof info->type, message->type);
    s_copy (backend, backend_size, message->backend);
    info->compute_units = message->compute_units;
    info->clock_mhz = message->clock_mhz;
    info->total_memory = message->total_memory;
    info->max_allocation = message->max_allocation;
    info->local_memory = message->local_memory;
    info->max_work_group_size = message->max_work_group_size;
    info->shares_host_memory = message->shares_host_memory;
    for (size_t index = 0; index < message->n_capabilities && index < GPB_CAPABILITIES_MAX; index++)
        s_copy (info->capabilities [info->capabilities_count++], GPB_CAPABILITY_SIZE,
                message->capabilities [index]);
}

void
gpb_describe_latency (Gpb__V1__Latency *message, const gpb_histogram_t *histogram)
{
    gpb__v1__latency__init (message);
    message->count = histogram->count;
    message->mean_ns = gpb_histogram_mean (histogram);
    message->min_ns = histogram->min_ns;
    message->p50_ns = gpb_histogram_percentile (histogram, 50);
    message->p95_ns = gpb_histogram_percentile (histogram, 95);
    message->p99_ns = gpb_histogram_percentile (histogram, 99);
    message->max_ns = histogram->max_ns;
}

static gpb_status_t
s_pack_hello (gpb_hello_t *self, const char *node, const gpb_config_t *config, gpb_error_t *error)
{
    Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
    Gpb__V1__HelloReply body = GPB__V1__HELLO_REPLY__INIT;
    body.version = GPB_PROTOCOL_VERSION;
    body.node = (char *) node;
    body.release = (char *) PACKAGE_VERSION;
    body.max_frame_size = gpb_config_number (config, "max_frame_size");
    body.max_frames = GPB_PAYLOADS_MAX;
    body.max_inline_size = GPB_INLINE_MAX_SIZE;
    reply.version = GPB_PROTOCOL_VERSION;
    reply.body_case = GPB__V1__REPLY__BODY_HELLO;
    reply.hello = &body;
    zmq_msg_init (&self->header);
    gpb_status_t status = gpb_codec_pack (&reply.base, &self->header, error);
    self->is_packed = status == GPB_OK;
    return status;
}

void
gpb_hello_clear (gpb_hello_t *self)
{
    if (self->is_packed)
        zmq_msg_close (&self->header);
    self->is_packed = false;
}

void
gpb_answer_hello (gpb_hello_t *self, gpb_service_t *service, gpb_call_t *call, const char *node,
                  const gpb_config_t *config)
{
    const Gpb__V1__Hello *hello = call->request->hello;
    gpb_error_t error;
    bool says = hello->oldest_version || hello->newest_version;
    if (says
        && (hello->oldest_version > GPB_PROTOCOL_VERSION
            || hello->newest_version < GPB_PROTOCOL_VERSION))
    {
        gpb_error_set (&error, GPB_UNIMPLEMENTED, "versions %u to %u: this node speaks version %d",
                       hello->oldest_version, hello->newest_version, GPB_PROTOCOL_VERSION);
        gpb_call_refuse (service, call, &error);
        return;
    }
    if (self->is_packed || s_pack_hello (self, node, config, &error) == GPB_OK)
        gpb_call_reply_packed (service, call, &self->header);
    else
        gpb_call_refuse (service, call, &error);
}
