//  gpb_client - sends requests to a node and hands over the replies
//
//  Owns one DEALER and, over tcp and ipc, a PAIR on which libzmq's monitor reports what becomes of
//  the connection. Runs on the application's thread, whenever that calls: it reads what has come,
//  answers what was lost or is late, connects again, and renews its lease.
//
//  Every request is answered exactly once. It is in gpb_pending_t until then, and then in `ready`
//  until gpb_client_recv hands it over. Meanwhile it is in the list of its state:
//
//             send                                   answered
//      HELD --------> SENT ------------------------------------> ready
//       ^              |  ^
//       |   no room in |  | its time has come
//       |   the queue  v  |
//       +--------- DELAYED     a lost connection: SENT to HELD where idempotent, else to ready
//    not connected
//
//  HELD needs its request, and DELAYED does; SENT keeps it only while it may be sent again
//  (gpb_client_set_retries). The node's refusal stays in a DELAYED reply, so that it is the answer
//  where nobody calls before the request's time is up.
//
//  A request leaves the client only while there is a connection; until then it is held back here.
//  libzmq would deliver what it still has queued for a dead node to whoever binds the endpoint
//  next, long after we have answered UNAVAILABLE: so libzmq's own reconnecting is as good as off
//  (S_RECONNECT_IVL_MS), and on a loss the endpoint is disconnected, which drops its queue since
//  the linger is 0, and connected again after a while.
//
//  inproc has no monitor. It is connected as soon as zmq_connect returns, and when the node goes,
//  its pipe goes: a DEALER without a limit that cannot be written to has lost its peer. Such a
//  connection cannot break while both live, so the node lends it time: a hello every 20 s, where
//  nothing else was sent, renews the node's default lease of 60 s with two tries to spare.
//
//  Looking whether a socket has something is a system call. What is handed over or sent again and
//  again is not held up by it: the sockets are looked at once a millisecond then.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_client.h"

#include "gpb_alloc.h"
#include "gpb_client_internal.h"
#include "gpb_clock.h"
#include "gpb_monitor.h"
#include "gpb_pending.h"
#include "gpb_poller.h"
#include "gpb_unique.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define S_TIMEOUT_MS 30000              //  of a request that sets none
#define S_GRACE_MS 1000                 //  beyond a time-out, which is the node's to keep
#define S_RETRY_MS 100                  //  between two tries to connect
#define S_RECONNECT_IVL_MS 86400000     //  a day: we reconnect ourselves
#define S_CONNECT_TIMEOUT_MS 5000       //  of one try, where nobody answers at all
#define S_HEARTBEAT_MS 5000             //  so that a frozen node is noticed...
#define S_HEARTBEAT_TIMEOUT_MS 15000    //  ...within 20 s
#define S_POLL_MS 100                   //  most between two looks at the monitor
#define S_LOOK_NS GPB_NS_PER_MS         //  least between two that nothing asks for
#define S_DOUBLINGS_MAX 10              //  of a back-off: at most 1,024 times what the node said
#define S_LEASE_MS 20000                //  a third of the node's default
#define S_GOODBYE_MS 100                //  most that a goodbye may take to leave
#define S_IN_FLIGHT_MAX 65536           //  requests; what is unsent is among them
#define S_OWN_ID (1ULL << 63)           //  set in the ids of what the client asks for itself

struct _gpb_client_t {
    char *endpoint;
    zsock_t *socket;        //  the DEALER
    void *handle;           //  its libzmq socket
    void *monitor;          //  PAIR; NULL over inproc
    gpb_poller_t poller;    //  of the two
    bool connected;         //  requests may leave
    uint64_t retry_ns;      //  when to connect again; 0: a try is under way, or done
    uint64_t renewal_ns;    //  S_LEASE_MS, but in a test
    uint64_t renew_ns;      //  when the lease is renewed; over inproc alone
    uint64_t read_ns;       //  when it was last looked for replies
    uint64_t watched_ns;    //  and at the connection
    bool unread;            //  the socket was used since, without reading to its end

    gpb_message_t message;                        //  being read or sent
    gpb_pending_t pending;                        //  all that is not answered
    gpb_reply_list_t lists [GPB_REPLY_STATES];    //  the same, by state
    gpb_reply_list_t ready;                       //  answered, not yet handed over
    size_t dropped;                               //  of pending, those nobody waits for
    uint64_t awaited;                             //  the id that gpb_client_call waits for; 0: none
    gpb_reply_t *awaited_reply;

    uint64_t last_id;
    uint64_t last_own_id;
    uint32_t timeout_ms;
    uint32_t retries;    //  times that a request may be sent again
    uint64_t random;     //  the state of s_random
    uint64_t ignored;    //  replies that were garbage, or that nobody waits for any more
};

//  ---------------------------------------------------------------------------------------------------------
//  What is in flight

static void
s_set_state (gpb_client_t *self, gpb_reply_t *reply, gpb_reply_state_t state)
{
    if (reply->state != state) {
        TAILQ_REMOVE (&self->lists [reply->state], reply, link);
        reply->state = state;
        TAILQ_INSERT_TAIL (&self->lists [state], reply, link);
    }
}

//  Takes a pending request out of the book: its reply, which has been filled in, is ready.
static void
s_complete (gpb_client_t *self, gpb_reply_t *reply)
{
    gpb_pending_remove (&self->pending, reply);
    TAILQ_REMOVE (&self->lists [reply->state], reply, link);
    gpb_request_destroy (&reply->request);
    reply->round_trip_ns = gpb_clock_ns () - reply->sent_ns;
    if (reply->dropped) {
        self->dropped--;
        gpb_reply_destroy (&reply);
    }
    else if (reply->id == self->awaited)
        self->awaited_reply = reply;
    else
        TAILQ_INSERT_TAIL (&self->ready, reply, link);
}

//  Whether a request that the node has, or had, may be sent to it once more.
static bool
s_has_retry (const gpb_client_t *self, const gpb_reply_t *reply)
{
    return reply->request && reply->retries < self->retries;
}

//  xorshift64* (Marsaglia; Vigna): nothing here needs to be hard to guess.
static uint64_t
s_random (gpb_client_t *self)
{
    self->random ^= self->random >> 12;
    self->random ^= self->random << 25;
    self->random ^= self->random >> 27;
    return self->random * 0x2545F4914F6CDD1DULL;
}

//  Whether a refusal is waited out: the node has not begun the request, and says when there will be
//  room. Each further wait for the same request is twice as long, since what the node said has not
//  come true. Up to a quarter more is left to chance: all whom a full queue refuses are told the
//  same time, and would fill it again in one moment; never less, since the node said that there is
//  no room before.
static bool
s_delay (gpb_client_t *self, gpb_reply_t *reply)
{
    uint32_t hint_ms = gpb_reply_retry_after_ms (reply);
    if (hint_ms == 0 || !s_has_retry (self, reply))
        return false;
    uint32_t doublings = reply->retries < S_DOUBLINGS_MAX ? reply->retries : S_DOUBLINGS_MAX;
    uint64_t wait_ns = (hint_ms * GPB_NS_PER_MS) << doublings;
    wait_ns += s_random (self) % (wait_ns / 4);
    uint64_t now_ns = gpb_clock_ns ();
    if (now_ns >= reply->expires_ns || wait_ns >= reply->expires_ns - now_ns)
        return false;
    reply->retries++;
    s_set_state (self, reply, GPB_REPLY_DELAYED);
    gpb_pending_reschedule (&self->pending, reply, now_ns + wait_ns);
    return true;
}

//  Sends a request of the client's own, whose reply is ignored. Where it cannot be sent, it is for
//  the node's time-outs and leases to settle.
static void
s_send_own (gpb_client_t *self, gpb_request_t *request)
{
    if (request
        && gpb_request_pack (request, S_OWN_ID | ++self->last_own_id, 0, &self->message, NULL)
               == GPB_OK)
        gpb_message_send (&self->message, self->handle, NULL);
    self->unread = true;
    gpb_message_clear (&self->message);
    gpb_request_destroy (&request);
    self->renew_ns = gpb_clock_ns () + self->renewal_ns;
}

//  Reads everything that has come, or until nothing is in flight any more: to find nothing costs
//  two system calls.
static void
s_read (gpb_client_t *self)
{
    for (;;) {
        gpb_error_t error;
        gpb_status_t status = gpb_message_recv (&self->message, self->handle, NULL);
        self->unread = status != GPB_UNAVAILABLE;
        if (!self->unread)
            return;
        uint64_t id;
        if (status == GPB_OK)
            status = gpb_codec_check_reply (&self->message.header, &id, NULL);
        if (status == GPB_OK && id & S_OWN_ID)
            continue;
        gpb_reply_t *reply = status == GPB_OK ? gpb_pending_find (&self->pending, id) : NULL;
        if (!reply || reply->state != GPB_REPLY_SENT) {
            self->ignored++;
            continue;
        }
        status = gpb_reply_accept (reply, &self->message, &error);
        if (status == GPB_INVALID_ARGUMENT) {
            self->ignored++;
            continue;
        }
        if (status != GPB_OK)
            gpb_reply_answer (reply, status, "%.150s", error.text);
        else if (s_delay (self, reply))
            continue;
        s_complete (self, reply);
        if (gpb_pending_count (&self->pending) == 0)
            return;
    }
}

//  ---------------------------------------------------------------------------------------------------------
//  The connection

//  Whether gpb_message_send failed for want of a connection: the queue has no limit, so that "full"
//  means that there is none. What the monitor, or s_watch, tells us in a moment.
static bool
s_is_lost (gpb_status_t status)
{
    return status == GPB_UNAVAILABLE || status == GPB_RESOURCE_EXHAUSTED;
}

//  When the client answers a request itself: its time-out is the node's to keep.
static uint64_t
s_deadline (const gpb_reply_t *reply)
{
    return reply->expires_ns + S_GRACE_MS * GPB_NS_PER_MS;
}

//  Sends a request that is kept, with the time that it has left. False where there is no
//  connection: it is held back. Nothing happens to one whose time is up.
static bool
s_transmit (gpb_client_t *self, gpb_reply_t *reply, uint64_t now_ns)
{
    if (reply->expires_ns < now_ns + GPB_NS_PER_MS)
        return true;
    gpb_error_t error;
    uint32_t left_ms = (uint32_t) ((reply->expires_ns - now_ns) / GPB_NS_PER_MS);
    gpb_status_t status = GPB_UNAVAILABLE;
    self->unread = true;
    if (self->connected)
        status = gpb_request_pack (reply->request, reply->id, left_ms, &self->message, &error);
    if (self->connected && status == GPB_OK)
        status = gpb_message_send (&self->message, self->handle, &error);
    if (status == GPB_OK) {
        s_set_state (self, reply, GPB_REPLY_SENT);
        if (!s_has_retry (self, reply))
            gpb_request_destroy (&reply->request);
    }
    else if (s_is_lost (status)) {
        s_set_state (self, reply, GPB_REPLY_HELD);
        return false;
    }
    else {
        gpb_reply_answer (reply, status, "%.150s", error.text);
        s_complete (self, reply);
    }
    return true;
}

//  Sends what was held back.
static void
s_flush (gpb_client_t *self)
{
    gpb_reply_t *next;
    uint64_t now_ns = gpb_clock_ns ();
    for (gpb_reply_t *reply = TAILQ_FIRST (&self->lists [GPB_REPLY_HELD]); reply; reply = next) {
        next = TAILQ_NEXT (reply, link);
        if (!s_transmit (self, reply, now_ns))
            return;
    }
}

static void
s_lost (gpb_client_t *self)
{
    s_read (self);
    self->connected = false;
    gpb_reply_t *reply;
    while ((reply = TAILQ_FIRST (&self->lists [GPB_REPLY_SENT])))
        if (s_has_retry (self, reply) && gpb_request_is_idempotent (reply->request)) {
            reply->retries++;
            s_set_state (self, reply, GPB_REPLY_HELD);
        }
        else {
            gpb_reply_answer (reply, GPB_UNAVAILABLE,
                              "the connection to %.80s was lost: the request may have run, or not",
                              self->endpoint);
            s_complete (self, reply);
        }
    zmq_disconnect (self->handle, self->endpoint);
    self->unread = true;
    self->retry_ns = gpb_clock_ns () + S_RETRY_MS * GPB_NS_PER_MS;
}

static void
s_connect (gpb_client_t *self)
{
    self->retry_ns = 0;
    self->unread = true;
    if (zmq_connect (self->handle, self->endpoint) < 0)
        self->retry_ns = gpb_clock_ns () + S_RETRY_MS * GPB_NS_PER_MS;
    else if (!self->monitor) {
        self->connected = true;
        s_flush (self);
    }
}

//  The node answers nobody without a key that it knows: nothing that waits here would leave.
static void
s_refused (gpb_client_t *self, const char *reason)
{
    gpb_reply_t *reply;
    while ((reply = TAILQ_FIRST (&self->lists [GPB_REPLY_HELD]))) {
        gpb_reply_answer (reply, GPB_UNAUTHENTICATED, "%.80s %s", self->endpoint, reason);
        s_complete (self, reply);
    }
}

static void
s_watch (gpb_client_t *self)
{
    if (!self->monitor) {
        int events = ZMQ_POLLOUT;
        size_t size = sizeof events;
        zmq_getsockopt (self->handle, ZMQ_EVENTS, &events, &size);
        self->unread = true;
        if (self->connected && !(events & ZMQ_POLLOUT))
            s_lost (self);
        return;
    }
    uint16_t event;
    int32_t value;
    while (gpb_monitor_next (self->monitor, &event, &value)) {
        if (event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH)
            s_refused (self, "does not know this client's key");
        else if (event == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL
                 && value == ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH)
            s_refused (self, "asks for another way to connect: with keys (CURVE), or without");
        if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED) {
            self->connected = true;
            self->retry_ns = 0;
            s_flush (self);
        }
        else if (event == ZMQ_EVENT_DISCONNECTED || !self->connected)
            //  A try that failed: what was held back waits for the next one.
            s_lost (self);
    }
}

//  Sends again what has waited for it, and answers what is late.
static void
s_expire (gpb_client_t *self, uint64_t now_ns)
{
    gpb_reply_t *reply;
    while ((reply = gpb_pending_next (&self->pending)) && reply->deadline.key <= now_ns) {
        uint64_t id = reply->id;
        bool was_sent = reply->state == GPB_REPLY_SENT;
        if (reply->state == GPB_REPLY_DELAYED) {
            if (reply->expires_ns < now_ns + GPB_NS_PER_MS) {
                s_complete (self, reply);
                continue;
            }
            gpb_reply_forget (reply);
            gpb_pending_reschedule (&self->pending, reply, s_deadline (reply));
            s_transmit (self, reply, now_ns);
            continue;
        }
        gpb_reply_answer (reply, GPB_DEADLINE_EXCEEDED,
                          was_sent ? "no answer within the request's %llu ms"
                                   : "no connection to the node within the request's %llu ms",
                          (unsigned long long) ((reply->expires_ns - reply->sent_ns)
                                                / GPB_NS_PER_MS));
        s_complete (self, reply);
        //  The node may still be at it, or it may not even have it yet (inproc, before it binds).
        if (was_sent)
            s_send_own (self, gpb_request_cancel (id));
    }
}

//  All that is to be done without waiting. The connection is not looked at each time.
static void
s_work (gpb_client_t *self, uint64_t now_ns)
{
    self->read_ns = now_ns;
    s_read (self);
    if (!self->connected || now_ns - self->watched_ns >= S_LOOK_NS) {
        self->watched_ns = now_ns;
        s_watch (self);
    }
    if (self->retry_ns && self->retry_ns <= now_ns)
        s_connect (self);
    s_expire (self, now_ns);
    if (!self->monitor && self->connected && self->renew_ns <= now_ns)
        s_send_own (self, gpb_request_hello ());
}

//  Waits until something may be ready. False where a signal interrupts.
static bool
s_wait (gpb_client_t *self, int timeout_ms)
{
    if (self->unread)
        return true;
    bool is_uninterrupted = gpb_poller_wait (&self->poller, timeout_ms);
    for (unsigned item = 0; item < self->poller.count; item++)
        gpb_poller_emptied (&self->poller, item);    //  both are read in any case
    return is_uninterrupted;
}

//  ---------------------------------------------------------------------------------------------------------
//  A client's life

static bool
s_is_endpoint (const char *text)
{
    static const char *const transports [] = { "tcp://", "ipc://", "inproc://" };
    for (size_t index = 0; index < sizeof transports / sizeof transports [0]; index++) {
        size_t size = strlen (transports [index]);
        if (strncmp (text, transports [index], size) == 0 && text [size])
            return true;
    }
    return false;
}

static void
s_set_option (gpb_client_t *self, int option, int value)
{
    int rc = zmq_setsockopt (self->handle, option, &value, sizeof value);
    assert (rc == 0);
    (void) rc;
}

//  An unlimited queue, since what may be in it is limited by S_IN_FLIGHT_MAX.
static gpb_status_t
s_open (gpb_client_t *self, const gpb_certificate_t *own, const gpb_certificate_t *node,
        gpb_error_t *error)
{
    self->socket = zsock_new (ZMQ_DEALER);
    if (!self->socket)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no socket can be made: %s",
                              zmq_strerror (errno));
    self->handle = zsock_resolve (self->socket);
    s_set_option (self, ZMQ_LINGER, 0);
    s_set_option (self, ZMQ_SNDHWM, 0);
    s_set_option (self, ZMQ_RCVHWM, 0);
    s_set_option (self, ZMQ_RECONNECT_IVL, S_RECONNECT_IVL_MS);
    s_set_option (self, ZMQ_CONNECT_TIMEOUT, S_CONNECT_TIMEOUT_MS);
    s_set_option (self, ZMQ_HEARTBEAT_IVL, S_HEARTBEAT_MS);
    s_set_option (self, ZMQ_HEARTBEAT_TIMEOUT, S_HEARTBEAT_TIMEOUT_MS);
    gpb_status_t status = own ? gpb_certificate_connect (own, node, self->handle, error) : GPB_OK;
    if (status != GPB_OK)
        return status;
    if (strncmp (self->endpoint, "inproc://", 9) != 0) {
        char name [64];
        snprintf (name, sizeof name, "inproc://gpb-client-%" PRIu64, gpb_unique ());
        //  zsys owns the context; its sockets are closed by us alone.
        self->monitor = zmq_socket (zsys_init (), ZMQ_PAIR);
        int linger = 0;
        if (!self->monitor || zmq_setsockopt (self->monitor, ZMQ_LINGER, &linger, sizeof linger) < 0
            || zmq_socket_monitor (self->handle, name,
                                   ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED
                                       | ZMQ_EVENT_CLOSED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL
                                       | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL
                                       | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH)
                   < 0
            || zmq_connect (self->monitor, name) < 0)
            return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED,
                                  "the connection cannot be watched: %s", zmq_strerror (errno));
    }
    if (zmq_connect (self->handle, self->endpoint) < 0)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT, "%s cannot be connected to: %s",
                              self->endpoint, zmq_strerror (errno));
    gpb_poller_add_socket (&self->poller, self->handle);
    if (self->monitor)
        gpb_poller_add_socket (&self->poller, self->monitor);
    self->connected = !self->monitor;
    self->renew_ns = gpb_clock_ns () + self->renewal_ns;
    return GPB_OK;
}

static gpb_client_t *
s_new (const char *endpoint, const gpb_certificate_t *own, const gpb_certificate_t *node,
       gpb_error_t *error)
{
    if (!endpoint)
        endpoint = getenv ("GPB_NODE");
    if (!endpoint || !*endpoint)
        endpoint = "tcp://127.0.0.1:5670";
    if (!s_is_endpoint (endpoint)) {
        gpb_error_set (error, GPB_INVALID_ARGUMENT,
                       "\"%s\" is no endpoint: tcp://HOST:PORT, ipc://PATH or inproc://NAME",
                       endpoint);
        return NULL;
    }
    if (own && strncmp (endpoint, "tcp://", 6) != 0) {
        gpb_error_set (error, GPB_INVALID_ARGUMENT,
                       "%s: keys are for tcp://HOST:PORT; what is asked for elsewhere is none",
                       endpoint);
        return NULL;
    }
    gpb_client_t *self = gpb_alloc (1, sizeof *self);
    if (!self) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a client");
        return NULL;
    }
    for (size_t state = 0; state < GPB_REPLY_STATES; state++)
        TAILQ_INIT (&self->lists [state]);
    TAILQ_INIT (&self->ready);
    gpb_message_init (&self->message);
    self->timeout_ms = S_TIMEOUT_MS;
    self->renewal_ns = S_LEASE_MS * GPB_NS_PER_MS;
    self->random = gpb_clock_ns () ^ (uintptr_t) self ^ (uint64_t) getpid () << 32;
    self->random |= self->random == 0;    //  the one state that xorshift never leaves
    self->endpoint = gpb_strdup (endpoint);
    gpb_status_t status = GPB_OK;
    if (!self->endpoint)
        status = gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a client");
    else
        status = s_open (self, own, node, error);
    if (status != GPB_OK)
        gpb_client_destroy (&self);
    return self;
}

gpb_client_t *
gpb_client_new (const char *endpoint, gpb_error_t *error)
{
    return s_new (endpoint, NULL, NULL, error);
}

gpb_client_t *
gpb_client_new_curve (const char *endpoint, const gpb_certificate_t *own,
                      const gpb_certificate_t *node, gpb_error_t *error)
{
    return s_new (endpoint, own, node, error);
}

static void
s_drop_all (gpb_reply_list_t *list)
{
    gpb_reply_t *reply;
    while ((reply = TAILQ_FIRST (list))) {
        TAILQ_REMOVE (list, reply, link);
        gpb_reply_destroy (&reply);
    }
}

void
gpb_client_destroy (gpb_client_t **self_p)
{
    gpb_client_t *self = *self_p;
    if (!self)
        return;
    if (self->socket) {
        if (self->monitor)
            s_watch (self);
        if (self->connected) {
            s_send_own (self, gpb_request_goodbye ());
            s_set_option (self, ZMQ_LINGER, S_GOODBYE_MS);
        }
        if (self->monitor) {
            zmq_socket_monitor (self->handle, NULL, 0);
            zmq_close (self->monitor);
        }
        zsock_destroy (&self->socket);
    }
    for (size_t state = 0; state < GPB_REPLY_STATES; state++)
        s_drop_all (&self->lists [state]);
    s_drop_all (&self->ready);
    gpb_pending_clear (&self->pending);
    gpb_message_clear (&self->message);
    gpb_free (self->endpoint);
    gpb_free (self);
    *self_p = NULL;
}

gpb_status_t
gpb_client_set_timeout (gpb_client_t *self, uint32_t timeout_ms, gpb_error_t *error)
{
    if (timeout_ms == 0)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "a time-out of 0 ms: every request must be answered at some time");
    self->timeout_ms = timeout_ms;
    return GPB_OK;
}

void
gpb_client_set_retries (gpb_client_t *self, uint32_t count)
{
    self->retries = count;
}

//  ---------------------------------------------------------------------------------------------------------
//  Sending and receiving

static gpb_reply_t *
s_send (gpb_client_t *self, gpb_request_t **request_p, gpb_error_t *error)
{
    if (gpb_request_error (*request_p, error) != GPB_OK)
        return NULL;
    uint64_t now_ns = gpb_clock_ns ();
    if (!self->connected || now_ns - self->read_ns >= S_LOOK_NS)
        s_work (self, now_ns);
    self->unread = true;
    if (gpb_pending_count (&self->pending) >= S_IN_FLIGHT_MAX) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "%d requests are in flight", S_IN_FLIGHT_MAX);
        return NULL;
    }
    uint32_t timeout_ms = gpb_request_timeout (*request_p);
    if (timeout_ms == 0)
        timeout_ms = self->timeout_ms;
    gpb_reply_t *reply = gpb_reply_new (self->last_id + 1);
    if (!reply) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a request");
        return NULL;
    }
    reply->sent_ns = now_ns;
    reply->expires_ns = now_ns + timeout_ms * GPB_NS_PER_MS;
    reply->deadline.key = s_deadline (reply);

    //  Packed even where it is held back, so that what cannot be sent is refused here. Sent last,
    //  since it cannot be taken back.
    gpb_status_t status =
        gpb_request_pack (*request_p, reply->id, timeout_ms, &self->message, error);
    if (status == GPB_OK)
        status = gpb_pending_insert (&self->pending, reply, error);
    if (status == GPB_OK) {
        gpb_status_t sent = GPB_UNAVAILABLE;
        if (self->connected)
            sent = gpb_message_send (&self->message, self->handle, error);
        if (sent == GPB_OK || s_is_lost (sent)) {
            reply->state = sent == GPB_OK ? GPB_REPLY_SENT : GPB_REPLY_HELD;
            TAILQ_INSERT_TAIL (&self->lists [reply->state], reply, link);
            if (sent == GPB_OK)
                self->renew_ns = now_ns + self->renewal_ns;
            if (sent != GPB_OK || self->retries > 0) {
                reply->request = *request_p;
                *request_p = NULL;
            }
        }
        else {
            status = sent;
            gpb_pending_remove (&self->pending, reply);
        }
    }
    gpb_message_clear (&self->message);
    if (status != GPB_OK)
        gpb_reply_destroy (&reply);
    else
        self->last_id = reply->id;
    return reply;
}

uint64_t
gpb_client_send (gpb_client_t *self, gpb_request_t **request_p, gpb_error_t *error)
{
    gpb_reply_t *reply = s_send (self, request_p, error);
    gpb_request_destroy (request_p);
    return reply ? reply->id : 0;
}

//  Takes back what is in flight: at once where the node does not have it, else by asking the node,
//  whose answer is then the last.
static void
s_cancel (gpb_client_t *self, gpb_reply_t *reply)
{
    if (reply->state == GPB_REPLY_SENT) {
        gpb_request_destroy (&reply->request);
        s_send_own (self, gpb_request_cancel (reply->id));
    }
    else {
        gpb_reply_answer (reply, GPB_CANCELLED,
                          reply->retries ? "the request was cancelled before it was sent again"
                                         : "the request was cancelled before it was sent");
        s_complete (self, reply);
    }
}

//  How long nothing is to be done, in ms, whatever is ready; -1: no limit.
static int
s_next_timeout (const gpb_client_t *self, uint64_t now_ns)
{
    uint64_t next_ns = UINT64_MAX;
    const gpb_reply_t *reply = gpb_pending_next (&self->pending);
    if (reply) {
        next_ns = now_ns + S_POLL_MS * GPB_NS_PER_MS;
        if (reply->deadline.key < next_ns)
            next_ns = reply->deadline.key;
        if (self->retry_ns && self->retry_ns < next_ns)
            next_ns = self->retry_ns;
    }
    if (!self->monitor && self->connected && self->renew_ns < next_ns)
        next_ns = self->renew_ns;
    if (next_ns == UINT64_MAX)
        return -1;
    return next_ns <= now_ns ? 0 : (int) ((next_ns - now_ns + GPB_NS_PER_MS - 1) / GPB_NS_PER_MS);
}

gpb_reply_t *
gpb_client_call (gpb_client_t *self, gpb_request_t **request_p, gpb_error_t *error)
{
    uint64_t id = gpb_client_send (self, request_p, error);
    if (!id)
        return NULL;
    bool interrupted = false;
    self->awaited = id;
    self->awaited_reply = NULL;
    while (!self->awaited_reply && !interrupted) {
        //  What is ready for gpb_client_recv must not keep this one from waiting.
        interrupted = !s_wait (self, s_next_timeout (self, gpb_clock_ns ()));
        s_work (self, gpb_clock_ns ());
    }
    gpb_reply_t *reply = self->awaited_reply;
    self->awaited = 0;
    self->awaited_reply = NULL;
    if (!reply) {
        gpb_reply_t *pending = gpb_pending_find (&self->pending, id);
        pending->dropped = true;
        self->dropped++;
        s_cancel (self, pending);
        gpb_error_set (error, GPB_CANCELLED, "a signal interrupted the call");
    }
    return reply;
}

gpb_reply_t *
gpb_client_recv (gpb_client_t *self, int timeout_ms)
{
    uint64_t now_ns = gpb_clock_ns ();
    uint64_t end_ns = now_ns + (timeout_ms > 0 ? (uint64_t) timeout_ms : 0) * GPB_NS_PER_MS;
    for (;; now_ns = gpb_clock_ns ()) {
        if (TAILQ_EMPTY (&self->ready) || now_ns - self->read_ns >= S_LOOK_NS)
            s_work (self, now_ns);
        gpb_reply_t *reply = TAILQ_FIRST (&self->ready);
        if (reply) {
            TAILQ_REMOVE (&self->ready, reply, link);
            return reply;
        }
        if (gpb_client_in_flight (self) == 0 || (timeout_ms >= 0 && now_ns >= end_ns))
            return NULL;
        int wait_ms = s_next_timeout (self, now_ns);
        if (timeout_ms >= 0 && (end_ns - now_ns) / GPB_NS_PER_MS < (uint64_t) wait_ms)
            wait_ms = (int) ((end_ns - now_ns + GPB_NS_PER_MS - 1) / GPB_NS_PER_MS);
        if (!s_wait (self, wait_ms))
            return NULL;
    }
}

gpb_status_t
gpb_client_cancel (gpb_client_t *self, uint64_t id, gpb_error_t *error)
{
    s_work (self, gpb_clock_ns ());
    gpb_reply_t *reply = gpb_pending_find (&self->pending, id);
    if (!reply || reply->dropped)
        return gpb_error_set (error, GPB_NOT_FOUND, "no request %llu is in flight",
                              (unsigned long long) id);
    s_cancel (self, reply);
    return GPB_OK;
}

size_t
gpb_client_in_flight (const gpb_client_t *self)
{
    return gpb_pending_count (&self->pending) - self->dropped;
}

zsock_t *
gpb_client_socket (gpb_client_t *self)
{
    return self->socket;
}

int
gpb_client_next_timeout (gpb_client_t *self)
{
    //  Sending takes in what libzmq has to say: the descriptor of a socket is not readable for that
    //  once more (zmq_getsockopt, ZMQ_FD).
    return TAILQ_EMPTY (&self->ready) && !self->unread ? s_next_timeout (self, gpb_clock_ns ()) : 0;
}

uint64_t
gpb_client_ignored (const gpb_client_t *self)
{
    return self->ignored;
}

void
gpb_client_set_renewal (gpb_client_t *self, uint64_t renewal_ns)
{
    self->renewal_ns = renewal_ns;
    self->renew_ns = gpb_clock_ns () + renewal_ns;
}
