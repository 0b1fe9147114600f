//  gpb_pool_private - the pool's actor, for the files that it is made of
//
//  gpb_pool.c has its life, its rounds, its figures and the table of its handlers; gpb_pool_rents.c
//  the rents themselves. All of it is for the pool's one thread.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_POOL_PRIVATE_H_INCLUDED
#define GPB_POOL_PRIVATE_H_INCLUDED

#include "gpb_handles.h"
#include "gpb_heap.h"
#include "gpb_lease.h"
#include "gpb_owners.h"
#include "gpb_pool.h"
#include "gpb_pool_memory.h"
#include "gpb_service.h"
#include "gpb_shared_context.h"

struct gpb_pool_rent;

//  A rent that is not answered yet.
typedef struct {
    gpb_heap_node_t deadline;    //  key: gpb_clock_ns (); the first member
    gpb_message_t message;       //  its envelope
    gpb_connection_t *connection;
    struct gpb_pool_rent *rent;
    uint64_t id;
    bool is_devices;    //  asked by a device of this process: the lease goes along
} gpb_pool_asked_t;

typedef struct gpb_pool_rent {
    gpb_lease_t lease;          //  what the device is told; handle 0: not answered yet
    gpb_pool_block_t *block;    //  NULL: it has none yet
    gpb_owned_t owned;
    bool mapped;
    gpb_pool_asked_t *asked;    //  NULL once it is answered
    uint64_t until;    //  gpb_pool_memory_settled: before that, what is zeroed may be enough
    struct gpb_pool_rent *next;    //  of those
} gpb_pool_rent_t;

//  A device that waits until what came back is zero, and is with the driver.
typedef struct gpb_pool_trim {
    struct gpb_pool_trim *next;
    gpb_message_t message;    //  its envelope
    uint64_t id;
    uint64_t until;    //  gpb_pool_memory_settled
} gpb_pool_trim_t;

typedef struct {
    zsock_t *pipe;
    gpb_config_t *config;
    gpb_service_t *service;
    gpb_error_t failure;    //  why there is no service
    gpb_shared_context_t *shared;
    gpb_pool_memory_t *memory;
    gpb_handles_t *handles;                       //  gpb_pool_rent_t
    gpb_owners_t *owners;                         //  likewise
    gpb_heap_t asked;                             //  by deadline
    gpb_pool_rent_t *short_first, *short_last;    //  without a block, the one that came first first
    bool keeps;    //  nothing is given back at the end: a kernel that does not end may use it
    uint64_t client_max_size;    //  bytes that one client may rent; 0: no bound of its own
    uint64_t keep_ns;
    uint64_t last_asked_ns;    //  gpb_clock_ns ()
    bool is_trimmed;           //  since then
    Gpb__V1__PoolStats figures;

    gpb_pool_trim_t *trim_first, *trim_last;    //  the first that asked first
    gpb_connection_t *device;    //  whose pool this is, as it asked last; NULL: nobody's
    zmq_msg_t identity;          //  its
    gpb_holding_t told;          //  what it knows
} gpb_pool_t;

//  Whatever a rent has goes back, whether it was answered or not. It is gone afterwards.
void gpb_pool_rent_end (gpb_pool_t *self, gpb_pool_rent_t *rent);

//  Answers a rent that waits with a refusal, and ends it.
void gpb_pool_rent_refuse (gpb_pool_t *self, gpb_pool_rent_t *rent, const gpb_error_t *error);

//  Adds what the device is to know to a message that goes there; lease may be NULL.
void gpb_pool_add_lease (gpb_pool_t *self, gpb_message_t *message, const gpb_lease_t *lease);

//  Whether a device of this process asks, in somebody's name.
bool gpb_pool_is_devices (const gpb_call_t *call);

//  Somebody asks for memory or gives some back; whose pool this is, if it is a device.
void gpb_pool_note (gpb_pool_t *self, const gpb_call_t *call);

//  Looks at what was being zeroed and is done, and serves those that waited for it.
void gpb_pool_collect (gpb_pool_t *self);

//  Answers rents whose time is up at now_ns (gpb_clock_ns). When the next one's is; UINT64_MAX:
//  there is none.
uint64_t gpb_pool_check_deadlines (gpb_pool_t *self, uint64_t now_ns);

void gpb_pool_handle_rent (void *actor, gpb_call_t *call);
void gpb_pool_handle_release (void *actor, gpb_call_t *call);
void gpb_pool_handle_map (void *actor, gpb_call_t *call);
void gpb_pool_handle_unmap (void *actor, gpb_call_t *call);
void gpb_pool_handle_cancel (void *actor, gpb_call_t *call);

#endif
