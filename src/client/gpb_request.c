//  gpb_request - one request to a node, being written
//
//  Owns what is put into it: copies of strings and data, and the data that it was given. Nothing
//  leaves it before gpb_client_send packs it; it may be packed again, for a request that is sent
//  again. The first error of a setter is kept and all later calls do nothing, but for taking what
//  they are given, so that it is freed. One thread at a time, no I/O.
//
//  A request has room for what it holds and no more: the bounds (64 arguments, 32 payloads) would
//  be 11 KiB to zero for each of some hundred thousand a second. The header points at what may move
//  while it grows only once it is packed.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_request.h"

#include "gpb_alloc.h"
#include "gpb_client_internal.h"

#include <stdio.h>
#include <string.h>

#define S_ROOM_FIRST 4    //  of a growing list: what most requests have

//  An argument, and what it points at where it is a buffer or an output.
typedef struct {
    Gpb__V1__Argument argument;
    union {
        Gpb__V1__BufferRange buffer;
        Gpb__V1__Output output;
    } value;
} s_argument_t;

struct _gpb_request_t {
    Gpb__V1__Request header;    //  its body points at the member of the union below
    union {
        Gpb__V1__Hello hello;
        Gpb__V1__Goodbye goodbye;
        Gpb__V1__ListDevices devices;
        Gpb__V1__ListKernels kernels;
        Gpb__V1__Stats stats;
        Gpb__V1__Health health;
        Gpb__V1__Execute execute;
        Gpb__V1__Rent rent;
        Gpb__V1__Release release;
        Gpb__V1__Write write;
        Gpb__V1__Read read;
        Gpb__V1__Copy copy;
        Gpb__V1__RegisterKernel register_kernel;
        Gpb__V1__Cancel cancel;
        Gpb__V1__Map map;
        Gpb__V1__Unmap unmap;
        Gpb__V1__Reserve reserve;
        Gpb__V1__Renew renew;
        Gpb__V1__Unreserve unreserve;
    } body;
    char *strings [2];          //  copies that the body points at
    s_argument_t *arguments;    //  of an execute request: its n_arguments
    size_t arguments_room;
    Gpb__V1__Argument **list;    //  arguments_room of them: the header's list
    uint64_t global [3];
    uint64_t local [3];
    char **require;    //  of a request that is placed: its n_require
    size_t require_room;
    zmq_msg_t *payloads;
    size_t payloads_count;
    size_t payloads_room;
    gpb_status_t status;    //  the first error, or GPB_OK
    char text [128];        //  and its sentence
};

static void
s_fail (gpb_request_t *self, gpb_status_t status, const char *text)
{
    if (self->status == GPB_OK) {
        self->status = status;
        snprintf (self->text, sizeof self->text, "%s", text);
    }
}

//  A request of this kind, its body as protobuf-c fills it in.
static gpb_request_t *
s_new (Gpb__V1__Request__BodyCase kind, const ProtobufCMessageDescriptor *body)
{
    gpb_request_t *self = gpb_alloc (1, sizeof *self);
    if (!self)
        return NULL;
    gpb__v1__request__init (&self->header);
    self->header.version = GPB_PROTOCOL_VERSION;
    self->header.body_case = kind;
    //  All members of the header's oneof are pointers in one place.
    self->header.hello = &self->body.hello;
    protobuf_c_message_init (body, &self->body);
    return self;
}

//  A copy of text that lives as long as the request.
static char *
s_copy (gpb_request_t *self, const char *text, size_t slot)
{
    if (!text)
        s_fail (self, GPB_INVALID_ARGUMENT, "a text is NULL");
    else if (!gpb_codec_text_ok (text, strlen (text)))
        s_fail (self, GPB_INVALID_ARGUMENT, "a text is not UTF-8");
    else if (!(self->strings [slot] = gpb_strdup (text)))
        s_fail (self, GPB_RESOURCE_EXHAUSTED, "no memory for a text");
    return self->strings [slot] ? self->strings [slot] : (char *) protobuf_c_empty_string;
}

gpb_request_t *
gpb_request_hello (void)
{
    gpb_request_t *self = s_new (GPB__V1__REQUEST__BODY_HELLO, &gpb__v1__hello__descriptor);
    if (self) {
        self->body.hello.oldest_version = GPB_PROTOCOL_VERSION;
        self->body.hello.newest_version = GPB_PROTOCOL_VERSION;
    }
    return self;
}

gpb_request_t *
gpb_request_goodbye (void)
{
    return s_new (GPB__V1__REQUEST__BODY_GOODBYE, &gpb__v1__goodbye__descriptor);
}

gpb_request_t *
gpb_request_devices (void)
{
    return s_new (GPB__V1__REQUEST__BODY_DEVICES, &gpb__v1__list_devices__descriptor);
}

gpb_request_t *
gpb_request_kernels (const char *kernel)
{
    gpb_request_t *self =
        s_new (GPB__V1__REQUEST__BODY_KERNELS, &gpb__v1__list_kernels__descriptor);
    if (self) {
        if (kernel)
            self->body.kernels.kernel = s_copy (self, kernel, 0);
    }
    return self;
}

gpb_request_t *
gpb_request_stats (void)
{
    return s_new (GPB__V1__REQUEST__BODY_STATS, &gpb__v1__stats__descriptor);
}

gpb_request_t *
gpb_request_health (void)
{
    return s_new (GPB__V1__REQUEST__BODY_HEALTH, &gpb__v1__health__descriptor);
}

gpb_request_t *
gpb_request_execute (const char *kernel)
{
    gpb_request_t *self = s_new (GPB__V1__REQUEST__BODY_EXECUTE, &gpb__v1__execute__descriptor);
    if (!self)
        return NULL;
    Gpb__V1__Execute *execute = &self->body.execute;
    execute->kernel = s_copy (self, kernel, 0);
    execute->global = self->global;
    execute->local = self->local;
    return self;
}

gpb_request_t *
gpb_request_rent (uint64_t size, gpb_rent_kind_t kind, gpb_rent_access_t access)
{
    gpb_request_t *self = s_new (GPB__V1__REQUEST__BODY_RENT, &gpb__v1__rent__descriptor);
    if (!self)
        return NULL;
    Gpb__V1__Rent *rent = &self->body.rent;
    rent->size = size;
    rent->kind =
        kind == GPB_RENT_MAPPED ? GPB__V1__MEMORY_KIND__MAPPED : GPB__V1__MEMORY_KIND__DEVICE;
    rent->access = access == GPB_RENT_READ_ONLY    ? GPB__V1__ACCESS__READ_ONLY
                   : access == GPB_RENT_WRITE_ONLY ? GPB__V1__ACCESS__WRITE_ONLY
                                                   : GPB__V1__ACCESS__READ_WRITE;
    return self;
}

gpb_request_t *
gpb_request_release (uint64_t handle)
{
    gpb_request_t *self = s_new (GPB__V1__REQUEST__BODY_RELEASE, &gpb__v1__release__descriptor);
    if (self) {
        self->body.release.handle = handle;
    }
    return self;
}

gpb_request_t *
gpb_request_read (uint64_t handle, uint64_t offset, uint64_t size)
{
    gpb_request_t *self = s_new (GPB__V1__REQUEST__BODY_READ, &gpb__v1__read__descriptor);
    if (self) {
        self->body.read.handle = handle;
        self->body.read.offset = offset;
        self->body.read.size = size;
    }
    return self;
}

gpb_request_t *
gpb_request_copy (uint64_t source, uint64_t source_offset, uint64_t target, uint64_t target_offset,
                  uint64_t size)
{
    gpb_request_t *self = s_new (GPB__V1__REQUEST__BODY_COPY, &gpb__v1__copy__descriptor);
    if (self) {
        Gpb__V1__Copy *copy = &self->body.copy;
        copy->source = source;
        copy->source_offset = source_offset;
        copy->target = target;
        copy->target_offset = target_offset;
        copy->size = size;
    }
    return self;
}

gpb_request_t *
gpb_request_map (uint64_t handle)
{
    gpb_request_t *self = s_new (GPB__V1__REQUEST__BODY_MAP, &gpb__v1__map__descriptor);
    if (self) {
        self->body.map.handle = handle;
    }
    return self;
}

gpb_request_t *
gpb_request_unmap (uint64_t handle)
{
    gpb_request_t *self = s_new (GPB__V1__REQUEST__BODY_UNMAP, &gpb__v1__unmap__descriptor);
    if (self) {
        self->body.unmap.handle = handle;
    }
    return self;
}

gpb_request_t *
gpb_request_reserve (uint64_t memory, uint32_t for_ms)
{
    gpb_request_t *self = s_new (GPB__V1__REQUEST__BODY_RESERVE, &gpb__v1__reserve__descriptor);
    if (self) {
        self->body.reserve.memory = memory;
        self->body.reserve.for_ms = for_ms;
    }
    return self;
}

gpb_request_t *
gpb_request_renew (uint64_t handle, uint32_t for_ms)
{
    gpb_request_t *self = s_new (GPB__V1__REQUEST__BODY_RENEW, &gpb__v1__renew__descriptor);
    if (self) {
        self->body.renew.handle = handle;
        self->body.renew.for_ms = for_ms;
    }
    return self;
}

gpb_request_t *
gpb_request_unreserve (uint64_t handle)
{
    gpb_request_t *self = s_new (GPB__V1__REQUEST__BODY_UNRESERVE, &gpb__v1__unreserve__descriptor);
    if (self) {
        self->body.unreserve.handle = handle;
    }
    return self;
}

gpb_request_t *
gpb_request_cancel (uint64_t id)
{
    gpb_request_t *self = s_new (GPB__V1__REQUEST__BODY_CANCEL, &gpb__v1__cancel__descriptor);
    if (self) {
        self->body.cancel.id = id;
    }
    return self;
}

gpb_request_t *
gpb_request_register (const char *definition, const char *source, bool replace)
{
    gpb_request_t *self =
        s_new (GPB__V1__REQUEST__BODY_REGISTER_KERNEL, &gpb__v1__register_kernel__descriptor);
    if (self) {
        Gpb__V1__RegisterKernel *kernel = &self->body.register_kernel;
        kernel->definition = s_copy (self, definition, 0);
        kernel->source = s_copy (self, source, 1);
        kernel->replace = replace;
    }
    return self;
}

void
gpb_request_destroy (gpb_request_t **self_p)
{
    gpb_request_t *self = *self_p;
    if (!self)
        return;
    while (self->payloads_count > 0)
        zmq_msg_close (&self->payloads [--self->payloads_count]);
    gpb_free (self->payloads);
    for (size_t index = 0; index < self->require_room; index++)
        gpb_free (self->require [index]);
    gpb_free (self->require);
    gpb_free (self->arguments);
    gpb_free (self->list);
    gpb_free (self->strings [0]);
    gpb_free (self->strings [1]);
    gpb_free (self);
    *self_p = NULL;
}

//  ---------------------------------------------------------------------------------------------------------
//  Payloads

//  Room for one more payload; false when memory runs out. libzmq moves its frames itself: realloc
//  must not.
static bool
s_grow_payloads (gpb_request_t *self)
{
    if (self->payloads_count < self->payloads_room)
        return true;
    size_t room = self->payloads_room ? 2 * self->payloads_room : S_ROOM_FIRST;
    zmq_msg_t *payloads = gpb_alloc (room, sizeof *payloads);
    if (!payloads)
        return false;
    for (size_t index = 0; index < self->payloads_count; index++) {
        zmq_msg_init (&payloads [index]);
        zmq_msg_move (&payloads [index], &self->payloads [index]);
        zmq_msg_close (&self->payloads [index]);
    }
    gpb_free (self->payloads);
    self->payloads = payloads;
    self->payloads_room = room;
    return true;
}

//  Takes a frame; its index, or -1.
static int
s_add_payload (gpb_request_t *self, zmq_msg_t *frame)
{
    if (self->payloads_count == GPB_PAYLOADS_MAX || !s_grow_payloads (self)) {
        if (self->payloads_count == GPB_PAYLOADS_MAX)
            s_fail (self, GPB_INVALID_ARGUMENT, "more than 32 payloads in one request");
        else
            s_fail (self, GPB_RESOURCE_EXHAUSTED, "no memory for a payload");
        zmq_msg_close (frame);
        return -1;
    }
    zmq_msg_t *target = &self->payloads [self->payloads_count];
    zmq_msg_init (target);
    zmq_msg_move (target, frame);
    zmq_msg_close (frame);
    return (int) self->payloads_count++;
}

static int
s_copy_payload (gpb_request_t *self, const void *data, size_t size)
{
    zmq_msg_t frame;
    if (!data && size) {
        s_fail (self, GPB_INVALID_ARGUMENT, "a payload is NULL");
        return -1;
    }
    if (zmq_msg_init_size (&frame, size) < 0) {
        s_fail (self, GPB_RESOURCE_EXHAUSTED, "no memory for a payload");
        return -1;
    }
    if (size)
        memcpy (zmq_msg_data (&frame), data, size);
    return s_add_payload (self, &frame);
}

gpb_request_t *
gpb_request_write (uint64_t handle, uint64_t offset, const void *data, size_t size)
{
    gpb_request_t *self = s_new (GPB__V1__REQUEST__BODY_WRITE, &gpb__v1__write__descriptor);
    if (self) {
        Gpb__V1__Write *body = &self->body.write;
        body->handle = handle;
        body->offset = offset;
        body->value_case = GPB__V1__WRITE__VALUE_FRAME;
        int frame = s_copy_payload (self, data, size);
        body->frame = frame < 0 ? 0 : (uint32_t) frame;
    }
    return self;
}

//  ---------------------------------------------------------------------------------------------------------
//  Arguments

static bool
s_is_execute (gpb_request_t *self)
{
    if (!self || self->status != GPB_OK)
        return false;
    if (self->header.body_case == GPB__V1__REQUEST__BODY_EXECUTE)
        return true;
    s_fail (self, GPB_INVALID_ARGUMENT, "only an execute request has arguments and sizes");
    return false;
}

//  Room for one more argument; false when memory runs out.
static bool
s_grow_arguments (gpb_request_t *self)
{
    if (self->body.execute.n_arguments < self->arguments_room)
        return true;
    size_t room = self->arguments_room ? 2 * self->arguments_room : S_ROOM_FIRST;
    s_argument_t *arguments = gpb_realloc (self->arguments, room, sizeof *arguments);
    if (!arguments)
        return false;
    self->arguments = arguments;
    void *list = gpb_realloc (self->list, room, sizeof (Gpb__V1__Argument *));
    if (!list)
        return false;
    self->list = list;
    self->arguments_room = room;
    return true;
}

//  The next argument, or NULL.
static s_argument_t *
s_next_argument (gpb_request_t *self, Gpb__V1__Argument__ValueCase kind)
{
    if (!s_is_execute (self))
        return NULL;
    Gpb__V1__Execute *execute = &self->body.execute;
    if (execute->n_arguments == GPB_ARGUMENTS_MAX) {
        s_fail (self, GPB_INVALID_ARGUMENT, "more than 64 arguments");
        return NULL;
    }
    if (!s_grow_arguments (self)) {
        s_fail (self, GPB_RESOURCE_EXHAUSTED, "no memory for an argument");
        return NULL;
    }
    s_argument_t *next = &self->arguments [execute->n_arguments++];
    gpb__v1__argument__init (&next->argument);
    next->argument.value_case = kind;
    return next;
}

static Gpb__V1__Argument *
s_argument (gpb_request_t *self, Gpb__V1__Argument__ValueCase kind)
{
    s_argument_t *next = s_next_argument (self, kind);
    return next ? &next->argument : NULL;
}

void
gpb_request_i32 (gpb_request_t *self, int32_t value)
{
    Gpb__V1__Argument *argument = s_argument (self, GPB__V1__ARGUMENT__VALUE_I32);
    if (argument)
        argument->i32 = value;
}

void
gpb_request_u32 (gpb_request_t *self, uint32_t value)
{
    Gpb__V1__Argument *argument = s_argument (self, GPB__V1__ARGUMENT__VALUE_U32);
    if (argument)
        argument->u32 = value;
}

void
gpb_request_i64 (gpb_request_t *self, int64_t value)
{
    Gpb__V1__Argument *argument = s_argument (self, GPB__V1__ARGUMENT__VALUE_I64);
    if (argument)
        argument->i64 = value;
}

void
gpb_request_u64 (gpb_request_t *self, uint64_t value)
{
    Gpb__V1__Argument *argument = s_argument (self, GPB__V1__ARGUMENT__VALUE_U64);
    if (argument)
        argument->u64 = value;
}

void
gpb_request_f32 (gpb_request_t *self, float value)
{
    Gpb__V1__Argument *argument = s_argument (self, GPB__V1__ARGUMENT__VALUE_F32);
    if (argument)
        argument->f32 = value;
}

void
gpb_request_f64 (gpb_request_t *self, double value)
{
    Gpb__V1__Argument *argument = s_argument (self, GPB__V1__ARGUMENT__VALUE_F64);
    if (argument)
        argument->f64 = value;
}

void
gpb_request_in (gpb_request_t *self, const void *data, size_t size)
{
    Gpb__V1__Argument *argument = s_argument (self, GPB__V1__ARGUMENT__VALUE_FRAME);
    int frame = argument ? s_copy_payload (self, data, size) : -1;
    if (frame >= 0)
        argument->frame = (uint32_t) frame;
}

void
gpb_request_in_take (gpb_request_t *self, void *data, size_t size,
                     void (*free_fn) (void *data, void *hint), void *hint)
{
    zmq_msg_t payload;
    Gpb__V1__Argument *argument = s_argument (self, GPB__V1__ARGUMENT__VALUE_FRAME);
    if (argument && !data) {
        s_fail (self, GPB_INVALID_ARGUMENT, "a payload is NULL");
        argument = NULL;
    }
    if (argument && zmq_msg_init_data (&payload, data, size, free_fn, hint) < 0) {
        s_fail (self, GPB_RESOURCE_EXHAUSTED, "no memory for a payload");
        argument = NULL;
    }
    if (argument) {
        int frame = s_add_payload (self, &payload);
        argument->frame = frame < 0 ? 0 : (uint32_t) frame;
    }
    else if (free_fn && data)
        free_fn (data, hint);
}

void
gpb_request_out (gpb_request_t *self, size_t size)
{
    s_argument_t *next = s_next_argument (self, GPB__V1__ARGUMENT__VALUE_OUTPUT);
    if (next) {
        gpb__v1__output__init (&next->value.output);
        next->value.output.size = size;
    }
}

void
gpb_request_buffer (gpb_request_t *self, uint64_t handle, uint64_t offset, uint64_t size)
{
    s_argument_t *next = s_next_argument (self, GPB__V1__ARGUMENT__VALUE_BUFFER);
    if (next) {
        gpb__v1__buffer_range__init (&next->value.buffer);
        next->value.buffer.handle = handle;
        next->value.buffer.offset = offset;
        next->value.buffer.size = size;
    }
}

//  ---------------------------------------------------------------------------------------------------------
//  Options

static size_t
s_set_sizes (gpb_request_t *self, uint64_t *target, unsigned dimensions, const uint64_t *sizes)
{
    if (!sizes || dimensions < 1 || dimensions > 3) {
        s_fail (self, GPB_INVALID_ARGUMENT, "work sizes have 1 to 3 dimensions");
        return 0;
    }
    memcpy (target, sizes, dimensions * sizeof *target);
    return dimensions;
}

void
gpb_request_set_global (gpb_request_t *self, unsigned dimensions, const uint64_t *sizes)
{
    if (s_is_execute (self))
        self->body.execute.n_global = s_set_sizes (self, self->global, dimensions, sizes);
}

void
gpb_request_set_local (gpb_request_t *self, unsigned dimensions, const uint64_t *sizes)
{
    if (s_is_execute (self))
        self->body.execute.n_local = s_set_sizes (self, self->local, dimensions, sizes);
}

void
gpb_request_set_shared (gpb_request_t *self, uint64_t size)
{
    if (s_is_execute (self)) {
        self->body.execute.dynamic_local_memory_case =
            GPB__V1__EXECUTE__DYNAMIC_LOCAL_MEMORY_SHARED;
        self->body.execute.shared = size;
    }
}

//  The number of capabilities that a request asks for, which says too that it is one that is placed
//  on a device; else NULL, and that is its error.
static size_t *
s_require_count (gpb_request_t *self)
{
    if (!self || self->status != GPB_OK)
        return NULL;
    switch (self->header.body_case) {
    case GPB__V1__REQUEST__BODY_EXECUTE: return &self->body.execute.n_require;
    case GPB__V1__REQUEST__BODY_RENT: return &self->body.rent.n_require;
    case GPB__V1__REQUEST__BODY_RESERVE: return &self->body.reserve.n_require;
    default:
        s_fail (self, GPB_INVALID_ARGUMENT,
                "only execute, rent and reserve requests are placed on a device");
        return NULL;
    }
}

void
gpb_request_set_device (gpb_request_t *self, unsigned index)
{
    if (!s_require_count (self))
        return;
    if (self->header.body_case == GPB__V1__REQUEST__BODY_RENT) {
        self->body.rent.placement_case = GPB__V1__RENT__PLACEMENT_DEVICE;
        self->body.rent.device = index;
    }
    else if (self->header.body_case == GPB__V1__REQUEST__BODY_RESERVE) {
        self->body.reserve.placement_case = GPB__V1__RESERVE__PLACEMENT_DEVICE;
        self->body.reserve.device = index;
    }
    else {
        self->body.execute.placement_case = GPB__V1__EXECUTE__PLACEMENT_DEVICE;
        self->body.execute.device = index;
    }
}

//  Room for one more capability; false when memory runs out. What is free is NULL.
static bool
s_grow_require (gpb_request_t *self, size_t count)
{
    if (count < self->require_room)
        return true;
    size_t room = self->require_room ? 2 * self->require_room : S_ROOM_FIRST;
    char **require = gpb_realloc (self->require, room, sizeof *require);
    if (!require)
        return false;
    memset (require + self->require_room, 0, (room - self->require_room) * sizeof *require);
    self->require = require;
    self->require_room = room;
    return true;
}

void
gpb_request_require (gpb_request_t *self, const char *capability)
{
    size_t *count = s_require_count (self);
    if (!count)
        return;
    if (!capability || !gpb_codec_text_ok (capability, strlen (capability)))
        s_fail (self, GPB_INVALID_ARGUMENT, "a capability is NULL, or not UTF-8");
    else if (*count == GPB_REQUIRE_MAX)
        s_fail (self, GPB_INVALID_ARGUMENT, "more than 64 capabilities");
    else if (!s_grow_require (self, *count) || !(self->require [*count] = gpb_strdup (capability)))
        s_fail (self, GPB_RESOURCE_EXHAUSTED, "no memory for a capability");
    else
        ++*count;
}

void
gpb_request_set_reservation (gpb_request_t *self, uint64_t handle)
{
    if (!self || self->status != GPB_OK)
        return;
    if (self->header.body_case == GPB__V1__REQUEST__BODY_EXECUTE)
        self->body.execute.reservation = handle;
    else if (self->header.body_case == GPB__V1__REQUEST__BODY_RENT)
        self->body.rent.reservation = handle;
    else
        s_fail (self, GPB_INVALID_ARGUMENT, "only execute and rent requests draw on a reservation");
}

void
gpb_request_set_memory (gpb_request_t *self, uint64_t size)
{
    if (s_is_execute (self))
        self->body.execute.memory = size;
}

void
gpb_request_keep_state (gpb_request_t *self)
{
    if (self && self->header.body_case == GPB__V1__REQUEST__BODY_REGISTER_KERNEL)
        self->body.register_kernel.keep_state = true;
}

void
gpb_request_on_demand (gpb_request_t *self)
{
    if (s_is_execute (self))
        self->body.execute.on_demand = true;
}

void
gpb_request_lane (gpb_request_t *self, uint64_t key)
{
    if (s_is_execute (self)) {
        self->body.execute.lane_case = GPB__V1__EXECUTE__LANE_LANE_KEY;
        self->body.execute.lane_key = key;
    }
}

void
gpb_request_set_timeout (gpb_request_t *self, uint32_t timeout_ms)
{
    if (self)
        self->header.timeout_ms = timeout_ms;
}

void
gpb_request_set_priority (gpb_request_t *self, int priority)
{
    if (!self || self->status != GPB_OK)
        return;
    if (priority < GPB_PRIORITY_MIN || priority > GPB_PRIORITY_MAX)
        s_fail (self, GPB_INVALID_ARGUMENT, "a priority is a number from -3 to 3");
    else
        self->header.priority = priority;
}

void
gpb_request_set_idempotent (gpb_request_t *self)
{
    if (self)
        self->header.idempotent = true;
}

//  ---------------------------------------------------------------------------------------------------------
//  For the client

gpb_status_t
gpb_request_error (const gpb_request_t *self, gpb_error_t *error)
{
    if (!self)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a request");
    if (self->status != GPB_OK)
        return gpb_error_set (error, self->status, "%s", self->text);
    return GPB_OK;
}

uint32_t
gpb_request_timeout (const gpb_request_t *self)
{
    return self->header.timeout_ms;
}

bool
gpb_request_is_idempotent (const gpb_request_t *self)
{
    return self->header.idempotent;
}

//  Lets the header point at what may have moved.
static void
s_link (gpb_request_t *self)
{
    switch (self->header.body_case) {
    case GPB__V1__REQUEST__BODY_RENT: self->body.rent.require = self->require; break;
    case GPB__V1__REQUEST__BODY_RESERVE: self->body.reserve.require = self->require; break;
    case GPB__V1__REQUEST__BODY_EXECUTE:
        self->body.execute.require = self->require;
        self->body.execute.arguments = self->list;
        for (size_t index = 0; index < self->body.execute.n_arguments; index++) {
            s_argument_t *next = &self->arguments [index];
            self->list [index] = &next->argument;
            if (next->argument.value_case == GPB__V1__ARGUMENT__VALUE_BUFFER)
                next->argument.buffer = &next->value.buffer;
            else if (next->argument.value_case == GPB__V1__ARGUMENT__VALUE_OUTPUT)
                next->argument.output = &next->value.output;
        }
        break;
    default: break;
    }
}

gpb_status_t
gpb_request_pack (gpb_request_t *self, uint64_t id, uint32_t timeout_ms, gpb_message_t *message,
                  gpb_error_t *error)
{
    gpb_message_clear (message);
    s_link (self);
    self->header.id = id;
    self->header.timeout_ms = timeout_ms;
    gpb_status_t status = gpb_codec_pack (&self->header.base, &message->header, error);
    for (size_t index = 0; status == GPB_OK && index < self->payloads_count; index++) {
        zmq_msg_t frame;
        zmq_msg_init (&frame);
        zmq_msg_copy (&frame, &self->payloads [index]);
        status = gpb_message_add (message, &frame, error);
        zmq_msg_close (&frame);
    }
    if (status != GPB_OK)
        gpb_message_clear (message);
    return status;
}
