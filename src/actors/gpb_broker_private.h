//  gpb_broker_private - what the files of the broker share
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_BROKER_PRIVATE_H_INCLUDED
#define GPB_BROKER_PRIVATE_H_INCLUDED

#include "gpb_book.h"
#include "gpb_describe.h"
#include "gpb_executors.h"
#include "gpb_placement.h"
#include "gpb_poller.h"
#include "gpb_principal.h"
#include "gpb_registration.h"
#include "gpb_report.h"
#include "gpb_residencies.h"
#include "gpb_service.h"

//  A kernel that a client has added.
typedef struct gpb_registered {
    struct gpb_registered *next;
    char *id;
    bool is_persistent;    //  it is for kernel hosts, not for devices
    zmq_msg_t header;      //  of the request that tells one of them
} gpb_registered_t;

typedef struct {
    zsock_t *pipe;
    gpb_config_t *config;
    gpb_error_t failure;    //  why there is no service
    gpb_service_t *service;
    gpb_router_t *router;    //  the service's
    gpb_codec_t *codec;      //  for what devices say
    gpb_book_t *book;
    gpb_principals_t *principals;
    gpb_placement_t *placement;
    gpb_kernels_t *kernels;
    gpb_registration_t *registrations;              //  under way
    gpb_registered_t *registered;                   //  done, for devices that come back
    gpb_executors_t executors;                      //  the devices, and their kernel hosts
    gpb_poller_t poller;                            //  pipe, the router's four, then these
    unsigned items [GPB_EXECUTORS_MAX];             //  of the poller, where it has a socket
    gpb_told_t told [GPB_PLACEMENT_DEVICES_MAX];    //  as each device said last
    gpb_residencies_t residencies;                  //  as each host said last
    gpb_report_counts_t counts;
    char **notices;    //  ends in NULL
    size_t notices_count;
    char *node;
    gpb_hello_t hello;
    uint64_t started_ns;
    uint64_t next_figures_ns;    //  when devices are asked next
    uint64_t next_aging_ns;      //  when what has waited long is looked for next
    gpb_gate_figures_t gate;     //  as they were logged last
} self_t;

//  gpb_broker.c

//  An entry for what was admitted, charged to its key. NULL: it was not (admitted says so, and
//  error why), or has no place or no right, and is refused.
gpb_entry_t *gpb_broker_enter (self_t *self, gpb_call_t *call, gpb_status_t admitted,
                               uint32_t retry_after_ms, gpb_error_t *error);

//  Hands an entry over to the executor that it is placed on.
void gpb_broker_hand_over (self_t *self, gpb_entry_t *entry, uint64_t now_ns);

//  Reads what an executor has said.
void gpb_broker_recv (self_t *self, unsigned executor);

//  Something changes on a device without an answer that says so (what a client that has left has
//  had is given back when its work is done, a kernel is started): figures are asked for sooner than
//  they would be.
void gpb_broker_ask_soon (self_t *self);

//  gpb_broker_devices.c: what a device says of itself; a gpb_command_fn, for the node's commands.
void gpb_broker_device_figures (self_t *self, unsigned device, const zmq_msg_t *header);
gpb_status_t gpb_broker_command (void *actor, char **words, size_t count, gpb_error_t *error);

//  gpb_broker_host.c: messages of persistent kernels.

//  Accepts one that these devices fit, and hands it over; or refuses it.
void gpb_broker_host_accept (self_t *self, gpb_call_t *call, const gpb_constraints_t *constraints,
                             uint64_t devices);

//  Hands an entry over, again, to the host of one of entry->devices.
void gpb_broker_host_send (self_t *self, gpb_entry_t *entry, uint64_t now_ns);

//  Counts what its host has answered.
void gpb_broker_host_answered (self_t *self, const gpb_entry_t *entry, bool is_ok, uint64_t now_ns);

//  What a host says of itself.
void gpb_broker_host_figures (self_t *self, unsigned device, const zmq_msg_t *header);

//  gpb_broker_gate.c: whether whoever sent a request may; and a look, once a second or so, at the
//  folder of keys, whose changes are made to hold, and at what the gate has refused, which is
//  logged.
gpb_status_t gpb_broker_allows (self_t *self, gpb_call_t *call, gpb_error_t *error);
void gpb_broker_watch_gate (self_t *self);

//  gpb_broker_registration.c: a handler, and what a device has answered to an entry that is a
//  registration.
void gpb_broker_handle_register (void *actor, gpb_call_t *call);
void gpb_broker_registration_answer (self_t *self, gpb_entry_t *entry, const zmq_msg_t *header);

//  A device is back, and knows none of the kernels that clients have added: it and its host get
//  theirs again.
void gpb_broker_registration_repeat (self_t *self, unsigned device);
void gpb_broker_registration_clear (self_t *self);

#endif
