//  gpb_persistent - the configuration's word on persistent kernels
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_PERSISTENT_H_INCLUDED
#define GPB_PERSISTENT_H_INCLUDED

#include "gpb_config.h"
#include "gpb_kernel.h"

//  Whether text is what the key `persistent` takes: NULL, or what would be.
const char *gpb_persistent_check (const char *text);

//  Puts what the configuration says of a kernel in the place of what its package says. kernel is
//  the caller's alone. INVALID_ARGUMENT names the setting, and what is right.
gpb_status_t gpb_persistent_configure (gpb_kernel_t *kernel, const gpb_config_t *config,
                                       gpb_error_t *error);

//  The same for all of a set, which is the caller's alone. A name that no persistent kernel has is
//  INVALID_ARGUMENT.
gpb_status_t gpb_persistent_configure_all (gpb_kernels_t *kernels, const gpb_config_t *config,
                                           gpb_error_t *error);

#endif
