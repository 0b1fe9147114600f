//  gpb_broker_gate - a broker's part in who may come in, and what they may do
//
//  A connection gets its principal (gpb_principal.h) with its first request for work. The folder of
//  keys is looked at whenever devices are asked for their figures, so once a second: connections of
//  keys that are gone are closed then. What the gate refuses is logged in the same rhythm, a line a
//  look however much it is, since whoever is refused decides how often. Runs on the broker's
//  thread.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_broker_private.h"

#include "gpb_clock.h"
#include "gpb_log.h"

#include <inttypes.h>

gpb_status_t
gpb_broker_allows (self_t *self, gpb_call_t *call, gpb_error_t *error)
{
    gpb_connection_t *connection = call->connection;
    if (!connection->account)
        connection->account =
            gpb_principals_find (self->principals, connection->key ? connection->key->name : NULL);
    if (!connection->account)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for one more client");
    return gpb_principal_allows (connection->account, call->request, call->received_ns, error);
}

static void
s_log_keys (self_t *self)
{
    gpb_gate_t *gate = gpb_router_gate (self->router);
    gpb_log (self->config, GPB_LOG_INFO, "allowed_keys: %u keys may come in", gpb_gate_keys (gate));
    const char *notice;
    for (unsigned index = 0; (notice = gpb_gate_notice (gate, index)); index++)
        gpb_log (self->config, GPB_LOG_WARNING, "allowed_keys: %s", notice);
}

static void
s_log_refusals (self_t *self)
{
    gpb_gate_figures_t now = gpb_gate_figures (gpb_router_gate (self->router));
    if (now.is_insecure && !self->gate.is_insecure)
        gpb_log (
            self->config, GPB_LOG_WARNING,
            "insecure: an endpoint beyond the loopback asks for no key; whoever reaches it may "
            "use the devices, and read and change what others send");
    if (now.refused_keys != self->gate.refused_keys)
        gpb_log (self->config, GPB_LOG_WARNING,
                 "%" PRIu64
                 " connections were refused, the last one from %s: their keys are not in "
                 "the folder of allowed ones",
                 now.refused_keys - self->gate.refused_keys, now.refused_address);
    if (now.refused_connections != self->gate.refused_connections)
        gpb_log (self->config, GPB_LOG_WARNING,
                 "max_connections: %" PRIu64 " are open, which is the bound; %" PRIu64
                 " more were closed",
                 now.max_connections, now.refused_connections - self->gate.refused_connections);
    self->gate = now;
}

void
gpb_broker_watch_gate (self_t *self)
{
    gpb_gate_t *gate = gpb_router_gate (self->router);
    bool is_first = self->gate.max_connections == 0;
    if (gpb_gate_refresh (gate)) {
        s_log_keys (self);
        size_t count = gpb_router_check_keys (self->router);
        if (count)
            gpb_log (self->config, GPB_LOG_INFO,
                     "allowed_keys: %zu connections of keys that are gone were closed", count);
    }
    else if (is_first && gpb_config_string (self->config, "curve") [0])
        s_log_keys (self);
    s_log_refusals (self);
}
