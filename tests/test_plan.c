//  Tests of gpb_kernel_plan: every mismatch between a request and a definition is caught before a
//  device sees it, with a sentence that names the argument, what was given and what was expected.

#include "gpb_kernel.h"
#include "gpb_test.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define PARAMETER(name, direction, type, more)                                                     \
    "{ name = \"" name "\"; direction = \"" direction "\"; type = \"" type "\"; " more " }"

static const char s_add [] = "id = \"add\"; source = \"add.c\"; parameters = (" PARAMETER (
    "a", "in", "f32",
    "count = \"n\";") "," PARAMETER ("c", "out", "f32",
                                     "count = \"n\";") "," PARAMETER ("n", "scalar", "i32",
                                                                      "") "); global = [ \"n\" ]; "
                                                                          "local = [ 64 ];";

static const char s_free [] =
    "id = \"free\"; source = \"free.c\"; parameters = (" PARAMETER ("x", "inout", "u8", "count = \"global_size_0 * global_size_1\";") "," PARAMETER (
        "f", "scalar", "f32",
        "minimum = 0; maximum = "
        "2.5;") "," PARAMETER ("k",
                               "scal"
                               "ar",
                               "i64",
                               "mini"
                               "mum "
                               "= "
                               "-5; "
                               "maxi"
                               "mum "
                               "= "
                               "9;") "," PARAMETER ("u", "scalar", "u64",
                                                    "maximum = 100;") "); global = [ 4, 4 ]; "
                                                                      "global_free = true; local = "
                                                                      "[ 8, 8 ]; shared = \"u * "
                                                                      "16\";";

static const char s_wide [] = "id = \"wide\"; source = \"wide.c\"; parameters = (" PARAMETER (
    "x", "in", "f64",
    "count = \"n - 1\";") "," PARAMETER ("n", "scalar", "u64",
                                         "") "); global = [ \"n\", \"n\", \"n\" ]; local = [ 4, 4, "
                                             "4 ]; local_free = false;";

static const gpb_device_info_t s_device = {
    .max_allocation = 1 << 20,
    .local_memory = 1024,
    .max_work_group_size = 256,
    .max_work_item_sizes = { 256, 128, 64 },
};

static gpb_value_t
s_i32 (int32_t value)
{
    return (gpb_value_t){ .kind = GPB_VALUE_SCALAR, .type = GPB_I32, .scalar.scalar.i32 = value };
}

static gpb_value_t
s_i64 (int64_t value)
{
    return (gpb_value_t){ .kind = GPB_VALUE_SCALAR, .type = GPB_I64, .scalar.scalar.i64 = value };
}

static gpb_value_t
s_u64 (uint64_t value)
{
    return (gpb_value_t){ .kind = GPB_VALUE_SCALAR, .type = GPB_U64, .scalar.scalar.u64 = value };
}

static gpb_value_t
s_f32 (float value)
{
    return (gpb_value_t){ .kind = GPB_VALUE_SCALAR, .type = GPB_F32, .scalar.scalar.f32 = value };
}

static gpb_value_t
s_bytes (gpb_value_kind_t kind, uint64_t size)
{
    return (gpb_value_t){ .kind = kind, .size = size };
}

static gpb_kernel_t *
s_kernel (const char *definition)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_kernel_t *kernel = gpb_kernel_parse (definition, "x", &error);
    ck_assert_msg (kernel != NULL, "%s", error.text);
    return kernel;
}

//  Plans a call of one of the definitions above on s_device.
static gpb_status_t
s_plan (const char *definition, const gpb_kernel_call_t *call, gpb_kernel_plan_t *plan,
        gpb_error_t *error)
{
    gpb_kernel_t *kernel = s_kernel (definition);
    gpb_status_t status = gpb_kernel_plan (kernel, call, &s_device, plan, error);
    gpb_kernel_destroy (&kernel);
    return status;
}

//  `add` with these arguments.
static gpb_status_t
s_plan_add (gpb_value_t a, gpb_value_t c, gpb_value_t n, gpb_kernel_plan_t *plan,
            gpb_error_t *error)
{
    const gpb_value_t values [] = { a, c, n };
    const gpb_kernel_call_t call = { .values = values, .values_count = 3 };
    return s_plan (s_add, &call, plan, error);
}

START_TEST (test_sizes_follow_from_scalars)
{
    gpb_error_t error;
    gpb_kernel_plan_t plan;
    ck_assert_ok (s_plan_add (s_bytes (GPB_VALUE_PAYLOAD, 400), s_bytes (GPB_VALUE_OUTPUT, 0),
                              s_i32 (100), &plan, &error));
    ck_assert (!plan.empty);
    ck_assert_uint_eq (plan.dimensions, 1);
    ck_assert_uint_eq (plan.global [0], 128);
    ck_assert_uint_eq (plan.local [0], 64);
    ck_assert_uint_eq (plan.local [1], 1);
    ck_assert_uint_eq (plan.shared, 0);
    ck_assert_uint_eq (plan.sizes [0], 400);
    ck_assert_uint_eq (plan.sizes [1], 400);
    ck_assert_uint_eq (plan.sizes [2], 0);
    //  A rented range may be larger than what is needed, and an output may say what it is.
    ck_assert_ok (s_plan_add (s_bytes (GPB_VALUE_BUFFER, 4096), s_bytes (GPB_VALUE_OUTPUT, 256),
                              s_i32 (64), &plan, &error));
    ck_assert_uint_eq (plan.global [0], 64);
    ck_assert_uint_eq (plan.sizes [0], 256);
    ck_assert_uint_eq (plan.sizes [1], 256);
}
END_TEST

START_TEST (test_no_work_is_an_empty_plan)
{
    gpb_error_t error;
    gpb_kernel_plan_t plan;
    ck_assert_ok (s_plan_add (s_bytes (GPB_VALUE_PAYLOAD, 0), s_bytes (GPB_VALUE_OUTPUT, 0),
                              s_i32 (0), &plan, &error));
    ck_assert (plan.empty);
    ck_assert_uint_eq (plan.sizes [1], 0);
    ck_assert_refused (s_plan_add (s_bytes (GPB_VALUE_PAYLOAD, 4), s_bytes (GPB_VALUE_OUTPUT, 0),
                                   s_i32 (0), &plan, &error),
                       GPB_INVALID_ARGUMENT,
                       "argument 0, a: has 0 bytes (n = 0 of f32), and a payload of 4 was given");
}
END_TEST

START_TEST (test_every_argument_of_the_wrong_kind_type_or_size_is_refused)
{
    const gpb_value_t in = s_bytes (GPB_VALUE_PAYLOAD, 400), out = s_bytes (GPB_VALUE_OUTPUT, 0);
    const gpb_value_t n = s_i32 (100);
    const struct {
        gpb_value_t a, c, n;
        const char *sentence;
    } cases [] = {
        { out, out, n,
          "kernel \"add\": argument 0, a: is in and takes a payload or a buffer, and an output was "
          "given" },
        { n, out, n, "argument 0, a: is in and takes a payload or a buffer, and a scalar was" },
        { in, in, n, "argument 1, c: is out and takes an output or a buffer, and a payload was" },
        { in, n, n, "argument 1, c: is out and takes an output or a buffer, and a scalar was" },
        { in, out, in, "argument 2, n: is scalar and takes a scalar, and a payload was given" },
        { in, out, out, "argument 2, n: is scalar and takes a scalar, and an output was given" },
        { in, out, s_bytes (GPB_VALUE_BUFFER, 400), "takes a scalar, and a buffer was given" },
        { s_bytes ((gpb_value_kind_t) 77, 0), out, n, "and nothing that is known was given" },
        { in, out, s_i64 (100), "argument 2, n: is i32, and i64 was given" },
        { in, out, s_f32 (100), "argument 2, n: is i32, and f32 was given" },
        { in, out, s_i32 (-1),
          "argument 2, n: sizes follow from it, so it is at least 0, and -1 was given" },
        { in, out, s_i32 (99),
          "argument 0, a: has 396 bytes (n = 99 of f32), and a payload of 400 was given" },
        { s_bytes (GPB_VALUE_PAYLOAD, 401), out, n, "and a payload of 401 was given" },
        { s_bytes (GPB_VALUE_BUFFER, 399), out, n,
          "argument 0, a: needs 400 bytes (n = 100 of f32), and a buffer of 399 was given" },
        { in, s_bytes (GPB_VALUE_BUFFER, 0), n, "argument 1, c: needs 400 bytes" },
        { in, s_bytes (GPB_VALUE_OUTPUT, 404), n,
          "argument 1, c: gives 400 bytes (n = 100 of f32), and an output of 404 was given" },
        { s_bytes (GPB_VALUE_PAYLOAD, (1 << 20) + 4), out, s_i32 ((1 << 18) + 1),
          "argument 0, a: has 1048580 bytes, and the device allocates at most 1048576" },
    };
    for (size_t index = 0; index < sizeof cases / sizeof cases [0]; index++) {
        gpb_error_t error;
        gpb_kernel_plan_t plan;
        ck_assert_refused (s_plan_add (cases [index].a, cases [index].c, cases [index].n, &plan,
                                       &error),
                           GPB_INVALID_ARGUMENT, cases [index].sentence);
    }
}
END_TEST

START_TEST (test_too_few_and_too_many_arguments_are_refused)
{
    const gpb_value_t values [4] = { s_bytes (GPB_VALUE_PAYLOAD, 4), s_bytes (GPB_VALUE_OUTPUT, 0),
                                     s_i32 (1), s_i32 (1) };
    for (size_t count = 0; count <= 4; count++) {
        gpb_error_t error;
        gpb_kernel_plan_t plan;
        char sentence [128];
        snprintf (sentence, sizeof sentence,
                  "kernel \"add\": takes 3 arguments (a, c, n), and %zu were given", count);
        const gpb_kernel_call_t call = { .values = values, .values_count = count };
        if (count == 3)
            ck_assert_ok (s_plan (s_add, &call, &plan, &error));
        else
            ck_assert_refused (s_plan (s_add, &call, &plan, &error), GPB_INVALID_ARGUMENT,
                               sentence);
    }
}
END_TEST

START_TEST (test_scalars_keep_within_their_bounds)
{
    const struct {
        gpb_value_t f, k, u;
        const char *sentence;    //  NULL: it is taken
    } cases [] = {
        { s_f32 (0), s_i64 (-5), s_u64 (0), NULL },
        { s_f32 (2.5f), s_i64 (9), s_u64 (64), NULL },
        { s_f32 (-0.5f), s_i64 (0), s_u64 (0), "argument 1, f: is at least 0, and -0.5 was given" },
        { s_f32 (3), s_i64 (0), s_u64 (0), "argument 1, f: is at most 2.5, and 3 was given" },
        { s_f32 (NAN), s_i64 (0), s_u64 (0), "argument 1, f: is at least 0, and nan was given" },
        { s_f32 (INFINITY), s_i64 (0), s_u64 (0), "f: is at most 2.5, and inf was given" },
        { s_f32 (-INFINITY), s_i64 (0), s_u64 (0), "f: is at least 0, and -inf was given" },
        { s_f32 (0), s_i64 (-6), s_u64 (0), "argument 2, k: is at least -5, and -6 was given" },
        { s_f32 (0), s_i64 (10), s_u64 (0), "argument 2, k: is at most 9, and 10 was given" },
        { s_f32 (0), s_i64 (INT64_MIN), s_u64 (0), "and -9223372036854775808 was given" },
        { s_f32 (0), s_i64 (0), s_u64 (101), "argument 3, u: is at most 100, and 101 was given" },
        { s_f32 (0), s_i64 (0), s_u64 (UINT64_MAX), "and 18446744073709551615 was given" },
    };
    for (size_t index = 0; index < sizeof cases / sizeof cases [0]; index++) {
        gpb_error_t error;
        gpb_kernel_plan_t plan;
        const gpb_value_t values [] = { s_bytes (GPB_VALUE_PAYLOAD, 16), cases [index].f,
                                        cases [index].k, cases [index].u };
        const gpb_kernel_call_t call = { .values = values, .values_count = 4 };
        if (cases [index].sentence)
            ck_assert_refused (s_plan (s_free, &call, &plan, &error), GPB_INVALID_ARGUMENT,
                               cases [index].sentence);
        else
            ck_assert_ok (s_plan (s_free, &call, &plan, &error));
    }
}
END_TEST

START_TEST (test_a_scalar_that_is_no_number_is_data_where_no_bound_says_else)
{
    gpb_kernel_t *kernel =
        s_kernel ("id = \"s\"; source = \"s.c\"; global = [ 1 ]; parameters = (" PARAMETER (
            "d", "scalar", "f64", "") "," PARAMETER ("i", "scalar", "i32", "") ");");
    const double odd [] = { NAN, INFINITY, -INFINITY, -0.0 };
    for (size_t index = 0; index < 4; index++) {
        gpb_error_t error;
        gpb_kernel_plan_t plan;
        //  No size follows from i, so it may be negative.
        const gpb_value_t values [] = {
            { .kind = GPB_VALUE_SCALAR, .type = GPB_F64, .scalar.scalar.f64 = odd [index] },
            s_i32 (INT32_MIN)
        };
        const gpb_kernel_call_t call = { .values = values, .values_count = 2 };
        ck_assert_ok (gpb_kernel_plan (kernel, &call, &s_device, &plan, &error));
        ck_assert_uint_eq (plan.local [0], 0);
    }
    gpb_kernel_destroy (&kernel);
}
END_TEST

//  `free` with u and these sizes.
static gpb_status_t
s_plan_free (gpb_kernel_call_t call, uint64_t size, uint64_t u, gpb_kernel_plan_t *plan,
             gpb_error_t *error)
{
    const gpb_value_t values [] = { s_bytes (GPB_VALUE_PAYLOAD, size), s_f32 (0), s_i64 (0),
                                    s_u64 (u) };
    call.values = values;
    call.values_count = 4;
    return s_plan (s_free, &call, plan, error);
}

START_TEST (test_a_free_global_size_sets_counts_and_is_rounded_up)
{
    gpb_error_t error;
    gpb_kernel_plan_t plan;
    gpb_kernel_call_t call = { .dimensions = 2, .global = { 10, 3 } };
    ck_assert_ok (s_plan_free (call, 30, 4, &plan, &error));
    ck_assert (plan.global [0] == 16 && plan.global [1] == 8);
    ck_assert_uint_eq (plan.sizes [0], 30);
    ck_assert_uint_eq (plan.shared, 64);
    call.local_dimensions = 2;
    call.local [0] = 5;
    call.local [1] = 1;
    ck_assert_ok (s_plan_free (call, 30, 0, &plan, &error));
    ck_assert (plan.global [0] == 10 && plan.global [1] == 3);
    ck_assert (plan.local [0] == 5 && plan.local [1] == 1 && plan.local [2] == 1);
    call.global [1] = 0;
    ck_assert_ok (s_plan_free (call, 0, 0, &plan, &error));
    ck_assert (plan.empty);
}
END_TEST

START_TEST (test_a_work_size_that_does_not_fit_is_refused)
{
    const struct {
        gpb_kernel_call_t call;
        uint64_t size, u;
        const char *sentence;
    } cases [] = {
        { { .dimensions = 1, .global = { 4 } },
          4,
          0,
          "kernel \"free\": the global size has 2 dimensions, and 1 were given" },
        { { .dimensions = 3, .global = { 4, 1, 1 } }, 4, 0, "2 dimensions, and 3 were given" },
        { { .dimensions = 77 }, 4, 0, "2 dimensions, and 77 were given" },
        { { .local_dimensions = 1, .local = { 4 } },
          16,
          0,
          "the local size has 2 dimensions, and 1 were given" },
        { { .local_dimensions = 2, .local = { 4, 0 } },
          16,
          0,
          "local size of dimension 1: at least 1, and 0 was given" },
        { { .local_dimensions = 2, .local = { 257, 1 } },
          16,
          0,
          "local size of dimension 0 is 257, and the device takes at most 256" },
        { { .local_dimensions = 2, .local = { 1, 129 } },
          16,
          0,
          "local size of dimension 1 is 129, and the device takes at most 128" },
        { { .local_dimensions = 2, .local = { 32, 16 } },
          16,
          0,
          "a work-group of 32 x 16 x 1 work-items is larger than the device's largest, 256" },
        { { .dimensions = 2, .global = { UINT64_C (1) << 33, UINT64_C (1) << 33 } },
          16,
          0,
          "argument 0, x: count: \"global_size_0 * global_size_1\": 8589934592 * 8589934592 is "
          "beyond 64 bits" },
        { { .dimensions = 2, .global = { (UINT64_C (1) << 31) + 1, 0 } },
          0,
          0,
          "global size of dimension 0 is at most 2147483648 work-items, rounded up to whole "
          "work-groups of 8, and 2147483649 were asked for" },
        { { .dimensions = 2, .global = { 0, UINT64_MAX } },
          0,
          0,
          "work-groups of 8, and 18446744073709551615 were asked for" },
        { { .has_shared = true, .shared = 15 },
          16,
          1,
          "needs 16 bytes of dynamic local memory, and 15 were given" },
        { { .has_shared = true, .shared = 1025 },
          16,
          1,
          "dynamic local memory is 1025 bytes, and a work-group of the device has at most 1024" },
        { { .has_shared = false }, 16, 65, "dynamic local memory is 1040 bytes" },
    };
    for (size_t index = 0; index < sizeof cases / sizeof cases [0]; index++) {
        gpb_error_t error;
        gpb_kernel_plan_t plan;
        ck_assert_refused (s_plan_free (cases [index].call, cases [index].size, cases [index].u,
                                        &plan, &error),
                           GPB_INVALID_ARGUMENT, cases [index].sentence);
    }
}
END_TEST

START_TEST (test_more_local_memory_than_the_package_asks_for_is_taken)
{
    gpb_error_t error;
    gpb_kernel_plan_t plan;
    const gpb_kernel_call_t call = { .has_shared = true, .shared = 1024 };
    ck_assert_ok (s_plan_free (call, 16, 1, &plan, &error));
    ck_assert_uint_eq (plan.shared, 1024);
}
END_TEST

START_TEST (test_what_the_package_fixes_a_request_does_not_set)
{
    gpb_error_t error;
    gpb_kernel_plan_t plan;
    const gpb_value_t values [] = { s_bytes (GPB_VALUE_PAYLOAD, 4), s_bytes (GPB_VALUE_OUTPUT, 0),
                                    s_i32 (1) };
    gpb_kernel_call_t call = {
        .values = values, .values_count = 3, .dimensions = 1, .global = { 1 }
    };
    ck_assert_refused (s_plan (s_add, &call, &plan, &error), GPB_INVALID_ARGUMENT,
                       "kernel \"add\": its global size follows from its arguments");
    call.dimensions = 0;
    call.has_shared = true;
    call.shared = 16;
    ck_assert_refused (s_plan (s_add, &call, &plan, &error), GPB_INVALID_ARGUMENT,
                       "takes no dynamic local memory, and 16 bytes were given");
    call.shared = 0;
    ck_assert_ok (s_plan (s_add, &call, &plan, &error));

    const gpb_value_t wide [] = { s_bytes (GPB_VALUE_PAYLOAD, 8), s_u64 (2) };
    gpb_kernel_call_t fixed = {
        .values = wide, .values_count = 2, .local_dimensions = 3, .local = { 4, 2, 4 }
    };
    ck_assert_refused (s_plan (s_wide, &fixed, &plan, &error), GPB_INVALID_ARGUMENT,
                       "local size of dimension 1: its code relies on 4, and 2 was given");
    fixed.local [1] = 4;
    ck_assert_ok (s_plan (s_wide, &fixed, &plan, &error));
    ck_assert (plan.global [0] == 4 && plan.global [1] == 4 && plan.global [2] == 4);
}
END_TEST

START_TEST (test_sizes_past_64_bits_are_refused)
{
    const struct {
        uint64_t n, size;
        const char *sentence;
    } cases [] = {
        { 0, 0, "kernel \"wide\": argument 0, x: count: \"n - 1\": 0 - 1 is below 0" },
        { (UINT64_C (1) << 61) + 1, 0,
          "argument 0, x: 2305843009213693952 elements of 8 bytes are beyond 64 bits" },
        { UINT64_MAX, 0, "elements of 8 bytes are beyond 64 bits" },
        { UINT64_C (1) << 22, ((UINT64_C (1) << 22) - 1) * 8,
          "the global size's dimensions together are beyond 64 bits" },
    };
    gpb_kernel_t *kernel = s_kernel (s_wide);
    for (size_t index = 0; index < sizeof cases / sizeof cases [0]; index++) {
        gpb_error_t error;
        gpb_kernel_plan_t plan;
        const gpb_value_t values [] = { s_bytes (GPB_VALUE_PAYLOAD, cases [index].size),
                                        s_u64 (cases [index].n) };
        const gpb_kernel_call_t call = { .values = values, .values_count = 2 };
        ck_assert_refused (gpb_kernel_plan (kernel, &call, NULL, &plan, &error),
                           GPB_INVALID_ARGUMENT, cases [index].sentence);
    }
    gpb_kernel_destroy (&kernel);
}
END_TEST

START_TEST (test_without_a_device_its_limits_are_not_looked_at)
{
    gpb_error_t error;
    gpb_kernel_plan_t plan;
    gpb_kernel_t *kernel = s_kernel (s_free);
    const gpb_value_t values [] = { s_bytes (GPB_VALUE_PAYLOAD, 16), s_f32 (0), s_i64 (0),
                                    s_u64 (100) };
    const gpb_kernel_call_t call = {
        .values = values, .values_count = 4, .local_dimensions = 2, .local = { 512, 512 }
    };
    ck_assert_ok (gpb_kernel_plan (kernel, &call, NULL, &plan, &error));
    ck_assert_uint_eq (plan.shared, 1600);
    gpb_kernel_destroy (&kernel);
}
END_TEST

GPB_TEST_MAIN ("gpb_plan", 20, test_sizes_follow_from_scalars, test_no_work_is_an_empty_plan,
               test_every_argument_of_the_wrong_kind_type_or_size_is_refused,
               test_too_few_and_too_many_arguments_are_refused,
               test_scalars_keep_within_their_bounds,
               test_a_scalar_that_is_no_number_is_data_where_no_bound_says_else,
               test_a_free_global_size_sets_counts_and_is_rounded_up,
               test_a_work_size_that_does_not_fit_is_refused,
               test_more_local_memory_than_the_package_asks_for_is_taken,
               test_what_the_package_fixes_a_request_does_not_set,
               test_sizes_past_64_bits_are_refused,
               test_without_a_device_its_limits_are_not_looked_at)
