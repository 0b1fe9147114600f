//  Tests of gpb_zap: a question is answered by the keyring, whatever it looks like, and what
//  another ZAP handler has is left alone.

#include "gpb_zap.h"

#include "gpb_test_keys.h"

#include <czmq.h>

static gpb_error_t error;
static void *s_context;
static gpb_zap_t s_zap;
static gpb_keyring_t *s_keyring;
static void *s_asker;    //  a REQ, as libzmq is one
static char s_allowed_key [41];

static void
s_open (void)
{
    gpb_certificate_t *certificate = gpb_certificate_load (gpb_test_key ("alice"), &error);
    strcpy (s_allowed_key, gpb_certificate_public_key (certificate));
    gpb_certificate_destroy (&certificate);
    gpb_test_allow ("alice");
    s_keyring = gpb_keyring_new (gpb_test_allowed (), &error);
    s_context = zmq_ctx_new ();
    ck_assert_ok (gpb_zap_open (&s_zap, s_context, s_keyring, &error));
    s_asker = zmq_socket (s_context, ZMQ_REQ);
    ck_assert_int_eq (zmq_connect (s_asker, "inproc://zeromq.zap.01"), 0);
}

static void
s_close (void)
{
    zmq_close (s_asker);
    gpb_zap_close (&s_zap);
    zmq_ctx_term (s_context);
    gpb_keyring_destroy (&s_keyring);
    gpb_test_keys_clear ();
}

//  Asks, and gives the answer's status and user.
static void
s_ask (const char *version, const char *mechanism, const void *credentials, size_t size,
       char *status, char *user)
{
    const char *frames [] = { version, "7", "gpb", "1.2.3.4", "", mechanism };
    for (size_t index = 0; index < 6; index++)
        zmq_send (s_asker, frames [index], strlen (frames [index]),
                  ZMQ_SNDMORE * (index < 5 || credentials != NULL));
    if (credentials)
        zmq_send (s_asker, credentials, size, 0);
    char answer [6][256];
    gpb_zap_serve (&s_zap);
    for (size_t index = 0; index < 6; index++) {
        int length = zmq_recv (s_asker, answer [index], sizeof answer [0] - 1, ZMQ_DONTWAIT);
        ck_assert_int_ge (length, 0);
        answer [index][length] = 0;
    }
    ck_assert_str_eq (answer [0], "1.0");
    ck_assert_str_eq (answer [1], "7");
    strcpy (status, answer [2]);
    strcpy (user, answer [4]);
}

START_TEST (test_a_key_of_the_folder_comes_in_and_no_other)
{
    s_open ();
    uint8_t key [32], other [32] = { 1 };
    char status [256], user [256];
    zmq_z85_decode (key, s_allowed_key);
    s_ask ("1.0", "CURVE", key, sizeof key, status, user);
    ck_assert_str_eq (status, "200");
    ck_assert_str_eq (user, s_allowed_key);
    ck_assert_uint_eq (s_zap.refused, 0);
    s_ask ("1.0", "CURVE", other, sizeof other, status, user);
    ck_assert_str_eq (status, "400");
    ck_assert_str_eq (user, "");
    ck_assert_uint_eq (s_zap.refused, 1);
    ck_assert_str_eq (s_zap.address, "1.2.3.4");
    gpb_test_disallow ("alice");
    gpb_keyring_refresh (s_keyring);
    s_ask ("1.0", "CURVE", key, sizeof key, status, user);
    ck_assert_str_eq (status, "400");
    s_close ();
}
END_TEST

START_TEST (test_who_has_no_key_is_nobody_and_can_claim_no_name)
{
    s_open ();
    char status [256], user [256];
    s_ask ("1.0", "NULL", NULL, 0, status, user);
    ck_assert_str_eq (status, "200");
    ck_assert_str_eq (user, GPB_ZAP_NOBODY);
    s_close ();
}
END_TEST

START_TEST (test_every_other_question_is_answered_no)
{
    s_open ();
    uint8_t key [32];
    static const char garbage [100000];
    char status [256], user [256];
    zmq_z85_decode (key, s_allowed_key);
    s_ask ("2.0", "CURVE", key, sizeof key, status, user);
    ck_assert_str_eq (status, "400");
    s_ask ("1.0", "CURVE", key, 31, status, user);
    ck_assert_str_eq (status, "400");
    s_ask ("1.0", "CURVE", NULL, 0, status, user);
    ck_assert_str_eq (status, "400");
    s_ask ("1.0", "CURVE", garbage, sizeof garbage, status, user);
    ck_assert_str_eq (status, "400");
    s_ask ("1.0", "PLAIN", "alice", 5, status, user);
    ck_assert_str_eq (status, "400");
    s_ask ("1.0", "GSSAPI", "alice", 5, status, user);
    ck_assert_str_eq (status, "400");
    zmq_send (s_asker, "", 0, 0);
    gpb_zap_serve (&s_zap);
    ck_assert_int_eq (zmq_recv (s_asker, status, sizeof status, ZMQ_DONTWAIT), 3);
    s_close ();
}
END_TEST

START_TEST (test_without_a_keyring_no_key_comes_in)
{
    s_open ();
    uint8_t key [32];
    char status [256], user [256];
    zmq_z85_decode (key, s_allowed_key);
    s_zap.keyring = NULL;
    s_ask ("1.0", "CURVE", key, sizeof key, status, user);
    ck_assert_str_eq (status, "400");
    s_close ();
}
END_TEST

START_TEST (test_another_handler_of_the_context_stays)
{
    s_open ();
    gpb_zap_t second = { .socket = NULL };
    ck_assert_refused (gpb_zap_open (&second, s_context, s_keyring, &error),
                       GPB_FAILED_PRECONDITION, "decided by another");
    ck_assert_ptr_null (second.socket);
    gpb_zap_serve (&second);
    s_close ();
}
END_TEST

GPB_TEST_MAIN ("gpb_zap", 10, test_a_key_of_the_folder_comes_in_and_no_other,
               test_who_has_no_key_is_nobody_and_can_claim_no_name,
               test_every_other_question_is_answered_no, test_without_a_keyring_no_key_comes_in,
               test_another_handler_of_the_context_stays)
