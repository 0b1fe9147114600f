//  gpb_bench - what the benchmarks share: a node of their own, medians, and how they print
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_bench.h"

#include "gpb_backends.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

void
gpb_bench_fail (const char *format, ...)
{
    va_list arguments;
    va_start (arguments, format);
    fputs ("bench: ", stderr);
    vfprintf (stderr, format, arguments);
    fputs ("\n", stderr);
    va_end (arguments);
    //  The node's threads still run: what CZMQ does at exit is not for now.
    _exit (1);
}

static double
s_load (void)
{
    double load = 0;
    return getloadavg (&load, 1) == 1 ? load : -1;
}

static void
s_usage (const char *program, const gpb_bench_number_t *numbers)
{
    fprintf (stderr, "Usage: %s [--json] [--quick] [--save FILE]", program);
    for (; numbers->name; numbers++)
        fprintf (stderr, " [--%s%s]", numbers->name, numbers->is_switch ? "" : " N");
    fputs ("\n", stderr);
    exit (2);
}

//  Whether the option is one of the numbers, with a whole number behind it.
static bool
s_is_number (const char *option, const char *text, const gpb_bench_number_t *numbers)
{
    for (; numbers->name; numbers++) {
        if (strncmp (option, "--", 2) != 0 || !streq (option + 2, numbers->name) || !text
            || numbers->is_switch)
            continue;
        char *end = NULL;
        *numbers->value = strtoull (text, &end, 10);
        return isdigit ((unsigned char) text [0]) && *end == 0;
    }
    return false;
}

static bool
s_is_switch (const char *option, const gpb_bench_number_t *numbers)
{
    for (; numbers->name; numbers++)
        if (numbers->is_switch && strncmp (option, "--", 2) == 0
            && streq (option + 2, numbers->name)) {
            *numbers->value = 1;
            return true;
        }
    return false;
}

void
gpb_bench_begin_with (gpb_bench_t *self, int argc, char **argv, const gpb_bench_number_t *numbers)
{
    memset (self, 0, sizeof *self);
    //  As the gpb_actor program has it: the driver's threads, and a log that is not in the figures.
    gpb_backends_environment ();
    zsys_init ();
    zsys_set_logstream (stderr);
    for (int index = 1; index < argc; index++) {
        const char *text = index + 1 < argc ? argv [index + 1] : NULL;
        if (streq (argv [index], "--json"))
            self->json = true;
        else if (streq (argv [index], "--quick"))
            self->quick = true;
        else if (streq (argv [index], "--save") && text) {
            self->save = text;
            index++;
        }
        else if (s_is_number (argv [index], text, numbers))
            index++;
        else if (!s_is_switch (argv [index], numbers))
            s_usage (argv [0], numbers);
    }
    self->load_before = s_load ();
}

void
gpb_bench_begin (gpb_bench_t *self, int argc, char **argv)
{
    const gpb_bench_number_t none = { .name = NULL };
    gpb_bench_begin_with (self, argc, argv, &none);
}

size_t
gpb_bench_rounds (const gpb_bench_t *self, size_t usual)
{
    return self->quick ? (usual + 2) / 3 : usual;
}

//  ---------------------------------------------------------------------------------------------------------
//  A node and a client of it

static char *
s_command (zactor_t *node, const char *command, const char *argument, const char *value)
{
    zstr_sendx (node, command, argument, value, NULL);
    char *status = NULL, *text = NULL;
    zstr_recvx (node, &status, &text, NULL);
    if (!status || !text || !streq (status, "OK"))
        gpb_bench_fail ("%s %s: %s", command, argument ? argument : "", text ? text : "no answer");
    zstr_free (&status);
    return text;
}

static zactor_t *
s_node (const char *key, const char *value)
{
    zactor_t *node = zactor_new (gpb_actor, NULL);
    if (!node)
        gpb_bench_fail ("the node does not start");
    char *text = key ? s_command (node, "CONFIGURE", key, value) : NULL;
    zstr_free (&text);
    text = s_command (node, "START", NULL, NULL);
    zstr_free (&text);
    return node;
}

zactor_t *
gpb_bench_node (void)
{
    return s_node (NULL, NULL);
}

zactor_t *
gpb_bench_node_with (const char *key, const char *value)
{
    return s_node (key, value);
}

char *
gpb_bench_bind (zactor_t *node, const char *endpoint)
{
    return s_command (node, "BIND", endpoint, NULL);
}

gpb_client_t *
gpb_bench_client (const char *endpoint)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_client_t *client = gpb_client_new (endpoint, &error);
    if (!client)
        gpb_bench_fail ("%s", error.text);
    return client;
}

void
gpb_bench_device (gpb_bench_t *self, gpb_client_t *client)
{
    gpb_reply_t *reply = gpb_bench_call (client, gpb_request_devices ());
    const Gpb__V1__DeviceList *list = gpb_reply_header_peek (reply)->devices;
    if (list->n_devices == 0)
        gpb_bench_fail ("there is no device: %s",
                        list->n_notices ? list->notices [0] : "no backend says why");
    snprintf (self->device_name, sizeof self->device_name, "%s", list->devices [0]->name);
    snprintf (self->device, sizeof self->device, "%s (%s, %s)", list->devices [0]->name,
              list->devices [0]->backend, list->devices [0]->driver);
    self->max_work_group_size = list->devices [0]->max_work_group_size;
    gpb_reply_destroy (&reply);
}

gpb_reply_t *
gpb_bench_call (gpb_client_t *client, gpb_request_t *request)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_reply_t *reply = gpb_client_call (client, &request, &error);
    if (!reply)
        gpb_bench_fail ("%s", error.text);
    if (gpb_reply_status (reply) != GPB_OK)
        gpb_bench_fail ("%s: %s", gpb_status_name (gpb_reply_status (reply)),
                        gpb_reply_message (reply));
    return reply;
}

void
gpb_bench_do (gpb_client_t *client, gpb_request_t *request)
{
    gpb_reply_t *reply = gpb_bench_call (client, request);
    gpb_reply_destroy (&reply);
}

//  ---------------------------------------------------------------------------------------------------------
//  Figures

static int
s_compare (const void *one, const void *other)
{
    const double *left = one, *right = other;
    return (*left > *right) - (*left < *right);
}

double
gpb_bench_median (double *values, size_t count)
{
    if (count == 0)
        return 0;
    qsort (values, count, sizeof *values, s_compare);
    return count % 2 ? values [count / 2] : (values [count / 2 - 1] + values [count / 2]) / 2;
}

double
gpb_bench_ratio (const double *above, const double *below, size_t count)
{
    double ratios [GPB_BENCH_ROUNDS_MAX];
    for (size_t index = 0; index < count; index++)
        ratios [index] = above [index] / below [index];
    return gpb_bench_median (ratios, count);
}

void
gpb_bench_print (const gpb_bench_t *self, const char *name, gpb_table_t **table_p, json_t *rows)
{
    double load_after = s_load ();
    json_t *object = json_pack ("{s:s, s:s, s:b, s:f, s:f, s:o}", "bench", name, "device",
                                self->device, "quick", self->quick, "load_before",
                                self->load_before, "load_after", load_after, "rows", rows);
    if (!object)
        gpb_bench_fail ("no memory for the JSON text");
    if (self->save && json_dump_file (object, self->save, JSON_INDENT (2) | JSON_PRESERVE_ORDER))
        gpb_bench_fail ("%s cannot be written", self->save);
    if (self->json) {
        json_dumpf (object, stdout, JSON_INDENT (2) | JSON_PRESERVE_ORDER);
        putchar ('\n');
    }
    else {
        gpb_error_t error = { GPB_OK, "" };
        printf ("%s: %s; load %.2f before, %.2f after%s\n", name, self->device, self->load_before,
                load_after, self->quick ? "; quick" : "");
        if (!*table_p || gpb_table_print (*table_p, stdout, &error) != GPB_OK)
            gpb_bench_fail ("no memory for the table");
        putchar ('\n');
    }
    json_decref (object);
    gpb_table_destroy (table_p);
    if (fflush (stdout) != 0)
        gpb_bench_fail ("the output could not be written");
}
