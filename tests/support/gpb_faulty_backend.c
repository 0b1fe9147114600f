//  gpb_faulty_backend - the fake backend, one of whose calls fails when a test says so
//
//  What it is good for is said in gpb_faulty_backend.h. Contexts, memory and the like are the fake
//  backend's own, so that an operation has nothing to do but to count and to pass on.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_faulty_backend.h"

#include "gpb_backend.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static atomic_uint_fast64_t s_calls;
static atomic_int_fast64_t s_allowed = -1;    //  calls left before one fails; negative: no limit
static _Atomic (const char *) s_failed = "";
static atomic_int_fast64_t s_contexts, s_memories, s_modules, s_events;

//  Set by the first start; later ones find the same.
static const gpb_backend_operations_t *s_fake;
static const gpb_backend_services_t *s_services;

uint64_t
gpb_faulty_fail (int64_t after)
{
    atomic_store (&s_failed, "");
    atomic_store (&s_allowed, after < 0 ? -1 : after);
    return atomic_exchange (&s_calls, 0);
}

const char *
gpb_faulty_failed (void)
{
    return atomic_load (&s_failed);
}

void
gpb_faulty_held (gpb_faulty_held_t *held)
{
    *held = (gpb_faulty_held_t){ .contexts = atomic_load (&s_contexts),
                                 .memories = atomic_load (&s_memories),
                                 .modules = atomic_load (&s_modules),
                                 .events = atomic_load (&s_events) };
}

//  Counts a call; whether it is the one that fails, with its status and a sentence in *error.
static bool
s_fails (const char *operation, gpb_status_t status, gpb_error_t *error)
{
    atomic_fetch_add (&s_calls, 1);
    if (atomic_load (&s_allowed) < 0 || atomic_fetch_sub (&s_allowed, 1) != 0)
        return false;
    atomic_store (&s_failed, operation);
    s_services->error_set (error, status, "the driver refuses: %s", operation);
    return true;
}

//  Returns status, and counts one thing more of a kind where it is OK and the thing is there.
static gpb_status_t
s_made (gpb_status_t status, const void *thing, atomic_int_fast64_t *count)
{
    if (status == GPB_OK && thing)
        atomic_fetch_add (count, 1);
    return status;
}

//  ---------------------------------------------------------------------------------------------------------
//  Backend and devices

static gpb_status_t
s_start (const gpb_backend_services_t *services, gpb_backend_t **backend_p, gpb_error_t *error)
{
    s_services = services;
    *backend_p = NULL;
    if (!s_fake) {
        char path [PATH_MAX];
        const char *folder = getenv ("GPB_MODULE_DIR");
        snprintf (path, sizeof path, "%s/gpb_fake.so", folder ? folder : ".");
        void *handle = dlopen (path, RTLD_NOW | RTLD_LOCAL);
        const gpb_backend_module_t *module = handle ? dlsym (handle, GPB_BACKEND_SYMBOL) : NULL;
        if (!module)
            return services->error_set (error, GPB_FAILED_PRECONDITION, "%s cannot be opened",
                                        path);
        s_fake = module->operations;
    }
    if (s_fails ("start", GPB_FAILED_PRECONDITION, error))
        return GPB_FAILED_PRECONDITION;
    return s_fake->start (services, backend_p, error);
}

static void
s_stop (gpb_backend_t **backend_p)
{
    s_fake->stop (backend_p);
}

static gpb_status_t
s_describe (gpb_backend_t *self, unsigned number, gpb_device_info_t *info, gpb_error_t *error)
{
    if (s_fails ("describe", GPB_UNAVAILABLE, error))
        return GPB_UNAVAILABLE;
    return s_fake->describe (self, number, info, error);
}

static gpb_status_t
s_open (gpb_backend_t *backend, unsigned number, const gpb_open_t *open, gpb_context_t **context_p,
        gpb_error_t *error)
{
    *context_p = NULL;
    if (s_fails ("open", GPB_UNAVAILABLE, error))
        return GPB_UNAVAILABLE;
    gpb_status_t status = s_fake->open (backend, number, open, context_p, error);
    return s_made (status, *context_p, &s_contexts);
}

static void
s_close (gpb_context_t **context_p)
{
    s_fake->close (context_p);
    atomic_fetch_sub (&s_contexts, 1);
}

static gpb_status_t
s_memory_free (gpb_context_t *self, uint64_t *free_size, gpb_error_t *error)
{
    if (s_fails ("memory_free", GPB_INTERNAL, error))
        return GPB_INTERNAL;
    return s_fake->memory_free (self, free_size, error);
}

//  ---------------------------------------------------------------------------------------------------------
//  Memory

static gpb_status_t
s_allocate (gpb_context_t *self, gpb_memory_kind_t kind, gpb_access_t access, uint64_t size,
            gpb_memory_t **memory_p, gpb_error_t *error)
{
    *memory_p = NULL;
    if (s_fails ("allocate", GPB_RESOURCE_EXHAUSTED, error))
        return GPB_RESOURCE_EXHAUSTED;
    gpb_status_t status = s_fake->allocate (self, kind, access, size, memory_p, error);
    return s_made (status, *memory_p, &s_memories);
}

static gpb_status_t
s_wrap (gpb_context_t *self, void *address, uint64_t size, gpb_access_t access,
        gpb_memory_t **memory_p, gpb_error_t *error)
{
    *memory_p = NULL;
    if (s_fails ("wrap", GPB_RESOURCE_EXHAUSTED, error))
        return GPB_RESOURCE_EXHAUSTED;
    gpb_status_t status = s_fake->wrap (self, address, size, access, memory_p, error);
    return s_made (status, *memory_p, &s_memories);
}

static void
s_release (gpb_memory_t **memory_p)
{
    if (*memory_p)
        atomic_fetch_sub (&s_memories, 1);
    s_fake->release (memory_p);
}

static gpb_status_t
s_address (gpb_memory_t *memory, void **address_p, gpb_error_t *error)
{
    *address_p = NULL;
    if (s_fails ("address", GPB_INTERNAL, error))
        return GPB_INTERNAL;
    return s_fake->address (memory, address_p, error);
}

//  ---------------------------------------------------------------------------------------------------------
//  Commands. event_p may be NULL.

static gpb_status_t
s_refuse_command (const char *operation, gpb_event_t **event_p, gpb_error_t *error)
{
    if (event_p)
        *event_p = NULL;
    return s_fails (operation, GPB_INTERNAL, error) ? GPB_INTERNAL : GPB_OK;
}

static gpb_status_t
s_copy (gpb_context_t *self, unsigned stream, const gpb_place_t *target, const gpb_place_t *source,
        uint64_t size, gpb_notify_t notify, gpb_event_t **event_p, gpb_error_t *error)
{
    gpb_status_t status = s_refuse_command ("copy", event_p, error);
    if (status == GPB_OK)
        status = s_fake->copy (self, stream, target, source, size, notify, event_p, error);
    return s_made (status, event_p ? *event_p : NULL, &s_events);
}

static gpb_status_t
s_zero (gpb_context_t *self, unsigned stream, gpb_memory_t *memory, uint64_t offset, uint64_t size,
        gpb_notify_t notify, gpb_event_t **event_p, gpb_error_t *error)
{
    gpb_status_t status = s_refuse_command ("zero", event_p, error);
    if (status == GPB_OK)
        status = s_fake->zero (self, stream, memory, offset, size, notify, event_p, error);
    return s_made (status, event_p ? *event_p : NULL, &s_events);
}

static gpb_status_t
s_launch (gpb_context_t *self, unsigned stream, const gpb_launch_t *launch, gpb_notify_t notify,
          gpb_event_t **event_p, gpb_error_t *error)
{
    gpb_status_t status = s_refuse_command ("launch", event_p, error);
    if (status == GPB_OK)
        status = s_fake->launch (self, stream, launch, notify, event_p, error);
    return s_made (status, event_p ? *event_p : NULL, &s_events);
}

static gpb_status_t
s_query (gpb_event_t *event, bool *done, gpb_event_times_t *times, gpb_error_t *error)
{
    gpb_status_t status = s_fake->query (event, done, times, error);
    if (!*done || !s_fails ("query", GPB_INTERNAL, error))
        return status;
    if (times)
        *times = (gpb_event_times_t){ 0 };
    return GPB_INTERNAL;
}

static void
s_event_free (gpb_event_t **event_p)
{
    if (*event_p)
        atomic_fetch_sub (&s_events, 1);
    s_fake->event_free (event_p);
}

//  ---------------------------------------------------------------------------------------------------------
//  Code

static gpb_status_t
s_build (gpb_context_t *self, const gpb_code_t *code, gpb_module_t **module_p, gpb_error_t *error)
{
    *module_p = NULL;
    if (s_fails ("build", GPB_RESOURCE_EXHAUSTED, error))
        return GPB_RESOURCE_EXHAUSTED;
    gpb_status_t status = s_fake->build (self, code, module_p, error);
    return s_made (status, *module_p, &s_modules);
}

static gpb_status_t
s_binary (gpb_module_t *module, void **data_p, size_t *size_p, gpb_error_t *error)
{
    *data_p = NULL;
    *size_p = 0;
    if (s_fails ("binary", GPB_INTERNAL, error))
        return GPB_INTERNAL;
    return s_fake->binary (module, data_p, size_p, error);
}

//  Needs no start, so that it is not among the calls that fail.
static gpb_status_t
s_compile (const gpb_backend_services_t *services, const gpb_code_t *code, const char *architecture,
           void **data_p, size_t *size_p, gpb_error_t *error)
{
    (void) code;
    *data_p = NULL;
    *size_p = 0;
    return services->error_set (error, GPB_UNIMPLEMENTED, "nothing compiles for %s", architecture);
}

static void
s_compiler (gpb_context_t *self, char *text, size_t size)
{
    s_fake->compiler (self, text, size);
}

static void
s_unload (gpb_module_t **module_p)
{
    if (*module_p)
        atomic_fetch_sub (&s_modules, 1);
    s_fake->unload (module_p);
}

static gpb_status_t
s_function (gpb_module_t *module, const char *entry, gpb_function_t **function_p,
            gpb_function_info_t *info, gpb_error_t *error)
{
    *function_p = NULL;
    if (s_fails ("function", GPB_INTERNAL, error))
        return GPB_INTERNAL;
    return s_fake->function (module, entry, function_p, info, error);
}

static const gpb_backend_operations_t s_operations = {
    .start = s_start,
    .stop = s_stop,
    .describe = s_describe,
    .open = s_open,
    .close = s_close,
    .memory_free = s_memory_free,
    .allocate = s_allocate,
    .wrap = s_wrap,
    .release = s_release,
    .address = s_address,
    .copy = s_copy,
    .zero = s_zero,
    .build = s_build,
    .binary = s_binary,
    .compile = s_compile,
    .compiler = s_compiler,
    .unload = s_unload,
    .function = s_function,
    .launch = s_launch,
    .query = s_query,
    .event_free = s_event_free,
};

extern GPB_EXPORT const gpb_backend_module_t gpb_backend_module;
const gpb_backend_module_t gpb_backend_module = {
    .abi = GPB_BACKEND_ABI,
    .size = sizeof (gpb_backend_operations_t),
    .name = "faulty",
    .operations = &s_operations,
};
