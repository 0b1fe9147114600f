//  gpb_pool - a device's rented memory as an actor
//
//  Serves rent, release, map, unmap and stats of the public protocol on a ROUTER. It allocates from
//  the driver on its own thread, so that a device's launches never wait for an allocation. A
//  gpb_device starts one that shares its context; started alone, it opens the device itself.
//
//      gpb_pool_args_t args = { .config = config, .index = 0 };
//      zactor_t *pool = zactor_new (gpb_pool, &args);
//      zstr_sendx (pool, "BIND", "inproc://pool-0", NULL);     // "OK" and the endpoint come back
//
//  Commands are answered as gpb_actor's are: BIND endpoint; $TERM from zactor_destroy, which gives
//  all memory back to the driver, unless KEEP was sent before: a kernel that does not end may still
//  use it.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_POOL_H_INCLUDED
#define GPB_POOL_H_INCLUDED

#include "gpb_config.h"

#include <czmq.h>

#ifdef __cplusplus
extern "C" {
#endif

struct gpb_shared_context;

typedef struct {
    const gpb_config_t *config;    //  NULL: the defaults; borrowed until zactor_new returns
    unsigned index;                //  as `gpb devices` numbers them
    const struct gpb_shared_context *shared;    //  the device's own, from gpb_device; else NULL
} gpb_pool_args_t;

GPB_EXPORT void gpb_pool (zsock_t *pipe, void *args);

#ifdef __cplusplus
}
#endif

#endif
