//  Tests of gpb_cache: nothing that happens to the folder or to an entry in it comes back as a
//  binary that was not put there, and the folder keeps to its size.

#include "gpb_alloc.h"
#include "gpb_cache.h"
#include "gpb_test.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MEGABYTE (UINT64_C (1) << 20)

static char s_root [256];
static char s_directory [300];    //  the cache's, in s_root; not there at first

static void
s_setup (void)
{
    const char *base = getenv ("TMPDIR");
    snprintf (s_root, sizeof s_root, "%s/gpb-cache-XXXXXX", base ? base : "/tmp");
    ck_assert_ptr_nonnull (mkdtemp (s_root));
    snprintf (s_directory, sizeof s_directory, "%s/a/cache", s_root);
}

static void
s_teardown (void)
{
    char command [300];
    snprintf (command, sizeof command, "rm -rf '%s'", s_root);
    ck_assert_int_eq (system (command), 0);
}

static gpb_cache_t *
s_cache (uint64_t max_size)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_cache_t *cache = gpb_cache_new (s_directory, max_size, &error);
    ck_assert_ptr_nonnull (cache);
    ck_assert_ok (error.status);
    return cache;
}

//  Gets what is kept under the source's hash, or puts it there, as compiling it does. Says whether
//  it was there; what comes back is what was put.
static bool
s_use (gpb_cache_t *cache, const char *source)
{
    unsigned char key [GPB_CACHE_KEY_SIZE];
    crypto_hash_sha256 (key, (const unsigned char *) source, strlen (source));
    void *data = NULL;
    size_t size = 0;
    bool found = gpb_cache_get (cache, key, &data, &size);
    if (found) {
        ck_assert_uint_eq (size, strlen (source));
        ck_assert_mem_eq (data, source, size);
        gpb_free (data);
    }
    else
        gpb_cache_put (cache, key, source, strlen (source));
    return found;
}

//  Calls visit for every file of the cache's folder; returns how many there are.
static int
s_each_entry (void (*visit) (const char *path))
{
    DIR *directory = opendir (s_directory);
    ck_assert_ptr_nonnull (directory);
    int count = 0;
    const struct dirent *entry;
    while ((entry = readdir (directory))) {
        if (entry->d_name [0] == '.')
            continue;
        char path [600];
        snprintf (path, sizeof path, "%s/%s", s_directory, entry->d_name);
        if (visit)
            visit (path);
        count++;
    }
    closedir (directory);
    return count;
}

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
    snprintf (target, sizeof target, "%s/elsewhere", s_root);
    rename (path, target);
    ck_assert_int_eq (symlink (target, path), 0);
}

START_TEST (test_an_entry_that_is_not_whole_is_missed)
{
    s_setup ();
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
    gpb_cache_t *cache = s_cache (MEGABYTE);
    ck_assert (!s_use (cache, "a source that is long enough"));
    for (size_t index = 0; index < sizeof damages / sizeof damages [0]; index++) {
        ck_assert_int_eq (s_each_entry (damages [index]), 1);
        ck_assert_msg (!s_use (cache, "a source that is long enough"), "damage %zu", index);
        ck_assert_msg (s_use (cache, "a source that is long enough"), "damage %zu", index);
        ck_assert_int_eq (s_each_entry (NULL), 1);
    }
    gpb_cache_destroy (&cache);
    s_teardown ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Folders that do not work

START_TEST (test_a_folder_that_cannot_be_used_keeps_nothing)
{
    s_setup ();
    char file [400], endless [5000];
    snprintf (file, sizeof file, "%s/file", s_root);
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
        ck_assert (!s_use (cache, "x"));
        gpb_cache_destroy (&cache);
    }
    //  One that is there and takes no file, whoever asks.
    gpb_error_t error;
    gpb_cache_t *cache = gpb_cache_new ("/proc/self", MEGABYTE, &error);
    ck_assert_ok (error.status);
    ck_assert (!s_use (cache, "x"));
    ck_assert (!s_use (cache, "x"));
    gpb_cache_destroy (&cache);
    s_teardown ();
}
END_TEST

START_TEST (test_a_folder_that_others_can_write_to_is_not_trusted)
{
    s_setup ();
    gpb_cache_t *cache = s_cache (MEGABYTE);
    ck_assert (!s_use (cache, "x"));
    gpb_cache_destroy (&cache);
    const mode_t modes [] = { 0777, 0770, 0702 };
    for (size_t index = 0; index < 3; index++) {
        gpb_error_t error;
        ck_assert_int_eq (chmod (s_directory, modes [index]), 0);
        cache = gpb_cache_new (s_directory, MEGABYTE, &error);
        ck_assert_refused (error.status, GPB_FAILED_PRECONDITION, "others can write there");
        ck_assert (!s_use (cache, "x"));
        gpb_cache_destroy (&cache);
    }
    ck_assert_int_eq (chmod (s_directory, 0755), 0);
    cache = s_cache (MEGABYTE);
    ck_assert (s_use (cache, "x"));
    gpb_cache_destroy (&cache);
    s_teardown ();
}
END_TEST

START_TEST (test_a_full_disk_leaves_nothing_behind)
{
    s_setup ();
    gpb_cache_t *cache = s_cache (MEGABYTE);
    //  A write beyond this limit fails as it does on a full disk.
    signal (SIGXFSZ, SIG_IGN);
    struct rlimit before, limit;
    getrlimit (RLIMIT_FSIZE, &before);
    limit = before;
    for (rlim_t room = 0; room < 120; room += 20) {
        limit.rlim_cur = room;
        ck_assert_int_eq (setrlimit (RLIMIT_FSIZE, &limit), 0);
        bool cached = s_use (cache, "a source that is long enough for all of these limits");
        ck_assert_int_eq (setrlimit (RLIMIT_FSIZE, &before), 0);
        ck_assert (!cached);
        ck_assert_int_eq (s_each_entry (NULL), 0);
    }
    ck_assert (!s_use (cache, "a source that is long enough for all of these limits"));
    ck_assert (s_use (cache, "a source that is long enough for all of these limits"));
    gpb_cache_destroy (&cache);
    s_teardown ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  The bound

static uint64_t s_total;

static void
s_add_size (const char *path)
{
    struct stat about;
    if (stat (path, &about) == 0)
        s_total += (uint64_t) about.st_size;
}

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
    s_setup ();
    gpb_cache_t *cache = s_cache (MEGABYTE);
    ck_assert (!s_use (cache, "1"));
    s_total = 0;
    ck_assert_int_eq (s_each_entry (s_add_size), 1);
    uint64_t entry_size = s_total;
    gpb_cache_destroy (&cache);

    cache = s_cache (3 * entry_size);
    ck_assert_int_eq (s_each_entry (s_age), 1);
    ck_assert (!s_use (cache, "2"));
    ck_assert_int_eq (s_each_entry (s_age), 2);
    ck_assert (!s_use (cache, "3"));
    ck_assert_int_eq (s_each_entry (s_age), 3);
    ck_assert (s_use (cache, "1"));    //  now 2 is the one used longest ago
    ck_assert (!s_use (cache, "4"));
    ck_assert_int_eq (s_each_entry (NULL), 3);
    ck_assert (s_use (cache, "1"));
    ck_assert (s_use (cache, "3"));
    ck_assert (s_use (cache, "4"));
    ck_assert (!s_use (cache, "2"));
    gpb_cache_destroy (&cache);

    //  One that would not fit alone is not kept, and pushes nothing out.
    cache = s_cache (entry_size - 1);
    ck_assert (!s_use (cache, "5"));
    ck_assert_int_eq (s_each_entry (NULL), 3);
    gpb_cache_destroy (&cache);
    s_teardown ();
}
END_TEST

START_TEST (test_what_a_dead_writer_left_is_removed_and_what_is_not_ours_stays)
{
    s_setup ();
    gpb_cache_t *cache = s_cache (MEGABYTE);
    static const char key [] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const char *const endings [] = { ".1-2-3", ".4-5-6", "-notes" };
    char path [3][500];
    for (size_t index = 0; index < 3; index++) {
        snprintf (path [index], sizeof path [index], "%s/%s%s", s_directory, key, endings [index]);
        fclose (fopen (path [index], "w"));
        //  The second one is being written right now.
        const struct timespec old [2] = { { 1000, 0 }, { 1000, 0 } };
        if (index != 1)
            ck_assert_int_eq (utimensat (AT_FDCWD, path [index], old, 0), 0);
    }
    ck_assert (!s_use (cache, "x"));
    ck_assert_int_ne (access (path [0], F_OK), 0);
    ck_assert_int_eq (access (path [1], F_OK), 0);
    ck_assert_int_eq (access (path [2], F_OK), 0);
    gpb_cache_destroy (&cache);
    s_teardown ();
}
END_TEST

//  A process that uses a few sources again and again, in a folder too small for all of them.
static int
s_be_one_of_many (unsigned seed, uint64_t max_size)
{
    srand (seed);
    gpb_cache_t *cache = s_cache (max_size);
    for (int round = 0; round < 200; round++) {
        char source [600];
        int number = rand () % 6;
        memset (source, 'a' + number, sizeof source);
        source [400 + number * 30] = 0;
        s_use (cache, source);
    }
    uint64_t hits, misses;
    gpb_cache_figures (cache, &hits, &misses);
    gpb_cache_destroy (&cache);
    return hits > 0 && hits + misses == 200 ? 0 : 1;
}

START_TEST (test_processes_share_a_folder)
{
    s_setup ();
    enum { PROCESSES = 6 };
    gpb_cache_t *cache = s_cache (MEGABYTE);
    ck_assert (!s_use (cache, "x"));
    gpb_cache_destroy (&cache);
    s_total = 0;
    s_each_entry (s_add_size);
    const uint64_t max_size = 5 * (s_total + 500);
    pid_t children [PROCESSES];
    for (unsigned index = 0; index < PROCESSES; index++) {
        children [index] = fork ();
        ck_assert_int_ge (children [index], 0);
        if (children [index] == 0)
            _exit (s_be_one_of_many (index, max_size));
    }
    for (unsigned index = 0; index < PROCESSES; index++) {
        int status;
        ck_assert_int_eq (waitpid (children [index], &status, 0), children [index]);
        ck_assert_msg (WIFEXITED (status) && WEXITSTATUS (status) == 0, "process %u: %d", index,
                       status);
    }
    //  Whoever keeps something next brings the folder down to its size.
    cache = s_cache (max_size);
    s_use (cache, "the last one");
    s_total = 0;
    ck_assert_int_gt (s_each_entry (s_add_size), 0);
    ck_assert_uint_le (s_total, max_size);
    gpb_cache_destroy (&cache);
    s_teardown ();
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
               test_a_full_disk_leaves_nothing_behind, test_entries_used_longest_ago_go_first,
               test_what_a_dead_writer_left_is_removed_and_what_is_not_ours_stays,
               test_processes_share_a_folder, test_the_default_folder_is_where_xdg_says)
