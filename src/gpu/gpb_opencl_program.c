//  gpb_opencl_program - from source or binary to a function
//
//  A build runs in the thread that asks for it and may take seconds. What the compiler said is the
//  error's text, with the file's own name and line. Every function knows, as far as the compiler
//  kept it, what the kernel declares in each place, so that a launch whose arguments do not fit is
//  refused: a driver would take eight bytes of a scalar for a buffer's handle and crash.
//
//  PoCL compiles a kernel's body once more for each local size that it is first launched with (some
//  40 ms), also where the program came from a binary, and keeps that in its own cache on disk. A
//  binary saves the rest, which is most: 600 ms against 10.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_opencl.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define OPTIONS_SIZE 4096

//  ---------------------------------------------------------------------------------------------------------
//  Building

static gpb_status_t
s_check_code (gpb_context_t *self, const gpb_code_t *code, gpb_error_t *error)
{
    const gpb_backend_services_t *services = self->services;
    if (code->kind == GPB_CODE_INTERMEDIATE)
        return services->error_set (error, GPB_UNIMPLEMENTED,
                                    "%s: OpenCL does not take PTX; it takes OpenCL C", code->name);
    if (code->architecture && code->architecture [0]
        && strcmp (code->architecture, self->info.architecture) != 0)
        return services->error_set (
            error, GPB_UNIMPLEMENTED,
            "%s: OpenCL compiles for the device at hand, \"%s\", and cannot for \"%s\"", code->name,
            self->info.architecture, code->architecture);
    if (code->optimize < 0 || code->optimize > 3)
        return services->error_set (error, GPB_INVALID_ARGUMENT,
                                    "%s: optimize is 0, 1, 2 or 3, not %d", code->name,
                                    code->optimize);
    if (!code->data || code->size < 1)
        return services->error_set (error, GPB_INVALID_ARGUMENT, "%s: it is empty", code->name);
    return GPB_OK;
}

//  The levels 1 to 3 are the compiler's default: OpenCL only knows on and off, and the options that
//  go further (-cl-fast-relaxed-math) change results, which is the package's to say.
static gpb_status_t
s_options (gpb_context_t *self, const gpb_code_t *code, char *text, gpb_error_t *error)
{
    const char *more = code->options ? code->options : "";
    bool standard = code->kind == GPB_CODE_PORTABLE && !strstr (more, "-cl-std=");
    int length =
        snprintf (text, OPTIONS_SIZE, "%s%s%s%s%s",
                  code->kind == GPB_CODE_BINARY ? "" : "-cl-kernel-arg-info ",
                  standard ? "-cl-std=CL1.2 " : "", code->optimize == 0 ? "-cl-opt-disable " : "",
                  code->debug ? "-g " : "", more);
    if (length < 0 || length >= OPTIONS_SIZE)
        return self->services->error_set (error, GPB_INVALID_ARGUMENT,
                                          "%s: its compiler options are longer than %d characters",
                                          code->name, OPTIONS_SIZE - 128);
    return GPB_OK;
}

//  `#line 1 "NAME"`, so that the compiler's messages carry the file's name.
static void
s_line_directive (const char *name, char *text, size_t size)
{
    size_t at = (size_t) snprintf (text, size, "#line 1 \"");
    for (; name && *name && at + 5 < size; name++) {
        if ((unsigned char) *name < ' ')
            continue;
        if (*name == '"' || *name == '\\')
            text [at++] = '\\';
        text [at++] = *name;
    }
    memcpy (text + at, "\"\n", 3);
}

static gpb_status_t
s_create_from_binary (gpb_module_t *module, const gpb_code_t *code, gpb_error_t *error)
{
    gpb_context_t *self = module->context;
    const unsigned char *binary;
    size_t size;
    gpb_status_t status = gpb_opencl_read_binary (module, code, &binary, &size, error);
    if (status != GPB_OK)
        return status;
    cl_int result, outcome = CL_SUCCESS;
    module->program = clCreateProgramWithBinary (self->context, 1, &self->device, &size, &binary,
                                                 &outcome, &result);
    if (module->program && outcome == CL_SUCCESS)
        return GPB_OK;
    result = module->program ? outcome : result;
    //  Whatever the driver minds about it, it is to be compiled anew.
    return self->services->error_set (error, GPB_INVALID_ARGUMENT,
                                      "%s: the driver refuses this binary: %s (%d)", code->name,
                                      gpb_opencl_code_name (result), (int) result);
}

static gpb_status_t
s_create_program (gpb_module_t *module, const gpb_code_t *code, gpb_error_t *error)
{
    gpb_context_t *self = module->context;
    if (code->kind == GPB_CODE_BINARY)
        return s_create_from_binary (module, code, error);
    cl_int result;
    char directive [512];
    s_line_directive (code->name, directive, sizeof directive);
    const char *const texts [] = { directive, code->data };
    const size_t sizes [] = { strlen (directive), code->size };
    const char **strings = (const char **) texts;
    module->program = clCreateProgramWithSource (self->context, 2, strings, sizes, &result);
    return module->program
               ? GPB_OK
               : gpb_opencl_refuse (self->services, error, result, "clCreateProgramWithSource");
}

static gpb_status_t
s_refuse_build (gpb_context_t *self, const gpb_code_t *code, cl_program program, cl_int result,
                gpb_error_t *error)
{
    const gpb_backend_services_t *services = self->services;
    gpb_status_t status = gpb_opencl_status (result);
    size_t size = 0;
    char *log = NULL;
    if (clGetProgramBuildInfo (program, self->device, CL_PROGRAM_BUILD_LOG, 0, NULL, &size)
            == CL_SUCCESS
        && size > 1)
        log = services->alloc (size + 1, 1);
    if (log
        && clGetProgramBuildInfo (program, self->device, CL_PROGRAM_BUILD_LOG, size, log, NULL)
               == CL_SUCCESS)
        services->error_set (error, status, "%s: it does not compile: %s (%d)\n%s", code->name,
                             gpb_opencl_code_name (result), (int) result, log);
    else
        services->error_set (error, status, "%s: it does not compile: %s (%d)", code->name,
                             gpb_opencl_code_name (result), (int) result);
    services->free (log);
    return status;
}

gpb_status_t
gpb_opencl_compile (const gpb_backend_services_t *services, const gpb_code_t *code,
                    const char *architecture, void **data_p, size_t *size_p, gpb_error_t *error)
{
    *data_p = NULL;
    *size_p = 0;
    return services->error_set (error, GPB_UNIMPLEMENTED,
                                "OpenCL compiles %s for devices that are here, and not for %s",
                                code->name, architecture);
}

gpb_status_t
gpb_opencl_build (gpb_context_t *self, const gpb_code_t *code, gpb_module_t **module_p,
                  gpb_error_t *error)
{
    *module_p = NULL;
    char options [OPTIONS_SIZE];
    gpb_status_t status = s_check_code (self, code, error);
    if (status == GPB_OK && code->never_compile && code->kind != GPB_CODE_BINARY)
        status = self->services->error_set (error, GPB_FAILED_PRECONDITION,
                                            "%s is a source, and nothing may be compiled here",
                                            code->name);
    if (status == GPB_OK)
        status = s_options (self, code, options, error);
    if (status != GPB_OK)
        return status;
    gpb_module_t *module = self->services->alloc (1, sizeof *module);
    if (!module)
        return self->services->error_set (error, GPB_RESOURCE_EXHAUSTED,
                                          "out of memory for the record of a module");
    module->context = self;
    atomic_init (&module->functions, NULL);
    status = s_create_program (module, code, error);
    if (status == GPB_OK) {
        cl_int result = clBuildProgram (module->program, 1, &self->device, options, NULL, NULL);
        if (result != CL_SUCCESS)
            status = s_refuse_build (self, code, module->program, result, error);
    }
    if (status == GPB_OK)
        *module_p = module;
    else
        gpb_opencl_unload (&module);
    return status;
}

void
gpb_opencl_compiler (gpb_context_t *self, char *text, size_t size)
{
    char platform [256] = "", version [256] = "";
    clGetPlatformInfo (self->platform, CL_PLATFORM_VERSION, sizeof platform, platform, NULL);
    clGetDeviceInfo (self->device, CL_DEVICE_VERSION, sizeof version, version, NULL);
    platform [sizeof platform - 1] = version [sizeof version - 1] = 0;
    snprintf (text, size, "opencl; %s; %s; %s; driver %s; %s", platform, self->info.name, version,
              self->info.driver, self->info.architecture);
    for (char *at = text; size && *at; at++)
        if ((unsigned char) *at < ' ')
            *at = ' ';
}

void
gpb_opencl_unload (gpb_module_t **module_p)
{
    gpb_module_t *module = *module_p;
    if (!module)
        return;
    *module_p = NULL;
    const gpb_backend_services_t *services = module->context->services;
    gpb_function_t *function = atomic_load (&module->functions);
    while (function) {
        gpb_function_t *next = function->next;
        clReleaseKernel (function->kernel);
        services->free (function->parameters);
        services->free (function);
        function = next;
    }
    if (module->program)
        clReleaseProgram (module->program);
    services->free (module->table);
    services->free (module);
}

//  ---------------------------------------------------------------------------------------------------------
//  Functions

//  "add, scale": the names of a program's kernels, for the refusal of another.
static gpb_status_t
s_refuse_entry (gpb_module_t *module, const char *entry, gpb_error_t *error)
{
    char names [1024] = "";
    if (clGetProgramInfo (module->program, CL_PROGRAM_KERNEL_NAMES, sizeof names, names, NULL)
        != CL_SUCCESS)
        snprintf (names, sizeof names, "too many to list");
    for (char *at = names; *at; at++)
        if (*at == ';')
            *at = ' ';
    return module->context->services->error_set (error, GPB_NOT_FOUND,
                                                 "the module has no kernel \"%s\"; it has: %s",
                                                 entry, names);
}

static cl_int
s_function_info (gpb_function_t *function, cl_device_id device)
{
    size_t group = 0, multiple = 0;
    cl_ulong local = 0;
    cl_int code = clGetKernelWorkGroupInfo (function->kernel, device, CL_KERNEL_WORK_GROUP_SIZE,
                                            sizeof group, &group, NULL);
    if (code == CL_SUCCESS)
        code = clGetKernelWorkGroupInfo (function->kernel, device,
                                         CL_KERNEL_PREFERRED_WORK_GROUP_SIZE_MULTIPLE,
                                         sizeof multiple, &multiple, NULL);
    if (code == CL_SUCCESS)
        code = clGetKernelWorkGroupInfo (function->kernel, device, CL_KERNEL_LOCAL_MEM_SIZE,
                                         sizeof local, &local, NULL);
    if (code == CL_SUCCESS)
        code =
            clGetKernelInfo (function->kernel, CL_KERNEL_NUM_ARGS,
                             sizeof function->parameters_count, &function->parameters_count, NULL);
    function->info.max_work_group_size = group;
    function->info.preferred_multiple = multiple;
    function->info.local_memory = local;
    return code;
}

gpb_status_t
gpb_opencl_function (gpb_module_t *module, const char *entry, gpb_function_t **function_p,
                     gpb_function_info_t *info, gpb_error_t *error)
{
    const gpb_backend_services_t *services = module->context->services;
    *function_p = NULL;
    cl_int code;
    cl_kernel kernel = clCreateKernel (module->program, entry, &code);
    if (!kernel)
        return code == CL_INVALID_KERNEL_NAME
                   ? s_refuse_entry (module, entry, error)
                   : gpb_opencl_refuse (services, error, code, "clCreateKernel");
    gpb_function_t *function = services->alloc (1, sizeof *function);
    if (!function) {
        clReleaseKernel (kernel);
        return services->error_set (error, GPB_RESOURCE_EXHAUSTED,
                                    "out of memory for the record of a function");
    }
    function->module = module;
    function->kernel = kernel;
    code = s_function_info (function, module->context->device);
    if (code == CL_SUCCESS)
        function->parameters =
            services->alloc (function->parameters_count, sizeof *function->parameters);
    if (!function->parameters) {
        clReleaseKernel (kernel);
        services->free (function);
        return code == CL_SUCCESS
                   ? services->error_set (error, GPB_RESOURCE_EXHAUSTED,
                                          "out of memory for the record of a function")
                   : gpb_opencl_refuse (services, error, code, "clGetKernelWorkGroupInfo");
    }
    for (cl_uint index = 0; index < function->parameters_count; index++)
        function->parameters [index] = gpb_opencl_parameter (kernel, index);
    if (module->table)
        gpb_opencl_table_lookup (module, entry, function->parameters, function->parameters_count);
    //  Several threads may look up entries of one module.
    function->next = atomic_load (&module->functions);
    while (!atomic_compare_exchange_weak (&module->functions, &function->next, function))
        continue;
    if (info)
        *info = function->info;
    *function_p = function;
    return GPB_OK;
}
