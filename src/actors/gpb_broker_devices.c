//  gpb_broker_devices - a broker's part in its devices' coming and going
//
//  The node tells the broker of each device, and of its kernel host, by a command; a device says
//  what it is with its first figures, which the broker waits for. From then on figures come each
//  second, and a supervisor's say when the device's process is lost and when there is another one.
//  Runs on the broker's thread.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_broker_private.h"

#include "gpb_clock.h"
#include "gpb_hosting.h"
#include "gpb_log.h"

#define DEVICE_ANSWER_MS 10000    //  for a device that has just started to say what it is

//  ---------------------------------------------------------------------------------------------------------
//  Figures

//  A device that runs in a process of its own was lost, and its supervisor says so.
static void
s_handle_loss (self_t *self, unsigned index, const Gpb__V1__Device *message)
{
    bool is_lasting = message->state == GPB__V1__DEVICE_STATE__LOST;
    gpb_placement_lost (self->placement, index, message->reason, is_lasting);
    gpb_placement_device (self->placement, index)->restarts = message->restarts;
    gpb_residencies_forget (&self->residencies, index);
}

void
gpb_broker_device_figures (self_t *self, unsigned index, const zmq_msg_t *header)
{
    const Gpb__V1__Reply *reply = gpb_codec_reply (self->codec, header, NULL);
    if (!reply || reply->body_case != GPB__V1__REPLY__BODY_STATS || reply->stats->n_devices != 1)
        return;
    const Gpb__V1__Device *message = reply->stats->devices [0];
    if (message->state != GPB__V1__DEVICE_STATE__READY) {
        s_handle_loss (self, index, message);
        return;
    }
    gpb_placed_device_t *device = gpb_placement_device (self->placement, index);
    device->available_memory = message->available_memory;
    device->running_ns = message->running_ns;
    if (device->state != GPB_DEVICE_READY) {
        gpb_describe_read (&device->info, device->backend, sizeof device->backend, message);
        gpb_broker_registration_repeat (self, index);
        gpb_placement_ready (self->placement, index, gpb_clock_ns ());
    }
    gpb_told_copy (&self->told [index], reply->stats);
}

//  ---------------------------------------------------------------------------------------------------------
//  Commands of the node

static gpb_status_t
s_command_lost (self_t *self, unsigned index, const char *reason, gpb_error_t *error)
{
    gpb_placed_device_t *device = gpb_placement_device (self->placement, index);
    device->state = GPB_DEVICE_LOST;
    snprintf (device->reason, sizeof device->reason, "%s", reason);
    gpb_log (self->config, GPB_LOG_WARNING, "device %u is lost: %s", index, reason);
    return gpb_error_set (error, GPB_OK, "%s", "");
}

//  What it is, or that it is lost for longer than anybody waits: it may come back all the same.
static bool
s_has_said (const gpb_placed_device_t *device)
{
    return device->state == GPB_DEVICE_READY || device->state == GPB_DEVICE_LOST;
}

static gpb_status_t
s_command_device (self_t *self, unsigned index, const char *endpoint, gpb_error_t *error)
{
    if (gpb_executors_connect (&self->executors, index, endpoint, error) != GPB_OK)
        return error->status;
    void *socket = gpb_executors_socket (&self->executors, index);
    self->items [index] = gpb_poller_add_socket (&self->poller, socket);
    gpb_executors_ask_figures (&self->executors, index);
    //  The one place where the broker waits: at start, for a device that is open already.
    zmq_pollitem_t item = { socket, 0, ZMQ_POLLIN, 0 };
    uint64_t end_ns = gpb_clock_ns () + DEVICE_ANSWER_MS * GPB_NS_PER_MS;
    const gpb_placed_device_t *device = gpb_placement_device (self->placement, index);
    uint64_t now_ns;
    while (!s_has_said (device) && (now_ns = gpb_clock_ns ()) < end_ns) {
        zmq_poll (&item, 1, (long) ((end_ns - now_ns) / GPB_NS_PER_MS) + 1);
        gpb_broker_recv (self, index);
    }
    if (s_has_said (device))
        return GPB_OK;
    //  One that says nothing is lost; the node serves the others.
    gpb_poller_set_socket (&self->poller, self->items [index], NULL);
    gpb_executors_disconnect (&self->executors, index);
    return s_command_lost (self, index, "it did not say what it is", error);
}

//  Its first figures are asked for, and not waited for: nothing but its residencies is in them.
static gpb_status_t
s_command_host (self_t *self, unsigned index, const char *endpoint, gpb_error_t *error)
{
    if (!gpb_executors_has (&self->executors, index))
        return GPB_OK;    //  the device is lost, and its host with it
    const unsigned host = gpb_executors_host (index);
    if (gpb_executors_connect (&self->executors, host, endpoint, error) != GPB_OK)
        return error->status;
    if (self->executors.dealers [host] != self->executors.dealers [index])
        self->items [host] =
            gpb_poller_add_socket (&self->poller, gpb_executors_socket (&self->executors, host));
    gpb_hosting_open (self->placement, index);
    gpb_executors_ask_figures (&self->executors, host);
    return GPB_OK;
}

static gpb_status_t
s_command_no_host (self_t *self, unsigned index, const char *reason, gpb_error_t *error)
{
    gpb_hosting_refuse (self->placement, index, reason);
    gpb_log (self->config, GPB_LOG_WARNING, "device %u has no kernel host: %s", index, reason);
    return gpb_error_set (error, GPB_OK, "%s", "");
}

//  Each of a device that is there already, or not yet.
static const struct {
    const char *name;
    bool is_first;
    gpb_status_t (*command) (self_t *self, unsigned index, const char *text, gpb_error_t *error);
} s_commands [] = {
    { "DEVICE", true, s_command_device },
    { "LOST", true, s_command_lost },
    { "HOST", false, s_command_host },
    { "NO_HOST", false, s_command_no_host },
};

//  Whether a device has been told of, and whether its host has.
static bool
s_is_told (const self_t *self, unsigned index)
{
    return gpb_executors_has (&self->executors, index)
           || gpb_placement_device (self->placement, index)->state == GPB_DEVICE_LOST;
}

static bool
s_is_host_told (const self_t *self, unsigned index)
{
    const gpb_placed_device_t *device = gpb_placement_device (self->placement, index);
    return device->has_host || device->host_reason [0];
}

gpb_status_t
gpb_broker_command (void *actor, char **words, size_t count, gpb_error_t *error)
{
    self_t *self = actor;
    const size_t commands = sizeof s_commands / sizeof s_commands [0];
    size_t at = 0;
    while (at < commands && !streq (words [0], s_commands [at].name))
        at++;
    if (count != 3 || at == commands)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "%s: expected BIND ENDPOINT, DEVICE INDEX ENDPOINT, LOST INDEX "
                              "REASON, HOST INDEX ENDPOINT or NO_HOST INDEX REASON",
                              words [0]);
    char *end;
    const unsigned long number = strtoul (words [1], &end, 10);
    const bool is_there =
        end != words [1] && *end == 0 && number < gpb_placement_devices (self->placement);
    const unsigned index = is_there ? (unsigned) number : 0;
    if (s_commands [at].is_first && (!is_there || s_is_told (self, index)))
        return gpb_error_set (error, GPB_INVALID_ARGUMENT, "device %s: expected a new one below %u",
                              words [1], gpb_placement_devices (self->placement));
    if (!s_commands [at].is_first
        && (!is_there || !s_is_told (self, index) || s_is_host_told (self, index)))
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "device %s: expected one that is there, and whose kernel host is new",
                              words [1]);
    return s_commands [at].command (self, index, words [2], error);
}
