//  gpb_fuzz_driver - runs a fuzz target where there is no libFuzzer
//
//  Two tests of the target that it is linked to: every file of tests/fuzz/corpus/NAME, and a
//  bounded number of mutations of them, chosen by a seed (GPB_TEST_SEED, or else 1): GPB_FUZZ_RUNS
//  of them, or else 4,000, for no longer than MUTATIONS_NS. An input with which the target dies
//  stays in the file crash-NAME of the current folder, and its number is what was printed last.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_clock.h"
#include "gpb_fuzz.h"
#include "gpb_test.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#define INPUT_MAX ((size_t) 64 * 1024)
#define FILES_MAX 512
#define MUTATIONS_NS (3 * GPB_NS_PER_S)

typedef struct {
    uint8_t *data;
    size_t size;
} input_t;

static const char *s_name;    //  of the target
static input_t s_corpus [FILES_MAX];
static size_t s_corpus_count;
static uint8_t s_input [INPUT_MAX];    //  the one that is tried
static size_t s_size;
static char s_crash_path [256];

//  Keeps the input that the target dies of; then it dies as it would have.
static void
s_keep (int number)
{
    int file = open (s_crash_path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (file >= 0) {
        ssize_t written = write (file, s_input, s_size);
        (void) written;
        close (file);
    }
    signal (number, SIG_DFL);
    raise (number);
}

static void
s_load (const char *path)
{
    FILE *file = fopen (path, "rb");
    ck_assert_msg (file != NULL, "%s cannot be read", path);
    input_t *input = &s_corpus [s_corpus_count++];
    input->data = malloc (INPUT_MAX);
    ck_assert_ptr_nonnull (input->data);
    input->size = fread (input->data, 1, INPUT_MAX, file);
    fclose (file);
}

static int
s_is_visible (const struct dirent *entry)
{
    return entry->d_name [0] != '.';
}

//  In the order of names, so that a seed means the same everywhere.
static void
s_load_corpus (void)
{
    char folder [4096], path [8192];
    snprintf (folder, sizeof folder, "%s/tests/fuzz/corpus/%s", getenv ("GPB_SOURCE_DIR"), s_name);
    struct dirent **entries;
    int count = scandir (folder, &entries, s_is_visible, alphasort);
    ck_assert_msg (count > 0 && count <= FILES_MAX, "%s has %d files", folder, count);
    for (int index = 0; index < count; index++) {
        snprintf (path, sizeof path, "%s/%s", folder, entries [index]->d_name);
        s_load (path);
        free (entries [index]);
    }
    free (entries);
    snprintf (s_crash_path, sizeof s_crash_path, "crash-%s", s_name);
    signal (SIGABRT, s_keep);
    signal (SIGSEGV, s_keep);
}

static void
s_free_corpus (void)
{
    for (size_t index = 0; index < s_corpus_count; index++)
        free (s_corpus [index].data);
    s_corpus_count = 0;
}

//  From memory of its own size, so that a sanitizer sees what is read behind its end.
static void
s_try (void)
{
    uint8_t *exact = malloc (s_size ? s_size : 1);
    ck_assert_ptr_nonnull (exact);
    memcpy (exact, s_input, s_size);
    LLVMFuzzerTestOneInput (exact, s_size);
    free (exact);
}

START_TEST (test_every_input_of_the_corpus_is_taken)
{
    s_load_corpus ();
    for (size_t index = 0; index < s_corpus_count; index++) {
        s_size = s_corpus [index].size;
        memcpy (s_input, s_corpus [index].data, s_size);
        s_try ();
    }
    s_free_corpus ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Mutations

static uint64_t s_state;

static size_t
s_random (size_t below)
{
    s_state = s_state * 6364136223846793005u + 1442695040888963407u;
    return below ? (size_t) (s_state >> 33) % below : 0;
}

static void
s_insert (size_t at, const uint8_t *data, size_t size)
{
    if (s_size + size > INPUT_MAX)
        return;
    memmove (s_input + at + size, s_input + at, s_size - at);
    memcpy (s_input + at, data, size);
    s_size += size;
}

static void
s_remove (size_t at, size_t size)
{
    memmove (s_input + at, s_input + at + size, s_size - at - size);
    s_size -= size;
}

static void
s_mutate (void)
{
    static const uint8_t edges [] = { 0, 1, 0x7F, 0x80, 0xFF };
    size_t at = s_random (s_size), left = s_size - at;
    const input_t *other = &s_corpus [s_random (s_corpus_count)];
    size_t from = s_random (other->size), length = 1 + s_random (16);
    uint8_t byte = (uint8_t) s_random (256);
    switch (s_random (7)) {
    case 0:
        if (s_size)
            s_input [at] ^= (uint8_t) (1 << s_random (8));
        break;
    case 1:
        if (s_size)
            s_input [at] = edges [s_random (sizeof edges)];
        break;
    case 2: s_insert (at, &byte, 1); break;
    case 3: s_remove (at, length < left ? length : left); break;
    case 4: s_size = at; break;
    case 5:    //  a piece of another one
        if (other->size)
            s_insert (at, other->data + from,
                      length < other->size - from ? length : other->size - from);
        break;
    default:    //  the end of another one
        s_size = at;
        s_insert (at, other->data + from, other->size - from);
        break;
    }
}

START_TEST (test_what_mutations_of_the_corpus_come_to_is_taken)
{
    s_load_corpus ();
    const char *seed = getenv ("GPB_TEST_SEED"), *runs_text = getenv ("GPB_FUZZ_RUNS");
    s_state = seed ? strtoull (seed, NULL, 10) : 1;
    fprintf (stderr, "seed %llu\n", (unsigned long long) s_state);
    size_t runs = runs_text ? strtoull (runs_text, NULL, 10) : 4000;
    uint64_t end_ns = gpb_clock_ns () + MUTATIONS_NS;
    for (size_t run = 0; run < runs && (runs_text || gpb_clock_ns () < end_ns); run++) {
        const input_t *parent = &s_corpus [s_random (s_corpus_count)];
        s_size = parent->size;
        memcpy (s_input, parent->data, s_size);
        for (size_t count = 1 + s_random (4); count > 0; count--)
            s_mutate ();
        s_try ();
    }
    s_free_corpus ();
}
END_TEST

int
main (int count, char **arguments)
{
    (void) count;
    //  libtool's wrapper runs lt-fuzz_NAME.
    const char *name = strstr (arguments [0], "fuzz_");
    for (const char *next = name; next; next = strstr (next + 1, "fuzz_"))
        name = next;
    if (!name) {
        fprintf (stderr, "a target is called fuzz_NAME\n");
        return EXIT_FAILURE;
    }
    s_name = name + strlen ("fuzz_");
    const TTest *const tests [] = { test_every_input_of_the_corpus_is_taken,
                                    test_what_mutations_of_the_corpus_come_to_is_taken };
    return gpb_test_run (s_name, tests, sizeof tests / sizeof tests [0],
                         getenv ("GPB_FUZZ_RUNS") ? 3600 : 60);
}
