//  gpb_fake_cuda_memory - memory of the fake CUDA driver, copies and memsets
//
//  A block is memory of the host's heap, so that sanitizers and valgrind see who goes beyond it.
//  Blocks that are there lie in an array by their addresses; of those that are gone the last
//  thousand addresses are kept, to tell use after free from an address that never was one. A block
//  that a command still uses when it is freed goes when that command is done.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_fake_cuda_private.h"

#include "gpb_clock.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define HOST_ALIGNMENT 4096
#define GONE_MAX 1024

static block_t **s_blocks;
static size_t s_blocks_count, s_blocks_room;

static struct {
    uint64_t address;
    size_t size;
} s_gone [GONE_MAX];
static size_t s_gone_count;    //  ever; the newest is at (s_gone_count - 1) % GONE_MAX

//  ---------------------------------------------------------------------------------------------------------
//  Blocks by address

uint64_t
gpb_fake_cuda_address (const block_t *block)
{
    return (uint64_t) (uintptr_t) block->data;
}

//  The index of the first block that starts behind address.
static size_t
s_behind (uint64_t address)
{
    size_t low = 0, high = s_blocks_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (gpb_fake_cuda_address (s_blocks [middle]) <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

block_t *
gpb_fake_cuda_block (uint64_t address)
{
    size_t behind = s_behind (address);
    block_t *block = behind ? s_blocks [behind - 1] : NULL;
    return block && address - gpb_fake_cuda_address (block) < block->size ? block : NULL;
}

static bool
s_is_gone (uint64_t address)
{
    size_t kept = s_gone_count < GONE_MAX ? s_gone_count : GONE_MAX;
    for (size_t index = 0; index < kept; index++)
        if (address >= s_gone [index].address
            && address - s_gone [index].address < s_gone [index].size)
            return true;
    return false;
}

block_t *
gpb_fake_cuda_block_new (CUcontext context, size_t size, size_t alignment)
{
    if (s_blocks_count == s_blocks_room) {
        size_t room = s_blocks_room ? 2 * s_blocks_room : 64;
        block_t **blocks = realloc (s_blocks, room * sizeof *blocks);
        if (!blocks)
            return NULL;
        s_blocks = blocks;
        s_blocks_room = room;
    }
    block_t *block = calloc (1, sizeof *block);
    void *data = NULL;
    if (!block || posix_memalign (&data, alignment, size) != 0) {
        free (block);
        return NULL;
    }
    memset (data, 0xA5, size);
    block->context = context;
    block->data = data;
    block->size = size;
    block->is_ready = true;
    size_t behind = s_behind (gpb_fake_cuda_address (block));
    memmove (s_blocks + behind + 1, s_blocks + behind,
             (s_blocks_count - behind) * sizeof (block_t *));
    s_blocks [behind] = block;
    s_blocks_count++;
    return block;
}

void
gpb_fake_cuda_block_free (block_t *block)
{
    size_t behind = s_behind (gpb_fake_cuda_address (block));
    s_blocks_count--;
    memmove (s_blocks + behind - 1, s_blocks + behind,
             (s_blocks_count + 1 - behind) * sizeof (block_t *));
    s_gone [s_gone_count % GONE_MAX].address = gpb_fake_cuda_address (block);
    s_gone [s_gone_count++ % GONE_MAX].size = block->size;
    block->is_freed = true;
    block->uses++;
    gpb_fake_cuda_use_no_more (block);
}

CUresult
gpb_fake_cuda_use (command_t *command, block_t *block)
{
    if (block->is_leaving) {
        gpb_fake_cuda_fault ("uses memory that is freed");
        return CUDA_ERROR_INVALID_VALUE;
    }
    block->uses++;
    command->uses [command->uses_count++] = block;
    return CUDA_SUCCESS;
}

void
gpb_fake_cuda_use_no_more (block_t *block)
{
    if (--block->uses || !block->is_freed)
        return;
    free (block->data);
    free (block);
}

unsigned
gpb_fake_cuda_count_blocks (const struct CUctx_st *context)
{
    unsigned count = 0;
    for (size_t index = 0; index < s_blocks_count; index++)
        count += s_blocks [index]->context == context;
    return count;
}

//  ---------------------------------------------------------------------------------------------------------
//  Memory of the device's

bool
gpb_fake_cuda_has_room (const struct CUctx_st *context, size_t size)
{
    return size <= gpb_fake_cuda_driver.memory - context->used;
}

CUresult
cuMemGetInfo_v2 (size_t *free_size, size_t *total_size)
{
    CUcontext context;
    CUresult result = gpb_fake_cuda_begin_context (CALL_cuMemGetInfo, &context);
    if (result == CUDA_SUCCESS) {
        *total_size = gpb_fake_cuda_driver.memory;
        *free_size = *total_size - context->used;
    }
    return gpb_fake_cuda_end (result);
}

CUresult
cuMemAlloc_v2 (CUdeviceptr *address, size_t size)
{
    CUcontext context;
    CUresult result = gpb_fake_cuda_begin_context (CALL_cuMemAlloc, &context);
    if (result == CUDA_SUCCESS) {
        gpb_fake_cuda_would_wait (context);
        block_t *block = size && gpb_fake_cuda_has_room (context, size)
                             ? gpb_fake_cuda_block_new (context, size, GPB_FAKE_CUDA_ALIGNMENT)
                             : NULL;
        if (block) {
            context->used += size;
            *address = gpb_fake_cuda_address (block);
        }
        else
            result = size ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_ERROR_INVALID_VALUE;
    }
    return gpb_fake_cuda_end (result);
}

CUresult
gpb_fake_cuda_find_to_free (CUdeviceptr address, bool is_pinned, block_t **block_p)
{
    block_t *block = gpb_fake_cuda_block (address);
    *block_p = block;
    if (block ? block->is_leaving : s_is_gone (address))
        gpb_fake_cuda_fault ("frees memory twice");
    else if (!block || gpb_fake_cuda_address (block) != address)
        gpb_fake_cuda_fault ("frees what was never allocated");
    else if (block->is_pinned != is_pinned)
        gpb_fake_cuda_fault ("frees memory of the other kind");
    else
        return CUDA_SUCCESS;
    return CUDA_ERROR_INVALID_VALUE;
}

void
gpb_fake_cuda_check_unused (const block_t *block)
{
    if (block->uses)
        gpb_fake_cuda_fault ("frees memory of %zu bytes while %u commands use it", block->size,
                             block->uses);
}

CUresult
cuMemFree_v2 (CUdeviceptr address)
{
    CUcontext context;
    block_t *block;
    CUresult result = gpb_fake_cuda_begin_context (CALL_cuMemFree, &context);
    if (result != CUDA_SUCCESS || !address)
        return gpb_fake_cuda_end (result);
    gpb_fake_cuda_would_wait (context);
    result = gpb_fake_cuda_find_to_free (address, false, &block);
    if (result == CUDA_SUCCESS) {
        gpb_fake_cuda_check_unused (block);
        if (block->pool)
            gpb_fake_cuda_give_back (block);
        else
            block->context->used -= block->size;
        gpb_fake_cuda_block_free (block);
    }
    return gpb_fake_cuda_end (result);
}

void
gpb_fake_cuda_free_all (const struct CUctx_st *context)
{
    for (size_t index = s_blocks_count; index-- > 0;)
        if (s_blocks [index]->context == context)
            gpb_fake_cuda_block_free (s_blocks [index]);
    gpb_fake_cuda_empty_pools (context);
}

void
gpb_fake_cuda_forget_addresses (void)
{
    free (s_blocks);
    s_blocks = NULL;
    s_blocks_count = s_blocks_room = 0;
    s_gone_count = 0;
}

//  ---------------------------------------------------------------------------------------------------------
//  Memory of the host's

CUresult
cuMemHostAlloc (void **address, size_t size, unsigned int flags)
{
    CUcontext context;
    CUresult result = gpb_fake_cuda_begin_context (CALL_cuMemHostAlloc, &context);
    if (result == CUDA_SUCCESS) {
        gpb_fake_cuda_would_wait (context);
        block_t *block =
            size && flags < 8 ? gpb_fake_cuda_block_new (context, size, HOST_ALIGNMENT) : NULL;
        if (block) {
            block->is_pinned = true;
            *address = block->data;
        }
        else
            result = size && flags < 8 ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_ERROR_INVALID_VALUE;
    }
    return gpb_fake_cuda_end (result);
}

CUresult
cuMemFreeHost (void *address)
{
    CUcontext context;
    block_t *block;
    CUresult result = gpb_fake_cuda_begin_context (CALL_cuMemFreeHost, &context);
    if (result == CUDA_SUCCESS) {
        gpb_fake_cuda_would_wait (context);
        result = gpb_fake_cuda_find_to_free ((uintptr_t) address, true, &block);
    }
    if (result == CUDA_SUCCESS) {
        gpb_fake_cuda_check_unused (block);
        gpb_fake_cuda_block_free (block);
    }
    return gpb_fake_cuda_end (result);
}

CUresult
cuMemHostGetDevicePointer_v2 (CUdeviceptr *address, void *host, unsigned int flags)
{
    CUcontext context;
    CUresult result = gpb_fake_cuda_begin_context (CALL_cuMemHostGetDevicePointer, &context);
    if (result == CUDA_SUCCESS) {
        const block_t *block = gpb_fake_cuda_block ((uintptr_t) host);
        if (flags || !block || !block->is_pinned)
            result = CUDA_ERROR_INVALID_VALUE;
        else
            *address = (uintptr_t) host;
    }
    return gpb_fake_cuda_end (result);
}

//  ---------------------------------------------------------------------------------------------------------
//  What commands and kernels use

typedef enum {
    END_DEVICE,    //  device or pinned memory
    END_HOST,      //  pinned memory, or any of the host's that is not in the books
    END_ANY        //  all of that
} end_t;

//  The block that has all of it, NULL for the host's other memory, or a fault.
static CUresult
s_find_end (const struct CUctx_st *context, end_t end, uint64_t address, size_t size,
            block_t **block_p)
{
    block_t *block = gpb_fake_cuda_block (address);
    *block_p = block;
    if (!block && end != END_DEVICE)
        return CUDA_SUCCESS;
    if (!block && s_is_gone (address))
        gpb_fake_cuda_fault ("uses memory that is freed");
    else if (!block)
        gpb_fake_cuda_fault ("uses an address that was never allocated");
    else if (size > block->size - (size_t) (address - gpb_fake_cuda_address (block)))
        gpb_fake_cuda_fault ("uses %zu bytes at %" PRIu64 " of memory of %zu", size,
                             address - gpb_fake_cuda_address (block), block->size);
    else if (!block->is_pinned && end == END_HOST)
        gpb_fake_cuda_fault ("takes memory of the device's for the host's");
    else if (!block->is_pinned && block->context != context)
        gpb_fake_cuda_fault ("uses memory of another context");
    else
        return CUDA_SUCCESS;
    return CUDA_ERROR_INVALID_VALUE;
}

void *
gpb_fake_cuda_range (CUdeviceptr address, size_t size)
{
    block_t *block = NULL;
    pthread_mutex_lock (&gpb_fake_cuda_lock);
    CUresult result = s_find_end (gpb_fake_cuda_at.inside, END_DEVICE, address, size, &block);
    pthread_mutex_unlock (&gpb_fake_cuda_lock);
    return result == CUDA_SUCCESS ? (void *) (uintptr_t) address : NULL;
}

static CUresult
s_run_copy (CUstream stream, command_t *command)
{
    (void) stream;
    const uint64_t last_us = gpb_fake_cuda_driver.copy_us;
    pthread_mutex_unlock (&gpb_fake_cuda_lock);
    const uint64_t start_ns = gpb_clock_ns ();
    if (command->from)
        memmove (command->to, command->from, command->size);
    else
        memset (command->to, command->byte, command->size);
    gpb_fake_cuda_last (start_ns, last_us);
    pthread_mutex_lock (&gpb_fake_cuda_lock);
    return CUDA_SUCCESS;
}

typedef struct {
    end_t end;
    uint64_t address;
} place_t;

static CUresult
s_use_end (const struct CUctx_st *context, command_t *command, const place_t *place)
{
    block_t *block;
    CUresult result = s_find_end (context, place->end, place->address, command->size, &block);
    return result == CUDA_SUCCESS && block ? gpb_fake_cuda_use (command, block) : result;
}

//  Sets the target to byte where there is no source.
static CUresult
s_copy (call_t call, const place_t *target, const place_t *source, unsigned char byte, size_t size,
        CUstream stream)
{
    CUcontext context;
    CUresult result = gpb_fake_cuda_begin_context (call, &context);
    if (result == CUDA_SUCCESS)
        result = gpb_fake_cuda_check (context, stream, OBJECT_STREAM);
    if (result != CUDA_SUCCESS)
        return gpb_fake_cuda_end (result);
    command_t *command = gpb_fake_cuda_command (s_run_copy);
    if (!command)
        return gpb_fake_cuda_end (CUDA_ERROR_OUT_OF_MEMORY);
    command->to = (unsigned char *) (uintptr_t) target->address;
    command->from = source ? (const unsigned char *) (uintptr_t) source->address : NULL;
    command->byte = byte;
    command->size = size;
    result = s_use_end (context, command, target);
    if (result == CUDA_SUCCESS && source)
        result = s_use_end (context, command, source);
    if (result == CUDA_SUCCESS)
        gpb_fake_cuda_enqueue (stream, command);
    else
        gpb_fake_cuda_command_destroy (command);
    return gpb_fake_cuda_end (result);
}

CUresult
cuMemcpyAsync (CUdeviceptr target, CUdeviceptr source, size_t size, CUstream stream)
{
    return s_copy (CALL_cuMemcpyAsync, &(place_t){ END_ANY, target }, &(place_t){ END_ANY, source },
                   0, size, stream);
}

CUresult
cuMemcpyHtoDAsync_v2 (CUdeviceptr target, const void *source, size_t size, CUstream stream)
{
    return s_copy (CALL_cuMemcpyHtoDAsync, &(place_t){ END_DEVICE, target },
                   &(place_t){ END_HOST, (uintptr_t) source }, 0, size, stream);
}

CUresult
cuMemcpyDtoHAsync_v2 (void *target, CUdeviceptr source, size_t size, CUstream stream)
{
    return s_copy (CALL_cuMemcpyDtoHAsync, &(place_t){ END_HOST, (uintptr_t) target },
                   &(place_t){ END_DEVICE, source }, 0, size, stream);
}

CUresult
cuMemcpyDtoDAsync_v2 (CUdeviceptr target, CUdeviceptr source, size_t size, CUstream stream)
{
    return s_copy (CALL_cuMemcpyDtoDAsync, &(place_t){ END_DEVICE, target },
                   &(place_t){ END_DEVICE, source }, 0, size, stream);
}

CUresult
cuMemsetD8Async (CUdeviceptr target, unsigned char byte, size_t size, CUstream stream)
{
    return s_copy (CALL_cuMemsetD8Async, &(place_t){ END_DEVICE, target }, NULL, byte, size,
                   stream);
}
