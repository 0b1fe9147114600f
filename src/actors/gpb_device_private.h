//  gpb_device_private - the device's actor, for the files that it is made of
//
//  gpb_device.c has its life, its rounds and the table of its handlers; gpb_device_work.c what its
//  streams work on; gpb_device_memory.c what clients rent and reserve; gpb_device_report.c what it
//  says about itself. All of it is for the device's one thread. A handler answers its call now, or
//  makes it a job that is answered later.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_DEVICE_PRIVATE_H_INCLUDED
#define GPB_DEVICE_PRIVATE_H_INCLUDED

#include "gpb_describe.h"
#include "gpb_device.h"
#include "gpb_host_private.h"
#include "gpb_jobs.h"
#include "gpb_poller.h"

//  What a device's actors have in a process of their own; all of it is borrowed for their life.
typedef struct {
    const gpb_carrier_t *device;    //  that messages of the device go through; NULL: they are what
    const gpb_carrier_t *host;      //  they are; those of its kernel host
    gpb_host_stuck_fn *stuck;       //  gpb_host_start_t
    void *stuck_context;
} gpb_device_apart_t;

typedef struct {
    zsock_t *pipe;
    gpb_config_t *config;
    gpb_error_t failure;    //  why there is no service
    gpb_service_t *service;
    gpb_shared_context_t *shared;
    gpb_workshop_t workshop;
    char *node;    //  the node's name, for replies
    gpb_hello_t hello;

    gpb_programs_t *programs;    //  kernels, compiled for this device
    gpb_rentals_t *rentals;      //  and the pool behind them
    gpb_reservations_t *reservations;
    gpb_codec_t *codec;    //  for what the pool answers

    zactor_t *host;    //  the kernel host; NULL: nobody has asked for it
    gpb_device_apart_t apart;

    gpb_jobs_t *jobs;
    gpb_poller_t poller;
    uint64_t last_done_ns;    //  when the last job was done; 0: none yet
    size_t stats_asked;       //  of these, requests for figures that wait for the pool
    uint64_t stop_ns;    //  gpb_clock_ns (): what is on the device then is given up; 0: it serves
} gpb_device_t;

//  The actor, gpb_device; apart NULL: it is in its node's process.
void gpb_device_run (zsock_t *pipe, const gpb_device_args_t *args, const gpb_device_apart_t *apart);

//  ---------------------------------------------------------------------------------------------------------
//  gpb_device_work

//  ALREADY_EXISTS where a request of this id is in flight for the call's owner, DEADLINE_EXCEEDED
//  where its time is up.
gpb_status_t gpb_device_check_new (gpb_device_t *self, const gpb_call_t *call, gpb_error_t *error);

//  What a broker chooses a device by, a client that asks one directly may ask for too: NOT_FOUND
//  for another device, FAILED_PRECONDITION for a capability that this one has not,
//  RESOURCE_EXHAUSTED where less than memory bytes are available. has_device: device is asked for.
gpb_status_t gpb_device_check_placement (gpb_device_t *self, const gpb_call_t *call,
                                         bool has_device, uint32_t device, size_t require_count,
                                         char *const *require, uint64_t memory, gpb_error_t *error);

//  The job is over, and what it has drawn from a reservation comes back; refused: answered first,
//  unless it was already.
void gpb_device_job_free (gpb_device_t *self, gpb_job_t *job);
void gpb_device_job_refuse (gpb_device_t *self, gpb_job_t *job, const gpb_error_t *error);

//  Answers a job before its work is done, which goes on.
void gpb_device_answer_early (gpb_device_t *self, gpb_job_t *job, const gpb_error_t *error);

//  An execute for which the pool has given back what it could.
void gpb_device_execute_again (gpb_device_t *self, gpb_job_t *job);

//  Answers all jobs that are done.
void gpb_device_answer_done (gpb_device_t *self);

void gpb_device_handle_execute (void *actor, gpb_call_t *call);
void gpb_device_handle_transfer (void *actor, gpb_call_t *call);    //  read, write and copy

//  ---------------------------------------------------------------------------------------------------------
//  gpb_device_memory

//  Bytes that can still be had by who names no reservation; and the same into a reply.
uint64_t gpb_device_available (gpb_device_t *self);
void gpb_device_set_available (gpb_device_t *self, Gpb__V1__Reply *reply);

//  A gpb_admit_fn; what it has drawn comes back by gpb_device_undraw.
gpb_status_t gpb_device_admit (void *actor, gpb_job_t *job, uint64_t size, gpb_error_t *error);
void gpb_device_undraw (gpb_device_t *self, gpb_job_t *job);

//  Passes on what the pool has answered.
void gpb_device_recv_from_pool (gpb_device_t *self);

void gpb_device_handle_rent (void *actor, gpb_call_t *call);
void gpb_device_handle_release (void *actor, gpb_call_t *call);
void gpb_device_handle_map (void *actor, gpb_call_t *call);
void gpb_device_handle_unmap (void *actor, gpb_call_t *call);
void gpb_device_handle_reserve (void *actor, gpb_call_t *call);
void gpb_device_handle_renew (void *actor, gpb_call_t *call);
void gpb_device_handle_unreserve (void *actor, gpb_call_t *call);

//  ---------------------------------------------------------------------------------------------------------
//  gpb_device_report

//  The pool's figures are there, in header: ours go with them.
void gpb_device_answer_stats (gpb_device_t *self, gpb_job_t *job, const zmq_msg_t *header);

void gpb_device_handle_devices (void *actor, gpb_call_t *call);
void gpb_device_handle_stats (void *actor, gpb_call_t *call);
void gpb_device_handle_kernels (void *actor, gpb_call_t *call);
void gpb_device_handle_hello (void *actor, gpb_call_t *call);

#endif
