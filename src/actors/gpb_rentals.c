//  gpb_rentals - what a device's clients have rented
//
//  The pool is asked over an inproc DEALER, with the public protocol; a hop frame carries who asks
//  (the owner, folded into one number) and which job waits. A lease comes in the reply's payload
//  frame. The pool is asked to release a buffer only when the device is done with it, so that the
//  pool never has to wait for a stream.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_rentals.h"

#include "gpb_alloc.h"
#include "gpb_pool.h"

#include <inttypes.h>

struct _gpb_rentals_t {
    const gpb_shared_context_t *shared;
    zactor_t *pool;
    zsock_t *dealer;
    zhashx_t *rentals;    //  by handle
    zlistx_t *ending;     //  those that wait for their users
    zhashx_t *asked;      //  owners of rents that the pool has not answered yet, by ticket
    Gpb__V1__PoolStats figures;
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
gpb_rentals_new (const gpb_config_t *config, const gpb_shared_context_t *shared, gpb_error_t *error)
{
    gpb_rentals_t *self = gpb_alloc (1, sizeof *self);
    if (!self) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a device's rents");
        return NULL;
    }
    self->shared = shared;
    self->rentals = s_table_new ();
    self->asked = s_table_new ();
    self->ending = zlistx_new ();
    gpb__v1__pool_stats__init (&self->figures);
    self->figures.device = shared->index;

    gpb_pool_args_t args = { .config = config, .index = shared->index, .shared = shared };
    self->pool = zactor_new (gpb_pool, &args);
    char endpoint [64];
    snprintf (endpoint, sizeof endpoint, "inproc://gpb-pool-%p", (void *) self);
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

//  Sends one request to the pool. What is sent to an inproc peer without a high-water mark is never
//  refused.
static void
s_send (gpb_rentals_t *self, gpb_ticket_t ticket, zmq_msg_t *header)
{
    gpb_message_t message;
    gpb_message_init (&message);
    //  The pool has one client, and one owner, this device: who is behind it is ours to know.
    gpb_hop_t hop = { .magic = GPB_HOP_MAGIC,
                      .slot = ticket.number,
                      .generation = ticket.generation,
                      .owner = 1,
                      .remaining_ns = UINT64_MAX };
    zmq_msg_init (&message.envelope [0]);
    gpb_hop_write (&message.envelope [0], &hop);
    message.envelope_count = 1;
    zmq_msg_move (&message.header, header);
    gpb_message_send (&message, zsock_resolve (self->dealer), NULL);
    gpb_message_clear (&message);
}

gpb_status_t
gpb_rentals_rent (gpb_rentals_t *self, const gpb_owner_t *owner, gpb_ticket_t ticket,
                  zmq_msg_t *header, gpb_error_t *error)
{
    gpb_rental_t *rental = gpb_alloc (1, sizeof *rental);
    if (!rental)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a rent's entry");
    rental->ticket = ticket;
    rental->owner = *owner;
    zhashx_insert (self->asked, &rental->ticket, rental);
    s_send (self, ticket, header);
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
    request.version = GPB_PROTOCOL_VERSION;
    request.body_case = GPB__V1__REQUEST__BODY_RELEASE;
    request.release = &release;
    zmq_msg_t header;
    zmq_msg_init (&header);
    if (gpb_codec_pack (&request.base, &header, NULL) == GPB_OK)
        s_send (self, rental->ticket, &header);
    zmq_msg_close (&header);
    self->figures.releases++;
    self->figures.live--;
    self->figures.in_use -= rental->lease.size;
    gpb_free (rental);
}

void
gpb_rentals_release (gpb_rentals_t *self, gpb_rental_t *rental, gpb_ticket_t ticket)
{
    zhashx_delete (self->rentals, &rental->lease.handle);
    rental->ending = true;
    rental->ticket = ticket;
    if (rental->users)
        zlistx_add_end (self->ending, rental);
    else
        s_send_release (self, rental);
}

static bool
s_is_owned (const gpb_owner_t *owned, const gpb_owner_t *owner)
{
    return owned->connection == owner->connection
           && (!owner->behind || owned->behind == owner->behind);
}

void
gpb_rentals_drop (gpb_rentals_t *self, const gpb_owner_t *owner)
{
    const gpb_ticket_t nobody = { .number = GPB_TICKET_NOBODY };
    for (gpb_rental_t *asked = zhashx_first (self->asked); asked; asked = zhashx_next (self->asked))
        if (s_is_owned (&asked->owner, owner))
            asked->ending = true;
    gpb_rental_t *rental = zhashx_first (self->rentals);
    while (rental) {
        if (s_is_owned (&rental->owner, owner)) {
            gpb_rentals_release (self, rental, nobody);
            rental = zhashx_first (self->rentals);
        }
        else
            rental = zhashx_next (self->rentals);
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

//  Notes what the pool has rented out; where nobody is there to be told any more, it goes straight
//  back.
static void
s_install (gpb_rentals_t *self, gpb_rental_t *rental, const zmq_msg_t *frame)
{
    memcpy (&rental->lease, zmq_msg_data ((zmq_msg_t *) frame), sizeof rental->lease);
    zhashx_insert (self->rentals, &rental->lease.handle, rental);
    self->figures.rents++;
    self->figures.live++;
    self->figures.in_use += rental->lease.size;
    if (self->figures.in_use > self->figures.high_water)
        self->figures.high_water = self->figures.in_use;
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
        gpb_rental_t *rental = zhashx_lookup (self->asked, ticket_p);
        if (rental) {
            zhashx_delete (self->asked, ticket_p);
            if (message.payloads_count == 1
                && zmq_msg_size (&message.payloads [0]) == sizeof (gpb_lease_t))
                s_install (self, rental, &message.payloads [0]);
            else
                gpb_free (rental);    //  the pool refused
        }
        zmq_msg_move (header, &message.header);
    }
    gpb_message_clear (&message);
    return is_for_somebody;
}

const Gpb__V1__PoolStats *
gpb_rentals_figures (const gpb_rentals_t *self)
{
    return &self->figures;
}
