//  Tests of gpb_jobs: places are taken and given back, late answers find nothing, streams keep
//  their order. No device is needed: a job without commands is done at once.

#include "gpb_clock.h"
#include "gpb_jobs.h"
#include "gpb_test.h"

#include <string.h>

#define STREAMS 3

static gpb_error_t error;
static gpb_jobs_t *s_jobs;
static const gpb_shared_context_t s_shared;    //  never used: no job has a command
static const gpb_workshop_t s_shop = { .shared = &s_shared };
static gpb_connection_t s_connections [2] = { { .number = 1 }, { .number = 2 } };

static gpb_job_t *
s_take (unsigned connection, uint64_t behind, uint64_t id, uint64_t deadline_ns)
{
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    request.id = id;
    request.body_case = GPB__V1__REQUEST__BODY_EXECUTE;
    gpb_message_t message;
    gpb_message_init (&message);
    gpb_call_t call = { .request = &request,
                        .message = &message,
                        .connection = &s_connections [connection],
                        .owner = { s_connections [connection].number, behind },
                        .deadline_ns = deadline_ns };
    gpb_job_t *job = gpb_jobs_take (s_jobs, &call);
    gpb_message_clear (&message);
    return job;
}

static void
s_open (void)
{
    s_jobs = gpb_jobs_new (STREAMS, &error);
    ck_assert_ptr_nonnull (s_jobs);
    ck_assert_uint_eq (gpb_jobs_room (s_jobs), GPB_JOBS_MAX);
}

static void
s_close (void)
{
    gpb_jobs_destroy (&s_jobs, &s_shop);
    ck_assert_ptr_null (s_jobs);
}

START_TEST (test_every_place_is_taken_once_and_free_again)
{
    s_open ();
    gpb_job_t *jobs [GPB_JOBS_MAX];
    for (unsigned round = 0; round < 2; round++) {
        for (size_t index = 0; index < GPB_JOBS_MAX; index++) {
            jobs [index] = s_take (0, 0, index, 1);
            ck_assert_uint_eq (gpb_jobs_room (s_jobs), GPB_JOBS_MAX - 1 - index);
            for (size_t before = 0; before < index; before++)
                ck_assert_ptr_ne (jobs [before], jobs [index]);
        }
        for (size_t index = 0; index < GPB_JOBS_MAX; index++)
            gpb_jobs_free (s_jobs, &s_shop, jobs [index]);
        ck_assert_uint_eq (gpb_jobs_room (s_jobs), GPB_JOBS_MAX);
    }
    s_take (0, 0, 1, 1);    //  what is still taken goes with the rest
    s_close ();
}
END_TEST

START_TEST (test_a_place_that_is_used_again_is_another)
{
    s_open ();
    gpb_job_t *job = s_take (0, 0, 1, 1);
    uint32_t number = job->number, generation = job->generation;
    ck_assert_ptr_eq (gpb_jobs_at (s_jobs, number, generation), job);
    gpb_jobs_free (s_jobs, &s_shop, job);
    ck_assert_ptr_null (gpb_jobs_at (s_jobs, number, generation));
    job = s_take (0, 0, 2, 1);
    ck_assert_uint_eq (job->number, number);
    ck_assert_ptr_null (gpb_jobs_at (s_jobs, number, generation));
    ck_assert_ptr_eq (gpb_jobs_at (s_jobs, number, job->generation), job);
    ck_assert_ptr_null (gpb_jobs_at (s_jobs, GPB_JOBS_MAX, 0));
    s_close ();
}
END_TEST

START_TEST (test_a_job_is_found_by_its_owner_and_id_until_it_is_answered)
{
    s_open ();
    gpb_owner_t owner = { 1, 0 }, behind = { 1, 7 }, other = { 2, 0 };
    gpb_job_t *job = s_take (0, 0, 5, 1), *one_behind = s_take (0, 7, 5, 1);
    ck_assert_ptr_eq (gpb_jobs_find (s_jobs, &owner, 5), job);
    ck_assert_ptr_eq (gpb_jobs_find (s_jobs, &behind, 5), one_behind);
    ck_assert_ptr_null (gpb_jobs_find (s_jobs, &other, 5));
    ck_assert_ptr_null (gpb_jobs_find (s_jobs, &owner, 6));
    gpb_jobs_answered (s_jobs, job);
    ck_assert_ptr_null (gpb_jobs_find (s_jobs, &owner, 5));
    gpb_jobs_free (s_jobs, &s_shop, one_behind);
    ck_assert_ptr_null (gpb_jobs_find (s_jobs, &behind, 5));
    s_close ();
}
END_TEST

START_TEST (test_the_earliest_deadline_of_what_is_not_answered_comes_first)
{
    s_open ();
    ck_assert_ptr_null (gpb_jobs_earliest (s_jobs));
    gpb_job_t *late = s_take (0, 0, 1, 300), *early = s_take (0, 0, 2, 100);
    gpb_job_t *middle = s_take (0, 0, 3, 200);
    ck_assert_ptr_eq (gpb_jobs_earliest (s_jobs), early);
    gpb_jobs_answered (s_jobs, early);
    ck_assert_ptr_eq (gpb_jobs_earliest (s_jobs), middle);
    gpb_jobs_free (s_jobs, &s_shop, middle);
    ck_assert_ptr_eq (gpb_jobs_earliest (s_jobs), late);
    s_close ();
}
END_TEST

START_TEST (test_who_has_left_is_told_nothing)
{
    s_open ();
    gpb_job_t *mine = s_take (0, 0, 1, 1), *behind = s_take (0, 7, 2, 1);
    gpb_job_t *others = s_take (1, 0, 1, 1);
    gpb_jobs_orphan (s_jobs, 1);
    ck_assert (mine->answered && !mine->connection);
    ck_assert (behind->answered && !behind->connection);
    ck_assert (!others->answered && others->connection == &s_connections [1]);
    s_close ();
}
END_TEST

START_TEST (test_bound_jobs_keep_to_stream_0_and_others_to_the_emptiest)
{
    s_open ();
    ck_assert_uint_eq (gpb_jobs_choose_stream (s_jobs, true), 0);
    unsigned counts [STREAMS] = { 0 };
    for (uint64_t id = 0; id < 6; id++) {
        gpb_job_t *job = s_take (0, 0, id, 1);
        job->stream = gpb_jobs_choose_stream (s_jobs, false);
        counts [job->stream]++;
        gpb_jobs_enqueue (s_jobs, job);
    }
    ck_assert_uint_eq (counts [0], 0);
    ck_assert_uint_eq (counts [1], 3);
    ck_assert_uint_eq (counts [2], 3);
    while (gpb_jobs_done (s_jobs, &s_shop))
        ;
    s_close ();
    s_jobs = gpb_jobs_new (1, &error);
    ck_assert_uint_eq (gpb_jobs_choose_stream (s_jobs, false), 0);
    s_close ();
}
END_TEST

START_TEST (test_what_is_done_comes_off_its_stream_in_order)
{
    s_open ();
    ck_assert (gpb_jobs_is_idle (s_jobs));
    for (uint64_t id = 1; id <= 3; id++) {
        gpb_job_t *job = s_take (0, 0, id, 1);
        job->stream = 2;
        job->unannounced = id == 2;
        gpb_jobs_enqueue (s_jobs, job);
    }
    ck_assert (!gpb_jobs_is_idle (s_jobs));
    for (uint64_t id = 1; id <= 3; id++) {
        ck_assert (gpb_jobs_is_unannounced (s_jobs) == (id < 3));
        gpb_job_t *job = gpb_jobs_done (s_jobs, &s_shop);
        ck_assert_ptr_nonnull (job);
        ck_assert_uint_eq (job->id, id);
        gpb_jobs_free (s_jobs, &s_shop, job);
    }
    ck_assert_ptr_null (gpb_jobs_done (s_jobs, &s_shop));
    ck_assert (gpb_jobs_is_idle (s_jobs));
    s_close ();
}
END_TEST

//  Counted anew for each that becomes the first; those behind it do not count.
START_TEST (test_how_long_the_first_of_a_stream_has_been_first_is_known)
{
    s_open ();
    const uint64_t now_ns = gpb_clock_ns () + GPB_NS_PER_S;
    ck_assert_uint_eq (gpb_jobs_running_ns (s_jobs, now_ns), 0);
    gpb_job_t *one = s_take (0, 0, 1, 1), *other = s_take (0, 0, 2, 1);
    one->stream = other->stream = 1;
    const uint64_t before_ns = gpb_clock_ns ();
    gpb_jobs_enqueue (s_jobs, one);
    const uint64_t after_ns = gpb_clock_ns ();
    gpb_jobs_enqueue (s_jobs, other);
    ck_assert_uint_le (gpb_jobs_running_ns (s_jobs, now_ns), now_ns - before_ns);
    ck_assert_uint_ge (gpb_jobs_running_ns (s_jobs, now_ns), now_ns - after_ns);
    const uint64_t done_ns = gpb_clock_ns ();
    ck_assert_ptr_eq (gpb_jobs_done (s_jobs, &s_shop), one);
    ck_assert_uint_le (gpb_jobs_running_ns (s_jobs, now_ns), now_ns - done_ns);
    ck_assert_ptr_eq (gpb_jobs_done (s_jobs, &s_shop), other);
    ck_assert_uint_eq (gpb_jobs_running_ns (s_jobs, now_ns), 0);
    s_close ();
}
END_TEST

GPB_TEST_MAIN ("gpb_jobs", 10, test_every_place_is_taken_once_and_free_again,
               test_a_place_that_is_used_again_is_another,
               test_a_job_is_found_by_its_owner_and_id_until_it_is_answered,
               test_the_earliest_deadline_of_what_is_not_answered_comes_first,
               test_who_has_left_is_told_nothing,
               test_bound_jobs_keep_to_stream_0_and_others_to_the_emptiest,
               test_what_is_done_comes_off_its_stream_in_order,
               test_how_long_the_first_of_a_stream_has_been_first_is_known)
