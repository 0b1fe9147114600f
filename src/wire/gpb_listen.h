//  gpb_listen - where a socket may listen, and who may open it
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_LISTEN_H_INCLUDED
#define GPB_LISTEN_H_INCLUDED

#include "gpb_error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

//  Connections that wait to be accepted. libzmq's default of 100 is full in a moment when many come
//  at once, and who finds it full tries again after a whole second, and then three.
#define GPB_LISTEN_BACKLOG 1024

//  Whether an endpoint can be reached from this machine alone: any but tcp, and tcp with an address
//  of 127.0.0.0/8, with [::1], or with an interface that has no other addresses. Looked at before
//  it is bound; what cannot be told is not loopback.
bool gpb_listen_is_local (const char *endpoint);

//  A socket of ours in the file system.
typedef struct {
    char path [108];    //  "": none
    dev_t device;
    ino_t inode;                //  may be another file's later
    struct timespec changed;    //  so that this tells
} gpb_listen_file_t;

//  A listening descriptor at ipc://PATH, for ZMQ_USE_FD, with a file that its owner alone may open,
//  from the moment it is there: *fd_p. UNAVAILABLE where somebody listens there already;
//  INVALID_ARGUMENT for a path that is too long or cannot be made, and for an abstract one (@NAME),
//  which has no owner. A socket that a node has left behind is replaced; any other file is not.
gpb_status_t gpb_listen_ipc (const char *endpoint, gpb_listen_file_t *file, int *fd_p,
                             gpb_error_t *error);

//  Removes the file, unless it is another's by now.
void gpb_listen_remove (gpb_listen_file_t *file);

//  Ends a connection of ours by its descriptor, which libzmq closes when it sees that; false where
//  the descriptor is none that was accepted at one of these ports or files. libzmq may have closed
//  it, and somebody opened it anew: what is looked at is the same that is shut down.
bool gpb_listen_shutdown (int fd, const uint16_t *ports, size_t ports_count,
                          const gpb_listen_file_t *files, size_t files_count);

#endif
