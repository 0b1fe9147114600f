//  gpb_cuda_stream - streams of a CUDA context: commands, events, and a context that is lost
//
//  Each stream is a pair of CUDA streams, for commands and for notifications. A command's event is
//  recorded behind it; where its end is to be told, the other stream waits for that event and then
//  has the driver call back, which adds 1 to the stream's eventfd. So nothing that computes or
//  copies ever waits for a callback. It is cuStreamAddCallback and not cuLaunchHostFunc, since only
//  the former also calls when the context has failed. Callbacks come on the driver's threads.
//
//  A sticky error (an illegal address, an assertion, an uncorrectable error) makes the context
//  lost: every operation answers it from then on, and all eventfds are written, so that whoever
//  waits asks and learns it. The primary context is never reset: it belongs to others too.
//
//  Times of events come from the driver as a difference in milliseconds, a float: told from an
//  event that is long past they lose their digits (0.25 ms after an hour). So each stream has an
//  anchor, and the last event that was read takes its place every second. A difference of start
//  and end is always exact.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_cuda.h"

#include <errno.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>

#define ANCHOR_NS 1000000000ULL    //  after which an event takes the anchor's place
#define LOST_WAIT_MS 1000          //  for callbacks of a lost context, which may never come

//  ---------------------------------------------------------------------------------------------------------
//  Calls

static void
s_notify (const gpb_cuda_stream_t *stream)
{
    const uint64_t one = 1;
    while (stream->notify_fd >= 0 && write (stream->notify_fd, &one, sizeof one) < 0
           && errno == EINTR)
        continue;
}

//  The first sticky result is the reason; those that follow from it say less. Any thread.
static void
s_lose (gpb_context_t *self, CUresult result)
{
    int well = CUDA_SUCCESS;
    if (!gpb_cuda_is_sticky (result)
        || !atomic_compare_exchange_strong (&self->lost, &well, (int) result))
        return;
    for (unsigned stream = 0; stream < self->streams_count; stream++)
        s_notify (&self->streams [stream]);
}

gpb_status_t
gpb_cuda_check (gpb_context_t *self, CUresult result, const char *call, gpb_error_t *error)
{
    if (result == CUDA_SUCCESS)
        return GPB_OK;
    s_lose (self, result);
    return gpb_cuda_refuse (self->backend, error, result, call);
}

static gpb_status_t
s_check_lost (const gpb_context_t *self, gpb_error_t *error)
{
    const int lost = atomic_load_explicit (&self->lost, memory_order_acquire);
    return lost == CUDA_SUCCESS
               ? GPB_OK
               : gpb_cuda_refuse (self->backend, error, (CUresult) lost, "the device was lost");
}

gpb_status_t
gpb_cuda_enter (const gpb_context_t *self, gpb_error_t *error)
{
    gpb_status_t status = s_check_lost (self, error);
    if (status != GPB_OK)
        return status;
    CUresult result = self->cuda->cuCtxPushCurrent (self->primary);
    return result == CUDA_SUCCESS
               ? GPB_OK
               : gpb_cuda_refuse (self->backend, error, result, "cuCtxPushCurrent");
}

void
gpb_cuda_leave (const gpb_context_t *self)
{
    CUcontext popped;
    self->cuda->cuCtxPopCurrent (&popped);
}

//  ---------------------------------------------------------------------------------------------------------
//  A stream

gpb_status_t
gpb_cuda_stream_open (gpb_context_t *self, gpb_cuda_stream_t *stream, gpb_error_t *error)
{
    const gpb_cuda_driver_t *cuda = self->cuda;
    const char *call = "cuStreamCreate";
    CUresult result = cuda->cuStreamCreate (&stream->commands, CU_STREAM_NON_BLOCKING);
    if (result == CUDA_SUCCESS)
        result = cuda->cuStreamCreate (&stream->notices, CU_STREAM_NON_BLOCKING);
    if (result == CUDA_SUCCESS && self->profiling) {
        call = "cuEventRecord";
        result = cuda->cuEventCreate (&stream->anchor, CU_EVENT_DEFAULT);
        if (result == CUDA_SUCCESS)
            result = cuda->cuEventRecord (stream->anchor, stream->commands);
        if (result == CUDA_SUCCESS)
            result = cuda->cuStreamSynchronize (stream->commands);
        float ms = 0;
        if (result == CUDA_SUCCESS && stream != self->streams)
            result = cuda->cuEventElapsedTime (&ms, self->streams->anchor, stream->anchor);
        stream->anchor_ns = ms > 0 ? (uint64_t) ((double) ms * 1e6) : 0;
    }
    return gpb_cuda_check (self, result, call, error);
}

//  True: no callback uses the stream any more. A driver may run one a little after its stream is
//  synchronised; on a lost context it may never.
static bool
s_is_quiet (const gpb_context_t *self, gpb_cuda_stream_t *stream)
{
    const struct timespec step = { 0, 1000000 };
    int waited_ms = 0;
    while (atomic_load_explicit (&stream->outstanding, memory_order_acquire)) {
        if (!atomic_load (&self->lost))
            sched_yield ();
        else if (waited_ms++ < LOST_WAIT_MS)
            nanosleep (&step, NULL);
        else
            return false;
    }
    return true;
}

bool
gpb_cuda_stream_close (gpb_context_t *self, gpb_cuda_stream_t *stream)
{
    const gpb_cuda_driver_t *cuda = self->cuda;
    bool is_quiet = s_is_quiet (self, stream);
    while (stream->spare) {
        gpb_event_t *event = stream->spare;
        stream->spare = event->next;
        if (event->start)
            cuda->cuEventDestroy (event->start);
        cuda->cuEventDestroy (event->end);
        self->services->free (event);
    }
    if (stream->anchor)
        cuda->cuEventDestroy (stream->anchor);
    if (stream->notices)
        cuda->cuStreamDestroy (stream->notices);
    if (stream->commands)
        cuda->cuStreamDestroy (stream->commands);
    return is_quiet;
}

//  ---------------------------------------------------------------------------------------------------------
//  Commands

//  Runs on a thread of the driver's, whatever the command's outcome. The count goes down last:
//  after that the stream may be gone.
static void
s_done (CUstream notices, CUresult result, void *argument)
{
    (void) notices;
    gpb_cuda_stream_t *stream = argument;
    s_lose (stream->context, result);
    s_notify (stream);
    atomic_fetch_sub_explicit (&stream->outstanding, 1, memory_order_release);
}

static void
s_event_spare (gpb_event_t *event)
{
    event->next = event->stream->spare;
    event->stream->spare = event;
}

static gpb_status_t
s_event_new (gpb_context_t *self, gpb_cuda_stream_t *stream, gpb_event_t **event_p,
             gpb_error_t *error)
{
    gpb_event_t *event = stream->spare;
    if (event)
        stream->spare = event->next;
    else {
        event = self->services->alloc (1, sizeof *event);
        if (!event)
            return self->services->error_set (error, GPB_RESOURCE_EXHAUSTED,
                                              "out of memory for an event");
        event->stream = stream;
        CUresult result =
            self->cuda->cuEventCreate (&event->end, self->profiling ? CU_EVENT_DEFAULT
                                                                    : CU_EVENT_DISABLE_TIMING);
        if (result == CUDA_SUCCESS && self->profiling) {
            result = self->cuda->cuEventCreate (&event->start, CU_EVENT_DEFAULT);
            if (result != CUDA_SUCCESS)
                self->cuda->cuEventDestroy (event->end);
        }
        if (result != CUDA_SUCCESS) {
            self->services->free (event);
            return gpb_cuda_check (self, result, "cuEventCreate", error);
        }
    }
    event->is_done = false;
    event->times = (gpb_event_times_t){ 0 };
    *event_p = event;
    return GPB_OK;
}

gpb_status_t
gpb_cuda_begin (gpb_context_t *self, unsigned stream, gpb_notify_t notify, gpb_event_t **event_p,
                gpb_event_t **made_p, gpb_error_t *error)
{
    *made_p = NULL;
    if (event_p)
        *event_p = NULL;
    if (stream >= self->streams_count)
        return self->services->error_set (error, GPB_INVALID_ARGUMENT,
                                          "no stream %u: the context has %u", stream,
                                          self->streams_count);
    gpb_status_t status = gpb_cuda_enter (self, error);
    if (status != GPB_OK || (!event_p && notify == GPB_NOTIFY_NOT))
        return status;
    gpb_cuda_stream_t *queue = &self->streams [stream];
    status = s_event_new (self, queue, made_p, error);
    if (status == GPB_OK && (*made_p)->start) {
        status =
            gpb_cuda_check (self, self->cuda->cuEventRecord ((*made_p)->start, queue->commands),
                            "cuEventRecord", error);
        if (status != GPB_OK)
            s_event_spare (*made_p);
    }
    if (status != GPB_OK)
        gpb_cuda_leave (self);
    return status;
}

//  The command is under way, and its end must be told, or known: where the driver has no memory for
//  that, which is rare enough, it is waited for here.
static void
s_wait_here (gpb_context_t *self, gpb_cuda_stream_t *stream, CUresult result)
{
    s_lose (self, result);
    s_lose (self, self->cuda->cuStreamSynchronize (stream->commands));
}

static void
s_announce (gpb_context_t *self, gpb_cuda_stream_t *stream, CUevent end)
{
    const gpb_cuda_driver_t *cuda = self->cuda;
    atomic_fetch_add_explicit (&stream->outstanding, 1, memory_order_relaxed);
    CUresult result = cuda->cuStreamWaitEvent (stream->notices, end, 0);
    if (result == CUDA_SUCCESS)
        result = cuda->cuStreamAddCallback (stream->notices, s_done, stream, 0);
    if (result == CUDA_SUCCESS)
        return;
    s_wait_here (self, stream, result);
    s_notify (stream);
    atomic_fetch_sub_explicit (&stream->outstanding, 1, memory_order_release);
}

gpb_status_t
gpb_cuda_end (gpb_context_t *self, unsigned stream, gpb_status_t status, gpb_notify_t notify,
              gpb_event_t *made, gpb_event_t **event_p, gpb_error_t *error)
{
    gpb_cuda_stream_t *queue = &self->streams [stream];
    if (status == GPB_OK && made) {
        CUresult result = self->cuda->cuEventRecord (made->end, queue->commands);
        if (result != CUDA_SUCCESS) {
            //  What the event would say of the command is not known. It has ended, but who asks is
            //  told that it failed.
            s_wait_here (self, queue, result);
            status = gpb_cuda_refuse (self->backend, error, result, "cuEventRecord");
        }
    }
    if (status == GPB_OK && notify == GPB_NOTIFY)
        s_announce (self, queue, made->end);
    if (made && (status != GPB_OK || !event_p))
        s_event_spare (made);
    else if (made)
        *event_p = made;
    gpb_cuda_leave (self);
    return status;
}

//  ---------------------------------------------------------------------------------------------------------
//  Events

static void
s_read_times (gpb_context_t *self, gpb_event_t *event)
{
    const gpb_cuda_driver_t *cuda = self->cuda;
    gpb_cuda_stream_t *stream = event->stream;
    float since_ms = 0, took_ms = 0;
    if (cuda->cuEventElapsedTime (&since_ms, stream->anchor, event->start) != CUDA_SUCCESS
        || cuda->cuEventElapsedTime (&took_ms, event->start, event->end) != CUDA_SUCCESS)
        return;
    const double since_ns = since_ms > 0 ? (double) since_ms * 1e6 : 0;
    gpb_event_times_t *times = &event->times;
    times->measured = true;
    times->start_ns = stream->anchor_ns + (uint64_t) since_ns;
    times->end_ns = times->start_ns + (uint64_t) (took_ms > 0 ? (double) took_ms * 1e6 : 0);
    if (times->end_ns - stream->anchor_ns > ANCHOR_NS) {
        CUevent anchor = event->end;
        event->end = stream->anchor;
        stream->anchor = anchor;
        stream->anchor_ns = times->end_ns;
    }
}

gpb_status_t
gpb_cuda_query (gpb_event_t *event, bool *done, gpb_event_times_t *times, gpb_error_t *error)
{
    gpb_context_t *self = event->stream->context;
    *done = true;
    if (times)
        *times = (gpb_event_times_t){ 0 };
    if (!event->is_done) {
        gpb_status_t status = gpb_cuda_enter (self, error);
        if (status != GPB_OK)
            return status;
        CUresult result = self->cuda->cuEventQuery (event->end);
        //  A driver that does not say must not have its caller take memory from under the command.
        if (result != CUDA_SUCCESS && result != CUDA_ERROR_NOT_READY)
            s_wait_here (self, event->stream, result);
        if (result == CUDA_SUCCESS) {
            event->is_done = true;
            if (event->start)
                s_read_times (self, event);
        }
        gpb_cuda_leave (self);
        *done = result != CUDA_ERROR_NOT_READY;
        if (*done && result != CUDA_SUCCESS)
            return gpb_cuda_check (self, result, "the command ended with", error);
    }
    if (times)
        *times = event->times;
    return GPB_OK;
}

void
gpb_cuda_event_free (gpb_event_t **event_p)
{
    gpb_event_t *event = *event_p;
    *event_p = NULL;
    if (event)
        s_event_spare (event);
}
