//  gpb_test_node - nodes for a test, and two kinds of clients of them
//
//  A node's process is spawned with the default actions for SIGINT and SIGTERM, since a test that
//  runs in the background of a shell inherits an ignored SIGINT. Its standard output is a pipe that
//  is read up to the last `ready` line and then kept open, so that the node never sees it close.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_test_node.h"

#include "gpb_clock.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define OPTIONS_MAX 64

extern char **environ;

static int
s_patience_ms (void)
{
    return getenv ("GPB_TEST_SLOW") ? GPB_TEST_PATIENCE_MS * 5 : GPB_TEST_PATIENCE_MS;
}

static uint64_t
s_deadline (void)
{
    return gpb_clock_ns () + (uint64_t) s_patience_ms () * GPB_NS_PER_MS;
}

//  ---------------------------------------------------------------------------------------------------------
//  A node's process

static const char *
s_directory (const char *variable)
{
    const char *path = getenv (variable);
    ck_assert_msg (path != NULL, "%s is not set: run the tests with make check", variable);
    return path;
}

static void
s_spawn (gpb_test_node_t *self, const char *const *options, bool keeps_errors)
{
    char program [4096];
    snprintf (program, sizeof program, "%s/gpb_actor", s_directory ("GPB_BUILD_DIR"));
    int output [2], errors [2] = { -1, -1 };
    ck_assert_int_eq (pipe2 (output, O_CLOEXEC), 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init (&actions);
    posix_spawn_file_actions_adddup2 (&actions, output [1], STDOUT_FILENO);
    if (keeps_errors) {
        ck_assert_int_eq (pipe2 (errors, O_CLOEXEC), 0);
        posix_spawn_file_actions_adddup2 (&actions, errors [1], STDERR_FILENO);
    }
    sigset_t defaults;
    sigemptyset (&defaults);
    sigaddset (&defaults, SIGINT);
    sigaddset (&defaults, SIGTERM);
    posix_spawnattr_t attributes;
    posix_spawnattr_init (&attributes);
    posix_spawnattr_setsigdefault (&attributes, &defaults);
    posix_spawnattr_setflags (&attributes, POSIX_SPAWN_SETSIGDEF);

    //  posix_spawn takes pointers to what it could change, and does not.
    char *arguments [OPTIONS_MAX + 2] = { program };
    for (size_t index = 0; options [index]; index++) {
        ck_assert_uint_lt (index, OPTIONS_MAX);
        memcpy (&arguments [index + 1], &options [index], sizeof arguments [0]);
    }
    int failure = posix_spawn (&self->pid, program, &actions, &attributes, arguments, environ);
    ck_assert_msg (failure == 0, "%s: %s", program, strerror (failure));
    posix_spawnattr_destroy (&attributes);
    posix_spawn_file_actions_destroy (&actions);
    close (output [1]);
    if (keeps_errors)
        close (errors [1]);
    self->output = output [0];
    self->errors = errors [0];
}

//  One line of the node's output, without its end.
static void
s_read_line (gpb_test_node_t *self, char *line, size_t size)
{
    uint64_t end_ns = s_deadline ();
    size_t used = 0;
    while (true) {
        struct pollfd item = { self->output, POLLIN, 0 };
        uint64_t now_ns = gpb_clock_ns ();
        ck_assert_msg (now_ns < end_ns, "the node does not say that it is ready");
        if (poll (&item, 1, (int) ((end_ns - now_ns) / GPB_NS_PER_MS) + 1) < 1)
            continue;
        char byte;
        ck_assert_msg (read (self->output, &byte, 1) == 1, "the node ended before it was ready");
        if (byte == '\n')
            break;
        ck_assert_uint_lt (used + 1, size);
        line [used++] = byte;
    }
    line [used] = 0;
}

void
gpb_test_node_start_options (gpb_test_node_t *self, const char *const *given)
{
    memset (self, 0, sizeof *self);
    const char *options [OPTIONS_MAX + 1] = { NULL };
    size_t count = 0, binds = 0;
    for (; given [count]; count++) {
        ck_assert_uint_lt (count, OPTIONS_MAX - 2);
        options [count] = given [count];
        binds += strcmp (given [count], "--bind") == 0;
    }
    if (binds == 0) {
        options [count] = "--bind";
        options [count + 1] = GPB_TEST_ANY_PORT;
        binds = 1;
    }
    s_spawn (self, options, false);
    ck_assert_uint_le (binds, GPB_TEST_ENDPOINTS_MAX);
    while (self->endpoints_count < binds) {
        char line [512];
        s_read_line (self, line, sizeof line);
        ck_assert_msg (sscanf (line, "ready %255s", self->endpoints [self->endpoints_count]) == 1,
                       "the node says: %s", line);
        self->endpoints_count++;
    }
}

void
gpb_test_node_spawn_options (gpb_test_node_t *self, const char *const *options)
{
    memset (self, 0, sizeof *self);
    s_spawn (self, options, true);
}

int
gpb_test_node_wait (gpb_test_node_t *self, char *errors, size_t errors_size)
{
    uint64_t end_ns = s_deadline ();
    int status = 0;
    pid_t ended = 0;
    while (ended == 0) {
        ck_assert_msg (gpb_clock_ns () < end_ns, "the node does not end");
        ended = waitpid (self->pid, &status, WNOHANG);
        if (ended == 0)
            poll (NULL, 0, 2);
    }
    ck_assert_int_eq (ended, self->pid);
    self->pid = 0;
    if (errors) {
        size_t used = 0;
        ssize_t size = 1;
        while (self->errors >= 0 && used + 1 < errors_size && size > 0) {
            size = read (self->errors, errors + used, errors_size - 1 - used);
            used += size > 0 ? (size_t) size : 0;
        }
        errors [used] = 0;
    }
    close (self->output);
    if (self->errors >= 0)
        close (self->errors);
    return WIFEXITED (status) ? WEXITSTATUS (status) : 256 + WTERMSIG (status);
}

void
gpb_test_node_stop (gpb_test_node_t *self)
{
    if (self->actor) {
        zactor_destroy (&self->actor);
        return;
    }
    ck_assert_int_eq (kill (self->pid, SIGTERM), 0);
    ck_assert_int_eq (gpb_test_node_wait (self, NULL, 0), 0);
}

void
gpb_test_node_kill (gpb_test_node_t *self)
{
    ck_assert_int_eq (kill (self->pid, SIGKILL), 0);
    ck_assert_int_eq (gpb_test_node_wait (self, NULL, 0), 256 + SIGKILL);
}

pid_t
gpb_test_parent (pid_t pid, char *state)
{
    char path [64], text [512];
    snprintf (path, sizeof path, "/proc/%d/stat", (int) pid);
    FILE *file = fopen (path, "r");
    if (!file)
        return 0;
    size_t size = fread (text, 1, sizeof text - 1, file);
    fclose (file);
    text [size] = 0;
    const char *behind = strrchr (text, ')');
    int parent = 0;
    return behind && sscanf (behind + 1, " %c %d", state, &parent) == 2 ? parent : 0;
}

unsigned
gpb_test_node_children (const gpb_test_node_t *self, pid_t *pids, unsigned most)
{
    unsigned count = 0;
    DIR *folder = opendir ("/proc");
    ck_assert_ptr_nonnull (folder);
    for (struct dirent *entry = readdir (folder); entry; entry = readdir (folder)) {
        char state;
        pid_t pid = (pid_t) atoi (entry->d_name);
        if (pid > 0 && gpb_test_parent (pid, &state) == self->pid && state != 'Z' && count < most)
            pids [count++] = pid;
    }
    closedir (folder);
    for (unsigned one = 0; one < count; one++)
        for (unsigned other = one + 1; other < count; other++)
            if (pids [other] < pids [one]) {
                pid_t swapped = pids [one];
                pids [one] = pids [other];
                pids [other] = swapped;
            }
    return count;
}

//  ---------------------------------------------------------------------------------------------------------
//  A node in this process

void
gpb_test_node_compose_options (gpb_test_node_t *self, const char *endpoint,
                               const char *const *pairs)
{
    memset (self, 0, sizeof *self);
    gpb_error_t error = { GPB_OK, "" };
    gpb_config_t *config = gpb_config_new ();
    ck_assert_ptr_nonnull (config);
    for (size_t index = 0; pairs [index]; index += 2)
        ck_assert_ok (gpb_config_set (config, pairs [index], pairs [index + 1], &error));
    self->actor = zactor_new (gpb_actor, config);
    ck_assert_ptr_nonnull (self->actor);
    gpb_config_destroy (&config);
    char *status = NULL, *text = NULL;
    ck_assert_int_eq (zstr_sendx (self->actor, "BIND", endpoint, NULL), 0);
    ck_assert_int_eq (zstr_recvx (self->actor, &status, &text, NULL), 2);
    ck_assert_msg (streq (status, "OK"), "%s: %s: %s", endpoint, status, text);
    snprintf (self->endpoints [self->endpoints_count++], sizeof self->endpoints [0], "%s", text);
    zstr_free (&status);
    zstr_free (&text);
}

void
gpb_test_use_packages (const char *folder)
{
    char path [8192];
    const char *now = getenv ("GPB_KERNEL_PATH");
    snprintf (path, sizeof path, "%s/%s%s%s", s_directory ("GPB_SOURCE_DIR"), folder,
              now ? ":" : "", now ? now : "");
    setenv ("GPB_KERNEL_PATH", path, 1);
}

void
gpb_test_sanitizer_option (const char *variable, const char *option)
{
    char options [4096];
    const char *now = getenv (variable);
    snprintf (options, sizeof options, "%s:%s", now ? now : "", option);
    setenv (variable, options, 1);
}

void
gpb_test_use_fake (unsigned devices, uint64_t memory_size)
{
    char number [32];
    snprintf (number, sizeof number, "%u", devices);
    setenv ("GPB_FAKE_DEVICES", number, 1);
    snprintf (number, sizeof number, "%llu", (unsigned long long) memory_size);
    setenv ("GPB_FAKE_MEMORY", number, 1);
    unsetenv ("GPB_KERNEL_PATH");
    gpb_test_use_packages ("tests/kernels_fake");
}

//  ---------------------------------------------------------------------------------------------------------
//  A client of the library's

gpb_client_t *
gpb_test_client (const gpb_test_node_t *node)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_client_t *client = gpb_client_new (node->endpoints [0], &error);
    ck_assert_msg (client != NULL, "%s", error.text);
    gpb_reply_t *reply = gpb_test_call_ok (client, gpb_request_hello ());
    gpb_reply_destroy (&reply);
    return client;
}

gpb_reply_t *
gpb_test_call (gpb_client_t *client, gpb_request_t *request)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_reply_t *reply = gpb_client_call (client, &request, &error);
    ck_assert_msg (reply != NULL, "%s", error.text);
    return reply;
}

gpb_reply_t *
gpb_test_call_ok (gpb_client_t *client, gpb_request_t *request)
{
    gpb_reply_t *reply = gpb_test_call (client, request);
    ck_assert_msg (gpb_reply_status (reply) == GPB_OK, "%s: %s",
                   gpb_status_name (gpb_reply_status (reply)), gpb_reply_message (reply));
    return reply;
}

uint64_t
gpb_test_rent (gpb_client_t *client, uint64_t size, gpb_rent_kind_t kind, gpb_rent_access_t access,
               int device)
{
    gpb_request_t *request = gpb_request_rent (size, kind, access);
    if (device >= 0)
        gpb_request_set_device (request, (unsigned) device);
    gpb_reply_t *reply = gpb_test_call_ok (client, request);
    uint64_t handle = gpb_reply_handle (reply);
    ck_assert_uint_ne (handle, 0);
    gpb_reply_destroy (&reply);
    return handle;
}

gpb_request_t *
gpb_test_sleep (int32_t us)
{
    gpb_request_t *request = gpb_request_execute ("sleep");
    gpb_request_i32 (request, us);
    return request;
}

uint64_t
gpb_test_in_flight (const Gpb__V1__StatsReply *stats)
{
    return stats->in_flight;
}

uint64_t
gpb_test_queue_depth (const Gpb__V1__StatsReply *stats)
{
    return stats->queue_depth;
}

uint64_t
gpb_test_connections (const Gpb__V1__StatsReply *stats)
{
    return stats->connections;
}

uint64_t
gpb_test_refused (const Gpb__V1__StatsReply *stats)
{
    return stats->refused;
}

uint64_t
gpb_test_dropped_clients (const Gpb__V1__StatsReply *stats)
{
    return stats->dropped_clients;
}

uint64_t
gpb_test_rented (const Gpb__V1__StatsReply *stats)
{
    uint64_t size = 0;
    for (size_t index = 0; index < stats->n_pools; index++)
        size += stats->pools [index]->in_use;
    return size;
}

uint64_t
gpb_test_available (const Gpb__V1__StatsReply *stats)
{
    uint64_t size = 0;
    for (size_t index = 0; index < stats->n_devices; index++)
        size += stats->devices [index]->available_memory;
    return size;
}

uint64_t
gpb_test_figure (gpb_client_t *client, gpb_test_figure_t *figure)
{
    gpb_reply_t *reply = gpb_test_call_ok (client, gpb_request_stats ());
    const Gpb__V1__Reply *header = gpb_reply_header_peek (reply);
    ck_assert_int_eq (header->body_case, GPB__V1__REPLY__BODY_STATS);
    uint64_t value = figure (header->stats);
    gpb_reply_destroy (&reply);
    return value;
}

void
gpb_test_wait_figure (gpb_client_t *client, gpb_test_figure_t *figure, uint64_t expected)
{
    uint64_t end_ns = s_deadline (), value;
    while ((value = gpb_test_figure (client, figure)) != expected) {
        ck_assert_msg (gpb_clock_ns () < end_ns, "the figure stays at %llu, and %llu was expected",
                       (unsigned long long) value, (unsigned long long) expected);
        poll (NULL, 0, 2);
    }
}

gpb_reply_t *
gpb_test_describe (gpb_client_t *client, unsigned index, const Gpb__V1__Device **device_p)
{
    gpb_reply_t *reply = gpb_test_call_ok (client, gpb_request_devices ());
    const Gpb__V1__DeviceList *list = gpb_reply_header_peek (reply)->devices;
    ck_assert_uint_lt (index, list->n_devices);
    *device_p = list->devices [index];
    return reply;
}

void
gpb_test_await_ready (gpb_client_t *client, unsigned index, uint64_t restarts)
{
    uint64_t end_ns = gpb_clock_ns () + 30 * GPB_NS_PER_S;
    bool is_ready = false;
    while (!is_ready) {
        const Gpb__V1__Device *device;
        gpb_reply_t *reply = gpb_test_describe (client, index, &device);
        is_ready = device->state == GPB__V1__DEVICE_STATE__READY && device->restarts >= restarts;
        if (is_ready)
            ck_assert_uint_eq (device->restarts, restarts);
        ck_assert_msg (gpb_clock_ns () < end_ns, "device %u: state %d, %llu restarts: %s", index,
                       (int) device->state, (unsigned long long) device->restarts, device->reason);
        gpb_reply_destroy (&reply);
    }
}

//  ---------------------------------------------------------------------------------------------------------
//  A client that can say anything

void
gpb_test_raw_open (gpb_test_raw_t *self, int type, const char *identity, const char *endpoint)
{
    memset (self, 0, sizeof *self);
    self->type = type;
    self->socket = zsock_new (type);
    ck_assert_ptr_nonnull (self->socket);
    zsock_set_linger (self->socket, 0);
    zsock_set_sndhwm (self->socket, 0);
    zsock_set_rcvhwm (self->socket, 0);
    if (identity)
        zsock_set_identity (self->socket, identity);
    ck_assert_int_eq (zsock_connect (self->socket, "%s", endpoint), 0);
}

static void
s_raw_clear (gpb_test_raw_t *self)
{
    if (self->reply)
        gpb__v1__reply__free_unpacked (self->reply, NULL);
    self->reply = NULL;
    zmsg_destroy (&self->payloads);
}

void
gpb_test_raw_close (gpb_test_raw_t *self)
{
    s_raw_clear (self);
    zsock_destroy (&self->socket);
}

void
gpb_test_raw_send (gpb_test_raw_t *self, zmsg_t **message_p)
{
    ck_assert_int_eq (zmsg_send (message_p, self->socket), 0);
}

zmsg_t *
gpb_test_raw_message (const Gpb__V1__Request *request)
{
    zmsg_t *message = zmsg_new ();
    zframe_t *frame = zframe_new (NULL, gpb__v1__request__get_packed_size (request));
    gpb__v1__request__pack (request, zframe_data (frame));
    zmsg_append (message, &frame);
    return message;
}

void
gpb_test_raw_request (gpb_test_raw_t *self, Gpb__V1__Request *request, zframe_t *payload)
{
    request->version = 1;
    zmsg_t *message = gpb_test_raw_message (request);
    if (self->type == ZMQ_DEALER)
        zmsg_pushmem (message, "", 0);
    if (payload)
        zmsg_append (message, &payload);
    gpb_test_raw_send (self, &message);
}

bool
gpb_test_raw_recv (gpb_test_raw_t *self, int timeout_ms)
{
    s_raw_clear (self);
    zmq_pollitem_t item = { zsock_resolve (self->socket), 0, ZMQ_POLLIN, 0 };
    if (zmq_poll (&item, 1, timeout_ms) < 1)
        return false;
    self->payloads = zmsg_recv (self->socket);
    ck_assert_ptr_nonnull (self->payloads);
    if (self->type == ZMQ_DEALER) {
        zframe_t *delimiter = zmsg_pop (self->payloads);
        ck_assert_msg (zframe_size (delimiter) == 0, "a reply without an empty frame in front");
        zframe_destroy (&delimiter);
    }
    zframe_t *header = zmsg_pop (self->payloads);
    ck_assert_msg (header != NULL, "a reply without a header");
    self->reply = gpb__v1__reply__unpack (NULL, zframe_size (header), zframe_data (header));
    ck_assert_msg (self->reply != NULL, "a reply that is no protobuf");
    ck_assert_uint_eq (self->reply->version, 1);
    zframe_destroy (&header);
    return true;
}

void
gpb_test_raw_expect (gpb_test_raw_t *self, uint64_t id, gpb_status_t status, const char *part)
{
    ck_assert_msg (gpb_test_raw_recv (self, s_patience_ms ()), "no reply to request %llu",
                   (unsigned long long) id);
    ck_assert_msg ((gpb_status_t) self->reply->status == status, "%s instead of %s: %s",
                   gpb_status_name ((gpb_status_t) self->reply->status), gpb_status_name (status),
                   self->reply->message);
    ck_assert_msg (strstr (self->reply->message, part) != NULL, "\"%s\" is not in: %s", part,
                   self->reply->message);
    ck_assert_uint_eq (self->reply->id, id);
}
