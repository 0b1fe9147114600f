//  gpb_fake_cuda_module - modules, functions and launches of the fake CUDA driver
//
//  A module keeps a copy of its image. A function is a name in it, and what a test has registered
//  for that name when it is looked up first. A launch copies the values of the parameters when it
//  is enqueued.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_fake_cuda_private.h"

#include "gpb_clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REGISTERED_MAX 256
#define THREADS_MAX 1024
#define SLOT_SIZE 16    //  what every value of a parameter is aligned to

static gpb_fake_cuda_function_t s_registered [REGISTERED_MAX];
static char *s_registered_names [REGISTERED_MAX];
static unsigned s_registered_count;

//  ---------------------------------------------------------------------------------------------------------
//  What is registered

void
gpb_fake_cuda_register (const gpb_fake_cuda_function_t *function)
{
    pthread_mutex_lock (&gpb_fake_cuda_lock);
    unsigned index = 0;
    while (index < s_registered_count && strcmp (s_registered_names [index], function->name) != 0)
        index++;
    if (index == REGISTERED_MAX || function->parameters_count > GPB_FAKE_CUDA_PARAMETERS_MAX) {
        fprintf (stderr, "gpb_fake_cuda_register: too many functions or parameters: %s\n",
                 function->name);
        abort ();
    }
    if (index == s_registered_count) {
        s_registered_names [index] = strdup (function->name);
        s_registered_count++;
    }
    s_registered [index] = *function;
    pthread_mutex_unlock (&gpb_fake_cuda_lock);
}

void
gpb_fake_cuda_forget_registered (void)
{
    while (s_registered_count > 0)
        free (s_registered_names [--s_registered_count]);
}

static const gpb_fake_cuda_function_t *
s_find_registered (const char *name)
{
    for (unsigned index = 0; index < s_registered_count; index++)
        if (strcmp (s_registered_names [index], name) == 0)
            return &s_registered [index];
    return NULL;
}

//  ---------------------------------------------------------------------------------------------------------
//  Modules

//  What the driver's compiler has to say goes where the options want it; an option that is a size
//  comes back as that of what was written.
static void
s_write_log (const char *text, unsigned count, const CUjit_option *options, void **values)
{
    char *buffer = NULL;
    void **size = NULL;
    for (unsigned index = 0; index < count; index++)
        if (options [index] == CU_JIT_ERROR_LOG_BUFFER)
            buffer = values [index];
        else if (options [index] == CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES)
            size = &values [index];
    if (!buffer || !size || !*size)
        return;
    const size_t room = (size_t) (uintptr_t) *size;
    int length = snprintf (buffer, room, "%s", text);
    *size = (void *) ((size_t) length < room ? (uintptr_t) length : room - 1);
}

CUresult
cuModuleLoadDataEx (CUmodule *module_p, const void *image, unsigned int options_count,
                    CUjit_option *options, void **values)
{
    CUcontext context;
    CUresult result = gpb_fake_cuda_begin_context (CALL_cuModuleLoadDataEx, &context);
    if (result == CUDA_SUCCESS && !image)
        result = CUDA_ERROR_INVALID_VALUE;
    if (result != CUDA_SUCCESS)
        return gpb_fake_cuda_end (result);
    gpb_fake_cuda_would_wait (context);
    size_t size = 0;
    result = gpb_fake_cuda_image_check (image, &size);
    if (result == CUDA_ERROR_INVALID_PTX)
        s_write_log ("ptxas fake.ptx, line 1; fatal   : syntax error", options_count, options,
                     values);
    if (result == CUDA_SUCCESS) {
        char *copy = malloc (size);
        CUmodule module =
            copy ? gpb_fake_cuda_object (context, OBJECT_MODULE, sizeof *module) : NULL;
        if (module) {
            memcpy (copy, image, size);
            module->image = copy;
            *module_p = module;
        }
        else {
            free (copy);
            result = CUDA_ERROR_OUT_OF_MEMORY;
        }
    }
    return gpb_fake_cuda_end (result);
}

CUresult
cuModuleUnload (CUmodule module)
{
    CUcontext context;
    CUresult result = gpb_fake_cuda_begin_context (CALL_cuModuleUnload, &context);
    if (result == CUDA_SUCCESS)
        result = gpb_fake_cuda_check (context, module, OBJECT_MODULE);
    if (result == CUDA_SUCCESS) {
        gpb_fake_cuda_would_wait (context);
        if (module->commands)
            gpb_fake_cuda_fault ("unloads a module while %u commands run it", module->commands);
        module->object.is_gone = true;
        for (object_t *object = gpb_fake_cuda_driver.objects; object; object = object->next)
            if (object->kind == OBJECT_FUNCTION && ((CUfunction) object)->module == module)
                object->is_gone = true;
    }
    return gpb_fake_cuda_end (result);
}

CUresult
cuModuleGetLoadingMode (CUmoduleLoadingMode *mode)
{
    CUresult result = gpb_fake_cuda_begin_driver (CALL_cuModuleGetLoadingMode);
    if (result == CUDA_SUCCESS && gpb_fake_cuda_driver.is_old)
        result = CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER;
    if (result == CUDA_SUCCESS)
        *mode = gpb_fake_cuda_driver.is_lazy ? CU_MODULE_LAZY_LOADING : CU_MODULE_EAGER_LOADING;
    return gpb_fake_cuda_end (result);
}

//  ---------------------------------------------------------------------------------------------------------
//  Functions

static CUfunction
s_find_function (const struct CUmod_st *module, const char *name)
{
    for (object_t *object = gpb_fake_cuda_driver.objects; object; object = object->next) {
        CUfunction function = (CUfunction) object;
        if (object->kind == OBJECT_FUNCTION && function->module == module
            && strcmp (function->name, name) == 0)
            return function;
    }
    return NULL;
}

static CUfunction
s_function_new (CUmodule module, const char *name)
{
    const gpb_fake_cuda_function_t *registered = s_find_registered (name);
    char *copy = strdup (name);
    CUfunction function =
        copy ? gpb_fake_cuda_object (module->object.context, OBJECT_FUNCTION, sizeof *function)
             : NULL;
    if (!function) {
        free (copy);
        return NULL;
    }
    function->module = module;
    function->name = copy;
    function->is_loaded = !gpb_fake_cuda_driver.is_lazy;
    if (registered)
        function->is = *registered;
    function->has_parameters =
        registered || gpb_fake_cuda_image_parameters (module->image, name, &function->is);
    if (!function->is.threads_max)
        function->is.threads_max = THREADS_MAX;
    function->dynamic_max = GPB_FAKE_CUDA_SHARED_SIZE - function->is.shared_size;
    return function;
}

CUresult
cuModuleGetFunction (CUfunction *function_p, CUmodule module, const char *name)
{
    CUcontext context;
    CUresult result = gpb_fake_cuda_begin_context (CALL_cuModuleGetFunction, &context);
    if (result == CUDA_SUCCESS)
        result = gpb_fake_cuda_check (context, module, OBJECT_MODULE);
    if (result == CUDA_SUCCESS && !gpb_fake_cuda_image_has (module->image, name))
        result = CUDA_ERROR_NOT_FOUND;
    if (result == CUDA_SUCCESS) {
        CUfunction function = s_find_function (module, name);
        if (!function)
            function = s_function_new (module, name);
        if (function)
            *function_p = function;
        else
            result = CUDA_ERROR_OUT_OF_MEMORY;
    }
    return gpb_fake_cuda_end (result);
}

//  Takes the lock, as every begin does.
static CUresult
s_begin_function (call_t call, CUfunction function)
{
    CUcontext context;
    CUresult result = gpb_fake_cuda_begin_context (call, &context);
    return result == CUDA_SUCCESS ? gpb_fake_cuda_check (context, function, OBJECT_FUNCTION)
                                  : result;
}

static void
s_load (CUfunction function)
{
    if (!function->is_loaded)
        gpb_fake_cuda_would_wait (function->object.context);
    function->is_loaded = true;
}

CUresult
cuFuncLoad (CUfunction function)
{
    CUresult result = s_begin_function (CALL_cuFuncLoad, function);
    if (result == CUDA_SUCCESS && gpb_fake_cuda_driver.is_old)
        result = CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER;
    if (result == CUDA_SUCCESS)
        s_load (function);
    return gpb_fake_cuda_end (result);
}

CUresult
cuFuncGetAttribute (int *value, CUfunction_attribute attribute, CUfunction function)
{
    CUresult result = s_begin_function (CALL_cuFuncGetAttribute, function);
    if (result == CUDA_SUCCESS)
        switch (attribute) {
        case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
            *value = (int) function->is.threads_max;
            break;
        case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES: *value = (int) function->is.shared_size; break;
        case CU_FUNC_ATTRIBUTE_NUM_REGS: *value = 32; break;
        case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
            *value = (int) function->dynamic_max;
            break;
        default: result = CUDA_ERROR_INVALID_VALUE;
        }
    return gpb_fake_cuda_end (result);
}

CUresult
cuFuncSetAttribute (CUfunction function, CUfunction_attribute attribute, int value)
{
    CUresult result = s_begin_function (CALL_cuFuncSetAttribute, function);
    if (result == CUDA_SUCCESS
        && (attribute != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES || value < 0
            || (unsigned) value > GPB_FAKE_CUDA_SHARED_MAX - function->is.shared_size))
        result = CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        function->dynamic_max = (unsigned) value;
    return gpb_fake_cuda_end (result);
}

CUresult
cuFuncGetParamInfo (CUfunction function, size_t number, size_t *offset, size_t *size)
{
    CUresult result = s_begin_function (CALL_cuFuncGetParamInfo, function);
    if (result == CUDA_SUCCESS && gpb_fake_cuda_driver.is_old)
        result = CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER;
    if (result == CUDA_SUCCESS && !function->has_parameters)
        result = CUDA_ERROR_NOT_SUPPORTED;
    if (result == CUDA_SUCCESS && number >= function->is.parameters_count)
        result = CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS) {
        const size_t *sizes = function->is.parameters;
        *offset = 0;
        for (size_t index = 0; index <= number; index++) {
            const size_t alignment = sizes [index] < 8 ? sizes [index] : 8;
            *offset = (*offset + alignment - 1) / alignment * alignment;
            if (index < number)
                *offset += sizes [index];
        }
        if (size)
            *size = sizes [number];
    }
    return gpb_fake_cuda_end (result);
}

CUresult
cuOccupancyMaxPotentialBlockSize (int *grid_size, int *block_size, CUfunction function,
                                  CUoccupancyB2DSize shared_of_block, size_t shared_size, int limit)
{
    CUresult result = s_begin_function (CALL_cuOccupancyMaxPotentialBlockSize, function);
    (void) shared_of_block;
    if (result == CUDA_SUCCESS && (limit < 0 || shared_size > GPB_FAKE_CUDA_SHARED_MAX))
        result = CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS) {
        const int most = (int) function->is.threads_max;
        *block_size = limit && limit < most ? limit : most;
        *grid_size = (int) gpb_fake_cuda_driver.units * 2;
    }
    return gpb_fake_cuda_end (result);
}

//  ---------------------------------------------------------------------------------------------------------
//  Launches

static CUresult
s_run_launch (CUstream stream, command_t *command)
{
    CUcontext context = stream->object.context;
    driver_t *driver = &gpb_fake_cuda_driver;
    device_t *device = &driver->devices [context->device];
    const gpb_fake_cuda_function_t *function = &command->function->is;
    while (device->kernels >= driver->units && context->error == CUDA_SUCCESS)
        pthread_cond_wait (&gpb_fake_cuda_changed, &gpb_fake_cuda_lock);
    if (context->error != CUDA_SUCCESS)
        return CUDA_SUCCESS;
    device->kernels++;
    const uint64_t last_us = driver->compute_us;
    pthread_mutex_unlock (&gpb_fake_cuda_lock);
    const uint64_t start_ns = gpb_clock_ns ();
    gpb_fake_cuda_at.inside = context;
    CUresult result = function->run ? function->run (&command->launch) : CUDA_SUCCESS;
    gpb_fake_cuda_at.inside = NULL;
    gpb_fake_cuda_last (start_ns, last_us);
    pthread_mutex_lock (&gpb_fake_cuda_lock);
    device->kernels--;
    return result;
}

static CUresult
s_check_launch (const struct CUfunc_st *function, const gpb_fake_cuda_launch_t *launch,
                void **parameters, void **more)
{
    const uint64_t threads = (uint64_t) launch->block [0] * launch->block [1] * launch->block [2];
    if (!launch->grid [0] || !launch->grid [1] || !launch->grid [2] || !threads || more
        || launch->grid [0] > INT32_MAX || launch->grid [1] > 65535 || launch->grid [2] > 65535
        || launch->block [2] > 64 || threads > THREADS_MAX
        || launch->shared_size > function->dynamic_max)
        return CUDA_ERROR_INVALID_VALUE;
    if (threads > function->is.threads_max)
        return CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
    for (unsigned index = 0; index < function->is.parameters_count; index++)
        if (!parameters || !parameters [index])
            return CUDA_ERROR_INVALID_VALUE;
    return CUDA_SUCCESS;
}

//  Copies the values, and takes what may be an address of memory for a use of it.
static CUresult
s_copy_parameters (command_t *command, void **parameters)
{
    const gpb_fake_cuda_function_t *function = &command->function->is;
    size_t size = 0;
    for (unsigned index = 0; index < function->parameters_count; index++)
        size += (function->parameters [index] + SLOT_SIZE - 1) / SLOT_SIZE * SLOT_SIZE;
    command->launch.parameters = command->parameters;
    if (size && !(command->values = malloc (size)))
        return CUDA_ERROR_OUT_OF_MEMORY;
    CUresult result = CUDA_SUCCESS;
    unsigned char *value = command->values;
    for (unsigned index = 0; result == CUDA_SUCCESS && index < function->parameters_count; index++)
    {
        uint64_t address;
        memcpy (value, parameters [index], function->parameters [index]);
        command->parameters [index] = value;
        if (function->parameters [index] == sizeof address) {
            memcpy (&address, value, sizeof address);
            block_t *block = gpb_fake_cuda_block (address);
            if (block)
                result = gpb_fake_cuda_use (command, block);
        }
        value += (function->parameters [index] + SLOT_SIZE - 1) / SLOT_SIZE * SLOT_SIZE;
    }
    return result;
}

CUresult
cuLaunchKernel (CUfunction function, unsigned int grid_x, unsigned int grid_y, unsigned int grid_z,
                unsigned int block_x, unsigned int block_y, unsigned int block_z,
                unsigned int shared_size, CUstream stream, void **parameters, void **more)
{
    const gpb_fake_cuda_launch_t launch = { .grid = { grid_x, grid_y, grid_z },
                                            .block = { block_x, block_y, block_z },
                                            .shared_size = shared_size };
    CUresult result = s_begin_function (CALL_cuLaunchKernel, function);
    if (result == CUDA_SUCCESS)
        result = gpb_fake_cuda_check (function->object.context, stream, OBJECT_STREAM);
    if (result == CUDA_SUCCESS)
        result = s_check_launch (function, &launch, parameters, more);
    if (result != CUDA_SUCCESS)
        return gpb_fake_cuda_end (result);
    s_load (function);
    command_t *command = gpb_fake_cuda_command (s_run_launch);
    if (!command)
        return gpb_fake_cuda_end (CUDA_ERROR_OUT_OF_MEMORY);
    command->function = function;
    command->launch = launch;
    result = s_copy_parameters (command, parameters);
    if (result == CUDA_SUCCESS) {
        function->module->commands++;
        function->object.context->persistent += function->is.is_persistent;
        gpb_fake_cuda_enqueue (stream, command);
    }
    else
        gpb_fake_cuda_command_destroy (command);
    return gpb_fake_cuda_end (result);
}

void
gpb_fake_cuda_forget (object_t *object)
{
    if (object->kind == OBJECT_MODULE)
        free (((CUmodule) object)->image);
    else if (object->kind == OBJECT_FUNCTION)
        free (((CUfunction) object)->name);
}
