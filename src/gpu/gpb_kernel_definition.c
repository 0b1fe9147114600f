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
#include "gpb_kernel_reader.h"
#include "gpb_kernel_text.h"

#include <stdio.h>
#include <string.h>

static const gpb_reader_key_t s_keys [] = {
    { "id", CONFIG_TYPE_STRING },
    { "description", CONFIG_TYPE_STRING },
    { "entry", CONFIG_TYPE_STRING },
    { "source", CONFIG_TYPE_STRING },
    { "sources", CONFIG_TYPE_GROUP },
    { "parameters", CONFIG_TYPE_LIST },
    { "global", GPB_READER_SEVERAL },
    { "global_free", CONFIG_TYPE_BOOL },
    { "local", GPB_READER_SEVERAL },
    { "local_free", CONFIG_TYPE_BOOL },
    { "shared", GPB_READER_SEVERAL },
    { "require", GPB_READER_SEVERAL },
    { "optimize", CONFIG_TYPE_INT },
    { "debug", CONFIG_TYPE_BOOL },
    { "options", CONFIG_TYPE_STRING },
    { "arch", CONFIG_TYPE_STRING },
    { "persistent", CONFIG_TYPE_BOOL },
    { "lanes", GPB_READER_SEVERAL },
    { "slots", GPB_READER_SEVERAL },
    { "slot_size", GPB_READER_SEVERAL },
    { "state", GPB_READER_SEVERAL },
    { "devices", GPB_READER_SEVERAL },
    { NULL, 0 },
};

static const gpb_reader_key_t s_source_keys [] = {
    { "cl", CONFIG_TYPE_STRING },    { "cu", CONFIG_TYPE_STRING },
    { "ptx", CONFIG_TYPE_STRING },   { "fatbin", CONFIG_TYPE_STRING },
    { "cubin", CONFIG_TYPE_STRING }, { NULL, 0 },
};

//  ---------------------------------------------------------------------------------------------------------
//  Work size

static gpb_status_t
s_read_global (gpb_reader_t *self, const config_setting_t *root)
{
    gpb_kernel_t *kernel = self->kernel;
    const config_setting_t *setting = config_setting_get_member (root, "global");
    if (!setting)
        return gpb_reader_refuse (
            self, root, "global is missing: the global size, 1 to 3 expressions [ \"n\" ]");
    kernel->global_free = gpb_reader_bool (root, "global_free", false);
    gpb_status_t status =
        gpb_reader_elements (self, setting, 1, GPB_DIMENSIONS, &kernel->dimensions);
    for (unsigned index = 0; status == GPB_OK && index < kernel->dimensions; index++)
        status = gpb_reader_expression (self, config_setting_get_elem (setting, index), "global",
                                        false, &kernel->global [index]);
    return status;
}

static gpb_status_t
s_read_local (gpb_reader_t *self, const config_setting_t *root)
{
    gpb_kernel_t *kernel = self->kernel;
    const config_setting_t *setting = config_setting_get_member (root, "local");
    kernel->local_free = gpb_reader_bool (root, "local_free", true);
    if (!setting) {
        if (!kernel->local_free)
            return gpb_reader_refuse (
                self, config_setting_get_member (root, "local_free"),
                "local_free = false fixes the local size, and there is no local");
        return GPB_OK;
    }
    unsigned count;
    gpb_status_t status = gpb_reader_elements (self, setting, 1, GPB_DIMENSIONS, &count);
    if (status != GPB_OK)
        return status;
    if (count != kernel->dimensions)
        return gpb_reader_refuse (self, setting,
                                  "local has %u dimension%s and global %u, and they are as many",
                                  count, count == 1 ? "" : "s", kernel->dimensions);
    for (unsigned index = 0; index < GPB_DIMENSIONS; index++) {
        kernel->local [index] = 1;
        if (index >= count)
            continue;
        const config_setting_t *element = config_setting_get_elem (setting, index);
        int value =
            config_setting_type (element) == CONFIG_TYPE_INT ? config_setting_get_int (element) : 0;
        //  65536 is far beyond any device's work-group; which size fits is the device's to say.
        if (value < 1 || value > 65536)
            return gpb_reader_refuse (self, setting, "local is of whole numbers from 1 to 65536");
        kernel->local [index] = (uint64_t) value;
    }
    kernel->has_local = true;
    return GPB_OK;
}

static gpb_status_t
s_read_shared (gpb_reader_t *self, const config_setting_t *root)
{
    const config_setting_t *setting = config_setting_get_member (root, "shared");
    //  "" is how "none" is written.
    if (!setting
        || (config_setting_type (setting) == CONFIG_TYPE_STRING
            && !*config_setting_get_string (setting)))
        return GPB_OK;
    return gpb_reader_expression (self, setting, "shared", self->kernel->global_free,
                                  &self->kernel->shared);
}

//  ---------------------------------------------------------------------------------------------------------
//  What it is called, what it needs, what it is made of

static gpb_status_t
s_read_require (gpb_reader_t *self, const config_setting_t *root)
{
    gpb_kernel_t *kernel = self->kernel;
    const config_setting_t *setting = config_setting_get_member (root, "require");
    if (!setting)
        return GPB_OK;
    unsigned count;
    gpb_status_t status = gpb_reader_elements (self, setting, 0, GPB_CAPABILITIES_MAX, &count);
    if (status != GPB_OK)
        return status;
    for (unsigned index = 0; index < count; index++) {
        const char *text = config_setting_get_string (config_setting_get_elem (setting, index));
        if (!text || !gpb_kernel_text_made_of (text, GPB_CAPABILITY_SIZE - 1, GPB_TEXT_LOWER "_"))
            return gpb_reader_refuse (
                self, setting, "require is of capabilities, \"[a-z0-9_]{1,%d}\": entry %u is not",
                GPB_CAPABILITY_SIZE - 1, index);
        for (unsigned other = 0; other < index; other++)
            if (strcmp (kernel->require [other], text) == 0)
                return gpb_reader_refuse (self, setting, "require names \"%s\" twice", text);
        kernel->require [index] = gpb_strdup (text);
        if (!kernel->require [index])
            return gpb_reader_out_of_memory (self);
    }
    return GPB_OK;
}

static gpb_status_t
s_read_names (gpb_reader_t *self, const config_setting_t *root)
{
    gpb_kernel_t *kernel = self->kernel;
    const config_setting_t *setting = config_setting_get_member (root, "id");
    gpb_status_t status = gpb_reader_copy_string (self, root, "id", "", &kernel->id);
    if (status != GPB_OK)
        return status;
    if (!setting)
        return gpb_reader_refuse (self, root, "id is missing: [a-z0-9_.-]{1,%d}",
                                  GPB_KERNEL_ID_MAX);
    if (!gpb_kernel_id_valid (kernel->id))
        return gpb_reader_refuse (self, setting,
                                  "id is [a-z0-9_.-]{1,%d}, and here it is \"%.80s\"",
                                  GPB_KERNEL_ID_MAX, kernel->id);
    status = gpb_reader_copy_string (self, root, "description", "", &kernel->description);
    if (status == GPB_OK)
        status = gpb_reader_copy_string (self, root, "entry", kernel->id, &kernel->entry);
    if (status != GPB_OK)
        return status;
    setting = config_setting_get_member (root, "entry");
    if (!gpb_kernel_text_identifier (kernel->entry, GPB_READER_NAME_MAX))
        return gpb_reader_refuse (
            self, setting ? setting : root,
            "entry, the function's name, is a C identifier of 1 to %d characters, and "
            "here it is \"%.80s\"%s",
            GPB_READER_NAME_MAX, kernel->entry, setting ? "" : ", the id");
    return GPB_OK;
}

static gpb_status_t
s_read_file_name (gpb_reader_t *self, const config_setting_t *group, const char *key,
                  gpb_file_t kind)
{
    const config_setting_t *setting = config_setting_get_member (group, key);
    if (!setting)
        return GPB_OK;
    gpb_kernel_file_t *file = &self->kernel->files [kind];
    gpb_status_t status = gpb_reader_copy_string (self, group, key, "", &file->name);
    if (status != GPB_OK)
        return status;
    file->line = config_setting_source_line (setting);
    size_t size = strlen (file->name);
    const char *ending = gpb_kernel_file_ending (kind);
    if (!gpb_kernel_text_made_of (file->name, 128, GPB_TEXT_LOWER GPB_TEXT_UPPER "_.+-")
        || file->name [0] == '.' || strstr (file->name, ".."))
        return gpb_reader_refuse (
            self, setting,
            "%s is the name of a file beside kernel.conf, [A-Za-z0-9_.+-]{1,128} "
            "without a folder, and here it is \"%.128s\"",
            key, file->name);
    if (size <= strlen (ending) || strcmp (file->name + size - strlen (ending), ending) != 0)
        return gpb_reader_refuse (self, setting,
                                  "%s names a file that ends in %s, and here it is \"%s\"", key,
                                  ending, file->name);
    return GPB_OK;
}

static gpb_status_t
s_read_files (gpb_reader_t *self, const config_setting_t *root)
{
    gpb_status_t status = s_read_file_name (self, root, "source", GPB_FILE_PORTABLE);
    const config_setting_t *group = config_setting_get_member (root, "sources");
    if (status == GPB_OK && group)
        status = gpb_reader_check_keys (self, group, s_source_keys);
    bool any = self->kernel->files [GPB_FILE_PORTABLE].name != NULL;
    for (gpb_file_t kind = GPB_FILE_CL; status == GPB_OK && group && kind < GPB_FILES; kind++) {
        status = s_read_file_name (self, group, gpb_kernel_file_kind (kind), kind);
        any = any || self->kernel->files [kind].name;
    }
    if (status == GPB_OK && !any)
        status = gpb_reader_refuse (
            self, group ? group : root,
            "there is no source: source = \"x.c\", or "
            "sources = { cl = \"x.cl\"; cu = \"x.cu\"; ptx = ...; cubin = ...; }");
    return status;
}

static gpb_status_t
s_read_compiler (gpb_reader_t *self, const config_setting_t *root)
{
    gpb_kernel_t *kernel = self->kernel;
    const config_setting_t *setting = config_setting_get_member (root, "optimize");
    kernel->optimize = setting ? config_setting_get_int (setting) : 2;
    if (kernel->optimize < 0 || kernel->optimize > 3)
        return gpb_reader_refuse (self, setting, "optimize is 0 to 3, and here it is %d",
                                  kernel->optimize);
    kernel->debug = gpb_reader_bool (root, "debug", false);
    gpb_status_t status = gpb_reader_copy_string (self, root, "options", "", &kernel->options);
    if (status == GPB_OK)
        status = gpb_reader_copy_string (self, root, "arch", "", &kernel->arch);
    if (status == GPB_OK && *kernel->arch
        && !gpb_kernel_text_made_of (kernel->arch, GPB_NAME_SIZE - 1,
                                     GPB_TEXT_LOWER GPB_TEXT_UPPER "_.+-"))
        status = gpb_reader_refuse (self, config_setting_get_member (root, "arch"),
                                    "arch is [A-Za-z0-9_.+-]{1,%d}, and here it is \"%.128s\"",
                                    GPB_NAME_SIZE - 1, kernel->arch);
    if (status != GPB_OK || !kernel->is_persistent || strstr (kernel->options, "-cl-std="))
        return status;
    //  The lanes' atomics are OpenCL 2.0's.
    static const char standard [] = "-cl-std=CL2.0 ";
    const size_t size = strlen (kernel->options) + sizeof standard;
    kernel->opencl_options = gpb_alloc (size, 1);
    if (!kernel->opencl_options)
        return gpb_reader_out_of_memory (self);
    snprintf (kernel->opencl_options, size, "%s%s", standard, kernel->options);
    return GPB_OK;
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
    gpb_reader_t self = { kernel, file, error };
    if (config_read_string (&config, text)) {
        typedef gpb_status_t (read_fn) (gpb_reader_t *, const config_setting_t *);
        //  In this order: counts refer to parameters and, where it is free, to the global size.
        static read_fn *const launched [] = {
            s_read_names,      s_read_files,  gpb_reader_parameters, s_read_global,   s_read_local,
            gpb_reader_counts, s_read_shared, s_read_require,        s_read_compiler, NULL,
        };
        //  The largest message follows from a slot's size.
        static read_fn *const persistent [] = {
            s_read_names,       s_read_files,   gpb_reader_parameters, gpb_reader_lanes,
            gpb_reader_message, s_read_require, s_read_compiler,       NULL,
        };
        const config_setting_t *root = config_root_setting (&config);
        status = gpb_reader_check_keys (&self, root, s_keys);
        if (status == GPB_OK)
            status = gpb_reader_persistence (&self, root);
        for (read_fn *const *step = kernel->is_persistent ? persistent : launched;
             status == GPB_OK && *step; step++)
            status = (*step) (&self, root);
    }
    else
        status = gpb_error_set (error, GPB_INVALID_ARGUMENT, "%s:%d: %s", file,
                                config_error_line (&config), config_error_text (&config));
    config_destroy (&config);
    return status;
}
