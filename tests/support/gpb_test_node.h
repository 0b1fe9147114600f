//  gpb_test_node - nodes for a test, and two kinds of clients of them
//
//  A node is the program build/gpb_actor in a process of its own, or composed in the test's. Every
//  function ends the test where something fails that the test is not about, and waits no longer
//  than GPB_TEST_PATIENCE_MS. A node that a failed test leaves behind is killed by Check, with the
//  test's process group. What the environment says when a node starts is the node's (GPB_FAKE_...);
//  each test runs in a process of its own, so that setenv needs no undoing. One thread.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_TEST_NODE_H_INCLUDED
#define GPB_TEST_NODE_H_INCLUDED

#include "gpb.h"
#include "gpb_test.h"

#include "gpb.pb-c.h"

#include <sys/types.h>

#define GPB_TEST_ENDPOINTS_MAX 4
#define GPB_TEST_PATIENCE_MS 20000
#define GPB_TEST_ANY_PORT "tcp://127.0.0.1:*"

typedef struct {
    pid_t pid;          //  0: not a process, or not any more
    int output;         //  its standard output
    int errors;         //  its standard error, or -1: the test's own
    zactor_t *actor;    //  composed; else NULL
    size_t endpoints_count;
    char endpoints [GPB_TEST_ENDPOINTS_MAX][256];    //  as it printed them
} gpb_test_node_t;

//  ---------------------------------------------------------------------------------------------------------
//  Nodes

//  Starts the program with these options and waits for a line `ready ENDPOINT` for each --bind;
//  where there is none, on a free port of the loopback.
#define gpb_test_node_start(self, ...)                                                             \
    gpb_test_node_start_options (self, (const char *const []){ __VA_ARGS__, NULL })
void gpb_test_node_start_options (gpb_test_node_t *self, const char *const *options);

//  The same without waiting, and with its standard error kept; for a node that is not to start.
#define gpb_test_node_spawn(self, ...)                                                             \
    gpb_test_node_spawn_options (self, (const char *const []){ __VA_ARGS__, NULL })
void gpb_test_node_spawn_options (gpb_test_node_t *self, const char *const *options);

//  Waits for its end. The exit status, or 256 and the signal that ended it. *errors (may be NULL),
//  of errors_size bytes, becomes what it wrote to standard error, if that was kept.
int gpb_test_node_wait (gpb_test_node_t *self, char *errors, size_t errors_size);

//  SIGTERM; the exit status must be 0.
void gpb_test_node_stop (gpb_test_node_t *self);

//  SIGKILL.
void gpb_test_node_kill (gpb_test_node_t *self);

//  The processes of its devices that live, in the order of starting, `most` at most; how many.
unsigned gpb_test_node_children (const gpb_test_node_t *self, pid_t *pids, unsigned most);

//  The process that started this one, and its state, a letter of /proc's; 0: there is none.
pid_t gpb_test_parent (pid_t pid, char *state);

//  Starts a node in this process, bound to endpoint, with these pairs of keys and values.
//  gpb_test_node_stop ends it too.
#define gpb_test_node_compose(self, endpoint, ...)                                                 \
    gpb_test_node_compose_options (self, endpoint, (const char *const []){ __VA_ARGS__, NULL })
void gpb_test_node_compose_options (gpb_test_node_t *self, const char *endpoint,
                                    const char *const *pairs);

//  The backend of the tests, with packages of its own (tests/kernels_fake). Before a node starts.
void gpb_test_use_fake (unsigned devices, uint64_t memory_size);

//  Adds a folder of the source tree to the kernel path. Before a node starts.
void gpb_test_use_packages (const char *folder);

//  Adds an option for the sanitizer that reads this variable, ASAN_OPTIONS or TSAN_OPTIONS. Before
//  a node starts.
void gpb_test_sanitizer_option (const char *variable, const char *option);

//  ---------------------------------------------------------------------------------------------------------
//  A client of the library's

//  Connected, since it has said hello: what it sends next is on its way without its help.
gpb_client_t *gpb_test_client (const gpb_test_node_t *node);

//  Calls, and expects an answer of any status. The caller's.
gpb_reply_t *gpb_test_call (gpb_client_t *client, gpb_request_t *request);

//  Calls, and expects OK.
gpb_reply_t *gpb_test_call_ok (gpb_client_t *client, gpb_request_t *request);

//  Rents; the handle.
uint64_t gpb_test_rent (gpb_client_t *client, uint64_t size, gpb_rent_kind_t kind,
                        gpb_rent_access_t access, int device);

//  The request for the kernel sleep of tests/kernels_fake.
gpb_request_t *gpb_test_sleep (int32_t us);

//  A figure of the node's, and waiting until it is what is expected. A read function looks at a
//  StatsReply.
typedef uint64_t (gpb_test_figure_t) (const Gpb__V1__StatsReply *stats);
gpb_test_figure_t gpb_test_in_flight, gpb_test_connections, gpb_test_rented, gpb_test_available,
    gpb_test_refused, gpb_test_dropped_clients, gpb_test_queue_depth;
uint64_t gpb_test_figure (gpb_client_t *client, gpb_test_figure_t *figure);
void gpb_test_wait_figure (gpb_client_t *client, gpb_test_figure_t *figure, uint64_t expected);

//  A device's own description; the reply is the caller's.
gpb_reply_t *gpb_test_describe (gpb_client_t *client, unsigned index,
                                const Gpb__V1__Device **device_p);

//  Waits until a device is ready after so many losses.
void gpb_test_await_ready (gpb_client_t *client, unsigned index, uint64_t restarts);

//  ---------------------------------------------------------------------------------------------------------
//  A client that can say anything: a socket, and the frames that it is given

typedef struct {
    zsock_t *socket;
    int type;                 //  ZMQ_DEALER or ZMQ_REQ
    Gpb__V1__Reply *reply;    //  the one received last
    zmsg_t *payloads;         //  and its payloads
} gpb_test_raw_t;

//  identity may be NULL.
void gpb_test_raw_open (gpb_test_raw_t *self, int type, const char *identity, const char *endpoint);
void gpb_test_raw_close (gpb_test_raw_t *self);

//  Takes the frames as they are; a DEALER has to send the empty one itself.
void gpb_test_raw_send (gpb_test_raw_t *self, zmsg_t **message_p);

//  A request as the protocol has it, with the version filled in, and with one payload frame behind
//  it where payload is not NULL (taken).
void gpb_test_raw_request (gpb_test_raw_t *self, Gpb__V1__Request *request, zframe_t *payload);

//  The same as a message, to be spoiled.
zmsg_t *gpb_test_raw_message (const Gpb__V1__Request *request);

//  The next reply, in self->reply; false where none comes in that time. A reply must be well
//  formed.
bool gpb_test_raw_recv (gpb_test_raw_t *self, int timeout_ms);

//  The next reply must be this one.
void gpb_test_raw_expect (gpb_test_raw_t *self, uint64_t id, gpb_status_t status, const char *part);

#endif
