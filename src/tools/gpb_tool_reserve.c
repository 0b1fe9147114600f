//  gpb_tool_reserve - `gpb reserve`: sets memory of a device aside, for as long as it runs
//
//  A reservation ends with its connection, so this holds it: prints what it got, and stays, until a
//  signal comes or --for is over. Then it gives the memory back and exits 0. It renews at a third
//  of what it got, so that two tries may fail, and every 5 s at the latest, since a node that was
//  lost took the reservation with it: whoever relies on it should know (exit 1).
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_clock.h"
#include "gpb_tool.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define RENEW_MAX_MS 5000
#define GRACE_MS 1000    //  renewed for this much over the end: a late renewal is not a loss

typedef struct {
    const gpb_arguments_t *arguments;
    gpb_client_t *client;
    uint64_t handle;
    uint64_t end_ns;    //  when --for is over; UINT64_MAX: never
    uint32_t for_ms;    //  what the node gave last
} s_reserve_t;

//  Prints what was got. Returns the exit status.
static int
s_print (const s_reserve_t *self, const Gpb__V1__ReserveReply *reserve)
{
    char handle [24], expires [32], figure [GPB_FIGURE_SIZE];
    snprintf (handle, sizeof handle, "0x%016" PRIx64, reserve->handle);
    time_t at = time (NULL) + (time_t) (reserve->for_ms / 1000);
    struct tm when;
    if (!gmtime_r (&at, &when) || !strftime (expires, sizeof expires, "%FT%TZ", &when))
        expires [0] = 0;
    if (self->arguments->json)
        return gpb_json_print (json_pack ("{s:s, s:I, s:I, s:I, s:s}", "handle", handle, "device",
                                          (json_int_t) reserve->device, "memory",
                                          (json_int_t) reserve->memory, "for_ms",
                                          (json_int_t) reserve->for_ms, "expires", expires));
    gpb_table_t *table = gpb_table_new ("HANDLE >DEVICE >MEMORY >FOR EXPIRES-UNLESS-RENEWED");
    if (table) {
        gpb_table_add (table, "%s", handle);
        gpb_table_add (table, "%" PRIu32, reserve->device);
        gpb_table_add (table, "%s", gpb_table_size (reserve->memory, figure));
        gpb_table_add (table, "%s", gpb_table_time (reserve->for_ms * GPB_NS_PER_MS, figure));
        gpb_table_add (table, "%s", expires);
    }
    return gpb_tool_print_table (table);
}

//  How long to ask for: what is left of --for, else the node's longest.
static uint32_t
s_left_ms (const s_reserve_t *self, uint64_t now_ns)
{
    if (self->end_ns == UINT64_MAX)
        return 0;
    uint64_t left_ms = (self->end_ns - now_ns + GPB_NS_PER_MS - 1) / GPB_NS_PER_MS;
    return left_ms < UINT32_MAX ? (uint32_t) left_ms : UINT32_MAX;
}

//  False: the reservation is lost, and the reason is printed. A signal is no reason.
static bool
s_renew (s_reserve_t *self)
{
    gpb_error_t error;
    uint32_t left_ms = s_left_ms (self, gpb_clock_ns ());
    uint32_t for_ms = left_ms && left_ms < UINT32_MAX - GRACE_MS ? left_ms + GRACE_MS : left_ms;
    gpb_request_t *request = gpb_request_renew (self->handle, for_ms);
    gpb_reply_t *reply = gpb_client_call (self->client, &request, &error);
    if (reply && gpb_reply_status (reply) != GPB_OK)
        gpb_error_set (&error, gpb_reply_status (reply), "%s", gpb_reply_message (reply));
    bool good = reply && gpb_reply_status (reply) == GPB_OK;
    const Gpb__V1__Reply *header = good ? gpb_reply_header_peek (reply) : NULL;
    if (good && header->body_case == GPB__V1__REPLY__BODY_RENEW)
        self->for_ms = header->renew->for_ms;
    gpb_reply_destroy (&reply);
    if (good || gpb_tool_interrupted ())
        return true;
    gpb_error_prefix (&error, "the reservation is lost: ");
    gpb_tool_fail (&error);
    return false;
}

//  Until a signal, or the end of --for. False: it was lost before.
static bool
s_hold (s_reserve_t *self)
{
    for (;;) {
        uint64_t wait_ms = self->for_ms / 3 < RENEW_MAX_MS ? self->for_ms / 3 : RENEW_MAX_MS;
        uint64_t next_ns = gpb_clock_ns () + wait_ms * GPB_NS_PER_MS;
        gpb_tool_wait_until (next_ns < self->end_ns ? next_ns : self->end_ns);
        if (gpb_tool_interrupted () || gpb_clock_ns () >= self->end_ns)
            return true;
        if (!s_renew (self))
            return false;
    }
}

int
gpb_tool_reserve (const gpb_arguments_t *arguments)
{
    s_reserve_t self = { .arguments = arguments, .end_ns = UINT64_MAX };
    self.client = gpb_tool_connect (arguments);
    if (!self.client)
        return GPB_EXIT_FAILED;
    gpb_request_t *request = gpb_request_reserve (arguments->memory, arguments->for_ms);
    if (arguments->has_device)
        gpb_request_set_device (request, arguments->device);
    for (size_t index = 0; index < arguments->require_count; index++)
        gpb_request_require (request, arguments->require [index]);

    int result = GPB_EXIT_FAILED;
    gpb_reply_t *reply = gpb_tool_call (self.client, request);
    const Gpb__V1__Reply *header = reply ? gpb_reply_header_peek (reply) : NULL;
    if (header && header->body_case != GPB__V1__REPLY__BODY_RESERVE)
        fprintf (stderr, "gpb: the node's answer is to another question\n");
    else if (header) {
        self.handle = header->reserve->handle;
        self.for_ms = header->reserve->for_ms;
        if (arguments->for_ms)
            self.end_ns = gpb_clock_ns () + arguments->for_ms * GPB_NS_PER_MS;
        result = s_print (&self, header->reserve);
        if (result == GPB_EXIT_OK && !s_hold (&self))
            result = GPB_EXIT_FAILED;
        else {
            //  A node that does not answer any more gives it back by itself.
            request = gpb_request_unreserve (self.handle);
            gpb_reply_t *done = gpb_client_call (self.client, &request, NULL);
            gpb_reply_destroy (&done);
        }
    }
    gpb_reply_destroy (&reply);
    gpb_client_destroy (&self.client);
    return result;
}
