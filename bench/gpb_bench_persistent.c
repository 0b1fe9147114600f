//  gpb_bench_persistent - what a message to a persistent kernel costs, beside what is under it
//
//  From the inside out, each beside the raw thing in the same rounds:
//
//      ring      host thread, loop and handler on the device, host thread: by a bare mailbox, two
//                words of shared memory that a kernel of ten lines answers
//      host      the kernel host's actor over inproc: by a DEALER-ROUTER echo of the same bytes
//      node      a node over tcp, its devices in this process: by a tcp echo plus an inproc echo
//      on demand the same handler, launched for each message
//      noop      ordinary requests while a persistent kernel is parked, and while it is busy: by
//                themselves on a node that has not called one yet
//
//  and what three parked kernels cost an idle node. 64 bytes a message; a ring and its mailbox are
//  never on the device together. Latencies are counted for each message, and go into a histogram.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_bench_echo.h"
#include "gpb_bench_load.h"
#include "gpb_clock.h"
#include "gpb_histogram.h"
#include "gpb_kernel_private.h"
#include "gpb_resident.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>

#define ROUNDS 7
#define MESSAGES 100000    //  of a ring's round
#define SIZE 64            //  bytes
#define CELL_NS (300 * GPB_NS_PER_MS)
#define IDLE_NS (5 * GPB_NS_PER_S)
#define PARKED_MS 500    //  after its last message every kernel is: persistent_idle_ms is 20
#define BESIDE_DEPTH 32
#define HEAP_SIZE (1 << 20)

//  Where nobody writes any more it returns by itself, or a card would hang: after about half a
//  minute of polls over PCIe; those of a processor that is the device are a thousand times as fast.
static const char s_mailbox [] =
    "KERNEL void mailbox (GLOBAL ulong *words) { ulong next = 1; for (;;) { ulong seen, polls = 0;"
    " while ((seen = GPB_LOAD_ACQUIRE (&words [0])) < next) if (++polls == POLLS) return;"
    " if (seen == ~0ul) return;"
    " GPB_STORE_RELEASE (&words [16], next); next++; } }\n";

typedef struct {
    gpb_bench_t bench;
    size_t rounds;
    gpb_table_t *table;
    json_t *rows;
    gpb_shared_context_t *shared;
    gpb_kernels_t *kernels;
    gpb_cache_t *cache;
    gpb_ticks_t clock;
} self_t;

//  What one system came to, a figure a round.
typedef struct {
    double p50_ns [ROUNDS], p99_ns [ROUNDS], rate [ROUNDS];
} figures_t;

static gpb_error_t error;

static void
s_check (gpb_status_t status)
{
    if (status != GPB_OK)
        gpb_bench_fail ("%s", error.text);
}

static void
s_keep (figures_t *figures, size_t round, const gpb_bench_figure_t *figure)
{
    figures->p50_ns [round] = figure->p50_ns;
    figures->p99_ns [round] = figure->p99_ns;
    figures->rate [round] = figure->rate;
}

//  A row: the system's medians, and by what it is measured; ratios of 0 are left out.
static void
s_add_row (self_t *self, const char *what, size_t in_flight, const figures_t *system,
           const char *by, double p50_ratio, double p99_ratio, double rate_ratio)
{
    double p50 [ROUNDS], p99 [ROUNDS], rate [ROUNDS];
    memcpy (p50, system->p50_ns, sizeof p50);
    memcpy (p99, system->p99_ns, sizeof p99);
    memcpy (rate, system->rate, sizeof rate);
    const double p50_ns = gpb_bench_median (p50, self->rounds),
                 p99_ns = gpb_bench_median (p99, self->rounds),
                 per_second = gpb_bench_median (rate, self->rounds);
    char text [GPB_FIGURE_SIZE];
    gpb_table_add (self->table, "%s", what);
    gpb_table_add (self->table, "%zu", in_flight);
    gpb_table_add (self->table, "%s", p50_ns > 0 ? gpb_table_time ((uint64_t) p50_ns, text) : "-");
    gpb_table_add (self->table, "%s", p99_ns > 0 ? gpb_table_time ((uint64_t) p99_ns, text) : "-");
    gpb_table_add (self->table, "%.0f", per_second);
    gpb_table_add (self->table, "%s", by);
    const double ratios [] = { p50_ratio, p99_ratio, rate_ratio };
    for (size_t index = 0; index < 3; index++)
        if (ratios [index] > 0)
            gpb_table_add (self->table, "%.2f", ratios [index]);
        else
            gpb_table_add (self->table, "-");
    json_array_append_new (self->rows,
                           json_pack ("{s:s, s:I, s:f, s:f, s:f, s:s, s:f, s:f, s:f}", "what", what,
                                      "in_flight", (json_int_t) in_flight, "p50_ns", p50_ns,
                                      "p99_ns", p99_ns, "per_second", per_second, "by", by,
                                      "p50_ratio", p50_ratio, "p99_ratio", p99_ratio,
                                      "per_second_ratio", rate_ratio));
}

//  ---------------------------------------------------------------------------------------------------------
//  Ring and mailbox

static void
s_finish (self_t *self, gpb_event_t **event_p)
{
    bool done = false;
    while (!done)
        s_check (self->shared->operations->query (*event_p, &done, NULL, &error));
    self->shared->operations->event_free (event_p);
}

static void
s_fill (gpb_bench_figure_t *figure, const gpb_histogram_t *histogram, uint64_t took_ns)
{
    figure->p50_ns = (double) gpb_histogram_percentile (histogram, 50);
    figure->p99_ns = (double) gpb_histogram_percentile (histogram, 99);
    figure->rate = (double) histogram->count * 1e9 / (double) took_ns;
}

static void
s_run_mailbox (self_t *self, gpb_function_t *function, gpb_memory_t *memory, uint64_t *words,
               gpb_bench_figure_t *figure)
{
    const gpb_argument_t argument = { .kind = GPB_ARGUMENT_MEMORY, .memory = memory };
    const gpb_launch_t launch = { .function = function,
                                  .dimensions = 1,
                                  .global = { 1 },
                                  .local = { 1 },
                                  .arguments = &argument,
                                  .arguments_count = 1 };
    gpb_event_t *event;
    static gpb_histogram_t histogram;
    gpb_histogram_reset (&histogram);
    words [0] = words [16] = 0;
    s_check (self->shared->operations->launch (self->shared->context,
                                               gpb_shared_context_host_stream (self->shared) + 1,
                                               &launch, GPB_NOTIFY, &event, &error));
    uint64_t began_ns = gpb_clock_ns ();
    for (uint64_t number = 1; number <= MESSAGES; number++) {
        uint64_t sent_ns = gpb_clock_ns ();
        __atomic_store_n (&words [0], number, __ATOMIC_RELEASE);
        while (__atomic_load_n (&words [16], __ATOMIC_ACQUIRE) != number)
            continue;
        gpb_histogram_record (&histogram, gpb_clock_ns () - sent_ns);
    }
    s_fill (figure, &histogram, gpb_clock_ns () - began_ns);
    __atomic_store_n (&words [0], UINT64_MAX, __ATOMIC_RELEASE);
    s_finish (self, &event);
}

static void
s_run_ring (self_t *self, gpb_resident_t *resident, uint32_t depth, gpb_bench_figure_t *figure)
{
    static gpb_histogram_t histogram;
    static uint64_t sent_ns [1024];
    gpb_histogram_reset (&histogram);
    gpb_ring_t *ring = &resident->lanes [0].ring;
    s_check (gpb_resident_wake (resident, 0, gpb_shared_context_host_stream (self->shared) + 1,
                                GPB_NS_PER_S, &self->clock, &error));
    const uint64_t began_ns = gpb_clock_ns ();
    uint64_t sent = 0, received = 0;
    gpb_ring_message_t message = { .size = SIZE, .capacity = SIZE };
    while (received < MESSAGES) {
        for (; sent < MESSAGES && sent - received < depth; sent++) {
            sent_ns [sent % depth] = gpb_clock_ns ();
            memcpy (gpb_ring_input (ring), &sent, sizeof sent);
            gpb_ring_publish (ring, &message);
        }
        gpb_ring_answer_t answer;
        while (!gpb_ring_answer (ring, &answer))
            continue;
        if (memcmp (answer.output, &received, sizeof received) != 0 || answer.size != SIZE)
            gpb_bench_fail ("the ring's answer is not its message");
        gpb_ring_pop (ring);
        gpb_histogram_record (&histogram, gpb_clock_ns () - sent_ns [received % depth]);
        received++;
    }
    s_fill (figure, &histogram, gpb_clock_ns () - began_ns);
    gpb_resident_park (resident, 0);
    while (!gpb_resident_settle (resident, 0))
        continue;
}

static void
s_measure_ring (self_t *self)
{
    const gpb_backend_operations_t *operations = self->shared->operations;
    char text [65536];
    snprintf (text, sizeof text, "%s%s%s", gpb_prelude_text, gpb_lane_text, s_mailbox);
    const bool is_opencl = streq (self->shared->backend, "opencl");
    const gpb_code_t code = { .kind = GPB_CODE_PORTABLE,
                              .name = "mailbox",
                              .data = text,
                              .size = strlen (text),
                              .optimize = 2,
                              .options = is_opencl ? "-cl-std=CL2.0 -DPOLLS=30000000000ul"
                                                   : "-DPOLLS=30000000ul",
                              .architecture = "" };
    gpb_module_t *module;
    gpb_function_t *mailbox;
    gpb_function_info_t info;
    gpb_memory_t *memory;
    void *words;
    s_check (operations->build (self->shared->context, &code, &module, &error));
    s_check (operations->function (module, "mailbox", &mailbox, &info, &error));
    s_check (operations->allocate (self->shared->context, GPB_MEMORY_MAPPED, GPB_ACCESS_READ_WRITE,
                                   256, &memory, &error));
    s_check (operations->address (memory, &words, &error));
    gpb_resident_t *resident =
        gpb_resident_new (self->shared, gpb_kernels_lookup (self->kernels, "echo"), self->cache,
                          HEAP_SIZE, &error);
    if (!resident)
        gpb_bench_fail ("%s", error.text);

    figures_t bare, one, eight;
    gpb_bench_figure_t figure;
    s_run_mailbox (self, mailbox, memory, words, &figure);    //  warm
    s_run_ring (self, resident, 1, &figure);
    for (size_t round = 0; round < self->rounds; round++) {
        s_run_mailbox (self, mailbox, memory, words, &figure);
        s_keep (&bare, round, &figure);
        s_run_ring (self, resident, 1, &figure);
        s_keep (&one, round, &figure);
        s_run_ring (self, resident, 8, &figure);
        s_keep (&eight, round, &figure);
    }
    s_add_row (self, "mailbox", 1, &bare, "-", 0, 0, 0);
    s_add_row (self, "ring", 1, &one, "mailbox",
               gpb_bench_ratio (one.p50_ns, bare.p50_ns, self->rounds),
               gpb_bench_ratio (one.p99_ns, bare.p99_ns, self->rounds),
               gpb_bench_ratio (one.rate, bare.rate, self->rounds));
    s_add_row (self, "ring", 8, &eight, "mailbox", 0, 0,
               gpb_bench_ratio (eight.rate, bare.rate, self->rounds));
    gpb_resident_destroy (&resident);
    operations->unload (&module);
    operations->release (&memory);
}

//  ---------------------------------------------------------------------------------------------------------
//  Host and node

static gpb_request_t *
s_echo (size_t size)
{
    gpb_request_t *request = gpb_request_execute ("echo");
    gpb_request_in (request, gpb_bench_input (), size);
    gpb_request_out (request, 0);
    return request;
}

static gpb_request_t *
s_echo_on_demand (size_t size)
{
    gpb_request_t *request = s_echo (size);
    gpb_request_on_demand (request);
    return request;
}

enum { INPROC, IPC, TCP };

//  Through a client, by an echo: at inproc one hop, at tcp that and the one over inproc behind it.
static void
s_measure_system (self_t *self, const char *what, const char *endpoint, size_t via)
{
    char folder [] = "/tmp/gpb-bench-XXXXXX";
    if (!mkdtemp (folder))
        gpb_bench_fail ("no folder for an ipc socket");
    gpb_bench_work_t work = { .name = "echo", .size = SIZE, .request = s_echo };
    gpb_bench_work_t launched = { .name = "echo", .size = SIZE, .request = s_echo_on_demand };
    gpb_client_t *client = gpb_bench_client (endpoint);
    gpb_bench_do (client, s_echo (SIZE));
    gpb_bench_do (client, s_echo_on_demand (SIZE));
    gpb_bench_record (&work, endpoint);
    gpb_bench_echo_t echo;
    gpb_bench_echo_start (&echo, 1, work.answered, folder);
    void *near = zsock_resolve (echo.clients [INPROC]), *far = zsock_resolve (echo.clients [via]);
    for (size_t depth = 1; depth <= 1024; depth *= 32) {
        figures_t system, on_demand, raw, beyond;
        for (size_t round = 0; round < self->rounds; round++) {
            gpb_bench_figure_t figure, inner = { 0, 0, 0 };
            gpb_bench_run_client (client, &work, depth, CELL_NS, &figure);
            s_keep (&system, round, &figure);
            gpb_bench_run_client (client, &launched, depth, CELL_NS, &figure);
            s_keep (&on_demand, round, &figure);
            gpb_bench_run_echo (far, &work, depth, CELL_NS, &figure);
            s_keep (&raw, round, &figure);
            if (via != INPROC)
                gpb_bench_run_echo (near, &work, depth, CELL_NS, &inner);
            beyond.p50_ns [round] = figure.p50_ns + inner.p50_ns;
            beyond.p99_ns [round] = figure.p99_ns + inner.p99_ns;
        }
        s_add_row (self, what, depth, &system, via == INPROC ? "inproc echo" : "tcp + inproc echo",
                   depth == 1 ? gpb_bench_ratio (system.p50_ns, beyond.p50_ns, self->rounds) : 0,
                   depth == 1 ? gpb_bench_ratio (system.p99_ns, beyond.p99_ns, self->rounds) : 0,
                   gpb_bench_ratio (system.rate, raw.rate, self->rounds));
        s_add_row (self, "the same on demand", depth, &on_demand, what,
                   gpb_bench_ratio (on_demand.p50_ns, system.p50_ns, self->rounds),
                   gpb_bench_ratio (on_demand.p99_ns, system.p99_ns, self->rounds),
                   gpb_bench_ratio (on_demand.rate, system.rate, self->rounds));
    }
    gpb_bench_echo_stop (&echo);
    gpb_bench_forget (&work);
    gpb_client_destroy (&client);
    rmdir (folder);
}

static double
s_processor_ns (void)
{
    struct rusage usage;
    getrusage (RUSAGE_SELF, &usage);
    return (double) (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e9
           + (double) (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e3;
}

//  Processor time of a node in which three kernels are parked, in percent of a core.
static void
s_measure_idle (self_t *self, const char *endpoint)
{
    static const char *const kernels [] = { "echo", "double", "moving_average" };
    gpb_client_t *client = gpb_bench_client (endpoint);
    for (size_t kernel = 0; kernel < 3; kernel++) {
        gpb_request_t *request = gpb_request_execute (kernels [kernel]);
        gpb_request_in (request, gpb_bench_input (), SIZE);
        gpb_request_out (request, 0);
        gpb_bench_do (client, request);
    }
    zclock_sleep (PARKED_MS);
    const double before_ns = s_processor_ns ();
    zclock_sleep (IDLE_NS / GPB_NS_PER_MS);
    const double percent = (s_processor_ns () - before_ns) * 100 / IDLE_NS;
    gpb_table_add (self->table, "three parked kernels");
    for (size_t cell = 0; cell < 4; cell++)
        gpb_table_add (self->table, "-");
    gpb_table_add (self->table, "a core: %.2f %%", percent);
    for (size_t cell = 0; cell < 3; cell++)
        gpb_table_add (self->table, "-");
    json_array_append_new (self->rows, json_pack ("{s:s, s:f}", "what", "three parked kernels",
                                                  "core_percent", percent));
    gpb_client_destroy (&client);
}

//  ---------------------------------------------------------------------------------------------------------
//  Ordinary requests beside a persistent kernel

typedef struct {
    const char *endpoint;
    gpb_bench_figure_t figure;
} stream_t;

//  Messages to a persistent kernel for as long as the others are measured, and a bit more.
static void *
s_stream (void *argument)
{
    stream_t *self = argument;
    const gpb_bench_work_t work = { .name = "echo", .size = SIZE, .request = s_echo };
    gpb_client_t *client = gpb_bench_client (self->endpoint);
    gpb_bench_run_client (client, &work, BESIDE_DEPTH, CELL_NS + CELL_NS / 4, &self->figure);
    gpb_client_destroy (&client);
    return NULL;
}

static void
s_measure_beside (self_t *self)
{
    const gpb_bench_work_t work = { .name = "noop", .size = SIZE, .request = gpb_bench_noop };
    figures_t alone, parked, busy, stream;
    for (size_t round = 0; round < self->rounds; round++) {
        zactor_t *node = gpb_bench_node ();
        char *tcp = gpb_bench_bind (node, "tcp://127.0.0.1:*");
        gpb_client_t *client = gpb_bench_client (tcp);
        gpb_bench_figure_t figure;
        gpb_bench_do (client, gpb_bench_noop (SIZE));
        gpb_bench_run_client (client, &work, BESIDE_DEPTH, CELL_NS, &figure);
        s_keep (&alone, round, &figure);

        gpb_bench_do (client, s_echo (SIZE));
        zclock_sleep (PARKED_MS);
        gpb_bench_run_client (client, &work, BESIDE_DEPTH, CELL_NS, &figure);
        s_keep (&parked, round, &figure);

        stream_t other = { .endpoint = tcp };
        pthread_t thread;
        if (pthread_create (&thread, NULL, s_stream, &other) != 0)
            gpb_bench_fail ("no thread for a stream of messages");
        gpb_bench_run_client (client, &work, BESIDE_DEPTH, CELL_NS, &figure);
        pthread_join (thread, NULL);
        s_keep (&busy, round, &figure);
        s_keep (&stream, round, &other.figure);
        gpb_client_destroy (&client);
        zactor_destroy (&node);
        zstr_free (&tcp);
    }
    s_add_row (self, "noop", BESIDE_DEPTH, &alone, "-", 0, 0, 0);
    s_add_row (self, "noop, kernel parked", BESIDE_DEPTH, &parked, "noop", 0, 0,
               gpb_bench_ratio (parked.rate, alone.rate, self->rounds));
    s_add_row (self, "noop, kernel busy", BESIDE_DEPTH, &busy, "noop", 0, 0,
               gpb_bench_ratio (busy.rate, alone.rate, self->rounds));
    s_add_row (self, "its messages meanwhile", BESIDE_DEPTH, &stream, "-", 0, 0, 0);
}

int
main (int argc, char **argv)
{
    self_t self = { .rows = json_array () };
    gpb_bench_begin (&self.bench, argc, argv);
    self.rounds = gpb_bench_rounds (&self.bench, ROUNDS);
    self.table =
        gpb_table_new ("WHAT >IN-FLIGHT >P50 >P99 >A-SECOND BY >P50-RATIO >P99-RATIO >RATE-RATIO");
    zactor_t *node = gpb_bench_node ();
    char *tcp = gpb_bench_bind (node, "tcp://127.0.0.1:*");
    gpb_client_t *client = gpb_bench_client (tcp);
    gpb_bench_device (&self.bench, client);
    gpb_client_destroy (&client);
    s_measure_system (&self, "node, tcp", tcp, TCP);
    s_measure_idle (&self, tcp);
    zactor_destroy (&node);
    zstr_free (&tcp);
    s_measure_beside (&self);

    gpb_host_args_t args = { .config = NULL, .index = 0 };
    zactor_t *host = zactor_new (gpb_host, &args);
    char *inproc = gpb_bench_bind (host, "inproc://bench-host");
    s_measure_system (&self, "host, inproc", inproc, INPROC);
    zactor_destroy (&host);
    zstr_free (&inproc);

    self.shared = gpb_shared_context_open ("cuda opencl", 0, 1, false, &error);
    self.kernels = self.shared ? gpb_kernels_open ("", &error) : NULL;
    self.cache = self.kernels ? gpb_cache_open ("", 1 << 28, &error) : NULL;
    if (!self.cache)
        gpb_bench_fail ("%s", error.text);
    gpb_ticks_init (&self.clock);
    if (self.shared->lanes > 0)
        s_measure_ring (&self);
    gpb_cache_destroy (&self.cache);
    gpb_kernels_destroy (&self.kernels);
    gpb_shared_context_release (&self.shared);
    gpb_bench_print (&self.bench, "persistent kernels", &self.table, self.rows);
    return 0;
}
