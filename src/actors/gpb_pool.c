//  gpb_pool - a device's rented memory as an actor
//
//  Owns every rented buffer of one device, by a handle that cannot be guessed and is never given
//  twice. It allocates on its own thread, and zeroes what it gives (no tenant sees another's bytes)
//  on its own stream, so that a device's launches wait for neither. Answers rent, release, map,
//  unmap and stats. Its usual client is its device's actor, which asks in the name of the device's
//  clients and gets the memory itself along with the handle; started alone, any client may rent,
//  and an application in the same process maps what it has rented.
//
//  A buffer belongs to who rented it: for everyone else its handle is NOT_FOUND. It goes back to
//  the driver when it is released, when its owner's connection ends, or with the actor.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_pool.h"

#include "gpb_alloc.h"
#include "gpb_clock.h"
#include "gpb_lease.h"
#include "gpb_service.h"
#include "gpb_shared_context.h"

#include <inttypes.h>
#include <poll.h>
#include <sys/random.h>
#include <unistd.h>

#define BATCH 16    //  requests between two looks at the pipe

typedef struct {
    gpb_lease_t lease;    //  what the device is told
    gpb_owner_t owner;
    bool mapped;
} s_rent_t;

typedef struct {
    zsock_t *pipe;
    gpb_config_t *config;
    gpb_service_t *service;
    gpb_error_t failure;    //  why there is no service
    gpb_shared_context_t *shared;
    zhashx_t *rents;    //  by handle
    bool keeps;         //  nothing is given back at the end: a kernel that does not end may use it
    uint64_t max_size;       //  bytes that all rents together may have
    uint64_t last_random;    //  the last handle's, so that none is given twice in a row of bad luck
    Gpb__V1__PoolStats figures;
} self_t;

//  ---------------------------------------------------------------------------------------------------------
//  Rents

static size_t
s_handle_hash (const void *key)
{
    return (size_t) (*(const uint64_t *) key * 0x9E3779B97F4A7C15ULL >> 32);
}

static int
s_handle_compare (const void *left, const void *right)
{
    uint64_t one = *(const uint64_t *) left, other = *(const uint64_t *) right;
    return one < other ? -1 : one > other;
}

static s_rent_t *
s_rent_lookup (self_t *self, const gpb_call_t *call, uint64_t handle, gpb_error_t *error)
{
    s_rent_t *rent = zhashx_lookup (self->rents, &handle);
    if (rent && gpb_owner_same (&rent->owner, &call->owner))
        return rent;
    gpb_error_set (error, GPB_NOT_FOUND,
                   "no buffer with handle %016" PRIx64 " is rented by this connection", handle);
    return NULL;
}

static void
s_rent_release (self_t *self, s_rent_t *rent)
{
    zhashx_delete (self->rents, &rent->lease.handle);
    self->figures.releases++;
    self->figures.live--;
    self->figures.in_use -= rent->lease.size;
    self->shared->operations->release (&rent->lease.memory);
    gpb_free (rent);
}

//  Zeroes new memory. This thread has nothing else to do until then.
static gpb_status_t
s_zero (self_t *self, gpb_memory_t *memory, uint64_t size, gpb_error_t *error)
{
    const gpb_backend_operations_t *operations = self->shared->operations;
    gpb_event_t *event = NULL;
    gpb_status_t status = operations->zero (self->shared->context, self->shared->streams, memory, 0,
                                            size, GPB_NOTIFY, &event, error);
    bool done = status != GPB_OK;
    while (!done) {
        struct pollfd wake = { .fd = self->shared->pool_fd, .events = POLLIN };
        poll (&wake, 1, -1);
        uint64_t count;
        if (read (self->shared->pool_fd, &count, sizeof count) == (ssize_t) sizeof count)
            status = operations->query (event, &done, NULL, error);
    }
    operations->event_free (&event);
    return status;
}

static uint64_t
s_handle_new (self_t *self, gpb_error_t *error)
{
    while (true) {
        uint64_t random = 0;
        if (getrandom (&random, sizeof random, 0) != (ssize_t) sizeof random) {
            gpb_error_set (error, GPB_INTERNAL, "the system gives no random number for a handle");
            return 0;
        }
        //  2^56 handles a device: that one comes twice among all that a node ever gives is as
        //  likely as guessing it.
        uint64_t handle = gpb_handle_make (self->shared->index, random);
        if (handle != 0 && !zhashx_lookup (self->rents, &handle))
            return handle;
    }
}

static gpb_status_t
s_rent_check (self_t *self, const Gpb__V1__Rent *rent, gpb_error_t *error)
{
    const gpb_device_info_t *info = &self->shared->info;
    if (rent->size == 0)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "a buffer of 0 bytes was asked for: expected at least 1");
    if ((unsigned) rent->kind > GPB__V1__MEMORY_KIND__MAPPED)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "memory kind %d: expected DEVICE (0) or MAPPED (1)",
                              (int) rent->kind);
    if ((unsigned) rent->access > GPB__V1__ACCESS__WRITE_ONLY)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "access %d: expected READ_WRITE (0), READ_ONLY (1) or WRITE_ONLY (2)",
                              (int) rent->access);
    if (info->max_allocation && rent->size > info->max_allocation)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED,
                              "a buffer of %" PRIu64
                              " bytes was asked for: device %u allows %" PRIu64 " bytes in one",
                              rent->size, self->shared->index, info->max_allocation);
    if (rent->size > self->max_size - self->figures.in_use)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED,
                              "a buffer of %" PRIu64 " bytes was asked for: %" PRIu64 " of %" PRIu64
                              " bytes are rented out on device %u",
                              rent->size, self->figures.in_use, self->max_size,
                              self->shared->index);
    return GPB_OK;
}

static s_rent_t *
s_rent_new (self_t *self, const gpb_call_t *call, gpb_error_t *error)
{
    static const gpb_access_t accesses [] = { GPB_ACCESS_READ_WRITE, GPB_ACCESS_READ_ONLY,
                                              GPB_ACCESS_WRITE_ONLY };
    const Gpb__V1__Rent *request = call->request->rent;
    const gpb_backend_operations_t *operations = self->shared->operations;
    if (s_rent_check (self, request, error) != GPB_OK)
        return NULL;
    s_rent_t *rent = gpb_alloc (1, sizeof *rent);
    if (!rent) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a rent's entry");
        return NULL;
    }
    gpb_lease_t *lease = &rent->lease;
    lease->size = request->size;
    lease->kind =
        request->kind == GPB__V1__MEMORY_KIND__MAPPED ? GPB_MEMORY_MAPPED : GPB_MEMORY_DEVICE;
    lease->access = accesses [request->access];
    gpb_status_t status = operations->allocate (self->shared->context, lease->kind, lease->access,
                                                lease->size, &lease->memory, error);
    if (status == GPB_OK)
        status = s_zero (self, lease->memory, lease->size, error);
    if (status == GPB_OK && lease->kind == GPB_MEMORY_MAPPED)
        status = operations->address (lease->memory, &lease->address, error);
    if (status == GPB_OK) {
        lease->handle = s_handle_new (self, error);
        status = lease->handle ? GPB_OK : GPB_INTERNAL;
    }
    if (status != GPB_OK) {
        if (lease->memory)
            operations->release (&lease->memory);
        gpb_free (rent);
        return NULL;
    }
    rent->owner = call->owner;
    zhashx_insert (self->rents, &lease->handle, rent);
    self->figures.rents++;
    self->figures.live++;
    self->figures.in_use += lease->size;
    if (self->figures.in_use > self->figures.high_water)
        self->figures.high_water = self->figures.in_use;
    return rent;
}

//  ---------------------------------------------------------------------------------------------------------
//  Requests

static void
s_handle_rent (void *actor, gpb_call_t *call)
{
    self_t *self = actor;
    gpb_error_t error;
    s_rent_t *rent = s_rent_new (self, call, &error);
    if (!rent) {
        gpb_call_refuse (self->service, call, &error);
        return;
    }
    Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
    Gpb__V1__RentReply body = GPB__V1__RENT_REPLY__INIT;
    body.handle = rent->lease.handle;
    body.size = rent->lease.size;
    body.device = self->shared->index;
    reply.id = call->request->id;
    reply.body_case = GPB__V1__REPLY__BODY_RENT;
    reply.rent = &body;
    gpb_message_t *message = call->message;
    if (call->connection->is_inproc && call->owner.behind) {
        zmq_msg_t frame;
        zmq_msg_init_size (&frame, sizeof rent->lease);
        memcpy (zmq_msg_data (&frame), &rent->lease, sizeof rent->lease);
        gpb_message_add (message, &frame, NULL);
    }
    gpb_service_reply (self->service, call->connection, message, &reply);
}

static void
s_handle_release (void *actor, gpb_call_t *call)
{
    self_t *self = actor;
    gpb_error_t error;
    s_rent_t *rent = s_rent_lookup (self, call, call->request->release->handle, &error);
    if (!rent) {
        gpb_call_refuse (self->service, call, &error);
        return;
    }
    s_rent_release (self, rent);
    gpb_call_done (self->service, call);
}

static void
s_handle_map (void *actor, gpb_call_t *call)
{
    self_t *self = actor;
    gpb_error_t error;
    s_rent_t *rent = s_rent_lookup (self, call, call->request->map->handle, &error);
    if (rent)
        gpb_lease_map (&rent->lease, &rent->mapped, 0, self->service, call);
    else
        gpb_call_refuse (self->service, call, &error);
}

static void
s_handle_unmap (void *actor, gpb_call_t *call)
{
    self_t *self = actor;
    gpb_error_t error;
    s_rent_t *rent = s_rent_lookup (self, call, call->request->unmap->handle, &error);
    if (rent)
        gpb_lease_unmap (&rent->mapped, self->service, call);
    else
        gpb_call_refuse (self->service, call, &error);
}

static void
s_handle_stats (void *actor, gpb_call_t *call)
{
    self_t *self = actor;
    Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
    Gpb__V1__StatsReply body = GPB__V1__STATS_REPLY__INIT;
    Gpb__V1__PoolStats *pools [] = { &self->figures };
    body.n_pools = 1;
    body.pools = pools;
    reply.body_case = GPB__V1__REPLY__BODY_STATS;
    reply.stats = &body;
    gpb_call_reply (self->service, call, &reply);
}

static void
s_handle_goodbye (void *actor, gpb_call_t *call)
{
    self_t *self = actor;
    gpb_connection_t *connection = call->connection;
    gpb_call_done (self->service, call);
    gpb_router_end (gpb_service_router (self->service), connection);
}

static const gpb_handler_t s_handlers [] = {
    { GPB__V1__REQUEST__BODY_RENT, s_handle_rent },
    { GPB__V1__REQUEST__BODY_RELEASE, s_handle_release },
    { GPB__V1__REQUEST__BODY_MAP, s_handle_map },
    { GPB__V1__REQUEST__BODY_UNMAP, s_handle_unmap },
    { GPB__V1__REQUEST__BODY_STATS, s_handle_stats },
    { GPB__V1__REQUEST__BODY_GOODBYE, s_handle_goodbye },
};

//  ---------------------------------------------------------------------------------------------------------
//  The life of the actor

static void
s_drop_ended (self_t *self)
{
    gpb_connection_t *ended;
    while ((ended = gpb_router_ended (gpb_service_router (self->service)))) {
        s_rent_t *rent = zhashx_first (self->rents);
        while (rent) {
            if (rent->owner.connection == ended->number) {
                s_rent_release (self, rent);
                rent = zhashx_first (self->rents);
            }
            else
                rent = zhashx_next (self->rents);
        }
    }
}

static void
s_start (self_t *self, const gpb_pool_args_t *args)
{
    self->rents = zhashx_new ();
    zhashx_set_key_hasher (self->rents, s_handle_hash);
    zhashx_set_key_comparator (self->rents, s_handle_compare);
    zhashx_set_key_duplicator (self->rents, NULL);
    zhashx_set_key_destructor (self->rents, NULL);
    gpb__v1__pool_stats__init (&self->figures);
    self->figures.device = args->index;
    self->config = args->config ? gpb_config_dup (args->config) : gpb_config_new ();
    if (args->shared)
        self->shared = gpb_shared_context_retain (args->shared);
}

static void
s_open (self_t *self, unsigned index)
{
    if (!self->config) {
        gpb_error_set (&self->failure, GPB_RESOURCE_EXHAUSTED, "no memory for a pool");
        return;
    }
    if (!self->shared)
        self->shared = gpb_shared_context_open (gpb_config_string (self->config, "backends"), index,
                                                1, false, &self->failure);
    if (!self->shared)
        return;
    uint64_t limit = gpb_config_number (self->config, "rent_max_size");
    self->max_size = limit ? limit : self->shared->info.total_memory;
    self->service =
        gpb_service_new (self->config, s_handlers, sizeof s_handlers / sizeof s_handlers [0], self,
                         &self->failure);
}

static gpb_status_t
s_command (void *actor, char **words, size_t count, gpb_error_t *error)
{
    self_t *self = actor;
    if (count != 1 || !streq (words [0], "KEEP"))
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "%s: expected BIND ENDPOINT, KEEP or $TERM", words [0]);
    self->keeps = true;
    return GPB_OK;
}

static void
s_stop (self_t *self)
{
    gpb_service_destroy (&self->service, 0);
    gpb_config_destroy (&self->config);
    if (self->keeps)
        return;
    for (s_rent_t *rent = zhashx_first (self->rents); rent; rent = zhashx_first (self->rents))
        s_rent_release (self, rent);
    zhashx_destroy (&self->rents);
    gpb_shared_context_release (&self->shared);
}

void
gpb_pool (zsock_t *pipe, void *args)
{
    self_t self = { .pipe = pipe };
    unsigned index = ((const gpb_pool_args_t *) args)->index;
    s_start (&self, args);
    zsock_signal (pipe, 0);
    s_open (&self, index);

    bool go_on = true;
    while (go_on && !self.service)
        go_on = gpb_pipe_refuse (pipe, &self.failure);
    while (go_on) {
        gpb_router_t *router = gpb_service_router (self.service);
        zmq_pollitem_t items [] = {
            { zsock_resolve (pipe), 0, ZMQ_POLLIN, 0 },
            { gpb_router_socket (router), 0, ZMQ_POLLIN, 0 },
            { gpb_router_monitor (router), 0, ZMQ_POLLIN, 0 },
        };
        zmq_poll (items, 3, gpb_router_next_timeout (router));
        if (items [0].revents & ZMQ_POLLIN)
            go_on = gpb_service_command (self.service, pipe, s_command);
        gpb_service_receive (self.service, BATCH);
        s_drop_ended (&self);
    }
    s_stop (&self);
}
