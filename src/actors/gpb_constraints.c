//  gpb_constraints - what a request asks of its device
//
//  Pure functions over a request: no state, no memory of their own.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_constraints.h"

#include "gpb_hosting.h"
#include "gpb_lease.h"

#include <inttypes.h>

static uint64_t
s_add (uint64_t left, uint64_t right)
{
    return left + right >= left ? left + right : UINT64_MAX;
}

//  The device of a handle joins those of the request's other handles; what is its name for people.
static gpb_status_t
s_add_handle (gpb_constraints_t *self, const char *what, uint64_t handle, unsigned devices,
              gpb_error_t *error)
{
    unsigned device = gpb_handle_device (handle);
    if (device >= devices)
        return gpb_error_set (error, GPB_NOT_FOUND,
                              "no %s with handle %016" PRIx64 " is this connection's", what,
                              handle);
    if (self->has_device && self->device != device)
        return gpb_error_set (error, GPB_FAILED_PRECONDITION,
                              "one request names device %" PRIu64
                              " and a %s of device %u: all must be on one",
                              self->device, what, device);
    self->has_device = true;
    self->device = device;
    self->is_bound = true;
    return GPB_OK;
}

//  What names a reservation goes to its device, which alone knows how much of it is left.
static gpb_status_t
s_add_reservation (gpb_constraints_t *self, uint64_t handle, unsigned devices, gpb_error_t *error)
{
    if (!handle)
        return GPB_OK;
    self->memory = 0;
    self->takes = 0;
    return s_add_handle (self, "reservation", handle, devices, error);
}

//  What a persistent kernel's messages say of where they go, and no other request may. The memory
//  of their payloads is the kernel's own, and there already.
static gpb_status_t
s_read_lane (gpb_constraints_t *self, const Gpb__V1__Execute *request, gpb_error_t *error)
{
    const bool has_key = request->lane_case == GPB__V1__EXECUTE__LANE_LANE_KEY;
    self->is_hosted = gpb_kernel_persistent (self->kernel) != NULL;
    if (self->is_hosted) {
        self->memory = request->memory;
        self->lane = has_key ? gpb_hosting_lane (request->kernel, request->lane_key) : 0;
    }
    else if (has_key || request->on_demand)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "%s is for persistent kernels: %s is launched for every request",
                              has_key ? "lane_key" : "on_demand", request->kernel);
    return GPB_OK;
}

static gpb_status_t
s_read_execute (gpb_constraints_t *self, const gpb_call_t *call, gpb_kernels_t *kernels,
                unsigned devices, gpb_error_t *error)
{
    const Gpb__V1__Execute *request = call->request->execute;
    self->has_device = request->placement_case == GPB__V1__EXECUTE__PLACEMENT_DEVICE;
    self->device = self->has_device ? request->device : 0;
    self->kernel = gpb_kernels_lookup (kernels, request->kernel);
    self->require = request->require;
    self->require_count = request->n_require;
    self->memory = s_add (request->memory, gpb_message_payload_size (call->message));
    if (!self->kernel)
        return gpb_kernels_refuse (request->kernel, error);
    gpb_status_t status = s_read_lane (self, request, error);
    for (size_t index = 0; status == GPB_OK && index < request->n_arguments; index++) {
        const Gpb__V1__Argument *argument = request->arguments [index];
        if (argument->value_case == GPB__V1__ARGUMENT__VALUE_BUFFER)
            status = s_add_handle (self, "buffer", argument->buffer->handle, devices, error);
        else if (argument->value_case == GPB__V1__ARGUMENT__VALUE_OUTPUT && !self->is_hosted)
            self->memory = s_add (self->memory, argument->output->size);
    }
    return status == GPB_OK ? s_add_reservation (self, request->reservation, devices, error)
                            : status;
}

static gpb_status_t
s_read_rent (gpb_constraints_t *self, const Gpb__V1__Rent *request, unsigned devices,
             gpb_error_t *error)
{
    self->has_device = request->placement_case == GPB__V1__RENT__PLACEMENT_DEVICE;
    self->device = self->has_device ? request->device : 0;
    self->require = request->require;
    self->require_count = request->n_require;
    self->memory = self->takes = request->size;
    return s_add_reservation (self, request->reservation, devices, error);
}

static void
s_read_reserve (gpb_constraints_t *self, const Gpb__V1__Reserve *request)
{
    self->has_device = request->placement_case == GPB__V1__RESERVE__PLACEMENT_DEVICE;
    self->device = self->has_device ? request->device : 0;
    self->require = request->require;
    self->require_count = request->n_require;
    self->memory = self->takes = request->memory;
}

gpb_status_t
gpb_constraints_read (gpb_constraints_t *self, const gpb_call_t *call, gpb_kernels_t *kernels,
                      unsigned devices, gpb_error_t *error)
{
    *self = (gpb_constraints_t){ .has_device = false };
    const Gpb__V1__Request *request = call->request;
    switch (request->body_case) {
    case GPB__V1__REQUEST__BODY_EXECUTE:
        return s_read_execute (self, call, kernels, devices, error);
    case GPB__V1__REQUEST__BODY_RENT: return s_read_rent (self, request->rent, devices, error);
    case GPB__V1__REQUEST__BODY_RESERVE: s_read_reserve (self, request->reserve); return GPB_OK;
    case GPB__V1__REQUEST__BODY_RENEW:
        return s_add_handle (self, "reservation", request->renew->handle, devices, error);
    case GPB__V1__REQUEST__BODY_UNRESERVE:
        return s_add_handle (self, "reservation", request->unreserve->handle, devices, error);
    case GPB__V1__REQUEST__BODY_RELEASE:
        return s_add_handle (self, "buffer", request->release->handle, devices, error);
    case GPB__V1__REQUEST__BODY_READ:
        return s_add_handle (self, "buffer", request->read->handle, devices, error);
    case GPB__V1__REQUEST__BODY_WRITE:
        return s_add_handle (self, "buffer", request->write->handle, devices, error);
    case GPB__V1__REQUEST__BODY_MAP:
        return s_add_handle (self, "buffer", request->map->handle, devices, error);
    case GPB__V1__REQUEST__BODY_UNMAP:
        return s_add_handle (self, "buffer", request->unmap->handle, devices, error);
    case GPB__V1__REQUEST__BODY_COPY: {
        gpb_status_t status = s_add_handle (self, "buffer", request->copy->source, devices, error);
        return status == GPB_OK
                   ? s_add_handle (self, "buffer", request->copy->target, devices, error)
                   : status;
    }
    default:
        return gpb_error_set (error, GPB_INTERNAL, "request %d is no work for a device",
                              (int) request->body_case);
    }
}
