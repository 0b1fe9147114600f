//  Tests of gpb_placement: who fits, who has a credit, who is next.

#include "gpb_test.h"

#include "gpb_alloc.h"
#include "gpb_clock.h"
#include "gpb_placement.h"

#include <stdlib.h>

#define ENTRIES 300
#define ANY UINT64_MAX

static gpb_error_t error;
static gpb_placement_t *s_placement;
static gpb_entry_t s_entries [ENTRIES];
static gpb_tenant_t s_tenant;
static uint64_t s_clock_ns;

static const gpb_placement_options_t s_options = {
    .node = { 1000, 100000 },
    .device = { 500, 50000 },
    .client = { 200, 20000 },
    .aging_ns = GPB_NS_PER_S,
};

static void
s_close (void)
{
    gpb_tenant_clear (&s_tenant);
    s_tenant = (gpb_tenant_t){ .depth = 0 };
    gpb_placement_destroy (&s_placement);
}

static void
s_open (unsigned devices)
{
    s_placement = gpb_placement_new (devices, &s_options, &error);
    ck_assert_ptr_nonnull (s_placement);
    ck_assert_uint_eq (gpb_placement_devices (s_placement), devices);
    for (unsigned index = 0; index < devices; index++) {
        gpb_placed_device_t *device = gpb_placement_device (s_placement, index);
        snprintf (device->info.name, sizeof device->info.name, "card %u", index);
        device->state = GPB_DEVICE_READY;
        device->available_memory = 1000;
    }
    s_clock_ns = 1000000;
}

static gpb_placed_device_t *
s_device (unsigned index)
{
    return gpb_placement_device (s_placement, index);
}

static gpb_entry_t *
s_queue (unsigned number, uint64_t devices)
{
    gpb_entry_t *entry = &s_entries [number];
    *entry = (gpb_entry_t){ .slot = number, .size = 10, .tenant = &s_tenant };
    entry->devices = devices & ((1ULL << gpb_placement_devices (s_placement)) - 1);
    entry->received_ns = ++s_clock_ns;
    ck_assert_ok (gpb_placement_queue (s_placement, entry, s_clock_ns, &error));
    return entry;
}

static const gpb_amount_t *
s_waiting (void)
{
    return &gpb_placement_waiting (s_placement)->all;
}

static gpb_entry_t *
s_next (void)
{
    return gpb_placement_next (s_placement, s_clock_ns);
}

//  Tells a device's pace: so long between answers.
static void
s_set_pace (unsigned index, uint64_t service_ns)
{
    s_device (index)->service_ns = service_ns;
}

static gpb_status_t
s_fit (gpb_constraints_t constraints, uint64_t expected)
{
    uint64_t devices;
    gpb_status_t status =
        gpb_placement_fit (s_placement, &constraints, "no driver", &devices, &error);
    ck_assert_uint_eq (devices, expected);
    return status;
}

//  ---------------------------------------------------------------------------------------------------------
//  Who fits

START_TEST (test_devices_are_looked_up_by_index)
{
    s_open (3);
    s_device (0)->state = GPB_DEVICE_LOST;
    snprintf (s_device (0)->reason, sizeof s_device (0)->reason, "it burns");
    ck_assert_ok (s_fit ((gpb_constraints_t){ .has_device = true, .device = 2 }, 4));
    ck_assert_ok (s_fit ((gpb_constraints_t){ .has_device = true, .device = 1 }, 2));
    ck_assert_refused (s_fit ((gpb_constraints_t){ .has_device = true, .device = 0 }, 0),
                       GPB_UNAVAILABLE, "device 0 (card 0) is not ready: it burns");
    ck_assert_refused (s_fit ((gpb_constraints_t){ .has_device = true, .device = 3 }, 0),
                       GPB_NOT_FOUND, "no device 3: this node has 3");
    ck_assert_refused (s_fit ((gpb_constraints_t){ .has_device = true, .device = ANY }, 0),
                       GPB_NOT_FOUND, "18446744073709551615");
    ck_assert_ok (s_fit ((gpb_constraints_t){ .has_device = false }, 6));
    ck_assert_ptr_null (gpb_placement_device (s_placement, 3));
    s_close ();
}
END_TEST

START_TEST (test_a_device_that_does_not_fit_says_why)
{
    s_open (3);
    gpb_device_info_t *info = &s_device (1)->info;
    info->capabilities_count = 1;
    snprintf (info->capabilities [0], sizeof info->capabilities [0], "fp64");
    char *fp64 [] = { (char *) "fp64" }, *both [] = { (char *) "fp64", (char *) "fp16" };
    ck_assert_ok (s_fit ((gpb_constraints_t){ .require = fp64, .require_count = 1 }, 2));
    ck_assert_refused (s_fit ((gpb_constraints_t){ .require = both, .require_count = 2 }, 0),
                       GPB_FAILED_PRECONDITION, "device 1 (card 1) has no fp16");
    ck_assert_ptr_nonnull (strstr (error.text, "device 0 (card 0) has no fp64; "));
    ck_assert_refused (s_fit ((gpb_constraints_t){ .require = fp64,
                                                   .require_count = 1,
                                                   .has_device = true,
                                                   .device = 2 },
                              0),
                       GPB_FAILED_PRECONDITION, "device 2 (card 2) has no fp64");
    s_device (0)->available_memory = 2000;
    ck_assert_ok (s_fit ((gpb_constraints_t){ .memory = 1000 }, 7));
    ck_assert_ok (s_fit ((gpb_constraints_t){ .memory = 1001 }, 1));
    ck_assert_refused (s_fit ((gpb_constraints_t){ .memory = UINT64_MAX }, 0),
                       GPB_RESOURCE_EXHAUSTED, "card 0) has 2000 bytes available of the 18446");
    //  One lacks what it takes, another the memory: memory may come back.
    ck_assert_refused (
        s_fit ((gpb_constraints_t){ .require = fp64, .require_count = 1, .memory = 1001 }, 0),
        GPB_RESOURCE_EXHAUSTED, "card 2) has no fp64");
    s_device (2)->state = GPB_DEVICE_STARTING;
    s_device (2)->info.name [0] = 0;
    ck_assert_refused (s_fit ((gpb_constraints_t){ .has_device = true, .device = 2 }, 0),
                       GPB_UNAVAILABLE, "device 2 is not ready: it is starting");
    s_close ();
}
END_TEST

START_TEST (test_the_reasons_of_many_devices_do_not_overflow)
{
    s_open (64);
    for (unsigned index = 0; index < 64; index++) {
        memset (s_device (index)->info.name, 'n', GPB_NAME_SIZE - 1);
        s_device (index)->state = GPB_DEVICE_LOST;
        memset (s_device (index)->reason, 'r', sizeof s_device (index)->reason - 1);
    }
    ck_assert_int_eq (s_fit ((gpb_constraints_t){ .memory = 1 }, 0), GPB_UNAVAILABLE);
    ck_assert_ptr_null (gpb_placement_device (s_placement, 64));
    s_close ();
    gpb_placement_t *larger = gpb_placement_new (100, &s_options, &error);
    ck_assert_uint_eq (gpb_placement_devices (larger), GPB_PLACEMENT_DEVICES_MAX);
    gpb_placement_destroy (&larger);
}
END_TEST

START_TEST (test_without_devices_the_notice_says_why)
{
    s_open (0);
    ck_assert_refused (s_fit ((gpb_constraints_t){ .memory = 0 }, 0), GPB_UNAVAILABLE, "no driver");
    ck_assert_ptr_null (s_next ());
    s_close ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Credit

static unsigned
s_count_credit (uint64_t service_ns)
{
    s_open (1);
    s_set_pace (0, service_ns);
    for (unsigned number = 0; number < 100; number++)
        s_queue (number, ANY);
    unsigned count = 0;
    while (s_next ())
        count++;
    ck_assert_uint_eq (s_device (0)->in_flight, count);
    ck_assert_uint_eq (s_device (0)->queue.requests, 100 - count);
    ck_assert_uint_eq (s_waiting ()->requests, 100 - count);
    ck_assert_uint_eq (s_waiting ()->size, 10 * (100 - count));
    s_close ();
    return count;
}

START_TEST (test_a_credit_covers_a_millisecond_between_2_and_64_requests)
{
    ck_assert_uint_eq (s_count_credit (0), 2);    //  not known
    ck_assert_uint_eq (s_count_credit (10 * GPB_NS_PER_S), 2);
    ck_assert_uint_eq (s_count_credit (GPB_NS_PER_MS), 2);
    ck_assert_uint_eq (s_count_credit (100000), 10);
    ck_assert_uint_eq (s_count_credit (20000), 50);
    ck_assert_uint_eq (s_count_credit (1000), 64);
    ck_assert_uint_eq (s_count_credit (1), 64);
}
END_TEST

START_TEST (test_the_pace_is_measured_from_answers)
{
    s_open (1);
    for (unsigned number = 0; number < 200; number++) {
        gpb_entry_t *entry = s_queue (number, ANY);
        ck_assert_ptr_eq (s_next (), entry);
        s_clock_ns += 50000;
        gpb_placement_answered (s_placement, entry, number % 4 != 0, s_clock_ns);
    }
    ck_assert_uint_ge (s_device (0)->service_ns, 49000);
    ck_assert_uint_le (s_device (0)->service_ns, 51000);
    ck_assert_uint_eq (s_device (0)->processed, 150);
    ck_assert_uint_eq (s_device (0)->failed, 50);
    ck_assert_uint_eq (s_device (0)->in_flight, 0);
    //  In ns, from receiving to answering.
    ck_assert_uint_eq (s_device (0)->latency.count, 200);
    ck_assert_uint_eq (s_device (0)->latency.max_ns, 50000);
    ck_assert_uint_eq (s_device (0)->latency.min_ns, 50000);
    s_close ();
}
END_TEST

//  A device that is far away, or handed too little at a time, is no slower for that.
START_TEST (test_what_an_executor_says_that_it_took_is_its_pace)
{
    s_open (1);
    for (unsigned number = 0; number < 200; number++) {
        gpb_entry_t *entry = s_queue (number, ANY);
        ck_assert_ptr_eq (s_next (), entry);
        s_clock_ns += 3000000;
        entry->served_ns = 50000;
        gpb_placement_answered (s_placement, entry, true, s_clock_ns);
    }
    ck_assert_uint_ge (s_device (0)->service_ns, 49000);
    ck_assert_uint_le (s_device (0)->service_ns, 51000);
    //  It cannot have taken longer than it was there.
    for (unsigned number = 0; number < 200; number++) {
        gpb_entry_t *entry = s_queue (number, ANY);
        ck_assert_ptr_eq (s_next (), entry);
        s_clock_ns += 10000;
        entry->served_ns = UINT64_MAX;
        gpb_placement_answered (s_placement, entry, true, s_clock_ns);
    }
    ck_assert_uint_le (s_device (0)->service_ns, 11000);
    s_close ();
}
END_TEST

START_TEST (test_requests_that_overlap_on_a_device_make_its_pace_faster)
{
    s_open (1);
    s_set_pace (0, 10000);
    gpb_entry_t *entries [4];
    for (unsigned number = 0; number < 4; number++) {
        s_queue (number, ANY);
        entries [number] = s_next ();
    }
    s_clock_ns += 100000;    //  together
    for (unsigned number = 0; number < 4; number++)
        gpb_placement_answered (s_placement, entries [number], true, s_clock_ns);
    ck_assert_uint_lt (s_device (0)->service_ns, 100000 / 4);
    ck_assert_uint_gt (s_device (0)->service_ns, 0);
    s_close ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Who gets what

START_TEST (test_the_idle_device_wins_over_the_busy_one_with_more_memory)
{
    for (unsigned known = 0; known < 2; known++) {    //  whether paces are known or not
        s_open (2);
        s_device (0)->available_memory = 1 << 30;
        for (unsigned device = 0; known && device < 2; device++)
            s_set_pace (device, 100000);
        ck_assert_uint_eq ((s_queue (0, ANY), s_next ())->device, 0);    //  a tie: more memory
        ck_assert_uint_eq ((s_queue (1, ANY), s_next ())->device, 1);
        ck_assert_uint_eq ((s_queue (2, ANY), s_next ())->device, 0);
        ck_assert_uint_eq ((s_queue (3, ANY), s_next ())->device, 1);
        s_close ();
    }
}
END_TEST

START_TEST (test_the_least_expected_wait_counts_what_is_in_flight)
{
    s_open (2);
    s_set_pace (0, 10000);     //  fast, and four deep: 40 us
    s_set_pace (1, 300000);    //  slow, and empty
    for (unsigned number = 0; number < 4; number++) {
        s_queue (number, 1);
        ck_assert_uint_eq (s_next ()->device, 0);
    }
    ck_assert_uint_eq ((s_queue (4, ANY), s_next ())->device, 1);    //  0 against 40
    ck_assert_uint_eq ((s_queue (5, ANY), s_next ())->device, 0);    //  300 against 40
    ck_assert_uint_eq ((s_queue (6, ANY), s_next ())->device, 0);
    s_close ();
}
END_TEST

START_TEST (test_what_is_bound_to_one_device_blocks_nobody)
{
    s_open (2);
    for (unsigned number = 0; number < 10; number++)
        s_queue (number, 1);    //  all of the first device
    gpb_entry_t *free_one = s_queue (10, ANY), *bound = s_queue (11, 2);
    for (unsigned number = 0; number < 2; number++)
        ck_assert_ptr_eq (s_next (), &s_entries [number]);
    ck_assert_ptr_eq (s_next (), free_one);
    ck_assert_uint_eq (free_one->device, 1);
    ck_assert_ptr_eq (s_next (), bound);
    ck_assert_ptr_null (s_next ());
    ck_assert_uint_eq (s_device (0)->queue.requests, 8);
    ck_assert_uint_eq (s_device (1)->queue.requests, 0);
    gpb_placement_answered (s_placement, &s_entries [0], true, s_clock_ns);
    ck_assert_ptr_eq (s_next (), &s_entries [2]);
    s_close ();
}
END_TEST

START_TEST (test_first_come_is_first_served_across_queues)
{
    s_open (3);
    const uint64_t sets [] = { 1, 3, 7, 5, 1, 7, 3 };
    for (unsigned number = 0; number < 70; number++)
        s_queue (number, sets [number % 7]);
    //  Every set has the first device, which alone is free.
    s_device (1)->state = s_device (2)->state = GPB_DEVICE_LOST;
    for (unsigned number = 0; number < 70; number++) {
        gpb_entry_t *next = s_next ();
        ck_assert_ptr_eq (next, &s_entries [number]);
        ck_assert_uint_eq (next->device, 0);
        gpb_placement_answered (s_placement, next, true, ++s_clock_ns);
    }
    ck_assert_ptr_null (s_next ());
    s_close ();
}
END_TEST

START_TEST (test_what_leaves_its_queue_leaves_the_others_in_order)
{
    s_open (2);
    srand (9);
    bool waits [ENTRIES];
    const uint64_t sets [] = { 1, 2, 3 };
    for (unsigned number = 0; number < ENTRIES; number++) {
        s_queue (number, sets [rand () % 3]);
        waits [number] = true;
    }
    uint64_t depth = ENTRIES;
    for (unsigned count = 0; count < ENTRIES; count++) {
        unsigned number = (unsigned) rand () % ENTRIES;
        if (waits [number]) {
            gpb_placement_unqueue (s_placement, &s_entries [number]);
            waits [number] = false;
            depth--;
        }
        ck_assert_uint_eq (s_waiting ()->requests, depth);
        ck_assert_uint_eq (s_waiting ()->size, 10 * depth);
    }
    unsigned last [2] = { 0, 0 };
    for (gpb_entry_t *next; (next = s_next ());) {
        ck_assert (waits [next->slot]);
        waits [next->slot] = false;
        ck_assert_uint_ge (next->slot, last [next->device]);
        last [next->device] = next->slot;
        ck_assert (next->devices >> next->device & 1);
        gpb_placement_answered (s_placement, next, true, ++s_clock_ns);
    }
    for (unsigned number = 0; number < ENTRIES; number++)
        ck_assert (!waits [number]);
    ck_assert_uint_eq (s_waiting ()->requests, 0);
    ck_assert_uint_eq (s_device (0)->queue.requests + s_device (1)->queue.requests, 0);
    s_close ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Bounds

//  A client that has this much waiting for any device.
static gpb_status_t
s_admit (const gpb_amount_t *waiting, uint64_t devices, uint64_t size, uint32_t *retry_after_ms)
{
    gpb_waiting_t client = { .all = waiting ? *waiting : (gpb_amount_t){ 0, 0 } };
    gpb_arrival_t arrival = { .client = &client, .devices = devices, .size = size };
    return gpb_placement_admit (s_placement, &arrival, retry_after_ms, &error);
}

START_TEST (test_each_bound_says_itself_the_depth_and_when_to_try_again)
{
    s_open (2);
    uint32_t retry_after_ms = 1;
    ck_assert_ok (s_admit (NULL, 3, 20000, &retry_after_ms));
    for (unsigned number = 0; number < 200; number++)
        s_queue (number, ANY);
    s_set_pace (0, 10 * GPB_NS_PER_MS);
    s_set_pace (1, 10 * GPB_NS_PER_MS);
    ck_assert_refused (s_admit (&s_tenant.waiting.all, 3, 10, &retry_after_ms),
                       GPB_RESOURCE_EXHAUSTED,
                       "200 requests wait for this client, which is the bound: try again in 60 ms");
    ck_assert_uint_eq (retry_after_ms, 60);                   //  12 of 200 requests, of two devices
    ck_assert_ok (s_admit (NULL, 3, 10, &retry_after_ms));    //  another client
    ck_assert_ok (s_admit (NULL, 1, 10, &retry_after_ms));    //  nothing waits for one alone
    const gpb_amount_t other = { .requests = 1, .size = 19990 };
    ck_assert_ok (s_admit (&other, 3, 10, &retry_after_ms));
    ck_assert_refused (s_admit (&other, 3, 11, &retry_after_ms), GPB_RESOURCE_EXHAUSTED,
                       "1 requests of 19990 bytes wait for this client, and 11 bytes more are over "
                       "the bound of 20000");
    ck_assert_uint_eq (retry_after_ms, 1);
    //  What can never be has no better time.
    ck_assert_refused (s_admit (&other, 3, 20001, &retry_after_ms), GPB_RESOURCE_EXHAUSTED,
                       "20001 bytes: at most 20000 may wait for this client");
    ck_assert_uint_eq (retry_after_ms, 0);
    s_close ();
}
END_TEST

static void
s_open_bounded (gpb_amount_t node, gpb_amount_t device)
{
    const gpb_placement_options_t options = {
        .node = node, .device = device, .client = { 1000, 1000000 }, .aging_ns = GPB_NS_PER_S
    };
    s_open (2);
    gpb_placement_destroy (&s_placement);
    s_placement = gpb_placement_new (2, &options, &error);
    for (unsigned index = 0; index < 2; index++)
        s_device (index)->state = GPB_DEVICE_READY;
}

//  A client asks for room, and has one more waiting where it gets it.
static bool
s_ask (gpb_tenant_t *tenant, unsigned number, uint64_t devices, uint64_t size)
{
    gpb_arrival_t arrival = {
        .client = &tenant->waiting, .key = tenant->key, .devices = devices, .size = size
    };
    uint32_t retry_after_ms;
    if (gpb_placement_admit (s_placement, &arrival, &retry_after_ms, &error) != GPB_OK)
        return false;
    gpb_entry_t *entry = &s_entries [number];
    *entry = (gpb_entry_t){ .slot = number, .size = size, .tenant = tenant, .devices = devices };
    ck_assert_ok (gpb_placement_queue (s_placement, entry, ++s_clock_ns, &error));
    return true;
}

//  As often as it gets it; gives how often that was.
static unsigned
s_ask_all (gpb_tenant_t *tenant, unsigned first, uint64_t devices, uint64_t size)
{
    unsigned count = 0;
    while (s_ask (tenant, first + count, devices, size))
        count++;
    return count;
}

static void
s_close_with (gpb_tenant_t *tenants, size_t count)
{
    for (unsigned number = 0; number < ENTRIES; number++) {
        if (s_entries [number].flow)
            gpb_placement_unqueue (s_placement, &s_entries [number]);
        s_entries [number].flow = NULL;
    }
    ck_assert_uint_eq (s_waiting ()->requests, 0);
    ck_assert_uint_eq (s_waiting ()->size, 0);
    for (size_t index = 0; index < count; index++) {
        ck_assert_uint_eq (tenants [index].waiting.all.requests, 0);
        ck_assert_uint_eq (tenants [index].waiting.alone [1].size, 0);
        gpb_tenant_clear (&tenants [index]);
    }
    s_close ();
}

START_TEST (test_what_one_device_alone_may_have_is_bounded_apart)
{
    gpb_tenant_t tenants [2] = { { .depth = 0 }, { .depth = 0 } };
    uint32_t retry_after_ms;
    s_open_bounded ((gpb_amount_t){ 12, 10000 }, (gpb_amount_t){ 6, 10000 });
    ck_assert_uint_eq (s_ask_all (&tenants [0], 0, 2, 10), 3);
    ck_assert_ptr_nonnull (strstr (error.text,
                                   "3 requests wait for its device alone, 3 of them of this "
                                   "client, which may have as many as are left of 6"));
    ck_assert_uint_eq (gpb_placement_waiting (s_placement)->alone [1].requests, 3);
    ck_assert_uint_eq (gpb_placement_waiting (s_placement)->alone [1].size, 30);
    ck_assert_uint_eq (gpb_placement_waiting (s_placement)->alone [0].requests, 0);
    ck_assert_ok (s_admit (NULL, 2, 10, &retry_after_ms));
    //  What another device may have does not count there.
    ck_assert_uint_eq (s_ask_all (&tenants [0], 3, 3, 10), 3);
    ck_assert_ptr_nonnull (
        strstr (error.text, "6 requests wait on this node, 6 of them of this client"));
    ck_assert_uint_eq (gpb_placement_waiting (s_placement)->alone [1].requests, 3);
    ck_assert_uint_eq (s_ask_all (&tenants [1], 6, 1, 10), 3);
    ck_assert_uint_eq (gpb_placement_waiting (s_placement)->alone [0].requests, 3);
    s_close_with (tenants, 2);
}
END_TEST

START_TEST (test_a_client_has_as_much_as_it_leaves)
{
    gpb_tenant_t tenants [4] = { { .depth = 0 } };
    uint32_t retry_after_ms;
    s_open_bounded ((gpb_amount_t){ 160, 1000000 }, (gpb_amount_t){ 80, 1000000 });
    ck_assert_uint_eq (s_ask_all (&tenants [0], 0, 1, 1), 40);
    ck_assert_uint_eq (s_ask_all (&tenants [1], 40, 1, 1), 20);
    ck_assert_uint_eq (s_ask_all (&tenants [2], 60, 1, 1), 10);
    ck_assert_uint_eq (s_ask_all (&tenants [3], 70, 1, 1), 5);
    ck_assert_ptr_nonnull (strstr (error.text, "75 requests wait for its device alone, 5 of them"));
    //  The others of the node's belong to the other device; who has none there has the most of it.
    ck_assert (s_ask (&tenants [0], 75, 2, 1));
    ck_assert_uint_eq (s_ask_all (&tenants [3], 76, 2, 1), 39);
    s_close_with (tenants, 4);

    //  In bytes likewise.
    s_open_bounded ((gpb_amount_t){ 1000, 800 }, (gpb_amount_t){ 1000, 400 });
    ck_assert_refused (s_admit (NULL, 1, 201, &retry_after_ms), GPB_RESOURCE_EXHAUSTED,
                       "201 bytes: of the 400 that may wait for its device alone, this client may "
                       "have half");
    ck_assert_uint_eq (retry_after_ms, 0);
    ck_assert (s_ask (&tenants [0], 0, 1, 200));
    ck_assert (!s_ask (&tenants [0], 1, 1, 1));
    ck_assert (!s_ask (&tenants [1], 1, 1, 101));
    ck_assert_ptr_nonnull (strstr (error.text, "200 bytes wait for its device alone, 0 of them"));
    ck_assert (s_ask (&tenants [1], 1, 1, 100));
    ck_assert_refused (s_admit (NULL, 3, 401, &retry_after_ms), GPB_RESOURCE_EXHAUSTED,
                       "401 bytes: of the 800 that may wait on this node");
    ck_assert_uint_eq (s_ask_all (&tenants [0], 2, 3, 50), 3);    //  350, and 350 left
    s_close_with (tenants, 4);
}
END_TEST

//  Once what waits has moved on, whoever was first has no more than the others.
START_TEST (test_greedy_clients_come_to_equal_shares_and_leave_one)
{
    enum { GREEDY = 4, BOUND = 200, ROUNDS = 2000 };
    gpb_tenant_t tenants [GREEDY + 1] = { { .depth = 0 } };
    s_open_bounded ((gpb_amount_t){ BOUND, 1000000 }, (gpb_amount_t){ BOUND, 1000000 });
    s_set_pace (0, 1000);
    unsigned free_numbers [ENTRIES], free_count = 0;
    for (unsigned number = ENTRIES; number-- > 0;)
        free_numbers [free_count++] = number;
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned client = 0; client < GREEDY; client++)
            while (s_ask (&tenants [client], free_numbers [free_count - 1], 1, 1))
                free_count--;
        gpb_entry_t *next = s_next ();
        ck_assert_ptr_nonnull (next);
        gpb_placement_answered (s_placement, next, true, s_clock_ns += 1000);
        free_numbers [free_count++] = next->slot;
    }
    const uint64_t share = BOUND / (GREEDY + 1);
    for (unsigned client = 0; client < GREEDY; client++) {
        ck_assert_uint_ge (tenants [client].waiting.all.requests, share - 2);
        ck_assert_uint_le (tenants [client].waiting.all.requests, share + 2);
    }
    //  At once half of it, and all of it as the others' goes down.
    unsigned count = 0;
    for (; s_ask (&tenants [GREEDY], free_numbers [free_count - 1], 1, 1); count++)
        free_count--;
    ck_assert_uint_ge (count, share / 2);
    s_close_with (tenants, GREEDY + 1);
}
END_TEST

START_TEST (test_a_keys_connections_have_one_share_together)
{
    static gpb_waiting_t key;
    gpb_tenant_t tenants [3] = { { .key = &key }, { .key = &key }, { .depth = 0 } };
    s_open_bounded ((gpb_amount_t){ 80, 1000 }, (gpb_amount_t){ 80, 1000 });
    ck_assert_uint_eq (s_ask_all (&tenants [0], 0, 1, 1), 40);
    ck_assert (!s_ask (&tenants [1], 40, 1, 1));
    ck_assert_ptr_nonnull (
        strstr (error.text,
                "40 requests wait for its device alone, 40 of them of this key, which may"));
    ck_assert (!s_ask (&tenants [1], 40, 3, 1));
    ck_assert_ptr_nonnull (
        strstr (error.text, "40 requests wait on this node, 40 of them of this key"));
    ck_assert_uint_eq (s_ask_all (&tenants [2], 40, 1, 1), 20);
    s_close_with (tenants, 3);
    ck_assert_uint_eq (key.all.requests, 0);
    ck_assert_uint_eq (key.alone [0].requests, 0);
}
END_TEST

START_TEST (test_memory_on_its_way_to_a_device_is_not_promised_twice)
{
    s_open (1);
    gpb_entry_t *rent = s_queue (0, 1);
    rent->memory = 600;
    ck_assert_ok (s_fit ((gpb_constraints_t){ .memory = 600 }, 1));    //  it waits: nothing is sure
    ck_assert_ptr_eq (s_next (), rent);
    ck_assert_refused (s_fit ((gpb_constraints_t){ .memory = 600 }, 0), GPB_RESOURCE_EXHAUSTED,
                       "has 400 bytes available of the 600");
    s_device (0)->available_memory = 500;    //  the device has counted it already
    ck_assert_refused (s_fit ((gpb_constraints_t){ .memory = 1 }, 0), GPB_RESOURCE_EXHAUSTED,
                       "has 0 bytes available");
    gpb_placement_answered (s_placement, rent, true, s_clock_ns);
    ck_assert_ok (s_fit ((gpb_constraints_t){ .memory = 500 }, 1));
    s_close ();
}
END_TEST

START_TEST (test_turns_are_of_device_time)
{
    s_open (1);
    gpb_tenant_t quick = { .cost_ns = 10000 }, slow = { .cost_ns = GPB_NS_PER_MS };
    for (unsigned number = 0; number < 200; number++) {
        gpb_entry_t *entry = &s_entries [number];
        *entry = (gpb_entry_t){
            .slot = number, .devices = 1, .size = 10, .tenant = number % 2 ? &quick : &slow
        };
        ck_assert_ok (gpb_placement_queue (s_placement, entry, s_clock_ns, &error));
    }
    unsigned of_slow = 0;
    s_set_pace (0, 1);
    for (unsigned count = 0; count < 64; count++) {
        gpb_entry_t *next = s_next ();
        of_slow += next->tenant == &slow ? 1 : 0;
    }
    //  A hundred of the quick one's cost as much as one of the slow one's.
    ck_assert_uint_ge (of_slow, 1);
    ck_assert_uint_le (of_slow, 2);
    for (unsigned number = 0; number < 200; number++)
        if (s_entries [number].flow)
            gpb_placement_unqueue (s_placement, &s_entries [number]);
    gpb_tenant_clear (&quick);
    gpb_tenant_clear (&slow);
    s_close ();
}
END_TEST

START_TEST (test_what_gets_no_memory_is_refused)
{
    for (int64_t after = 0; after < 2; after++) {
        gpb_alloc_fail (after, 0);
        ck_assert_ptr_null (gpb_placement_new (4, &s_options, &error));
        gpb_alloc_fail (-1, 0);
        ck_assert_refused (error.status, GPB_RESOURCE_EXHAUSTED, "4 devices");
    }
    s_open (1);
    gpb_entry_t entry = { .devices = 1, .tenant = &s_tenant };
    gpb_alloc_fail (0, 0);
    gpb_status_t status = gpb_placement_queue (s_placement, &entry, s_clock_ns, &error);
    gpb_alloc_fail (-1, 0);
    ck_assert_refused (status, GPB_RESOURCE_EXHAUSTED, "queue");
    ck_assert_uint_eq (s_waiting ()->requests, 0);
    ck_assert_ptr_null (s_next ());
    s_close ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Devices that are lost, and come back

START_TEST (test_requests_wait_for_a_device_that_comes_back)
{
    s_open (2);
    s_device (0)->info.total_memory = 2000;
    gpb_placement_lost (s_placement, 0, "it crashed", false);
    gpb_placement_lost (s_placement, 1, "it burns", true);
    ck_assert_uint_eq (s_device (0)->available_memory, 0);
    ck_assert_ok (s_fit ((gpb_constraints_t){ .has_device = false }, 1));
    ck_assert_ok (s_fit ((gpb_constraints_t){ .memory = 2000 }, 1));    //  all of it is free then
    ck_assert_refused (s_fit ((gpb_constraints_t){ .memory = 2001 }, 0), GPB_RESOURCE_EXHAUSTED,
                       "device 1 (card 1) is not ready: it burns");
    gpb_entry_t *entry = s_queue (0, 1);
    ck_assert_ptr_null (s_next ());
    gpb_placement_ready (s_placement, 0, s_clock_ns);
    ck_assert_str_eq (s_device (0)->reason, "");
    ck_assert_ptr_eq (s_next (), entry);
    s_close ();
}
END_TEST

//  For a second: what makes it crash again takes nothing else along.
START_TEST (test_a_device_that_is_back_gets_one_request_at_a_time)
{
    s_open (1);
    gpb_entry_t *entries [3];
    gpb_placement_lost (s_placement, 0, "it crashed", false);
    for (unsigned index = 0; index < 3; index++)
        entries [index] = s_queue (index, 1);
    gpb_placement_ready (s_placement, 0, s_clock_ns);
    ck_assert_ptr_eq (s_next (), entries [0]);
    ck_assert_ptr_null (s_next ());
    gpb_placement_answered (s_placement, entries [0], true, s_clock_ns + 1);
    ck_assert_ptr_eq (s_next (), entries [1]);
    ck_assert_ptr_null (s_next ());
    s_clock_ns += GPB_NS_PER_S;
    ck_assert_ptr_eq (s_next (), entries [2]);

    //  One that has just started is trusted.
    s_close ();
    s_open (1);
    s_device (0)->state = GPB_DEVICE_STARTING;
    gpb_placement_ready (s_placement, 0, s_clock_ns);
    s_queue (0, 1);
    s_queue (1, 1);
    ck_assert_ptr_nonnull (s_next ());
    ck_assert_ptr_nonnull (s_next ());
    s_close ();
}
END_TEST

GPB_TEST_MAIN (
    "gpb_placement", 20, test_devices_are_looked_up_by_index,
    test_a_device_that_does_not_fit_says_why, test_the_reasons_of_many_devices_do_not_overflow,
    test_without_devices_the_notice_says_why,
    test_a_credit_covers_a_millisecond_between_2_and_64_requests,
    test_the_pace_is_measured_from_answers, test_what_an_executor_says_that_it_took_is_its_pace,
    test_requests_that_overlap_on_a_device_make_its_pace_faster,
    test_the_idle_device_wins_over_the_busy_one_with_more_memory,
    test_the_least_expected_wait_counts_what_is_in_flight,
    test_what_is_bound_to_one_device_blocks_nobody, test_first_come_is_first_served_across_queues,
    test_what_leaves_its_queue_leaves_the_others_in_order,
    test_each_bound_says_itself_the_depth_and_when_to_try_again,
    test_what_one_device_alone_may_have_is_bounded_apart, test_a_client_has_as_much_as_it_leaves,
    test_greedy_clients_come_to_equal_shares_and_leave_one,
    test_a_keys_connections_have_one_share_together,
    test_memory_on_its_way_to_a_device_is_not_promised_twice, test_turns_are_of_device_time,
    test_what_gets_no_memory_is_refused, test_requests_wait_for_a_device_that_comes_back,
    test_a_device_that_is_back_gets_one_request_at_a_time)
