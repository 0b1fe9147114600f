//  Tests of gpb_operands: what `gpb run` takes as an argument, and what a kernel's parameters
//  refuse.

#include "gpb_operands.h"
#include "gpb_test.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

//  Parses a copy of text, which lives until the next call with the same slot.
static gpb_status_t
s_parse (gpb_operand_t *operand, size_t slot, const char *text, gpb_error_t *error)
{
    static char copies [8][128];
    ck_assert_uint_lt (strlen (text), sizeof copies [slot]);
    strcpy (copies [slot], text);
    return gpb_operand_parse (operand, copies [slot], error);
}

START_TEST (test_files_are_read)
{
    gpb_error_t error;
    gpb_operand_t is;
    ck_assert_ok (s_parse (&is, 0, "in:a:b", &error));
    ck_assert_int_eq (is.kind, GPB_OPERAND_IN);
    ck_assert_str_eq (is.source, "a:b");
    ck_assert_ptr_null (is.target);
    ck_assert_ok (s_parse (&is, 0, "in:-", &error));
    ck_assert_str_eq (is.source, "-");
    ck_assert_ok (s_parse (&is, 0, "out:c.f32", &error));
    ck_assert_int_eq (is.kind, GPB_OPERAND_OUT);
    ck_assert_str_eq (is.target, "c.f32");
    ck_assert_ptr_null (is.source);
    ck_assert_uint_eq (is.size, 0);
    ck_assert_ok (s_parse (&is, 0, "out:c:x:4096", &error));
    ck_assert_str_eq (is.target, "c:x");
    ck_assert_uint_eq (is.size, 4096);
    ck_assert_ok (s_parse (&is, 0, "out:c:4x", &error));
    ck_assert_str_eq (is.target, "c:4x");
    ck_assert_ok (s_parse (&is, 0, "inout:from:to", &error));
    ck_assert_int_eq (is.kind, GPB_OPERAND_INOUT);
    ck_assert_str_eq (is.source, "from");
    ck_assert_str_eq (is.target, "to");
}
END_TEST

START_TEST (test_scalars_are_read_to_their_bounds)
{
    gpb_error_t error;
    gpb_operand_t is;
    ck_assert_ok (s_parse (&is, 0, "i32:-2147483648", &error));
    ck_assert_int_eq (is.kind, GPB_OPERAND_SCALAR);
    ck_assert_str_eq (is.type, "i32");
    ck_assert_int_eq (is.value.i32, INT32_MIN);
    ck_assert_ok (s_parse (&is, 0, "u32:4294967295", &error));
    ck_assert_uint_eq (is.value.u32, UINT32_MAX);
    ck_assert_ok (s_parse (&is, 0, "i64:-9223372036854775808", &error));
    ck_assert (is.value.i64 == INT64_MIN);
    ck_assert_ok (s_parse (&is, 0, "u64:18446744073709551615", &error));
    ck_assert (is.value.u64 == UINT64_MAX);
    ck_assert_ok (s_parse (&is, 0, "f32:-0.5", &error));
    ck_assert_float_eq (is.value.f32, -0.5f);
    ck_assert_ok (s_parse (&is, 0, "f64:1e300", &error));
    ck_assert_double_eq (is.value.f64, 1e300);
    ck_assert_ok (s_parse (&is, 0, "f32:nan", &error));
    ck_assert (isnan (is.value.f32));
    ck_assert_ok (s_parse (&is, 0, "f32:1e-45", &error));
    ck_assert (is.value.f32 > 0);
}
END_TEST

static const struct {
    const char *text, *sentence;
} s_bad [] = {
    { "", "\"\" is no argument; there are in:FILE, out:FILE[:BYTES], inout:FILE:OUTFILE" },
    { "a.f32", "\"a.f32\" is no argument" },
    { "i16:5", "\"i16:5\" is no argument" },
    { "input:a", "\"input:a\" is no argument" },
    { ":a", "\":a\" is no argument" },
    { "in:", "names no file" },
    { "out:", "names no file" },
    { "out::5", "names no file" },
    { "out:c:0", "out:FILE:BYTES wants a whole number from 1" },
    { "out:c:18446744073709551616", "out:FILE:BYTES wants a whole number" },
    { "inout:a", "wants two files with one colon between" },
    { "inout:a:b:c", "wants two files with one colon between" },
    { "inout::b", "names no file" },
    { "i32:", "i32: wants a whole number from -2147483648 to 2147483647, not \"\"" },
    { "i32:2147483648", "i32: wants a whole number" },
    { "i32:1.5", "i32: wants a whole number" },
    { "i32:+5", "i32: wants a whole number" },
    { "i32: 5", "i32: wants a whole number" },
    { "i32:-", "i32: wants a whole number" },
    { "u32:-1", "u32: wants a whole number from 0 to 4294967295, not \"-1\"" },
    { "u32:4294967296", "u32: wants a whole number" },
    { "i64:9223372036854775808", "i64: wants a whole number" },
    { "u64:18446744073709551616", "u64: wants a whole number" },
    { "f32:", "f32: wants a number such as 0.5, not \"\"" },
    { "f32:0.5x", "f32: wants a number such as 0.5" },
    { "f32: 1", "f32: wants a number such as 0.5" },
    { "f32:1e39", "f32: wants a number such as 0.5" },
    { "f64:1e309", "f64: wants a number such as 0.5" },
};

START_TEST (test_every_wrong_argument_is_refused_with_what_would_be_right)
{
    gpb_operand_t is;
    for (size_t index = 0; index < sizeof s_bad / sizeof s_bad [0]; index++) {
        gpb_error_t error;
        ck_assert_refused (s_parse (&is, 0, s_bad [index].text, &error), GPB_INVALID_ARGUMENT,
                           s_bad [index].sentence);
    }
}
END_TEST

//  A kernel of four parameters: in f32, out f32, inout u8, scalar i32.
static const Gpb__V1__Kernel *
s_kernel (void)
{
    static const char *const facts [4][4] = { { "a", "in", "f32", "n" },
                                              { "c", "out", "f32", "n" },
                                              { "state", "inout", "u8", "16" },
                                              { "n", "scalar", "i32", "" } };
    static Gpb__V1__Parameter parameters [4];
    static Gpb__V1__Parameter *pointers [4];
    static Gpb__V1__Kernel kernel;
    gpb__v1__kernel__init (&kernel);
    for (size_t index = 0; index < 4; index++) {
        gpb__v1__parameter__init (&parameters [index]);
        parameters [index].name = (char *) facts [index][0];
        parameters [index].direction = (char *) facts [index][1];
        parameters [index].type = (char *) facts [index][2];
        parameters [index].count = (char *) facts [index][3];
        pointers [index] = &parameters [index];
    }
    kernel.id = (char *) "mix";
    kernel.parameters = pointers;
    kernel.n_parameters = 4;
    return &kernel;
}

static gpb_status_t
s_check (const char *line, gpb_error_t *error)
{
    gpb_operand_t operands [8];
    char copy [256];
    size_t count = 0;
    strcpy (copy, line);
    for (char *word = strtok (copy, " "); word; word = strtok (NULL, " ")) {
        ck_assert_int_eq (s_parse (&operands [count], count, word, error), GPB_OK);
        count++;
    }
    gpb_error_set (error, GPB_OK, "%s", "");
    return gpb_operands_check (operands, count, s_kernel (), error);
}

START_TEST (test_arguments_are_held_against_the_kernels_parameters)
{
    static const struct {
        const char *line, *sentence;
    } bad [] = {
        { "", "mix takes 4 arguments, not 0; the next one is a (in f32[n])" },
        { "in:a out:c inout:s:t", "mix takes 4 arguments, not 3; the next one is n (scalar i32)" },
        { "in:a out:c inout:s:t i32:1 i32:2", "not 5; \"i32:2\" is one too many" },
        { "out:a out:c inout:s:t i32:1",
          "argument 1 of mix: a (in f32[n]) is given as \"out:a\"; it wants in:FILE" },
        { "in:a in:c inout:s:t i32:1", "argument 2 of mix: c (out f32[n]) is given as \"in:c\"" },
        { "in:a out:c in:s i32:1", "it wants inout:FILE:OUTFILE" },
        { "in:a out:c inout:s:t u32:1",
          "argument 4 of mix: n (scalar i32) is given as \"u32:1\"; it wants i32:VALUE" },
        { "in:a out:c inout:s:t in:n", "it wants i32:VALUE" },
        { "f32:1 out:c inout:s:t i32:1", "argument 1 of mix: a (in f32[n]) is given as \"f32:1\"" },
    };
    gpb_error_t error;
    ck_assert_ok (s_check ("in:a out:c:64 inout:s:t i32:1", &error));
    for (size_t index = 0; index < sizeof bad / sizeof bad [0]; index++)
        ck_assert_refused (s_check (bad [index].line, &error), GPB_INVALID_ARGUMENT,
                           bad [index].sentence);
}
END_TEST

START_TEST (test_every_type_has_its_size)
{
    static const struct {
        const char *type;
        size_t size;
    } is [] = { { "i8", 1 },  { "u8", 1 },  { "i16", 2 }, { "u16", 2 }, { "f16", 2 }, { "i32", 4 },
                { "u32", 4 }, { "f32", 4 }, { "i64", 8 }, { "u64", 8 }, { "f64", 8 }, { "f128", 0 },
                { "", 0 },    { "x32", 0 }, { "i", 0 },   { "i328", 0 } };
    for (size_t index = 0; index < sizeof is / sizeof is [0]; index++)
        ck_assert_msg (gpb_operand_type_size (is [index].type) == is [index].size, "%s",
                       is [index].type);
}
END_TEST

GPB_TEST_MAIN ("gpb_operands", 10, test_every_type_has_its_size, test_files_are_read,
               test_scalars_are_read_to_their_bounds,
               test_every_wrong_argument_is_refused_with_what_would_be_right,
               test_arguments_are_held_against_the_kernels_parameters)
