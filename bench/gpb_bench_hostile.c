//  gpb_bench_hostile - what well-behaved clients feel of one that is not
//
//  The node is a process of its own (gpb_actor over tcp on the loopback interface), with the
//  configuration's defaults. Two good clients, a thread each, call vector_add of 1,024 floats, one
//  at a time. In turns, round by round, they are alone, and beside one hostile client, which is one
//  more process (gpb_bench_hostile_client.h says what each does).
//
//  The figure is the p99 of both good clients' round trips beside the hostile one by their p99 when
//  alone, of each pair of rounds, as a median; so much more than 1 is what the hostile one takes
//  from them. It takes processor time from them too, as anything on the same machine does: a last
//  row has a process that only computes in its place, for comparison. "Connections left" counts
//  what the node has not forgotten 2 s after a hostile client was killed, over all rounds.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_bench_hostile_client.h"
#include "gpb_bench_load.h"
#include "gpb_bench_process.h"
#include "gpb_clock.h"
#include "gpb_histogram.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define ROUNDS 5
#define PHASE_NS (600 * GPB_NS_PER_MS)    //  of the good clients, alone and beside
#define GOOD 2                            //  clients
#define COUNT 1024                        //  floats
#define HOSTILE_S 20                      //  a hostile process ends by itself after so long
#define SETTLE_NS (2 * GPB_NS_PER_S)      //  for the node to forget a hostile client
#define CALL_TIMEOUT_MS 10000             //  of a good client's request
#define HIDDEN "--hostile"                //  the option of a hostile process

//  A hostile client's process.
static int
s_be_hostile (const char *name, const char *endpoint)
{
    gpb_bench_hostile_client (name, endpoint, HOSTILE_S * GPB_NS_PER_S);
    _exit (0);    //  what is unsent is nobody's
}

//  ---------------------------------------------------------------------------------------------------------
//  Good clients

typedef struct {
    const char *endpoint;
    uint64_t end_ns;
    gpb_histogram_t round_trips;
} good_t;

//  Runs a phase on GO, until it is destroyed.
static void
s_good (zsock_t *pipe, void *argument)
{
    good_t *self = argument;
    gpb_client_t *client = gpb_bench_client (self->endpoint);
    gpb_client_set_timeout (client, CALL_TIMEOUT_MS, NULL);
    gpb_bench_do (client, gpb_bench_vector_add (2 * COUNT * sizeof (float)));
    zsock_signal (pipe, 0);
    for (;;) {
        char *word = zstr_recv (pipe);
        bool goes = word && streq (word, "GO");
        zstr_free (&word);
        if (!goes)
            break;
        gpb_histogram_reset (&self->round_trips);
        uint64_t now_ns = gpb_clock_ns ();
        while (now_ns < self->end_ns) {
            gpb_bench_do (client, gpb_bench_vector_add (2 * COUNT * sizeof (float)));
            uint64_t end_ns = gpb_clock_ns ();
            gpb_histogram_record (&self->round_trips, end_ns - now_ns);
            now_ns = end_ns;
        }
        zsock_signal (pipe, 0);
    }
    gpb_client_destroy (&client);
}

typedef struct {
    gpb_bench_t bench;
    size_t rounds;
    char endpoint [256];
    gpb_bench_process_t node;
    gpb_client_t *client;    //  asks for the node's figures
    good_t good [GOOD];
    zactor_t *threads [GOOD];
    uint64_t connections;    //  of the node, without a hostile client
    gpb_table_t *table;
    json_t *rows;
} self_t;

//  p50 and p99 of all good clients together.
static void
s_phase (self_t *self, double *p50_ns, double *p99_ns)
{
    static gpb_histogram_t all;
    gpb_histogram_reset (&all);
    uint64_t end_ns = gpb_clock_ns () + PHASE_NS;
    for (size_t index = 0; index < GOOD; index++) {
        self->good [index].end_ns = end_ns;
        zstr_send (self->threads [index], "GO");
    }
    for (size_t index = 0; index < GOOD; index++) {
        zsock_wait (self->threads [index]);
        gpb_histogram_merge (&all, &self->good [index].round_trips);
    }
    *p50_ns = (double) gpb_histogram_percentile (&all, 50);
    *p99_ns = (double) gpb_histogram_percentile (&all, 99);
}

//  How many connections the node has; *busy_p: whether something waits or is in flight.
static uint64_t
s_connections (self_t *self, bool *busy_p)
{
    gpb_reply_t *reply = gpb_bench_call (self->client, gpb_request_stats ());
    const Gpb__V1__StatsReply *stats = gpb_reply_header_peek (reply)->stats;
    uint64_t connections = stats->connections;
    *busy_p = stats->queue_depth > 0 || stats->in_flight > 0;
    gpb_reply_destroy (&reply);
    return connections;
}

//  Until the node has forgotten the hostile client, so that no quiet phase pays for it. What it
//  still has of it after SETTLE_NS is counted, and from then on expected.
static uint64_t
s_settle (self_t *self)
{
    uint64_t end_ns = gpb_clock_ns () + SETTLE_NS;
    bool busy = true;
    uint64_t connections = s_connections (self, &busy);
    while ((busy || connections > self->connections) && gpb_clock_ns () < end_ns) {
        zclock_sleep (10);
        connections = s_connections (self, &busy);
    }
    uint64_t left = connections > self->connections ? connections - self->connections : 0;
    self->connections = connections;
    return left;
}

static void
s_measure (self_t *self, const char *hostile)
{
    double quiet_p50_ns [ROUNDS], quiet_p99_ns [ROUNDS], p50_ns [ROUNDS], p99_ns [ROUNDS];
    uint64_t left = 0;
    for (size_t round = 0; round < self->rounds; round++) {
        s_phase (self, &quiet_p50_ns [round], &quiet_p99_ns [round]);
        gpb_bench_process_t process;
        const char *const arguments [] = { NULL, HIDDEN, hostile, self->endpoint, NULL };
        char line [64];
        gpb_bench_process_start (&process, arguments);
        if (!gpb_bench_process_line (&process, line, sizeof line))
            gpb_bench_fail ("the client that %s does not begin", hostile);
        s_phase (self, &p50_ns [round], &p99_ns [round]);
        gpb_bench_process_end (&process, SIGKILL);
        left += s_settle (self);
    }
    double ratio = gpb_bench_ratio (p99_ns, quiet_p99_ns, self->rounds);
    double p50_ratio = gpb_bench_ratio (p50_ns, quiet_p50_ns, self->rounds);
    double figures [] = { gpb_bench_median (quiet_p50_ns, self->rounds),
                          gpb_bench_median (quiet_p99_ns, self->rounds),
                          gpb_bench_median (p50_ns, self->rounds),
                          gpb_bench_median (p99_ns, self->rounds) };
    gpb_table_add (self->table, "%s", hostile);
    for (size_t figure = 0; figure < 4; figure++) {
        char text [GPB_FIGURE_SIZE];
        gpb_table_add (self->table, "%s", gpb_table_time ((uint64_t) figures [figure], text));
    }
    gpb_table_add (self->table, "%.2f", p50_ratio);
    gpb_table_add (self->table, "%.2f", ratio);
    gpb_table_add (self->table, "%" PRIu64, left);
    json_array_append_new (self->rows,
                           json_pack ("{s:s, s:f, s:f, s:f, s:f, s:f, s:f, s:I}", "hostile",
                                      hostile, "quiet_p50_ns", figures [0], "quiet_p99_ns",
                                      figures [1], "p50_ns", figures [2], "p99_ns", figures [3],
                                      "p50_ratio", p50_ratio, "p99_ratio", ratio,
                                      "connections_left", (json_int_t) left));
}

int
main (int argc, char **argv)
{
    if (argc == 4 && streq (argv [1], HIDDEN))
        return s_be_hostile (argv [2], argv [3]);
    static self_t self;
    gpb_bench_begin (&self.bench, argc, argv);
    self.rounds = gpb_bench_rounds (&self.bench, ROUNDS);
    const char *const settings [] = { NULL };
    gpb_bench_process_node (&self.node, settings, self.endpoint, sizeof self.endpoint);
    self.client = gpb_bench_client (self.endpoint);
    gpb_bench_device (&self.bench, self.client);
    for (size_t index = 0; index < GOOD; index++) {
        self.good [index].endpoint = self.endpoint;
        self.threads [index] = zactor_new (s_good, &self.good [index]);
    }
    bool busy;
    self.connections = s_connections (&self, &busy);
    self.table = gpb_table_new ("HOSTILE >QUIET-P50 >QUIET-P99 >P50 >P99 >P50/QUIET >P99/QUIET "
                                ">CONNECTIONS-LEFT");
    self.rows = json_array ();
    if (!self.table || !self.rows)
        gpb_bench_fail ("no memory for the table");
    for (const char *const *name = gpb_bench_hostile_clients; *name; name++)
        s_measure (&self, *name);
    for (size_t index = 0; index < GOOD; index++)
        zactor_destroy (&self.threads [index]);
    gpb_client_destroy (&self.client);
    gpb_bench_process_end (&self.node, SIGTERM);
    gpb_bench_print (&self.bench, "hostile", &self.table, self.rows);
    return 0;
}
