//  gpb_job_execute - a launch, from the wire's arguments to commands on a stream
//
//  Arguments become values, values are checked against the kernel's definition, which gives every
//  size (gpb_kernel_plan), and only then is memory taken: payloads that can be are used in place,
//  others are copied once into launch buffers. What is refused before the first command leaves
//  nothing behind.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_job_private.h"

#include <inttypes.h>

//  ---------------------------------------------------------------------------------------------------------
//  From the wire's arguments to values

static gpb_status_t
s_check_access (const gpb_rental_t *rental, const gpb_parameter_t *parameter, gpb_error_t *error)
{
    bool reads = parameter->direction != GPB_OUT, writes = parameter->direction != GPB_IN;
    if (reads && rental->lease.access == GPB_ACCESS_WRITE_ONLY)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "parameter %s is read, but its buffer was rented WRITE_ONLY",
                              parameter->name);
    if (writes && rental->lease.access == GPB_ACCESS_READ_ONLY)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "parameter %s is written, but its buffer was rented READ_ONLY",
                              parameter->name);
    return GPB_OK;
}

static gpb_status_t
s_read_buffer (gpb_job_t *self, const gpb_workshop_t *shop, const Gpb__V1__BufferRange *range,
               gpb_value_t *value, gpb_rental_t **rental_p, gpb_error_t *error)
{
    gpb_status_t status = gpb_job_use_rental (self, shop, range->handle, rental_p, error);
    if (status == GPB_OK)
        status = gpb_job_check_range (*rental_p, range->offset, range->size, error);
    if (status != GPB_OK)
        return status;
    value->kind = GPB_VALUE_BUFFER;
    value->size = range->size ? range->size : (*rental_p)->lease.size - range->offset;
    return GPB_OK;
}

static gpb_status_t
s_read_argument (gpb_job_t *self, const gpb_workshop_t *shop, const Gpb__V1__Argument *argument,
                 size_t index, uint32_t *used, gpb_value_t *value, gpb_rental_t **rental_p,
                 gpb_error_t *error)
{
    value->kind = GPB_VALUE_SCALAR;
    switch (argument->value_case) {
    case GPB__V1__ARGUMENT__VALUE_I32:
        value->type = GPB_I32;
        value->scalar.scalar.i32 = argument->i32;
        return GPB_OK;
    case GPB__V1__ARGUMENT__VALUE_U32:
        value->type = GPB_U32;
        value->scalar.scalar.u32 = argument->u32;
        return GPB_OK;
    case GPB__V1__ARGUMENT__VALUE_I64:
        value->type = GPB_I64;
        value->scalar.scalar.i64 = argument->i64;
        return GPB_OK;
    case GPB__V1__ARGUMENT__VALUE_U64:
        value->type = GPB_U64;
        value->scalar.scalar.u64 = argument->u64;
        return GPB_OK;
    case GPB__V1__ARGUMENT__VALUE_F32:
        value->type = GPB_F32;
        value->scalar.scalar.f32 = argument->f32;
        return GPB_OK;
    case GPB__V1__ARGUMENT__VALUE_F64:
        value->type = GPB_F64;
        value->scalar.scalar.f64 = argument->f64;
        return GPB_OK;
    case GPB__V1__ARGUMENT__VALUE_FRAME:
        if (gpb_job_read_frame (self, argument->frame, index, used, error) != GPB_OK)
            return error->status;
        value->kind = GPB_VALUE_PAYLOAD;
        value->size = zmq_msg_size (&self->message.payloads [argument->frame]);
        return GPB_OK;
    case GPB__V1__ARGUMENT__VALUE_INLINE:
        value->kind = GPB_VALUE_PAYLOAD;
        value->size = argument->inline_.len;
        return GPB_OK;
    case GPB__V1__ARGUMENT__VALUE_BUFFER:
        return s_read_buffer (self, shop, argument->buffer, value, rental_p, error);
    case GPB__V1__ARGUMENT__VALUE_OUTPUT:
        value->kind = GPB_VALUE_OUTPUT;
        value->size = argument->output->size;
        return GPB_OK;
    default:
        return gpb_error_set (
            error, GPB_INVALID_ARGUMENT,
            "argument %zu has no value: expected a scalar, a frame, inline bytes, "
            "a buffer or an output",
            index);
    }
}

//  Sizes from the wire into an array of three; 0 dimensions where there are none.
static gpb_status_t
s_read_sizes (const char *name, size_t count, const uint64_t *given, unsigned *dimensions_p,
              uint64_t sizes [GPB_DIMENSIONS], gpb_error_t *error)
{
    if (count > GPB_DIMENSIONS)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "a %s size of %zu dimensions: expected at most %d", name, count,
                              GPB_DIMENSIONS);
    *dimensions_p = (unsigned) count;
    for (size_t dimension = 0; dimension < count; dimension++)
        sizes [dimension] = given [dimension];
    return GPB_OK;
}

//  ---------------------------------------------------------------------------------------------------------
//  From values to memory

//  Whether a payload is used where it lies.
static bool
s_is_in_place (const gpb_job_t *self, const gpb_workshop_t *shop, const Gpb__V1__Argument *argument,
               const gpb_parameter_t *parameter)
{
    if (argument->value_case != GPB__V1__ARGUMENT__VALUE_FRAME || parameter->direction != GPB_IN
        || !shop->shared->info.shares_host_memory)
        return false;
    const zmq_msg_t *frame = &self->message.payloads [argument->frame];
    return (uintptr_t) zmq_msg_data ((zmq_msg_t *) frame) % parameter->alignment == 0;
}

//  A payload becomes memory of the device: in place, or copied once.
static gpb_status_t
s_bind_payload (gpb_job_t *self, const gpb_workshop_t *shop, const Gpb__V1__Argument *argument,
                const gpb_parameter_t *parameter, uint64_t size, gpb_piece_t *piece,
                gpb_error_t *error)
{
    bool is_frame = argument->value_case == GPB__V1__ARGUMENT__VALUE_FRAME;
    void *data = is_frame ? zmq_msg_data (&self->message.payloads [argument->frame])
                          : argument->inline_.data;
    bool shares = shop->shared->info.shares_host_memory;
    if (s_is_in_place (self, shop, argument, parameter))
        return shop->shared->operations->wrap (shop->shared->context, data, size,
                                               GPB_ACCESS_READ_ONLY, &piece->wrapped, error);

    gpb_status_t status = GPB_OK;
    gpb_block_t **host = shares ? &piece->block : &piece->staging;
    if (!shares)
        status = gpb_job_take_block (&piece->block, shop, GPB_MEMORY_DEVICE, size, error);
    if (status == GPB_OK)
        status = gpb_job_take_block (host, shop, shares ? GPB_MEMORY_MAPPED : GPB_MEMORY_HOST, size,
                                     error);
    if (status != GPB_OK)
        return status;
    memcpy ((*host)->address, data, size);
    self->host_copied += size;
    return GPB_OK;
}

static gpb_status_t
s_bind_output (const gpb_workshop_t *shop, uint64_t size, gpb_piece_t *piece, gpb_error_t *error)
{
    if (shop->shared->info.shares_host_memory)
        return gpb_job_take_block (&piece->block, shop, GPB_MEMORY_MAPPED, size, error);
    gpb_status_t status = gpb_job_take_block (&piece->block, shop, GPB_MEMORY_DEVICE, size, error);
    return status == GPB_OK
               ? gpb_job_take_block (&piece->staging, shop, GPB_MEMORY_HOST, size, error)
               : status;
}

//  Memory and launch argument of one parameter.
static gpb_status_t
s_bind (gpb_job_t *self, const gpb_workshop_t *shop, const Gpb__V1__Argument *argument,
        const gpb_parameter_t *parameter, const gpb_value_t *value, uint64_t size,
        gpb_piece_t *piece, gpb_argument_t *bound, gpb_error_t *error)
{
    if (value->kind == GPB_VALUE_SCALAR) {
        *bound = value->scalar;
        bound->kind = GPB_ARGUMENT_SCALAR;
        bound->size = gpb_type_size (parameter->type);
        return GPB_OK;
    }
    gpb_status_t status = GPB_OK;
    bound->kind = GPB_ARGUMENT_MEMORY;
    if (value->kind == GPB_VALUE_BUFFER) {
        status = s_check_access (piece->rental, parameter, error);
        gpb_place_t place = gpb_job_rental_place (piece->rental, argument->buffer->offset);
        bound->memory = place.memory;
        bound->offset = place.offset;
        bound->size = value->size;
        //  The buffer itself is aligned to GPB_MEMORY_ALIGNMENT, and no parameter wants more.
        if (status == GPB_OK && argument->buffer->offset % parameter->alignment != 0)
            status =
                gpb_error_set (error, GPB_INVALID_ARGUMENT,
                               "parameter %s begins at offset %" PRIu64
                               ": expected a multiple of its alignment, %" PRIu32,
                               parameter->name, argument->buffer->offset, parameter->alignment);
        return status;
    }
    if (size > 0 && value->kind == GPB_VALUE_PAYLOAD)
        status = s_bind_payload (self, shop, argument, parameter, size, piece, error);
    else if (size > 0)
        status = s_bind_output (shop, size, piece, error);
    if (piece->wrapped)
        bound->memory = piece->wrapped;
    else if (piece->block) {
        bound->memory = piece->block->memory;
        bound->offset = piece->block->offset;
        bound->size = piece->block->size;
    }
    return status;
}

//  ---------------------------------------------------------------------------------------------------------
//  Commands

//  An output that is to be zero when the kernel starts. Launch buffers that the host shares are
//  this job's alone by now; a rented one may still have earlier jobs' commands to come.
static gpb_status_t
s_enqueue_zero (gpb_job_t *self, const gpb_workshop_t *shop, const gpb_piece_t *piece,
                const gpb_argument_t *bound, uint64_t size, gpb_error_t *error)
{
    if (size == 0)
        return GPB_OK;
    if (!piece->rental && shop->shared->info.shares_host_memory) {
        memset (piece->block->address, 0, size);
        return GPB_OK;
    }
    return gpb_job_enqueue_zero (self, shop, bound->memory, bound->offset, size, GPB_NOTIFY_NOT,
                                 error);
}

//  The launch, between the copies in and the copies out.
static gpb_status_t
s_enqueue (gpb_job_t *self, const gpb_workshop_t *shop, const gpb_program_t *program,
           const gpb_kernel_plan_t *plan, gpb_launch_t *launch, gpb_error_t *error)
{
    gpb_status_t status = GPB_OK;
    size_t outs [GPB_KERNEL_PARAMETERS_MAX], outs_count = 0;
    for (size_t index = 0; status == GPB_OK && index < self->pieces_count; index++) {
        const gpb_parameter_t *parameter = gpb_kernel_parameter (program->kernel, index);
        gpb_piece_t *piece = &self->pieces [index];
        if (parameter->zero)
            status = s_enqueue_zero (self, shop, piece, &launch->arguments [index],
                                     plan->sizes [index], error);
        if (!piece->staging || status != GPB_OK)
            continue;
        if (parameter->direction != GPB_IN)
            outs [outs_count++] = index;
        if (parameter->direction != GPB_OUT) {
            gpb_place_t target = gpb_job_block_place (piece->block);
            gpb_place_t source = gpb_job_block_place (piece->staging);
            status = gpb_job_enqueue_copy (self, shop, GPB_COMMAND_COPY_IN, &target, &source,
                                           plan->sizes [index], GPB_NOTIFY_NOT, error);
        }
    }
    if (status == GPB_OK) {
        gpb_event_t *event = NULL;
        status = shop->shared->operations->launch (shop->shared->context, self->stream, launch,
                                                   outs_count ? GPB_NOTIFY_NOT : GPB_NOTIFY, &event,
                                                   error);
        gpb_job_note_command (self, GPB_COMMAND_COMPUTE, event, status);
    }
    for (size_t out = 0; status == GPB_OK && out < outs_count; out++) {
        gpb_piece_t *piece = &self->pieces [outs [out]];
        gpb_place_t target = gpb_job_block_place (piece->staging);
        gpb_place_t source = gpb_job_block_place (piece->block);
        status = gpb_job_enqueue_copy (self, shop, GPB_COMMAND_COPY_OUT, &target, &source,
                                       plan->sizes [outs [out]],
                                       out + 1 == outs_count ? GPB_NOTIFY : GPB_NOTIFY_NOT, error);
    }
    return status;
}

//  Nothing to launch: outputs are zeroes, and what goes in and out comes out as it was.
static gpb_status_t
s_enqueue_nothing (gpb_job_t *self, const gpb_workshop_t *shop, const gpb_program_t *program,
                   const gpb_kernel_plan_t *plan, const Gpb__V1__Execute *request,
                   gpb_error_t *error)
{
    gpb_status_t status = GPB_OK;
    for (size_t index = 0; status == GPB_OK && index < self->pieces_count; index++) {
        gpb_piece_t *piece = &self->pieces [index];
        if (gpb_kernel_parameter (program->kernel, index)->direction != GPB_OUT
            || plan->sizes [index] == 0)
            continue;
        if (piece->rental) {
            gpb_place_t place =
                gpb_job_rental_place (piece->rental, request->arguments [index]->buffer->offset);
            status = gpb_job_enqueue_zero (self, shop, place.memory, place.offset,
                                           plan->sizes [index], GPB_NOTIFY, error);
        }
        else
            memset ((piece->staging ? piece->staging : piece->block)->address, 0,
                    plan->sizes [index]);
    }
    return status;
}

//  ---------------------------------------------------------------------------------------------------------
//  The whole of it

//  What the definition allows, the function on this device may not.
static gpb_status_t
s_check_function (const gpb_workshop_t *shop, const gpb_program_t *program,
                  const gpb_kernel_plan_t *plan, gpb_error_t *error)
{
    uint64_t local = 1;
    for (unsigned dimension = 0; dimension < plan->dimensions; dimension++)
        local *= plan->local [dimension] ? plan->local [dimension] : 1;
    if (program->info.max_work_group_size && local > program->info.max_work_group_size)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "a work-group of %" PRIu64 " work-items: kernel %s allows %" PRIu64
                              " on this device",
                              local, gpb_kernel_id (program->kernel),
                              program->info.max_work_group_size);
    uint64_t available = shop->shared->info.local_memory;
    if (program->info.local_memory > available
        || plan->shared > available - program->info.local_memory)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "%" PRIu64 " bytes of dynamic local memory beside the %" PRIu64
                              " that kernel %s takes: this device has %" PRIu64 " a work-group",
                              plan->shared, program->info.local_memory,
                              gpb_kernel_id (program->kernel), available);
    return GPB_OK;
}

//  Bytes of the device's own memory that a launch's buffers will have, as asked: payloads that are
//  used in place have none.
static uint64_t
s_launch_size (const gpb_job_t *self, const gpb_workshop_t *shop, const gpb_program_t *program,
               const Gpb__V1__Execute *request, const gpb_value_t *values,
               const gpb_kernel_plan_t *plan)
{
    uint64_t total = 0;
    for (size_t index = 0; index < request->n_arguments; index++) {
        if (values [index].kind != GPB_VALUE_PAYLOAD && values [index].kind != GPB_VALUE_OUTPUT)
            continue;
        if (!s_is_in_place (self, shop, request->arguments [index],
                            gpb_kernel_parameter (program->kernel, index)))
            total += plan->sizes [index];
    }
    return total;
}

static gpb_status_t
s_prepare (gpb_job_t *self, const gpb_workshop_t *shop, const gpb_program_t *program,
           const Gpb__V1__Execute *request, gpb_kernel_plan_t *plan, gpb_argument_t *bound,
           gpb_error_t *error)
{
    if (request->n_arguments > GPB_KERNEL_PARAMETERS_MAX)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT, "%zu arguments: kernel %s has %zu",
                              request->n_arguments, gpb_kernel_id (program->kernel),
                              gpb_kernel_parameters (program->kernel));
    gpb_value_t values [GPB_KERNEL_PARAMETERS_MAX];
    memset (values, 0, request->n_arguments * sizeof values [0]);
    gpb_rental_t *rentals [GPB_KERNEL_PARAMETERS_MAX] = { NULL };
    uint32_t used = 0;
    gpb_status_t status = GPB_OK;
    for (size_t index = 0; status == GPB_OK && index < request->n_arguments; index++)
        status = s_read_argument (self, shop, request->arguments [index], index, &used,
                                  &values [index], &rentals [index], error);
    if (status != GPB_OK)
        return status;
    for (size_t frame = 0; frame < self->message.payloads_count; frame++)
        if (!(used & 1u << frame))
            return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                                  "payload frame %zu belongs to no argument", frame);

    gpb_kernel_call_t call = { .values = values,
                               .values_count = request->n_arguments,
                               .has_shared = request->dynamic_local_memory_case
                                             == GPB__V1__EXECUTE__DYNAMIC_LOCAL_MEMORY_SHARED,
                               .shared = request->shared };
    status = s_read_sizes ("global", request->n_global, request->global, &call.dimensions,
                           call.global, error);
    if (status == GPB_OK)
        status = s_read_sizes ("local", request->n_local, request->local, &call.local_dimensions,
                               call.local, error);
    if (status == GPB_OK)
        status = gpb_kernel_plan (program->kernel, &call, &shop->shared->info, plan, error);
    if (status == GPB_OK)
        status = s_check_function (shop, program, plan, error);
    if (status == GPB_OK && shop->admit)
        status = shop->admit (shop->admit_context, self,
                              s_launch_size (self, shop, program, request, values, plan), error);

    for (size_t index = 0; status == GPB_OK && index < request->n_arguments; index++) {
        gpb_piece_t *piece = &self->pieces [self->pieces_count++];
        if (rentals [index]) {
            piece->rental = rentals [index];
            piece->rental->users++;
        }
        const gpb_parameter_t *parameter = gpb_kernel_parameter (program->kernel, index);
        status = s_bind (self, shop, request->arguments [index], parameter, &values [index],
                         plan->sizes [index], piece, &bound [index], error);
        bool is_result = parameter->direction == GPB_OUT || parameter->direction == GPB_INOUT;
        if (status == GPB_OK && is_result && values [index].kind != GPB_VALUE_BUFFER) {
            gpb_result_t *result = &self->results [self->results_count++];
            result->argument = (uint32_t) index;
            result->size = plan->sizes [index];
        }
    }
    return status;
}

//  Host memory that holds a result moves from its piece to the result.
static void
s_claim_results (gpb_job_t *self)
{
    for (size_t index = 0; index < self->results_count; index++) {
        gpb_result_t *result = &self->results [index];
        gpb_piece_t *piece = &self->pieces [result->argument];
        gpb_block_t **host = piece->staging ? &piece->staging : &piece->block;
        result->block = *host;
        *host = NULL;
    }
}

gpb_status_t
gpb_job_execute (gpb_job_t *self, const gpb_workshop_t *shop, const gpb_program_t *program,
                 const Gpb__V1__Execute *request, gpb_error_t *error)
{
    gpb_kernel_plan_t plan;
    gpb_argument_t bound [GPB_KERNEL_PARAMETERS_MAX + 1];
    memset (bound, 0, sizeof bound);
    self->inline_results = request->inline_results;
    gpb_status_t status = s_prepare (self, shop, program, request, &plan, bound, error);
    if (status == GPB_OK && plan.empty)
        status = s_enqueue_nothing (self, shop, program, &plan, request, error);
    else if (status == GPB_OK) {
        size_t count = request->n_arguments;
        if (gpb_kernel_shared (program->kernel) [0])
            bound [count++] = (gpb_argument_t){ .kind = GPB_ARGUMENT_LOCAL, .size = plan.shared };
        gpb_launch_t launch = { .function = program->function,
                                .dimensions = plan.dimensions,
                                .arguments = bound,
                                .arguments_count = count };
        memcpy (launch.global, plan.global, sizeof launch.global);
        memcpy (launch.local, plan.local, sizeof launch.local);
        status = s_enqueue (self, shop, program, &plan, &launch, error);
    }
    if (status != GPB_OK)
        status = gpb_job_break_off (self, shop, error);
    else
        s_claim_results (self);
    if (status == GPB_OK) {
        self->program = program;
        gpb_program_use (program);
    }
    return status;
}

bool
gpb_job_execute_is_bound (const Gpb__V1__Execute *request)
{
    for (size_t index = 0; index < request->n_arguments; index++)
        if (request->arguments [index]->value_case == GPB__V1__ARGUMENT__VALUE_BUFFER)
            return true;
    return false;
}
