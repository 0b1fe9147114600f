//  gpb_device - one device as an actor
//
//  Opens a device and serves the public protocol (doc/protocol.md) on a ROUTER: execute, rent,
//  release, write, read, copy, map, unmap, devices, kernels, hello, cancel. A gpb_broker is one of
//  its clients; an application that wants no broker between is another. It starts the gpb_pool that
//  shares its context.
//
//      gpb_device_args_t args = { .config = config, .index = 0 };
//      zactor_t *device = zactor_new (gpb_device, &args);
//      zstr_sendx (device, "BIND", "inproc://device-0", NULL);     // "OK" and the endpoint come
//      back
//
//  Commands are answered as gpb_actor's are: BIND endpoint; HOST endpoint, which starts and binds
//  the gpb_host of this device, on the same context; $TERM from zactor_destroy, which waits for
//  what is in flight. Where the device could not be opened, BIND comes back with the reason.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_DEVICE_H_INCLUDED
#define GPB_DEVICE_H_INCLUDED

#include "gpb_config.h"

#include <czmq.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    const gpb_config_t *config;    //  NULL: the defaults; borrowed until zactor_new returns
    unsigned index;                //  as `gpb devices` numbers them
} gpb_device_args_t;

GPB_EXPORT void gpb_device (zsock_t *pipe, void *args);

#ifdef __cplusplus
}
#endif

#endif
