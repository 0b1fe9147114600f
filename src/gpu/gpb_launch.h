//  gpb_launch - what all backends ask of a launch's work size
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_LAUNCH_H_INCLUDED
#define GPB_LAUNCH_H_INCLUDED

#include "gpb_backend.h"

//  INVALID_ARGUMENT with a sentence where dimensions, global or local size are none that the device
//  and this function can have. A local size of 0 is left to the backend.
gpb_status_t gpb_launch_check (const gpb_backend_services_t *services,
                               const gpb_device_info_t *info, const gpb_function_info_t *function,
                               const gpb_launch_t *launch, gpb_error_t *error);

#endif
