//  Tests of gpb_kernel: a definition says what its text says, and everything that it must not say
//  is refused with file, line and what would be right.

#include "gpb_alloc.h"
#include "gpb_kernel.h"
#include "gpb_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char s_source [] = "KERNEL void scale (GLOBAL float *x, float a, int n)\n{\n}\n";

//  One of everything.
static const char s_definition [] = "id = \"scale\";\n"
                                    "description = \"x = a * x, \xC3\xA9 included\";\n"
                                    "source = \"scale.c\";\n"
                                    "parameters = (\n"
                                    "  { name = \"x\"; direction = \"inout\"; type = \"f32\";\n"
                                    "    count = \"n * 2\"; alignment = 16; },\n"
                                    "  { name = \"a\"; direction = \"scalar\"; type = \"f32\";\n"
                                    "    minimum = 0; maximum = 2.5; },\n"
                                    "  { name = \"n\"; direction = \"scalar\"; type = \"i32\";\n"
                                    "    maximum = 1000000; }\n"
                                    ");\n"
                                    "global = [ \"n\" ];\n"
                                    "local = [ 64 ];\n"
                                    "shared = \"256\";\n"
                                    "require = [ \"fp64\", \"gpu\" ];\n"
                                    "optimize = 3; debug = true; options = \"-DX=1\";\n"
                                    "arch = \"sm_90\";\n";

START_TEST (test_a_definition_says_what_its_text_says)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_kernel_t *kernel = gpb_kernel_parse (s_definition, s_source, &error);
    ck_assert_msg (kernel != NULL, "%s", error.text);
    ck_assert_str_eq (gpb_kernel_id (kernel), "scale");
    ck_assert_str_eq (gpb_kernel_entry (kernel), "scale");
    ck_assert_str_eq (gpb_kernel_description (kernel), "x = a * x, \xC3\xA9 included");
    ck_assert_uint_eq (gpb_kernel_parameters (kernel), 3);
    const gpb_parameter_t *x = gpb_kernel_parameter (kernel, 0);
    ck_assert_str_eq (x->name, "x");
    ck_assert_str_eq (gpb_direction_name (x->direction), "inout");
    ck_assert_str_eq (gpb_type_name (x->type), "f32");
    ck_assert_str_eq (x->count, "n * 2");
    ck_assert_uint_eq (x->alignment, 16);
    const gpb_parameter_t *n = gpb_kernel_parameter (kernel, 2);
    ck_assert_int_eq (n->direction, GPB_SCALAR);
    ck_assert_int_eq (n->type, GPB_I32);
    ck_assert_str_eq (n->count, "");
    ck_assert_ptr_null (gpb_kernel_parameter (kernel, 3));
    ck_assert_uint_eq (gpb_kernel_dimensions (kernel), 1);
    ck_assert_str_eq (gpb_kernel_global (kernel, 0), "n");
    ck_assert_ptr_null (gpb_kernel_global (kernel, 1));
    ck_assert (!gpb_kernel_global_free (kernel));
    const uint64_t *local = gpb_kernel_local (kernel);
    ck_assert (local [0] == 64 && local [1] == 1 && local [2] == 1);
    ck_assert_str_eq (gpb_kernel_shared (kernel), "256");
    ck_assert_str_eq (gpb_kernel_require (kernel, 0), "fp64");
    ck_assert_str_eq (gpb_kernel_require (kernel, 1), "gpu");
    ck_assert_ptr_null (gpb_kernel_require (kernel, 2));
    ck_assert_str_eq (gpb_kernel_source_kind (kernel, 0), "portable");
    ck_assert_ptr_null (gpb_kernel_source_kind (kernel, 1));
    gpb_kernel_destroy (&kernel);
    ck_assert_ptr_null (kernel);
}
END_TEST

START_TEST (test_what_is_left_out_has_its_default)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_kernel_t *kernel = gpb_kernel_parse (
        "id = \"k.1-a\"; entry = \"f\"; source = \"k.c\"; global = ( 7, \"2\" );\n"
        "parameters = ( { name = \"c\"; direction = \"out\"; type = \"f64\"; count = 5; } );",
        "x", &error);
    ck_assert_msg (kernel != NULL, "%s", error.text);
    ck_assert_str_eq (gpb_kernel_description (kernel), "");
    ck_assert_uint_eq (gpb_kernel_parameter (kernel, 0)->alignment, 8);
    ck_assert (!gpb_kernel_parameter (kernel, 0)->zero);
    ck_assert_str_eq (gpb_kernel_parameter (kernel, 0)->count, "5");
    ck_assert_str_eq (gpb_kernel_global (kernel, 0), "7");
    ck_assert_str_eq (gpb_kernel_global (kernel, 1), "2");
    ck_assert_ptr_null (gpb_kernel_local (kernel));
    ck_assert_str_eq (gpb_kernel_shared (kernel), "");
    ck_assert_ptr_null (gpb_kernel_require (kernel, 0));
    gpb_code_t code;
    ck_assert_ok (gpb_kernel_code (kernel, "opencl", &code, &error));
    ck_assert_int_eq (code.optimize, 2);
    ck_assert (!code.debug);
    ck_assert_str_eq (code.options, "");
    ck_assert_str_eq (code.architecture, "");
    gpb_kernel_destroy (&kernel);
}
END_TEST

START_TEST (test_an_output_says_whether_it_starts_at_zero)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_kernel_t *kernel = gpb_kernel_parse (
        "id = \"k\"; source = \"k.c\"; global = [ 1 ];\n"
        "parameters = (\n"
        "  { name = \"a\"; direction = \"out\"; type = \"f32\"; count = 1; zero = true; },\n"
        "  { name = \"b\"; direction = \"out\"; type = \"f32\"; count = 1; zero = false; },\n"
        "  { name = \"c\"; direction = \"inout\"; type = \"f32\"; count = 1; } );",
        "x", &error);
    ck_assert_msg (kernel != NULL, "%s", error.text);
    ck_assert (gpb_kernel_parameter (kernel, 0)->zero);
    ck_assert (!gpb_kernel_parameter (kernel, 1)->zero);
    ck_assert (!gpb_kernel_parameter (kernel, 2)->zero);
    gpb_kernel_destroy (&kernel);
}
END_TEST

START_TEST (test_portable_code_has_the_prelude_and_its_own_line_numbers)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_kernel_t *kernel = gpb_kernel_parse (s_definition, s_source, &error);
    gpb_code_t code;
    ck_assert_ok (gpb_kernel_code (kernel, "cuda", &code, &error));
    ck_assert_int_eq (code.kind, GPB_CODE_PORTABLE);
    ck_assert_str_eq (code.name, "scale.c");
    ck_assert_int_eq (code.optimize, 3);
    ck_assert (code.debug);
    ck_assert_str_eq (code.options, "-DX=1");
    ck_assert_str_eq (code.architecture, "sm_90");
    const char *text = code.data;
    ck_assert_uint_eq (strlen (text), code.size);
    const char *line = strstr (text, "\n#line 1 \"scale.c\"\n");
    ck_assert_ptr_nonnull (line);
    ck_assert_str_eq (line + strlen ("\n#line 1 \"scale.c\"\n"), s_source);
    const char *prelude = strstr (text, "#define KERNEL");
    ck_assert_ptr_nonnull (prelude);
    ck_assert (prelude < line);
    gpb_kernel_destroy (&kernel);
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Refusals

#define ID "id = \"k\";\n"
#define SOURCE "source = \"k.c\";\n"
#define N "{ name = \"n\"; direction = \"scalar\"; type = \"i32\"; }"
#define A(more) "{ name = \"a\"; direction = \"in\"; type = \"f32\"; " more " }"
#define PARAMETERS "parameters = (\n" A ("count = \"n\";") ",\n" N " );\n"
#define GLOBAL "global = [ \"n\" ];\n"

//  A definition whose line 4 is the one parameter at fault; n is the other one.
#define WITH(parameter) ID SOURCE "parameters = (\n" parameter ",\n" N " );\n" GLOBAL
#define WHOLE ID SOURCE PARAMETERS GLOBAL

static const struct {
    const char *text;
    const char *sentence;
} s_refusals [] = {
    { "", "kernel.conf:1: id is missing: [a-z0-9_.-]{1,64}" },
    { ID "source = ;", "kernel.conf:2: syntax error" },
    { ID "\nid = \"again\";", "kernel.conf:3: duplicate setting name" },
    { WHOLE "colour = 1;", "kernel.conf:7: unknown key \"colour\"; the keys are id, description, "
                           "entry, source, sources, parameters, global" },
    { "id = 5;", "kernel.conf:1: id is a \"string\", and here it is a whole number" },
    { "id = \"\";", "kernel.conf:1: id is [a-z0-9_.-]{1,64}, and here it is \"\"" },
    { "id = \"A\";", "here it is \"A\"" },
    { "id = \"a/b\";", "here it is \"a/b\"" },
    { "id = \"..\";", "here it is \"..\"" },
    { "id = \"a b\";", "here it is \"a b\"" },
    { "id = \"12345678901234567890123456789012345678901234567890123456789012345\";", "{1,64}" },
    { "id = \"a\\x01\";", "kernel.conf:1: id holds control characters or is not UTF-8" },
    { "id = \"k\";\ndescription = \"\\xFF\";", "kernel.conf:2: description holds control" },
    { "id = \"k\";\ndescription = \"\xFF\";", "kernel.conf:2: this line is not UTF-8" },
    { "# \xED\xA0\x80", "kernel.conf:1: this line is not UTF-8" },
    { ID "entry = \"a b\";", "kernel.conf:2: entry, the function's name, is a C identifier" },
    { "id = \"1k\";\n" SOURCE, "kernel.conf:1: entry, the function's name, is a C identifier of 1 "
                               "to 63 characters, and here it is \"1k\", the id" },

    //  Files.
    { ID PARAMETERS GLOBAL, "kernel.conf:1: there is no source: source = \"x.c\"" },
    { ID "source = \"../k.c\";", "kernel.conf:2: source is the name of a file beside kernel.conf" },
    { ID "source = \"/etc/k.c\";", "here it is \"/etc/k.c\"" },
    { ID "source = \"a/k.c\";", "without a folder" },
    { ID "source = \"a..c\";", "without a folder" },
    { ID "source = \".c\";", "without a folder" },
    { ID "source = \"k.cl\";", "kernel.conf:2: source names a file that ends in .c, and here it is "
                               "\"k.cl\"" },
    { ID "source = \"k\\\"\\n#include.c\";", "kernel.conf:2: source holds control characters" },
    { ID "source = \"k\\\".c\";", "without a folder" },
    { ID "sources = { };", "kernel.conf:2: there is no source" },
    { ID "sources = { cl = \"k.cu\"; };", "cl names a file that ends in .cl" },
    { ID "sources = { hip = \"k.hip\"; };",
      "unknown key \"hip\"; the keys are cl, cu, ptx, fatbin, cubin" },
    { ID "sources = \"k.cl\";", "sources is a group { ... }, and here it is a \"string\"" },

    //  Parameters.
    { ID SOURCE GLOBAL, "parameters is a list of 1 to 32, and there are 0" },
    { ID SOURCE "parameters = ( );", "kernel.conf:3: parameters is a list of 1 to 32" },
    { ID SOURCE "parameters = [ 1 ];", "parameters is a list ( ... ), and here it is an array" },
    { ID SOURCE "parameters = ( 1 );", "parameter 0 is a group { ... }, and here it is a whole" },
    { WITH ("{ direction = \"in\"; }"),
      "kernel.conf:4: the name of parameter 0 is a C identifier" },
    { WITH ("{ name = \"a-b\"; }"), "of 1 to 63 characters, and here it is \"a-b\"" },
    { WITH ("{ name = \"min\"; }"), "kernel.conf:4: \"min\" means something else in expressions" },
    { WITH ("{ name = \"global_size_0\"; }"), "means something else in expressions" },
    { WITH (A ("count = 1;") ",\n" A ("count = 1;")),
      "kernel.conf:5: there are two parameters \"a\", 0 and 1" },
    { WITH ("{ name = \"a\"; }"), "kernel.conf:4: direction of \"a\" is in, out, inout or scalar" },
    { WITH ("{ name = \"a\"; direction = \"both\"; type = \"f32\"; }"), "here it is \"both\"" },
    { WITH ("{ name = \"a\"; direction = \"in\"; type = \"float\"; }"),
      "type of \"a\" is i8, u8, i16, u16, i32, u32, i64, u64, f16, f32 or f64, and here it is "
      "\"float\"" },
    { WITH ("{ name = \"a\"; direction = \"scalar\"; type = \"u8\"; }"),
      "type of \"a\" is i32, u32, i64, u64, f32 or f64, and here it is \"u8\"" },
    { WITH (A ("counts = 1;")), "kernel.conf:4: unknown key \"counts\"; the keys are name," },
    { WITH (A ("")), "kernel.conf:4: \"a\" has no count: how many elements of f32" },
    { WITH (A ("count = 1.5;")),
      "count is an expression, \"n * 4\" or 4, and here it is a number" },
    { WITH (A ("count = -1;")), "count: \"-1\", column 1: a number, a name" },
    { WITH (A ("count = \"n *\";")), "kernel.conf:4: count: \"n *\", column 4: a number, a name" },
    { WITH (A ("count = \"k\";")), "kernel.conf:4: count: \"k\", column 1: there is no parameter "
                                   "\"k\"" },
    { WITH (A ("count = \"a\";")), "\"a\" is no scalar, and expressions are of scalars" },
    { WITH ("{ name = \"s\"; direction = \"scalar\"; type = \"f32\"; },\n" A ("count = \"s\";")),
      "kernel.conf:5: count: \"s\", column 1: \"s\" is f32, and expressions are of whole numbers" },
    { WITH (A ("count = \"global_size_0\";")), "global_size_0 is there only with global_free" },
    { WITH (A ("count = 1; alignment = 3;")),
      "kernel.conf:4: alignment of f32 is a power of two from 4 to 128 bytes, and here it is 3" },
    { WITH (A ("count = 1; alignment = 2;")), "here it is 2" },
    { WITH (A ("count = 1; alignment = 256;")), "here it is 256" },
    { WITH (A ("count = 1; alignment = 0;")), "here it is 0" },
    { WITH (A ("count = 1; zero = true;")),
      "kernel.conf:4: zero is for out parameters, and \"a\" is in" },
    { WITH (A ("count = 1; zero = false;")), "zero is for out parameters, and \"a\" is in" },
    { WITH (A ("count = 1; zero = 1;")), "zero is true or false, and here it is a whole number" },
    { WITH (A ("count = 1; minimum = 0;")), "minimum is for scalars, and \"a\" is in" },
#define S(type, more) "{ name = \"s\"; direction = \"scalar\"; type = \"" type "\"; " more " }"
    { WITH (S ("i32", "count = 1;")), "kernel.conf:4: count is for memory, and \"s\" is a scalar" },
    { WITH (S ("i32", "zero = true;")), "zero is for out parameters, and \"s\" is scalar" },
    { WITH (S ("i32", "alignment = 4;")), "alignment is for memory, and \"s\" is a scalar" },
    { WITH (S ("i32", "minimum = 1.5;")),
      "minimum of a i32 is a whole number, and here it is a number with a fraction" },
    { WITH (S ("i32", "maximum = 3000000000L;")),
      "maximum of a i32 lies from -2147483648 to 2147483647, and here it is 3000000000" },
    { WITH (S ("u32", "minimum = -1;")), "minimum of a u32 lies from 0 to 4294967295" },
    { WITH (S ("i32", "minimum = 2; maximum = 1;")), "maximum of \"s\" is below its minimum" },
    { WITH (S ("f32", "minimum = 2.5; maximum = 1;")), "maximum of \"s\" is below its minimum" },
    { WITH (S ("f64", "maximum = 1e999;")), "kernel.conf:4: maximum is finite" },
    { WITH (S ("f64", "maximum = \"1\";")), "maximum is a number, and here it is a \"string\"" },

    //  Work size.
    { ID SOURCE PARAMETERS, "kernel.conf:1: global is missing: the global size" },
    { ID SOURCE PARAMETERS "global = \"n\";", "kernel.conf:6: global is an array [ ... ]" },
    { ID SOURCE PARAMETERS "global = [ ];", "global has 1 to 3 entries, and here it has 0" },
    { ID SOURCE PARAMETERS "global = [ 1, 1, 1, 1 ];", "global has 1 to 3 entries" },
    { ID SOURCE PARAMETERS "global = [ \"x\" ];", "kernel.conf:6: global: \"x\", column 1" },
    { ID SOURCE PARAMETERS "global_free = true;\nglobal = [ \"global_size_0\" ];",
      "kernel.conf:7: global: \"global_size_0\", column 1: the global size cannot be made of "
      "itself" },
    { WITH (A ("count = \"global_size_1\";")) "global_free = true;",
      "there is no global_size_1: the global size has 1 dimension" },
    { WHOLE "global_free = 1;", "global_free is true or false, and here it is a whole number" },
    { WHOLE "local = [ 8, 8 ];", "kernel.conf:7: local has 2 dimensions and global 1" },
    { WHOLE "local = [ 0 ];", "kernel.conf:7: local is of whole numbers from 1 to 65536" },
    { WHOLE "local = [ -1 ];", "local is of whole numbers" },
    { WHOLE "local = [ \"n\" ];", "local is of whole numbers" },
    { WHOLE "local = 64;", "local is an array [ ... ], and here it is a whole number" },
    { WHOLE "local_free = false;", "local_free = false fixes the local size, and there is no" },
    { WHOLE "shared = \"n +\";", "kernel.conf:7: shared: \"n +\", column 4" },

    //  Capabilities and the compiler.
    { WHOLE "require = [ \"FP64\" ];", "require is of capabilities, \"[a-z0-9_]{1,31}\": entry 0" },
    { WHOLE "require = [ 1 ];", "require is of capabilities" },
    { WHOLE "require = [ \"a\", \"a\" ];", "kernel.conf:7: require names \"a\" twice" },
    { WHOLE "require = \"a\";", "require is an array" },
    { WHOLE "optimize = 4;", "kernel.conf:7: optimize is 0 to 3, and here it is 4" },
    { WHOLE "optimize = -1;", "here it is -1" },
    { WHOLE "optimize = 1.0;", "optimize is a whole number, and here it is a number with a" },
    { WHOLE "options = \"-D\\n\";", "kernel.conf:7: options holds control characters" },
    { WHOLE "arch = \"sm 90\";", "kernel.conf:7: arch is [A-Za-z0-9_.+-]{1,127}" },

    //  What libconfig would take in silence.
    { WHOLE "local = [ 4294967552 ];", "kernel.conf:7: a whole number beyond 32 bits is written "
                                       "with an L behind it" },
    { WITH (S ("i64", "maximum = 99999999999;")), "kernel.conf:4: a whole number beyond 32 bits" },
    { WITH (S ("i32", "minimum = 0xFFFFFFFF;")), "kernel.conf:4: a whole number beyond 32 bits" },
    { WITH (S ("i64", "maximum = 99999999999999999999L;")),
      "kernel.conf:4: a whole number lies from -9223372036854775808 to 9223372036854775807" },
    { ID "\n@include \"/etc/passwd\"\n", "kernel.conf:3: a kernel's definition includes no other "
                                         "file" },
    { ID "  \t@include \"/etc/passwd\"\n",
      "kernel.conf:2: a kernel's definition includes no other" },
    { "/*\n*/ id = \"k\"; /* \" */\n@include \"/etc/passwd\"", "kernel.conf:3: a kernel's" },
    { ID "\nentry = \"f\n\\\"", "kernel.conf:3: a string starts here and is not closed" },
    { ID "entry = \"f\\", "kernel.conf:2: a string starts here and is not closed" },
    { ID "\n/* \n * /\n", "kernel.conf:3: a comment starts here and is not closed" },
    { ID "entry = \"f\" 1", "kernel.conf:2: syntax error" },
    { ID "local = 5\n\"f\"", "kernel.conf:3: syntax error: no string belongs here" },
    { ID "local = 5,\n\"f\"", "kernel.conf:3: syntax error: no string belongs here" },
    { "\"id\" = 1;", "kernel.conf:1: syntax error: no string belongs here" },
    { ID "/*/", "kernel.conf:2: a comment starts here and is not closed" },
    { "a = {b={c={d={e={f={g={h={i={j=1;};};};};};};};};};", "kernel.conf:1: groups and lists are "
                                                             "nested too deeply" },
};

START_TEST (test_every_fault_is_refused_with_its_line_and_what_would_be_right)
{
    for (size_t index = 0; index < sizeof s_refusals / sizeof s_refusals [0]; index++) {
        gpb_error_t error = { GPB_OK, "" };
        gpb_kernel_t *kernel = gpb_kernel_parse (s_refusals [index].text, s_source, &error);
        ck_assert_msg (kernel == NULL, "this was taken: %s", s_refusals [index].text);
        ck_assert_msg (error.status == GPB_INVALID_ARGUMENT, "%s: %s", error.text,
                       s_refusals [index].text);
        ck_assert_msg (strstr (error.text, s_refusals [index].sentence) != NULL,
                       "\"%s\" is not in \"%s\" for\n%s", s_refusals [index].sentence, error.text,
                       s_refusals [index].text);
    }
}
END_TEST

START_TEST (test_the_template_of_the_refusals_is_taken)
{
    static const char *const texts [] = {
        WHOLE,
        WITH (A ("count = \"n\";")),
        WHOLE "description = \"in \" /* two */ \"parts\"; require = ( \"a\", \"b\" )",
        WHOLE "local_free = false; local = [ 64 ]; global_free = true;",
        WHOLE "description = \"99999999999 and // no comment, @include\"; # 99999999999\n",
        WITH (S ("i64", "minimum = -9000000000L; maximum = 9223372036854775807L;")),
        WITH (S ("u32", "maximum = 4294967295L;")),
        WITH (S ("f32", "minimum = -1.5e3; maximum = 0x10;")),
        WITH (A ("count = \"global_size_0 * n\";")) "global_free = true; shared = \"\";",
    };
    for (size_t index = 0; index < sizeof texts / sizeof texts [0]; index++) {
        gpb_error_t error = { GPB_OK, "" };
        gpb_kernel_t *kernel = gpb_kernel_parse (texts [index], s_source, &error);
        ck_assert_msg (kernel != NULL, "%s for\n%s", error.text, texts [index]);
        gpb_kernel_destroy (&kernel);
    }
}
END_TEST

START_TEST (test_what_comes_over_the_wire_is_bounded_and_is_one_text)
{
    gpb_error_t error = { GPB_OK, "" };
    char *large = malloc (GPB_KERNEL_SOURCE_MAX + 2);
    memset (large, ' ', GPB_KERNEL_SOURCE_MAX + 1);
    large [GPB_KERNEL_SOURCE_MAX + 1] = 0;
    ck_assert_ptr_null (gpb_kernel_parse (WHOLE, large, &error));
    ck_assert_ptr_nonnull (strstr (error.text, "the source has 1048577 bytes, and it has 1 to"));
    large [GPB_KERNEL_SOURCE_MAX] = 0;
    gpb_kernel_t *kernel = gpb_kernel_parse (WHOLE, large, &error);
    ck_assert_ptr_nonnull (kernel);
    gpb_kernel_destroy (&kernel);
    large [64 * 1024 + 1] = 0;
    ck_assert_ptr_null (gpb_kernel_parse (large, s_source, &error));
    ck_assert_ptr_nonnull (strstr (error.text, "the definition has 65537 bytes"));
    free (large);
    ck_assert_ptr_null (gpb_kernel_parse (WHOLE, "", &error));
    ck_assert_ptr_nonnull (strstr (error.text, "the source has 0 bytes"));
    ck_assert_ptr_null (gpb_kernel_parse (WHOLE "sources = { cl = \"k.cl\"; };", "x", &error));
    ck_assert_ptr_nonnull (strstr (error.text, "kernel.conf:7: \"k.cl\" is a second file"));
    ck_assert_ptr_null (
        gpb_kernel_parse (ID PARAMETERS GLOBAL "sources = { cubin = \"k.cubin\"; };", "x", &error));
    ck_assert_ptr_nonnull (strstr (error.text, "kernel.conf:6: a cubin is no text"));
    ck_assert_ptr_null (gpb_kernel_parse (ID PARAMETERS GLOBAL
                                          "sources = { fatbin = \"k.fatbin\"; };",
                                          "x", &error));
    ck_assert_ptr_nonnull (strstr (error.text, "kernel.conf:6: a fatbin is no text"));
    kernel = gpb_kernel_parse (ID PARAMETERS GLOBAL "sources = { ptx = \"k.ptx\"; };", "x", &error);
    ck_assert_ptr_nonnull (kernel);
    gpb_code_t code;
    ck_assert_ok (gpb_kernel_code (kernel, "cuda", &code, &error));
    ck_assert_int_eq (code.kind, GPB_CODE_INTERMEDIATE);
    ck_assert_str_eq (code.data, "x");
    ck_assert_refused (gpb_kernel_code (kernel, "opencl", &code, &error), GPB_FAILED_PRECONDITION,
                       "kernel \"k\" carries no code for opencl, and no portable source");
    gpb_kernel_destroy (&kernel);
    ck_assert_ptr_null (gpb_kernel_parse ("", "", NULL));
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Folders

//  A folder of the test's own with an empty package `k` in it.
static void
s_make_package (char *directory, size_t size)
{
    const char *base = getenv ("TMPDIR");
    char root [256];
    snprintf (root, sizeof root, "%s/gpb-kernel-XXXXXX", base ? base : "/tmp");
    ck_assert_ptr_nonnull (mkdtemp (root));
    snprintf (directory, size, "%s/k", root);
    ck_assert_int_eq (mkdir (directory, 0700), 0);
}

static void
s_write (const char *directory, const char *name, const void *data, size_t size)
{
    char path [512];
    snprintf (path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen (path, "w");
    ck_assert_ptr_nonnull (file);
    ck_assert_uint_eq (fwrite (data, 1, size, file), size);
    fclose (file);
}

static void
s_write_text (const char *directory, const char *name, const char *text)
{
    s_write (directory, name, text, strlen (text));
}

static void
s_remove_package (const char *directory)
{
    char command [600];
    snprintf (command, sizeof command, "rm -rf '%s/..'/*", directory);
    ck_assert_int_eq (system (command), 0);
    snprintf (command, sizeof command, "%s", directory);
    *strrchr (command, '/') = 0;
    ck_assert_int_eq (rmdir (command), 0);
}

static void
s_expect_refusal (const char *directory, gpb_status_t status, const char *sentence)
{
    gpb_error_t error = { GPB_OK, "" };
    ck_assert_ptr_null (gpb_kernel_load (directory, &error));
    ck_assert_refused (error.status, status, sentence);
}

START_TEST (test_a_package_is_read_from_its_folder)
{
    char directory [300], there [512];
    s_make_package (directory, sizeof directory);
    s_expect_refusal (directory, GPB_NOT_FOUND, "/k/\"kernel.conf\": No such file");
    s_write_text (directory, "kernel.conf",
                  WHOLE "sources = { cl = \"a.cl\"; cu = \"a.cu\"; cubin "
                        "= \"a.cubin\"; };");
    s_expect_refusal (directory, GPB_INVALID_ARGUMENT,
                      "/k/kernel.conf:2: there is no file \"k.c\" beside kernel.conf");
    s_write_text (directory, "k.c", "portable");
    s_write_text (directory, "a.cl", "opencl");
    s_write_text (directory, "a.cu", "cuda");
    s_write (directory, "a.cubin", "\0\1", 2);
    const char *const paths [] = { "%s", "%s/", "%s//", "%s/.", "%s/../k" };
    for (size_t index = 0; index < sizeof paths / sizeof paths [0]; index++) {
        snprintf (there, sizeof there, index == 0 ? "%s" : "%s%s", directory, paths [index] + 2);
        gpb_error_t error = { GPB_OK, "" };
        gpb_kernel_t *kernel = gpb_kernel_load (there, &error);
        ck_assert_msg (kernel != NULL, "%s: %s", there, error.text);
        ck_assert_str_eq (gpb_kernel_source_kind (kernel, 0), "portable");
        ck_assert_str_eq (gpb_kernel_source_kind (kernel, 1), "cl");
        ck_assert_str_eq (gpb_kernel_source_kind (kernel, 2), "cu");
        ck_assert_str_eq (gpb_kernel_source_kind (kernel, 3), "cubin");
        gpb_code_t code;
        ck_assert_ok (gpb_kernel_code (kernel, "opencl", &code, &error));
        ck_assert_int_eq (code.kind, GPB_CODE_SOURCE);
        ck_assert_str_eq (code.data, "\n#line 1 \"a.cl\"\nopencl");
        ck_assert_ok (gpb_kernel_code (kernel, "cuda", &code, &error));
        ck_assert_str_eq (code.data, "\n#line 1 \"a.cu\"\ncuda");
        ck_assert_ok (gpb_kernel_code (kernel, "another", &code, &error));
        ck_assert_int_eq (code.kind, GPB_CODE_PORTABLE);
        gpb_kernel_destroy (&kernel);
    }
    s_remove_package (directory);
}
END_TEST

START_TEST (test_a_binary_is_carried_as_it_is)
{
    char directory [300];
    s_make_package (directory, sizeof directory);
    s_write_text (directory, "kernel.conf",
                  ID PARAMETERS GLOBAL
                  "sources = { cubin = \"b.cubin\"; fatbin = \"a.fatbin\"; };");
    s_write (directory, "a.fatbin", "\0\1\0", 3);
    s_write (directory, "b.cubin", "\0\2", 2);
    gpb_error_t error = { GPB_OK, "" };
    gpb_kernel_t *kernel = gpb_kernel_load (directory, &error);
    ck_assert_msg (kernel != NULL, "%s", error.text);
    gpb_code_t code;
    ck_assert_ok (gpb_kernel_code (kernel, "cuda", &code, &error));
    ck_assert_int_eq (code.kind, GPB_CODE_BINARY);
    ck_assert_uint_eq (code.size, 3);
    ck_assert_mem_eq (code.data, "\0\1\0", 3);
    gpb_kernel_destroy (&kernel);
    s_remove_package (directory);
}
END_TEST

START_TEST (test_files_that_are_none_are_refused_and_nothing_waits)
{
    char directory [300], path [512];
    s_make_package (directory, sizeof directory);
    s_expect_refusal ("/nowhere/at/all", GPB_NOT_FOUND, "/nowhere/at/all: No such file");
    s_expect_refusal ("/etc/passwd", GPB_NOT_FOUND, "Not a directory");
    s_write (directory, "kernel.conf", WHOLE "\n\0", sizeof WHOLE + 1);
    s_expect_refusal (directory, GPB_INVALID_ARGUMENT, "kernel.conf:8: there is a NUL byte");
    s_write_text (directory, "kernel.conf", WHOLE);
    s_write (directory, "k.c", "a\nb\0c", 5);
    s_expect_refusal (directory, GPB_INVALID_ARGUMENT,
                      "kernel.conf:2: k.c:2: there is a NUL byte, and text has none");
    s_write (directory, "k.c", "", 0);
    s_expect_refusal (directory, GPB_INVALID_ARGUMENT, "kernel.conf:2: \"k.c\" is empty");
    snprintf (path, sizeof path, "%s/k.c", directory);
    ck_assert_int_eq (truncate (path, GPB_KERNEL_SOURCE_MAX + 1), 0);
    s_expect_refusal (directory, GPB_INVALID_ARGUMENT,
                      "kernel.conf:2: \"k.c\" has 1048577 bytes, and at most 1048576 are read");
    unlink (path);
    ck_assert_int_eq (mkfifo (path, 0600), 0);
    s_expect_refusal (directory, GPB_INVALID_ARGUMENT, "\"k.c\" is no regular file");
    unlink (path);
    ck_assert_int_eq (mkdir (path, 0700), 0);
    s_expect_refusal (directory, GPB_INVALID_ARGUMENT, "\"k.c\" is no regular file");
    s_write_text (directory, "kernel.conf", "id = \"other\";" SOURCE PARAMETERS GLOBAL);
    s_expect_refusal (directory, GPB_INVALID_ARGUMENT,
                      "kernel.conf:1: the id \"other\" and the folder's name \"k\" differ");
    s_remove_package (directory);
}
END_TEST

START_TEST (test_each_allocation_that_fails_is_said_and_nothing_leaks)
{
    char directory [300];
    s_make_package (directory, sizeof directory);
    s_write_text (directory, "kernel.conf", WHOLE "require = [ \"a\" ]; shared = \"n\";");
    s_write_text (directory, "k.c", "portable");
    gpb_error_t error;
    for (int wire = 0; wire < 2; wire++) {
        int64_t failing = 0;
        for (;; failing++) {
            gpb_alloc_fail (failing, 0);
            gpb_kernel_t *kernel = wire ? gpb_kernel_parse (s_definition, s_source, &error)
                                        : gpb_kernel_load (directory, &error);
            gpb_alloc_fail (-1, 0);
            if (kernel) {
                gpb_kernel_destroy (&kernel);
                break;
            }
            ck_assert_refused (error.status, GPB_RESOURCE_EXHAUSTED, "out of memory");
        }
        ck_assert_int_gt (failing, 10);
    }
    s_remove_package (directory);
}
END_TEST

START_TEST (test_no_cut_or_mangled_definition_crashes)
{
    char text [sizeof s_definition];
    size_t taken = 0;
    srand (7);
    for (size_t round = 0; round < 8000; round++) {
        memcpy (text, s_definition, sizeof text);
        if (round < sizeof text)
            text [round] = 0;
        else
            for (int change = 0; change < 3; change++)
                text [(size_t) rand () % (sizeof text - 1)] = (char) (rand () % 255 + 1);
        gpb_error_t error = { GPB_OK, "" };
        gpb_kernel_t *kernel = gpb_kernel_parse (text, s_source, &error);
        if (kernel)
            taken++;
        else
            ck_assert_msg (strncmp (error.text, "kernel.conf:", 12) == 0, "%s", error.text);
        gpb_kernel_destroy (&kernel);
    }
    ck_assert_uint_gt (taken, 0);
}
END_TEST

GPB_TEST_MAIN ("gpb_kernel", 20, test_a_definition_says_what_its_text_says,
               test_what_is_left_out_has_its_default, test_an_output_says_whether_it_starts_at_zero,
               test_portable_code_has_the_prelude_and_its_own_line_numbers,
               test_every_fault_is_refused_with_its_line_and_what_would_be_right,
               test_the_template_of_the_refusals_is_taken,
               test_what_comes_over_the_wire_is_bounded_and_is_one_text,
               test_a_package_is_read_from_its_folder, test_a_binary_is_carried_as_it_is,
               test_files_that_are_none_are_refused_and_nothing_waits,
               test_each_allocation_that_fails_is_said_and_nothing_leaks,
               test_no_cut_or_mangled_definition_crashes)
