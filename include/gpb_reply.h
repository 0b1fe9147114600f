//  gpb_reply - the answer to one request
//
//  The caller's, from gpb_client_call or gpb_client_recv; all that its functions return is borrowed
//  until it is destroyed. One thread at a time.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_REPLY_H_INCLUDED
#define GPB_REPLY_H_INCLUDED

#include "gpb_error.h"

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct _gpb_reply_t gpb_reply_t;

//  How a message got through a persistent kernel. Later releases may add members at the end.
typedef struct {
    const char *clock;      //  the device's, by name: "tsc", "globaltimer"; "none": it has none
    bool is_measured;       //  by that clock: taken, handler and back are times; else they are 0
    bool is_on_demand;      //  it had a launch of its own
    uint32_t lane;          //  which one it went through
    uint64_t queued_ns;     //  in the kernel host, until it was published to its lane
    uint64_t taken_ns;      //  from its publication until the handler was called
    uint64_t handler_ns;    //  in the handler
    uint64_t back_ns;       //  from the handler's return until the kernel host saw the answer
    uint64_t ring_ns;       //  from publication until then, by the host's clock; on demand: the
                            //  launch
} gpb_message_timing_t;

//  The generated protobuf-c class, for what has no accessor here (#include "gpb.pb-c.h").
struct Gpb__V1__Reply;

GPB_EXPORT void gpb_reply_destroy (gpb_reply_t **self_p);

//  Of the request: what gpb_client_send returned.
GPB_EXPORT uint64_t gpb_reply_id (const gpb_reply_t *self);

GPB_EXPORT gpb_status_t gpb_reply_status (const gpb_reply_t *self);

//  Where the status is not GPB_OK: what was wrong and what was expected. Else "".
GPB_EXPORT const char *gpb_reply_message (const gpb_reply_t *self);

//  Results of an execute or read request: one for each out and inout argument that is not a rented
//  buffer, in order.
GPB_EXPORT size_t gpb_reply_results (const gpb_reply_t *self);

//  Its bytes, aligned as malloc aligns or better; *size_p (may be NULL) their number. NULL, and 0,
//  for an index that is too large.
GPB_EXPORT const void *gpb_reply_result (const gpb_reply_t *self, size_t index, size_t *size_p);

//  Where the status is GPB_RESOURCE_EXHAUSTED for want of room in a queue: in how many ms it is
//  worth asking again. The request was not begun. 0 for every other reply.
GPB_EXPORT uint32_t gpb_reply_retry_after_ms (const gpb_reply_t *self);

//  The handle of a rent's or a reserve's reply; 0 for another.
GPB_EXPORT uint64_t gpb_reply_handle (const gpb_reply_t *self);

//  The address of a map's reply, valid until unmap or release; NULL for another.
GPB_EXPORT void *gpb_reply_address (const gpb_reply_t *self);

//  The device that did it, or has it; -1 where none does.
GPB_EXPORT int gpb_reply_device (const gpb_reply_t *self);

//  From sending the request to receiving this, on the client's clock, in ns; also where the client
//  sent it more than once.
GPB_EXPORT uint64_t gpb_reply_round_trip_ns (const gpb_reply_t *self);

//  Where the time of a persistent kernel's message went; NULL for every other reply, a refusal too.
GPB_EXPORT const gpb_message_timing_t *gpb_reply_message_timing (const gpb_reply_t *self);

//  The whole header. A reply that the client made itself (its node was lost, its time was up) has
//  one too.
GPB_EXPORT const struct Gpb__V1__Reply *gpb_reply_header_peek (const gpb_reply_t *self);

#ifdef __cplusplus
}
#endif

#endif
