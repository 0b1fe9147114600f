//  Tests of the build with AddressSanitizer and UndefinedBehaviorSanitizer: what they are to find,
//  they find. A build that has lost its flags on the way passes everything else.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_test.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

//  Volatile, so that no compiler knows what the faults below come to.
static volatile size_t s_size = 16;
static volatile int s_number = INT_MAX;

static void
s_reads_past_the_end (void)
{
    volatile unsigned char *block = malloc (s_size);
    block [0] = 0;
    s_number = block [s_size];
    free ((void *) block);
    _exit (0);
}

static void
s_reads_what_is_freed (void)
{
    volatile unsigned char *block = malloc (s_size);
    free ((void *) block);
    //  cppcheck-suppress deallocuse
    s_number = block [0];    // NOLINT(clang-analyzer-unix.Malloc)
    _exit (0);
}

static void
s_overflows_an_int (void)
{
    s_number = s_number + 1;
    _exit (0);
}

//  Runs a fault in a child whose report nobody needs to read; true where the child was stopped.
static int
s_is_stopped (void (*fault) (void))
{
    pid_t child = fork ();
    ck_assert_int_ge (child, 0);
    if (child == 0) {
        int nowhere = open ("/dev/null", O_WRONLY | O_CLOEXEC);
        dup2 (nowhere, STDERR_FILENO);
        fault ();
    }
    int status;
    ck_assert_int_eq (waitpid (child, &status, 0), child);
    return !(WIFEXITED (status) && WEXITSTATUS (status) == 0);
}

START_TEST (test_a_read_past_the_end_is_stopped)
{
    ck_assert (s_is_stopped (s_reads_past_the_end));
}
END_TEST

START_TEST (test_a_read_of_freed_memory_is_stopped)
{
    ck_assert (s_is_stopped (s_reads_what_is_freed));
}
END_TEST

START_TEST (test_an_overflowing_int_is_stopped)
{
    ck_assert (s_is_stopped (s_overflows_an_int));
}
END_TEST

GPB_TEST_MAIN ("AddressSanitizer", 10, test_a_read_past_the_end_is_stopped,
               test_a_read_of_freed_memory_is_stopped, test_an_overflowing_int_is_stopped)
