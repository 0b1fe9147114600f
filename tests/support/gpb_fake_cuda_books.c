//  gpb_fake_cuda_books - the calls of those who use the fake CUDA driver: counted, failed, judged
//
//  Every call passes here twice. It begins under the lock, is counted, answers what a test has said
//  that it answers, and is refused where it comes too early or from where nobody may call. Faults
//  are a text under the lock; the newest that does not fit is counted and left out.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_fake_cuda_private.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const s_names [CALLS] = {
#define S_NAME(name, symbol, parameters) #name,
    GPB_CUDA_FUNCTIONS (S_NAME) GPB_CUDA_NEWER_FUNCTIONS (S_NAME)
};

static const char *const s_kinds [OBJECTS] = {
    "a context", "a stream", "an event", "a module", "a function", "a pool",
};

typedef struct {
    unsigned calls;
    unsigned left;    //  calls until one fails; 0: none does
    CUresult result;
    bool for_ever;
} plan_t;

pthread_mutex_t gpb_fake_cuda_lock = PTHREAD_MUTEX_INITIALIZER;
_Thread_local at_t gpb_fake_cuda_at;

static plan_t s_plans [CALLS];
static unsigned s_faults;
static char s_text [16384];
static size_t s_length;

//  ---------------------------------------------------------------------------------------------------------
//  A call

//  cuda.h says of each of these that the process is left in an inconsistent state.
static bool
s_is_sticky (CUresult result)
{
    switch (result) {
    case CUDA_ERROR_ECC_UNCORRECTABLE:
    case CUDA_ERROR_NVLINK_UNCORRECTABLE:
    case CUDA_ERROR_CONTAINED:
    case CUDA_ERROR_ILLEGAL_ADDRESS:
    case CUDA_ERROR_LAUNCH_TIMEOUT:
    case CUDA_ERROR_CONTEXT_IS_DESTROYED:
    case CUDA_ERROR_ASSERT:
    case CUDA_ERROR_HARDWARE_STACK_ERROR:
    case CUDA_ERROR_ILLEGAL_INSTRUCTION:
    case CUDA_ERROR_MISALIGNED_ADDRESS:
    case CUDA_ERROR_INVALID_ADDRESS_SPACE:
    case CUDA_ERROR_INVALID_PC:
    case CUDA_ERROR_LAUNCH_FAILED:
    case CUDA_ERROR_TENSOR_MEMORY_LEAK:
    case CUDA_ERROR_MPS_CLIENT_TERMINATED:
    case CUDA_ERROR_EXTERNAL_DEVICE: return true;
    default: return false;
    }
}

//  Calls after which something is left when they do nothing.
static bool
s_gives_back (call_t call)
{
    switch (call) {
    case CALL_cuDevicePrimaryCtxRelease:
    case CALL_cuCtxPopCurrent:
    case CALL_cuMemFree:
    case CALL_cuMemFreeHost:
    case CALL_cuMemFreeAsync:
    case CALL_cuMemPoolDestroy:
    case CALL_cuStreamDestroy:
    case CALL_cuEventDestroy:
    case CALL_cuModuleUnload: return true;
    default: return false;
    }
}

//  A call that a test has told to fail.
static CUresult
s_refuse (call_t call, CUresult result)
{
    CUcontext context = gpb_fake_cuda_current ();
    if (s_is_sticky (result) && context)
        gpb_fake_cuda_end_context (context, result);
    if (s_gives_back (call))
        gpb_fake_cuda_driver.is_excused = true;
    return result;
}

CUresult
gpb_fake_cuda_begin (call_t call)
{
    pthread_mutex_lock (&gpb_fake_cuda_lock);
    gpb_fake_cuda_at.call = call;
    plan_t *plan = &s_plans [call];
    plan->calls++;
    if (gpb_fake_cuda_at.inside) {
        gpb_fake_cuda_fault ("is called from a callback or a kernel");
        return CUDA_ERROR_NOT_PERMITTED;
    }
    if (!plan->left || --plan->left)
        return CUDA_SUCCESS;
    plan->left = plan->for_ever;
    return s_refuse (call, plan->result);
}

CUresult
gpb_fake_cuda_begin_driver (call_t call)
{
    CUresult result = gpb_fake_cuda_begin (call);
    return result == CUDA_SUCCESS && !gpb_fake_cuda_driver.is_initialised
               ? CUDA_ERROR_NOT_INITIALIZED
               : result;
}

CUresult
gpb_fake_cuda_begin_context (call_t call, CUcontext *context_p)
{
    CUresult result = gpb_fake_cuda_begin_driver (call);
    *context_p = gpb_fake_cuda_current ();
    if (result != CUDA_SUCCESS)
        return result;
    if (!*context_p)
        return CUDA_ERROR_INVALID_CONTEXT;
    if ((*context_p)->object.is_gone)
        gpb_fake_cuda_fault ("is called on a context after its last release");
    return (*context_p)->error;
}

CUresult
gpb_fake_cuda_end (CUresult result)
{
    pthread_mutex_unlock (&gpb_fake_cuda_lock);
    return result;
}

//  ---------------------------------------------------------------------------------------------------------
//  What a test says and asks

//  A name that is none is the test's mistake.
static plan_t *
s_find (const char *call)
{
    for (unsigned number = 0; number < CALLS; number++)
        if (strcmp (s_names [number], call) == 0)
            return &s_plans [number];
    fprintf (stderr, "the fake CUDA driver has no function %s\n", call);
    abort ();
}

const char *
gpb_fake_cuda_call (unsigned number)
{
    return number < CALLS ? s_names [number] : NULL;
}

void
gpb_fake_cuda_fail (const char *call, unsigned nth, CUresult result, bool for_ever)
{
    pthread_mutex_lock (&gpb_fake_cuda_lock);
    plan_t *plan = s_find (call);
    plan->left = nth;
    plan->result = result;
    plan->for_ever = for_ever;
    pthread_mutex_unlock (&gpb_fake_cuda_lock);
}

unsigned
gpb_fake_cuda_calls (const char *call)
{
    pthread_mutex_lock (&gpb_fake_cuda_lock);
    unsigned calls = s_find (call)->calls;
    pthread_mutex_unlock (&gpb_fake_cuda_lock);
    return calls;
}

//  ---------------------------------------------------------------------------------------------------------
//  Faults

void
gpb_fake_cuda_fault (const char *format, ...)
{
    char sentence [512];
    va_list arguments;
    va_start (arguments, format);
    vsnprintf (sentence, sizeof sentence, format, arguments);
    va_end (arguments);
    s_faults++;
    size_t room = sizeof s_text - s_length;
    int size =
        snprintf (s_text + s_length, room, "%s %s\n", s_names [gpb_fake_cuda_at.call], sentence);
    if (size > 0 && (size_t) size < room)
        s_length += (size_t) size;
    else
        s_text [s_length] = 0;
}

void
gpb_fake_cuda_would_wait (const struct CUctx_st *context)
{
    if (context->persistent)
        gpb_fake_cuda_fault ("would wait for a kernel that does not end");
}

CUresult
gpb_fake_cuda_check (const struct CUctx_st *context, const void *handle, kind_t kind)
{
    const object_t *object = handle;
    if (!object)
        gpb_fake_cuda_fault ("is given NULL for %s", s_kinds [kind]);
    else if (object->kind != kind)
        gpb_fake_cuda_fault ("is given %s that is %s", s_kinds [kind], s_kinds [object->kind]);
    else if (object->is_gone)
        gpb_fake_cuda_fault ("is given %s that is gone", s_kinds [kind]);
    else if (context && object->context != context)
        gpb_fake_cuda_fault ("is given %s of another context", s_kinds [kind]);
    else
        return CUDA_SUCCESS;
    return CUDA_ERROR_INVALID_HANDLE;
}

void *
gpb_fake_cuda_object (CUcontext context, kind_t kind, size_t size)
{
    object_t *object = calloc (1, size);
    if (!object)
        return NULL;
    object->kind = kind;
    object->context = context;
    object->next = gpb_fake_cuda_driver.objects;
    gpb_fake_cuda_driver.objects = object;
    return object;
}

//  Under the lock.
static unsigned
s_take_faults (char *text, size_t size)
{
    unsigned faults = s_faults;
    if (text && size)
        snprintf (text, size, "%s", s_text);
    s_faults = 0;
    s_length = 0;
    s_text [0] = 0;
    return faults;
}

unsigned
gpb_fake_cuda_faults (char *text, size_t size)
{
    pthread_mutex_lock (&gpb_fake_cuda_lock);
    unsigned faults = s_take_faults (text, size);
    pthread_mutex_unlock (&gpb_fake_cuda_lock);
    return faults;
}

void
gpb_fake_cuda_forget_books (void)
{
    memset (s_plans, 0, sizeof s_plans);
    s_take_faults (NULL, 0);
}

//  A fork has the books of the process that it came from, and answers for none of them.
__attribute__ ((destructor)) static void
s_settle (void)
{
    pthread_mutex_lock (&gpb_fake_cuda_lock);
    if (gpb_fake_cuda_driver.process == getpid ()) {
        gpb_fake_cuda_at.call = CALL_cuDevicePrimaryCtxRelease;
        for (int device = 0; device < gpb_fake_cuda_driver.devices_count; device++) {
            const struct CUctx_st *context = gpb_fake_cuda_driver.devices [device].context;
            if (context && context->error == CUDA_SUCCESS && !gpb_fake_cuda_driver.is_excused)
                gpb_fake_cuda_fault ("is not called for device %d before the process ends", device);
        }
        if (s_faults) {
            fprintf (stderr, "the fake CUDA driver saw %u faults:\n%s", s_faults, s_text);
            abort ();
        }
    }
    pthread_mutex_unlock (&gpb_fake_cuda_lock);
}
