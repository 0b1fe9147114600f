//  gpb_fake - what the files of the fake backend share
//
//  Everything is under one mutex, gpb_fake_lock, but for the work of a command itself, which an
//  engine does outside. Records (memory, modules, events) live until the backend stops, so that a
//  pointer that was released can be told from one that was not.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_FAKE_H_INCLUDED
#define GPB_FAKE_H_INCLUDED

#include "gpb_backend.h"
#include "gpb_fake_backend.h"
#include "gpb_test_dispatch.h"

#include <pthread.h>

#define GPB_FAKE_ARGUMENTS_MAX 32
#define GPB_FAKE_DEVICES_MAX 16
#define GPB_FAKE_STREAMS_MAX 64

typedef enum {
    GPB_FAKE_COPY_IN,
    GPB_FAKE_COPY_OUT,
    GPB_FAKE_COMPUTE,
    GPB_FAKE_ENGINES,
    GPB_FAKE_LANE = GPB_FAKE_ENGINES    //  none of them: a thread of its own for each launch
} engine_t;

typedef enum {
    FUNCTION_ADD_F32,
    FUNCTION_COPY,
    FUNCTION_NOOP,
    FUNCTION_SLEEP_US,
    FUNCTION_FAIL,
    FUNCTION_LOSE,
    FUNCTION_NEVER_DONE,
    FUNCTION_DISPATCH,    //  from here on, entries of a persistent package
    FUNCTION_ONCE,
    FUNCTIONS
} function_id_t;

typedef struct {
    uint64_t used;    //  bytes of its memory
    bool lost;
} fake_device_t;

struct gpb_backend {
    const gpb_backend_services_t *services;
    unsigned devices_count;
    int bad;           //  number of the one out of order, or -1
    uint64_t total;    //  bytes of each device's memory
    uint64_t copy_us, compute_us, build_us;
    unsigned compute_units;
    bool svm;
    bool loads_alone;
    uint64_t fail_every, allocations;    //  every so many of these fail; 0: none
    fake_device_t devices [GPB_FAKE_DEVICES_MAX];
    gpb_memory_t *memories;    //  all records there are
    gpb_module_t *modules;
    gpb_event_t *events;
    gpb_context_t *closed;    //  contexts, whose records others still point to
};

struct gpb_memory {
    gpb_memory_t *next;
    gpb_context_t *context;
    gpb_memory_kind_t kind;
    gpb_access_t access;
    uint64_t size;
    unsigned char *data;
    unsigned commands;    //  that use it and are not done
    bool released;
};

struct gpb_function {
    gpb_function_t *next;
    gpb_module_t *module;
    function_id_t id;
};

struct gpb_module {
    gpb_module_t *next;
    gpb_context_t *context;
    char *text;
    function_id_t id;
    const gpb_test_handler_t *handler;    //  of a persistent package, whose entries say the id
    gpb_function_t *functions;
    unsigned commands;
    bool unloaded;
};

struct gpb_event {
    gpb_event_t *next;
    gpb_context_t *context;
    bool done, freed;
    gpb_status_t outcome;
    uint64_t start_ns, end_ns;
};

//  One command of a stream. What it uses is counted until it is done.
typedef struct command {
    struct command *next;    //  of the stream
    gpb_context_t *context;
    engine_t engine;
    bool running;
    uint64_t sequence;    //  of the context: an engine takes the oldest
    unsigned stream;
    gpb_test_lane_t lane;    //  let_go also ends never_done; killed: its context closes
    gpb_notify_t notify;
    gpb_event_t *event;    //  may be NULL

    //  A copy, or zero where from is NULL; function is NULL for both.
    unsigned char *to;
    const unsigned char *from;
    uint64_t size;

    gpb_function_t *function;
    uint64_t work_items;
    gpb_argument_t arguments [GPB_FAKE_ARGUMENTS_MAX];
    size_t arguments_count;

    gpb_memory_t *uses [GPB_FAKE_ARGUMENTS_MAX];
    size_t uses_count;
} command_t;

typedef struct {
    command_t *first, *last;
    int notify_fd;
} stream_t;

typedef struct {
    gpb_context_t *context;
    engine_t engine;
    pthread_t thread;
} worker_t;

struct gpb_context {
    gpb_backend_t *backend;
    unsigned number;
    bool profiling;
    bool closing;
    uint64_t sequence;
    unsigned lanes;            //  that run, each on a compute unit
    unsigned lane_threads;     //  of lanes that run or wait for their turn
    pthread_cond_t changed;    //  a command came, ended, or the context closes
    unsigned streams_count;
    stream_t streams [GPB_FAKE_STREAMS_MAX];
    worker_t workers [GPB_FAKE_ENGINES];
    unsigned workers_count;
    gpb_context_t *next;    //  of those open
};

extern pthread_mutex_t gpb_fake_lock;
extern gpb_context_t *gpb_fake_contexts;

//  gpb_fake_books.c: under the lock. Returns INTERNAL, so that a caller may return what this
//  returns.
gpb_status_t gpb_fake_fault (const gpb_backend_t *backend, gpb_error_t *error, const char *format,
                             ...) GPB_PRINTF (3, 4);

//  Writes what nobody asked for to stderr and aborts.
void gpb_fake_settle (void);

//  gpb_fake_engine.c: takes so long, in microseconds. Not under the lock.
void gpb_fake_last_us (uint64_t us);

bool gpb_fake_start_engines (gpb_context_t *context);

//  Waits until all streams are empty, and ends the engines. Not under the lock.
void gpb_fake_stop_engines (gpb_context_t *context);

//  gpb_fake_lanes.c: what a package's text is persistent by; *handler_p is NULL where it is not.
//  INVALID_ARGUMENT where its handler is none of ours, or wants more than one work-item.
gpb_status_t gpb_fake_find_handler (const gpb_context_t *context, const gpb_code_t *code,
                                    const gpb_test_handler_t **handler_p, gpb_error_t *error);

//  What must hold of a lane that is to be launched, beside what holds of every launch. Under the
//  lock.
gpb_status_t gpb_fake_check_lane (const gpb_context_t *context, const gpb_launch_t *launch,
                                  const command_t *command, gpb_error_t *error);

//  A thread that runs the command of a lane when it comes first in its stream. Under the lock, and
//  before it is enqueued. False where there is no thread to be had.
bool gpb_fake_start_lane (command_t *command);

//  What is done only while no lane runs, on a device that loads alone. Under the lock.
void gpb_fake_check_alone (const gpb_context_t *context, const char *what);

//  Ends the lanes of a context. Under the lock.
void gpb_fake_kill_lanes (gpb_context_t *context);

//  gpb_fake_engine.c: under the lock, frees the command and wakes who waits for its end.
void gpb_fake_finish (gpb_context_t *context, command_t *command, gpb_status_t outcome,
                      uint64_t start_ns, uint64_t end_ns);

//  Takes a command that came from services->alloc into its stream. Under the lock.
void gpb_fake_enqueue (gpb_context_t *context, command_t *command);

#endif
