//  Tests of gpb_principal: what the configuration may say, and that a name gets what its limits
//  say, over all of its connections, and not a byte or a request more.

#include "gpb_principal.h"

#include "gpb_alloc.h"
#include "gpb_clock.h"
#include "gpb_entry.h"
#include "gpb_test.h"

#include <stdlib.h>
#include <string.h>

static gpb_error_t error;
static gpb_principals_t *s_all;
static gpb_connection_t s_connection = { .number = 1 };

static gpb_principal_t *
s_open (const char *limits, const char *name)
{
    ck_assert_ptr_null (gpb_principals_check (limits));
    s_all = gpb_principals_new (limits, &error);
    ck_assert_ptr_nonnull (s_all);
    gpb_principal_t *principal = gpb_principals_find (s_all, name);
    ck_assert_ptr_nonnull (principal);
    return principal;
}

//  A request, and the reply that a device gives it. Static storage.
static Gpb__V1__Request s_request;
static Gpb__V1__Reply s_reply;
static union {
    Gpb__V1__Execute execute;
    Gpb__V1__Rent rent;
    Gpb__V1__Reserve reserve;
    Gpb__V1__Release release;
    Gpb__V1__Renew renew;
    Gpb__V1__Unreserve unreserve;
    Gpb__V1__RegisterKernel registering;
} s_body;
static union {
    Gpb__V1__RentReply rent;
    Gpb__V1__ReserveReply reserve;
    Gpb__V1__RenewReply renew;
    Gpb__V1__Done done;
} s_answer;

static void
s_ask (Gpb__V1__Request__BodyCase kind)
{
    gpb__v1__request__init (&s_request);
    s_request.body_case = kind;
    s_request.execute = &s_body.execute;    //  one of a union, as all of them
}

static const Gpb__V1__Request *
s_execute (char *kernel)
{
    s_ask (GPB__V1__REQUEST__BODY_EXECUTE);
    gpb__v1__execute__init (&s_body.execute);
    s_body.execute.kernel = kernel;
    return &s_request;
}

static const Gpb__V1__Request *
s_rent (uint64_t size, uint64_t reservation)
{
    s_ask (GPB__V1__REQUEST__BODY_RENT);
    gpb__v1__rent__init (&s_body.rent);
    s_body.rent.size = size;
    s_body.rent.reservation = reservation;
    return &s_request;
}

static const Gpb__V1__Request *
s_reserve (uint64_t size)
{
    s_ask (GPB__V1__REQUEST__BODY_RESERVE);
    gpb__v1__reserve__init (&s_body.reserve);
    s_body.reserve.memory = size;
    return &s_request;
}

static const Gpb__V1__Request *
s_release (uint64_t handle)
{
    s_ask (GPB__V1__REQUEST__BODY_RELEASE);
    gpb__v1__release__init (&s_body.release);
    s_body.release.handle = handle;
    return &s_request;
}

static const Gpb__V1__Request *
s_unreserve (uint64_t handle)
{
    s_ask (GPB__V1__REQUEST__BODY_UNRESERVE);
    gpb__v1__unreserve__init (&s_body.unreserve);
    s_body.unreserve.handle = handle;
    return &s_request;
}

static const Gpb__V1__Request *
s_renew (uint64_t handle)
{
    s_ask (GPB__V1__REQUEST__BODY_RENEW);
    gpb__v1__renew__init (&s_body.renew);
    s_body.renew.handle = handle;
    return &s_request;
}

//  The answer to the request asked last: OK with this handle and time, or a refusal.
static const Gpb__V1__Reply *
s_answered (Gpb__V1__Status status, uint64_t handle, uint32_t for_ms)
{
    gpb__v1__reply__init (&s_reply);
    s_reply.status = status;
    if (status != GPB__V1__STATUS__OK)
        return &s_reply;
    s_reply.body_case = (Gpb__V1__Reply__BodyCase) s_request.body_case;
    s_reply.rent = &s_answer.rent;
    switch (s_request.body_case) {
    case GPB__V1__REQUEST__BODY_RENT:
        gpb__v1__rent_reply__init (&s_answer.rent);
        s_answer.rent.handle = handle;
        break;
    case GPB__V1__REQUEST__BODY_RESERVE:
        gpb__v1__reserve_reply__init (&s_answer.reserve);
        s_answer.reserve.handle = handle;
        s_answer.reserve.for_ms = for_ms;
        break;
    case GPB__V1__REQUEST__BODY_RENEW:
        gpb__v1__renew_reply__init (&s_answer.renew);
        s_answer.renew.for_ms = for_ms;
        break;
    default: gpb__v1__done__init (&s_answer.done); break;
    }
    return &s_reply;
}

//  Accepts a request, as the broker does.
static gpb_entry_t
s_charge (gpb_principal_t *principal, const Gpb__V1__Request *request, uint64_t connection)
{
    gpb_entry_t entry = { .connection = &s_connection,
                          .kind = request->body_case,
                          .key.client = connection };
    ck_assert_ok (gpb_principal_allows (principal, request, 0, &error));
    ck_assert_ok (gpb_principal_charge (principal, &entry, request, &error));
    return entry;
}

//  Accepts it and answers it OK.
static void
s_done (gpb_principal_t *principal, const Gpb__V1__Request *request, uint64_t handle,
        uint32_t for_ms)
{
    gpb_entry_t entry = s_charge (principal, request, 1);
    gpb_principal_settle (&entry, s_answered (GPB__V1__STATUS__OK, handle, for_ms), 0);
    gpb_principal_settle (&entry, NULL, 0);    //  the second time nothing happens
}

static const char *const s_bad [] = {
    "alice",
    "alice:",
    "alice:x=1",
    "alice:in_flight",
    "alice:in_flight=",
    "alice:in_flight=-1",
    "alice:in_flight=1x",
    "alice:rent_size=9223372036854775808",
    "alice:kernels=",
    "alice:kernels=a||b",
    "alice:kernels=a,kernels=b",
    "alice:register=yes",
    ":in_flight=1",
    "a*:in_flight=1",
    "a b:in_flight=1",
    "alice:in_flight=1 alice:in_flight=2",
};

START_TEST (test_what_is_no_list_of_limits_is_refused)
{
    for (size_t index = 0; index < sizeof s_bad / sizeof s_bad [0]; index++)
        ck_assert_msg (gpb_principals_check (s_bad [index]) != NULL, "%s", s_bad [index]);
    ck_assert_ptr_null (gpb_principals_check (""));
    ck_assert_ptr_null (gpb_principals_check (
        "*:in_flight=4,rent_size=0,register=false -:kernels=a|b* bob@x.y:register=true"));
}
END_TEST

START_TEST (test_a_name_without_limits_may_all)
{
    gpb_principal_t *principal = s_open ("alice:kernels=sobel,in_flight=0,register=false", "bob");
    ck_assert_ok (gpb_principal_allows (principal, s_execute ((char []){ "sleep" }), 0, &error));
    ck_assert_ok (gpb_principal_allows (principal, s_rent (UINT64_MAX, 0), 0, &error));
    s_done (principal, s_rent (100, 0), 1, 0);
    ck_assert_uint_eq (gpb_principal_held_size (principal), 0);    //  nobody asks
    ck_assert_ptr_ne (gpb_principals_find (s_all, NULL), principal);
    ck_assert_ptr_eq (gpb_principals_find (s_all, "bob"), principal);
    gpb_principals_destroy (&s_all);
}
END_TEST

START_TEST (test_kernels_are_those_that_a_glob_names)
{
    gpb_principal_t *principal = s_open ("*:kernels=sobel|gauss*", "alice");
    ck_assert_ok (gpb_principal_allows (principal, s_execute ((char []){ "sobel" }), 0, &error));
    ck_assert_ok (
        gpb_principal_allows (principal, s_execute ((char []){ "gaussian_blur" }), 0, &error));
    ck_assert_refused (gpb_principal_allows (principal, s_execute ((char []){ "sobel2" }), 0,
                                             &error),
                       GPB_PERMISSION_DENIED, "the key alice may not call the kernel \"sobel2\"");
    ck_assert_refused (gpb_principal_allows (principal, s_execute ((char []){ "" }), 0, &error),
                       GPB_PERMISSION_DENIED, "kernel \"\"");
    //  "*" is for keys.
    ck_assert_ok (gpb_principal_allows (gpb_principals_find (s_all, NULL),
                                        s_execute ((char []){ "sobel2" }), 0, &error));
    gpb_principals_destroy (&s_all);
}
END_TEST

START_TEST (test_registering_is_a_right)
{
    gpb_principal_t *principal =
        s_open ("*:register=false alice:register=true -:register=false", "alice");
    s_ask (GPB__V1__REQUEST__BODY_REGISTER_KERNEL);
    ck_assert_ok (gpb_principal_allows (principal, &s_request, 0, &error));
    ck_assert_refused (gpb_principal_allows (gpb_principals_find (s_all, "bob"), &s_request, 0,
                                             &error),
                       GPB_PERMISSION_DENIED, "the key bob may not register");
    ck_assert_refused (gpb_principal_allows (gpb_principals_find (s_all, NULL), &s_request, 0,
                                             &error),
                       GPB_PERMISSION_DENIED, "a connection without a key may not register");
    gpb_principals_destroy (&s_all);
}
END_TEST

START_TEST (test_requests_in_flight_count_until_they_are_settled)
{
    gpb_principal_t *principal = s_open ("*:in_flight=2", "alice");
    const Gpb__V1__Request *request = s_execute ((char []){ "k" });
    gpb_entry_t first = s_charge (principal, request, 1), second = s_charge (principal, request, 2);
    ck_assert_refused (gpb_principal_allows (principal, request, 0, &error), GPB_PERMISSION_DENIED,
                       "may have 2 requests in flight over all of its connections, and has 2");
    //  Another key with the same limits has its own two.
    ck_assert_ok (gpb_principal_allows (gpb_principals_find (s_all, "bob"), request, 0, &error));
    gpb_principal_forget (principal, 1);    //  its client left; its device works on
    ck_assert_uint_eq (gpb_principal_in_flight (principal), 2);
    gpb_principal_settle (&first, NULL, 0);
    gpb_principal_settle (&first, NULL, 0);
    ck_assert_uint_eq (gpb_principal_in_flight (principal), 1);
    ck_assert_ok (gpb_principal_allows (principal, request, 0, &error));
    gpb_principal_settle (&second, NULL, 0);
    gpb_principals_destroy (&s_all);
}
END_TEST

START_TEST (test_rented_bytes_count_from_being_asked_for_to_being_given_back)
{
    gpb_principal_t *principal = s_open ("alice:rent_size=100", "alice");
    gpb_entry_t entry = s_charge (principal, s_rent (60, 0), 1);
    ck_assert_refused (gpb_principal_allows (principal, s_rent (41, 0), 0, &error),
                       GPB_PERMISSION_DENIED,
                       "may rent and reserve 100 bytes in all, and holds 60: 41 more");
    ck_assert_refused (gpb_principal_allows (principal, s_rent (UINT64_MAX, 0), 0, &error),
                       GPB_PERMISSION_DENIED, "are over that");
    ck_assert_ok (gpb_principal_allows (principal, s_rent (40, 0), 0, &error));
    s_rent (60, 0);
    gpb_principal_settle (&entry, s_answered (GPB__V1__STATUS__RESOURCE_EXHAUSTED, 0, 0), 0);
    ck_assert_uint_eq (gpb_principal_held_size (principal), 0);
    s_done (principal, s_rent (60, 0), 7, 0);
    ck_assert_uint_eq (gpb_principal_held_size (principal), 60);
    s_done (principal, s_release (8), 0, 0);    //  another's
    ck_assert_uint_eq (gpb_principal_held_size (principal), 60);
    entry = s_charge (principal, s_release (7), 1);
    gpb_principal_settle (&entry, s_answered (GPB__V1__STATUS__UNAVAILABLE, 0, 0), 0);
    ck_assert_uint_eq (gpb_principal_held_size (principal), 60);
    s_done (principal, s_release (7), 0, 0);
    ck_assert_uint_eq (gpb_principal_held_size (principal), 0);

    //  One that its device no longer knows is gone as well.
    s_done (principal, s_rent (60, 0), 9, 0);
    entry = s_charge (principal, s_release (9), 1);
    gpb_principal_settle (&entry, s_answered (GPB__V1__STATUS__NOT_FOUND, 0, 0), 0);
    ck_assert_uint_eq (gpb_principal_held_size (principal), 0);
    gpb_principals_destroy (&s_all);
}
END_TEST

START_TEST (test_what_a_connection_holds_ends_with_it_and_with_no_other)
{
    gpb_principal_t *principal = s_open ("alice:rent_size=100", "alice");
    for (uint64_t number = 1; number <= 4; number++) {
        gpb_entry_t entry = s_charge (principal, s_rent (25, 0), 1 + number % 2);
        gpb_principal_settle (&entry, s_answered (GPB__V1__STATUS__OK, number, 0), 0);
    }
    ck_assert_uint_eq (gpb_principal_held_size (principal), 100);
    gpb_principal_forget (principal, 1);
    ck_assert_uint_eq (gpb_principal_held_size (principal), 50);

    //  What is rented for a client that has left is given back by its device.
    gpb_entry_t entry = s_charge (principal, s_rent (25, 0), 1);
    entry.connection = NULL;
    gpb_principal_settle (&entry, s_answered (GPB__V1__STATUS__OK, 5, 0), 0);
    ck_assert_uint_eq (gpb_principal_held_size (principal), 50);
    gpb_principals_destroy (&s_all);
}
END_TEST

START_TEST (test_what_is_drawn_from_a_reservation_counts_once_and_outlives_it)
{
    gpb_principal_t *principal = s_open ("alice:rent_size=100", "alice");
    s_done (principal, s_reserve (100), 50, 1000000);
    ck_assert_refused (gpb_principal_allows (principal, s_rent (1, 0), 0, &error),
                       GPB_PERMISSION_DENIED, "holds 100");
    s_done (principal, s_rent (70, 50), 1, 0);
    ck_assert_uint_eq (gpb_principal_held_size (principal), 100);
    ck_assert_refused (gpb_principal_allows (principal, s_rent (31, 50), 0, &error),
                       GPB_PERMISSION_DENIED, "1 more are over that");
    s_done (principal, s_release (1), 0, 0);
    ck_assert_uint_eq (gpb_principal_held_size (principal), 100);
    s_done (principal, s_rent (70, 50), 2, 0);
    s_done (principal, s_unreserve (50), 0, 0);
    ck_assert_uint_eq (gpb_principal_held_size (principal), 70);
    ck_assert_refused (gpb_principal_allows (principal, s_reserve (31), 0, &error),
                       GPB_PERMISSION_DENIED, "holds 70");
    s_done (principal, s_release (2), 0, 0);
    ck_assert_uint_eq (gpb_principal_held_size (principal), 0);
    gpb_principals_destroy (&s_all);
}
END_TEST

START_TEST (test_a_reservation_counts_until_its_time_is_up)
{
    gpb_principal_t *principal = s_open ("alice:rent_size=100", "alice");
    s_done (principal, s_reserve (100), 50, 10);
    ck_assert_refused (gpb_principal_allows (principal, s_rent (1, 0), 9 * GPB_NS_PER_MS, &error),
                       GPB_PERMISSION_DENIED, "holds 100");
    gpb_entry_t entry = s_charge (principal, s_renew (50), 1);
    gpb_principal_settle (&entry, s_answered (GPB__V1__STATUS__OK, 0, 10), 9 * GPB_NS_PER_MS);
    ck_assert_refused (gpb_principal_allows (principal, s_rent (1, 0), 18 * GPB_NS_PER_MS, &error),
                       GPB_PERMISSION_DENIED, "holds 100");
    ck_assert_ok (gpb_principal_allows (principal, s_rent (100, 0), 19 * GPB_NS_PER_MS, &error));
    ck_assert_uint_eq (gpb_principal_held_size (principal), 0);
    gpb_principals_destroy (&s_all);
}
END_TEST

//  Whatever is done in whatever order, never more is held than allowed, and in the end nothing.
START_TEST (test_any_order_of_requests_ends_where_it_began)
{
    enum { SLOTS = 40 };
    srand (2605);
    gpb_principal_t *principal = s_open ("alice:rent_size=1000", "alice");
    struct {
        bool is_reservation;
        uint64_t handle, size;    //  a handle is never given twice; 0: nothing
    } held [SLOTS] = { { .handle = 0 } };
    uint64_t last_handle = 0;
    for (int step = 0; step < 20000; step++) {
        size_t slot = (size_t) rand () % SLOTS, source = (size_t) rand () % SLOTS;
        uint64_t size = 1 + (uint64_t) rand () % 300, handle = held [slot].handle;
        if (handle) {
            s_done (principal,
                    held [slot].is_reservation ? s_unreserve (handle) : s_release (handle), 0, 0);
            held [slot].handle = 0;
            continue;
        }
        bool reserves = rand () % 3 == 0;
        const Gpb__V1__Request *request =
            reserves ? s_reserve (size) : s_rent (size, held [source].handle);
        if (gpb_principal_allows (principal, request, 1, &error) != GPB_OK)
            continue;
        held [slot].handle = ++last_handle;
        held [slot].is_reservation = reserves;
        held [slot].size = size;
        s_done (principal, request, last_handle, 1000000000);
        uint64_t rented = 0;
        for (size_t index = 0; index < SLOTS; index++)
            if (held [index].handle && !held [index].is_reservation)
                rented += held [index].size;
        ck_assert_uint_le (rented, gpb_principal_held_size (principal));
        ck_assert_uint_le (gpb_principal_held_size (principal), 1000);
    }
    ck_assert_uint_gt (last_handle, 1000);
    gpb_principal_forget (principal, 1);
    ck_assert_uint_eq (gpb_principal_held_size (principal), 0);
    ck_assert_uint_eq (gpb_principal_in_flight (principal), 0);
    gpb_principals_destroy (&s_all);
}
END_TEST

START_TEST (test_memory_that_runs_out_counts_nothing)
{
    gpb_principal_t *principal = s_open ("alice:rent_size=100", "alice");
    const Gpb__V1__Request *request = s_rent (10, 0);
    gpb_entry_t entry = { .connection = &s_connection, .kind = request->body_case };
    gpb_alloc_fail (0, 1);
    ck_assert_refused (gpb_principal_charge (principal, &entry, request, &error),
                       GPB_RESOURCE_EXHAUSTED, "no memory");
    ck_assert_ptr_null (gpb_principals_find (s_all, "bob"));
    ck_assert_ptr_null (gpb_principals_new ("alice:rent_size=100", &error));
    gpb_alloc_fail (-1, 0);
    ck_assert_ptr_null (entry.principal);
    ck_assert_uint_eq (gpb_principal_held_size (principal), 0);
    for (int64_t after = 0; after < 4; after++) {
        gpb_alloc_fail (after, 0);
        gpb_principals_t *other = gpb_principals_new ("alice:kernels=a", &error);
        ck_assert_ptr_null (other);
    }
    gpb_alloc_fail (-1, 0);
    gpb_principals_destroy (&s_all);
}
END_TEST

GPB_TEST_MAIN ("gpb_principal", 20, test_what_is_no_list_of_limits_is_refused,
               test_a_name_without_limits_may_all, test_kernels_are_those_that_a_glob_names,
               test_registering_is_a_right, test_requests_in_flight_count_until_they_are_settled,
               test_rented_bytes_count_from_being_asked_for_to_being_given_back,
               test_what_a_connection_holds_ends_with_it_and_with_no_other,
               test_what_is_drawn_from_a_reservation_counts_once_and_outlives_it,
               test_a_reservation_counts_until_its_time_is_up,
               test_any_order_of_requests_ends_where_it_began,
               test_memory_that_runs_out_counts_nothing)
