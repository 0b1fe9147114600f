//  gpb_jobs - the jobs of one device: which places are taken, and what is on which stream
//
//  There are few places, so what is rarely looked for is looked for among all of them; what every
//  round looks for, the next deadline, is in a heap. Streams are in order, so only the first job of
//  each is ever asked whether it is done.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_jobs.h"

#include "gpb_alloc.h"
#include "gpb_clock.h"

typedef struct {
    gpb_job_t *first, *last;
    size_t count;
    uint64_t since_ns;    //  gpb_clock_ns () from when the first one is the first
} s_stream_t;

struct _gpb_jobs_t {
    gpb_job_t jobs [GPB_JOBS_MAX];
    gpb_job_t *free;
    size_t free_count;
    s_stream_t *streams;
    unsigned streams_count;
    gpb_heap_t deadlines;    //  of the jobs that are not answered
    size_t unannounced;      //  jobs on streams that no notification will come for
};

static bool
s_is_taken (const gpb_job_t *job)
{
    return job->kind != GPB__V1__REQUEST__BODY__NOT_SET;
}

static void
s_put_free (gpb_jobs_t *self, gpb_job_t *job)
{
    job->kind = GPB__V1__REQUEST__BODY__NOT_SET;
    job->next = self->free;
    self->free = job;
    self->free_count++;
}

gpb_jobs_t *
gpb_jobs_new (unsigned streams, gpb_error_t *error)
{
    gpb_jobs_t *self = gpb_alloc (1, sizeof *self);
    if (self)
        self->streams = gpb_alloc (streams, sizeof *self->streams);
    //  With room for all, so that taking a place never fails.
    if (!self || !self->streams || !gpb_heap_reserve (&self->deadlines, GPB_JOBS_MAX)) {
        gpb_free (self ? self->streams : NULL);
        gpb_free (self);
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a device's jobs");
        return NULL;
    }
    self->streams_count = streams;
    for (uint32_t number = 0; number < GPB_JOBS_MAX; number++) {
        self->jobs [number].number = number;
        gpb_message_init (&self->jobs [number].message);
        s_put_free (self, &self->jobs [number]);
    }
    return self;
}

void
gpb_jobs_destroy (gpb_jobs_t **self_p, const gpb_workshop_t *shop)
{
    gpb_jobs_t *self = *self_p;
    if (!self)
        return;
    *self_p = NULL;
    for (uint32_t number = 0; number < GPB_JOBS_MAX; number++)
        if (s_is_taken (&self->jobs [number]))
            gpb_jobs_free (self, shop, &self->jobs [number]);
    gpb_heap_clear (&self->deadlines);
    gpb_free (self->streams);
    gpb_free (self);
}

size_t
gpb_jobs_room (const gpb_jobs_t *self)
{
    return self->free_count;
}

gpb_job_t *
gpb_jobs_take (gpb_jobs_t *self, gpb_call_t *call)
{
    gpb_job_t *job = self->free;
    self->free = job->next;
    self->free_count--;
    job->next = NULL;
    job->connection = call->connection;
    job->owner = call->owner;
    job->id = call->request->id;
    job->received_ns = call->received_ns;
    job->deadline.key = call->deadline_ns;
    gpb_heap_add (&self->deadlines, &job->deadline);
    job->kind = call->request->body_case;
    job->inline_results = false;
    job->answered = false;
    job->unannounced = false;
    job->host_copied = 0;
    job->reservation = job->drawn = 0;
    job->admitted = job->retried = false;
    job->failure.status = GPB_OK;
    gpb_message_move (&job->message, call->message);
    return job;
}

void
gpb_jobs_free (gpb_jobs_t *self, const gpb_workshop_t *shop, gpb_job_t *job)
{
    gpb_job_release (job, shop);
    gpb_job_drop_results (job);
    gpb_message_clear (&job->message);
    gpb_heap_remove (&self->deadlines, &job->deadline);
    job->connection = NULL;
    job->generation++;
    s_put_free (self, job);
}

void
gpb_jobs_answered (gpb_jobs_t *self, gpb_job_t *job)
{
    job->answered = true;
    gpb_heap_remove (&self->deadlines, &job->deadline);
}

unsigned
gpb_jobs_choose_stream (const gpb_jobs_t *self, bool is_bound)
{
    if (is_bound || self->streams_count == 1)
        return 0;
    unsigned best = 1;
    for (unsigned stream = 2; stream < self->streams_count; stream++)
        if (self->streams [stream].count < self->streams [best].count)
            best = stream;
    return best;
}

void
gpb_jobs_enqueue (gpb_jobs_t *self, gpb_job_t *job)
{
    s_stream_t *stream = &self->streams [job->stream];
    if (stream->last)
        stream->last->next = job;
    else {
        stream->first = job;
        stream->since_ns = gpb_clock_ns ();
    }
    stream->last = job;
    stream->count++;
    self->unannounced += job->unannounced ? 1 : 0;
}

gpb_job_t *
gpb_jobs_done (gpb_jobs_t *self, const gpb_workshop_t *shop)
{
    for (unsigned index = 0; index < self->streams_count; index++) {
        s_stream_t *stream = &self->streams [index];
        gpb_job_t *job = stream->first;
        if (!job || !gpb_job_is_done (job, shop))
            continue;
        stream->first = job->next;
        if (stream->first)
            stream->since_ns = gpb_clock_ns ();
        else
            stream->last = NULL;
        stream->count--;
        job->next = NULL;
        self->unannounced -= job->unannounced ? 1 : 0;
        return job;
    }
    return NULL;
}

bool
gpb_jobs_is_unannounced (const gpb_jobs_t *self)
{
    return self->unannounced > 0;
}

uint64_t
gpb_jobs_running_ns (const gpb_jobs_t *self, uint64_t now_ns)
{
    uint64_t since_ns = now_ns;
    for (unsigned stream = 0; stream < self->streams_count; stream++)
        if (self->streams [stream].first && self->streams [stream].since_ns < since_ns)
            since_ns = self->streams [stream].since_ns;
    return now_ns - since_ns;
}

bool
gpb_jobs_is_idle (const gpb_jobs_t *self)
{
    for (unsigned stream = 0; stream < self->streams_count; stream++)
        if (self->streams [stream].first)
            return false;
    return true;
}

gpb_job_t *
gpb_jobs_at (gpb_jobs_t *self, uint32_t number, uint32_t generation)
{
    gpb_job_t *job = number < GPB_JOBS_MAX ? &self->jobs [number] : NULL;
    return job && job->generation == generation ? job : NULL;
}

gpb_job_t *
gpb_jobs_find (gpb_jobs_t *self, const gpb_owner_t *owner, uint64_t id)
{
    for (uint32_t number = 0; number < GPB_JOBS_MAX; number++) {
        gpb_job_t *job = &self->jobs [number];
        if (s_is_taken (job) && !job->answered && job->id == id
            && gpb_owner_same (&job->owner, owner))
            return job;
    }
    return NULL;
}

gpb_job_t *
gpb_jobs_earliest (gpb_jobs_t *self)
{
    gpb_heap_node_t *node = gpb_heap_first (&self->deadlines);
    return node ? (gpb_job_t *) ((char *) node - offsetof (gpb_job_t, deadline)) : NULL;
}

void
gpb_jobs_orphan (gpb_jobs_t *self, uint64_t connection)
{
    for (uint32_t number = 0; number < GPB_JOBS_MAX; number++) {
        gpb_job_t *job = &self->jobs [number];
        if (s_is_taken (job) && job->owner.connection == connection) {
            job->connection = NULL;
            gpb_jobs_answered (self, job);
        }
    }
}
