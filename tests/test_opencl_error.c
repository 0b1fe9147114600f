//  Tests of gpb_opencl_error: a code is told by its name, and whose fault it is by its status.

#include "gpb_opencl.h"
#include "gpb_test.h"

#include <string.h>

START_TEST (test_a_code_has_the_status_of_whose_fault_it_is)
{
    ck_assert_int_eq (gpb_opencl_status (CL_SUCCESS), GPB_OK);
    ck_assert_int_eq (gpb_opencl_status (CL_INVALID_ARG_SIZE), GPB_INVALID_ARGUMENT);
    ck_assert_int_eq (gpb_opencl_status (CL_BUILD_PROGRAM_FAILURE), GPB_INVALID_ARGUMENT);
    ck_assert_int_eq (gpb_opencl_status (CL_INVALID_KERNEL_NAME), GPB_NOT_FOUND);
    ck_assert_int_eq (gpb_opencl_status (CL_OUT_OF_RESOURCES), GPB_RESOURCE_EXHAUSTED);
    ck_assert_int_eq (gpb_opencl_status (CL_MEM_OBJECT_ALLOCATION_FAILURE), GPB_RESOURCE_EXHAUSTED);
    ck_assert_int_eq (gpb_opencl_status (CL_INVALID_MEM_OBJECT), GPB_INTERNAL);
}
END_TEST

START_TEST (test_a_queue_or_context_that_the_driver_no_longer_knows_is_a_lost_device)
{
    ck_assert_int_eq (gpb_opencl_status (CL_DEVICE_NOT_AVAILABLE), GPB_UNAVAILABLE);
    ck_assert_int_eq (gpb_opencl_status (CL_INVALID_COMMAND_QUEUE), GPB_UNAVAILABLE);
    ck_assert_int_eq (gpb_opencl_status (CL_INVALID_CONTEXT), GPB_UNAVAILABLE);
    ck_assert_int_eq (gpb_opencl_status (CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST),
                      GPB_UNAVAILABLE);
}
END_TEST

START_TEST (test_a_refusal_names_call_code_and_number)
{
    const gpb_backend_services_t services = { .error_set = gpb_error_set };
    gpb_error_t error;
    ck_assert_refused (gpb_opencl_refuse (&services, &error, CL_OUT_OF_HOST_MEMORY,
                                          "clCreateBuffer"),
                       GPB_RESOURCE_EXHAUSTED, "clCreateBuffer: CL_OUT_OF_HOST_MEMORY (-6)");
    ck_assert_int_eq (error.status, GPB_RESOURCE_EXHAUSTED);
}
END_TEST

START_TEST (test_a_code_of_the_drivers_own_is_told_too)
{
    const gpb_backend_services_t services = { .error_set = gpb_error_set };
    gpb_error_t error;
    ck_assert_refused (gpb_opencl_refuse (&services, &error, -9999, "clFinish"), GPB_INTERNAL,
                       "clFinish: a code of the driver's own (-9999)");
    ck_assert_str_eq (gpb_opencl_code_name (-1001), "CL_PLATFORM_NOT_FOUND_KHR");
}
END_TEST

GPB_TEST_MAIN ("gpb_opencl_error", 10, test_a_code_has_the_status_of_whose_fault_it_is,
               test_a_queue_or_context_that_the_driver_no_longer_knows_is_a_lost_device,
               test_a_refusal_names_call_code_and_number,
               test_a_code_of_the_drivers_own_is_told_too)
