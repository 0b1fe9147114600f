//  gpb_kernel_reader - what every part of kernel.conf is read with
//
//  gpb_kernel_definition.c reads the definition with it, gpb_kernel_parameters.c the parameters in
//  it. Each function that is given a setting refuses it with "FILE:LINE: ..." and INVALID_ARGUMENT;
//  RESOURCE_EXHAUSTED where memory runs out.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_KERNEL_READER_H_INCLUDED
#define GPB_KERNEL_READER_H_INCLUDED

#include "gpb_kernel_private.h"

#include <libconfig.h>

//  Characters of a parameter's or an entry's name.
#define GPB_READER_NAME_MAX (GPB_KERNEL_NAME_SIZE - 1)

typedef struct {
    gpb_kernel_t *kernel;    //  what is filled
    const char *file;        //  what refusals call the text
    gpb_error_t *error;
} gpb_reader_t;

//  A table of keys ends with a name of NULL.
typedef struct {
    const char *name;
    int type;    //  CONFIG_TYPE_...; GPB_READER_SEVERAL: what reads it looks itself
} gpb_reader_key_t;

#define GPB_READER_SEVERAL (-1)

gpb_status_t gpb_reader_refuse (gpb_reader_t *self, const config_setting_t *setting,
                                const char *format, ...) GPB_PRINTF (3, 4);
gpb_status_t gpb_reader_out_of_memory (gpb_reader_t *self);

//  "a list ( ... )" and so on, for refusals.
const char *gpb_reader_type_words (int type);

//  Refuses a key that is not in the table, and a value of another type.
gpb_status_t gpb_reader_check_keys (gpb_reader_t *self, const config_setting_t *group,
                                    const gpb_reader_key_t *keys);

//  The string with this key, printable and not too long; fallback where it is not there. Borrowed
//  from libconfig; a copy is the caller's.
gpb_status_t gpb_reader_string (gpb_reader_t *self, const config_setting_t *group, const char *name,
                                const char *fallback, const char **text_p);
gpb_status_t gpb_reader_copy_string (gpb_reader_t *self, const config_setting_t *group,
                                     const char *name, const char *fallback, char **copy_p);

bool gpb_reader_bool (const config_setting_t *group, const char *name, bool fallback);

//  How many elements an array or list has; refused where it is neither, or has not min to max.
gpb_status_t gpb_reader_elements (gpb_reader_t *self, const config_setting_t *setting, unsigned min,
                                  unsigned max, unsigned *count_p);

//  An expression of the parameters read so far, from a string, or from a number that stands for
//  itself. sizes: it may refer to global_size_0 and so on. A persistent kernel's is of `count`
//  alone, the variable 0.
gpb_status_t gpb_reader_expression (gpb_reader_t *self, const config_setting_t *setting,
                                    const char *name, bool sizes, gpb_expression_t **expression_p);

//  The parameters, all but their counts; then their counts, which may refer to all of them and to
//  the global size.
gpb_status_t gpb_reader_parameters (gpb_reader_t *self, const config_setting_t *root);
gpb_status_t gpb_reader_counts (gpb_reader_t *self, const config_setting_t *root);

//  Whether it is persistent; refuses a key that is for the other kind of kernels.
gpb_status_t gpb_reader_persistence (gpb_reader_t *self, const config_setting_t *root);

//  Of a persistent kernel: what a message is, once the parameters are read, and what a lane is.
gpb_status_t gpb_reader_message (gpb_reader_t *self, const config_setting_t *root);
gpb_status_t gpb_reader_lanes (gpb_reader_t *self, const config_setting_t *root);

#endif
