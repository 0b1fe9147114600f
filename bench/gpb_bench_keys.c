//  gpb_bench_keys - CURVE for a benchmark's node and its clients
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_bench_keys.h"

static gpb_certificate_t *
s_make (const gpb_bench_keys_t *self, const char *name, const char *file)
{
    char path [128];
    gpb_error_t error = { GPB_OK, "" };
    snprintf (path, sizeof path, "%s/%s", self->folder, file);
    gpb_certificate_t *certificate = gpb_certificate_new (name, &error);
    if (!certificate || gpb_certificate_save (certificate, path, &error) != GPB_OK)
        gpb_bench_fail ("%s", error.text);
    return certificate;
}

void
gpb_bench_keys_make (gpb_bench_keys_t *self)
{
    char allowed [64];
    strcpy (self->folder, "/tmp/gpb_bench_keys_XXXXXX");
    if (!mkdtemp (self->folder))
        gpb_bench_fail ("no folder in /tmp");
    snprintf (allowed, sizeof allowed, "%s/allowed", self->folder);
    zsys_dir_create ("%s", allowed);
    self->node = s_make (self, "node", "node");
    self->client = s_make (self, "client", "allowed/client");
}

void
gpb_bench_keys_remove (gpb_bench_keys_t *self)
{
    zdir_t *left = self->node ? zdir_new (self->folder, NULL) : NULL;
    if (left)
        zdir_remove (left, true);
    zdir_destroy (&left);
    gpb_certificate_destroy (&self->node);
    gpb_certificate_destroy (&self->client);
}

zactor_t *
gpb_bench_keys_node (const gpb_bench_keys_t *self, gpb_config_t *config)
{
    gpb_config_t *defaults = config ? NULL : gpb_config_new ();
    if (defaults)
        config = defaults;
    char curve [64] = "", allowed [64] = "";
    if (self->node) {
        snprintf (curve, sizeof curve, "%s/node", self->folder);
        snprintf (allowed, sizeof allowed, "%s/allowed", self->folder);
    }
    gpb_error_t error = { GPB_OK, "" };
    if (!config || gpb_config_set (config, "curve", curve, &error) != GPB_OK
        || gpb_config_set (config, "allowed_keys", allowed, &error) != GPB_OK)
        gpb_bench_fail ("the node cannot be configured: %s", error.text);
    zactor_t *node = zactor_new (gpb_actor, config);
    gpb_config_destroy (&defaults);
    if (!node)
        gpb_bench_fail ("the node does not start");
    return node;
}

//  Keys are for tcp.
static bool
s_uses (const gpb_bench_keys_t *self, const char *endpoint)
{
    return self->node && strncmp (endpoint, "tcp://", 6) == 0;
}

gpb_client_t *
gpb_bench_keys_client (const gpb_bench_keys_t *self, const char *endpoint)
{
    if (!s_uses (self, endpoint))
        return gpb_bench_client (endpoint);
    gpb_error_t error = { GPB_OK, "" };
    gpb_client_t *client = gpb_client_new_curve (endpoint, self->client, self->node, &error);
    if (!client)
        gpb_bench_fail ("%s", error.text);
    return client;
}

zsock_t *
gpb_bench_keys_dealer (const gpb_bench_keys_t *self, const char *endpoint)
{
    gpb_error_t error = { GPB_OK, "" };
    zsock_t *dealer = zsock_new (ZMQ_DEALER);
    if (!dealer)
        gpb_bench_fail ("no socket");
    zsock_set_unbounded (dealer);
    zsock_set_linger (dealer, 0);
    if (s_uses (self, endpoint)
        && gpb_certificate_connect (self->client, self->node, zsock_resolve (dealer), &error)
               != GPB_OK)
        gpb_bench_fail ("%s", error.text);
    if (zsock_connect (dealer, "%s", endpoint) == -1)
        gpb_bench_fail ("%s cannot be connected to", endpoint);
    return dealer;
}
