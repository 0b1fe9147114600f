//  Tests of gpb_cache against what happens to folders: entries that are damaged anywhere, writers
//  that die, many nodes at once, a disk that is full, a folder that is read-only. Whatever it is, a
//  binary that comes back is the one that was put, and nothing but entries stays behind.

#include "gpb_alloc.h"
#include "gpb_test.h"
#include "gpb_test_cache.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char s_source [] = "a source that is long enough";

static const unsigned char s_key [GPB_CACHE_KEY_SIZE] = "one key of those tests";

//  Runs a function in a process of its own, and returns what it returned.
static int
s_in_child (int (*function) (void))
{
    pid_t child = fork ();
    ck_assert_int_ge (child, 0);
    if (child == 0)
        _exit (function ());
    int status;
    ck_assert_int_eq (waitpid (child, &status, 0), child);
    ck_assert_msg (WIFEXITED (status), "the process ended with %d", status);
    return WEXITSTATUS (status);
}

static bool
s_is_temporary (const char *path)
{
    return strchr (strrchr (path, '/'), '.') != NULL;
}

static int s_temporaries;
static uint64_t s_temporaries_size;

static void
s_count_temporary (const char *path)
{
    struct stat about;
    if (s_is_temporary (path) && stat (path, &about) == 0) {
        s_temporaries++;
        s_temporaries_size += (uint64_t) about.st_size;
    }
}

static int
s_count_temporaries (void)
{
    s_temporaries = 0;
    s_temporaries_size = 0;
    gpb_test_cache_each (s_count_temporary);
    return s_temporaries;
}

//  ---------------------------------------------------------------------------------------------------------
//  Damage

static off_t s_damage_at;

static void
s_flip (const char *path)
{
    int fd = open (path, O_RDWR);
    char byte;
    ck_assert_int_eq (pread (fd, &byte, 1, s_damage_at), 1);
    byte ^= 1;
    ck_assert_int_eq (pwrite (fd, &byte, 1, s_damage_at), 1);
    close (fd);
}

static void
s_cut (const char *path)
{
    ck_assert_int_eq (truncate (path, s_damage_at), 0);
}

//  Behind the end, this lengthens it with zeros.
static void
s_lengthen (const char *path)
{
    struct stat about;
    ck_assert_int_eq (stat (path, &about), 0);
    ck_assert_int_eq (truncate (path, about.st_size + 1 + s_damage_at), 0);
}

//  Magic, key, size, checksum and body: every byte of them counts, and so does every length.
START_TEST (test_damage_anywhere_is_a_miss_and_the_entry_is_replaced)
{
    gpb_test_cache_setup ();
    gpb_cache_t *cache = gpb_test_cache_new (MEGABYTE);
    ck_assert (!gpb_test_cache_use (cache, s_source));
    const off_t size = (off_t) gpb_test_cache_size ();
    ck_assert_int_eq (size, (off_t) (80 + strlen (s_source)));
    static void (*const damages []) (const char *path) = { s_flip, s_cut, s_lengthen };
    for (size_t kind = 0; kind < 3; kind++)
        for (s_damage_at = 0; s_damage_at < size; s_damage_at++) {
            ck_assert_int_eq (gpb_test_cache_each (damages [kind]), 1);
            ck_assert_msg (!gpb_test_cache_use (cache, s_source), "damage %zu at %ld", kind,
                           (long) s_damage_at);
            ck_assert_msg (gpb_test_cache_use (cache, s_source), "damage %zu at %ld", kind,
                           (long) s_damage_at);
            ck_assert_int_eq (gpb_test_cache_each (NULL), 1);
        }
    gpb_cache_destroy (&cache);
    gpb_test_cache_teardown ();
}
END_TEST

//  An entry under the name of another key is whole, and not what was asked for.
START_TEST (test_an_entry_under_another_name_is_a_miss)
{
    gpb_test_cache_setup ();
    gpb_cache_t *cache = gpb_test_cache_new (MEGABYTE);
    gpb_cache_put (cache, s_key, s_source, sizeof s_source);
    unsigned char other [GPB_CACHE_KEY_SIZE] = "another key";
    char names [2][2 * GPB_CACHE_KEY_SIZE + 1], paths [2][500];
    for (int index = 0; index < 2; index++) {
        for (int byte = 0; byte < GPB_CACHE_KEY_SIZE; byte++)
            snprintf (names [index] + 2 * byte, 3, "%02x", index ? other [byte] : s_key [byte]);
        snprintf (paths [index], sizeof paths [index], "%s/%s", gpb_test_cache_directory,
                  names [index]);
    }
    ck_assert_int_eq (rename (paths [0], paths [1]), 0);
    void *data;
    size_t size;
    ck_assert (!gpb_cache_get (cache, other, &data, &size));
    ck_assert_int_eq (gpb_test_cache_each (NULL), 0);
    gpb_cache_destroy (&cache);
    gpb_test_cache_teardown ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Writers

#define LARGE ((size_t) 256 * 1024)    //  many writes of a page, so that a kill falls between them
#define ROUNDS 60

//  Puts LARGE bytes, all one letter, under s_key.
static void
s_put_large (gpb_cache_t *cache, char *buffer, int letter)
{
    memset (buffer, letter, LARGE);
    gpb_cache_put (cache, s_key, buffer, LARGE);
}

static int
s_put_again_and_again (void)
{
    gpb_cache_t *cache = gpb_test_cache_new (64 * MEGABYTE);
    char *buffer = gpb_alloc (LARGE, 1);
    for (int round = 0; round < ROUNDS; round++)
        s_put_large (cache, buffer, 'a' + round % 26);
    gpb_free (buffer);
    gpb_cache_destroy (&cache);
    return 0;
}

//  Found, whole, and all of one letter.
static bool
s_get_large (gpb_cache_t *cache)
{
    void *data;
    size_t size;
    if (!gpb_cache_get (cache, s_key, &data, &size))
        return false;
    ck_assert_uint_eq (size, LARGE);
    const char *letters = data;
    for (size_t index = 0; index < size; index++)
        ck_assert_int_eq (letters [index], letters [0]);
    gpb_free (data);
    return true;
}

START_TEST (test_a_reader_beside_a_writer_always_finds_a_whole_entry)
{
    gpb_test_cache_setup ();
    gpb_cache_t *cache = gpb_test_cache_new (64 * MEGABYTE);
    char *buffer = gpb_alloc (LARGE, 1);
    s_put_large (cache, buffer, 'a');
    gpb_free (buffer);
    pid_t writer = fork ();
    ck_assert_int_ge (writer, 0);
    if (writer == 0)
        _exit (s_put_again_and_again ());
    int status;
    pid_t ended;
    //  Half an entry would be a miss, and so would the moment between two.
    while ((ended = waitpid (writer, &status, WNOHANG)) == 0)
        ck_assert (s_get_large (cache));
    ck_assert_int_eq (ended, writer);
    ck_assert_int_eq (status, 0);
    ck_assert (s_get_large (cache));
    ck_assert_int_eq (gpb_test_cache_each (NULL), 1);
    gpb_cache_destroy (&cache);
    gpb_test_cache_teardown ();
}
END_TEST

static void
s_make_old (const char *path)
{
    const struct timespec old [2] = { { 1000, 0 }, { 1000, 0 } };
    if (s_is_temporary (path))
        ck_assert_int_eq (utimensat (AT_FDCWD, path, old, 0), 0);
}

START_TEST (test_a_writer_that_is_killed_leaves_no_entry_that_is_not_whole)
{
    gpb_test_cache_setup ();
    gpb_cache_t *cache = gpb_test_cache_new (64 * MEGABYTE);
    char *buffer = gpb_alloc (LARGE, 1);
    //  Until one was killed halfway: after it had begun to write, before it was done.
    int left = 0;
    for (int attempt = 0; attempt < 500 && left == 0; attempt++) {
        pid_t writer = fork ();
        ck_assert_int_ge (writer, 0);
        if (writer == 0)
            _exit (s_put_again_and_again ());
        while (s_count_temporaries () == 0 && waitpid (writer, NULL, WNOHANG) == 0)
            ;
        kill (writer, SIGKILL);
        waitpid (writer, NULL, 0);
        left = s_count_temporaries ();
        s_get_large (cache);
    }
    ck_assert_int_eq (left, 1);
    ck_assert_uint_le (s_temporaries_size, 80 + LARGE);
    //  What is left is no entry, and in the way of none.
    s_put_large (cache, buffer, 'z');
    ck_assert (s_get_large (cache));
    ck_assert_int_eq (gpb_test_cache_each (NULL), 2);
    //  It takes its place in the bound until it is so old that nobody can be writing it.
    gpb_test_cache_each (s_make_old);
    s_put_large (cache, buffer, 'z');
    ck_assert_int_eq (gpb_test_cache_each (NULL), 1);
    ck_assert (s_get_large (cache));
    gpb_free (buffer);
    gpb_cache_destroy (&cache);
    gpb_test_cache_teardown ();
}
END_TEST

START_TEST (test_what_is_being_written_counts_for_the_bound)
{
    gpb_test_cache_setup ();
    gpb_cache_t *cache = gpb_test_cache_new (MEGABYTE);
    ck_assert (!gpb_test_cache_use (cache, "1"));
    uint64_t entry_size = gpb_test_cache_size ();
    gpb_cache_destroy (&cache);
    char path [500];
    snprintf (path, sizeof path, "%s/%064d.1-2-3", gpb_test_cache_directory, 0);
    int fd = open (path, O_WRONLY | O_CREAT, 0600);
    ck_assert_int_eq (ftruncate (fd, (off_t) entry_size), 0);
    close (fd);
    cache = gpb_test_cache_new (2 * entry_size);
    ck_assert (!gpb_test_cache_use (cache, "2"));
    ck_assert_uint_le (gpb_test_cache_size (), 2 * entry_size);
    ck_assert_int_eq (gpb_test_cache_each (NULL), 2);
    gpb_cache_destroy (&cache);
    gpb_test_cache_teardown ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Many nodes

#define SOURCES 6
#define PROCESSES 5
#define BOUND 1800    //  bytes: four or less of the sources below, each with its header

static unsigned s_seed;

//  A node that uses a few sources again and again, in a folder too small for all of them.
static int
s_be_a_node (void)
{
    srand (s_seed);
    gpb_cache_t *cache = gpb_test_cache_new (BOUND);
    for (int round = 0; round < 300; round++) {
        char source [600];
        int number = rand () % SOURCES;
        memset (source, 'a' + number, sizeof source);
        source [300 + number * 30] = 0;
        gpb_test_cache_use (cache, source);
    }
    uint64_t hits, misses;
    gpb_cache_figures (cache, &hits, &misses);
    gpb_cache_destroy (&cache);
    return hits > 0 && misses > 0 && hits + misses == 300 ? 0 : 1;
}

//  Changes a byte, or cuts, with no regard for who reads or writes.
static void
s_corrupt (const char *path)
{
    int fd = open (path, O_WRONLY);
    if (fd < 0)
        return;
    ssize_t written = rand () % 2 ? pwrite (fd, "#", 1, rand () % 400) : ftruncate (fd, 100);
    (void) written;
    close (fd);
}

START_TEST (test_nodes_share_a_folder_while_entries_are_evicted_and_damaged)
{
    gpb_test_cache_setup ();
    gpb_cache_t *cache = gpb_test_cache_new (BOUND);
    gpb_cache_destroy (&cache);
    pid_t nodes [PROCESSES];
    for (s_seed = 0; s_seed < PROCESSES; s_seed++) {
        nodes [s_seed] = fork ();
        ck_assert_int_ge (nodes [s_seed], 0);
        if (nodes [s_seed] == 0)
            _exit (s_be_a_node ());
    }
    unsigned running = PROCESSES;
    while (running > 0) {
        if (running > 1)    //  the last one has the folder for itself in the end
            gpb_test_cache_each (s_corrupt);
        for (unsigned index = 0; index < PROCESSES; index++) {
            int status;
            if (nodes [index] == 0 || waitpid (nodes [index], &status, WNOHANG) == 0)
                continue;
            ck_assert_msg (WIFEXITED (status) && WEXITSTATUS (status) == 0, "node %u: %d", index,
                           status);
            nodes [index] = 0;
            running--;
        }
    }
    ck_assert_int_eq (s_count_temporaries (), 0);
    ck_assert_int_gt (gpb_test_cache_each (NULL), 0);
    ck_assert_uint_le (gpb_test_cache_size (), BOUND);
    gpb_test_cache_teardown ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  A full disk

#define BIG ((size_t) 40 * 1024)
#define NOT_ALLOWED 77

//  Mounts what only this process sees, and what is gone with it. False: not allowed here.
static bool
s_mount_own (const char *source, const char *target, const char *type, unsigned long flags,
             const char *options)
{
    return unshare (CLONE_NEWNS) == 0 && mount ("", "/", "", MS_REC | MS_PRIVATE, "") == 0
           && mount (source, target, type, flags, options) == 0;
}

static void
s_remove (const char *path)
{
    unlink (path);
}

//  There is room for one of two. After each that did not fit, only the first is there; when there
//  is room again, all is as ever.
static void
s_use_scarce_room (gpb_cache_t *cache, void (*make_scarce) (void), void (*make_room) (void))
{
    char *big = gpb_alloc (BIG, 1);
    memset (big, 'x', BIG - 1);
    ck_assert (!gpb_test_cache_use (cache, "small"));
    make_scarce ();
    for (int round = 0; round < 3; round++) {
        ck_assert (!gpb_test_cache_use (cache, big));
        ck_assert_int_eq (gpb_test_cache_each (NULL), 1);
        ck_assert (gpb_test_cache_use (cache, "small"));
    }
    make_room ();
    ck_assert (!gpb_test_cache_use (cache, big));
    ck_assert (gpb_test_cache_use (cache, big));
    ck_assert (gpb_test_cache_use (cache, "small"));
    ck_assert_int_eq (gpb_test_cache_each (NULL), 2);
    gpb_test_cache_each (s_remove);
    gpb_free (big);
}

static struct rlimit s_limit;

//  Writes beyond so many bytes of a file fail, as they do on a full disk.
static void
s_limit_files (rlim_t size)
{
    signal (SIGXFSZ, SIG_IGN);
    struct rlimit limit = s_limit;
    limit.rlim_cur = size;
    ck_assert_int_eq (setrlimit (RLIMIT_FSIZE, &limit), 0);
}

//  In the header, just behind it, and in the binary.
static rlim_t s_file_size;

static void
s_limit_all_files (void)
{
    s_limit_files (s_file_size);
}

static void
s_unlimit_files (void)
{
    s_limit_files (s_limit.rlim_cur);
}

START_TEST (test_a_write_that_breaks_off_anywhere_leaves_nothing)
{
    gpb_test_cache_setup ();
    gpb_cache_t *cache = gpb_test_cache_new (MEGABYTE);
    getrlimit (RLIMIT_FSIZE, &s_limit);
    const rlim_t sizes [] = { 0, 1, 79, 80, 81, BIG - 1, BIG + 78 };
    for (size_t index = 0; index < sizeof sizes / sizeof sizes [0]; index++) {
        s_file_size = sizes [index];
        s_use_scarce_room (cache, s_limit_all_files, s_unlimit_files);
    }
    gpb_cache_destroy (&cache);
    gpb_test_cache_teardown ();
}
END_TEST

static char s_filler [400];

//  Leaves 20 KiB of the 64.
static void
s_fill (void)
{
    char *zeros = gpb_alloc (40 * 1024, 1);
    int fd = open (s_filler, O_WRONLY | O_CREAT, 0600);
    ck_assert_int_eq (write (fd, zeros, 40 * 1024), 40 * 1024);
    close (fd);
    gpb_free (zeros);
}

static void
s_unfill (void)
{
    unlink (s_filler);
}

static int
s_use_a_full_disk (void)
{
    if (!s_mount_own ("tmpfs", gpb_test_cache_root, "tmpfs", 0, "size=64k,mode=0700"))
        return NOT_ALLOWED;
    snprintf (s_filler, sizeof s_filler, "%s/filler", gpb_test_cache_root);
    gpb_cache_t *cache = gpb_test_cache_new (MEGABYTE);
    s_use_scarce_room (cache, s_fill, s_unfill);
    gpb_cache_destroy (&cache);
    return 0;
}

//  Where nobody may mount, the limit on files stands for the disk: the test above has all of it.
START_TEST (test_a_full_disk_keeps_what_it_has_and_works_again_when_there_is_room)
{
    gpb_test_cache_setup ();
    int result = s_in_child (s_use_a_full_disk);
    if (result == NOT_ALLOWED) {
        gpb_cache_t *cache = gpb_test_cache_new (MEGABYTE);
        getrlimit (RLIMIT_FSIZE, &s_limit);
        s_file_size = 20 * 1024;
        s_use_scarce_room (cache, s_limit_all_files, s_unlimit_files);
        gpb_cache_destroy (&cache);
    }
    else
        ck_assert_int_eq (result, 0);
    gpb_test_cache_teardown ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  A read-only folder

//  Whoever may mount has a disk of its own made read-only; who may not, and is not root, takes the
//  permission to write away; root that may not mount becomes nobody first, whose the folder is
//  then.
static void
s_make_read_only (bool mounted)
{
    const char *root = gpb_test_cache_root;
    if (mounted) {
        ck_assert_int_eq (mount ("", root, "", MS_REMOUNT | MS_RDONLY, ""), 0);
        return;
    }
    char above [400];
    snprintf (above, sizeof above, "%s/a", root);
    if (geteuid () == 0) {
        char command [400];
        snprintf (command, sizeof command, "chown -R 65534:65534 '%s'", root);
        ck_assert_int_eq (system (command), 0);
        ck_assert_int_eq (setresgid (65534, 65534, 65534), 0);
        ck_assert_int_eq (setresuid (65534, 65534, 65534), 0);
    }
    ck_assert_int_eq (chmod (gpb_test_cache_directory, 0500), 0);
    ck_assert_int_eq (chmod (above, 0500), 0);
}

static int
s_use_a_read_only_folder (void)
{
    bool mounted = s_mount_own ("tmpfs", gpb_test_cache_root, "tmpfs", 0, "size=1m,mode=0700");
    gpb_cache_t *cache = gpb_test_cache_new (MEGABYTE);
    ck_assert (!gpb_test_cache_use (cache, "damaged"));
    s_damage_at = 80;
    gpb_test_cache_each (s_flip);
    ck_assert (!gpb_test_cache_use (cache, "kept"));
    s_make_read_only (mounted);
    //  One that was open before, and one that is opened now.
    for (int round = 0; round < 2; round++) {
        ck_assert (gpb_test_cache_use (cache, "kept"));
        for (int again = 0; again < 2; again++) {
            ck_assert (!gpb_test_cache_use (cache, "damaged"));
            ck_assert (!gpb_test_cache_use (cache, "new"));
        }
        ck_assert_int_eq (gpb_test_cache_each (NULL), 2);
        gpb_cache_destroy (&cache);
        cache = gpb_test_cache_new (MEGABYTE);
    }
    gpb_cache_destroy (&cache);
    //  One that would have to be made there.
    char missing [400];
    snprintf (missing, sizeof missing, "%s/a/missing", gpb_test_cache_root);
    gpb_error_t error;
    cache = gpb_cache_new (missing, MEGABYTE, &error);
    ck_assert_refused (error.status, GPB_FAILED_PRECONDITION, "no compile cache in /");
    ck_assert (!gpb_test_cache_use (cache, "new"));
    gpb_cache_destroy (&cache);
    return 0;
}

START_TEST (test_a_read_only_folder_is_read_and_left_as_it_is)
{
    gpb_test_cache_setup ();
    ck_assert_int_eq (s_in_child (s_use_a_read_only_folder), 0);
    //  Where its modes were changed, they are changed back, so that it can be removed.
    char command [400];
    snprintf (command, sizeof command, "chmod -R u+w '%s'", gpb_test_cache_root);
    ck_assert_int_eq (system (command), 0);
    gpb_test_cache_teardown ();
}
END_TEST

GPB_TEST_MAIN ("gpb_cache's faults", 60, test_damage_anywhere_is_a_miss_and_the_entry_is_replaced,
               test_an_entry_under_another_name_is_a_miss,
               test_a_reader_beside_a_writer_always_finds_a_whole_entry,
               test_a_writer_that_is_killed_leaves_no_entry_that_is_not_whole,
               test_what_is_being_written_counts_for_the_bound,
               test_nodes_share_a_folder_while_entries_are_evicted_and_damaged,
               test_a_write_that_breaks_off_anywhere_leaves_nothing,
               test_a_full_disk_keeps_what_it_has_and_works_again_when_there_is_room,
               test_a_read_only_folder_is_read_and_left_as_it_is)
