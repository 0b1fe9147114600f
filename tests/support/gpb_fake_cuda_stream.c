//  gpb_fake_cuda_stream - streams, events and callbacks of the fake CUDA driver
//
//  A stream is a thread that carries its commands out one after the other. It counts them, so that
//  a command is known by its stream and its number: an event is where its latest record stands, and
//  a stream that waits for an event waits until the other one has come past that number.
//
//  When the context has failed, commands are dropped as they come up, waits end, and callbacks are
//  called with its error. A stream that is destroyed with work left does that work; its thread is
//  joined then, or else by the context's last release.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_fake_cuda_private.h"

#include "gpb_clock.h"

#include <errno.h>
#include <stdlib.h>

//  ---------------------------------------------------------------------------------------------------------
//  Commands

command_t *
gpb_fake_cuda_command (run_t *run)
{
    command_t *command = calloc (1, sizeof *command);
    if (command) {
        command->call = gpb_fake_cuda_at.call;
        command->run = run;
    }
    return command;
}

void
gpb_fake_cuda_command_destroy (command_t *command)
{
    if (!command)
        return;
    for (unsigned index = 0; index < command->uses_count; index++)
        gpb_fake_cuda_use_no_more (command->uses [index]);
    free (command->values);
    free (command);
}

void
gpb_fake_cuda_enqueue (CUstream stream, command_t *command)
{
    if (stream->last)
        stream->last->next = command;
    else
        stream->first = command;
    stream->last = command;
    stream->enqueued++;
    pthread_cond_signal (&stream->wake);
}

void
gpb_fake_cuda_last (uint64_t start_ns, uint64_t us)
{
    const uint64_t until_ns = start_ns + us * 1000;
    const struct timespec until = { (time_t) (until_ns / GPB_NS_PER_S),
                                    (long) (until_ns % GPB_NS_PER_S) };
    while (us && clock_nanosleep (CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        continue;
}

//  ---------------------------------------------------------------------------------------------------------
//  A stream's thread

static void
s_check_ready (const command_t *command)
{
    for (unsigned index = 0; index < command->uses_count; index++)
        if (!command->uses [index]->is_ready)
            gpb_fake_cuda_fault ("uses memory whose stream has not come to its allocation");
}

static void
s_carry_out (CUstream self, command_t *command)
{
    CUcontext context = self->object.context;
    gpb_fake_cuda_at.call = command->call;
    if (context->error == CUDA_SUCCESS || command->runs_always) {
        s_check_ready (command);
        CUresult result = command->run (self, command);
        if (result != CUDA_SUCCESS)
            gpb_fake_cuda_end_context (context, result);
    }
    if (command->function) {
        command->function->module->commands--;
        context->persistent -= command->function->is.is_persistent;
    }
    self->first = command->next;
    if (!self->first)
        self->last = NULL;
    gpb_fake_cuda_command_destroy (command);
    self->done++;
    pthread_cond_broadcast (&gpb_fake_cuda_changed);
}

static void *
s_stream (void *argument)
{
    CUstream self = argument;
    pthread_mutex_lock (&gpb_fake_cuda_lock);
    while (self->first || !self->is_closing)
        if (self->first)
            s_carry_out (self, self->first);
        else
            pthread_cond_wait (&self->wake, &gpb_fake_cuda_lock);
    pthread_mutex_unlock (&gpb_fake_cuda_lock);
    return NULL;
}

//  Leaves the lock meanwhile.
static void
s_join (CUstream self)
{
    self->is_joined = true;
    self->is_closing = true;
    pthread_cond_signal (&self->wake);
    pthread_mutex_unlock (&gpb_fake_cuda_lock);
    pthread_join (self->thread, NULL);
    pthread_mutex_lock (&gpb_fake_cuda_lock);
    pthread_cond_destroy (&self->wake);
}

static CUstream
s_find_running (const struct CUctx_st *context)
{
    for (object_t *object = gpb_fake_cuda_driver.objects; object; object = object->next)
        if (object->kind == OBJECT_STREAM && object->context == context
            && !((CUstream) object)->is_joined)
            return (CUstream) object;
    return NULL;
}

void
gpb_fake_cuda_join (const struct CUctx_st *context)
{
    for (CUstream stream; (stream = s_find_running (context)) != NULL;)
        s_join (stream);
}

//  ---------------------------------------------------------------------------------------------------------
//  Streams

CUresult
cuStreamCreate (CUstream *stream_p, unsigned int flags)
{
    CUcontext context;
    CUresult result = gpb_fake_cuda_begin_context (CALL_cuStreamCreate, &context);
    if (result == CUDA_SUCCESS && flags > CU_STREAM_NON_BLOCKING)
        result = CUDA_ERROR_INVALID_VALUE;
    if (result != CUDA_SUCCESS)
        return gpb_fake_cuda_end (result);
    CUstream stream = gpb_fake_cuda_object (context, OBJECT_STREAM, sizeof *stream);
    if (!stream)
        return gpb_fake_cuda_end (CUDA_ERROR_OUT_OF_MEMORY);
    pthread_cond_init (&stream->wake, NULL);
    if (pthread_create (&stream->thread, NULL, s_stream, stream) == 0)
        *stream_p = stream;
    else {
        pthread_cond_destroy (&stream->wake);
        stream->is_joined = true;
        stream->object.is_gone = true;
        result = CUDA_ERROR_OPERATING_SYSTEM;
    }
    return gpb_fake_cuda_end (result);
}

//  Takes the lock, as every begin does.
static CUresult
s_begin_stream (call_t call, CUstream stream)
{
    CUcontext context;
    CUresult result = gpb_fake_cuda_begin_context (call, &context);
    return result == CUDA_SUCCESS ? gpb_fake_cuda_check (context, stream, OBJECT_STREAM) : result;
}

CUresult
cuStreamDestroy_v2 (CUstream stream)
{
    CUresult result = s_begin_stream (CALL_cuStreamDestroy, stream);
    if (result == CUDA_SUCCESS) {
        stream->object.is_gone = true;
        stream->is_closing = true;
        if (!stream->first)
            s_join (stream);
    }
    return gpb_fake_cuda_end (result);
}

CUresult
cuStreamSynchronize (CUstream stream)
{
    CUresult result = s_begin_stream (CALL_cuStreamSynchronize, stream);
    if (result != CUDA_SUCCESS)
        return gpb_fake_cuda_end (result);
    const struct CUctx_st *context = stream->object.context;
    const uint64_t number = stream->enqueued;
    while (stream->done < number && context->error == CUDA_SUCCESS)
        pthread_cond_wait (&gpb_fake_cuda_changed, &gpb_fake_cuda_lock);
    return gpb_fake_cuda_end (context->error);
}

static CUresult
s_run_wait (CUstream stream, command_t *command)
{
    while (command->other->done < command->number && stream->object.context->error == CUDA_SUCCESS)
        pthread_cond_wait (&gpb_fake_cuda_changed, &gpb_fake_cuda_lock);
    return CUDA_SUCCESS;
}

CUresult
cuStreamWaitEvent (CUstream stream, CUevent event, unsigned int flags)
{
    CUresult result = s_begin_stream (CALL_cuStreamWaitEvent, stream);
    if (result == CUDA_SUCCESS)
        result = gpb_fake_cuda_check (NULL, event, OBJECT_EVENT);
    if (result == CUDA_SUCCESS && flags)
        result = CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS && event->stream) {
        command_t *command = gpb_fake_cuda_command (s_run_wait);
        if (command) {
            command->other = event->stream;
            command->number = event->number;
            gpb_fake_cuda_enqueue (stream, command);
        }
        else
            result = CUDA_ERROR_OUT_OF_MEMORY;
    }
    return gpb_fake_cuda_end (result);
}

static CUresult
s_run_callback (CUstream stream, command_t *command)
{
    CUcontext context = stream->object.context;
    const CUresult result = context->error;
    pthread_mutex_unlock (&gpb_fake_cuda_lock);
    gpb_fake_cuda_at.inside = context;
    command->callback (stream, result, command->argument);
    gpb_fake_cuda_at.inside = NULL;
    pthread_mutex_lock (&gpb_fake_cuda_lock);
    return CUDA_SUCCESS;
}

CUresult
cuStreamAddCallback (CUstream stream, CUstreamCallback callback, void *argument, unsigned int flags)
{
    CUresult result = s_begin_stream (CALL_cuStreamAddCallback, stream);
    if (result == CUDA_SUCCESS && (flags || !callback))
        result = CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS) {
        command_t *command = gpb_fake_cuda_command (s_run_callback);
        if (command) {
            command->runs_always = true;
            command->callback = callback;
            command->argument = argument;
            gpb_fake_cuda_enqueue (stream, command);
        }
        else
            result = CUDA_ERROR_OUT_OF_MEMORY;
    }
    return gpb_fake_cuda_end (result);
}

//  ---------------------------------------------------------------------------------------------------------
//  Events

CUresult
cuEventCreate (CUevent *event_p, unsigned int flags)
{
    CUcontext context;
    CUresult result = gpb_fake_cuda_begin_context (CALL_cuEventCreate, &context);
    if (result == CUDA_SUCCESS && flags != CU_EVENT_DEFAULT && flags != CU_EVENT_DISABLE_TIMING)
        result = CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS) {
        CUevent event = gpb_fake_cuda_object (context, OBJECT_EVENT, sizeof *event);
        if (event) {
            event->has_timing = flags != CU_EVENT_DISABLE_TIMING;
            *event_p = event;
        }
        else
            result = CUDA_ERROR_OUT_OF_MEMORY;
    }
    return gpb_fake_cuda_end (result);
}

//  Takes the lock, as every begin does.
static CUresult
s_begin_event (call_t call, CUevent event)
{
    CUcontext context;
    CUresult result = gpb_fake_cuda_begin_context (call, &context);
    return result == CUDA_SUCCESS ? gpb_fake_cuda_check (context, event, OBJECT_EVENT) : result;
}

CUresult
cuEventDestroy_v2 (CUevent event)
{
    CUresult result = s_begin_event (CALL_cuEventDestroy, event);
    if (result == CUDA_SUCCESS)
        event->object.is_gone = true;
    return gpb_fake_cuda_end (result);
}

static CUresult
s_run_record (CUstream stream, command_t *command)
{
    CUevent event = command->event;
    if (event->stream == stream && event->number == command->number)
        event->time_ns = gpb_clock_ns ();
    return CUDA_SUCCESS;
}

CUresult
cuEventRecord (CUevent event, CUstream stream)
{
    CUresult result = s_begin_event (CALL_cuEventRecord, event);
    if (result == CUDA_SUCCESS)
        result = gpb_fake_cuda_check (event->object.context, stream, OBJECT_STREAM);
    command_t *command = result == CUDA_SUCCESS ? gpb_fake_cuda_command (s_run_record) : NULL;
    if (command) {
        gpb_fake_cuda_enqueue (stream, command);
        command->event = event;
        command->number = stream->enqueued;
        event->stream = stream;
        event->number = stream->enqueued;
    }
    else if (result == CUDA_SUCCESS)
        result = CUDA_ERROR_OUT_OF_MEMORY;
    return gpb_fake_cuda_end (result);
}

static bool
s_is_done (const struct CUevent_st *event)
{
    return !event->stream || event->stream->done >= event->number;
}

CUresult
cuEventQuery (CUevent event)
{
    CUresult result = s_begin_event (CALL_cuEventQuery, event);
    if (result == CUDA_SUCCESS && !s_is_done (event))
        result = CUDA_ERROR_NOT_READY;
    return gpb_fake_cuda_end (result);
}

CUresult
cuEventElapsedTime (float *ms, CUevent start, CUevent end)
{
    CUresult result = s_begin_event (CALL_cuEventElapsedTime, start);
    if (result == CUDA_SUCCESS)
        result = gpb_fake_cuda_check (start->object.context, end, OBJECT_EVENT);
    if (result == CUDA_SUCCESS
        && (!start->has_timing || !end->has_timing || !start->stream || !end->stream))
        result = CUDA_ERROR_INVALID_HANDLE;
    if (result == CUDA_SUCCESS && (!s_is_done (start) || !s_is_done (end)))
        result = CUDA_ERROR_NOT_READY;
    if (result == CUDA_SUCCESS)
        *ms = (float) ((double) (int64_t) (end->time_ns - start->time_ns) / 1e6);
    return gpb_fake_cuda_end (result);
}
