//  gpb_host_kernels - the kernels that a host has loaded, and their replacement
//
//  A kernel is compiled, and its memory allocated, with its first message or at start. One that is
//  replaced takes no new messages, goes on with those that it has, and then ends; its heir begins
//  at once, or, where it takes over the state of the lanes, when all that is done.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_host_private.h"

#include "gpb_alloc.h"
#include "gpb_clock.h"
#include "gpb_log.h"
#include "gpb_persistent.h"
#include "gpb_programs.h"
#include "gpb_registration.h"

#include <string.h>

#define RETRY_NS GPB_NS_PER_S    //  between two tries to load what has failed for want of something

gpb_status_t
gpb_host_open_kernels (gpb_host_t *self, gpb_error_t *error)
{
    const gpb_config_t *config = self->config;
    self->kernels = gpb_kernels_open (gpb_config_string (config, "kernel_path"), error);
    if (!self->kernels)
        return error->status;
    gpb_status_t status = gpb_persistent_configure_all (self->kernels, config, error);
    if (status != GPB_OK)
        return status;
    self->cache = gpb_cache_open (gpb_config_string (config, "cache_directory"),
                                  gpb_config_number (config, "cache_size"), error);
    if (self->cache && error->status != GPB_OK)
        gpb_log (config, GPB_LOG_WARNING, "kernel host of device %u: %s", self->shared->index,
                 error->text);
    if (self->cache && streq (gpb_config_string (config, "compile"), "never"))
        gpb_cache_forbid_compiling (self->cache);
    return self->cache ? GPB_OK : error->status;
}

//  ---------------------------------------------------------------------------------------------------------
//  One kernel

static void
s_free (gpb_host_t *self, gpb_hosted_t *hosted)
{
    for (gpb_hosted_t *other = self->hosted; other; other = other->next)
        if (other->heir_of == hosted)
            other->heir_of = NULL;
    if (self->turn == hosted)
        self->turn = NULL;
    gpb_once_destroy (&hosted->once);
    gpb_resident_destroy (&hosted->resident);
    for (unsigned lane = 0; lane < GPB_PERSISTENT_LANES_MAX; lane++)
        gpb_free (hosted->lanes [lane].tasks);
    gpb_kernel_destroy (&hosted->kernel);
    gpb_free (hosted);
}

static gpb_status_t
s_check_device (const gpb_host_t *self, const gpb_kernel_t *kernel, gpb_error_t *error)
{
    const gpb_shared_context_t *shared = self->shared;
    if (!gpb_kernel_persistent (kernel))
        return gpb_error_set (error, GPB_FAILED_PRECONDITION,
                              "kernel %s is not persistent: it is the device that runs it",
                              gpb_kernel_id (kernel));
    const char *lacks = gpb_kernel_lacks (kernel, &shared->info);
    if (lacks)
        return gpb_error_set (error, GPB_FAILED_PRECONDITION,
                              "kernel %s requires %s, which device %u has not",
                              gpb_kernel_id (kernel), lacks, shared->index);
    if (!gpb_kernel_persistent_on (kernel, shared->index, &shared->info))
        return gpb_error_set (error, GPB_FAILED_PRECONDITION,
                              "kernel %s is not for device %u: its devices are others",
                              gpb_kernel_id (kernel), shared->index);
    return GPB_OK;
}

//  Around what a device does only while nothing stays on it.
static gpb_status_t
s_begin_alone (gpb_host_t *self, bool *was_held, gpb_error_t *error)
{
    *was_held = self->is_held;
    return self->shared->info.loads_alone ? gpb_host_hold (self, error) : GPB_OK;
}

static void
s_end_alone (gpb_host_t *self, bool was_held)
{
    self->is_held = was_held;
}

static gpb_status_t
s_fill (gpb_host_t *self, gpb_hosted_t *hosted, gpb_error_t *error)
{
    hosted->resident =
        gpb_resident_new (self->shared, hosted->kernel, self->cache, self->memory_size, error);
    if (!hosted->resident)
        return error->status;
    for (unsigned lane = 0; lane < hosted->resident->lanes_count; lane++) {
        hosted->lanes [lane].seat = -1;
        hosted->lanes [lane].tasks =
            gpb_alloc (hosted->resident->settings->slots, sizeof (gpb_task_t *));
        if (!hosted->lanes [lane].tasks) {
            gpb_resident_destroy (&hosted->resident);
            return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a lane's messages");
        }
    }
    return GPB_OK;
}

static gpb_status_t
s_load (gpb_host_t *self, gpb_hosted_t *hosted, gpb_error_t *error)
{
    bool was_held;
    gpb_status_t status = s_begin_alone (self, &was_held, error);
    if (status == GPB_OK) {
        status = s_fill (self, hosted, error);
        s_end_alone (self, was_held);
    }
    return status;
}

gpb_status_t
gpb_host_open_once (gpb_host_t *self, gpb_hosted_t *hosted, gpb_error_t *error)
{
    bool was_held;
    gpb_status_t status = s_begin_alone (self, &was_held, error);
    if (status != GPB_OK)
        return status;
    hosted->once = gpb_once_new (hosted->resident, self->memory_size, error);
    s_end_alone (self, was_held);
    return hosted->once ? GPB_OK : error->status;
}

//  Also one that could not be loaded, which then says why.
static gpb_hosted_t *
s_new (gpb_host_t *self, const gpb_kernel_t *kernel, gpb_error_t *error)
{
    gpb_hosted_t *hosted = gpb_alloc (1, sizeof *hosted);
    if (!hosted) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a persistent kernel");
        return NULL;
    }
    hosted->kernel = gpb_kernel_retain (kernel);
    hosted->version = 1;
    gpb_ticks_init (&hosted->clock);
    if (s_check_device (self, kernel, &hosted->failure) == GPB_OK)
        s_load (self, hosted, &hosted->failure);
    if (!hosted->resident) {
        //  What lacks memory, or an empty device, may have it later; a compiler's word stands.
        bool is_final = hosted->failure.status != GPB_RESOURCE_EXHAUSTED;
        hosted->retry_ns = is_final ? UINT64_MAX : gpb_clock_ns () + RETRY_NS;
        gpb_log (self->config, GPB_LOG_WARNING, "device %u: %s", self->shared->index,
                 hosted->failure.text);
    }
    return hosted;
}

static gpb_hosted_t *
s_find (const gpb_host_t *self, const char *id)
{
    gpb_hosted_t *hosted = self->hosted;
    while (hosted && (hosted->is_replaced || strcmp (gpb_kernel_id (hosted->kernel), id) != 0))
        hosted = hosted->next;
    return hosted;
}

static gpb_status_t
s_refuse (const gpb_hosted_t *hosted, gpb_error_t *error)
{
    return gpb_error_set (error,
                          hosted->failure.status == GPB_RESOURCE_EXHAUSTED
                              ? GPB_RESOURCE_EXHAUSTED
                              : GPB_FAILED_PRECONDITION,
                          "%s", hosted->failure.text);
}

//  Whether every lane has a handler that does not return.
static bool
s_is_quarantined (const gpb_hosted_t *hosted, gpb_error_t *error)
{
    const gpb_resident_t *resident = hosted->resident;
    unsigned stuck = 0;
    for (unsigned lane = 0; lane < resident->lanes_count; lane++)
        stuck += resident->lanes [lane].state == GPB_LANE_QUARANTINED;
    if (stuck == 0 || stuck < resident->lanes_count)
        return false;
    gpb_error_set (error, GPB_FAILED_PRECONDITION,
                   "kernel %s is quarantined: the handler of each of its lanes, %u, did not return "
                   "in time, and has not since",
                   gpb_kernel_id (hosted->kernel), resident->lanes_count);
    return true;
}

gpb_hosted_t *
gpb_host_lookup (gpb_host_t *self, const char *id, gpb_error_t *error)
{
    gpb_hosted_t *hosted = s_find (self, id);
    if (!hosted) {
        const gpb_kernel_t *kernel = gpb_kernels_lookup (self->kernels, id);
        if (!kernel) {
            gpb_kernels_refuse (id, error);
            return NULL;
        }
        hosted = s_new (self, kernel, error);
        if (!hosted)
            return NULL;
        hosted->next = self->hosted;
        self->hosted = hosted;
    }
    else if (!hosted->resident && gpb_clock_ns () >= hosted->retry_ns) {
        hosted->failure.status = GPB_OK;
        if (s_load (self, hosted, &hosted->failure) != GPB_OK)
            hosted->retry_ns = gpb_clock_ns () + RETRY_NS;
    }
    const bool has_failed = hosted->failure.status != GPB_OK && gpb_clock_ns () < hosted->retry_ns;
    if (hosted->resident && !has_failed && !s_is_quarantined (hosted, error))
        return hosted;
    if (!hosted->resident || has_failed)
        s_refuse (hosted, error);
    return NULL;
}

void
gpb_host_preload (gpb_host_t *self)
{
    if (!gpb_config_bool (self->config, "persistent_preload"))
        return;
    const gpb_kernel_t *kernel;
    gpb_error_t ignored;
    for (size_t index = 0; (kernel = gpb_kernels_at (self->kernels, index)); index++)
        if (s_check_device (self, kernel, &ignored) == GPB_OK)
            gpb_host_lookup (self, gpb_kernel_id (kernel), &ignored);
}

//  ---------------------------------------------------------------------------------------------------------
//  Replacement

//  The new one takes the old one's place; definition is taken.
static gpb_status_t
s_insert (gpb_host_t *self, gpb_hosted_t *hosted, gpb_kernel_t **definition_p, bool keeps_state,
          gpb_error_t *error)
{
    gpb_hosted_t *old = s_find (self, gpb_kernel_id (hosted->kernel));
    gpb_status_t status = gpb_kernels_insert (self->kernels, definition_p, true, error);
    if (status != GPB_OK)
        return status;
    if (old) {
        old->is_replaced = true;
        hosted->version = old->version + 1;
        hosted->heir_of = keeps_state ? old : NULL;
    }
    hosted->next = self->hosted;
    self->hosted = hosted;
    return GPB_OK;
}

static gpb_status_t
s_register (gpb_host_t *self, const Gpb__V1__RegisterKernel *request, gpb_error_t *error)
{
    gpb_kernel_t *definition = gpb_kernel_parse (request->definition, request->source, error);
    if (!definition)
        return error->status;
    const char *id = gpb_kernel_id (definition);
    const gpb_kernel_t *now = gpb_kernels_lookup (self->kernels, id);
    gpb_status_t status = GPB_OK;
    if (now && !request->replace)
        status =
            gpb_error_set (error, GPB_ALREADY_EXISTS,
                           "there is a kernel %s: say replace to put this one in its place", id);
    else if (!gpb_kernel_persistent (definition) || (now && !gpb_kernel_persistent (now)))
        status = gpb_error_set (error, GPB_FAILED_PRECONDITION,
                                "kernel %s: one that is persistent is replaced by one that is, and "
                                "any other by one that is not",
                                id);
    else
        status = gpb_persistent_configure (definition, self->config, error);
    gpb_hosted_t *hosted = status == GPB_OK ? s_new (self, definition, error) : NULL;
    if (status == GPB_OK && !hosted)
        status = error->status;
    //  One for other devices is no fault; it says so when it is called.
    gpb_error_t ignored;
    if (hosted && !hosted->resident && s_check_device (self, definition, &ignored) == GPB_OK)
        status = gpb_error_set (error,
                                hosted->failure.status == GPB_FAILED_PRECONDITION
                                    ? GPB_INVALID_ARGUMENT
                                    : hosted->failure.status,
                                "%s", hosted->failure.text);
    if (status == GPB_OK && !request->check)
        status = s_insert (self, hosted, &definition, request->keep_state, error);
    if (hosted && (status != GPB_OK || request->check)) {
        bool was_held;
        if (s_begin_alone (self, &was_held, &ignored) != GPB_OK) {
            gpb_alloc_keep (hosted->resident);    //  nothing can be unloaded
            hosted->resident = NULL;
        }
        s_free (self, hosted);
        s_end_alone (self, was_held);
    }
    gpb_kernel_destroy (&definition);
    return status;
}

void
gpb_host_handle_register (void *actor, gpb_call_t *call)
{
    gpb_host_t *self = actor;
    gpb_error_t error = { GPB_OK, "" };
    gpb_status_t status = gpb_registration_allow (self->config, &error);
    if (status == GPB_OK)
        status = s_register (self, call->request->register_kernel, &error);
    if (status != GPB_OK)
        gpb_call_refuse (self->service, call, &error);
    else
        gpb_call_done (self->service, call);
    gpb_host_reap (self);
}

static bool
s_is_off_device (const gpb_hosted_t *hosted)
{
    for (unsigned lane = 0; hosted->resident && lane < hosted->resident->lanes_count; lane++)
        if (hosted->lanes [lane].seat >= 0)
            return false;
    return true;
}

//  As far as both have lanes, and a state of the same size.
static void
s_inherit (gpb_hosted_t *heir, gpb_hosted_t *old)
{
    gpb_resident_t *to = heir->resident, *from = old->resident;
    if (!to || !from || to->settings->state_size != from->settings->state_size)
        return;
    for (unsigned lane = 0; lane < to->lanes_count && lane < from->lanes_count; lane++)
        memcpy (gpb_resident_state (to, lane), gpb_resident_state (from, lane),
                to->settings->state_size);
}

void
gpb_host_reap (gpb_host_t *self)
{
    gpb_hosted_t **hosted_p = &self->hosted;
    while (*hosted_p) {
        gpb_hosted_t *old = *hosted_p;
        if (!old->is_replaced || old->tasks > 0) {
            hosted_p = &old->next;
            continue;
        }
        if (!s_is_off_device (old)) {
            for (unsigned lane = 0; lane < old->resident->lanes_count; lane++)
                gpb_resident_park (old->resident, lane);
            hosted_p = &old->next;
            continue;
        }
        gpb_error_t ignored;
        bool was_held;
        if (s_begin_alone (self, &was_held, &ignored) != GPB_OK) {
            hosted_p = &old->next;    //  the next time
            continue;
        }
        for (gpb_hosted_t *heir = self->hosted; heir; heir = heir->next)
            if (heir->heir_of == old)
                s_inherit (heir, old);
        *hosted_p = old->next;
        s_free (self, old);
        s_end_alone (self, was_held);
    }
}

bool
gpb_host_close_kernels (gpb_host_t *self)
{
    bool is_clean = true;
    while (self->hosted) {
        gpb_hosted_t *hosted = self->hosted;
        self->hosted = hosted->next;
        if (hosted->launched_count > 0 || !s_is_off_device (hosted)) {
            //  What still runs uses its memory and its code, for as long as the process lives.
            is_clean = false;
            gpb_alloc_keep (hosted->resident);
            hosted->resident = NULL;
            gpb_once_abandon (&hosted->once);
        }
        s_free (self, hosted);
    }
    return is_clean;
}
