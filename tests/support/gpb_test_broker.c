//  gpb_test_broker - a broker for a test, with stand-ins for its devices and one client
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_test_broker.h"

#include "gpb_test.h"

#include <stdio.h>
#include <string.h>

void
gpb_test_broker_configure (gpb_test_broker_t *self, const char *key, const char *value)
{
    gpb_error_t error = { GPB_OK, "" };
    if (!self->config)
        self->config = gpb_config_new ();
    ck_assert_ok (gpb_config_set (self->config, key, value, &error));
}

void
gpb_test_broker_start (gpb_test_broker_t *self, unsigned devices)
{
    static const char *const notices [] = { "cuda: no driver", NULL };
    gpb_error_t error = { GPB_OK, "" };
    gpb_test_broker_configure (self, "name", "node");
    gpb_broker_args_t args = { .config = self->config, .devices = devices, .notices = notices };
    self->actor = zactor_new (gpb_broker, &args);
    ck_assert_ok (
        gpb_pipe_ask (self->actor, (const char *[]){ "BIND", "inproc://broker", NULL }, &error));
    ck_assert_str_eq (error.text, "inproc://broker");
    gpb_test_peer_open (&self->client, "inproc://broker");
    self->devices_count = self->hosts_count = 0;
}

//  The broker asks the device for its figures before it answers the command.
void
gpb_test_broker_introduce (gpb_test_broker_t *self, unsigned index)
{
    char number [12], *status = NULL, *text = NULL;
    snprintf (number, sizeof number, "%u", index);
    zstr_sendx (self->actor, "DEVICE", number, self->devices [index].endpoint, NULL);
    gpb_test_executor_serve (&self->devices [index], self->actor);
    ck_assert_int_eq (zstr_recvx (self->actor, &status, &text, NULL), 2);
    ck_assert_msg (streq (status, "OK"), "%s: %s", status, text);
    zstr_free (&status);
    zstr_free (&text);
    self->devices_count++;
}

void
gpb_test_broker_open (gpb_test_broker_t *self, unsigned devices)
{
    gpb_test_broker_start (self, devices);
    for (unsigned index = 0; index < devices; index++) {
        gpb_test_executor_open (&self->devices [index], index ? "second" : "first");
        gpb_test_broker_introduce (self, index);
    }
}

void
gpb_test_broker_open_hosts (gpb_test_broker_t *self, unsigned devices)
{
    gpb_error_t error;
    gpb_test_broker_open (self, devices);
    for (unsigned index = 0; index < devices; index++) {
        gpb_test_executor_t *host = &self->hosts [index];
        char number [12];
        gpb_test_executor_open_host (host, index ? "second-host" : "first-host",
                                     GPB_TEST_PERSISTENT);
        snprintf (number, sizeof number, "%u", index);
        ck_assert_ok (gpb_pipe_ask (self->actor,
                                    (const char *[]){ "HOST", number, host->endpoint, NULL },
                                    &error));
        self->hosts_count++;
    }
}

void
gpb_test_broker_open_isolated (gpb_test_broker_t *self)
{
    gpb_error_t error;
    gpb_test_broker_open (self, 1);
    self->devices [0].resident = GPB_TEST_PERSISTENT;
    ck_assert_ok (gpb_pipe_ask (self->actor,
                                (const char *[]){ "HOST", "0", self->devices [0].endpoint, NULL },
                                &error));
}

void
gpb_test_broker_close (gpb_test_broker_t *self)
{
    gpb_test_peer_close (&self->client);
    zactor_destroy (&self->actor);
    for (unsigned index = 0; index < self->devices_count; index++)
        gpb_test_executor_close (&self->devices [index]);
    for (unsigned index = 0; index < self->hosts_count; index++)
        gpb_test_executor_close (&self->hosts [index]);
    gpb_config_destroy (&self->config);
}

void
gpb_test_broker_no_work (gpb_test_broker_t *self, gpb_test_executor_t *device)
{
    gpb_test_work_t work;
    gpb_test_peer_settle (&self->client);
    ck_assert (!gpb_test_executor_poll (device, &work));
}

void
gpb_test_broker_fill (gpb_test_broker_t *self, gpb_test_work_t works [2], uint32_t timeout_ms)
{
    for (unsigned number = 0; number < 2; number++) {
        gpb_test_peer_execute (&self->client, number + 1, GPB_TEST_KERNEL, 0, timeout_ms);
        gpb_test_executor_take (&self->devices [0], &works [number]);
        ck_assert_uint_eq (works [number].id, number + 1);
    }
}
