//  Tests of gpb_config: what a file may say, and that every refusal says where and what would be
//  right.

#include "gpb_alloc.h"
#include "gpb_config.h"
#include "gpb_config_private.h"
#include "gpb_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char s_path [64];

//  A file with this text; its name is s_path.
static void
s_write (const void *text, size_t size)
{
    strcpy (s_path, "/tmp/gpb_config.XXXXXX");
    int file = mkstemp (s_path);
    ck_assert_int_ge (file, 0);
    ck_assert_int_eq (write (file, text, size), (ssize_t) size);
    close (file);
}

static gpb_status_t
s_load (gpb_config_t *config, const char *text, gpb_error_t *error)
{
    s_write (text, strlen (text));
    gpb_status_t status = gpb_config_load (config, s_path, error);
    unlink (s_path);
    return status;
}

START_TEST (test_a_new_one_has_the_defaults)
{
    gpb_config_t *config = gpb_config_new ();
    ck_assert_str_eq (gpb_config_string (config, "name"), "");
    ck_assert_str_eq (gpb_config_string (config, "bind"), "");
    ck_assert_str_eq (gpb_config_string (config, "backends"), "cuda opencl");
    ck_assert_str_eq (gpb_config_string (config, "curve"), "");
    ck_assert_str_eq (gpb_config_string (config, "allowed_keys"), "");
    ck_assert_str_eq (gpb_config_string (config, "limits"), "");
    ck_assert (!gpb_config_bool (config, "insecure"));
    ck_assert_uint_eq (gpb_config_number (config, "handshake_ms"), 5000);
    ck_assert_uint_eq (gpb_config_number (config, "max_connections"), 10000);
    ck_assert_str_eq (gpb_config_string (config, "kernel_path"), "");
    ck_assert_str_eq (gpb_config_string (config, "cache_directory"), "");
    ck_assert_uint_eq (gpb_config_number (config, "cache_size"), 268435456);
    ck_assert_str_eq (gpb_config_string (config, "isolation"), "");
    ck_assert_uint_eq (gpb_config_number (config, "kernel_timeout_ms"), 30000);
    ck_assert (!gpb_config_bool (config, "allow_register"));
    ck_assert (gpb_config_bool (config, "profiling"));
    ck_assert_uint_eq (gpb_config_number (config, "streams"), 4);
    ck_assert_uint_eq (gpb_config_number (config, "max_frame_size"), 1073741824);
    ck_assert_uint_eq (gpb_config_number (config, "max_queued_requests"), 65536);
    ck_assert_uint_eq (gpb_config_number (config, "max_queued_size"), 4294967296);
    ck_assert_uint_eq (gpb_config_number (config, "default_timeout_ms"), 30000);
    ck_assert_uint_eq (gpb_config_number (config, "max_timeout_ms"), 3600000);
    ck_assert_uint_eq (gpb_config_number (config, "drain_ms"), 10000);
    ck_assert_uint_eq (gpb_config_number (config, "reply_high_water"), 65536);
    ck_assert_uint_eq (gpb_config_number (config, "reply_max_size"), 1073741824);
    ck_assert_uint_eq (gpb_config_number (config, "heartbeat_ms"), 5000);
    ck_assert_uint_eq (gpb_config_number (config, "lease_ms"), 60000);
    ck_assert_uint_eq (gpb_config_number (config, "rent_max_size"), 0);
    ck_assert_str_eq (gpb_config_string (config, "log_level"), "info");
    ck_assert_str_eq (gpb_config_string (config, "log_target"), "stderr");
    gpb_config_destroy (&config);
    ck_assert_ptr_null (config);
    gpb_config_destroy (&config);
}
END_TEST

START_TEST (test_a_file_sets_what_it_says_and_leaves_the_rest)
{
    gpb_error_t error;
    gpb_config_t *config = gpb_config_new ();
    ck_assert_ok (
        s_load (config,
                "// one node\n"
                "name = \"left\"; /* 5 and @include \"x\" \n in a comment */ streams = 8;\n"
                "bind = [ \"tcp://*:5670\", \"ipc:///tmp/gpb\" ];\n"
                "profiling = 0\n"
                "# 9999999999999999999999\n"
                "allow_register : true, kernel_path = \"/a:\" \"/b # 12\";\n"
                "drain_ms = 0x10;",
                &error));
    ck_assert_str_eq (gpb_config_string (config, "name"), "left");
    ck_assert_uint_eq (gpb_config_number (config, "streams"), 8);
    ck_assert_str_eq (gpb_config_string (config, "bind"), "tcp://*:5670 ipc:///tmp/gpb");
    ck_assert (!gpb_config_bool (config, "profiling"));
    ck_assert (gpb_config_bool (config, "allow_register"));
    ck_assert_str_eq (gpb_config_string (config, "kernel_path"), "/a:/b # 12");
    ck_assert_uint_eq (gpb_config_number (config, "drain_ms"), 16);
    ck_assert_uint_eq (gpb_config_number (config, "lease_ms"), 60000);
    gpb_config_destroy (&config);
}
END_TEST

//  libconfig 1.5 reads 4294967296 as 0 and 4294967297 as 1 unless an L stands behind them.
START_TEST (test_a_number_above_32_bits_is_not_cut)
{
    gpb_error_t error;
    gpb_config_t *config = gpb_config_new ();
    ck_assert_ok (s_load (config, "max_queued_size = 8589934593;", &error));
    ck_assert_uint_eq (gpb_config_number (config, "max_queued_size"), 8589934593);
    ck_assert_ok (s_load (config, "max_queued_size = 8589934594L;", &error));
    ck_assert_uint_eq (gpb_config_number (config, "max_queued_size"), 8589934594);
    ck_assert_ok (s_load (config, "cache_size = 9223372036854775807;", &error));
    ck_assert_refused (s_load (config, "streams = 4294967298;", &error), GPB_INVALID_ARGUMENT,
                       ":1: streams is a whole number from 1 to 16, not 4294967298");
    gpb_config_destroy (&config);
}
END_TEST

static const struct {
    const char *text;
    int line;
    const char *sentence;
} s_bad [] = {
    { "\nstraems = 4;", 2, "there is no key \"straems\"; did you mean \"streams\"?" },
    { "max_frame_sise = 4;", 1, "did you mean \"max_frame_size\"?" },
    { "\n\ncolour = \"red\";", 3, "there is no key \"colour\"; gpb_actor --help-config" },
    { "streams = 0;", 1, "streams is a whole number from 1 to 16, not 0" },
    { "streams = 17;", 1, "streams is a whole number from 1 to 16, not 17" },
    { "\n/*\n*/ streams = -1;", 3, "streams is a whole number from 1 to 16, not -1" },
    { "streams = 1.5;", 1, "streams is a whole number from 1 to 16, not a number with a point" },
    { "streams = 2e1;", 1, "not a number with a point" },
    { "streams = \"4\";", 1, "streams is a whole number from 1 to 16, not a string" },
    { "streams = true;", 1, "streams is a whole number from 1 to 16, not true or false" },
    { "streams = [ 4 ];", 1, "streams is a whole number from 1 to 16, not a list" },
    { "streams = { };", 1, "streams is a whole number from 1 to 16, not a group" },
    { "\nstreams = 99999999999999999999;", 2, "99999999999999999999 is no number of 64 bits" },
    { "streams = 0xFFFFFFFFFFFFFFFF;", 1, "0xFFFFFFFFFFFFFFFF is no number of 64 bits" },
    { "profiling = \"true\";", 1, "profiling is true or false, not a string" },
    { "profiling = 2;", 1, "profiling is true or false, not a number" },
    { "name = 5;", 1, "name is a string in double quotes, not a number" },
    { "name = \"a b\";", 1, "name is at most 64 letters, digits, '_', '.' and '-', or \"\", not" },
    { "name = \"line\\nfeed\";", 1, "name holds the control character 0x0a" },
    { "kernel_path = \"\\x1b[2J\";", 1, "kernel_path holds the control character 0x1b" },
    { "backends = \"\";", 1, "backends is backends by name, such as \"cuda opencl\"" },
    { "backends = [ \"../evil\" ];", 1, "backends is backends by name, such as \"cuda opencl\"" },
    { "log_level = \"loud\";", 1, "log_level is error, warning, info or debug, not \"loud\"" },
    { "bind = 5670;", 1, "bind is a list of strings, such as [ \"a\", \"b\" ], not a number" },
    { "bind = [ 5670 ];", 1, "bind is a list of strings" },
    { "bind = [ \"\" ];", 1, "no string of it is empty" },
    { "bind = [ \"tcp://a tcp://b\" ];", 1, "no string of it is empty or has blanks" },
    { "limits = [ \"alice:kernels=\" ];", 1, "limits is NAME:LIMIT=VALUE,... for each name" },
    { "\nlimits = [ \"a:in_flight=1\", \"a:in_flight=2\" ];", 2, "for each name, once" },
    { "max_connections = 0;", 1, "max_connections is a whole number from 1 to 1000000" },
    { "streams = 4;\nstreams = 4;", 2, "duplicate setting name" },
    { "streams = 4;\n\nname = ;", 3, "syntax error; a setting is written `key = value;`" },
    //  libconfig leaks a string that is not closed, and one where the grammar has none.
    { "name = \"unterminated", 1, "a string starts here and is not closed" },
    { "name = \"a\nb : {\"; backends\n= opencl;", 3, "syntax error" },
    { "name = \"a\n\";\n5 \"x\";", 3, "no string belongs here" },
    { "name = \"x\"; /* never closed", 1, "a comment starts here and is not closed" },
    { "name = \"x\";\n  @include \"/etc\"\n", 2, "@include is not read" },
    { "{ streams = 4; }", 1, "syntax error" },
};

START_TEST (test_every_refusal_names_line_and_what_would_be_right)
{
    gpb_config_t *config = gpb_config_new ();
    for (size_t index = 0; index < sizeof s_bad / sizeof s_bad [0]; index++) {
        gpb_error_t error;
        char where [128];
        ck_assert_refused (s_load (config, s_bad [index].text, &error), GPB_INVALID_ARGUMENT,
                           s_bad [index].sentence);
        snprintf (where, sizeof where, "%s:%d: ", s_path, s_bad [index].line);
        ck_assert_msg (strstr (error.text, where) == error.text, "%s does not begin with %s",
                       error.text, where);
    }
    gpb_config_destroy (&config);
}
END_TEST

START_TEST (test_a_file_with_one_fault_changes_nothing)
{
    gpb_error_t error;
    gpb_config_t *config = gpb_config_new ();
    ck_assert_refused (s_load (config, "name = \"x\"; streams = 8;\nlease_ms = 1;", &error),
                       GPB_INVALID_ARGUMENT, ":2: lease_ms");
    ck_assert_str_eq (gpb_config_string (config, "name"), "");
    ck_assert_uint_eq (gpb_config_number (config, "streams"), 4);
    gpb_config_destroy (&config);
}
END_TEST

//  Handed a folder, libconfig's scanner ends the process.
START_TEST (test_what_is_no_file_is_refused)
{
    gpb_error_t error;
    gpb_config_t *config = gpb_config_new ();
    ck_assert_refused (gpb_config_load (config, "/nowhere/gpb.conf", &error), GPB_NOT_FOUND,
                       "/nowhere/gpb.conf: cannot be opened: No such file");
    ck_assert_refused (gpb_config_load (config, "/tmp", &error), GPB_INVALID_ARGUMENT,
                       "/tmp: cannot be read: Is a directory");
    s_write ("streams = 4;\n\0junk", 18);
    ck_assert_refused (gpb_config_load (config, s_path, &error), GPB_INVALID_ARGUMENT,
                       ":2: a NUL byte");
    unlink (s_path);
    char *large = malloc (1024 * 1024 + 1);
    memset (large, '\n', 1024 * 1024 + 1);
    s_write (large, 1024 * 1024 + 1);
    ck_assert_refused (gpb_config_load (config, s_path, &error), GPB_INVALID_ARGUMENT,
                       "larger than the 1048576 bytes");
    unlink (s_path);
    free (large);
    ck_assert_ok (s_load (config, "", &error));
    gpb_config_destroy (&config);
}
END_TEST

START_TEST (test_keys_are_set_one_by_one_from_text)
{
    gpb_error_t error;
    gpb_config_t *config = gpb_config_new ();
    ck_assert_ok (gpb_config_set (config, "streams", "16", &error));
    ck_assert_ok (gpb_config_set (config, "profiling", "0", &error));
    ck_assert_ok (gpb_config_set (config, "allow_register", "true", &error));
    ck_assert_ok (gpb_config_set (config, "bind", "tcp://a:1 tcp://b:2", &error));
    ck_assert_uint_eq (gpb_config_number (config, "streams"), 16);
    ck_assert (!gpb_config_bool (config, "profiling"));
    ck_assert (gpb_config_bool (config, "allow_register"));
    ck_assert_str_eq (gpb_config_string (config, "bind"), "tcp://a:1 tcp://b:2");
    static const char *const numbers [] = { "",  " 4",   "4 ",  "+4",  "4x",
                                            "-", "four", "0x4", "1e1", "99999999999999999999",
                                            "-1" };
    for (size_t index = 0; index < sizeof numbers / sizeof numbers [0]; index++)
        ck_assert_refused (gpb_config_set (config, "streams", numbers [index], &error),
                           GPB_INVALID_ARGUMENT, "streams is a whole number from 1 to 16, not ");
    ck_assert_uint_eq (gpb_config_number (config, "streams"), 16);
    ck_assert_refused (gpb_config_set (config, "profiling", "yes", &error), GPB_INVALID_ARGUMENT,
                       "profiling is true or false, not \"yes\"");
    ck_assert_refused (gpb_config_set (config, "Streams", "4", &error), GPB_INVALID_ARGUMENT,
                       "did you mean \"streams\"?");
    ck_assert_refused (gpb_config_set (config, "", "4", &error), GPB_INVALID_ARGUMENT,
                       "there is no key \"\"");
    char endless [3000];
    memset (endless, 's', sizeof endless - 1);
    endless [sizeof endless - 1] = 0;
    ck_assert_refused (gpb_config_set (config, endless, "4", &error), GPB_INVALID_ARGUMENT,
                       "there is no key \"sss");
    gpb_config_destroy (&config);
}
END_TEST

START_TEST (test_a_copy_is_its_own)
{
    gpb_error_t error;
    gpb_config_t *config = gpb_config_new ();
    ck_assert_ok (gpb_config_set (config, "name", "first", &error));
    ck_assert_ok (gpb_config_set (config, "lease_ms", "777", &error));
    gpb_config_t *copy = gpb_config_dup (config);
    ck_assert_ok (gpb_config_set (config, "name", "second", &error));
    ck_assert_str_eq (gpb_config_string (copy, "name"), "first");
    ck_assert_uint_eq (gpb_config_number (copy, "lease_ms"), 777);
    gpb_config_destroy (&config);
    ck_assert_str_eq (gpb_config_string (copy, "name"), "first");
    gpb_config_destroy (&copy);
}
END_TEST

//  The keys of the help text, read as it prints them.
START_TEST (test_the_help_is_a_configuration_that_says_the_defaults)
{
    gpb_error_t error;
    const char *help = gpb_config_help ();
    ck_assert_str_eq (help + strlen (help) - strlen ("log_target = \"stderr\";\n"),
                      "log_target = \"stderr\";\n");
    gpb_config_t *config = gpb_config_new ();
    gpb_config_t *fresh = gpb_config_new ();

    //  Away from the defaults first, so that a key which the help leaves out shows.
    static const char *const numbers [] = { "cache_size",       "streams",
                                            "max_frame_size",   "max_queued_requests",
                                            "max_queued_size",  "default_timeout_ms",
                                            "max_timeout_ms",   "drain_ms",
                                            "reply_high_water", "reply_max_size",
                                            "heartbeat_ms",     "lease_ms",
                                            "rent_max_size" };
    static const char *const strings [] = { "name",        "bind",
                                            "kernel_path", "cache_directory",
                                            "log_target",  "backends" };
    for (size_t index = 0; index < sizeof numbers / sizeof numbers [0]; index++) {
        const char *other = strcmp (numbers [index], "streams") == 0 ? "2" : "70001";
        ck_assert_ok (gpb_config_set (config, numbers [index], other, &error));
    }
    for (size_t index = 0; index < sizeof strings / sizeof strings [0]; index++)
        ck_assert_ok (gpb_config_set (config, strings [index], "other", &error));
    ck_assert_ok (gpb_config_set (config, "log_level", "error", &error));
    ck_assert_ok (gpb_config_set (config, "profiling", "false", &error));
    ck_assert_ok (gpb_config_set (config, "allow_register", "true", &error));

    ck_assert_ok (s_load (config, help, &error));
    for (size_t index = 0; index < sizeof numbers / sizeof numbers [0]; index++)
        ck_assert_uint_eq (gpb_config_number (config, numbers [index]),
                           gpb_config_number (fresh, numbers [index]));
    for (size_t index = 0; index < sizeof strings / sizeof strings [0]; index++)
        ck_assert_str_eq (gpb_config_string (config, strings [index]),
                          gpb_config_string (fresh, strings [index]));
    ck_assert_str_eq (gpb_config_string (config, "log_level"), "info");
    ck_assert (gpb_config_bool (config, "profiling"));
    ck_assert (!gpb_config_bool (config, "allow_register"));
    gpb_config_destroy (&fresh);
    gpb_config_destroy (&config);
}
END_TEST

START_TEST (test_memory_that_runs_out_is_an_answer)
{
    gpb_error_t error;
    gpb_config_t *config = gpb_config_new ();
    s_write ("name = \"x\"; bind = [ \"tcp://a:1\" ]; streams = 9;", 48);

    gpb_alloc_fail (-1, 0);
    ck_assert_ok (gpb_config_load (config, s_path, &error));
    uint64_t load = gpb_alloc_fail (-1, 0);
    gpb_config_t *copy = gpb_config_dup (config);
    uint64_t dup = gpb_alloc_fail (-1, 0);
    gpb_config_destroy (&copy);
    copy = gpb_config_new ();
    uint64_t fresh = gpb_alloc_fail (-1, 0);
    gpb_config_destroy (&copy);
    ck_assert_uint_gt (load, 20);
    ck_assert_ok (gpb_config_set (config, "name", "before", &error));
    ck_assert_ok (gpb_config_set (config, "streams", "3", &error));

    for (uint64_t after = 0; after < load; after++) {
        gpb_alloc_fail ((int64_t) after, 0);
        ck_assert_refused (gpb_config_load (config, s_path, &error), GPB_RESOURCE_EXHAUSTED,
                           "no memory");
        gpb_alloc_fail (-1, 0);
        ck_assert_str_eq (gpb_config_string (config, "name"), "before");
        ck_assert_uint_eq (gpb_config_number (config, "streams"), 3);
    }
    for (uint64_t after = 0; after < dup; after++) {
        gpb_alloc_fail ((int64_t) after, 0);
        ck_assert_ptr_null (gpb_config_dup (config));
    }
    for (uint64_t after = 0; after < fresh; after++) {
        gpb_alloc_fail ((int64_t) after, 0);
        ck_assert_ptr_null (gpb_config_new ());
    }
    gpb_alloc_fail (-1, 0);
    unlink (s_path);
    gpb_config_destroy (&config);
}
END_TEST

START_TEST (test_lines_for_another_process_say_every_value)
{
    char text [16384];
    gpb_error_t error;
    gpb_config_t *config = gpb_config_new (), *other = gpb_config_new ();
    ck_assert_ok (gpb_config_set (config, "backends", "a b", &error));
    ck_assert_ok (gpb_config_set (config, "kernel_path", "/a=b:/c d", &error));
    ck_assert_ok (gpb_config_set (config, "isolation", "process", &error));
    ck_assert_ok (gpb_config_set (config, "profiling", "false", &error));
    ck_assert_ok (gpb_config_set (config, "max_frame_size", "9223372036854775807", &error));
    ck_assert_ok (gpb_config_write (config, text, sizeof text, &error));
    ck_assert_ok (gpb_config_read (other, text, &error));
    ck_assert_str_eq (gpb_config_string (other, "backends"), "a b");
    ck_assert_str_eq (gpb_config_string (other, "kernel_path"), "/a=b:/c d");
    ck_assert_str_eq (gpb_config_string (other, "isolation"), "process");
    ck_assert_str_eq (gpb_config_string (other, "name"), "");
    ck_assert (!gpb_config_bool (other, "profiling"));
    ck_assert_uint_eq (gpb_config_number (other, "max_frame_size"), INT64_MAX);
    char again [16384], once [16384];
    ck_assert_ok (gpb_config_write (config, once, sizeof once, &error));
    ck_assert_ok (gpb_config_write (other, again, sizeof again, &error));
    ck_assert_str_eq (once, again);
    ck_assert_refused (gpb_config_write (config, text, 100, &error), GPB_RESOURCE_EXHAUSTED,
                       "longer than 100 bytes");
    char wrong [] = "name=x\nnonsense\n", unknown [] = "nome=x";
    ck_assert_refused (gpb_config_read (other, wrong, &error), GPB_INVALID_ARGUMENT,
                       "nonsense: expected KEY=VALUE");
    ck_assert_refused (gpb_config_read (other, unknown, &error), GPB_INVALID_ARGUMENT, "nome");
    ck_assert_refused (gpb_config_set (config, "isolation", "none", &error), GPB_INVALID_ARGUMENT,
                       "isolation is process, thread");
    gpb_config_destroy (&config);
    gpb_config_destroy (&other);
}
END_TEST

GPB_TEST_MAIN ("gpb_config", 10, test_a_new_one_has_the_defaults,
               test_a_file_sets_what_it_says_and_leaves_the_rest,
               test_a_number_above_32_bits_is_not_cut,
               test_every_refusal_names_line_and_what_would_be_right,
               test_a_file_with_one_fault_changes_nothing, test_what_is_no_file_is_refused,
               test_keys_are_set_one_by_one_from_text, test_a_copy_is_its_own,
               test_the_help_is_a_configuration_that_says_the_defaults,
               test_memory_that_runs_out_is_an_answer,
               test_lines_for_another_process_say_every_value)
