//  gpb_provoke_memory - what is wrong with rented and with reserved memory
//
//  Provocations for test_protocol.c. What one of them rents or reserves on the stage's node is
//  given back before it ends.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_provoke.h"

#include <signal.h>

#include <string.h>

//  ---------------------------------------------------------------------------------------------------------
//  Rented memory

static void
s_release (gpb_stage_t *self, uint64_t handle)
{
    gpb_reply_t *reply = gpb_test_call_ok (self->client, gpb_request_release (handle));
    gpb_reply_destroy (&reply);
}

//  Another connection's handle, as good as one that never was.
static void
s_handle_unknown (gpb_stage_t *self)
{
    gpb_client_t *other = gpb_test_client (self->node);
    uint64_t handle = gpb_test_rent (other, 64, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE, -1);
    gpb_stage_call (self, gpb_request_read (handle, 0, 0));
    gpb_client_destroy (&other);
}

static void
s_handle_lost (gpb_stage_t *self)
{
    gpb_test_node_t node;
    gpb_test_node_start (&node, "--backends", "fake");
    gpb_client_t *client = gpb_test_client (&node);
    uint64_t handle = gpb_test_rent (client, 64, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE, 0);
    pid_t pids [2];
    ck_assert_uint_eq (gpb_test_node_children (&node, pids, 2), 2);
    for (unsigned index = 0; index < 2; index++)
        ck_assert_int_eq (kill (pids [index], SIGKILL), 0);
    gpb_reply_t *reply = gpb_test_call (client, gpb_request_read (handle, 0, 0));
    //  On its way when the process died, or waiting for the next one.
    while (gpb_reply_status (reply) == GPB_UNAVAILABLE) {
        gpb_reply_destroy (&reply);
        reply = gpb_test_call (client, gpb_request_read (handle, 0, 0));
    }
    gpb_stage_note (self, reply);
    gpb_client_destroy (&client);
    gpb_test_node_stop (&node);
}

static void
s_buffer_access (gpb_stage_t *self)
{
    static const float a [4] = { 0 };
    uint64_t handle = gpb_test_rent (self->client, 64, GPB_RENT_DEVICE, GPB_RENT_READ_ONLY, -1);
    gpb_request_t *request = gpb_request_execute ("add");
    gpb_request_in (request, a, sizeof a);
    gpb_request_in (request, a, sizeof a);
    gpb_request_buffer (request, handle, 0, 0);
    gpb_request_i32 (request, 4);
    gpb_stage_call (self, request);
    s_release (self, handle);
}

//  offset + size is 0 in 64 bits.
static void
s_buffer_range (gpb_stage_t *self)
{
    uint64_t handle = gpb_test_rent (self->client, 64, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE, -1);
    gpb_stage_call (self, gpb_request_read (handle, 8, UINT64_MAX - 7));
    s_release (self, handle);
}

static void
s_buffer_overlap (gpb_stage_t *self)
{
    uint64_t handle = gpb_test_rent (self->client, 64, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE, -1);
    gpb_stage_call (self, gpb_request_copy (handle, 0, handle, 16, 32));
    s_release (self, handle);
}

static void
s_buffer_devices (gpb_stage_t *self)
{
    uint64_t one = gpb_test_rent (self->client, 64, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE, 0);
    uint64_t other = gpb_test_rent (self->client, 64, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE, 1);
    gpb_stage_call (self, gpb_request_copy (one, 0, other, 0, 32));
    s_release (self, one);
    s_release (self, other);
}

static void
s_rent_size (gpb_stage_t *self)
{
    gpb_stage_call (self, gpb_request_rent (0, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE));
}

//  Rents twice on a node of this configuration; the second one is refused.
static void
s_rent_twice (gpb_stage_t *self, const char *key_value, bool by_another)
{
    gpb_test_node_t node;
    gpb_test_node_start (&node, "--backends", "fake", "--set", key_value);
    gpb_client_t *client = gpb_test_client (&node), *other = gpb_test_client (&node);
    gpb_test_rent (client, 65536, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE, 0);
    gpb_request_t *request = gpb_request_rent (65536, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE);
    gpb_request_set_device (request, 0);
    gpb_stage_note (self, gpb_test_call (by_another ? other : client, request));
    ck_assert_uint_eq (self->retry_after_ms, 0);
    gpb_client_destroy (&client);
    gpb_client_destroy (&other);
    gpb_test_node_stop (&node);
}

static void
s_rent_limit (gpb_stage_t *self)
{
    s_rent_twice (self, "rent_max_size=100000", true);
}

static void
s_rent_limit_client (gpb_stage_t *self)
{
    s_rent_twice (self, "client_rent_max_size=100000", false);
}

static void
s_map_process (gpb_stage_t *self)
{
    uint64_t handle = gpb_test_rent (self->client, 64, GPB_RENT_MAPPED, GPB_RENT_READ_WRITE, -1);
    gpb_stage_call (self, gpb_request_map (handle));
    s_release (self, handle);
}

static void
s_map_kind (gpb_stage_t *self)
{
    uint64_t handle = gpb_test_rent (self->client, 64, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE, -1);
    gpb_stage_call (self, gpb_request_map (handle));
    s_release (self, handle);
}

static void
s_unmap_nothing (gpb_stage_t *self)
{
    uint64_t handle = gpb_test_rent (self->client, 64, GPB_RENT_MAPPED, GPB_RENT_READ_WRITE, -1);
    gpb_stage_call (self, gpb_request_unmap (handle));
    s_release (self, handle);
}

static void
s_mapped_in_use (gpb_stage_t *self)
{
    static const float a [4] = { 0 };
    gpb_test_node_t node;
    gpb_test_node_compose (&node, "inproc://mapped", "backends", "fake");
    gpb_client_t *client = gpb_test_client (&node);
    uint64_t handle = gpb_test_rent (client, 64, GPB_RENT_MAPPED, GPB_RENT_READ_WRITE, 0);
    gpb_reply_t *reply = gpb_test_call_ok (client, gpb_request_map (handle));
    ck_assert_ptr_nonnull (gpb_reply_address (reply));
    gpb_reply_destroy (&reply);
    gpb_request_t *request = gpb_request_execute ("add");
    gpb_request_in (request, a, sizeof a);
    gpb_request_in (request, a, sizeof a);
    gpb_request_buffer (request, handle, 0, 0);
    gpb_request_i32 (request, 4);
    gpb_stage_note (self, gpb_test_call (client, request));
    gpb_client_destroy (&client);
    gpb_test_node_stop (&node);
}

//  ---------------------------------------------------------------------------------------------------------
//  Reservations

//  The handle of one on a device.
static uint64_t
s_reserve (gpb_client_t *client, uint64_t size, uint32_t device)
{
    gpb_request_t *request = gpb_request_reserve (size, 0);
    gpb_request_set_device (request, device);
    gpb_reply_t *reply = gpb_test_call_ok (client, request);
    uint64_t handle = gpb_reply_handle (reply);
    ck_assert_uint_ne (handle, 0);
    gpb_reply_destroy (&reply);
    return handle;
}

static void
s_unreserve (gpb_stage_t *self, uint64_t handle)
{
    gpb_reply_t *reply = gpb_test_call_ok (self->client, gpb_request_unreserve (handle));
    gpb_reply_destroy (&reply);
}

static void
s_reservation_size (gpb_stage_t *self)
{
    gpb_stage_call (self, gpb_request_reserve (0, 0));
}

static void
s_reservation_count (gpb_stage_t *self)
{
    gpb_test_node_t node;
    gpb_test_node_start (&node, "--backends", "fake", "--set", "max_client_reservations=1");
    gpb_client_t *client = gpb_test_client (&node), *other = gpb_test_client (&node);
    s_reserve (client, 64, 0);
    s_reserve (client, 64, 1);
    s_reserve (other, 64, 0);
    gpb_request_t *request = gpb_request_reserve (64, 0);
    gpb_request_set_device (request, 0);
    gpb_stage_note (self, gpb_test_call (client, request));
    gpb_client_destroy (&client);
    gpb_client_destroy (&other);
    gpb_test_node_stop (&node);
}

//  Each device is named with what it has.
static void
s_reservation_short (gpb_stage_t *self)
{
    gpb_stage_call (self, gpb_request_reserve (GPB_STAGE_MEMORY_SIZE + 1, 0));
    ck_assert_ptr_nonnull (strstr (self->text, "device 0"));
    ck_assert_uint_eq (self->retry_after_ms, 0);
}

//  One that has ended, by its handle for every purpose; and another connection's.
static void
s_reservation_unknown (gpb_stage_t *self)
{
    uint64_t handle = s_reserve (self->client, 4096, 0);
    s_unreserve (self, handle);
    gpb_request_t *rent = gpb_request_rent (64, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE);
    gpb_request_set_reservation (rent, handle);
    gpb_request_t *sleep = gpb_test_sleep (0);
    gpb_request_set_reservation (sleep, handle);
    gpb_client_t *other = gpb_test_client (self->node);
    uint64_t others = s_reserve (other, 4096, 0);
    gpb_request_t *requests [] = { rent,
                                   sleep,
                                   gpb_request_unreserve (handle),
                                   gpb_request_renew (handle, 0),
                                   gpb_request_unreserve (others),
                                   gpb_request_renew (others, 0) };
    for (size_t index = 0; index < sizeof requests / sizeof requests [0]; index++) {
        gpb_stage_call (self, requests [index]);
        ck_assert_msg (self->status == GPB_NOT_FOUND && strstr (self->text, "reservation"),
                       "request %zu: %s: %s", index, gpb_status_name (self->status), self->text);
    }
    gpb_client_destroy (&other);
}

static void
s_reservation_drawn (gpb_stage_t *self)
{
    uint64_t handle = s_reserve (self->client, 4096, 0);
    gpb_request_t *request = gpb_request_rent (4097, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE);
    gpb_request_set_reservation (request, handle);
    gpb_stage_call (self, request);
    s_unreserve (self, handle);
}

static void
s_reservation_device (gpb_stage_t *self)
{
    uint64_t handle = s_reserve (self->client, 4096, 0);
    gpb_request_t *request = gpb_request_rent (64, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE);
    gpb_request_set_reservation (request, handle);
    gpb_request_set_device (request, 1);
    gpb_stage_call (self, request);
    s_unreserve (self, handle);
}

//  All of the device but a little is somebody's: what would fit is refused, and fits afterwards.
static void
s_memory_reserved (gpb_stage_t *self)
{
    uint64_t handle = s_reserve (self->client, GPB_STAGE_MEMORY_SIZE / 4 * 3, 1);
    gpb_request_t *request =
        gpb_request_rent (GPB_STAGE_MEMORY_SIZE / 2, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE);
    gpb_request_set_device (request, 1);
    gpb_stage_call (self, request);
    s_unreserve (self, handle);
    s_release (self, gpb_test_rent (self->client, GPB_STAGE_MEMORY_SIZE / 2, GPB_RENT_DEVICE,
                                    GPB_RENT_READ_WRITE, 1));
}

//  ---------------------------------------------------------------------------------------------------------
//  The table's rows

const gpb_provocation_t gpb_provocations_memory [] = {
    { "handle_unknown", s_handle_unknown, "this connection" },
    { "handle_lost", s_handle_lost, "device 0 was restarted" },
    { "buffer_access", s_buffer_access, "READ_ONLY" },
    { "buffer_range", s_buffer_range, "64 bytes" },
    { "buffer_overlap", s_buffer_overlap, "overlap" },
    { "buffer_devices", s_buffer_devices, "device 1" },
    { "rent_size", s_rent_size, "0" },
    { "rent_limit", s_rent_limit, "65536 of 100000 bytes are rented out" },
    { "rent_limit_client", s_rent_limit_client, "65536 of the 100000 bytes that one may rent" },
    { "reservation_size", s_reservation_size, "0 bytes" },
    { "reservation_count", s_reservation_count, "1 reservations" },
    { "reservation_short", s_reservation_short, "16777217" },
    { "reservation_unknown", s_reservation_unknown, "reservation" },
    { "reservation_drawn", s_reservation_drawn, "4097 bytes are needed: of the 4096" },
    { "reservation_device", s_reservation_device, "reservation of device 0" },
    { "memory_reserved", s_memory_reserved, "available" },
    { "map_process", s_map_process, "process" },
    { "map_kind", s_map_kind, "MAPPED" },
    { "unmap_nothing", s_unmap_nothing, "not mapped" },
    { "mapped_in_use", s_mapped_in_use, "mapped" },
    { NULL, NULL, NULL },
};
