//  gpb_router - a ROUTER that knows its connections
//
//  The public end of a broker, a device or a pool. It reads messages within the protocol's bounds,
//  says which connection each came from, and says when a connection has ended: by its DISCONNECTED
//  event (tcp, ipc), by a goodbye, by a lease that was not renewed (inproc), or because the peer
//  did not take its replies. A send never waits: a peer that has reply_high_water messages or
//  reply_max_size bytes unread is dropped, and counted. Over inproc a reply's bytes are the peer's
//  until it frees them, so they count until then.
//
//  An actor of this process that speaks for others (its messages carry a hop frame: a broker to its
//  devices, a device to its pool) has neither lease nor bound in bytes: it lives as long as its
//  node does, may have nothing to say for hours, and counts the bytes of each of its own clients.
//
//  Who may come in, and where it may listen, is the gate's to say (gpb_gate.h). A public router has
//  two sockets: one in CZMQ's context for inproc, and one in the gate's for everybody else. A
//  connection that came in with a key has it as its own; where that key is no longer allowed, the
//  connection is closed.
//
//  One thread. The sockets are for the owner's zmq_poll; whenever one of them is readable, or
//  gpb_router_next_timeout has passed, the owner calls gpb_router_recv as often as it likes, then
//  gpb_router_ended until it gives NULL.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_ROUTER_H_INCLUDED
#define GPB_ROUTER_H_INCLUDED

#include "gpb_gate.h"
#include "gpb_message.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct _gpb_router_t gpb_router_t;

//  One peer, from its first message to its end.
typedef struct {
    uint64_t number;         //  from 1, never used twice
    bool is_inproc;          //  in this process
    void *data;              //  the owner's
    const gpb_key_t *key;    //  that it came in with; NULL: without. As long as the router lives
    void *account;           //  the owner's
} gpb_connection_t;

typedef struct {
    uint64_t max_frame_size;      //  bytes; a larger one closes the connection
    uint32_t reply_high_water;    //  messages unread by one peer
    uint64_t reply_max_size;      //  bytes unread by one peer, in frames of at least 4 KiB
    uint32_t
        heartbeat_ms;     //  between ZMTP pings; a peer silent for three of them is gone. 0: none
    uint32_t lease_ms;    //  an inproc client silent for so long is gone
    gpb_gate_options_t gate;
} gpb_router_options_t;

typedef struct {
    uint64_t connections;        //  now
    uint64_t received;           //  messages read, good or bad
    uint64_t sent;               //  messages sent
    uint64_t refused;            //  messages out of bounds
    uint64_t dropped_replies;    //  whose peer was gone
    uint64_t dropped_peers;      //  that did not take their replies
} gpb_router_figures_t;

//  What changes every message between the socket and the owner, where both ends agree on it.
typedef struct {
    void *context;

    //  Of a message that was received, its peer's identity first: false where it is to be dropped.
    bool (*unpack) (void *context, gpb_message_t *message);

    //  Of one that is about to be sent.
    void (*pack) (void *context, gpb_message_t *message);
} gpb_carrier_t;

gpb_router_t *gpb_router_new (const gpb_router_options_t *options, gpb_error_t *error);

//  From now on all messages go through carrier, which is borrowed; before the first one.
void gpb_router_set_carrier (gpb_router_t *self, const gpb_carrier_t *carrier);

//  Waits at most linger_ms for what is sent to leave. Connections are gone with it, without being
//  said to have ended.
void gpb_router_destroy (gpb_router_t **self_p, int linger_ms);

//  Binds one more endpoint. *bound (of bound_size bytes) becomes the endpoint as it is, with the
//  port where "*" was asked for. UNAVAILABLE where the address is taken, INVALID_ARGUMENT for what
//  is no endpoint, FAILED_PRECONDITION for one that strangers could reach without a key.
gpb_status_t gpb_router_bind (gpb_router_t *self, const char *endpoint, char *bound,
                              size_t bound_size, gpb_error_t *error);

//  Whether something has been done with a ROUTER since it was read until there was no more: then
//  its descriptor may not tell what is there (gpb_poller.h).
bool gpb_router_is_touched (const gpb_router_t *self);

//  The raw sockets to poll for input. The remote one is what gpb_router_socket is where the router
//  is not public. The gate's is served by gpb_router_recv and gpb_router_ended too.
void *gpb_router_socket (gpb_router_t *self);
void *gpb_router_remote (gpb_router_t *self);
void *gpb_router_monitor (gpb_router_t *self);
gpb_gate_t *gpb_router_gate (gpb_router_t *self);

//  Closes every connection whose key is no longer allowed (gpb_gate_refresh); each comes out of
//  gpb_router_ended. Returns how many.
size_t gpb_router_check_keys (gpb_router_t *self);

//  How long to poll at the most, in ms; -1: no limit.
int gpb_router_next_timeout (const gpb_router_t *self);

//  The next message, its peer's identity being the first frame of its envelope, and where it came
//  from (borrowed until the connection has ended). UNAVAILABLE: there is none. INVALID_ARGUMENT: it
//  was out of bounds; message has its envelope, for the refusal. RESOURCE_EXHAUSTED: there is no
//  memory for a new connection; message is whole where it was within bounds, and the connection,
//  whose number is 0, is for the refusal alone.
gpb_status_t gpb_router_recv (gpb_router_t *self, gpb_message_t *message,
                              gpb_connection_t **connection_p, gpb_error_t *error);

//  Sends a message to the peer that its envelope begins with; message is empty afterwards in any
//  case. connection must be that peer's, or NULL where it has ended. False where it could not be
//  sent: the peer is gone or, now, dropped.
bool gpb_router_send (gpb_router_t *self, gpb_connection_t *connection, gpb_message_t *message);

//  Ends a connection by the peer's own word; it will come out of gpb_router_ended. A peer that then
//  says more is a new connection.
void gpb_router_end (gpb_router_t *self, gpb_connection_t *connection);

//  A connection that has ended, or NULL. What it owned is to be dropped before the next call, which
//  frees it.
gpb_connection_t *gpb_router_ended (gpb_router_t *self);

//  Figures since start; borrowed.
const gpb_router_figures_t *gpb_router_figures (const gpb_router_t *self);

#endif
