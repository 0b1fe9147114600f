//  gpb_once - a persistent kernel on demand
//
//      memory   [ state ][ request, input ][ answer, output ] [ request, input ][ answer, output ]
//      ...
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_once.h"

#include "gpb_alloc.h"
#include "gpb_clock.h"
#include "gpb_lane_layout.h"

#include <assert.h>
#include <poll.h>
#include <string.h>

#define SETTLE_MS 1000    //  for a copy and one handler that is well

typedef struct {
    bool is_taken;
    gpb_event_t *event;    //  of the last command; NULL: nothing was enqueued yet
} s_place_t;

struct gpb_once {
    const gpb_resident_t *resident;
    gpb_memory_t *memory;      //  that the kernel uses
    gpb_memory_t *mirror;      //  of it on the host; NULL: memory is the host's as well
    unsigned char *address;    //  of the mirror or the memory
    uint64_t state_size;       //  bytes, rounded up, as are the next two
    uint64_t request_size, answer_size;
    bool is_unsure;    //  something was enqueued that no place's event stands behind
    int places_count;
    s_place_t places [GPB_ONCE_PLACES_MAX];
};

static uint64_t
s_round_up (uint64_t size)
{
    return (size + GPB_LANE_UNIT - 1) / GPB_LANE_UNIT * GPB_LANE_UNIT;
}

static uint64_t
s_request_at (const gpb_once_t *self, int place)
{
    return self->state_size + (uint64_t) place * (self->request_size + self->answer_size);
}

static uint64_t
s_answer_at (const gpb_once_t *self, int place)
{
    return s_request_at (self, place) + self->request_size;
}

static gpb_status_t
s_allocate (gpb_once_t *self, uint64_t size, gpb_error_t *error)
{
    const gpb_shared_context_t *shared = self->resident->shared;
    const gpb_backend_operations_t *operations = shared->operations;
    const bool is_shared = shared->info.shares_host_memory;
    gpb_status_t status =
        operations->allocate (shared->context, is_shared ? GPB_MEMORY_HOST : GPB_MEMORY_DEVICE,
                              GPB_ACCESS_READ_WRITE, size, &self->memory, error);
    if (status == GPB_OK && !is_shared)
        status = operations->allocate (shared->context, GPB_MEMORY_HOST, GPB_ACCESS_READ_WRITE,
                                       size, &self->mirror, error);
    void *address = NULL;
    if (status == GPB_OK)
        status = operations->address (is_shared ? self->memory : self->mirror, &address, error);
    if (status != GPB_OK)
        return status;
    self->address = address;
    //  The first launch finds the state zero: by a command before it, or at once.
    if (is_shared) {
        memset (self->address, 0, self->state_size);
        return GPB_OK;
    }
    self->is_unsure = true;
    return operations->zero (shared->context, gpb_shared_context_host_stream (shared), self->memory,
                             0, self->state_size, GPB_NOTIFY_NOT, NULL, error);
}

gpb_once_t *
gpb_once_new (const gpb_resident_t *resident, uint64_t memory_size, gpb_error_t *error)
{
    gpb_once_t *self = gpb_alloc (1, sizeof *self);
    if (!self) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a kernel's launches");
        return NULL;
    }
    const gpb_persistent_t *settings = resident->settings;
    self->resident = resident;
    self->state_size = s_round_up (settings->state_size ? settings->state_size : 1);
    self->request_size = s_round_up (sizeof (gpb_lane_request_t) + settings->input_max);
    self->answer_size = s_round_up (sizeof (gpb_lane_answer_t) + settings->output_max);
    const uint64_t place_size = self->request_size + self->answer_size;
    uint64_t count = memory_size / place_size;
    count = count < 1 ? 1 : count;
    self->places_count = (int) (count < GPB_ONCE_PLACES_MAX ? count : GPB_ONCE_PLACES_MAX);
    if (s_allocate (self, s_request_at (self, self->places_count), error) != GPB_OK)
        gpb_once_destroy (&self);
    return self;
}

//  Waits, with a command behind all that was enqueued, until that has ended: it zeroes a place's
//  answer, which nobody reads any more. False: it has not in time, or nobody can tell.
static bool
s_settle (gpb_once_t *self, int place)
{
    const gpb_shared_context_t *shared = self->resident->shared;
    const gpb_backend_operations_t *operations = shared->operations;
    const uint64_t end_ns = gpb_clock_ns () + SETTLE_MS * GPB_NS_PER_MS;
    gpb_event_t *event = NULL;
    gpb_error_t error;
    bool done = false;
    if (operations->zero (shared->context, gpb_shared_context_host_stream (shared), self->memory,
                          s_answer_at (self, place), self->answer_size, GPB_NOTIFY_NOT, &event,
                          &error)
        != GPB_OK)
        return false;
    while (operations->query (event, &done, NULL, &error) == GPB_OK && !done
           && gpb_clock_ns () < end_ns)
        poll (NULL, 0, 1);
    operations->event_free (&event);
    return done;
}

void
gpb_once_destroy (gpb_once_t **self_p)
{
    gpb_once_t *self = *self_p;
    if (!self)
        return;
    if (self->is_unsure && self->memory && !s_settle (self, 0)) {
        gpb_once_abandon (self_p);
        return;
    }
    *self_p = NULL;
    const gpb_backend_operations_t *operations = self->resident->shared->operations;
    operations->release (&self->memory);
    operations->release (&self->mirror);
    gpb_free (self);
}

void
gpb_once_abandon (gpb_once_t **self_p)
{
    gpb_free (*self_p);
    *self_p = NULL;
}

int
gpb_once_place (const gpb_once_t *self)
{
    for (int place = 0; place < self->places_count; place++)
        if (!self->places [place].is_taken)
            return place;
    return -1;
}

void *
gpb_once_input (gpb_once_t *self, int place)
{
    return self->address + s_request_at (self, place) + sizeof (gpb_lane_request_t);
}

//  Between the mirror and the memory; nothing to do where they are one.
static gpb_status_t
s_copy (gpb_once_t *self, bool is_in, uint64_t offset, uint64_t size, gpb_event_t **event_p,
        gpb_error_t *error)
{
    if (!self->mirror)
        return GPB_OK;
    const gpb_shared_context_t *shared = self->resident->shared;
    const gpb_place_t device = { .memory = self->memory, .offset = offset };
    const gpb_place_t host = { .memory = self->mirror, .offset = offset };
    return shared->operations->copy (shared->context, gpb_shared_context_host_stream (shared),
                                     is_in ? &device : &host, is_in ? &host : &device, size,
                                     event_p ? GPB_NOTIFY : GPB_NOTIFY_NOT, event_p, error);
}

static gpb_status_t
s_launch (gpb_once_t *self, int place, gpb_event_t **event_p, gpb_error_t *error)
{
    const gpb_shared_context_t *shared = self->resident->shared;
    const uint64_t offsets [] = { s_request_at (self, place), s_answer_at (self, place), 0, 0 };
    gpb_argument_t arguments [5] = { { .kind = GPB_ARGUMENT_MEMORY, .memory = self->memory } };
    for (size_t index = 0; index < 4; index++)
        arguments [1 + index] = (gpb_argument_t){ .kind = GPB_ARGUMENT_SCALAR,
                                                  .scalar.u64 = offsets [index],
                                                  .size = sizeof offsets [index] };
    const uint64_t local = self->resident->settings->local;
    const gpb_launch_t launch = { .function = self->resident->once,
                                  .dimensions = 1,
                                  .global = { local },
                                  .local = { local },
                                  .arguments = arguments,
                                  .arguments_count = 5 };
    return shared->operations->launch (shared->context, gpb_shared_context_host_stream (shared),
                                       &launch, event_p ? GPB_NOTIFY : GPB_NOTIFY_NOT, event_p,
                                       error);
}

gpb_status_t
gpb_once_launch (gpb_once_t *self, int place, uint32_t size, uint32_t capacity, gpb_error_t *error)
{
    s_place_t *taken = &self->places [place];
    assert (!taken->is_taken);
    gpb_lane_request_t *request =
        (gpb_lane_request_t *) (self->address + s_request_at (self, place));
    *request = (gpb_lane_request_t){ .sequence = 1, .size = size, .capacity = capacity };
    gpb_event_t **event_p = &taken->event;
    gpb_status_t status =
        s_copy (self, true, s_request_at (self, place), sizeof *request + size, NULL, error);
    if (status == GPB_OK)
        status = s_launch (self, place, self->mirror ? NULL : event_p, error);
    if (status == GPB_OK)
        status = s_copy (self, false, s_answer_at (self, place),
                         sizeof (gpb_lane_answer_t) + capacity, event_p, error);
    taken->is_taken = status == GPB_OK;
    self->is_unsure = self->is_unsure && status != GPB_OK;
    //  A part of it may be under way, and reads what the next message would write. Where that does
    //  not end, nobody gets the place any more.
    if (status != GPB_OK && self->mirror)
        taken->is_taken = self->is_unsure = !s_settle (self, place);
    return status;
}

gpb_status_t
gpb_once_answer (gpb_once_t *self, int place, bool *done_p, gpb_ring_answer_t *answer,
                 gpb_error_t *error)
{
    s_place_t *taken = &self->places [place];
    *done_p = false;
    gpb_status_t status =
        self->resident->shared->operations->query (taken->event, done_p, NULL, error);
    if (!*done_p && status == GPB_OK)
        return GPB_OK;
    *done_p = true;
    if (status != GPB_OK)
        return status;
    const gpb_lane_answer_t *found =
        (const gpb_lane_answer_t *) (self->address + s_answer_at (self, place));
    *answer = (gpb_ring_answer_t){ .outcome = found->status == GPB_LANE_OK ? GPB_RING_OK
                                                                           : GPB_RING_OVERFLOW,
                                   .size = found->size,
                                   .output = found + 1,
                                   .taken_ticks = found->taken_ticks,
                                   .done_ticks = found->done_ticks };
    return GPB_OK;
}

void
gpb_once_give (gpb_once_t *self, int place)
{
    s_place_t *taken = &self->places [place];
    self->resident->shared->operations->event_free (&taken->event);
    taken->is_taken = false;
}
