//  Tests of gpb_hop: what is written is read, and nothing else is taken for it.

#include "gpb_test.h"

#include "gpb_hop.h"

START_TEST (test_what_is_written_is_read)
{
    gpb_hop_t hop = { .magic = GPB_HOP_MAGIC,
                      .attempt = 3,
                      .flags = GPB_HOP_INPROC,
                      .slot = 0xFFFFFFFF,
                      .generation = 7,
                      .owner = UINT64_MAX,
                      .remaining_ns = 1 };
    zmq_msg_t frame;
    zmq_msg_init_size (&frame, 1000);
    gpb_hop_write (&frame, &hop);
    ck_assert_uint_le (zmq_msg_size (&frame), 33);    //  stands in the zmq_msg_t
    gpb_hop_t read;
    ck_assert (gpb_hop_read (&frame, &read));
    ck_assert_mem_eq (&read, &hop, sizeof hop);
    zmq_msg_close (&frame);
}
END_TEST

START_TEST (test_any_other_frame_is_none)
{
    gpb_hop_t hop = { .magic = GPB_HOP_MAGIC + 1 }, read;
    zmq_msg_t frame;
    zmq_msg_init (&frame);
    ck_assert (!gpb_hop_read (&frame, &read));
    gpb_hop_write (&frame, &hop);
    ck_assert (!gpb_hop_read (&frame, &read));
    for (size_t size = 0; size < 64; size++) {
        zmq_msg_close (&frame);
        zmq_msg_init_size (&frame, size);
        memset (zmq_msg_data (&frame), 0, size);
        hop.magic = GPB_HOP_MAGIC;
        memcpy (zmq_msg_data (&frame), &hop, size < sizeof hop ? size : sizeof hop);
        ck_assert_int_eq (gpb_hop_read (&frame, &read), size == sizeof hop);
    }
    zmq_msg_close (&frame);
}
END_TEST

GPB_TEST_MAIN ("gpb_hop", 10, test_what_is_written_is_read, test_any_other_frame_is_none)
