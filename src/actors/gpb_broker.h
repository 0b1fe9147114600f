//  gpb_broker - the public end of a node, as an actor
//
//      gpb_broker_args_t args = { .config = config, .devices = 2, .notice = "..." };
//      zactor_t *broker = zactor_new (gpb_broker, &args);
//
//  Commands, answered by a status and a text as gpb_actor's are:
//
//      BIND endpoint           the endpoint as it is bound, or why it could not be
//      DEVICE index endpoint   connects to a gpb_device and learns what it is; comes back when it
//                              takes requests
//      LOST index reason       there is no such device, and this is why
//      HOST index endpoint     connects to the kernel host of a device that was told of; where that
//                              is the device's own endpoint (a supervisor's), both share a socket
//      NO_HOST index reason    it has none, and this is why
//      $TERM                   drains, and stops
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_BROKER_H_INCLUDED
#define GPB_BROKER_H_INCLUDED

#include "gpb_config.h"

#include <czmq.h>

typedef struct {
    const gpb_config_t *config;    //  borrowed until zactor_new returns
    unsigned devices;              //  how many the node has, lost ones among them
    const char *const
        *notices;    //  sentences about backends that found none, ends in NULL; borrowed likewise
} gpb_broker_args_t;

void gpb_broker (zsock_t *pipe, void *args);

#endif
