//  gpb_fake_backend - the operations of the fake backend
//
//  What it is good for, and how it is set up, is said in gpb_fake_backend.h. Every operation takes
//  the lock, looks into the books, and only then does as it is told.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_fake.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const s_function_names [FUNCTIONS] = {
    "add_f32", "copy", "noop", "sleep_us", "fail", "lose", "never_done", "gpb_dispatch", "gpb_once",
};

//  What each takes: m memory that it reads, w memory that it writes, i an i32, l an u64; *
//  anything.
static const char *const s_function_parameters [FUNCTIONS] = {
    "mmwi", "mw", "*", "i", "*", "*", "*", "wl", "wllll",
};

//  The same files also make the module "twin", for tests that need two backends.
#ifndef GPB_FAKE_NAME
#define GPB_FAKE_NAME "fake"
#define GPB_FAKE_PREFIX "GPB_FAKE_"
#endif

static uint64_t
s_number (const char *name, uint64_t otherwise)
{
    const char *text = getenv (name);
    return text && *text ? strtoull (text, NULL, 10) : otherwise;
}

//  ---------------------------------------------------------------------------------------------------------
//  Backend and devices

static gpb_status_t
s_start (const gpb_backend_services_t *services, gpb_backend_t **backend_p, gpb_error_t *error)
{
    gpb_backend_t *self = services->alloc (1, sizeof *self);
    *backend_p = self;
    if (!self)
        return services->error_set (error, GPB_RESOURCE_EXHAUSTED, "out of memory");
    self->services = services;
    uint64_t devices = s_number (GPB_FAKE_PREFIX "DEVICES", 2);
    self->devices_count =
        (unsigned) (devices < GPB_FAKE_DEVICES_MAX ? devices : GPB_FAKE_DEVICES_MAX);
    self->bad = (int) s_number (GPB_FAKE_PREFIX "BAD", GPB_FAKE_DEVICES_MAX);
    self->total = s_number (GPB_FAKE_PREFIX "MEMORY", 64 << 20);
    self->copy_us = s_number (GPB_FAKE_PREFIX "COPY_US", 0);
    self->compute_us = s_number (GPB_FAKE_PREFIX "COMPUTE_US", 0);
    self->build_us = s_number (GPB_FAKE_PREFIX "BUILD_US", 0);
    self->compute_units = (unsigned) s_number (GPB_FAKE_PREFIX "UNITS", 8);
    self->svm = s_number (GPB_FAKE_PREFIX "SVM", 1) != 0;
    self->loads_alone = s_number (GPB_FAKE_PREFIX "LOADS_ALONE", 0) != 0;
    self->fail_every = s_number (GPB_FAKE_PREFIX "FAIL_EVERY", 0);
    return GPB_OK;
}

static void
s_stop (gpb_backend_t **backend_p)
{
    gpb_backend_t *self = *backend_p;
    *backend_p = NULL;
    pthread_mutex_lock (&gpb_fake_lock);
    const gpb_backend_services_t *services = self->services;
    if (gpb_fake_contexts)
        gpb_fake_fault (self, NULL, "the backend is stopped while a context is open");
    gpb_fake_settle ();
    for (gpb_memory_t *memory = self->memories, *next; memory; memory = next) {
        next = memory->next;
        services->free (memory->data);
        services->free (memory);
    }
    for (gpb_event_t *event = self->events, *next; event; event = next) {
        next = event->next;
        services->free (event);
    }
    for (gpb_module_t *module = self->modules, *next; module; module = next) {
        next = module->next;
        for (gpb_function_t *function = module->functions, *following; function;
             function = following) {
            following = function->next;
            services->free (function);
        }
        services->free (module->text);
        services->free (module);
    }
    for (gpb_context_t *context = self->closed, *next; context; context = next) {
        next = context->next;
        pthread_cond_destroy (&context->changed);
        services->free (context);
    }
    services->free (self);
    pthread_mutex_unlock (&gpb_fake_lock);
}

static gpb_status_t
s_describe (gpb_backend_t *self, unsigned number, gpb_device_info_t *info, gpb_error_t *error)
{
    if (number >= self->devices_count)
        return self->services->error_set (error, GPB_OUT_OF_RANGE, "there are %u fake devices",
                                          self->devices_count);
    if ((int) number == self->bad)
        return self->services->error_set (error, GPB_UNAVAILABLE, "GPB_FAKE_BAD says so");
    memset (info, 0, sizeof *info);
    snprintf (info->name, sizeof info->name, "fake %u", number);
    snprintf (info->vendor, sizeof info->vendor, "libgpb tests");
    snprintf (info->driver, sizeof info->driver, "1.0");
    snprintf (info->architecture, sizeof info->architecture, "fake");
    snprintf (info->type, sizeof info->type, "gpu");
    const char *bus = getenv (GPB_FAKE_PREFIX "BUS");
    snprintf (info->bus_id, sizeof info->bus_id, "%.20s", bus ? bus : "");
    char *mark = strchr (info->bus_id, '#');
    if (mark)
        snprintf (mark, sizeof info->bus_id - (size_t) (mark - info->bus_id), "%u", number);
    info->compute_units = self->compute_units;
    info->clock_mhz = 1000;
    info->total_memory = info->max_allocation = self->total;
    info->memory_alignment = GPB_MEMORY_ALIGNMENT;
    info->local_memory = 32 << 10;
    info->max_work_group_size = 1024;
    for (unsigned dimension = 0; dimension < GPB_DIMENSIONS; dimension++)
        info->max_work_item_sizes [dimension] = 1024;
    snprintf (info->capabilities [0], GPB_CAPABILITY_SIZE, "gpu");
    snprintf (info->capabilities [1], GPB_CAPABILITY_SIZE, "fp64");
    snprintf (info->capabilities [2], GPB_CAPABILITY_SIZE, "fake_%u", number);
    info->capabilities_count = 3;
    info->loads_alone = self->loads_alone;
    if (self->svm)
        snprintf (info->capabilities [info->capabilities_count++], GPB_CAPABILITY_SIZE,
                  "svm_atomics");
    return GPB_OK;
}

static gpb_status_t
s_open (gpb_backend_t *backend, unsigned number, const gpb_open_t *open, gpb_context_t **context_p,
        gpb_error_t *error)
{
    const gpb_backend_services_t *services = backend->services;
    *context_p = NULL;
    if (number >= backend->devices_count || (int) number == backend->bad)
        return services->error_set (error, GPB_UNAVAILABLE, "fake device %u is out of order",
                                    number);
    if (open->streams < 1 || open->streams > GPB_FAKE_STREAMS_MAX)
        return services->error_set (error, GPB_INVALID_ARGUMENT,
                                    "a context has 1 to %d streams, not %u", GPB_FAKE_STREAMS_MAX,
                                    open->streams);
    gpb_context_t *self = services->alloc (1, sizeof *self);
    if (!self)
        return services->error_set (error, GPB_RESOURCE_EXHAUSTED, "out of memory");
    self->backend = backend;
    self->number = number;
    self->profiling = open->profiling;
    self->streams_count = open->streams;
    for (unsigned stream = 0; stream < open->streams; stream++)
        self->streams [stream].notify_fd = open->notify_fds ? open->notify_fds [stream] : -1;
    pthread_cond_init (&self->changed, NULL);
    if (!gpb_fake_start_engines (self)) {
        gpb_fake_stop_engines (self);
        pthread_cond_destroy (&self->changed);
        services->free (self);
        return services->error_set (error, GPB_RESOURCE_EXHAUSTED, "no thread for an engine");
    }
    pthread_mutex_lock (&gpb_fake_lock);
    self->next = gpb_fake_contexts;
    gpb_fake_contexts = self;
    pthread_mutex_unlock (&gpb_fake_lock);
    *context_p = self;
    return GPB_OK;
}

static void
s_close (gpb_context_t **context_p)
{
    gpb_context_t *self = *context_p;
    *context_p = NULL;
    const gpb_backend_t *backend = self->backend;
    unsigned memories = 0, modules = 0, events = 0;
    pthread_mutex_lock (&gpb_fake_lock);
    if (self->lane_threads)
        gpb_fake_fault (backend, NULL, "a context is closed while %u lanes run",
                        self->lane_threads);
    for (const gpb_memory_t *memory = backend->memories; memory; memory = memory->next)
        memories += memory->context == self && !memory->released;
    for (const gpb_module_t *module = backend->modules; module; module = module->next)
        modules += module->context == self && !module->unloaded;
    for (const gpb_event_t *event = backend->events; event; event = event->next)
        events += event->context == self && !event->freed;
    if (memories || modules || events)
        gpb_fake_fault (backend, NULL,
                        "a context is closed with %u blocks of memory, %u modules and %u events "
                        "left",
                        memories, modules, events);
    gpb_context_t **link = &gpb_fake_contexts;
    while (*link != self)
        link = &(*link)->next;
    *link = self->next;
    pthread_mutex_unlock (&gpb_fake_lock);
    gpb_fake_stop_engines (self);
    pthread_mutex_lock (&gpb_fake_lock);
    self->next = self->backend->closed;
    self->backend->closed = self;
    pthread_mutex_unlock (&gpb_fake_lock);
}

static gpb_status_t
s_memory_free (gpb_context_t *self, uint64_t *free_size, gpb_error_t *error)
{
    (void) error;
    pthread_mutex_lock (&gpb_fake_lock);
    *free_size = self->backend->total - self->backend->devices [self->number].used;
    pthread_mutex_unlock (&gpb_fake_lock);
    return GPB_OK;
}

//  ---------------------------------------------------------------------------------------------------------
//  Memory

static gpb_status_t
s_allocate (gpb_context_t *self, gpb_memory_kind_t kind, gpb_access_t access, uint64_t size,
            gpb_memory_t **memory_p, gpb_error_t *error)
{
    const gpb_backend_services_t *services = self->backend->services;
    *memory_p = NULL;
    pthread_mutex_lock (&gpb_fake_lock);
    fake_device_t *device = &self->backend->devices [self->number];
    gpb_status_t status = GPB_OK;
    if (self->closing)
        status = gpb_fake_fault (self->backend, error, "memory of a context that is closed");
    else if (size < 1)
        status = gpb_fake_fault (self->backend, error, "memory of 0 bytes is asked for");
    else if (device->lost)
        status = services->error_set (error, GPB_UNAVAILABLE, "the device is lost");
    else if (kind == GPB_MEMORY_MAPPED && !self->backend->svm)
        status =
            services->error_set (error, GPB_UNIMPLEMENTED,
                                 "fake %u has no memory that host and kernels share", self->number);
    else if (self->backend->fail_every
             && ++self->backend->allocations % self->backend->fail_every == 0)
        status = services->error_set (error, GPB_RESOURCE_EXHAUSTED, "GPB_FAKE_FAIL_EVERY says so");
    else if (kind == GPB_MEMORY_DEVICE && size > self->backend->total - device->used)
        status = services->error_set (error, GPB_RESOURCE_EXHAUSTED,
                                      "out of memory on fake %u: %" PRIu64
                                      " bytes asked for, %" PRIu64 " are free",
                                      self->number, size, self->backend->total - device->used);
    gpb_memory_t *memory = status == GPB_OK ? services->alloc (1, sizeof *memory) : NULL;
    unsigned char *data =
        status == GPB_OK ? services->alloc_aligned (GPB_MEMORY_ALIGNMENT, size) : NULL;
    if (memory && data) {
        //  What is not zeroed must not look as if it were.
        memset (data, 0xA5, size);
        *memory = (gpb_memory_t){ .next = self->backend->memories,
                                  .context = self,
                                  .kind = kind,
                                  .access = access,
                                  .size = size,
                                  .data = data };
        self->backend->memories = memory;
        if (kind == GPB_MEMORY_DEVICE)
            device->used += size;
        *memory_p = memory;
    }
    else {
        services->free (memory);
        services->free (data);
        if (status == GPB_OK)
            status = services->error_set (error, GPB_RESOURCE_EXHAUSTED, "out of host memory");
    }
    pthread_mutex_unlock (&gpb_fake_lock);
    return status;
}

static gpb_status_t
s_wrap (gpb_context_t *self, void *address, uint64_t size, gpb_access_t access,
        gpb_memory_t **memory_p, gpb_error_t *error)
{
    (void) address;
    (void) size;
    (void) access;
    *memory_p = NULL;
    return self->backend->services->error_set (error, GPB_UNIMPLEMENTED,
                                               "fake %u does not share the host's memory",
                                               self->number);
}

static void
s_release (gpb_memory_t **memory_p)
{
    gpb_memory_t *memory = *memory_p;
    if (!memory)
        return;
    *memory_p = NULL;
    pthread_mutex_lock (&gpb_fake_lock);
    gpb_backend_t *backend = memory->context->backend;
    if (memory->released)
        gpb_fake_fault (backend, NULL, "memory of %" PRIu64 " bytes is released twice",
                        memory->size);
    else {
        memory->released = true;
        if (memory->kind == GPB_MEMORY_DEVICE)
            backend->devices [memory->context->number].used -= memory->size;
        if (memory->commands)
            gpb_fake_fault (backend, NULL,
                            "memory of %" PRIu64 " bytes is released while %u commands use it",
                            memory->size, memory->commands);
        else {
            backend->services->free (memory->data);
            memory->data = NULL;
        }
    }
    pthread_mutex_unlock (&gpb_fake_lock);
}

static gpb_status_t
s_address (gpb_memory_t *memory, void **address_p, gpb_error_t *error)
{
    gpb_status_t status = GPB_OK;
    *address_p = NULL;
    pthread_mutex_lock (&gpb_fake_lock);
    const gpb_backend_t *backend = memory->context->backend;
    if (memory->released)
        status = gpb_fake_fault (backend, error, "the address of released memory is asked for");
    else if (memory->kind == GPB_MEMORY_DEVICE)
        status = backend->services->error_set (error, GPB_FAILED_PRECONDITION,
                                               "device memory has no address on the host");
    else
        *address_p = memory->data;
    pthread_mutex_unlock (&gpb_fake_lock);
    return status;
}

//  Notes that command uses size bytes of memory from offset on. Under the lock.
static gpb_status_t
s_use (command_t *command, gpb_memory_t *memory, uint64_t offset, uint64_t size, gpb_error_t *error)
{
    const gpb_backend_t *backend = memory->context->backend;
    if (memory->released)
        return gpb_fake_fault (backend, error, "a command uses memory that is released");
    if (offset > memory->size || size > memory->size - offset)
        return gpb_fake_fault (backend, error,
                               "a command uses %" PRIu64 " bytes at %" PRIu64
                               " of memory of %" PRIu64,
                               size, offset, memory->size);
    command->uses [command->uses_count++] = memory;
    return GPB_OK;
}

//  ---------------------------------------------------------------------------------------------------------
//  Commands

//  Under the lock. A command with its event's record; both NULL where memory runs out.
static gpb_status_t
s_command (gpb_context_t *self, unsigned stream, engine_t engine, gpb_notify_t notify,
           bool wants_event, command_t **command_p, gpb_error_t *error)
{
    const gpb_backend_services_t *services = self->backend->services;
    *command_p = NULL;
    if (self->closing)
        return gpb_fake_fault (self->backend, error, "a command for a context that is closed");
    if (stream >= self->streams_count)
        return gpb_fake_fault (self->backend, error, "there is no stream %u", stream);
    if (self->backend->devices [self->number].lost)
        return services->error_set (error, GPB_UNAVAILABLE, "the device is lost");
    command_t *command = services->alloc (1, sizeof *command);
    gpb_event_t *event = wants_event ? services->alloc (1, sizeof *event) : NULL;
    if (!command || (wants_event && !event)) {
        services->free (command);
        services->free (event);
        return services->error_set (error, GPB_RESOURCE_EXHAUSTED, "out of host memory");
    }
    command->context = self;
    command->stream = stream;
    command->engine = engine;
    command->notify = notify;
    command->event = event;
    if (event)
        event->context = self;
    *command_p = command;
    return GPB_OK;
}

//  Under the lock. Enqueues a command whose checks came to status, or throws it away.
static gpb_status_t
s_commit (gpb_context_t *self, command_t *command, gpb_status_t status, gpb_event_t **event_p)
{
    const gpb_backend_services_t *services = self->backend->services;
    if (status == GPB_OK) {
        if (command->event) {
            command->event->next = self->backend->events;
            self->backend->events = command->event;
            *event_p = command->event;
        }
        gpb_fake_enqueue (self, command);
    }
    else if (command) {
        services->free (command->event);
        services->free (command);
    }
    return status;
}

static bool
s_is_device (const gpb_place_t *place)
{
    return place->memory && place->memory->kind == GPB_MEMORY_DEVICE;
}

static gpb_status_t
s_copy (gpb_context_t *self, unsigned stream, const gpb_place_t *target, const gpb_place_t *source,
        uint64_t size, gpb_notify_t notify, gpb_event_t **event_p, gpb_error_t *error)
{
    engine_t engine = !s_is_device (source)  ? GPB_FAKE_COPY_IN
                      : s_is_device (target) ? GPB_FAKE_COMPUTE
                                             : GPB_FAKE_COPY_OUT;
    command_t *command;
    if (event_p)
        *event_p = NULL;
    pthread_mutex_lock (&gpb_fake_lock);
    gpb_status_t status =
        s_command (self, stream, engine, notify, event_p != NULL, &command, error);
    if (status == GPB_OK && size < 1)
        status = gpb_fake_fault (self->backend, error, "a copy of 0 bytes");
    if (status == GPB_OK && target->memory)
        status = s_use (command, target->memory, target->offset, size, error);
    if (status == GPB_OK && source->memory)
        status = s_use (command, source->memory, source->offset, size, error);
    if (status == GPB_OK) {
        command->to = target->memory ? target->memory->data + target->offset : target->address;
        command->from = source->memory ? source->memory->data + source->offset : source->address;
        command->size = size;
    }
    status = s_commit (self, command, status, event_p);
    pthread_mutex_unlock (&gpb_fake_lock);
    return status;
}

static gpb_status_t
s_zero (gpb_context_t *self, unsigned stream, gpb_memory_t *memory, uint64_t offset, uint64_t size,
        gpb_notify_t notify, gpb_event_t **event_p, gpb_error_t *error)
{
    command_t *command;
    if (event_p)
        *event_p = NULL;
    pthread_mutex_lock (&gpb_fake_lock);
    gpb_status_t status =
        s_command (self, stream, GPB_FAKE_COMPUTE, notify, event_p != NULL, &command, error);
    if (status == GPB_OK)
        status = s_use (command, memory, offset, size, error);
    if (status == GPB_OK) {
        command->to = memory->data + offset;
        command->size = size;
    }
    status = s_commit (self, command, status, event_p);
    pthread_mutex_unlock (&gpb_fake_lock);
    return status;
}

//  ---------------------------------------------------------------------------------------------------------
//  Code

//  "fake: NAME" in a text; FUNCTIONS where there is none that is known.
static function_id_t
s_find_function (const char *text)
{
    const char *found = strstr (text, "fake: ");
    if (!found)
        return FUNCTIONS;
    found += strlen ("fake: ");
    size_t length = strcspn (found, " \t\r\n*");
    for (function_id_t id = 0; id < FUNCTION_DISPATCH; id++)
        if (strlen (s_function_names [id]) == length
            && strncmp (found, s_function_names [id], length) == 0)
            return id;
    return FUNCTIONS;
}

static gpb_status_t
s_build (gpb_context_t *self, const gpb_code_t *code, gpb_module_t **module_p, gpb_error_t *error)
{
    const gpb_backend_services_t *services = self->backend->services;
    *module_p = NULL;
    if (code->never_compile && code->kind != GPB_CODE_BINARY)
        return services->error_set (error, GPB_FAILED_PRECONDITION,
                                    "%s is a source, and nothing may be compiled here", code->name);
    gpb_fake_last_us (self->backend->build_us);
    const gpb_test_handler_t *handler;
    gpb_status_t status = gpb_fake_find_handler (self, code, &handler, error);
    if (status != GPB_OK)
        return status;
    char *text = services->alloc (code->size + 1, 1);
    gpb_module_t *module = services->alloc (1, sizeof *module);
    if (!text || !module) {
        services->free (text);
        services->free (module);
        return services->error_set (error, GPB_RESOURCE_EXHAUSTED, "out of host memory");
    }
    memcpy (text, code->data, code->size);
    function_id_t id = handler ? FUNCTION_DISPATCH : s_find_function (text);
    if (id == FUNCTIONS) {
        services->free (text);
        services->free (module);
        return services->error_set (error, GPB_INVALID_ARGUMENT,
                                    "%s:1: error: no \"fake: NAME\" of a function that is built in",
                                    code->name ? code->name : "code");
    }
    pthread_mutex_lock (&gpb_fake_lock);
    gpb_fake_check_alone (self, "code is loaded");
    *module = (gpb_module_t){
        .next = self->backend->modules, .context = self, .text = text, .id = id, .handler = handler
    };
    self->backend->modules = module;
    pthread_mutex_unlock (&gpb_fake_lock);
    *module_p = module;
    return GPB_OK;
}

static gpb_status_t
s_binary (gpb_module_t *module, void **data_p, size_t *size_p, gpb_error_t *error)
{
    const gpb_backend_services_t *services = module->context->backend->services;
    *size_p = strlen (module->text);
    *data_p = services->alloc (*size_p + 1, 1);
    if (!*data_p)
        return services->error_set (error, GPB_RESOURCE_EXHAUSTED, "out of host memory");
    memcpy (*data_p, module->text, *size_p);
    return GPB_OK;
}

//  A text is its own binary.
static gpb_status_t
s_compile (const gpb_backend_services_t *services, const gpb_code_t *code, const char *architecture,
           void **data_p, size_t *size_p, gpb_error_t *error)
{
    *data_p = NULL;
    *size_p = 0;
    if (strcmp (architecture, "fake") != 0)
        return services->error_set (error, GPB_INVALID_ARGUMENT,
                                    "there is no architecture %s: \"fake\" is the only one",
                                    architecture);
    char *data = services->alloc (code->size + 1, 1);
    if (!data)
        return services->error_set (error, GPB_RESOURCE_EXHAUSTED, "out of host memory");
    memcpy (data, code->data, code->size);
    *data_p = data;
    *size_p = code->size;
    return GPB_OK;
}

static void
s_compiler (gpb_context_t *self, char *text, size_t size)
{
    (void) self;
    snprintf (text, size, "fake; compiler 1");
}

static void
s_unload (gpb_module_t **module_p)
{
    gpb_module_t *module = *module_p;
    if (!module)
        return;
    *module_p = NULL;
    pthread_mutex_lock (&gpb_fake_lock);
    gpb_fake_check_alone (module->context, "code is unloaded");
    if (module->unloaded)
        gpb_fake_fault (module->context->backend, NULL, "a module is unloaded twice");
    else if (module->commands)
        gpb_fake_fault (module->context->backend, NULL,
                        "a module is unloaded while %u commands run it", module->commands);
    module->unloaded = true;
    pthread_mutex_unlock (&gpb_fake_lock);
}

static gpb_status_t
s_function (gpb_module_t *module, const char *entry, gpb_function_t **function_p,
            gpb_function_info_t *info, gpb_error_t *error)
{
    const gpb_backend_t *backend = module->context->backend;
    *function_p = NULL;
    gpb_status_t status = GPB_OK;
    pthread_mutex_lock (&gpb_fake_lock);
    if (module->unloaded)
        status = gpb_fake_fault (backend, error, "a function of an unloaded module is asked for");
    else if (module->handler ? strcmp (entry, s_function_names [FUNCTION_DISPATCH]) != 0
                                   && strcmp (entry, s_function_names [FUNCTION_ONCE]) != 0
                             : !strstr (module->text, entry))
        status = backend->services->error_set (error, GPB_NOT_FOUND,
                                               "the module has no kernel \"%s\"", entry);
    gpb_function_t *function =
        status == GPB_OK ? backend->services->alloc (1, sizeof *function) : NULL;
    if (function) {
        function->module = module;
        function->id = module->handler && strcmp (entry, s_function_names [FUNCTION_ONCE]) == 0
                           ? FUNCTION_ONCE
                           : module->id;
        function->next = module->functions;
        module->functions = function;
        if (info)
            *info = (gpb_function_info_t){ 1024, 32, 0 };
        *function_p = function;
    }
    else if (status == GPB_OK)
        status = backend->services->error_set (error, GPB_RESOURCE_EXHAUSTED, "out of host memory");
    pthread_mutex_unlock (&gpb_fake_lock);
    return status;
}

//  The bytes of an argument's memory that a function touches.
static uint64_t
s_reach (const command_t *command, function_id_t id)
{
    if (id == FUNCTION_COPY)
        return command->work_items;
    const gpb_argument_t *count = &command->arguments [3];
    return id == FUNCTION_ADD_F32 && count->scalar.i32 > 0 ? 4 * (uint64_t) count->scalar.i32 : 0;
}

//  Under the lock.
static gpb_status_t
s_check_arguments (gpb_context_t *self, const gpb_launch_t *launch, command_t *command,
                   gpb_error_t *error)
{
    const gpb_backend_services_t *services = self->backend->services;
    function_id_t id = launch->function->id;
    const char *parameters = s_function_parameters [id];
    bool any = *parameters == '*';
    if (launch->arguments_count > GPB_FAKE_ARGUMENTS_MAX
        || (!any && launch->arguments_count != strlen (parameters)))
        return services->error_set (error, GPB_INVALID_ARGUMENT, "%s takes %zu arguments, not %zu",
                                    s_function_names [id], strlen (parameters),
                                    launch->arguments_count);
    if (launch->arguments_count)
        memcpy (command->arguments, launch->arguments,
                launch->arguments_count * sizeof *launch->arguments);
    command->arguments_count = launch->arguments_count;
    for (size_t index = 0; index < launch->arguments_count; index++) {
        const gpb_argument_t *argument = &launch->arguments [index];
        bool is_memory = argument->kind == GPB_ARGUMENT_MEMORY;
        if (!any
            && (is_memory != (parameters [index] == 'm' || parameters [index] == 'w')
                || (is_memory && !argument->memory)
                || (!is_memory && argument->size != (parameters [index] == 'l' ? 8 : 4))))
            return services->error_set (error, GPB_INVALID_ARGUMENT,
                                        "argument %zu of %s is of another kind", index,
                                        s_function_names [id]);
        if (!is_memory || !argument->memory)
            continue;
        if (argument->memory->kind == GPB_MEMORY_HOST)
            return services->error_set (error, GPB_FAILED_PRECONDITION,
                                        "argument %zu is host memory, which kernels do not reach",
                                        index);
        if (!any && parameters [index] == 'w' && argument->memory->access == GPB_ACCESS_READ_ONLY)
            return gpb_fake_fault (self->backend, error, "%s writes read-only memory",
                                   s_function_names [id]);
        uint64_t reach = any ? 0 : s_reach (command, id);
        if (argument->size && reach > argument->size)
            return gpb_fake_fault (self->backend, error,
                                   "%s uses %" PRIu64 " bytes of a part of %" PRIu64,
                                   s_function_names [id], reach, argument->size);
        gpb_status_t status = s_use (command, argument->memory, argument->offset,
                                     argument->size > reach ? argument->size : reach, error);
        if (status != GPB_OK)
            return status;
    }
    return GPB_OK;
}

static gpb_status_t
s_launch (gpb_context_t *self, unsigned stream, const gpb_launch_t *launch, gpb_notify_t notify,
          gpb_event_t **event_p, gpb_error_t *error)
{
    command_t *command;
    if (event_p)
        *event_p = NULL;
    pthread_mutex_lock (&gpb_fake_lock);
    gpb_status_t status =
        s_command (self, stream, GPB_FAKE_COMPUTE, notify, event_p != NULL, &command, error);
    if (status == GPB_OK && launch->function->module->unloaded)
        status = gpb_fake_fault (self->backend, error, "a function of an unloaded module is run");
    if (status == GPB_OK && (launch->dimensions < 1 || launch->dimensions > GPB_DIMENSIONS))
        status =
            gpb_fake_fault (self->backend, error, "a launch of %u dimensions", launch->dimensions);
    if (status == GPB_OK) {
        command->work_items = 1;
        for (unsigned dimension = 0; dimension < launch->dimensions; dimension++)
            command->work_items *= launch->global [dimension];
        if (command->work_items < 1)
            status = gpb_fake_fault (self->backend, error, "a launch without any work-item");
    }
    if (status == GPB_OK) {
        command->function = launch->function;
        status = s_check_arguments (self, launch, command, error);
    }
    if (status == GPB_OK && launch->function->id == FUNCTION_DISPATCH) {
        command->engine = GPB_FAKE_LANE;
        status = gpb_fake_check_lane (self, launch, command, error);
        if (status == GPB_OK && !gpb_fake_start_lane (command))
            status = self->backend->services->error_set (error, GPB_RESOURCE_EXHAUSTED,
                                                         "no thread for a lane");
    }
    status = s_commit (self, command, status, event_p);
    pthread_mutex_unlock (&gpb_fake_lock);
    return status;
}

//  ---------------------------------------------------------------------------------------------------------
//  Events

static gpb_status_t
s_query (gpb_event_t *event, bool *done, gpb_event_times_t *times, gpb_error_t *error)
{
    pthread_mutex_lock (&gpb_fake_lock);
    const gpb_backend_t *backend = event->context->backend;
    gpb_status_t status = GPB_OK;
    if (times)
        *times = (gpb_event_times_t){ 0 };
    *done = true;
    if (event->freed)
        status = gpb_fake_fault (backend, error, "an event is asked after it was freed");
    else if (!event->done)
        *done = false;
    else if (event->outcome != GPB_OK)
        status = backend->services->error_set (error, event->outcome,
                                               event->outcome == GPB_UNAVAILABLE
                                                   ? "the device is lost"
                                                   : "the command did not run to its end");
    else if (times && event->context->profiling)
        *times = (gpb_event_times_t){ true, event->start_ns, event->end_ns };
    pthread_mutex_unlock (&gpb_fake_lock);
    return status;
}

static void
s_event_free (gpb_event_t **event_p)
{
    gpb_event_t *event = *event_p;
    if (!event)
        return;
    *event_p = NULL;
    pthread_mutex_lock (&gpb_fake_lock);
    if (event->freed)
        gpb_fake_fault (event->context->backend, NULL, "an event is freed twice");
    event->freed = true;
    pthread_mutex_unlock (&gpb_fake_lock);
}

//  ---------------------------------------------------------------------------------------------------------
//  The module

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
    .name = GPB_FAKE_NAME,
    .operations = &s_operations,
};
