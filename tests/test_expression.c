//  Tests of gpb_expression: what the grammar takes and refuses, and that arithmetic is never wrong
//  in silence. Random expressions are held against an evaluator that walks a tree.

#include "gpb_alloc.h"
#include "gpb_expression.h"
#include "gpb_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

//  Variables 0 and 1 are n and m.
static gpb_status_t
s_resolve (void *context, const char *name, size_t *variable, gpb_error_t *error)
{
    (void) context;
    if (strcmp (name, "n") == 0)
        *variable = 0;
    else if (strcmp (name, "m") == 0)
        *variable = 1;
    else
        return gpb_error_set (error, GPB_INVALID_ARGUMENT, "there is no \"%s\"", name);
    return GPB_OK;
}

static gpb_status_t
s_evaluate (const char *text, uint64_t n, uint64_t m, uint64_t *value, gpb_error_t *error)
{
    error->status = GPB_OK;
    gpb_expression_t *expression = gpb_expression_new (text, s_resolve, NULL, error);
    if (!expression)
        return error->status;
    ck_assert_str_eq (gpb_expression_text (expression), text);
    const uint64_t variables [] = { n, m };
    gpb_status_t status = gpb_expression_value (expression, variables, value, error);
    gpb_expression_destroy (&expression);
    ck_assert_ptr_null (expression);
    return status;
}

START_TEST (test_arithmetic_has_its_usual_order)
{
    static const struct {
        const char *text;
        uint64_t n, m, value;
    } cases [] = {
        { "7", 0, 0, 7 },
        { "n", 5, 0, 5 },
        { " n * 4 + m ", 5, 3, 23 },
        { "n + 4 * m", 5, 3, 17 },
        { "(n + 4) * m", 5, 3, 27 },
        { "n - m - 1", 9, 3, 5 },
        { "n - (m - 1)", 9, 3, 7 },
        { "n / m / 2", 40, 5, 4 },
        { "n / (m / 2)", 40, 5, 20 },
        { "n / m", 7, 2, 3 },
        { "ceil_div (n, m)", 7, 2, 4 },
        { "ceil_div(n,m)", 8, 2, 4 },
        { "ceil_div (n, m)", 0, 2, 0 },
        { "ceil_div (n, 2)", UINT64_MAX, 0, UINT64_MAX / 2 + 1 },
        { "min (n, m)", 7, 2, 2 },
        { "max (n, m) * 2", 7, 2, 14 },
        { "min (max (n, 3), ceil_div (m, 2)) + 1", 1, 4, 3 },
        { "18446744073709551615", 0, 0, UINT64_MAX },
        { "n", UINT64_MAX, 0, UINT64_MAX },
        { "((((((((((n))))))))))", 6, 0, 6 },
    };
    for (size_t index = 0; index < sizeof cases / sizeof cases [0]; index++) {
        gpb_error_t error;
        uint64_t value;
        ck_assert_ok (
            s_evaluate (cases [index].text, cases [index].n, cases [index].m, &value, &error));
        ck_assert_msg (value == cases [index].value, "%s is %llu", cases [index].text,
                       (unsigned long long) value);
    }
}
END_TEST

START_TEST (test_text_that_is_no_expression_is_refused_with_its_column)
{
    static const struct {
        const char *text;
        const char *sentence;
    } cases [] = {
        { "", "\"\", column 1: a number, a name or a \"(\" belongs here" },
        { "   ", "column 4: a number, a name" },
        { "n +", "column 4: a number, a name" },
        { "n + + m", "column 5: a number, a name" },
        { "-1", "column 1: a number, a name" },
        { "n m", "column 3: an operator or the end belongs here" },
        { "n)", "column 2: an operator or the end" },
        { "(n", "column 3: a \")\" belongs here" },
        { "n % m", "column 3: an operator" },
        { "n\nm", "column 2: an operator" },
        { "x", "\"x\", column 1: there is no \"x\"" },
        { "n * N", "column 5: there is no \"N\"" },
        { "1.5", "column 1: a number is whole and decimal" },
        { "0x10", "column 1: a number is whole and decimal" },
        { "4n", "column 1: a number is whole and decimal" },
        { "18446744073709551616", "column 1: a number is at most 18446744073709551615" },
        { "99999999999999999999999", "a number is at most 18446744073709551615" },
        { "min", "column 4: a \"(\" and two values belong here" },
        { "min ()", "column 6: a number, a name" },
        { "min (n)", "column 7: a \",\" and the second of two values belong here" },
        { "min (n, m", "column 10: a \")\" belongs here, behind two values" },
        { "min (n, m, 1)", "column 10: a \")\" belongs here, behind two values" },
        { "n (m)", "column 1: the functions are ceil_div, min and max" },
        { "pow (n, m)", "column 1: the functions are ceil_div, min and max" },
    };
    for (size_t index = 0; index < sizeof cases / sizeof cases [0]; index++) {
        gpb_error_t error;
        uint64_t value;
        ck_assert_refused (s_evaluate (cases [index].text, 1, 1, &value, &error),
                           GPB_INVALID_ARGUMENT, cases [index].sentence);
    }
}
END_TEST

START_TEST (test_what_is_no_unsigned_64_bit_number_is_refused_with_its_values)
{
    static const struct {
        const char *text;
        uint64_t n, m;
        const char *sentence;
    } cases [] = {
        { "n * 4", UINT64_C (1) << 62, 0, "\"n * 4\": 4611686018427387904 * 4 is beyond 64 bits" },
        { "n + m", UINT64_MAX, 1, "18446744073709551615 + 1 is beyond 64 bits" },
        { "n - m", 3, 5, "\"n - m\": 3 - 5 is below 0" },
        { "n - m + 10", 3, 5, "3 - 5 is below 0" },
        { "n / m", 3, 0, "\"n / m\": 3 / 0 is a division by zero" },
        { "n / (m - m)", 3, 7, "3 / 0 is a division by zero" },
        { "ceil_div (n, m)", 3, 0, "ceil_div (3, 0) is a division by zero" },
        { "min (0, n / m)", 3, 0, "3 / 0 is a division by zero" },
        { "n * m * 0", UINT64_MAX, 2, "18446744073709551615 * 2 is beyond 64 bits" },
    };
    for (size_t index = 0; index < sizeof cases / sizeof cases [0]; index++) {
        gpb_error_t error;
        uint64_t value;
        ck_assert_refused (s_evaluate (cases [index].text, cases [index].n, cases [index].m, &value,
                                       &error),
                           GPB_INVALID_ARGUMENT, cases [index].sentence);
    }
}
END_TEST

START_TEST (test_depth_and_length_are_bounded)
{
    gpb_error_t error;
    uint64_t value;
    char text [GPB_EXPRESSION_TEXT_MAX + 2];
    //  As deep as it may be, with the most that each level can leave on the stack.
    char deep [GPB_EXPRESSION_TEXT_MAX + 1] = "n";
    for (int level = 1; level < GPB_EXPRESSION_DEPTH_MAX; level++) {
        char inner [sizeof deep];
        strcpy (inner, deep);
        ck_assert_int_lt (snprintf (deep, sizeof deep, "max(1,1+1*%s)", inner), sizeof deep);
    }
    ck_assert_ok (s_evaluate (deep, 2, 0, &value, &error));
    ck_assert_uint_eq (value, 2 + GPB_EXPRESSION_DEPTH_MAX - 1);

    memset (text, '(', sizeof text);
    text [GPB_EXPRESSION_TEXT_MAX] = 0;
    ck_assert_refused (s_evaluate (text, 0, 0, &value, &error), GPB_INVALID_ARGUMENT,
                       "column 17: this is nested too deeply");

    memset (text, ' ', sizeof text);
    text [0] = '7';
    text [GPB_EXPRESSION_TEXT_MAX] = 0;
    ck_assert_ok (s_evaluate (text, 0, 0, &value, &error));
    text [GPB_EXPRESSION_TEXT_MAX] = ' ';
    text [GPB_EXPRESSION_TEXT_MAX + 1] = 0;
    ck_assert_refused (s_evaluate (text, 0, 0, &value, &error), GPB_INVALID_ARGUMENT,
                       "an expression has at most 256 characters, and this one has 257");
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Random trees, printed as text with as few parentheses as the grammar needs

typedef struct {
    bool valid;
    uint64_t value;
} result_t;

__extension__ typedef unsigned __int128 wide_t;

static result_t
s_apply (int operation, result_t left, result_t right)
{
    result_t none = { false, 0 };
    if (!left.valid || !right.valid)
        return none;
    wide_t a = left.value, b = right.value, c;
    switch (operation) {
    case 0: c = a + b; break;
    case 1:
        if (a < b)
            return none;
        c = a - b;
        break;
    case 2: c = a * b; break;
    case 3:
    case 4:
        if (b == 0)
            return none;
        c = operation == 3 ? a / b : (a + b - 1) / b;
        break;
    case 5: c = a < b ? a : b; break;
    default: c = a > b ? a : b; break;
    }
    if (c >> 64)
        return none;
    return (result_t){ true, (uint64_t) c };
}

//  level: 0 where a sum may stand, 1 a product, 2 a value only.
static result_t
s_random_tree (int depth, int level, const uint64_t *variables, char *text, size_t size)
{
    if (depth == 0 || rand () % 5 == 0) {
        int choice = rand () % 3;
        uint64_t number = rand () % 3 ? (uint64_t) (rand () % 10) : (uint64_t) rand () << 33;
        if (choice == 2)
            snprintf (text, size, "%llu", (unsigned long long) number);
        else
            snprintf (text, size, "%s", choice ? "m" : "n");
        return (result_t){ true, choice == 2 ? number : variables [choice] };
    }
    static const char *const names [] = { "+", "-", "*", "/", "ceil_div", "min", "max" };
    int operation = rand () % 7;
    char left_text [2048], right_text [2048];
    int left_level = operation < 2 ? 0 : operation < 4 ? 1 : 0;
    int right_level = operation < 2 ? 1 : operation < 4 ? 2 : 0;
    result_t left = s_random_tree (depth - 1, left_level, variables, left_text, sizeof left_text);
    result_t right =
        s_random_tree (depth - 1, right_level, variables, right_text, sizeof right_text);
    int own_level = operation < 2 ? 0 : operation < 4 ? 1 : 2;
    bool parentheses = own_level < level;
    int length;
    if (operation < 4)
        length = snprintf (text, size, "%s%s%s%s%s%s", parentheses ? "(" : "", left_text,
                           rand () % 2 ? " " : "", names [operation], right_text,
                           parentheses ? ")" : "");
    else
        length = snprintf (text, size, "%s (%s, %s)", names [operation], left_text, right_text);
    ck_assert_int_lt (length, (int) size);
    return s_apply (operation, left, right);
}

START_TEST (test_random_expressions_are_what_a_tree_of_128_bits_gives)
{
    srand (20240607);
    int valid = 0, invalid = 0;
    for (int round = 0; round < 20000; round++) {
        uint64_t variables [] = { (uint64_t) rand () % 100, (uint64_t) rand () << (rand () % 34) };
        char text [4096];
        result_t expected = s_random_tree (4, 0, variables, text, sizeof text);
        if (strlen (text) > GPB_EXPRESSION_TEXT_MAX)
            continue;
        gpb_error_t error;
        uint64_t value = 0;
        gpb_status_t status = s_evaluate (text, variables [0], variables [1], &value, &error);
        ck_assert_msg ((status == GPB_OK) == expected.valid, "%s with n = %llu, m = %llu: %s", text,
                       (unsigned long long) variables [0], (unsigned long long) variables [1],
                       error.text);
        if (expected.valid)
            ck_assert_msg (value == expected.value, "%s with n = %llu, m = %llu", text,
                           (unsigned long long) variables [0], (unsigned long long) variables [1]);
        valid += expected.valid;
        invalid += !expected.valid;
    }
    ck_assert_int_gt (valid, 1000);
    ck_assert_int_gt (invalid, 1000);
}
END_TEST

START_TEST (test_memory_that_runs_out_is_said)
{
    gpb_error_t error;
    uint64_t value;
    gpb_alloc_fail (0, 0);
    ck_assert_refused (s_evaluate ("n * 4", 1, 1, &value, &error), GPB_RESOURCE_EXHAUSTED,
                       "out of memory");
    gpb_alloc_fail (-1, 0);
}
END_TEST

START_TEST (test_the_functions_are_reserved)
{
    ck_assert (gpb_expression_reserved ("ceil_div"));
    ck_assert (gpb_expression_reserved ("min"));
    ck_assert (gpb_expression_reserved ("max"));
    ck_assert (!gpb_expression_reserved ("minimum"));
}
END_TEST

GPB_TEST_MAIN ("gpb_expression", 20, test_arithmetic_has_its_usual_order,
               test_text_that_is_no_expression_is_refused_with_its_column,
               test_what_is_no_unsigned_64_bit_number_is_refused_with_its_values,
               test_depth_and_length_are_bounded,
               test_random_expressions_are_what_a_tree_of_128_bits_gives,
               test_memory_that_runs_out_is_said, test_the_functions_are_reserved)
