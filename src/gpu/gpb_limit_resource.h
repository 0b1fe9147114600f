//  gpb_limit_resource - a bound in bytes around another resource
//
//  What would go beyond the limit is refused without asking further: RESOURCE_EXHAUSTED, saying how
//  much was asked for, in use, and the limit. Counted is what blocks have, not what was asked. The
//  account is the caller's, so that several resources can draw on one: memory of two kinds that is
//  bounded together. One thread for all that share it.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_LIMIT_RESOURCE_H_INCLUDED
#define GPB_LIMIT_RESOURCE_H_INCLUDED

#include "gpb_resource.h"

//  Bytes. The caller may change limit at any time, also to less than is used: then all is refused
//  until enough has come back.
typedef struct {
    uint64_t limit;
    uint64_t used;
} gpb_limit_t;

//  Takes what it wraps in any case: *upstream_p becomes NULL. The account outlives it. NULL only
//  when memory runs out.
gpb_resource_t *gpb_limit_resource_new (gpb_resource_t **upstream_p, gpb_limit_t *account,
                                        gpb_error_t *error);

#endif
