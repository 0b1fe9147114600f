//  Tests of gpb_broker with stand-ins for its devices: every request is answered once, whatever
//  devices and clients do.

#include "gpb_test.h"

#include "gpb_alloc.h"
#include "gpb_broker.h"
#include "gpb_clock.h"
#include "gpb_service.h"
#include "gpb_test_peer.h"

#include <string.h>

#define DEVICES_MAX 2
#define KERNEL "vector_add"
#define LARGE (256 * 1024)

static gpb_error_t error;
static gpb_config_t *s_config;
static zactor_t *s_broker;
static gpb_test_executor_t s_devices [DEVICES_MAX];
static unsigned s_devices_count;
static gpb_test_peer_t s_client;

static void
s_configure (const char *key, const char *value)
{
    if (!s_config)
        s_config = gpb_config_new ();
    ck_assert_ok (gpb_config_set (s_config, key, value, &error));
}

//  Starts a broker with this many devices, none of them introduced.
static void
s_start_broker (unsigned devices)
{
    static const char *const notices [] = { "cuda: no driver", NULL };
    s_configure ("name", "node");
    gpb_broker_args_t args = { .config = s_config, .devices = devices, .notices = notices };
    s_broker = zactor_new (gpb_broker, &args);
    ck_assert_ok (
        gpb_pipe_ask (s_broker, (const char *[]){ "BIND", "inproc://broker", NULL }, &error));
    ck_assert_str_eq (error.text, "inproc://broker");
    gpb_test_peer_open (&s_client, "inproc://broker");
    s_devices_count = 0;
}

//  Reads the answer of a command that was sent before.
static gpb_status_t
s_command_answer (void)
{
    char *status = NULL, *text = NULL;
    ck_assert_int_eq (zstr_recvx (s_broker, &status, &text, NULL), 2);
    snprintf (error.text, sizeof error.text, "%s", text);
    gpb_status_t result = streq (status, "OK") ? GPB_OK : GPB_UNKNOWN;
    zstr_free (&status);
    zstr_free (&text);
    return result;
}

static void
s_introduce (gpb_test_executor_t *device, const char *index)
{
    zstr_sendx (s_broker, "DEVICE", index, device->endpoint, NULL);
    gpb_test_executor_serve (device, s_broker);
    ck_assert_ok (s_command_answer ());
    s_devices_count++;
}

static void
s_start (unsigned devices)
{
    s_start_broker (devices);
    for (unsigned index = 0; index < devices; index++) {
        gpb_test_executor_open (&s_devices [index], index ? "second" : "first");
        s_introduce (&s_devices [index], index ? "1" : "0");
    }
}

static void
s_stop (void)
{
    gpb_test_peer_close (&s_client);
    zactor_destroy (&s_broker);
    for (unsigned index = 0; index < s_devices_count; index++)
        gpb_test_executor_close (&s_devices [index]);
    gpb_config_destroy (&s_config);
}

static void
s_expect_no_work (gpb_test_executor_t *device)
{
    gpb_test_work_t work;
    gpb_test_peer_settle (&s_client);
    ck_assert (!gpb_test_executor_poll (device, &work));
}

//  Fills the first device's credit with requests 1 and 2, bound to it.
static void
s_fill (gpb_test_work_t works [2], uint32_t timeout_ms)
{
    for (unsigned number = 0; number < 2; number++) {
        gpb_test_peer_execute (&s_client, number + 1, KERNEL, 0, timeout_ms);
        gpb_test_executor_take (&s_devices [0], &works [number]);
        ck_assert_uint_eq (works [number].id, number + 1);
    }
}

static void
s_finish (gpb_test_executor_t *device, const gpb_test_work_t *work)
{
    gpb_test_executor_answer (device, work, GPB_OK, "", NULL);
}

//  ---------------------------------------------------------------------------------------------------------
//  Once

START_TEST (test_a_request_is_answered_once_whatever_its_device_says)
{
    s_start (1);
    gpb_test_work_t works [2];
    s_fill (works, 0);
    s_finish (&s_devices [0], &works [0]);
    s_finish (&s_devices [0], &works [0]);
    gpb_test_peer_expect (&s_client, 1, GPB_OK);
    gpb_hop_t stale = works [0].hop;
    for (unsigned step = 0; step < 200; step++) {    //  slots that are free, or were never used
        stale.slot = step % 100;
        stale.generation = works [0].hop.generation + step / 100;
        if (stale.slot != works [1].hop.slot)
            gpb_test_executor_answer_raw (&s_devices [0], &stale, "\x08\x01", 2);
    }
    gpb_hop_t none = works [1].hop;
    none.magic++;
    gpb_test_executor_answer_raw (&s_devices [0], &none, "\x08\x01", 2);
    gpb_test_peer_settle (&s_client);
    s_finish (&s_devices [0], &works [1]);
    gpb_test_peer_expect (&s_client, 2, GPB_OK);
    s_fill (works, 0);    //  the book is as it was
    for (unsigned number = 0; number < 2; number++) {
        s_finish (&s_devices [0], &works [number]);
        gpb_test_peer_expect (&s_client, number + 1, GPB_OK);
    }
    gpb_test_peer_settle (&s_client);
    s_stop ();
}
END_TEST

START_TEST (test_an_answer_to_what_has_not_been_asked_is_dropped)
{
    s_start (1);
    gpb_test_work_t works [2], third;
    s_fill (works, 0);
    gpb_test_peer_execute (&s_client, 3, KERNEL, 0, 0);    //  waits
    gpb_test_peer_settle (&s_client);
    for (uint32_t slot = 0; slot < 64; slot++) {
        gpb_hop_t hop = works [0].hop;
        hop.slot = slot;
        if (slot != works [0].hop.slot && slot != works [1].hop.slot)
            gpb_test_executor_answer_raw (&s_devices [0], &hop, "\x08\x01\x10\x03", 4);
    }
    gpb_test_peer_settle (&s_client);
    s_finish (&s_devices [0], &works [0]);
    gpb_test_peer_expect (&s_client, 1, GPB_OK);
    gpb_test_executor_take (&s_devices [0], &third);
    ck_assert_uint_eq (third.id, 3);
    s_finish (&s_devices [0], &third);
    gpb_test_peer_expect (&s_client, 3, GPB_OK);
    s_finish (&s_devices [0], &works [1]);
    gpb_test_peer_expect (&s_client, 2, GPB_OK);
    s_stop ();
}
END_TEST

START_TEST (test_an_answer_that_cannot_be_read_is_INTERNAL)
{
    s_start (1);
    gpb_test_work_t works [2];
    s_fill (works, 0);
    gpb_test_executor_answer_raw (&s_devices [0], &works [0].hop, "\xFF\xFF", 2);
    gpb_test_peer_expect (&s_client, 1, GPB_INTERNAL);
    s_finish (&s_devices [0], &works [1]);
    gpb_test_peer_expect (&s_client, 2, GPB_OK);
    s_stop ();
}
END_TEST

START_TEST (test_an_id_is_free_again_when_it_is_answered)
{
    s_start (1);
    gpb_test_work_t works [2];
    s_fill (works, 0);
    gpb_test_peer_execute (&s_client, 1, KERNEL, 0, 0);
    gpb_test_peer_expect (&s_client, 1, GPB_ALREADY_EXISTS);
    gpb_test_peer_t other;
    gpb_test_peer_open (&other, "inproc://broker");
    gpb_test_peer_execute (&other, 1, KERNEL, 0, 0);    //  another connection's ids are its own
    gpb_test_peer_settle (&other);
    s_finish (&s_devices [0], &works [0]);
    gpb_test_peer_expect (&s_client, 1, GPB_OK);
    gpb_test_work_t work;
    gpb_test_executor_take (&s_devices [0], &work);
    ck_assert_uint_ne (work.hop.owner, works [0].hop.owner);
    s_finish (&s_devices [0], &work);
    gpb_test_peer_expect (&other, 1, GPB_OK);
    gpb_test_peer_execute (&s_client, 1, KERNEL, 0, 0);
    gpb_test_executor_take (&s_devices [0], &work);
    ck_assert_uint_eq (work.hop.owner, works [0].hop.owner);
    s_finish (&s_devices [0], &work);
    gpb_test_peer_expect (&s_client, 1, GPB_OK);
    s_finish (&s_devices [0], &works [1]);
    gpb_test_peer_expect (&s_client, 2, GPB_OK);
    gpb_test_peer_close (&other);
    s_stop ();
}
END_TEST

START_TEST (test_payloads_go_through_without_being_copied)
{
    s_start (1);
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Execute execute = GPB__V1__EXECUTE__INIT;
    request.id = 1;
    request.body_case = GPB__V1__REQUEST__BODY_EXECUTE;
    request.execute = &execute;
    execute.kernel = (char *) KERNEL;
    zmq_msg_t payload;
    const void *sent = gpb_test_payload (&payload, LARGE);
    gpb_test_peer_send (&s_client, &request, &payload);
    gpb_test_work_t work;
    gpb_test_executor_take (&s_devices [0], &work);
    ck_assert_uint_eq (work.payloads_count, 1);
    ck_assert_uint_eq (work.size, LARGE);
    ck_assert_ptr_eq (work.data, sent);
    ck_assert (work.hop.flags & GPB_HOP_INPROC);

    const void *result = gpb_test_payload (&payload, LARGE);
    gpb_test_executor_answer (&s_devices [0], &work, GPB_OK, "", &payload);
    gpb_test_peer_expect (&s_client, 1, GPB_OK);
    ck_assert_uint_eq (s_client.message.payloads_count, 1);
    ck_assert_ptr_eq (zmq_msg_data (&s_client.message.payloads [0]), result);
    ck_assert_uint_eq (s_client.reply->available_memory, s_devices [0].available_memory);
    s_stop ();
}
END_TEST

START_TEST (test_a_reply_says_how_long_its_request_waited)
{
    s_start (1);
    gpb_test_work_t works [2], third;
    s_fill (works, 0);
    gpb_test_peer_execute (&s_client, 3, KERNEL, -1, 0);
    gpb_test_peer_settle (&s_client);
    uint64_t start_ns = gpb_clock_ns ();
    zmq_poll (NULL, 0, 20);
    s_finish (&s_devices [0], &works [0]);
    uint64_t waited_ns = gpb_clock_ns () - start_ns;
    gpb_test_peer_expect (&s_client, 1, GPB_OK);
    gpb_test_executor_take (&s_devices [0], &third);
    ck_assert_uint_le (third.hop.remaining_ns, 30 * GPB_NS_PER_S - waited_ns);
    s_finish (&s_devices [0], &third);
    ck_assert_uint_ge (gpb_test_peer_expect (&s_client, 3, GPB_OK)->queued_ns, waited_ns);
    s_finish (&s_devices [0], &works [1]);
    gpb_test_peer_expect (&s_client, 2, GPB_OK);
    s_stop ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Queues

START_TEST (test_what_waits_is_bounded_in_requests)
{
    s_configure ("max_queued_requests", "3");
    s_start (1);
    gpb_test_work_t works [2], work;
    s_fill (works, 0);
    for (uint64_t id = 3; id <= 5; id++)
        gpb_test_peer_execute (&s_client, id, KERNEL, -1, 0);
    gpb_test_peer_execute (&s_client, 6, KERNEL, -1, 0);
    gpb_test_peer_expect (&s_client, 6, GPB_RESOURCE_EXHAUSTED);
    gpb_test_peer_execute (&s_client, 6, KERNEL, 0, 0);
    gpb_test_peer_expect (&s_client, 6, GPB_RESOURCE_EXHAUSTED);
    for (unsigned number = 0; number < 2; number++) {
        s_finish (&s_devices [0], &works [number]);
        gpb_test_peer_expect (&s_client, number + 1, GPB_OK);
    }
    for (uint64_t id = 3; id <= 5; id++) {    //  first come, first served
        gpb_test_executor_take (&s_devices [0], &work);
        ck_assert_uint_eq (work.id, id);
        s_finish (&s_devices [0], &work);
        gpb_test_peer_expect (&s_client, id, GPB_OK);
    }
    s_stop ();
}
END_TEST

START_TEST (test_what_waits_is_bounded_in_bytes)
{
    s_configure ("max_queued_size", "65536");
    s_start (1);
    gpb_test_work_t works [2];
    s_fill (works, 0);
    for (uint64_t id = 3; id <= 4; id++) {
        Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
        Gpb__V1__Execute execute = GPB__V1__EXECUTE__INIT;
        request.id = id;
        request.body_case = GPB__V1__REQUEST__BODY_EXECUTE;
        request.execute = &execute;
        execute.kernel = (char *) KERNEL;
        zmq_msg_t payload;
        gpb_test_payload (&payload, 40000);
        gpb_test_peer_send (&s_client, &request, &payload);
    }
    ck_assert_ptr_nonnull (
        strstr (gpb_test_peer_expect (&s_client, 4, GPB_RESOURCE_EXHAUSTED)->message, "65536"));
    gpb_test_peer_cancel (&s_client, 10, 3);
    gpb_test_peer_expect (&s_client, 3, GPB_CANCELLED);
    gpb_test_peer_expect (&s_client, 10, GPB_OK);
    for (unsigned number = 0; number < 2; number++) {
        s_finish (&s_devices [0], &works [number]);
        gpb_test_peer_expect (&s_client, number + 1, GPB_OK);
    }
    s_stop ();
}
END_TEST

START_TEST (test_the_device_that_is_free_first_takes_what_waits)
{
    s_start (2);
    gpb_test_work_t works [DEVICES_MAX][2], work;
    for (unsigned index = 0; index < 4; index++)
        gpb_test_peer_execute (&s_client, index + 1, KERNEL, -1, 0);
    for (unsigned device = 0; device < 2; device++)
        for (unsigned number = 0; number < 2; number++)
            gpb_test_executor_take (&s_devices [device], &works [device][number]);
    gpb_test_peer_execute (&s_client, 5, KERNEL, -1, 0);
    gpb_test_peer_execute (&s_client, 6, KERNEL, 0, 0);    //  bound, and blocks nobody
    gpb_test_peer_execute (&s_client, 7, KERNEL, -1, 0);
    s_expect_no_work (&s_devices [0]);
    s_expect_no_work (&s_devices [1]);
    const uint64_t expected [] = { 5, 7 };
    for (unsigned number = 0; number < 2; number++) {
        s_finish (&s_devices [1], &works [1][number]);
        gpb_test_peer_expect (&s_client, works [1][number].id, GPB_OK);
        gpb_test_executor_take (&s_devices [1], &work);
        ck_assert_uint_eq (work.id, expected [number]);
        works [1][number] = work;
    }
    s_expect_no_work (&s_devices [0]);
    s_finish (&s_devices [0], &works [0][0]);
    gpb_test_peer_expect (&s_client, works [0][0].id, GPB_OK);
    gpb_test_executor_take (&s_devices [0], &work);
    ck_assert_uint_eq (work.id, 6);
    s_finish (&s_devices [0], &work);
    gpb_test_peer_expect (&s_client, 6, GPB_OK);
    s_finish (&s_devices [0], &works [0][1]);
    gpb_test_peer_expect (&s_client, works [0][1].id, GPB_OK);
    for (unsigned number = 0; number < 2; number++) {
        s_finish (&s_devices [1], &works [1][number]);
        gpb_test_peer_expect (&s_client, works [1][number].id, GPB_OK);
    }
    s_stop ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Time, cancel, clients that leave

START_TEST (test_a_request_is_answered_when_its_time_is_up_wherever_it_is)
{
    s_start (1);
    gpb_test_work_t works [2], work;
    s_fill (works, 50);
    ck_assert_uint_le (works [0].hop.remaining_ns, 50 * GPB_NS_PER_MS);
    gpb_test_peer_execute (&s_client, 3, KERNEL, -1, 50);
    for (uint64_t id = 1; id <= 3; id++) {
        const Gpb__V1__Reply *reply = gpb_test_peer_expect (&s_client, id, GPB_DEADLINE_EXCEEDED);
        ck_assert_ptr_nonnull (strstr (reply->message, id == 3 ? "waited" : "worked"));
    }
    //  Its credit is still taken; what the device says at last gives it back, and is dropped.
    gpb_test_peer_execute (&s_client, 4, KERNEL, -1, 0);
    s_expect_no_work (&s_devices [0]);
    s_finish (&s_devices [0], &works [0]);
    gpb_test_executor_take (&s_devices [0], &work);
    ck_assert_uint_eq (work.id, 4);
    s_finish (&s_devices [0], &work);
    gpb_test_peer_expect (&s_client, 4, GPB_OK);
    s_finish (&s_devices [0], &works [1]);
    gpb_test_peer_settle (&s_client);
    s_stop ();
}
END_TEST

START_TEST (test_a_request_is_taken_back_wherever_it_is)
{
    s_start (1);
    gpb_test_work_t works [2], work;
    s_fill (works, 0);
    gpb_test_peer_execute (&s_client, 3, KERNEL, -1, 0);
    gpb_test_peer_cancel (&s_client, 10, 3);    //  waits
    gpb_test_peer_expect (&s_client, 3, GPB_CANCELLED);
    gpb_test_peer_expect (&s_client, 10, GPB_OK);
    ck_assert_uint_eq (s_devices [0].cancels, 0);
    gpb_test_peer_cancel (&s_client, 11, 1);    //  is on the device, which is told
    gpb_test_peer_expect (&s_client, 1, GPB_CANCELLED);
    gpb_test_peer_expect (&s_client, 11, GPB_OK);
    s_expect_no_work (&s_devices [0]);
    ck_assert_uint_eq (s_devices [0].cancels, 1);
    ck_assert_uint_eq (s_devices [0].cancelled_id, 1);
    ck_assert_uint_eq (s_devices [0].cancelled_owner, works [0].hop.owner);
    gpb_test_executor_answer (&s_devices [0], &works [0], GPB_CANCELLED, "taken back", NULL);
    s_expect_no_work (&s_devices [0]);
    gpb_test_peer_cancel (&s_client, 12, 1);    //  twice
    gpb_test_peer_expect (&s_client, 12, GPB_NOT_FOUND);
    gpb_test_peer_t other;
    gpb_test_peer_open (&other, "inproc://broker");
    gpb_test_peer_cancel (&other, 13, 2);    //  another's
    gpb_test_peer_expect (&other, 13, GPB_NOT_FOUND);
    gpb_test_peer_close (&other);
    gpb_test_peer_execute (&s_client, 4, KERNEL, -1, 0);    //  the credit is back
    gpb_test_executor_take (&s_devices [0], &work);
    ck_assert_uint_eq (work.id, 4);
    s_finish (&s_devices [0], &work);
    gpb_test_peer_expect (&s_client, 4, GPB_OK);
    s_finish (&s_devices [0], &works [1]);
    gpb_test_peer_expect (&s_client, 2, GPB_OK);
    s_stop ();
}
END_TEST

//  Waits until the device has been told that somebody left.
static void
s_wait_goodbye (gpb_test_executor_t *device, unsigned goodbyes)
{
    gpb_test_work_t work;
    uint64_t end_ns = gpb_clock_ns () + GPB_TEST_PATIENCE_MS * GPB_NS_PER_MS;
    while (device->goodbyes < goodbyes) {
        ck_assert_uint_lt (gpb_clock_ns (), end_ns);
        ck_assert (!gpb_test_executor_poll (device, &work));
        zmq_poll (NULL, 0, 1);
    }
}

START_TEST (test_a_client_that_leaves_takes_along_what_waits)
{
    s_start (1);
    ck_assert_ok (
        gpb_pipe_ask (s_broker, (const char *[]){ "BIND", "tcp://127.0.0.1:*", NULL }, &error));
    gpb_test_peer_t leaver;
    gpb_test_peer_open (&leaver, error.text);
    gpb_test_work_t works [2], work;
    for (uint64_t id = 1; id <= 3; id++)
        gpb_test_peer_execute (&leaver, id, KERNEL, -1, 0);
    for (unsigned number = 0; number < 2; number++)
        gpb_test_executor_take (&s_devices [0], &works [number]);
    ck_assert_uint_eq (works [0].hop.flags & GPB_HOP_INPROC, 0);
    gpb_test_peer_settle (&leaver);
    gpb_test_peer_execute (&s_client, 4, KERNEL, -1, 0);
    gpb_test_peer_close (&leaver);
    s_wait_goodbye (&s_devices [0], 1);
    ck_assert_uint_eq (s_devices [0].goodbye_owner, works [0].hop.owner);
    s_finish (&s_devices [0], &works [0]);    //  to nobody
    gpb_test_executor_take (&s_devices [0], &work);
    ck_assert_uint_eq (work.id, 4);    //  not 3
    s_finish (&s_devices [0], &work);
    gpb_test_peer_expect (&s_client, 4, GPB_OK);
    s_finish (&s_devices [0], &works [1]);
    s_expect_no_work (&s_devices [0]);
    s_stop ();
}
END_TEST

START_TEST (test_a_client_that_says_goodbye_is_answered_and_owns_nothing_then)
{
    s_start (1);
    gpb_test_work_t works [2], work;
    s_fill (works, 0);
    gpb_test_peer_execute (&s_client, 3, KERNEL, -1, 0);
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Goodbye goodbye = GPB__V1__GOODBYE__INIT;
    request.id = 4;
    request.body_case = GPB__V1__REQUEST__BODY_GOODBYE;
    request.goodbye = &goodbye;
    gpb_test_peer_send (&s_client, &request, NULL);
    gpb_test_peer_expect (&s_client, 4, GPB_OK);
    s_wait_goodbye (&s_devices [0], 1);
    for (unsigned number = 0; number < 2; number++)
        s_finish (&s_devices [0], &works [number]);
    gpb_test_peer_execute (&s_client, 1, KERNEL, -1, 0);    //  and may go on
    gpb_test_executor_take (&s_devices [0], &work);
    ck_assert_uint_eq (work.id, 1);
    ck_assert_uint_ne (work.hop.owner, works [0].hop.owner);
    s_finish (&s_devices [0], &work);
    gpb_test_peer_expect (&s_client, 1, GPB_OK);
    s_stop ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Kernels over the wire

static const char s_definition [] =
    "id = \"fresh\"; source = \"fresh.c\";\n"
    "parameters = ( { name = \"n\"; direction = \"scalar\"; type = \"u32\"; } );\n"
    "global = [ \"n\" ];\n";

static void
s_register (uint64_t id, bool replace)
{
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__RegisterKernel body = GPB__V1__REGISTER_KERNEL__INIT;
    request.id = id;
    request.body_case = GPB__V1__REQUEST__BODY_REGISTER_KERNEL;
    request.register_kernel = &body;
    body.definition = (char *) s_definition;
    body.source = (char *) "KERNEL (fresh) (uint n) { (void) n; }";
    body.replace = replace;
    gpb_test_peer_send (&s_client, &request, NULL);
}

static void
s_expect_kernel (bool is_there)
{
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__ListKernels list = GPB__V1__LIST_KERNELS__INIT;
    request.id = 999;
    request.body_case = GPB__V1__REQUEST__BODY_KERNELS;
    request.kernels = &list;
    list.kernel = (char *) "fresh";
    gpb_test_peer_send (&s_client, &request, NULL);
    gpb_test_peer_expect (&s_client, 999, is_there ? GPB_OK : GPB_NOT_FOUND);
}

START_TEST (test_a_kernel_is_checked_by_all_devices_before_any_takes_it)
{
    s_configure ("allow_register", "true");
    s_start (2);
    gpb_test_work_t works [DEVICES_MAX];
    s_register (1, false);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned device = 0; device < 2; device++) {
            gpb_test_executor_take (&s_devices [device], &works [device]);
            ck_assert_int_eq (works [device].is_check, round == 0);
        }
        s_finish (&s_devices [0], &works [0]);
        s_expect_no_work (&s_devices [0]);
        s_expect_kernel (false);
        s_finish (&s_devices [1], &works [1]);
    }
    gpb_test_peer_expect (&s_client, 1, GPB_OK);
    s_expect_kernel (true);
    s_register (2, false);
    gpb_test_peer_expect (&s_client, 2, GPB_ALREADY_EXISTS);
    s_stop ();
}
END_TEST

START_TEST (test_a_kernel_that_one_device_refuses_is_on_none)
{
    s_configure ("allow_register", "true");
    s_start (2);
    gpb_test_work_t works [DEVICES_MAX];
    s_register (1, false);
    for (unsigned device = 0; device < 2; device++)
        gpb_test_executor_take (&s_devices [device], &works [device]);
    gpb_test_executor_answer (&s_devices [1], &works [1], GPB_INVALID_ARGUMENT, "fresh.c:1: no",
                              NULL);
    s_finish (&s_devices [0], &works [0]);
    ck_assert_str_eq (gpb_test_peer_expect (&s_client, 1, GPB_INVALID_ARGUMENT)->message,
                      "fresh.c:1: no");
    s_expect_kernel (false);
    s_expect_no_work (&s_devices [0]);
    s_expect_no_work (&s_devices [1]);
    s_stop ();
}
END_TEST

START_TEST (test_a_kernel_that_is_taken_back_while_it_is_checked_is_on_none)
{
    s_configure ("allow_register", "true");
    s_start (1);
    gpb_test_work_t work;
    s_register (1, false);
    gpb_test_executor_take (&s_devices [0], &work);
    gpb_test_peer_cancel (&s_client, 2, 1);
    gpb_test_peer_expect (&s_client, 1, GPB_CANCELLED);
    gpb_test_peer_expect (&s_client, 2, GPB_OK);
    s_finish (&s_devices [0], &work);
    s_expect_no_work (&s_devices [0]);
    s_expect_kernel (false);
    s_stop ();
}
END_TEST

START_TEST (test_one_of_two_that_register_the_same_kernel_at_once_is_refused)
{
    s_configure ("allow_register", "true");
    s_start (1);
    gpb_test_work_t work;
    s_register (1, false);
    s_register (2, false);
    gpb_test_peer_expect (&s_client, 2, GPB_ALREADY_EXISTS);
    for (unsigned round = 0; round < 2; round++) {
        gpb_test_executor_take (&s_devices [0], &work);
        s_finish (&s_devices [0], &work);
    }
    gpb_test_peer_expect (&s_client, 1, GPB_OK);
    s_stop ();
}
END_TEST

START_TEST (test_a_node_without_devices_takes_a_kernel_as_it_is)
{
    s_configure ("allow_register", "true");
    s_start_broker (0);
    s_register (1, false);
    gpb_test_peer_expect (&s_client, 1, GPB_OK);
    s_expect_kernel (true);
    s_stop ();
}
END_TEST

START_TEST (test_kernels_are_taken_only_where_the_configuration_says_so)
{
    s_start_broker (0);
    s_register (1, false);
    gpb_test_peer_expect (&s_client, 1, GPB_PERMISSION_DENIED);
    s_stop ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Stopping

START_TEST (test_a_broker_that_stops_finishes_what_it_has_accepted)
{
    s_start (1);
    gpb_test_work_t works [2], work;
    s_fill (works, 0);
    gpb_test_peer_execute (&s_client, 3, KERNEL, -1, 0);
    gpb_test_peer_settle (&s_client);
    zstr_send (s_broker, "$TERM");
    do {    //  until it has read that
        gpb_test_peer_execute (&s_client, 4, "none", -1, 0);
        gpb_test_peer_recv (&s_client);
        ck_assert_uint_eq (s_client.reply->id, 4);
    } while (s_client.reply->status == GPB__V1__STATUS__NOT_FOUND);
    ck_assert_int_eq (s_client.reply->status, GPB__V1__STATUS__UNAVAILABLE);
    for (unsigned number = 0; number < 2; number++) {
        s_finish (&s_devices [0], &works [number]);
        gpb_test_peer_expect (&s_client, number + 1, GPB_OK);
    }
    gpb_test_executor_take (&s_devices [0], &work);
    ck_assert_uint_eq (work.id, 3);
    s_finish (&s_devices [0], &work);
    gpb_test_peer_expect (&s_client, 3, GPB_OK);
    s_stop ();
}
END_TEST

START_TEST (test_a_broker_that_stops_answers_what_no_device_answers)
{
    s_configure ("drain_ms", "50");
    s_configure ("allow_register", "true");
    s_start (1);
    gpb_test_work_t works [2];
    s_fill (works, 0);
    gpb_test_peer_execute (&s_client, 3, KERNEL, -1, 0);
    s_register (4, false);
    gpb_test_peer_settle (&s_client);
    zactor_destroy (&s_broker);
    for (unsigned count = 0; count < 4; count++) {
        const Gpb__V1__Reply *reply = gpb_test_peer_recv (&s_client);
        ck_assert_int_eq (reply->status, GPB__V1__STATUS__UNAVAILABLE);
        ck_assert_ptr_nonnull (strstr (reply->message, "stopped"));
    }
    s_stop ();
}
END_TEST

//  A client that asks for what is not there, as fast as it can, until it is destroyed, and reads
//  what it is told so that it is not dropped.
static void
s_never_stop (zsock_t *pipe, void *args)
{
    (void) args;
    gpb_test_peer_t client;
    gpb_test_peer_open (&client, "inproc://broker");
    uint64_t id = 0;
    zpoller_t *poller = zpoller_new (pipe, NULL);
    gpb_test_peer_execute (&client, ++id, "none", -1, 0);
    gpb_test_peer_recv (&client);
    zsock_signal (pipe, 0);
    //  A broker that is gone takes no more, which is no fault.
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Health health = GPB__V1__HEALTH__INIT;
    request.version = GPB_PROTOCOL_VERSION;
    request.body_case = GPB__V1__REQUEST__BODY_HEALTH;
    request.health = &health;
    gpb_message_t message;
    gpb_message_init (&message);
    while (zpoller_wait (poller, 0) != pipe) {
        request.id = ++id;
        gpb_codec_pack (&request.base, &message.header, NULL);
        gpb_message_send (&message, zsock_resolve (client.dealer), NULL);
    }
    gpb_message_clear (&message);
    zpoller_destroy (&poller);
    gpb_test_peer_close (&client);
}

START_TEST (test_a_client_that_never_stops_asking_stops_no_broker)
{
    s_configure ("drain_ms", "50");
    s_start (1);
    zactor_t *client = zactor_new (s_never_stop, NULL);
    zactor_destroy (&s_broker);
    zactor_destroy (&client);
    s_stop ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Devices

START_TEST (test_a_lost_device_says_why)
{
    s_start_broker (2);
    gpb_test_executor_open (&s_devices [0], "first");
    s_introduce (&s_devices [0], "0");
    ck_assert_ok (gpb_pipe_ask (s_broker,
                                (const char *[]){ "LOST", "1", "the driver is too old", NULL },
                                &error));
    gpb_test_peer_execute (&s_client, 1, KERNEL, 1, 0);
    ck_assert_ptr_nonnull (strstr (gpb_test_peer_expect (&s_client, 1, GPB_UNAVAILABLE)->message,
                                   "the driver is too old"));
    gpb_test_peer_execute (&s_client, 2, KERNEL, -1, 0);
    gpb_test_work_t work;
    gpb_test_executor_take (&s_devices [0], &work);
    s_finish (&s_devices [0], &work);
    gpb_test_peer_expect (&s_client, 2, GPB_OK);
    gpb_test_peer_execute (&s_client, 3, KERNEL, 2, 0);
    gpb_test_peer_expect (&s_client, 3, GPB_NOT_FOUND);
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Health health = GPB__V1__HEALTH__INIT;
    request.id = 4;
    request.body_case = GPB__V1__REQUEST__BODY_HEALTH;
    request.health = &health;
    gpb_test_peer_send (&s_client, &request, NULL);
    const Gpb__V1__HealthReply *reply = gpb_test_peer_expect (&s_client, 4, GPB_OK)->health;
    ck_assert (reply->live && reply->ready);
    ck_assert_uint_eq (reply->n_devices, 2);
    ck_assert_int_eq (reply->devices [0]->state, GPB__V1__DEVICE_STATE__READY);
    ck_assert_int_eq (reply->devices [1]->state, GPB__V1__DEVICE_STATE__LOST);
    ck_assert_str_eq (reply->devices [1]->reason, "the driver is too old");
    s_stop ();
}
END_TEST

START_TEST (test_a_node_without_devices_says_why)
{
    s_start_broker (0);
    gpb_test_peer_execute (&s_client, 1, KERNEL, -1, 0);
    ck_assert_ptr_nonnull (
        strstr (gpb_test_peer_expect (&s_client, 1, GPB_UNAVAILABLE)->message, "cuda: no driver"));
    s_stop ();
}
END_TEST

START_TEST (test_a_handle_leads_to_its_device)
{
    s_start (2);
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Release release = GPB__V1__RELEASE__INIT;
    request.body_case = GPB__V1__REQUEST__BODY_RELEASE;
    request.release = &release;
    for (uint64_t device = 0; device < 3; device++) {
        request.id = device + 1;
        release.handle = device << 56 | 12345;
        gpb_test_peer_send (&s_client, &request, NULL);
        if (device == 2)
            break;
        gpb_test_work_t work;
        gpb_test_executor_take (&s_devices [device], &work);
        ck_assert_uint_eq (work.handle, release.handle);
        s_finish (&s_devices [device], &work);
        gpb_test_peer_expect (&s_client, request.id, GPB_OK);
    }
    gpb_test_peer_expect (&s_client, 3, GPB_NOT_FOUND);
    s_stop ();
}
END_TEST

START_TEST (test_a_device_that_says_nothing_of_a_pool_is_reported_without)
{
    s_start_broker (1);
    gpb_test_executor_open (&s_devices [0], "first");
    s_devices [0].has_pool = false;
    s_introduce (&s_devices [0], "0");
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Stats stats = GPB__V1__STATS__INIT;
    request.id = 1;
    request.body_case = GPB__V1__REQUEST__BODY_STATS;
    request.stats = &stats;
    gpb_test_peer_send (&s_client, &request, NULL);
    const Gpb__V1__StatsReply *reply = gpb_test_peer_expect (&s_client, 1, GPB_OK)->stats;
    ck_assert_uint_eq (reply->n_pools, 0);
    ck_assert_uint_eq (reply->n_devices, 1);
    ck_assert_str_eq (reply->devices [0]->name, "first");
    s_stop ();
}
END_TEST

START_TEST (test_commands_that_are_wrong_are_answered)
{
    s_start (1);
    static const char *const wrong [][3] = {
        { "FLY", NULL, NULL },
        { "BIND", NULL, NULL },
        { "BIND", "nonsense", NULL },
        { "DEVICE", "0", NULL },
        { "DEVICE", "x", "inproc://a" },
        { "DEVICE", "", "inproc://a" },
        { "DEVICE", "0", "inproc://a" },
        { "DEVICE", "9", "inproc://a" },
        { "DEVICE", "-1", "inproc://a" },
        { "LOST", "0", "it serves" },
    };
    for (size_t index = 0; index < sizeof wrong / sizeof wrong [0]; index++) {
        ck_assert_int_eq (gpb_pipe_ask (s_broker,
                                        (const char *[]){ wrong [index][0], wrong [index][1],
                                                          wrong [index][2], NULL },
                                        &error),
                          GPB_INVALID_ARGUMENT);
        ck_assert_uint_gt (strlen (error.text), 10);
    }
    gpb_test_peer_settle (&s_client);
    s_stop ();
}
END_TEST

START_TEST (test_a_broker_that_gets_no_memory_says_so)
{
    s_configure ("kernel_path", "/nowhere");
    bool done = false;
    for (int64_t after = 0; !done; after++) {
        gpb_broker_args_t args = { .config = s_config, .devices = 2 };
        gpb_alloc_fail (after, 0);
        s_broker = zactor_new (gpb_broker, &args);
        gpb_status_t status =
            gpb_pipe_ask (s_broker, (const char *[]){ "BIND", "inproc://broker", NULL }, &error);
        done = gpb_alloc_fail (-1, 0) <= (uint64_t) after;
        if (status != GPB_OK)
            ck_assert_refused (status, GPB_RESOURCE_EXHAUSTED, "memory");
        zactor_destroy (&s_broker);
    }
    gpb_config_destroy (&s_config);
}
END_TEST

START_TEST (test_a_request_for_which_there_is_no_memory_is_answered)
{
    s_start (1);
    gpb_test_peer_settle (&s_client);
    for (int64_t after = 0; after < 6; after++) {
        gpb_alloc_fail (after, 0);
        gpb_test_peer_execute (&s_client, 1, KERNEL, -1, 0);
        gpb_test_work_t work;
        zmq_pollitem_t items [] = {
            { zsock_resolve (s_client.dealer), 0, ZMQ_POLLIN, 0 },
            { zsock_resolve (s_devices [0].router), 0, ZMQ_POLLIN, 0 },
        };
        bool is_work = false;
        do {
            ck_assert_int_gt (zmq_poll (items, 2, GPB_TEST_PATIENCE_MS), 0);
            is_work = gpb_test_executor_poll (&s_devices [0], &work);
        } while (!is_work && !(items [0].revents & ZMQ_POLLIN));
        if (is_work)
            s_finish (&s_devices [0], &work);
        gpb_test_peer_expect (&s_client, 1, is_work ? GPB_OK : GPB_RESOURCE_EXHAUSTED);
        gpb_alloc_fail (-1, 0);
    }
    s_stop ();
}
END_TEST

GPB_TEST_MAIN ("gpb_broker", 60, test_a_request_is_answered_once_whatever_its_device_says,
               test_an_answer_to_what_has_not_been_asked_is_dropped,
               test_an_answer_that_cannot_be_read_is_INTERNAL,
               test_an_id_is_free_again_when_it_is_answered,
               test_payloads_go_through_without_being_copied,
               test_a_reply_says_how_long_its_request_waited,
               test_what_waits_is_bounded_in_requests, test_what_waits_is_bounded_in_bytes,
               test_the_device_that_is_free_first_takes_what_waits,
               test_a_request_is_answered_when_its_time_is_up_wherever_it_is,
               test_a_request_is_taken_back_wherever_it_is,
               test_a_client_that_leaves_takes_along_what_waits,
               test_a_client_that_says_goodbye_is_answered_and_owns_nothing_then,
               test_a_kernel_is_checked_by_all_devices_before_any_takes_it,
               test_a_kernel_that_one_device_refuses_is_on_none,
               test_a_kernel_that_is_taken_back_while_it_is_checked_is_on_none,
               test_one_of_two_that_register_the_same_kernel_at_once_is_refused,
               test_a_node_without_devices_takes_a_kernel_as_it_is,
               test_kernels_are_taken_only_where_the_configuration_says_so,
               test_a_broker_that_stops_finishes_what_it_has_accepted,
               test_a_broker_that_stops_answers_what_no_device_answers,
               test_a_client_that_never_stops_asking_stops_no_broker, test_a_lost_device_says_why,
               test_a_node_without_devices_says_why, test_a_handle_leads_to_its_device,
               test_a_device_that_says_nothing_of_a_pool_is_reported_without,
               test_commands_that_are_wrong_are_answered, test_a_broker_that_gets_no_memory_says_so,
               test_a_request_for_which_there_is_no_memory_is_answered)
