//  gpb_test_broker - a broker for a test, with stand-ins for its devices and one client
//
//  The broker runs in its own thread, at inproc://broker; devices and client are the test's
//  (gpb_test_peer.h). A structure of zeros is ready to be configured. Every function ends the test
//  where something fails that the test is not about.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_TEST_BROKER_H_INCLUDED
#define GPB_TEST_BROKER_H_INCLUDED

#include "gpb_broker.h"
#include "gpb_service.h"
#include "gpb_test_peer.h"

#define GPB_TEST_DEVICES_MAX 2
#define GPB_TEST_KERNEL "vector_add"
#define GPB_TEST_PERSISTENT "echo"

typedef struct {
    gpb_config_t *config;
    zactor_t *actor;
    gpb_test_executor_t devices [GPB_TEST_DEVICES_MAX];
    unsigned devices_count;    //  introduced
    gpb_test_executor_t hosts [GPB_TEST_DEVICES_MAX];
    unsigned hosts_count;    //  likewise
    gpb_test_peer_t client;
} gpb_test_broker_t;

//  Sets a key of the configuration that the broker will start with.
void gpb_test_broker_configure (gpb_test_broker_t *self, const char *key, const char *value);

//  Starts a broker with this many devices, none of them introduced.
void gpb_test_broker_start (gpb_test_broker_t *self, unsigned devices);

//  Starts one with this many devices, which serve.
void gpb_test_broker_open (gpb_test_broker_t *self, unsigned devices);

//  Tells the broker of a device that the test has opened.
void gpb_test_broker_introduce (gpb_test_broker_t *self, unsigned index);

//  Starts one whose devices have kernel hosts too.
void gpb_test_broker_open_hosts (gpb_test_broker_t *self, unsigned devices);

//  Starts one with a device that has a process of its own, as its supervisor shows it: the kernel
//  host is at the device's own endpoint, and devices [0] gets what is for either.
void gpb_test_broker_open_isolated (gpb_test_broker_t *self);

//  Stops the broker, where the test has not, and closes what else there is.
void gpb_test_broker_close (gpb_test_broker_t *self);

//  Asserts that the broker has given a device nothing.
void gpb_test_broker_no_work (gpb_test_broker_t *self, gpb_test_executor_t *device);

//  Fills the first device's credit with requests 1 and 2, bound to it.
void gpb_test_broker_fill (gpb_test_broker_t *self, gpb_test_work_t works [2], uint32_t timeout_ms);

#endif
