//  gpb_gate - what a router does about strangers
//
//  libzmq's options are those of the next bind, so that one ROUTER may ask for keys at its tcp
//  endpoints and for none at its ipc ones. What libzmq does not do is done here: it takes
//  connections until no descriptor is left, and then spins; it knows no end of one that has been
//  taken. Both are a shutdown of the descriptor, which libzmq notices as it would the peer's.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_gate.h"

#include "gpb_alloc.h"
#include "gpb_certificate.h"
#include "gpb_listen.h"
#include "gpb_zap.h"

#include <czmq.h>
#include <pthread.h>
#include <sys/resource.h>
#include <time.h>

#define ENDPOINTS_MAX 32
#define ZAP_DOMAIN "gpb"
#define TERM_S 5
#define DESCRIPTORS_KEPT 128    //  for sockets, devices, files and what an application has

struct _gpb_gate_t {
    gpb_gate_options_t options;    //  without the strings
    void *context;                 //  of its own where it is public
    gpb_zap_t zap;
    gpb_certificate_t *certificate;    //  NULL: no keys are asked for
    bool wants_keys;                   //  the configuration asks for them, here or elsewhere
    gpb_keyring_t *keyring;
    uint16_t ports [ENDPOINTS_MAX];
    size_t ports_count;
    gpb_listen_file_t files [ENDPOINTS_MAX];
    size_t files_count;
    gpb_gate_figures_t figures;
};

//  ---------------------------------------------------------------------------------------------------------
//  Life

//  As many as were asked for, but no more than there are descriptors.
static uint64_t
s_bound (uint32_t asked)
{
    struct rlimit limit;
    if (asked == 0 || getrlimit (RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return asked;
    uint64_t most = limit.rlim_cur > 2 * DESCRIPTORS_KEPT ? limit.rlim_cur - DESCRIPTORS_KEPT
                                                          : DESCRIPTORS_KEPT;
    return asked < most ? asked : most;
}

static gpb_status_t
s_load_keys (gpb_gate_t *self, const gpb_gate_options_t *options, gpb_error_t *error)
{
    if (!options->allowed_keys || !options->allowed_keys [0])
        return gpb_error_set (error, GPB_FAILED_PRECONDITION,
                              "`curve` is set and `allowed_keys` is not: without a folder of keys "
                              "that may come in, none could");
    self->certificate = gpb_certificate_load (options->curve, error);
    if (!self->certificate)
        return gpb_error_prefix (error, "curve: ");
    if (!gpb_certificate_has_secret (self->certificate))
        return gpb_error_set (error, GPB_FAILED_PRECONDITION,
                              "curve: %s has no secret key; `gpb keygen` makes a key pair",
                              options->curve);
    self->keyring = gpb_keyring_new (options->allowed_keys, error);
    return self->keyring ? GPB_OK : gpb_error_prefix (error, "allowed_keys: ");
}

static gpb_status_t
s_open (gpb_gate_t *self, const gpb_gate_options_t *options, gpb_error_t *error)
{
    self->wants_keys = options->curve && options->curve [0];
    self->figures.max_connections = s_bound (options->max_connections);
    self->figures.refused_address = self->zap.address;
    if (!options->is_public) {
        self->context = zsys_init ();
        return GPB_OK;
    }
    if (self->wants_keys && s_load_keys (self, options, error) != GPB_OK)
        return GPB_FAILED_PRECONDITION;
    self->context = zmq_ctx_new ();
    if (!self->context)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no ZeroMQ context: %s",
                              zmq_strerror (zmq_errno ()));
    //  As many as the application has asked CZMQ for.
    zmq_ctx_set (self->context, ZMQ_IO_THREADS, zmq_ctx_get (zsys_init (), ZMQ_IO_THREADS));
    return gpb_zap_open (&self->zap, self->context, self->keyring, error);
}

gpb_gate_t *
gpb_gate_new (const gpb_gate_options_t *options, gpb_error_t *error)
{
    gpb_gate_t *self = gpb_alloc (1, sizeof *self);
    if (!self) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a gate");
        return NULL;
    }
    self->options = *options;
    self->options.curve = self->options.allowed_keys = NULL;
    if (s_open (self, options, error) != GPB_OK)
        gpb_gate_destroy (&self);
    return self;
}

static void *
s_term (void *context)
{
    while (zmq_ctx_term (context) != 0 && zmq_errno () == EINTR)
        ;
    return NULL;
}

//  A context ends when its last connection has, and libzmq promises no time for that. It was seen
//  to wait for ever for one whose peer had left while its socket was closed, with answers on their
//  way (a router's linger cures that: gpb_router.c, s_configure). Should there be another such
//  case, a node that stops waits for as long as answers may linger and a while more, and leaves the
//  rest to the end of the process.
static void
s_terminate (void *context)
{
    pthread_t thread;
    struct timespec end;
    clock_gettime (CLOCK_REALTIME, &end);
    end.tv_sec += TERM_S;
    if (pthread_create (&thread, NULL, s_term, context) != 0)
        s_term (context);
    else if (pthread_timedjoin_np (thread, NULL, &end) != 0)
        pthread_detach (thread);
}

void
gpb_gate_destroy (gpb_gate_t **self_p)
{
    gpb_gate_t *self = *self_p;
    if (!self)
        return;
    *self_p = NULL;
    gpb_zap_close (&self->zap);
    for (size_t index = 0; index < self->files_count; index++)
        gpb_listen_remove (&self->files [index]);
    if (self->options.is_public && self->context)
        s_terminate (self->context);
    gpb_keyring_destroy (&self->keyring);
    gpb_certificate_destroy (&self->certificate);
    gpb_free (self);
}

//  ---------------------------------------------------------------------------------------------------------
//  Binding

void *
gpb_gate_context (gpb_gate_t *self)
{
    return self->context;
}

void
gpb_gate_prepare (gpb_gate_t *self, void *socket)
{
    //  A peer that speaks a ZMTP before 3.0 has no properties: nothing would tell its descriptor,
    //  and it would look like one in this process. libzmq turns it away where there is a ZAP domain
    //  (zmtp_engine.cpp). Without a ZAP handler it would let in whoever has any key; ours is there
    //  before the first socket is bound, and until the last is closed.
    zmq_setsockopt (socket, ZMQ_ZAP_DOMAIN, ZAP_DOMAIN, strlen (ZAP_DOMAIN));
    int handshake_ms = (int) self->options.handshake_ms, backlog = GPB_LISTEN_BACKLOG;
    zmq_setsockopt (socket, ZMQ_BACKLOG, &backlog, sizeof backlog);
    if (handshake_ms)
        zmq_setsockopt (socket, ZMQ_HANDSHAKE_IVL, &handshake_ms, sizeof handshake_ms);
}

//  libzmq takes a port's number modulo 2^16, and so would listen where nobody looks.
static bool
s_port_is_too_large (const char *endpoint)
{
    const char *colon = strrchr (endpoint, ':');
    return strncmp (endpoint, "tcp://", 6) == 0 && colon && strspn (colon + 1, "0123456789") > 0
           && strtoul (colon + 1, NULL, 10) > UINT16_MAX;
}

static gpb_status_t
s_check_tcp (gpb_gate_t *self, const char *endpoint, gpb_error_t *error)
{
    if (s_port_is_too_large (endpoint))
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "cannot bind %s: a port is at most 65535", endpoint);
    if (self->wants_keys && !self->certificate)
        return gpb_error_set (error, GPB_FAILED_PRECONDITION,
                              "cannot bind %s: keys are asked for (`curve`), and only a node's own "
                              "endpoint can ask for them",
                              endpoint);
    if (self->certificate || self->options.insecure || gpb_listen_is_local (endpoint))
        return GPB_OK;
    return gpb_error_set (error, GPB_FAILED_PRECONDITION,
                          "cannot bind %s: it can be reached from other machines, and no keys are "
                          "asked for. Expected `curve` and `allowed_keys`, an address such as "
                          "127.0.0.1, or `insecure`, which lets in everybody who reaches it",
                          endpoint);
}

//  libzmq's own words, not CZMQ's: that one takes a "*" port for its own.
static gpb_status_t
s_bind (void *socket, const char *endpoint, gpb_error_t *error)
{
    if (zmq_bind (socket, endpoint) == 0)
        return GPB_OK;
    int reason = zmq_errno ();
    bool is_wrong = reason == EINVAL || reason == EPROTONOSUPPORT || reason == ENODEV
                    || reason == ENOENT || reason == ENAMETOOLONG;
    if (is_wrong)
        return gpb_error_set (
            error, GPB_INVALID_ARGUMENT,
            "cannot bind %s: %s; expected tcp://ADDRESS:PORT, ipc://PATH or inproc://NAME",
            endpoint, zmq_strerror (reason));
    return gpb_error_set (error, GPB_UNAVAILABLE, "cannot bind %s: %s", endpoint,
                          zmq_strerror (reason));
}

static gpb_status_t
s_bind_tcp (gpb_gate_t *self, void *socket, const char *endpoint, gpb_error_t *error)
{
    gpb_status_t status = s_check_tcp (self, endpoint, error);
    if (status != GPB_OK)
        return status;
    if (self->certificate && gpb_certificate_serve (self->certificate, socket, error) != GPB_OK)
        return GPB_FAILED_PRECONDITION;
    status = s_bind (socket, endpoint, error);
    int is_server = 0;
    if (self->certificate)
        zmq_setsockopt (socket, ZMQ_CURVE_SERVER, &is_server, sizeof is_server);
    if (status == GPB_OK && !self->certificate && !gpb_listen_is_local (endpoint))
        self->figures.is_insecure = true;
    return status;
}

static gpb_status_t
s_bind_ipc (gpb_gate_t *self, void *socket, const char *endpoint, gpb_error_t *error)
{
    //  "*": in a fresh folder that is its owner's alone (ipc_listener.cpp).
    if (strcmp (endpoint, "ipc://*") == 0)
        return s_bind (socket, endpoint, error);
    int fd = -1;
    gpb_status_t status = gpb_listen_ipc (endpoint, &self->files [self->files_count], &fd, error);
    if (status != GPB_OK)
        return status;
    self->files_count++;
    zmq_setsockopt (socket, ZMQ_USE_FD, &fd, sizeof fd);
    status = s_bind (socket, endpoint, error);
    if (status != GPB_OK) {
        gpb_listen_remove (&self->files [--self->files_count]);
        close (fd);
    }
    int none = -1;
    zmq_setsockopt (socket, ZMQ_USE_FD, &none, sizeof none);
    return status;
}

gpb_status_t
gpb_gate_bind (gpb_gate_t *self, void *socket, const char *endpoint, char *bound, size_t bound_size,
               gpb_error_t *error)
{
    if (self->ports_count == ENDPOINTS_MAX || self->files_count == ENDPOINTS_MAX)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED,
                              "cannot bind %s: %d endpoints are the most", endpoint, ENDPOINTS_MAX);
    bool is_tcp = strncmp (endpoint, "tcp://", 6) == 0;
    gpb_status_t status;
    if (is_tcp)
        status = s_bind_tcp (self, socket, endpoint, error);
    else if (strncmp (endpoint, "ipc://", 6) == 0)
        status = s_bind_ipc (self, socket, endpoint, error);
    else
        status = s_bind (socket, endpoint, error);
    if (status != GPB_OK)
        return status;
    size_t size = bound_size;
    if (zmq_getsockopt (socket, ZMQ_LAST_ENDPOINT, bound, &size) != 0 || size == 0)
        snprintf (bound, bound_size, "%s", endpoint);
    const char *colon = is_tcp ? strrchr (bound, ':') : NULL;
    if (colon)
        self->ports [self->ports_count++] = (uint16_t) strtoul (colon + 1, NULL, 10);
    return GPB_OK;
}

//  ---------------------------------------------------------------------------------------------------------
//  Connections

void *
gpb_gate_socket (gpb_gate_t *self)
{
    return self->zap.socket;
}

void
gpb_gate_serve (gpb_gate_t *self)
{
    gpb_zap_serve (&self->zap);
}

void
gpb_gate_shutdown (gpb_gate_t *self, int fd)
{
    gpb_listen_shutdown (fd, self->ports, self->ports_count, self->files, self->files_count);
}

void
gpb_gate_accepted (gpb_gate_t *self, int fd)
{
    self->figures.open++;
    if (!self->figures.max_connections || self->figures.open <= self->figures.max_connections)
        return;
    self->figures.refused_connections++;
    gpb_gate_shutdown (self, fd);
}

void
gpb_gate_closed (gpb_gate_t *self)
{
    if (self->figures.open)
        self->figures.open--;
}

bool
gpb_gate_admit (gpb_gate_t *self, const char *user, const gpb_key_t **key_p)
{
    *key_p = NULL;
    if (!self->zap.socket)
        return true;    //  nobody asks for names here
    if (!user)
        return false;
    if (streq (user, GPB_ZAP_NOBODY))
        return true;
    const gpb_key_t *key = self->keyring ? gpb_keyring_find (self->keyring, user) : NULL;
    *key_p = key;
    return key && key->is_allowed;
}

bool
gpb_gate_refresh (gpb_gate_t *self)
{
    return self->keyring && gpb_keyring_refresh (self->keyring);
}

const char *
gpb_gate_notice (const gpb_gate_t *self, unsigned index)
{
    return self->keyring ? gpb_keyring_notice (self->keyring, index) : NULL;
}

unsigned
gpb_gate_keys (const gpb_gate_t *self)
{
    return self->keyring ? gpb_keyring_count (self->keyring) : 0;
}

gpb_gate_figures_t
gpb_gate_figures (const gpb_gate_t *self)
{
    gpb_gate_figures_t figures = self->figures;
    figures.refused_keys = self->zap.refused;
    return figures;
}
