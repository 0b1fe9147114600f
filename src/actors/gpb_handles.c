//  gpb_handles - names for what clients own, that nobody can guess and nobody is given twice
//
//      63     56 55                28 27                 0
//     +---------+--------------------+--------------------+
//     | device  |     permutation of (slot, generation)   |
//     +---------+--------------------+--------------------+
//
//  The permutation is a balanced Feistel network over halves of 28 bits, with SipHash-2-4 as its
//  round function. Patarin's bounds (Security of Random Feistel Schemes with 5 or more Rounds,
//  CRYPTO 2004) say that from 6 rounds on nobody tells it from a random permutation with fewer than
//  2^28 handles, also where he may have any number deciphered, as a look-up does; 4 rounds, which
//  look enough, give way at 2^14. There are 8, two of them as a margin: some 150 ns, beside a rent
//  that takes microseconds.
//
//  Free slots stand in a list through the table. The one that was freed last is used first, so that
//  the table stays as small as what is in use at once.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_handles.h"

#include "gpb_alloc.h"
#include "gpb_lease.h"

#include <assert.h>
#include <sodium.h>

#define HALF_BITS 28
#define HALF_MASK ((UINT32_C (1) << HALF_BITS) - 1)
#define ROUNDS 8
#define SLOTS_MAX (UINT32_C (1) << HALF_BITS)
#define SLOTS_FIRST 64
#define NO_SLOT UINT32_MAX

typedef struct {
    void *item;             //  NULL: the slot is free, or retired
    uint32_t generation;    //  of the handle that it has, or will have next
    uint32_t next;          //  free slot; NO_SLOT: the last one
} s_slot_t;

struct _gpb_handles_t {
    unsigned device;
    uint32_t generations;
    unsigned char key [crypto_shorthash_KEYBYTES];
    s_slot_t *slots;
    uint32_t slots_count;    //  that have been used
    uint32_t capacity;
    uint32_t free;    //  the first free one
    size_t count;     //  handles that stand for something
};

gpb_handles_t *
gpb_handles_new (unsigned device, uint32_t generations, gpb_error_t *error)
{
    assert (device < GPB_HANDLE_DEVICES_MAX);
    assert (generations >= 1 && generations <= GPB_HANDLES_GENERATIONS);
    if (sodium_init () < 0) {
        gpb_error_set (error, GPB_INTERNAL, "libsodium could not start: handles need it");
        return NULL;
    }
    gpb_handles_t *self = gpb_alloc (1, sizeof *self);
    if (!self) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a table of handles");
        return NULL;
    }
    self->device = device;
    self->generations = generations;
    self->free = NO_SLOT;
    randombytes_buf (self->key, sizeof self->key);
    return self;
}

void
gpb_handles_destroy (gpb_handles_t **self_p)
{
    gpb_handles_t *self = *self_p;
    if (!self)
        return;
    *self_p = NULL;
    sodium_memzero (self->key, sizeof self->key);
    gpb_free (self->slots);
    gpb_free (self);
}

//  ---------------------------------------------------------------------------------------------------------
//  The permutation

static uint32_t
s_round (const gpb_handles_t *self, uint32_t round, uint32_t half)
{
    const uint32_t words [2] = { round, half };
    uint64_t hash;
    crypto_shorthash ((unsigned char *) &hash, (const unsigned char *) words, sizeof words,
                      self->key);
    return (uint32_t) hash & HALF_MASK;
}

static uint64_t
s_encipher (const gpb_handles_t *self, uint32_t slot, uint32_t generation)
{
    uint32_t left = slot, right = generation;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        uint32_t next = left ^ s_round (self, round, right);
        left = right;
        right = next;
    }
    return gpb_handle_make (self->device, (uint64_t) left << HALF_BITS | right);
}

static void
s_decipher (const gpb_handles_t *self, uint64_t handle, uint32_t *slot_p, uint32_t *generation_p)
{
    uint32_t left = (uint32_t) (handle >> HALF_BITS) & HALF_MASK;
    uint32_t right = (uint32_t) handle & HALF_MASK;
    for (uint32_t round = ROUNDS; round-- > 0;) {
        uint32_t before = right ^ s_round (self, round, left);
        right = left;
        left = before;
    }
    *slot_p = left;
    *generation_p = right;
}

//  ---------------------------------------------------------------------------------------------------------
//  Slots

static s_slot_t *
s_slot (const gpb_handles_t *self, uint64_t handle)
{
    if (gpb_handle_device (handle) != self->device)
        return NULL;
    uint32_t slot, generation;
    s_decipher (self, handle, &slot, &generation);
    if (slot >= self->slots_count || self->slots [slot].generation != generation
        || !self->slots [slot].item)
        return NULL;
    return &self->slots [slot];
}

//  A slot that was never used.
static uint32_t
s_slot_new (gpb_handles_t *self, gpb_error_t *error)
{
    if (self->slots_count == self->capacity) {
        uint32_t capacity = self->capacity ? 2 * self->capacity : SLOTS_FIRST;
        s_slot_t *slots =
            capacity <= SLOTS_MAX ? gpb_realloc (self->slots, capacity, sizeof *self->slots) : NULL;
        if (!slots) {
            gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for one more handle");
            return NO_SLOT;
        }
        self->slots = slots;
        self->capacity = capacity;
    }
    uint32_t slot = self->slots_count++;
    self->slots [slot] = (s_slot_t){ .next = NO_SLOT };
    return slot;
}

//  The slot's next use, if it has one left.
static void
s_slot_free (gpb_handles_t *self, uint32_t slot)
{
    if (++self->slots [slot].generation < self->generations) {
        self->slots [slot].next = self->free;
        self->free = slot;
    }
}

uint64_t
gpb_handles_add (gpb_handles_t *self, void *item, gpb_error_t *error)
{
    assert (item);
    uint64_t handle = 0;
    while (handle == 0) {
        uint32_t slot = self->free;
        if (slot != NO_SLOT)
            self->free = self->slots [slot].next;
        else if ((slot = s_slot_new (self, error)) == NO_SLOT)
            return 0;
        handle = s_encipher (self, slot, self->slots [slot].generation);
        if (handle != 0)
            self->slots [slot].item = item;
        else
            s_slot_free (self, slot);    //  once in 2^56, for device 0
    }
    self->count++;
    return handle;
}

void *
gpb_handles_lookup (const gpb_handles_t *self, uint64_t handle)
{
    const s_slot_t *slot = s_slot (self, handle);
    return slot ? slot->item : NULL;
}

void
gpb_handles_remove (gpb_handles_t *self, uint64_t handle)
{
    s_slot_t *slot = s_slot (self, handle);
    if (!slot)
        return;
    slot->item = NULL;
    self->count--;
    s_slot_free (self, (uint32_t) (slot - self->slots));
}

size_t
gpb_handles_count (const gpb_handles_t *self)
{
    return self->count;
}
