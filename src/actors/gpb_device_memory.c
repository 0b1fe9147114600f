//  gpb_device_memory - what a device's clients rent and reserve
//
//  Rents and releases are passed on to the pool (gpb_rentals), and answered when it has answered.
//  Reservations are kept here: what is set aside and not drawn is refused to rents and launches
//  that do not name it. What is available is said in one place, by all that is known here: the
//  driver's word, our books, and what is reserved.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_device_private.h"

#include <inttypes.h>

//  What can still be had: what the driver says is free and what the pool and the launches keep, or
//  what is left by our own books, whichever is less (the driver knows of other programs; the books
//  know of rents that are on their way). What is reserved and not drawn is nobody's else.
uint64_t
gpb_device_available (gpb_device_t *self)
{
    gpb_blocks_figures_t figures;
    gpb_blocks_figures (self->workshop.blocks, &figures);
    uint64_t total = self->shared->info.total_memory, free_size;
    uint64_t used = gpb_rentals_used (self->rentals) + figures.device_in_use;
    uint64_t available = used < total ? total - used : 0;
    if (self->shared->operations->memory_free (self->shared->context, &free_size, NULL) == GPB_OK) {
        free_size += gpb_rentals_holding (self->rentals)->idle + figures.device_kept;
        if (free_size < available)
            available = free_size;
    }
    uint64_t reserved = gpb_reservations_undrawn (self->reservations);
    return reserved < available ? available - reserved : 0;
}

//  For a request that names no reservation: whether size bytes are left beside what is reserved.
//  Where nothing is, the driver has the last word.
static gpb_status_t
s_check_unreserved (gpb_device_t *self, uint64_t size, gpb_error_t *error)
{
    uint64_t reserved = gpb_reservations_undrawn (self->reservations);
    if (!reserved)
        return GPB_OK;
    uint64_t available = gpb_device_available (self);
    if (size <= available)
        return GPB_OK;
    return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED,
                          "%" PRIu64 " bytes of memory were asked for: device %u has %" PRIu64
                          " available beside %" PRIu64 " that are reserved",
                          size, self->shared->index, available, reserved);
}

void
gpb_device_set_available (gpb_device_t *self, Gpb__V1__Reply *reply)
{
    reply->memory_case = GPB__V1__REPLY__MEMORY_AVAILABLE_MEMORY;
    reply->available_memory = gpb_device_available (self);
}

//  ---------------------------------------------------------------------------------------------------------
//  What launches draw

void
gpb_device_undraw (gpb_device_t *self, gpb_job_t *job)
{
    if (job->drawn)
        gpb_reservations_return (self->reservations, job->reservation, job->drawn);
    job->drawn = 0;
}

//  Launch buffers are drawn from the reservation that the request names, or else are from what is
//  not reserved.
gpb_status_t
gpb_device_admit (void *actor, gpb_job_t *job, uint64_t size, gpb_error_t *error)
{
    gpb_device_t *self = actor;
    if (!job->reservation) {
        gpb_status_t unreserved = s_check_unreserved (self, size, error);
        job->admitted = unreserved == GPB_OK;
        return unreserved;
    }
    gpb_status_t status = gpb_reservations_draw (self->reservations, job->reservation, size, error);
    job->admitted = status == GPB_OK;
    if (job->admitted)
        job->drawn = size;
    return status;
}

//  ---------------------------------------------------------------------------------------------------------
//  Rents

void
gpb_device_handle_rent (void *actor, gpb_call_t *call)
{
    gpb_device_t *self = actor;
    gpb_error_t error;
    const Gpb__V1__Rent *request = call->request->rent;
    gpb_status_t status = gpb_device_check_new (self, call, &error);
    if (status == GPB_OK)
        status =
            gpb_device_check_placement (self, call,
                                        request->placement_case == GPB__V1__RENT__PLACEMENT_DEVICE,
                                        request->device, request->n_require, request->require, 0,
                                        &error);
    //  Reserved is the device's own memory, which MAPPED memory is where it shares the host's.
    bool is_devices =
        self->shared->info.shares_host_memory || request->kind != GPB__V1__MEMORY_KIND__MAPPED;
    if (status == GPB_OK && is_devices && !request->reservation)
        status = s_check_unreserved (self, request->size, &error);
    if (status != GPB_OK) {
        gpb_call_refuse (self->service, call, &error);
        return;
    }
    //  What is kept for launches counts as available, so a rent that needs it gets it.
    gpb_blocks_figures_t figures;
    gpb_blocks_figures (self->workshop.blocks, &figures);
    uint64_t available = gpb_device_available (self);
    if (is_devices
        && (available < figures.device_kept || request->size > available - figures.device_kept))
        gpb_blocks_trim (self->workshop.blocks);
    gpb_job_t *job = gpb_jobs_take (self->jobs, call);
    gpb_ticket_t ticket = { .number = job->number, .generation = job->generation };
    if (gpb_rentals_rent (self->rentals, &job->owner, ticket, request, &job->message.header, &error)
        != GPB_OK)
        gpb_device_job_refuse (self, job, &error);
}

void
gpb_device_handle_release (void *actor, gpb_call_t *call)
{
    gpb_device_t *self = actor;
    gpb_error_t error;
    gpb_rental_t *rental = NULL;
    if (gpb_device_check_new (self, call, &error) == GPB_OK)
        rental = gpb_rentals_lookup (self->rentals, &call->owner, call->request->release->handle,
                                     &error);
    if (!rental) {
        gpb_call_refuse (self->service, call, &error);
        return;
    }
    gpb_job_t *job = gpb_jobs_take (self->jobs, call);
    gpb_ticket_t ticket = { .number = job->number, .generation = job->generation };
    gpb_rentals_release (self->rentals, rental, ticket);
}

void
gpb_device_handle_map (void *actor, gpb_call_t *call)
{
    gpb_device_t *self = actor;
    gpb_error_t error;
    gpb_rental_t *rental =
        gpb_rentals_lookup (self->rentals, &call->owner, call->request->map->handle, &error);
    if (rental)
        gpb_lease_map (&rental->lease, &rental->mapped, rental->users, self->service, call);
    else
        gpb_call_refuse (self->service, call, &error);
}

void
gpb_device_handle_unmap (void *actor, gpb_call_t *call)
{
    gpb_device_t *self = actor;
    gpb_error_t error;
    gpb_rental_t *rental =
        gpb_rentals_lookup (self->rentals, &call->owner, call->request->unmap->handle, &error);
    if (rental)
        gpb_lease_unmap (&rental->mapped, self->service, call);
    else
        gpb_call_refuse (self->service, call, &error);
}

//  The pool's answer is the client's, but for the id and for what is available now; its figures are
//  only a part of ours.
void
gpb_device_recv_from_pool (gpb_device_t *self)
{
    gpb_ticket_t ticket;
    zmq_msg_t header;
    zmq_msg_init (&header);
    while (gpb_rentals_recv (self->rentals, &ticket, &header)) {
        gpb_job_t *job = gpb_jobs_at (self->jobs, ticket.number, ticket.generation);
        if (!job)
            continue;
        if (job->kind == GPB__V1__REQUEST__BODY_STATS) {
            gpb_device_answer_stats (self, job, &header);
            continue;
        }
        if (job->kind == GPB__V1__REQUEST__BODY_EXECUTE) {
            gpb_device_execute_again (self, job);
            continue;
        }
        if (!job->answered) {
            gpb_codec_append (&header, GPB_REPLY_AVAILABLE_MEMORY, gpb_device_available (self),
                              NULL);
            gpb_codec_append (&header, GPB_REPLY_ID, job->id, NULL);
            zmq_msg_move (&job->message.header, &header);
            gpb_router_send (gpb_service_router (self->service), job->connection, &job->message);
        }
        gpb_device_job_free (self, job);
    }
    zmq_msg_close (&header);
}

//  ---------------------------------------------------------------------------------------------------------
//  Reservations

void
gpb_device_handle_reserve (void *actor, gpb_call_t *call)
{
    gpb_device_t *self = actor;
    gpb_error_t error;
    const Gpb__V1__Reserve *request = call->request->reserve;
    gpb_status_t status = gpb_device_check_new (self, call, &error);
    if (status == GPB_OK)
        status = gpb_device_check_placement (self, call,
                                             request->placement_case
                                                 == GPB__V1__RESERVE__PLACEMENT_DEVICE,
                                             request->device, request->n_require, request->require,
                                             0, &error);
    uint64_t available = gpb_device_available (self);
    if (status == GPB_OK && request->memory > available)
        status = gpb_error_set (&error, GPB_RESOURCE_EXHAUSTED,
                                "%" PRIu64 " bytes were to be reserved: device %u has %" PRIu64
                                " available",
                                request->memory, self->shared->index, available);
    uint32_t for_ms = request->for_ms;
    const gpb_reservation_t *reservation = NULL;
    if (status == GPB_OK)
        reservation = gpb_reservations_add (self->reservations, &call->owner, request->memory,
                                            call->received_ns, &for_ms, &error);
    if (!reservation) {
        gpb_call_refuse (self->service, call, &error);
        return;
    }
    Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
    Gpb__V1__ReserveReply body = GPB__V1__RESERVE_REPLY__INIT;
    body.handle = reservation->handle;
    body.memory = reservation->size;
    body.device = self->shared->index;
    body.for_ms = for_ms;
    reply.body_case = GPB__V1__REPLY__BODY_RESERVE;
    reply.reserve = &body;
    gpb_device_set_available (self, &reply);
    gpb_call_reply (self->service, call, &reply);
}

void
gpb_device_handle_renew (void *actor, gpb_call_t *call)
{
    gpb_device_t *self = actor;
    gpb_error_t error;
    uint32_t for_ms = call->request->renew->for_ms;
    gpb_status_t status = gpb_device_check_new (self, call, &error);
    if (status == GPB_OK)
        status =
            gpb_reservations_renew (self->reservations, &call->owner, call->request->renew->handle,
                                    call->received_ns, &for_ms, &error);
    if (status != GPB_OK) {
        gpb_call_refuse (self->service, call, &error);
        return;
    }
    Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
    Gpb__V1__RenewReply body = GPB__V1__RENEW_REPLY__INIT;
    body.for_ms = for_ms;
    reply.body_case = GPB__V1__REPLY__BODY_RENEW;
    reply.renew = &body;
    gpb_device_set_available (self, &reply);
    gpb_call_reply (self->service, call, &reply);
}

void
gpb_device_handle_unreserve (void *actor, gpb_call_t *call)
{
    gpb_device_t *self = actor;
    gpb_error_t error;
    gpb_status_t status = gpb_device_check_new (self, call, &error);
    if (status == GPB_OK)
        status = gpb_reservations_end (self->reservations, &call->owner,
                                       call->request->unreserve->handle, &error);
    if (status != GPB_OK) {
        gpb_call_refuse (self->service, call, &error);
        return;
    }
    Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
    Gpb__V1__Done done = GPB__V1__DONE__INIT;
    reply.body_case = GPB__V1__REPLY__BODY_UNRESERVE;
    reply.unreserve = &done;
    gpb_device_set_available (self, &reply);
    gpb_call_reply (self->service, call, &reply);
}
