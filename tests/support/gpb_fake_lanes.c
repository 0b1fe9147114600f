//  gpb_fake_lanes - persistent kernels on the fake backend
//
//  A package whose text says "#define GPB_HANDLER gpb_handler_NAME" is persistent. Its text is not
//  compiled: the same one is here already (gpb_test_dispatch.h). A launch of gpb_dispatch is a lane
//  and has a thread of its own, which waits until it comes first in its stream and a compute unit
//  is free, and then runs the loop until that returns.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_fake.h"

#include "gpb_clock.h"
#include "gpb_lane_layout.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

//  What stands behind a word in a text; NULL where the word is not there.
static const char *
s_behind (const char *text, const char *word)
{
    const char *found = strstr (text, word);
    return found ? found + strlen (word) : NULL;
}

gpb_status_t
gpb_fake_find_handler (const gpb_context_t *context, const gpb_code_t *code,
                       const gpb_test_handler_t **handler_p, gpb_error_t *error)
{
    const gpb_backend_services_t *services = context->backend->services;
    *handler_p = NULL;
    //  A binary is the text as well, but need not end in a NUL.
    char *text = services->alloc (code->size + 1, 1);
    if (!text)
        return services->error_set (error, GPB_RESOURCE_EXHAUSTED, "out of host memory");
    memcpy (text, code->data, code->size);
    const char *name = s_behind (text, "#define GPB_HANDLER gpb_handler_");
    const char *local = s_behind (text, "#define GPB_LANE_LOCAL ");
    gpb_status_t status = GPB_OK;
    if (name) {
        const int length = (int) strcspn (name, " \t\r\n");
        *handler_p = gpb_test_handler_find (name, (size_t) length);
        if (!*handler_p)
            status = services->error_set (error, GPB_INVALID_ARGUMENT,
                                          "%s:1: error: no handler \"%.*s\" is built in",
                                          code->name ? code->name : "code", length, name);
        else if (local && strtoul (local, NULL, 10) != 1)
            status =
                services->error_set (error, GPB_INVALID_ARGUMENT,
                                     "%s:1: error: a lane has one work-item here, not %lu",
                                     code->name ? code->name : "code", strtoul (local, NULL, 10));
    }
    services->free (text);
    return status;
}

//  Whether count parts of size bytes each, from offset on, lie in memory of so many bytes.
static bool
s_fits (uint64_t total, uint64_t offset, uint64_t count, uint64_t size)
{
    return offset % GPB_LANE_UNIT == 0 && size % GPB_LANE_UNIT == 0 && offset <= total
           && (size == 0 || count <= (total - offset) / size);
}

static bool
s_is_of_the_same_lane (const command_t *one, const command_t *other)
{
    const gpb_argument_t *a = one->arguments, *b = other->arguments;
    return other->engine == GPB_FAKE_LANE && a [0].memory == b [0].memory
           && a [0].offset + a [1].scalar.u64 == b [0].offset + b [1].scalar.u64;
}

gpb_status_t
gpb_fake_check_lane (const gpb_context_t *context, const gpb_launch_t *launch,
                     const command_t *command, gpb_error_t *error)
{
    const gpb_backend_t *backend = context->backend;
    const gpb_argument_t *argument = &command->arguments [0];
    const uint64_t control_offset = command->arguments [1].scalar.u64;
    const uint64_t total = argument->memory->size - argument->offset;
    if (command->work_items != 1 || (launch->local [0] != 0 && launch->local [0] != 1))
        return gpb_fake_fault (backend, error, "a lane of %" PRIu64 " work-items is launched",
                               command->work_items);
    if (argument->memory->kind != GPB_MEMORY_MAPPED)
        return gpb_fake_fault (backend, error, "a lane is in memory that the host does not reach");
    if (!s_fits (total, control_offset, 1, sizeof (gpb_lane_control_t)))
        return gpb_fake_fault (backend, error,
                               "a lane's control is at %" PRIu64 " of %" PRIu64 " bytes",
                               control_offset, total);
    for (unsigned index = 0; index < context->streams_count; index++)
        for (const command_t *other = context->streams [index].first; other; other = other->next)
            if (index != command->stream && s_is_of_the_same_lane (command, other))
                return gpb_fake_fault (backend, error,
                                       "a lane is launched while it runs on stream %u", index);
    //  The device's own part changes while it still runs in the same stream; this part does not.
    const gpb_lane_control_t *control =
        (const gpb_lane_control_t *) (argument->memory->data + argument->offset + control_offset);
    if (control->slots == 0 || (control->slots & (control->slots - 1)) != 0
        || control->request_size == 0 || control->answer_size == 0
        || !s_fits (total, control->requests, control->slots, control->request_size)
        || !s_fits (total, control->answers, control->slots, control->answer_size)
        || !s_fits (total, control->heap, 0, 0) || !s_fits (total, control->state, 0, 0))
        return gpb_fake_fault (backend, error,
                               "a lane of %u slots of %u and %u bytes, at %lu and %lu, its heap at "
                               "%lu and its state at %lu, is launched in %" PRIu64 " bytes",
                               control->slots, control->request_size, control->answer_size,
                               control->requests, control->answers, control->heap, control->state,
                               total);
    return GPB_OK;
}

void
gpb_fake_check_alone (const gpb_context_t *context, const char *what)
{
    if (context->backend->loads_alone && context->lane_threads > 0)
        gpb_fake_fault (context->backend, NULL, "%s while %u lanes are on the device", what,
                        context->lane_threads);
}

static void *
s_lane (void *argument)
{
    command_t *command = argument;
    gpb_context_t *context = command->context;
    const fake_device_t *device = &context->backend->devices [context->number];
    pthread_mutex_lock (&gpb_fake_lock);
    while (context->streams [command->stream].first != command
           || context->lanes >= context->backend->compute_units)
        pthread_cond_wait (&context->changed, &gpb_fake_lock);
    command->running = true;
    context->lanes++;
    gpb_status_t outcome = device->lost ? GPB_UNAVAILABLE : GPB_OK;
    pthread_mutex_unlock (&gpb_fake_lock);
    const gpb_argument_t *memory = &command->arguments [0];
    const uint64_t start_ns = gpb_clock_ns ();
    bool returned = outcome == GPB_OK
                    && gpb_test_dispatch (command->function->module->handler, &command->lane,
                                          memory->memory->data + memory->offset,
                                          command->arguments [1].scalar.u64);
    const uint64_t end_ns = gpb_clock_ns ();
    pthread_mutex_lock (&gpb_fake_lock);
    if (!returned)
        outcome = device->lost ? GPB_UNAVAILABLE : GPB_CANCELLED;
    context->lanes--;
    context->lane_threads--;
    gpb_fake_finish (context, command, outcome, start_ns, end_ns);
    pthread_mutex_unlock (&gpb_fake_lock);
    return NULL;
}

bool
gpb_fake_start_lane (command_t *command)
{
    pthread_t thread;
    if (pthread_create (&thread, NULL, s_lane, command) != 0)
        return false;
    pthread_detach (thread);
    command->context->lane_threads++;
    return true;
}

void
gpb_fake_kill_lanes (gpb_context_t *context)
{
    for (unsigned index = 0; index < context->streams_count; index++)
        for (command_t *command = context->streams [index].first; command; command = command->next)
            if (command->engine == GPB_FAKE_LANE)
                command->lane.killed = true;
}
