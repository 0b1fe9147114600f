//  gpb_scrubber - zeroes memory on a pool's stream, a piece at a time
//
//  The stream is in order, so the commands on it stand in a ring, and only the first is ever asked
//  whether it is done. Each of them notifies.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_scrubber.h"

#include "gpb_alloc.h"

#include <assert.h>

#define COMMANDS_MAX 64    //  on the stream: small pieces, one wake-up for many
#define SIZE_MAX_BEGUN (2 * GPB_SCRUB_PIECE_SIZE)    //  one at work, and the next one behind it

typedef struct {
    gpb_scrub_t *first, *last;
} s_queue_t;

typedef struct {
    gpb_event_t *event;
    gpb_scrub_t *scrub;
    uint64_t size;
} s_command_t;

struct _gpb_scrubber_t {
    const gpb_shared_context_t *shared;
    s_queue_t awaited, others;    //  with bytes that no command was enqueued for
    s_queue_t ended;              //  not yet told
    s_command_t commands [COMMANDS_MAX];
    size_t first, count;    //  of commands
    uint64_t size;          //  bytes of these commands
    bool is_stopped;        //  nothing more begins
};

gpb_scrubber_t *
gpb_scrubber_new (const gpb_shared_context_t *shared, gpb_error_t *error)
{
    gpb_scrubber_t *self = gpb_alloc (1, sizeof *self);
    if (self)
        self->shared = shared;
    else
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for what zeroes a pool's memory");
    return self;
}

void
gpb_scrubber_destroy (gpb_scrubber_t **self_p)
{
    gpb_scrubber_t *self = *self_p;
    if (!self)
        return;
    *self_p = NULL;
    assert (self->count == 0);
    gpb_free (self);
}

static void
s_push (s_queue_t *queue, gpb_scrub_t *scrub)
{
    scrub->next = NULL;
    *(queue->last ? &queue->last->next : &queue->first) = scrub;
    queue->last = scrub;
}

static gpb_scrub_t *
s_pop (s_queue_t *queue)
{
    gpb_scrub_t *scrub = queue->first;
    if (scrub) {
        queue->first = scrub->next;
        if (!queue->first)
            queue->last = NULL;
    }
    return scrub;
}

//  Enqueues the next piece of a scrub that is in no queue, and puts it where it belongs then. Those
//  that are awaited take turns; of the others, one ends before the next one begins.
static void
s_begin (gpb_scrubber_t *self, gpb_scrub_t *scrub, s_queue_t *queue)
{
    uint64_t size = scrub->size - scrub->begun;
    if (size > GPB_SCRUB_PIECE_SIZE)
        size = GPB_SCRUB_PIECE_SIZE;
    gpb_error_t error;
    gpb_event_t *event = NULL;
    gpb_status_t status =
        self->shared->operations->zero (self->shared->context, self->shared->streams, scrub->memory,
                                        scrub->offset + scrub->begun, size, GPB_NOTIFY, &event,
                                        &error);
    if (status != GPB_OK) {
        scrub->status = status;
        scrub->begun = scrub->size;
        if (scrub->commands == 0)
            s_push (&self->ended, scrub);
        return;
    }
    self->commands [(self->first + self->count++) % COMMANDS_MAX] =
        (s_command_t){ .event = event, .scrub = scrub, .size = size };
    self->size += size;
    scrub->commands++;
    scrub->begun += size;
    if (scrub->begun == scrub->size)
        return;
    if (queue == &self->awaited)
        s_push (queue, scrub);
    else {
        scrub->next = queue->first;
        queue->first = scrub;
        if (!queue->last)
            queue->last = scrub;
    }
}

static void
s_feed (gpb_scrubber_t *self)
{
    while (!self->is_stopped && self->count < COMMANDS_MAX && self->size < SIZE_MAX_BEGUN
           && (self->awaited.first || self->others.first))
    {
        s_queue_t *queue = self->awaited.first ? &self->awaited : &self->others;
        s_begin (self, s_pop (queue), queue);
    }
}

void
gpb_scrubber_add (gpb_scrubber_t *self, gpb_scrub_t *scrub, gpb_memory_t *memory, uint64_t offset,
                  uint64_t size, bool is_awaited)
{
    assert (size > 0);
    scrub->memory = memory;
    scrub->offset = offset;
    scrub->size = size;
    scrub->begun = 0;
    scrub->commands = 0;
    scrub->status = GPB_OK;
    s_push (is_awaited ? &self->awaited : &self->others, scrub);
    s_feed (self);
}

//  Takes the commands that are done off the ring.
static void
s_collect (gpb_scrubber_t *self)
{
    const gpb_backend_operations_t *operations = self->shared->operations;
    while (self->count) {
        s_command_t *command = &self->commands [self->first];
        bool done = false;
        gpb_error_t error;
        gpb_status_t status = operations->query (command->event, &done, NULL, &error);
        if (!done)
            break;
        operations->event_free (&command->event);
        gpb_scrub_t *scrub = command->scrub;
        if (scrub->status == GPB_OK)
            scrub->status = status;
        self->size -= command->size;
        self->first = (self->first + 1) % COMMANDS_MAX;
        self->count--;
        if (--scrub->commands == 0 && scrub->begun == scrub->size)
            s_push (&self->ended, scrub);
    }
}

gpb_scrub_t *
gpb_scrubber_done (gpb_scrubber_t *self)
{
    if (!self->ended.first)
        s_collect (self);
    s_feed (self);
    return s_pop (&self->ended);
}

void
gpb_scrubber_stop (gpb_scrubber_t *self)
{
    self->is_stopped = true;
}

bool
gpb_scrubber_is_idle (const gpb_scrubber_t *self)
{
    return self->count == 0;
}
