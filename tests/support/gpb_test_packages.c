//  gpb_test_packages - every shipped kernel that is launched, against its reference
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_test_packages.h"

#include "gpb_test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

gpb_reply_t *
gpb_test_package_call (gpb_client_t *client, gpb_request_t *request)
{
    gpb_error_t error = { 0 };
    gpb_reply_t *reply = gpb_client_call (client, &request, &error);
    ck_assert_msg (reply != NULL, "%s", error.text);
    ck_assert_msg (gpb_reply_status (reply) == GPB_OK, "%s: %s",
                   gpb_status_name (gpb_reply_status (reply)), gpb_reply_message (reply));
    return reply;
}

//  ---------------------------------------------------------------------------------------------------------
//  Inputs

//  splitmix64: every seed is a good one.
static uint64_t s_state;

void
gpb_test_package_seed (uint64_t seed)
{
    s_state = seed;
}

static uint64_t
s_random (void)
{
    s_state += 0x9e3779b97f4a7c15ULL;
    uint64_t mixed = s_state;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9ULL;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebULL;
    return mixed ^ (mixed >> 31);
}

//  From -1 to 1, with 24 bits.
static float
s_random_float (void)
{
    return (float) (s_random () >> 40) / 8388608.0F - 1.0F;
}

void *
gpb_test_package_memory (size_t count, size_t size)
{
    void *memory = calloc (count + 1, size);    //  one more, since a count may be 0
    ck_assert_ptr_nonnull (memory);
    return memory;
}

float *
gpb_test_package_floats (size_t count)
{
    float *values = gpb_test_package_memory (count, sizeof (float));
    for (size_t index = 0; index < count; index++)
        values [index] = s_random_float ();
    return values;
}

uint8_t *
gpb_test_package_bytes (size_t count)
{
    uint8_t *values = gpb_test_package_memory (count, 1);
    for (size_t index = 0; index < count; index++)
        values [index] = (uint8_t) s_random ();
    return values;
}

//  ---------------------------------------------------------------------------------------------------------
//  Results

const void *
gpb_test_package_result (gpb_reply_t *reply, size_t index, size_t expected_size)
{
    size_t size = SIZE_MAX;
    const void *data = gpb_reply_result (reply, index, &size);
    ck_assert_uint_eq (size, expected_size);
    return data;
}

void
gpb_test_package_same (gpb_reply_t *reply, size_t index, const void *expected, size_t count,
                       size_t size)
{
    const char *data = gpb_test_package_result (reply, index, count * size);
    for (size_t at = 0; at < count; at++)
        ck_assert_msg (memcmp (data + at * size, (const char *) expected + at * size, size) == 0,
                       "element %zu of %zu differs", at, count);
}

void
gpb_test_package_close (gpb_reply_t *reply, size_t index, const gpb_reference_t *expected,
                        size_t count)
{
    const float *data = gpb_test_package_result (reply, index, count * sizeof (float));
    for (size_t at = 0; at < count; at++)
        ck_assert_msg (fabs ((double) data [at] - expected [at].value) <= expected [at].bound,
                       "element %zu of %zu is %.9g instead of %.9g, and may be off by %.3g", at,
                       count, (double) data [at], expected [at].value, expected [at].bound);
}

//  ---------------------------------------------------------------------------------------------------------
//  One request to each kernel, and what must come back. A kernel of one dimension takes the shape's
//  first size.

typedef struct {
    size_t x, y;
} shape_t;

typedef struct {
    unsigned dimensions;    //  0: as the package says
    uint64_t sizes [2];
} local_t;

static gpb_request_t *
s_execute (const char *kernel, const local_t *local)
{
    gpb_request_t *request = gpb_request_execute (kernel);
    ck_assert_ptr_nonnull (request);
    if (local->dimensions)
        gpb_request_set_local (request, local->dimensions, local->sizes);
    return request;
}

static void
s_vector_add (gpb_client_t *client, const shape_t *shape, const local_t *local)
{
    size_t n = shape->x;
    float *a = gpb_test_package_floats (n);
    float *b = gpb_test_package_floats (n);
    float *c = gpb_test_package_floats (n);
    gpb_reference_vector_add (c, a, b, n);
    gpb_request_t *request = s_execute ("vector_add", local);
    gpb_request_in (request, a, n * sizeof (float));
    gpb_request_in (request, b, n * sizeof (float));
    gpb_request_out (request, 0);
    gpb_request_i32 (request, (int32_t) n);
    gpb_reply_t *reply = gpb_test_package_call (client, request);
    gpb_test_package_same (reply, 0, c, n, sizeof (float));
    gpb_reply_destroy (&reply);
    free (a);
    free (b);
    free (c);
}

static void
s_saxpy (gpb_client_t *client, const shape_t *shape, const local_t *local)
{
    size_t n = shape->x;
    float *x = gpb_test_package_floats (n);
    float *y = gpb_test_package_floats (n);
    float a = s_random_float ();
    gpb_request_t *request = s_execute ("saxpy", local);
    gpb_request_in (request, x, n * sizeof (float));
    gpb_request_in (request, y, n * sizeof (float));
    gpb_request_f32 (request, a);
    gpb_request_u64 (request, n);
    gpb_reply_t *reply = gpb_test_package_call (client, request);
    gpb_reference_saxpy (y, x, a, n);
    gpb_test_package_same (reply, 0, y, n, sizeof (float));
    gpb_reply_destroy (&reply);
    free (x);
    free (y);
}

static void
s_sobel (gpb_client_t *client, const shape_t *shape, const local_t *local)
{
    size_t width = shape->x, height = shape->y;
    size_t size = (width + 2) * (height + 2);
    uint8_t *pixels = gpb_test_package_bytes (size);
    //  Noise is steep everywhere; half of the picture has only the slopes that a byte does not cap.
    for (size_t at = size / 2; at < size; at++)
        pixels [at] = (uint8_t) (pixels [at] % 48);
    uint8_t *edges = gpb_test_package_bytes (width * height);
    gpb_reference_sobel (edges, pixels, width, height);
    gpb_request_t *request = s_execute ("sobel", local);
    gpb_request_in (request, pixels, size);
    gpb_request_out (request, 0);
    gpb_request_u32 (request, (uint32_t) width);
    gpb_request_u32 (request, (uint32_t) height);
    gpb_reply_t *reply = gpb_test_package_call (client, request);
    gpb_test_package_same (reply, 0, edges, width * height, 1);
    gpb_reply_destroy (&reply);
    free (pixels);
    free (edges);
}

static void
s_gaussian_blur (gpb_client_t *client, const shape_t *shape, const local_t *local)
{
    size_t width = shape->x, height = shape->y;
    uint32_t radius = (uint32_t) (s_random () % 9);
    float sigma = 0.5F + (float) (s_random () % 64) / 16.0F;
    uint8_t *pixels = gpb_test_package_bytes (width * height);
    gpb_reference_t *blurred = gpb_test_package_memory (width * height, sizeof *blurred);
    gpb_reference_gaussian_blur (blurred, pixels, width, height, radius, sigma);
    gpb_request_t *request = s_execute ("gaussian_blur", local);
    gpb_request_in (request, pixels, width * height);
    gpb_request_out (request, 0);
    gpb_request_u32 (request, (uint32_t) width);
    gpb_request_u32 (request, (uint32_t) height);
    gpb_request_u32 (request, radius);
    gpb_request_f32 (request, sigma);
    gpb_reply_t *reply = gpb_test_package_call (client, request);
    const uint8_t *data = gpb_test_package_result (reply, 0, width * height);
    for (size_t at = 0; at < width * height; at++)
        ck_assert_msg (fabs (data [at] - blurred [at].value) <= 0.5 + blurred [at].bound,
                       "pixel %zu is %d instead of %.6f, and may be off by %.3g", at, data [at],
                       blurred [at].value, 0.5 + blurred [at].bound);
    gpb_reply_destroy (&reply);
    free (pixels);
    free (blurred);
}

static gpb_reply_t *
s_call_reduce (gpb_client_t *client, const float *values, size_t n, const local_t *local)
{
    gpb_request_t *request = s_execute ("reduce", local);
    gpb_request_in (request, values, n * sizeof (float));
    gpb_request_out (request, 0);
    gpb_request_u64 (request, n);
    return gpb_test_package_call (client, request);
}

//  Whole numbers small enough that every partial sum is exact, in whatever order they are added: no
//  value may be missing, or be there twice.
static void
s_reduce (gpb_client_t *client, const shape_t *shape, const local_t *local)
{
    size_t n = shape->x;
    float *values = gpb_test_package_memory (n, sizeof (float));
    float expected = 0;
    for (size_t index = 0; index < n; index++) {
        values [index] = (float) (int) (s_random () % 64 + 1);
        expected += values [index];
    }
    ck_assert_float_lt (expected, 16777216.0F);
    gpb_reply_t *reply = s_call_reduce (client, values, n, local);
    gpb_test_package_same (reply, 0, &expected, 1, sizeof expected);
    gpb_reply_destroy (&reply);
    free (values);
}

static void
s_histogram (gpb_client_t *client, const shape_t *shape, const local_t *local)
{
    size_t n = shape->x;
    uint8_t *values = gpb_test_package_bytes (n);
    uint32_t bins [256];
    gpb_request_t *request = s_execute ("histogram", local);
    gpb_request_in (request, values, n);
    gpb_request_out (request, 0);
    gpb_request_u64 (request, n);
    gpb_reply_t *reply = gpb_test_package_call (client, request);
    gpb_reference_histogram (bins, values, n);
    gpb_test_package_same (reply, 0, bins, 256, sizeof bins [0]);
    gpb_reply_destroy (&reply);
    free (values);
}

static void
s_matmul_of (gpb_client_t *client, size_t m, size_t n, size_t k, const local_t *local)
{
    float *a = gpb_test_package_floats (m * k);
    float *b = gpb_test_package_floats (k * n);
    gpb_reference_t *c = gpb_test_package_memory (m * n, sizeof *c);
    gpb_reference_matmul (c, a, b, m, n, k);
    gpb_request_t *request = s_execute ("matmul", local);
    gpb_request_in (request, a, m * k * sizeof (float));
    gpb_request_in (request, b, k * n * sizeof (float));
    gpb_request_out (request, 0);
    gpb_request_u32 (request, (uint32_t) m);
    gpb_request_u32 (request, (uint32_t) n);
    gpb_request_u32 (request, (uint32_t) k);
    gpb_reply_t *reply = gpb_test_package_call (client, request);
    gpb_test_package_close (reply, 0, c, m * n);
    gpb_reply_destroy (&reply);
    free (a);
    free (b);
    free (c);
}

static void
s_matmul (gpb_client_t *client, const shape_t *shape, const local_t *local)
{
    static const size_t depths [] = { 0, 1, 16, 17, 50 };
    for (size_t index = 0; index < sizeof depths / sizeof depths [0]; index++)
        s_matmul_of (client, shape->x, shape->y, depths [index], local);
}

static void
s_mandelbrot (gpb_client_t *client, const shape_t *shape, const local_t *local)
{
    size_t width = shape->x, height = shape->y;
    float left = -2.0F, top = 1.25F;
    float step = 3.0F / (float) (width + 1);
    uint32_t limit = (uint32_t) (s_random () % 300);
    uint32_t *iterations = gpb_test_package_memory (width * height, sizeof *iterations);
    gpb_reference_mandelbrot (iterations, width, height, left, top, step, limit);
    gpb_request_t *request = s_execute ("mandelbrot", local);
    gpb_request_out (request, 0);
    gpb_request_u32 (request, (uint32_t) width);
    gpb_request_u32 (request, (uint32_t) height);
    gpb_request_f32 (request, left);
    gpb_request_f32 (request, top);
    gpb_request_f32 (request, step);
    gpb_request_u32 (request, limit);
    gpb_reply_t *reply = gpb_test_package_call (client, request);
    gpb_test_package_same (reply, 0, iterations, width * height, sizeof *iterations);
    gpb_reply_destroy (&reply);
    free (iterations);
}

static void
s_nbody (gpb_client_t *client, const shape_t *shape, const local_t *local)
{
    size_t n = shape->x;
    float time_step = 0.01F, softening = 0.05F;
    float *bodies = gpb_test_package_floats (4 * n);
    for (size_t body = 0; body < n; body++)
        bodies [4 * body + 3] = 1 + bodies [4 * body + 3];
    float *velocities = gpb_test_package_floats (4 * n);
    gpb_reference_t *next_bodies = gpb_test_package_memory (4 * n, sizeof *next_bodies);
    gpb_reference_t *next_velocities = gpb_test_package_memory (4 * n, sizeof *next_velocities);
    gpb_reference_nbody (next_bodies, next_velocities, bodies, velocities, n, time_step, softening);
    gpb_request_t *request = s_execute ("nbody", local);
    gpb_request_in (request, bodies, 4 * n * sizeof (float));
    gpb_request_in (request, velocities, 4 * n * sizeof (float));
    gpb_request_out (request, 0);
    gpb_request_out (request, 0);
    gpb_request_u32 (request, (uint32_t) n);
    gpb_request_f32 (request, time_step);
    gpb_request_f32 (request, softening);
    gpb_reply_t *reply = gpb_test_package_call (client, request);
    gpb_test_package_close (reply, 0, next_bodies, 4 * n);
    gpb_test_package_close (reply, 1, next_velocities, 4 * n);
    gpb_reply_destroy (&reply);
    free (bodies);
    free (velocities);
    free (next_bodies);
    free (next_velocities);
}

//  ---------------------------------------------------------------------------------------------------------
//  All shapes of each

static const shape_t s_lines [] = { { 0, 0 },     { 1, 0 },    { 2, 0 },     { 63, 0 },
                                    { 64, 0 },    { 255, 0 },  { 256, 0 },   { 257, 0 },
                                    { 1000, 0 },  { 4099, 0 }, { 16384, 0 }, { 100003, 0 },
                                    { 262145, 0 } };
static const local_t s_line_locals [] = {
    { 0, { 0 } }, { 1, { 1 } }, { 1, { 7 } }, { 1, { 512 } }
};

static const shape_t s_areas [] = { { 0, 0 },   { 0, 5 },   { 7, 0 },   { 1, 1 },
                                    { 1, 300 }, { 300, 1 }, { 3, 5 },   { 16, 16 },
                                    { 17, 33 }, { 64, 4 },  { 129, 67 } };
static const local_t s_area_locals [] = {
    { 0, { 0 } }, { 2, { 1, 1 } }, { 2, { 7, 3 } }, { 2, { 16, 16 } }, { 2, { 128, 2 } }
};

#define s_count(array) (sizeof (array) / sizeof (array) [0])

typedef struct {
    const char *kernel;
    void (*check) (gpb_client_t *client, const shape_t *shape, const local_t *local);
    const shape_t *shapes;
    size_t shapes_count;
    const local_t *locals;
    size_t locals_count;
} package_t;

#define s_on_lines s_lines, s_count (s_lines), s_line_locals, s_count (s_line_locals)
#define s_on_areas s_areas, s_count (s_areas), s_area_locals, s_count (s_area_locals)

//  All pairs: the list of lines would be ten thousand million of them.
static const shape_t s_bodies [] = { { 0, 0 },   { 1, 0 },   { 2, 0 },   { 7, 0 },   { 255, 0 },
                                     { 256, 0 }, { 257, 0 }, { 513, 0 }, { 1000, 0 } };

static const package_t s_packages [] = {
    { "vector_add", s_vector_add, s_on_lines },
    { "saxpy", s_saxpy, s_on_lines },
    { "sobel", s_sobel, s_on_areas },
    { "gaussian_blur", s_gaussian_blur, s_on_areas },
    { "reduce", s_reduce, s_on_lines },
    { "histogram", s_histogram, s_on_lines },
    { "matmul", s_matmul, s_on_areas },
    { "mandelbrot", s_mandelbrot, s_on_areas },
    { "nbody", s_nbody, s_bodies, s_count (s_bodies), s_line_locals, s_count (s_line_locals) },
};

static const package_t *
s_find (const char *kernel)
{
    for (size_t index = 0; index < s_count (s_packages); index++)
        if (streq (s_packages [index].kernel, kernel))
            return &s_packages [index];
    ck_abort_msg ("there is no reference of %s", kernel);
}

//  Beside the list, some shapes that nobody chose, up to its last one.
void
gpb_test_package_is_its_reference (gpb_client_t *client, const char *kernel)
{
    const package_t *package = s_find (kernel);
    const shape_t *largest = &package->shapes [package->shapes_count - 1];
    for (size_t local = 0; local < package->locals_count; local++) {
        s_state = local;
        for (size_t index = 0; index < package->shapes_count; index++)
            package->check (client, &package->shapes [index], &package->locals [local]);
        for (int repeat = 0; repeat < 5; repeat++) {
            shape_t shape = { .x = s_random () % (largest->x + 1),
                              .y = s_random () % (largest->y + 1) };
            package->check (client, &shape, &package->locals [local]);
        }
    }
}

//  The specification's own: 1,048,576 floats, a = i, b = 2 i, local size 256, within 0.001.
void
gpb_test_package_million (gpb_client_t *client)
{
    enum { N = 1048576 };
    float *a = gpb_test_package_memory (N, sizeof (float));
    float *b = gpb_test_package_memory (N, sizeof (float));
    for (size_t index = 0; index < N; index++) {
        a [index] = (float) index;
        b [index] = 2 * (float) index;
    }
    gpb_request_t *request = s_execute ("vector_add", &(local_t){ 1, { 256 } });
    gpb_request_in (request, a, N * sizeof (float));
    gpb_request_in (request, b, N * sizeof (float));
    gpb_request_out (request, 0);
    gpb_request_i32 (request, N);
    gpb_reply_t *reply = gpb_test_package_call (client, request);
    const float *c = gpb_test_package_result (reply, 0, N * sizeof (float));
    for (size_t index = 0; index < N; index++)
        ck_assert_msg (fabsf (c [index] - (a [index] + b [index])) <= 0.001F, "%zu: %g", index,
                       (double) c [index]);
    gpb_reply_destroy (&reply);
    free (a);
    free (b);
}

//  tests/kernels/words uses every word of the prelude; here what each must mean.
void
gpb_test_package_words (gpb_client_t *client)
{
    enum { N = 30, GROUP = 8 };
    uint32_t values [N], turned [N], odd = 100;
    float total = 0.5F, expected_total = total;
    for (uint32_t index = 0; index < N; index++) {
        values [index] = 3 * index + 1;
        expected_total += (float) values [index];
    }
    uint32_t expected_odd = odd;
    for (uint32_t index = 0; index < N; index++) {
        uint32_t from = index / GROUP * GROUP + GROUP - 1 - index % GROUP;
        turned [index] = (from < N ? values [from] : 0) + (from % 2 ? 20 : 10);
        expected_odd += values [index] % 2;
    }
    gpb_request_t *request = gpb_request_execute ("words");
    gpb_request_in (request, values, sizeof values);
    gpb_request_out (request, 0);
    gpb_request_in (request, &odd, sizeof odd);
    gpb_request_in (request, &total, sizeof total);
    gpb_request_out (request, 0);
    gpb_request_out (request, 0);
    gpb_request_u32 (request, N);
    gpb_reply_t *reply = gpb_test_package_call (client, request);
    gpb_test_package_same (reply, 0, turned, N, sizeof turned [0]);
    gpb_test_package_same (reply, 1, &expected_odd, 1, sizeof expected_odd);
    gpb_test_package_same (reply, 2, &expected_total, 1, sizeof expected_total);
    //  30 rounded up to a multiple of 8; 1 + 2 + 4 + 8 bytes; dimensions that are not there.
    const uint64_t shape [6] = { 32, 8, 4, 15, 8, 2 };
    gpb_test_package_same (reply, 3, shape, 6, sizeof shape [0]);
    const float *limits = gpb_test_package_result (reply, 4, 4 * sizeof (float));
    ck_assert (isinf (limits [0]) && limits [0] > 0);
    ck_assert (isnan (limits [1]));
    ck_assert_float_eq (limits [2], 3.402823466e+38F);
    ck_assert_float_eq (limits [3], 3.14159265F);
    gpb_reply_destroy (&reply);
}
