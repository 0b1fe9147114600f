//  gpb_test_actor - a device's, a pool's or a kernel host's actor for a test, and a client's usual
//  words with it
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_test_actor.h"

#include "gpb_clock.h"
#include "gpb_device.h"
#include "gpb_host.h"
#include "gpb_pool.h"
#include "gpb_service.h"
#include "gpb_test.h"
#include "gpb_test_device.h"

#include <inttypes.h>

#define PATIENCE_MS 30000
#define PAUSE_MS 2    //  between two looks at figures that nobody announces

gpb_config_t *
gpb_test_actor_config (const char *backend, const char *const *settings)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_config_t *config = gpb_config_new ();
    ck_assert_ptr_nonnull (config);
    char path [4096];
    snprintf (path, sizeof path, "%s/tests/packages", getenv ("GPB_SOURCE_DIR"));
    ck_assert_ok (gpb_config_set (config, "kernel_path", path, &error));
    ck_assert_ok (gpb_config_set (config, "cache_directory", "none", &error));
    ck_assert_ok (gpb_config_set (config, "backends", backend, &error));
    for (size_t index = 0; settings && settings [index]; index += 2)
        ck_assert_ok (gpb_config_set (config, settings [index], settings [index + 1], &error));
    return config;
}

void
gpb_test_actor_bind (gpb_test_actor_t *self, const char *endpoint)
{
    gpb_error_t error = { GPB_OK, "" };
    ck_assert_ok (gpb_pipe_ask (self->actor, (const char *[]){ "BIND", endpoint, NULL }, &error));
    snprintf (self->endpoint, sizeof self->endpoint, "%s", error.text);
}

void
gpb_test_actor_device (gpb_test_actor_t *self, const char *backend, const char *const *settings)
{
    self->config = gpb_test_actor_config (backend, settings);
    gpb_device_args_t args = { .config = self->config, .index = 0 };
    self->actor = zactor_new (gpb_device, &args);
    ck_assert_ptr_nonnull (self->actor);
    gpb_test_actor_bind (self, GPB_TEST_ACTOR_INPROC);
}

void
gpb_test_actor_pool (gpb_test_actor_t *self, const char *backend, const char *const *settings)
{
    self->config = gpb_test_actor_config (backend, settings);
    gpb_pool_args_t args = { .config = self->config, .index = 0 };
    self->actor = zactor_new (gpb_pool, &args);
    ck_assert_ptr_nonnull (self->actor);
    gpb_test_actor_bind (self, GPB_TEST_ACTOR_INPROC);
}

void
gpb_test_actor_host (gpb_test_actor_t *self, const char *backend, const char *folder,
                     const char *const *settings)
{
    char path [8192];
    const char *source = getenv ("GPB_SOURCE_DIR");
    snprintf (path, sizeof path, "%s/%s:%s/kernels", source, folder, source);
    const char *all [64] = { "kernel_path", path };
    for (size_t index = 0; settings && settings [index]; index++)
        all [2 + index] = settings [index];
    self->config = gpb_test_actor_config (backend, all);
    gpb_host_args_t args = { .config = self->config, .index = 0 };
    self->actor = zactor_new (gpb_host, &args);
    ck_assert_ptr_nonnull (self->actor);
    gpb_test_actor_bind (self, GPB_TEST_ACTOR_INPROC);
}

void
gpb_test_actor_stop (gpb_test_actor_t *self)
{
    zactor_destroy (&self->actor);
    gpb_config_destroy (&self->config);
}

gpb_client_t *
gpb_test_actor_client (const char *endpoint)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_client_t *client = gpb_client_new (endpoint, &error);
    ck_assert_msg (client != NULL, "%s", error.text);
    return client;
}

uint64_t
gpb_test_actor_send (gpb_client_t *client, gpb_request_t *request)
{
    gpb_error_t error = { GPB_OK, "" };
    uint64_t id = gpb_client_send (client, &request, &error);
    ck_assert_msg (id != 0, "%s", error.text);
    return id;
}

gpb_reply_t *
gpb_test_actor_recv (gpb_client_t *client)
{
    gpb_reply_t *reply = gpb_client_recv (client, PATIENCE_MS);
    ck_assert_msg (reply != NULL, "no reply came");
    return reply;
}

gpb_reply_t *
gpb_test_actor_call (gpb_client_t *client, gpb_request_t *request)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_reply_t *reply = gpb_client_call (client, &request, &error);
    ck_assert_msg (reply != NULL, "%s", error.text);
    return reply;
}

gpb_reply_t *
gpb_test_actor_ok (gpb_client_t *client, gpb_request_t *request)
{
    gpb_reply_t *reply = gpb_test_actor_call (client, request);
    ck_assert_msg (gpb_reply_status (reply) == GPB_OK, "%s: %s",
                   gpb_status_name (gpb_reply_status (reply)), gpb_reply_message (reply));
    return reply;
}

void
gpb_test_actor_refused (gpb_client_t *client, gpb_request_t *request, gpb_status_t status,
                        const char *part)
{
    gpb_reply_t *reply = gpb_test_actor_call (client, request);
    ck_assert_msg (gpb_reply_status (reply) == status, "%s instead of %s: %s",
                   gpb_status_name (gpb_reply_status (reply)), gpb_status_name (status),
                   gpb_reply_message (reply));
    ck_assert_msg (strstr (gpb_reply_message (reply), part) != NULL, "\"%s\" is not in: %s", part,
                   gpb_reply_message (reply));
    ck_assert_uint_eq (gpb_reply_results (reply), 0);
    gpb_reply_destroy (&reply);
}

void
gpb_test_actor_expect (gpb_client_t *client, uint64_t id, gpb_status_t status, const char *part)
{
    gpb_reply_t *reply = gpb_test_actor_recv (client);
    ck_assert_uint_eq (gpb_reply_id (reply), id);
    ck_assert_msg (gpb_reply_status (reply) == status, "%s: %s",
                   gpb_status_name (gpb_reply_status (reply)), gpb_reply_message (reply));
    ck_assert_msg (strstr (gpb_reply_message (reply), part) != NULL, "%s",
                   gpb_reply_message (reply));
    gpb_reply_destroy (&reply);
}

void
gpb_test_actor_done (gpb_client_t *client, gpb_request_t *request)
{
    gpb_reply_t *reply = gpb_test_actor_ok (client, request);
    gpb_reply_destroy (&reply);
}

uint64_t
gpb_test_actor_rent (gpb_client_t *client, uint64_t size, gpb_rent_kind_t kind,
                     gpb_rent_access_t access)
{
    gpb_reply_t *reply = gpb_test_actor_ok (client, gpb_request_rent (size, kind, access));
    uint64_t handle = gpb_reply_handle (reply);
    ck_assert_uint_ne (handle, 0);
    ck_assert_uint_eq (gpb_reply_header_peek (reply)->rent->size, size);
    gpb_reply_destroy (&reply);
    return handle;
}

void
gpb_test_actor_read (gpb_client_t *client, uint64_t handle, uint64_t offset, void *data,
                     size_t size)
{
    gpb_reply_t *reply = gpb_test_actor_ok (client, gpb_request_read (handle, offset, size));
    size_t got;
    const void *bytes = gpb_reply_result (reply, 0, &got);
    ck_assert_uint_eq (got, size);
    memcpy (data, bytes, size);
    gpb_reply_destroy (&reply);
}

static void
s_figures (gpb_client_t *client, uint64_t *available_p, uint64_t *in_flight_p)
{
    gpb_reply_t *reply = gpb_test_actor_ok (client, gpb_request_stats ());
    const Gpb__V1__Reply *header = gpb_reply_header_peek (reply);
    ck_assert_uint_eq (header->stats->n_devices, 1);
    *available_p = header->stats->devices [0]->available_memory;
    *in_flight_p = header->stats->in_flight;
    gpb_reply_destroy (&reply);
}

uint64_t
gpb_test_actor_available (gpb_client_t *client)
{
    uint64_t available, in_flight;
    s_figures (client, &available, &in_flight);
    return available;
}

uint64_t
gpb_test_actor_in_flight (gpb_client_t *client)
{
    uint64_t available, in_flight;
    s_figures (client, &available, &in_flight);
    return in_flight;
}

void
gpb_test_actor_await_available (gpb_client_t *client, uint64_t size)
{
    uint64_t end_ns = gpb_clock_ns () + PATIENCE_MS * GPB_NS_PER_MS, available;
    while ((available = gpb_test_actor_available (client)) != size) {
        ck_assert_msg (gpb_clock_ns () < end_ns,
                       "%" PRIu64 " bytes are available instead of %" PRIu64, available, size);
        zmq_poll (NULL, 0, PAUSE_MS);
    }
}

void
gpb_test_actor_await_in_flight (gpb_client_t *client, uint64_t count)
{
    uint64_t end_ns = gpb_clock_ns () + PATIENCE_MS * GPB_NS_PER_MS, in_flight;
    while ((in_flight = gpb_test_actor_in_flight (client)) != count) {
        ck_assert_msg (gpb_clock_ns () < end_ns,
                       "%" PRIu64 " requests are in flight instead of %" PRIu64, in_flight, count);
        zmq_poll (NULL, 0, PAUSE_MS);
    }
}

void
gpb_test_actor_let_go (gpb_client_t *client)
{
    uint64_t end_ns = gpb_clock_ns () + PATIENCE_MS * GPB_NS_PER_MS;
    do {
        ck_assert_msg (gpb_clock_ns () < end_ns, "what is in flight does not end");
        gpb_test_fake_let_go ();
        zmq_poll (NULL, 0, PAUSE_MS);
    } while (gpb_test_actor_in_flight (client) > 0);
}

gpb_request_t *
gpb_test_actor_scalar (const char *kernel, int32_t value)
{
    gpb_request_t *request = gpb_request_execute (kernel);
    gpb_request_i32 (request, value);
    return request;
}

gpb_request_t *
gpb_test_actor_duplicate (const void *data, size_t size)
{
    gpb_request_t *request = gpb_request_execute ("duplicate");
    const uint64_t global = size;
    gpb_request_in (request, data, size);
    gpb_request_out (request, 0);
    gpb_request_set_global (request, 1, &global);
    return request;
}
