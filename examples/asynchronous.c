//  asynchronous - keeps a thousand requests in flight from an application's own poller
//
//      asynchronous [ENDPOINT]     (default: $GPB_NODE, else tcp://127.0.0.1:5670)
//
//  Replies come in any order; the id that gpb_client_send returned says which request each answers.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include <gpb.h>

#define REQUESTS 1000
#define COUNT 256

//  Whether this reply is the sum that its request asked for: a [i] = id, b [i] = i.
static int
s_is_right (const gpb_reply_t *reply)
{
    size_t size;
    const float *sum = gpb_reply_result (reply, 0, &size);
    if (gpb_reply_status (reply) != GPB_OK || size != COUNT * sizeof *sum) {
        fprintf (stderr, "request %llu: %s\n", (unsigned long long) gpb_reply_id (reply),
                 gpb_reply_message (reply));
        return 0;
    }
    for (int index = 0; index < COUNT; index++)
        if (sum [index] != (float) gpb_reply_id (reply) + (float) index)
            return 0;
    return 1;
}

int
main (int argc, char **argv)
{
    gpb_error_t error;
    gpb_client_t *client = gpb_client_new (argc > 1 ? argv [1] : NULL, &error);
    if (!client) {
        fprintf (stderr, "asynchronous: %s\n", error.text);
        return 1;
    }
    for (int number = 1; number <= REQUESTS; number++) {
        float a [COUNT], b [COUNT];
        for (int index = 0; index < COUNT; index++) {
            a [index] = (float) number;    //  ids count up from 1
            b [index] = (float) index;
        }
        gpb_request_t *request = gpb_request_execute ("vector_add");
        gpb_request_in (request, a, sizeof a);
        gpb_request_in (request, b, sizeof b);
        gpb_request_out (request, 0);
        gpb_request_i32 (request, COUNT);
        if (!gpb_client_send (client, &request, &error))
            fprintf (stderr, "request %d: %s\n", number, error.text);
    }

    //  The application's other sockets would stand in the same poller.
    int right = 0, answered = 0;
    zpoller_t *poller = zpoller_new (gpb_client_socket (client), NULL);
    while (gpb_client_in_flight (client) > 0 && !zsys_interrupted) {
        zpoller_wait (poller, gpb_client_next_timeout (client));
        for (gpb_reply_t *reply; (reply = gpb_client_recv (client, 0)); answered++) {
            right += s_is_right (reply);
            gpb_reply_destroy (&reply);
        }
    }
    printf ("%d requests, %d answered, %d right\n", REQUESTS, answered, right);
    zpoller_destroy (&poller);
    gpb_client_destroy (&client);
    return right == REQUESTS ? 0 : 1;
}
