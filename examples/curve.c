//  curve - asks a node that lets in only whom it knows, over an encrypted connection
//
//      gpb keygen node && gpb keygen me && mkdir allowed && cp me allowed
//      gpb_actor --curve node --allowed-keys allowed --bind tcp://192.168.1.5:5670
//      curve tcp://192.168.1.5:5670 me node
//
//  The client needs its own key pair (me and me_secret) and the node's public key (node).
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include <gpb.h>

static int
s_add (gpb_client_t *client)
{
    const float a [] = { 1, 2, 3 }, b [] = { 10, 20, 30 };
    gpb_error_t error;
    gpb_request_t *request = gpb_request_execute ("vector_add");
    gpb_request_in (request, a, sizeof a);
    gpb_request_in (request, b, sizeof b);
    gpb_request_out (request, 0);
    gpb_request_i32 (request, 3);
    gpb_reply_t *reply = gpb_client_call (client, &request, &error);
    int wrong = 1;
    if (!reply)
        fprintf (stderr, "curve: %s\n", error.text);
    else if (gpb_reply_status (reply) != GPB_OK)
        //  UNAUTHENTICATED: the node does not know our key. PERMISSION_DENIED: it does, but our
        //  limits there do not allow this.
        fprintf (stderr, "curve: %s: %s\n", gpb_status_name (gpb_reply_status (reply)),
                 gpb_reply_message (reply));
    else {
        const float *sum = gpb_reply_result (reply, 0, NULL);
        printf ("%g %g %g, and nobody else has read them\n", sum [0], sum [1], sum [2]);
        wrong = sum [0] != 11 || sum [1] != 22 || sum [2] != 33;
    }
    gpb_reply_destroy (&reply);
    return wrong;
}

int
main (int argc, char **argv)
{
    if (argc != 4) {
        fputs ("usage: curve tcp://HOST:PORT MY_KEY NODE_KEY\n", stderr);
        return 2;
    }
    gpb_error_t error;
    gpb_certificate_t *own = gpb_certificate_load (argv [2], &error);
    gpb_certificate_t *node = own ? gpb_certificate_load_public (argv [3], &error) : NULL;
    gpb_client_t *client = node ? gpb_client_new_curve (argv [1], own, node, &error) : NULL;
    int result = 1;
    if (client)
        result = s_add (client);
    else
        fprintf (stderr, "curve: %s\n", error.text);
    gpb_client_destroy (&client);
    gpb_certificate_destroy (&own);
    gpb_certificate_destroy (&node);
    return result;
}
