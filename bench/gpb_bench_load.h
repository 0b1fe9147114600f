//  gpb_bench_load - one kind of request, so many of it in flight for so long, through one system
//
//  The systems: a gpb_client; a plain DEALER that sends requests to a node which were packed before
//  (what the client's own work costs is the difference); and a plain DEALER that sends the same
//  bytes to an echo (gpb_bench_echo.h). Payloads of GPB_BENCH_IN_PLACE bytes and more are sent in
//  place by all of them, smaller ones are copied by all of them.
//
//  Latencies run from before a request is made to when its reply is in hand. A figure's rate counts
//  until the last reply. One thread for each socket; any number of threads.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_BENCH_LOAD_H_INCLUDED
#define GPB_BENCH_LOAD_H_INCLUDED

#include "gpb_bench.h"

#define GPB_BENCH_DEPTH_MAX 1024    //  in flight
#define GPB_BENCH_IN_PLACE 65536    //  bytes: what libzmq copies faster than it shares is below

typedef struct {
    double p50_ns, p99_ns;
    double rate;    //  answers a second
} gpb_bench_figure_t;

typedef struct gpb_bench_work {
    const char *name;
    size_t size;    //  bytes of its payloads
    gpb_request_t *(*request) (size_t size);
    zmsg_t *sent, *answered;    //  recorded: all frames from the delimiter on
} gpb_bench_work_t;

//  What the benchmarks ask for. size is in bytes: of hello 0, of noop its one input, of vector_add
//  both inputs.
gpb_request_t *gpb_bench_hello (size_t size);
gpb_request_t *gpb_bench_noop (size_t size);
gpb_request_t *gpb_bench_vector_add (size_t size);
#define GPB_BENCH_SIZE_MAX ((size_t) 64 << 20)    //  bytes, the most that they take

//  The memory that all inputs are, aligned to 128 bytes: GPB_BENCH_SIZE_MAX of it, never freed.
unsigned char *gpb_bench_input (void);

//  Packs a request, shows it to the node, and keeps the frames of both ways.
void gpb_bench_record (gpb_bench_work_t *work, const char *endpoint);
void gpb_bench_forget (gpb_bench_work_t *work);

void gpb_bench_run_client (gpb_client_t *client, const gpb_bench_work_t *work, size_t depth,
                           uint64_t duration_ns, gpb_bench_figure_t *figure);
void gpb_bench_run_packed (void *socket, const gpb_bench_work_t *work, size_t depth,
                           uint64_t duration_ns, gpb_bench_figure_t *figure);
void gpb_bench_run_echo (void *socket, const gpb_bench_work_t *work, size_t depth,
                         uint64_t duration_ns, gpb_bench_figure_t *figure);

//  Sends the recorded request under another id, from GPB_BENCH_FIRST_ID on.
#define GPB_BENCH_FIRST_ID (1ULL << 28)    //  from here to 2^35 an id takes five bytes
void gpb_bench_send_packed (void *socket, const gpb_bench_work_t *work, uint64_t id);

#endif
