//  gpb_driver_resource - memory of one kind, straight from a device's driver
//
//  Every allocation is one call of the backend's allocate, every deallocation one of its release;
//  nothing is kept, so trim gives 0 back. All that it gives is fresh. Slow (a driver may take
//  milliseconds, and some wait for the device): an arena is meant to stand before it.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_DRIVER_RESOURCE_H_INCLUDED
#define GPB_DRIVER_RESOURCE_H_INCLUDED

#include "gpb_resource.h"

//  Operations and context stay the caller's, and outlive it. NULL only when memory runs out.
gpb_resource_t *gpb_driver_resource_new (const gpb_backend_operations_t *operations,
                                         gpb_context_t *context, gpb_memory_kind_t kind,
                                         gpb_error_t *error);

#endif
