//  Tests of gpb_tool: what a subcommand of gpb cannot do, it says, and its exit status says so too.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_tool.h"

#include "gpb_alloc.h"
#include "gpb_test.h"
#include "gpb_test_node.h"

#include <string.h>

#define ENDPOINT "inproc://tool"

static unsigned s_prints;

static int
s_print (const Gpb__V1__Reply *header, const gpb_arguments_t *arguments)
{
    (void) header;
    (void) arguments;
    s_prints++;
    return GPB_EXIT_OK;
}

START_TEST (test_an_answer_is_printed_unless_it_is_to_another_question)
{
    gpb_test_node_t node;
    gpb_test_use_fake (1, (uint64_t) 64 << 20);
    gpb_test_node_compose (&node, ENDPOINT, "backends", "fake");
    gpb_arguments_t arguments = { .node = ENDPOINT };
    ck_assert_int_eq (gpb_tool_ask (&arguments, gpb_request_hello (), GPB__V1__REPLY__BODY_HELLO,
                                    s_print),
                      GPB_EXIT_OK);
    ck_assert_uint_eq (s_prints, 1);
    ck_assert_int_eq (gpb_tool_ask (&arguments, gpb_request_hello (), GPB__V1__REPLY__BODY_STATS,
                                    s_print),
                      GPB_EXIT_FAILED);
    //  A refusal, and a request that was not made.
    ck_assert_int_eq (gpb_tool_ask (&arguments, gpb_request_kernels ("none"),
                                    GPB__V1__REPLY__BODY_KERNELS, s_print),
                      GPB_EXIT_FAILED);
    ck_assert_int_eq (gpb_tool_ask (&arguments, NULL, GPB__V1__REPLY__BODY_HELLO, s_print),
                      GPB_EXIT_FAILED);
    ck_assert_uint_eq (s_prints, 1);
    gpb_test_node_stop (&node);
}
END_TEST

START_TEST (test_a_node_that_is_no_endpoint_is_refused)
{
    gpb_arguments_t arguments = { .node = "nonsense" };
    ck_assert_int_eq (gpb_tool_ask (&arguments, gpb_request_hello (), GPB__V1__REPLY__BODY_HELLO,
                                    s_print),
                      GPB_EXIT_FAILED);
    ck_assert_uint_eq (s_prints, 0);
}
END_TEST

START_TEST (test_what_cannot_be_written_is_a_failure)
{
    ck_assert_int_eq (gpb_tool_flush (), GPB_EXIT_OK);
    ck_assert_ptr_nonnull (freopen ("/dev/full", "w", stdout));
    fputs ("an answer\n", stdout);
    ck_assert_int_eq (gpb_tool_flush (), GPB_EXIT_FAILED);
}
END_TEST

START_TEST (test_a_table_for_which_there_is_no_memory_is_a_failure)
{
    ck_assert_int_eq (gpb_tool_print_table (NULL), GPB_EXIT_FAILED);
    gpb_histogram_t histogram;
    gpb_histogram_reset (&histogram);
    gpb_histogram_record (&histogram, 1000);
    bool is_printed = false;
    for (int64_t after = 0; !is_printed; after++) {
        char *text = NULL;
        size_t size = 0;
        FILE *out = open_memstream (&text, &size);
        gpb_alloc_fail (after, 0);
        is_printed = gpb_tool_print_histogram (&histogram, out) == GPB_EXIT_OK;
        gpb_alloc_fail (-1, 0);
        fclose (out);
        ck_assert_int_eq (strstr (text, "COUNT") != NULL, is_printed);
        ck_assert_int_lt (after, 100);
        free (text);
    }
}
END_TEST

START_TEST (test_every_state_of_a_device_has_a_name)
{
    ck_assert_str_eq (gpb_tool_state_name (GPB__V1__DEVICE_STATE__STARTING), "starting");
    ck_assert_str_eq (gpb_tool_state_name (GPB__V1__DEVICE_STATE__READY), "ready");
    ck_assert_str_eq (gpb_tool_state_name (GPB__V1__DEVICE_STATE__LOST), "lost");
    ck_assert_str_eq (gpb_tool_state_name (GPB__V1__DEVICE_STATE__STOPPING), "stopping");
    ck_assert_str_eq (gpb_tool_state_name ((Gpb__V1__DeviceState) 99), "unknown");
}
END_TEST

START_TEST (test_every_state_of_a_persistent_kernel_has_a_name)
{
    static const char *const names [] = { "unloaded",  "resident", "parked", "quarantined",
                                          "on demand", "failed",   "stopped" };
    for (unsigned state = 0; state < sizeof names / sizeof names [0]; state++)
        ck_assert_str_eq (gpb_tool_residency_name ((Gpb__V1__ResidencyState) state), names [state]);
    ck_assert_str_eq (gpb_tool_residency_name ((Gpb__V1__ResidencyState) 99), "unknown");
}
END_TEST

START_TEST (test_a_row_of_percentiles_says_nothing_of_an_empty_histogram)
{
    static gpb_histogram_t histogram;
    static const double percents [] = { 50, 99.9 };
    gpb_error_t error;
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream (&text, &size);
    gpb_table_t *table = gpb_table_new ("TIME >COUNT >P50 >P99.9 >MAX");
    gpb_tool_add_percentiles (table, "empty", &histogram, percents, 2);
    gpb_histogram_record (&histogram, 1000);
    gpb_histogram_record (&histogram, 3000000);
    gpb_tool_add_percentiles (table, "full", &histogram, percents, 2);
    ck_assert_ok (gpb_table_print (table, out, &error));
    fclose (out);
    ck_assert_str_eq (text, "TIME   COUNT      P50    P99.9      MAX\n"
                            "empty      0        -        -        -\n"
                            "full       2  1.00 µs  3.00 ms  3.00 ms\n");
    free (text);
    gpb_table_destroy (&table);
    //  A table for which there was no memory is told by whoever prints it.
    gpb_tool_add_percentiles (NULL, "none", &histogram, percents, 2);
}
END_TEST

GPB_TEST_MAIN ("gpb_tool", 60, test_an_answer_is_printed_unless_it_is_to_another_question,
               test_a_node_that_is_no_endpoint_is_refused, test_what_cannot_be_written_is_a_failure,
               test_a_table_for_which_there_is_no_memory_is_a_failure,
               test_every_state_of_a_device_has_a_name,
               test_every_state_of_a_persistent_kernel_has_a_name,
               test_a_row_of_percentiles_says_nothing_of_an_empty_histogram)
