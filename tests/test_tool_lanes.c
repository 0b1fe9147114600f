//  Tests of the commands that know persistent kernels, on a stand-in for a node that has one: run,
//  run --stream, bench and kernels, with what they print and how they end.

#include "gpb_invocation.h"
#include "gpb_test_lanes.h"

#include "gpb_alloc.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ELEMENTS 1000

static gpb_test_lanes_t s_lanes;
static zactor_t *s_actor;
static char s_folder [64];

//  Enters a folder with a file "in" of 0.0, 1.0..., beside a node.
static void
s_open (void)
{
    strcpy (s_folder, "/tmp/gpb_tool_lanes.XXXXXX");
    ck_assert_ptr_nonnull (mkdtemp (s_folder));
    ck_assert_int_eq (chdir (s_folder), 0);
    FILE *in = fopen ("in", "wb");
    for (size_t index = 0; index < ELEMENTS; index++) {
        float value = (float) index;
        fwrite (&value, sizeof value, 1, in);
    }
    fclose (in);
    gpb_test_lanes_open (&s_lanes);
    s_actor = zactor_new (gpb_test_lanes_serve, &s_lanes);
}

static void
s_close (void)
{
    zactor_destroy (&s_actor);
    gpb_test_lanes_close (&s_lanes);
    static const char *const files [] = { "in", "out", "stdout", "stderr" };
    for (size_t index = 0; index < sizeof files / sizeof files [0]; index++)
        unlink (files [index]);
    ck_assert_int_eq (chdir ("/tmp"), 0);
    ck_assert_int_eq (rmdir (s_folder), 0);
}

//  Runs a command as gpb would; its exit status. What it prints is in the files stdout and stderr.
static int
s_gpb (const char *line)
{
    static char text [512];
    static char *words [32];
    int count = 0;
    snprintf (text, sizeof text, "gpb --node %s %s", s_lanes.node.endpoint, line);
    for (char *word = strtok (text, " "); word; word = strtok (NULL, " "))
        words [count++] = word;
    words [count] = NULL;
    gpb_arguments_t arguments;
    gpb_error_t error;
    ck_assert_ok (gpb_arguments_parse (&arguments, count, words, &error));
    fflush (NULL);
    int out = dup (STDOUT_FILENO), err = dup (STDERR_FILENO);
    ck_assert_ptr_nonnull (freopen ("stdout", "w", stdout));
    ck_assert_ptr_nonnull (freopen ("stderr", "w", stderr));
    int result = -1;
    switch (arguments.command) {
    case GPB_COMMAND_KERNELS: result = gpb_tool_kernels (&arguments); break;
    case GPB_COMMAND_BENCH: result = gpb_tool_bench (&arguments); break;
    default: result = arguments.stream ? gpb_tool_stream (&arguments) : gpb_tool_run (&arguments);
    }
    fflush (NULL);
    dup2 (out, STDOUT_FILENO);
    dup2 (err, STDERR_FILENO);
    close (out);
    close (err);
    return result;
}

//  A file as text; valid until the next call.
static const char *
s_text (const char *name)
{
    static char text [16384];
    FILE *file = fopen (name, "rb");
    ck_assert_ptr_nonnull (file);
    text [fread (text, 1, sizeof text - 1, file)] = 0;
    fclose (file);
    return text;
}

static void
s_assert_has (const char *name, const char *part)
{
    ck_assert_msg (strstr (s_text (name), part) != NULL, "\"%s\" is not in %s:\n%s", part, name,
                   s_text (name));
}

static json_t *
s_json (void)
{
    json_t *object = json_loads (s_text ("stdout"), 0, NULL);
    ck_assert_ptr_nonnull (object);
    return object;
}

//  A number of an object, by keys with dots between.
static json_int_t
s_number (const json_t *object, const char *path)
{
    char keys [128];
    snprintf (keys, sizeof keys, "%s", path);
    for (char *key = strtok (keys, "."); key; key = strtok (NULL, "."))
        object = json_object_get (object, key);
    ck_assert_msg (json_is_integer (object), "%s is no number", path);
    return json_integer_value (object);
}

//  The output must be the first so many values, doubled.
static void
s_assert_doubled (size_t count)
{
    FILE *out = fopen ("out", "rb");
    ck_assert_ptr_nonnull (out);
    float value;
    for (size_t index = 0; index < count; index++) {
        ck_assert_uint_eq (fread (&value, sizeof value, 1, out), 1);
        ck_assert_float_eq (value, 2 * (float) index);
    }
    ck_assert_uint_eq (fread (&value, 1, 1, out), 0);
    fclose (out);
}

START_TEST (test_a_stream_is_written_in_order_and_says_where_its_time_went)
{
    s_lanes.has_clock = true;
    s_open ();
    ck_assert_int_eq (s_gpb ("run double in:in out:out --stream 9 --in-flight 20"), 0);
    s_assert_doubled (ELEMENTS);
    s_assert_has ("stdout", "112 messages in ");
    s_assert_has ("stdout", "0 on demand; the device's clock: tsc\n");
    s_assert_has ("stdout", "TIME        COUNT");
    s_assert_has ("stdout", "\nround trip    112");
    s_assert_has ("stdout", "\nhandler       112  3.00 µs  3.00 µs  3.00 µs  3.00 µs\n");
    s_assert_has ("stdout", "\nring          112  9.00 µs");
    ck_assert_str_eq (s_text ("stderr"), "");
    ck_assert (!s_lanes.messages [0].is_on_demand && !s_lanes.messages [0].has_lane);
    s_close ();
}
END_TEST

START_TEST (test_a_stream_is_told_to_scripts)
{
    s_lanes.has_clock = true;
    s_open ();
    ck_assert_int_eq (
        s_gpb (
            "--json run double in:in out:out --stream 64 --on-demand --lane 18446744073709551615"),
        0);
    s_assert_doubled (ELEMENTS);
    json_t *answer = s_json ();
    ck_assert_int_eq (s_number (answer, "count"), 16);
    ck_assert_int_eq (s_number (answer, "elements"), 64);
    ck_assert_int_eq (s_number (answer, "in_flight"), 64);
    ck_assert_int_eq (s_number (answer, "input_size"), ELEMENTS * 4);
    ck_assert_int_eq (s_number (answer, "size"), ELEMENTS * 4);
    ck_assert_int_eq (s_number (answer, "round_trip_ns.count"), 16);
    ck_assert_int_eq (s_number (answer, "message.on_demand"), 16);
    ck_assert_int_eq (s_number (answer, "message.queued_ns.max"), 1000);
    ck_assert_int_eq (s_number (answer, "message.taken_ns.max"), 2000);
    ck_assert_int_eq (s_number (answer, "message.back_ns.max"), 4000);
    ck_assert_int_gt (s_number (answer, "elapsed_ns"), 0);
    ck_assert_str_eq (json_string_value (json_object_get (answer, "node")), "lanes");
    json_decref (answer);
    ck_assert (s_lanes.messages [0].is_on_demand && s_lanes.messages [0].has_lane);
    ck_assert_uint_eq (s_lanes.messages [15].lane_key, UINT64_MAX);
    s_close ();
}
END_TEST

START_TEST (test_without_a_clock_no_time_is_zero)
{
    s_open ();
    ck_assert_int_eq (s_gpb ("run double in:in out:out --stream 500"), 0);
    s_assert_has ("stdout", "the device's clock: none\n");
    s_assert_has ("stdout", "\nhandler         0        -        -        -        -\n");
    s_assert_has ("stdout", "\nqueued          2  1.00 µs");
    ck_assert_int_eq (s_gpb ("--json run double in:in out:out"), 0);
    json_t *answer = s_json (), *message = json_object_get (answer, "message");
    ck_assert (json_is_false (json_object_get (message, "measured")));
    ck_assert (json_is_null (json_object_get (message, "handler_ns")));
    ck_assert_int_eq (s_number (answer, "message.ring_ns"), 9000);
    json_decref (answer);
    s_close ();
}
END_TEST

START_TEST (test_a_message_that_fails_says_its_number_and_what_was_written)
{
    s_lanes.fails_at = 11;
    s_open ();
    ck_assert_int_eq (s_gpb ("run double in:in out:out --stream 10"), 1);
    s_assert_has ("stderr", "gpb: DATA_LOSS: message 11: refused by the test\n");
    s_assert_has ("stderr", "gpb: the answers of 10 messages, 400 bytes, are in out; ");
    ck_assert_str_eq (s_text ("stdout"), "");
    s_assert_doubled (100);
    s_close ();
}
END_TEST

START_TEST (test_a_call_of_a_persistent_kernel_says_where_its_time_went)
{
    s_lanes.has_clock = true;
    s_open ();
    ck_assert_int_eq (s_gpb ("run double in:in out:out --on-demand --lane 0"), 0);
    s_assert_doubled (ELEMENTS);
    s_assert_has ("stdout",
                  "LANE  HOST-QUEUED    TAKEN  HANDLER     BACK     RING  CLOCK  LAUNCH\n");
    s_assert_has ("stdout",
                  "   0      1.00 µs  2.00 µs  3.00 µs  4.00 µs  9.00 µs  tsc    on demand\n");
    ck_assert (s_lanes.messages [0].is_on_demand && s_lanes.messages [0].has_lane);
    s_close ();
}
END_TEST

START_TEST (test_what_is_wrong_with_a_stream_is_said_before_its_output_is_touched)
{
    s_open ();
    static const struct {
        const char *line, *sentence;
    } bad [] = {
        { "run double in:in --stream 10", "double takes 2 arguments, not 1" },
        { "run double out:out in:in --stream 10", "it wants in:FILE" },
        { "run double in:in out:in --stream 10", "a stream wants two files" },
        { "run double in:missing out:out --stream 10", "missing: cannot be opened" },
        { "run double in:in out:out --stream 67108864", "which are 16777216 elements of f32" },
    };
    for (size_t index = 0; index < sizeof bad / sizeof bad [0]; index++) {
        ck_assert_int_eq (s_gpb (bad [index].line), 1);
        s_assert_has ("stderr", bad [index].sentence);
        ck_assert_int_ne (access ("out", F_OK), 0);
    }
    ck_assert_int_eq (s_gpb ("run double in:in in:in out:out --stream 10 --json"), 1);
    ck_assert_int_eq (s_gpb ("run double in:in out:- --stream 10 --json"), 2);
    ck_assert_uint_eq (s_lanes.count, 0);
    s_close ();
}
END_TEST

START_TEST (test_a_bench_counts_and_prints_percentiles)
{
    s_lanes.has_clock = true;
    s_lanes.fails_at = 7;
    s_open ();
    ck_assert_int_eq (s_gpb ("--json bench double --payload 8 --rate 60 --seconds 1 --lane 5"), 0);
    json_t *answer = s_json ();
    ck_assert_int_eq (s_number (answer, "rate"), 60);
    ck_assert_int_eq (s_number (answer, "scheduled"), 60);
    ck_assert_int_eq (s_number (answer, "sent"), 60);
    ck_assert_int_eq (s_number (answer, "answered"), 59);
    ck_assert_int_eq (s_number (answer, "failed"), 1);
    ck_assert_int_eq (s_number (answer, "unanswered"), 0);
    ck_assert_int_eq (s_number (answer, "latency_ns.count"), 59);
    ck_assert_int_ge (s_number (answer, "latency_ns.p999"), s_number (answer, "latency_ns.p99"));
    ck_assert_int_eq (s_number (answer, "lateness_ns.count"), 60);
    ck_assert_int_eq (s_number (answer, "message.handler_ns.max"), 3000);
    json_t *failure = json_array_get (json_object_get (answer, "failures"), 0);
    ck_assert_str_eq (json_string_value (json_object_get (failure, "status")), "DATA_LOSS");
    ck_assert_int_eq (s_number (failure, "count"), 1);
    json_decref (answer);
    //  The one that is not counted came first.
    ck_assert_uint_eq (s_lanes.count, 61);
    ck_assert_uint_eq (s_lanes.messages [60].size, 8);
    ck_assert_uint_eq (s_lanes.messages [60].lane_key, 5);
    s_close ();
}
END_TEST

START_TEST (test_a_bench_of_files_is_a_closed_loop)
{
    s_lanes.fails_at = 3;
    s_open ();
    ck_assert_int_eq (s_gpb ("bench double in:in out:out --in-flight 2 --seconds 1"), 0);
    s_assert_has ("stdout", "double: 2 in flight: ");
    s_assert_has ("stdout", "\nfailed: 1 DATA_LOSS\n");
    s_assert_has ("stdout", "P99.9");
    s_assert_has ("stdout", "\nround trip");
    ck_assert_ptr_null (strstr (s_text ("stdout"), "from its time"));
    ck_assert_uint_eq (s_lanes.messages [1].size, ELEMENTS * sizeof (float));
    ck_assert_int_ne (access ("out", F_OK), 0);
    //  Where nothing at all is answered there is nothing to measure.
    ck_assert_int_eq (s_gpb ("bench double in:in --seconds 1"), 1);
    s_assert_has ("stderr", "double takes 2 arguments, not 1");
    s_close ();
}
END_TEST

START_TEST (test_kernels_say_what_stays_where)
{
    s_open ();
    ck_assert_int_eq (s_gpb ("kernels"), 0);
    s_assert_has ("stdout", "double  1 resident, 1 failed  in:in out:out  twice every value\n");
    ck_assert_int_eq (s_gpb ("kernels double"), 0);
    s_assert_has ("stdout",
                  "persistent: 2 lanes of 256 slots of 96 B, with 0 B of state; on all\n");
    s_assert_has ("stdout", "\ndouble           0  resident      2       11         3        77");
    s_assert_has ("stdout", "254 µs");
    s_assert_has ("stdout", "DEVICE  LANE  STATE        ANSWERED  WAITING\n"
                            "     0     0  resident           70        3\n"
                            "     0     1  quarantined         7        0\n");
    s_assert_has ("stderr", "gpb: double on device 1 is failed: it does not compile\n");
    ck_assert_int_eq (s_gpb ("--json kernels double"), 0);
    json_t *answer = s_json ();
    json_t *kernel = json_array_get (json_object_get (answer, "kernels"), 0);
    json_t *list = json_object_get (json_object_get (kernel, "persistent"), "residencies");
    ck_assert_uint_eq (json_array_size (list), 2);
    ck_assert_int_eq (s_number (kernel, "persistent.slots"), 256);
    ck_assert_int_eq (s_number (json_array_get (list, 0), "waiting"), 11);
    ck_assert_int_eq (s_number (json_array_get (list, 0), "latency_ns.p50"), 254000);
    json_t *lanes = json_object_get (json_array_get (list, 0), "lanes");
    ck_assert_int_eq (s_number (json_array_get (lanes, 0), "answered"), 70);
    ck_assert_str_eq (json_string_value (json_object_get (json_array_get (list, 1), "reason")),
                      "it does not compile");
    json_decref (answer);
    s_close ();
}
END_TEST

GPB_TEST_MAIN ("gpb_tool_lanes", 60, test_a_stream_is_written_in_order_and_says_where_its_time_went,
               test_a_stream_is_told_to_scripts, test_without_a_clock_no_time_is_zero,
               test_a_message_that_fails_says_its_number_and_what_was_written,
               test_a_call_of_a_persistent_kernel_says_where_its_time_went,
               test_what_is_wrong_with_a_stream_is_said_before_its_output_is_touched,
               test_a_bench_counts_and_prints_percentiles, test_a_bench_of_files_is_a_closed_loop,
               test_kernels_say_what_stays_where)
