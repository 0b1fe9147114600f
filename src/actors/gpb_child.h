//  gpb_child - a process of ours, for what may crash: gpb_device_host
//
//  It is started by posix_spawn, never by fork, since this process has threads. It inherits
//  standard error, one end of a socket pair (CONTROL), and what it is given to share; nothing else.
//  The socket pair tells either side of the other's end, however that came: a read gives 0. Each
//  packet on it is a message.
//
//  The child has a process group of its own, so that what a terminal sends to the node (Ctrl-C) is
//  the node's to handle: it says when the child is to end.
//
//  Plain structure; one thread, which must outlive the child: the child is killed with it.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_CHILD_H_INCLUDED
#define GPB_CHILD_H_INCLUDED

#include "gpb_error.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define GPB_CHILD_PROGRAM "gpb_device_host"
#define GPB_CHILD_CONTROL 3    //  the descriptor in the child
#define GPB_CHILD_SHARED 4     //  the first of those that it was given to share
#define GPB_CHILD_SHARED_MAX 4
#define GPB_CHILD_REASON_SIZE 128
#define GPB_CHILD_MESSAGE_MAX 16384    //  bytes of one packet

typedef struct {
    pid_t pid;      //  0: none
    int control;    //  our end, non-blocking; -1: closed
} gpb_child_t;

#define GPB_CHILD_NONE                                                                             \
    {                                                                                              \
        .pid = 0, .control = -1                                                                    \
    }

//  Starts the program with these arguments, NULL behind the last. The program is looked for in
//  GPB_LIBEXEC_DIR where the environment says that; else beside this program's own file; else where
//  libgpb is installed. NOT_FOUND names these places; RESOURCE_EXHAUSTED.
gpb_status_t gpb_child_start (gpb_child_t *self, const char *const *arguments, const int *shared,
                              size_t shared_count, gpb_error_t *error);

//  Sends one packet. UNAVAILABLE where the child has ended.
gpb_status_t gpb_child_send (gpb_child_t *self, const char *text, gpb_error_t *error);

//  The next packet as a text. 1: there is one; 0: not yet; -1: the child has ended, or closed its
//  end.
int gpb_child_recv (gpb_child_t *self, char *text, size_t size);

//  Ends it, whatever it does; it is still to be reaped.
void gpb_child_kill (gpb_child_t *self);

//  Whether it has ended. Then reason says how ("killed by signal 11 (Segmentation fault)", "exit
//  status 1"), *is_well whether its exit status was 0, and self is none again.
bool gpb_child_reap (gpb_child_t *self, char reason [GPB_CHILD_REASON_SIZE], bool *is_well);

#endif
