//  gpb_bench_process - other programs: a node by itself, and the bench program's own helpers
//
//  A process is started with its standard output as a pipe to us, which we read line by line, and
//  with no other descriptor of ours. It dies with us, whatever becomes of us. A node is the
//  gpb_actor program of the build tree, on a free port of the loopback interface.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_BENCH_PROCESS_H_INCLUDED
#define GPB_BENCH_PROCESS_H_INCLUDED

#include "gpb_bench.h"

#include <sys/types.h>

typedef struct {
    pid_t pid;       //  0: there is none
    FILE *output;    //  its standard output
} gpb_bench_process_t;

//  arguments ends in NULL; the first is the program's path, NULL there: this program's own.
void gpb_bench_process_start (gpb_bench_process_t *self, const char *const *arguments);

//  The next line without its end, in text; false at the end of the output. Waits for it.
bool gpb_bench_process_line (gpb_bench_process_t *self, char *text, size_t size);

//  Sends the signal (0: none), waits for the end, and gives the exit status; -1 where a signal
//  ended it. Harmless where there is no process.
int gpb_bench_process_end (gpb_bench_process_t *self, int signal);

//  Whether it has ended by itself; *status_p as gpb_bench_process_end gives it, and it is gone.
bool gpb_bench_process_ended (gpb_bench_process_t *self, int *status_p);

//  gpb_actor over tcp; endpoint gets what it is bound to. --set for each of settings ("KEY=VALUE"),
//  which ends in NULL.
void gpb_bench_process_node (gpb_bench_process_t *self, const char *const *settings, char *endpoint,
                             size_t endpoint_size);

//  What the process has in physical memory, in bytes; its open descriptors. 0 where it is gone.
uint64_t gpb_bench_process_memory (const gpb_bench_process_t *self);
uint64_t gpb_bench_process_descriptors (const gpb_bench_process_t *self);

//  Its children, such as a node's devices with isolation = process; how many it has, of which the
//  first `most` are in children. As they are found: one may have ended since.
size_t gpb_bench_process_children (const gpb_bench_process_t *self, pid_t *children, size_t most);

//  The address of a tcp endpoint, for a raw socket: connected, or -1.
int gpb_bench_raw_connect (const char *endpoint);

#endif
