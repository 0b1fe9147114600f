//  gpb_principal - who a client is, and what it may do
//
//  A principal is a name: that of the key that a connection came in with, or "-" for all that came
//  in without one. What it holds counts over all of its connections together, and over those that
//  it has had: a request counts until its device has done with it, whether its client waits or not,
//  and what is rented until it is given back. Limits are the configuration's (`limits`), and never
//  change; a name without limits of its own has those of "*", for itself alone.
//
//  A broker asks here before it accepts a request, and tells what becomes of it. A principal
//  without limits costs a look at one pointer. One thread: the broker's.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_PRINCIPAL_H_INCLUDED
#define GPB_PRINCIPAL_H_INCLUDED

#include "gpb_error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct Gpb__V1__Reply;
struct Gpb__V1__Request;
struct gpb_entry;
struct gpb_waiting;

typedef struct gpb_principal gpb_principal_t;
typedef struct _gpb_principals_t gpb_principals_t;

//  Whether a text is a list of limits; else what would be right (gpb_config.c's s_check_fn).
const char *gpb_principals_check (const char *limits);

//  limits have passed gpb_principals_check. NULL: RESOURCE_EXHAUSTED.
gpb_principals_t *gpb_principals_new (const char *limits, gpb_error_t *error);

//  Entries that are still charged must not be settled any more.
void gpb_principals_destroy (gpb_principals_t **self_p);

//  Whose name this is (NULL: none); the same for the same name, for the life of the principals.
//  NULL when memory runs out: then nothing may be accepted.
gpb_principal_t *gpb_principals_find (gpb_principals_t *self, const char *name);

//  Whether it may do what a request asks for. PERMISSION_DENIED says which limit forbids it.
gpb_status_t gpb_principal_allows (gpb_principal_t *self, const struct Gpb__V1__Request *request,
                                   uint64_t now_ns, gpb_error_t *error);

//  Its request was accepted as this entry: what it may come to hold is charged to it, until it is
//  settled. RESOURCE_EXHAUSTED when memory runs out, and then nothing is charged.
gpb_status_t gpb_principal_charge (gpb_principal_t *self, struct gpb_entry *entry,
                                   const struct Gpb__V1__Request *request, gpb_error_t *error);

//  A device has answered an entry; reply NULL: nothing came of it. Nothing happens to one that is
//  not charged, or settled already.
void gpb_principal_settle (struct gpb_entry *entry, const struct Gpb__V1__Reply *reply,
                           uint64_t now_ns);

//  A connection has ended, and what it held is given back.
void gpb_principal_forget (gpb_principal_t *self, uint64_t connection);

//  What waits of all its connections, for the placement to count; NULL: it stands for all that came
//  in without a key, which have nothing to do with one another.
struct gpb_waiting *gpb_principal_waiting (gpb_principal_t *self);

//  For tests: what it holds now.
uint64_t gpb_principal_in_flight (const gpb_principal_t *self);
uint64_t gpb_principal_held_size (const gpb_principal_t *self);

#endif
