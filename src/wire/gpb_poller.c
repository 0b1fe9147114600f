//  gpb_poller - waits for ZeroMQ sockets and descriptors, with one system call a round
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_poller.h"

#include <assert.h>
#include <stddef.h>
#include <zmq.h>

unsigned
gpb_poller_add_fd (gpb_poller_t *self, int fd)
{
    assert (self->count < GPB_POLLER_MAX);
    self->fds [self->count] = (struct pollfd){ .fd = fd, .events = POLLIN };
    self->ready [self->count] = false;
    return self->count++;
}

unsigned
gpb_poller_add_socket (gpb_poller_t *self, void *socket)
{
    int fd = -1;
    size_t size = sizeof fd;
    zmq_getsockopt (socket, ZMQ_FD, &fd, &size);
    unsigned item = gpb_poller_add_fd (self, fd);
    gpb_poller_touch (self, item);    //  something may have come before
    return item;
}

void
gpb_poller_pause (gpb_poller_t *self, unsigned item, bool is_paused)
{
    self->paused [item] = is_paused;
    self->fds [item].events = is_paused ? 0 : POLLIN;
}

void
gpb_poller_wait (gpb_poller_t *self, int timeout_ms)
{
    for (unsigned item = 0; item < self->count; item++)
        if (gpb_poller_is_ready (self, item))
            timeout_ms = 0;
    if (poll (self->fds, self->count, timeout_ms) <= 0)
        return;    //  nothing, or a signal: the owner has a look at the time
    for (unsigned item = 0; item < self->count; item++)
        if (self->fds [item].revents)
            self->ready [item] = true;
}
