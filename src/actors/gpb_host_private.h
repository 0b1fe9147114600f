//  gpb_host_private - the kernel host's actor, for the files that it is made of
//
//  gpb_host.c has its life, its rounds and the table of its handlers; gpb_host_kernels.c the
//  kernels that it has loaded; gpb_host_lanes.c which of their lanes are on the device;
//  gpb_host_work.c the messages; gpb_host_report.c what it says about itself. All of it is for the
//  host's one thread.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_HOST_PRIVATE_H_INCLUDED
#define GPB_HOST_PRIVATE_H_INCLUDED

#include "gpb_describe.h"
#include "gpb_heap.h"
#include "gpb_histogram.h"
#include "gpb_host.h"
#include "gpb_once.h"
#include "gpb_poller.h"
#include "gpb_service.h"

#define GPB_HOST_CHAINS 4096    //  a power of two

typedef struct gpb_hosted gpb_hosted_t;

//  One message, from its request to its answer.
typedef struct gpb_task {
    gpb_connection_t *connection;    //  NULL: the client is gone
    gpb_owner_t owner;
    uint64_t id;
    uint64_t received_ns;
    gpb_heap_node_t deadline;    //  key: gpb_clock_ns () by which it is answered
    size_t envelope_count;
    zmq_msg_t envelope [GPB_ENVELOPE_MAX];    //  the reply's
    zmq_msg_t input;                          //  a frame that holds it, while it waits
    bool has_frame;
    bool inline_results, on_demand;
    bool answered;      //  CANCELLED or DEADLINE_EXCEEDED was sent: what comes is dropped
    uint32_t output;    //  the output's position among the request's arguments
    gpb_ring_message_t message;
    gpb_ticks_instant_t published;    //  to its lane, or its launch; zeros: it waits
    gpb_hosted_t *hosted;
    unsigned lane;                                   //  that it is bound to, or is on
    bool is_bound;                                   //  it has a lane key
    uint64_t number;                                 //  counts up with every one that waits
    uint64_t index;                                  //  in its lane's ring
    bool is_launched;                                //  it has a launch of its own
    struct gpb_task *previous, *next;                //  in the list of what waits, or the free list
    struct gpb_task *chain_previous, *chain_next;    //  in the chain of its id
} gpb_task_t;

//  What waits, in the order of coming.
typedef struct {
    gpb_task_t *first, *last;
} gpb_tasks_t;

//  What the host knows of one lane beside its ring.
typedef struct {
    gpb_task_t **tasks;      //  by index modulo slots
    gpb_tasks_t waiting;     //  bound to it
    uint64_t answered;       //  OK
    uint64_t progress_ns;    //  when an answer came last, or a message found it empty
    uint64_t seated_ns;      //  when it got its seat
    uint64_t heartbeat;      //  when it was launched
    int seat;                //  -1: none
} gpb_hosted_lane_t;

//  A persistent kernel on this device; a replaced one until all that it has is answered.
struct gpb_hosted {
    gpb_hosted_t *next;
    gpb_kernel_t *kernel;        //  held
    gpb_resident_t *resident;    //  NULL: not loaded
    gpb_once_t *once;            //  NULL: no launch was asked for yet
    gpb_hosted_t *heir_of;    //  whose state it takes over when that has ended; till then it waits
    gpb_error_t failure;      //  why it is not loaded, or of the lane that failed last; GPB_OK
    uint64_t retry_ns;        //  when what failed is tried again
    bool is_replaced;
    uint64_t version;
    gpb_ticks_t clock;
    gpb_tasks_t waiting;         //  bound to no lane
    gpb_tasks_t waiting_once;    //  for launches of their own
    gpb_task_t *launched [GPB_ONCE_PLACES_MAX];
    unsigned launched_count;
    uint64_t waiting_count, waiting_size;    //  of all lists; bytes
    uint64_t tasks;                          //  all of them, on lanes too
    uint64_t answered, failed, on_demand, launches;
    uint64_t once_progress_ns;
    gpb_histogram_t latency;
    unsigned turn;    //  the lane whose turn it is to get a seat
    gpb_hosted_lane_t lanes [GPB_PERSISTENT_LANES_MAX];
};

//  A lane on the device: what the budget counts. Its stream is the seat's.
typedef struct {
    gpb_hosted_t *hosted;    //  NULL: free
    unsigned lane;
} gpb_seat_t;

//  Told when a handler does not return in time, in a process that is there to be ended for that.
typedef void (gpb_host_stuck_fn) (void *context, const char *reason);

typedef struct {
    zsock_t *pipe;
    gpb_config_t *config;
    gpb_error_t failure;    //  why there is no service
    gpb_service_t *service;
    gpb_shared_context_t *shared;
    gpb_kernels_t *kernels;
    gpb_cache_t *cache;
    gpb_hosted_t *hosted;    //  all of them
    gpb_hosted_t *turn;      //  whose turn it is to get a seat
    char *node;
    gpb_hello_t hello;
    gpb_poller_t poller;
    int timer_fd;

    unsigned seats_count;    //  the budget
    gpb_seat_t seats [GPB_SHARED_LANES_MAX];
    bool is_held;                             //  PARK was said: nothing is launched that stays
    uint64_t idle_ns, spin_ns, timeout_ns;    //  timeout_ns: kernel_timeout_ms
    uint64_t max_waiting, max_waiting_size;
    uint64_t memory_size;
    gpb_host_stuck_fn *stuck;
    void *stuck_context;

    gpb_heap_t deadlines;
    gpb_task_t *chains [GPB_HOST_CHAINS];    //  by id, which clients count up
    gpb_task_t *spare;
    size_t unanswered;    //  tasks
    uint64_t numbers;
    uint64_t pause_ns;       //  between two looks at the rings, once spinning was for nothing
    uint64_t progress_ns;    //  when something was published or answered last
    uint64_t stop_ns;    //  gpb_clock_ns (): what is on the device then is given up; 0: it serves
} gpb_host_t;

//  The actor on a device that is open already; shared NULL: it opens one. carrier, if any, and
//  stuck_context are borrowed for its life.
typedef struct {
    gpb_host_args_t args;
    const gpb_shared_context_t *shared;
    const gpb_carrier_t *carrier;
    gpb_host_stuck_fn *stuck;    //  NULL: lanes are quarantined
    void *stuck_context;
} gpb_host_start_t;

void gpb_host_run (zsock_t *pipe, const gpb_host_start_t *start);

//  ---------------------------------------------------------------------------------------------------------
//  gpb_host_kernels

//  Reads the packages, and their settings in the configuration.
gpb_status_t gpb_host_open_kernels (gpb_host_t *self, gpb_error_t *error);

//  The kernel as it is hosted now, loaded. NULL: NOT_FOUND, or FAILED_PRECONDITION with the cause.
gpb_hosted_t *gpb_host_lookup (gpb_host_t *self, const char *id, gpb_error_t *error);

//  Makes ready for launches of its own, a kernel's `once`.
gpb_status_t gpb_host_open_once (gpb_host_t *self, gpb_hosted_t *hosted, gpb_error_t *error);

//  Loads what is to be there from the start.
void gpb_host_preload (gpb_host_t *self);

void gpb_host_handle_register (void *actor, gpb_call_t *call);

//  Ends replaced kernels that have nothing more to do.
void gpb_host_reap (gpb_host_t *self);

//  All of them; what does not end keeps its memory. False: some did.
bool gpb_host_close_kernels (gpb_host_t *self);

//  ---------------------------------------------------------------------------------------------------------
//  gpb_host_lanes

//  Has a lane on the device, or on its way there, for a message that waits for it. False: not yet.
bool gpb_host_seat (gpb_host_t *self, gpb_hosted_t *hosted, unsigned lane);

//  Looks which lanes have returned. True where one has.
bool gpb_host_settle (gpb_host_t *self);

//  Parks what has idled for long enough, quarantines what does not return, and gives the time in ms
//  until the next look; -1: none.
int gpb_host_check_lanes (gpb_host_t *self);

//  Parks all lanes, and has none launched until is_held is false again. RESOURCE_EXHAUSTED where
//  one does not return in time, and is_held is as it was.
gpb_status_t gpb_host_hold (gpb_host_t *self, gpb_error_t *error);

//  Parks all lanes and waits until they have returned, at most timeout_ms. False: some have not.
bool gpb_host_park_all (gpb_host_t *self, uint64_t timeout_ms);

//  ---------------------------------------------------------------------------------------------------------
//  gpb_host_work

void gpb_host_handle_execute (void *actor, gpb_call_t *call);
void gpb_host_handle_cancel (void *actor, gpb_call_t *call);

//  Publishes and launches what can be.
void gpb_host_dispatch (gpb_host_t *self);

//  Takes the answers that are there, of all lanes on the device or of one.
void gpb_host_collect (gpb_host_t *self);
void gpb_host_collect_lane (gpb_host_t *self, gpb_hosted_t *hosted, unsigned lane);

//  Whether an answer is to come by itself, and whether one is there to be taken.
bool gpb_host_is_due (const gpb_host_t *self);
bool gpb_host_is_answered (const gpb_host_t *self);

//  What is launched for each message: takes what is done.
void gpb_host_collect_launched (gpb_host_t *self);

//  Answers those whose time is up, and gives the time in ms until the next one's is; -1: none.
int gpb_host_check_deadlines (gpb_host_t *self);

//  An owner has left: what waits is dropped, what is on a lane is skipped.
void gpb_host_drop_owner (gpb_host_t *self, const gpb_owner_t *owner);

//  A lane does not return, or could not be launched: answers what is bound to it and waits, and all
//  that is in its ring. Where error is DEADLINE_EXCEEDED, it is the answer of the oldest in the
//  ring alone, whose handler has begun; that of all others is UNAVAILABLE, since they have not.
void gpb_host_fail_lane (gpb_host_t *self, gpb_hosted_t *hosted, unsigned lane,
                         const gpb_error_t *error);

//  Answers all that waits for a kernel's lanes.
void gpb_host_fail_waiting (gpb_host_t *self, gpb_hosted_t *hosted, const gpb_error_t *error);

//  Answers whatever is not answered yet.
void gpb_host_fail_all (gpb_host_t *self, const gpb_error_t *error);

//  Frees what all tasks were taken from.
void gpb_host_clear_tasks (gpb_host_t *self);

//  ---------------------------------------------------------------------------------------------------------
//  gpb_host_report

void gpb_host_handle_kernels (void *actor, gpb_call_t *call);
void gpb_host_handle_stats (void *actor, gpb_call_t *call);
void gpb_host_handle_hello (void *actor, gpb_call_t *call);

#endif
