//  Tests of gpb_hosting: which kernel host gets a message, what may be with one, and what is
//  counted.

#include "gpb_test.h"

#include "gpb_clock.h"
#include "gpb_hosting.h"

#include <string.h>

#define DEVICES 8
#define ALL ((1ULL << DEVICES) - 1)
#define KEYS 4000

static gpb_error_t error;
static gpb_placement_t *s_placement;
static gpb_tenant_t s_tenant;
static gpb_entry_t s_entries [100];

static void
s_open (void)
{
    const gpb_placement_options_t options = { .node = { 40, 4000 },
                                              .device = { 20, 2000 },
                                              .client = { 10, 1000 } };
    s_placement = gpb_placement_new (DEVICES, &options, &error);
    for (unsigned index = 0; index < DEVICES; index++) {
        gpb_placement_device (s_placement, index)->state = GPB_DEVICE_READY;
        gpb_hosting_open (s_placement, index);
    }
    s_tenant = (gpb_tenant_t){ .hosted = 0 };
}

static gpb_placed_device_t *
s_device (unsigned index)
{
    return gpb_placement_device (s_placement, index);
}

//  Hands an entry of 100 bytes to a device's host.
static void
s_take (unsigned number, unsigned device, gpb_tenant_t *tenant)
{
    s_entries [number] =
        (gpb_entry_t){ .size = 100, .tenant = tenant, .is_hosted = true, .received_ns = 1000 };
    gpb_hosting_took (s_placement, &s_entries [number], device, 2000);
}

static gpb_status_t
s_admit (const gpb_tenant_t *tenant, unsigned device, uint64_t size, uint32_t *retry_after_ms)
{
    return gpb_hosting_admit (s_placement, tenant, device, size, retry_after_ms, &error);
}

//  ---------------------------------------------------------------------------------------------------------
//  Who gets it

START_TEST (test_a_message_goes_to_the_host_that_has_the_fewest)
{
    s_open ();
    ck_assert_uint_eq (gpb_hosting_choose (s_placement, ALL, 0), 0);
    for (unsigned index = 0; index < DEVICES; index++)
        for (unsigned count = 0; count < 3 + (index != 5); count++)
            s_take (index * 4 + count, index, NULL);
    ck_assert_uint_eq (gpb_hosting_choose (s_placement, ALL, 0), 5);
    ck_assert_uint_eq (gpb_hosting_choose (s_placement, ALL & ~(1ULL << 5), 0), 0);
    ck_assert_uint_eq (gpb_hosting_choose (s_placement, 1ULL << 7, 0), 7);
    gpb_placement_destroy (&s_placement);
}
END_TEST

START_TEST (test_messages_of_one_key_go_to_one_device_and_keys_are_spread)
{
    s_open ();
    unsigned counts [DEVICES] = { 0 }, same = 0;
    for (uint64_t key = 0; key < KEYS; key++) {
        const uint64_t lane = gpb_hosting_lane ("echo", key);
        const unsigned device = gpb_hosting_choose (s_placement, ALL, lane);
        ck_assert_uint_ne (lane, 0);
        s_device (device)->hosted += 7;    //  how much is there plays no part
        ck_assert_uint_eq (gpb_hosting_choose (s_placement, ALL, lane), device);
        counts [device]++;
        same += gpb_hosting_choose (s_placement, ALL, gpb_hosting_lane ("double", key)) == device;
    }
    //  5 standard deviations of what chance would do, either way.
    for (unsigned index = 0; index < DEVICES; index++)
        ck_assert_msg (counts [index] > 395 && counts [index] < 605, "device %u has %u", index,
                       counts [index]);
    ck_assert_msg (same > 395 && same < 605, "%u keys go with two kernels to one device", same);
    gpb_placement_destroy (&s_placement);
}
END_TEST

START_TEST (test_a_device_that_is_lost_moves_its_own_keys_alone_and_gets_them_back)
{
    s_open ();
    for (uint64_t key = 0; key < KEYS; key++) {
        const uint64_t lane = gpb_hosting_lane ("echo", key);
        const unsigned before = gpb_hosting_choose (s_placement, ALL, lane);
        s_device (3)->state = GPB_DEVICE_RESTARTING;
        const unsigned meanwhile = gpb_hosting_choose (s_placement, ALL, lane);
        ck_assert_uint_ne (meanwhile, 3);
        ck_assert (before == 3 || meanwhile == before);
        s_device (3)->state = GPB_DEVICE_READY;
        ck_assert_uint_eq (gpb_hosting_choose (s_placement, ALL, lane), before);
    }
    gpb_placement_destroy (&s_placement);
}
END_TEST

START_TEST (test_one_that_restarts_is_waited_for_where_no_other_fits)
{
    s_open ();
    s_device (2)->state = GPB_DEVICE_RESTARTING;
    s_take (0, 4, NULL);
    ck_assert_uint_eq (gpb_hosting_choose (s_placement, 1ULL << 2 | 1ULL << 4, 0), 4);
    ck_assert_uint_eq (gpb_hosting_choose (s_placement, 1ULL << 2, 0), 2);
    ck_assert_uint_eq (gpb_hosting_choose (s_placement, 1ULL << 2, gpb_hosting_lane ("echo", 1)),
                       2);
    gpb_placement_destroy (&s_placement);
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Bounds

START_TEST (test_what_is_with_hosts_is_bounded_for_client_device_and_node)
{
    s_open ();
    uint32_t retry_after_ms;
    for (unsigned number = 0; number < 10; number++) {
        ck_assert_ok (s_admit (&s_tenant, 0, 100, &retry_after_ms));
        s_take (number, 0, &s_tenant);
    }
    ck_assert_refused (s_admit (&s_tenant, 1, 100, &retry_after_ms), GPB_RESOURCE_EXHAUSTED,
                       "10 messages of 1000 bytes of this client are with kernel hosts");
    ck_assert_uint_ge (retry_after_ms, 1);
    for (unsigned number = 10; number < 20; number++) {
        ck_assert_ok (s_admit (NULL, 0, 100, &retry_after_ms));
        s_take (number, 0, NULL);
    }
    ck_assert_refused (s_admit (NULL, 0, 100, &retry_after_ms), GPB_RESOURCE_EXHAUSTED,
                       "are with the device's kernel host");
    for (unsigned number = 20; number < 40; number++) {
        ck_assert_ok (s_admit (NULL, 1, 100, &retry_after_ms));
        s_take (number, 1, NULL);
    }
    ck_assert_refused (s_admit (NULL, 2, 1, &retry_after_ms), GPB_RESOURCE_EXHAUSTED,
                       "are with this node's kernel hosts");
    for (unsigned number = 0; number < 40; number++)
        gpb_hosting_answered (s_placement, &s_entries [number], true, 3000);
    ck_assert_uint_eq (s_tenant.hosted, 0);
    ck_assert_uint_eq (s_tenant.hosted_size, 0);
    ck_assert_ok (s_admit (&s_tenant, 0, 1000, &retry_after_ms));
    gpb_placement_destroy (&s_placement);
}
END_TEST

START_TEST (test_what_never_fits_is_not_to_be_asked_again)
{
    s_open ();
    uint32_t retry_after_ms = 5;
    ck_assert_refused (s_admit (&s_tenant, 0, 1001, &retry_after_ms), GPB_RESOURCE_EXHAUSTED,
                       "a message of 1001 bytes: at most 1000");
    ck_assert_uint_eq (retry_after_ms, 0);
    s_tenant.hosted_size = 901;
    ck_assert_ok (s_admit (&s_tenant, 0, 99, &retry_after_ms));
    ck_assert_refused (s_admit (&s_tenant, 0, 100, &retry_after_ms), GPB_RESOURCE_EXHAUSTED,
                       "try again in 1 ms");
    gpb_placement_destroy (&s_placement);
}
END_TEST

//  A sixteenth of 20 messages, of 100 ms each.
START_TEST (test_the_time_to_come_back_goes_by_the_hosts_own_pace)
{
    s_open ();
    uint32_t retry_after_ms;
    for (unsigned number = 0; number < 21; number++)
        s_take (number, 0, NULL);
    gpb_hosting_answered (s_placement, &s_entries [20], true, 2000 + 100 * GPB_NS_PER_MS);
    s_device (0)->service_ns = 1;
    ck_assert_int_eq (s_admit (NULL, 0, 100, &retry_after_ms), GPB_RESOURCE_EXHAUSTED);
    ck_assert_uint_eq (retry_after_ms, 100);
    gpb_placement_destroy (&s_placement);
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Figures

START_TEST (test_messages_count_in_figures_and_not_in_credits_or_pace)
{
    s_open ();
    gpb_placed_device_t *device = s_device (1);
    s_take (0, 1, &s_tenant);
    s_take (1, 1, NULL);
    ck_assert_uint_eq (device->hosted, 2);
    ck_assert_uint_eq (device->hosted_size, 200);
    ck_assert_uint_eq (s_entries [0].device, 1);
    ck_assert_uint_eq (s_entries [0].sent_ns, 2000);
    gpb_hosting_answered (s_placement, &s_entries [0], true, 5000);
    s_entries [1].tenant = NULL;    //  its client has left
    gpb_hosting_answered (s_placement, &s_entries [1], false, 6000);
    ck_assert_uint_eq (device->hosted, 0);
    ck_assert_uint_eq (device->hosted_size, 0);
    ck_assert_uint_eq (device->processed, 1);
    ck_assert_uint_eq (device->failed, 1);
    ck_assert_uint_eq (device->latency.count, 2);
    ck_assert_uint_eq (device->latency.max_ns, 5000);
    ck_assert_uint_eq (device->in_flight, 0);
    ck_assert_uint_eq (device->service_ns, 0);
    ck_assert_uint_eq (device->last_answer_ns, 0);
    ck_assert_uint_eq (s_tenant.cost_ns, 0);
    ck_assert_uint_eq (gpb_placement_waiting (s_placement)->all.requests, 0);
    gpb_placement_destroy (&s_placement);
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Who fits

static gpb_kernel_t *
s_parse (const char *devices)
{
    char text [512];
    snprintf (text, sizeof text,
              "id = \"stays\"; source = \"stays.c\"; persistent = true; devices = [ %s ];\n"
              "parameters = ( { name = \"in\"; direction = \"in\"; type = \"u8\"; },\n"
              "{ name = \"out\"; direction = \"out\"; type = \"u8\"; count = \"count\"; } );",
              devices);
    gpb_kernel_t *kernel = gpb_kernel_parse (
        text,
        "HANDLER (stays) (GLOBAL const void *in, uint in_size, GLOBAL void *out, uint *out_size, "
        "GLOBAL void *state) { *out_size = 0; }",
        &error);
    ck_assert_msg (kernel != NULL, "%s", error.text);
    return kernel;
}

static gpb_status_t
s_fit (const gpb_kernel_t *kernel, uint64_t *devices)
{
    gpb_constraints_t constraints = { .kernel = kernel, .is_hosted = true };
    return gpb_placement_fit (s_placement, &constraints, "no driver", devices, &error);
}

START_TEST (test_a_device_without_a_host_or_where_a_kernel_may_not_stay_says_so)
{
    s_open ();
    uint64_t devices;
    gpb_kernel_t *all = s_parse ("\"all\""), *second = s_parse ("\"1\"");
    ck_assert_ok (s_fit (all, &devices));
    ck_assert_uint_eq (devices, ALL);
    ck_assert_ok (s_fit (second, &devices));
    ck_assert_uint_eq (devices, 2);
    gpb_hosting_refuse (s_placement, 1, "its driver has no compute unit to spare");
    ck_assert_ok (s_fit (all, &devices));
    ck_assert_uint_eq (devices, ALL & ~2ULL);
    ck_assert_refused (s_fit (second, &devices), GPB_FAILED_PRECONDITION,
                       "device 1 has no kernel host: its driver has no compute unit to spare");
    ck_assert_ptr_nonnull (strstr (error.text, "device 0 is not one that stays may stay on"));
    ck_assert_uint_eq (devices, 0);
    gpb_hosting_open (s_placement, 1);
    s_device (1)->state = GPB_DEVICE_LOST;
    ck_assert_refused (s_fit (second, &devices), GPB_FAILED_PRECONDITION, "device 1 is not ready");
    for (unsigned index = 0; index < DEVICES; index++)
        s_device (index)->state = GPB_DEVICE_LOST;
    ck_assert_int_eq (s_fit (all, &devices), GPB_UNAVAILABLE);
    gpb_kernel_destroy (&all);
    gpb_kernel_destroy (&second);
    gpb_placement_destroy (&s_placement);
}
END_TEST

GPB_TEST_MAIN ("gpb_hosting", 20, test_a_message_goes_to_the_host_that_has_the_fewest,
               test_messages_of_one_key_go_to_one_device_and_keys_are_spread,
               test_a_device_that_is_lost_moves_its_own_keys_alone_and_gets_them_back,
               test_one_that_restarts_is_waited_for_where_no_other_fits,
               test_what_is_with_hosts_is_bounded_for_client_device_and_node,
               test_what_never_fits_is_not_to_be_asked_again,
               test_the_time_to_come_back_goes_by_the_hosts_own_pace,
               test_messages_count_in_figures_and_not_in_credits_or_pace,
               test_a_device_without_a_host_or_where_a_kernel_may_not_stay_says_so)
