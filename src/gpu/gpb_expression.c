//  gpb_expression - what a kernel's definition says about counts and sizes, as a small program
//
//  The parser descends the grammar recursively, no deeper than GPB_EXPRESSION_DEPTH_MAX, which
//  bounds the stack of values too: evaluating has nothing to check but the arithmetic.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_expression.h"

#include "gpb_alloc.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

//  Each level of nesting leaves at most three values below it: the left sides of a function's
//  comma, of a sum and of a product.
#define STACK_MAX (3 * (GPB_EXPRESSION_DEPTH_MAX + 2))

typedef enum {
    OP_NUMBER,
    OP_VARIABLE,
    OP_ADD,
    OP_SUBTRACT,
    OP_MULTIPLY,
    OP_DIVIDE,
    OP_CEIL_DIV,
    OP_MIN,
    OP_MAX
} op_t;

typedef struct {
    op_t op;
    uint64_t operand;    //  a number, or a variable's number
} instruction_t;

struct _gpb_expression_t {
    char *text;
    size_t size;                      //  instructions
    instruction_t instructions [];    //  postfix
};

typedef struct {
    const char *text;
    const char *at;    //  what is read next
    gpb_expression_resolve_fn *resolve;
    void *context;
    unsigned depth;     //  parentheses and functions open
    unsigned height;    //  values on the stack after what was emitted so far
    size_t size;
    instruction_t instructions [GPB_EXPRESSION_TEXT_MAX];    //  each takes at least one character
    gpb_error_t *error;
} parser_t;

static const struct {
    const char *name;
    op_t op;
} s_functions [] = {
    { "ceil_div", OP_CEIL_DIV },
    { "min", OP_MIN },
    { "max", OP_MAX },
};

#define FUNCTIONS (sizeof s_functions / sizeof s_functions [0])

static gpb_status_t s_parse_sum (parser_t *self);

static gpb_status_t
s_refuse (parser_t *self, const char *at, const char *what)
{
    return gpb_error_set (self->error, GPB_INVALID_ARGUMENT, "\"%s\", column %zu: %s", self->text,
                          (size_t) (at - self->text) + 1, what);
}

static void
s_skip_blanks (parser_t *self)
{
    while (*self->at == ' ' || *self->at == '\t')
        self->at++;
}

//  Takes the character if it is the next one.
static bool
s_take (parser_t *self, char wanted)
{
    s_skip_blanks (self);
    if (*self->at != wanted)
        return false;
    self->at++;
    return true;
}

static gpb_status_t
s_emit (parser_t *self, op_t op, uint64_t operand)
{
    self->instructions [self->size++] = (instruction_t){ op, operand };
    if (op == OP_NUMBER || op == OP_VARIABLE)
        self->height++;
    else
        self->height--;
    assert (self->height <= STACK_MAX);
    return GPB_OK;
}

static bool
s_is_letter (char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool
s_is_digit (char c)
{
    return c >= '0' && c <= '9';
}

static gpb_status_t
s_parse_number (parser_t *self)
{
    const char *start = self->at;
    uint64_t value = 0;
    for (; s_is_digit (*self->at); self->at++)
        if (__builtin_mul_overflow (value, UINT64_C (10), &value)
            || __builtin_add_overflow (value, (uint64_t) (*self->at - '0'), &value))
            return s_refuse (self, start, "a number is at most 18446744073709551615");
    if (s_is_letter (*self->at) || *self->at == '.')
        return s_refuse (self, start, "a number is whole and decimal");
    return s_emit (self, OP_NUMBER, value);
}

static gpb_status_t
s_parse_call (parser_t *self, op_t op)
{
    if (!s_take (self, '('))
        return s_refuse (self, self->at, "a \"(\" and two values belong here");
    gpb_status_t status = s_parse_sum (self);
    if (status == GPB_OK && !s_take (self, ','))
        status = s_refuse (self, self->at, "a \",\" and the second of two values belong here");
    if (status == GPB_OK)
        status = s_parse_sum (self);
    if (status == GPB_OK && !s_take (self, ')'))
        status = s_refuse (self, self->at, "a \")\" belongs here, behind two values");
    return status == GPB_OK ? s_emit (self, op, 0) : status;
}

static gpb_status_t
s_parse_name (parser_t *self)
{
    const char *start = self->at;
    while (s_is_letter (*self->at) || s_is_digit (*self->at))
        self->at++;
    char name [GPB_EXPRESSION_TEXT_MAX + 1];
    size_t size = (size_t) (self->at - start);
    memcpy (name, start, size);
    name [size] = 0;
    for (size_t index = 0; index < FUNCTIONS; index++)
        if (strcmp (name, s_functions [index].name) == 0)
            return s_parse_call (self, s_functions [index].op);
    s_skip_blanks (self);
    if (*self->at == '(')
        return s_refuse (self, start, "the functions are ceil_div, min and max");
    size_t variable;
    gpb_status_t status = self->resolve (self->context, name, &variable, self->error);
    if (status == GPB_OK)
        return s_emit (self, OP_VARIABLE, variable);
    gpb_error_prefix (self->error, "\"%s\", column %zu: ", self->text,
                      (size_t) (start - self->text) + 1);
    return status;
}

static gpb_status_t
s_parse_value (parser_t *self)
{
    if (self->depth == GPB_EXPRESSION_DEPTH_MAX)
        return s_refuse (self, self->at, "this is nested too deeply");
    self->depth++;
    gpb_status_t status;
    s_skip_blanks (self);
    if (s_is_digit (*self->at))
        status = s_parse_number (self);
    else if (s_is_letter (*self->at))
        status = s_parse_name (self);
    else if (s_take (self, '(')) {
        status = s_parse_sum (self);
        if (status == GPB_OK && !s_take (self, ')'))
            status = s_refuse (self, self->at, "a \")\" belongs here");
    }
    else
        status = s_refuse (self, self->at, "a number, a name or a \"(\" belongs here");
    self->depth--;
    return status;
}

static gpb_status_t
s_parse_product (parser_t *self)
{
    gpb_status_t status = s_parse_value (self);
    while (status == GPB_OK) {
        op_t op;
        if (s_take (self, '*'))
            op = OP_MULTIPLY;
        else if (s_take (self, '/'))
            op = OP_DIVIDE;
        else
            break;
        status = s_parse_value (self);
        if (status == GPB_OK)
            status = s_emit (self, op, 0);
    }
    return status;
}

static gpb_status_t
s_parse_sum (parser_t *self)
{
    gpb_status_t status = s_parse_product (self);
    while (status == GPB_OK) {
        op_t op;
        if (s_take (self, '+'))
            op = OP_ADD;
        else if (s_take (self, '-'))
            op = OP_SUBTRACT;
        else
            break;
        status = s_parse_product (self);
        if (status == GPB_OK)
            status = s_emit (self, op, 0);
    }
    return status;
}

gpb_expression_t *
gpb_expression_new (const char *text, gpb_expression_resolve_fn *resolve, void *context,
                    gpb_error_t *error)
{
    size_t text_size = strlen (text);
    if (text_size > GPB_EXPRESSION_TEXT_MAX) {
        gpb_error_set (error, GPB_INVALID_ARGUMENT,
                       "an expression has at most %d characters, and this one has %zu",
                       GPB_EXPRESSION_TEXT_MAX, text_size);
        return NULL;
    }
    parser_t parser = {
        .text = text, .at = text, .resolve = resolve, .context = context, .error = error
    };
    if (s_parse_sum (&parser) != GPB_OK)
        return NULL;
    s_skip_blanks (&parser);
    if (*parser.at) {
        s_refuse (&parser, parser.at, "an operator or the end belongs here");
        return NULL;
    }
    size_t code_size = parser.size * sizeof (instruction_t);
    gpb_expression_t *self = gpb_alloc (1, sizeof *self + code_size + text_size + 1);
    if (!self) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "out of memory");
        return NULL;
    }
    self->size = parser.size;
    memcpy (self->instructions, parser.instructions, code_size);
    self->text = (char *) (self->instructions + parser.size);
    memcpy (self->text, text, text_size);
    return self;
}

void
gpb_expression_destroy (gpb_expression_t **self_p)
{
    gpb_free (*self_p);
    *self_p = NULL;
}

const char *
gpb_expression_text (const gpb_expression_t *self)
{
    return self->text;
}

static gpb_status_t
s_arithmetic (const gpb_expression_t *self, op_t op, uint64_t left, uint64_t right,
              uint64_t *result, gpb_error_t *error)
{
    char sign = '/';
    switch (op) {
    case OP_ADD:
        sign = '+';
        if (!__builtin_add_overflow (left, right, result))
            return GPB_OK;
        break;
    case OP_MULTIPLY:
        sign = '*';
        if (!__builtin_mul_overflow (left, right, result))
            return GPB_OK;
        break;
    case OP_SUBTRACT:
        if (!__builtin_sub_overflow (left, right, result))
            return GPB_OK;
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "\"%s\": %" PRIu64 " - %" PRIu64 " is below 0", self->text, left,
                              right);
    case OP_MIN: *result = left < right ? left : right; return GPB_OK;
    case OP_MAX: *result = left > right ? left : right; return GPB_OK;
    default:
        if (right == 0)
            return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                                  op == OP_DIVIDE ? "\"%s\": %" PRIu64 " / 0 is a division by zero"
                                                  : "\"%s\": ceil_div (%" PRIu64
                                                    ", 0) is a division by zero",
                                  self->text, left);
        *result = left / right + (op == OP_CEIL_DIV && left % right != 0);
        return GPB_OK;
    }
    return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                          "\"%s\": %" PRIu64 " %c %" PRIu64 " is beyond 64 bits", self->text, left,
                          sign, right);
}

gpb_status_t
gpb_expression_value (const gpb_expression_t *self, const uint64_t *variables, uint64_t *value_p,
                      gpb_error_t *error)
{
    uint64_t stack [STACK_MAX] = { 0 };
    unsigned height = 0;
    for (size_t index = 0; index < self->size; index++) {
        const instruction_t *instruction = &self->instructions [index];
        if (instruction->op == OP_NUMBER)
            stack [height++] = instruction->operand;
        else if (instruction->op == OP_VARIABLE)
            stack [height++] = variables [instruction->operand];
        else {
            height--;
            gpb_status_t status = s_arithmetic (self, instruction->op, stack [height - 1],
                                                stack [height], &stack [height - 1], error);
            if (status != GPB_OK)
                return status;
        }
    }
    *value_p = stack [0];
    return GPB_OK;
}

bool
gpb_expression_reserved (const char *name)
{
    for (size_t index = 0; index < FUNCTIONS; index++)
        if (strcmp (name, s_functions [index].name) == 0)
            return true;
    return false;
}
