//  gpb_backend - the one interface behind which OpenCL and CUDA stand
//
//  A backend is a module that the library opens at run time (gpb_backends.h). It exports one
//  symbol, gpb_backend_module, and is never closed. It starts no thread that calls us back, opens
//  no socket, prints nothing and never ends the process: every operation returns a status and
//  leaves a sentence in *error.
//
//  Threads: different threads may use one context at a time as long as each keeps to streams,
//  functions and events of its own; memory may be handed from one thread to another. `start`,
//  `stop` and `describe` are for one thread at a time. Operations on streams only enqueue: none of
//  them waits for the device.
//
//  Lifetimes: module and memory outlive the commands that use them: the caller keeps both until the
//  event of the last such command is done. `close` comes after all memory, modules and events of
//  the context are released.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_BACKEND_H_INCLUDED
#define GPB_BACKEND_H_INCLUDED

#include "gpb_error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

//  Counts up with every change to anything in this file; a module with another number is refused.
#define GPB_BACKEND_ABI 3

//  Alignment of memory that a backend allocates, in bytes: enough for the widest vector of OpenCL C
//  (long16), and two cache lines, so that two blocks never share one that the adjacent-line
//  prefetcher fetches in pairs.
#define GPB_MEMORY_ALIGNMENT 128

//  Each backend defines these as it likes.
typedef struct gpb_backend gpb_backend_t;      //  the driver or platform
typedef struct gpb_context gpb_context_t;      //  one device that is open
typedef struct gpb_memory gpb_memory_t;        //  one block of memory that the device reaches
typedef struct gpb_module gpb_module_t;        //  code, compiled and loaded for one context
typedef struct gpb_function gpb_function_t;    //  one entry of a module; the module owns it
typedef struct gpb_event gpb_event_t;          //  a mark behind one command of a stream

//  ---------------------------------------------------------------------------------------------------------
//  What a module gets from the library

typedef struct {
    uint32_t abi;     //  GPB_BACKEND_ABI of the library
    uint32_t size;    //  of this structure, in bytes

    //  gpb_alloc.h
    void *(*alloc) (size_t count, size_t size);
    void *(*alloc_aligned) (size_t alignment, size_t size);
    void (*free) (void *memory);

    //  gpb_error.h
    gpb_status_t (*error_set) (gpb_error_t *error, gpb_status_t status, const char *format, ...)
        GPB_PRINTF (3, 4);
} gpb_backend_services_t;

//  ---------------------------------------------------------------------------------------------------------
//  Devices

#define GPB_NAME_SIZE 128
#define GPB_CAPABILITY_SIZE 32
#define GPB_CAPABILITIES_MAX 48
#define GPB_DIMENSIONS 3

typedef struct {
    char name [GPB_NAME_SIZE];
    char vendor [GPB_NAME_SIZE];
    char driver [GPB_NAME_SIZE];    //  its version, as it says it
    char
        architecture [GPB_NAME_SIZE];    //  what code is compiled for: "x86-64-haswell", "sm_90"...
    char bus_id [32];                    //  PCI "0000:65:00.0"; empty where there is none
    char type [16];                      //  cpu, gpu or accelerator
    uint32_t compute_units;
    uint32_t clock_mhz;
    uint64_t total_memory;        //  bytes
    uint64_t max_allocation;      //  bytes of one block
    uint64_t memory_alignment;    //  bytes, a power of two, at least GPB_MEMORY_ALIGNMENT: a part
                                  //  of memory that starts at a multiple of it may be an argument
    uint64_t local_memory;        //  bytes that a work-group may have, static and dynamic together
    uint64_t max_work_group_size;    //  work-items
    uint64_t max_work_item_sizes [GPB_DIMENSIONS];
    bool shares_host_memory;    //  `wrap` works, and kernels use HOST and MAPPED memory at full
                                //  speed
    bool loads_alone;    //  loading may wait for all that runs: persistent kernels are parked for
                         //  `build`, `unload`, and what a kernel host allocates
    uint32_t capabilities_count;
    char capabilities [GPB_CAPABILITIES_MAX][GPB_CAPABILITY_SIZE];    //  the type is one of them
} gpb_device_info_t;

//  ---------------------------------------------------------------------------------------------------------
//  Memory and copies

typedef enum {
    GPB_MEMORY_DEVICE,    //  the device's own; the host reaches it by copies only
    GPB_MEMORY_HOST,      //  host memory that copies go to and from fastest (pinned)
    GPB_MEMORY_MAPPED     //  host memory that kernels reach by pointer too
} gpb_memory_kind_t;

typedef enum {
    GPB_ACCESS_READ_WRITE,
    GPB_ACCESS_READ_ONLY,    //  kernels only read it
    GPB_ACCESS_WRITE_ONLY    //  kernels only write it
} gpb_access_t;

//  One end of a copy: memory and an offset into it, or, where memory is NULL, plain host memory.
typedef struct {
    gpb_memory_t *memory;
    uint64_t offset;    //  bytes
    void *address;      //  read only where it is the source
} gpb_place_t;

//  ---------------------------------------------------------------------------------------------------------
//  Code

typedef enum {
    GPB_CODE_PORTABLE,        //  a kernel package's one source, the prelude in front of it
    GPB_CODE_SOURCE,          //  the backend's own language (.cl, .cu)
    GPB_CODE_INTERMEDIATE,    //  PTX
    GPB_CODE_BINARY           //  cubin, or what `binary` gave
} gpb_code_kind_t;

typedef struct {
    gpb_code_kind_t kind;
    const char *name;    //  of the file, for the compiler's messages
    const void *data;    //  a source ends in a NUL that size does not count
    size_t size;
    int optimize;                //  0 to 3
    bool debug;                  //  line information
    const char *options;         //  more options for the compiler, as it knows them; may be ""
    const char *architecture;    //  compile for this one instead of the device's; may be ""
    bool never_compile;          //  FAILED_PRECONDITION where a compiler would have to run
} gpb_code_t;

typedef struct {
    uint64_t max_work_group_size;    //  of this function on this device
    uint64_t preferred_multiple;     //  a local size that wastes no lane is a multiple of this
    uint64_t local_memory;           //  bytes that it takes statically
} gpb_function_info_t;

typedef enum {
    GPB_ARGUMENT_SCALAR,
    GPB_ARGUMENT_MEMORY,
    GPB_ARGUMENT_LOCAL    //  dynamic local memory: OpenCL passes it as a parameter in this place,
                          //  CUDA as the launch's dynamic shared memory
} gpb_argument_kind_t;

typedef struct {
    gpb_argument_kind_t kind;
    union {
        uint8_t bytes [8];
        uint32_t u32;
        int32_t i32;
        uint64_t u64;
        int64_t i64;
        float f32;
        double f64;
    } scalar;
    gpb_memory_t *memory;    //  NULL passes a null pointer
    uint64_t offset;         //  of the first byte in memory
    uint64_t size;           //  bytes: of the scalar (1, 2, 4, 8), of the local memory, or of the
                             //  part of memory that the kernel may use, where 0 is all from offset
                             //  on
} gpb_argument_t;

typedef struct {
    gpb_function_t *function;
    unsigned dimensions;                 //  1 to 3
    uint64_t global [GPB_DIMENSIONS];    //  work-items, each at least 1; multiples of local where
                                         //  that is given
    uint64_t local [GPB_DIMENSIONS];     //  work-items of a work-group; all 0: the backend chooses,
                                         //  and rounds nothing up
    const gpb_argument_t *arguments;
    size_t arguments_count;
} gpb_launch_t;

//  ---------------------------------------------------------------------------------------------------------
//  Streams and events

//  Streams are numbered from 0. Commands of one stream run in order, those of different streams in
//  any order and at the same time where the device can.
typedef struct {
    unsigned streams;         //  how many the context has, 1 to 64
    const int *notify_fds;    //  for each stream an eventfd that the caller owns; when a command
                              //  that asked for it is done, whatever its outcome, 1 is added to it
    bool profiling;           //  events have times
} gpb_open_t;

typedef enum {
    GPB_NOTIFY_NOT,
    GPB_NOTIFY    //  add 1 to the stream's eventfd when this command is done
} gpb_notify_t;

typedef struct {
    bool measured;                //  false: the figures below say nothing
    uint64_t start_ns, end_ns;    //  on the device's clock
} gpb_event_times_t;

//  ---------------------------------------------------------------------------------------------------------
//  The operations. All of them are there; what a backend cannot do answers UNIMPLEMENTED with a
//  reason.

typedef struct gpb_backend_operations {
    //  Loads the driver and looks for devices. FAILED_PRECONDITION with a sentence for people where
    //  there is no driver, or one that is too old (which one is needed). No device at all is OK.
    gpb_status_t (*start) (const gpb_backend_services_t *services, gpb_backend_t **backend_p,
                           gpb_error_t *error);

    //  After the last context is closed.
    void (*stop) (gpb_backend_t **backend_p);

    //  The device with this number, from 0. OUT_OF_RANGE behind the last one; any other status
    //  means that this one is out of order, and the next may be well.
    gpb_status_t (*describe) (gpb_backend_t *backend, unsigned number, gpb_device_info_t *info,
                              gpb_error_t *error);

    gpb_status_t (*open) (gpb_backend_t *backend, unsigned number, const gpb_open_t *open,
                          gpb_context_t **context_p, gpb_error_t *error);

    //  Waits for whatever still runs.
    void (*close) (gpb_context_t **context_p);

    //  What the driver says is free, in bytes. UNIMPLEMENTED where it does not say: then the caller
    //  counts.
    gpb_status_t (*memory_free) (gpb_context_t *context, uint64_t *free_size, gpb_error_t *error);

    //  size is at least 1; aligned to GPB_MEMORY_ALIGNMENT; not zeroed. RESOURCE_EXHAUSTED where
    //  there is not enough.
    gpb_status_t (*allocate) (gpb_context_t *context, gpb_memory_kind_t kind, gpb_access_t access,
                              uint64_t size, gpb_memory_t **memory_p, gpb_error_t *error);

    //  Host memory of the caller's as memory of the device, in place. The caller leaves it alone,
    //  and keeps it, until it is released. UNIMPLEMENTED where the device does not share the host's
    //  memory.
    gpb_status_t (*wrap) (gpb_context_t *context, void *address, uint64_t size, gpb_access_t access,
                          gpb_memory_t **memory_p, gpb_error_t *error);

    void (*release) (gpb_memory_t **memory_p);

    //  The address of HOST or MAPPED memory, the same for its life; the host may use it while no
    //  command does, and sees there what commands whose event is done have written.
    //  FAILED_PRECONDITION for DEVICE memory.
    gpb_status_t (*address) (gpb_memory_t *memory, void **address_p, gpb_error_t *error);

    //  size is at least 1, and both ends lie within their memory: the caller has checked. Plain
    //  host memory stays untouched by the caller until the event is done. event_p may be NULL; so
    //  for every command.
    gpb_status_t (*copy) (gpb_context_t *context, unsigned stream, const gpb_place_t *target,
                          const gpb_place_t *source, uint64_t size, gpb_notify_t notify,
                          gpb_event_t **event_p, gpb_error_t *error);

    gpb_status_t (*zero) (gpb_context_t *context, unsigned stream, gpb_memory_t *memory,
                          uint64_t offset, uint64_t size, gpb_notify_t notify,
                          gpb_event_t **event_p, gpb_error_t *error);

    //  Compiles where that is needed, and loads. INVALID_ARGUMENT with the compiler's log in *error
    //  where the code does not compile. May take seconds. Any thread, beside commands of others.
    gpb_status_t (*build) (gpb_context_t *context, const gpb_code_t *code, gpb_module_t **module_p,
                           gpb_error_t *error);

    //  The loaded code in a form that `build` takes as GPB_CODE_BINARY, to be freed with the
    //  services' free.
    gpb_status_t (*binary) (gpb_module_t *module, void **data_p, size_t *size_p,
                            gpb_error_t *error);

    //  Compiles a source for an architecture, as GPB_CODE_BINARY or, where that is what the name
    //  asks for, GPB_CODE_INTERMEDIATE; without a device, a driver or `start`. To be freed with the
    //  services' free. UNIMPLEMENTED where the backend compiles for devices that are here alone.
    gpb_status_t (*compile) (const gpb_backend_services_t *services, const gpb_code_t *code,
                             const char *architecture, void **data_p, size_t *size_p,
                             gpb_error_t *error);

    //  What the binary's use depends on beside the code: backend, driver and compiler versions,
    //  architecture; one line, at most size bytes with its NUL. Part of the compile cache's key.
    void (*compiler) (gpb_context_t *context, char *text, size_t size);

    void (*unload) (gpb_module_t **module_p);

    //  NOT_FOUND where the module has no such entry. A function is for one thread at a time.
    gpb_status_t (*function) (gpb_module_t *module, const char *entry, gpb_function_t **function_p,
                              gpb_function_info_t *info, gpb_error_t *error);

    //  Arguments are copied before it returns.
    gpb_status_t (*launch) (gpb_context_t *context, unsigned stream, const gpb_launch_t *launch,
                            gpb_notify_t notify, gpb_event_t **event_p, gpb_error_t *error);

    //  *done says whether the command, and all that its stream had before it, has ended; the status
    //  is then its outcome: UNAVAILABLE or DATA_LOSS where the device is lost. times may be NULL.
    //  Never waits.
    gpb_status_t (*query) (gpb_event_t *event, bool *done, gpb_event_times_t *times,
                           gpb_error_t *error);

    //  Also before it is done: the command goes on, and where it was to notify it still does.
    void (*event_free) (gpb_event_t **event_p);
} gpb_backend_operations_t;

typedef struct {
    uint32_t abi;        //  GPB_BACKEND_ABI of the module
    uint32_t size;       //  of gpb_backend_operations_t as the module knows it, in bytes
    const char *name;    //  "opencl", "cuda"
    const gpb_backend_operations_t *operations;
} gpb_backend_module_t;

//  The symbol that a module exports.
#define GPB_BACKEND_SYMBOL "gpb_backend_module"

#endif
