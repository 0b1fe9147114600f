//  demo - the edges of a photo, computed by a node over tcp
//
//  Starts a gpb_actor on a free port, cuts the photo into tiles with a halo of one pixel, keeps
//  many of them in flight through the `sobel` kernel, puts the answers together in whatever order
//  they come, holds every pixel against plain C, and writes the picture of the edges. `make demo`
//  runs it:
//
//      demo GPB_ACTOR PHOTO.png EDGES.png
//
//  Exit status: 0; 1 where anything failed or a pixel differs. The node ends with this program,
//  however it ends.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb.h"

//  Internal: only for the percentiles that are printed.
#include "gpb_clock.h"
#include "gpb_histogram.h"

#include "gpb.pb-c.h"

#include <inttypes.h>
#include <png.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define TILE 64         //  pixels of a tile's side, without the halo
#define IN_FLIGHT 32    //  requests at once

typedef struct {
    uint32_t width, height;
    uint8_t *pixels;    //  grayscale, row after row
} picture_t;

typedef struct {
    uint64_t id;    //  of the request; 0: not sent
    uint32_t left, top, width, height;
} tile_t;

typedef struct {
    picture_t photo, edges;
    tile_t *tiles;
    size_t tiles_count, sent, done;
    uint64_t bytes;    //  payloads, both directions
    gpb_histogram_t latencies;
    int device;
} demo_t;

static bool
fail (const char *what, const char *why)
{
    fprintf (stderr, "demo: %s: %s\n", what, why);
    return false;
}

//  ---------------------------------------------------------------------------------------------------------
//  Pictures

static bool
picture_read (picture_t *self, const char *path)
{
    png_image image = { .version = PNG_IMAGE_VERSION };
    if (!png_image_begin_read_from_file (&image, path))
        return fail (path, image.message);
    image.format = PNG_FORMAT_GRAY;
    self->width = image.width;
    self->height = image.height;
    self->pixels = malloc (PNG_IMAGE_SIZE (image));
    if (!self->pixels || !png_image_finish_read (&image, NULL, self->pixels, 0, NULL))
        return fail (path, self->pixels ? image.message : "no memory");
    return true;
}

static bool
picture_write (const picture_t *self, const char *path)
{
    png_image image = { .version = PNG_IMAGE_VERSION,
                        .width = self->width,
                        .height = self->height,
                        .format = PNG_FORMAT_GRAY };
    if (!png_image_write_to_file (&image, path, 0, self->pixels, 0, NULL))
        return fail (path, image.message);
    return true;
}

//  A pixel; outside the picture, the nearest one of its border.
static int
picture_at (const picture_t *self, int64_t x, int64_t y)
{
    x = x < 0 ? 0 : x < self->width ? x : self->width - 1;
    y = y < 0 ? 0 : y < self->height ? y : self->height - 1;
    return self->pixels [y * self->width + x];
}

//  The edge at one pixel, in plain C: what the kernel's answer is held against.
static uint8_t
reference (const picture_t *photo, int64_t x, int64_t y)
{
    int gx = 0, gy = 0;
    for (int step = -1; step <= 1; step++) {
        int weight = step ? 1 : 2;
        gx += weight * (picture_at (photo, x + 1, y + step) - picture_at (photo, x - 1, y + step));
        gy += weight * (picture_at (photo, x + step, y + 1) - picture_at (photo, x + step, y - 1));
    }
    int square = gx * gx + gy * gy, root = 0;
    while (root < 255 && (root + 1) * (root + 1) <= square)
        root++;
    return (uint8_t) root;
}

//  ---------------------------------------------------------------------------------------------------------
//  The node

//  Starts a gpb_actor, and reads the endpoint from its `ready` line. 0: it did not come up.
static pid_t
node_start (const char *program, char *endpoint, size_t size)
{
    int ends [2];
    pid_t parent = getpid ();
    if (pipe (ends) != 0)
        return fail ("pipe", "no descriptor is left");
    pid_t node = fork ();
    if (node == 0) {
        prctl (PR_SET_PDEATHSIG, SIGTERM);
        if (getppid () != parent)
            _exit (1);
        dup2 (ends [1], STDOUT_FILENO);
        close (ends [0]);
        close (ends [1]);
        execl (program, "gpb_actor", "--bind", "tcp://127.0.0.1:*", "--set", "log_level=warning",
               (char *) NULL);
        _exit (127);
    }
    close (ends [1]);
    char line [256] = "";
    FILE *output = fdopen (ends [0], "r");
    bool ready =
        node > 0 && output && fgets (line, sizeof line, output) && strncmp (line, "ready ", 6) == 0;
    if (output)
        fclose (output);
    if (!ready) {
        if (node > 0)
            waitpid (node, NULL, 0);
        return fail (program, "it did not become ready");
    }
    line [strcspn (line, "\n")] = 0;
    snprintf (endpoint, size, "%s", line + 6);
    return node;
}

//  Lets the node drain. False: it did not end well.
static bool
node_stop (pid_t node)
{
    int status = 0;
    kill (node, SIGTERM);
    waitpid (node, &status, 0);
    return (WIFEXITED (status) && WEXITSTATUS (status) == 0)
           || fail ("gpb_actor", "it did not drain and exit with 0");
}

//  ---------------------------------------------------------------------------------------------------------
//  The work

static bool
demo_cut (demo_t *self)
{
    uint32_t columns = (self->photo.width + TILE - 1) / TILE;
    uint32_t rows = (self->photo.height + TILE - 1) / TILE;
    self->edges = (picture_t){ self->photo.width, self->photo.height,
                               calloc (self->photo.width, self->photo.height) };
    self->tiles_count = (size_t) columns * rows;
    self->tiles = calloc (self->tiles_count, sizeof *self->tiles);
    if (!self->tiles || !self->edges.pixels)
        return fail ("tiles", "no memory");
    for (size_t index = 0; index < self->tiles_count; index++) {
        tile_t *tile = &self->tiles [index];
        tile->left = (uint32_t) (index % columns) * TILE;
        tile->top = (uint32_t) (index / columns) * TILE;
        uint32_t right = self->photo.width - tile->left, below = self->photo.height - tile->top;
        tile->width = right < TILE ? right : TILE;
        tile->height = below < TILE ? below : TILE;
    }
    return true;
}

static bool
demo_send (demo_t *self, gpb_client_t *client)
{
    uint8_t pixels [(TILE + 2) * (TILE + 2)];
    gpb_error_t error;
    tile_t *tile = &self->tiles [self->sent++];
    size_t size = 0;
    for (int64_t y = -1; y <= tile->height; y++)
        for (int64_t x = -1; x <= tile->width; x++)
            pixels [size++] = (uint8_t) picture_at (&self->photo, tile->left + x, tile->top + y);
    gpb_request_t *request = gpb_request_execute ("sobel");
    if (!request)
        return fail ("sobel", "no memory");
    gpb_request_in (request, pixels, size);
    gpb_request_out (request, 0);
    gpb_request_u32 (request, tile->width);
    gpb_request_u32 (request, tile->height);
    tile->id = gpb_client_send (client, &request, &error);
    self->bytes += size + (uint64_t) tile->width * tile->height;
    return tile->id ? true : fail ("sobel", error.text);
}

//  Puts one answer in its place.
static bool
demo_receive (demo_t *self, const gpb_reply_t *reply)
{
    size_t size = 0;
    const uint8_t *edges = gpb_reply_result (reply, 0, &size);
    if (gpb_reply_status (reply) != GPB_OK)
        return fail (gpb_status_name (gpb_reply_status (reply)), gpb_reply_message (reply));
    for (size_t index = 0; index < self->sent; index++) {
        tile_t *tile = &self->tiles [index];
        if (tile->id != gpb_reply_id (reply))
            continue;
        if (size != (size_t) tile->width * tile->height)
            return fail ("sobel", "an answer of another size");
        for (uint32_t row = 0; row < tile->height; row++)
            memcpy (self->edges.pixels + (size_t) (tile->top + row) * self->edges.width
                        + tile->left,
                    edges + (size_t) row * tile->width, tile->width);
        gpb_histogram_record (&self->latencies, gpb_reply_round_trip_ns (reply));
        self->device = gpb_reply_device (reply);
        self->done++;
        return true;
    }
    return fail ("sobel", "an answer to no request");
}

//  All tiles, at most IN_FLIGHT at a time.
static bool
demo_work (demo_t *self, gpb_client_t *client)
{
    bool terminal = isatty (STDOUT_FILENO), good = true;
    zpoller_t *poller = zpoller_new (gpb_client_socket (client), NULL);
    while (good && self->done < self->tiles_count) {
        while (good && self->sent < self->tiles_count && gpb_client_in_flight (client) < IN_FLIGHT)
            good = demo_send (self, client);
        zpoller_wait (poller, gpb_client_next_timeout (client));
        gpb_reply_t *reply;
        while (good && (reply = gpb_client_recv (client, 0))) {
            good = demo_receive (self, reply);
            gpb_reply_destroy (&reply);
        }
        if (terminal)
            printf ("\r%zu of %zu tiles", self->done, self->tiles_count);
        fflush (stdout);
    }
    if (terminal)
        printf ("\n");
    zpoller_destroy (&poller);
    return good;
}

//  The device's name, by a blocking call.
static bool
demo_print (const demo_t *self, gpb_client_t *client, uint64_t elapsed_ns)
{
    gpb_error_t error;
    gpb_request_t *request = gpb_request_devices ();
    gpb_reply_t *reply = gpb_client_call (client, &request, &error);
    if (!reply || gpb_reply_status (reply) != GPB_OK)
        return fail ("devices", reply ? gpb_reply_message (reply) : error.text);
    const Gpb__V1__Reply *header = gpb_reply_header_peek (reply);
    for (size_t index = 0; header->devices && index < header->devices->n_devices; index++) {
        const Gpb__V1__Device *device = header->devices->devices [index];
        if ((int) device->index == self->device)
            printf ("device  %d: %s (%s)\n", self->device, device->name, device->backend);
    }
    gpb_reply_destroy (&reply);
    const gpb_histogram_t *is = &self->latencies;
    printf ("tiles   %zu of %dx%d, up to %d in flight, every pixel as plain C has it\n",
            self->tiles_count, TILE, TILE, IN_FLIGHT);
    printf ("bytes   %" PRIu64 " in payloads, %.3f s in all\n", self->bytes,
            (double) elapsed_ns / 1e9);
    printf ("latency p50 %.2f ms, p95 %.2f ms, p99 %.2f ms, max %.2f ms (compiling included)\n",
            (double) gpb_histogram_percentile (is, 50) / 1e6,
            (double) gpb_histogram_percentile (is, 95) / 1e6,
            (double) gpb_histogram_percentile (is, 99) / 1e6, (double) is->max_ns / 1e6);
    return true;
}

static bool
demo_check (const demo_t *self)
{
    size_t wrong = 0;
    for (uint32_t y = 0; y < self->photo.height; y++)
        for (uint32_t x = 0; x < self->photo.width; x++)
            wrong += self->edges.pixels [(size_t) y * self->edges.width + x]
                     != reference (&self->photo, x, y);
    if (wrong)
        fprintf (stderr, "demo: %zu pixels differ from the plain C reference\n", wrong);
    return wrong == 0;
}

static bool
demo_run (demo_t *self, const char *program, const char *target)
{
    char endpoint [256];
    gpb_error_t error;
    printf ("starting a node\n");
    fflush (stdout);
    pid_t node = node_start (program, endpoint, sizeof endpoint);
    if (!node)
        return false;
    printf ("node    %s\n", endpoint);
    gpb_client_t *client = gpb_client_new (endpoint, &error);
    uint64_t start_ns = gpb_clock_ns ();
    bool good = client ? demo_work (self, client) : fail (endpoint, error.text);
    uint64_t elapsed_ns = gpb_clock_ns () - start_ns;
    good = good && demo_check (self) && demo_print (self, client, elapsed_ns)
           && picture_write (&self->edges, target);
    gpb_client_destroy (&client);
    good = node_stop (node) && good;
    if (good)
        printf ("wrote   %s\n", target);
    return good;
}

int
main (int argc, char **argv)
{
    static demo_t demo;
    if (argc != 4) {
        fprintf (stderr, "Usage: demo GPB_ACTOR PHOTO.png EDGES.png\n");
        return 2;
    }
    demo_t *self = &demo;
    bool good = picture_read (&self->photo, argv [2]) && demo_cut (self)
                && demo_run (self, argv [1], argv [3]);
    free (self->tiles);
    free (self->photo.pixels);
    free (self->edges.pixels);
    return good ? 0 : 1;
}
