//  gpb_gate - what a router does about strangers
//
//  Binds a router's endpoints, and holds the rules for that: a tcp endpoint asks for a key of the
//  keyring where the gate has a certificate; without one, an address beyond the loopback is refused
//  unless `insecure` is said; an ipc endpoint's file is its owner's alone (gpb_listen.h).
//
//  A public gate has a ZeroMQ context of its own for the sockets that strangers reach, so that its
//  ZAP handler (gpb_zap.h) decides for them and for nobody else, whatever handler the application
//  has, or starts later. It bounds the open connections, each of which is a descriptor, and closes
//  what is over. A gate that is not public is one of the node's inner endpoints: it is in CZMQ's
//  context, and cannot ask for keys.
//
//  One thread: the router's, which calls gpb_gate_serve whenever gpb_gate_socket is readable.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_GATE_H_INCLUDED
#define GPB_GATE_H_INCLUDED

#include "gpb_keyring.h"

#include <stddef.h>
#include <stdint.h>

typedef struct _gpb_gate_t gpb_gate_t;

typedef struct {
    bool is_public;
    bool insecure;               //  addresses beyond the loopback without keys
    const char *curve;           //  the node's key pair, a file; NULL or "": no keys are asked for
    const char *allowed_keys;    //  then the folder of public keys that may come in
    uint32_t handshake_ms;       //  a connection that has not said hello by then is closed; 0: 30 s
    uint32_t max_connections;    //  open at once; 0: no bound
} gpb_gate_options_t;

typedef struct {
    bool is_insecure;                //  an endpoint beyond the loopback asks for no key
    uint64_t open;                   //  connections, greeted or not
    uint64_t max_connections;        //  as options say, or as descriptors are left; 0: no bound
    uint64_t refused_connections;    //  closed since they were over that
    uint64_t refused_keys;           //  connections whose key is not allowed
    const char *refused_address;     //  of the last of these; borrowed
} gpb_gate_figures_t;

//  Options' strings are borrowed for the call. NULL: the reason is in *error, keys that cannot be
//  read among them.
gpb_gate_t *gpb_gate_new (const gpb_gate_options_t *options, gpb_error_t *error);

//  Removes the files of its ipc endpoints and, where it is public, ends its context, which waits
//  for what is still to be sent by its sockets; they must be closed.
void gpb_gate_destroy (gpb_gate_t **self_p);

//  The context for the sockets that are bound by it.
void *gpb_gate_context (gpb_gate_t *self);

//  Sets what has to be set on a libzmq socket before it is bound.
void gpb_gate_prepare (gpb_gate_t *self, void *socket);

//  As gpb_router_bind, which says more. FAILED_PRECONDITION where the rules forbid it.
gpb_status_t gpb_gate_bind (gpb_gate_t *self, void *socket, const char *endpoint, char *bound,
                            size_t bound_size, gpb_error_t *error);

//  The ZAP handler's socket, to poll; NULL: there is none.
void *gpb_gate_socket (gpb_gate_t *self);
void gpb_gate_serve (gpb_gate_t *self);

//  What the socket's monitor says: a connection with this descriptor was accepted, or closed.
void gpb_gate_accepted (gpb_gate_t *self, int fd);
void gpb_gate_closed (gpb_gate_t *self);

//  Ends a connection by its descriptor.
void gpb_gate_shutdown (gpb_gate_t *self, int fd);

//  Whose connection has this "User-Id" (NULL: it has none). True: it may come in, and *key_p is its
//  key, or NULL for one without. The key is the gate's, for as long as that lives.
bool gpb_gate_admit (gpb_gate_t *self, const char *user, const gpb_key_t **key_p);

//  Looks at the folder of keys again; true where it has changed. gpb_gate_notice is
//  gpb_keyring_notice.
bool gpb_gate_refresh (gpb_gate_t *self);
const char *gpb_gate_notice (const gpb_gate_t *self, unsigned index);
unsigned gpb_gate_keys (const gpb_gate_t *self);

gpb_gate_figures_t gpb_gate_figures (const gpb_gate_t *self);

#endif
