//  gpb_poller - waits for ZeroMQ sockets and descriptors, with one system call a round
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_poller.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <zmq.h>

#define PASSED_MAX 3    //  waits in a row in which nobody is asked

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
    unsigned item = gpb_poller_add_fd (self, -1);
    gpb_poller_set_socket (self, item, socket);
    return item;
}

void
gpb_poller_set_fd (gpb_poller_t *self, unsigned item, int fd)
{
    self->fds [item].fd = fd;
    self->ready [item] = false;
}

void
gpb_poller_set_socket (gpb_poller_t *self, unsigned item, void *socket)
{
    int fd = -1;
    size_t size = sizeof fd;
    if (socket)
        zmq_getsockopt (socket, ZMQ_FD, &fd, &size);
    gpb_poller_set_fd (self, item, fd);
    self->ready [item] = socket != NULL;    //  something may have come before
}

void
gpb_poller_pause (gpb_poller_t *self, unsigned item, bool is_paused)
{
    self->paused [item] = is_paused;
    self->fds [item].events = is_paused ? 0 : POLLIN;
}

bool
gpb_poller_wait (gpb_poller_t *self, int timeout_ms)
{
    bool is_ready = false;
    for (unsigned item = 0; item < self->count && !is_ready; item++)
        is_ready = gpb_poller_is_ready (self, item);
    if (is_ready && self->passed++ < PASSED_MAX)
        return true;
    self->passed = 0;
    int count = poll (self->fds, self->count, is_ready ? 0 : timeout_ms);
    for (unsigned item = 0; count > 0 && item < self->count; item++)
        if (self->fds [item].revents)
            self->ready [item] = true;
    return count >= 0 || errno != EINTR;
}
