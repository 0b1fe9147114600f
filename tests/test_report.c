//  Tests of gpb_report, and of lists of kernels: what a node says of itself is what it is.

#include "gpb_test.h"

#include "gpb_alloc.h"
#include "gpb_clock.h"
#include "gpb_describe.h"
#include "gpb_report.h"
#include "gpb_test_peer.h"

#include <stdlib.h>
#include <string.h>

#define DEVICES 3

static gpb_error_t error;
static gpb_config_t *s_config;
static gpb_service_t *s_service;
static gpb_test_peer_t s_peer;
static gpb_kernels_t *s_kernels;
static gpb_placement_t *s_placement;
static gpb_told_t s_told [DEVICES];
static gpb_residencies_t s_residencies;
static gpb_tenant_t s_tenant;
static int64_t s_fail_after = -1;    //  the handler's allocation that fails
static bool s_failed;

static void
s_handle (void *self, gpb_call_t *call)
{
    (void) self;
    static char notice [] = "cuda: no driver";
    char *notices [] = { notice, NULL };
    gpb_report_t report = {
        .node = "node",
        .placement = s_placement,
        .router = gpb_router_figures (gpb_service_router (s_service)),
        .gate = { .is_insecure = true,
                  .open = 21,
                  .max_connections = 22,
                  .refused_connections = 23,
                  .refused_keys = 24 },
        .told = s_told,
        .residencies = &s_residencies,
        .counts = { .exhausted = 11, .expired = 12, .cancelled = 13, .rerun = 14 },
        .notices = notices,
        .notices_count = 1,
        .started_ns = gpb_clock_ns () - 5 * GPB_NS_PER_S
    };
    gpb_alloc_fail (s_fail_after, 0);
    switch (call->request->body_case) {
    case GPB__V1__REQUEST__BODY_DEVICES: gpb_report_devices (&report, s_service, call); break;
    case GPB__V1__REQUEST__BODY_STATS: gpb_report_stats (&report, s_service, call); break;
    case GPB__V1__REQUEST__BODY_HEALTH: gpb_report_health (&report, s_service, call); break;
    default: gpb_answer_kernels_resident (s_service, call, s_kernels, &s_residencies); break;
    }
    s_failed = gpb_alloc_fail (-1, 0) > (uint64_t) s_fail_after;
}

static const gpb_handler_t s_handlers [] = {
    { GPB__V1__REQUEST__BODY_DEVICES, s_handle },
    { GPB__V1__REQUEST__BODY_STATS, s_handle },
    { GPB__V1__REQUEST__BODY_HEALTH, s_handle },
    { GPB__V1__REQUEST__BODY_KERNELS, s_handle },
};

static void
s_open (void)
{
    s_config = gpb_config_new ();
    s_service = gpb_service_new (s_config, s_handlers, 4, NULL, &error);
    char bound [64];
    ck_assert_ok (gpb_router_bind (gpb_service_router (s_service), "inproc://report", bound,
                                   sizeof bound, &error));
    gpb_test_peer_open (&s_peer, "inproc://report");
    s_kernels = gpb_kernels_new (getenv ("GPB_KERNEL_PATH"), &error);
    const gpb_placement_options_t options = {
        { 100, 1000 }, { 50, 500 }, { 20, 200 }, GPB_NS_PER_S
    };
    s_placement = gpb_placement_new (DEVICES, &options, &error);
    for (unsigned index = 0; index < 2; index++) {
        gpb_placed_device_t *device = gpb_placement_device (s_placement, index);
        snprintf (device->info.name, sizeof device->info.name, "card %u", index);
        snprintf (device->info.type, sizeof device->info.type, "gpu");
        snprintf (device->backend, sizeof device->backend, "stand-in");
        device->info.total_memory = 1000 + index;
        device->available_memory = 900 + index;
        device->state = GPB_DEVICE_READY;
    }
    gpb_placed_device_t *lost = gpb_placement_device (s_placement, 2);
    lost->state = GPB_DEVICE_LOST;
    snprintf (lost->reason, sizeof lost->reason, "it burns");
    //  What a device says in its own stats, which are gone when they are reported.
    Gpb__V1__StatsReply stats = GPB__V1__STATS_REPLY__INIT;
    Gpb__V1__PoolStats pool = GPB__V1__POOL_STATS__INIT, *pools [] = { &pool };
    Gpb__V1__CompileStats compile = GPB__V1__COMPILE_STATS__INIT, *compiles [] = { &compile };
    uint64_t kept [100] = { [0] = 5, [63] = 6, [64] = 7 };
    gpb_told_copy (&s_told [0], &stats);
    stats.n_pools = stats.n_compiles = 1;
    stats.pools = pools;
    stats.compiles = compiles;
    pool.device = compile.device = 1;
    pool.rents = 4;
    pool.kept_by_class = kept;
    pool.n_kept_by_class = 100;
    compile.compiled = 3;
    gpb_told_copy (&s_told [1], &stats);
    memset (kept, 0, sizeof kept);
}

static void
s_close (void)
{
    gpb_test_peer_close (&s_peer);
    gpb_service_destroy (&s_service, 0);
    gpb_config_destroy (&s_config);
    gpb_kernels_destroy (&s_kernels);
    gpb_tenant_clear (&s_tenant);
    gpb_placement_destroy (&s_placement);
}

static const Gpb__V1__Reply *
s_ask (Gpb__V1__Request__BodyCase kind, const char *kernel, gpb_status_t status)
{
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__ListDevices devices = GPB__V1__LIST_DEVICES__INIT;
    Gpb__V1__Stats stats = GPB__V1__STATS__INIT;
    Gpb__V1__Health health = GPB__V1__HEALTH__INIT;
    Gpb__V1__ListKernels kernels = GPB__V1__LIST_KERNELS__INIT;
    kernels.kernel = (char *) kernel;
    request.id = 1;
    request.body_case = kind;
    switch (kind) {
    case GPB__V1__REQUEST__BODY_DEVICES: request.devices = &devices; break;
    case GPB__V1__REQUEST__BODY_STATS: request.stats = &stats; break;
    case GPB__V1__REQUEST__BODY_HEALTH: request.health = &health; break;
    default: request.kernels = &kernels; break;
    }
    gpb_test_peer_send (&s_peer, &request, NULL);
    ck_assert_uint_eq (gpb_service_receive (s_service, 1), 1);
    return gpb_test_peer_expect (&s_peer, 1, status);
}

START_TEST (test_stats_hold_what_was_counted)
{
    s_open ();
    gpb_entry_t entries [5];
    for (unsigned number = 0; number < 5; number++) {
        entries [number] = (gpb_entry_t){
            .devices = 3, .size = 10, .received_ns = 1 + number, .tenant = &s_tenant
        };
        ck_assert_ok (gpb_placement_queue (s_placement, &entries [number], 1, &error));
    }
    uint64_t now_ns = gpb_clock_ns ();
    for (unsigned number = 0; number < 4; number++) {
        entries [number].received_ns = now_ns;
        ck_assert_ptr_eq (gpb_placement_next (s_placement, now_ns), &entries [number]);
    }
    unsigned device = entries [0].device;
    gpb_placement_answered (s_placement, &entries [0], true, now_ns + 70000);
    gpb_placement_answered (s_placement, &entries [2], false, now_ns + 90000);
    ck_assert_uint_eq (entries [2].device, device);

    const Gpb__V1__StatsReply *stats = s_ask (GPB__V1__REQUEST__BODY_STATS, "", GPB_OK)->stats;
    ck_assert_str_eq (stats->node, "node");
    ck_assert_uint_ge (stats->uptime_ns, 5 * GPB_NS_PER_S);
    ck_assert_uint_eq (stats->n_devices, DEVICES);
    ck_assert_uint_eq (stats->queue_depth, 1);
    ck_assert_uint_eq (stats->in_flight, 2);
    ck_assert_uint_eq (stats->requests, 1);
    ck_assert_uint_eq (stats->connections, 1);
    ck_assert_uint_eq (stats->n_pools, 1);    //  of the one that has told
    ck_assert_uint_eq (stats->pools [0]->rents, 4);
    ck_assert_uint_eq (stats->pools [0]->n_kept_by_class, 64);    //  as many as there are powers
    ck_assert_uint_eq (stats->pools [0]->kept_by_class [0], 5);
    ck_assert_uint_eq (stats->pools [0]->kept_by_class [63], 6);
    ck_assert_uint_eq (stats->n_compiles, 1);
    ck_assert_uint_eq (stats->compiles [0]->device, 1);
    ck_assert_uint_eq (stats->compiles [0]->compiled, 3);
    ck_assert_uint_eq (stats->queue_size, 10);
    ck_assert_uint_eq (stats->max_queue_depth, 100);
    ck_assert_uint_eq (stats->max_queue_size, 1000);
    ck_assert_uint_eq (stats->n_waiting, 7);
    ck_assert_uint_eq (stats->waiting [3], 1);    //  at the usual priority
    ck_assert_uint_eq (stats->exhausted, 11);
    ck_assert_uint_eq (stats->expired, 12);
    ck_assert_uint_eq (stats->cancelled, 13);
    ck_assert_uint_eq (stats->rerun, 14);
    ck_assert (stats->insecure);
    ck_assert_uint_eq (stats->open_connections, 21);
    ck_assert_uint_eq (stats->max_connections, 22);
    ck_assert_uint_eq (stats->refused_connections, 23);
    ck_assert_uint_eq (stats->refused_keys, 24);
    ck_assert_uint_eq (stats->aged, 0);
    for (unsigned index = 0; index < DEVICES; index++)
        ck_assert_uint_eq (stats->devices [index]->index, index);
    const Gpb__V1__Load *load = stats->devices [device]->load;
    ck_assert_uint_eq (load->queue_depth, 1);
    ck_assert_uint_eq (load->queue_size, 10);
    ck_assert_uint_eq (load->bound_depth, 0);
    ck_assert_uint_eq (load->queued->count, 2);
    ck_assert_uint_eq (load->queued->max_ns, 0);
    ck_assert_uint_eq (load->in_flight, 0);
    ck_assert_uint_eq (load->processed, 1);
    ck_assert_uint_eq (load->failed, 1);
    ck_assert_uint_eq (load->latency->count, 2);
    ck_assert_uint_eq (load->latency->mean_ns, 80000);
    ck_assert_uint_eq (load->latency->min_ns, 70000);
    ck_assert_uint_eq (load->latency->p50_ns, 70000);
    ck_assert_uint_eq (load->latency->p99_ns, 90000);
    ck_assert_uint_eq (load->latency->max_ns, 90000);
    ck_assert_uint_eq (load->latency_minute->count, 2);
    ck_assert_uint_eq (stats->devices [2]->load->latency->count, 0);
    s_close ();
}
END_TEST

START_TEST (test_devices_are_described_with_state_and_reason)
{
    s_open ();
    const Gpb__V1__DeviceList *list = s_ask (GPB__V1__REQUEST__BODY_DEVICES, "", GPB_OK)->devices;
    ck_assert_uint_eq (list->n_devices, DEVICES);
    ck_assert_uint_eq (list->n_notices, 1);
    ck_assert_str_eq (list->notices [0], "cuda: no driver");
    ck_assert_str_eq (list->devices [1]->name, "card 1");
    ck_assert_str_eq (list->devices [1]->backend, "stand-in");
    ck_assert_uint_eq (list->devices [1]->total_memory, 1001);
    ck_assert_uint_eq (list->devices [1]->available_memory, 901);
    ck_assert_int_eq (list->devices [1]->state, GPB__V1__DEVICE_STATE__READY);
    ck_assert_int_eq (list->devices [2]->state, GPB__V1__DEVICE_STATE__LOST);
    ck_assert_str_eq (list->devices [2]->reason, "it burns");
    s_close ();
}
END_TEST

START_TEST (test_health_is_ready_when_one_device_is)
{
    s_open ();
    const Gpb__V1__HealthReply *health = s_ask (GPB__V1__REQUEST__BODY_HEALTH, "", GPB_OK)->health;
    ck_assert (health->live && health->ready);
    ck_assert_uint_eq (health->n_devices, DEVICES);
    ck_assert_str_eq (health->devices [2]->reason, "it burns");
    gpb_placement_device (s_placement, 0)->state = GPB_DEVICE_STOPPING;
    gpb_placement_device (s_placement, 1)->state = GPB_DEVICE_STARTING;
    health = s_ask (GPB__V1__REQUEST__BODY_HEALTH, "", GPB_OK)->health;
    ck_assert (health->live && !health->ready);
    ck_assert_int_eq (health->devices [0]->state, GPB__V1__DEVICE_STATE__STOPPING);
    ck_assert_int_eq (health->devices [1]->state, GPB__V1__DEVICE_STATE__STARTING);
    s_close ();
}
END_TEST

START_TEST (test_kernels_are_listed_all_or_one)
{
    s_open ();
    const Gpb__V1__KernelList *list = s_ask (GPB__V1__REQUEST__BODY_KERNELS, "", GPB_OK)->kernels;
    ck_assert_uint_ge (list->n_kernels, 9);
    for (size_t index = 1; index < list->n_kernels; index++)
        ck_assert_int_lt (strcmp (list->kernels [index - 1]->id, list->kernels [index]->id), 0);
    list = s_ask (GPB__V1__REQUEST__BODY_KERNELS, "saxpy", GPB_OK)->kernels;
    ck_assert_uint_eq (list->n_kernels, 1);
    const Gpb__V1__Kernel *kernel = list->kernels [0];
    ck_assert_str_eq (kernel->id, "saxpy");
    ck_assert_uint_eq (kernel->n_parameters, 4);
    ck_assert_str_eq (kernel->parameters [1]->name, "y");
    ck_assert_str_eq (kernel->parameters [1]->direction, "inout");
    ck_assert_str_eq (kernel->parameters [1]->type, "f32");
    ck_assert_str_eq (kernel->parameters [1]->count, "n");
    ck_assert_str_eq (kernel->parameters [2]->direction, "scalar");
    ck_assert_str_eq (kernel->parameters [2]->count, "");
    ck_assert_uint_eq (kernel->n_global, 1);
    ck_assert_str_eq (kernel->global [0], "n");
    ck_assert_uint_eq (kernel->n_local, 1);
    ck_assert_uint_eq (kernel->local [0], 256);
    ck_assert_uint_eq (kernel->n_sources, 1);
    ck_assert_str_eq (kernel->sources [0], "portable");
    s_ask (GPB__V1__REQUEST__BODY_KERNELS, "none", GPB_NOT_FOUND);
    s_close ();
}
END_TEST

//  What so many hosts with so many kernels each say of them, with a reason of some length.
static void
s_tell_residencies (unsigned hosts, size_t kernels)
{
    static Gpb__V1__Residency residencies [64], *residencies_p [64];
    Gpb__V1__StatsReply stats = GPB__V1__STATS_REPLY__INIT;
    static char reason [500];
    memset (reason, 'r', sizeof reason - 1);
    stats.n_residencies = kernels;
    stats.residencies = residencies_p;
    for (size_t index = 0; index < kernels; index++) {
        residencies_p [index] = &residencies [index];
        gpb__v1__residency__init (&residencies [index]);
        residencies [index].kernel = (char *) (index ? "other" : "echo");
        residencies [index].state = GPB__V1__RESIDENCY_STATE__FAILED;
        residencies [index].reason = reason;
    }
    for (unsigned host = 0; host < hosts; host++)
        gpb_residencies_copy (&s_residencies, host, &stats);
}

START_TEST (test_persistent_kernels_are_listed_with_where_they_stay)
{
    s_open ();
    s_tell_residencies (2, 3);
    const Gpb__V1__KernelList *list = s_ask (GPB__V1__REQUEST__BODY_KERNELS, "", GPB_OK)->kernels;
    unsigned persistent = 0;
    for (size_t index = 0; index < list->n_kernels; index++) {
        const Gpb__V1__Kernel *kernel = list->kernels [index];
        persistent += kernel->persistent != NULL;
        if (!kernel->persistent)
            continue;
        ck_assert_uint_ge (kernel->persistent->lanes, 1);
        ck_assert_uint_ge (kernel->persistent->slot_size, 32);
        ck_assert_uint_eq (kernel->persistent->n_devices, 1);
        const bool is_echo = strcmp (kernel->id, "echo") == 0;
        ck_assert_uint_eq (kernel->persistent->n_residencies, is_echo ? 2 : 0);
        if (is_echo)
            ck_assert_uint_eq (kernel->persistent->residencies [1]->device, 1);
    }
    ck_assert_uint_ge (persistent, 2);
    ck_assert_uint_lt (persistent, list->n_kernels);
    const Gpb__V1__StatsReply *stats = s_ask (GPB__V1__REQUEST__BODY_STATS, "", GPB_OK)->stats;
    ck_assert_uint_eq (stats->n_residencies, 6);
    gpb_residencies_clear (&s_residencies);
    s_close ();
}
END_TEST

//  What has no room in a header is left out, and the answer comes all the same.
START_TEST (test_more_residencies_than_an_answer_has_room_for_are_left_out)
{
    s_open ();
    s_tell_residencies (60, 60);
    const Gpb__V1__StatsReply *stats = s_ask (GPB__V1__REQUEST__BODY_STATS, "", GPB_OK)->stats;
    ck_assert_uint_gt (stats->n_residencies, 100);
    ck_assert_uint_lt (stats->n_residencies, 3600);
    ck_assert_uint_eq (stats->n_devices, DEVICES);
    s_tell_residencies (64, 3);
    s_ask (GPB__V1__REQUEST__BODY_KERNELS, "", GPB_OK);
    const Gpb__V1__KernelList *list =
        s_ask (GPB__V1__REQUEST__BODY_KERNELS, "echo", GPB_OK)->kernels;
    ck_assert_uint_eq (list->kernels [0]->persistent->n_residencies, 64);
    gpb_residencies_clear (&s_residencies);
    s_close ();
}
END_TEST

START_TEST (test_an_answer_that_gets_no_memory_is_refused)
{
    s_open ();
    const Gpb__V1__Request__BodyCase kinds [] = { GPB__V1__REQUEST__BODY_DEVICES,
                                                  GPB__V1__REQUEST__BODY_STATS,
                                                  GPB__V1__REQUEST__BODY_KERNELS };
    for (unsigned index = 0; index < 3; index++)
        for (s_fail_after = 0; s_fail_after < (index ? 3 : 2); s_fail_after++) {
            s_ask (kinds [index], "", GPB_RESOURCE_EXHAUSTED);
            ck_assert (s_failed);
        }
    s_fail_after = -1;
    s_ask (GPB__V1__REQUEST__BODY_STATS, "", GPB_OK);
    s_close ();
}
END_TEST

GPB_TEST_MAIN ("gpb_report", 20, test_stats_hold_what_was_counted,
               test_devices_are_described_with_state_and_reason,
               test_health_is_ready_when_one_device_is, test_kernels_are_listed_all_or_one,
               test_persistent_kernels_are_listed_with_where_they_stay,
               test_more_residencies_than_an_answer_has_room_for_are_left_out,
               test_an_answer_that_gets_no_memory_is_refused)
