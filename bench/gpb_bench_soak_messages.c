//  gpb_bench_soak_messages - persistent kernels at full rate while they come and go
//
//  A node by itself, gpb_actor over tcp, that takes kernels from clients and has one seat for
//  lanes, so that its kernels take it from one another. Some clients, a thread each, keep messages
//  to several kernels in flight: most are answered OK, some are taken back, some have a time-out
//  that is too short, some ask for a launch of their own; now and then a client pauses, so that
//  lanes park, or ends in the middle, and another comes. Meanwhile the kernels that count their
//  messages are replaced, with their state or without.
//
//  Well is: every message answered once, with a status that it may have, and right where it is OK;
//  at the end nothing is left in the node, and its memory is flat. Exits with 1 where something is
//  not. Random, with a seed that is printed.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_alloc.h"
#include "gpb_bench_verdict.h"
#include "gpb_clock.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#define SECONDS 600
#define CLIENTS 4
#define IN_FLIGHT 64
#define REPLACE_MS 700         //  between two replacements
#define LIFE_MESSAGES 20000    //  of a client, at the most
#define SAMPLE_MS 1000
#define SETTLE_NS (20 * GPB_NS_PER_S)
#define FLOATS 8

static const char *const s_kernels [] = { "double", "echo", "soak_count", "moving_average" };
#define KERNELS (sizeof s_kernels / sizeof s_kernels [0])

//  In every replacement it is the same function: what it answers tells how often it was called
//  since it began.
static const char s_definition [] =
    "id = \"soak_count\"; description = \"\"; source = \"soak_count.c\"; persistent = true;"
    "lanes = 2; slots = 32; state = 8;"
    "parameters = ({ name = \"in\"; direction = \"in\"; type = \"f32\"; },"
    "{ name = \"out\"; direction = \"out\"; type = \"u64\"; count = \"1\"; });";
static const char s_source [] =
    "HANDLER (soak_count) (GLOBAL const void *in, uint in_size, GLOBAL void *out, uint *out_size,\n"
    "    GLOBAL void *state)\n"
    "{ (void) in; (void) in_size; GLOBAL ulong *count = (GLOBAL ulong *) state;\n"
    "  *(GLOBAL ulong *) out = ++*count; *out_size = 8; }\n";

typedef struct {
    uint64_t sent, answered, ok, cancelled, late, exhausted;
    uint64_t refused, wrong, twice, lost;    //  none of these may be
} counts_t;

typedef struct {
    pthread_t thread;
    const char *endpoint;
    uint64_t random;
    counts_t counts;
} client_t;

typedef struct {
    gpb_bench_t bench;
    gpb_bench_process_t node;
    char endpoint [256];
    gpb_client_t *client;
    client_t clients [CLIENTS];
    uint64_t replaced, seconds, seed;
    gpb_bench_verdict_t verdict;
} self_t;

static atomic_bool s_is_over;

//  Knuth's MMIX generator: its high bits are good enough to choose by.
static uint32_t
s_random (uint64_t *state, uint32_t below)
{
    *state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t) ((*state >> 33) % below);
}

//  ---------------------------------------------------------------------------------------------------------
//  A client

//  What was sent under an id, until it is answered.
typedef struct {
    bool is_sent, is_answered;
    uint8_t kernel;
    bool may_be_cancelled, may_be_late;
    float first;
} message_t;

static bool
s_is_right (const message_t *message, const gpb_reply_t *reply)
{
    size_t size = 0;
    const void *result = gpb_reply_result (reply, 0, &size);
    const float *floats = result;
    switch (message->kernel) {
    case 0: return size == FLOATS * sizeof (float) && floats [0] == 2 * message->first;
    case 1: return size == FLOATS * sizeof (float) && floats [0] == message->first;
    case 2: return size == 8 && *(const uint64_t *) result > 0;
    default: return size == FLOATS * sizeof (float);
    }
}

static void
s_send (client_t *self, gpb_client_t *client, message_t *messages)
{
    message_t message = { .is_sent = true, .kernel = (uint8_t) s_random (&self->random, KERNELS) };
    float values [FLOATS];
    for (int index = 0; index < FLOATS; index++)
        values [index] = (float) s_random (&self->random, 1000);
    message.first = values [0];
    gpb_request_t *request = gpb_request_execute (s_kernels [message.kernel]);
    gpb_request_in (request, values, sizeof values);
    gpb_request_out (request, 0);
    if (s_random (&self->random, 4) == 0)
        gpb_request_lane (request, s_random (&self->random, 16));
    if (s_random (&self->random, 50) == 0)
        gpb_request_on_demand (request);
    message.may_be_late = s_random (&self->random, 100) == 0;
    if (message.may_be_late)
        gpb_request_set_timeout (request, 1);
    message.may_be_cancelled = s_random (&self->random, 100) == 0;
    gpb_error_t error;
    uint64_t id = gpb_client_send (client, &request, &error);
    if (!id)
        gpb_bench_fail ("soak: %s", error.text);
    messages [id % (LIFE_MESSAGES + 1)] = message;
    self->counts.sent++;
    if (message.may_be_cancelled)
        gpb_client_cancel (client, id, &error);
}

static void
s_receive (client_t *self, gpb_client_t *client, message_t *messages)
{
    gpb_reply_t *reply = gpb_client_recv (client, 60000);
    if (!reply) {
        self->counts.lost++;
        return;
    }
    counts_t *counts = &self->counts;
    message_t *message = &messages [gpb_reply_id (reply) % (LIFE_MESSAGES + 1)];
    counts->answered++;
    counts->twice += !message->is_sent || message->is_answered;
    message->is_answered = true;
    switch (gpb_reply_status (reply)) {
    case GPB_OK:
        counts->ok++;
        counts->wrong += !s_is_right (message, reply);
        break;
    case GPB_CANCELLED:
        counts->cancelled++;
        counts->refused += !message->may_be_cancelled;
        break;
    case GPB_DEADLINE_EXCEEDED:
        counts->late++;
        counts->refused += !message->may_be_late;
        break;
    case GPB_RESOURCE_EXHAUSTED: counts->exhausted++; break;
    default:
        if (counts->refused++ < 5)
            fprintf (stderr, "soak: %s: %s: %s\n", s_kernels [message->kernel],
                     gpb_status_name (gpb_reply_status (reply)), gpb_reply_message (reply));
    }
    gpb_reply_destroy (&reply);
}

//  One life: what is in flight at its end is waited for, or left where the client just goes; then
//  it counts as never sent.
static void
s_live (client_t *self, message_t *messages)
{
    gpb_client_t *client = gpb_bench_client (self->endpoint);
    const uint32_t most = 1 + s_random (&self->random, LIFE_MESSAGES);
    const bool just_goes = s_random (&self->random, 3) == 0;
    memset (messages, 0, (LIFE_MESSAGES + 1) * sizeof *messages);
    uint64_t sent = 0, received = 0;
    while (sent < most && !atomic_load (&s_is_over)) {
        for (; sent < most && sent - received < IN_FLIGHT; sent++)
            s_send (self, client, messages);
        s_receive (self, client, messages);
        received++;
        if (s_random (&self->random, 20000) == 0)
            zclock_sleep (100);    //  lanes park meanwhile
    }
    if (just_goes)
        self->counts.sent -= sent - received;
    for (; !just_goes && received < sent; received++)
        s_receive (self, client, messages);
    gpb_client_destroy (&client);
}

static void *
s_client (void *client)
{
    client_t *self = client;
    message_t *messages = gpb_alloc (LIFE_MESSAGES + 1, sizeof *messages);
    if (!messages)
        gpb_bench_fail ("no memory for a client's messages");
    while (!atomic_load (&s_is_over))
        s_live (self, messages);
    gpb_free (messages);
    return NULL;
}

//  ---------------------------------------------------------------------------------------------------------
//  The soak

static void
s_register (self_t *self, bool keeps_state)
{
    gpb_request_t *request = gpb_request_register (s_definition, s_source, true);
    if (keeps_state)
        gpb_request_keep_state (request);
    gpb_bench_do (self->client, request);
}

static void
s_soak (self_t *self)
{
    const uint64_t end_ns = gpb_clock_ns () + self->seconds * (uint64_t) GPB_NS_PER_S;
    uint64_t next_ns = 0, random = self->seed;
    for (size_t index = 0; index < CLIENTS; index++) {
        self->clients [index].endpoint = self->endpoint;
        self->clients [index].random = self->seed + index;
        if (pthread_create (&self->clients [index].thread, NULL, s_client, &self->clients [index]))
            gpb_bench_fail ("no thread for a client");
    }
    while (gpb_clock_ns () < end_ns) {
        zclock_sleep (REPLACE_MS);
        s_register (self, s_random (&random, 2) == 0);
        self->replaced++;
        if (gpb_clock_ns () >= next_ns) {
            gpb_bench_verdict_sample (&self->verdict, &self->node);
            next_ns = gpb_clock_ns () + SAMPLE_MS * (uint64_t) GPB_NS_PER_MS;
        }
    }
    atomic_store (&s_is_over, true);
    for (size_t index = 0; index < CLIENTS; index++)
        pthread_join (self->clients [index].thread, NULL);
}

//  ---------------------------------------------------------------------------------------------------------
//  Whether all was well

static void
s_add_counts (self_t *self)
{
    counts_t total = { 0 };
    for (size_t index = 0; index < CLIENTS; index++) {
        const counts_t *counts = &self->clients [index].counts;
        total.sent += counts->sent;
        total.answered += counts->answered;
        total.ok += counts->ok;
        total.cancelled += counts->cancelled;
        total.late += counts->late;
        total.exhausted += counts->exhausted;
        total.refused += counts->refused;
        total.wrong += counts->wrong;
        total.twice += counts->twice;
        total.lost += counts->lost;
    }
    gpb_bench_verdict_count (&self->verdict, "seconds", self->seconds);
    gpb_bench_verdict_count (&self->verdict, "seed", self->seed);
    gpb_bench_verdict_count (&self->verdict, "kernels replaced", self->replaced);
    gpb_bench_verdict_count (&self->verdict, "messages sent by those that waited", total.sent);
    gpb_bench_verdict_add (&self->verdict, "answers to them", (double) total.answered,
                           (double) total.sent, total.answered == total.sent);
    gpb_bench_verdict_count (&self->verdict, "answered OK", total.ok);
    gpb_bench_verdict_count (&self->verdict, "answered CANCELLED", total.cancelled);
    gpb_bench_verdict_count (&self->verdict, "answered DEADLINE_EXCEEDED", total.late);
    gpb_bench_verdict_count (&self->verdict, "answered RESOURCE_EXHAUSTED", total.exhausted);
    gpb_bench_verdict_none (&self->verdict, "answered as they may not be", total.refused);
    gpb_bench_verdict_none (&self->verdict, "wrong results", total.wrong);
    gpb_bench_verdict_none (&self->verdict, "answered twice", total.twice);
    gpb_bench_verdict_none (&self->verdict, "never answered", total.lost);
}

//  What is in flight, and how many versions of kernels still finish what they had.
static uint64_t
s_left (self_t *self, uint64_t *launches_p)
{
    gpb_reply_t *reply = gpb_bench_call (self->client, gpb_request_stats ());
    const Gpb__V1__StatsReply *stats = gpb_reply_header_peek (reply)->stats;
    uint64_t left = stats->in_flight + stats->queue_depth;
    *launches_p = 0;
    for (size_t index = 0; index < stats->n_residencies; index++) {
        const Gpb__V1__Residency *residency = stats->residencies [index];
        left += residency->waiting + (residency->state == GPB__V1__RESIDENCY_STATE__STOPPED);
        *launches_p += residency->launches;
    }
    gpb_reply_destroy (&reply);
    return left;
}

static void
s_add_left (self_t *self)
{
    uint64_t launches, end_ns = gpb_clock_ns () + SETTLE_NS, left = s_left (self, &launches);
    while (left > 0 && gpb_clock_ns () < end_ns) {
        zclock_sleep (200);
        left = s_left (self, &launches);
    }
    gpb_bench_verdict_add (&self->verdict, "lanes woken", (double) launches, -1, true);
    gpb_bench_verdict_none (&self->verdict, "messages and versions left", left);
}

int
main (int argc, char **argv)
{
    static self_t self;
    self.seconds = SECONDS;
    self.seed = (uint64_t) time (NULL);
    const gpb_bench_number_t numbers [] = { { "seconds", &self.seconds, false },
                                            { "seed", &self.seed, false },
                                            { NULL, NULL, false } };
    gpb_bench_begin_with (&self.bench, argc, argv, numbers);
    gpb_bench_verdict_begin (&self.verdict, self.seconds);
    fprintf (stderr, "soak of messages: %" PRIu64 " s, --seed %" PRIu64 "\n", self.seconds,
             self.seed);
    static const char *const settings [] = { "isolation=thread", "allow_register=true",
                                             "persistent_idle_ms=5", "resident_lanes=1", NULL };
    gpb_bench_process_node (&self.node, settings, self.endpoint, sizeof self.endpoint);
    self.client = gpb_bench_client (self.endpoint);
    gpb_bench_device (&self.bench, self.client);
    s_register (&self, false);
    s_soak (&self);
    s_add_counts (&self);
    s_add_left (&self);
    gpb_bench_verdict_flat (&self.verdict, 0);
    gpb_client_destroy (&self.client);
    gpb_bench_verdict_none (&self.verdict, "the node's exit status",
                            (uint64_t) (unsigned) gpb_bench_process_end (&self.node, SIGTERM));
    return gpb_bench_verdict_end (&self.verdict, &self.bench, "soak of messages");
}
