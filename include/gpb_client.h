//  gpb_client - sends requests to a node and hands over the replies
//
//  One client is one DEALER socket, for one thread at a time; it starts no thread. Thousands of
//  requests may be in flight; replies come in any order and are matched by id. Every request that
//  was sent is answered exactly once by gpb_client_recv, whatever happens: when the connection is
//  lost, everything in flight is answered UNAVAILABLE (but see gpb_client_set_retries); when a
//  request's time is up without an answer, DEADLINE_EXCEEDED. After a loss the client connects
//  again by itself, and what it owned on the node is gone.
//
//  Blocking: gpb_client_call. Asynchronous: put gpb_client_socket into your zpoller, poll no longer
//  than gpb_client_next_timeout, and after every return call gpb_client_recv with a time-out of 0
//  until it returns NULL.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_CLIENT_H_INCLUDED
#define GPB_CLIENT_H_INCLUDED

#include "gpb_certificate.h"
#include "gpb_reply.h"
#include "gpb_request.h"

#include <czmq.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct _gpb_client_t gpb_client_t;

//  endpoint: tcp://host:port, ipc://path or inproc://name; NULL: $GPB_NODE, else
//  tcp://127.0.0.1:5670. Does not wait for the node: a request sent before it is there waits for
//  it, as long as its time-out allows. INVALID_ARGUMENT for what is no endpoint.
GPB_EXPORT gpb_client_t *gpb_client_new (const char *endpoint, gpb_error_t *error);

//  The same over CURVE: everything is encrypted, nobody but the node whose public key `node` is can
//  answer, and the node knows this client by the key pair `own`. Both are borrowed for the call.
//  Where the node does not know that key, everything that waits is answered UNAUTHENTICATED.
//  FAILED_PRECONDITION where own has no secret key, INVALID_ARGUMENT where endpoint is not tcp: the
//  others do not leave the machine, and their nodes ask for no key.
GPB_EXPORT gpb_client_t *gpb_client_new_curve (const char *endpoint, const gpb_certificate_t *own,
                                               const gpb_certificate_t *node, gpb_error_t *error);

//  Says goodbye, so that what this client owns on the node returns at once, and drops what is still
//  unanswered. Waits at most 100 ms for the goodbye to leave.
GPB_EXPORT void gpb_client_destroy (gpb_client_t **self_p);

//  For requests that set none themselves. The default is 30,000 ms. 0 is refused.
GPB_EXPORT gpb_status_t gpb_client_set_timeout (gpb_client_t *self, uint32_t timeout_ms,
                                                gpb_error_t *error);

//  How often each request sent from now on may be sent again, by itself and within its time-out; 0,
//  the default: never. That happens
//  - where the node's queue has no room (RESOURCE_EXHAUSTED with gpb_reply_retry_after_ms): the
//    request was not begun, and is sent again after that time and up to a quarter more, which is
//    left to chance; after twice that time where it is refused again, and so on. A request whose
//    time-out would be over by then is answered with the refusal;
//  - where the connection was lost and the request is idempotent (gpb_request_set_idempotent): once
//    there is a connection again.
//  Until it is answered it is in flight, and may be cancelled. A payload that was taken
//  (gpb_request_in_take) is kept until then too: with 0 it is let go of when it has left.
GPB_EXPORT void gpb_client_set_retries (gpb_client_t *self, uint32_t count);

//  Sends a request, takes it, and waits for its reply; replies to other requests that come
//  meanwhile are kept for gpb_client_recv. The reply is the caller's, also where its status is not
//  OK. NULL only where the request could not be sent (its own first error, INVALID_ARGUMENT;
//  RESOURCE_EXHAUSTED when memory runs out or too much is unsent; CANCELLED where a signal
//  interrupted: then the request is cancelled on the node, and its reply is dropped).
GPB_EXPORT gpb_reply_t *gpb_client_call (gpb_client_t *self, gpb_request_t **request_p,
                                         gpb_error_t *error);

//  Sends a request and takes it. The id under which its reply will come, one more than that of the
//  request before (the first is 1), or 0 as gpb_client_call's NULL. Never waits: while the node is
//  not there yet the request is kept, and leaves in a later call of gpb_client_recv or
//  gpb_client_call.
GPB_EXPORT uint64_t gpb_client_send (gpb_client_t *self, gpb_request_t **request_p,
                                     gpb_error_t *error);

//  The next reply, the caller's. NULL when timeout_ms have passed (0: at once; -1: no limit, but
//  then only while something is in flight), when nothing is in flight, or when a signal interrupts.
GPB_EXPORT gpb_reply_t *gpb_client_recv (gpb_client_t *self, int timeout_ms);

//  Takes back a request: it is answered CANCELLED, unless its answer was on the way already. Never
//  waits. NOT_FOUND where nothing with this id is in flight.
GPB_EXPORT gpb_status_t gpb_client_cancel (gpb_client_t *self, uint64_t id, gpb_error_t *error);

//  Requests that are not answered yet.
GPB_EXPORT size_t gpb_client_in_flight (const gpb_client_t *self);

//  For the application's poller; readable when gpb_client_recv may have something. Do not read from
//  it. Borrowed.
GPB_EXPORT zsock_t *gpb_client_socket (gpb_client_t *self);

//  How long to poll at the most before gpb_client_recv must be called again, in ms; -1: no limit.
//  At most 100 while anything is in flight, since a lost connection does not make the socket
//  readable.
GPB_EXPORT int gpb_client_next_timeout (gpb_client_t *self);

#ifdef __cplusplus
}
#endif

#endif
