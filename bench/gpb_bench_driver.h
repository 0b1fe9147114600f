//  gpb_bench_driver - CUDA's driver API by itself, for the benchmark beside it
//
//  Its own table of the driver's functions, its own streams, memory and modules, in the device's
//  primary context, which the library's backend uses too: both sides are on one device in one
//  process. What is measured is written as plainly as CUDA has it; what fails ends the program.
//  One thread, on which the context is current from opening on.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_BENCH_DRIVER_H_INCLUDED
#define GPB_BENCH_DRIVER_H_INCLUDED

#include "gpb_bench_pair.h"
#include "gpb_cuda.h"

#define GPB_BENCH_LANES_MAX 32
#define GPB_BENCH_COPY_MAX ((uint64_t) 64 << 20)    //  bytes

//  A copy between the host and the device.
typedef struct {
    const char *name;
    uint64_t size;      //  bytes
    bool is_pinned;     //  the host's memory
    bool is_upwards;    //  to the device
} gpb_bench_copy_t;

//  How many of each make a round: both sides take as many.
#define GPB_BENCH_SUBMITS 512    //  fewer than a stream holds before a launch has to wait
#define GPB_BENCH_LAUNCHES 2000
#define GPB_BENCH_MESSAGES 20000
#define GPB_BENCH_ALLOCATIONS 200
#define GPB_BENCH_ALLOCATION_SIZE ((uint64_t) 1 << 20)    //  bytes
#define GPB_BENCH_COPIED ((uint64_t) 256 << 20)           //  bytes

//  nothing (), spin (out, rounds), and mailbox (words), as a package's code; its text is never
//  freed.
gpb_code_t gpb_bench_driver_code (void);

typedef struct {
    gpb_backend_t backend;    //  its tables alone
    const gpb_cuda_driver_t *cuda;
    CUdevice device;
    CUcontext context;
    char architecture [16];
    CUmodule module;
    CUfunction nothing, spin, mailbox;
    CUstream streams [GPB_BENCH_LANES_MAX];
    CUevent event;
    CUmemoryPool pool;
    CUdeviceptr memory;           //  GPB_BENCH_COPY_MAX bytes, of the device
    void *pinned, *pageable;      //  as many, of the host
    uint64_t *words;              //  of the mailboxes, in mapped memory
    CUdeviceptr words_address;    //  the same for the device
    char *image;                  //  what `loaded` loads
    size_t image_size;
    char entry [64];
} gpb_bench_driver_t;

//  False, with a sentence, where there is no driver or no device.
bool gpb_bench_driver_open (gpb_bench_driver_t *self, char *reason, size_t size);
void gpb_bench_driver_close (gpb_bench_driver_t *self);

//  Compiles what `loaded` loads: a package's code, and the name of its entry.
void gpb_bench_driver_prepare (gpb_bench_driver_t *self, const gpb_code_t *code, const char *entry);

//  Each measures one thing once. An empty launch: until it is submitted, until an event behind it
//  is seen to be done, until its stream is synchronized, and with 64 bytes copied there before it
//  and back behind it.
void gpb_bench_driver_submit (gpb_bench_driver_t *self, gpb_bench_cell_t *cell);
void gpb_bench_driver_complete (gpb_bench_driver_t *self, gpb_bench_cell_t *cell);
void gpb_bench_driver_synchronize (gpb_bench_driver_t *self, gpb_bench_cell_t *cell);
void gpb_bench_driver_chain (gpb_bench_driver_t *self, gpb_bench_cell_t *cell);

//  A message in two words of mapped memory, and its answer.
void gpb_bench_driver_mailbox (gpb_bench_driver_t *self, gpb_bench_cell_t *cell);

//  One message in flight in each mailbox; answers a second.
void gpb_bench_driver_mailboxes (gpb_bench_driver_t *self, unsigned count, gpb_bench_cell_t *cell);

//  10^9 bytes a second.
void gpb_bench_driver_copy (gpb_bench_driver_t *self, const gpb_bench_copy_t *copy,
                            gpb_bench_cell_t *cell);

//  A kernel and a copy to the device that last about as long, each on its stream: how much of the
//  shorter one the longer one hides, in percent. rounds: of the kernel.
void gpb_bench_driver_overlap (gpb_bench_driver_t *self, uint64_t rounds, gpb_bench_cell_t *cell);

//  How many rounds make the kernel last as long as a copy of GPB_BENCH_COPY_MAX bytes.
uint64_t gpb_bench_driver_rounds (gpb_bench_driver_t *self);

//  Of GPB_BENCH_ALLOCATION_SIZE bytes, and given back.
void gpb_bench_driver_allocate (gpb_bench_driver_t *self, gpb_bench_cell_t *cell);
void gpb_bench_driver_allocate_async (gpb_bench_driver_t *self, gpb_bench_cell_t *cell);

//  Compiled by NVRTC and loaded; number makes it another text each time. And loaded alone.
void gpb_bench_driver_compiled (gpb_bench_driver_t *self, const gpb_code_t *code, unsigned number,
                                gpb_bench_cell_t *cell);
void gpb_bench_driver_loaded (gpb_bench_driver_t *self, gpb_bench_cell_t *cell);

//  (one + other - both) in percent of the shorter.
double gpb_bench_overlap (double one_ns, double other_ns, double both_ns);

#endif
