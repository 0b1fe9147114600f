//  gpb_isolated - the process of one device: the other side of a gpb_supervisor
//
//  The device's actor, and the kernel host that it starts, are the same as in a node, but that
//  their messages go through shared memory (gpb_carriage.h), either's through its own. Beside them
//  this thread waits for what the node says, also while the device is being opened. What bounds a
//  stranger does not bound the node, which has looked at all that it passes on: here there are no
//  heartbeats, since a node that a debugger holds for a minute would lose all that is rented, and
//  no limits of answers.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_isolated.h"

#include "gpb_carriage.h"
#include "gpb_child.h"
#include "gpb_config_private.h"
#include "gpb_device_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define IPC "ipc://"
#define STOP_GRACE_S 5    //  beside drain_ms, which a node's patience ends before

typedef struct {
    gpb_child_t node;    //  the other end of the control socket; pid is 0
    gpb_carriage_t carriage, host_carriage;
    gpb_carrier_t carrier, host_carrier;
    gpb_device_apart_t apart;
    gpb_device_args_t args;
    zactor_t *actor;
} self_t;

gpb_config_t *
gpb_isolated_configure (gpb_error_t *error)
{
    char text [GPB_CHILD_MESSAGE_MAX];
    ssize_t size;
    do
        size = recv (GPB_CHILD_CONTROL, text, sizeof text - 1, 0);
    while (size < 0 && errno == EINTR);
    if (size <= 0) {
        gpb_error_set (error, GPB_UNAVAILABLE, "no node is there: this program is one's to start");
        return NULL;
    }
    text [size] = 0;
    gpb_config_t *config = gpb_config_new ();
    if (!config)
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a configuration");
    static const char *const own [][2] = { { "heartbeat_ms", "3600000" },
                                           { "reply_high_water", "1000000" },
                                           { "reply_max_size", "9223372036854775807" },
                                           { "max_frame_size", "9223372036854775807" } };
    gpb_status_t status = config ? gpb_config_read (config, text, error) : error->status;
    for (size_t index = 0; status == GPB_OK && index < sizeof own / sizeof own [0]; index++)
        status = gpb_config_set (config, own [index][0], own [index][1], error);
    if (status != GPB_OK)
        gpb_config_destroy (&config);
    return config;
}

//  ---------------------------------------------------------------------------------------------------------
//  The device's actor and the host's, each on its own thread

static bool
s_unpack (void *context, gpb_message_t *message)
{
    return gpb_carriage_unpack (context, message, NULL) == GPB_OK;
}

static void
s_pack (void *context, gpb_message_t *message)
{
    gpb_carriage_pack (context, message);
}

//  The node kills what does not end of itself. Packets of a socket are whole, whichever thread
//  sends them.
static void
s_stuck (void *self_p, const char *reason)
{
    self_t *self = self_p;
    gpb_child_send (&self->node, reason, NULL);
    _exit (1);
}

static void
s_device (zsock_t *pipe, void *self_p)
{
    self_t *self = self_p;
    gpb_device_run (pipe, &self->args, &self->apart);
}

//  ---------------------------------------------------------------------------------------------------------
//  The process

static gpb_status_t
s_map (gpb_carriage_t *carriage, int shared, gpb_error_t *error)
{
    carriage->take = gpb_region_taker (shared, error);
    if (carriage->take)
        carriage->give = gpb_region_giver (shared + 1, error);
    close (shared);
    close (shared + 1);
    carriage->at = 1;
    return carriage->give ? GPB_OK : error->status;
}

static gpb_status_t
s_map_all (self_t *self, gpb_error_t *error)
{
    gpb_status_t status = s_map (&self->carriage, GPB_CHILD_SHARED, error);
    if (status == GPB_OK)
        status = s_map (&self->host_carriage, GPB_CHILD_SHARED + 2, error);
    self->carrier = (gpb_carrier_t){ &self->carriage, s_unpack, s_pack };
    self->host_carrier = (gpb_carrier_t){ &self->host_carriage, s_unpack, s_pack };
    self->apart = (gpb_device_apart_t){ .device = &self->carrier,
                                        .host = &self->host_carrier,
                                        .stuck = s_stuck,
                                        .stuck_context = self };
    return status;
}

//  Waits for the actor's answer to a command or, where that has come, for the node to say STOP (a
//  node ends a process that is not ready without a word). UNAVAILABLE: the node is gone.
static gpb_status_t
s_wait (self_t *self, bool waits_for_actor, gpb_error_t *error)
{
    zmq_pollitem_t items [] = { { NULL, self->node.control, ZMQ_POLLIN, 0 },
                                { zsock_resolve (self->actor), 0, ZMQ_POLLIN, 0 } };
    while (true) {
        if (zmq_poll (items, waits_for_actor ? 2 : 1, -1) < 0)
            continue;
        if (waits_for_actor && items [1].revents)
            return GPB_OK;
        if (!items [0].revents)
            continue;
        char text [64];
        int got = gpb_child_recv (&self->node, text, sizeof text);
        if (got < 0)
            return gpb_error_set (error, GPB_UNAVAILABLE, "the node is gone");
        if (got > 0 && !waits_for_actor && strcmp (text, GPB_ISOLATED_STOP) == 0)
            return GPB_OK;
    }
}

//  What a node that was killed has left: the last of its devices' processes takes the folder along.
static void
s_clean_up (const char *endpoint)
{
    char path [256];
    snprintf (path, sizeof path, "%s" GPB_ISOLATED_HOST, endpoint + strlen (IPC));
    unlink (path);
    path [strlen (path) - strlen (GPB_ISOLATED_HOST)] = 0;
    unlink (path);
    char *slash = strrchr (path, '/');
    if (slash) {
        *slash = 0;
        rmdir (path);
    }
}

//  Has the actor bind an endpoint. Refused: FAILED_PRECONDITION, with its status, by name, and its
//  reason.
static gpb_status_t
s_ask (self_t *self, const char *command, const char *endpoint, gpb_error_t *error)
{
    zstr_sendx (self->actor, command, endpoint, NULL);
    gpb_status_t status = s_wait (self, true, error);
    if (status != GPB_OK)
        return status;
    char *name = NULL, *text = NULL;
    int frames = zstr_recvx (self->actor, &name, &text, NULL);
    if (frames != 2 || !streq (name, gpb_status_name (GPB_OK)))
        status = gpb_error_set (error, GPB_FAILED_PRECONDITION, "%s %s",
                                name ? name : gpb_status_name (GPB_INTERNAL),
                                text ? text : "the device's actor does not answer");
    zstr_free (&name);
    zstr_free (&text);
    return status;
}

//  A device without its kernel host serves all the same.
static gpb_status_t
s_bind (self_t *self, const char *endpoint, gpb_error_t *error)
{
    gpb_status_t status = s_ask (self, "BIND", endpoint, error);
    if (status == GPB_FAILED_PRECONDITION)
        gpb_child_send (&self->node, error->text, NULL);
    if (status != GPB_OK)
        return status;
    char host [256], line [GPB_ERROR_TEXT_SIZE + 16] = GPB_ISOLATED_READY;
    snprintf (host, sizeof host, "%s" GPB_ISOLATED_HOST, endpoint);
    status = s_ask (self, "HOST", host, error);
    if (status == GPB_UNAVAILABLE)
        return status;
    if (status != GPB_OK) {
        const char *blank = strchr (error->text, ' ');    //  behind the status
        snprintf (line, sizeof line, GPB_ISOLATED_READY "%s", blank ? blank : error->text);
    }
    return gpb_child_send (&self->node, line, error);
}

gpb_status_t
gpb_isolated_serve (unsigned index, const char *endpoint, const gpb_config_t *config,
                    gpb_error_t *error)
{
    self_t self = { .node = { .pid = 0, .control = GPB_CHILD_CONTROL },
                    .args = { .config = config, .index = index } };
    if (strncmp (endpoint, IPC, strlen (IPC)) != 0)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT, "%s is no ipc endpoint", endpoint);
    fcntl (self.node.control, F_SETFL, O_NONBLOCK);
    gpb_status_t status = s_map_all (&self, error);
    if (status == GPB_OK) {
        self.actor = zactor_new (s_device, &self);
        status = s_bind (&self, endpoint, error);
        if (status == GPB_OK)
            status = s_wait (&self, false, error);
        if (status == GPB_UNAVAILABLE) {
            s_clean_up (endpoint);
            return status;
        }
        //  Nobody watches the node from here on: where a driver does not come back the signal ends
        //  this process, as the node would.
        alarm ((unsigned) (gpb_config_number (config, "drain_ms") / 1000) + STOP_GRACE_S);
        zactor_destroy (&self.actor);
    }
    gpb_carriage_clear (&self.carriage);
    gpb_carriage_clear (&self.host_carriage);
    return status;
}
