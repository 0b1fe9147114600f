//  Tests of gpb_shared_context: one open device, closed by whoever lets go last, on any thread.

#include "gpb_alloc.h"
#include "gpb_shared_context.h"
#include "gpb_test.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static gpb_error_t error;

static gpb_shared_context_t *
s_open (unsigned streams)
{
    gpb_shared_context_t *shared = gpb_shared_context_open ("fake", 1, streams, true, &error);
    ck_assert_msg (shared != NULL, "%s", error.text);
    return shared;
}

//  Zeroes some memory on a stream, and waits for what tells of it.
static void
s_use (const gpb_shared_context_t *shared, unsigned stream, int fd)
{
    gpb_memory_t *memory = NULL;
    gpb_event_t *event = NULL;
    ck_assert_ok (shared->operations->allocate (shared->context, GPB_MEMORY_DEVICE,
                                                GPB_ACCESS_READ_WRITE, 64, &memory, &error));
    ck_assert_ok (shared->operations->zero (shared->context, stream, memory, 0, 64, GPB_NOTIFY,
                                            &event, &error));
    struct pollfd item = { fd, POLLIN, 0 };
    ck_assert_int_eq (poll (&item, 1, 20000), 1);
    uint64_t count;
    ck_assert_int_eq (read (fd, &count, sizeof count), (int) sizeof count);
    bool done = false;
    ck_assert_ok (shared->operations->query (event, &done, NULL, &error));
    ck_assert (done);
    shared->operations->event_free (&event);
    shared->operations->release (&memory);
}

START_TEST (test_the_device_and_its_pool_are_told_apart)
{
    gpb_shared_context_t *shared = s_open (3);
    ck_assert_uint_eq (shared->index, 1);
    ck_assert_uint_eq (shared->streams, 3);
    ck_assert_str_eq (shared->backend, "fake");
    ck_assert_str_eq (shared->info.name, "fake 1");
    for (unsigned stream = 0; stream < 3; stream++)
        s_use (shared, stream, shared->device_fd);
    s_use (shared, 3, shared->pool_fd);
    struct pollfd items [] = { { shared->device_fd, POLLIN, 0 }, { shared->pool_fd, POLLIN, 0 } };
    ck_assert_int_eq (poll (items, 2, 0), 0);
    gpb_shared_context_release (&shared);
    ck_assert_ptr_null (shared);
    gpb_shared_context_release (&shared);
}
END_TEST

START_TEST (test_more_streams_than_a_device_has_are_cut)
{
    gpb_shared_context_t *shared = s_open (1000);
    ck_assert_uint_eq (shared->streams, 62);
    s_use (shared, 62, shared->pool_fd);
    s_use (shared, gpb_shared_context_host_stream (shared), shared->host_fd);
    gpb_shared_context_release (&shared);
}
END_TEST

static void *
s_let_go (void *shared_p)
{
    gpb_shared_context_t *shared = shared_p;
    s_use (shared, shared->streams, shared->pool_fd);
    gpb_shared_context_release (&shared);
    return NULL;
}

START_TEST (test_the_last_one_closes_it_on_its_own_thread)
{
    for (int round = 0; round < 20; round++) {
        gpb_shared_context_t *shared = s_open (1);
        const int fd = shared->device_fd;
        gpb_shared_context_t *second = gpb_shared_context_retain (shared);
        ck_assert_ptr_eq (second, shared);
        pthread_t thread;
        ck_assert_int_eq (pthread_create (&thread, NULL, s_let_go, second), 0);
        s_use (shared, 0, shared->device_fd);
        gpb_shared_context_release (&shared);
        pthread_join (thread, NULL);
        ck_assert_int_eq (close (fd), -1);
    }
}
END_TEST

START_TEST (test_a_device_that_cannot_be_opened_says_why)
{
    ck_assert_ptr_null (gpb_shared_context_open ("fake", 7, 1, true, &error));
    ck_assert_int_ne (error.status, GPB_OK);
    ck_assert_str_ne (error.text, "");
    ck_assert_ptr_null (gpb_shared_context_open ("nowhere", 0, 1, true, &error));
    ck_assert_int_ne (error.status, GPB_OK);
}
END_TEST

START_TEST (test_memory_that_runs_out_is_said_and_nothing_leaks)
{
    gpb_shared_context_t *shared = NULL;
    int64_t after = 0;
    for (; !shared && after < 1000; after++) {
        gpb_alloc_fail (after, 0);
        shared = gpb_shared_context_open ("fake", 0, 2, true, &error);
        gpb_alloc_fail (-1, 0);
        if (!shared)
            ck_assert_int_ne (error.status, GPB_OK);
    }
    ck_assert_int_gt (after, 2);
    ck_assert_ptr_nonnull (shared);
    s_use (shared, 0, shared->device_fd);
    gpb_shared_context_release (&shared);
}
END_TEST

GPB_TEST_MAIN ("gpb_shared_context", 20, test_the_device_and_its_pool_are_told_apart,
               test_more_streams_than_a_device_has_are_cut,
               test_the_last_one_closes_it_on_its_own_thread,
               test_a_device_that_cannot_be_opened_says_why,
               test_memory_that_runs_out_is_said_and_nothing_leaks)
