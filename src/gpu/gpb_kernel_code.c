//  gpb_kernel_code - what a backend's compiler gets of a package
//
//  The portable source stands behind the prelude, and every source behind a #line, so that a
//  compiler's messages name the package's own file and line. A persistent kernel's stands between
//  the two parts of what is around its handler: what a lane is before it, the loop behind it.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_alloc.h"
#include "gpb_kernel_private.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *kind;
    const char *ending;
    gpb_code_kind_t code;
    const char *backend;    //  NULL: all of them
} s_files [GPB_FILES] = {
    [GPB_FILE_PORTABLE] = { "portable", ".c", GPB_CODE_PORTABLE, NULL },
    [GPB_FILE_CL] = { "cl", ".cl", GPB_CODE_SOURCE, "opencl" },
    [GPB_FILE_CU] = { "cu", ".cu", GPB_CODE_SOURCE, "cuda" },
    [GPB_FILE_PTX] = { "ptx", ".ptx", GPB_CODE_INTERMEDIATE, "cuda" },
    [GPB_FILE_FATBIN] = { "fatbin", ".fatbin", GPB_CODE_BINARY, "cuda" },
    [GPB_FILE_CUBIN] = { "cubin", ".cubin", GPB_CODE_BINARY, "cuda" },
};

const char *
gpb_kernel_file_kind (gpb_file_t file)
{
    return s_files [file].kind;
}

const char *
gpb_kernel_file_ending (gpb_file_t file)
{
    return s_files [file].ending;
}

const char *
gpb_kernel_source_kind (const gpb_kernel_t *self, size_t index)
{
    for (gpb_file_t kind = 0; kind < GPB_FILES; kind++)
        if (self->files [kind].name && index-- == 0)
            return s_files [kind].kind;
    return NULL;
}

//  ---------------------------------------------------------------------------------------------------------
//  Text around text

typedef struct {
    const char *data;
    size_t size;
} part_t;

#define PARTS_MAX 7

static gpb_status_t
s_join (gpb_kernel_file_t *file, const part_t *parts, size_t count, gpb_error_t *error)
{
    size_t size = 0;
    for (size_t index = 0; index < count; index++)
        size += parts [index].size;
    char *at = gpb_alloc (size + 1, 1);
    if (!at)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "out of memory");
    file->data = at;
    file->size = size;
    for (size_t index = 0; index < count; index++) {
        memcpy (at, parts [index].data, parts [index].size);
        at += parts [index].size;
    }
    return GPB_OK;
}

static part_t
s_part (const char *text)
{
    return (part_t){ text, strlen (text) };
}

gpb_status_t
gpb_kernel_set_file (gpb_kernel_t *self, gpb_file_t kind, const char *data, size_t size,
                     gpb_error_t *error)
{
    gpb_kernel_file_t *file = &self->files [kind];
    part_t parts [PARTS_MAX];
    size_t count = 0;
    char lane [128], line [NAME_MAX + 32], dispatch [GPB_KERNEL_NAME_SIZE + 128];
    const gpb_code_kind_t code = s_files [kind].code;
    if (code == GPB_CODE_PORTABLE)
        parts [count++] = s_part (gpb_prelude_text);
    if (self->is_persistent) {
        snprintf (lane, sizeof lane,
                  "\n#define GPB_LANE_LOCAL %" PRIu32 "\n#line 1 \"gpb_lane.h\"\n",
                  self->persistent.local);
        parts [count++] = s_part (lane);
        parts [count++] = s_part (gpb_lane_text);
    }
    if (code == GPB_CODE_PORTABLE || code == GPB_CODE_SOURCE) {
        snprintf (line, sizeof line, "\n#line 1 \"%s\"\n", file->name);
        parts [count++] = s_part (line);
    }
    parts [count++] = (part_t){ data, size };
    if (self->is_persistent) {
        snprintf (dispatch, sizeof dispatch,
                  "\n#define GPB_HANDLER gpb_handler_%s\n#line 1 \"gpb_dispatch.h\"\n",
                  self->entry);
        parts [count++] = s_part (dispatch);
        parts [count++] = s_part (gpb_dispatch_text);
    }
    return s_join (file, parts, count, error);
}

//  The backend's own files come first, and of those the one that most devices can use: source
//  compiles for any architecture, PTX for all newer ones, a fatbin has several, a cubin is for one.
gpb_status_t
gpb_kernel_code (const gpb_kernel_t *self, const char *backend, gpb_code_t *code,
                 gpb_error_t *error)
{
    gpb_file_t found = GPB_FILES;
    for (gpb_file_t kind = GPB_FILES; kind-- > 0;)
        if (self->files [kind].name && s_files [kind].backend
            && strcmp (s_files [kind].backend, backend) == 0)
            found = kind;
    if (found == GPB_FILES && self->files [GPB_FILE_PORTABLE].name)
        found = GPB_FILE_PORTABLE;
    if (found == GPB_FILES)
        return gpb_error_set (error, GPB_FAILED_PRECONDITION,
                              "kernel \"%s\" carries no code for %s, and no portable source",
                              self->id, backend);
    const bool standard = self->opencl_options && strcmp (backend, "opencl") == 0;
    *code = (gpb_code_t){
        .kind = s_files [found].code,
        .name = self->files [found].name,
        .data = self->files [found].data,
        .size = self->files [found].size,
        .optimize = self->optimize,
        .debug = self->debug,
        .options = standard ? self->opencl_options : self->options,
        .architecture = self->arch,
    };
    return GPB_OK;
}
