//  Tests of gpb_kernel_persistent: what a persistent kernel is once its definition is read, what a
//  node may set of it, and messages held against it.

#include "gpb_kernel.h"
#include "gpb_test.h"

#include <stdio.h>
#include <string.h>

#define ID "id = \"k\";\nsource = \"k.c\";\n"
#define PERSISTENT ID "persistent = true;\n"
#define IN(more) "{ name = \"a\"; direction = \"in\"; type = \"f32\"; " more " }"
#define OUT(more) "{ name = \"b\"; direction = \"out\"; type = \"f64\"; " more " }"
#define LIST(in, out) "parameters = (\n" in ",\n" out "\n);\n"
#define PARAMETERS LIST (IN (""), OUT ("count = \"count\";"))
#define WHOLE PERSISTENT PARAMETERS
#define WITH(in, out) PERSISTENT LIST (in, out)
#define GOOD_OUT OUT ("count = \"count\";")

static gpb_kernel_t *
s_parse (const char *definition)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_kernel_t *kernel = gpb_kernel_parse (definition, "the source", &error);
    ck_assert_msg (kernel != NULL, "%s", error.text);
    return kernel;
}

//  ---------------------------------------------------------------------------------------------------------
//  What it is

START_TEST (test_a_kernel_that_is_launched_for_each_request_is_not_persistent)
{
    static const char *const texts [] = {
        ID LIST (IN ("count = 1;"), OUT ("count = 1;")) "global = [ 1 ];",
        ID "persistent = false;" LIST (IN ("count = 1;"), OUT ("count = 1;")) "global = [ 1 ];",
    };
    for (size_t index = 0; index < 2; index++) {
        gpb_error_t error = { GPB_OK, "" };
        gpb_kernel_t *kernel = s_parse (texts [index]);
        ck_assert_ptr_null (gpb_kernel_persistent (kernel));
        ck_assert_ptr_null (gpb_kernel_persistent_device (kernel, 0));
        ck_assert (!gpb_kernel_persistent_on (kernel, 0, &(gpb_device_info_t){ .name = "" }));
        ck_assert_refused (gpb_kernel_persistent_set (kernel, "lanes", "2", &error),
                           GPB_INVALID_ARGUMENT,
                           "kernel \"k\": it is not persistent, and has no lanes");
        uint64_t size;
        ck_assert_refused (gpb_kernel_plan_message (kernel, &(gpb_kernel_call_t){ 0 }, &size,
                                                    &error),
                           GPB_FAILED_PRECONDITION, "takes no messages");
        gpb_kernel_destroy (&kernel);
    }
}
END_TEST

//  The input and 32 bytes of its request take whole pairs of cache lines.
START_TEST (test_a_slots_size_is_rounded_up)
{
    static const struct {
        const char *said;
        uint32_t size;
    } sizes [] = { { "32", 96 },     { "96", 96 },       { "97", 224 },
                   { "224", 224 },   { "225", 352 },     { "4064", 4064 },
                   { "4065", 4192 }, { "65376", 65376 }, { "65377", 65504 } };
    for (size_t index = 0; index < sizeof sizes / sizeof sizes [0]; index++) {
        gpb_error_t error = { GPB_OK, "" };
        char text [512];
        snprintf (text, sizeof text, "%sslot_size = %s;", WHOLE, sizes [index].said);
        gpb_kernel_t *kernel = s_parse (text);
        ck_assert_uint_eq (gpb_kernel_persistent (kernel)->slot_size, sizes [index].size);
        gpb_kernel_destroy (&kernel);
        kernel = s_parse (WHOLE);
        ck_assert_ok (gpb_kernel_persistent_set (kernel, "slot_size", sizes [index].said, &error));
        ck_assert_uint_eq (gpb_kernel_persistent (kernel)->slot_size, sizes [index].size);
        gpb_kernel_destroy (&kernel);
    }
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Where it may stay, and what a node sets

START_TEST (test_it_stays_where_its_devices_say)
{
    static const struct {
        const char *devices;
        unsigned index;
        bool stays;
    } cases [] = {
        { "all", 0, true },     { "all", 7, true },        { "2", 2, true },
        { "2", 1, false },      { "2", 20, false },        { "002", 2, true },
        { "gpu", 0, true },     { "gp", 0, false },        { "cpu", 0, false },
        { "cpu|gpu", 5, true }, { "cpu|3|fp16", 3, true }, { "cpu|3|fp16", 0, true },
        { "cpu|3", 0, false },
    };
    const gpb_device_info_t info = { .capabilities_count = 2, .capabilities = { "gpu", "fp16" } };
    for (size_t index = 0; index < sizeof cases / sizeof cases [0]; index++) {
        gpb_error_t error = { GPB_OK, "" };
        gpb_kernel_t *kernel = s_parse (WHOLE);
        ck_assert_ok (gpb_kernel_persistent_set (kernel, "devices", cases [index].devices, &error));
        ck_assert_msg (gpb_kernel_persistent_on (kernel, cases [index].index, &info)
                           == cases [index].stays,
                       "\"%s\" and device %u", cases [index].devices, cases [index].index);
        gpb_kernel_destroy (&kernel);
    }
}
END_TEST

START_TEST (test_a_node_sets_what_the_package_said_otherwise)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_kernel_t *kernel = s_parse (WHOLE "devices = [ \"a\", \"b\", \"c\" ];");
    ck_assert_ok (gpb_kernel_persistent_set (kernel, "lanes", "4", &error));
    ck_assert_ok (gpb_kernel_persistent_set (kernel, "slots", "1024", &error));
    ck_assert_ok (gpb_kernel_persistent_set (kernel, "slot_size", "1000", &error));
    ck_assert_ok (gpb_kernel_persistent_set (kernel, "devices", "gpu|1", &error));
    const gpb_persistent_t *persistent = gpb_kernel_persistent (kernel);
    ck_assert_uint_eq (persistent->lanes, 4);
    ck_assert_uint_eq (persistent->slots, 1024);
    ck_assert_uint_eq (persistent->slot_size, 1120);
    ck_assert_str_eq (gpb_kernel_persistent_device (kernel, 0), "gpu");
    ck_assert_str_eq (gpb_kernel_persistent_device (kernel, 1), "1");
    ck_assert_ptr_null (gpb_kernel_persistent_device (kernel, 2));
    gpb_kernel_destroy (&kernel);
}
END_TEST

//  An input without a maximum is as large as its slot; one with a maximum stays as it is.
START_TEST (test_a_slots_size_bounds_the_input_where_no_maximum_does)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_kernel_t *kernel = s_parse (WHOLE);
    ck_assert_ok (gpb_kernel_persistent_set (kernel, "slot_size", "225", &error));
    ck_assert_uint_eq (gpb_kernel_persistent (kernel)->input_max, 352);
    ck_assert_uint_eq (gpb_kernel_persistent (kernel)->output_max, 2 * 352);
    gpb_kernel_destroy (&kernel);
    kernel = s_parse (WITH (IN ("maximum = 5;"), GOOD_OUT));
    ck_assert_ok (gpb_kernel_persistent_set (kernel, "slot_size", "225", &error));
    ck_assert_uint_eq (gpb_kernel_persistent (kernel)->input_max, 20);
    gpb_kernel_destroy (&kernel);
}
END_TEST

START_TEST (test_what_a_node_sets_out_of_bounds_is_refused_and_nothing_changes)
{
    static const struct {
        const char *name, *value, *sentence;
    } cases [] = {
        { "lanes", "0",
          "kernel \"k\": lanes is a whole number from 1 to 32, and here it is \"0\"" },
        { "lanes", "33", "lanes is a whole number from 1 to 32" },
        { "lanes", "", "here it is \"\"" },
        { "lanes", "1x", "here it is \"1x\"" },
        { "lanes", "-1", "here it is \"-1\"" },
        { "lanes", "4294967297", "here it is \"4294967297\"" },
        { "slots", "1", "slots is a whole number from 2 to 65536" },
        { "slots", "100", "slots is a power of two, and here it is 100" },
        { "slots", "131072", "slots is a whole number from 2 to 65536" },
        { "slot_size", "31", "slot_size is a whole number from 32 to 65504" },
        { "slot_size", "65505", "slot_size is a whole number from 32 to 65504" },
        { "slot_size", "4064", "count of \"b\" for 1016 elements of input" },
        { "devices", "", "with a | between them, and here one is \"\"" },
        { "devices", "gpu|", "and here one is \"\"" },
        { "devices", "gpu|GPU", "and here one is \"GPU\"" },
        { "devices", "gpu|a_word_of_more_than_31_characters", "and here one is \"a_word_of_more" },
        { "state", "1", "there is no setting \"state\"; the settings are lanes, slots, slot_size" },
        { "", "1", "there is no setting \"\"" },
    };
    gpb_kernel_t *kernel = s_parse (WITH (IN (""), OUT ("count = \"100 - count\";")));
    const gpb_persistent_t before = *gpb_kernel_persistent (kernel);
    for (size_t index = 0; index < sizeof cases / sizeof cases [0]; index++) {
        gpb_error_t error = { GPB_OK, "" };
        ck_assert_refused (gpb_kernel_persistent_set (kernel, cases [index].name,
                                                      cases [index].value, &error),
                           GPB_INVALID_ARGUMENT, cases [index].sentence);
        ck_assert_mem_eq (&before, gpb_kernel_persistent (kernel), sizeof before);
        ck_assert_str_eq (gpb_kernel_persistent_device (kernel, 0), "all");
        ck_assert_ptr_null (gpb_kernel_persistent_device (kernel, 1));
    }
    char many [65 * 4 + 1] = "";
    for (unsigned index = 0; index < 65; index++)
        snprintf (many + strlen (many), sizeof many - strlen (many), "%s%u", index ? "|" : "",
                  index + 10);
    gpb_error_t error = { GPB_OK, "" };
    ck_assert_refused (gpb_kernel_persistent_set (kernel, "devices", many, &error),
                       GPB_INVALID_ARGUMENT, "devices has at most 64 words");
    many [strlen (many) - 3] = 0;
    ck_assert_ok (gpb_kernel_persistent_set (kernel, "devices", many, &error));
    ck_assert_str_eq (gpb_kernel_persistent_device (kernel, 63), "73");
    ck_assert_ptr_null (gpb_kernel_persistent_device (kernel, 64));
    gpb_kernel_destroy (&kernel);
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Messages

static gpb_status_t
s_plan (const gpb_kernel_t *kernel, uint64_t input_size, uint64_t wanted, uint64_t *size_p,
        gpb_error_t *error)
{
    const gpb_value_t values [2] = { { .kind = GPB_VALUE_PAYLOAD, .size = input_size },
                                     { .kind = GPB_VALUE_OUTPUT, .size = wanted } };
    const gpb_kernel_call_t call = { .values = values, .values_count = 2 };
    return gpb_kernel_plan_message (kernel, &call, size_p, error);
}

START_TEST (test_a_messages_output_follows_from_how_much_came)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_kernel_t *kernel =
        s_parse (WITH (IN ("maximum = 100;"), OUT ("count = \"min (count, 16)\";")));
    uint64_t size;
    ck_assert_ok (s_plan (kernel, 4, 0, &size, &error));
    ck_assert_uint_eq (size, 8);
    ck_assert_ok (s_plan (kernel, 400, 0, &size, &error));
    ck_assert_uint_eq (size, 128);
    ck_assert_ok (s_plan (kernel, 400, 128, &size, &error));
    ck_assert_uint_eq (size, 128);
    ck_assert_ok (s_plan (kernel, 400, 4096, &size, &error));
    ck_assert_uint_eq (size, 128);
    ck_assert_ok (s_plan (kernel, 0, 0, &size, &error));
    ck_assert_uint_eq (size, 0);
    gpb_kernel_destroy (&kernel);
}
END_TEST

START_TEST (test_a_message_that_does_not_fit_is_refused_with_what_would)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_kernel_t *kernel = s_parse (WITH (IN ("maximum = 100;"), GOOD_OUT));
    uint64_t size;
    ck_assert_refused (s_plan (kernel, 404, 0, &size, &error), GPB_INVALID_ARGUMENT,
                       "kernel \"k\": argument 0, a: has at most 100 elements of f32, 400 bytes, "
                       "and 404 bytes were given");
    ck_assert_refused (s_plan (kernel, UINT64_MAX - 3, 0, &size, &error), GPB_INVALID_ARGUMENT,
                       "18446744073709551612 bytes were given");
    ck_assert_refused (s_plan (kernel, 42, 0, &size, &error), GPB_INVALID_ARGUMENT,
                       "argument 0, a: is of whole elements of f32, 4 bytes, and 42 bytes were");
    ck_assert_refused (s_plan (kernel, 40, 79, &size, &error), GPB_INVALID_ARGUMENT,
                       "argument 1, b: may have 80 bytes (count of f64), and an output of 79 was");
    gpb_kernel_destroy (&kernel);
    kernel = s_parse (WITH (IN (""), OUT ("count = \"count - 1\";")));
    ck_assert_refused (s_plan (kernel, 0, 0, &size, &error), GPB_INVALID_ARGUMENT,
                       "kernel \"k\": argument 1: count of \"b\" for 0 elements of input: ");
    gpb_kernel_destroy (&kernel);
    //  More for less: what the largest input's output says nothing about.
    kernel = s_parse (WITH (IN (""), OUT ("count = \"200000000 / count\";")));
    ck_assert_refused (s_plan (kernel, 4, 0, &size, &error), GPB_INVALID_ARGUMENT,
                       "argument 1: \"b\" has 200000000 elements of f64 for 1 of input");
    gpb_kernel_destroy (&kernel);
}
END_TEST

START_TEST (test_a_message_brings_a_payload_and_wants_an_output_and_that_is_all)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_kernel_t *kernel = s_parse (WHOLE);
    gpb_value_t values [3] = { { .kind = GPB_VALUE_PAYLOAD, .size = 4 },
                               { .kind = GPB_VALUE_OUTPUT },
                               { .kind = GPB_VALUE_SCALAR } };
    gpb_kernel_call_t call = { .values = values, .values_count = 3 };
    uint64_t size;
    ck_assert_refused (gpb_kernel_plan_message (kernel, &call, &size, &error), GPB_INVALID_ARGUMENT,
                       "kernel \"k\": takes 2 arguments, the payload a and the output b, and 3 "
                       "were given");
    call.values_count = 0;
    ck_assert_refused (gpb_kernel_plan_message (kernel, &call, &size, &error), GPB_INVALID_ARGUMENT,
                       "and 0 were given");
    call.values_count = 2;
    ck_assert_ok (gpb_kernel_plan_message (kernel, &call, &size, &error));
    values [0].kind = GPB_VALUE_BUFFER;
    ck_assert_refused (gpb_kernel_plan_message (kernel, &call, &size, &error), GPB_INVALID_ARGUMENT,
                       "kernel \"k\": argument 0, a: is a payload, and a buffer was given");
    values [0].kind = GPB_VALUE_PAYLOAD;
    values [1].kind = GPB_VALUE_BUFFER;
    ck_assert_refused (gpb_kernel_plan_message (kernel, &call, &size, &error), GPB_INVALID_ARGUMENT,
                       "argument 1, b: is an output, and a buffer was given");
    values [1].kind = GPB_VALUE_OUTPUT;
    call.dimensions = 1;
    ck_assert_refused (gpb_kernel_plan_message (kernel, &call, &size, &error), GPB_INVALID_ARGUMENT,
                       "is persistent, and a message has no global size of its own");
    call.dimensions = 0;
    call.local_dimensions = 1;
    ck_assert_refused (gpb_kernel_plan_message (kernel, &call, &size, &error), GPB_INVALID_ARGUMENT,
                       "no local size of its own");
    call.local_dimensions = 0;
    call.has_shared = true;
    ck_assert_refused (gpb_kernel_plan_message (kernel, &call, &size, &error), GPB_INVALID_ARGUMENT,
                       "no dynamic local memory of its own");
    gpb_kernel_destroy (&kernel);
}
END_TEST

START_TEST (test_a_launch_of_a_persistent_kernel_is_refused)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_kernel_t *kernel = s_parse (WHOLE);
    const gpb_value_t values [2] = { { .kind = GPB_VALUE_PAYLOAD, .size = 4 },
                                     { .kind = GPB_VALUE_OUTPUT } };
    const gpb_kernel_call_t call = { .values = values, .values_count = 2 };
    gpb_kernel_plan_t plan;
    ck_assert_refused (gpb_kernel_plan (kernel, &call, NULL, &plan, &error),
                       GPB_FAILED_PRECONDITION, "kernel \"k\": is persistent: it takes messages");
    gpb_kernel_destroy (&kernel);
}
END_TEST

GPB_TEST_MAIN ("gpb_kernel_persistent", 10,
               test_a_kernel_that_is_launched_for_each_request_is_not_persistent,
               test_a_slots_size_is_rounded_up, test_it_stays_where_its_devices_say,
               test_a_node_sets_what_the_package_said_otherwise,
               test_a_slots_size_bounds_the_input_where_no_maximum_does,
               test_what_a_node_sets_out_of_bounds_is_refused_and_nothing_changes,
               test_a_messages_output_follows_from_how_much_came,
               test_a_message_that_does_not_fit_is_refused_with_what_would,
               test_a_message_brings_a_payload_and_wants_an_output_and_that_is_all,
               test_a_launch_of_a_persistent_kernel_is_refused)
