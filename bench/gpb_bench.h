//  gpb_bench - what the benchmarks share: a node of their own, medians, and how they print
//
//  A benchmark is a program of one thread beside those of the node that it composes. It prints a
//  table, or with --json the same as one object, and always the device and how busy the machine was
//  before and after. What fails ends the program with a sentence and 1: a figure is measured or it
//  is not there.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_BENCH_H_INCLUDED
#define GPB_BENCH_H_INCLUDED

#include "gpb.h"
#include "gpb.pb-c.h"
#include "gpb_table.h"

#include <jansson.h>

//  The device's names are copied: they outlive the reply.
typedef struct {
    bool json;
    bool quick;            //  a third of the rounds, for a look: figures are coarser
    const char *save;      //  a file that gets the JSON object too; NULL: none
    double load_before;    //  of the last minute: threads that want to run
    char device [256];     //  for people: name, backend, driver
    char device_name [128];
    uint64_t max_work_group_size;
} gpb_bench_t;

//  An option of one program alone, --name N, or as a switch --name, which sets 1.
typedef struct {
    const char *name;    //  without the dashes; NULL ends a list
    uint64_t *value;
    bool is_switch;
} gpb_bench_number_t;

//  Writes a sentence to stderr and exits with 1.
void gpb_bench_fail (const char *format, ...) GPB_PRINTF (1, 2) __attribute__ ((noreturn));

//  Reads the command line, which has --json, --quick and --save FILE; 2 and a line on how to use it
//  for anything else. The second takes more options (numbers; borrowed for the call).
void gpb_bench_begin (gpb_bench_t *self, int argc, char **argv);
void gpb_bench_begin_with (gpb_bench_t *self, int argc, char **argv,
                           const gpb_bench_number_t *numbers);

//  Rounds of a benchmark that usually has so many; at least 1.
size_t gpb_bench_rounds (const gpb_bench_t *self, size_t usual);

//  A node of its own; the second one with a key of its configuration set. bind gives it one more
//  endpoint and returns what it is bound to, to be freed with zstr_free.
zactor_t *gpb_bench_node (void);
zactor_t *gpb_bench_node_with (const char *key, const char *value);
char *gpb_bench_bind (zactor_t *node, const char *endpoint);
gpb_client_t *gpb_bench_client (const char *endpoint);

//  Fills in the first device of the node.
void gpb_bench_device (gpb_bench_t *self, gpb_client_t *client);

//  Calls, and fails where the answer is not OK.
gpb_reply_t *gpb_bench_call (gpb_client_t *client, gpb_request_t *request);

//  The same where nobody wants the reply.
void gpb_bench_do (gpb_client_t *client, gpb_request_t *request);

//  The middle value; the values are sorted. 0 where there are none.
double gpb_bench_median (double *values, size_t count);

//  The median of the rounds' ratios; the values stay in their order. At most GPB_BENCH_ROUNDS_MAX.
#define GPB_BENCH_ROUNDS_MAX 64
double gpb_bench_ratio (const double *above, const double *below, size_t count);

//  Prints the table, or the rows as JSON, and takes both.
void gpb_bench_print (const gpb_bench_t *self, const char *name, gpb_table_t **table_p,
                      json_t *rows);

#endif
