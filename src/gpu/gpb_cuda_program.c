//  gpb_cuda_program - code on its way into a CUDA context: compiled, loaded, looked up
//
//  A source that libgpb was built with is a cubin already, or PTX for a card that was not thought
//  of; another one is compiled by NVRTC. PTX is compiled by the driver as it loads; a cubin is
//  loaded. A module keeps its cubin for as long as it is there, since the driver gives none back.
//
//  Under lazy loading a driver loads a function when it is launched first, and waits for all that
//  runs: beside a kernel that stays that is for ever. So a function is loaded when it is looked up.
//
//  Any thread may build; a function belongs to one.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_cuda.h"

#include <stdio.h>
#include <string.h>

#define JIT_LOG_SIZE 8192    //  bytes of what the driver's compiler says
#define WARP 32

static bool
s_is_cubin (const void *data, size_t size)
{
    return size >= 4 && memcmp (data, "\177ELF", 4) == 0;
}

//  ---------------------------------------------------------------------------------------------------------
//  Modules

static gpb_status_t
s_load (gpb_context_t *self, const gpb_code_t *code, const void *image, CUmodule *module,
        gpb_error_t *error)
{
    char log [JIT_LOG_SIZE] = "";
    CUjit_option options [] = { CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
                                CU_JIT_OPTIMIZATION_LEVEL, CU_JIT_GENERATE_LINE_INFO };
    void *values [] = { log, (void *) (uintptr_t) (sizeof log - 1),
                        (void *) (uintptr_t) (code->optimize + (code->optimize > 0)),
                        (void *) (uintptr_t) code->debug };
    CUresult result =
        self->cuda->cuModuleLoadDataEx (module, image, sizeof options / sizeof options [0], options,
                                        values);
    if (result == CUDA_SUCCESS || log [0] == 0)
        return gpb_cuda_check (self, result, code->name, error);
    gpb_error_t reason;
    gpb_cuda_check (self, result, code->name, &reason);
    return self->services->error_set (error, reason.status, "%s\n%s", reason.text, log);
}

//  The image of a code, which is the code's own or made here: then it is *made_p.
static gpb_status_t
s_image (gpb_context_t *self, const gpb_code_t *code, const void **image_p, char **made_p,
         size_t *size_p, gpb_error_t *error)
{
    *made_p = NULL;
    *image_p = code->data;
    *size_p = code->size;
    if (code->kind == GPB_CODE_INTERMEDIATE && code->never_compile)
        return self->services->error_set (error, GPB_FAILED_PRECONDITION,
                                          "%s is PTX, which the driver would have to compile, and "
                                          "nothing may be compiled here",
                                          code->name);
    if (code->kind == GPB_CODE_INTERMEDIATE || code->kind == GPB_CODE_BINARY)
        return GPB_OK;
    const gpb_backend_services_t *services = self->services;
    const char *architecture =
        code->architecture [0] ? code->architecture : self->info.architecture;
    gpb_status_t status = GPB_OK;
    if (gpb_cuda_prebuilt_read (services, code, architecture, false, made_p, size_p))
        status = GPB_OK;
    else if (code->never_compile)
        status = services->error_set (error, GPB_FAILED_PRECONDITION,
                                      "%s is a source, nothing may be compiled here, and there is "
                                      "no binary of it for %s",
                                      code->name, architecture);
    else if (self->backend->nvrtc_major
             || !gpb_cuda_prebuilt_read (services, code, architecture, true, made_p, size_p))
        status = gpb_cuda_compile (self->backend, code, architecture, made_p, size_p, error);
    *image_p = *made_p;
    return status;
}

gpb_status_t
gpb_cuda_compile_apart (const gpb_backend_services_t *services, const gpb_code_t *code,
                        const char *architecture, void **data_p, size_t *size_p, gpb_error_t *error)
{
    *data_p = NULL;
    *size_p = 0;
    if (code->kind != GPB_CODE_PORTABLE && code->kind != GPB_CODE_SOURCE)
        return services->error_set (error, GPB_INVALID_ARGUMENT,
                                    "%s is compiled already: a source is expected", code->name);
    gpb_backend_t *apart = services->alloc (1, sizeof *apart);
    if (!apart)
        return services->error_set (error, GPB_RESOURCE_EXHAUSTED, "out of memory for a compiler");
    apart->services = services;
    gpb_cuda_load_compiler (apart);
    char *data;
    gpb_status_t status = gpb_cuda_compile (apart, code, architecture, &data, size_p, error);
    if (status == GPB_OK && strncmp (architecture, "sm_", 3) == 0 && !s_is_cubin (data, *size_p)) {
        status = services->error_set (error, GPB_INVALID_ARGUMENT,
                                      "NVRTC %d.%d does not know %s, and compiles PTX of an older "
                                      "one for it, which a driver can: ask for compute_80 or later",
                                      apart->nvrtc_major, apart->nvrtc_minor, architecture);
        services->free (data);
        data = NULL;
        *size_p = 0;
    }
    *data_p = data;
    services->free (apart);
    return status;
}

gpb_status_t
gpb_cuda_build (gpb_context_t *self, const gpb_code_t *code, gpb_module_t **module_p,
                gpb_error_t *error)
{
    const gpb_backend_services_t *services = self->services;
    *module_p = NULL;
    const void *image;
    char *made;
    size_t size;
    gpb_status_t status = s_image (self, code, &image, &made, &size, error);
    if (status != GPB_OK)
        return status;
    gpb_module_t *module = services->alloc (1, sizeof *module);
    if (module && !made) {
        made = services->alloc (size + 1, 1);    //  what is loaded ends in a NUL, as PTX must
        if (made) {
            memcpy (made, image, size);
            image = made;
        }
    }
    if (!module || !made) {
        services->free (module);
        services->free (made);
        return services->error_set (error, GPB_RESOURCE_EXHAUSTED, "out of memory for %s",
                                    code->name);
    }
    module->context = self;
    atomic_init (&module->functions, NULL);
    status = gpb_cuda_enter (self, error);
    if (status == GPB_OK) {
        status = s_load (self, code, image, &module->module, error);
        gpb_cuda_leave (self);
    }
    if (status != GPB_OK) {
        services->free (module);
        services->free (made);
        return status;
    }
    //  PTX of ours is kept as well: it saves compiling the source again, if not all.
    if (s_is_cubin (made, size) || code->kind != GPB_CODE_INTERMEDIATE) {
        module->binary = made;
        module->binary_size = size;
    }
    else
        services->free (made);
    *module_p = module;
    return GPB_OK;
}

gpb_status_t
gpb_cuda_binary (gpb_module_t *module, void **data_p, size_t *size_p, gpb_error_t *error)
{
    const gpb_backend_services_t *services = module->context->services;
    *data_p = NULL;
    *size_p = 0;
    if (!module->binary)
        return services->error_set (error, GPB_UNIMPLEMENTED,
                                    "the driver gives no binary of PTX: it keeps one itself");
    void *data = services->alloc (module->binary_size, 1);
    if (!data)
        return services->error_set (error, GPB_RESOURCE_EXHAUSTED, "out of memory for a binary");
    memcpy (data, module->binary, module->binary_size);
    *data_p = data;
    *size_p = module->binary_size;
    return GPB_OK;
}

void
gpb_cuda_compiler (gpb_context_t *self, char *text, size_t size)
{
    snprintf (text, size, "cuda %d, nvrtc %d.%d, %s", self->backend->driver_version,
              self->backend->nvrtc_major, self->backend->nvrtc_minor, self->info.architecture);
}

void
gpb_cuda_unload (gpb_module_t **module_p)
{
    gpb_module_t *module = *module_p;
    *module_p = NULL;
    if (!module)
        return;
    gpb_context_t *self = module->context;
    for (gpb_function_t *function = atomic_load (&module->functions); function;) {
        gpb_function_t *next = function->next;
        self->services->free (function);
        function = next;
    }
    gpb_error_t unseen;
    if (gpb_cuda_enter (self, &unseen) == GPB_OK) {
        self->cuda->cuModuleUnload (module->module);
        gpb_cuda_leave (self);
    }
    self->services->free (module->binary);
    self->services->free (module);
}

//  ---------------------------------------------------------------------------------------------------------
//  Functions

//  What the driver tells of its parameters; a driver before CUDA 12.4 does not.
static void
s_read_parameters (const gpb_context_t *self, gpb_function_t *function)
{
    if (!self->cuda->cuFuncGetParamInfo)
        return;
    size_t offset;
    unsigned count = 0;
    CUresult result = CUDA_SUCCESS;
    while (count < GPB_CUDA_PARAMETERS_MAX
           && (result = self->cuda->cuFuncGetParamInfo (function->function, count, &offset,
                                                        &function->parameters [count]))
                  == CUDA_SUCCESS)
        count++;
    function->parameters_count = count;
    function->has_parameters = result == CUDA_SUCCESS || result == CUDA_ERROR_INVALID_VALUE;
}

static gpb_status_t
s_describe (gpb_context_t *self, gpb_function_t *function, gpb_error_t *error)
{
    const gpb_cuda_driver_t *cuda = self->cuda;
    int threads = 0, shared = 0, dynamic = 0, grid = 0;
    const char *call = "cuFuncLoad";
    CUresult result = CUDA_SUCCESS;
    if (self->is_lazy && cuda->cuFuncLoad)
        result = cuda->cuFuncLoad (function->function);
    if (result == CUDA_SUCCESS) {
        call = "cuFuncGetAttribute";
        result = cuda->cuFuncGetAttribute (&threads, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK,
                                           function->function);
    }
    if (result == CUDA_SUCCESS)
        result = cuda->cuFuncGetAttribute (&shared, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES,
                                           function->function);
    if (result == CUDA_SUCCESS)
        result =
            cuda->cuFuncGetAttribute (&dynamic, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                                      function->function);
    if (result == CUDA_SUCCESS) {
        call = "cuOccupancyMaxPotentialBlockSize";
        result = cuda->cuOccupancyMaxPotentialBlockSize (&grid, &function->best_block,
                                                         function->function, NULL, 0, 0);
    }
    function->info.max_work_group_size = (uint64_t) threads;
    function->info.preferred_multiple = WARP;
    function->info.local_memory = (uint64_t) shared;
    function->dynamic_allowed = (uint64_t) dynamic;
    return gpb_cuda_check (self, result, call, error);
}

gpb_status_t
gpb_cuda_function (gpb_module_t *module, const char *entry, gpb_function_t **function_p,
                   gpb_function_info_t *info, gpb_error_t *error)
{
    gpb_context_t *self = module->context;
    *function_p = NULL;
    gpb_function_t *function = self->services->alloc (1, sizeof *function);
    if (!function)
        return self->services->error_set (error, GPB_RESOURCE_EXHAUSTED,
                                          "out of memory for the record of a function");
    function->module = module;
    gpb_status_t status = gpb_cuda_enter (self, error);
    if (status == GPB_OK) {
        CUresult result =
            self->cuda->cuModuleGetFunction (&function->function, module->module, entry);
        if (result == CUDA_ERROR_NOT_FOUND)
            status = self->services->error_set (error, GPB_NOT_FOUND,
                                                "the module has no kernel \"%s\"", entry);
        else
            status = gpb_cuda_check (self, result, "cuModuleGetFunction", error);
        if (status == GPB_OK)
            status = s_describe (self, function, error);
        if (status == GPB_OK)
            s_read_parameters (self, function);
        gpb_cuda_leave (self);
    }
    if (status != GPB_OK) {
        self->services->free (function);
        return status;
    }
    //  Several threads may look up entries of one module.
    function->next = atomic_load (&module->functions);
    while (!atomic_compare_exchange_weak (&module->functions, &function->next, function))
        continue;
    if (info)
        *info = function->info;
    *function_p = function;
    return GPB_OK;
}
