//  Tests of gpb_certificate: what is written can be read, by CZMQ too; a secret key is its owner's
//  alone, is never overwritten, and is in no error.

#include "gpb_alloc.h"
#include "gpb_test_keys.h"

#include <czmq.h>
#include <sys/stat.h>

static gpb_error_t error;

static mode_t
s_mode (const char *path)
{
    struct stat about;
    ck_assert_int_eq (stat (path, &about), 0);
    return about.st_mode & 07777;
}

START_TEST (test_a_pair_is_read_as_it_was_written)
{
    gpb_certificate_t *written = gpb_certificate_new ("alice", &error);
    ck_assert_ptr_nonnull (written);
    const char *path = gpb_test_path ("a_file");
    ck_assert_ok (gpb_certificate_save (written, path, &error));
    gpb_certificate_t *pair = gpb_certificate_load (path, &error);
    ck_assert_ptr_nonnull (pair);
    ck_assert_str_eq (gpb_certificate_name (pair), "alice");
    ck_assert_str_eq (gpb_certificate_public_key (pair), gpb_certificate_public_key (written));
    ck_assert (gpb_certificate_has_secret (pair));
    gpb_certificate_t *half = gpb_certificate_load_public (path, &error);
    ck_assert_str_eq (gpb_certificate_public_key (half), gpb_certificate_public_key (written));
    ck_assert (!gpb_certificate_has_secret (half));
    gpb_certificate_destroy (&half);
    gpb_certificate_destroy (&pair);
    gpb_certificate_destroy (&written);
    gpb_test_keys_clear ();
}
END_TEST

START_TEST (test_the_secret_file_is_its_owners_alone_and_the_public_one_has_no_secret)
{
    umask (0);
    const char *path = gpb_test_key ("alice");
    ck_assert_uint_eq (s_mode (path), 0644);
    ck_assert_uint_eq (s_mode (gpb_test_path ("alice_secret")), 0600);
    char text [1024] = "";
    FILE *file = fopen (path, "r");
    ck_assert_uint_gt (fread (text, 1, sizeof text - 1, file), 0);
    fclose (file);
    ck_assert_ptr_nonnull (strstr (text, "public-key"));
    ck_assert_ptr_null (strstr (text, "secret-key"));
    gpb_test_keys_clear ();
}
END_TEST

START_TEST (test_czmq_reads_what_is_written_and_writes_what_is_read)
{
    const char *path = gpb_test_key ("alice");
    gpb_certificate_t *ours = gpb_certificate_load (path, &error);
    zcert_t *theirs = zcert_load (path);
    ck_assert_ptr_nonnull (theirs);
    ck_assert_str_eq (zcert_public_txt (theirs), gpb_certificate_public_key (ours));
    ck_assert_int_eq (strspn (zcert_secret_txt (theirs), "0"), 0);
    ck_assert_str_eq (zcert_meta (theirs, "name"), "alice");
    zcert_destroy (&theirs);
    gpb_certificate_destroy (&ours);

    theirs = zcert_new ();
    path = gpb_test_path ("bob.key");
    ck_assert_int_eq (zcert_save (theirs, path), 0);
    chmod (gpb_test_path ("bob.key_secret"), 0600);
    ours = gpb_certificate_load (path, &error);
    ck_assert_msg (ours != NULL, "%s", error.text);
    ck_assert_str_eq (gpb_certificate_name (ours), "bob");
    ck_assert_str_eq (zcert_public_txt (theirs), gpb_certificate_public_key (ours));
    ck_assert (gpb_certificate_has_secret (ours));
    gpb_certificate_destroy (&ours);
    zcert_destroy (&theirs);
    gpb_test_keys_clear ();
}
END_TEST

START_TEST (test_nothing_is_overwritten)
{
    gpb_certificate_t *other = gpb_certificate_new ("other", &error);
    const char *path = gpb_test_key ("alice");
    gpb_certificate_t *before = gpb_certificate_load (path, &error);
    ck_assert_refused (gpb_certificate_save (other, path, &error), GPB_ALREADY_EXISTS,
                       "alice_secret is there already");
    //  Where only the public one is there, no secret one is left behind.
    ck_assert_int_eq (unlink (gpb_test_path ("alice_secret")), 0);
    ck_assert_refused (gpb_certificate_save (other, path, &error), GPB_ALREADY_EXISTS,
                       "alice is there already");
    ck_assert_int_ne (access (gpb_test_path ("alice_secret"), F_OK), 0);
    gpb_certificate_t *after = gpb_certificate_load (path, &error);
    ck_assert_str_eq (gpb_certificate_public_key (before), gpb_certificate_public_key (after));
    //  A link that leads nowhere is not followed.
    ck_assert_int_eq (symlink ("/tmp/nowhere", gpb_test_path ("link_secret")), 0);
    ck_assert_refused (gpb_certificate_save (other, gpb_test_path ("link"), &error),
                       GPB_ALREADY_EXISTS, "link_secret");
    gpb_certificate_destroy (&after);
    gpb_certificate_destroy (&before);
    gpb_certificate_destroy (&other);
    gpb_test_keys_clear ();
}
END_TEST

#define GOOD "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"

static const struct {
    const char *text;
    const char *part;
} s_bad [] = {
    { "metadata\n", "no line `public-key" },
    { "curve\n    public-key = \"short\"\n", ":2: a CURVE key is 40 characters" },
    { "public-key = \"" GOOD "x\"\n", ":1: a CURVE key" },
    { "public-key = \"" GOOD "\"\nsecret-key = \"" GOOD "\"\n", "do not belong together" },
    { "name = \"a b\"\npublic-key = \"" GOOD "\"\n", ":1: a key's name" },
    { "name = \"*\"\npublic-key = \"" GOOD "\"\n", ":1: a key's name" },
    { "", "1 to 16384 bytes" },
};

START_TEST (test_what_is_no_certificate_is_refused_and_never_quoted)
{
    for (size_t index = 0; index < sizeof s_bad / sizeof s_bad [0]; index++) {
        const char *path = gpb_test_path ("bad");
        gpb_test_file (path, s_bad [index].text);
        chmod (path, 0600);
        ck_assert_ptr_null (gpb_certificate_load (path, &error));
        ck_assert_refused (error.status, GPB_INVALID_ARGUMENT, s_bad [index].part);
        ck_assert_ptr_null (strstr (error.text, "rq:rM"));
        ck_assert_ptr_null (strstr (error.text, "short"));
    }
    ck_assert_ptr_null (gpb_certificate_load (gpb_test_path ("none"), &error));
    ck_assert_refused (error.status, GPB_NOT_FOUND, "cannot be opened");
    ck_assert_ptr_null (gpb_certificate_load (gpb_test_scratch (), &error));
    ck_assert_refused (error.status, GPB_INVALID_ARGUMENT, "not a file");
    ck_assert_int_eq (mkfifo (gpb_test_path ("fifo"), 0600), 0);
    ck_assert_ptr_null (gpb_certificate_load (gpb_test_path ("fifo"), &error));
    ck_assert_refused (error.status, GPB_INVALID_ARGUMENT, "not a file");
    gpb_test_keys_clear ();
}
END_TEST

START_TEST (test_a_secret_key_that_others_may_read_is_refused)
{
    const char *path = gpb_test_key ("alice");
    chmod (gpb_test_path ("alice_secret"), 0640);
    ck_assert_ptr_null (gpb_certificate_load (path, &error));
    ck_assert_refused (error.status, GPB_FAILED_PRECONDITION, "mode 0640");
    gpb_test_keys_clear ();
}
END_TEST

START_TEST (test_files_of_other_programs_are_read)
{
    const char *path = gpb_test_path ("carol.pub");
    gpb_test_file (path,
                   "# a comment: public-key = \"no\"\r\ncurve\r\n\tpublic-key = '" GOOD "'\r\n");
    gpb_certificate_t *certificate = gpb_certificate_load (path, &error);
    ck_assert_msg (certificate != NULL, "%s", error.text);
    ck_assert_str_eq (gpb_certificate_name (certificate), "carol");
    ck_assert_str_eq (gpb_certificate_public_key (certificate), GOOD);
    gpb_certificate_destroy (&certificate);
    gpb_test_keys_clear ();
}
END_TEST

START_TEST (test_a_socket_of_ones_own_wants_a_pair)
{
    const char *path = gpb_test_key ("alice");
    gpb_certificate_t *half = gpb_certificate_load_public (path, &error);
    gpb_certificate_t *pair = gpb_certificate_load (path, &error);
    zsock_t *socket = zsock_new (ZMQ_DEALER);
    void *handle = zsock_resolve (socket);
    ck_assert_refused (gpb_certificate_serve (half, handle, &error), GPB_FAILED_PRECONDITION,
                       "no secret key");
    ck_assert_refused (gpb_certificate_connect (half, pair, handle, &error),
                       GPB_FAILED_PRECONDITION, "no secret key");
    ck_assert_refused (gpb_certificate_save (half, path, &error), GPB_FAILED_PRECONDITION,
                       "no key pair");
    ck_assert_ok (gpb_certificate_connect (pair, half, handle, &error));
    ck_assert_int_eq (zsock_mechanism (socket), ZMQ_CURVE);
    zsock_destroy (&socket);
    gpb_certificate_destroy (&half);
    gpb_certificate_destroy (&pair);
    gpb_test_keys_clear ();
}
END_TEST

START_TEST (test_a_name_is_checked_and_memory_that_runs_out_is_an_answer)
{
    ck_assert_ptr_null (gpb_certificate_new ("", &error));
    ck_assert_ptr_null (gpb_certificate_new ("-", &error));
    ck_assert_ptr_null (gpb_certificate_new ("a:b", &error));
    ck_assert_refused (error.status, GPB_INVALID_ARGUMENT, "a key's name");
    const char *path = gpb_test_key ("alice");
    for (int64_t after = 0; after < 2; after++) {
        gpb_alloc_fail (after, 0);
        ck_assert_ptr_null (gpb_certificate_load (path, &error));
        ck_assert_refused (error.status, GPB_RESOURCE_EXHAUSTED, "no memory");
    }
    gpb_alloc_fail (0, 0);
    ck_assert_ptr_null (gpb_certificate_new ("alice", &error));
    gpb_alloc_fail (-1, 0);
    ck_assert_refused (error.status, GPB_RESOURCE_EXHAUSTED, "no memory");
    gpb_test_keys_clear ();
}
END_TEST

GPB_TEST_MAIN ("gpb_certificate", 10, test_a_pair_is_read_as_it_was_written,
               test_the_secret_file_is_its_owners_alone_and_the_public_one_has_no_secret,
               test_czmq_reads_what_is_written_and_writes_what_is_read, test_nothing_is_overwritten,
               test_what_is_no_certificate_is_refused_and_never_quoted,
               test_a_secret_key_that_others_may_read_is_refused,
               test_files_of_other_programs_are_read, test_a_socket_of_ones_own_wants_a_pair,
               test_a_name_is_checked_and_memory_that_runs_out_is_an_answer)
