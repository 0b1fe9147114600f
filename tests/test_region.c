//  Tests of gpb_region: what is put on one side is a frame on the other, blocks come back when the
//  frame is gone, and nothing that the other side says reaches beyond the region.

#include "gpb_alloc.h"
#include "gpb_region.h"
#include "gpb_test.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static gpb_error_t error;
static gpb_region_t *s_giver, *s_taker;

static void
s_open (void)
{
    int fd = gpb_region_create (&error);
    ck_assert_msg (fd >= 0, "%s", error.text);
    s_giver = gpb_region_giver (fd, &error);
    ck_assert_msg (s_giver != NULL, "%s", error.text);
    s_taker = gpb_region_taker (fd, &error);
    ck_assert_msg (s_taker != NULL, "%s", error.text);
    close (fd);
}

static void
s_close (void)
{
    gpb_region_destroy (&s_giver);
    gpb_region_destroy (&s_taker);
    ck_assert_ptr_null (s_giver);
}

START_TEST (test_a_payload_is_the_same_on_the_other_side)
{
    static const size_t sizes [] = { 1, 4095, 4096, 65537, 1 << 20, (16 << 20) + 5 };
    s_open ();
    unsigned char *data = gpb_alloc (1, (16 << 20) + 5);
    for (size_t index = 0; index < sizeof sizes / sizeof sizes [0]; index++) {
        gpb_region_place_t place;
        zmq_msg_t frame;
        memset (data, (int) (index + 1), sizes [index]);
        ck_assert_ok (gpb_region_put (s_giver, data, sizes [index], &place, &error));
        ck_assert_ok (gpb_region_frame (s_taker, &place, &frame, &error));
        ck_assert_uint_eq (zmq_msg_size (&frame), sizes [index]);
        ck_assert_mem_eq (zmq_msg_data (&frame), data, sizes [index]);
        zmq_msg_close (&frame);
    }
    gpb_free (data);
    s_close ();
}
END_TEST

START_TEST (test_a_block_is_used_again_once_its_frame_is_gone_and_it_is_sent_back)
{
    enum { SIZE = 100000 };
    static unsigned char data [SIZE];
    s_open ();
    gpb_region_place_t one, other;
    uint32_t blocks [8];
    zmq_msg_t frame;
    ck_assert_ok (gpb_region_put (s_giver, data, SIZE, &one, &error));
    ck_assert_ok (gpb_region_frame (s_taker, &one, &frame, &error));
    ck_assert_uint_eq (gpb_region_returned (s_taker, blocks, 8), 0);
    ck_assert_ok (gpb_region_put (s_giver, data, SIZE, &other, &error));
    ck_assert_uint_ne (other.offset, one.offset);
    ck_assert_uint_eq (gpb_region_in_use (s_giver), 2);
    zmq_msg_close (&frame);

    //  It stays on the list until it is sent.
    for (unsigned look = 0; look < 2; look++) {
        ck_assert_uint_eq (gpb_region_returned (s_taker, blocks, 8), 1);
        ck_assert_uint_eq (blocks [0], one.block);
    }
    gpb_region_sent_back (s_taker, 1);
    ck_assert_uint_eq (gpb_region_returned (s_taker, blocks, 8), 0);
    gpb_region_take_back (s_giver, blocks [0]);
    ck_assert_uint_eq (gpb_region_in_use (s_giver), 1);
    gpb_region_place_t again;
    ck_assert_ok (gpb_region_put (s_giver, data, SIZE, &again, &error));
    ck_assert_uint_eq (again.offset, one.offset);
    s_close ();
}
END_TEST

START_TEST (test_numbers_of_no_block_change_nothing)
{
    static unsigned char data [1000];
    s_open ();
    gpb_region_place_t place;
    gpb_region_take_back (s_giver, 0);
    ck_assert_ok (gpb_region_put (s_giver, data, sizeof data, &place, &error));
    gpb_region_take_back (s_giver, place.block + 1);
    gpb_region_take_back (s_giver, UINT32_MAX);
    ck_assert_uint_eq (gpb_region_in_use (s_giver), 1);
    gpb_region_take_back (s_giver, place.block);
    gpb_region_take_back (s_giver, place.block);
    ck_assert_uint_eq (gpb_region_in_use (s_giver), 0);
    s_close ();
}
END_TEST

START_TEST (test_a_place_beyond_the_region_is_no_frame)
{
    static const gpb_region_place_t places [] = {
        { UINT64_C (16) << 30, 1, 0, 0 }, { (UINT64_C (16) << 30) - 10, 11, 0, 0 },
        { 1, UINT64_C (16) << 30, 0, 0 }, { UINT64_MAX, 2, 0, 0 },
        { 2, UINT64_MAX, 0, 0 },          { 0, 0, 0, 0 }
    };
    s_open ();
    for (size_t index = 0; index < sizeof places / sizeof places [0]; index++) {
        zmq_msg_t frame;
        ck_assert_refused (gpb_region_frame (s_taker, &places [index], &frame, &error),
                           GPB_OUT_OF_RANGE, "not in the shared memory");
        ck_assert_uint_eq (zmq_msg_size (&frame), 0);
        zmq_msg_close (&frame);
    }
    s_close ();
}
END_TEST

//  The process that gave it is dead, its taker is gone: an application still reads.
START_TEST (test_a_frame_outlives_both_sides)
{
    enum { SIZE = 1 << 20 };
    unsigned char *data = gpb_alloc (1, SIZE);
    memset (data, 0xA5, SIZE);
    s_open ();
    gpb_region_place_t place;
    zmq_msg_t frame;
    ck_assert_ok (gpb_region_put (s_giver, data, SIZE, &place, &error));
    ck_assert_ok (gpb_region_frame (s_taker, &place, &frame, &error));
    gpb_region_destroy (&s_taker);
    ck_assert_mem_eq (zmq_msg_data (&frame), data, SIZE);
    zmq_msg_close (&frame);
    s_close ();
    gpb_free (data);
}
END_TEST

START_TEST (test_nobody_can_cut_the_memory_short)
{
    int fd = gpb_region_create (&error);
    ck_assert_int_ge (fd, 0);
    ck_assert_int_ne (ftruncate (fd, 4096), 0);
    ck_assert_int_eq (errno, EPERM);
    close (fd);
}
END_TEST

//  More than there is: refused, and what comes back can be had again.
START_TEST (test_a_full_region_refuses_and_goes_on)
{
    s_open ();
    gpb_region_place_t place;
    static unsigned char data [1 << 16];
    ck_assert_refused (gpb_region_put (s_giver, data, UINT64_C (17) << 30, &place, &error),
                       GPB_RESOURCE_EXHAUSTED, "");
    ck_assert_uint_eq (gpb_region_in_use (s_giver), 0);
    ck_assert_ok (gpb_region_put (s_giver, data, sizeof data, &place, &error));
    s_close ();
}
END_TEST

//  Free memory goes back to the system beyond what is kept, chunk by chunk, in any order.
START_TEST (test_memory_that_came_back_is_found_again_wherever_it_was)
{
    enum { BLOCKS = 40, SIZE = 20 << 20 };
    s_open ();
    unsigned char *data = gpb_alloc (1, SIZE);
    gpb_region_place_t places [BLOCKS];
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned index = 0; index < BLOCKS; index++) {
            memset (data, (int) index, 4096);
            ck_assert_ok (gpb_region_put (s_giver, data, 4096, &places [index], &error));
        }
        for (unsigned step = 0; step < 2; step++)
            for (unsigned index = step; index < BLOCKS; index += 2)
                gpb_region_take_back (s_giver, places [index].block);
        ck_assert_uint_eq (gpb_region_in_use (s_giver), 0);
        for (unsigned index = 0; index < 20; index++)
            ck_assert_ok (gpb_region_put (s_giver, data, SIZE, &places [index], &error));
        for (unsigned index = 20; index-- > 0;)
            gpb_region_take_back (s_giver, places [(index * 7) % 20].block);
        ck_assert_uint_eq (gpb_region_in_use (s_giver), 0);
    }
    gpb_free (data);
    s_close ();
}
END_TEST

START_TEST (test_without_memory_it_refuses)
{
    static unsigned char data [1000];
    s_open ();
    gpb_region_place_t place;
    zmq_msg_t frame;
    bool done = false;
    for (int64_t after = 0; !done; after++) {
        gpb_alloc_fail (after, 0);
        gpb_status_t status = gpb_region_put (s_giver, data, sizeof data, &place, &error);
        done = gpb_alloc_fail (-1, 0) <= (uint64_t) after;
        ck_assert (status == GPB_OK || status == GPB_RESOURCE_EXHAUSTED);
        if (status == GPB_OK)
            gpb_region_take_back (s_giver, place.block);
    }
    ck_assert_ok (gpb_region_put (s_giver, data, sizeof data, &place, &error));
    gpb_alloc_fail (0, 0);
    ck_assert_int_eq (gpb_region_frame (s_taker, &place, &frame, &error), GPB_RESOURCE_EXHAUSTED);
    gpb_alloc_fail (-1, 0);
    zmq_msg_close (&frame);
    s_close ();
}
END_TEST

GPB_TEST_MAIN ("gpb_region", 60, test_a_payload_is_the_same_on_the_other_side,
               test_a_block_is_used_again_once_its_frame_is_gone_and_it_is_sent_back,
               test_numbers_of_no_block_change_nothing, test_a_place_beyond_the_region_is_no_frame,
               test_a_frame_outlives_both_sides, test_nobody_can_cut_the_memory_short,
               test_a_full_region_refuses_and_goes_on,
               test_memory_that_came_back_is_found_again_wherever_it_was,
               test_without_memory_it_refuses)
