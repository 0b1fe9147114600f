//  gpb_lease - what a pool tells its device about a buffer that it has rented out
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_lease.h"

#include <unistd.h>

void
gpb_lease_map (const gpb_lease_t *self, bool *mapped_p, size_t users, gpb_service_t *service,
               gpb_call_t *call)
{
    gpb_error_t error;
    gpb_status_t status = GPB_OK;
    if (!self->address)
        status =
            gpb_error_set (&error, GPB_FAILED_PRECONDITION,
                           "this buffer was rented as DEVICE memory: only MAPPED can be mapped");
    else if (!call->is_inproc)
        status = gpb_error_set (&error, GPB_FAILED_PRECONDITION,
                                "a pointer is of use in the process of the device only: map over "
                                "inproc, in a node with isolation = thread");
    else if (*mapped_p)
        status = gpb_error_set (&error, GPB_FAILED_PRECONDITION, "this buffer is mapped already");
    else if (users)
        status =
            gpb_error_set (&error, GPB_FAILED_PRECONDITION,
                           "%zu requests in flight use this buffer: map it when they are answered",
                           users);
    if (status != GPB_OK) {
        gpb_call_refuse (service, call, &error);
        return;
    }
    *mapped_p = true;
    Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
    Gpb__V1__MapReply body = GPB__V1__MAP_REPLY__INIT;
    body.address = (uintptr_t) self->address;
    body.size = self->size;
    body.process = (uint64_t) getpid ();
    reply.body_case = GPB__V1__REPLY__BODY_MAP;
    reply.map = &body;
    gpb_call_reply (service, call, &reply);
}

void
gpb_lease_unmap (bool *mapped_p, gpb_service_t *service, gpb_call_t *call)
{
    if (!*mapped_p) {
        gpb_error_t error;
        gpb_error_set (&error, GPB_FAILED_PRECONDITION, "this buffer is not mapped");
        gpb_call_refuse (service, call, &error);
        return;
    }
    *mapped_p = false;
    gpb_call_done (service, call);
}
