//  gpb_test_host - a kernel host for a test, one client of it, and what tests ask of both
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_test_host.h"

#include "gpb_clock.h"
#include "gpb_service.h"
#include "gpb_test.h"

static void
s_start (gpb_test_host_t *self, const char *backend, const char *folder,
         const char *const *settings)
{
    gpb_test_actor_host (&self->actor, backend, folder, settings);
    self->client = gpb_test_actor_client (GPB_TEST_ACTOR_INPROC);
}

void
gpb_test_host_start_fake (gpb_test_host_t *self, const char *const *settings)
{
    s_start (self, "fake", "tests/kernels_fake", settings);
}

void
gpb_test_host_start_pocl (gpb_test_host_t *self, const char *const *settings)
{
    s_start (self, "opencl", "tests/kernels_persistent", settings);
}

void
gpb_test_host_stop (gpb_test_host_t *self)
{
    gpb_client_destroy (&self->client);
    gpb_test_actor_stop (&self->actor);
}

gpb_request_t *
gpb_test_host_message (const char *kernel, const void *data, size_t size)
{
    gpb_request_t *request = gpb_request_execute (kernel);
    gpb_request_in (request, data, size);
    gpb_request_out (request, 0);
    return request;
}

gpb_request_t *
gpb_test_host_word (const char *kernel, uint32_t word)
{
    return gpb_test_host_message (kernel, &word, sizeof word);
}

void
gpb_test_host_check_double (gpb_test_host_t *self, const char *kernel, uint32_t count)
{
    float values [count], *doubled;
    for (uint32_t index = 0; index < count; index++)
        values [index] = (float) index + 0.5f;
    gpb_reply_t *reply =
        gpb_test_actor_ok (self->client, gpb_test_host_message (kernel, values, sizeof values));
    size_t size;
    doubled = (float *) gpb_reply_result (reply, 0, &size);
    ck_assert_uint_eq (size, sizeof values);
    for (uint32_t index = 0; index < count; index++)
        ck_assert (doubled [index] == 2 * values [index]);
    gpb_reply_destroy (&reply);
}

const Gpb__V1__MessageTiming *
gpb_test_host_timing (const gpb_reply_t *reply)
{
    return gpb_reply_header_peek (reply)->execute->message;
}

//  NULL: the host says nothing of it yet.
static const Gpb__V1__Residency *
s_find (gpb_test_host_t *self, const char *kernel, gpb_reply_t **reply_p)
{
    *reply_p = gpb_test_actor_ok (self->client, gpb_request_stats ());
    const Gpb__V1__StatsReply *stats = gpb_reply_header_peek (*reply_p)->stats;
    for (size_t index = 0; index < stats->n_residencies; index++)
        if (streq (stats->residencies [index]->kernel, kernel)
            && stats->residencies [index]->state != GPB__V1__RESIDENCY_STATE__STOPPED)
            return stats->residencies [index];
    return NULL;
}

const Gpb__V1__Residency *
gpb_test_host_residency (gpb_test_host_t *self, const char *kernel, gpb_reply_t **reply_p)
{
    const Gpb__V1__Residency *found = s_find (self, kernel, reply_p);
    ck_assert_msg (found != NULL, "the host says nothing of %s", kernel);
    return found;
}

void
gpb_test_host_await (gpb_test_host_t *self, const char *kernel, Gpb__V1__ResidencyState state)
{
    uint64_t end_ns = gpb_clock_ns () + 30 * GPB_NS_PER_S;
    while (true) {
        gpb_reply_t *reply;
        const Gpb__V1__Residency *found = s_find (self, kernel, &reply);
        Gpb__V1__ResidencyState now = found ? found->state : GPB__V1__RESIDENCY_STATE__UNLOADED;
        gpb_reply_destroy (&reply);
        if (now == state)
            return;
        ck_assert_msg (gpb_clock_ns () < end_ns, "%s is %d, not %d", kernel, now, state);
        zclock_sleep (2);
    }
}
