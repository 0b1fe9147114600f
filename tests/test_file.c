//  Tests of gpb_file: files come in whole, and go out whole or not at all.

#include "gpb_alloc.h"
#include "gpb_file.h"
#include "gpb_test.h"

#include <dirent.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char s_folder [64];

static void
s_setup (void)
{
    strcpy (s_folder, "/tmp/gpb_file.XXXXXX");
    ck_assert_ptr_nonnull (mkdtemp (s_folder));
    ck_assert_int_eq (chdir (s_folder), 0);
}

//  Removes the folder, which must hold exactly these files.
static void
s_teardown (size_t expected)
{
    DIR *folder = opendir (s_folder);
    size_t count = 0;
    for (struct dirent *entry; (entry = readdir (folder));)
        if (entry->d_name [0] != '.') {
            unlink (entry->d_name);
            count++;
        }
    closedir (folder);
    rmdir (s_folder);
    ck_assert_uint_eq (count, expected);
}

static void
s_assert_content (const char *path, const void *data, size_t size)
{
    gpb_error_t error;
    gpb_file_t *file = gpb_file_read (path, &error);
    ck_assert_msg (file != NULL, "%s", error.text);
    ck_assert_uint_eq (gpb_file_size (file), size);
    ck_assert_mem_eq (gpb_file_data (file), data, size);
    ck_assert_uint_eq ((uintptr_t) gpb_file_data (file) % 128, 0);
    gpb_file_destroy (&file);
    ck_assert_ptr_null (file);
}

START_TEST (test_what_is_written_is_read)
{
    gpb_error_t error;
    s_setup ();
    static char large [300000];
    memset (large, 7, sizeof large);
    ck_assert_ok (gpb_file_write ("large", large, sizeof large, &error));
    s_assert_content ("large", large, sizeof large);
    ck_assert_ok (gpb_file_write ("large", "short", 5, &error));
    s_assert_content ("large", "short", 5);
    ck_assert_ok (gpb_file_write ("empty", NULL, 0, &error));
    s_assert_content ("empty", "", 0);
    s_teardown (2);
}
END_TEST

START_TEST (test_a_pipe_is_read_to_its_end)
{
    gpb_error_t error;
    int ends [2];
    ck_assert_int_eq (pipe (ends), 0);
    pid_t child = fork ();
    static char block [100000];
    if (child == 0) {
        close (ends [0]);
        for (int times = 0; times < 3; times++)
            if (write (ends [1], block, sizeof block) != (ssize_t) sizeof block)
                _exit (1);
        _exit (0);
    }
    close (ends [1]);
    dup2 (ends [0], STDIN_FILENO);
    close (ends [0]);
    gpb_file_t *file = gpb_file_read ("-", &error);
    ck_assert_msg (file != NULL, "%s", error.text);
    ck_assert_uint_eq (gpb_file_size (file), 3 * sizeof block);
    gpb_file_destroy (&file);
}
END_TEST

START_TEST (test_a_file_that_is_not_there_is_refused_by_name)
{
    gpb_error_t error;
    ck_assert_ptr_null (gpb_file_read ("/nowhere/a.f32", &error));
    ck_assert_refused (error.status, GPB_NOT_FOUND, "/nowhere/a.f32: cannot be opened: No such");
    ck_assert_ptr_null (gpb_file_read ("/tmp", &error));
    ck_assert_refused (error.status, GPB_FAILED_PRECONDITION, "/tmp: cannot be read: Is a dir");
    ck_assert_refused (gpb_file_write ("/nowhere/c.f32", "x", 1, &error), GPB_NOT_FOUND,
                       "/nowhere/c.f32: cannot be written: No such");
}
END_TEST

//  /dev/full refuses every byte, and rename would replace it by a file.
START_TEST (test_a_device_stays_a_device)
{
    gpb_error_t error;
    struct stat is;
    ck_assert_ok (gpb_file_write ("/dev/null", "x", 1, &error));
    ck_assert_refused (gpb_file_write ("/dev/full", "x", 1, &error), GPB_FAILED_PRECONDITION,
                       "/dev/full: cannot be written: No space left");
    ck_assert_int_eq (stat ("/dev/null", &is), 0);
    ck_assert (S_ISCHR (is.st_mode));
}
END_TEST

START_TEST (test_a_file_that_is_replaced_keeps_its_mode_and_its_link)
{
    gpb_error_t error;
    struct stat is;
    s_setup ();
    umask (027);
    ck_assert_ok (gpb_file_write ("new", "x", 1, &error));
    ck_assert_int_eq (stat ("new", &is), 0);
    ck_assert_uint_eq (is.st_mode & 07777, 0640);
    ck_assert_int_eq (chmod ("new", 0604), 0);
    ck_assert_int_eq (symlink ("new", "link"), 0);
    ck_assert_ok (gpb_file_write ("link", "yz", 2, &error));
    s_assert_content ("new", "yz", 2);
    ck_assert_int_eq (lstat ("link", &is), 0);
    ck_assert (S_ISLNK (is.st_mode));
    ck_assert_int_eq (stat ("new", &is), 0);
    ck_assert_uint_eq (is.st_mode & 07777, 0604);
    s_teardown (2);
}
END_TEST

//  A limit on the size of files stands in for a full disk: the old file stays, nothing is left
//  over.
START_TEST (test_a_write_that_fails_leaves_the_old_file)
{
    gpb_error_t error;
    s_setup ();
    ck_assert_ok (gpb_file_write ("kept", "old", 3, &error));
    static char large [300000];
    const struct rlimit limit = { 100000, 100000 };
    signal (SIGXFSZ, SIG_IGN);
    ck_assert_int_eq (setrlimit (RLIMIT_FSIZE, &limit), 0);
    ck_assert_refused (gpb_file_write ("kept", large, sizeof large, &error),
                       GPB_FAILED_PRECONDITION, "kept: cannot be written: File too large");
    s_assert_content ("kept", "old", 3);
    s_teardown (1);
}
END_TEST

START_TEST (test_a_file_lives_as_long_as_its_last_share)
{
    gpb_error_t error;
    s_setup ();
    ck_assert_ok (gpb_file_write ("a", "abc", 3, &error));
    gpb_file_t *file = gpb_file_read ("a", &error);
    ck_assert_ptr_nonnull (file);
    gpb_file_share (file);
    gpb_file_t *shared = file;
    void *data = gpb_file_data (file);
    gpb_file_destroy (&file);
    ck_assert_mem_eq (data, "abc", 3);    //  valgrind and ASan watch this one
    gpb_file_release (data, shared);
    s_teardown (1);
}
END_TEST

START_TEST (test_memory_that_runs_out_is_an_answer)
{
    gpb_error_t error;
    s_setup ();
    ck_assert_ok (gpb_file_write ("a", "abc", 3, &error));
    for (int after = 0; after < 2; after++) {
        gpb_alloc_fail (after, 0);
        ck_assert_ptr_null (gpb_file_read ("a", &error));
        ck_assert_refused (error.status, GPB_RESOURCE_EXHAUSTED, "a: no memory");
        gpb_alloc_fail (-1, 0);
    }
    s_teardown (1);
}
END_TEST

START_TEST (test_zeros_are_a_file_without_one)
{
    gpb_error_t error;
    static const char zeros [5000];
    gpb_file_t *file = gpb_file_zero (sizeof zeros, &error);
    ck_assert_uint_eq (gpb_file_size (file), sizeof zeros);
    ck_assert_mem_eq (gpb_file_data (file), zeros, sizeof zeros);
    ck_assert_uint_eq ((uintptr_t) gpb_file_data (file) % 128, 0);
    gpb_file_destroy (&file);
    file = gpb_file_zero (0, &error);
    ck_assert_uint_eq (gpb_file_size (file), 0);
    ck_assert_ptr_nonnull (gpb_file_data (file));
    gpb_file_destroy (&file);
    for (int64_t after = 0; after < 2; after++) {
        gpb_alloc_fail (after, 0);
        file = gpb_file_zero (8, &error);
        gpb_alloc_fail (-1, 0);
        ck_assert_ptr_null (file);
        ck_assert_int_eq (error.status, GPB_RESOURCE_EXHAUSTED);
    }
}
END_TEST

GPB_TEST_MAIN ("gpb_file", 10, test_zeros_are_a_file_without_one, test_what_is_written_is_read,
               test_a_pipe_is_read_to_its_end, test_a_file_that_is_not_there_is_refused_by_name,
               test_a_device_stays_a_device,
               test_a_file_that_is_replaced_keeps_its_mode_and_its_link,
               test_a_write_that_fails_leaves_the_old_file,
               test_a_file_lives_as_long_as_its_last_share, test_memory_that_runs_out_is_an_answer)
