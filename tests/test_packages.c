//  test_packages - every shipped kernel against its reference, through the public client
//
//  A node is composed in the test's process, and asked for every shape of gpb_test_packages.h.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_test.h"

#include "gpb_test_packages.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

//  ---------------------------------------------------------------------------------------------------------
//  A node and a client of it

static zactor_t *s_node;
static gpb_client_t *s_client;

static void
s_command (const char *command, const char *argument)
{
    ck_assert_int_eq (zstr_sendx (s_node, command, argument, NULL), 0);
    char *status = zstr_recv (s_node);
    char *text = zstr_recv (s_node);
    ck_assert_msg (status && streq (status, "OK"), "%s: %s: %s", command, status, text);
    zstr_free (&status);
    zstr_free (&text);
}

static void
s_start (void)
{
    gpb_error_t error = { 0 };
    gpb_config_t *config = gpb_config_new ();
    ck_assert_ptr_nonnull (config);
    s_node = zactor_new (gpb_actor, config);
    ck_assert_ptr_nonnull (s_node);
    gpb_config_destroy (&config);
    s_command ("BIND", "inproc://packages");
    s_command ("START", NULL);
    s_client = gpb_client_new ("inproc://packages", &error);
    ck_assert_msg (s_client != NULL, "%s", error.text);
}

static void
s_stop (void)
{
    gpb_client_destroy (&s_client);
    zactor_destroy (&s_node);
}

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

START_TEST (test_a_million_floats_add_up_as_specified)
{
    s_start ();
    gpb_test_package_million (s_client);
    s_stop ();
}
END_TEST

START_TEST (test_a_sum_that_must_round_is_within_its_bound)
{
    enum { N = 1000003 };
    gpb_test_package_seed (1);
    float *values = gpb_test_package_floats (N);
    s_start ();
    gpb_reference_t expected = gpb_reference_reduce (values, N);
    gpb_request_t *request = gpb_request_execute ("reduce");
    gpb_request_in (request, values, N * sizeof (float));
    gpb_request_out (request, 0);
    gpb_request_u64 (request, N);
    gpb_reply_t *reply = gpb_test_package_call (s_client, request);
    gpb_test_package_close (reply, 0, &expected, 1);
    gpb_reply_destroy (&reply);
    s_stop ();
    free (values);
}
END_TEST

//  Every value falls into one bin: as much contention as there can be, and no count is lost.
START_TEST (test_one_bin_counts_everything)
{
    enum { N = 300007 };
    uint8_t *values = gpb_test_package_memory (N, 1);
    memset (values, 200, N);
    uint32_t bins [256] = { 0 };
    s_start ();
    gpb_request_t *request = gpb_request_execute ("histogram");
    gpb_request_in (request, values, N);
    gpb_request_out (request, 0);
    gpb_request_u64 (request, N);
    gpb_reply_t *reply = gpb_test_package_call (s_client, request);
    bins [200] = N;
    gpb_test_package_same (reply, 0, bins, 256, sizeof bins [0]);
    gpb_reply_destroy (&reply);
    s_stop ();
    free (values);
}
END_TEST

//  A picture in tiles is the picture in one piece: that is what the halo is for.
START_TEST (test_sobel_in_tiles_is_sobel_of_the_whole)
{
    enum { WIDTH = 100, HEIGHT = 70, PITCH = WIDTH + 2, TILE = 33 };
    gpb_test_package_seed (2);
    uint8_t *pixels = gpb_test_package_bytes ((size_t) PITCH * (HEIGHT + 2));
    uint8_t *edges = gpb_test_package_bytes ((size_t) WIDTH * HEIGHT);
    gpb_reference_sobel (edges, pixels, WIDTH, HEIGHT);
    s_start ();
    for (size_t top = 0; top < HEIGHT; top += TILE)
        for (size_t left = 0; left < WIDTH; left += TILE) {
            size_t width = WIDTH - left < TILE ? WIDTH - left : TILE;
            size_t height = HEIGHT - top < TILE ? HEIGHT - top : TILE;
            uint8_t *tile = gpb_test_package_memory ((width + 2) * (height + 2), 1);
            for (size_t y = 0; y < height + 2; y++)
                memcpy (tile + y * (width + 2), pixels + (top + y) * PITCH + left, width + 2);
            gpb_request_t *request = gpb_request_execute ("sobel");
            gpb_request_in (request, tile, (width + 2) * (height + 2));
            gpb_request_out (request, 0);
            gpb_request_u32 (request, (uint32_t) width);
            gpb_request_u32 (request, (uint32_t) height);
            gpb_reply_t *reply = gpb_test_package_call (s_client, request);
            const uint8_t *data = gpb_test_package_result (reply, 0, width * height);
            for (size_t y = 0; y < height; y++)
                ck_assert_mem_eq (data + y * width, edges + (top + y) * WIDTH + left, width);
            gpb_reply_destroy (&reply);
            free (tile);
        }
    s_stop ();
    free (pixels);
    free (edges);
}
END_TEST

START_TEST (test_every_word_of_the_prelude_means_what_it_says)
{
    const char *source = getenv ("GPB_SOURCE_DIR");
    ck_assert_ptr_nonnull (source);
    char path [4096];
    snprintf (path, sizeof path, "%s/tests/kernels", source);
    setenv ("GPB_KERNEL_PATH", path, 1);
    s_start ();
    gpb_test_package_words (s_client);
    s_stop ();
}
END_TEST

GPB_TEST_MAIN ("packages", 60, test_vector_add_is_its_reference, test_saxpy_is_its_reference,
               test_sobel_is_its_reference, test_gaussian_blur_is_its_reference,
               test_reduce_is_its_reference, test_histogram_is_its_reference,
               test_matmul_is_its_reference, test_mandelbrot_is_its_reference,
               test_nbody_is_its_reference, test_a_million_floats_add_up_as_specified,
               test_a_sum_that_must_round_is_within_its_bound, test_one_bin_counts_everything,
               test_sobel_in_tiles_is_sobel_of_the_whole,
               test_every_word_of_the_prelude_means_what_it_says)
