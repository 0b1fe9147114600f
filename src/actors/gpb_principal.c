//  gpb_principal - who a client is, and what it may do
//
//  The configuration's text is taken apart once, into a list of limits that principals point to.
//  What a principal with a limit in bytes has rented and reserved stands in a table by handle: a
//  rent counts in full, and a reservation less what its owner's own rents have drawn from it, so
//  that neither counts twice, nor a reservation that ends frees what is still rented. A reservation
//  whose time is up is noticed when its room is wanted.
//
//  Memory for what a request may come to hold is taken when it is accepted, so that nothing is held
//  uncounted when memory runs out.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_principal.h"

#include "gpb_alloc.h"
#include "gpb_clock.h"
#include "gpb_entry.h"

#include <ctype.h>
#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <string.h>

#define NAME_SIZE 65
#define GLOBS_MAX 64
#define CHAINS 1024    //  a power of two
#define NOBODY "-"
#define ANYBODY "*"

#define EXPECTED                                                                                   \
    "NAME:LIMIT=VALUE,... for each name, once, with kernels=GLOB|GLOB, rent_size=BYTES, "          \
    "in_flight=REQUESTS and register=true or false; NAME is a key's name, \"*\" or \"-\""

typedef struct s_limits {
    char name [NAME_SIZE];
    char *kernels;    //  the globs below, with a NUL behind each
    const char *globs [GLOBS_MAX];
    size_t globs_count;
    bool has_kernels, has_rent_size, has_in_flight;
    bool may_register;
    uint64_t rent_size;    //  bytes
    uint64_t in_flight;    //  requests
    struct s_limits *next;
} s_limits_t;

//  What is rented or reserved under a handle.
typedef struct gpb_holding {
    uint64_t handle;
    uint64_t connection;    //  gpb_connection_t.number
    uint64_t size;          //  bytes
    uint64_t drawn;         //  of a reservation: by its owner's rents; of a rent: from one
    uint64_t drawn_from;    //  that one's handle
    uint64_t expires_ns;    //  of a reservation; 0: a rent
    gpb_principal_t *principal;
    struct gpb_holding *chain_next;
    struct gpb_holding *previous, *next;    //  of its principal's
} s_holding_t;

struct gpb_principal {
    char name [NAME_SIZE];
    gpb_principals_t *all;
    const s_limits_t *limits;    //  NULL: none
    uint64_t in_flight;
    uint64_t held_size;    //  bytes, those on their way included
    s_holding_t *holdings;
    gpb_waiting_t waiting;    //  the placement's
    gpb_principal_t *next;
};

struct _gpb_principals_t {
    s_limits_t *limits;
    gpb_principal_t *principals;
    s_holding_t *chains [CHAINS];
};

//  ---------------------------------------------------------------------------------------------------------
//  The configuration's text

static bool
s_read_number (const char *text, uint64_t *number_p)
{
    char *end = NULL;
    errno = 0;
    unsigned long long number = isdigit ((unsigned char) text [0]) ? strtoull (text, &end, 10) : 0;
    *number_p = number;
    return end && *end == 0 && errno == 0 && number <= INT64_MAX;
}

static bool
s_read_globs (s_limits_t *self, const char *text)
{
    if (self->has_kernels)
        return false;
    self->has_kernels = true;
    self->kernels = gpb_strdup (text);
    char *rest = self->kernels;
    for (char *glob; (glob = strsep (&rest, "|"));) {
        if (!*glob || self->globs_count == GLOBS_MAX)
            return false;
        self->globs [self->globs_count++] = glob;
    }
    return self->kernels != NULL;
}

//  "LIMIT=VALUE"
static bool
s_read_limit (s_limits_t *self, char *text)
{
    char *value = strchr (text, '=');
    if (!value)
        return false;
    *value++ = 0;
    if (strcmp (text, "kernels") == 0)
        return s_read_globs (self, value);
    if (strcmp (text, "rent_size") == 0) {
        self->has_rent_size = true;
        return s_read_number (value, &self->rent_size);
    }
    if (strcmp (text, "in_flight") == 0) {
        self->has_in_flight = true;
        return s_read_number (value, &self->in_flight);
    }
    self->may_register = strcmp (value, "true") == 0;
    return strcmp (text, "register") == 0 && (self->may_register || strcmp (value, "false") == 0);
}

static bool
s_is_name (const char *text)
{
    size_t size = strlen (text);
    return strcmp (text, NOBODY) == 0 || strcmp (text, ANYBODY) == 0
           || (size > 0 && size < NAME_SIZE && isalnum ((unsigned char) text [0])
               && strspn (text,
                          "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.@-")
                      == size);
}

//  "NAME:LIMIT=VALUE,..."
static bool
s_read_limits (s_limits_t *self, char *text)
{
    self->may_register = true;
    char *rest = strchr (text, ':');
    if (!rest)
        return false;
    *rest++ = 0;
    if (!s_is_name (text))
        return false;
    memcpy (self->name, text, strlen (text) + 1);
    for (char *limit; (limit = strsep (&rest, ","));)
        if (!s_read_limit (self, limit))
            return false;
    return true;
}

static const s_limits_t *
s_limits_of (const s_limits_t *first, const char *name)
{
    while (first && strcmp (first->name, name) != 0)
        first = first->next;
    return first;
}

static void
s_free_limits (s_limits_t *first)
{
    while (first) {
        s_limits_t *limits = first;
        first = limits->next;
        gpb_free (limits->kernels);
        gpb_free (limits);
    }
}

//  False: the text is wrong, or memory ran out.
static bool
s_read_all (const char *text, s_limits_t **first_p)
{
    char *copy = gpb_strdup (text), *rest = copy;
    bool is_right = copy != NULL;
    for (char *word; is_right && (word = strsep (&rest, " "));) {
        if (!*word)
            continue;
        s_limits_t *limits = gpb_alloc (1, sizeof *limits);
        is_right = limits && s_read_limits (limits, word) && !s_limits_of (*first_p, limits->name);
        if (limits) {
            limits->next = *first_p;
            *first_p = limits;
        }
    }
    gpb_free (copy);
    return is_right;
}

const char *
gpb_principals_check (const char *text)
{
    s_limits_t *first = NULL;
    bool is_right = s_read_all (text, &first);
    s_free_limits (first);
    return is_right ? NULL : EXPECTED;
}

//  ---------------------------------------------------------------------------------------------------------
//  Life

gpb_principals_t *
gpb_principals_new (const char *limits, gpb_error_t *error)
{
    gpb_principals_t *self = gpb_alloc (1, sizeof *self);
    if (!self || !s_read_all (limits, &self->limits)) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for the limits of keys");
        gpb_principals_destroy (&self);
    }
    return self;
}

static void s_unlink (gpb_principals_t *self, s_holding_t *holding);

void
gpb_principals_destroy (gpb_principals_t **self_p)
{
    gpb_principals_t *self = *self_p;
    if (!self)
        return;
    *self_p = NULL;
    while (self->principals) {
        gpb_principal_t *principal = self->principals;
        self->principals = principal->next;
        while (principal->holdings) {
            s_holding_t *holding = principal->holdings;
            s_unlink (self, holding);
            gpb_free (holding);
        }
        gpb_free (principal);
    }
    s_free_limits (self->limits);
    gpb_free (self);
}

gpb_principal_t *
gpb_principals_find (gpb_principals_t *self, const char *name)
{
    const char *own = name ? name : NOBODY;
    gpb_principal_t *principal = self->principals;
    while (principal && strcmp (principal->name, own) != 0)
        principal = principal->next;
    if (principal)
        return principal;
    principal = gpb_alloc (1, sizeof *principal);
    if (!principal)
        return NULL;
    snprintf (principal->name, sizeof principal->name, "%s", own);
    principal->all = self;
    principal->limits = s_limits_of (self->limits, own);
    if (!principal->limits && name)
        principal->limits = s_limits_of (self->limits, ANYBODY);
    principal->next = self->principals;
    self->principals = principal;
    return principal;
}

//  ---------------------------------------------------------------------------------------------------------
//  What is held

static s_holding_t **
s_chain (gpb_principals_t *self, uint64_t handle)
{
    return &self->chains [(handle * 0x9E3779B97F4A7C15ULL) >> 54];
}

//  NULL where no such handle is this principal's.
static s_holding_t *
s_find (gpb_principal_t *self, uint64_t handle)
{
    s_holding_t *holding = handle ? *s_chain (self->all, handle) : NULL;
    while (holding && (holding->handle != handle || holding->principal != self))
        holding = holding->chain_next;
    return holding;
}

static void
s_link (gpb_principal_t *self, s_holding_t *holding)
{
    s_holding_t **chain = s_chain (self->all, holding->handle);
    holding->chain_next = *chain;
    *chain = holding;
    holding->previous = NULL;
    holding->next = self->holdings;
    if (holding->next)
        holding->next->previous = holding;
    self->holdings = holding;
}

static void
s_unlink (gpb_principals_t *self, s_holding_t *holding)
{
    s_holding_t **link = s_chain (self, holding->handle);
    while (*link != holding)
        link = &(*link)->chain_next;
    *link = holding->chain_next;
    if (holding->previous)
        holding->previous->next = holding->next;
    else
        holding->principal->holdings = holding->next;
    if (holding->next)
        holding->next->previous = holding->previous;
}

//  It counts no more, and a reservation that it drew from has that much more left.
static void
s_uncount (s_holding_t *holding)
{
    gpb_principal_t *self = holding->principal;
    bool is_rent = holding->expires_ns == 0;
    self->held_size -= is_rent ? holding->size : holding->size - holding->drawn;
    s_holding_t *source = is_rent ? s_find (self, holding->drawn_from) : NULL;
    if (source) {
        source->drawn -= holding->drawn;
        self->held_size += holding->drawn;
    }
}

static void
s_drop (s_holding_t *holding)
{
    s_uncount (holding);
    s_unlink (holding->principal->all, holding);
    gpb_free (holding);
}

static void
s_drop_expired (gpb_principal_t *self, uint64_t now_ns)
{
    s_holding_t *next;
    for (s_holding_t *holding = self->holdings; holding; holding = next) {
        next = holding->next;
        if (holding->expires_ns && holding->expires_ns <= now_ns)
            s_drop (holding);
    }
}

void
gpb_principal_forget (gpb_principal_t *self, uint64_t connection)
{
    s_holding_t *next;
    for (s_holding_t *holding = self->holdings; holding; holding = next) {
        next = holding->next;
        if (holding->connection == connection)
            s_drop (holding);
    }
}

//  Bytes that a rent would draw from a reservation of the same principal.
static uint64_t
s_drawable (gpb_principal_t *self, const Gpb__V1__Request *request, uint64_t size)
{
    const s_holding_t *source = request->body_case == GPB__V1__REQUEST__BODY_RENT
                                    ? s_find (self, request->rent->reservation)
                                    : NULL;
    uint64_t left = source && source->expires_ns ? source->size - source->drawn : 0;
    return left < size ? left : size;
}

//  Bytes that a request would hold.
static uint64_t
s_size_of (const Gpb__V1__Request *request)
{
    if (request->body_case == GPB__V1__REQUEST__BODY_RENT)
        return request->rent->size;
    return request->body_case == GPB__V1__REQUEST__BODY_RESERVE ? request->reserve->memory : 0;
}

//  ---------------------------------------------------------------------------------------------------------
//  What it may do

//  "the key alice", for people.
static const char *
s_who (const gpb_principal_t *self, char *text, size_t size)
{
    bool is_nobody = strcmp (self->name, NOBODY) == 0;
    snprintf (text, size, "%s%s", is_nobody ? "a connection without a key" : "the key ",
              is_nobody ? "" : self->name);
    return text;
}

static bool
s_may_call (const s_limits_t *limits, const char *kernel)
{
    for (size_t index = 0; index < limits->globs_count; index++)
        if (fnmatch (limits->globs [index], kernel, 0) == 0)
            return true;
    return !limits->has_kernels;
}

static gpb_status_t
s_check_size (gpb_principal_t *self, const Gpb__V1__Request *request, uint64_t now_ns,
              gpb_error_t *error)
{
    char who [128];
    uint64_t size = s_size_of (request), most = self->limits->rent_size;
    uint64_t more = size - s_drawable (self, request, size);
    if (self->held_size > most || more > most - self->held_size) {
        s_drop_expired (self, now_ns);
        more = size - s_drawable (self, request, size);
    }
    if (self->held_size <= most && more <= most - self->held_size)
        return GPB_OK;
    return gpb_error_set (error, GPB_PERMISSION_DENIED,
                          "%s may rent and reserve %" PRIu64 " bytes in all, and holds %" PRIu64
                          ": %" PRIu64 " more are over that",
                          s_who (self, who, sizeof who), most, self->held_size, more);
}

gpb_status_t
gpb_principal_allows (gpb_principal_t *self, const Gpb__V1__Request *request, uint64_t now_ns,
                      gpb_error_t *error)
{
    const s_limits_t *limits = self->limits;
    if (!limits)
        return GPB_OK;
    char who [128];
    if (limits->has_in_flight && self->in_flight >= limits->in_flight)
        return gpb_error_set (error, GPB_PERMISSION_DENIED,
                              "%s may have %" PRIu64 " requests in flight over all of its "
                              "connections, and has %" PRIu64,
                              s_who (self, who, sizeof who), limits->in_flight, self->in_flight);
    switch (request->body_case) {
    case GPB__V1__REQUEST__BODY_EXECUTE:
        if (s_may_call (limits, request->execute->kernel))
            return GPB_OK;
        return gpb_error_set (error, GPB_PERMISSION_DENIED,
                              "%s may not call the kernel \"%.100s\": its limits name others",
                              s_who (self, who, sizeof who), request->execute->kernel);
    case GPB__V1__REQUEST__BODY_REGISTER_KERNEL:
        if (limits->may_register)
            return GPB_OK;
        return gpb_error_set (error, GPB_PERMISSION_DENIED,
                              "%s may not register kernels: its limits say register=false",
                              s_who (self, who, sizeof who));
    case GPB__V1__REQUEST__BODY_RENT:
    case GPB__V1__REQUEST__BODY_RESERVE:
        return limits->has_rent_size ? s_check_size (self, request, now_ns, error) : GPB_OK;
    default: return GPB_OK;
    }
}

//  ---------------------------------------------------------------------------------------------------------
//  What becomes of a request

static uint64_t
s_named_handle (const Gpb__V1__Request *request)
{
    switch (request->body_case) {
    case GPB__V1__REQUEST__BODY_RELEASE: return request->release->handle;
    case GPB__V1__REQUEST__BODY_RENEW: return request->renew->handle;
    case GPB__V1__REQUEST__BODY_UNRESERVE: return request->unreserve->handle;
    default: return 0;
    }
}

gpb_status_t
gpb_principal_charge (gpb_principal_t *self, gpb_entry_t *entry, const Gpb__V1__Request *request,
                      gpb_error_t *error)
{
    uint64_t size = s_size_of (request);
    if (self->limits && self->limits->has_rent_size) {
        entry->named_handle = s_named_handle (request);
        entry->holding = size ? gpb_alloc (1, sizeof *entry->holding) : NULL;
        if (size && !entry->holding)
            return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory to count what is held");
    }
    entry->principal = self;
    self->in_flight++;
    s_holding_t *holding = entry->holding;
    if (!holding)
        return GPB_OK;
    holding->principal = self;
    holding->connection = entry->key.client;
    holding->size = size;
    self->held_size += size;
    if (request->body_case == GPB__V1__REQUEST__BODY_RESERVE)
        holding->expires_ns = UINT64_MAX;    //  until its device says when
    else {
        holding->drawn_from = request->rent->reservation;
        holding->drawn = s_drawable (self, request, size);
        s_holding_t *source = s_find (self, holding->drawn_from);
        if (source)
            source->drawn += holding->drawn;
        self->held_size -= holding->drawn;
    }
    return GPB_OK;
}

//  What a device has given becomes the client's; where nobody is there to have it, the device takes
//  it back.
static void
s_settle_holding (gpb_entry_t *entry, const Gpb__V1__Reply *reply, uint64_t now_ns)
{
    s_holding_t *holding = entry->holding;
    entry->holding = NULL;
    bool is_given = entry->connection && reply && reply->status == GPB__V1__STATUS__OK;
    if (is_given && reply->body_case == GPB__V1__REPLY__BODY_RENT)
        holding->handle = reply->rent->handle;
    else if (is_given && reply->body_case == GPB__V1__REPLY__BODY_RESERVE) {
        holding->handle = reply->reserve->handle;
        holding->expires_ns = now_ns + reply->reserve->for_ms * GPB_NS_PER_MS;
    }
    if (holding->handle)
        s_link (holding->principal, holding);
    else {
        s_uncount (holding);
        gpb_free (holding);
    }
}

static void
s_settle_named (gpb_principal_t *self, Gpb__V1__Request__BodyCase kind, uint64_t handle,
                const Gpb__V1__Reply *reply, uint64_t now_ns)
{
    s_holding_t *holding = reply ? s_find (self, handle) : NULL;
    bool is_ok = holding && reply->status == GPB__V1__STATUS__OK;
    bool is_gone = holding
                   && (reply->status == GPB__V1__STATUS__NOT_FOUND
                       || reply->status == GPB__V1__STATUS__DATA_LOSS);
    if (is_ok && kind == GPB__V1__REQUEST__BODY_RENEW
        && reply->body_case == GPB__V1__REPLY__BODY_RENEW)
        holding->expires_ns = now_ns + reply->renew->for_ms * GPB_NS_PER_MS;
    else if (is_gone || (is_ok && kind != GPB__V1__REQUEST__BODY_RENEW))
        s_drop (holding);
}

void
gpb_principal_settle (gpb_entry_t *entry, const Gpb__V1__Reply *reply, uint64_t now_ns)
{
    gpb_principal_t *self = entry->principal;
    if (!self)
        return;
    entry->principal = NULL;
    self->in_flight--;
    if (entry->holding)
        s_settle_holding (entry, reply, now_ns);
    if (entry->named_handle)
        s_settle_named (self, entry->kind, entry->named_handle, reply, now_ns);
    entry->named_handle = 0;
}

gpb_waiting_t *
gpb_principal_waiting (gpb_principal_t *self)
{
    return strcmp (self->name, NOBODY) == 0 ? NULL : &self->waiting;
}

uint64_t
gpb_principal_in_flight (const gpb_principal_t *self)
{
    return self->in_flight;
}

uint64_t
gpb_principal_held_size (const gpb_principal_t *self)
{
    return self->held_size;
}
