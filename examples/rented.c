//  rented - device memory that stays between requests
//
//  Rents three buffers, writes two, adds them twice by handle without a payload on the wire, reads
//  the sum, and looks at the same memory through a pointer, since this is the node's process.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include <gpb.h>

#define COUNT 10000
#define SIZE (COUNT * sizeof (float))

static gpb_client_t *s_client;

//  Ends the program where a request is not answered OK: enough for an example.
static gpb_reply_t *
s_call (const char *what, gpb_request_t *request)
{
    gpb_error_t error;
    gpb_reply_t *reply = gpb_client_call (s_client, &request, &error);
    if (reply && gpb_reply_status (reply) == GPB_OK)
        return reply;
    fprintf (stderr, "rented: %s: %s\n", what, reply ? gpb_reply_message (reply) : error.text);
    exit (1);
}

static void
s_do (const char *what, gpb_request_t *request)
{
    gpb_reply_t *reply = s_call (what, request);
    gpb_reply_destroy (&reply);
}

static uint64_t
s_rent (void)
{
    gpb_reply_t *reply =
        s_call ("rent", gpb_request_rent (SIZE, GPB_RENT_MAPPED, GPB_RENT_READ_WRITE));
    uint64_t handle = gpb_reply_handle (reply);
    gpb_reply_destroy (&reply);
    return handle;
}

static void
s_add (uint64_t a, uint64_t b, uint64_t c)
{
    gpb_request_t *request = gpb_request_execute ("vector_add");
    gpb_request_buffer (request, a, 0, 0);
    gpb_request_buffer (request, b, 0, 0);
    gpb_request_buffer (request, c, 0, 0);
    gpb_request_i32 (request, COUNT);
    s_do ("execute", request);
}

int
main (void)
{
    zactor_t *node = zactor_new (gpb_actor, NULL);
    zstr_sendx (node, "BIND", "inproc://gpu", NULL);
    zstr_sendx (node, "START", NULL);
    for (int answer = 0; answer < 2; answer++) {
        char *status = NULL, *text = NULL;
        zstr_recvx (node, &status, &text, NULL);
        if (!status || strneq (status, "OK")) {
            fprintf (stderr, "rented: %s\n", text ? text : "no answer");
            return 1;
        }
        zstr_free (&status);
        zstr_free (&text);
    }
    s_client = gpb_client_new ("inproc://gpu", NULL);
    static float ones [COUNT];
    for (int index = 0; index < COUNT; index++)
        ones [index] = 1;
    uint64_t a = s_rent (), b = s_rent (), c = s_rent ();
    s_do ("write", gpb_request_write (a, 0, ones, SIZE));
    s_do ("write", gpb_request_write (b, 0, ones, SIZE));
    s_add (a, b, c);    //  c = 2
    s_add (a, c, b);    //  b = 3

    gpb_reply_t *read = s_call ("read", gpb_request_read (b, 0, 0));
    gpb_reply_t *mapped = s_call ("map", gpb_request_map (b));
    const float *by_value = gpb_reply_result (read, 0, NULL);
    const float *by_pointer = gpb_reply_address (mapped);
    int right = by_value != NULL && by_pointer != NULL;
    for (int index = 0; right && index < COUNT; index++)
        right = by_value [index] == 3 && by_pointer [index] == 3;
    printf ("1 + 1 + 1, %d times, in rented memory: %s\n", COUNT, right ? "right" : "wrong");
    gpb_reply_destroy (&read);
    gpb_reply_destroy (&mapped);
    s_do ("unmap", gpb_request_unmap (b));
    s_do ("release", gpb_request_release (a));
    gpb_client_destroy (&s_client);    //  b and c go back with their client
    zactor_destroy (&node);
    return right ? 0 : 1;
}
