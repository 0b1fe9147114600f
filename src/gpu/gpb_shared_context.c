//  gpb_shared_context - one open device, shared by the actors that work on it
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_shared_context.h"

#include "gpb_alloc.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define STREAMS_MAX 64

static atomic_uint s_abandoned;

typedef struct {
    gpb_shared_context_t shared;    //  what others see; the first member
    gpb_backends_t *backends;
    atomic_uint references;
} s_shared_t;

static void
s_close (s_shared_t *self)
{
    if (self->shared.context)
        self->shared.operations->close (&self->shared.context);
    gpb_backends_destroy (&self->backends);
    if (self->shared.device_fd >= 0)
        close (self->shared.device_fd);
    if (self->shared.pool_fd >= 0)
        close (self->shared.pool_fd);
    if (self->shared.host_fd >= 0)
        close (self->shared.host_fd);
    gpb_free (self);
}

static bool
s_has (const gpb_device_info_t *info, const char *capability)
{
    for (uint32_t index = 0; index < info->capabilities_count; index++)
        if (strcmp (info->capabilities [index], capability) == 0)
            return true;
    return false;
}

static unsigned
s_lanes (const gpb_device_info_t *info, unsigned most)
{
    if (!s_has (info, "svm_atomics") && !s_has (info, "host_mapped"))
        return 0;
    unsigned lanes =
        strcmp (info->type, "cpu") == 0 ? info->compute_units - 1 : (info->compute_units + 3) / 4;
    return lanes < most ? lanes : most;
}

gpb_shared_context_t *
gpb_shared_context_open (const char *backends, unsigned index, unsigned streams, bool profiling,
                         gpb_error_t *error)
{
    s_shared_t *self = gpb_alloc (1, sizeof *self);
    if (!self) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for device %u", index);
        return NULL;
    }
    gpb_shared_context_t *shared = &self->shared;
    atomic_init (&self->references, 1);
    shared->index = index;
    shared->streams = streams < STREAMS_MAX - 2 ? streams : STREAMS_MAX - 2;
    shared->device_fd = eventfd (0, EFD_NONBLOCK | EFD_CLOEXEC);
    shared->pool_fd = eventfd (0, EFD_NONBLOCK | EFD_CLOEXEC);
    shared->host_fd = eventfd (0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (shared->device_fd < 0 || shared->pool_fd < 0 || shared->host_fd < 0) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no eventfd for device %u: %s", index,
                       strerror (errno));
        s_close (self);
        return NULL;
    }
    self->backends = gpb_backends_new (backends, error);
    const gpb_device_info_t *info =
        self->backends ? gpb_backends_info_peek (self->backends, index, error) : NULL;
    if (!info) {
        s_close (self);
        return NULL;
    }
    shared->info = *info;
    snprintf (shared->backend, sizeof shared->backend, "%s",
              gpb_backends_name_peek (self->backends, index));

    int fds [STREAMS_MAX];
    for (unsigned stream = 0; stream < shared->streams; stream++)
        fds [stream] = shared->device_fd;
    fds [shared->streams] = shared->pool_fd;
    unsigned most = STREAMS_MAX - 2 - shared->streams;
    shared->lanes = s_lanes (info, most < GPB_SHARED_LANES_MAX ? most : GPB_SHARED_LANES_MAX);
    gpb_open_t open = { .streams = shared->streams + 2 + shared->lanes,
                        .notify_fds = fds,
                        .profiling = profiling };
    for (unsigned stream = gpb_shared_context_host_stream (shared); stream < open.streams; stream++)
        fds [stream] = shared->host_fd;
    if (gpb_backends_open (self->backends, index, &open, &shared->operations, &shared->context,
                           error)
        != GPB_OK)
    {
        s_close (self);
        return NULL;
    }
    return shared;
}

gpb_shared_context_t *
gpb_shared_context_retain (const gpb_shared_context_t *shared)
{
    s_shared_t *self = (s_shared_t *) shared;
    atomic_fetch_add (&self->references, 1);
    return &self->shared;
}

void
gpb_shared_context_release (gpb_shared_context_t **shared_p)
{
    s_shared_t *self = (s_shared_t *) *shared_p;
    *shared_p = NULL;
    if (self && atomic_fetch_sub (&self->references, 1) == 1)
        s_close (self);
}

void
gpb_shared_context_abandon (gpb_shared_context_t **shared_p)
{
    gpb_alloc_keep (*shared_p);
    *shared_p = NULL;
    atomic_fetch_add (&s_abandoned, 1);
}

unsigned
gpb_shared_context_abandoned (void)
{
    return atomic_load (&s_abandoned);
}
