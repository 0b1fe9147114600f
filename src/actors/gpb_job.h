//  gpb_job - the work of one request on a device, from its memory to its results
//
//  Checks the request against the kernel's definition, takes the memory that it needs, enqueues its
//  copies and its launch on one stream, and collects results and times when the last of them is
//  done. Knows frames, but no socket: the device's actor receives and answers. One thread: the
//  device's.
//
//  A payload is used where it lies when the device shares the host's memory and the frame has the
//  parameter's declared alignment; else it is copied once, into a launch buffer. An output is
//  written by the kernel (or the copy engine) into a launch buffer, and the reply's frame is that
//  buffer: it comes back when libzmq lets go of it.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_JOB_H_INCLUDED
#define GPB_JOB_H_INCLUDED

#include "gpb_blocks.h"
#include "gpb_heap.h"
#include "gpb_programs.h"
#include "gpb_rentals.h"

#define GPB_JOB_COMMANDS_MAX (3 * GPB_KERNEL_PARAMETERS_MAX + 1)

//  The memory of one parameter.
typedef struct {
    gpb_block_t *block;      //  what the kernel uses, or NULL
    gpb_block_t *staging;    //  host memory that copies go through, where the device does not share
                             //  the host's
    gpb_memory_t *wrapped;    //  a payload frame in place
    gpb_rental_t *rental;
} gpb_piece_t;

typedef struct {
    uint32_t argument;     //  its position among the request's arguments
    gpb_block_t *block;    //  holds the bytes; NULL for none
    uint64_t size;         //  bytes
} gpb_result_t;

typedef enum { GPB_COMMAND_COPY_IN, GPB_COMMAND_COMPUTE, GPB_COMMAND_COPY_OUT } gpb_command_kind_t;

typedef struct gpb_job {
    //  The request
    uint32_t number;                 //  in the device's table
    uint32_t generation;             //  of this number: counts up with every use
    gpb_message_t message;           //  its frames: the envelope is the reply's
    gpb_connection_t *connection;    //  NULL: the client is gone
    gpb_owner_t owner;
    uint64_t id;
    uint64_t received_ns;
    gpb_heap_node_t deadline;    //  gpb_jobs_t's; key: gpb_clock_ns () by which it is answered
    Gpb__V1__Request__BodyCase kind;
    bool inline_results;
    bool answered;    //  CANCELLED or DEADLINE_EXCEEDED was sent: what comes is dropped

    //  Its work
    unsigned stream;
    const gpb_program_t *program;    //  that it launches, used; NULL: none
    size_t pieces_count;
    gpb_piece_t pieces [GPB_KERNEL_PARAMETERS_MAX];
    size_t commands_count;
    gpb_event_t *events [GPB_JOB_COMMANDS_MAX];
    gpb_command_kind_t kinds [GPB_JOB_COMMANDS_MAX];
    bool admitted;          //  its launch buffers may be taken
    bool retried;           //  it has found no memory once, and has asked the pool for some
    bool unannounced;       //  enqueuing broke off: no notification will come for its last command
    gpb_error_t failure;    //  GPB_OK while all is well

    //  What came of it
    size_t results_count;
    gpb_result_t results [GPB_KERNEL_PARAMETERS_MAX];
    uint64_t host_copied;    //  payload bytes that the host copied

    //  The reservation that its launch buffers are drawn from, and their bytes; 0: none
    uint64_t reservation, drawn;

    struct gpb_job *next;    //  on its stream, or in the free list
} gpb_job_t;

//  Asked before a launch takes its buffers: may they have size bytes of the device's own memory?
typedef gpb_status_t (gpb_admit_fn) (void *context, gpb_job_t *job, uint64_t size,
                                     gpb_error_t *error);

//  What a job works with.
typedef struct {
    const gpb_shared_context_t *shared;
    gpb_blocks_t *blocks;
    gpb_rentals_t *rentals;
    gpb_admit_fn *admit;    //  NULL: whatever there is
    void *admit_context;
} gpb_workshop_t;

//  Each prepares and enqueues the work of a request whose frames stand in self->message. OK: self
//  is on its way (where commands_count is 0 it is done already). Else: nothing of it is on the
//  device, all memory is back, and *error says why. Where enqueuing breaks off in the middle, it is
//  OK too, and self->failure says why when it is done.
gpb_status_t gpb_job_execute (gpb_job_t *self, const gpb_workshop_t *shop,
                              const gpb_program_t *program, const Gpb__V1__Execute *request,
                              gpb_error_t *error);
gpb_status_t gpb_job_read (gpb_job_t *self, const gpb_workshop_t *shop,
                           const Gpb__V1__Request *request, gpb_error_t *error);
gpb_status_t gpb_job_write (gpb_job_t *self, const gpb_workshop_t *shop,
                            const Gpb__V1__Request *request, gpb_error_t *error);
gpb_status_t gpb_job_copy (gpb_job_t *self, const gpb_workshop_t *shop,
                           const Gpb__V1__Request *request, gpb_error_t *error);

//  Whether a request is bound to rented memory, so that it keeps its order with others that are.
bool gpb_job_execute_is_bound (const Gpb__V1__Execute *request);

//  Whether all its commands are done; self->failure has their outcome.
bool gpb_job_is_done (gpb_job_t *self, const gpb_workshop_t *shop);

//  Fills timing (all of it) and its spans from the events. To be called when it is done.
void gpb_job_timing (gpb_job_t *self, const gpb_workshop_t *shop, Gpb__V1__Timing *timing,
                     Gpb__V1__Span spans [3]);

//  Makes a result's bytes a payload frame of self->message (its request's payloads are closed by
//  gpb_job_release), by reference.
gpb_status_t gpb_job_add_result_frame (gpb_job_t *self, gpb_result_t *result, gpb_error_t *error);

//  Lets go of events, memory and rentals, except for results, and closes the request's payload
//  frames.
void gpb_job_release (gpb_job_t *self, const gpb_workshop_t *shop);

//  Gives back results that were not made frames.
void gpb_job_drop_results (gpb_job_t *self);

#endif
