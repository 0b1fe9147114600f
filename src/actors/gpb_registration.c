//  gpb_registration - a kernel that a client adds to a node, on its way to every device
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_registration.h"

#include "gpb_alloc.h"
#include "gpb_persistent.h"

//  The request as the devices get it: they are not to look for what exists, since the broker has.
static gpb_status_t
s_pack (const Gpb__V1__Request *request, bool is_check, zmq_msg_t *header, gpb_error_t *error)
{
    Gpb__V1__RegisterKernel body = *request->register_kernel;
    Gpb__V1__Request copy = *request;
    copy.register_kernel = &body;
    body.check = is_check;
    body.replace = true;
    return gpb_codec_pack (&copy.base, header, error);
}

//  Requests that replace come one after the other on every device, and the last one stays.
static bool
s_clashes (const gpb_registration_t *self, const char *id, const Gpb__V1__RegisterKernel *body)
{
    for (const gpb_registration_t *other = *self->list_p; other; other = other->next)
        if (other != self && !other->check_only && !body->check && !body->replace
            && strcmp (gpb_kernel_id (other->kernel), id) == 0)
            return true;
    return false;
}

//  Whether there is one of this id, or will be, that is persistent where this one is not, or the
//  other way round.
static bool
s_turns (const gpb_registration_t *self, const gpb_kernel_t *there)
{
    bool turns = there && (gpb_kernel_persistent (there) != NULL) != self->is_persistent;
    const char *id = gpb_kernel_id (self->kernel);
    for (const gpb_registration_t *other = *self->list_p; other; other = other->next)
        if (other != self && !other->check_only && other->is_persistent != self->is_persistent
            && strcmp (gpb_kernel_id (other->kernel), id) == 0)
            turns = true;
    return turns;
}

static gpb_status_t
s_prepare (gpb_registration_t *self, const gpb_config_t *config, gpb_kernels_t *kernels,
           const Gpb__V1__Request *request, gpb_error_t *error)
{
    const Gpb__V1__RegisterKernel *body = request->register_kernel;
    self->check_only = body->check;
    self->kernel = gpb_kernel_parse (body->definition, body->source, error);
    if (!self->kernel || gpb_persistent_configure (self->kernel, config, error) != GPB_OK)
        return error->status;
    const char *id = gpb_kernel_id (self->kernel);
    self->is_persistent = gpb_kernel_persistent (self->kernel) != NULL;
    if (self->is_persistent && gpb_persistent_configure (self->kernel, config, error) != GPB_OK)
        return error->status;
    if (!body->replace && gpb_kernels_lookup (kernels, id))
        return gpb_error_set (error, GPB_ALREADY_EXISTS,
                              "there is a kernel %s: say replace to put this one in its place", id);
    if (s_clashes (self, id, body))
        return gpb_error_set (error, GPB_ALREADY_EXISTS,
                              "a kernel %s is being registered by another request", id);
    if (s_turns (self, gpb_kernels_lookup (kernels, id)))
        return gpb_error_set (error, GPB_FAILED_PRECONDITION,
                              "the kernel %s that is there is %s: one of that name cannot become "
                              "%s, give it another",
                              id, self->is_persistent ? "not persistent" : "persistent",
                              self->is_persistent ? "persistent" : "one that is launched");
    gpb_status_t status = s_pack (request, true, &self->check, error);
    return status == GPB_OK ? s_pack (request, false, &self->commit, error) : status;
}

gpb_status_t
gpb_registration_allow (const gpb_config_t *config, gpb_error_t *error)
{
    if (gpb_config_bool (config, "allow_register"))
        return GPB_OK;
    return gpb_error_set (error, GPB_PERMISSION_DENIED,
                          "this node takes no kernels from clients: its configuration says "
                          "allow_register = false");
}

gpb_registration_t *
gpb_registration_new (const gpb_config_t *config, gpb_kernels_t *kernels,
                      gpb_registration_t **list_p, const gpb_call_t *call, gpb_error_t *error)
{
    if (gpb_registration_allow (config, error) != GPB_OK)
        return NULL;
    unsigned under_way = 0;
    for (const gpb_registration_t *other = *list_p; other; other = other->next)
        under_way++;
    if (under_way == GPB_REGISTRATIONS_MAX) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED,
                       "%u kernels are being registered, which is this node's bound: try again "
                       "when some are answered",
                       under_way);
        return NULL;
    }
    gpb_registration_t *self = gpb_alloc (1, sizeof *self);
    if (!self) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory to register a kernel");
        return NULL;
    }
    zmq_msg_init (&self->check);
    zmq_msg_init (&self->commit);
    self->list_p = list_p;
    self->next = *list_p;
    *list_p = self;
    if (s_prepare (self, config, kernels, call->request, error) != GPB_OK)
        gpb_registration_destroy (&self);
    return self;
}

void
gpb_registration_destroy (gpb_registration_t **self_p)
{
    gpb_registration_t *self = *self_p;
    if (!self)
        return;
    *self_p = NULL;
    gpb_registration_t **link = self->list_p;
    while (*link != self)
        link = &(*link)->next;
    *link = self->next;
    gpb_kernel_destroy (&self->kernel);
    zmq_msg_close (&self->check);
    zmq_msg_close (&self->commit);
    gpb_free (self);
}

void
gpb_registration_answer (gpb_registration_t *self, const Gpb__V1__Reply *reply)
{
    self->waits_for--;
    if (self->failure.status != GPB_OK)
        return;
    if (!reply)
        gpb_error_set (&self->failure, GPB_INTERNAL, "a device's answer could not be read");
    else if (reply->status != GPB__V1__STATUS__OK)
        gpb_error_set (&self->failure, (gpb_status_t) reply->status, "%s", reply->message);
}

void
gpb_registration_abandon (gpb_registration_t *self)
{
    if (!self->is_committing && self->failure.status == GPB_OK)
        gpb_error_set (&self->failure, GPB_CANCELLED, "nobody waits for this kernel any more");
}

bool
gpb_registration_goes_on (gpb_registration_t *self)
{
    if (self->is_committing || self->check_only || self->failure.status != GPB_OK)
        return false;
    self->is_committing = true;
    return true;
}

gpb_status_t
gpb_registration_finish (gpb_registration_t *self, gpb_kernels_t *kernels, gpb_error_t *error)
{
    if (self->failure.status != GPB_OK)
        return gpb_error_set (error, self->failure.status, "%s", self->failure.text);
    if (self->check_only)
        return GPB_OK;
    return gpb_kernels_insert (kernels, &self->kernel, true, error);
}
