//  gpb_actor - a node: all GPUs of one machine behind one ROUTER
//
//  Starts the others and stops them in the opposite order: it looks for devices, starts a
//  gpb_device for each (all open their devices at the same time), and tells the broker of each
//  whether it serves or why not, and likewise of its kernel host. A device that could not be opened
//  leaves a node with the others; a node without any still serves, and says why. No endpoint is
//  bound before that, so that a client that finds one finds the devices too.
//
//  With isolation = process, looking for devices and each device are other processes'
//  (gpb_discovery, gpb_supervisor): no backend is loaded here, and no driver can end this process.
//
//  $TERM goes to the broker first, which drains: only then are the devices stopped.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_actor.h"

#include "gpb_alloc.h"
#include "gpb_broker.h"
#include "gpb_device.h"
#include "gpb_discovery.h"
#include "gpb_log.h"
#include "gpb_placement.h"
#include "gpb_service.h"
#include "gpb_signals.h"
#include "gpb_supervisor.h"
#include "gpb_unique.h"

#include <inttypes.h>

#define DISCOVERY_MS 60000    //  for all drivers to say what devices there are: some take 10 s

typedef struct {
    gpb_config_t *config;
    zactor_t *broker;    //  NULL before START
    zactor_t *devices [GPB_PLACEMENT_DEVICES_MAX];
} self_t;

//  ---------------------------------------------------------------------------------------------------------
//  START

static bool
s_is_isolated (const self_t *self)
{
    return streq (gpb_config_string (self->config, "isolation"), "process");
}

//  All devices open at once: every BIND, and every HOST behind it, is sent before the first answer
//  is waited for.
static void
s_start_devices (self_t *self, unsigned count)
{
    for (unsigned index = 0; index < count; index++) {
        gpb_device_args_t args = { .config = self->config, .index = index };
        self->devices [index] =
            zactor_new (s_is_isolated (self) ? gpb_supervisor : gpb_device, &args);
        char endpoint [64];
        snprintf (endpoint, sizeof endpoint, "inproc://gpb-device-%" PRIu64, gpb_unique ());
        zstr_sendx (self->devices [index], "BIND", endpoint, NULL);
        snprintf (endpoint, sizeof endpoint, "inproc://gpb-host-%" PRIu64, gpb_unique ());
        zstr_sendx (self->devices [index], "HOST", endpoint, NULL);
    }
}

//  Tells the broker what a device's actor answers to a command: by `taken` where it is done, with
//  the endpoint, and by `refused` where it is not, with the reason.
static gpb_status_t
s_pass_on (self_t *self, unsigned index, const char *taken, const char *refused, bool *is_done,
           gpb_error_t *error)
{
    char *status = NULL, *text = NULL, number [16];
    *is_done = zstr_recvx (self->devices [index], &status, &text, NULL) == 2
               && streq (status, gpb_status_name (GPB_OK));
    snprintf (number, sizeof number, "%u", index);
    gpb_status_t told = gpb_pipe_ask (self->broker,
                                      (const char *[]){ *is_done ? taken : refused, number,
                                                        text ? text : "interrupted", NULL },
                                      error);
    zstr_free (&status);
    zstr_free (&text);
    return told;
}

//  Tells the broker of one device, once it is open or has failed to.
static gpb_status_t
s_introduce (self_t *self, unsigned index, gpb_error_t *error)
{
    bool is_open, is_hosted;
    gpb_status_t told = s_pass_on (self, index, "DEVICE", "LOST", &is_open, error);
    if (!is_open)
        zactor_destroy (&self->devices [index]);
    else if (told == GPB_OK)
        told = s_pass_on (self, index, "HOST", "NO_HOST", &is_hosted, error);
    return told;
}

static void
s_stop (self_t *self)
{
    zactor_destroy (&self->broker);
    for (unsigned index = 0; index < GPB_PLACEMENT_DEVICES_MAX; index++)
        zactor_destroy (&self->devices [index]);
}

static gpb_status_t
s_start_found (self_t *self, const gpb_discovery_t *found, gpb_error_t *error)
{
    unsigned count = found->devices;
    if (count > GPB_PLACEMENT_DEVICES_MAX) {
        gpb_log (self->config, GPB_LOG_WARNING, "%u devices: a node serves the first %d", count,
                 GPB_PLACEMENT_DEVICES_MAX);
        count = GPB_PLACEMENT_DEVICES_MAX;
    }
    const char *notices [GPB_DISCOVERY_NOTICES_MAX + 1] = { NULL };
    for (size_t number = 0; number < found->notices_count; number++) {
        notices [number] = found->notices [number];
        gpb_log (self->config, GPB_LOG_INFO, "%s", notices [number]);
    }
    gpb_broker_args_t args = { .config = self->config, .devices = count, .notices = notices };
    self->broker = zactor_new (gpb_broker, &args);
    s_start_devices (self, count);
    gpb_status_t status = GPB_OK;
    for (unsigned index = 0; index < count; index++) {
        gpb_error_t failure;
        if (s_introduce (self, index, &failure) != GPB_OK && status == GPB_OK)
            status = gpb_error_set (error, failure.status, "%s", failure.text);
    }
    if (status != GPB_OK)
        s_stop (self);
    return status;
}

static gpb_status_t
s_start (self_t *self, gpb_error_t *error)
{
    gpb_discovery_t found = { .devices = 0 };
    const char *backends = gpb_config_string (self->config, "backends");
    gpb_status_t status = s_is_isolated (self)
                              ? gpb_discovery_apart (&found, backends, DISCOVERY_MS, error)
                              : gpb_discovery_here (&found, backends, error);
    if (status == GPB_OK)
        status = s_start_found (self, &found, error);
    gpb_discovery_clear (&found);
    return status;
}

//  ---------------------------------------------------------------------------------------------------------
//  Commands

static gpb_status_t
s_command (void *actor, char **words, size_t count, gpb_error_t *error)
{
    self_t *self = actor;
    bool is_bind = count == 2 && streq (words [0], "BIND");
    bool is_start = count == 1 && streq (words [0], "START");
    if (is_bind || is_start) {
        gpb_status_t status = self->broker ? GPB_OK : s_start (self, error);
        if (status != GPB_OK || is_start)
            return status;
        return gpb_pipe_ask (self->broker, (const char *[]){ "BIND", words [1], NULL }, error);
    }
    if (count == 3 && streq (words [0], "CONFIGURE")) {
        if (self->broker)
            return gpb_error_set (error, GPB_FAILED_PRECONDITION, "CONFIGURE comes before START");
        return gpb_config_set (self->config, words [1], words [2], error);
    }
    return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                          "%s: expected START, BIND ENDPOINT, CONFIGURE KEY VALUE or $TERM",
                          words [0]);
}

void
gpb_actor (zsock_t *pipe, void *config)
{
    gpb_signals_block ();
    self_t self = { .config = config ? gpb_config_dup (config) : gpb_config_new () };
    zsock_signal (pipe, 0);
    gpb_error_t no_memory = { GPB_RESOURCE_EXHAUSTED, "no memory for a node" };
    bool go_on = true;
    while (go_on)
        go_on = self.config ? gpb_pipe_serve (pipe, s_command, &self)
                            : gpb_pipe_refuse (pipe, &no_memory);
    s_stop (&self);
    gpb_config_destroy (&self.config);
}
