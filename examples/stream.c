//  stream - a stream of values through a persistent kernel, by a kernel host of one's own
//
//  running_stats keeps count, mean and variance of all that it was sent. The kernel host is
//  composed into this program, without a node around it; many messages are on their way at any
//  time.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include <gpb.h>

#define MESSAGES 2000
#define VALUES 16    //  of one message
#define IN_FLIGHT 64

int
main (void)
{
    gpb_host_args_t args = { .config = NULL, .index = 0 };
    zactor_t *host = zactor_new (gpb_host, &args);
    char *status = NULL, *text = NULL;
    zstr_sendx (host, "BIND", "inproc://host-0", NULL);
    zstr_recvx (host, &status, &text, NULL);
    int wrong = !status || strneq (status, "OK");
    if (wrong)
        fprintf (stderr, "stream: %s\n", text ? text : "no answer");
    zstr_free (&status);
    zstr_free (&text);

    gpb_error_t error;
    gpb_client_t *client = wrong ? NULL : gpb_client_new ("inproc://host-0", &error);
    double stats [5] = { 0 };    //  count, mean, variance, smallest, largest
    for (int sent = 0, received = 0; client && !wrong && received < MESSAGES; received++) {
        for (; sent < MESSAGES && sent - received < IN_FLIGHT; sent++) {
            float values [VALUES];
            for (int index = 0; index < VALUES; index++)
                values [index] = (float) (sent * VALUES + index);
            gpb_request_t *request = gpb_request_execute ("running_stats");
            gpb_request_lane (request, 1);    //  one stream, in order
            gpb_request_in (request, values, sizeof values);
            gpb_request_out (request, 0);
            gpb_client_send (client, &request, &error);
        }
        gpb_reply_t *reply = gpb_client_recv (client, -1);
        const double *result = reply ? gpb_reply_result (reply, 0, NULL) : NULL;
        wrong = !result;
        if (wrong)
            fprintf (stderr, "stream: %s\n", reply ? gpb_reply_message (reply) : "interrupted");
        else
            memcpy (stats, result, sizeof stats);
        gpb_reply_destroy (&reply);
    }
    if (!wrong)
        printf ("%.0f values: mean %.1f, variance %.1f, from %.0f to %.0f\n", stats [0], stats [1],
                stats [2], stats [3], stats [4]);
    gpb_client_destroy (&client);
    zactor_destroy (&host);
    return wrong || stats [0] != (double) MESSAGES * VALUES;
}
