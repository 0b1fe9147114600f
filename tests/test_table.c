//  Tests of gpb_table: columns stand under one another, and figures have readable units.

#include "gpb_alloc.h"
#include "gpb_table.h"
#include "gpb_test.h"

#include <stdlib.h>
#include <string.h>

//  What a table prints, to be freed.
static char *
s_print (const gpb_table_t *table)
{
    gpb_error_t error;
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream (&text, &size);
    ck_assert_ok (gpb_table_print (table, out, &error));
    fclose (out);
    return text;
}

START_TEST (test_columns_stand_under_one_another)
{
    gpb_table_t *table = gpb_table_new (">INDEX NAME >TIME LAST");
    gpb_table_add (table, "%d", 0);
    gpb_table_add (table, "%s", "pthread");
    gpb_table_add (table, "%s", "1.25 µs");
    gpb_table_add (table, "%s", "x");
    gpb_table_add (table, "%d", 1234567);
    gpb_table_add (table, "%s", "é");
    gpb_table_add (table, "%s", "12 ms");
    gpb_table_add (table, "%s", "longer");
    char *text = s_print (table);
    ck_assert_str_eq (text, "  INDEX  NAME        TIME  LAST\n"
                            "      0  pthread  1.25 µs  x\n"
                            "1234567  é          12 ms  longer\n");
    free (text);
    gpb_table_destroy (&table);
    ck_assert_ptr_null (table);
}
END_TEST

START_TEST (test_text_from_a_node_does_not_drive_the_terminal)
{
    gpb_table_t *table = gpb_table_new ("NAME");
    gpb_table_add (table, "%s", "\x1b[2Jevil\nname\x7f");
    char *text = s_print (table);
    ck_assert_str_eq (text, "NAME\n?[2Jevil?name?\n");
    free (text);
    gpb_table_destroy (&table);
}
END_TEST

START_TEST (test_many_rows_are_kept)
{
    gpb_table_t *table = gpb_table_new (">A B");
    for (int row = 0; row < 1000; row++) {
        gpb_table_add (table, "%d", row);
        gpb_table_add (table, "row");
    }
    char *text = s_print (table);
    ck_assert_uint_eq (strlen (text), strlen ("  A  B\n") + 1000 * strlen ("999  row\n"));
    ck_assert_ptr_nonnull (strstr (text, "\n999  row\n"));
    free (text);
    gpb_table_destroy (&table);
}
END_TEST

START_TEST (test_memory_that_runs_out_is_said_and_nothing_is_printed)
{
    gpb_error_t error;
    uint64_t makes = 1;
    for (uint64_t after = 0; after < makes; after++) {
        gpb_alloc_fail (-1, 0);
        gpb_table_t *table = gpb_table_new ("A B");
        makes = gpb_alloc_fail (-1, 0);
        gpb_table_destroy (&table);
        gpb_alloc_fail ((int64_t) after, 0);
        ck_assert_ptr_null (gpb_table_new ("A B"));
    }
    ck_assert_uint_ge (makes, 4);
    gpb_alloc_fail (-1, 0);
    gpb_table_t *table = gpb_table_new ("A B");
    gpb_alloc_fail (0, 0);
    gpb_table_add (table, "lost");
    gpb_alloc_fail (-1, 0);
    gpb_table_add (table, "kept");
    ck_assert_refused (gpb_table_print (table, stdout, &error), GPB_RESOURCE_EXHAUSTED,
                       "no memory for a table");
    gpb_table_destroy (&table);
}
END_TEST

START_TEST (test_figures_have_readable_units)
{
    char text [GPB_FIGURE_SIZE];
    ck_assert_str_eq (gpb_table_size (0, text), "0 B");
    ck_assert_str_eq (gpb_table_size (1023, text), "1023 B");
    ck_assert_str_eq (gpb_table_size (1024, text), "1.0 KiB");
    ck_assert_str_eq (gpb_table_size (8053063680, text), "7.5 GiB");
    ck_assert_str_eq (gpb_table_size (UINT64_MAX, text), "16.0 EiB");
    ck_assert_str_eq (gpb_table_time (0, text), "0 ns");
    ck_assert_str_eq (gpb_table_time (999, text), "999 ns");
    ck_assert_str_eq (gpb_table_time (1250, text), "1.25 µs");
    ck_assert_str_eq (gpb_table_time (12500, text), "12.5 µs");
    ck_assert_str_eq (gpb_table_time (125000000, text), "125 ms");
    ck_assert_str_eq (gpb_table_time (30000000000, text), "30.0 s");
}
END_TEST

GPB_TEST_MAIN ("gpb_table", 10, test_columns_stand_under_one_another,
               test_text_from_a_node_does_not_drive_the_terminal, test_many_rows_are_kept,
               test_memory_that_runs_out_is_said_and_nothing_is_printed,
               test_figures_have_readable_units)
