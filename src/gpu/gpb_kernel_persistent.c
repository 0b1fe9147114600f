//  gpb_kernel_persistent - what a persistent kernel's definition says, and a message held against
//  it
//
//  The settings come from kernel.conf (gpb_kernel_persistent_definition.c); a node's configuration
//  may put others in the place of some before anybody uses them. A message is then checked in a few
//  comparisons and one expression: that is all that stands between a request and its slot.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_alloc.h"
#include "gpb_kernel_private.h"
#include "gpb_kernel_text.h"
#include "gpb_programs.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

//  Bytes: a message and the 32 bytes before it take whole pairs of cache lines (gpb_lane.h).
#define SLOT_HEADER 32
#define SLOT_UNIT 128

const gpb_persistent_t *
gpb_kernel_persistent (const gpb_kernel_t *self)
{
    return self->is_persistent ? &self->persistent : NULL;
}

const char *
gpb_kernel_persistent_device (const gpb_kernel_t *self, size_t index)
{
    return index < GPB_PERSISTENT_DEVICES_MAX ? self->stays [index] : NULL;
}

static bool
s_is_index (const char *word)
{
    return word [strspn (word, "0123456789")] == 0;
}

bool
gpb_kernel_device_word (const char *text)
{
    //  Nine digits are within 32 bits, and within what strtoul gives.
    return gpb_kernel_text_made_of (text, GPB_CAPABILITY_SIZE - 1, GPB_TEXT_LOWER "_")
           && !(s_is_index (text) && strlen (text) > 9);
}

bool
gpb_kernel_persistent_on (const gpb_kernel_t *self, unsigned index, const gpb_device_info_t *info)
{
    if (!self->is_persistent)
        return false;
    for (size_t at = 0; self->stays [at]; at++) {
        const char *word = self->stays [at];
        if (strcmp (word, "all") == 0
            || (s_is_index (word) ? strtoul (word, NULL, 10) == index
                                  : gpb_device_has (info, word)))
            return true;
    }
    return false;
}

//  ---------------------------------------------------------------------------------------------------------
//  Settings

uint32_t
gpb_persistent_slot_size (uint32_t size)
{
    return (size + SLOT_HEADER + SLOT_UNIT - 1) / SLOT_UNIT * SLOT_UNIT - SLOT_HEADER;
}

//  Bytes that the output of this many elements may have.
static gpb_status_t
s_output_size (const gpb_kernel_t *self, uint64_t count, uint64_t *size_p, gpb_error_t *error)
{
    const gpb_parameter_t *out = &self->parameters [1];
    const uint64_t type_size = gpb_type_size (out->type);
    uint64_t elements;
    gpb_error_t reason;
    if (gpb_expression_value (self->counts [1], &count, &elements, &reason) != GPB_OK)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "count of \"%s\" for %" PRIu64 " elements of input: %s", out->name,
                              count, reason.text);
    if (elements > GPB_PERSISTENT_MESSAGE_MAX / type_size)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "\"%s\" has %" PRIu64 " elements of %s for %" PRIu64 " of input, and "
                              "at most %" PRIu64 ", %d bytes, are possible",
                              out->name, elements, gpb_type_name (out->type), count,
                              GPB_PERSISTENT_MESSAGE_MAX / type_size, GPB_PERSISTENT_MESSAGE_MAX);
    *size_p = elements * type_size;
    return GPB_OK;
}

gpb_status_t
gpb_kernel_persistent_measure (gpb_kernel_t *self, gpb_error_t *error)
{
    gpb_persistent_t *persistent = &self->persistent;
    const uint64_t maximum =
        self->maximum ? self->maximum : persistent->slot_size / persistent->element_size;
    persistent->input_max = maximum * persistent->element_size;
    gpb_status_t status = s_output_size (self, maximum, &persistent->output_max, error);
    if (status == GPB_OK && persistent->output_max == 0)
        status = gpb_error_set (error, GPB_INVALID_ARGUMENT,
                                "\"%s\" has no element even for the largest input, of %" PRIu64,
                                self->parameters [1].name, maximum);
    return status;
}

static gpb_status_t
s_number (const char *name, const char *value, uint32_t min, uint32_t max, uint32_t *number_p,
          gpb_error_t *error)
{
    const size_t size = strlen (value);
    unsigned long number = 0;
    if (size >= 1 && size <= 9 && s_is_index (value))
        number = strtoul (value, NULL, 10);
    if (number < min || number > max)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "%s is a whole number from %" PRIu32 " to %" PRIu32
                              ", and here it is \"%.64s\"",
                              name, min, max, value);
    *number_p = (uint32_t) number;
    return GPB_OK;
}

static gpb_status_t
s_set_lanes (gpb_kernel_t *self, const char *value, gpb_error_t *error)
{
    return s_number ("lanes", value, 1, GPB_PERSISTENT_LANES_MAX, &self->persistent.lanes, error);
}

static gpb_status_t
s_set_slots (gpb_kernel_t *self, const char *value, gpb_error_t *error)
{
    uint32_t slots;
    gpb_status_t status = s_number ("slots", value, GPB_PERSISTENT_SLOTS_MIN,
                                    GPB_PERSISTENT_SLOTS_MAX, &slots, error);
    if (status != GPB_OK)
        return status;
    if (slots & (slots - 1))
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "slots is a power of two, and here it is %" PRIu32, slots);
    self->persistent.slots = slots;
    return GPB_OK;
}

static gpb_status_t
s_set_slot_size (gpb_kernel_t *self, const char *value, gpb_error_t *error)
{
    uint32_t slot_size;
    gpb_status_t status = s_number ("slot_size", value, GPB_PERSISTENT_SLOT_SIZE_MIN,
                                    GPB_PERSISTENT_SLOT_SIZE_MAX, &slot_size, error);
    if (status != GPB_OK)
        return status;
    const gpb_persistent_t before = self->persistent;
    self->persistent.slot_size = gpb_persistent_slot_size (slot_size);
    status = gpb_kernel_persistent_measure (self, error);
    if (status != GPB_OK)
        self->persistent = before;
    return status;
}

//  All of them, or none.
static gpb_status_t
s_set_devices (gpb_kernel_t *self, const char *value, gpb_error_t *error)
{
    char *words [GPB_PERSISTENT_DEVICES_MAX + 1] = { NULL };
    gpb_status_t status = GPB_OK;
    for (size_t count = 0; status == GPB_OK; count++) {
        const size_t size = strcspn (value, "|");
        char word [GPB_CAPABILITY_SIZE] = "";
        if (size < sizeof word)
            memcpy (word, value, size);
        if (count == GPB_PERSISTENT_DEVICES_MAX)
            status = gpb_error_set (error, GPB_INVALID_ARGUMENT,
                                    "devices has at most %d words, and here there are more",
                                    GPB_PERSISTENT_DEVICES_MAX);
        else if (!gpb_kernel_device_word (word))
            status = gpb_error_set (error, GPB_INVALID_ARGUMENT,
                                    "devices is of \"all\", indices of devices and capabilities "
                                    "with a | between them, and here one is \"%.*s\"",
                                    (int) (size < 64 ? size : 64), value);
        else if (!(words [count] = gpb_strdup (word)))
            status = gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "out of memory");
        if (!value [size])
            break;
        value += size + 1;
    }
    char **old = status == GPB_OK ? self->stays : words;
    for (size_t index = 0; old [index]; index++)
        gpb_free (old [index]);
    if (status == GPB_OK)
        memcpy (self->stays, words, sizeof words);
    return status;
}

gpb_status_t
gpb_kernel_persistent_set (gpb_kernel_t *self, const char *name, const char *value,
                           gpb_error_t *error)
{
    static const struct {
        const char *name;
        gpb_status_t (*set) (gpb_kernel_t *, const char *, gpb_error_t *);
    } settings [] = {
        { "lanes", s_set_lanes },
        { "slots", s_set_slots },
        { "slot_size", s_set_slot_size },
        { "devices", s_set_devices },
    };
    if (!self->is_persistent)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "kernel \"%s\": it is not persistent, and has no %.64s", self->id,
                              name);
    for (size_t index = 0; index < sizeof settings / sizeof settings [0]; index++)
        if (strcmp (settings [index].name, name) == 0) {
            gpb_error_t reason;
            gpb_status_t status = settings [index].set (self, value, &reason);
            return status == GPB_OK
                       ? GPB_OK
                       : gpb_error_set (error, status, "kernel \"%s\": %s", self->id, reason.text);
        }
    return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                          "kernel \"%s\": there is no setting \"%.64s\"; the settings are lanes, "
                          "slots, slot_size and devices",
                          self->id, name);
}

//  ---------------------------------------------------------------------------------------------------------
//  A message

//  What a message has not: a launch of its own.
static gpb_status_t
s_check_call (const gpb_kernel_t *self, const gpb_kernel_call_t *call, gpb_error_t *error)
{
    const char *what = call->dimensions         ? "global size"
                       : call->local_dimensions ? "local size"
                       : call->has_shared       ? "dynamic local memory"
                                                : NULL;
    if (what)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "kernel \"%s\": is persistent, and a message has no %s of its own",
                              self->id, what);
    if (call->values_count != 2)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "kernel \"%s\": takes 2 arguments, the payload %s and the output %s, "
                              "and %zu were given",
                              self->id, self->parameters [0].name, self->parameters [1].name,
                              call->values_count);
    for (size_t index = 0; index < 2; index++)
        if (call->values [index].kind != (index == 0 ? GPB_VALUE_PAYLOAD : GPB_VALUE_OUTPUT))
            return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                                  "kernel \"%s\": argument %zu, %s: is %s, and %s was given",
                                  self->id, index, self->parameters [index].name,
                                  gpb_value_kind_words (index == 0 ? GPB_VALUE_PAYLOAD
                                                                   : GPB_VALUE_OUTPUT),
                                  gpb_value_kind_words (call->values [index].kind));
    return GPB_OK;
}

gpb_status_t
gpb_kernel_plan_message (const gpb_kernel_t *self, const gpb_kernel_call_t *call,
                         uint64_t *output_size_p, gpb_error_t *error)
{
    if (!self->is_persistent)
        return gpb_error_set (error, GPB_FAILED_PRECONDITION,
                              "kernel \"%s\": it is not persistent, and takes no messages",
                              self->id);
    gpb_status_t status = s_check_call (self, call, error);
    if (status != GPB_OK)
        return status;
    const gpb_persistent_t *persistent = &self->persistent;
    const gpb_parameter_t *in = &self->parameters [0], *out = &self->parameters [1];
    const uint64_t size = call->values [0].size, wanted = call->values [1].size;
    if (size % persistent->element_size)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "kernel \"%s\": argument 0, %s: is of whole elements of %s, %" PRIu64
                              " bytes, and %" PRIu64 " bytes were given",
                              self->id, in->name, gpb_type_name (in->type),
                              persistent->element_size, size);
    if (size > persistent->input_max)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "kernel \"%s\": argument 0, %s: has at most %" PRIu64
                              " elements of %s, %" PRIu64 " bytes, and %" PRIu64
                              " bytes were given",
                              self->id, in->name, persistent->input_max / persistent->element_size,
                              gpb_type_name (in->type), persistent->input_max, size);
    gpb_error_t reason;
    status = s_output_size (self, size / persistent->element_size, output_size_p, &reason);
    if (status != GPB_OK)
        return gpb_error_set (error, status, "kernel \"%s\": argument 1: %s", self->id,
                              reason.text);
    if (wanted && wanted < *output_size_p)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "kernel \"%s\": argument 1, %s: may have %" PRIu64
                              " bytes (%s of %s), "
                              "and an output of %" PRIu64 " was given",
                              self->id, out->name, *output_size_p, out->count,
                              gpb_type_name (out->type), wanted);
    return GPB_OK;
}
