//  gpb_cuda - what the files of the CUDA module share
//
//  The module is its own shared object and links to no CUDA library: driver and compiler are opened
//  at run time (gpb_cuda_driver.c), memory and errors come through the services that `start` is
//  given. gpb_cuda.c holds backend and contexts; gpb_cuda_stream.c streams, commands and events;
//  gpb_cuda_device.c describes devices; gpb_cuda_memory.c allocates and copies; gpb_cuda_program.c
//  compiles and loads; gpb_cuda_launch.c launches; gpb_cuda_error.c puts a CUresult in words.
//
//  The context is the device's primary one, which other users of CUDA in this process share: every
//  operation pushes it for its thread and pops it again, and nobody ever resets it.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_CUDA_H_INCLUDED
#define GPB_CUDA_H_INCLUDED

#include "gpb_backend.h"
#include "gpb_cuda_api.h"

#include <stdatomic.h>

struct gpb_backend {
    const gpb_backend_services_t *services;
    gpb_cuda_driver_t cuda;
    gpb_nvrtc_t nvrtc;               //  all NULL where there is none
    char nvrtc_trouble [256];        //  why
    int nvrtc_major, nvrtc_minor;    //  0: none
    int driver_version;              //  1000 * major + 10 * minor of the newest CUDA that it runs
    int devices_count;
};

//  One CUDA stream, and one beside it for notifications alone: a callback holds up whatever stands
//  behind it in its stream, so it stands in another one that only waits for the command's event.
typedef struct {
    gpb_context_t *context;
    CUstream commands;
    CUstream notices;
    int notify_fd;              //  the caller's eventfd; -1: none
    atomic_uint outstanding;    //  callbacks that are still to come
    gpb_event_t *spare;         //  events that are free again, for the thread that uses the stream
    CUevent anchor;             //  done; times are told from it
    uint64_t anchor_ns;         //  when it was, on the context's clock
} gpb_cuda_stream_t;

struct gpb_context {
    gpb_backend_t *backend;
    const gpb_backend_services_t *services;
    const gpb_cuda_driver_t *cuda;
    CUdevice device;
    CUcontext primary;    //  retained once for this context
    gpb_device_info_t info;
    bool profiling;
    bool is_lazy;            //  the driver loads functions when they are launched first
    CUmemoryPool pool;       //  NULL where the device has none
    CUstream allocations;    //  the stream in whose order the pool gives and takes back
    atomic_int lost;         //  the sticky CUresult after which nothing works any more; 0: well
    unsigned streams_count;
    gpb_cuda_stream_t *streams;
};

struct gpb_memory {
    gpb_context_t *context;
    gpb_memory_kind_t kind;
    uint64_t size;          //  bytes
    CUdeviceptr address;    //  as kernels see it; 0: they do not
    void *host;             //  NULL for DEVICE memory
};

#define GPB_CUDA_PARAMETERS_MAX 64    //  twice what a kernel package may declare

struct gpb_function {
    gpb_module_t *module;
    gpb_function_t *next;
    CUfunction function;
    gpb_function_info_t info;
    int best_block;              //  work-items that fill the device best (occupancy)
    uint64_t dynamic_allowed;    //  bytes of dynamic shared memory that a launch may ask for now
    bool has_parameters;         //  the driver tells what follows
    unsigned parameters_count;
    size_t parameters [GPB_CUDA_PARAMETERS_MAX];    //  their sizes in bytes
};

struct gpb_module {
    gpb_context_t *context;
    CUmodule module;
    _Atomic (gpb_function_t *) functions;
    void *binary;          //  what was loaded, where that is a cubin; else NULL
    size_t binary_size;    //  bytes
};

struct gpb_event {
    gpb_cuda_stream_t *stream;
    CUevent start;    //  with profiling only
    CUevent end;
    bool is_done;    //  and these are its outcome and times
    gpb_event_times_t times;
    gpb_event_t *next;    //  of the spare ones
};

//  ---------------------------------------------------------------------------------------------------------
//  gpb_cuda_driver.c

//  Opens the driver, and the compiler where there is one. FAILED_PRECONDITION with a sentence where
//  there is no driver or one that is too old.
gpb_status_t gpb_cuda_load (gpb_backend_t *self, gpb_error_t *error);

//  The compiler alone; where there is none, nvrtc_trouble says why.
void gpb_cuda_load_compiler (gpb_backend_t *self);

//  ---------------------------------------------------------------------------------------------------------
//  gpb_cuda_prebuilt.c

#define GPB_CUDA_PREBUILT_NAME_SIZE 64

//  The name of the file that holds what a source came to for an architecture: it follows from the
//  text, the options and the architecture alone.
void gpb_cuda_prebuilt_name (const gpb_code_t *code, const char *architecture,
                             char name [GPB_CUDA_PREBUILT_NAME_SIZE]);

//  What was compiled of a source when libgpb was built: a cubin for the architecture, or where
//  is_any PTX that its driver compiles on. False where there is none. *data_p is freed with the
//  services' free, and ends in a NUL behind *size_p bytes.
bool gpb_cuda_prebuilt_read (const gpb_backend_services_t *services, const gpb_code_t *code,
                             const char *architecture, bool is_any, char **data_p, size_t *size_p);

//  The architecture whose PTX stands for all newer ones.
#define GPB_CUDA_PREBUILT_ANY "compute_80"

//  ---------------------------------------------------------------------------------------------------------
//  gpb_cuda_error.c

//  The status that a result comes to; sticky ones are UNAVAILABLE or DATA_LOSS.
gpb_status_t gpb_cuda_status (CUresult result);

//  Whether nothing works any more on the context after it, until the process ends.
bool gpb_cuda_is_sticky (CUresult result);

//  Fills error with "CALL: CUDA_ERROR_NAME (number): what the driver says" and the status.
gpb_status_t gpb_cuda_refuse (const gpb_backend_t *backend, gpb_error_t *error, CUresult result,
                              const char *call);

//  ---------------------------------------------------------------------------------------------------------
//  gpb_cuda_device.c

gpb_status_t gpb_cuda_describe_device (const gpb_backend_t *self, unsigned number,
                                       gpb_device_info_t *info, CUdevice *device_p,
                                       gpb_error_t *error);

//  ---------------------------------------------------------------------------------------------------------
//  gpb_cuda_stream.c: the frame around every call and every command

//  Opens and closes one, in a context that is current. close: false where the driver may still call
//  back, so that its structure must stay.
gpb_status_t gpb_cuda_stream_open (gpb_context_t *self, gpb_cuda_stream_t *stream,
                                   gpb_error_t *error);
bool gpb_cuda_stream_close (gpb_context_t *self, gpb_cuda_stream_t *stream);

//  Makes the context current for this thread. Every enter that answers OK has its leave.
gpb_status_t gpb_cuda_enter (const gpb_context_t *self, gpb_error_t *error);
void gpb_cuda_leave (const gpb_context_t *self);

//  OK for CUDA_SUCCESS; else the refusal. A sticky result makes the context lost: everyone who
//  waits on one of its streams is woken.
gpb_status_t gpb_cuda_check (gpb_context_t *self, CUresult result, const char *call,
                             gpb_error_t *error);

//  Begins a command on a stream: enters, takes an event where one is wanted or the end is to be
//  told, and records its start. What follows is the command itself, and gpb_cuda_end.
gpb_status_t gpb_cuda_begin (gpb_context_t *self, unsigned stream, gpb_notify_t notify,
                             gpb_event_t **event_p, gpb_event_t **made_p, gpb_error_t *error);

//  Ends it, where status says that it was enqueued: hands the event out, sees to the notification,
//  leaves. Else *error stands, and the event goes back.
gpb_status_t gpb_cuda_end (gpb_context_t *self, unsigned stream, gpb_status_t status,
                           gpb_notify_t notify, gpb_event_t *made, gpb_event_t **event_p,
                           gpb_error_t *error);

gpb_status_t gpb_cuda_query (gpb_event_t *event, bool *done, gpb_event_times_t *times,
                             gpb_error_t *error);
void gpb_cuda_event_free (gpb_event_t **event_p);

//  ---------------------------------------------------------------------------------------------------------
//  gpb_cuda_memory.c

//  The pool of a device that has them, and the stream in whose order it works.
gpb_status_t gpb_cuda_memory_open (gpb_context_t *self, gpb_error_t *error);
void gpb_cuda_memory_close (gpb_context_t *self);

gpb_status_t gpb_cuda_memory_free (gpb_context_t *self, uint64_t *free_size, gpb_error_t *error);
gpb_status_t gpb_cuda_allocate (gpb_context_t *self, gpb_memory_kind_t kind, gpb_access_t access,
                                uint64_t size, gpb_memory_t **memory_p, gpb_error_t *error);
gpb_status_t gpb_cuda_wrap (gpb_context_t *self, void *address, uint64_t size, gpb_access_t access,
                            gpb_memory_t **memory_p, gpb_error_t *error);
void gpb_cuda_release (gpb_memory_t **memory_p);
gpb_status_t gpb_cuda_address (gpb_memory_t *memory, void **address_p, gpb_error_t *error);
gpb_status_t gpb_cuda_copy (gpb_context_t *self, unsigned stream, const gpb_place_t *target,
                            const gpb_place_t *source, uint64_t size, gpb_notify_t notify,
                            gpb_event_t **event_p, gpb_error_t *error);
gpb_status_t gpb_cuda_zero (gpb_context_t *self, unsigned stream, gpb_memory_t *memory,
                            uint64_t offset, uint64_t size, gpb_notify_t notify,
                            gpb_event_t **event_p, gpb_error_t *error);

//  ---------------------------------------------------------------------------------------------------------
//  gpb_cuda_program.c

gpb_status_t gpb_cuda_build (gpb_context_t *self, const gpb_code_t *code, gpb_module_t **module_p,
                             gpb_error_t *error);
gpb_status_t gpb_cuda_binary (gpb_module_t *module, void **data_p, size_t *size_p,
                              gpb_error_t *error);
gpb_status_t gpb_cuda_compile_apart (const gpb_backend_services_t *services, const gpb_code_t *code,
                                     const char *architecture, void **data_p, size_t *size_p,
                                     gpb_error_t *error);
void gpb_cuda_compiler (gpb_context_t *self, char *text, size_t size);
void gpb_cuda_unload (gpb_module_t **module_p);
gpb_status_t gpb_cuda_function (gpb_module_t *module, const char *entry,
                                gpb_function_t **function_p, gpb_function_info_t *info,
                                gpb_error_t *error);

//  ---------------------------------------------------------------------------------------------------------
//  gpb_cuda_nvrtc.c

//  Compiles a source for an architecture ("sm_90"), or for the newest older one that the compiler
//  knows, as PTX then. *data_p is freed with the services' free; PTX ends in a NUL that *size_p
//  counts. INVALID_ARGUMENT with the log where it does not compile, FAILED_PRECONDITION where there
//  is no compiler, or none for an architecture as old as that.
gpb_status_t gpb_cuda_compile (const gpb_backend_t *self, const gpb_code_t *code,
                               const char *architecture, char **data_p, size_t *size_p,
                               gpb_error_t *error);

//  ---------------------------------------------------------------------------------------------------------
//  gpb_cuda_launch.c

gpb_status_t gpb_cuda_launch (gpb_context_t *self, unsigned stream, const gpb_launch_t *launch,
                              gpb_notify_t notify, gpb_event_t **event_p, gpb_error_t *error);

#endif
