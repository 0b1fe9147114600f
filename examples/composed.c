//  composed - a node as an actor of the application's own, called over inproc
//
//  Payloads cross no process here: with gpb_request_in_take, what the application allocated is what
//  the kernel reads, where the device shares the host's memory.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include <gpb.h>

#define COUNT (1 << 20)

//  Sends a command to an actor of libgpb's; whether it was answered "OK".
static int
s_command (zactor_t *actor, const char *command, const char *argument)
{
    char *status = NULL, *text = NULL;
    zstr_sendx (actor, command, argument, NULL);
    zstr_recvx (actor, &status, &text, NULL);
    int ok = status && streq (status, "OK");
    if (!ok)
        fprintf (stderr, "composed: %s: %s\n", command, text ? text : "no answer");
    zstr_free (&status);
    zstr_free (&text);
    return ok;
}

static void
s_free (void *data, void *hint)
{
    (void) hint;
    free (data);
}

//  A vector of index times step, aligned so that a kernel can use it in place.
static float *
s_vector (float step)
{
    float *vector = aligned_alloc (4096, COUNT * sizeof *vector);
    for (int index = 0; vector && index < COUNT; index++)
        vector [index] = step * (float) (index % 1000);
    return vector;
}

int
main (void)
{
    zactor_t *node = zactor_new (gpb_actor, NULL);
    int wrong = !s_command (node, "BIND", "inproc://gpu") || !s_command (node, "START", NULL);
    gpb_error_t error;
    gpb_client_t *client = wrong ? NULL : gpb_client_new ("inproc://gpu", &error);
    if (client) {
        gpb_request_t *request = gpb_request_execute ("vector_add");
        gpb_request_in_take (request, s_vector (1), COUNT * sizeof (float), s_free, NULL);
        gpb_request_in_take (request, s_vector (2), COUNT * sizeof (float), s_free, NULL);
        gpb_request_out (request, 0);
        gpb_request_i32 (request, COUNT);
        gpb_reply_t *reply = gpb_client_call (client, &request, &error);
        size_t size = 0;
        const float *sum = reply ? gpb_reply_result (reply, 0, &size) : NULL;
        wrong = size != COUNT * sizeof *sum;
        if (wrong)
            fprintf (stderr, "composed: %s\n", reply ? gpb_reply_message (reply) : error.text);
        for (int index = 0; !wrong && index < COUNT; index++)
            wrong = sum [index] != 3 * (float) (index % 1000);
        if (!wrong)
            printf ("%d sums in %.2f ms, no process but this one\n", COUNT,
                    (double) gpb_reply_round_trip_ns (reply) / 1e6);
        gpb_reply_destroy (&reply);
        gpb_client_destroy (&client);
    }
    zactor_destroy (&node);
    return wrong;
}
