//  gpb_device - one device as an actor
//
//  Owns an open device (shared with its pool), the kernels compiled for it, and the jobs that are
//  on it. A request becomes a job on one of its streams at once, so that copies and launches of
//  different requests overlap: requests on rented memory all go to stream 0, which keeps their
//  order; others to the emptiest of the rest. The backend wakes the actor through an eventfd when a
//  job's last command is done; the answer goes back the way the request came.
//
//  Memory is rented by the pool, on its own thread: the device passes the request on in the name of
//  its owner, and notes the lease that comes back. A release waits until no job uses the buffer.
//  Memory is reserved here (gpb_reservations): what is set aside and not drawn is refused to rents
//  and launches that do not name it. When an owner says goodbye, or its connection ends, what it
//  rented is released, and what it reserved is free. What it has in flight runs to its end: with
//  nobody to tell, or answered to the broker that sent it.
//
//  A device that could not be opened answers every command with the reason. $TERM refuses what is
//  new, waits for what is on the device, and stops the pool before the device is closed.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_device.h"

#include "gpb_alloc.h"
#include "gpb_clock.h"
#include "gpb_describe.h"
#include "gpb_jobs.h"
#include "gpb_log.h"
#include "gpb_poller.h"

#include <inttypes.h>
#include <limits.h>
#include <unistd.h>

#define BATCH 64       //  requests between two looks at what is done
#define PIPE_ITEM 0    //  of the poller
#define DONE_ITEM 1    //  a job's last command is done
#define RENTALS_ITEM 2
#define ROUTER_ITEM 3
#define MONITOR_ITEM 4
#define STOP_LINGER_MS 1000      //  for the last answers to leave over tcp
#define KEEP_SHARE 4             //  of the device, for launches: what the pool keeps by default too
#define UNANNOUNCED_POLL_MS 1    //  for jobs whose enqueuing broke off: rare, and soon over

typedef struct {
    zsock_t *pipe;
    gpb_config_t *config;
    gpb_error_t failure;    //  why there is no service
    gpb_service_t *service;
    gpb_shared_context_t *shared;
    gpb_workshop_t workshop;
    char *node;    //  the node's name, for replies
    gpb_hello_t hello;

    gpb_programs_t *programs;    //  kernels, compiled for this device
    gpb_rentals_t *rentals;      //  and the pool behind them
    gpb_reservations_t *reservations;
    gpb_codec_t *codec;    //  for what the pool answers

    gpb_jobs_t *jobs;
    gpb_poller_t poller;
    size_t stats_asked;    //  of these, requests for figures that wait for the pool
    uint64_t stop_ns;      //  gpb_clock_ns (): what is on the device then is given up; 0: it serves
} self_t;

//  ---------------------------------------------------------------------------------------------------------
//  Jobs

static void
s_undraw (self_t *self, gpb_job_t *job)
{
    if (job->drawn)
        gpb_reservations_return (self->reservations, job->reservation, job->drawn);
    job->drawn = 0;
}

//  The job has ended, and what it has drawn from a reservation with it.
static void
s_job_free (self_t *self, gpb_job_t *job)
{
    s_undraw (self, job);
    gpb_jobs_free (self->jobs, &self->workshop, job);
}

static void
s_job_refuse (self_t *self, gpb_job_t *job, const gpb_error_t *error)
{
    if (!job->answered)
        gpb_service_refuse (self->service, job->connection, &job->message, job->id, error);
    s_job_free (self, job);
}

//  Answers before its work is done, which goes on: its payloads are still read, so they stay. What
//  a rent comes to goes back, since nobody will ever know its handle.
static void
s_job_answer_early (self_t *self, gpb_job_t *job, const gpb_error_t *error)
{
    gpb_message_t message;
    gpb_message_init (&message);
    for (size_t index = 0; index < job->message.envelope_count; index++) {
        zmq_msg_init (&message.envelope [index]);
        zmq_msg_move (&message.envelope [index], &job->message.envelope [index]);
    }
    message.envelope_count = job->message.envelope_count;
    gpb_service_refuse (self->service, job->connection, &message, job->id, error);
    gpb_jobs_answered (self->jobs, job);
    gpb_ticket_t ticket = { .number = job->number, .generation = job->generation };
    gpb_rentals_forget (self->rentals, ticket);
}

//  What can still be had: what the driver says is free and what the pool and the launches keep, or
//  what is left by our own books, whichever is less (the driver knows of other programs; the books
//  know of rents that are on their way). What is reserved and not drawn is nobody's else.
static uint64_t
s_available_memory (self_t *self)
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
s_check_unreserved (self_t *self, uint64_t size, gpb_error_t *error)
{
    uint64_t reserved = gpb_reservations_undrawn (self->reservations);
    if (!reserved)
        return GPB_OK;
    uint64_t available = s_available_memory (self);
    if (size <= available)
        return GPB_OK;
    return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED,
                          "%" PRIu64 " bytes of memory were asked for: device %u has %" PRIu64
                          " available beside %" PRIu64 " that are reserved",
                          size, self->shared->index, available, reserved);
}

//  Launch buffers are drawn from the reservation that the request names, or else are from what is
//  not reserved.
static gpb_status_t
s_admit (void *actor, gpb_job_t *job, uint64_t size, gpb_error_t *error)
{
    self_t *self = actor;
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

static void
s_set_available (self_t *self, Gpb__V1__Reply *reply)
{
    reply->memory_case = GPB__V1__REPLY__MEMORY_AVAILABLE_MEMORY;
    reply->available_memory = s_available_memory (self);
}

//  ---------------------------------------------------------------------------------------------------------
//  Execute, read, write, copy: enqueued when they come, answered when they are done

static gpb_status_t
s_check_new (self_t *self, const gpb_call_t *call, gpb_error_t *error)
{
    if (gpb_clock_ns () >= call->deadline_ns)
        return gpb_error_set (error, GPB_DEADLINE_EXCEEDED,
                              "the request's time was up before it began");
    //  A broker has looked already, and ids behind it are its clients'.
    if (call->owner.behind)
        return GPB_OK;
    if (gpb_jobs_find (self->jobs, &call->owner, call->request->id))
        return gpb_error_set (error, GPB_ALREADY_EXISTS,
                              "request %" PRIu64 " of this connection is in flight",
                              call->request->id);
    return GPB_OK;
}

//  What a broker chooses a device by, a client that asks one directly may ask for too. Memory is
//  the broker's to count, for those behind it.
static gpb_status_t
s_check_placement (self_t *self, const gpb_call_t *call, bool has_device, uint32_t device,
                   size_t require_count, char *const *require, uint64_t memory, gpb_error_t *error)
{
    if (has_device && device != self->shared->index)
        return gpb_error_set (error, GPB_NOT_FOUND, "device %u: this is device %u", device,
                              self->shared->index);
    for (size_t index = 0; index < require_count; index++)
        if (!gpb_device_has (&self->shared->info, require [index]))
            return gpb_error_set (error, GPB_FAILED_PRECONDITION, "device %u has no %s",
                                  self->shared->index, require [index]);
    uint64_t available = memory && !call->owner.behind ? s_available_memory (self) : memory;
    if (memory > available)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED,
                              "%" PRIu64 " bytes of memory were asked for: device %u has %" PRIu64
                              " available",
                              memory, self->shared->index, available);
    return GPB_OK;
}

//  A launch that finds no memory while the pool has some that is nobody's asks the pool to give
//  that to the driver, and tries once more. One that is bound to rented memory is refused instead,
//  since those that come behind it would overtake it; the next one finds the memory.
static void
s_execute (self_t *self, gpb_job_t *job, const gpb_program_t *program,
           const Gpb__V1__Execute *request)
{
    gpb_error_t error;
    const bool is_bound = gpb_job_execute_is_bound (request);
    job->stream = gpb_jobs_choose_stream (self->jobs, is_bound);
    job->admitted = false;
    if (gpb_job_execute (job, &self->workshop, program, request, &error) == GPB_OK) {
        gpb_jobs_enqueue (self->jobs, job);
        return;
    }
    s_undraw (self, job);
    if (error.status != GPB_RESOURCE_EXHAUSTED || !job->admitted || job->retried
        || gpb_rentals_holding (self->rentals)->idle == 0)
    {
        s_job_refuse (self, job, &error);
        return;
    }
    job->retried = true;
    gpb_ticket_t ticket = { .number = job->number, .generation = job->generation };
    if (is_bound) {
        ticket.number = GPB_TICKET_NOBODY;
        s_job_refuse (self, job, &error);
    }
    gpb_rentals_ask_trim (self->rentals, ticket);
}

//  The pool has given back what it could.
static void
s_execute_again (self_t *self, gpb_job_t *job)
{
    gpb_error_t error = { GPB_OK, "" };
    uint64_t id;
    const Gpb__V1__Request *request = NULL;
    const gpb_program_t *program = NULL;
    if (!job->answered)
        request = gpb_codec_request (self->codec, &job->message.header, &id, &error);
    if (request)
        program = gpb_programs_lookup (self->programs, request->execute->kernel, &error);
    if (program)
        s_execute (self, job, program, request->execute);
    else
        s_job_refuse (self, job, &error);
}

static void
s_handle_execute (void *actor, gpb_call_t *call)
{
    self_t *self = actor;
    const Gpb__V1__Execute *request = call->request->execute;
    gpb_error_t error;
    gpb_status_t status = s_check_new (self, call, &error);
    const gpb_program_t *program = NULL;
    if (status == GPB_OK)
        program = gpb_programs_lookup (self->programs, request->kernel, &error);
    if (program)
        status = s_check_placement (self, call,
                                    request->placement_case == GPB__V1__EXECUTE__PLACEMENT_DEVICE,
                                    request->device, request->n_require, request->require,
                                    request->memory, &error);
    if (!program || status != GPB_OK) {
        gpb_call_refuse (self->service, call, &error);
        return;
    }
    gpb_job_t *job = gpb_jobs_take (self->jobs, call);
    job->reservation = request->reservation;
    s_execute (self, job, program, request);
}

//  Read, write and copy.
static void
s_handle_transfer (void *actor, gpb_call_t *call)
{
    self_t *self = actor;
    gpb_error_t error;
    if (s_check_new (self, call, &error) != GPB_OK) {
        gpb_call_refuse (self->service, call, &error);
        return;
    }
    gpb_job_t *job = gpb_jobs_take (self->jobs, call);
    job->stream = gpb_jobs_choose_stream (self->jobs, true);
    gpb_status_t status;
    if (job->kind == GPB__V1__REQUEST__BODY_READ)
        status = gpb_job_read (job, &self->workshop, call->request, &error);
    else if (job->kind == GPB__V1__REQUEST__BODY_WRITE)
        status = gpb_job_write (job, &self->workshop, call->request, &error);
    else
        status = gpb_job_copy (job, &self->workshop, call->request, &error);
    if (status == GPB_OK)
        gpb_jobs_enqueue (self->jobs, job);
    else
        s_job_refuse (self, job, &error);
}

//  Results stand in the header where that was asked and they fit; else each is a frame.
static gpb_status_t
s_fill_results (gpb_job_t *job, Gpb__V1__Result *results, gpb_error_t *error)
{
    uint64_t total = 0;
    for (size_t index = 0; index < job->results_count; index++)
        total += job->results [index].size;
    bool is_inline = job->inline_results && total <= GPB_INLINE_MAX_SIZE;
    gpb_status_t status = GPB_OK;
    for (size_t index = 0; status == GPB_OK && index < job->results_count; index++) {
        gpb_result_t *result = &job->results [index];
        gpb__v1__result__init (&results [index]);
        results [index].argument = result->argument;
        results [index].size = result->size;
        if (is_inline) {
            results [index].value_case = GPB__V1__RESULT__VALUE_INLINE;
            results [index].inline_.len = result->size;
            results [index].inline_.data = result->block ? result->block->address : NULL;
            job->host_copied += result->size;
        }
        else {
            results [index].value_case = GPB__V1__RESULT__VALUE_FRAME;
            results [index].frame = (uint32_t) index;
            status = gpb_job_add_result_frame (job, result, error);
        }
    }
    return status;
}

static void
s_job_reply (self_t *self, gpb_job_t *job)
{
    Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
    Gpb__V1__Timing timing = GPB__V1__TIMING__INIT;
    Gpb__V1__Span spans [3];
    gpb_job_timing (job, &self->workshop, &timing, spans);
    gpb_job_release (job, &self->workshop);

    gpb_error_t error;
    Gpb__V1__Result results [GPB_KERNEL_PARAMETERS_MAX];
    Gpb__V1__Result *results_p [GPB_KERNEL_PARAMETERS_MAX];
    for (size_t index = 0; index < job->results_count; index++)
        results_p [index] = &results [index];
    if (s_fill_results (job, results, &error) != GPB_OK) {
        s_job_refuse (self, job, &error);
        return;
    }
    timing.host_copied = job->host_copied;

    Gpb__V1__ExecuteReply execute = GPB__V1__EXECUTE_REPLY__INIT;
    Gpb__V1__ReadReply read_reply = GPB__V1__READ_REPLY__INIT;
    Gpb__V1__WriteReply write_reply = GPB__V1__WRITE_REPLY__INIT;
    Gpb__V1__Done done = GPB__V1__DONE__INIT;
    switch (job->kind) {
    case GPB__V1__REQUEST__BODY_EXECUTE:
        execute.n_results = job->results_count;
        execute.results = results_p;
        execute.timing = &timing;
        execute.device = self->shared->index;
        execute.node = self->node;
        reply.body_case = GPB__V1__REPLY__BODY_EXECUTE;
        reply.execute = &execute;
        break;
    case GPB__V1__REQUEST__BODY_READ:
        read_reply.result = &results [0];
        read_reply.timing = &timing;
        reply.body_case = GPB__V1__REPLY__BODY_READ;
        reply.read = &read_reply;
        break;
    case GPB__V1__REQUEST__BODY_WRITE:
        write_reply.timing = &timing;
        reply.body_case = GPB__V1__REPLY__BODY_WRITE;
        reply.write = &write_reply;
        break;
    default:
        reply.body_case = GPB__V1__REPLY__BODY_COPY;
        reply.copy = &done;
        break;
    }
    reply.id = job->id;
    s_set_available (self, &reply);
    gpb_service_reply (self->service, job->connection, &job->message, &reply);
    s_job_free (self, job);
}

static void
s_job_done (self_t *self, gpb_job_t *job)
{
    if (job->answered)
        s_job_free (self, job);
    else if (job->failure.status != GPB_OK) {
        gpb_error_t failure = job->failure;
        gpb_job_release (job, &self->workshop);
        s_job_refuse (self, job, &failure);
    }
    else
        s_job_reply (self, job);
}

static void
s_answer_done (self_t *self)
{
    gpb_job_t *job;
    while ((job = gpb_jobs_done (self->jobs, &self->workshop)))
        s_job_done (self, job);
    gpb_rentals_settle (self->rentals);
}

static void
s_finish (self_t *self)
{
    uint64_t count;
    ssize_t size = read (self->shared->device_fd, &count, sizeof count);
    (void) size;    //  nothing to read is fine: what is done is looked at anyway
    s_answer_done (self);
}

//  ---------------------------------------------------------------------------------------------------------
//  Rented memory

static void
s_handle_rent (void *actor, gpb_call_t *call)
{
    self_t *self = actor;
    gpb_error_t error;
    const Gpb__V1__Rent *request = call->request->rent;
    gpb_status_t status = s_check_new (self, call, &error);
    if (status == GPB_OK)
        status =
            s_check_placement (self, call,
                               request->placement_case == GPB__V1__RENT__PLACEMENT_DEVICE,
                               request->device, request->n_require, request->require, 0, &error);
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
    uint64_t available = s_available_memory (self);
    if (is_devices
        && (available < figures.device_kept || request->size > available - figures.device_kept))
        gpb_blocks_trim (self->workshop.blocks);
    gpb_job_t *job = gpb_jobs_take (self->jobs, call);
    gpb_ticket_t ticket = { .number = job->number, .generation = job->generation };
    if (gpb_rentals_rent (self->rentals, &job->owner, ticket, request, &job->message.header, &error)
        != GPB_OK)
        s_job_refuse (self, job, &error);
}

static void
s_handle_release (void *actor, gpb_call_t *call)
{
    self_t *self = actor;
    gpb_error_t error;
    gpb_rental_t *rental = NULL;
    if (s_check_new (self, call, &error) == GPB_OK)
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

static void s_answer_stats (self_t *self, gpb_job_t *job, const zmq_msg_t *header);

//  The pool's answer is the client's, but for the id and for what is available now; its figures are
//  only a part of ours.
static void
s_recv_from_pool (self_t *self)
{
    gpb_ticket_t ticket;
    zmq_msg_t header;
    zmq_msg_init (&header);
    while (gpb_rentals_recv (self->rentals, &ticket, &header)) {
        gpb_job_t *job = gpb_jobs_at (self->jobs, ticket.number, ticket.generation);
        if (!job)
            continue;
        if (job->kind == GPB__V1__REQUEST__BODY_STATS) {
            s_answer_stats (self, job, &header);
            continue;
        }
        if (job->kind == GPB__V1__REQUEST__BODY_EXECUTE) {
            s_execute_again (self, job);
            continue;
        }
        if (!job->answered) {
            gpb_codec_append (&header, GPB_REPLY_AVAILABLE_MEMORY, s_available_memory (self), NULL);
            gpb_codec_append (&header, GPB_REPLY_ID, job->id, NULL);
            zmq_msg_move (&job->message.header, &header);
            gpb_router_send (gpb_service_router (self->service), job->connection, &job->message);
        }
        s_job_free (self, job);
    }
    zmq_msg_close (&header);
}

//  ---------------------------------------------------------------------------------------------------------
//  Reserved memory

static void
s_handle_reserve (void *actor, gpb_call_t *call)
{
    self_t *self = actor;
    gpb_error_t error;
    const Gpb__V1__Reserve *request = call->request->reserve;
    gpb_status_t status = s_check_new (self, call, &error);
    if (status == GPB_OK)
        status =
            s_check_placement (self, call,
                               request->placement_case == GPB__V1__RESERVE__PLACEMENT_DEVICE,
                               request->device, request->n_require, request->require, 0, &error);
    uint64_t available = s_available_memory (self);
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
    s_set_available (self, &reply);
    gpb_call_reply (self->service, call, &reply);
}

static void
s_handle_renew (void *actor, gpb_call_t *call)
{
    self_t *self = actor;
    gpb_error_t error;
    uint32_t for_ms = call->request->renew->for_ms;
    gpb_status_t status = s_check_new (self, call, &error);
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
    s_set_available (self, &reply);
    gpb_call_reply (self->service, call, &reply);
}

static void
s_handle_unreserve (void *actor, gpb_call_t *call)
{
    self_t *self = actor;
    gpb_error_t error;
    gpb_status_t status = s_check_new (self, call, &error);
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
    s_set_available (self, &reply);
    gpb_call_reply (self->service, call, &reply);
}

static void
s_handle_map (void *actor, gpb_call_t *call)
{
    self_t *self = actor;
    gpb_error_t error;
    gpb_rental_t *rental =
        gpb_rentals_lookup (self->rentals, &call->owner, call->request->map->handle, &error);
    if (rental)
        gpb_lease_map (&rental->lease, &rental->mapped, rental->users, self->service, call);
    else
        gpb_call_refuse (self->service, call, &error);
}

static void
s_handle_unmap (void *actor, gpb_call_t *call)
{
    self_t *self = actor;
    gpb_error_t error;
    gpb_rental_t *rental =
        gpb_rentals_lookup (self->rentals, &call->owner, call->request->unmap->handle, &error);
    if (rental)
        gpb_lease_unmap (&rental->mapped, self->service, call);
    else
        gpb_call_refuse (self->service, call, &error);
}

//  An owner has left: what it rented goes back. What its own connection has in flight has nobody to
//  tell; what a broker has sent for it is answered all the same, since the broker's book, and its
//  credits, wait for every answer.
static void
s_drop_owner (self_t *self, const gpb_owner_t *owner)
{
    if (!owner->behind)
        gpb_jobs_orphan (self->jobs, owner->connection);
    gpb_rentals_drop (self->rentals, owner);
    gpb_reservations_drop (self->reservations, owner);
}

static void
s_handle_goodbye (void *actor, gpb_call_t *call)
{
    self_t *self = actor;
    gpb_owner_t owner = call->owner;
    gpb_connection_t *connection = call->connection;
    gpb_call_done (self->service, call);
    s_drop_owner (self, &owner);
    if (!owner.behind)
        gpb_router_end (gpb_service_router (self->service), connection);
}

static void
s_handle_cancel (void *actor, gpb_call_t *call)
{
    self_t *self = actor;
    uint64_t id = call->request->cancel->id;
    gpb_error_t error;
    gpb_job_t *found = gpb_jobs_find (self->jobs, &call->owner, id);
    if (!found) {
        gpb_error_set (&error, GPB_NOT_FOUND,
                       "request %" PRIu64 " of this connection is not in flight", id);
        gpb_call_refuse (self->service, call, &error);
        return;
    }
    gpb_error_set (&error, GPB_CANCELLED, "the client took the request back");
    s_job_answer_early (self, found, &error);
    gpb_call_done (self->service, call);
}

//  ---------------------------------------------------------------------------------------------------------
//  What the device is and has

static void
s_describe (self_t *self, gpb_described_device_t *described)
{
    gpb_describe_device (described, &self->shared->info, self->shared->backend);
    described->message.index = self->shared->index;
    described->message.state = GPB__V1__DEVICE_STATE__READY;
    described->message.available_memory = s_available_memory (self);
}

static void
s_handle_devices (void *actor, gpb_call_t *call)
{
    self_t *self = actor;
    gpb_described_device_t described;
    s_describe (self, &described);
    Gpb__V1__Device *devices [] = { &described.message };
    Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
    Gpb__V1__DeviceList list = GPB__V1__DEVICE_LIST__INIT;
    list.node = self->node;
    list.n_devices = 1;
    list.devices = devices;
    reply.body_case = GPB__V1__REPLY__BODY_DEVICES;
    reply.devices = &list;
    gpb_call_reply (self->service, call, &reply);
}

//  Most of the figures are the pool's: the request waits for it, in a job without work.
static void
s_handle_stats (void *actor, gpb_call_t *call)
{
    self_t *self = actor;
    gpb_error_t error;
    if (s_check_new (self, call, &error) != GPB_OK) {
        gpb_call_refuse (self->service, call, &error);
        return;
    }
    gpb_job_t *job = gpb_jobs_take (self->jobs, call);
    self->stats_asked++;
    gpb_rentals_ask_stats (self->rentals, (gpb_ticket_t){ job->number, job->generation });
}

//  The pool's figures are there: ours go with them.
static void
s_answer_stats (self_t *self, gpb_job_t *job, const zmq_msg_t *header)
{
    gpb_error_t error;
    const Gpb__V1__Reply *answer = gpb_codec_reply (self->codec, header, &error);
    self->stats_asked--;
    if (!answer || !answer->stats || answer->stats->n_pools != 1) {
        if (answer)
            gpb_error_set (&error, GPB_INTERNAL, "the pool does not say its figures: %s",
                           answer->message);
        s_job_refuse (self, job, &error);
        return;
    }
    Gpb__V1__PoolStats *pool = answer->stats->pools [0];
    gpb_blocks_figures_t blocks;
    gpb_blocks_figures (self->workshop.blocks, &blocks);
    pool->launch_in_use = blocks.in_use;
    pool->launch_kept = blocks.kept;
    pool->launch_held = blocks.in_use + blocks.kept;
    pool->launch_hits = blocks.hits;
    pool->launch_misses = blocks.misses;
    pool->reservations = gpb_reservations_count (self->reservations);
    pool->reserved = gpb_reservations_undrawn (self->reservations);

    gpb_described_device_t described;
    s_describe (self, &described);
    Gpb__V1__Device *devices [] = { &described.message };
    Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
    Gpb__V1__StatsReply stats = GPB__V1__STATS_REPLY__INIT;
    stats.node = self->node;
    stats.n_devices = 1;
    stats.devices = devices;
    stats.n_pools = 1;
    stats.pools = &pool;
    const gpb_programs_figures_t *figures = gpb_programs_figures (self->programs);
    Gpb__V1__CompileStats compile = GPB__V1__COMPILE_STATS__INIT;
    compile.device = self->shared->index;
    compile.compiled = figures->compiled;
    compile.from_disk = figures->from_disk;
    compile.shared = figures->shared;
    compile.failed = figures->failed;
    Gpb__V1__CompileStats *compiles [] = { &compile };
    stats.n_compiles = 1;
    stats.compiles = compiles;
    stats.in_flight = GPB_JOBS_MAX - gpb_jobs_room (self->jobs) - self->stats_asked - 1;
    reply.id = job->id;
    reply.body_case = GPB__V1__REPLY__BODY_STATS;
    reply.stats = &stats;
    if (!job->answered)
        gpb_service_reply (self->service, job->connection, &job->message, &reply);
    s_job_free (self, job);
}

static void
s_handle_kernels (void *actor, gpb_call_t *call)
{
    self_t *self = actor;
    gpb_answer_kernels (self->service, call, gpb_programs_kernels (self->programs));
}

static void
s_handle_hello (void *actor, gpb_call_t *call)
{
    self_t *self = actor;
    gpb_answer_hello (&self->hello, self->service, call, self->node, self->config);
}

static void
s_handle_register (void *actor, gpb_call_t *call)
{
    self_t *self = actor;
    const Gpb__V1__RegisterKernel *request = call->request->register_kernel;
    gpb_error_t error;
    gpb_status_t status = GPB_OK;
    if (!gpb_config_bool (self->config, "allow_register"))
        status = gpb_error_set (&error, GPB_PERMISSION_DENIED,
                                "this node takes no kernels from clients: its configuration says "
                                "allow_register = false");
    if (status == GPB_OK)
        status = gpb_programs_register (self->programs, request->definition, request->source,
                                        request->replace, request->check, &error);
    if (status != GPB_OK) {
        gpb_call_refuse (self->service, call, &error);
        return;
    }
    gpb_call_done (self->service, call);
}

static const gpb_handler_t s_handlers [] = {
    { GPB__V1__REQUEST__BODY_EXECUTE, s_handle_execute },
    { GPB__V1__REQUEST__BODY_READ, s_handle_transfer },
    { GPB__V1__REQUEST__BODY_WRITE, s_handle_transfer },
    { GPB__V1__REQUEST__BODY_COPY, s_handle_transfer },
    { GPB__V1__REQUEST__BODY_RENT, s_handle_rent },
    { GPB__V1__REQUEST__BODY_RELEASE, s_handle_release },
    { GPB__V1__REQUEST__BODY_RESERVE, s_handle_reserve },
    { GPB__V1__REQUEST__BODY_RENEW, s_handle_renew },
    { GPB__V1__REQUEST__BODY_UNRESERVE, s_handle_unreserve },
    { GPB__V1__REQUEST__BODY_MAP, s_handle_map },
    { GPB__V1__REQUEST__BODY_UNMAP, s_handle_unmap },
    { GPB__V1__REQUEST__BODY_CANCEL, s_handle_cancel },
    { GPB__V1__REQUEST__BODY_GOODBYE, s_handle_goodbye },
    { GPB__V1__REQUEST__BODY_HELLO, s_handle_hello },
    { GPB__V1__REQUEST__BODY_DEVICES, s_handle_devices },
    { GPB__V1__REQUEST__BODY_KERNELS, s_handle_kernels },
    { GPB__V1__REQUEST__BODY_STATS, s_handle_stats },
    { GPB__V1__REQUEST__BODY_REGISTER_KERNEL, s_handle_register },
};

//  ---------------------------------------------------------------------------------------------------------
//  The life of the actor

static void
s_open (self_t *self, unsigned index)
{
    gpb_error_t *error = &self->failure;
    if (!self->config) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a device");
        return;
    }
    const gpb_config_t *config = self->config;
    unsigned streams = (unsigned) gpb_config_number (config, "streams");
    self->shared = gpb_shared_context_open (gpb_config_string (config, "backends"), index, streams,
                                            gpb_config_bool (config, "profiling"), error);
    if (!self->shared)
        return;
    self->programs = gpb_programs_new (self->shared, gpb_config_string (config, "kernel_path"),
                                       gpb_config_string (config, "cache_directory"),
                                       gpb_config_number (config, "cache_size"), error);
    if (self->programs && error->status != GPB_OK)
        gpb_log (config, GPB_LOG_WARNING, "device %u: %s", index, error->text);
    const uint64_t keep = gpb_config_number (config, "keep_max_size");
    if (self->programs)
        self->workshop.blocks =
            gpb_blocks_new (self->shared,
                            keep ? keep : self->shared->info.total_memory / KEEP_SHARE, error);
    if (self->workshop.blocks)
        self->reservations =
            gpb_reservations_new (index,
                                  (size_t) gpb_config_number (config, "max_client_reservations"),
                                  gpb_config_number (config, "reserve_max_ms"), error);
    if (self->reservations)
        self->codec = gpb_codec_new (error);
    if (self->codec)
        self->rentals = gpb_rentals_new (config, self->shared, self->reservations, error);
    if (!self->rentals)
        return;
    gpb_log (config, GPB_LOG_INFO, "device %u: %s (%s)", index, self->shared->info.name,
             self->shared->backend);
    self->workshop.shared = self->shared;
    self->workshop.rentals = self->rentals;
    self->workshop.admit = s_admit;
    self->workshop.admit_context = self;
    self->node = gpb_node_name (config);
    if (!self->node) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a device's name");
        return;
    }
    self->jobs = gpb_jobs_new (self->shared->streams, error);
    if (!self->jobs)
        return;
    self->service = gpb_service_new (config, s_handlers, sizeof s_handlers / sizeof s_handlers [0],
                                     self, error);
    if (!self->service)
        return;
    gpb_router_t *router = gpb_service_router (self->service);
    gpb_poller_add_socket (&self->poller, zsock_resolve (self->pipe));
    gpb_poller_add_fd (&self->poller, self->shared->device_fd);
    gpb_poller_add_socket (&self->poller, gpb_rentals_socket (self->rentals));
    gpb_poller_add_socket (&self->poller, gpb_router_socket (router));
    gpb_poller_add_socket (&self->poller, gpb_router_monitor (router));
}

static void
s_drop_ended (self_t *self)
{
    gpb_connection_t *ended;
    while ((ended = gpb_router_ended (gpb_service_router (self->service)))) {
        gpb_owner_t owner = { .connection = ended->number };
        s_drop_owner (self, &owner);
    }
}

//  Answers jobs whose time is up, and gives the time in ms until the next one's is; -1: none.
static int
s_check_deadlines (self_t *self)
{
    uint64_t now_ns = gpb_clock_ns ();
    gpb_job_t *job;
    while ((job = gpb_jobs_earliest (self->jobs)) && job->deadline.key <= now_ns) {
        gpb_error_t error;
        gpb_error_set (&error, GPB_DEADLINE_EXCEEDED,
                       "the request's time was up while the device worked on it");
        s_job_answer_early (self, job, &error);
    }
    return job ? gpb_wait_ms (now_ns, job->deadline.key) : -1;
}

//  Ends reservations whose time is up, and gives the time in ms until the next one's is; -1: none.
static int
s_check_reservations (self_t *self)
{
    uint64_t now_ns = gpb_clock_ns ();
    uint64_t end_ns = gpb_reservations_expire (self->reservations, now_ns);
    return end_ns < UINT64_MAX ? gpb_wait_ms (now_ns, end_ns) : -1;
}

static int
s_shorter (int one_ms, int other_ms)
{
    if (one_ms < 0 || other_ms < 0)
        return one_ms < 0 ? other_ms : one_ms;
    return one_ms < other_ms ? one_ms : other_ms;
}

//  Waits for something to do. With all jobs taken, requests wait in the socket: backpressure for
//  who asks without a broker. The monitor and the leases are looked at while requests are read, so
//  they wait as well.
static void
s_wait (self_t *self)
{
    gpb_router_t *router = gpb_service_router (self->service);
    gpb_poller_t *poller = &self->poller;
    const bool has_room = gpb_jobs_room (self->jobs) > 0;
    gpb_poller_pause (poller, ROUTER_ITEM, !has_room);
    gpb_poller_pause (poller, MONITOR_ITEM, !has_room);
    gpb_poller_pause (poller, PIPE_ITEM, self->stop_ns != 0);
    if (gpb_router_is_touched (router))
        gpb_poller_touch (poller, ROUTER_ITEM);
    if (gpb_rentals_is_touched (self->rentals))
        gpb_poller_touch (poller, RENTALS_ITEM);
    int timeout_ms = s_shorter (s_check_deadlines (self), s_check_reservations (self));
    if (has_room)
        timeout_ms = s_shorter (timeout_ms, gpb_router_next_timeout (router));
    if (self->stop_ns)
        timeout_ms = s_shorter (timeout_ms, gpb_wait_ms (gpb_clock_ns (), self->stop_ns));
    if (gpb_jobs_is_unannounced (self->jobs))
        timeout_ms = s_shorter (timeout_ms, UNANNOUNCED_POLL_MS);
    gpb_poller_wait (poller, timeout_ms);
}

//  One round: waits for something to do, and does it. False: $TERM.
static bool
s_round (self_t *self)
{
    s_wait (self);
    gpb_poller_t *poller = &self->poller;
    bool go_on = true;
    if (gpb_poller_take (poller, PIPE_ITEM) && zsock_events (self->pipe) & ZMQ_POLLIN) {
        go_on = gpb_service_command (self->service, self->pipe, NULL);
        gpb_poller_touch (poller, PIPE_ITEM);
    }
    if (gpb_poller_take (poller, DONE_ITEM) || gpb_jobs_is_unannounced (self->jobs))
        s_finish (self);
    if (gpb_poller_take (poller, RENTALS_ITEM))
        s_recv_from_pool (self);
    s_check_reservations (self);    //  those that ended while it waited are not found any more
    size_t room = gpb_jobs_room (self->jobs), most = room < BATCH ? room : BATCH;
    if (go_on && most && gpb_poller_take (poller, ROUTER_ITEM))
        gpb_service_receive (self->service, most);
    if (gpb_poller_take (poller, MONITOR_ITEM)
        || gpb_router_next_timeout (gpb_service_router (self->service)) == 0)
        s_drop_ended (self);
    s_answer_done (self);    //  what needed no command, or was quick, is answered in this round
    return go_on;
}

//  What is on the device runs to its end, within the time that the configuration gives; then what
//  is left is answered.
static void
s_drain (self_t *self)
{
    gpb_service_refuse_all (self->service, GPB_UNAVAILABLE, "the device is stopping");
    self->stop_ns = gpb_clock_ns () + gpb_config_number (self->config, "drain_ms") * GPB_NS_PER_MS;
    while (gpb_jobs_room (self->jobs) < GPB_JOBS_MAX && gpb_clock_ns () < self->stop_ns)
        s_round (self);
    gpb_error_t error;
    gpb_error_set (&error, GPB_UNAVAILABLE, "the device stopped before the request was done");
    gpb_job_t *job;
    while ((job = gpb_jobs_earliest (self->jobs)))
        s_job_answer_early (self, job, &error);
    //  What nobody has read yet is refused, but a client that never stops asking stops nobody.
    gpb_service_receive (self->service, gpb_config_number (self->config, "max_queued_requests"));
}

static void
s_stop (self_t *self)
{
    gpb_service_destroy (&self->service, STOP_LINGER_MS);
    //  What a kernel that never ends works with can never be given back, nor its context closed:
    //  both are left to the end of the process, which is the lesser evil beside waiting for ever.
    if (self->jobs && !gpb_jobs_is_idle (self->jobs)) {
        gpb_log (self->config, GPB_LOG_ERROR,
                 "device %u: a kernel did not end in time, and keeps its memory",
                 self->shared->index);
        gpb_rentals_abandon (&self->rentals);
        gpb_shared_context_abandon (&self->shared);
        gpb_hello_clear (&self->hello);
        gpb_free (self->node);
        gpb_config_destroy (&self->config);
        return;
    }
    gpb_jobs_destroy (&self->jobs, &self->workshop);
    gpb_rentals_destroy (&self->rentals);
    gpb_reservations_destroy (&self->reservations);
    gpb_codec_destroy (&self->codec);
    gpb_blocks_destroy (&self->workshop.blocks);
    gpb_programs_destroy (&self->programs);
    if (self->shared)
        gpb_shared_context_release (&self->shared);
    gpb_hello_clear (&self->hello);
    gpb_free (self->node);
    gpb_config_destroy (&self->config);
}

void
gpb_device (zsock_t *pipe, void *args_p)
{
    const gpb_device_args_t *args = args_p;
    unsigned index = args->index;
    self_t self = { .pipe = pipe };
    self.config = args->config ? gpb_config_dup (args->config) : gpb_config_new ();
    zsock_signal (pipe, 0);
    s_open (&self, index);

    bool go_on = true;
    while (go_on && !self.service)
        go_on = gpb_pipe_refuse (pipe, &self.failure);
    while (go_on)
        go_on = s_round (&self);
    if (self.service)
        s_drain (&self);
    s_stop (&self);
}
