//  gpb_actor - a node: all GPUs of one machine behind one ROUTER
//
//  An actor of CZMQ's: it starts a gpb_broker and a gpb_device (with its gpb_pool) for each device,
//  supervises them, and stops them. What the `gpb_actor` program runs, and what an application
//  composes:
//
//      gpb_config_t *config = gpb_config_new ();
//      zactor_t *node = zactor_new (gpb_actor, config);
//      zstr_sendx (node, "BIND", "inproc://gpu", NULL);    // "OK" and the endpoint come back
//      ...
//      zactor_destroy (&node);                             // drains, and stops
//
//  config may be NULL for the defaults; it is borrowed until zactor_new returns. Every command is
//  answered with two frames: a status by name, "OK" or, say, "UNAVAILABLE", and a text.
//
//      START               starts the devices; comes back when they take requests. A node without a
//                          device starts too, and says so to `gpb devices`. Sent again, it is OK.
//      BIND endpoint       starts the node where that has not been said, and answers with the
//                          endpoint as it is bound, with the port where "*" was asked for; or why
//                          it could not be. May be sent again, also while the node serves.
//      CONFIGURE key value sets a key before START; FAILED_PRECONDITION after it.
//      $TERM               from zactor_destroy: refuses new requests as UNAVAILABLE, waits at most
//                          `drain_ms` for what is accepted, answers what is then left UNAVAILABLE.
//
//  With `isolation = process` each device's actors run in a process of their own, which the node
//  starts, watches and ends; it waits for these processes and no others. An application that
//  waits for every child of its own may take their exit status, and with it the reason of a crash.
//
//  Composed, it installs no signal handler, changes no global of zsys, sets no environment
//  variable, and never ends the process. Log lines go through zsys as the application has set it
//  up.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_ACTOR_H_INCLUDED
#define GPB_ACTOR_H_INCLUDED

#include "gpb_config.h"

#include <czmq.h>

#ifdef __cplusplus
extern "C" {
#endif

GPB_EXPORT void gpb_actor (zsock_t *pipe, void *config);

#ifdef __cplusplus
}
#endif

#endif
