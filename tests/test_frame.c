//  Tests of gpb_frame: rates are differences by the node's own clock, a node that started again or
//  does not answer shows as that, and a line fits into the terminal.

#include "gpb_frame.h"
#include "gpb_test.h"

#include "gpb_alloc.h"

#include <stdlib.h>
#include <string.h>

static gpb_error_t error;

//  A node with one device, and what points at it.
typedef struct {
    Gpb__V1__Latency minute;
    Gpb__V1__Load load;
    Gpb__V1__Device device, *devices [1];
    Gpb__V1__PoolStats pool, *pools [1];
    uint64_t waiting [7];
    Gpb__V1__Lane lane, *lanes [1];
    Gpb__V1__Residency residency, *residencies [1];
    Gpb__V1__StatsReply stats;
} s_node_t;

static void
s_fill (s_node_t *self, uint64_t uptime_ns, uint64_t processed)
{
    memset (self, 0, sizeof *self);
    gpb__v1__latency__init (&self->minute);
    self->minute.count = 3;
    self->minute.p50_ns = 254000;
    self->minute.p95_ns = 7770000;
    gpb__v1__load__init (&self->load);
    self->load.processed = processed;
    self->load.latency_minute = &self->minute;
    gpb__v1__device__init (&self->device);
    self->device.index = 5;
    self->device.name = "a device with a name of forty characters";
    self->device.state = GPB__V1__DEVICE_STATE__READY;
    self->device.load = &self->load;
    self->device.available_memory = 3 << 20;
    self->devices [0] = &self->device;
    gpb__v1__pool_stats__init (&self->pool);
    self->pool.device = 5;
    self->pool.hits = 3;
    self->pool.misses = 1;
    self->pool.internal_fragmentation = 0.25;
    self->pools [0] = &self->pool;
    gpb__v1__stats_reply__init (&self->stats);
    self->stats.node = "left";
    self->stats.uptime_ns = uptime_ns;
    self->stats.requests = processed;
    self->stats.queue_depth = 3;
    self->stats.max_queue_depth = 1024;
    self->waiting [6] = 2;
    self->stats.n_waiting = 7;
    self->stats.waiting = self->waiting;
    self->stats.n_devices = 1;
    self->stats.devices = self->devices;
    self->stats.n_pools = 1;
    self->stats.pools = self->pools;
}

//  The frame's text; the caller frees it.
static char *
s_print (const gpb_frame_t *frame)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream (&text, &size);
    ck_assert_ptr_nonnull (out);
    ck_assert_ok (gpb_frame_print (frame, out, &error));
    ck_assert_int_eq (fclose (out), 0);
    return text;
}

static void
s_assert_has (const char *text, const char *part)
{
    ck_assert_msg (strstr (text, part) != NULL, "\"%s\" is not in:\n%s", part, text);
}

START_TEST (test_rates_are_differences_by_the_nodes_clock)
{
    static s_node_t before, now;
    s_fill (&before, 10000000000, 1000);
    s_fill (&now, 12000000000, 3469);
    gpb_frame_t frame = { .endpoint = "tcp://a:1", .now = &now.stats, .before = &before.stats };
    ck_assert (gpb_frame_rate (&frame, 3469, 1000) == 1234.5);
    ck_assert (gpb_frame_rate (&frame, 7, 7) == 0);
    ck_assert (gpb_frame_rate (&frame, 6, 7) == 0);
    ck_assert_ptr_eq (gpb_frame_load_before (&frame, 5), &before.load);
    ck_assert_ptr_null (gpb_frame_load_before (&frame, 0));
    char *text = s_print (&frame);
    s_assert_has (text, "node left at tcp://a:1, up 00:00:12\n");
    s_assert_has (text, "1234 requests/s");
    s_assert_has (text, "queued 3 of 1024");
    s_assert_has (text, "+2: 0  +3: 2\n");
    s_assert_has (text, "254 µs  7.77 ms");
    s_assert_has (text, "a device with a name of forty characters  ready");
    s_assert_has (text, "3.0 MiB");
    s_assert_has (text, "75%");
    s_assert_has (text, "25%");
    free (text);
    now.stats.uptime_ns = 3 * 86400000000000 + 3661000000000;
    text = s_print (&frame);
    s_assert_has (text, "up 3 d 01:01:01");
    free (text);
}
END_TEST

START_TEST (test_without_an_answer_before_there_is_no_rate)
{
    static s_node_t now, before;
    s_fill (&now, 5000000000, 9);
    gpb_frame_t frame = { .endpoint = "tcp://a:1", .now = &now.stats };
    ck_assert (gpb_frame_rate (&frame, 9, 1) < 0);
    char *text = s_print (&frame);
    s_assert_has (text, "- requests/s, - replies/s");
    free (text);
    //  Nor with one of an earlier life of the node.
    s_fill (&before, 5000000000, 7);
    frame.before = &before.stats;
    ck_assert (gpb_frame_rate (&frame, 9, 7) < 0);
}
END_TEST

START_TEST (test_a_node_that_does_not_answer_shows_as_that)
{
    gpb_frame_t frame = { .endpoint = "tcp://a:1" };
    char *text = s_print (&frame);
    ck_assert_str_eq (text, "gpb top: tcp://a:1\nasking\n");
    free (text);
    frame.trouble = "UNAVAILABLE: gone";
    text = s_print (&frame);
    ck_assert_str_eq (text, "gpb top: tcp://a:1\nNO ANSWER: UNAVAILABLE: gone\n");
    free (text);
    //  Its last figures stay.
    static s_node_t now;
    s_fill (&now, 5000000000, 9);
    frame.now = &now.stats;
    text = s_print (&frame);
    s_assert_has (text, "\nNO ANSWER: UNAVAILABLE: gone\n");
    s_assert_has (text, "queued 3 of 1024");
    free (text);
}
END_TEST

static int
s_longest_line (const char *text)
{
    int longest = 0, length = 0;
    for (; *text; text++) {
        length = *text == '\n' ? 0 : length + (((unsigned char) *text & 0xC0) != 0x80);
        longest = length > longest ? length : longest;
    }
    return longest;
}

START_TEST (test_a_frame_of_large_figures_fits_into_80_columns)
{
    static s_node_t before, now;
    s_fill (&before, 1000000000, 0);
    s_fill (&now, 2000000000, 123400);
    now.load.failed = 999;
    now.load.queue_depth = 99999;
    now.load.in_flight = 64;
    now.minute.p50_ns = now.minute.p99_ns = 99900000;
    now.load.queued = &now.minute;
    now.device.state = GPB__V1__DEVICE_STATE__READY;
    gpb_frame_t frame = {
        .endpoint = "tcp://a:1", .now = &now.stats, .before = &before.stats, .columns = 80
    };
    char *text = s_print (&frame);
    ck_assert_msg (s_longest_line (text) <= 80, "%d:\n%s", s_longest_line (text), text);
    s_assert_has (text, "a device w  ready");
    ck_assert_ptr_null (strstr (text, "P95"));
    free (text);
    //  What a wider one has left goes to the 95th percentile, and to the name.
    frame.columns = 100;
    text = s_print (&frame);
    ck_assert_int_le (s_longest_line (text), 100);
    s_assert_has (text, "P95");
    s_assert_has (text, "a device with a name   ready");
    free (text);
}
END_TEST

//  With a persistent kernel that has answered so many.
static void
s_fill_residency (s_node_t *self, const char *kernel, uint64_t answered)
{
    gpb__v1__lane__init (&self->lane);
    self->lane.waiting = 5;
    self->lanes [0] = &self->lane;
    gpb__v1__residency__init (&self->residency);
    self->residency.kernel = (char *) kernel;
    self->residency.device = 5;
    self->residency.state = GPB__V1__RESIDENCY_STATE__QUARANTINED;
    self->residency.n_lanes = 1;
    self->residency.lanes = self->lanes;
    self->residency.waiting = 16384;
    self->residency.answered = answered;
    self->residency.version = 1;
    self->residency.latency = &self->minute;
    self->residencies [0] = &self->residency;
    self->stats.n_residencies = 1;
    self->stats.residencies = self->residencies;
}

START_TEST (test_persistent_kernels_have_a_line_each)
{
    static s_node_t before, now;
    s_fill (&before, 1000000000, 0);
    s_fill (&now, 2000000000, 0);
    s_fill_residency (&before, "moving_average", 1000);
    s_fill_residency (&now, "moving_average", 201000);
    gpb_frame_t frame = {
        .endpoint = "tcp://a:1", .now = &now.stats, .before = &before.stats, .columns = 80
    };
    ck_assert_ptr_eq (gpb_frame_residency_before (&frame, &now.residency), &before.residency);
    char *text = s_print (&frame);
    ck_assert_msg (s_longest_line (text) <= 80, "%d:\n%s", s_longest_line (text), text);
    s_assert_has (text, "moving_av    5  quarantined      1  16384        5  200.0k     0.0");
    free (text);
    frame.columns = 0;
    text = s_print (&frame);
    s_assert_has (text, "\nmoving_average    5  quarantined");
    free (text);
    //  Another version has another count, and another kernel is another.
    before.residency.version = 2;
    ck_assert_ptr_null (gpb_frame_residency_before (&frame, &now.residency));
    text = s_print (&frame);
    s_assert_has (text, "  -       -  254 µs");
    free (text);
    before.residency.version = 1;
    before.residency.kernel = "echo";
    ck_assert_ptr_null (gpb_frame_residency_before (&frame, &now.residency));
}
END_TEST

START_TEST (test_the_end_of_memory_is_said)
{
    static s_node_t now;
    s_fill (&now, 1, 1);
    gpb_frame_t frame = { .endpoint = "tcp://a:1", .now = &now.stats };
    FILE *out = fopen ("/dev/null", "w");
    gpb_alloc_fail (0, 1);
    gpb_status_t status = gpb_frame_print (&frame, out, &error);
    gpb_alloc_fail (-1, 0);
    fclose (out);
    ck_assert_int_eq (status, GPB_RESOURCE_EXHAUSTED);
}
END_TEST

GPB_TEST_MAIN ("gpb_frame", 10, test_rates_are_differences_by_the_nodes_clock,
               test_without_an_answer_before_there_is_no_rate,
               test_a_node_that_does_not_answer_shows_as_that,
               test_a_frame_of_large_figures_fits_into_80_columns,
               test_persistent_kernels_have_a_line_each, test_the_end_of_memory_is_said)
