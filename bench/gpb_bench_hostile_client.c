//  gpb_bench_hostile_client - clients that do a node harm
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_bench_hostile_client.h"

#include "gpb_bench_echo.h"
#include "gpb_bench_load.h"
#include "gpb_bench_process.h"
#include "gpb_clock.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define COUNT 1024    //  floats
#define GARBAGE_SIZE 4096

static uint64_t s_end_ns;

static bool
s_goes_on (void)
{
    return gpb_clock_ns () < s_end_ns;
}

static void
s_begun (void)
{
    puts ("begun");
    fflush (stdout);
}

static void
s_sleep_ns (uint64_t ns)
{
    const struct timespec pause = { (time_t) (ns / GPB_NS_PER_S), (long) (ns % GPB_NS_PER_S) };
    nanosleep (&pause, NULL);
}

static gpb_bench_work_t
s_work (gpb_request_t *(*request) (size_t), const char *endpoint)
{
    gpb_bench_work_t work = { .name = "hostile",
                              .size = request == gpb_bench_hello ? 0 : 2 * COUNT * sizeof (float),
                              .request = request };
    gpb_bench_record (&work, endpoint);
    return work;
}

static void
s_stops_reading (const char *endpoint)
{
    gpb_bench_work_t work = s_work (gpb_bench_vector_add, endpoint);
    zsock_t *socket = zsock_new (ZMQ_DEALER);
    zsock_set_rcvhwm (socket, 1);
    zsock_set_rcvbuf (socket, 4096);
    if (zsock_connect (socket, "%s", endpoint) == -1)
        gpb_bench_fail ("no connection");
    s_begun ();
    for (uint64_t id = GPB_BENCH_FIRST_ID; s_goes_on (); id++) {
        gpb_bench_send_packed (zsock_resolve (socket), &work, id);
        s_sleep_ns (GPB_NS_PER_MS / 2);
    }
}

//  libzmq's own high-water mark bounds what this process holds: it then waits for the node.
static void
s_flood (const char *endpoint, gpb_request_t *(*request) (size_t))
{
    gpb_bench_work_t work = s_work (request, endpoint);
    zsock_t *socket = zsock_new_dealer (endpoint);
    if (!socket)
        gpb_bench_fail ("no connection");
    void *handle = zsock_resolve (socket);
    s_begun ();
    for (uint64_t id = GPB_BENCH_FIRST_ID; s_goes_on (); id++) {
        gpb_bench_send_packed (handle, &work, id);
        while (gpb_bench_echo_drop (handle, ZMQ_DONTWAIT))
            continue;
    }
}

static void
s_floods_execute (const char *endpoint)
{
    s_flood (endpoint, gpb_bench_vector_add);
}

static void
s_floods_pings (const char *endpoint)
{
    s_flood (endpoint, gpb_bench_hello);
}

static void
s_byte_a_second (const char *endpoint)
{
    static const unsigned char greeting [] = { 0xFF, 0, 0, 0, 0, 0, 0, 0, 1, 0x7F, 3 };
    int fd = gpb_bench_raw_connect (endpoint);
    s_begun ();
    for (size_t at = 0; s_goes_on (); at++) {
        if (at < sizeof greeting && send (fd, &greeting [at], 1, MSG_NOSIGNAL) != 1)
            fd = gpb_bench_raw_connect (endpoint);
        s_sleep_ns (GPB_NS_PER_S);
    }
}

static void
s_garbage_bytes (const char *endpoint)
{
    unsigned char bytes [GARBAGE_SIZE];
    s_begun ();
    for (uint64_t count = 0; s_goes_on (); count++) {
        for (size_t index = 0; index < sizeof bytes; index++)
            bytes [index] = (unsigned char) random ();
        //  Every other one looks like ZMTP for as long as its signature.
        if (count % 2)
            memcpy (bytes, "\xFF\0\0\0\0\0\0\0\1\x7F\3", 11);
        int fd = gpb_bench_raw_connect (endpoint);
        if (fd < 0)
            continue;
        send (fd, bytes, sizeof bytes, MSG_NOSIGNAL);
        close (fd);
        s_sleep_ns (GPB_NS_PER_MS);
    }
}

static void
s_garbage_frames (const char *endpoint)
{
    unsigned char bytes [GARBAGE_SIZE];
    zsock_t *socket = zsock_new_dealer (endpoint);
    if (!socket)
        gpb_bench_fail ("no connection");
    void *handle = zsock_resolve (socket);
    s_begun ();
    while (s_goes_on ()) {
        for (size_t index = 0; index < sizeof bytes; index++)
            bytes [index] = (unsigned char) random ();
        zmq_send (handle, "", 0, ZMQ_SNDMORE);
        zmq_send (handle, bytes, (size_t) random () % sizeof bytes, 0);
        while (gpb_bench_echo_drop (handle, ZMQ_DONTWAIT))
            continue;
    }
}

static void
s_computes (const char *endpoint)
{
    (void) endpoint;
    s_begun ();
    while (s_goes_on ())
        continue;
}

static const struct {
    const char *name;
    void (*run) (const char *endpoint);
} s_clients [] = {
    { "stops reading", s_stops_reading }, { "floods execute", s_floods_execute },
    { "floods pings", s_floods_pings },   { "a byte a second", s_byte_a_second },
    { "garbage", s_garbage_bytes },       { "garbage frames", s_garbage_frames },
    { "(only computes)", s_computes },
};

const char *const gpb_bench_hostile_clients [] = { "stops reading",   "floods execute",
                                                   "floods pings",    "a byte a second",
                                                   "garbage",         "garbage frames",
                                                   "(only computes)", NULL };

void
gpb_bench_hostile_client (const char *name, const char *endpoint, uint64_t duration_ns)
{
    s_end_ns = gpb_clock_ns () + duration_ns;
    for (size_t index = 0; index < sizeof s_clients / sizeof s_clients [0]; index++)
        if (streq (s_clients [index].name, name))
            s_clients [index].run (endpoint);
}
