//  gpb_test_resident - a persistent kernel on a device for a test, without an actor around it
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_test_resident.h"

#include "gpb_clock.h"
#include "gpb_reference.h"
#include "gpb_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IDLE_NS (20 * GPB_NS_PER_MS)

static gpb_error_t error;

void
gpb_test_resident_open (gpb_test_resident_t *self, const char *backend, const char *folder,
                        const char *kernel, uint64_t heap_size)
{
    char path [4096];
    memset (self, 0, sizeof *self);
    snprintf (path, sizeof path, "%s/%s", getenv ("GPB_SOURCE_DIR"), folder);
    self->shared = gpb_shared_context_open (backend, 0, 1, false, &error);
    ck_assert_msg (self->shared != NULL, "%s", error.text);
    self->kernels = gpb_kernels_new (path, &error);
    self->cache = gpb_cache_new ("", 0, &error);
    ck_assert_uint_gt (self->shared->lanes, 0);
    self->resident = gpb_resident_new (self->shared, gpb_kernels_lookup (self->kernels, kernel),
                                       self->cache, heap_size, &error);
    ck_assert_msg (self->resident != NULL, "%s", error.text);
    gpb_ticks_init (&self->clock);
}

void
gpb_test_resident_close (gpb_test_resident_t *self)
{
    gpb_resident_destroy (&self->resident);
    gpb_cache_destroy (&self->cache);
    gpb_kernels_destroy (&self->kernels);
    gpb_shared_context_release (&self->shared);
}

void
gpb_test_resident_wake (gpb_test_resident_t *self)
{
    ck_assert_ok (gpb_resident_wake (self->resident, 0,
                                     gpb_shared_context_host_stream (self->shared) + 1, IDLE_NS,
                                     &self->clock, &error));
}

void
gpb_test_resident_settle (gpb_test_resident_t *self)
{
    uint64_t end_ns = gpb_clock_ns () + 30 * GPB_NS_PER_S;
    while (!gpb_resident_settle (self->resident, 0))
        ck_assert_msg (gpb_clock_ns () < end_ns, "the lane does not return");
}

//  ---------------------------------------------------------------------------------------------------------
//  What goes to each kernel, and what must come back

#define FLOATS 3    //  of a message, where nothing else is said
#define TOP_FLOATS 20

static uint64_t s_messages;

//  A value of a stream: whole numbers, negative ones too, that repeat after a prime.
static float
s_value (uint64_t index)
{
    return (float) ((int64_t) (index * 7919 % 10007) - 5003) / 8;
}

static void
s_fill_floats (uint64_t message, void *input)
{
    float *values = input;
    for (uint64_t index = 0; index < FLOATS; index++)
        values [index] = s_value (message * FLOATS + index);
}

//  To the bit, whatever they hold.
static void
s_expect_same (uint64_t message, const void *output, const void *expected, size_t size)
{
    if (memcmp (output, expected, size) != 0)
        ck_abort_msg ("message %llu is wrong", (unsigned long long) message);
}

static void
s_expect_double (uint64_t message, const void *output, uint32_t size)
{
    float values [FLOATS], expected [FLOATS];
    s_fill_floats (message, values);
    gpb_reference_double (expected, values, FLOATS);
    ck_assert_uint_eq (size, sizeof expected);
    s_expect_same (message, output, expected, size);
}

static void
s_expect_echo (uint64_t message, const void *output, uint32_t size)
{
    float values [FLOATS];
    s_fill_floats (message, values);
    ck_assert_uint_eq (size, sizeof values);
    s_expect_same (message, output, values, size);
}

static void
s_fill_top (uint64_t message, void *input)
{
    float *values = input;
    for (uint64_t index = 0; index < TOP_FLOATS; index++)
        values [index] = s_value (message * TOP_FLOATS + index);
}

static void
s_expect_top (uint64_t message, const void *output, uint32_t size)
{
    float values [TOP_FLOATS], expected [GPB_REFERENCE_TOP_K];
    s_fill_top (message, values);
    size_t count = gpb_reference_top_k (expected, values, TOP_FLOATS);
    if (size != count * sizeof *expected || memcmp (output, expected, size) != 0)
        ck_abort_msg ("message %llu is wrong", (unsigned long long) message);
}

static float *s_stream;
static gpb_reference_t *s_averages;

static void
s_make_stream (void)
{
    s_stream = malloc (FLOATS * s_messages * sizeof *s_stream);
    ck_assert_ptr_nonnull (s_stream);
    for (uint64_t message = 0; message < s_messages; message++)
        s_fill_floats (message, &s_stream [message * FLOATS]);
}

static void
s_make_averages (void)
{
    s_make_stream ();
    s_averages = malloc (FLOATS * s_messages * sizeof *s_averages);
    ck_assert_ptr_nonnull (s_averages);
    gpb_reference_moving_average (s_averages, s_stream, FLOATS * s_messages);
}

static void
s_expect_average (uint64_t message, const void *output, uint32_t size)
{
    const float *averages = output;
    ck_assert_uint_eq (size, FLOATS * sizeof *averages);
    for (uint64_t index = 0; index < FLOATS; index++) {
        const gpb_reference_t *expected = &s_averages [message * FLOATS + index];
        double difference = averages [index] - expected->value;
        if (difference > expected->bound || -difference > expected->bound)
            ck_abort_msg ("message %llu: %g, not %g", (unsigned long long) message,
                          (double) averages [index], expected->value);
    }
}

//  The count of every message; all five where the number of messages is a power of two, or the
//  last.
static void
s_expect_stats (uint64_t message, const void *output, uint32_t size)
{
    const double *statistics = output;
    const uint64_t messages = message + 1, values = messages * FLOATS;
    ck_assert_uint_eq (size, 5 * sizeof *statistics);
    if (statistics [0] != (double) values)
        ck_abort_msg ("message %llu: a count of %g", (unsigned long long) message, statistics [0]);
    if ((messages & (messages - 1)) != 0 && messages != s_messages)
        return;
    gpb_reference_t expected [5];
    gpb_reference_running_stats (expected, s_stream, values);
    for (size_t index = 0; index < 5; index++) {
        double difference = statistics [index] - expected [index].value;
        ck_assert_msg (difference <= expected [index].bound
                           && -difference <= expected [index].bound,
                       "statistic %zu after %llu messages: %g, not %g", index,
                       (unsigned long long) messages, statistics [index], expected [index].value);
    }
}

//  ---------------------------------------------------------------------------------------------------------
//  A stream

typedef struct {
    const char *kernel;
    uint32_t size, capacity;    //  bytes of a message and of its answer
    void (*prepare) (void);     //  NULL: nothing is to be prepared
    void (*fill) (uint64_t message, void *input);
    void (*expect) (uint64_t message, const void *output, uint32_t size);
} package_t;

static const package_t s_packages [] = {
    { "double", FLOATS * sizeof (float), FLOATS * sizeof (float), NULL, s_fill_floats,
      s_expect_double },
    { "echo", FLOATS * sizeof (float), FLOATS * sizeof (float), NULL, s_fill_floats,
      s_expect_echo },
    { "top_k", TOP_FLOATS * sizeof (float), GPB_REFERENCE_TOP_K * sizeof (float), NULL, s_fill_top,
      s_expect_top },
    { "moving_average", FLOATS * sizeof (float), FLOATS * sizeof (float), s_make_averages,
      s_fill_floats, s_expect_average },
    { "running_stats", FLOATS * sizeof (float), 5 * sizeof (double), s_make_stream, s_fill_floats,
      s_expect_stats },
};

//  As many in the ring as there are slots; where the lane has gone, being idle, it is woken.
static void
s_run (gpb_test_resident_t *self, const package_t *package)
{
    gpb_ring_t *ring = &self->resident->lanes [0].ring;
    const gpb_ring_message_t message = { .size = package->size, .capacity = package->capacity };
    uint64_t sent = 0;
    gpb_test_resident_wake (self);
    for (uint64_t received = 0; received < s_messages; received++) {
        gpb_ring_answer_t answer;
        while (!gpb_ring_answer (ring, &answer)) {
            if (sent < s_messages && gpb_ring_room (ring) > 0) {
                package->fill (sent++, gpb_ring_input (ring));
                gpb_ring_publish (ring, &message);
            }
            else if (gpb_resident_settle (self->resident, 0))
                gpb_test_resident_wake (self);
        }
        ck_assert_uint_eq (answer.index, received);
        ck_assert_int_eq (answer.outcome, GPB_RING_OK);
        package->expect (received, answer.output, answer.size);
        gpb_ring_pop (ring);
    }
    gpb_resident_park (self->resident, 0);
    gpb_test_resident_settle (self);
}

static const package_t *
s_find (const char *kernel)
{
    for (size_t index = 0; index < sizeof s_packages / sizeof s_packages [0]; index++)
        if (strcmp (s_packages [index].kernel, kernel) == 0)
            return &s_packages [index];
    ck_abort_msg ("there is no reference of %s", kernel);
}

void
gpb_test_resident_stream (const char *backend, const char *kernel, uint64_t messages)
{
    const package_t *package = s_find (kernel);
    s_messages = messages;
    if (package->prepare)
        package->prepare ();
    gpb_test_resident_t self;
    gpb_test_resident_open (&self, backend, "kernels", kernel, 0);
    s_run (&self, package);
    gpb_test_resident_close (&self);
    free (s_stream);
    free (s_averages);
    s_stream = NULL;
    s_averages = NULL;
}
