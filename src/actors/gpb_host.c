//  gpb_host - the persistent kernels of one device as an actor
//
//  A message waits here, in a queue of its kernel's, until a lane that may have it has room; then
//  it is copied into the lane's ring, and its answer out of there. While an answer is due the host
//  looks at the rings without waiting, for `persistent_spin_us` after it last saw one; after that
//  it waits for its sockets, and a timer has it look again at growing intervals, up to a
//  millisecond, since a kernel has no way to wake it. With nothing due it only waits.
//
//  Lanes come to the device when messages wait for them, and go when they idle. A client that
//  leaves takes along what waits, and what its lane has not begun. A handler that does not return
//  costs its lane or, in a process that is there for that, the process.
//
//  A host that could not open its device answers every command with the reason. $TERM refuses what
//  is new, answers what is here, and parks every lane before the device is let go.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_host_private.h"

#include "gpb_alloc.h"
#include "gpb_clock.h"
#include "gpb_log.h"
#include "gpb_signals.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define BATCH 64       //  requests between two looks at the rings
#define PIPE_ITEM 0    //  of the poller
#define DONE_ITEM 1    //  a lane has returned, or a launch of its own is done
#define TIMER_ITEM 2
#define ROUTER_ITEM 3
#define MONITOR_ITEM 4
#define STOP_LINGER_MS 1000            //  for the last answers to leave over tcp
#define PAUSE_MIN_NS (50 * 1000ULL)    //  between looks at the rings: less is spinning
#define PAUSE_MAX_NS (1000 * 1000ULL)
#define LOOKS 64    //  at the rings between two at the sockets, while it spins

static void
s_handle_goodbye (void *actor, gpb_call_t *call)
{
    gpb_host_t *self = actor;
    gpb_owner_t owner = call->owner;
    gpb_connection_t *connection = call->connection;
    gpb_call_done (self->service, call);
    gpb_host_drop_owner (self, &owner);
    if (!owner.behind)
        gpb_router_end (gpb_service_router (self->service), connection);
}

static const gpb_handler_t s_handlers [] = {
    { GPB__V1__REQUEST__BODY_EXECUTE, gpb_host_handle_execute },
    { GPB__V1__REQUEST__BODY_CANCEL, gpb_host_handle_cancel },
    { GPB__V1__REQUEST__BODY_GOODBYE, s_handle_goodbye },
    { GPB__V1__REQUEST__BODY_HELLO, gpb_host_handle_hello },
    { GPB__V1__REQUEST__BODY_KERNELS, gpb_host_handle_kernels },
    { GPB__V1__REQUEST__BODY_STATS, gpb_host_handle_stats },
    { GPB__V1__REQUEST__BODY_REGISTER_KERNEL, gpb_host_handle_register },
};

//  ---------------------------------------------------------------------------------------------------------
//  Commands of the pipe

static gpb_status_t
s_command (void *actor, char **words, size_t count, gpb_error_t *error)
{
    gpb_host_t *self = actor;
    if (count == 1 && streq (words [0], "PARK"))
        return gpb_host_hold (self, error);
    if (count == 1 && streq (words [0], "RESUME")) {
        self->is_held = false;
        return GPB_OK;
    }
    return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                          "%s: expected BIND ENDPOINT, PARK, RESUME or $TERM", words [0]);
}

//  ---------------------------------------------------------------------------------------------------------
//  The life of the actor

static void
s_configure (gpb_host_t *self)
{
    const gpb_config_t *config = self->config;
    unsigned most = (unsigned) gpb_config_number (config, "resident_lanes");
    self->seats_count = most && most < self->shared->lanes ? most : self->shared->lanes;
    self->idle_ns = gpb_config_number (config, "persistent_idle_ms") * GPB_NS_PER_MS;
    self->spin_ns = gpb_config_number (config, "persistent_spin_us") * 1000;
    self->timeout_ns = gpb_config_number (config, "kernel_timeout_ms") * GPB_NS_PER_MS;
    self->max_waiting = gpb_config_number (config, "persistent_queue_requests");
    self->max_waiting_size = gpb_config_number (config, "persistent_queue_size");
    self->memory_size = gpb_config_number (config, "persistent_memory");
}

static void
s_open (gpb_host_t *self, const gpb_host_start_t *start)
{
    gpb_error_t *error = &self->failure;
    if (!self->config) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a kernel host");
        return;
    }
    const gpb_config_t *config = self->config;
    if (start->shared)
        self->shared = gpb_shared_context_retain (start->shared);
    else
        self->shared =
            gpb_shared_context_open (gpb_config_string (config, "backends"), start->args.index, 1,
                                     gpb_config_bool (config, "profiling"), error);
    if (!self->shared)
        return;
    s_configure (self);
    if (gpb_host_open_kernels (self, error) != GPB_OK)
        return;
    self->timer_fd = timerfd_create (CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    self->node = gpb_node_name (config);
    if (self->timer_fd < 0 || !self->node) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no timer or name for a kernel host: %s",
                       strerror (errno));
        return;
    }
    self->service = gpb_service_new (config, s_handlers, sizeof s_handlers / sizeof s_handlers [0],
                                     self, error);
    if (!self->service)
        return;
    gpb_router_t *router = gpb_service_router (self->service);
    gpb_router_set_carrier (router, start->carrier);
    gpb_poller_add_socket (&self->poller, zsock_resolve (self->pipe));
    gpb_poller_add_fd (&self->poller, self->shared->host_fd);
    gpb_poller_add_fd (&self->poller, self->timer_fd);
    gpb_poller_add_socket (&self->poller, gpb_router_socket (router));
    gpb_poller_add_socket (&self->poller, gpb_router_monitor (router));
    gpb_host_preload (self);
}

static void
s_drop_ended (gpb_host_t *self)
{
    gpb_connection_t *ended;
    while ((ended = gpb_router_ended (gpb_service_router (self->service)))) {
        gpb_owner_t owner = { .connection = ended->number };
        gpb_host_drop_owner (self, &owner);
    }
}

static int
s_shorter (int one_ms, int other_ms)
{
    if (one_ms < 0 || other_ms < 0)
        return one_ms < 0 ? other_ms : one_ms;
    return one_ms < other_ms ? one_ms : other_ms;
}

//  An answer is due, and none has come for a while: the timer has us look again.
static void
s_pause (gpb_host_t *self)
{
    struct itimerspec in = { .it_value = { 0, (long) self->pause_ns } };
    timerfd_settime (self->timer_fd, 0, &in, NULL);
    self->pause_ns = 2 * self->pause_ns < PAUSE_MAX_NS ? 2 * self->pause_ns : PAUSE_MAX_NS;
}

//  Looks at the rings alone for a moment. True: there is an answer.
static bool
s_spin (gpb_host_t *self)
{
    for (unsigned look = 0; look < LOOKS; look++) {
        if (gpb_host_is_answered (self))
            return true;
#if defined(__x86_64__)
        __builtin_ia32_pause ();
#endif
    }
    return false;
}

//  Waits for something to do.
static void
s_wait (gpb_host_t *self)
{
    gpb_router_t *router = gpb_service_router (self->service);
    gpb_poller_t *poller = &self->poller;
    gpb_poller_pause (poller, PIPE_ITEM, self->stop_ns != 0);
    if (gpb_router_is_touched (router))
        gpb_poller_touch (poller, ROUTER_ITEM);
    int timeout_ms = s_shorter (gpb_host_check_deadlines (self), gpb_host_check_lanes (self));
    timeout_ms = s_shorter (timeout_ms, gpb_router_next_timeout (router));
    if (self->stop_ns)
        timeout_ms = s_shorter (timeout_ms, gpb_wait_ms (gpb_clock_ns (), self->stop_ns));
    if (gpb_host_is_due (self)) {
        if (gpb_clock_ns () - self->progress_ns < self->spin_ns) {
            self->pause_ns = PAUSE_MIN_NS;
            timeout_ms = 0;
            if (s_spin (self))
                return;    //  the sockets are looked at after the answers have left
        }
        else
            s_pause (self);
    }
    gpb_poller_wait (poller, timeout_ms);
}

static void
s_empty (int fd)
{
    uint64_t count;
    ssize_t size = read (fd, &count, sizeof count);
    (void) size;    //  nothing to read is fine: what is done is looked at anyway
}

//  Where nothing is due, one request alone: its answer is there before a look at the empty socket,
//  two system calls, has said that there is no other.
static void
s_receive (gpb_host_t *self)
{
    const size_t most = gpb_host_is_due (self) ? BATCH : 1;
    if (gpb_service_receive (self->service, most) == most)
        gpb_poller_touch (&self->poller, ROUTER_ITEM);
}

//  One round: waits for something to do, and does it. False: $TERM.
static bool
s_round (gpb_host_t *self)
{
    s_wait (self);
    gpb_poller_t *poller = &self->poller;
    bool go_on = true;
    if (gpb_poller_take (poller, PIPE_ITEM) && zsock_events (self->pipe) & ZMQ_POLLIN) {
        go_on = gpb_service_command (self->service, self->pipe, s_command);
        gpb_poller_touch (poller, PIPE_ITEM);
    }
    if (gpb_poller_take (poller, TIMER_ITEM))
        s_empty (self->timer_fd);
    gpb_host_collect (self);
    if (gpb_poller_take (poller, DONE_ITEM)) {
        s_empty (self->shared->host_fd);
        gpb_host_settle (self);
        gpb_host_collect_launched (self);
        gpb_host_reap (self);
    }
    if (go_on && gpb_poller_take (poller, ROUTER_ITEM))
        s_receive (self);
    if (gpb_poller_take (poller, MONITOR_ITEM)
        || gpb_router_next_timeout (gpb_service_router (self->service)) == 0)
        s_drop_ended (self);
    gpb_host_dispatch (self);
    return go_on;
}

//  What is here is answered, within the time that the configuration gives; then what is left is
//  refused.
static void
s_drain (gpb_host_t *self)
{
    gpb_service_refuse_all (self->service, GPB_UNAVAILABLE, "the kernel host is stopping");
    self->stop_ns = gpb_clock_ns () + gpb_config_number (self->config, "drain_ms") * GPB_NS_PER_MS;
    while (self->unanswered > 0 && gpb_clock_ns () < self->stop_ns)
        s_round (self);
    gpb_error_t error;
    gpb_error_set (&error, GPB_UNAVAILABLE, "the kernel host stopped before the request was done");
    gpb_host_fail_all (self, &error);
    //  What nobody has read yet is refused, but a client that never stops asking stops nobody.
    gpb_service_receive (self->service, self->max_waiting);
}

static void
s_stop (gpb_host_t *self)
{
    const uint64_t now_ns = gpb_clock_ns ();
    uint64_t left_ms = self->stop_ns > now_ns ? (self->stop_ns - now_ns) / GPB_NS_PER_MS : 0;
    if (self->service)
        gpb_host_park_all (self, left_ms + STOP_LINGER_MS);
    gpb_service_destroy (&self->service, STOP_LINGER_MS);
    if (!gpb_host_close_kernels (self)) {
        gpb_log (self->config, GPB_LOG_ERROR,
                 "device %u: a persistent kernel did not return in time, and keeps its memory",
                 self->shared->index);
        gpb_alloc_keep (self->kernels);
        gpb_shared_context_abandon (&self->shared);
    }
    gpb_host_clear_tasks (self);
    gpb_cache_destroy (&self->cache);
    if (self->shared)
        gpb_kernels_destroy (&self->kernels);
    gpb_shared_context_release (&self->shared);
    if (self->timer_fd >= 0)
        close (self->timer_fd);
    gpb_hello_clear (&self->hello);
    gpb_free (self->node);
    gpb_config_destroy (&self->config);
}

void
gpb_host_run (zsock_t *pipe, const gpb_host_start_t *start)
{
    gpb_signals_block ();
    gpb_host_t self = { .pipe = pipe, .timer_fd = -1, .pause_ns = PAUSE_MIN_NS };
    self.config = start->args.config ? gpb_config_dup (start->args.config) : gpb_config_new ();
    self.stuck = start->stuck;
    self.stuck_context = start->stuck_context;
    const gpb_host_start_t copy = *start;    //  gone once the starter goes on
    zsock_signal (pipe, 0);
    s_open (&self, &copy);

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
gpb_host (zsock_t *pipe, void *args)
{
    gpb_host_start_t start = { .args = { .index = 0 } };
    if (args)
        start.args = *(const gpb_host_args_t *) args;
    gpb_host_run (pipe, &start);
}
