//  Tests of gpb_scrubber on the fake backend: all of it is zero, whoever is awaited goes first, and
//  what fails is said to have failed.

#include "gpb_test.h"

#include "gpb_scrubber.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIECE GPB_SCRUB_PIECE_SIZE

static gpb_error_t error;
static gpb_shared_context_t *s_shared;
static gpb_scrubber_t *s_scrubber;

static void
s_open (void)
{
    s_shared = gpb_shared_context_open ("fake", 0, 1, true, &error);
    ck_assert_msg (s_shared != NULL, "%s", error.text);
    s_scrubber = gpb_scrubber_new (s_shared, &error);
    ck_assert_ptr_nonnull (s_scrubber);
}

static void
s_close (void)
{
    ck_assert (gpb_scrubber_is_idle (s_scrubber));
    gpb_scrubber_destroy (&s_scrubber);
    ck_assert_ptr_null (s_scrubber);
    gpb_shared_context_release (&s_shared);
}

static gpb_memory_t *
s_memory (uint64_t size, unsigned char **bytes_p)
{
    gpb_memory_t *memory;
    void *address;
    ck_assert_ok (s_shared->operations->allocate (s_shared->context, GPB_MEMORY_MAPPED,
                                                  GPB_ACCESS_READ_WRITE, size, &memory, &error));
    ck_assert_ok (s_shared->operations->address (memory, &address, &error));
    *bytes_p = address;
    return memory;
}

static gpb_scrub_t *
s_await (void)
{
    gpb_scrub_t *scrub;
    while (!(scrub = gpb_scrubber_done (s_scrubber))) {
        struct pollfd item = { s_shared->pool_fd, POLLIN, 0 };
        ck_assert_int_eq (poll (&item, 1, 20000), 1);
        uint64_t count;
        ck_assert_int_eq (read (s_shared->pool_fd, &count, sizeof count), sizeof count);
    }
    return scrub;
}

START_TEST (test_a_stretch_becomes_zero_and_nothing_beside_it)
{
    s_open ();
    unsigned char *bytes;
    const uint64_t size = 2 * PIECE + 1000;
    gpb_memory_t *memory = s_memory (size + 512, &bytes);
    gpb_scrub_t scrub;
    gpb_scrubber_add (s_scrubber, &scrub, memory, 256, size, true);
    ck_assert (!gpb_scrubber_is_idle (s_scrubber));
    ck_assert_ptr_eq (s_await (), &scrub);
    ck_assert_int_eq (scrub.status, GPB_OK);
    ck_assert_ptr_null (gpb_scrubber_done (s_scrubber));
    for (uint64_t index = 0; index < size + 512; index++)
        if (bytes [index] != (index < 256 || index >= 256 + size ? 0xA5 : 0))
            ck_abort_msg ("byte %llu is %u", (unsigned long long) index, bytes [index]);
    s_shared->operations->release (&memory);
    s_close ();
}
END_TEST

START_TEST (test_who_is_awaited_waits_behind_two_pieces_at_most)
{
    setenv ("GPB_FAKE_COMPUTE_US", "20000", 1);
    s_open ();
    unsigned char *bytes;
    gpb_memory_t *large = s_memory (8 * PIECE, &bytes), *small = s_memory (4096, &bytes);
    for (int is_awaited = 0; is_awaited < 2; is_awaited++) {
        gpb_scrub_t slow, quick;
        gpb_scrubber_add (s_scrubber, &slow, large, 0, 8 * PIECE, is_awaited != 0);
        gpb_scrubber_add (s_scrubber, &quick, small, 0, 4096, true);
        ck_assert_ptr_eq (s_await (), &quick);
        //  Two of eight were on the stream, and one more may have been begun meanwhile.
        ck_assert_uint_le (slow.begun, 5 * PIECE);
        ck_assert_ptr_eq (s_await (), &slow);
    }
    s_shared->operations->release (&large);
    s_shared->operations->release (&small);
    s_close ();
}
END_TEST

START_TEST (test_many_small_ones_all_end)
{
    enum { COUNT = 1000 };
    s_open ();
    unsigned char *bytes;
    gpb_memory_t *memory = s_memory (COUNT * 128, &bytes);
    static gpb_scrub_t scrubs [COUNT];
    for (uint64_t index = 0; index < COUNT; index++)
        gpb_scrubber_add (s_scrubber, &scrubs [index], memory, index * 128, 127, index % 3 == 0);
    for (int ended = 0; ended < COUNT; ended++)
        ck_assert_int_eq (s_await ()->status, GPB_OK);
    for (uint64_t index = 0; index < COUNT * 128; index++)
        ck_assert_uint_eq (bytes [index], index % 128 == 127 ? 0xA5 : 0);
    s_shared->operations->release (&memory);
    s_close ();
}
END_TEST

START_TEST (test_what_has_not_begun_can_be_dropped)
{
    s_open ();
    unsigned char *bytes;
    gpb_memory_t *memory = s_memory (8 * PIECE, &bytes);
    gpb_scrub_t dropped;
    gpb_scrubber_add (s_scrubber, &dropped, memory, 0, 8 * PIECE, false);
    gpb_scrubber_stop (s_scrubber);
    while (!gpb_scrubber_is_idle (s_scrubber)) {
        ck_assert_ptr_null (gpb_scrubber_done (s_scrubber));
        struct pollfd item = { s_shared->pool_fd, POLLIN, 0 };
        ck_assert_int_ge (poll (&item, 1, 100), 0);
    }
    ck_assert_uint_lt (dropped.begun, 8 * PIECE);
    s_shared->operations->release (&memory);
    s_close ();
}
END_TEST

START_TEST (test_a_device_that_is_lost_ends_every_scrub_with_that)
{
    s_open ();
    unsigned char *bytes;
    gpb_memory_t *memory = s_memory (4096, &bytes);
    const gpb_code_t code = { .kind = GPB_CODE_PORTABLE,
                              .name = "lose.c",
                              .data = "lose fake: lose",
                              .size = sizeof "lose fake: lose" - 1,
                              .options = "",
                              .architecture = "" };
    gpb_module_t *module;
    gpb_function_t *function;
    ck_assert_ok (s_shared->operations->build (s_shared->context, &code, &module, &error));
    ck_assert_ok (s_shared->operations->function (module, "lose", &function, NULL, &error));
    const gpb_launch_t launch = { .function = function, .dimensions = 1, .global = { 1 } };
    ck_assert_ok (
        s_shared->operations->launch (s_shared->context, 0, &launch, GPB_NOTIFY_NOT, NULL, &error));
    //  Behind it on the stream or refused at once: both come to the same.
    static gpb_scrub_t scrubs [10];
    for (int index = 0; index < 10; index++)
        gpb_scrubber_add (s_scrubber, &scrubs [index], memory, 0, 4096, true);
    int unavailable = 0;
    for (int index = 0; index < 10; index++)
        unavailable += s_await ()->status == GPB_UNAVAILABLE;
    ck_assert_int_ge (unavailable, 9);
    s_shared->operations->release (&memory);
    s_shared->operations->unload (&module);
    s_close ();
}
END_TEST

GPB_TEST_MAIN ("gpb_scrubber", 20, test_a_stretch_becomes_zero_and_nothing_beside_it,
               test_who_is_awaited_waits_behind_two_pieces_at_most, test_many_small_ones_all_end,
               test_what_has_not_begun_can_be_dropped,
               test_a_device_that_is_lost_ends_every_scrub_with_that)
