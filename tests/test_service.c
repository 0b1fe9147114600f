//  Tests of gpb_service: whatever comes is answered to its envelope, and every command of the pipe
//  is answered.

#include "gpb_test.h"

#include "gpb_alloc.h"
#include "gpb_clock.h"
#include "gpb_describe.h"
#include "gpb_service.h"
#include "gpb_test_peer.h"

#include <string.h>

static gpb_error_t error;
static gpb_config_t *s_config;
static gpb_service_t *s_service;
static gpb_hello_t s_packed;
static gpb_test_peer_t s_peer;
static gpb_call_t s_call;    //  what the handler saw last; its pointers are gone
static unsigned s_calls;

static void
s_handle_hello (void *self, gpb_call_t *call)
{
    ck_assert_ptr_eq (self, &s_calls);
    s_call = *call;
    s_calls++;
    gpb_answer_hello (&s_packed, s_service, call, "node", s_config);
}

//  Answers nothing: the test does.
static void
s_handle_execute (void *self, gpb_call_t *call)
{
    (void) self;
    s_call = *call;
    s_calls++;
    gpb_error_set (&error, GPB_FAILED_PRECONDITION, "%s", call->request->execute->kernel);
    if (streq (call->request->execute->kernel, "latin"))
        gpb_error_set (&error, GPB_INTERNAL, "a driver\xE9s words, \xC3\xA9, \xFF");
    gpb_call_refuse (s_service, call, &error);
}

//  The largest header is too small for this.
static void
s_handle_kernels (void *self, gpb_call_t *call)
{
    (void) self;
    static char name [70000];
    memset (name, 'n', sizeof name - 1);
    Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
    Gpb__V1__KernelList list = GPB__V1__KERNEL_LIST__INIT;
    Gpb__V1__Kernel kernel = GPB__V1__KERNEL__INIT;
    Gpb__V1__Kernel *kernels [] = { &kernel };
    kernel.description = name;
    list.n_kernels = 1;
    list.kernels = kernels;
    reply.body_case = GPB__V1__REPLY__BODY_KERNELS;
    reply.kernels = &list;
    gpb_call_reply (s_service, call, &reply);
}

static void
s_handle_goodbye (void *self, gpb_call_t *call)
{
    (void) self;
    Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
    gpb_call_reply (s_service, call, &reply);
}

static const gpb_handler_t s_handlers [] = {
    { GPB__V1__REQUEST__BODY_HELLO, s_handle_hello },
    { GPB__V1__REQUEST__BODY_EXECUTE, s_handle_execute },
    { GPB__V1__REQUEST__BODY_KERNELS, s_handle_kernels },
    { GPB__V1__REQUEST__BODY_GOODBYE, s_handle_goodbye },
};

static void
s_open (void)
{
    s_config = gpb_config_new ();
    ck_assert_ok (gpb_config_set (s_config, "default_timeout_ms", "2000", &error));
    ck_assert_ok (gpb_config_set (s_config, "max_timeout_ms", "5000", &error));
    s_service = gpb_service_new (s_config, s_handlers, sizeof s_handlers / sizeof s_handlers [0],
                                 &s_calls, &error);
    ck_assert_ptr_nonnull (s_service);
    char bound [64];
    ck_assert_ok (gpb_router_bind (gpb_service_router (s_service), "inproc://service", bound,
                                   sizeof bound, &error));
    gpb_test_peer_open (&s_peer, "inproc://service");
    s_calls = 0;
}

static void
s_close (void)
{
    gpb_test_peer_close (&s_peer);
    gpb_hello_clear (&s_packed);
    gpb_service_destroy (&s_service, 0);
    ck_assert_ptr_null (s_service);
    gpb_config_destroy (&s_config);
}

//  Sends frames: the first `envelope` ones before an empty one, all as strings.
static void
s_send_header (const void *header, size_t size, unsigned envelope, unsigned payloads)
{
    zmsg_t *message = zmsg_new ();
    for (unsigned number = 0; number < envelope; number++)
        zmsg_addstrf (message, "hop %u", number);
    zmsg_addmem (message, "", 0);
    zmsg_addmem (message, header, size);
    for (unsigned number = 0; number < payloads; number++)
        zmsg_addstr (message, "payload");
    zmsg_send (&message, s_peer.dealer);
}

static void
s_serve (size_t count)
{
    ck_assert_uint_eq (gpb_service_receive (s_service, SIZE_MAX), count);
}

static void
s_hello (uint64_t id, uint32_t timeout_ms)
{
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Hello hello = GPB__V1__HELLO__INIT;
    request.id = id;
    request.timeout_ms = timeout_ms;
    request.body_case = GPB__V1__REQUEST__BODY_HELLO;
    request.hello = &hello;
    gpb_test_peer_send (&s_peer, &request, NULL);
    s_serve (1);
}

START_TEST (test_whatever_cannot_be_served_is_answered)
{
    static const struct {
        const char *header;
        size_t size;
        unsigned payloads;
        gpb_status_t status;
        uint64_t id;
    } table [] = {
        { "", 0, 0, GPB_UNIMPLEMENTED, 0 },                                   //  version 0
        { "\xFF\xFF\xFF", 3, 0, GPB_INVALID_ARGUMENT, 0 },                    //  garbage
        { "\x08\x01\x10\x07\xFF", 5, 0, GPB_INVALID_ARGUMENT, 7 },            //  cut behind the id
        { "\x08\x02\x10\x07", 4, 0, GPB_UNIMPLEMENTED, 7 },                   //  version 2
        { "\x08\x01\x10\x07", 4, 0, GPB_UNIMPLEMENTED, 7 },                   //  no body
        { "\x08\x01\x10\x07\xFA\x0F\x00", 7, 0, GPB_UNIMPLEMENTED, 7 },       //  body 255
        { "\x08\x01\x10\x07\xE2\x01\x00", 7, 0, GPB_UNIMPLEMENTED, 7 },       //  health: no handler
        { "\x08\x01\x10\x07\x82\x01\x00", 7, 1, GPB_INVALID_ARGUMENT, 7 },    //  hello, a payload
        { "\x08\x01\x10\x07\x82\x01\x00", 7, 33, GPB_INVALID_ARGUMENT, 0 },    //  too many frames
        { "\x08\x01\x10\x07\xA2\x01\x03\x0A\x01\xFF", 10, 0, GPB_INVALID_ARGUMENT, 7 },    //  text
        { "\x08\x01\x10\x07\xA2\x01\x03\x0A\x01\x00", 10, 0, GPB_INVALID_ARGUMENT, 7 },    //  a NUL
    };
    s_open ();
    for (size_t index = 0; index < sizeof table / sizeof table [0]; index++)
        for (unsigned envelope = 0; envelope < 4; envelope += 3) {
            s_send_header (table [index].header, table [index].size, envelope,
                           table [index].payloads);
            s_serve (1);
            gpb_test_peer_expect (&s_peer, table [index].id, table [index].status);
            ck_assert_uint_eq (s_peer.message.envelope_count, envelope);
            ck_assert_uint_eq (s_peer.message.payloads_count, 0);
            if (envelope)
                ck_assert_mem_eq (zmq_msg_data (&s_peer.message.envelope [2]), "hop 2", 5);
        }
    ck_assert_uint_eq (s_calls, 0);
    zstr_send (s_peer.dealer, "nobody to answer to");
    s_serve (0);
    s_hello (1, 0);
    gpb_test_peer_expect (&s_peer, 1, GPB_OK);
    ck_assert_uint_eq (s_calls, 1);
    s_close ();
}
END_TEST

START_TEST (test_a_deadline_comes_from_the_request_the_default_and_the_bound)
{
    s_open ();
    const uint32_t asked [] = { 0, 100, 5000, 5001, UINT32_MAX };
    const uint64_t expected_ms [] = { 2000, 100, 5000, 5000, 5000 };
    for (unsigned index = 0; index < 5; index++) {
        s_hello (index, asked [index]);
        gpb_test_peer_expect (&s_peer, index, GPB_OK);
        ck_assert_uint_eq (s_call.deadline_ns - s_call.received_ns,
                           expected_ms [index] * GPB_NS_PER_MS);
        ck_assert_uint_eq (s_call.owner.behind, 0);
        ck_assert (s_call.is_inproc);
    }
    //  A hop shortens it, and says whose it is.
    gpb_hop_t hop = { .magic = GPB_HOP_MAGIC, .owner = 9, .remaining_ns = 12345 };
    for (unsigned round = 0; round < 2; round++) {
        zmsg_t *message = zmsg_new ();
        zmsg_addmem (message, &hop, sizeof hop);
        zmsg_addmem (message, "", 0);
        zmsg_addmem (message, "\x08\x01\x10\x07\x82\x01\x00", 7);
        zmsg_send (&message, s_peer.dealer);
        s_serve (1);
        gpb_test_peer_expect (&s_peer, 7, GPB_OK);
        ck_assert_uint_eq (s_call.deadline_ns - s_call.received_ns,
                           round ? 2000 * GPB_NS_PER_MS : 12345);
        ck_assert_uint_eq (s_call.owner.behind, 9);
        ck_assert_int_eq (s_call.is_inproc, round);
        ck_assert_mem_eq (zmq_msg_data (&s_peer.message.envelope [0]), &hop, sizeof hop);
        hop.remaining_ns = UINT64_MAX;
        hop.flags = GPB_HOP_INPROC;
    }
    s_close ();
}
END_TEST

START_TEST (test_texts_of_errors_are_UTF_8)
{
    s_open ();
    gpb_test_peer_execute (&s_peer, 1, "latin", -1, 0);
    s_serve (1);
    //  gpb_codec_reply refuses an answer that is none.
    const Gpb__V1__Reply *reply = gpb_test_peer_expect (&s_peer, 1, GPB_INTERNAL);
    ck_assert_str_eq (reply->message, "a driver?s words, \xC3\xA9, ?");
    gpb_test_peer_execute (&s_peer, 2, "sch\xC3\xB6n", -1, 0);
    s_serve (1);
    reply = gpb_test_peer_expect (&s_peer, 2, GPB_FAILED_PRECONDITION);
    ck_assert_str_eq (reply->message, "sch\xC3\xB6n");
    s_close ();
}
END_TEST

START_TEST (test_an_answer_too_large_for_a_header_is_refused_in_its_place)
{
    s_open ();
    s_send_header ("\x08\x01\x10\x07\x9A\x01\x00", 7, 0, 0);
    s_serve (1);
    gpb_test_peer_expect (&s_peer, 7, GPB_RESOURCE_EXHAUSTED);
    s_close ();
}
END_TEST

START_TEST (test_a_service_that_stops_refuses_all_but_the_last_words)
{
    s_open ();
    gpb_service_refuse_all (s_service, GPB_UNAVAILABLE, "it stops");
    s_hello (1, 0);
    ck_assert_str_eq (gpb_test_peer_expect (&s_peer, 1, GPB_UNAVAILABLE)->message, "it stops");
    s_send_header ("\x08\x01\x10\x07\x8A\x01\x00", 7, 0, 0);
    s_serve (1);
    gpb_test_peer_expect (&s_peer, 7, GPB_OK);    //  goodbye
    gpb_service_refuse_all (s_service, GPB_OK, "");
    s_hello (2, 0);
    gpb_test_peer_expect (&s_peer, 2, GPB_OK);
    s_close ();
}
END_TEST

START_TEST (test_no_more_is_read_than_asked_for)
{
    s_open ();
    for (unsigned count = 0; count < 10; count++)
        s_send_header ("\x08\x01\x10\x07\x82\x01\x00", 7, 0, 0);
    ck_assert_uint_eq (gpb_service_receive (s_service, 3), 3);
    ck_assert_uint_eq (s_calls, 3);
    s_serve (7);
    s_close ();
}
END_TEST

START_TEST (test_a_hello_agrees_on_a_version_or_says_which_there_is)
{
    s_open ();
    static const struct {
        uint32_t oldest, newest;
        gpb_status_t status;
    } table [] = {
        { 0, 0, GPB_OK },
        { 1, 1, GPB_OK },
        { 0, 9, GPB_OK },
        { 1, UINT32_MAX, GPB_OK },
        { 2, 3, GPB_UNIMPLEMENTED },
        { 1, 0, GPB_UNIMPLEMENTED },
    };
    for (unsigned index = 0; index < sizeof table / sizeof table [0]; index++) {
        Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
        Gpb__V1__Hello hello = GPB__V1__HELLO__INIT;
        request.id = index;
        request.body_case = GPB__V1__REQUEST__BODY_HELLO;
        request.hello = &hello;
        hello.oldest_version = table [index].oldest;
        hello.newest_version = table [index].newest;
        gpb_test_peer_send (&s_peer, &request, NULL);
        s_serve (1);
        const Gpb__V1__Reply *reply = gpb_test_peer_expect (&s_peer, index, table [index].status);
        if (table [index].status != GPB_OK)
            continue;
        ck_assert_uint_eq (reply->hello->version, 1);
        ck_assert_str_eq (reply->hello->node, "node");
        ck_assert_uint_eq (reply->hello->max_frame_size,
                           gpb_config_number (s_config, "max_frame_size"));
        ck_assert_uint_eq (reply->hello->max_frames, GPB_PAYLOADS_MAX);
    }
    s_close ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  The pipe

static gpb_status_t
s_command (void *self, char **words, size_t count, gpb_error_t *reason)
{
    ck_assert_ptr_eq (self, &s_calls);
    return gpb_error_set (reason, streq (words [0], "KNOWN") ? GPB_OK : GPB_INVALID_ARGUMENT,
                          "%zu words", count);
}

static void
s_actor (zsock_t *pipe, void *with_command)
{
    zsock_signal (pipe, 0);
    while (gpb_service_command (s_service, pipe, with_command ? s_command : NULL))
        ;
}

static void
s_refusing_actor (zsock_t *pipe, void *reason)
{
    zsock_signal (pipe, 0);
    while (gpb_pipe_refuse (pipe, reason))
        ;
}

START_TEST (test_every_command_is_answered)
{
    s_open ();
    for (int with_command = 0; with_command < 2; with_command++) {
        zactor_t *actor = zactor_new (s_actor, with_command ? &s_calls : NULL);
        ck_assert_ok (
            gpb_pipe_ask (actor, (const char *[]){ "BIND", "tcp://127.0.0.1:*", NULL }, &error));
        ck_assert_ptr_nonnull (strstr (error.text, "tcp://127.0.0.1:"));
        ck_assert_refused (gpb_pipe_ask (actor, (const char *[]){ "BIND", "nonsense", NULL },
                                         &error),
                           GPB_INVALID_ARGUMENT, "nonsense");
        ck_assert_refused (gpb_pipe_ask (actor, (const char *[]){ "BIND", NULL }, &error),
                           GPB_INVALID_ARGUMENT,
                           with_command ? "1 words" : "expected BIND ENDPOINT");
        ck_assert_refused (gpb_pipe_ask (actor, (const char *[]){ "", NULL }, &error),
                           GPB_INVALID_ARGUMENT,
                           with_command ? "1 words" : "expected BIND ENDPOINT");
        ck_assert_refused (gpb_pipe_ask (actor,
                                         (const char *[]){ "a", "b", "c", "d", "e", "f", "g", "h",
                                                           "i", "j", NULL },
                                         &error),
                           GPB_INVALID_ARGUMENT, with_command ? "8 words" : "a: expected");
        if (with_command)
            ck_assert_ok (gpb_pipe_ask (actor, (const char *[]){ "KNOWN", NULL }, &error));
        zactor_destroy (&actor);
    }
    gpb_error_t reason;
    gpb_error_set (&reason, GPB_UNAVAILABLE, "it did not start");
    zactor_t *actor = zactor_new (s_refusing_actor, &reason);
    for (int count = 0; count < 2; count++)
        ck_assert_refused (gpb_pipe_ask (actor,
                                         (const char *[]){ "BIND", "tcp://127.0.0.1:*", NULL },
                                         &error),
                           GPB_UNAVAILABLE, "it did not start");
    zactor_destroy (&actor);
    s_close ();
}
END_TEST

START_TEST (test_a_new_client_for_which_there_is_no_memory_is_answered)
{
    s_open ();
    gpb_alloc_fail (0, 0);
    s_hello (4, 0);
    ck_assert_uint_gt (gpb_alloc_fail (-1, 0), 0);
    gpb_test_peer_expect (&s_peer, 4, GPB_RESOURCE_EXHAUSTED);
    ck_assert_uint_eq (s_calls, 0);
    s_hello (5, 0);
    gpb_test_peer_expect (&s_peer, 5, GPB_OK);
    s_close ();
}
END_TEST

START_TEST (test_a_service_that_gets_no_memory_says_so)
{
    gpb_config_t *config = gpb_config_new ();
    for (int64_t after = 0;; after++) {
        gpb_alloc_fail (after, 0);
        gpb_service_t *service = gpb_service_new (config, s_handlers, 1, NULL, &error);
        bool failed = gpb_alloc_fail (-1, 0) > (uint64_t) after;
        ck_assert_int_eq (failed, !service);
        if (service) {
            gpb_service_destroy (&service, 0);
            break;
        }
        ck_assert_refused (error.status, GPB_RESOURCE_EXHAUSTED, "no memory");
    }
    ck_assert_ok (gpb_config_set (config, "name", "here", &error));
    char *name = gpb_node_name (config);
    ck_assert_str_eq (name, "here");
    gpb_free (name);
    ck_assert_ok (gpb_config_set (config, "name", "", &error));
    name = gpb_node_name (config);
    ck_assert_uint_gt (strlen (name), 0);
    gpb_free (name);
    gpb_config_destroy (&config);
}
END_TEST

GPB_TEST_MAIN ("gpb_service", 20, test_whatever_cannot_be_served_is_answered,
               test_a_deadline_comes_from_the_request_the_default_and_the_bound,
               test_texts_of_errors_are_UTF_8,
               test_an_answer_too_large_for_a_header_is_refused_in_its_place,
               test_a_service_that_stops_refuses_all_but_the_last_words,
               test_no_more_is_read_than_asked_for,
               test_a_hello_agrees_on_a_version_or_says_which_there_is,
               test_every_command_is_answered,
               test_a_new_client_for_which_there_is_no_memory_is_answered,
               test_a_service_that_gets_no_memory_says_so)
