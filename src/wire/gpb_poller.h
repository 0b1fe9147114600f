//  gpb_poller - waits for ZeroMQ sockets and descriptors, with one system call a round
//
//  zmq_poll asks every socket for its events before it waits and again after that, and each asking
//  is a system call on the socket's mailbox: with four sockets nine calls a round. Here the
//  descriptors behind the sockets (ZMQ_FD) are polled, and a socket is looked at only where
//  something may have come.
//
//  ZMQ_FD is edge-triggered: it tells of commands in the mailbox, and whatever is done with a
//  socket (sending, too) takes them out. So an item counts as ready from when its descriptor says
//  so, or it is touched, until its owner says that it has read everything there was (until EAGAIN)
//  and has done nothing else with it since:
//
//      gpb_poller_wait (&poller, timeout_ms);
//      if (gpb_poller_take (&poller, item))
//          ... receive until there is no more; where this stops before, gpb_poller_touch
//      ... after sending on it: gpb_poller_touch (&poller, item)
//
//  One thread. The sockets are the owner's, and outlive their items.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_POLLER_H_INCLUDED
#define GPB_POLLER_H_INCLUDED

#include <poll.h>
#include <stdbool.h>

#define GPB_POLLER_MAX 136    //  64 devices with a host each, and what else an actor has

//  A structure of zeros has no items.
typedef struct {
    unsigned count;
    struct pollfd fds [GPB_POLLER_MAX];
    bool ready [GPB_POLLER_MAX];
    bool paused [GPB_POLLER_MAX];
    unsigned passed;    //  waits since the descriptors were asked last
} gpb_poller_t;

//  Adds a libzmq socket (not a zsock_t), which is ready at first, or a descriptor. The item's
//  number: they count from 0.
unsigned gpb_poller_add_socket (gpb_poller_t *self, void *socket);
unsigned gpb_poller_add_fd (gpb_poller_t *self, int fd);

//  The item is another socket or descriptor from now on; NULL and -1: none, until it is set again.
void gpb_poller_set_socket (gpb_poller_t *self, unsigned item, void *socket);
void gpb_poller_set_fd (gpb_poller_t *self, unsigned item, int fd);

//  While an item is paused nobody waits for it, and it is not ready; what comes meanwhile is not
//  lost.
void gpb_poller_pause (gpb_poller_t *self, unsigned item, bool is_paused);

//  Waits until an item is ready, timeout_ms at the most (-1: without limit). Where one is already
//  it does not wait, and looks what else is every fourth time: an actor that has sent has touched
//  its socket, and mostly finds nothing there. False where a signal interrupted it.
bool gpb_poller_wait (gpb_poller_t *self, int timeout_ms);

static inline bool
gpb_poller_is_ready (const gpb_poller_t *self, unsigned item)
{
    return self->ready [item] && !self->paused [item];
}

static inline void
gpb_poller_touch (gpb_poller_t *self, unsigned item)
{
    self->ready [item] = true;
}

static inline void
gpb_poller_emptied (gpb_poller_t *self, unsigned item)
{
    self->ready [item] = false;
}

//  An item's turn: true where there may be something to read, and then it counts as emptied.
static inline bool
gpb_poller_take (gpb_poller_t *self, unsigned item)
{
    bool is_ready = gpb_poller_is_ready (self, item);
    if (is_ready)
        gpb_poller_emptied (self, item);
    return is_ready;
}

#endif
