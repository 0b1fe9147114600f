//  gpb_codec - headers: bytes to protobuf-c messages and back
//
//  Unpacks in a bounded arena of its own, so that no header makes us allocate more than 1 MiB, and
//  checks what protobuf-c leaves unchecked: strings are valid UTF-8 without NULs, lists and inline
//  payloads keep the protocol's bounds. What it returns lives until the next call on the same
//  codec. One thread at a time.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_CODEC_H_INCLUDED
#define GPB_CODEC_H_INCLUDED

#include "gpb_message.h"

#include "gpb.pb-c.h"

#include <stdbool.h>

typedef struct _gpb_codec_t gpb_codec_t;

//  NULL only when memory runs out.
gpb_codec_t *gpb_codec_new (gpb_error_t *error);

void gpb_codec_destroy (gpb_codec_t **self_p);

//  Borrowed until the next call. NULL: *error says why, and *id_p is the request's id where that
//  could be read, else 0. Checked: version, priority, strings, bounds, a body that we know
//  (UNIMPLEMENTED).
const Gpb__V1__Request *gpb_codec_request (gpb_codec_t *self, const zmq_msg_t *header,
                                           uint64_t *id_p, gpb_error_t *error);

//  The same for a reply. A body that we do not know is no error: the status counts.
const Gpb__V1__Reply *gpb_codec_reply (gpb_codec_t *self, const zmq_msg_t *header,
                                       gpb_error_t *error);

//  What gpb_codec_reply checks before it unpacks, for who unpacks elsewhere, in bounded memory.
//  *id_p as gpb_codec_request's. Any thread.
gpb_status_t gpb_codec_check_reply (const zmq_msg_t *header, uint64_t *id_p, gpb_error_t *error);

#define GPB_HEADER_SPARE 64    //  bytes that gpb_codec_append finds free in a full header

//  Packs a message into a frame, which must be initialised; its old content is closed. Strings that
//  are not UTF-8 (a driver's, a compiler's) get '?' for each wrong byte, since a client's library
//  refuses a whole answer for one. RESOURCE_EXHAUSTED where the header would be too large; room is
//  left for gpb_codec_append_queued.
gpb_status_t gpb_codec_pack (const ProtobufCMessage *message, zmq_msg_t *frame, gpb_error_t *error);

//  Puts one more number behind a packed reply: protobuf takes the last value of a field, so the
//  rest needs no unpacking. The fields that are set this way, by their numbers in gpb.proto.
#define GPB_REPLY_ID 2
#define GPB_REPLY_QUEUED_NS 5
#define GPB_REPLY_AVAILABLE_MEMORY 6

gpb_status_t gpb_codec_append (zmq_msg_t *header, unsigned field, uint64_t value,
                               gpb_error_t *error);

//  What a broker needs of a reply, without unpacking it: its status and, where it is there, the
//  device's available memory. False for what is no protobuf.
bool gpb_codec_peek_reply (const zmq_msg_t *header, gpb_status_t *status_p, bool *has_memory_p,
                           uint64_t *available_memory_p);

//  The number of a reply's body (Gpb__V1__Reply__BodyCase), without unpacking it; 0: it has none,
//  or is no protobuf.
unsigned gpb_codec_peek_body (const zmq_msg_t *header);

//  Whether text is valid UTF-8 of size bytes without a NUL.
bool gpb_codec_text_ok (const void *text, size_t size);

#endif
