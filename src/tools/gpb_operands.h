//  gpb_operands - the arguments of `gpb run`, as text and held against a kernel's parameters
//
//  Plain structures that point into the command line; nothing is allocated, no file is touched.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_OPERANDS_H_INCLUDED
#define GPB_OPERANDS_H_INCLUDED

#include "gpb_error.h"

#include "gpb.pb-c.h"

#include <stdint.h>

typedef enum {
    GPB_OPERAND_IN,
    GPB_OPERAND_OUT,
    GPB_OPERAND_INOUT,
    GPB_OPERAND_SCALAR
} gpb_operand_kind_t;

typedef struct {
    gpb_operand_kind_t kind;
    const char *text;      //  as it was written, for refusals; in, out and inout end at a path
    const char *source;    //  in, inout: the file that is read, "-" for standard input
    const char *target;    //  out, inout: the file that is written, "-" for standard output
    uint64_t size;         //  out: bytes, 0 for what the kernel says
    char type [4];         //  scalar: "i32"...
    union {
        int32_t i32;
        uint32_t u32;
        int64_t i64;
        uint64_t u64;
        float f32;
        double f64;
    } value;
} gpb_operand_t;

//  in:FILE, out:FILE[:BYTES], inout:FILE:OUTFILE or TYPE:VALUE. text is cut at its colons, and
//  borrowed for as long as *self is used.
gpb_status_t gpb_operand_parse (gpb_operand_t *self, char *text, gpb_error_t *error);

//  Number, direction and type against what the node says of the kernel. Sizes are the node's to
//  check.
gpb_status_t gpb_operands_check (const gpb_operand_t *operands, size_t count,
                                 const Gpb__V1__Kernel *kernel, gpb_error_t *error);

//  Bytes of an element of a wire's type, "i8" to "f64"; 0 for what is none.
size_t gpb_operand_type_size (const char *type);

#endif
