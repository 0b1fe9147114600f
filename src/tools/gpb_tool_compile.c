//  gpb_tool_compile - `gpb compile`: whether a kernel package compiles, without a node
//
//  Loads the package, and builds it for every device found here, without the cache on disk, since
//  what is asked is what the compiler says today. A device that the package carries nothing for is
//  named and is no failure, as long as another one compiles it. With --arch it needs no device: the
//  first backend that compiles for others than those that are here does it.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_alloc.h"
#include "gpb_backends.h"
#include "gpb_compile.h"
#include "gpb_file.h"
#include "gpb_tool.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
    const gpb_kernel_t *kernel;
    gpb_backends_t *backends;
    json_t *devices;    //  with --json, else NULL
    unsigned compiled, failed;
} s_compile_t;

//  Opens a device, compiles for it, and closes it.
static gpb_status_t
s_build (s_compile_t *self, unsigned index, gpb_error_t *error)
{
    int notify = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
    gpb_open_t open = { .streams = 1, .notify_fds = &notify, .profiling = false };
    const gpb_backend_operations_t *operations = NULL;
    gpb_context_t *context = NULL;
    gpb_module_t *module = NULL;
    gpb_function_t *function = NULL;
    gpb_function_info_t info;
    gpb_cache_t *cache = gpb_cache_new (NULL, 0, error);
    gpb_status_t status = cache ? GPB_OK : error->status;
    if (status == GPB_OK && notify < 0)
        status = gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no event descriptor is left");
    if (status == GPB_OK)
        status = gpb_backends_open (self->backends, index, &open, &operations, &context, error);
    if (status == GPB_OK)
        status = gpb_compile (self->kernel, gpb_backends_name_peek (self->backends, index),
                              operations, context, cache, &module, &function, &info, NULL, error);
    if (module)
        operations->unload (&module);
    if (context)
        operations->close (&context);
    gpb_cache_destroy (&cache);
    if (notify >= 0)
        close (notify);
    return status;
}

static void
s_report (s_compile_t *self, const gpb_arguments_t *arguments, unsigned index, const char *name,
          gpb_status_t status, const gpb_error_t *error)
{
    const char *backend = gpb_backends_name_peek (self->backends, index);
    const char *text = status == GPB_OK ? "" : error->text;
    if (arguments->json) {
        json_t *device = json_pack ("{s:i, s:o, s:s, s:b, s:s, s:o}", "index", (int) index, "name",
                                    gpb_json_text (name), "backend", backend ? backend : "", "ok",
                                    status == GPB_OK, "status", gpb_status_name (status), "message",
                                    gpb_json_text (text));
        json_array_append_new (self->devices, device);
    }
    else if (status == GPB_OK)
        printf ("%s: ok for device %u, %s (%s)\n", gpb_kernel_id (self->kernel), index, name,
                backend);
    else
        fprintf (stderr, "gpb: %s: device %u, %s (%s): %s: %s\n", gpb_kernel_id (self->kernel),
                 index, name, backend ? backend : "?", gpb_status_name (status), text);
}

static void
s_compile_for (s_compile_t *self, const gpb_arguments_t *arguments, unsigned index)
{
    gpb_error_t error;
    gpb_code_t code;
    const gpb_device_info_t *device = gpb_backends_info_peek (self->backends, index, &error);
    gpb_status_t status = device ? GPB_OK : error.status;

    //  A device out of order is the machine's matter, not the package's; so is a backend that the
    //  package does not serve.
    bool serves = false;
    if (device) {
        status = gpb_kernel_code (self->kernel, gpb_backends_name_peek (self->backends, index),
                                  &code, &error);
        serves = status == GPB_OK;
    }
    if (serves)
        status = s_build (self, index, &error);
    self->compiled += status == GPB_OK;
    self->failed += serves && status != GPB_OK;
    s_report (self, arguments, index, device ? device->name : "out of order", status, &error);
}

static int
s_finish (s_compile_t *self, const gpb_arguments_t *arguments)
{
    bool ok = self->failed == 0 && self->compiled > 0;
    json_t *notices = arguments->json ? json_array () : NULL;
    const char *notice;
    for (unsigned number = 0; (notice = gpb_backends_notice_peek (self->backends, number));
         number++)
        if (notices)
            json_array_append_new (notices, gpb_json_text (notice));
        else if (!self->compiled)
            fprintf (stderr, "gpb: %s\n", notice);
    if (!self->compiled && !self->failed)
        fprintf (stderr, "gpb: no device here compiles %s\n", gpb_kernel_id (self->kernel));
    int result = arguments->json ? gpb_json_print (
                     json_pack ("{s:s, s:b, s:O, s:o}", "kernel", gpb_kernel_id (self->kernel),
                                "ok", (int) ok, "devices", self->devices, "notices", notices))
                                 : gpb_tool_flush ();
    return ok ? result : GPB_EXIT_FAILED;
}

static int
s_compile_all (const gpb_kernel_t *kernel, const gpb_arguments_t *arguments)
{
    gpb_error_t error;
    s_compile_t self = { .kernel = kernel };
    self.backends = gpb_backends_new (arguments->backends, &error);
    if (!self.backends)
        return gpb_tool_fail (&error);
    self.devices = arguments->json ? json_array () : NULL;
    for (unsigned index = 0; index < gpb_backends_devices (self.backends); index++)
        s_compile_for (&self, arguments, index);
    int result = s_finish (&self, arguments);
    json_decref (self.devices);
    gpb_backends_destroy (&self.backends);
    return result;
}

//  ---------------------------------------------------------------------------------------------------------
//  For an architecture that need not be here

static gpb_status_t
s_compile_apart (const gpb_kernel_t *kernel, const gpb_arguments_t *arguments, const char *backend,
                 void **data_p, size_t *size_p, gpb_error_t *error)
{
    gpb_code_t code;
    gpb_status_t status = gpb_kernel_code (kernel, backend, &code, error);
    return status == GPB_OK
               ? gpb_backends_compile (backend, &code, arguments->arch, data_p, size_p, error)
               : status;
}

//  The first backend that can. The reason that stays is of the last one that was not merely unable.
static int
s_compile_for_arch (const gpb_kernel_t *kernel, const gpb_arguments_t *arguments)
{
    gpb_error_t error, reason;
    gpb_error_set (&reason, GPB_UNIMPLEMENTED, "no backend of \"%.200s\" compiles for %.100s",
                   arguments->backends, arguments->arch);
    void *data = NULL;
    size_t size = 0;
    char name [64];
    for (const char *at = arguments->backends; !data && *at;) {
        at += strspn (at, " \t\n");
        const size_t length = strcspn (at, " \t\n");
        snprintf (name, sizeof name, "%.*s", (int) length, at);
        at += length;
        if (length && s_compile_apart (kernel, arguments, name, &data, &size, &error) != GPB_OK
            && error.status != GPB_UNIMPLEMENTED)
            reason = error;
    }
    if (!data)
        return gpb_tool_fail (&reason);
    int result = GPB_EXIT_OK;
    if (arguments->output && gpb_file_write (arguments->output, data, size, &error) != GPB_OK)
        result = gpb_tool_fail (&error);
    else if (arguments->json)
        result = gpb_json_print (json_pack ("{s:s, s:b, s:s, s:s, s:I}", "kernel",
                                            gpb_kernel_id (kernel), "ok", 1, "backend", name,
                                            "arch", arguments->arch, "size", (json_int_t) size));
    else {
        printf ("%s: ok for %s (%s), %zu bytes\n", gpb_kernel_id (kernel), arguments->arch, name,
                size);
        result = gpb_tool_flush ();
    }
    gpb_free (data);
    return result;
}

static int
s_compile_kernel (const gpb_kernel_t *kernel, const gpb_arguments_t *arguments)
{
    return arguments->arch ? s_compile_for_arch (kernel, arguments)
                           : s_compile_all (kernel, arguments);
}

//  A package by its id, from the folders that a node would look in.
static int
s_compile_by_id (const gpb_arguments_t *arguments)
{
    gpb_error_t error;
    char *path = gpb_kernels_default_path ();
    gpb_kernels_t *kernels = NULL;
    if (path)
        kernels = gpb_kernels_new (path, &error);
    else
        gpb_error_set (&error, GPB_RESOURCE_EXHAUSTED, "no memory for the kernel path");
    int result = GPB_EXIT_FAILED;
    const gpb_kernel_t *kernel = kernels ? gpb_kernels_lookup (kernels, arguments->subject) : NULL;
    if (kernel)
        result = s_compile_kernel (kernel, arguments);
    else {
        const char *notice = NULL;
        for (size_t index = 0; kernels && (notice = gpb_kernels_notice (kernels, index)); index++)
            fprintf (stderr, "gpb: %s\n", notice);
        if (kernels)
            gpb_error_set (&error, GPB_NOT_FOUND,
                           "\"%.200s\" is no folder, and no kernel of that id is in %.400s",
                           arguments->subject, path);
        gpb_tool_fail (&error);
    }
    gpb_kernels_destroy (&kernels);
    gpb_free (path);
    return result;
}

int
gpb_tool_compile (const gpb_arguments_t *arguments)
{
    struct stat is;
    bool folder = stat (arguments->subject, &is) == 0 && S_ISDIR (is.st_mode);
    if (!folder && !strchr (arguments->subject, '/'))
        return s_compile_by_id (arguments);
    gpb_error_t error;
    gpb_kernel_t *kernel = gpb_kernel_load (arguments->subject, &error);
    if (!kernel)
        return gpb_tool_fail (&error);
    int result = s_compile_kernel (kernel, arguments);
    gpb_kernel_destroy (&kernel);
    return result;
}
