//  gpb_test_host - a kernel host for a test, one client of it, and what tests ask of both
//
//  The host runs in its own thread, on the fake backend, whose lanes are threads that run the same
//  loop as C11, or on PoCL, where they are kernels. Every function ends the test where something
//  fails that the test is not about. One thread.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_TEST_HOST_H_INCLUDED
#define GPB_TEST_HOST_H_INCLUDED

#include "gpb_test_actor.h"

#define GPB_TEST_FOR_EVER 4294967295u    //  to fake_stuck: until it is let go

//  The kernel.conf of a persistent kernel "mine" with another one's handler, to be registered.
#define GPB_TEST_HOST_DEFINITION(entry)                                                            \
    "id = \"mine\"; description = \"\"; source = \"mine.c\"; persistent = true; entry = \"" entry  \
    "\"; slots = 4; state = 16;"                                                                   \
    "parameters = ({ name = \"in\"; direction = \"in\"; type = \"u32\"; },"                        \
    "{ name = \"out\"; direction = \"out\"; type = \"u64\"; count = \"count + 2\"; });"

typedef struct {
    gpb_test_actor_t actor;
    gpb_client_t *client;
} gpb_test_host_t;

//  Starts one with the persistent kernels of tests/kernels_fake, or of tests/kernels_persistent,
//  beside those that ship. settings: key, value, and so on, NULL behind the last; or NULL.
void gpb_test_host_start_fake (gpb_test_host_t *self, const char *const *settings);
void gpb_test_host_start_pocl (gpb_test_host_t *self, const char *const *settings);

//  The first with settings as words; none at all is NULL.
#define gpb_test_host_fake(self, ...)                                                              \
    gpb_test_host_start_fake (self, (const char *const []){ __VA_ARGS__, NULL })

void gpb_test_host_stop (gpb_test_host_t *self);

//  A message with a payload of size bytes, whose output is as large as its kernel says.
gpb_request_t *gpb_test_host_message (const char *kernel, const void *data, size_t size);

//  One of one u32.
gpb_request_t *gpb_test_host_word (const char *kernel, uint32_t word);

//  Sends floats to a kernel that doubles them, and has them back doubled.
void gpb_test_host_check_double (gpb_test_host_t *self, const char *kernel, uint32_t count);

//  What a message took; borrowed of the reply.
const Gpb__V1__MessageTiming *gpb_test_host_timing (const gpb_reply_t *reply);

//  What the host says of a kernel now, replaced ones left out. The reply, which has it, is the
//  caller's.
const Gpb__V1__Residency *gpb_test_host_residency (gpb_test_host_t *self, const char *kernel,
                                                   gpb_reply_t **reply_p);

//  Waits until the host says that a kernel is in this state.
void gpb_test_host_await (gpb_test_host_t *self, const char *kernel, Gpb__V1__ResidencyState state);

#endif
