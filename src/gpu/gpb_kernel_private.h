//  gpb_kernel_private - what a definition holds, for the files that read it and plan with it
//
//  gpb_kernel.c makes it, gpb_kernel_definition.c fills it from kernel.conf, gpb_kernel_code.c says
//  what of it is compiled, gpb_plan.c and gpb_kernel_persistent.c hold requests against it.
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

//  Bytes of a parameter's or an entry's name, with its NUL.
#define GPB_KERNEL_NAME_SIZE 64

//  Entries of `devices`: more than a node has devices, or a device capabilities.
#define GPB_PERSISTENT_DEVICES_MAX 64

//  What of a lane is not said: one at a time keeps a stream of messages in order; enough slots that
//  a host that is elsewhere for some hundred microseconds keeps the lane busy; a slot of two cache
//  lines, which takes 24 floats.
#define GPB_PERSISTENT_LANES 1
#define GPB_PERSISTENT_SLOTS 256
#define GPB_PERSISTENT_SLOT_SIZE 96
#define GPB_PERSISTENT_SLOTS_MIN 2
#define GPB_PERSISTENT_SLOT_SIZE_MIN 32

//  Bytes: a slot's input and output, and a large message's, start at a multiple of it.
#define GPB_PERSISTENT_ALIGNMENT 32

//  What a package may carry, in the order of gpb_kernel_source_kind.
typedef enum {
    GPB_FILE_PORTABLE,
    GPB_FILE_CL,
    GPB_FILE_CU,
    GPB_FILE_PTX,
    GPB_FILE_FATBIN,
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
    unsigned more_holders;    //  than the first
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
    char *opencl_options;    //  of a persistent kernel, for that backend; NULL: options
    char *arch;
    gpb_kernel_file_t files [GPB_FILES];
    bool is_persistent;    //  the rest says something then
    gpb_persistent_t persistent;
    uint64_t maximum;    //  elements of the input; 0: what a slot has room for
    char *stays [GPB_PERSISTENT_DEVICES_MAX + 1];    //  where it may stay; NULL behind the last
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

//  Gives a file its data: as it is, or, for text, with what stands around it. What goes before it
//  has been read from the definition.
gpb_status_t gpb_kernel_set_file (gpb_kernel_t *self, gpb_file_t kind, const char *data,
                                  size_t size, gpb_error_t *error);

//  What follows from slot_size, the input's maximum and the output's count. INVALID_ARGUMENT where
//  a message of that size, or its output, is beyond the bounds.
gpb_status_t gpb_kernel_persistent_measure (gpb_kernel_t *self, gpb_error_t *error);

//  A slot's size as it is used: rounded up to a multiple of 128 less 32.
uint32_t gpb_persistent_slot_size (uint32_t size);

//  "a payload" and so on, for refusals.
const char *gpb_value_kind_words (gpb_value_kind_t kind);

//  Whether text is what `devices` may name: "all", an index or a capability.
bool gpb_kernel_device_word (const char *text);

//  kernels/gpb_prelude.h, gpb_lane.h and gpb_dispatch.h, made into strings by the build.
extern const char gpb_prelude_text [];
extern const char gpb_lane_text [];
extern const char gpb_dispatch_text [];

#endif
