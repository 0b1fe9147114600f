//  gpb_cuda_memory - memory of a CUDA device and of the host, copies and zeroing
//
//  DEVICE memory comes from a memory pool of the context's own, which keeps what is given back:
//  cuMemAlloc and cuMemFree wait for everything that the device does, a persistent kernel
//  included, and a pool does not. It works in the order of a stream that has nothing else in it, so
//  that an allocation is there as soon as that stream is synchronised. A device without pools takes
//  cuMemAlloc, and runs no persistent kernels.
//
//  HOST and MAPPED memory are both pinned and seen by kernels; never write-combined, since the host
//  reads what the device has written.
//
//  Any thread may allocate and release; copies and zeroing belong to their stream's.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_cuda.h"

#include <string.h>

#define HOST_FLAGS 3    //  CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP, macros in cuda.h

gpb_status_t
gpb_cuda_memory_open (gpb_context_t *self, gpb_error_t *error)
{
    const gpb_cuda_driver_t *cuda = self->cuda;
    bool has_pools = false;
    for (uint32_t index = 0; index < self->info.capabilities_count; index++)
        if (strcmp (self->info.capabilities [index], "memory_pools") == 0)
            has_pools = true;
    if (!has_pools)
        return GPB_OK;
    const CUmemPoolProps properties = { .allocType = CU_MEM_ALLOCATION_TYPE_PINNED,
                                        .handleTypes = CU_MEM_HANDLE_TYPE_NONE,
                                        .location = { .type = CU_MEM_LOCATION_TYPE_DEVICE,
                                                      .id = self->device } };
    //  It keeps everything: what libgpb gives back, its own pool did not want to keep any more, and
    //  mostly asks for in another size at once. memory_free counts it as free.
    uint64_t keep_size = UINT64_MAX;
    const char *call = "cuMemPoolCreate";
    CUresult result = cuda->cuMemPoolCreate (&self->pool, &properties);
    if (result == CUDA_SUCCESS) {
        call = "cuMemPoolSetAttribute";
        result =
            cuda->cuMemPoolSetAttribute (self->pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &keep_size);
    }
    else
        self->pool = NULL;
    if (result == CUDA_SUCCESS) {
        call = "cuStreamCreate";
        result = cuda->cuStreamCreate (&self->allocations, CU_STREAM_NON_BLOCKING);
        if (result != CUDA_SUCCESS)
            self->allocations = NULL;
    }
    return gpb_cuda_check (self, result, call, error);
}

void
gpb_cuda_memory_close (gpb_context_t *self)
{
    if (self->allocations) {
        self->cuda->cuStreamSynchronize (self->allocations);
        self->cuda->cuStreamDestroy (self->allocations);
    }
    if (self->pool)
        self->cuda->cuMemPoolDestroy (self->pool);
}

gpb_status_t
gpb_cuda_memory_free (gpb_context_t *self, uint64_t *free_size, gpb_error_t *error)
{
    *free_size = 0;
    gpb_status_t status = gpb_cuda_enter (self, error);
    if (status != GPB_OK)
        return status;
    const gpb_cuda_driver_t *cuda = self->cuda;
    size_t available = 0, total = 0;
    uint64_t reserved = 0, used = 0;
    const char *call = "cuMemGetInfo";
    CUresult result = cuda->cuMemGetInfo (&available, &total);
    if (result == CUDA_SUCCESS && self->pool) {
        call = "cuMemPoolGetAttribute";
        result = cuda->cuMemPoolGetAttribute (self->pool, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT,
                                              &reserved);
        if (result == CUDA_SUCCESS)
            result =
                cuda->cuMemPoolGetAttribute (self->pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT, &used);
    }
    gpb_cuda_leave (self);
    if (result == CUDA_SUCCESS)
        *free_size = available + (reserved > used ? reserved - used : 0);
    return gpb_cuda_check (self, result, call, error);
}

//  ---------------------------------------------------------------------------------------------------------
//  Allocation

static CUresult
s_allocate_from_pool (gpb_context_t *self, CUdeviceptr *address, size_t size)
{
    const gpb_cuda_driver_t *cuda = self->cuda;
    CUresult result = cuda->cuMemAllocFromPoolAsync (address, size, self->pool, self->allocations);
    if (result != CUDA_SUCCESS)
        return result;
    result = cuda->cuStreamSynchronize (self->allocations);
    if (result != CUDA_SUCCESS)
        cuda->cuMemFreeAsync (*address, self->allocations);
    return result;
}

//  Where there is no memory, what the pool keeps is given back to the driver, and it is tried once
//  more: what is kept may lie in pieces that are too small. What was given back just now is kept
//  only when its stream has come to it.
static CUresult
s_allocate_device (gpb_context_t *self, CUdeviceptr *address, size_t size)
{
    if (!self->pool)
        return self->cuda->cuMemAlloc (address, size);
    CUresult result = s_allocate_from_pool (self, address, size);
    if (result == CUDA_ERROR_OUT_OF_MEMORY
        && self->cuda->cuStreamSynchronize (self->allocations) == CUDA_SUCCESS
        && self->cuda->cuMemPoolTrimTo (self->pool, 0) == CUDA_SUCCESS)
        result = s_allocate_from_pool (self, address, size);
    return result;
}

static CUresult
s_allocate_host (gpb_context_t *self, gpb_memory_t *memory)
{
    CUresult result = self->cuda->cuMemHostAlloc (&memory->host, memory->size, HOST_FLAGS);
    if (result != CUDA_SUCCESS)
        return result;
    result = self->cuda->cuMemHostGetDevicePointer (&memory->address, memory->host, 0);
    if (result != CUDA_SUCCESS)
        self->cuda->cuMemFreeHost (memory->host);
    return result;
}

gpb_status_t
gpb_cuda_allocate (gpb_context_t *self, gpb_memory_kind_t kind, gpb_access_t access, uint64_t size,
                   gpb_memory_t **memory_p, gpb_error_t *error)
{
    (void) access;    //  CUDA does not ask
    *memory_p = NULL;
    gpb_memory_t *memory = self->services->alloc (1, sizeof *memory);
    if (!memory)
        return self->services->error_set (error, GPB_RESOURCE_EXHAUSTED,
                                          "out of memory for the record of a block");
    gpb_status_t status = gpb_cuda_enter (self, error);
    if (status == GPB_OK) {
        memory->context = self;
        memory->kind = kind;
        memory->size = size;
        CUresult result = kind == GPB_MEMORY_DEVICE
                              ? s_allocate_device (self, &memory->address, size)
                              : s_allocate_host (self, memory);
        status = gpb_cuda_check (self, result,
                                 kind == GPB_MEMORY_DEVICE ? "no memory of the device's"
                                                           : "no pinned memory of the host's",
                                 error);
        gpb_cuda_leave (self);
    }
    if (status == GPB_OK)
        *memory_p = memory;
    else
        self->services->free (memory);
    return status;
}

gpb_status_t
gpb_cuda_wrap (gpb_context_t *self, void *address, uint64_t size, gpb_access_t access,
               gpb_memory_t **memory_p, gpb_error_t *error)
{
    (void) address;
    (void) size;
    (void) access;
    *memory_p = NULL;
    return self->services->error_set (error, GPB_UNIMPLEMENTED,
                                      "%s does not share the host's memory", self->info.name);
}

//  On a lost context the driver refuses, and frees all of it with the process.
void
gpb_cuda_release (gpb_memory_t **memory_p)
{
    gpb_memory_t *memory = *memory_p;
    *memory_p = NULL;
    if (!memory)
        return;
    gpb_context_t *self = memory->context;
    gpb_error_t unseen;
    if (gpb_cuda_enter (self, &unseen) == GPB_OK) {
        if (memory->host)
            self->cuda->cuMemFreeHost (memory->host);
        else if (self->pool)
            self->cuda->cuMemFreeAsync (memory->address, self->allocations);
        else
            self->cuda->cuMemFree (memory->address);
        gpb_cuda_leave (self);
    }
    self->services->free (memory);
}

gpb_status_t
gpb_cuda_address (gpb_memory_t *memory, void **address_p, gpb_error_t *error)
{
    *address_p = memory->host;
    return memory->host ? GPB_OK
                        : memory->context->services->error_set (
                            error, GPB_FAILED_PRECONDITION,
                            "memory of the device's own has no address on the host");
}

//  ---------------------------------------------------------------------------------------------------------
//  Copies

//  Where one end is, as the host sees it; NULL: on the device.
static void *
s_host (const gpb_place_t *place)
{
    if (!place->memory)
        return place->address;
    return place->memory->host ? (char *) place->memory->host + place->offset : NULL;
}

static CUdeviceptr
s_device (const gpb_place_t *place)
{
    return place->memory->address + place->offset;
}

gpb_status_t
gpb_cuda_copy (gpb_context_t *self, unsigned stream, const gpb_place_t *target,
               const gpb_place_t *source, uint64_t size, gpb_notify_t notify, gpb_event_t **event_p,
               gpb_error_t *error)
{
    gpb_event_t *made;
    gpb_status_t status = gpb_cuda_begin (self, stream, notify, event_p, &made, error);
    if (status != GPB_OK)
        return status;
    const gpb_cuda_driver_t *cuda = self->cuda;
    CUstream commands = self->streams [stream].commands;
    void *to = s_host (target), *from = s_host (source);
    CUresult result =
        to && from ? cuda->cuMemcpyAsync ((CUdeviceptr) (uintptr_t) to,
                                          (CUdeviceptr) (uintptr_t) from, size, commands)
        : to       ? cuda->cuMemcpyDtoHAsync (to, s_device (source), size, commands)
        : from     ? cuda->cuMemcpyHtoDAsync (s_device (target), from, size, commands)
                   : cuda->cuMemcpyDtoDAsync (s_device (target), s_device (source), size, commands);
    status = gpb_cuda_check (self, result, "a copy", error);
    return gpb_cuda_end (self, stream, status, notify, made, event_p, error);
}

gpb_status_t
gpb_cuda_zero (gpb_context_t *self, unsigned stream, gpb_memory_t *memory, uint64_t offset,
               uint64_t size, gpb_notify_t notify, gpb_event_t **event_p, gpb_error_t *error)
{
    gpb_event_t *made;
    gpb_status_t status = gpb_cuda_begin (self, stream, notify, event_p, &made, error);
    if (status != GPB_OK)
        return status;
    status = gpb_cuda_check (self,
                             self->cuda->cuMemsetD8Async (memory->address + offset, 0, size,
                                                          self->streams [stream].commands),
                             "cuMemsetD8Async", error);
    return gpb_cuda_end (self, stream, status, notify, made, event_p, error);
}
