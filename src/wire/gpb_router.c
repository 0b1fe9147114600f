//  gpb_router - a ROUTER that knows its connections
//
//  libzmq's ROUTER tells nobody that a peer left. What tells is the socket's monitor, which knows
//  file descriptors only; a message's "__fd" property ties the two together. Descriptors are
//  reused, so three things are looked at whenever a peer is seen for the first time, after every
//  event so far has been read (the monitor gets ACCEPTED before the peer's first message can be
//  read, and DISCONNECTED before the descriptor's next ACCEPTED):
//    - the descriptor is not open: the peer left before it was read; its message is dropped, since
//    nobody is there to
//      answer, and nothing would ever say again that it left;
//    - another peer holds the descriptor: one of them is dead. ROUTER's own identities count up, so
//    the
//      smaller is the dead one; of identities that peers chose, the one seen first;
//    - neither: a new connection.
//
//  Payload frames from 4 KiB on are sent inside a frame of ours whose free function (libzmq calls
//  it on any thread, when the bytes have left or the reader is done) counts them off the
//  connection's debt. The debt outlives the connection, by a reference count, for as long as libzmq
//  holds a frame.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_router.h"

#include "gpb_alloc.h"
#include "gpb_clock.h"
#include "gpb_hop.h"
#include "gpb_monitor.h"
#include "gpb_unique.h"

#include <czmq.h>
#include <inttypes.h>
#include <stdatomic.h>

#define COUNTED_FRAME_SIZE 4096    //  smaller frames are bounded by the high-water mark alone
#define HEARTBEATS_MISSED 3
#define LOOK_EVERY 32       //  messages of one socket, at the other one that was empty
#define LEASE_CHECKS 4      //  a lease is looked at so many times while it lasts
#define FD_MAX (1 << 20)    //  Linux's default hard limit of open files, fs.nr_open

//  Bytes that libzmq still holds for one peer.
typedef struct {
    atomic_uint_fast64_t size;
    atomic_uint_fast32_t references;
} s_debt_t;

//  A frame inside a frame.
typedef struct {
    zmq_msg_t inner;
    s_debt_t *debt;
    uint64_t size;
} s_counted_t;

typedef struct _s_peer_t {
    gpb_connection_t connection;    //  what the owner sees; the first member
    uint8_t identity [256];
    size_t identity_size;
    bool is_remote;        //  it is the remote ROUTER's, whose identities are its own
    bool is_identified;    //  connection.key is known
    int fd;                //  -1: inproc
    bool
        chosen;    //  the peer chose its identity, so that it may come back with another descriptor
    bool dropped;     //  it did not take its replies, and gets no more
    bool forwards;    //  an actor of this process that sends hop frames: it has no lease, no debt
    uint64_t seen_ns;    //  when its last message came
    s_debt_t *debt;      //  NULL: a tombstone, of a peer that was dropped
    struct _s_peer_t *next_ended;
} s_peer_t;

struct _gpb_router_t {
    gpb_router_options_t options;
    const gpb_carrier_t *carrier;    //  NULL: messages are what they are
    gpb_router_figures_t figures;
    gpb_gate_t *gate;
    zsock_t *router;
    void *router_zmq;    //  the same, as libzmq knows it
    void *remote_zmq;    //  the same, or the one in the gate's context
    void *monitor_zmq;
    bool touched;        //  gpb_router_is_touched
    bool reads_local;    //  the two are two, and something is bound at the local one
    bool was_remote;     //  whose turn it was
    bool
        is_empty [2];    //  nothing was there at the last look: at the local one, at the remote one
    unsigned passed_over;    //  times that it was not looked at since
    zhashx_t *peers;         //  by identity
    struct {
        bool open;         //  between ACCEPTED and DISCONNECTED
        s_peer_t *peer;    //  NULL until its first message
    } * fds;               //  by descriptor
    size_t fds_count;
    bool holds_event;    //  event and its descriptor, read and not noted: there was no memory
    uint16_t event;
    int32_t event_fd;
    s_peer_t stranger;    //  stands for every peer for which there is no memory; never found
    s_debt_t stranger_debt;
    s_peer_t *first_ended, *last_ended;    //  not yet told to the owner
    s_peer_t *told;                        //  what gpb_router_ended gave last
    uint64_t last_number;
    uint64_t lease_check_ns;    //  when leases are looked at next; 0: no inproc peer
    size_t inproc_peers;
};

//  ---------------------------------------------------------------------------------------------------------
//  Peers by identity: keys are the peers themselves, so that a look-up allocates nothing

static size_t
s_identity_hash (const void *key)
{
    const s_peer_t *peer = key;
    uint64_t hash = 0xcbf29ce484222325ULL ^ peer->is_remote;    //  FNV-1a, 64 bits
    for (size_t index = 0; index < peer->identity_size; index++)
        hash = (hash ^ peer->identity [index]) * 0x100000001b3ULL;
    return (size_t) hash;
}

static int
s_identity_compare (const void *left, const void *right)
{
    const s_peer_t *one = left, *other = right;
    if (one->identity_size != other->identity_size)
        return one->identity_size < other->identity_size ? -1 : 1;
    if (one->is_remote != other->is_remote)
        return one->is_remote ? 1 : -1;
    return memcmp (one->identity, other->identity, one->identity_size);
}

static s_peer_t *
s_peer_lookup (gpb_router_t *self, zmq_msg_t *identity, bool is_remote)
{
    s_peer_t key;
    key.is_remote = is_remote;
    key.identity_size = zmq_msg_size (identity);
    if (key.identity_size > sizeof key.identity)
        return NULL;
    memcpy (key.identity, zmq_msg_data (identity), key.identity_size);
    return zhashx_lookup (self->peers, &key);
}

//  ---------------------------------------------------------------------------------------------------------
//  The life of a peer

static void
s_debt_release (s_debt_t *debt)
{
    if (atomic_fetch_sub (&debt->references, 1) == 1)
        gpb_free (debt);
}

static void
s_peer_free (s_peer_t *peer)
{
    if (peer->debt)
        s_debt_release (peer->debt);
    gpb_free (peer);
}

static bool
s_fd_known (gpb_router_t *self, int fd)
{
    if (fd < 0 || fd >= FD_MAX)
        return false;
    if ((size_t) fd >= self->fds_count) {
        size_t count = (size_t) fd + 64;
        void *fds = gpb_realloc (self->fds, count, sizeof *self->fds);
        if (!fds)
            return false;
        self->fds = fds;
        memset (self->fds + self->fds_count, 0, (count - self->fds_count) * sizeof *self->fds);
        self->fds_count = count;
    }
    return true;
}

//  The peer can no longer be found, and waits to be told.
static void
s_peer_end (gpb_router_t *self, s_peer_t *peer)
{
    if (zhashx_lookup (self->peers, peer) != peer)
        return;
    zhashx_delete (self->peers, peer);
    if (peer->fd >= 0 && self->fds [peer->fd].peer == peer)
        self->fds [peer->fd].peer = NULL;
    if (peer->fd < 0)
        self->inproc_peers--;
    if (!peer->debt) {
        s_peer_free (peer);
        return;
    }
    if (self->last_ended)
        self->last_ended->next_ended = peer;
    else
        self->first_ended = peer;
    self->last_ended = peer;
    self->figures.connections--;
}

static void
s_peer_insert (gpb_router_t *self, s_peer_t *peer)
{
    if (peer->fd >= 0)
        self->fds [peer->fd].peer = peer;
    else {
        self->inproc_peers++;
        if (!self->lease_check_ns)
            self->lease_check_ns =
                gpb_clock_ns () + self->options.lease_ms * GPB_NS_PER_MS / LEASE_CHECKS;
    }
    zhashx_insert (self->peers, peer, peer);
}

//  Reads all events that are there. False where memory ran out: the event is kept, since whoever it
//  tells of would else not be known for as long as it is there, and the next call goes on with it.
static bool
s_monitor_drain (gpb_router_t *self)
{
    while (self->holds_event || gpb_monitor_next (self->monitor_zmq, &self->event, &self->event_fd))
    {
        int fd = self->event_fd;
        bool is_known = s_fd_known (self, fd);
        self->holds_event = !is_known && fd >= 0 && fd < FD_MAX;
        if (self->holds_event)
            return false;
        if (!is_known)
            continue;
        if (self->event == ZMQ_EVENT_ACCEPTED) {
            self->fds [fd].open = true;
            gpb_gate_accepted (self->gate, fd);
        }
        else if (self->event == ZMQ_EVENT_DISCONNECTED) {
            self->fds [fd].open = false;
            gpb_gate_closed (self->gate);
            if (self->fds [fd].peer)
                s_peer_end (self, self->fds [fd].peer);
        }
    }
    return true;
}

//  ROUTER's own identities are a zero byte and a number that counts up.
static bool
s_identity_is_older (const s_peer_t *peer, const s_peer_t *other)
{
    uint32_t mine, theirs;
    memcpy (&mine, peer->identity + 1, sizeof mine);
    memcpy (&theirs, other->identity + 1, sizeof theirs);
    return (int32_t) (ntohl (mine) - ntohl (theirs)) < 0;
}

//  Finds out whose key the connection of a peer came in with. False, and it is shut down, where
//  that is not allowed any more. What was out of bounds has no frame left to tell it: the next
//  message has.
static bool
s_identify (gpb_router_t *self, s_peer_t *peer, gpb_message_t *message)
{
    const char *user;
    if (peer->fd < 0 || !gpb_message_user (message, &user)) {
        peer->is_identified = peer->fd < 0;
        return true;
    }
    peer->is_identified = true;
    if (gpb_gate_admit (self->gate, user, &peer->connection.key))
        return true;
    gpb_gate_shutdown (self->gate, peer->fd);
    return false;
}

//  The peer that a message came from, the stranger where memory ran out, or NULL where it is gone
//  already, or may not be here any more.
static s_peer_t *
s_peer_of (gpb_router_t *self, gpb_message_t *message, bool is_remote)
{
    zmq_msg_t *identity = &message->envelope [0];
    s_peer_t *peer = s_peer_lookup (self, identity, is_remote);
    if (peer && !peer->chosen && peer->is_identified)
        return peer;
    int fd = gpb_message_fd (message);

    //  A peer that chose its identity may have left and come back, with the same descriptor too:
    //  only the events tell.
    if (!s_monitor_drain (self))
        return &self->stranger;
    peer = s_peer_lookup (self, identity, is_remote);
    if (peer && peer->fd == fd) {
        if (peer->is_identified || !peer->debt || s_identify (self, peer, message))
            return peer;
        s_peer_end (self, peer);
        return NULL;
    }
    if (peer)
        s_peer_end (self, peer);
    if (fd >= 0 && ((size_t) fd >= self->fds_count || !self->fds [fd].open))
        return NULL;
    if (zmq_msg_size (identity) > sizeof peer->identity)
        return NULL;

    peer = gpb_alloc (1, sizeof *peer);
    s_debt_t *debt = gpb_alloc (1, sizeof *debt);
    if (!peer || !debt) {
        gpb_free (peer);
        gpb_free (debt);
        return &self->stranger;
    }
    peer->debt = debt;
    atomic_init (&debt->references, 1);
    peer->identity_size = zmq_msg_size (identity);
    memcpy (peer->identity, zmq_msg_data (identity), peer->identity_size);
    peer->chosen = peer->identity_size != 5 || peer->identity [0] != 0;
    peer->fd = fd;
    peer->is_remote = is_remote;
    if (!s_identify (self, peer, message)) {
        s_peer_free (peer);
        return NULL;
    }
    if (fd >= 0) {
        s_peer_t *holder = self->fds [fd].peer;
        if (holder && !holder->chosen && !peer->chosen && s_identity_is_older (peer, holder)) {
            s_peer_free (peer);
            return NULL;
        }
        if (holder)
            s_peer_end (self, holder);
    }
    peer->connection.number = ++self->last_number;
    peer->connection.is_inproc = fd < 0;
    s_peer_insert (self, peer);
    self->figures.connections++;
    return peer;
}

static void
s_check_leases (gpb_router_t *self)
{
    uint64_t now_ns = gpb_clock_ns ();
    if (!self->lease_check_ns || now_ns < self->lease_check_ns)
        return;
    uint64_t lease_ns = self->options.lease_ms * GPB_NS_PER_MS;
    s_peer_t *late = NULL;
    do {
        late = NULL;
        for (s_peer_t *peer = zhashx_first (self->peers); peer && !late;
             peer = zhashx_next (self->peers))
            if (peer->fd < 0 && !peer->forwards && now_ns - peer->seen_ns > lease_ns)
                late = peer;
        if (late)
            s_peer_end (self, late);
    } while (late);
    self->lease_check_ns = self->inproc_peers ? now_ns + lease_ns / LEASE_CHECKS : 0;
}

//  ---------------------------------------------------------------------------------------------------------
//  new, bind

//  What both sockets have in common.
static void
s_configure (gpb_router_t *self, void *socket)
{
    const gpb_router_options_t *options = &self->options;
    int mandatory = 1, high_water = (int) options->reply_high_water, linger_ms = 0;
    int64_t max_size = (int64_t) options->max_frame_size;
    zmq_setsockopt (socket, ZMQ_ROUTER_MANDATORY, &mandatory, sizeof mandatory);
    //  A connection that has left keeps the answers that it has not sent for as long as its socket
    //  said when it was bound (own.cpp, process_term_req): by libzmq's default for ever. Where the
    //  socket is being closed just then, nobody reads them any more, and its context never ends.
    //  Nobody is there to have them; for the others gpb_router_destroy says how long.
    zmq_setsockopt (socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    zmq_setsockopt (socket, ZMQ_SNDHWM, &high_water, sizeof high_water);
    zmq_setsockopt (socket, ZMQ_MAXMSGSIZE, &max_size, sizeof max_size);
    if (options->heartbeat_ms) {
        int interval_ms = (int) options->heartbeat_ms, silent_ms = interval_ms * HEARTBEATS_MISSED;
        zmq_setsockopt (socket, ZMQ_HEARTBEAT_IVL, &interval_ms, sizeof interval_ms);
        zmq_setsockopt (socket, ZMQ_HEARTBEAT_TIMEOUT, &silent_ms, sizeof silent_ms);
    }
}

static gpb_status_t
s_open (gpb_router_t *self, gpb_error_t *error)
{
    void *context = gpb_gate_context (self->gate);
    self->router = zsock_new (ZMQ_ROUTER);
    if (self->router) {
        self->router_zmq = zsock_resolve (self->router);
        self->remote_zmq =
            self->options.gate.is_public ? zmq_socket (context, ZMQ_ROUTER) : self->router_zmq;
        self->monitor_zmq = zmq_socket (context, ZMQ_PAIR);
    }
    if (!self->router || !self->remote_zmq || !self->monitor_zmq)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no more sockets: %s",
                              zmq_strerror (zmq_errno ()));
    s_configure (self, self->router_zmq);
    s_configure (self, self->remote_zmq);
    gpb_gate_prepare (self->gate, self->remote_zmq);
    //  An unlimited inbox: the I/O thread that writes events must never wait for us.
    int none = 0;
    zmq_setsockopt (self->monitor_zmq, ZMQ_RCVHWM, &none, sizeof none);
    zmq_setsockopt (self->monitor_zmq, ZMQ_LINGER, &none, sizeof none);
    char address [64];
    snprintf (address, sizeof address, "inproc://gpb-router-%" PRIu64, gpb_unique ());
    if (zmq_socket_monitor (self->remote_zmq, address, ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_DISCONNECTED)
            != 0
        || zmq_connect (self->monitor_zmq, address) != 0)
        return gpb_error_set (error, GPB_INTERNAL, "the socket's monitor did not start: %s",
                              zmq_strerror (zmq_errno ()));
    return GPB_OK;
}

gpb_router_t *
gpb_router_new (const gpb_router_options_t *options, gpb_error_t *error)
{
    gpb_router_t *self = gpb_alloc (1, sizeof *self);
    if (!self) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a ROUTER");
        return NULL;
    }
    self->options = *options;
    self->stranger.debt = &self->stranger_debt;
    atomic_init (&self->stranger_debt.references, 1);
    self->peers = zhashx_new ();
    zhashx_set_key_hasher (self->peers, s_identity_hash);
    zhashx_set_key_comparator (self->peers, s_identity_compare);
    zhashx_set_key_duplicator (self->peers, NULL);
    zhashx_set_key_destructor (self->peers, NULL);

    self->gate = gpb_gate_new (&options->gate, error);
    if (!self->gate || s_open (self, error) != GPB_OK)
        gpb_router_destroy (&self, 0);
    return self;
}

void
gpb_router_set_carrier (gpb_router_t *self, const gpb_carrier_t *carrier)
{
    self->carrier = carrier;
}

void
gpb_router_destroy (gpb_router_t **self_p, int linger_ms)
{
    gpb_router_t *self = *self_p;
    if (!self)
        return;
    *self_p = NULL;
    if (self->remote_zmq)
        zmq_socket_monitor (self->remote_zmq, NULL, 0);
    if (self->monitor_zmq)
        zmq_close (self->monitor_zmq);
    if (self->remote_zmq && self->remote_zmq != self->router_zmq) {
        zmq_setsockopt (self->remote_zmq, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
        zmq_close (self->remote_zmq);
    }
    if (self->router)
        zsock_set_linger (self->router, linger_ms);
    zsock_destroy (&self->router);
    gpb_gate_destroy (&self->gate);
    for (s_peer_t *peer = zhashx_first (self->peers); peer; peer = zhashx_next (self->peers))
        s_peer_free (peer);
    zhashx_destroy (&self->peers);
    while (self->first_ended) {
        s_peer_t *peer = self->first_ended;
        self->first_ended = peer->next_ended;
        s_peer_free (peer);
    }
    if (self->told)
        s_peer_free (self->told);
    gpb_free (self->fds);
    gpb_free (self);
}

gpb_status_t
gpb_router_bind (gpb_router_t *self, const char *endpoint, char *bound, size_t bound_size,
                 gpb_error_t *error)
{
    bool is_local = strncmp (endpoint, "inproc://", 9) == 0;
    void *socket = is_local ? self->router_zmq : self->remote_zmq;
    self->touched = true;
    gpb_status_t status = gpb_gate_bind (self->gate, socket, endpoint, bound, bound_size, error);
    if (status == GPB_OK && is_local && self->router_zmq != self->remote_zmq)
        self->reads_local = true;
    return status;
}

bool
gpb_router_is_touched (const gpb_router_t *self)
{
    return self->touched;
}

void *
gpb_router_socket (gpb_router_t *self)
{
    return self->router_zmq;
}

void *
gpb_router_remote (gpb_router_t *self)
{
    return self->remote_zmq;
}

void *
gpb_router_monitor (gpb_router_t *self)
{
    return self->monitor_zmq;
}

gpb_gate_t *
gpb_router_gate (gpb_router_t *self)
{
    return self->gate;
}

int
gpb_router_next_timeout (const gpb_router_t *self)
{
    if (self->first_ended)
        return 0;
    if (!self->lease_check_ns)
        return -1;
    uint64_t now_ns = gpb_clock_ns ();
    return self->lease_check_ns > now_ns
               ? (int) ((self->lease_check_ns - now_ns) / GPB_NS_PER_MS) + 1
               : 0;
}

//  ---------------------------------------------------------------------------------------------------------
//  Messages

//  Whether an actor that speaks for others sent it (gpb_hop.h).
static bool
s_is_forwarded (const gpb_message_t *message)
{
    gpb_hop_t hop;
    return message->envelope_count > 1
           && gpb_hop_read (&message->envelope [message->envelope_count - 1], &hop);
}

//  Where both sockets have something, they take turns. A look at an empty one costs two system
//  calls: while the other has messages, it is looked at for every few of them.
static gpb_status_t
s_recv (gpb_router_t *self, gpb_message_t *message, bool *is_remote_p, gpb_error_t *error)
{
    void *const sockets [] = { self->router_zmq, self->remote_zmq };
    bool is_remote = !self->reads_local || !self->was_remote;
    if (self->reads_local && self->is_empty [is_remote] && ++self->passed_over < LOOK_EVERY)
        is_remote = !is_remote;
    else
        self->passed_over = 0;
    gpb_status_t status = gpb_message_recv (message, sockets [is_remote], error);
    self->is_empty [is_remote] = status == GPB_UNAVAILABLE;
    if (status == GPB_UNAVAILABLE && self->reads_local) {
        is_remote = !is_remote;
        status = gpb_message_recv (message, sockets [is_remote], error);
        self->is_empty [is_remote] = status == GPB_UNAVAILABLE;
    }
    self->was_remote = is_remote;
    *is_remote_p = is_remote;
    return status;
}

gpb_status_t
gpb_router_recv (gpb_router_t *self, gpb_message_t *message, gpb_connection_t **connection_p,
                 gpb_error_t *error)
{
    while (true) {
        bool is_remote;
        gpb_status_t status = s_recv (self, message, &is_remote, error);
        self->touched = status != GPB_UNAVAILABLE;
        if (!self->touched)
            return status;
        self->figures.received++;
        if (status != GPB_OK)
            self->figures.refused++;
        s_peer_t *peer = message->envelope_count ? s_peer_of (self, message, is_remote) : NULL;
        const gpb_carrier_t *carrier = status == GPB_OK ? self->carrier : NULL;
        if (!peer || !peer->debt || (carrier && !carrier->unpack (carrier->context, message))) {
            gpb_message_clear (message);
            continue;
        }
        if (peer == &self->stranger) {
            peer->is_remote = is_remote;    //  it is refused at once, before the next one comes
            *connection_p = &peer->connection;
            return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a connection");
        }
        if (peer->fd < 0) {
            peer->seen_ns = gpb_clock_ns ();
            peer->forwards = peer->forwards || s_is_forwarded (message);
        }
        *connection_p = &peer->connection;
        return status;
    }
}

static void
s_counted_free (void *data, void *hint)
{
    (void) data;
    s_counted_t *counted = hint;
    atomic_fetch_sub (&counted->debt->size, counted->size);
    s_debt_release (counted->debt);
    zmq_msg_close (&counted->inner);
    gpb_free (counted);
}

//  Puts a frame into one that is counted off when libzmq is done with it. Where memory runs out it
//  stays as it is.
static void
s_count_frame (s_debt_t *debt, zmq_msg_t *frame)
{
    s_counted_t *counted = gpb_alloc (1, sizeof *counted);
    if (!counted)
        return;
    counted->debt = debt;
    counted->size = zmq_msg_size (frame);
    zmq_msg_init (&counted->inner);
    zmq_msg_move (&counted->inner, frame);
    if (zmq_msg_init_data (frame, zmq_msg_data (&counted->inner), counted->size, s_counted_free,
                           counted)
        != 0)
    {
        zmq_msg_init (frame);
        zmq_msg_move (frame, &counted->inner);
        zmq_msg_close (&counted->inner);
        gpb_free (counted);
        return;
    }
    atomic_fetch_add (&debt->size, counted->size);
    atomic_fetch_add (&debt->references, 1);
}

//  The owner is told that the peer has ended. A tombstone takes its place, so that what it still
//  says is known to be its own and is not read, until it disconnects.
static void
s_peer_drop (gpb_router_t *self, s_peer_t *peer)
{
    if (zhashx_lookup (self->peers, peer) != peer)
        return;    //  it had ended before, and its identity may be another's by now
    s_peer_end (self, peer);
    peer->dropped = true;
    self->figures.dropped_peers++;
    s_peer_t *tombstone = gpb_alloc (1, sizeof *tombstone);
    if (!tombstone)
        return;
    memcpy (tombstone->identity, peer->identity, peer->identity_size);
    tombstone->identity_size = peer->identity_size;
    tombstone->chosen = peer->chosen;
    tombstone->is_remote = peer->is_remote;
    tombstone->is_identified = true;
    tombstone->fd = peer->fd;
    tombstone->seen_ns = gpb_clock_ns ();
    s_peer_insert (self, tombstone);
}

bool
gpb_router_send (gpb_router_t *self, gpb_connection_t *connection, gpb_message_t *message)
{
    s_peer_t *peer = (s_peer_t *) connection;
    //  A debt of any size may grow by one message, or a reply larger than the bound could never be
    //  sent.
    bool is_there = peer && !peer->dropped;
    bool fits = is_there && atomic_load (&peer->debt->size) <= self->options.reply_max_size;
    bool counts = fits && !peer->forwards;
    gpb_status_t status = is_there ? GPB_RESOURCE_EXHAUSTED : GPB_UNAVAILABLE;
    if (fits && self->carrier)
        self->carrier->pack (self->carrier->context, message);
    for (size_t index = 0; counts && index < message->payloads_count; index++)
        if (zmq_msg_size (&message->payloads [index]) >= COUNTED_FRAME_SIZE)
            s_count_frame (peer->debt, &message->payloads [index]);
    if (fits) {
        status =
            gpb_message_send (message, peer->is_remote ? self->remote_zmq : self->router_zmq, NULL);
        self->touched = true;
    }
    if (status == GPB_OK) {
        self->figures.sent++;
        return true;
    }
    if (status == GPB_RESOURCE_EXHAUSTED)
        s_peer_drop (self, peer);
    self->figures.dropped_replies++;
    gpb_message_clear (message);
    return false;
}

size_t
gpb_router_check_keys (gpb_router_t *self)
{
    size_t count = 0;
    for (size_t fd = 0; fd < self->fds_count; fd++) {
        s_peer_t *peer = self->fds [fd].peer;
        if (!peer || !peer->connection.key || peer->connection.key->is_allowed)
            continue;
        gpb_gate_shutdown (self->gate, (int) fd);
        s_peer_end (self, peer);
        count++;
    }
    return count;
}

void
gpb_router_end (gpb_router_t *self, gpb_connection_t *connection)
{
    s_peer_end (self, (s_peer_t *) connection);
}

gpb_connection_t *
gpb_router_ended (gpb_router_t *self)
{
    if (self->told) {
        s_peer_free (self->told);
        self->told = NULL;
    }
    //  Here rather than where no message is left: under load there is always one more.
    s_monitor_drain (self);
    gpb_gate_serve (self->gate);
    s_check_leases (self);
    s_peer_t *peer = self->first_ended;
    if (!peer)
        return NULL;
    self->first_ended = peer->next_ended;
    if (!self->first_ended)
        self->last_ended = NULL;
    self->told = peer;
    return &peer->connection;
}

const gpb_router_figures_t *
gpb_router_figures (const gpb_router_t *self)
{
    return &self->figures;
}
