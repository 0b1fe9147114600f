//  gpb_bench_node - what a node costs beside plain libzmq that moves the same bytes
//
//  Two requests: hello, which the broker answers itself, and vector_add of 1,024 floats, which goes
//  on to a device. Each with 1, 64 and 1,024 in flight, over inproc, ipc and tcp, on a node that is
//  composed in this process, and from one client of one thread. The frames of one request and its
//  reply are recorded first; a plain DEALER then sends the same frames, as often, to a thread that
//  answers with the recorded ones, in one hop and in two (a broker's thread between), all with the
//  library's defaults but for high-water marks. Plain libzmq looks at nothing and computes nothing.
//
//  All of one row runs in turn, in several rounds, so that what disturbs the machine disturbs all.
//  Figures are medians of the rounds' figures, and a ratio is the median of the rounds' ratios. The
//  table has plain libzmq as ratios (the node's figure by its), --json its figures too.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_bench_echo.h"
#include "gpb_clock.h"
#include "gpb_histogram.h"

#include <stdlib.h>
#include <unistd.h>

#define ROUNDS 7
#define CELL_NS (100 * GPB_NS_PER_MS)    //  of one system in one round
#define DEPTH_MAX 1024
#define COUNT 1024    //  floats

typedef enum { GPB, ONE_HOP, TWO_HOPS, SYSTEMS } system_t;

static const char *const s_transports [GPB_BENCH_ENDPOINTS] = { "inproc", "ipc", "tcp" };
static const size_t s_depths [] = { 1, 64, DEPTH_MAX };

static float s_a [COUNT], s_b [COUNT];

//  Of one system in all rounds.
typedef struct {
    double p50_ns [ROUNDS], p99_ns [ROUNDS], rate [ROUNDS];    //  rate: answers a second
} figures_t;

typedef struct {
    const char *name;
    gpb_request_t *(*request) (void);
    zmsg_t *sent, *answered;    //  recorded: all frames from the delimiter on
} work_t;

static gpb_request_t *
s_hello (void)
{
    return gpb_request_hello ();
}

static gpb_request_t *
s_vector_add (void)
{
    gpb_request_t *request = gpb_request_execute ("vector_add");
    gpb_request_in (request, s_a, sizeof s_a);
    gpb_request_in (request, s_b, sizeof s_b);
    gpb_request_out (request, 0);
    gpb_request_i32 (request, COUNT);
    return request;
}

//  ---------------------------------------------------------------------------------------------------------
//  What goes over the wire

//  Takes a request where a node would, and shows it to the node.
static void
s_record (work_t *work, const char *endpoint)
{
    zsock_t *router = zsock_new (ZMQ_ROUTER);
    zsock_t *dealer = zsock_new (ZMQ_DEALER);
    if (!router || !dealer || zsock_bind (router, "inproc://bench-record") == -1
        || zsock_connect (dealer, "%s", endpoint) == -1)
        gpb_bench_fail ("no sockets to record with");
    gpb_error_t error = { GPB_OK, "" };
    gpb_client_t *client = gpb_bench_client ("inproc://bench-record");
    gpb_request_t *request = work->request ();
    if (!gpb_client_send (client, &request, &error))
        gpb_bench_fail ("%s", error.text);
    work->sent = zmsg_recv (router);
    zframe_t *identity = work->sent ? zmsg_pop (work->sent) : NULL;
    zframe_destroy (&identity);
    zmsg_t *copy = zmsg_dup (work->sent);
    if (!copy || zmsg_send (&copy, dealer) == -1)
        gpb_bench_fail ("%s cannot be recorded", work->name);
    work->answered = zmsg_recv (dealer);
    if (!work->answered)
        gpb_bench_fail ("no answer to %s", work->name);
    gpb_client_destroy (&client);
    zsock_destroy (&router);
    zsock_destroy (&dealer);
}

//  ---------------------------------------------------------------------------------------------------------
//  One cell: so many in flight for CELL_NS

static void
s_store (figures_t *figures, size_t round, const gpb_histogram_t *histogram, uint64_t start_ns)
{
    double seconds = (double) (gpb_clock_ns () - start_ns) / 1e9;
    figures->p50_ns [round] = (double) gpb_histogram_percentile (histogram, 50);
    figures->p99_ns [round] = (double) gpb_histogram_percentile (histogram, 99);
    figures->rate [round] = (double) histogram->count / seconds;
}

//  When a request was sent, by its id; ids count up, so that as many as are in flight, and all that
//  overtake them, are far apart.
#define IDS 65536

static void
s_send (gpb_client_t *client, const work_t *work, uint64_t *sent_ns)
{
    gpb_error_t error = { GPB_OK, "" };
    uint64_t now_ns = gpb_clock_ns ();
    gpb_request_t *request = work->request ();
    uint64_t id = gpb_client_send (client, &request, &error);
    if (!id)
        gpb_bench_fail ("%s: %s", work->name, error.text);
    sent_ns [id % IDS] = now_ns;
}

//  The application's view: from before a request is made to when its reply is handed over.
static void
s_run_gpb (gpb_client_t *client, const work_t *work, size_t depth, figures_t *figures, size_t round)
{
    static gpb_histogram_t histogram;
    static uint64_t sent_ns [IDS];
    gpb_histogram_reset (&histogram);
    uint64_t start_ns = gpb_clock_ns (), sent = 0, received = 0;
    for (; sent < depth; sent++)
        s_send (client, work, sent_ns);
    while (received < sent) {
        gpb_reply_t *reply = gpb_client_recv (client, -1);
        if (!reply)
            gpb_bench_fail ("%s: interrupted", work->name);
        if (gpb_reply_status (reply) != GPB_OK)
            gpb_bench_fail ("%s: %s", work->name, gpb_reply_message (reply));
        uint64_t now_ns = gpb_clock_ns ();
        gpb_histogram_record (&histogram, now_ns - sent_ns [gpb_reply_id (reply) % IDS]);
        gpb_reply_destroy (&reply);
        received++;
        if (now_ns - start_ns < CELL_NS) {
            s_send (client, work, sent_ns);
            sent++;
        }
    }
    s_store (figures, round, &histogram, start_ns);
}

//  Answers come in the order of the requests, so that the oldest time is the next answer's.
static void
s_run_plain (void *socket, const work_t *work, size_t depth, figures_t *figures, size_t round)
{
    static gpb_histogram_t histogram;
    static uint64_t sent_ns [DEPTH_MAX];
    gpb_histogram_reset (&histogram);
    uint64_t start_ns = gpb_clock_ns (), sent = 0, received = 0;
    for (; sent < depth; sent++) {
        sent_ns [sent % DEPTH_MAX] = gpb_clock_ns ();
        gpb_bench_echo_send (socket, work->sent);
    }
    while (received < sent) {
        if (!gpb_bench_echo_drop (socket, 0))
            gpb_bench_fail ("plain %s: interrupted", work->name);
        uint64_t now_ns = gpb_clock_ns ();
        gpb_histogram_record (&histogram, now_ns - sent_ns [received++ % DEPTH_MAX]);
        if (now_ns - start_ns < CELL_NS) {
            sent_ns [sent++ % DEPTH_MAX] = now_ns;
            gpb_bench_echo_send (socket, work->sent);
        }
    }
    s_store (figures, round, &histogram, start_ns);
}

//  ---------------------------------------------------------------------------------------------------------
//  Rows

static double
s_ratio (const double *above, const double *below)
{
    double ratios [ROUNDS];
    for (size_t round = 0; round < ROUNDS; round++)
        ratios [round] = above [round] / below [round];
    return gpb_bench_median (ratios, ROUNDS);
}

static void
s_add_row (gpb_table_t *table, json_t *rows, const work_t *work, const char *transport,
           size_t depth, figures_t figures [SYSTEMS])
{
    static const char *const names [SYSTEMS] = { "gpb", "one_hop", "two_hops" };
    gpb_table_add (table, "%s", work->name);
    gpb_table_add (table, "%s", transport);
    gpb_table_add (table, "%zu", depth);
    json_t *row = json_pack ("{s:s, s:s, s:I}", "request", work->name, "transport", transport,
                             "in_flight", (json_int_t) depth);
    //  Ratios first: a median sorts its values, and rounds are no longer beside one another.
    double ratios [SYSTEMS][3];
    for (system_t system = ONE_HOP; system < SYSTEMS; system++) {
        ratios [system][0] = s_ratio (figures [GPB].p50_ns, figures [system].p50_ns);
        ratios [system][1] = s_ratio (figures [GPB].p99_ns, figures [system].p99_ns);
        ratios [system][2] = s_ratio (figures [GPB].rate, figures [system].rate);
    }
    for (system_t system = GPB; system < SYSTEMS; system++) {
        double p50_ns = gpb_bench_median (figures [system].p50_ns, ROUNDS);
        double p99_ns = gpb_bench_median (figures [system].p99_ns, ROUNDS);
        double rate = gpb_bench_median (figures [system].rate, ROUNDS);
        json_t *object =
            json_pack ("{s:f, s:f, s:f}", "p50_ns", p50_ns, "p99_ns", p99_ns, "per_second", rate);
        if (system == GPB) {
            char text [GPB_FIGURE_SIZE];
            gpb_table_add (table, "%s", gpb_table_time ((uint64_t) p50_ns, text));
            gpb_table_add (table, "%s", gpb_table_time ((uint64_t) p99_ns, text));
            gpb_table_add (table, "%.0f", rate);
        }
        else {
            static const char *const keys [] = { "p50_ratio", "p99_ratio", "per_second_ratio" };
            for (size_t figure = 0; figure < 3; figure++) {
                gpb_table_add (table, "%.2f", ratios [system][figure]);
                json_object_set_new (object, keys [figure], json_real (ratios [system][figure]));
            }
        }
        json_object_set_new (row, names [system], object);
    }
    json_array_append_new (rows, row);
}

static void
s_measure (gpb_client_t *clients [], zsock_t *plain [SYSTEMS][GPB_BENCH_ENDPOINTS],
           const work_t *work, gpb_table_t *table, json_t *rows)
{
    static figures_t figures [SYSTEMS];
    for (size_t via = 0; via < GPB_BENCH_ENDPOINTS; via++)
        for (size_t at = 0; at < sizeof s_depths / sizeof s_depths [0]; at++) {
            for (size_t round = 0; round < ROUNDS; round++)
                for (system_t turn = 0; turn < SYSTEMS; turn++) {
                    system_t system = (turn + round) % SYSTEMS;
                    if (system == GPB)
                        s_run_gpb (clients [via], work, s_depths [at], &figures [GPB], round);
                    else
                        s_run_plain (zsock_resolve (plain [system][via]), work, s_depths [at],
                                     &figures [system], round);
                }
            s_add_row (table, rows, work, s_transports [via], s_depths [at], figures);
        }
}

//  ---------------------------------------------------------------------------------------------------------
//  Plain libzmq for one kind of request

typedef struct {
    gpb_bench_echo_t echo;
    char inproc [64], ipc [128];
    zactor_t *broker, *worker;
} plain_t;

static void
s_start_plain (plain_t *self, unsigned hops, zmsg_t *reply, const char *folder, zsock_t **clients)
{
    memset (self, 0, sizeof *self);
    self->echo.hops = hops;
    self->echo.reply = reply;
    snprintf (self->inproc, sizeof self->inproc, "inproc://bench-plain-%u", hops);
    snprintf (self->ipc, sizeof self->ipc, "ipc://%.64s/plain-%u", folder, hops);
    snprintf (self->echo.inner, sizeof self->echo.inner, "inproc://bench-inner-%u", hops);
    self->echo.binds [0] = self->inproc;
    self->echo.binds [1] = self->ipc;
    self->echo.binds [2] = "tcp://127.0.0.1:*";
    if (hops == 2)
        self->worker = zactor_new (gpb_bench_echo_worker, &self->echo);
    self->broker = zactor_new (gpb_bench_echo_actor, &self->echo);
    for (size_t via = 0; via < GPB_BENCH_ENDPOINTS; via++) {
        clients [via] = zsock_new (ZMQ_DEALER);
        if (!clients [via])
            gpb_bench_fail ("no socket");
        zsock_set_unbounded (clients [via]);
        if (zsock_connect (clients [via], "%s", self->echo.bound [via]) == -1)
            gpb_bench_fail ("%s cannot be connected to", self->echo.bound [via]);
    }
}

static void
s_stop_plain (plain_t *self, zsock_t **clients)
{
    for (size_t via = 0; via < GPB_BENCH_ENDPOINTS; via++)
        zsock_destroy (&clients [via]);
    zactor_destroy (&self->broker);
    zactor_destroy (&self->worker);
}

int
main (int argc, char **argv)
{
    gpb_bench_t bench;
    gpb_bench_begin (&bench, argc, argv);
    char folder [] = "/tmp/gpb_bench_XXXXXX";
    if (!mkdtemp (folder))
        gpb_bench_fail ("no folder in /tmp");
    char ipc [128];
    snprintf (ipc, sizeof ipc, "ipc://%s/node", folder);
    const char *const binds [GPB_BENCH_ENDPOINTS] = { "inproc://bench", ipc, "tcp://127.0.0.1:*" };
    zactor_t *node = gpb_bench_node ();
    gpb_client_t *clients [GPB_BENCH_ENDPOINTS];
    for (size_t via = 0; via < GPB_BENCH_ENDPOINTS; via++) {
        char *endpoint = gpb_bench_bind (node, binds [via]);
        clients [via] = gpb_bench_client (endpoint);
        zstr_free (&endpoint);
    }
    gpb_bench_device (&bench, clients [0]);

    gpb_table_t *table = gpb_table_new (
        "REQUEST VIA >IN-FLIGHT >P50 >P99 >PER-S >P50/1-HOP >P99 >PER-S >P50/2-HOPS >P99 >PER-S");
    json_t *rows = json_array ();
    if (!table || !rows)
        gpb_bench_fail ("no memory for the table");
    work_t works [] = { { "hello", s_hello, NULL, NULL },
                        { "vector_add", s_vector_add, NULL, NULL } };
    for (size_t index = 0; index < sizeof works / sizeof works [0]; index++) {
        work_t *work = &works [index];
        for (size_t via = 0; via < GPB_BENCH_ENDPOINTS; via++) {
            //  The first one compiles; each connects.
            gpb_reply_t *reply = gpb_bench_call (clients [via], work->request ());
            gpb_reply_destroy (&reply);
        }
        s_record (work, binds [0]);
        static plain_t plain [SYSTEMS];
        zsock_t *sockets [SYSTEMS][GPB_BENCH_ENDPOINTS] = { { NULL } };
        for (system_t system = ONE_HOP; system < SYSTEMS; system++)
            s_start_plain (&plain [system], system == ONE_HOP ? 1 : 2, work->answered, folder,
                           sockets [system]);
        s_measure (clients, sockets, work, table, rows);
        for (system_t system = ONE_HOP; system < SYSTEMS; system++)
            s_stop_plain (&plain [system], sockets [system]);
        zmsg_destroy (&work->sent);
        zmsg_destroy (&work->answered);
    }
    for (size_t via = 0; via < GPB_BENCH_ENDPOINTS; via++)
        gpb_client_destroy (&clients [via]);
    zactor_destroy (&node);
    zdir_t *left = zdir_new (folder, NULL);
    if (left)
        zdir_remove (left, true);
    zdir_destroy (&left);
    gpb_bench_print (&bench, "node", &table, rows);
    return 0;
}
