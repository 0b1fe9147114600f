//  gpb_codec - headers: bytes to protobuf-c messages and back
//
//  Owns one arena of 1 MiB, allocated when the codec is made, in which every header is unpacked and
//  which the next call empties: no header, however it is written, makes a node allocate. One thread
//  at a time, no sockets, no I/O. A header that is refused leaves nothing behind.
//
//  The bytes are walked against the descriptor before protobuf-c sees them, since protobuf-c gives
//  a string as char * without its length: an embedded NUL cannot be seen afterwards. The walk keeps
//  its own stack, as deep as our schema is and no deeper, whatever the bytes say.
//
//  What was refused is named by its field, never quoted: a refused string may hold anything.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_codec.h"

#include "gpb_alloc.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define S_ARENA_SIZE (1024 * 1024)
#define S_ALIGNMENT 16
#define S_DEPTH_MAX 8        //  nested messages; the schema has 5 (a reply's device's latencies)
#define S_SHORT_SIZE 1024    //  bytes of a header that is packed in one go
#define STATUS_FIELD 3       //  of a reply
#define S_BODY_FIRST_FIELD 16    //  bodies of both headers start here

struct _gpb_codec_t {
    ProtobufCAllocator allocator;    //  hands out the arena
    unsigned char *arena;            //  S_ARENA_SIZE bytes
    size_t used;                     //  bytes of it
    bool exhausted;                  //  something did not fit since the arena was emptied
};

static void *
s_arena_alloc (void *data, size_t size)
{
    gpb_codec_t *self = data;
    size_t left = S_ARENA_SIZE - self->used;
    if (size > left || (size + S_ALIGNMENT - 1) / S_ALIGNMENT * S_ALIGNMENT > left) {
        self->exhausted = true;
        return NULL;
    }
    void *memory = self->arena + self->used;
    self->used += (size + S_ALIGNMENT - 1) / S_ALIGNMENT * S_ALIGNMENT;
    return memory;
}

static void
s_arena_free (void *data, void *memory)
{
    (void) data;
    (void) memory;
}

gpb_codec_t *
gpb_codec_new (gpb_error_t *error)
{
    gpb_codec_t *self = gpb_alloc (1, sizeof *self);
    if (self)
        self->arena = gpb_alloc_aligned (S_ALIGNMENT, S_ARENA_SIZE);
    if (!self || !self->arena) {
        gpb_codec_destroy (&self);
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for reading headers");
        return NULL;
    }
    self->allocator = (ProtobufCAllocator){ .alloc = s_arena_alloc,
                                            .free = s_arena_free,
                                            .allocator_data = self };
    return self;
}

void
gpb_codec_destroy (gpb_codec_t **self_p)
{
    gpb_codec_t *self = *self_p;
    if (self) {
        gpb_free (self->arena);
        gpb_free (self);
        *self_p = NULL;
    }
}

//  ---------------------------------------------------------------------------------------------------------
//  Text

//  Bytes of the UTF-8 sequence at the start of text, or 0 where there is none (Unicode 15, table
//  3-7: no overlong forms, no surrogates, nothing past U+10FFFF), or where it is a NUL.
static size_t
s_sequence (const unsigned char *text, size_t size)
{
    unsigned char first = text [0];
    if (first < 0x80)
        return first ? 1 : 0;
    size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    if (first < 0xC2 || first > 0xF4 || length > size)
        return 0;
    unsigned char lowest = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
    unsigned char highest = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
    if (text [1] < lowest || text [1] > highest)
        return 0;
    for (size_t index = 2; index < length; index++)
        if ((text [index] & 0xC0) != 0x80)
            return 0;
    return length;
}

//  Bytes up to the first that is no UTF-8, or is a NUL; size where all is well.
static size_t
s_text_span (const unsigned char *text, size_t size)
{
    size_t at = 0;
    while (at < size) {
        size_t length = s_sequence (text + at, size - at);
        if (!length)
            break;
        at += length;
    }
    return at;
}

bool
gpb_codec_text_ok (const void *text, size_t size)
{
    return s_text_span (text, size) == size;
}

//  ---------------------------------------------------------------------------------------------------------
//  The walk

typedef struct {
    uint32_t field;
    uint32_t wire_type;    //  0 varint, 1 eight bytes, 2 length and bytes, 5 four bytes
    uint64_t value;        //  of a varint
    size_t offset;         //  where the value starts, behind its length
    size_t size;           //  bytes of the value
} s_field_t;

//  Reads a varint of at most max_size bytes; false where it does not end in time.
static bool
s_read_varint (const unsigned char *bytes, size_t end, size_t *at, unsigned max_size,
               uint64_t *value)
{
    *value = 0;
    for (unsigned index = 0; index < max_size && *at < end; index++) {
        unsigned char byte = bytes [(*at)++];
        *value |= (uint64_t) (byte & 0x7F) << (7 * index);
        if (!(byte & 0x80))
            return true;
    }
    return false;
}

//  Reads the field at *at and moves *at behind it; false where the bytes are no field.
static bool
s_read_field (const unsigned char *bytes, size_t end, size_t *at, s_field_t *field)
{
    uint64_t tag;
    if (!s_read_varint (bytes, end, at, 5, &tag) || tag >> 3 == 0 || tag >> 3 >= 1U << 29)
        return false;
    field->field = (uint32_t) (tag >> 3);
    field->wire_type = tag & 7;
    field->value = 0;
    field->offset = *at;
    switch (field->wire_type) {
    case 0:
        if (!s_read_varint (bytes, end, at, 10, &field->value))
            return false;
        field->size = *at - field->offset;
        return true;
    case 1: field->size = 8; break;
    case 2: {
        uint64_t length;
        if (!s_read_varint (bytes, end, at, 5, &length) || length > end - *at)
            return false;
        field->offset = *at;
        field->size = (size_t) length;
        break;
    }
    case 5: field->size = 4; break;
    default: return false;    //  groups left proto3 before it began
    }
    if (field->size > end - *at)
        return false;
    *at += field->size;
    return true;
}

//  Called for each string and each bytes field; anything but GPB_OK ends the walk.
typedef gpb_status_t (s_visit_t) (const ProtobufCFieldDescriptor *descriptor, unsigned char *value,
                                  size_t size, void *argument, gpb_error_t *error);

static gpb_status_t
s_walk (unsigned char *bytes, size_t size, const ProtobufCMessageDescriptor *descriptor,
        s_visit_t *visit, void *argument, gpb_error_t *error)
{
    struct {
        const ProtobufCMessageDescriptor *descriptor;
        size_t end;
    } stack [S_DEPTH_MAX] = { { descriptor, size } };
    size_t depth = 0;
    for (size_t at = 0;;) {
        while (depth > 0 && at == stack [depth].end)
            depth--;
        if (at == stack [depth].end)
            return GPB_OK;
        s_field_t field;
        if (!s_read_field (bytes, stack [depth].end, &at, &field))
            return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                                  "the header is no protobuf message from byte %zu on", at);
        if (field.wire_type != 2)
            continue;
        const ProtobufCFieldDescriptor *known =
            protobuf_c_message_descriptor_get_field (stack [depth].descriptor, field.field);
        if (!known)
            continue;
        if (known->type == PROTOBUF_C_TYPE_MESSAGE) {
            if (depth + 1 == S_DEPTH_MAX)
                return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                                      "the header nests messages more than %d deep", S_DEPTH_MAX);
            stack [++depth].descriptor = known->descriptor;
            stack [depth].end = at;
            at = field.offset;
        }
        else if (known->type == PROTOBUF_C_TYPE_STRING || known->type == PROTOBUF_C_TYPE_BYTES) {
            gpb_status_t status = visit (known, bytes + field.offset, field.size, argument, error);
            if (status != GPB_OK)
                return status;
        }
    }
}

//  Refuses text that is none, and adds up inline payloads in *argument.
static gpb_status_t
s_check_value (const ProtobufCFieldDescriptor *descriptor, unsigned char *value, size_t size,
               void *argument, gpb_error_t *error)
{
    size_t *inline_size = argument;
    if (descriptor->type == PROTOBUF_C_TYPE_BYTES) {
        *inline_size += size;
        if (*inline_size > GPB_INLINE_MAX_SIZE)
            return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                                  "inline payloads of more than %d bytes together: larger ones go "
                                  "into payload frames",
                                  GPB_INLINE_MAX_SIZE);
    }
    else if (!gpb_codec_text_ok (value, size))
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "%s: the text is not UTF-8, or holds a NUL", descriptor->name);
    return GPB_OK;
}

//  Puts '?' in the place of every byte that is no text, since a client's protobuf library refuses a
//  whole answer for one such byte (a compiler's log may hold any).
static gpb_status_t
s_mend_value (const ProtobufCFieldDescriptor *descriptor, unsigned char *value, size_t size,
              void *argument, gpb_error_t *error)
{
    (void) argument;
    (void) error;
    if (descriptor->type == PROTOBUF_C_TYPE_STRING)
        for (size_t at = s_text_span (value, size); at < size;
             at += s_text_span (value + at, size - at))
            value [at] = '?';
    return GPB_OK;
}

//  ---------------------------------------------------------------------------------------------------------
//  Headers

typedef struct {
    uint32_t version;
    bool has_version;
    uint64_t id;
    bool whole;    //  the fields reach to the end of the bytes
} s_peek_t;

//  Version and id as far as they can be read, whatever the rest is.
static s_peek_t
s_peek (const unsigned char *bytes, size_t size)
{
    s_peek_t peek = { .whole = true };
    for (size_t at = 0; at < size;) {
        s_field_t field;
        if (!s_read_field (bytes, size, &at, &field)) {
            peek.whole = false;
            break;
        }
        if (field.field == 1 && field.wire_type == 0) {
            peek.version = (uint32_t) field.value;
            peek.has_version = true;
        }
        else if (field.field == 2 && field.wire_type == 0)
            peek.id = field.value;
    }
    return peek;
}

//  All that protobuf-c would not look at. *id_p: the id, where that much could be read, else 0.
static gpb_status_t
s_check (const ProtobufCMessageDescriptor *descriptor, const char *side, const zmq_msg_t *header,
         uint64_t *id_p, gpb_error_t *error)
{
    //  zmq_msg_data wants a message that is not const, and changes nothing.
    unsigned char *bytes = zmq_msg_data ((zmq_msg_t *) header);
    size_t size = zmq_msg_size (header);
    *id_p = 0;
    if (size > GPB_HEADER_MAX_SIZE)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "a header of %zu bytes: at most %d are allowed", size,
                              GPB_HEADER_MAX_SIZE);
    s_peek_t peek = s_peek (bytes, size);
    *id_p = peek.id;
    if ((peek.whole || peek.has_version) && peek.version != GPB_PROTOCOL_VERSION)
        return gpb_error_set (error, GPB_UNIMPLEMENTED, "version %u: this %s speaks %d",
                              peek.version, side, GPB_PROTOCOL_VERSION);
    size_t inline_size = 0;
    return s_walk (bytes, size, descriptor, s_check_value, &inline_size, error);
}

static ProtobufCMessage *
s_unpack (gpb_codec_t *self, const ProtobufCMessageDescriptor *descriptor, const char *side,
          const zmq_msg_t *header, uint64_t *id_p, gpb_error_t *error)
{
    self->used = 0;
    self->exhausted = false;
    if (s_check (descriptor, side, header, id_p, error) != GPB_OK)
        return NULL;
    ProtobufCMessage *message =
        protobuf_c_message_unpack (descriptor, &self->allocator, zmq_msg_size (header),
                                   zmq_msg_data ((zmq_msg_t *) header));
    if (!message && self->exhausted)
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED,
                       "a header that takes more than %d bytes when it is unpacked", S_ARENA_SIZE);
    else if (!message)
        gpb_error_set (error, GPB_INVALID_ARGUMENT,
                       "the header is no %s: a field has the wrong type", descriptor->short_name);
    return message;
}

static gpb_status_t
s_check_count (const char *list, size_t count, size_t most, gpb_error_t *error)
{
    if (count > most)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "%s: %zu entries, at most %zu are allowed", list, count, most);
    return GPB_OK;
}

static gpb_status_t
s_check_lists (const Gpb__V1__Request *request, gpb_error_t *error)
{
    if (request->body_case == GPB__V1__REQUEST__BODY_RENT)
        return s_check_count ("require", request->rent->n_require, GPB_REQUIRE_MAX, error);
    if (request->body_case == GPB__V1__REQUEST__BODY_RESERVE)
        return s_check_count ("require", request->reserve->n_require, GPB_REQUIRE_MAX, error);
    if (request->body_case != GPB__V1__REQUEST__BODY_EXECUTE)
        return GPB_OK;
    const Gpb__V1__Execute *execute = request->execute;
    gpb_status_t status =
        s_check_count ("arguments", execute->n_arguments, GPB_ARGUMENTS_MAX, error);
    if (status == GPB_OK)
        status = s_check_count ("global", execute->n_global, 3, error);
    if (status == GPB_OK)
        status = s_check_count ("local", execute->n_local, 3, error);
    if (status == GPB_OK)
        status = s_check_count ("require", execute->n_require, GPB_REQUIRE_MAX, error);
    return status;
}

const Gpb__V1__Request *
gpb_codec_request (gpb_codec_t *self, const zmq_msg_t *header, uint64_t *id_p, gpb_error_t *error)
{
    uint64_t id;
    Gpb__V1__Request *request =
        (Gpb__V1__Request *) s_unpack (self, &gpb__v1__request__descriptor, "node", header,
                                       id_p ? id_p : &id, error);
    if (!request)
        return NULL;
    if (request->body_case == GPB__V1__REQUEST__BODY__NOT_SET) {
        const ProtobufCMessage *base = &request->base;
        for (unsigned index = 0; index < base->n_unknown_fields; index++)
            if (base->unknown_fields [index].tag >= S_BODY_FIRST_FIELD) {
                gpb_error_set (error, GPB_UNIMPLEMENTED,
                               "a request of kind %u: this node does not know it",
                               (unsigned) base->unknown_fields [index].tag);
                return NULL;
            }
        gpb_error_set (error, GPB_UNIMPLEMENTED, "a request without a body asks for nothing");
        return NULL;
    }
    if (request->priority < GPB_PRIORITY_MIN || request->priority > GPB_PRIORITY_MAX) {
        gpb_error_set (error, GPB_INVALID_ARGUMENT, "priority %d: expected %d to %d",
                       request->priority, GPB_PRIORITY_MIN, GPB_PRIORITY_MAX);
        return NULL;
    }
    return s_check_lists (request, error) == GPB_OK ? request : NULL;
}

const Gpb__V1__Reply *
gpb_codec_reply (gpb_codec_t *self, const zmq_msg_t *header, gpb_error_t *error)
{
    uint64_t id;
    return (Gpb__V1__Reply *) s_unpack (self, &gpb__v1__reply__descriptor, "client", header, &id,
                                        error);
}

//  What is packed stands here until its size is known: most headers fit.
typedef struct {
    ProtobufCBuffer base;
    size_t size;    //  also of what did not fit
    unsigned char bytes [S_SHORT_SIZE];
} s_short_t;

static void
s_short_append (ProtobufCBuffer *base, size_t size, const uint8_t *data)
{
    s_short_t *self = (s_short_t *) base;
    if (size <= S_SHORT_SIZE && self->size <= S_SHORT_SIZE - size)
        memcpy (self->bytes + self->size, data, size);
    self->size += size;
}

//  Text that came from a driver, a compiler or a system stands in these replies alone: what a
//  request says, and the node's name, have been looked at when they were set.
static bool
s_has_foreign_text (const ProtobufCMessage *message)
{
    if (message->descriptor != &gpb__v1__reply__descriptor)
        return message->descriptor != &gpb__v1__request__descriptor;
    const Gpb__V1__Reply *reply = (const Gpb__V1__Reply *) message;
    switch (reply->body_case) {
    case GPB__V1__REPLY__BODY_DEVICES:
    case GPB__V1__REPLY__BODY_KERNELS:
    case GPB__V1__REPLY__BODY_STATS:
    case GPB__V1__REPLY__BODY_HEALTH: return true;
    default: return reply->message && reply->message [0];
    }
}

gpb_status_t
gpb_codec_check_reply (const zmq_msg_t *header, uint64_t *id_p, gpb_error_t *error)
{
    return s_check (&gpb__v1__reply__descriptor, "client", header, id_p, error);
}

gpb_status_t
gpb_codec_pack (const ProtobufCMessage *message, zmq_msg_t *frame, gpb_error_t *error)
{
    //  Not initialised as a whole: its bytes are written before they are read.
    s_short_t buffer;
    buffer.base.append = s_short_append;
    buffer.size = 0;
    protobuf_c_message_pack_to_buffer (message, &buffer.base);
    size_t size = buffer.size;
    if (size > GPB_HEADER_MAX_SIZE - GPB_HEADER_SPARE)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED,
                              "a header of %zu bytes: at most %d fit into one", size,
                              GPB_HEADER_MAX_SIZE - GPB_HEADER_SPARE);
    zmq_msg_t packed;
    if (zmq_msg_init_size (&packed, size) < 0)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a header of %zu bytes",
                              size);
    unsigned char *bytes = zmq_msg_data (&packed);
    if (size <= S_SHORT_SIZE)
        memcpy (bytes, buffer.bytes, size);
    else
        protobuf_c_message_pack (message, bytes);
    gpb_status_t status = GPB_OK;
    if (s_has_foreign_text (message))
        status = s_walk (bytes, size, message->descriptor, s_mend_value, NULL, error);
    if (status == GPB_OK)
        zmq_msg_move (frame, &packed);
    zmq_msg_close (&packed);
    return status;
}

gpb_status_t
gpb_codec_append (zmq_msg_t *header, unsigned field, uint64_t value, gpb_error_t *error)
{
    assert (field > 0 && field < 16);    //  so that its tag is one byte
    unsigned char bytes [11] = { (unsigned char) (field << 3) };
    size_t bytes_count = 1;
    do {
        bytes [bytes_count++] = (unsigned char) ((value & 0x7F) | (value > 0x7F ? 0x80 : 0));
        value >>= 7;
    } while (value);
    size_t size = zmq_msg_size (header);
    if (size + bytes_count > GPB_HEADER_MAX_SIZE)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED,
                              "a header of %zu bytes: nothing fits behind it", size);
    zmq_msg_t longer;
    if (zmq_msg_init_size (&longer, size + bytes_count) < 0)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a header of %zu bytes",
                              size + bytes_count);
    memcpy (zmq_msg_data (&longer), zmq_msg_data (header), size);
    memcpy ((unsigned char *) zmq_msg_data (&longer) + size, bytes, bytes_count);
    zmq_msg_move (header, &longer);
    zmq_msg_close (&longer);
    return GPB_OK;
}

bool
gpb_codec_peek_reply (const zmq_msg_t *header, gpb_status_t *status_p, bool *has_memory_p,
                      uint64_t *available_memory_p)
{
    const unsigned char *bytes = zmq_msg_data ((zmq_msg_t *) header);
    size_t end = zmq_msg_size (header), at = 0;
    *status_p = GPB_OK;
    *has_memory_p = false;
    while (at < end) {
        s_field_t field;
        if (!s_read_field (bytes, end, &at, &field))
            return false;
        if (field.field == STATUS_FIELD && field.wire_type == 0)
            *status_p = (gpb_status_t) field.value;
        else if (field.field == GPB_REPLY_AVAILABLE_MEMORY && field.wire_type == 0) {
            *has_memory_p = true;
            *available_memory_p = field.value;
        }
    }
    return true;
}

unsigned
gpb_codec_peek_body (const zmq_msg_t *header)
{
    const unsigned char *bytes = zmq_msg_data ((zmq_msg_t *) header);
    size_t end = zmq_msg_size (header), at = 0;
    unsigned body = 0;
    while (at < end) {
        s_field_t field;
        if (!s_read_field (bytes, end, &at, &field))
            return 0;
        if (field.field >= S_BODY_FIRST_FIELD && field.wire_type == 2)
            body = field.field;
    }
    return body;
}
