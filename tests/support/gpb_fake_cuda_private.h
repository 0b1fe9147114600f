//  gpb_fake_cuda_private - what the files of the fake CUDA driver share
//
//  Everything is under one mutex, gpb_fake_cuda_lock. It is left for the work of a command alone:
//  copying, a kernel, a callback. A call begins by taking it and ends by giving it back:
//
//      CUcontext context;
//      CUresult result = gpb_fake_cuda_begin_context (CALL_cuThing, &context);
//      if (result == CUDA_SUCCESS)
//          ...
//      return gpb_fake_cuda_end (result);
//
//  What has a handle is an object, which lives until the driver is reset, so that a handle that is
//  gone can be told from one that is not. Memory has addresses instead: a block that is freed is
//  given back to the host, and its address is remembered for a while.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_FAKE_CUDA_PRIVATE_H_INCLUDED
#define GPB_FAKE_CUDA_PRIVATE_H_INCLUDED

#include "gpb_fake_cuda.h"

#include <pthread.h>
#include <stdatomic.h>

#define GPB_FAKE_CUDA_DEVICES_MAX 16
#define GPB_FAKE_CUDA_USES_MAX (GPB_FAKE_CUDA_PARAMETERS_MAX + 2)
#define GPB_FAKE_CUDA_SHARED_SIZE (48 << 10)    //  bytes of a block, where nobody opts in for more
#define GPB_FAKE_CUDA_SHARED_MAX (227 << 10)

//  What the library exports; a definition that is not as gpb_cuda_api.h says does not compile.
#define GPB_FAKE_CUDA_PROTOTYPE(name, symbol, parameters) GPB_EXPORT CUresult symbol parameters;
GPB_CUDA_FUNCTIONS (GPB_FAKE_CUDA_PROTOTYPE)
GPB_CUDA_NEWER_FUNCTIONS (GPB_FAKE_CUDA_PROTOTYPE)
#undef GPB_FAKE_CUDA_PROTOTYPE

typedef enum {
#define GPB_FAKE_CUDA_CALL(name, symbol, parameters) CALL_##name,
    GPB_CUDA_FUNCTIONS (GPB_FAKE_CUDA_CALL) GPB_CUDA_NEWER_FUNCTIONS (GPB_FAKE_CUDA_CALL)
#undef GPB_FAKE_CUDA_CALL
        CALLS
} call_t;

//  ---------------------------------------------------------------------------------------------------------
//  What there is

typedef enum {
    OBJECT_CONTEXT,
    OBJECT_STREAM,
    OBJECT_EVENT,
    OBJECT_MODULE,
    OBJECT_FUNCTION,    //  goes with its module
    OBJECT_POOL,
    OBJECTS
} kind_t;

typedef struct object {
    struct object *next;
    kind_t kind;
    CUcontext context;
    bool is_gone;
} object_t;

struct CUctx_st {
    object_t object;
    int device;
    unsigned retained;
    unsigned pushed;        //  on how many places of threads' stacks it is
    unsigned persistent;    //  kernels of that sort that are enqueued or run
    size_t used;            //  bytes of the device's memory
    CUresult error;         //  sticky
    atomic_bool is_over;    //  there is an error: for kernels, without the lock
};

//  Memory of the host that stands for the device's, or is pinned.
typedef struct {
    CUcontext context;
    unsigned char *data;
    size_t size;
    bool is_pinned;
    CUmemoryPool pool;    //  NULL: none
    bool is_ready;        //  a pool's: its stream has come to the allocation
    bool is_leaving;      //  a pool's: it is to be freed when a stream comes to that
    bool is_freed;        //  for whom it is still used by
    unsigned uses;        //  of commands that are not done
} block_t;

//  A freed block that a pool keeps.
typedef struct piece {
    struct piece *next;
    size_t size;
    CUstream stream;    //  that freed it, and may not have come to that; NULL: it is free
    uint64_t number;
} piece_t;

struct CUmemPoolHandle_st {
    object_t object;
    uint64_t threshold;
    size_t size_max;    //  0: as much as there is
    size_t used, reserved;
    piece_t *kept;
};

struct CUevent_st {
    object_t object;
    bool has_timing;
    CUstream stream;    //  of its latest record; NULL: never recorded
    uint64_t number;    //  of that command
    uint64_t time_ns;
};

struct CUmod_st {
    object_t object;
    char *image;          //  what was loaded
    unsigned commands;    //  that run one of its functions and are not done
};

struct CUfunc_st {
    object_t object;
    CUmodule module;
    char *name;
    bool has_parameters;    //  they are known, from a test or from a cubin
    bool is_loaded;
    unsigned dynamic_max;    //  bytes of dynamic shared memory that a launch may ask for
    gpb_fake_cuda_function_t is;
};

typedef struct command command_t;

//  Carries a command out, under the lock, which it may leave meanwhile. Other than CUDA_SUCCESS
//  fails the context.
typedef CUresult (run_t) (CUstream stream, command_t *command);

struct command {
    command_t *next;
    call_t call;    //  that enqueued it
    run_t *run;
    bool runs_always;    //  when the context has failed, too
    block_t *uses [GPB_FAKE_CUDA_USES_MAX];
    unsigned uses_count;

    unsigned char *to;    //  copies; sets to byte where from is NULL
    const unsigned char *from;
    size_t size;
    unsigned char byte;

    block_t *block;    //  that is allocated or freed

    CUevent event;      //  that is recorded
    CUstream other;     //  that is waited for, until it has come past
    uint64_t number;    //  this command

    CUstreamCallback callback;
    void *argument;

    CUfunction function;
    gpb_fake_cuda_launch_t launch;
    void *parameters [GPB_FAKE_CUDA_PARAMETERS_MAX];
    unsigned char *values;    //  what they point into
};

struct CUstream_st {
    object_t object;
    pthread_t thread;
    bool is_joined;    //  or about to be
    bool is_closing;
    pthread_cond_t wake;    //  a command came, or it closes
    command_t *first, *last;
    uint64_t enqueued, done;    //  commands
};

typedef struct {
    CUcontext context;    //  its primary one, while that is retained
    CUresult lost;        //  what a context of it has failed with
    unsigned kernels;     //  that run
} device_t;

typedef struct {
    bool is_initialised;
    bool is_excused;    //  a call that gives back was told to fail: what is left is no fault
    pid_t process;      //  that has called cuInit: threads do not follow into a fork
    int devices_count;
    int bad;    //  its number; GPB_FAKE_CUDA_DEVICES_MAX: none is
    size_t memory;
    unsigned capability;
    unsigned units;
    int compute_mode;
    bool has_pools;
    bool is_old;
    bool is_lazy;
    uint64_t copy_us, compute_us;
    device_t devices [GPB_FAKE_CUDA_DEVICES_MAX];
    object_t *objects;
} driver_t;

extern pthread_mutex_t gpb_fake_cuda_lock;
extern pthread_cond_t gpb_fake_cuda_changed;    //  a command is done, or a context is over
extern driver_t gpb_fake_cuda_driver;

//  ---------------------------------------------------------------------------------------------------------
//  gpb_fake_cuda_books.c: calls, failures and faults

//  What a thread is at. Faults begin with the call.
typedef struct {
    call_t call;
    CUcontext inside;    //  whose callback or kernel runs on this thread
} at_t;
extern _Thread_local at_t gpb_fake_cuda_at;

//  Each takes the lock. Also answers, in this order: what gpb_fake_cuda_fail said; _driver:
//  NOT_INITIALIZED; _context: that there is none, or its error.
CUresult gpb_fake_cuda_begin (call_t call);
CUresult gpb_fake_cuda_begin_driver (call_t call);
CUresult gpb_fake_cuda_begin_context (call_t call, CUcontext *context_p);

//  Gives it back, and answers what it is given.
CUresult gpb_fake_cuda_end (CUresult result);

//  The rest is for those who have the lock.

//  No failures, counts and faults any more.
void gpb_fake_cuda_forget_books (void);

void gpb_fake_cuda_fault (const char *format, ...) GPB_PRINTF (1, 2);

//  A fault where a persistent kernel is on the context.
void gpb_fake_cuda_would_wait (const struct CUctx_st *context);

//  CUDA_SUCCESS where handle is an object of that kind that is there, and of the context; else a
//  fault.
CUresult gpb_fake_cuda_check (const struct CUctx_st *context, const void *handle, kind_t kind);

//  A new object, of size bytes, that are 0; NULL where there is no memory.
void *gpb_fake_cuda_object (CUcontext context, kind_t kind, size_t size);

//  ---------------------------------------------------------------------------------------------------------
//  gpb_fake_cuda.c: driver, devices and contexts

//  What every call and every command on the context answers from now on. The first one stays.
void gpb_fake_cuda_end_context (CUcontext context, CUresult error);

//  The context on top of the thread's stack, or NULL. With or without the lock.
CUcontext gpb_fake_cuda_current (void);

//  ---------------------------------------------------------------------------------------------------------
//  gpb_fake_cuda_memory.c

#define GPB_FAKE_CUDA_ALIGNMENT 256    //  of device memory, as CUDA has it

//  Whether the device has so much memory left.
bool gpb_fake_cuda_has_room (const struct CUctx_st *context, size_t size);

//  A block of new memory; NULL where the host has none.
block_t *gpb_fake_cuda_block_new (CUcontext context, size_t size, size_t alignment);

//  Takes a block out of the books; its memory goes with its last use.
void gpb_fake_cuda_block_free (block_t *block);

uint64_t gpb_fake_cuda_address (const block_t *block);

//  The block that address is in, or NULL.
block_t *gpb_fake_cuda_block (uint64_t address);

//  The block that starts at address and is to be freed, or a fault.
CUresult gpb_fake_cuda_find_to_free (CUdeviceptr address, bool is_pinned, block_t **block_p);

//  A fault where a command uses it.
void gpb_fake_cuda_check_unused (const block_t *block);

//  Notes that a command uses a block, or answers a fault.
CUresult gpb_fake_cuda_use (command_t *command, block_t *block);
void gpb_fake_cuda_use_no_more (block_t *block);

//  Frees all that a context has, whose streams have ended.
void gpb_fake_cuda_free_all (const struct CUctx_st *context);

//  No blocks are left, and those that were are no longer remembered.
void gpb_fake_cuda_forget_addresses (void);

unsigned gpb_fake_cuda_count_blocks (const struct CUctx_st *context);

//  ---------------------------------------------------------------------------------------------------------
//  gpb_fake_cuda_pool.c

//  Gives a pool's block back to it, which is about to be freed.
void gpb_fake_cuda_give_back (const block_t *block);

//  Forgets what a context's pools keep.
void gpb_fake_cuda_empty_pools (const struct CUctx_st *context);

//  ---------------------------------------------------------------------------------------------------------
//  gpb_fake_cuda_stream.c

//  A command of the call that this thread is at, to be carried out by run; NULL: no memory.
command_t *gpb_fake_cuda_command (run_t *run);
void gpb_fake_cuda_command_destroy (command_t *command);

//  Hands a command to a stream. Its number is stream->enqueued then.
void gpb_fake_cuda_enqueue (CUstream stream, command_t *command);

//  Lasts until us after start. Not under the lock.
void gpb_fake_cuda_last (uint64_t start_ns, uint64_t us);

//  Ends every stream of a context, and waits for its thread, leaving the lock meanwhile.
void gpb_fake_cuda_join (const struct CUctx_st *context);

//  ---------------------------------------------------------------------------------------------------------
//  gpb_fake_cuda_image.c

//  Whether it can be loaded here, and how large it is.
CUresult gpb_fake_cuda_image_check (const char *image, size_t *size);

bool gpb_fake_cuda_image_has (const char *image, const char *name);

//  Fills in the parameters of a function that it has. False: a text does not say them.
bool gpb_fake_cuda_image_parameters (const char *image, const char *name,
                                     gpb_fake_cuda_function_t *function);

//  ---------------------------------------------------------------------------------------------------------
//  gpb_fake_cuda_module.c

//  What an object of these kinds holds beside itself.
void gpb_fake_cuda_forget (object_t *object);
void gpb_fake_cuda_forget_registered (void);

#endif
