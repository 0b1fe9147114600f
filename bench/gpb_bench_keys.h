//  gpb_bench_keys - CURVE for a benchmark's node and its clients
//
//  Key pairs of a node and of a client, in a folder of their own that goes with them. What they
//  cost is the difference between two runs of a benchmark, with --curve and without.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_BENCH_KEYS_H_INCLUDED
#define GPB_BENCH_KEYS_H_INCLUDED

#include "gpb_bench.h"

//  A structure of zeros is none: then nothing here changes anything.
typedef struct {
    char folder [32];
    gpb_certificate_t *node, *client;
} gpb_bench_keys_t;

void gpb_bench_keys_make (gpb_bench_keys_t *self);
void gpb_bench_keys_remove (gpb_bench_keys_t *self);

//  A node of its own that asks for them over tcp, with what else config says (changed; NULL: the
//  defaults), and its clients: the library's, and a DEALER without high-water marks.
zactor_t *gpb_bench_keys_node (const gpb_bench_keys_t *self, gpb_config_t *config);
gpb_client_t *gpb_bench_keys_client (const gpb_bench_keys_t *self, const char *endpoint);
zsock_t *gpb_bench_keys_dealer (const gpb_bench_keys_t *self, const char *endpoint);

#endif
