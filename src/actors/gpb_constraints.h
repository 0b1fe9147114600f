//  gpb_constraints - what a request asks of its device
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_CONSTRAINTS_H_INCLUDED
#define GPB_CONSTRAINTS_H_INCLUDED

#include "gpb_placement.h"

//  Reads them from a request that works on a device (execute, rent, or one that names a handle).
//  Pointers of *self are into the call and the kernels. NOT_FOUND for a kernel or a handle that
//  this node of so many devices cannot have, FAILED_PRECONDITION where it names two devices,
//  INVALID_ARGUMENT for what only persistent kernels' messages say.
gpb_status_t gpb_constraints_read (gpb_constraints_t *self, const gpb_call_t *call,
                                   gpb_kernels_t *kernels, unsigned devices, gpb_error_t *error);

#endif
