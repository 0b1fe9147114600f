//  gpb_bench_cuda - what libgpb costs on a card of NVIDIA's, beside CUDA's driver API alone
//
//  Each thing is done by the library and by the driver's own calls (gpb_bench_driver.h), in this
//  process, on the first device, round by round and in turns; a figure is the median of the rounds,
//  a ratio that of the rounds' ratios. From the inside out: launches, messages to kernels that stay
//  on the device, copies, memory, requests to a node, code. Ratios of times are better where they
//  are less, those of rates and overlaps where they are more.
//
//  Where there is no device it says so in one line, and that is all.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_bench_driver.h"
#include "gpb_bench_echo.h"
#include "gpb_bench_load.h"
#include "gpb_clock.h"
#include "gpb_pool.h"
#include "gpb_resident.h"

#include <dirent.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#define SIZE 64    //  bytes of a message
#define DEPTH 8    //  messages in flight in each of several lanes
#define CELL_NS (300 * GPB_NS_PER_MS)
#define IDLE_NS (5 * GPB_NS_PER_S)    //  of a lane: it has a way out whatever happens here
#define PATIENCE_NS (10 * GPB_NS_PER_S)
#define HEAP_SIZE (1 << 20)
#define CACHE_SIZE ((uint64_t) 64 << 20)
#define KERNEL "matmul"    //  that is compiled: shared memory, loops

typedef enum { INPROC, IPC, TCP } via_t;

typedef struct {
    gpb_bench_t bench;
    size_t rounds;
    gpb_table_t *table;
    json_t *rows;
    gpb_bench_driver_t driver;

    //  The library's own device
    gpb_shared_context_t *shared;
    const gpb_backend_operations_t *operations;    //  its own
    gpb_module_t *module;
    gpb_function_t *nothing, *spin;
    gpb_memory_t *memory, *pinned;    //  GPB_BENCH_COPY_MAX bytes each
    uint64_t spin_rounds;

    //  Kernels that stay
    gpb_kernels_t *kernels;
    gpb_cache_t *cache;
    gpb_ticks_t clock;
    gpb_resident_t *residents [GPB_BENCH_LANES_MAX];

    //  A pool, a node, and a plain echo of the node's bytes
    gpb_client_t *pool, *client;
    gpb_bench_work_t work;
    gpb_bench_echo_t echo;
    via_t via;

    //  Code
    gpb_code_t code;
    char folder [64];    //  of the cache
    unsigned compiled;
} self_t;

static gpb_error_t error;

static void
s_check (gpb_status_t status)
{
    if (status != GPB_OK)
        gpb_bench_fail ("%s", error.text);
}

#define s_count(array) (sizeof (array) / sizeof (array) [0])

static void
s_measure (self_t *self, const gpb_bench_pair_t *pair)
{
    gpb_bench_pair_measure (pair, self, self->rounds, self->table, self->rows);
}

static void
s_measure_all (self_t *self, const gpb_bench_pair_t *pairs, size_t count)
{
    for (size_t index = 0; index < count; index++)
        s_measure (self, &pairs [index]);
}

//  ---------------------------------------------------------------------------------------------------------
//  Launches

static void
s_launch (self_t *self, const gpb_launch_t *launch, unsigned stream, gpb_notify_t notify,
          gpb_event_t **event_p)
{
    s_check (
        self->operations->launch (self->shared->context, stream, launch, notify, event_p, &error));
}

static void
s_launch_nothing (self_t *self, gpb_notify_t notify, gpb_event_t **event_p)
{
    const gpb_launch_t launch = {
        .function = self->nothing, .dimensions = 1, .global = { 1 }, .local = { 1 }
    };
    s_launch (self, &launch, 0, notify, event_p);
}

static void
s_finish (self_t *self, gpb_event_t **event_p)
{
    bool done = false;
    while (!done)
        s_check (self->operations->query (*event_p, &done, NULL, &error));
    self->operations->event_free (event_p);
}

static void
s_submit (void *argument, uint64_t number, gpb_bench_cell_t *cell)
{
    self_t *self = argument;
    (void) number;
    const uint64_t began_ns = gpb_clock_ns ();
    for (int count = 0; count < GPB_BENCH_SUBMITS; count++)
        s_launch_nothing (self, GPB_NOTIFY_NOT, NULL);
    cell->value = (double) (gpb_clock_ns () - began_ns) / GPB_BENCH_SUBMITS;
    gpb_event_t *event;
    s_launch_nothing (self, GPB_NOTIFY_NOT, &event);
    s_finish (self, &event);
}

static void
s_complete (void *argument, uint64_t number, gpb_bench_cell_t *cell)
{
    self_t *self = argument;
    (void) number;
    static gpb_histogram_t histogram;
    gpb_histogram_reset (&histogram);
    for (int count = 0; count < GPB_BENCH_LAUNCHES; count++) {
        gpb_event_t *event;
        const uint64_t began_ns = gpb_clock_ns ();
        s_launch_nothing (self, GPB_NOTIFY_NOT, &event);
        s_finish (self, &event);
        gpb_histogram_record (&histogram, gpb_clock_ns () - began_ns);
    }
    gpb_bench_cell_of (cell, &histogram);
}

//  As a device's actor waits.
static void
s_notified (void *argument, uint64_t number, gpb_bench_cell_t *cell)
{
    self_t *self = argument;
    (void) number;
    static gpb_histogram_t histogram;
    gpb_histogram_reset (&histogram);
    for (int count = 0; count < GPB_BENCH_LAUNCHES; count++) {
        gpb_event_t *event;
        uint64_t notices;
        struct pollfd item = { self->shared->device_fd, POLLIN, 0 };
        const uint64_t began_ns = gpb_clock_ns ();
        s_launch_nothing (self, GPB_NOTIFY, &event);
        if (poll (&item, 1, (int) (PATIENCE_NS / GPB_NS_PER_MS)) != 1
            || read (item.fd, &notices, sizeof notices) != (ssize_t) sizeof notices)
            gpb_bench_fail ("a launch does not notify");
        s_finish (self, &event);
        gpb_histogram_record (&histogram, gpb_clock_ns () - began_ns);
    }
    gpb_bench_cell_of (cell, &histogram);
}

//  The driver's side of each, behind one kind of function.
#define S_RAW(name)                                                                                \
    static void s_raw_##name (void *argument, uint64_t number, gpb_bench_cell_t *cell)             \
    {                                                                                              \
        self_t *self = argument;                                                                   \
        (void) number;                                                                             \
        gpb_bench_driver_##name (&self->driver, cell);                                             \
    }

S_RAW (submit)
S_RAW (complete)
S_RAW (synchronize)
S_RAW (mailbox)
S_RAW (allocate)
S_RAW (allocate_async)
S_RAW (loaded)

static void
s_measure_launches (self_t *self)
{
    static const gpb_bench_pair_t pairs [] = {
        { "empty launch, submitted", GPB_BENCH_TIME, s_submit, "cuLaunchKernel", s_raw_submit, 0 },
        { "empty launch, completed", GPB_BENCH_TIME, s_complete, "event, polled", s_raw_complete,
          0 },
        { "empty launch, eventfd", GPB_BENCH_TIME, s_notified, "cuStreamSynchronize",
          s_raw_synchronize, 0 },
    };
    s_measure_all (self, pairs, s_count (pairs));
}

//  ---------------------------------------------------------------------------------------------------------
//  Kernels that stay

static void
s_wake (self_t *self, unsigned lane)
{
    s_check (gpb_resident_wake (self->residents [lane], 0,
                                gpb_shared_context_host_stream (self->shared) + 1 + lane, IDLE_NS,
                                &self->clock, &error));
}

static void
s_park (self_t *self, unsigned lane)
{
    gpb_resident_park (self->residents [lane], 0);
    while (!gpb_resident_settle (self->residents [lane], 0))
        continue;
}

static void
s_publish (gpb_ring_t *ring, uint64_t number)
{
    const gpb_ring_message_t message = { .size = SIZE, .capacity = SIZE };
    memcpy (gpb_ring_input (ring), &number, sizeof number);
    gpb_ring_publish (ring, &message);
}

//  Takes the next answer, where there is one.
static bool
s_take (gpb_ring_t *ring, uint64_t number)
{
    gpb_ring_answer_t answer;
    if (!gpb_ring_answer (ring, &answer))
        return false;
    if (answer.size != SIZE || memcmp (answer.output, &number, sizeof number) != 0)
        gpb_bench_fail ("the ring's answer is not its message");
    gpb_ring_pop (ring);
    return true;
}

static void
s_ring (void *argument, uint64_t number, gpb_bench_cell_t *cell)
{
    self_t *self = argument;
    (void) number;
    static gpb_histogram_t histogram;
    gpb_histogram_reset (&histogram);
    gpb_ring_t *ring = &self->residents [0]->lanes [0].ring;
    s_wake (self, 0);
    for (uint64_t message = 0; message < GPB_BENCH_MESSAGES; message++) {
        const uint64_t sent_ns = gpb_clock_ns ();
        s_publish (ring, message);
        while (!s_take (ring, message))
            if (gpb_clock_ns () - sent_ns > PATIENCE_NS)
                gpb_bench_fail ("a lane does not answer");
        //  The first one is the launch's as well.
        if (message > 0)
            gpb_histogram_record (&histogram, gpb_clock_ns () - sent_ns);
    }
    s_park (self, 0);
    gpb_bench_cell_of (cell, &histogram);
}

//  number: of lanes, each of its own kernel on the device.
static void
s_lanes (void *argument, uint64_t number, gpb_bench_cell_t *cell)
{
    self_t *self = argument;
    uint64_t sent [GPB_BENCH_LANES_MAX] = { 0 }, taken [GPB_BENCH_LANES_MAX] = { 0 }, all = 0;
    for (unsigned lane = 0; lane < number; lane++)
        s_wake (self, lane);
    const uint64_t began_ns = gpb_clock_ns ();
    while (all < GPB_BENCH_MESSAGES) {
        if (gpb_clock_ns () - began_ns > PATIENCE_NS)
            gpb_bench_fail ("a lane does not answer");
        for (unsigned lane = 0; lane < number; lane++) {
            gpb_ring_t *ring = &self->residents [lane]->lanes [0].ring;
            while (sent [lane] < taken [lane] + DEPTH)
                s_publish (ring, sent [lane]++);
            for (; s_take (ring, taken [lane]); taken [lane]++)
                all++;
        }
    }
    cell->value = (double) all * 1e9 / (double) (gpb_clock_ns () - began_ns);
    for (unsigned lane = 0; lane < number; lane++) {
        gpb_ring_t *ring = &self->residents [lane]->lanes [0].ring;
        while (taken [lane] < sent [lane])
            taken [lane] += s_take (ring, taken [lane]);
        s_park (self, lane);
    }
}

static void
s_raw_mailboxes (void *argument, uint64_t number, gpb_bench_cell_t *cell)
{
    self_t *self = argument;
    gpb_bench_driver_mailboxes (&self->driver, (unsigned) number, cell);
}

static void
s_measure_messages (self_t *self)
{
    unsigned most =
        self->shared->lanes < GPB_BENCH_LANES_MAX ? self->shared->lanes : GPB_BENCH_LANES_MAX;
    if (most == 0) {
        fputs ("cuda: the device has no lanes, and no kernel stays on it\n", stderr);
        return;
    }
    const gpb_kernel_t *echo = gpb_kernels_lookup (self->kernels, "echo");
    for (unsigned lane = 0; lane < most; lane++) {
        self->residents [lane] =
            echo ? gpb_resident_new (self->shared, echo, self->cache, HEAP_SIZE, &error) : NULL;
        if (!self->residents [lane])
            gpb_bench_fail ("echo: %s", echo ? error.text : "there is no such kernel");
    }
    const gpb_bench_pair_t ring = { "ring round trip, 64 B", GPB_BENCH_TIME, s_ring,
                                    "two mapped words",      s_raw_mailbox,  0 };
    s_measure (self, &ring);
    for (unsigned lanes = 1; lanes <= most;
         lanes = lanes < most && lanes * 2 > most ? most : lanes * 2) {
        char what [64];
        snprintf (what, sizeof what, "messages, %u lane%s of %d", lanes, lanes > 1 ? "s" : "",
                  DEPTH);
        const gpb_bench_pair_t pair = {
            what, GPB_BENCH_RATE, s_lanes, "as many mailboxes of 1", s_raw_mailboxes, lanes
        };
        s_measure (self, &pair);
    }
    for (unsigned lane = 0; lane < most; lane++)
        gpb_resident_destroy (&self->residents [lane]);
}

//  ---------------------------------------------------------------------------------------------------------
//  Copies

static const gpb_bench_copy_t s_copies [] = {
    { "1 MiB, pinned, to the device", 1 << 20, true, true },
    { "1 MiB, pinned, from the device", 1 << 20, true, false },
    { "1 MiB, pageable, to the device", 1 << 20, false, true },
    { "1 MiB, pageable, from the device", 1 << 20, false, false },
    { "64 MiB, pinned, to the device", GPB_BENCH_COPY_MAX, true, true },
    { "64 MiB, pinned, from the device", GPB_BENCH_COPY_MAX, true, false },
    { "64 MiB, pageable, to the device", GPB_BENCH_COPY_MAX, false, true },
    { "64 MiB, pageable, from the device", GPB_BENCH_COPY_MAX, false, false },
};

static void
s_enqueue_copy (self_t *self, const gpb_bench_copy_t *copy, unsigned stream, gpb_event_t **event_p)
{
    const gpb_place_t device = { .memory = self->memory },
                      host = { .memory = copy->is_pinned ? self->pinned : NULL,
                               .address = copy->is_pinned ? NULL : self->driver.pageable };
    s_check (self->operations->copy (self->shared->context, stream,
                                     copy->is_upwards ? &device : &host,
                                     copy->is_upwards ? &host : &device, copy->size, GPB_NOTIFY_NOT,
                                     event_p, &error));
}

static void
s_copy (void *argument, uint64_t number, gpb_bench_cell_t *cell)
{
    self_t *self = argument;
    const gpb_bench_copy_t *copy = &s_copies [number];
    const uint64_t began_ns = gpb_clock_ns ();
    for (uint64_t copied = 0; copied < GPB_BENCH_COPIED; copied += copy->size) {
        gpb_event_t *event;
        s_enqueue_copy (self, copy, 0, &event);
        s_finish (self, &event);
    }
    cell->value = (double) GPB_BENCH_COPIED / (double) (gpb_clock_ns () - began_ns);
}

static void
s_raw_copy (void *argument, uint64_t number, gpb_bench_cell_t *cell)
{
    self_t *self = argument;
    gpb_bench_driver_copy (&self->driver, &s_copies [number], cell);
}

static void
s_enqueue_spin (self_t *self, gpb_event_t **event_p)
{
    const gpb_argument_t arguments [] = {
        { .kind = GPB_ARGUMENT_MEMORY, .memory = self->memory, .size = sizeof (uint64_t) },
        { .kind = GPB_ARGUMENT_SCALAR, .scalar = { .u64 = self->spin_rounds }, .size = 8 },
    };
    const gpb_launch_t launch = { .function = self->spin,
                                  .dimensions = 1,
                                  .global = { 1 },
                                  .local = { 1 },
                                  .arguments = arguments,
                                  .arguments_count = 2 };
    s_launch (self, &launch, 0, GPB_NOTIFY_NOT, event_p);
}

//  The kernel alone, the copy alone, both on a stream each.
static void
s_overlap (void *argument, uint64_t number, gpb_bench_cell_t *cell)
{
    self_t *self = argument;
    const gpb_bench_copy_t *copy = &s_copies [number];
    gpb_event_t *spun, *copied;
    uint64_t times_ns [4] = { gpb_clock_ns () };
    s_enqueue_spin (self, &spun);
    s_finish (self, &spun);
    times_ns [1] = gpb_clock_ns ();
    s_enqueue_copy (self, copy, 1, &copied);
    s_finish (self, &copied);
    times_ns [2] = gpb_clock_ns ();
    s_enqueue_spin (self, &spun);
    s_enqueue_copy (self, copy, 1, &copied);
    s_finish (self, &spun);
    s_finish (self, &copied);
    times_ns [3] = gpb_clock_ns ();
    cell->value = gpb_bench_overlap ((double) (times_ns [1] - times_ns [0]),
                                     (double) (times_ns [2] - times_ns [1]),
                                     (double) (times_ns [3] - times_ns [2]));
}

static void
s_raw_overlap (void *argument, uint64_t number, gpb_bench_cell_t *cell)
{
    self_t *self = argument;
    (void) number;
    gpb_bench_driver_overlap (&self->driver, self->spin_rounds, cell);
}

static void
s_measure_copies (self_t *self)
{
    enum { WHOLE = 4 };    //  64 MiB, pinned, to the device
    for (size_t index = 0; index < s_count (s_copies); index++) {
        const gpb_bench_pair_t pair = { s_copies [index].name, GPB_BENCH_BANDWIDTH, s_copy,
                                        "cuMemcpy...Async",    s_raw_copy,          index };
        s_measure (self, &pair);
    }
    self->spin_rounds = gpb_bench_driver_rounds (&self->driver);
    const gpb_bench_pair_t overlap = { "64 MiB up beside a kernel as long, hidden",
                                       GPB_BENCH_PERCENT,
                                       s_overlap,
                                       "the same on two streams",
                                       s_raw_overlap,
                                       WHOLE };
    s_measure (self, &overlap);
}

//  ---------------------------------------------------------------------------------------------------------
//  Memory

static void
s_allocate (void *argument, uint64_t number, gpb_bench_cell_t *cell)
{
    self_t *self = argument;
    (void) number;
    static gpb_histogram_t histogram;
    gpb_histogram_reset (&histogram);
    for (int count = 0; count < GPB_BENCH_ALLOCATIONS; count++) {
        gpb_memory_t *memory;
        const uint64_t began_ns = gpb_clock_ns ();
        s_check (self->operations->allocate (self->shared->context, GPB_MEMORY_DEVICE,
                                             GPB_ACCESS_READ_WRITE, GPB_BENCH_ALLOCATION_SIZE,
                                             &memory, &error));
        self->operations->release (&memory);
        gpb_histogram_record (&histogram, gpb_clock_ns () - began_ns);
    }
    gpb_bench_cell_of (cell, &histogram);
}

static void
s_rent (void *argument, uint64_t number, gpb_bench_cell_t *cell)
{
    self_t *self = argument;
    (void) number;
    static gpb_histogram_t histogram;
    gpb_histogram_reset (&histogram);
    for (int count = 0; count < GPB_BENCH_ALLOCATIONS; count++) {
        const uint64_t began_ns = gpb_clock_ns ();
        gpb_reply_t *reply =
            gpb_bench_call (self->pool, gpb_request_rent (GPB_BENCH_ALLOCATION_SIZE,
                                                          GPB_RENT_DEVICE, GPB_RENT_READ_WRITE));
        gpb_bench_do (self->pool, gpb_request_release (gpb_reply_handle (reply)));
        gpb_histogram_record (&histogram, gpb_clock_ns () - began_ns);
        gpb_reply_destroy (&reply);
    }
    gpb_bench_cell_of (cell, &histogram);
}

static void
s_measure_memory (self_t *self)
{
    static const gpb_bench_pair_t pairs [] = {
        { "1 MiB, pool rent + release, inproc", GPB_BENCH_TIME, s_rent, "cuMemAlloc + cuMemFree",
          s_raw_allocate, 0 },
        { "1 MiB, pool rent + release, inproc", GPB_BENCH_TIME, s_rent,
          "cuMemAlloc...Async + cuMemFreeAsync", s_raw_allocate_async, 0 },
        { "1 MiB, backend's allocate + release", GPB_BENCH_TIME, s_allocate,
          "cuMemAlloc + cuMemFree", s_raw_allocate, 0 },
        { "1 MiB, backend's allocate + release", GPB_BENCH_TIME, s_allocate,
          "cuMemAlloc...Async + cuMemFreeAsync", s_raw_allocate_async, 0 },
    };
    gpb_config_t *config = gpb_config_new ();
    if (!config)
        gpb_bench_fail ("no memory for a configuration");
    s_check (gpb_config_set (config, "backends", "cuda", &error));
    gpb_pool_args_t args = { .config = config, .index = 0 };
    zactor_t *pool = zactor_new (gpb_pool, &args);
    if (!pool)
        gpb_bench_fail ("the pool does not start");
    char *endpoint = gpb_bench_bind (pool, "inproc://bench-pool");
    self->pool = gpb_bench_client (endpoint);
    s_measure_all (self, pairs, s_count (pairs));
    gpb_client_destroy (&self->pool);
    zactor_destroy (&pool);
    zstr_free (&endpoint);
    gpb_config_destroy (&config);
}

//  ---------------------------------------------------------------------------------------------------------
//  A node

static void
s_request (void *argument, uint64_t number, gpb_bench_cell_t *cell)
{
    self_t *self = argument;
    (void) number;
    gpb_bench_figure_t figure;
    gpb_bench_run_client (self->client, &self->work, 1, CELL_NS, &figure);
    *cell = (gpb_bench_cell_t){ .value = figure.p50_ns, .p99 = figure.p99_ns };
}

//  Client, broker and device are two hops; and what the device does by the driver alone.
static void
s_echo_and_launch (void *argument, uint64_t number, gpb_bench_cell_t *cell)
{
    self_t *self = argument;
    (void) number;
    gpb_bench_figure_t figure;
    gpb_bench_driver_chain (&self->driver, cell);
    gpb_bench_run_echo (zsock_resolve (self->echo.clients [self->via]), &self->work, 1, CELL_NS,
                        &figure);
    *cell = (gpb_bench_cell_t){ .value = cell->value + figure.p50_ns,
                                .p99 = cell->p99 + figure.p99_ns };
}

static void
s_measure_requests (self_t *self, zactor_t *node)
{
    static const struct {
        via_t via;
        const char *bind, *what;
    } ways [] = {
        { INPROC, "inproc://bench-cuda", "request of 64 B over inproc" },
        { TCP, "tcp://127.0.0.1:*", "request of 64 B over tcp" },
    };
    char folder [] = "/tmp/gpb-bench-XXXXXX";
    if (!mkdtemp (folder))
        gpb_bench_fail ("no folder for an ipc socket");
    self->work = (gpb_bench_work_t){ .name = "noop", .size = SIZE, .request = gpb_bench_noop };
    for (size_t way = 0; way < s_count (ways); way++) {
        char *endpoint = gpb_bench_bind (node, ways [way].bind);
        self->client = gpb_bench_client (endpoint);
        gpb_bench_do (self->client, gpb_bench_noop (SIZE));
        gpb_bench_record (&self->work, endpoint);
        gpb_bench_echo_start (&self->echo, 2, self->work.answered, folder);
        self->via = ways [way].via;
        const gpb_bench_pair_t pair = { ways [way].what,   GPB_BENCH_TIME,
                                        s_request,         "echo + copy, launch, copy",
                                        s_echo_and_launch, 0 };
        s_measure (self, &pair);
        gpb_bench_echo_stop (&self->echo);
        gpb_bench_forget (&self->work);
        gpb_client_destroy (&self->client);
        zstr_free (&endpoint);
    }
    rmdir (folder);
}

//  ---------------------------------------------------------------------------------------------------------
//  Code

//  Each time another text for the compiler, so that nobody has it.
static void
s_compile (void *argument, uint64_t number, gpb_bench_cell_t *cell)
{
    self_t *self = argument;
    (void) number;
    char options [32];
    snprintf (options, sizeof options, "-DBENCH=%u", self->compiled++);
    gpb_code_t code = self->code;
    code.options = options;
    gpb_module_t *module;
    gpb_function_t *function;
    gpb_function_info_t info;
    const uint64_t began_ns = gpb_clock_ns ();
    s_check (self->operations->build (self->shared->context, &code, &module, &error));
    s_check (self->operations->function (module, KERNEL, &function, &info, &error));
    cell->value = (double) (gpb_clock_ns () - began_ns);
    self->operations->unload (&module);
}

static void
s_raw_compile (void *argument, uint64_t number, gpb_bench_cell_t *cell)
{
    self_t *self = argument;
    (void) number;
    gpb_bench_driver_compiled (&self->driver, &self->code, self->compiled++, cell);
}

//  By a cache of its own, as in a new process.
static void
s_cached (void *argument, uint64_t number, gpb_bench_cell_t *cell)
{
    self_t *self = argument;
    (void) number;
    gpb_cache_t *cache = gpb_cache_new (self->folder, CACHE_SIZE, &error);
    if (!cache)
        gpb_bench_fail ("no memory for a cache");
    gpb_module_t *module;
    gpb_function_t *function;
    gpb_function_info_t info;
    const uint64_t began_ns = gpb_clock_ns ();
    s_check (gpb_compile (gpb_kernels_lookup (self->kernels, KERNEL), "cuda", self->operations,
                          self->shared->context, cache, &module, &function, &info, NULL, &error));
    cell->value = (double) (gpb_clock_ns () - began_ns);
    self->operations->unload (&module);
    gpb_cache_destroy (&cache);
}

static void
s_remove_cache (self_t *self)
{
    DIR *folder = opendir (self->folder);
    for (struct dirent *entry = folder ? readdir (folder) : NULL; entry; entry = readdir (folder)) {
        char path [sizeof self->folder + 256];
        snprintf (path, sizeof path, "%s/%.255s", self->folder, entry->d_name);
        if (entry->d_name [0] != '.')
            unlink (path);
    }
    if (folder)
        closedir (folder);
    rmdir (self->folder);
}

static void
s_measure_code (self_t *self)
{
    static const gpb_bench_pair_t pairs [] = {
        { KERNEL " compiled and loaded", GPB_BENCH_TIME, s_compile, "NVRTC, cuModuleLoadData",
          s_raw_compile, 0 },
        { KERNEL " from the cache's folder", GPB_BENCH_TIME, s_cached, "cuModuleLoadData",
          s_raw_loaded, 0 },
    };
    const gpb_kernel_t *kernel = gpb_kernels_lookup (self->kernels, KERNEL);
    if (!kernel)
        gpb_bench_fail ("there is no kernel " KERNEL);
    s_check (gpb_kernel_code (kernel, "cuda", &self->code, &error));
    gpb_bench_driver_prepare (&self->driver, &self->code, KERNEL);
    snprintf (self->folder, sizeof self->folder, "/tmp/gpb-bench-XXXXXX");
    if (!mkdtemp (self->folder))
        gpb_bench_fail ("no folder for a cache");
    s_measure_all (self, pairs, s_count (pairs));
    s_remove_cache (self);
}

//  ---------------------------------------------------------------------------------------------------------
//  The whole

static void
s_open (self_t *self)
{
    const gpb_code_t code = gpb_bench_driver_code ();
    gpb_function_info_t info;
    self->shared = gpb_shared_context_open ("cuda", 0, 2, false, &error);
    self->kernels = self->shared ? gpb_kernels_open ("", &error) : NULL;
    self->cache = self->kernels ? gpb_cache_open ("none", 0, &error) : NULL;
    if (!self->cache)
        gpb_bench_fail ("%s", error.text);
    gpb_ticks_init (&self->clock);
    gpb_context_t *context = self->shared->context;
    self->operations = self->shared->operations;
    s_check (self->operations->build (context, &code, &self->module, &error));
    s_check (self->operations->function (self->module, "nothing", &self->nothing, &info, &error));
    s_check (self->operations->function (self->module, "spin", &self->spin, &info, &error));
    s_check (self->operations->allocate (context, GPB_MEMORY_DEVICE, GPB_ACCESS_READ_WRITE,
                                         GPB_BENCH_COPY_MAX, &self->memory, &error));
    s_check (self->operations->allocate (context, GPB_MEMORY_HOST, GPB_ACCESS_READ_WRITE,
                                         GPB_BENCH_COPY_MAX, &self->pinned, &error));
}

static void
s_close (self_t *self)
{
    self->operations->release (&self->pinned);
    self->operations->release (&self->memory);
    self->operations->unload (&self->module);
    gpb_cache_destroy (&self->cache);
    gpb_kernels_destroy (&self->kernels);
    gpb_shared_context_release (&self->shared);
    gpb_bench_driver_close (&self->driver);
}

int
main (int argc, char **argv)
{
    static self_t self;
    char reason [512];
    gpb_bench_begin (&self.bench, argc, argv);
    self.rounds = gpb_bench_rounds (&self.bench, GPB_BENCH_PAIR_ROUNDS);
    if (!gpb_bench_driver_open (&self.driver, reason, sizeof reason)) {
        printf ("cuda: nothing is measured: %s\n", reason);
        return 0;
    }
    self.rows = json_array ();
    self.table = gpb_bench_pair_table ();
    if (!self.rows || !self.table)
        gpb_bench_fail ("no memory for the table");
    s_open (&self);
    s_measure_launches (&self);
    s_measure_messages (&self);
    s_measure_copies (&self);
    s_measure_memory (&self);
    zactor_t *node = gpb_bench_node_with ("backends", "cuda");
    char *endpoint = gpb_bench_bind (node, "inproc://bench-cuda-device");
    gpb_client_t *client = gpb_bench_client (endpoint);
    gpb_bench_device (&self.bench, client);
    gpb_client_destroy (&client);
    zstr_free (&endpoint);
    s_measure_requests (&self, node);
    zactor_destroy (&node);
    s_measure_code (&self);
    s_close (&self);
    gpb_bench_print (&self.bench, "cuda", &self.table, self.rows);
    return 0;
}
