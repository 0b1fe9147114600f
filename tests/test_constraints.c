//  Tests of gpb_constraints: what a request asks of its device.

#include "gpb_test.h"

#include "gpb_constraints.h"
#include "gpb_lease.h"

#include <stdlib.h>

#define DEVICES 3

static gpb_error_t error;
static gpb_kernels_t *s_kernels;
static gpb_constraints_t s_constraints;
static Gpb__V1__Request s_request;
static gpb_message_t s_message;

static gpb_status_t
s_read (Gpb__V1__Request__BodyCase kind)
{
    s_request.body_case = kind;
    gpb_call_t call = { .request = &s_request, .message = &s_message };
    return gpb_constraints_read (&s_constraints, &call, s_kernels, DEVICES, &error);
}

static void
s_open (void)
{
    s_kernels = gpb_kernels_new (getenv ("GPB_KERNEL_PATH"), &error);
    gpb__v1__request__init (&s_request);
    gpb_message_init (&s_message);
}

static void
s_close (void)
{
    gpb_message_clear (&s_message);
    gpb_kernels_destroy (&s_kernels);
}

START_TEST (test_an_execute_asks_for_kernel_capabilities_memory_and_device)
{
    s_open ();
    Gpb__V1__Execute execute = GPB__V1__EXECUTE__INIT;
    Gpb__V1__Argument output = GPB__V1__ARGUMENT__INIT, buffer = GPB__V1__ARGUMENT__INIT;
    Gpb__V1__Output size = GPB__V1__OUTPUT__INIT;
    Gpb__V1__BufferRange range = GPB__V1__BUFFER_RANGE__INIT;
    Gpb__V1__Argument *arguments [] = { &output, &buffer };
    char *require [] = { (char *) "fp64" };
    execute.kernel = (char *) "vector_add";
    execute.memory = 1000;
    execute.require = require;
    execute.n_require = 1;
    execute.arguments = arguments;
    execute.n_arguments = 1;
    output.value_case = GPB__V1__ARGUMENT__VALUE_OUTPUT;
    output.output = &size;
    size.size = 70;
    buffer.value_case = GPB__V1__ARGUMENT__VALUE_BUFFER;
    buffer.buffer = &range;
    s_request.execute = &execute;
    zmq_msg_t payload;
    zmq_msg_init_size (&payload, 5);
    gpb_message_add (&s_message, &payload, &error);
    zmq_msg_close (&payload);

    ck_assert_ok (s_read (GPB__V1__REQUEST__BODY_EXECUTE));
    ck_assert (!s_constraints.has_device);
    ck_assert_str_eq (gpb_kernel_id (s_constraints.kernel), "vector_add");
    ck_assert_uint_eq (s_constraints.memory, 1075);
    ck_assert_uint_eq (s_constraints.require_count, 1);
    ck_assert_str_eq (s_constraints.require [0], "fp64");

    execute.placement_case = GPB__V1__EXECUTE__PLACEMENT_DEVICE;
    execute.device = 77;    //  whether there is one is for the placement to say
    ck_assert_ok (s_read (GPB__V1__REQUEST__BODY_EXECUTE));
    ck_assert (s_constraints.has_device);
    ck_assert_uint_eq (s_constraints.device, 77);

    execute.n_arguments = 2;
    range.handle = gpb_handle_make (1, 99);
    ck_assert_refused (s_read (GPB__V1__REQUEST__BODY_EXECUTE), GPB_FAILED_PRECONDITION,
                       "device 77 and a buffer of device 1");
    execute.device = 1;
    ck_assert_ok (s_read (GPB__V1__REQUEST__BODY_EXECUTE));
    execute.placement_case = GPB__V1__EXECUTE__PLACEMENT__NOT_SET;
    ck_assert_ok (s_read (GPB__V1__REQUEST__BODY_EXECUTE));
    ck_assert (s_constraints.has_device);
    ck_assert_uint_eq (s_constraints.device, 1);

    size.size = UINT64_MAX;    //  saturates
    ck_assert_ok (s_read (GPB__V1__REQUEST__BODY_EXECUTE));
    ck_assert_uint_eq (s_constraints.memory, UINT64_MAX);
    execute.kernel = (char *) "none";
    ck_assert_refused (s_read (GPB__V1__REQUEST__BODY_EXECUTE), GPB_NOT_FOUND, "kernel none");
    s_close ();
}
END_TEST

START_TEST (test_a_rent_asks_for_memory)
{
    s_open ();
    char *require [] = { (char *) "fp64" };
    Gpb__V1__Rent rent = GPB__V1__RENT__INIT;
    rent.size = 4096;
    rent.require = require;
    rent.n_require = 1;
    s_request.rent = &rent;
    ck_assert_ok (s_read (GPB__V1__REQUEST__BODY_RENT));
    ck_assert_uint_eq (s_constraints.memory, 4096);
    ck_assert_uint_eq (s_constraints.require_count, 1);
    ck_assert_ptr_null (s_constraints.kernel);
    ck_assert (!s_constraints.has_device);
    rent.placement_case = GPB__V1__RENT__PLACEMENT_DEVICE;
    ck_assert_ok (s_read (GPB__V1__REQUEST__BODY_RENT));
    ck_assert (s_constraints.has_device);
    ck_assert_uint_eq (s_constraints.device, 0);
    s_close ();
}
END_TEST

START_TEST (test_a_handle_binds_to_its_device)
{
    s_open ();
    Gpb__V1__Release release = GPB__V1__RELEASE__INIT;
    Gpb__V1__Read read = GPB__V1__READ__INIT;
    Gpb__V1__Write write = GPB__V1__WRITE__INIT;
    Gpb__V1__Map map = GPB__V1__MAP__INIT;
    Gpb__V1__Unmap unmap = GPB__V1__UNMAP__INIT;
    Gpb__V1__Copy copy = GPB__V1__COPY__INIT;
    const struct {
        Gpb__V1__Request__BodyCase kind;
        void *body;
        uint64_t *handle;
    } table [] = {
        { GPB__V1__REQUEST__BODY_RELEASE, &release, &release.handle },
        { GPB__V1__REQUEST__BODY_READ, &read, &read.handle },
        { GPB__V1__REQUEST__BODY_WRITE, &write, &write.handle },
        { GPB__V1__REQUEST__BODY_MAP, &map, &map.handle },
        { GPB__V1__REQUEST__BODY_UNMAP, &unmap, &unmap.handle },
        { GPB__V1__REQUEST__BODY_COPY, &copy, &copy.source },
        { GPB__V1__REQUEST__BODY_COPY, &copy, &copy.target },
    };
    for (size_t index = 0; index < sizeof table / sizeof table [0]; index++) {
        s_request.release = table [index].body;    //  a union of pointers
        copy.source = copy.target = gpb_handle_make (2, 7);
        *table [index].handle = gpb_handle_make (2, 9);
        ck_assert_ok (s_read (table [index].kind));
        ck_assert (s_constraints.has_device);
        ck_assert_uint_eq (s_constraints.device, 2);
        *table [index].handle = gpb_handle_make (DEVICES, 9);
        ck_assert_refused (s_read (table [index].kind), GPB_NOT_FOUND, "0300000000000009");
    }
    copy.source = gpb_handle_make (0, 7);
    copy.target = gpb_handle_make (1, 7);
    ck_assert_refused (s_read (GPB__V1__REQUEST__BODY_COPY), GPB_FAILED_PRECONDITION,
                       "must be on one");
    ck_assert_int_eq (s_read (GPB__V1__REQUEST__BODY_HELLO), GPB_INTERNAL);
    s_close ();
}
END_TEST

//  Its messages' payloads take memory that is there already; what is asked for beside is asked for.
START_TEST (test_a_persistent_kernel_takes_no_memory_for_its_messages)
{
    s_open ();
    Gpb__V1__Execute execute = GPB__V1__EXECUTE__INIT;
    Gpb__V1__Argument output = GPB__V1__ARGUMENT__INIT, *arguments [] = { &output };
    Gpb__V1__Output size = GPB__V1__OUTPUT__INIT;
    s_request.execute = &execute;
    execute.kernel = (char *) "echo";
    execute.memory = 1000;
    execute.arguments = arguments;
    execute.n_arguments = 1;
    output.value_case = GPB__V1__ARGUMENT__VALUE_OUTPUT;
    output.output = &size;
    size.size = 70;
    zmq_msg_t payload;
    zmq_msg_init_size (&payload, 500);
    ck_assert_ok (gpb_message_add (&s_message, &payload, &error));
    ck_assert_ok (s_read (GPB__V1__REQUEST__BODY_EXECUTE));
    ck_assert (s_constraints.is_hosted);
    ck_assert_uint_eq (s_constraints.memory, 1000);
    ck_assert_uint_eq (s_constraints.lane, 0);
    s_close ();
}
END_TEST

START_TEST (test_a_lane_is_of_its_key_and_its_kernel)
{
    s_open ();
    Gpb__V1__Execute execute = GPB__V1__EXECUTE__INIT;
    s_request.execute = &execute;
    execute.lane_case = GPB__V1__EXECUTE__LANE_LANE_KEY;
    uint64_t lanes [4];
    for (unsigned number = 0; number < 4; number++) {
        execute.kernel = (char *) (number & 1 ? "double" : "echo");
        execute.lane_key = number & 2;    //  0 is a key, too
        ck_assert_ok (s_read (GPB__V1__REQUEST__BODY_EXECUTE));
        lanes [number] = s_constraints.lane;
        ck_assert_uint_ne (lanes [number], 0);
        for (unsigned other = 0; other < number; other++)
            ck_assert_uint_ne (lanes [number], lanes [other]);
        ck_assert_ok (s_read (GPB__V1__REQUEST__BODY_EXECUTE));
        ck_assert_uint_eq (s_constraints.lane, lanes [number]);
    }
    s_close ();
}
END_TEST

START_TEST (test_what_only_persistent_kernels_take_is_refused_for_others)
{
    s_open ();
    Gpb__V1__Execute execute = GPB__V1__EXECUTE__INIT;
    s_request.execute = &execute;
    execute.kernel = (char *) "vector_add";
    execute.lane_case = GPB__V1__EXECUTE__LANE_LANE_KEY;
    ck_assert_refused (s_read (GPB__V1__REQUEST__BODY_EXECUTE), GPB_INVALID_ARGUMENT,
                       "lane_key is for persistent kernels: vector_add is launched");
    execute.lane_case = GPB__V1__EXECUTE__LANE__NOT_SET;
    execute.on_demand = true;
    ck_assert_refused (s_read (GPB__V1__REQUEST__BODY_EXECUTE), GPB_INVALID_ARGUMENT,
                       "on_demand is for persistent kernels: vector_add is launched");
    execute.kernel = (char *) "echo";
    ck_assert_ok (s_read (GPB__V1__REQUEST__BODY_EXECUTE));
    s_close ();
}
END_TEST

GPB_TEST_MAIN ("gpb_constraints", 20,
               test_an_execute_asks_for_kernel_capabilities_memory_and_device,
               test_a_rent_asks_for_memory, test_a_handle_binds_to_its_device,
               test_a_persistent_kernel_takes_no_memory_for_its_messages,
               test_a_lane_is_of_its_key_and_its_kernel,
               test_what_only_persistent_kernels_take_is_refused_for_others)
