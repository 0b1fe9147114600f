//  gpb_expression - what a kernel's definition says about counts and sizes, as a small program
//
//  Text is parsed once, when a definition is read, into postfix instructions; names are resolved
//  then, to the numbers of variables. Evaluating runs the instructions over a stack of fixed size:
//  no allocation, no recursion, a time that the length of the text bounds.
//
//      sum     = product { ("+" | "-") product }
//      product = value { ("*" | "/") value }
//      value   = number | name | "(" sum ")" | ("ceil_div" | "min" | "max") "(" sum "," sum ")"
//
//  Numbers are unsigned and have 64 bits. A result below 0 or beyond 64 bits and a division by zero
//  are refused with the values, also in a part whose value would not matter in the end.
//
//  An expression never changes after it is made; any thread may evaluate it.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_EXPRESSION_H_INCLUDED
#define GPB_EXPRESSION_H_INCLUDED

#include "gpb_error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

//  Bytes of an expression's text: sizes of real kernels take under 40.
#define GPB_EXPRESSION_TEXT_MAX 256

//  Parentheses and functions within one another. It bounds the parser's recursion.
#define GPB_EXPRESSION_DEPTH_MAX 16

typedef struct _gpb_expression_t gpb_expression_t;

//  Gives the number of the variable with this name, or a status and a sentence about why it cannot
//  be used; the name ends in NUL.
typedef gpb_status_t (gpb_expression_resolve_fn) (void *context, const char *name, size_t *variable,
                                                  gpb_error_t *error);

//  INVALID_ARGUMENT with the column (from 1) where the text is wrong, or what resolve says.
//  RESOURCE_EXHAUSTED when memory runs out.
gpb_expression_t *gpb_expression_new (const char *text, gpb_expression_resolve_fn *resolve,
                                      void *context, gpb_error_t *error);

void gpb_expression_destroy (gpb_expression_t **self_p);

//  The text that it was made from. Borrowed.
const char *gpb_expression_text (const gpb_expression_t *self);

//  variables: a value for each number that resolve gave. INVALID_ARGUMENT with the operation and
//  its values where the result is no unsigned 64-bit number.
gpb_status_t gpb_expression_value (const gpb_expression_t *self, const uint64_t *variables,
                                   uint64_t *value_p, gpb_error_t *error);

//  Whether a name is one of the functions, so that nothing else may be called that.
bool gpb_expression_reserved (const char *name);

#endif
