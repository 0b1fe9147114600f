//  gpb_kernel_persistent_definition - reads what a kernel.conf says of a persistent kernel
//
//  First which of the two kinds it is, and whether a key of the other kind stands there: a setting
//  that would mean nothing is refused. Then, with the parameters read as any kernel's are, what a
//  lane is, and what one message.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_alloc.h"
#include "gpb_kernel_reader.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

//  Work-items: far beyond any device's work-group, as for other kernels.
#define LOCAL_MAX 65536

static const struct {
    const char *name;
    const char *instead;
} s_launched_keys [] = {
    { "global", "how many messages it works on at a time is lanes" },
    { "global_free", "how many messages it works on at a time is lanes" },
    { "local_free", "its code is compiled for the local size that is written here" },
    { "shared", "work-items share what they keep in the output and the state" },
    { "sources", "it has one source, which is portable: source = \"x.c\"" },
};

static const char *const s_persistent_keys [] = { "lanes", "slots", "slot_size", "state",
                                                  "devices" };

gpb_status_t
gpb_reader_persistence (gpb_reader_t *self, const config_setting_t *root)
{
    self->kernel->is_persistent = gpb_reader_bool (root, "persistent", false);
    const config_setting_t *setting;
    if (!self->kernel->is_persistent) {
        for (size_t index = 0; index < sizeof s_persistent_keys / sizeof s_persistent_keys [0];
             index++)
            if ((setting = config_setting_get_member (root, s_persistent_keys [index])))
                return gpb_reader_refuse (
                    self, setting,
                    "%s is for persistent kernels, and this one is launched for "
                    "each request: persistent = true is missing",
                    s_persistent_keys [index]);
        return GPB_OK;
    }
    for (size_t index = 0; index < sizeof s_launched_keys / sizeof s_launched_keys [0]; index++)
        if ((setting = config_setting_get_member (root, s_launched_keys [index].name)))
            return gpb_reader_refuse (
                self, setting,
                "%s is for kernels that are launched for each request, and this one "
                "is persistent: %s",
                s_launched_keys [index].name, s_launched_keys [index].instead);
    return GPB_OK;
}

//  The whole number with this key; fallback where it is not there.
static gpb_status_t
s_whole (gpb_reader_t *self, const config_setting_t *group, const char *name, uint64_t min,
         uint64_t max, const char *unit, uint64_t fallback, uint64_t *value_p)
{
    const config_setting_t *setting = config_setting_get_member (group, name);
    *value_p = fallback;
    if (!setting)
        return GPB_OK;
    int type = config_setting_type (setting);
    if (type != CONFIG_TYPE_INT && type != CONFIG_TYPE_INT64)
        return gpb_reader_refuse (self, setting, "%s is a whole number, and here it is %s", name,
                                  gpb_reader_type_words (type));
    int64_t value = type == CONFIG_TYPE_INT ? config_setting_get_int (setting)
                                            : config_setting_get_int64 (setting);
    if (value < (int64_t) min || value > (int64_t) max)
        return gpb_reader_refuse (self, setting,
                                  "%s lies from %" PRIu64 " to %" PRIu64 "%s, and here it is "
                                  "%" PRId64,
                                  name, min, max, unit, value);
    *value_p = (uint64_t) value;
    return GPB_OK;
}

//  ---------------------------------------------------------------------------------------------------------
//  Lanes

static gpb_status_t
s_read_local (gpb_reader_t *self, const config_setting_t *root)
{
    self->kernel->persistent.local = 1;
    const config_setting_t *setting = config_setting_get_member (root, "local");
    if (!setting)
        return GPB_OK;
    unsigned count;
    gpb_status_t status = gpb_reader_elements (self, setting, 1, 1, &count);
    if (status != GPB_OK)
        return status;
    const config_setting_t *element = config_setting_get_elem (setting, 0);
    int value =
        config_setting_type (element) == CONFIG_TYPE_INT ? config_setting_get_int (element) : 0;
    if (value < 1 || value > LOCAL_MAX)
        return gpb_reader_refuse (self, setting,
                                  "local is one whole number from 1 to %d: the "
                                  "work-items of a lane's work-group",
                                  LOCAL_MAX);
    self->kernel->persistent.local = (uint32_t) value;
    return GPB_OK;
}

//  An index may be written as a number.
static gpb_status_t
s_read_device (gpb_reader_t *self, const config_setting_t *setting, unsigned index)
{
    gpb_kernel_t *kernel = self->kernel;
    const config_setting_t *element = config_setting_get_elem (setting, index);
    char number [16] = "";
    if (config_setting_type (element) == CONFIG_TYPE_INT)
        snprintf (number, sizeof number, "%d", config_setting_get_int (element));
    const char *text = number [0] ? number : config_setting_get_string (element);
    if (!text || !gpb_kernel_device_word (text))
        return gpb_reader_refuse (self, setting,
                                  "devices is of \"all\", indices of devices and capabilities, "
                                  "\"[a-z0-9_]{1,%d}\": entry %u is none",
                                  GPB_CAPABILITY_SIZE - 1, index);
    for (unsigned other = 0; other < index; other++)
        if (strcmp (kernel->stays [other], text) == 0)
            return gpb_reader_refuse (self, setting, "devices names \"%s\" twice", text);
    kernel->stays [index] = gpb_strdup (text);
    return kernel->stays [index] ? GPB_OK : gpb_reader_out_of_memory (self);
}

static gpb_status_t
s_read_devices (gpb_reader_t *self, const config_setting_t *root)
{
    const config_setting_t *setting = config_setting_get_member (root, "devices");
    if (!setting) {
        self->kernel->stays [0] = gpb_strdup ("all");
        return self->kernel->stays [0] ? GPB_OK : gpb_reader_out_of_memory (self);
    }
    unsigned count;
    gpb_status_t status =
        gpb_reader_elements (self, setting, 1, GPB_PERSISTENT_DEVICES_MAX, &count);
    for (unsigned index = 0; status == GPB_OK && index < count; index++)
        status = s_read_device (self, setting, index);
    return status;
}

gpb_status_t
gpb_reader_lanes (gpb_reader_t *self, const config_setting_t *root)
{
    gpb_persistent_t *persistent = &self->kernel->persistent;
    uint64_t lanes, slots, slot_size, state;
    gpb_status_t status = s_read_local (self, root);
    if (status == GPB_OK)
        status = s_whole (self, root, "lanes", 1, GPB_PERSISTENT_LANES_MAX, "",
                          GPB_PERSISTENT_LANES, &lanes);
    if (status == GPB_OK)
        status = s_whole (self, root, "slots", GPB_PERSISTENT_SLOTS_MIN, GPB_PERSISTENT_SLOTS_MAX,
                          "", GPB_PERSISTENT_SLOTS, &slots);
    if (status == GPB_OK && (slots & (slots - 1)) != 0)
        status = gpb_reader_refuse (self, config_setting_get_member (root, "slots"),
                                    "slots is a power of two, and here it is %" PRIu64, slots);
    if (status == GPB_OK)
        status =
            s_whole (self, root, "slot_size", GPB_PERSISTENT_SLOT_SIZE_MIN,
                     GPB_PERSISTENT_SLOT_SIZE_MAX, " bytes", GPB_PERSISTENT_SLOT_SIZE, &slot_size);
    if (status == GPB_OK)
        status = s_whole (self, root, "state", 0, GPB_PERSISTENT_STATE_MAX, " bytes", 0, &state);
    if (status != GPB_OK)
        return status;
    persistent->lanes = (uint32_t) lanes;
    persistent->slots = (uint32_t) slots;
    persistent->slot_size = gpb_persistent_slot_size ((uint32_t) slot_size);
    persistent->state_size = state;
    return s_read_devices (self, root);
}

//  ---------------------------------------------------------------------------------------------------------
//  A message

static gpb_status_t
s_check_direction (gpb_reader_t *self, const config_setting_t *list, unsigned index)
{
    const gpb_parameter_t *parameter = &self->kernel->parameters [index];
    const gpb_direction_t direction = index == 0 ? GPB_IN : GPB_OUT;
    if (index < 2 && parameter->direction == direction)
        return GPB_OK;
    const config_setting_t *group = config_setting_get_elem (list, index);
    const config_setting_t *setting = config_setting_get_member (group, "direction");
    return gpb_reader_refuse (
        self, setting ? setting : group,
        "a persistent kernel has one in and, behind it, one out: what a message brings, and what "
        "becomes of it. Parameter %u, \"%s\", is %s%s",
        index, parameter->name, index < 2 ? "" : "one more, ",
        gpb_direction_name (parameter->direction));
}

//  The keys that mean something elsewhere.
static gpb_status_t
s_check_message_keys (gpb_reader_t *self, const config_setting_t *group, unsigned index)
{
    const gpb_parameter_t *parameter = &self->kernel->parameters [index];
    const config_setting_t *setting;
    if ((setting = config_setting_get_member (group, "minimum")))
        return gpb_reader_refuse (self, setting, "minimum is for scalars, and \"%s\" is %s",
                                  parameter->name, gpb_direction_name (parameter->direction));
    if ((setting = config_setting_get_member (group, "zero")))
        return gpb_reader_refuse (
            self, setting,
            "zero is for kernels that are launched for each request, and this one "
            "is persistent: \"%s\" is what its handler writes",
            parameter->name);
    if (parameter->direction == GPB_IN && (setting = config_setting_get_member (group, "count")))
        return gpb_reader_refuse (self, setting,
                                  "\"%s\" has no count of its own, since a message brings as many "
                                  "elements as it likes: maximum bounds them",
                                  parameter->name);
    if (parameter->direction == GPB_OUT && (setting = config_setting_get_member (group, "maximum")))
        return gpb_reader_refuse (
            self, setting,
            "maximum bounds the input, and \"%s\" is the output: its count says "
            "how many elements it has at most",
            parameter->name);
    return GPB_OK;
}

gpb_status_t
gpb_reader_message (gpb_reader_t *self, const config_setting_t *root)
{
    gpb_kernel_t *kernel = self->kernel;
    const config_setting_t *list = config_setting_get_member (root, "parameters");
    gpb_status_t status = GPB_OK;
    if (kernel->parameters_count < 2)
        return gpb_reader_refuse (self, list,
                                  "a persistent kernel has one in and, behind it, one out, and "
                                  "here there is one parameter");
    for (unsigned index = 0; index < kernel->parameters_count && status == GPB_OK; index++)
        status = s_check_direction (self, list, index);
    for (unsigned index = 0; index < 2 && status == GPB_OK; index++)
        status = s_check_message_keys (self, config_setting_get_elem (list, index), index);
    if (status != GPB_OK)
        return status;

    gpb_parameter_t *in = &kernel->parameters [0], *out = &kernel->parameters [1];
    kernel->persistent.element_size = gpb_type_size (in->type);
    in->count = "count";
    status = s_whole (self, config_setting_get_elem (list, 0), "maximum", 1,
                      GPB_PERSISTENT_MESSAGE_MAX / kernel->persistent.element_size, " elements", 0,
                      &kernel->maximum);
    if (status != GPB_OK)
        return status;
    const config_setting_t *group = config_setting_get_elem (list, 1);
    const config_setting_t *setting = config_setting_get_member (group, "count");
    if (!setting)
        return gpb_reader_refuse (self, group,
                                  "\"%s\" has no count: how many elements of %s it has at most, an "
                                  "expression of count, the elements of the input",
                                  out->name, gpb_type_name (out->type));
    status = gpb_reader_expression (self, setting, "count", false, &kernel->counts [1]);
    if (status != GPB_OK)
        return status;
    out->count = gpb_expression_text (kernel->counts [1]);
    gpb_error_t reason;
    status = gpb_kernel_persistent_measure (kernel, &reason);
    return status == GPB_OK ? GPB_OK : gpb_reader_refuse (self, setting, "%s", reason.text);
}
