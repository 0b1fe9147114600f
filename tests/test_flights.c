//  Tests of gpb_flights: what was handed over is found until it is closed, in its order.

#include "gpb_alloc.h"
#include "gpb_flights.h"
#include "gpb_test.h"

static gpb_error_t error;
static gpb_flights_t *s_flights;

static const gpb_flight_t *
s_add (uint64_t owner, uint64_t now_ns)
{
    const gpb_hop_t hop = { .magic = GPB_HOP_MAGIC, .owner = owner };
    zmq_msg_t header;
    zmq_msg_init_size (&header, 100);
    const gpb_flight_t *flight = gpb_flights_add (s_flights, &hop, &header, now_ns, &error);
    zmq_msg_close (&header);
    return flight;
}

static void
s_close (uint32_t slot, uint32_t generation, uint64_t now_ns)
{
    const gpb_flight_t *flight = gpb_flights_at (s_flights, slot, generation);
    ck_assert_ptr_nonnull (flight);
    gpb_flights_close (s_flights, flight, now_ns);
}

START_TEST (test_a_flight_is_found_by_slot_and_generation_until_it_is_closed)
{
    s_flights = gpb_flights_new (&error);
    ck_assert_ptr_null (gpb_flights_at (s_flights, 0, 0));
    gpb_flight_t one = *s_add (7, 1);
    ck_assert_uint_eq (gpb_flights_at (s_flights, one.slot, one.generation)->hop.owner, 7);
    ck_assert_ptr_null (gpb_flights_at (s_flights, one.slot, one.generation + 1));
    ck_assert_ptr_null (gpb_flights_at (s_flights, UINT32_MAX, 0));
    s_close (one.slot, one.generation, 2);
    ck_assert_ptr_null (gpb_flights_at (s_flights, one.slot, one.generation));
    gpb_flight_t other = *s_add (8, 3);
    ck_assert_uint_eq (other.slot, one.slot);
    ck_assert_ptr_null (gpb_flights_at (s_flights, one.slot, one.generation));
    gpb_flights_destroy (&s_flights);
    ck_assert_ptr_null (s_flights);
}
END_TEST

//  How long the oldest has been the oldest starts anew with each that becomes it, and with no
//  other.
START_TEST (test_the_oldest_is_the_one_handed_over_first_of_those_left)
{
    s_flights = gpb_flights_new (&error);
    ck_assert_ptr_null (gpb_flights_oldest (s_flights));
    gpb_flight_t flights [4];
    for (unsigned index = 0; index < 4; index++)
        flights [index] = *s_add (index, 10 + index);
    ck_assert_uint_eq (gpb_flights_oldest (s_flights)->hop.owner, 0);
    ck_assert_uint_eq (gpb_flights_oldest_since_ns (s_flights), 10);
    s_close (flights [2].slot, flights [2].generation, 50);
    ck_assert_uint_eq (gpb_flights_oldest_since_ns (s_flights), 10);
    s_close (flights [0].slot, flights [0].generation, 60);
    ck_assert_uint_eq (gpb_flights_oldest (s_flights)->hop.owner, 1);
    ck_assert_uint_eq (gpb_flights_oldest_since_ns (s_flights), 60);
    s_close (flights [1].slot, flights [1].generation, 70);
    ck_assert_uint_eq (gpb_flights_oldest (s_flights)->hop.owner, 3);
    s_close (flights [3].slot, flights [3].generation, 80);
    ck_assert_ptr_null (gpb_flights_oldest (s_flights));
    s_add (9, 90);
    ck_assert_uint_eq (gpb_flights_oldest_since_ns (s_flights), 90);
    gpb_flights_destroy (&s_flights);
}
END_TEST

START_TEST (test_many_are_kept_apart)
{
    enum { COUNT = 10000 };
    static gpb_flight_t flights [COUNT];
    s_flights = gpb_flights_new (&error);
    for (unsigned index = 0; index < COUNT; index++)
        flights [index] = *s_add (index, 1);
    for (unsigned index = 0; index < COUNT; index++) {
        const gpb_flight_t *flight =
            gpb_flights_at (s_flights, flights [index].slot, flights [index].generation);
        ck_assert_uint_eq (flight->hop.owner, index);
        ck_assert_uint_eq (zmq_msg_size ((zmq_msg_t *) &flight->header), 100);
    }
    for (unsigned index = 0; index < COUNT; index += 2)
        s_close (flights [index].slot, flights [index].generation, 2);
    ck_assert_uint_eq (gpb_flights_oldest (s_flights)->hop.owner, 1);
    gpb_flights_destroy (&s_flights);    //  with those that are open
}
END_TEST

START_TEST (test_without_memory_it_refuses)
{
    gpb_alloc_fail (0, 0);
    ck_assert_ptr_null (gpb_flights_new (&error));
    gpb_alloc_fail (-1, 0);
    s_flights = gpb_flights_new (&error);
    gpb_alloc_fail (0, 0);
    ck_assert_ptr_null (s_add (1, 1));
    gpb_alloc_fail (-1, 0);
    ck_assert_int_eq (error.status, GPB_RESOURCE_EXHAUSTED);
    ck_assert_ptr_nonnull (s_add (1, 1));
    gpb_flights_destroy (&s_flights);
}
END_TEST

GPB_TEST_MAIN ("gpb_flights", 20, test_a_flight_is_found_by_slot_and_generation_until_it_is_closed,
               test_the_oldest_is_the_one_handed_over_first_of_those_left, test_many_are_kept_apart,
               test_without_memory_it_refuses)
