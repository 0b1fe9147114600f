//  gpb_jobs - the jobs of one device: which places are taken, and what is on which stream
//
//  A device has a fixed number of places. With all of them taken it reads no more requests, which
//  then wait in its socket: that is the bound for whoever asks without a broker. One thread: the
//  device's.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_JOBS_H_INCLUDED
#define GPB_JOBS_H_INCLUDED

#include "gpb_job.h"

#define GPB_JOBS_MAX 128    //  twice a broker's largest credit

typedef struct _gpb_jobs_t gpb_jobs_t;

//  NULL only when memory runs out.
gpb_jobs_t *gpb_jobs_new (unsigned streams, gpb_error_t *error);

//  What jobs still have goes back; nothing may be on a stream.
void gpb_jobs_destroy (gpb_jobs_t **self_p, const gpb_workshop_t *shop);

//  How many places are free.
size_t gpb_jobs_room (const gpb_jobs_t *self);

//  Gives the request of a call a place, taking its frames. There must be room.
gpb_job_t *gpb_jobs_take (gpb_jobs_t *self, gpb_call_t *call);

//  The place is free again; what the job still has goes back. It is on no stream.
void gpb_jobs_free (gpb_jobs_t *self, const gpb_workshop_t *shop, gpb_job_t *job);

//  The stream for a job: 0 for those bound to rented memory, which so keep their order; else the
//  one of the others that has the least.
unsigned gpb_jobs_choose_stream (const gpb_jobs_t *self, bool is_bound);

//  The job's commands are on its stream.
void gpb_jobs_enqueue (gpb_jobs_t *self, gpb_job_t *job);

//  A job whose commands are all done, off its stream now; NULL: none.
gpb_job_t *gpb_jobs_done (gpb_jobs_t *self, const gpb_workshop_t *shop);

//  Whether a job is on a stream for which no notification will come, so that it is to be looked at
//  from time to time.
bool gpb_jobs_is_unannounced (const gpb_jobs_t *self);

//  How long, in ns, the job that has been the first of its stream longest has been that: by then
//  the device has nothing before it. Counted from when its commands were enqueued, or the one
//  before it was done. 0: nothing is on any stream.
uint64_t gpb_jobs_running_ns (const gpb_jobs_t *self, uint64_t now_ns);

//  Whether nothing is on any stream.
bool gpb_jobs_is_idle (const gpb_jobs_t *self);

//  NULL where the place has been used for another since.
gpb_job_t *gpb_jobs_at (gpb_jobs_t *self, uint32_t number, uint32_t generation);

//  The unanswered job of an owner with this id, or NULL.
gpb_job_t *gpb_jobs_find (gpb_jobs_t *self, const gpb_owner_t *owner, uint64_t id);

//  The job has been answered: it has no deadline any more.
void gpb_jobs_answered (gpb_jobs_t *self, gpb_job_t *job);

//  The unanswered job whose deadline is the earliest, or NULL.
gpb_job_t *gpb_jobs_earliest (gpb_jobs_t *self);

//  A connection has ended: nobody waits for its jobs any more.
void gpb_jobs_orphan (gpb_jobs_t *self, uint64_t connection);

#endif
