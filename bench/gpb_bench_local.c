//  gpb_bench_local - how good each shipped kernel's default local size is
//
//  A sweep over local sizes that are powers of two (in two dimensions: every such shape), and the
//  package's default, through the public client on a node composed in this process. The figure is
//  the kernel's own time from the device's events, so that neither the client nor a socket is in
//  it; where the device has no such figure a row says "not measured".
//
//  First a launch of each, which compiles; then some rounds, in each of which every local size runs
//  once, so that what disturbs the machine disturbs all of them. The best of many noisy medians is
//  better than it is, so the default and the best few run again, by themselves, in more rounds: the
//  figures printed are medians of those, and the ratio is that of the default to the best of them.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_bench.h"
#include "gpb_clock.h"

#include <inttypes.h>
#include <stdlib.h>

#define ROUNDS 5
#define FINAL_ROUNDS 25
#define FINALISTS 4        //  beside the default
#define LOCALS_MAX 128     //  shapes of a device of 2^13 work-items a group: 105
#define LOCAL_MIN_2D 16    //  work-items of a shape of two dimensions, at the least
#define LOCAL_MAX 1024     //  the most that any device of ours takes in CUDA

#define MEGA ((size_t) 1 << 20)
#define SIDE ((size_t) 512)    //  of pictures
#define MATRIX ((size_t) 256)
#define BODIES ((size_t) 2048)

//  All inputs are this memory: static, so that requests use it in place.
static _Alignas(128) float s_floats [MEGA];
static _Alignas(128) unsigned char s_bytes [4 * MEGA];

typedef struct {
    uint64_t sizes [2];    //  0: the package's default
    size_t count;
    double times_ns [FINAL_ROUNDS];
    double median_ns;
} local_t;

//  One kernel and its arguments.
typedef struct {
    const char *kernel;
    unsigned dimensions;
    const char *size;    //  of the work, for people
    void (*fill) (gpb_request_t *request);
} work_t;

static void
s_in_floats (gpb_request_t *request, size_t count)
{
    gpb_request_in_take (request, s_floats, count * sizeof *s_floats, NULL, NULL);
}

static void
s_in_bytes (gpb_request_t *request, size_t count)
{
    gpb_request_in_take (request, s_bytes, count, NULL, NULL);
}

static void
s_vector_add (gpb_request_t *request)
{
    s_in_floats (request, MEGA);
    s_in_floats (request, MEGA);
    gpb_request_out (request, 0);
    gpb_request_i32 (request, (int32_t) MEGA);
}

static void
s_saxpy (gpb_request_t *request)
{
    s_in_floats (request, MEGA);
    s_in_floats (request, MEGA);
    gpb_request_f32 (request, 2);
    gpb_request_u64 (request, MEGA);
}

static void
s_sobel (gpb_request_t *request)
{
    s_in_bytes (request, (SIDE + 2) * (SIDE + 2));
    gpb_request_out (request, 0);
    gpb_request_u32 (request, (uint32_t) SIDE);
    gpb_request_u32 (request, (uint32_t) SIDE);
}

static void
s_gaussian_blur (gpb_request_t *request)
{
    s_in_bytes (request, SIDE * SIDE);
    gpb_request_out (request, 0);
    gpb_request_u32 (request, (uint32_t) SIDE);
    gpb_request_u32 (request, (uint32_t) SIDE);
    gpb_request_u32 (request, 2);
    gpb_request_f32 (request, 1);
}

static void
s_reduce (gpb_request_t *request)
{
    s_in_floats (request, MEGA);
    gpb_request_out (request, 0);
    gpb_request_u64 (request, MEGA);
}

static void
s_histogram (gpb_request_t *request)
{
    s_in_bytes (request, 4 * MEGA);
    gpb_request_out (request, 0);
    gpb_request_u64 (request, 4 * MEGA);
}

static void
s_matmul (gpb_request_t *request)
{
    s_in_floats (request, MATRIX * MATRIX);
    s_in_floats (request, MATRIX * MATRIX);
    gpb_request_out (request, 0);
    gpb_request_u32 (request, (uint32_t) MATRIX);
    gpb_request_u32 (request, (uint32_t) MATRIX);
    gpb_request_u32 (request, (uint32_t) MATRIX);
}

static void
s_mandelbrot (gpb_request_t *request)
{
    gpb_request_out (request, 0);
    gpb_request_u32 (request, (uint32_t) SIDE);
    gpb_request_u32 (request, (uint32_t) SIDE);
    gpb_request_f32 (request, -2);
    gpb_request_f32 (request, 1.25F);
    gpb_request_f32 (request, 3.0F / (float) SIDE);
    gpb_request_u32 (request, 100);
}

static void
s_nbody (gpb_request_t *request)
{
    s_in_floats (request, BODIES * 4);
    s_in_floats (request, BODIES * 4);
    gpb_request_out (request, 0);
    gpb_request_out (request, 0);
    gpb_request_u32 (request, (uint32_t) BODIES);
    gpb_request_f32 (request, 0.01F);
    gpb_request_f32 (request, 0.05F);
}

static const work_t s_works [] = {
    { "vector_add", 1, "2^20 floats", s_vector_add },
    { "saxpy", 1, "2^20 floats", s_saxpy },
    { "reduce", 1, "2^20 floats", s_reduce },
    { "histogram", 1, "2^22 bytes", s_histogram },
    { "nbody", 1, "2048 bodies", s_nbody },
    { "sobel", 2, "512 x 512", s_sobel },
    { "gaussian_blur", 2, "512 x 512, radius 2", s_gaussian_blur },
    { "matmul", 2, "256 x 256 x 256", s_matmul },
    { "mandelbrot", 2, "512 x 512, limit 100", s_mandelbrot },
};

//  ---------------------------------------------------------------------------------------------------------
//  Launches

//  Nanoseconds of the kernel; 0 where they are not measured, -1 where the device refuses the shape.
static double
s_launch (gpb_client_t *client, const work_t *work, const local_t *local)
{
    gpb_request_t *request = gpb_request_execute (work->kernel);
    work->fill (request);
    if (local->sizes [0])
        gpb_request_set_local (request, work->dimensions, local->sizes);
    gpb_error_t error = { GPB_OK, "" };
    gpb_reply_t *reply = gpb_client_call (client, &request, &error);
    if (!reply)
        gpb_bench_fail ("%s: %s", work->kernel, error.text);
    double time_ns = -1;
    if (gpb_reply_status (reply) == GPB_OK) {
        const Gpb__V1__Timing *timing = gpb_reply_header_peek (reply)->execute->timing;
        time_ns = timing->measured && timing->compute ? (double) timing->compute->ns : 0;
    }
    else if (gpb_reply_status (reply) != GPB_INVALID_ARGUMENT || local->sizes [0] == 0)
        gpb_bench_fail ("%s: %s", work->kernel, gpb_reply_message (reply));
    gpb_reply_destroy (&reply);
    return time_ns;
}

//  The default first, then every power of two, or every shape of two of them, but for the default's
//  own.
static size_t
s_list (local_t *locals, const work_t *work, uint64_t most, const uint64_t *usual)
{
    size_t count = 0;
    memset (&locals [count++], 0, sizeof *locals);
    for (uint64_t y = 1; y <= most; y *= 2) {
        for (uint64_t x = 1; x * y <= most && count < LOCALS_MAX; x *= 2) {
            if (work->dimensions == 2 && x * y < LOCAL_MIN_2D)
                continue;
            if (x == usual [0] && (work->dimensions == 1 || y == usual [1]))
                continue;
            local_t *local = &locals [count++];
            memset (local, 0, sizeof *local);
            local->sizes [0] = x;
            local->sizes [1] = y;
        }
        if (work->dimensions == 1)
            break;
    }
    return count;
}

//  Each once a round, and each round begins with another one.
static void
s_rounds (gpb_client_t *client, const work_t *work, local_t *locals, size_t count, size_t rounds)
{
    for (size_t index = 0; index < count; index++)
        locals [index].count = 0;
    for (size_t round = 0; round < rounds; round++)
        for (size_t index = 0; index < count; index++) {
            local_t *local = &locals [(index + round) % count];
            local->times_ns [local->count++] = s_launch (client, work, local);
        }
    for (size_t index = 0; index < count; index++)
        locals [index].median_ns = gpb_bench_median (locals [index].times_ns, locals [index].count);
}

static int
s_faster (const void *one, const void *other)
{
    const local_t *left = one, *right = other;
    return (left->median_ns > right->median_ns) - (left->median_ns < right->median_ns);
}

//  ---------------------------------------------------------------------------------------------------------
//  A row

static void
s_name (char *text, size_t size, const uint64_t *sizes, unsigned dimensions)
{
    if (sizes [0] == 0)
        snprintf (text, size, "backend");
    else if (dimensions == 1)
        snprintf (text, size, "%" PRIu64, sizes [0]);
    else
        snprintf (text, size, "%" PRIu64 "x%" PRIu64, sizes [0], sizes [1]);
}

//  What the package says; zeroes where it leaves it to the backend.
static void
s_default (gpb_client_t *client, const work_t *work, uint64_t *sizes)
{
    gpb_reply_t *reply = gpb_bench_call (client, gpb_request_kernels (work->kernel));
    const Gpb__V1__Kernel *kernel = gpb_reply_header_peek (reply)->kernels->kernels [0];
    for (size_t dimension = 0; dimension < 2; dimension++)
        sizes [dimension] = dimension < kernel->n_local ? kernel->local [dimension] : 0;
    gpb_reply_destroy (&reply);
}

static void
s_measure (gpb_bench_t *bench, gpb_client_t *client, const work_t *work, gpb_table_t *table,
           json_t *rows)
{
    static local_t locals [LOCALS_MAX];
    uint64_t most = bench->max_work_group_size < LOCAL_MAX ? bench->max_work_group_size : LOCAL_MAX;
    uint64_t sizes [2];
    s_default (client, work, sizes);
    size_t listed = s_list (locals, work, most, sizes), count = 0;
    bool measured = true;
    for (size_t index = 0; index < listed; index++) {
        double time_ns = s_launch (client, work, &locals [index]);
        measured = measured && time_ns != 0;
        if (time_ns >= 0)
            locals [count++] = locals [index];
    }
    char usual [64], best [64], range [64];
    s_name (usual, sizeof usual, sizes, work->dimensions);
    gpb_table_add (table, "%s", work->kernel);
    gpb_table_add (table, "%s", work->size);
    gpb_table_add (table, "%s", usual);
    if (!measured) {
        for (int column = 0; column < 6; column++)
            gpb_table_add (table, "not measured");
        json_array_append_new (rows,
                               json_pack ("{s:s, s:b}", "kernel", work->kernel, "measured", 0));
        return;
    }
    s_rounds (client, work, locals, count, gpb_bench_rounds (bench, ROUNDS));
    qsort (locals + 1, count - 1, sizeof *locals, s_faster);
    double worst_ns = locals [count - 1].median_ns;
    size_t finalists = count < 1 + FINALISTS ? count : 1 + FINALISTS;
    s_rounds (client, work, locals, finalists, gpb_bench_rounds (bench, FINAL_ROUNDS));
    double default_ns = locals [0].median_ns, best_ns = default_ns;
    snprintf (best, sizeof best, "%s", usual);
    for (size_t index = 1; index < finalists; index++)
        if (locals [index].median_ns < best_ns) {
            best_ns = locals [index].median_ns;
            s_name (best, sizeof best, locals [index].sizes, work->dimensions);
        }
    gpb_table_add (table, "%s", gpb_table_time ((uint64_t) default_ns, range));
    gpb_table_add (table, "%s", best);
    gpb_table_add (table, "%s", gpb_table_time ((uint64_t) best_ns, range));
    gpb_table_add (table, "%.2f", default_ns / best_ns);
    gpb_table_add (table, "%.1f", worst_ns / best_ns);
    gpb_table_add (table, "%zu", count - 1);
    json_array_append_new (rows, json_pack ("{s:s, s:s, s:b, s:s, s:f, s:s, s:f, s:f, s:f, s:I}",
                                            "kernel", work->kernel, "size", work->size, "measured",
                                            1, "default", usual, "default_ns", default_ns, "best",
                                            best, "best_ns", best_ns, "ratio", default_ns / best_ns,
                                            "worst_ratio", worst_ns / best_ns, "swept",
                                            (json_int_t) count - 1));
}

int
main (int argc, char **argv)
{
    gpb_bench_t bench;
    gpb_bench_begin (&bench, argc, argv);
    for (size_t index = 0; index < MEGA; index++)
        s_floats [index] = (float) (index % 1000) / 1000;
    for (size_t index = 0; index < 4 * MEGA; index++)
        s_bytes [index] = (unsigned char) (index * 2654435761U >> 13);
    zactor_t *node = gpb_bench_node ();
    char *endpoint = gpb_bench_bind (node, "inproc://bench");
    gpb_client_t *client = gpb_bench_client (endpoint);
    zstr_free (&endpoint);
    gpb_bench_device (&bench, client);

    gpb_table_t *table =
        gpb_table_new ("KERNEL SIZE DEFAULT >TIME BEST >TIME >RATIO >WORST >SWEPT");
    json_t *rows = json_array ();
    if (!table || !rows)
        gpb_bench_fail ("no memory for the table");
    uint64_t start_ns = gpb_clock_ns ();
    for (size_t index = 0; index < sizeof s_works / sizeof s_works [0]; index++) {
        s_measure (&bench, client, &s_works [index], table, rows);
        fprintf (stderr, "%s: done after %.0f s\n", s_works [index].kernel,
                 (double) (gpb_clock_ns () - start_ns) / 1e9);
    }
    gpb_client_destroy (&client);
    zactor_destroy (&node);
    gpb_bench_print (&bench, "local sizes", &table, rows);
    return 0;
}
