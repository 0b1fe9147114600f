//  gpb_persistent - the configuration's word on persistent kernels
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_persistent.h"

#include <stdio.h>
#include <string.h>

#define EXPECTED                                                                                   \
    "NAME:SETTING=VALUE,... for each kernel, once, with lanes, slots, slot_size and "              \
    "devices=all or INDEX|CAPABILITY|..."

#define NAME_MAX 64
#define VALUE_MAX 512

//  One setting of one kernel, taken out of the text.
typedef struct {
    char kernel [NAME_MAX + 1];
    char name [NAME_MAX + 1];
    char value [VALUE_MAX + 1];
} s_setting_t;

//  Up to one of the signs in `ends`; what stands there is copied.
static bool
s_take (const char **at_p, const char *ends, char *text, size_t max)
{
    size_t size = strcspn (*at_p, ends);
    if (size == 0 || size > max)
        return false;
    memcpy (text, *at_p, size);
    text [size] = 0;
    *at_p += size;
    return true;
}

//  The next setting; *at_p is at its start, or behind a ',' of the same kernel. False where the
//  text is over, or is wrong there: then *at_p is not at its end.
static bool
s_next (const char **at_p, s_setting_t *setting)
{
    const char *at = *at_p;
    if (*at == ',')
        at++;
    else {
        at += strspn (at, " ");
        if (!s_take (&at, ":, =", setting->kernel, NAME_MAX) || *at++ != ':')
            return false;
    }
    if (!s_take (&at, ":, =", setting->name, NAME_MAX) || *at++ != '='
        || !s_take (&at, ":, =", setting->value, VALUE_MAX))
        return false;
    if (*at == ' ')
        at += strspn (at, " ");
    else if (*at && *at != ',')
        return false;
    *at_p = at;
    return true;
}

const char *
gpb_persistent_check (const char *text)
{
    static const char *const names [] = { "lanes", "slots", "slot_size", "devices" };
    s_setting_t setting;
    const char *at = text + strspn (text, " ");
    while (*at) {
        if (!s_next (&at, &setting))
            return EXPECTED;
        bool is_known = false;
        for (size_t index = 0; index < sizeof names / sizeof names [0]; index++)
            is_known = is_known || strcmp (setting.name, names [index]) == 0;
        if (!is_known)
            return EXPECTED;
    }
    return NULL;
}

gpb_status_t
gpb_persistent_configure (gpb_kernel_t *kernel, const gpb_config_t *config, gpb_error_t *error)
{
    s_setting_t setting;
    const char *at = gpb_config_string (config, "persistent");
    gpb_status_t status = GPB_OK;
    at += strspn (at, " ");
    while (*at && status == GPB_OK && s_next (&at, &setting))
        if (strcmp (setting.kernel, gpb_kernel_id (kernel)) == 0)
            status = gpb_kernel_persistent_set (kernel, setting.name, setting.value, error);
    return status;
}

gpb_status_t
gpb_persistent_configure_all (gpb_kernels_t *kernels, const gpb_config_t *config,
                              gpb_error_t *error)
{
    s_setting_t setting;
    const char *at = gpb_config_string (config, "persistent");
    gpb_status_t status = GPB_OK;
    at += strspn (at, " ");
    while (*at && status == GPB_OK && s_next (&at, &setting)) {
        const gpb_kernel_t *kernel = gpb_kernels_lookup (kernels, setting.kernel);
        if (kernel && gpb_kernel_persistent (kernel))
            status = gpb_kernel_persistent_set ((gpb_kernel_t *) kernel, setting.name,
                                                setting.value, error);
        else
            status = gpb_error_set (error, GPB_INVALID_ARGUMENT,
                                    "persistent = %s:%s=%s: there is no persistent kernel %s",
                                    setting.kernel, setting.name, setting.value, setting.kernel);
    }
    return status;
}
