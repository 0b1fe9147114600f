//  gpb_bench_soak - a node under mixed load for as long as you like, and whether all was well
//
//  Starts a node (the gpb_actor program, over tcp on the loopback interface) and keeps CLIENTS
//  client processes busy with it (gpb_bench_soak_client.h says what they do). Clients come and go;
//  some are killed by SIGKILL in the middle of it. Every tenth is hostile instead
//  (gpb_bench_hostile_client.h), and about every 15 s a device's process is killed; --hostile 0 and
//  --crashes 0 do without. Every second the memory and open descriptors of the node's own process
//  are sampled. At the end all clients leave, and the node must be as it was: its devices ready,
//  nothing rented, queued, in flight or reserved, no connection but ours, descriptors back to what
//  they were, and its memory flat.
//
//  Exits with 1 where anything is off. What clients do comes from --seed, which is printed; what
//  the machine makes of it does not.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_alloc.h"
#include "gpb_bench_hostile_client.h"
#include "gpb_bench_soak_client.h"
#include "gpb_bench_verdict.h"
#include "gpb_clock.h"

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define SECONDS 600
#define CLIENTS 4
#define LIFE_MIN_S 2    //  of a client
#define LIFE_MAX_S 15
#define KILLED_ONE_IN 4    //  clients
#define WARM_S 3           //  of a first client, so that everything is compiled
#define SETTLE_NS (15 * GPB_NS_PER_S)
#define CLIENT_END_S 60      //  for the last clients to have their answers
#define HOSTILE_ONE_IN 10    //  clients

//  What gpb_actor leaves with malloc of what floods had it hold (its TRIM_SIZE).
#define KEPT_SIZE ((double) (64 << 20))
#define CRASHES_S 15         //  from one lost device to the next, on average
#define CHILDREN_MAX 64      //  of the node: as many devices as it may have
#define HIDDEN "--client"    //  the option of a client's process
#define HIDDEN_HOSTILE "--be-hostile"

typedef struct {
    gpb_bench_process_t process;
    uint64_t kill_ns;    //  when it is killed; 0: it leaves by itself
    bool is_hostile;     //  it has nothing to report
} client_t;

typedef struct {
    gpb_bench_t bench;
    uint64_t seconds, seed, random;
    uint64_t hostile_one_in, crashes_s;    //  0: none
    uint64_t next_crash_ns, crashes;
    char endpoint [256];
    gpb_bench_process_t node;
    gpb_client_t *client;    //  ours, which asks for the node's figures
    client_t clients [CLIENTS];
    uint64_t next_seed;
    gpb_bench_soak_report_t total;
    uint64_t came, left, killed, hostile, broken;    //  clients; broken: they ended wrongly
    uint64_t descriptors_before;
    gpb_bench_verdict_t verdict;
} self_t;

static uint64_t
s_random (self_t *self, uint64_t below)
{
    self->random = self->random * 6364136223846793005ULL + 1442695040888963407ULL;
    return (self->random >> 33) % below;
}

//  ---------------------------------------------------------------------------------------------------------
//  Clients

enum { COUNTS = sizeof (gpb_bench_soak_report_t) / sizeof (uint64_t) };

//  What a report counts, in the order in which a client's process prints it.
static void
s_counts (gpb_bench_soak_report_t *report, uint64_t *counts [COUNTS])
{
    uint64_t *all [COUNTS] = { &report->sent,      &report->answered, &report->ok,
                               &report->cancelled, &report->late,     &report->unavailable,
                               &report->gone,      &report->refused,  &report->wrong,
                               &report->twice,     &report->lost };
    memcpy (counts, all, sizeof all);
}

static int
s_be_client (char **arguments)
{
    gpb_bench_soak_report_t report;
    gpb_bench_soak_client (arguments [0], strtoull (arguments [1], NULL, 10),
                           strtoull (arguments [2], NULL, 10) * GPB_NS_PER_MS,
                           streq (arguments [3], "1"), &report);
    uint64_t *counts [COUNTS];
    s_counts (&report, counts);
    for (size_t index = 0; index < COUNTS; index++)
        printf ("%" PRIu64 " ", *counts [index]);
    puts ("");
    return 0;
}

static void
s_start_client (self_t *self, client_t *client, uint64_t life_ms, uint64_t kill_ns)
{
    char seed [32], life [32];
    snprintf (seed, sizeof seed, "%" PRIu64, self->next_seed++);
    snprintf (life, sizeof life, "%" PRIu64, life_ms);
    const char *const arguments [] = { NULL, HIDDEN, self->endpoint,
                                       seed, life,   self->crashes_s ? "1" : "0",
                                       NULL };
    gpb_bench_process_start (&client->process, arguments);
    client->kill_ns = kill_ns;
    client->is_hostile = false;
    self->came++;
}

//  It goes on until it is killed.
static void
s_start_hostile (self_t *self, client_t *client, uint64_t life_ms, uint64_t kill_ns)
{
    const char *name = gpb_bench_hostile_clients [s_random (self, GPB_BENCH_HOSTILE_CLIENTS)];
    char life [32];
    snprintf (life, sizeof life, "%" PRIu64, 2 * life_ms);
    const char *const arguments [] = { NULL, HIDDEN_HOSTILE, self->endpoint, name, life, NULL };
    gpb_bench_process_start (&client->process, arguments);
    client->kill_ns = kill_ns;
    client->is_hostile = true;
    self->hostile++;
}

//  Adds the report to the total; false where there is none.
static bool
s_read_report (self_t *self, client_t *client)
{
    char line [512];
    uint64_t values [COUNTS];
    if (!gpb_bench_process_line (&client->process, line, sizeof line))
        return false;
    const char *at = line;
    for (size_t index = 0; index < COUNTS; index++) {
        char *end;
        values [index] = strtoull (at, &end, 10);
        if (end == at)
            return false;
        at = end;
    }
    uint64_t *sums [COUNTS];
    s_counts (&self->total, sums);
    for (size_t index = 0; index < COUNTS; index++)
        *sums [index] += values [index];
    return true;
}

//  Looks at one client: whether it has left, or is to be killed now.
static void
s_look_after (self_t *self, client_t *client, uint64_t now_ns)
{
    if (!client->process.pid)
        return;
    if (client->kill_ns && client->kill_ns <= now_ns) {
        gpb_bench_process_end (&client->process, SIGKILL);
        self->killed += !client->is_hostile;
        return;
    }
    if (client->is_hostile)
        return;
    struct pollfd readable = { .fd = fileno (client->process.output), .events = POLLIN };
    if (poll (&readable, 1, 0) < 1)
        return;
    bool is_whole = s_read_report (self, client);
    bool is_well = gpb_bench_process_end (&client->process, 0) == 0;
    if (is_whole && is_well)
        self->left++;
    else
        self->broken++;
}

static bool
s_any_client (const self_t *self)
{
    for (size_t index = 0; index < CLIENTS; index++)
        if (self->clients [index].process.pid)
            return true;
    return false;
}

//  ---------------------------------------------------------------------------------------------------------
//  The load

static void
s_warm (self_t *self)
{
    client_t client;
    s_start_client (self, &client, WARM_S * 1000, 0);
    while (client.process.pid) {
        zclock_sleep (50);
        s_look_after (self, &client, gpb_clock_ns ());
    }
    zclock_sleep (500);    //  for its connection to go
    self->descriptors_before = gpb_bench_process_descriptors (&self->node);
}

//  Kills the process of one of the node's devices, and says when the next one is to be killed.
static void
s_crash (self_t *self, uint64_t now_ns)
{
    pid_t children [CHILDREN_MAX];
    size_t count = gpb_bench_process_children (&self->node, children, CHILDREN_MAX);
    bool is_first = self->next_crash_ns == 0;
    self->next_crash_ns = now_ns + s_random (self, 2 * self->crashes_s * 1000) * GPB_NS_PER_MS;
    if (count == 0 || is_first)
        return;
    size_t known = count < CHILDREN_MAX ? count : CHILDREN_MAX;
    if (kill (children [s_random (self, known)], SIGKILL) == 0)
        self->crashes++;
}

static void
s_soak (self_t *self)
{
    uint64_t start_ns = gpb_clock_ns (), end_ns = start_ns + self->seconds * GPB_NS_PER_S;
    uint64_t next_sample_ns = start_ns + GPB_NS_PER_S, now_ns = start_ns;
    while (now_ns < end_ns) {
        for (size_t index = 0; index < CLIENTS; index++) {
            client_t *client = &self->clients [index];
            s_look_after (self, client, now_ns);
            if (client->process.pid)
                continue;
            uint64_t life_ms =
                LIFE_MIN_S * 1000 + s_random (self, (LIFE_MAX_S - LIFE_MIN_S) * 1000);
            uint64_t left_ms = (end_ns - now_ns) / GPB_NS_PER_MS;
            if (life_ms > left_ms)
                life_ms = left_ms;
            if (self->hostile_one_in && s_random (self, self->hostile_one_in) == 0) {
                s_start_hostile (self, client, life_ms, now_ns + life_ms * GPB_NS_PER_MS);
                continue;
            }
            uint64_t kill_ns = s_random (self, KILLED_ONE_IN) == 0
                                   ? now_ns + s_random (self, life_ms + 1) * GPB_NS_PER_MS
                                   : 0;
            s_start_client (self, client, life_ms, kill_ns);
        }
        if (self->crashes_s && now_ns >= self->next_crash_ns)
            s_crash (self, now_ns);
        if (now_ns >= next_sample_ns) {
            gpb_bench_verdict_sample (&self->verdict, &self->node);
            next_sample_ns += GPB_NS_PER_S;
        }
        zclock_sleep (20);
        now_ns = gpb_clock_ns ();
        int status;
        if (gpb_bench_process_ended (&self->node, &status))
            gpb_bench_fail ("the node ended by itself (%d); --seed %" PRIu64, status, self->seed);
    }
    end_ns = now_ns + CLIENT_END_S * GPB_NS_PER_S;
    while (s_any_client (self)) {
        bool is_late = gpb_clock_ns () > end_ns;
        for (size_t index = 0; index < CLIENTS; index++) {
            client_t *client = &self->clients [index];
            s_look_after (self, client, gpb_clock_ns ());
            if (is_late && client->process.pid) {
                gpb_bench_process_end (&client->process, SIGKILL);
                self->broken++;
            }
        }
        zclock_sleep (20);
    }
}

//  ---------------------------------------------------------------------------------------------------------
//  Whether all is well

//  What the node still has of its clients.
typedef struct {
    uint64_t connections, queued, in_flight, rented, rented_size, reservations, descriptors,
        not_ready;
} left_t;

static left_t
s_left (self_t *self)
{
    gpb_reply_t *reply = gpb_bench_call (self->client, gpb_request_stats ());
    const Gpb__V1__StatsReply *stats = gpb_reply_header_peek (reply)->stats;
    left_t left = { .connections = stats->connections - 1,
                    .queued = stats->queue_depth,
                    .in_flight = stats->in_flight };
    for (size_t pool = 0; pool < stats->n_pools; pool++) {
        left.rented += stats->pools [pool]->live;
        left.rented_size += stats->pools [pool]->in_use;
        left.reservations += stats->pools [pool]->reservations;
    }
    for (size_t device = 0; device < stats->n_devices; device++)
        left.not_ready += stats->devices [device]->state != GPB__V1__DEVICE_STATE__READY;
    gpb_reply_destroy (&reply);
    uint64_t descriptors = gpb_bench_process_descriptors (&self->node);
    left.descriptors =
        descriptors > self->descriptors_before ? descriptors - self->descriptors_before : 0;
    return left;
}

//  Once nothing is left, or the time for that is up.
static void
s_add_left (self_t *self)
{
    const left_t nothing = { 0 };
    uint64_t end_ns = gpb_clock_ns () + SETTLE_NS;
    left_t left = s_left (self);
    while (memcmp (&left, &nothing, sizeof left) != 0 && gpb_clock_ns () < end_ns) {
        zclock_sleep (100);
        left = s_left (self);
    }
    gpb_bench_verdict_none (&self->verdict, "connections left", left.connections);
    gpb_bench_verdict_none (&self->verdict, "requests queued", left.queued);
    gpb_bench_verdict_none (&self->verdict, "requests in flight", left.in_flight);
    gpb_bench_verdict_none (&self->verdict, "buffers rented", left.rented);
    gpb_bench_verdict_none (&self->verdict, "bytes rented", left.rented_size);
    gpb_bench_verdict_none (&self->verdict, "reservations", left.reservations);
    gpb_bench_verdict_none (&self->verdict, "descriptors more than before", left.descriptors);
    gpb_bench_verdict_none (&self->verdict, "devices not ready", left.not_ready);
}

int
main (int argc, char **argv)
{
    if (argc == 6 && streq (argv [1], HIDDEN))
        return s_be_client (argv + 2);
    if (argc == 5 && streq (argv [1], HIDDEN_HOSTILE)) {
        gpb_bench_hostile_client (argv [3], argv [2],
                                  strtoull (argv [4], NULL, 10) * GPB_NS_PER_MS);
        _exit (0);    //  what is unsent is nobody's
    }
    static self_t self;
    self.seconds = SECONDS;
    self.seed = (uint64_t) time (NULL);
    self.hostile_one_in = HOSTILE_ONE_IN;
    self.crashes_s = CRASHES_S;
    const gpb_bench_number_t numbers [] = { { "seconds", &self.seconds, false },
                                            { "seed", &self.seed, false },
                                            { "hostile", &self.hostile_one_in, false },
                                            { "crashes", &self.crashes_s, false },
                                            { NULL, NULL, false } };
    gpb_bench_begin_with (&self.bench, argc, argv, numbers);
    self.random = self.next_seed = self.seed;
    gpb_bench_verdict_begin (&self.verdict, self.seconds);
    fprintf (stderr, "soak: %" PRIu64 " s, --seed %" PRIu64 "\n", self.seconds, self.seed);

    const char *const settings [] = { self.crashes_s ? "isolation=process" : NULL, NULL };
    gpb_bench_process_node (&self.node, settings, self.endpoint, sizeof self.endpoint);
    self.client = gpb_bench_client (self.endpoint);
    gpb_bench_device (&self.bench, self.client);
    s_warm (&self);
    s_soak (&self);

    gpb_bench_verdict_count (&self.verdict, "seconds", self.seconds);
    gpb_bench_verdict_count (&self.verdict, "seed", self.seed);
    gpb_bench_verdict_count (&self.verdict, "clients", self.came);
    gpb_bench_verdict_count (&self.verdict, "clients killed", self.killed);
    gpb_bench_verdict_count (&self.verdict, "hostile clients", self.hostile);
    gpb_bench_verdict_count (&self.verdict, "devices killed", self.crashes);
    gpb_bench_verdict_none (&self.verdict, "clients that ended wrongly", self.broken);
    gpb_bench_verdict_count (&self.verdict, "requests sent by those that left", self.total.sent);
    gpb_bench_verdict_add (&self.verdict, "answers to them", (double) self.total.answered,
                           (double) self.total.sent, self.total.answered == self.total.sent);
    gpb_bench_verdict_count (&self.verdict, "answered OK", self.total.ok);
    gpb_bench_verdict_count (&self.verdict, "answered CANCELLED", self.total.cancelled);
    gpb_bench_verdict_count (&self.verdict, "answered DEADLINE_EXCEEDED", self.total.late);
    gpb_bench_verdict_count (&self.verdict, "answered UNAVAILABLE", self.total.unavailable);
    gpb_bench_verdict_count (&self.verdict, "answered DATA_LOSS", self.total.gone);
    gpb_bench_verdict_none (&self.verdict, "answered as they may not be", self.total.refused);
    gpb_bench_verdict_none (&self.verdict, "wrong results", self.total.wrong);
    gpb_bench_verdict_none (&self.verdict, "answers nobody waited for", self.total.twice);
    gpb_bench_verdict_none (&self.verdict, "never answered", self.total.lost);
    s_add_left (&self);
    gpb_bench_verdict_flat (&self.verdict, self.hostile_one_in ? KEPT_SIZE : 0);
    gpb_client_destroy (&self.client);
    gpb_bench_verdict_none (&self.verdict, "the node's exit status",
                            (uint64_t) (unsigned) gpb_bench_process_end (&self.node, SIGTERM));
    return gpb_bench_verdict_end (&self.verdict, &self.bench, "soak");
}
