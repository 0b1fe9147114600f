//  gpb_bench_process - other programs: a node by itself, and the bench program's own helpers
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_bench_process.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGUMENTS_MAX 32
#define PATH_SIZE 4096

//  This program's own path, or that of another one beside its folder.
static void
s_path (char *path, size_t size, const char *beside)
{
    char self [PATH_SIZE];
    ssize_t length = readlink ("/proc/self/exe", self, sizeof self - 1);
    if (length <= 0)
        gpb_bench_fail ("this program's path is not known");
    self [length] = 0;
    if (beside) {
        *strrchr (self, '/') = 0;
        snprintf (path, size, "%.3900s/%s", self, beside);
    }
    else
        snprintf (path, size, "%s", self);
}

void
gpb_bench_process_start (gpb_bench_process_t *self, const char *const *arguments)
{
    char path [PATH_SIZE];
    char *list [ARGUMENTS_MAX + 1] = { NULL };
    s_path (path, sizeof path, NULL);
    list [0] = arguments [0] ? (char *) arguments [0] : path;
    for (size_t index = 1; index < ARGUMENTS_MAX && arguments [index]; index++)
        list [index] = (char *) arguments [index];
    int ends [2];
    if (pipe (ends) != 0)
        gpb_bench_fail ("no pipe: %s", strerror (errno));
    self->pid = fork ();
    if (self->pid < 0)
        gpb_bench_fail ("no process: %s", strerror (errno));
    if (self->pid == 0) {
        //  Only what is safe behind a fork of a process with threads.
        prctl (PR_SET_PDEATHSIG, SIGKILL);
        dup2 (ends [1], STDOUT_FILENO);
        close_range (STDERR_FILENO + 1, ~0U, 0);
        execv (list [0], list);
        _exit (127);
    }
    close (ends [1]);
    self->output = fdopen (ends [0], "r");
    if (!self->output)
        gpb_bench_fail ("no memory for a pipe");
}

bool
gpb_bench_process_line (gpb_bench_process_t *self, char *text, size_t size)
{
    if (!fgets (text, (int) size, self->output))
        return false;
    text [strcspn (text, "\n")] = 0;
    return true;
}

static int
s_gone (gpb_bench_process_t *self, int status)
{
    fclose (self->output);
    memset (self, 0, sizeof *self);
    return WIFEXITED (status) ? WEXITSTATUS (status) : -WTERMSIG (status);
}

int
gpb_bench_process_end (gpb_bench_process_t *self, int signal)
{
    if (!self->pid)
        return 0;
    if (signal)
        kill (self->pid, signal);
    int status = 0;
    while (waitpid (self->pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return s_gone (self, status);
}

bool
gpb_bench_process_ended (gpb_bench_process_t *self, int *status_p)
{
    int status = 0;
    if (waitpid (self->pid, &status, WNOHANG) != self->pid)
        return false;
    *status_p = s_gone (self, status);
    return true;
}

void
gpb_bench_process_node (gpb_bench_process_t *self, const char *const *settings, char *endpoint,
                        size_t endpoint_size)
{
    char path [PATH_SIZE], line [512];
    s_path (path, sizeof path, "../gpb_actor");
    const char *arguments [ARGUMENTS_MAX] = { path, "--bind", "tcp://127.0.0.1:*", "--set",
                                              "log_level=error" };
    for (size_t index = 0, at = 5; at + 2 < ARGUMENTS_MAX && settings [index]; index++) {
        arguments [at++] = "--set";
        arguments [at++] = settings [index];
    }
    gpb_bench_process_start (self, arguments);
    if (!gpb_bench_process_line (self, line, sizeof line) || strncmp (line, "ready ", 6) != 0)
        gpb_bench_fail ("%s does not start", path);
    snprintf (endpoint, endpoint_size, "%s", line + 6);
}

uint64_t
gpb_bench_process_memory (const gpb_bench_process_t *self)
{
    char path [64], line [256];
    snprintf (path, sizeof path, "/proc/%d/status", (int) self->pid);
    FILE *file = fopen (path, "re");
    uint64_t size = 0;
    while (file && size == 0 && fgets (line, sizeof line, file))
        if (strncmp (line, "VmRSS:", 6) == 0)
            size = strtoull (line + 6, NULL, 10) * 1024;
    if (file)
        fclose (file);
    return size;
}

uint64_t
gpb_bench_process_descriptors (const gpb_bench_process_t *self)
{
    char path [64];
    snprintf (path, sizeof path, "/proc/%d/fd", (int) self->pid);
    DIR *folder = opendir (path);
    uint64_t count = 0;
    for (const struct dirent *entry; folder && (entry = readdir (folder));)
        count += entry->d_name [0] != '.';
    if (folder)
        closedir (folder);
    return count;
}

//  Children are listed by the thread that started them.
size_t
gpb_bench_process_children (const gpb_bench_process_t *self, pid_t *children, size_t most)
{
    char path [PATH_SIZE];
    snprintf (path, sizeof path, "/proc/%d/task", (int) self->pid);
    DIR *folder = opendir (path);
    size_t count = 0;
    for (const struct dirent *thread; folder && (thread = readdir (folder));) {
        if (thread->d_name [0] == '.')
            continue;
        snprintf (path, sizeof path, "/proc/%d/task/%.32s/children", (int) self->pid,
                  thread->d_name);
        FILE *file = fopen (path, "re");
        for (int child; file && fscanf (file, "%d", &child) == 1; count++)
            if (count < most)
                children [count] = child;
        if (file)
            fclose (file);
    }
    if (folder)
        closedir (folder);
    return count;
}

int
gpb_bench_raw_connect (const char *endpoint)
{
    const char *colon = strrchr (endpoint, ':');
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons ((uint16_t) atoi (colon + 1)),
                                   .sin_addr = { htonl (INADDR_LOOPBACK) } };
    int fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect (fd, (struct sockaddr *) &address, sizeof address) != 0) {
        close (fd);
        return -1;
    }
    return fd;
}
