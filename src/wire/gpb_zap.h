//  gpb_zap - says who may connect (ZAP, ZeroMQ's RFC 27)
//
//  Answers the questions that libzmq asks at inproc://zeromq.zap.01 of its context before it takes
//  a connection: with CURVE, whether the key is in the keyring; without, yes. What came in with a
//  key has that key as its messages' "User-Id", in Z85; what came in without has GPB_ZAP_NOBODY,
//  since libzmq would let a peer that has none claim one.
//
//  There is one such endpoint a context, and whoever binds it decides for every socket there: so a
//  router keeps the sockets that strangers reach in a context of their own (gpb_router.c), and the
//  application's handler, CZMQ's zauth say, has its context for itself.
//
//  A structure of zeros is none. One thread, which never waits here.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_ZAP_H_INCLUDED
#define GPB_ZAP_H_INCLUDED

#include "gpb_keyring.h"

#include <stdint.h>

#define GPB_ZAP_NOBODY "-"

typedef struct {
    void *socket;                    //  a REP; NULL: none
    const gpb_keyring_t *keyring;    //  NULL: no key is allowed
    uint64_t refused;                //  keys that were not
    char address [64];               //  whence the last of these came
} gpb_zap_t;

//  FAILED_PRECONDITION where another has the context's endpoint.
gpb_status_t gpb_zap_open (gpb_zap_t *self, void *context, const gpb_keyring_t *keyring,
                           gpb_error_t *error);

void gpb_zap_close (gpb_zap_t *self);

//  Answers all questions that are there.
void gpb_zap_serve (gpb_zap_t *self);

#endif
