//  gpb_bad_module - modules that the loader has to refuse, one by macro
//
//  BAD_ABI: of another abi, and with operations that must not be called. NULL_OPERATION: the right
//  abi, and an operation missing. NO_SYMBOL: a shared object that is no module.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_backend.h"

#ifdef NO_SYMBOL
extern GPB_EXPORT const int gpb_something_else;
const int gpb_something_else = 1;
#else

#include <stdlib.h>

static gpb_status_t
s_start (const gpb_backend_services_t *services, gpb_backend_t **backend_p, gpb_error_t *error)
{
    (void) services;
    (void) backend_p;
    (void) error;
    abort ();
}

static const gpb_backend_operations_t s_operations = { .start = s_start };

extern GPB_EXPORT const gpb_backend_module_t gpb_backend_module;
const gpb_backend_module_t gpb_backend_module = {
#ifdef BAD_ABI
    .abi = GPB_BACKEND_ABI + 1,
    .name = "badabi",
#else
    .abi = GPB_BACKEND_ABI,
    .name = "nullop",
#endif
    .size = sizeof (gpb_backend_operations_t),
    .operations = &s_operations,
};
#endif
