//  A fuzz target: expressions of kernel definitions. What is accepted is computed once more, in a
//  plainer way, and has to come to the same.
//
//  Input: the values of a and b, 8 bytes each, and the text.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_expression.h"
#include "gpb_fuzz.h"

#include <ctype.h>

typedef struct {
    const char *at;
    const uint64_t *variables;
    bool good;    //  no part came to what is no unsigned 64-bit number
} reader_t;

static gpb_status_t
s_resolve (void *context, const char *name, size_t *variable, gpb_error_t *error)
{
    (void) context;
    *variable = name [0] == 'b';
    return (name [0] == 'a' || name [0] == 'b') && !name [1]
               ? GPB_OK
               : gpb_error_set (error, GPB_INVALID_ARGUMENT, "no such name");
}

static uint64_t s_sum (reader_t *self);

static bool
s_skip (reader_t *self, char wanted)
{
    while (isspace ((unsigned char) *self->at))
        self->at++;
    bool is_there = *self->at == wanted;
    self->at += is_there;
    return is_there;
}

static uint64_t
s_divide (reader_t *self, uint64_t left, uint64_t right)
{
    self->good = self->good && right;
    return right ? left / right : 0;
}

static uint64_t
s_function (reader_t *self, const char *name, size_t length)
{
    s_skip (self, '(');
    uint64_t left = s_sum (self);
    s_skip (self, ',');
    uint64_t right = s_sum (self);
    s_skip (self, ')');
    if (length == 3 && strncmp (name, "min", 3) == 0)
        return left < right ? left : right;
    if (length == 3 && strncmp (name, "max", 3) == 0)
        return left > right ? left : right;
    uint64_t whole = s_divide (self, left, right);
    return right && left % right ? whole + 1 : whole;
}

static uint64_t
s_value (reader_t *self)
{
    if (s_skip (self, '(')) {
        uint64_t value = s_sum (self);
        s_skip (self, ')');
        return value;
    }
    const char *start = self->at;
    if (isdigit ((unsigned char) *start)) {
        char *end;
        uint64_t value = strtoull (start, &end, 10);
        self->at = end;
        return value;
    }
    while (isalnum ((unsigned char) *self->at) || *self->at == '_')
        self->at++;
    size_t length = (size_t) (self->at - start);
    return length == 1 ? self->variables [*start == 'b'] : s_function (self, start, length);
}

static uint64_t
s_product (reader_t *self)
{
    uint64_t value = s_value (self);
    for (;;)
        if (s_skip (self, '*'))
            self->good = !__builtin_mul_overflow (value, s_value (self), &value) && self->good;
        else if (s_skip (self, '/'))
            value = s_divide (self, value, s_value (self));
        else
            return value;
}

static uint64_t
s_sum (reader_t *self)
{
    uint64_t value = s_product (self);
    for (;;)
        if (s_skip (self, '+'))
            self->good = !__builtin_add_overflow (value, s_product (self), &value) && self->good;
        else if (s_skip (self, '-'))
            self->good = !__builtin_sub_overflow (value, s_product (self), &value) && self->good;
        else
            return value;
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
    gpb_fuzz_input_t input = { data, size };
    uint64_t variables [2], value;
    gpb_fuzz_take (&input, variables, sizeof variables);
    char *text = gpb_fuzz_text (&input);
    gpb_error_t error = { GPB_OK, "" };
    gpb_expression_t *expression = gpb_expression_new (text, s_resolve, NULL, &error);
    if (!expression)
        gpb_fuzz_check (error.status == GPB_INVALID_ARGUMENT && error.text [0],
                        "a refusal without a reason");
    else {
        gpb_fuzz_check (strcmp (gpb_expression_text (expression), text) == 0, "another text");
        gpb_status_t status = gpb_expression_value (expression, variables, &value, &error);
        reader_t reader = { .at = text, .variables = variables, .good = true };
        uint64_t expected = s_sum (&reader);
        gpb_fuzz_check ((status == GPB_OK) == reader.good, "%s: %s", text, error.text);
        gpb_fuzz_check (status != GPB_OK || value == expected, "%s is %llu", text,
                        (unsigned long long) value);
    }
    gpb_expression_destroy (&expression);
    free (text);
    return 0;
}
