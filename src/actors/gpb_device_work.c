//  gpb_device_work - the requests that a device's streams work on
//
//  Execute, read, write and copy become commands on a stream when they come (gpb_job), and are
//  answered when the last of these is done. A launch that finds no memory may wait for the pool
//  once. Who cancels, or whose time is up, is answered at once; the work then goes on for nobody.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_device_private.h"

#include "gpb_clock.h"
#include "gpb_hop.h"

#include <inttypes.h>

//  The job has ended, and what it has drawn from a reservation with it.
void
gpb_device_job_free (gpb_device_t *self, gpb_job_t *job)
{
    gpb_device_undraw (self, job);
    gpb_jobs_free (self->jobs, &self->workshop, job);
}

void
gpb_device_job_refuse (gpb_device_t *self, gpb_job_t *job, const gpb_error_t *error)
{
    if (!job->answered)
        gpb_service_refuse (self->service, job->connection, &job->message, job->id, error);
    gpb_device_job_free (self, job);
}

//  Answers before its work is done, which goes on: its payloads are still read, so they stay. What
//  a rent comes to goes back, since nobody will ever know its handle.
void
gpb_device_answer_early (gpb_device_t *self, gpb_job_t *job, const gpb_error_t *error)
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

gpb_status_t
gpb_device_check_new (gpb_device_t *self, const gpb_call_t *call, gpb_error_t *error)
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
gpb_status_t
gpb_device_check_placement (gpb_device_t *self, const gpb_call_t *call, bool has_device,
                            uint32_t device, size_t require_count, char *const *require,
                            uint64_t memory, gpb_error_t *error)
{
    if (has_device && device != self->shared->index)
        return gpb_error_set (error, GPB_NOT_FOUND, "device %u: this is device %u", device,
                              self->shared->index);
    for (size_t index = 0; index < require_count; index++)
        if (!gpb_device_has (&self->shared->info, require [index]))
            return gpb_error_set (error, GPB_FAILED_PRECONDITION, "device %u has no %s",
                                  self->shared->index, require [index]);
    uint64_t available = memory && !call->owner.behind ? gpb_device_available (self) : memory;
    if (memory > available)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED,
                              "%" PRIu64 " bytes of memory were asked for: device %u has %" PRIu64
                              " available",
                              memory, self->shared->index, available);
    return GPB_OK;
}

//  ---------------------------------------------------------------------------------------------------------
//  Execute, read, write, copy: enqueued when they come

//  A launch that finds no memory while the pool has some that is nobody's asks the pool to give
//  that to the driver, and tries once more. One that is bound to rented memory is refused instead,
//  since those that come behind it would overtake it; the next one finds the memory.
static void
s_execute (gpb_device_t *self, gpb_job_t *job, const gpb_program_t *program,
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
    gpb_device_undraw (self, job);
    if (error.status != GPB_RESOURCE_EXHAUSTED || !job->admitted || job->retried
        || gpb_rentals_holding (self->rentals)->idle == 0)
    {
        gpb_device_job_refuse (self, job, &error);
        return;
    }
    job->retried = true;
    gpb_ticket_t ticket = { .number = job->number, .generation = job->generation };
    if (is_bound) {
        ticket.number = GPB_TICKET_NOBODY;
        gpb_device_job_refuse (self, job, &error);
    }
    gpb_rentals_ask_trim (self->rentals, ticket);
}

//  The pool has given back what it could.
void
gpb_device_execute_again (gpb_device_t *self, gpb_job_t *job)
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
        gpb_device_job_refuse (self, job, &error);
}

void
gpb_device_handle_execute (void *actor, gpb_call_t *call)
{
    gpb_device_t *self = actor;
    const Gpb__V1__Execute *request = call->request->execute;
    gpb_error_t error;
    gpb_status_t status = gpb_device_check_new (self, call, &error);
    const gpb_program_t *program = NULL;
    if (status == GPB_OK)
        program = gpb_programs_lookup (self->programs, request->kernel, &error);
    //  The first call of a kernel compiles it, which may take longer than its caller has.
    if (program)
        status = gpb_device_check_new (self, call, &error);
    if (program && status == GPB_OK)
        status = gpb_device_check_placement (self, call,
                                             request->placement_case
                                                 == GPB__V1__EXECUTE__PLACEMENT_DEVICE,
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
void
gpb_device_handle_transfer (void *actor, gpb_call_t *call)
{
    gpb_device_t *self = actor;
    gpb_error_t error;
    if (gpb_device_check_new (self, call, &error) != GPB_OK) {
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
        gpb_device_job_refuse (self, job, &error);
}

//  ---------------------------------------------------------------------------------------------------------
//  Answered when they are done

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
s_job_reply (gpb_device_t *self, gpb_job_t *job)
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
        gpb_device_job_refuse (self, job, &error);
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
    gpb_device_set_available (self, &reply);
    gpb_service_reply (self->service, job->connection, &job->message, &reply);
    gpb_device_job_free (self, job);
}

//  Says to a broker how long the device was busy with a job: since it came, or since the one before
//  it was done.
static void
s_say_served (gpb_device_t *self, gpb_job_t *job)
{
    uint64_t began_ns = self->last_done_ns, now_ns = gpb_clock_ns ();
    if (job->received_ns > began_ns)
        began_ns = job->received_ns;
    self->last_done_ns = now_ns;
    gpb_message_t *message = &job->message;
    gpb_hop_t hop;
    if (message->envelope_count == 0
        || !gpb_hop_read (&message->envelope [message->envelope_count - 1], &hop))
        return;
    hop.flags |= GPB_HOP_SERVED;
    hop.served_ns = now_ns > began_ns ? now_ns - began_ns : 1;
    gpb_hop_write (&message->envelope [message->envelope_count - 1], &hop);
}

static void
s_job_done (gpb_device_t *self, gpb_job_t *job)
{
    s_say_served (self, job);
    if (job->answered)
        gpb_device_job_free (self, job);
    else if (job->failure.status != GPB_OK) {
        gpb_error_t failure = job->failure;
        gpb_job_release (job, &self->workshop);
        gpb_device_job_refuse (self, job, &failure);
    }
    else
        s_job_reply (self, job);
}

void
gpb_device_answer_done (gpb_device_t *self)
{
    gpb_job_t *job;
    while ((job = gpb_jobs_done (self->jobs, &self->workshop)))
        s_job_done (self, job);
    gpb_rentals_settle (self->rentals);
}
