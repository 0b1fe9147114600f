//  Tests of the CUDA backend on a card: what ships is computed, memory comes and goes, kernels
//  stay, and a device that is lost comes back. Everything is the real driver's; where there is no
//  driver or no device the program says why and exits with 77, which `make check` counts as
//  skipped.
//
//      test_hardware [packages] [persistent] [memory] [faults]
//
//  runs groups by their names, all where none is named. `faults` provokes errors of the driver's:
//  a tool that looks for such has no use for it (bench/gpu.sh).
//
//  No test process may have called CUDA before it forked: main looks for devices in a process of
//  its own.

#include "gpb_test.h"

#include "gpb_alloc.h"
#include "gpb_backends.h"
#include "gpb_clock.h"
#include "gpb_test_actor.h"
#include "gpb_test_device.h"
#include "gpb_test_host.h"
#include "gpb_test_node.h"
#include "gpb_test_packages.h"
#include "gpb_test_resident.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB ((uint64_t) 1 << 20)

static gpb_error_t error;
static gpb_test_node_t s_node;
static gpb_client_t *s_client;

//  ---------------------------------------------------------------------------------------------------------
//  Kernels that are launched

static void
s_start (void)
{
    gpb_test_use_packages ("tests/kernels");
    gpb_test_use_packages ("examples/kernels");
    gpb_test_node_compose (&s_node, "inproc://hardware", "backends", "cuda");
    s_client = gpb_test_client (&s_node);
}

static void
s_stop (void)
{
    gpb_client_destroy (&s_client);
    gpb_test_node_stop (&s_node);
}

START_TEST (test_a_million_floats_add_up_as_specified)
{
    s_start ();
    gpb_test_package_million (s_client);
    s_stop ();
}
END_TEST

#define S_PACKAGE(kernel)                                                                          \
    START_TEST (test_##kernel##_is_its_reference)                                                  \
    {                                                                                              \
        s_start ();                                                                                \
        gpb_test_package_is_its_reference (s_client, #kernel);                                     \
        s_stop ();                                                                                 \
    }                                                                                              \
    END_TEST

S_PACKAGE (vector_add)
S_PACKAGE (saxpy)
S_PACKAGE (sobel)
S_PACKAGE (gaussian_blur)
S_PACKAGE (reduce)
S_PACKAGE (histogram)
S_PACKAGE (matmul)
S_PACKAGE (mandelbrot)
S_PACKAGE (nbody)

START_TEST (test_every_word_of_the_prelude_means_what_it_says)
{
    s_start ();
    gpb_test_package_words (s_client);
    s_stop ();
}
END_TEST

static bool
s_has_compiler (void)
{
    static const char source [] = "extern \"C\" __global__ void nothing () {}";
    const gpb_code_t code = { .kind = GPB_CODE_SOURCE,
                              .name = "nothing.cu",
                              .data = source,
                              .size = sizeof source - 1,
                              .options = "",
                              .architecture = "" };
    void *data;
    size_t size;
    if (gpb_backends_compile ("cuda", &code, "compute_80", &data, &size, &error) != GPB_OK)
        return false;
    gpb_free (data);
    return true;
}

//  Whole numbers, of which every partial sum is exact.
START_TEST (test_a_package_in_cuda_alone_is_computed)
{
    if (!s_has_compiler ()) {
        printf ("SKIP: examples/kernels/warp_sum: %s\n", error.text);
        return;
    }
    static const uint32_t counts [] = { 1, 31, 33, 1000, 1024, 100003, 1 << 21 };
    s_start ();
    for (size_t round = 0; round < sizeof counts / sizeof counts [0]; round++) {
        const uint32_t count = counts [round];
        float *values = gpb_test_package_memory (count, sizeof *values);
        float expected = 0;
        for (uint32_t index = 0; index < count; index++) {
            values [index] = (float) (index % 8);
            expected += values [index];
        }
        gpb_request_t *request = gpb_request_execute ("warp_sum");
        gpb_request_in (request, values, count * sizeof *values);
        gpb_request_out (request, 0);
        gpb_request_u32 (request, count);
        gpb_reply_t *reply = gpb_test_package_call (s_client, request);
        gpb_test_package_same (reply, 0, &expected, 1, sizeof expected);
        gpb_reply_destroy (&reply);
        free (values);
    }
    s_stop ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Kernels that stay

#define STREAM_MESSAGES 100000

START_TEST (test_every_persistent_package_is_its_reference)
{
    static const char *const kernels [] = { "double", "echo", "top_k", "moving_average",
                                            "running_stats" };
    for (size_t index = 0; index < sizeof kernels / sizeof kernels [0]; index++)
        gpb_test_resident_stream ("cuda", kernels [index], STREAM_MESSAGES);
}
END_TEST

#define FLOATS 16    //  of a message

static void
s_fill (uint64_t message, float *values)
{
    for (uint64_t index = 0; index < FLOATS; index++)
        values [index] = (float) (message * FLOATS + index) / 2;
}

//  Answers of one client to one lane come in the order of its messages.
START_TEST (test_a_stream_of_a_thousand_messages_through_the_host_is_doubled)
{
    enum { MESSAGES = 1000, IN_FLIGHT = 50 };
    gpb_test_actor_t actor;
    gpb_test_actor_host (&actor, "cuda", "tests/kernels_persistent", NULL);
    gpb_client_t *client = gpb_test_actor_client (GPB_TEST_ACTOR_INPROC);
    uint64_t sent = 0;
    float values [FLOATS], expected [FLOATS];
    for (uint64_t received = 0; received < MESSAGES; received++) {
        for (; sent < MESSAGES && sent < received + IN_FLIGHT; sent++) {
            s_fill (sent, values);
            gpb_test_actor_send (client, gpb_test_host_message ("double", values, sizeof values));
        }
        gpb_reply_t *reply = gpb_test_actor_recv (client);
        ck_assert_msg (gpb_reply_status (reply) == GPB_OK, "%s", gpb_reply_message (reply));
        s_fill (received, values);
        gpb_reference_double (expected, values, FLOATS);
        gpb_test_package_same (reply, 0, expected, FLOATS, sizeof expected [0]);
        ck_assert (!gpb_test_host_timing (reply)->on_demand);
        gpb_reply_destroy (&reply);
    }
    gpb_client_destroy (&client);
    gpb_test_actor_stop (&actor);
}
END_TEST

static uint64_t
s_free_size (const gpb_shared_context_t *shared)
{
    uint64_t free_size = 0;
    ck_assert_ok (shared->operations->memory_free (shared->context, &free_size, &error));
    return free_size;
}

static void
s_exchange (gpb_test_resident_t *self, uint64_t message)
{
    gpb_ring_t *ring = &self->resident->lanes [0].ring;
    float values [FLOATS], expected [FLOATS];
    s_fill (message, values);
    gpb_reference_double (expected, values, FLOATS);
    memcpy (gpb_ring_input (ring), values, sizeof values);
    gpb_ring_publish (ring,
                      &(gpb_ring_message_t){ .size = sizeof values, .capacity = sizeof values });
    gpb_ring_answer_t answer;
    uint64_t end_ns = gpb_clock_ns () + 30 * GPB_NS_PER_S;
    while (!gpb_ring_answer (ring, &answer))
        ck_assert_msg (gpb_clock_ns () < end_ns, "no answer comes");
    ck_assert_mem_eq (answer.output, expected, sizeof expected);
    gpb_ring_pop (ring);
}

static void
s_park (gpb_test_resident_t *self)
{
    gpb_resident_park (self->resident, 0);
    gpb_test_resident_settle (self);
    ck_assert_int_eq (self->resident->lanes [0].state, GPB_LANE_PARKED);
}

START_TEST (test_a_thousand_starts_parkings_wakings_and_stops_leave_nothing)
{
    enum { CYCLES = 1000, WARM = 10, SLACK = 4 };
    gpb_test_resident_t self;
    gpb_test_resident_open (&self, "cuda", "kernels", "double", 0);
    const gpb_kernel_t *kernel = gpb_kernels_lookup (self.kernels, "double");
    uint64_t free_size = 0;
    const uint64_t began_ns = gpb_clock_ns ();
    for (uint64_t cycle = 0; cycle < CYCLES; cycle++) {
        for (uint64_t waking = 0; waking < 2; waking++) {
            gpb_test_resident_wake (&self);
            s_exchange (&self, 2 * cycle + waking);
            s_park (&self);
        }
        ck_assert_uint_eq (self.resident->lanes [0].launches, 2);
        gpb_resident_destroy (&self.resident);
        if (cycle == WARM)
            free_size = s_free_size (self.shared);
        self.resident = gpb_resident_new (self.shared, kernel, self.cache, 0, &error);
        ck_assert_msg (self.resident != NULL, "%s", error.text);
    }
    printf ("%d cycles of start, wake, park, wake, park, stop: %.3f ms each\n", CYCLES,
            (double) (gpb_clock_ns () - began_ns) / 1e6 / CYCLES);
    gpb_resident_destroy (&self.resident);
    ck_assert_uint_ge (s_free_size (self.shared) + SLACK * MIB, free_size);
    gpb_test_resident_close (&self);
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Memory

typedef struct {
    uint64_t handle, size, mark;
} rent_t;

//  A mark at both ends: another rent that reached into this one would have left its own.
static void
s_rent (rent_t *rent, uint64_t size, gpb_rent_kind_t kind)
{
    static uint64_t rents;
    rents++;
    *rent = (rent_t){ .size = size, .mark = rents };
    rent->handle = gpb_test_actor_rent (s_client, size, kind, GPB_RENT_READ_WRITE);
    for (uint64_t end = 0; end < 2; end++)
        gpb_test_actor_done (s_client,
                             gpb_request_write (rent->handle, end * (size - sizeof rent->mark),
                                                &rent->mark, sizeof rent->mark));
}

static void
s_give_back (const rent_t *rent)
{
    uint64_t marks [2];
    gpb_test_actor_read (s_client, rent->handle, 0, &marks [0], sizeof marks [0]);
    gpb_test_actor_read (s_client, rent->handle, rent->size - sizeof marks [1], &marks [1],
                         sizeof marks [1]);
    ck_assert_uint_eq (marks [0], rent->mark);
    ck_assert_uint_eq (marks [1], rent->mark);
    gpb_test_actor_done (s_client, gpb_request_release (rent->handle));
}

START_TEST (test_the_pool_keeps_its_rents_apart_under_churn)
{
    enum { OPERATIONS = 4000, LIVE_MAX = 64 };
    static rent_t live [LIVE_MAX];
    size_t live_count = 0;
    uint64_t random = 1;
    s_start ();
    for (int operation = 0; operation < OPERATIONS; operation++) {
        random = random * 6364136223846793005 + 1442695040888963407;
        const uint64_t choice = random >> 33;
        if (live_count < LIVE_MAX && (live_count == 0 || choice % 8 < 5)) {
            //  16 bytes to a MiB, as many of each power of two.
            const uint64_t power = (uint64_t) 16 << choice / 8 % 16;
            s_rent (&live [live_count++], power + choice / 128 % power / 8 * 8,
                    choice % 5 == 0 ? GPB_RENT_MAPPED : GPB_RENT_DEVICE);
        }
        else {
            const size_t index = choice / 8 % live_count;
            s_give_back (&live [index]);
            live [index] = live [--live_count];
        }
    }
    while (live_count > 0)
        s_give_back (&live [--live_count]);
    gpb_test_wait_figure (s_client, gpb_test_rented, 0);
    s_stop ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Faults

START_TEST (test_a_card_that_is_full_refuses_and_works_on)
{
    enum { PARTS = 8 };
    gpb_test_device_t device;
    gpb_test_device_open (&device, "cuda", 0, 1, false);
    const gpb_backend_operations_t *operations = device.operations;
    const uint64_t part = device.info->total_memory / PARTS;
    gpb_memory_t *parts [PARTS + 1] = { NULL };
    gpb_status_t status = GPB_OK;
    size_t count = 0;
    for (; status == GPB_OK && count <= PARTS; count++)
        status = operations->allocate (device.context, GPB_MEMORY_DEVICE, GPB_ACCESS_READ_WRITE,
                                       part, &parts [count], &error);
    ck_assert_int_eq (status, GPB_RESOURCE_EXHAUSTED);
    printf ("full with %zu of %d parts: %s\n", count - 1, PARTS, error.text);
    for (size_t index = 0; index <= PARTS; index++)
        if (parts [index])
            operations->release (&parts [index]);
    gpb_memory_t *memory = gpb_test_device_memory (&device, GPB_MEMORY_DEVICE, part);
    uint64_t word = 0x0123456789abcdef, seen = 0;
    gpb_test_device_write (&device, memory, part - sizeof word, &word, sizeof word);
    gpb_test_device_read (&device, memory, part - sizeof word, &seen, sizeof seen);
    ck_assert_uint_eq (seen, word);
    operations->release (&memory);
    gpb_test_device_close (&device);
}
END_TEST

START_TEST (test_clients_that_rent_the_whole_card_are_refused_and_it_serves_on)
{
    enum { RENTS_MAX = 64 };
    s_start ();
    const Gpb__V1__Device *device;
    gpb_reply_t *reply = gpb_test_describe (s_client, 0, &device);
    const uint64_t size = device->total_memory / 16;
    gpb_reply_destroy (&reply);
    uint64_t handles [RENTS_MAX];
    size_t count = 0;
    gpb_status_t status = GPB_OK;
    while (status == GPB_OK && count < RENTS_MAX) {
        reply =
            gpb_test_call (s_client, gpb_request_rent (size, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE));
        status = gpb_reply_status (reply);
        if (status == GPB_OK)
            handles [count++] = gpb_reply_handle (reply);
        gpb_reply_destroy (&reply);
    }
    ck_assert_int_eq (status, GPB_RESOURCE_EXHAUSTED);
    ck_assert_uint_gt (count, 0);
    for (size_t index = 0; index < count; index++) {
        reply = gpb_test_call_ok (s_client, gpb_request_release (handles [index]));
        gpb_reply_destroy (&reply);
    }
    gpb_test_package_million (s_client);
    s_stop ();
}
END_TEST

START_TEST (test_an_illegal_address_costs_one_request_and_its_process_is_started_again)
{
    gpb_test_use_packages ("tests/kernels_crash");
    gpb_test_node_start (&s_node, "--backends", "cuda", "--set", "log_level=error", "--set",
                         "isolation=process");
    s_client = gpb_test_client (&s_node);
    gpb_test_package_million (s_client);
    gpb_request_t *request = gpb_request_execute ("segfault");
    gpb_request_u64 (request, 8);
    gpb_request_out (request, 0);
    const uint64_t sent_ns = gpb_clock_ns ();
    gpb_reply_t *reply = gpb_test_call (s_client, request);
    const uint64_t answered_ns = gpb_clock_ns ();
    ck_assert_msg (gpb_reply_status (reply) == GPB_UNAVAILABLE, "%s: %s",
                   gpb_status_name (gpb_reply_status (reply)), gpb_reply_message (reply));
    printf ("illegal address: %s\n", gpb_reply_message (reply));
    gpb_reply_destroy (&reply);
    gpb_test_await_ready (s_client, 0, 1);
    printf ("illegal address: answered after %.1f ms, ready again after %.1f ms more\n",
            (double) (answered_ns - sent_ns) / 1e6, (double) (gpb_clock_ns () - answered_ns) / 1e6);
    gpb_test_package_million (s_client);
    s_stop ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  What runs

static bool
s_is_named (const char *name, int argc, char **argv)
{
    for (int index = 1; index < argc; index++)
        if (strcmp (argv [index], name) == 0)
            return true;
    return argc == 1;
}

typedef struct {
    const char *group;
    const TTest *test;
} s_member_t;

#define TESTS_MAX 64

static size_t
s_choose (const TTest **tests, int argc, char **argv)
{
    const s_member_t all [] = {
        { "packages", test_a_million_floats_add_up_as_specified },
        { "packages", test_vector_add_is_its_reference },
        { "packages", test_saxpy_is_its_reference },
        { "packages", test_sobel_is_its_reference },
        { "packages", test_gaussian_blur_is_its_reference },
        { "packages", test_reduce_is_its_reference },
        { "packages", test_histogram_is_its_reference },
        { "packages", test_matmul_is_its_reference },
        { "packages", test_mandelbrot_is_its_reference },
        { "packages", test_nbody_is_its_reference },
        { "packages", test_every_word_of_the_prelude_means_what_it_says },
        { "packages", test_a_package_in_cuda_alone_is_computed },
        { "persistent", test_every_persistent_package_is_its_reference },
        { "persistent", test_a_stream_of_a_thousand_messages_through_the_host_is_doubled },
        { "persistent", test_a_thousand_starts_parkings_wakings_and_stops_leave_nothing },
        { "memory", test_the_pool_keeps_its_rents_apart_under_churn },
        { "faults", test_a_card_that_is_full_refuses_and_works_on },
        { "faults", test_clients_that_rent_the_whole_card_are_refused_and_it_serves_on },
        { "faults", test_an_illegal_address_costs_one_request_and_its_process_is_started_again },
    };
    size_t count = 0;
    for (size_t index = 0; index < sizeof all / sizeof all [0]; index++)
        if (s_is_named (all [index].group, argc, argv))
            tests [count++] = all [index].test;
    return count;
}

//  In a process of its own: the driver does not work in a child of one that has called it.
static bool
s_has_device (void)
{
    pid_t pid = fork ();
    if (pid == 0) {
        gpb_backends_t *backends = gpb_backends_new ("cuda", &error);
        const char *notice = backends ? gpb_backends_notice_peek (backends, 0) : error.text;
        const bool is_there = backends && gpb_backends_devices (backends) > 0;
        if (!is_there)
            printf ("SKIP: %s\n", notice ? notice : "there is no CUDA device");
        fflush (stdout);
        _exit (is_there ? EXIT_SUCCESS : EXIT_FAILURE);
    }
    int status;
    return pid > 0 && waitpid (pid, &status, 0) == pid && WIFEXITED (status)
           && WEXITSTATUS (status) == EXIT_SUCCESS;
}

int
main (int argc, char **argv)
{
    const TTest *tests [TESTS_MAX];
    const size_t count = s_choose (tests, argc, argv);
    if (count == 0) {
        fprintf (stderr, "Usage: %s [packages] [persistent] [memory] [faults]\n", argv [0]);
        return 2;
    }
    //  What a test has printed stands there though it fails.
    setvbuf (stdout, NULL, _IOLBF, 0);
    return s_has_device () ? gpb_test_run ("hardware", tests, count, 120) : 77;
}
