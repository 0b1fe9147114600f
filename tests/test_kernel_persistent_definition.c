//  Tests of gpb_kernel_persistent_definition: what a kernel.conf says of a persistent kernel, and
//  everything that it may not say, each with its line and what would be right.

#include "gpb_test.h"

#include "gpb_alloc.h"
#include "gpb_kernel.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ID "id = \"k\";\nsource = \"k.c\";\n"
#define PERSISTENT ID "persistent = true;\n"
#define IN(more) "{ name = \"a\"; direction = \"in\"; type = \"f32\"; " more " }"
#define OUT(more) "{ name = \"b\"; direction = \"out\"; type = \"f64\"; " more " }"
#define LIST(in, out) "parameters = (\n" in ",\n" out "\n);\n"
#define PARAMETERS LIST (IN (""), OUT ("count = \"count\";"))
#define WHOLE PERSISTENT PARAMETERS

//  A definition whose line 5 is the input, and line 6 the output.
#define WITH(in, out) PERSISTENT LIST (in, out)

static gpb_kernel_t *
s_parse (const char *definition)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_kernel_t *kernel = gpb_kernel_parse (definition, "the source", &error);
    ck_assert_msg (kernel != NULL, "%s: %s", error.text, definition);
    return kernel;
}

//  ---------------------------------------------------------------------------------------------------------
//  What is said

START_TEST (test_what_is_left_out_has_its_default)
{
    gpb_kernel_t *kernel = s_parse (WHOLE);
    const gpb_persistent_t *persistent = gpb_kernel_persistent (kernel);
    ck_assert_ptr_nonnull (persistent);
    ck_assert_uint_eq (persistent->lanes, 1);
    ck_assert_uint_eq (persistent->slots, 256);
    ck_assert_uint_eq (persistent->slot_size, 96);
    ck_assert_uint_eq (persistent->local, 1);
    ck_assert_uint_eq (persistent->state_size, 0);
    ck_assert_uint_eq (persistent->element_size, 4);
    ck_assert_uint_eq (persistent->input_max, 96);
    ck_assert_uint_eq (persistent->output_max, 24 * 8);
    ck_assert_str_eq (gpb_kernel_persistent_device (kernel, 0), "all");
    ck_assert_ptr_null (gpb_kernel_persistent_device (kernel, 1));
    ck_assert_str_eq (gpb_kernel_parameter (kernel, 0)->count, "count");
    ck_assert_str_eq (gpb_kernel_parameter (kernel, 1)->count, "count");
    ck_assert_uint_eq (gpb_kernel_dimensions (kernel), 0);
    ck_assert_ptr_null (gpb_kernel_local (kernel));
    ck_assert_str_eq (gpb_kernel_shared (kernel), "");
    gpb_kernel_destroy (&kernel);
}
END_TEST

START_TEST (test_what_is_said_is_there)
{
    gpb_kernel_t *kernel = s_parse (PERSISTENT LIST (
        IN ("maximum = 1000; alignment = 32;"),
        OUT ("count = \"min (count, 16)\"; alignment = 16;")) "entry = \"f\"; local = [ 64 ]; "
                                                              "lanes = 32; slots = 65536; "
                                                              "slot_size = 65504;\n"
                                                              "state = 67108864; devices = ( "
                                                              "\"gpu\", 3, \"12\" ); require = [ "
                                                              "\"fp64\" ];");
    const gpb_persistent_t *persistent = gpb_kernel_persistent (kernel);
    ck_assert_uint_eq (persistent->lanes, GPB_PERSISTENT_LANES_MAX);
    ck_assert_uint_eq (persistent->slots, GPB_PERSISTENT_SLOTS_MAX);
    ck_assert_uint_eq (persistent->slot_size, GPB_PERSISTENT_SLOT_SIZE_MAX);
    ck_assert_uint_eq (persistent->local, 64);
    ck_assert_uint_eq (persistent->state_size, GPB_PERSISTENT_STATE_MAX);
    ck_assert_uint_eq (persistent->input_max, 4000);
    ck_assert_uint_eq (persistent->output_max, 16 * 8);
    ck_assert_str_eq (gpb_kernel_entry (kernel), "f");
    ck_assert_str_eq (gpb_kernel_persistent_device (kernel, 0), "gpu");
    ck_assert_str_eq (gpb_kernel_persistent_device (kernel, 1), "3");
    ck_assert_str_eq (gpb_kernel_persistent_device (kernel, 2), "12");
    ck_assert_ptr_null (gpb_kernel_persistent_device (kernel, 3));
    ck_assert_ptr_null (gpb_kernel_persistent_device (kernel, 1000));
    ck_assert_str_eq (gpb_kernel_require (kernel, 0), "fp64");
    ck_assert_str_eq (gpb_kernel_parameter (kernel, 1)->count, "min (count, 16)");
    gpb_kernel_destroy (&kernel);
}
END_TEST

//  Both ends of what each number may be are taken as they are.
START_TEST (test_every_bound_is_within_its_bounds)
{
    static const struct {
        const char *text;
        size_t offset;    //  of what it sets
        bool is_64;
        uint64_t value;
    } cases [] = {
#define HAS(member) offsetof (gpb_persistent_t, member), false
#define HAS_64(member) offsetof (gpb_persistent_t, member), true
        { WHOLE "lanes = 1;", HAS (lanes), 1 },
        { WHOLE "lanes = 32;", HAS (lanes), 32 },
        { WHOLE "lanes = 32L;", HAS (lanes), 32 },
        { WHOLE "lanes = 0x1F;", HAS (lanes), 31 },
        { WHOLE "slots = 2;", HAS (slots), 2 },
        { WHOLE "slots = 65536;", HAS (slots), 65536 },
        { WHOLE "slot_size = 32;", HAS (slot_size), 96 },
        { WHOLE "slot_size = 65504;", HAS (slot_size), 65504 },
        { WHOLE "local = [ 1 ];", HAS (local), 1 },
        { WHOLE "local = ( 65536 );", HAS (local), 65536 },
        { WHOLE "state = 0;", HAS_64 (state_size), 0 },
        { WHOLE "state = 67108864;", HAS_64 (state_size), 67108864 },
        { WITH (IN ("maximum = 1;"), OUT ("count = 1;")), HAS_64 (input_max), 4 },
        { WITH (IN ("maximum = 16777216;"), OUT ("count = 1;")), HAS_64 (input_max), 67108864 },
        { WITH (IN (""), OUT ("count = 8388608;")), HAS_64 (output_max), 67108864 },
        { WITH ("{ name = \"a\"; direction = \"in\"; type = \"u8\"; maximum = 67108864; }",
                OUT ("count = 1;")),
          HAS_64 (input_max), 67108864 },
#undef HAS
#undef HAS_64
    };
    for (size_t index = 0; index < sizeof cases / sizeof cases [0]; index++) {
        gpb_kernel_t *kernel = s_parse (cases [index].text);
        const char *at = (const char *) gpb_kernel_persistent (kernel) + cases [index].offset;
        uint64_t value = cases [index].is_64 ? *(const uint64_t *) at : *(const uint32_t *) at;
        ck_assert_msg (value == cases [index].value, "%llu after %s", (unsigned long long) value,
                       cases [index].text);
        gpb_kernel_destroy (&kernel);
    }
}
END_TEST

START_TEST (test_every_word_for_a_device_is_kept_as_it_is_said)
{
    static const struct {
        const char *said, *word;
    } cases [] = {
        { "devices = [ \"all\" ];", "all" },
        { "devices = [ 0 ];", "0" },
        { "devices = [ \"0\" ];", "0" },
        { "devices = [ 0x10 ];", "16" },
        { "devices = [ 999999999 ];", "999999999" },
        { "devices = ( \"svm_atomics\" );", "svm_atomics" },
        { "devices = [ \"a234567890123456789012345678901\" ];", "a234567890123456789012345678901" },
    };
    for (size_t index = 0; index < sizeof cases / sizeof cases [0]; index++) {
        char text [512];
        snprintf (text, sizeof text, "%s%s", WHOLE, cases [index].said);
        gpb_kernel_t *kernel = s_parse (text);
        ck_assert_str_eq (gpb_kernel_persistent_device (kernel, 0), cases [index].word);
        ck_assert_ptr_null (gpb_kernel_persistent_device (kernel, 1));
        gpb_kernel_destroy (&kernel);
    }
}
END_TEST

//  WHOLE with so many devices, 10 and up.
static void
s_write_devices (char *text, size_t size, unsigned count)
{
    size_t length = (size_t) snprintf (text, size, "%sdevices = [", WHOLE);
    for (unsigned index = 0; index < count; index++)
        length +=
            (size_t) snprintf (text + length, size - length, "%s%u", index ? ", " : "", index + 10);
    snprintf (text + length, size - length, "];");
}

START_TEST (test_it_may_name_as_many_devices_as_a_node_has)
{
    char text [2048];
    s_write_devices (text, sizeof text, 64);
    gpb_kernel_t *kernel = s_parse (text);
    ck_assert_str_eq (gpb_kernel_persistent_device (kernel, 63), "73");
    ck_assert_ptr_null (gpb_kernel_persistent_device (kernel, 64));
    gpb_kernel_destroy (&kernel);
    s_write_devices (text, sizeof text, 65);
    gpb_error_t error = { GPB_OK, "" };
    ck_assert_ptr_null (gpb_kernel_parse (text, "x", &error));
    ck_assert_refused (error.status, GPB_INVALID_ARGUMENT,
                       "kernel.conf:8: devices has 1 to 64 entries, and here it has 65");
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  What is refused

#define GOOD_OUT OUT ("count = \"count\";")
#define SCALAR "{ name = \"n\"; direction = \"scalar\"; type = \"i32\"; }"

static const struct {
    const char *text;
    const char *sentence;
} s_refusals [] = {
    //  What the other kind of kernels says.
    { WHOLE "global = [ 1 ];", "kernel.conf:8: global is for kernels that are launched for each "
                               "request, and this one is persistent: how many" },
    { WHOLE "global_free = false;", "kernel.conf:8: global_free is for kernels that are launched" },
    { WHOLE "local_free = true;", "kernel.conf:8: local_free is for kernels that are launched for "
                                  "each request, and this one is persistent: its code is" },
    { WHOLE "shared = 4;", "kernel.conf:8: shared is for kernels that are launched for each" },
    { ID "persistent = true;\nsources = { cl = \"k.cl\"; };\n" PARAMETERS,
      "kernel.conf:4: sources is for kernels that are launched for each request, and this one is "
      "persistent: it has one source, which is portable: source = \"x.c\"" },
    { "id = \"k\";\npersistent = true;\n" PARAMETERS, "kernel.conf:1: there is no source" },
    { ID PARAMETERS "lanes = 1;", "kernel.conf:7: lanes is for persistent kernels, and this one is "
                                  "launched for each request: persistent = true is missing" },
    { ID PARAMETERS "slots = 2;", "kernel.conf:7: slots is for persistent kernels" },
    { ID PARAMETERS "slot_size = 96;", "kernel.conf:7: slot_size is for persistent kernels" },
    { ID PARAMETERS "state = 0;", "kernel.conf:7: state is for persistent kernels" },
    { ID PARAMETERS "devices = [ \"all\" ];", "kernel.conf:7: devices is for persistent kernels" },
    { ID PARAMETERS "persistent = false;\nlanes = 1;", "kernel.conf:8: lanes is for persistent" },
    { ID "persistent = 1;", "kernel.conf:3: persistent is true or false, and here it is a whole" },

    //  Lanes.
    { WHOLE "lanes = 0;", "kernel.conf:8: lanes lies from 1 to 32, and here it is 0" },
    { WHOLE "lanes = 33;", "lanes lies from 1 to 32, and here it is 33" },
    { WHOLE "lanes = -1;", "lanes lies from 1 to 32, and here it is -1" },
    { WHOLE "lanes = 99999999999L;", "lanes lies from 1 to 32, and here it is 99999999999" },
    { WHOLE "lanes = \"1\";", "lanes is a whole number, and here it is a \"string\"" },
    { WHOLE "slots = 1;", "kernel.conf:8: slots lies from 2 to 65536, and here it is 1" },
    { WHOLE "slots = 131072;", "slots lies from 2 to 65536, and here it is 131072" },
    { WHOLE "slots = 100;", "kernel.conf:8: slots is a power of two, and here it is 100" },
    { WHOLE "slot_size = 31;",
      "kernel.conf:8: slot_size lies from 32 to 65504 bytes, and here it is 31" },
    { WHOLE "slot_size = 65505;", "slot_size lies from 32 to 65504 bytes, and here it is 65505" },
    { WHOLE "state = -1;",
      "kernel.conf:8: state lies from 0 to 67108864 bytes, and here it is -1" },
    { WHOLE "state = 67108865;", "state lies from 0 to 67108864 bytes, and here it is 67108865" },
    { WHOLE "state = 1.5;", "state is a whole number, and here it is a number with a fraction" },
    { WHOLE "local = [ 8, 8 ];", "kernel.conf:8: local has 1 to 1 entries, and here it has 2" },
    { WHOLE "local = [ 0 ];",
      "kernel.conf:8: local is one whole number from 1 to 65536: the work" },
    { WHOLE "local = [ 65537 ];", "local is one whole number from 1 to 65536" },
    { WHOLE "local = [ \"count\" ];", "local is one whole number from 1 to 65536" },
    { WHOLE "local = 8;", "local is an array [ ... ], and here it is a whole number" },
    { WHOLE "devices = [ ];", "kernel.conf:8: devices has 1 to 64 entries, and here it has 0" },
    { WHOLE "devices = \"all\";", "devices is an array [ ... ], and here it is a \"string\"" },
    { WHOLE "devices = [ \"cpu\", \"GPU\" ];",
      "kernel.conf:8: devices is of \"all\", indices of devices and capabilities, "
      "\"[a-z0-9_]{1,31}\": entry 1 is none" },
    { WHOLE "devices = [ -1 ];", "entry 0 is none" },
    { WHOLE "devices = [ true ];", "entry 0 is none" },
    { WHOLE "devices = [ \"1234567890\" ];", "entry 0 is none" },
    { WHOLE "devices = ( 1, \"1\" );", "kernel.conf:8: devices names \"1\" twice" },
    { WHOLE "lanes = true;", "lanes is a whole number, and here it is" },
    { WHOLE "lanes = [ 1 ];", "lanes is a whole number, and here it is an array" },
    { WHOLE "lanes = 9223372036854775807L;", "and here it is 9223372036854775807" },
    { WHOLE "slots = 0;", "slots lies from 2 to 65536, and here it is 0" },
    { WHOLE "slots = 65535;", "slots is a power of two, and here it is 65535" },
    { WHOLE "slots = 2.0;", "slots is a whole number, and here it is a number with a fraction" },
    { WHOLE "slot_size = -32;", "slot_size lies from 32 to 65504 bytes, and here it is -32" },
    { WHOLE "slot_size = \"96\";", "slot_size is a whole number, and here it is a \"string\"" },
    { WHOLE "local = [ ];", "kernel.conf:8: local has 1 to 1 entries, and here it has 0" },
    { WHOLE "local = [ -8 ];", "local is one whole number from 1 to 65536" },
    { WHOLE "local = [ 8L ];", "local is one whole number from 1 to 65536" },
    { WHOLE "devices = [ \"\" ];", "entry 0 is none" },
    { WHOLE "devices = [ \"a2345678901234567890123456789012\" ];", "entry 0 is none" },
    { WHOLE "devices = [ \"gpu|cpu\" ];", "entry 0 is none" },
    { WHOLE "devices = [ 1000000000 ];", "entry 0 is none" },
    { WHOLE "devices = ( \"gpu\", [ \"cpu\" ] );", "entry 1 is none" },
    { WHOLE "devices = [ \"all\", \"gpu\", \"all\" ];", "devices names \"all\" twice" },

    //  A message.
    { PERSISTENT "parameters = (\n" IN ("") " );",
      "kernel.conf:4: a persistent kernel has one in and, behind it, one out, and here there is" },
    { WITH (IN (""), SCALAR), "kernel.conf:6: a persistent kernel has one in and, behind it, one "
                              "out: what a message brings, and what becomes of it. Parameter 1, "
                              "\"n\", is scalar" },
    { WITH (OUT ("count = 1;"), IN ("")), "kernel.conf:5: a persistent kernel has one in" },
    { WITH (IN (""), "{ name = \"b\"; direction = \"in\"; type = \"f32\"; }"),
      "kernel.conf:6: a persistent kernel has one in and, behind it, one out" },
    { WITH (IN (""), "{ name = \"b\"; direction = \"inout\"; type = \"f32\"; count = 1; }"),
      "Parameter 1, \"b\", is inout" },
    { WITH (IN (""), GOOD_OUT ",\n" SCALAR), "kernel.conf:7: a persistent kernel has one in" },
    { WITH (IN (""), GOOD_OUT ",\n" SCALAR), "Parameter 2, \"n\", is one more, scalar" },
    { WITH (IN ("count = \"count\";"), GOOD_OUT),
      "kernel.conf:5: \"a\" has no count of its own, since a message brings as many elements as "
      "it likes: maximum bounds them" },
    { WITH (IN ("maximum = 0;"), GOOD_OUT),
      "kernel.conf:5: maximum lies from 1 to 16777216 elements, and here it is 0" },
    { WITH (IN ("maximum = 16777217;"), GOOD_OUT), "maximum lies from 1 to 16777216 elements" },
    { WITH (IN ("maximum = 1.5;"), GOOD_OUT),
      "maximum is a whole number, and here it is a number" },
    { WITH (IN ("minimum = 1;"), GOOD_OUT), "kernel.conf:5: minimum is for scalars" },
    { WITH (IN ("zero = true;"), GOOD_OUT), "kernel.conf:5: zero is for out parameters" },
    { WITH (IN ("alignment = 64;"), GOOD_OUT),
      "kernel.conf:5: alignment of f32 is a power of two from 4 to 32 bytes, and here it is 64" },
    { WITH (IN (""), OUT ("count = 1; alignment = 128;")),
      "kernel.conf:6: alignment of f64 is a power of two from 8 to 32 bytes, and here it is 128" },
    { WITH (IN (""), OUT ("count = 1; zero = false;")),
      "kernel.conf:6: zero is for kernels that are launched for each request, and this one is "
      "persistent: \"b\" is what its handler writes" },
    { WITH (IN (""), OUT ("count = 1; maximum = 1;")),
      "kernel.conf:6: maximum bounds the input, and \"b\" is the output" },
    { WITH (IN (""), OUT ("")), "kernel.conf:6: \"b\" has no count: how many elements of f64 it "
                                "has at most, an expression of count" },
    { WITH (IN (""), OUT ("count = \"n\";")),
      "kernel.conf:6: count: \"n\", column 1: \"n\" is not known here: of a persistent kernel, "
      "expressions are of count, the elements of the input" },
    { WITH (IN (""), OUT ("count = \"a\";")), "\"a\" is not known here" },
    { WITH (IN (""), OUT ("count = \"global_size_0\";")), "\"global_size_0\" is not known here" },
    { WITH (IN (""), OUT ("count = \"count *\";")), "kernel.conf:6: count: \"count *\", column 8" },
    { WITH (IN (""), OUT ("count = 0;")),
      "kernel.conf:6: \"b\" has no element even for the largest input, of 24" },
    { WITH (IN (""), OUT ("count = \"10 - count\";")),
      "kernel.conf:6: count of \"b\" for 24 elements of input: " },
    { WITH (IN ("maximum = 16777216;"), OUT ("count = \"count\";")),
      "kernel.conf:6: \"b\" has 16777216 elements of f64 for 16777216 of input, and at most "
      "8388608, 67108864 bytes, are possible" },
    { WITH ("{ name = \"a\"; direction = \"in\"; type = \"u8\"; maximum = 67108865; }", GOOD_OUT),
      "kernel.conf:5: maximum lies from 1 to 67108864 elements, and here it is 67108865" },
    { WITH (IN ("maximum = -1;"), GOOD_OUT), "and here it is -1" },
    { WITH (IN (""), OUT ("count = 8388609;")), "and at most 8388608, 67108864 bytes, are" },
    { WITH (IN (""), OUT ("minimum = 1; count = 1;")), "kernel.conf:6: minimum is for scalars" },
    { WITH (IN (""), "{ name = \"count\"; direction = \"out\"; type = \"f32\"; count = 1; }"),
      "kernel.conf:6: \"count\" means something else in expressions" },
};

START_TEST (test_every_fault_is_refused_with_its_line_and_what_would_be_right)
{
    for (size_t index = 0; index < sizeof s_refusals / sizeof s_refusals [0]; index++) {
        gpb_error_t error = { GPB_OK, "" };
        gpb_kernel_t *kernel = gpb_kernel_parse (s_refusals [index].text, "x", &error);
        ck_assert_msg (kernel == NULL, "this was taken: %s", s_refusals [index].text);
        ck_assert_msg (error.status == GPB_INVALID_ARGUMENT, "%s: %s", error.text,
                       s_refusals [index].text);
        ck_assert_msg (strstr (error.text, s_refusals [index].sentence) != NULL,
                       "\"%s\" is not in \"%s\" for\n%s", s_refusals [index].sentence, error.text,
                       s_refusals [index].text);
    }
}
END_TEST

START_TEST (test_a_launched_kernel_may_call_a_scalar_count)
{
    gpb_kernel_t *kernel = s_parse (ID "global = [ \"count\" ]; parameters = ( " OUT (
        "count = \"count\";") ",\n"
                              "{ name = \"count\"; direction = \"scalar\"; type = \"u32\"; } );");
    gpb_kernel_destroy (&kernel);
}
END_TEST

//  Whatever stands around it, and however far behind.
START_TEST (test_a_refusal_names_the_settings_own_line)
{
    static const char *const settings [] = { "lanes = 0;",  "slots = 3;",     "slot_size = 1;",
                                             "state = -1;", "local = [ 0 ];", "devices = [ ];" };
    for (size_t index = 0; index < sizeof settings / sizeof settings [0]; index++)
        for (unsigned lines = 0; lines < 3; lines++) {
            char text [512], where [32];
            gpb_error_t error = { GPB_OK, "" };
            snprintf (text, sizeof text, "%s%.*s%s\n%s", PERSISTENT, (int) lines, "\n\n\n",
                      settings [index], PARAMETERS);
            snprintf (where, sizeof where, "kernel.conf:%u: ", 4 + lines);
            ck_assert_ptr_null (gpb_kernel_parse (text, "x", &error));
            ck_assert_msg (strncmp (error.text, where, strlen (where)) == 0, "%s: %s",
                           settings [index], error.text);
        }
}
END_TEST

START_TEST (test_of_a_package_in_a_folder_a_refusal_names_the_file)
{
    const char *base = getenv ("TMPDIR");
    char folder [256], path [300], expected [400];
    snprintf (folder, sizeof folder, "%s/gpb-persistent-XXXXXX", base ? base : "/tmp");
    ck_assert_ptr_nonnull (mkdtemp (folder));
    snprintf (path, sizeof path, "%s/kernel.conf", folder);
    FILE *file = fopen (path, "w");
    ck_assert_ptr_nonnull (file);
    fputs (WHOLE "lanes = 33;", file);
    fclose (file);
    gpb_error_t error = { GPB_OK, "" };
    gpb_kernel_t *kernel = gpb_kernel_load (folder, &error);
    unlink (path);
    rmdir (folder);
    ck_assert_ptr_null (kernel);
    snprintf (expected, sizeof expected, "%s:8: lanes lies from 1 to 32, and here it is 33", path);
    ck_assert_refused (error.status, GPB_INVALID_ARGUMENT, expected);
}
END_TEST

START_TEST (test_memory_that_runs_out_is_said_and_nothing_is_kept)
{
    gpb_kernel_t *kernel = NULL;
    int64_t after = 0;
    for (; !kernel && after < 1000; after++) {
        gpb_error_t error = { GPB_OK, "" };
        gpb_alloc_fail (after, 0);
        kernel = gpb_kernel_parse (WHOLE "devices = ( \"gpu\", 3 );", "x", &error);
        gpb_alloc_fail (-1, 0);
        if (!kernel)
            ck_assert_msg (error.status == GPB_RESOURCE_EXHAUSTED, "allocation %d: %s: %s",
                           (int) after, gpb_status_name (error.status), error.text);
    }
    ck_assert_int_gt (after, 10);
    ck_assert_ptr_nonnull (kernel);
    ck_assert_str_eq (gpb_kernel_persistent_device (kernel, 1), "3");
    gpb_kernel_destroy (&kernel);
}
END_TEST

GPB_TEST_MAIN ("gpb_kernel_persistent_definition", 10, test_what_is_left_out_has_its_default,
               test_what_is_said_is_there, test_every_bound_is_within_its_bounds,
               test_every_word_for_a_device_is_kept_as_it_is_said,
               test_it_may_name_as_many_devices_as_a_node_has,
               test_every_fault_is_refused_with_its_line_and_what_would_be_right,
               test_a_launched_kernel_may_call_a_scalar_count,
               test_a_refusal_names_the_settings_own_line,
               test_of_a_package_in_a_folder_a_refusal_names_the_file,
               test_memory_that_runs_out_is_said_and_nothing_is_kept)
