//  gpb_test_actor - a device's, a pool's or a kernel host's actor for a test, and a client's usual
//  words with it
//
//  The actor stands alone, without a node around it, and finds the kernels of tests/packages. Every
//  function ends the test where something fails that the test is not about. One thread.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_TEST_ACTOR_H_INCLUDED
#define GPB_TEST_ACTOR_H_INCLUDED

#include "gpb_client.h"
#include "gpb_config.h"

#include "gpb.pb-c.h"

#define GPB_TEST_ACTOR_INPROC "inproc://test-actor"

typedef struct {
    gpb_config_t *config;
    zactor_t *actor;
    char endpoint [128];    //  the one bound last
} gpb_test_actor_t;

//  A configuration with the kernels of tests/packages and no cache on disk. settings: key, value,
//  and so on, NULL behind the last; or NULL.
gpb_config_t *gpb_test_actor_config (const char *backend, const char *const *settings);

//  Starts a device's or a pool's actor for device 0 of backend, bound to GPB_TEST_ACTOR_INPROC.
void gpb_test_actor_device (gpb_test_actor_t *self, const char *backend,
                            const char *const *settings);
void gpb_test_actor_pool (gpb_test_actor_t *self, const char *backend, const char *const *settings);

//  The same for a kernel host, which finds the persistent kernels of the source tree's folder
//  beside those that ship.
void gpb_test_actor_host (gpb_test_actor_t *self, const char *backend, const char *folder,
                          const char *const *settings);

//  Binds one more endpoint; self->endpoint is where it is.
void gpb_test_actor_bind (gpb_test_actor_t *self, const char *endpoint);

void gpb_test_actor_stop (gpb_test_actor_t *self);

gpb_client_t *gpb_test_actor_client (const char *endpoint);

//  Sends a request; the id.
uint64_t gpb_test_actor_send (gpb_client_t *client, gpb_request_t *request);

//  The reply that comes next; the caller's.
gpb_reply_t *gpb_test_actor_recv (gpb_client_t *client);

//  Asks and waits. The first is for any answer, the second for one that is OK, the third for a
//  status and a part of its sentence.
gpb_reply_t *gpb_test_actor_call (gpb_client_t *client, gpb_request_t *request);
gpb_reply_t *gpb_test_actor_ok (gpb_client_t *client, gpb_request_t *request);
void gpb_test_actor_refused (gpb_client_t *client, gpb_request_t *request, gpb_status_t status,
                             const char *part);

//  The next answer is that of a request which was sent, with this status and this part of its
//  sentence.
void gpb_test_actor_expect (gpb_client_t *client, uint64_t id, gpb_status_t status,
                            const char *part);

//  Asks and waits, and nothing of an OK answer is wanted.
void gpb_test_actor_done (gpb_client_t *client, gpb_request_t *request);

uint64_t gpb_test_actor_rent (gpb_client_t *client, uint64_t size, gpb_rent_kind_t kind,
                              gpb_rent_access_t access);

//  Reads a rented buffer from offset on into data.
void gpb_test_actor_read (gpb_client_t *client, uint64_t handle, uint64_t offset, void *data,
                          size_t size);

//  What a device's actor says is available, in bytes; and how many requests are on it.
uint64_t gpb_test_actor_available (gpb_client_t *client);
uint64_t gpb_test_actor_in_flight (gpb_client_t *client);

//  Waits until a device's figures are these; ends the test when they do not come to it.
void gpb_test_actor_await_available (gpb_client_t *client, uint64_t size);
void gpb_test_actor_await_in_flight (gpb_client_t *client, uint64_t count);

//  Ends the fake backend's endless kernels, also those that have not begun, until a device has
//  nothing in flight.
void gpb_test_actor_let_go (gpb_client_t *client);

//  An execute request of one scalar: endless, fails, loses, sleeps.
gpb_request_t *gpb_test_actor_scalar (const char *kernel, int32_t value);

//  An execute request of the kernel duplicate over a payload.
gpb_request_t *gpb_test_actor_duplicate (const void *data, size_t size);

#endif
