//  gpb_isolated - the process of one device: the other side of a gpb_supervisor
//
//  The device's actor is the same as in a node, but that its messages go through shared memory
//  (gpb_carriage.h). Beside it this thread waits for what the node says, also while the device is
//  being opened. What bounds a stranger does not bound the node, which has looked at all that it
//  passes on: here there are no heartbeats, since a node that a debugger holds for a minute would
//  lose all that is rented, and no limits of answers.
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
    gpb_carriage_t carriage;
    gpb_carrier_t carrier;
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
//  The device's actor, on its own thread

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

static void
s_device (zsock_t *pipe, void *self_p)
{
    const self_t *self = self_p;
    const gpb_device_apart_t apart = { .device = &self->carrier };
    gpb_device_run (pipe, &self->args, &apart);
}

//  ---------------------------------------------------------------------------------------------------------
//  The process

static gpb_status_t
s_map (self_t *self, gpb_error_t *error)
{
    self->carriage.take = gpb_region_taker (GPB_CHILD_SHARED, error);
    if (self->carriage.take)
        self->carriage.give = gpb_region_giver (GPB_CHILD_SHARED + 1, error);
    close (GPB_CHILD_SHARED);
    close (GPB_CHILD_SHARED + 1);
    self->carriage.at = 1;
    return self->carriage.give ? GPB_OK : error->status;
}

//  Waits for the actor's answer to BIND or, where that has come, for the node to say STOP (a node
//  ends a process that is not ready without a word). UNAVAILABLE: the node is gone.
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
    snprintf (path, sizeof path, "%s", endpoint + strlen (IPC));
    unlink (path);
    char *slash = strrchr (path, '/');
    if (slash) {
        *slash = 0;
        rmdir (path);
    }
}

static gpb_status_t
s_bind (self_t *self, const char *endpoint, gpb_error_t *error)
{
    zstr_sendx (self->actor, "BIND", endpoint, NULL);
    gpb_status_t status = s_wait (self, true, error);
    if (status != GPB_OK)
        return status;
    char *name = NULL, *text = NULL;
    int frames = zstr_recvx (self->actor, &name, &text, NULL);
    if (frames == 2 && streq (name, gpb_status_name (GPB_OK)))
        status = gpb_child_send (&self->node, GPB_ISOLATED_READY, error);
    else {
        char line [GPB_CHILD_MESSAGE_MAX];
        snprintf (line, sizeof line, "%s %s", name ? name : gpb_status_name (GPB_INTERNAL),
                  text ? text : "the device's actor does not answer");
        gpb_child_send (&self->node, line, NULL);
        status = gpb_error_set (error, GPB_FAILED_PRECONDITION, "%s", line);
    }
    zstr_free (&name);
    zstr_free (&text);
    return status;
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
    gpb_status_t status = s_map (&self, error);
    if (status == GPB_OK) {
        self.carrier = (gpb_carrier_t){ &self.carriage, s_unpack, s_pack };
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
    return status;
}
