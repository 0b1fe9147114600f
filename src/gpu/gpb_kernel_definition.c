//  gpb_kernel_definition - reads kernel.conf
//
//  The text is looked through once before libconfig gets it, for what libconfig 1.5 would take
//  without a word or should not see: @include (a definition reads no other file), numbers that it
//  would cut to 32 or 64 bits, text that is not UTF-8, nesting that overflows its parser's stack.
//  Then every setting is held against a table of keys: one that is not there, one of another type
//  and one out of bounds are refused with the line they stand on and with what would be right.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_alloc.h"
#include "gpb_kernel_private.h"
#include "gpb_kernel_text.h"

#include <inttypes.h>
#include <libconfig.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

//  Bytes of a string setting. A compiler's command line needs the most.
#define STRING_MAX 1024

//  Of a parameter's or an entry's name.
#define NAME_MAX_SIZE 63

typedef struct {
    gpb_kernel_t *kernel;
    const char *file;
    gpb_error_t *error;
} reader_t;

typedef struct {
    const char *name;
    int type;    //  CONFIG_TYPE_...; TYPE_SEVERAL: what reads it looks itself
} key_t;

#define TYPE_SEVERAL (-1)

static const key_t s_keys [] = {
    { "id", CONFIG_TYPE_STRING },
    { "description", CONFIG_TYPE_STRING },
    { "entry", CONFIG_TYPE_STRING },
    { "source", CONFIG_TYPE_STRING },
    { "sources", CONFIG_TYPE_GROUP },
    { "parameters", CONFIG_TYPE_LIST },
    { "global", TYPE_SEVERAL },
    { "global_free", CONFIG_TYPE_BOOL },
    { "local", TYPE_SEVERAL },
    { "local_free", CONFIG_TYPE_BOOL },
    { "shared", TYPE_SEVERAL },
    { "require", TYPE_SEVERAL },
    { "optimize", CONFIG_TYPE_INT },
    { "debug", CONFIG_TYPE_BOOL },
    { "options", CONFIG_TYPE_STRING },
    { "arch", CONFIG_TYPE_STRING },
    { NULL, 0 },
};

static const key_t s_source_keys [] = {
    { "cl", CONFIG_TYPE_STRING },
    { "cu", CONFIG_TYPE_STRING },
    { "ptx", CONFIG_TYPE_STRING },
    { "cubin", CONFIG_TYPE_STRING },
    { NULL, 0 },
};

static const key_t s_parameter_keys [] = {
    { "name", CONFIG_TYPE_STRING },   { "direction", CONFIG_TYPE_STRING },
    { "type", CONFIG_TYPE_STRING },   { "count", TYPE_SEVERAL },
    { "alignment", CONFIG_TYPE_INT }, { "minimum", TYPE_SEVERAL },
    { "maximum", TYPE_SEVERAL },      { NULL, 0 },
};

static gpb_status_t GPB_PRINTF (3, 4)
    s_refuse (reader_t *self, const config_setting_t *setting, const char *format, ...)
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

static gpb_status_t
s_out_of_memory (reader_t *self)
{
    return gpb_error_set (self->error, GPB_RESOURCE_EXHAUSTED, "out of memory");
}

//  ---------------------------------------------------------------------------------------------------------
//  Keys and plain values

static const char *
s_type_words (int type)
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

static gpb_status_t
s_check_keys (reader_t *self, const config_setting_t *group, const key_t *keys)
{
    for (int index = 0; index < config_setting_length (group); index++) {
        config_setting_t *setting = config_setting_get_elem (group, (unsigned)index);
        const char *name = config_setting_name (setting);
        const key_t *key = keys;
        while (key->name && strcmp (key->name, name) != 0)
            key++;
        if (!key->name) {
            char all [256] = "";
            for (key = keys; key->name; key++) {
                strncat (all, key == keys ? "" : ", ", sizeof all - strlen (all) - 1);
                strncat (all, key->name, sizeof all - strlen (all) - 1);
            }
            return s_refuse (self, setting, "unknown key \"%.64s\"; the keys are %s", name, all);
        }
        int type = config_setting_type (setting);
        if (key->type != TYPE_SEVERAL && key->type != type)
            return s_refuse (self, setting, "%s is %s, and here it is %s", name,
                             s_type_words (key->type), s_type_words (type));
    }
    return GPB_OK;
}

//  Escapes may bring in what the look through the text could not see.
static gpb_status_t
s_check_text (reader_t *self, const config_setting_t *setting, const char *name, const char *text)
{
    if (strlen (text) > STRING_MAX)
        return s_refuse (self, setting, "%s has %zu bytes, and at most %d fit", name, strlen (text),
                         STRING_MAX);
    if (!gpb_kernel_text_printable (text))
        return s_refuse (self, setting, "%s holds control characters or is not UTF-8", name);
    return GPB_OK;
}

//  The string with this key, checked; fallback where it is not there. Borrowed from libconfig.
static gpb_status_t
s_string (reader_t *self, const config_setting_t *group, const char *name, const char *fallback,
          const char **text_p)
{
    const config_setting_t *setting = config_setting_get_member (group, name);
    *text_p = setting ? config_setting_get_string (setting) : fallback;
    return setting ? s_check_text (self, setting, name, *text_p) : GPB_OK;
}

static gpb_status_t
s_copy_string (reader_t *self, const config_setting_t *group, const char *name,
               const char *fallback, char **copy_p)
{
    const char *text;
    gpb_status_t status = s_string (self, group, name, fallback, &text);
    if (status != GPB_OK)
        return status;
    *copy_p = gpb_strdup (text);
    return *copy_p ? GPB_OK : s_out_of_memory (self);
}

static bool
s_bool (const config_setting_t *group, const char *name, bool fallback)
{
    const config_setting_t *setting = config_setting_get_member (group, name);
    return setting ? config_setting_get_bool (setting) != 0 : fallback;
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
        size_name [sizeof size_name - 2] = (char)('0' + dimension);
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
static gpb_status_t
s_expression (reader_t *self, const config_setting_t *setting, const char *name, bool sizes,
              gpb_expression_t **expression_p)
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
        return s_refuse (self, setting, "%s is an expression, \"n * 4\" or 4, and here it is %s",
                         name, s_type_words (type));
    scope_t scope = { kernel, sizes, kernel->measures };
    gpb_error_t reason;
    *expression_p = gpb_expression_new (text, s_resolve, &scope, &reason);
    if (*expression_p)
        return GPB_OK;
    return reason.status == GPB_RESOURCE_EXHAUSTED
               ? s_out_of_memory (self)
               : s_refuse (self, setting, "%s: %s", name, reason.text);
}

//  ---------------------------------------------------------------------------------------------------------
//  Parameters

static gpb_status_t
s_bound (reader_t *self, const config_setting_t *group, const char *name, size_t index,
         gpb_bound_t *bound)
{
    const gpb_parameter_t *parameter = &self->kernel->parameters [index];
    const config_setting_t *setting = config_setting_get_member (group, name);
    if (!setting)
        return GPB_OK;
    if (parameter->direction != GPB_SCALAR)
        return s_refuse (self, setting, "%s is for scalars, and \"%s\" is %s", name,
                         parameter->name, gpb_direction_name (parameter->direction));
    bound->given = true;
    int type = config_setting_type (setting);
    if (parameter->type == GPB_F32 || parameter->type == GPB_F64) {
        if (type == CONFIG_TYPE_FLOAT)
            bound->fraction = config_setting_get_float (setting);
        else if (type == CONFIG_TYPE_INT)
            bound->fraction = config_setting_get_int (setting);
        else if (type == CONFIG_TYPE_INT64)
            bound->fraction = (double)config_setting_get_int64 (setting);
        else
            return s_refuse (self, setting, "%s is a number, and here it is %s", name,
                             s_type_words (type));
        if (!isfinite (bound->fraction))
            return s_refuse (self, setting, "%s is finite", name);
        return GPB_OK;
    }
    if (type != CONFIG_TYPE_INT && type != CONFIG_TYPE_INT64)
        return s_refuse (self, setting, "%s of a %s is a whole number, and here it is %s", name,
                         gpb_type_name (parameter->type), s_type_words (type));
    bound->whole = type == CONFIG_TYPE_INT ? config_setting_get_int (setting)
                                           : config_setting_get_int64 (setting);
    int64_t least = parameter->type == GPB_I32   ? INT32_MIN
                    : parameter->type == GPB_I64 ? INT64_MIN
                                                 : 0;
    int64_t most = parameter->type == GPB_I32   ? INT32_MAX
                   : parameter->type == GPB_U32 ? UINT32_MAX
                                                : INT64_MAX;
    if (bound->whole < least || bound->whole > most)
        return s_refuse (self, setting,
                         "%s of a %s lies from %" PRId64 " to %" PRId64 ", and here it is %" PRId64,
                         name, gpb_type_name (parameter->type), least, most, bound->whole);
    return GPB_OK;
}

static gpb_status_t
s_read_bounds (reader_t *self, const config_setting_t *group, size_t index)
{
    gpb_bound_t *minimum = &self->kernel->minimums [index];
    gpb_bound_t *maximum = &self->kernel->maximums [index];
    gpb_status_t status = s_bound (self, group, "minimum", index, minimum);
    if (status == GPB_OK)
        status = s_bound (self, group, "maximum", index, maximum);
    if (status == GPB_OK && minimum->given && maximum->given
        && (minimum->whole > maximum->whole || minimum->fraction > maximum->fraction))
        status = s_refuse (self, config_setting_get_member (group, "maximum"),
                           "maximum of \"%s\" is below its minimum",
                           self->kernel->parameters [index].name);
    return status;
}

static gpb_status_t
s_read_alignment (reader_t *self, const config_setting_t *group, gpb_parameter_t *parameter)
{
    const config_setting_t *setting = config_setting_get_member (group, "alignment");
    uint32_t type_size = (uint32_t)gpb_type_size (parameter->type);
    if (parameter->direction == GPB_SCALAR)
        return setting ? s_refuse (self, setting, "alignment is for memory, and \"%s\" is a scalar",
                                   parameter->name)
                       : GPB_OK;
    int alignment = setting ? config_setting_get_int (setting) : (int)type_size;
    if (alignment < (int)type_size || alignment > GPB_MEMORY_ALIGNMENT
        || (alignment & (alignment - 1)) != 0)
        return s_refuse (self, setting,
                         "alignment of %s is a power of two from %u to %d bytes, and here it is %d",
                         gpb_type_name (parameter->type), type_size, GPB_MEMORY_ALIGNMENT,
                         alignment);
    parameter->alignment = (uint32_t)alignment;
    return GPB_OK;
}

static gpb_status_t
s_read_name (reader_t *self, const config_setting_t *group, size_t index)
{
    const char *name;
    gpb_status_t status = s_string (self, group, "name", "", &name);
    if (status != GPB_OK)
        return status;
    const config_setting_t *setting = config_setting_get_member (group, "name");
    setting = setting ? setting : group;
    if (!gpb_kernel_text_identifier (name, NAME_MAX_SIZE))
        return s_refuse (self, setting,
                         "the name of parameter %zu is a C identifier of 1 to %d characters, and "
                         "here it is \"%.64s\"",
                         index, NAME_MAX_SIZE, name);
    if (gpb_expression_reserved (name) || strncmp (name, "global_size_", 12) == 0)
        return s_refuse (self, setting, "\"%s\" means something else in expressions", name);
    for (size_t other = 0; other < index; other++)
        if (strcmp (self->kernel->names [other], name) == 0)
            return s_refuse (self, setting, "there are two parameters \"%s\", %zu and %zu", name,
                             other, index);
    self->kernel->names [index] = gpb_strdup (name);
    return self->kernel->names [index] ? GPB_OK : s_out_of_memory (self);
}

//  All but the count, which may refer to parameters further down.
static gpb_status_t
s_read_parameter (reader_t *self, const config_setting_t *group, size_t index)
{
    gpb_kernel_t *kernel = self->kernel;
    gpb_parameter_t *parameter = &kernel->parameters [index];
    if (config_setting_type (group) != CONFIG_TYPE_GROUP)
        return s_refuse (self, group, "parameter %zu is a group { ... }, and here it is %s", index,
                         s_type_words (config_setting_type (group)));
    gpb_status_t status = s_check_keys (self, group, s_parameter_keys);
    if (status == GPB_OK)
        status = s_read_name (self, group, index);
    if (status != GPB_OK)
        return status;
    parameter->name = kernel->names [index];
    parameter->count = "";

    const char *direction, *type;
    if ((status = s_string (self, group, "direction", "", &direction)) != GPB_OK
        || (status = s_string (self, group, "type", "", &type)) != GPB_OK)
        return status;
    while (parameter->direction <= GPB_SCALAR
           && strcmp (gpb_direction_name (parameter->direction), direction) != 0)
        parameter->direction++;
    if (parameter->direction > GPB_SCALAR) {
        const config_setting_t *setting = config_setting_get_member (group, "direction");
        return s_refuse (
            self, setting ? setting : group,
            "direction of \"%s\" is in, out, inout or scalar, and here it is \"%.64s\"",
            parameter->name, direction);
    }
    while (parameter->type <= GPB_F64 && strcmp (gpb_type_name (parameter->type), type) != 0)
        parameter->type++;
    bool wide = parameter->type == GPB_F32 || parameter->type == GPB_F64
                || (parameter->type >= GPB_I32 && parameter->type <= GPB_U64);
    if (parameter->type > GPB_F64 || (parameter->direction == GPB_SCALAR && !wide)) {
        const config_setting_t *setting = config_setting_get_member (group, "type");
        return s_refuse (self, setting ? setting : group,
                         "type of \"%s\" is %s, and here it is \"%.64s\"", parameter->name,
                         parameter->direction == GPB_SCALAR
                             ? "i32, u32, i64, u64, f32 or f64"
                             : "i8, u8, i16, u16, i32, u32, i64, u64, f16, f32 or f64",
                         type);
    }
    status = s_read_alignment (self, group, parameter);
    return status == GPB_OK ? s_read_bounds (self, group, index) : status;
}

static gpb_status_t
s_read_parameters (reader_t *self, const config_setting_t *root)
{
    const config_setting_t *list = config_setting_get_member (root, "parameters");
    int count = list ? config_setting_length (list) : 0;
    if (count < 1 || count > GPB_KERNEL_PARAMETERS_MAX)
        return s_refuse (self, list ? list : root,
                         "parameters is a list of 1 to %d, and there are %d",
                         GPB_KERNEL_PARAMETERS_MAX, count);
    for (unsigned index = 0; index < (unsigned)count; index++) {
        gpb_status_t status = s_read_parameter (self, config_setting_get_elem (list, index), index);
        if (status != GPB_OK)
            return status;
        self->kernel->parameters_count++;
    }
    return GPB_OK;
}

static gpb_status_t
s_read_counts (reader_t *self, const config_setting_t *root)
{
    gpb_kernel_t *kernel = self->kernel;
    const config_setting_t *list = config_setting_get_member (root, "parameters");
    for (unsigned index = 0; index < kernel->parameters_count; index++) {
        gpb_parameter_t *parameter = &kernel->parameters [index];
        const config_setting_t *group = config_setting_get_elem (list, index);
        const config_setting_t *setting = config_setting_get_member (group, "count");
        if (parameter->direction == GPB_SCALAR) {
            if (setting)
                return s_refuse (self, setting, "count is for memory, and \"%s\" is a scalar",
                                 parameter->name);
            continue;
        }
        if (!setting)
            return s_refuse (self, group,
                             "\"%s\" has no count: how many elements of %s it has, an expression",
                             parameter->name, gpb_type_name (parameter->type));
        gpb_status_t status =
            s_expression (self, setting, "count", kernel->global_free, &kernel->counts [index]);
        if (status != GPB_OK)
            return status;
        parameter->count = gpb_expression_text (kernel->counts [index]);
    }
    return GPB_OK;
}

//  ---------------------------------------------------------------------------------------------------------
//  Work size

//  How many elements an array or list has that holds min to max of them.
static gpb_status_t
s_elements (reader_t *self, const config_setting_t *setting, unsigned min, unsigned max,
            unsigned *count_p)
{
    const char *name = config_setting_name (setting);
    int type = config_setting_type (setting);
    if (type != CONFIG_TYPE_ARRAY && type != CONFIG_TYPE_LIST)
        return s_refuse (self, setting, "%s is an array [ ... ], and here it is %s", name,
                         s_type_words (type));
    int count = config_setting_length (setting);
    if (count < (int)min || count > (int)max)
        return s_refuse (self, setting, "%s has %u to %u entries, and here it has %d", name, min,
                         max, count);
    *count_p = (unsigned)count;
    return GPB_OK;
}

static gpb_status_t
s_read_global (reader_t *self, const config_setting_t *root)
{
    gpb_kernel_t *kernel = self->kernel;
    const config_setting_t *setting = config_setting_get_member (root, "global");
    if (!setting)
        return s_refuse (self, root,
                         "global is missing: the global size, 1 to 3 expressions [ \"n\" ]");
    kernel->global_free = s_bool (root, "global_free", false);
    gpb_status_t status = s_elements (self, setting, 1, GPB_DIMENSIONS, &kernel->dimensions);
    for (unsigned index = 0; status == GPB_OK && index < kernel->dimensions; index++)
        status = s_expression (self, config_setting_get_elem (setting, index), "global", false,
                               &kernel->global [index]);
    return status;
}

static gpb_status_t
s_read_local (reader_t *self, const config_setting_t *root)
{
    gpb_kernel_t *kernel = self->kernel;
    const config_setting_t *setting = config_setting_get_member (root, "local");
    kernel->local_free = s_bool (root, "local_free", true);
    if (!setting) {
        if (!kernel->local_free)
            return s_refuse (self, config_setting_get_member (root, "local_free"),
                             "local_free = false fixes the local size, and there is no local");
        return GPB_OK;
    }
    unsigned count;
    gpb_status_t status = s_elements (self, setting, 1, GPB_DIMENSIONS, &count);
    if (status != GPB_OK)
        return status;
    if (count != kernel->dimensions)
        return s_refuse (self, setting,
                         "local has %u dimension%s and global %u, and they are as many", count,
                         count == 1 ? "" : "s", kernel->dimensions);
    for (unsigned index = 0; index < GPB_DIMENSIONS; index++) {
        kernel->local [index] = 1;
        if (index >= count)
            continue;
        const config_setting_t *element = config_setting_get_elem (setting, index);
        int value =
            config_setting_type (element) == CONFIG_TYPE_INT ? config_setting_get_int (element) : 0;
        //  65536 is far beyond any device's work-group; which size fits is the device's to say.
        if (value < 1 || value > 65536)
            return s_refuse (self, setting, "local is of whole numbers from 1 to 65536");
        kernel->local [index] = (uint64_t)value;
    }
    kernel->has_local = true;
    return GPB_OK;
}

static gpb_status_t
s_read_shared (reader_t *self, const config_setting_t *root)
{
    const config_setting_t *setting = config_setting_get_member (root, "shared");
    //  "" is how "none" is written.
    if (!setting
        || (config_setting_type (setting) == CONFIG_TYPE_STRING
            && !*config_setting_get_string (setting)))
        return GPB_OK;
    return s_expression (self, setting, "shared", self->kernel->global_free, &self->kernel->shared);
}

//  ---------------------------------------------------------------------------------------------------------
//  What it is called, what it needs, what it is made of

static gpb_status_t
s_read_require (reader_t *self, const config_setting_t *root)
{
    gpb_kernel_t *kernel = self->kernel;
    const config_setting_t *setting = config_setting_get_member (root, "require");
    if (!setting)
        return GPB_OK;
    unsigned count;
    gpb_status_t status = s_elements (self, setting, 0, GPB_CAPABILITIES_MAX, &count);
    if (status != GPB_OK)
        return status;
    for (unsigned index = 0; index < count; index++) {
        const char *text = config_setting_get_string (config_setting_get_elem (setting, index));
        if (!text || !gpb_kernel_text_made_of (text, GPB_CAPABILITY_SIZE - 1, GPB_TEXT_LOWER "_"))
            return s_refuse (self, setting,
                             "require is of capabilities, \"[a-z0-9_]{1,%d}\": entry %u is not",
                             GPB_CAPABILITY_SIZE - 1, index);
        for (unsigned other = 0; other < index; other++)
            if (strcmp (kernel->require [other], text) == 0)
                return s_refuse (self, setting, "require names \"%s\" twice", text);
        kernel->require [index] = gpb_strdup (text);
        if (!kernel->require [index])
            return s_out_of_memory (self);
    }
    return GPB_OK;
}

static gpb_status_t
s_read_names (reader_t *self, const config_setting_t *root)
{
    gpb_kernel_t *kernel = self->kernel;
    const config_setting_t *setting = config_setting_get_member (root, "id");
    gpb_status_t status = s_copy_string (self, root, "id", "", &kernel->id);
    if (status != GPB_OK)
        return status;
    if (!setting)
        return s_refuse (self, root, "id is missing: [a-z0-9_.-]{1,%d}", GPB_KERNEL_ID_MAX);
    if (!gpb_kernel_id_valid (kernel->id))
        return s_refuse (self, setting, "id is [a-z0-9_.-]{1,%d}, and here it is \"%.80s\"",
                         GPB_KERNEL_ID_MAX, kernel->id);
    status = s_copy_string (self, root, "description", "", &kernel->description);
    if (status == GPB_OK)
        status = s_copy_string (self, root, "entry", kernel->id, &kernel->entry);
    if (status != GPB_OK)
        return status;
    setting = config_setting_get_member (root, "entry");
    if (!gpb_kernel_text_identifier (kernel->entry, NAME_MAX_SIZE))
        return s_refuse (self, setting ? setting : root,
                         "entry, the function's name, is a C identifier of 1 to %d characters, and "
                         "here it is \"%.80s\"%s",
                         NAME_MAX_SIZE, kernel->entry, setting ? "" : ", the id");
    return GPB_OK;
}

static gpb_status_t
s_read_file_name (reader_t *self, const config_setting_t *group, const char *key, gpb_file_t kind)
{
    const config_setting_t *setting = config_setting_get_member (group, key);
    if (!setting)
        return GPB_OK;
    gpb_kernel_file_t *file = &self->kernel->files [kind];
    gpb_status_t status = s_copy_string (self, group, key, "", &file->name);
    if (status != GPB_OK)
        return status;
    file->line = config_setting_source_line (setting);
    size_t size = strlen (file->name);
    const char *ending = gpb_kernel_file_ending (kind);
    if (!gpb_kernel_text_made_of (file->name, 128, GPB_TEXT_LOWER GPB_TEXT_UPPER "_.+-")
        || file->name [0] == '.' || strstr (file->name, ".."))
        return s_refuse (self, setting,
                         "%s is the name of a file beside kernel.conf, [A-Za-z0-9_.+-]{1,128} "
                         "without a folder, and here it is \"%.128s\"",
                         key, file->name);
    if (size <= strlen (ending) || strcmp (file->name + size - strlen (ending), ending) != 0)
        return s_refuse (self, setting, "%s names a file that ends in %s, and here it is \"%s\"",
                         key, ending, file->name);
    return GPB_OK;
}

static gpb_status_t
s_read_files (reader_t *self, const config_setting_t *root)
{
    gpb_status_t status = s_read_file_name (self, root, "source", GPB_FILE_PORTABLE);
    const config_setting_t *group = config_setting_get_member (root, "sources");
    if (status == GPB_OK && group)
        status = s_check_keys (self, group, s_source_keys);
    bool any = self->kernel->files [GPB_FILE_PORTABLE].name != NULL;
    for (gpb_file_t kind = GPB_FILE_CL; status == GPB_OK && group && kind < GPB_FILES; kind++) {
        status = s_read_file_name (self, group, gpb_kernel_file_kind (kind), kind);
        any = any || self->kernel->files [kind].name;
    }
    if (status == GPB_OK && !any)
        status = s_refuse (self, group ? group : root,
                           "there is no source: source = \"x.c\", or "
                           "sources = { cl = \"x.cl\"; cu = \"x.cu\"; ptx = ...; cubin = ...; }");
    return status;
}

static gpb_status_t
s_read_compiler (reader_t *self, const config_setting_t *root)
{
    gpb_kernel_t *kernel = self->kernel;
    const config_setting_t *setting = config_setting_get_member (root, "optimize");
    kernel->optimize = setting ? config_setting_get_int (setting) : 2;
    if (kernel->optimize < 0 || kernel->optimize > 3)
        return s_refuse (self, setting, "optimize is 0 to 3, and here it is %d", kernel->optimize);
    kernel->debug = s_bool (root, "debug", false);
    gpb_status_t status = s_copy_string (self, root, "options", "", &kernel->options);
    if (status == GPB_OK)
        status = s_copy_string (self, root, "arch", "", &kernel->arch);
    if (status == GPB_OK && *kernel->arch
        && !gpb_kernel_text_made_of (kernel->arch, GPB_NAME_SIZE - 1,
                                     GPB_TEXT_LOWER GPB_TEXT_UPPER "_.+-"))
        status = s_refuse (self, config_setting_get_member (root, "arch"),
                           "arch is [A-Za-z0-9_.+-]{1,%d}, and here it is \"%.128s\"",
                           GPB_NAME_SIZE - 1, kernel->arch);
    return status;
}

gpb_status_t
gpb_kernel_read_definition (gpb_kernel_t *kernel, const char *text, const char *file,
                            gpb_error_t *error)
{
    gpb_status_t status = gpb_kernel_text_check (text, file, error);
    if (status != GPB_OK)
        return status;
    config_t config;
    config_init (&config);
    reader_t self = { kernel, file, error };
    if (config_read_string (&config, text)) {
        typedef gpb_status_t (read_fn) (reader_t *, const config_setting_t *);
        //  In this order: counts refer to parameters and, where it is free, to the global size.
        static read_fn *const steps [] = {
            s_read_names,  s_read_files,  s_read_parameters, s_read_global,   s_read_local,
            s_read_counts, s_read_shared, s_read_require,    s_read_compiler,
        };
        const config_setting_t *root = config_root_setting (&config);
        status = s_check_keys (&self, root, s_keys);
        for (size_t step = 0; status == GPB_OK && step < sizeof steps / sizeof steps [0]; step++)
            status = steps [step](&self, root);
    }
    else
        status = gpb_error_set (error, GPB_INVALID_ARGUMENT, "%s:%d: %s", file,
                                config_error_line (&config), config_error_text (&config));
    config_destroy (&config);
    return status;
}
