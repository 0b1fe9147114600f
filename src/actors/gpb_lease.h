//  gpb_lease - what a pool tells its device about a buffer that it has rented out
//
//  Stands in the one payload frame of a pool's replies to its device, in the same process. The
//  memory is the pool's; the device may use it from then on until it has sent the release.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_LEASE_H_INCLUDED
#define GPB_LEASE_H_INCLUDED

#include "gpb_backend.h"
#include "gpb_service.h"

typedef struct {
    uint64_t handle;
    gpb_memory_t *memory;    //  what the buffer is a part of: others' buffers may be too
    uint64_t offset;         //  of its first byte in there; a multiple of GPB_MEMORY_ALIGNMENT
    void *address;           //  of that byte, for MAPPED memory; else NULL
    uint64_t size;           //  bytes, as asked: nothing beyond is its renter's
    uint64_t block_size;     //  bytes that it takes
    gpb_memory_kind_t kind;
    gpb_access_t access;
} gpb_lease_t;

//  What a pool has of its device's own memory, in bytes: all that it has where the device shares
//  the host's, else what is DEVICE memory.
typedef struct {
    uint64_t held;    //  from the driver
    uint64_t idle;    //  of these, free or being zeroed for whoever comes next
} gpb_holding_t;

//  In a hop frame's slot: nobody waits for this message.
#define GPB_TICKET_NOBODY UINT32_MAX

//  The frame. A lease whose handle is 0 is none.
typedef struct {
    gpb_lease_t lease;
    gpb_holding_t holding;
} gpb_lease_frame_t;

//  Answers a map request: the lease's address, if it is MAPPED memory, not mapped yet, not used by
//  requests in flight, and asked for from this process; then *mapped_p becomes true. Else a
//  refusal.
void gpb_lease_map (const gpb_lease_t *self, bool *mapped_p, size_t users, gpb_service_t *service,
                    gpb_call_t *call);

//  Answers an unmap request; *mapped_p becomes false.
void gpb_lease_unmap (bool *mapped_p, gpb_service_t *service, gpb_call_t *call);

//  A handle says which device of its node it belongs to, in its highest byte; the rest looks like
//  chance, so that it cannot be guessed (gpb_handles.h).
#define GPB_HANDLE_DEVICES_MAX 256

static inline unsigned
gpb_handle_device (uint64_t handle)
{
    return (unsigned) (handle >> 56);
}

static inline uint64_t
gpb_handle_make (unsigned device, uint64_t rest)
{
    return (uint64_t) device << 56 | (rest & 0x00FFFFFFFFFFFFFFULL);
}

#endif
