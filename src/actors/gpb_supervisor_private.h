//  gpb_supervisor_private - the supervisor of a device's process, for the files that it is made of
//
//  gpb_supervisor.c has the messages, the rounds and the actor's life; gpb_supervisor_process.c the
//  life of each process. All of it is for the supervisor's one thread.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_SUPERVISOR_PRIVATE_H_INCLUDED
#define GPB_SUPERVISOR_PRIVATE_H_INCLUDED

#include "gpb_carriage.h"
#include "gpb_child.h"
#include "gpb_codec.h"
#include "gpb_config.h"
#include "gpb_flights.h"
#include "gpb_losses.h"
#include "gpb_poller.h"
#include "gpb_supervisor.h"

#define GPB_SUPERVISOR_PIPE 0    //  items of the poller
#define GPB_SUPERVISOR_CONTROL 1
#define GPB_SUPERVISOR_BROKER 2
#define GPB_SUPERVISOR_DEVICE 3
#define GPB_SUPERVISOR_HOST 4

typedef enum {
    GPB_PROCESS_DOWN,        //  there is none; one is started when the pause is over
    GPB_PROCESS_STARTING,    //  it opens its device
    GPB_PROCESS_UP,          //  it serves: only now is the broker's socket read
    GPB_PROCESS_ENDING       //  it is dead, or was killed, and is to be reaped
} gpb_process_state_t;

//  One of the process's two actors, and what is between it and us.
typedef struct {
    unsigned item;    //  of the poller
    gpb_flights_t *flights;
    zsock_t *dealer;    //  NULL unless the process is up
    gpb_carriage_t carriage;
    char path [112];    //  of its endpoint
} gpb_supervised_t;

typedef struct {
    zsock_t *pipe;
    gpb_config_t *config;
    unsigned index;         //  the device's
    gpb_error_t failure;    //  why there is no service
    gpb_supervised_t device, host;
    gpb_losses_t *losses;
    gpb_codec_t *codec;
    zsock_t *broker;               //  bound; NULL before BIND
    char endpoint [128];           //  where
    uint64_t kernel_timeout_ns;    //  0: never
    gpb_poller_t poller;

    gpb_process_state_t state;
    uint64_t since_ns;    //  of the state
    uint64_t until_ns;    //  when what the state waits for is due, or given up
    gpb_child_t child;
    char no_host [512];        //  why the process has no kernel host; "": it has one
    uint64_t host_asked_ns;    //  when the broker first asked the host itself for something since
                               //  it was heard last; 0: it has been heard
    char folder [64];          //  of its endpoints; "": none yet
    uint64_t processes;        //  started
    uint64_t restarts;         //  processes lost
    unsigned failed_starts;    //  in a row
    unsigned quick_losses;     //  in a row, without quiet between them
    bool is_told;              //  the process is lost, and all who wait for it know
    bool is_wanted;            //  one is started when the last is gone: the first was up
    bool has_said;             //  why is its own word
    char why [512];            //  it ended; "": its exit says
    char reason [640];         //  of the last loss
} gpb_supervisor_t;

//  ---------------------------------------------------------------------------------------------------------
//  gpb_supervisor_process

//  Starts a process. Where that fails, it has ended, and is to be reaped all the same.
void gpb_supervisor_start (gpb_supervisor_t *self);

//  The process has opened its device, and has a kernel host or, by no_host, a reason for none.
void gpb_supervisor_up (gpb_supervisor_t *self, const char *no_host);

//  The process is dead or, now, killed: why, or "" where its exit says it.
void gpb_supervisor_end (gpb_supervisor_t *self, const char *format, ...) GPB_PRINTF (2, 3);

//  Looks after a process that is ending: all who wait for it are told, and when it is gone the next
//  is due after a pause.
void gpb_supervisor_reap (gpb_supervisor_t *self);

//  Ends the process for good, and what is left of all of them: one that is up is told to stop, and
//  has drain_ms for that and a second to close its device.
void gpb_supervisor_stop (gpb_supervisor_t *self);

//  ---------------------------------------------------------------------------------------------------------
//  gpb_supervisor

//  Everything that the process had is answered with this.
void gpb_supervisor_fail_all (gpb_supervisor_t *self, const gpb_error_t *error);

//  Tells the broker that the device is lost for now, or for longer.
void gpb_supervisor_tell_lost (gpb_supervisor_t *self, bool is_lasting);

//  Asks the process for its figures, in the broker's name.
void gpb_supervisor_ask_figures (gpb_supervisor_t *self);

#endif
