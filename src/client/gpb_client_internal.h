//  gpb_client_internal - what gpb_request, gpb_reply and gpb_client know of one another
//
//  A reply is made when its request is sent, empty: it is the record of what is in flight, so that
//  an answer made by the client itself (lost, late, cancelled) needs no memory when it is due.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_CLIENT_INTERNAL_H_INCLUDED
#define GPB_CLIENT_INTERNAL_H_INCLUDED

#include "gpb_client.h"
#include "gpb_codec.h"
#include "gpb_heap.h"

#include <sys/queue.h>

typedef struct {
    const void *data;    //  aligned as malloc aligns
    size_t size;         //  bytes
    void *copy;          //  data, where it had to be copied to be aligned; else NULL
} gpb_result_t;

//  Where a request is, until it is answered.
typedef enum {
    GPB_REPLY_HELD,       //  here, until there is a connection
    GPB_REPLY_SENT,       //  with the node
    GPB_REPLY_DELAYED,    //  here, until it is sent again; the node's refusal is in the reply
    GPB_REPLY_STATES
} gpb_reply_state_t;

typedef struct _gpb_reply_block_t gpb_reply_block_t;

struct _gpb_reply_t {
    //  While it is in flight
    uint64_t id;
    gpb_reply_state_t state;
    bool dropped;           //  nobody waits for it
    uint32_t retries;       //  times that it was sent again
    uint64_t sent_ns;       //  when gpb_client_send was called
    uint64_t expires_ns;    //  when the node should have answered
    gpb_heap_node_t
        deadline;              //  in gpb_pending_t; key: when the client answers, or sends, itself
    gpb_request_t *request;    //  kept, where it may still have to be sent; else NULL
    TAILQ_ENTRY (_gpb_reply_t) link;

    //  When it is answered
    uint64_t round_trip_ns;
    Gpb__V1__Reply own;           //  the header of an answer that the client made
    char text [160];              //  and its message
    gpb_reply_block_t *blocks;    //  what holds all that follows
    size_t blocks_size;           //  bytes of all of them
    bool exhausted;               //  nothing fits into them any more
    Gpb__V1__Reply *unpacked;     //  the header of one that came; else NULL
    zmq_msg_t *payloads;          //  payloads_count of them
    size_t payloads_count;
    gpb_result_t *results;    //  results_count of them
    size_t results_count;
    gpb_message_timing_t *timing;    //  of a persistent kernel's message; else NULL
};

typedef TAILQ_HEAD (gpb_reply_list, _gpb_reply_t) gpb_reply_list_t;

//  An empty reply, or NULL when memory runs out.
gpb_reply_t *gpb_reply_new (uint64_t id);

//  Fills it with what came: header must have passed gpb_codec_check_reply. Takes message's payloads
//  where it succeeds. INVALID_ARGUMENT for a header that is no reply and for a result that points
//  at no payload frame, RESOURCE_EXHAUSTED.
gpb_status_t gpb_reply_accept (gpb_reply_t *self, gpb_message_t *message, gpb_error_t *error);

//  Empties it of what came.
void gpb_reply_forget (gpb_reply_t *self);

//  Fills it with an answer that the client makes, in the place of one that came.
void gpb_reply_answer (gpb_reply_t *self, gpb_status_t status, const char *format, ...)
    GPB_PRINTF (3, 4);

//  The first error of the constructors and setters, or GPB_OK.
gpb_status_t gpb_request_error (const gpb_request_t *self, gpb_error_t *error);

//  What gpb_request_set_timeout set, else 0.
uint32_t gpb_request_timeout (const gpb_request_t *self);

//  Whether gpb_request_set_idempotent was called.
bool gpb_request_is_idempotent (const gpb_request_t *self);

//  Writes header and payloads to message; the request keeps its own, and they share their content.
gpb_status_t gpb_request_pack (gpb_request_t *self, uint64_t id, uint32_t timeout_ms,
                               gpb_message_t *message, gpb_error_t *error);

//  The request that gpb_client_destroy sends.
gpb_request_t *gpb_request_goodbye (void);

//  Replies that were ignored: garbage, or nobody waits for them any more.
uint64_t gpb_client_ignored (const gpb_client_t *self);

//  For tests: renews the lease of an inproc connection this often instead of every 20 s.
void gpb_client_set_renewal (gpb_client_t *self, uint64_t renewal_ns);

#endif
