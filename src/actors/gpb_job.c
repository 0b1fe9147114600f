//  gpb_job - the work of one request on a device, from its memory to its results
//
//  All commands of a job go to one stream, in order: copies in and zeroed outputs, launch, copies
//  out. Only the last one notifies; every one has an event, so that its outcome and its times are
//  known. Enqueuing that breaks off in the middle leaves commands on the device, whose memory must
//  stay: such a job ends like any other, when its last event is done, with its failure as the
//  answer.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_job_private.h"

#include "gpb_clock.h"

#include <inttypes.h>

//  ---------------------------------------------------------------------------------------------------------
//  Commands

//  gpb_job - the work of one request on a device, from its memory to its results
//
//  All commands of a job go to one stream, in order: copies in and zeroed outputs, launch, copies
//  out. Only the last one notifies; every one has an event, so that its outcome and its times are
//  known. Enqueuing that breaks off in the middle leaves commands on the device, whose memory must
//  stay: such a job ends like any other, when its last event is done, with its failure as the
//  answer.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_job.h"

#include "gpb_clock.h"

#include <inttypes.h>

//  ---------------------------------------------------------------------------------------------------------
//  Commands

//  The status of a call that enqueued a command: where it failed after others were enqueued, the
//  job goes on to its end.
void
gpb_job_note_command (gpb_job_t *self, gpb_command_kind_t kind, gpb_event_t *event,
                      gpb_status_t status)
{
    if (status == GPB_OK) {
        self->kinds [self->commands_count] = kind;
        self->events [self->commands_count++] = event;
    }
}

gpb_status_t
gpb_job_enqueue_copy (gpb_job_t *self, const gpb_workshop_t *shop, gpb_command_kind_t kind,
                      const gpb_place_t *target, const gpb_place_t *source, uint64_t size,
                      gpb_notify_t notify, gpb_error_t *error)
{
    gpb_event_t *event = NULL;
    gpb_status_t status =
        shop->shared->operations->copy (shop->shared->context, self->stream, target, source, size,
                                        notify, &event, error);
    gpb_job_note_command (self, kind, event, status);
    return status;
}

gpb_status_t
gpb_job_enqueue_zero (gpb_job_t *self, const gpb_workshop_t *shop, gpb_memory_t *memory,
                      uint64_t offset, uint64_t size, gpb_notify_t notify, gpb_error_t *error)
{
    gpb_event_t *event = NULL;
    gpb_status_t status =
        shop->shared->operations->zero (shop->shared->context, self->stream, memory, offset, size,
                                        notify, &event, error);
    gpb_job_note_command (self, GPB_COMMAND_COMPUTE, event, status);
    return status;
}

//  Lets go of memory and rentals.
static void
s_release_pieces (gpb_job_t *self, const gpb_workshop_t *shop)
{
    for (size_t index = 0; index < self->pieces_count; index++) {
        gpb_piece_t *piece = &self->pieces [index];
        if (piece->wrapped)
            shop->shared->operations->release (&piece->wrapped);
        if (piece->rental)
            piece->rental->users--;
        gpb_blocks_give (&piece->block);
        gpb_blocks_give (&piece->staging);
        memset (piece, 0, sizeof *piece);
    }
    self->pieces_count = 0;
}

//  What a refusal, before or in the middle of enqueuing, comes to.
gpb_status_t
gpb_job_break_off (gpb_job_t *self, const gpb_workshop_t *shop, const gpb_error_t *error)
{
    if (self->commands_count == 0) {
        s_release_pieces (self, shop);
        gpb_job_drop_results (self);
        return error->status;
    }
    self->failure = *error;
    self->unannounced = true;
    return GPB_OK;
}

//  ---------------------------------------------------------------------------------------------------------
//  Memory

gpb_status_t
gpb_job_use_rental (gpb_job_t *self, const gpb_workshop_t *shop, uint64_t handle,
                    gpb_rental_t **rental_p, gpb_error_t *error)
{
    gpb_rental_t *rental = gpb_rentals_lookup (shop->rentals, &self->owner, handle, error);
    if (!rental)
        return GPB_NOT_FOUND;
    if (rental->mapped)
        return gpb_error_set (error, GPB_FAILED_PRECONDITION,
                              "buffer %016" PRIx64 " is mapped: unmap it before the device uses it",
                              handle);
    *rental_p = rental;
    return GPB_OK;
}

gpb_status_t
gpb_job_check_range (const gpb_rental_t *rental, uint64_t offset, uint64_t size, gpb_error_t *error)
{
    if (offset > rental->lease.size || size > rental->lease.size - offset)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "%" PRIu64 " bytes from offset %" PRIu64
                              " on reach beyond the buffer's %" PRIu64 " bytes",
                              size, offset, rental->lease.size);
    return GPB_OK;
}

//  A byte of a rented buffer, counted from the buffer's own first one, as a place.
gpb_place_t
gpb_job_rental_place (const gpb_rental_t *rental, uint64_t offset)
{
    return (gpb_place_t){ .memory = rental->lease.memory, .offset = rental->lease.offset + offset };
}

//  Counts it as used by this job, until gpb_job_release.
static void
s_hold_rental (gpb_job_t *self, gpb_rental_t *rental)
{
    self->pieces [self->pieces_count++].rental = rental;
    rental->users++;
}

gpb_status_t
gpb_job_read_frame (gpb_job_t *self, uint32_t index, size_t argument, uint32_t *used,
                    gpb_error_t *error)
{
    if (index >= self->message.payloads_count)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "argument %zu names payload frame %" PRIu32
                              ", but the message has %zu",
                              argument, index, self->message.payloads_count);
    *used |= 1u << index;
    return GPB_OK;
}

//  Host memory for `size` bytes that the kernel, or the copy engine, uses.
gpb_status_t
gpb_job_take_block (gpb_block_t **block_p, const gpb_workshop_t *shop, gpb_memory_kind_t kind,
                    uint64_t size, gpb_error_t *error)
{
    *block_p = gpb_blocks_take (shop->blocks, kind, size, error);
    return *block_p ? GPB_OK : error->status;
}

gpb_place_t
gpb_job_block_place (const gpb_block_t *block)
{
    return (gpb_place_t){ .memory = block->memory, .offset = block->offset };
}

//  ---------------------------------------------------------------------------------------------------------
//  Read, write, copy

gpb_status_t
gpb_job_read (gpb_job_t *self, const gpb_workshop_t *shop, const Gpb__V1__Request *call,
              gpb_error_t *error)
{
    const Gpb__V1__Read *request = call->read;
    gpb_rental_t *rental = NULL;
    self->inline_results = request->inline_results;
    gpb_status_t status = gpb_job_use_rental (self, shop, request->handle, &rental, error);
    if (status == GPB_OK)
        status = gpb_job_check_range (rental, request->offset, request->size, error);
    if (status != GPB_OK)
        return gpb_job_break_off (self, shop, error);
    gpb_result_t *result = &self->results [self->results_count++];
    result->argument = 0;
    result->size = request->size ? request->size : rental->lease.size - request->offset;
    if (result->size == 0)
        return GPB_OK;
    s_hold_rental (self, rental);
    gpb_memory_kind_t kind =
        shop->shared->info.shares_host_memory ? GPB_MEMORY_MAPPED : GPB_MEMORY_HOST;
    status = gpb_job_take_block (&result->block, shop, kind, result->size, error);
    if (status == GPB_OK) {
        gpb_place_t target = gpb_job_block_place (result->block);
        gpb_place_t source = gpb_job_rental_place (rental, request->offset);
        status = gpb_job_enqueue_copy (self, shop, GPB_COMMAND_COPY_OUT, &target, &source,
                                       result->size, GPB_NOTIFY, error);
    }
    return status == GPB_OK ? status : gpb_job_break_off (self, shop, error);
}

gpb_status_t
gpb_job_write (gpb_job_t *self, const gpb_workshop_t *shop, const Gpb__V1__Request *call,
               gpb_error_t *error)
{
    const Gpb__V1__Write *request = call->write;
    uint32_t used = 0;
    void *data = NULL;
    uint64_t size = 0;
    gpb_status_t status = GPB_OK;
    if (request->value_case == GPB__V1__WRITE__VALUE_FRAME) {
        status = gpb_job_read_frame (self, request->frame, 0, &used, error);
        if (status == GPB_OK) {
            data = zmq_msg_data (&self->message.payloads [request->frame]);
            size = zmq_msg_size (&self->message.payloads [request->frame]);
        }
    }
    else if (request->value_case == GPB__V1__WRITE__VALUE_INLINE) {
        data = request->inline_.data;
        size = request->inline_.len;
    }
    else
        status = gpb_error_set (error, GPB_INVALID_ARGUMENT,
                                "a write has no value: expected a frame or inline bytes");
    if (status == GPB_OK && self->message.payloads_count > (used ? 1 : 0))
        status = gpb_error_set (error, GPB_INVALID_ARGUMENT,
                                "a write takes one payload: the message has %zu frames",
                                self->message.payloads_count);
    gpb_rental_t *rental = NULL;
    if (status == GPB_OK)
        status = gpb_job_use_rental (self, shop, request->handle, &rental, error);
    if (status == GPB_OK)
        status = gpb_job_check_range (rental, request->offset, size, error);
    if (status != GPB_OK)
        return gpb_job_break_off (self, shop, error);
    if (size == 0)
        return GPB_OK;

    s_hold_rental (self, rental);
    gpb_place_t target = gpb_job_rental_place (rental, request->offset);
    gpb_place_t source = { .address = data };
    //  What stands in the header is gone with the next request, and a copy engine is fastest from
    //  pinned memory.
    if (!used || !shop->shared->info.shares_host_memory) {
        gpb_piece_t *piece = &self->pieces [self->pieces_count - 1];
        status = gpb_job_take_block (&piece->staging, shop, GPB_MEMORY_HOST, size, error);
        if (status == GPB_OK) {
            memcpy (piece->staging->address, data, size);
            self->host_copied += size;
            source = gpb_job_block_place (piece->staging);
        }
    }
    if (status == GPB_OK)
        status = gpb_job_enqueue_copy (self, shop, GPB_COMMAND_COPY_IN, &target, &source, size,
                                       GPB_NOTIFY, error);
    return status == GPB_OK ? status : gpb_job_break_off (self, shop, error);
}

gpb_status_t
gpb_job_copy (gpb_job_t *self, const gpb_workshop_t *shop, const Gpb__V1__Request *call,
              gpb_error_t *error)
{
    const Gpb__V1__Copy *request = call->copy;
    gpb_rental_t *source_rental = NULL, *target_rental = NULL;
    gpb_status_t status = gpb_job_use_rental (self, shop, request->source, &source_rental, error);
    if (status == GPB_OK)
        status = gpb_job_use_rental (self, shop, request->target, &target_rental, error);
    if (status == GPB_OK)
        status = gpb_job_check_range (source_rental, request->source_offset, request->size, error);
    if (status == GPB_OK)
        status = gpb_job_check_range (target_rental, request->target_offset, request->size, error);
    uint64_t distance = request->source_offset > request->target_offset
                            ? request->source_offset - request->target_offset
                            : request->target_offset - request->source_offset;
    if (status == GPB_OK && source_rental == target_rental && distance < request->size)
        status = gpb_error_set (error, GPB_INVALID_ARGUMENT,
                                "source and target of a copy within one buffer overlap");
    if (status != GPB_OK)
        return gpb_job_break_off (self, shop, error);
    if (request->size == 0)
        return GPB_OK;
    s_hold_rental (self, source_rental);
    s_hold_rental (self, target_rental);
    gpb_place_t target = gpb_job_rental_place (target_rental, request->target_offset);
    gpb_place_t source = gpb_job_rental_place (source_rental, request->source_offset);
    status = gpb_job_enqueue_copy (self, shop, GPB_COMMAND_COMPUTE, &target, &source, request->size,
                                   GPB_NOTIFY, error);
    return status == GPB_OK ? status : gpb_job_break_off (self, shop, error);
}

//  ---------------------------------------------------------------------------------------------------------
//  The end of a job

bool
gpb_job_is_done (gpb_job_t *self, const gpb_workshop_t *shop)
{
    const gpb_backend_operations_t *operations = shop->shared->operations;
    if (self->commands_count) {
        bool done = false;
        gpb_error_t error;
        operations->query (self->events [self->commands_count - 1], &done, NULL, &error);
        if (!done)
            return false;
    }
    //  The stream is in order, so all others are done as well; the first that failed is the cause.
    for (size_t index = 0; index < self->commands_count && self->failure.status == GPB_OK; index++)
    {
        bool done;
        gpb_error_t error;
        if (operations->query (self->events [index], &done, NULL, &error) != GPB_OK)
            self->failure = error;
    }
    return true;
}

void
gpb_job_timing (gpb_job_t *self, const gpb_workshop_t *shop, Gpb__V1__Timing *timing,
                Gpb__V1__Span spans [3])
{
    for (unsigned kind = 0; kind < 3; kind++)
        gpb__v1__span__init (&spans [kind]);
    for (size_t index = 0; index < self->commands_count; index++) {
        bool done;
        gpb_event_times_t times = { .measured = false };
        shop->shared->operations->query (self->events [index], &done, &times, NULL);
        if (!times.measured)
            continue;
        Gpb__V1__Span *span = &spans [self->kinds [index]];
        timing->measured = true;
        span->ns += times.end_ns - times.start_ns;
        if (span->end_ns == 0)
            span->start_ns = times.start_ns;
        span->end_ns = times.end_ns;
    }
    if (spans [GPB_COMMAND_COPY_IN].end_ns)
        timing->copy_in = &spans [GPB_COMMAND_COPY_IN];
    if (spans [GPB_COMMAND_COMPUTE].end_ns)
        timing->compute = &spans [GPB_COMMAND_COMPUTE];
    if (spans [GPB_COMMAND_COPY_OUT].end_ns)
        timing->copy_out = &spans [GPB_COMMAND_COPY_OUT];
    timing->host_copied = self->host_copied;
    timing->device_ns = gpb_clock_ns () - self->received_ns;
}

static void
s_give_block (void *data, void *hint)
{
    (void) data;
    gpb_block_t *block = hint;
    gpb_blocks_give (&block);
}

gpb_status_t
gpb_job_add_result_frame (gpb_job_t *self, gpb_result_t *result, gpb_error_t *error)
{
    zmq_msg_t frame;
    if (!result->block)
        zmq_msg_init (&frame);
    else if (zmq_msg_init_data (&frame, result->block->address, result->size, s_give_block,
                                result->block)
             != 0)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a result's frame");
    result->block = NULL;
    return gpb_message_add (&self->message, &frame, error);
}

void
gpb_job_release (gpb_job_t *self, const gpb_workshop_t *shop)
{
    for (size_t index = 0; index < self->commands_count; index++)
        if (self->events [index])
            shop->shared->operations->event_free (&self->events [index]);
    self->commands_count = 0;
    if (self->program)
        gpb_program_drop (self->program);
    self->program = NULL;
    s_release_pieces (self, shop);
    for (size_t index = 0; index < self->message.payloads_count; index++)
        zmq_msg_close (&self->message.payloads [index]);
    self->message.payloads_count = 0;
}

void
gpb_job_drop_results (gpb_job_t *self)
{
    for (size_t index = 0; index < self->results_count; index++)
        gpb_blocks_give (&self->results [index].block);
    self->results_count = 0;
}
