//  Tests of gpb_cache: nothing that happens to the folder or to an entry in it comes back as a
//  binary that was not put there, and the folder keeps to its size.

#include "gpb_alloc.h"
#include "gpb_test.h"
#include "gpb_test_cache.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void
s_flip_a_byte_of_the_binary (const char *path)
{
    int fd = open (path, O_RDWR);
    char byte;
    ck_assert_int_eq (pread (fd, &byte, 1, 90), 1);
    byte ^= 1;
    ck_assert_int_eq (pwrite (fd, &byte, 1, 90), 1);
    close (fd);
}

static void
s_flip_a_byte_of_the_key (const char *path)
{
    int fd = open (path, O_RDWR);
    char byte;
    ck_assert_int_eq (pread (fd, &byte, 1, 10), 1);
    byte ^= 1;
    ck_assert_int_eq (pwrite (fd, &byte, 1, 10), 1);
    close (fd);
}

static void
s_cut (const char *path)
{
    struct stat about;
    ck_assert_int_eq (stat (path, &about), 0);
    ck_assert_int_eq (truncate (path, about.st_size - 1), 0);
}

static void
s_cut_the_header (const char *path)
{
    ck_assert_int_eq (truncate (path, 40), 0);
}

static void
s_empty (const char *path)
{
    ck_assert_int_eq (truncate (path, 0), 0);
}

static void
s_lengthen (const char *path)
{
    int fd = open (path, O_WRONLY | O_APPEND);
    ck_assert_int_eq (write (fd, "x", 1), 1);
    close (fd);
}

static void
s_let_others_write (const char *path)
{
    ck_assert_int_eq (chmod (path, 0666), 0);
}

static void
s_make_fifo (const char *path)
{
    unlink (path);
    ck_assert_int_eq (mkfifo (path, 0600), 0);
}

static void
s_make_link (const char *path)
{
    char target [800];
    snprintf (target, sizeof target, "%s/elsewhere", gpb_test_cache_root);
    rename (path, target);
    ck_assert_int_eq (symlink (target, path), 0);
}

START_TEST (test_an_entry_that_is_not_whole_is_missed)
{
    gpb_test_cache_setup ();
    static void (*const damages []) (const char *path) = {
        s_flip_a_byte_of_the_binary,
        s_flip_a_byte_of_the_key,
        s_cut,
        s_cut_the_header,
        s_empty,
        s_lengthen,
        s_let_others_write,
        s_make_fifo,
        s_make_link,
    };
    gpb_cache_t *cache = gpb_test_cache_new (MEGABYTE);
    ck_assert (!gpb_test_cache_use (cache, "a source that is long enough"));
    for (size_t index = 0; index < sizeof damages / sizeof damages [0]; index++) {
        ck_assert_int_eq (gpb_test_cache_each (damages [index]), 1);
        ck_assert_msg (!gpb_test_cache_use (cache, "a source that is long enough"), "damage %zu",
                       index);
        ck_assert_msg (gpb_test_cache_use (cache, "a source that is long enough"), "damage %zu",
                       index);
        ck_assert_int_eq (gpb_test_cache_each (NULL), 1);
    }
    gpb_cache_destroy (&cache);
    gpb_test_cache_teardown ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Folders that do not work

START_TEST (test_a_folder_that_cannot_be_used_keeps_nothing)
{
    gpb_test_cache_setup ();
    char file [400], endless [5000];
    snprintf (file, sizeof file, "%s/file", gpb_test_cache_root);
    fclose (fopen (file, "w"));
    char below [500];
    snprintf (below, sizeof below, "%s/cache", file);
    memset (endless, 'x', sizeof endless);
    endless [0] = '/';
    endless [sizeof endless - 1] = 0;
    const char *const directories [] = { file, below, endless, "/proc/no/such" };
    for (size_t index = 0; index < 4; index++) {
        gpb_error_t error;
        gpb_cache_t *cache = gpb_cache_new (directories [index], MEGABYTE, &error);
        ck_assert_ptr_nonnull (cache);
        ck_assert_refused (error.status, GPB_FAILED_PRECONDITION, "no compile cache in /");
        ck_assert (!gpb_test_cache_use (cache, "x"));
        gpb_cache_destroy (&cache);
    }
    //  One that is there and takes no file, whoever asks.
    gpb_error_t error;
    gpb_cache_t *cache = gpb_cache_new ("/proc/self", MEGABYTE, &error);
    ck_assert_ok (error.status);
    ck_assert (!gpb_test_cache_use (cache, "x"));
    ck_assert (!gpb_test_cache_use (cache, "x"));
    gpb_cache_destroy (&cache);
    gpb_test_cache_teardown ();
}
END_TEST

START_TEST (test_a_folder_that_others_can_write_to_is_not_trusted)
{
    gpb_test_cache_setup ();
    gpb_cache_t *cache = gpb_test_cache_new (MEGABYTE);
    ck_assert (!gpb_test_cache_use (cache, "x"));
    gpb_cache_destroy (&cache);
    const mode_t modes [] = { 0777, 0770, 0702 };
    for (size_t index = 0; index < 3; index++) {
        gpb_error_t error;
        ck_assert_int_eq (chmod (gpb_test_cache_directory, modes [index]), 0);
        cache = gpb_cache_new (gpb_test_cache_directory, MEGABYTE, &error);
        ck_assert_refused (error.status, GPB_FAILED_PRECONDITION, "others can write there");
        ck_assert (!gpb_test_cache_use (cache, "x"));
        gpb_cache_destroy (&cache);
    }
    ck_assert_int_eq (chmod (gpb_test_cache_directory, 0755), 0);
    cache = gpb_test_cache_new (MEGABYTE);
    ck_assert (gpb_test_cache_use (cache, "x"));
    gpb_cache_destroy (&cache);
    gpb_test_cache_teardown ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  The bound

static void
s_age (const char *path)
{
    struct stat about;
    ck_assert_int_eq (stat (path, &about), 0);
    about.st_mtim.tv_sec -= 100;
    const struct timespec times [2] = { about.st_mtim, about.st_mtim };
    ck_assert_int_eq (utimensat (AT_FDCWD, path, times, 0), 0);
}

START_TEST (test_entries_used_longest_ago_go_first)
{
    gpb_test_cache_setup ();
    gpb_cache_t *cache = gpb_test_cache_new (MEGABYTE);
    ck_assert (!gpb_test_cache_use (cache, "1"));
    uint64_t entry_size = gpb_test_cache_size ();
    gpb_cache_destroy (&cache);

    cache = gpb_test_cache_new (3 * entry_size);
    ck_assert_int_eq (gpb_test_cache_each (s_age), 1);
    ck_assert (!gpb_test_cache_use (cache, "2"));
    ck_assert_int_eq (gpb_test_cache_each (s_age), 2);
    ck_assert (!gpb_test_cache_use (cache, "3"));
    ck_assert_int_eq (gpb_test_cache_each (s_age), 3);
    ck_assert (gpb_test_cache_use (cache, "1"));    //  now 2 is the one used longest ago
    ck_assert (!gpb_test_cache_use (cache, "4"));
    ck_assert_int_eq (gpb_test_cache_each (NULL), 3);
    ck_assert (gpb_test_cache_use (cache, "1"));
    ck_assert (gpb_test_cache_use (cache, "3"));
    ck_assert (gpb_test_cache_use (cache, "4"));
    ck_assert (!gpb_test_cache_use (cache, "2"));
    gpb_cache_destroy (&cache);

    //  One that would not fit alone is not kept, and pushes nothing out.
    cache = gpb_test_cache_new (entry_size - 1);
    ck_assert (!gpb_test_cache_use (cache, "5"));
    ck_assert_int_eq (gpb_test_cache_each (NULL), 3);
    gpb_cache_destroy (&cache);
    gpb_test_cache_teardown ();
}
END_TEST

START_TEST (test_what_a_dead_writer_left_is_removed_and_what_is_not_ours_stays)
{
    gpb_test_cache_setup ();
    gpb_cache_t *cache = gpb_test_cache_new (MEGABYTE);
    static const char key [] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const char *const endings [] = { ".1-2-3", ".4-5-6", "-notes" };
    char path [3][500];
    for (size_t index = 0; index < 3; index++) {
        snprintf (path [index], sizeof path [index], "%s/%s%s", gpb_test_cache_directory, key,
                  endings [index]);
        fclose (fopen (path [index], "w"));
        //  The second one is being written right now.
        const struct timespec old [2] = { { 1000, 0 }, { 1000, 0 } };
        if (index != 1)
            ck_assert_int_eq (utimensat (AT_FDCWD, path [index], old, 0), 0);
    }
    ck_assert (!gpb_test_cache_use (cache, "x"));
    ck_assert_int_ne (access (path [0], F_OK), 0);
    ck_assert_int_eq (access (path [1], F_OK), 0);
    ck_assert_int_eq (access (path [2], F_OK), 0);
    gpb_cache_destroy (&cache);
    gpb_test_cache_teardown ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------

START_TEST (test_the_default_folder_is_where_xdg_says)
{
    setenv ("XDG_CACHE_HOME", "/x/cache", 1);
    setenv ("HOME", "/home/someone", 1);
    char *directory = gpb_cache_default_directory ();
    ck_assert_str_eq (directory, "/x/cache/gpb");
    gpb_free (directory);
    const char *const ignored [] = { "", "relative" };
    for (size_t index = 0; index < 2; index++) {
        setenv ("XDG_CACHE_HOME", ignored [index], 1);
        directory = gpb_cache_default_directory ();
        ck_assert_str_eq (directory, "/home/someone/.cache/gpb");
        gpb_free (directory);
    }
    unsetenv ("XDG_CACHE_HOME");
    unsetenv ("HOME");
    ck_assert_ptr_null (gpb_cache_default_directory ());
}
END_TEST

GPB_TEST_MAIN ("gpb_cache", 60, test_an_entry_that_is_not_whole_is_missed,
               test_a_folder_that_cannot_be_used_keeps_nothing,
               test_a_folder_that_others_can_write_to_is_not_trusted,
               test_entries_used_longest_ago_go_first,
               test_what_a_dead_writer_left_is_removed_and_what_is_not_ours_stays,
               test_the_default_folder_is_where_xdg_says)
