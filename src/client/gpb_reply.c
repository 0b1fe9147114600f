//  gpb_reply - the answer to one request
//
//  Owns the header, unpacked, and the payload frames; whatever its functions return points into
//  them. One thread at a time, no I/O. What came from the node was checked by
//  gpb_codec_check_reply.
//
//  All that a reply holds beside large results is in blocks that are filled from the front and
//  freed together: most replies are one block. protobuf-c would allocate each nested message and
//  string on its own, and walk the descriptors once more to free them. At most 1 MiB, as of the
//  codec, since a header of 64 KiB can unpack to 20 MiB.
//
//  libzmq keeps small frames inside its own structure and puts large ones 40 bytes into a block, so
//  that a frame's data is rarely aligned as malloc aligns. A result that is not is copied once.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_reply.h"

#include "gpb_alloc.h"
#include "gpb_client_internal.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define S_BLOCK_SIZE 1024    //  with its head: the largest that glibc hands out without a lock
#define S_BLOCKS_MAX_SIZE (1024 * 1024)

struct _gpb_reply_block_t {
    gpb_reply_block_t *next;
    size_t size, used;    //  bytes of data
    _Alignas(max_align_t) unsigned char data [];
};

//  protobuf-c's allocator: memory that is not zeroed, aligned for anything; NULL: no more.
static void *
s_alloc (void *data, size_t size)
{
    gpb_reply_t *self = data;
    gpb_reply_block_t *block = self->blocks;
    size_t needed = size > S_BLOCKS_MAX_SIZE
                        ? SIZE_MAX
                        : (size + _Alignof(max_align_t) - 1) & ~(_Alignof(max_align_t) - 1);
    if (!block || needed > block->size - block->used) {
        size_t room = S_BLOCK_SIZE - sizeof *block;
        if (needed > room)
            room = needed;
        if (room <= S_BLOCKS_MAX_SIZE - self->blocks_size)
            block = gpb_realloc (NULL, 1, sizeof *block + room);
        else
            block = NULL;
        if (!block) {
            self->exhausted = true;
            return NULL;
        }
        block->next = self->blocks;
        block->size = room;
        block->used = 0;
        self->blocks = block;
        self->blocks_size += room;
    }
    void *memory = block->data + block->used;
    block->used += needed;
    return memory;
}

static void
s_free (void *data, void *memory)
{
    (void) data;
    (void) memory;
}

gpb_reply_t *
gpb_reply_new (uint64_t id)
{
    gpb_reply_t *self = gpb_alloc (1, sizeof *self);
    if (self) {
        self->id = id;
        gpb__v1__reply__init (&self->own);
        self->own.version = GPB_PROTOCOL_VERSION;
        self->own.id = id;
    }
    return self;
}

static void
s_clear (gpb_reply_t *self)
{
    for (size_t index = 0; index < self->results_count; index++)
        gpb_free (self->results [index].copy);
    for (size_t index = 0; index < self->payloads_count; index++)
        zmq_msg_close (&self->payloads [index]);
    while (self->blocks) {
        gpb_reply_block_t *next = self->blocks->next;
        gpb_free (self->blocks);
        self->blocks = next;
    }
    self->blocks_size = 0;
    self->results = NULL;
    self->timing = NULL;
    self->payloads = NULL;
    self->unpacked = NULL;
    self->results_count = 0;
    self->payloads_count = 0;
}

void
gpb_reply_destroy (gpb_reply_t **self_p)
{
    gpb_reply_t *self = *self_p;
    if (self) {
        s_clear (self);
        gpb_request_destroy (&self->request);
        gpb_free (self);
        *self_p = NULL;
    }
}

//  ---------------------------------------------------------------------------------------------------------
//  For the client

static gpb_status_t
s_take_payloads (gpb_reply_t *self, gpb_message_t *message, gpb_error_t *error)
{
    if (message->payloads_count == 0)
        return GPB_OK;
    self->payloads = s_alloc (self, message->payloads_count * sizeof *self->payloads);
    if (!self->payloads)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for the reply");
    for (; self->payloads_count < message->payloads_count; self->payloads_count++) {
        zmq_msg_init (&self->payloads [self->payloads_count]);
        zmq_msg_move (&self->payloads [self->payloads_count],
                      &message->payloads [self->payloads_count]);
    }
    return GPB_OK;
}

static gpb_status_t
s_set_result (gpb_reply_t *self, const Gpb__V1__Result *source, gpb_error_t *error)
{
    gpb_result_t *result = &self->results [self->results_count++];
    *result = (gpb_result_t){ .data = NULL };
    if (source && source->value_case == GPB__V1__RESULT__VALUE_INLINE) {
        result->data = source->inline_.data;
        result->size = source->inline_.len;
    }
    else if (source && source->value_case == GPB__V1__RESULT__VALUE_FRAME
             && source->frame < self->payloads_count)
    {
        result->data = zmq_msg_data (&self->payloads [source->frame]);
        result->size = zmq_msg_size (&self->payloads [source->frame]);
    }
    else
        return gpb_error_set (error, GPB_INVALID_ARGUMENT, "a result without a payload");
    //  An empty result is bytes too, none of them: its data is not NULL.
    if ((uintptr_t) result->data % _Alignof(max_align_t) != 0 || !result->data) {
        result->copy = gpb_alloc_aligned (_Alignof(max_align_t), result->size);
        if (!result->copy)
            return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a result");
        if (result->data && result->size)
            memcpy (result->copy, result->data, result->size);
        result->data = result->copy;
    }
    return GPB_OK;
}

static gpb_status_t
s_set_results (gpb_reply_t *self, gpb_error_t *error)
{
    const Gpb__V1__Reply *header = self->unpacked;
    size_t count = 0;
    Gpb__V1__Result **list = NULL;
    if (header->body_case == GPB__V1__REPLY__BODY_EXECUTE) {
        count = header->execute->n_results;
        list = header->execute->results;
    }
    else if (header->body_case == GPB__V1__REPLY__BODY_READ && header->read->result) {
        count = 1;
        list = &header->read->result;
    }
    if (count == 0)
        return GPB_OK;
    //  A header of 64 KiB has at most so many results of 2 bytes that this is no overflow.
    self->results = s_alloc (self, count * sizeof *self->results);
    if (!self->results)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for the reply");
    gpb_status_t status = GPB_OK;
    for (size_t index = 0; status == GPB_OK && index < count; index++)
        status = s_set_result (self, list [index], error);
    return status;
}

static gpb_status_t
s_set_timing (gpb_reply_t *self, gpb_error_t *error)
{
    const Gpb__V1__Reply *header = self->unpacked;
    const Gpb__V1__MessageTiming *is =
        header->body_case == GPB__V1__REPLY__BODY_EXECUTE ? header->execute->message : NULL;
    if (!is)
        return GPB_OK;
    self->timing = s_alloc (self, sizeof *self->timing);
    if (!self->timing)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for the reply");
    *self->timing = (gpb_message_timing_t){ .clock = is->clock,
                                            .is_measured = is->measured,
                                            .is_on_demand = is->on_demand,
                                            .lane = is->lane,
                                            .queued_ns = is->queued_ns,
                                            .ring_ns = is->ring_ns };
    //  What a device without a clock may have put there is no time.
    if (is->measured) {
        self->timing->taken_ns = is->taken_ns;
        self->timing->handler_ns = is->handler_ns;
        self->timing->back_ns = is->back_ns;
    }
    return GPB_OK;
}

gpb_status_t
gpb_reply_accept (gpb_reply_t *self, gpb_message_t *message, gpb_error_t *error)
{
    ProtobufCAllocator allocator = { s_alloc, s_free, self };
    self->exhausted = false;
    self->unpacked = gpb__v1__reply__unpack (&allocator, zmq_msg_size (&message->header),
                                             zmq_msg_data (&message->header));
    gpb_status_t status = GPB_OK;
    if (!self->unpacked && self->exhausted)
        status = gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for the reply");
    else if (!self->unpacked)
        status = gpb_error_set (error, GPB_INVALID_ARGUMENT,
                                "the header is no Reply: a field has the wrong type");
    if (status == GPB_OK)
        status = s_take_payloads (self, message, error);
    if (status == GPB_OK)
        status = s_set_results (self, error);
    if (status == GPB_OK)
        status = s_set_timing (self, error);
    if (status != GPB_OK)
        s_clear (self);
    return status;
}

void
gpb_reply_forget (gpb_reply_t *self)
{
    s_clear (self);
}

void
gpb_reply_answer (gpb_reply_t *self, gpb_status_t status, const char *format, ...)
{
    s_clear (self);
    va_list arguments;
    va_start (arguments, format);
    vsnprintf (self->text, sizeof self->text, format, arguments);
    va_end (arguments);
    self->own.status = (Gpb__V1__Status) status;
    self->own.message = self->text;
}

//  ---------------------------------------------------------------------------------------------------------
//  For the application

const Gpb__V1__Reply *
gpb_reply_header_peek (const gpb_reply_t *self)
{
    return self->unpacked ? self->unpacked : &self->own;
}

uint64_t
gpb_reply_id (const gpb_reply_t *self)
{
    return self->id;
}

gpb_status_t
gpb_reply_status (const gpb_reply_t *self)
{
    //  A status of a later protocol is none that this library knows.
    unsigned status = (unsigned) gpb_reply_header_peek (self)->status;
    return status <= GPB_UNAUTHENTICATED ? (gpb_status_t) status : GPB_UNKNOWN;
}

const char *
gpb_reply_message (const gpb_reply_t *self)
{
    return gpb_reply_header_peek (self)->message;
}

size_t
gpb_reply_results (const gpb_reply_t *self)
{
    return self->results_count;
}

const void *
gpb_reply_result (const gpb_reply_t *self, size_t index, size_t *size_p)
{
    if (size_p)
        *size_p = index < self->results_count ? self->results [index].size : 0;
    return index < self->results_count ? self->results [index].data : NULL;
}

uint32_t
gpb_reply_retry_after_ms (const gpb_reply_t *self)
{
    return gpb_reply_status (self) == GPB_RESOURCE_EXHAUSTED
               ? gpb_reply_header_peek (self)->retry_after_ms
               : 0;
}

uint64_t
gpb_reply_handle (const gpb_reply_t *self)
{
    const Gpb__V1__Reply *header = gpb_reply_header_peek (self);
    if (header->body_case == GPB__V1__REPLY__BODY_RENT)
        return header->rent->handle;
    if (header->body_case == GPB__V1__REPLY__BODY_RESERVE)
        return header->reserve->handle;
    return 0;
}

void *
gpb_reply_address (const gpb_reply_t *self)
{
    //  Another process's pointer is no pointer here, whatever the reply says.
    const Gpb__V1__Reply *header = gpb_reply_header_peek (self);
    if (header->body_case != GPB__V1__REPLY__BODY_MAP
        || header->map->process != (uint64_t) getpid ())
        return NULL;
    return (void *) (uintptr_t) header->map->address;
}

int
gpb_reply_device (const gpb_reply_t *self)
{
    const Gpb__V1__Reply *header = gpb_reply_header_peek (self);
    if (header->body_case == GPB__V1__REPLY__BODY_EXECUTE)
        return (int) header->execute->device;
    if (header->body_case == GPB__V1__REPLY__BODY_RENT)
        return (int) header->rent->device;
    if (header->body_case == GPB__V1__REPLY__BODY_RESERVE)
        return (int) header->reserve->device;
    return -1;
}

uint64_t
gpb_reply_round_trip_ns (const gpb_reply_t *self)
{
    return self->round_trip_ns;
}

const gpb_message_timing_t *
gpb_reply_message_timing (const gpb_reply_t *self)
{
    return self->timing;
}
