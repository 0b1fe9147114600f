//  gpb_config - a node's configuration
//
//  A fixed table of keys, each with a type, a default and bounds; `gpb_actor --help-config` prints
//  it. Read from a libconfig file, or set key by key; a key that does not exist and a value that
//  does not fit are refused, with file and line where there are any, and with what would be right.
//  One thread at a time; the actors copy what they need before zactor_new returns.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_CONFIG_H_INCLUDED
#define GPB_CONFIG_H_INCLUDED

#include "gpb_error.h"

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct _gpb_config_t gpb_config_t;

//  Every key at its default. NULL only when memory runs out.
GPB_EXPORT gpb_config_t *gpb_config_new (void);

GPB_EXPORT void gpb_config_destroy (gpb_config_t **self_p);

//  Sets what the file says; the rest stays. NOT_FOUND for a file that is not there,
//  INVALID_ARGUMENT with "FILE:LINE: ..." otherwise; then nothing was changed.
GPB_EXPORT gpb_status_t gpb_config_load (gpb_config_t *self, const char *path, gpb_error_t *error);

//  Sets one key from text: a number, true or false, or the string itself.
GPB_EXPORT gpb_status_t gpb_config_set (gpb_config_t *self, const char *key, const char *value,
                                        gpb_error_t *error);

//  Values. The key must exist and be of that type: anything else is the caller's own mistake, and
//  asserts. Strings are borrowed until the key is set again.
GPB_EXPORT const char *gpb_config_string (const gpb_config_t *self, const char *key);
GPB_EXPORT uint64_t gpb_config_number (const gpb_config_t *self, const char *key);
GPB_EXPORT bool gpb_config_bool (const gpb_config_t *self, const char *key);

//  The same values in an instance of its own; NULL when memory runs out.
GPB_EXPORT gpb_config_t *gpb_config_dup (const gpb_config_t *self);

//  All keys with type, default, bounds and meaning, as a libconfig file that says what holds
//  anyway. Static storage.
GPB_EXPORT const char *gpb_config_help (void);

#ifdef __cplusplus
}
#endif

#endif
