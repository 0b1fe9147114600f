//  Tests of gpb_keyring: who is in the folder is allowed, from the next look at it on, and who is
//  not, is not.

#include "gpb_keyring.h"

#include "gpb_alloc.h"
#include "gpb_test_keys.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static gpb_error_t error;
static char s_keys [3][41];    //  of a, b and c

static void
s_make_keys (void)
{
    static const char *const names [] = { "a", "b", "c" };
    for (size_t index = 0; index < 3; index++) {
        gpb_certificate_t *certificate =
            gpb_certificate_load (gpb_test_key (names [index]), &error);
        strcpy (s_keys [index], gpb_certificate_public_key (certificate));
        gpb_certificate_destroy (&certificate);
    }
}

static gpb_keyring_t *
s_open (void)
{
    s_make_keys ();
    gpb_test_allow ("a");
    gpb_keyring_t *keyring = gpb_keyring_new (gpb_test_allowed (), &error);
    ck_assert_msg (keyring != NULL, "%s", error.text);
    return keyring;
}

static bool
s_allows (gpb_keyring_t *keyring, size_t index)
{
    const gpb_key_t *key = gpb_keyring_find (keyring, s_keys [index]);
    return key && key->is_allowed;
}

START_TEST (test_a_key_that_comes_is_allowed_and_one_that_goes_is_not)
{
    gpb_keyring_t *keyring = s_open ();
    ck_assert (s_allows (keyring, 0) && !s_allows (keyring, 1));
    ck_assert_uint_eq (gpb_keyring_count (keyring), 1);
    const gpb_key_t *a = gpb_keyring_find (keyring, s_keys [0]);
    ck_assert_str_eq (a->name, "a");
    gpb_test_allow ("b");
    ck_assert (gpb_keyring_refresh (keyring));
    ck_assert (s_allows (keyring, 0) && s_allows (keyring, 1));
    gpb_test_disallow ("a");
    ck_assert (gpb_keyring_refresh (keyring));
    ck_assert (!s_allows (keyring, 0) && s_allows (keyring, 1));
    ck_assert_ptr_eq (gpb_keyring_find (keyring, s_keys [0]), a);
    ck_assert (!a->is_allowed);
    gpb_test_allow ("a");
    ck_assert (gpb_keyring_refresh (keyring));
    ck_assert (a->is_allowed);
    ck_assert (!gpb_keyring_refresh (keyring));
    gpb_keyring_destroy (&keyring);
    gpb_test_keys_clear ();
}
END_TEST

//  The new key is as long as the old one, and comes within one tick of the file system's clock.
START_TEST (test_a_file_that_is_rewritten_in_place_is_read_again)
{
    gpb_keyring_t *keyring = s_open ();
    char path [PATH_MAX], text [256];
    snprintf (path, sizeof path, "%s/a", gpb_test_allowed ());
    for (size_t round = 0; round < 20; round++) {
        snprintf (text, sizeof text, "name = \"a\"\npublic-key = \"%s\"\n", s_keys [round % 2]);
        gpb_test_file (path, text);
        gpb_keyring_refresh (keyring);
        ck_assert (s_allows (keyring, round % 2) && !s_allows (keyring, (round + 1) % 2));
    }
    gpb_keyring_destroy (&keyring);
    gpb_test_keys_clear ();
}
END_TEST

START_TEST (test_a_folder_that_goes_allows_nobody_and_one_that_never_was_is_an_error)
{
    gpb_keyring_t *keyring = s_open ();
    ck_assert_int_eq (rename (gpb_test_allowed (), gpb_test_path ("elsewhere")), 0);
    ck_assert (gpb_keyring_refresh (keyring));
    ck_assert (!s_allows (keyring, 0));
    ck_assert_ptr_nonnull (strstr (gpb_keyring_notice (keyring, 0), "no key is allowed"));
    ck_assert (!gpb_keyring_refresh (keyring));
    ck_assert_int_eq (rename (gpb_test_path ("elsewhere"), gpb_test_path ("allowed")), 0);
    ck_assert (gpb_keyring_refresh (keyring));
    ck_assert (s_allows (keyring, 0));
    gpb_keyring_destroy (&keyring);
    ck_assert_ptr_null (gpb_keyring_new (gpb_test_path ("none"), &error));
    ck_assert_refused (error.status, GPB_NOT_FOUND, "folder of allowed keys");
    gpb_test_keys_clear ();
}
END_TEST

START_TEST (test_what_is_no_key_is_a_notice_and_locks_out_nobody_else)
{
    char path [PATH_MAX];
    s_make_keys ();
    gpb_test_allow ("b");
    snprintf (path, sizeof path, "%s/bad", gpb_test_allowed ());
    gpb_test_file (path, "public-key = \"no\"\n");
    snprintf (path, sizeof path, "%s/bad~", gpb_test_allowed ());
    gpb_test_file (path, "an editor's copy\n");
    snprintf (path, sizeof path, "%s/x_secret", gpb_test_allowed ());
    gpb_test_file (path, "not looked at\n");
    snprintf (path, sizeof path, "%s/sub", gpb_test_allowed ());
    ck_assert_int_eq (mkdir (path, 0700), 0);
    gpb_keyring_t *keyring = gpb_keyring_new (gpb_test_allowed (), &error);
    ck_assert_uint_eq (gpb_keyring_count (keyring), 1);
    ck_assert (s_allows (keyring, 1));
    ck_assert_ptr_nonnull (strstr (gpb_keyring_notice (keyring, 0), "/bad:1:"));
    ck_assert_ptr_null (gpb_keyring_notice (keyring, 1));
    gpb_keyring_destroy (&keyring);
    gpb_test_keys_clear ();
}
END_TEST

START_TEST (test_one_name_may_have_many_keys_and_one_key_has_one_name)
{
    char path [PATH_MAX], text [256];
    gpb_keyring_t *keyring = s_open ();
    snprintf (path, sizeof path, "%s/laptop", gpb_test_allowed ());
    snprintf (text, sizeof text, "name = \"a\"\npublic-key = \"%s\"\n", s_keys [2]);
    gpb_test_file (path, text);
    gpb_keyring_refresh (keyring);
    ck_assert_uint_eq (gpb_keyring_count (keyring), 2);
    ck_assert_str_eq (gpb_keyring_find (keyring, s_keys [2])->name, "a");

    //  The same key under more names, before and behind the first: the first in the alphabet holds.
    static const char *const names [] = { "m", "z", "b", "k" };
    for (size_t index = 0; index < 4; index++) {
        snprintf (path, sizeof path, "%s/%s", gpb_test_allowed (), names [index]);
        snprintf (text, sizeof text, "public-key = \"%s\"\n", s_keys [1]);
        gpb_test_file (path, text);
        gpb_keyring_refresh (keyring);
        ck_assert_uint_eq (gpb_keyring_count (keyring), 3);
        ck_assert_str_eq (gpb_keyring_find (keyring, s_keys [1])->name, index < 2 ? "m" : "b");
    }
    gpb_keyring_destroy (&keyring);
    gpb_test_keys_clear ();
}
END_TEST

START_TEST (test_memory_that_runs_out_allows_nobody_too_many)
{
    s_make_keys ();
    gpb_test_allow ("a");
    const char *folder = gpb_test_allowed ();
    for (int64_t after = 0; after < 8; after++) {
        gpb_alloc_fail (after, 1);
        gpb_keyring_t *keyring = gpb_keyring_new (folder, &error);
        gpb_alloc_fail (-1, 0);
        if (!keyring)
            ck_assert_int_eq (error.status, GPB_RESOURCE_EXHAUSTED);
        else
            ck_assert (s_allows (keyring, 0) || gpb_keyring_notice (keyring, 0) != NULL);
        gpb_keyring_destroy (&keyring);
    }
    gpb_test_keys_clear ();
}
END_TEST

GPB_TEST_MAIN ("gpb_keyring", 10, test_a_key_that_comes_is_allowed_and_one_that_goes_is_not,
               test_a_file_that_is_rewritten_in_place_is_read_again,
               test_a_folder_that_goes_allows_nobody_and_one_that_never_was_is_an_error,
               test_what_is_no_key_is_a_notice_and_locks_out_nobody_else,
               test_one_name_may_have_many_keys_and_one_key_has_one_name,
               test_memory_that_runs_out_allows_nobody_too_many)
