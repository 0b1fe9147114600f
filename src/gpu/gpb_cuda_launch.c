//  gpb_cuda_launch - one kernel, its arguments and its work size, on a stream
//
//  Enqueues and never waits. Arguments are held against what the driver says of the kernel's
//  parameters before it sees them, since it takes as many bytes as the kernel wants from wherever
//  it is told. Dynamic local memory is no parameter here, but a size of the launch's; more than a
//  function may have by default (48 KiB) is opted into when it is asked for first.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_cuda.h"

#include "gpb_launch.h"

#include <inttypes.h>

#define BLOCKS_X_MAX INT32_MAX    //  of a grid, on every device since compute capability 3.0
#define BLOCKS_YZ_MAX 65535

//  ---------------------------------------------------------------------------------------------------------
//  Work sizes

static uint64_t
s_smaller (uint64_t left, uint64_t right)
{
    return left < right ? left : right;
}

//  The largest divisor of a size that is no more than room, a multiple of the warp before others
//  that are not much larger: a block's last warp runs in full whether it has work for it or not.
static uint64_t
s_divisor (uint64_t size, uint64_t room, uint64_t warp)
{
    if (size < 2 || room < 2)
        return 1;
    uint64_t found = s_smaller (size, room);
    while (found > 1 && size % found != 0)
        found--;
    if (found % warp == 0)
        return found;
    for (uint64_t whole = found / warp * warp; whole > found / 2; whole -= warp)
        if (size % whole == 0)
            return whole;
    return found;
}

//  The local size where the caller leaves it to us: as many work-items as fill the device best, by
//  the driver's word, along the dimension whose neighbours run side by side first. It divides the
//  global size, since a kernel may trust that no work-item is beyond it.
static void
s_choose_local (const gpb_launch_t *launch, const gpb_device_info_t *info, uint64_t *local)
{
    const gpb_function_t *function = launch->function;
    uint64_t room = function->best_block > 0 ? (uint64_t) function->best_block : 1;
    for (unsigned dimension = 0; dimension < launch->dimensions; dimension++) {
        const uint64_t size = s_divisor (launch->global [dimension],
                                         s_smaller (room, info->max_work_item_sizes [dimension]),
                                         dimension == 0 ? function->info.preferred_multiple : 1);
        local [dimension] = size;
        if (size > 1)
            room /= size;
    }
}

static gpb_status_t
s_measure (const gpb_context_t *self, const gpb_launch_t *launch, unsigned *grid, unsigned *block,
           gpb_error_t *error)
{
    uint64_t local [GPB_DIMENSIONS];
    s_choose_local (launch, &self->info, local);
    for (unsigned dimension = 0; dimension < GPB_DIMENSIONS; dimension++) {
        grid [dimension] = block [dimension] = 1;
        if (dimension >= launch->dimensions)
            continue;
        const uint64_t size = launch->local [0] ? launch->local [dimension] : local [dimension];
        const uint64_t blocks =
            size > 1 ? launch->global [dimension] / size : launch->global [dimension];
        const uint64_t most = dimension == 0 ? BLOCKS_X_MAX : BLOCKS_YZ_MAX;
        if (blocks > most)
            return self->services->error_set (error, GPB_INVALID_ARGUMENT,
                                              "dimension %u has %" PRIu64 " work-groups of %" PRIu64
                                              " work-items, and a grid has at most %" PRIu64,
                                              dimension, blocks, size, most);
        grid [dimension] = (unsigned) blocks;
        block [dimension] = (unsigned) size;
    }
    return GPB_OK;
}

//  ---------------------------------------------------------------------------------------------------------
//  Arguments

//  What cuLaunchKernel reads: pointers to the values, in the order of the parameters.
typedef struct {
    CUdeviceptr pointers [GPB_CUDA_PARAMETERS_MAX];
    void *values [GPB_CUDA_PARAMETERS_MAX];
    unsigned count;
    uint64_t shared_size;    //  bytes of dynamic shared memory
} parameters_t;

static gpb_status_t
s_check_memory (const gpb_context_t *self, size_t index, const gpb_argument_t *argument,
                gpb_error_t *error)
{
    const gpb_memory_t *memory = argument->memory;
    if (memory
        && (argument->offset >= memory->size || argument->size > memory->size - argument->offset))
        return self->services->error_set (error, GPB_INVALID_ARGUMENT,
                                          "argument %zu starts %" PRIu64
                                          " bytes into memory of %" PRIu64 ", and has %" PRIu64,
                                          index, argument->offset, memory->size, argument->size);
    return GPB_OK;
}

//  Against the parameter that stands where this argument goes.
static gpb_status_t
s_check_size (const gpb_context_t *self, const gpb_function_t *function, unsigned place,
              size_t index, uint64_t size, gpb_error_t *error)
{
    if (!function->has_parameters
        || (place < function->parameters_count && function->parameters [place] == size))
        return GPB_OK;
    if (place >= function->parameters_count)
        return self->services->error_set (error, GPB_INVALID_ARGUMENT,
                                          "argument %zu is one too many: the kernel takes %u",
                                          index, function->parameters_count);
    return self->services->error_set (error, GPB_INVALID_ARGUMENT,
                                      "argument %zu has %" PRIu64
                                      " bytes, and the kernel takes %zu there",
                                      index, size, function->parameters [place]);
}

static gpb_status_t
s_add (const gpb_context_t *self, const gpb_launch_t *launch, size_t index,
       parameters_t *parameters, gpb_error_t *error)
{
    const gpb_argument_t *argument = &launch->arguments [index];
    if (argument->kind == GPB_ARGUMENT_LOCAL) {
        parameters->shared_size += argument->size;
        return GPB_OK;
    }
    const unsigned place = parameters->count;
    const bool is_memory = argument->kind == GPB_ARGUMENT_MEMORY;
    if (!is_memory && argument->size > sizeof argument->scalar)
        return self->services->error_set (error, GPB_INVALID_ARGUMENT,
                                          "argument %zu is a scalar of %" PRIu64
                                          " bytes, and the largest has %zu",
                                          index, argument->size, sizeof argument->scalar);
    gpb_status_t status = is_memory ? s_check_memory (self, index, argument, error) : GPB_OK;
    if (status == GPB_OK)
        status = s_check_size (self, launch->function, place, index,
                               is_memory ? sizeof (CUdeviceptr) : argument->size, error);
    if (status != GPB_OK)
        return status;
    parameters->pointers [place] =
        is_memory && argument->memory ? argument->memory->address + argument->offset : 0;
    parameters->values [place] =
        is_memory ? (void *) &parameters->pointers [place] : (void *) argument->scalar.bytes;
    parameters->count++;
    return GPB_OK;
}

static gpb_status_t
s_collect (const gpb_context_t *self, const gpb_launch_t *launch, parameters_t *parameters,
           gpb_error_t *error)
{
    const gpb_function_t *function = launch->function;
    parameters->count = 0;
    parameters->shared_size = 0;
    gpb_status_t status = GPB_OK;
    if (launch->arguments_count > GPB_CUDA_PARAMETERS_MAX)
        status = self->services->error_set (error, GPB_INVALID_ARGUMENT,
                                            "%zu arguments: at most %d are taken",
                                            launch->arguments_count, GPB_CUDA_PARAMETERS_MAX);
    for (size_t index = 0; status == GPB_OK && index < launch->arguments_count; index++)
        status = s_add (self, launch, index, parameters, error);
    if (status == GPB_OK && function->has_parameters
        && parameters->count < function->parameters_count)
        status = self->services->error_set (error, GPB_INVALID_ARGUMENT,
                                            "the kernel takes %u arguments, not %u",
                                            function->parameters_count, parameters->count);
    return status;
}

//  ---------------------------------------------------------------------------------------------------------
//  The launch

static gpb_status_t
s_allow_shared (gpb_context_t *self, gpb_function_t *function, uint64_t size, gpb_error_t *error)
{
    if (size + function->info.local_memory > self->info.local_memory)
        return self->services->error_set (error, GPB_INVALID_ARGUMENT,
                                          "%" PRIu64 " bytes of local memory, and %" PRIu64
                                          " that the kernel has itself, are over the %" PRIu64
                                          " of a work-group on %s",
                                          size, function->info.local_memory,
                                          self->info.local_memory, self->info.name);
    if (size <= function->dynamic_allowed)
        return GPB_OK;
    CUresult result =
        self->cuda->cuFuncSetAttribute (function->function,
                                        CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                                        (int) size);
    if (result == CUDA_SUCCESS)
        function->dynamic_allowed = size;
    return gpb_cuda_check (self, result, "cuFuncSetAttribute", error);
}

gpb_status_t
gpb_cuda_launch (gpb_context_t *self, unsigned stream, const gpb_launch_t *launch,
                 gpb_notify_t notify, gpb_event_t **event_p, gpb_error_t *error)
{
    gpb_function_t *function = launch->function;
    parameters_t parameters;
    unsigned grid [GPB_DIMENSIONS], block [GPB_DIMENSIONS];
    if (event_p)
        *event_p = NULL;
    gpb_status_t status =
        gpb_launch_check (self->services, &self->info, &function->info, launch, error);
    if (status == GPB_OK)
        status = s_measure (self, launch, grid, block, error);
    if (status == GPB_OK)
        status = s_collect (self, launch, &parameters, error);
    gpb_event_t *made;
    if (status == GPB_OK)
        status = gpb_cuda_begin (self, stream, notify, event_p, &made, error);
    if (status != GPB_OK)
        return status;
    status = s_allow_shared (self, function, parameters.shared_size, error);
    if (status == GPB_OK)
        status = gpb_cuda_check (
            self,
            self->cuda->cuLaunchKernel (function->function, grid [0], grid [1], grid [2], block [0],
                                        block [1], block [2], (unsigned) parameters.shared_size,
                                        self->streams [stream].commands, parameters.values, NULL),
            "cuLaunchKernel", error);
    return gpb_cuda_end (self, stream, status, notify, made, event_p, error);
}
