//  Tests of gpb_device_work: what is late when its kernel is compiled is not begun.

#include "gpb_test.h"

#include "gpb_test_actor.h"

#include <stdlib.h>

START_TEST (test_what_is_late_when_its_kernel_is_compiled_is_not_begun)
{
    setenv ("GPB_FAKE_BUILD_US", "100000", 1);
    gpb_test_actor_t device;
    gpb_test_actor_device (&device, "fake",
                           (const char *const []){ "cache_directory", "none", NULL });
    gpb_client_t *client = gpb_test_actor_client (GPB_TEST_ACTOR_INPROC);
    gpb_request_t *request = gpb_request_execute ("endless");
    gpb_request_i32 (request, 1);
    gpb_request_set_timeout (request, 50);
    gpb_test_actor_refused (client, request, GPB_DEADLINE_EXCEEDED, "before it began");
    ck_assert_uint_eq (gpb_test_actor_in_flight (client), 0);
    //  Compiled it is, so the next one begins, and its time is up while it runs.
    request = gpb_request_execute ("endless");
    gpb_request_i32 (request, 1);
    gpb_request_set_timeout (request, 50);
    gpb_test_actor_refused (client, request, GPB_DEADLINE_EXCEEDED, "while the device worked");
    ck_assert_uint_eq (gpb_test_actor_in_flight (client), 1);
    gpb_test_actor_let_go (client);
    gpb_client_destroy (&client);
    gpb_test_actor_stop (&device);
}
END_TEST

GPB_TEST_MAIN ("gpb_device_work", 20, test_what_is_late_when_its_kernel_is_compiled_is_not_begun)
