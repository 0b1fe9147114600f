//  gpb_pool - a device's rented memory as an actor
//
//  Owns every rented buffer of one device, by a handle that cannot be guessed and is never given
//  twice (gpb_handles), and the memory that they are carved out of (gpb_pool_memory), on its own
//  thread and its own stream, so that a device's launches wait for neither. Answers rent, release,
//  map, unmap, cancel and stats. Its usual client is its device's actor, which asks in the name of
//  the device's clients and gets the memory itself along with the handle; started alone, any client
//  may rent, and an application in the same process maps what it has rented.
//
//  It never waits. A rent whose memory is still being zeroed, or that finds none while memory of
//  others is being zeroed, is kept and answered later; others are served meanwhile. What is kept
//  ends in exactly one answer: with its memory, with a refusal, when its time is up, when it is
//  taken back; with none where its owner has left.
//
//  A buffer belongs to who rented it: for everyone else its handle is NOT_FOUND. It comes back when
//  it is released, when its owner's connection ends, or with the actor. Free memory that nobody has
//  asked for in keep_ms goes back to the driver.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_pool.h"

#include "gpb_alloc.h"
#include "gpb_clock.h"
#include "gpb_handles.h"
#include "gpb_heap.h"
#include "gpb_lease.h"
#include "gpb_log.h"
#include "gpb_owners.h"
#include "gpb_pool_memory.h"
#include "gpb_service.h"
#include "gpb_shared_context.h"

#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <unistd.h>

#define BATCH 16               //  requests between two looks at the pipe
#define STOP_LINGER_MS 1000    //  for the last answers to leave over tcp

struct s_rent;

//  A rent that is not answered yet.
typedef struct {
    gpb_heap_node_t deadline;    //  key: gpb_clock_ns (); the first member
    gpb_message_t message;       //  its envelope
    gpb_connection_t *connection;
    struct s_rent *rent;
    uint64_t id;
    bool is_devices;    //  asked by a device of this process: the lease goes along
} s_asked_t;

typedef struct s_rent {
    gpb_lease_t lease;          //  what the device is told; handle 0: not answered yet
    gpb_pool_block_t *block;    //  NULL: it has none yet
    gpb_owned_t owned;
    bool mapped;
    s_asked_t *asked;       //  NULL once it is answered
    uint64_t until;         //  gpb_pool_memory_settled: before that, what is zeroed may be enough
    struct s_rent *next;    //  of those
} s_rent_t;

//  A device that waits until what came back is zero, and is with the driver.
typedef struct s_trim {
    struct s_trim *next;
    gpb_message_t message;    //  its envelope
    uint64_t id;
    uint64_t until;    //  gpb_pool_memory_settled
} s_trim_t;

typedef struct {
    zsock_t *pipe;
    gpb_config_t *config;
    gpb_service_t *service;
    gpb_error_t failure;    //  why there is no service
    gpb_shared_context_t *shared;
    gpb_pool_memory_t *memory;
    gpb_handles_t *handles;                //  s_rent_t
    gpb_owners_t *owners;                  //  likewise
    gpb_heap_t asked;                      //  by deadline
    s_rent_t *short_first, *short_last;    //  that have no block yet, the first that came first
    bool keeps;    //  nothing is given back at the end: a kernel that does not end may use it
    uint64_t client_max_size;    //  bytes that one client may rent; 0: no bound of its own
    uint64_t keep_ns;
    uint64_t last_asked_ns;    //  gpb_clock_ns ()
    bool is_trimmed;           //  since then
    Gpb__V1__PoolStats figures;

    s_trim_t *trim_first, *trim_last;    //  the first that asked first
    gpb_connection_t *device;            //  whose pool this is, as it asked last; NULL: nobody's
    zmq_msg_t identity;                  //  its
    gpb_holding_t told;                  //  what it knows
} self_t;

//  ---------------------------------------------------------------------------------------------------------
//  Rents

static s_rent_t *
s_rent_lookup (self_t *self, const gpb_call_t *call, uint64_t handle, gpb_error_t *error)
{
    s_rent_t *rent = gpb_handles_lookup (self->handles, handle);
    if (rent && gpb_owner_same (&rent->owned.owner->owner, &call->owner))
        return rent;
    gpb_error_set (error, GPB_NOT_FOUND,
                   "no buffer with handle %016" PRIx64 " is rented by this connection", handle);
    return NULL;
}

static void
s_asked_free (self_t *self, s_rent_t *rent)
{
    s_asked_t *asked = rent->asked;
    rent->asked = NULL;
    gpb_heap_remove (&self->asked, &asked->deadline);
    gpb_message_clear (&asked->message);
    gpb_free (asked);
}

static void
s_short_add (self_t *self, s_rent_t *rent)
{
    rent->next = NULL;
    *(self->short_last ? &self->short_last->next : &self->short_first) = rent;
    self->short_last = rent;
}

static void
s_short_remove (self_t *self, s_rent_t *rent)
{
    s_rent_t *before = NULL, **link = &self->short_first;
    while (*link && *link != rent) {
        before = *link;
        link = &before->next;
    }
    if (!*link)
        return;
    *link = rent->next;
    if (self->short_last == rent)
        self->short_last = before;
}

//  Whatever it has goes back, whether it was answered or not.
static void
s_rent_end (self_t *self, s_rent_t *rent)
{
    if (rent->lease.handle) {
        gpb_handles_remove (self->handles, rent->lease.handle);
        self->figures.releases++;
        self->figures.live--;
        self->figures.in_use -= rent->lease.block_size;
        self->figures.requested -= rent->lease.size;
    }
    if (rent->block)
        gpb_pool_memory_give (self->memory, &rent->block);
    else
        s_short_remove (self, rent);
    if (rent->asked)
        s_asked_free (self, rent);
    gpb_owners_remove (self->owners, &rent->owned);
    gpb_free (rent);
}

static gpb_status_t
s_rent_check (self_t *self, const gpb_call_t *call, gpb_error_t *error)
{
    const Gpb__V1__Rent *rent = call->request->rent;
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
    uint64_t rented = gpb_owners_figures (self->owners, &call->owner).size;
    if (self->client_max_size
        && (rented > self->client_max_size || rent->size > self->client_max_size - rented))
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED,
                              "a buffer of %" PRIu64
                              " bytes was asked for: this client has %" PRIu64 " of the %" PRIu64
                              " bytes that one may rent on device %u",
                              rent->size, rented, self->client_max_size, self->shared->index);
    //  Ids behind a device are its clients', and it has looked at them.
    for (size_t index = 0; !call->owner.behind && index < self->asked.count; index++) {
        const s_asked_t *asked = (const s_asked_t *) self->asked.nodes [index];
        if (asked->id == call->request->id && asked->connection == call->connection)
            return gpb_error_set (error, GPB_ALREADY_EXISTS,
                                  "request %" PRIu64 " of this connection is in flight",
                                  call->request->id);
    }
    return GPB_OK;
}

//  The rent that a call asks for, with the call; it has no memory yet.
static s_rent_t *
s_rent_new (self_t *self, gpb_call_t *call, gpb_error_t *error)
{
    static const gpb_access_t accesses [] = { GPB_ACCESS_READ_WRITE, GPB_ACCESS_READ_ONLY,
                                              GPB_ACCESS_WRITE_ONLY };
    const Gpb__V1__Rent *request = call->request->rent;
    s_rent_t *rent = gpb_alloc (1, sizeof *rent);
    s_asked_t *asked = gpb_alloc (1, sizeof *asked);
    if (!rent || !asked
        || gpb_owners_add (self->owners, &call->owner, &rent->owned, request->size, error)
               != GPB_OK)
    {
        gpb_free (rent);
        gpb_free (asked);
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a rent's entry");
        return NULL;
    }
    rent->owned.item = rent;
    rent->lease.size = request->size;
    rent->lease.kind =
        request->kind == GPB__V1__MEMORY_KIND__MAPPED ? GPB_MEMORY_MAPPED : GPB_MEMORY_DEVICE;
    rent->lease.access = accesses [request->access];
    rent->asked = asked;
    asked->deadline.key = call->deadline_ns;
    asked->connection = call->connection;
    asked->rent = rent;
    asked->id = call->request->id;
    asked->is_devices = call->connection->is_inproc && call->owner.behind;
    gpb_message_init (&asked->message);
    if (!gpb_heap_add (&self->asked, &asked->deadline)) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a rent's entry");
        s_rent_end (self, rent);
        return NULL;
    }
    gpb_message_move (&asked->message, call->message);
    return rent;
}

//  ---------------------------------------------------------------------------------------------------------
//  Answers to rents

static void
s_rent_refuse (self_t *self, s_rent_t *rent, const gpb_error_t *error)
{
    s_asked_t *asked = rent->asked;
    gpb_service_refuse (self->service, asked->connection, &asked->message, asked->id, error);
    s_rent_end (self, rent);
}

//  Adds what the device is to know to a message that goes there.
static void
s_add_lease (self_t *self, gpb_message_t *message, const gpb_lease_t *lease)
{
    gpb_lease_frame_t content;
    memset (&content, 0, sizeof content);
    if (lease)
        content.lease = *lease;
    gpb_pool_memory_holding (self->memory, &content.holding);
    self->told = content.holding;
    zmq_msg_t frame;
    zmq_msg_init_size (&frame, sizeof content);
    memcpy (zmq_msg_data (&frame), &content, sizeof content);
    gpb_message_add (message, &frame, NULL);
}

//  Its memory is there, and zero.
static void
s_rent_answer (self_t *self, s_rent_t *rent)
{
    gpb_error_t error;
    gpb_lease_t *lease = &rent->lease;
    const gpb_allocation_t *allocation = &rent->block->allocation;
    uint64_t handle = gpb_handles_add (self->handles, rent, &error);
    if (!handle) {
        s_rent_refuse (self, rent, &error);
        return;
    }
    lease->handle = handle;
    lease->memory = allocation->memory;
    lease->offset = allocation->offset;
    lease->address = lease->kind == GPB_MEMORY_MAPPED ? allocation->address : NULL;
    lease->block_size = allocation->size;
    self->figures.rents++;
    self->figures.live++;
    self->figures.in_use += lease->block_size;
    self->figures.requested += lease->size;
    if (self->figures.in_use > self->figures.high_water)
        self->figures.high_water = self->figures.in_use;

    s_asked_t *asked = rent->asked;
    Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
    Gpb__V1__RentReply body = GPB__V1__RENT_REPLY__INIT;
    body.handle = handle;
    body.size = lease->size;
    body.device = self->shared->index;
    reply.id = asked->id;
    reply.body_case = GPB__V1__REPLY__BODY_RENT;
    reply.rent = &body;
    if (asked->is_devices)
        s_add_lease (self, &asked->message, lease);
    gpb_service_reply (self->service, asked->connection, &asked->message, &reply);
    s_asked_free (self, rent);
}

//  Says what was asked for and what stands in its way; what others have only where the driver
//  tells.
static void
s_set_exhausted (self_t *self, const s_rent_t *rent, gpb_error_t *error)
{
    uint64_t total = self->shared->info.total_memory, of_driver;
    gpb_holding_t holding;
    gpb_pool_memory_holding (self->memory, &holding);
    char beside [128] = "";
    if (gpb_pool_memory_of_driver (self->memory, &of_driver)) {
        uint64_t others = total > of_driver + holding.held ? total - of_driver - holding.held : 0;
        snprintf (beside, sizeof beside,
                  "; the driver has %" PRIu64 " more, launches and others have %" PRIu64, of_driver,
                  others);
    }
    uint64_t clients = rent->owned.owner->size - rent->lease.size;
    gpb_error_set (error, GPB_RESOURCE_EXHAUSTED,
                   "a buffer of %" PRIu64 " bytes was asked for: %" PRIu64 " of %" PRIu64
                   " bytes are rented out on device %u, %" PRIu64
                   " of them to this client; %" PRIu64
                   " are kept free, the largest block of them has %" PRIu64 "%s",
                   rent->lease.size, self->figures.in_use, gpb_pool_memory_limit (self->memory),
                   self->shared->index, clients, gpb_pool_memory_kept (self->memory),
                   gpb_pool_memory_largest (self->memory), beside);
}

//  Gives it memory, if there is any; else it waits for what is being zeroed, or is refused. False:
//  it still has none, and waits.
static bool
s_rent_serve (self_t *self, s_rent_t *rent)
{
    gpb_error_t error;
    rent->block = gpb_pool_memory_take (self->memory, rent->lease.kind, rent->lease.size, &error);
    if (rent->block) {
        rent->block->item = rent;
        if (rent->block->is_ready)
            s_rent_answer (self, rent);
        return true;
    }
    if (error.status == GPB_RESOURCE_EXHAUSTED) {
        if (rent->lease.size <= gpb_pool_memory_limit (self->memory)
            && gpb_pool_memory_settled (self->memory) < rent->until)
            return false;
        s_set_exhausted (self, rent, &error);
    }
    s_rent_refuse (self, rent, &error);
    return true;
}

//  Memory has come back: those that had none try again, the first one first.
static void
s_serve_short (self_t *self)
{
    s_rent_t *rent = self->short_first;
    self->short_first = self->short_last = NULL;
    while (rent) {
        s_rent_t *next = rent->next;
        if (!s_rent_serve (self, rent))
            s_short_add (self, rent);
        rent = next;
    }
}

//  ---------------------------------------------------------------------------------------------------------
//  Requests

static bool
s_is_devices (const gpb_call_t *call)
{
    return call->connection->is_inproc && call->owner.behind;
}

//  Somebody asks for memory or gives some back; whose pool this is, if it is a device.
static void
s_note (self_t *self, const gpb_call_t *call)
{
    self->last_asked_ns = call->received_ns;
    self->is_trimmed = false;
    if (s_is_devices (call) && call->connection != self->device) {
        self->device = call->connection;
        zmq_msg_copy (&self->identity, &call->message->envelope [0]);
    }
}

static void
s_handle_rent (void *actor, gpb_call_t *call)
{
    self_t *self = actor;
    gpb_error_t error;
    s_rent_t *rent = NULL;
    s_note (self, call);
    if (s_rent_check (self, call, &error) == GPB_OK)
        rent = s_rent_new (self, call, &error);
    if (!rent) {
        gpb_call_refuse (self->service, call, &error);
        return;
    }
    rent->until = gpb_pool_memory_returned (self->memory);
    if (!s_rent_serve (self, rent))
        s_short_add (self, rent);
}

static void
s_handle_release (void *actor, gpb_call_t *call)
{
    self_t *self = actor;
    gpb_error_t error;
    s_note (self, call);
    s_rent_t *rent = s_rent_lookup (self, call, call->request->release->handle, &error);
    if (!rent) {
        gpb_call_refuse (self->service, call, &error);
        return;
    }
    s_rent_end (self, rent);
    Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
    Gpb__V1__Done done = GPB__V1__DONE__INIT;
    reply.id = call->request->id;
    reply.body_case = GPB__V1__REPLY__BODY_RELEASE;
    reply.release = &done;
    if (s_is_devices (call))
        s_add_lease (self, call->message, NULL);
    gpb_service_reply (self->service, call->connection, call->message, &reply);
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
s_handle_cancel (void *actor, gpb_call_t *call)
{
    self_t *self = actor;
    uint64_t id = call->request->cancel->id;
    s_rent_t *found = NULL;
    gpb_error_t error;
    for (size_t index = 0; !found && index < self->asked.count; index++) {
        const s_asked_t *asked = (const s_asked_t *) self->asked.nodes [index];
        if (asked->id == id && gpb_owner_same (&asked->rent->owned.owner->owner, &call->owner))
            found = asked->rent;
    }
    if (!found) {
        gpb_error_set (&error, GPB_NOT_FOUND,
                       "request %" PRIu64 " of this connection is not in flight", id);
        gpb_call_refuse (self->service, call, &error);
        return;
    }
    gpb_error_set (&error, GPB_CANCELLED, "the client took the request back");
    s_rent_refuse (self, found, &error);
    gpb_call_done (self->service, call);
}

//  A reply's body for the figures as they are.
static void
s_reply_stats (self_t *self, gpb_connection_t *connection, gpb_message_t *message, uint64_t id)
{
    Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
    Gpb__V1__StatsReply body = GPB__V1__STATS_REPLY__INIT;
    Gpb__V1__PoolStats *figures = &self->figures;
    gpb_pool_memory_figures (self->memory, figures);
    figures->internal_fragmentation =
        figures->in_use ? (double) (figures->in_use - figures->requested) / (double) figures->in_use
                        : 0.0;
    body.n_pools = 1;
    body.pools = &figures;
    reply.id = id;
    reply.body_case = GPB__V1__REPLY__BODY_STATS;
    reply.stats = &body;
    if (connection == self->device)
        s_add_lease (self, message, NULL);
    gpb_service_reply (self->service, connection, message, &reply);
}

static bool
s_wants_trim (const gpb_call_t *call)
{
    gpb_hop_t hop;
    const gpb_message_t *message = call->message;
    return s_is_devices (call)
           && gpb_hop_read (&message->envelope [message->envelope_count - 1], &hop)
           && (hop.flags & GPB_HOP_TRIM);
}

static void
s_handle_stats (void *actor, gpb_call_t *call)
{
    self_t *self = actor;
    s_trim_t *trim = s_wants_trim (call) ? gpb_alloc (1, sizeof *trim) : NULL;
    if (!trim) {
        s_reply_stats (self, call->connection, call->message, call->request->id);
        return;
    }
    s_note (self, call);
    trim->id = call->request->id;
    trim->until = gpb_pool_memory_returned (self->memory);
    gpb_message_init (&trim->message);
    gpb_message_move (&trim->message, call->message);
    *(self->trim_last ? &self->trim_last->next : &self->trim_first) = trim;
    self->trim_last = trim;
}

//  Answers those for whom all that came back before they asked is zero by now, or the first one's
//  device is gone.
static void
s_check_trims (self_t *self)
{
    s_trim_t *trim;
    while ((trim = self->trim_first)
           && (!self->device || gpb_pool_memory_settled (self->memory) >= trim->until))
    {
        self->trim_first = trim->next;
        if (!self->trim_first)
            self->trim_last = NULL;
        gpb_pool_memory_trim (self->memory);
        if (self->device)
            s_reply_stats (self, self->device, &trim->message, trim->id);
        gpb_message_clear (&trim->message);
        gpb_free (trim);
    }
}

static void
s_drop_owner (self_t *self, const gpb_owner_t *owner)
{
    gpb_owned_t *owned;
    while ((owned = gpb_owners_first (self->owners, owner)))
        s_rent_end (self, owned->item);
}

static void
s_handle_goodbye (void *actor, gpb_call_t *call)
{
    self_t *self = actor;
    gpb_connection_t *connection = call->connection;
    gpb_owner_t owner = call->owner;
    gpb_call_done (self->service, call);
    s_drop_owner (self, &owner);
    if (!owner.behind)
        gpb_router_end (gpb_service_router (self->service), connection);
}

static const gpb_handler_t s_handlers [] = {
    { GPB__V1__REQUEST__BODY_RENT, s_handle_rent },
    { GPB__V1__REQUEST__BODY_RELEASE, s_handle_release },
    { GPB__V1__REQUEST__BODY_MAP, s_handle_map },
    { GPB__V1__REQUEST__BODY_UNMAP, s_handle_unmap },
    { GPB__V1__REQUEST__BODY_CANCEL, s_handle_cancel },
    { GPB__V1__REQUEST__BODY_STATS, s_handle_stats },
    { GPB__V1__REQUEST__BODY_GOODBYE, s_handle_goodbye },
};

//  ---------------------------------------------------------------------------------------------------------
//  What happens between requests

//  What was being zeroed and is done.
static void
s_collect (self_t *self)
{
    uint64_t count;
    ssize_t size = read (self->shared->pool_fd, &count, sizeof count);
    (void) size;    //  nothing to read is fine: what is done is looked at anyway
    uint64_t settled = gpb_pool_memory_settled (self->memory);
    gpb_pool_block_t *block;
    while ((block = gpb_pool_memory_done (self->memory))) {
        s_rent_t *rent = block->item;
        if (block->is_ready)
            s_rent_answer (self, rent);
        else {
            gpb_error_t error;
            gpb_error_set (&error, block->status,
                           "the memory of %" PRIu64 " bytes for this buffer could not be zeroed%s",
                           rent->lease.size,
                           block->status == GPB_UNAVAILABLE ? ": the device is lost" : "");
            s_rent_refuse (self, rent, &error);
        }
    }
    if (gpb_pool_memory_settled (self->memory) != settled) {
        self->is_trimmed = false;
        s_serve_short (self);
    }
}

static void
s_drop_ended (self_t *self)
{
    gpb_connection_t *ended;
    while ((ended = gpb_router_ended (gpb_service_router (self->service)))) {
        const gpb_owner_t owner = { .connection = ended->number };
        s_drop_owner (self, &owner);
        if (self->device == ended)
            self->device = NULL;
    }
}

//  Answers rents whose time is up. When the next one's is; UINT64_MAX: there is none.
static uint64_t
s_check_deadlines (self_t *self, uint64_t now_ns)
{
    gpb_heap_node_t *first;
    while ((first = gpb_heap_first (&self->asked)) && first->key <= now_ns) {
        gpb_error_t error;
        gpb_error_set (&error, GPB_DEADLINE_EXCEEDED,
                       "the request's time was up before memory was there");
        s_rent_refuse (self, ((s_asked_t *) first)->rent, &error);
    }
    return first ? first->key : UINT64_MAX;
}

//  Gives free memory back that nobody has asked for in a while. When to look again.
static uint64_t
s_check_kept (self_t *self, uint64_t now_ns)
{
    if (self->is_trimmed || gpb_pool_memory_kept (self->memory) == 0)
        return UINT64_MAX;
    uint64_t until_ns = self->last_asked_ns + self->keep_ns;
    if (until_ns > now_ns)
        return until_ns;
    gpb_pool_memory_trim (self->memory);
    self->is_trimmed = true;
    return UINT64_MAX;
}

//  Tells the device what has changed since it was last told.
static void
s_notify_device (self_t *self)
{
    gpb_holding_t holding;
    gpb_pool_memory_holding (self->memory, &holding);
    if (!self->device || (holding.held == self->told.held && holding.idle == self->told.idle))
        return;
    gpb_message_t notice;
    gpb_message_init (&notice);
    const gpb_hop_t hop = { .magic = GPB_HOP_MAGIC, .slot = GPB_TICKET_NOBODY };
    zmq_msg_init (&notice.envelope [0]);
    zmq_msg_copy (&notice.envelope [0], &self->identity);
    zmq_msg_init (&notice.envelope [1]);
    gpb_hop_write (&notice.envelope [1], &hop);
    notice.envelope_count = 2;
    s_add_lease (self, &notice, NULL);
    gpb_router_send (gpb_service_router (self->service), self->device, &notice);
    gpb_message_clear (&notice);
}

//  ---------------------------------------------------------------------------------------------------------
//  The life of the actor

static void
s_start (self_t *self, const gpb_pool_args_t *args)
{
    gpb__v1__pool_stats__init (&self->figures);
    self->figures.device = args->index;
    zmq_msg_init (&self->identity);
    self->config = args->config ? gpb_config_dup (args->config) : gpb_config_new ();
    if (args->shared)
        self->shared = gpb_shared_context_retain (args->shared);
}

static void
s_open (self_t *self, unsigned index)
{
    gpb_error_t *error = &self->failure;
    if (!self->config) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a pool");
        return;
    }
    if (!self->shared)
        self->shared = gpb_shared_context_open (gpb_config_string (self->config, "backends"), index,
                                                1, false, error);
    if (!self->shared)
        return;
    self->client_max_size = gpb_config_number (self->config, "client_rent_max_size");
    self->keep_ns = gpb_config_number (self->config, "keep_ms") * GPB_NS_PER_MS;
    self->memory = gpb_pool_memory_new (self->config, self->shared, error);
    if (self->memory)
        self->handles = gpb_handles_new (index, GPB_HANDLES_GENERATIONS, error);
    if (self->handles)
        self->owners = gpb_owners_new (error);
    if (self->owners)
        self->service = gpb_service_new (self->config, s_handlers,
                                         sizeof s_handlers / sizeof s_handlers [0], self, error);
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

//  Waits for what is on the stream, within the time that the configuration gives. False: it did not
//  end.
static bool
s_drain (self_t *self)
{
    uint64_t end_ns =
        gpb_clock_ns () + gpb_config_number (self->config, "drain_ms") * GPB_NS_PER_MS;
    gpb_pool_memory_stop (self->memory);
    while (true) {
        while (gpb_pool_memory_done (self->memory))
            continue;
        if (gpb_pool_memory_is_idle (self->memory))
            return true;
        uint64_t now_ns = gpb_clock_ns ();
        if (now_ns >= end_ns)
            return false;
        struct pollfd wake = { .fd = self->shared->pool_fd, .events = POLLIN };
        poll (&wake, 1, gpb_wait_ms (now_ns, end_ns));
        uint64_t count;
        ssize_t size = read (self->shared->pool_fd, &count, sizeof count);
        (void) size;
    }
}

static void
s_stop (self_t *self)
{
    if (self->service) {
        gpb_error_t error;
        gpb_error_set (&error, GPB_UNAVAILABLE, "the pool stopped before the request was done");
        gpb_heap_node_t *first;
        while ((first = gpb_heap_first (&self->asked)))
            s_rent_refuse (self, ((s_asked_t *) first)->rent, &error);
    }
    self->device = NULL;
    if (self->memory)
        s_check_trims (self);
    gpb_service_destroy (&self->service, STOP_LINGER_MS);
    zmq_msg_close (&self->identity);
    if (self->keeps || (self->memory && !s_drain (self))) {
        if (!self->keeps) {
            gpb_log (self->config, GPB_LOG_ERROR,
                     "device %u: memory could not be zeroed in time, and stays",
                     self->shared->index);
            gpb_shared_context_abandon (&self->shared);
        }
        gpb_config_destroy (&self->config);
        return;
    }
    gpb_owned_t *owned;
    while (self->owners && (owned = gpb_owners_any (self->owners)))
        s_rent_end (self, owned->item);
    gpb_heap_clear (&self->asked);
    gpb_owners_destroy (&self->owners);
    gpb_handles_destroy (&self->handles);
    gpb_pool_memory_destroy (&self->memory);
    if (self->shared)
        gpb_shared_context_release (&self->shared);
    gpb_config_destroy (&self->config);
}

//  One round: waits for something to do, and does it. False: $TERM.
static bool
s_round (self_t *self)
{
    gpb_router_t *router = gpb_service_router (self->service);
    zmq_pollitem_t items [] = {
        { NULL, self->shared->pool_fd, ZMQ_POLLIN, 0 },
        { zsock_resolve (self->pipe), 0, ZMQ_POLLIN, 0 },
        { gpb_router_socket (router), 0, ZMQ_POLLIN, 0 },
        { gpb_router_monitor (router), 0, ZMQ_POLLIN, 0 },
    };
    uint64_t now_ns = gpb_clock_ns (), until_ns = s_check_deadlines (self, now_ns);
    uint64_t kept_ns = s_check_kept (self, now_ns);
    uint64_t retry_ns = gpb_pool_memory_retry (self->memory, now_ns);
    if (kept_ns < until_ns)
        until_ns = kept_ns;
    if (retry_ns < until_ns)
        until_ns = retry_ns;
    s_notify_device (self);
    int timeout_ms = until_ns < UINT64_MAX ? gpb_wait_ms (now_ns, until_ns) : -1;
    int router_ms = gpb_router_next_timeout (router);
    if (timeout_ms < 0 || (router_ms >= 0 && router_ms < timeout_ms))
        timeout_ms = router_ms;
    zmq_poll (items, sizeof items / sizeof items [0], timeout_ms);

    bool go_on = true;
    if (items [1].revents & ZMQ_POLLIN)
        go_on = gpb_service_command (self->service, self->pipe, s_command);
    s_collect (self);
    gpb_service_receive (self->service, BATCH);
    s_drop_ended (self);
    s_check_trims (self);
    return go_on;
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
    while (go_on)
        go_on = s_round (&self);
    s_stop (&self);
}
