//  gpb_resident - a persistent kernel on one device
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_resident.h"

#include "gpb_alloc.h"
#include "gpb_clock.h"
#include "gpb_lane_layout.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

//  An empty poll of a device without a clock, roughly: a thread that offers its processor each
//  time.
#define POLL_NS 500

static uint64_t
s_round_up (uint64_t size)
{
    return (size + GPB_LANE_UNIT - 1) / GPB_LANE_UNIT * GPB_LANE_UNIT;
}

static gpb_status_t
s_compile (gpb_resident_t *self, gpb_cache_t *cache, gpb_error_t *error)
{
    const gpb_shared_context_t *shared = self->shared;
    gpb_function_info_t info;
    gpb_function_t *entry;
    gpb_status_t status =
        gpb_compile (self->kernel, shared->backend, shared->operations, shared->context, cache,
                     &self->module, &entry, &info, NULL, error);
    if (status == GPB_INVALID_ARGUMENT)    //  not the fault of who calls it
        return error->status = GPB_FAILED_PRECONDITION;
    if (status == GPB_OK)
        status = shared->operations->function (self->module, GPB_PERSISTENT_DISPATCH,
                                               &self->dispatch, &info, error);
    if (status == GPB_OK)
        status = shared->operations->function (self->module, GPB_PERSISTENT_ONCE, &self->once,
                                               &info, error);
    if (status == GPB_OK && info.max_work_group_size < self->settings->local)
        status = gpb_error_set (error, GPB_FAILED_PRECONDITION,
                                "kernel %s has local = [ %" PRIu32
                                " ], and device %u runs it with at most %" PRIu64,
                                gpb_kernel_id (self->kernel), self->settings->local, shared->index,
                                info.max_work_group_size);
    return status;
}

//  Blocks for what a slot has no room for.
static uint32_t
s_blocks (gpb_resident_t *self, uint64_t heap_size)
{
    const gpb_persistent_t *settings = self->settings;
    uint64_t largest =
        settings->input_max > settings->output_max ? settings->input_max : settings->output_max;
    if (largest <= settings->slot_size)
        return 0;
    self->block_size = s_round_up (largest);
    uint64_t most = 2 * (uint64_t) settings->lanes * settings->slots;
    uint64_t least = 2 * (uint64_t) settings->lanes, count = heap_size / self->block_size;
    count = count < least ? least : count;
    return (uint32_t) (count < most ? count : most);
}

static gpb_status_t
s_allocate (gpb_resident_t *self, uint64_t heap_size, gpb_error_t *error)
{
    const gpb_persistent_t *settings = self->settings;
    const gpb_backend_operations_t *operations = self->shared->operations;
    const uint32_t blocks = s_blocks (self, heap_size);
    const uint64_t ring_size = gpb_ring_size (settings->slots, settings->slot_size);
    const uint64_t state_size = s_round_up (settings->state_size);
    self->states = settings->lanes * ring_size;
    self->heap = self->states + settings->lanes * state_size;
    //  Block 0 is none, so that a place of 0 says: in the slot. It is not there.
    uint64_t size = self->heap + (uint64_t) (blocks ? blocks + 1 : 0) * self->block_size;
    size += GPB_LANE_UNIT;    //  a lane without a state has an address for it all the same
    gpb_status_t status = operations->allocate (self->shared->context, GPB_MEMORY_MAPPED,
                                                GPB_ACCESS_READ_WRITE, size, &self->memory, error);
    if (status != GPB_OK)
        return gpb_error_set (error, status,
                              "kernel %s: %" PRIu32 " lanes of %" PRIu32 " slots, and %" PRIu32
                              " blocks for large messages: %s",
                              gpb_kernel_id (self->kernel), settings->lanes, settings->slots,
                              blocks, error->text);
    void *address = NULL;
    status = operations->address (self->memory, &address, error);
    if (status != GPB_OK)
        return status;
    self->address = address;
    if (blocks) {
        self->free_blocks = gpb_alloc (blocks, sizeof *self->free_blocks);
        if (!self->free_blocks)
            return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a list of blocks");
    }
    for (uint32_t block = blocks; block > 0; block--)
        self->free_blocks [self->free_count++] = block;
    memset (self->address + self->states, 0, settings->lanes * state_size);
    self->lanes_count = settings->lanes;
    for (unsigned lane = 0; lane < self->lanes_count; lane++) {
        const gpb_ring_options_t options = { .slots = settings->slots,
                                             .slot_size = settings->slot_size,
                                             .heap = self->heap,
                                             .state = self->states + lane * state_size };
        gpb_ring_init (&self->lanes [lane].ring, self->address, lane * ring_size, &options, 0);
    }
    return GPB_OK;
}

gpb_resident_t *
gpb_resident_new (const gpb_shared_context_t *shared, const gpb_kernel_t *kernel,
                  gpb_cache_t *cache, uint64_t heap_size, gpb_error_t *error)
{
    gpb_resident_t *self = gpb_alloc (1, sizeof *self);
    if (!self) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a persistent kernel");
        return NULL;
    }
    self->shared = shared;
    self->kernel = kernel;
    self->settings = gpb_kernel_persistent (kernel);
    assert (self->settings);
    gpb_status_t status = s_compile (self, cache, error);
    if (status == GPB_OK && shared->lanes > 0)
        status = s_allocate (self, heap_size, error);
    if (status != GPB_OK)
        gpb_resident_destroy (&self);
    return self;
}

void
gpb_resident_destroy (gpb_resident_t **self_p)
{
    gpb_resident_t *self = *self_p;
    if (!self)
        return;
    *self_p = NULL;
    const gpb_backend_operations_t *operations = self->shared->operations;
    if (!gpb_resident_is_stuck (self)) {
        operations->release (&self->memory);
        if (self->module)
            operations->unload (&self->module);
    }
    gpb_free (self->free_blocks);
    gpb_free (self);
}

//  ---------------------------------------------------------------------------------------------------------
//  Messages

static bool
s_take_block (gpb_resident_t *self, uint64_t size, uint64_t *place_p)
{
    *place_p = 0;
    if (size <= self->settings->slot_size)
        return true;
    if (self->free_count == 0)
        return false;
    *place_p = self->free_blocks [--self->free_count] * self->block_size;
    return true;
}

static void
s_give_block (gpb_resident_t *self, uint64_t place)
{
    if (place)
        self->free_blocks [self->free_count++] = (uint32_t) (place / self->block_size);
}

bool
gpb_resident_take (gpb_resident_t *self, gpb_ring_message_t *message)
{
    if (!s_take_block (self, message->size, &message->input))
        return false;
    if (s_take_block (self, message->capacity, &message->output))
        return true;
    s_give_block (self, message->input);
    return false;
}

void
gpb_resident_give (gpb_resident_t *self, const gpb_ring_message_t *message)
{
    s_give_block (self, message->input);
    s_give_block (self, message->output);
}

void *
gpb_resident_input (gpb_resident_t *self, unsigned lane, const gpb_ring_message_t *message)
{
    return message->input ? self->address + self->heap + message->input
                          : gpb_ring_input (&self->lanes [lane].ring);
}

const void *
gpb_resident_output (const gpb_resident_t *self, const gpb_ring_message_t *message,
                     const gpb_ring_answer_t *answer)
{
    return message->output ? self->address + self->heap + message->output : answer->output;
}

//  ---------------------------------------------------------------------------------------------------------
//  Lanes

gpb_status_t
gpb_resident_wake (gpb_resident_t *self, unsigned number, unsigned stream, uint64_t idle_ns,
                   const gpb_ticks_t *clock, gpb_error_t *error)
{
    gpb_lane_t *lane = &self->lanes [number];
    assert (lane->state == GPB_LANE_PARKED || lane->state == GPB_LANE_FAILED);
    const uint64_t polls = idle_ns / POLL_NS;
    gpb_ring_run (&lane->ring, gpb_ticks_of (clock, idle_ns),
                  (uint32_t) (polls < UINT32_MAX ? polls : UINT32_MAX));
    const uint64_t offset =
        number * gpb_ring_size (self->settings->slots, self->settings->slot_size);
    const gpb_argument_t arguments [] = {
        { .kind = GPB_ARGUMENT_MEMORY, .memory = self->memory },
        { .kind = GPB_ARGUMENT_SCALAR, .scalar.u64 = offset, .size = sizeof offset }
    };
    const gpb_launch_t launch = { .function = self->dispatch,
                                  .dimensions = 1,
                                  .global = { self->settings->local },
                                  .local = { self->settings->local },
                                  .arguments = arguments,
                                  .arguments_count = 2 };
    gpb_status_t status = self->shared->operations->launch (self->shared->context, stream, &launch,
                                                            GPB_NOTIFY, &lane->event, error);
    if (status != GPB_OK) {
        lane->state = GPB_LANE_FAILED;
        if (error)
            lane->failure = *error;
        return status;
    }
    lane->stream = stream;
    lane->state = GPB_LANE_RESIDENT;
    lane->launches++;
    return GPB_OK;
}

void
gpb_resident_park (gpb_resident_t *self, unsigned number)
{
    gpb_lane_t *lane = &self->lanes [number];
    if (lane->state != GPB_LANE_RESIDENT)
        return;
    gpb_ring_park (&lane->ring);
    lane->state = GPB_LANE_PARKING;
}

bool
gpb_resident_settle (gpb_resident_t *self, unsigned number)
{
    gpb_lane_t *lane = &self->lanes [number];
    if (!lane->event)
        return false;
    bool done = false;
    gpb_error_t error = { GPB_OK, "" };
    gpb_status_t status = self->shared->operations->query (lane->event, &done, NULL, &error);
    if (status == GPB_OK && !done)
        return false;
    //  Of one in quarantine, too: its handler was slow.
    self->shared->operations->event_free (&lane->event);
    lane->state = status == GPB_OK ? GPB_LANE_PARKED : GPB_LANE_FAILED;
    lane->failure = error;
    return true;
}

void
gpb_resident_quarantine (gpb_resident_t *self, unsigned number)
{
    gpb_ring_park (&self->lanes [number].ring);
    self->lanes [number].state = GPB_LANE_QUARANTINED;
}

bool
gpb_resident_is_stuck (const gpb_resident_t *self)
{
    for (unsigned lane = 0; lane < self->lanes_count; lane++)
        if (self->lanes [lane].state == GPB_LANE_QUARANTINED)
            return true;
    return false;
}

void *
gpb_resident_state (gpb_resident_t *self, unsigned lane)
{
    return self->address + self->states + lane * s_round_up (self->settings->state_size);
}
