//  gpb_kernel_reader - what every part of kernel.conf is read with
//
//  Pure functions over libconfig's settings and the definition that is being filled; one thread.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_kernel_reader.h"

#include "gpb_alloc.h"
#include "gpb_kernel_text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

//  Bytes of a string setting. A compiler's command line needs the most.
#define STRING_MAX 1024

gpb_status_t
gpb_reader_refuse (gpb_reader_t *self, const config_setting_t *setting, const char *format, ...)
{
    char text [GPB_ERROR_TEXT_SIZE];
    va_list arguments;
    va_start (arguments, format);
    vsnprintf (text, sizeof text, format, arguments);
    va_end (arguments);
    //  The root has line 0.
    unsigned line = config_setting_source_line (setting);
    return gpb_error_set (self->error, GPB_INVALID_ARGUMENT, "%s:%u: %s", self->file,
                          line ? line : 1, text);
}

gpb_status_t
gpb_reader_out_of_memory (gpb_reader_t *self)
{
    return gpb_error_set (self->error, GPB_RESOURCE_EXHAUSTED, "out of memory");
}

const char *
gpb_reader_type_words (int type)
{
    switch (type) {
    case CONFIG_TYPE_GROUP: return "a group { ... }";
    case CONFIG_TYPE_LIST: return "a list ( ... )";
    case CONFIG_TYPE_ARRAY: return "an array [ ... ]";
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_INT64: return "a whole number";
    case CONFIG_TYPE_FLOAT: return "a number with a fraction";
    case CONFIG_TYPE_BOOL: return "true or false";
    default: return "a \"string\"";
    }
}

gpb_status_t
gpb_reader_check_keys (gpb_reader_t *self, const config_setting_t *group,
                       const gpb_reader_key_t *keys)
{
    for (int index = 0; index < config_setting_length (group); index++) {
        config_setting_t *setting = config_setting_get_elem (group, (unsigned) index);
        const char *name = config_setting_name (setting);
        const gpb_reader_key_t *key = keys;
        while (key->name && strcmp (key->name, name) != 0)
            key++;
        if (!key->name) {
            char all [256] = "";
            for (key = keys; key->name; key++) {
                strncat (all, key == keys ? "" : ", ", sizeof all - strlen (all) - 1);
                strncat (all, key->name, sizeof all - strlen (all) - 1);
            }
            return gpb_reader_refuse (self, setting, "unknown key \"%.64s\"; the keys are %s", name,
                                      all);
        }
        int type = config_setting_type (setting);
        if (key->type != GPB_READER_SEVERAL && key->type != type)
            return gpb_reader_refuse (self, setting, "%s is %s, and here it is %s", name,
                                      gpb_reader_type_words (key->type),
                                      gpb_reader_type_words (type));
    }
    return GPB_OK;
}

//  Escapes may bring in what the look through the text could not see.
static gpb_status_t
s_check_text (gpb_reader_t *self, const config_setting_t *setting, const char *name,
              const char *text)
{
    if (strlen (text) > STRING_MAX)
        return gpb_reader_refuse (self, setting, "%s has %zu bytes, and at most %d fit", name,
                                  strlen (text), STRING_MAX);
    if (!gpb_kernel_text_printable (text))
        return gpb_reader_refuse (self, setting, "%s holds control characters or is not UTF-8",
                                  name);
    return GPB_OK;
}

//  The string with this key, checked; fallback where it is not there. Borrowed from libconfig.
gpb_status_t
gpb_reader_string (gpb_reader_t *self, const config_setting_t *group, const char *name,
                   const char *fallback, const char **text_p)
{
    const config_setting_t *setting = config_setting_get_member (group, name);
    *text_p = setting ? config_setting_get_string (setting) : fallback;
    return setting ? s_check_text (self, setting, name, *text_p) : GPB_OK;
}

gpb_status_t
gpb_reader_copy_string (gpb_reader_t *self, const config_setting_t *group, const char *name,
                        const char *fallback, char **copy_p)
{
    const char *text;
    gpb_status_t status = gpb_reader_string (self, group, name, fallback, &text);
    if (status != GPB_OK)
        return status;
    *copy_p = gpb_strdup (text);
    return *copy_p ? GPB_OK : gpb_reader_out_of_memory (self);
}

bool
gpb_reader_bool (const config_setting_t *group, const char *name, bool fallback)
{
    const config_setting_t *setting = config_setting_get_member (group, name);
    return setting ? config_setting_get_bool (setting) != 0 : fallback;
}

//  How many elements an array or list has that holds min to max of them.
gpb_status_t
gpb_reader_elements (gpb_reader_t *self, const config_setting_t *setting, unsigned min,
                     unsigned max, unsigned *count_p)
{
    const char *name = config_setting_name (setting);
    int type = config_setting_type (setting);
    if (type != CONFIG_TYPE_ARRAY && type != CONFIG_TYPE_LIST)
        return gpb_reader_refuse (self, setting, "%s is an array [ ... ], and here it is %s", name,
                                  gpb_reader_type_words (type));
    int count = config_setting_length (setting);
    if (count < (int) min || count > (int) max)
        return gpb_reader_refuse (self, setting, "%s has %u to %u entries, and here it has %d",
                                  name, min, max, count);
    *count_p = (unsigned) count;
    return GPB_OK;
}

//  ---------------------------------------------------------------------------------------------------------
//  Expressions

//  What an expression may refer to.
typedef struct {
    const gpb_kernel_t *kernel;
    bool sizes;    //  global_size_0 and so on
    bool *measures;
} scope_t;

static gpb_status_t
s_resolve (void *context, const char *name, size_t *variable, gpb_error_t *error)
{
    const scope_t *scope = context;
    const gpb_kernel_t *kernel = scope->kernel;
    if (kernel->is_persistent) {
        *variable = 0;
        return strcmp (name, "count") == 0
                   ? GPB_OK
                   : gpb_error_set (error, GPB_INVALID_ARGUMENT,
                                    "\"%.64s\" is not known here: of a persistent kernel, "
                                    "expressions are of count, the elements of the input",
                                    name);
    }
    for (size_t index = 0; index < kernel->parameters_count; index++) {
        const gpb_parameter_t *parameter = &kernel->parameters [index];
        if (strcmp (parameter->name, name) != 0)
            continue;
        if (parameter->direction != GPB_SCALAR)
            return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                                  "\"%s\" is no scalar, and expressions are of scalars", name);
        if (parameter->type == GPB_F32 || parameter->type == GPB_F64)
            return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                                  "\"%s\" is %s, and expressions are of whole numbers", name,
                                  gpb_type_name (parameter->type));
        scope->measures [index] = true;
        *variable = index;
        return GPB_OK;
    }
    for (unsigned dimension = 0; dimension < GPB_DIMENSIONS; dimension++) {
        char size_name [] = "global_size_0";
        size_name [sizeof size_name - 2] = (char) ('0' + dimension);
        if (strcmp (size_name, name) != 0)
            continue;
        if (!scope->sizes)
            return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                                  kernel->global_free ? "the global size cannot be made of itself"
                                                      : "%s is there only with global_free = true",
                                  name);
        if (dimension >= kernel->dimensions)
            return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                                  "there is no %s: the global size has %u dimension%s", name,
                                  kernel->dimensions, kernel->dimensions == 1 ? "" : "s");
        *variable = GPB_KERNEL_PARAMETERS_MAX + dimension;
        return GPB_OK;
    }
    return gpb_error_set (error, GPB_INVALID_ARGUMENT, "there is no parameter \"%.64s\"", name);
}

//  A string, or a number that stands for itself.
gpb_status_t
gpb_reader_expression (gpb_reader_t *self, const config_setting_t *setting, const char *name,
                       bool sizes, gpb_expression_t **expression_p)
{
    gpb_kernel_t *kernel = self->kernel;
    int type = config_setting_type (setting);
    char number [32];
    const char *text = number;
    if (type == CONFIG_TYPE_INT || type == CONFIG_TYPE_INT64) {
        int64_t value = type == CONFIG_TYPE_INT ? config_setting_get_int (setting)
                                                : config_setting_get_int64 (setting);
        snprintf (number, sizeof number, "%" PRId64, value);
    }
    else if (type == CONFIG_TYPE_STRING) {
        text = config_setting_get_string (setting);
        gpb_status_t status = s_check_text (self, setting, name, text);
        if (status != GPB_OK)
            return status;
    }
    else
        return gpb_reader_refuse (self, setting,
                                  "%s is an expression, \"n * 4\" or 4, and here it is %s", name,
                                  gpb_reader_type_words (type));
    scope_t scope = { kernel, sizes, kernel->measures };
    gpb_error_t reason;
    *expression_p = gpb_expression_new (text, s_resolve, &scope, &reason);
    if (*expression_p)
        return GPB_OK;
    return reason.status == GPB_RESOURCE_EXHAUSTED
               ? gpb_reader_out_of_memory (self)
               : gpb_reader_refuse (self, setting, "%s: %s", name, reason.text);
}
