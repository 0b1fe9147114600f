//  gpb_fake_cuda_pool - memory pools of the fake CUDA driver
//
//  A pool keeps what is freed in pieces, and an allocation takes the smallest that it fits into, or
//  memory of the device's where there is none. A block counts as free when that is enqueued, as the
//  stream's next allocation may have its memory; the block itself goes when the stream comes to it,
//  and only then can its piece be trimmed.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_fake_cuda_private.h"

#include <stdlib.h>
#include <string.h>

//  ---------------------------------------------------------------------------------------------------------
//  What a pool keeps

static void
s_give_back (const struct CUmemPoolHandle_st *pool, size_t size)
{
    pool->object.context->used -= size;
}

//  Gives back what a pool keeps and is free, until it has no more than keep_size.
static void
s_trim (CUmemoryPool pool, uint64_t keep_size)
{
    for (piece_t **link = &pool->kept; *link && pool->reserved > keep_size;) {
        piece_t *piece = *link;
        if (piece->stream && piece->stream->done < piece->number) {
            link = &piece->next;
            continue;
        }
        pool->reserved -= piece->size;
        s_give_back (pool, piece->size);
        *link = piece->next;
        free (piece);
    }
}

static void
s_keep (CUmemoryPool pool, size_t size, CUstream stream)
{
    piece_t *piece = malloc (sizeof *piece);
    pool->used -= size;
    if (!piece) {
        pool->reserved -= size;
        s_give_back (pool, size);
        return;
    }
    *piece = (piece_t){
        .next = pool->kept, .size = size, .stream = stream, .number = stream ? stream->enqueued : 0
    };
    pool->kept = piece;
}

//  The smallest piece that a block fits into, or memory of the device's.
static bool
s_take (CUmemoryPool pool, size_t size)
{
    piece_t **best = NULL;
    for (piece_t **link = &pool->kept; *link; link = &(*link)->next)
        if ((*link)->size >= size && (!best || (*link)->size < (*best)->size))
            best = link;
    if (best) {
        piece_t *piece = *best;
        piece->size -= size;
        if (!piece->size) {
            *best = piece->next;
            free (piece);
        }
    }
    else {
        if (!gpb_fake_cuda_has_room (pool->object.context, size)
            || (pool->size_max && size > pool->size_max - pool->reserved))
            return false;
        pool->object.context->used += size;
        pool->reserved += size;
    }
    pool->used += size;
    return true;
}

void
gpb_fake_cuda_give_back (const block_t *block)
{
    s_keep (block->pool, block->size, NULL);
    s_trim (block->pool, block->pool->threshold);
}

void
gpb_fake_cuda_empty_pools (const struct CUctx_st *context)
{
    for (object_t *object = gpb_fake_cuda_driver.objects; object; object = object->next) {
        CUmemoryPool pool = (CUmemoryPool) object;
        while (object->kind == OBJECT_POOL && object->context == context && pool->kept) {
            piece_t *piece = pool->kept;
            pool->kept = piece->next;
            free (piece);
        }
    }
}

//  ---------------------------------------------------------------------------------------------------------
//  Pools

CUresult
cuMemPoolCreate (CUmemoryPool *pool_p, const CUmemPoolProps *properties)
{
    CUcontext context;
    CUresult result = gpb_fake_cuda_begin_context (CALL_cuMemPoolCreate, &context);
    if (result == CUDA_SUCCESS && !gpb_fake_cuda_driver.has_pools)
        result = CUDA_ERROR_NOT_SUPPORTED;
    if (result == CUDA_SUCCESS
        && (properties->allocType != CU_MEM_ALLOCATION_TYPE_PINNED
            || properties->handleTypes != CU_MEM_HANDLE_TYPE_NONE
            || properties->location.type != CU_MEM_LOCATION_TYPE_DEVICE
            || properties->location.id != context->device))
        result = CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS) {
        CUmemoryPool pool = gpb_fake_cuda_object (context, OBJECT_POOL, sizeof *pool);
        if (pool) {
            pool->size_max = properties->maxSize;
            *pool_p = pool;
        }
        else
            result = CUDA_ERROR_OUT_OF_MEMORY;
    }
    return gpb_fake_cuda_end (result);
}

//  Takes the lock, as every begin does.
static CUresult
s_begin_pool (call_t call, CUmemoryPool pool)
{
    CUcontext context;
    CUresult result = gpb_fake_cuda_begin_context (call, &context);
    return result == CUDA_SUCCESS ? gpb_fake_cuda_check (context, pool, OBJECT_POOL) : result;
}

//  What is still allocated from it stays, and goes back to the device when it is freed.
CUresult
cuMemPoolDestroy (CUmemoryPool pool)
{
    CUresult result = s_begin_pool (CALL_cuMemPoolDestroy, pool);
    if (result == CUDA_SUCCESS) {
        pool->object.is_gone = true;
        pool->threshold = 0;
        s_trim (pool, 0);
    }
    return gpb_fake_cuda_end (result);
}

CUresult
cuMemPoolSetAttribute (CUmemoryPool pool, CUmemPool_attribute attribute, void *value)
{
    CUresult result = s_begin_pool (CALL_cuMemPoolSetAttribute, pool);
    if (result == CUDA_SUCCESS && attribute != CU_MEMPOOL_ATTR_RELEASE_THRESHOLD)
        result = CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        memcpy (&pool->threshold, value, sizeof pool->threshold);
    return gpb_fake_cuda_end (result);
}

CUresult
cuMemPoolGetAttribute (CUmemoryPool pool, CUmemPool_attribute attribute, void *value)
{
    CUresult result = s_begin_pool (CALL_cuMemPoolGetAttribute, pool);
    if (result == CUDA_SUCCESS) {
        uint64_t found = 0;
        switch (attribute) {
        case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD: found = pool->threshold; break;
        case CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT: found = pool->reserved; break;
        case CU_MEMPOOL_ATTR_USED_MEM_CURRENT: found = pool->used; break;
        default: result = CUDA_ERROR_INVALID_VALUE;
        }
        if (result == CUDA_SUCCESS)
            memcpy (value, &found, sizeof found);
    }
    return gpb_fake_cuda_end (result);
}

CUresult
cuMemPoolTrimTo (CUmemoryPool pool, size_t keep_size)
{
    CUresult result = s_begin_pool (CALL_cuMemPoolTrimTo, pool);
    if (result == CUDA_SUCCESS)
        s_trim (pool, keep_size);
    return gpb_fake_cuda_end (result);
}

//  ---------------------------------------------------------------------------------------------------------
//  Blocks of a pool's

static CUresult
s_run_allocate (CUstream stream, command_t *command)
{
    (void) stream;
    command->block->is_ready = true;
    return CUDA_SUCCESS;
}

CUresult
cuMemAllocFromPoolAsync (CUdeviceptr *address, size_t size, CUmemoryPool pool, CUstream stream)
{
    CUcontext context;
    CUresult result = gpb_fake_cuda_begin_context (CALL_cuMemAllocFromPoolAsync, &context);
    if (result == CUDA_SUCCESS)
        result = gpb_fake_cuda_check (context, pool, OBJECT_POOL);
    if (result == CUDA_SUCCESS)
        result = gpb_fake_cuda_check (context, stream, OBJECT_STREAM);
    if (result == CUDA_SUCCESS && !size)
        result = CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS) {
        command_t *command = gpb_fake_cuda_command (s_run_allocate);
        const bool is_taken = command && s_take (pool, size);
        block_t *block =
            is_taken ? gpb_fake_cuda_block_new (context, size, GPB_FAKE_CUDA_ALIGNMENT) : NULL;
        if (is_taken && !block)
            s_keep (pool, size, NULL);
        if (block) {
            block->pool = pool;
            block->is_ready = false;
            command->block = block;
            gpb_fake_cuda_enqueue (stream, command);
            *address = gpb_fake_cuda_address (block);
        }
        else {
            gpb_fake_cuda_command_destroy (command);
            result = CUDA_ERROR_OUT_OF_MEMORY;
        }
    }
    return gpb_fake_cuda_end (result);
}

static CUresult
s_run_free (CUstream stream, command_t *command)
{
    block_t *block = command->block;
    CUmemoryPool pool = block->pool;
    gpb_fake_cuda_check_unused (block);
    gpb_fake_cuda_block_free (block);
    for (piece_t *piece = pool->kept; piece; piece = piece->next)
        if (piece->stream == stream && piece->number == stream->done + 1)
            piece->stream = NULL;
    s_trim (pool, pool->threshold);
    return CUDA_SUCCESS;
}

CUresult
cuMemFreeAsync (CUdeviceptr address, CUstream stream)
{
    CUcontext context;
    block_t *block;
    CUresult result = gpb_fake_cuda_begin_context (CALL_cuMemFreeAsync, &context);
    if (result == CUDA_SUCCESS)
        result = gpb_fake_cuda_check (context, stream, OBJECT_STREAM);
    if (result == CUDA_SUCCESS)
        result = gpb_fake_cuda_find_to_free (address, false, &block);
    if (result == CUDA_SUCCESS && !block->pool) {
        gpb_fake_cuda_fault ("frees memory that is no pool's");
        result = CUDA_ERROR_INVALID_VALUE;
    }
    command_t *command = result == CUDA_SUCCESS ? gpb_fake_cuda_command (s_run_free) : NULL;
    if (command) {
        command->block = block;
        block->is_leaving = true;
        gpb_fake_cuda_enqueue (stream, command);
        s_keep (block->pool, block->size, stream);
    }
    else if (result == CUDA_SUCCESS)
        result = CUDA_ERROR_OUT_OF_MEMORY;
    return gpb_fake_cuda_end (result);
}
