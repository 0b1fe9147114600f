//  gpb_client - sends requests to a node and hands over the replies
//
//  Owns one DEALER and, over tcp and ipc, a PAIR on which libzmq's monitor reports what becomes of
//  the connection. Runs on the application's thread, whenever that calls: it reads what has come,
//  answers what was lost or is late, connects again, and renews its lease.
//
//  Every request is answered exactly once. It is in gpb_pending_t until then, and then in `ready`
//  until gpb_client_recv hands it over.
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
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_client.h"

#include "gpb_alloc.h"
#include "gpb_client_internal.h"
#include "gpb_clock.h"
#include "gpb_pending.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define S_TIMEOUT_MS 30000              //  of a request that sets none
#define S_GRACE_MS 1000                 //  beyond a time-out, which is the node's to keep
#define S_RETRY_MS 100                  //  between two tries to connect
#define S_RECONNECT_IVL_MS 86400000     //  a day: we reconnect ourselves
#define S_CONNECT_TIMEOUT_MS 5000       //  of one try, where nobody answers at all
#define S_HEARTBEAT_MS 5000             //  so that a frozen node is noticed...
#define S_HEARTBEAT_TIMEOUT_MS 15000    //  ...within 20 s
#define S_POLL_MS 100                   //  most between two looks at the monitor
#define S_LEASE_MS 20000                //  a third of the node's default
#define S_GOODBYE_MS 100                //  most that a goodbye may take to leave
#define S_IN_FLIGHT_MAX 65536           //  requests; what is unsent is among them
#define S_OWN_ID (1ULL << 63)           //  set in the ids of what the client asks for itself

struct _gpb_client_t {
    char *endpoint;
    zsock_t *socket;        //  the DEALER
    void *handle;           //  its libzmq socket
    void *monitor;          //  PAIR; NULL over inproc
    bool connected;         //  requests may leave
    uint64_t retry_ns;      //  when to connect again; 0: a try is under way, or done
    uint64_t renewal_ns;    //  S_LEASE_MS, but in a test
    uint64_t renew_ns;      //  when the lease is renewed; over inproc alone

    gpb_codec_t *codec;
    gpb_message_t message;     //  being read or sent
    gpb_pending_t pending;     //  all that is not answered
    gpb_reply_list_t held;     //  of those, not yet sent
    gpb_reply_list_t sent;     //  of those, sent
    gpb_reply_list_t ready;    //  answered, not yet handed over
    size_t dropped;            //  of pending, those nobody waits for
    uint64_t awaited;          //  the id that gpb_client_call waits for; 0: none
    gpb_reply_t *awaited_reply;

    uint64_t last_id;
    uint64_t last_own_id;
    uint32_t timeout_ms;
    uint64_t ignored;    //  replies that were garbage, or that nobody waits for any more
};

//  ---------------------------------------------------------------------------------------------------------
//  What is in flight

//  Takes a pending request out of the book: its reply, which has been filled in, is ready.
static void
s_complete (gpb_client_t *self, gpb_reply_t *reply)
{
    gpb_pending_remove (&self->pending, reply);
    if (reply->request)
        TAILQ_REMOVE (&self->held, reply, link);
    else
        TAILQ_REMOVE (&self->sent, reply, link);
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

//  Sends a request of the client's own, whose reply is ignored. Where it cannot be sent, it is for
//  the node's time-outs and leases to settle.
static void
s_send_own (gpb_client_t *self, gpb_request_t *request)
{
    if (request
        && gpb_request_pack (request, S_OWN_ID | ++self->last_own_id, 0, &self->message, NULL)
               == GPB_OK)
        gpb_message_send (&self->message, self->handle, NULL);
    gpb_message_clear (&self->message);
    gpb_request_destroy (&request);
    self->renew_ns = gpb_clock_ns () + self->renewal_ns;
}

//  Reads everything that has come.
static void
s_read (gpb_client_t *self)
{
    for (;;) {
        gpb_error_t error;
        gpb_status_t status = gpb_message_recv (&self->message, self->handle, &error);
        if (status == GPB_UNAVAILABLE)
            return;
        const Gpb__V1__Reply *header =
            status == GPB_OK ? gpb_codec_reply (self->codec, &self->message.header, NULL) : NULL;
        if (header && header->id & S_OWN_ID)
            continue;
        gpb_reply_t *reply = header ? gpb_pending_find (&self->pending, header->id) : NULL;
        if (!reply || reply->request) {
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
        s_complete (self, reply);
    }
}

static void
s_expire (gpb_client_t *self, uint64_t now_ns)
{
    gpb_reply_t *reply;
    while ((reply = gpb_pending_next (&self->pending)) && reply->deadline.key <= now_ns) {
        bool was_sent = !reply->request;
        uint64_t id = reply->id;
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

//  ---------------------------------------------------------------------------------------------------------
//  The connection

//  Whether gpb_message_send failed for want of a connection: the queue has no limit, so that "full"
//  means that there is none. What the monitor, or s_watch, tells us in a moment.
static bool
s_is_lost (gpb_status_t status)
{
    return status == GPB_UNAVAILABLE || status == GPB_RESOURCE_EXHAUSTED;
}

//  Sends what was held back, with the time that it has left.
static void
s_flush (gpb_client_t *self)
{
    gpb_reply_t *reply, *next;
    uint64_t now_ns = gpb_clock_ns ();
    for (reply = TAILQ_FIRST (&self->held); reply; reply = next) {
        next = TAILQ_NEXT (reply, link);
        uint64_t left_ms =
            reply->expires_ns > now_ns ? (reply->expires_ns - now_ns) / GPB_NS_PER_MS : 0;
        if (left_ms == 0)
            continue;
        gpb_error_t error;
        gpb_status_t status = gpb_request_pack (reply->request, reply->id, (uint32_t) left_ms,
                                                &self->message, &error);
        if (status == GPB_OK)
            status = gpb_message_send (&self->message, self->handle, &error);
        if (status == GPB_OK) {
            TAILQ_REMOVE (&self->held, reply, link);
            gpb_request_destroy (&reply->request);
            TAILQ_INSERT_TAIL (&self->sent, reply, link);
        }
        else if (s_is_lost (status))
            return;
        else {
            gpb_reply_answer (reply, status, "%.150s", error.text);
            s_complete (self, reply);
        }
    }
}

static void
s_lost (gpb_client_t *self)
{
    s_read (self);
    self->connected = false;
    gpb_reply_t *reply;
    while ((reply = TAILQ_FIRST (&self->sent))) {
        gpb_reply_answer (reply, GPB_UNAVAILABLE,
                          "the connection to %.80s was lost: the request may have run, or not",
                          self->endpoint);
        s_complete (self, reply);
    }
    zmq_disconnect (self->handle, self->endpoint);
    self->retry_ns = gpb_clock_ns () + S_RETRY_MS * GPB_NS_PER_MS;
}

static void
s_connect (gpb_client_t *self)
{
    self->retry_ns = 0;
    if (zmq_connect (self->handle, self->endpoint) < 0)
        self->retry_ns = gpb_clock_ns () + S_RETRY_MS * GPB_NS_PER_MS;
    else if (!self->monitor) {
        self->connected = true;
        s_flush (self);
    }
}

//  An event of the monitor's: 16 bits of number and 32 of value, then the endpoint in a frame.
static bool
s_next_event (gpb_client_t *self, uint16_t *event)
{
    zmq_msg_t frame;
    zmq_msg_init (&frame);
    bool found = false;
    if (zmq_msg_recv (&frame, self->monitor, ZMQ_DONTWAIT) >= (int) sizeof *event) {
        memcpy (event, zmq_msg_data (&frame), sizeof *event);
        found = true;
    }
    while (zmq_msg_more (&frame) && zmq_msg_recv (&frame, self->monitor, ZMQ_DONTWAIT) >= 0)
        continue;
    zmq_msg_close (&frame);
    return found;
}

static void
s_watch (gpb_client_t *self)
{
    if (!self->monitor) {
        int events = ZMQ_POLLOUT;
        size_t size = sizeof events;
        zmq_getsockopt (self->handle, ZMQ_EVENTS, &events, &size);
        if (self->connected && !(events & ZMQ_POLLOUT))
            s_lost (self);
        return;
    }
    uint16_t event;
    while (s_next_event (self, &event)) {
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

//  All that is to be done without waiting.
static void
s_work (gpb_client_t *self)
{
    s_read (self);
    s_watch (self);
    uint64_t now_ns = gpb_clock_ns ();
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
    zmq_pollitem_t items [2] = { { self->handle, 0, ZMQ_POLLIN, 0 },
                                 { self->monitor, 0, ZMQ_POLLIN, 0 } };
    return zmq_poll (items, self->monitor ? 2 : 1, timeout_ms) >= 0 || errno != EINTR;
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
s_open (gpb_client_t *self, gpb_error_t *error)
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
    if (strncmp (self->endpoint, "inproc://", 9) != 0) {
        //  A name of its own even where this block of memory was a client before.
        char name [80];
        snprintf (name, sizeof name, "inproc://gpb-client-%p-%llu", (void *) self,
                  (unsigned long long) gpb_clock_ns ());
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
    self->connected = !self->monitor;
    self->renew_ns = gpb_clock_ns () + self->renewal_ns;
    return GPB_OK;
}

gpb_client_t *
gpb_client_new (const char *endpoint, gpb_error_t *error)
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
    gpb_client_t *self = gpb_alloc (1, sizeof *self);
    if (!self) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a client");
        return NULL;
    }
    TAILQ_INIT (&self->held);
    TAILQ_INIT (&self->sent);
    TAILQ_INIT (&self->ready);
    gpb_message_init (&self->message);
    self->timeout_ms = S_TIMEOUT_MS;
    self->renewal_ns = S_LEASE_MS * GPB_NS_PER_MS;
    self->endpoint = gpb_strdup (endpoint);
    gpb_status_t status = GPB_OK;
    if (!self->endpoint)
        status = gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a client");
    else if (!(self->codec = gpb_codec_new (error)))
        status = GPB_RESOURCE_EXHAUSTED;
    else
        status = s_open (self, error);
    if (status != GPB_OK)
        gpb_client_destroy (&self);
    return self;
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
    s_drop_all (&self->held);
    s_drop_all (&self->sent);
    s_drop_all (&self->ready);
    gpb_pending_clear (&self->pending);
    gpb_message_clear (&self->message);
    gpb_codec_destroy (&self->codec);
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

//  ---------------------------------------------------------------------------------------------------------
//  Sending and receiving

static gpb_reply_t *
s_send (gpb_client_t *self, gpb_request_t **request_p, gpb_error_t *error)
{
    if (gpb_request_error (*request_p, error) != GPB_OK)
        return NULL;
    s_work (self);
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
    reply->sent_ns = gpb_clock_ns ();
    reply->expires_ns = reply->sent_ns + timeout_ms * GPB_NS_PER_MS;
    reply->deadline.key = reply->expires_ns + S_GRACE_MS * GPB_NS_PER_MS;

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
        if (sent == GPB_OK) {
            TAILQ_INSERT_TAIL (&self->sent, reply, link);
            self->renew_ns = reply->sent_ns + self->renewal_ns;
        }
        else if (s_is_lost (sent)) {
            reply->request = *request_p;
            *request_p = NULL;
            TAILQ_INSERT_TAIL (&self->held, reply, link);
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

//  Takes back what is in flight: at once where it was never sent, else by asking the node.
static void
s_cancel (gpb_client_t *self, gpb_reply_t *reply)
{
    if (reply->request) {
        gpb_reply_answer (reply, GPB_CANCELLED, "the request was cancelled before it was sent");
        s_complete (self, reply);
    }
    else
        s_send_own (self, gpb_request_cancel (reply->id));
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
    while (s_work (self), !self->awaited_reply && !interrupted) {
        //  What is ready for gpb_client_recv must not keep this one from waiting.
        interrupted = !s_wait (self, S_POLL_MS);
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
    uint64_t end_ns =
        gpb_clock_ns () + (timeout_ms > 0 ? (uint64_t) timeout_ms : 0) * GPB_NS_PER_MS;
    for (;;) {
        s_work (self);
        gpb_reply_t *reply = TAILQ_FIRST (&self->ready);
        if (reply) {
            TAILQ_REMOVE (&self->ready, reply, link);
            return reply;
        }
        uint64_t now_ns = gpb_clock_ns ();
        if (gpb_client_in_flight (self) == 0 || (timeout_ms >= 0 && now_ns >= end_ns))
            return NULL;
        int wait_ms = gpb_client_next_timeout (self);
        if (timeout_ms >= 0 && (end_ns - now_ns) / GPB_NS_PER_MS < (uint64_t) wait_ms)
            wait_ms = (int) ((end_ns - now_ns + GPB_NS_PER_MS - 1) / GPB_NS_PER_MS);
        if (!s_wait (self, wait_ms))
            return NULL;
    }
}

gpb_status_t
gpb_client_cancel (gpb_client_t *self, uint64_t id, gpb_error_t *error)
{
    s_work (self);
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
    if (!TAILQ_EMPTY (&self->ready))
        return 0;
    uint64_t now_ns = gpb_clock_ns ();
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
