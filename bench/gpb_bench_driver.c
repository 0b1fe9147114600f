//  gpb_bench_driver - CUDA's driver API by itself, for the benchmark beside it
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_bench_driver.h"
#include "gpb_backends.h"

#include "gpb_alloc.h"
#include "gpb_clock.h"
#include "gpb_kernel_private.h"

#include <stdlib.h>

#define HOST_FLAGS 3      //  CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP, macros in cuda.h
#define WORDS_SIZE 256    //  bytes of a mailbox: a cache line or more for each of its words
#define ANSWER (128 / 8)    //  where its second word is
#define END UINT64_MAX      //  tells a mailbox to return
#define PATIENCE_NS (10 * GPB_NS_PER_S)
#define CHAIN_SIZE 64          //  bytes
#define FIRST_ROUNDS 100000    //  of spin, to find out how long one lasts

//  A mailbox that nobody writes to any more returns by itself, or the card would hang.
static const char s_source [] = "KERNEL void nothing (void) { }\n"
                                "KERNEL void spin (GLOBAL ulong *out, ulong rounds)\n"
                                "{\n"
                                "    ulong value = rounds;\n"
                                "    for (ulong round = 0; round < rounds; round++)\n"
                                "        value = value * 6364136223846793005ul + round;\n"
                                "    out [0] = value;\n"
                                "}\n"
                                "KERNEL void mailbox (GLOBAL ulong *words)\n"
                                "{\n"
                                "    for (ulong next = 1;; next++) {\n"
                                "        ulong seen, polls = 0;\n"
                                "        while ((seen = GPB_LOAD_ACQUIRE (&words [0])) < next)\n"
                                "            if (++polls == 30000000ul)\n"
                                "                return;\n"
                                "        if (seen == ~0ul)\n"
                                "            return;\n"
                                "        GPB_STORE_RELEASE (&words [16], next);\n"
                                "    }\n"
                                "}\n";

gpb_code_t
gpb_bench_driver_code (void)
{
    static char text [131072];
    if (!text [0])
        snprintf (text, sizeof text, "%s%s%s", gpb_prelude_text, gpb_lane_text, s_source);
    return (gpb_code_t){ .kind = GPB_CODE_PORTABLE,
                         .name = "bench.c",
                         .data = text,
                         .size = strlen (text),
                         .optimize = 2,
                         .options = "",
                         .architecture = "" };
}

//  ---------------------------------------------------------------------------------------------------------
//  What every call ends in

static void
s_fail (const gpb_bench_driver_t *self, CUresult result, const char *call)
{
    gpb_error_t error = { GPB_OK, "" };
    const char *name = NULL;
    self->cuda->cuGetErrorName (result, &name);
    gpb_error_set (&error, GPB_INTERNAL, "%s: %s", call, name ? name : "an error without a name");
    gpb_bench_fail ("%s", error.text);
}

//  The call by its name, so that a refusal says which it was.
#define S_DO(self, name, ...)                                                                      \
    do {                                                                                           \
        CUresult s_result = (self)->cuda->name (__VA_ARGS__);                                      \
        if (s_result != CUDA_SUCCESS)                                                              \
            s_fail (self, s_result, #name);                                                        \
    } while (0)

double
gpb_bench_overlap (double one_ns, double other_ns, double both_ns)
{
    const double shorter_ns = one_ns < other_ns ? one_ns : other_ns;
    const double hidden = 100 * (one_ns + other_ns - both_ns) / shorter_ns;
    //  What is beyond that is noise.
    return hidden < 0 ? 0 : hidden > 100 ? 100 : hidden;
}

static double
s_since (uint64_t began_ns)
{
    return (double) (gpb_clock_ns () - began_ns);
}

//  ---------------------------------------------------------------------------------------------------------
//  Opening

static CUfunction
s_function (gpb_bench_driver_t *self, CUmodule module, const char *name)
{
    CUfunction function;
    S_DO (self, cuModuleGetFunction, &function, module, name);
    return function;
}

static char *
s_compile (gpb_bench_driver_t *self, const gpb_code_t *code, size_t *size)
{
    gpb_error_t error = { GPB_OK, "" };
    char *image;
    if (gpb_cuda_compile (&self->backend, code, self->architecture, &image, size, &error) != GPB_OK)
        gpb_bench_fail ("%s", error.text);
    return image;
}

static void
s_load (gpb_bench_driver_t *self)
{
    const gpb_code_t code = gpb_bench_driver_code ();
    size_t size;
    char *image = s_compile (self, &code, &size);
    S_DO (self, cuModuleLoadDataEx, &self->module, image, 0, NULL, NULL);
    gpb_free (image);
    self->nothing = s_function (self, self->module, "nothing");
    self->spin = s_function (self, self->module, "spin");
    self->mailbox = s_function (self, self->module, "mailbox");
}

static void
s_allocate (gpb_bench_driver_t *self)
{
    const CUmemPoolProps properties = { .allocType = CU_MEM_ALLOCATION_TYPE_PINNED,
                                        .handleTypes = CU_MEM_HANDLE_TYPE_NONE,
                                        .location = { .type = CU_MEM_LOCATION_TYPE_DEVICE,
                                                      .id = self->device } };
    uint64_t keep_size = UINT64_MAX;
    S_DO (self, cuMemPoolCreate, &self->pool, &properties);
    S_DO (self, cuMemPoolSetAttribute, self->pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &keep_size);
    void *words;
    S_DO (self, cuMemHostAlloc, &words, GPB_BENCH_LANES_MAX * WORDS_SIZE, HOST_FLAGS);
    self->words = words;
    S_DO (self, cuMemHostGetDevicePointer, &self->words_address, words, 0);
    S_DO (self, cuMemAlloc, &self->memory, GPB_BENCH_COPY_MAX);
    S_DO (self, cuMemHostAlloc, &self->pinned, GPB_BENCH_COPY_MAX, HOST_FLAGS);
    self->pageable = gpb_alloc_aligned (4096, GPB_BENCH_COPY_MAX);
    if (!self->pageable)
        gpb_bench_fail ("no memory for copies");
    memset (self->pinned, 1, GPB_BENCH_COPY_MAX);
    memset (self->pageable, 1, GPB_BENCH_COPY_MAX);
}

bool
gpb_bench_driver_open (gpb_bench_driver_t *self, char *reason, size_t size)
{
    gpb_error_t error = { GPB_OK, "" };
    memset (self, 0, sizeof *self);
    self->backend.services = &gpb_backends_services;
    self->cuda = &self->backend.cuda;
    if (gpb_cuda_load (&self->backend, &error) != GPB_OK) {
        snprintf (reason, size, "%s", error.text);
        return false;
    }
    int count = 0, major, minor;
    CUresult result = self->cuda->cuInit (0);
    if (result == CUDA_SUCCESS)
        result = self->cuda->cuDeviceGetCount (&count);
    if (result != CUDA_SUCCESS || count == 0) {
        const char *name = NULL;
        self->cuda->cuGetErrorName (result, &name);
        snprintf (reason, size, "the CUDA driver has no device: %s", name ? name : "no reason");
        return false;
    }
    S_DO (self, cuDeviceGet, &self->device, 0);
    S_DO (self, cuDeviceGetAttribute, &major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
          self->device);
    S_DO (self, cuDeviceGetAttribute, &minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
          self->device);
    snprintf (self->architecture, sizeof self->architecture, "sm_%d%d", major, minor);
    S_DO (self, cuDevicePrimaryCtxRetain, &self->context, self->device);
    S_DO (self, cuCtxPushCurrent, self->context);
    for (size_t index = 0; index < GPB_BENCH_LANES_MAX; index++)
        S_DO (self, cuStreamCreate, &self->streams [index], CU_STREAM_NON_BLOCKING);
    S_DO (self, cuEventCreate, &self->event, CU_EVENT_DISABLE_TIMING);
    s_load (self);
    s_allocate (self);
    return true;
}

void
gpb_bench_driver_prepare (gpb_bench_driver_t *self, const gpb_code_t *code, const char *entry)
{
    self->image = s_compile (self, code, &self->image_size);
    snprintf (self->entry, sizeof self->entry, "%s", entry);
}

void
gpb_bench_driver_close (gpb_bench_driver_t *self)
{
    gpb_free (self->image);
    gpb_free (self->pageable);
    S_DO (self, cuMemFreeHost, self->pinned);
    S_DO (self, cuMemFree, self->memory);
    S_DO (self, cuMemFreeHost, self->words);
    S_DO (self, cuMemPoolDestroy, self->pool);
    S_DO (self, cuModuleUnload, self->module);
    S_DO (self, cuEventDestroy, self->event);
    for (size_t index = 0; index < GPB_BENCH_LANES_MAX; index++)
        S_DO (self, cuStreamDestroy, self->streams [index]);
    CUcontext popped;
    S_DO (self, cuCtxPopCurrent, &popped);
    S_DO (self, cuDevicePrimaryCtxRelease, self->device);
}

//  ---------------------------------------------------------------------------------------------------------
//  Launches

static void
s_launch (gpb_bench_driver_t *self, CUfunction function, CUstream stream, void **parameters)
{
    S_DO (self, cuLaunchKernel, function, 1, 1, 1, 1, 1, 1, 0, stream, parameters, NULL);
}

//  Until all that the stream has had is done.
static void
s_poll (gpb_bench_driver_t *self, CUstream stream)
{
    S_DO (self, cuEventRecord, self->event, stream);
    CUresult result;
    while ((result = self->cuda->cuEventQuery (self->event)) == CUDA_ERROR_NOT_READY)
        continue;
    if (result != CUDA_SUCCESS)
        s_fail (self, result, "cuEventQuery");
}

void
gpb_bench_driver_submit (gpb_bench_driver_t *self, gpb_bench_cell_t *cell)
{
    const uint64_t began_ns = gpb_clock_ns ();
    for (int count = 0; count < GPB_BENCH_SUBMITS; count++)
        s_launch (self, self->nothing, self->streams [0], NULL);
    cell->value = s_since (began_ns) / GPB_BENCH_SUBMITS;
    S_DO (self, cuStreamSynchronize, self->streams [0]);
}

void
gpb_bench_driver_complete (gpb_bench_driver_t *self, gpb_bench_cell_t *cell)
{
    static gpb_histogram_t histogram;
    gpb_histogram_reset (&histogram);
    for (int count = 0; count < GPB_BENCH_LAUNCHES; count++) {
        const uint64_t began_ns = gpb_clock_ns ();
        s_launch (self, self->nothing, self->streams [0], NULL);
        s_poll (self, self->streams [0]);
        gpb_histogram_record (&histogram, gpb_clock_ns () - began_ns);
    }
    gpb_bench_cell_of (cell, &histogram);
}

void
gpb_bench_driver_synchronize (gpb_bench_driver_t *self, gpb_bench_cell_t *cell)
{
    static gpb_histogram_t histogram;
    gpb_histogram_reset (&histogram);
    for (int count = 0; count < GPB_BENCH_LAUNCHES; count++) {
        const uint64_t began_ns = gpb_clock_ns ();
        s_launch (self, self->nothing, self->streams [0], NULL);
        S_DO (self, cuStreamSynchronize, self->streams [0]);
        gpb_histogram_record (&histogram, gpb_clock_ns () - began_ns);
    }
    gpb_bench_cell_of (cell, &histogram);
}

void
gpb_bench_driver_chain (gpb_bench_driver_t *self, gpb_bench_cell_t *cell)
{
    static gpb_histogram_t histogram;
    gpb_histogram_reset (&histogram);
    CUstream stream = self->streams [0];
    for (int count = 0; count < GPB_BENCH_LAUNCHES; count++) {
        const uint64_t began_ns = gpb_clock_ns ();
        S_DO (self, cuMemcpyHtoDAsync, self->memory, self->pinned, CHAIN_SIZE, stream);
        s_launch (self, self->nothing, stream, NULL);
        S_DO (self, cuMemcpyDtoHAsync, self->pinned, self->memory, CHAIN_SIZE, stream);
        s_poll (self, stream);
        gpb_histogram_record (&histogram, gpb_clock_ns () - began_ns);
    }
    gpb_bench_cell_of (cell, &histogram);
}

//  ---------------------------------------------------------------------------------------------------------
//  Mailboxes

static uint64_t *
s_words (gpb_bench_driver_t *self, unsigned lane)
{
    return self->words + lane * (WORDS_SIZE / sizeof *self->words);
}

static void
s_open_mailboxes (gpb_bench_driver_t *self, unsigned count)
{
    memset (self->words, 0, GPB_BENCH_LANES_MAX * WORDS_SIZE);
    for (unsigned lane = 0; lane < count; lane++) {
        CUdeviceptr address = self->words_address + lane * WORDS_SIZE;
        s_launch (self, self->mailbox, self->streams [lane], (void *[]){ &address });
    }
}

static void
s_close_mailboxes (gpb_bench_driver_t *self, unsigned count)
{
    for (unsigned lane = 0; lane < count; lane++)
        __atomic_store_n (s_words (self, lane), END, __ATOMIC_RELEASE);
    for (unsigned lane = 0; lane < count; lane++)
        S_DO (self, cuStreamSynchronize, self->streams [lane]);
}

static void
s_post (gpb_bench_driver_t *self, unsigned lane, uint64_t number)
{
    __atomic_store_n (s_words (self, lane), number, __ATOMIC_RELEASE);
}

static bool
s_is_answered (gpb_bench_driver_t *self, unsigned lane, uint64_t number)
{
    return __atomic_load_n (s_words (self, lane) + ANSWER, __ATOMIC_ACQUIRE) == number;
}

void
gpb_bench_driver_mailbox (gpb_bench_driver_t *self, gpb_bench_cell_t *cell)
{
    static gpb_histogram_t histogram;
    gpb_histogram_reset (&histogram);
    s_open_mailboxes (self, 1);
    for (uint64_t number = 1; number <= GPB_BENCH_MESSAGES; number++) {
        const uint64_t sent_ns = gpb_clock_ns ();
        s_post (self, 0, number);
        while (!s_is_answered (self, 0, number))
            if (gpb_clock_ns () - sent_ns > PATIENCE_NS)
                gpb_bench_fail ("a mailbox does not answer");
        //  The first one is the launch's as well.
        if (number > 1)
            gpb_histogram_record (&histogram, gpb_clock_ns () - sent_ns);
    }
    s_close_mailboxes (self, 1);
    gpb_bench_cell_of (cell, &histogram);
}

void
gpb_bench_driver_mailboxes (gpb_bench_driver_t *self, unsigned count, gpb_bench_cell_t *cell)
{
    uint64_t sent [GPB_BENCH_LANES_MAX] = { 0 }, answered = 0;
    s_open_mailboxes (self, count);
    const uint64_t began_ns = gpb_clock_ns ();
    for (unsigned lane = 0; lane < count; lane++)
        s_post (self, lane, ++sent [lane]);
    while (answered < GPB_BENCH_MESSAGES) {
        if (gpb_clock_ns () - began_ns > PATIENCE_NS)
            gpb_bench_fail ("a mailbox does not answer");
        for (unsigned lane = 0; lane < count; lane++)
            if (s_is_answered (self, lane, sent [lane])) {
                answered++;
                s_post (self, lane, ++sent [lane]);
            }
    }
    cell->value = (double) answered * 1e9 / s_since (began_ns);
    s_close_mailboxes (self, count);
}

//  ---------------------------------------------------------------------------------------------------------
//  Copies

static void
s_copy (gpb_bench_driver_t *self, const gpb_bench_copy_t *copy, CUstream stream)
{
    void *host = copy->is_pinned ? self->pinned : self->pageable;
    if (copy->is_upwards)
        S_DO (self, cuMemcpyHtoDAsync, self->memory, host, copy->size, stream);
    else
        S_DO (self, cuMemcpyDtoHAsync, host, self->memory, copy->size, stream);
}

void
gpb_bench_driver_copy (gpb_bench_driver_t *self, const gpb_bench_copy_t *copy,
                       gpb_bench_cell_t *cell)
{
    const uint64_t began_ns = gpb_clock_ns ();
    for (uint64_t copied = 0; copied < GPB_BENCH_COPIED; copied += copy->size) {
        s_copy (self, copy, self->streams [0]);
        s_poll (self, self->streams [0]);
    }
    cell->value = (double) GPB_BENCH_COPIED / s_since (began_ns);
}

static const gpb_bench_copy_t s_whole = { .size = GPB_BENCH_COPY_MAX,
                                          .is_pinned = true,
                                          .is_upwards = true };

//  It writes where no copy reads or writes.
static void
s_spin (gpb_bench_driver_t *self, uint64_t rounds)
{
    CUdeviceptr address = self->words_address;
    s_launch (self, self->spin, self->streams [0], (void *[]){ &address, &rounds });
}

static double
s_time_spin (gpb_bench_driver_t *self, uint64_t rounds)
{
    const uint64_t began_ns = gpb_clock_ns ();
    s_spin (self, rounds);
    S_DO (self, cuStreamSynchronize, self->streams [0]);
    return s_since (began_ns);
}

static double
s_time_copy (gpb_bench_driver_t *self)
{
    const uint64_t began_ns = gpb_clock_ns ();
    s_copy (self, &s_whole, self->streams [1]);
    S_DO (self, cuStreamSynchronize, self->streams [1]);
    return s_since (began_ns);
}

uint64_t
gpb_bench_driver_rounds (gpb_bench_driver_t *self)
{
    s_time_spin (self, FIRST_ROUNDS);
    s_time_copy (self);
    return (uint64_t) (FIRST_ROUNDS * s_time_copy (self) / s_time_spin (self, FIRST_ROUNDS)) + 1;
}

void
gpb_bench_driver_overlap (gpb_bench_driver_t *self, uint64_t rounds, gpb_bench_cell_t *cell)
{
    const double spin_ns = s_time_spin (self, rounds), copy_ns = s_time_copy (self);
    const uint64_t began_ns = gpb_clock_ns ();
    s_spin (self, rounds);
    s_copy (self, &s_whole, self->streams [1]);
    S_DO (self, cuStreamSynchronize, self->streams [0]);
    S_DO (self, cuStreamSynchronize, self->streams [1]);
    cell->value = gpb_bench_overlap (spin_ns, copy_ns, s_since (began_ns));
}

//  ---------------------------------------------------------------------------------------------------------
//  Memory

void
gpb_bench_driver_allocate (gpb_bench_driver_t *self, gpb_bench_cell_t *cell)
{
    static gpb_histogram_t histogram;
    gpb_histogram_reset (&histogram);
    for (int count = 0; count < GPB_BENCH_ALLOCATIONS; count++) {
        CUdeviceptr address;
        const uint64_t began_ns = gpb_clock_ns ();
        S_DO (self, cuMemAlloc, &address, GPB_BENCH_ALLOCATION_SIZE);
        S_DO (self, cuMemFree, address);
        gpb_histogram_record (&histogram, gpb_clock_ns () - began_ns);
    }
    gpb_bench_cell_of (cell, &histogram);
}

void
gpb_bench_driver_allocate_async (gpb_bench_driver_t *self, gpb_bench_cell_t *cell)
{
    static gpb_histogram_t histogram;
    gpb_histogram_reset (&histogram);
    for (int count = 0; count < GPB_BENCH_ALLOCATIONS; count++) {
        CUdeviceptr address;
        const uint64_t began_ns = gpb_clock_ns ();
        S_DO (self, cuMemAllocFromPoolAsync, &address, GPB_BENCH_ALLOCATION_SIZE, self->pool,
              self->streams [0]);
        S_DO (self, cuStreamSynchronize, self->streams [0]);
        S_DO (self, cuMemFreeAsync, address, self->streams [0]);
        gpb_histogram_record (&histogram, gpb_clock_ns () - began_ns);
    }
    S_DO (self, cuStreamSynchronize, self->streams [0]);
    gpb_bench_cell_of (cell, &histogram);
}

//  ---------------------------------------------------------------------------------------------------------
//  Code

static void
s_check_nvrtc (const gpb_bench_driver_t *self, nvrtcResult result, const char *call)
{
    if (result != NVRTC_SUCCESS)
        gpb_bench_fail ("%s: %s", call, self->backend.nvrtc.nvrtcGetErrorString (result));
}

static double
s_load_and_unload (gpb_bench_driver_t *self, const char *image, const char *entry,
                   uint64_t began_ns)
{
    CUmodule module;
    S_DO (self, cuModuleLoadDataEx, &module, image, 0, NULL, NULL);
    s_function (self, module, entry);
    const double took_ns = s_since (began_ns);
    S_DO (self, cuModuleUnload, module);
    return took_ns;
}

void
gpb_bench_driver_compiled (gpb_bench_driver_t *self, const gpb_code_t *code, unsigned number,
                           gpb_bench_cell_t *cell)
{
    const gpb_nvrtc_t *nvrtc = &self->backend.nvrtc;
    char target [64], optimize [32], define [32];
    snprintf (target, sizeof target, "--gpu-architecture=%s", self->architecture);
    snprintf (optimize, sizeof optimize, "--ptxas-options=-O%d", code->optimize);
    snprintf (define, sizeof define, "-DBENCH_RAW=%u", number);
    const char *options [] = { target, "--std=c++17", optimize, define };
    nvrtcProgram program;
    size_t size;
    const uint64_t began_ns = gpb_clock_ns ();
    s_check_nvrtc (self,
                   nvrtc->nvrtcCreateProgram (&program, code->data, code->name, 0, NULL, NULL),
                   "nvrtcCreateProgram");
    s_check_nvrtc (self, nvrtc->nvrtcCompileProgram (program, 4, options), "nvrtcCompileProgram");
    s_check_nvrtc (self, nvrtc->nvrtcGetCUBINSize (program, &size), "nvrtcGetCUBINSize");
    char *image = gpb_alloc (size + 1, 1);
    if (!image)
        gpb_bench_fail ("no memory for a cubin");
    s_check_nvrtc (self, nvrtc->nvrtcGetCUBIN (program, image), "nvrtcGetCUBIN");
    s_check_nvrtc (self, nvrtc->nvrtcDestroyProgram (&program), "nvrtcDestroyProgram");
    cell->value = s_load_and_unload (self, image, self->entry, began_ns);
    gpb_free (image);
}

void
gpb_bench_driver_loaded (gpb_bench_driver_t *self, gpb_bench_cell_t *cell)
{
    cell->value = s_load_and_unload (self, self->image, self->entry, gpb_clock_ns ());
}
