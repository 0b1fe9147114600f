//  Tests of gpb_arguments: every command line of gpb(1) is read, and every wrong one is refused
//  with what would be right.

#include "gpb_arguments.h"
#include "gpb_test.h"

#include <string.h>

#define WORDS_MAX 32

//  Cuts a command line at its blanks, into storage that lives until the next call.
static gpb_status_t
s_parse (gpb_arguments_t *arguments, const char *line, gpb_error_t *error)
{
    static char text [512];
    static char *words [WORDS_MAX + 1];
    int count = 0;
    ck_assert_uint_lt (strlen (line), sizeof text);
    strcpy (text, line);
    for (char *word = strtok (text, " "); word; word = strtok (NULL, " ")) {
        ck_assert_int_lt (count, WORDS_MAX);
        words [count++] = word;
    }
    words [count] = NULL;
    return gpb_arguments_parse (arguments, count, words, error);
}

START_TEST (test_a_run_is_read_whole)
{
    gpb_error_t error;
    gpb_arguments_t is;
    ck_assert_ok (s_parse (&is,
                           "gpb --node tcp://a:1 run vector_add in:a --global 640,480 out:c "
                           "--local=8,4,2 --shared 0 i32:7 --device 3 --require fp64,gpu "
                           "--require=x",
                           &error));
    ck_assert_int_eq (is.command, GPB_COMMAND_RUN);
    ck_assert_str_eq (is.node, "tcp://a:1");
    ck_assert_str_eq (is.subject, "vector_add");
    ck_assert_uint_eq (is.operands_count, 3);
    ck_assert_str_eq (is.operands [0], "in:a");
    ck_assert_str_eq (is.operands [1], "out:c");
    ck_assert_str_eq (is.operands [2], "i32:7");
    ck_assert_uint_eq (is.global_dimensions, 2);
    ck_assert_uint_eq (is.global [0], 640);
    ck_assert_uint_eq (is.global [1], 480);
    ck_assert_uint_eq (is.local_dimensions, 3);
    ck_assert_uint_eq (is.local [2], 2);
    ck_assert (is.has_shared && is.has_device && !is.json);
    ck_assert_uint_eq (is.shared, 0);
    ck_assert_uint_eq (is.device, 3);
    ck_assert_uint_eq (is.require_count, 3);
    ck_assert_str_eq (is.require [0], "fp64");
    ck_assert_str_eq (is.require [1], "gpu");
    ck_assert_str_eq (is.require [2], "x");
    ck_assert_uint_eq (is.repeat, 1);
    ck_assert_uint_eq (is.timeout_ms, 0);

    ck_assert_ok (
        s_parse (&is, "gpb run k --repeat 100 --timeout 4294967295 --memory 5 --json", &error));
    ck_assert_uint_eq (is.repeat, 100);
    ck_assert_uint_eq (is.timeout_ms, UINT32_MAX);
    ck_assert_uint_eq (is.memory, 5);
    ck_assert (is.json && !is.has_shared && !is.has_device);
    ck_assert_uint_eq (is.operands_count, 0);
    ck_assert_uint_eq (is.global_dimensions, 0);
    ck_assert_int_eq (is.priority, 0);
    ck_assert (!is.idempotent);
    ck_assert_uint_eq (is.reservation, 0);

    ck_assert_ok (s_parse (&is,
                           "gpb run k --priority -3 --idempotent --reservation "
                           "0xffffffffffffffff",
                           &error));
    ck_assert_int_eq (is.priority, -3);
    ck_assert (is.idempotent);
    ck_assert_uint_eq (is.reservation, UINT64_MAX);
    ck_assert_ok (s_parse (&is, "gpb run k --priority=3 --reservation 12", &error));
    ck_assert_int_eq (is.priority, 3);
    ck_assert_uint_eq (is.reservation, 12);
}
END_TEST

START_TEST (test_a_stream_is_read)
{
    gpb_error_t error;
    gpb_arguments_t is;
    ck_assert_ok (s_parse (&is, "gpb run double in:a out:b --stream 1024", &error));
    ck_assert_uint_eq (is.stream, 1024);
    ck_assert_uint_eq (is.in_flight, 64);
    ck_assert (!is.on_demand && !is.has_lane);
    ck_assert_ok (s_parse (&is,
                           "gpb run k --stream 67108864 --in-flight 32768 --on-demand --lane "
                           "18446744073709551615",
                           &error));
    ck_assert_uint_eq (is.in_flight, 32768);
    ck_assert (is.on_demand && is.has_lane);
    ck_assert_uint_eq (is.lane, UINT64_MAX);
    //  One call may choose too, and 0 is a key.
    ck_assert_ok (s_parse (&is, "gpb run double in:a out:b --lane 0", &error));
    ck_assert (is.has_lane);
    ck_assert_uint_eq (is.lane, 0);
    ck_assert_uint_eq (is.stream, 0);
}
END_TEST

START_TEST (test_a_bench_is_read)
{
    gpb_error_t error;
    gpb_arguments_t is;
    ck_assert_ok (s_parse (&is, "gpb bench vector_add in:a in:b out:c i32:5", &error));
    ck_assert_int_eq (is.command, GPB_COMMAND_BENCH);
    ck_assert_str_eq (is.subject, "vector_add");
    ck_assert_uint_eq (is.operands_count, 4);
    ck_assert_uint_eq (is.rate, 0);
    ck_assert_uint_eq (is.seconds, 10);
    ck_assert_uint_eq (is.in_flight, 64);
    ck_assert (!is.has_payload);
    //  On schedule, what is in flight is to bound nothing but memory.
    ck_assert_ok (s_parse (&is, "gpb bench k --rate 10000000 --seconds 1 --payload 0", &error));
    ck_assert_uint_eq (is.rate, 10000000);
    ck_assert_uint_eq (is.seconds, 1);
    ck_assert_uint_eq (is.in_flight, 16384);
    ck_assert (is.has_payload);
    ck_assert_uint_eq (is.payload, 0);
    ck_assert_ok (s_parse (&is,
                           "gpb bench k --rate 5 --in-flight 2 --global 4 --local 2 --shared 8 "
                           "--device 1 --priority -1 --idempotent --reservation 7 --lane 3 "
                           "--on-demand --require gpu --memory 9 --timeout 100",
                           &error));
    ck_assert_uint_eq (is.in_flight, 2);
    ck_assert (is.on_demand && is.has_lane && is.has_device && is.idempotent);
}
END_TEST

START_TEST (test_the_other_commands_are_read)
{
    gpb_error_t error;
    gpb_arguments_t is;
    ck_assert_ok (s_parse (&is, "gpb devices", &error));
    ck_assert_int_eq (is.command, GPB_COMMAND_DEVICES);
    ck_assert_ptr_null (is.node);
    ck_assert_ok (s_parse (&is, "gpb kernels --json", &error));
    ck_assert_int_eq (is.command, GPB_COMMAND_KERNELS);
    ck_assert_ptr_null (is.subject);
    ck_assert_ok (s_parse (&is, "gpb kernels sobel", &error));
    ck_assert_str_eq (is.subject, "sobel");
    ck_assert_ok (s_parse (&is, "gpb stats --timeout 10", &error));
    ck_assert_int_eq (is.command, GPB_COMMAND_STATS);
    ck_assert_ok (s_parse (&is, "gpb top", &error));
    ck_assert_int_eq (is.command, GPB_COMMAND_TOP);
    ck_assert_uint_eq (is.interval_ms, 1000);
    ck_assert_uint_eq (is.count, 0);
    ck_assert_ok (s_parse (&is, "gpb top --interval 10 --count 3 --json", &error));
    ck_assert_uint_eq (is.interval_ms, 10);
    ck_assert_uint_eq (is.count, 3);
    ck_assert_ok (s_parse (&is, "gpb reserve --memory 4096 --device 1 --require fp64", &error));
    ck_assert_int_eq (is.command, GPB_COMMAND_RESERVE);
    ck_assert_uint_eq (is.memory, 4096);
    ck_assert_uint_eq (is.device, 1);
    ck_assert_uint_eq (is.require_count, 1);
    ck_assert_uint_eq (is.for_ms, 0);
    ck_assert_ok (s_parse (&is, "gpb reserve --memory 1 --for 4294967295", &error));
    ck_assert_uint_eq (is.for_ms, UINT32_MAX);
    ck_assert_ok (s_parse (&is, "gpb ping", &error));
    ck_assert_uint_eq (is.count, 10);
    ck_assert_ok (s_parse (&is, "gpb ping --count 1000", &error));
    ck_assert_uint_eq (is.count, 1000);
    ck_assert_ok (s_parse (&is, "gpb compile kernels/sobel --backends opencl", &error));
    ck_assert_int_eq (is.command, GPB_COMMAND_COMPILE);
    ck_assert_str_eq (is.subject, "kernels/sobel");
    ck_assert_str_eq (is.backends, "opencl");
    ck_assert_ptr_null (is.arch);
    ck_assert_ok (s_parse (&is, "gpb compile k --arch sm_90 --output k.cubin", &error));
    ck_assert_str_eq (is.arch, "sm_90");
    ck_assert_str_eq (is.output, "k.cubin");
    ck_assert_ptr_null (is.curve);
    ck_assert_ok (s_parse (&is, "gpb --curve me --node-key them ping", &error));
    ck_assert_str_eq (is.curve, "me");
    ck_assert_str_eq (is.node_key, "them");
    ck_assert_ok (s_parse (&is, "gpb keygen keys/me --name alice", &error));
    ck_assert_int_eq (is.command, GPB_COMMAND_KEYGEN);
    ck_assert_str_eq (is.subject, "keys/me");
    ck_assert_str_eq (is.name, "alice");
    ck_assert_ok (s_parse (&is, "gpb --help", &error));
    ck_assert (is.help);
    ck_assert_ok (s_parse (&is, "gpb --version", &error));
    ck_assert (is.version);
}
END_TEST

static const struct {
    const char *line, *sentence;
} s_bad [] = {
    { "gpb",
      "a command is missing: devices, kernels, stats, top, ping, run, bench, reserve, compile or "
      "keygen" },
    { "gpb fly", "there is no command \"fly\"; there are devices" },
    { "gpb devices --wings", "there is no option --wings" },
    { "gpb devices -x", "there is no option -x" },
    { "gpb devices --node", "--node wants a value" },
    { "gpb devices --json=5", "--json takes no value" },
    { "gpb devices 0", "gpb devices takes no \"0\"" },
    { "gpb devices --device 0", "gpb devices takes no --device" },
    { "gpb ping --repeat 5", "gpb ping takes no --repeat" },
    { "gpb compile k --node tcp://a:1", "gpb compile takes no --node" },
    { "gpb compile k --output k.cubin",
      "--output is for a binary of one architecture: --arch says which" },
    { "gpb run k --arch sm_90", "gpb run takes no --arch" },
    { "gpb run", "gpb run wants a KERNEL" },
    { "gpb compile", "gpb compile wants a KERNEL_DIR" },
    { "gpb compile a b", "gpb compile takes no \"b\"" },
    { "gpb kernels a b", "gpb kernels takes no \"b\"" },
    { "gpb ping --count 0", "--count wants a whole number from 1 to 1000000000, not \"0\"" },
    { "gpb ping --count -1", "--count wants a whole number from 1 to 1000000000, not \"-1\"" },
    { "gpb ping --count 5x", "not \"5x\"" },
    { "gpb ping --timeout 4294967296", "--timeout wants a whole number from 1 to 4294967295" },
    { "gpb ping --timeout 99999999999999999999", "--timeout wants a whole number" },
    { "gpb run k --global 1,2,3,4", "--global wants one to three numbers" },
    { "gpb run k --global 1,", "--global wants one to three numbers" },
    { "gpb run k --global ,1", "--global wants one to three numbers" },
    { "gpb run k --global 1x2", "such as 1024 or 640,480, not \"1x2\"" },
    { "gpb run k --global 18446744073709551616", "--global wants one to three numbers" },
    { "gpb run k --local 0", "--local wants one to three numbers" },
    { "gpb run k --shared -5", "--shared wants a whole number" },
    { "gpb run k --device 4294967296", "--device wants a whole number from 0 to 4294967295" },
    { "gpb run k --priority 4", "--priority wants a whole number from -3 to 3, not \"4\"" },
    { "gpb run k --priority -4", "--priority wants a whole number from -3 to 3, not \"-4\"" },
    { "gpb run k --priority --idempotent", "--priority wants a whole number from -3 to 3" },
    { "gpb run k --priority 1.5", "not \"1.5\"" },
    { "gpb run k --reservation 0", "--reservation wants a handle such as 0x" },
    { "gpb run k --reservation 0x", "not \"0x\"" },
    { "gpb run k --reservation 0x0", "not \"0x0\"" },
    { "gpb run k --reservation 0x12g", "not \"0x12g\"" },
    { "gpb run k --reservation 0x10000000000000000", "--reservation wants a handle" },
    { "gpb reserve", "gpb reserve wants --memory BYTES, at least 1" },
    { "gpb reserve --memory 0", "gpb reserve wants --memory BYTES, at least 1" },
    { "gpb reserve --memory 1 --for 0", "--for wants a whole number from 1 to 4294967295" },
    { "gpb reserve --memory 1 --priority 1", "gpb reserve takes no --priority" },
    { "gpb reserve --memory 1 k", "gpb reserve takes no \"k\"" },
    { "gpb top --interval 9", "--interval wants a whole number from 10 to 3600000" },
    { "gpb stats --interval 10", "gpb stats takes no --interval" },
    { "gpb run k --in-flight 8", "--in-flight is of a stream: --stream N says" },
    { "gpb run k --stream 8 --repeat 2", "--repeat is of single calls" },
    { "gpb run k --stream 8 --local 64", "take no --global, --local or --shared" },
    { "gpb run k --stream 8 --global 64", "take no --global, --local or --shared" },
    { "gpb run k --stream 8 --shared 0", "take no --global, --local or --shared" },
    { "gpb run k --stream 0", "--stream wants a whole number from 1 to 67108864, not \"0\"" },
    { "gpb run k --stream 8 --in-flight 0", "--in-flight wants a whole number from 1 to 32768" },
    { "gpb run k --stream 8 --in-flight 32769", "not \"32769\"" },
    { "gpb run k --lane front", "--lane wants a whole number from 0 to 18446744073709551615" },
    { "gpb run k --on-demand=1", "--on-demand takes no value" },
    { "gpb run k --rate 5", "gpb run takes no --rate" },
    { "gpb run k --payload 5", "gpb run takes no --payload" },
    { "gpb bench", "gpb bench wants a KERNEL" },
    { "gpb bench k --repeat 2", "gpb bench takes no --repeat" },
    { "gpb bench k --stream 2", "gpb bench takes no --stream" },
    { "gpb bench k --rate 0", "--rate wants a whole number from 1 to 10000000, not \"0\"" },
    { "gpb bench k --seconds 86401", "--seconds wants a whole number from 1 to 86400" },
    { "gpb bench k in:a --payload 64", "give it, or \"in:a\" and the others" },
    { "gpb bench k --payload 1073741825", "--payload wants a whole number from 0 to 1073741824" },
    { "gpb devices --lane 1", "gpb devices takes no --lane" },
    { "gpb keygen", "gpb keygen wants a FILE" },
    { "gpb keygen a b", "gpb keygen takes no \"b\"" },
    { "gpb keygen a --node tcp://a:1", "gpb keygen takes no --node" },
    { "gpb ping --name a", "gpb ping takes no --name" },
    { "gpb compile a --curve b", "gpb compile takes no --curve" },
    { "gpb run k --require fp64,,gpu", "--require wants at most 48 capabilities" },
    { "gpb run k --require abcdefghijklmnopqrstuvwxyz0123456", "of 1 to 31 characters" },
};

START_TEST (test_every_wrong_line_is_refused_with_what_would_be_right)
{
    gpb_arguments_t is;
    for (size_t index = 0; index < sizeof s_bad / sizeof s_bad [0]; index++) {
        gpb_error_t error;
        ck_assert_refused (s_parse (&is, s_bad [index].line, &error), GPB_INVALID_ARGUMENT,
                           s_bad [index].sentence);
    }
}
END_TEST

START_TEST (test_more_capabilities_than_a_device_has_are_refused)
{
    gpb_error_t error;
    gpb_arguments_t is;
    char line [256] = "gpb run k --require a";
    for (int count = 1; count < GPB_CAPABILITIES_MAX; count++)
        strcat (line, ",a");
    ck_assert_ok (s_parse (&is, line, &error));
    ck_assert_uint_eq (is.require_count, GPB_CAPABILITIES_MAX);
    strcat (line, ",a");
    ck_assert_refused (s_parse (&is, line, &error), GPB_INVALID_ARGUMENT, "at most 48");
}
END_TEST

GPB_TEST_MAIN ("gpb_arguments", 10, test_a_run_is_read_whole, test_a_stream_is_read,
               test_a_bench_is_read, test_the_other_commands_are_read,
               test_every_wrong_line_is_refused_with_what_would_be_right,
               test_more_capabilities_than_a_device_has_are_refused)
