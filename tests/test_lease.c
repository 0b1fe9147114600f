//  Tests of gpb_lease: who may map what, and what a handle says.

#include "gpb_test.h"

#include "gpb_lease.h"
#include "gpb_test_actor.h"

START_TEST (test_a_handle_says_its_device)
{
    ck_assert_uint_eq (gpb_handle_device (gpb_handle_make (0, UINT64_MAX)), 0);
    ck_assert_uint_eq (gpb_handle_device (gpb_handle_make (255, 0)), 255);
    ck_assert_uint_eq (gpb_handle_make (0x12, UINT64_MAX), 0x12FFFFFFFFFFFFFFULL);
    ck_assert_uint_ne (gpb_handle_make (3, 1), gpb_handle_make (4, 1));
}
END_TEST

START_TEST (test_only_mapped_memory_is_mapped_once_and_in_this_process)
{
    gpb_test_actor_t pool;
    gpb_test_actor_pool (&pool, "fake", NULL);
    gpb_test_actor_bind (&pool, "tcp://127.0.0.1:*");
    gpb_client_t *near = gpb_test_actor_client (GPB_TEST_ACTOR_INPROC);
    gpb_client_t *far = gpb_test_actor_client (pool.endpoint);
    uint64_t device = gpb_test_actor_rent (near, 64, GPB_RENT_DEVICE, GPB_RENT_READ_WRITE);
    uint64_t mapped = gpb_test_actor_rent (near, 64, GPB_RENT_MAPPED, GPB_RENT_READ_WRITE);
    uint64_t far_mapped = gpb_test_actor_rent (far, 64, GPB_RENT_MAPPED, GPB_RENT_READ_WRITE);
    const gpb_status_t refused = GPB_FAILED_PRECONDITION;
    gpb_test_actor_refused (near, gpb_request_map (device), refused, "only MAPPED can be mapped");
    gpb_test_actor_refused (near, gpb_request_unmap (device), refused, "not mapped");
    gpb_test_actor_refused (far, gpb_request_map (far_mapped), refused, "map over inproc");
    for (int round = 0; round < 2; round++) {
        gpb_test_actor_done (near, gpb_request_map (mapped));
        gpb_test_actor_refused (near, gpb_request_map (mapped), refused, "mapped already");
        gpb_test_actor_done (near, gpb_request_unmap (mapped));
        gpb_test_actor_refused (near, gpb_request_unmap (mapped), refused, "not mapped");
    }
    gpb_client_destroy (&near);
    gpb_client_destroy (&far);
    gpb_test_actor_stop (&pool);
}
END_TEST

GPB_TEST_MAIN ("gpb_lease", 20, test_a_handle_says_its_device,
               test_only_mapped_memory_is_mapped_once_and_in_this_process)
