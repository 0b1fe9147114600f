//  gpb_binaries - compiled binaries in memory, shared by all devices of this process
//
//  Two lists under one mutex: entries, the one used last in front, and flights, one for each key
//  that a thread builds now. Both are walked from the front: they are short, and each look is
//  beside a compile or a driver's load, which take a thousand times as long.
//
//  A flight that is settled leaves the list at once, so that who comes later starts anew, and is
//  freed by the last thread that waited for it. One that was given up while others wait stays, and
//  the first that wakes is its builder.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_binaries.h"

#include "gpb_alloc.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

typedef struct {
    gpb_binary_t binary;    //  what others see; the first member
    void *data;
    atomic_uint references;
} s_binary_t;

typedef struct _s_entry_t {
    struct _s_entry_t *next;
    unsigned char key [GPB_BINARIES_KEY_SIZE];
    gpb_binary_t *binary;
} s_entry_t;

typedef enum {
    FLIGHT_BUILDING,
    FLIGHT_GIVEN_UP,
    FLIGHT_PUBLISHED,    //  binary NULL: there is none to share
    FLIGHT_REFUSED
} s_flight_state_t;

typedef struct _s_flight_t {
    struct _s_flight_t *next;
    unsigned char key [GPB_BINARIES_KEY_SIZE];
    s_flight_state_t state;
    unsigned waiting;    //  threads
    gpb_binary_t *binary;
    gpb_error_t error;
} s_flight_t;

struct _gpb_binaries_t {
    atomic_uint references;
    pthread_mutex_t mutex;     //  over all that follows
    pthread_cond_t settled;    //  a flight is no longer FLIGHT_BUILDING
    uint64_t max_size;
    uint64_t size;         //  bytes of all entries
    s_entry_t *entries;    //  the one used last in front
    s_flight_t *flights;
};

//  The process's own, and the reference that the library holds.
static gpb_binaries_t *s_of_process;
static pthread_mutex_t s_of_process_mutex = PTHREAD_MUTEX_INITIALIZER;

//  ---------------------------------------------------------------------------------------------------------
//  Binaries

gpb_binary_t *
gpb_binary_new (void **data_p, size_t size)
{
    s_binary_t *self = gpb_alloc (1, sizeof *self);
    if (!self)
        return NULL;
    atomic_init (&self->references, 1);
    self->data = *data_p;
    self->binary.data = *data_p;
    self->binary.size = size;
    *data_p = NULL;
    return &self->binary;
}

static gpb_binary_t *
s_binary_retain (gpb_binary_t *binary)
{
    if (binary)
        atomic_fetch_add (&((s_binary_t *) binary)->references, 1);
    return binary;
}

void
gpb_binary_release (gpb_binary_t **binary_p)
{
    s_binary_t *self = (s_binary_t *) *binary_p;
    *binary_p = NULL;
    if (!self || atomic_fetch_sub (&self->references, 1) != 1)
        return;
    gpb_free (self->data);
    gpb_free (self);
}

//  ---------------------------------------------------------------------------------------------------------
//  The life of one, and of the process's

gpb_binaries_t *
gpb_binaries_new (uint64_t max_size)
{
    gpb_binaries_t *self = gpb_alloc (1, sizeof *self);
    if (!self)
        return NULL;
    atomic_init (&self->references, 1);
    pthread_mutex_init (&self->mutex, NULL);
    pthread_cond_init (&self->settled, NULL);
    self->max_size = max_size;
    return self;
}

static void
s_entry_free (s_entry_t *entry)
{
    gpb_binary_release (&entry->binary);
    gpb_free (entry);
}

void
gpb_binaries_release (gpb_binaries_t **self_p)
{
    gpb_binaries_t *self = *self_p;
    *self_p = NULL;
    if (!self || atomic_fetch_sub (&self->references, 1) != 1)
        return;
    while (self->entries) {
        s_entry_t *entry = self->entries;
        self->entries = entry->next;
        s_entry_free (entry);
    }
    //  Whoever builds or waits holds a reference.
    pthread_cond_destroy (&self->settled);
    pthread_mutex_destroy (&self->mutex);
    gpb_free (self);
}

gpb_binaries_t *
gpb_binaries_of_process (void)
{
    pthread_mutex_lock (&s_of_process_mutex);
    if (!s_of_process)
        s_of_process = gpb_binaries_new (GPB_BINARIES_MAX_SIZE);
    gpb_binaries_t *self = s_of_process;
    if (self)
        atomic_fetch_add (&self->references, 1);
    pthread_mutex_unlock (&s_of_process_mutex);
    return self;
}

//  At the process's end as well: a thread that still runs then has a reference of its own, and
//  loses nothing.
__attribute__ ((destructor)) void
gpb_binaries_forget (void)
{
    pthread_mutex_lock (&s_of_process_mutex);
    gpb_binaries_t *self = s_of_process;
    s_of_process = NULL;
    pthread_mutex_unlock (&s_of_process_mutex);
    gpb_binaries_release (&self);
}

//  ---------------------------------------------------------------------------------------------------------
//  Entries. All under the mutex.

//  The link that leads to the entry, or to NULL.
static s_entry_t **
s_entry_link (gpb_binaries_t *self, const unsigned char *key)
{
    s_entry_t **link = &self->entries;
    while (*link && memcmp ((*link)->key, key, GPB_BINARIES_KEY_SIZE) != 0)
        link = &(*link)->next;
    return link;
}

static s_entry_t *
s_entry_unlink (gpb_binaries_t *self, s_entry_t **link)
{
    s_entry_t *entry = *link;
    *link = entry->next;
    self->size -= entry->binary->size;
    return entry;
}

static void
s_entry_put_first (gpb_binaries_t *self, s_entry_t *entry)
{
    entry->next = self->entries;
    self->entries = entry;
    self->size += entry->binary->size;
}

static void
s_shrink (gpb_binaries_t *self)
{
    while (self->size > self->max_size) {
        s_entry_t **link = &self->entries;
        while ((*link)->next)
            link = &(*link)->next;
        s_entry_free (s_entry_unlink (self, link));
    }
}

//  One that would not fit alone is not kept, and pushes nothing out. Where there is no memory for
//  the entry, the next to ask builds it again.
static void
s_keep (gpb_binaries_t *self, const unsigned char *key, gpb_binary_t *binary)
{
    s_entry_t **link = s_entry_link (self, key);
    if (*link)
        s_entry_free (s_entry_unlink (self, link));
    s_entry_t *entry = binary->size <= self->max_size ? gpb_alloc (1, sizeof *entry) : NULL;
    if (!entry)
        return;
    memcpy (entry->key, key, GPB_BINARIES_KEY_SIZE);
    entry->binary = s_binary_retain (binary);
    s_entry_put_first (self, entry);
    s_shrink (self);
}

//  ---------------------------------------------------------------------------------------------------------
//  Flights. All under the mutex.

static s_flight_t **
s_flight_link (gpb_binaries_t *self, const unsigned char *key)
{
    s_flight_t **link = &self->flights;
    while (*link && memcmp ((*link)->key, key, GPB_BINARIES_KEY_SIZE) != 0)
        link = &(*link)->next;
    return link;
}

static void
s_flight_free (s_flight_t *flight)
{
    gpb_binary_release (&flight->binary);
    gpb_free (flight);
}

//  Without memory for the flight nobody can wait for it, which is no reason not to build.
static gpb_binaries_outcome_t
s_flight_begin (gpb_binaries_t *self, const unsigned char *key)
{
    s_flight_t *flight = gpb_alloc (1, sizeof *flight);
    if (!flight)
        return GPB_BINARIES_ALONE;
    memcpy (flight->key, key, GPB_BINARIES_KEY_SIZE);
    flight->next = self->flights;
    self->flights = flight;
    return GPB_BINARIES_BUILD;
}

static gpb_binaries_outcome_t
s_flight_wait (gpb_binaries_t *self, s_flight_t *flight, gpb_binary_t **binary_p,
               gpb_error_t *error)
{
    flight->waiting++;
    while (flight->state == FLIGHT_BUILDING)
        pthread_cond_wait (&self->settled, &self->mutex);
    flight->waiting--;
    if (flight->state == FLIGHT_GIVEN_UP) {
        flight->state = FLIGHT_BUILDING;
        return GPB_BINARIES_BUILD;
    }
    gpb_binaries_outcome_t outcome = GPB_BINARIES_REFUSED;
    if (flight->state == FLIGHT_REFUSED)
        *error = flight->error;
    else {
        *binary_p = s_binary_retain (flight->binary);
        outcome = flight->binary ? GPB_BINARIES_FOUND : GPB_BINARIES_ALONE;
    }
    if (flight->waiting == 0)
        s_flight_free (flight);
    return outcome;
}

//  Who published without a flight (because it built alone) may settle another thread's: what it
//  says of the key holds for that one as well, and the other then finds its flight gone.
static void
s_flight_settle (gpb_binaries_t *self, const unsigned char *key, s_flight_state_t state,
                 gpb_binary_t *binary, const gpb_error_t *error)
{
    s_flight_t **link = s_flight_link (self, key);
    s_flight_t *flight = *link;
    if (!flight)
        return;
    bool stays = state == FLIGHT_GIVEN_UP && flight->waiting > 0;
    if (!stays)
        *link = flight->next;
    if (flight->waiting == 0) {
        s_flight_free (flight);
        return;
    }
    flight->state = state;
    flight->binary = s_binary_retain (binary);
    if (error)
        flight->error = *error;
    pthread_cond_broadcast (&self->settled);
}

//  ---------------------------------------------------------------------------------------------------------
//  What a device's thread calls

gpb_binaries_outcome_t
gpb_binaries_acquire (gpb_binaries_t *self, const unsigned char *key, gpb_binary_t **binary_p,
                      gpb_error_t *error)
{
    gpb_binaries_outcome_t outcome;
    *binary_p = NULL;
    pthread_mutex_lock (&self->mutex);
    s_entry_t **link = s_entry_link (self, key);
    s_flight_t *flight = *s_flight_link (self, key);
    if (*link) {
        s_entry_t *entry = s_entry_unlink (self, link);
        s_entry_put_first (self, entry);
        *binary_p = s_binary_retain (entry->binary);
        outcome = GPB_BINARIES_FOUND;
    }
    else if (flight)
        outcome = s_flight_wait (self, flight, binary_p, error);
    else
        outcome = s_flight_begin (self, key);
    pthread_mutex_unlock (&self->mutex);
    return outcome;
}

void
gpb_binaries_publish (gpb_binaries_t *self, const unsigned char *key, gpb_binary_t *binary)
{
    pthread_mutex_lock (&self->mutex);
    if (binary)
        s_keep (self, key, binary);
    s_flight_settle (self, key, FLIGHT_PUBLISHED, binary, NULL);
    pthread_mutex_unlock (&self->mutex);
}

void
gpb_binaries_refuse (gpb_binaries_t *self, const unsigned char *key, const gpb_error_t *error)
{
    pthread_mutex_lock (&self->mutex);
    s_flight_settle (self, key, FLIGHT_REFUSED, NULL, error);
    pthread_mutex_unlock (&self->mutex);
}

void
gpb_binaries_give_up (gpb_binaries_t *self, const unsigned char *key)
{
    pthread_mutex_lock (&self->mutex);
    s_flight_settle (self, key, FLIGHT_GIVEN_UP, NULL, NULL);
    pthread_mutex_unlock (&self->mutex);
}

unsigned
gpb_binaries_waiting (gpb_binaries_t *self)
{
    unsigned waiting = 0;
    pthread_mutex_lock (&self->mutex);
    for (const s_flight_t *flight = self->flights; flight; flight = flight->next)
        waiting += flight->waiting;
    pthread_mutex_unlock (&self->mutex);
    return waiting;
}
