//  gpb_kernel_private - what a definition holds, for the files that read it and plan with it
//
//  gpb_kernel.c makes it, gpb_kernel_definition.c fills it from kernel.conf, gpb_plan.c holds
//  requests against it.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_KERNEL_PRIVATE_H_INCLUDED
#define GPB_KERNEL_PRIVATE_H_INCLUDED

#include "gpb_expression.h"
#include "gpb_kernel.h"

//  Bytes of kernel.conf: nine shipped ones together take less than a tenth of it.
#define GPB_KERNEL_DEFINITION_MAX ((size_t) 64 * 1024)

//  Variables of expressions: the parameters by their index, then the global size's dimensions.
#define GPB_KERNEL_VARIABLES (GPB_KERNEL_PARAMETERS_MAX + GPB_DIMENSIONS)

//  What a package may carry, in the order of gpb_kernel_source_kind.
typedef enum {
    GPB_FILE_PORTABLE,
    GPB_FILE_CL,
    GPB_FILE_CU,
    GPB_FILE_PTX,
    GPB_FILE_CUBIN,
    GPB_FILES
} gpb_file_t;

typedef struct {
    char *name;       //  NULL where the package does not carry it
    unsigned line;    //  of kernel.conf that names it
    char *data;       //  what the compiler gets: for a source with what goes before it, and a NUL
    size_t size;      //  bytes, without the NUL
} gpb_kernel_file_t;

//  A scalar's smallest or largest value. 64-bit integers have no double that is exact.
typedef struct {
    bool given;
    int64_t whole;      //  for i32, u32, i64, u64; libconfig knows no number above INT64_MAX
    double fraction;    //  for f32, f64
} gpb_bound_t;

struct _gpb_kernel_t {
    char *id;
    char *description;
    char *entry;
    size_t parameters_count;
    gpb_parameter_t parameters [GPB_KERNEL_PARAMETERS_MAX];
    char *names [GPB_KERNEL_PARAMETERS_MAX];                 //  owns parameters [].name
    gpb_expression_t *counts [GPB_KERNEL_PARAMETERS_MAX];    //  own parameters [].count; NULL:
                                                             //  scalar
    gpb_bound_t minimums [GPB_KERNEL_PARAMETERS_MAX];
    gpb_bound_t maximums [GPB_KERNEL_PARAMETERS_MAX];
    bool measures [GPB_KERNEL_PARAMETERS_MAX];    //  an expression uses this scalar
    unsigned dimensions;
    gpb_expression_t *global [GPB_DIMENSIONS];
    bool global_free;
    bool has_local;
    bool local_free;
    uint64_t local [GPB_DIMENSIONS];    //  unused ones 1
    gpb_expression_t *shared;           //  NULL: none
    char *require [GPB_CAPABILITIES_MAX + 1];
    int optimize;
    bool debug;
    char *options;
    char *arch;
    gpb_kernel_file_t files [GPB_FILES];
};

//  Fills self, which is all zeroes, from the text of kernel.conf; what it names is not read. file
//  is what refusals call it. On failure self is left as far as it got, to be destroyed.
gpb_status_t gpb_kernel_read_definition (gpb_kernel_t *self, const char *text, const char *file,
                                         gpb_error_t *error);

//  [a-z0-9_.-]{1,64}, and neither "." nor ".."
bool gpb_kernel_id_valid (const char *id);

//  "cl"...: how gpb_kernel_source_kind and `sources` call it; and how such a file's name ends.
const char *gpb_kernel_file_kind (gpb_file_t file);
const char *gpb_kernel_file_ending (gpb_file_t file);

//  kernels/gpb_prelude.h, made into a string by the build.
extern const char gpb_prelude_text [];

#endif
