//  Tests of gpb_losses: what was lost is told from what never was, to its owner alone.

#include "gpb_alloc.h"
#include "gpb_losses.h"
#include "gpb_test.h"

static gpb_error_t error;
static gpb_losses_t *s_losses;
static const gpb_owner_t s_one = { .connection = 1 }, s_other = { .connection = 2 };

//  Whether a read of this handle finds a loss.
static bool
s_finds (const gpb_owner_t *owner, uint64_t handle)
{
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Read body = GPB__V1__READ__INIT;
    request.body_case = GPB__V1__REQUEST__BODY_READ;
    request.read = &body;
    body.handle = handle;
    uint64_t found = gpb_losses_find (s_losses, owner, &request);
    ck_assert (found == 0 || found == handle);
    return found != 0;
}

static void
s_open (void)
{
    s_losses = gpb_losses_new (&error);
    ck_assert_ptr_nonnull (s_losses);
}

START_TEST (test_what_was_out_is_lost_and_nothing_else)
{
    s_open ();
    gpb_losses_given (s_losses, &s_one, 11);
    gpb_losses_given (s_losses, &s_one, 12);
    gpb_losses_returned (s_losses, 12);
    gpb_losses_returned (s_losses, 99);
    ck_assert (!s_finds (&s_one, 11));
    ck_assert_uint_eq (gpb_losses_count (s_losses), 0);
    gpb_losses_lose (s_losses);
    ck_assert_uint_eq (gpb_losses_count (s_losses), 1);
    gpb_losses_given (s_losses, &s_one, 13);    //  of the next process
    ck_assert (s_finds (&s_one, 11));
    ck_assert (!s_finds (&s_one, 12) && !s_finds (&s_one, 13) && !s_finds (&s_one, 0));
    ck_assert (!s_finds (&s_other, 11));
    gpb_losses_lose (s_losses);
    ck_assert (s_finds (&s_one, 11) && s_finds (&s_one, 13));
    gpb_losses_destroy (&s_losses);
    ck_assert_ptr_null (s_losses);
}
END_TEST

START_TEST (test_an_owner_that_leaves_takes_its_losses_along)
{
    s_open ();
    gpb_losses_given (s_losses, &s_one, 11);
    gpb_losses_given (s_losses, &s_other, 21);
    gpb_losses_lose (s_losses);
    gpb_losses_given (s_losses, &s_one, 12);
    gpb_losses_left (s_losses, &s_one);
    ck_assert_uint_eq (gpb_losses_count (s_losses), 1);
    ck_assert (!s_finds (&s_one, 11));
    ck_assert (s_finds (&s_other, 21));
    gpb_losses_lose (s_losses);
    ck_assert (!s_finds (&s_one, 12));
    gpb_losses_destroy (&s_losses);
}
END_TEST

START_TEST (test_a_handle_that_is_given_again_is_no_loss)
{
    s_open ();
    gpb_losses_given (s_losses, &s_one, 11);
    gpb_losses_lose (s_losses);
    gpb_losses_given (s_losses, &s_other, 11);
    ck_assert (!s_finds (&s_one, 11) && !s_finds (&s_other, 11));
    ck_assert_uint_eq (gpb_losses_count (s_losses), 0);
    gpb_losses_destroy (&s_losses);
}
END_TEST

START_TEST (test_every_kind_of_request_is_looked_through)
{
    s_open ();
    gpb_losses_given (s_losses, &s_one, 11);
    gpb_losses_lose (s_losses);
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__BufferRange range = GPB__V1__BUFFER_RANGE__INIT;
    Gpb__V1__Argument argument = GPB__V1__ARGUMENT__INIT, *arguments [] = { &argument };
    Gpb__V1__Execute execute = GPB__V1__EXECUTE__INIT;
    Gpb__V1__Rent rent = GPB__V1__RENT__INIT;
    Gpb__V1__Copy copy = GPB__V1__COPY__INIT;
    range.handle = 11;
    argument.value_case = GPB__V1__ARGUMENT__VALUE_BUFFER;
    argument.buffer = &range;
    execute.n_arguments = 1;
    execute.arguments = arguments;
    request.body_case = GPB__V1__REQUEST__BODY_EXECUTE;
    request.execute = &execute;
    ck_assert_uint_eq (gpb_losses_find (s_losses, &s_one, &request), 11);
    range.handle = 5;
    ck_assert_uint_eq (gpb_losses_find (s_losses, &s_one, &request), 0);
    execute.reservation = 11;
    ck_assert_uint_eq (gpb_losses_find (s_losses, &s_one, &request), 11);
    request.body_case = GPB__V1__REQUEST__BODY_RENT;
    request.rent = &rent;
    ck_assert_uint_eq (gpb_losses_find (s_losses, &s_one, &request), 0);
    rent.reservation = 11;
    ck_assert_uint_eq (gpb_losses_find (s_losses, &s_one, &request), 11);
    request.body_case = GPB__V1__REQUEST__BODY_COPY;
    request.copy = &copy;
    copy.source = 5;
    copy.target = 11;
    ck_assert_uint_eq (gpb_losses_find (s_losses, &s_one, &request), 11);
    copy.source = 11;
    copy.target = 5;
    ck_assert_uint_eq (gpb_losses_find (s_losses, &s_one, &request), 11);

    Gpb__V1__Release release = GPB__V1__RELEASE__INIT;
    Gpb__V1__Write write = GPB__V1__WRITE__INIT;
    Gpb__V1__Map map = GPB__V1__MAP__INIT;
    Gpb__V1__Unmap unmap = GPB__V1__UNMAP__INIT;
    Gpb__V1__Renew renew = GPB__V1__RENEW__INIT;
    Gpb__V1__Unreserve unreserve = GPB__V1__UNRESERVE__INIT;
    release.handle = write.handle = map.handle = unmap.handle = 11;
    renew.handle = unreserve.handle = 11;
    static const Gpb__V1__Request__BodyCase kinds [] = {
        GPB__V1__REQUEST__BODY_RELEASE, GPB__V1__REQUEST__BODY_WRITE,
        GPB__V1__REQUEST__BODY_MAP,     GPB__V1__REQUEST__BODY_UNMAP,
        GPB__V1__REQUEST__BODY_RENEW,   GPB__V1__REQUEST__BODY_UNRESERVE
    };
    void *bodies [] = { &release, &write, &map, &unmap, &renew, &unreserve };
    for (size_t index = 0; index < 6; index++) {
        request.body_case = kinds [index];
        request.release = bodies [index];    //  all bodies stand in one place
        ck_assert_uint_eq (gpb_losses_find (s_losses, &s_one, &request), 11);
    }
    request.body_case = GPB__V1__REQUEST__BODY_STATS;
    ck_assert_uint_eq (gpb_losses_find (s_losses, &s_one, &request), 0);
    gpb_losses_destroy (&s_losses);
}
END_TEST

START_TEST (test_what_is_remembered_is_bounded)
{
    s_open ();
    for (uint64_t handle = 1; handle <= GPB_LOSSES_MAX + 1000; handle++)
        gpb_losses_given (s_losses, &s_one, handle);
    gpb_losses_lose (s_losses);
    ck_assert_uint_eq (gpb_losses_count (s_losses), GPB_LOSSES_MAX);
    gpb_losses_left (s_losses, &s_one);
    ck_assert_uint_eq (gpb_losses_count (s_losses), 0);
    gpb_losses_destroy (&s_losses);
}
END_TEST

START_TEST (test_what_finds_no_memory_is_not_noted)
{
    s_open ();
    for (int64_t after = 0; after < 2; after++) {
        gpb_alloc_fail (after, 0);
        gpb_losses_given (s_losses, &s_one, 11);
        gpb_alloc_fail (-1, 0);
        gpb_losses_lose (s_losses);
        ck_assert_uint_eq (gpb_losses_count (s_losses), 0);
    }
    gpb_losses_destroy (&s_losses);
    for (int64_t after = 0; after < 2; after++) {
        gpb_alloc_fail (after, 0);
        ck_assert_ptr_null (gpb_losses_new (&error));
        gpb_alloc_fail (-1, 0);
        ck_assert_int_eq (error.status, GPB_RESOURCE_EXHAUSTED);
    }
}
END_TEST

GPB_TEST_MAIN ("gpb_losses", 20, test_what_was_out_is_lost_and_nothing_else,
               test_an_owner_that_leaves_takes_its_losses_along,
               test_a_handle_that_is_given_again_is_no_loss,
               test_every_kind_of_request_is_looked_through, test_what_is_remembered_is_bounded,
               test_what_finds_no_memory_is_not_noted)
