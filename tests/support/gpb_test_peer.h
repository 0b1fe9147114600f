//  gpb_test_peer - the two ends that a broker speaks with: a client, and an executor
//
//  Both are sockets of the test's own thread, with the protocol spoken by hand, so that a test says
//  when what is answered, and how. Nothing waits longer than GPB_TEST_PATIENCE_MS: then the test
//  fails.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_TEST_PEER_H_INCLUDED
#define GPB_TEST_PEER_H_INCLUDED

#include "gpb_codec.h"
#include "gpb_hop.h"
#include "gpb_test.h"

#include <czmq.h>

#define GPB_TEST_PATIENCE_MS 20000

//  A client: a DEALER.
typedef struct {
    zsock_t *dealer;
    gpb_codec_t *codec;
    gpb_message_t message;          //  received last
    const Gpb__V1__Reply *reply;    //  its header
} gpb_test_peer_t;

void gpb_test_peer_open (gpb_test_peer_t *self, const char *endpoint);
void gpb_test_peer_close (gpb_test_peer_t *self);

//  version is filled in. payload may be NULL; else its content is taken.
void gpb_test_peer_send (gpb_test_peer_t *self, Gpb__V1__Request *request, zmq_msg_t *payload);

//  The next reply.
const Gpb__V1__Reply *gpb_test_peer_recv (gpb_test_peer_t *self);

//  The next reply, which has this id and status.
const Gpb__V1__Reply *gpb_test_peer_expect (gpb_test_peer_t *self, uint64_t id,
                                            gpb_status_t status);

//  Everything sent before has been looked at when this returns, and no reply is there.
void gpb_test_peer_settle (gpb_test_peer_t *self);

//  Sends a message of a persistent kernel, with a payload of so many bytes; lane_key NULL: none,
//  device < 0: any.
void gpb_test_peer_message (gpb_test_peer_t *self, uint64_t id, const char *kernel,
                            const uint64_t *lane_key, int device, size_t size);

//  Sends an execute request; device < 0: any.
void gpb_test_peer_execute (gpb_test_peer_t *self, uint64_t id, const char *kernel, int device,
                            uint32_t timeout_ms);
void gpb_test_peer_cancel (gpb_test_peer_t *self, uint64_t id, uint64_t cancelled_id);

//  A payload frame of size bytes, and where they are.
const void *gpb_test_payload (zmq_msg_t *frame, size_t size);

//  A request that an executor has been given.
typedef struct {
    gpb_hop_t hop;
    uint64_t id;
    Gpb__V1__Request__BodyCase kind;
    bool is_check;       //  of a register request
    uint64_t handle;     //  of a release request
    const void *data;    //  of the first payload, as long as the executor takes nothing else
    size_t size;
    size_t payloads_count;
} gpb_test_work_t;

//  A device, or its kernel host, as a broker sees it: a ROUTER over inproc. It answers stats,
//  goodbye and cancel by itself.
typedef struct {
    zsock_t *router;
    char endpoint [64];
    gpb_codec_t *codec;
    gpb_message_t message;    //  received last
    zmq_msg_t identity;       //  the broker's
    char name [32];
    const char *capability;    //  one beside "gpu", or NULL
    uint64_t available_memory;
    bool has_pool;           //  says its pool's figures
    const char *resident;    //  the only kernel of the kernel host that it is, or is too
    Gpb__V1__ResidencyState residency;
    unsigned stats_asked;
    unsigned goodbyes;
    uint64_t goodbye_owner;    //  of the last one
    unsigned cancels;
    uint64_t cancelled_owner, cancelled_id;    //  of the last one
} gpb_test_executor_t;

void gpb_test_executor_open (gpb_test_executor_t *self, const char *name);
void gpb_test_executor_open_host (gpb_test_executor_t *self, const char *name, const char *kernel);
void gpb_test_executor_close (gpb_test_executor_t *self);

//  Reads what is there up to the next request that is work; false where there is none.
bool gpb_test_executor_poll (gpb_test_executor_t *self, gpb_test_work_t *work);

//  Waits for the next request that is work.
void gpb_test_executor_take (gpb_test_executor_t *self, gpb_test_work_t *work);

//  Waits, answering stats and the like, until a reading from pipe is there.
void gpb_test_executor_serve (gpb_test_executor_t *self, void *pipe);

//  Tells the broker that it is lost and comes back (or, is_lasting, not); and that it is back.
void gpb_test_executor_lose (gpb_test_executor_t *self, bool is_lasting, const char *reason);
void gpb_test_executor_return (gpb_test_executor_t *self);

//  Answers work. payload may be NULL; else its content is taken.
void gpb_test_executor_answer (gpb_test_executor_t *self, const gpb_test_work_t *work,
                               gpb_status_t status, const char *text, zmq_msg_t *payload);

//  Answers work OK, without a payload.
void gpb_test_executor_finish (gpb_test_executor_t *self, const gpb_test_work_t *work);

//  Answers with a header of any bytes.
void gpb_test_executor_answer_raw (gpb_test_executor_t *self, const gpb_hop_t *hop,
                                   const void *header, size_t size);

#endif
