//  gpb_config_private - what gpb_config_file.c needs of the table of keys
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_CONFIG_PRIVATE_H_INCLUDED
#define GPB_CONFIG_PRIVATE_H_INCLUDED

#include "gpb_config.h"

#include <stddef.h>

typedef enum {
    GPB_CONFIG_STRING,
    GPB_CONFIG_WORDS,    //  strings with blanks between; a list in a file
    GPB_CONFIG_NUMBER,
    GPB_CONFIG_BOOL
} gpb_config_type_t;

//  A key's type. INVALID_ARGUMENT, with the nearest key, where there is none of that name.
gpb_status_t gpb_config_find (const char *name, gpb_config_type_t *type_p, gpb_error_t *error);

//  Refuses a value of another type: what the key is, and `got`. The key must exist.
gpb_status_t gpb_config_expected (const char *name, const char *got, gpb_error_t *error);

//  All values as lines, "KEY=VALUE", for another process. RESOURCE_EXHAUSTED where they need more
//  than size bytes.
gpb_status_t gpb_config_write (const gpb_config_t *self, char *text, size_t size,
                               gpb_error_t *error);

//  Sets what such lines say; text is cut into pieces.
gpb_status_t gpb_config_read (gpb_config_t *self, char *text, gpb_error_t *error);

//  Exchanges all values.
void gpb_config_swap (gpb_config_t *self, gpb_config_t *other);

#endif
