//  Tests of gpb_pieces: a file comes in whole pieces but for the last, a pipe is never waited for,
//  and what is written is all there.

#include "gpb_pieces.h"
#include "gpb_test.h"

#include "gpb_alloc.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static gpb_error_t error;
static char s_in [64], s_out [64];

static void
s_setup (const void *data, size_t size)
{
    strcpy (s_in, "/tmp/gpb_pieces.XXXXXX");
    int file = mkstemp (s_in);
    ck_assert_int_ge (file, 0);
    ck_assert_int_eq (write (file, data, size), (ssize_t) size);
    close (file);
    snprintf (s_out, sizeof s_out, "%s.out", s_in);
}

static void
s_teardown (void)
{
    unlink (s_in);
    unlink (s_out);
}

static gpb_source_t *
s_source (const char *path, size_t piece_size, size_t element_size)
{
    gpb_source_t *source = gpb_source_new (path, piece_size, element_size, &error);
    ck_assert_msg (source != NULL, "%s", error.text);
    return source;
}

static void
s_expect (gpb_source_t *source, const void *data, size_t size)
{
    const void *is;
    size_t is_size;
    ck_assert_ok (gpb_source_next (source, &is, &is_size, &error));
    ck_assert_uint_eq (is_size, size);
    ck_assert (size == 0 || memcmp (is, data, size) == 0);
    ck_assert_int_eq (gpb_source_ended (source), size == 0);
}

START_TEST (test_a_file_is_cut_and_the_last_piece_is_short)
{
    enum { SIZE = 1000000 };
    static unsigned char data [SIZE];
    for (size_t index = 0; index < SIZE; index++)
        data [index] = (unsigned char) (index * 7 + index / 256);
    s_setup (data, SIZE);
    //  Pieces that many of fit into a block, one that is a block, one that is more, and one that is
    //  more than all.
    static const size_t sizes [] = { 12, 4096, 262144, 300000, 2000000 };
    for (size_t index = 0; index < sizeof sizes / sizeof sizes [0]; index++) {
        gpb_source_t *source = s_source (s_in, sizes [index], 4);
        for (size_t at = 0; at < SIZE; at += sizes [index])
            s_expect (source, data + at, SIZE - at < sizes [index] ? SIZE - at : sizes [index]);
        s_expect (source, NULL, 0);
        s_expect (source, NULL, 0);
        gpb_source_destroy (&source);
        ck_assert_ptr_null (source);
    }
    s_teardown ();
}
END_TEST

START_TEST (test_an_empty_file_has_no_pieces)
{
    s_setup ("", 0);
    gpb_source_t *source = s_source (s_in, 8, 4);
    s_expect (source, NULL, 0);
    gpb_source_destroy (&source);
    s_teardown ();
}
END_TEST

START_TEST (test_a_file_that_ends_within_an_element_is_refused)
{
    s_setup ("0123456789", 10);
    gpb_source_t *source = s_source (s_in, 8, 4);
    const void *data;
    size_t size;
    s_expect (source, "01234567", 8);
    ck_assert_refused (gpb_source_next (source, &data, &size, &error), GPB_INVALID_ARGUMENT,
                       "ends within an element: 2 bytes are left, and an element has 4");
    gpb_source_destroy (&source);
    s_teardown ();
}
END_TEST

START_TEST (test_a_pipe_is_not_waited_for)
{
    int ends [2];
    char path [64];
    const void *data;
    size_t size;
    ck_assert_int_eq (pipe (ends), 0);
    snprintf (path, sizeof path, "/dev/fd/%d", ends [0]);
    gpb_source_t *source = s_source (path, 8, 4);
    ck_assert_int_ge (gpb_source_file (source), 0);
    ck_assert_refused (gpb_source_next (source, &data, &size, &error), GPB_UNAVAILABLE,
                       "nothing there yet");
    //  A part of a piece is none, until there is no more.
    ck_assert_int_eq (write (ends [1], "01234", 5), 5);
    ck_assert_int_eq (gpb_source_next (source, &data, &size, &error), GPB_UNAVAILABLE);
    ck_assert_int_eq (write (ends [1], "56789ab", 7), 7);
    s_expect (source, "01234567", 8);
    ck_assert_int_eq (gpb_source_next (source, &data, &size, &error), GPB_UNAVAILABLE);
    ck_assert (!gpb_source_ended (source));
    close (ends [1]);
    s_expect (source, "89ab", 4);
    s_expect (source, NULL, 0);
    gpb_source_destroy (&source);
    close (ends [0]);
}
END_TEST

START_TEST (test_what_is_written_is_there_in_order)
{
    s_setup ("", 0);
    static char large [300000];
    memset (large, 'x', sizeof large);
    gpb_source_t *source = s_source (s_in, 8, 4);
    gpb_sink_t *sink = gpb_sink_new (s_out, source, &error);
    ck_assert_msg (sink != NULL, "%s", error.text);
    ck_assert_ok (gpb_sink_write (sink, "first", 5, &error));
    ck_assert_ok (gpb_sink_write (sink, NULL, 0, &error));
    ck_assert_uint_eq (gpb_sink_size (sink), 0);
    ck_assert_ok (gpb_sink_write (sink, large, sizeof large, &error));
    ck_assert_uint_eq (gpb_sink_size (sink), 5 + sizeof large);
    ck_assert_ok (gpb_sink_write (sink, "last", 4, &error));
    ck_assert_ok (gpb_sink_flush (sink, &error));
    ck_assert_ok (gpb_sink_flush (sink, &error));
    ck_assert_uint_eq (gpb_sink_size (sink), 9 + sizeof large);
    gpb_sink_destroy (&sink);
    ck_assert_ptr_null (sink);
    gpb_source_destroy (&source);
    source = s_source (s_out, 9 + sizeof large, 1);
    const void *data;
    size_t size;
    ck_assert_ok (gpb_source_next (source, &data, &size, &error));
    ck_assert_uint_eq (size, 9 + sizeof large);
    ck_assert_mem_eq (data, "first", 5);
    ck_assert_mem_eq ((const char *) data + 5, large, sizeof large);
    ck_assert_mem_eq ((const char *) data + 5 + sizeof large, "last", 4);
    gpb_source_destroy (&source);
    s_teardown ();
}
END_TEST

START_TEST (test_the_file_that_is_read_is_not_written)
{
    s_setup ("01234567", 8);
    gpb_source_t *source = s_source (s_in, 8, 4);
    ck_assert_ptr_null (gpb_sink_new (s_in, source, &error));
    ck_assert_str_eq (gpb_status_name (error.status), "INVALID_ARGUMENT");
    ck_assert_ptr_nonnull (strstr (error.text, "a stream wants two files"));
    //  Nor by another name.
    ck_assert_int_eq (link (s_in, s_out), 0);
    ck_assert_ptr_null (gpb_sink_new (s_out, source, &error));
    s_expect (source, "01234567", 8);
    gpb_source_destroy (&source);
    s_teardown ();
}
END_TEST

START_TEST (test_what_cannot_be_opened_read_or_written_is_said)
{
    s_setup ("", 0);
    ck_assert_ptr_null (gpb_source_new ("/nowhere/at/all", 8, 4, &error));
    ck_assert_int_eq (error.status, GPB_NOT_FOUND);
    ck_assert_ptr_nonnull (strstr (error.text, "/nowhere/at/all: cannot be opened: No such file"));
    const void *data;
    size_t size;
    gpb_source_t *source = s_source ("/tmp", 8, 4);
    ck_assert_refused (gpb_source_next (source, &data, &size, &error), GPB_FAILED_PRECONDITION,
                       "/tmp: cannot be read: Is a directory");
    ck_assert_ptr_null (gpb_sink_new ("/nowhere/at/all", source, &error));
    ck_assert_int_eq (error.status, GPB_NOT_FOUND);
    gpb_sink_t *sink = gpb_sink_new ("/dev/full", source, &error);
    ck_assert_ok (gpb_sink_write (sink, "x", 1, &error));
    ck_assert_refused (gpb_sink_flush (sink, &error), GPB_FAILED_PRECONDITION,
                       "/dev/full: cannot be written: No space left");
    ck_assert_uint_eq (gpb_sink_size (sink), 0);
    gpb_sink_destroy (&sink);
    gpb_source_destroy (&source);
    s_teardown ();
}
END_TEST

START_TEST (test_the_end_of_memory_is_said)
{
    s_setup ("", 0);
    for (int64_t after = 0; after < 3; after++) {
        gpb_alloc_fail (after, 0);
        gpb_source_t *none = gpb_source_new (s_in, 8, 4, &error);
        gpb_alloc_fail (-1, 0);
        ck_assert_ptr_null (none);
        ck_assert_int_eq (error.status, GPB_RESOURCE_EXHAUSTED);
        gpb_source_t *source = s_source (s_in, 8, 4);
        gpb_alloc_fail (after, 0);
        gpb_sink_t *sink = gpb_sink_new (s_out, source, &error);
        gpb_alloc_fail (-1, 0);
        ck_assert_ptr_null (sink);
        ck_assert_int_eq (error.status, GPB_RESOURCE_EXHAUSTED);
        gpb_source_destroy (&source);
    }
    s_teardown ();
}
END_TEST

GPB_TEST_MAIN ("gpb_pieces", 20, test_a_file_is_cut_and_the_last_piece_is_short,
               test_an_empty_file_has_no_pieces, test_a_file_that_ends_within_an_element_is_refused,
               test_a_pipe_is_not_waited_for, test_what_is_written_is_there_in_order,
               test_the_file_that_is_read_is_not_written,
               test_what_cannot_be_opened_read_or_written_is_said, test_the_end_of_memory_is_said)
