//  A test of a whole node in which one thing fails: for every N up to the whole run of a scenario,
//  the Nth allocation, or the Nth call of the backend. Whatever it is, every request gets exactly
//  one answer, what comes after it works again, and nothing is left behind.
//
//  The node is composed, its client speaks through plain libzmq and protobuf-c, which allocate
//  elsewhere, so that whatever fails is the node's. Each test tries as many N as it has time for,
//  chosen by a seed: GPB_TEST_SEED, or else 1. GPB_TEST_FAULTS=all tries every one (minutes), and
//  GPB_TEST_FAULTS=17 the 17th alone. Under AddressSanitizer each N is followed by a look for
//  leaks.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_test.h"

#include "gpb_alloc.h"
#include "gpb_clock.h"
#include "gpb_test_device.h"
#include "gpb_test_node.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

#define FLOATS 64
#define BATCH 6
#define ANSWER_MS 15000     //  a request is answered by then; its own time is much longer
#define TIMEOUT_MS 60000    //  of requests: no deadline answers in the place of who should
#define BUDGET_NS (6 * GPB_NS_PER_S)    //  of a test that does not try all

//  ---------------------------------------------------------------------------------------------------------
//  What fails

typedef struct {
    const char *name;
    uint64_t (*arm) (int64_t after);    //  as gpb_alloc_fail, one failure
    uint64_t at;                        //  the number of the one that fails, from 0
    uint64_t passed;                    //  counted so far
    bool done;                          //  it has failed
} fault_t;

//  It stays open for as long as the program runs, with its counts, whichever nodes come and go.
static void
s_open_module (void)
{
    char path [4096];
    snprintf (path, sizeof path, "%s/gpb_faulty.so", getenv ("GPB_MODULE_DIR"));
    void *handle = dlopen (path, RTLD_NOW | RTLD_LOCAL);
    ck_assert_msg (handle != NULL, "%s", dlerror ());
}

static uint64_t
s_fail_allocation (int64_t after)
{
    return gpb_alloc_fail (after, 0);
}

static void
s_arm (fault_t *fault)
{
    fault->arm ((int64_t) (fault->at - fault->passed));
}

//  Whether it has failed by now; then nothing fails any more.
static bool
s_has_failed (fault_t *fault)
{
    if (!fault->done) {
        fault->passed += fault->arm (-1);
        fault->done = fault->passed > fault->at;
        if (!fault->done)
            s_arm (fault);
    }
    return fault->done;
}

//  ---------------------------------------------------------------------------------------------------------
//  The node and its clients

typedef struct {
    fault_t *fault;
    zactor_t *node;
    char endpoints [2][256];    //  inproc, tcp
    gpb_test_raw_t client;
    uint64_t last_id;
    bool must;    //  nothing fails any more: what is asked now is answered OK
    float a [FLOATS], b [FLOATS];
} scenario_t;

//  A command of the node's pipe; whether it is OK. text, of 256 bytes, becomes the answer's.
static bool
s_command (scenario_t *self, const char *word, const char *argument, char *text)
{
    char *status = NULL, *answer = NULL;
    zstr_sendx (self->node, word, argument, NULL);
    ck_assert_int_eq (zstr_recvx (self->node, &status, &answer, NULL), 2);
    bool is_ok = streq (status, "OK");
    ck_assert_msg (is_ok || strlen (answer) > 0, "%s is refused without a word", word);
    snprintf (text, 256, "%s", answer);
    zstr_free (&status);
    zstr_free (&answer);
    return is_ok;
}

//  Whether it serves at both endpoints. Where something fails it says so, and is asked once more.
static bool
s_start (scenario_t *self)
{
    //  libzmq lets go of a name some time after its socket was closed.
    static unsigned count;
    char name [32];
    snprintf (name, sizeof name, "inproc://faults-%u", ++count);
    const char *const wanted [] = { name, GPB_TEST_ANY_PORT };
    static const char *const settings [] = {
        "backends",      "faulty",          "allow_register",
        "true",          "cache_directory", NULL,
        "drain_ms",      "20000",           "default_timeout_ms",
        "60000",         "log_level",       "error",
        "keep_max_size", "1048576",         NULL,
    };
    gpb_error_t error = { GPB_OK, "" };
    char folder [4096];
    snprintf (folder, sizeof folder, "%s/cache/faults", getenv ("GPB_BUILD_DIR"));
    gpb_config_t *config = gpb_config_new ();
    for (size_t index = 0; settings [index]; index += 2)
        ck_assert_ok (gpb_config_set (config, settings [index],
                                      settings [index + 1] ? settings [index + 1] : folder,
                                      &error));
    s_arm (self->fault);
    self->node = zactor_new (gpb_actor, config);
    ck_assert_ptr_nonnull (self->node);
    bool is_ok = true;
    for (int index = 0; index < 2; index++) {
        is_ok = s_command (self, "BIND", wanted [index], self->endpoints [index]);
        bool has_failed = s_has_failed (self->fault);
        ck_assert_msg (is_ok || has_failed, "%s", self->endpoints [index]);
        if (!is_ok && strstr (self->endpoints [index], "no memory for a node"))
            break;
        if (!is_ok)
            ck_assert_msg (s_command (self, "BIND", wanted [index], self->endpoints [index]), "%s",
                           self->endpoints [index]);
    }
    gpb_config_destroy (&config);
    return is_ok;
}

//  A reply that is no success says why.
static const Gpb__V1__Reply *
s_receive (scenario_t *self, const char *what)
{
    ck_assert_msg (gpb_test_raw_recv (&self->client, ANSWER_MS), "%s gets no answer", what);
    const Gpb__V1__Reply *reply = self->client.reply;
    if (reply->status != GPB__V1__STATUS__OK)
        ck_assert_msg (strlen (reply->message) > 0, "%s is refused without a word", what);
    return reply;
}

static uint64_t
s_send (scenario_t *self, Gpb__V1__Request *request, const void *payload, size_t size)
{
    request->id = ++self->last_id;
    if (!request->timeout_ms)
        request->timeout_ms = TIMEOUT_MS;
    gpb_test_raw_request (&self->client, request, payload ? zframe_new (payload, size) : NULL);
    return request->id;
}

//  Asks and waits; the answer, of whatever status while something may fail.
static const Gpb__V1__Reply *
s_ask (scenario_t *self, const char *what, Gpb__V1__Request *request, const void *payload,
       size_t size)
{
    uint64_t id = s_send (self, request, payload, size);
    const Gpb__V1__Reply *reply = s_receive (self, what);
    ck_assert_msg (reply->id == id, "%s is answered as %" PRIu64 ", being %" PRIu64, what,
                   reply->id, id);
    ck_assert_msg (!self->must || reply->status == GPB__V1__STATUS__OK, "%s after the fault: %s",
                   what, reply->message);
    return reply;
}

static bool
s_ask_ok (scenario_t *self, const char *what, Gpb__V1__Request *request)
{
    return s_ask (self, what, request, NULL, 0)->status == GPB__V1__STATUS__OK;
}

//  ---------------------------------------------------------------------------------------------------------
//  Requests

#define BODY(request, KIND, member, Type, TYPE)                                                    \
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;                                             \
    Gpb__V1__##Type member = GPB__V1__##TYPE##__INIT;                                              \
    (request).body_case = GPB__V1__REQUEST__BODY_##KIND;                                           \
    (request).member = &(member)

typedef enum { BY_FRAME, BY_INLINE, BY_BUFFER } way_t;

//  add or the registered one over FLOATS values, by payload frames, in the header, or in the rented
//  buffers.
typedef struct {
    Gpb__V1__Request request;
    Gpb__V1__Execute execute;
    Gpb__V1__Argument arguments [4], *list [4];
    Gpb__V1__BufferRange ranges [3];
    Gpb__V1__Output output;
} add_t;

static void
s_fill_add (scenario_t *self, add_t *add, const char *kernel, way_t way, const uint64_t *handles)
{
    gpb__v1__request__init (&add->request);
    gpb__v1__execute__init (&add->execute);
    gpb__v1__output__init (&add->output);
    for (unsigned index = 0; index < 4; index++) {
        Gpb__V1__Argument *argument = add->list [index] = &add->arguments [index];
        gpb__v1__argument__init (argument);
        if (index == 3) {
            argument->value_case = GPB__V1__ARGUMENT__VALUE_I32;
            argument->i32 = FLOATS;
        }
        else if (way == BY_BUFFER) {
            gpb__v1__buffer_range__init (&add->ranges [index]);
            add->ranges [index].handle = handles [index];
            argument->value_case = GPB__V1__ARGUMENT__VALUE_BUFFER;
            argument->buffer = &add->ranges [index];
        }
        else if (index == 2) {
            argument->value_case = GPB__V1__ARGUMENT__VALUE_OUTPUT;
            argument->output = &add->output;
        }
        else if (way == BY_FRAME && index == 0) {
            argument->value_case = GPB__V1__ARGUMENT__VALUE_FRAME;
            argument->frame = 0;
        }
        else {
            argument->value_case = GPB__V1__ARGUMENT__VALUE_INLINE;
            argument->inline_.data = (uint8_t *) (index ? self->b : self->a);
            argument->inline_.len = sizeof self->a;
        }
    }
    add->request.body_case = GPB__V1__REQUEST__BODY_EXECUTE;
    add->request.execute = &add->execute;
    add->execute.kernel = (char *) kernel;
    add->execute.arguments = add->list;
    add->execute.n_arguments = 4;
    add->execute.inline_results = way == BY_INLINE;
}

static void
s_check_sum (const scenario_t *self, const void *data, size_t size)
{
    float c [FLOATS];
    ck_assert_uint_eq (size, sizeof c);
    memcpy (c, data, size);
    for (unsigned index = 0; index < FLOATS; index++)
        ck_assert_float_eq (c [index], self->a [index] + self->b [index]);
}

//  What the last reply has for a result: in its header, or in its one payload frame.
static void
s_check_result (const scenario_t *self, const Gpb__V1__Result *result)
{
    if (result->value_case == GPB__V1__RESULT__VALUE_INLINE) {
        s_check_sum (self, result->inline_.data, result->inline_.len);
        return;
    }
    zframe_t *frame = zmsg_first (self->client.payloads);
    ck_assert_ptr_nonnull (frame);
    s_check_sum (self, zframe_data (frame), zframe_size (frame));
}

static bool
s_add (scenario_t *self, const char *kernel, way_t way, const uint64_t *handles,
       uint64_t reservation)
{
    add_t add;
    s_fill_add (self, &add, kernel, way, handles);
    add.execute.reservation = reservation;
    const Gpb__V1__Reply *reply =
        s_ask (self, kernel, &add.request, way == BY_FRAME ? self->a : NULL, sizeof self->a);
    if (reply->status != GPB__V1__STATUS__OK)
        return false;
    ck_assert_uint_eq (reply->execute->n_results, way == BY_BUFFER ? 0 : 1);
    if (way != BY_BUFFER)
        s_check_result (self, reply->execute->results [0]);
    return true;
}

//  The handle, or one that is nobody's where it is refused.
static uint64_t
s_rent (scenario_t *self, Gpb__V1__MemoryKind kind, uint64_t reservation)
{
    BODY (request, RENT, rent, Rent, RENT);
    rent.size = sizeof self->a;
    rent.kind = kind;
    rent.reservation = reservation;
    return s_ask_ok (self, "rent", &request) ? self->client.reply->rent->handle : 77;
}

static bool
s_write (scenario_t *self, uint64_t handle, const float *data, bool is_inline)
{
    BODY (request, WRITE, write, Write, WRITE);
    write.handle = handle;
    write.value_case = is_inline ? GPB__V1__WRITE__VALUE_INLINE : GPB__V1__WRITE__VALUE_FRAME;
    if (is_inline) {
        write.inline_.data = (uint8_t *) data;
        write.inline_.len = sizeof self->a;
    }
    return s_ask (self, "write", &request, is_inline ? NULL : data, sizeof self->a)->status
           == GPB__V1__STATUS__OK;
}

//  checked: all that this buffer's content comes from went well.
static void
s_read (scenario_t *self, uint64_t handle, bool is_inline, bool checked)
{
    BODY (request, READ, read, Read, READ);
    read.handle = handle;
    read.inline_results = is_inline;
    if (s_ask_ok (self, "read", &request) && checked)
        s_check_result (self, self->client.reply->read->result);
}

static bool
s_copy (scenario_t *self, uint64_t source, uint64_t target)
{
    BODY (request, COPY, copy, Copy, COPY);
    copy.source = source;
    copy.target = target;
    copy.size = sizeof self->a;
    return s_ask_ok (self, "copy", &request);
}

static void
s_release (scenario_t *self, uint64_t handle)
{
    BODY (request, RELEASE, release, Release, RELEASE);
    release.handle = handle;
    s_ask_ok (self, "release", &request);
}

static void
s_lists (scenario_t *self)
{
    BODY (hello_request, HELLO, hello, Hello, HELLO);
    s_ask_ok (self, "hello", &hello_request);
    BODY (devices_request, DEVICES, devices, ListDevices, LIST_DEVICES);
    s_ask_ok (self, "devices", &devices_request);
    BODY (kernels_request, KERNELS, kernels, ListKernels, LIST_KERNELS);
    s_ask_ok (self, "kernels", &kernels_request);
    BODY (health_request, HEALTH, health, Health, HEALTH);
    s_ask_ok (self, "health", &health_request);
    BODY (stats_request, STATS, stats, Stats, STATS);
    s_ask_ok (self, "stats", &stats_request);
}

//  The kernel "sum"; its text is new each time, so that it is compiled.
static bool
s_register (scenario_t *self, bool replace)
{
    static unsigned count;
    char source [128];
    snprintf (source, sizeof source, "fake: add_f32 by the name of sum, number %u\n", ++count);
    BODY (request, REGISTER_KERNEL, register_kernel, RegisterKernel, REGISTER_KERNEL);
    register_kernel.definition = (char *) "id = \"sum\"; source = \"sum.c\"; global = [ \"n\" ];\n"
                                          "parameters = (\n"
                                          "{ name = \"a\"; direction = \"in\"; type = \"f32\"; "
                                          "count = \"n\"; },\n"
                                          "{ name = \"b\"; direction = \"in\"; type = \"f32\"; "
                                          "count = \"n\"; },\n"
                                          "{ name = \"c\"; direction = \"out\"; type = \"f32\"; "
                                          "count = \"n\"; },\n"
                                          "{ name = \"n\"; direction = \"scalar\"; type = \"i32\"; "
                                          "} );\n";
    register_kernel.source = source;
    register_kernel.replace = replace;
    return s_ask_ok (self, "register_kernel", &request);
}

//  Several at once, one of them taken back, one late: an answer each, in any order.
static void
s_batch (scenario_t *self)
{
    uint64_t first = self->last_id + 1;
    for (unsigned index = 0; index < BATCH; index++) {
        add_t add;
        s_fill_add (self, &add, "add", index % 2 ? BY_INLINE : BY_FRAME, NULL);
        s_send (self, &add.request, index % 2 ? NULL : self->a, sizeof self->a);
    }
    for (int32_t is_late = 0; is_late < 2; is_late++) {
        BODY (sleep, EXECUTE, execute, Execute, EXECUTE);
        Gpb__V1__Argument us = GPB__V1__ARGUMENT__INIT, *list [] = { &us };
        us.value_case = GPB__V1__ARGUMENT__VALUE_I32;
        us.i32 = 3000;
        execute.kernel = (char *) "sleep";
        execute.arguments = list;
        execute.n_arguments = 1;
        sleep.timeout_ms = is_late ? 1 : 0;
        uint64_t id = s_send (self, &sleep, NULL, 0);
        BODY (request, CANCEL, cancel, Cancel, CANCEL);
        cancel.id = id;
        if (!is_late)
            s_send (self, &request, NULL, 0);
    }
    size_t count = (size_t) (self->last_id - first) + 1;
    bool answered [32] = { false };
    for (size_t index = 0; index < count; index++) {
        const Gpb__V1__Reply *reply = s_receive (self, "one of several");
        ck_assert_uint_ge (reply->id, first);
        ck_assert_uint_le (reply->id, self->last_id);
        ck_assert_msg (!answered [reply->id - first], "%" PRIu64 " is answered twice", reply->id);
        answered [reply->id - first] = true;
        if (reply->id < first + BATCH && reply->status == GPB__V1__STATUS__OK)
            s_check_result (self, reply->execute->results [0]);
    }
}

static void
s_rented (scenario_t *self)
{
    uint64_t handles [4];
    for (unsigned index = 0; index < 4; index++)
        handles [index] =
            s_rent (self, index < 3 ? GPB__V1__MEMORY_KIND__DEVICE : GPB__V1__MEMORY_KIND__MAPPED,
                    0);
    bool went_well = s_write (self, handles [0], self->a, false);
    went_well = s_write (self, handles [1], self->b, true) && went_well;
    went_well = s_add (self, "add", BY_BUFFER, handles, 0) && went_well;
    s_read (self, handles [2], false, went_well);
    went_well = s_copy (self, handles [2], handles [3]) && went_well;
    s_read (self, handles [3], true, went_well);
    BODY (map_request, MAP, map, Map, MAP);
    map.handle = handles [3];
    if (s_ask_ok (self, "map", &map_request) && went_well)
        s_check_sum (self, (const void *) (uintptr_t) self->client.reply->map->address,
                     sizeof self->a);
    BODY (unmap_request, UNMAP, unmap, Unmap, UNMAP);
    unmap.handle = handles [3];
    s_ask_ok (self, "unmap", &unmap_request);
    for (unsigned index = 0; index < 4; index++)
        s_release (self, handles [index]);
}

static void
s_reserved (scenario_t *self)
{
    BODY (request, RESERVE, reserve, Reserve, RESERVE);
    reserve.memory = 1 << 20;
    uint64_t handle =
        s_ask_ok (self, "reserve", &request) ? self->client.reply->reserve->handle : 78;
    BODY (renew_request, RENEW, renew, Renew, RENEW);
    renew.handle = handle;
    s_ask_ok (self, "renew", &renew_request);
    uint64_t rent = s_rent (self, GPB__V1__MEMORY_KIND__DEVICE, handle);
    s_add (self, "add", BY_FRAME, NULL, handle);
    BODY (unreserve_request, UNRESERVE, unreserve, Unreserve, UNRESERVE);
    unreserve.handle = handle;
    s_ask_ok (self, "unreserve", &unreserve_request);
    s_release (self, rent);
}

//  Nothing fails any more: all of it has to go well, and a second answer to anything would come.
static void
s_probe (scenario_t *self)
{
    self->must = true;
    s_lists (self);
    s_add (self, "add", BY_FRAME, NULL, 0);
    s_add (self, "add", BY_INLINE, NULL, 0);
    s_rented (self);
    s_reserved (self);
    s_register (self, true);
    s_add (self, "sum", BY_FRAME, NULL, 0);
    self->must = false;
}

//  Waits until a figure of the node is what it was before all.
static void
s_settle (scenario_t *self, const char *what, gpb_test_figure_t *figure, uint64_t expected)
{
    uint64_t end_ns = gpb_clock_ns () + ANSWER_MS * GPB_NS_PER_MS, value = 0;
    do {
        BODY (request, STATS, stats, Stats, STATS);
        ck_assert_msg (gpb_clock_ns () < end_ns, "%s: %" PRIu64 " are left", what, value);
        if (s_ask_ok (self, "stats", &request))
            value = figure (self->client.reply->stats);
        else
            ck_assert (!self->must);
        if (value != expected)
            poll (NULL, 0, 1);
    } while (value != expected && !(self->must == false && s_has_failed (self->fault) == false));
}

static bool
s_has_device (scenario_t *self)
{
    BODY (request, HEALTH, health, Health, HEALTH);
    return s_ask_ok (self, "health", &request) && self->client.reply->health->ready;
}

//  ---------------------------------------------------------------------------------------------------------
//  The run

//  A client that comes over tcp, rents, and vanishes.
static void
s_stranger (scenario_t *self)
{
    scenario_t other = *self;
    other.must = false;
    gpb_test_raw_open (&other.client, ZMQ_DEALER, NULL, self->endpoints [1]);
    uint64_t handle = s_rent (&other, GPB__V1__MEMORY_KIND__DEVICE, 0);
    s_write (&other, handle, self->a, false);
    s_add (&other, "add", BY_FRAME, NULL, 0);
    gpb_test_raw_close (&other.client);
}

static void
s_serve (scenario_t *self)
{
    gpb_test_raw_open (&self->client, ZMQ_DEALER, NULL, self->endpoints [0]);
    s_lists (self);
    s_register (self, false);
    s_add (self, "sum", BY_FRAME, NULL, 0);
    s_add (self, "add", BY_INLINE, NULL, 0);
    s_rented (self);
    s_reserved (self);
    s_batch (self);
    s_stranger (self);
    bool has_failed = s_has_failed (self->fault);
    if (has_failed && s_has_device (self))
        s_probe (self);
    if (has_failed) {
        self->must = true;
        s_settle (self, "rented bytes", gpb_test_rented, 0);
        s_settle (self, "requests in queues", gpb_test_queue_depth, 0);
        s_settle (self, "requests in flight", gpb_test_in_flight, 0);
        s_settle (self, "connections", gpb_test_connections, 1);
        self->must = false;
    }
    BODY (request, GOODBYE, goodbye, Goodbye, GOODBYE);
    s_ask_ok (self, "goodbye", &request);
    //  After its goodbye it is a new client.
    if (s_has_failed (self->fault) && s_has_device (self))
        s_probe (self);
    ck_assert_msg (!gpb_test_raw_recv (&self->client, 0), "something is answered twice");
    gpb_test_raw_close (&self->client);
}

//  Whether it failed at all: false says that the run has fewer.
static bool
s_run (fault_t *fault)
{
    scenario_t scenario = { .fault = fault };
    for (unsigned index = 0; index < FLOATS; index++) {
        scenario.a [index] = (float) index;
        scenario.b [index] = 100 + (float) index;
    }
    if (s_start (&scenario))
        s_serve (&scenario);
    zactor_destroy (&scenario.node);
    bool has_failed = s_has_failed (fault);
    fault->arm (-1);

    gpb_faulty_held_t held;
    gpb_test_faulty_held (&held);
    ck_assert_msg (!held.contexts && !held.memories && !held.modules && !held.events,
                   "left: %" PRId64 " contexts, %" PRId64 " blocks of memory, %" PRId64
                   " modules, %" PRId64 " events",
                   held.contexts, held.memories, held.modules, held.events);
    char faults [4096];
    ck_assert_msg (gpb_test_fake_faults (faults, sizeof faults) == 0, "%s", faults);
#ifdef __SANITIZE_ADDRESS__
    ck_assert_msg (__lsan_do_recoverable_leak_check () == 0, "memory is left, as said above");
#endif
    return has_failed;
}

//  Says which N a failure is about: what is printed last before it is the one.
static bool
s_run_at (fault_t *fault, uint64_t at)
{
    *fault = (fault_t){ .name = fault->name, .arm = fault->arm, .at = at };
    //  The last one in the log is the one that a failure is about.
    fprintf (stderr, "%s %" PRIu64 " fails\n", fault->name, at);
    return s_run (fault);
}

static uint64_t
s_random (uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

static void
s_sweep (fault_t fault)
{
    s_open_module ();
    gpb_test_use_fake (1, 64 << 20);
    const char *choice = getenv ("GPB_TEST_FAULTS");
    if (choice && *choice && strcmp (choice, "all") != 0) {
        s_run_at (&fault, strtoull (choice, NULL, 10));
        return;
    }
    //  How many there are, where nothing fails.
    ck_assert (!s_run_at (&fault, INT64_MAX));
    const uint64_t whole = fault.passed;
    ck_assert_uint_gt (whole, 100);
    if (choice && *choice) {
        uint64_t at = 0;
        while (s_run_at (&fault, at))
            at++;
        ck_assert_uint_gt (at, whole / 2);
        fprintf (stderr, "%s: each of %" PRIu64 " failed\n", fault.name, at);
        return;
    }
    const char *seed_text = getenv ("GPB_TEST_SEED");
    uint64_t seed = seed_text ? strtoull (seed_text, NULL, 10) : 1, state = seed;
    const uint64_t end_ns = gpb_clock_ns () + BUDGET_NS;
    unsigned failed = 0;
    while (gpb_clock_ns () < end_ns)
        failed += s_run_at (&fault, s_random (&state) % whole);
    ck_assert_uint_gt (failed, 0);
}

START_TEST (test_any_allocation_fails_and_every_request_is_answered_once)
{
    s_sweep ((fault_t){ .name = "allocation", .arm = s_fail_allocation });
}
END_TEST

START_TEST (test_any_call_of_the_backend_fails_and_every_request_is_answered_once)
{
    s_sweep ((fault_t){ .name = "call", .arm = gpb_test_faulty_fail });
}
END_TEST

GPB_TEST_MAIN ("faults", getenv ("GPB_TEST_FAULTS") ? 3600 : 60,
               test_any_allocation_fails_and_every_request_is_answered_once,
               test_any_call_of_the_backend_fails_and_every_request_is_answered_once)
