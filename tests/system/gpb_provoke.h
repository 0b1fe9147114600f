//  gpb_provoke - a live node, and how each cause in doc/protocol.md is provoked on it
//
//  test_protocol.c holds what comes of it against the document. A provocation leaves the stage's
//  node as it was; one that would not starts a node of its own. One thread.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_PROVOKE_H_INCLUDED
#define GPB_PROVOKE_H_INCLUDED

#include "gpb_test_node.h"

#define GPB_STAGE_MEMORY_SIZE (16 << 20)    //  bytes of each of its two devices

//  What a provocation works with, and what came of it.
typedef struct {
    gpb_test_node_t *node;    //  two devices of the tests' backend; it allows registration
    gpb_client_t *client;
    gpb_test_raw_t raw;    //  a DEALER
    gpb_status_t status;
    uint32_t retry_after_ms;
    char text [GPB_ERROR_TEXT_SIZE];
} gpb_stage_t;

typedef struct {
    const char *cause;    //  NULL: the table's end
    void (*provoke) (gpb_stage_t *self);
    const char *part;    //  of the sentence
} gpb_provocation_t;

extern const gpb_provocation_t gpb_provocations_keys [], gpb_provocations_kernels [],
    gpb_provocations_memory [];

//  Keeps what a reply says, and destroys it.
void gpb_stage_note (gpb_stage_t *self, gpb_reply_t *reply);

//  Calls, and keeps what the reply says.
void gpb_stage_call (gpb_stage_t *self, gpb_request_t *request);

//  The same of the raw socket's next reply.
void gpb_stage_recv_raw (gpb_stage_t *self);

#endif
