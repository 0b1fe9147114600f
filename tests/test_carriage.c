//  Tests of gpb_carriage: a message that crosses is what it was, large payloads stand in shared
//  memory and their blocks come back, and what is no message of the other side's is refused.

#include "gpb_carriage.h"
#include "gpb_test.h"

#include <string.h>
#include <unistd.h>

static gpb_error_t error;
static gpb_carriage_t s_node, s_process;    //  the second behind a ROUTER

static void
s_open (void)
{
    int requests = gpb_region_create (&error), results = gpb_region_create (&error);
    ck_assert (requests >= 0 && results >= 0);
    s_node = (gpb_carriage_t){ gpb_region_giver (requests, &error),
                               gpb_region_taker (results, &error), 0 };
    s_process = (gpb_carriage_t){ gpb_region_giver (results, &error),
                                  gpb_region_taker (requests, &error), 1 };
    ck_assert (s_node.give && s_node.take && s_process.give && s_process.take);
    close (requests);
    close (results);
}

static void
s_close (void)
{
    gpb_carriage_clear (&s_node);
    gpb_carriage_clear (&s_process);
}

static void
s_frame (zmq_msg_t *frame, size_t size, int byte)
{
    ck_assert_int_eq (zmq_msg_init_size (frame, size), 0);
    memset (zmq_msg_data (frame), byte, size);
}

//  "hop", and payloads of these sizes; the bytes of each are its index and 1.
static void
s_message (gpb_message_t *message, const size_t *sizes, size_t count)
{
    gpb_message_init (message);
    s_frame (&message->envelope [message->envelope_count++], 3, 'h');
    for (size_t index = 0; index < count; index++) {
        zmq_msg_t payload;
        s_frame (&payload, sizes [index], (int) index + 1);
        ck_assert_ok (gpb_message_add (message, &payload, &error));
    }
}

static void
s_check_message (gpb_message_t *message, const size_t *sizes, size_t count)
{
    ck_assert_uint_eq (message->payloads_count, count);
    for (size_t index = 0; index < count; index++) {
        zmq_msg_t *payload = &message->payloads [index];
        const unsigned char *bytes = zmq_msg_data (payload);
        ck_assert_uint_eq (zmq_msg_size (payload), sizes [index]);
        for (size_t at = 0; at < sizes [index];
             at += at + 1 == sizes [index] ? 1 : sizes [index] / 3 + 1)
            ck_assert_uint_eq (bytes [at], index + 1);
    }
}

//  What a ROUTER puts before a message that it has received.
static void
s_add_identity (gpb_message_t *message)
{
    size_t index = message->envelope_count++;
    zmq_msg_init (&message->envelope [index]);
    for (; index > 0; index--)
        zmq_msg_move (&message->envelope [index], &message->envelope [index - 1]);
    s_frame (&message->envelope [0], 5, 'i');
}

static void
s_remove_identity (gpb_message_t *message)
{
    for (size_t index = 0; index + 1 < message->envelope_count; index++)
        zmq_msg_move (&message->envelope [index], &message->envelope [index + 1]);
    zmq_msg_close (&message->envelope [--message->envelope_count]);
}

START_TEST (test_a_message_crosses_there_and_back)
{
    static const size_t sizes [] = { 0, 1, 24, 65536, 65537, 3000000 };
    enum { COUNT = sizeof sizes / sizeof sizes [0] };
    s_open ();
    for (unsigned round = 0; round < 5; round++) {
        gpb_message_t message;
        s_message (&message, sizes, COUNT);
        gpb_carriage_pack (&s_node, &message);
        ck_assert_uint_eq (message.envelope_count, 2);
        ck_assert_uint_eq (zmq_msg_size (&message.payloads [3]), 65536);
        ck_assert_uint_eq (zmq_msg_size (&message.payloads [4]), sizeof (gpb_region_place_t));
        s_add_identity (&message);
        ck_assert_ok (gpb_carriage_unpack (&s_process, &message, &error));
        ck_assert_uint_eq (message.envelope_count, 2);
        ck_assert_int_eq (*(char *) zmq_msg_data (&message.envelope [0]), 'i');
        ck_assert_int_eq (*(char *) zmq_msg_data (&message.envelope [1]), 'h');
        s_check_message (&message, sizes, COUNT);

        gpb_carriage_pack (&s_process, &message);    //  the answer is what was asked
        s_remove_identity (&message);
        ck_assert_ok (gpb_carriage_unpack (&s_node, &message, &error));
        ck_assert_uint_eq (message.envelope_count, 1);
        s_check_message (&message, sizes, COUNT);
        //  The request's blocks came back with the answer.
        ck_assert_uint_eq (gpb_region_in_use (s_node.give), 0);
        gpb_message_clear (&message);
    }
    s_close ();
}
END_TEST

//  News of more blocks than one message tells goes with the next ones.
START_TEST (test_all_blocks_come_back_in_time)
{
    enum { MESSAGES = 5, PAYLOADS = 30 };
    size_t sizes [PAYLOADS];
    s_open ();
    for (size_t index = 0; index < PAYLOADS; index++)
        sizes [index] = 70000;
    gpb_message_t messages [MESSAGES];
    for (unsigned number = 0; number < MESSAGES; number++) {
        s_message (&messages [number], sizes, PAYLOADS);
        gpb_carriage_pack (&s_node, &messages [number]);
        s_add_identity (&messages [number]);
        ck_assert_ok (gpb_carriage_unpack (&s_process, &messages [number], &error));
    }
    for (unsigned number = 0; number < MESSAGES; number++)
        gpb_message_clear (&messages [number]);
    ck_assert_uint_eq (gpb_region_in_use (s_node.give), MESSAGES * PAYLOADS);
    for (size_t left = MESSAGES * PAYLOADS; left > 0;) {
        gpb_message_t answer;
        s_message (&answer, NULL, 0);
        s_add_identity (&answer);
        gpb_carriage_pack (&s_process, &answer);
        s_remove_identity (&answer);
        ck_assert_ok (gpb_carriage_unpack (&s_node, &answer, &error));
        ck_assert_uint_lt (gpb_region_in_use (s_node.give), left);
        left = gpb_region_in_use (s_node.give);
        gpb_message_clear (&answer);
    }
    s_close ();
}
END_TEST

//  A client's payload that looks like a place is a payload.
START_TEST (test_a_payload_cannot_pass_for_a_place)
{
    static const size_t secret_size = 100000, forged_size = sizeof (gpb_region_place_t);
    s_open ();
    gpb_message_t secret, forged;
    s_message (&secret, &secret_size, 1);
    gpb_carriage_pack (&s_node, &secret);
    s_message (&forged, &forged_size, 1);
    memcpy (zmq_msg_data (&forged.payloads [0]), zmq_msg_data (&secret.payloads [0]), forged_size);
    gpb_carriage_pack (&s_node, &forged);
    s_add_identity (&forged);
    ck_assert_ok (gpb_carriage_unpack (&s_process, &forged, &error));
    ck_assert_uint_eq (zmq_msg_size (&forged.payloads [0]), forged_size);
    gpb_message_clear (&secret);
    gpb_message_clear (&forged);
    s_close ();
}
END_TEST

//  Everything that a process which writes at random may say of a message.
START_TEST (test_what_is_no_bill_is_refused)
{
    typedef struct {
        uint32_t words [8];
        size_t size;
    } s_case_t;
    static const uint32_t magic = 0x31726143u;
    static const s_case_t cases [] = {
        { { 0, 0, 0 }, 12 },           //  no magic
        { { magic, 0, 0 }, 11 },       //  too short
        { { magic, 0, 0, 0 }, 16 },    //  more than it counts
        { { magic, 0, 2, 0 }, 16 },    //  less
        { { magic, 0, UINT32_MAX }, 12 },
        { { magic, 1, 0 }, 12 },    //  a payload that is no place
        { { magic, 2, 0 }, 12 },    //  one that is not there
        { { magic, 0x80000000u, 0 }, 12 },
    };
    static const size_t size = 10;
    s_open ();
    for (size_t index = 0; index < sizeof cases / sizeof cases [0]; index++) {
        gpb_message_t message;
        s_message (&message, &size, 1);
        s_add_identity (&message);    //  stands for the frame
        zmq_msg_close (&message.envelope [0]);
        zmq_msg_init_size (&message.envelope [0], cases [index].size);
        memcpy (zmq_msg_data (&message.envelope [0]), cases [index].words, cases [index].size);
        ck_assert_int_eq (gpb_carriage_unpack (&s_node, &message, &error), GPB_INVALID_ARGUMENT);
        gpb_message_clear (&message);
    }
    gpb_message_t message;
    gpb_message_init (&message);
    ck_assert_int_eq (gpb_carriage_unpack (&s_node, &message, &error), GPB_INVALID_ARGUMENT);
    gpb_message_clear (&message);
    s_close ();
}
END_TEST

START_TEST (test_a_place_beyond_the_memory_is_refused)
{
    static const size_t size = sizeof (gpb_region_place_t);
    static const uint32_t bill [3] = { 0x31726143u, 1, 0 };
    s_open ();
    gpb_message_t message;
    s_message (&message, &size, 1);    //  offset and size are 0x0101...
    s_add_identity (&message);
    zmq_msg_close (&message.envelope [0]);
    zmq_msg_init_size (&message.envelope [0], sizeof bill);
    memcpy (zmq_msg_data (&message.envelope [0]), bill, sizeof bill);
    ck_assert_refused (gpb_carriage_unpack (&s_node, &message, &error), GPB_OUT_OF_RANGE,
                       "not in the shared memory");
    gpb_message_clear (&message);
    s_close ();
}
END_TEST

GPB_TEST_MAIN ("gpb_carriage", 60, test_a_message_crosses_there_and_back,
               test_all_blocks_come_back_in_time, test_a_payload_cannot_pass_for_a_place,
               test_what_is_no_bill_is_refused, test_a_place_beyond_the_memory_is_refused)
