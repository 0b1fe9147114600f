//  gpb_operands - the arguments of `gpb run`, as text and held against a kernel's parameters
//
//  What stands before the first colon says the kind. A path may have colons where that leaves one
//  reading only: `out:a:b` is a file, `out:a:5` is five bytes into `a`.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_operands.h"

#include "gpb_arguments.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FORMS "in:FILE, out:FILE[:BYTES], inout:FILE:OUTFILE, or a scalar such as i32:7 or f32:0.5"

//  A whole number with or without a minus.
static gpb_status_t
s_parse_signed (const char *text, int64_t minimum, int64_t maximum, int64_t *number_p,
                gpb_error_t *error)
{
    char *end = NULL;
    errno = 0;
    long long number = strtoll (text, &end, 10);
    const char *digits = text + (text [0] == '-');
    if (*digits < '0' || *digits > '9' || *end || errno || number < minimum || number > maximum)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "a whole number from %" PRId64 " to %" PRId64 ", not \"%.100s\"",
                              minimum, maximum, text);
    *number_p = number;
    return GPB_OK;
}

//  Any number that C reads, inf and nan among them, unless it is too large for the type.
static gpb_status_t
s_parse_float (gpb_operand_t *self, const char *text, gpb_error_t *error)
{
    char *end = NULL;
    bool single = strcmp (self->type, "f32") == 0;
    errno = 0;
    if (single)
        self->value.f32 = strtof (text, &end);
    else
        self->value.f64 = strtod (text, &end);
    bool overflow = errno == ERANGE && isinf (single ? (double) self->value.f32 : self->value.f64);
    if (end == text || *end || strchr (" \t\n", text [0]) || overflow)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT, "a number such as 0.5, not \"%.100s\"",
                              text);
    return GPB_OK;
}

static gpb_status_t
s_parse_scalar (gpb_operand_t *self, const char *text, gpb_error_t *error)
{
    int64_t number = 0;
    uint64_t count = 0;
    gpb_status_t status = GPB_OK;
    self->kind = GPB_OPERAND_SCALAR;
    if (self->type [0] == 'f')
        status = s_parse_float (self, text, error);
    else if (strcmp (self->type, "i32") == 0) {
        status = s_parse_signed (text, INT32_MIN, INT32_MAX, &number, error);
        self->value.i32 = (int32_t) number;
    }
    else if (strcmp (self->type, "i64") == 0)
        status = s_parse_signed (text, INT64_MIN, INT64_MAX, &self->value.i64, error);
    else if (strcmp (self->type, "u32") == 0) {
        status = gpb_arguments_number (text, 0, UINT32_MAX, &count, error);
        self->value.u32 = (uint32_t) count;
    }
    else
        status = gpb_arguments_number (text, 0, UINT64_MAX, &self->value.u64, error);
    if (status != GPB_OK)
        gpb_error_prefix (error, "%s: wants ", self->type);
    return status;
}

//  FILE[:BYTES]
static gpb_status_t
s_parse_out (gpb_operand_t *self, char *text, gpb_error_t *error)
{
    self->kind = GPB_OPERAND_OUT;
    self->target = text;
    char *colon = strrchr (text, ':');
    if (!colon || colon [1] == 0 || colon [1 + strspn (colon + 1, "0123456789")])
        return GPB_OK;
    if (gpb_arguments_number (colon + 1, 1, UINT64_MAX, &self->size, error) != GPB_OK)
        return gpb_error_prefix (error, "out:FILE:BYTES wants ");
    *colon = 0;
    return GPB_OK;
}

//  FILE:OUTFILE
static gpb_status_t
s_parse_inout (gpb_operand_t *self, char *text, gpb_error_t *error)
{
    self->kind = GPB_OPERAND_INOUT;
    char *colon = strchr (text, ':');
    if (!colon || strchr (colon + 1, ':'))
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "inout:%.200s: wants two files with one colon between, "
                              "inout:FILE:OUTFILE",
                              text);
    *colon = 0;
    self->source = text;
    self->target = colon + 1;
    return GPB_OK;
}

gpb_status_t
gpb_operand_parse (gpb_operand_t *self, char *text, gpb_error_t *error)
{
    static const char *const types [] = { "i32", "u32", "i64", "u64", "f32", "f64" };
    memset (self, 0, sizeof *self);
    self->text = text;
    char *colon = strchr (text, ':');
    size_t size = colon ? (size_t) (colon - text) : 0;
    gpb_status_t status = GPB_OK;
    if (size == 2 && strncmp (text, "in", size) == 0)
        self->source = colon + 1;
    else if (size == 3 && strncmp (text, "out", size) == 0)
        status = s_parse_out (self, colon + 1, error);
    else if (size == 5 && strncmp (text, "inout", size) == 0)
        status = s_parse_inout (self, colon + 1, error);
    else {
        size_t type = 0;
        while (type < 6 && !(size == 3 && strncmp (text, types [type], size) == 0))
            type++;
        if (type == 6)
            return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                                  "\"%.200s\" is no argument; there are " FORMS, text);
        memcpy (self->type, types [type], sizeof self->type);
        return s_parse_scalar (self, colon + 1, error);
    }
    if (status == GPB_OK && ((self->source && !*self->source) || (self->target && !*self->target)))
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "\"%.200s\" names no file; there are " FORMS, self->text);
    return status;
}

//  "c, out f32 [n]": how a parameter is named in a refusal.
static void
s_describe (const Gpb__V1__Parameter *parameter, char *text, size_t size)
{
    bool scalar = strcmp (parameter->direction, "scalar") == 0;
    snprintf (text, size, "%.64s (%s %s%s%.64s%s)", parameter->name, parameter->direction,
              parameter->type, scalar ? "" : "[", scalar ? "" : parameter->count,
              scalar ? "" : "]");
}

static gpb_status_t
s_check_one (const gpb_operand_t *operand, const Gpb__V1__Parameter *parameter, gpb_error_t *error)
{
    static const char *const directions [] = { "in", "out", "inout", "scalar" };
    static const char *const forms [] = { "in:FILE", "out:FILE", "inout:FILE:OUTFILE" };
    char described [256];
    s_describe (parameter, described, sizeof described);
    bool scalar = strcmp (parameter->direction, "scalar") == 0;
    if (scalar && operand->kind == GPB_OPERAND_SCALAR) {
        if (strcmp (parameter->type, operand->type) == 0)
            return GPB_OK;
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "%s is given as \"%.200s\"; it wants %s:VALUE", described,
                              operand->text, parameter->type);
    }
    if (!scalar && strcmp (parameter->direction, directions [operand->kind]) == 0)
        return GPB_OK;
    const char *form = "";
    for (int kind = 0; kind < 3; kind++)
        if (strcmp (parameter->direction, directions [kind]) == 0)
            form = forms [kind];
    return gpb_error_set (error, GPB_INVALID_ARGUMENT, "%s is given as \"%.200s\"; it wants %s%s",
                          described, operand->text, scalar ? parameter->type : form,
                          scalar ? ":VALUE" : "");
}

gpb_status_t
gpb_operands_check (const gpb_operand_t *operands, size_t count, const Gpb__V1__Kernel *kernel,
                    gpb_error_t *error)
{
    size_t common = count < kernel->n_parameters ? count : kernel->n_parameters;
    for (size_t index = 0; index < common; index++) {
        gpb_status_t status = s_check_one (&operands [index], kernel->parameters [index], error);
        if (status != GPB_OK) {
            gpb_error_prefix (error, "argument %zu of %s: ", index + 1, kernel->id);
            return status;
        }
    }
    if (count < kernel->n_parameters) {
        char described [256];
        s_describe (kernel->parameters [count], described, sizeof described);
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "%s takes %zu arguments, not %zu; the next one is %s", kernel->id,
                              kernel->n_parameters, count, described);
    }
    if (count > kernel->n_parameters)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "%s takes %zu arguments, not %zu; \"%.200s\" is one too many",
                              kernel->id, kernel->n_parameters, count,
                              operands [kernel->n_parameters].text);
    return GPB_OK;
}

size_t
gpb_operand_type_size (const char *type)
{
    static const struct {
        const char *bits;
        size_t size;
    } sizes [] = { { "8", 1 }, { "16", 2 }, { "32", 4 }, { "64", 8 } };
    for (size_t index = 0; strchr ("iuf", type [0]) && type [0] && index < 4; index++)
        if (strcmp (type + 1, sizes [index].bits) == 0)
            return sizes [index].size;
    return 0;
}
