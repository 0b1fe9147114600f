//  gpb_supervisor_process - the life of a device's process, from its start to its end
//
//  Every process has endpoints of its own, in a folder that only this user can enter, and shared
//  memory of its own. The old sockets are closed before anything is tried again, so that nothing of
//  one process reaches the next, and frames on the old memory keep that as long as they live.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_supervisor_private.h"

#include "gpb_alloc.h"
#include "gpb_clock.h"
#include "gpb_config_private.h"
#include "gpb_isolated.h"
#include "gpb_log.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define START_MS 60000        //  to open a device: drivers of large machines take some 10 s
#define REAP_MS 1             //  between two looks whether a killed process is gone
#define REAP_MAX_MS 1000      //  then its requests are answered, though a driver may hold it
#define STOP_GRACE_MS 1000    //  beside drain_ms, to close the device

//  The pause before a start: none for the first loss after a quiet time; then this, doubled with
//  each. A process that was up has crashed in a kernel, and its device is to be back within a
//  second; one that was not will hardly open its device the next time either.
#define PAUSE_MS 50
#define PAUSE_UP_MAX_MS 200
#define PAUSE_DOWN_MAX_MS 5000
#define QUIET_NS (10 * GPB_NS_PER_S)
#define FAILED_STARTS_MAX 3    //  in a row: then requests wait no longer for the device

static void
s_enter (gpb_supervisor_t *self, gpb_process_state_t state, uint64_t wait_ms)
{
    self->state = state;
    self->since_ns = gpb_clock_ns ();
    self->until_ns = self->since_ns + wait_ms * GPB_NS_PER_MS;
    //  What was not handed over was not begun, and waits in the socket.
    gpb_poller_pause (&self->poller, GPB_SUPERVISOR_BROKER, state != GPB_PROCESS_UP);
}

//  ---------------------------------------------------------------------------------------------------------
//  Its start

static gpb_status_t
s_make_folder (gpb_supervisor_t *self, gpb_error_t *error)
{
    if (self->folder [0])
        return GPB_OK;
    //  A path of a Unix socket has 107 characters at most.
    const char *runtime = getenv ("XDG_RUNTIME_DIR");
    const char *const parents [] = { runtime && runtime [0] == '/' ? runtime : "/tmp", "/tmp" };
    char *made = NULL;
    for (size_t index = 0; index < 2 && !made; index++) {
        int size = snprintf (self->folder, sizeof self->folder, "%s/gpb-XXXXXX", parents [index]);
        if (size > 0 && size < (int) sizeof self->folder)
            made = mkdtemp (self->folder);    //  0700
    }
    if (made)
        return GPB_OK;
    self->folder [0] = 0;
    return gpb_error_set (error, GPB_UNAVAILABLE, "no folder for a device's endpoint: %s",
                          strerror (errno));
}

//  A process that is gone by now has said why, or its end will.
static gpb_status_t
s_send_config (gpb_supervisor_t *self, gpb_error_t *error)
{
    char text [GPB_CHILD_MESSAGE_MAX];
    gpb_status_t status = gpb_config_write (self->config, text, sizeof text, error);
    if (status == GPB_OK)
        gpb_child_send (&self->child, text, NULL);
    return status;
}

//  Memory to share with one of the process's actors: for what it takes, and for what it gives.
static gpb_status_t
s_map (gpb_carriage_t *carriage, int shared [2], gpb_error_t *error)
{
    shared [0] = gpb_region_create (error);
    if (shared [0] >= 0)
        shared [1] = gpb_region_create (error);
    if (shared [1] >= 0)
        carriage->give = gpb_region_giver (shared [0], error);
    if (carriage->give)
        carriage->take = gpb_region_taker (shared [1], error);
    return carriage->take ? GPB_OK : error->status;
}

//  Maps memory to share, and starts a process with it.
static gpb_status_t
s_spawn (gpb_supervisor_t *self, gpb_error_t *error)
{
    if (s_make_folder (self, error) != GPB_OK)
        return error->status;
    snprintf (self->device.path, sizeof self->device.path, "%s/%" PRIu64, self->folder,
              ++self->processes);
    snprintf (self->host.path, sizeof self->host.path, "%s/%" PRIu64 GPB_ISOLATED_HOST,
              self->folder, self->processes);
    char index [16], endpoint [sizeof self->device.path + 8];
    snprintf (index, sizeof index, "%u", self->index);
    snprintf (endpoint, sizeof endpoint, "ipc://%s", self->device.path);
    const char *const arguments [] = { "device", index, endpoint, NULL };
    int shared [GPB_ISOLATED_REGIONS] = { -1, -1, -1, -1 };
    gpb_status_t status = s_map (&self->device.carriage, &shared [0], error);
    if (status == GPB_OK)
        status = s_map (&self->host.carriage, &shared [2], error);
    if (status == GPB_OK)
        status = gpb_child_start (&self->child, arguments, shared, GPB_ISOLATED_REGIONS, error);
    for (size_t region = 0; region < GPB_ISOLATED_REGIONS; region++)
        if (shared [region] >= 0)
            close (shared [region]);
    return status == GPB_OK ? s_send_config (self, error) : status;
}

void
gpb_supervisor_start (gpb_supervisor_t *self)
{
    gpb_error_t error = { GPB_OK, "" };
    self->why [0] = 0;
    self->has_said = false;
    s_enter (self, GPB_PROCESS_STARTING, START_MS);
    if (s_spawn (self, &error) == GPB_OK)
        gpb_poller_set_fd (&self->poller, GPB_SUPERVISOR_CONTROL, self->child.control);
    else
        gpb_supervisor_end (self, "%s", error.text);
}

static gpb_status_t
s_connect (gpb_supervisor_t *self, gpb_supervised_t *actor, gpb_error_t *error)
{
    actor->dealer = zsock_new (ZMQ_DEALER);
    if (!actor->dealer)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no socket for it: %s",
                              zmq_strerror (zmq_errno ()));
    zsock_set_linger (actor->dealer, 0);
    zsock_set_sndhwm (actor->dealer, 0);
    zsock_set_rcvhwm (actor->dealer, 0);
    if (zsock_connect (actor->dealer, "ipc://%s", actor->path) != 0)
        return gpb_error_set (error, GPB_UNAVAILABLE, "cannot connect to %s", actor->path);
    gpb_poller_set_socket (&self->poller, actor->item, zsock_resolve (actor->dealer));
    return GPB_OK;
}

static void
s_disconnect (gpb_supervisor_t *self, gpb_supervised_t *actor)
{
    zsock_destroy (&actor->dealer);
    gpb_poller_set_socket (&self->poller, actor->item, NULL);
}

//  After a loss, the broker takes the device for ready when it has its figures.
void
gpb_supervisor_up (gpb_supervisor_t *self, const char *no_host)
{
    gpb_error_t error;
    snprintf (self->no_host, sizeof self->no_host, "%s", no_host);
    if (s_connect (self, &self->device, &error) != GPB_OK
        || (!no_host [0] && s_connect (self, &self->host, &error) != GPB_OK))
    {
        gpb_supervisor_end (self, "%s", error.text);
        return;
    }
    s_enter (self, GPB_PROCESS_UP, 0);
    if (self->restarts) {
        gpb_log (self->config, GPB_LOG_INFO, "device %u: its process is up again", self->index);
        gpb_supervisor_ask_figures (self);
    }
}

//  ---------------------------------------------------------------------------------------------------------
//  Its end

void
gpb_supervisor_end (gpb_supervisor_t *self, const char *format, ...)
{
    if (self->state == GPB_PROCESS_ENDING)
        return;
    if (!self->why [0]) {
        va_list arguments;
        va_start (arguments, format);
        vsnprintf (self->why, sizeof self->why, format, arguments);
        va_end (arguments);
    }
    gpb_child_kill (&self->child);
    s_disconnect (self, &self->device);
    s_disconnect (self, &self->host);
    self->host_asked_ns = 0;
    gpb_poller_set_fd (&self->poller, GPB_SUPERVISOR_CONTROL, -1);
    const bool was_up = self->state == GPB_PROCESS_UP;
    self->failed_starts = was_up ? 0 : self->failed_starts + 1;
    if (was_up && gpb_clock_ns () - self->since_ns >= QUIET_NS)
        self->quick_losses = 0;
    self->is_told = false;
    s_enter (self, GPB_PROCESS_ENDING, REAP_MAX_MS);
}

//  Everybody who waits for the process is told; those who look at the device first, so that what is
//  run again waits for it.
static void
s_lost (gpb_supervisor_t *self, const char *how)
{
    gpb_error_t error;
    const char *why = self->why [0] ? self->why : how;
    self->is_told = true;
    self->restarts++;
    snprintf (self->reason, sizeof self->reason, "%s%s",
              self->has_said        ? ""
              : self->failed_starts ? "its process did not start: "
                                    : "its process was lost: ",
              why);
    gpb_log (self->config, GPB_LOG_WARNING, "device %u: %s", self->index, self->reason);
    gpb_carriage_clear (&self->device.carriage);
    gpb_carriage_clear (&self->host.carriage);
    gpb_losses_lose (self->losses);
    gpb_supervisor_tell_lost (self, self->failed_starts >= FAILED_STARTS_MAX);
    gpb_error_set (&error, GPB_UNAVAILABLE, "device %u was lost under this request: %s",
                   self->index, why);
    gpb_supervisor_fail_all (self, &error);
}

static uint64_t
s_pause_ms (gpb_supervisor_t *self)
{
    const uint64_t most_ms = self->failed_starts ? PAUSE_DOWN_MAX_MS : PAUSE_UP_MAX_MS;
    uint64_t pause_ms = self->quick_losses ? PAUSE_MS : 0;
    for (unsigned loss = 1; loss < self->quick_losses && pause_ms < most_ms; loss++)
        pause_ms *= 2;
    self->quick_losses++;
    return pause_ms < most_ms ? pause_ms : most_ms;
}

//  A driver may hold the process beyond its death: those who wait for it do not wait for that, but
//  the device cannot be opened before.
void
gpb_supervisor_reap (gpb_supervisor_t *self)
{
    char how [GPB_CHILD_REASON_SIZE] = "it was killed, and does not end";
    bool is_well;
    const bool is_gone = gpb_child_reap (&self->child, how, &is_well);
    if (!self->is_told && (is_gone || gpb_clock_ns () >= self->until_ns))
        s_lost (self, how);
    if (!is_gone)
        return;
    unlink (self->device.path);
    unlink (self->host.path);
    s_enter (self, GPB_PROCESS_DOWN, s_pause_ms (self));
}

//  Nobody waits for anything here any more: what it still says is not read.
static void
s_drain (gpb_supervisor_t *self, char how [GPB_CHILD_REASON_SIZE], bool *is_well)
{
    const uint64_t end_ns =
        gpb_clock_ns ()
        + (gpb_config_number (self->config, "drain_ms") + STOP_GRACE_MS) * GPB_NS_PER_MS;
    bool is_asked = gpb_child_send (&self->child, GPB_ISOLATED_STOP, NULL) == GPB_OK;
    char text [64];
    uint64_t now_ns;
    while (is_asked && (now_ns = gpb_clock_ns ()) < end_ns
           && gpb_child_recv (&self->child, text, sizeof text) >= 0)
    {
        struct pollfd item = { .fd = self->child.control, .events = POLLIN };
        poll (&item, 1, gpb_wait_ms (now_ns, end_ns));
    }
    //  It has closed its end, and the rest of its way is short; or it has had its time.
    const uint64_t killed_ns =
        is_asked && now_ns < end_ns ? now_ns + STOP_GRACE_MS * GPB_NS_PER_MS : 0;
    bool is_killed = false;
    while (!gpb_child_reap (&self->child, how, is_well)
           && (now_ns = gpb_clock_ns ()) < end_ns + REAP_MAX_MS * GPB_NS_PER_MS)
    {
        if (!is_killed && now_ns >= killed_ns)
            gpb_child_kill (&self->child);
        is_killed = is_killed || now_ns >= killed_ns;
        poll (NULL, 0, REAP_MS);
    }
}

void
gpb_supervisor_stop (gpb_supervisor_t *self)
{
    char how [GPB_CHILD_REASON_SIZE] = "";
    bool is_well = true;
    if (self->state == GPB_PROCESS_UP)
        s_drain (self, how, &is_well);
    else {
        const uint64_t end_ns = gpb_clock_ns () + REAP_MAX_MS * GPB_NS_PER_MS;
        gpb_child_kill (&self->child);
        while (self->child.pid && !gpb_child_reap (&self->child, how, &is_well)
               && gpb_clock_ns () < end_ns)
            poll (NULL, 0, REAP_MS);
        is_well = true;
    }
    if (self->child.pid)
        gpb_log (self->config, GPB_LOG_ERROR, "device %u: process %d was killed, and does not end",
                 self->index, (int) self->child.pid);
    else if (!is_well)
        gpb_log (self->config, GPB_LOG_WARNING, "device %u: its process ended: %s", self->index,
                 how);
    if (self->child.control >= 0)
        close (self->child.control);
    zsock_destroy (&self->device.dealer);
    zsock_destroy (&self->host.dealer);
    gpb_carriage_clear (&self->device.carriage);
    gpb_carriage_clear (&self->host.carriage);
    if (self->folder [0]) {
        unlink (self->device.path);
        unlink (self->host.path);
        rmdir (self->folder);
    }
}
