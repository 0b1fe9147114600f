//  gpb_broker_registration - a broker's part in adding a kernel to all devices
//
//  Sends the two rounds of a registration (gpb_registration.h) to every device that serves, or,
//  where the kernel is a persistent one, to the kernel hosts of these devices, and takes what they
//  answer; the entry in the book is open until the last one has. Its client is answered by the
//  request's deadline whatever they do. What was added is kept, a request for each kernel, for
//  devices that are not there when it is, or are lost and come back. Runs on the broker's thread.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_broker_private.h"

#include "gpb_alloc.h"
#include "gpb_clock.h"
#include "gpb_log.h"

//  Who gets a kernel on a device that serves; one that is not there gets nothing.
static unsigned
s_executor (unsigned device, bool is_persistent)
{
    return is_persistent ? gpb_executors_host (device) : device;
}

static bool
s_serves (self_t *self, unsigned device, bool is_persistent)
{
    return gpb_placement_device (self->placement, device)->state == GPB_DEVICE_READY
           && gpb_executors_has (&self->executors, s_executor (device, is_persistent));
}

static void
s_registration_round (self_t *self, gpb_entry_t *entry, const zmq_msg_t *header)
{
    const bool is_persistent = entry->registration->is_persistent;
    uint64_t now_ns = gpb_clock_ns ();
    entry->sent_ns = now_ns;
    entry->registration->asked = 0;
    for (unsigned device = 0; device < gpb_placement_devices (self->placement); device++) {
        if (!s_serves (self, device, is_persistent))
            continue;
        zmq_msg_t copy;
        zmq_msg_init (&copy);
        zmq_msg_copy (&copy, (zmq_msg_t *) header);
        gpb_executors_forward (&self->executors, s_executor (device, is_persistent), entry, &copy,
                               false, now_ns);
        zmq_msg_close (&copy);
        entry->registration->waits_for++;
        entry->registration->asked |= 1ULL << device;
    }
}

//  Keeps a kernel that is on all devices, in the place of one of the same name; a device that came
//  back while they were asked gets it now.
static void
s_keep (self_t *self, gpb_registration_t *registration)
{
    const char *id = gpb_kernel_id (registration->kernel);
    gpb_registered_t *kept = self->registered;
    while (kept && strcmp (kept->id, id) != 0)
        kept = kept->next;
    if (!kept && (kept = gpb_alloc (1, sizeof *kept))) {
        zmq_msg_init (&kept->header);
        kept->id = gpb_strdup (id);
        if (kept->id) {
            kept->next = self->registered;
            self->registered = kept;
        }
        else {
            gpb_free (kept);
            kept = NULL;
        }
    }
    if (!kept) {
        gpb_log (self->config, GPB_LOG_ERROR, "no memory to keep kernel %s for lost devices", id);
        return;
    }
    zmq_msg_copy (&kept->header, &registration->commit);
    kept->is_persistent = registration->is_persistent;
    for (unsigned device = 0; device < gpb_placement_devices (self->placement); device++)
        if (!(registration->asked & 1ULL << device) && s_serves (self, device, kept->is_persistent))
            gpb_executors_tell (&self->executors, s_executor (device, kept->is_persistent),
                                &kept->header);
}

void
gpb_broker_registration_repeat (self_t *self, unsigned device)
{
    for (const gpb_registered_t *kept = self->registered; kept; kept = kept->next) {
        const unsigned executor = s_executor (device, kept->is_persistent);
        if (gpb_executors_has (&self->executors, executor))
            gpb_executors_tell (&self->executors, executor, &kept->header);
    }
}

void
gpb_broker_registration_clear (self_t *self)
{
    gpb_registered_t *kept;
    while ((kept = self->registered)) {
        self->registered = kept->next;
        zmq_msg_close (&kept->header);
        gpb_free (kept->id);
        gpb_free (kept);
    }
}

static void
s_registration_end (self_t *self, gpb_entry_t *entry)
{
    gpb_error_t error;
    if (entry->registration->failure.status == GPB_OK && entry->registration->is_committing)
        s_keep (self, entry->registration);
    if (entry->registration->is_persistent)
        gpb_broker_ask_soon (self);
    gpb_status_t status = gpb_registration_finish (entry->registration, self->kernels, &error);
    if (!entry->answered && status != GPB_OK)
        gpb_service_refuse (self->service, entry->connection, &entry->message, entry->key.id,
                            &error);
    else if (!entry->answered) {
        Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
        Gpb__V1__Done done = GPB__V1__DONE__INIT;
        reply.id = entry->key.id;
        reply.body_case = GPB__V1__REPLY__BODY_REGISTER_KERNEL;
        reply.register_kernel = &done;
        gpb_service_reply (self->service, entry->connection, &entry->message, &reply);
    }
    gpb_registration_destroy (&entry->registration);
    gpb_book_close (self->book, entry);
}

//  Goes on where no device is waited for any more: a node whose devices are all lost takes the
//  kernel as it is. What the client has been told it did not get goes no further.
static void
s_registration_step (self_t *self, gpb_entry_t *entry)
{
    if (entry->answered)
        gpb_registration_abandon (entry->registration);
    if (entry->registration->waits_for == 0 && gpb_registration_goes_on (entry->registration))
        s_registration_round (self, entry, &entry->registration->commit);
    if (entry->registration->waits_for == 0)
        s_registration_end (self, entry);
}

void
gpb_broker_registration_answer (self_t *self, gpb_entry_t *entry, const zmq_msg_t *header)
{
    gpb_registration_answer (entry->registration, gpb_codec_reply (self->codec, header, NULL));
    s_registration_step (self, entry);
}

void
gpb_broker_handle_register (void *actor, gpb_call_t *call)
{
    self_t *self = actor;
    gpb_error_t error;
    gpb_registration_t *registration = NULL;
    if (gpb_broker_allows (self, call, &error) == GPB_OK)
        registration =
            gpb_registration_new (self->config, self->kernels, &self->registrations, call, &error);
    gpb_entry_t *entry = registration ? gpb_book_enter (self->book, call, &error) : NULL;
    if (!entry) {
        gpb_registration_destroy (&registration);
        gpb_call_refuse (self->service, call, &error);
        return;
    }
    entry->registration = registration;
    gpb_principal_charge (call->connection->account, entry, call->request, NULL);    //  no bytes
    s_registration_round (self, entry, &registration->check);
    s_registration_step (self, entry);
}
