//  device - one device as an actor, without a broker between
//
//  For an application that owns its device alone and places its own work: the same protocol, one
//  thread less on the way.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include <gpb.h>

#define COUNT 1000

int
main (void)
{
    gpb_device_args_t args = { .config = NULL, .index = 0 };
    zactor_t *device = zactor_new (gpb_device, &args);
    char *status = NULL, *text = NULL;
    zstr_sendx (device, "BIND", "inproc://device-0", NULL);
    zstr_recvx (device, &status, &text, NULL);
    int wrong = !status || strneq (status, "OK");
    if (wrong)
        fprintf (stderr, "device: %s\n", text ? text : "no answer");
    zstr_free (&status);
    zstr_free (&text);

    gpb_error_t error;
    gpb_client_t *client = wrong ? NULL : gpb_client_new ("inproc://device-0", &error);
    for (int round = 0; client && !wrong && round < 10; round++) {
        float x [COUNT], y [COUNT];
        for (int index = 0; index < COUNT; index++) {
            x [index] = (float) index;
            y [index] = (float) round;
        }
        gpb_request_t *request = gpb_request_execute ("vector_add");
        gpb_request_in (request, x, sizeof x);
        gpb_request_in (request, y, sizeof y);
        gpb_request_out (request, sizeof x);
        gpb_request_i32 (request, COUNT);
        gpb_reply_t *reply = gpb_client_call (client, &request, &error);
        size_t size = 0;
        const float *sum = reply ? gpb_reply_result (reply, 0, &size) : NULL;
        wrong = size != sizeof x;
        if (wrong)
            fprintf (stderr, "device: %s\n", reply ? gpb_reply_message (reply) : error.text);
        for (int index = 0; !wrong && index < COUNT; index++)
            wrong = sum [index] != x [index] + y [index];
        if (!wrong)
            printf ("round %d: %d sums in %.3f ms\n", round, COUNT,
                    (double) gpb_reply_round_trip_ns (reply) / 1e6);
        gpb_reply_destroy (&reply);
    }
    gpb_client_destroy (&client);
    zactor_destroy (&device);
    return wrong;
}
