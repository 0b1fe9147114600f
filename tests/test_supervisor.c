//  Tests of gpb_supervisor, with the broker's side spoken by hand: what it passes on, and what it
//  says of a process that does not start, ends, or says nothing. Scripts stand for processes that
//  go wrong. (tests/system/test_isolation.c has whole nodes.)

#include "gpb_clock.h"
#include "gpb_codec.h"
#include "gpb_executors.h"
#include "gpb_service.h"
#include "gpb_supervisor.h"
#include "gpb_test.h"
#include "gpb_test_program.h"

#include <stdlib.h>
#include <string.h>

#define PATIENCE_MS 30000

static gpb_error_t error;
static char s_endpoint [32];    //  another one each time: libzmq frees a name when it has the time
static zactor_t *s_actor;
static zsock_t *s_broker;
static gpb_codec_t *s_codec;
static gpb_message_t s_message;    //  received last
static gpb_hop_t s_hop;            //  its

//  The outcome of BIND.
static gpb_status_t
s_open (const char *kernel_timeout_ms)
{
    setenv ("GPB_FAKE_DEVICES", "1", 1);
    gpb_config_t *config = gpb_config_new ();
    ck_assert_ok (gpb_config_set (config, "backends", "fake", &error));
    char kernels [512];
    snprintf (kernels, sizeof kernels, "%s/tests/kernels_fake", getenv ("GPB_SOURCE_DIR"));
    ck_assert_ok (gpb_config_set (config, "kernel_path", kernels, &error));
    ck_assert_ok (gpb_config_set (config, "log_level", "error", &error));
    ck_assert_ok (gpb_config_set (config, "kernel_timeout_ms", kernel_timeout_ms, &error));
    ck_assert_ok (gpb_config_set (config, "drain_ms", "100", &error));
    gpb_device_args_t args = { .config = config, .index = 0 };
    s_actor = zactor_new (gpb_supervisor, &args);
    gpb_config_destroy (&config);
    static unsigned number;
    snprintf (s_endpoint, sizeof s_endpoint, "inproc://supervised-%u", ++number);
    gpb_status_t status =
        gpb_pipe_ask (s_actor, (const char *[]){ "BIND", s_endpoint, NULL }, &error);
    s_broker = zsock_new (ZMQ_DEALER);
    zsock_set_linger (s_broker, 0);
    ck_assert_int_eq (zsock_connect (s_broker, "%s", s_endpoint), 0);
    s_codec = gpb_codec_new (&error);
    gpb_message_init (&s_message);
    return status;
}

static void
s_close (void)
{
    gpb_message_clear (&s_message);
    gpb_codec_destroy (&s_codec);
    zsock_destroy (&s_broker);
    zactor_destroy (&s_actor);
}

static void
s_send (gpb_hop_t hop, Gpb__V1__Request *request)
{
    gpb_message_t message;
    gpb_message_init (&message);
    hop.magic = GPB_HOP_MAGIC;
    hop.remaining_ns = UINT64_MAX;
    request->version = GPB_PROTOCOL_VERSION;
    ck_assert_ok (gpb_codec_pack (&request->base, &message.header, &error));
    zmq_msg_init (&message.envelope [message.envelope_count++]);
    gpb_hop_write (&message.envelope [0], &hop);
    ck_assert_ok (gpb_message_send (&message, zsock_resolve (s_broker), &error));
}

static void
s_send_read (uint32_t slot, uint64_t id)
{
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Read body = GPB__V1__READ__INIT;
    request.id = id;
    request.body_case = GPB__V1__REQUEST__BODY_READ;
    request.read = &body;
    body.handle = 77;
    s_send ((gpb_hop_t){ .slot = slot, .generation = 4, .owner = 9 }, &request);
}

//  The next message that comes; its hop is s_hop.
static const Gpb__V1__Reply *
s_recv (void)
{
    uint64_t end_ns = gpb_clock_ns () + PATIENCE_MS * GPB_NS_PER_MS;
    while (gpb_message_recv (&s_message, zsock_resolve (s_broker), &error) != GPB_OK) {
        ck_assert_msg (gpb_clock_ns () < end_ns, "nothing comes");
        zmq_pollitem_t item = { zsock_resolve (s_broker), 0, ZMQ_POLLIN, 0 };
        zmq_poll (&item, 1, 100);
    }
    ck_assert_uint_eq (s_message.envelope_count, 1);
    ck_assert (gpb_hop_read (&s_message.envelope [0], &s_hop));
    const Gpb__V1__Reply *reply = gpb_codec_reply (s_codec, &s_message.header, &error);
    ck_assert_msg (reply != NULL, "%s", error.text);
    return reply;
}

//  The next word about the device itself.
static const Gpb__V1__Device *
s_recv_device (void)
{
    const Gpb__V1__Reply *reply = s_recv ();
    ck_assert (gpb_executors_is_own (&s_hop));
    ck_assert_int_eq (reply->body_case, GPB__V1__REPLY__BODY_STATS);
    ck_assert_uint_eq (reply->stats->n_devices, 1);
    return reply->stats->devices [0];
}

static void
s_expect_lost (Gpb__V1__DeviceState state, uint64_t restarts, const char *part)
{
    const Gpb__V1__Device *device = s_recv_device ();
    ck_assert_int_eq (device->state, state);
    ck_assert_uint_eq (device->restarts, restarts);
    ck_assert_msg (strstr (device->reason, part) != NULL, "%s", device->reason);
}

static void
s_expect_refused (uint32_t slot, uint64_t id, gpb_status_t status, const char *part)
{
    const Gpb__V1__Reply *reply = s_recv ();
    ck_assert_uint_eq (s_hop.slot, slot);
    ck_assert_uint_eq (s_hop.generation, 4);
    ck_assert_uint_eq (s_hop.owner, 9);
    ck_assert_uint_eq (reply->id, id);
    ck_assert_msg ((gpb_status_t) reply->status == status && strstr (reply->message, part),
                   "%s: %s", gpb_status_name ((gpb_status_t) reply->status), reply->message);
}

//  ---------------------------------------------------------------------------------------------------------

START_TEST (test_what_a_broker_asks_is_answered_by_the_process)
{
    ck_assert_ok (s_open ("30000"));
    ck_assert_str_eq (error.text, s_endpoint);
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Stats stats = GPB__V1__STATS__INIT;
    request.body_case = GPB__V1__REQUEST__BODY_STATS;
    request.stats = &stats;
    s_send (gpb_executors_own_hop (0), &request);
    const Gpb__V1__Device *device = s_recv_device ();
    ck_assert_int_eq (device->state, GPB__V1__DEVICE_STATE__READY);
    ck_assert_str_eq (device->name, "fake 0");
    s_send_read (17, 5);
    s_expect_refused (17, 5, GPB_NOT_FOUND, "");
    s_close ();
}
END_TEST

//  As the device's own actor says it: the broker's credits go by that.
START_TEST (test_the_broker_is_told_how_long_the_device_was_busy)
{
    ck_assert_ok (s_open ("30000"));
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Execute body = GPB__V1__EXECUTE__INIT;
    Gpb__V1__Argument us = GPB__V1__ARGUMENT__INIT, *list [] = { &us };
    us.value_case = GPB__V1__ARGUMENT__VALUE_I32;
    us.i32 = 1;
    body.kernel = (char *) "sleep";
    body.arguments = list;
    body.n_arguments = 1;
    request.id = 5;
    request.body_case = GPB__V1__REQUEST__BODY_EXECUTE;
    request.execute = &body;
    s_send ((gpb_hop_t){ .slot = 17, .generation = 4, .owner = 9 }, &request);
    const Gpb__V1__Reply *reply = s_recv ();
    ck_assert_msg (reply->status == GPB__V1__STATUS__OK, "%s", reply->message);
    ck_assert_uint_eq (s_hop.slot, 17);
    ck_assert_uint_eq (s_hop.flags, GPB_HOP_SERVED);
    ck_assert (s_hop.served_ns > 0 && s_hop.served_ns < 60 * GPB_NS_PER_S);
    s_close ();
}
END_TEST

START_TEST (test_commands_that_are_none_are_refused)
{
    ck_assert_ok (s_open ("30000"));
    ck_assert_refused (gpb_pipe_ask (s_actor, (const char *[]){ "FLY", NULL }, &error),
                       GPB_INVALID_ARGUMENT, "expected BIND ENDPOINT");
    ck_assert_refused (gpb_pipe_ask (s_actor, (const char *[]){ "BIND", "inproc://more", NULL },
                                     &error),
                       GPB_FAILED_PRECONDITION, "bound already");
    s_close ();
}
END_TEST

START_TEST (test_a_process_that_does_not_start_says_why)
{
    static const struct {
        const char *lines, *part;
    } cases [] = { { "printf 'NOT_FOUND no such card' >&3; exit 1", "no such card" },
                   { "kill -SEGV $$", "did not start: killed by signal 11" },
                   { "exit 0", "did not start: exit status 0" } };
    for (size_t index = 0; index < sizeof cases / sizeof cases [0]; index++) {
        gpb_test_program_set (cases [index].lines);
        ck_assert_refused (s_open ("30000"), GPB_UNAVAILABLE, cases [index].part);
        s_close ();
    }
    gpb_test_program_clear ();
}
END_TEST

//  It is lost, and comes back no more: after three starts that failed nobody is to wait for it.
START_TEST (test_a_device_that_does_not_come_back_is_lost)
{
    gpb_test_program_set ("[ -e $folder/was ] && exit 4; touch $folder/was\n"
                          "printf READY >&3; dd bs=100 count=1 <&3 2>/dev/null >/dev/null\n"
                          "while [ ! -e $folder/end ]; do sleep 0.02; done; exit 3");
    ck_assert_ok (s_open ("30000"));
    char command [4200];
    s_send_read (17, 5);
    s_send_read (18, 6);
    snprintf (command, sizeof command, "touch %s/end", getenv ("GPB_LIBEXEC_DIR"));
    ck_assert_int_eq (system (command), 0);
    s_expect_lost (GPB__V1__DEVICE_STATE__RESTARTING, 1, "its process was lost: exit status 3");
    const Gpb__V1__Reply *reply = NULL;
    for (unsigned count = 0; count < 2; count++) {
        //  Handed over or not: what was not waits for the next process.
        reply = s_recv ();
        if (gpb_executors_is_own (&s_hop))
            break;
        ck_assert_int_eq (reply->status, GPB__V1__STATUS__UNAVAILABLE);
        ck_assert_msg (strstr (reply->message, "exit status 3") != NULL, "%s", reply->message);
    }
    unsigned losses = gpb_executors_is_own (&s_hop) ? 2 : 1;
    for (; losses < 3; losses++)
        s_expect_lost (GPB__V1__DEVICE_STATE__RESTARTING, losses + 1,
                       "its process did not start: exit status 4");
    s_expect_lost (GPB__V1__DEVICE_STATE__LOST, 4, "did not start: exit status 4");
    s_close ();
    gpb_test_program_clear ();
}
END_TEST

//  It says that it is ready, and then nothing more.
START_TEST (test_a_process_that_says_nothing_is_ended)
{
    gpb_test_program_set ("printf READY >&3; exec sleep 1000");
    ck_assert_ok (s_open ("200"));
    s_send_read (17, 5);
    s_expect_lost (GPB__V1__DEVICE_STATE__RESTARTING, 1,
                   "did not answer for kernel_timeout_ms, 200 ms");
    s_expect_refused (17, 5, GPB_UNAVAILABLE, "device 0 was lost under this request: it did not");
    s_close ();
    gpb_test_program_clear ();
}
END_TEST

START_TEST (test_it_stops_with_a_process_that_does_not)
{
    gpb_test_program_set ("printf READY >&3; trap '' TERM; exec sleep 1000");
    ck_assert_ok (s_open ("0"));
    s_close ();    //  after drain_ms and a second
    gpb_test_program_clear ();
}
END_TEST

GPB_TEST_MAIN ("gpb_supervisor", 60, test_what_a_broker_asks_is_answered_by_the_process,
               test_the_broker_is_told_how_long_the_device_was_busy,
               test_commands_that_are_none_are_refused, test_a_process_that_does_not_start_says_why,
               test_a_device_that_does_not_come_back_is_lost,
               test_a_process_that_says_nothing_is_ended,
               test_it_stops_with_a_process_that_does_not)
