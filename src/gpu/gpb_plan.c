//  gpb_plan - a request held against a kernel's definition
//
//  Pure: reads the definition, the request and the device's limits, and fills the plan or refuses
//  with a sentence that names the kernel, the argument, what was given and what was expected. No
//  allocation; any thread. It runs for every request: for vector_add it takes about 80 ns.
//
//  Order matters: arguments first, since every size follows from scalars; then the global size,
//  since counts may follow from it; then what memory has to be; then the device's limits.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_kernel_private.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

//  Work-items of one dimension: kernels count in 32 bits, and a signed n reaches no further.
#define GLOBAL_MAX (UINT64_C (1) << 31)

typedef struct {
    const gpb_kernel_t *kernel;
    const gpb_kernel_call_t *call;
    const gpb_device_info_t *device;
    gpb_kernel_plan_t *plan;
    uint64_t variables [GPB_KERNEL_VARIABLES];
    gpb_error_t *error;
} planner_t;

static gpb_status_t GPB_PRINTF (2, 3) s_refuse (planner_t *self, const char *format, ...)
{
    char text [512];
    va_list arguments;
    va_start (arguments, format);
    vsnprintf (text, sizeof text, format, arguments);
    va_end (arguments);
    return gpb_error_set (self->error, GPB_INVALID_ARGUMENT, "kernel \"%s\": %s", self->kernel->id,
                          text);
}

//  "argument 2, c: ..."
static gpb_status_t GPB_PRINTF (3, 4)
    s_refuse_argument (planner_t *self, size_t index, const char *format, ...)
{
    char text [512];
    va_list arguments;
    va_start (arguments, format);
    vsnprintf (text, sizeof text, format, arguments);
    va_end (arguments);
    return s_refuse (self, "argument %zu, %s: %s", index, self->kernel->parameters [index].name,
                     text);
}

//  What an expression comes to; what names it in a refusal.
static gpb_status_t
s_value (planner_t *self, const gpb_expression_t *expression, const char *what, uint64_t *value_p)
{
    gpb_error_t reason;
    if (gpb_expression_value (expression, self->variables, value_p, &reason) == GPB_OK)
        return GPB_OK;
    return s_refuse (self, "%s: %s", what, reason.text);
}

//  ---------------------------------------------------------------------------------------------------------
//  Scalars

const char *
gpb_value_kind_words (gpb_value_kind_t kind)
{
    switch (kind) {
    case GPB_VALUE_SCALAR: return "a scalar";
    case GPB_VALUE_PAYLOAD: return "a payload";
    case GPB_VALUE_OUTPUT: return "an output";
    case GPB_VALUE_BUFFER: return "a buffer";
    default: return "nothing that is known";
    }
}

static gpb_status_t
s_check_fraction (planner_t *self, size_t index, double value)
{
    const gpb_bound_t *minimum = &self->kernel->minimums [index];
    const gpb_bound_t *maximum = &self->kernel->maximums [index];
    //  Written so that a NaN, which compares with nothing, is out of any bounds.
    if (minimum->given && !(value >= minimum->fraction))
        return s_refuse_argument (self, index, "is at least %g, and %g was given",
                                  minimum->fraction, value);
    if (maximum->given && !(value <= maximum->fraction))
        return s_refuse_argument (self, index, "is at most %g, and %g was given", maximum->fraction,
                                  value);
    return GPB_OK;
}

//  value: as the type's 64-bit relative has it; one above INT64_MAX is beyond any maximum.
static gpb_status_t
s_check_whole (planner_t *self, size_t index, uint64_t value, bool is_signed)
{
    const gpb_bound_t *minimum = &self->kernel->minimums [index];
    const gpb_bound_t *maximum = &self->kernel->maximums [index];
    char given [32];
    if (is_signed)
        snprintf (given, sizeof given, "%" PRId64, (int64_t) value);
    else
        snprintf (given, sizeof given, "%" PRIu64, value);
    bool huge = !is_signed && value > INT64_MAX;
    if (minimum->given && !huge && (int64_t) value < minimum->whole)
        return s_refuse_argument (self, index, "is at least %" PRId64 ", and %s was given",
                                  minimum->whole, given);
    if (maximum->given && (huge || (int64_t) value > maximum->whole))
        return s_refuse_argument (self, index, "is at most %" PRId64 ", and %s was given",
                                  maximum->whole, given);
    if (self->kernel->measures [index] && is_signed && (int64_t) value < 0)
        return s_refuse_argument (self, index,
                                  "sizes follow from it, so it is at least 0, and %s "
                                  "was given",
                                  given);
    self->variables [index] = value;
    return GPB_OK;
}

static gpb_status_t
s_check_scalar (planner_t *self, size_t index)
{
    const gpb_parameter_t *parameter = &self->kernel->parameters [index];
    const gpb_value_t *value = &self->call->values [index];
    if (value->type != parameter->type)
        return s_refuse_argument (self, index, "is %s, and %s was given",
                                  gpb_type_name (parameter->type), gpb_type_name (value->type));
    switch (parameter->type) {
    case GPB_I32:
        return s_check_whole (self, index, (uint64_t) (int64_t) value->scalar.scalar.i32, true);
    case GPB_I64: return s_check_whole (self, index, (uint64_t) value->scalar.scalar.i64, true);
    case GPB_U32: return s_check_whole (self, index, value->scalar.scalar.u32, false);
    case GPB_U64: return s_check_whole (self, index, value->scalar.scalar.u64, false);
    case GPB_F32: return s_check_fraction (self, index, value->scalar.scalar.f32);
    default: return s_check_fraction (self, index, value->scalar.scalar.f64);
    }
}

//  Number and kinds of arguments, and the scalars' values.
static gpb_status_t
s_check_arguments (planner_t *self)
{
    const gpb_kernel_t *kernel = self->kernel;
    const gpb_kernel_call_t *call = self->call;
    if (call->values_count != kernel->parameters_count) {
        char names [256] = "";
        size_t used = 0;
        for (size_t index = 0; index < kernel->parameters_count && used < sizeof names; index++)
            used += (size_t) snprintf (names + used, sizeof names - used, "%s%s", index ? ", " : "",
                                       kernel->parameters [index].name);
        return s_refuse (self, "takes %zu arguments (%s), and %zu were given",
                         kernel->parameters_count, names, call->values_count);
    }
    //  What each direction takes, as bits of gpb_value_kind_t.
    static const struct {
        unsigned kinds;
        const char *words;
    } takes [] = {
        [GPB_IN] = { 1 << GPB_VALUE_PAYLOAD | 1 << GPB_VALUE_BUFFER, "a payload or a buffer" },
        [GPB_OUT] = { 1 << GPB_VALUE_OUTPUT | 1 << GPB_VALUE_BUFFER, "an output or a buffer" },
        [GPB_INOUT] = { 1 << GPB_VALUE_PAYLOAD | 1 << GPB_VALUE_BUFFER, "a payload or a buffer" },
        [GPB_SCALAR] = { 1 << GPB_VALUE_SCALAR, "a scalar" },
    };
    for (size_t index = 0; index < kernel->parameters_count; index++) {
        gpb_direction_t direction = kernel->parameters [index].direction;
        gpb_value_kind_t kind = call->values [index].kind;
        if ((unsigned) kind > GPB_VALUE_BUFFER || !(takes [direction].kinds & 1u << kind))
            return s_refuse_argument (self, index, "is %s and takes %s, and %s was given",
                                      gpb_direction_name (direction), takes [direction].words,
                                      gpb_value_kind_words (kind));
        if (direction == GPB_SCALAR) {
            gpb_status_t status = s_check_scalar (self, index);
            if (status != GPB_OK)
                return status;
        }
    }
    return GPB_OK;
}

//  ---------------------------------------------------------------------------------------------------------
//  Work size

static gpb_status_t
s_plan_global (planner_t *self)
{
    const gpb_kernel_t *kernel = self->kernel;
    const gpb_kernel_call_t *call = self->call;
    gpb_kernel_plan_t *plan = self->plan;
    plan->dimensions = kernel->dimensions;
    if (call->dimensions && !kernel->global_free)
        return s_refuse (self, "its global size follows from its arguments, and a request gives "
                               "none, but this one does");
    if (call->dimensions && call->dimensions != kernel->dimensions)
        return s_refuse (self, "the global size has %u dimension%s, and %u were given",
                         kernel->dimensions, kernel->dimensions == 1 ? "" : "s", call->dimensions);
    for (unsigned dimension = 0; dimension < kernel->dimensions; dimension++) {
        uint64_t *size = &plan->global [dimension];
        if (call->dimensions)
            *size = call->global [dimension];
        else {
            gpb_status_t status = s_value (self, kernel->global [dimension], "global size", size);
            if (status != GPB_OK)
                return status;
        }
        //  Counts see it as it was asked for, not rounded up.
        self->variables [GPB_KERNEL_PARAMETERS_MAX + dimension] = *size;
        plan->empty = plan->empty || *size == 0;
    }
    return GPB_OK;
}

static gpb_status_t
s_plan_local (planner_t *self)
{
    const gpb_kernel_t *kernel = self->kernel;
    const gpb_kernel_call_t *call = self->call;
    gpb_kernel_plan_t *plan = self->plan;
    if (!call->local_dimensions) {
        if (kernel->has_local)
            memcpy (plan->local, kernel->local, sizeof plan->local);
    }
    else {
        if (call->local_dimensions != kernel->dimensions)
            return s_refuse (self, "the local size has %u dimension%s, and %u were given",
                             kernel->dimensions, kernel->dimensions == 1 ? "" : "s",
                             call->local_dimensions);
        for (unsigned dimension = 0; dimension < GPB_DIMENSIONS; dimension++) {
            uint64_t size = dimension < call->local_dimensions ? call->local [dimension] : 1;
            if (size == 0)
                return s_refuse (self, "local size of dimension %u: at least 1, and 0 was given",
                                 dimension);
            if (!kernel->local_free && size != kernel->local [dimension])
                return s_refuse (self,
                                 "local size of dimension %u: its code relies on %" PRIu64
                                 ", and %" PRIu64 " was given",
                                 dimension, kernel->local [dimension], size);
            plan->local [dimension] = size;
        }
    }
    return GPB_OK;
}

static gpb_status_t
s_check_work_group (planner_t *self)
{
    const gpb_device_info_t *device = self->device;
    const uint64_t *local = self->plan->local;
    if (!device || local [0] == 0)
        return GPB_OK;
    uint64_t items = 1;
    for (unsigned dimension = 0; dimension < GPB_DIMENSIONS; dimension++) {
        if (local [dimension] > device->max_work_item_sizes [dimension])
            return s_refuse (self,
                             "local size of dimension %u is %" PRIu64
                             ", and the device takes at most %" PRIu64,
                             dimension, local [dimension], device->max_work_item_sizes [dimension]);
        if (__builtin_mul_overflow (items, local [dimension], &items))
            items = UINT64_MAX;
    }
    if (items > device->max_work_group_size)
        return s_refuse (self,
                         "a work-group of %" PRIu64 " x %" PRIu64 " x %" PRIu64
                         " work-items is larger than the device's largest, %" PRIu64,
                         local [0], local [1], local [2], device->max_work_group_size);
    return GPB_OK;
}

//  Rounds the global size up to whole work-groups, and bounds it.
static gpb_status_t
s_round_global (planner_t *self)
{
    gpb_kernel_plan_t *plan = self->plan;
    uint64_t items = 1;
    for (unsigned dimension = 0; dimension < plan->dimensions; dimension++) {
        uint64_t *size = &plan->global [dimension], local = plan->local [dimension];
        uint64_t asked = *size, rest = local ? asked % local : 0;
        if ((rest && __builtin_add_overflow (asked, local - rest, size)) || *size > GLOBAL_MAX)
            return s_refuse (self,
                             "global size of dimension %u is at most %" PRIu64
                             " work-items, rounded up to whole work-groups of %" PRIu64
                             ", and %" PRIu64 " were asked for",
                             dimension, GLOBAL_MAX, local ? local : 1, asked);
        if (!plan->empty && __builtin_mul_overflow (items, *size, &items))
            return s_refuse (self, "the global size's dimensions together are beyond 64 bits");
    }
    return GPB_OK;
}

static gpb_status_t
s_plan_shared (planner_t *self)
{
    const gpb_kernel_t *kernel = self->kernel;
    const gpb_kernel_call_t *call = self->call;
    uint64_t *shared = &self->plan->shared;
    if (!kernel->shared) {
        if (call->has_shared && call->shared)
            return s_refuse (self,
                             "takes no dynamic local memory, and %" PRIu64 " bytes were given",
                             call->shared);
        return GPB_OK;
    }
    gpb_status_t status = s_value (self, kernel->shared, "dynamic local memory", shared);
    if (status != GPB_OK)
        return status;
    //  Less than what the package asks for would be a fault in its code.
    if (call->has_shared && call->shared < *shared)
        return s_refuse (self,
                         "needs %" PRIu64 " bytes of dynamic local memory, and %" PRIu64
                         " were given",
                         *shared, call->shared);
    if (call->has_shared)
        *shared = call->shared;
    if (self->device && *shared > self->device->local_memory)
        return s_refuse (self,
                         "dynamic local memory is %" PRIu64 " bytes, and a work-group of the "
                         "device has at most %" PRIu64,
                         *shared, self->device->local_memory);
    return GPB_OK;
}

//  ---------------------------------------------------------------------------------------------------------
//  Memory

static gpb_status_t
s_plan_memory (planner_t *self, size_t index)
{
    const gpb_parameter_t *parameter = &self->kernel->parameters [index];
    const gpb_value_t *value = &self->call->values [index];
    uint64_t type_size = gpb_type_size (parameter->type), count, size;
    gpb_error_t reason;
    if (gpb_expression_value (self->kernel->counts [index], self->variables, &count, &reason)
        != GPB_OK)
        return s_refuse_argument (self, index, "count: %s", reason.text);
    if (__builtin_mul_overflow (count, type_size, &size))
        return s_refuse_argument (self, index,
                                  "%" PRIu64 " elements of %" PRIu64 " bytes are beyond 64 bits",
                                  count, type_size);
    self->plan->sizes [index] = size;

    bool fits = value->size == size;
    const char *verb = "has";
    if (value->kind == GPB_VALUE_OUTPUT) {
        fits = fits || value->size == 0;
        verb = "gives";
    }
    else if (value->kind == GPB_VALUE_BUFFER) {
        fits = value->size >= size;
        verb = "needs";
    }
    if (!fits)
        return s_refuse_argument (self, index,
                                  "%s %" PRIu64 " bytes (%s = %" PRIu64
                                  " of %s), and %s of %" PRIu64 " was given",
                                  verb, size, parameter->count, count,
                                  gpb_type_name (parameter->type),
                                  gpb_value_kind_words (value->kind), value->size);
    //  A buffer was allocated already. A device that does not say what it allocates has 0.
    if (self->device && self->device->max_allocation && value->kind != GPB_VALUE_BUFFER
        && size > self->device->max_allocation)
        return s_refuse_argument (self, index,
                                  "has %" PRIu64
                                  " bytes, and the device allocates at most %" PRIu64,
                                  size, self->device->max_allocation);
    return GPB_OK;
}

gpb_status_t
gpb_kernel_plan (const gpb_kernel_t *kernel, const gpb_kernel_call_t *call,
                 const gpb_device_info_t *device, gpb_kernel_plan_t *plan, gpb_error_t *error)
{
    memset (plan, 0, sizeof *plan);
    if (kernel->is_persistent)
        return gpb_error_set (error, GPB_FAILED_PRECONDITION,
                              "kernel \"%s\": is persistent: it takes messages, and no launches",
                              kernel->id);
    planner_t self = {
        .kernel = kernel, .call = call, .device = device, .plan = plan, .error = error
    };
    gpb_status_t status = s_check_arguments (&self);
    if (status == GPB_OK)
        status = s_plan_global (&self);
    for (size_t index = 0; index < kernel->parameters_count && status == GPB_OK; index++)
        if (kernel->parameters [index].direction != GPB_SCALAR)
            status = s_plan_memory (&self, index);
    if (status == GPB_OK)
        status = s_plan_local (&self);
    if (status == GPB_OK)
        status = s_check_work_group (&self);
    if (status == GPB_OK)
        status = s_round_global (&self);
    return status == GPB_OK ? s_plan_shared (&self) : status;
}
