//  gpb_listen - where a socket may listen, and who may open it
//
//  A socket's file gets its mode from the umask, which all threads of a process share, so that
//  neither a umask nor a chmod after the bind is of use: one changes what other threads make, the
//  other leaves a moment in which anybody may connect, and stay. Linux takes the mode from the
//  socket itself, less the umask (unix_bind_bsd in net/unix/af_unix.c), so an fchmod of the socket
//  before it is bound leaves no such moment. libzmq binds by itself, but takes a descriptor that
//  listens already (ZMQ_USE_FD).
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static bool
s_is_loopback (const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy (&in, address, sizeof in);
        return ntohl (in.sin_addr.s_addr) >> 24 == 127;
    }
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy (&in6, address, sizeof in6);
        return IN6_IS_ADDR_LOOPBACK (&in6.sin6_addr);
    }
    return false;
}

//  libzmq takes an interface's name for its address.
static bool
s_is_loopback_interface (const char *name)
{
    struct ifaddrs *all = NULL;
    if (getifaddrs (&all) != 0)
        return false;
    bool found = false, is_loopback = true;
    for (const struct ifaddrs *one = all; one; one = one->ifa_next)
        if (strcmp (one->ifa_name, name) == 0 && one->ifa_addr
            && (one->ifa_addr->sa_family == AF_INET || one->ifa_addr->sa_family == AF_INET6))
        {
            found = true;
            is_loopback = is_loopback && s_is_loopback (one->ifa_addr);
        }
    freeifaddrs (all);
    return found && is_loopback;
}

bool
gpb_listen_is_local (const char *endpoint)
{
    if (strncmp (endpoint, "ipc://", 6) == 0 || strncmp (endpoint, "inproc://", 9) == 0)
        return true;
    char host [256];
    const char *colon = strrchr (endpoint, ':');
    if (strncmp (endpoint, "tcp://", 6) != 0 || colon < endpoint + 6
        || (size_t) (colon - endpoint - 6) >= sizeof host)
        return false;
    size_t size = (size_t) (colon - endpoint - 6);
    memcpy (host, endpoint + 6, size);
    host [size] = 0;
    struct sockaddr_in in = { .sin_family = AF_INET };
    struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };
    if (inet_pton (AF_INET, host, &in.sin_addr) == 1)
        return s_is_loopback ((struct sockaddr *) &in);
    if (size > 2 && host [0] == '[' && host [size - 1] == ']') {
        memmove (host, host + 1, size - 2);
        host [size - 2] = 0;
    }
    if (inet_pton (AF_INET6, host, &in6.sin6_addr) == 1)
        return s_is_loopback ((struct sockaddr *) &in6);
    return s_is_loopback_interface (host);
}

//  ---------------------------------------------------------------------------------------------------------
//  ipc

//  Whether the file is a socket that nobody listens at.
static bool
s_is_left_behind (const struct sockaddr_un *address)
{
    struct stat about;
    if (lstat (address->sun_path, &about) != 0 || !S_ISSOCK (about.st_mode))
        return false;
    int probe = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (probe < 0)
        return false;
    bool is_refused = connect (probe, (const struct sockaddr *) address, sizeof *address) != 0
                      && errno == ECONNREFUSED;
    close (probe);
    return is_refused;
}

static bool
s_bind (int fd, const struct sockaddr_un *address)
{
    if (bind (fd, (const struct sockaddr *) address, sizeof *address) == 0)
        return true;
    if (errno != EADDRINUSE)
        return false;
    if (!s_is_left_behind (address)) {
        errno = EADDRINUSE;
        return false;
    }
    return unlink (address->sun_path) == 0
           && bind (fd, (const struct sockaddr *) address, sizeof *address) == 0;
}

gpb_status_t
gpb_listen_ipc (const char *endpoint, gpb_listen_file_t *file, int *fd_p, gpb_error_t *error)
{
    const char *path = endpoint + 6;
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    size_t size = strlen (path);
    if (path [0] == '@')
        return gpb_error_set (
            error, GPB_INVALID_ARGUMENT,
            "cannot bind %s: anybody on this machine may open an abstract socket; "
            "expected ipc://PATH",
            endpoint);
    if (size == 0 || size >= sizeof address.sun_path)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "cannot bind %s: a path of 1 to %zu bytes is expected", endpoint,
                              sizeof address.sun_path - 1);
    memcpy (address.sun_path, path, size);
    int fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no more sockets: %s",
                              strerror (errno));
    struct stat about;
    if (fchmod (fd, 0600) == 0 && s_bind (fd, &address) && listen (fd, GPB_LISTEN_BACKLOG) == 0
        && lstat (path, &about) == 0)
    {
        memcpy (file->path, address.sun_path, sizeof file->path);
        file->device = about.st_dev;
        file->inode = about.st_ino;
        file->changed = about.st_ctim;
        *fd_p = fd;
        return GPB_OK;
    }
    int reason = errno;
    close (fd);
    return gpb_error_set (
        error, reason == EADDRINUSE ? GPB_UNAVAILABLE : GPB_INVALID_ARGUMENT,
        "cannot bind %s: %s; expected tcp://ADDRESS:PORT, ipc://PATH or inproc://NAME", endpoint,
        strerror (reason));
}

void
gpb_listen_remove (gpb_listen_file_t *file)
{
    struct stat about;
    if (file->path [0] && lstat (file->path, &about) == 0 && about.st_dev == file->device
        && about.st_ino == file->inode && about.st_ctim.tv_sec == file->changed.tv_sec
        && about.st_ctim.tv_nsec == file->changed.tv_nsec)
        unlink (file->path);
    file->path [0] = 0;
}

//  ---------------------------------------------------------------------------------------------------------
//  Connections

bool
gpb_listen_shutdown (int fd, const uint16_t *ports, size_t ports_count,
                     const gpb_listen_file_t *files, size_t files_count)
{
    //  A descriptor of our own: nobody can change what it is of between the look and the deed.
    int own = fcntl (fd, F_DUPFD_CLOEXEC, 0);
    if (own < 0)
        return false;
    struct sockaddr_storage address = { .ss_family = AF_UNSPEC };
    socklen_t size = sizeof address, flag_size = sizeof (int);
    int is_listening = 1;
    bool is_ours = false;
    if (getsockopt (own, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &flag_size) == 0 && !is_listening
        && getsockname (own, (struct sockaddr *) &address, &size) == 0)
    {
        struct sockaddr_in in;
        struct sockaddr_un un;
        memcpy (&in, &address, sizeof in);    //  IPv6 has its port in the same place
        memcpy (&un, &address, sizeof un);
        for (size_t index = 0; index < ports_count; index++)
            is_ours = is_ours
                      || ((address.ss_family == AF_INET || address.ss_family == AF_INET6)
                          && ntohs (in.sin_port) == ports [index]);
        for (size_t index = 0; index < files_count; index++)
            is_ours = is_ours
                      || (address.ss_family == AF_UNIX && files [index].path [0]
                          && strncmp (un.sun_path, files [index].path, sizeof un.sun_path) == 0);
    }
    if (is_ours)
        shutdown (own, SHUT_RDWR);
    close (own);
    return is_ours;
}
