//  gpb_opencl_launch - one kernel, its arguments and its work size, on a stream
//
//  Enqueues and never waits. Arguments are held against what the kernel declares before the driver
//  sees any of them, since a driver keeps what an earlier launch set and takes wrong handles at
//  their word. A function is one thread's at a time: OpenCL keeps arguments in the kernel object.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_opencl.h"

#include "gpb_launch.h"

#include <inttypes.h>
#include <string.h>

static const char *const s_kind_names [] = { "anything", "memory", "local memory", "a scalar" };

//  ---------------------------------------------------------------------------------------------------------
//  Work sizes

//  A work-group of fewer work-items than this wastes a CPU's vector lanes (measured on PoCL: 3.5 ms
//  for a million additions in groups of 1, 0.4 in groups of 16, 0.1 from 256 on).
#define GROUP_WANTED 256
#define GROUP_ENOUGH 32

//  A divisor that is no power of two makes PoCL compile once more, some 40 ms, and hardly any other
//  launch has the same: it has to pay.
#define ODD_GROUP_MAX 512
#define ODD_GROUP_WORTH 32768

//  Work-groups for each compute unit, so that none of them idles while another does the last one.
#define GROUPS_PER_UNIT 4

static uint64_t
s_smaller (uint64_t left, uint64_t right)
{
    return left < right ? left : right;
}

//  The local size where the caller leaves it to us. PoCL's own choice is the largest divisor that
//  fits, which makes a single work-group of 1,999 work-items, run by one core, and another
//  compilation for nearly every size; so a CPU gets powers of two from here. A GPU's driver knows
//  better than we do: false.
static bool
s_choose_local (const gpb_context_t *self, const gpb_launch_t *launch, size_t *local)
{
    if (strcmp (self->info.type, "cpu") != 0)
        return false;
    //  A launch has at least one work-item in every dimension, and a device allows at least one.
    uint64_t total = 1;
    for (unsigned dimension = 0; dimension < launch->dimensions; dimension++)
        if (__builtin_mul_overflow (total, launch->global [dimension], &total))
            total = UINT64_MAX;
    const uint64_t limit = launch->function->info.max_work_group_size;
    const uint64_t fair = total / ((uint64_t) GROUPS_PER_UNIT * self->info.compute_units + 1) + 1;
    uint64_t room = s_smaller (s_smaller (GROUP_WANTED, limit), fair);
    uint64_t group = 1;
    for (unsigned dimension = 0; dimension < launch->dimensions; dimension++) {
        uint64_t size = 1;
        while (launch->global [dimension] % (2 * size) == 0 && 2 * size <= room
               && 2 * size <= self->info.max_work_item_sizes [dimension])
            size *= 2;
        local [dimension] = size;
        room /= size;
        group *= size;
    }
    if (group >= GROUP_ENOUGH || total < ODD_GROUP_WORTH)
        return true;
    room = s_smaller (s_smaller (ODD_GROUP_MAX, limit), fair);
    room = s_smaller (room, self->info.max_work_item_sizes [0]);
    uint64_t divisor = room > 1 ? room : 1;
    while (divisor > 1 && launch->global [0] % divisor != 0)
        divisor--;
    if (divisor > group) {
        for (unsigned dimension = 1; dimension < launch->dimensions; dimension++)
            local [dimension] = 1;
        local [0] = divisor;
    }
    return true;
}

//  ---------------------------------------------------------------------------------------------------------
//  Arguments

static gpb_status_t
s_check_argument (const gpb_context_t *self, const gpb_function_t *function, size_t index,
                  const gpb_argument_t *argument, gpb_error_t *error)
{
    const gpb_opencl_parameter_t *parameter = &function->parameters [index];
    gpb_opencl_parameter_kind_t given = argument->kind == GPB_ARGUMENT_MEMORY  ? GPB_OPENCL_POINTER
                                        : argument->kind == GPB_ARGUMENT_LOCAL ? GPB_OPENCL_LOCAL
                                                                               : GPB_OPENCL_SCALAR;
    if (parameter->kind != GPB_OPENCL_UNKNOWN && parameter->kind != given)
        return self->services->error_set (error, GPB_INVALID_ARGUMENT,
                                          "argument %zu is %s, and the kernel takes %s there",
                                          index, s_kind_names [given],
                                          s_kind_names [parameter->kind]);
    if (given == GPB_OPENCL_SCALAR
        && (argument->size > sizeof argument->scalar
            || (parameter->size && argument->size != parameter->size)))
        return self->services->error_set (error, GPB_INVALID_ARGUMENT,
                                          "argument %zu is a scalar of %" PRIu64
                                          " bytes, and the kernel takes one of %" PRIu64,
                                          index, argument->size,
                                          parameter->size ? parameter->size
                                                          : (uint64_t) sizeof argument->scalar);
    if (given == GPB_OPENCL_POINTER && argument->memory && argument->memory->staging)
        return self->services->error_set (error, GPB_FAILED_PRECONDITION,
                                          "argument %zu is host memory, which kernels on %s do not "
                                          "reach: copy it to device memory",
                                          index, self->info.name);
    if (given == GPB_OPENCL_POINTER && argument->memory
        && (argument->offset >= argument->memory->size
            || argument->size > argument->memory->size - argument->offset))
        return self->services->error_set (error, GPB_INVALID_ARGUMENT,
                                          "argument %zu starts %" PRIu64
                                          " bytes into memory of %" PRIu64 ", and has %" PRIu64,
                                          index, argument->offset, argument->memory->size,
                                          argument->size);
    return GPB_OK;
}

//  A part of a buffer is a buffer of its own in OpenCL, whose origin the device wants aligned. The
//  command keeps it; our reference goes once the launch is enqueued. It covers what the argument
//  says, and no more: two launches that write to overlapping buffers at the same time are
//  undefined, though what they write is apart.
static gpb_status_t
s_set_part (const gpb_context_t *self, cl_kernel kernel, cl_uint index,
            const gpb_argument_t *argument, cl_mem *part_p, gpb_error_t *error)
{
    if (argument->offset % self->info.memory_alignment != 0)
        return self->services->error_set (error, GPB_INVALID_ARGUMENT,
                                          "argument %u starts at offset %" PRIu64
                                          ", and %s wants a multiple of %" PRIu64 " there",
                                          (unsigned) index, argument->offset, self->info.name,
                                          self->info.memory_alignment);
    uint64_t size = argument->size ? argument->size : argument->memory->size - argument->offset;
    uint64_t start;
    gpb_status_t status =
        gpb_opencl_part (argument->memory, argument->offset, size, part_p, &start, error);
    if (status != GPB_OK)
        return status;
    cl_int code = clSetKernelArg (kernel, index, sizeof *part_p, part_p);
    return code == CL_SUCCESS ? GPB_OK
                              : gpb_opencl_refuse (self->services, error, code, "clSetKernelArg");
}

static gpb_status_t
s_set_argument (const gpb_context_t *self, cl_kernel kernel, cl_uint index,
                const gpb_argument_t *argument, cl_mem *part_p, gpb_error_t *error)
{
    const gpb_memory_t *memory = argument->memory;
    cl_int code;
    if (argument->kind == GPB_ARGUMENT_SCALAR)
        code = clSetKernelArg (kernel, index, argument->size, argument->scalar.bytes);
    else if (argument->kind == GPB_ARGUMENT_LOCAL)
        code = clSetKernelArg (kernel, index, argument->size, NULL);
    else if (!memory)
        code = clSetKernelArg (kernel, index, sizeof (cl_mem), NULL);
    else if (memory->svm)
        code = clSetKernelArgSVMPointer (kernel, index, (char *) memory->svm + argument->offset);
    else if (argument->offset || argument->size)
        return s_set_part (self, kernel, index, argument, part_p, error);
    else
        code = clSetKernelArg (kernel, index, sizeof memory->buffer, &memory->buffer);
    if (code != CL_SUCCESS)
        return self->services->error_set (error, gpb_opencl_status (code),
                                          "argument %u: clSetKernelArg: %s (%d)", (unsigned) index,
                                          gpb_opencl_code_name (code), (int) code);
    return GPB_OK;
}

//  ---------------------------------------------------------------------------------------------------------
//  The launch

#define PARTS_MAX 64    //  twice what a kernel package may declare

gpb_status_t
gpb_opencl_launch (gpb_context_t *self, unsigned stream, const gpb_launch_t *launch,
                   gpb_notify_t notify, gpb_event_t **event_p, gpb_error_t *error)
{
    const gpb_function_t *function = launch->function;
    gpb_event_t *made;
    gpb_status_t status = gpb_opencl_command (self, stream, event_p, &made, error);
    if (status != GPB_OK)
        return status;
    status = gpb_launch_check (self->services, &self->info, &function->info, launch, error);
    if (status == GPB_OK
        && (launch->arguments_count != function->parameters_count
            || launch->arguments_count > PARTS_MAX))
        status = self->services->error_set (error, GPB_INVALID_ARGUMENT,
                                            "the kernel takes %u arguments (at most %d), not %zu",
                                            (unsigned) function->parameters_count, PARTS_MAX,
                                            launch->arguments_count);
    for (size_t index = 0; status == GPB_OK && index < launch->arguments_count; index++)
        status = s_check_argument (self, function, index, &launch->arguments [index], error);

    cl_mem parts [PARTS_MAX];
    size_t parts_count = 0;
    for (size_t index = 0; status == GPB_OK && index < launch->arguments_count; index++) {
        cl_mem part = NULL;
        status = s_set_argument (self, function->kernel, (cl_uint) index,
                                 &launch->arguments [index], &part, error);
        if (part)
            parts [parts_count++] = part;
    }
    if (status == GPB_OK) {
        size_t global [GPB_DIMENSIONS], local [GPB_DIMENSIONS];
        for (unsigned dimension = 0; dimension < launch->dimensions; dimension++) {
            global [dimension] = launch->global [dimension];
            local [dimension] = launch->local [dimension];
        }
        bool has_local = launch->local [0] || s_choose_local (self, launch, local);
        cl_event event = NULL;
        cl_int code = clEnqueueNDRangeKernel (self->streams [stream].queue, function->kernel,
                                              launch->dimensions, NULL, global,
                                              has_local ? local : NULL, 0, NULL, &event);
        status = gpb_opencl_enqueued (self, stream, code, "clEnqueueNDRangeKernel", event, notify,
                                      made, event_p, error);
    }
    else
        gpb_opencl_event_spare (made);
    for (size_t index = 0; index < parts_count; index++)
        clReleaseMemObject (parts [index]);
    return status;
}
