//  gpb_service - what every actor that speaks the public protocol does alike
//
//  Reads requests from a gpb_router, unpacks and checks their headers, and calls the actor's
//  handler for the kind of request; refuses by itself what cannot be read and what the actor has no
//  handler for; builds and sends replies; serves the actor's pipe. One thread: the actor's.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_SERVICE_H_INCLUDED
#define GPB_SERVICE_H_INCLUDED

#include "gpb_codec.h"
#include "gpb_config.h"
#include "gpb_hop.h"
#include "gpb_router.h"

#include <czmq.h>

typedef struct _gpb_service_t gpb_service_t;

//  Who owns a rent or a request: a connection of ours and, behind a broker, one of its own.
typedef struct {
    uint64_t connection;    //  gpb_connection_t.number
    uint64_t behind;        //  gpb_hop_t.owner; 0: the connection itself
} gpb_owner_t;

static inline bool
gpb_owner_same (const gpb_owner_t *one, const gpb_owner_t *other)
{
    return one->connection == other->connection && one->behind == other->behind;
}

//  One request, while its handler runs.
typedef struct {
    const Gpb__V1__Request *request;    //  borrowed
    gpb_message_t *message;             //  its frames; a handler that answers later moves them out
    gpb_connection_t *connection;       //  borrowed until it has ended
    gpb_owner_t owner;
    bool is_inproc;          //  the client, also one behind a broker, is in this process
    uint64_t received_ns;    //  gpb_clock_ns ()
    uint64_t deadline_ns;    //  likewise: to be answered by then
} gpb_call_t;

typedef void (gpb_handler_fn) (void *self, gpb_call_t *call);

//  The table that an actor is: a handler for each Gpb__V1__Request__BodyCase.
typedef struct {
    Gpb__V1__Request__BodyCase kind;
    gpb_handler_fn *handler;
} gpb_handler_t;

//  Commands of the pipe that the actor adds to BIND and $TERM. words ends in NULL; the first is the
//  command. The answer is a status, and a text in *error, which is sent for GPB_OK too.
typedef gpb_status_t (gpb_command_fn) (void *self, char **words, size_t count, gpb_error_t *error);

//  handlers is borrowed for the life of the service; self is passed to them. NULL: the reason is in
//  *error.
gpb_service_t *gpb_service_new (const gpb_config_t *config, const gpb_handler_t *handlers,
                                size_t handlers_count, void *self, gpb_error_t *error);

//  The same for the end of a node that strangers reach: its router is public (gpb_router.h).
gpb_service_t *gpb_service_new_public (const gpb_config_t *config, const gpb_handler_t *handlers,
                                       size_t handlers_count, void *self, gpb_error_t *error);

void gpb_service_destroy (gpb_service_t **self_p, int linger_ms);

gpb_router_t *gpb_service_router (gpb_service_t *self);

//  From now on every request is refused with this status and text (a device that is lost, a node
//  that drains); GPB_OK ends it. Goodbye and cancel are served all the same.
void gpb_service_refuse_all (gpb_service_t *self, gpb_status_t status, const char *text);

//  Reads and handles what is there, `most` requests at the most. Returns how many.
size_t gpb_service_receive (gpb_service_t *self, size_t most);

//  Packs reply into message, whose envelope is the request's and whose payloads are the reply's,
//  and sends it. version is filled in. message is empty afterwards. connection NULL: the client is
//  gone, and the reply is dropped.
void gpb_service_reply (gpb_service_t *self, gpb_connection_t *connection, gpb_message_t *message,
                        Gpb__V1__Reply *reply);

//  Answers with a status that is not OK; the payloads of message are closed.
void gpb_service_refuse (gpb_service_t *self, gpb_connection_t *connection, gpb_message_t *message,
                         uint64_t id, const gpb_error_t *error);

//  The same for a call, while its handler runs; the second one says when to ask again, in ms (0:
//  nothing is known of that).
void gpb_call_refuse (gpb_service_t *self, gpb_call_t *call, const gpb_error_t *error);
void gpb_call_refuse_until (gpb_service_t *self, gpb_call_t *call, uint32_t retry_after_ms,
                            const gpb_error_t *error);
void gpb_call_reply (gpb_service_t *self, gpb_call_t *call, Gpb__V1__Reply *reply);

//  Answers with a header that was packed before, without an id; it stays the caller's.
void gpb_call_reply_packed (gpb_service_t *self, gpb_call_t *call, const zmq_msg_t *header);

//  Answers OK to a request whose reply says no more than that (goodbye, release, copy,
//  register_kernel, cancel, unmap).
void gpb_call_done (gpb_service_t *self, gpb_call_t *call);

//  Reads one command from the pipe and answers it. False for $TERM, and where the pipe was
//  interrupted. command may be NULL.
bool gpb_service_command (gpb_service_t *self, zsock_t *pipe, gpb_command_fn *command);

//  The same for an actor whose commands are its own.
bool gpb_pipe_serve (zsock_t *pipe, gpb_command_fn *command, void *self);

//  The same for one that could not start: every command but $TERM is answered with the reason.
bool gpb_pipe_refuse (zsock_t *pipe, const gpb_error_t *reason);

//  Answers a command of a pipe by two frames: a status by name, and a text.
void gpb_pipe_answer (zsock_t *pipe, gpb_status_t status, const char *text);

//  The node's name: what the configuration says, or else the machine's. The caller's, for gpb_free;
//  NULL when memory runs out.
char *gpb_node_name (const gpb_config_t *config);

//  Sends a command (words ends in NULL) to an actor and waits for its answer, whose text stands in
//  error also for GPB_OK.
gpb_status_t gpb_pipe_ask (zactor_t *actor, const char *const *words, gpb_error_t *error);

#endif
