//  gpb_opencl_memory - memory of an OpenCL device, and copies
//
//  Where the device has fine-grain SVM, HOST and MAPPED memory is SVM: one address for host and
//  kernels, coherent without a map, and any offset of it is an argument. On a device that shares
//  the host's memory (PoCL) DEVICE memory is SVM as well. Everything else is a cl_mem. Without SVM
//  there is no MAPPED memory (OpenCL 1.2 lets the host look only between map and unmap, and gives
//  the address anew each time), and HOST memory serves copies alone.
//
//  Commands reach parts of a cl_mem by sub-buffers that cover no more than they use: one buffer
//  holds the blocks of several jobs, and OpenCL leaves undefined what becomes of overlapping
//  buffers that are used at the same time and written to, even where the bytes are apart.
//
//  Any thread; copies and zero enqueue on one stream, and never wait.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_opencl.h"

#include <inttypes.h>
#include <string.h>

//  ---------------------------------------------------------------------------------------------------------
//  Records: one that is free again serves the next payload, so that a launch allocates nothing

//  Zeros. NULL when memory runs out.
static gpb_memory_t *
s_record_new (gpb_context_t *self)
{
    pthread_mutex_lock (&self->spare_lock);
    gpb_memory_t *memory = self->spare;
    if (memory)
        self->spare = memory->next;
    pthread_mutex_unlock (&self->spare_lock);
    if (!memory)
        return self->services->alloc (1, sizeof *memory);
    memset (memory, 0, sizeof *memory);
    return memory;
}

static void
s_record_free (gpb_memory_t *memory)
{
    gpb_context_t *context = memory->context;
    pthread_mutex_lock (&context->spare_lock);
    memory->next = context->spare;
    context->spare = memory;
    pthread_mutex_unlock (&context->spare_lock);
}

void
gpb_opencl_memory_clear (gpb_context_t *self)
{
    while (self->spare) {
        gpb_memory_t *memory = self->spare;
        self->spare = memory->next;
        self->services->free (memory);
    }
}

//  ---------------------------------------------------------------------------------------------------------
//  Memory

static cl_mem_flags
s_flags (gpb_access_t access)
{
    switch (access) {
    case GPB_ACCESS_READ_ONLY: return CL_MEM_READ_ONLY;
    case GPB_ACCESS_WRITE_ONLY: return CL_MEM_WRITE_ONLY;
    case GPB_ACCESS_READ_WRITE: break;
    }
    return CL_MEM_READ_WRITE;
}

static gpb_status_t
s_exhausted (gpb_context_t *self, uint64_t size, gpb_error_t *error)
{
    return self->services->error_set (error, GPB_RESOURCE_EXHAUSTED,
                                      "out of memory on %s: %" PRIu64 " bytes asked for",
                                      self->info.name, size);
}

static gpb_status_t
s_allocate_svm (gpb_context_t *self, gpb_memory_t *memory, gpb_access_t access, gpb_error_t *error)
{
    cl_svm_mem_flags flags = s_flags (access) | CL_MEM_SVM_FINE_GRAIN_BUFFER;
    if (memory->kind == GPB_MEMORY_MAPPED && self->svm_atomics)
        flags |= CL_MEM_SVM_ATOMICS;
    memory->svm = clSVMAlloc (self->context, flags, memory->size, GPB_MEMORY_ALIGNMENT);
    return memory->svm ? GPB_OK : s_exhausted (self, memory->size, error);
}

static gpb_status_t
s_allocate_buffer (gpb_context_t *self, gpb_memory_t *memory, gpb_access_t access,
                   gpb_error_t *error)
{
    cl_int code;
    memory->buffer = clCreateBuffer (self->context, s_flags (access), memory->size, NULL, &code);
    if (memory->buffer)
        return GPB_OK;
    return gpb_opencl_status (code) == GPB_RESOURCE_EXHAUSTED
               ? s_exhausted (self, memory->size, error)
               : gpb_opencl_refuse (self->services, error, code, "clCreateBuffer");
}

//  Mapped once, here, for the memory's life. The map is the only command that anything here waits
//  for, on a queue of its own, so that no stream's work is waited for.
static gpb_status_t
s_allocate_staging (gpb_context_t *self, gpb_memory_t *memory, gpb_error_t *error)
{
    cl_int code;
    memory->staging = true;
    memory->buffer = clCreateBuffer (self->context, CL_MEM_READ_WRITE | CL_MEM_ALLOC_HOST_PTR,
                                     memory->size, NULL, &code);
    if (!memory->buffer)
        return gpb_opencl_status (code) == GPB_RESOURCE_EXHAUSTED
                   ? s_exhausted (self, memory->size, error)
                   : gpb_opencl_refuse (self->services, error, code, "clCreateBuffer");
    cl_command_queue queue = clCreateCommandQueue (self->context, self->device, 0, &code);
    if (!queue)
        return gpb_opencl_refuse (self->services, error, code, "clCreateCommandQueue");
    memory->host = clEnqueueMapBuffer (queue, memory->buffer, CL_TRUE, CL_MAP_READ | CL_MAP_WRITE,
                                       0, memory->size, 0, NULL, NULL, &code);
    clReleaseCommandQueue (queue);
    return memory->host ? GPB_OK
                        : gpb_opencl_refuse (self->services, error, code, "clEnqueueMapBuffer");
}

gpb_status_t
gpb_opencl_allocate (gpb_context_t *self, gpb_memory_kind_t kind, gpb_access_t access,
                     uint64_t size, gpb_memory_t **memory_p, gpb_error_t *error)
{
    *memory_p = NULL;
    if (kind == GPB_MEMORY_MAPPED && !self->svm)
        return self->services->error_set (error, GPB_UNIMPLEMENTED,
                                          "%s has no memory that host and kernels share: its "
                                          "driver offers no fine-grain SVM",
                                          self->info.name);
    if (size < 1)
        return self->services->error_set (error, GPB_INVALID_ARGUMENT,
                                          "memory has a size of at least 1 byte");
    if (size > self->info.max_allocation)
        return self->services->error_set (error, GPB_RESOURCE_EXHAUSTED,
                                          "%" PRIu64
                                          " bytes are more than %s gives at once: %" PRIu64,
                                          size, self->info.name, self->info.max_allocation);
    gpb_memory_t *memory = s_record_new (self);
    if (!memory)
        return self->services->error_set (error, GPB_RESOURCE_EXHAUSTED,
                                          "out of memory for the record of a block");
    memory->context = self;
    memory->kind = kind;
    memory->size = size;
    gpb_status_t status;
    if (self->svm && (kind != GPB_MEMORY_DEVICE || self->info.shares_host_memory))
        status = s_allocate_svm (self, memory, access, error);
    else if (kind == GPB_MEMORY_HOST)
        status = s_allocate_staging (self, memory, error);
    else
        status = s_allocate_buffer (self, memory, access, error);
    if (status == GPB_OK)
        *memory_p = memory;
    else
        gpb_opencl_release (&memory);
    return status;
}

gpb_status_t
gpb_opencl_wrap (gpb_context_t *self, void *address, uint64_t size, gpb_access_t access,
                 gpb_memory_t **memory_p, gpb_error_t *error)
{
    *memory_p = NULL;
    if (!self->info.shares_host_memory)
        return self->services->error_set (error, GPB_UNIMPLEMENTED,
                                          "%s does not share the host's memory", self->info.name);
    if (!address || size < 1)
        return self->services->error_set (error, GPB_INVALID_ARGUMENT,
                                          "there is nothing to wrap in %" PRIu64 " bytes at %p",
                                          size, address);
    gpb_memory_t *memory = s_record_new (self);
    if (!memory)
        return self->services->error_set (error, GPB_RESOURCE_EXHAUSTED,
                                          "out of memory for the record of a block");
    cl_int code;
    memory->context = self;
    memory->kind = GPB_MEMORY_DEVICE;
    memory->size = size;
    memory->host = address;
    memory->buffer = clCreateBuffer (self->context, s_flags (access) | CL_MEM_USE_HOST_PTR, size,
                                     address, &code);
    if (!memory->buffer) {
        gpb_opencl_release (&memory);
        return gpb_opencl_refuse (self->services, error, code,
                                  "clCreateBuffer (CL_MEM_USE_HOST_PTR)");
    }
    *memory_p = memory;
    return GPB_OK;
}

//  A mapped buffer that is released without this keeps its memory in PoCL. The buffer is free of
//  other commands, so the wait is short.
static void
s_unmap_staging (gpb_memory_t *memory)
{
    cl_int code;
    cl_command_queue queue =
        clCreateCommandQueue (memory->context->context, memory->context->device, 0, &code);
    if (!queue)
        return;
    if (clEnqueueUnmapMemObject (queue, memory->buffer, memory->host, 0, NULL, NULL) == CL_SUCCESS)
        clFinish (queue);
    clReleaseCommandQueue (queue);
}

void
gpb_opencl_release (gpb_memory_t **memory_p)
{
    gpb_memory_t *memory = *memory_p;
    if (!memory)
        return;
    *memory_p = NULL;
    if (memory->svm)
        clSVMFree (memory->context->context, memory->svm);
    if (memory->staging && memory->host)
        s_unmap_staging (memory);
    if (memory->buffer)
        clReleaseMemObject (memory->buffer);
    s_record_free (memory);
}

gpb_status_t
gpb_opencl_address (gpb_memory_t *memory, void **address_p, gpb_error_t *error)
{
    *address_p = memory->kind == GPB_MEMORY_DEVICE ? NULL
                 : memory->svm                     ? memory->svm
                                                   : memory->host;
    if (*address_p)
        return GPB_OK;
    return memory->context->services->error_set (
        error, GPB_FAILED_PRECONDITION,
        "device memory has no address on the host: it is reached by copies");
}

//  ---------------------------------------------------------------------------------------------------------
//  Copies

gpb_status_t
gpb_opencl_part (const gpb_memory_t *memory, uint64_t offset, uint64_t size, cl_mem *part_p,
                 uint64_t *start_p, gpb_error_t *error)
{
    const gpb_context_t *self = memory->context;
    *start_p = offset % self->info.memory_alignment;
    cl_buffer_region region = { offset - *start_p, size + *start_p };
    if (region.origin == 0 && region.size == memory->size) {
        clRetainMemObject (memory->buffer);
        *part_p = memory->buffer;
        return GPB_OK;
    }
    cl_int code;
    *part_p = clCreateSubBuffer (memory->buffer, 0, CL_BUFFER_CREATE_TYPE_REGION, &region, &code);
    return *part_p ? GPB_OK : gpb_opencl_refuse (self->services, error, code, "clCreateSubBuffer");
}

//  One end of a copy as commands reach it: an address, or a part of a buffer.
typedef struct {
    void *address;
    cl_mem part;
    uint64_t start;    //  of the copy in part, in bytes
} s_end_t;

static void *
s_place_address (const gpb_place_t *place)
{
    const gpb_memory_t *memory = place->memory;
    if (!memory)
        return place->address;
    char *base = memory->svm ? memory->svm : memory->staging ? memory->host : NULL;
    return base ? base + place->offset : NULL;
}

//  Two parts of one buffer that overlap are no ends of a copy, even where the bytes are apart: then
//  both ends are in one part. Blocks start where parts may, so that it is all within one block.
static gpb_status_t
s_find_joint_part (const gpb_place_t *target, const gpb_place_t *source, uint64_t size, s_end_t *to,
                   s_end_t *from, gpb_error_t *error)
{
    uint64_t low = target->offset < source->offset ? target->offset : source->offset;
    uint64_t high = target->offset < source->offset ? source->offset : target->offset;
    uint64_t start;
    gpb_status_t status =
        gpb_opencl_part (target->memory, low, high - low + size, &to->part, &start, error);
    if (status != GPB_OK)
        return status;
    clRetainMemObject (to->part);
    from->part = to->part;
    to->start = start + target->offset - low;
    from->start = start + source->offset - low;
    return GPB_OK;
}

static gpb_status_t
s_find_ends (const gpb_context_t *self, const gpb_place_t *target, const gpb_place_t *source,
             uint64_t size, s_end_t *to, s_end_t *from, gpb_error_t *error)
{
    to->address = s_place_address (target);
    from->address = s_place_address (source);
    if (to->address && from->address && !self->svm)
        return self->services->error_set (error, GPB_UNIMPLEMENTED,
                                          "%s copies to and from its own memory, not within the "
                                          "host's",
                                          self->info.name);
    uint64_t alignment = self->info.memory_alignment;
    if (!to->address && target->memory == source->memory
        && target->offset / alignment * alignment < source->offset + size
        && source->offset / alignment * alignment < target->offset + size)
        return s_find_joint_part (target, source, size, to, from, error);
    gpb_status_t status = GPB_OK;
    if (!to->address)
        status =
            gpb_opencl_part (target->memory, target->offset, size, &to->part, &to->start, error);
    if (!from->address && status == GPB_OK)
        status = gpb_opencl_part (source->memory, source->offset, size, &from->part, &from->start,
                                  error);
    return status;
}

static cl_int
s_enqueue_copy (cl_command_queue queue, const s_end_t *to, const s_end_t *from, uint64_t size,
                const char **call_p, cl_event *event_p)
{
    if (to->part && from->part) {
        *call_p = "clEnqueueCopyBuffer";
        return clEnqueueCopyBuffer (queue, from->part, to->part, from->start, to->start, size, 0,
                                    NULL, event_p);
    }
    if (from->part) {
        *call_p = "clEnqueueReadBuffer";
        return clEnqueueReadBuffer (queue, from->part, CL_FALSE, from->start, size, to->address, 0,
                                    NULL, event_p);
    }
    if (to->part) {
        *call_p = "clEnqueueWriteBuffer";
        return clEnqueueWriteBuffer (queue, to->part, CL_FALSE, to->start, size, from->address, 0,
                                     NULL, event_p);
    }
    *call_p = "clEnqueueSVMMemcpy";
    return clEnqueueSVMMemcpy (queue, CL_FALSE, to->address, from->address, size, 0, NULL, event_p);
}

gpb_status_t
gpb_opencl_copy (gpb_context_t *self, unsigned stream, const gpb_place_t *target,
                 const gpb_place_t *source, uint64_t size, gpb_notify_t notify,
                 gpb_event_t **event_p, gpb_error_t *error)
{
    gpb_event_t *made;
    gpb_status_t status = gpb_opencl_command (self, stream, event_p, &made, error);
    if (status != GPB_OK)
        return status;
    s_end_t to = { .part = NULL }, from = { .part = NULL };
    status = s_find_ends (self, target, source, size, &to, &from, error);
    if (status == GPB_OK) {
        const char *call;
        cl_event event = NULL;
        cl_int code =
            s_enqueue_copy (self->streams [stream].queue, &to, &from, size, &call, &event);
        status =
            gpb_opencl_enqueued (self, stream, code, call, event, notify, made, event_p, error);
    }
    else
        gpb_opencl_event_spare (made);
    //  The command keeps what it uses.
    if (to.part)
        clReleaseMemObject (to.part);
    if (from.part)
        clReleaseMemObject (from.part);
    return status;
}

//  A wide pattern is much faster than single bytes where a driver fills pattern by pattern; offset
//  and size have to be multiples of it.
static size_t
s_pattern_size (uint64_t address, uint64_t size)
{
    size_t pattern = GPB_MEMORY_ALIGNMENT;
    while ((address | size) & (pattern - 1))
        pattern /= 2;
    return pattern;
}

gpb_status_t
gpb_opencl_zero (gpb_context_t *self, unsigned stream, gpb_memory_t *memory, uint64_t offset,
                 uint64_t size, gpb_notify_t notify, gpb_event_t **event_p, gpb_error_t *error)
{
    static const char zeroes [GPB_MEMORY_ALIGNMENT];
    gpb_event_t *made;
    gpb_status_t status = gpb_opencl_command (self, stream, event_p, &made, error);
    if (status != GPB_OK)
        return status;
    if (memory->staging) {
        gpb_opencl_event_spare (made);
        return self->services->error_set (error, GPB_UNIMPLEMENTED,
                                          "%s does not reach host memory by commands: write the "
                                          "zeroes at its address",
                                          self->info.name);
    }
    cl_command_queue queue = self->streams [stream].queue;
    size_t pattern = s_pattern_size (offset, size);
    cl_event event = NULL;
    cl_int code;
    if (memory->svm)
        code = clEnqueueSVMMemFill (queue, (char *) memory->svm + offset, zeroes, pattern, size, 0,
                                    NULL, &event);
    else {
        cl_mem part;
        uint64_t start;
        status = gpb_opencl_part (memory, offset, size, &part, &start, error);
        if (status != GPB_OK) {
            gpb_opencl_event_spare (made);
            return status;
        }
        code = clEnqueueFillBuffer (queue, part, zeroes, pattern, start, size, 0, NULL, &event);
        clReleaseMemObject (part);
    }
    return gpb_opencl_enqueued (self, stream, code,
                                memory->svm ? "clEnqueueSVMMemFill" : "clEnqueueFillBuffer", event,
                                notify, made, event_p, error);
}
