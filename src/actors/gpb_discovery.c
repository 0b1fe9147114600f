//  gpb_discovery - how many devices this machine has, and why not more
//
//  Apart, each packet is a line: "notice SENTENCE" any number of times, then "devices COUNT", which
//  ends it. What ends without that has failed, whatever it said before.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_discovery.h"

#include "gpb_alloc.h"
#include "gpb_child.h"
#include "gpb_clock.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define NOTICE "notice "
#define DEVICES "devices "
#define REAP_MS 5    //  between two looks whether it is gone, once it has closed its end

static gpb_status_t
s_add_notice (gpb_discovery_t *self, const char *text, gpb_error_t *error)
{
    if (self->notices_count == GPB_DISCOVERY_NOTICES_MAX)
        return GPB_OK;
    char *copy = gpb_strdup (text);
    if (!copy)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a notice");
    self->notices [self->notices_count++] = copy;
    return GPB_OK;
}

static void
s_forget (gpb_discovery_t *self)
{
    while (self->notices_count > 0)
        gpb_free (self->notices [--self->notices_count]);
    memset (self->notices, 0, sizeof self->notices);
    self->devices = 0;
}

void
gpb_discovery_clear (gpb_discovery_t *self)
{
    s_forget (self);
    gpb_backends_destroy (&self->backends);
}

gpb_status_t
gpb_discovery_here (gpb_discovery_t *self, const char *backends, gpb_error_t *error)
{
    self->backends = gpb_backends_new (backends, error);
    if (!self->backends)
        return error->status;
    self->devices = gpb_backends_devices (self->backends);
    const char *notice;
    gpb_status_t status = GPB_OK;
    for (unsigned number = 0;
         status == GPB_OK && (notice = gpb_backends_notice_peek (self->backends, number)); number++)
        status = s_add_notice (self, notice, error);
    return status;
}

//  ---------------------------------------------------------------------------------------------------------
//  Apart

static bool
s_send (int fd, const char *text)
{
    ssize_t sent;
    do
        sent = send (fd, text, strlen (text), MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent >= 0;
}

gpb_status_t
gpb_discovery_tell (int fd, const char *backends, gpb_error_t *error)
{
    gpb_discovery_t found = { .devices = 0 };
    gpb_status_t status = gpb_discovery_here (&found, backends, error);
    char line [GPB_CHILD_MESSAGE_MAX];
    bool is_told = status == GPB_OK;
    for (size_t index = 0; is_told && index < found.notices_count; index++) {
        snprintf (line, sizeof line, NOTICE "%s", found.notices [index]);
        is_told = s_send (fd, line);
    }
    snprintf (line, sizeof line, DEVICES "%u", found.devices);
    if (status == GPB_OK && (!is_told || !s_send (fd, line)))
        status = gpb_error_set (error, GPB_UNAVAILABLE, "nobody listens any more");
    gpb_discovery_clear (&found);
    return status;
}

//  What the process says until it has said all, or has ended, or its time is up. True: all.
static bool
s_listen (gpb_discovery_t *self, gpb_child_t *child, uint64_t end_ns, gpb_error_t *error)
{
    char text [GPB_CHILD_MESSAGE_MAX];
    while (true) {
        int got = gpb_child_recv (child, text, sizeof text);
        uint64_t now_ns = gpb_clock_ns ();
        if (got < 0 || (got == 0 && now_ns >= end_ns))
            return false;
        if (got == 0) {
            struct pollfd item = { .fd = child->control, .events = POLLIN };
            poll (&item, 1, gpb_wait_ms (now_ns, end_ns));
        }
        else if (strncmp (text, NOTICE, strlen (NOTICE)) == 0)
            s_add_notice (self, text + strlen (NOTICE), error);
        else if (strncmp (text, DEVICES, strlen (DEVICES)) == 0) {
            self->devices = (unsigned) strtoul (text + strlen (DEVICES), NULL, 10);
            return true;
        }
    }
}

gpb_status_t
gpb_discovery_apart (gpb_discovery_t *self, const char *backends, unsigned timeout_ms,
                     gpb_error_t *error)
{
    gpb_child_t child;
    const char *const arguments [] = { "list", backends, NULL };
    if (gpb_child_start (&child, arguments, NULL, 0, error) != GPB_OK)
        return error->status;
    uint64_t end_ns = gpb_clock_ns () + timeout_ms * GPB_NS_PER_MS;
    error->status = GPB_OK;
    const bool has_told = s_listen (self, &child, end_ns, error);

    //  Once it has told it has nothing to do but to end, which drivers are not always good at.
    const bool is_late = !has_told && gpb_clock_ns () >= end_ns;
    if (has_told || is_late)
        gpb_child_kill (&child);
    char reason [GPB_CHILD_REASON_SIZE];
    bool is_well;
    while (!gpb_child_reap (&child, reason, &is_well))
        poll (NULL, 0, REAP_MS);
    if (error->status != GPB_OK)
        return error->status;
    if (has_told)
        return GPB_OK;
    s_forget (self);
    char text [GPB_CHILD_REASON_SIZE + 128];
    if (is_late)
        snprintf (text, sizeof text,
                  "backends \"%.64s\": none has said in %u ms what devices there are", backends,
                  timeout_ms);
    else
        snprintf (text, sizeof text, "backends \"%.64s\": looking for devices failed: %s", backends,
                  reason);
    return s_add_notice (self, text, error);
}
