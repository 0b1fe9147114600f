//  gpb_pool_rents - a pool's rents, from request to release
//
//  A rent has memory at once, or waits: for its own to be zeroed, or for others' that is being
//  zeroed (those that are short of memory, first come, first served). Each ends in one answer, with
//  its memory, a refusal, when its time is up or when it is taken back; with none where its owner
//  has left.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_pool_private.h"

#include "gpb_alloc.h"
#include "gpb_clock.h"

#include <inttypes.h>
#include <unistd.h>

static gpb_pool_rent_t *
s_rent_lookup (gpb_pool_t *self, const gpb_call_t *call, uint64_t handle, gpb_error_t *error)
{
    gpb_pool_rent_t *rent = gpb_handles_lookup (self->handles, handle);
    if (rent && gpb_owner_same (&rent->owned.owner->owner, &call->owner))
        return rent;
    gpb_error_set (error, GPB_NOT_FOUND,
                   "no buffer with handle %016" PRIx64 " is rented by this connection", handle);
    return NULL;
}

static void
s_asked_free (gpb_pool_t *self, gpb_pool_rent_t *rent)
{
    gpb_pool_asked_t *asked = rent->asked;
    rent->asked = NULL;
    gpb_heap_remove (&self->asked, &asked->deadline);
    gpb_message_clear (&asked->message);
    gpb_free (asked);
}

static void
s_short_add (gpb_pool_t *self, gpb_pool_rent_t *rent)
{
    rent->next = NULL;
    *(self->short_last ? &self->short_last->next : &self->short_first) = rent;
    self->short_last = rent;
}

static void
s_short_remove (gpb_pool_t *self, gpb_pool_rent_t *rent)
{
    gpb_pool_rent_t *before = NULL, **link = &self->short_first;
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
void
gpb_pool_rent_end (gpb_pool_t *self, gpb_pool_rent_t *rent)
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
s_rent_check (gpb_pool_t *self, const gpb_call_t *call, gpb_error_t *error)
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
        const gpb_pool_asked_t *asked = (const gpb_pool_asked_t *) self->asked.nodes [index];
        if (asked->id == call->request->id && asked->connection == call->connection)
            return gpb_error_set (error, GPB_ALREADY_EXISTS,
                                  "request %" PRIu64 " of this connection is in flight",
                                  call->request->id);
    }
    return GPB_OK;
}

//  The rent that a call asks for, with the call; it has no memory yet.
static gpb_pool_rent_t *
s_rent_new (gpb_pool_t *self, gpb_call_t *call, gpb_error_t *error)
{
    static const gpb_access_t accesses [] = { GPB_ACCESS_READ_WRITE, GPB_ACCESS_READ_ONLY,
                                              GPB_ACCESS_WRITE_ONLY };
    const Gpb__V1__Rent *request = call->request->rent;
    gpb_pool_rent_t *rent = gpb_alloc (1, sizeof *rent);
    gpb_pool_asked_t *asked = gpb_alloc (1, sizeof *asked);
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
        gpb_pool_rent_end (self, rent);
        return NULL;
    }
    gpb_message_move (&asked->message, call->message);
    return rent;
}

//  ---------------------------------------------------------------------------------------------------------
//  Answers

void
gpb_pool_rent_refuse (gpb_pool_t *self, gpb_pool_rent_t *rent, const gpb_error_t *error)
{
    gpb_pool_asked_t *asked = rent->asked;
    gpb_service_refuse (self->service, asked->connection, &asked->message, asked->id, error);
    gpb_pool_rent_end (self, rent);
}

//  Adds what the device is to know to a message that goes there.
void
gpb_pool_add_lease (gpb_pool_t *self, gpb_message_t *message, const gpb_lease_t *lease)
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
s_rent_answer (gpb_pool_t *self, gpb_pool_rent_t *rent)
{
    gpb_error_t error;
    gpb_lease_t *lease = &rent->lease;
    const gpb_allocation_t *allocation = &rent->block->allocation;
    uint64_t handle = gpb_handles_add (self->handles, rent, &error);
    if (!handle) {
        gpb_pool_rent_refuse (self, rent, &error);
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

    gpb_pool_asked_t *asked = rent->asked;
    Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
    Gpb__V1__RentReply body = GPB__V1__RENT_REPLY__INIT;
    body.handle = handle;
    body.size = lease->size;
    body.device = self->shared->index;
    reply.id = asked->id;
    reply.body_case = GPB__V1__REPLY__BODY_RENT;
    reply.rent = &body;
    if (asked->is_devices)
        gpb_pool_add_lease (self, &asked->message, lease);
    gpb_service_reply (self->service, asked->connection, &asked->message, &reply);
    s_asked_free (self, rent);
}

//  Says what was asked for and what stands in its way; what others have only where the driver
//  tells.
static void
s_set_exhausted (gpb_pool_t *self, const gpb_pool_rent_t *rent, gpb_error_t *error)
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
s_rent_serve (gpb_pool_t *self, gpb_pool_rent_t *rent)
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
    gpb_pool_rent_refuse (self, rent, &error);
    return true;
}

//  Memory has come back: those that had none try again, the first one first.
static void
s_serve_short (gpb_pool_t *self)
{
    gpb_pool_rent_t *rent = self->short_first;
    self->short_first = self->short_last = NULL;
    while (rent) {
        gpb_pool_rent_t *next = rent->next;
        if (!s_rent_serve (self, rent))
            s_short_add (self, rent);
        rent = next;
    }
}

//  ---------------------------------------------------------------------------------------------------------
//  Requests

bool
gpb_pool_is_devices (const gpb_call_t *call)
{
    return call->connection->is_inproc && call->owner.behind;
}

//  Somebody asks for memory or gives some back; whose pool this is, if it is a device.
void
gpb_pool_note (gpb_pool_t *self, const gpb_call_t *call)
{
    self->last_asked_ns = call->received_ns;
    self->is_trimmed = false;
    if (gpb_pool_is_devices (call) && call->connection != self->device) {
        self->device = call->connection;
        zmq_msg_copy (&self->identity, &call->message->envelope [0]);
    }
}

void
gpb_pool_handle_rent (void *actor, gpb_call_t *call)
{
    gpb_pool_t *self = actor;
    gpb_error_t error;
    gpb_pool_rent_t *rent = NULL;
    gpb_pool_note (self, call);
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

void
gpb_pool_handle_release (void *actor, gpb_call_t *call)
{
    gpb_pool_t *self = actor;
    gpb_error_t error;
    gpb_pool_note (self, call);
    gpb_pool_rent_t *rent = s_rent_lookup (self, call, call->request->release->handle, &error);
    if (!rent) {
        gpb_call_refuse (self->service, call, &error);
        return;
    }
    gpb_pool_rent_end (self, rent);
    Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
    Gpb__V1__Done done = GPB__V1__DONE__INIT;
    reply.id = call->request->id;
    reply.body_case = GPB__V1__REPLY__BODY_RELEASE;
    reply.release = &done;
    if (gpb_pool_is_devices (call))
        gpb_pool_add_lease (self, call->message, NULL);
    gpb_service_reply (self->service, call->connection, call->message, &reply);
}

void
gpb_pool_handle_map (void *actor, gpb_call_t *call)
{
    gpb_pool_t *self = actor;
    gpb_error_t error;
    gpb_pool_rent_t *rent = s_rent_lookup (self, call, call->request->map->handle, &error);
    if (rent)
        gpb_lease_map (&rent->lease, &rent->mapped, 0, self->service, call);
    else
        gpb_call_refuse (self->service, call, &error);
}

void
gpb_pool_handle_unmap (void *actor, gpb_call_t *call)
{
    gpb_pool_t *self = actor;
    gpb_error_t error;
    gpb_pool_rent_t *rent = s_rent_lookup (self, call, call->request->unmap->handle, &error);
    if (rent)
        gpb_lease_unmap (&rent->mapped, self->service, call);
    else
        gpb_call_refuse (self->service, call, &error);
}

void
gpb_pool_handle_cancel (void *actor, gpb_call_t *call)
{
    gpb_pool_t *self = actor;
    uint64_t id = call->request->cancel->id;
    gpb_pool_rent_t *found = NULL;
    gpb_error_t error;
    for (size_t index = 0; !found && index < self->asked.count; index++) {
        const gpb_pool_asked_t *asked = (const gpb_pool_asked_t *) self->asked.nodes [index];
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
    gpb_pool_rent_refuse (self, found, &error);
    gpb_call_done (self->service, call);
}

//  ---------------------------------------------------------------------------------------------------------
//  What happens between requests

//  What was being zeroed and is done.
void
gpb_pool_collect (gpb_pool_t *self)
{
    uint64_t count;
    ssize_t size = read (self->shared->pool_fd, &count, sizeof count);
    (void) size;    //  nothing to read is fine: what is done is looked at anyway
    uint64_t settled = gpb_pool_memory_settled (self->memory);
    gpb_pool_block_t *block;
    while ((block = gpb_pool_memory_done (self->memory))) {
        gpb_pool_rent_t *rent = block->item;
        if (block->is_ready)
            s_rent_answer (self, rent);
        else {
            gpb_error_t error;
            gpb_error_set (&error, block->status,
                           "the memory of %" PRIu64 " bytes for this buffer could not be zeroed%s",
                           rent->lease.size,
                           block->status == GPB_UNAVAILABLE ? ": the device is lost" : "");
            gpb_pool_rent_refuse (self, rent, &error);
        }
    }
    if (gpb_pool_memory_settled (self->memory) != settled) {
        self->is_trimmed = false;
        s_serve_short (self);
    }
}

//  Answers rents whose time is up. When the next one's is; UINT64_MAX: there is none.
uint64_t
gpb_pool_check_deadlines (gpb_pool_t *self, uint64_t now_ns)
{
    gpb_heap_node_t *first;
    while ((first = gpb_heap_first (&self->asked)) && first->key <= now_ns) {
        gpb_error_t error;
        gpb_error_set (&error, GPB_DEADLINE_EXCEEDED,
                       "the request's time was up before memory was there");
        gpb_pool_rent_refuse (self, ((gpb_pool_asked_t *) first)->rent, &error);
    }
    return first ? first->key : UINT64_MAX;
}
