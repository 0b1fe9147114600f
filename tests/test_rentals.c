//  Tests of gpb_rentals, with a pool behind it and no device's actor in front: leases come with
//  their tickets, and a buffer goes back when its last user is done.

#include "gpb_test.h"

#include "gpb_codec.h"
#include "gpb_rentals.h"
#include "gpb_test_actor.h"

#define SIZE 4096

static gpb_error_t error;
static gpb_config_t *s_config;
static gpb_shared_context_t *s_shared;
static gpb_rentals_t *s_rentals;
static uint64_t s_baseline;

static const gpb_owner_t s_anna = { .connection = 1 }, s_behind = { .connection = 1, .behind = 5 },
                         s_bert = { .connection = 2 };

//  What the driver has, and what the pool has and nobody else.
static uint64_t
s_free_size (void)
{
    uint64_t size = 0;
    ck_assert_ok (s_shared->operations->memory_free (s_shared->context, &size, &error));
    return size + (s_rentals ? gpb_rentals_holding (s_rentals)->idle : 0);
}

static void
s_open (void)
{
    s_config = gpb_test_actor_config ("fake", NULL);
    s_shared = gpb_shared_context_open ("fake", 0, 1, true, &error);
    ck_assert_msg (s_shared != NULL, "%s", error.text);
    s_rentals = gpb_rentals_new (s_config, s_shared, NULL, &error);
    ck_assert_msg (s_rentals != NULL, "%s", error.text);
    s_baseline = s_free_size ();
}

static void
s_close (void)
{
    gpb_rentals_destroy (&s_rentals);
    ck_assert_uint_eq (s_free_size (), s_baseline);
    gpb_shared_context_release (&s_shared);
    gpb_config_destroy (&s_config);
}

static void
s_ask (const gpb_owner_t *owner, uint32_t number, uint64_t size)
{
    Gpb__V1__Rent rent = GPB__V1__RENT__INIT;
    rent.size = size;
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    request.version = 1;
    request.id = 100 + number;
    request.body_case = GPB__V1__REQUEST__BODY_RENT;
    request.rent = &rent;
    zmq_msg_t header;
    zmq_msg_init (&header);
    ck_assert_ok (gpb_codec_pack (&request.base, &header, &error));
    gpb_ticket_t ticket = { .number = number, .generation = 9 };
    ck_assert_ok (gpb_rentals_rent (s_rentals, owner, ticket, &rent, &header, &error));
    zmq_msg_close (&header);
}

//  The next answer for somebody: for whom, its status, and a rent's handle.
static gpb_status_t
s_answer (uint32_t number, uint64_t *handle_p)
{
    zmq_msg_t header;
    zmq_msg_init (&header);
    gpb_ticket_t ticket = { 0 };
    while (!gpb_rentals_recv (s_rentals, &ticket, &header)) {
        zmq_pollitem_t item = { gpb_rentals_socket (s_rentals), 0, ZMQ_POLLIN, 0 };
        ck_assert_int_eq (zmq_poll (&item, 1, 20000), 1);
    }
    ck_assert_uint_eq (ticket.number, number);
    ck_assert_uint_eq (ticket.generation, 9);
    gpb_codec_t *codec = gpb_codec_new (&error);
    const Gpb__V1__Reply *reply = gpb_codec_reply (codec, &header, &error);
    ck_assert_ptr_nonnull (reply);
    gpb_status_t status = (gpb_status_t) reply->status;
    if (handle_p && reply->body_case == GPB__V1__REPLY__BODY_RENT)
        *handle_p = reply->rent->handle;
    gpb_codec_destroy (&codec);
    zmq_msg_close (&header);
    return status;
}

static gpb_rental_t *
s_rent (const gpb_owner_t *owner, uint32_t number)
{
    uint64_t handle = 0;
    s_ask (owner, number, SIZE);
    ck_assert_int_eq (s_answer (number, &handle), GPB_OK);
    gpb_rental_t *rental = gpb_rentals_lookup (s_rentals, owner, handle, &error);
    ck_assert_ptr_nonnull (rental);
    return rental;
}

START_TEST (test_a_lease_comes_with_the_answer)
{
    s_open ();
    gpb_rental_t *rental = s_rent (&s_anna, 7);
    ck_assert_uint_eq (rental->lease.size, SIZE);
    ck_assert_ptr_nonnull (rental->lease.memory);
    ck_assert_uint_eq (rental->users, 0);
    ck_assert_uint_eq (gpb_rentals_used (s_rentals), SIZE);
    //  Whose it is, is looked at to the client behind a broker.
    ck_assert_ptr_null (gpb_rentals_lookup (s_rentals, &s_bert, rental->lease.handle, &error));
    ck_assert_ptr_null (gpb_rentals_lookup (s_rentals, &s_behind, rental->lease.handle, &error));
    ck_assert_int_eq (error.status, GPB_NOT_FOUND);
    s_ask (&s_anna, 8, UINT64_C (1) << 50);
    ck_assert_int_eq (s_answer (8, NULL), GPB_RESOURCE_EXHAUSTED);
    ck_assert_uint_eq (gpb_rentals_used (s_rentals), 1 * SIZE);
    s_close ();
}
END_TEST

START_TEST (test_a_buffer_goes_back_when_its_last_user_is_done)
{
    s_open ();
    gpb_rental_t *used = s_rent (&s_anna, 1), *idle = s_rent (&s_anna, 2);
    uint64_t handle = used->lease.handle;
    used->users = 2;
    gpb_rentals_release (s_rentals, used, (gpb_ticket_t){ 3, 9 });
    gpb_rentals_release (s_rentals, idle, (gpb_ticket_t){ 4, 9 });
    ck_assert_ptr_null (gpb_rentals_lookup (s_rentals, &s_anna, handle, &error));
    ck_assert_int_eq (s_answer (4, NULL), GPB_OK);
    gpb_rentals_settle (s_rentals);
    ck_assert_uint_eq (s_free_size (), s_baseline - SIZE);
    used->users = 1;
    gpb_rentals_settle (s_rentals);
    ck_assert_uint_eq (gpb_rentals_used (s_rentals), 1 * SIZE);
    used->users = 0;
    gpb_rentals_settle (s_rentals);
    ck_assert_int_eq (s_answer (3, NULL), GPB_OK);
    ck_assert_uint_eq (s_free_size (), s_baseline);
    ck_assert_uint_eq (gpb_rentals_used (s_rentals), 0 * SIZE);
    s_close ();
}
END_TEST

START_TEST (test_an_owner_is_dropped_with_all_behind_it)
{
    s_open ();
    s_rent (&s_anna, 1);
    s_rent (&s_behind, 2);
    gpb_rental_t *berts = s_rent (&s_bert, 3);
    //  One behind a broker leaves alone.
    gpb_rentals_drop (s_rentals, &s_behind);
    ck_assert_uint_eq (gpb_rentals_used (s_rentals), 2 * SIZE);
    s_rent (&s_behind, 4);
    //  Its broker takes it along, and what is asked for, too.
    s_ask (&s_behind, 5, SIZE);
    gpb_rentals_drop (s_rentals, &s_anna);
    ck_assert_int_eq (s_answer (5, NULL), GPB_OK);
    ck_assert_uint_eq (gpb_rentals_used (s_rentals), 1 * SIZE);
    //  The pool is asked in order: when it has answered this, all before is back.
    gpb_rental_t *last = s_rent (&s_bert, 6);
    ck_assert_uint_eq (s_free_size (), s_baseline - 2 * SIZE);
    ck_assert_ptr_eq (gpb_rentals_lookup (s_rentals, &s_bert, berts->lease.handle, &error), berts);
    ck_assert_ptr_ne (last, berts);
    s_close ();
}
END_TEST

START_TEST (test_a_forgotten_rent_goes_straight_back)
{
    s_open ();
    uint64_t handle = 0;
    s_ask (&s_anna, 1, SIZE);
    gpb_rentals_forget (s_rentals, (gpb_ticket_t){ 1, 8 });
    gpb_rentals_forget (s_rentals, (gpb_ticket_t){ 1, 9 });
    ck_assert_int_eq (s_answer (1, &handle), GPB_OK);
    ck_assert_ptr_null (gpb_rentals_lookup (s_rentals, &s_anna, handle, &error));
    gpb_rental_t *next = s_rent (&s_anna, 2);
    ck_assert_uint_eq (s_free_size (), s_baseline - SIZE);
    //  Forgetting what was answered already changes nothing.
    gpb_rentals_forget (s_rentals, (gpb_ticket_t){ 2, 9 });
    ck_assert_ptr_eq (gpb_rentals_lookup (s_rentals, &s_anna, next->lease.handle, &error), next);
    s_close ();
}
END_TEST

GPB_TEST_MAIN ("gpb_rentals", 20, test_a_lease_comes_with_the_answer,
               test_a_buffer_goes_back_when_its_last_user_is_done,
               test_an_owner_is_dropped_with_all_behind_it,
               test_a_forgotten_rent_goes_straight_back)
