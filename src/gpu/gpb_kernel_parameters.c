//  gpb_kernel_parameters - reads the parameters of a kernel.conf
//
//  A parameter's name, direction, type, alignment and bounds first, for all of them; then the
//  counts, since a count may refer to a scalar further down.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_alloc.h"
#include "gpb_kernel_reader.h"
#include "gpb_kernel_text.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static const gpb_reader_key_t s_parameter_keys [] = {
    { "name", CONFIG_TYPE_STRING },
    { "direction", CONFIG_TYPE_STRING },
    { "type", CONFIG_TYPE_STRING },
    { "count", GPB_READER_SEVERAL },
    { "alignment", CONFIG_TYPE_INT },
    { "minimum", GPB_READER_SEVERAL },
    { "maximum", GPB_READER_SEVERAL },
    { "zero", CONFIG_TYPE_BOOL },
    { NULL, 0 },
};

static gpb_status_t
s_bound (gpb_reader_t *self, const config_setting_t *group, const char *name, size_t index,
         gpb_bound_t *bound)
{
    const gpb_parameter_t *parameter = &self->kernel->parameters [index];
    const config_setting_t *setting = config_setting_get_member (group, name);
    if (!setting)
        return GPB_OK;
    if (parameter->direction != GPB_SCALAR)
        return gpb_reader_refuse (self, setting, "%s is for scalars, and \"%s\" is %s", name,
                                  parameter->name, gpb_direction_name (parameter->direction));
    bound->given = true;
    int type = config_setting_type (setting);
    if (parameter->type == GPB_F32 || parameter->type == GPB_F64) {
        if (type == CONFIG_TYPE_FLOAT)
            bound->fraction = config_setting_get_float (setting);
        else if (type == CONFIG_TYPE_INT)
            bound->fraction = config_setting_get_int (setting);
        else if (type == CONFIG_TYPE_INT64)
            bound->fraction = (double) config_setting_get_int64 (setting);
        else
            return gpb_reader_refuse (self, setting, "%s is a number, and here it is %s", name,
                                      gpb_reader_type_words (type));
        if (!isfinite (bound->fraction))
            return gpb_reader_refuse (self, setting, "%s is finite", name);
        return GPB_OK;
    }
    if (type != CONFIG_TYPE_INT && type != CONFIG_TYPE_INT64)
        return gpb_reader_refuse (self, setting, "%s of a %s is a whole number, and here it is %s",
                                  name, gpb_type_name (parameter->type),
                                  gpb_reader_type_words (type));
    bound->whole = type == CONFIG_TYPE_INT ? config_setting_get_int (setting)
                                           : config_setting_get_int64 (setting);
    int64_t least = parameter->type == GPB_I32   ? INT32_MIN
                    : parameter->type == GPB_I64 ? INT64_MIN
                                                 : 0;
    int64_t most = parameter->type == GPB_I32   ? INT32_MAX
                   : parameter->type == GPB_U32 ? UINT32_MAX
                                                : INT64_MAX;
    if (bound->whole < least || bound->whole > most)
        return gpb_reader_refuse (self, setting,
                                  "%s of a %s lies from %" PRId64 " to %" PRId64
                                  ", and here it is %" PRId64,
                                  name, gpb_type_name (parameter->type), least, most, bound->whole);
    return GPB_OK;
}

static gpb_status_t
s_read_bounds (gpb_reader_t *self, const config_setting_t *group, size_t index)
{
    gpb_bound_t *minimum = &self->kernel->minimums [index];
    gpb_bound_t *maximum = &self->kernel->maximums [index];
    gpb_status_t status = s_bound (self, group, "minimum", index, minimum);
    if (status == GPB_OK)
        status = s_bound (self, group, "maximum", index, maximum);
    if (status == GPB_OK && minimum->given && maximum->given
        && (minimum->whole > maximum->whole || minimum->fraction > maximum->fraction))
        status = gpb_reader_refuse (self, config_setting_get_member (group, "maximum"),
                                    "maximum of \"%s\" is below its minimum",
                                    self->kernel->parameters [index].name);
    return status;
}

static gpb_status_t
s_read_alignment (gpb_reader_t *self, const config_setting_t *group, gpb_parameter_t *parameter)
{
    const config_setting_t *setting = config_setting_get_member (group, "alignment");
    uint32_t type_size = (uint32_t) gpb_type_size (parameter->type);
    if (parameter->direction == GPB_SCALAR)
        return setting ? gpb_reader_refuse (self, setting,
                                            "alignment is for memory, and \"%s\" is a scalar",
                                            parameter->name)
                       : GPB_OK;
    int alignment = setting ? config_setting_get_int (setting) : (int) type_size;
    const int most = self->kernel->is_persistent ? GPB_PERSISTENT_ALIGNMENT : GPB_MEMORY_ALIGNMENT;
    if (alignment < (int) type_size || alignment > most || (alignment & (alignment - 1)) != 0)
        return gpb_reader_refuse (
            self, setting,
            "alignment of %s is a power of two from %u to %d bytes, and here it is %d",
            gpb_type_name (parameter->type), type_size, most, alignment);
    parameter->alignment = (uint32_t) alignment;
    return GPB_OK;
}

static gpb_status_t
s_read_zero (gpb_reader_t *self, const config_setting_t *group, gpb_parameter_t *parameter)
{
    const config_setting_t *setting = config_setting_get_member (group, "zero");
    if (setting && parameter->direction != GPB_OUT)
        return gpb_reader_refuse (self, setting, "zero is for out parameters, and \"%s\" is %s",
                                  parameter->name, gpb_direction_name (parameter->direction));
    parameter->zero = gpb_reader_bool (group, "zero", false);
    return GPB_OK;
}

static gpb_status_t
s_read_name (gpb_reader_t *self, const config_setting_t *group, size_t index)
{
    const char *name;
    gpb_status_t status = gpb_reader_string (self, group, "name", "", &name);
    if (status != GPB_OK)
        return status;
    const config_setting_t *setting = config_setting_get_member (group, "name");
    setting = setting ? setting : group;
    if (!gpb_kernel_text_identifier (name, GPB_READER_NAME_MAX))
        return gpb_reader_refuse (
            self, setting,
            "the name of parameter %zu is a C identifier of 1 to %d characters, and "
            "here it is \"%.64s\"",
            index, GPB_READER_NAME_MAX, name);
    if (gpb_expression_reserved (name) || strncmp (name, "global_size_", 12) == 0
        || (self->kernel->is_persistent && strcmp (name, "count") == 0))
        return gpb_reader_refuse (self, setting, "\"%s\" means something else in expressions",
                                  name);
    for (size_t other = 0; other < index; other++)
        if (strcmp (self->kernel->names [other], name) == 0)
            return gpb_reader_refuse (self, setting, "there are two parameters \"%s\", %zu and %zu",
                                      name, other, index);
    self->kernel->names [index] = gpb_strdup (name);
    return self->kernel->names [index] ? GPB_OK : gpb_reader_out_of_memory (self);
}

//  All but the count, which may refer to parameters further down.
static gpb_status_t
s_read_parameter (gpb_reader_t *self, const config_setting_t *group, size_t index)
{
    gpb_kernel_t *kernel = self->kernel;
    gpb_parameter_t *parameter = &kernel->parameters [index];
    if (config_setting_type (group) != CONFIG_TYPE_GROUP)
        return gpb_reader_refuse (self, group,
                                  "parameter %zu is a group { ... }, and here it is %s", index,
                                  gpb_reader_type_words (config_setting_type (group)));
    gpb_status_t status = gpb_reader_check_keys (self, group, s_parameter_keys);
    if (status == GPB_OK)
        status = s_read_name (self, group, index);
    if (status != GPB_OK)
        return status;
    parameter->name = kernel->names [index];
    parameter->count = "";

    const char *direction, *type;
    if ((status = gpb_reader_string (self, group, "direction", "", &direction)) != GPB_OK
        || (status = gpb_reader_string (self, group, "type", "", &type)) != GPB_OK)
        return status;
    while (parameter->direction <= GPB_SCALAR
           && strcmp (gpb_direction_name (parameter->direction), direction) != 0)
        parameter->direction++;
    if (parameter->direction > GPB_SCALAR) {
        const config_setting_t *setting = config_setting_get_member (group, "direction");
        return gpb_reader_refuse (
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
        return gpb_reader_refuse (self, setting ? setting : group,
                                  "type of \"%s\" is %s, and here it is \"%.64s\"", parameter->name,
                                  parameter->direction == GPB_SCALAR
                                      ? "i32, u32, i64, u64, f32 or f64"
                                      : "i8, u8, i16, u16, i32, u32, i64, u64, f16, f32 or f64",
                                  type);
    }
    status = s_read_alignment (self, group, parameter);
    if (status == GPB_OK)
        status = s_read_zero (self, group, parameter);
    //  A message's bounds are no scalar's: gpb_reader_message reads them.
    return status == GPB_OK && !kernel->is_persistent ? s_read_bounds (self, group, index) : status;
}

gpb_status_t
gpb_reader_parameters (gpb_reader_t *self, const config_setting_t *root)
{
    const config_setting_t *list = config_setting_get_member (root, "parameters");
    int count = list ? config_setting_length (list) : 0;
    if (count < 1 || count > GPB_KERNEL_PARAMETERS_MAX)
        return gpb_reader_refuse (self, list ? list : root,
                                  "parameters is a list of 1 to %d, and there are %d",
                                  GPB_KERNEL_PARAMETERS_MAX, count);
    for (unsigned index = 0; index < (unsigned) count; index++) {
        gpb_status_t status = s_read_parameter (self, config_setting_get_elem (list, index), index);
        if (status != GPB_OK)
            return status;
        self->kernel->parameters_count++;
    }
    return GPB_OK;
}

gpb_status_t
gpb_reader_counts (gpb_reader_t *self, const config_setting_t *root)
{
    gpb_kernel_t *kernel = self->kernel;
    const config_setting_t *list = config_setting_get_member (root, "parameters");
    for (unsigned index = 0; index < kernel->parameters_count; index++) {
        gpb_parameter_t *parameter = &kernel->parameters [index];
        const config_setting_t *group = config_setting_get_elem (list, index);
        const config_setting_t *setting = config_setting_get_member (group, "count");
        if (parameter->direction == GPB_SCALAR) {
            if (setting)
                return gpb_reader_refuse (self, setting,
                                          "count is for memory, and \"%s\" is a scalar",
                                          parameter->name);
            continue;
        }
        if (!setting)
            return gpb_reader_refuse (
                self, group, "\"%s\" has no count: how many elements of %s it has, an expression",
                parameter->name, gpb_type_name (parameter->type));
        gpb_status_t status = gpb_reader_expression (self, setting, "count", kernel->global_free,
                                                     &kernel->counts [index]);
        if (status != GPB_OK)
            return status;
        parameter->count = gpb_expression_text (kernel->counts [index]);
    }
    return GPB_OK;
}
