//  gpb_invocation - the kernel call that a command line names, for `gpb run` and `gpb bench`
//
//  Files are shared by all requests that are made of them, and kept until the call is closed.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_invocation.h"

#include <stdio.h>
#include <string.h>

//  As long as a node gives a request that says nothing, unless it is configured otherwise.
#define CALL_TIMEOUT_MS 30000

//  ---------------------------------------------------------------------------------------------------------
//  The command line

//  A file that is read or written twice is a mistake where it is a stream.
static gpb_status_t
s_check_streams (const gpb_invocation_t *self, gpb_error_t *error)
{
    size_t inputs = 0, outputs = self->arguments->json;
    for (size_t index = 0; index < self->count; index++) {
        const gpb_operand_t *operand = &self->operands [index];
        inputs += operand->source && strcmp (operand->source, "-") == 0;
        outputs += operand->target && strcmp (operand->target, "-") == 0;
    }
    if (inputs > 1)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "only one argument can be read from standard input");
    if (outputs > 1)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "only one of --json and one result can go to standard output");
    return GPB_OK;
}

gpb_status_t
gpb_invocation_parse (gpb_invocation_t *self, const gpb_arguments_t *arguments, gpb_error_t *error)
{
    self->arguments = arguments;
    if (arguments->operands_count > GPB_INVOCATION_OPERANDS_MAX)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "at most %d arguments, as no kernel takes more",
                              GPB_INVOCATION_OPERANDS_MAX);
    self->count = arguments->operands_count;
    for (size_t index = 0; index < self->count; index++) {
        char *text = arguments->operands [index];
        gpb_status_t status = gpb_operand_parse (&self->operands [index], text, error);
        if (status != GPB_OK)
            return status;
    }
    return s_check_streams (self, error);
}

int
gpb_invocation_begin (gpb_invocation_t *self, const gpb_arguments_t *arguments,
                      gpb_client_t **client_p)
{
    gpb_error_t error;
    *client_p = NULL;
    if (gpb_invocation_parse (self, arguments, &error) != GPB_OK) {
        fprintf (stderr, "gpb: %s\n`gpb --help` shows the usage.\n", error.text);
        return GPB_EXIT_USAGE;
    }
    *client_p = gpb_tool_connect (arguments);
    return *client_p ? GPB_EXIT_OK : GPB_EXIT_FAILED;
}

//  ---------------------------------------------------------------------------------------------------------
//  The kernel

//  Options that only a kernel has which stays on its devices.
static gpb_status_t
s_check_options (const gpb_invocation_t *self, gpb_error_t *error)
{
    const gpb_arguments_t *arguments = self->arguments;
    const char *option = arguments->stream      ? "stream"
                         : arguments->on_demand ? "on-demand"
                         : arguments->has_lane  ? "lane"
                                                : NULL;
    if (!option || self->kernel->persistent)
        return GPB_OK;
    return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                          "--%s is for persistent kernels; %s is none, and is launched for every "
                          "request",
                          option, self->kernel->id);
}

bool
gpb_invocation_ask (gpb_invocation_t *self, gpb_client_t *client)
{
    self->answer = gpb_tool_call (client, gpb_request_kernels (self->arguments->subject));
    if (!self->answer)
        return false;
    gpb_error_t error;
    const Gpb__V1__Reply *header = gpb_reply_header_peek (self->answer);
    gpb_status_t status = GPB_NOT_FOUND;
    if (header->body_case != GPB__V1__REPLY__BODY_KERNELS || header->kernels->n_kernels != 1)
        gpb_error_set (&error, status, "the node has no kernel \"%.100s\"",
                       self->arguments->subject);
    else {
        self->kernel = header->kernels->kernels [0];
        status = s_check_options (self, &error);
    }
    if (status != GPB_OK)
        gpb_tool_fail (&error);
    return status == GPB_OK;
}

gpb_status_t
gpb_invocation_check (const gpb_invocation_t *self, gpb_error_t *error)
{
    return gpb_operands_check (self->operands, self->count, self->kernel, error);
}

gpb_status_t
gpb_invocation_read (gpb_invocation_t *self, gpb_error_t *error)
{
    for (size_t index = 0; index < self->count; index++) {
        if (!self->operands [index].source)
            continue;
        self->files [index] = gpb_file_read (self->operands [index].source, error);
        if (!self->files [index])
            return error->status;
    }
    return GPB_OK;
}

gpb_status_t
gpb_invocation_make_up (gpb_invocation_t *self, size_t size, gpb_error_t *error)
{
    const Gpb__V1__Kernel *kernel = self->kernel;
    if (kernel->n_parameters > GPB_INVOCATION_OPERANDS_MAX)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT, "%s takes %zu arguments, more than %d",
                              kernel->id, kernel->n_parameters, GPB_INVOCATION_OPERANDS_MAX);
    for (; self->count < kernel->n_parameters; self->count++) {
        const Gpb__V1__Parameter *parameter = kernel->parameters [self->count];
        gpb_operand_t *operand = &self->operands [self->count];
        if (strcmp (parameter->direction, "scalar") == 0)
            return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                                  "--payload says nothing of %s, a scalar of %s: give the "
                                  "arguments, as `gpb run` takes them",
                                  parameter->name, kernel->id);
        operand->kind = GPB_OPERAND_OUT;
        if (strcmp (parameter->direction, "out") == 0)
            continue;
        operand->kind =
            strcmp (parameter->direction, "in") == 0 ? GPB_OPERAND_IN : GPB_OPERAND_INOUT;
        self->files [self->count] = gpb_file_zero (size, error);
        if (!self->files [self->count])
            return error->status;
    }
    return GPB_OK;
}

//  ---------------------------------------------------------------------------------------------------------
//  The request

static void
s_add_scalar (const gpb_operand_t *self, gpb_request_t *request)
{
    if (strcmp (self->type, "i32") == 0)
        gpb_request_i32 (request, self->value.i32);
    else if (strcmp (self->type, "u32") == 0)
        gpb_request_u32 (request, self->value.u32);
    else if (strcmp (self->type, "i64") == 0)
        gpb_request_i64 (request, self->value.i64);
    else if (strcmp (self->type, "u64") == 0)
        gpb_request_u64 (request, self->value.u64);
    else if (strcmp (self->type, "f32") == 0)
        gpb_request_f32 (request, self->value.f32);
    else
        gpb_request_f64 (request, self->value.f64);
}

void
gpb_invocation_set_options (const gpb_arguments_t *arguments, gpb_request_t *request)
{
    if (arguments->global_dimensions)
        gpb_request_set_global (request, arguments->global_dimensions, arguments->global);
    if (arguments->local_dimensions)
        gpb_request_set_local (request, arguments->local_dimensions, arguments->local);
    if (arguments->has_shared)
        gpb_request_set_shared (request, arguments->shared);
    if (arguments->has_device)
        gpb_request_set_device (request, arguments->device);
    for (size_t index = 0; index < arguments->require_count; index++)
        gpb_request_require (request, arguments->require [index]);
    if (arguments->memory)
        gpb_request_set_memory (request, arguments->memory);
    if (arguments->idempotent)
        gpb_request_set_idempotent (request);
    if (arguments->reservation)
        gpb_request_set_reservation (request, arguments->reservation);
    if (arguments->on_demand)
        gpb_request_on_demand (request);
    if (arguments->has_lane)
        gpb_request_lane (request, arguments->lane);
    gpb_request_set_priority (request, arguments->priority);
    gpb_request_set_timeout (request,
                             arguments->timeout_ms ? arguments->timeout_ms : CALL_TIMEOUT_MS);
}

gpb_request_t *
gpb_invocation_request (const gpb_invocation_t *self)
{
    gpb_request_t *request = gpb_request_execute (self->arguments->subject);
    if (!request)
        return NULL;
    for (size_t index = 0; index < self->count; index++) {
        const gpb_operand_t *operand = &self->operands [index];
        gpb_file_t *file = self->files [index];
        if (file) {
            gpb_file_share (file);
            gpb_request_in_take (request, gpb_file_data (file), gpb_file_size (file),
                                 gpb_file_release, file);
        }
        else if (operand->kind == GPB_OPERAND_OUT)
            gpb_request_out (request, operand->size);
        else
            s_add_scalar (operand, request);
    }
    gpb_invocation_set_options (self->arguments, request);
    return request;
}

FILE *
gpb_invocation_report (const gpb_invocation_t *self)
{
    for (size_t index = 0; index < self->count; index++)
        if (self->operands [index].target && strcmp (self->operands [index].target, "-") == 0)
            return stderr;
    return stdout;
}

void
gpb_invocation_close (gpb_invocation_t *self)
{
    gpb_reply_destroy (&self->answer);
    self->kernel = NULL;
    for (size_t index = 0; index < self->count; index++)
        gpb_file_destroy (&self->files [index]);
}
