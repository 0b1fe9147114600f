//  gpb_device_host - the program in which a node runs what may crash; nobody else starts it
//
//      gpb_device_host list BACKENDS            says on descriptor 3 what devices there are
//      gpb_device_host device INDEX ENDPOINT    serves one of them (gpb_isolated.h)
//
//  SIGINT and SIGTERM are the node's to handle: a service manager sends them to all processes of a
//  service at once, and a device is not to stop before its node has drained. When the node dies the
//  kernel wakes this process, should somebody have stopped it: it sees the end of its socket, and
//  ends too.
//
//  Exit status: 0 it has done what it was told, 1 the device could not be opened, 2 wrong usage.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_backends.h"
#include "gpb_child.h"
#include "gpb_discovery.h"
#include "gpb_isolated.h"
#include "gpb_log_target.h"
#include "gpb_shared_context.h"

#include <czmq.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXIT_REFUSED 1
#define EXIT_USAGE 2

static int
s_refuse (const gpb_error_t *error)
{
    fprintf (stderr, GPB_CHILD_PROGRAM ": %s\n", error->text);
    return EXIT_REFUSED;
}

//  The node looks at what was said, not at how this ends: drivers end badly now and then.
static int
s_list (const char *backends)
{
    gpb_error_t error;
    return gpb_discovery_tell (GPB_CHILD_CONTROL, backends, &error) == GPB_OK ? 0
                                                                              : s_refuse (&error);
}

static int
s_device (unsigned index, const char *endpoint)
{
    gpb_error_t error;
    FILE *log = NULL;
    gpb_config_t *config = gpb_isolated_configure (&error);
    if (!config || gpb_log_target_open (config, GPB_CHILD_PROGRAM, &log, &error) != GPB_OK) {
        gpb_config_destroy (&config);
        return s_refuse (&error);
    }
    gpb_status_t status = gpb_isolated_serve (index, endpoint, config, &error);
    if (status == GPB_UNAVAILABLE)
        _exit (0);
    gpb_config_destroy (&config);
    if (gpb_shared_context_abandoned ()) {
        fflush (NULL);
        _exit (0);
    }
    zsys_shutdown ();
    if (log)
        fclose (log);
    return status == GPB_OK ? 0 : EXIT_REFUSED;
}

int
main (int argc, char **argv)
{
    bool is_list = argc == 3 && strcmp (argv [1], "list") == 0;
    bool is_device = argc == 4 && strcmp (argv [1], "device") == 0;
    if (!is_list && !is_device) {
        fputs (GPB_CHILD_PROGRAM " is started by gpb_actor, and by nobody else.\n", stderr);
        return EXIT_USAGE;
    }
    prctl (PR_SET_PDEATHSIG, SIGCONT);
    signal (SIGINT, SIG_IGN);
    signal (SIGTERM, SIG_IGN);
    signal (SIGPIPE, SIG_IGN);
    //  Of what an application may have left open nothing is for us; and a compiler that a driver
    //  starts must not hold our end of the node's socket open.
    syscall (SYS_close_range, is_list ? GPB_CHILD_SHARED : GPB_CHILD_SHARED + GPB_CHILD_SHARED_MAX,
             ~0U, 0);
    for (int fd = GPB_CHILD_CONTROL; fd < GPB_CHILD_SHARED + GPB_CHILD_SHARED_MAX; fd++)
        fcntl (fd, F_SETFD, FD_CLOEXEC);
    gpb_backends_environment ();
    return is_list ? s_list (argv [2]) : s_device ((unsigned) atoi (argv [2]), argv [3]);
}
