//  gpb_child - a process of ours, for what may crash: gpb_device_host
//
//  Every descriptor that is made here is closed on exec, so that a child that another thread starts
//  at the same moment does not hold this one's end open. The child puts the flag on its own ends,
//  for the compilers that its drivers may start.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_child.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGUMENTS_MAX 8
#define FD_LOWEST 16    //  above those that the child gets, which so cannot overwrite one another

extern char **environ;

//  ---------------------------------------------------------------------------------------------------------
//  Start

static gpb_status_t
s_find (char path [PATH_MAX], gpb_error_t *error)
{
    const char *chosen = getenv ("GPB_LIBEXEC_DIR");
    char beside [PATH_MAX] = "";
    if (!chosen || !*chosen) {
        chosen = NULL;
        ssize_t length = readlink ("/proc/self/exe", beside, sizeof beside - 1);
        beside [length > 0 ? length : 0] = 0;
        char *slash = strrchr (beside, '/');
        if (slash)
            *slash = 0;
    }
    const char *folders [] = { chosen ? chosen : beside, chosen ? NULL : GPB_LIBEXEC_DIR };
    for (size_t index = 0; index < 2 && folders [index]; index++) {
        int size = snprintf (path, PATH_MAX, "%s/" GPB_CHILD_PROGRAM, folders [index]);
        if (size > 0 && size < PATH_MAX && access (path, X_OK) == 0)
            return GPB_OK;
    }
    return gpb_error_set (error, GPB_NOT_FOUND,
                          "there is no program " GPB_CHILD_PROGRAM " in %s%s%s: it runs devices in "
                          "processes of their own (isolation = process)",
                          folders [0], folders [1] ? " nor in " : "",
                          folders [1] ? folders [1] : "");
}

//  In the child: its end of the pair, what it shares, and standard error; output goes there too,
//  since a node's own is for who started the node.
static int
s_actions (posix_spawn_file_actions_t *actions, const int *fds, size_t count)
{
    int failure =
        posix_spawn_file_actions_addopen (actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (!failure)
        failure = posix_spawn_file_actions_adddup2 (actions, STDERR_FILENO, STDOUT_FILENO);
    for (size_t index = 0; !failure && index < count; index++)
        failure = posix_spawn_file_actions_adddup2 (actions, fds [index],
                                                    GPB_CHILD_CONTROL + (int) index);
    return failure;
}

//  Signals as in a new process: the node blocks what it reads from a descriptor.
static int
s_attributes (posix_spawnattr_t *attributes)
{
    sigset_t all, none;
    sigfillset (&all);
    sigemptyset (&none);
    int failure = posix_spawnattr_setsigdefault (attributes, &all);
    if (!failure)
        failure = posix_spawnattr_setsigmask (attributes, &none);
    if (!failure)
        failure = posix_spawnattr_setpgroup (attributes, 0);
    if (!failure)
        failure =
            posix_spawnattr_setflags (attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK
                                                      | POSIX_SPAWN_SETPGROUP);
    return failure;
}

static int
s_spawn (pid_t *pid_p, const char *path, const char *const *arguments, const int *fds, size_t count)
{
    //  posix_spawn takes pointers to what it could change, and does not.
    char *words [ARGUMENTS_MAX + 2] = { GPB_CHILD_PROGRAM };
    for (size_t index = 0; index < ARGUMENTS_MAX && arguments [index]; index++)
        memcpy (&words [index + 1], &arguments [index], sizeof words [0]);
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int failure = posix_spawn_file_actions_init (&actions);
    if (failure)
        return failure;
    failure = posix_spawnattr_init (&attributes);
    if (!failure) {
        failure = s_actions (&actions, fds, count);
        if (!failure)
            failure = s_attributes (&attributes);
        if (!failure)
            failure = posix_spawn (pid_p, path, &actions, &attributes, words, environ);
        posix_spawnattr_destroy (&attributes);
    }
    posix_spawn_file_actions_destroy (&actions);
    return failure;
}

gpb_status_t
gpb_child_start (gpb_child_t *self, const char *const *arguments, const int *shared,
                 size_t shared_count, gpb_error_t *error)
{
    char path [PATH_MAX];
    int pair [2], fds [1 + GPB_CHILD_SHARED_MAX];
    *self = (gpb_child_t) GPB_CHILD_NONE;
    if (s_find (path, error) != GPB_OK)
        return error->status;
    if (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no socket pair for a process: %s",
                              strerror (errno));
    size_t count = 0;
    int failure = 0;
    for (; count < 1 + shared_count && !failure; count++) {
        fds [count] = fcntl (count ? shared [count - 1] : pair [1], F_DUPFD_CLOEXEC, FD_LOWEST);
        failure = fds [count] < 0 ? errno : 0;
    }
    close (pair [1]);
    pid_t pid = 0;
    if (!failure)
        failure = s_spawn (&pid, path, arguments, fds, count);
    while (count-- > 0)
        if (fds [count] >= 0)
            close (fds [count]);
    if (failure) {
        close (pair [0]);
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "%s cannot be started: %s", path,
                              strerror (failure));
    }
    fcntl (pair [0], F_SETFL, O_NONBLOCK);
    *self = (gpb_child_t){ .pid = pid, .control = pair [0] };
    return GPB_OK;
}

//  ---------------------------------------------------------------------------------------------------------
//  Messages

gpb_status_t
gpb_child_send (gpb_child_t *self, const char *text, gpb_error_t *error)
{
    ssize_t sent;
    do
        sent = send (self->control, text, strlen (text), MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent >= 0)
        return GPB_OK;
    return gpb_error_set (error, GPB_UNAVAILABLE, "the process takes no message: %s",
                          strerror (errno));
}

int
gpb_child_recv (gpb_child_t *self, char *text, size_t size)
{
    if (self->control < 0)
        return -1;
    //  A process that ends with something of ours unread leaves an error before what it has said.
    ssize_t got;
    do
        got = recv (self->control, text, size - 1, 0);
    while (got < 0 && (errno == EINTR || errno == ECONNRESET));
    text [got > 0 ? got : 0] = 0;
    if (got < 0 && errno == EAGAIN)
        return 0;
    return got > 0 ? 1 : -1;
}

//  ---------------------------------------------------------------------------------------------------------
//  End

void
gpb_child_kill (gpb_child_t *self)
{
    if (self->pid)
        kill (self->pid, SIGKILL);
}

bool
gpb_child_reap (gpb_child_t *self, char reason [GPB_CHILD_REASON_SIZE], bool *is_well)
{
    int status = 0;
    pid_t ended = self->pid ? waitpid (self->pid, &status, WNOHANG) : -1;
    if (ended == 0 || (ended < 0 && errno == EINTR))
        return false;
    *is_well = ended > 0 && WIFEXITED (status) && WEXITSTATUS (status) == 0;
    if (ended < 0)    //  an application that waits for every child, or ignores SIGCHLD
        snprintf (reason, GPB_CHILD_REASON_SIZE, "ended, and nobody knows how");
    else if (WIFSIGNALED (status))
        snprintf (reason, GPB_CHILD_REASON_SIZE, "killed by signal %d (%s)", WTERMSIG (status),
                  strsignal (WTERMSIG (status)));
    else
        snprintf (reason, GPB_CHILD_REASON_SIZE, "exit status %d", WEXITSTATUS (status));
    if (self->control >= 0)
        close (self->control);
    *self = (gpb_child_t) GPB_CHILD_NONE;
    return true;
}
