//  Tests of gpb_error: statuses have gRPC's names, and a text of any length fits.

#include "gpb_test.h"

#include <stdlib.h>
#include <string.h>

START_TEST (test_every_status_has_its_name)
{
    ck_assert_str_eq (gpb_status_name (GPB_OK), "OK");
    ck_assert_str_eq (gpb_status_name (GPB_INVALID_ARGUMENT), "INVALID_ARGUMENT");
    ck_assert_str_eq (gpb_status_name (GPB_RESOURCE_EXHAUSTED), "RESOURCE_EXHAUSTED");
    ck_assert_str_eq (gpb_status_name (GPB_UNAUTHENTICATED), "UNAUTHENTICATED");
    ck_assert_str_eq (gpb_status_name ((gpb_status_t) 17), "UNKNOWN");
    ck_assert_str_eq (gpb_status_name ((gpb_status_t) -1), "UNKNOWN");
}
END_TEST

START_TEST (test_a_prefix_stands_before_the_text_and_keeps_the_status)
{
    gpb_error_t error;
    ck_assert_int_eq (gpb_error_set (&error, GPB_NOT_FOUND, "no kernel \"%s\"", "x"),
                      GPB_NOT_FOUND);
    ck_assert_int_eq (gpb_error_prefix (&error, "%s:%d: ", "kernel.conf", 12), GPB_NOT_FOUND);
    ck_assert_str_eq (error.text, "kernel.conf:12: no kernel \"x\"");
}
END_TEST

START_TEST (test_a_long_text_keeps_its_head_and_its_tail)
{
    gpb_error_t error;
    size_t size = 3 * GPB_ERROR_TEXT_SIZE;
    char *log = malloc (size + 1);
    memset (log, 'x', size);
    memcpy (log, "first", 5);
    memcpy (log + size - 4, "last", 5);
    gpb_error_set (&error, GPB_INVALID_ARGUMENT, "%s\n\n", log);
    ck_assert_uint_lt (strlen (error.text), GPB_ERROR_TEXT_SIZE);
    ck_assert_uint_gt (strlen (error.text), GPB_ERROR_TEXT_SIZE - 8);
    ck_assert_ptr_eq (strstr (error.text, "first"), error.text);
    ck_assert_ptr_nonnull (strstr (error.text, "\n[...]\n"));
    ck_assert_str_eq (error.text + strlen (error.text) - 4, "last");
    gpb_error_prefix (&error, "%s: ", "prefix");
    ck_assert_ptr_eq (strstr (error.text, "prefix: first"), error.text);
    ck_assert_str_eq (error.text + strlen (error.text) - 4, "last");
    free (log);
}
END_TEST

START_TEST (test_a_cut_splits_no_character)
{
    gpb_error_t error;
    char log [2 * GPB_ERROR_TEXT_SIZE + 2];
    for (int shift = 0; shift < 2; shift++) {
        memset (log, 'x', sizeof log);
        for (size_t at = (size_t) shift; at + 2 < sizeof log; at += 2)
            memcpy (log + at, "\xC3\xA9", 2);
        log [sizeof log - 1] = 0;
        gpb_error_set (&error, GPB_INVALID_ARGUMENT, "%s", log);
        const char *gap = strstr (error.text, "\n[...]\n");
        ck_assert_ptr_nonnull (gap);
        ck_assert_uint_ne ((unsigned char) gap [-1], 0xC3);
        ck_assert_uint_ne ((unsigned char) gap [7] & 0xC0, 0x80);
    }
}
END_TEST

START_TEST (test_nobody_needs_to_care)
{
    ck_assert_int_eq (gpb_error_set (NULL, GPB_INTERNAL, "unseen"), GPB_INTERNAL);
    gpb_error_prefix (NULL, "unseen");
}
END_TEST

GPB_TEST_MAIN ("gpb_error", 10, test_every_status_has_its_name,
               test_a_prefix_stands_before_the_text_and_keeps_the_status,
               test_a_long_text_keeps_its_head_and_its_tail, test_a_cut_splits_no_character,
               test_nobody_needs_to_care)
