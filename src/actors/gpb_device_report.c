//  gpb_device_report - what a device says about itself
//
//  Its description, kernels and figures. Most of the figures are its pool's: who asks for them
//  waits until that has answered, in a job without work.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_device_private.h"

#include "gpb_clock.h"

static void
s_describe (gpb_device_t *self, gpb_described_device_t *described)
{
    gpb_describe_device (described, &self->shared->info, self->shared->backend);
    described->message.index = self->shared->index;
    described->message.state = GPB__V1__DEVICE_STATE__READY;
    described->message.available_memory = gpb_device_available (self);
    described->message.running_ns = gpb_jobs_running_ns (self->jobs, gpb_clock_ns ());
}

void
gpb_device_handle_devices (void *actor, gpb_call_t *call)
{
    gpb_device_t *self = actor;
    gpb_described_device_t described;
    s_describe (self, &described);
    Gpb__V1__Device *devices [] = { &described.message };
    Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
    Gpb__V1__DeviceList list = GPB__V1__DEVICE_LIST__INIT;
    list.node = self->node;
    list.n_devices = 1;
    list.devices = devices;
    reply.body_case = GPB__V1__REPLY__BODY_DEVICES;
    reply.devices = &list;
    gpb_call_reply (self->service, call, &reply);
}

//  Most of the figures are the pool's: the request waits for it, in a job without work.
void
gpb_device_handle_stats (void *actor, gpb_call_t *call)
{
    gpb_device_t *self = actor;
    gpb_error_t error;
    if (gpb_device_check_new (self, call, &error) != GPB_OK) {
        gpb_call_refuse (self->service, call, &error);
        return;
    }
    gpb_job_t *job = gpb_jobs_take (self->jobs, call);
    self->stats_asked++;
    gpb_rentals_ask_stats (self->rentals, (gpb_ticket_t){ job->number, job->generation });
}

//  The pool's figures are there: ours go with them.
void
gpb_device_answer_stats (gpb_device_t *self, gpb_job_t *job, const zmq_msg_t *header)
{
    gpb_error_t error;
    const Gpb__V1__Reply *answer = gpb_codec_reply (self->codec, header, &error);
    self->stats_asked--;
    if (!answer || !answer->stats || answer->stats->n_pools != 1) {
        if (answer)
            gpb_error_set (&error, GPB_INTERNAL, "the pool does not say its figures: %s",
                           answer->message);
        gpb_device_job_refuse (self, job, &error);
        return;
    }
    Gpb__V1__PoolStats *pool = answer->stats->pools [0];
    gpb_blocks_figures_t blocks;
    gpb_blocks_figures (self->workshop.blocks, &blocks);
    pool->launch_in_use = blocks.in_use;
    pool->launch_kept = blocks.kept;
    pool->launch_held = blocks.in_use + blocks.kept;
    pool->launch_hits = blocks.hits;
    pool->launch_misses = blocks.misses;
    pool->reservations = gpb_reservations_count (self->reservations);
    pool->reserved = gpb_reservations_undrawn (self->reservations);

    gpb_described_device_t described;
    s_describe (self, &described);
    Gpb__V1__Device *devices [] = { &described.message };
    Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
    Gpb__V1__StatsReply stats = GPB__V1__STATS_REPLY__INIT;
    stats.node = self->node;
    stats.n_devices = 1;
    stats.devices = devices;
    stats.n_pools = 1;
    stats.pools = &pool;
    const gpb_programs_figures_t *figures = gpb_programs_figures (self->programs);
    Gpb__V1__CompileStats compile = GPB__V1__COMPILE_STATS__INIT;
    compile.device = self->shared->index;
    compile.compiled = figures->compiled;
    compile.from_disk = figures->from_disk;
    compile.shared = figures->shared;
    compile.failed = figures->failed;
    Gpb__V1__CompileStats *compiles [] = { &compile };
    stats.n_compiles = 1;
    stats.compiles = compiles;
    stats.in_flight = GPB_JOBS_MAX - gpb_jobs_room (self->jobs) - self->stats_asked - 1;
    reply.id = job->id;
    reply.body_case = GPB__V1__REPLY__BODY_STATS;
    reply.stats = &stats;
    if (!job->answered)
        gpb_service_reply (self->service, job->connection, &job->message, &reply);
    gpb_device_job_free (self, job);
}

void
gpb_device_handle_kernels (void *actor, gpb_call_t *call)
{
    gpb_device_t *self = actor;
    gpb_answer_kernels (self->service, call, gpb_programs_kernels (self->programs));
}

void
gpb_device_handle_hello (void *actor, gpb_call_t *call)
{
    gpb_device_t *self = actor;
    gpb_answer_hello (&self->hello, self->service, call, self->node, self->config);
}
