//  gpb_bench_components - what the parts of a request's way cost by themselves
//
//  codec: nanoseconds of each function that a header passes through: of an execute request with two
//  payloads and its reply with one. broker: the way of one request through book and placement (fit,
//  admit, enter, queue, next, answered, close) while so many others wait, for so many devices; no
//  socket is in it. Both on one thread, by that thread's own processor time: the median of batches
//  of BATCH calls, and the 99th percentile of the batches.
//
//  rent: the round trip of a rent over inproc, and of the release behind it, on a node that keeps
//  free memory (a hit) and on one that keeps none (a miss); beside it OpenCL's own allocation and
//  zeroing, interleaved, round by round. Whether a pool has held memory is what it counts itself; a
//  row says "not counted" for a node whose pool does not count.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_bench_opencl.h"
#include "gpb_book.h"
#include "gpb_client_internal.h"
#include "gpb_clock.h"
#include "gpb_histogram.h"
#include "gpb_placement.h"

#define BATCHES 60
#define BATCH 2000    //  calls of one batch: half a millisecond and more, well over the clock's
#define WAITING_MAX 1024
#define REQUEST_NS 1000    //  a broker's clock goes on by so much with each request
#define RENT_ROUNDS 6
#define RENTS 200    //  of one system in one round
#define MIB ((size_t) 1 << 20)

typedef struct {
    gpb_bench_t bench;
    gpb_table_t *table;
    json_t *rows;
} self_t;

static void
s_add_cost (self_t *self, const char *part, const char *what, double *costs_ns, size_t count)
{
    double median_ns = gpb_bench_median (costs_ns, count);    //  sorts them
    double p99_ns = costs_ns [(count * 99 + 99) / 100 - 1];
    gpb_table_add (self->table, "%s", part);
    gpb_table_add (self->table, "%s", what);
    gpb_table_add (self->table, "%.0f ns", median_ns);
    gpb_table_add (self->table, "%.0f ns", p99_ns);
    for (int column = 0; column < 5; column++)
        gpb_table_add (self->table, "-");
    json_array_append_new (self->rows, json_pack ("{s:s, s:s, s:f, s:f}", "part", part, "case",
                                                  what, "p50_ns", median_ns, "p99_ns", p99_ns));
}

//  What this thread has computed: others on the same processor do not count.
static uint64_t
s_thread_ns (void)
{
    struct timespec now;
    clock_gettime (CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t) now.tv_sec * GPB_NS_PER_S + (uint64_t) now.tv_nsec;
}

//  Runs call (context) in batches.
static void
s_cost (self_t *self, const char *part, const char *what, void (*call) (void *), void *context)
{
    double costs_ns [BATCHES];
    size_t batches = gpb_bench_rounds (&self->bench, BATCHES);
    for (size_t count = 0; count < BATCH; count++)
        call (context);
    for (size_t batch = 0; batch < batches; batch++) {
        uint64_t start_ns = s_thread_ns ();
        for (size_t count = 0; count < BATCH; count++)
            call (context);
        costs_ns [batch] = (double) (s_thread_ns () - start_ns) / BATCH;
    }
    s_add_cost (self, part, what, costs_ns, batches);
}

//  ---------------------------------------------------------------------------------------------------------
//  Headers

typedef struct {
    gpb_codec_t *codec;
    gpb_request_t *request;
    gpb_message_t message;    //  the request, packed
    zmq_msg_t header;         //  the reply, packed
    Gpb__V1__Reply reply;
} headers_t;

static void
s_must (bool is_so, const char *what)
{
    if (!is_so)
        gpb_bench_fail ("%s is refused", what);
}

static void
s_pack_request (void *context)
{
    headers_t *self = context;
    s_must (gpb_request_pack (self->request, 1, 1000, &self->message, NULL) == GPB_OK,
            "packing a request");
}

static void
s_unpack_request (void *context)
{
    headers_t *self = context;
    uint64_t id;
    s_must (gpb_codec_request (self->codec, &self->message.header, &id, NULL), "a request");
}

static void
s_pack_reply (void *context)
{
    headers_t *self = context;
    s_must (gpb_codec_pack (&self->reply.base, &self->header, NULL) == GPB_OK, "packing a reply");
}

//  With the packing of what it is put behind, since a header grows with each.
static void
s_append (void *context)
{
    headers_t *self = context;
    s_pack_reply (self);
    s_must (gpb_codec_append (&self->header, GPB_REPLY_QUEUED_NS, 123456, NULL) == GPB_OK,
            "appending");
}

static void
s_peek_reply (void *context)
{
    headers_t *self = context;
    gpb_status_t status;
    bool has_memory;
    uint64_t memory;
    s_must (gpb_codec_peek_reply (&self->header, &status, &has_memory, &memory), "a reply");
}

static void
s_unpack_reply (void *context)
{
    headers_t *self = context;
    s_must (gpb_codec_reply (self->codec, &self->header, NULL), "a reply");
}

static void
s_measure_codec (self_t *self)
{
    headers_t headers = { .codec = gpb_codec_new (NULL) };
    headers.request = gpb_bench_vector_add (2048 * sizeof (float));
    gpb_message_init (&headers.message);
    zmq_msg_init (&headers.header);

    Gpb__V1__Span spans [3] = { GPB__V1__SPAN__INIT, GPB__V1__SPAN__INIT, GPB__V1__SPAN__INIT };
    for (size_t index = 0; index < 3; index++) {
        spans [index].ns = 12345;
        spans [index].start_ns = 1234567890123 + index;
        spans [index].end_ns = 1234567902468 + index;
    }
    Gpb__V1__Timing timing = GPB__V1__TIMING__INIT;
    timing.measured = 1;
    timing.copy_in = &spans [0];
    timing.compute = &spans [1];
    timing.copy_out = &spans [2];
    timing.device_ns = 123456;
    Gpb__V1__Result result = GPB__V1__RESULT__INIT, *results [] = { &result };
    result.argument = 2;
    result.value_case = GPB__V1__RESULT__VALUE_FRAME;
    result.size = 4096;
    Gpb__V1__ExecuteReply execute = GPB__V1__EXECUTE_REPLY__INIT;
    execute.n_results = 1;
    execute.results = results;
    execute.timing = &timing;
    execute.node = "node";
    gpb__v1__reply__init (&headers.reply);
    headers.reply.version = GPB_PROTOCOL_VERSION;
    headers.reply.id = 123456;
    headers.reply.memory_case = GPB__V1__REPLY__MEMORY_AVAILABLE_MEMORY;
    headers.reply.available_memory = 1ULL << 32;
    headers.reply.body_case = GPB__V1__REPLY__BODY_EXECUTE;
    headers.reply.execute = &execute;

    s_must (headers.codec && headers.request, "memory for a codec");
    s_cost (self, "codec", "pack an execute request (client)", s_pack_request, &headers);
    s_cost (self, "codec", "unpack and check it (broker, device)", s_unpack_request, &headers);
    s_cost (self, "codec", "pack its reply (device)", s_pack_reply, &headers);
    s_cost (self, "codec", "pack its reply, append a number", s_append, &headers);
    s_cost (self, "codec", "peek at a reply (broker)", s_peek_reply, &headers);
    s_cost (self, "codec", "unpack and check a reply (client)", s_unpack_reply, &headers);
    gpb_message_clear (&headers.message);
    zmq_msg_close (&headers.header);
    gpb_request_destroy (&headers.request);
    gpb_codec_destroy (&headers.codec);
}

//  ---------------------------------------------------------------------------------------------------------
//  A broker's book and placement

typedef struct {
    gpb_book_t *book;
    gpb_placement_t *placement;
    gpb_connection_t connection;
    uint64_t id;
} broker_t;

static void
s_enter (broker_t *self)
{
    static const gpb_constraints_t constraints;
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    request.id = ++self->id;
    request.body_case = GPB__V1__REQUEST__BODY_EXECUTE;
    gpb_message_t message;
    gpb_message_init (&message);
    gpb_call_t call = { .request = &request,
                        .message = &message,
                        .connection = &self->connection,
                        .received_ns = self->id * REQUEST_NS,
                        .deadline_ns = self->id * REQUEST_NS + GPB_NS_PER_S };
    gpb_error_t error = { GPB_OK, "" };
    uint64_t devices = 0;
    gpb_entry_t *entry = NULL;
    uint32_t retry_after_ms;
    const gpb_tenant_t *tenant = gpb_book_tenant (&self->connection);
    gpb_status_t status = gpb_placement_fit (self->placement, &constraints, "", &devices, &error);
    gpb_arrival_t arrival = { .client = tenant ? &tenant->waiting : NULL, .devices = devices };
    if (status == GPB_OK
        && gpb_placement_admit (self->placement, &arrival, &retry_after_ms, &error) == GPB_OK)
        entry = gpb_book_enter (self->book, &call, &error);
    if (entry) {
        entry->devices = devices;
        gpb_placement_queue (self->placement, entry, call.received_ns, &error);
    }
    if (error.status != GPB_OK)
        gpb_bench_fail ("a request does not enter the book: %s", error.text);
}

//  The next one goes to a device, and is answered.
static bool
s_leave (broker_t *self)
{
    gpb_entry_t *entry = gpb_placement_next (self->placement, self->id * REQUEST_NS);
    if (!entry)
        return false;
    gpb_placement_answered (self->placement, entry, true, self->id * REQUEST_NS + 1);
    gpb_book_answered (self->book, entry);
    gpb_book_close (self->book, entry);
    return true;
}

static void
s_broker_turn (void *context)
{
    s_enter (context);
    s_must (s_leave (context), "a request with a free device");
}

static void
s_measure_broker (self_t *self, size_t waiting, unsigned devices)
{
    broker_t broker = { .connection = { .number = 1 } };
    broker.book = gpb_book_new (NULL);
    const gpb_amount_t none = { UINT32_MAX, INT64_MAX };
    const gpb_placement_options_t options = {
        .node = none, .device = none, .client = none, .aging_ns = GPB_NS_PER_S
    };
    broker.placement = gpb_placement_new (devices, &options, NULL);
    s_must (broker.book && broker.placement, "memory for a broker");
    for (unsigned index = 0; index < devices; index++) {
        gpb_placement_device (broker.placement, index)->state = GPB_DEVICE_READY;
        gpb_placement_device (broker.placement, index)->available_memory = 1ULL << 32;
    }
    while (broker.id + 1 < waiting)
        s_enter (&broker);
    char text [64];
    snprintf (text, sizeof text, "a request's way: %zu waiting, %u device%s", waiting, devices,
              devices == 1 ? "" : "s");
    s_cost (self, "broker", text, s_broker_turn, &broker);
    while (s_leave (&broker))
        continue;
    gpb_book_destroy (&broker.book);    //  its tenants leave the queues before these go
    gpb_placement_destroy (&broker.placement);
}

//  ---------------------------------------------------------------------------------------------------------
//  Rents

typedef struct {
    zactor_t *node;
    gpb_client_t *client;
} renter_t;

static void
s_start_renter (renter_t *self, zactor_t *node, const char *endpoint)
{
    self->node = node;
    char *bound = gpb_bench_bind (node, endpoint);
    self->client = gpb_bench_client (bound);
    zstr_free (&bound);
}

//  What the node's pools count: rents from held memory, and from the driver.
static void
s_counts (renter_t *self, uint64_t *hits, uint64_t *misses)
{
    gpb_reply_t *reply = gpb_bench_call (self->client, gpb_request_stats ());
    const Gpb__V1__StatsReply *stats = gpb_reply_header_peek (reply)->stats;
    *hits = *misses = 0;
    for (size_t pool = 0; pool < stats->n_pools; pool++) {
        *hits += stats->pools [pool]->hits;
        *misses += stats->pools [pool]->misses;
    }
    gpb_reply_destroy (&reply);
}

static void
s_rents (renter_t *self, size_t size, gpb_histogram_t *rents, gpb_histogram_t *releases)
{
    for (size_t count = 0; count < RENTS; count++) {
        uint64_t start_ns = gpb_clock_ns ();
        gpb_reply_t *reply = gpb_bench_call (self->client, gpb_request_rent (size, GPB_RENT_DEVICE,
                                                                             GPB_RENT_READ_WRITE));
        uint64_t rented_ns = gpb_clock_ns ();
        gpb_bench_do (self->client, gpb_request_release (gpb_reply_handle (reply)));
        gpb_histogram_record (rents, rented_ns - start_ns);
        gpb_histogram_record (releases, gpb_clock_ns () - rented_ns);
        gpb_reply_destroy (&reply);
    }
}

enum { HIT, MISS, RENTERS };

typedef struct {
    double p50_ns [RENTERS][RENT_ROUNDS], p99_ns [RENTERS][RENT_ROUNDS];
    double release_ns [RENTERS][RENT_ROUNDS];
    double raw_p50_ns [RENT_ROUNDS], raw_p99_ns [RENT_ROUNDS];
} rent_figures_t;

//  raw: whether there are figures of OpenCL's.
static void
s_add_rents (self_t *self, size_t size, int which, rent_figures_t *figures, size_t rounds, bool raw,
             const char *counted)
{
    char text [GPB_FIGURE_SIZE], size_text [GPB_FIGURE_SIZE], name [64];
    snprintf (name, sizeof name, "%s, memory is %s", gpb_table_size (size, size_text),
              which == HIT ? "kept" : "not kept");
    double ratio = raw ? gpb_bench_ratio (figures->p50_ns [which], figures->raw_p50_ns, rounds) : 0;
    double p50_ns = gpb_bench_median (figures->p50_ns [which], rounds);
    double p99_ns = gpb_bench_median (figures->p99_ns [which], rounds);
    double release_ns = gpb_bench_median (figures->release_ns [which], rounds);
    gpb_table_add (self->table, "rent");
    gpb_table_add (self->table, "%s", name);
    gpb_table_add (self->table, "%s", gpb_table_time ((uint64_t) p50_ns, text));
    gpb_table_add (self->table, "%s", gpb_table_time ((uint64_t) p99_ns, text));
    gpb_table_add (self->table, "%s", gpb_table_time ((uint64_t) release_ns, text));
    gpb_table_add (self->table, "%s", counted);
    json_t *row = json_pack ("{s:s, s:s, s:I, s:b, s:s, s:f, s:f, s:f}", "part", "rent", "case",
                             name, "size", (json_int_t) size, "kept", which == HIT, "hits", counted,
                             "p50_ns", p50_ns, "p99_ns", p99_ns, "release_p50_ns", release_ns);
    if (raw) {
        double raw_ns = gpb_bench_median (figures->raw_p50_ns, rounds);
        double raw_p99_ns = gpb_bench_median (figures->raw_p99_ns, rounds);
        gpb_table_add (self->table, "%s", gpb_table_time ((uint64_t) raw_ns, text));
        gpb_table_add (self->table, "%s", gpb_table_time ((uint64_t) raw_p99_ns, text));
        gpb_table_add (self->table, "%.2f", ratio);
        json_object_set_new (row, "raw_p50_ns", json_real (raw_ns));
        json_object_set_new (row, "raw_p99_ns", json_real (raw_p99_ns));
        json_object_set_new (row, "p50_ratio", json_real (ratio));
    }
    else
        for (int column = 0; column < 3; column++)
            gpb_table_add (self->table, "-");
    json_array_append_new (self->rows, row);
}

static void
s_measure_rents (self_t *self, renter_t renters [RENTERS], gpb_bench_opencl_t *opencl, size_t size)
{
    static gpb_histogram_t rents, releases;
    static rent_figures_t figures;
    size_t rounds = gpb_bench_rounds (&self->bench, RENT_ROUNDS);
    uint64_t hits [RENTERS], misses [RENTERS];
    for (int which = HIT; which < RENTERS; which++) {
        s_rents (&renters [which], size, &rents, &releases);
        s_counts (&renters [which], &hits [which], &misses [which]);
    }
    for (size_t round = 0; round < rounds; round++) {
        for (int which = HIT; which < RENTERS; which++) {
            gpb_histogram_reset (&rents);
            gpb_histogram_reset (&releases);
            s_rents (&renters [which], size, &rents, &releases);
            figures.p50_ns [which][round] = (double) gpb_histogram_percentile (&rents, 50);
            figures.p99_ns [which][round] = (double) gpb_histogram_percentile (&rents, 99);
            figures.release_ns [which][round] = (double) gpb_histogram_percentile (&releases, 50);
        }
        if (opencl)
            figures.raw_p50_ns [round] =
                gpb_bench_opencl_allocate_ns (opencl, size, RENTS, &figures.raw_p99_ns [round]);
    }
    //  A node asks its pools for figures once a second, and tells those.
    zclock_sleep (1500);
    for (int which = HIT; which < RENTERS; which++) {
        char counted [32] = "not counted";
        uint64_t hits_now, misses_now;
        s_counts (&renters [which], &hits_now, &misses_now);
        uint64_t more_hits = hits_now - hits [which], more_misses = misses_now - misses [which];
        if (more_hits + more_misses > 0)
            snprintf (counted, sizeof counted, "%.1f %%",
                      100.0 * (double) more_hits / (double) (more_hits + more_misses));
        s_add_rents (self, size, which, &figures, rounds, opencl != NULL, counted);
    }
}

int
main (int argc, char **argv)
{
    self_t self;
    memset (&self, 0, sizeof self);
    gpb_bench_begin (&self.bench, argc, argv);
    self.table = gpb_table_new ("PART CASE >P50 >P99 >RELEASE >HITS >RAW-P50 >RAW-P99 >P50/RAW");
    self.rows = json_array ();
    if (!self.table || !self.rows)
        gpb_bench_fail ("no memory for the table");

    s_measure_codec (&self);
    const unsigned devices [] = { 1, 8 };
    const size_t waiting [] = { 1, 64, WAITING_MAX };
    for (size_t at = 0; at < sizeof waiting / sizeof waiting [0]; at++)
        for (size_t count = 0; count < sizeof devices / sizeof devices [0]; count++)
            s_measure_broker (&self, waiting [at], devices [count]);

    renter_t renters [RENTERS];
    s_start_renter (&renters [HIT], gpb_bench_node (), "inproc://bench-hit");
    s_start_renter (&renters [MISS], gpb_bench_node_with ("keep_max_size", "1"),
                    "inproc://bench-miss");
    gpb_bench_device (&self.bench, renters [HIT].client);
    gpb_bench_opencl_t *opencl = gpb_bench_opencl_new (self.bench.device_name);
    const size_t sizes [] = { 4096, MIB, 16 * MIB };
    for (size_t index = 0; index < sizeof sizes / sizeof sizes [0]; index++)
        s_measure_rents (&self, renters, opencl, sizes [index]);
    gpb_bench_opencl_destroy (&opencl);
    for (int which = HIT; which < RENTERS; which++) {
        gpb_client_destroy (&renters [which].client);
        zactor_destroy (&renters [which].node);
    }
    gpb_bench_print (&self.bench, "components", &self.table, self.rows);
    return 0;
}
