//  gpb_provoke_keys - how the causes in doc/protocol.md that have to do with keys are provoked
//
//  On a node with keys that lets in alice, whose limits are as small as can be.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_provoke.h"
#include "gpb_test_keys.h"

#define LIMITS "limits=alice:kernels=sleep,rent_size=4096,in_flight=1,register=false"

static gpb_error_t error;

static gpb_client_t *
s_client (const gpb_test_node_t *node, const char *name)
{
    gpb_certificate_t *own = gpb_certificate_load (gpb_test_path (name), &error);
    gpb_certificate_t *theirs = gpb_certificate_load_public (gpb_test_path ("node"), &error);
    gpb_client_t *client = gpb_client_new_curve (node->endpoints [0], own, theirs, &error);
    ck_assert_msg (client != NULL, "%s", error.text);
    gpb_certificate_destroy (&own);
    gpb_certificate_destroy (&theirs);
    return client;
}

static void
s_start (gpb_test_node_t *node)
{
    gpb_test_key ("node");
    gpb_test_key ("alice");
    gpb_test_key ("eve");
    gpb_test_allow ("alice");
    gpb_test_node_start (node, "--backends", "fake", "--set", "allow_register=true", "--curve",
                         gpb_test_path ("node"), "--allowed-keys", gpb_test_allowed (), "--set",
                         LIMITS);
}

//  Calls with a key (NULL: without).
static void
s_call (gpb_stage_t *self, const char *name, gpb_request_t *request)
{
    gpb_test_node_t node;
    s_start (&node);
    gpb_client_t *client =
        name ? s_client (&node, name) : gpb_client_new (node.endpoints [0], &error);
    gpb_stage_note (self, gpb_test_call (client, request));
    gpb_client_destroy (&client);
    gpb_test_node_stop (&node);
    gpb_test_keys_clear ();
}

static void
s_key_unknown (gpb_stage_t *self)
{
    s_call (self, "eve", gpb_test_sleep (0));
}

static void
s_key_wanted (gpb_stage_t *self)
{
    s_call (self, NULL, gpb_test_sleep (0));
}

static void
s_limit_kernels (gpb_stage_t *self)
{
    s_call (self, "alice", gpb_request_execute ("add"));
}

static void
s_limit_register (gpb_stage_t *self)
{
    s_call (self, "alice", gpb_request_register ("id = \"nothing\";\n", " ", false));
}

static void
s_limit_rent_size (gpb_stage_t *self)
{
    s_call (self, "alice", gpb_request_rent (4097, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE));
}

//  The second connection is refused while the first one's request is at work.
static void
s_limit_in_flight (gpb_stage_t *self)
{
    gpb_test_node_t node;
    s_start (&node);
    gpb_client_t *first = s_client (&node, "alice"), *second = s_client (&node, "alice");
    gpb_reply_t *connected = gpb_test_call_ok (first, gpb_request_hello ());
    gpb_reply_destroy (&connected);
    gpb_request_t *request = gpb_test_sleep (300000);
    ck_assert_uint_ne (gpb_client_send (first, &request, &error), 0);
    gpb_test_wait_figure (second, gpb_test_in_flight, 1);
    gpb_stage_note (self, gpb_test_call (second, gpb_test_sleep (0)));
    gpb_client_destroy (&first);
    gpb_client_destroy (&second);
    gpb_test_node_stop (&node);
    gpb_test_keys_clear ();
}

const gpb_provocation_t gpb_provocations_keys [] = {
    { "key_unknown", s_key_unknown, "does not know this client's key" },
    { "key_wanted", s_key_wanted, "with keys (CURVE)" },
    { "limit_kernels", s_limit_kernels, "alice may not call the kernel \"add\"" },
    { "limit_register", s_limit_register, "register=false" },
    { "limit_rent_size", s_limit_rent_size, "4096 bytes in all, and holds 0: 4097 more" },
    { "limit_in_flight", s_limit_in_flight, "1 requests in flight" },
    { NULL, NULL, NULL },
};
