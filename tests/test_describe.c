//  Tests of gpb_describe: what is described is what the message says, and nothing is left out.

#include "gpb_describe.h"
#include "gpb_test.h"
#include "gpb_test_peer.h"

#include <string.h>

static gpb_error_t error;

START_TEST (test_a_device_is_read_as_it_was_described)
{
    static gpb_device_info_t info = { .name = "card",
                                      .vendor = "maker",
                                      .driver = "1.2",
                                      .architecture = "sm_90",
                                      .type = "gpu",
                                      .compute_units = 132,
                                      .clock_mhz = 1980,
                                      .total_memory = 80000,
                                      .max_allocation = 70000,
                                      .local_memory = 49152,
                                      .max_work_group_size = 1024,
                                      .shares_host_memory = true,
                                      .capabilities_count = GPB_CAPABILITIES_MAX };
    for (unsigned index = 0; index < GPB_CAPABILITIES_MAX; index++)
        snprintf (info.capabilities [index], GPB_CAPABILITY_SIZE, "capability_%u", index);
    static gpb_described_device_t described;
    static gpb_device_info_t read;
    char backend [8];
    gpb_describe_device (&described, &info, "opencl");
    gpb_describe_read (&read, backend, sizeof backend, &described.message);
    ck_assert_mem_eq (&read, &info, sizeof info);
    ck_assert_str_eq (backend, "opencl");

    //  More, and longer, than there is room for is cut.
    static char name [2 * GPB_NAME_SIZE];
    char *capabilities [GPB_CAPABILITIES_MAX + 5];
    memset (name, 'n', sizeof name - 1);
    for (unsigned index = 0; index < GPB_CAPABILITIES_MAX + 5; index++)
        capabilities [index] = name;
    described.message.name = name;
    described.message.backend = name;
    described.message.capabilities = capabilities;
    described.message.n_capabilities = GPB_CAPABILITIES_MAX + 5;
    gpb_describe_read (&read, backend, sizeof backend, &described.message);
    ck_assert_uint_eq (strlen (read.name), GPB_NAME_SIZE - 1);
    ck_assert_uint_eq (strlen (backend), sizeof backend - 1);
    ck_assert_uint_eq (read.capabilities_count, GPB_CAPABILITIES_MAX);
    ck_assert_uint_eq (strlen (read.capabilities [0]), GPB_CAPABILITY_SIZE - 1);
}
END_TEST

//  One of everything.
static const char s_definition [] =
    "id = \"scale\"; description = \"x = a * x\"; source = \"scale.c\";\n"
    "parameters = (\n"
    "  { name = \"x\"; direction = \"out\"; type = \"f32\"; count = \"n * 2\"; alignment = 16;\n"
    "    zero = true; },\n"
    "  { name = \"n\"; direction = \"scalar\"; type = \"i32\"; }\n"
    ");\n"
    "global = [ \"n\", \"n + 1\" ]; global_free = true; local = [ 64, 2 ]; shared = \"n * 8\";\n"
    "require = [ \"fp64\", \"gpu\" ];\n";

START_TEST (test_a_kernel_is_described_whole)
{
    gpb_kernel_t *kernel = gpb_kernel_parse (s_definition, "x", &error);
    ck_assert_msg (kernel != NULL, "%s", error.text);
    static gpb_described_kernel_t described;
    gpb_describe_kernel (&described, kernel);
    const Gpb__V1__Kernel *message = &described.message;
    ck_assert_str_eq (message->id, "scale");
    ck_assert_str_eq (message->description, "x = a * x");
    ck_assert_uint_eq (message->n_parameters, 2);
    const Gpb__V1__Parameter *x = message->parameters [0], *n = message->parameters [1];
    ck_assert_str_eq (x->name, "x");
    ck_assert_str_eq (x->direction, "out");
    ck_assert_str_eq (x->type, "f32");
    ck_assert_str_eq (x->count, "n * 2");
    ck_assert_uint_eq (x->alignment, 16);
    ck_assert (x->zero);
    ck_assert_str_eq (n->name, "n");
    ck_assert_str_eq (n->direction, "scalar");
    ck_assert_str_eq (n->count, "");
    ck_assert (!n->zero);
    ck_assert_uint_eq (message->n_global, 2);
    ck_assert_str_eq (message->global [0], "n");
    ck_assert_str_eq (message->global [1], "n + 1");
    ck_assert (message->global_free);
    ck_assert_uint_eq (message->n_local, 2);
    ck_assert_uint_eq (message->local [0], 64);
    ck_assert_uint_eq (message->local [1], 2);
    ck_assert_str_eq (message->shared, "n * 8");
    ck_assert_uint_eq (message->n_require, 2);
    ck_assert_str_eq (message->require [0], "fp64");
    ck_assert_str_eq (message->require [1], "gpu");
    ck_assert_uint_eq (message->n_sources, 1);
    ck_assert_str_eq (message->sources [0], "portable");
    gpb_kernel_destroy (&kernel);
}
END_TEST

START_TEST (test_a_kernel_without_a_local_size_says_none)
{
    gpb_kernel_t *kernel = gpb_kernel_parse (
        "id = \"k\"; source = \"k.c\"; global = [ \"7\" ];\n"
        "parameters = ( { name = \"c\"; direction = \"out\"; type = \"f64\"; count = 5; } );",
        "x", &error);
    ck_assert_msg (kernel != NULL, "%s", error.text);
    static gpb_described_kernel_t described;
    gpb_describe_kernel (&described, kernel);
    ck_assert_uint_eq (described.message.n_local, 0);
    ck_assert_uint_eq (described.message.n_require, 0);
    ck_assert_str_eq (described.message.shared, "");
    ck_assert (!described.message.global_free);
    gpb_kernel_destroy (&kernel);
}
END_TEST

START_TEST (test_latencies_are_told_in_nanoseconds_by_nearest_rank)
{
    static gpb_histogram_t histogram;
    Gpb__V1__Latency message;
    gpb_describe_latency (&message, &histogram);
    ck_assert_uint_eq (message.count, 0);
    ck_assert_uint_eq (message.mean_ns, 0);
    ck_assert_uint_eq (message.p99_ns, 0);
    for (uint64_t value_ns = 1; value_ns <= 100; value_ns++)
        gpb_histogram_record (&histogram, value_ns * 1000);
    gpb_describe_latency (&message, &histogram);
    ck_assert_uint_eq (message.count, 100);
    ck_assert_uint_eq (message.mean_ns, 50500);
    ck_assert_uint_eq (message.min_ns, 1000);
    ck_assert_uint_eq (message.max_ns, 100000);
    const struct {
        uint64_t found_ns, exact_ns;
    } ranks [] = { { message.p50_ns, 50000 },
                   { message.p95_ns, 95000 },
                   { message.p99_ns, 99000 } };
    for (unsigned index = 0; index < 3; index++) {    //  to 1/32
        ck_assert_uint_le (ranks [index].found_ns, ranks [index].exact_ns * 33 / 32);
        ck_assert_uint_ge (ranks [index].found_ns, ranks [index].exact_ns * 31 / 32);
    }
}
END_TEST

static gpb_service_t *s_service;
static gpb_hello_t s_packed;
static gpb_config_t *s_config;

static void
s_hello (void *self, gpb_call_t *call)
{
    (void) self;
    gpb_answer_hello (&s_packed, s_service, call, "node-3", s_config);
}

static const gpb_handler_t s_handlers [] = { { GPB__V1__REQUEST__BODY_HELLO, s_hello } };

START_TEST (test_a_hello_is_answered_where_the_versions_meet)
{
    static const struct {
        uint32_t oldest, newest;
        gpb_status_t status;
    } cases [] = {
        { 0, 0, GPB_OK },    //  says nothing
        { GPB_PROTOCOL_VERSION, GPB_PROTOCOL_VERSION, GPB_OK },
        { 0, GPB_PROTOCOL_VERSION, GPB_OK },
        { GPB_PROTOCOL_VERSION, GPB_PROTOCOL_VERSION + 5, GPB_OK },
        { GPB_PROTOCOL_VERSION + 1, GPB_PROTOCOL_VERSION + 5, GPB_UNIMPLEMENTED },
        { GPB_PROTOCOL_VERSION, GPB_PROTOCOL_VERSION - 1, GPB_UNIMPLEMENTED },
    };
    s_config = gpb_config_new ();
    ck_assert_ok (gpb_config_set (s_config, "max_frame_size", "70000", &error));
    s_service = gpb_service_new (s_config, s_handlers, 1, NULL, &error);
    ck_assert_ptr_nonnull (s_service);
    char bound [64];
    ck_assert_ok (gpb_router_bind (gpb_service_router (s_service), "inproc://hello", bound,
                                   sizeof bound, &error));
    gpb_test_peer_t peer;
    gpb_test_peer_open (&peer, "inproc://hello");
    for (uint64_t index = 0; index < sizeof cases / sizeof cases [0]; index++) {
        Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
        Gpb__V1__Hello hello = GPB__V1__HELLO__INIT;
        request.id = index + 1;
        request.body_case = GPB__V1__REQUEST__BODY_HELLO;
        request.hello = &hello;
        hello.oldest_version = cases [index].oldest;
        hello.newest_version = cases [index].newest;
        gpb_test_peer_send (&peer, &request, NULL);
        ck_assert_uint_eq (gpb_service_receive (s_service, 1), 1);
        const Gpb__V1__Reply *reply = gpb_test_peer_expect (&peer, index + 1, cases [index].status);
        if (cases [index].status != GPB_OK) {
            ck_assert_ptr_nonnull (strstr (reply->message, "speaks version"));
            continue;
        }
        ck_assert_uint_eq (reply->hello->version, GPB_PROTOCOL_VERSION);
        ck_assert_str_eq (reply->hello->node, "node-3");
        ck_assert_uint_gt (strlen (reply->hello->release), 0);
        ck_assert_uint_eq (reply->hello->max_frame_size, 70000);
        ck_assert_uint_gt (reply->hello->max_frames, 0);
        ck_assert_uint_gt (reply->hello->max_inline_size, 0);
    }
    gpb_test_peer_close (&peer);
    gpb_hello_clear (&s_packed);
    gpb_service_destroy (&s_service, 0);
    gpb_config_destroy (&s_config);
}
END_TEST

GPB_TEST_MAIN ("gpb_describe", 20, test_a_device_is_read_as_it_was_described,
               test_a_kernel_is_described_whole, test_a_kernel_without_a_local_size_says_none,
               test_latencies_are_told_in_nanoseconds_by_nearest_rank,
               test_a_hello_is_answered_where_the_versions_meet)
