//  gpb_rentals - what a device's clients have rented
//
//  The pool is asked over an inproc DEALER, with the public protocol; a hop frame carries for whom
//  (the owner, as a number) and which job waits. A lease comes in the reply's payload frame, along
//  with what the pool holds; where that changes by itself, a message for nobody says so. The pool
//  is asked to release a buffer only when the device is done with it, so that the pool never has to
//  wait for a stream.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_rentals.h"

#include "gpb_alloc.h"
#include "gpb_pool.h"
#include "gpb_unique.h"

#include <inttypes.h>

#define STATS_CLIENT UINT64_MAX    //  in whose name the device asks for itself

struct _gpb_rentals_t {
    const gpb_shared_context_t *shared;
    gpb_reservations_t *reservations;    //  borrowed
    zactor_t *pool;
    zsock_t *dealer;
    bool touched;    //  gpb_rentals_is_touched
    gpb_owners_t *owners;
    zhashx_t *rentals;    //  by handle
    zlistx_t *ending;     //  those that wait for their users
    zhashx_t *asked;      //  those that the pool has not answered yet, by ticket
    gpb_holding_t holding;
    uint64_t used, rented;    //  bytes: of the device's own memory, and of all
};

static size_t
s_key_hash (const void *key)
{
    uint64_t word;
    memcpy (&word, key, sizeof word);
    return (size_t) (word * 0x9E3779B97F4A7C15ULL >> 32);
}

static int
s_key_compare (const void *left, const void *right)
{
    return memcmp (left, right, sizeof (uint64_t));
}

//  A table whose keys are 64 bits inside its items.
static zhashx_t *
s_table_new (void)
{
    zhashx_t *table = zhashx_new ();
    zhashx_set_key_hasher (table, s_key_hash);
    zhashx_set_key_comparator (table, s_key_compare);
    zhashx_set_key_duplicator (table, NULL);
    zhashx_set_key_destructor (table, NULL);
    return table;
}

gpb_rentals_t *
gpb_rentals_new (const gpb_config_t *config, const gpb_shared_context_t *shared,
                 gpb_reservations_t *reservations, gpb_error_t *error)
{
    gpb_rentals_t *self = gpb_alloc (1, sizeof *self);
    if (!self) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a device's rents");
        return NULL;
    }
    self->shared = shared;
    self->reservations = reservations;
    self->owners = gpb_owners_new (error);
    if (!self->owners) {
        gpb_free (self);
        return NULL;
    }
    self->rentals = s_table_new ();
    self->asked = s_table_new ();
    self->ending = zlistx_new ();
    gpb_pool_args_t args = { .config = config, .index = shared->index, .shared = shared };
    self->pool = zactor_new (gpb_pool, &args);
    char endpoint [64];
    snprintf (endpoint, sizeof endpoint, "inproc://gpb-pool-%" PRIu64, gpb_unique ());
    gpb_status_t status =
        gpb_pipe_ask (self->pool, (const char *[]){ "BIND", endpoint, NULL }, error);
    if (status == GPB_OK) {
        self->dealer = zsock_new (ZMQ_DEALER);
        zsock_set_linger (self->dealer, 0);
        zsock_set_sndhwm (self->dealer, 0);
        zsock_set_rcvhwm (self->dealer, 0);
        if (zsock_connect (self->dealer, "%s", endpoint) != 0)
            status = gpb_error_set (error, GPB_INTERNAL, "cannot connect to the pool");
    }
    if (status != GPB_OK)
        gpb_rentals_destroy (&self);
    return self;
}

void
gpb_rentals_destroy (gpb_rentals_t **self_p)
{
    gpb_rentals_t *self = *self_p;
    if (!self)
        return;
    *self_p = NULL;
    zsock_destroy (&self->dealer);
    zactor_destroy (&self->pool);
    for (void *item = zhashx_first (self->rentals); item; item = zhashx_next (self->rentals))
        gpb_free (item);
    for (void *item = zhashx_first (self->asked); item; item = zhashx_next (self->asked))
        gpb_free (item);
    for (void *item = zlistx_first (self->ending); item; item = zlistx_next (self->ending))
        gpb_free (item);
    zhashx_destroy (&self->rentals);
    zhashx_destroy (&self->asked);
    zlistx_destroy (&self->ending);
    gpb_owners_destroy (&self->owners);
    gpb_free (self);
}

void
gpb_rentals_abandon (gpb_rentals_t **self_p)
{
    gpb_rentals_t *self = *self_p;
    *self_p = NULL;
    zsock_destroy (&self->dealer);
    gpb_error_t error;
    gpb_pipe_ask (self->pool, (const char *[]){ "KEEP", NULL }, &error);
    zactor_destroy (&self->pool);
    //  Jobs that are still on the device point into the rest.
}

gpb_rental_t *
gpb_rentals_lookup (gpb_rentals_t *self, const gpb_owner_t *owner, uint64_t handle,
                    gpb_error_t *error)
{
    gpb_rental_t *rental = zhashx_lookup (self->rentals, &handle);
    if (rental && gpb_owner_same (&rental->owner, owner))
        return rental;
    gpb_error_set (error, GPB_NOT_FOUND,
                   "no buffer with handle %016" PRIx64 " is rented by this connection", handle);
    return NULL;
}

//  Counts what a rental has, and stops counting it.
static uint64_t
s_size (const gpb_rental_t *rental)
{
    return rental->lease.handle ? rental->lease.block_size : rental->lease.size;
}

static bool
s_is_devices (const gpb_rentals_t *self, const gpb_rental_t *rental)
{
    return self->shared->info.shares_host_memory || rental->lease.kind == GPB_MEMORY_DEVICE;
}

static void
s_count (gpb_rentals_t *self, const gpb_rental_t *rental)
{
    self->rented += s_size (rental);
    self->used += s_is_devices (self, rental) ? s_size (rental) : 0;
}

static void
s_uncount (gpb_rentals_t *self, const gpb_rental_t *rental)
{
    self->rented -= s_size (rental);
    self->used -= s_is_devices (self, rental) ? s_size (rental) : 0;
}

//  It is in no table any more.
static void
s_rental_free (gpb_rentals_t *self, gpb_rental_t *rental)
{
    s_uncount (self, rental);
    if (rental->reservation)
        gpb_reservations_return (self->reservations, rental->reservation, rental->drawn);
    gpb_owners_remove (self->owners, &rental->owned);
    gpb_free (rental);
}

//  Sends one request to the pool. What is sent to an inproc peer without a high-water mark is never
//  refused.
static void
s_send (gpb_rentals_t *self, uint64_t client, uint16_t flags, gpb_ticket_t ticket,
        zmq_msg_t *header)
{
    gpb_message_t message;
    gpb_message_init (&message);
    gpb_hop_t hop = { .magic = GPB_HOP_MAGIC,
                      .flags = flags,
                      .slot = ticket.number,
                      .generation = ticket.generation,
                      .owner = client,
                      .remaining_ns = UINT64_MAX };
    zmq_msg_init (&message.envelope [0]);
    gpb_hop_write (&message.envelope [0], &hop);
    message.envelope_count = 1;
    zmq_msg_move (&message.header, header);
    gpb_message_send (&message, zsock_resolve (self->dealer), NULL);
    self->touched = true;
    gpb_message_clear (&message);
}

static void
s_send_request (gpb_rentals_t *self, uint64_t client, uint16_t flags, gpb_ticket_t ticket,
                Gpb__V1__Request *request)
{
    request->version = GPB_PROTOCOL_VERSION;
    zmq_msg_t header;
    zmq_msg_init (&header);
    if (gpb_codec_pack (&request->base, &header, NULL) == GPB_OK)
        s_send (self, client, flags, ticket, &header);
    zmq_msg_close (&header);
}

gpb_status_t
gpb_rentals_rent (gpb_rentals_t *self, const gpb_owner_t *owner, gpb_ticket_t ticket,
                  const Gpb__V1__Rent *rent, zmq_msg_t *header, gpb_error_t *error)
{
    gpb_rental_t *rental = gpb_alloc (1, sizeof *rental);
    if (!rental)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a rent's entry");
    rental->ticket = ticket;
    rental->owner = *owner;
    rental->owned.item = rental;
    rental->lease.size = rent->size;
    rental->lease.kind =
        rent->kind == GPB__V1__MEMORY_KIND__MAPPED ? GPB_MEMORY_MAPPED : GPB_MEMORY_DEVICE;
    gpb_status_t status = gpb_owners_add (self->owners, owner, &rental->owned, rent->size, error);
    if (s_is_devices (self, rental))
        rental->drawn = rent->size;
    if (status == GPB_OK && rent->reservation && self->reservations)
        status =
            gpb_reservations_draw (self->reservations, rent->reservation, rental->drawn, error);
    if (status != GPB_OK) {
        gpb_owners_remove (self->owners, &rental->owned);
        gpb_free (rental);
        return status;
    }
    rental->client = rental->owned.owner->number;
    rental->reservation = self->reservations ? rent->reservation : 0;
    s_count (self, rental);
    zhashx_insert (self->asked, &rental->ticket, rental);
    s_send (self, rental->client, 0, ticket, header);
    return GPB_OK;
}

void
gpb_rentals_forget (gpb_rentals_t *self, gpb_ticket_t ticket)
{
    gpb_rental_t *rental = zhashx_lookup (self->asked, &ticket);
    if (rental)
        rental->ending = true;
}

static void
s_send_release (gpb_rentals_t *self, gpb_rental_t *rental)
{
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Release release = GPB__V1__RELEASE__INIT;
    release.handle = rental->lease.handle;
    request.body_case = GPB__V1__REQUEST__BODY_RELEASE;
    request.release = &release;
    s_send_request (self, rental->client, 0, rental->ticket, &request);
    //  Until the pool says so itself; a rent that is sent behind this finds it done.
    if (s_is_devices (self, rental))
        self->holding.idle += rental->lease.block_size;
    s_rental_free (self, rental);
}

void
gpb_rentals_release (gpb_rentals_t *self, gpb_rental_t *rental, gpb_ticket_t ticket)
{
    zhashx_delete (self->rentals, &rental->lease.handle);
    gpb_owners_remove (self->owners, &rental->owned);
    rental->ending = true;
    rental->ticket = ticket;
    if (rental->users)
        zlistx_add_end (self->ending, rental);
    else
        s_send_release (self, rental);
}

void
gpb_rentals_drop (gpb_rentals_t *self, const gpb_owner_t *owner)
{
    const gpb_ticket_t nobody = { .number = GPB_TICKET_NOBODY };
    gpb_owned_t *owned;
    while ((owned = gpb_owners_first (self->owners, owner))) {
        gpb_rental_t *rental = owned->item;
        if (rental->lease.handle)
            gpb_rentals_release (self, rental, nobody);
        else {
            //  Asked for: it goes back when the pool has answered.
            gpb_owners_remove (self->owners, owned);
            rental->ending = true;
        }
    }
}

void
gpb_rentals_settle (gpb_rentals_t *self)
{
    gpb_rental_t *rental = zlistx_first (self->ending);
    while (rental) {
        if (rental->users == 0) {
            zlistx_delete (self->ending, zlistx_cursor (self->ending));
            s_send_release (self, rental);
            rental = zlistx_first (self->ending);
        }
        else
            rental = zlistx_next (self->ending);
    }
}

void *
gpb_rentals_socket (gpb_rentals_t *self)
{
    return zsock_resolve (self->dealer);
}

bool
gpb_rentals_is_touched (const gpb_rentals_t *self)
{
    return self->touched;
}

//  Notes what the pool has rented out; where nobody is there to be told any more, it goes straight
//  back.
static void
s_install (gpb_rentals_t *self, gpb_rental_t *rental, const gpb_lease_t *lease)
{
    s_uncount (self, rental);
    rental->lease = *lease;
    s_count (self, rental);
    zhashx_insert (self->rentals, &rental->lease.handle, rental);
    if (rental->ending)
        gpb_rentals_release (self, rental, (gpb_ticket_t){ .number = GPB_TICKET_NOBODY });
}

bool
gpb_rentals_recv (gpb_rentals_t *self, gpb_ticket_t *ticket_p, zmq_msg_t *header)
{
    gpb_message_t message;
    gpb_message_init (&message);
    bool is_for_somebody = false;
    while (!is_for_somebody
           && gpb_message_recv (&message, zsock_resolve (self->dealer), NULL) == GPB_OK)
    {
        gpb_hop_t hop;
        if (message.envelope_count != 1 || !gpb_hop_read (&message.envelope [0], &hop))
            continue;
        *ticket_p = (gpb_ticket_t){ .number = hop.slot, .generation = hop.generation };
        is_for_somebody = hop.slot != GPB_TICKET_NOBODY;
        gpb_lease_frame_t frame = { .lease = { .handle = 0 } };
        if (message.payloads_count == 1
            && zmq_msg_size (&message.payloads [0]) == sizeof (gpb_lease_frame_t))
        {
            memcpy (&frame, zmq_msg_data (&message.payloads [0]), sizeof frame);
            self->holding = frame.holding;
        }
        gpb_rental_t *rental = zhashx_lookup (self->asked, ticket_p);
        if (rental) {
            zhashx_delete (self->asked, ticket_p);
            if (frame.lease.handle)
                s_install (self, rental, &frame.lease);
            else
                s_rental_free (self, rental);    //  the pool refused
        }
        zmq_msg_move (header, &message.header);
    }
    gpb_message_clear (&message);
    self->touched = is_for_somebody;    //  or else there was no more
    return is_for_somebody;
}

static void
s_ask_stats (gpb_rentals_t *self, uint16_t flags, gpb_ticket_t ticket)
{
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Stats stats = GPB__V1__STATS__INIT;
    request.body_case = GPB__V1__REQUEST__BODY_STATS;
    request.stats = &stats;
    s_send_request (self, STATS_CLIENT, flags, ticket, &request);
}

void
gpb_rentals_ask_stats (gpb_rentals_t *self, gpb_ticket_t ticket)
{
    s_ask_stats (self, 0, ticket);
}

void
gpb_rentals_ask_trim (gpb_rentals_t *self, gpb_ticket_t ticket)
{
    s_ask_stats (self, GPB_HOP_TRIM, ticket);
}

const gpb_holding_t *
gpb_rentals_holding (const gpb_rentals_t *self)
{
    return &self->holding;
}

uint64_t
gpb_rentals_used (const gpb_rentals_t *self)
{
    return self->used;
}

uint64_t
gpb_rentals_rented (const gpb_rentals_t *self)
{
    return self->rented;
}
