//  gpb_host - the persistent kernels of one device as an actor
//
//  Serves the public protocol (doc/protocol.md) on a ROUTER: execute for persistent kernels,
//  kernels, stats, hello, cancel, goodbye, register_kernel for persistent kernels. A gpb_broker is
//  one of its clients; an application that wants no broker between is another.
//
//      gpb_host_args_t args = { .config = config, .index = 0 };
//      zactor_t *host = zactor_new (gpb_host, &args);
//      zstr_sendx (host, "BIND", "inproc://host-0", NULL);    // "OK" and the endpoint come back
//
//  Commands are answered as gpb_actor's are: BIND endpoint; PARK, which is answered when no
//  persistent kernel is on the device, and RESUME, until which none is started again; $TERM from
//  zactor_destroy, which waits for what is in flight. Where the device could not be opened, BIND
//  comes back with the reason.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_HOST_H_INCLUDED
#define GPB_HOST_H_INCLUDED

#include "gpb_config.h"

#include <czmq.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    const gpb_config_t *config;    //  NULL: the defaults; borrowed until zactor_new returns
    unsigned index;                //  the device, as `gpb devices` numbers them
} gpb_host_args_t;

GPB_EXPORT void gpb_host (zsock_t *pipe, void *args);

#ifdef __cplusplus
}
#endif

#endif
