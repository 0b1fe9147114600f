//  blocking - adds two vectors on a node, one call, and checks the sum
//
//      blocking [ENDPOINT]         (default: $GPB_NODE, else tcp://127.0.0.1:5670)
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include <gpb.h>

#define COUNT 100000

int
main (int argc, char **argv)
{
    static float a [COUNT], b [COUNT];
    for (int index = 0; index < COUNT; index++) {
        a [index] = (float) index;
        b [index] = 2 * (float) index;
    }

    gpb_error_t error;
    gpb_client_t *client = gpb_client_new (argc > 1 ? argv [1] : NULL, &error);
    gpb_reply_t *reply = NULL;
    if (client) {
        gpb_request_t *request = gpb_request_execute ("vector_add");
        gpb_request_in (request, a, sizeof a);
        gpb_request_in (request, b, sizeof b);
        gpb_request_out (request, 0);
        gpb_request_i32 (request, COUNT);
        reply = gpb_client_call (client, &request, &error);
    }
    int wrong = 1;
    if (!reply)
        fprintf (stderr, "blocking: %s\n", error.text);
    else if (gpb_reply_status (reply) != GPB_OK)
        fprintf (stderr, "blocking: %s: %s\n", gpb_status_name (gpb_reply_status (reply)),
                 gpb_reply_message (reply));
    else {
        size_t size;
        const float *sum = gpb_reply_result (reply, 0, &size);
        wrong = size != sizeof a;
        for (int index = 0; !wrong && index < COUNT; index++)
            wrong = sum [index] != a [index] + b [index];
        printf ("%d sums from device %d in %.2f ms: %s\n", COUNT, gpb_reply_device (reply),
                (double) gpb_reply_round_trip_ns (reply) / 1e6, wrong ? "wrong" : "right");
    }
    gpb_reply_destroy (&reply);
    gpb_client_destroy (&client);
    return wrong;
}
