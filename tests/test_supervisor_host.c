//  Tests of gpb_supervisor and the kernel host in its process: the broker's side is spoken by hand,
//  and so are the process's two ends. A script is the process; the test opens its shared memory and
//  binds the endpoints that it was given.

#include "gpb_carriage.h"
#include "gpb_child.h"
#include "gpb_clock.h"
#include "gpb_codec.h"
#include "gpb_executors.h"
#include "gpb_isolated.h"
#include "gpb_service.h"
#include "gpb_supervisor.h"
#include "gpb_test.h"
#include "gpb_test_peer.h"
#include "gpb_test_program.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATIENCE_MS 30000
#define LARGE 300000

//  It says who it is and where, READY and, when the test says so, its last word.
#define SCRIPT(ready)                                                                              \
    "printf '%s %s\\n' $$ $3 > $folder/new; mv $folder/new $folder/said\n"                         \
    "printf '" ready "' >&3\n"                                                                     \
    "while [ ! -e $folder/end ]; do sleep 0.02; done\n"                                            \
    "[ -s $folder/end ] && cat $folder/end >&3\n"                                                  \
    "mv $folder/end $folder/ended; exit 3"

//  An end of the process, or of the broker.
typedef struct {
    zsock_t *socket;
    gpb_carriage_t carriage;
    zmq_msg_t identity;
    gpb_message_t message;    //  received last
    gpb_hop_t hop;            //  its
    bool was_elsewhere;       //  its first payload came by shared memory
    const Gpb__V1__Request *request;
} s_end_t;

static gpb_error_t error;
static zactor_t *s_actor;
static gpb_codec_t *s_codec;
static char s_endpoint [64], s_path [128];
static s_end_t s_broker, s_device, s_host;

static gpb_status_t
s_start (const char *script, const char *kernel_timeout_ms)
{
    gpb_config_t *config = gpb_config_new ();
    ck_assert_ok (gpb_config_set (config, "kernel_path", "/nowhere", &error));
    ck_assert_ok (gpb_config_set (config, "log_level", "error", &error));
    ck_assert_ok (gpb_config_set (config, "kernel_timeout_ms", kernel_timeout_ms, &error));
    ck_assert_ok (gpb_config_set (config, "drain_ms", "100", &error));
    gpb_test_program_set (script);
    gpb_device_args_t args = { .config = config, .index = 0 };
    s_actor = zactor_new (gpb_supervisor, &args);
    gpb_config_destroy (&config);
    static unsigned number;
    snprintf (s_endpoint, sizeof s_endpoint, "inproc://supervised-host-%u", ++number);
    s_codec = gpb_codec_new (&error);
    return gpb_pipe_ask (s_actor, (const char *[]){ "BIND", s_endpoint, NULL }, &error);
}

static void
s_map (gpb_carriage_t *carriage, int pid, int first)
{
    char path [64];
    for (int side = 0; side < 2; side++) {
        snprintf (path, sizeof path, "/proc/%d/fd/%d", pid, first + side);
        int fd = open (path, O_RDWR);
        ck_assert_msg (fd >= 0, "%s cannot be opened", path);
        gpb_region_t *region = side ? gpb_region_giver (fd, &error) : gpb_region_taker (fd, &error);
        ck_assert_msg (region != NULL, "%s", error.text);
        *(side ? &carriage->give : &carriage->take) = region;
        close (fd);
    }
    carriage->at = 1;
}

static void
s_open_end (s_end_t *end, int type)
{
    gpb_message_init (&end->message);
    zmq_msg_init (&end->identity);
    end->socket = zsock_new (type);
    zsock_set_linger (end->socket, 0);
}

static void
s_open (const char *script, const char *kernel_timeout_ms)
{
    ck_assert_ok (s_start (script, kernel_timeout_ms));
    char name [4200], said [256] = "";
    snprintf (name, sizeof name, "%s/said", getenv ("GPB_LIBEXEC_DIR"));
    FILE *file = fopen (name, "r");
    ck_assert_ptr_nonnull (file);
    ck_assert_ptr_nonnull (fgets (said, sizeof said, file));
    fclose (file);
    char *blank = strchr (said, ' ');
    ck_assert_ptr_nonnull (blank);
    blank [strcspn (blank, "\n")] = 0;
    snprintf (s_path, sizeof s_path, "%s", blank + 1 + strlen ("ipc://"));
    const int pid = atoi (said);
    s_open_end (&s_device, ZMQ_ROUTER);
    s_open_end (&s_host, ZMQ_ROUTER);
    s_open_end (&s_broker, ZMQ_DEALER);
    s_map (&s_device.carriage, pid, GPB_CHILD_SHARED);
    s_map (&s_host.carriage, pid, GPB_CHILD_SHARED + 2);
    ck_assert_int_eq (zsock_bind (s_device.socket, "ipc://%s", s_path), 0);
    ck_assert_int_eq (zsock_bind (s_host.socket, "ipc://%s" GPB_ISOLATED_HOST, s_path), 0);
    ck_assert_int_eq (zsock_connect (s_broker.socket, "%s", s_endpoint), 0);
}

static void
s_close_end (s_end_t *end)
{
    gpb_message_clear (&end->message);
    zmq_msg_close (&end->identity);
    zsock_destroy (&end->socket);
    gpb_carriage_clear (&end->carriage);
}

static void
s_close (void)
{
    s_close_end (&s_device);
    s_close_end (&s_host);
    s_close_end (&s_broker);
    zactor_destroy (&s_actor);
    gpb_codec_destroy (&s_codec);
    gpb_test_program_clear ();
}

//  The process ends, after these words.
static void
s_end_process (const char *words)
{
    char command [4400];
    snprintf (command, sizeof command, "printf '%s' > %s/word; mv %s/word %s/end", words,
              getenv ("GPB_LIBEXEC_DIR"), getenv ("GPB_LIBEXEC_DIR"), getenv ("GPB_LIBEXEC_DIR"));
    ck_assert_int_eq (system (command), 0);
}

//  ---------------------------------------------------------------------------------------------------------
//  Messages

static bool
s_poll (s_end_t *end, int timeout_ms)
{
    zmq_pollitem_t item = { zsock_resolve (end->socket), 0, ZMQ_POLLIN, 0 };
    if (zmq_poll (&item, 1, timeout_ms) != 1)
        return false;
    ck_assert_ok (gpb_message_recv (&end->message, item.socket, &error));
    gpb_message_t *message = &end->message;
    if (end != &s_broker) {
        zmq_msg_copy (&end->identity, &message->envelope [0]);
        end->was_elsewhere =
            message->payloads_count > 0
            && zmq_msg_size (&message->payloads [0]) == sizeof (gpb_region_place_t);
        ck_assert_ok (gpb_carriage_unpack (&end->carriage, message, &error));
        end->request = gpb_codec_request (s_codec, &message->header, NULL, &error);
    }
    ck_assert (gpb_hop_read (&message->envelope [message->envelope_count - 1], &end->hop));
    return true;
}

static void
s_recv (s_end_t *end)
{
    ck_assert_msg (s_poll (end, PATIENCE_MS), "nothing comes");
}

//  A request of the broker's, with a payload of so many bytes; 0: none.
static void
s_ask (uint32_t slot, bool is_hosted, size_t size)
{
    gpb_message_t message;
    gpb_message_init (&message);
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Execute execute = GPB__V1__EXECUTE__INIT;
    request.version = GPB_PROTOCOL_VERSION;
    request.id = slot;
    request.body_case = GPB__V1__REQUEST__BODY_EXECUTE;
    request.execute = &execute;
    ck_assert_ok (gpb_codec_pack (&request.base, &message.header, &error));
    if (size) {
        zmq_msg_t payload;
        gpb_test_payload (&payload, size);
        ck_assert_ok (gpb_message_add (&message, &payload, &error));
    }
    const gpb_hop_t hop = { .magic = GPB_HOP_MAGIC,
                            .slot = slot,
                            .generation = 4,
                            .owner = 9,
                            .flags = is_hosted ? GPB_HOP_HOST : 0,
                            .remaining_ns = UINT64_MAX };
    zmq_msg_init (&message.envelope [message.envelope_count++]);
    gpb_hop_write (&message.envelope [0], &hop);
    ck_assert_ok (gpb_message_send (&message, zsock_resolve (s_broker.socket), &error));
}

//  The broker asks the host for its figures.
static void
s_ask_host (void)
{
    gpb_message_t message;
    gpb_message_init (&message);
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Stats stats = GPB__V1__STATS__INIT;
    request.version = GPB_PROTOCOL_VERSION;
    request.body_case = GPB__V1__REQUEST__BODY_STATS;
    request.stats = &stats;
    ck_assert_ok (gpb_codec_pack (&request.base, &message.header, &error));
    gpb_hop_t hop = gpb_executors_own_hop (0);
    hop.flags = GPB_HOP_HOST;
    zmq_msg_init (&message.envelope [message.envelope_count++]);
    gpb_hop_write (&message.envelope [0], &hop);
    ck_assert_ok (gpb_message_send (&message, zsock_resolve (s_broker.socket), &error));
}

//  An end of the process answers what it has received last.
static void
s_answer (s_end_t *end, const gpb_hop_t *hop, uint64_t id, size_t size)
{
    gpb_message_t message;
    gpb_message_init (&message);
    Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
    Gpb__V1__ExecuteReply execute = GPB__V1__EXECUTE_REPLY__INIT;
    reply.version = GPB_PROTOCOL_VERSION;
    reply.id = id;
    reply.body_case = GPB__V1__REPLY__BODY_EXECUTE;
    reply.execute = &execute;
    ck_assert_ok (gpb_codec_pack (&reply.base, &message.header, &error));
    if (size) {
        zmq_msg_t payload;
        gpb_test_payload (&payload, size);
        ck_assert_ok (gpb_message_add (&message, &payload, &error));
    }
    message.envelope_count = 2;
    zmq_msg_init (&message.envelope [0]);
    zmq_msg_copy (&message.envelope [0], &end->identity);
    zmq_msg_init (&message.envelope [1]);
    gpb_hop_write (&message.envelope [1], hop);
    gpb_carriage_pack (&end->carriage, &message);
    ck_assert_ok (gpb_message_send (&message, zsock_resolve (end->socket), &error));
}

static const Gpb__V1__Reply *
s_recv_reply (uint32_t slot, bool is_hosted)
{
    s_recv (&s_broker);
    ck_assert_uint_eq (s_broker.hop.slot, slot);
    ck_assert_uint_eq (s_broker.hop.generation, 4);
    ck_assert_uint_eq (s_broker.hop.owner, 9);
    ck_assert (!(s_broker.hop.flags & GPB_HOP_HOST) == !is_hosted);
    const Gpb__V1__Reply *reply = gpb_codec_reply (s_codec, &s_broker.message.header, &error);
    ck_assert_msg (reply != NULL, "%s", error.text);
    ck_assert_uint_eq (reply->id, slot);
    return reply;
}

static void
s_expect_lost (const char *reason)
{
    s_recv (&s_broker);
    ck_assert (gpb_executors_is_own (&s_broker.hop));
    const Gpb__V1__Reply *reply = gpb_codec_reply (s_codec, &s_broker.message.header, &error);
    ck_assert_int_eq (reply->body_case, GPB__V1__REPLY__BODY_STATS);
    const Gpb__V1__Device *device = reply->stats->devices [0];
    ck_assert_int_eq (device->state, GPB__V1__DEVICE_STATE__RESTARTING);
    ck_assert_msg (strstr (device->reason, reason) != NULL, "%s", device->reason);
}

//  ---------------------------------------------------------------------------------------------------------

START_TEST (test_the_host_is_reached_where_the_device_is)
{
    s_open (SCRIPT ("READY"), "0");
    ck_assert_ok (
        gpb_pipe_ask (s_actor, (const char *[]){ "HOST", "inproc://another", NULL }, &error));
    ck_assert_str_eq (error.text, s_endpoint);
    s_ask (17, true, 0);
    s_ask (18, false, 0);
    s_recv (&s_host);
    ck_assert_uint_eq (s_host.request->id, 17);
    ck_assert (s_host.hop.flags & GPB_HOP_HOST);
    s_recv (&s_device);
    ck_assert_uint_eq (s_device.request->id, 18);
    ck_assert (!(s_device.hop.flags & GPB_HOP_HOST));
    s_answer (&s_device, &s_device.hop, 18, 0);
    s_recv_reply (18, false);
    //  The device has not been asked for what the host has.
    s_answer (&s_device, &s_host.hop, 17, 0);
    s_answer (&s_host, &s_host.hop, 17, 0);
    s_recv_reply (17, true);
    ck_assert (!s_poll (&s_broker, 50));
    s_close ();
}
END_TEST

//  Either actor's shared memory is its own, since they are two threads.
START_TEST (test_large_payloads_of_the_host_go_through_shared_memory_of_its_own)
{
    s_open (SCRIPT ("READY"), "0");
    for (unsigned round = 0; round < 2; round++) {
        s_end_t *end = round ? &s_device : &s_host, *other = round ? &s_host : &s_device;
        s_ask (17, end == &s_host, LARGE);
        s_recv (end);
        ck_assert (end->was_elsewhere);
        zmq_msg_t expected;
        const void *data = gpb_test_payload (&expected, LARGE);
        zmq_msg_t *payload = &end->message.payloads [0];
        ck_assert_uint_eq (zmq_msg_size (payload), LARGE);
        ck_assert_mem_eq (zmq_msg_data (payload), data, LARGE);
        zmq_msg_close (&expected);
        s_answer (end, &end->hop, 17, LARGE);
        ck_assert_uint_eq (gpb_region_in_use (end->carriage.give), 1);
        ck_assert_uint_eq (gpb_region_in_use (other->carriage.give), 0);
        s_recv_reply (17, end == &s_host);
        payload = &s_broker.message.payloads [0];
        data = gpb_test_payload (&expected, LARGE);
        ck_assert_uint_eq (zmq_msg_size (payload), LARGE);
        ck_assert_mem_eq (zmq_msg_data (payload), data, LARGE);
        zmq_msg_close (&expected);
        //  The block is free again with the next message, once nothing holds it.
        gpb_message_clear (&s_broker.message);
        s_ask (18, end == &s_host, 0);
        s_recv (end);
        ck_assert_uint_eq (gpb_region_in_use (end->carriage.give), 0);
        s_answer (end, &end->hop, 18, 0);
        s_recv_reply (18, end == &s_host);
    }
    s_close ();
}
END_TEST

START_TEST (test_a_process_without_a_host_says_why)
{
    s_open (SCRIPT ("READY its driver shares no memory"), "0");
    ck_assert_refused (gpb_pipe_ask (s_actor, (const char *[]){ "HOST", "inproc://x", NULL },
                                     &error),
                       GPB_FAILED_PRECONDITION, "its driver shares no memory");
    s_ask (17, true, 0);
    const Gpb__V1__Reply *reply = s_recv_reply (17, true);
    ck_assert_int_eq (reply->status, GPB__V1__STATUS__FAILED_PRECONDITION);
    ck_assert_ptr_nonnull (strstr (reply->message, "its driver shares no memory"));
    s_ask (18, false, 0);
    s_recv (&s_device);
    ck_assert_uint_eq (s_device.request->id, 18);
    s_close ();
}
END_TEST

START_TEST (test_where_the_device_does_not_open_there_is_no_host)
{
    ck_assert_int_eq (s_start ("printf 'NOT_FOUND no such card' >&3; exit 1", "0"),
                      GPB_UNAVAILABLE);
    ck_assert_refused (gpb_pipe_ask (s_actor, (const char *[]){ "HOST", "inproc://x", NULL },
                                     &error),
                       GPB_UNAVAILABLE, "no such card");
    zactor_destroy (&s_actor);
    gpb_codec_destroy (&s_codec);
    gpb_test_program_clear ();
}
END_TEST

//  A message waits its turn in the host; only what the device has is timed. The host says each time
//  that it is there.
START_TEST (test_a_message_may_be_with_its_host_for_longer_than_a_kernel_may_run)
{
    s_open (SCRIPT ("READY"), "200");
    s_ask (17, true, 0);
    s_recv (&s_host);
    const gpb_hop_t waits = s_host.hop;
    const uint64_t end_ns = gpb_clock_ns () + 1000 * GPB_NS_PER_MS;
    while (gpb_clock_ns () < end_ns) {
        s_ask_host ();
        s_recv (&s_host);
        ck_assert_int_eq (s_host.request->body_case, GPB__V1__REQUEST__BODY_STATS);
        s_answer (&s_host, &s_host.hop, 0, 0);
        s_recv (&s_broker);
        ck_assert (gpb_executors_is_own (&s_broker.hop));
        zmq_poll (NULL, 0, 20);
    }
    s_answer (&s_host, &waits, 17, 0);
    s_recv_reply (17, true);
    s_close ();
}
END_TEST

START_TEST (test_a_host_that_answers_nothing_is_lost_with_its_process)
{
    s_open (SCRIPT ("READY"), "200");
    s_ask (17, true, 0);
    s_recv (&s_host);
    s_ask_host ();
    s_expect_lost ("did not answer for kernel_timeout_ms, 200 ms");
    const Gpb__V1__Reply *reply = s_recv_reply (17, true);
    ck_assert_int_eq (reply->status, GPB__V1__STATUS__UNAVAILABLE);
    s_close ();
}
END_TEST

START_TEST (test_with_a_process_what_both_had_is_lost)
{
    s_open (SCRIPT ("READY"), "0");
    s_ask (17, true, LARGE);
    s_ask (18, false, LARGE);
    s_ask (19, true, 0);
    s_recv (&s_host);
    s_answer (&s_host, &s_host.hop, 17, 0);    //  what it has answered counts
    s_recv (&s_host);
    s_recv (&s_device);
    s_recv_reply (17, true);
    s_end_process ("");
    s_expect_lost ("its process was lost: exit status 3");
    unsigned slots = 0;
    for (unsigned count = 0; count < 2; count++) {
        s_recv (&s_broker);
        const Gpb__V1__Reply *reply = gpb_codec_reply (s_codec, &s_broker.message.header, &error);
        ck_assert_int_eq (reply->status, GPB__V1__STATUS__UNAVAILABLE);
        ck_assert_ptr_nonnull (strstr (reply->message, "device 0 was lost under this request"));
        ck_assert (!(s_broker.hop.flags & GPB_HOP_HOST) == (s_broker.hop.slot == 18));
        slots += s_broker.hop.slot;
    }
    ck_assert_uint_eq (slots, 18 + 19);
    s_close ();
}
END_TEST

START_TEST (test_a_process_that_says_why_it_ends_is_believed)
{
    s_open (SCRIPT ("READY"), "0");
    s_ask (17, true, 0);
    s_recv (&s_host);
    s_end_process ("a handler of echo did not return");
    s_expect_lost ("its process was lost: a handler of echo did not return");
    const Gpb__V1__Reply *reply = s_recv_reply (17, true);
    ck_assert_int_eq (reply->status, GPB__V1__STATUS__UNAVAILABLE);
    ck_assert_ptr_nonnull (strstr (reply->message, "a handler of echo did not return"));
    s_close ();
}
END_TEST

START_TEST (test_nothing_is_left_of_either_endpoint)
{
    s_open (SCRIPT ("READY"), "0");
    char host_path [sizeof s_path + sizeof GPB_ISOLATED_HOST];
    snprintf (host_path, sizeof host_path, "%s" GPB_ISOLATED_HOST, s_path);
    ck_assert_int_eq (access (host_path, F_OK), 0);
    zactor_destroy (&s_actor);
    ck_assert_int_ne (access (host_path, F_OK), 0);
    *strrchr (s_path, '/') = 0;
    ck_assert_int_ne (access (s_path, F_OK), 0);    //  the folder
    s_close ();
}
END_TEST

GPB_TEST_MAIN ("gpb_supervisor_host", 60, test_the_host_is_reached_where_the_device_is,
               test_large_payloads_of_the_host_go_through_shared_memory_of_its_own,
               test_a_process_without_a_host_says_why,
               test_where_the_device_does_not_open_there_is_no_host,
               test_a_message_may_be_with_its_host_for_longer_than_a_kernel_may_run,
               test_a_host_that_answers_nothing_is_lost_with_its_process,
               test_with_a_process_what_both_had_is_lost,
               test_a_process_that_says_why_it_ends_is_believed,
               test_nothing_is_left_of_either_endpoint)
