//  Tests of gpb_device's requests and answers: on the fake backend, whose delays and endless
//  kernels make every order of events happen when the test wants it. What is rented has a file of
//  its own, test_rented.c; what only a device that shares the host's memory does, test_in_place.c.

#include "gpb_test.h"

#include "gpb_clock.h"
#include "gpb_codec.h"
#include "gpb_device.h"
#include "gpb_hop.h"
#include "gpb_service.h"
#include "gpb_test_actor.h"
#include "gpb_test_device.h"

#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static gpb_error_t error;
static gpb_test_actor_t s_device;
static gpb_client_t *s_client;

static void
s_start (const char *const *settings)
{
    gpb_test_actor_device (&s_device, "fake", settings);
    s_client = gpb_test_actor_client (GPB_TEST_ACTOR_INPROC);
}

static void
s_stop (void)
{
    gpb_client_destroy (&s_client);
    gpb_test_actor_stop (&s_device);
}

static gpb_request_t *
s_add_request (const float *a, const float *b, int32_t count)
{
    gpb_request_t *request = gpb_request_execute ("add");
    gpb_request_in (request, a, (size_t) count * sizeof *a);
    gpb_request_in (request, b, (size_t) count * sizeof *b);
    gpb_request_out (request, 0);
    gpb_request_i32 (request, count);
    return request;
}

static const Gpb__V1__Timing *
s_timing (const gpb_reply_t *reply)
{
    return gpb_reply_header_peek (reply)->execute->timing;
}

//  ---------------------------------------------------------------------------------------------------------
//  Execute

START_TEST (test_a_request_comes_back_computed)
{
    s_start (NULL);
    const float a [] = { 1, 2, 3 }, b [] = { 10, 20, 30 };
    gpb_reply_t *reply = gpb_test_actor_ok (s_client, s_add_request (a, b, 3));
    size_t size;
    const float *c = gpb_reply_result (reply, 0, &size);
    ck_assert_uint_eq (size, sizeof a);
    for (int index = 0; index < 3; index++)
        ck_assert (c [index] == a [index] + b [index]);
    const Gpb__V1__ExecuteReply *execute = gpb_reply_header_peek (reply)->execute;
    ck_assert_uint_eq (execute->results [0]->argument, 2);
    ck_assert_uint_eq (execute->device, 0);
    ck_assert_ptr_nonnull (execute->node);
    ck_assert (execute->timing->measured);
    ck_assert_ptr_nonnull (execute->timing->copy_in);
    ck_assert_ptr_nonnull (execute->timing->compute);
    ck_assert_ptr_nonnull (execute->timing->copy_out);
    //  Both inputs go through pinned memory: that is what the host copied.
    ck_assert_uint_eq (execute->timing->host_copied, sizeof a + sizeof b);
    ck_assert_uint_gt (execute->timing->device_ns, 0);
    gpb_reply_destroy (&reply);
    s_stop ();
}
END_TEST

static bool
s_overlap (const Gpb__V1__Span *one, const Gpb__V1__Span *other)
{
    return one->start_ns < other->end_ns && other->start_ns < one->end_ns;
}

START_TEST (test_copy_and_compute_of_different_requests_overlap)
{
    enum { COUNT = 6 };
    setenv ("GPB_FAKE_COPY_US", "20000", 1);
    setenv ("GPB_FAKE_COMPUTE_US", "20000", 1);
    s_start (NULL);
    unsigned char data [64] = { 7 };
    for (int index = 0; index < COUNT; index++)
        gpb_test_actor_send (s_client, gpb_test_actor_duplicate (data, sizeof data));
    gpb_reply_t *replies [COUNT];
    for (int index = 0; index < COUNT; index++) {
        replies [index] = gpb_test_actor_recv (s_client);
        ck_assert_int_eq (gpb_reply_status (replies [index]), GPB_OK);
    }
    int in_with_compute = 0, out_with_compute = 0;
    for (int one = 0; one < COUNT; one++)
        for (int other = 0; other < COUNT; other++)
            if (one != other) {
                const Gpb__V1__Timing *mine = s_timing (replies [one]);
                const Gpb__V1__Timing *theirs = s_timing (replies [other]);
                in_with_compute += s_overlap (mine->compute, theirs->copy_in);
                out_with_compute += s_overlap (mine->compute, theirs->copy_out);
            }
    ck_assert_int_gt (in_with_compute, 0);
    ck_assert_int_gt (out_with_compute, 0);
    for (int index = 0; index < COUNT; index++) {
        ck_assert_uint_ge (s_timing (replies [index])->compute->ns, 20 * GPB_NS_PER_MS);
        gpb_reply_destroy (&replies [index]);
    }
    s_stop ();
}
END_TEST

START_TEST (test_without_profiling_nothing_is_measured)
{
    s_start ((const char *const []){ "profiling", "false", NULL });
    unsigned char data [64] = { 7 };
    gpb_reply_t *reply = gpb_test_actor_ok (s_client, gpb_test_actor_duplicate (data, sizeof data));
    const Gpb__V1__Timing *timing = s_timing (reply);
    ck_assert (!timing->measured);
    ck_assert_ptr_null (timing->copy_in);
    ck_assert_ptr_null (timing->compute);
    ck_assert_ptr_null (timing->copy_out);
    ck_assert_uint_eq (timing->host_copied, sizeof data);
    gpb_reply_destroy (&reply);
    s_stop ();
}
END_TEST

START_TEST (test_work_of_zero_size_is_done_without_a_launch)
{
    s_start (NULL);
    gpb_reply_t *reply = gpb_test_actor_ok (s_client, s_add_request (NULL, NULL, 0));
    size_t size = 1;
    gpb_reply_result (reply, 0, &size);
    ck_assert_uint_eq (gpb_reply_results (reply), 1);
    ck_assert_uint_eq (size, 0);
    ck_assert_ptr_null (s_timing (reply)->compute);
    gpb_reply_destroy (&reply);

    //  Memory that is there though no work-item is: what goes out is zeroes, what goes in and out
    //  as it was. The fake backend gives memory that is not zero.
    gpb_request_t *request = gpb_request_execute ("still");
    const char kept [] = "as it was";
    gpb_request_out (request, 0);
    gpb_request_in (request, kept, sizeof kept);
    gpb_request_u32 (request, sizeof kept);
    gpb_request_u32 (request, 0);
    reply = gpb_test_actor_ok (s_client, request);
    const unsigned char *zeroes = gpb_reply_result (reply, 0, &size);
    ck_assert_uint_eq (size, sizeof kept);
    for (size_t index = 0; index < size; index++)
        ck_assert_uint_eq (zeroes [index], 0);
    ck_assert_mem_eq (gpb_reply_result (reply, 1, &size), kept, sizeof kept);
    ck_assert_ptr_null (s_timing (reply)->compute);
    gpb_reply_destroy (&reply);
    s_stop ();
}
END_TEST

START_TEST (test_results_stand_in_the_header_where_they_fit)
{
    s_start (NULL);
    static unsigned char data [GPB_INLINE_MAX_SIZE + 1];
    memset (data, 3, sizeof data);
    zsock_t *dealer = zsock_new_dealer (GPB_TEST_ACTOR_INPROC);
    gpb_codec_t *codec = gpb_codec_new (&error);
    for (unsigned more = 0; more < 2; more++) {
        uint64_t global = GPB_INLINE_MAX_SIZE + more;
        Gpb__V1__Output output = GPB__V1__OUTPUT__INIT;
        Gpb__V1__Argument in = GPB__V1__ARGUMENT__INIT, out = GPB__V1__ARGUMENT__INIT;
        in.value_case = GPB__V1__ARGUMENT__VALUE_FRAME;
        out.value_case = GPB__V1__ARGUMENT__VALUE_OUTPUT;
        out.output = &output;
        Gpb__V1__Argument *arguments [] = { &in, &out };
        Gpb__V1__Execute execute = GPB__V1__EXECUTE__INIT;
        execute.kernel = (char *) "duplicate";
        execute.n_arguments = 2;
        execute.arguments = arguments;
        execute.n_global = 1;
        execute.global = &global;
        execute.inline_results = true;
        Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
        request.version = 1;
        request.id = 1 + more;
        request.body_case = GPB__V1__REQUEST__BODY_EXECUTE;
        request.execute = &execute;
        gpb_message_t message;
        gpb_message_init (&message);
        zmq_msg_t frame;
        zmq_msg_init_size (&frame, global);
        memcpy (zmq_msg_data (&frame), data, global);
        ck_assert_ok (gpb_message_add (&message, &frame, &error));
        ck_assert_ok (gpb_codec_pack (&request.base, &message.header, &error));
        ck_assert_ok (gpb_message_send (&message, zsock_resolve (dealer), &error));
        zmq_pollitem_t item = { zsock_resolve (dealer), 0, ZMQ_POLLIN, 0 };
        ck_assert_int_eq (zmq_poll (&item, 1, 20000), 1);
        ck_assert_ok (gpb_message_recv (&message, item.socket, &error));
        const Gpb__V1__Reply *reply = gpb_codec_reply (codec, &message.header, &error);
        ck_assert_ptr_nonnull (reply);
        ck_assert_int_eq (reply->status, GPB__V1__STATUS__OK);
        const Gpb__V1__Result *result = reply->execute->results [0];
        ck_assert_uint_eq (result->size, global);
        if (more) {
            ck_assert_int_eq (result->value_case, GPB__V1__RESULT__VALUE_FRAME);
            ck_assert_uint_eq (message.payloads_count, 1);
            ck_assert_mem_eq (zmq_msg_data (&message.payloads [0]), data, global);
        }
        else {
            ck_assert_int_eq (result->value_case, GPB__V1__RESULT__VALUE_INLINE);
            ck_assert_uint_eq (message.payloads_count, 0);
            ck_assert_uint_eq (result->inline_.len, global);
            ck_assert_mem_eq (result->inline_.data, data, global);
            //  In and out: both directions are copied by the host.
            ck_assert_uint_eq (reply->execute->timing->host_copied, 2 * global);
        }
        gpb_message_clear (&message);
    }
    gpb_codec_destroy (&codec);
    zsock_destroy (&dealer);
    s_stop ();
}
END_TEST

START_TEST (test_a_kernel_that_fails_says_so_and_the_device_goes_on)
{
    s_start (NULL);
    const uint64_t baseline = gpb_test_actor_available (s_client);
    for (int round = 0; round < 3; round++) {
        gpb_test_actor_refused (s_client, gpb_test_actor_scalar ("fails", round), GPB_INTERNAL,
                                "did not run to its end");
        gpb_test_actor_done (s_client, gpb_test_actor_scalar ("sleeps", 1));
    }
    ck_assert_uint_eq (gpb_test_actor_available (s_client), baseline);
    s_stop ();
}
END_TEST

START_TEST (test_enqueuing_that_breaks_off_in_the_middle_ends_with_its_reason)
{
    setenv ("GPB_FAKE_COPY_US", "5000", 1);
    s_start (NULL);
    const uint64_t baseline = gpb_test_actor_available (s_client);
    static unsigned char data [100000];
    //  The copy in is on its way when the backend refuses the launch: its memory must stay until it
    //  is done, which the fake backend's books see to.
    for (int round = 0; round < 10; round++) {
        gpb_request_t *request = gpb_request_execute ("refused");
        gpb_request_in (request, data, sizeof data);
        gpb_request_u32 (request, sizeof data);
        gpb_test_actor_send (s_client, request);
    }
    for (uint64_t id = 1; id <= 10; id++) {
        gpb_reply_t *reply = gpb_test_actor_recv (s_client);
        ck_assert_int_eq (gpb_reply_status (reply), GPB_INVALID_ARGUMENT);
        ck_assert_ptr_nonnull (strstr (gpb_reply_message (reply), "add_f32 takes"));
        gpb_reply_destroy (&reply);
    }
    ck_assert_uint_eq (gpb_test_actor_in_flight (s_client), 0);
    ck_assert_uint_eq (gpb_test_actor_available (s_client), baseline);
    s_stop ();
}
END_TEST

START_TEST (test_out_of_memory_in_the_middle_gives_everything_back)
{
    setenv ("GPB_FAKE_MEMORY", "1048576", 1);
    s_start (NULL);
    const uint64_t baseline = gpb_test_actor_available (s_client);
    ck_assert_uint_eq (baseline, 1048576);
    //  Three buffers of 400,000 bytes: two fit.
    static float a [100000], b [100000];
    for (int round = 0; round < 3; round++) {
        gpb_test_actor_refused (s_client, s_add_request (a, b, 100000), GPB_RESOURCE_EXHAUSTED,
                                "are free");
        ck_assert_uint_eq (gpb_test_actor_available (s_client), baseline);
    }
    //  What is kept of smaller requests is given to a larger one: 3 * 5 * 2^14 with 3 * 7 * 2^14.
    gpb_test_actor_done (s_client, s_add_request (a, b, 5 << 12));
    gpb_test_actor_done (s_client, s_add_request (a, b, 7 << 12));
    gpb_test_actor_done (s_client, s_add_request (a, b, 5 << 14));
    ck_assert_uint_eq (gpb_test_actor_available (s_client), baseline);
    s_stop ();
}
END_TEST

START_TEST (test_what_cannot_run_here_is_refused)
{
    s_start (NULL);
    gpb_test_actor_refused (s_client, gpb_test_actor_scalar ("nothing", 1), GPB_NOT_FOUND,
                            "there is no kernel nothing");
    gpb_test_actor_refused (s_client, gpb_test_actor_scalar ("picky", 1), GPB_FAILED_PRECONDITION,
                            "moon");
    gpb_test_actor_refused (s_client, gpb_test_actor_scalar ("broken", 1), GPB_FAILED_PRECONDITION,
                            "broken.c:1: error");
    gpb_test_actor_refused (s_client, gpb_test_actor_scalar ("four", 1), GPB_FAILED_PRECONDITION,
                            "four");
    gpb_request_t *request = gpb_test_actor_scalar ("sleeps", 1);
    gpb_request_set_device (request, 1);
    gpb_test_actor_refused (s_client, request, GPB_NOT_FOUND, "device 1: this is device 0");
    request = gpb_test_actor_scalar ("sleeps", 1);
    gpb_request_require (request, "fp64");
    gpb_request_require (request, "fake_1");
    gpb_test_actor_refused (s_client, request, GPB_FAILED_PRECONDITION, "fake_1");
    request = gpb_test_actor_scalar ("sleeps", 1);
    gpb_request_set_memory (request, UINT64_C (1) << 40);
    gpb_test_actor_refused (s_client, request, GPB_RESOURCE_EXHAUSTED, "1099511627776");
    request = gpb_request_rent (64, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE);
    gpb_request_require (request, "fake_1");
    gpb_test_actor_refused (s_client, request, GPB_FAILED_PRECONDITION, "fake_1");
    request = gpb_request_rent (64, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE);
    gpb_request_set_device (request, 9);
    gpb_test_actor_refused (s_client, request, GPB_NOT_FOUND, "this is device 0");

    request = gpb_test_actor_scalar ("sleeps", 1);
    gpb_request_require (request, "fake_0");
    gpb_request_set_device (request, 0);
    gpb_request_set_memory (request, 1 << 20);
    gpb_test_actor_done (s_client, request);
    s_stop ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Cancel, deadlines, more than there is room for

START_TEST (test_a_request_in_flight_is_taken_back_at_once)
{
    s_start (NULL);
    uint64_t id = gpb_test_actor_send (s_client, gpb_test_actor_scalar ("endless", 1));
    gpb_test_actor_await_in_flight (s_client, 1);
    ck_assert_ok (gpb_client_cancel (s_client, id, &error));
    gpb_test_actor_expect (s_client, id, GPB_CANCELLED, "took the request back");
    //  The kernel goes on, and the device with what is behind it.
    ck_assert_uint_eq (gpb_test_actor_in_flight (s_client), 1);
    gpb_test_actor_refused (s_client, gpb_request_cancel (id), GPB_NOT_FOUND, "not in flight");
    gpb_test_actor_let_go (s_client);
    gpb_test_actor_done (s_client, gpb_test_actor_scalar ("sleeps", 1));
    ck_assert_ptr_null (gpb_client_recv (s_client, 0));
    s_stop ();
}
END_TEST

//  Speaks the protocol itself: a client adds its own deadline to the node's.
static void
s_raw_send (zsock_t *dealer, const gpb_hop_t *hop, Gpb__V1__Request *request)
{
    gpb_message_t message;
    gpb_message_init (&message);
    request->version = GPB_PROTOCOL_VERSION;
    if (hop) {
        zmq_msg_init (&message.envelope [0]);
        gpb_hop_write (&message.envelope [0], hop);
        message.envelope_count = 1;
    }
    ck_assert_ok (gpb_codec_pack (&request->base, &message.header, &error));
    ck_assert_ok (gpb_message_send (&message, zsock_resolve (dealer), &error));
}

static void
s_raw_execute (zsock_t *dealer, const gpb_hop_t *hop, uint64_t id, const char *kernel,
               uint32_t timeout_ms)
{
    Gpb__V1__Argument argument = GPB__V1__ARGUMENT__INIT;
    argument.value_case = GPB__V1__ARGUMENT__VALUE_I32;
    argument.i32 = 1;
    Gpb__V1__Argument *arguments [] = { &argument };
    Gpb__V1__Execute execute = GPB__V1__EXECUTE__INIT;
    execute.kernel = (char *) kernel;
    execute.n_arguments = 1;
    execute.arguments = arguments;
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    request.id = id;
    request.timeout_ms = timeout_ms;
    request.body_case = GPB__V1__REQUEST__BODY_EXECUTE;
    request.execute = &execute;
    s_raw_send (dealer, hop, &request);
}

//  The next answer's status and id; hop may be NULL.
static gpb_status_t
s_raw_recv (zsock_t *dealer, gpb_hop_t *hop, uint64_t *id_p)
{
    zmq_pollitem_t item = { zsock_resolve (dealer), 0, ZMQ_POLLIN, 0 };
    ck_assert_int_eq (zmq_poll (&item, 1, 20000), 1);
    gpb_message_t message;
    gpb_message_init (&message);
    ck_assert_ok (gpb_message_recv (&message, item.socket, &error));
    if (hop)
        ck_assert (message.envelope_count == 1 && gpb_hop_read (&message.envelope [0], hop));
    gpb_codec_t *codec = gpb_codec_new (&error);
    const Gpb__V1__Reply *reply = gpb_codec_reply (codec, &message.header, &error);
    ck_assert_ptr_nonnull (reply);
    *id_p = reply->id;
    gpb_status_t status = (gpb_status_t) reply->status;
    gpb_codec_destroy (&codec);
    gpb_message_clear (&message);
    return status;
}

START_TEST (test_a_deadline_answers_while_the_kernel_runs)
{
    s_start (NULL);
    zsock_t *dealer = zsock_new_dealer (GPB_TEST_ACTOR_INPROC);
    uint64_t id, before_ns = gpb_clock_ns ();
    s_raw_execute (dealer, NULL, 5, "endless", 50);
    ck_assert_int_eq (s_raw_recv (dealer, NULL, &id), GPB_DEADLINE_EXCEEDED);
    ck_assert_uint_eq (id, 5);
    ck_assert_uint_ge (gpb_clock_ns () - before_ns, 50 * GPB_NS_PER_MS);
    gpb_test_actor_let_go (s_client);
    //  Its id is free again, and it was answered once.
    s_raw_execute (dealer, NULL, 5, "sleeps", 20000);
    ck_assert_int_eq (s_raw_recv (dealer, NULL, &id), GPB_OK);
    ck_assert_uint_eq (id, 5);
    zmq_pollitem_t item = { zsock_resolve (dealer), 0, ZMQ_POLLIN, 0 };
    ck_assert_int_eq (zmq_poll (&item, 1, 0), 0);
    zsock_destroy (&dealer);
    s_stop ();
}
END_TEST

START_TEST (test_a_hop_without_time_left_is_not_begun)
{
    s_start (NULL);
    zsock_t *dealer = zsock_new_dealer (GPB_TEST_ACTOR_INPROC);
    gpb_hop_t hop = { .magic = GPB_HOP_MAGIC, .slot = 3, .generation = 4, .owner = 7 }, echo;
    uint64_t id;
    s_raw_execute (dealer, &hop, 5, "endless", 20000);
    ck_assert_int_eq (s_raw_recv (dealer, &echo, &id), GPB_DEADLINE_EXCEEDED);
    ck_assert_mem_eq (&hop, &echo, sizeof hop);
    ck_assert_uint_eq (gpb_test_actor_in_flight (s_client), 0);
    zsock_destroy (&dealer);
    s_stop ();
}
END_TEST

START_TEST (test_an_id_in_flight_is_no_second_requests)
{
    s_start (NULL);
    zsock_t *dealer = zsock_new_dealer (GPB_TEST_ACTOR_INPROC);
    zsock_t *other = zsock_new_dealer (GPB_TEST_ACTOR_INPROC);
    uint64_t id;
    s_raw_execute (dealer, NULL, 5, "endless", 20000);
    s_raw_execute (dealer, NULL, 5, "sleeps", 20000);
    ck_assert_int_eq (s_raw_recv (dealer, NULL, &id), GPB_ALREADY_EXISTS);
    ck_assert_uint_eq (id, 5);
    //  Another connection's ids are its own.
    s_raw_execute (other, NULL, 5, "endless", 20000);
    gpb_test_actor_await_in_flight (s_client, 2);
    gpb_test_actor_let_go (s_client);
    ck_assert_int_eq (s_raw_recv (dealer, NULL, &id), GPB_OK);
    ck_assert_int_eq (s_raw_recv (other, NULL, &id), GPB_OK);
    zsock_destroy (&dealer);
    zsock_destroy (&other);
    s_stop ();
}
END_TEST

START_TEST (test_more_requests_than_places_are_all_answered)
{
    enum { COUNT = 500 };
    s_start (NULL);
    unsigned char data [64] = { 1 };
    gpb_test_actor_send (s_client, gpb_test_actor_scalar ("sleeps", 50000));
    for (int index = 1; index < COUNT; index++)
        gpb_test_actor_send (s_client, gpb_test_actor_duplicate (data, sizeof data));
    static bool answered [COUNT + 1];
    for (int index = 0; index < COUNT; index++) {
        gpb_reply_t *reply = gpb_test_actor_recv (s_client);
        ck_assert_int_eq (gpb_reply_status (reply), GPB_OK);
        uint64_t id = gpb_reply_id (reply);
        ck_assert (id >= 1 && id <= COUNT && !answered [id]);
        answered [id] = true;
        gpb_reply_destroy (&reply);
    }
    s_stop ();
}
END_TEST

static uint64_t
s_cpu_ns (void)
{
    struct timespec time;
    clock_gettime (CLOCK_PROCESS_CPUTIME_ID, &time);
    return (uint64_t) time.tv_sec * GPB_NS_PER_S + (uint64_t) time.tv_nsec;
}

START_TEST (test_a_device_with_all_places_taken_waits_quietly)
{
    s_start (NULL);
    gpb_test_actor_bind (&s_device, "tcp://127.0.0.1:*");
    uint64_t ids [128];
    for (int index = 0; index < 128; index++)
        ids [index] = gpb_test_actor_send (s_client, gpb_test_actor_scalar ("endless", 1));
    //  Nothing is read any more, so nothing says when they are there: the fake backend does.
    gpb_test_actor_send (s_client, gpb_test_actor_scalar ("sleeps", 1));
    zmq_poll (NULL, 0, 200);
    //  A connection comes and goes, which is more news for the monitor.
    zsock_t *dealer = zsock_new_dealer (s_device.endpoint);
    zmq_poll (NULL, 0, 100);
    zsock_destroy (&dealer);
    uint64_t before_ns = s_cpu_ns (), start_ns = gpb_clock_ns ();
    zmq_poll (NULL, 0, 500);
    uint64_t wall_ns = gpb_clock_ns () - start_ns;
    ck_assert_uint_lt (s_cpu_ns () - before_ns, wall_ns / 2);
    int answered = 0;
    while (answered < 129) {
        gpb_test_fake_let_go ();
        gpb_reply_t *reply = gpb_client_recv (s_client, 1);
        answered += reply != NULL;
        gpb_reply_destroy (&reply);
    }
    ck_assert_uint_ne (ids [127], 0);
    s_stop ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Behind a broker, and the end of things

START_TEST (test_what_a_broker_has_sent_is_answered_though_its_client_has_left)
{
    s_start (NULL);
    zsock_t *broker = zsock_new_dealer (GPB_TEST_ACTOR_INPROC);
    gpb_hop_t work = { .magic = GPB_HOP_MAGIC, .slot = 3, .generation = 4, .owner = 7 }, echo;
    work.remaining_ns = 20 * GPB_NS_PER_S;
    gpb_hop_t other = work;
    other.slot = 4;
    other.owner = 8;
    gpb_hop_t own = { .magic = GPB_HOP_MAGIC, .slot = UINT32_MAX, .owner = 7 };
    own.remaining_ns = work.remaining_ns;
    s_raw_execute (broker, &work, 5, "endless", 20000);
    s_raw_execute (broker, &other, 5, "endless", 20000);
    Gpb__V1__Goodbye goodbye = GPB__V1__GOODBYE__INIT;
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    request.body_case = GPB__V1__REQUEST__BODY_GOODBYE;
    request.goodbye = &goodbye;
    s_raw_send (broker, &own, &request);
    uint64_t id;
    ck_assert_int_eq (s_raw_recv (broker, &echo, &id), GPB_OK);
    ck_assert_uint_eq (echo.slot, UINT32_MAX);
    //  The broker's book waits for both: an entry that is never answered is a credit lost for ever.
    gpb_test_actor_await_in_flight (s_client, 2);
    gpb_test_actor_let_go (s_client);
    bool answered [2] = { false, false };
    for (int index = 0; index < 2; index++) {
        ck_assert_int_eq (s_raw_recv (broker, &echo, &id), GPB_OK);
        ck_assert (echo.slot == 3 || echo.slot == 4);
        answered [echo.slot - 3] = true;
        //  What it took, for the broker's credits.
        ck_assert_uint_eq (echo.flags, GPB_HOP_SERVED);
        ck_assert (echo.served_ns > 0 && echo.served_ns < work.remaining_ns);
    }
    ck_assert (answered [0] && answered [1]);
    zsock_destroy (&broker);
    s_stop ();
}
END_TEST

START_TEST (test_a_device_that_stops_answers_what_it_has)
{
    s_start (NULL);
    uint64_t id = gpb_test_actor_send (s_client, gpb_test_actor_scalar ("sleeps", 300000));
    gpb_test_actor_await_in_flight (s_client, 1);
    gpb_test_actor_stop (&s_device);
    gpb_test_actor_expect (s_client, id, GPB_OK, "");
    gpb_client_destroy (&s_client);
}
END_TEST

//  A device that gives up on a kernel leaves its memory and its pool to the end of the process: in
//  a child, that ends without looking for leaks.
static int
s_in_a_child (void (*work) (void))
{
    fflush (NULL);
    pid_t child = fork ();
    ck_assert_int_ge (child, 0);
    if (child == 0) {
        work ();
        _exit (0);
    }
    int status;
    ck_assert_int_eq (waitpid (child, &status, 0), child);
    return WIFEXITED (status) ? WEXITSTATUS (status) : -1;
}

static void
s_stop_with_an_endless_kernel (void)
{
    s_start ((const char *const []){ "drain_ms", "100", NULL });
    uint64_t cancelled = gpb_test_actor_send (s_client, gpb_test_actor_scalar ("endless", 1));
    gpb_test_actor_await_in_flight (s_client, 1);
    gpb_client_cancel (s_client, cancelled, &error);
    gpb_reply_t *reply = gpb_test_actor_recv (s_client);
    if (gpb_reply_status (reply) != GPB_CANCELLED)
        _exit (1);
    gpb_reply_destroy (&reply);
    uint64_t left = gpb_test_actor_send (s_client, gpb_test_actor_scalar ("endless", 1));
    gpb_test_actor_await_in_flight (s_client, 2);
    uint64_t start_ns = gpb_clock_ns ();
    zactor_destroy (&s_device.actor);
    if (gpb_clock_ns () - start_ns > 10 * GPB_NS_PER_S)
        _exit (2);
    reply = gpb_client_recv (s_client, 20000);
    if (!reply || gpb_reply_id (reply) != left || gpb_reply_status (reply) != GPB_UNAVAILABLE)
        _exit (3);
}

static void
s_stop_with_an_answered_kernel (void)
{
    s_start ((const char *const []){ "drain_ms", "100", NULL });
    uint64_t cancelled = gpb_test_actor_send (s_client, gpb_test_actor_scalar ("endless", 1));
    gpb_test_actor_await_in_flight (s_client, 1);
    gpb_client_cancel (s_client, cancelled, &error);
    gpb_reply_t *reply = gpb_test_actor_recv (s_client);
    if (gpb_reply_status (reply) != GPB_CANCELLED)
        _exit (1);
    uint64_t start_ns = gpb_clock_ns ();
    zactor_destroy (&s_device.actor);
    if (gpb_clock_ns () - start_ns > 10 * GPB_NS_PER_S)
        _exit (2);
}

START_TEST (test_a_kernel_that_never_ends_does_not_keep_a_device_from_stopping)
{
    ck_assert_int_eq (s_in_a_child (s_stop_with_an_endless_kernel), 0);
    ck_assert_int_eq (s_in_a_child (s_stop_with_an_answered_kernel), 0);
}
END_TEST

START_TEST (test_a_result_outlives_its_device)
{
    s_start (NULL);
    static unsigned char data [300000];
    memset (data, 0x5B, sizeof data);
    gpb_reply_t *reply = gpb_test_actor_ok (s_client, gpb_test_actor_duplicate (data, sizeof data));
    gpb_reply_t *freed_before =
        gpb_test_actor_ok (s_client, gpb_test_actor_duplicate (data, sizeof data));
    gpb_reply_destroy (&freed_before);
    s_stop ();
    size_t size;
    const void *result = gpb_reply_result (reply, 0, &size);
    ck_assert_uint_eq (size, sizeof data);
    ck_assert_mem_eq (result, data, size);
    //  The last reference: this closes the backend, whose books are checked.
    gpb_reply_destroy (&reply);
}
END_TEST

START_TEST (test_a_lost_device_answers_everything_unavailable)
{
    s_start (NULL);
    gpb_test_actor_refused (s_client, gpb_test_actor_scalar ("loses", 1), GPB_UNAVAILABLE,
                            "the device is lost");
    gpb_test_actor_refused (s_client, gpb_test_actor_scalar ("sleeps", 1), GPB_UNAVAILABLE,
                            "the device is lost");
    gpb_test_actor_refused (s_client, gpb_request_rent (64, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE),
                            GPB_UNAVAILABLE, "the device is lost");
    ck_assert_uint_eq (gpb_test_actor_in_flight (s_client), 0);
    s_stop ();
}
END_TEST

START_TEST (test_a_device_out_of_order_says_why_to_every_command)
{
    setenv ("GPB_FAKE_BAD", "0", 1);
    setenv ("GPB_FAKE_DEVICES", "1", 1);
    gpb_config_t *config = gpb_test_actor_config ("fake", NULL);
    gpb_device_args_t args = { .config = config, .index = 0 };
    zactor_t *actor = zactor_new (gpb_device, &args);
    gpb_config_destroy (&config);
    gpb_status_t status =
        gpb_pipe_ask (actor, (const char *[]){ "BIND", GPB_TEST_ACTOR_INPROC, NULL }, &error);
    ck_assert_int_ne (status, GPB_OK);
    char first [GPB_ERROR_TEXT_SIZE];
    snprintf (first, sizeof first, "%s", error.text);
    ck_assert_str_ne (first, "");
    ck_assert_int_eq (gpb_pipe_ask (actor, (const char *[]){ "DANCE", NULL }, &error), status);
    ck_assert_str_eq (error.text, first);
    zactor_destroy (&actor);
}
END_TEST

START_TEST (test_a_command_that_is_none_is_refused)
{
    s_start (NULL);
    ck_assert_refused (gpb_pipe_ask (s_device.actor, (const char *[]){ "DANCE", NULL }, &error),
                       GPB_INVALID_ARGUMENT, "expected BIND ENDPOINT, HOST ENDPOINT or $TERM");
    ck_assert_refused (gpb_pipe_ask (s_device.actor, (const char *[]){ "BIND", "nowhere", NULL },
                                     &error),
                       GPB_INVALID_ARGUMENT, "cannot bind nowhere");
    s_stop ();
}
END_TEST

//  The fake backend's books know of what is loaded beside a lane.
START_TEST (test_persistent_kernels_leave_for_a_kernel_that_is_loaded_alone)
{
    static const char endpoint [] = "inproc://test-device-host";
    setenv ("GPB_FAKE_LOADS_ALONE", "1", 1);
    char path [4096];
    const char *source = getenv ("GPB_SOURCE_DIR");
    snprintf (path, sizeof path, "%s/tests/packages:%s/tests/kernels_fake", source, source);
    s_start ((const char *const []){ "persistent_idle_ms", "10000", "kernel_path", path, NULL });
    ck_assert_ok (
        gpb_pipe_ask (s_device.actor, (const char *[]){ "HOST", endpoint, NULL }, &error));
    gpb_client_t *client = gpb_test_actor_client (endpoint);
    const uint32_t word = 7;
    static const char *const loaded [] = { "sleeps", "fails" };
    for (int round = 0; round < 3; round++) {
        gpb_request_t *request = gpb_request_execute ("fake_echo");
        gpb_request_in (request, &word, sizeof word);
        gpb_request_out (request, 0);
        gpb_reply_t *reply = gpb_test_actor_ok (client, request);
        ck_assert_uint_eq (*(const uint32_t *) gpb_reply_result (reply, 0, NULL), word);
        gpb_reply_destroy (&reply);
        if (round == 2)
            break;
        reply = gpb_test_actor_call (s_client, gpb_test_actor_scalar (loaded [round], 1));
        ck_assert_int_eq (gpb_reply_status (reply), round == 0 ? GPB_OK : GPB_INTERNAL);
        gpb_reply_destroy (&reply);
    }
    gpb_reply_t *reply = gpb_test_actor_ok (client, gpb_request_stats ());
    const Gpb__V1__StatsReply *stats = gpb_reply_header_peek (reply)->stats;
    ck_assert_uint_eq (stats->n_residencies, 1);
    ck_assert_uint_eq (stats->residencies [0]->launches, 3);
    gpb_reply_destroy (&reply);
    gpb_client_destroy (&client);
    s_stop ();
}
END_TEST

START_TEST (test_a_device_says_what_it_is)
{
    s_start ((const char *const []){ "name", "bench-7", NULL });
    gpb_reply_t *reply = gpb_test_actor_ok (s_client, gpb_request_devices ());
    const Gpb__V1__DeviceList *list = gpb_reply_header_peek (reply)->devices;
    ck_assert_str_eq (list->node, "bench-7");
    ck_assert_uint_eq (list->n_devices, 1);
    ck_assert_str_eq (list->devices [0]->name, "fake 0");
    ck_assert_int_eq (list->devices [0]->state, GPB__V1__DEVICE_STATE__READY);
    ck_assert_uint_eq (list->devices [0]->available_memory, list->devices [0]->total_memory);
    gpb_reply_destroy (&reply);
    reply = gpb_test_actor_ok (s_client, gpb_request_hello ());
    ck_assert_str_eq (gpb_reply_header_peek (reply)->hello->node, "bench-7");
    gpb_reply_destroy (&reply);
    reply = gpb_test_actor_ok (s_client, gpb_request_kernels ("add"));
    ck_assert_uint_eq (gpb_reply_header_peek (reply)->kernels->n_kernels, 1);
    gpb_reply_destroy (&reply);
    gpb_test_actor_refused (s_client, gpb_request_health (), GPB_UNIMPLEMENTED, "not served");
    s_stop ();
}
END_TEST

START_TEST (test_kernels_come_over_the_wire_where_that_is_allowed)
{
    static const char definition [] = "id = \"mine\"; source = \"mine.c\"; global = [ \"1\" ];\n"
                                      "parameters = ( { name = \"n\"; direction = \"scalar\"; "
                                      "type = \"i32\"; } );";
    s_start (NULL);
    gpb_test_actor_refused (s_client, gpb_request_register (definition, "mine fake: noop", false),
                            GPB_PERMISSION_DENIED, "allow_register");
    s_stop ();
    s_start ((const char *const []){ "allow_register", "true", NULL });
    gpb_test_actor_done (s_client, gpb_request_register (definition, "mine fake: noop", false));
    gpb_test_actor_done (s_client, gpb_test_actor_scalar ("mine", 1));
    gpb_test_actor_refused (s_client, gpb_request_register (definition, "mine fake: fail", false),
                            GPB_ALREADY_EXISTS, "mine");
    gpb_test_actor_refused (s_client, gpb_request_register (definition, "mine fake: ???", true),
                            GPB_INVALID_ARGUMENT, "error");
    //  A refused replacement changes nothing.
    gpb_test_actor_done (s_client, gpb_test_actor_scalar ("mine", 1));
    //  One that comes while the old one runs takes over with the next request.
    gpb_test_actor_done (s_client,
                         gpb_request_register (definition, "mine fake: never_done", true));
    uint64_t id = gpb_test_actor_send (s_client, gpb_test_actor_scalar ("mine", 1));
    gpb_test_actor_await_in_flight (s_client, 1);
    gpb_test_actor_done (s_client, gpb_request_register (definition, "mine fake: fail", true));
    gpb_test_actor_let_go (s_client);
    gpb_test_actor_expect (s_client, id, GPB_OK, "");
    gpb_test_actor_refused (s_client, gpb_test_actor_scalar ("mine", 1), GPB_INTERNAL, "");
    s_stop ();
}
END_TEST

GPB_TEST_MAIN (
    "gpb_device", 30, test_a_request_comes_back_computed,
    test_copy_and_compute_of_different_requests_overlap, test_without_profiling_nothing_is_measured,
    test_work_of_zero_size_is_done_without_a_launch,
    test_results_stand_in_the_header_where_they_fit,
    test_a_kernel_that_fails_says_so_and_the_device_goes_on,
    test_enqueuing_that_breaks_off_in_the_middle_ends_with_its_reason,
    test_out_of_memory_in_the_middle_gives_everything_back, test_what_cannot_run_here_is_refused,
    test_a_request_in_flight_is_taken_back_at_once, test_a_deadline_answers_while_the_kernel_runs,
    test_a_hop_without_time_left_is_not_begun, test_an_id_in_flight_is_no_second_requests,
    test_more_requests_than_places_are_all_answered,
    test_a_device_with_all_places_taken_waits_quietly,
    test_what_a_broker_has_sent_is_answered_though_its_client_has_left,
    test_a_device_that_stops_answers_what_it_has,
    test_a_kernel_that_never_ends_does_not_keep_a_device_from_stopping,
    test_a_result_outlives_its_device, test_a_lost_device_answers_everything_unavailable,
    test_a_device_out_of_order_says_why_to_every_command, test_a_command_that_is_none_is_refused,
    test_persistent_kernels_leave_for_a_kernel_that_is_loaded_alone, test_a_device_says_what_it_is,
    test_kernels_come_over_the_wire_where_that_is_allowed)
