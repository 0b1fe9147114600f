//  Tests of gpb_queue: who is next, by priority, turn, deadline and coming; nobody waits for ever;
//  what names memory keeps its order.

#include "gpb_test.h"

#include "gpb_alloc.h"
#include "gpb_queue.h"

#include <stdlib.h>

#define ENTRIES 2000
#define CLIENTS 5
#define AGING_NS 1000

static gpb_error_t error;
static gpb_queue_clock_t s_clock;
static gpb_queue_t *s_queue;
static gpb_tenant_t s_clients [CLIENTS];
static gpb_entry_t s_entries [ENTRIES];
static uint64_t s_now_ns;

static void
s_open (void)
{
    s_clock = (gpb_queue_clock_t){ .aging_ns = AGING_NS };
    s_queue = gpb_queue_new (1, &s_clock);
    ck_assert_ptr_nonnull (s_queue);
    memset (s_clients, 0, sizeof s_clients);
    s_now_ns = 1;
}

static void
s_close (void)
{
    for (unsigned client = 0; client < CLIENTS; client++) {
        ck_assert_uint_eq (s_clients [client].depth, 0);
        ck_assert_ptr_null (s_clients [client].bound_last);
        gpb_tenant_clear (&s_clients [client]);
    }
    ck_assert_uint_eq (gpb_queue_depth (s_queue), 0);
    gpb_queue_destroy (&s_queue);
    ck_assert_ptr_null (s_queue);
}

static gpb_entry_t *
s_add (unsigned number, unsigned client, int priority, uint64_t deadline_ns)
{
    gpb_entry_t *entry = &s_entries [number];
    *entry = (gpb_entry_t){ .slot = number,
                            .tenant = &s_clients [client],
                            .priority = priority,
                            .deadline = { .key = deadline_ns },
                            .size = 1 + number };
    ck_assert_ok (gpb_queue_add (s_queue, entry, s_now_ns, &error));
    return entry;
}

static gpb_entry_t *
s_add_bound (unsigned number, unsigned client, int priority, uint64_t deadline_ns)
{
    gpb_entry_t *entry = &s_entries [number];
    *entry = (gpb_entry_t){ .slot = number,
                            .tenant = &s_clients [client],
                            .priority = priority,
                            .deadline = { .key = deadline_ns },
                            .is_bound = true };
    ck_assert_ok (gpb_queue_add (s_queue, entry, s_now_ns, &error));
    return entry;
}

//  Takes the next one and charges its client.
static gpb_entry_t *
s_take (uint64_t cost_ns)
{
    gpb_entry_t *entry = gpb_queue_first (s_queue);
    if (entry) {
        gpb_queue_take (entry, s_now_ns);
        gpb_tenant_charge (entry->tenant, &s_clock, cost_ns);
    }
    return entry;
}

static void
s_expect (unsigned number, uint64_t cost_ns)
{
    gpb_entry_t *entry = s_take (cost_ns);
    ck_assert_ptr_nonnull (entry);
    ck_assert_uint_eq (entry->slot, number);
}

START_TEST (test_the_higher_priority_is_first_then_the_earlier_deadline)
{
    s_open ();
    s_add (0, 0, 0, 50);
    s_add (1, 0, -3, 1);
    s_add (2, 0, 3, 90);
    s_add (3, 0, 0, 40);
    s_add (4, 0, 3, 80);
    s_add (5, 0, 0, 40);
    s_add (6, 0, -1, 10);
    ck_assert_uint_eq (gpb_queue_depth (s_queue), 7);
    ck_assert_uint_eq (gpb_queue_depth_at (s_queue, 6), 2);
    ck_assert_uint_eq (gpb_queue_depth_at (s_queue, 3), 3);
    ck_assert_uint_eq (gpb_queue_depth_at (s_queue, 0), 1);
    ck_assert_uint_eq (s_clients [0].depth, 7);
    const unsigned order [] = { 4, 2, 3, 5, 0, 6, 1 };
    for (unsigned index = 0; index < 7; index++)
        s_expect (order [index], 100);
    ck_assert_ptr_null (s_take (0));
    s_close ();
}
END_TEST

START_TEST (test_between_clients_of_one_turn_the_earlier_deadline_is_first)
{
    s_open ();
    s_add (0, 0, 0, 50);
    s_add (1, 1, 0, 40);
    s_add (2, 2, 0, 45);
    s_expect (1, 10);
    s_expect (2, 10);
    s_expect (0, 10);
    s_close ();
}
END_TEST

START_TEST (test_a_client_that_floods_waits_for_itself)
{
    s_open ();
    //  With deadlines that no honest client could beat.
    for (unsigned number = 0; number < 1000; number++)
        s_add (number, 0, 0, 1);
    for (unsigned round = 0; round < 20; round++) {
        s_add (1000 + round, 1, 0, 1000000);
        unsigned before = 0;
        while (s_take (GPB_QUEUE_TURN_NS)->tenant != &s_clients [1])
            before++;
        ck_assert_uint_le (before, 1);
    }
    while (s_take (1))
        ;
    s_close ();
}
END_TEST

START_TEST (test_nobody_saves_up_turns_while_it_asks_for_nothing)
{
    s_open ();
    for (unsigned number = 0; number < 200; number++)
        s_add (number, 0, 0, 1);
    for (unsigned count = 0; count < 100; count++)
        s_take (GPB_QUEUE_TURN_NS);
    //  One that was away gets its share from now on, not the 100 turns that it did not want.
    for (unsigned number = 200; number < 300; number++)
        s_add (number, 1, 0, 1);
    unsigned turns [2] = { 0, 0 };
    for (unsigned count = 0; count < 100; count++)
        turns [s_take (GPB_QUEUE_TURN_NS)->tenant - s_clients]++;
    ck_assert_uint_ge (turns [0], 49);
    ck_assert_uint_ge (turns [1], 49);
    while (s_take (1))
        ;
    s_close ();
}
END_TEST

START_TEST (test_who_pays_more_for_each_request_gets_fewer)
{
    s_open ();
    for (unsigned number = 0; number < 600; number++)
        s_add (number, number % 2, 0, 1);
    unsigned turns [2] = { 0, 0 };
    for (unsigned count = 0; count < 330; count++) {
        gpb_entry_t *entry = gpb_queue_first (s_queue);
        gpb_queue_remove (entry);
        bool is_slow = entry->tenant == &s_clients [0];
        gpb_tenant_charge (entry->tenant, &s_clock,
                           is_slow ? 10 * GPB_QUEUE_TURN_NS : GPB_QUEUE_TURN_NS);
        turns [is_slow ? 0 : 1]++;
    }
    ck_assert_uint_ge (turns [0], 28);
    ck_assert_uint_le (turns [0], 32);
    while (s_take (1))
        ;
    s_close ();
}
END_TEST

START_TEST (test_what_waits_long_goes_up_until_it_is_first)
{
    s_open ();
    s_add (0, 0, -3, 1000000);
    unsigned number = 1;
    //  Ever new requests of the highest priority, as fast as they are served.
    bool was_served = false;
    for (; number < 100 && !was_served; number++) {
        s_add (number, 1, 3, s_now_ns + 500);
        s_now_ns += AGING_NS / 4;
        gpb_queue_age (s_queue, s_now_ns);
        was_served = s_take (GPB_QUEUE_TURN_NS)->slot == 0;
    }
    ck_assert (was_served);
    ck_assert_uint_ge (number, 6 * 4);    //  not before it has waited its way up
    ck_assert_uint_le (number, 6 * 4 + 6);
    ck_assert_uint_eq (s_clock.aged, 6);
    while (s_take (1))
        ;
    s_close ();
}
END_TEST

START_TEST (test_aging_is_one_step_a_time_and_ends_at_the_top)
{
    s_open ();
    s_add (0, 0, 2, 1);
    s_add (1, 0, 3, 2);
    s_now_ns += AGING_NS - 1;
    gpb_queue_age (s_queue, s_now_ns);
    ck_assert_uint_eq (gpb_queue_depth_at (s_queue, 5), 1);
    s_now_ns++;
    gpb_queue_age (s_queue, s_now_ns);
    ck_assert_uint_eq (gpb_queue_depth_at (s_queue, 5), 0);
    ck_assert_uint_eq (gpb_queue_depth_at (s_queue, 6), 2);
    s_now_ns += 100 * AGING_NS;
    gpb_queue_age (s_queue, s_now_ns);
    ck_assert_uint_eq (s_clock.aged, 1);
    s_expect (0, 0);
    s_expect (1, 0);
    s_close ();
}
END_TEST

START_TEST (test_a_flood_does_not_age_past_others)
{
    enum { FLOOD = 100 };
    s_open ();
    for (unsigned number = 0; number < FLOOD; number++)
        s_add (number, 0, 0, 1000000);
    //  It is served all the time, and what is last in it waits for five times aging_ns.
    for (unsigned number = 0; number < FLOOD / 2; number++) {
        s_now_ns += AGING_NS / 10;
        gpb_queue_age (s_queue, s_now_ns);
        ck_assert_uint_lt (s_take (GPB_QUEUE_TURN_NS)->slot, FLOOD);
    }
    ck_assert_uint_eq (s_clock.aged, 0);
    s_add (FLOOD, 1, 0, 2000000);
    s_expect (FLOOD, GPB_QUEUE_TURN_NS);
    //  When it gets nothing any more, because of what matters more, it goes up.
    s_now_ns += 2 * AGING_NS;
    gpb_queue_age (s_queue, s_now_ns);
    ck_assert_uint_eq (gpb_queue_depth_at (s_queue, 4), FLOOD / 2);
    while (s_take (1))
        ;
    s_close ();
}
END_TEST

START_TEST (test_what_names_memory_keeps_its_order_whatever_it_says_of_itself)
{
    s_open ();
    s_add_bound (0, 0, -2, 500);    //  a write, then what reads it
    s_add_bound (1, 0, 3, 5);
    s_add_bound (2, 0, 0, 600);
    s_add_bound (3, 0, 1, 1);
    s_add (4, 0, -1, 700);         //  has nothing to do with them
    s_add_bound (5, 1, 0, 700);    //  nor has another client
    s_expect (5, 0);
    s_expect (4, 0);
    for (unsigned number = 0; number < 4; number++)
        s_expect (number, 0);
    s_close ();
}
END_TEST

START_TEST (test_the_order_outlasts_aging_and_cancels)
{
    s_open ();
    for (unsigned seed = 1; seed <= 50; seed++) {
        srand (seed);
        bool waits [60];
        for (unsigned number = 0; number < 60; number++) {
            s_add_bound (number, 0, rand () % 7 - 3, (uint64_t) rand () % 100);
            waits [number] = true;
            s_now_ns += (uint64_t) rand () % 300;
            gpb_queue_age (s_queue, s_now_ns);
            unsigned victim = (unsigned) rand () % 60;
            if (victim <= number && waits [victim] && rand () % 3 == 0) {
                gpb_queue_remove (&s_entries [victim]);
                waits [victim] = false;
            }
        }
        unsigned last = 0;
        gpb_entry_t *entry;
        while ((entry = s_take ((uint64_t) rand () % GPB_QUEUE_TURN_NS))) {
            ck_assert (waits [entry->slot]);
            ck_assert_uint_ge (entry->slot, last);
            last = entry->slot;
            s_now_ns += (uint64_t) rand () % 300;
            gpb_queue_age (s_queue, s_now_ns);
        }
    }
    s_close ();
}
END_TEST

//  Against a plain list, in which the next one is looked for by the rules themselves.
static bool
s_goes_before (const gpb_entry_t *one, const gpb_entry_t *other)
{
    if (one->level != other->level)
        return one->level > other->level;
    uint64_t one_turn = one->tenant->served_ns / GPB_QUEUE_TURN_NS;
    uint64_t other_turn = other->tenant->served_ns / GPB_QUEUE_TURN_NS;
    if (one_turn != other_turn)
        return one_turn < other_turn;
    return one->deadline.key < other->deadline.key;
}

START_TEST (test_the_queue_agrees_with_a_plain_list)
{
    s_open ();
    srand (4);
    bool waits [ENTRIES] = { false };
    uint64_t depth = 0;
    const unsigned steps = getenv ("GPB_TEST_SLOW") ? 3000 : 30000;
    for (unsigned step = 0; step < steps; step++) {
        unsigned number = (unsigned) rand () % ENTRIES;
        s_now_ns += 3;
        if (rand () % 2 && !waits [number]) {
            s_add (number, (unsigned) rand () % CLIENTS, rand () % 7 - 3,
                   (uint64_t) rand () % 1000);
            waits [number] = true;
            depth++;
        }
        else if (rand () % 8 == 0 && waits [number]) {
            gpb_queue_remove (&s_entries [number]);
            waits [number] = false;
            depth--;
        }
        else if (depth) {
            gpb_queue_age (s_queue, s_now_ns);
            gpb_entry_t *first = gpb_queue_first (s_queue);
            ck_assert (waits [first->slot]);
            for (unsigned other = 0; step % 16 == 0 && other < ENTRIES; other++)
                ck_assert (!waits [other] || !s_goes_before (&s_entries [other], first));
            gpb_queue_remove (first);
            waits [first->slot] = false;
            depth--;
            gpb_tenant_charge (first->tenant, &s_clock,
                               (uint64_t) rand () % (2 * GPB_QUEUE_TURN_NS));
        }
        ck_assert_uint_eq (gpb_queue_depth (s_queue), depth);
        uint64_t sum = 0;
        for (unsigned level = 0; level < GPB_QUEUE_LEVELS; level++)
            sum += gpb_queue_depth_at (s_queue, level);
        ck_assert_uint_eq (sum, depth);
    }
    while (s_take (1))
        ;
    s_close ();
}
END_TEST

START_TEST (test_memory_that_runs_out_changes_nothing)
{
    for (int64_t after = 0;; after++) {
        s_clock = (gpb_queue_clock_t){ .aging_ns = AGING_NS };
        memset (s_clients, 0, sizeof s_clients);
        gpb_alloc_fail (after, 0);
        s_queue = gpb_queue_new (1, &s_clock);
        unsigned added = 0;
        for (unsigned number = 0; s_queue && number < 40; number++) {
            gpb_entry_t *entry = &s_entries [number];
            *entry = (gpb_entry_t){ .tenant = &s_clients [number % 2], .is_bound = true };
            gpb_status_t status = gpb_queue_add (s_queue, entry, 0, &error);
            if (status == GPB_OK)
                added++;
            else
                ck_assert_refused (status, GPB_RESOURCE_EXHAUSTED, "no memory for a queue");
        }
        for (unsigned level = 0; s_queue && level < 3; level++)
            gpb_queue_age (s_queue, (level + 1) * AGING_NS);
        bool done = gpb_alloc_fail (-1, 0) <= (uint64_t) after;
        if (s_queue) {
            ck_assert_uint_eq (gpb_queue_depth (s_queue), added);
            unsigned taken = 0;
            while (s_take (1))
                taken++;
            ck_assert_uint_eq (taken, added);
            s_close ();
        }
        if (done)
            break;
    }
}
END_TEST

GPB_TEST_MAIN ("gpb_queue", 20, test_the_higher_priority_is_first_then_the_earlier_deadline,
               test_between_clients_of_one_turn_the_earlier_deadline_is_first,
               test_a_client_that_floods_waits_for_itself,
               test_nobody_saves_up_turns_while_it_asks_for_nothing,
               test_who_pays_more_for_each_request_gets_fewer,
               test_what_waits_long_goes_up_until_it_is_first,
               test_aging_is_one_step_a_time_and_ends_at_the_top,
               test_a_flood_does_not_age_past_others,
               test_what_names_memory_keeps_its_order_whatever_it_says_of_itself,
               test_the_order_outlasts_aging_and_cancels, test_the_queue_agrees_with_a_plain_list,
               test_memory_that_runs_out_changes_nothing)
