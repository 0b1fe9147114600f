//  gpb_lease - what a pool tells its device about a buffer that it has rented out
//
//  Stands in the one payload frame of a rent's reply, toward a peer in the same process only. The
//  memory is the pool's; the device may use it from then on until it has sent the release.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_LEASE_H_INCLUDED
#define GPB_LEASE_H_INCLUDED

#include "gpb_backend.h"

typedef struct {
    uint64_t handle;
    gpb_memory_t *memory;
    void *address;    //  of MAPPED memory; else NULL
    uint64_t size;    //  bytes, as asked
    gpb_memory_kind_t kind;
    gpb_access_t access;
} gpb_lease_t;

//  A handle says which device of its node it belongs to, in its highest byte; the rest is random,
//  so that it cannot be guessed.
#define GPB_HANDLE_DEVICES_MAX 256

static inline unsigned
gpb_handle_device (uint64_t handle)
{
    return (unsigned) (handle >> 56);
}

static inline uint64_t
gpb_handle_make (unsigned device, uint64_t random)
{
    return (uint64_t) device << 56 | (random & 0x00FFFFFFFFFFFFFFULL);
}

#endif
