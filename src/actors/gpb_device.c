//  gpb_device - one device as an actor
//
//  Owns an open device (shared with its pool), the kernels compiled for it, and the jobs that are
//  on it. A request becomes a job on one of its streams at once, so that copies and launches of
//  different requests overlap: requests on rented memory all go to stream 0, which keeps their
//  order; others to the emptiest of the rest. The backend wakes the actor through an eventfd when a
//  job's last command is done; the answer goes back the way the request came.
//
//  Memory is rented by the pool, on its own thread: the device passes the request on in the name of
//  its owner, and notes the lease that comes back. A release waits until no job uses the buffer.
//  Memory is reserved here (gpb_reservations): what is set aside and not drawn is refused to rents
//  and launches that do not name it. When an owner says goodbye, or its connection ends, what it
//  rented is released, and what it reserved is free. What it has in flight runs to its end: with
//  nobody to tell, or answered to the broker that sent it.
//
//  A device that could not be opened answers every command with the reason. $TERM refuses what is
//  new, waits for what is on the device, and stops the pool before the device is closed.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_device_private.h"

#include "gpb_alloc.h"
#include "gpb_clock.h"
#include "gpb_log.h"
#include "gpb_registration.h"
#include "gpb_signals.h"

#include <inttypes.h>
#include <limits.h>
#include <unistd.h>

#define BATCH 64       //  requests between two looks at what is done
#define PIPE_ITEM 0    //  of the poller
#define DONE_ITEM 1    //  a job's last command is done
#define RENTALS_ITEM 2
#define ROUTER_ITEM 3
#define MONITOR_ITEM 4
#define STOP_LINGER_MS 1000      //  for the last answers to leave over tcp
#define KEEP_SHARE 4             //  of the device, for launches: what the pool keeps by default too
#define UNANNOUNCED_POLL_MS 1    //  for jobs whose enqueuing broke off: rare, and soon over

//  ---------------------------------------------------------------------------------------------------------
//  Requests that are the actor's own

//  An owner has left: what it rented goes back. What its own connection has in flight has nobody to
//  tell; what a broker has sent for it is answered all the same, since the broker's book, and its
//  credits, wait for every answer.
static void
s_drop_owner (gpb_device_t *self, const gpb_owner_t *owner)
{
    if (!owner->behind)
        gpb_jobs_orphan (self->jobs, owner->connection);
    gpb_rentals_drop (self->rentals, owner);
    gpb_reservations_drop (self->reservations, owner);
}

static void
s_handle_goodbye (void *actor, gpb_call_t *call)
{
    gpb_device_t *self = actor;
    gpb_owner_t owner = call->owner;
    gpb_connection_t *connection = call->connection;
    gpb_call_done (self->service, call);
    s_drop_owner (self, &owner);
    if (!owner.behind)
        gpb_router_end (gpb_service_router (self->service), connection);
}

static void
s_handle_cancel (void *actor, gpb_call_t *call)
{
    gpb_device_t *self = actor;
    uint64_t id = call->request->cancel->id;
    gpb_error_t error;
    gpb_job_t *found = gpb_jobs_find (self->jobs, &call->owner, id);
    if (!found) {
        gpb_error_set (&error, GPB_NOT_FOUND,
                       "request %" PRIu64 " of this connection is not in flight", id);
        gpb_call_refuse (self->service, call, &error);
        return;
    }
    gpb_error_set (&error, GPB_CANCELLED, "the client took the request back");
    gpb_device_answer_early (self, found, &error);
    gpb_call_done (self->service, call);
}

static void
s_handle_register (void *actor, gpb_call_t *call)
{
    gpb_device_t *self = actor;
    const Gpb__V1__RegisterKernel *request = call->request->register_kernel;
    gpb_error_t error;
    gpb_status_t status = gpb_registration_allow (self->config, &error);
    if (status == GPB_OK)
        status = gpb_programs_register (self->programs, request->definition, request->source,
                                        request->replace, request->check, &error);
    if (status != GPB_OK) {
        gpb_call_refuse (self->service, call, &error);
        return;
    }
    gpb_call_done (self->service, call);
}

static void
s_host (zsock_t *pipe, void *start)
{
    gpb_host_run (pipe, start);
}

//  Parks the persistent kernels of this device, or lets them come back.
static gpb_status_t
s_alone (void *actor, bool begins, gpb_error_t *error)
{
    gpb_device_t *self = actor;
    if (!self->host)
        return GPB_OK;
    return gpb_pipe_ask (self->host, (const char *[]){ begins ? "PARK" : "RESUME", NULL }, error);
}

//  HOST: binds the kernel host of this device, which is started with the first.
static gpb_status_t
s_command (void *actor, char **words, size_t count, gpb_error_t *error)
{
    gpb_device_t *self = actor;
    if (count != 2 || !streq (words [0], "HOST"))
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "%s: expected BIND ENDPOINT, HOST ENDPOINT or $TERM", words [0]);
    if (!self->host) {
        gpb_host_start_t start = { .args = { self->config, self->shared->index },
                                   .shared = self->shared,
                                   .carrier = self->apart.host,
                                   .stuck = self->apart.stuck,
                                   .stuck_context = self->apart.stuck_context };
        self->host = zactor_new (s_host, &start);
    }
    return gpb_pipe_ask (self->host, (const char *[]){ "BIND", words [1], NULL }, error);
}

static const gpb_handler_t s_handlers [] = {
    { GPB__V1__REQUEST__BODY_EXECUTE, gpb_device_handle_execute },
    { GPB__V1__REQUEST__BODY_READ, gpb_device_handle_transfer },
    { GPB__V1__REQUEST__BODY_WRITE, gpb_device_handle_transfer },
    { GPB__V1__REQUEST__BODY_COPY, gpb_device_handle_transfer },
    { GPB__V1__REQUEST__BODY_RENT, gpb_device_handle_rent },
    { GPB__V1__REQUEST__BODY_RELEASE, gpb_device_handle_release },
    { GPB__V1__REQUEST__BODY_RESERVE, gpb_device_handle_reserve },
    { GPB__V1__REQUEST__BODY_RENEW, gpb_device_handle_renew },
    { GPB__V1__REQUEST__BODY_UNRESERVE, gpb_device_handle_unreserve },
    { GPB__V1__REQUEST__BODY_MAP, gpb_device_handle_map },
    { GPB__V1__REQUEST__BODY_UNMAP, gpb_device_handle_unmap },
    { GPB__V1__REQUEST__BODY_CANCEL, s_handle_cancel },
    { GPB__V1__REQUEST__BODY_GOODBYE, s_handle_goodbye },
    { GPB__V1__REQUEST__BODY_HELLO, gpb_device_handle_hello },
    { GPB__V1__REQUEST__BODY_DEVICES, gpb_device_handle_devices },
    { GPB__V1__REQUEST__BODY_KERNELS, gpb_device_handle_kernels },
    { GPB__V1__REQUEST__BODY_STATS, gpb_device_handle_stats },
    { GPB__V1__REQUEST__BODY_REGISTER_KERNEL, s_handle_register },
};

//  ---------------------------------------------------------------------------------------------------------
//  The life of the actor

static void
s_open (gpb_device_t *self, unsigned index)
{
    gpb_error_t *error = &self->failure;
    if (!self->config) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a device");
        return;
    }
    const gpb_config_t *config = self->config;
    unsigned streams = (unsigned) gpb_config_number (config, "streams");
    self->shared = gpb_shared_context_open (gpb_config_string (config, "backends"), index, streams,
                                            gpb_config_bool (config, "profiling"), error);
    if (!self->shared)
        return;
    self->programs = gpb_programs_new (self->shared, gpb_config_string (config, "kernel_path"),
                                       gpb_config_string (config, "cache_directory"),
                                       gpb_config_number (config, "cache_size"), error);
    if (self->programs && error->status != GPB_OK)
        gpb_log (config, GPB_LOG_WARNING, "device %u: %s", index, error->text);
    const uint64_t keep = gpb_config_number (config, "keep_max_size");
    if (self->programs)
        gpb_programs_set_alone (self->programs, s_alone, self);
    if (self->programs && streq (gpb_config_string (config, "compile"), "never"))
        gpb_programs_forbid_compiling (self->programs);
    if (self->programs)
        self->workshop.blocks =
            gpb_blocks_new (self->shared,
                            keep ? keep : self->shared->info.total_memory / KEEP_SHARE, error);
    if (self->workshop.blocks)
        self->reservations =
            gpb_reservations_new (index,
                                  (size_t) gpb_config_number (config, "max_client_reservations"),
                                  gpb_config_number (config, "reserve_max_ms"), error);
    if (self->reservations)
        self->codec = gpb_codec_new (error);
    if (self->codec)
        self->rentals = gpb_rentals_new (config, self->shared, self->reservations, error);
    if (!self->rentals)
        return;
    gpb_log (config, GPB_LOG_INFO, "device %u: %s (%s)", index, self->shared->info.name,
             self->shared->backend);
    self->workshop.shared = self->shared;
    self->workshop.rentals = self->rentals;
    self->workshop.admit = gpb_device_admit;
    self->workshop.admit_context = self;
    self->node = gpb_node_name (config);
    if (!self->node) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a device's name");
        return;
    }
    self->jobs = gpb_jobs_new (self->shared->streams, error);
    if (!self->jobs)
        return;
    self->service = gpb_service_new (config, s_handlers, sizeof s_handlers / sizeof s_handlers [0],
                                     self, error);
    if (!self->service)
        return;
    gpb_router_t *router = gpb_service_router (self->service);
    gpb_poller_add_socket (&self->poller, zsock_resolve (self->pipe));
    gpb_poller_add_fd (&self->poller, self->shared->device_fd);
    gpb_poller_add_socket (&self->poller, gpb_rentals_socket (self->rentals));
    gpb_poller_add_socket (&self->poller, gpb_router_socket (router));
    gpb_poller_add_socket (&self->poller, gpb_router_monitor (router));
}

static void
s_drop_ended (gpb_device_t *self)
{
    gpb_connection_t *ended;
    while ((ended = gpb_router_ended (gpb_service_router (self->service)))) {
        gpb_owner_t owner = { .connection = ended->number };
        s_drop_owner (self, &owner);
    }
}

//  Answers jobs whose time is up, and gives the time in ms until the next one's is; -1: none.
static int
s_check_deadlines (gpb_device_t *self)
{
    uint64_t now_ns = gpb_clock_ns ();
    gpb_job_t *job;
    while ((job = gpb_jobs_earliest (self->jobs)) && job->deadline.key <= now_ns) {
        gpb_error_t error;
        gpb_error_set (&error, GPB_DEADLINE_EXCEEDED,
                       "the request's time was up while the device worked on it");
        gpb_device_answer_early (self, job, &error);
    }
    return job ? gpb_wait_ms (now_ns, job->deadline.key) : -1;
}

//  Ends reservations whose time is up, and gives the time in ms until the next one's is; -1: none.
static int
s_check_reservations (gpb_device_t *self)
{
    uint64_t now_ns = gpb_clock_ns ();
    uint64_t end_ns = gpb_reservations_expire (self->reservations, now_ns);
    return end_ns < UINT64_MAX ? gpb_wait_ms (now_ns, end_ns) : -1;
}

static int
s_shorter (int one_ms, int other_ms)
{
    if (one_ms < 0 || other_ms < 0)
        return one_ms < 0 ? other_ms : one_ms;
    return one_ms < other_ms ? one_ms : other_ms;
}

static void
s_finish (gpb_device_t *self)
{
    uint64_t count;
    ssize_t size = read (self->shared->device_fd, &count, sizeof count);
    (void) size;    //  nothing to read is fine: what is done is looked at anyway
    gpb_device_answer_done (self);
}

//  Waits for something to do. With all jobs taken, requests wait in the socket: backpressure for
//  who asks without a broker. The monitor and the leases are looked at while requests are read, so
//  they wait as well.
static void
s_wait (gpb_device_t *self)
{
    gpb_router_t *router = gpb_service_router (self->service);
    gpb_poller_t *poller = &self->poller;
    const bool has_room = gpb_jobs_room (self->jobs) > 0;
    gpb_poller_pause (poller, ROUTER_ITEM, !has_room);
    gpb_poller_pause (poller, MONITOR_ITEM, !has_room);
    gpb_poller_pause (poller, PIPE_ITEM, self->stop_ns != 0);
    if (gpb_router_is_touched (router))
        gpb_poller_touch (poller, ROUTER_ITEM);
    if (gpb_rentals_is_touched (self->rentals))
        gpb_poller_touch (poller, RENTALS_ITEM);
    int timeout_ms = s_shorter (s_check_deadlines (self), s_check_reservations (self));
    if (has_room)
        timeout_ms = s_shorter (timeout_ms, gpb_router_next_timeout (router));
    if (self->stop_ns)
        timeout_ms = s_shorter (timeout_ms, gpb_wait_ms (gpb_clock_ns (), self->stop_ns));
    if (gpb_jobs_is_unannounced (self->jobs))
        timeout_ms = s_shorter (timeout_ms, UNANNOUNCED_POLL_MS);
    gpb_poller_wait (poller, timeout_ms);
}

//  One round: waits for something to do, and does it. False: $TERM.
static bool
s_round (gpb_device_t *self)
{
    s_wait (self);
    gpb_poller_t *poller = &self->poller;
    bool go_on = true;
    if (gpb_poller_take (poller, PIPE_ITEM) && zsock_events (self->pipe) & ZMQ_POLLIN) {
        go_on = gpb_service_command (self->service, self->pipe, s_command);
        gpb_poller_touch (poller, PIPE_ITEM);
    }
    if (gpb_poller_take (poller, DONE_ITEM) || gpb_jobs_is_unannounced (self->jobs))
        s_finish (self);
    if (gpb_poller_take (poller, RENTALS_ITEM))
        gpb_device_recv_from_pool (self);
    s_check_reservations (self);    //  those that ended while it waited are not found any more
    size_t room = gpb_jobs_room (self->jobs), most = room < BATCH ? room : BATCH;
    if (go_on && most && gpb_poller_take (poller, ROUTER_ITEM))
        gpb_service_receive (self->service, most);
    if (gpb_poller_take (poller, MONITOR_ITEM)
        || gpb_router_next_timeout (gpb_service_router (self->service)) == 0)
        s_drop_ended (self);
    gpb_device_answer_done (
        self);    //  what needed no command, or was quick, is answered in this round
    return go_on;
}

//  What is on the device runs to its end, within the time that the configuration gives; then what
//  is left is answered.
static void
s_drain (gpb_device_t *self)
{
    gpb_service_refuse_all (self->service, GPB_UNAVAILABLE, "the device is stopping");
    self->stop_ns = gpb_clock_ns () + gpb_config_number (self->config, "drain_ms") * GPB_NS_PER_MS;
    while (gpb_jobs_room (self->jobs) < GPB_JOBS_MAX && gpb_clock_ns () < self->stop_ns)
        s_round (self);
    gpb_error_t error;
    gpb_error_set (&error, GPB_UNAVAILABLE, "the device stopped before the request was done");
    gpb_job_t *job;
    while ((job = gpb_jobs_earliest (self->jobs)))
        gpb_device_answer_early (self, job, &error);
    //  What nobody has read yet is refused, but a client that never stops asking stops nobody.
    gpb_service_receive (self->service, gpb_config_number (self->config, "max_queued_requests"));
}

static void
s_stop (gpb_device_t *self)
{
    zactor_destroy (&self->host);
    gpb_service_destroy (&self->service, STOP_LINGER_MS);
    //  What a kernel that never ends works with can never be given back, nor its context closed:
    //  both are left to the end of the process, which is the lesser evil beside waiting for ever.
    if (self->jobs && !gpb_jobs_is_idle (self->jobs)) {
        gpb_log (self->config, GPB_LOG_ERROR,
                 "device %u: a kernel did not end in time, and keeps its memory",
                 self->shared->index);
        gpb_rentals_abandon (&self->rentals);
        gpb_shared_context_abandon (&self->shared);
        gpb_hello_clear (&self->hello);
        gpb_free (self->node);
        gpb_config_destroy (&self->config);
        return;
    }
    gpb_jobs_destroy (&self->jobs, &self->workshop);
    gpb_rentals_destroy (&self->rentals);
    gpb_reservations_destroy (&self->reservations);
    gpb_codec_destroy (&self->codec);
    gpb_blocks_destroy (&self->workshop.blocks);
    gpb_programs_destroy (&self->programs);
    if (self->shared)
        gpb_shared_context_release (&self->shared);
    gpb_hello_clear (&self->hello);
    gpb_free (self->node);
    gpb_config_destroy (&self->config);
}

void
gpb_device_run (zsock_t *pipe, const gpb_device_args_t *args, const gpb_device_apart_t *apart)
{
    gpb_signals_block ();
    unsigned index = args->index;
    gpb_device_t self = { .pipe = pipe };
    if (apart)
        self.apart = *apart;
    self.config = args->config ? gpb_config_dup (args->config) : gpb_config_new ();
    zsock_signal (pipe, 0);
    s_open (&self, index);
    if (self.service)
        gpb_router_set_carrier (gpb_service_router (self.service), self.apart.device);

    bool go_on = true;
    while (go_on && !self.service)
        go_on = gpb_pipe_refuse (pipe, &self.failure);
    while (go_on)
        go_on = s_round (&self);
    if (self.service)
        s_drain (&self);
    s_stop (&self);
}

void
gpb_device (zsock_t *pipe, void *args)
{
    gpb_device_run (pipe, args, NULL);
}
