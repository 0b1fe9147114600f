//  gpb_fake_engine - the engines of the fake backend: a thread each
//
//  An engine waits until a stream has a command of its kind in front, takes the oldest of those,
//  does it outside the lock, lets it last as long as the delays say, and puts its outcome down. So
//  the commands of one stream run in order, and those of several overlap as far as they need
//  different engines.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_fake.h"

#include "gpb_clock.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

pthread_mutex_t gpb_fake_lock = PTHREAD_MUTEX_INITIALIZER;
gpb_context_t *gpb_fake_contexts;

static void
s_sleep_until (uint64_t until_ns)
{
    struct timespec until = { (time_t) (until_ns / GPB_NS_PER_S),
                              (long) (until_ns % GPB_NS_PER_S) };
    while (clock_nanosleep (CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        continue;
}

void
gpb_fake_last_us (uint64_t us)
{
    struct timespec now;
    clock_gettime (CLOCK_MONOTONIC, &now);
    s_sleep_until ((uint64_t) now.tv_sec * GPB_NS_PER_S + (uint64_t) now.tv_nsec + us * 1000);
}

//  Under the lock. The oldest command that this engine may start now.
static command_t *
s_next (gpb_context_t *context, engine_t engine)
{
    command_t *found = NULL;
    //  A lane keeps its compute unit for as long as it runs.
    if (engine == GPB_FAKE_COMPUTE && context->lanes >= context->backend->compute_units)
        return NULL;
    for (unsigned index = 0; index < context->streams_count; index++) {
        command_t *command = context->streams [index].first;
        if (command && !command->running && command->engine == engine
            && (!found || command->sequence < found->sequence))
            found = command;
    }
    return found;
}

static bool
s_is_idle (const gpb_context_t *context)
{
    for (unsigned index = 0; index < context->streams_count; index++)
        if (context->streams [index].first)
            return false;
    return true;
}

//  ---------------------------------------------------------------------------------------------------------
//  The work of a command, outside the lock but for what waits

static void *
s_memory (const gpb_argument_t *argument)
{
    return argument->memory->data + argument->offset;
}

static void
s_add_f32 (const command_t *command)
{
    const gpb_argument_t *arguments = command->arguments;
    const float *a = s_memory (&arguments [0]), *b = s_memory (&arguments [1]);
    float *c = s_memory (&arguments [2]);
    for (int32_t index = 0; index < arguments [3].scalar.i32; index++)
        c [index] = a [index] + b [index];
}

static gpb_status_t
s_wait_for_the_end (gpb_context_t *context, const command_t *command)
{
    pthread_mutex_lock (&gpb_fake_lock);
    while (!command->lane.killed && !command->lane.let_go)
        pthread_cond_wait (&context->changed, &gpb_fake_lock);
    gpb_status_t outcome = command->lane.let_go ? GPB_OK : GPB_CANCELLED;
    pthread_mutex_unlock (&gpb_fake_lock);
    return outcome;
}

static gpb_status_t
s_run_once (command_t *command)
{
    const gpb_argument_t *arguments = command->arguments;
    return gpb_test_once (command->function->module->handler, &command->lane,
                          s_memory (&arguments [0]), arguments [1].scalar.u64,
                          arguments [2].scalar.u64, arguments [3].scalar.u64,
                          arguments [4].scalar.u64)
               ? GPB_OK
               : GPB_CANCELLED;
}

static gpb_status_t
s_run (gpb_context_t *context, command_t *command)
{
    const gpb_argument_t *arguments = command->arguments;
    if (!command->function) {
        if (command->from)
            memmove (command->to, command->from, command->size);
        else
            memset (command->to, 0, command->size);
        return GPB_OK;
    }
    switch (command->function->id) {
    case FUNCTION_ADD_F32: s_add_f32 (command); break;
    case FUNCTION_COPY:
        memmove (arguments [1].memory->data + arguments [1].offset,
                 arguments [0].memory->data + arguments [0].offset, command->work_items);
        break;
    case FUNCTION_SLEEP_US:
        s_sleep_until (gpb_clock_ns () + (uint64_t) arguments [0].scalar.i32 * 1000);
        break;
    case FUNCTION_FAIL: return GPB_INTERNAL;
    case FUNCTION_LOSE: return GPB_UNAVAILABLE;
    case FUNCTION_NEVER_DONE: return s_wait_for_the_end (context, command);
    case FUNCTION_ONCE: return s_run_once (command);
    case FUNCTION_NOOP:
    case FUNCTION_DISPATCH:    //  has a thread of its own
    case FUNCTIONS: break;
    }
    return GPB_OK;
}

//  ---------------------------------------------------------------------------------------------------------
//  An engine's life

//  Under the lock. The eventfd comes last: who is woken by it finds the event done.
void
gpb_fake_finish (gpb_context_t *context, command_t *command, gpb_status_t outcome,
                 uint64_t start_ns, uint64_t end_ns)
{
    stream_t *stream = &context->streams [command->stream];
    stream->first = command->next;
    if (!stream->first)
        stream->last = NULL;
    if (outcome == GPB_UNAVAILABLE && !context->backend->devices [context->number].lost) {
        context->backend->devices [context->number].lost = true;
        for (gpb_context_t *other = gpb_fake_contexts; other; other = other->next)
            if (other->number == context->number)
                gpb_fake_kill_lanes (other);
    }
    for (size_t index = 0; index < command->uses_count; index++) {
        gpb_memory_t *memory = command->uses [index];
        memory->commands--;
        if (memory->released && memory->commands == 0) {
            context->backend->services->free (memory->data);
            memory->data = NULL;
        }
    }
    if (command->function)
        command->function->module->commands--;
    if (command->event) {
        command->event->done = true;
        command->event->outcome = outcome;
        command->event->start_ns = start_ns;
        command->event->end_ns = end_ns;
    }
    if (command->notify == GPB_NOTIFY) {
        const uint64_t one = 1;
        while (write (stream->notify_fd, &one, sizeof one) < 0 && errno == EINTR)
            continue;
    }
    context->backend->services->free (command);
    pthread_cond_broadcast (&context->changed);
}

static void *
s_engine (void *argument)
{
    const worker_t *worker = argument;
    gpb_context_t *context = worker->context;
    const gpb_backend_t *backend = context->backend;
    const uint64_t delay_us =
        worker->engine == GPB_FAKE_COMPUTE ? backend->compute_us : backend->copy_us;
    pthread_mutex_lock (&gpb_fake_lock);
    for (;;) {
        command_t *command = s_next (context, worker->engine);
        if (!command) {
            if (context->closing && s_is_idle (context))
                break;
            pthread_cond_wait (&context->changed, &gpb_fake_lock);
            continue;
        }
        command->running = true;
        bool lost = backend->devices [context->number].lost;
        pthread_mutex_unlock (&gpb_fake_lock);
        uint64_t start_ns = gpb_clock_ns ();
        gpb_status_t outcome = lost ? GPB_UNAVAILABLE : s_run (context, command);
        if (!lost && delay_us)
            s_sleep_until (start_ns + delay_us * 1000);
        uint64_t end_ns = gpb_clock_ns ();
        pthread_mutex_lock (&gpb_fake_lock);
        gpb_fake_finish (context, command, outcome, start_ns, end_ns);
    }
    pthread_mutex_unlock (&gpb_fake_lock);
    return NULL;
}

bool
gpb_fake_start_engines (gpb_context_t *context)
{
    for (engine_t engine = 0; engine < GPB_FAKE_ENGINES; engine++) {
        worker_t *worker = &context->workers [engine];
        worker->context = context;
        worker->engine = engine;
        if (pthread_create (&worker->thread, NULL, s_engine, worker) != 0)
            return false;
        context->workers_count++;
    }
    return true;
}

void
gpb_fake_stop_engines (gpb_context_t *context)
{
    pthread_mutex_lock (&gpb_fake_lock);
    context->closing = true;
    for (unsigned index = 0; index < context->streams_count; index++)
        for (command_t *command = context->streams [index].first; command; command = command->next)
            command->lane.killed = true;
    pthread_cond_broadcast (&context->changed);
    while (context->lane_threads > 0)
        pthread_cond_wait (&context->changed, &gpb_fake_lock);
    pthread_mutex_unlock (&gpb_fake_lock);
    for (unsigned index = 0; index < context->workers_count; index++)
        pthread_join (context->workers [index].thread, NULL);
}

void
gpb_fake_enqueue (gpb_context_t *context, command_t *command)
{
    stream_t *stream = &context->streams [command->stream];
    command->sequence = context->sequence++;
    for (size_t index = 0; index < command->uses_count; index++)
        command->uses [index]->commands++;
    if (command->function)
        command->function->module->commands++;
    if (stream->last)
        stream->last->next = command;
    else
        stream->first = command;
    stream->last = command;
    pthread_cond_broadcast (&context->changed);
}

void
gpb_fake_let_go (void)
{
    pthread_mutex_lock (&gpb_fake_lock);
    for (gpb_context_t *context = gpb_fake_contexts; context; context = context->next) {
        for (unsigned index = 0; index < context->streams_count; index++)
            for (command_t *command = context->streams [index].first; command;
                 command = command->next)
                command->lane.let_go = true;
        pthread_cond_broadcast (&context->changed);
    }
    pthread_mutex_unlock (&gpb_fake_lock);
}
