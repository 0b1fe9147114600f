//  gpb_discovery - how many devices this machine has, and why not more
//
//  Looks here, in this process, or apart, in a short-lived one, so that a driver that crashes while
//  it looks for its cards, or does not come back, costs the node nothing but those devices. What
//  was looked at here stays started until it is cleared, so that devices which are opened meanwhile
//  find it so.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_DISCOVERY_H_INCLUDED
#define GPB_DISCOVERY_H_INCLUDED

#include "gpb_backends.h"

#define GPB_DISCOVERY_NOTICES_MAX 64

//  A structure of zeros has found nothing.
typedef struct {
    unsigned devices;
    char *notices [GPB_DISCOVERY_NOTICES_MAX + 1];    //  sentences; NULL behind the last
    size_t notices_count;
    gpb_backends_t *backends;    //  NULL: it was looked apart
} gpb_discovery_t;

//  backends: by name, in the order of preference, with blanks between. INVALID_ARGUMENT for what is
//  no name, RESOURCE_EXHAUSTED.
gpb_status_t gpb_discovery_here (gpb_discovery_t *self, const char *backends, gpb_error_t *error);

//  The same in a process of its own, within timeout_ms. A process that does not come to an answer
//  is a notice. NOT_FOUND where there is no program for it.
gpb_status_t gpb_discovery_apart (gpb_discovery_t *self, const char *backends, unsigned timeout_ms,
                                  gpb_error_t *error);

//  What that process does: looks here, and tells fd. GPB_OK: it has told.
gpb_status_t gpb_discovery_tell (int fd, const char *backends, gpb_error_t *error);

void gpb_discovery_clear (gpb_discovery_t *self);

#endif
